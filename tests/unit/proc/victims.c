#include "victims.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
	for (uint64_t end = now_ns() + UINT64_C(10000000000); !cond(arg);) {
		if (now_ns() > end)
			fail_msg("waited 10 s in vain: %s", what);
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

static void become(const char *const argv[], int page)
{
	char path[512];
	snprintf(path, sizeof path, "%s/victim_%s", VICTIM_DIR, argv[0]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(page, 3);
	execv(argv[0][0] == '/' ? argv[0] : path, (char **)(uintptr_t)argv);
	_exit(127);
}

struct victim *victim_start(unsigned threads, const char *const argv[])
{
	struct victim *v = calloc(1, sizeof *v);
	int page = memfd_create("page", 0);
	assert_true(page >= 0 && ftruncate(page, sizeof *v->page) == 0);
	v->page = mmap(NULL, sizeof *v->page, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	assert_ptr_not_equal(v->page, MAP_FAILED);
	v->pid = fork();
	if (v->pid == 0)
		become(argv, page);
	close(page);
	wait_until(is_ready, &(struct readiness){v, threads}, "the victim to be ready");
	return v;
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
	assert_ok(lp_proc_lock(p, 1000, &last_error));
	return p;
}
