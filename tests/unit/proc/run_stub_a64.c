/*
 * Runs what src/proc/arch/aarch64.c sends a borrowed thread through: a static
 * aarch64 program that links that file, lays out block and stub as inject.c
 * would, and goes through it.  On an x86-64 host it is run by `qemu-aarch64
 * -cpu max`, which enforces BTI.  It speaks TAP: cmocka is not there.
 *
 * qemu's user mode has no ptrace.  Registers are set and read by the return
 * from signal handlers instead, which sets all of them at once as ptrace does.
 * That part of the file which asks the kernel about a thread gets its answers
 * from the doubles below, in the form that the kernel's documentation gives.
 * What a real kernel does at the stops themselves is not tested here.
 */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <asm/ptrace.h>
#include <linux/futex.h>

#include "base/bits.h"
#include "proc/arch/arch.h"
#include "proc/state.h"

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif

static const struct lp_arch *const arch = &lp_arch_host;
static char failure[256];

static void fail_at(int line, const char *what)
{
	if (!failure[0])
		snprintf(failure, sizeof failure, "line %d: expected %s", line, what);
}

#define expect(condition) ((condition) ? (void)0 : fail_at(__LINE__, #condition))

/* ---- what the kernel would say of a stopped thread ---- */

static struct {
	struct lp_vectors sve, ssve, za, gcs; /* len 0 = no such register set */
	struct lp_tregs regs;
	uint32_t insn; /* at its pc */
	bool signal_pending, filtered;
} kernel;

int lp_trace_vectors(pid_t tid, int set, struct lp_vectors *out)
{
	const struct lp_vectors *v = set == NT_ARM_SVE ? &kernel.sve
				     : set == 0x40b    ? &kernel.ssve
				     : set == 0x40c    ? &kernel.za
				     : set == 0x410    ? &kernel.gcs
						       : NULL;
	if (!v || !v->len)
		return -EINVAL;
	*out = *v;
	return 0;
}

int lp_trace_regs(pid_t tid, struct lp_tregs *out)
{
	*out = kernel.regs;
	return 0;
}

int lp_mem_copy(pid_t tid, lp_addr at, void *data, size_t len)
{
	if (at != arch->pc(&kernel.regs) || len != sizeof kernel.insn)
		return -EFAULT;
	memcpy(data, &kernel.insn, len);
	return 0;
}

bool lp_task_interrupted(pid_t tid, int taken)
{
	return kernel.signal_pending;
}

int lp_task_status(pid_t tid, struct lp_task_status *out)
{
	*out = (struct lp_task_status){.seccomp = kernel.filtered ? 2 : 0};
	return 0;
}

static void reset_kernel(void)
{
	memset(&kernel, 0, sizeof kernel);
	kernel.regs.nr = arch->nr_regs;
}

static const struct lp_stub_text *the_stub(void)
{
	return arch->stubs[0];
}

/* ---- setting all registers at once, and reading them ---- */

enum { BRK = 0xd4200000, SVC = 0xd4000001, BTI_C = 0xd503245f };
#define NZCV UINT64_C(0xf0000000)
#define Z UINT64_C(0x40000000)
enum { SP = 31, PC, PSTATE };

static const struct lp_tregs *entered;
static struct lp_tregs landed;
static struct user_fpsimd_state landed_vectors;
static sigset_t landed_mask;
static lp_addr landing; /* holds a brk */
static mcontext_t home;
static void (*on_break)(mcontext_t *m); /* at any other brk */

static void load(mcontext_t *m, const struct lp_tregs *r)
{
	memcpy(m->regs, r->words, 31 * 8);
	m->sp = r->words[SP];
	m->pc = r->words[PC];
	m->pstate = r->words[PSTATE];
}

static void store(struct lp_tregs *r, const mcontext_t *m)
{
	memcpy(r->words, m->regs, 31 * 8);
	r->words[SP] = m->sp;
	r->words[PC] = m->pc;
	r->words[PSTATE] = m->pstate;
	r->nr = arch->nr_regs;
}

static const struct fpsimd_context *vectors_of(const mcontext_t *m)
{
	const struct _aarch64_ctx *c = (const void *)m->__reserved;
	while (c->magic && c->magic != FPSIMD_MAGIC)
		c = (const void *)((const uint8_t *)c + c->size);
	return (const void *)c;
}

