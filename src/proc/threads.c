#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "proc/state.h"

/* A small /proc file of a thread.  /proc/TID is there for every thread, though not listed. */
static int read_small(pid_t tid, const char *name, char *out, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	ssize_t n = read(fd, out, size - 1);
	int rc = n < 0 ? -errno : 0;
	lp_close(fd);
	out[n < 0 ? 0 : n] = '\0';
	return rc;
}

/* ---- stat: proc_pid_stat(5) ---- */

int lp_task_stat_parse(const char *text, struct lp_task_stat *out)
{
	*out = (struct lp_task_stat){0};
	/* The name is in parentheses and may hold anything, parentheses too: fields start after the last one. */
	const char *at = strrchr(text, ')');
	if (!at || at[1] != ' ' || !at[2])
		return -EBADMSG;
	out->state = at[2];
	at += 3;
	for (unsigned field = 4; field <= 22; field++) {
		char *end;
		unsigned long long v = strtoull(at, &end, 10);
		if (end == at)
			return -EBADMSG;
		if (field == 9)
			out->flags = v;
		if (field == 22)
			out->start_time = v;
		at = end;
	}
	return 0;
}

int lp_task_stat(pid_t tid, struct lp_task_stat *out)
{
	char text[1024];
	int rc = read_small(tid, "stat", text, sizeof text);
	*out = (struct lp_task_stat){0};
	return rc < 0 ? rc : lp_task_stat_parse(text, out);
}

/* ---- status: proc_pid_status(5) ---- */

static bool field_of(const char *text, const char *name, int base, unsigned long long *out, unsigned nr)
{
	size_t len = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) || line[len] != ':')
			continue;
		const char *at = line + len + 1;
		for (unsigned i = 0; i < nr; i++) {
			char *end;
			out[i] = strtoull(at, &end, base);
			if (end == at)
				return false;
			at = end;
		}
		return true;
	}
	return false;
}

void lp_task_status_parse(const char *text, struct lp_task_status *out)
{
	*out = (struct lp_task_status){0};
	unsigned long long v[2];
	if (field_of(text, "Tgid", 10, v, 1))
		out->tgid = (int)v[0];
	if (field_of(text, "TracerPid", 10, v, 1))
		out->tracer = (int)v[0];
	if (field_of(text, "Uid", 10, v, 2)) {
		out->uid = (unsigned)v[0];
		out->euid = (unsigned)v[1];
	}
	if (field_of(text, "Seccomp", 10, v, 1))
		out->seccomp = (int)v[0];
	const struct {
		const char *name;
		uint64_t *to;
	} sets[] = {
		{"SigPnd", &out->pending}, {"ShdPnd", &out->shared_pending}, {"SigBlk", &out->blocked},
		{"SigIgn", &out->ignored}, {"SigCgt", &out->caught},	     {"CapEff", &out->cap_effective},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(sets); i++) {
		if (field_of(text, sets[i].name, 16, v, 1))
			*sets[i].to = v[0];
	}
}

int lp_task_status(pid_t tid, struct lp_task_status *out)
{
	char text[8192];
	int rc = read_small(tid, "status", text, sizeof text);
	lp_task_status_parse(text, out);
	return rc;
}

/* ---- syscall: proc_pid_syscall(5) ---- */

int lp_task_where_parse(const char *text, struct lp_task_where *out)
{
	*out = (struct lp_task_where){.syscall = -1};
	if (!strncmp(text, "running", 7)) {
		out->running = true;
		return 0;
	}
	char *end;
	out->syscall = strtoll(text, &end, 10);
	if (end == text)
		return -EBADMSG;
	unsigned long long words[8];
	unsigned nr = 0;
	for (const char *at = end; nr < 8; at = end, nr++) {
		words[nr] = strtoull(at, &end, 0);
		if (end == at)
			break;
	}
	if (nr < 2)
		return -EBADMSG;
	out->sp = words[nr - 2];
	out->pc = words[nr - 1];
	return 0;
}

int lp_task_where(pid_t tid, struct lp_task_where *out)
{
	char text[512];
	int rc = read_small(tid, "syscall", text, sizeof text);
	*out = (struct lp_task_where){.syscall = -1};
	return rc < 0 ? rc : lp_task_where_parse(text, out);
}

int lp_task_comm(pid_t tid, char *out, size_t size)
{
	int rc = read_small(tid, "comm", out, size);
	out[strcspn(out, "\n")] = '\0';
	return rc;
}

/* ---- lists ---- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* `into` is sorted up to `sorted`; only that part can hold duplicates of what a listing shows. */
static bool listed(const lp_tid_vec *v, size_t sorted, int tid)
{
	return sorted && bsearch(&tid, v->items, sorted, sizeof tid, by_number);
}

int lp_tasks_list(struct lp_proc *p, lp_tid_vec *into, struct lp_err *err)
{
	int fd = openat(p->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int rc = lp_fail_sys(err, errno, "cannot list the threads of process %d", (int)p->pid);
		lp_close(fd);
		return lp_proc_why(p, rc, err);
	}
	if (into->nr)
		qsort(into->items, into->nr, sizeof *into->items, by_number);
	size_t before = into->nr;
	for (struct dirent *d; (d = readdir(dir));) {
		int tid = (int)strtol(d->d_name, NULL, 10);
		if (tid > 0 && tid <= LP_TID_MAX && !listed(into, before, tid))
			lp_vec_push(into, tid);
	}
	closedir(dir);
	return (int)(into->nr - before);
}

/* proc_task_getattr() adds the number of threads to the two links that a directory has. */
size_t lp_tasks_count(const struct lp_proc *p)
{
	struct stat st;
	return fstat(p->task_fd, &st) == 0 && st.st_nlink > 2 ? st.st_nlink - 2 : 0;
}

/* ---- signals on their way ---- */

/* What would interrupt a blocked call: not signals that nobody handles and whose default is to be ignored. */
static uint64_t interrupting(const struct lp_task_status *s)
{
	uint64_t idle =
		lp_signal_bit(SIGCHLD) | lp_signal_bit(SIGURG) | lp_signal_bit(SIGWINCH) | lp_signal_bit(SIGCONT);
	return ~s->ignored & ~(idle & ~s->caught);
}

/*
 * The queues are asked first, because they are empty nearly always and two
 * ptrace calls cost a tenth of reading /proc/TID/status.  (A signal without a
 * queue entry, sent beyond RLIMIT_SIGPENDING, is missed: it is then handled as
 * if it had come just before the call instead of just after its start.)
 */
bool lp_task_interrupted(pid_t tid, int taken)
{
	if (!taken && lp_trace_queued(tid, 0, 0) == 0 && lp_trace_queued(tid, PTRACE_PEEKSIGINFO_SHARED, 0) == 0)
		return false;
	struct lp_task_status s;
	if (lp_task_status(tid, &s) < 0)
		return true;
	uint64_t pending = ((s.pending | s.shared_pending) & ~s.blocked) | (taken ? lp_signal_bit(taken) : 0);
	return pending & interrupting(&s);
}
