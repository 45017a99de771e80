/*
 * The plan as text, for --dry-run.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/plan.h"

const char *lp_entry_state_name(enum lp_entry_state s)
{
	static const char *const names[] = {[LP_PREPARED] = "prepared",
					    [LP_APPLYING] = "applying",
					    [LP_APPLIED] = "applied",
					    [LP_REVERTING] = "reverting",
					    [LP_REVERTED] = "reverted"};
	return (unsigned)s < LP_ARRAY_SIZE(names) && names[s] ? names[s] : "unknown";
}

const char *lp_write_kind_name(enum lp_write_kind k)
{
	static const char *const names[] = {[LP_WRITE_CODE] = "code", [LP_WRITE_DATA] = "data", [LP_WRITE_GOT] = "got"};
	return (unsigned)k < LP_ARRAY_SIZE(names) ? names[k] : "unknown";
}

const char *lp_room_kind_name(enum lp_room_kind k)
{
	static const char *const names[] = {
		[LP_ROOM_OBJECT] = "object",   [LP_ROOM_FILE] = "file",	    [LP_ROOM_MEMORY] = "memory",
		[LP_ROOM_ISLANDS] = "islands", [LP_ROOM_HANDLE] = "dlopen", [LP_ROOM_PATCH] = "patch",
		[LP_ROOM_SOURCE] = "source"};
	return (unsigned)k < LP_ARRAY_SIZE(names) ? names[k] : "unknown";
}

static void print_prot(unsigned prot, struct lp_buf *out)
{
	lp_buf_printf(out, "%c%c%c", prot & LP_PROT_READ ? 'r' : '-', prot & LP_PROT_WRITE ? 'w' : '-',
		      prot & LP_PROT_EXEC ? 'x' : '-');
}

/* The code that stands at `at`; bytes of it that are data, in cells of 32. */
static size_t print_island(const struct lp_plan *p, const uint8_t *bytes, size_t len, lp_addr at, struct lp_buf *out)
{
	size_t code = 1; /* an island is one jump and its destination */
	for (size_t i = 0; i < p->thunks.nr; i++)
		if (p->thunks.items[i].at == at)
			code = p->thunks.items[i].len - 8;
	size_t done = 0;
	while (done < code && done < len) {
		char text[128];
		size_t n = p->t->isa->disasm(bytes + done, len - done, at + done, text, sizeof text);
		lp_buf_printf(out, "    " LP_ADDR ": %s\n", at + done, n ? text : "?");
		done += n ? n : 1;
	}
	if (code > 1 && code + 8 <= len)
		lp_buf_printf(out, "    " LP_ADDR ": .quad " LP_ADDR "\n", at + code, lp_get64(bytes + code));
	return lp_align_up(code == 1 ? done : code + 8, 32);
}

static void print_islands(const struct lp_plan *p, const struct lp_room *r, struct lp_buf *out)
{
	for (size_t i = 0; i < r->used;)
		i += print_island(p, r->bytes + i, r->used - i, r->range.start + i, out);
}

static void print_room(const struct lp_plan *p, const struct lp_room *r, struct lp_buf *out)
{
	lp_buf_printf(out, "room %-7s $%-12s " LP_ADDR "-" LP_ADDR "  %zu bytes", lp_room_kind_name(r->kind), r->name,
		      r->range.start, r->range.end, r->used);
	if (r->path)
		lp_buf_printf(out, "  %s", r->path);
	if (r->kind == LP_ROOM_HANDLE && !r->handle)
		lp_buf_str(out, "  (address: the target's loader will say)");
	lp_buf_str(out, "\n");
	for (size_t i = 0; i < r->request.nr_pieces; i++) {
		lp_buf_printf(out, "  body " LP_ADDR "-" LP_ADDR " ", r->request.pieces[i].range.start,
			      r->request.pieces[i].range.end);
		print_prot(r->request.pieces[i].prot, out);
		lp_buf_str(out, "\n");
	}
	if (r->kind == LP_ROOM_ISLANDS)
		print_islands(p, r, out);
}

/*
 * The instruction of the old code that the write ends in: the bytes of it that
 * stay stand in parentheses.  0 when it cannot be read.
 */
static size_t print_cut(const struct lp_plan *p, lp_addr at, const uint8_t *bytes, size_t len, struct lp_buf *hex,
			char *text, size_t text_size)
{
	uint8_t whole[16];
	if (len >= sizeof whole)
		return 0;
	memcpy(whole, bytes, len);
	for (size_t have = len; have < sizeof whole; have++) {
		size_t n = p->t->isa->disasm(whole, have, at, text, text_size);
		if (n > len) {
			lp_buf_hex(hex, whole, len);
			lp_buf_str(hex, " (");
			lp_buf_hex(hex, whole + len, n - len);
			lp_buf_str(hex, ")");
		}
		if (n || p->t->ops->read(p->t, at + have, whole + have, 1, NULL) < 0)
			return n;
	}
	return 0;
}

