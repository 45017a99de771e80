#include "self/write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "self/private.h"
#include "self/threads.h"

static bool by_pages;	   /* how this process's code is written */
static bool cores_to_sync; /* membarrier is there */

/* ---- reading ---- */

static _Atomic bool filtered; /* by seccomp: unusual calls may be answered by the end of the process */

void lp_self_look_for_filters(void)
{
	atomic_store(&filtered, lp_thread_filtered());
}

static long read_file(lp_addr at, void *data, size_t len)
{
	long fd = lp_raw(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0, 0, 0), n;

	if (fd < 0)
		return fd;
	n = lp_raw(SYS_pread64, fd, data, len, at, 0, 0);
	lp_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	return n;
}

size_t lp_self_read(lp_addr at, void *data, size_t len)
{
	struct iovec to = {data, len}, from = {(void *)at, len};
	long n = -EPERM;

	if (!atomic_load(&filtered))
		n = lp_raw(SYS_process_vm_readv, lp_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), &to, 1, &from, 1, 0);
	if (n == -ENOSYS || n == -EPERM) /* an emulator, or a filter */
		n = read_file(at, data, len);
	return n > 0 ? (size_t)n : 0;
}

/* ---- writing: memory ---- */

static int write_memory(int fd, lp_addr at, const uint8_t *bytes, size_t len)
{
	while (len) {
		long n = lp_raw(SYS_pwrite64, fd, bytes, len, at, 0, 0);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		bytes += n;
		at += (lp_addr)n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- writing: pages ---- */

static bool failed(long rc)
{
	return rc < 0 && rc > -4096;
}

static int exchange_page(lp_addr page, size_t offset, const uint8_t *bytes, size_t len)
{
	long copy = lp_raw(SYS_mmap, 0, LP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long rc;

	if (failed(copy))
		return (int)copy;
	if (lp_self_read(page, (void *)copy, LP_PAGE) != LP_PAGE) {
		rc = -EFAULT;
		goto unmap;
	}
	for (size_t i = 0; i < len; i++)
		((volatile uint8_t *)copy)[offset + i] = bytes[i];
	rc = lp_raw(SYS_mprotect, copy, LP_PAGE, PROT_READ | PROT_EXEC, 0, 0, 0);
	if (failed(rc))
		goto unmap;
	/* A thread that executes here meanwhile faults, and waits in the kernel until the new page stands there. */
	rc = lp_raw(SYS_mremap, copy, LP_PAGE, LP_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page, 0);
	if (!failed(rc))
		return 0;
unmap:
	lp_raw(SYS_munmap, copy, LP_PAGE, 0, 0, 0, 0);
	return (int)rc;
}

static int write_pages(lp_addr at, const uint8_t *bytes, size_t len)
{
	while (len) {
		lp_addr page = lp_align_down(at, LP_PAGE);
		size_t offset = at - page, part = LP_PAGE - offset < len ? LP_PAGE - offset : len;
		int rc = exchange_page(page, offset, bytes, part);

		if (rc)
			return rc;
		bytes += part;
		at += part;
		len -= part;
	}
	return 0;
}

/* ---- finding out ---- */

/* Code on a page of ours is run, changed, and run again. */
static bool works(int fd, bool pages)
{
	uint8_t *page = mmap(NULL, LP_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint16_t (*answer)(void) = (uint16_t(*)(void))(uintptr_t)page;
	const uint16_t values[] = {4711, 815};
	bool good = page != MAP_FAILED;

	for (size_t i = 0; good && i < 2; i++) {
		uint8_t code[16];
		size_t len = lp_self_arch.probe(code, values[i]);
		lp_addr at = (lp_addr)(uintptr_t)page;

		good = !(pages ? write_pages(at, code, len) : write_memory(fd, at, code, len));
		if (good) {
			__builtin___clear_cache((char *)page, (char *)page + len);
			lp_writer_sync();
			good = answer() == values[i];
		}
	}
	if (page != MAP_FAILED)
		munmap(page, LP_PAGE);
	return good;
}

static void setup_sync(void)
{
	cores_to_sync =
		lp_raw(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0, 0, 0) == 0 &&
		lp_raw(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0, 0, 0) == 0;
}

int lp_writer_setup(struct lp_err *err)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	setup_sync();
	by_pages = fd < 0 || !works(fd, false);
	if (fd >= 0)
		close(fd);
	if (by_pages && !works(-1, true))
		return lp_fail(
			err, LP_EPERM,
			"this system lets a process neither write to its code through /proc/self/mem nor make memory "
			"executable");
	return 0;
}

/* ---- the calls ---- */

int lp_writer_open(struct lp_writer *w, struct lp_err *err)
{
	w->memory = -1;
	if (by_pages)
		return 0;
	w->memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	return w->memory < 0 ? lp_fail_sys(err, errno, "cannot open /proc/self/mem") : 0;
}

void lp_writer_close(struct lp_writer *w)
{
	if (w->memory >= 0)
		close(w->memory);
	w->memory = -1;
}

int lp_writer_write(const struct lp_writer *w, lp_addr at, const void *bytes, size_t len)
{
	return by_pages ? write_pages(at, bytes, len) : write_memory(w->memory, at, bytes, len);
}

bool lp_writer_syncs(void)
{
	return cores_to_sync;
}

int lp_writer_sync(void)
{
	lp_self_arch.serialize();
	if (!cores_to_sync)
		return 0;
	return (int)lp_raw(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0, 0, 0);
}
