#include "build/libcare_cc.h"
#include "build/ccargs.h"
#include "elf/elf.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
	const struct lp_libcare_cc_env *env;
	struct lp_ccargs args;
	struct lp_err *err;
};

/* ---- words ---- */

static void add_word(lp_words *w, const char *word)
{
	lp_vec_push(w, lp_strdup(word));
}

void lp_words_split(lp_words *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ";");
		if (n)
			lp_vec_push(out, lp_sprintf("%.*s", (int)n, text));
		text += n + (text[n] == ';');
	}
}

void lp_words_free(lp_words *w)
{
	for (size_t i = 0; i < w->nr; i++)
		lp_free(w->items[i]);
	lp_vec_free(w);
}

static void add_words(lp_words *w, const lp_words *more)
{
	for (size_t i = 0; i < more->nr; i++)
		add_word(w, more->items[i]);
}

static bool has_word(const lp_words *w, const char *word)
{
	for (size_t i = 0; i < w->nr; i++)
		if (!strcmp(w->items[i], word))
			return true;
	return false;
}

/* ---- running ---- */

static void tell(const struct job *j, const lp_words *argv)
{
	struct lp_buf line = {0};
	if (!j->env->told)
		return;
	for (size_t i = 0; i < argv->nr; i++)
		lp_buf_printf(&line, "%s\"%s\"", i ? " " : "", argv->items[i]);
	j->env->told(j->env->arg, lp_buf_cstr(&line));
	lp_buf_free(&line);
}

