#ifndef WORK_H
#define WORK_H

#include <stddef.h>

int work(int n);
const char *work_name(void);
static inline int work_scale(int n)
{
	return n * 10;
}

#endif
