/*
 * May these bytes be read, be written?  Trying would be a fault, so the kernel
 * tries for us, which knows what lies behind the end of a mapped file, too.
 * Written is what changes nothing, also not what another thread writes
 * meanwhile.  Where that cannot be asked, /proc/self/maps is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/fdio.h"

#define MAPS_MAX (64u << 20)

/* One line; false at the end. */
static bool next_map(const char **line, struct lp_range *range, char perms[4])
{
	char *end;

	if (!*line || !**line)
		return false;
	range->start = strtoul(*line, &end, 16);
	if (*end != '-')
		return false;
	range->end = strtoul(end + 1, &end, 16);
	if (strnlen(end, 5) < 5)
		return false;
	memcpy(perms, end + 1, 4);
	*line = strchr(end, '\n');
	*line += *line != NULL;
	return true;
}

static int check(const char *maps, struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_range r;
	char perms[4];

	for (const char *line = maps; want.start < want.end && next_map(&line, &r, perms);) {
		if (!lp_range_has(r, want.start))
			continue;
		if (perms[0] != 'r')
			break;
		if (write && perms[1] != 'w')
			return lp_fail(err, LP_EREADONLY, "memory at " LP_ADDR " cannot be written", want.start);
		want.start = r.end;
	}
	return want.start >= want.end ? 0
				      : lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", want.start);
}

static int check_maps(struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_buf maps = {0};
	int rc = lp_read_file("/proc/self/maps", &maps, MAPS_MAX, err);

	rc = rc < 0 ? rc : check(lp_buf_cstr(&maps), want, write, err);
	lp_buf_free(&maps);
	return rc;
}

static int read_byte(lp_addr at)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)at, 1};

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 1 ? 0 : -errno;
}

/* Adds 0 to the word there in one piece.  When that is less than -2048, one who waits for it to change may be woken, as
 * happens to who waits so. */
static int write_word(lp_addr at)
{
	uint32_t ours = 0, *word = (uint32_t *)(uintptr_t)lp_align_down(at, sizeof(uint32_t));
	uint32_t add_nothing = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, -2048);

	return syscall(SYS_futex, &ours, FUTEX_WAKE_OP_PRIVATE, 0, 0UL, word, add_nothing) < 0 ? -errno : 0;
}

/* Of every page a piece, until one fails: there the rest begins. */
static int try(struct lp_range *rest, int (*one)(lp_addr))
{
	int rc = 0;

	while (rest->start < rest->end && !(rc = one(rest->start)))
		rest->start = lp_align_down(rest->start, LP_PAGE) + LP_PAGE;
	return rc;
}

static int check_by_trying(struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_range rest = want;
	int rc = try(&rest, read_byte);

	if (rc == -EFAULT)
		return lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", rest.start);
	if (rc || !write)
		return rc;
	rest = want;
	rc = try(&rest, write_word);
	return rc == -EFAULT ? lp_fail(err, LP_EREADONLY, "memory at " LP_ADDR " cannot be written", rest.start) : rc;
}

int lp_memory_check(lp_addr at, size_t size, bool write, struct lp_err *err)
{
	struct lp_range want = {at, at + size};
	int rc = want.end < at ? lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", at)
			       : check_by_trying(want, write, err);

	if (rc == -ENOSYS || rc == -EPERM)
		rc = check_maps(want, write, err);
	if (rc < 0 && err)
		err->addr = at;
	return rc;
}
