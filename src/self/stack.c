#include "self/stack.h"

#include "self/private.h"

#define CHUNK_WORDS 2048
#define STACKS_MAX 4 /* a handler on an alternate stack that interrupted one on another ... */

struct scan {
	const struct lp_self_maps *maps;
	struct lp_range span;
	void (*found)(void *arg, const struct lp_stack_word *w);
	void *arg;
	struct lp_range seen[STACKS_MAX];
	lp_addr todo[STACKS_MAX];
	size_t nr_seen, nr_todo;
};

static uint64_t chunk[CHUNK_WORDS];

static bool is_seen(const struct scan *s, lp_addr sp)
{
	for (size_t i = 0; i < s->nr_seen; i++) {
		if (lp_range_has(s->seen[i], sp))
			return true;
	}
	return false;
}

/* The interrupted code may have been on another stack. */
static void remember(struct scan *s, lp_addr sp)
{
	if (s->nr_todo < STACKS_MAX)
		s->todo[s->nr_todo++] = sp;
}

static void look(struct scan *s, lp_addr at, const uint64_t *words, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		bool framed = i + LP_FRAME_WORDS - 1 <= nr && i && lp_self_arch.frame(&words[i - 1]);
		struct lp_stack_word w = {at + i * sizeof words[0], words[i], framed};

		if (framed)
			remember(s, words[i - 1]);
		if (lp_range_has(s->span, w.value))
			s->found(s->arg, &w);
	}
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Chunks overlap, so that no frame is cut: a word may be found twice, the second time with what belongs to it. */
static bool scan_one(struct scan *s, lp_addr sp)
{
	lp_addr at = lp_align_down(sp, sizeof chunk[0]), limit = at + LP_STACK_SEEN;
	lp_addr mapped = lp_self_maps_end(s->maps, at), end = mapped && mapped < limit ? mapped : limit;
	struct lp_range *seen = &s->seen[s->nr_seen++];

	*seen = (struct lp_range){at, at};
	while (at < end) {
		size_t want = min(sizeof chunk, end - at), len = lp_self_read(at, chunk, want);

		look(s, at, chunk, len / sizeof chunk[0]);
		seen->end = at + len;
		if (len < want || at + len == mapped)
			return true;
		at += want - min(want, LP_FRAME_WORDS * sizeof chunk[0]);
		if (seen->end == limit)
			return false;
	}
	return false;
}

bool lp_stack_scan(lp_addr sp, const struct lp_self_maps *maps, struct lp_range span,
		   void (*found)(void *arg, const struct lp_stack_word *w), void *arg)
{
	struct scan s = {.maps = maps, .span = span, .found = found, .arg = arg, .todo = {sp}, .nr_todo = 1};
	bool whole = true;

	for (size_t i = 0; i < s.nr_todo && s.nr_seen < STACKS_MAX; i++) {
		if (!is_seen(&s, s.todo[i]))
			whole = scan_one(&s, s.todo[i]) && whole;
	}
	return whole;
}
