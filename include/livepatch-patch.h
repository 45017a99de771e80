/*
 * For the authors of live patches: what the source of a fix may include.
 *
 *   hooks               functions that the process runs when the patch is
 *                       applied or reverted
 *   shadow variables    new fields for objects that exist already
 *
 * C99 and later, C++11 and later; gcc and clang.  The header is all there is:
 * nothing to link.  docs/patch-author-guide.md has worked examples.
 *
 * HOOKS
 *
 *     static int convert(void) { ...; return 0; }
 *     LIVEPATCH_PRE_APPLY(convert);
 *
 * A hook is `int hook(void)`, run by one of the process's own threads while the
 * others go on.  That thread was stopped outside of the allocator and the
 * dynamic loader, so a hook may allocate; a lock that the program holds at that
 * moment may be held by the very thread that runs the hook, so take none with
 * anything but a try-lock.
 *
 *     LIVEPATCH_PRE_APPLY     the patch is in memory, and nothing leads to it yet;
 *                             a result other than 0 refuses the patch
 *     LIVEPATCH_POST_APPLY    the patch is live; a result is only reported
 *     LIVEPATCH_PRE_REVERT    the patch is still live; not 0 refuses the revert
 *     LIVEPATCH_POST_REVERT   nothing leads to the patch any more
 *
 * Several of one kind run in the order in which they stand in the patch.
 *
 * Hooks are not part of the transaction.  A pre hook may have run for a change
 * that did not come about (a function stayed busy, livepatch was killed), and
 * run again at the next attempt: what it does must bear being done twice, or
 * for nothing.  When livepatch is killed, a hook that has begun goes on to its
 * end; one that has not may never run, a post hook of a change that is made
 * among them.
 *
 * SHADOW VARIABLES
 *
 * A structure of which objects exist cannot grow.  Instead, a value is attached
 * to the object's address:
 *
 *     #define CLIENT_DEADLINE 1          // a number for each new field
 *     long *deadline = (long *)livepatch_shadow_get_or_attach(c, CLIENT_DEADLINE, sizeof *deadline);
 *     if (deadline) *deadline = now + 5;
 *     ...
 *     livepatch_shadow_detach(c, CLIENT_DEADLINE);      // where the object is freed
 *
 * What is attached is zeroed, is the same for all patches that are applied to
 * the process after the first one that uses shadow variables, and outlives
 * the patch that attached it.  Attaching and finding may be done by any number of
 * threads; who detaches must know that nobody uses the value any more, as with
 * any free().  A number should say whose it is when several authors patch one
 * program: LIVEPATCH_SHADOW_ID('m', 'i', 'n', 'e', 1).
 *
 * Not for signal handlers.  A child of fork() has its own copies.
 */
#ifndef LIVEPATCH_PATCH_H
#define LIVEPATCH_PATCH_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- hooks ---- */

struct livepatch_hook {
	uint64_t kind;
	int (*function)(void);
};

#define LIVEPATCH_HOOK_2_(number, fn, unique)                             \
	static const struct livepatch_hook livepatch_hook_##unique##_##fn \
		__attribute__((section(".livepatch.hooks"), used, aligned(8))) = {number, fn}
#define LIVEPATCH_HOOK_(number, fn, unique) LIVEPATCH_HOOK_2_(number, fn, unique)

#define LIVEPATCH_PRE_APPLY(fn) LIVEPATCH_HOOK_(1, fn, __COUNTER__)
#define LIVEPATCH_POST_APPLY(fn) LIVEPATCH_HOOK_(2, fn, __COUNTER__)
#define LIVEPATCH_PRE_REVERT(fn) LIVEPATCH_HOOK_(3, fn, __COUNTER__)
#define LIVEPATCH_POST_REVERT(fn) LIVEPATCH_HOOK_(4, fn, __COUNTER__)

/* ---- shadow variables ---- */

#define LIVEPATCH_SHADOW_ID(a, b, c, d, n)                                                            \
	((uint64_t)(uint8_t)(a) << 56 | (uint64_t)(uint8_t)(b) << 48 | (uint64_t)(uint8_t)(c) << 40 | \
	 (uint64_t)(uint8_t)(d) << 32 | (uint32_t)(n))

#define LIVEPATCH_SHADOW_BUCKETS 4096u

struct livepatch_shadow {
	struct livepatch_shadow *next;
	const void *object;
	uint64_t id;
	size_t size;
};

struct livepatch_shadow_bucket {
	uint64_t holder; /* 0 = free, else the process whose thread is in here */
	struct livepatch_shadow *first;
};

/* The first patch that has this brings it to the process; later ones use the same (a weak symbol gives way). */
__attribute__((weak)) struct livepatch_shadow_bucket livepatch_shadow_table[LIVEPATCH_SHADOW_BUCKETS] = {{0, 0}};

static inline struct livepatch_shadow_bucket *livepatch_shadow_bucket_(const void *object, uint64_t id)
{
	uint64_t h = ((uint64_t)(uintptr_t)object ^ id * UINT64_C(0xff51afd7ed558ccd)) * UINT64_C(0x9e3779b97f4a7c15);
	return &livepatch_shadow_table[h >> 52];
}

