/*
 * Which functions and variables of two assembly files are the same, and which changed.
 *
 * Two functions are compared by their *canonical text*: the statements with local labels numbered in the order in which they
 * are first mentioned, the strings, constants and tables that they refer to appended under a number too, and names of the new
 * file replaced by those of their counterparts in the old one.
 *
 * Pairing functions may err without harm: whoever calls a function of another name has another text, and is replaced
 * with it.  Pairing variables may not: state would be lost, or mixed up.  So static variables of functions (x.1, x.2)
 * are paired only by what they hold and who uses them, and what stays ambiguous is refused.
 */
#include "build/gensrc_private.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void say(const struct comparison *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct comparison *c, const char *fmt, ...)
{
	if (!c->options->log)
		return;
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->options->log(c->options->arg, line);
}

/* ---- names that the user gave ---- */

void lp_gensrc_names_add(lp_gensrc_names *list, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ",");
		const char *colon = memchr(text, ':', n);
		if (n) {
			struct lp_gensrc_name *name = lp_vec_add(list);
			const char *word = colon ? colon + 1 : text;
			if (colon)
				name->file = lp_sprintf("%.*s", (int)(colon - text), text);
			name->name = lp_sprintf("%.*s", (int)(text + n - word), word);
		}
		text += n + (text[n] == ',');
	}
}

static void names_free(lp_gensrc_names *list)
{
	for (size_t i = 0; i < list->nr; i++) {
		lp_free(list->items[i].file);
		lp_free(list->items[i].name);
	}
	lp_vec_free(list);
}

void lp_gensrc_options_free(struct lp_gensrc_options *o)
{
	names_free(&o->ignore_changes);
	names_free(&o->unlink_symbols);
	names_free(&o->must_adapt);
	names_free(&o->only);
}

static struct span basename_of(struct span path)
{
	for (size_t i = path.n; i; i--)
		if (path.s[i - 1] == '/')
			return (struct span){path.s + i, path.n - i};
	return path;
}

bool asm_names_have(const lp_gensrc_names *list, struct span file, struct span name)
{
	for (size_t i = 0; i < list->nr; i++) {
		const struct lp_gensrc_name *n = &list->items[i];
		if (n->file && !span_is(file, n->file) && !span_is(basename_of(file), n->file))
			continue;
		if (span_is(name, n->name) || span_is(span_human(name), n->name))
			return true;
	}
	return false;
}

static bool listed(const struct comparison *c, const lp_gensrc_names *list, struct span name)
{
	struct span file = c->new->source;
	if (c->options->file)
		file = (struct span){c->options->file, strlen(c->options->file)};
	return asm_names_have(list, file, name);
}

/* ---- canonical text ---- */

struct canon {
	struct asm_file *f;
	const struct asm_file *old; /* when f is the new file: pairs point there; NULL otherwise */
	LP_VEC(size_t) parts;	    /* atoms in order, or symbols of aliases (+ nr of atoms) */
	size_t numbers;
	struct lp_buf text;
	LP_VEC(size_t) lines; /* where each begins */
};

static void canon_free(struct canon *k)
{
	lp_buf_free(&k->text);
	lp_vec_free(&k->parts);
	lp_vec_free(&k->lines);
}

static struct span canon_line(const struct canon *k, size_t i)
{
	size_t end = i + 1 < k->lines.nr ? k->lines.items[i + 1] : k->text.len;
	return (struct span){(const char *)k->text.data + k->lines.items[i], end - k->lines.items[i]};
}

static bool canon_same(const struct canon *a, const struct canon *b)
{
	return a->text.len == b->text.len && (!a->text.len || !memcmp(a->text.data, b->text.data, a->text.len));
}

/* Is this a place or a thing that has no name worth comparing? */
static bool numbered(const struct asm_file *f, const struct symbol *s)
{
	if (s->atom == NONE)
		return asm_is_local_alias(s);
	return !s->owner || f->atoms.items[s->atom].kind == ATOM_ANONYMOUS ||
	       f->atoms.items[s->atom].kind == ATOM_OTHER;
}

