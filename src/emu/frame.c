#include "emu/frame.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emu/emu.h"
#include "emu/fp.h"

enum {
	FPSIMD_MAGIC = 0x46508001,
	ESR_MAGIC = 0x45535201,
	EXTRA_MAGIC = 0x45585401,
	RECORDS_SIZE = 4096,
	MIN_ALT_STACK = 5120, /* MINSIGSTKSZ of arm64 */
	SA_RESTORER_ = 0x04000000,
};

enum {
	PSTATE_BTYPE_SHIFT = 10,
	PSTATE_SSBS = 1 << 12,
	PSTATE_DIT = 1 << 24,
	BTYPE_CALL = 2,
	/* The mode field is EL0t, the state AArch64, nothing masked. */
	PSTATE_MUST_BE_ZERO = 0x1f | 0xf << 6,
};
#define PSTATE_NZCV 0xf0000000u

/* Bits of stack_t.ss_flags that the C library may not know. */
#define ALT_AUTODISARM (1u << 31)
enum { ALT_ONSTACK = 1, ALT_DISABLE = 2 };

struct record {
	uint32_t magic, size;
};

struct fpsimd_record {
	struct record head;
	uint32_t fpsr, fpcr;
	union lp_vreg v[32];
};

struct esr_record {
	struct record head;
	uint64_t esr;
};

struct frame {
	uint8_t info[128];
	uint64_t uc_flags, uc_link;
	struct lp_guest_stack stack;
	uint64_t mask;
	uint8_t mask_room[120];
	uint64_t to_align;
	uint64_t fault_address, x[31], sp, pc, pstate;
	uint64_t to_align_records;
	uint8_t records[RECORDS_SIZE];
};

struct frame_record {
	uint64_t fp, lr;
};

_Static_assert(sizeof(struct fpsimd_record) == 528, "struct fpsimd_context");
_Static_assert(offsetof(struct frame, fault_address) == 304 && offsetof(struct frame, records) == 592 &&
		       sizeof(struct frame) == 4688 && sizeof(siginfo_t) == 128,
	       "struct rt_sigframe");

/* ---- the alternate stack ---- */

static bool on_alt_stack(const struct lp_guest_thread *t)
{
	const struct lp_thread_signals *s = &t->signals;
	uint64_t sp = t->cpu.x[LP_SP];

	return !(s->alt_flags & ALT_AUTODISARM) && sp > s->alt_sp && sp - s->alt_sp <= s->alt_size;
}

void lp_altstack_get(const struct lp_guest_thread *t, struct lp_guest_stack *stack)
{
	const struct lp_thread_signals *s = &t->signals;
	uint32_t state = !s->alt_size ? ALT_DISABLE : on_alt_stack(t) ? ALT_ONSTACK : 0;

	*stack = (struct lp_guest_stack){
		.sp = s->alt_sp,
		.flags = state | (s->alt_flags & ALT_AUTODISARM),
		.size = s->alt_size,
	};
}

int lp_altstack_set(struct lp_guest_thread *t, const struct lp_guest_stack *stack)
{
	struct lp_thread_signals *s = &t->signals;
	uint32_t mode = stack->flags & ~ALT_AUTODISARM;

	if (on_alt_stack(t))
		return -EPERM;
	if (mode != ALT_DISABLE && mode != ALT_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode == ALT_DISABLE) {
		s->alt_sp = s->alt_size = 0;
	} else if (stack->size < MIN_ALT_STACK) {
		return -ENOMEM;
	} else {
		s->alt_sp = stack->sp;
		s->alt_size = stack->size;
	}
	s->alt_flags = stack->flags;
	return 0;
}

static void disarm(struct lp_thread_signals *s)
{
	if (!(s->alt_flags & ALT_AUTODISARM))
		return;
	s->alt_sp = s->alt_size = 0;
	s->alt_flags = ALT_DISABLE;
}

/* ---- out ---- */

uint64_t lp_pstate_read(const struct lp_cpu *cpu)
{
	return lp_cpu_nzcv(cpu) | (uint64_t)cpu->btype << PSTATE_BTYPE_SHIFT | (cpu->ssbs ? PSTATE_SSBS : 0) |
	       (cpu->dit ? PSTATE_DIT : 0);
}

static size_t add_fpsimd(uint8_t *out, const struct lp_cpu *cpu)
{
	struct fpsimd_record r = {
		.head = {FPSIMD_MAGIC, sizeof r},
		.fpsr = lp_fpsr_read(cpu),
		.fpcr = cpu->fpcr,
	};

	memcpy(r.v, cpu->vr, sizeof r.v);
	memcpy(out, &r, sizeof r);
	return sizeof r;
}

static size_t add_esr(uint8_t *out, uint64_t esr)
{
	struct esr_record r = {.head = {ESR_MAGIC, sizeof r}, .esr = esr};

	memcpy(out, &r, sizeof r);
	return sizeof r;
}

