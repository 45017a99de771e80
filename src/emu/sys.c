#include <string.h>

#include "base/vec.h"
#include "emu/strace.h"
#include "emu/sys.h"

enum { SVC_SIZE = 4 };

static const struct lp_call_row rows[] = {
#define PASS(number, call, words) [number] = {.name = #call, .args = (words), .way = LP_CALL_PASS, .host = SYS_##call},
#define WAIT(number, call, words) [number] = {.name = #call, .args = (words), .way = LP_CALL_WAIT, .host = SYS_##call},
#define OURS(number, call, words) \
	[number] = {.name = #call, .args = (words), .way = LP_CALL_OURS, .run = lp_call_##call},
#define FAIL(number, call, code, words, reason) \
	[number] = {.name = #call, .args = (words), .way = LP_CALL_FAIL, .error = (code), .why = (reason)},
#include "emu/syscall.def"
#undef PASS
#undef WAIT
#undef OURS
#undef FAIL
};

const struct lp_call_row *lp_call_row(uint32_t number)
{
	static const struct lp_call_row unknown = {.way = LP_CALL_UNKNOWN};

	return number < LP_ARRAY_SIZE(rows) ? &rows[number] : &unknown;
}

/* ---- arguments ---- */

int lp_arg_read(uint64_t addr, void *data, size_t len)
{
	return lp_arg_is_tagged(addr) ? -EFAULT : lp_mem_read(addr, data, len);
}

int lp_arg_write(uint64_t addr, const void *data, size_t len)
{
	return lp_arg_is_tagged(addr) ? -EFAULT : lp_mem_write(addr, data, len);
}

ssize_t lp_arg_string(uint64_t addr, char *out, size_t size)
{
	return lp_arg_is_tagged(addr) ? -EFAULT : lp_mem_string(addr, out, size);
}

/* ---- the host ---- */

void lp_call_waits(struct lp_guest_thread *t, long nr)
{
	struct lp_emu *emu = t->cpu.emu;

	if (atomic_load_explicit(&emu->tells_waits, memory_order_relaxed))
		lp_emu_tell(emu, waits, t, nr != SYS_write && nr != SYS_writev);
}

int64_t lp_host_wait(struct lp_guest_thread *t, long nr, const uint64_t a[6])
{
	int64_t result;

	lp_call_waits(t, nr);
	lp_thread_enter_host(t);
	result = lp_safe_syscall(t, nr, a);
	lp_thread_leave_host(t);
	return result;
}

int64_t lp_host_slow(struct lp_guest_thread *t, long nr, const uint64_t a[6])
{
	int64_t result;

	lp_thread_enter_host(t);
	result = lp_host(nr, a);
	lp_thread_leave_host(t);
	return result;
}

/* ---- calls that a signal interrupts ---- */

void lp_syscall_handler(struct lp_guest_thread *t, uint64_t sa_flags)
{
	enum lp_restart restart = t->signals.restart;

	t->signals.restart = LP_RESTART_NONE;
	if (restart == LP_RESTART_NOHAND || (restart == LP_RESTART_SA && !(sa_flags & SA_RESTART))) {
		t->cpu.x[0] = (uint64_t)-EINTR;
		t->cpu.pc += SVC_SIZE;
	}
}

/* The kind of restart that a result asks for. */
static enum lp_restart restart_of(int64_t result)
{
	switch (result) {
	case -LP_ERESTART:
		return LP_RESTART_SA;
	case -LP_ERESTARTNOINTR:
		return LP_RESTART_ALWAYS;
	case -LP_ERESTARTNOHAND:
		return LP_RESTART_NOHAND;
	default:
		return LP_RESTART_NONE;
	}
}

static int64_t make(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6])
{
	switch ((enum lp_call_way)row->way) {
	case LP_CALL_PASS:
		return lp_host(row->host, a);
	case LP_CALL_WAIT:
		return lp_host_wait(t, row->host, a);
	case LP_CALL_OURS:
		return row->run(t, a);
	case LP_CALL_FAIL:
		return -row->error;
	case LP_CALL_UNKNOWN:
		break;
	}
	return -ENOSYS;
}

void lp_syscall(struct lp_guest_thread *t)
{
	const struct lp_call_row *row = lp_call_row((uint32_t)t->cpu.x[8]);
	bool strace = t->cpu.emu->options.strace;
	uint64_t a[6];
	int64_t result;

	memcpy(a, t->cpu.x, sizeof a);
	t->cpu.exclusive.size = 0; /* an exception return clears the monitor */
	t->signals.restart = LP_RESTART_NONE;
	if (strace)
		lp_strace_enter(t, row, a);
	result = make(t, row, a);
	if (strace)
		lp_strace_leave(t, row, a, result);
	if (row->run == lp_call_rt_sigreturn) { /* restores x0, whatever it looks like */
		t->cpu.x[0] = (uint64_t)result;
		return;
	}
	t->signals.restart = (uint8_t)restart_of(result);
	if (t->signals.restart != LP_RESTART_NONE)
		t->cpu.pc -= SVC_SIZE;
	else
		t->cpu.x[0] = (uint64_t)result;
}
