/*
 * Errors: 0, or a negative code.
 *
 * A code is -errno as the system gave it, or -LP_E* from err.def.  A call that
 * can refuse for more than one reason takes `struct lp_err *` (NULL allowed)
 * and fills in the code, one complete sentence, and the culprit.  A failure is
 * returned or logged, never both.
 *
 *     return lp_fail(err, LP_ENOSYM, "%s: no symbol %s", module, name);
 *     ...
 *     return lp_fail_sys(err, errno, "cannot read %s", path);   // adds ": strerror"
 *     return lp_err_context(err, rc, "loading %s", path);       // prepends "loading x: "
 */
#ifndef LP_BASE_ERR_H
#define LP_BASE_ERR_H

#include "base/addr.h"

#define LP_E_BASE 5000 /* beyond any errno */

enum lp_err_index {
#define LP_ERR(name, machine, sentence) LP_ERR_INDEX_##name,
#include "base/err.def"
#undef LP_ERR
	LP_ERR_COUNT
};

enum lp_err_code {
#define LP_ERR(name, machine, sentence) LP_E##name = LP_E_BASE + LP_ERR_INDEX_##name,
#include "base/err.def"
#undef LP_ERR
};

/* Zero-initialise.  `text` is what a person reads, the rest what a program reads. */
struct lp_err {
	int code;	    /* negative; 0 = no error */
	int tid;	    /* culprit thread, 0 = none */
	lp_addr addr;	    /* culprit address, 0 = none */
	char function[128]; /* culprit function or symbol, "" = none */
	char text[1536];    /* one sentence, no newline at the end; details on following lines */
};

/* Fill in err with -code and the sentence; returns the negative code.  `code` may have either sign. */
int lp_fail(struct lp_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for a system errno: ": <strerror>" is appended. */
int lp_fail_sys(struct lp_err *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Prepend "<context>: " to a sentence that is already there; returns rc. */
int lp_err_context(struct lp_err *err, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Append more lines (a backtrace, candidates). */
void lp_err_append(struct lp_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sentence and machine name of a code of either sign; never NULL. */
const char *lp_strerror(int code);
const char *lp_err_name(int code);

#endif