static void add_part(struct canon *k, size_t part)
{
	for (size_t i = 0; i < k->parts.nr; i++)
		if (k->parts.items[i] == part)
			return;
	lp_vec_push(&k->parts, part);
}

static void mention(struct canon *k, struct span word)
{
	size_t index = asm_symbol(k->f, word);
	if (index == NONE)
		return;
	struct symbol *s = &k->f->symbols.items[index];
	if (!numbered(k->f, s) || s->walk == k->f->walks)
		return;
	s->walk = k->f->walks;
	s->number = k->numbers++;
	if (s->atom == NONE)
		add_part(k, k->f->atoms.nr + index);
	else if (k->f->atoms.items[s->atom].kind == ATOM_ANONYMOUS)
		add_part(k, s->atom);
}

static bool counts(const struct statement *st, bool prefix)
{
	if (st->class == DIRECTIVE_OPEN || (prefix && st->class == DIRECTIVE_ALIGN))
		return false;
	if (st->class != DIRECTIVE_CFI)
		return true;
	struct span word = asm_mnemonic(st->text);
	return span_is(word, ".cfi_lsda") || span_is(word, ".cfi_personality");
}

static const struct statement *statement_of(const struct asm_file *f, const struct atom *a, size_t i)
{
	return &f->statements.items[a->statements.items[i]];
}

static void mention_words(struct canon *k, struct span text)
{
	struct span word;
	for (size_t at = 0; asm_next_word(k->f, text, &at, &word);)
		mention(k, word);
}

/* Numbers all labels that are mentioned, and finds all parts. */
static void canon_walk(struct canon *k)
{
	k->f->walks++;
	for (size_t p = 0; p < k->parts.nr; p++) {
		if (k->parts.items[p] >= k->f->atoms.nr) {
			struct lp_buf line = {0};
			lp_buf_printf(&line, ".set %.*s",
				      SPAN_FMT(k->f->symbols.items[k->parts.items[p] - k->f->atoms.nr].alias));
			mention_words(k, (struct span){lp_buf_cstr(&line), line.len});
			lp_buf_free(&line);
			continue;
		}
		const struct atom *a = &k->f->atoms.items[k->parts.items[p]];
		for (size_t i = 0; i < a->statements.nr; i++) {
			const struct statement *st = statement_of(k->f, a, i);
			if (!st->label && counts(st, i < a->prefix))
				mention_words(k, st->text);
		}
	}
}

static void canonical_word(void *arg, const struct asm_file *f, struct span word, struct lp_buf *out)
{
	const struct canon *k = arg;
	size_t index = asm_symbol(f, word);
	const struct symbol *s = index == NONE ? NULL : &f->symbols.items[index];
	if (s && numbered(f, s)) {
		lp_buf_printf(out, "#%zu", s->number);
	} else if (s && k->old && s->pair != NONE) {
		struct span name = k->old->symbols.items[s->pair].name;
		lp_buf_add(out, name.s, name.n);
	} else {
		if (s && k->old && (asm_is_data(f, s) || asm_is_function(f, s)))
			lp_buf_str(out, "new ");
		lp_buf_add(out, word.s, word.n);
	}
}

static void begin_line(struct canon *k)
{
	lp_vec_push(&k->lines, k->text.len);
}

static void canon_print_label(struct canon *k, struct span name)
{
	size_t index = asm_symbol(k->f, name);
	if (index != NONE && numbered(k->f, &k->f->symbols.items[index])) {
		if (k->f->symbols.items[index].walk != k->f->walks)
			return; /* nobody asks where this is */
		begin_line(k);
		lp_buf_printf(&k->text, "#%zu:\n", k->f->symbols.items[index].number);
	} else if (index == NONE) { /* 1: */
		begin_line(k);
		lp_buf_printf(&k->text, "%.*s:\n", SPAN_FMT(name));
	}
}

