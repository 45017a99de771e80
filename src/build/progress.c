#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "build/build_private.h"

static const struct {
	const char *key, *sentence;
} stages[STAGE_COUNT] = {
	[STAGE_READ] = {"read", "reading the source tree"},
	[STAGE_ORIGINAL] = {"original", "building the original"},
	[STAGE_APPLY] = {"apply", "applying the diff to a copy"},
	[STAGE_CHANGED] = {"changed", "building what the diff changes"},
	[STAGE_COMPILE] = {"compile", "compiling affected units from both trees"},
	[STAGE_COMPARE] = {"compare", "comparing objects"},
};

const char *lp_build_stage_name(enum lp_build_stage stage)
{
	return stages[stage].key;
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void tell(const struct lp_build *b, struct lp_build_progress p)
{
	p.stage = stages[b->stage].sentence;
	p.ns = now_ns() - b->stage_began;
	if (b->opts.progress)
		b->opts.progress(&p, b->opts.arg);
}

void lp_build_begin(struct lp_build *b, enum lp_build_stage stage)
{
	b->stage = stage;
	b->stage_began = now_ns();
	tell(b, (struct lp_build_progress){0});
}

void lp_build_tell(struct lp_build *b, size_t done, size_t total, const char *noun)
{
	tell(b, (struct lp_build_progress){.done = done, .total = total, .noun = noun});
}

void lp_build_end(struct lp_build *b, const char *fmt, ...)
{
	char result[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(result, sizeof result, fmt, ap);
	va_end(ap);
	b->stage_ns[b->stage] += now_ns() - b->stage_began;
	tell(b, (struct lp_build_progress){.ended = true, .result = result});
}

const char *lp_build_shown(const struct lp_build *b, const char *path)
{
	size_t len = strlen(b->tree);
	return strncmp(path, b->tree, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}
