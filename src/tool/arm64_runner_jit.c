/* The translator, as the command line wants it, and those who look at what it makes. */
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "emu/emu.h"
#include "jit/jit.h"
#include "tool/arm64_runner.h"

static struct {
	const struct runner_wish *w;
	struct lp_emu *emu;
	pthread_mutex_t lock; /* of what follows; the translator's, and the address space's, are taken before it */
	struct lp_sites sites;
} look = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { NAME_MAX_LENGTH = 512 };

/* function+0x10 [file], or nothing. */
static void name_place(uint64_t pc, char *out, size_t size)
{
	struct lp_site site = lp_site_find(&look.sites, pc);

	*out = 0;
	if (site.symbol)
		snprintf(out, size, "%.300s%s%#.0lx [%.100s]", site.symbol, site.offset ? "+" : "",
			 (unsigned long)site.offset, site.file);
	else if (site.file)
		snprintf(out, size, "[%.100s]+%#lx", site.file, (unsigned long)site.offset);
	for (; *out; out++)
		if ((unsigned char)*out < ' ' || *out == 0x7f)
			*out = '?';
}

static void made(const struct lp_jit_made *made, void *arg)
{
	char name[NAME_MAX_LENGTH];

	pthread_mutex_lock(&look.lock);
	name_place(made->pc, name, sizeof name);
	if (runner_dump_wants(look.w, made, &look.sites))
		runner_dump_show(look.emu, made, name);
	pthread_mutex_unlock(&look.lock);
}

static void unmapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	pthread_mutex_lock(&look.lock);
	lp_sites_forget(&look.sites, range);
	pthread_mutex_unlock(&look.lock);
}

/* Who had it is not here. */
static void forked(struct lp_emu *emu, void *arg)
{
	pthread_mutex_init(&look.lock, NULL);
}

static bool is_looked_at(const struct runner_wish *w)
{
	return w->dumped.nr;
}

static int start_looking(struct lp_emu *emu, const struct runner_wish *w, struct lp_err *err)
{
	look.w = w;
	look.emu = emu;
	lp_emu_watch(emu, &(struct lp_emu_events){.unmapped = unmapped, .forked = forked});
	return w->dumped.nr ? runner_dump_start(w, err) : 0;
}

/* Where the host cannot, everything is interpreted: which is a failure only when translated code is asked for. */
int runner_jit(struct lp_emu *emu, const struct runner_wish *w, struct lp_err *err)
{
	struct lp_jit_options options = {.checks = w->jit == LP_RUNNER_JIT_CHECK, .without = w->host_without};
	bool looked_at = is_looked_at(w);

	if (w->jit == LP_RUNNER_JIT_OFF)
		return 0;
	if (looked_at) {
		if (start_looking(emu, w, err))
			return err->code;
		options.made = made;
	}
	if (lp_jit_attach(emu, &options, err) == 0)
		return 0;
	if (looked_at)
		return err->code;
	lp_debug("%s", err->text);
	*err = (struct lp_err){0};
	return 0;
}
