#include "build/group.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"

#define TICK_MS 2

static void send_all(const pid_t *groups, size_t nr, int signal)
{
	for (size_t i = 0; i < nr; i++)
		kill(-groups[i], signal);
}

/* "PID (NAME) STATE PARENT GROUP ..."; a name may have any character in it.  false: it is gone. */
static bool read_stat(const char *pid, char *state, pid_t *group)
{
	char text[512], *path = lp_sprintf("/proc/%s/stat", pid), *end;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	lp_close(fd);
	lp_free(path);
	text[n > 0 ? n : 0] = 0;
	char *name_end = strrchr(text, ')');
	if (!name_end || strlen(name_end) < 4)
		return false;
	*state = name_end[2];
	strtol(name_end + 3, &end, 10);
	*group = (pid_t)strtol(end, NULL, 10);
	return true;
}

static bool is_among(const pid_t *groups, size_t nr, pid_t group)
{
	for (size_t i = 0; i < nr; i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool is_moving(const pid_t *groups, size_t nr, const char *pid)
{
	char state;
	pid_t group;
	return read_stat(pid, &state, &group) && is_among(groups, nr, group) && !strchr("TtZX", state);
}

static bool any_moving(const pid_t *groups, size_t nr)
{
	DIR *dir = opendir("/proc");
	bool moving = false;
	for (struct dirent *e; dir && !moving && (e = readdir(dir));)
		moving = e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_moving(groups, nr, e->d_name);
	if (dir)
		closedir(dir);
	return moving;
}

void lp_groups_terminate(const pid_t *groups, size_t nr)
{
	send_all(groups, nr, SIGSTOP);
	for (int ms = 0; ms < LP_GROUPS_FREEZE_MS && any_moving(groups, nr); ms += TICK_MS)
		poll(NULL, 0, TICK_MS);
	send_all(groups, nr, SIGTERM);
	send_all(groups, nr, SIGCONT);
}
