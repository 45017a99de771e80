#include "agent/places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_MODE 0700

/* The i-th directory; "" when there is none of that kind, false beyond the last. */
static bool directory(unsigned i, uid_t uid, const char *xdg, char out[LP_PLACE_MAX])
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
	case 3:
		len = snprintf(out, LP_PLACE_MAX, "/tmp/hotpatch-%u", (unsigned)uid);
		break;
	default:
		return false;
	}
	if (len < 0 || len >= LP_PLACE_MAX - 24) /* room for the socket's own name */
		out[0] = 0;
	return true;
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

bool lp_place_make(uid_t uid, pid_t pid, char out[LP_PLACE_MAX])
{
	char dir[LP_PLACE_MAX];

	for (unsigned i = 0; directory(i, uid, secure_getenv("XDG_RUNTIME_DIR"), dir); i++) {
		if (!dir[0] || !make_directory(dir) || !is_private(dir, uid))
			continue;
		if (snprintf(out, LP_PLACE_MAX, "%s/%d.sock", dir, (int)pid) < LP_PLACE_MAX)
			return true;
	}
	return false;
}

bool lp_place_candidate(unsigned i, const char *root, uid_t uid, pid_t pid, char *out, size_t size)
{
	char dir[LP_PLACE_MAX];
	int len;

	out[0] = 0;
	if (directory(i, uid, getenv("XDG_RUNTIME_DIR"), dir))
		len = dir[0] ? snprintf(out, size, "%s%s/%d.sock", root, dir, (int)pid) : 0;
	else if (!directory(i - 1, uid, NULL, dir) || !i)
		return false;
	else
		len = snprintf(out, size, "%s" LP_PLACE_LEGACY, root, (int)pid);
	if (len < 0 || (size_t)len >= size)
		out[0] = 0;
	return true;
}
