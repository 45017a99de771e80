/* One batch of cases under one or two emulators. */
#include "differential.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/vec.h"

/* An emulator that dies this often in a batch has the rest of it DIFF_NOT_RUN. */
#define MAX_DEATHS 64
/* A hang costs a timeout: fewer of those. */
#define HANG_IS_WORTH 16

/* ---- files: in memory where there is such a place ---- */

static char *temporary(uint64_t size)
{
	const char *in_memory = access("/dev/shm", W_OK) ? NULL : "/dev/shm", *wanted = getenv("TMPDIR");
	char *path = lp_sprintf("%s/differential.XXXXXX", wanted ? wanted : in_memory ? in_memory : "/tmp");
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size)) {
		fprintf(stderr, "differential: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	close(fd);
	return path;
}

static void *mapped(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "differential: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	close(fd);
	return p;
}

static uint64_t padded(uint64_t size)
{
	return (size + 4095) & ~UINT64_C(4095);
}

static uint64_t results_size(const struct diff_batch *b)
{
	return DIFF_PROGRESS_SIZE + padded(b->cap_inputs * sizeof(struct diff_result));
}

static uint64_t cases_size(unsigned slots, unsigned inputs)
{
	return DIFF_CASES_SIZE + padded(slots * (uint64_t)DIFF_SLOT) + padded(inputs * sizeof(struct diff_input));
}

struct diff_batch *diff_batch_new(unsigned slots, unsigned inputs)
{
	struct diff_batch *b = lp_alloc(sizeof *b);

	b->cap_slots = slots;
	b->cap_inputs = inputs;
	b->path = temporary(cases_size(slots, inputs));
	b->head = lp_alloc(DIFF_CASES_SIZE);
	b->slots = lp_alloc(slots * (size_t)DIFF_SLOT);
	b->inputs = lp_alloc(inputs * sizeof *b->inputs);
	for (unsigned i = 0; i < 2; i++) {
		b->result_path[i] = temporary(results_size(b));
		b->progress[i] = mapped(b->result_path[i], results_size(b));
		b->results[i] = (void *)((uint8_t *)b->progress[i] + DIFF_PROGRESS_SIZE);
		b->ends[i] = lp_alloc(inputs);
		b->statuses[i] = lp_alloc(inputs * sizeof *b->statuses[i]);
	}
	return b;
}

void diff_batch_free(struct diff_batch *b)
{
	for (unsigned i = 0; i < 2; i++) {
		munmap(b->progress[i], results_size(b));
		unlink(b->result_path[i]);
		lp_free(b->result_path[i]);
		lp_free(b->ends[i]);
		lp_free(b->statuses[i]);
	}
	unlink(b->path);
	lp_free(b->path);
	lp_free(b->head);
	lp_free(b->slots);
	lp_free(b->inputs);
	lp_free(b);
}

void diff_batch_clear(struct diff_batch *b, const uint64_t *page)
{
	b->nr_slots = b->nr_inputs = 0;
	memcpy(b->head->page, page, DIFF_PAGE_SIZE);
}

uint32_t *diff_batch_slot(struct diff_batch *b)
{
	return &b->slots[b->nr_slots++ * DIFF_SLOT_WORDS];
}

struct diff_input *diff_batch_input(struct diff_batch *b)
{
	return &b->inputs[b->nr_inputs++];
}

static bool written(int fd, const void *p, uint64_t size, uint64_t at)
{
	return pwrite(fd, p, size, (off_t)at) == (ssize_t)size;
}

static void write_cases(struct diff_batch *b)
{
	uint64_t code = padded(b->nr_slots * (uint64_t)DIFF_SLOT);
	int fd = open(b->path, O_RDWR | O_CLOEXEC);

	b->head->magic = DIFF_MAGIC;
	b->head->nr_slots = b->nr_slots;
	b->head->nr_inputs = b->nr_inputs;
	if (!written(fd, b->head, DIFF_CASES_SIZE, 0) ||
	    !written(fd, b->slots, b->nr_slots * (uint64_t)DIFF_SLOT, DIFF_CASES_SIZE) ||
	    !written(fd, b->inputs, b->nr_inputs * sizeof *b->inputs, DIFF_CASES_SIZE + code)) {
		fprintf(stderr, "differential: %s: %s\n", b->path, strerror(errno));
		exit(2);
	}
	close(fd);
}

/* ---- processes ---- */

struct running {
	const struct diff_emulator *emulator;
	struct diff_batch *batch;
	unsigned which, deaths, waited; /* waited: ms without progress */
	uint64_t seen;
	pid_t pid;
	int pidfd;
};

static _Noreturn void become(const struct diff_emulator *e, const char *cases, const char *results, uint64_t first)
{
	char *number = lp_sprintf("%llu", (unsigned long long)first);
	size_t nr = 0;

	while (e->argv[nr])
		nr++;

	char **argv = lp_alloc((nr + 5) * sizeof *argv);
	memcpy(argv, e->argv, nr * sizeof *argv);
	argv[nr] = (char *)e->guest;
	argv[nr + 1] = (char *)cases;
	argv[nr + 2] = (char *)results;
	argv[nr + 3] = number;
	int quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!getenv("DIFFERENTIAL_NOISE"))
		dup2(quiet, 2); /* it dies of signals by the thousand, perhaps, and would say so each time */
	execvp(argv[0], argv);
	_exit(127);
}

