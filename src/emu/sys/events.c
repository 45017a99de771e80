/* Waiting for descriptors: struct epoll_event is packed on x86-64, and signal masks are the guest's. */
#include <sys/epoll.h>
#include <time.h>

#include "emu/sys.h"

struct guest_event {
	uint32_t events, pad;
	uint64_t data;
};
_Static_assert(sizeof(struct guest_event) == 16, "as arm64 has it");
_Static_assert(sizeof(struct epoll_event) < sizeof(struct guest_event), "spread_events() begins at the end");

CALL(epoll_ctl)
{
	struct guest_event g;
	struct epoll_event e;

	if ((int)a[1] == EPOLL_CTL_DEL)
		return LP_HOST(SYS_epoll_ctl, a[0], a[1], a[2], 0);
	if (lp_arg_get(a[3], &g))
		return -EFAULT;
	e.events = g.events;
	e.data.u64 = g.data;
	return LP_HOST(SYS_epoll_ctl, a[0], a[1], a[2], lp_arg_of(&e));
}

/* The kernel has left nr events of its own layout, which is the smaller one, in the guest's room for them. */
static int64_t spread_events(uint64_t addr, int64_t nr)
{
	for (int64_t i = nr - 1; i >= 0; i--) {
		struct epoll_event e;
		struct guest_event g = {0};

		if (lp_arg_get(addr + (uint64_t)i * sizeof e, &e))
			return -EFAULT;
		g.events = e.events;
		g.data = e.data.u64;
		if (lp_arg_put(addr + (uint64_t)i * sizeof g, &g))
			return -EFAULT;
	}
	return nr;
}

/* A call that waits with the mask at `set`, if any; *mask is where the host's call is told to find one. */
static int64_t wait_masked(struct lp_guest_thread *t, long nr, const uint64_t args[6], uint64_t set, uint64_t size,
			   uint64_t *mask)
{
	int64_t rc;

	if (!set)
		return lp_host_wait(t, nr, args);
	rc = lp_arg_is_tagged(set) ? -EFAULT : lp_signals_swap_begin(t, set, size, mask);
	if (rc < 0)
		return rc;
	return lp_signals_swap_end(t, lp_host_wait(t, nr, args));
}

static int64_t wait_epoll(struct lp_guest_thread *t, long nr, const uint64_t a[6])
{
	uint64_t mask = 0, args[6] = {a[0], a[1], a[2], a[3], a[4] ? lp_arg_of(&mask) : 0, sizeof mask};
	int64_t rc = wait_masked(t, nr, args, a[4], a[5], &mask);

	return rc > 0 ? spread_events(a[1], rc) : rc;
}

CALL(epoll_pwait)
{
	return wait_epoll(t, SYS_epoll_pwait, a);
}

CALL(epoll_pwait2)
{
	return wait_epoll(t, SYS_epoll_pwait2, a);
}

CALL(ppoll)
{
	uint64_t mask = 0, args[6] = {a[0], a[1], a[2], a[3] ? lp_arg_of(&mask) : 0, sizeof mask};

	return wait_masked(t, SYS_ppoll, args, a[3], a[4], &mask);
}

/* The last argument of some calls: a mask and its size. */
struct masked {
	uint64_t set, size;
};

CALL(pselect6)
{
	struct masked m = {0}, host = {.size = sizeof(uint64_t)};
	uint64_t mask = 0, args[6] = {a[0], a[1], a[2], a[3], a[4], lp_arg_of(&host)};

	if (a[5] && lp_arg_get(a[5], &m))
		return -EFAULT;
	host.set = m.set ? lp_arg_of(&mask) : 0;
	return wait_masked(t, SYS_pselect6, args, m.set, m.size, &mask);
}

CALL(io_pgetevents)
{
	struct masked m = {0}, host = {.size = sizeof(uint64_t)};
	uint64_t mask = 0, args[6] = {a[0], a[1], a[2], a[3], a[4], lp_arg_of(&host)};

	if (a[5] && lp_arg_get(a[5], &m))
		return -EFAULT;
	host.set = m.set ? lp_arg_of(&mask) : 0;
	return wait_masked(t, SYS_io_pgetevents, args, m.set, m.size, &mask);
}
