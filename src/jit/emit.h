/*
 * One guest instruction becomes host code: what the functions that do so (emit_*.c) have at hand.
 *
 *     static bool add_reg(struct lp_tr *t, uint32_t word)
 *     {
 *             if (F(shift) == LP_ROR)
 *                     return false;                   // nothing has been written yet: the interpreter's function
 *             unsigned n = lp_x_read(t, lp_reads(F(Rn)), LP_RAX);
 *             ...
 *             return true;
 *     }
 *
 * Rules:
 *   - false only before anything was written or changed; the instruction is then left to the interpreter's function.
 *   - A fault is the whole instruction's: touch guest memory first, write guest registers after the last access.
 *   - EFLAGS may hold the guest's flags.  Before the first host instruction that writes EFLAGS: lp_flags_clobber(t), which
 *     may use rax itself.
 *     lea, mov, shlx, rorx, not, bswap, vector moves and the like do not.
 *   - Jumps to cold code come behind the instruction's last lp_v_read() and before its first lp_v_write().
 *   - rax, rcx, rdx are free, and xmm13 to xmm15 (LP_V_SCRATCH + 0 to 2); with AVX-512 also xmm16 and xmm17.
 *   - With AVX-512 lp_v_read() and the like may give registers above xmm15.  Where one has no place in an encoding, the encoder
 *     says so (x.out_of_reach), and the function is called once more and given others (translate.c).
 *   - A number that would be another if the guest's code, or something of ours, were elsewhere goes through
 *     lp_x86_mov_address(), lp_x_write_address() or lp_x86_mov_pointer(): the translation may be kept for another day (cache.h).
 *   - 31 is what lp_reads(), lp_writes() (emu/hot.h) or "is SP" make of it: LP_ZR, LP_SINK, LP_SP.
 */
#ifndef LP_JIT_EMIT_H
#define LP_JIT_EMIT_H

#include <stddef.h>

#include "isa/a64/table.h"
#include "jit/private.h"

/* ---- the cpu in memory ---- */

/* rbp points there, so that what is not pinned of x[] and what follows it is within a displacement of one byte. */
enum { LP_CPU_BIAS_X = 22 };
#define LP_CPU_BIAS ((int32_t)offsetof(struct lp_cpu, x[LP_CPU_BIAS_X]))
#define LP_CPU(member) lp_rm_mem(LP_RBP, (int32_t)offsetof(struct lp_cpu, member) - LP_CPU_BIAS)
static inline struct lp_x86_rm lp_cpu_x(unsigned r)
{
	return lp_rm_mem(LP_RBP, ((int32_t)r - LP_CPU_BIAS_X) * 8);
}
static inline struct lp_x86_rm lp_cpu_v(unsigned r)
{
	return lp_rm_mem(LP_RBP, (int32_t)(offsetof(struct lp_cpu, vr) + r * 16) - LP_CPU_BIAS);
}

/* What no guest's return address is. */
enum { LP_SHADOW_NOWHERE = 1 };

/* ---- a translation under way ---- */

/* Where the guest's flags are, and how EFLAGS stands for them. */
enum lp_flags {
	LP_FLAGS_IN_MEMORY,
	LP_FLAGS_SUB,	 /* C is the opposite of CF */
	LP_FLAGS_ADD,	 /* C is CF; also of logical instructions */
	LP_FLAGS_FP,	 /* of ucomis n, m */
	LP_FLAGS_FP_BACK /* of ucomis m, n */
};

struct lp_tr;
struct lp_cold;
typedef bool lp_emit_fn(struct lp_tr *t, uint32_t word);
typedef void lp_cold_fn(struct lp_tr *t, const struct lp_cold *c);

enum { LP_COLD_MAX = 4 * LP_REGION_MAX, LP_V_NOTES = 16 * LP_REGION_MAX };

/* Host registers that hold guest registers: those below LP_V_SCRATCH, and with AVX-512 those from LP_V_HIGH on, which only
 * instructions with an EVEX encoding have for operands (LP_V_HIGH - 1 and - 2: scratch of a few). */
enum {
	LP_V_SCRATCH = 13,
	LP_V_SPREAD = 16,
	LP_V_HIGH = 18,
	LP_V_SWAP = 31,
	LP_NR_V_HOST = LP_V_SWAP,
	LP_V_NOT_FOR_USE = -2
};

