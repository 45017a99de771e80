// flags: -O2 | -O0
// link: program | no-pie | shared
// expect: function-changed _Z4riskiPKc
// expect: function-changed _Z5catchi
// import: __cxa_throw
#include <stdexcept>
#include <string>

__attribute__((noinline, noipa)) int risk(int x, const char *why)
{
#ifdef AFTER
	if (x > 2)
#else
	if (x > 3)
#endif
		throw std::runtime_error(why);
	return x;
}

__attribute__((noinline, noipa)) int catch_(int x) __asm__("_Z5catchi");
int catch_(int x)
{
	try {
		return risk(x, "too much");
#ifdef AFTER
	} catch (const std::runtime_error &e) {
		return -2;
#else
	} catch (const std::exception &e) {
		return -1;
#endif
	}
}

int main(int argc, char **argv)
{
	return catch_(argc);
}
