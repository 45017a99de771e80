/*
 * x86-64 Linux threads (System V ABI for AMD64; kernel arch/x86).
 *
 * The block of a borrowed thread, from the stub's sp upwards:
 *
 *     saved registers   15 words, in the order of the pops
 *     resume pc          1 word, taken by ret
 *     records           LP_RECORDS_MAX * 7 words: number, six arguments
 *     red zone          128 bytes that belong to the interrupted code
 *     ----------------- sp of the interrupted code
 *
 * All of it is above the stub's sp, so a signal handler that interrupts the
 * stub builds its frame below and clobbers nothing.  The stub touches no
 * vector register, no segment register and, after popfq, no flag.
 */
#include <asm/sigcontext.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/bits.h"
#include "proc/arch/arch.h"

/* struct user_regs_struct (sys/user.h), which is what NT_PRSTATUS holds here. */
enum {
	R15,
	R14,
	R13,
	R12,
	RBP,
	RBX,
	R11,
	R10,
	R9,
	R8,
	RAX,
	RCX,
	RDX,
	RSI,
	RDI,
	ORIG_RAX,
	RIP,
	CS,
	EFLAGS,
	RSP,
	SS,
	FS_BASE,
	GS_BASE,
	DS,
	ES,
	FS,
	GS,
	NR_REGS
};

#define RED_ZONE 128
#define NR_SAVED 15
#define RECORDS (LP_RECORDS_MAX * LP_RECORD_WORDS * 8)
#define BLOCK ((NR_SAVED + 1) * 8 + RECORDS)
#define SKIP (RECORDS + RED_ZONE) /* from above the resume pc to the interrupted sp */

_Static_assert(BLOCK <= LP_BLOCK_MAX, "the block fits");
_Static_assert(LP_RECORD_WORDS == 7 && SKIP == 0x240 && SKIP + 8 == 0x248, "the stub's immediates");

/* rbx record, ebp calls left, r12 first result, r13 the mark that stands for it, r14d 0 until the first call is done */
#define STUB_LOOP                                                                 \
	0x48, 0x8b, 0x03,		      /*  0  mov    (%rbx),%rax        */ \
		0x48, 0x8b, 0x7b, 0x08,	      /*  3  mov    0x8(%rbx),%rdi     */ \
		0x48, 0x8b, 0x73, 0x10,	      /*  7  mov    0x10(%rbx),%rsi    */ \
		0x48, 0x8b, 0x53, 0x18,	      /* 11  mov    0x18(%rbx),%rdx    */ \
		0x4c, 0x8b, 0x53, 0x20,	      /* 15  mov    0x20(%rbx),%r10    */ \
		0x4c, 0x8b, 0x43, 0x28,	      /* 19  mov    0x28(%rbx),%r8     */ \
		0x4c, 0x8b, 0x4b, 0x30,	      /* 23  mov    0x30(%rbx),%r9     */ \
		0x4c, 0x39, 0xef,	      /* 27  cmp    %r13,%rdi          */ \
		0x49, 0x0f, 0x44, 0xfc,	      /* 30  cmove  %r12,%rdi          */ \
		0x4d, 0x39, 0xe8,	      /* 34  cmp    %r13,%r8           */ \
		0x4d, 0x0f, 0x44, 0xc4,	      /* 37  cmove  %r12,%r8           */ \
		0x0f, 0x05,		      /* 41  syscall                   */ \
		0x45, 0x85, 0xf6,	      /* 43  test   %r14d,%r14d        */ \
		0x4c, 0x0f, 0x44, 0xe0,	      /* 46  cmove  %rax,%r12          */ \
		0x41, 0xff, 0xc6,	      /* 50  inc    %r14d              */ \
		0x48, 0x89, 0x03,	      /* 53  mov    %rax,(%rbx)        */ \
		0x48, 0x83, 0xc3, 0x38,	      /* 56  add    $56,%rbx           */ \
		0xff, 0xcd,		      /* 60  dec    %ebp               */ \
		0x75, 0xc0,		      /* 62  jne    0                  */ \
		0x5f, 0x5e, 0x5a,	      /* 64  pop    %rdi; %rsi; %rdx   */ \
		0x41, 0x5a, 0x41, 0x58,	      /* 67  pop    %r10; %r8          */ \
		0x41, 0x59, 0x59, 0x41, 0x5b, /* 71  pop    %r9; %rcx; %r11    */ \
		0x5b, 0x5d, 0x41, 0x5c,	      /* 76  pop    %rbx; %rbp; %r12   */ \
		0x41, 0x5d, 0x41, 0x5e,	      /* 80  pop    %r13; %r14         */ \
		0x9d,			      /* 84  popfq                     */ \
		0x58			      /* 85  pop    %rax               */
