/* The answer is a constant, and all are in one file: without the word, compilers know it and do not ask. */
#include "check.h"

#include SNIPPET

int answer(int question)
{
	(void)question;
	return 42;
}

static int another_answer(int question)
{
	return question;
}

int main(void)
{
	check(answer(1) == 42);
	check((livepatch_hook)((void *)answer, (void *)another_answer, NULL) == 0);
	check(answer(1) == 1);
	check((livepatch_unhook)((void *)answer) == 0);
	check(answer(1) == 42);
	return 0;
}
