/*
 * livepatch-cc: a compiler that remembers (build/wrap.h).
 *
 * The result must be what the real compiler makes of the user's command, to the byte: the only words added are a prefix
 * map (so that neither __FILE__ nor debug information names the private copy) and requests for side files (dependencies,
 * the linker's map).  A command that compiles and links in one go is run as two, because the object in the middle is
 * needed later and the driver would throw it away.
 *
 * Nothing is written down before the compiler has succeeded, and nothing that goes wrong here may fail the build: a
 * record that cannot be written is a unit that the builder does not know, and says so.
 */
#include "build/wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/record.h"
#include "build/tree.h"

typedef LP_VEC(char *) argv_vec;

struct job {
	const char *real, *records, *stem;
	struct lp_record record;
	struct lp_ccargs *args; /* of record */
	char **given;		/* the command's own words, response files unread */
	size_t nr_given;
	bool sections;
};

/* ---- the program behind us ---- */

/* Whatever link of PATH leads to us, of this build or of one around it. */
static bool is_ourselves(const char *path)
{
	struct stat file, self;
	return stat(path, &file) == 0 && stat("/proc/self/exe", &self) == 0 && file.st_dev == self.st_dev &&
	       file.st_ino == self.st_ino;
}

static bool is_program(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *search_path(const char *name)
{
	const char *path = getenv("PATH");
	for (const char *p = path; p && *p;) {
		size_t len = strcspn(p, ":");
		char *dir = len ? lp_sprintf("%.*s", (int)len, p) : lp_strdup(".");
		char *file = lp_sprintf("%s/%s", dir, name);
		bool found = is_program(file) && !is_ourselves(file);
		lp_free(dir);
		if (found)
			return file;
		lp_free(file);
		p += len + (p[len] == ':');
	}
	return NULL;
}

static char *find_real(const char *name)
{
	const char *dir = getenv(LP_WRAP_DIR);
	if (dir) {
		char *named = lp_sprintf("%s/%s.real", dir, name);
		char *real = realpath(named, NULL);
		lp_free(named);
		if (real)
			return real;
	}
	return search_path(name);
}

/* ---- commands ---- */

static void add(argv_vec *argv, const char *word)
{
	lp_vec_push(argv, lp_strdup(word));
}

static void add_prefix_map(argv_vec *argv)
{
	const char *map = getenv(LP_WRAP_MAP);
	if (!map)
		return;
	char *word = lp_sprintf("-ffile-prefix-map=%s", map);
	lp_vec_push(argv, word);
}

static void add_section_flags(argv_vec *argv)
{
	static const char *const flags[] = {LP_SECTION_FLAGS};
	const char *include = getenv(LP_WRAP_INCLUDE);
	for (size_t i = 0; i < LP_ARRAY_SIZE(flags); i++)
		add(argv, flags[i]);
	if (include) {
		add(argv, "-idirafter");
		add(argv, include);
	}
}

static void free_argv(argv_vec *argv)
{
	for (size_t i = 0; i < argv->nr; i++)
		lp_free(argv->items[i]);
	lp_vec_free(argv);
}

/* As a shell would see it: the exit status, or 128 and the signal. */
static int run(argv_vec *argv)
{
	pid_t pid;
	int status;
	lp_vec_push(argv, NULL);
	int rc = posix_spawn(&pid, argv->items[0], NULL, NULL, argv->items, environ);
	if (rc) {
		dprintf(STDERR_FILENO, "livepatch-cc: cannot run %s: %s\n", argv->items[0], strerror(rc));
		return 127;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *side_file(const struct job *j, const char *suffix)
{
	return lp_sprintf("%s/%s%s", j->records, j->stem, suffix);
}

static char *unit_file(const struct job *j, size_t unit, const char *suffix)
{
	return lp_sprintf("%s/%s.%zu%s", j->records, j->stem, unit, suffix);
}

/* ---- what is written down ---- */

static bool matters(const char *variable)
{
	static const char *const names[] = {"PATH=",
					    (LP_WRAP_DIR "="), /* a compiler may be a script that calls another one */
					    "PWD=",
					    "CPATH=",
					    "C_INCLUDE_PATH=",
					    "CPLUS_INCLUDE_PATH=",
					    "OBJC_INCLUDE_PATH=",
					    "COMPILER_PATH=",
					    "LIBRARY_PATH=",
					    "SOURCE_DATE_EPOCH=",
					    "LANG=",
					    "LC_",
					    "GCC_",
					    "CCC_",
					    "CLANG_",
					    "DEB_",
					    "ZERO_AR_DATE="};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static void remember_environment(struct lp_record *r)
{
	for (char **e = environ; *e; e++)
		if (matters(*e))
			lp_vec_push(&r->env, lp_strdup(*e));
}

static char *object_of(const struct lp_ccargs *a, const struct lp_ccargs_input *input, const char *cwd)
{
	char *name = a->output ? lp_strdup(a->output) : lp_ccargs_default_object(input->path);
	char *path = lp_path_join(cwd, name);
	lp_free(name);
	return path;
}

static void add_unit(struct job *j, const char *source, char *object, bool has_copy)
{
	struct lp_record_unit *u = lp_vec_add(&j->record.units);
	u->source = lp_strdup(source);
	u->object = object;
	u->has_copy = has_copy;
	lp_hash_file(&u->hash, object);
}

static void write_record(struct job *j)
{
	struct lp_err err = {0};
	remember_environment(&j->record);
	if (lp_record_write(j->records, &j->record, &err) < 0)
		dprintf(STDERR_FILENO, "livepatch-cc: %s\n", err.text);
}

static bool is_unit(const struct lp_ccargs_input *input)
{
	return input->kind == LP_CC_SOURCE || input->kind == LP_CC_ASSEMBLER;
}

static size_t nr_units(const struct lp_ccargs *a)
{
	size_t nr = 0;
	for (size_t i = 0; i < a->inputs.nr; i++)
		nr += is_unit(&a->inputs.items[i]);
	return nr;
}

/* ---- gcc -c ---- */

static bool has_source(const struct lp_ccargs *a)
{
	for (size_t i = 0; i < a->inputs.nr; i++)
		if (a->inputs.items[i].kind == LP_CC_SOURCE)
			return true;
	return a->odd;
}

static void add_given(argv_vec *argv, const struct job *j)
{
	for (size_t i = 0; i < j->nr_given; i++)
		add(argv, j->given[i]);
}

static bool may_ask_for_deps(const struct lp_ccargs *a)
{
	return !a->wants_deps && !a->odd && nr_units(a) == 1;
}

/* Where the compiler put the dependencies that the command asked for. */
static char *own_dep_file(const struct lp_ccargs *a, const char *object)
{
	if (a->dep_file)
		return lp_strdup(a->dep_file);
	const char *base = strrchr(object, '/'), *dot = strrchr(base ? base : object, '.');
	return lp_sprintf("%.*s.d", (int)(dot ? (size_t)(dot - object) : strlen(object)), object);
}

static void keep_deps(struct job *j)
{
	if (!j->args->wants_deps || j->record.units.nr != 1)
		return;
	char *from = own_dep_file(j->args, j->record.units.items[0].object), *to = unit_file(j, 0, ".d");
	lp_copy_file(from, to, NULL);
	lp_free(from);
	lp_free(to);
}

static void keep_objects(struct job *j)
{
	size_t nr = 0;
	for (size_t i = 0; i < j->args->inputs.nr; i++) {
		const struct lp_ccargs_input *input = &j->args->inputs.items[i];
		if (!is_unit(input))
			continue;
		char *object = object_of(j->args, input, j->record.cwd), *copy = unit_file(j, nr++, ".o");
		add_unit(j, input->path, object, lp_copy_file(object, copy, NULL) == 0);
		lp_free(copy);
	}
}

static int compile(struct job *j)
{
	argv_vec argv = {0};
	add(&argv, j->real);
	if (has_source(j->args))
		add_prefix_map(&argv);
	add_given(&argv, j);
	if (j->sections && has_source(j->args))
		add_section_flags(&argv);
	if (may_ask_for_deps(j->args)) {
		add(&argv, "-MD");
		add(&argv, "-MF");
		lp_vec_push(&argv, unit_file(j, 0, ".d"));
	}
	int status = run(&argv);
	free_argv(&argv);
	if (status == 0 && !j->args->odd) {
		keep_objects(j);
		keep_deps(j);
		write_record(j);
	}
	return status;
}

/* ---- gcc, and ld ---- */

static char *map_word(const struct job *j)
{
	char *file = side_file(j, ".map"),
	     *word = lp_sprintf("%s%s", j->record.is_linker ? "-Map=" : "-Wl,-Map=", file);
	lp_free(file);
	return word;
}

static bool is_elf(const char *path)
{
	char magic[4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool elf = fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0;
	lp_close(fd);
	return elf;
}

static void keep_own_map(const struct job *j)
{
	if (!j->args->map)
		return;
	char *to = side_file(j, ".map");
	lp_copy_file(j->args->map, to, NULL);
	lp_free(to);
}

static void remember_link(struct job *j)
{
	j->record.output = lp_path_join(j->record.cwd, j->args->output ? j->args->output : "a.out");
	if (!is_elf(j->record.output))
		return;
	keep_own_map(j);
	char *copy = side_file(j, ".bin");
	lp_copy_file(j->record.output, copy, NULL);
	lp_free(copy);
	write_record(j);
}

static int link_with_map(struct job *j, argv_vec *argv)
{
	if (!j->args->map)
		lp_vec_push(argv, map_word(j));
	setenv("LANGUAGE", "C", 1); /* the headings of a map are translated */
	int status = run(argv);
	if (status == 0)
		remember_link(j);
	return status;
}

static int link_objects(struct job *j)
{
	argv_vec argv = {0};
	add(&argv, j->real);
	if (!j->record.is_linker && has_source(j->args))
		add_prefix_map(&argv);
	add_given(&argv, j);
	int status = link_with_map(j, &argv);
	free_argv(&argv);
	return status;
}

/* ---- both in one go ---- */

static const struct lp_ccargs_input *input_at(const struct lp_ccargs *a, size_t word)
{
	for (size_t i = 0; i < a->inputs.nr; i++)
		if (a->inputs.items[i].word == word)
			return &a->inputs.items[i];
	return NULL;
}

/* The command's words without inputs, output and what only the linker reads. */
static void add_compile_words(argv_vec *argv, const struct lp_ccargs *a)
{
	for (size_t i = 0, span; i < a->words.nr; i += span) {
		const char *word = a->words.items[i];
		size_t dependency = lp_ccargs_dependency_span(a, i);
		span = dependency ? dependency : lp_ccargs_span(a, i);
		if (dependency || input_at(a, i) || strncmp(word, "-o", 2) == 0 || lp_ccargs_is_link_word(word))
			continue;
		for (size_t k = 0; k < span; k++)
			add(argv, a->words.items[i + k]);
	}
}

static int compile_unit(struct job *j, const struct lp_ccargs_input *input, size_t unit)
{
	argv_vec argv = {0};
	char *object = unit_file(j, unit, ".o");
	add(&argv, j->real);
	add_prefix_map(&argv);
	add_compile_words(&argv, j->args);
	if (j->sections && input->kind == LP_CC_SOURCE)
		add_section_flags(&argv);
	add(&argv, "-MD");
	add(&argv, "-MF");
	lp_vec_push(&argv, unit_file(j, unit, ".d"));
	add(&argv, "-c");
	add(&argv, input->path);
	add(&argv, "-o");
	add(&argv, object);
	int status = run(&argv);
	free_argv(&argv);
	if (status == 0)
		add_unit(j, input->path, object, true);
	else
		lp_free(object);
	return status;
}

static int compile_units(struct job *j)
{
	size_t unit = 0;
	int status = 0;
	for (size_t i = 0; i < j->args->inputs.nr && status == 0; i++)
		if (is_unit(&j->args->inputs.items[i]))
			status = compile_unit(j, &j->args->inputs.items[i], unit++);
	return status;
}

static int link_units(struct job *j)
{
	argv_vec argv = {0};
	size_t unit = 0;
	add(&argv, j->real);
	for (size_t i = 0; i < j->args->words.nr; i++) {
		const struct lp_ccargs_input *input = input_at(j->args, i);
		add(&argv, input && is_unit(input) ? j->record.units.items[unit++].object : j->args->words.items[i]);
	}
	int status = link_with_map(j, &argv);
	free_argv(&argv);
	return status;
}

/* When taking it apart fails, the command as it was written says why, or knows better. */
static int take_apart(struct job *j)
{
	j->record.taken_apart = true;
	int status = compile_units(j);
	if (status == 0)
		status = link_units(j);
	if (status == 0)
		return 0;
	j->record.taken_apart = false;
	return link_objects(j);
}

static bool same_bytes(const char *a, const char *b)
{
	struct lp_hash one, other;
	return lp_hash_file(&one, a) == 0 && lp_hash_file(&other, b) == 0 && memcmp(&one, &other, sizeof one) == 0;
}

/* The words of the link without what asks for dependency files, and another output. */
static int link_beside(struct job *j, const char *output)
{
	argv_vec argv = {0};
	size_t unit = 0;
	add(&argv, j->real);
	for (size_t i = 0, span; i < j->args->words.nr; i += span) {
		const struct lp_ccargs_input *input = input_at(j->args, i);
		size_t dependency = lp_ccargs_dependency_span(j->args, i);
		bool is_output = strncmp(j->args->words.items[i], "-o", 2) == 0;
		span = dependency ? dependency : lp_ccargs_span(j->args, i);
		for (size_t k = 0; k < span && !dependency && !is_output; k++)
			add(&argv, input && is_unit(input) ? j->record.units.items[unit++].object
							   : j->args->words.items[i + k]);
	}
	add(&argv, "-o");
	add(&argv, output);
	lp_vec_push(&argv, map_word(j));
	setenv("LANGUAGE", "C", 1);
	int status = run(&argv);
	free_argv(&argv);
	return status;
}

/*
 * A command that also writes dependency files is run as it is, because what those are called depends on all of it, and then
 * once more in pieces.  The pieces are believed when they give the same program.
 */
static int do_beside(struct job *j)
{
	argv_vec argv = {0};
	add(&argv, j->real);
	add_prefix_map(&argv);
	add_given(&argv, j);
	int status = run(&argv);
	free_argv(&argv);
	if (status)
		return status;
	char *copy = side_file(j, ".bin");
	j->record.output = lp_path_join(j->record.cwd, j->args->output ? j->args->output : "a.out");
	j->record.taken_apart = true;
	if (compile_units(j) == 0 && link_beside(j, copy) == 0 && same_bytes(copy, j->record.output))
		write_record(j);
	lp_free(copy);
	return 0;
}

static int compile_and_link(struct job *j)
{
	if (j->args->odd || j->args->map)
		return link_objects(j);
	return j->args->wants_deps ? do_beside(j) : take_apart(j);
}

/* ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int pass_through(struct job *j)
{
	argv_vec argv = {0};
	add(&argv, j->real);
	if (!j->record.is_linker && has_source(j->args))
		add_prefix_map(&argv);
	add_given(&argv, j);
	lp_vec_push(&argv, NULL);
	execv(j->real, argv.items);
	dprintf(STDERR_FILENO, "livepatch-cc: cannot run %s: %s\n", j->real, strerror(errno));
	return 127;
}

static int do_job(struct job *j)
{
	switch (j->args->does) {
	case LP_CC_COMPILE:
		return compile(j);
	case LP_CC_LINK:
		return link_objects(j);
	case LP_CC_COMPILE_LINK:
		return compile_and_link(j);
	default:
		return pass_through(j);
	}
}

static int record_run(const char *name, char *real, const char *records, int argc, char **argv)
{
	struct lp_record r = {.began_ns = now_ns(), .compiler = real, .cwd = getcwd(NULL, 0)};
	r.stem = lp_sprintf("%020" PRIu64 "-%d", r.began_ns, (int)getpid());
	r.is_linker = lp_is_linker_name(name);
	lp_ccargs_parse(&r.args, argv + 1, (size_t)argc - 1, r.is_linker, true);
	for (size_t i = 0; i < r.args.words.nr; i++)
		lp_vec_push(&r.words, lp_strdup(r.args.words.items[i]));
	struct job j = {.real = real,
			.records = records,
			.record = r,
			.given = argv + 1,
			.nr_given = (size_t)argc - 1,
			.sections = getenv(LP_WRAP_SECTIONS) != NULL};
	j.stem = j.record.stem;
	j.args = &j.record.args;
	setenv(LP_WRAP_INNER, "1", 1);
	if (getenv(LP_WRAP_EPOCH))
		setenv("SOURCE_DATE_EPOCH", getenv(LP_WRAP_EPOCH), 0);
	int status = j.record.cwd ? do_job(&j) : pass_through(&j);
	lp_record_clear(&j.record);
	return status;
}

/* ---- guard ---- */

#define GRACE_S 2 /* less than whoever sends us SIGTERM gives us before he kills us (run.c, guardian.c) */

/* Numbers with blanks between them. */
static void kill_all(const char *list)
{
	char *end;
	for (long child; (child = strtol(list, &end, 10)) > 0; list = end)
		kill((pid_t)child, SIGKILL);
}

static void kill_children(void)
{
	char *path = lp_sprintf("/proc/self/task/%d/children", (int)getpid()), *line = NULL;
	FILE *f = fopen(path, "re");
	size_t room = 0;
	if (!f)
		kill(0, SIGKILL); /* a kernel that does not tell: the group, with us */
	if (f && getline(&line, &room, f) > 0)
		kill_all(line);
	if (f)
		fclose(f);
	free(line);
	lp_free(path);
}

/* Whoever loses his parent becomes our child, so this comes to an end when nobody is left. */
static void end_everybody(void)
{
	do
		kill_children();
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* All that have ended; true when no child is left. */
static bool reap(pid_t child, int *status, bool *ended)
{
	pid_t got;
	int how;
	while ((got = waitpid(-1, &how, WNOHANG)) > 0)
		if (got == child) {
			*status = status_of(how);
			*ended = true;
		}
	return got < 0;
}

/*
 * When the builder dies (SIGUSR1) there is nobody left to end what runs; when he ends it himself (SIGTERM), he reaches the group
 * alone.  A build that ends by itself may leave something running: a daemon is not ours to kill.
 */
static int watch_over(pid_t child, const sigset_t *set)
{
	int status = 128 + SIGKILL;
	bool ended = false, ending = false;
	for (;;) {
		int signal = sigwaitinfo(set, NULL);
		if (signal == SIGALRM) {
			end_everybody();
			return status;
		}
		if (signal == SIGUSR1)
			kill(0, SIGTERM); /* at which compilers remove their temporary files; ours is waited for */
		if (!ending && (signal == SIGUSR1 || signal == SIGTERM)) {
			ending = true;
			alarm(GRACE_S);
		}
		if (reap(child, &status, &ended) || (ended && !ending))
			return status;
	}
}

static int guard(int argc, char **argv)
{
	pid_t child, parent = argc > 3 ? (pid_t)strtol(argv[2], NULL, 10) : 0;
	static const int ours[] = {SIGCHLD, SIGUSR1, SIGTERM, SIGALRM};
	sigset_t set, before;
	posix_spawnattr_t attr;
	sigemptyset(&set);
	for (size_t i = 0; i < LP_ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	if (!parent || getppid() != parent)
		return 127;
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &before);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int rc = posix_spawnp(&child, argv[3], NULL, &attr, argv + 3, environ);
	posix_spawnattr_destroy(&attr);
	if (rc == 0)
		return watch_over(child, &set);
	dprintf(STDERR_FILENO, "livepatch-cc: cannot run %s: %s\n", argv[3], strerror(rc));
	return 127;
}

/* What a daemon compiles that the build has left running comes when the directory is gone. */
static void choose_temporary(void)
{
	const char *dir = getenv(LP_WRAP_TMPDIR);
	if (dir && access(dir, W_OK) == 0)
		setenv("TMPDIR", dir, 1);
}

int main(int argc, char **argv)
{
	const char *records = getenv(LP_WRAP_RECORDS);
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	lp_stdio_hold();
	if (argc > 1 && strcmp(argv[1], LP_WRAP_GUARD) == 0)
		return guard(argc, argv);
	choose_temporary();
	char *real = find_real(name);
	if (!real) {
		dprintf(STDERR_FILENO, "livepatch-cc: there is no other %s in PATH\n", name);
		return 127;
	}
	if (records && !getenv(LP_WRAP_INNER))
		return record_run(name, real, records, argc, argv);
	argv[0] = real;
	execv(real, argv);
	dprintf(STDERR_FILENO, "livepatch-cc: cannot run %s: %s\n", real, strerror(errno));
	return 127;
}
