/* Tables on standard output, for people. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/system.h"
#include "api/text.h"
#include "base/bits.h"
#include "base/buf.h"

static const char *const type_names[LP_PATCH_TYPES] = {
	[PATCH_REPLACE] = "REPLACE",   [PATCH_INSERT] = "INSERT",
	[PATCH_NEW_FUNC] = "NEW_FUNC", [PATCH_FUNCTION_REDIRECT] = "REDIRECT",
	[PATCH_NOP] = "NOP",	       [PATCH_BRANCH] = "BRANCH",
};

static void print(struct lp_buf *b)
{
	if (b->len)
		fwrite(b->data, 1, b->len, stdout);
	b->len = 0;
}

/* ---- livepatch_list ---- */

enum column { ADDRESS, TYPE, SIZE, BEFORE, NOW, TARGET, NAME, DESCRIPTION, COLUMNS };

static const char *const headings[COLUMNS] = {"ADDRESS", "TYPE",   "SIZE", "BEFORE",
					      "NOW",	 "TARGET", "NAME", "DESCRIPTION"};

/* One row as text. */
struct row {
	char address[24], size[24], before[24], now[24], target[24];
	const char *cells[COLUMNS];
};

/* Up to eight bytes; a word as the number it is. */
static void show_bytes(char out[24], const uint8_t *bytes, size_t size, bool words)
{
	struct lp_buf hex = {0};

	if (!bytes)
		return;
	if (words && size >= 4)
		lp_buf_printf(&hex, "%08" PRIx32 "%s", lp_get32(bytes), size > 4 ? "..." : "");
	else
		for (size_t i = 0; i < size && i < 8; i++)
			lp_buf_printf(&hex, "%02x", bytes[i]);
	if (!words && size > 8)
		lp_buf_str(&hex, "...");
	snprintf(out, 24, "%s", lp_buf_cstr(&hex));
	lp_buf_free(&hex);
}

static void make_row(const livepatch_info *i, bool words, struct row *r)
{
	*r = (struct row){0};
	snprintf(r->address, sizeof r->address, LP_ADDR, i->addr);
	snprintf(r->size, sizeof r->size, "%zu", i->type == PATCH_NEW_FUNC ? i->code_size : i->size);
	show_bytes(r->before, i->original, i->size, words);
	show_bytes(r->now, i->patched, i->size, words);
	if (i->target && i->type != PATCH_NEW_FUNC)
		snprintf(r->target, sizeof r->target, LP_ADDR, i->target);
	r->cells[ADDRESS] = r->address;
	r->cells[TYPE] = type_names[i->type];
	r->cells[SIZE] = r->size;
	r->cells[BEFORE] = r->before;
	r->cells[NOW] = r->now;
	r->cells[TARGET] = r->target;
	r->cells[NAME] = i->name;
	r->cells[DESCRIPTION] = i->description;
}

struct table {
	bool words;
	size_t rows;
	size_t widths[COLUMNS]; /* 0 = nobody has anything there */
	struct lp_buf line;
};

static int measure(const livepatch_info *info, void *arg)
{
	struct table *t = arg;
	struct row r;

	make_row(info, t->words, &r);
	for (int c = 0; c < COLUMNS; c++) {
		size_t width = lp_text_width(r.cells[c]);
		if (width > t->widths[c])
			t->widths[c] = width;
	}
	t->rows++;
	return 0;
}

static void print_cells(struct table *t, const char *const *cells)
{
	for (int c = 0; c < COLUMNS; c++) {
		if (t->widths[c]) {
			lp_text_pad(&t->line, cells[c], t->widths[c]);
			lp_buf_str(&t->line, "  ");
		}
	}
	while (t->line.len && t->line.data[t->line.len - 1] == ' ')
		t->line.len--;
	lp_buf_str(&t->line, "\n");
	print(&t->line);
}

static int print_row(const livepatch_info *info, void *arg)
{
	struct row r;

	make_row(info, ((struct table *)arg)->words, &r);
	print_cells(arg, r.cells);
	return 0;
}

void livepatch_list(LivePatchSystem *system)
{
	struct table t = {0};

	if (lp_leave(system, lp_system_check(system, lp_enter())))
		return;
	t.words = system->space->isa->insn_align == 4;
	livepatch_foreach(system, measure, &t);
	for (int c = 0; c < COLUMNS; c++) {
		if (t.widths[c] && t.widths[c] < strlen(headings[c]))
			t.widths[c] = strlen(headings[c]);
	}
	if (t.rows) {
		print_cells(&t, headings);
		livepatch_foreach(system, print_row, &t);
	} else {
		lp_buf_str(&t.line, "no patches\n");
		print(&t.line);
	}
	lp_buf_free(&t.line);
}

/* ---- livepatch_stats ---- */

static void put_line(struct lp_buf *b, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put_line(struct lp_buf *b, const char *what, const char *fmt, ...)
{
	char value[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof value, fmt, ap);
	va_end(ap);
	lp_text_pad(b, what, 18);
	lp_text_clean(b, value);
	lp_buf_str(b, "\n");
}

static void put_types(struct lp_buf *b, const livepatch_counts *c)
{
	for (int i = 0; i < LP_PATCH_TYPES; i++) {
		if (c->of_type[i]) {
			char what[32];
			snprintf(what, sizeof what, "  %s", type_names[i]);
			put_line(b, what, "%zu", c->of_type[i]);
		}
	}
}

static void put_reloads(struct lp_buf *b, const livepatch_counts *c)
{
	if (c->reloads || c->reload_errors)
		put_line(b, "reloads", "%" PRIu64 ", refused %" PRIu64, c->reloads, c->reload_errors);
	if (c->last_reload_error[0])
		put_line(b, "  last refusal", "%s", c->last_reload_error);
}

void livepatch_stats(LivePatchSystem *system)
{
	livepatch_counts c;
	struct lp_buf b = {0};

	if (livepatch_get_counts(system, &c))
		return;
	const struct lp_code_space *s = system->space;
	put_line(&b, "target", "%s, %s, " LP_ADDR " to " LP_ADDR, s->ops->name, s->isa->name, s->range.start,
		 s->range.end);
	put_line(&b, "patching", "%s", atomic_load(&system->enabled) ? "enabled" : "disabled");
	put_line(&b, "active patches", "%zu", c.active);
	put_types(&b, &c);
	put_line(&b, "applied", "%" PRIu64, c.applied);
	put_line(&b, "reverted", "%" PRIu64, c.reverted);
	put_line(&b, "refused", "%" PRIu64, c.refused);
	put_line(&b, "generation", "%" PRIu64, c.generation);
	put_line(&b, "memory", "%zu bytes", c.bytes);
	put_reloads(&b, &c);
	print(&b);
	lp_buf_free(&b);
}
