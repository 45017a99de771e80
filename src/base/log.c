#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum lp_log_level most_level;
static lp_log_fn *log_fn;
static void *log_arg;

void lp_log_set(enum lp_log_level most, lp_log_fn *fn, void *arg)
{
	most_level = most;
	log_fn = fn;
	log_arg = arg;
}

bool lp_log_on(enum lp_log_level level)
{
	return log_fn && level <= most_level;
}

void lp_log(enum lp_log_level level, const char *fmt, ...)
{
	if (!lp_log_on(level))
		return;
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	log_fn(level, line, log_arg);
}