static void leave_home(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	home = uc->uc_mcontext;
	load(&uc->uc_mcontext, entered);
}

static void come_home(ucontext_t *uc)
{
	store(&landed, &uc->uc_mcontext);
	const struct fpsimd_context *fp = vectors_of(&uc->uc_mcontext);
	memcpy(landed_vectors.vregs, fp->vregs, sizeof fp->vregs);
	landed_vectors.fpsr = fp->fpsr;
	landed_vectors.fpcr = fp->fpcr;
	landed_mask = uc->uc_sigmask;
	sigemptyset(&uc->uc_sigmask);
	struct lp_tregs back;
	store(&back, &home);
	load(&uc->uc_mcontext, &back);
}

static void trapped(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	if (uc->uc_mcontext.pc == landing)
		come_home(uc);
	else
		on_break(&uc->uc_mcontext);
}

/* The handler's own stack, so that what lies around the interrupted sp is as the stub left it. */
static void take_signals(void)
{
	static uint8_t stack[1 << 16];
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
	sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = leave_home, .sa_flags = SA_SIGINFO | SA_ONSTACK}, NULL);
	sigaction(SIGTRAP, &(struct sigaction){.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_ONSTACK}, NULL);
}

/* The C library declares raise() a leaf, so that the compiler need not expect handlers to change our variables. */
static int (*volatile raise_signal)(int) = raise;

static void go(const struct lp_tregs *enter)
{
	entered = enter;
	memset(&landed, 0, sizeof landed);
	raise_signal(SIGUSR1);
}

/* ---- an interrupted thread ---- */

#define STACK_SIZE (64u << 10)
#define AROUND 256 /* bytes of its stack that are its own: above sp, and the red zone below */

static uint8_t *code;  /* one page for the stub */
static uint8_t *stack; /* of the interrupted thread */
static lp_addr stack_at;

static void put_insn(lp_addr at, uint32_t insn)
{
	uint8_t *p = (uint8_t *)(uintptr_t)at;
	lp_put32(p, insn);
	__builtin___clear_cache((char *)p, (char *)p + 4);
}

static uint8_t *executable(void *at, size_t size)
{
	uint8_t *p = mmap(at, size, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
	if (p == MAP_FAILED) {
		printf("Bail out! no executable memory\n");
		exit(1);
	}
	return p;
}

static struct lp_tregs interrupted(uint64_t flags)
{
	struct lp_tregs r = {.nr = arch->nr_regs};
	for (unsigned i = 0; i < 31; i++)
		r.words[i] = UINT64_C(0x0101010101010101) * (i + 1);
	r.words[SP] = stack_at;
	r.words[PC] = landing;
	r.words[PSTATE] = flags;
	for (unsigned i = 0; i < AROUND; i++)
		stack[stack_at - (uintptr_t)stack - AROUND / 2 + i] = (uint8_t)(i * 3 + 1);
	return r;
}

static bool is_as_it_was(const struct lp_tregs *r)
{
	if (memcmp(landed.words, r->words, (PC + 1) * 8) || (landed.words[PSTATE] & NZCV) != (r->words[PSTATE] & NZCV))
		return false;
	for (unsigned i = 0; i < AROUND; i++) {
		if (stack[stack_at - (uintptr_t)stack - AROUND / 2 + i] != (uint8_t)(i * 3 + 1))
			return false;
	}
	return true;
}

/* As inject.c does: stub, block, tail, registers.  The target's addresses are ours here. */
static void prepare(struct lp_borrow *b, const struct lp_tregs *r, const struct lp_call *calls, size_t nr)
{
	const struct lp_stub_text *t = the_stub();
	lp_addr at = (uintptr_t)code;
	memcpy(code, t->code, t->len);
	arch->borrow(t, at, r, calls, nr, b);
	memcpy((void *)(uintptr_t)b->block, b->bytes, b->len);
	memcpy(code + t->tail_at, b->tail, t->tail_len);
	__builtin___clear_cache((char *)code, (char *)code + t->len);
}

static int64_t result_of(const struct lp_borrow *b, size_t call)
{
	return (int64_t)lp_get64((void *)(uintptr_t)(b->records + call * LP_RECORD_WORDS * 8));
}

/* ---- system calls ---- */

static void calls_are_made_in_order_and_their_results_kept(void)
{
	struct lp_call calls[] = {
		{SYS_memfd_create, {(uintptr_t) "stub", 0}, 0},
		{SYS_ftruncate, {LP_CALL_FIRST_RESULT, 4096}, 0},
		{SYS_pwrite64, {LP_CALL_FIRST_RESULT, (uintptr_t) "livepatch", 9, 1000}, 0},
		{SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, LP_CALL_FIRST_RESULT, 0}, 0},
		{SYS_close, {LP_CALL_FIRST_RESULT}, 0},
		{SYS_lseek, {LP_CALL_FIRST_RESULT, 0, SEEK_CUR}, 0},
	};
	struct lp_tregs r = interrupted(0);
	struct lp_borrow b;
	prepare(&b, &r, calls, 6);
	go(&b.enter);
	expect(is_as_it_was(&r));
	expect(result_of(&b, 0) >= 0);
	expect(result_of(&b, 1) == 0);
	expect(result_of(&b, 2) == 9);
	expect(result_of(&b, 3) > 0 && !memcmp((uint8_t *)(uintptr_t)result_of(&b, 3) + 1000, "livepatch", 9));
	expect(result_of(&b, 4) == 0);
	expect(result_of(&b, 5) == -EBADF); /* closed by the call before */
	munmap((void *)(uintptr_t)result_of(&b, 3), 4096);
}

