#include "guarded.h"

#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#include "emu/fault.h"

static void on_fault(int sig, siginfo_t *info, void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

	if (*rip < (greg_t)lp_copy_begin || *rip >= (greg_t)lp_copy_end)
		abort();
	*rip = (greg_t)lp_copy_fault;
}

static struct sigaction was[2];

void guarded_begin(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &action, &was[0]);
	sigaction(SIGBUS, &action, &was[1]);
}

void guarded_end(void)
{
	sigaction(SIGSEGV, &was[0], NULL);
	sigaction(SIGBUS, &was[1], NULL);
}
