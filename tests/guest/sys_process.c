/* Processes, their limits, clocks, signals in calls that wait. */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "say.h"

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught++;
}

static void catch (int flags)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = flags};

	sigaction(SIGALRM, &act, NULL);
	caught = 0;
}

static void after_ms(long ms)
{
	struct itimerval it = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	setitimer(ITIMER_REAL, &it, NULL);
}

/* A pipe that a child writes to after the signal. */
static int late_pipe(void)
{
	int p[2];
	pid_t child;

	if (pipe(p))
		exit(2);
	child = fork();
	if (!child) {
		struct timespec wait = {.tv_nsec = 150000000};
		nanosleep(&wait, NULL);
		if (write(p[1], "x", 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
	return p[0];
}

static void restarts(void)
{
	struct timespec wait = {.tv_sec = 10}, left = {0};
	char c;
	int fd, status;

	catch (SA_RESTART);
	fd = late_pipe();
	after_ms(50);
	SAY(read(fd, &c, 1));
	printf("caught %d\n", (int)caught);
	close(fd);
	SAY_OK(wait4(-1, &status, 0, NULL));
	catch (0);
	fd = late_pipe();
	after_ms(50);
	SAY(read(fd, &c, 1));
	printf("caught %d\n", (int)caught);
	close(fd);
	SAY_OK(waitid(P_ALL, 0, NULL, WEXITED));
	catch (SA_RESTART);
	after_ms(30);
	SAY(nanosleep(&wait, &left));
	printf("caught %d, left %d\n", (int)caught, left.tv_sec == 9);
	after_ms(30);
	printf("clock_nanosleep: %s\n", strerrorname_np(clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &left)));
	printf("caught %d, left %d\n", (int)caught, left.tv_sec == 9);
	after_ms(30);
	SAY(pause());
	printf("caught %d\n", (int)caught);
}

static void children(void)
{
	siginfo_t info = {0};
	int status = 0;
	pid_t child = fork();

	if (!child)
		_exit(42);
	printf("%s\n", waitpid(child, &status, 0) == child ? "ours" : "not ours");
	printf("exited %d %d\n", WIFEXITED(status), WEXITSTATUS(status));
	child = fork();
	if (!child) {
		raise(SIGKILL);
		_exit(1);
	}
	SAY(waitid(P_PID, (id_t)child, &info, WEXITED));
	printf("code %d status %d %s\n", info.si_code, info.si_status, info.si_pid == child ? "ours" : "not ours");
	SAY(waitpid(-1, &status, 0));
	SAY(waitpid(-1, &status, WNOHANG));
	child = vfork();
	if (!child)
		_exit(7);
	waitpid(child, &status, 0);
	printf("vfork %d\n", WEXITSTATUS(status));
	SAY(kill(child, 0));
	SAY(kill(getpid(), 99));
	SAY(setpgid(0, 0));
	printf("group %s\n", getpgid(0) == getpid() ? "own" : "other");
}

static void limits(void)
{
	struct rlimit r, set = {1000000, 2000000}, same;

	SAY(getrlimit(RLIMIT_NOFILE, &r));
	set = r;
	set.rlim_cur = 100;
	SAY(setrlimit(RLIMIT_NOFILE, &set));
	SAY(getrlimit(RLIMIT_NOFILE, &r));
	printf("%ld\n", (long)r.rlim_cur);
	SAY(dup2(1, 100));
	SAY(dup2(1, 99));
	SAY(getrlimit(RLIMIT_AS, &r));
	set = (struct rlimit){1UL << 40, r.rlim_max};
	SAY(setrlimit(RLIMIT_AS, &set));
	SAY(prlimit(getpid(), RLIMIT_AS, NULL, &same));
	printf("%ld\n", (long)same.rlim_cur);
	SAY(prlimit(0, 99, NULL, &same));
	set.rlim_cur = set.rlim_max = 5;
	set.rlim_cur = 6;
	SAY(setrlimit(RLIMIT_DATA, &set));
	SAY_OK(sysconf(_SC_NPROCESSORS_ONLN));
}

static void identity(void)
{
	struct utsname u;
	struct tms tms;
	struct rusage use;
	cpu_set_t cpus;
	char name[16] = "";
	int signal = 0;

	SAY(uname(&u));
	printf("%s\n", u.sysname);
	SAY(prctl(PR_SET_NAME, "renamed"));
	SAY(prctl(PR_GET_NAME, name));
	printf("%s\n", name);
	SAY(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	SAY(prctl(PR_GET_PDEATHSIG, &signal));
	printf("%d\n", signal);
	SAY(prctl(PR_SET_PDEATHSIG, 0));
	SAY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SAY(prctl(12345, 0, 0, 0, 0));
	SAY_OK(times(&tms));
	SAY(getrusage(RUSAGE_SELF, &use));
	SAY(getrusage(99, &use));
	SAY_OK(sched_getaffinity(0, sizeof cpus, &cpus));
	SAY(sched_getscheduler(0));
	SAY(sched_yield());
	SAY(sched_get_priority_max(SCHED_FIFO));
	SAY_OK(sched_getcpu());
	SAY(getpriority(PRIO_PROCESS, 0));
	SAY_OK(getppid());
	SAY_OK(syscall(SYS_gettid) == getpid());
	SAY_OK(getgroups(0, NULL));
	SAY(RAW(getrandom, name, sizeof name, 0));
	SAY(RAW(getrandom, name, sizeof name, 99));
	SAY(RAW(membarrier, 0, 0, 0) >= 0);
	SAY(RAW(restart_syscall));
}

static void clocks(void)
{
	struct timespec a, b, resolution;
	timer_t timer;
	struct itimerspec it = {.it_value.tv_nsec = 10000000}, now;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = 5};
	sigset_t set;
	siginfo_t info;

	SAY(clock_gettime(CLOCK_MONOTONIC, &a));
	SAY(clock_gettime(CLOCK_MONOTONIC, &b));
	printf("%s\n", b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec) ? "on" : "back");
	SAY(clock_getres(CLOCK_MONOTONIC, &resolution));
	printf("%ld\n", resolution.tv_nsec);
	SAY(clock_gettime(999, &a));
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	SAY(timer_create(CLOCK_MONOTONIC, &event, &timer));
	SAY(timer_settime(timer, 0, &it, NULL));
	SAY(sigwaitinfo(&set, &info));
	printf("code %d value %d\n", info.si_code, info.si_value.sival_int);
	SAY(timer_gettime(timer, &now));
	printf("%ld %ld\n", (long)now.it_value.tv_sec, now.it_value.tv_nsec);
	SAY(timer_getoverrun(timer));
	SAY(timer_delete(timer));
	it.it_value.tv_nsec = 10000000;
	SAY(sigtimedwait(&set, &info, &it.it_value));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static uint32_t word = 1;

static void *wake(void *arg)
{
	__atomic_store_n(&word, 2, __ATOMIC_SEQ_CST);
	while (RAW(futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0 && __atomic_load_n(&word, __ATOMIC_SEQ_CST) != 3)
		sched_yield();
	return NULL;
}

static void futexes(void)
{
	struct timespec little = {.tv_nsec = 10000000};
	pthread_t thread;

	SAY(RAW(futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
	SAY(RAW(futex, &word, FUTEX_WAIT_PRIVATE, 1, &little, NULL, 0));
	SAY(RAW(futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0));
	SAY(RAW(futex, (char *)&word + 1, FUTEX_WAKE, 1, NULL, NULL, 0));
	SAY(RAW(futex, &word, 99, 1, NULL, NULL, 0));
	pthread_create(&thread, NULL, wake, NULL);
	while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 1)
		RAW(futex, &word, FUTEX_WAIT, 1, NULL, NULL, 0);
	__atomic_store_n(&word, 3, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	printf("woken\n");
}

static void others(void)
{
	char mine[8] = "before", theirs[8] = "other";
	struct iovec local = {mine, 6}, remote = {theirs, 6};
	int p[2];
	char c;
	pid_t child;

	if (pipe(p))
		return;
	child = fork();
	if (!child) {
		close(p[1]);
		_exit((int)read(p[0], &c, 1));
	}
	SAY(process_vm_readv(child, &local, 1, &remote, 1, 0));
	printf("%s\n", mine);
	SAY(process_vm_writev(child, &local, 1, &remote, 1, 0));
	close(p[0]);
	close(p[1]);
	waitpid(child, NULL, 0);
	SAY(process_vm_readv(child, &local, 1, &remote, 1, 0));
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	restarts();
	children();
	limits();
	identity();
	clocks();
	futexes();
	others();
	return 0;
}