static void fill(struct frame *f, const struct lp_guest_thread *t, const siginfo_t *info, uint64_t flags, uint64_t mask)
{
	const struct lp_cpu *cpu = &t->cpu;
	const struct lp_thread_signals *s = &t->signals;
	size_t at;

	memset(f, 0, sizeof *f);
	if (flags & SA_SIGINFO)
		memcpy(f->info, info, sizeof f->info);
	f->stack = (struct lp_guest_stack){
		.sp = s->alt_sp,
		.flags = s->alt_size ? s->alt_flags : ALT_DISABLE,
		.size = s->alt_size,
	};
	f->mask = mask;
	f->fault_address = s->fault_address;
	memcpy(f->x, cpu->x, sizeof f->x);
	f->sp = cpu->x[LP_SP];
	f->pc = cpu->pc;
	f->pstate = lp_pstate_read(cpu);
	at = add_fpsimd(f->records, cpu);
	if (s->fault_code)
		add_esr(f->records + at, s->fault_code);
}

/* Below what is interrupted, or at the top of the alternate stack. */
static uint64_t stack_for(const struct lp_guest_thread *t, uint64_t flags)
{
	const struct lp_thread_signals *s = &t->signals;

	if (flags & SA_ONSTACK && s->alt_size && !on_alt_stack(t))
		return s->alt_sp + s->alt_size;
	return t->cpu.x[LP_SP];
}

static void enter(struct lp_guest_thread *t, const struct lp_sigaction *act, int sig, uint64_t frame, uint64_t record)
{
	struct lp_cpu *cpu = &t->cpu;

	cpu->x[0] = (uint64_t)sig;
	if (act->flags & SA_SIGINFO) {
		cpu->x[1] = frame + offsetof(struct frame, info);
		cpu->x[2] = frame + offsetof(struct frame, uc_flags);
	}
	cpu->x[LP_SP] = frame;
	cpu->x[29] = record;
	cpu->x[30] = act->flags & SA_RESTORER_ ? act->restorer : cpu->emu->sigreturn;
	cpu->pc = act->handler;
	cpu->btype = BTYPE_CALL;
	cpu->exclusive.size = 0;
}

bool lp_frame_push(struct lp_guest_thread *t, const siginfo_t *info, const struct lp_sigaction *act, uint64_t mask)
{
	struct frame_record record = {t->cpu.x[29], t->cpu.x[30]};
	uint64_t record_at = lp_align_down(stack_for(t, act->flags) - sizeof record, 16);
	uint64_t frame_at = record_at - sizeof(struct frame);
	struct frame frame;

	fill(&frame, t, info, act->flags, mask);
	if (lp_mem_put(record_at, &record) || lp_mem_put(frame_at, &frame))
		return false;
	disarm(&t->signals);
	enter(t, act, info->si_signo, frame_at, record_at);
	return true;
}

/* ---- back ---- */

/* A record of another size, or twice, or not known: not ours. */
static bool take_records(const uint8_t *records, struct fpsimd_record *fpsimd)
{
	struct record head;
	bool has_fpsimd = false;

	for (size_t at = 0; at + sizeof head <= RECORDS_SIZE; at += head.size) {
		memcpy(&head, records + at, sizeof head);
		if (head.magic == 0)
			return head.size == 0 && has_fpsimd;
		if (head.size < sizeof head || head.size % 16 || head.size > RECORDS_SIZE - at)
			return false;
		switch (head.magic) {
		case FPSIMD_MAGIC:
			if (has_fpsimd || head.size != sizeof *fpsimd)
				return false;
			memcpy(fpsimd, records + at, sizeof *fpsimd);
			has_fpsimd = true;
			break;
		case ESR_MAGIC:
		case EXTRA_MAGIC: /* says where more records are: there are none */
			break;
		default:
			return false;
		}
	}
	return false;
}

static void restore(struct lp_cpu *cpu, const struct frame *f, const struct fpsimd_record *fpsimd)
{
	memcpy(cpu->x, f->x, sizeof f->x);
	cpu->x[LP_SP] = f->sp;
	cpu->pc = f->pc;
	lp_cpu_set_nzcv(cpu, (uint32_t)f->pstate & PSTATE_NZCV);
	cpu->btype = f->pstate >> PSTATE_BTYPE_SHIFT & 3;
	cpu->ssbs = f->pstate & PSTATE_SSBS;
	cpu->dit = f->pstate & PSTATE_DIT;
	memcpy(cpu->vr, fpsimd->v, sizeof fpsimd->v);
	lp_fpcr_write(cpu, fpsimd->fpcr);
	lp_fpsr_write(cpu, fpsimd->fpsr);
	cpu->exclusive.size = 0;
}

bool lp_frame_pop(struct lp_guest_thread *t, uint64_t *mask)
{
	struct fpsimd_record fpsimd;
	struct frame f;

	if (t->cpu.x[LP_SP] & 15 || lp_mem_get(t->cpu.x[LP_SP], &f))
		return false;
	if (f.pstate & PSTATE_MUST_BE_ZERO || !take_records(f.records, &fpsimd))
		return false;
	restore(&t->cpu, &f, &fpsimd);
	*mask = f.mask;
	lp_altstack_set(t, &f.stack); /* one that cannot be stays as it is, as in the kernel */
	return true;
}
