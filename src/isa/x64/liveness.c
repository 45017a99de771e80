/*
 * What becomes of register values: which a function may change, and which are
 * wanted behind a call.
 *
 * Constraints.  A wrong "not changed" or "not wanted" crashes somebody's
 * server; a wrong "changed" or "wanted" costs a few instructions around one
 * call.  So what cannot be seen is answered with the costly word, and every
 * walk has a bound, for the bytes may be anything.
 *
 * Mechanism.  Both walks start at an address and follow the code over all
 * paths: both sides of a branch, jumps wherever they lead (into the .cold part
 * of the function, or into another function in tail position, which then
 * returns for this one).  Calls are stepped over.
 *
 * live() carries a set of registers along.  A register that is read leaves the
 * set as wanted, one that is overwritten leaves it as dead, one that comes to a
 * return has escaped to the caller.  Each register's fate is its own, so an
 * instruction is looked at again only with registers that it has not seen: a
 * loop ends by itself.
 *
 * effects() carries the positions of the stack and the frame pointer, relative
 * to the entry, to see accesses to the caller's part of the stack.  Where two
 * paths disagree, the position is unknown from there on, and so is the answer.
 *
 * When not to use it: on code that was changed by a patch, to learn what its
 * callers were compiled against.  A `ret` to an address that the function
 * itself put on the stack (retpolines) is seen only as what it is to effects():
 * a return at a wrong stack position, and thus an open end.
 */
#include "isa/x64/liveness.h"

#include "base/bits.h"
#include "base/vec.h"
#include "isa/x64/access.h"

#define STEPS_MAX 50000	     /* instructions one walk looks at; functions beyond it are generated tables */
#define SWEEP_MAX (1u << 20) /* bytes of a function whose instructions are listed */
#define FUNCTION_ALIGNMENT 16

/* ---- a map from addresses ---- */

struct slot {
	lp_addr at;
	bool used;
	uint64_t value;
};

struct map {
	struct slot *slots;
	size_t nr, size; /* size: a power of two, or 0 */
};

