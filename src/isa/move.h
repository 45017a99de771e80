/*
 * Moving instructions: what all instruction sets share; private to isa/.
 *
 * lp_move() is `relocate` of struct lp_isa with the instruction set's rules
 * filled in.  It decides which instructions leave, looks for branches among
 * them, and has rules->move write each anew.  What move() writes goes through
 * the calls below; each of them remembers when there is no room, so that
 * nobody has to ask in between.
 *
 * How a call is moved, on every instruction set: the callee finds the return
 * address that it would have found, and returns behind the bytes that left.
 * So unwinders, exceptions, backtraces and code that asks where it is see no
 * difference, and no return address leads into the copy, which may go when
 * no thread's pc is in it.  The price is a return that the CPU predicts wrong.
 * A call whose return address lies among the bytes that leave is refused: a
 * thread may be in the callee already.
 */
#ifndef LP_ISA_MOVE_H
#define LP_ISA_MOVE_H

#include "isa/isa.h"

#define LP_MOVE_FIELDS (3 * LP_MOVE_MAX) /* no instruction needs more than 3 */

struct lp_mover;

struct lp_move_rules {
	uint8_t align;	/* of instructions */
	uint8_t filler; /* between code and literals */
	bool (*decode)(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out);
	/* Writes what does at `to` what the instruction at `at` does there. */
	int (*move)(struct lp_mover *m, const uint8_t *insn, size_t len, lp_addr at);
	int (*jump)(struct lp_mover *m, lp_addr dest);
	/* Makes the field at `field`, which stands at `at`, mean `dest`, which is near. */
	void (*bind)(uint8_t *field, lp_addr at, lp_addr dest);
};

/* A field that refers to something whose place in the copy is not known yet. */
struct lp_move_field {
	uint16_t at;
	uint64_t means; /* value of a literal; or an offset from req->from */
};

struct lp_mover {
	const struct lp_move_rules *rules;
	const struct lp_move_request *req;
	struct lp_moved *out;
	struct lp_err *err;
	size_t room;
	bool full;
	bool goes_on; /* the instruction just moved is followed by what comes next; move() clears it when it has gone elsewhere */
	struct {
		uint16_t offset;
		uint8_t len;
		bool falls_through;
	} insns[LP_MOVE_MAX];
	size_t nr_insns;
	struct lp_move_field literals[LP_MOVE_FIELDS], links[LP_MOVE_FIELDS];
	size_t nr_literals, nr_links;
};

int lp_move(const struct lp_move_rules *rules, const struct lp_move_request *req, struct lp_moved *out,
	    struct lp_err *err);

/* Where the next byte will stand. */
lp_addr lp_move_here(const struct lp_mover *m);
void lp_move_put(struct lp_mover *m, const void *bytes, size_t len);
/* Is `dest` an instruction that moves along?  Then the field at offset `field` of the copy is bound to it in the end. */
bool lp_move_takes(const struct lp_mover *m, lp_addr dest);
void lp_move_link(struct lp_mover *m, size_t field, lp_addr dest);
/* The field at offset `field` shall refer to 8 bytes behind the code that hold `value`. */
void lp_move_literal(struct lp_mover *m, size_t field, uint64_t value);
/* A refusal because of the instruction at `at`. */
int lp_move_fail(struct lp_mover *m, int code, lp_addr at, const char *why);

#endif
