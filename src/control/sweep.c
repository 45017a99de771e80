#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/places.h"
#include "base/vec.h"
#include "control/control.h"

#define BURIALS_MAX 256 /* at one start: the program waits */

/* The number in "4711.sock"; 0: called otherwise. */
static pid_t number_of(const char *name)
{
	char *end;
	long number = name[0] >= '1' && name[0] <= '9' ? strtol(name, &end, 10) : 0;

	return number > 0 && number <= 0x7fffffff && !strcmp(end, ".sock") ? (pid_t)number : 0;
}

/* Both of its sockets.  A process of another pid namespace, which is not seen from here, still listens at its own. */
static void bury(const struct lp_family *f, const char *dir, const char *name, pid_t pid)
{
	char path[LP_PLACE_MAX];

	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) < sizeof path)
		lp_control_bury(path, NULL);
	if (!f->has_legacy)
		return;
	snprintf(path, sizeof path, LP_PLACE_LEGACY, (int)pid);
	lp_control_bury(path, NULL);
}

static void each_in(const char *dir, void (*found)(pid_t pid, const char *path, void *arg), void *arg)
{
	char path[LP_PLACE_MAX];
	DIR *d = dir[0] ? opendir(dir) : NULL;

	for (struct dirent *e; d && (e = readdir(d));) {
		pid_t pid = number_of(e->d_name);

		if (pid && (size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < sizeof path)
			found(pid, path, arg);
	}
	if (d)
		closedir(d);
}

static bool is_session_of_its_own(uid_t uid)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	char usual[64];

	snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)uid);
	return xdg && xdg[0] == '/' && strcmp(xdg, usual) != 0;
}

void lp_place_each(const struct lp_family *f, uid_t uid, void (*found)(pid_t pid, const char *path, void *arg),
		   void *arg)
{
	char dir[LP_PLACE_MAX];

	for (unsigned i = 0; lp_place_directory(f, i, uid, dir); i++) {
		each_in(dir, found, arg);
		if (is_session_of_its_own(uid))
			break;
	}
}

void lp_place_sweep(const struct lp_family *f, const char *primary)
{
	char *dir = lp_strdup(primary);
	unsigned buried = 0;

	*strrchr(dir, '/') = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; d && buried < BURIALS_MAX && (e = readdir(d));) {
		pid_t pid = number_of(e->d_name);

		if (!pid || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		bury(f, dir, e->d_name, pid);
		buried++;
	}
	if (d)
		closedir(d);
	lp_free(dir);
}
