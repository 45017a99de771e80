/*
 * What `top` shows: flags, variables and functions of a process, and which of
 * them were something else when it looked before.
 *
 *     struct live l = {0};
 *     rc = live_begin(&l, peer, err);                 // asks
 *     while ((rc = live_step(&l, peer, err)) == 0)    // when the peer can be read; 1 = the look is complete
 *             ;
 *     ... l.rows, live_choose(), live_table(), live_json() ...
 *     live_free(&l);
 *
 * A look is three questions, one behind the other; what is shown stays as it
 * was until the last of them is answered.
 */
#ifndef LP_TOOL_HOTPATCH_LIVE_H
#define LP_TOOL_HOTPATCH_LIVE_H

#include "base/vec.h"
#include "tool/hotpatch.h"

/* In the order in which they are shown: a program has more flags than anybody looks at. */
enum live_kind { LIVE_VARIABLE, LIVE_FUNCTION, LIVE_FLAG, NR_LIVE_KINDS };

/* Text of one printable line each. */
struct live_row {
	enum live_kind kind;
	char *name, *type, *value;
	uint64_t changed; /* the number of the look that found it to be different; 0 = none has */
};

typedef LP_VEC(struct live_row) live_vec;

struct live {
	uint64_t looks;	 /* complete ones */
	live_vec rows;	 /* of the last one, by kind and name */
	json_t *told;	 /* the same as the process told it: three arrays */
	json_t *answers; /* of the look that is under way; NULL = none is */
};

int live_begin(struct live *l, struct peer *p, struct lp_err *err);
int live_step(struct live *l, struct peer *p, struct lp_err *err);
/* Both of them and the waiting. */
int live_look(struct live *l, struct peer *p, struct lp_err *err);
void live_free(struct live *l);

bool live_is_changed(const struct live *l, const struct live_row *r); /* since the look before the last */

enum live_order { BY_KIND, BY_NAME, BY_CHANGE, NR_LIVE_ORDERS };

struct live_choice {
	enum live_order order;
	int kind;	  /* enum live_kind; -1 = all */
	const char *text; /* is in the name or in the value, in capitals or not; "" = any */
};

typedef LP_VEC(const struct live_row *) live_view;
/* The rows that are chosen, in order; they live until the next look is complete. */
void live_choose(const struct live *l, const struct live_choice *c, live_view *out);

const char *live_kind_name(enum live_kind kind);
/* Printed by out_printf(), a heading and a line for each. */
void live_table(const struct live *l);
/* One object.  The caller gets it. */
json_t *live_json(const struct live *l, pid_t pid, const char *name);

#endif
