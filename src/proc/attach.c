#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "proc/state.h"

const char *lp_proc_path(const struct lp_proc *p, const char *name, char *out, size_t size)
{
	snprintf(out, size, "/proc/%d/%s", (int)p->anchor, name);
	return out;
}

/* ---- may we? ---- */

/* include/linux/sched.h; field 9 of stat */
#define PF_KTHREAD UINT64_C(0x00200000)
#define PF_EXITING UINT64_C(0x00000004)
#define CAP_BIT_SYS_PTRACE 19
#define ANCHORS_MAX 100 /* one after the other */

static int refuse_ourselves(pid_t pid, struct lp_err *err)
{
	struct lp_task_status s;
	if (lp_task_status(pid, &s) == 0 && s.tgid == getpid())
		return lp_fail(err, LP_EPERM, "process %d is this livepatch itself", (int)pid);
	return 0;
}

static int no_such(pid_t pid, int why, struct lp_err *err)
{
	if (why != -ENOENT && why != -ESRCH)
		return lp_fail_sys(err, why, "cannot read what /proc says of process %d", (int)pid);
	return lp_fail(err, LP_EGONE, "there is no process %d", (int)pid);
}

/* One that exits may have given its memory back already, whatever its state. */
static bool is_live(pid_t tid, uint64_t *start_time)
{
	struct lp_task_stat st;
	if (lp_task_stat(tid, &st) < 0 || st.state == 'Z' || st.state == 'X' || (st.flags & PF_EXITING))
		return false;
	*start_time = st.start_time;
	return true;
}

/* A live thread that stands for the process: its leader may have exited (pthread_exit in main) while others run. */
static int choose_anchor(struct lp_proc *p, struct lp_err *err)
{
	p->anchor = p->pid;
	if (is_live(p->pid, &p->start_time))
		return 0;
	lp_tid_vec tids = {0};
	int rc = lp_tasks_list(p, &tids, err);
	bool found = false;
	for (size_t i = 0; rc >= 0 && i < tids.nr && !found; i++) {
		found = is_live(tids.items[i], &p->start_time);
		if (found)
			p->anchor = tids.items[i];
	}
	lp_vec_free(&tids);
	if (rc >= 0 && !found)
		rc = lp_fail(err, LP_EGONE,
			     "process %d (%s) has exited already (a zombie that its parent did not reap)", (int)p->pid,
			     p->comm);
	return rc < 0 ? rc : 0;
}

int lp_proc_keep_anchor(struct lp_proc *p, struct lp_err *err)
{
	uint64_t same;
	if (is_live(p->anchor, &same)) {
		p->anchors_lost = 0;
		return 0;
	}
	if (++p->anchors_lost > ANCHORS_MAX)
		return lp_fail(err, LP_ENOTHREAD,
			       "process %d (%s): each of its threads ends before it can be looked at", (int)p->pid,
			       p->comm);
	int rc = choose_anchor(p, err);
	return rc < 0 ? rc : 1;
}

static int refuse_kernel_thread(const struct lp_proc *p, struct lp_err *err)
{
	struct lp_task_stat st;
	int rc = lp_task_stat(p->pid, &st);
	if (rc < 0)
		return no_such(p->pid, rc, err);
	if (st.flags & PF_KTHREAD)
		return lp_fail(err, LP_EPERM, "process %d (%s) is a kernel thread; only programs can be patched",
			       (int)p->pid, p->comm);
	return 0;
}

static int check_status(const struct lp_proc *p, struct lp_err *err)
{
	struct lp_task_status s;
	int rc = lp_task_status(p->anchor, &s);
	if (rc < 0)
		return no_such(p->pid, rc, err);
	if (s.tgid != p->pid)
		return lp_fail(err, LP_EGONE, "%d is a thread of process %d; name the process", (int)p->pid, s.tgid);
	return 0;
}