/* What is seldom executed stands behind the unit's code. */
struct lp_cold {
	lp_cold_fn *emit;
	struct lp_x86_fixup from[2]; /* jumps that lead here; next is NULL: none */
	uint8_t *back;		     /* where to go on, if it does */
	unsigned i;		     /* the instruction */
	enum lp_flags flags;
	bool flags_kept;
	uint32_t v_loaded, v_dirty, v_written, v_is_s, v_is_d, v_cut_s, v_cut_d;
	int8_t v_of[LP_NR_V_HOST];
	uint64_t arg, arg2;
};

struct lp_insn {
	uint32_t word;
	uint16_t op;
	bool flags_live; /* what the flags are behind it matters, when its branch is not taken */
	bool exit_live;	 /* and where its branch goes */
	bool is_taken;	 /* the instruction before it has done this one as well */
	/* Of regions: */
	bool is_in;	     /* part of it; those that are not lie between */
	bool is_leader;	     /* branches come here, or the region is entered here */
	bool is_head;	     /* some come back: the thread is asked whether anybody wants it */
	bool inherits;	     /* one forward branch alone comes here: flags stay in EFLAGS */
	bool asked;	     /* what the flags are before it matters to an instruction */
	bool live;	     /* or to who looks at a fault as well */
	uint16_t weight;     /* how often it is executed, against others */
	uint8_t nr_behind;   /* instructions that follow on it in a straight line */
	enum lp_flags flags; /* of one that inherits */
	bool flags_kept;
	const uint8_t *code; /* of a leader, once it is emitted */
};

/* A jump to a leader that is still to come. */
struct lp_pending {
	unsigned leader;
	struct lp_x86_fixup from;
};
enum { LP_PENDING_MAX = 2 * LP_REGION_MAX };

struct lp_tr {
	struct lp_x86 x;
	struct lp_jit *jit;
	uint64_t start, pc; /* of the unit, and of the instruction */
	unsigned i, nr;
	bool end_live;
	enum lp_flags flags;
	bool flags_kept; /* the memory has them as well */
	bool is_loop, has_ended;
	bool is_verified;     /* compares the guest's words with those that were translated, first of all */
	uint8_t *code, *head; /* the begin; where the loop goes back to */
	bool in_cold;

	/* The host register that guest register r (0 to 33) lives in; -1: memory. */
	int8_t pin[LP_NR_X];

	/* A region: several blocks, and registers where they are best for it (region.c, region_registers.c). */
	bool is_region;
	unsigned entry;		  /* where it is entered */
	uint32_t x_uses[LP_NR_X]; /* how often instructions asked for it, by their weights */
	uint32_t x_cost;	  /* what it costs to have one elsewhere than always */
	unsigned nr_pending;

	/* Vector registers live in memory, and host registers have copies; of those that are dirty the copy alone is right.
	 * v_host: which; -1: none. */
	int8_t v_host[32];
	int8_t v_of[LP_NR_V_HOST]; /* -1: free; LP_V_NOT_FOR_USE */
	uint32_t v_loaded;	   /* bit of the guest's register: the copy is there */
	uint32_t v_dirty;	   /* all 128 bits of the copy are newer than the memory */
	uint32_t v_used;	   /* asked for at all */
	uint32_t v_in_loop;	   /* those that the loop has in registers at its head */
	uint32_t v_dirty_in_loop;  /* of those: written somewhere in the loop, so that they are dirty at its head */
	int8_t v_place[32];	   /* the host register that it has at the head; -1: none */
	uint32_t v_is_s, v_is_d;   /* known to have nothing but zeros above 32, 64 bits */
	uint32_t v_cut_s, v_cut_d; /* the copy has, whatever the guest's register has there */
	uint32_t v_written, v_written_in_loop;
	uint8_t v_at_head[32]; /* how many bits of it the loop wants at its head; 0: it is written first */
	/* Those that may have other than zeros above 32, 64 bits where the loop goes back, and those of which it wants no more
	 * at its head though it writes them: they have zeros there. */
	uint32_t v_wide_s, v_wide_d, v_narrow_s, v_narrow_d;
	unsigned v_turn, v_when[LP_NR_V_HOST];
	bool v_fixed, v_forgot;
	bool v_low_only;      /* the instruction takes what is below LP_V_SCRATCH only */
	uint32_t v_wants_low; /* registers that such instructions asked for */
	int v_spread;	      /* the one that LP_V_SPREAD has something of; -1: none */
	bool v_spread_upper;
	int v_rounds; /* the one that with v_rounds_y is what rounds of SHA-256 left in scratch, in the host's order; -1: none */
	int v_rounds_y;
	/* Of the current instruction: what it has read; whose destination it has asked for, and what that is; host registers
	 * that are such destinations and nobody's yet; whose old value has been copied elsewhere. */
	uint32_t v_read, v_asked, v_taken, v_copied;
	uint8_t v_new[32];
	unsigned nr_v_notes;

