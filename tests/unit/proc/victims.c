#include "victims.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct lp_err last_error;

uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void wait_until(bool (*cond)(void *arg), void *arg, const char *what)
{
	for (uint64_t end = now_ns() + UINT64_C(1000000) * PATIENCE_MS; !cond(arg);) {
		if (now_ns() > end)
			fail_msg("waited in vain: %s", what);
		nanosleep(&(struct timespec){0, 200000}, NULL);
	}
}

struct readiness {
	struct victim *v;
	unsigned threads;
};

static bool is_ready(void *arg)
{
	struct readiness *r = arg;
	return r->v->page->ready >= r->threads;
}

static void find(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s%s%s", name[0] == '/' ? "" : VICTIM_DIR, name[0] == '/' ? "" : "/victim_", name);
}

static void become(const char *path, const char *const argv[], int page)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(page, 3);
	execv(path, (char **)(uintptr_t)argv);
	_exit(127);
}

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0755);
	while (in >= 0 && out >= 0 && sendfile(out, in, NULL, 1 << 20) > 0)
		;
	close(in);
	close(out);
}

static void become_apart(const char *path, const char *const argv[], int page)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", "/mnt", "tmpfs", 0, NULL))
		_exit(126);
	copy_file(path, "/mnt/apart");
	become("/mnt/apart", argv, page);
}

typedef void become_fn(const char *path, const char *const argv[], int page);

static struct victim *start(unsigned threads, const char *const argv[], unsigned long flags, become_fn *how)
{
	struct victim *v = calloc(1, sizeof *v);
	char path[512];
	int page = memfd_create("page", 0);
	assert_true(page >= 0 && ftruncate(page, sizeof *v->page) == 0);
	v->page = mmap(NULL, sizeof *v->page, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	assert_ptr_not_equal(v->page, MAP_FAILED);
	find(argv[0], path, sizeof path);
	v->pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (v->pid == 0)
		how(path, argv, page);
	assert_true(v->pid > 0);
	close(page);
	wait_until(is_ready, &(struct readiness){v, threads}, "the victim to be ready");
	return v;
}

struct victim *victim_start(unsigned threads, const char *const argv[])
{
	return start(threads, argv, 0, become);
}

struct victim *victim_start_apart(unsigned threads, const char *const argv[])
{
	return start(threads, argv, CLONE_NEWPID | CLONE_NEWNS, become_apart);
}

void victim_end(struct victim *v)
{
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	munmap(v->page, sizeof *v->page);
	free(v);
}

uint64_t victim_eintrs(const struct victim *v)
{
	uint64_t n = 0;
	for (size_t i = 0; i < VICTIM_SLOTS; i++)
		n += v->page->slots[i].eintrs;
	return n;
}

struct progress {
	struct victim *v;
	unsigned threads;
	uint64_t before[VICTIM_SLOTS];
};

static bool has_progressed(void *arg)
{
	struct progress *p = arg;
	for (unsigned i = 0; i < p->threads; i++) {
		if (p->v->page->slots[i].beats < p->before[i] + 2)
			return task_state(p->v->pid) == 0;
	}
	return true;
}

void victim_is_well(struct victim *v, unsigned threads)
{
	struct progress p = {.v = v, .threads = threads};
	for (unsigned i = 0; i < threads; i++)
		p.before[i] = v->page->slots[i].beats;
	int status;
	wait_until(has_progressed, &p, "every thread of the victim to go on");
	if (waitpid(v->pid, &status, WNOHANG) != 0)
		fail_msg("the victim died (status %#x)", (unsigned)status);
	for (unsigned i = 0; i < threads; i++) {
		assert_int_equal(v->page->slots[i].eintrs, 0);
		assert_int_equal(v->page->slots[i].early, 0);
	}
}

char task_state(pid_t tid)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	char *at = strrchr(text, ')');
	return at && at[1] ? at[2] : 0;
}

struct lp_proc *open_locked(pid_t pid)
{
	struct lp_proc *p;
	assert_ok(lp_proc_open(&p, pid, &last_error));
	assert_ok(lp_proc_lock(p, PATIENCE_MS, &last_error));
	return p;
}

struct page {
	struct lp_proc *p;
	lp_addr at;
	uint64_t mark;
};

/* Unmapped, also if something else has been mapped there since. */
static bool is_unmapped(void *arg)
{
	struct page *page = arg;
	uint64_t seen = 0;
	int rc = lp_mem_read(page->p, page->at, &seen, sizeof seen, &last_error);
	if (rc < 0 && rc != -LP_EUNMAPPED)
		fail_msg("%s", last_error.text);
	return rc < 0 || seen != page->mark;
}

/* Once: by the time of a second call another thread may have mapped something there. */
static void unmap(struct page *page)
{
	struct lp_call unmap = {lp_proc_sysno(page->p)->munmap, {page->at, 4096}, 0};
	int rc = lp_inject(page->p, &unmap, 1, &last_error);
	if (rc == 0)
		assert_int_equal(unmap.result, 0);
	else if (rc == -LP_ETIMEOUT) /* it is made, but nobody knows when */
		wait_until(is_unmapped, page, "the page to be unmapped");
	else
		fail_msg("%s", last_error.text);
}

void map_and_unmap(struct lp_proc *p)
{
	const struct lp_sysno *nr = lp_proc_sysno(p);
	struct lp_call map = {
		nr->mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}, 0};
	assert_ok(patiently(lp_inject(p, &map, 1, &last_error)));
	assert_true(map.result > 0);
	struct page page = {p, (lp_addr)map.result, 0x1122334455667788};
	uint64_t seen = 0;
	assert_ok(lp_mem_write(p, page.at, &page.mark, sizeof page.mark, &last_error));
	assert_ok(lp_mem_read(p, page.at, &seen, sizeof seen, &last_error));
	assert_int_equal(seen, page.mark);
	unmap(&page);
	assert_true(is_unmapped(&page));
}

void kill_workers(unsigned times, unsigned most_us, void (*work)(pid_t victim), pid_t victim)
{
	unsigned seed = 20041104;
	for (unsigned i = 0; i < times; i++) {
		int started[2];
		char byte;
		assert_int_equal(pipe(started), 0);
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (write(started[1], "s", 1) == 1)
				work(victim);
			_exit(1);
		}
		close(started[1]);
		assert_int_equal(read(started[0], &byte, 1), 1);
		close(started[0]);
		uint64_t end = now_ns() + (uint64_t)(rand_r(&seed) % most_us) * 1000;
		while (now_ns() < end)
			sched_yield();
		kill(pid, SIGKILL);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		/* One that ended by itself had nothing to be killed at: it failed. */
		assert_true(WIFSIGNALED(status));
	}
}