static void canon_print(struct canon *k)
{
	for (size_t p = 0; p < k->parts.nr; p++) {
		begin_line(k);
		if (k->parts.items[p] >= k->f->atoms.nr) {
			const struct symbol *s = &k->f->symbols.items[k->parts.items[p] - k->f->atoms.nr];
			struct lp_buf line = {0};
			lp_buf_printf(&line, ".set %.*s", SPAN_FMT(s->alias));
			lp_buf_printf(&k->text, "#%zu ", s->number);
			asm_rewrite(k->f, (struct span){lp_buf_cstr(&line), line.len}, canonical_word, k, &k->text);
			lp_buf_str(&k->text, "\n");
			lp_buf_free(&line);
			continue;
		}
		const struct atom *a = &k->f->atoms.items[k->parts.items[p]];
		const struct section *section = &k->f->sections.items[a->section];
		lp_buf_printf(&k->text, "part %s%s%s\n", section->exec ? "x" : "", section->write ? "w" : "",
			      section->tls ? "T" : "");
		for (size_t i = 0; i < a->statements.nr; i++) {
			const struct statement *st = statement_of(k->f, a, i);
			if (st->label) {
				canon_print_label(k, st->text);
			} else if (counts(st, i < a->prefix)) {
				begin_line(k);
				asm_rewrite(k->f, st->text, canonical_word, k, &k->text);
				lp_buf_str(&k->text, "\n");
			}
		}
	}
}

static void canon_make(struct canon *k, struct asm_file *f, const struct asm_file *old, size_t atom)
{
	*k = (struct canon){.f = f, .old = old};
	add_part(k, atom);
	if (f->atoms.items[atom].cold != NONE)
		add_part(k, f->atoms.items[atom].cold);
	canon_walk(k);
	canon_print(k);
}

/* Of a variable, wherever it is defined. */
static void canon_of_data(struct canon *k, struct asm_file *f, const struct asm_file *old, const struct symbol *s)
{
	if (!s->common) {
		canon_make(k, f, old, s->atom);
		return;
	}
	*k = (struct canon){.f = f};
	begin_line(k);
	lp_buf_printf(&k->text, "common %zu %zu\n", (size_t)s->common_size, (size_t)s->common_align);
}

/* ---- line numbers ---- */

static const struct {
	const char *name;
	unsigned argument;
} line_functions[] = {
#define LINE(name, argument) {name, argument},
#include "diff/lines.def"
#undef LINE
};

/* "mov $N, %reg" / "mov wN, N": which argument register gets a constant; -1 none. */
static int constant_argument(const struct asm_file *f, struct span line)
{
	static const char *const percent[][3] = {
		{"%edi", "%rdi", "%di"}, {"%esi", "%rsi", "%si"}, {"%edx", "%rdx", "%dx"},
		{"%ecx", "%rcx", "%cx"}, {"%r8d", "%r8", "%r8w"}, {"%r9d", "%r9", "%r9w"},
	};
	if (line.n && line.s[line.n - 1] == '\n')
		line.n--;
	struct span mnemonic = asm_mnemonic(line);
	struct span rest = span_trim((struct span){line.s + mnemonic.n, line.n - mnemonic.n});
	if (!span_starts(mnemonic, "mov"))
		return -1;
	if (f->syntax == LP_ASM_SLASHES) {
		bool plain = rest.n >= 5 && (rest.s[0] == 'w' || rest.s[0] == 'x') && rest.s[1] >= '0' &&
			     rest.s[1] <= '7' && rest.s[2] == ',';
		struct span value = plain ? span_trim((struct span){rest.s + 3, rest.n - 3}) : (struct span){"", 0};
		if (value.n && value.s[0] == '#')
			value = (struct span){value.s + 1, value.n - 1};
		return value.n && isdigit((unsigned char)value.s[0]) ? rest.s[1] - '0' : -1;
	}
	if (!rest.n || rest.s[0] != '$')
		return -1;
	const char *comma = memchr(rest.s, ',', rest.n);
	if (!comma)
		return -1;
	for (const char *p = rest.s + 1; p < comma; p++)
		if (!isdigit((unsigned char)*p))
			return -1;
	struct span reg = span_trim((struct span){comma + 1, rest.n - (size_t)(comma + 1 - rest.s)});
	for (int i = 0; i < (int)LP_ARRAY_SIZE(percent); i++)
		for (size_t j = 0; j < 3; j++)
			if (span_is(reg, percent[i][j]))
				return i;
	return -1;
}

