// expect: function-changed use
// expect: data-removed old_state
// refuse: removed-data old_state
#ifdef AFTER
int new_state;
#define STATE new_state
// expect: data-new new_state
#else
int old_state;
#define STATE old_state
#endif

__attribute__((noinline, noipa)) int use(int x)
{
	STATE += x;
	return STATE;
}

int main(int argc, char **argv)
{
	return use(argc);
}
