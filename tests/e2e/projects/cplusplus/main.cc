#include "serve.h"
#include "shapes.h"

static void answer(char *out, size_t size)
{
	static int side;
	square s(++side);
	snprintf(out, size, "%s", describe(s).c_str());
}

int main()
{
	return serve(answer);
}
