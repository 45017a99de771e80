#include "self/stack.h"

#include <signal.h>

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
	struct lp_range now; /* the one that is looked at, up to where it ends for all we know, or is not looked at */
	bool whole;
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

static bool is_remembered(const struct scan *s, lp_addr sp)
{
	for (size_t i = 0; i < s->nr_todo; i++) {
		if (s->todo[i] == sp)
			return true;
	}
	return false;
}

/* The interrupted code may have been on another stack; on this one it is still to come. */
static void remember(struct scan *s, lp_addr sp)
{
	if (lp_range_has(s->now, sp) || is_seen(s, sp) || is_remembered(s, sp))
		return;
	if (s->nr_todo < STACKS_MAX)
		s->todo[s->nr_todo++] = sp;
	else
		s->whole = false;
}

/*
 * A stack for handlers lies anywhere, in the middle of a heap too: what is mapped behind it is other people's.  The frame
 * of a handler on it tells where it ends.  (In memory that was one, and is a stack of another kind by now, a frame could
 * be left over from then; nobody does that.)
 */
static void bound(struct scan *s, lp_addr frame)
{
	stack_t handlers;
	lp_addr at = frame - lp_self_arch.frame_stack;

	if (lp_self_read(at, &handlers, sizeof handlers) != sizeof handlers)
		return;
	struct lp_range r = {(lp_addr)(uintptr_t)handlers.ss_sp, (lp_addr)(uintptr_t)handlers.ss_sp + handlers.ss_size};
	if (lp_range_has(r, at) && lp_range_has(r, frame) && r.end < s->now.end)
		s->now.end = r.end;
}

static void look(struct scan *s, lp_addr at, const uint64_t *words, size_t nr)
{
	for (size_t i = 0; i < nr && at + i * sizeof words[0] < s->now.end; i++) {
		bool framed = i + LP_FRAME_WORDS - 1 <= nr && i && lp_self_arch.frame(&words[i - 1]);
		struct lp_stack_word w = {at + i * sizeof words[0], words[i], framed};

		if (framed) {
			bound(s, w.at - sizeof words[0]);
			remember(s, words[i - 1]);
		}
		if (lp_range_has(s->span, w.value))
			s->found(s->arg, &w);
	}
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Chunks overlap, so that no frame is cut: a word may be found twice, the second time with what belongs to it. */
static void scan_one(struct scan *s, lp_addr sp)
{
	lp_addr at = lp_align_down(sp, sizeof chunk[0]), limit = at + LP_STACK_SEEN,
		mapped = lp_self_maps_end(s->maps, at);
	struct lp_range *seen = &s->seen[s->nr_seen++];
	size_t want, len;

	*seen = (struct lp_range){at, at};
	s->now = (struct lp_range){at, mapped && mapped < limit ? mapped : limit};
	do {
		want = min(sizeof chunk, s->now.end - at);
		len = lp_self_read(at, chunk, want);
		look(s, at, chunk, len / sizeof chunk[0]);
		seen->end = min(at + len, s->now.end);
		at += want - min(want, LP_FRAME_WORDS * sizeof chunk[0]);
	} while (len == want && seen->end < s->now.end);
	s->whole = s->whole && (len < want || s->now.end < limit || mapped == limit);
}

bool lp_stack_scan(lp_addr sp, const struct lp_self_maps *maps, struct lp_range span,
		   void (*found)(void *arg, const struct lp_stack_word *w), void *arg)
{
	struct scan s = {
		.maps = maps, .span = span, .found = found, .arg = arg, .todo = {sp}, .nr_todo = 1, .whole = true};

	for (size_t i = 0; i < s.nr_todo; i++) {
		if (!is_seen(&s, s.todo[i]))
			scan_one(&s, s.todo[i]);
	}
	return s.whole;
}
