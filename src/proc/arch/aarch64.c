/*
 * AArch64 Linux threads (AAPCS64; kernel arch/arm64).
 *
 * What the kernel does differently here:
 *
 *  1. A thread that is interrupted in a system call stops with the restart
 *     already worked out: pc is back at the svc, x0 again the first argument,
 *     and "in a system call" forgotten (do_signal()).  So its registers are
 *     those with which it goes on, and nothing tells it from a thread that is
 *     just about to make the call.  One thing is still to come at the end of
 *     that same stop, and only if pc is unchanged: a call with a restart block
 *     becomes restart_syscall(2).  A thread that may be such a one is left
 *     alone (`fragile`); let go, it sits in restart_syscall, which can be
 *     issued again, so it is fit at the next try.
 *  2. x0 is both first argument and result.  After EINTR the argument is lost,
 *     so an EINTR that our stop caused cannot be undone (eintr.def serves
 *     other machines).  epoll_pwait() and its kind then return EINTR, as they
 *     do when a debugger attaches (signal(7)).
 *  3. While a thread stands at a system call's entry or exit, x7 tells the
 *     tracer which of the two, and what the tracer writes there is dropped
 *     (report_syscall()).  Both stubs therefore have the right x7 in place
 *     when they make a system call.
 *  4. What ptrace sets at the exit of a system call is looked at once more
 *     before the thread goes on: x0 must not be one of the restart codes.
 *  5. A system call wipes the SVE registers beyond their low 128 bits, and
 *     ends streaming mode.  A thread that has something there is left alone.
 *     (Threads that sit in a call have not, and come first in the choice.)
 *
 * The block of a borrowed thread, from the stub's sp upwards:
 *
 *     saved registers   12 words, in the order of the loads
 *     records           LP_RECORDS_MAX * 7 words: number, six arguments
 *     red zone          128 bytes.  AAPCS64 has none; hand-written code may think of another ABI
 *     ----------------- sp of the interrupted code
 *
 * All of it is above the stub's sp until the last register is loaded; then one
 * add steps over it.  Nothing is ever live below sp, so a signal handler may
 * come at any instruction.  No instruction of the stub touches the flags.
 *
 * No register may be spent on the way back, so the last instruction is a
 * direct branch that is written per use (the tail), and the stub must be
 * within its reach.  Direct branches need no landing pad (BTI) and leave the
 * guarded control stack (GCS) alone.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include <asm/ptrace.h>
#include <asm/sigcontext.h>

#include "base/bits.h"
#include "proc/arch/arch.h"
#include "proc/state.h"

/* struct user_pt_regs (asm/ptrace.h), which is what NT_PRSTATUS holds here; x0 .. x30 are words 0 .. 30. */
enum { LR = 30, SP, PC, PSTATE, NR_REGS };

_Static_assert(sizeof(struct user_pt_regs) == NR_REGS * 8, "words of NT_PRSTATUS");

#define RED_ZONE 128
#define NR_SAVED 12
#define RECORDS (LP_RECORDS_MAX * LP_RECORD_WORDS * 8)
#define BLOCK (NR_SAVED * 8 + RECORDS)
#define SKIP (BLOCK + RED_ZONE) /* from the stub's sp to the interrupted one */
#define INSN 4
#define STACK_ALIGN 16 /* sp must be a multiple of it wherever it is the base of an access */

_Static_assert(BLOCK <= LP_BLOCK_MAX, "the block fits");
_Static_assert(BLOCK % STACK_ALIGN == 0 && SKIP % STACK_ALIGN == 0,
	       "the stub's sp is as aligned as the interrupted one");
_Static_assert(LP_RECORD_WORDS * 8 == 56 && NR_SAVED * 8 == 96 && SKIP == 672, "the stub's immediates");

/* An instruction as it lies in memory. */
#define A64(insn) (insn) & 0xff, (insn) >> 8 & 0xff, (insn) >> 16 & 0xff, (insn) >> 24 & 0xff

/* clang-format off */