	unsigned nr_cold;
	char *kept; /* where uops[] will be */
	struct lp_unit *unit;
	unsigned nr_uops;
	unsigned nr_looked;
	bool failed; /* something ran out */

	/* Of a unit that may be kept for another day: where it is from, and what its code refers to (cache.c). */
	unsigned image;
	struct lp_x86_ref *refs;       /* LP_UNIT_REFS */
	struct lp_unit_ref *unit_refs; /* the same */
	unsigned nr_unit_refs;

	/* What is only ever appended to, and is counted above; and the instructions. */
	struct lp_cold cold[LP_COLD_MAX];
	uint32_t v_notes[LP_V_NOTES]; /* as a unit has them */
	struct lp_pending pending[LP_PENDING_MAX];
	struct lp_uop uops[2 * LP_REGION_MAX];
	uint32_t offsets[LP_REGION_MAX];
	uint8_t flags_at[LP_REGION_MAX];
	struct lp_look looked[LP_REGION_LOOKED];
	struct lp_insn insns[LP_REGION_MAX];
};

/* The next instruction is executed by this one's code; it cannot be entered but through this one. */
static inline void lp_tr_took_next(struct lp_tr *t)
{
	t->insns[t->i + 1].is_taken = true;
}

/* Loads and stores (DDI 0487 C4.1): where they fault somebody may look at all registers. */
static inline bool lp_may_fault(uint32_t word)
{
	return (word & 0x0a000000) == 0x08000000;
}

/* Behind instruction i there is another one, to which one comes from it alone. */
static inline bool lp_tr_goes_on(const struct lp_tr *t, unsigned i)
{
	return i + 1 < t->nr && (!t->is_region || (t->insns[i + 1].is_in && !t->insns[i + 1].is_leader));
}

/* A field of the instruction `word`. */
#define F(name) lp_a64_field_##name(word)

/* One table in each file of functions, up to {0}; what is in none is the interpreter's.  Rows, as an array by op would be empty for
 * the most part, and the dynamic linker's work for nothing. */
struct lp_emit_row {
	enum lp_a64_op op;
	lp_emit_fn *emit;
};
extern const struct lp_emit_row lp_emit_integer[];
extern const struct lp_emit_row lp_emit_branch[];
extern const struct lp_emit_row lp_emit_memory[];
extern const struct lp_emit_row lp_emit_vector_memory[];
extern const struct lp_emit_row lp_emit_atomic[];
extern const struct lp_emit_row lp_emit_fp[];
extern const struct lp_emit_row lp_emit_fp_convert[];
extern const struct lp_emit_row lp_emit_fp_vector[];
extern const struct lp_emit_row lp_emit_simd_across[];
extern const struct lp_emit_row lp_emit_simd_move[];
extern const struct lp_emit_row lp_emit_simd_same[];
extern const struct lp_emit_row lp_emit_simd_saturate[];
extern const struct lp_emit_row lp_emit_simd_shift[];
extern const struct lp_emit_row lp_emit_simd_wide[];
extern const struct lp_emit_row lp_emit_crypto[];
extern const struct lp_emit_row lp_emit_struct[];

/* ---- general registers ---- */

/* Where guest registers are whenever one goes from unit to unit, as in lp_tr.pin. */
extern const int8_t lp_pin[LP_NR_X];

