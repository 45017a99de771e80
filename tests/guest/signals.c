/* Signals that are sent: what handlers see, which come when, and what they interrupt. */
#include "guest.h"

static volatile sig_atomic_t count, last;
static volatile uint64_t seen;

static void show(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	printf("signal %d: signo %d code %d pid %d uid %d value %d, mask %lx\n", sig, info->si_signo, info->si_code,
	       info->si_pid == getpid(), info->si_uid == getuid(),
	       info->si_code == SI_QUEUE ? info->si_value.sival_int : 0, *(unsigned long *)&uc->uc_sigmask);
}

static void tally(int sig, siginfo_t *info, void *context)
{
	count++;
	last = sig;
}

static void senders(void)
{
	handle(SIGUSR1, show, 0);
	handle(SIGRTMIN + 1, show, 0);
	kill(getpid(), SIGUSR1);
	raise(SIGUSR1);
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
	sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = -7});
	syscall(SYS_tgkill, getpid(), gettid(), SIGRTMIN + 1);
}

static void queue_order(void)
{
	sigset_t all;

	sigfillset(&all);
	for (int sig = SIGRTMIN; sig < SIGRTMIN + 3; sig++)
		handle(sig, show, 0);
	handle(SIGUSR2, show, 0);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (int i = 0; i < 40; i++)
		sigqueue(getpid(), SIGRTMIN + 2 - i % 3, (union sigval){.sival_int = i});
	for (int i = 0; i < 3; i++)
		kill(getpid(), SIGUSR2);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
}

static void queue_while_running(void)
{
	pid_t child;
	static int next;
	int status;

	/* A child floods its parent, which computes and makes calls: nothing is lost and all is in order. */
	void check(int sig, siginfo_t *info, void *context)
	{
		if (info->si_value.sival_int != next)
			printf("got %d, not %d\n", info->si_value.sival_int, next);
		next = info->si_value.sival_int + 1;
	}
	handle(SIGRTMIN + 5, check, SA_RESTART);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 3000; i++)
			while (sigqueue(getppid(), SIGRTMIN + 5, (union sigval){.sival_int = i}))
				sched_yield();
		_exit(0);
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		sigset_t set = set_of(SIGRTMIN + 5, 0), old;
		for (volatile int i = 0; i < 1000; i++)
			seen += (uint64_t)i;
		sigprocmask(SIG_BLOCK, &set, &old);
		getppid();
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	printf("%d came, child %d\n", next, status);
}

static void flags(void)
{
	struct sigaction act;
	sigset_t pending;

	void nested(int sig, siginfo_t *info, void *context)
	{
		int depth = ++count;
		if (depth < 3)
			raise(sig);
		printf("left at depth %d\n", depth);
	}
	count = 0;
	handle(SIGUSR1, nested, SA_NODEFER);
	raise(SIGUSR1);
	count = 0;
	handle(SIGUSR1, nested, 0);
	raise(SIGUSR1);
	handle(SIGUSR2, tally, SA_RESETHAND);
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &act);
	printf("after SA_RESETHAND: default %d, flags %x\n", act.sa_handler == SIG_DFL, act.sa_flags & ~0x04000000);
	handle(SIGCHLD, tally, SA_RESTART | SA_ONSTACK);
	sigaction(SIGCHLD, NULL, &act);
	printf("flags %x\n", act.sa_flags & ~0x04000000);
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	sigset_t set = set_of(SIGTERM, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGTERM);
	raise(SIGUSR1);
	sigpending(&pending);
	printf("pending: TERM %d USR1 %d\n", sigismember(&pending, SIGTERM), sigismember(&pending, SIGUSR1));
	signal(SIGTERM, SIG_IGN);
	sigpending(&pending);
	printf("ignored: TERM %d\n", sigismember(&pending, SIGTERM));
}

static void errors(void)
{
	stack_t stack = {.ss_sp = &stack, .ss_size = 100};
	struct sigaction act = {.sa_handler = SIG_IGN};
	sigset_t set = set_of(SIGKILL, SIGSTOP), old;

	printf("KILL %d\n", sigaction(SIGKILL, &act, NULL) ? errno : 0);
	printf("0 %ld\n", syscall(SYS_rt_sigaction, 0, &act, NULL, 8) ? errno : 0L);
	printf("65 %ld\n", syscall(SYS_rt_sigaction, 65, &act, NULL, 8) ? errno : 0L);
	printf("size %ld\n", syscall(SYS_rt_sigaction, SIGHUP, &act, NULL, 16) ? errno : 0L);
	printf("memory %ld\n", syscall(SYS_rt_sigaction, SIGHUP, 8, NULL, 8) ? errno : 0L);
	printf("how %ld\n", syscall(SYS_rt_sigprocmask, 3, &set, NULL, 8) ? errno : 0L);
	printf("mask %ld\n", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8) ? errno : 0L);
	sigprocmask(SIG_BLOCK, NULL, &old);
	printf("KILL blocked %d\n", sigismember(&old, SIGKILL));
	printf("small stack %d\n", sigaltstack(&stack, NULL) ? errno : 0);
	stack.ss_flags = 77;
	stack.ss_size = 1 << 20;
	printf("flags %d\n", sigaltstack(&stack, NULL) ? errno : 0);
}