/* If argument n is the mark, it becomes the first result. */
#define FORWARD(n) \
	A64(0xcb0c000d | (n) << 5),	/*     sub   x13, x<n>, x12      */ \
	A64(0xb500004d),		/*     cbnz  x13, . + 8          */ \
	A64(0xaa0b03e0 | (n))		/*     mov   x<n>, x11           */

/* x9 record, x10 calls left, x11 first result (until there is one, the mark), x12 the mark, x13 scratch */
static const uint8_t code[] = {
	A64(0xa9400128),		/*   0 ldp   x8, x0, [x9]        */
	A64(0xa9410921),		/*   4 ldp   x1, x2, [x9, #16]   */
	A64(0xa9421123),		/*   8 ldp   x3, x4, [x9, #32]   */
	A64(0xf9401925),		/*  12 ldr   x5, [x9, #48]       */
	FORWARD(0),			/*  16                           */
	FORWARD(1),			/*  28                           */
	FORWARD(2),			/*  40                           */
	FORWARD(3),			/*  52                           */
	FORWARD(4),			/*  64                           */
	FORWARD(5),			/*  76                           */
	A64(0xd4000001),		/*  88 svc   #0                  */
	A64(0xcb0c016d),		/*  92 sub   x13, x11, x12       */
	A64(0xb500004d),		/*  96 cbnz  x13, 104            */
	A64(0xaa0003eb),		/* 100 mov   x11, x0             */
	A64(0xf8038520),		/* 104 str   x0, [x9], #56       */
	A64(0xd100054a),		/* 108 sub   x10, x10, #1        */
	A64(0xb5fffc8a),		/* 112 cbnz  x10, 0              */
	A64(0xa94007e0),		/* 116 ldp   x0, x1, [sp]        */
	A64(0xa9410fe2),		/* 120 ldp   x2, x3, [sp, #16]   */
	A64(0xa94217e4),		/* 124 ldp   x4, x5, [sp, #32]   */
	A64(0xa94327e8),		/* 128 ldp   x8, x9, [sp, #48]   */
	A64(0xa9442fea),		/* 132 ldp   x10, x11, [sp, #64] */
	A64(0xa94537ec),		/* 136 ldp   x12, x13, [sp, #80] */
	A64(0x910a83ff),		/* 140 add   sp, sp, #672        */
	A64(0x14000000),		/* 144 b     resume pc           */
};
/* clang-format on */

#define AFTER_SYSCALL 92
#define TAIL 144
#define BRANCH_REACH (UINT64_C(128) << 20)

_Static_assert(sizeof code == TAIL + INSN && sizeof code <= LP_STUB_ROOM, "stub bytes as commented");

static const uint8_t saved[NR_SAVED] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};

static const struct lp_stub_text stub = {.code = code,
					 .len = sizeof code,
					 .after_syscall = AFTER_SYSCALL,
					 .tail_at = TAIL,
					 .tail_len = INSN,
					 .reach = BRANCH_REACH - LP_STUB_ROOM};

/*
 * Calls x16 with sp at a signal frame and stores the result where x19 points.
 * Then system call -1, which is none: at its entry a living tracer may set any
 * register (but x7) and the thread goes on with them.  With no tracer there it
 * does nothing, and rt_sigreturn(2) restores the frame.
 */
/* clang-format off */
static const uint8_t call_code[] = {
	A64(0xd63f0200),		/*   0 blr   x16                 */
	A64(0xf9000260),		/*   4 str   x0, [x19]           */
	A64(0xf940bbe7),		/*   8 ldr   x7, [sp, #368]      */
	A64(0x92800008),		/*  12 mov   x8, #-1             */
	A64(0xd4000001),		/*  16 svc   #0                  */
	A64(0xd2801168),		/*  20 mov   x8, #139            */
	A64(0xd4000001),		/*  24 svc   #0                  */
	A64(0xd4200020),		/*  28 brk   #1                  */
};
/* clang-format on */

#define NO_CALL UINT64_MAX