static void print_code(const struct lp_plan *p, const char *label, lp_addr at, const uint8_t *bytes, size_t len,
		       struct lp_buf *out)
{
	for (size_t i = 0; i < len;) {
		char text[160];
		struct lp_buf hex = {0};
		size_t n = p->t->isa->disasm(bytes + i, len - i, at + i, text, sizeof text);
		if (n > 0) {
			lp_buf_hex(&hex, bytes + i, n);
		} else {
			n = len - i;
			if (!print_cut(p, at + i, bytes + i, n, &hex, text, sizeof text)) {
				lp_buf_hex(&hex, bytes + i, n);
				snprintf(text, sizeof text, "(part of an instruction)");
			}
		}
		lp_buf_printf(out, "  %s " LP_ADDR ": %-24s %s\n", label, at + i, lp_buf_cstr(&hex), text);
		lp_buf_free(&hex);
		i += n;
	}
}

static void print_padding(lp_addr at, const uint8_t *bytes, size_t len, struct lp_buf *out)
{
	struct lp_buf hex = {0};
	lp_buf_hex(&hex, bytes, len);
	lp_buf_printf(out, "  old " LP_ADDR ": %-24s (padding)\n", at, lp_buf_cstr(&hex));
	lp_buf_free(&hex);
}

static void print_data(const char *label, const uint8_t *bytes, size_t len, struct lp_buf *out)
{
	for (size_t i = 0; i < len; i += 16) {
		size_t n = len - i < 16 ? len - i : 16;
		struct lp_buf hex = {0};
		lp_buf_hex(&hex, bytes + i, n);
		lp_buf_printf(out, "  %s %-48s |", label, lp_buf_cstr(&hex));
		for (size_t k = 0; k < n; k++)
			lp_buf_printf(out, "%c", bytes[i + k] >= 32 && bytes[i + k] < 127 ? bytes[i + k] : '.');
		lp_buf_str(out, "|\n");
		lp_buf_free(&hex);
	}
}

/* The instruction that asked for a write; NULL when it is not known.  Lines ascend. */
static const struct lp_op *op_of(const struct lp_plan *p, const struct lp_write *w)
{
	size_t from = 0, to = p->ps->nr;
	while (from < to) {
		size_t i = from + (to - from) / 2;
		if (p->ps->ops[i].where.line == w->where.line)
			return &p->ps->ops[i];
		if (p->ps->ops[i].where.line < w->where.line)
			from = i + 1;
		else
			to = i;
	}
	return NULL;
}

static void print_place(const struct lp_plan *p, const struct lp_write *w, const struct lp_op *op, bool hop,
			struct lp_buf *out)
{
	char text[256];
	lp_buf_printf(out, "write %s " LP_ADDR "  %zu byte%s  %s", lp_write_kind_name(w->kind), w->at, w->len,
		      w->len == 1 ? "" : "s", w->symbol);
	if (op && (op->kind == LP_OP_JMP || op->kind == LP_OP_GOT)) {
		lp_buf_str(out, " -> ");
		lp_addr_expr_print(&op->to, out);
	}
	if (hop)
		lp_buf_str(out, "  [padding: the function is too short for the whole jump]");
	else if (w->kind == LP_WRITE_CODE)
		lp_buf_printf(out, "  [%s]", lp_target_describe(p->t, w->at, text, sizeof text));
	if (w->over)
		lp_buf_printf(out, "  over patch %" PRIu64, w->over);
	lp_buf_str(out, "\n");
}

static void print_write(const struct lp_plan *p, const struct lp_write *w, struct lp_buf *out)
{
	const struct lp_op *op = op_of(p, w);
	bool hop =
		op && op->kind == LP_OP_JMP && !w->body.start; /* what the two-byte jump of a short function hops to */
	print_place(p, w, op, hop, out);
	if (w->preserves)
		lp_buf_printf(out, "  preserves %s\n", w->preserves);
	if (w->kind == LP_WRITE_CODE) {
		if (hop)
			print_padding(w->at, w->old_bytes, w->len, out);
		else
			print_code(p, "old", w->at, w->old_bytes, w->len, out);
		print_code(p, "new", w->at, w->new_bytes, w->len, out);
	} else {
		print_data("old", w->old_bytes, w->len, out);
		print_data("new", w->new_bytes, w->len, out);
	}
}

void lp_plan_print(const struct lp_plan *p, struct lp_buf *out)
{
	lp_buf_printf(out, "plan for %s: %zu room%s, %zu write%s\n", p->t->label, p->rooms.nr,
		      p->rooms.nr == 1 ? "" : "s", p->writes.nr, p->writes.nr == 1 ? "" : "s");
	for (size_t i = 0; i < p->rooms.nr; i++)
		print_room(p, &p->rooms.items[i], out);
	for (size_t i = 0; i < p->writes.nr; i++)
		print_write(p, &p->writes.items[i], out);
	for (size_t i = 0; i < p->deps.nr; i++)
		lp_buf_printf(out, "builds on patch %" PRIu64 "\n", p->deps.items[i]);
	if (p->provisional)
		lp_buf_str(out, "addresses of dlopen'ed objects are examples: the target's loader chooses them at "
				"apply time\n");
}
