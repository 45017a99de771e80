/* The command line of arm64_runner. */
#include "tool/arm64_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jit/jit.h"

const struct runner_row runner_rows[] = {
#define RUNNER(id, letter, word, argument, inherited, sentence) {letter, word, argument, sentence, inherited},
#include "tool/arm64_runner.def"
#undef RUNNER
};

/* ---- options of the program ---- */

/* Also of "VAR=VALUE". */
static void unset(runner_words *env, const char *name)
{
	size_t len = strcspn(name, "="), kept = 0;

	for (size_t i = 0; i < env->nr; i++)
		if (strncmp(env->items[i], name, len) != 0 || env->items[i][len] != '=')
			env->items[kept++] = env->items[i];
	env->nr = kept;
}

static int take_env(struct runner_wish *w, char *setting, struct lp_err *err)
{
	if (!strchr(setting, '=') || *setting == '=')
		return lp_fail(err, LP_EUSAGE, "-E %s: write VAR=VALUE", setting);
	unset(&w->env, setting);
	lp_vec_push(&w->env, setting);
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

static bool read_number(const char *text, unsigned long *out)
{
	char *end;

	*out = strtoul(text, &end, 10);
	return !*end && end != text && *out > 0 && *out <= INT_MAX;
}

static int take_number(const char *option, const char *text, const char *what, unsigned long *out, struct lp_err *err)
{
	return read_number(text, out) ? 0 : lp_fail(err, LP_EUSAGE, "--%s %s: no %s", option, text, what);
}

static int take_fd(struct runner_wish *w, const char *text, struct lp_err *err)
{
	unsigned long fd = 0;
	int rc = take_number("exec-fd", text, "descriptor", &fd, err);

	w->program_fd = (int)fd;
	return rc;
}

static int take_pid(struct runner_wish *w, const char *text, struct lp_err *err)
{
	unsigned long pid = 0;
	int rc = take_number("pid", text, "process number", &pid, err);

	w->pid = (pid_t)pid;
	return rc;
}

static int take_jit(struct runner_wish *w, const char *mode, struct lp_err *err)
{
	if (!lp_runner_jit_mode(mode ? mode : "yes", &w->jit))
		return lp_fail(err, LP_EUSAGE, "--jit=%s: the modes are " LP_RUNNER_JIT_MODES, mode);
	return 0;
}

static int take_smc(struct runner_wish *w, const char *mode, struct lp_err *err)
{
	w->smc = mode;
	if (strcmp(mode, "strict") != 0 && strcmp(mode, "ivau") != 0)
		return lp_fail(err, LP_EUSAGE, "--smc=%s: the modes are ivau and strict", mode);
	return 0;
}

/* ---- options of live patching ---- */

/* A command that happens together with those before it when all of them can. */
static runner_words *command(struct runner_wish *w, bool joins, const char *verb)
{
	static bool joined; /* the last one may be followed */
	runner_words *request;

	if (joins && joined) {
		request = &w->requests.items[w->requests.nr - 1];
		lp_vec_push(request, lp_strdup(";"));
	} else {
		request = lp_vec_add(&w->requests);
	}
	joined = joins;
	lp_vec_push(request, lp_strdup("patch"));
	lp_vec_push(request, lp_strdup(verb));
	return request;
}

/* The program's folder, and a running runner's, are others. */
static char *whole_path(const char *path)
{
	char here[PATH_MAX];

	if (*path == '/' || !getcwd(here, sizeof here))
		return lp_strdup(path);
	return lp_sprintf("%s/%s", here, path);
}

static int take_file(struct runner_wish *w, bool joins, const char *verb, const char *file)
{
	runner_words *request = command(w, joins, verb);

	lp_vec_push(request, whole_path(file));
	return 0;
}

static int take_word(struct runner_wish *w, bool joins, const char *verb, const char *word)
{
	runner_words *request = command(w, joins, verb);

	lp_vec_push(request, lp_strdup(word));
	return 0;
}

/* ADDR and two words more, which getopt(3) takes for PROGRAM. */
static int take_three(struct runner_wish *w, enum runner_option id, const char *verb, char *first, int argc,
		      char **argv, struct lp_err *err)
{
	runner_words *request;

	if (argc - optind < 2)
		return lp_fail(err, LP_EUSAGE, "--%s wants %s", runner_rows[id].word, runner_rows[id].argument);
	request = command(w, true, verb);
	lp_vec_push(request, lp_strdup(first));
	lp_vec_push(request, lp_strdup(argv[optind++]));
	lp_vec_push(request, lp_strdup(argv[optind++]));
	return 0;
}

/* Before the program runs, a file is loaded with the others; it is watched as soon as somebody can. */
static int take_watch(struct runner_wish *w, const char *file)
{
	lp_vec_push(&w->watch, whole_path(file));
	return 0;
}

/* ---- all of them ---- */

/* Those are a transaction of their own each. */
static bool is_object(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && !strcmp(dot, ".kpatch");
}

static int take_live(struct runner_wish *w, enum runner_option id, char *value, int argc, char **argv,
		     struct lp_err *err)
{
	switch (id) {
	case RUNNER_PATCHES:
	case RUNNER_LIVEPATCH_LOAD:
		return take_file(w, !is_object(value), "load", value);
	case RUNNER_LIVEPATCH_APPLY:
		return take_three(w, id, "apply", value, argc, argv, err);
	case RUNNER_LIVEPATCH_INSERT:
		return take_three(w, id, "insert", value, argc, argv, err);
	case RUNNER_LIVEPATCH_REDIRECT:
		return take_three(w, id, "redirect", value, argc, argv, err);
	case RUNNER_LIVEPATCH_REVERT:
		return take_word(w, value[0] != '#', "revert", value);
	case RUNNER_LIVEPATCH_FORGET:
		return take_word(w, false, "forget", value);
	case RUNNER_LIVEPATCH_SHOW:
		return take_word(w, false, "show", value);
	case RUNNER_LIVEPATCH_SAVE:
		return take_file(w, false, "save", value);
	case RUNNER_LIVEPATCH_WATCH:
		return take_watch(w, value);
	case RUNNER_LIVEPATCH_LIST:
		command(w, false, "list");
		return 0;
	case RUNNER_LIVEPATCH_RELOAD:
		command(w, false, "reload");
		return 0;
	case RUNNER_LIVEPATCH_STATS:
		command(w, false, "stats");
		return 0;
	default:
		return 0;
	}
}

static int take(struct runner_wish *w, enum runner_option id, char *value, int argc, char **argv, struct lp_err *err)
{
	struct stat st;

	w->is_given[id] = true;
	switch (id) {
	case RUNNER_SYSROOT:
		w->sysroot = realpath(value, NULL);
		if (w->sysroot && (stat(w->sysroot, &st) || !S_ISDIR(st.st_mode)))
			return lp_fail_sys(err, ENOTDIR, "-L %s", value);
		return w->sysroot ? 0 : lp_fail_sys(err, errno, "-L %s", value);
	case RUNNER_ENV:
		return take_env(w, value, err);
	case RUNNER_UNSET:
		unset(&w->env, value);
		return 0;
	case RUNNER_ARGV0:
		w->argv0 = value;
		return 0;
	case RUNNER_STRACE_FILE:
		w->strace_file = realpath_of_new(value);
		return w->strace_file ? 0 : lp_fail_sys(err, errno, "--strace-file %s", value);
	case RUNNER_GDB:
		w->gdb = value;
		return 0;
	case RUNNER_PROFILE:
		w->profile = realpath_of_new(value);
		return w->profile ? 0 : lp_fail_sys(err, errno, "--profile %s", value);
	case RUNNER_JIT:
		return take_jit(w, value, err);
	case RUNNER_NO_JIT:
		return take_jit(w, "no", err);
	case RUNNER_DUMP_BLOCK:
		lp_vec_push(&w->dumped_words, value);
		return runner_dump_parse(value, lp_vec_add(&w->dumped), err);
	case RUNNER_DUMP_FILE:
		w->dump_file = realpath_of_new(value);
		return w->dump_file ? 0 : lp_fail_sys(err, errno, "--dump-file %s", value);
	case RUNNER_SMC:
		return take_smc(w, value, err);
	case RUNNER_HOST_CPU:
		w->host_cpu = value;
		return lp_jit_host_parse(value, &w->host_without, err);
	case RUNNER_PATCHES_FROM:
		w->patches_from = whole_path(value);
		return 0;
	case RUNNER_EXEC_FD:
		return take_fd(w, value, err);
	case RUNNER_EXEC_NOFILE:
		return take_number("exec-nofile", value, "number of descriptors", &w->nofile, err);
	case RUNNER_PID:
		return take_pid(w, value, err);
	default:
		return take_live(w, id, value, argc, argv, err);
	}
}

static void say_line(const char *line, void *arg)
{
	fprintf(stderr, "arm64_runner: %s\n", line);
}

static void switch_on(struct runner_wish *w, enum runner_option id, bool on)
{
	w->is_given[id] = w->is_given[id] || on;
}

/* By default; a large program's translations are some 10 MB. */
enum { CACHE_BYTES = 256 << 20 };

/* What the file says beside the command line; files of patches before those of the command line. */
static int configure(struct runner_wish *w, struct lp_err *err)
{
	struct lp_runner_config c;
	int rc = lp_runner_config_find(&c, say_line, NULL, err);

	if (c.sysroot && !w->sysroot) {
		w->sysroot = realpath(c.sysroot, NULL);
		w->is_given[RUNNER_SYSROOT] = w->sysroot;
		if (!w->sysroot && rc == 0)
			rc = lp_fail_sys(err, errno, "arm64runner.conf: sysroot %s", c.sysroot);
	}
	if (c.patches && !w->patches_from) {
		w->patches_from = lp_strdup(c.patches);
		w->is_given[RUNNER_PATCHES_FROM] = true;
	}
	if (c.host_cpu && !w->host_cpu && rc == 0) {
		w->host_cpu = lp_strdup(c.host_cpu);
		w->is_given[RUNNER_HOST_CPU] = true;
		rc = lp_jit_host_parse(w->host_cpu, &w->host_without, err);
	}
	if (c.smc && !w->smc && rc == 0) {
		w->is_given[RUNNER_SMC] = true;
		rc = take_smc(w, lp_strdup(c.smc), err);
	}
	switch_on(w, RUNNER_STRACE, c.strace);
	switch_on(w, RUNNER_STATS, c.stats);
	switch_on(w, RUNNER_DEBUG, c.debug);
	switch_on(w, RUNNER_CORE, c.core);
	switch_on(w, RUNNER_NO_CACHE, c.cache == LP_RUNNER_NO);
	w->cache_bytes = c.cache_bytes ? c.cache_bytes : CACHE_BYTES;
	switch_on(w, RUNNER_LIVEPATCH_DEBUG, c.livepatch_debug);
	switch_on(w, RUNNER_LIVEPATCH_HUP, c.livepatch_hup);
	if (w->jit == LP_RUNNER_JIT_NOT_SAID)
		w->jit = c.jit;
	if (rc == 0)
		runner_auto_update(&c);
	for (size_t i = 0; i < c.load.nr; i++)
		take_file(w, true, "load", c.load.items[i]);
	for (size_t i = 0; i < c.watch.nr; i++)
		take_watch(w, c.watch.items[i]);
	lp_runner_config_free(&c);
	return rc;
}

/* As the last one of the options, or the file, says. */
static void inherit_jit(struct runner_wish *w)
{
	static const char *const words[] = {
		[LP_RUNNER_JIT_NOT_SAID] = NULL,       [LP_RUNNER_JIT_TIER1] = "--jit=tier1",
		[LP_RUNNER_JIT_TIER2] = "--jit=tier2", [LP_RUNNER_JIT_BOTH] = "--jit=both",
		[LP_RUNNER_JIT_CHECK] = "--jit=check", [LP_RUNNER_JIT_CHECK_TIER2] = "--jit=check-tier2",
		[LP_RUNNER_JIT_OFF] = "--no-jit",      [LP_RUNNER_JIT_ON] = "--jit"};

	w->is_given[RUNNER_JIT] = w->is_given[RUNNER_NO_JIT] = false;
	if (words[w->jit])
		lp_vec_push(&w->again, lp_strdup(words[w->jit]));
}

/* More than one of them. */
static void inherit_dumped(struct runner_wish *w)
{
	w->is_given[RUNNER_DUMP_BLOCK] = false;
	for (size_t i = 0; i < w->dumped_words.nr; i++)
		lp_vec_push(&w->again, lp_sprintf("--dump-block=%s", w->dumped_words.items[i]));
}

static void inherit(struct runner_wish *w)
{
	inherit_jit(w);
	inherit_dumped(w);
	for (size_t i = 0; i < NR_RUNNER_OPTIONS; i++) {
		if (!w->is_given[i] || !runner_rows[i].inherited)
			continue;
		lp_vec_push(&w->again, lp_sprintf("--%s", runner_rows[i].word));
		if (i == RUNNER_SYSROOT)
			lp_vec_push(&w->again, lp_strdup(w->sysroot));
		if (i == RUNNER_STRACE_FILE)
			lp_vec_push(&w->again, lp_strdup(w->strace_file));
		if (i == RUNNER_DUMP_FILE)
			lp_vec_push(&w->again, lp_strdup(w->dump_file));
		if (i == RUNNER_SMC)
			lp_vec_push(&w->again, lp_strdup(w->smc));
		if (i == RUNNER_HOST_CPU)
			lp_vec_push(&w->again, lp_strdup(w->host_cpu));
		if (i == RUNNER_PROFILE)
			lp_vec_push(&w->again, lp_strdup(w->profile));
		if (i == RUNNER_PATCHES_FROM)
			lp_vec_push(&w->again, lp_strdup(w->patches_from));
	}
	lp_vec_push(&w->again, NULL);
}

static void finish_live(struct runner_wish *w)
{
	for (size_t i = 0; i < w->watch.nr; i++)
		take_file(w, w->program, w->program ? "load" : "watch", w->watch.items[i]);
	lp_vec_push(&w->watch, NULL);
	if (!w->program && w->is_given[RUNNER_LIVEPATCH_DEBUG])
		take_word(w, false, "debug", "on");
}

/* Options that mean something together only. */
static int check_together(const struct runner_wish *w, struct lp_err *err)
{
	static const enum runner_option of_update[] = {RUNNER_CHECK, RUNNER_ROLLBACK, RUNNER_UNSIGNED};

	for (size_t i = 0; i < LP_ARRAY_SIZE(of_update); i++)
		if (w->is_given[of_update[i]] && !w->is_given[RUNNER_UPDATE])
			return lp_fail(err, LP_EUSAGE, "--%s goes with --update", runner_rows[of_update[i]].word);
	if (w->program && runner_wants_update(w))
		return lp_fail(err, LP_EUSAGE, "an update is done alone, but %s would be started; leave one out",
			       w->program[0]);
	if (w->program && (w->is_given[RUNNER_PID] || w->is_given[RUNNER_JSON]))
		return lp_fail(err, LP_EUSAGE,
			       "--%s is for questions to a runner that runs, but %s would be started; leave one out",
			       w->is_given[RUNNER_PID] ? "pid" : "json", w->program[0]);
	return 0;
}

/* Options that look at translated code, of which there has to be some. */
static int check_translated(const struct runner_wish *w, struct lp_err *err)
{
	static const enum runner_option looking[] = {RUNNER_DUMP_BLOCK, RUNNER_PERF_MAP, RUNNER_JITDUMP};

	if (w->is_given[RUNNER_DUMP_FILE] && !w->dumped.nr)
		return lp_fail(err, LP_EUSAGE, "--dump-file goes with --dump-block");
	for (size_t i = 0; i < LP_ARRAY_SIZE(looking) && w->jit == LP_RUNNER_JIT_OFF; i++)
		if (w->is_given[looking[i]])
			return lp_fail(err, LP_EUSAGE,
				       "--%s is about translated code, and nothing is translated: %s is to be left out",
				       runner_rows[looking[i]].word,
				       w->is_given[RUNNER_NO_JIT] || w->is_given[RUNNER_JIT]
					       ? "--no-jit"
					       : "jit = no in arm64runner.conf");
	return 0;
}

/* Behind an option that was refused nobody knows whose the words are: up to "--" they are taken for options. */
static bool asks_for_json(int argc, char **argv, int from)
{
	for (int i = from; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

/* As getopt_long(3) has it. */
static int takes_argument(const struct runner_row *r)
{
	if (!*r->argument)
		return no_argument;
	return *r->argument == '[' ? optional_argument : required_argument;
}

static int parse(struct runner_wish *w, int argc, char **argv, struct lp_err *err)
{
	struct option words[NR_RUNNER_OPTIONS + 1] = {0};
	char letters[2 * NR_RUNNER_OPTIONS + 3] = "+:";
	size_t nr = strlen(letters);
	int index, c;

	for (size_t i = 0; i < NR_RUNNER_OPTIONS; i++) {
		words[i] = (struct option){runner_rows[i].word, takes_argument(&runner_rows[i]), NULL, (int)(256 + i)};
		if (runner_rows[i].letter)
			letters[nr++] = runner_rows[i].letter;
		if (runner_rows[i].letter && *runner_rows[i].argument)
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
		for (size_t i = 0; c < 256 && i < NR_RUNNER_OPTIONS; i++)
			if (runner_rows[i].letter == c)
				id = i;
		rc = take(w, (enum runner_option)id, optarg, argc, argv, err);
		if (rc)
			return rc;
	}
	lp_vec_push(&w->env, NULL);
	w->program = optind < argc ? argv + optind : NULL;
	if (check_together(w, err))
		return err->code;
	/* A program that another one executes has its options from that one. */
	if (w->program && !w->is_given[RUNNER_EXEC_FD] && configure(w, err))
		return err->code;
	if (check_translated(w, err))
		return err->code;
	inherit(w);
	finish_live(w);
	return 0;
}

int runner_wish_parse(struct runner_wish *w, int argc, char **argv, struct lp_err *err)
{
	int rc = parse(w, argc, argv, err);

	if (rc && !w->program)
		w->is_given[RUNNER_JSON] |= asks_for_json(argc, argv, optind);
	return rc;
}
