/*
 * Callers that know too much.
 *
 * The calling convention lets a callee change rax, rcx, xmm0 and so on, but a
 * compiler that sees a function's body need not believe that it does.  gcc -O2
 * (-fipa-ra) keeps values in such registers across a call of a function of the
 * same file that leaves them alone.  A replacement was compiled without that
 * promise: diverted to it, the caller goes on with garbage.
 *
 * Constraints.  The promise is written down nowhere; it must be read out of the
 * code as it was compiled, that is from the file, not from memory, which
 * earlier patches may have changed.  Promises are passed on: who calls the
 * function, and leaves rcx alone otherwise, has himself promised rcx to his
 * callers.  And the answer may cost little: most functions can simply be
 * jumped from.
 *
 * Mechanism.
 *
 *     risky    =  registers that the replacement may change
 *                 less those that the old function changes for certain: nobody can have relied on these
 *     wanted   =  for each direct call of the old function, those of risky that may be read behind it before they
 *                 are written; and of those that come to the caller's own return, and that it does not
 *                 change itself, what its callers want, and so on up
 *
 * Nothing wanted: a plain jump.  Else the jump goes to a few instructions that
 * keep `wanted` around a call of the replacement (isa->regs->preserve).  That
 * moves the stack, so it is unlawful when arguments lie there, and the patch is
 * refused, naming caller and registers.
 *
 * Bounds go to the safe side: "changes for certain" counts only what is seen,
 * "may change" is everything as soon as something is not seen.  A register that
 * can carry a result is only kept when the old function provably returns
 * nothing in it, for keeping it would destroy the replacement's own result.
 *
 * Not seen: calls of a known function through a register (-mcmodel=large),
 * callers in code that no file was loaded from, and a callee that is itself
 * replaced later by one that reads more of its arguments.
 */
#include "core/preserve.h"

#include <stdio.h>

#include "core/callers.h"
#include "core/functions.h"

/* ---- who wants what ---- */

/* A function whose callers shall be asked about registers. */
struct claim {
	struct lp_range entries; /* where they arrive: its entry, or anywhere in it */
	struct lp_range body;	 /* who asks itself is no caller */
	lp_regs regs;
};

struct inquiry {
	struct lp_contracts *c;
	size_t image;
	LP_VEC(struct claim) claims; /* settled ones too: none is made twice */
	lp_regs wanted;
	unsigned vector_bytes;
	struct lp_branch first; /* of those that want something */
	size_t nr_wanting;
};

/* Exceptions come out of nowhere: then it cannot be told on which ways a place is reached. */
static bool has_landing_pads(struct lp_contracts *c, size_t image)
{
	const struct lp_image *images;
	size_t nr;
	return c->p->t->ops->images(c->p->t, &images, &nr, NULL) < 0 || image >= nr || !images[image].elf ||
	       lp_elf_section_count(images[image].elf) == 0 ||
	       lp_elf_section_find(images[image].elf, ".gcc_except_table");
}

/* Whoever reads a register behind a call has put something there before it. */
static lp_regs meant(struct inquiry *q, struct lp_range caller, const struct lp_branch *b, lp_regs read)
{
	if (!read || has_landing_pads(q->c, q->image))
		return read;
	return read & q->c->isa->defined(&q->c->program.code, caller.start, b->at);
}

static void want(struct inquiry *q, const struct lp_branch *b, lp_regs regs, unsigned vector_bytes)
{
	if (!regs)
		return;
	if (!q->nr_wanting++)
		q->first = *b;
	q->wanted |= regs;
	q->vector_bytes = vector_bytes > q->vector_bytes ? vector_bytes : q->vector_bytes;
}

static void claim(struct inquiry *q, struct lp_range entries, struct lp_range body, lp_regs regs)
{
	for (size_t i = 0; i < q->claims.nr; i++)
		if (q->claims.items[i].entries.start == entries.start && q->claims.items[i].entries.end == entries.end)
			regs &= ~q->claims.items[i].regs;
	if (regs)
		lp_vec_push(&q->claims, ((struct claim){entries, body, regs}));
}

/* What the caller at this branch makes of the registers when the call is over. */
static struct lp_liveness behind(struct inquiry *q, const struct lp_branch *b, lp_regs regs)
{
	struct lp_liveness live = {.escapes = regs};
	if (b->is_call)
		q->c->isa->live(&q->c->program.code, b->end, regs, &live);
	return live;
}

static void ask_caller(struct inquiry *q, const struct lp_branch *b, lp_regs regs)
{
	struct lp_range caller;
	bool known = lp_function_around(q->c->p->t, b->at, &caller);
	struct lp_liveness live = behind(q, b, regs);
	if (!(live.read | live.escapes) || (known && !lp_caller_is_real(q->c, caller, b)))
		return;
	if (!known || q->claims.nr > LP_CONTRACT_FUNCTIONS_MAX) {
		want(q, b, live.read | live.escapes, live.vector_bytes);
		return;
	}
	unsigned width = lp_side_effects(&q->c->program, caller.start)->vector_bytes;
	want(q, b, meant(q, caller, b, live.read), live.vector_bytes > width ? live.vector_bytes : width);
	claim(q, caller, caller, live.escapes & ~lp_side_changes(&q->c->program, caller.start));
}

static void settle(struct inquiry *q, struct claim claim)
{
	lp_branch_vec callers = {0};
	lp_callers_find(q->c, q->image, claim.entries, &callers);
	for (size_t i = 0; i < callers.nr; i++)
		if (!lp_range_has(claim.body, callers.items[i].at))
			ask_caller(q, &callers.items[i], claim.regs);
	lp_vec_free(&callers);
}

