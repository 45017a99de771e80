#include "tool/puller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "tool/tool.h"

void puller_open(struct puller *p, const char *store, int64_t every_ms)
{
	*p = (struct puller){.store = store, .every = every_ms, .next = 0, .fd = -1};
}

int64_t puller_due(const struct puller *p)
{
	return p->every && !p->child ? p->next : INT64_MAX;
}

/* Beside this program. */
static bool find_module(char path[PATH_MAX])
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	char *slash;

	exe[len > 0 ? len : 0] = 0;
	slash = strrchr(exe, '/');
	return slash && snprintf(path, PATH_MAX, "%.*s/update_module", (int)(slash - exe), exe) < PATH_MAX;
}

static int spawn(struct puller *p, const char *module)
{
	const char *const argv[] = {"update_module", "--quiet", "--patches", p->store, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none); /* ours are blocked, for a signalfd */
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	rc = posix_spawn(&p->child, module, &files, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return rc;
}

static void start(struct puller *p, int64_t now)
{
	char module[PATH_MAX];
	int rc = find_module(module) ? spawn(p, module) : ENOENT;

	p->next = now + p->every;
	if (rc) {
		p->child = 0;
		note("patches are not fetched: update_module, which should be beside this program: %s",
		     strerrordesc_np(rc));
		return;
	}
	p->fd = (int)syscall(SYS_pidfd_open, p->child, 0);
}

static void forget(struct puller *p)
{
	lp_close(p->fd);
	p->fd = -1;
	p->child = 0;
}

void puller_turn(struct puller *p, int64_t now)
{
	if (p->child && waitpid(p->child, NULL, WNOHANG) != 0)
		forget(p);
	if (p->every && !p->child && now >= p->next)
		start(p, now);
}

void puller_close(struct puller *p)
{
	if (!p->child)
		return;
	kill(p->child, SIGTERM);
	while (waitpid(p->child, NULL, 0) < 0 && errno == EINTR) {
	}
	forget(p);
}
