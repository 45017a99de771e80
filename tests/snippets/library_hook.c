#include "check.h"

LIVEPATCH_HOOKABLE int answer(int question);

int answer(int question)
{
	return 42 + question;
}

#include SNIPPET

int main(void)
{
	check(answer(1) == 43 && answer(-1) == 41);
	check(install() == 0);
	check(answer(1) == 43 && answer(-1) == 0 && original_answer(-1) == 41);
	check((livepatch_unhook)((void *)answer) == 0);
	check(answer(1) == 43 && answer(-1) == 41);
	return 0;
}