static struct slot *map_probe(const struct map *m, lp_addr at)
{
	size_t i = (size_t)(at * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (m->size - 1);

	while (m->slots[i].used && m->slots[i].at != at)
		i = (i + 1) & (m->size - 1);
	return &m->slots[i];
}

static void map_grow(struct map *m)
{
	struct map bigger = {.size = m->size ? 2 * m->size : 256, .nr = m->nr};

	bigger.slots = lp_alloc(bigger.size * sizeof *bigger.slots);
	for (size_t i = 0; i < m->size; i++) {
		if (m->slots[i].used)
			*map_probe(&bigger, m->slots[i].at) = m->slots[i];
	}
	lp_free(m->slots);
	*m = bigger;
}

/* The value kept for an address; `fresh` when there was none yet.  Valid until the next call. */
static uint64_t *map_at(struct map *m, lp_addr at, bool *fresh)
{
	if (2 * m->nr >= m->size)
		map_grow(m);
	struct slot *s = map_probe(m, at);

	*fresh = !s->used;
	m->nr += *fresh;
	s->used = true;
	s->at = at;
	return &s->value;
}

static bool map_has(const struct map *m, lp_addr at)
{
	return m->size && map_probe(m, at)->used;
}

static void map_free(struct map *m)
{
	lp_free(m->slots);
}

/* ---- reading code ---- */

static bool fetch(const struct lp_code *code, lp_addr at, struct lp_x64_access *in)
{
	size_t len = 0;
	const uint8_t *bytes = code->bytes(code->arg, at, &len);

	return bytes && lp_x64_access(bytes, len < X64_INSN_MAX ? len : X64_INSN_MAX, at, in);
}

/*
 * A computed jump is a switch, as a rule, and leads to some instruction of the
 * function; compilers put nothing else between them.  Calls what() for each.
 * False when they cannot be listed.
 */
static bool each_instruction(const struct lp_code *code, lp_addr at, void (*what)(void *arg, lp_addr at), void *arg)
{
	struct lp_range f;
	size_t len;

	if (!code->function || !code->function(code->arg, at, &f) || f.end - f.start > SWEEP_MAX)
		return false;
	for (lp_addr i = f.start; i < f.end; i += len) {
		size_t known = 0;
		const uint8_t *bytes = code->bytes(code->arg, i, &known);

		len = bytes ? lp_x64_insn_length(bytes, known < f.end - i ? known : (size_t)(f.end - i), i) : 0;
		if (!len)
			return false;
		what(arg, i);
	}
	return true;
}

static unsigned wider(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* ---- live ---- */

struct errand {
	lp_addr at;
	lp_regs regs;
};

/*
 * Rides along with the registers: al may be other than 0.  A caller sets it to
 * 0 when it passes no vectors to a variadic function, and the function then
 * skips storing them.
 */
#define AL_UNKNOWN (UINT64_C(1) << 63)
_Static_assert(X64_NR_REGS < 63, "the bit is free");

struct live_walk {
	const struct lp_code *code;
	struct lp_liveness *out;
	lp_regs *read;	 /* where reads are noted: out->read, or out->if_told */
	struct map seen; /* address to what came by */
	LP_VEC(struct errand) todo;
	struct errand if_told; /* what a function does when al is not 0; regs 0: none */
	bool at_entry;	       /* straight on from the start, and rax unwritten */
	bool tested;	       /* the instruction before was test %al,%al */
	size_t steps;
};

/* What of the registers is news at this address; all of them when the news is about al. */
static lp_regs arrive(struct live_walk *w, lp_addr at, lp_regs regs)
{
	bool fresh;
	uint64_t *seen = map_at(&w->seen, at, &fresh);

	regs &= ~*w->read;
	lp_regs news = regs & ~*seen & AL_UNKNOWN ? regs : regs & ~*seen;

	*seen |= news;
	return news & X64_ALL ? news : 0;
}

static lp_regs over_call(struct live_walk *w, lp_addr entry, lp_addr through, lp_regs regs)
{
	struct lp_callee c = w->code->callee(w->code->arg, entry, through);

	if (regs & AL_UNKNOWN)
		c.reads |= c.if_told;
	*w->read |= regs & c.reads;
	return (regs & ~c.reads & ~c.kills) | AL_UNKNOWN;
}

static lp_regs al_after(const struct lp_x64_access *in, lp_regs regs)
{
	if (in->zeroes_rax)
		return regs & ~AL_UNKNOWN;
	return in->writes & X64_BIT(X64_RAX) ? regs | AL_UNKNOWN : regs;
}

/* A variadic function's prologue: test %al,%al; je.  What lies between there and the target is for later. */
static bool is_vector_guard(struct live_walk *w, const struct lp_x64_access *in)
{
	bool guard = w->at_entry && w->tested && in->flow == X64_BRANCH && in->skips_if_zero;

	w->tested = in->tests_al;
	w->at_entry = w->at_entry && in->flow == X64_NEXT && !(in->writes & X64_BIT(X64_RAX));
	return guard;
}

struct anywhere {
	struct live_walk *w;
	lp_regs regs;
};

static void go_there(void *arg, lp_addr at)
{
	struct anywhere *a = arg;

	lp_vec_push(&a->w->todo, ((struct errand){at, a->regs}));
}

/* Behind a computed jump.  It may as well be a call in tail position. */
static void live_anywhere(struct live_walk *w, lp_addr at, lp_regs regs)
{
	struct anywhere a = {w, regs};

	if (!each_instruction(w->code, at, go_there, &a))
		*w->read |= regs & X64_ALL;
	w->out->escapes |= over_call(w, 0, 0, regs) & X64_ALL;
}

/* One instruction; returns the registers that go on at *at, none when the path ends. */
static lp_regs follow(struct live_walk *w, const struct lp_x64_access *in, lp_addr *at, lp_regs regs)
{
	*w->read |= regs & in->reads;
	w->out->vector_bytes = wider(w->out->vector_bytes, in->vector_bytes);
	regs = al_after(in, regs & ~(in->reads | in->kills));
	*at += in->len;
	switch (in->flow) {
	case X64_NEXT:
		return regs;
	case X64_JUMP:
		*at = in->target;
		return regs;
	case X64_BRANCH:
		lp_vec_push(&w->todo, ((struct errand){in->target, regs}));
		return regs;
	case X64_CALL:
		return over_call(w, in->target, 0, regs);
	case X64_CALL_UNKNOWN:
		return over_call(w, 0, in->slot, regs);
	case X64_JUMP_THROUGH:
		w->out->escapes |= over_call(w, 0, in->slot, regs) & X64_ALL;
		return 0;
	case X64_JUMP_COMPUTED:
		live_anywhere(w, *at - in->len, regs);
		return 0;
	case X64_RETURN:
		w->out->escapes |= regs & X64_ALL;
		return 0;
	case X64_STOP:
		return 0;
	}
	return 0;
}

static void live_path(struct live_walk *w, lp_addr at, lp_regs regs)
{
	struct lp_x64_access in;

	while ((regs = arrive(w, at, regs))) {
		if (++w->steps > STEPS_MAX || !fetch(w->code, at, &in)) {
			*w->read |= regs & X64_ALL;
			return;
		}
		bool guard = is_vector_guard(w, &in);

		regs = follow(w, &in, &at, regs);
		if (guard) {
			w->if_told = (struct errand){at, regs};
			w->todo.items[w->todo.nr - 1].regs &= ~(X64_VECTORS & X64_ARGUMENTS); /* al 0: none came */
			return;
		}
	}
}

static void live_paths(struct live_walk *w)
{
	while (w->todo.nr) {
		struct errand e = w->todo.items[--w->todo.nr];

		live_path(w, e.at, e.regs);
		w->at_entry = w->tested = false;
	}
}

void lp_x64_live(const struct lp_code *code, lp_addr from, lp_regs among, struct lp_liveness *out)
{
	struct live_walk w = {.code = code, .out = out, .read = &out->read, .at_entry = true};

	*out = (struct lp_liveness){0};
	lp_vec_push(&w.todo, ((struct errand){from, among | AL_UNKNOWN}));
	live_paths(&w);
	if (w.if_told.regs) {
		w.read = &out->if_told;
		lp_vec_push(&w.todo, ((struct errand){w.if_told.at, w.if_told.regs & ~out->read}));
		live_paths(&w);
	}
	map_free(&w.seen);
	lp_vec_free(&w.todo);
}

/* ---- defined ---- */

struct defined_walk {
	const struct lp_code *code;
	struct map seen; /* address to the registers that may be defined there */
	LP_VEC(struct errand) todo;
	size_t steps;
	bool lost; /* not all of the code was found */
};

/* False when nothing is new; *regs becomes what may be defined here on any way. */
static bool meet(struct defined_walk *w, lp_addr at, lp_regs *regs)
{
	bool fresh;
	uint64_t *seen = map_at(&w->seen, at, &fresh);

	if (!fresh && !(*regs & ~*seen))
		return false;
	*regs = *seen |= *regs;
	return true;
}

static lp_regs defined_after(struct defined_walk *w, const struct lp_x64_access *in, lp_regs regs)
{
	if (in->flow == X64_CALL || in->flow == X64_CALL_UNKNOWN) {
		struct lp_callee c = w->code->callee(w->code->arg, in->flow == X64_CALL ? in->target : 0, in->slot);

		return (regs & ~c.kills) | X64_RESULTS;
	}
	return regs | in->writes;
}

struct defined_errand {
	struct defined_walk *w;
	lp_regs regs;
};

static void define_there(void *arg, lp_addr at)
{
	struct defined_errand *d = arg;

	lp_vec_push(&d->w->todo, ((struct errand){at, d->regs}));
}

static void defined_anywhere(struct defined_walk *w, lp_addr at, lp_regs regs)
{
	struct defined_errand d = {w, regs};

	w->lost |= !each_instruction(w->code, at, define_there, &d);
}

static void defined_path(struct defined_walk *w, lp_addr at, lp_regs regs)
{
	struct lp_x64_access in;

	while (meet(w, at, &regs)) {
		if (++w->steps > STEPS_MAX || !fetch(w->code, at, &in)) {
			w->lost = true;
			return;
		}
		regs = defined_after(w, &in, regs);
		at += in.len;
		if (in.flow == X64_BRANCH)
			lp_vec_push(&w->todo, ((struct errand){in.target, regs}));
		else if (in.flow == X64_JUMP)
			at = in.target;
		if (in.flow == X64_JUMP_COMPUTED)
			defined_anywhere(w, at - in.len, regs);
		if (in.flow == X64_JUMP_COMPUTED || in.flow == X64_JUMP_THROUGH || in.flow == X64_RETURN ||
		    in.flow == X64_STOP)
			return;
	}
}

lp_regs lp_x64_defined(const struct lp_code *code, lp_addr entry, lp_addr place)
{
	struct defined_walk w = {.code = code};
	bool fresh;

	lp_vec_push(&w.todo, ((struct errand){entry, X64_ARGUMENTS}));
	while (w.todo.nr && !w.lost) {
		struct errand e = w.todo.items[--w.todo.nr];

		defined_path(&w, e.at, e.regs);
	}
	lp_regs found = *map_at(&w.seen, place, &fresh);

	map_free(&w.seen);
	lp_vec_free(&w.todo);
	return w.lost || fresh ? X64_ALL : found;
}

/* ---- effects ---- */

/* A position on the stack relative to the entry, where the return address is at 0. */
struct position {
	int64_t at;
	enum {
		KNOWN,
		LOWER, /* somewhere below the function's own data */
		PLAIN, /* rbp: not a stack position at all */
		UNKNOWN,
	} how;
};

struct frame {
	struct position sp, bp;
};

struct visit {
	lp_addr at;
	struct frame frame;
};

struct effects_walk {
	const struct lp_code *code;
	struct lp_effects *out;
	lp_addr entry;
	struct map seen; /* address to index into visits */
	LP_VEC(struct visit) visits;
	LP_VEC(struct visit) todo;
	LP_VEC(struct visit) switches; /* computed jumps; the way goes on in the arms */
	lp_regs to_stack, from_stack;
	size_t steps;
};

static bool same(struct position a, struct position b)
{
	return a.how == b.how && a.at == b.at;
}

static struct position join(struct position a, struct position b)
{
	return same(a, b) ? a : (struct position){0, UNKNOWN};
}

static struct position moved(struct position p, int64_t by)
{
	/* Hostile code moves it without end. */
	if (p.how == LOWER)
		return p;
	if (p.how != KNOWN || __builtin_add_overflow(p.at, by, &p.at))
		return (struct position){0, UNKNOWN};
	return p;
}

/* False when nothing is new here.  Where paths meet, *f becomes what holds on all of them. */
static bool enter(struct effects_walk *w, lp_addr at, struct frame *f)
{
	bool fresh;
	uint64_t *index = map_at(&w->seen, at, &fresh);

	if (fresh) {
		*index = w->visits.nr;
		lp_vec_push(&w->visits, ((struct visit){at, *f}));
		return true;
	}
	struct frame *old = &w->visits.items[*index].frame;
	struct frame both = {join(old->sp, f->sp), join(old->bp, f->bp)};

	if (same(both.sp, old->sp) && same(both.bp, old->bp))
		return false;
	*f = *old = both;
	return true;
}

static struct frame after(const struct lp_x64_access *in, struct frame f)
{
	switch (in->stack) {
	case X64_STACK_SAME:
		break;
	case X64_STACK_MOVES:
		f.sp = moved(f.sp, in->stack_by);
		break;
	case X64_STACK_FRAME:
		f.bp = f.sp;
		break;
	case X64_STACK_LEAVE:
		f.sp = moved(f.bp, in->stack_by);
		break;
	case X64_STACK_LOWER:
		f.sp = (struct position){0, f.sp.how == KNOWN ? LOWER : f.sp.how};
		break;
	case X64_STACK_LOST:
		f.sp = (struct position){0, UNKNOWN};
		break;
	}
	if (in->pops_frame || in->loses_frame)
		f.bp = (struct position){0, PLAIN};
	return f;
}

/*
 * Does this access reach the caller's part of the stack, [entry + 8 ...)?  A
 * base below it points to the function's own data, also when an index is
 * added.
 */
static bool reaches_arguments(const struct lp_x64_access *in, const struct frame *f)
{
	if (in->copies_sp)
		return f->sp.how == UNKNOWN || (f->sp.how == KNOWN && f->sp.at >= 0);
	if (in->base == X64_BASE_NONE)
		return false;
	struct position p = in->base == X64_BASE_SP ? f->sp : f->bp;

	if (p.how == KNOWN)
		p = moved(p, in->disp);
	return p.how == UNKNOWN || (p.how == KNOWN && p.at >= 8);
}

/* The return address may be changed: then the function does not go back to its caller. */
static bool redirects(const struct lp_x64_access *in, const struct frame *f)
{
	if (in->base != X64_BASE_SP || !in->writes_memory || f->sp.how == LOWER)
		return false;
	struct position p = moved(f->sp, in->disp);

	return p.how == UNKNOWN || p.at > -8;
}

static bool returns_elsewhere(const struct lp_x64_access *in, const struct frame *f)
{
	return in->flow == X64_RETURN && (f->sp.how != KNOWN || f->sp.at != 0);
}

static void note_call(struct effects_walk *w, const struct lp_x64_access *in)
{
	if (in->target == w->entry)
		return;
	for (size_t i = 0; i < w->out->calls.nr; i++) {
		if (w->out->calls.items[i] == in->target)
			return;
	}
	lp_vec_push(&w->out->calls, in->target);
}

static void note_effects(struct effects_walk *w, const struct lp_x64_access *in, const struct frame *f)
{
	w->out->writes |= in->writes;
	w->out->soils |= in->soils;
	w->out->vector_bytes = wider(w->out->vector_bytes, in->vector_bytes);
	w->to_stack |= in->to_stack;
	w->from_stack |= in->from_stack;
	w->out->stack_args |= reaches_arguments(in, f);
	w->out->open |= redirects(in, f) || returns_elsewhere(in, f);
	if (in->flow == X64_CALL)
		note_call(w, in);
	if (in->flow == X64_CALL_UNKNOWN || in->flow == X64_JUMP_THROUGH)
		w->out->leaves = true;
}

/* The next function: reached only if a call that does not return did. */
static bool runs_out(const struct effects_walk *w, const struct lp_x64_access *in, lp_addr next)
{
	bool likely = in->flow == X64_CALL || in->flow == X64_CALL_UNKNOWN || next % FUNCTION_ALIGNMENT == 0;
	struct lp_range f;

	return likely && w->code->function && w->code->function(w->code->arg, next, &f) && f.start == next;
}

/* With the frame down, or none at all, it may be a call in tail position; else it is a switch. */
static void note_computed_jump(struct effects_walk *w, lp_addr at, struct frame f)
{
	w->out->open |= f.sp.how != KNOWN || f.sp.at == 0;
	lp_vec_push(&w->switches, ((struct visit){at, f}));
}

/* Looks at one instruction; false when the path ends, else *at is where it goes on. */
static bool pass(struct effects_walk *w, lp_addr *at, struct frame *f)
{
	struct lp_x64_access in;

	if (++w->steps > STEPS_MAX || !fetch(w->code, *at, &in)) {
		w->out->open = true;
		return false;
	}
	note_effects(w, &in, f);
	*f = after(&in, *f);
	*at += in.len;
	switch (in.flow) {
	case X64_BRANCH:
		lp_vec_push(&w->todo, ((struct visit){in.target, *f}));
		break;
	case X64_JUMP:
		*at = in.target;
		return true;
	case X64_JUMP_COMPUTED:
		note_computed_jump(w, *at - in.len, *f);
		return false;
	case X64_JUMP_THROUGH:
	case X64_RETURN:
	case X64_STOP:
		return false;
	case X64_NEXT:
	case X64_CALL:
	case X64_CALL_UNKNOWN:
		break;
	}
	return !runs_out(w, &in, *at);
}

static void effects_path(struct effects_walk *w, struct visit v)
{
	lp_addr at = v.at;

	while (enter(w, at, &v.frame)) {
		if (!pass(w, &at, &v.frame))
			return;
	}
}

static void effects_paths(struct effects_walk *w)
{
	while (w->todo.nr)
		effects_path(w, w->todo.items[--w->todo.nr]);
}

struct arms {
	struct effects_walk *w;
	struct frame frame;
};

/* What no other way has led to is an arm of the switch. */
static void visit_arm(void *arg, lp_addr at)
{
	struct arms *a = arg;

	if (map_has(&a->w->seen, at))
		return;
	lp_vec_push(&a->w->todo, ((struct visit){at, a->frame}));
	effects_paths(a->w);
}

/* Arms may hold switches in turn. */
static void visit_switches(struct effects_walk *w)
{
	for (size_t i = 0; i < w->switches.nr; i++) {
		struct visit v = w->switches.items[i];
		struct arms a = {w, v.frame};

		w->out->open |= !each_instruction(w->code, v.at, visit_arm, &a);
	}
}

void lp_x64_effects(const struct lp_code *code, lp_addr entry, struct lp_effects *out)
{
	struct effects_walk w = {.code = code, .out = out, .entry = entry};

	*out = (struct lp_effects){0};
	lp_vec_push(&w.todo, ((struct visit){entry, {{0, KNOWN}, {0, PLAIN}}}));
	effects_paths(&w);
	visit_switches(&w);
	out->restored = w.to_stack & w.from_stack & out->writes;
	map_free(&w.seen);
	lp_vec_free(&w.visits);
	lp_vec_free(&w.todo);
	lp_vec_free(&w.switches);
}

const struct lp_isa_regs lp_x64_regs = {
	.all = X64_ALL,
	.arguments = X64_ARGUMENTS,
	.results = X64_RESULTS,
	.name = lp_x64_reg_name,
	.effects = lp_x64_effects,
	.live = lp_x64_live,
	.defined = lp_x64_defined,
	.preserve = lp_x64_preserve,
};
