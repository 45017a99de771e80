#include "serve.h"

extern int greetings;
const char *greet(void);

static void answer(char *out, size_t size)
{
	const char *what = greet();
	snprintf(out, size, "%s %d", what, greetings);
}

int main(void)
{
	return serve(answer);
}