static void every_register_and_flag_comes_back(void)
{
	for (uint64_t flags = 0; flags < 16; flags++) {
		struct lp_call call = {SYS_getppid, {0}, 0};
		struct lp_tregs r = interrupted(flags << 28);
		struct lp_borrow b;
		prepare(&b, &r, &call, 1);
		go(&b.enter);
		expect(is_as_it_was(&r));
		expect(result_of(&b, 0) == getppid());
	}
}

/* With a brk in place of the svc, the handler is the kernel: it sees the registers of each call, and answers. */
static struct {
	struct lp_call seen[LP_CALLS_MAX];
	uint64_t x7[LP_CALLS_MAX];
	lp_addr sp;
	size_t nr;
} played;

static void play_kernel(mcontext_t *m)
{
	if (played.nr < LP_CALLS_MAX) {
		played.seen[played.nr].nr = m->regs[8];
		memcpy(played.seen[played.nr].args, m->regs, sizeof played.seen[0].args);
		played.x7[played.nr] = m->regs[7];
	}
	played.sp = m->sp;
	m->regs[0] = 7000 + played.nr++;
	m->pc += 4;
}

static void every_argument_arrives_and_any_of_them_may_be_the_first_result(void)
{
	struct lp_call calls[LP_CALLS_MAX];
	for (size_t c = 0; c < LP_CALLS_MAX; c++) {
		calls[c].nr = 100 + c;
		for (size_t a = 0; a < 6; a++)
			calls[c].args[a] = UINT64_C(0xf000000000000000) + c * 16 + a;
	}
	for (size_t a = 0; a < 6; a++) {
		struct lp_tregs r = interrupted(0);
		struct lp_borrow b;
		calls[2].args[a] = calls[5].args[5 - a] = LP_CALL_FIRST_RESULT;
		prepare(&b, &r, calls, LP_CALLS_MAX);
		put_insn((uintptr_t)code + the_stub()->after_syscall - 4, BRK);
		memset(&played, 0, sizeof played);
		on_break = play_kernel;
		go(&b.enter);
		expect(is_as_it_was(&r));
		expect(played.nr == LP_CALLS_MAX && played.sp == b.block);
		for (size_t c = 0; c < LP_CALLS_MAX; c++) {
			expect(result_of(&b, c) == 7000 + (int64_t)c);
			expect(played.seen[c].nr == calls[c].nr);
			for (size_t i = 0; i < 6; i++)
				expect(played.seen[c].args[i] ==
				       (calls[c].args[i] == LP_CALL_FIRST_RESULT ? 7000 : calls[c].args[i]));
			expect(played.x7[c] == r.words[7]); /* a tracer could not put it back */
		}
		calls[2].args[a] = UINT64_C(0xf000000000000000) + 2 * 16 + a;
		calls[5].args[5 - a] = UINT64_C(0xf000000000000000) + 5 * 16 + 5 - a;
	}
}

