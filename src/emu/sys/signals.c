/* Calls of signals.c, and those that wait for memory to change. */
#include "emu/sys.h"

CALL(sigaltstack)
{
	return lp_sys_sigaltstack(t, a[0], a[1]);
}

CALL(rt_sigsuspend)
{
	return lp_sys_rt_sigsuspend(t, a[0], a[1]);
}

CALL(rt_sigaction)
{
	return lp_sys_rt_sigaction(t, (int)a[0], a[1], a[2], a[3]);
}

CALL(rt_sigprocmask)
{
	return lp_sys_rt_sigprocmask(t, (int)a[0], a[1], a[2], a[3]);
}

CALL(rt_sigpending)
{
	return lp_sys_rt_sigpending(t, a[0], a[1]);
}

CALL(rt_sigtimedwait)
{
	return lp_sys_rt_sigtimedwait(t, a[0], a[1], a[2], a[3]);
}

CALL(rt_sigreturn)
{
	return lp_sys_rt_sigreturn(t);
}