static const struct lp_stub_text stub_for_call = {.code = call_code, .len = sizeof call_code, .after_syscall = 20};

_Static_assert(sizeof call_code == 32 && SYS_rt_sigreturn == 139, "call stub bytes as commented");

/* At a program's entry x0 is a function for atexit() and sp the end of the stack; nothing else is promised. */
/* clang-format off */
static const uint8_t hold_code[] = {
	A64(0xd50324df),		/*   0 bti   jc                  */
	A64(0xa9bf7fe0),		/*   4 stp   x0, xzr, [sp, #-16]! */
	A64(0x18000280),		/*   8 ldr   w0, 88              */
	A64(0x910023e1),		/*  12 add   x1, sp, #8          */
	A64(0xd2800022),		/*  16 mov   x2, #1              */
	A64(0xd2880003),		/*  20 mov   x3, #0x4000         */
	A64(0xd2800004),		/*  24 mov   x4, #0              */
	A64(0xd2800005),		/*  28 mov   x5, #0              */
	A64(0xd28019c8),		/*  32 mov   x8, #206            */
	A64(0xd4000001),		/*  36 svc   #0                  */
	A64(0x18000180),		/*  40 ldr   w0, 88              */
	A64(0xd2800003),		/*  44 mov   x3, #0              */
	A64(0xd28019e8),		/*  48 mov   x8, #207            */
	A64(0xd4000001),		/*  52 svc   #0                  */
	A64(0x18000100),		/*  56 ldr   w0, 88              */
	A64(0xd2800728),		/*  60 mov   x8, #57             */
	A64(0xd4000001),		/*  64 svc   #0                  */
	A64(0xa8c107e0),		/*  68 ldp   x0, x1, [sp], #16   */
	A64(0x58000050),		/*  72 ldr   x16, 80             */
	A64(0xd61f0200),		/*  76 br    x16                 */
	A64(0), A64(0),			/*  80 entry                     */
	A64(0),				/*  88 descriptor                */
};
/* clang-format on */
#define HOLD_TAIL 80
static const struct lp_stub_text stub_for_hold = {
	.code = hold_code, .len = sizeof hold_code, .after_syscall = 56, .tail_at = HOLD_TAIL, .tail_len = 12};

_Static_assert(sizeof hold_code == HOLD_TAIL + 12 && sizeof hold_code <= sizeof code, "hold stub bytes as commented");
_Static_assert(SYS_sendto == 206 && SYS_recvfrom == 207 && SYS_close == 57 && MSG_NOSIGNAL == 0x4000,
	       "the numbers in the hold stub");

static const struct lp_stub_text *const all_stubs[] = {&stub, &stub_for_call, NULL};

/* ---- registers ---- */

/* A return address may carry a signature (PAC) above the address bits.  (User addresses beyond 2^48 are only for those
 * who ask mmap() for them; no loader does.) */
static uint64_t unsigned_pointer(uint64_t v)
{
	return v & ((UINT64_C(1) << 48) - 1);
}

static lp_addr get_pc(const struct lp_tregs *r)
{
	return r->words[PC];
}

static lp_addr get_sp(const struct lp_tregs *r)
{
	return r->words[SP];
}

static lp_addr get_lr(const struct lp_tregs *r)
{
	return unsigned_pointer(r->words[LR]);
}

/* TPIDR_EL0 is in another register set. */
static lp_addr get_tp(const struct lp_tregs *r)
{
	return 0;
}

/* A 32-bit thread's register set is another, smaller one. */
static bool is_native(const struct lp_tregs *r)
{
	return r->nr == NR_REGS && !(r->words[PSTATE] & PSR_MODE32_BIT);
}

/* Forgotten at every stop but those at a call's entry and exit, where NT_PRSTATUS does not hold it either. */
static int64_t syscall_nr(const struct lp_tregs *r)
{
	return -1;
}

static int64_t result(const struct lp_tregs *r)
{
	return (int64_t)r->words[0];
}

static bool is_eintr(const struct lp_tregs *r)
{
	return false;
}