static bool is_call(struct span line, struct span *callee)
{
	struct span mnemonic = asm_mnemonic(line);
	if (!span_is(mnemonic, "call") && !span_is(mnemonic, "callq") && !span_is(mnemonic, "bl"))
		return false;
	struct span rest = span_trim((struct span){line.s + mnemonic.n, line.n - mnemonic.n});
	if (rest.n && rest.s[0] == '*')
		rest = (struct span){rest.s + 1, rest.n - 1};
	size_t n = 0;
	while (n < rest.n && rest.s[n] != '@' && rest.s[n] != '\n' && rest.s[n] != '(')
		n++;
	*callee = (struct span){rest.s, n};
	return true;
}

static bool takes_line(struct span callee, int argument)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(line_functions); i++)
		if ((int)line_functions[i].argument == argument && span_is(callee, line_functions[i].name))
			return true;
	return false;
}

/* From the line that sets an argument to the call that takes it, in one straight run. */
static bool number_is_told_only(const struct canon *k, size_t at, int argument)
{
	for (size_t i = at + 1; i < k->lines.nr && i < at + 32; i++) {
		struct span line = canon_line(k, i), callee;
		if (line.n && (line.s[0] == '#' || line.s[line.n > 1 ? line.n - 2 : 0] == ':' || line.s[0] == 'j'))
			return false;
		if (constant_argument(k->f, line) == argument)
			return false;
		if (is_call(line, &callee))
			return takes_line(callee, argument);
	}
	return false;
}

static bool differ_in_line_numbers_only(const struct canon *a, const struct canon *b)
{
	if (a->lines.nr != b->lines.nr)
		return false;
	for (size_t i = 0; i < a->lines.nr; i++) {
		struct span x = canon_line(a, i), y = canon_line(b, i);
		if (span_same(x, y))
			continue;
		int argument = constant_argument(a->f, x);
		if (argument < 0 || argument != constant_argument(b->f, y) || !number_is_told_only(a, i, argument) ||
		    !number_is_told_only(b, i, argument))
			return false;
	}
	return true;
}

/* ---- pairing ---- */

static void pair_symbols(struct comparison *c, size_t old, size_t new)
{
	struct symbol *a = &c->old->symbols.items[old], *b = &c->new->symbols.items[new];
	a->pair = new;
	b->pair = old;
	if (a->atom != NONE && b->atom != NONE) {
		c->old->atoms.items[a->atom].pair = b->atom;
		c->new->atoms.items[b->atom].pair = a->atom;
	}
	if (!span_same(a->name, b->name))
		say(c, "paired %.*s with %.*s", SPAN_FMT(a->name), SPAN_FMT(b->name));
}

static void unpair(struct comparison *c, size_t old)
{
	struct symbol *a = &c->old->symbols.items[old], *b = &c->new->symbols.items[a->pair];
	if (a->atom != NONE)
		c->old->atoms.items[a->atom].pair = NONE;
	if (b->atom != NONE)
		c->new->atoms.items[b->atom].pair = NONE;
	a->pair = b->pair = NONE;
}

static bool has_suffix(struct span name)
{
	return span_human(name).n != name.n;
}

typedef bool belongs(const struct asm_file *f, const struct symbol *s);

/* Those that have the same name in both files and belong to the same kind. */
static void pair_by_name(struct comparison *c, belongs *kind, bool suffixed)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		const struct symbol *s = &c->new->symbols.items[i];
		size_t old = asm_symbol(c->old, s->name);
		if (s->pair == NONE && old != NONE && c->old->symbols.items[old].pair == NONE && kind(c->new, s) &&
		    kind(c->old, &c->old->symbols.items[old]) && (suffixed || !has_suffix(s->name)))
			pair_symbols(c, old, i);
	}
}

static bool is_named_alias(const struct asm_file *f, const struct symbol *s)
{
	return s->alias.n && !asm_is_local_alias(s) && s->atom == NONE;
}

