#include "api/bell.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/vec.h"

#define BELLS 64
#define SIGNALS 64

struct lp_bell {
	atomic_int fd;		       /* of an event; if `open` */
	atomic_uint_least64_t signals; /* bit n - 1: rings on signal n */
	atomic_bool by_signal;
	bool open, taken;
};

static struct lp_bell bells[BELLS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `open`, `taken`, and of who handles signals */
static atomic_int owner;				 /* the process whose bells these are: not a child of it */

static uint64_t bit(int signo)
{
	return UINT64_C(1) << (signo - 1);
}

/* ---- ringing ---- */

int lp_bell_fd(const struct lp_bell *b)
{
	return atomic_load(&b->fd);
}

void lp_bell_ring(struct lp_bell *b)
{
	uint64_t one = 1;
	while (write(lp_bell_fd(b), &one, sizeof one) < 0 && errno == EINTR) /* full is rung enough */
		;
}

bool lp_bell_answer(struct lp_bell *b)
{
	uint64_t rings;
	while (read(lp_bell_fd(b), &rings, sizeof rings) < 0 && errno == EINTR)
		;
	return atomic_exchange(&b->by_signal, false);
}

/* ---- signals ---- */

/*
 * What our handler passes a signal on to.  When somebody puts a handler in
 * front of ours, and we are asked for the signal again, another one of ours
 * goes in front of that: each knows one predecessor, so that a handler which
 * calls what it replaced comes to an end.
 */
#define LEVELS 4

static struct {
	struct sigaction before[LEVELS]; /* written before the handler of that level is in place */
	unsigned levels;
} chains[SIGNALS + 1];

static bool has_handler(const struct sigaction *a)
{
	return a->sa_flags & SA_SIGINFO || (a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN);
}

static void pass_on(const struct sigaction *a, int signo, siginfo_t *info, void *context)
{
	if (a->sa_flags & SA_SIGINFO)
		a->sa_sigaction(signo, info, context);
	else if (has_handler(a))
		a->sa_handler(signo);
}

static void ring_all(int signo)
{
	if (atomic_load(&owner) != getpid())
		return;
	for (size_t i = 0; i < BELLS; i++) {
		if (!(atomic_load(&bells[i].signals) & bit(signo)))
			continue;
		atomic_store(&bells[i].by_signal, true);
		lp_bell_ring(&bells[i]);
	}
}

static void on_signal(unsigned level, int signo, siginfo_t *info, void *context)
{
	int saved = errno;
	ring_all(signo);
	errno = saved;
	pass_on(&chains[signo].before[level], signo, info, context);
}

#define ON_SIGNAL(level)                                                         \
	static void on_signal_##level(int signo, siginfo_t *info, void *context) \
	{                                                                        \
		on_signal(level, signo, info, context);                          \
	}
ON_SIGNAL(0)
ON_SIGNAL(1)
ON_SIGNAL(2)
ON_SIGNAL(3)

static void (*const handlers[LEVELS])(int, siginfo_t *, void *) = {on_signal_0, on_signal_1, on_signal_2, on_signal_3};

/* Is it our handler that was put in place last? */
static bool is_ours(const struct sigaction *a, int signo)
{
	unsigned levels = chains[signo].levels;
	return levels && a->sa_flags & SA_SIGINFO && a->sa_sigaction == handlers[levels - 1];
}

/* A program that relies on its handler to interrupt its calls goes on to do so; one without a handler never had them
 * interrupted. */
static int handle(int signo, struct lp_err *err)
{
	struct sigaction old;
	unsigned level = chains[signo].levels;
	if (sigaction(signo, NULL, &old) < 0)
		return lp_fail_sys(err, errno, "cannot take signal %d", signo);
	if (is_ours(&old, signo))
		return 0;
	if (level == LEVELS)
		return lp_fail(err, EBUSY, "signal %d was taken from us %d times", signo, LEVELS);
	struct sigaction ours = {.sa_sigaction = handlers[level], .sa_mask = old.sa_mask, .sa_flags = SA_RESTART};
	if (has_handler(&old))
		ours.sa_flags = old.sa_flags & ~(int)SA_RESETHAND;
	ours.sa_flags |= SA_SIGINFO | SA_ONSTACK;
	chains[signo].before[level] = old;
	if (sigaction(signo, &ours, NULL) < 0)
		return lp_fail_sys(err, errno, "cannot take signal %d", signo);
	chains[signo].levels++;
	return 0;
}

/* Whoever came after us and calls us must keep finding us there. */
static void unhandle(int signo)
{
	struct sigaction now;
	if (sigaction(signo, NULL, &now) == 0 && is_ours(&now, signo))
		sigaction(signo, &chains[signo].before[--chains[signo].levels], NULL);
}

static bool is_raised_by_code(int signo)
{
	return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE || signo == SIGTRAP ||
	       signo == SIGSYS || signo == SIGABRT;
}

int lp_bell_on_signal(struct lp_bell *b, int signo, struct lp_err *err)
{
	if (signo < 1 || signo > SIGNALS || is_raised_by_code(signo))
		return lp_fail(err, EINVAL, "signal %d cannot be used to ask for anything", signo);
	pthread_mutex_lock(&lock);
	int rc = handle(signo, err);
	if (rc == 0)
		atomic_fetch_or(&b->signals, bit(signo));
	pthread_mutex_unlock(&lock);
	return rc;
}

/* ---- taking and giving back ---- */

void lp_bells_hold(void)
{
	pthread_mutex_lock(&lock);
}

void lp_bells_release(void)
{
	pthread_mutex_unlock(&lock);
}

/* A child that was forked has its parent's descriptors, and must not ring its parent's bells. */
static void begin_process(void)
{
	if (atomic_load(&owner) == getpid())
		return;
	for (size_t i = 0; i < BELLS; i++) {
		atomic_store(&bells[i].signals, 0);
		bells[i].open = bells[i].taken = false;
	}
	atomic_store(&owner, getpid());
}

static int open_bell(struct lp_bell *b, struct lp_err *err)
{
	int fd = b->open ? lp_bell_fd(b) : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot make an event");
	atomic_store(&b->fd, fd);
	b->open = true;
	return 0;
}

static struct lp_bell *find_free(void)
{
	for (size_t i = 0; i < BELLS; i++)
		if (!bells[i].taken)
			return &bells[i];
	return NULL;
}

struct lp_bell *lp_bell_take(struct lp_err *err)
{
	pthread_mutex_lock(&lock);
	begin_process();
	struct lp_bell *b = find_free();
	if (!b)
		lp_fail(err, ENOSPC, "more than %d systems are watched", BELLS);
	else if (open_bell(b, err) < 0)
		b = NULL;
	else
		b->taken = true;
	pthread_mutex_unlock(&lock);
	return b;
}

static bool is_wanted(int signo)
{
	for (size_t i = 0; i < BELLS; i++)
		if (atomic_load(&bells[i].signals) & bit(signo))
			return true;
	return false;
}

void lp_bell_give(struct lp_bell *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&lock);
	uint64_t signals = atomic_exchange(&b->signals, 0);
	for (int signo = 1; signo <= SIGNALS; signo++)
		if (signals & bit(signo) && !is_wanted(signo))
			unhandle(signo);
	lp_bell_answer(b);
	b->taken = false;
	pthread_mutex_unlock(&lock);
}
