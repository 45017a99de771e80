/* Calls of signals.c. */
#include "emu/sys.h"

static bool is_any_tagged(uint64_t a, uint64_t b, uint64_t c)
{
	return lp_arg_is_tagged(a) || lp_arg_is_tagged(b) || lp_arg_is_tagged(c);
}

CALL(sigaltstack)
{
	return is_any_tagged(a[0], a[1], 0) ? -EFAULT : lp_sys_sigaltstack(t, a[0], a[1]);
}

CALL(rt_sigsuspend)
{
	return is_any_tagged(a[0], 0, 0) ? -EFAULT : lp_sys_rt_sigsuspend(t, a[0], a[1]);
}

CALL(rt_sigaction)
{
	return is_any_tagged(a[1], a[2], 0) ? -EFAULT : lp_sys_rt_sigaction(t, (int)a[0], a[1], a[2], a[3]);
}

CALL(rt_sigprocmask)
{
	return is_any_tagged(a[1], a[2], 0) ? -EFAULT : lp_sys_rt_sigprocmask(t, (int)a[0], a[1], a[2], a[3]);
}

CALL(rt_sigpending)
{
	return is_any_tagged(a[0], 0, 0) ? -EFAULT : lp_sys_rt_sigpending(t, a[0], a[1]);
}

CALL(rt_sigtimedwait)
{
	return is_any_tagged(a[0], a[1], a[2]) ? -EFAULT : lp_sys_rt_sigtimedwait(t, a[0], a[1], a[2], a[3]);
}

CALL(rt_sigreturn)
{
	return lp_sys_rt_sigreturn(t);
}
