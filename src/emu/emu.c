#include "emu/emu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/reserve.h"
#include "base/vec.h"
#include "emu/loader.h"

/* The sysroot without links and without a slash at its end, as paths are compared with it; NULL when it is no other root. */
static int find_sysroot(const char *given, char **out, struct lp_err *err)
{
	struct stat st;

	*out = NULL;
	if (!given)
		return 0;
	*out = realpath(given, NULL);
	if (!*out)
		return lp_fail_sys(err, errno, "cannot look into the sysroot %s", given);
	if (stat(*out, &st) || !S_ISDIR(st.st_mode)) {
		lp_free(*out);
		return lp_fail(err, ENOTDIR, "the sysroot %s is no folder", given);
	}
	if (!strcmp(*out, "/")) {
		lp_free(*out);
		*out = NULL;
	}
	return 0;
}

struct lp_emu *lp_emu_new(const struct lp_emu_options *options, struct lp_err *err)
{
	struct lp_emu *emu;
	char *sysroot;

	if (find_sysroot(options->sysroot, &sysroot, err))
		return NULL;
	/* A guest that takes all memory there is gets ENOMEM, and goes on: what it executes then needs some of ours. */
	lp_reserve_make();
	emu = lp_alloc(sizeof *emu);
	emu->options = *options;
	emu->options.sysroot = sysroot;
	pthread_mutex_init(&emu->threads_lock, NULL);
	pthread_mutex_init(&emu->stop_lock, NULL);
	emu->space = lp_mem_new(sysroot);
	emu->blocks = lp_blocks_new(emu);
	lp_signals_init(emu); /* from here on a fault in a copy is an error */
	emu->main = lp_guest_thread_new(emu);
	return emu;
}

int lp_emu_load(struct lp_emu *emu, const char *program, char *const *argv, char *const *envp, struct lp_err *err)
{
	return lp_loader_load(emu, program, argv, envp, err);
}

void lp_emu_run(struct lp_emu *emu)
{
	lp_guest_thread_run(emu->main);
}

void lp_emu_free(struct lp_emu *emu)
{
	if (!emu)
		return;
	lp_loader_free(emu->loaded);
	lp_blocks_free(emu->blocks);
	lp_mem_free(emu->space);
	pthread_mutex_destroy(&emu->stop_lock);
	pthread_mutex_destroy(&emu->threads_lock);
	lp_free(emu->main);
	lp_process_signals_free(emu->signals);
	lp_free((char *)emu->options.sysroot);
	lp_free(emu);
}

void lp_emu_watch(struct lp_emu *emu, const struct lp_emu_events *events)
{
	if (emu->nr_events < LP_EMU_WATCHERS)
		emu->events[emu->nr_events++] = *events;
}
