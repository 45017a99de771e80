/*
 * sweep: hurts livepatch at every system call it makes, one after the other,
 * and looks whether the target noticed.
 *
 * For k = 1, 2, 3, ... the operation is run as our tracee and at its k-th
 * system call
 *
 *     --kill        all of its processes get SIGKILL at the entry (the call is not made),
 *     --kill-exit   the same at the exit (the call was made),
 *     --kill-one    only the process that makes the call gets SIGKILL at the entry, or
 *     --fail=ERRNO  the call is not made and returns -ERRNO.
 *
 * Between two system calls livepatch changes only its own memory, so killing
 * it at the entry of each one visits every state in which it can leave the
 * target; --kill-exit differs only where a call blocks or fails.
 *
 * After each hurt the victim (victim.c) must live, with no thread stopped or
 * traced, with right arithmetic and no system call interrupted.  Then
 *
 *     odd k    `recover`, after which the victim is all old or all new
 *     even k   nothing: the next command has to recover by itself
 *
 * and `apply`, `check`, `revert --all --free` must work, the behaviour going
 * new and old again, and leave exactly the mappings that one clean round left:
 * whatever the dead one had allocated was found and freed.  --kill-one leaves
 * an heir, who must have made the victim all old or all new by himself; his
 * exit status, and that of --fail, must agree with what became of the victim.
 *
 * The sweep ends when the operation finished before its k-th call (three times
 * in a row: the number of wait4 calls varies from run to run).  With --fail
 * the calls that the dynamic linker makes before main() are left alone, and so
 * are exit_group, which has no failure, and brk, which never returns an error.  A failed allocation aborts livepatch
 * (base/vec.h), which then counts as killed.
 *
 * The tool is traced by us while it traces the victim; neither learns of the
 * other.  x86_64 only: making a call fail means writing the registers.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

enum {
	TOOL_DEADLINE_S = 300,
	ANSWER_DEADLINE_MS = 120000,
	MAX_TRIES = 20,
	LAST_CALLS = 8,
	MAX_ARGS = 16,
	MAX_PROCESSES = 16,
	UNFINISHED_REACH = 20
};

static const char *const call_names[] = {
#include "syscalls.inc"
};

static const char *call_name(uint64_t nr)
{
	return nr < sizeof call_names / sizeof call_names[0] && call_names[nr] ? call_names[nr] : "?";
}

/* ---- what is swept ---- */

enum hurt { HURT_UNSAID, HURT_KILL_ENTRY, HURT_KILL_EXIT, HURT_KILL_ONE, HURT_FAIL };

struct operation {
	const char *name;
	const char *args[6];
	const char *before; /* behaviour it starts from */
	const char *after;  /* behaviour when it succeeded; NULL: uniform, old or new */
	bool from_unfinished;
};

static const struct operation operations[] = {
	{"apply", {"apply", "-p", "PID", "-f", "SCRIPT"}, "ooo", "nnn", false},
	{"revert", {"revert", "-p", "PID", "--all"}, "nnn", "ooo", false},
	{"revert-free", {"revert", "-p", "PID", "--all", "--free"}, "nnn", "ooo", false},
	{"recover", {"recover", "-p", "PID"}, NULL, NULL, true},
};

#define APPLY (operations[0].args)
#define REVERT_FREE (operations[2].args)
#define RECOVER (operations[3].args)
static const char *const check_args[6] = {"check", "-p", "PID"};

static struct {
	const char *livepatch, *victim, *object;
	const struct operation *op;
	enum hurt hurt;
	int fail_errno;
	long from, to, step, fresh, max_failures;
	bool verbose;
	int argc;
	char **argv;
	char script[PATH_MAX];
	long unfinished_at; /* killing apply at the entry of this write leaves it unfinished */
} cfg = {.from = 1, .to = LONG_MAX, .step = 1, .fresh = 100, .max_failures = 5};

static struct {
	long calls; /* of the longest run that was not hurt */
	long hurt, left_old, left_mixed, left_new, refused, tolerated, died;
	long failures;
} tally;