static lp_addr broken_at;
static uint32_t broken_insn;
static unsigned breaks;

/* What a signal handler without a stack of its own does at worst.  Once sp is the thread's own again, what is below is
 * for the thread to lose. */
static void spoil_below_sp(mcontext_t *m)
{
	lp_addr end = m->sp == stack_at ? m->sp - arch->red_zone : m->sp;
	memset((void *)(uintptr_t)(end - 4096), 0xee, 4096);
	expect(m->pc == broken_at);
	put_insn(broken_at, broken_insn);
	breaks++;
}

static void a_signal_handler_at_any_instruction_does_no_harm(void)
{
	for (size_t at = 0; at < the_stub()->len; at += 4) {
		struct lp_call calls[] = {{SYS_getppid, {0}, 0}, {SYS_kill, {LP_CALL_FIRST_RESULT, 0}, 0}};
		struct lp_tregs r = interrupted(NZCV);
		struct lp_borrow b;
		prepare(&b, &r, calls, 2);
		broken_at = (uintptr_t)code + at;
		broken_insn = lp_get32(code + at);
		breaks = 0;
		put_insn(broken_at, BRK);
		on_break = spoil_below_sp;
		go(&b.enter);
		expect(is_as_it_was(&r));
		/* Not passed are only the moves that forward an argument which is not the mark. */
		expect(breaks == 1 || (broken_insn & ~7u) == 0xaa0b03e0);
		/* Before the last instruction, the block is above sp and safe. */
		expect(at == the_stub()->tail_at || (result_of(&b, 0) == getppid() && result_of(&b, 1) == 0));
	}
}

static void the_way_back_reaches_as_far_as_it_says(void)
{
	const uint64_t reach = the_stub()->reach;
	const size_t span = 2 * reach + 8192;
	uint8_t *space = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *was = code;
	lp_addr was_landing = landing;
	expect(space != MAP_FAILED);
	lp_addr at = lp_align_down((uintptr_t)space + span / 2, 4096);
	code = executable((void *)(uintptr_t)at, 4096);
	const lp_addr ends[] = {at - reach + 4, at + reach - 4};
	for (int i = 0; i < 2; i++) {
		landing = ends[i];
		executable((void *)(uintptr_t)lp_align_down(landing, 4096), 4096);
		put_insn(landing, BRK);
		struct lp_call call = {SYS_getppid, {0}, 0};
		struct lp_tregs r = interrupted(0);
		struct lp_borrow b;
		prepare(&b, &r, &call, 1);
		go(&b.enter);
		expect(is_as_it_was(&r));
	}
	munmap(space, span);
	code = was;
	landing = was_landing;
}

static void a_thread_before_its_landing_pad_goes_through_guarded_memory(void)
{
	struct lp_call call = {SYS_getppid, {0}, 0};
	struct lp_tregs r = interrupted(PSR_BTYPE_JC);
	struct lp_borrow b;
	prepare(&b, &r, &call, 1);
	expect((b.enter.words[PSTATE] & PSR_BTYPE_MASK) == 0);
	expect(mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC | PROT_BTI) == 0);
	go(&b.enter);
	mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	expect(is_as_it_was(&r));
}

static void what_is_left_of_a_stub_is_known_without_its_tail(void)
{
	expect(the_stub()->tail_at + the_stub()->tail_len == the_stub()->len);
	expect(the_stub()->len <= LP_STUB_ROOM && arch->call_stub->len <= LP_STUB_ROOM);
	expect(arch->stubs[1] == arch->call_stub && !arch->stubs[2]);
}

/* ---- function calls ---- */

static uint64_t called_with[6];
static bool called_aligned;

