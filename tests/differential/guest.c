/*
 * The program that runs under each emulator: guest CASES RESULTS [FIRST]
 *
 * For each input it loads all registers, runs the slot, and stores what came of
 * it.  No C library, no vector register of its own, few system calls: whatever
 * runs a static ELF runs this.  Exit status 0: all cases have a result; 1: the
 * files are not what they should be.
 */
#include "case.h"

#include <stdbool.h>

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#define PAGE UINT64_C(4096)
#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif

uint64_t guest_sp;
struct diff_state guest_out __attribute__((aligned(16)));

void guest_enter(const struct diff_state *in);
void guest_leave(void);
void guest_clear_dit(void);
void guest_clear_ssbs(void);
_Noreturn void guest_main(const uint64_t *stack);

static struct diff_result signalled; /* signo, code and addr of the one that ended the stream */
static uint8_t signal_stack[65536] __attribute__((aligned(16)));

static int64_t call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t x8 __asm__("x8") = nr;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return (int64_t)x0;
}

static _Noreturn void finish(int status)
{
	for (;;)
		call(__NR_exit_group, (uint64_t)status, 0, 0, 0, 0, 0);
}

/* ---- signals ---- */

static void on_signal(int signo, siginfo_t *info, void *context)
{
	struct ucontext *uc = context;
	struct sigcontext *mc = &uc->uc_mcontext;
	const struct _aarch64_ctx *head = (const void *)mc->__reserved;

	for (unsigned i = 0; i < 31; i++)
		guest_out.x[i] = mc->regs[i];
	guest_out.sp = mc->sp;
	guest_out.pc = mc->pc;
	guest_out.nzcv = mc->pstate & 0xf0000000;
	while (head->magic && head->magic != FPSIMD_MAGIC)
		head = (const void *)((const uint8_t *)head + head->size);
	if (head->magic) {
		const struct fpsimd_context *fp = (const void *)head;

		for (unsigned i = 0; i < 32; i++) {
			guest_out.v[i][0] = (uint64_t)fp->vregs[i];
			guest_out.v[i][1] = (uint64_t)(fp->vregs[i] >> 64);
		}
		guest_out.fpcr = fp->fpcr;
		guest_out.fpsr = fp->fpsr;
	}
	signalled.signo = (uint32_t)signo;
	signalled.code = (uint32_t)info->si_code;
	signalled.addr = (uint64_t)info->si_addr;
	mc->pc = (uint64_t)guest_leave;
	mc->sp = guest_sp;
	mc->pstate = 0;
}

