/*
 * The worker and its heir.
 *
 * What changes a process is done by a child; the parent waits, and does
 * nothing else.  A patch that touches several pages cannot be written in one
 * go, so a SIGKILL between two writes leaves a mixture of old and new until
 * somebody recovers.  When the worker dies by a signal, its parent recovers at
 * once: the mixture lasts a millisecond and not until a person looks.
 *
 * The parent dying is no accident for the target: the worker is told by
 * SIGTERM, and stops unless it is past the point of no return, in which case
 * it finishes.
 */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t worker;

/* The terminal sends its signals to both of us; those that only we got are passed on. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (worker && info->si_code != SI_KERNEL)
		kill(worker, signal);
}

static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static struct sigaction before[LP_ARRAY_SIZE(passed_on)];

static void stand_back(void)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(passed_on); i++) {
		struct sigaction sa = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
		sigaction(passed_on[i], NULL, &before[i]);
		if (before[i].sa_handler != SIG_IGN)
			sigaction(passed_on[i], &sa, NULL);
	}
}

static void stand_forward(void)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(passed_on); i++)
		sigaction(passed_on[i], &before[i], NULL);
}

/* revert --all means every one. */
static bool was_meant(const struct args *a, const struct lp_listed *e)
{
	for (size_t i = 0; i < a->nr_operands; i++)
		if (patch_is_called(e, a->operands[i]))
			return true;
	return a->on[OPT_ALL];
}

/* After recovering: did the worker get as far as it was asked to before it died, or was it finished for it? */
static bool is_done(struct lp_target *t, const struct args *a, pid_t dead)
{
	struct lp_listing l;
	if (lp_ledger_list(t, &l, NULL) < 0)
		return false;
	bool reverts = a->verb == &verb_table[VERB_REVERT], done = reverts;
	for (size_t i = 0; i < l.nr; i++) {
		const struct lp_listed *e = &l.items[i];
		if (e->state != LP_APPLIED)
			continue;
		if (reverts)
			done = done && !was_meant(a, e);
		else
			done = done || e->pid_of_tool == (uint32_t)dead;
	}
	lp_listing_free(&l);
	return done || a->verb == &verb_table[VERB_RECOVER];
}

static int recover_for(const struct args *a, pid_t dead, int signal)
{
	struct lp_target *target = NULL;
	struct lp_apply_opts opts = {.timeout_ms = 5000};
	struct lp_result result = {0};
	struct lp_err err = {0};
	note("the worker was killed (%s)", strsignal(signal));
	int rc = lp_target_open_process(&target, a->pid, NULL, &err);
	rc = rc ? rc : lp_recover(target, &opts, &result, &err);
	bool done = rc == 0 && is_done(target, a, dead);
	lp_target_close(target);
	if (rc < 0) {
		note_error(&err);
		return status_of(rc);
	}
	note(done ? "what was asked for is done all the same; see livepatch list -p %d"
		  : "nothing of it is left in the process; see livepatch list -p %d",
	     (int)a->pid);
	return done ? EXIT_DONE : EXIT_REFUSED;
}

static int wait_for_worker(const struct args *a)
{
	int status;
	while (waitpid(worker, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_REFUSED;
	pid_t dead = worker;
	worker = 0;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	stand_forward();
	return recover_for(a, dead, WTERMSIG(status));
}

bool supervise(const struct args *a, int *status)
{
	pid_t parent = getpid();
	sigset_t all, old;
	/* Between fork and the handlers no signal may find one of us without the other knowing. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(EXIT_REFUSED);
	} else if (pid > 0) {
		worker = pid;
		stand_back();
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid <= 0)
		return true; /* the worker; or nobody could be made, and the work is done without an heir */
	*status = wait_for_worker(a);
	return false;
}