__attribute__((noinline)) static uint64_t called(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	uint64_t args[6] = {a, b, c, d, e, f};
	memcpy(called_with, args, sizeof args);
	called_aligned = (uintptr_t)__builtin_frame_address(0) % 16 == 0;
	/* All that a function may spoil. */
	__asm__ volatile(
		"mov x1, 1\n mov x2, 1\n mov x3, 1\n mov x4, 1\n mov x5, 1\n mov x6, 1\n mov x7, 1\n mov x8, 1\n"
		"mov x9, 1\n mov x10, 1\n mov x11, 1\n mov x12, 1\n mov x13, 1\n mov x14, 1\n mov x15, 1\n"
		"mov x16, 1\n mov x17, 1\n movi v0.16b, 1\n movi v7.16b, 2\n movi v16.16b, 3\n movi v31.16b, 4\n"
		"msr fpsr, xzr\n cmp xzr, xzr" ::
			: "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
			  "x15", "x16", "x17", "v0", "v7", "v16", "v31", "cc");
	return 4711;
}

static const uint64_t call_args[6] = {11, 22, 33, 44, 55, 66};

static void prepare_call(struct lp_call_frame *f, const struct lp_tregs *r, const struct lp_vectors *v)
{
	memcpy(code, arch->call_stub->code, arch->call_stub->len);
	__builtin___clear_cache((char *)code, (char *)code + arch->call_stub->len);
	memset(called_with, 0, sizeof called_with);
	arch->call((uintptr_t)code, r, v, 1u << (SIGUSR2 - 1), (uintptr_t)called, call_args, f);
	memcpy((void *)(uintptr_t)f->at, f->bytes, f->len);
}

static struct lp_vectors some_vectors(void)
{
	struct user_fpsimd_state fp = {.fpsr = 0x10 /* inexact */, .fpcr = 0x400000 /* round up */};
	struct lp_vectors v = {.len = sizeof fp};
	for (size_t i = 0; i < sizeof fp.vregs; i++)
		((uint8_t *)fp.vregs)[i] = (uint8_t)(i * 7 + 5);
	memcpy(v.bytes, &fp, sizeof fp);
	return v;
}

static void a_function_is_called_and_everything_comes_back_without_a_tracer(void)
{
	struct lp_tregs r = interrupted(NZCV & ~Z);
	struct lp_vectors v = some_vectors();
	static struct lp_call_frame f;
	prepare_call(&f, &r, &v);
	go(&f.enter);
	expect(!memcmp(called_with, call_args, sizeof call_args) && called_aligned);
	expect(lp_get64((void *)(uintptr_t)f.result_at) == 4711);
	expect(is_as_it_was(&r));
	expect(!memcmp(&landed_vectors, v.bytes, sizeof landed_vectors));
	expect(sigismember(&landed_mask, SIGUSR2) && !sigismember(&landed_mask, SIGUSR1));
	expect(f.at + f.len + arch->red_zone <= r.words[SP]);
}

/* Of interrupted(): what a tracer finds at the entry of the call that is none, and does there (call.c). */
static struct lp_tregs at_entry;
static const struct lp_tregs *tracer_sets;

static void play_tracer(mcontext_t *m)
{
	store(&at_entry, m);
	uint64_t x7 = m->regs[7];
	load(m, tracer_sets);
	m->regs[7] = x7;
}

static void a_tracer_at_the_entry_of_the_last_call_can_put_everything_back(void)
{
	struct lp_tregs r = interrupted(NZCV);
	struct lp_vectors v = some_vectors();
	static struct lp_call_frame f;
	prepare_call(&f, &r, &v);
	expect(lp_get32(code + arch->call_stub->after_syscall - 4) == SVC);
	put_insn((uintptr_t)code + arch->call_stub->after_syscall - 4, BRK);
	on_break = play_tracer;
	tracer_sets = &r;
	go(&f.enter);
	expect(at_entry.words[SP] == f.at && at_entry.words[8] == arch->nr_rt_sigreturn);
	expect(arch->syscall_nr(&at_entry) == (int64_t)arch->nr_rt_sigreturn);
	expect(is_as_it_was(&r));
}

/* ---- registers ---- */

static bool fragile(uint64_t nr, uint64_t x0, uint64_t x1, uint64_t x3)
{
	struct lp_tregs r = interrupted(0);
	r.words[0] = x0;
	r.words[1] = x1;
	r.words[3] = x3;
	r.words[8] = nr;
	reset_kernel();
	kernel.regs = r;
	kernel.insn = SVC;
	return arch->fragile(1, &r);
}