/* The calls that would become restart_syscall(2), should it be one of them that was interrupted; other calls, and
 * absolute timeouts, are as good as new when issued again. */
static bool may_have_restart_block(const struct lp_tregs *r)
{
	const uint64_t *x = r->words;
	switch ((uint32_t)x[8]) {
	case SYS_nanosleep:
		return true;
	case SYS_clock_nanosleep:
		return !(x[1] & TIMER_ABSTIME);
	case SYS_futex:
		return (x[1] & (uint32_t)FUTEX_CMD_MASK) == FUTEX_WAIT && x[3];
	default:
		return false;
	}
}

/* linux/errno.h: ERESTARTSYS .. ERESTART_RESTARTBLOCK, which the kernel would take for its own (4 above). */
static bool looks_like_restart(int64_t x0)
{
	return x0 <= -512 && x0 >= -516;
}

/* The kernel has done it (1 above), as far as it can be done (2 above). */
static void resume(struct lp_tregs *r, enum lp_restart how)
{
}

/* A thread caught between an indirect branch and its landing pad would fault at any other place. */
static void set_pc(struct lp_tregs *r, lp_addr pc)
{
	r->words[PC] = pc;
	r->words[PSTATE] &= ~(uint64_t)PSR_BTYPE_MASK;
}

/* ---- thread-local storage ---- */

#define TCB 16 /* two words at the thread pointer */

/* Variant I (Drepper, "ELF Handling For Thread-Local Storage", 3.1): the program's block follows the TCB, at the first
 * place that is congruent to its p_vaddr. */
static int64_t tls_offset(const Elf64_Phdr *tls, uint64_t value)
{
	uint64_t align = tls->p_align ? tls->p_align : 1;
	return (int64_t)(TCB + ((tls->p_vaddr - TCB) & (align - 1)) + value);
}

/* DWARF for the Arm 64-bit Architecture, 4.1: x0 .. x30, sp. */
static size_t dwarf_regs(const struct lp_tregs *r, uint64_t *out)
{
	memcpy(out, r->words, (SP + 1) * sizeof *out);
	out[LR] = unsigned_pointer(out[LR]);
	return SP + 1;
}

/* ---- what only the kernel knows ---- */

/* Newer than some C libraries' elf.h. */
#ifndef NT_ARM_SSVE
#define NT_ARM_SSVE 0x40b
#endif
#ifndef NT_ARM_ZA
#define NT_ARM_ZA 0x40c
#endif
#ifndef NT_ARM_GCS
#define NT_ARM_GCS 0x410
#endif

/* These sets consist of the header alone while their mode is off. */
static bool is_more_than_header(int tid, int set)
{
	struct lp_vectors v;
	return lp_trace_vectors(tid, set, &v) == 0 && v.len > sizeof(struct user_sve_header);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, len - 1));
}

/* Z registers beyond the V registers in them, predicates, FFR. */
static bool sve_is_zero(const uint8_t *set, unsigned vq)
{
	for (unsigned n = 0; n < __SVE_NUM_ZREGS; n++) {
		if (!is_zero(set + SVE_PT_SVE_ZREG_OFFSET(vq, n) + __SVE_VQ_BYTES, (vq - 1) * __SVE_VQ_BYTES))
			return false;
	}
	size_t rest = SVE_PT_SVE_PREGS_OFFSET(vq), end = SVE_PT_SVE_FFR_OFFSET(vq) + SVE_PT_SVE_FFR_SIZE(vq);
	return is_zero(set + rest, end - rest);
}

/* Would a system call wipe something (5 above; Documentation/arch/arm64/sve.rst, sme.rst, "System call behaviour")? */
static bool has_live_vectors(int tid)
{
	struct lp_vectors v;
	struct user_sve_header h;
	if (is_more_than_header(tid, NT_ARM_SSVE))
		return true;
	if (lp_trace_vectors(tid, NT_ARM_SVE, &v) < 0 || v.len < sizeof h)
		return false; /* a machine without */
	memcpy(&h, v.bytes, sizeof h);
	if ((h.flags & SVE_PT_REGS_MASK) == SVE_PT_REGS_FPSIMD)
		return false;
	unsigned vq = h.vl / __SVE_VQ_BYTES;
	return vq == 0 || v.len < SVE_PT_SVE_FFR_OFFSET(vq) + SVE_PT_SVE_FFR_SIZE(vq) || !sve_is_zero(v.bytes, vq);
}

