#include <setjmp.h>
#include <string.h>

#include "base/asan.h"
#include "emu/block.h"
#include "emu/emu.h"
#include "emu/fault.h"

/* While poll is set, whatever goes on elsewhere leaves instead. */
void lp_cpu_step(struct lp_cpu *cpu)
{
	struct lp_uop uops[2];
	const struct lp_uop *u;

	cpu->interpret = false;
	cpu->nr_insns++;
	atomic_fetch_or(&cpu->poll, (uint32_t)LP_POLL_ALONE);
	u = lp_block_single(cpu->emu->blocks, cpu, uops);
	while (u == &uops[0] || u == &uops[1])
		u = u->run(cpu, u);
	atomic_fetch_and(&cpu->poll, ~(uint32_t)LP_POLL_ALONE);
}

size_t lp_cpu_run_once(struct lp_cpu *cpu)
{
	struct lp_block_once room;
	const struct lp_uop *u;

	atomic_fetch_or(&cpu->poll, (uint32_t)LP_POLL_ALONE);
	u = lp_block_once(cpu->emu->blocks, cpu, &room);
	while (u)
		u = u->run(cpu, u);
	atomic_fetch_and(&cpu->poll, ~(uint32_t)LP_POLL_ALONE);
	return room.nr ? room.next : 0;
}

/* Translated code, until it leaves. */
static void run(struct lp_cpu *cpu)
{
	const struct lp_uop *u;

	if (cpu->emu->engine && cpu->emu->engine->run(cpu))
		return;
	u = lp_block_enter(cpu->emu->blocks, cpu);

	while (u)
		u = u->run(cpu, u);
}

/* What has been asked of the thread; at an instruction boundary. */
static void attend(struct lp_guest_thread *t, uint32_t poll)
{
	struct lp_emu *emu = t->cpu.emu;

	/* What is there now is looked for behind this: a loop that is dropped meanwhile asks again. */
	if (poll & LP_POLL_CODE)
		atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_CODE);
	if (poll & LP_POLL_EXIT)
		t->ends = true;
	if (poll & LP_POLL_PARK)
		lp_thread_park(t);
	if (poll & LP_POLL_SIGNAL)
		lp_signals_deliver(t);
	if (poll & LP_POLL_TRACE)
		lp_emu_tell(emu, block, t);
}

static bool is_dealt_with(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;
	bool done = false;

	for (size_t i = 0; i < emu->nr_events && !done; i++)
		done = emu->events[i].fault && emu->events[i].fault(t, emu->events[i].arg);
	return done;
}

static void after(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	t->cpu.at = NULL; /* a host fault from here on is ours */
	switch (t->cpu.leave) {
	case LP_LEAVE_LOOKUP:
		break;
	case LP_LEAVE_SVC:
		lp_syscall(t);
		break;
	case LP_LEAVE_FAULT:
		if (!is_dealt_with(t))
			lp_signals_fault(t);
		break;
	case LP_LEAVE_BREAKPOINT:
		lp_emu_tell(emu, breakpoint, t);
		break;
	}
}

/* Where nobody is in a block, those can be freed that nobody enters any more. */
static void clear_away(struct lp_emu *emu)
{
	lp_threads_stop(emu, 0);
	lp_blocks_reclaim(emu->blocks);
	if (emu->engine)
		emu->engine->reclaim(emu);
	lp_threads_go(emu);
}

static bool is_littered(const struct lp_emu *emu)
{
	return lp_blocks_are_littered(emu->blocks) || (emu->engine && emu->engine->is_littered(emu));
}

/* Others may look at this thread from here on. */
static void settle(struct lp_guest_thread *t)
{
	struct lp_cpu *cpu = &t->cpu;

	if (!cpu->emu->engine)
		return;
	cpu->leave = LP_LEAVE_LOOKUP;
	cpu->emu->engine->settle(cpu);
	after(t);
}

/* A jump out of a handler: its frames, on this stack or that of translated code, are gone without having returned.  The kernel's
 * lies above them. */
enum { DEEPEST = 32 << 10, HANDLER = 8 << 10 };

static void forget_frames(const char *here, size_t above)
{
	lp_asan_forget(here - DEEPEST, DEEPEST + above);
}

void lp_cpu_run(struct lp_cpu *cpu)
{
	struct lp_guest_thread *t = cpu->thread;
	sigjmp_buf landing;

	cpu->landing = &landing;
	lp_emu_tell(cpu->emu, started, t);
	/* A host fault of an instruction comes here, from lp_fault_land(); the mask is the handler's to restore. */
	if (sigsetjmp(landing, 0)) {
		forget_frames(__builtin_frame_address(0), 0);
		atomic_fetch_and(&cpu->poll, ~(uint32_t)LP_POLL_ALONE);
		after(t);
	}
	while (!t->ends) {
		uint32_t poll = atomic_load_explicit(&cpu->poll, memory_order_acquire);
		if (poll) {
			settle(t);
			attend(t, poll);
			if (t->ends)
				break;
		}
		if (is_littered(cpu->emu)) {
			settle(t);
			clear_away(cpu->emu);
		}
		cpu->leave = LP_LEAVE_LOOKUP;
		cpu->branch = 0;
		if (cpu->interpret ||
		    atomic_load_explicit(&cpu->poll, memory_order_relaxed) & (LP_POLL_STEP | LP_POLL_TRACE))
			lp_cpu_step(cpu);
		else
			run(cpu);
		after(t);
	}
	cpu->landing = NULL;
}

void lp_fault_retry(struct lp_cpu *cpu)
{
	cpu->pc = cpu->at->pc;
	cpu->at = NULL;
	cpu->leave = LP_LEAVE_LOOKUP;
	cpu->interpret = true;
	forget_frames(__builtin_frame_address(0), HANDLER);
	siglongjmp(*(sigjmp_buf *)cpu->landing, 1);
}

void lp_fault_land(struct lp_cpu *cpu, const struct lp_fault *fault)
{
	cpu->pc = cpu->at->pc;
	cpu->at = NULL;
	cpu->leave = LP_LEAVE_FAULT;
	cpu->fault = *fault;
	forget_frames(__builtin_frame_address(0), HANDLER);
	siglongjmp(*(sigjmp_buf *)cpu->landing, 1);
}