/* f.isra.0 that became f.isra.1 */
static void pair_clones(struct comparison *c)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		const struct symbol *s = &c->new->symbols.items[i];
		if (s->pair != NONE || !asm_is_function(c->new, s) || !has_suffix(s->name))
			continue;
		for (size_t j = 0; j < c->old->symbols.nr; j++) {
			const struct symbol *o = &c->old->symbols.items[j];
			if (o->pair != NONE || !asm_is_function(c->old, o) || !has_suffix(o->name) ||
			    !span_same(span_human(o->name), span_human(s->name)))
				continue;
			pair_symbols(c, j, i);
			break;
		}
	}
}

/* Who mentions each symbol: human names of functions and variables, in the order of the file. */
static struct lp_buf *referrers(const struct asm_file *f)
{
	struct lp_buf *lists = lp_alloc((f->symbols.nr + 1) * sizeof *lists);
	size_t *last = lp_alloc((f->symbols.nr + 1) * sizeof *last);
	for (size_t i = 0; i < f->atoms.nr; i++) {
		const struct atom *a = &f->atoms.items[i];
		size_t owner = a->parent != NONE ? a->parent : i;
		if (a->symbol == NONE || a->kind == ATOM_ANONYMOUS)
			continue;
		struct span human = span_human(f->symbols.items[f->atoms.items[owner].symbol].name);
		for (size_t j = 0; j < a->statements.nr; j++) {
			const struct statement *st = statement_of(f, a, j);
			struct span word;
			for (size_t at = 0; !st->label && asm_next_word(f, st->text, &at, &word);) {
				size_t symbol = asm_symbol(f, word);
				if (symbol == NONE || last[symbol] == owner + 1)
					continue;
				last[symbol] = owner + 1;
				lp_buf_printf(&lists[symbol], "%.*s ", SPAN_FMT(human));
			}
		}
	}
	lp_free(last);
	return lists;
}

static void referrers_free(const struct asm_file *f, struct lp_buf *lists)
{
	for (size_t i = 0; i < f->symbols.nr; i++)
		lp_buf_free(&lists[i]);
	lp_free(lists);
}

enum statics_pass { SAME_USE_AND_CONTENT, SAME_USE, LAST_ONE, STATICS_PASSES };

struct statics {
	struct comparison *c;
	struct lp_buf *old_use, *new_use;
};

static bool same_content(struct comparison *c, const struct symbol *o, const struct symbol *n)
{
	struct canon a, b;
	canon_of_data(&a, c->old, NULL, o);
	canon_of_data(&b, c->new, c->old, n);
	bool same = canon_same(&a, &b);
	canon_free(&a);
	canon_free(&b);
	return same;
}

static bool is_constant_data(const struct asm_file *f, const struct symbol *s)
{
	return s->atom != NONE && asm_is_constant(&f->sections.items[f->atoms.items[s->atom].section]);
}

/* How many unpaired statics have this human name; *only is one of them. */
static size_t statics_left(const struct asm_file *f, struct span human, size_t *only)
{
	size_t nr = 0;
	for (size_t i = 0; i < f->symbols.nr; i++) {
		const struct symbol *s = &f->symbols.items[i];
		if (s->pair == NONE && asm_is_data(f, s) && has_suffix(s->name) &&
		    span_same(span_human(s->name), human)) {
			*only = i;
			nr++;
		}
	}
	return nr;
}

static bool statics_fit(struct statics *t, size_t old, size_t new, enum statics_pass pass)
{
	struct comparison *c = t->c;
	const struct symbol *o = &c->old->symbols.items[old], *n = &c->new->symbols.items[new];
	size_t ignored;
	switch (pass) {
	case SAME_USE_AND_CONTENT:
		return !strcmp(lp_buf_cstr(&t->old_use[old]), lp_buf_cstr(&t->new_use[new])) && same_content(c, o, n);
	case SAME_USE:
		return !strcmp(lp_buf_cstr(&t->old_use[old]), lp_buf_cstr(&t->new_use[new])) &&
		       !is_constant_data(c->old, o);
	default:
		return statics_left(c->old, span_human(o->name), &ignored) == 1 &&
		       statics_left(c->new, span_human(n->name), &ignored) == 1 &&
		       (!is_constant_data(c->old, o) || same_content(c, o, n));
	}
}

