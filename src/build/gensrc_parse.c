/*
 * From the text of an assembly file to statements, sections, symbols and atoms.
 *
 * What has to be got right, and is not obvious from any one file:
 *   - a function is in pieces: its jump tables, exception table and cold part stand in other sections, between its
 *     first and last instruction.  So "which atom are we in" is asked per section.
 *   - gcc writes .cfi_startproc of a cold part before its label and .size of the hot part after it; clang writes .size
 *     before .cfi_endproc.  A function is `closed` by its .size, and still takes what belongs to its unwind table.
 *   - gcc marks where a cold part is about to begin, and exception tables count from there.
 *   - alignment stands before the label that it is for, but loops inside of a function are aligned too: what is
 *     pending goes to the next atom if a label begins one, and to the present one otherwise.
 */
#include "build/gensrc_private.h"

#include <ctype.h>
#include <string.h>

/* ---- spans ---- */

bool span_is(struct span a, const char *s)
{
	return a.n == strlen(s) && !memcmp(a.s, s, a.n);
}

bool span_same(struct span a, struct span b)
{
	return a.n == b.n && (!a.n || !memcmp(a.s, b.s, a.n));
}

bool span_starts(struct span a, const char *prefix)
{
	size_t n = strlen(prefix);
	return a.n >= n && !memcmp(a.s, prefix, n);
}

bool span_ends(struct span a, const char *suffix)
{
	size_t n = strlen(suffix);
	return a.n >= n && !memcmp(a.s + a.n - n, suffix, n);
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

struct span span_trim(struct span a)
{
	for (; a.n && blank(a.s[0]); a.s++)
		a.n--;
	while (a.n && blank(a.s[a.n - 1]))
		a.n--;
	return a;
}

static bool is_digits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return n > 0;
}

/* What compilers hang onto the names of clones; each may be followed by a number. */
static const char *const clone_suffixes[] = {
	"isra", "part", "constprop", "cold", "lto_priv", "localalias", "llvm",
};

static bool is_clone_suffix(const char *s, size_t n)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(clone_suffixes); i++)
		if (n == strlen(clone_suffixes[i]) && !memcmp(s, clone_suffixes[i], n))
			return true;
	return is_digits(s, n);
}

struct span span_human(struct span name)
{
	for (;;) {
		size_t dot = name.n;
		while (dot > 1 && name.s[dot - 1] != '.')
			dot--;
		if (dot <= 1 || !is_clone_suffix(name.s + dot, name.n - dot))
			return name;
		name.n = dot - 1;
	}
}

/* ---- symbols ---- */