static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("sweep: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* ---- the victim ---- */

static struct victim {
	pid_t pid; /* 0 = none */
	bool reaped;
	int status;
	int to, from;
	unsigned long counter;
	char behaviour[4];
	long rounds;
	char *maps; /* after one clean round */
} victim;

static void victim_start(void)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe: %m");
	victim = (struct victim){.to = in[1], .from = out[0]};
	victim.pid = fork();
	if (victim.pid < 0)
		die("fork: %m");
	if (!victim.pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(cfg.victim, cfg.victim, (char *)NULL);
		die("%s: %m", cfg.victim);
	}
	close(in[0]);
	close(out[1]);
}

static void victim_stop(void)
{
	if (!victim.pid)
		return;
	kill(victim.pid, SIGKILL);
	if (!victim.reaped)
		waitpid(victim.pid, NULL, 0);
	close(victim.to);
	close(victim.from);
	free(victim.maps);
	victim.pid = 0;
}

/* ---- saying what went wrong ---- */

struct call {
	uint64_t nr;
	long k;
};

static struct {
	char text[4096]; /* "" = nothing wrong */
	char *tool_output;
	int tool_status;
	struct call last[LAST_CALLS]; /* ring of the operation's latest calls */
	long nr_calls;
	long k;
} now;

static bool wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(now.text, sizeof now.text, fmt, ap);
	va_end(ap);
	return false;
}

static void describe_status(int status, char *out, size_t size)
{
	if (WIFEXITED(status))
		snprintf(out, size, "exit %d", WEXITSTATUS(status));
	else
		snprintf(out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
}

static const char *hurt_name(char *out, size_t size)
{
	static const char *const names[] = {
		[HURT_KILL_ENTRY] = "--kill", [HURT_KILL_EXIT] = "--kill-exit", [HURT_KILL_ONE] = "--kill-one"};

	if (cfg.hurt == HURT_FAIL)
		snprintf(out, size, "--fail=%s", strerrorname_np(cfg.fail_errno));
	else
		snprintf(out, size, "%s", names[cfg.hurt]);
	return out;
}

static void report_failure(void)
{
	char mode[32];

	tally.failures++;
	fprintf(stderr, "sweep: FAILED %s %s at call %ld", cfg.op->name, hurt_name(mode, sizeof mode), now.k);
	if (now.nr_calls)
		fprintf(stderr, " (%s)", call_name(now.last[(now.nr_calls - 1) % LAST_CALLS].nr));
	fprintf(stderr, ": %s\n", now.text);
	if (now.tool_output && *now.tool_output)
		fprintf(stderr, "  livepatch said: %s\n", now.tool_output);
	fputs("  calls before it:", stderr);
	for (long i = now.nr_calls > LAST_CALLS ? now.nr_calls - LAST_CALLS : 0; i < now.nr_calls; i++)
		fprintf(stderr, " %ld:%s", now.last[i % LAST_CALLS].k, call_name(now.last[i % LAST_CALLS].nr));
	fputs("\n  reproduce:", stderr);
	for (int i = 0; i < cfg.argc; i++)
		if (strncmp(cfg.argv[i], "--from", 6) && strncmp(cfg.argv[i], "--to", 4))
			fprintf(stderr, " %s", cfg.argv[i]);
	fprintf(stderr, " --from=%ld --to=%ld\n", now.k, now.k);
}

/* ---- talking to the victim ---- */

static bool victim_lives(void)
{
	if (!victim.reaped && waitpid(victim.pid, &victim.status, WNOHANG) == victim.pid)
		victim.reaped = true;
	if (victim.reaped) {
		char how[64];

		describe_status(victim.status, how, sizeof how);
		return wrong("the victim died: %s", how);
	}
	return true;
}

static bool read_answer(char *line, size_t size)
{
	size_t len = 0;
	struct pollfd p = {.fd = victim.from, .events = POLLIN};

	while (len + 1 < size && (len == 0 || line[len - 1] != '\n')) {
		if (poll(&p, 1, ANSWER_DEADLINE_MS) <= 0)
			return victim_lives() && wrong("the victim does not answer");
		if (read(victim.from, line + len, 1) != 1)
			return victim_lives() && wrong("the victim closed its end");
		len++;
	}
	line[len] = '\0';
	return true;
}

static bool victim_ask(void)
{
	char line[128];

	if (!victim_lives())
		return false;
	if (write(victim.to, "?\n", 2) != 2)
		return wrong("the victim's input is closed");
	if (!read_answer(line, sizeof line))
		return false;
	if (sscanf(line, "ok %lu %3s", &victim.counter, victim.behaviour) != 2)
		return wrong("the victim says: %s", line);
	return strchr(victim.behaviour, '?') ? wrong("behaviour is neither old nor new: %s", victim.behaviour) : true;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* The spinning thread, which is not the one that answers, must have moved on. */
static bool victim_progresses(void)
{
	unsigned long begin;
	int64_t deadline = now_ms() + ANSWER_DEADLINE_MS;

	if (!victim_ask())
		return false;
	begin = victim.counter;
	while (victim.counter == begin) {
		if (now_ms() > deadline)
			return wrong("the victim makes no progress");
		if (!victim_ask())
			return false;
	}
	return true;
}

static char *read_proc(const char *fmt, ...)
{
	char path[128];
	size_t cap = 1 << 16, len = 0;
	char *text;
	ssize_t n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof path, fmt, ap);
	va_end(ap);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	text = malloc(cap + 1);
	while ((n = read(fd, text + len, cap - len)) > 0)
		if ((len += n) == cap)
			text = realloc(text, (cap *= 2) + 1);
	text[len] = '\0';
	close(fd);
	return text;
}

static bool thread_is_free(const char *tid)
{
	char *status = read_proc("/proc/%d/task/%s/status", victim.pid, tid);
	bool good = true;

	if (!status)
		return true; /* it ended; the victim's threads never do, and its silence would show that */
	const char *state = strstr(status, "\nState:\t"), *tracer = strstr(status, "\nTracerPid:\t");
	if (!state || strchr("TtZX", state[8]))
		good = wrong("thread %s is left in state %.20s", tid, state ? state + 8 : "(unknown)");
	else if (!tracer || strtol(tracer + 12, NULL, 10))
		good = wrong("thread %s is left traced", tid);
	free(status);
	return good;
}

static bool threads_are_free(void)
{
	char path[64];
	struct dirent *d;
	bool good = true;

	snprintf(path, sizeof path, "/proc/%d/task", victim.pid);
	DIR *dir = opendir(path);
	if (!dir)
		return wrong("the victim is gone");
	while (good && (d = readdir(dir)))
		if (isdigit(d->d_name[0]))
			good = thread_is_free(d->d_name);
	closedir(dir);
	return good;
}

/* Range, protection and name of every mapping but the ledger (which may grow) and the main thread's stack (likewise). */
static char *maps_digest(void)
{
	char *maps = read_proc("/proc/%d/maps", victim.pid), *out, *to, *save = NULL;

	if (!maps)
		return NULL;
	out = to = malloc(strlen(maps) + 1);
	for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(line, "livepatch-ledger") && !strstr(line, "[stack]"))
			to += sprintf(to, "%s\n", line);
	*to = '\0';
	free(maps);
	return out;
}