/* Runs the words, and frees them; returns the exit status, or a negative code. */
static int run(struct job *j, lp_words *argv)
{
	pid_t pid;
	int status = 0;
	tell(j, argv);
	lp_vec_push(argv, NULL);
	int error = posix_spawnp(&pid, argv->items[0], NULL, NULL, argv->items, environ);
	if (error) {
		lp_fail_sys(j->err, error, "cannot run %s", argv->items[0]);
		lp_words_free(argv);
		return -error;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	lp_words_free(argv);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- names ---- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* "dir/foo.o" -> "foo"; a name without suffix stays. */
static char *stem_of(const char *path)
{
	const char *base = base_of(path), *dot = strrchr(base, '.');
	return dot && dot > base ? lp_sprintf("%.*s", (int)(dot - base), base) : lp_strdup(base);
}

/*
 * Where the assembly of a source is kept.  `object` is what the command makes; when that is a program made of several
 * sources, each has a name of its own in it.
 */
static char *assembly_name(const struct job *j, const char *object, const char *source, const char *stage)
{
	char *stem = stem_of(source), *of = stem_of(object);
	const char *base = base_of(object);
	const char *dir = j->env->asm_dir ? j->env->asm_dir : object;
	int dir_len = j->env->asm_dir ? (int)strlen(dir) : (int)(base - object);
	bool separate = j->args.does == LP_CC_COMPILE_LINK && strcmp(stem, of) != 0;
	const char *slash = j->env->asm_dir ? "/" : "";
	char *name = separate || j->args.does != LP_CC_COMPILE_LINK
			     ? lp_sprintf("%.*s%s%s%s%s%s%s", dir_len, dir, slash, j->env->prefix, of,
					  separate ? "-" : "", separate ? stem : "", stage)
			     : lp_sprintf("%.*s%s%s%s%s", dir_len, dir, slash, j->env->prefix, stem, stage);
	lp_free(stem);
	lp_free(of);
	return name;
}

/* ---- commands ---- */

static bool is_removed(const struct job *j, const char *word)
{
	return has_word(&j->env->remove, word);
}

static bool is_input(const struct job *j, size_t word, enum lp_cc_input *kind)
{
	for (size_t i = 0; i < j->args.inputs.nr; i++)
		if (j->args.inputs.items[i].word == word) {
			*kind = j->args.inputs.items[i].kind;
			return true;
		}
	return false;
}

static bool is_output(const struct job *j, size_t i)
{
	return !strncmp(j->args.words.items[i], "-o", 2);
}

static bool chooses_action(const char *word)
{
	return !strcmp(word, "-c") || !strcmp(word, "-S");
}

/* The command's words without inputs, output and action. */
static void add_common(struct job *j, lp_words *out, bool compile)
{
	for (size_t i = 0, span; i < j->args.words.nr; i += span) {
		const char *word = j->args.words.items[i];
		enum lp_cc_input kind;
		span = lp_ccargs_span(&j->args, i);
		if (is_input(j, i, &kind) && (kind != LP_CC_LIBRARY || compile))
			continue;
		if (is_output(j, i) || chooses_action(word) || is_removed(j, word) ||
		    (compile && lp_ccargs_is_link_word(word)))
			continue;
		for (size_t k = i; k < i + span && k < j->args.words.nr; k++)
			add_word(out, j->args.words.items[k]);
	}
}

static bool any_word_starts(const struct job *j, const char *const *prefixes)
{
	for (size_t i = 0; i < j->args.words.nr; i++)
		for (const char *const *p = prefixes; *p; p++)
			if (!strncmp(j->args.words.items[i], *p, strlen(*p)))
				return true;
	return false;
}

/* Dependency files are named after the output, which is not what it was. */
static void add_dependency_names(struct job *j, lp_words *out, const char *object)
{
	static const char *const targets[] = {"-MT", "-MQ", NULL};
	if (!j->args.wants_deps)
		return;
	if (!any_word_starts(j, targets)) {
		add_word(out, "-MT");
		add_word(out, object);
	}
	if (!j->args.dep_file) {
		char *stem = stem_of(object);
		add_word(out, "-MF");
		lp_vec_push(out, lp_sprintf("%.*s%s.d", (int)(base_of(object) - object), object, stem));
		lp_free(stem);
	}
}

static int source_to_assembly(struct job *j, const struct lp_ccargs_input *in, const char *object, const char *to)
{
	lp_words argv = {0};
	bool preprocess_only = in->kind == LP_CC_ASSEMBLER;
	add_word(&argv, j->env->compiler);
	add_common(j, &argv, true);
	add_dependency_names(j, &argv, object);
	add_word(&argv, preprocess_only ? "-E" : "-S");
	add_word(&argv, in->path);
	add_word(&argv, "-o");
	add_word(&argv, to);
	return run(j, &argv);
}

/* What an assembler needs to know: the machine.  No -g: it would describe the assembly. */
static int assemble(struct job *j, const char *from, const char *object)
{
	static const char *const passed[] = {"-m",	    "-Wa,",	 "--target", "-target", "-B",
					     "-Xassembler", "--sysroot", "-x",	     NULL};
	lp_words argv = {0};
	add_word(&argv, j->env->compiler);
	for (size_t i = 0, span; i < j->args.words.nr; i += span) {
		span = lp_ccargs_span(&j->args, i);
		for (const char *const *p = passed; *p; p++) {
			if (strncmp(j->args.words.items[i], *p, strlen(*p)) != 0 || !strcmp(*p, "-x"))
				continue;
			for (size_t k = i; k < i + span && k < j->args.words.nr; k++)
				add_word(&argv, j->args.words.items[k]);
			break;
		}
	}
	add_word(&argv, "-c");
	add_word(&argv, from);
	add_word(&argv, "-o");
	add_word(&argv, object);
	return run(j, &argv);
}

static int filter(struct job *j, const char *path)
{
	lp_words argv = {0};
	if (!j->env->filter.nr)
		return 0;
	add_word(&argv, j->env->gensrc);
	add_words(&argv, &j->env->filter);
	add_word(&argv, "-i");
	add_word(&argv, path);
	add_word(&argv, "-o");
	add_word(&argv, path);
	return run(j, &argv);
}

static bool is_added(const struct job *j, const char *source)
{
	char *real = realpath(source, NULL);
	bool found = false;
	const char *p = j->env->added ? j->env->added : "";
	while (real && *p && !found) {
		size_t n = strcspn(p, ":");
		found = n == strlen(real) && !memcmp(p, real, n);
		p += n + (p[n] == ':');
	}
	free(real);
	return found;
}

static int merge(struct job *j, const char *source, const char *original, const char *patched, const char *to)
{
	lp_words argv = {0};
	const char *before = original;
	if (access(original, R_OK) < 0) {
		if (!is_added(j, source))
			return lp_fail(j->err, LP_EFILE,
				       "%s is missing: %s was not compiled in stage original (clean the tree first)",
				       original, source);
		before = "/dev/null";
	}
	add_word(&argv, j->env->gensrc);
	add_words(&argv, &j->env->patch);
	add_word(&argv, "-i");
	add_word(&argv, before);
	add_word(&argv, "-i");
	add_word(&argv, patched);
	add_word(&argv, "-o");
	add_word(&argv, to);
	return run(j, &argv);
}

/* One source to what shall be assembled; *out is its name. */
static int make_assembly(struct job *j, const struct lp_ccargs_input *in, const char *object, char **out)
{
	char *original = assembly_name(j, object, in->path, ".original.s");
	char *patched = assembly_name(j, object, in->path, ".patched.s");
	char *merged = assembly_name(j, object, in->path, ".s");
	bool first = j->env->stage == LP_STAGE_ORIGINAL;
	int rc = source_to_assembly(j, in, object, first ? original : patched);
	if (!rc)
		rc = filter(j, first ? original : patched);
	if (!rc && !first)
		rc = merge(j, in->path, original, patched, merged);
	*out = first ? original : merged;
	lp_free(patched);
	lp_free(first ? merged : original);
	return rc;
}

/* ---- the three kinds of work ---- */

static int copy_file(struct job *j, const char *from, const char *to)
{
	lp_words argv = {0};
	add_word(&argv, "cp");
	add_word(&argv, "--");
	add_word(&argv, from);
	add_word(&argv, to);
	return run(j, &argv);
}

static char *default_output(const struct job *j, const char *source)
{
	char *object = lp_ccargs_default_object(source);
	if (j->args.does == LP_CC_ASSEMBLY && object[0])
		object[strlen(object) - 1] = 's';
	return object;
}

static int compile_one(struct job *j, const struct lp_ccargs_input *in)
{
	char *object = j->args.output ? lp_strdup(j->args.output) : default_output(j, in->path), *assembly = NULL;
	int rc = make_assembly(j, in, object, &assembly);
	if (!rc && j->args.does == LP_CC_ASSEMBLY)
		rc = copy_file(j, assembly, object);
	else if (!rc)
		rc = assemble(j, assembly, object);
	lp_free(assembly);
	lp_free(object);
	return rc;
}

static bool taken_apart(const struct job *j, const struct lp_ccargs_input *in)
{
	return in->kind == LP_CC_SOURCE || (in->kind == LP_CC_ASSEMBLER && j->env->with_assembly);
}

static int compile_each(struct job *j)
{
	int rc = 0;
	for (size_t i = 0; i < j->args.inputs.nr && !rc; i++)
		rc = compile_one(j, &j->args.inputs.items[i]);
	return rc;
}

/* Sources are compiled to objects of their own, and these stand in their places when all is linked. */
static int compile_and_link(struct job *j)
{
	const char *program = j->args.output ? j->args.output : "a.out";
	lp_words argv = {0}, objects = {0};
	int rc = 0;
	add_word(&argv, j->env->compiler);
	for (size_t i = 0, span, next = 0; i < j->args.words.nr && !rc; i += span) {
		span = lp_ccargs_span(&j->args, i);
		const struct lp_ccargs_input *in = next < j->args.inputs.nr && j->args.inputs.items[next].word == i
							   ? &j->args.inputs.items[next++]
							   : NULL;
		if (in && taken_apart(j, in)) {
			char *assembly = NULL, *object = assembly_name(j, program, in->path, ".o");
			rc = make_assembly(j, in, program, &assembly);
			if (!rc)
				rc = assemble(j, assembly, object);
			lp_free(assembly);
			add_word(&argv, object);
			lp_vec_push(&objects, object);
			continue;
		}
		if (is_removed(j, j->args.words.items[i]) || lp_ccargs_dependency_span(&j->args, i))
			continue;
		for (size_t k = i; k < i + span && k < j->args.words.nr; k++)
			add_word(&argv, j->args.words.items[k]);
	}
	add_words(&argv, &j->env->append);
	if (!rc)
		rc = run(j, &argv);
	else
		lp_words_free(&argv);
	for (size_t i = 0; i < objects.nr; i++)
		unlink(objects.items[i]);
	lp_words_free(&objects);
	return rc;
}

/* ---- for a comparison of objects ---- */

static const char *stage_name(const struct job *j)
{
	return j->env->stage == LP_STAGE_ORIGINAL ? "original" : "patched";
}

static char *kept_name(const struct job *j, const char *object, const char *source, const char *suffix)
{
	char *end = lp_sprintf(".%s.%s", stage_name(j), suffix);
	char *name = assembly_name(j, object, source, end);
	lp_free(end);
	return name;
}

/* The name of the mark that `made` is not finished, and what is kept of it not there yet. */
static char *begin_keeping(const char *kept, const char *made)
{
	char *mark = lp_sprintf("%s" LP_KEPT_UNFINISHED, kept), *cwd = getcwd(NULL, 0);
	FILE *f = fopen(mark, "we");
	if (f) {
		fprintf(f, "%s%s%s", made[0] == '/' ? "" : cwd ? cwd : ".", made[0] == '/' ? "" : "/", made);
		fclose(f);
	}
	free(cwd);
	unlink(kept);
	return mark;
}

/* What a command that failed has left of `made` may be half of it: a linker that was killed removes nothing. */
static void end_keeping(char *mark, const char *made, int rc)
{
	struct stat st;
	if (rc && lstat(made, &st) == 0 && S_ISREG(st.st_mode))
		unlink(made);
	unlink(mark);
	lp_free(mark);
}

static int keep_copy(struct job *j, const char *object, const char *kept)
{
	char *draft = lp_sprintf("%s" LP_KEPT_DRAFT, kept);
	int rc = copy_file(j, object, draft);
	if (!rc && rename(draft, kept) < 0)
		rc = lp_fail_sys(j->err, errno, "cannot write %s", kept);
	lp_free(draft);
	return rc;
}

/* One source with the command's own words, and its object kept. */
static int compile_and_keep(struct job *j, const struct lp_ccargs_input *in)
{
	char *object = j->args.output ? lp_strdup(j->args.output) : default_output(j, in->path);
	char *kept = kept_name(j, object, in->path, "o"), *mark = begin_keeping(kept, object);
	lp_words argv = {0};
	add_word(&argv, j->env->compiler);
	add_common(j, &argv, false);
	add_word(&argv, "-c");
	add_word(&argv, in->path);
	add_word(&argv, "-o");
	add_word(&argv, object);
	int rc = run(j, &argv);
	if (!rc)
		rc = keep_copy(j, object, kept);
	end_keeping(mark, object, rc);
	lp_free(kept);
	lp_free(object);
	return rc;
}

static int compile_and_keep_each(struct job *j)
{
	int rc = 0;
	for (size_t i = 0; i < j->args.inputs.nr && !rc; i++)
		if (taken_apart(j, &j->args.inputs.items[i]))
			rc = compile_and_keep(j, &j->args.inputs.items[i]);
	return rc;
}

/* For the command that links in one go: straight to the object that is kept, and linked. */
static int compile_to(struct job *j, const struct lp_ccargs_input *in, const char *object)
{
	lp_words argv = {0};
	add_word(&argv, j->env->compiler);
	add_common(j, &argv, true);
	add_dependency_names(j, &argv, j->args.output ? j->args.output : "a.out");
	add_word(&argv, "-c");
	add_word(&argv, in->path);
	add_word(&argv, "-o");
	add_word(&argv, object);
	return run(j, &argv);
}

/* Which binary the map is of, and where its names begin. */
static int note_link(struct job *j, const char *output, const char *path)
{
	char hex[2 * LP_BUILD_ID_MAX + 1], *cwd = getcwd(NULL, 0);
	struct lp_build_id id = {.len = 0};
	struct lp_elf *e;
	if (!lp_elf_open(&e, output, NULL)) { /* a linker script, or nothing at all: not a binary to be patched */
		lp_elf_build_id(e, &id);
		lp_elf_close(e);
	}
	lp_build_id_hex(&id, hex);
	char *draft = lp_sprintf("%s" LP_KEPT_DRAFT, path);
	FILE *f = fopen(draft, "we");
	bool good = f && fprintf(f, "%s\n%s\n", hex, cwd ? cwd : "/") > 0;
	if (f && fclose(f))
		good = false;
	good = good && rename(draft, path) == 0;
	lp_free(draft);
	free(cwd);
	return good ? 0 : lp_fail_sys(j->err, errno, "cannot write %s", path);
}

static int link_and_keep(struct job *j)
{
	const char *output = j->args.output ? j->args.output : "a.out";
	char *map = kept_name(j, output, output, "map"), *note = kept_name(j, output, output, "link");
	char *mark = begin_keeping(note, output);
	lp_words argv = {0};
	int rc = 0;
	add_word(&argv, j->env->compiler);
	for (size_t i = 0, span, next = 0; i < j->args.words.nr && !rc; i += span) {
		span = lp_ccargs_span(&j->args, i);
		const struct lp_ccargs_input *in = next < j->args.inputs.nr && j->args.inputs.items[next].word == i
							   ? &j->args.inputs.items[next++]
							   : NULL;
		if (in && taken_apart(j, in)) {
			char *object = kept_name(j, output, in->path, "o");
			rc = compile_to(j, in, object);
			lp_vec_push(&argv, object);
			continue;
		}
		if (lp_ccargs_dependency_span(&j->args, i))
			continue;
		for (size_t k = i; k < i + span && k < j->args.words.nr; k++)
			add_word(&argv, j->args.words.items[k]);
	}
	if (!j->args.map)
		lp_vec_push(&argv, lp_sprintf("-Wl,-Map=%s", map));
	if (!rc)
		rc = run(j, &argv);
	else
		lp_words_free(&argv);
	if (!rc && !j->args.map)
		rc = note_link(j, output, note);
	end_keeping(mark, output, rc);
	lp_free(map);
	lp_free(note);
	return rc;
}

/* ---- which ---- */

static bool is_probe(char *const *argv)
{
	for (; *argv; argv++)
		if (strstr(*argv, "conftest.") || strstr(*argv, "qemu-conf"))
			return true;
	return false;
}

static int pass_through(struct job *j, char *const *argv, bool plain)
{
	lp_words words = {0};
	add_word(&words, j->env->compiler);
	for (char *const *p = argv + 1; *p; p++)
		if (plain || !is_removed(j, *p))
			add_word(&words, *p);
	if (!plain && j->args.does == LP_CC_LINK && j->args.inputs.nr)
		add_words(&words, &j->env->append);
	return run(j, &words);
}

static bool any_source(const struct job *j)
{
	for (size_t i = 0; i < j->args.inputs.nr; i++)
		if (taken_apart(j, &j->args.inputs.items[i]) && strcmp(j->args.inputs.items[i].path, "/dev/null") != 0)
			return true;
	return false;
}

static int choose(struct job *j, char *const *argv)
{
	const struct lp_ccargs *a = &j->args;
	bool no_output = a->output && !strcmp(a->output, "/dev/null");
	bool compiles = a->does == LP_CC_COMPILE || a->does == LP_CC_ASSEMBLY;
	bool links = a->does == LP_CC_COMPILE_LINK || (a->does == LP_CC_LINK && a->inputs.nr && !a->relocatable);
	if (j->env->objects && links && !a->odd && !no_output)
		return link_and_keep(j);
	if (a->odd || no_output || !any_source(j))
		return pass_through(j, argv, j->env->objects);
	if (a->lto)
		return lp_fail(j->err, LP_EDIFF,
			       "link-time optimisation leaves no assembly to compare: build without -flto");
	if (compiles && a->output && a->inputs.nr != 1)
		return pass_through(j, argv, true); /* the compiler has a sentence for that */
	if (j->env->objects)
		return a->does == LP_CC_COMPILE ? compile_and_keep_each(j) : pass_through(j, argv, true);
	if (compiles)
		return compile_each(j);
	return a->does == LP_CC_COMPILE_LINK ? compile_and_link(j) : pass_through(j, argv, false);
}

int lp_libcare_cc(const struct lp_libcare_cc_env *env, char *const *argv, struct lp_err *err)
{
	struct job j = {.env = env, .err = err};
	size_t nr = 0;
	if (env->stage == LP_STAGE_CONFIGURE || is_probe(argv))
		return pass_through(&j, argv, true);
	while (argv[1 + nr])
		nr++;
	lp_ccargs_parse(&j.args, argv + 1, nr, false, true);
	int rc = choose(&j, argv);
	lp_ccargs_free(&j.args);
	return rc;
}
