// flags: -O2
// expect: hook hook
// expect: function-new set_up
// bound: level
int level = 1;

#ifdef AFTER
static int set_up(void)
{
	level = 9;
	return 0;
}

__attribute__((used, section(".livepatch.hooks"))) static const struct {
	unsigned long kind;
	int (*function)(void);
} hook = {1, set_up};
#endif

int main(void)
{
	return level++;
}
