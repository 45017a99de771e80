/* Descriptors: flags that differ, and numbers that are the runner's own. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/vec.h"
#include "emu/sys.h"

/* ---- O_* ---- */

/* arch/arm64/include/uapi/asm/fcntl.h */
static const struct {
	uint64_t guest, host;
} open_flags[] = {
	{040000, O_DIRECTORY},
	{0100000, O_NOFOLLOW},
	{0200000, O_DIRECT},
	{0400000, 0100000}, /* O_LARGEFILE, which the C library says is 0 */
};

static uint64_t swap_flags(uint64_t flags, bool to_host)
{
	uint64_t swapped = flags;

	for (size_t i = 0; i < LP_ARRAY_SIZE(open_flags); i++)
		swapped &= ~(to_host ? open_flags[i].guest : open_flags[i].host);
	for (size_t i = 0; i < LP_ARRAY_SIZE(open_flags); i++)
		if (flags & (to_host ? open_flags[i].guest : open_flags[i].host))
			swapped |= to_host ? open_flags[i].host : open_flags[i].guest;
	return swapped;
}

uint64_t lp_open_flags_host(uint64_t guest)
{
	return swap_flags(guest, true);
}

uint64_t lp_open_flags_guest(uint64_t host)
{
	return swap_flags(host, false);
}

/* ---- the runner's own ---- */

/* Few and rarely changed: a slot holds a number + 1, 0 is free. */
static _Atomic int kept[32];

static bool keep_number(int fd)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(kept); i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&kept[i], &none, fd + 1))
			return true;
	}
	return false;
}

int lp_fd_keep(int fd)
{
	struct rlimit limit;
	int low = 64, high;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur > 2 * LP_ARRAY_SIZE(kept))
		low = limit.rlim_cur > 65536 ? 65536 : (int)(limit.rlim_cur - LP_ARRAY_SIZE(kept));
	high = fcntl(fd, F_DUPFD_CLOEXEC, low);
	if (high < 0)
		return -errno;
	if (!keep_number(high)) {
		close(high);
		return -EMFILE;
	}
	close(fd);
	return high;
}

bool lp_fd_is_kept(int fd)
{
	for (size_t i = 0; fd >= 0 && i < LP_ARRAY_SIZE(kept); i++)
		if (atomic_load_explicit(&kept[i], memory_order_relaxed) == fd + 1)
			return true;
	return false;
}

void lp_fd_drop(int fd)
{
	for (size_t i = 0; fd >= 0 && i < LP_ARRAY_SIZE(kept); i++) {
		int number = fd + 1;

		if (atomic_compare_exchange_strong(&kept[i], &number, 0))
			close(fd);
	}
}

/* Never made twice: the descriptor is gone whatever close(2) returns. */
CALL(close)
{
	return lp_fd_is_kept((int)a[0]) ? -EBADF : lp_host_slow(t, SYS_close, a);
}

CALL(dup3)
{
	return lp_fd_is_kept((int)a[1]) ? -EBADF : LP_HOST_SLOW(t, SYS_dup3, a[0], a[1], lp_open_flags_host(a[2]));
}

/* The lowest number of ours in [first, last], or last + 1. */
static uint64_t next_kept(uint64_t first, uint64_t last)
{
	uint64_t lowest = last + 1;

	for (size_t i = 0; i < LP_ARRAY_SIZE(kept); i++) {
		int fd = atomic_load_explicit(&kept[i], memory_order_relaxed) - 1;

		if (fd >= 0 && (uint64_t)fd >= first && (uint64_t)fd < lowest)
			lowest = (uint64_t)fd;
	}
	return lowest;
}

/* The parts between ours.  CLOSE_RANGE_UNSHARE in the first of them is enough. */
CALL(close_range)
{
	uint64_t first = (uint32_t)a[0], last = (uint32_t)a[1];

	if (first > last)
		return -EINVAL;
	while (first <= last) {
		uint64_t end = next_kept(first, last);

		if (end > first) {
			int64_t rc = LP_HOST_SLOW(t, SYS_close_range, first, end - 1, a[2]);
			if (rc)
				return rc;
		}
		first = end + 1;
	}
	return 0;
}

CALL(pipe2)
{
	return LP_HOST(SYS_pipe2, a[0], lp_open_flags_host(a[1]));
}

/* The flags are those that descriptors of the files in events will have. */
CALL(fanotify_init)
{
	return LP_HOST(SYS_fanotify_init, a[0], lp_open_flags_host(a[1]));
}

CALL(fcntl)
{
	int64_t rc;

	switch ((int)a[1]) {
	case F_GETFL:
		rc = lp_host(SYS_fcntl, a);
		return rc < 0 ? rc : (int64_t)lp_open_flags_guest((uint64_t)rc);
	case F_SETFL:
		return LP_HOST_SLOW(t, SYS_fcntl, a[0], a[1], lp_open_flags_host(a[2]));
	default:
		return lp_host_wait(t, SYS_fcntl, a);
	}
}

/*
 * The generic numbers and layouts are both architectures'.  What is not: KVM,
 * whose structures hold registers of the machine, and userfaultfd, which is
 * refused by its own call too.
 */
CALL(ioctl)
{
	enum { KVM = 0xae };
	unsigned type = _IOC_TYPE((unsigned)a[1]);

	if (type == KVM || type == USERFAULTFD_IOC)
		return -ENOTTY;
	return lp_host_wait(t, SYS_ioctl, a);
}
