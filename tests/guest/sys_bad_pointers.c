/*
 * Every call that follows a pointer, with each of its pointers bad in each way:
 * an error is said, and nothing is killed.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "say.h"

/* What stands for an argument in the table. */
enum { FD = -1000001, PIPE, SOCKET, EPOLL, TIMER, SEMAPHORE, INOTIFY, CWD, ZERO, GOOD, BAD };

static const struct {
	const char *name;
	long nr, args[6];
} calls[] = {
#define C(name, ...) {#name, SYS_##name, {__VA_ARGS__}},
	C(getxattr, BAD, GOOD, GOOD, 10) C(getxattr, GOOD, BAD, GOOD, 10) C(setxattr, GOOD, GOOD, BAD, 10, 0) C(
		getcwd, BAD, 4096) C(epoll_ctl, EPOLL, EPOLL_CTL_ADD, PIPE,
				     BAD) C(inotify_add_watch, INOTIFY, BAD,
					    1) C(mknodat, CWD, BAD, 0600, 0) C(mkdirat, CWD, BAD, 0600) C(unlinkat, CWD,
													  BAD, 0)
		C(symlinkat, BAD, CWD, GOOD) C(symlinkat, GOOD, CWD, BAD) C(linkat, CWD, BAD, CWD, GOOD, 0) C(
			linkat,
			CWD, GOOD, CWD,
			BAD,
			0) C(renameat2, CWD, BAD, CWD, GOOD,
			     0) C(renameat2, CWD, GOOD, CWD, BAD, 0)
			C(statfs, BAD, GOOD) C(statfs, GOOD, BAD) C(fstatfs, FD, BAD) C(truncate, BAD, 0) C(
				faccessat, CWD,
				BAD,
				0) C(chdir,
				     BAD) C(chroot,
					    BAD) C(fchmodat, CWD, BAD, 0600)
				C(fchownat, CWD, BAD, 0, 0, 0) C(openat, CWD, BAD, O_RDONLY) C(
					openat2, CWD,
					BAD, ZERO,
					24) C(openat2, CWD, GOOD, BAD,
					      24) C(pipe2, BAD,
						    0) C(getdents64, FD, BAD, 4096)
					C(read, FD, BAD, 10) C(write, PIPE, BAD, 10) C(readv, FD, BAD, 2) C(writev, PIPE, BAD, 2) C(
						pread64,
						FD, BAD, 10,
						0) C(pwrite64, FD, BAD, 10,
						     0) C(sendfile, PIPE, FD, BAD, 1)
						C(pselect6, 10, BAD, 0, 0, ZERO, 0) C(pselect6, 0, 0, 0, 0, BAD, 0) C(
							pselect6,
							0, 0, 0,
							0, ZERO,
							BAD) C(ppoll, BAD, 1, ZERO, 0,
							       8) C(ppoll, GOOD, 0, BAD, 0,
								    8) C(ppoll, GOOD, 0, ZERO, BAD, 8)
							C(signalfd4, -1, BAD, 8, 0) C(splice, FD, BAD, PIPE, 0, 1, 0) C(
								readlinkat,
								CWD, BAD,
								GOOD,
								10) C(readlinkat, CWD, GOOD, BAD,
								      10) C(newfstatat, CWD, BAD, GOOD,
									    0) C(newfstatat, CWD, GOOD, BAD,
										 0) C(fstat, FD, BAD)
								C(timerfd_settime, TIMER, 0, BAD,
								  0) C(timerfd_gettime, TIMER,
								       BAD) C(utimensat, CWD, BAD, 0,
									      0) C(utimensat, CWD, GOOD, BAD,
										   0) C(capget, BAD, GOOD)
									C(waitid, P_ALL, 0, BAD, WEXITED | WNOHANG,
									  0) C(futex, BAD, 0, 0, ZERO, 0,
									       0) C(futex, GOOD, 0, 0, BAD, 0,
										    0) C(get_robust_list, 0, BAD,
											 GOOD) C(nanosleep, BAD,
												 0) C(getitimer, 0, BAD)
										C(setitimer, 0, BAD,
										  0) C(timer_create, 0, BAD,
										       GOOD) C(timer_create, 0, 0,
											       BAD) C(clock_gettime, 0,
												      BAD)
											C(clock_getres, 0,
											  BAD) C(clock_nanosleep, 1, 0,
												 BAD,
												 0) C(sched_setparam, 0,
												      BAD)
												C(sched_getparam, 0,
												  BAD) C(sched_setaffinity,
													 0, 8,
													 BAD) C(sched_getaffinity,
														0, 128,
														BAD)
													C(sched_rr_get_interval,
													  0,
													  BAD) C(sigaltstack,
														 BAD, 0)
														C(sigaltstack,
														  0,
														  BAD)
															C(
																rt_sigsuspend, BAD, 8) C(rt_sigaction, SIGUSR1, BAD, 0, 8) C(rt_sigaction, SIGUSR1, 0, BAD, 8) C(rt_sigprocmask, SIG_BLOCK, BAD, 0, 8) C(rt_sigprocmask, SIG_BLOCK,
																																	 0,
																																	 BAD, 8) C(rt_sigpending,
																																		   BAD,
																																		   8) C(rt_sigtimedwait, BAD, 0, ZERO, 8) C(rt_sigtimedwait,
																																							    GOOD,
																																							    0,
																																							    BAD, 8) C(rt_sigqueueinfo,
																																								      0,
																																								      0, BAD) C(getresuid,
																																										BAD,
																																										GOOD, GOOD) C(times, BAD) C(uname,
																																													    BAD) C(getrlimit,
																																														   7,
																																														   BAD) C(setrlimit, 7, BAD) C(prlimit64, 0, 9, BAD,
																																																	       0) C(prlimit64,
																																																		    0,
																																																		    9,
																																																		    0, BAD) C(getrusage,
																																																			      0,
																																																			      BAD) C(prctl,
																																																				     PR_SET_NAME, BAD) C(prctl,
																																																							 PR_GET_NAME, BAD) C(getcpu,
																																																									     BAD,
																																																									     0, 0) C(gettimeofday, BAD,
																																																										     0) C(sysinfo,
																																																											  BAD) C(mq_open, BAD, O_RDONLY, 0, 0) C(msgsnd,
																																																																 0,
																																																																 BAD,
																																																																 10, 0) C(semctl,
																																																																	  SEMAPHORE, 0, IPC_STAT, BAD) C(semctl,
																																																																					 SEMAPHORE, 0, IPC_SET, BAD) C(semctl,
																																																																								       SEMAPHORE, 0,
																																																																								       GETALL,
																																																																								       BAD) C(semop,
																																																																									      SEMAPHORE, BAD, 1) C(semtimedop, SEMAPHORE, GOOD, 1, BAD) C(socketpair,
																																																																																	  AF_UNIX,
																																																																																	  SOCK_STREAM,
																																																																																	  0,
																																																																																	  BAD) C(bind,
																																																																																		 SOCKET,
																																																																																		 BAD,
																																																																																		 16) C(connect,
																																																																																		       SOCKET,
																																																																																		       BAD,
																																																																																		       16) C(getsockname,
																																																																																			     SOCKET, BAD, GOOD) C(getsockname,
																																																																																						  SOCKET,
																																																																																						  GOOD,
																																																																																						  BAD) C(sendto,
																																																																																							 SOCKET, BAD, 10, 0, 0, 0) C(setsockopt,
																																																																																										     SOCKET,
																																																																																										     SOL_SOCKET,
																																																																																										     SO_REUSEADDR,
																																																																																										     BAD,
																																																																																										     4) C(getsockopt,
																																																																																											  SOCKET,
																																																																																											  SOL_SOCKET,
																																																																																											  SO_TYPE,
																																																																																											  GOOD,
																																																																																											  BAD) C(sendmsg,
																																																																																												 SOCKET,
																																																																																												 BAD,
																																																																																												 0) C(recvmsg,
																																																																																												      SOCKET, BAD, MSG_DONTWAIT) C(recvmmsg,
																																																																																																   SOCKET, BAD,
																																																																																																   1,
																																																																																																   MSG_DONTWAIT,
																																																																																																   0) C(execve,
																																																																																																	BAD,
																																																																																																	GOOD,
																																																																																																	GOOD) C(execveat, CWD, BAD, GOOD, GOOD, 0) C(mincore,
																																																																																																						     GOOD, 4096, BAD) C(wait4,
																																																																																																									-1,
																																																																																																									BAD,
																																																																																																									WNOHANG, BAD) C(process_vm_readv, 0, BAD, 1, GOOD, 1, 0) C(getrandom,
																																																																																																																   BAD, 10, 0) C(memfd_create, BAD, 0) C(copy_file_range, FD, BAD, FD, 0, 1, 0) C(statx,
																																																																																																																										  CWD,
																																																																																																																										  BAD,
																																																																																																																										  0,
																																																																																																																										  0xfff,
																																																																																																																										  GOOD) C(statx,
																																																																																																																											  CWD,
																																																																																																																											  GOOD,
																																																																																																																											  0,
																																																																																																																											  0xfff,
																																																																																																																											  BAD) C(clone3,
																																																																																																																												 BAD,
																																																																																																																												 88)
																C(faccessat2,
																  CWD,
																  BAD,
																  0,
																  0) C(epoll_pwait,
																       EPOLL,
																       BAD,
																       4,
																       0,
																       0,
																       8) C(epoll_pwait,
																	    EPOLL,
																	    GOOD,
																	    4,
																	    0,
																	    BAD,
																	    8) C(epoll_pwait2,
																		 EPOLL, GOOD,
																		 4,
																		 BAD,
																		 0,
																		 8)
																	C(futex_waitv,
																	  BAD,
																	  1,
																	  0,
																	  0,
																	  0)
#undef C
};

