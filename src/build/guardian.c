#include "build/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "build/group.h"
#include "build/remove.h"

#define GROUPS_MAX 4096 /* compilers at a time; those beyond end by themselves soon enough */
#define TICK_MS 50
#define REMOVE_TICKS 10
#define PARENT_TICKS 10
#define FREEZE_TICKS (LP_GROUPS_FREEZE_MS / TICK_MS)
#define GRACE_TICKS 60 /* before SIGKILL, and after it */
_Static_assert((PARENT_TICKS + FREEZE_TICKS + 2 * GRACE_TICKS + REMOVE_TICKS) * TICK_MS <= LP_GUARDIAN_MAX_MS,
	       "promised");

struct groups {
	pid_t items[GROUPS_MAX];
	size_t nr;
};

/* 0: nothing is left. */
static void note(struct groups *g, pid_t told)
{
	if (told == 0)
		g->nr = 0;
	if (told > 0 && g->nr < GROUPS_MAX)
		g->items[g->nr++] = told;
	for (size_t i = 0; i < g->nr && told < 0; i++)
		if (g->items[i] == -told) {
			g->items[i] = g->items[--g->nr];
			return;
		}
}

/* How many are there to hear it? */
static size_t send_all(const struct groups *g, int signal)
{
	size_t nr = 0;
	for (size_t i = 0; i < g->nr; i++)
		nr += kill(-g->items[i], signal) == 0;
	return nr;
}

/* When the last of us goes, the kernel sends SIGCONT to a stopped group of ours, which none shall hear now. */
static void wait_for_parent(pid_t parent)
{
	for (int ticks = 0; getppid() == parent && ticks < PARENT_TICKS; ticks++)
		poll(NULL, 0, TICK_MS);
}

static void end_all(const struct groups *g, pid_t parent)
{
	if (!g->nr)
		return;
	wait_for_parent(parent);
	lp_groups_terminate(g->items, g->nr);
	for (int ticks = 0; send_all(g, ticks < GRACE_TICKS ? 0 : SIGKILL) && ticks < 2 * GRACE_TICKS; ticks++)
		poll(NULL, 0, TICK_MS);
}

/* ---- temporary files ---- */

static char *make_below(const char *place)
{
	char *real = realpath(place, NULL); /* compilers run in other directories */
	char *path = real ? lp_sprintf("%s/livepatch-XXXXXX", real) : NULL;
	free(real);
	if (path && mkdtemp(path))
		return path;
	lp_free(path);
	return NULL;
}

/* Where compilers would make them otherwise: these are gcc's and clang's words for it. */
static char *make_temporary(void)
{
	static const char *const names[] = {"TMPDIR", "TMP", "TEMP"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		const char *place = getenv(names[i]);
		char *path = place ? make_below(place) : NULL;
		if (path)
			return path;
	}
	return make_below("/tmp");
}

/* Whoever was told to end may still be in the middle of making a file. */
static void remove_temporary(const char *path)
{
	for (int ticks = 0; path && lp_tree_remove(path, NULL) < 0 && ticks < REMOVE_TICKS; ticks++)
		poll(NULL, 0, TICK_MS);
}

/* By him and not by us, who may be killed before we could tell him. */
static void tell_temporary(int fd, const char *path)
{
	const char *text = path ? path : "";
	while (send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static char *hear_temporary(int fd)
{
	char path[PATH_MAX];
	ssize_t n;
	while ((n = recv(fd, path, sizeof path, 0)) < 0 && errno == EINTR)
		;
	return n > 1 && !path[n - 1] ? lp_strdup(path) : NULL;
}

/* ---- the child ---- */

/* Nobody who reads our output is to wait for him, and no signal from the terminal is for him. */
static void stand_apart(void)
{
	sigset_t all;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setpgid(0, 0);
	for (int fd = STDIN_FILENO; null > STDERR_FILENO && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	lp_close(null);
}

_Noreturn static void guard(int fd, pid_t parent)
{
	static struct groups g;
	pid_t told;
	ssize_t n;
	stand_apart();
	char *temporary = make_temporary();
	tell_temporary(fd, temporary);
	while ((n = read(fd, &told, sizeof told)) == (ssize_t)sizeof told || (n < 0 && errno == EINTR))
		if (n > 0)
			note(&g, told);
	end_all(&g, parent);
	remove_temporary(temporary);
	_exit(0);
}

/* ---- us ---- */

void lp_guardian_begin(struct lp_guardian *g)
{
	int ends[2];
	*g = (struct lp_guardian){.fd = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	pid_t parent = getpid();
	g->pid = fork();
	if (g->pid == 0) {
		lp_close(ends[1]);
		guard(ends[0], parent);
	}
	if (g->pid > 0)
		setpgid(g->pid, g->pid); /* he does it as well, but whoever kills our group may come before he runs */
	lp_close(ends[0]);
	if (g->pid > 0) {
		g->fd = ends[1];
		g->temporary = hear_temporary(g->fd);
	} else {
		lp_close(ends[1]);
	}
}

/* Should he have been killed, that is no reason for us to die. */
void lp_guardian_tell(struct lp_guardian *g, pid_t group)
{
	while (g->fd >= 0 && send(g->fd, &group, sizeof group, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* He has seen that nothing is left when he ends, and our descriptors are ours alone again. */
void lp_guardian_end(struct lp_guardian *g)
{
	static const pid_t nothing;
	if (g->fd < 0)
		return;
	lp_guardian_tell(g, nothing);
	lp_close(g->fd);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
	g->fd = -1;
	lp_free(g->temporary);
	g->temporary = NULL;
}
