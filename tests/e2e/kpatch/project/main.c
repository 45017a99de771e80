#include <stdio.h>
#include "calc.h"
#include "text.h"

int main(void)
{
	char line[100];
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		const char *greeting = text_greeting(calc_add(1, 2));
		printf("%s (%d)\n", greeting, calc_uses());
	}
	return 0;
}