#define STUB_LOOP_LEN 86
#define AFTER_SYSCALL 43

static const uint16_t saved[NR_SAVED] = {RDI, RSI, RDX, R10, R8, R9, RCX, R11, RBX, RBP, R12, R13, R14, EFLAGS, RAX};

/* One instruction takes the resume pc and steps over records and red zone: the text never differs. */
static const uint8_t by_ret[] = {
	STUB_LOOP, 0xc2, 0x40, 0x02, /* 86  ret    $0x240             */
};

/* A thread with a shadow stack must not ret to where nobody called from: jump through a slot beside the stub. */
static const uint8_t by_jmp[] = {
	STUB_LOOP, 0x48, 0x8d, 0xa4, 0x24, 0x48, 0x02, 0x00, 0x00, /* 86  lea    0x248(%rsp),%rsp   */
	0xff,	   0x25, 0x04, 0x00, 0x00, 0x00,		   /* 94  jmp    *4(%rip)           */
	0xcc,	   0xcc, 0xcc, 0xcc,				   /*100  (slot on a multiple of 8) */
	0x00,	   0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,	   /*104  slot                      */
};
#define SLOT 104

_Static_assert(sizeof by_ret == STUB_LOOP_LEN + 3, "stub bytes as commented");
_Static_assert(sizeof by_jmp == SLOT + 8 && SLOT % 8 == 0 && sizeof by_jmp <= LP_STUB_ROOM, "slot bytes as commented");

static const struct lp_stub_text stub_by_ret = {.code = by_ret, .len = sizeof by_ret, .after_syscall = AFTER_SYSCALL};
static const struct lp_stub_text stub_by_jmp = {
	.code = by_jmp, .len = sizeof by_jmp, .after_syscall = AFTER_SYSCALL, .tail_at = SLOT, .tail_len = 8};

/* Calls rax with rsp at a ucontext, stores the result where rbx points, lets rt_sigreturn(2) restore the rest. */
static const uint8_t call_code[] = {
	0xff, 0xd0,		      /*  0  call   *%rax              */
	0x48, 0x89, 0x03,	      /*  2  mov    %rax,(%rbx)        */
	0xb8, 0x0f, 0x00, 0x00, 0x00, /*  5  mov    $15,%eax           */
	0x0f, 0x05,		      /* 10  syscall                   */
	0x0f, 0x0b,		      /* 12  ud2                       */
};
static const struct lp_stub_text stub_for_call = {.code = call_code, .len = sizeof call_code, .after_syscall = 12};

_Static_assert(SYS_rt_sigreturn == 15, "the number in the call stub");