static void pair_statics_pass(struct statics *t, enum statics_pass pass)
{
	struct comparison *c = t->c;
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		const struct symbol *s = &c->new->symbols.items[i];
		if (s->pair != NONE || !asm_is_data(c->new, s) || !has_suffix(s->name))
			continue;
		for (size_t j = 0; j < c->old->symbols.nr; j++) {
			const struct symbol *o = &c->old->symbols.items[j];
			if (o->pair != NONE || !asm_is_data(c->old, o) || !has_suffix(o->name) ||
			    !span_same(span_human(o->name), span_human(s->name)) || !statics_fit(t, j, i, pass))
				continue;
			pair_symbols(c, j, i);
			break;
		}
	}
}

static bool is_state(const struct asm_file *f, const struct symbol *s)
{
	return !is_constant_data(f, s);
}

static int refuse_ambiguous(struct comparison *c)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		const struct symbol *s = &c->new->symbols.items[i];
		size_t other;
		if (s->pair == NONE && asm_is_data(c->new, s) && has_suffix(s->name) && is_state(c->new, s) &&
		    statics_left(c->old, span_human(s->name), &other) &&
		    is_state(c->old, &c->old->symbols.items[other]))
			return lp_fail(c->err, LP_EAMBIGUOUS,
				       "Variable %.*s was removed or changed? Patch requires adoptation (it may be "
				       "%.*s of the original "
				       "or a new one: give the static variable a name of its own)",
				       SPAN_FMT(s->name), SPAN_FMT(c->old->symbols.items[other].name));
	}
	return 0;
}

static int pair_statics(struct comparison *c)
{
	struct statics t = {.c = c, .old_use = referrers(c->old), .new_use = referrers(c->new)};
	for (enum statics_pass pass = 0; pass < STATICS_PASSES; pass++)
		pair_statics_pass(&t, pass);
	referrers_free(c->old, t.old_use);
	referrers_free(c->new, t.new_use);
	return refuse_ambiguous(c);
}

/* ---- variables ---- */

static int changed_variable(struct comparison *c, const struct symbol *s, const char *how)
{
	return lp_fail(c->err, LP_ECHANGED, "Variable %.*s was removed or changed? Patch requires adoptation (%s)",
		       SPAN_FMT(s->name), how);
}

/* Read-only data of this file alone may change: the new form goes into the patch, and all who use it with it. */
static bool may_travel(const struct asm_file *f, const struct symbol *s)
{
	return is_constant_data(f, s) && !s->global && !s->weak;
}

static int check_variable(struct comparison *c, size_t old, bool *again)
{
	const struct symbol *o = &c->old->symbols.items[old];
	if (o->pair == NONE || same_content(c, o, &c->new->symbols.items[o->pair]) ||
	    listed(c, &c->options->ignore_changes, o->name))
		return 0;
	if (!may_travel(c->old, o) || !may_travel(c->new, &c->new->symbols.items[o->pair]))
		return changed_variable(
			c, o,
			"its initial value or size is another one; running processes hold it already: set it in "
			"new code, or leave it out of the change");
	say(c, "constant %.*s changed", SPAN_FMT(o->name));
	unpair(c, old);
	*again = true;
	return 0;
}

static int check_variables(struct comparison *c)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < c->old->symbols.nr; i++)
			if (asm_is_data(c->old, &c->old->symbols.items[i])) {
				int rc = check_variable(c, i, &again);
				if (rc < 0)
					return rc;
			}
	}
	for (size_t i = 0; i < c->old->symbols.nr; i++) {
		const struct symbol *o = &c->old->symbols.items[i];
		if (o->pair == NONE && asm_is_data(c->old, o) && (o->global || (o->common && !o->local)) && !o->weak &&
		    !listed(c, &c->options->ignore_changes, o->name))
			return changed_variable(c, o, "it is gone, and other files may use it");
	}
	return 0;
}