/* First line that is in `a` and not in `b`. */
static const char *line_missing(const char *a, const char *b, char *line, size_t size)
{
	for (; *a; a += strcspn(a, "\n") + 1) {
		snprintf(line, size, "%.*s", (int)strcspn(a, "\n"), a);
		if (!strstr(b, line))
			return line;
	}
	return NULL;
}

static bool maps_are_clean(void)
{
	char *maps = maps_digest(), line[256];
	bool good = true;

	if (!maps)
		return wrong("the victim is gone");
	if (!victim.maps) {
		victim.maps = maps;
		return true;
	}
	if (line_missing(maps, victim.maps, line, sizeof line))
		good = wrong("left behind: %s", line);
	else if (line_missing(victim.maps, maps, line, sizeof line))
		good = wrong("lost from the victim: %s", line);
	free(maps);
	return good;
}

/* ---- running livepatch ---- */

static void exec_tool(const char *const *args, int output)
{
	char pid[16];
	const char *argv[MAX_ARGS] = {cfg.livepatch};
	size_t n = 1;

	snprintf(pid, sizeof pid, "%d", victim.pid);
	for (; *args; args++)
		argv[n++] = !strcmp(*args, "PID") ? pid : !strcmp(*args, "SCRIPT") ? cfg.script : *args;
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	execv(cfg.livepatch, (char *const *)argv);
	_exit(126);
}