static bool stands_at_svc(int tid, lp_addr pc)
{
	static const uint8_t svc[] = {A64(0xd4000001)};
	uint8_t insn[INSN];
	return lp_mem_copy(tid, pc, insn, sizeof insn) == 0 && !memcmp(insn, svc, sizeof svc);
}

static const char *fragile(int tid, const struct lp_tregs *r)
{
	if (r->words[SP] % STACK_ALIGN)
		return "its stack pointer is between two steps";
	if (looks_like_restart((int64_t)r->words[0]))
		return "its first register looks like a call to be restarted";
	if (has_live_vectors(tid))
		return "it has live SVE or SME registers, which a system call would wipe";
	if (!stands_at_svc(tid, r->words[PC]))
		return NULL;
	if (may_have_restart_block(r))
		return "its system call cannot be issued again yet";
	/* Without SA_RESTART its handler must find it in its call: sent through the stub, it would make the call anew after. */
	return lp_task_interrupted(tid, 0) ? "a signal is about to interrupt its system call" : NULL;
}

static const struct lp_stub_text *stub_for(int tid)
{
	return &stub;
}

/* ---- borrowing ---- */

static uint32_t branch(lp_addr from, lp_addr to)
{
	return 0x14000000 | (uint32_t)((to - from) >> 2 & 0x3ffffff);
}

static void borrow(const struct lp_stub_text *text, lp_addr stub_at, const struct lp_tregs *go_on,
		   const struct lp_call *calls, size_t nr, struct lp_borrow *out)
{
	out->len = BLOCK;
	out->block = go_on->words[SP] - SKIP;
	out->records = out->block + NR_SAVED * 8;
	memset(out->bytes, 0, BLOCK);
	for (size_t i = 0; i < NR_SAVED; i++)
		lp_put64(out->bytes + i * 8, go_on->words[saved[i]]);
	for (size_t i = 0; i < nr; i++) {
		uint8_t *record = out->bytes + NR_SAVED * 8 + i * LP_RECORD_WORDS * 8;
		lp_put64(record, calls[i].nr);
		for (size_t a = 0; a < 6; a++)
			lp_put64(record + 8 + a * 8, calls[i].args[a]);
	}
	lp_put32(out->tail, branch(stub_at + text->tail_at, go_on->words[PC]));

	out->enter = *go_on;
	set_pc(&out->enter, stub_at);
	uint64_t *r = out->enter.words;
	r[SP] = out->block;
	r[9] = out->records;
	r[10] = nr;
	r[11] = LP_CALL_FIRST_RESULT;
	r[12] = LP_CALL_FIRST_RESULT;
}

/* ---- calling ---- */

/* struct rt_sigframe (arch/arm64/kernel/signal.c) up to the records of sigcontext, of which only the vectors are there. */
struct sigframe {
	uint8_t info[128];
	uint64_t flags, link, stack_sp;
	uint32_t stack_flags, pad;
	uint64_t stack_size;
	uint64_t sigmask;
	uint8_t sigmask_rest[120];
	uint64_t pad_to_16;
	uint64_t fault_address;
	uint64_t regs[NR_REGS];
	uint64_t pad_to_16_again;
	struct {
		struct _aarch64_ctx head;
		uint32_t fpsr, fpcr;
		uint8_t vregs[32 * 16];
	} fpsimd;
	struct _aarch64_ctx end[2];
	uint64_t result, pad_to_16_at_last;
};