static void only_calls_with_a_restart_block_are_fragile(void)
{
	expect(fragile(SYS_nanosleep, 1, 0, 0));
	expect(fragile(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, 0));
	expect(!fragile(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, 0));
	expect(fragile(SYS_futex, 1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1));
	expect(!fragile(SYS_futex, 1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0));
	expect(!fragile(SYS_futex, 1, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 1));
	expect(!fragile(SYS_restart_syscall, 1, 0, 0)); /* what such a call has become, once let go */
	expect(!fragile(SYS_read, 1, 0, 0));
	reset_kernel();
	kernel.regs = interrupted(0);
	kernel.regs.words[8] = SYS_nanosleep; /* left over from an earlier call */
	kernel.insn = BTI_C;
	expect(!arch->fragile(1, &kernel.regs));
	for (int64_t code_ = -517; code_ <= -511; code_++)
		expect(fragile(SYS_read, (uint64_t)code_, 0, 0) == (code_ != -517 && code_ != -511));
}

static void a_crooked_stack_pointer_is_fragile(void)
{
	struct lp_tregs r = interrupted(0);
	r.words[SP] += 8;
	expect(arch->fragile(1, &r));
}

static void a_32_bit_thread_is_not_native(void)
{
	struct lp_tregs r = interrupted(0), compat = interrupted(PSR_MODE32_BIT);
	expect(arch->native(&r) && !arch->native(&compat));
	r.nr = 9; /* struct compat user_regs: 18 words of 32 bits */
	expect(!arch->native(&r));
}

static void the_kernels_own_restart_is_left_alone(void)
{
	struct lp_tregs r = interrupted(0), same = r;
	arch->resume(&r, LP_RESTART_EINTR);
	expect(!memcmp(&r, &same, sizeof r));
	expect(arch->syscall_nr(&r) == -1 && !arch->eintr(&r));
}

static void signed_return_addresses_are_read_without_their_signature(void)
{
	struct lp_tregs r = interrupted(0);
	uint64_t out[LP_DWARF_REGS_MAX];
	r.words[30] = UINT64_C(0x2a7f0000aaaabbcc) | UINT64_C(0x40) << 48;
	expect(arch->lr(&r) == UINT64_C(0x0000aaaabbcc));
	expect(arch->dwarf_regs(&r, out) == 32);
	expect(out[30] == UINT64_C(0x0000aaaabbcc) && out[31] == r.words[SP] && out[29] == r.words[29]);
}

/* ---- threads ---- */

static void put_sve(struct lp_vectors *v, uint16_t vl, uint16_t flags, size_t size)
{
	struct user_sve_header h = {
		.size = (uint32_t)size, .max_size = (uint32_t)size, .vl = vl, .max_vl = vl, .flags = flags};
	memset(v, 0, sizeof *v);
	memcpy(v->bytes, &h, sizeof h);
	v->len = size;
}

static bool may_make_calls(void)
{
	return !arch->fragile(1, &kernel.regs);
}

static void a_thread_without_vector_extensions_may_make_calls(void)
{
	reset_kernel();
	expect(may_make_calls());
	expect(!arch->no_sigreturn(1));
}

static void a_thread_with_live_sve_registers_may_not_make_calls(void)
{
	for (uint16_t vl = 16; vl <= 256; vl += 16) {
		const unsigned vq = vl / 16;
		const size_t size = SVE_PT_SIZE(vq, SVE_PT_REGS_SVE);
		const size_t low = SVE_PT_SVE_ZREG_OFFSET(vq, 5), high = low + 16,
			     pred = SVE_PT_SVE_PREG_OFFSET(vq, 15);
		reset_kernel();
		put_sve(&kernel.sve, vl, SVE_PT_REGS_FPSIMD, SVE_PT_SIZE(vq, SVE_PT_REGS_FPSIMD));
		kernel.sve.bytes[100] = 1;
		expect(may_make_calls());
		put_sve(&kernel.sve, vl, SVE_PT_REGS_SVE, size);
		kernel.sve.bytes[low + 15] = 1; /* V5, which a call keeps */
		expect(may_make_calls());
		if (vq > 1) {
			kernel.sve.bytes[high] = 1;
			expect(!may_make_calls() && arch->no_sigreturn(1));
			kernel.sve.bytes[high] = 0;
		}
		kernel.sve.bytes[pred] = 1;
		expect(!may_make_calls());
		kernel.sve.bytes[pred] = 0;
		kernel.sve.bytes[SVE_PT_SVE_FFR_OFFSET(vq)] = 1;
		expect(!may_make_calls());
		kernel.sve.bytes[SVE_PT_SVE_FFR_OFFSET(vq)] = 0;
		kernel.sve.len = SVE_PT_SVE_FFR_OFFSET(vq); /* cut off: who knows */
		expect(!may_make_calls());
	}
}

