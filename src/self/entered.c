/*
 * Branches of other functions into one.  Hand-written code shares its bodies
 * (glibc's mempcpy() goes on in memcpy(), behind its first instruction), and
 * compilers put what is rarely run far away and come back from there.
 *
 * Bytes that could be such a branch are found without decoding: a megabyte of
 * code takes a millisecond or two, once for each loaded object, and a table of
 * some tens of thousands.  Branches of two bytes would be found everywhere;
 * they are close, and looked for when they are asked for.  What is found is
 * then read from the beginning of its function on: whether it is an
 * instruction at all.
 */
#include "self/entered.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/vec.h"
#include "self/private.h"

#define NEAR 160u	    /* where branches of two bytes reach from */
#define CHUNK 65536u	    /* looked through at a time */
#define INSN_MAX 16u	    /* bytes of an instruction, or more */
#define LEAD_MAX 1048576u   /* of a function, before the branch in it */
#define CODE_MAX UINT32_MAX /* of an object */

/* What looks like a branch; addresses count from the object's first. */
struct branch {
	uint32_t to, at;
	uint8_t len;
};

/* Of one object, by target. */
struct branches {
	struct lp_range code;
	uint64_t loads; /* that the loader had counted then */
	bool partial;	/* there was no memory for all of them */
	LP_VEC(struct branch) all;
};

static LP_VEC(struct branches) tables;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lp_self_entered_hold(void)
{
	pthread_mutex_lock(&lock);
}

void lp_self_entered_release(void)
{
	pthread_mutex_unlock(&lock);
}

/* ---- what looks like a branch ---- */

static void look_through(struct branches *b, struct lp_range r, bool with_short,
			 void (*found)(void *, const struct lp_branch *))
{
	uint8_t *code = lp_alloc((r.end - r.start < CHUNK ? r.end - r.start : CHUNK) + INSN_MAX);

	for (lp_addr at = r.start; at < r.end; at += CHUNK) {
		size_t want = r.end - at < CHUNK + INSN_MAX ? r.end - at : CHUNK + INSN_MAX;

		lp_self_isa()->branches(code, lp_self_read(at, code, want), at, with_short, found, b);
	}
	lp_free(code);
}

/* Calls arrive at beginnings. */
static void add_branch(void *arg, const struct lp_branch *found)
{
	struct branches *b = arg;

	if (found->is_call || !lp_range_has(b->code, found->target))
		return;
	if (!lp_vec_has_room(&b->all))
		b->partial = true;
	else
		lp_vec_push(&b->all, ((struct branch){(uint32_t)(found->target - b->code.start),
						      (uint32_t)(found->at - b->code.start),
						      (uint8_t)(found->end - found->at)}));
}

static int by_target(const void *a, const void *b)
{
	const struct branch *x = a, *y = b;

	return x->to != y->to ? (x->to > y->to) - (x->to < y->to) : (x->at > y->at) - (x->at < y->at);
}

static void sort(struct branches *b)
{
	if (b->all.nr)
		qsort(b->all.items, b->all.nr, sizeof b->all.items[0], by_target);
}

static struct branches *table_of(struct lp_range code)
{
	for (size_t i = 0; i < tables.nr; i++) {
		if (tables.items[i].code.start == code.start)
			return &tables.items[i];
	}
	return lp_vec_add(&tables);
}

static const struct branches *fresh_table_of(struct lp_range code, uint64_t loads)
{
	struct branches *b = table_of(code);

	if (b->loads == loads && b->code.end == code.end && !b->partial)
		return b;
	b->code = code;
	b->loads = loads;
	b->partial = false;
	b->all.nr = 0;
	look_through(b, code, false, add_branch);
	sort(b);
	return b;
}

static void copy_into(struct branches *to, const struct branches *from, struct lp_range window)
{
	size_t low = 0, high = from->all.nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (from->code.start + from->all.items[middle].to < window.start)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < from->all.nr && from->code.start + from->all.items[low].to < window.end; low++)
		lp_vec_push(&to->all, from->all.items[low]);
}

static struct lp_range near(struct lp_range window, struct lp_range code)
{
	return (struct lp_range){window.start - code.start > NEAR ? window.start - NEAR : code.start,
				 code.end - window.end > NEAR ? window.end + NEAR : code.end};
}

/* ---- whether it is one ---- */

/* Does [start, end) consist of instructions?  `last` receives the one before `end`. */
static bool is_code(struct lp_range r, struct lp_insn *last)
{
	size_t len = r.end - r.start, at = 0, n = 1;
	uint8_t *code = lp_alloc(len + 1);

	if (lp_self_read(r.start, code, len) != len)
		n = 0;
	while (n && at < len) {
		n = lp_self_isa()->insn(code + at, len - at, r.start + at, last) ? last->len : 0;
		at += n;
	}
	lp_free(code);
	return n && at == len;
}

static bool leads_to(const struct lp_insn *in, lp_addr target)
{
	return in->has_target && in->target_is_code && in->target == target;
}

/* Where no function is known there may be data, which can look like short branches: text does.  Then what lies between it
 * and the function is no code. */
static bool is_nameless_branch(lp_addr at, lp_addr end, struct lp_range own)
{
	struct lp_range between = end <= own.start ? (struct lp_range){at, own.start} : (struct lp_range){own.end, end};
	struct lp_insn last;

	return between.end - between.start > NEAR || is_code(between, &last);
}

static bool is_branch(lp_addr at, lp_addr end, lp_addr target, struct lp_range own)
{
	struct lp_range function;
	struct lp_insn last = {0};

	if (lp_range_has(own, at) || !is_code((struct lp_range){own.start, target}, &last))
		return false;
	if (!lp_self_function(at, &function))
		return is_nameless_branch(at, end, own);
	if (end - function.start > LEAD_MAX)
		return true;
	return is_code((struct lp_range){function.start, end}, &last) && leads_to(&last, target);
}

static bool find_real(const struct branches *b, struct lp_range own, struct lp_range window, struct lp_entered *out)
{
	for (size_t i = 0; i < b->all.nr; i++) {
		const struct branch *it = &b->all.items[i];
		lp_addr at = b->code.start + it->at, to = b->code.start + it->to;

		if (!lp_range_has(window, to) || !is_branch(at, at + it->len, to, own))
			continue;
		*out = (struct lp_entered){at, to};
		return true;
	}
	return false;
}

bool lp_self_entered(struct lp_range own, struct lp_range window, struct lp_entered *out)
{
	struct branches b = {0};
	uint64_t loads;

	*out = (struct lp_entered){0};
	if (!lp_self_isa()->branches || !lp_self_object(own.start, &b.code, &loads) || window.end > b.code.end ||
	    b.code.end - b.code.start > CODE_MAX)
		return false;
	pthread_mutex_lock(&lock);
	copy_into(&b, fresh_table_of(b.code, loads), window);
	pthread_mutex_unlock(&lock);
	look_through(&b, near(window, b.code), true, add_branch);
	sort(&b);
	bool entered = find_real(&b, own, window, out);
	lp_vec_free(&b.all);
	return entered;
}
