/*
 * arm64_runner [OPTIONS] PROGRAM [ARGS...]: runs an AArch64 Linux program.
 * arm64_runner --livepatch-...: patches one that runs.
 */
#include "tool/arm64_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "emu/emu.h"
#include "gdb/gdb.h"
#include "isa/isa.h"
#include "jit/jit.h"
#include "profile/profile.h"
#include "runner/runner.h"

/* ---- help ---- */

static void print_help(void)
{
	printf("usage: arm64_runner [OPTIONS] PROGRAM [ARGS...]\n"
	       "       arm64_runner [--pid PID] [--json] --livepatch-...\n"
	       "       arm64_runner --update [--check|--rollback]\n\n"
	       "Runs a Linux program for AArch64 (ARM64) on this machine, and patches it: before its first instruction "
	       "when\nPROGRAM is given, else while it runs.\n\n");
	for (size_t i = 0; i < NR_RUNNER_OPTIONS; i++) {
		const struct runner_row *r = &runner_rows[i];
		char letter[8] = "    ", left[64];
		if (r->letter)
			snprintf(letter, sizeof letter, "-%c, ", r->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, r->word,
			 *r->argument && *r->argument != '[' ? " " : "", r->argument);
		printf("  %-28s  %s\n", left, r->sentence);
	}
	printf("  --                            what follows is PROGRAM, even if it begins with -\n\n"
	       "An address is a number, a symbol (func, file.c:func, libc.so.6:malloc+8), FILE@0xADDRESS as nm shows "
	       "it, "
	       "or\n$NAME of a function that a patch brought.\n\n"
	       "The exit status is the program's, and it ends by the signal that ends the program. 127: there is no "
	       "such program;\n126: it cannot be run; 125: the runner failed, or refused a patch; 2: wrong use. "
	       "Without "
	       "PROGRAM: 0: done; 1: refused;\n2: wrong use; 3: no runner, or not any more.\n");
}

static void print_about(void)
{
	printf("arm64_runner %s, part of livepatch\n"
	       "An emulator of AArch64 Linux programs for x86-64 Linux: ARMv8.0 with LSE, AES, SHA, CRC32, PAuth, BTI "
	       "and "
	       "more; no SVE.\n"
	       "What the program sees as the machine's is this machine's; -L gives it libraries of its own.\n",
	       lp_program_version);
}

/* ---- what is told while it runs ---- */

static void tell(enum lp_log_level level, const char *line, void *arg)
{
	fprintf(stderr, "arm64_runner: %s\n", line);
}

static void tell_jit_stats(struct lp_emu *emu)
{
	struct lp_jit_stats s;
	char host[128];

	lp_jit_stats(emu, &s);
	lp_jit_host_words(s.host, host, sizeof host);
	fprintf(stderr,
		"arm64_runner: %" PRIu64 " units of %" PRIu64 " instructions translated to %" PRIu64
		" KB of the host's in %" PRIu64 " ms, %" PRIu64
		" of their instructions left to the interpreter; %" PRIu64 " units dropped again, %" PRIu64
		" times all\n",
		s.units, s.insns, s.bytes / 1024, s.ns / 1000000, s.left_to_c, s.invalidated, s.flushed);
	fprintf(stderr, "arm64_runner: what the host has and translated code makes use of: %s\n", host);
	if (s.regions)
		fprintf(stderr, "arm64_runner: %" PRIu64 " of the units are regions\n", s.regions);
	if (s.loaded || s.stored)
		fprintf(stderr,
			"arm64_runner: %" PRIu64 " units of %" PRIu64
			" instructions were in the translation cache, %" PRIu64 " came into it\n",
			s.loaded, s.loaded_insns, s.stored);
	if (s.compared)
		fprintf(stderr, "arm64_runner: %" PRIu64 " runs of units were as the interpreter's\n", s.compared);
}

