/*
 * The merged file: the old one as it is, with a label at the end of each function that changed, and behind it what is
 * new, in sections of its own.
 *
 * Every name that the new text defines gets ".kpatch" at its end, except new global ones: those other files of the patch
 * refer to.  Names of what is in the old file already stay: the old function's address is the function's address, and its
 * entry leads to the new code once the patch is applied.
 */
#include "build/gensrc_private.h"

#include <string.h>

struct emitter {
	struct comparison *c;
	struct asm_file *f; /* the new one */
	struct lp_buf *out;
	LP_VEC(size_t) queue; /* anonymous atoms, and symbols of local aliases (+ nr of atoms), in order of mention */
	size_t strings;
	size_t line; /* of the instruction being written */
	bool failed;
	struct lp_gensrc_summary sum;
};

static bool unlinked(const struct emitter *e, const struct symbol *s)
{
	struct span file = e->f->source;
	if (e->c->options->file)
		file = (struct span){e->c->options->file, strlen(e->c->options->file)};
	return s->pair != NONE && asm_names_have(&e->c->options->unlink_symbols, file, s->name);
}

/* Does a new symbol keep its name?  Other files can only mean it then. */
static bool keeps_name(const struct emitter *e, const struct symbol *s)
{
	size_t old = asm_symbol(e->c->old, s->name);
	bool taken =
		old != NONE && (e->c->old->symbols.items[old].atom != NONE || e->c->old->symbols.items[old].common);
	bool state = s->common || !e->f->sections.items[e->f->atoms.items[s->atom].section].exec;
	bool global = s->global || (s->weak && state) || (s->common && !s->local);
	return global && !taken;
}

static void put_name(struct emitter *e, const struct symbol *s, struct lp_buf *out)
{
	const struct asm_file *f = e->f;
	bool ours = false;
	if (s->fresh && !s->alias.n)
		ours = !keeps_name(e, s);
	else if (asm_is_function(f, s))
		ours = f->atoms.items[s->atom].emit && (f->atoms.items[s->atom].parent != NONE || unlinked(e, s));
	else if (asm_is_local_alias(s))
		ours = true;
	else if (s->atom != NONE && s->pair == NONE)
		ours = f->atoms.items[s->atom].kind == ATOM_ANONYMOUS || f->atoms.items[s->atom].emit;
	struct span name = s->pair != NONE && !ours ? e->c->old->symbols.items[s->pair].name : s->name;
	lp_buf_printf(out, "%.*s%s", SPAN_FMT(name), ours ? ".kpatch" : "");
}

static void want(struct emitter *e, size_t index)
{
	struct symbol *s = &e->f->symbols.items[index];
	if (s->queued)
		return;
	if (s->atom != NONE && e->f->atoms.items[s->atom].kind == ATOM_ANONYMOUS) {
		if (!e->f->atoms.items[s->atom].emit)
			lp_vec_push(&e->queue, s->atom);
		e->f->atoms.items[s->atom].emit = true;
		s->queued = true;
	} else if (asm_is_local_alias(s) && s->atom == NONE) {
		lp_vec_push(&e->queue, e->f->atoms.nr + index);
		s->queued = true;
	}
}

static void put_word(void *arg, const struct asm_file *f, struct span word, struct lp_buf *out)
{
	struct emitter *e = arg;
	size_t index = asm_symbol(f, word);
	if (index == NONE) {
		lp_buf_add(out, word.s, word.n);
		return;
	}
	want(e, index);
	put_name(e, &f->symbols.items[index], out);
}

static void put_statement(struct emitter *e, struct span text)
{
	lp_buf_str(e->out, "\t");
	asm_rewrite(e->f, text, put_word, e, e->out);
	lp_buf_str(e->out, "\n");
}

/* May a library define it, or another file of the program? */
static bool may_be_far(void *arg, struct span word)
{
	const struct emitter *e = arg;
	size_t index = asm_symbol(e->f, word);
	if (index == NONE)
		return true;
	const struct symbol *s = &e->f->symbols.items[index];
	if (s->alias.n || s->fresh)
		return false;
	return s->common ? !s->local : s->atom == NONE ? !s->local : (s->global || s->weak) && s->owner;
}