/* At a program's entry rdx is a function for atexit() and rsp the end of the stack; nothing else is promised. */
static const uint8_t hold_code[] = {
	0xf3, 0x0f, 0x1e, 0xfa,		    /*  0  endbr64                   */
	0x52,				    /*  4  push   %rdx               */
	0x6a, 0x00,			    /*  5  push   $0                 */
	0x8b, 0x3d, 0x43, 0x00, 0x00, 0x00, /*  7  mov    0x43(%rip),%edi    */
	0x48, 0x89, 0xe6,		    /* 13  mov    %rsp,%rsi          */
	0xba, 0x01, 0x00, 0x00, 0x00,	    /* 16  mov    $1,%edx            */
	0x41, 0xba, 0x00, 0x40, 0x00, 0x00, /* 21  mov    $0x4000,%r10d      */
	0x45, 0x31, 0xc0,		    /* 27  xor    %r8d,%r8d          */
	0x45, 0x31, 0xc9,		    /* 30  xor    %r9d,%r9d          */
	0xb8, 0x2c, 0x00, 0x00, 0x00,	    /* 33  mov    $44,%eax           */
	0x0f, 0x05,			    /* 38  syscall                   */
	0x45, 0x31, 0xd2,		    /* 40  xor    %r10d,%r10d        */
	0xb8, 0x2d, 0x00, 0x00, 0x00,	    /* 43  mov    $45,%eax           */
	0x0f, 0x05,			    /* 48  syscall                   */
	0xb8, 0x03, 0x00, 0x00, 0x00,	    /* 50  mov    $3,%eax            */
	0x0f, 0x05,			    /* 55  syscall                   */
	0x58,				    /* 57  pop    %rax               */
	0x5a,				    /* 58  pop    %rdx               */
	0xff, 0x25, 0x07, 0x00, 0x00, 0x00, /* 59  jmp    *7(%rip)           */
	0xcc, 0xcc, 0xcc, 0xcc,		    /* 65                            */
	0xcc, 0xcc, 0xcc,		    /* 69                            */
	0x00, 0x00, 0x00, 0x00,		    /* 72  entry                     */
	0x00, 0x00, 0x00, 0x00,		    /* 76                            */
	0x00, 0x00, 0x00, 0x00,		    /* 80  descriptor                */
	0xcc, 0xcc, 0xcc, 0xcc,		    /* 84                            */
};
#define HOLD_TAIL 72
static const struct lp_stub_text stub_for_hold = {
	.code = hold_code, .len = sizeof hold_code, .after_syscall = 50, .tail_at = HOLD_TAIL, .tail_len = 12};

_Static_assert(sizeof hold_code == HOLD_TAIL + 16 && sizeof hold_code <= sizeof by_jmp, "hold stub bytes as commented");
_Static_assert(SYS_sendto == 44 && SYS_recvfrom == 45 && SYS_close == 3 && MSG_NOSIGNAL == 0x4000,
	       "the numbers in the hold stub");

static const struct lp_stub_text *const all_stubs[] = {&stub_by_ret, &stub_by_jmp, &stub_for_call, NULL};

/* ---- registers ---- */

static lp_addr get_pc(const struct lp_tregs *r)
{
	return r->words[RIP];
}
static lp_addr get_sp(const struct lp_tregs *r)
{
	return r->words[RSP];
}
static lp_addr get_lr(const struct lp_tregs *r)
{
	return 0;
}
static lp_addr get_tp(const struct lp_tregs *r)
{
	return r->words[FS_BASE];
}

/* __USER_CS of 64-bit code (arch/x86/include/asm/segment.h); 0x23 is a thread in compatibility mode. */
static bool is_native(const struct lp_tregs *r)
{
	return r->words[CS] == 0x33;
}

static int64_t syscall_nr(const struct lp_tregs *r)
{
	return (int64_t)r->words[ORIG_RAX] >= 0 ? (int64_t)r->words[ORIG_RAX] : -1;
}

static int64_t result(const struct lp_tregs *r)
{
	return (int64_t)r->words[RAX];
}

static const uint16_t eintr_calls[] = {
#define RETURNS_EINTR(name) SYS_##name,
#include "proc/arch/eintr.def"
#undef RETURNS_EINTR
};

static bool is_eintr(const struct lp_tregs *r)
{
	if (syscall_nr(r) < 0 || -(int64_t)r->words[RAX] != EINTR)
		return false;
	for (size_t i = 0; i < LP_ARRAY_SIZE(eintr_calls); i++) {
		if (r->words[ORIG_RAX] == eintr_calls[i])
			return true;
	}
	return false;
}

/* restart_block survives any call but sigreturn, and restart_syscall(2) is ours to issue: nothing is lost. */
static const char *fragile(int tid, const struct lp_tregs *r)
{
	return NULL;
}

/* linux/errno.h: codes that never reach a program, but that a tracer sees. */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

#define SYSCALL_INSN_LEN 2

static void reissue(struct lp_tregs *r, uint64_t nr)
{
	r->words[RAX] = nr;
	r->words[RIP] -= SYSCALL_INSN_LEN;
}

/* arch_do_signal_or_restart() of the kernel, with no handler to run. */
static void resume(struct lp_tregs *r, enum lp_restart how)
{
	if (syscall_nr(r) >= 0) {
		switch (-(int64_t)r->words[RAX]) {
		case ERESTARTSYS:
		case ERESTARTNOINTR:
		case ERESTARTNOHAND:
			reissue(r, r->words[ORIG_RAX]);
			break;
		case ERESTART_RESTARTBLOCK:
			reissue(r, SYS_restart_syscall);
			break;
		default:
			if (how == LP_RESTART_EINTR && is_eintr(r))
				reissue(r, r->words[ORIG_RAX]);
		}
	}
	r->words[ORIG_RAX] = UINT64_MAX; /* "not in a system call": the kernel keeps its hands off */
}

