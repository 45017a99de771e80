/*
 * Two local functions of one name: `twin` is here and in e2e_twins_second.c.
 *
 *     call    both answers
 */
#include "e2e_serve.h"

const char *second_answer(void);

PATCHED static const char *twin(void)
{
	return "first";
}

static void answer(char *request)
{
	say("%s %s", twin(), second_answer());
}

int main(void)
{
	serve(answer);
	return 0;
}
