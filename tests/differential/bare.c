/*
 * The semantic functions of src/emu alone, as an emulator of the guest: bare GUEST CASES RESULTS [FIRST]
 *
 *     differential --ours BUILD/tests/differential/bare ...
 *
 * It reads the cases itself, in place of the guest, and needs neither loader nor signals nor system calls of the
 * emulator: what instructions compute can be compared before the rest is there, and when the rest is in doubt.  It
 * stands in for block.c and run.c.  BARE_PLAIN=1: each row's own function, never one that is specialised for registers,
 * lanes or the host.  Under qemu-x86_64 -cpu Nehalem it is what hosts without AVX2 and AES run.
 */
#include "case.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/vec.h"
#include "emu/emu.h"
#include "emu/fp.h"
#include "emu/hot.h"
#include "emu/pauth.h"

/* msr tpidr_el0, x30; ldr x30, .+8: behind the stream. */
#define END UINT64_C(0x5800005ed51bd05e)

static struct lp_uop uops[DIFF_SLOT_WORDS];
static unsigned nr_uops;
static uint64_t slot_at;
static struct lp_slot targets[DIFF_SLOT_WORDS + 1];
static sigjmp_buf landing;
static struct lp_cpu *running;
static bool is_plain; /* BARE_PLAIN: the rows' own functions, never those that lower.c chooses */

/* ---- in place of block.c ---- */

struct lp_blocks {
	int nothing;
};

static const struct lp_uop *stop(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->leave = LP_LEAVE_LOOKUP;
	return NULL;
}

static const struct lp_uop *fall_out(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->pc = u->pc;
	return stop(cpu, u);
}

const struct lp_uop lp_slot_miss = {.run = stop};

struct lp_slot *lp_slot_of(struct lp_blocks *b, uint64_t pc)
{
	uint64_t index = (pc - slot_at) / 4;
	struct lp_slot *s = &targets[index < DIFF_SLOT_WORDS ? index : DIFF_SLOT_WORDS];

	s->pc = pc;
	atomic_init(&s->entry, index < DIFF_SLOT_WORDS ? &uops[index] : &lp_slot_miss);
	return s;
}

void lp_block_icache_line(struct lp_blocks *b, uint64_t addr)
{
}

/* ---- faults of the host ---- */

static void caught(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	if (!running || !running->at)
		abort();
	running->pc = running->at->pc;
	running->leave = LP_LEAVE_FAULT;
	running->fault = (struct lp_fault){.signal = signal, .code = info->si_code, .addr = (uint64_t)info->si_addr};
	/* A non-canonical address: the processor names none, and the guest's has one. */
	if (info->si_code == SI_KERNEL)
		running->fault = (struct lp_fault){.signal = signal, .code = SEGV_MAPERR};
	lp_fp_land(running, uc->uc_mcontext.fpregs->mxcsr);
	siglongjmp(landing, 1);
}