static void tell_stats(struct lp_emu *emu, int status, void *arg)
{
	struct lp_block_stats s;
	uint64_t executed;

	pthread_mutex_lock(&emu->threads_lock);
	executed = emu->ended_insns;
	for (struct lp_guest_thread *t = emu->threads; t; t = t->next)
		executed += t->cpu.nr_insns;
	pthread_mutex_unlock(&emu->threads_lock);
	lp_blocks_stats(emu->blocks, &s);
	fprintf(stderr,
		"arm64_runner: %" PRIu64 " instructions executed; %" PRIu64 " blocks of %" PRIu64
		" instructions translated, %" PRIu64 " of them dropped again, %" PRIu64 " KB, %" PRIu64 " places\n",
		executed, s.built, s.insns, s.invalidated, s.bytes / 1024, s.slots);
	if (emu->engine)
		tell_jit_stats(emu);
}

/* Standard error as it is now: the program may close its own, or send it elsewhere. */
static int open_trace(const struct runner_wish *w, struct lp_err *err)
{
	int fd = w->strace_file ? open(w->strace_file, O_WRONLY | O_APPEND | O_CLOEXEC) : dup(STDERR_FILENO);
	int rc = fd < 0 ? -errno : lp_strace_to(fd);

	if (rc && fd >= 0)
		close(fd);
	return rc ? lp_fail_sys(err, -rc, "no trace can be written to %s",
				w->strace_file ? w->strace_file : "standard error")
		  : 0;
}

/* Before each instruction of each thread. */
static void tell_instruction(struct lp_guest_thread *t, void *arg)
{
	uint64_t pc = t->cpu.pc;
	uint32_t word;
	char text[128];

	if (lp_mem_get(pc, &word))
		return; /* the fault says where */
	if (!lp_isa_a64.disasm((const uint8_t *)&word, sizeof word, pc, text, sizeof text))
		snprintf(text, sizeof text, "(no instruction)");
	fprintf(stderr, "%d %012" PRIx64 " %08x %s\n", t->tid, pc, word, text);
}

/* ---- its patches ---- */

static void show_row(const char *line, void *arg)
{
	bool *shows = arg;

	if (*shows)
		printf("%s\n", line);
}

static void say(const char *line, void *arg)
{
	fprintf(stderr, "arm64_runner: %s\n", line);
}

static bool asks(const char *verb)
{
	return !strcmp(verb, "list") || !strcmp(verb, "show") || !strcmp(verb, "stats");
}

/* Before the first instruction; what was asked is answered, what was done is not told: the output is the program's. */
static int patch(struct lp_runner *r, const struct runner_wish *w, struct lp_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < w->requests.nr && rc == 0; i++) {
		const runner_words *request = &w->requests.items[i];
		bool shows = asks(request->items[1]);
		rc = lp_runner_do(r, (const char *const *)request->items, request->nr, show_row, &shows, err);
	}
	fflush(stdout);
	return rc;
}

/* ---- all of it ---- */