static char alternate[1 << 16];

static void altstack(void)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;

	void on_it(int sig, siginfo_t *info, void *context)
	{
		char here;
		stack_t now, other = {.ss_sp = alternate, .ss_size = sizeof alternate};
		ucontext_t *uc = context;
		sigaltstack(NULL, &now);
		printf("on it %d, flags %x, again %d, frame's %d size %zu flags %x\n",
		       &here >= alternate && &here < alternate + sizeof alternate, now.ss_flags,
		       now.ss_flags & SS_DISABLE   ? 0
		       : sigaltstack(&other, NULL) ? errno
						   : 0,
		       uc->uc_stack.ss_sp == alternate, uc->uc_stack.ss_size, uc->uc_stack.ss_flags);
		if (sig == SIGUSR1)
			raise(SIGUSR2);
	}
	sigaltstack(&stack, &old);
	printf("before: flags %x size %zu\n", old.ss_flags, old.ss_size);
	handle(SIGUSR1, on_it, SA_ONSTACK);
	handle(SIGUSR2, on_it, SA_ONSTACK);
	raise(SIGUSR1);
	handle(SIGUSR1, on_it, 0);
	raise(SIGUSR1);
	stack.ss_flags = (int)(1u << 31); /* SS_AUTODISARM */
	sigaltstack(&stack, NULL);
	handle(SIGUSR2, on_it, SA_ONSTACK);
	raise(SIGUSR2);
	sigaltstack(NULL, &old);
	printf("after: flags %x size %zu\n", old.ss_flags, old.ss_size);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	sigaltstack(NULL, &old);
	printf("off: flags %x\n", old.ss_flags);
}

#ifdef __aarch64__
/* The handler changes what the interrupted code goes on with. */
static void context_is_written_back(void)
{
	uint64_t d8, nzcv;

	void change(int sig, siginfo_t *info, void *context)
	{
		ucontext_t *uc = context;
		struct _aarch64_ctx *head = (void *)uc->uc_mcontext.__reserved;
		struct fpsimd_context *fp = (void *)head;
		printf("magic %x size %u x19 %llu x20 %llx fpcr %x fpsr %x sp %d\n", head->magic, head->size,
		       uc->uc_mcontext.regs[19], uc->uc_mcontext.regs[20], fp->fpcr, fp->fpsr,
		       uc->uc_mcontext.sp > (uint64_t)&uc);
		printf("v9 %llx %llx\n", (unsigned long long)(fp->vregs[9] >> 64), (unsigned long long)fp->vregs[9]);
		uc->uc_mcontext.regs[19] = 99;
		uc->uc_mcontext.pstate = 0x60000000;
		fp->vregs[8] = ((__uint128_t)7 << 64) | 0x4000000000000000;
		fp->fpcr = 0x00c00000;
		__asm__ volatile("fmov d9, xzr; msr fpcr, xzr; cmp x0, #0" : : : "v9", "cc");
	}
	handle(SIGUSR1, change, 0);
	uint64_t fpcr, d9, v8high, pid = (uint64_t)getpid(), tid = (uint64_t)gettid();
	register uint64_t x19 __asm__("x19") = 1;
	register uint64_t x8 __asm__("x8") = SYS_tgkill;
	register uint64_t x0 __asm__("x0") = pid;
	register uint64_t x1 __asm__("x1") = tid;
	register uint64_t x2 __asm__("x2") = SIGUSR1;
	__asm__ volatile(
		"mov x20, #0x1234\n movi v9.16b, #0x5a\n fmov d8, #1.0\n mov x21, #0x800000\n msr fpcr, x21\n svc #0\n"
		"mrs %1, nzcv\n mrs %2, fpcr\n fmov %3, d9\n fmov %4, v8.d[1]\n fmov %5, d8\n msr fpcr, xzr\n"
		: "+r"(x19), "=&r"(nzcv), "=&r"(fpcr), "=&r"(d9), "=&r"(v8high), "=&r"(d8), "+r"(x0)
		: "r"(x8), "r"(x1), "r"(x2)
		: "x20", "x21", "v8", "v9", "memory", "cc");
	printf("x19 %lu nzcv %lx fpcr %lx d9 %lx v8 %lx %lx x0 %ld\n", x19, nzcv, fpcr, d9, v8high, d8, x0);
}