_Static_assert(offsetof(struct sigframe, fault_address) == 304 && offsetof(struct sigframe, fpsimd) == 592 &&
		       sizeof(struct sigframe) % STACK_ALIGN == 0 && sizeof(struct sigframe) <= LP_FRAME_MAX,
	       "struct rt_sigframe of arm64 Linux");
_Static_assert(offsetof(struct sigframe, regs[7]) == 368, "x7 in the call stub");
_Static_assert(sizeof(((struct sigframe *)0)->fpsimd) == sizeof(struct fpsimd_context), "struct fpsimd_context");

static bool has_shadow_stack(int tid)
{
	struct lp_vectors gcs;
	return lp_trace_vectors(tid, NT_ARM_GCS, &gcs) == 0 && gcs.len >= 8 && (lp_get64(gcs.bytes) & 1);
}

static bool is_filtered(int tid)
{
	struct lp_task_status s;
	return lp_task_status(tid, &s) < 0 || s.seccomp;
}

static const char *no_sigreturn(int tid)
{
	if (has_shadow_stack(tid))
		return "it has a guarded control stack, through which no sigreturn of ours would lead";
	if (has_live_vectors(tid) || is_more_than_header(tid, NT_ARM_ZA))
		return "it has live SVE or SME registers";
	if (is_filtered(tid))
		return "a seccomp filter is on it, which may answer system call -1 with a signal";
	return NULL;
}

static void call(lp_addr stub_at, const struct lp_tregs *go_on, const struct lp_vectors *v, uint64_t sigmask,
		 lp_addr fn, const uint64_t args[6], struct lp_call_frame *out)
{
	struct sigframe f = {
		.stack_flags = 0x7fff, /* no valid mode: the kernel leaves the alternate stack as it is */
		.sigmask = sigmask,
		.fpsimd.head = {FPSIMD_MAGIC, sizeof f.fpsimd},
	};
	struct user_fpsimd_state fp = {0};
	memcpy(&fp, v->bytes, v->len < sizeof fp ? v->len : sizeof fp);
	memcpy(f.fpsimd.vregs, fp.vregs, sizeof f.fpsimd.vregs);
	f.fpsimd.fpsr = fp.fpsr;
	f.fpsimd.fpcr = fp.fpcr;
	memcpy(f.regs, go_on->words, sizeof f.regs);
	memcpy(out->bytes, &f, sizeof f);
	out->len = sizeof f;
	out->at = lp_align_down(go_on->words[SP] - RED_ZONE - sizeof f, STACK_ALIGN);
	out->result_at = out->at + offsetof(struct sigframe, result);

	out->enter = *go_on;
	set_pc(&out->enter, stub_at);
	uint64_t *r = out->enter.words;
	memcpy(r, args, 6 * sizeof *args);
	r[SP] = out->at;
	r[16] = fn;
	r[19] = out->result_at;
}

const struct lp_arch lp_arch_host = {
	.machine = EM_AARCH64,
	.sysno = {SYS_mmap, SYS_munmap, SYS_mprotect, SYS_memfd_create, SYS_ftruncate, SYS_close, SYS_prctl},
	.nr_rt_sigreturn = NO_CALL, /* the call that ends the call stub; as syscall_nr() gives it */
	.nr_regs = NR_REGS,
	.red_zone = RED_ZONE,
	.pc = get_pc,
	.sp = get_sp,
	.lr = get_lr,
	.tp = get_tp,
	.native = is_native,
	.syscall_nr = syscall_nr,
	.result = result,
	.eintr = is_eintr,
	.fragile = fragile,
	.resume = resume,
	.set_pc = set_pc,
	.tls_offset = tls_offset,
	.dwarf_regs = dwarf_regs,
	.dwarf_sp = 31,
	.dwarf_fp = 29,
	.jmpbuf = {.rotate = 0, .pc_at = -2},
	.stub = stub_for,
	.stubs = all_stubs,
	.vector_set = NT_PRFPREG,
	.call_stub = &stub_for_call,
	.hold_stub = &stub_for_hold,
	.no_sigreturn = no_sigreturn,
	.call = call,
	.borrow = borrow,
};