static int output_open(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	if (fd < 0)
		die("memfd_create: %m");
	return fd;
}

static void output_take(int fd)
{
	off_t len = lseek(fd, 0, SEEK_END);

	free(now.tool_output);
	now.tool_output = calloc(1, len + 1);
	if (pread(fd, now.tool_output, len, 0) != len)
		die("cannot read back the tool's output: %m");
	close(fd);
	while (len && now.tool_output[len - 1] == '\n')
		now.tool_output[--len] = '\0';
}

static void on_alarm(int sig)
{
	(void)sig; /* only interrupts waitpid */
}

/* Runs to its end; false when it hangs.  The status is in now.tool_status. */
static bool tool_run(const char *const *args)
{
	int output = output_open();
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %m");
	if (!pid)
		exec_tool(args, output);
	alarm(TOOL_DEADLINE_S);
	bool hangs = waitpid(pid, &now.tool_status, 0) < 0;
	alarm(0);
	if (hangs) {
		kill(pid, SIGKILL);
		waitpid(pid, &now.tool_status, 0);
	}
	output_take(output);
	return hangs ? wrong("`%s` afterwards hangs", args[0]) : true;
}

/* Refused, for one of us did not get the CPU in time (docs/safety.md): nothing was changed, and it can be tried again. */
static bool tool_lacked_cpu(void)
{
	static const char *const sentences[] = {"this machine is too busy",
						"has not finished what we asked of it within", "it got no CPU time"};

	if (!WIFEXITED(now.tool_status) || WEXITSTATUS(now.tool_status) != 1)
		return false;
	for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
		if (strstr(now.tool_output, sentences[i]))
			return true;
	return false;
}

static bool tool_succeeds(const char *const *args)
{
	char how[64];

	for (int tries = 0; tries == 0 || (tool_lacked_cpu() && tries < MAX_TRIES); tries++)
		if (!tool_run(args))
			return false;
	if (WIFEXITED(now.tool_status) && WEXITSTATUS(now.tool_status) == 0)
		return true;
	describe_status(now.tool_status, how, sizeof how);
	return wrong("`%s` afterwards: %s", args[0], how);
}

static bool behaves(const char *behaviour, const char *when)
{
	if (!victim_ask())
		return false;
	return !strcmp(victim.behaviour, behaviour)
		       ? true
		       : wrong("%s: behaviour is %s, must be %s", when, victim.behaviour, behaviour);
}

/* ---- hurting it ---- */

struct tracee_range {
	uint64_t start, end;
};

/* Where the dynamic linker's code is; empty for a static tool. */
static struct tracee_range dynamic_linker_of(pid_t pid)
{
	char *maps = read_proc("/proc/%d/maps", pid), *save = NULL;
	struct tracee_range r = {0, 0};

	for (char *line = maps ? strtok_r(maps, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, " r-xp ") && strstr(line, "/ld-"))
			sscanf(line, "%" SCNx64 "-%" SCNx64, &r.start, &r.end);
	free(maps);
	return r;
}

static void set_registers(pid_t pid, void (*change)(struct user_regs_struct *))
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
		return;
	change(&regs);
	ptrace(PTRACE_SETREGS, pid, NULL, &regs);
}

static void skip_call(struct user_regs_struct *regs)
{
	regs->orig_rax = (uint64_t)-1;
}

static void give_failure(struct user_regs_struct *regs)
{
	regs->rax = (uint64_t)(int64_t)-cfg.fail_errno;
}

static bool cannot_fail(const struct __ptrace_syscall_info *info, struct tracee_range linker)
{
	if (info->entry.nr == SYS_exit_group || info->entry.nr == SYS_exit || info->entry.nr == SYS_brk)
		return true;
	return info->instruction_pointer >= linker.start && info->instruction_pointer < linker.end;
}

enum outcome { FINISHED_BEFORE, HURT_IT };

/* A run of the tool under our eyes. */
struct run {
	long k; /* call to hurt at; 0 = just count */
	enum hurt hurt;
	pid_t leader;
	pid_t processes[MAX_PROCESSES]; /* the leader and whom it forked, as long as they live */
	size_t nr_processes;
	struct tracee_range linker;
	bool writes_only; /* k counts the pwrite64 calls */
	bool execed;	  /* before it, the calls are ours */
	bool killing;	  /* whoever shows up now is killed too */
	bool failing;	  /* the call that we skipped is on its way out */
	enum outcome outcome;
};