static void stays_and_goes(void)
{
	/* The frame: what x29 points at at the handler's entry are the interrupted x29 and x30. */
	void look(int sig, siginfo_t *info, void *context)
	{
		ucontext_t *uc = context;
		uint64_t *fp = __builtin_frame_address(0);
		uint64_t *record = (uint64_t *)fp[0];
		printf("record %d %d, info below context %ld, alignment %ld, space %ld\n",
		       record[0] == uc->uc_mcontext.regs[29], record[1] == uc->uc_mcontext.regs[30],
		       (char *)uc - (char *)info, (long)uc & 15, (char *)record - (char *)info);
		printf("flags %lx link %d code %d\n", uc->uc_flags, uc->uc_link == NULL, info->si_code);
	}
	handle(SIGUSR1, look, 0);
	raise(SIGUSR1);
}

#endif

/* ---- waiting ---- */

static void sigwaiting(void)
{
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 3), segv = set_of(SIGSEGV, 0);
	struct timespec none = {0, 1000000};
	siginfo_t info;
	int sig;

	sigprocmask(SIG_BLOCK, &set, NULL);
	tell_errno("nothing", sigtimedwait(&set, &info, &none));
	for (int i = 0; i < 3; i++)
		sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i});
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 4; i++) {
		sig = sigwaitinfo(&set, &info);
		printf("%d code %d value %d\n", sig, info.si_code,
		       info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
	}
	printf("sigwait %d", sigprocmask(SIG_BLOCK, &segv, NULL));
	kill(getpid(), SIGSEGV);
	sig = sigwaitinfo(&segv, &info);
	printf(" %d code %d\n", sig, info.si_code);
}

