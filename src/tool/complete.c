/*
 * What TAB can offer at the prompt.  Pure: the line, the patch collected so
 * far and the target's symbol tables in, words out; nothing is asked of the
 * running process.
 *
 * The word under completion is found by counting words from the left, as the
 * script language does: instruction, its option, first operand, second.  The
 * operand's kind (patch.h: lp_op_syntaxes) then decides who may offer:
 *
 *     an address       symbols of the target, $names, $name:symbols of an object
 *     a type           lp_value_types
 *     a file           names in its directory
 *
 * Names that hold blanks or control characters are left out: they could not
 * be typed either.  So are symbols and modules with colons in their names.
 */
#include "tool/tool.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* The line up to the cursor, cut into the words before it and the one that grows. */
struct cut {
	char *first, *second, *third; /* complete words; owned, NULL when not there */
	size_t nr;		      /* complete words before the growing one */
	const char *word;	      /* the growing one, owned by `copy` */
	size_t start;
	char *copy;
};

static void offer(word_vec *out, const char *before, const char *name, const char *after)
{
	for (const char *p = name; *p; p++)
		if (!isgraph((unsigned char)*p))
			return;
	lp_vec_push(out, lp_sprintf("%s%s%s", before, name, after));
}

static bool starts(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static bool can_be_scoped(const char *name)
{
	return !strchr(name, ':');
}

static void offer_if(word_vec *out, const char *name, const char *typed)
{
	if (starts(name, typed))
		offer(out, "", name, "");
}

/* ---- symbols ---- */

static bool is_symbol_to_offer(const struct lp_elf_sym *s, const char *typed)
{
	bool typed_kind = s->type == STT_FUNC || s->type == STT_OBJECT || s->type == STT_GNU_IFUNC;
	return s->shndx != SHN_UNDEF && typed_kind && s->name[0] && can_be_scoped(s->name) && starts(s->name, typed);
}

static void offer_table(word_vec *out, const struct lp_elf *e, enum lp_symtab table, const char *before,
			const char *typed)
{
	struct lp_elf_sym sym;
	size_t nr = lp_elf_symbol_count(e, table);
	for (size_t i = 0; i < nr && out->nr < COMPLETE_MAX; i++)
		if (lp_elf_symbol(e, table, i, &sym) && is_symbol_to_offer(&sym, typed))
			offer(out, before, sym.name, "");
}

static void offer_elf(word_vec *out, const struct lp_elf *e, const char *before, const char *typed)
{
	if (!e)
		return;
	offer_table(out, e, LP_SYMTAB, before, typed);
	offer_table(out, e, LP_DYNSYM, before, typed);
}

static void offer_image(word_vec *out, const struct lp_image *image, const char *before, const char *typed)
{
	offer_elf(out, image->elf, before, typed);
	offer_elf(out, image->debug, before, typed);
}

/* "libc.so.6:mal" asks for the symbols of one module. */
static void offer_module_symbols(word_vec *out, const struct lp_image *images, size_t nr, const char *typed)
{
	const char *colon = strchr(typed, ':');
	for (size_t i = 0; i < nr; i++) {
		size_t len = strlen(images[i].name);
		if (!colon && typed[0] && can_be_scoped(images[i].name) && starts(images[i].name, typed))
			offer(out, "", images[i].name, ":");
		if (!colon || len != (size_t)(colon - typed) || memcmp(images[i].name, typed, len) != 0)
			continue;
		char *before = lp_sprintf("%s:", images[i].name);
		offer_image(out, &images[i], before, colon + 1);
		lp_free(before);
	}
}

static void offer_target_symbols(word_vec *out, struct lp_target *t, const char *typed)
{
	const struct lp_image *images;
	size_t nr;
	if (!t || t->ops->images(t, &images, &nr, NULL) < 0)
		return;
	offer_module_symbols(out, images, nr, typed);
	for (size_t i = 0; i < nr && !strchr(typed, ':'); i++)
		offer_image(out, &images[i], "", typed);
}

/* ---- memory names ---- */

/* "$foo:fu": what the object behind $foo defines. */
static void offer_object_symbols(word_vec *out, const struct lp_op *op, const char *typed)
{
	struct lp_elf *e;
	if (op->kind != LP_OP_DL || lp_elf_open(&e, op->path, NULL) < 0)
		return;
	char *before = lp_sprintf("$%s:", op->mem);
	offer_elf(out, e, before, typed);
	lp_free(before);
	lp_elf_close(e);
}

/* `typed` is behind the '$'. */
static void offer_memory(word_vec *out, const struct lp_patchset *ps, const char *typed)
{
	const char *colon = strchr(typed, ':');
	for (size_t i = 0; ps && i < ps->nr; i++) {
		const struct lp_op *op = &ps->ops[i];
		if (!op->mem)
			continue;
		size_t len = strlen(op->mem);
		if (!colon && starts(op->mem, typed))
			offer(out, "$", op->mem, op->kind == LP_OP_DL ? ":" : "");
		if (colon && len == (size_t)(colon - typed) && memcmp(op->mem, typed, len) == 0)
			offer_object_symbols(out, op, colon + 1);
	}
}

static void offer_address(word_vec *out, const struct lp_patchset *ps, struct lp_target *t, const char *typed)
{
	if (typed[0] == '$')
		offer_memory(out, ps, typed + 1);
	else
		offer_target_symbols(out, t, typed);
}

/* ---- files ---- */

static void offer_files(word_vec *out, const char *typed)
{
	const char *slash = strrchr(typed, '/');
	char *before = slash ? lp_sprintf("%.*s", (int)(slash - typed + 1), typed) : lp_strdup("");
	const char *name = slash ? slash + 1 : typed;
	DIR *dir = opendir(before[0] ? before : ".");
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && out->nr < COMPLETE_MAX; e = readdir(dir))
		if (starts(e->d_name, name) && (e->d_name[0] != '.' || name[0] == '.'))
			offer(out, before, e->d_name, e->d_type == DT_DIR ? "/" : "");
	if (dir)
		closedir(dir);
	lp_free(before);
}

