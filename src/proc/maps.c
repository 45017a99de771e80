#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "proc/state.h"

#define MAPS_TEXT_MAX (UINT64_C(1) << 30)

/* ---- parsing: proc_pid_maps(5) ---- */

struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *c, char want)
{
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

static int digit_value(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : 16;
}

/* At least one digit, no overflow. */
static bool take_number(struct cursor *c, unsigned base, uint64_t *out)
{
	const char *start = c->at;
	uint64_t v = 0;
	for (; c->at < c->end && (unsigned)digit_value(*c->at) < base; c->at++) {
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_value(*c->at), &v))
			return false;
	}
	*out = v;
	return c->at > start;
}

static bool take_number32(struct cursor *c, unsigned base, uint32_t *out)
{
	uint64_t v;
	if (!take_number(c, base, &v) || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool take_flag(struct cursor *c, char set, bool *out)
{
	*out = take_char(c, set);
	return *out || take_char(c, '-');
}

static bool take_perms(struct cursor *c, struct lp_map *m)
{
	bool r, w, x;
	if (!take_flag(c, 'r', &r) || !take_flag(c, 'w', &w) || !take_flag(c, 'x', &x))
		return false;
	m->prot = (r ? LP_MAP_READ : 0) | (w ? LP_MAP_WRITE : 0) | (x ? LP_MAP_EXEC : 0);
	m->is_private = take_char(c, 'p');
	return m->is_private || take_char(c, 's');
}

/* The kernel escapes the newline, and nothing else: a backslash stands for itself. */
static char *unescape(const char *s, size_t len)
{
	char *out = lp_alloc(len + 1);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		bool newline = len - i >= 4 && !memcmp(s + i, "\\012", 4);
		out[n++] = newline ? '\n' : s[i];
		i += newline ? 3 : 0;
	}
	return out;
}

static void take_path(struct cursor *c, struct lp_map *m)
{
	static const char mark[] = " (deleted)";
	size_t mark_len = sizeof mark - 1;
	while (take_char(c, ' '))
		;
	size_t len = (size_t)(c->end - c->at);
	m->deleted = len > mark_len && !memcmp(c->end - mark_len, mark, mark_len);
	m->path = unescape(c->at, m->deleted ? len - mark_len : len);
}

static bool parse_line(struct cursor c, struct lp_map *m)
{
	if (memchr(c.at, '\0', (size_t)(c.end - c.at)))
		return false;
	if (!take_number(&c, 16, &m->range.start) || !take_char(&c, '-') || !take_number(&c, 16, &m->range.end) ||
	    m->range.start >= m->range.end || m->range.start % LP_PAGE || m->range.end % LP_PAGE)
		return false;
	if (!take_char(&c, ' ') || !take_perms(&c, m) || !take_char(&c, ' ') || !take_number(&c, 16, &m->offset) ||
	    !take_char(&c, ' ') || !take_number32(&c, 16, &m->dev_major) || !take_char(&c, ':') ||
	    !take_number32(&c, 16, &m->dev_minor) || !take_char(&c, ' ') || !take_number(&c, 10, &m->inode))
		return false;
	if (c.at < c.end && *c.at != ' ')
		return false;
	take_path(&c, m);
	return true;
}

int lp_maps_parse(struct lp_maps *out, const char *text, size_t len, struct lp_err *err)
{
	*out = (struct lp_maps){0};
	const char *end = text + len;
	lp_addr last = 0;
	for (unsigned line = 1; text < end; line++) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct lp_map m = {0};
		if (!nl || !parse_line((struct cursor){text, nl}, &m) || m.range.start < last) {
			lp_free(m.path);
			lp_maps_free(out);
			return lp_fail(err, EBADMSG, "line %u of the target's maps makes no sense", line);
		}
		lp_vec_push(out, m);
		last = m.range.end;
		text = nl + 1;
	}
	return 0;
}

static int read_maps(struct lp_proc *p, struct lp_maps *out, struct lp_err *err)
{
	*out = (struct lp_maps){0};
	char path[64];
	struct lp_buf text = {0};
	int rc = lp_read_file(lp_proc_path(p, "maps", path, sizeof path), &text, MAPS_TEXT_MAX, err);
	if (rc < 0)
		rc = lp_proc_why(p, rc, err);
	else if (text.len == 0) /* what an exited process has */
		rc = lp_proc_why(p, lp_fail(err, LP_EGONE, "process %d has no memory any more", (int)p->pid), err);
	else if (p->mem_fd >= 0 && lp_proc_replaced(p)) /* they would be another program's */
		rc = lp_proc_check(p, err);
	else
		rc = lp_maps_parse(out, lp_buf_cstr(&text), text.len, err);
	lp_buf_free(&text);
	return rc;
}