static void suspends(void)
{
	sigset_t set = set_of(SIGUSR1, SIGUSR2), only2 = set_of(SIGUSR2, 0), old;
	struct timespec second = {1, 0};
	fd_set none;
	int fds[2];

	handle(SIGUSR1, show, 0);
	handle(SIGUSR2, show, 0);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	tell_errno("sigsuspend", sigsuspend(&only2));
	raise(SIGUSR1);
	raise(SIGUSR2);
	tell_errno("ppoll", ppoll(NULL, 0, &second, &only2));
	FD_ZERO(&none);
	raise(SIGUSR1);
	tell_errno("pselect", pselect(0, &none, NULL, NULL, &second, &only2));
	if (pipe(fds) || write(fds[1], "x", 1) != 1)
		return;
	FD_SET(fds[0], &none);
	printf("ready %d\n", pselect(fds[0] + 1, &none, NULL, NULL, &second, &old));
	sigprocmask(SIG_BLOCK, NULL, &old);
	printf("mask %lx\n", *(unsigned long *)&old);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void start_timer(long us, bool again)
{
	struct itimerval t = {.it_value.tv_usec = us, .it_interval.tv_usec = again ? us : 0};

	setitimer(ITIMER_REAL, &t, NULL);
}

static void restarts(void)
{
	static int fds[2];
	int status;
	char c;
	struct timespec left, second = {0, 200000000};

	if (pipe(fds))
		return;
	/* Again and again: on a busy machine the first may come before there is anything to interrupt. */
	handle(SIGALRM, tally, 0);
	start_timer(20000, true);
	tell_errno("read", read(fds[0], &c, 1));
	void feed(int sig, siginfo_t *info, void *context)
	{
		count++;
		if (write(fds[1], "y", 1) != 1)
			_exit(1);
	}
	handle(SIGALRM, feed, SA_RESTART);
	start_timer(20000, true);
	tell_errno("read", read(fds[0], &c, 1));
	printf("%c\n", c);
	handle(SIGALRM, tally, SA_RESTART);
	start_timer(20000, true);
	tell_errno("nanosleep", nanosleep(&second, &left));
	printf("left %d\n", left.tv_sec == 0 && left.tv_nsec < second.tv_nsec);
	start_timer(20000, true);
	tell_errno("pause", pause());
	start_timer(0, false);
	handle(SIGCHLD, tally, SA_RESTART);
	if (fork() == 0) {
		usleep(20000);
		_exit(7);
	}
	printf("wait %d", wait(&status) > 0);
	printf(" status %d\n", WEXITSTATUS(status));
	int word = 1;
	handle(SIGALRM, tally, 0);
	start_timer(20000, true);
	tell_errno("futex", syscall(SYS_futex, &word, FUTEX_WAIT, 1, NULL));
}

/* Periodic timers against calls that would wait for ever: every wait ends. */
static void torture(void)
{
	sigset_t alarm_only = set_of(SIGALRM, 0), empty = set_of(0, 0);
	int fds[2];
	char c;

	if (pipe(fds))
		return;
	handle(SIGALRM, tally, 0);
	start_timer(150, true);
	for (int i = 0; i < 1500; i++) {
		if (read(fds[0], &c, 1) != -1 || errno != EINTR)
			printf("read: errno %d\n", errno);
	}
	sigprocmask(SIG_BLOCK, &alarm_only, NULL);
	for (int i = 0; i < 1500; i++) {
		int before = count;
		start_timer(1 + i % 60, false);
		for (volatile int spin = 0; spin < i % 700; spin++)
			;
		if (i % 2)
			sigsuspend(&empty);
		else
			ppoll(NULL, 0, NULL, &empty);
		if (errno != EINTR || count == before)
			printf("lost: errno %d\n", errno);
	}
	start_timer(0, false);
	printf("done\n");
}

static void timers(void)
{
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value.sival_int = 5};
	struct itimerspec spec = {.it_value.tv_nsec = 1000000};

	void timed(int sig, siginfo_t *info, void *context)
	{
		printf("timer: code %d value %d overrun %d\n", info->si_code, info->si_value.sival_int,
		       info->si_overrun);
		count++;
	}
	handle(SIGRTMIN + 2, timed, 0);
	printf("create %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer));
	timer_settime(timer, 0, &spec, NULL);
	while (!count)
		;
}

static void children(void)
{
	pid_t child;
	int status;
	sigset_t set = set_of(SIGCHLD, 0);
	siginfo_t info;

	sigprocmask(SIG_BLOCK, &set, NULL);
	child = fork();
	if (child == 0)
		_exit(3);
	sigwaitinfo(&set, &info);
	printf("code %d status %d pid %d\n", info.si_code, info.si_status, info.si_pid == child);
	waitpid(child, &status, 0);
	child = fork();
	if (child == 0)
		raise(SIGSTOP), _exit(4);
	sigwaitinfo(&set, &info);
	printf("code %d status %d\n", info.si_code, info.si_status);
	waitpid(child, &status, WUNTRACED);
	printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
	kill(child, SIGCONT);
	waitpid(child, &status, WCONTINUED);
	printf("continued %d\n", WIFCONTINUED(status));
	waitpid(child, &status, 0);
	printf("status %d\n", WEXITSTATUS(status));
	for (int sig = 1; sig < 65; sig++) {
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU || sig == 32 || sig == 33)
			continue;
		child = fork();
		if (child == 0) {
			sigset_t all;
			sigfillset(&all);
			sigprocmask(SIG_UNBLOCK, &all, NULL);
			kill(getpid(), sig);
			_exit(0);
		}
		waitpid(child, &status, 0);
		printf("%d: %x\n", sig, status & 0x7f);
	}
}

#ifdef __aarch64__
/* The signals that the C library keeps for itself, on both sides. */
static void thirty_two(void)
{
	void (*handler)(int, siginfo_t *, void *) = show;
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} act = {(void *)handler, SA_SIGINFO, NULL, 0};

	for (int sig = 32; sig < 34; sig++) {
		printf("%ld\n", syscall(SYS_rt_sigaction, sig, &act, NULL, 8));
		syscall(SYS_tgkill, getpid(), gettid(), sig);
	}
}

static void bad_frames(void)
{
	pid_t child;
	int status;

	static int how;

	for (how = 0; how < 5; how++) {
		void spoil(int sig, siginfo_t *info, void *context)
		{
			ucontext_t *uc = context;
			uint32_t *record = (void *)uc->uc_mcontext.__reserved;
			switch (how) {
			case 0:
				record[0] = 1;
				break;
			case 1:
				record[1] = 100;
				break;
			case 2:
				uc->uc_mcontext.pstate = 5;
				break;
			case 3:
				record[0] = record[1] = 0;
				break;
			default:
				break;
			}
		}
		child = fork();
		if (child == 0) {
			handle(SIGUSR1, spoil, 0);
			raise(SIGUSR1);
			_exit(1);
		}
		waitpid(child, &status, 0);
		printf("%d: %x\n", how, status);
	}
}
#define ONLY_HERE , PART(context_is_written_back), PART(stays_and_goes), PART(thirty_two), PART(bad_frames)
#else
#define ONLY_HERE
#endif

MAIN(PART(senders), PART(queue_order), PART(queue_while_running), PART(flags), PART(errors), PART(altstack),
     PART(sigwaiting), PART(suspends), PART(restarts), PART(torture), PART(timers), PART(children) ONLY_HERE)
