#include "isa/move.h"

#include "base/bits.h"

#define LITERAL 8

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- writing ---- */

lp_addr lp_move_here(const struct lp_mover *m)
{
	return m->req->to + m->out->len;
}

void lp_move_put(struct lp_mover *m, const void *bytes, size_t len)
{
	if (m->full || len > m->room - m->out->len) {
		m->full = true;
		return;
	}
	memcpy(m->out->bytes + m->out->len, bytes, len);
	m->out->len += len;
}

static void note(struct lp_mover *m, struct lp_move_field *fields, size_t *nr, size_t field, uint64_t means)
{
	if (*nr < LP_MOVE_FIELDS)
		fields[(*nr)++] = (struct lp_move_field){(uint16_t)field, means};
	else
		m->full = true;
}

void lp_move_link(struct lp_mover *m, size_t field, lp_addr dest)
{
	note(m, m->links, &m->nr_links, field, dest - m->req->from);
}

void lp_move_literal(struct lp_mover *m, size_t field, uint64_t value)
{
	note(m, m->literals, &m->nr_literals, field, value);
}

bool lp_move_takes(const struct lp_mover *m, lp_addr dest)
{
	return dest - m->req->from < m->out->taken;
}

int lp_move_fail(struct lp_mover *m, int code, lp_addr at, const char *why)
{
	lp_fail(m->err, code, "the instruction at " LP_ADDR " (+%" PRIu64 ") %s", at, at - m->req->from, why);
	if (m->err)
		m->err->addr = at;
	return -code;
}

/* ---- which instructions leave ---- */

/* The taking of instructions, from the first on. */
struct taking {
	size_t offset;
	size_t end;	 /* of the function */
	bool known;	 /* ... which is known */
	bool dead;	 /* nothing falls through `offset` */
	size_t farthest; /* offset that a branch among those taken leads to */
};

static int fail_no_insn(struct lp_mover *m, size_t offset)
{
	lp_addr at = m->req->from + offset;

	lp_fail(m->err, LP_EENCODING, "the bytes at " LP_ADDR " (+%zu) are no instruction", at, offset);
	if (m->err)
		m->err->addr = at;
	return -LP_EENCODING;
}

static int fail_too_short(struct lp_mover *m, const struct taking *t)
{
	lp_addr at = m->req->from + t->offset;

	lp_fail(m->err, LP_ETOOSHORT,
		"the code at " LP_ADDR " ends after %zu bytes where %zu are needed, without padding", m->req->from,
		t->offset, m->req->need);
	if (m->err)
		m->err->addr = at;
	return -LP_ETOOSHORT;
}

static struct taking begin_taking(const struct lp_move_request *req)
{
	lp_addr into = req->from - req->function;
	bool known = into < req->function_size;

	return (struct taking){.known = known, .end = known ? req->function_size - into : 0};
}

/* Execution does not get to t->offset in any way that can be seen: only padding may leave from there. */
static bool is_past_end(const struct taking *t)
{
	return (t->dead && t->farthest < t->offset) || (t->known && t->offset >= t->end);
}

static void take(struct lp_mover *m, struct taking *t, const struct lp_insn *in)
{
	const lp_addr from = m->req->from;

	m->insns[m->nr_insns].offset = (uint16_t)t->offset;
	m->insns[m->nr_insns].len = in->len;
	m->insns[m->nr_insns++].falls_through = in->falls_through;
	if (in->has_target && in->target_is_code && !in->is_call && in->target - from < LP_MOVED_MAX &&
	    in->target - from > t->farthest)
		t->farthest = in->target - from;
	t->dead = !in->falls_through;
	t->offset += in->len;
}

/* Padding leaves, but nobody executes it: it needs no copy. */
static int take_next(struct lp_mover *m, struct taking *t, size_t *padding)
{
	const size_t left = m->req->code_len - min(t->offset, m->req->code_len);
	const bool past_end = is_past_end(t);
	struct lp_insn in;

	if (!m->rules->decode(m->req->code + t->offset, left, m->req->from + t->offset, &in))
		return past_end ? fail_too_short(m, t) : fail_no_insn(m, t->offset);
	if (past_end && !in.is_padding)
		return fail_too_short(m, t);
	/* Padding that stops who runs into it: what a debugger writes over the instruction that it wants to stop at. */
	if (!past_end && in.is_padding && !in.falls_through)
		return lp_move_fail(m, LP_EENCODING, m->req->from + t->offset, "is a breakpoint");
	if (m->nr_insns + *padding == LP_MOVE_MAX)
		return lp_move_fail(m, LP_ERANGE, m->req->from + t->offset, "is one more than can be moved at once");
	if (past_end) {
		t->offset += in.len;
		++*padding;
		return 0;
	}
	take(m, t, &in);
	if (in.is_call && t->offset < m->req->need && !is_past_end(t))
		return lp_move_fail(m, LP_EBRANCHED, m->req->from + t->offset - in.len,
				    "is a call that would return into the bytes that leave");
	return 0;
}