static size_t hash_of(struct span a)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < a.n; i++)
		h = (h ^ (uint8_t)a.s[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

static size_t *slot_of(const struct asm_file *f, struct span name)
{
	size_t i = hash_of(name) & (f->hash_size - 1);
	while (f->hash[i] != NONE && !span_same(f->symbols.items[f->hash[i]].name, name))
		i = (i + 1) & (f->hash_size - 1);
	return &f->hash[i];
}

static void hash_grow(struct asm_file *f)
{
	lp_free(f->hash);
	f->hash_size = f->hash_size ? 2 * f->hash_size : 1024;
	f->hash = lp_alloc(f->hash_size * sizeof *f->hash);
	for (size_t i = 0; i < f->hash_size; i++)
		f->hash[i] = NONE;
	for (size_t i = 0; i < f->symbols.nr; i++)
		*slot_of(f, f->symbols.items[i].name) = i;
}

size_t asm_symbol(const struct asm_file *f, struct span name)
{
	return f->hash_size ? *slot_of(f, name) : NONE;
}

size_t asm_symbol_add(struct asm_file *f, struct span name)
{
	if (2 * (f->symbols.nr + 1) > f->hash_size)
		hash_grow(f);
	size_t *slot = slot_of(f, name);
	if (*slot == NONE) {
		*slot = f->symbols.nr;
		struct symbol *s = lp_vec_add(&f->symbols);
		s->name = name;
		s->atom = s->pair = NONE;
	}
	return *slot;
}

/* ---- words ---- */

static bool starts_word(char c)
{
	return isalpha((unsigned char)c) || c == '_' || c == '.' || (unsigned char)c >= 0x80;
}

static bool goes_on(char c)
{
	return starts_word(c) || isdigit((unsigned char)c) || c == '$';
}

static size_t string_end(struct span a, size_t at)
{
	for (at++; at < a.n && a.s[at] != '"'; at++)
		if (a.s[at] == '\\')
			at++;
	return at < a.n ? at + 1 : a.n;
}

static size_t word_end(struct span a, size_t at)
{
	while (at < a.n && goes_on(a.s[at]))
		at++;
	return at;
}

struct span asm_mnemonic(struct span statement)
{
	size_t n = 0;
	while (n < statement.n && !blank(statement.s[n]))
		n++;
	return (struct span){statement.s, n};
}

static bool takes_text(struct span mnemonic)
{
	return span_is(mnemonic, ".string") || span_is(mnemonic, ".ascii") || span_is(mnemonic, ".asciz");
}

bool asm_next_word(const struct asm_file *f, struct span st, size_t *at, struct span *word)
{
	size_t i = *at;
	if (!i) {
		struct span mnemonic = asm_mnemonic(st);
		if (takes_text(mnemonic))
			return false;
		i = mnemonic.n;
	}
	while (i < st.n) {
		char c = st.s[i];
		if (c == '%' && f->syntax == LP_ASM_PERCENT) {
			i = word_end(st, i + 1); /* a register */
		} else if (c == '@') {		 /* foo@PLT, @function */
			for (i++; i < st.n && (goes_on(st.s[i]) || st.s[i] == '@');)
				i++;
		} else if (c == '"') {
			size_t end = string_end(st, i);
			*word = (struct span){st.s + i + 1, end - i >= 2 ? end - i - 2 : 0};
			*at = end;
			return true;
		} else if (c == '\'') {
			i += 2;
		} else if (isdigit((unsigned char)c)) {
			i = word_end(st, i);
		} else if (starts_word(c)) {
			*word = (struct span){st.s + i, word_end(st, i) - i};
			*at = i + word->n;
			return true;
		} else {
			i++;
		}
	}
	return false;
}

void asm_rewrite(const struct asm_file *f, struct span st, asm_rewriter *rewrite, void *arg, struct lp_buf *out)
{
	size_t done = 0, at = 0;
	struct span word;
	while (asm_next_word(f, st, &at, &word)) {
		size_t start = (size_t)(word.s - st.s);
		lp_buf_add(out, st.s + done, start - done);
		rewrite(arg, f, word, out);
		done = start + word.n;
	}
	lp_buf_add(out, st.s + done, st.n - done);
}

bool asm_is_data(const struct asm_file *f, const struct symbol *s)
{
	return s->common || (s->atom != NONE && s->owner && f->atoms.items[s->atom].kind == ATOM_VARIABLE);
}

bool asm_is_function(const struct asm_file *f, const struct symbol *s)
{
	return s->atom != NONE && s->owner && f->atoms.items[s->atom].kind == ATOM_FUNCTION;
}

bool asm_is_local_alias(const struct symbol *s)
{
	return s->alias.n && asm_is_local_label(s->name);
}

bool asm_is_constant(const struct section *s)
{
	return !s->tls && (!s->write || span_starts(s->name, ".data.rel.ro"));
}

/* ---- directives ---- */

enum directive_class directive_class(struct span word)
{
	static const struct {
		const char *word;
		enum directive_class class;
	} table[] = {
#define DIRECTIVE(word, class) {word, DIRECTIVE_##class},
#include "build/gensrc_directives.def"
#undef DIRECTIVE
	};
	if (!word.n || word.s[0] != '.')
		return DIRECTIVE_BYTES;
	for (size_t i = 0; i < LP_ARRAY_SIZE(table); i++) {
		size_t n = strlen(table[i].word);
		bool open_end = table[i].word[n - 1] == '*';
		if (open_end ? word.n >= n - 1 && !memcmp(word.s, table[i].word, n - 1) : span_is(word, table[i].word))
			return table[i].class;
	}
	return DIRECTIVE_BYTES;
}

/* The i-th operand, between commas outside of quotes, trimmed; n = 0 beyond the last. */
static struct span operand(struct span st, size_t i)
{
	struct span mnemonic = asm_mnemonic(st);
	struct span rest = {st.s + mnemonic.n, st.n - mnemonic.n};
	for (size_t at = 0, start = 0;; at++) {
		if (at < rest.n && rest.s[at] == '"') {
			at = string_end(rest, at) - 1;
			continue;
		}
		if (at < rest.n && rest.s[at] != ',')
			continue;
		if (!i--)
			return span_trim((struct span){rest.s + start, at - start});
		if (at >= rest.n)
			return (struct span){rest.s, 0};
		start = at + 1;
	}
}

static struct span unquoted(struct span a)
{
	if (a.n >= 2 && a.s[0] == '"' && a.s[a.n - 1] == '"')
		return (struct span){a.s + 1, a.n - 2};
	return a;
}

/* ---- comments and lines ---- */

static enum lp_asm_syntax guess_syntax(const struct lp_buf *text)
{
	/* Registers with a percent sign are what every function of the one syntax has; of the other, .arch armv8 or a
	 * comment with slashes.  An empty file is the same in both. */
	for (size_t i = 0; i + 1 < text->len; i++) {
		if (text->data[i] == '%' &&
		    (text->data[i + 1] == 'r' || text->data[i + 1] == 'e' || text->data[i + 1] == 'x'))
			return LP_ASM_PERCENT;
		if (text->data[i] == '/' && text->data[i + 1] == '/')
			return LP_ASM_SLASHES;
		if (!memcmp(text->data + i, ".arch armv", text->len - i < 10 ? text->len - i : 10))
			return LP_ASM_SLASHES;
	}
	return LP_ASM_PERCENT;
}

static bool line_is_blank_up_to(const uint8_t *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!blank((char)line[i]))
			return false;
	return true;
}

static bool comment_starts(const struct asm_file *f, const uint8_t *line, size_t i, size_t len)
{
	if (line[i] == '#')
		return f->syntax == LP_ASM_PERCENT || line_is_blank_up_to(line, i);
	return f->syntax == LP_ASM_SLASHES && line[i] == '/' && i + 1 < len && line[i + 1] == '/';
}

/* Spaces over the comments of one line; *open: inside of a comment between slash and star. */
static void blank_comments(const struct asm_file *f, uint8_t *line, size_t len, bool *open)
{
	for (size_t i = 0; i < len; i++) {
		if (*open) {
			if (line[i] == '*' && i + 1 < len && line[i + 1] == '/') {
				*open = false;
				line[i + 1] = ' ';
			}
			line[i] = ' ';
		} else if (line[i] == '"') {
			i = string_end((struct span){(const char *)line, len}, i) - 1;
		} else if (line[i] == '\'' && i + 1 < len) {
			i++;
		} else if (line[i] == '/' && i + 1 < len && line[i + 1] == '*') {
			*open = true;
			line[i] = line[i + 1] = ' ';
			i++;
		} else if (comment_starts(f, line, i, len)) {
			memset(line + i, ' ', len - i);
			return;
		}
	}
}

static void split_lines(struct asm_file *f)
{
	bool open = false;
	lp_buf_add(&f->clean, f->text.data, f->text.len);
	for (size_t at = 0; at < f->text.len;) {
		uint8_t *end = memchr(f->text.data + at, '\n', f->text.len - at);
		size_t n = end ? (size_t)(end - (f->text.data + at)) : f->text.len - at;
		lp_vec_push(&f->lines, ((struct span){(const char *)f->text.data + at, n}));
		blank_comments(f, f->clean.data + at, n, &open);
		at += n + 1;
	}
}

/* ---- statements ---- */

static void add_statement(struct asm_file *f, size_t line, struct span text, bool label)
{
	struct statement *st = lp_vec_add(&f->statements);
	st->text = text;
	st->line = line;
	st->label = label;
	if (!label)
		st->class = (uint8_t)directive_class(asm_mnemonic(text));
}

/* Length of a label at the start of the text, with its colon; 0 = none. */
static size_t label_length(struct span a)
{
	size_t n = 0;
	if (a.n && a.s[0] == '"')
		n = string_end(a, 0);
	else
		while (n < a.n && goes_on(a.s[n]))
			n++;
	return n && n < a.n && a.s[n] == ':' ? n + 1 : 0;
}

static void split_statement(struct asm_file *f, size_t line, struct span text)
{
	for (text = span_trim(text); text.n; text = span_trim(text)) {
		size_t label = label_length(text);
		if (!label) {
			add_statement(f, line, text, false);
			return;
		}
		add_statement(f, line, unquoted((struct span){text.s, label - 1}), true);
		text = (struct span){text.s + label, text.n - label};
	}
}

static void split_line(struct asm_file *f, size_t line, struct span text)
{
	size_t start = 0;
	for (size_t i = 0; i <= text.n; i++) {
		if (i < text.n && text.s[i] == '"') {
			i = string_end(text, i) - 1;
		} else if (i < text.n && text.s[i] == '\'' && i + 1 < text.n) {
			i++;
		} else if (i == text.n || text.s[i] == ';') {
			split_statement(f, line, (struct span){text.s + start, i - start});
			start = i + 1;
		}
	}
}

static void split_statements(struct asm_file *f)
{
	bool macro = false;
	for (size_t i = 0; i < f->lines.nr; i++) {
		size_t at = (size_t)(f->lines.items[i].s - (const char *)f->text.data);
		struct span clean = span_trim((struct span){(const char *)f->clean.data + at, f->lines.items[i].n});
		if (span_is(asm_mnemonic(clean), ".macro"))
			macro = true;
		if (!clean.n)
			continue;
		if (macro)
			add_statement(f, i, clean, false); /* its labels are of every use, not of this place */
		else
			split_line(f, i, clean);
		if (span_is(asm_mnemonic(clean), ".endm"))
			macro = false;
	}
}

/* ---- sections ---- */

static void flags_by_name(struct section *s)
{
	static const struct {
		const char *prefix, *flags;
	} known[] = {
		{".text", "ax"},  {".init_array", "aw"}, {".fini_array", "aw"},	     {".preinit_array", "aw"},
		{".init", "ax"},  {".fini", "ax"},	 {".rodata", "a"},	     {".data", "aw"},
		{".bss", "aw"},	  {".tdata", "awT"},	 {".tbss", "awT"},	     {".eh_frame", "a"},
		{".ctors", "aw"}, {".dtors", "aw"},	 {".gcc_except_table", "a"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(known); i++) {
		if (!span_starts(s->name, known[i].prefix))
			continue;
		s->alloc = strchr(known[i].flags, 'a');
		s->write = strchr(known[i].flags, 'w');
		s->exec = strchr(known[i].flags, 'x');
		s->tls = strchr(known[i].flags, 'T');
		return;
	}
}

static void flags_from(struct section *s, struct span flags)
{
	s->alloc = memchr(flags.s, 'a', flags.n);
	s->write = memchr(flags.s, 'w', flags.n);
	s->exec = memchr(flags.s, 'x', flags.n);
	s->tls = memchr(flags.s, 'T', flags.n);
}

static uint32_t section_of(struct asm_file *f, struct span name, struct span flags, struct span group)
{
	for (size_t i = 0; i < f->sections.nr; i++)
		if (span_same(f->sections.items[i].name, name) && span_same(f->sections.items[i].group, group))
			return (uint32_t)i;
	struct section *s = lp_vec_add(&f->sections);
	s->name = name;
	s->group = group;
	flags_by_name(s);
	if (flags.n)
		flags_from(s, flags);
	return (uint32_t)(f->sections.nr - 1);
}

static uint32_t section_named(struct asm_file *f, struct span st, size_t first)
{
	struct span flags = unquoted(operand(st, first + 1)), group = {"", 0};
	if (memchr(flags.s, 'G', flags.n)) {
		struct span third = operand(st, first + 3);
		bool entsize = third.n && isdigit((unsigned char)third.s[0]);
		group = unquoted(entsize ? operand(st, first + 4) : third);
	}
	return section_of(f, unquoted(operand(st, first)), flags, group);
}

#define SECTION_DEPTH 64

struct section_state {
	uint32_t now, before;
};

/* .section and its relatives: which section statements go to from here on. */
static int switch_section(struct asm_file *f, const struct statement *st, struct section_state *stack, size_t *depth,
			  struct lp_err *err)
{
	struct span word = asm_mnemonic(st->text);
	struct section_state *top = &stack[*depth];
	if (span_is(word, ".popsection")) {
		if (!*depth)
			return lp_fail(err, LP_EPARSE, "%s:%zu: .popsection without .pushsection", f->name,
				       st->line + 1);
		--*depth;
		return 0;
	}
	if (span_is(word, ".previous")) {
		uint32_t now = top->now;
		top->now = top->before;
		top->before = now;
		return 0;
	}
	if (span_is(word, ".subsection"))
		return 0;
	if (span_is(word, ".pushsection")) {
		if (*depth + 1 == SECTION_DEPTH)
			return lp_fail(err, LP_EPARSE, "%s:%zu: .pushsection too deep", f->name, st->line + 1);
		stack[++*depth] = *top;
		top = &stack[*depth];
	}
	bool named = span_is(word, ".section") || span_is(word, ".pushsection");
	uint32_t next =
		named ? section_named(f, st->text, 0) : section_of(f, word, (struct span){"", 0}, (struct span){"", 0});
	top->before = top->now;
	top->now = next;
	return 0;
}

/* ---- attributes of symbols ---- */

static uint64_t number(struct span a)
{
	uint64_t v = 0;
	for (size_t i = 0; i < a.n && isdigit((unsigned char)a.s[i]); i++)
		v = v * 10 + (uint64_t)(a.s[i] - '0');
	return v;
}

static void set_type(struct symbol *s, struct span type)
{
	if (type.n && (type.s[0] == '@' || type.s[0] == '%' || type.s[0] == '#'))
		type = (struct span){type.s + 1, type.n - 1};
	type = unquoted(type);
	if (span_is(type, "function") || span_is(type, "STT_FUNC"))
		s->function = true;
	else if (span_is(type, "gnu_indirect_function"))
		s->function = s->ifunc = true;
	else if (span_is(type, "tls_object"))
		s->object = s->tls = true;
	else if (span_is(type, "object") || span_is(type, "gnu_unique_object") || span_is(type, "common"))
		s->object = true;
}

static void set_common(struct asm_file *f, struct symbol *s, struct span st)
{
	s->common = true;
	s->common_size = number(operand(st, 1));
	s->common_align = number(operand(st, 2));
	if (span_is(asm_mnemonic(st), ".lcomm"))
		s->local = true;
}

static void attribute(struct asm_file *f, const struct statement *st)
{
	struct span word = asm_mnemonic(st->text), name = unquoted(operand(st->text, 0));
	if (!name.n)
		return;
	size_t index = asm_symbol_add(f, name); /* may move them all */
	struct symbol *s = &f->symbols.items[index];
	if (span_is(word, ".globl") || span_is(word, ".global"))
		s->global = true;
	else if (span_is(word, ".weak"))
		s->weak = true;
	else if (span_is(word, ".local"))
		s->local = true;
	else if (span_is(word, ".hidden") || span_is(word, ".internal") || span_is(word, ".protected"))
		s->visibility = word;
	else if (span_is(word, ".type"))
		set_type(s, operand(st->text, 1));
	else if (span_is(word, ".comm") || span_is(word, ".lcomm"))
		set_common(f, s, st->text);
	else if (span_is(word, ".set") || span_is(word, ".equ") || span_is(word, ".equiv"))
		s->alias = operand(st->text, 1);
}

/* ---- atoms ---- */

/* What is going on in one section. */
struct place {
	size_t atom;		/* NONE: none yet */
	LP_VEC(size_t) pending; /* statements that belong to the atom that follows, if one does */
};

struct builder {
	struct asm_file *f;
	LP_VEC(struct place) places; /* by section */
};

static struct place *place_of(struct builder *b, uint32_t section)
{
	while (b->places.nr <= section)
		((struct place *)lp_vec_add(&b->places))->atom = NONE;
	return &b->places.items[section];
}

/* A label that was pending is where it was: in front of what comes now. */
static void adopt(struct builder *b, size_t atom, size_t statement)
{
	struct asm_file *f = b->f;
	const struct statement *st = &f->statements.items[statement];
	size_t symbol = st->label ? asm_symbol(f, st->text) : NONE;
	lp_vec_push(&f->atoms.items[atom].statements, statement);
	if (symbol != NONE)
		f->symbols.items[symbol].atom = atom;
}

static void flush_pending(struct builder *b, struct place *p)
{
	if (p->atom == NONE || !p->pending.nr)
		return;
	for (size_t i = 0; i < p->pending.nr; i++)
		adopt(b, p->atom, p->pending.items[i]);
	p->pending.nr = 0;
}

static size_t new_atom(struct builder *b, uint32_t section, enum atom_kind kind, size_t symbol)
{
	struct asm_file *f = b->f;
	struct place *p = place_of(b, section);
	struct atom *a = lp_vec_add(&f->atoms);
	a->kind = kind;
	a->section = section;
	a->symbol = symbol;
	a->parent = a->cold = a->pair = NONE;
	a->prefix = p->pending.nr;
	p->atom = f->atoms.nr - 1;
	for (size_t i = 0; i < p->pending.nr; i++)
		adopt(b, p->atom, p->pending.items[i]);
	p->pending.nr = 0;
	return p->atom;
}

bool asm_is_local_label(struct span name)
{
	return span_starts(name, ".L") || is_digits(name.s, name.n);
}

/* Data after a label: does the label begin something of its own, or is it a place inside of what is there? */
static bool begins_data(const struct asm_file *f, const struct section *s, struct span name)
{
	if (is_digits(name.s, name.n))
		return false;
	if (span_starts(s->name, ".gcc_except_table"))
		return (span_starts(name, ".LLSDA") && name.n > 6 &&
			(isdigit((unsigned char)name.s[6]) || name.s[6] == 'C') && !span_starts(name, ".LLSDACS")) ||
		       span_starts(name, "GCC_except_table");
	return s->alloc;
}

static bool begins_code(struct builder *b, struct place *p, const struct symbol *s)
{
	if (asm_is_local_label(s->name))
		return false;
	if (s->function || p->atom == NONE)
		return true;
	const struct atom *a = &b->f->atoms.items[p->atom];
	bool inside = a->symbol != NONE && b->f->symbols.items[a->symbol].function && !a->closed;
	return !inside;
}

/* Has the atom nothing but labels so far?  Then one more label is another name of it. */
static bool only_labels(const struct asm_file *f, const struct atom *a)
{
	for (size_t i = a->prefix; i < a->statements.nr; i++)
		if (!f->statements.items[a->statements.items[i]].label)
			return false;
	return true;
}

static enum atom_kind kind_of_label(const struct section *s, struct span name)
{
	if (s->exec)
		return ATOM_FUNCTION;
	return asm_is_local_label(name) || span_starts(name, "GCC_except_table") ? ATOM_ANONYMOUS : ATOM_VARIABLE;
}

static void take(struct builder *b, struct place *p, size_t statement)
{
	flush_pending(b, p);
	lp_vec_push(&b->f->atoms.items[p->atom].statements, statement);
}

static int place_label(struct builder *b, size_t index, struct lp_err *err)
{
	struct asm_file *f = b->f;
	const struct statement *st = &f->statements.items[index];
	struct place *p = place_of(b, st->section);
	const struct section *section = &f->sections.items[st->section];
	bool numeric = is_digits(st->text.s, st->text.n);
	size_t symbol = numeric ? NONE : asm_symbol_add(f, st->text);
	if (symbol != NONE && f->symbols.items[symbol].atom != NONE)
		return lp_fail(err, LP_EPARSE, "%s:%zu: %.*s is defined twice", f->name, st->line + 1,
			       SPAN_FMT(st->text));
	bool begins = symbol != NONE && (section->exec ? begins_code(b, p, &f->symbols.items[symbol])
						       : begins_data(f, section, st->text));
	if (section->exec && !begins && (p->atom == NONE || f->atoms.items[p->atom].closed)) {
		lp_vec_push(&p->pending, index); /* .LCOLDB3: where the cold part begins that is about to begin */
		return 0;
	}
	bool another_name = false;
	if (begins && p->atom != NONE && !p->pending.nr) {
		const struct atom *a = &f->atoms.items[p->atom];
		another_name = a->symbol != NONE && !a->closed && only_labels(f, a);
	}
	if (begins && !another_name)
		new_atom(b, st->section, kind_of_label(section, st->text), symbol);
	else if (p->atom == NONE)
		new_atom(b, st->section, ATOM_OTHER, NONE);
	take(b, place_of(b, st->section), index);
	if (symbol != NONE) {
		f->symbols.items[symbol].atom = place_of(b, st->section)->atom;
		f->symbols.items[symbol].owner = begins;
	}
	return 0;
}

/* .size of a function ends it, wherever we are. */
static void close_function(struct builder *b, const struct statement *st)
{
	struct asm_file *f = b->f;
	if (!span_is(asm_mnemonic(st->text), ".size"))
		return;
	size_t symbol = asm_symbol(f, unquoted(operand(st->text, 0)));
	if (symbol == NONE || f->symbols.items[symbol].atom == NONE)
		return;
	struct atom *a = &f->atoms.items[f->symbols.items[symbol].atom];
	if (a->kind == ATOM_FUNCTION && f->symbols.items[symbol].owner)
		a->closed = true;
}

static void place_statement(struct builder *b, size_t index)
{
	struct asm_file *f = b->f;
	const struct statement *st = &f->statements.items[index];
	struct place *p = place_of(b, st->section);
	bool closed =
		p->atom == NONE || f->atoms.items[p->atom].closed || f->atoms.items[p->atom].kind != ATOM_FUNCTION;
	switch (st->class) {
	case DIRECTIVE_ALIGN:
		lp_vec_push(&p->pending, index);
		return;
	case DIRECTIVE_OPEN:
		if (closed || f->atoms.items[p->atom].ended) {
			lp_vec_push(&p->pending, index);
			return;
		}
		break;
	case DIRECTIVE_CFI:
		if (p->pending.nr) { /* .cfi_startproc came before the label, and so does its company */
			lp_vec_push(&p->pending, index);
			return;
		}
		if (p->atom != NONE && span_is(asm_mnemonic(st->text), ".cfi_endproc"))
			f->atoms.items[p->atom].ended = true;
		break;
	default:
		break;
	}
	if (p->atom == NONE)
		new_atom(b, st->section, ATOM_OTHER, NONE);
	take(b, place_of(b, st->section), index);
}

static int find_atoms(struct asm_file *f, struct lp_err *err)
{
	struct builder b = {.f = f};
	struct section_state stack[SECTION_DEPTH] = {{0, 0}};
	size_t depth = 0;
	int rc = 0;
	section_of(f, (struct span){".text", 5}, (struct span){"", 0}, (struct span){"", 0});
	for (size_t i = 0; i < f->statements.nr && !rc; i++) {
		struct statement *st = &f->statements.items[i];
		st->section = stack[depth].now;
		if (st->label)
			rc = place_label(&b, i, err);
		else if (st->class == DIRECTIVE_SECTION)
			rc = switch_section(f, st, stack, &depth, err);
		else if (st->class == DIRECTIVE_SYMBOL)
			close_function(&b, st);
		else if (st->class != DIRECTIVE_NOTHING)
			place_statement(&b, i);
	}
	for (size_t i = 0; i < b.places.nr; i++) {
		flush_pending(&b, &b.places.items[i]);
		lp_vec_free(&b.places.items[i].pending);
	}
	lp_vec_free(&b.places);
	return rc;
}

/* ---- relations between atoms ---- */

static void find_cold_parts(struct asm_file *f)
{
	for (size_t i = 0; i < f->atoms.nr; i++) {
		struct atom *a = &f->atoms.items[i];
		if (a->kind != ATOM_FUNCTION || a->symbol == NONE)
			continue;
		struct span name = f->symbols.items[a->symbol].name;
		size_t n = name.n;
		while (n && (isdigit((unsigned char)name.s[n - 1]) || name.s[n - 1] == '.'))
			n--;
		if (!span_ends((struct span){name.s, n}, ".cold"))
			continue;
		size_t hot = asm_symbol(f, (struct span){name.s, n - 5});
		if (hot == NONE || f->symbols.items[hot].atom == NONE || f->symbols.items[hot].atom == i)
			continue;
		struct atom *parent = &f->atoms.items[f->symbols.items[hot].atom];
		if (parent->kind != ATOM_FUNCTION || parent->cold != NONE)
			continue;
		a->parent = f->symbols.items[hot].atom;
		parent->cold = i;
	}
}

static bool refers_into_code(const struct asm_file *f, const struct atom *a)
{
	for (size_t i = 0; i < a->statements.nr; i++) {
		const struct statement *st = &f->statements.items[a->statements.items[i]];
		struct span word;
		for (size_t at = 0; !st->label && asm_next_word(f, st->text, &at, &word);) {
			size_t symbol = asm_symbol(f, word);
			if (symbol == NONE || f->symbols.items[symbol].atom == NONE || f->symbols.items[symbol].owner)
				continue;
			if (f->sections.items[f->atoms.items[f->symbols.items[symbol].atom].section].exec)
				return true;
		}
	}
	return false;
}

/* A static table of places in a function (of a computed goto, say) is part of that function: the new function must
 * not jump through the old one's. */
static void find_code_tables(struct asm_file *f)
{
	for (size_t i = 0; i < f->atoms.nr; i++) {
		struct atom *a = &f->atoms.items[i];
		if (a->kind != ATOM_VARIABLE || !f->sections.items[a->section].alloc)
			continue;
		a->reads_code = refers_into_code(f, a);
		const struct symbol *s = &f->symbols.items[a->symbol];
		if (a->reads_code && !s->global && !s->weak)
			a->kind = ATOM_ANONYMOUS;
	}
}

static void read_attributes(struct asm_file *f)
{
	for (size_t i = 0; i < f->statements.nr; i++) {
		const struct statement *st = &f->statements.items[i];
		if (!st->label && st->class == DIRECTIVE_SYMBOL)
			attribute(f, st);
		else if (!st->label && !f->source.n && span_is(asm_mnemonic(st->text), ".file"))
			f->source = unquoted(operand(st->text, 0));
	}
}

int asm_parse(struct asm_file **out, const struct lp_gensrc_input *in, enum lp_asm_syntax syntax, struct lp_err *err)
{
	struct asm_file *f = lp_alloc(sizeof *f);
	f->name = in->name;
	lp_buf_add(&f->text, in->text, in->len);
	f->syntax = syntax == LP_ASM_GUESS ? guess_syntax(&f->text) : syntax;
	*out = f;
	if (memchr(in->text, 0, in->len)) {
		asm_free(f);
		*out = NULL;
		return lp_fail(err, LP_EPARSE, "%s: not an assembly file: it has zero bytes", in->name);
	}
	split_lines(f);
	split_statements(f);
	read_attributes(f);
	int rc = find_atoms(f, err);
	if (rc < 0) {
		asm_free(f);
		*out = NULL;
		return rc;
	}
	find_cold_parts(f);
	find_code_tables(f);
	return 0;
}

void asm_free(struct asm_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->atoms.nr; i++)
		lp_vec_free(&f->atoms.items[i].statements);
	lp_vec_free(&f->atoms);
	lp_vec_free(&f->symbols);
	lp_vec_free(&f->sections);
	lp_vec_free(&f->statements);
	lp_vec_free(&f->lines);
	lp_free(f->hash);
	lp_buf_free(&f->text);
	lp_buf_free(&f->clean);
	lp_free(f);
}
