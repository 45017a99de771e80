/*
 * Growing arrays and allocation that does not fail.
 *
 *     struct { struct lp_write *items; size_t nr, cap; } writes = {0};
 *     struct lp_write *w = lp_vec_add(&writes);      // zeroed, at the end
 *     lp_vec_free(&writes);
 *
 * Out of memory aborts: a patcher that ran out of host memory has not begun to
 * write (all allocation happens before the pause) and its journal is in the
 * target, so dying is the safe answer.  (In other people's programs it is not:
 * base/reserve.h.)
 */
#ifndef LP_BASE_VEC_H
#define LP_BASE_VEC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define LP_VEC(type)            \
	struct {                \
		type *items;    \
		size_t nr, cap; \
	}

#define lp_vec_add(v) \
	((v)->items = lp_vec_grow((v)->items, &(v)->nr, &(v)->cap, sizeof *(v)->items), &(v)->items[(v)->nr - 1])
#define lp_vec_push(v, value) (*lp_vec_add(v) = (value))
/* False: no memory for one more. */
#define lp_vec_has_room(v) lp_vec_room_for_one((void **)&(v)->items, (v)->nr, &(v)->cap, sizeof *(v)->items)
#define lp_vec_free(v) (lp_free((v)->items), (v)->items = NULL, (v)->nr = (v)->cap = 0)

#define LP_ARRAY_SIZE(a)              \
	(sizeof(a) / sizeof((a)[0]) + \
	 0 * sizeof(char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

void *lp_vec_grow(void *items, size_t *nr, size_t *cap, size_t size);
bool lp_vec_room_for_one(void **items, size_t nr, size_t *cap, size_t size);
void *lp_alloc(size_t size); /* zeroed */
void *lp_realloc(void *p, size_t size);
void *lp_try_realloc(void *p, size_t size); /* for what may be large: NULL, and p as it was, when there is no memory */
char *lp_strdup(const char *s);		    /* NULL stays NULL */
/* One line of text from who knows whom: the end of a line becomes a '?'.  NULL stays NULL. */
char *lp_strdup_line(const char *s);
void *lp_memdup(const void *p, size_t size);
char *lp_sprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *lp_vsprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0), nonnull(1)));
void lp_free(void *p);

#endif