static void set_pc(struct lp_tregs *r, lp_addr pc)
{
	r->words[RIP] = pc;
}

/* ---- thread-local storage ---- */

/* Variant II (Drepper, "ELF Handling For Thread-Local Storage", 3.1): the program's block ends at the thread pointer. */
static int64_t tls_offset(const Elf64_Phdr *tls, uint64_t value)
{
	uint64_t align = tls->p_align ? tls->p_align : 1;
	uint64_t first = tls->p_vaddr & (align - 1);
	return (int64_t)(value - (lp_align_up(tls->p_memsz + first, align) - first));
}

/* AMD64 psABI, figure 3.36; 16 is the return address column. */
static size_t dwarf_regs(const struct lp_tregs *r, uint64_t *out)
{
	static const uint16_t order[] = {RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP, R8,
					 R9,  R10, R11, R12, R13, R14, R15, RIP};
	for (size_t i = 0; i < LP_ARRAY_SIZE(order); i++)
		out[i] = r->words[order[i]];
	return LP_ARRAY_SIZE(order);
}

/* ---- borrowing ---- */

#ifndef NT_X86_SHSTK
#define NT_X86_SHSTK 0x204
#endif

/* The register set exists only while the thread's user shadow stack is active. */
static const struct lp_stub_text *stub_for(int tid)
{
	uint64_t ssp;
	struct iovec iov = {&ssp, sizeof ssp};
	bool shadowed = ptrace(PTRACE_GETREGSET, tid, (void *)(long)NT_X86_SHSTK, &iov) == 0;
	return shadowed ? &stub_by_jmp : &stub_by_ret;
}

static void borrow(const struct lp_stub_text *text, lp_addr stub_at, const struct lp_tregs *go_on,
		   const struct lp_call *calls, size_t nr, struct lp_borrow *out)
{
	out->len = BLOCK;
	out->block = go_on->words[RSP] - RED_ZONE - BLOCK;
	out->records = out->block + (NR_SAVED + 1) * 8;
	memset(out->bytes, 0, BLOCK);
	for (size_t i = 0; i < NR_SAVED; i++)
		lp_put64(out->bytes + i * 8, go_on->words[saved[i]]);
	lp_put64(out->bytes + NR_SAVED * 8, go_on->words[RIP]);
	for (size_t i = 0; i < nr; i++) {
		uint8_t *record = out->bytes + (NR_SAVED + 1) * 8 + i * LP_RECORD_WORDS * 8;
		lp_put64(record, calls[i].nr);
		for (size_t a = 0; a < 6; a++)
			lp_put64(record + 8 + a * 8, calls[i].args[a]);
	}
	if (text->tail_len)
		lp_put64(out->tail, go_on->words[RIP]);

	out->enter = *go_on;
	uint64_t *r = out->enter.words;
	r[RIP] = stub_at;
	r[RSP] = out->block;
	r[RBX] = out->records;
	r[RBP] = nr;
	r[R12] = 0;
	r[R13] = LP_CALL_FIRST_RESULT;
	r[R14] = 0;
	r[EFLAGS] &=
		~UINT64_C(0x500); /* TF would trap in the stub, DF is for string instructions; popfq brings both back */
}

/* ---- calling ---- */

/*
 * rt_sigreturn(2) takes a struct ucontext at sp (arch/x86/kernel/signal_64.c)
 * and, where that points, an XSAVE image framed by two magic words
 * (asm/sigcontext.h, struct _fpx_sw_bytes).  The image that ptrace gives lacks
 * the frame.
 */
struct sigframe {
	uint64_t flags, link, stack_sp;
	uint32_t stack_flags, pad;
	uint64_t stack_size;
	uint64_t regs[18]; /* r8-r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags */
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate, reserved[8];
	uint64_t sigmask;
};

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4
#define FRAME_RESULT sizeof(struct sigframe)
#define FRAME_FP lp_align_up(FRAME_RESULT + 8, 64)
#define XSAVE_LEGACY 512 /* bytes before the XSAVE header, whose first word says which components are not initial */
#define XSAVE_MIN 576
#define SW_BYTES 464

