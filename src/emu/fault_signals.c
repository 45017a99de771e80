/* Host signals that stand for faults: of a guest instruction, of a copy to or from the guest, or of our own. */
#include "emu/fault_signals.h"

#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "emu/access_address.h"
#include "emu/emu.h"
#include "emu/fault.h"
#include "emu/fp.h"
#include "emu/host_signals.h"
#include "emu/process_signals.h"
#include "emu/uop.h"

/* ESR_EL1 of aborts from a lower exception level (DDI 0487 D17.2.37). */
#define ESR_CLASS(class) ((uint64_t)(class) << 26 | UINT64_C(1) << 25)
enum {
	EC_INSTRUCTION_ABORT = 0x20,
	EC_PC_ALIGNMENT = 0x22,
	EC_DATA_ABORT = 0x24,
	ESR_WNR = 1 << 6,
	ESR_TRANSLATION_0 = 0x04,
	ESR_TRANSLATION_3 = 0x07,
	ESR_PERMISSION_3 = 0x0f,
	ESR_EXTERNAL = 0x10,
	ESR_ALIGNMENT = 0x21,
};

enum { PAGE_FAULT_WRITE = 2, TRAP_PAGE_FAULT = 14 };

static uint64_t status_code(const struct lp_fault *fault)
{
	if (fault->signal == SIGBUS)
		return fault->code == BUS_ADRALN ? ESR_ALIGNMENT : ESR_EXTERNAL;
	if (fault->code == SEGV_ACCERR)
		return ESR_PERMISSION_3;
	return fault->addr >> 48 ? ESR_TRANSLATION_0 : ESR_TRANSLATION_3;
}

uint64_t lp_fault_syndrome(const struct lp_cpu *cpu)
{
	const struct lp_fault *fault = &cpu->fault;
	uint64_t addr;
	uint32_t word;
	bool write;

	if (fault->signal != SIGSEGV && fault->signal != SIGBUS)
		return 0;
	if (cpu->pc & 3)
		return ESR_CLASS(EC_PC_ALIGNMENT);
	if (fault->addr == cpu->pc)
		return ESR_CLASS(EC_INSTRUCTION_ABORT) | status_code(fault);
	if (lp_mem_get(cpu->pc, &word) || !lp_access_address(cpu, cpu->pc, word, &addr, &write))
		return 0;
	return ESR_CLASS(EC_DATA_ABORT) | status_code(fault) | (write ? ESR_WNR : 0);
}

/* The guest's view of what the host says.  An address that no x86-64 mapping can have comes without the address
 * (SI_KERNEL), and through the stack segment even as SIGBUS. */
static struct lp_fault guest_fault(const struct lp_cpu *cpu, int sig, const siginfo_t *info, const ucontext_t *context)
{
	const greg_t *regs = context->uc_mcontext.gregs;
	bool write = regs[REG_TRAPNO] == TRAP_PAGE_FAULT && regs[REG_ERR] & PAGE_FAULT_WRITE;
	struct lp_fault fault = {.signal = sig, .code = info->si_code, .addr = (uint64_t)info->si_addr};

	if (info->si_code == SI_KERNEL) {
		fault.signal = SIGSEGV;
		fault.code = SEGV_MAPERR;
		lp_access_address(cpu, cpu->at->pc, cpu->at->word, &fault.addr, &write);
	}
	fault.esr = ESR_CLASS(EC_DATA_ABORT) | status_code(&fault) | (write ? ESR_WNR : 0);
	return fault;
}

static bool in_copy(greg_t rip)
{
	return rip >= (greg_t)lp_copy_begin && rip < (greg_t)lp_copy_end;
}

/* A mistake of ours: the instruction is executed again, and ends the process. */
static void own_fault(int sig, const siginfo_t *info, const ucontext_t *context)
{
	struct lp_host_action action = {.handler = LP_GUEST_SIG_DFL};
	char text[160];
	int len = snprintf(text, sizeof text, "arm64_runner: internal error: %s at %#llx, address %p\n",
			   sigdescr_np(sig), context->uc_mcontext.gregs[REG_RIP], info->si_addr);

	if (write(STDERR_FILENO, text, (size_t)len) < 0)
		action.flags = 0; /* nobody to tell */
	lp_host_action(sig, &action, NULL);
}

/* Registers are in the cpu again.  True: the address has no mapping on this host whatever the guest has there (SI_KERNEL),
 * but perhaps the instruction would do without its tag, which translated code does not look for. */
static bool translated_code_faulted(struct lp_cpu *cpu, const siginfo_t *info, const ucontext_t *context)
{
	const struct lp_engine *engine = cpu->emu->engine;
	const struct lp_uop *u = engine ? engine->faulted(cpu, context) : NULL;

	if (!u)
		return false;
	cpu->at = u;
	if (info->si_code != SI_KERNEL)
		return false;
	lp_fp_land(cpu, context->uc_mcontext.fpregs->mxcsr);
	return true;
}

void lp_fault_caught(int sig, siginfo_t *info, void *data)
{
	struct lp_guest_thread *t = lp_guest_self();
	ucontext_t *context = data;
	struct lp_fault fault;

	if (info->si_code <= 0 || (sig != SIGSEGV && sig != SIGBUS)) {
		if (info->si_code <= 0)
			lp_signals_caught(sig, info, data);
		else
			own_fault(sig, info, context);
		return;
	}
	if (in_copy(context->uc_mcontext.gregs[REG_RIP])) {
		context->uc_mcontext.gregs[REG_RIP] = (greg_t)lp_copy_fault;
		return;
	}
	if (t && t->cpu.landing && translated_code_faulted(&t->cpu, info, context))
		lp_fault_retry(&t->cpu);
	if (!t || !t->cpu.at || !t->cpu.landing) {
		own_fault(sig, info, context);
		return;
	}
	fault = guest_fault(&t->cpu, sig, info, context);
	lp_fp_land(&t->cpu, context->uc_mcontext.fpregs->mxcsr);
	lp_fault_land(&t->cpu, &fault);
}
