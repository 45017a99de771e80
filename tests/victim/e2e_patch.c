/* patch.so of the 2004 example, with one thing more that it needs from the target: extern str_P. */
extern char *str_P;
const char *func1(int n);

char patch_message[] = "patched message";

const char *func1(int n)
{
	return n < 0 ? str_P : "patched J";
}
