/*
 * Threads that sit in one kind of blocking call and count what they must never
 * see: EINTR (nobody sends a signal), and waits that end too soon.
 *
 *     blockers KIND [THREADS]
 *
 * In "bystander" the leader computes, and takes the SIGUSR1 that somebody does
 * send; the others are in poll(), and must not notice.
 */
#include "victim.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define WAIT_MS 5

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Each returns like a system call: negative with errno set.  All wait WAIT_MS, or for a writer. */
static const struct timespec wait_time = {0, WAIT_MS * 1000000};

static long wait_nanosleep(void *state)
{
	return nanosleep(&wait_time, NULL);
}

static long wait_poll(void *state)
{
	return poll(NULL, 0, WAIT_MS);
}

static long wait_futex(void *state)
{
	static uint32_t word;
	long rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait_time, NULL, 0);
	return rc < 0 && errno == ETIMEDOUT ? 0 : rc;
}

static long wait_epoll(void *state)
{
	struct epoll_event ev;
	return epoll_wait(*(int *)state, &ev, 1, WAIT_MS);
}

static long wait_semop(void *state)
{
	struct sembuf down = {0, -1, 0};
	long rc = semtimedop(*(int *)state, &down, 1, &wait_time);
	return rc < 0 && errno == EAGAIN ? 0 : rc;
}

static long wait_sigtimedwait(void *state)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	long rc = sigtimedwait(&set, NULL, &wait_time);
	return rc < 0 && errno == EAGAIN ? 0 : rc;
}

static long wait_recv(void *state)
{
	char byte;
	long rc = recv(*(int *)state, &byte, 1, 0);
	return rc < 0 && errno == EAGAIN ? 0 : rc;
}

static long wait_read(void *state)
{
	char byte;
	return read(*(int *)state, &byte, 1);
}

/* ---- what they wait on ---- */

static int make_nothing(void)
{
	return -1;
}

static int make_epoll(void)
{
	return epoll_create1(0);
}

static int make_sem(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	return id;
}

static int make_socket(void)
{
	int pair[2];
	struct timeval t = {0, WAIT_MS * 1000};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t))
		abort();
	return pair[0];
}

/* Somebody has to end the reads; it lives in another process, so that it is no thread of the victim. */
static int feed(int fd)
{
	pid_t victim = getpid();
	if (fork() == 0) {
		while (kill(victim, 0) == 0 && getppid() == victim) {
			nanosleep(&wait_time, NULL);
			if (write(fd, "x", 1) != 1)
				break;
		}
		_exit(0);
	}
	return 0;
}

static int make_pipe(void)
{
	int ends[2];
	if (pipe(ends) || feed(ends[1]))
		abort();
	return ends[0];
}

/* read() on an inotify descriptor returns EINTR after any stop, unlike read() on a pipe. */
static int make_inotify(void)
{
	char dir[] = "/tmp/blockers.XXXXXX", path[64];
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0 || !mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/f", dir);
	int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (file < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0 || unlink(path) || rmdir(dir) || feed(file))
		abort();
	return fd;
}

static long wait_inotify(void *state)
{
	char events[4096];
	return read(*(int *)state, events, sizeof events);
}

static const struct kind {
	const char *name;
	long (*wait)(void *state);
	int (*make)(void);
	bool timed; /* takes at least WAIT_MS */
} kinds[] = {
	{"nanosleep", wait_nanosleep, make_nothing, true},
	{"poll", wait_poll, make_nothing, true},
	{"futex", wait_futex, make_nothing, true},
	{"epoll", wait_epoll, make_epoll, true},
	{"semop", wait_semop, make_sem, true},
	{"sigtimedwait", wait_sigtimedwait, make_nothing, true},
	{"recv", wait_recv, make_socket, true},
	{"read", wait_read, make_pipe, false},
	{"inotify", wait_inotify, make_inotify, false},
	{"bystander", wait_poll, make_nothing, true},
};

static const struct kind *kind;

static void *block(void *arg)
{
	struct victim_slot *slot = arg;
	int state = kind->make();
	for (;;) {
		uint64_t begin = now_ns();
		long rc = kind->wait(&state);
		if (rc < 0 && errno == EINTR)
			slot->eintrs++;
		else if (rc < 0)
			victim_check(slot, false, strerror(errno));
		/* A jiffy of slack: semtimedop and SO_RCVTIMEO count in ticks. */
		else if (kind->timed && now_ns() - begin < (WAIT_MS - 4) * 1000000u)
			slot->early++;
		slot->beats++;
	}
	return NULL;
}

static void count_signal(int signal)
{
	victim_page->slots[0].extra++;
}

static void *compute_or_block(void *arg)
{
	struct victim_slot *slot = arg;
	if (slot != &victim_page->slots[0])
		return block(arg);
	/* Half of the time: a real-time thread that never sleeps is kept from the CPU now and then (sched(7)). */
	for (;;) {
		for (unsigned i = 0; i < 100000; i++)
			slot->beats++;
		nanosleep(&(struct timespec){0, 200000}, NULL);
	}
	return NULL;
}

/* In all threads: what wait_sigtimedwait() needs, and what waits in the queue for nobody. */
static void block_signal(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof *kinds; i++) {
		if (!strcmp(kinds[i].name, argv[1]))
			kind = &kinds[i];
	}
	if (!kind)
		return 2;
	signal(SIGUSR1, count_signal);
	block_signal(SIGUSR2);
	return victim_run(argc > 2 ? atoi(argv[2]) : 1, strcmp(kind->name, "bystander") ? block : compute_or_block);
}
