#include "build/gensrc_private.h"

#include <string.h>

int lp_gensrc_diff(const struct lp_gensrc_options *o, const struct lp_gensrc_input *before,
		   const struct lp_gensrc_input *after, struct lp_buf *out, struct lp_gensrc_summary *sum,
		   struct lp_err *err)
{
	struct comparison c = {.options = o, .err = err};
	int rc = asm_parse(&c.new, after, o->syntax, err);
	if (!rc)
		rc = asm_parse(&c.old, before, o->syntax != LP_ASM_GUESS ? o->syntax : c.new->syntax, err);
	if (!rc)
		rc = asm_compare(&c);
	if (!rc)
		rc = asm_emit(&c, out, sum);
	asm_free(c.old);
	asm_free(c.new);
	return rc;
}

/* ---- the filter ---- */

static bool is_dropped_section(const struct section *s, unsigned flags)
{
	if (span_starts(s->name, ".debug") || span_starts(s->name, ".stab"))
		return true;
	if ((flags & LP_FILTER_EH_FRAME) && span_starts(s->name, ".eh_frame"))
		return true;
	return (flags & LP_FILTER_EXCEPT_TABLE) && span_starts(s->name, ".gcc_except_table");
}

static bool is_dropped_directive(const struct asm_file *f, const struct statement *st, unsigned flags)
{
	struct span word = asm_mnemonic(st->text);
	if (st->label)
		return false;
	if (span_is(word, ".loc") || span_is(word, ".loc_mark_labels"))
		return true;
	if (span_is(word, ".file")) { /* .file 1 "name" is of the line table, .file "name" of the symbol table */
		struct span rest = span_trim((struct span){st->text.s + word.n, st->text.n - word.n});
		return rest.n && rest.s[0] != '"';
	}
	if ((flags & LP_FILTER_EXCEPT_TABLE) && (span_is(word, ".cfi_lsda") || span_is(word, ".cfi_personality")))
		return true; /* the table that it names is gone */
	return (flags & LP_FILTER_CFI) && span_starts(word, ".cfi_");
}

static bool is_dropped(const struct asm_file *f, const struct statement *st, unsigned flags)
{
	if (is_dropped_directive(f, st, flags))
		return true;
	bool stays = st->class == DIRECTIVE_SECTION || st->class == DIRECTIVE_NOTHING;
	return (!stays || st->label) && is_dropped_section(&f->sections.items[st->section], flags);
}

int lp_gensrc_filter(const struct lp_gensrc_input *in, unsigned flags, enum lp_asm_syntax syntax, struct lp_buf *out,
		     struct lp_err *err)
{
	struct asm_file *f;
	int rc = asm_parse(&f, in, syntax, err);
	if (rc < 0)
		return rc;
	for (size_t line = 0, i = 0; line < f->lines.nr; line++) {
		bool any = false, kept = false;
		for (; i < f->statements.nr && f->statements.items[i].line == line; i++) {
			any = true;
			kept |= !is_dropped(f, &f->statements.items[i], flags);
		}
		if (any && !kept) { /* with a line that keeps anything, all of it stays */
			lp_buf_str(out, flags & LP_FILTER_EMIT_NEWLINES ? "\n" : "");
			continue;
		}
		lp_buf_add(out, f->lines.items[line].s, f->lines.items[line].n);
		lp_buf_str(out, "\n");
	}
	asm_free(f);
	return 0;
}