static inline void lp_x_count(struct lp_tr *t, unsigned r)
{
	t->x_uses[r] += t->insns[t->i].weight;
}
/* As an operand to be read, or written in all its 64 bits. */
static inline struct lp_x86_rm lp_x_rm(struct lp_tr *t, unsigned r)
{
	lp_x_count(t, r);
	return t->pin[r] >= 0 ? lp_rm_reg((unsigned)t->pin[r]) : lp_cpu_x(r);
}
/* In a register: its own, or `scratch`, to which it is loaded.  Not to be changed. */
static inline unsigned lp_x_read(struct lp_tr *t, unsigned r, unsigned scratch)
{
	lp_x_count(t, r);
	if (t->pin[r] >= 0)
		return (unsigned)t->pin[r];
	if (r == LP_ZR)
		lp_x86_mov_imm32(&t->x, scratch, 0);
	else
		lp_x86_mov(&t->x, 1, scratch, lp_cpu_x(r));
	return scratch;
}
/* A copy in that register, to be changed; w 0: the upper half is zero. */
static inline void lp_x_copy(struct lp_tr *t, unsigned w, unsigned r, unsigned to)
{
	if (r == LP_ZR)
		lp_x86_mov_imm32(&t->x, to, 0);
	else
		lp_x86_mov(&t->x, w, to, lp_x_rm(t, r));
}
/* The register in which a result for r is best computed: its own, or `scratch`. */
static inline unsigned lp_x_dest(const struct lp_tr *t, unsigned r, unsigned scratch)
{
	return t->pin[r] >= 0 ? (unsigned)t->pin[r] : scratch;
}
/* `from`, all 64 bits, is the new value of r. */
static inline void lp_x_write(struct lp_tr *t, unsigned r, unsigned from)
{
	lp_x_count(t, r);
	if (t->pin[r] >= 0) {
		if ((unsigned)t->pin[r] != from)
			lp_x86_mov(&t->x, 1, (unsigned)t->pin[r], lp_rm_reg(from));
	} else if (r != LP_SINK) {
		lp_x86_mov_to(&t->x, 1, lp_cpu_x(r), from);
	}
}
/* So is a constant; rax may be used. */
void lp_x_write_imm(struct lp_tr *t, unsigned r, uint64_t value);
/* So is an address that is so far from pc: it would be another one if the code were elsewhere. */
void lp_x_write_address(struct lp_tr *t, unsigned r, uint64_t address);

/* Translated code runs only while sp is aligned to 16 bytes, and so checks no access.  The instruction has written
 * something to sp that may not be: checked here, at its end. */
void lp_sp_changed(struct lp_tr *t);

/* ---- vector registers ---- */

/* The host register with all 128 bits of v: not to be changed. */
unsigned lp_v_read(struct lp_tr *t, unsigned v);
/* The same where only the lower 32 or 64 bits are asked for: others may stand above them, or zeros. */
unsigned lp_v_read_bits(struct lp_tr *t, unsigned v, unsigned bits);
/* Where a result for v is best computed, if its old value is not asked for any more by then: of no meaning until lp_v_write().
 * The old value is kept somewhere for a fault and for cold code. */
unsigned lp_v_dest(struct lp_tr *t, unsigned v);
/* The same where that is to be what lp_v_read() has given: it is a copy of the old value that is kept. */
unsigned lp_v_dest_in_place(struct lp_tr *t, unsigned v);
/* The same where no cold code and no fault will ask for it: all jumps to cold code have been emitted, and all accesses to guest
 * memory but the host instruction that loads this register. */
