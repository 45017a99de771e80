/*
 * The target's memory.
 *
 * /proc/PID/mem stays bound to the address space it was opened on: after an
 * exec it reads as empty instead of showing the new program, which
 * process_vm_readv() would.  So the file is the rule; process_vm_readv() is
 * for the pause (nothing can exec then) and where honest protections matter.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proc/state.h"

/* Bytes done; less than len only with *error set: EIO = not mapped so, 0 = the address space is gone. */
static size_t mem_io(int fd, lp_addr at, void *data, size_t len, bool write, int *error)
{
	size_t done = 0;
	*error = 0;
	while (done < len) {
		uint8_t *p = (uint8_t *)data + done;
		off_t where = (off_t)(at + done);
		ssize_t n = write ? pwrite(fd, p, len - done, where) : pread(fd, p, len - done, where);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*error = n < 0 ? errno : 0;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

/* The file's offset is signed: the upper half (the vsyscall page) cannot be asked for. */
static bool askable(lp_addr at, size_t len)
{
	return at <= INT64_MAX && len <= (uint64_t)INT64_MAX - at;
}

int lp_mem_read(struct lp_proc *p, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	int error = EIO;
	size_t done = askable(at, len) ? mem_io(p->mem_fd, at, data, len, false, &error) : 0;
	if (done == len)
		return 0;
	if (!error)
		return lp_proc_why(p, lp_fail(err, LP_EGONE, "process %d has no memory any more", (int)p->pid), err);
	int rc = lp_fail(err, error == EIO ? LP_EUNMAPPED : error,
			 "cannot read %zu bytes at " LP_ADDR " of process %d: %s", len, at, (int)p->pid,
			 error == EIO ? lp_strerror(LP_EUNMAPPED) : strerror(error));
	if (err)
		err->addr = at + done;
	return rc;
}

/* Reads as many of the ranges as one call takes; returns how many came over whole. */
static size_t read_some(pid_t pid, const struct lp_range *ranges, void *const *data, size_t nr)
{
	struct iovec local[IOV_MAX], remote[IOV_MAX];
	if (nr > IOV_MAX)
		nr = IOV_MAX;
	for (size_t i = 0; i < nr; i++) {
		size_t len = ranges[i].end - ranges[i].start;
		local[i] = (struct iovec){data[i], len};
		remote[i] = (struct iovec){(void *)(uintptr_t)ranges[i].start, len};
	}
	ssize_t got = process_vm_readv(pid, local, nr, remote, nr, 0);
	size_t whole = 0;
	while (got > 0 && whole < nr && (size_t)got >= local[whole].iov_len)
		got -= (ssize_t)local[whole++].iov_len;
	return whole;
}

int lp_mem_read_many(struct lp_proc *p, const struct lp_range *ranges, void *const *data, size_t nr, struct lp_err *err)
{
	for (size_t i = 0; i < nr;) {
		if (p->paused)
			i += read_some(p->anchor, ranges + i, data + i, nr - i);
		if (i == nr)
			break;
		/* Execute-only or PROT_NONE memory, or no pause: the file reads what the kernel lets a debugger see. */
		int rc = lp_mem_read(p, ranges[i].start, data[i], ranges[i].end - ranges[i].start, err);
		if (rc < 0)
			return rc;
		i++;
	}
	return 0;
}

/* ---- writing ---- */

static int poke_words(pid_t tid, lp_addr at, const uint8_t *data, size_t len)
{
	while (len) {
		lp_addr word_at = lp_align_down(at, sizeof(long));
		size_t skip = at - word_at, n = sizeof(long) - skip < len ? sizeof(long) - skip : len;
		errno = 0;
		long word = ptrace(PTRACE_PEEKDATA, tid, (void *)word_at, NULL);
		if (errno)
			return -errno;
		memcpy((uint8_t *)&word + skip, data, n);
		if (ptrace(PTRACE_POKEDATA, tid, (void *)word_at, (void *)word) < 0)
			return -errno;
		at += n;
		data += n;
		len -= n;
	}
	return 0;
}

static pid_t a_stopped_thread(const struct lp_proc *p)
{
	for (size_t i = 0; p->paused && i < p->tracees.nr; i++) {
		if (p->tracees.items[i].stopped)
			return p->tracees.items[i].tid;
	}
	return 0;
}

/* Stops one thread for the time of the pokes. */
static int poke_running(struct lp_proc *p, lp_addr at, const uint8_t *data, size_t len)
{
	int rc = lp_trace_seize(p->anchor, PTRACE_O_TRACESYSGOOD);
	if (rc < 0)
		return rc;
	enum lp_event_kind how = lp_trace_halt(p->anchor, lp_deadline(1000));
	if (how == LP_EV_GONE)
		return -LP_EGONE;
	if (how == LP_EV_NONE) {
		lp_late_add(p, p->anchor);
		return -LP_ETIMEOUT;
	}
	rc = poke_words(p->anchor, at, data, len);
	lp_trace_detach(p->anchor, 0);
	return rc;
}

int lp_mem_write(struct lp_proc *p, lp_addr at, const void *data, size_t len, struct lp_err *err)
{
	int error = EIO;
	size_t done = askable(at, len) ? mem_io(p->mem_fd, at, (void *)(uintptr_t)data, len, true, &error) : 0;
	if (done == len)
		return 0;
	if (!error)
		return lp_proc_why(p, lp_fail(err, LP_EGONE, "process %d has no memory any more", (int)p->pid), err);

	/* EIO: not mapped; or the kernel does not force writes through this file (proc_mem.force_override=never). */
	const uint8_t *rest = (const uint8_t *)data + done;
	pid_t tid = a_stopped_thread(p);
	int rc = tid ? poke_words(tid, at + done, rest, len - done) : poke_running(p, at + done, rest, len - done);
	if (rc == 0)
		return 0;
	rc = lp_fail(err, rc == -EIO || rc == -EFAULT ? LP_EUNMAPPED : rc,
		     "cannot write %zu bytes at " LP_ADDR " of process %d: %s", len, at, (int)p->pid,
		     rc == -EIO ? lp_strerror(LP_EUNMAPPED) : lp_strerror(rc));
	if (err)
		err->addr = at + done;
	return rc;
}

int lp_mem_write_honest(pid_t tid, lp_addr at, const void *data, size_t len)
{
	struct iovec local = {(void *)(uintptr_t)data, len}, remote = {(void *)(uintptr_t)at, len};
	ssize_t n = process_vm_writev(tid, &local, 1, &remote, 1, 0);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EFAULT;
}

int lp_mem_copy(pid_t tid, lp_addr at, void *data, size_t len)
{
	struct iovec local = {data, len}, remote = {(void *)(uintptr_t)at, len};
	ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EFAULT;
}

bool lp_mem_readable(pid_t tid, lp_addr at)
{
	uint8_t byte;
	return lp_mem_copy(tid, at, &byte, 1) == 0;
}

int lp_mem_read_string(struct lp_proc *p, lp_addr at, char *out, size_t max, struct lp_err *err)
{
	size_t len = 0;
	out[0] = '\0';
	while (len + 1 < max) {
		/* Never past the end of a page: the string may be the last thing that is mapped. */
		size_t n = LP_PAGE - (at + len) % LP_PAGE;
		n = n < max - 1 - len ? n : max - 1 - len;
		int rc = lp_mem_read(p, at + len, out + len, n, err);
		if (rc < 0)
			return rc;
		if (memchr(out + len, '\0', n))
			return 0;
		len += n;
	}
	out[len] = '\0';
	return 0;
}
