/* Processes that a guest makes: fork, vfork, posix_spawn, clone3. */
#include "guest.h"
#include <linux/sched.h>
#include <poll.h>

static volatile int shared = 1;

static void forks(void)
{
	int status, fds[2];
	char text[6] = {0};

	if (pipe(fds))
		return;
	pid_t child = fork();
	if (child == 0) {
		shared = 2;
		if (write(fds[1], "hello", 5) != 5)
			_exit(1);
		_exit(getppid() != 0 ? 11 : 12);
	}
	waitpid(child, &status, 0);
	if (read(fds[0], text, 5) != 5)
		return;
	printf("%x %s %d\n", status, text, shared);
}

static void vforks(void)
{
	int status;
	pid_t child = vfork();

	if (child == 0) {
		shared = 7;
		_exit(13);
	}
	printf("shared %d pid %d", shared, child > 0);
	printf(" wait %d", waitpid(child, &status, 0) == child);
	printf(" %x\n", status);
}

static void tell(int sig, siginfo_t *info, void *context)
{
	printf("handled\n");
}

/* A vfork child has a table of signals of its own. */
static void vfork_signals(void)
{
	struct sigaction act;
	sigset_t set = set_of(SIGUSR1, 0), now;
	int status;

	handle(SIGUSR1, tell, 0);
	handle(SIGUSR2, tell, 0);
	pid_t child = vfork();
	if (child == 0) {
		signal(SIGUSR1, SIG_DFL);
		signal(SIGUSR2, SIG_IGN);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		raise(SIGUSR1);
		_exit(1);
	}
	waitpid(child, &status, 0);
	sigaction(SIGUSR2, NULL, &act);
	sigprocmask(SIG_BLOCK, NULL, &now);
	printf("child %x, ours %d %d\n", status, act.sa_sigaction == tell, sigismember(&now, SIGUSR1));
	raise(SIGUSR1);
}

static void spawns(void)
{
	extern char **environ;
	char *const argv[] = {"/nonexistent/program", NULL};
	pid_t child;

	for (int i = 0; i < 20; i++) {
		int rc = posix_spawn(&child, argv[0], NULL, NULL, argv, environ);
		if (rc != ENOENT)
			printf("spawn: %d\n", rc);
	}
	tell_errno("wait", waitpid(-1, NULL, 0));
	printf("system %x\n", system("exit 3"));
	FILE *f = popen("echo out of a pipe", "r");
	char line[64] = "";
	if (f && fgets(line, sizeof line, f))
		printf("%s", line);
	printf("%d\n", f ? pclose(f) : -1);
}

static void *spawn_in_thread(void *arg)
{
	for (int i = 0; i < 10; i++)
		if (system("exit 0"))
			printf("system failed\n");
	return NULL;
}

static void spawns_in_threads(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, spawn_in_thread, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("done\n");
}

static long clone3(struct clone_args *args)
{
	return syscall(SYS_clone3, args, sizeof *args);
}

static void clones(void)
{
	int pidfd = -1, status;
	struct clone_args args = {.flags = CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uint64_t)&pidfd};
	struct pollfd p = {.events = POLLIN};
	long child = clone3(&args);

	if (child == 0)
		_exit(21);
	p.fd = pidfd;
	printf("pidfd %d, ready %d", pidfd >= 0, poll(&p, 1, 10000));
	waitpid((pid_t)child, &status, 0);
	printf(" %x\n", status);
	static int tid_parent, tid_child;
	args = (struct clone_args){.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CLEAR_SIGHAND,
				   .parent_tid = (uint64_t)&tid_parent,
				   .child_tid = (uint64_t)&tid_child,
				   .exit_signal = SIGCHLD};
	handle(SIGUSR1, tell, 0);
	child = clone3(&args);
	if (child == 0) {
		struct sigaction act;
		sigaction(SIGUSR1, NULL, &act);
		_exit(tid_child == getpid() && act.sa_handler == SIG_DFL ? 22 : 1);
	}
	waitpid((pid_t)child, &status, 0);
	printf("%d %d %x\n", tid_parent == child, tid_child, status);
	args = (struct clone_args){.flags = CLONE_SIGHAND, .exit_signal = SIGCHLD};
	tell_errno("clone3", clone3(&args));
}

static void ends(void)
{
	int status;

	for (int sig = 0; sig < 16; sig++) {
		if (sig == SIGKILL || sig == 0) {
			pid_t child = vfork();
			if (child == 0) {
				if (sig)
					kill(getpid(), sig);
				_exit(33);
			}
			waitpid(child, &status, 0);
			printf("%d: %x\n", sig, status & 0xff7f);
		}
	}
}

static void job_control(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(child,
		child); /* the child may not have come to it, and SIGTSTP does not stop who is in an orphaned group */
	for (int i = 0; i < 3; i++) {
		kill(child, i == 1 ? SIGTSTP : SIGSTOP);
		waitpid(child, &status, WUNTRACED);
		printf("stopped %x", status);
		kill(child, SIGCONT);
		waitpid(child, &status, WCONTINUED);
		printf(" continued %x\n", status);
	}
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("%x\n", status);
}

static void *fork_for_ever(void *arg)
{
	for (;;) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	return NULL;
}

static void ends_while_threads_fork(void)
{
	for (unsigned i = 0; i < 40; i++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			alarm(20);
			for (int k = 0; k < 3; k++)
				pthread_create(&thread, NULL, fork_for_ever, NULL);
			usleep(500 + i * 311);
			if (i % 4)
				*(volatile int *)8 = 1;
			_exit(7);
		}
		waitpid(child, &status, 0);
		if ((status & 0xff7f) != (i % 4 ? SIGSEGV : 0x700)) {
			printf("%x\n", status);
			break;
		}
	}
}

enum { NR_WORDS = 1 << 14 };

/* Much code that has not been executed yet; for this machine there is none. */
static void *write_code(void)
{
	uint32_t *code =
		mmap(NULL, NR_WORDS * 4, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < NR_WORDS; i++)
		code[i] = i + 1 < NR_WORDS ? 0xd503201f : 0xd65f03c0; /* nop, ret */
	__builtin___clear_cache((char *)code, (char *)(code + NR_WORDS));
	return code;
}

static void take_address_space(void)
{
	for (size_t size = (size_t)1 << 40; size >= 1 << 12; size >>= 4)
		while (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
			;
}

static void goes_on_without_address_space(void)
{
	void (*code)(void) = write_code();
	pthread_t thread;
	pid_t child;
	int status;

	take_address_space();
#ifdef __aarch64__
	code();
#endif
	printf("thread %d\n", pthread_create(&thread, NULL, fork_for_ever, NULL));
	child = fork();
	if (child == 0)
		_exit(3);
	waitpid(child, &status, 0);
	printf("child %x\n", status);
}

/* For tests that send something from outside. */
static void waits(void)
{
	printf("waiting\n");
	for (;;)
		pause();
}

static void ignores(void)
{
	struct sigaction act;

	sigaction(SIGTERM, NULL, &act);
	printf("TERM is ignored %d\n", act.sa_handler == SIG_IGN);
	kill(getpid(), SIGTERM);
	printf("still here\n");
}

MAIN(PART(forks), PART(vforks), PART(vfork_signals), PART(spawns), PART(spawns_in_threads), PART(clones), PART(ends),
     PART(job_control), PART(ends_while_threads_fork), PART(goes_on_without_address_space), PART(waits), PART(ignores))
