#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <elf.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/vec.h"
#include "emu/hot.h"
#include "isa/isa.h"

/* Around the data: farther than an offset in an instruction reaches. */
enum { MOAT = 1 << 17 };

/* The real one belongs to block.c; this one leads back to the rig. */
struct lp_blocks {
	struct rig *rig;
};

static _Thread_local struct rig *running;
static _Thread_local sigjmp_buf landing;

/* ---- in place of block.c ---- */

static const struct lp_uop *leave(struct lp_cpu *cpu, uint64_t frame)
{
	cpu->leave = LP_LEAVE_LOOKUP;
	if (running)
		running->depth = frame;
	return NULL;
}

static const struct lp_uop *stop(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return leave(cpu, (uint64_t)__builtin_frame_address(0));
}

static const struct lp_uop *fall_out(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->pc = u->pc;
	return leave(cpu, (uint64_t)__builtin_frame_address(0));
}

static const struct lp_uop elsewhere = {.run = stop};

struct lp_slot *lp_slot_of(struct lp_blocks *b, uint64_t pc)
{
	struct rig *r = b->rig;
	uint64_t index = (pc - RIG_PC) / 4;
	struct lp_slot *s = lp_alloc(sizeof *s);

	s->pc = pc;
	atomic_init(&s->entry, pc % 4 == 0 && index < r->nr ? &r->uops[index] : &elsewhere);
	atomic_init(&s->next, r->slots);
	r->slots = s;
	return s;
}

void lp_block_icache_line(struct lp_blocks *b, uint64_t addr)
{
	b->rig->icache_line = addr;
}

/* ---- faults of the host ---- */

static void caught(int signal, siginfo_t *info, void *context)
{
	struct rig *r = running;

	if (!r || !r->cpu.at)
		abort();
	r->cpu.pc = r->cpu.at->pc;
	r->cpu.leave = LP_LEAVE_FAULT;
	/* An address that is not canonical is SIGBUS where the compiler has it in rbp or rsp. */
	if (info->si_code == SI_KERNEL)
		signal = SIGSEGV;
	r->cpu.fault = (struct lp_fault){.signal = signal, .code = info->si_code, .addr = (uint64_t)info->si_addr};
	siglongjmp(landing, 1);
}

/* For each run: cmocka has handlers of its own. */
static void catch_faults(struct sigaction before[2])
{
	struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &action, &before[0]);
	sigaction(SIGBUS, &action, &before[1]);
}

static void leave_faults(const struct sigaction before[2])
{
	sigaction(SIGSEGV, &before[0], NULL);
	sigaction(SIGBUS, &before[1], NULL);
}

/* ---- life ---- */

struct rig *rig_new(void)
{
	struct rig *r = aligned_alloc(64, (sizeof *r + 63) / 64 * 64);
	uint8_t *room = mmap(NULL, RIG_DATA_SIZE + 2 * MOAT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_non_null(r);
	assert_ptr_not_equal(room, MAP_FAILED);
	memset(r, 0, sizeof *r);
	r->data = room + MOAT;
	assert_int_equal(mprotect(r->data, RIG_DATA_SIZE, PROT_READ | PROT_WRITE), 0);
	r->emu.blocks = lp_alloc(sizeof *r->emu.blocks);
	r->emu.blocks->rig = r;
	r->cpu.emu = &r->emu;
	r->cpu.jumps[0].pc = 4;
	return r;
}

static void free_slots(struct rig *r)
{
	while (r->slots) {
		struct lp_slot *next = atomic_load(&r->slots->next);
		lp_free(r->slots);
		r->slots = next;
	}
}

void rig_free(struct rig *r)
{
	free_slots(r);
	munmap(r->data - MOAT, RIG_DATA_SIZE + 2 * MOAT);
	lp_free(r->emu.blocks);
	free(r);
}

/* ---- running ---- */

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

static void lower(struct rig *r, const uint32_t *words, size_t nr)
{
	free_slots(r);
	memset(r->cpu.jumps, 0, sizeof r->cpu.jumps);
	r->cpu.jumps[0].pc = 4;
	r->nr = nr;
	for (size_t i = 0; i < nr; i++) {
		lp_lower(r->emu.blocks, &r->uops[i], words[i], RIG_PC + i * 4);
		if (r->plain)
			make_plain(&r->uops[i]);
	}
	for (size_t i = 0; i + 1 < nr && !r->plain; i++)
		lp_hot_pair(&r->uops[i]);
	r->uops[nr] = (struct lp_uop){.run = fall_out, .pc = RIG_PC + nr * 4};
}

enum lp_leave rig_run_words(struct rig *r, const uint32_t *words, size_t nr)
{
	const struct lp_uop *volatile u = r->uops;
	struct sigaction before[2];

	assert_true(nr <= RIG_MAX);
	lower(r, words, nr);
	r->cpu.pc = RIG_PC;
	r->cpu.fault = (struct lp_fault){0};
	catch_faults(before);
	running = r;
	if (sigsetjmp(landing, 0) == 0)
		while (u)
			u = u->run(&r->cpu, u);
	running = NULL;
	leave_faults(before);
	r->cpu.at = NULL;
	return r->cpu.leave;
}

enum lp_leave rig_run_word(struct rig *r, uint32_t word)
{
	return rig_run_words(r, &word, 1);
}

static size_t assemble(const char *text, uint32_t words[RIG_MAX])
{
	struct lp_err err = {0};
	size_t len;

	if (lp_isa_of(EM_AARCH64)->assemble(text, RIG_PC, NULL, (uint8_t *)words, RIG_MAX * 4, &len, &err))
		fail_msg("%s: %s", text, err.text);
	return len / 4;
}

enum lp_leave rig_run(struct rig *r, const char *text)
{
	uint32_t words[RIG_MAX];

	return rig_run_words(r, words, assemble(text, words));
}

uint32_t rig_word(const char *text)
{
	uint32_t words[RIG_MAX];

	assemble(text, words);
	return words[0];
}

/* ---- numbers ---- */

uint64_t rig_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t rig_interesting(uint64_t *state)
{
	static const uint64_t edges[] = {0,	     0x7f,	 0x80,	     0x7fff,	0x8000,
					 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63};
	uint64_t pick = rig_random(state);

	switch (pick & 3) {
	case 0:
		return edges[(pick >> 8) % (sizeof edges / sizeof edges[0])] + (pick >> 32) % 3 - 1;
	case 1:
		return UINT64_C(1) << (pick >> 8 & 63);
	case 2:
		return rig_random(state) >> (pick >> 8 & 63);
	default:
		return rig_random(state);
	}
}