static void a_thread_in_streaming_mode_may_not_make_calls(void)
{
	reset_kernel();
	put_sve(&kernel.ssve, 32, 0, sizeof(struct user_sve_header));
	expect(may_make_calls());
	put_sve(&kernel.ssve, 32, SVE_PT_REGS_SVE, SVE_PT_SIZE(2, SVE_PT_REGS_SVE));
	expect(!may_make_calls());
}

static void a_live_za_matrix_survives_calls_but_not_functions(void)
{
	reset_kernel();
	put_sve(&kernel.za, 32, 0, sizeof(struct user_sve_header) + 32 * 32);
	expect(may_make_calls());
	expect(arch->no_sigreturn(1));
}

static void a_thread_that_owes_its_program_an_eintr_may_not_make_calls(void)
{
	reset_kernel();
	kernel.regs.words[PC] = 0x400000;
	kernel.insn = SVC;
	expect(may_make_calls());
	kernel.signal_pending = true;
	expect(!may_make_calls());
	kernel.insn = BTI_C; /* in no system call: the handler may run before or after */
	expect(may_make_calls());
}

static void a_guarded_control_stack_or_a_filter_forbids_functions(void)
{
	reset_kernel();
	kernel.gcs.len = 24; /* struct user_gcs: enabled, locked, pointer */
	expect(!arch->no_sigreturn(1));
	kernel.gcs.bytes[0] = 1;
	expect(arch->no_sigreturn(1) && may_make_calls());
	reset_kernel();
	kernel.filtered = true;
	expect(arch->no_sigreturn(1));
}

/* ---- thread-local storage ---- */

#define TLS_MARK UINT64_C(0x1f2e3d4c5b6a7988)
static __thread uint64_t tls_filler = 1;
static __thread uint64_t tls_mark __attribute__((aligned(128))) = TLS_MARK;

static int find_tls(struct dl_phdr_info *info, size_t size, void *out)
{
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(Elf64_Phdr *)out = info->dlpi_phdr[i];
	}
	return 1;
}

/* Its value, as a symbol has it, is where the mark stands in the initial image. */
static uint64_t value_of_mark(const Elf64_Phdr *tls)
{
	const uint8_t *image = (const uint8_t *)(uintptr_t)tls->p_vaddr;
	for (uint64_t at = 0; at + 8 <= tls->p_filesz; at += 8) {
		if (lp_get64(image + at) == TLS_MARK)
			return at;
	}
	return UINT64_MAX;
}

static void a_thread_local_variable_is_where_the_offset_says(void)
{
	Elf64_Phdr tls = {0};
	dl_iterate_phdr(find_tls, &tls);
	expect(tls.p_align >= 128 && tls_filler == 1);
	int64_t offset = arch->tls_offset(&tls, value_of_mark(&tls));
	expect((uintptr_t)&tls_mark == (uintptr_t)__builtin_thread_pointer() + (uint64_t)offset);
	expect(arch->tls_offset(&(Elf64_Phdr){.p_align = 8}, 24) == 16 + 24);
	expect(arch->tls_offset(&(Elf64_Phdr){.p_align = 64}, 24) == 64 + 24);
	expect(arch->tls_offset(&(Elf64_Phdr){.p_align = 64, .p_vaddr = 0x10020}, 0) == 32);
	expect(arch->tls_offset(&(Elf64_Phdr){.p_align = 64, .p_vaddr = 0x10008}, 0) == 72);
	expect(arch->tls_offset(&(Elf64_Phdr){0}, 0) == 16);
}

/* ---- a program's entry ---- */

