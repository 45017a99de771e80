#include <errno.h>

#include "emu/emu.h"

enum { SVC_SIZE = 4 };

void lp_syscall_handler(struct lp_guest_thread *t, uint64_t sa_flags)
{
	enum lp_restart restart = t->signals.restart;

	t->signals.restart = LP_RESTART_NONE;
	if (restart == LP_RESTART_NOHAND || (restart == LP_RESTART_SA && !(sa_flags & SA_RESTART))) {
		t->cpu.x[0] = (uint64_t)-EINTR;
		t->cpu.pc += SVC_SIZE;
	}
}
