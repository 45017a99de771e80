/* What one waits for: poll, select, epoll, eventfd, timerfd, signalfd, inotify. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "say.h"

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught++;
}

static void polls(void)
{
	struct timespec no_time = {0}, little = {.tv_nsec = 10000000};
	struct pollfd fds[2];
	struct timeval tv = {0};
	fd_set in, out;
	int p[2];

	SAY(pipe(p));
	fds[0] = (struct pollfd){p[0], POLLIN, 0};
	fds[1] = (struct pollfd){p[1], POLLOUT, 0};
	SAY(poll(fds, 2, 0));
	printf("%x %x\n", fds[0].revents, fds[1].revents);
	SAY(write(p[1], "x", 1));
	SAY(poll(fds, 2, -1));
	printf("%x %x\n", fds[0].revents, fds[1].revents);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(p[0], &in);
	FD_SET(p[1], &out);
	SAY(select(p[1] + 1, &in, &out, NULL, &tv));
	printf("%d %d\n", FD_ISSET(p[0], &in), FD_ISSET(p[1], &out));
	SAY(read(p[0], &in, 1));
	FD_ZERO(&in);
	FD_SET(p[0], &in);
	SAY(pselect(p[0] + 1, &in, NULL, NULL, &little, NULL));
	SAY(ppoll(fds, 1, &little, NULL));
	SAY(ppoll(fds, 1, &no_time, NULL));
	close(p[1]);
	SAY(poll(fds, 1, -1));
	printf("%x\n", fds[0].revents);
	close(p[0]);
	fds[0].fd = 999;
	SAY(poll(fds, 1, 0));
	printf("%x\n", fds[0].revents);
}

/* A signal that is blocked outside the call arrives within it. */
static void masks(void)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct timespec long_time = {.tv_sec = 100};
	struct epoll_event e;
	sigset_t one, none;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	sigemptyset(&none);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	sigaction(SIGUSR1, &act, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
	raise(SIGUSR1);
	printf("caught %d\n", (int)caught);
	SAY(ppoll(NULL, 0, &long_time, &none));
	printf("caught %d\n", (int)caught);
	raise(SIGUSR1);
	SAY(pselect(0, NULL, NULL, NULL, &long_time, &none));
	printf("caught %d\n", (int)caught);
	raise(SIGUSR1);
	SAY(epoll_pwait(ep, &e, 1, -1, &none));
	printf("caught %d\n", (int)caught);
	raise(SIGUSR1);
	SAY(sigsuspend(&none));
	printf("caught %d\n", (int)caught);
	sigprocmask(SIG_SETMASK, NULL, &none);
	printf("blocked %d\n", sigismember(&none, SIGUSR1));
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	close(ep);
}

static void epolls(void)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1122334455667788}, got[4];
	int ep = epoll_create1(0), a = eventfd(0, EFD_NONBLOCK), b = eventfd(3, EFD_SEMAPHORE);
	uint64_t n = 5;

	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, a, &e));
	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, a, &e));
	SAY(epoll_wait(ep, got, 4, 0));
	SAY(write(a, &n, 8));
	SAY(epoll_wait(ep, got, 4, -1));
	printf("%x %llx\n", got[0].events, (unsigned long long)got[0].data.u64);
	SAY(epoll_wait(ep, got, 4, 0));
	e.events = EPOLLOUT;
	e.data.u64 = UINT64_MAX;
	SAY(epoll_ctl(ep, EPOLL_CTL_MOD, a, &e));
	e.events = EPOLLIN;
	e.data.u64 = 7;
	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, b, &e));
	SAY(epoll_pwait(ep, got, 4, 100, NULL));
	printf("%llx\n", (unsigned long long)(got[0].data.u64 ^ got[1].data.u64));
	SAY(read(a, &n, 8));
	printf("%llu\n", (unsigned long long)n);
	SAY(read(a, &n, 8));
	SAY(read(b, &n, 8));
	printf("%llu\n", (unsigned long long)n);
	SAY(epoll_ctl(ep, EPOLL_CTL_DEL, b, NULL));
	SAY(epoll_ctl(ep, EPOLL_CTL_DEL, b, NULL));
	SAY(epoll_ctl(ep, 77, a, &e));
	SAY(epoll_wait(ep, got, 0, 0));
	SAY(epoll_wait(ep, got, -1, 0));
	SAY(epoll_wait(a, got, 1, 0));
	close(ep);
	close(a);
	close(b);
}

static void timers(void)
{
	struct itimerspec it = {{0, 0}, {0, 5000000}}, old;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t n = 0;

	SAY(timerfd_settime(fd, 0, &it, NULL));
	SAY(read(fd, &n, 8));
	printf("%llu\n", (unsigned long long)n);
	it.it_value.tv_sec = 1000;
	SAY(timerfd_settime(fd, 0, &it, &old));
	printf("%ld\n", (long)old.it_value.tv_sec);
	SAY(timerfd_gettime(fd, &old));
	printf("%d\n", old.it_value.tv_sec >= 998 && old.it_value.tv_sec <= 1000);
	SAY(timerfd_create(77, 0));
	close(fd);
}

static void signals(void)
{
	struct signalfd_siginfo info;
	union sigval value = {.sival_int = 4711};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	SAY(read(fd, &info, sizeof info));
	SAY(kill(getpid(), SIGUSR2));
	SAY(read(fd, &info, sizeof info));
	printf("%u from %s\n", info.ssi_signo, info.ssi_pid == (uint32_t)getpid() ? "us" : "others");
	SAY(sigqueue(getpid(), SIGRTMIN + 3, value));
	SAY(read(fd, &info, sizeof info));
	printf("%d %d code %d\n", (int)info.ssi_signo - SIGRTMIN, info.ssi_int, info.ssi_code);
	close(fd);
}

static void inotifies(void)
{
	char room[4096] __attribute__((aligned(8)));
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), file;
	ssize_t len;

	SAY(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE | IN_CLOSE_WRITE));
	file = creat("seen", 0600);
	close(file);
	unlink("seen");
	len = read(fd, room, sizeof room);
	for (char *p = room; p < room + len;) {
		struct inotify_event *e = (struct inotify_event *)p;
		printf("%x %s\n", e->mask, e->name);
		p += sizeof *e + e->len;
	}
	SAY(inotify_rm_watch(fd, 1));
	SAY(inotify_rm_watch(fd, 99));
	SAY(inotify_add_watch(fd, "nothing", IN_CREATE));
	close(fd);
}

int main(void)
{
	enter();
	polls();
	masks();
	epolls();
	timers();
	signals();
	inotifies();
	leave();
	return 0;
}
