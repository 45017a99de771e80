/*
 * A runner is found by its executable: after the replacement that of a runner
 * of before is called "PROGRAM (deleted)", or is what previous/ keeps.
 */
#include "update/tell.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control.h"
#include "control/places.h"
#include "update/names.h"

#define PATIENCE_MS 500

static const struct lp_family family = {.name = LP_PRODUCT};

static bool runs(pid_t pid, const char *program)
{
	static const char deleted[] = " (deleted)";
	char link[64], exe[PATH_MAX];
	size_t len = strlen(program);
	ssize_t n;

	snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
	n = readlink(link, exe, sizeof exe - 1);
	if (n < (ssize_t)len)
		return false;
	exe[n] = 0;
	return !strncmp(exe, program, len) && (!exe[len] || !strcmp(exe + len, deleted));
}

static bool user_of(pid_t pid, uid_t *out)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	if (stat(path, &st))
		return false;
	*out = st.st_uid;
	return true;
}

static bool connect_to(pid_t pid, struct lp_control_client *client)
{
	char path[256];
	uid_t uid;

	if (!user_of(pid, &uid) || (geteuid() && uid != geteuid()))
		return false;
	for (unsigned i = 0; lp_place_candidate(&family, i, "", uid, pid, path, sizeof path); i++)
		if (path[0] && lp_control_connect(path, pid, PATIENCE_MS, client, NULL) >= 0)
			return true;
	return false;
}

static bool says_ok(const struct lp_buf *reply)
{
	return strstr((const char *)reply->data, "\"ok\":true") || strstr((const char *)reply->data, "\"ok\": true");
}

static bool tell(pid_t pid, const struct lp_version *installed)
{
	char version[LP_VERSION_TEXT];
	const char *words[] = {"update", "installed", lp_version_text(installed, version)};
	struct lp_control_client client;
	struct lp_buf reply = {0};
	bool told;

	if (!connect_to(pid, &client))
		return false;
	told = lp_control_ask(&client, words, 3, true, PATIENCE_MS, &reply, NULL) == 0 && reply.len && says_ok(&reply);
	lp_control_close(&client);
	lp_buf_free(&reply);
	return told;
}

unsigned lp_update_tell(const char *program, const struct lp_version *installed)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	unsigned nr = 0;

	while (proc && (e = readdir(proc))) {
		char *end;
		long pid = strtol(e->d_name, &end, 10);
		if (!*end && pid > 0 && pid <= INT_MAX && runs((pid_t)pid, program))
			nr += tell((pid_t)pid, installed);
	}
	if (proc)
		closedir(proc);
	return nr;
}