static void run_add(struct run *r, pid_t pid)
{
	for (size_t i = 0; i < r->nr_processes; i++)
		if (r->processes[i] == pid)
			return;
	if (r->nr_processes == MAX_PROCESSES)
		die("the tool forks without end");
	r->processes[r->nr_processes++] = pid;
	if (r->killing)
		kill(pid, SIGKILL);
}

static void run_remove(struct run *r, pid_t pid)
{
	for (size_t i = 0; i < r->nr_processes; i++)
		if (r->processes[i] == pid)
			r->processes[i] = r->processes[--r->nr_processes];
}

static void run_kill_all(struct run *r)
{
	r->killing = true;
	for (size_t i = 0; i < r->nr_processes; i++)
		kill(r->processes[i], SIGKILL);
}

static void run_kill(struct run *r, pid_t caller)
{
	if (r->hurt == HURT_KILL_ONE)
		kill(caller, SIGKILL);
	else
		run_kill_all(r);
	r->outcome = HURT_IT;
}

static void run_at_entry(struct run *r, pid_t pid, const struct __ptrace_syscall_info *info)
{
	if (!r->execed || r->outcome == HURT_IT || (r->hurt == HURT_FAIL && cannot_fail(info, r->linker)))
		return;
	if (r->writes_only && info->entry.nr != SYS_pwrite64)
		return;
	now.last[now.nr_calls % LAST_CALLS] = (struct call){info->entry.nr, now.nr_calls + 1};
	if (++now.nr_calls != r->k)
		return;
	if (r->hurt == HURT_KILL_ENTRY || r->hurt == HURT_KILL_ONE) {
		run_kill(r, pid);
	} else if (r->hurt == HURT_FAIL) {
		set_registers(pid, skip_call);
		r->failing = true;
		r->outcome = HURT_IT;
	}
}

static void run_at_exit(struct run *r, pid_t pid)
{
	if (r->failing) {
		set_registers(pid, give_failure);
		r->failing = false;
	} else if (r->hurt == HURT_KILL_EXIT && r->execed && now.nr_calls == r->k && r->outcome != HURT_IT) {
		run_kill(r, pid);
	}
}

/* A child is ours from its birth on; knowing it before it runs lets nobody escape. */
static void run_at_event(struct run *r, pid_t pid, int event)
{
	unsigned long child;

	if (event == PTRACE_EVENT_EXEC) {
		r->linker = dynamic_linker_of(pid);
		r->execed = true;
	} else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
		if (!ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child))
			run_add(r, (pid_t)child);
	}
}

static void run_stopped(struct run *r, pid_t pid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		struct __ptrace_syscall_info info;

		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
				run_at_entry(r, pid, &info);
			else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
				run_at_exit(r, pid);
		}
		sig = 0;
	} else if (event) {
		run_at_event(r, pid, event);
		sig = 0;
	}
	ptrace(PTRACE_SYSCALL, pid, NULL, sig);
}

/* The child waits for the pipe to close, so that we hold it before its exec. */
static pid_t run_start(const char *const *args, int output)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
	int go[2];
	char c;

	if (pipe2(go, O_CLOEXEC))
		die("pipe: %m");
	pid_t pid = fork();
	if (pid < 0)
		die("fork: %m");
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1) == 0)
			exec_tool(args, output);
		_exit(126);
	}
	close(go[0]);
	if (ptrace(PTRACE_SEIZE, pid, NULL, options))
		die("cannot trace the tool: %m");
	ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	close(go[1]);
	return pid;
}

static bool run_to_end(struct run r, const char *const *args, enum outcome *outcome)
{
	int output = output_open(), status;
	bool hangs = false;

	now.nr_calls = 0;
	r.leader = run_start(args, output);
	run_add(&r, r.leader);
	alarm(TOOL_DEADLINE_S);
	while (r.nr_processes) {
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == EINTR) {
			hangs = true;
			run_kill_all(&r);
		} else if (pid < 0) {
			die("waitpid: %m");
		} else if (pid == victim.pid && !WIFSTOPPED(status)) {
			victim.reaped = true;
			victim.status = status;
		} else if (WIFSTOPPED(status)) {
			run_add(&r, pid);
			run_stopped(&r, pid, status);
		} else {
			run_remove(&r, pid);
			if (pid == r.leader)
				now.tool_status = status;
		}
	}
	alarm(0);
	output_take(output);
	*outcome = r.outcome;
	return hangs ? wrong("livepatch hangs") : true;
}