static int mark_new_variables(struct comparison *c)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		struct symbol *s = &c->new->symbols.items[i];
		if (s->pair != NONE || !asm_is_data(c->new, s))
			continue;
		const struct section *section =
			s->common ? NULL : &c->new->sections.items[c->new->atoms.items[s->atom].section];
		if (section && !section->alloc)
			continue;
		if (section && section->tls)
			return lp_fail(c->err, LP_ERELOC,
				       "Variable %.*s is thread-local and new: running threads have no room for it "
				       "(use a shadow "
				       "variable)",
				       SPAN_FMT(s->name));
		s->fresh = true;
		if (section)
			c->new->atoms.items[s->atom].emit = true;
		say(c, "new variable %.*s", SPAN_FMT(s->name));
	}
	return 0;
}

/* ---- what is neither function nor variable ---- */

static bool other_matters(const struct section *s)
{
	return s->alloc && !span_starts(s->name, ".note") && !span_starts(s->name, ".eh_frame") &&
	       !span_starts(s->name, ".gcc_except_table") && !span_starts(s->name, ".stapsdt");
}

/* Labels alone put nothing into a section. */
static bool has_bytes(const struct asm_file *f, const struct atom *a)
{
	for (size_t i = 0; i < a->statements.nr; i++)
		if (!statement_of(f, a, i)->label && statement_of(f, a, i)->class == DIRECTIVE_BYTES)
			return true;
	return false;
}

/* The unlabelled contents of a section, in canonical form; false when there is none. */
static bool other_of(struct canon *k, struct asm_file *f, const struct asm_file *old, struct span section,
		     size_t *first, size_t *last)
{
	*k = (struct canon){.f = f, .old = old};
	for (size_t i = 0; i < f->atoms.nr; i++) {
		const struct atom *a = &f->atoms.items[i];
		if (a->kind != ATOM_OTHER || !span_same(f->sections.items[a->section].name, section) ||
		    !has_bytes(f, a))
			continue;
		add_part(k, i);
		*first = statement_of(f, a, 0)->line + 1;
		*last = statement_of(f, a, a->statements.nr - 1)->line + 1;
	}
	canon_walk(k);
	canon_print(k);
	return k->parts.nr;
}

static int compare_other(struct comparison *c, struct span section)
{
	struct canon a, b;
	size_t from[2] = {0, 0}, to[2] = {0, 0};
	other_of(&a, c->old, NULL, section, &from[0], &to[0]);
	other_of(&b, c->new, c->old, section, &from[1], &to[1]);
	bool same = canon_same(&a, &b);
	canon_free(&a);
	canon_free(&b);
	if (same)
		return 0;
	return lp_fail(c->err, LP_ECHANGED,
		       "Blocks of type other mismatch %zu-%zu vs. %zu-%zu (section %.*s: what stands there is used "
		       "when a program "
		       "starts, and would be missing in one that runs)",
		       from[0], to[0], from[1], to[1], SPAN_FMT(section));
}

static int compare_others(struct comparison *c)
{
	const struct asm_file *both[] = {c->old, c->new};
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < both[k]->sections.nr; i++) {
			if (!other_matters(&both[k]->sections.items[i]))
				continue;
			int rc = compare_other(c, both[k]->sections.items[i].name);
			if (rc < 0)
				return rc;
		}
	return 0;
}

static void rewrite_alias(struct canon *k, const struct symbol *s, struct lp_buf *out)
{
	struct lp_buf line = {0};
	lp_buf_printf(&line, ".set %.*s", SPAN_FMT(s->alias));
	asm_rewrite(k->f, (struct span){lp_buf_cstr(&line), line.len}, canonical_word, k, out);
	lp_buf_free(&line);
}

static int compare_aliases(struct comparison *c)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++) {
		struct symbol *s = &c->new->symbols.items[i];
		if (!is_named_alias(c->new, s))
			continue;
		if (s->pair == NONE) {
			s->fresh = true;
			continue;
		}
		struct canon a = {.f = c->old}, b = {.f = c->new, .old = c->old};
		struct lp_buf x = {0}, y = {0};
		rewrite_alias(&a, &c->old->symbols.items[s->pair], &x);
		rewrite_alias(&b, s, &y);
		bool same = !strcmp(lp_buf_cstr(&x), lp_buf_cstr(&y));
		lp_buf_free(&x);
		lp_buf_free(&y);
		if (!same)
			return lp_fail(c->err, LP_ECHANGED,
				       "%.*s is an alias of something else now: call the other by its name",
				       SPAN_FMT(s->name));
	}
	return 0;
}

