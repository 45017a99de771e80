#include "proc/state.h"

void lp_unwind_forget(struct lp_proc *p)
{
	if (p->dwfl)
		dwfl_end(p->dwfl);
	p->dwfl = NULL;
}