int lp_maps_read(struct lp_proc *p, struct lp_maps *out, struct lp_err *err)
{
	int rc, kept;
	do {
		rc = read_maps(p, out, err);
		kept = rc < 0 ? lp_proc_keep_anchor(p, NULL) : 0;
	} while (kept > 0);
	return rc;
}

void lp_maps_free(struct lp_maps *m)
{
	for (size_t i = 0; i < m->nr; i++)
		lp_free(m->items[i].path);
	lp_vec_free(m);
}

const struct lp_map *lp_maps_find(const struct lp_maps *m, lp_addr at)
{
	size_t lo = 0, hi = m->nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (m->items[mid].range.end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->nr && lp_range_has(m->items[lo].range, at) ? &m->items[lo] : NULL;
}

/* ---- holes ---- */

#define USER_START UINT64_C(0x10000) /* vm.mmap_min_addr, its default */
#define USER_END ((UINT64_C(1) << 47) - LP_PAGE)
#define STACK_GUARD (UINT64_C(1) << 20) /* the kernel refuses to grow a stack nearer than this to a neighbour */
#define STACK_ROOM (UINT64_C(8) << 20)	/* what the main stack may become (RLIMIT_STACK's usual value) */
#define HEAP_ROOM (UINT64_C(1) << 30)	/* what brk may become */

typedef LP_VEC(struct lp_range) range_vec;

/* What a mapping keeps others away from: itself, a guard page, and where it may grow. */
static struct lp_range claim(const struct lp_map *m)
{
	struct lp_range r = {m->range.start - (m->range.start ? LP_PAGE : 0), m->range.end + LP_PAGE};
	if (!strcmp(m->path, "[stack]")) {
		uint64_t size = m->range.end - m->range.start;
		uint64_t below = (size < STACK_ROOM ? STACK_ROOM - size : 0) + STACK_GUARD;
		r.start = m->range.start > below ? m->range.start - below : 0;
	} else if (!strcmp(m->path, "[heap]")) {
		r.end = m->range.end + HEAP_ROOM;
	}
	return r.end < r.start ? (struct lp_range){r.start, UINT64_MAX} : r;
}

static int by_start(const void *a, const void *b)
{
	const struct lp_range *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

static void claims(range_vec *v, const struct lp_maps *m, const struct lp_range *taken, size_t nr_taken)
{
	for (size_t i = 0; i < m->nr; i++)
		lp_vec_push(v, claim(&m->items[i]));
	for (size_t i = 0; i < nr_taken; i++)
		lp_vec_push(v, ((struct lp_range){taken[i].start - LP_PAGE, taken[i].end + LP_PAGE}));
	lp_vec_push(v, ((struct lp_range){0, USER_START}));
	lp_vec_push(v, ((struct lp_range){USER_END, UINT64_MAX}));
	qsort(v->items, v->nr, sizeof *v->items, by_start);
}

static uint64_t sub_floor(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t add_ceil(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

/* First bytes that a hole may have, so that all of it is in reach of all of `near`. */
static bool window(struct lp_range near, uint64_t reach, uint64_t size, struct lp_range *out)
{
	*out = (struct lp_range){0, UINT64_MAX - size};
	if (!reach)
		return true;
	if (size > reach)
		return false;
	out->start = lp_align_up(sub_floor(near.end, reach), LP_PAGE);
	out->end = lp_align_down(add_ceil(near.start, reach - size), LP_PAGE);
	return out->start <= out->end;
}

lp_addr lp_maps_hole(const struct lp_maps *m, struct lp_range near, uint64_t reach, uint64_t size,
		     const struct lp_range *taken, size_t nr_taken)
{
	struct lp_range may;
	size = lp_align_up(size, LP_PAGE);
	if (!size || size > USER_END || !window(near, reach, size, &may))
		return 0;
	range_vec used = {0};
	claims(&used, m, taken, nr_taken);

	lp_addr best = 0, gap_start = 0;
	uint64_t best_distance = UINT64_MAX;
	for (size_t i = 0; i < used.nr; i++) {
		lp_addr gap_end = used.items[i].start;
		if (gap_end > gap_start && gap_end - gap_start >= size) {
			lp_addr lo = gap_start > may.start ? gap_start : may.start;
			lp_addr hi = gap_end - size < may.end ? gap_end - size : may.end;
			/* The end of the gap that faces `near`; both ends are page aligned. */
			lp_addr at = hi < near.start ? hi : lo;
			uint64_t distance = at < near.start ? near.start - at : at - near.start;
			if (lo <= hi && distance < best_distance) {
				best = at;
				best_distance = distance;
			}
		}
		if (used.items[i].end > gap_start)
			gap_start = used.items[i].end;
	}
	lp_vec_free(&used);
	return best;
}