/* Offsets from a section's anchor move when a variable is added: nobody could tell which variable is meant. */
static int refuse_anchors(struct comparison *c)
{
	for (size_t i = 0; i < c->new->symbols.nr; i++)
		if (span_starts(c->new->symbols.items[i].name, ".LANCHOR"))
			return lp_fail(c->err, LP_EPARSE,
				       "%s: variables are addressed through section anchors: compile with "
				       "-fno-section-anchors",
				       c->new->name);
	return 0;
}

/* ---- functions ---- */

/* The mark is in a comment, so it is looked for in the lines from the first statement to the last. */
static bool adapted(const struct asm_file *f, const struct atom *a)
{
	static const char mark[] = "KPGENSRC_ADAPTED";
	if (!a->statements.nr)
		return false;
	for (size_t l = statement_of(f, a, 0)->line; l <= statement_of(f, a, a->statements.nr - 1)->line; l++)
		if (memmem(f->lines.items[l].s, f->lines.items[l].n, mark, sizeof mark - 1))
			return true;
	return false;
}

static bool function_differs(struct comparison *c, size_t atom)
{
	struct canon a, b;
	canon_make(&b, c->new, c->old, atom);
	canon_make(&a, c->old, NULL, c->new->atoms.items[atom].pair);
	bool differs = !canon_same(&a, &b) && !differ_in_line_numbers_only(&a, &b);
	canon_free(&a);
	canon_free(&b);
	return differs;
}

static bool is_ignored(struct comparison *c, struct span name)
{
	return listed(c, &c->options->ignore_changes, name) ||
	       (c->options->only.nr && !listed(c, &c->options->only, name));
}

static int judge_function(struct comparison *c, size_t i)
{
	struct atom *a = &c->new->atoms.items[i];
	struct symbol *s = &c->new->symbols.items[a->symbol];
	if (a->pair == NONE) {
		s->fresh = a->emit = true;
		say(c, "new function %.*s", SPAN_FMT(s->name));
		return 0;
	}
	a->changed = listed(c, &c->options->unlink_symbols, s->name) || function_differs(c, i);
	if (!a->changed)
		return 0;
	if (is_ignored(c, s->name)) {
		a->changed = false;
		say(c, "ignored the change in %.*s", SPAN_FMT(s->name));
		return 0;
	}
	a->emit = true;
	say(c, "changed function %.*s", SPAN_FMT(s->name));
	if (listed(c, &c->options->must_adapt, s->name) && !adapted(c->new, a)) {
		lp_fail(c->err, LP_ECHANGED,
			"not adapted function found: %.*s changed, and must be marked KPGENSRC_ADAPTED in its source",
			SPAN_FMT(s->name));
		return -LP_ECHANGED;
	}
	return 0;
}

static int judge_functions(struct comparison *c)
{
	for (size_t i = 0; i < c->new->atoms.nr; i++) {
		const struct atom *a = &c->new->atoms.items[i];
		if (a->kind != ATOM_FUNCTION || a->symbol == NONE || a->parent != NONE)
			continue;
		int rc = judge_function(c, i);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < c->new->atoms.nr; i++) /* a cold part goes where its function goes */
		if (c->new->atoms.items[i].parent != NONE)
			c->new->atoms.items[i].emit = c->new->atoms.items[c->new->atoms.items[i].parent].emit;
	return 0;
}

int asm_compare(struct comparison *c)
{
	pair_by_name(c, asm_is_function, true);
	pair_clones(c);
	pair_by_name(c, is_named_alias, true);
	pair_by_name(c, asm_is_data, false);
	int rc = refuse_anchors(c);
	if (!rc)
		rc = pair_statics(c);
	if (!rc)
		rc = check_variables(c);
	if (!rc)
		rc = mark_new_variables(c);
	if (!rc)
		rc = compare_aliases(c);
	if (!rc)
		rc = compare_others(c);
	return rc ? rc : judge_functions(c);
}