/* Runs args, hurts call k; k = 0 counts only.  False with the reason when it hung. */
static bool tool_run_hurt(const char *const *args, long k, enum outcome *outcome)
{
	return run_to_end((struct run){.k = k, .hurt = cfg.hurt, .outcome = FINISHED_BEFORE}, args, outcome);
}

/* The number of its writes does not depend, as that of its waits does, on how fast threads stop. */
static bool apply_killed_at_write(long k, enum outcome *outcome)
{
	const struct run r = {.k = k, .hurt = HURT_KILL_ENTRY, .writes_only = true, .outcome = FINISHED_BEFORE};

	return run_to_end(r, APPLY, outcome);
}

/* ---- one round ---- */

static bool uniform(const char *behaviour)
{
	return behaviour[0] == behaviour[1] && behaviour[1] == behaviour[2];
}

static bool reach_old(void)
{
	if (!victim_ask())
		return false;
	if (strcmp(victim.behaviour, "ooo") && !tool_succeeds(REVERT_FREE))
		return false;
	return behaves("ooo", "after revert");
}

static bool reach_new(void)
{
	if (!victim_ask())
		return false;
	if (strcmp(victim.behaviour, "nnn") && !tool_succeeds(APPLY))
		return false;
	return behaves("nnn", "after apply");
}

/* old -> new -> old by clean runs; leaves the victim old and its maps as they were. */
static bool clean_round(void)
{
	return tool_succeeds(APPLY) && behaves("nnn", "after apply") && tool_succeeds(check_args) &&
	       tool_succeeds(REVERT_FREE) && behaves("ooo", "after revert") && threads_are_free() && maps_are_clean();
}

static bool is_unfinished(bool *answer)
{
	static const char *const args[6] = {"list", "-p", "PID", "--json"};

	if (!tool_succeeds(args))
		return false;
	*answer = strstr(now.tool_output, "\"unfinished\": true");
	return true;
}

static bool leave_unfinished(void)
{
	enum outcome outcome;
	bool unfinished;

	if (!reach_old() || !apply_killed_at_write(cfg.unfinished_at, &outcome) || !is_unfinished(&unfinished))
		return false;
	return unfinished ? true : wrong("write %ld of apply leaves nothing unfinished any more", cfg.unfinished_at);
}

static bool reach_start(void)
{
	if (cfg.op->from_unfinished)
		return leave_unfinished();
	return cfg.op->before[0] == 'n' ? reach_new() : reach_old();
}

static bool note_what_is_left(void)
{
	if (!strcmp(victim.behaviour, "ooo"))
		tally.left_old++;
	else if (!strcmp(victim.behaviour, "nnn"))
		tally.left_new++;
	else
		tally.left_mixed++;
	return true;
}

/* Whoever is left of the tool must have brought the victim to an end, and tell the truth about it. */
static bool status_is_honest(const char *before)
{
	int status = now.tool_status;
	char how[64];

	if (cfg.hurt != HURT_FAIL && cfg.hurt != HURT_KILL_ONE)
		return true;
	if (cfg.hurt == HURT_KILL_ONE && !uniform(victim.behaviour))
		return wrong("the heir left the victim half %s", victim.behaviour);
	if (cfg.hurt == HURT_KILL_ONE && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		tally.tolerated++;
		if (cfg.op->after)
			return behaves(cfg.op->after, "exit 0");
		return uniform(victim.behaviour) ? true : wrong("exit 0, but the victim is half %s", victim.behaviour);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
		tally.refused++;
		return behaves(before, "exit 1");
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
		tally.died++;
		return true;
	}
	describe_status(status, how, sizeof how);
	return wrong("ends with %s, which is neither success nor a refusal", how);
}

