/*
 * The format is that of Clang's JSON compilation database: an array of objects with "directory", "file", "arguments" (an array) or
 * "command" (a shell command line), and sometimes "output".
 */
#include "build/compdb.h"

#include <dirent.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"

#define COMPDB "compile_commands.json"
#define COMPDB_MAX (512u << 20)

static bool is_known(const lp_record_vec *records, const char *object)
{
	for (size_t i = 0; i < records->nr; i++)
		for (size_t u = 0; u < records->items[i].units.nr; u++)
			if (strcmp(records->items[i].units.items[u].object, object) == 0)
				return true;
	return false;
}

static void take_words(const json_t *entry, lp_word_vec *words)
{
	const json_t *arguments = json_object_get(entry, "arguments");
	const char *command = json_string_value(json_object_get(entry, "command"));
	for (size_t i = 0; i < json_array_size(arguments); i++) {
		const char *word = json_string_value(json_array_get(arguments, i));
		if (word)
			lp_vec_push(words, lp_strdup(word));
	}
	if (!words->nr && command)
		lp_split_words(words, command);
}

/* "ccache gcc ...": the compiler is the first word that goes by the name of one. */
static size_t compiler_at(const lp_word_vec *words)
{
	for (size_t i = 0; i < words->nr && words->items[i][0] != '-'; i++) {
		const char *slash = strrchr(words->items[i], '/');
		if (lp_is_compiler_name(slash ? slash + 1 : words->items[i]))
			return i;
	}
	return words->nr;
}

static const struct lp_ccargs_input *only_unit(const struct lp_ccargs *a)
{
	const struct lp_ccargs_input *unit = NULL;
	for (size_t i = 0; i < a->inputs.nr; i++) {
		const struct lp_ccargs_input *input = &a->inputs.items[i];
		if (input->kind != LP_CC_SOURCE && input->kind != LP_CC_ASSEMBLER)
			continue;
		if (unit)
			return NULL;
		unit = input;
	}
	return unit;
}

static bool fill_unit(struct lp_record *r)
{
	const struct lp_ccargs_input *input = only_unit(&r->args);
	if (r->args.does != LP_CC_COMPILE || r->args.odd || !input)
		return false;
	char *name = r->args.output ? lp_strdup(r->args.output) : lp_ccargs_default_object(input->path);
	struct lp_record_unit *u = lp_vec_add(&r->units);
	u->source = lp_strdup(input->path);
	u->object = lp_path_join(r->cwd, name);
	lp_free(name);
	return lp_hash_file(&u->hash, u->object) == 0;
}

static bool is_below(const char *path, const char *tree)
{
	size_t len = strlen(tree);
	return strncmp(path, tree, len) == 0 && (path[len] == '/' || !path[len]);
}

static void take_entry(lp_record_vec *records, const json_t *entry, const char *tree)
{
	const char *directory = json_string_value(json_object_get(entry, "directory"));
	struct lp_record r = {.unseen = true, .cwd = lp_strdup(directory ? directory : tree)};
	lp_word_vec words = {0};
	take_words(entry, &words);
	size_t compiler = compiler_at(&words);
	for (size_t i = compiler + 1; i < words.nr; i++)
		lp_vec_push(&r.words, lp_strdup(words.items[i]));
	if (compiler < words.nr && is_below(r.cwd, tree)) {
		r.stem = lp_strdup("unseen");
		r.compiler = lp_strdup(words.items[compiler]);
		lp_ccargs_parse(&r.args, r.words.items, r.words.nr, false, false);
	}
	if (r.compiler && fill_unit(&r) && !is_known(records, r.units.items[0].object))
		lp_vec_push(records, r);
	else
		lp_record_clear(&r);
	for (size_t i = 0; i < words.nr; i++)
		lp_free(words.items[i]);
	lp_vec_free(&words);
}

void lp_compdb_parse(lp_record_vec *records, const char *text, size_t len, const char *tree)
{
	json_error_t error;
	json_t *entries = json_loadb(text, len, 0, &error);
	if (!json_is_array(entries))
		lp_debug("%s/" COMPDB " is not a compilation database: %s", tree, entries ? "no array" : error.text);
	for (size_t i = 0; i < json_array_size(entries); i++)
		take_entry(records, json_array_get(entries, i), tree);
	json_decref(entries);
}

static bool load_from(lp_record_vec *records, const char *dir, const char *tree)
{
	struct lp_buf text = {0};
	char *path = lp_sprintf("%s/" COMPDB, dir);
	bool there = access(path, R_OK) == 0 && lp_read_file(path, &text, COMPDB_MAX, NULL) == 0;
	if (there)
		lp_compdb_parse(records, lp_buf_cstr(&text), text.len, tree);
	lp_buf_free(&text);
	lp_free(path);
	return there;
}

void lp_compdb_load(lp_record_vec *records, const char *tree)
{
	struct dirent *e;
	if (load_from(records, tree, tree))
		return;
	DIR *dir = opendir(tree);
	while (dir && (e = readdir(dir))) {
		char *path = lp_sprintf("%s/%s", tree, e->d_name);
		if (e->d_name[0] != '.' && e->d_type == DT_DIR)
			load_from(records, path, tree);
		lp_free(path);
	}
	if (dir)
		closedir(dir);
}
