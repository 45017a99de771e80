#include "build/compile.h"

#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/wrap.h"

#define TAIL_LINES 20
#define VERSION_MAX 65536

static void add(lp_env_vec *argv, const char *word)
{
	lp_vec_push(argv, lp_strdup(word));
}

static const struct lp_ccargs_input *input_at(const struct lp_ccargs *a, size_t word)
{
	for (size_t i = 0; i < a->inputs.nr; i++)
		if (a->inputs.items[i].word == word)
			return &a->inputs.items[i];
	return NULL;
}

static const struct lp_ccargs_input *input_of(const struct lp_record *r, size_t unit)
{
	for (size_t i = 0; i < r->args.inputs.nr; i++) {
		const struct lp_ccargs_input *input = &r->args.inputs.items[i];
		bool is_unit = input->kind == LP_CC_SOURCE || input->kind == LP_CC_ASSEMBLER;
		if (is_unit && unit-- == 0)
			return input;
	}
	return NULL;
}

static bool is_left_out(const struct lp_record *r, size_t i)
{
	const char *word = r->args.words.items[i];
	if (input_at(&r->args, i) || strncmp(word, "-o", 2) == 0 || strcmp(word, "-c") == 0)
		return true;
	return r->args.does == LP_CC_COMPILE_LINK && lp_ccargs_is_link_word(word);
}

/* The words that say how to compile: no inputs, no output, no dependency files. */
static void add_flags(lp_env_vec *argv, const struct lp_record *r)
{
	for (size_t i = 0, span; i < r->args.words.nr; i += span) {
		size_t dependency = lp_ccargs_dependency_span(&r->args, i);
		span = dependency ? dependency : lp_ccargs_span(&r->args, i);
		if (dependency || is_left_out(r, i))
			continue;
		for (size_t k = 0; k < span; k++)
			add(argv, r->args.words.items[i + k]);
	}
}

static bool is_source(const struct lp_record *r, size_t unit)
{
	const struct lp_ccargs_input *input = input_of(r, unit);
	return input && input->kind == LP_CC_SOURCE;
}

void lp_compile_command(lp_env_vec *argv, const struct lp_compile *c, const struct lp_compile_how *how)
{
	static const char *const sections[] = {LP_SECTION_FLAGS};
	bool source = is_source(c->record, c->unit);
	add(argv, c->record->compiler);
	if (source && how->map)
		lp_vec_push(argv, lp_sprintf("-ffile-prefix-map=%s", how->map));
	add_flags(argv, c->record);
	for (size_t i = 0; source && i < LP_ARRAY_SIZE(sections); i++)
		add(argv, sections[i]);
	if (source && how->include) {
		add(argv, "-idirafter");
		add(argv, how->include);
	}
	if (source && c->indirect)
		add(argv, c->indirect);
	add(argv, "-c");
	add(argv, c->record->units.items[c->unit].source);
	add(argv, "-o");
	add(argv, c->object);
}

static bool has_word(const struct lp_record *r, const char *word)
{
	for (size_t i = 0; i < r->args.words.nr; i++)
		if (strcmp(r->args.words.items[i], word) == 0)
			return true;
	return false;
}

bool lp_compile_is_needless(const struct lp_record *r, size_t unit)
{
	return !is_source(r, unit) ||
	       (r->args.function_sections && has_word(r, "-fdata-sections") && !has_word(r, "-fno-data-sections"));
}

/* ---- running ---- */

/* Our own environment with what the recorded compiler saw. */
static void compile_environment(lp_env_vec *env, const struct lp_record *r, const struct lp_compile_how *how)
{
	lp_env_copy(env, environ);
	lp_env_set(env, "SOURCE_DATE_EPOCH", how->epoch); /* a recorded one wins */
	for (size_t i = 0; i < r->env.nr; i++) {
		const char *entry = r->env.items[i], *equals = strchr(entry, '=');
		if (!equals)
			continue;
		char *name = lp_sprintf("%.*s", (int)(equals - entry), entry);
		lp_env_set(env, name, equals + 1);
		lp_free(name);
	}
	lp_env_end(env);
}

struct prepared {
	lp_env_vec argv, env;
};

static void prepare(struct prepared *p, struct lp_run *run, const struct lp_compile *c,
		    const struct lp_compile_how *how)
{
	lp_compile_command(&p->argv, c, how);
	lp_env_end(&p->argv);
	compile_environment(&p->env, c->record, how);
	*run = (struct lp_run){.argv = (const char *const *)p->argv.items,
			       .env = (const char *const *)p->env.items,
			       .cwd = c->record->cwd,
			       .log = c->log};
}

static int refuse(const struct lp_compile *c, struct lp_err *err)
{
	struct lp_buf tail = {0};
	lp_log_tail(&tail, c->log, TAIL_LINES);
	int rc = lp_fail(err, LP_EBUILD, "%s cannot be compiled once more:\n%s", c->record->units.items[c->unit].source,
			 lp_buf_cstr(&tail));
	lp_buf_free(&tail);
	return rc;
}

int lp_compile_all(const struct lp_compile *units, size_t nr, const struct lp_compile_how *how,
		   const struct lp_watch *watch, struct lp_err *err)
{
	struct prepared *prepared = lp_alloc(sizeof *prepared * nr);
	struct lp_run *runs = lp_alloc(sizeof *runs * nr);
	for (size_t i = 0; i < nr; i++)
		prepare(&prepared[i], &runs[i], &units[i], how);
	int rc = lp_run_all(runs, nr, how->jobs, watch, err);
	for (size_t i = 0; i < nr; i++) {
		if (rc == 0 && runs[i].status)
			rc = refuse(&units[i], err);
		lp_env_free(&prepared[i].argv);
		lp_env_free(&prepared[i].env);
	}
	lp_free(prepared);
	lp_free(runs);
	return rc;
}

const char *lp_compiler_indirect(const struct lp_record *r, const char *scratch, const struct lp_watch *watch)
{
	static const char *const words[] = {"-mno-direct-extern-access", "-fno-direct-access-external-data"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(words); i++) {
		const char *argv[] = {r->compiler, words[i], "-Werror", "-fsyntax-only", "-x", "c", "/dev/null", NULL};
		struct lp_run run = {.argv = argv, .log = scratch};
		if (lp_run_all(&run, 1, 1, watch, NULL) == 0 && run.status == 0)
			return words[i];
	}
	return NULL;
}

char *lp_compiler_version(const struct lp_record *r, const char *scratch, const struct lp_watch *watch)
{
	const char *argv[] = {r->compiler, "--version", NULL};
	struct lp_run run = {.argv = argv, .log = scratch};
	struct lp_buf text = {0};
	char *line = NULL;
	unlink(scratch);
	if (lp_run_all(&run, 1, 1, watch, NULL) == 0 && run.status == 0 &&
	    lp_read_file(scratch, &text, VERSION_MAX, NULL) == 0 && text.len)
		line = lp_sprintf("%.*s", (int)strcspn(lp_buf_cstr(&text), "\n"), lp_buf_cstr(&text));
	lp_buf_free(&text);
	return line;
}