static int take_all(struct lp_mover *m)
{
	struct taking t = begin_taking(m->req);
	size_t padding = 0;
	int rc;

	do {
		if ((rc = take_next(m, &t, &padding)))
			return rc;
	} while (t.offset < m->req->need);
	m->out->taken = t.offset;
	return 0;
}

/* ---- branches of those that stay into those that leave ---- */

static bool leads_inside(const struct lp_mover *m, const struct lp_insn *in)
{
	return in->has_target && in->target != m->req->from && lp_move_takes(m, in->target);
}

/* Where bytes do not decode, data stands between code: every later byte may be the next instruction. */
static int check_function(struct lp_mover *m)
{
	const struct lp_move_request *req = m->req;
	size_t offset = 0;

	while (offset < req->function_size) {
		const lp_addr at = req->function + offset;
		struct lp_insn in;

		if (lp_move_takes(m, at)) {
			offset += m->out->taken - (at - req->from);
			continue;
		}
		if (!m->rules->decode(req->function_code + offset, req->function_size - offset, at, &in))
			in = (struct lp_insn){.len = m->rules->align};
		if (leads_inside(m, &in))
			return lp_move_fail(m, LP_EBRANCHED, at, "leads into the middle of the bytes that leave");
		offset += in.len;
	}
	return 0;
}

/* ---- the copy ---- */

static int move_all(struct lp_mover *m)
{
	const struct lp_move_request *req = m->req;
	int rc = 0;

	for (size_t i = 0; i < m->nr_insns && !rc; i++) {
		const size_t offset = m->insns[i].offset;

		m->out->map[m->out->nr_map].from = (uint16_t)offset;
		m->out->map[m->out->nr_map++].to = (uint16_t)m->out->len;
		m->goes_on = m->insns[i].falls_through;
		rc = m->rules->move(m, req->code + offset, m->insns[i].len, req->from + offset);
	}
	return rc;
}

static int go_on(struct lp_mover *m)
{
	m->out->map[m->out->nr_map].from = (uint16_t)m->out->taken;
	m->out->map[m->out->nr_map++].to = (uint16_t)m->out->len;
	return m->goes_on ? m->rules->jump(m, m->req->from + m->out->taken) : 0;
}

static bool find_copy(const struct lp_mover *m, uint64_t offset, size_t *to)
{
	for (size_t i = 0; i < m->nr_insns; i++) {
		*to = m->out->map[i].to;
		if (m->out->map[i].from == offset)
			return true;
	}
	return false;
}

static void bind(struct lp_mover *m, size_t field, size_t to)
{
	m->rules->bind(m->out->bytes + field, m->req->to + field, m->req->to + to);
}

static int bind_links(struct lp_mover *m)
{
	for (size_t i = 0; i < m->nr_links; i++) {
		size_t to;

		if (!find_copy(m, m->links[i].means, &to))
			return lp_move_fail(m, LP_EBRANCHED, m->req->from + m->links[i].means,
					    "is led to, but does not begin there");
		bind(m, m->links[i].at, to);
	}
	return 0;
}

static void put_literals(struct lp_mover *m)
{
	while (m->nr_literals && lp_move_here(m) % LITERAL && !m->full)
		lp_move_put(m, &m->rules->filler, 1);
	for (size_t i = 0; i < m->nr_literals && !m->full; i++) {
		uint8_t value[LITERAL];

		lp_put64(value, m->literals[i].means);
		bind(m, m->literals[i].at, m->out->len);
		lp_move_put(m, value, sizeof value);
	}
}

static int finish(struct lp_mover *m)
{
	put_literals(m);
	if (!m->full)
		return bind_links(m);
	lp_fail(m->err, LP_ERANGE, "the %zu bytes at " LP_ADDR " need more than %zu at " LP_ADDR, m->out->taken,
		m->req->from, m->room, m->req->to);
	return -LP_ERANGE;
}

static int check_request(struct lp_mover *m)
{
	const struct lp_move_request *req = m->req;

	if (req->from % m->rules->align == 0 && req->to % m->rules->align == 0)
		return 0;
	lp_fail(m->err, LP_EENCODING, "no instruction can stand at " LP_ADDR,
		req->from % m->rules->align ? req->from : req->to);
	return -LP_EENCODING;
}

int lp_move(const struct lp_move_rules *rules, const struct lp_move_request *req, struct lp_moved *out,
	    struct lp_err *err)
{
	struct lp_mover m = {.rules = rules, .req = req, .out = out, .err = err, .room = min(req->room, LP_MOVED_MAX)};
	int rc;

	*out = (struct lp_moved){0};
	if ((rc = check_request(&m)) || (rc = take_all(&m)) || (rc = check_function(&m)) || (rc = move_all(&m)) ||
	    (rc = go_on(&m)))
		return rc;
	return finish(&m);
}
