#include "store/roster.h"

#include <limits.h>
#include <stdlib.h>

#include "base/vec.h"

/* Dynamic linking of a large program takes some 50 ms, plugins are loaded within seconds. */
static const int64_t look_at[] = {10, 100, 500, 3000};

#define YOUNG_MS 2000
#define PAUSE_FIRST_MS 1000
#define PAUSE_MOST_MS 300000

struct slot {
	struct lp_roster_entry e;
	bool met;
};

/* Sorted by pid, so that a round over /proc, which is sorted too, costs what it must. */
struct lp_roster {
	LP_VEC(struct slot *) slots;
};

struct lp_roster *lp_roster_new(void)
{
	return lp_alloc(sizeof(struct lp_roster));
}

void lp_roster_free(struct lp_roster *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->slots.nr; i++)
		lp_free(r->slots.items[i]);
	lp_vec_free(&r->slots);
	lp_free(r);
}

size_t lp_roster_count(const struct lp_roster *r)
{
	return r->slots.nr;
}

/* Index of pid, or of where it belongs. */
static size_t place_of(const struct lp_roster *r, pid_t pid)
{
	size_t lo = 0, hi = r->slots.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (r->slots.items[mid]->e.pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct slot *slot_of(const struct lp_roster *r, pid_t pid)
{
	size_t i = place_of(r, pid);
	return i < r->slots.nr && r->slots.items[i]->e.pid == pid ? r->slots.items[i] : NULL;
}

struct lp_roster_entry *lp_roster_find(struct lp_roster *r, pid_t pid)
{
	struct slot *s = slot_of(r, pid);
	return s ? &s->e : NULL;
}

static struct slot *insert(struct lp_roster *r, pid_t pid)
{
	size_t at = place_of(r, pid);
	struct slot *s = lp_alloc(sizeof *s);
	lp_vec_push(&r->slots, s);
	for (size_t i = r->slots.nr - 1; i > at; i--)
		r->slots.items[i] = r->slots.items[i - 1];
	r->slots.items[at] = s;
	s->e.pid = pid;
	return s;
}

static void remove_at(struct lp_roster *r, size_t at)
{
	lp_free(r->slots.items[at]);
	for (size_t i = at; i + 1 < r->slots.nr; i++)
		r->slots.items[i] = r->slots.items[i + 1];
	r->slots.nr--;
}

/* An entry that is out with a worker stays busy: what the worker brings back is then of no account. */
static void begin(struct slot *s, uint64_t start_time, uint64_t image, int64_t now)
{
	s->e = (struct lp_roster_entry){.pid = s->e.pid,
					.start_time = start_time,
					.image = image,
					.began = now,
					.due = now + look_at[0],
					.busy = s->e.busy};
}

void lp_roster_begin(struct lp_roster *r, pid_t pid, int64_t now)
{
	struct slot *s = slot_of(r, pid);
	begin(s ? s : insert(r, pid), 0, 0, now);
}

void lp_roster_meet(struct lp_roster *r, pid_t pid, uint64_t start_time, uint64_t image, int64_t now)
{
	struct slot *s = slot_of(r, pid);
	bool is_new = !s;
	if (is_new)
		s = insert(r, pid);
	s->met = true;
	if (!is_new && !s->e.start_time) { /* the kernel told us of it; now we know who it is */
		s->e.start_time = start_time;
		s->e.image = image;
	}
	if (is_new || s->e.start_time != start_time || s->e.image != image)
		begin(s, start_time, image, now);
}

void lp_roster_gone(struct lp_roster *r, pid_t pid)
{
	if (slot_of(r, pid))
		remove_at(r, place_of(r, pid));
}

void lp_roster_begin_round(struct lp_roster *r)
{
	for (size_t i = 0; i < r->slots.nr; i++)
		r->slots.items[i]->met = false;
}

void lp_roster_end_round(struct lp_roster *r)
{
	size_t kept = 0;
	for (size_t i = 0; i < r->slots.nr; i++) {
		if (r->slots.items[i]->met)
			r->slots.items[kept++] = r->slots.items[i];
		else
			lp_free(r->slots.items[i]);
	}
	r->slots.nr = kept;
}

void lp_roster_look_again(struct lp_roster *r, int64_t now)
{
	for (size_t i = 0; i < r->slots.nr; i++) {
		struct lp_roster_entry *e = &r->slots.items[i]->e;
		if (!e->refusals && e->due > now)
			e->due = now;
	}
}

void lp_roster_make_old(struct lp_roster *r, pid_t pid, int64_t now)
{
	struct slot *s = slot_of(r, pid);
	if (!s)
		return;
	s->e.began = now - look_at[LP_ARRAY_SIZE(look_at) - 1];
	s->e.due = now;
}

struct lp_roster_entry *lp_roster_due(struct lp_roster *r, int64_t now)
{
	for (size_t i = 0; i < r->slots.nr; i++) {
		struct lp_roster_entry *e = &r->slots.items[i]->e;
		if (e->busy || e->due > now)
			continue;
		e->busy = true;
		e->looks++;
		return e;
	}
	return NULL;
}

void lp_roster_settled(struct lp_roster *r, struct lp_roster_entry *e, uint64_t fingerprint, int64_t now)
{
	e->busy = false;
	e->refusals = 0;
	e->settled = fingerprint;
	e->due = INT64_MAX;
	for (size_t i = 0; i < LP_ARRAY_SIZE(look_at) && e->due == INT64_MAX; i++)
		if (e->began + look_at[i] > now)
			e->due = e->began + look_at[i];
}

int64_t lp_roster_refused(struct lp_roster *r, struct lp_roster_entry *e, int64_t now)
{
	int64_t pause = PAUSE_FIRST_MS;
	for (unsigned i = 0; i < e->refusals && pause < PAUSE_MOST_MS; i++)
		pause *= 2;
	pause = pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS;
	e->busy = false;
	e->refusals++;
	e->due = now + pause;
	return pause;
}

void lp_roster_postponed(struct lp_roster_entry *e, int64_t due)
{
	e->busy = false;
	e->due = due;
}

bool lp_roster_is_young(const struct lp_roster_entry *e, int64_t now)
{
	return now - e->began < YOUNG_MS;
}

int lp_roster_wait(const struct lp_roster *r, int64_t now)
{
	int64_t first = INT64_MAX;
	for (size_t i = 0; i < r->slots.nr; i++) {
		const struct lp_roster_entry *e = &r->slots.items[i]->e;
		if (!e->busy && e->due < first)
			first = e->due;
	}
	if (first == INT64_MAX)
		return -1;
	if (first <= now)
		return 0;
	return first - now > INT_MAX ? INT_MAX : (int)(first - now);
}