static bool aftermath(long k)
{
	if (k % 2) {
		if (!tool_succeeds(RECOVER) || !victim_ask())
			return false;
		if (!uniform(victim.behaviour))
			return wrong("after recover the victim is half %s", victim.behaviour);
	}
	/* On an even k, or when recover finished the job, this stacks a second patch on the first: also lawful. */
	return tool_succeeds(APPLY) && behaves("nnn", "after apply") && tool_succeeds(check_args) &&
	       tool_succeeds(REVERT_FREE) && behaves("ooo", "after revert") && threads_are_free() &&
	       victim_progresses() && maps_are_clean();
}

static bool round_at(long k, enum outcome *outcome)
{
	char before[4];

	now.k = k;
	now.text[0] = '\0';
	if (!reach_start() || !victim_ask())
		return false;
	memcpy(before, victim.behaviour, sizeof before);
	*outcome = FINISHED_BEFORE;
	for (int tries = 0; *outcome == FINISHED_BEFORE && (tries == 0 || (tool_lacked_cpu() && tries < MAX_TRIES));
	     tries++)
		if (!tool_run_hurt(cfg.op->args, k, outcome))
			return false;
	if (!victim_lives() || !threads_are_free() || !victim_progresses())
		return false;
	if (*outcome == FINISHED_BEFORE)
		return WIFEXITED(now.tool_status) && WEXITSTATUS(now.tool_status) == 0 ? true : wrong("fails unhurt");
	tally.hurt++;
	return note_what_is_left() && status_is_honest(before) && aftermath(k);
}

/* A new victim has gone through one clean round, after which its maps are the reference. */
static void renew_victim(void)
{
	if (victim.pid && victim.rounds++ < cfg.fresh)
		return;
	victim_stop();
	victim_start();
	if (!victim_progresses() || !clean_round() || !clean_round()) {
		report_failure();
		die("livepatch does not work on this victim even when nobody hurts it");
	}
}

/* The write of apply before which a kill leaves the victim half patched, or else the last that leaves it unfinished. */
static void find_unfinished(void)
{
	enum outcome outcome = HURT_IT;
	bool unfinished;

	for (long k = 1; outcome == HURT_IT; k++) {
		renew_victim();
		if (!reach_old() || !apply_killed_at_write(k, &outcome) || !is_unfinished(&unfinished) || !victim_ask())
			die("looking for an unfinished apply: %s", now.text);
		if (unfinished)
			cfg.unfinished_at = k;
		if (!uniform(victim.behaviour))
			return;
		if (!tool_succeeds(RECOVER))
			die("looking for an unfinished apply: %s", now.text);
	}
	if (!cfg.unfinished_at)
		die("no kill leaves an apply unfinished; nothing to recover");
}

static void sweep(void)
{
	int finished = 0;

	if (cfg.op->from_unfinished)
		find_unfinished();
	for (long k = cfg.from; k <= cfg.to && finished < 3 && tally.failures < cfg.max_failures; k += cfg.step) {
		enum outcome outcome = HURT_IT;

		renew_victim();
		if (!round_at(k, &outcome)) {
			report_failure();
			victim_stop();
		}
		finished = outcome == FINISHED_BEFORE ? finished + 1 : 0;
		if (outcome == FINISHED_BEFORE && now.nr_calls > tally.calls)
			tally.calls = now.nr_calls;
		if (cfg.verbose)
			fprintf(stderr, "%ld %s %s\n", k,
				call_name(now.last[(now.nr_calls + LAST_CALLS - 1) % LAST_CALLS].nr), victim.behaviour);
	}
	victim_stop();
}

/* ---- the command line ---- */

static const struct {
	int number;
	const char *name;
} usual_errors[] = {{EIO, "EIO"},     {ENOMEM, "ENOMEM"}, {EINTR, "EINTR"},
		    {ESRCH, "ESRCH"}, {EPERM, "EPERM"},	  {EAGAIN, "EAGAIN"}};

static int errno_named(const char *name)
{
	for (size_t i = 0; i < sizeof usual_errors / sizeof usual_errors[0]; i++)
		if (!strcmp(usual_errors[i].name, name))
			return usual_errors[i].number;
	die("unknown error %s", name);
	return 0;
}

static const struct operation *operation_named(const char *name)
{
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	die("unknown operation %s: apply, revert, revert-free or recover", name);
	return NULL;
}