static void lay_hold(int fd)
{
	const struct lp_stub_text *t = arch->hold_stub;
	memcpy(code, t->code, t->len);
	lp_put64(code + t->tail_at, landing);
	lp_put32(code + t->tail_at + 8, (uint32_t)fd);
	__builtin___clear_cache((char *)code, (char *)code + t->len);
}

static void a_program_says_that_it_is_at_its_entry_waits_and_begins_as_ever(void)
{
	int ends[2];
	char byte = 0;
	expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	expect(write(ends[0], "x", 1) == 1); /* the answer lies there before it is asked for */
	lay_hold(ends[1]);
	struct lp_tregs r = interrupted(0), enter = r;
	enter.words[PC] = (uintptr_t)code;
	go(&enter);
	expect(landed.words[PC] == landing);
	expect(landed.words[SP] == r.words[SP]);
	expect(landed.words[0] == r.words[0]); /* what the program gives to atexit() */
	for (unsigned i = AROUND / 2; i < AROUND; i++)
		expect(stack[stack_at - (uintptr_t)stack - AROUND / 2 + i] == (uint8_t)(i * 3 + 1));
	expect(recv(ends[0], &byte, 1, MSG_DONTWAIT) == 1);
	expect(recv(ends[0], &byte, 1, MSG_DONTWAIT) == 0); /* closed */
	expect(close(ends[1]) < 0);
	close(ends[0]);
}

static void a_program_whose_watcher_is_gone_begins_at_once(void)
{
	int ends[2];
	expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	close(ends[0]);
	lay_hold(ends[1]);
	struct lp_tregs enter = interrupted(0);
	enter.words[PC] = (uintptr_t)code;
	go(&enter); /* no SIGPIPE either */
	expect(landed.words[PC] == landing);
	expect(close(ends[1]) < 0);
}

#define TEST(name)          \
	{                   \
#name, name \
	}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		TEST(calls_are_made_in_order_and_their_results_kept),
		TEST(every_register_and_flag_comes_back),
		TEST(every_argument_arrives_and_any_of_them_may_be_the_first_result),
		TEST(a_signal_handler_at_any_instruction_does_no_harm),
		TEST(the_way_back_reaches_as_far_as_it_says),
		TEST(a_thread_before_its_landing_pad_goes_through_guarded_memory),
		TEST(what_is_left_of_a_stub_is_known_without_its_tail),
		TEST(a_function_is_called_and_everything_comes_back_without_a_tracer),
		TEST(a_tracer_at_the_entry_of_the_last_call_can_put_everything_back),
		TEST(only_calls_with_a_restart_block_are_fragile),
		TEST(a_crooked_stack_pointer_is_fragile),
		TEST(a_32_bit_thread_is_not_native),
		TEST(the_kernels_own_restart_is_left_alone),
		TEST(signed_return_addresses_are_read_without_their_signature),
		TEST(a_thread_without_vector_extensions_may_make_calls),
		TEST(a_thread_with_live_sve_registers_may_not_make_calls),
		TEST(a_thread_in_streaming_mode_may_not_make_calls),
		TEST(a_live_za_matrix_survives_calls_but_not_functions),
		TEST(a_thread_that_owes_its_program_an_eintr_may_not_make_calls),
		TEST(a_guarded_control_stack_or_a_filter_forbids_functions),
		TEST(a_thread_local_variable_is_where_the_offset_says),
		TEST(a_program_says_that_it_is_at_its_entry_waits_and_begins_as_ever),
		TEST(a_program_whose_watcher_is_gone_begins_at_once),
	};
	const size_t nr = sizeof tests / sizeof tests[0];
	int failed = 0;
	uint8_t *pages = executable(NULL, 2 * 4096);
	code = pages;
	landing = (uintptr_t)pages + 4096;
	put_insn(landing, BRK);
	stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_at = (uintptr_t)stack + STACK_SIZE - 4096;
	take_signals();
	printf("1..%zu\n", nr);
	for (size_t i = 0; i < nr; i++) {
		failure[0] = '\0';
		tests[i].run();
		if (failure[0])
			printf("# %s\n", failure);
		printf("%sok %zu - %s\n", failure[0] ? "not " : "", i + 1, tests[i].name);
		fflush(stdout);
		failed += failure[0] != '\0';
	}
	return failed != 0;
}