static void inquire(struct inquiry *q, const struct lp_place *at, lp_regs risky)
{
	struct lp_range body = {at->addr, at->addr + (at->size ? at->size : 1)};
	claim(q, (struct lp_range){at->addr, at->addr + 1}, body, risky);
	for (size_t i = 0; i < q->claims.nr; i++)
		settle(q, q->claims.items[i]);
	lp_vec_free(&q->claims);
}

/* ---- the verdict ---- */

/* The place that is jumped from is not where a function begins: nobody calls it. */
static bool is_inside(struct lp_contracts *c, lp_addr at)
{
	struct lp_found f;
	struct lp_range around;
	bool named = lp_target_symbol_at(c->p->t, at, &f) && f.addr == at;
	return !named && lp_function_around(c->p->t, at, &around) && around.start != at;
}

static lp_regs replacement_changes(struct lp_contracts *c, const struct lp_place *to)
{
	/* What is not of this patch may itself be patched later. */
	if (to->mem == LP_NONE || !lp_side_piece(&c->patch, to->addr))
		return c->isa->all;
	return lp_side_may_change(&c->patch, to->addr);
}

static lp_regs risky_registers(struct lp_contracts *c, const struct lp_place *at, const struct lp_place *to)
{
	lp_regs risky = replacement_changes(c, to) & ~lp_side_changes(&c->program, at->addr);
	lp_regs perhaps_results =
		risky & c->isa->results ? lp_side_may_change(&c->program, at->addr) & c->isa->results : 0;
	return risky & ~perhaps_results;
}

/* The replacement is what runs behind the frame; what it does with its arguments the old function may tell, too. */
static bool may_take_stack_arguments(struct lp_contracts *c, const struct lp_place *at, const struct lp_place *to)
{
	if (!lp_side_piece(&c->program, to->addr))
		lp_contracts_add_memory(c, to->addr);
	struct lp_side *s = lp_side_piece(&c->patch, to->addr) ? &c->patch : &c->program;
	const struct lp_effects *new = lp_side_effects(s, to->addr);
	const struct lp_effects *old = lp_side_effects(&c->program, at->addr);
	return new->stack_args || (new->open && (old->stack_args || old->open));
}

static void name_registers(const struct lp_isa_regs *isa, lp_regs regs, struct lp_buf *out)
{
	for (unsigned i = 0; i < 64; i++)
		if (regs >> i & 1)
			lp_buf_printf(out, "%s%s", out->len ? " " : "", isa->name(i));
}

static int refuse(struct lp_contracts *c, const struct inquiry *q, const struct lp_place *at, const char *why,
		  struct lp_err *err)
{
	char caller[256];
	struct lp_buf names = {0};
	name_registers(c->isa, q->wanted, &names);
	int rc = lp_fail(
		err, LP_ECONTRACT,
		"%s relies on %s leaving %s alone, as the compiler saw it do; the replacement may change them, and %s. "
		"If the caller is known not to mind, `jmp --clobber` jumps all the same",
		lp_target_describe(c->p->t, q->first.at, caller, sizeof caller), at->name, lp_buf_cstr(&names), why);
	if (err) {
		err->addr = q->first.at;
		snprintf(err->function, sizeof err->function, "%.120s", at->name);
	}
	lp_buf_free(&names);
	return rc;
}

static void describe(struct lp_contracts *c, const struct inquiry *q, struct lp_keep *out)
{
	char caller[256];
	struct lp_buf text = {0};
	name_registers(c->isa, q->wanted, &text);
	lp_buf_printf(&text, " for %s", lp_target_describe(c->p->t, q->first.at, caller, sizeof caller));
	if (q->nr_wanting > 1)
		lp_buf_printf(&text, " and %zu more", q->nr_wanting - 1);
	*out = (struct lp_keep){q->wanted, q->vector_bytes, lp_strdup(lp_buf_cstr(&text))};
	lp_buf_free(&text);
}

static int judge(struct lp_contracts *c, const struct inquiry *q, const struct lp_place *at, const struct lp_place *to,
		 struct lp_keep *out, struct lp_err *err)
{
	uint8_t scratch[LP_PRESERVE_MAX];
	if (!q->wanted)
		return 0;
	if (!c->isa->preserve(scratch, 0, to->addr, q->wanted, q->vector_bytes))
		return refuse(c, q, at, "these registers cannot be saved around it", err);
	/* What the target's loader has yet to load cannot be looked at; the plan is made again when it has. */
	bool unloaded = c->p->provisional && to->mem != LP_NONE && c->p->mems.items[to->mem].file;
	if (!unloaded && may_take_stack_arguments(c, at, to))
		return refuse(c, q, at,
			      "it may take arguments on the stack, so it cannot be called with them saved there", err);
	describe(c, q, out);
	return 0;
}

int lp_keep_find(struct lp_plan *p, const struct lp_place *at, const struct lp_place *to, struct lp_keep *out,
		 struct lp_err *err)
{
	*out = (struct lp_keep){0};
	if (!p->t->isa->regs)
		return 0;
	struct lp_contracts *c = lp_contracts_of(p);
	const struct lp_piece_of_code *piece = lp_side_piece(&c->program, at->addr);
	if (!piece || is_inside(c, at->addr))
		return 0;
	struct inquiry q = {.c = c, .image = piece->image};
	lp_contracts_ask(c, to);
	inquire(&q, at, risky_registers(c, at, to));
	return judge(c, &q, at, to, out, err);
}

void lp_keep_free(struct lp_keep *k)
{
	lp_free(k->text);
}
