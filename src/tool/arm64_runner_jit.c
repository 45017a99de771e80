/* The translator, as the command line wants it, and those who look at what it makes. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "emu/emu.h"
#include "jit/jit.h"
#include "profile/perf.h"
#include "tool/arm64_runner.h"

static struct {
	const struct runner_wish *w;
	struct lp_emu *emu;
	pthread_mutex_t lock; /* of what follows; the translator's, and the address space's, are taken before it */
	struct lp_sites sites;
	struct lp_perf *perf; /* NULL: nothing is wanted, or nothing can be written */
} look = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { NAME_MAX_LENGTH = 512 };

static void make_printable(char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			*name = '?';
}

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
	make_printable(out);
}

/* Profiles are read by function: no file, as the flame graphs of --profile have none. */
static void add_to_profile(const struct lp_jit_made *made, void *arg)
{
	struct lp_site site = made->nr_insns ? lp_site_find(&look.sites, made->pc) : (struct lp_site){0};
	char name[NAME_MAX_LENGTH];

	if (!made->nr_insns)
		snprintf(name, sizeof name, "[arm64_runner]");
	else if (site.symbol)
		snprintf(name, sizeof name, "%.300s%s%#.0lx", site.symbol, site.offset ? "+" : "",
			 (unsigned long)site.offset);
	else
		snprintf(name, sizeof name, "%#lx", (unsigned long)made->pc);
	make_printable(name);
	if (look.perf &&
	    !lp_perf_add(look.perf, &(struct lp_perf_code){.address = made->code, .size = made->size, .name = name}))
		dprintf(STDERR_FILENO, "arm64_runner: what perf is told cannot be written any more: %s\n",
			strerrordesc_np(errno));
}

static void made(const struct lp_jit_made *made, void *arg)
{
	char name[NAME_MAX_LENGTH];

	pthread_mutex_lock(&look.lock);
	if (runner_dump_wants(look.w, made, &look.sites)) {
		name_place(made->pc, name, sizeof name);
		runner_dump_show(look.emu, made, name);
	}
	if (look.perf)
		add_to_profile(made, NULL);
	pthread_mutex_unlock(&look.lock);
}

static void unmapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	pthread_mutex_lock(&look.lock);
	lp_sites_forget(&look.sites, range);
	pthread_mutex_unlock(&look.lock);
}

static bool tells_perf(const struct runner_wish *w)
{
	return w->is_given[RUNNER_PERF_MAP] || w->is_given[RUNNER_JITDUMP];
}

static int open_perf(bool is_next, struct lp_err *err)
{
	const struct lp_perf_options options = {
		.map = look.w->is_given[RUNNER_PERF_MAP], .dump = look.w->is_given[RUNNER_JITDUMP], .is_next = is_next};

	look.perf = lp_perf_open(&options, err);
	if (look.perf)
		lp_jit_each_made(look.emu, add_to_profile, NULL);
	return look.perf ? 0 : err->code;
}

/* The parent's files are the parent's. */
static void forked(struct lp_emu *emu, void *arg)
{
	struct lp_err err = {0};

	pthread_mutex_init(&look.lock, NULL); /* who had it is not here */
	if (!tells_perf(look.w))
		return;
	if (look.perf)
		lp_perf_close(look.perf);
	if (open_perf(false, &err))
		dprintf(STDERR_FILENO, "arm64_runner: %s\n", err.text);
}

static bool is_looked_at(const struct runner_wish *w)
{
	return w->dumped.nr || tells_perf(w);
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
	const bool checks = w->jit == LP_RUNNER_JIT_CHECK || w->jit == LP_RUNNER_JIT_CHECK_TIER2;
	const bool regions = w->jit == LP_RUNNER_JIT_TIER2 || w->jit == LP_RUNNER_JIT_CHECK_TIER2;
	struct lp_jit_options options = {.checks = checks,
					 .tier = regions			? LP_JIT_TIER2
						 : w->jit == LP_RUNNER_JIT_BOTH ? LP_JIT_BOTH
										: LP_JIT_TIER1,
					 .without = w->host_without};
	bool looked_at = is_looked_at(w);

	/* What is shown is made now. */
	if (w->dumped.nr == 0) {
		options.cache_bytes = w->is_given[RUNNER_NO_CACHE] ? 0 : w->cache_bytes;
		options.waits = w->jit == LP_RUNNER_JIT_ON || w->jit == LP_RUNNER_JIT_NOT_SAID;
	}
	if (w->jit == LP_RUNNER_JIT_OFF)
		return 0;
	if (looked_at) {
		if (start_looking(emu, w, err))
			return err->code;
		options.made = made;
	}
	if (lp_jit_attach(emu, &options, err) == 0)
		return tells_perf(w) ? open_perf(w->is_given[RUNNER_EXEC_FD], err) : 0;
	if (looked_at)
		return err->code;
	lp_debug("%s", err->text);
	*err = (struct lp_err){0};
	return 0;
}