static void catch_signals(void)
{
	static const int caught[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
	stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
	struct {
		void (*handler)(int, siginfo_t *, void *);
		uint64_t flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = {on_signal, SA_SIGINFO | SA_ONSTACK, 0, 0};

	call(__NR_sigaltstack, (uint64_t)&stack, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++)
		if (call(__NR_rt_sigaction, (uint64_t)caught[i], (uint64_t)&action, 0, 8, 0, 0))
			finish(1);
}

/* ---- files ---- */

static uint64_t map(uint64_t at, uint64_t size, uint64_t prot, uint64_t flags, int64_t fd, uint64_t offset)
{
	uint64_t base = (uint64_t)call(__NR_mmap, at, size, prot, flags | (at ? MAP_FIXED : 0), (uint64_t)fd, offset);

	if (base > (uint64_t)-4096)
		finish(1);
	return base;
}

static int64_t opened(uint64_t path, uint64_t flags)
{
	int64_t fd = call(__NR_openat, (uint64_t)AT_FDCWD, path, flags, 0, 0, 0);

	if (fd < 0)
		finish(1);
	return fd;
}

static uint64_t padded(uint64_t size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

/* As a program does that has just written code. */
static void copy_slots(uint64_t from, uint64_t size, uint64_t prot)
{
	map(DIFF_CODE, size, PROT_READ | PROT_WRITE | PROT_EXEC | prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint64_t i = 0; i < size / 8; i++)
		((volatile uint64_t *)DIFF_CODE)[i] = ((const uint64_t *)from)[i];
	for (uint64_t at = DIFF_CODE; at < DIFF_CODE + size; at += 4)
		__asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
	__asm__ volatile("dsb ish" : : : "memory");
	for (uint64_t at = DIFF_CODE; at < DIFF_CODE + size; at += 4)
		__asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
	__asm__ volatile("dsb ish\n\tisb" : : : "memory");
}

static const struct diff_input *map_cases(uint64_t path, const struct diff_cases **cases)
{
	int64_t fd = opened(path, O_RDONLY);

	*cases = (const void *)map(0, DIFF_CASES_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	if ((*cases)->magic != DIFF_MAGIC)
		finish(1);

	uint64_t code_size = padded((*cases)->nr_slots * (uint64_t)DIFF_SLOT);
	uint64_t inputs_size = padded((*cases)->nr_inputs * sizeof(struct diff_input));
	uint64_t guard = (*cases)->guarded ? PROT_BTI : 0;
	if ((*cases)->copy)
		copy_slots(map(0, code_size, PROT_READ, MAP_PRIVATE, fd, DIFF_CASES_SIZE), code_size, guard);
	else
		map(DIFF_CODE, code_size, PROT_READ | PROT_EXEC | guard, MAP_PRIVATE, fd, DIFF_CASES_SIZE);
	return (const void *)map(0, inputs_size, PROT_READ, MAP_PRIVATE, fd, DIFF_CASES_SIZE + code_size);
}

static struct diff_progress *map_results(uint64_t path, uint32_t nr_inputs)
{
	uint64_t size = DIFF_PROGRESS_SIZE + padded(nr_inputs * sizeof(struct diff_result));

	return (void *)map(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened(path, O_RDWR), 0);
}

static void map_page(const uint64_t *fill)
{
	map(DIFF_PAGE - DIFF_AROUND, 2 * DIFF_AROUND + DIFF_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map(DIFF_PAGE, DIFF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < DIFF_PAGE_SIZE / 8; i++)
		((volatile uint64_t *)DIFF_PAGE)[i] = fill[i];
}

/* ---- cases ---- */

static void note_write(struct diff_result *result, uint64_t at, uint64_t value)
{
	if (result->nr_writes < DIFF_NR_WRITES)
		result->writes[result->nr_writes] = (struct diff_write){at * 8, value};
	result->nr_writes++;
	result->memory_hash = (result->memory_hash ^ value ^ at << 48) * UINT64_C(0x9e3779b97f4a7c15);
	result->memory_hash ^= result->memory_hash >> 29;
}

/* Writes down what is not as it was, and puts it back. */
static void take_writes(struct diff_result *result, const uint64_t *was)
{
	uint64_t *is = (uint64_t *)DIFF_PAGE;

	for (unsigned i = 0; i < DIFF_PAGE_SIZE / 8; i += 8) {
		if (!((is[i] ^ was[i]) | (is[i + 1] ^ was[i + 1]) | (is[i + 2] ^ was[i + 2]) |
		      (is[i + 3] ^ was[i + 3]) | (is[i + 4] ^ was[i + 4]) | (is[i + 5] ^ was[i + 5]) |
		      (is[i + 6] ^ was[i + 6]) | (is[i + 7] ^ was[i + 7])))
			continue;
		for (unsigned k = i; k < i + 8; k++)
			if (is[k] != was[k]) {
				note_write(result, k, is[k]);
				is[k] = was[k];
			}
	}
}

static void copy_words(uint64_t *to, const uint64_t *from, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		((volatile uint64_t *)to)[i] = from[i];
}

#ifdef GUEST_IS_WRONG
/* What no emulator does, so that the comparison has something to find: negative MADD results have one bit the other way. */
static void be_wrong(const struct diff_input *in)
{
	for (const uint32_t *word = (const uint32_t *)in->state.pc + 1; *word != 0xd51bd05e; word++) {
		uint64_t *rd = &guest_out.x[*word & 31];

		if ((*word & 0x7fe08000) == 0x1b000000 && (*word & 31) != 31 && *rd >> 63)
			*rd ^= 1 << 7;
	}
}
#endif

static void run_case(const struct diff_input *in, struct diff_result *result, const uint64_t *page)
{
	signalled.signo = signalled.code = 0;
	signalled.addr = 0;
	guest_enter(&in->state);
#ifdef GUEST_IS_WRONG
	be_wrong(in);
#endif
	copy_words((uint64_t *)&result->state, (const uint64_t *)&guest_out, sizeof guest_out / 8);
	result->signo = signalled.signo;
	result->code = signalled.code;
	result->addr = signalled.addr;
	if (in->flags & DIFF_MEMORY)
		take_writes(result, page);
}

/* What a stream may change and the state does not hold: a CPU that has it has a cleared one before each case. */
static bool can_run(void (*code)(void))
{
	static struct diff_state state;

	state.pc = (uint64_t)code;
	signalled.signo = 0;
	guest_enter(&state);
	return !signalled.signo;
}

static void reset_pstate(void)
{
	static int has_dit = -1, has_ssbs = -1;

	if (has_dit < 0) {
		has_dit = can_run(guest_clear_dit);
		has_ssbs = can_run(guest_clear_ssbs);
	}
	if (has_dit)
		__asm__ volatile(".inst 0xd51b42bf"); /* msr dit, xzr */
	if (has_ssbs)
		__asm__ volatile(".inst 0xd51b42df"); /* msr ssbs, xzr */
}

static uint64_t number(const char *text)
{
	uint64_t value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

_Noreturn void guest_main(const uint64_t *stack)
{
	if (stack[0] < 3)
		finish(1);

	const struct diff_cases *cases;
	const struct diff_input *in = map_cases(stack[2], &cases);
	struct diff_progress *progress = map_results(stack[3], cases->nr_inputs);
	struct diff_result *results = (void *)((uint8_t *)progress + DIFF_PROGRESS_SIZE);

	map_page(cases->page);
	catch_signals();
	for (uint64_t i = stack[0] > 3 ? number((const char *)stack[4]) : 0; i < cases->nr_inputs; i++) {
		reset_pstate();
		run_case(&in[i], &results[i], cases->page);
		*(volatile uint64_t *)&progress->next = i + 1;
	}
	finish(0);
}