/* ---- the line ---- */

static struct cut cut_line(const char *line, size_t len)
{
	struct cut c = {.copy = lp_sprintf("%.*s", (int)len, line)};
	char **words[] = {&c.first, &c.second, &c.third};
	size_t at = 0;
	for (;;) {
		at += strspn(c.copy + at, " \t");
		size_t word = strcspn(c.copy + at, " \t");
		if (!c.copy[at + word])
			break;
		if (c.nr < LP_ARRAY_SIZE(words))
			*words[c.nr] = lp_sprintf("%.*s", (int)word, c.copy + at);
		c.nr++;
		at += word;
	}
	c.word = c.copy + at;
	c.start = at;
	return c;
}

static void cut_free(struct cut *c)
{
	lp_free(c->first);
	lp_free(c->second);
	lp_free(c->third);
	lp_free(c->copy);
}

static void offer_first_words(word_vec *out, const char *const *commands, const char *typed)
{
	size_t nr;
	const struct lp_op_syntax *ops = lp_op_syntaxes(&nr);
	for (size_t i = 0; i < nr; i++)
		offer_if(out, ops[i].name, typed);
	for (; commands && *commands; commands++)
		offer_if(out, *commands, typed);
}

static void offer_types(word_vec *out, const char *typed)
{
	size_t nr;
	const struct lp_value_type *types = lp_value_types(&nr);
	for (size_t i = 0; i < nr; i++)
		offer_if(out, types[i].name, typed);
}

static const struct lp_op_syntax *op_named(const char *name)
{
	size_t nr;
	const struct lp_op_syntax *ops = lp_op_syntaxes(&nr);
	for (size_t i = 0; i < nr; i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

static bool is_address_type(const char *name)
{
	size_t nr;
	const struct lp_value_type *types = lp_value_types(&nr);
	for (size_t i = 0; i < nr; i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].form == LP_VALUE_ADDRESS;
	return false;
}

static void offer_operand(word_vec *out, enum lp_operand kind, const struct lp_patchset *ps, struct lp_target *t,
			  const char *typed)
{
	switch (kind) {
	case LP_OPERAND_AT:
	case LP_OPERAND_TO:
		offer_address(out, ps, t, typed);
		break;
	case LP_OPERAND_SYMBOL:
		offer_target_symbols(out, t, typed);
		break;
	case LP_OPERAND_VALUE:
		offer_types(out, typed);
		break;
	case LP_OPERAND_FILE:
		offer_files(out, typed);
		break;
	case LP_OPERAND_MEMNAME:
	case LP_OPERAND_SIZE:
		break;
	}
}

static bool is_option(const struct lp_op_syntax *op, const char *word)
{
	for (size_t i = 0; word && i < LP_OP_OPTIONS_MAX && op->options[i]; i++)
		if (strcmp(word, op->options[i]) == 0)
			return true;
	return false;
}

/* Those that are not there yet. */
static void offer_options(word_vec *out, const struct lp_op_syntax *op, const struct cut *c)
{
	for (size_t i = 0; i < LP_OP_OPTIONS_MAX && op->options[i]; i++)
		if (!c->second || strcmp(c->second, op->options[i]) != 0)
			offer_if(out, op->options[i], c->word);
}

static void offer_rest(word_vec *out, const struct cut *c, const struct lp_patchset *ps, struct lp_target *t)
{
	const struct lp_op_syntax *op = op_named(c->first);
	if (!op)
		return;
	size_t nr_options = is_option(op, c->second) ? 1 + is_option(op, c->third) : 0;
	size_t operand = c->nr - 1 - nr_options;
	if (operand == 0 && c->word[0] == '-')
		offer_options(out, op, c);
	else if (operand < LP_ARRAY_SIZE(op->operands))
		offer_operand(out, op->operands[operand].kind, ps, t, c->word);
	else if (operand == 2 && op->operands[1].kind == LP_OPERAND_VALUE && c->third && is_address_type(c->third))
		offer_address(out, ps, t, c->word);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_unique(word_vec *w)
{
	size_t kept = 0;
	if (w->nr)
		qsort(w->items, w->nr, sizeof *w->items, by_text);
	for (size_t i = 0; i < w->nr; i++) {
		if (kept && strcmp(w->items[kept - 1], w->items[i]) == 0)
			lp_free(w->items[i]);
		else
			w->items[kept++] = w->items[i];
	}
	w->nr = kept;
}

bool complete_line(const char *line, size_t len, const char *const *commands, const struct lp_patchset *ps,
		   struct lp_target *t, word_vec *out, size_t *start)
{
	struct cut c = cut_line(line, len);
	if (c.nr == 0)
		offer_first_words(out, commands, c.word);
	else
		offer_rest(out, &c, ps, t);
	bool is_all = out->nr < COMPLETE_MAX;
	sort_unique(out);
	*start = c.start;
	cut_free(&c);
	return is_all;
}

void words_free(word_vec *w)
{
	for (size_t i = 0; i < w->nr; i++)
		lp_free(w->items[i]);
	lp_vec_free(w);
}
