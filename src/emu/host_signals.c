#include "emu/host_signals.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/syscall.h>

enum { KERNEL_SET = 8, SA_RESTORER_ = 0x04000000 };

/* rt_sigreturn, in the very bytes by which unwinders know a signal frame. */
void lp_host_restorer(void);
__asm__(".text\n"
	".globl lp_host_restorer\n"
	".hidden lp_host_restorer\n"
	".type lp_host_restorer, @function\n"
	"nop\n"
	"lp_host_restorer:\n"
	"	mov $15, %rax\n"
	"	syscall\n"
	".size lp_host_restorer, .-lp_host_restorer\n");

int lp_host_action(int sig, const struct lp_host_action *set, struct lp_host_action *old)
{
	return syscall(SYS_rt_sigaction, sig, set, old, KERNEL_SET) ? -errno : 0;
}

void lp_host_catch(int sig, void (*catch)(int, siginfo_t *, void *), uint64_t flags, uint64_t mask)
{
	struct lp_host_action action = {
		.catch = catch,
		.flags = flags | SA_SIGINFO | SA_RESTORER_,
		.restorer = lp_host_restorer,
		.mask = mask,
	};

	lp_host_action(sig, &action, NULL);
}

uint64_t lp_host_mask(uint64_t mask)
{
	uint64_t old = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, KERNEL_SET);
	return old;
}

uint64_t lp_signals_keep_out(void)
{
	return lp_host_mask(~LP_SIGNALS_OF_FAULTS);
}

static void *end_at_once(void *arg)
{
	return arg;
}

void lp_host_let_libc_begin(void)
{
	uint64_t mask = lp_signals_keep_out();
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	/* No thread has a guard of this size: glibc prepares itself for threads and then says so. */
	pthread_attr_setguardsize(&attr, SIZE_MAX);
	if (pthread_create(&thread, &attr, end_at_once, NULL) == 0)
		pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	lp_host_mask(mask);
}

int lp_host_tid(void)
{
	return (int)syscall(SYS_gettid);
}

void lp_host_send_again(int sig, const siginfo_t *info, bool to_this_thread)
{
	if (to_this_thread)
		syscall(SYS_rt_tgsigqueueinfo, getpid(), lp_host_tid(), sig, info);
	else
		syscall(SYS_rt_sigqueueinfo, getpid(), sig, info);
}

void lp_host_die(int sig)
{
	struct lp_host_action action = {.handler = 0};

	lp_host_action(sig, &action, NULL);
	lp_host_mask(~LP_SIGNAL_BIT(sig));
	for (;;) {
		syscall(SYS_tgkill, getpid(), lp_host_tid(), sig);
		/* Only a process that the kernel protects (the first of a pid namespace) comes here. */
		syscall(SYS_exit_group, 128 + sig);
	}
}