static void catch_faults(void)
{
	struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* ---- cases ---- */

static void *map(uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset)
{
	void *p = mmap((void *)at, size, prot, flags | (at ? MAP_FIXED_NOREPLACE : 0), fd, (off_t)offset);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static uint64_t padded(uint64_t size)
{
	return (size + 4095) & ~UINT64_C(4095);
}

static void load_state(struct lp_cpu *cpu, const struct diff_state *s)
{
	memcpy(cpu->x, s->x, sizeof s->x);
	cpu->x[LP_SP] = s->sp;
	cpu->x[LP_ZR] = 0;
	cpu->pc = s->pc + 4;
	cpu->tpidr = s->x[30];
	cpu->btype = 0;
	cpu->dit = cpu->ssbs = false;
	cpu->exclusive.size = 0;
	memcpy(cpu->vr, s->v, sizeof s->v);
	lp_cpu_set_nzcv(cpu, (uint32_t)s->nzcv);
	lp_fpcr_write(cpu, (uint32_t)s->fpcr);
	lp_fpsr_write(cpu, (uint32_t)s->fpsr);
	memset(cpu->jumps, 0, sizeof cpu->jumps);
	cpu->jumps[0].pc = 4; /* looked for elsewhere */
}

static void store_state(const struct lp_cpu *cpu, struct diff_state *s)
{
	memcpy(s->x, cpu->x, sizeof s->x);
	s->sp = cpu->x[LP_SP];
	memcpy(s->v, cpu->vr, sizeof s->v);
	s->nzcv = lp_cpu_nzcv(cpu);
	s->fpcr = cpu->fpcr;
	s->fpsr = lp_fpsr_read(cpu);
	s->pc = 0;
}

static bool is_end(const uint32_t *words)
{
	return (words[0] | (uint64_t)words[1] << 32) == END;
}

/* As lp_lower() leaves rows that have no specialised function. */
static void make_plain(struct lp_uop *u)
{
	enum lp_a64_op op = lp_a64_decode(u->word);

	u->rd = u->word & 31;
	u->rn = u->word >> 5 & 31;
	u->rm = u->word >> 16 & 31;
	u->ra = u->word >> 10 & 31;
	if (lp_cpu_offers(lp_a64_row(op)->feature))
		u->run = lp_sem[op];
}

static void lower(struct lp_emu *emu, uint64_t slot)
{
	const uint32_t *words = (const uint32_t *)slot;

	if (slot == slot_at)
		return;
	slot_at = slot;
	for (nr_uops = 1; !is_end(&words[nr_uops]); nr_uops++) {
		lp_lower(emu->blocks, &uops[nr_uops], words[nr_uops], slot + nr_uops * UINT64_C(4));
		if (is_plain)
			make_plain(&uops[nr_uops]);
	}
	for (unsigned i = 1; i + 1 < nr_uops && !is_plain; i++)
		lp_hot_pair(&uops[i]);
	uops[nr_uops] = (struct lp_uop){.run = fall_out, .pc = slot + nr_uops * UINT64_C(4)};
}

/* Until the end of the stream, or a fault. */
static void execute(struct lp_cpu *cpu)
{
	if (sigsetjmp(landing, 0))
		return;
	for (;;) {
		uint64_t index = (cpu->pc - slot_at) / 4;
		const struct lp_uop *u = &uops[index];

		if (cpu->pc % 4 || index < 1 || index > nr_uops) {
			/* As the fetch from there would. */
			cpu->leave = LP_LEAVE_FAULT;
			cpu->fault = (struct lp_fault){.signal = SIGSEGV, .code = SEGV_MAPERR, .addr = cpu->pc};
			return;
		}
		if (index == nr_uops)
			return;
		cpu->leave = LP_LEAVE_LOOKUP;
		while (u)
			u = u->run(cpu, u);
		if (cpu->leave == LP_LEAVE_FAULT)
			return;
	}
}

static void note_write(struct diff_result *result, uint64_t at, uint64_t value)
{
	if (result->nr_writes < DIFF_NR_WRITES)
		result->writes[result->nr_writes] = (struct diff_write){at * 8, value};
	result->nr_writes++;
	result->memory_hash = (result->memory_hash ^ value ^ at << 48) * UINT64_C(0x9e3779b97f4a7c15);
	result->memory_hash ^= result->memory_hash >> 29;
}

static void take_writes(struct diff_result *result, const uint64_t *was)
{
	uint64_t *is = (uint64_t *)DIFF_PAGE;

	for (unsigned i = 0; i < DIFF_PAGE_SIZE / 8; i++)
		if (is[i] != was[i]) {
			note_write(result, i, is[i]);
			is[i] = was[i];
		}
}

static void run_case(struct lp_emu *emu, struct lp_cpu *cpu, const struct diff_input *in, struct diff_result *result,
		     const uint64_t *page)
{
	lower(emu, in->state.pc);
	load_state(cpu, &in->state);
	cpu->leave = LP_LEAVE_LOOKUP;
	running = cpu;
	execute(cpu);
	running = NULL;
	cpu->at = NULL;
	store_state(cpu, &result->state);
	if (cpu->leave == LP_LEAVE_FAULT) {
		result->state.pc = cpu->pc;
		result->signo = (uint32_t)cpu->fault.signal;
		result->code = (uint32_t)cpu->fault.code;
		result->addr = cpu->fault.addr;
	}
	if (in->flags & DIFF_MEMORY)
		take_writes(result, page);
}

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		exit(1);
	return fd;
}

int main(int argc, char **argv)
{
	static struct lp_blocks blocks;
	static struct lp_emu emu = {.blocks = &blocks};
	static struct lp_cpu cpu = {.emu = &emu};

	if (argc < 4)
		return 1;
	is_plain = getenv("BARE_PLAIN") != NULL;
	int fd = opened(argv[2], O_RDONLY);
	const struct diff_cases *cases = map(0, DIFF_CASES_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	uint64_t code_size = padded(cases->nr_slots * (uint64_t)DIFF_SLOT);
	map(DIFF_CODE, code_size, PROT_READ, MAP_PRIVATE, fd, DIFF_CASES_SIZE);
	const struct diff_input *in =
		map(0, padded(cases->nr_inputs * sizeof *in), PROT_READ, MAP_PRIVATE, fd, DIFF_CASES_SIZE + code_size);
	uint64_t size = DIFF_PROGRESS_SIZE + padded(cases->nr_inputs * sizeof(struct diff_result));
	struct diff_progress *progress = map(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened(argv[3], O_RDWR), 0);
	struct diff_result *results = (void *)((uint8_t *)progress + DIFF_PROGRESS_SIZE);

	map(DIFF_PAGE - DIFF_AROUND, 2 * DIFF_AROUND + DIFF_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mprotect((void *)DIFF_PAGE, DIFF_PAGE_SIZE, PROT_READ | PROT_WRITE))
		return 1;
	memcpy((void *)DIFF_PAGE, cases->page, DIFF_PAGE_SIZE);
	catch_faults();
	lp_fp_begin(&cpu);
	lp_pauth_reset(&cpu, ~0U);
	for (uint64_t i = argc > 4 ? strtoull(argv[4], NULL, 10) : 0; i < cases->nr_inputs; i++) {
		run_case(&emu, &cpu, &in[i], &results[i], cases->page);
		*(volatile uint64_t *)&progress->next = i + 1;
	}
	return 0;
}