_Static_assert(sizeof(struct sigframe) == 304, "struct ucontext of x86-64 Linux");

/* End of the last component in use (Intel SDM vol. 1, 13.4.3); a larger image than the thread may use is refused. */
static size_t xsave_size(const struct lp_vectors *v, uint64_t components)
{
	size_t size = XSAVE_MIN;
	for (unsigned i = 2; i < 63; i++) {
		unsigned a, b, c, d;
		if (!(components >> i & 1) || !__get_cpuid_count(0xd, i, &a, &b, &c, &d))
			continue;
		if (b + a > size)
			size = b + a;
	}
	return size < v->len ? size : v->len;
}

static size_t lay_vectors(uint8_t *fp, const struct lp_vectors *v)
{
	uint64_t components = lp_get64(v->bytes + XSAVE_LEGACY) | 3 /* x87, SSE */;
	size_t size = xsave_size(v, components);
	memcpy(fp, v->bytes, size);
	memset(fp + SW_BYTES, 0, XSAVE_LEGACY - SW_BYTES);
	lp_put32(fp + SW_BYTES, FP_XSTATE_MAGIC1);
	lp_put32(fp + SW_BYTES + 4, (uint32_t)size + FP_XSTATE_MAGIC2_SIZE);
	lp_put64(fp + SW_BYTES + 8, components);
	lp_put32(fp + SW_BYTES + 16, (uint32_t)size);
	lp_put32(fp + size, FP_XSTATE_MAGIC2);
	return size + FP_XSTATE_MAGIC2_SIZE;
}

static const char *no_sigreturn(int tid)
{
	return stub_for(tid) == &stub_by_jmp ? "it has a shadow stack, through which no sigreturn of ours would lead"
					     : NULL;
}

static void call(lp_addr stub_at, const struct lp_tregs *go_on, const struct lp_vectors *v, uint64_t sigmask,
		 lp_addr fn, const uint64_t args[6], struct lp_call_frame *out)
{
	static const uint16_t order[] = {R8,  R9,  R10, R11, R12, R13, R14, R15, RDI,
					 RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, EFLAGS};
	memset(out->bytes, 0, sizeof out->bytes);
	out->len = FRAME_FP + lay_vectors(out->bytes + FRAME_FP, v);
	out->at = lp_align_down(go_on->words[RSP] - RED_ZONE - out->len, 64);
	out->result_at = out->at + FRAME_RESULT;
	struct sigframe f = {
		.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.stack_flags = 0x7fff, /* no valid mode: the kernel leaves the alternate stack as it is */
		.cs = (uint16_t)go_on->words[CS],
		.ss = (uint16_t)go_on->words[SS],
		.fpstate = out->at + FRAME_FP,
		.sigmask = sigmask,
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(order); i++)
		f.regs[i] = go_on->words[order[i]];
	memcpy(out->bytes, &f, sizeof f);

	static const uint16_t arg_regs[6] = {RDI, RSI, RDX, RCX, R8, R9};
	out->enter = *go_on;
	uint64_t *r = out->enter.words;
	for (size_t i = 0; i < 6; i++)
		r[arg_regs[i]] = args[i];
	r[RIP] = stub_at;
	r[RSP] = out->at;
	r[RAX] = fn;
	r[RBX] = out->result_at;
	r[EFLAGS] &= ~UINT64_C(0x500);
}

const struct lp_arch lp_arch_host = {
	.machine = EM_X86_64,
	.sysno = {SYS_mmap, SYS_munmap, SYS_mprotect, SYS_memfd_create, SYS_ftruncate, SYS_close, SYS_prctl, SYS_ppoll},
	.nr_rt_sigreturn = SYS_rt_sigreturn,
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
	.dwarf_sp = 7,
	.dwarf_fp = 6,
	.jmpbuf = {.rotate = 17, .pc_at = 1},
	.stub = stub_for,
	.stubs = all_stubs,
	.borrow = borrow,
	.vector_set = NT_X86_XSTATE,
	.call_stub = &stub_for_call,
	.hold_stub = &stub_for_hold,
	.no_sigreturn = no_sigreturn,
	.call = call,
};
