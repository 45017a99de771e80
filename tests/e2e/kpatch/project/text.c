/* A part of the program; its count() is another one than the library's. */
#include <stdio.h>
#include "text.h"

static int lines = 10;

static int count(void)
{
	return ++lines;
}

const char *text_greeting(int n)
{
	static char buffer[64];
	snprintf(buffer, sizeof buffer, "line %d says %d", count(), n);
	return buffer;
}