/*
 * A spin lock, held for a few instructions.  A child that was forked while
 * another thread of its parent held it finds a holder that does not exist here:
 * a list is sound after each of its stores, so the child just takes over.
 */
static inline void livepatch_shadow_lock_(struct livepatch_shadow_bucket *b)
{
	uint64_t self = (uint64_t)getpid(), holder = 0;
	while (!__atomic_compare_exchange_n(&b->holder, &holder, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (holder == self) {
			sched_yield();
			holder = 0;
		}
		/* else: try again, expecting the holder that is no more (or 0, when it went meanwhile) */
	}
}

static inline void livepatch_shadow_unlock_(struct livepatch_shadow_bucket *b)
{
	__atomic_store_n(&b->holder, 0, __ATOMIC_RELEASE);
}

/* The link that leads to it; one that holds NULL when there is none. */
static inline struct livepatch_shadow **livepatch_shadow_link_(struct livepatch_shadow_bucket *b, const void *object,
							       uint64_t id)
{
	struct livepatch_shadow **link = &b->first;
	while (*link && ((*link)->object != object || (*link)->id != id))
		link = &(*link)->next;
	return link;
}

static inline void *livepatch_shadow_value_(struct livepatch_shadow *s)
{
	/* calloc() aligns for anything, and the header is a multiple of that. */
	return s ? (void *)(s + 1) : NULL;
}

/* The value attached to an object under a number; NULL when none is. */
static inline __attribute__((unused)) void *livepatch_shadow_get(const void *object, uint64_t id)
{
	struct livepatch_shadow_bucket *b = livepatch_shadow_bucket_(object, id);
	livepatch_shadow_lock_(b);
	struct livepatch_shadow *s = *livepatch_shadow_link_(b, object, id);
	livepatch_shadow_unlock_(b);
	return livepatch_shadow_value_(s);
}

/*
 * Attach `size` bytes of zeros.  NULL when something is attached under that
 * number already, or when there is no memory.
 */
static inline __attribute__((unused)) void *livepatch_shadow_attach(const void *object, uint64_t id, size_t size)
{
	struct livepatch_shadow_bucket *b = livepatch_shadow_bucket_(object, id);
	struct livepatch_shadow *s =
		size > SIZE_MAX - sizeof *s ? NULL : (struct livepatch_shadow *)calloc(1, sizeof *s + size);
	if (!s)
		return NULL;
	s->object = object;
	s->id = id;
	s->size = size;
	livepatch_shadow_lock_(b);
	struct livepatch_shadow *there = *livepatch_shadow_link_(b, object, id);
	if (!there) {
		s->next = b->first;
		__atomic_store_n(&b->first, s, __ATOMIC_RELEASE);
	}
	livepatch_shadow_unlock_(b);
	if (there)
		free(s);
	return there ? NULL : livepatch_shadow_value_(s);
}

/* Whichever of the two is true; of threads that do it at once, all get the same.  NULL: no memory. */
static inline __attribute__((unused)) void *livepatch_shadow_get_or_attach(const void *object, uint64_t id, size_t size)
{
	void *value = livepatch_shadow_get(object, id);
	if (!value)
		value = livepatch_shadow_attach(object, id, size);
	/* Somebody was quicker; else there is no memory. */
	return value ? value : livepatch_shadow_get(object, id);
}

/* Free what is attached to an object under a number; nothing happens when nothing is. */
static inline __attribute__((unused)) void livepatch_shadow_detach(const void *object, uint64_t id)
{
	struct livepatch_shadow_bucket *b = livepatch_shadow_bucket_(object, id);
	livepatch_shadow_lock_(b);
	struct livepatch_shadow **link = livepatch_shadow_link_(b, object, id), *s = *link;
	if (s)
		__atomic_store_n(link, s->next, __ATOMIC_RELEASE);
	livepatch_shadow_unlock_(b);
	free(s);
}

/* All values of one number: for a post-revert hook, when nobody will ask for them again. */
static inline __attribute__((unused)) void livepatch_shadow_detach_all(uint64_t id)
{
	for (size_t i = 0; i < LIVEPATCH_SHADOW_BUCKETS; i++) {
		struct livepatch_shadow_bucket *b = &livepatch_shadow_table[i];
		struct livepatch_shadow *gone = NULL, **link;
		livepatch_shadow_lock_(b);
		for (link = &b->first; *link;) {
			struct livepatch_shadow *s = *link;
			if (s->id != id) {
				link = &s->next;
				continue;
			}
			__atomic_store_n(link, s->next, __ATOMIC_RELEASE);
			s->next = gone;
			gone = s;
		}
		livepatch_shadow_unlock_(b);
		while (gone) {
			struct livepatch_shadow *s = gone;
			gone = s->next;
			free(s);
		}
	}
}

#ifdef __cplusplus
}
#endif

#endif
