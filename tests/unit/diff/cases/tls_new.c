// expect: function-changed bump
// refuse: new-tls mine
#ifdef AFTER
__thread int mine;
#else
static int mine_not;
#define mine (*(volatile int *)&mine_not)
// allow: removed-data
// expect: data-removed mine_not
#endif

__attribute__((noinline, noipa)) int bump(void)
{
	return mine++;
}

int main(void)
{
	return bump();
}
