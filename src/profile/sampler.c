/*
 * The thread that looks, and the files that it fills.
 *
 * The world is stopped for copying addresses only; what they are called is found
 * out while the guest runs.  `lock` is never held while we stop it or ask the
 * emulator something: a guest thread that comes with an event takes it.
 */
#include "profile/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "emu/emu.h"
#include "profile/counts.h"
#include "profile/stacks.h"

/* Not a divisor of what programs like to be woken by. */
enum { PERIOD_NS = 1003009, STOP_TIMEOUT_MS = 1000, THREADS_MAX = 4096, MAP_MAX = 1 << 16 };

struct function {
	uint64_t start, size;
	char *name;
};

struct profile {
	struct lp_emu *emu;
	struct lp_profile_options options;
	pthread_t thread;
	pthread_cond_t never;		/* what the thread waits for between samples */
	LP_VEC(struct lp_stack) stacks; /* the thread's own: the present sample's */

	pthread_mutex_t lock; /* of what follows */
	struct lp_sites sites;
	struct lp_counts counts;
	LP_VEC(struct function) functions; /* by address */
};

/* A forked child begins anew: the parent's thread may have had the lock. */
static struct profile *current;

/* ---- counting ---- */

static size_t rank_of(const struct profile *p, uint64_t start)
{
	size_t low = 0, high = p->functions.nr;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (p->functions.items[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void note_function(const struct lp_site *site, void *arg)
{
	struct profile *p = arg;
	size_t at = rank_of(p, site->function);
	const struct function *end;

	if (at < p->functions.nr && p->functions.items[at].start == site->function)
		return;
	if (p->functions.nr == MAP_MAX)
		return;
	end = lp_vec_add(&p->functions);
	memmove(&p->functions.items[at + 1], &p->functions.items[at],
		(size_t)(end - &p->functions.items[at]) * sizeof *end);
	p->functions.items[at] = (struct function){site->function, site->size, lp_strdup_line(site->symbol)};
}

/* What the thread calls itself, which begins as the program's name; in a vfork child it is another process's. */
static void add_thread(struct lp_buf *line, int tid)
{
	char path[64], name[64] = "";
	ssize_t len;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
	lp_close(fd);
	name[len > 0 ? len : 0] = 0;
	name[strcspn(name, "\n")] = 0;
	lp_stack_add_name(line, *name ? name : "[ended]");
}

static void count(struct profile *p, struct lp_stack *s)
{
	struct lp_buf line = {0};

	lp_stack_check(s, p->emu);
	add_thread(&line, s->tid);
	pthread_mutex_lock(&p->lock);
	lp_stack_name(s, &p->sites, &line, note_function, p);
	lp_counts_add(&p->counts, lp_buf_cstr(&line));
	pthread_mutex_unlock(&p->lock);
	lp_buf_free(&line);
}

static void sample(struct profile *p)
{
	p->stacks.nr = 0;
	if (lp_threads_stop(p->emu, STOP_TIMEOUT_MS))
		return;
	for (const struct lp_guest_thread *t = lp_guest_threads(p->emu); t && p->stacks.nr < THREADS_MAX; t = t->next)
		if (p->options.waits || atomic_load(&t->state) != LP_THREAD_IN_HOST)
			lp_stack_take(lp_vec_add(&p->stacks), t);
	lp_threads_go(p->emu);
	for (size_t i = 0; i < p->stacks.nr; i++)
		count(p, &p->stacks.items[i]);
}

static void wait_a_little(struct profile *p)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PERIOD_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&p->lock);
	while (pthread_cond_clockwait(&p->never, &p->lock, CLOCK_MONOTONIC, &until) == 0)
		continue;
	pthread_mutex_unlock(&p->lock);
}

static void *look(void *arg)
{
	struct profile *p = arg;

	lp_signals_keep_out();
	for (;;) {
		wait_a_little(p);
		sample(p);
	}
	return NULL;
}

/* ---- files ---- */

/* A name that others can foresee, in a folder that may be everybody's: no link is followed, and no file of others filled. */
static int open_own(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
		unlink(path);
	return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static void write_all(int fd, const char *path, const struct lp_buf *text)
{
	size_t done = 0;
	ssize_t n = fd < 0 ? -1 : 0;

	while (n >= 0 && done < text->len) {
		n = write(fd, text->data + done, text->len - done);
		if (n < 0 && errno == EINTR)
			n = 0;
		done += n > 0 ? (size_t)n : 0;
	}
	if (n < 0) {
		char line[256];
		int len = snprintf(line, sizeof line, "arm64_runner: no profile in %.150s: %s\n", path,
				   strerrordesc_np(errno));
		if (write(STDERR_FILENO, line, (size_t)len) < 0)
			errno = 0; /* nobody to tell */
	}
	lp_close(fd);
}

static void write_map(const struct profile *p, const char *file)
{
	char *path = lp_sprintf("%s.map", file);
	struct lp_buf text = {0};

	for (size_t i = 0; i < p->functions.nr; i++)
		lp_buf_printf(&text, "%" PRIx64 " %" PRIx64 " %s\n", p->functions.items[i].start,
			      p->functions.items[i].size, p->functions.items[i].name);
	write_all(open_own(path), path, &text);
	lp_buf_free(&text);
	lp_free(path);
}

/* FILE is as its owner has it, /dev/null even; the names made from it are nobody else's business. */
static void write_files(struct profile *p)
{
	bool is_child = p->options.is_child;
	char *file = is_child ? lp_sprintf("%s.%d", p->options.file, (int)getpid()) : lp_strdup(p->options.file);
	struct lp_buf text = {0};

	lp_counts_print(&p->counts, &text);
	if (is_child && text.len)
		write_all(open_own(file), file, &text);
	else if (!is_child)
		write_all(open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), file, &text);
	if (text.len)
		write_map(p, file);
	lp_buf_free(&text);
	lp_free(file);
}

/* ---- events ---- */

static void unmapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	struct profile *p = current;

	pthread_mutex_lock(&p->lock);
	lp_sites_forget(&p->sites, range);
	pthread_mutex_unlock(&p->lock);
}

