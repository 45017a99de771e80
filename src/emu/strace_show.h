/*
 * What an argument of a system call looks like in a trace: one function for each
 * kind of strace_kinds.def.
 */
#ifndef LP_EMU_STRACE_SHOW_H
#define LP_EMU_STRACE_SHOW_H

#include "base/buf.h"
#include "emu/sys.h"

/* A call that is over, or about to be made (is_over false: nothing that it writes is shown). */
struct lp_shown {
	struct lp_buf *out;
	const uint64_t *a; /* its arguments */
	unsigned i;	   /* the one to be shown */
	int64_t result;
	bool is_over;
};

typedef void lp_show_fn(const struct lp_shown *s, uint64_t value);
/* By the word; NULL: there is no such kind. */
lp_show_fn *lp_show_kind(const char *word, size_t len);

#define STRUCT(word) lp_show_fn lp_show_##word;
#define KIND(word)
#include "emu/strace_kinds.def"
#undef STRUCT
#undef KIND

/* strace_names.c.  Values and bits by name; false: there is no such set. */
bool lp_show_named(struct lp_buf *out, const char *set, size_t len, uint64_t value);

/* What strace_show.c offers the kinds of structures. */
void lp_show_set(struct lp_buf *out, const char *set, uint64_t value);
void lp_show_address(struct lp_buf *out, uint64_t addr); /* NULL, or a number */
void lp_show_data(struct lp_buf *out, uint64_t addr, uint64_t len);
void lp_show_string(struct lp_buf *out, uint64_t addr, size_t most);
void lp_show_signal(struct lp_buf *out, int signal);
void lp_show_siginfo_of(struct lp_buf *out, const siginfo_t *info);
bool lp_show_has_written(const struct lp_shown *s); /* the call has, where its arguments are results */

/* A string as C would have it, at most `most` bytes; "..." behind it when there is more than that. */
void lp_show_bytes(struct lp_buf *out, const uint8_t *data, size_t len, bool more);
/* "ENOENT (No such file or directory)" */
void lp_show_error(struct lp_buf *out, int error);

#endif