static uint64_t good[512], zero[64];

static long fds[8];

static void prepare(void)
{
	struct epoll_event e = {.events = EPOLLOUT};
	int p[2];

	if (pipe2(p, O_NONBLOCK))
		exit(2);
	fds[0] = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (write((int)fds[0], "0123456789abcdef", 16) != 16)
		exit(2);
	fds[1] = p[1];
	fds[2] = socket(AF_UNIX, SOCK_DGRAM, 0);
	fds[3] = epoll_create1(0);
	epoll_ctl((int)fds[3], EPOLL_CTL_ADD, p[1], &e);
	fds[4] = syscall(SYS_timerfd_create, 1, 0);
	fds[5] = semget(IPC_PRIVATE, 1, 0600);
	fds[6] = inotify_init1(IN_CLOEXEC);
	fds[7] = AT_FDCWD;
}

static long argument(long a, uint64_t bad)
{
	if (a == BAD)
		return (long)bad;
	if (a == GOOD)
		return (long)good;
	if (a == ZERO)
		return (long)zero;
	return a >= FD && a < ZERO ? fds[a - FD] : a;
}

static void try(size_t i, const char *how, uint64_t bad)
{
	long a[6], result;

	memset(good, 0, sizeof good);
	strcpy((char *)good, "file");
	memset(zero, 0, sizeof zero);
	lseek((int)fds[0], 0, SEEK_SET);
	for (int n = 0; n < 6; n++)
		a[n] = argument(calls[i].args[n], bad);
	result = syscall(calls[i].nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	printf("%s %zu %s: %s\n", calls[i].name, i, how, result < 0 ? strerrorname_np(errno) : "no error");
}

int main(void)
{
	void *none = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	enter();
	prepare();
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		try(i, "unmapped", 16);
		try(i, "without rights", (uint64_t)none + 4096);
		try(i, "tagged", (uint64_t)good | UINT64_C(0x2a) << 56);
		try(i, "of the kernel", UINT64_C(0xffffffff80000000));
		try(i, "the last", UINT64_C(0x7ffffffffff0));
	}
	semctl((int)fds[5], 0, IPC_RMID);
	unlink("file");
	leave();
	return 0;
}