/* Who comes second waits until the first has written, and writes the same. */
static void write_profile(void)
{
	struct profile *p = current;

	pthread_mutex_lock(&p->lock);
	write_files(p);
	pthread_mutex_unlock(&p->lock);
}

static void exiting(struct lp_emu *emu, int status, void *arg)
{
	write_profile();
}

static void executing(struct lp_emu *emu, void *arg)
{
	write_profile();
}

static int begin(struct lp_emu *emu, const struct lp_profile_options *options)
{
	struct profile *p = lp_alloc(sizeof *p);
	uint64_t mask;
	int rc;

	p->emu = emu;
	p->options = *options;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->never, NULL);
	current = p;
	mask = lp_signals_keep_out(); /* the thread begins with what its maker keeps out */
	rc = -pthread_create(&p->thread, NULL, look, p);
	lp_host_mask(mask);
	if (rc == 0)
		pthread_detach(p->thread);
	return rc;
}

/* What the parent has counted is left where it is: its thread may have been at it. */
static void forked(struct lp_emu *emu, void *arg)
{
	struct lp_profile_options options = current->options;

	options.is_child = true;
	begin(emu, &options);
}

int lp_profile_start(struct lp_emu *emu, const struct lp_profile_options *options, struct lp_err *err)
{
	struct lp_profile_options kept = *options;
	int rc;

	kept.file = lp_strdup(options->file);
	rc = begin(emu, &kept);
	if (rc)
		return lp_fail_sys(err, -rc, "cannot make a thread for the profile");
	lp_emu_watch(emu, &(struct lp_emu_events){
				  .unmapped = unmapped, .forked = forked, .executing = executing, .exiting = exiting});
	return 0;
}