static void put_instruction(struct emitter *e, const struct statement *st)
{
	if (!e->c->options->force_gotpcrel || e->f->syntax != LP_ASM_PERCENT || st->class != DIRECTIVE_BYTES ||
	    st->text.s[0] == '.') {
		put_statement(e, st->text);
		return;
	}
	struct lp_buf lines = {0};
	if (!asm_through_got(st->text, may_be_far, e, &lines) && !e->failed) {
		e->failed = true;
		lp_fail(e->c->err, LP_EENCODING, "%s:%zu: cannot reach the variable through the GOT: %.*s", e->f->name,
			st->line + 1, SPAN_FMT(st->text));
	}
	for (size_t at = 0; at < lines.len;) {
		size_t n = strcspn((const char *)lines.data + at, "\n");
		put_statement(e, (struct span){(const char *)lines.data + at, n});
		at += n + 1;
	}
	lp_buf_free(&lines);
}

static bool is_owner_label(const struct asm_file *f, const struct atom *a, struct span label)
{
	size_t index = asm_symbol(f, label);
	return index != NONE && f->symbols.items[index].owner && a->symbol != NONE;
}

static void put_label(struct emitter *e, const struct atom *a, struct span label)
{
	size_t index = asm_symbol(e->f, label);
	if (index == NONE) {
		lp_buf_printf(e->out, "%.*s:\n", SPAN_FMT(label));
		return;
	}
	if (is_owner_label(e->f, a, label) && a->kind != ATOM_ANONYMOUS)
		return;
	put_name(e, &e->f->symbols.items[index], e->out);
	lp_buf_str(e->out, ":\n");
}

/* Its statements, without the labels that name it when it has a name. */
static void put_body(struct emitter *e, const struct atom *a, size_t from, size_t to)
{
	bool open = false;
	for (size_t i = from; i < to; i++) {
		const struct statement *st = &e->f->statements.items[a->statements.items[i]];
		if (st->label) {
			put_label(e, a, st->text);
			continue;
		}
		if (st->class == DIRECTIVE_OPEN)
			open = true;
		else if (span_is(asm_mnemonic(st->text), ".cfi_endproc"))
			open = false;
		put_instruction(e, st);
	}
	if (open && to == a->statements.nr)
		lp_buf_str(e->out, "\t.cfi_endproc\n");
}

static void put_section(struct emitter *e, const char *name, const char *flags, struct span group)
{
	if (group.n)
		lp_buf_printf(e->out, "\t.section\t%s,\"%sG\",@progbits,%.*s.kpatch,comdat\n", name, flags,
			      SPAN_FMT(group));
	else
		lp_buf_printf(e->out, "\t.section\t%s,\"%s\",@progbits\n", name, flags);
}

static void put_section_of(struct emitter *e, const struct section *s)
{
	struct span none = {"", 0};
	if (s->exec)
		put_section(e, ".kpatch.text", "ax", s->group);
	else if (span_is(s->name, ".livepatch.hooks"))
		put_section(e, ".livepatch.hooks", "aw", none);
	else if (s->write)
		put_section(e, ".kpatch.data", "aw", none);
	else if (span_starts(s->name, ".gcc_except_table"))
		put_section(e, ".kpatch.gcc_except_table", "a", none);
	else
		put_section(e, ".kpatch.rodata", "a", none);
}

/* ---- functions ---- */