/* Asked under the lock: another livepatch traces while it has it, and is waited for, not complained of. */
static int check_tracer(const struct lp_proc *p, struct lp_err *err)
{
	struct lp_task_status s;
	if (lp_task_status(p->anchor, &s) < 0 || !s.tracer)
		return 0;
	char tracer[64] = "?";
	lp_task_comm(s.tracer, tracer, sizeof tracer);
	int rc = lp_fail(err, LP_ETRACED, "process %d (%s) is being traced by process %d (%s)", (int)p->pid, p->comm,
			 s.tracer, tracer);
	if (err)
		err->tid = s.tracer;
	return rc;
}

static int yama_scope(void)
{
	char text[16] = "";
	int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	lp_close(fd);
	return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

/* The kernel says only EACCES.  Which of its rules (ptrace(2), "Ptrace access mode checking") said so? */
static int explain_denial(const struct lp_proc *p, int error, struct lp_err *err)
{
	struct lp_task_status target, self;
	int scope = yama_scope();
	int rc = lp_task_status(p->anchor, &target);
	if (rc < 0)
		return no_such(p->pid, rc, err);
	bool privileged = lp_task_status(getpid(), &self) == 0 && self.cap_effective >> CAP_BIT_SYS_PTRACE & 1;
	char who[96];
	snprintf(who, sizeof who, "process %d (%s)", (int)p->pid, p->comm);
	if (scope == 3)
		return lp_fail(err, LP_EPERM,
			       "not allowed to trace %s: yama forbids all tracing until the next boot (ptrace_scope 3)",
			       who);
	if (privileged)
		return lp_fail(err, LP_EPERM,
			       "not allowed to trace %s although we have CAP_SYS_PTRACE: it lives in another user "
			       "namespace, or a "
			       "security module forbids it (%s)",
			       who, strerror(error));
	if (target.uid != geteuid() || target.euid != geteuid())
		return lp_fail(err, LP_EPERM,
			       "not allowed to trace %s: it runs as uid %u and we as uid %u, without CAP_SYS_PTRACE",
			       who, target.euid, (unsigned)geteuid());
	if (scope >= 1)
		return lp_fail(
			err, LP_EPERM,
			"not allowed to trace %s: yama ptrace_scope is %d, which wants %s; run as root or set it to 0",
			who, scope, scope == 1 ? "us to be its ancestor" : "CAP_SYS_PTRACE");
	return lp_fail(err, LP_EPERM,
		       "not allowed to trace %s: it is not dumpable (it changed its credentials, has more capabilities "
		       "than we, or "
		       "called prctl(PR_SET_DUMPABLE)); run as root",
		       who);
}

static int check_machine(struct lp_proc *p, struct lp_err *err)
{
	uint8_t head[20];
	char path[64];
	int fd = open(lp_proc_path(p, "exe", path, sizeof path), O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return explain_denial(p, errno, err);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? no_such(p->pid, -errno, err)
							 : lp_fail_sys(err, errno, "cannot open %s", path);
	int rc = lp_pread_full(fd, head, sizeof head, 0);
	lp_close(fd);
	if (rc < 0 || memcmp(head, ELFMAG, SELFMAG))
		return lp_fail(err, LP_EELF, "the program of process %d (%s) is not an ELF file", (int)p->pid, p->comm);
	p->machine = lp_get16(head + 18);
	if (head[EI_CLASS] != ELFCLASS64)
		return lp_fail(err, LP_EISA, "process %d (%s) is a 32-bit program; only 64-bit ones can be patched",
			       (int)p->pid, p->comm);
	if (head[EI_DATA] != ELFDATA2LSB || p->machine != lp_arch_host.machine)
		return lp_fail(
			err, LP_EISA,
			"process %d (%s) is a program for another machine (ELF machine %u, this livepatch is for %u)",
			(int)p->pid, p->comm, p->machine, lp_arch_host.machine);
	return 0;
}

/* ---- open, close ---- */

static int open_files(struct lp_proc *p, struct lp_err *err)
{
	char path[64];
	/* mem first: the one that asks for the right to trace. */
	p->mem_fd = open(lp_proc_path(p, "mem", path, sizeof path), (p->own ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (p->mem_fd < 0 && (errno == EACCES || errno == EPERM))
		return explain_denial(p, errno, err);
	if (p->mem_fd < 0)
		return errno == ENOENT || errno == ESRCH ? no_such(p->pid, -errno, err)
							 : lp_fail_sys(err, errno, "cannot open %s", path);
	p->pid_fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pid_fd < 0)
		return errno == ESRCH ? no_such(p->pid, -errno, err)
				      : lp_fail_sys(err, errno, "cannot watch process %d", (int)p->pid);
	return 0;
}

static int open_task_dir(struct lp_proc *p, struct lp_err *err)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", (int)p->pid);
	p->task_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->task_fd < 0)
		return errno == ENOENT ? no_such(p->pid, -errno, err) : lp_fail_sys(err, errno, "cannot open %s", path);
	return 0;
}

static int open_proc(struct lp_proc **out, pid_t pid, bool own, struct lp_err *err)
{
	*out = NULL;
	if (pid <= 0)
		return lp_fail(err, LP_EGONE, "%d is not a process number", (int)pid);
	struct lp_proc *p = lp_alloc(sizeof *p);
	*p = (struct lp_proc){.pid = pid,
			      .anchor = pid,
			      .task_fd = -1,
			      .mem_fd = -1,
			      .pid_fd = -1,
			      .pagemap_fd = -1,
			      .arch = &lp_arch_host,
			      .own = own};
	lp_task_comm(pid, p->comm, sizeof p->comm);

	int rc = own ? 0 : refuse_ourselves(pid, err);
	rc = rc < 0 ? rc : open_task_dir(p, err);
	rc = rc < 0 ? rc : refuse_kernel_thread(p, err);
	rc = rc < 0 ? rc : choose_anchor(p, err);
	rc = rc < 0 ? rc : check_status(p, err);
	rc = rc < 0 ? rc : check_machine(p, err);
	rc = rc < 0 ? rc : open_files(p, err);
	rc = rc < 0 ? rc : lp_proc_check(p, err);
	if (rc < 0) {
		lp_proc_close(p);
		return rc;
	}
	*out = p;
	return 0;
}

int lp_proc_open(struct lp_proc **out, pid_t pid, struct lp_err *err)
{
	return open_proc(out, pid, false, err);
}

int lp_proc_open_own(struct lp_proc **out, struct lp_err *err)
{
	return open_proc(out, getpid(), true, err);
}

#define CLOSE_PATIENCE_MS 1000 /* for threads that never stopped; the kernel lets them go when we exit */

void lp_proc_close(struct lp_proc *p)
{
	if (!p)
		return;
	if (p->paused)
		lp_resume_all(p, NULL);
	lp_late_settle(p, lp_deadline(CLOSE_PATIENCE_MS));
	lp_reaper_close(p);
	lp_proc_unlock(p);
	lp_images_forget(p);
	lp_unwind_forget(p);
	lp_close(p->mem_fd);
	lp_close(p->task_fd);
	lp_close(p->pid_fd);
	lp_close(p->pagemap_fd);
	if (p->arena)
		munmap(p->arena, p->arena_size);
	lp_vec_free(&p->known);
	lp_vec_free(&p->sites);
	lp_vec_free(&p->late);
	lp_vec_free(&p->tracees);
	lp_vec_free(&p->stopped);
	lp_vec_free(&p->writable);
	lp_free(p);
}

pid_t lp_proc_pid(const struct lp_proc *p)
{
	return p->pid;
}

const char *lp_proc_comm(const struct lp_proc *p)
{
	return p->comm;
}

uint16_t lp_proc_machine(const struct lp_proc *p)
{
	return p->machine;
}

const struct lp_sysno *lp_proc_sysno(const struct lp_proc *p)
{
	return &p->arch->sysno;
}

/* ---- still there? ---- */

static bool exited(const struct lp_proc *p)
{
	struct pollfd pfd = {.fd = p->pid_fd, .events = POLLIN};
	return poll(&pfd, 1, 0) == 1;
}

/* 0 bytes when the address space is gone, data or EIO while it is there. */
bool lp_proc_replaced(const struct lp_proc *p)
{
	uint8_t byte;
	return pread(p->mem_fd, &byte, 1, 0) == 0;
}

int lp_proc_check(struct lp_proc *p, struct lp_err *err)
{
	if (exited(p))
		return lp_fail(err, LP_EGONE, "process %d (%s) has exited", (int)p->pid, p->comm);
	if (!lp_proc_replaced(p))
		return 0;
	uint64_t same;
	if (!is_live(p->pid, &same))
		return lp_fail(err, LP_EGONE, "process %d (%s) has exited", (int)p->pid, p->comm);
	return lp_fail(err, LP_EEXECED, "process %d (%s) replaced itself by exec", (int)p->pid, p->comm);
}

int lp_proc_why(struct lp_proc *p, int rc, struct lp_err *err)
{
	int check = p->pid_fd >= 0 ? lp_proc_check(p, err) : 0;
	return check < 0 ? check : rc;
}

/* ---- lock ---- */

/* Who holds a lock on that inode: /proc/locks, "1: FLOCK  ADVISORY  WRITE PID MAJ:MIN:INODE 0 EOF". */
static pid_t lock_holder(int fd)
{
	struct stat st;
	struct lp_buf text = {0};
	pid_t holder = 0;
	if (fstat(fd, &st) < 0 || lp_read_file("/proc/locks", &text, 1 << 24, NULL) < 0) {
		lp_buf_free(&text);
		return 0;
	}
	for (char *save, *line = strtok_r((char *)(uintptr_t)lp_buf_cstr(&text), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		int pid;
		unsigned long inode;
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's numbers fit */
		if (sscanf(line, "%*d: FLOCK %*s WRITE %d %*x:%*x:%lu", &pid, &inode) == 2 && inode == st.st_ino &&
		    pid != getpid())
			holder = pid;
	}
	lp_buf_free(&text);
	return holder;
}

static int lock_refused(struct lp_proc *p, struct lp_err *err)
{
	pid_t holder = lock_holder(p->mem_fd);
	char name[64] = "?";
	if (!holder)
		return lp_fail(err, LP_ELOCKED, "another livepatch is working on process %d (%s)", (int)p->pid,
			       p->comm);
	lp_task_comm(holder, name, sizeof name);
	return lp_fail(err, LP_ELOCKED, "process %d (%s) is working on process %d (%s)", (int)holder, name, (int)p->pid,
		       p->comm);
}

int lp_proc_lock(struct lp_proc *p, unsigned timeout_ms, struct lp_err *err)
{
	uint64_t deadline = lp_deadline(timeout_ms);
	/* flock has no deadline of its own and nothing can be polled for it: ask, less and less often. */
	for (long ns = 200000; flock(p->mem_fd, LOCK_EX | LOCK_NB) < 0; ns = ns < 20000000 ? ns * 2 : ns) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return lp_fail_sys(err, errno, "cannot lock process %d", (int)p->pid);
		if (lp_now() >= deadline)
			return lock_refused(p, err);
		nanosleep(&(struct timespec){0, ns}, NULL);
	}
	p->locked = true;
	p->drained = false; /* a livepatch that had the lock before us may have died in the middle */
	int rc = lp_proc_check(p, err);
	/* A debugger of ours does not keep us from changing ourselves. */
	rc = rc < 0 || p->own ? rc : check_tracer(p, err);
	if (rc < 0)
		lp_proc_unlock(p);
	else
		lp_stop_reserve(p);
	return rc;
}

void lp_proc_unlock(struct lp_proc *p)
{
	if (p->locked)
		flock(p->mem_fd, LOCK_UN);
	p->locked = false;
}
