// Exceptions thrown and caught in functions that a patch replaces.  Answers each line of input.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#define KEEP __attribute__((noinline, noclone))

struct Refusal : std::runtime_error {
	using std::runtime_error::runtime_error;
};

static std::vector<int> seen;

KEEP static int risky(int n)
{
	std::string note = "n is " + std::to_string(n);
#ifdef PATCHED
	if (n % 3 == 0)
		throw Refusal(note + ", a multiple of three");
#else
	if (n % 2 == 0)
		throw Refusal(note);
#endif
	seen.push_back(n);
	return n * 10;
}

KEEP static std::string guarded(int n)
{
	try {
		return "fine " + std::to_string(risky(n));
	} catch (const Refusal &r) {
#ifdef PATCHED
		return std::string("patched refusal: ") + r.what();
#else
		return std::string("refusal: ") + r.what();
#endif
	}
}

int main()
{
	char line[100];
	setvbuf(stdout, nullptr, _IOLBF, 0);
	puts("ready");
	for (int n = 1; fgets(line, sizeof line, stdin); n++) {
		std::string said = guarded(n);
		printf("%s, %zu seen\n", said.c_str(), seen.size());
	}
}
