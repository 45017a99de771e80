/*
 * arm64_runner [OPTIONS] PROGRAM [ARGS...]: runs an AArch64 Linux program.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/vec.h"
#include "emu/emu.h"
#include "gdb/gdb.h"
#include "isa/isa.h"

enum { STATUS_USAGE = 2, STATUS_CANNOT_RUN = 126, STATUS_NOT_FOUND = 127 };

enum option_id {
#define RUNNER(id, letter, word, argument, inherited, sentence) OPTION_##id,
#include "tool/arm64_runner.def"
#undef RUNNER
	NR_OPTIONS
};

static const struct row {
	char letter;
	const char *word, *argument, *sentence;
	bool inherited;
} rows[] = {
#define RUNNER(id, letter, word, argument, inherited, sentence) {letter, word, argument, sentence, inherited},
#include "tool/arm64_runner.def"
#undef RUNNER
};

typedef LP_VEC(char *) string_vec;

/* What the command line says. */
struct wish {
	bool is_given[NR_OPTIONS];
	const char *sysroot, *argv0, *strace_file, *gdb;
	int program_fd;
	string_vec env;	  /* the program's; ends with NULL once parsed */
	string_vec again; /* options for children; the same */
	char **program;	  /* and its arguments; NULL: none */
};

/* ---- help ---- */

static void print_help(void)
{
	printf("usage: arm64_runner [OPTIONS] PROGRAM [ARGS...]\n\n"
	       "Runs a Linux program for AArch64 (ARM64) on this machine.\n\n");
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		const struct row *r = &rows[i];
		char letter[8] = "    ", left[48];
		if (r->letter)
			snprintf(letter, sizeof letter, "-%c, ", r->letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, r->word, *r->argument ? " " : "", r->argument);
		printf("  %-24s  %s\n", left, r->sentence);
	}
	printf("  --                        what follows is PROGRAM, even if it begins with -\n\n"
	       "The exit status is the program's, and it ends by the signal that ends the program. 127: there is no "
	       "such program;\n126: it cannot be run; 2: wrong use.\n");
}

static void print_about(void)
{
	printf("arm64_runner %s, part of livepatch\n"
	       "An emulator of AArch64 Linux programs for x86-64 Linux: ARMv8.0 with LSE, AES, SHA, CRC32, PAuth, BTI "
	       "and "
	       "more; no SVE.\n"
	       "What the program sees as the machine's is this machine's; -L gives it libraries of its own.\n",
	       LP_TOOL_VERSION);
}

/* ---- the command line ---- */

/* Also of "VAR=VALUE". */
static void unset(string_vec *env, const char *name)
{
	size_t len = strcspn(name, "="), kept = 0;

	for (size_t i = 0; i < env->nr; i++)
		if (strncmp(env->items[i], name, len) != 0 || env->items[i][len] != '=')
			env->items[kept++] = env->items[i];
	env->nr = kept;
}

static int take_env(struct wish *w, char *setting, struct lp_err *err)
{
	if (!strchr(setting, '=') || *setting == '=')
		return lp_fail(err, LP_EUSAGE, "-E %s: write VAR=VALUE", setting);
	unset(&w->env, setting);
	lp_vec_push(&w->env, setting);
	return 0;
}

static int take_fd(struct wish *w, const char *text, struct lp_err *err)
{
	char *end;
	unsigned long fd = strtoul(text, &end, 10);

	if (*end || end == text || fd == 0 || fd > INT_MAX)
		return lp_fail(err, LP_EUSAGE, "--exec-fd %s: no descriptor", text);
	w->program_fd = (int)fd;
	return 0;
}

/* For children, which may be elsewhere; the file exists from then on.  NULL with errno. */
static char *realpath_of_new(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0)
		return NULL;
	close(fd);
	return realpath(path, NULL);
}

static int take(struct wish *w, enum option_id id, char *value, struct lp_err *err)
{
	w->is_given[id] = true;
	switch (id) {
	case OPTION_SYSROOT:
		w->sysroot = realpath(value, NULL);
		return w->sysroot ? 0 : lp_fail_sys(err, errno, "-L %s", value);
	case OPTION_ENV:
		return take_env(w, value, err);
	case OPTION_UNSET:
		unset(&w->env, value);
		return 0;
	case OPTION_ARGV0:
		w->argv0 = value;
		return 0;
	case OPTION_STRACE_FILE:
		w->strace_file = realpath_of_new(value);
		return w->strace_file ? 0 : lp_fail_sys(err, errno, "--strace-file %s", value);
	case OPTION_GDB:
		w->gdb = value;
		return 0;
	case OPTION_EXEC_FD:
		return take_fd(w, value, err);
	default:
		return 0;
	}
}