unsigned lp_v_dest_last(struct lp_tr *t, unsigned v);
/* The next instruction begins. */
void lp_v_next(struct lp_tr *t);
/* Only with that feature (LP_HOST_...) the instruction is one for all host registers. */
void lp_v_low_unless(struct lp_tr *t, unsigned feature);
/* LP_V_SPREAD has every lane of 32 bits of v's lower half, or its upper one, twice: if it had not, it is written. */
void lp_v_spread(struct lp_tr *t, unsigned v, unsigned host, bool upper);
/* No host register has any. */
void lp_v_empty(struct lp_tr *t);
/* An instruction that has vectors may be given host registers from LP_V_HIGH on. */
bool lp_v_may_be_high(const struct lp_tr *t, uint32_t word);
/* Where branches of a region come together: what all of them bring. */
void lp_v_meet(struct lp_tr *t);
/* Nothing is to be loaded before one goes there. */
bool lp_v_is_met(const struct lp_tr *t);
/* Before anything: loads the registers of a loop. */
void lp_v_preload(struct lp_tr *t);
/* The same unit is translated again, with the registers of the loop where they are now. */
void lp_v_fix(struct lp_tr *t);
/* At the end of a loop: everything is again where it was at its head, or in memory. */
void lp_v_loop(struct lp_tr *t);
/* All 128 bits of `from` are the new value of v. */
void lp_v_write(struct lp_tr *t, unsigned v, unsigned from);
/* They are: so many bits (32, 64 or 128), and zeros above them. */
void lp_v_write_bits(struct lp_tr *t, unsigned v, unsigned from, unsigned bits);
/* Whether v, as it is in its host register, is known to have zeros above so many bits. */
bool lp_v_is_zero_above(const struct lp_tr *t, unsigned v, unsigned bits);
/* The memory has it, now that parts of it are operands. */
bool lp_v_is_stored(const struct lp_tr *t, unsigned v);
/* The memory has it as well from here on: for operands there. */
void lp_v_store(struct lp_tr *t, unsigned v);
/* Stores what is dirty: before everything that leaves the unit or calls C.  EFLAGS stay. */
void lp_v_flush(struct lp_tr *t);
/* In cold code that executes the instruction anew: stores what was dirty where it was come from. */
void lp_v_flush_cold(struct lp_tr *t, const struct lp_cold *c);
/* Functions of C have overwritten all xmm registers, or guest registers were changed in memory; nothing is dirty. */
void lp_v_forget(struct lp_tr *t);
/* Which registers were dirty, and where, at an offset in the code. */
struct lp_v_dirty {
	uint32_t mask;
	uint8_t host[32];
};
void lp_v_dirty_at(const uint32_t *notes, unsigned nr, uint32_t offset, struct lp_v_dirty *out);
/* Of notes that come from elsewhere: no host register in them is one that there is not. */
bool lp_v_notes_are_good(const uint32_t *notes, unsigned nr);
/* In cold code: host registers as they were where it was left. */
void lp_v_set_hosts(struct lp_tr *t, const int8_t v_of[LP_NR_V_HOST]);
/* In cold code that called C and goes back: registers as they were where it was left. */
void lp_v_restore(struct lp_tr *t, const struct lp_cold *c);

/* 16 bytes in memory, as an operand; their lower part is one too. */
struct lp_x86_rm lp_constant(struct lp_tr *t, uint64_t low, uint64_t high);

/* The copy of v where there is one already, else memory: for what reads so many bits of it once. */
struct lp_x86_rm lp_v_rm(struct lp_tr *t, unsigned v, unsigned bits);

/* ---- flags (flags.c) ---- */

/* While translated code runs, cpu->jit.flags has N, Z, C and V as the host has them after a subtraction: C inverted in
 * bit 8, Z in bit 14, N in bit 15 (as lahf puts them), V in bit 0.  The rest is of no meaning. */
enum { LP_FLAG_V = 1 << 0, LP_FLAG_NOT_C = 1 << 8, LP_FLAG_Z = 1 << 14, LP_FLAG_N = 1 << 15 };
static inline uint32_t lp_flags_of_nzcv(unsigned nzcv)
{
	return (nzcv & 8 ? LP_FLAG_N : 0U) | (nzcv & 4 ? LP_FLAG_Z : 0U) | (nzcv & 2 ? 0U : LP_FLAG_NOT_C) | (nzcv & 1);
}
/* To where C has them, and back; uses rcx, rdx and EFLAGS. */
void lp_flags_to_c(struct lp_x86 *x);
void lp_flags_from_c(struct lp_x86 *x);
/* EFLAGS is about to be overwritten: what is wanted of it is put into memory. */
void lp_flags_clobber(struct lp_tr *t);
/* EFLAGS has been written by the instruction: these are the guest's flags now. */
static inline void lp_flags_are(struct lp_tr *t, enum lp_flags flags)
{
	t->flags = flags;
	t->flags_kept = false;
}
/* Flags as a fault found them in EFLAGS, or in memory. */
void lp_flags_set_from(struct lp_cpu *cpu, enum lp_flags kind, uint64_t eflags);
/* Puts EFLAGS into memory; EFLAGS stays.  Uses rax. */
void lp_flags_keep(struct lp_tr *t);

/* How a condition is asked of EFLAGS: cc, and then perhaps parity. */
enum lp_parity { LP_PARITY_NO_MATTER, LP_PARITY_AND_NOT, LP_PARITY_OR };
struct lp_test {
	enum lp_x86_cc cc;
	enum lp_parity parity;
};
/* Makes EFLAGS answer to the condition (0 to 13); may overwrite EFLAGS when they are not the guest's.  Uses rax. */
struct lp_test lp_flags_test(struct lp_tr *t, unsigned condition);
/* Jumps where it holds, or does not: up to two jumps; fixup.next is NULL for none. */
void lp_flags_jump(struct lp_tr *t, struct lp_test test, bool holds, struct lp_x86_fixup to[2]);
/* to = from where it holds, both registers. */
void lp_flags_cmov(struct lp_tr *t, struct lp_test test, unsigned w, unsigned to, struct lp_x86_rm from,
		   unsigned otherwise);