/* Which of our exit statuses a failure is. */
static int run(struct runner_wish *w, struct lp_err *err)
{
	const struct lp_emu_options options = {
		.sysroot = w->sysroot,
		.argv0 = w->argv0,
		.program_fd = w->program_fd,
		.again = w->again.items,
		.strace = w->is_given[RUNNER_STRACE] || w->strace_file,
		.stats = w->is_given[RUNNER_STATS],
		.trace = w->is_given[RUNNER_TRACE],
		.smc_strict = w->smc && strcmp(w->smc, "strict") == 0,
		.core = w->is_given[RUNNER_CORE],
		.sees_end = w->is_given[RUNNER_STATS] || w->is_given[RUNNER_STRACE] || w->strace_file || w->profile,
		.branches = w->profile,
		.caught = UINT64_C(1) << (SIGHUP - 1),
	};
	const struct lp_runner_options live = {.version = lp_program_version,
					       .debug = w->is_given[RUNNER_LIVEPATCH_DEBUG],
					       .reloads_on_hup = w->is_given[RUNNER_LIVEPATCH_HUP],
					       .watch = (const char *const *)w->watch.items};
	const struct lp_profile_options profile = {
		.file = w->profile, .is_child = w->is_given[RUNNER_EXEC_FD], .waits = w->is_given[RUNNER_PROFILE_WAIT]};
	const char *program = w->program[0];
	struct lp_runner *runner;
	struct lp_emu *emu;

	if (runner_limits_check(err))
		return RUNNER_FAILED;
	emu = lp_emu_new(&options, err);
	if (!emu)
		return RUNNER_FAILED;
	if (runner_jit(emu, w, err))
		return RUNNER_FAILED;
	if (options.strace && open_trace(w, err))
		return RUNNER_FAILED;
	if (options.stats)
		lp_emu_watch(emu, &(struct lp_emu_events){.exiting = tell_stats});
	if (options.trace) {
		lp_emu_watch(emu, &(struct lp_emu_events){.block = tell_instruction});
		atomic_fetch_or(&emu->main->cpu.poll, (uint32_t)LP_POLL_TRACE);
	}
	if (w->argv0)
		w->program[0] = (char *)w->argv0;
	if (lp_emu_load(emu, program, w->program, w->env.items, err))
		return err->code == -ENOENT ? RUNNER_NOT_FOUND : RUNNER_CANNOT_RUN;
	runner = lp_runner_new(emu, &live, err);
	if (!runner)
		return RUNNER_FAILED;
	if (w->patches_from)
		lp_runner_take_patches(runner, w->patches_from, say, NULL);
	if (patch(runner, w, err))
		return RUNNER_FAILED;
	lp_runner_serve(runner);
	if (w->profile && lp_profile_start(emu, &profile, err))
		return RUNNER_FAILED;
	if (w->gdb && lp_gdb_start(emu, w->gdb, err))
		return err->code == -LP_EUSAGE ? RUNNER_USAGE : RUNNER_FAILED;
	runner_limits_nofile(w->nofile);
	lp_emu_run(emu);
}

static int do_wish(struct runner_wish *w, struct lp_err *err)
{
	if (w->is_given[RUNNER_HELP]) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (w->is_given[RUNNER_ABOUT]) {
		print_about();
		return EXIT_SUCCESS;
	}
	if (w->is_given[RUNNER_VERSION]) {
		printf("arm64_runner %s\n", lp_program_version);
		return EXIT_SUCCESS;
	}
	if (w->is_given[RUNNER_SELF_TEST])
		return runner_self_test(err);
	if (w->is_given[RUNNER_CACHE_CLEAR])
		return lp_jit_cache_clear(err) ? RUNNER_FAILED : EXIT_SUCCESS;
	if (runner_wants_update(w))
		return runner_update(w, err);
	if (w->is_given[RUNNER_DEBUG])
		lp_log_set(LP_LOG_DEBUG, tell, NULL);
	if (w->program)
		return run(w, err);
	if (w->requests.nr)
		return runner_client(w);
	if (w->is_given[RUNNER_PID] || w->is_given[RUNNER_JSON])
		lp_fail(err, LP_EUSAGE,
			"--%s: what is asked of the runner? give one of the --livepatch options, as --livepatch-list",
			w->is_given[RUNNER_PID] ? "pid" : "json");
	else
		lp_fail(err, LP_EUSAGE, "which program? usage: arm64_runner [OPTIONS] PROGRAM [ARGS...]");
	return RUNNER_USAGE;
}

static int on_stack(int argc, char **argv)
{
	struct runner_wish w = {0};
	struct lp_err err = {0};
	int status = RUNNER_USAGE;

	if (runner_wish_parse(&w, argc, argv, &err) == 0)
		status = do_wish(&w, &err);
	/* What was too long for the buffer has failed already. */
	if ((fflush(stdout) || ferror(stdout)) && !err.code) {
		lp_fail_sys(&err, errno, "cannot write to standard output");
		status = RUNNER_FAILED;
	}
	if (err.code && w.is_given[RUNNER_JSON] && !w.program)
		runner_say_json(&err);
	else if (err.code)
		fprintf(stderr, "arm64_runner: %s\n", err.text);
	return status;
}

int main(int argc, char **argv)
{
	return runner_on_good_stack(on_stack, argc, argv);
}