static void put_record(struct emitter *e, const struct symbol *s, const struct section *section)
{
	struct span none = {"", 0};
	bool replaces = s->pair != NONE && !unlinked(e, s);
	struct span old = replaces ? e->c->old->symbols.items[s->pair].name : none;
	size_t string = e->strings++;
	put_section(e, ".kpatch.strtab", "a", none);
	lp_buf_printf(e->out, ".Lkpatch_string%zu:\n\t.string\t\"%.*s\"\n", string, SPAN_FMT(s->name));
	/* writable only for the linker, which complains about addresses in read-only memory of a position independent file */
	put_section(e, ".kpatch.info", "aw", section->group);
	lp_buf_str(e->out, "\t.balign\t8\n");
	if (replaces)
		lp_buf_printf(e->out, "\t.quad\t%.*s\n", SPAN_FMT(old));
	else
		lp_buf_str(e->out, "\t.quad\t0\n");
	lp_buf_printf(e->out, "\t.quad\t%.*s.kpatch\n", SPAN_FMT(s->name));
	if (replaces)
		lp_buf_printf(e->out, "\t.long\t%.*s.Lfe - %.*s\n", SPAN_FMT(old), SPAN_FMT(old));
	else
		lp_buf_str(e->out, "\t.long\t0\n");
	lp_buf_printf(e->out, "\t.long\t%.*s.kpatch_end - %.*s.kpatch\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	lp_buf_printf(e->out, "\t.quad\t.Lkpatch_string%zu\n\t.quad\t0\n\t.long\t0\n\t.long\t0\n", string);
}

static void put_linkage(struct emitter *e, const struct symbol *s)
{
	if (s->global)
		lp_buf_printf(e->out, "\t.globl\t%.*s\n", SPAN_FMT(s->name));
	if (s->weak)
		lp_buf_printf(e->out, "\t.weak\t%.*s\n", SPAN_FMT(s->name));
	if (s->visibility.n)
		lp_buf_printf(e->out, "\t%.*s\t%.*s\n", SPAN_FMT(s->visibility), SPAN_FMT(s->name));
}

static void put_text(struct emitter *e, size_t atom)
{
	const struct atom *a = &e->f->atoms.items[atom];
	const struct symbol *s = &e->f->symbols.items[a->symbol];
	bool named = s->fresh && keeps_name(e, s);
	put_section_of(e, &e->f->sections.items[a->section]);
	put_body(e, a, 0, a->prefix);
	if (named) {
		put_linkage(e, s);
		lp_buf_printf(e->out, "\t.type\t%.*s, @function\n%.*s:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	}
	if (e->c->options->force_global)
		lp_buf_printf(e->out, "\t.globl\t%.*s.kpatch\n", SPAN_FMT(s->name));
	lp_buf_printf(e->out, "\t.type\t%.*s.kpatch, @function\n%.*s.kpatch:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	put_body(e, a, a->prefix, a->statements.nr);
	lp_buf_printf(e->out, "%.*s.kpatch_end:\n", SPAN_FMT(s->name));
	lp_buf_printf(e->out, "\t.size\t%.*s.kpatch, %.*s.kpatch_end - %.*s.kpatch\n", SPAN_FMT(s->name),
		      SPAN_FMT(s->name), SPAN_FMT(s->name));
	if (named)
		lp_buf_printf(e->out, "\t.size\t%.*s, %.*s.kpatch_end - %.*s\n", SPAN_FMT(s->name), SPAN_FMT(s->name),
			      SPAN_FMT(s->name));
}

/*
 * A function that has become global: other files refer to it.  Nothing else of the old file may become so, whatever is
 * asked for: the assembler makes short jumps of those to local functions, and all that follows would move.
 */
static void put_old_linkage(struct emitter *e, const struct symbol *s)
{
	if (s->pair == NONE)
		return;
	const struct symbol *old = &e->c->old->symbols.items[s->pair];
	if (!old->global && !old->weak && s->global)
		lp_buf_printf(e->out, "\t.globl\t%.*s\n", SPAN_FMT(old->name));
}

static void put_functions(struct emitter *e)
{
	for (size_t i = 0; i < e->f->atoms.nr; i++) {
		const struct atom *a = &e->f->atoms.items[i];
		if (a->kind != ATOM_FUNCTION || a->symbol == NONE)
			continue;
		const struct symbol *s = &e->f->symbols.items[a->symbol];
		put_old_linkage(e, s);
		if (!a->emit)
			continue;
		lp_buf_printf(e->out, "#---------- %s %.*s\n", s->pair == NONE ? "new function" : "function",
			      SPAN_FMT(s->name));
		put_text(e, i);
		if (a->parent != NONE)
			continue;
		put_record(e, s, &e->f->sections.items[a->section]);
		*(s->pair == NONE ? &e->sum.added : &e->sum.changed) += 1;
	}
}

/* ---- data ---- */

static void put_common(struct emitter *e, const struct symbol *s)
{
	put_section(e, ".kpatch.data", "aw", (struct span){"", 0});
	if (s->common_align)
		lp_buf_printf(e->out, "\t.balign\t%zu\n", (size_t)s->common_align);
	if (keeps_name(e, s))
		lp_buf_printf(e->out, "\t.globl\t%.*s\n%.*s:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	lp_buf_printf(e->out, "\t.type\t%.*s.kpatch, @object\n%.*s.kpatch:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	lp_buf_printf(e->out, "\t.zero\t%zu\n\t.size\t%.*s.kpatch, %zu\n", (size_t)s->common_size, SPAN_FMT(s->name),
		      (size_t)s->common_size);
}

static void put_variable(struct emitter *e, const struct symbol *s)
{
	const struct atom *a = &e->f->atoms.items[s->atom];
	put_section_of(e, &e->f->sections.items[a->section]);
	put_body(e, a, 0, a->prefix);
	if (keeps_name(e, s)) {
		put_linkage(e, s);
		lp_buf_printf(e->out, "\t.type\t%.*s, @object\n%.*s:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	}
	lp_buf_printf(e->out, "\t.type\t%.*s.kpatch, @object\n%.*s.kpatch:\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
	put_body(e, a, a->prefix, a->statements.nr);
	lp_buf_printf(e->out, "\t.size\t%.*s.kpatch, . - %.*s.kpatch\n", SPAN_FMT(s->name), SPAN_FMT(s->name));
}

static void put_variables(struct emitter *e)
{
	for (size_t i = 0; i < e->f->symbols.nr; i++) {
		const struct symbol *s = &e->f->symbols.items[i];
		if (!s->fresh || !asm_is_data(e->f, s))
			continue;
		lp_buf_printf(e->out, "#---------- new variable %.*s\n", SPAN_FMT(s->name));
		if (s->common)
			put_common(e, s);
		else if (e->f->atoms.items[s->atom].symbol == i)
			put_variable(e, s);
		e->sum.variables++;
	}
}

/* Strings, constants and tables, and what they refer to in turn. */
static void put_anonymous(struct emitter *e)
{
	for (size_t i = 0; i < e->queue.nr; i++) {
		if (e->queue.items[i] >= e->f->atoms.nr) {
			const struct symbol *s = &e->f->symbols.items[e->queue.items[i] - e->f->atoms.nr];
			struct lp_buf line = {0};
			lp_buf_printf(&line, ".set %.*s,%.*s", SPAN_FMT(s->name), SPAN_FMT(s->alias));
			put_statement(e, (struct span){lp_buf_cstr(&line), line.len});
			lp_buf_free(&line);
			continue;
		}
		const struct atom *a = &e->f->atoms.items[e->queue.items[i]];
		put_section_of(e, &e->f->sections.items[a->section]);
		put_body(e, a, 0, a->statements.nr);
	}
}

static void put_aliases(struct emitter *e)
{
	for (size_t i = 0; i < e->f->symbols.nr; i++) {
		const struct symbol *s = &e->f->symbols.items[i];
		if (!s->fresh || !s->alias.n || s->atom != NONE)
			continue;
		struct lp_buf line = {0};
		put_linkage(e, s);
		lp_buf_printf(&line, ".set %.*s,%.*s", SPAN_FMT(s->name), SPAN_FMT(s->alias));
		put_statement(e, (struct span){lp_buf_cstr(&line), line.len});
		lp_buf_free(&line);
	}
}

/* ---- the old file ---- */

/* The line behind which a changed function's end label stands. */
static size_t last_line(const struct asm_file *f, const struct atom *a)
{
	size_t line = 0;
	for (size_t i = a->prefix; i < a->statements.nr; i++) {
		const struct statement *st = &f->statements.items[a->statements.items[i]];
		bool bytes = st->class == DIRECTIVE_BYTES && !st->label;
		if (bytes || !line)
			line = st->line;
	}
	return line;
}

static void put_old(struct emitter *e)
{
	const struct asm_file *old = e->c->old;
	size_t *ends = lp_alloc((old->lines.nr + 1) * sizeof *ends);
	for (size_t i = 0; i < e->f->atoms.nr; i++) {
		const struct atom *a = &e->f->atoms.items[i];
		if (a->kind == ATOM_FUNCTION && a->changed && a->pair != NONE)
			ends[last_line(old, &old->atoms.items[a->pair])] = a->pair + 1;
	}
	for (size_t i = 0; i < old->lines.nr; i++) {
		lp_buf_add(e->out, old->lines.items[i].s, old->lines.items[i].n);
		lp_buf_str(e->out, "\n");
		if (!ends[i])
			continue;
		struct span name = old->symbols.items[old->atoms.items[ends[i] - 1].symbol].name;
		lp_buf_printf(e->out, "%.*s.Lfe:\n", SPAN_FMT(name));
	}
	lp_free(ends);
}

static bool has_section(const struct asm_file *f, const char *name)
{
	for (size_t i = 0; i < f->sections.nr; i++)
		if (span_is(f->sections.items[i].name, name))
			return true;
	return false;
}

/* A file that is all new must say, too, that it needs no executable stack. */
static void put_stack_note(struct emitter *e)
{
	static const char name[] = ".note.GNU-stack";
	for (size_t i = 0; i < e->f->sections.nr; i++) {
		const struct section *s = &e->f->sections.items[i];
		if (span_is(s->name, name) && !has_section(e->c->old, name))
			put_section(e, name, s->exec ? "x" : "", (struct span){"", 0});
	}
}

int asm_emit(struct comparison *c, struct lp_buf *out, struct lp_gensrc_summary *sum)
{
	struct emitter e = {.c = c, .f = c->new, .out = out};
	put_old(&e);
	put_functions(&e);
	put_variables(&e);
	put_anonymous(&e);
	put_aliases(&e);
	put_stack_note(&e);
	lp_vec_free(&e.queue);
	if (sum)
		*sum = e.sum;
	return e.failed ? -LP_EENCODING : 0;
}
