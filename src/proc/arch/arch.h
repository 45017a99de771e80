/*
 * The seam between host architectures: what a thread's registers mean, how a
 * stopped thread must go on, and the code that a borrowed thread runs.  One
 * const struct, filled in by the one file of this folder that meson compiles.
 *
 * Registers travel as struct lp_tregs: the words of NT_PRSTATUS in the
 * kernel's order.
 *
 * The stub (inject.c says why it is shaped so) is fixed text.  Some variants
 * end in a direct jump whose destination differs per use; that part is the
 * tail, and may only be written while no thread is inside the stub.
 */
#ifndef LP_PROC_ARCH_H
#define LP_PROC_ARCH_H

#include "proc/proc.h"

#define LP_BLOCK_MAX 768		  /* bytes of a borrowed thread's block, red zone not counted */
#define LP_RECORDS_MAX (LP_CALLS_MAX + 2) /* the wait behind the calls, and the text */
#define LP_RECORD_WORDS 7 /* of a call in the block: number, six arguments; the number becomes the result */
#define LP_DWARF_REGS_MAX 40
#define LP_STUB_ROOM 192 /* bytes a stub may take at most, tail included */

/* How a thread that was stopped inside a system call goes on. */
enum lp_restart {
	LP_RESTART_KERNEL, /* as the kernel would: its ERESTART codes honoured, EINTR returned */
	LP_RESTART_EINTR,  /* and EINTR undone, because only our stop caused it */
};

/* A stub as text, and where in it things are. */
struct lp_stub_text {
	const uint8_t *code;
	size_t len;
	size_t after_syscall;	  /* offset of the instruction after the system call */
	size_t tail_at, tail_len; /* what differs per use; tail_len 0 = nothing */
	uint64_t reach;		  /* |resume pc - stub| must be less; 0 = any distance */
};

/* What borrowing one thread takes. */
struct lp_borrow {
	lp_addr block; /* where `bytes` go; also the sp in the stub */
	lp_addr records;
	size_t len;
	uint8_t bytes[LP_BLOCK_MAX];
	uint8_t tail[16];
	struct lp_tregs enter; /* registers that send the thread to the stub */
};

/* What calling a function on a borrowed thread takes: a frame for rt_sigreturn(2), and registers. */
#define LP_VECTORS_MAX 16384 /* bytes of vector state, the largest: AMX tiles */
#define LP_FRAME_MAX (LP_VECTORS_MAX + 1024)

struct lp_vectors {
	size_t len;
	uint8_t bytes[LP_VECTORS_MAX] __attribute__((aligned(64)));
};

struct lp_call_frame {
	lp_addr at; /* where `bytes` go; also the sp at the call and at the sigreturn */
	lp_addr result_at;
	size_t len;
	uint8_t bytes[LP_FRAME_MAX];
	struct lp_tregs enter;
};

struct lp_arch {
	uint16_t machine;
	struct lp_sysno sysno;
	uint64_t nr_rt_sigreturn;
	size_t nr_regs;
	size_t red_zone; /* bytes below sp that leaf code may use */

	lp_addr (*pc)(const struct lp_tregs *r);
	lp_addr (*sp)(const struct lp_tregs *r);
	lp_addr (*lr)(const struct lp_tregs *r); /* 0 where there is no link register */
	/* The thread pointer, where the registers tell it; else 0. */
	lp_addr (*tp)(const struct lp_tregs *r);
	/* Does it run this architecture's 64-bit code just now? */
	bool (*native)(const struct lp_tregs *r);
	/* Number of the system call the thread was stopped in, or -1. */
	int64_t (*syscall_nr)(const struct lp_tregs *r);
	/* What the call returned, at the stop when it is left. */
	int64_t (*result)(const struct lp_tregs *r);
	/* Stopped in a call that returned EINTR, and that would not have but for a stop (eintr.def)? */
	bool (*eintr)(const struct lp_tregs *r);
	/* Why this stopped thread must not be redirected just now (the kernel would forget how to restart its call, a
	 * system call would spoil its registers); NULL = it may. */
	const char *(*fragile)(int tid, const struct lp_tregs *r);
	/* In place: the registers with which the thread goes on by itself, outside any system call. */
	void (*resume)(struct lp_tregs *r, enum lp_restart how);
	/* In place: go on at another address (an rseq abort handler). */
	void (*set_pc)(struct lp_tregs *r, lp_addr pc);

	/* Thread-pointer offset of a variable in the main program's TLS block (its PT_TLS, the symbol's value). */
	int64_t (*tls_offset)(const Elf64_Phdr *tls, uint64_t value);

	/* Registers 0 .. n-1 in DWARF's numbering of this ABI; returns n <= LP_DWARF_REGS_MAX. */
	size_t (*dwarf_regs)(const struct lp_tregs *r, uint64_t *out);
	unsigned dwarf_sp, dwarf_fp; /* of these, stack and frame pointer */

	/* glibc's jmp_buf: how far left a disguised word is rotated, and how many words behind the stack pointer the code
	 * address is. */
	struct {
		unsigned rotate;
		int pc_at;
	} jmpbuf;

	/* Which stub this stopped thread needs. */
	const struct lp_stub_text *(*stub)(int tid);
	/* All variants, NULL-terminated: to recognise what an earlier livepatch left. */
	const struct lp_stub_text *const *stubs;
	int vector_set; /* the NT_* register set of the vector state */
	/* Code that calls a function, stores its result, and issues rt_sigreturn. */
	const struct lp_stub_text *call_stub;
	/* Code for a program's entry point (exec.c): a byte sent on a socket, one received, the socket closed, then on to
	 * the entry with the registers and the stack of a program's start.  Tail: u64 entry, u32 descriptor. */
	const struct lp_stub_text *hold_stub;
	/* Why this thread cannot come back through rt_sigreturn; NULL = it can. */
	const char *(*no_sigreturn)(int tid);
	/* The frame with which rt_sigreturn restores everything, and registers that call fn(args) above it. */
	void (*call)(lp_addr stub_at, const struct lp_tregs *resume, const struct lp_vectors *v, uint64_t sigmask,
		     lp_addr fn, const uint64_t args[6], struct lp_call_frame *out);

	/* `resume` sent through the stub at `stub_at` to make nr calls. */
	void (*borrow)(const struct lp_stub_text *text, lp_addr stub_at, const struct lp_tregs *resume,
		       const struct lp_call *calls, size_t nr, struct lp_borrow *out);
};

extern const struct lp_arch lp_arch_host;

#endif