static const char usage[] =
	"usage: sweep --livepatch=PATH --victim=PATH --object=PATCH.so --op=apply|revert|revert-free|recover\n"
	"             --kill | --kill-exit | --kill-one | --fail=ERRNO\n"
	"             [--from=K] [--to=K] [--step=N] [--fresh=ROUNDS] [--max-failures=N] [--verbose]\n";

/* Options that only set a value. */
static const struct {
	const char *name;
	const char **text;
	long *number;
} settings[] = {
	{"livepatch", &cfg.livepatch, NULL},
	{"victim", &cfg.victim, NULL},
	{"object", &cfg.object, NULL},
	{"from", NULL, &cfg.from},
	{"to", NULL, &cfg.to},
	{"step", NULL, &cfg.step},
	{"fresh", NULL, &cfg.fresh},
	{"max-failures", NULL, &cfg.max_failures},
};

static bool is_setting(const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		if (strcmp(settings[i].name, name))
			continue;
		if (settings[i].text)
			*settings[i].text = value;
		else
			*settings[i].number = atol(value);
		return true;
	}
	return false;
}

static bool parse_valued(const char *name, const char *value)
{
	if (is_setting(name, value))
		return true;
	if (!strcmp(name, "op")) {
		cfg.op = operation_named(value);
	} else if (!strcmp(name, "fail")) {
		cfg.hurt = HURT_FAIL;
		cfg.fail_errno = errno_named(value);
	} else {
		return false;
	}
	return true;
}

static bool parse_flag(const char *name)
{
	if (!strcmp(name, "kill"))
		cfg.hurt = HURT_KILL_ENTRY;
	else if (!strcmp(name, "kill-exit"))
		cfg.hurt = HURT_KILL_EXIT;
	else if (!strcmp(name, "kill-one"))
		cfg.hurt = HURT_KILL_ONE;
	else if (!strcmp(name, "verbose"))
		cfg.verbose = true;
	else
		return false;
	return true;
}

static bool parse_option(const char *argument)
{
	char name[32];
	const char *value = strchr(argument, '=');

	if (strncmp(argument, "--", 2))
		return false;
	if (!value)
		return parse_flag(argument + 2);
	snprintf(name, sizeof name, "%.*s", (int)(value - argument - 2), argument + 2);
	return parse_valued(name, value + 1);
}

static void parse_options(int argc, char **argv)
{
	bool good = true;

	cfg.argc = argc;
	cfg.argv = argv;
	for (int i = 1; i < argc; i++)
		good &= parse_option(argv[i]);
	if (!good || !cfg.livepatch || !cfg.victim || !cfg.object || !cfg.op || !cfg.hurt || cfg.step < 1) {
		fputs(usage, stderr);
		exit(2);
	}
}

static void write_script(void)
{
	snprintf(cfg.script, sizeof cfg.script, "/tmp/livepatch-sweep.XXXXXX");
	int fd = mkstemp(cfg.script);
	char *object = realpath(cfg.object, NULL);

	if (fd < 0 || !object)
		die("cannot write the script for %s: %m", cfg.object);
	dprintf(fd,
		"dl new %s\n"
		"jmp count_up $new:count_up_new\n"
		"jmp name_it $new:name_it_new\n"
		"set message addr $new:new_message\n",
		object);
	close(fd);
	free(object);
}

static void print_summary(int64_t ms)
{
	char mode[32];

	printf("sweep %s %s: %ld calls, %ld hurt: %ld left old, %ld mixed, %ld new", cfg.op->name,
	       hurt_name(mode, sizeof mode), tally.calls, tally.hurt, tally.left_old, tally.left_mixed, tally.left_new);
	if (cfg.hurt == HURT_FAIL || cfg.hurt == HURT_KILL_ONE)
		printf("; %ld refused, %ld tolerated, %ld aborted", tally.refused, tally.tolerated, tally.died);
	printf("; %ld failures (%.1f s)\n", tally.failures, ms / 1e3);
}

int main(int argc, char **argv)
{
	int64_t begin = now_ms();

	parse_options(argc, argv);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
	signal(SIGPIPE, SIG_IGN);
	write_script();
	sweep();
	unlink(cfg.script);
	print_summary(now_ms() - begin);
	return tally.failures || (cfg.to == LONG_MAX && !tally.hurt) ? 1 : 0;
}