static void inherit(struct wish *w)
{
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		if (!w->is_given[i] || !rows[i].inherited)
			continue;
		lp_vec_push(&w->again, lp_sprintf("--%s", rows[i].word));
		if (i == OPTION_SYSROOT)
			lp_vec_push(&w->again, lp_strdup(w->sysroot));
		if (i == OPTION_STRACE_FILE)
			lp_vec_push(&w->again, lp_strdup(w->strace_file));
	}
	lp_vec_push(&w->again, NULL);
}

static int parse(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	struct option words[NR_OPTIONS + 1] = {0};
	char letters[2 * NR_OPTIONS + 3] = "+:";
	size_t nr = strlen(letters);
	int index, c;

	for (size_t i = 0; i < NR_OPTIONS; i++) {
		words[i] = (struct option){rows[i].word, *rows[i].argument != 0, NULL, (int)(256 + i)};
		if (rows[i].letter)
			letters[nr++] = rows[i].letter;
		if (rows[i].letter && *rows[i].argument)
			letters[nr++] = ':';
	}
	for (char **e = environ; *e; e++)
		lp_vec_push(&w->env, *e);
	while ((c = getopt_long(argc, argv, letters, words, &index)) != -1) {
		size_t id = (size_t)c - 256;
		int rc;
		if (c == '?' || c == ':')
			return lp_fail(err, LP_EUSAGE, "%s %s; arm64_runner --help lists the options", argv[optind - 1],
				       c == ':' ? "wants an argument" : "is no option of this runner");
		for (size_t i = 0; c < 256 && i < NR_OPTIONS; i++)
			if (rows[i].letter == c)
				id = i;
		rc = take(w, (enum option_id)id, optarg, err);
		if (rc)
			return rc;
	}
	lp_vec_push(&w->env, NULL);
	inherit(w);
	w->program = optind < argc ? argv + optind : NULL;
	return 0;
}

/* ---- what is told while it runs ---- */

static void tell(enum lp_log_level level, const char *line, void *arg)
{
	fprintf(stderr, "arm64_runner: %s\n", line);
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
}

/* Standard error as it is now: the program may close its own, or send it elsewhere. */
static int open_trace(const struct wish *w, struct lp_err *err)
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

/* ---- all of it ---- */

static int run(struct wish *w, struct lp_err *err)
{
	const struct lp_emu_options options = {
		.sysroot = w->sysroot,
		.argv0 = w->argv0,
		.program_fd = w->program_fd,
		.again = w->again.items,
		.strace = w->is_given[OPTION_STRACE] || w->strace_file,
		.stats = w->is_given[OPTION_STATS],
		.trace = w->is_given[OPTION_TRACE],
		.core = w->is_given[OPTION_CORE],
	};
	struct lp_emu *emu = lp_emu_new(&options, err);
	const char *program = w->program[0];
	int rc;

	if (!emu)
		return err->code;
	if (options.strace && (rc = open_trace(w, err)))
		return rc;
	if (options.stats)
		lp_emu_watch(emu, &(struct lp_emu_events){.exiting = tell_stats});
	if (options.trace) {
		lp_emu_watch(emu, &(struct lp_emu_events){.block = tell_instruction});
		atomic_fetch_or(&emu->main->cpu.poll, (uint32_t)LP_POLL_TRACE);
	}
	if (w->argv0)
		w->program[0] = (char *)w->argv0;
	rc = lp_emu_load(emu, program, w->program, w->env.items, err);
	if (rc == 0 && w->gdb)
		rc = lp_gdb_start(emu, w->gdb, err);
	if (rc)
		return rc;
	lp_emu_run(emu);
}

static int status_of_failure(const struct lp_err *err)
{
	if (err->code == -LP_EUSAGE)
		return STATUS_USAGE;
	return err->code == -ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

int main(int argc, char **argv)
{
	struct wish w = {0};
	struct lp_err err = {0};
	int rc = parse(&w, argc, argv, &err);

	if (rc == 0 && w.is_given[OPTION_HELP]) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (rc == 0 && (w.is_given[OPTION_VERSION] || w.is_given[OPTION_ABOUT])) {
		w.is_given[OPTION_ABOUT] ? print_about() : (void)printf("arm64_runner %s\n", LP_TOOL_VERSION);
		return EXIT_SUCCESS;
	}
	if (rc == 0 && w.is_given[OPTION_DEBUG])
		lp_log_set(LP_LOG_DEBUG, tell, NULL);
	if (rc == 0 && !w.program)
		rc = lp_fail(&err, LP_EUSAGE, "which program? usage: arm64_runner [OPTIONS] PROGRAM [ARGS...]");
	if (rc == 0)
		run(&w, &err); /* comes back only to say why not */
	fprintf(stderr, "arm64_runner: %s\n", err.text);
	return status_of_failure(&err);
}