/* CF = the guest's C, or its opposite.  EFLAGS may be overwritten from then on.  sets: the instruction sets all flags. */
void lp_flags_carry(struct lp_tr *t, bool inverted, bool sets);

/* ---- the registers of a region (region_registers.c) ---- */

/* t->pin, by what is known of t->x_uses. */
void lp_pins_choose(struct lp_tr *t);
/* From where guest registers always are to where t->pin has them, and the opposite.  EFLAGS stay. */
void lp_pins_enter(struct lp_tr *t);
void lp_pins_leave(struct lp_tr *t);
/* Behind a function of C that has reloaded registers where they always are, and whose memory is up to date. */
void lp_pins_again(struct lp_tr *t);

/* ---- going elsewhere ---- */

/* The instruction at that pc, which a region jumps to within itself; -1: it is not in the region. */
int lp_region_at(const struct lp_tr *t, uint64_t pc);
/* From an instruction to the next, where that is not one straight line: registers and flags as they are wanted there. */
void lp_region_fall(struct lp_tr *t);
/* At a leader: jumps to it arrive here. */
void lp_region_arrive(struct lp_tr *t);

/* To the code at a guest pc, for good. */
void lp_emit_goto(struct lp_tr *t, uint64_t pc);
/* Whether turns of the loop that goes back from the current instruction to `pc` are counted; and the code that does: out, when
 * it has become hot.  Writes EFLAGS. */
bool lp_emit_counts(const struct lp_tr *t, uint64_t pc);
void lp_emit_count(struct lp_tr *t, uint64_t pc);
/* b.cond, the current instruction, for who executes it as well. */
lp_emit_fn lp_emit_b_cond;
/* Whether vector registers are, where that branch at instruction i goes to a loop's head, as they are where it does not. */
bool lp_branch_goes_as_it_is(const struct lp_tr *t, unsigned i);
/* Where the condition of a branch holds: to `pc`. */
void lp_emit_branch_if(struct lp_tr *t, struct lp_test test, uint64_t pc);
/* rdx + 4 * rcx: the entry of the jump cache for the pc in rax; ZF: it is of that pc. */
void lp_emit_jump_entry(struct lp_x86 *x);
/* Cold code for the current instruction, with what is known now. */
struct lp_cold *lp_cold_add(struct lp_tr *t, lp_cold_fn *emit);
/* The interpreter's function executes the current instruction, and then back: to cold->back, with t->v_loaded as it was.
 * For cases that are rare and hard. */
lp_cold_fn lp_cold_fallback;
/* At the unit's begin: that executes the first instruction, and the unit is left. */
lp_cold_fn lp_cold_first;
/* Where that goes on, when it does: here.  c may be NULL. */
void lp_cold_back(struct lp_tr *t, struct lp_cold *c);

/* The current instruction is executed by the interpreter's function. */
void lp_tr_leave_to_c(struct lp_tr *t);

/* --stats: so many instructions have been executed.  Writes EFLAGS. */
void lp_tr_count(struct lp_tr *t, int32_t nr);
/* Those behind this one have not been, or now are again: they were counted at the unit's begin. */
void lp_tr_count_rest(struct lp_tr *t, bool again);
/* Slot of a pc; never NULL (t->failed is set instead). */
struct lp_jit_slot *lp_tr_slot(struct lp_tr *t, uint64_t pc);

/* The signed field as in emu/integer.h, times 4, from the instruction on. */
static inline uint64_t lp_branch_target(const struct lp_tr *t, uint32_t word, unsigned lsb, unsigned width)
{
	return t->pc + (uint64_t)((int64_t)((uint64_t)word << (64 - lsb - width)) >> (64 - width)) * 4;
}

/* ---- before the first is emitted (live_flags.c) ---- */

/* flags_live and exit_live, end_live and looked[] of the instructions that are to be translated. */
void lp_tr_find_live_flags(struct lp_tr *t);

#endif
