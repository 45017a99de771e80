#include "agent/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_MODE 0700

#define TEMPORARY "/tmp/hotpatch-%u"

enum { NR_DIRECTORIES = 4 };

/* The i-th directory; "" when there is none of that kind. */
static void directory(unsigned i, uid_t uid, const char *xdg, char out[LP_PLACE_MAX])
{
	int len = 0;

	out[0] = 0;
	switch (i) {
	case 0:
		if (xdg && xdg[0] == '/')
			len = snprintf(out, LP_PLACE_MAX, "%s/hotpatch", xdg);
		break;
	case 1:
		len = snprintf(out, LP_PLACE_MAX, "/run/user/%u/hotpatch", (unsigned)uid);
		break;
	case 2:
		if (!uid)
			len = snprintf(out, LP_PLACE_MAX, "/run/hotpatch");
		break;
	default:
		len = snprintf(out, LP_PLACE_MAX, TEMPORARY, (unsigned)uid);
	}
	if (len < 0 || len >= LP_PLACE_MAX - 24) /* room for the socket's own name */
		out[0] = 0;
}

/* Ours, and nobody else's: somebody may have been here before us. */
static bool is_private(const char *path, uid_t uid)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid && !(st.st_mode & 077);
}

/* An umask can leave even the owner nothing of a directory that is new. */
static bool make_directory(const char *path)
{
	return mkdir(path, OWN_MODE) == 0 ? chmod(path, OWN_MODE) == 0 : errno == EEXIST;
}

/* ---- when somebody else has all of their names: one that nobody could guess ---- */

/* The nr-th of the user's, as they lie in /tmp. */
static bool find_spare(unsigned nr, const char *root, uid_t uid, char out[LP_PLACE_MAX])
{
	char prefix[32], tmp[LP_PLACE_MAX];
	bool found = false;

	snprintf(prefix, sizeof prefix, "hotpatch-%u.", (unsigned)uid);
	snprintf(tmp, sizeof tmp, "%s/tmp", root);
	DIR *d = opendir(tmp);
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || strlen(e->d_name) != strlen(prefix) + 6)
			continue;
		int len = snprintf(out, LP_PLACE_MAX, "%s/%s", tmp, e->d_name);
		found = len < LP_PLACE_MAX && is_private(out, uid) && !nr--;
	}
	if (d)
		closedir(d);
	return found;
}

static bool make_spare(uid_t uid, char out[LP_PLACE_MAX])
{
	snprintf(out, LP_PLACE_MAX, TEMPORARY ".XXXXXX", (unsigned)uid);
	return mkdtemp(out) && chmod(out, OWN_MODE) == 0;
}

/* ---- the agent's side ---- */

static bool has_directory(uid_t uid, char dir[LP_PLACE_MAX])
{
	for (unsigned i = 0; i < NR_DIRECTORIES; i++) {
		directory(i, uid, secure_getenv("XDG_RUNTIME_DIR"), dir);
		if (dir[0] && make_directory(dir) && is_private(dir, uid))
			return true;
	}
	return find_spare(0, "", uid, dir) || make_spare(uid, dir);
}

bool lp_place_make(uid_t uid, pid_t pid, char out[LP_PLACE_MAX])
{
	char dir[LP_PLACE_MAX];

	return has_directory(uid, dir) && snprintf(out, LP_PLACE_MAX, "%s/%d.sock", dir, (int)pid) < LP_PLACE_MAX;
}

/* ---- the client's side ---- */

bool lp_place_candidate(unsigned i, const char *root, uid_t uid, pid_t pid, char *out, size_t size)
{
	char dir[LP_PLACE_MAX];
	int len = 0;

	out[0] = 0;
	if (i < NR_DIRECTORIES) {
		directory(i, uid, getenv("XDG_RUNTIME_DIR"), dir);
		len = dir[0] ? snprintf(out, size, "%s%s/%d.sock", root, dir, (int)pid) : 0;
	} else if (i == NR_DIRECTORIES) {
		len = snprintf(out, size, "%s" LP_PLACE_LEGACY, root, (int)pid);
	} else {
		if (!find_spare(i - NR_DIRECTORIES - 1, root, uid, dir))
			return false;
		len = snprintf(out, size, "%s/%d.sock", dir, (int)pid);
	}
	if (len < 0 || (size_t)len >= size)
		out[0] = 0;
	return true;
}