static void start(struct running *r, uint64_t first)
{
	struct diff_batch *b = r->batch;

	b->progress[r->which]->next = r->seen = first;
	r->waited = 0;
	r->pid = fork();
	if (!r->pid)
		become(r->emulator, b->path, b->result_path[r->which], first);
	r->pidfd = r->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, r->pid, 0);
	if (r->pidfd < 0) {
		fprintf(stderr, "differential: cannot start %s: %s\n", r->emulator->name, strerror(errno));
		exit(2);
	}
}

static void finish_rest(struct running *r, uint64_t from)
{
	for (uint64_t i = from; i < r->batch->nr_inputs; i++)
		r->batch->ends[r->which][i] = DIFF_NOT_RUN;
}

/* The process is gone: was that all?  Otherwise on with the case behind the one that it died of. */
static bool is_done(struct running *r, enum diff_end why)
{
	struct diff_batch *b = r->batch;
	uint64_t at = b->progress[r->which]->next;
	int status = 0;

	waitpid(r->pid, &status, 0);
	close(r->pidfd);
	if (at >= b->nr_inputs)
		return true;
	b->ends[r->which][at] = (uint8_t)why;
	b->statuses[r->which][at] = status;
	r->deaths += why == DIFF_HUNG ? HANG_IS_WORTH : 1;
	if (r->deaths > MAX_DEATHS || at + 1 >= b->nr_inputs) {
		finish_rest(r, at + 1);
		return true;
	}
	start(r, at + 1);
	return false;
}

/* One look, `ms` long at most.  True: it has no more to do. */
static bool watch(struct running *r, int ms)
{
	struct pollfd p = {r->pidfd, POLLIN, 0};
	uint64_t now;

	if (poll(&p, 1, ms) > 0)
		return is_done(r, DIFF_DIED);
	now = *(volatile uint64_t *)&r->batch->progress[r->which]->next;
	r->waited = now == r->seen ? r->waited + (unsigned)ms : 0;
	r->seen = now;
	if (r->waited < r->emulator->timeout * 1000)
		return false;
	kill(r->pid, SIGKILL);
	return is_done(r, DIFF_HUNG);
}

static bool ran_something(const struct diff_batch *b, unsigned which)
{
	for (unsigned i = 0; i < b->nr_inputs; i++)
		if (b->ends[which][i] == DIFF_RAN)
			return true;
	return false;
}

bool diff_batch_run(struct diff_batch *b, const struct diff_emulator *const emulator[2])
{
	struct running r[2];
	bool done[2];

	write_cases(b);
	for (unsigned i = 0; i < 2; i++) {
		done[i] = !emulator[i];
		if (done[i])
			continue;
		memset(b->ends[i], DIFF_RAN, b->nr_inputs);
		memset(b->results[i], 0, b->nr_inputs * sizeof *b->results[i]);
		r[i] = (struct running){.emulator = emulator[i], .batch = b, .which = i};
		start(&r[i], 0);
	}
	while (!done[0] || !done[1])
		for (unsigned i = 0; i < 2; i++)
			if (!done[i])
				done[i] = watch(&r[i], done[!i] ? 100 : 5);
	for (unsigned i = 0; i < 2; i++)
		if (emulator[i] && b->nr_inputs > MAX_DEATHS && !ran_something(b, i)) {
			fprintf(stderr, "differential: %s does not run %s (status %#x)\n", emulator[i]->name,
				emulator[i]->guest, (unsigned)b->statuses[i][0]);
			return false;
		}
	return true;
}

void diff_batch_outcome(const struct diff_batch *b, unsigned which, unsigned input, struct diff_outcome *out)
{
	out->end = b->ends[which][input];
	out->status = b->statuses[which][input];
	out->result = b->results[which][input];
}
