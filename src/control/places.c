#include "control/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_MODE 0700

#define TEMPORARY "/tmp/%s-%u"

enum { NR_DIRECTORIES = 4 };

/* The i-th directory; "" when there is none of that kind. */
static void directory(const struct lp_family *f, unsigned i, uid_t uid, const char *xdg, char out[LP_PLACE_MAX])
{
	int len = 0;

	out[0] = 0;
	switch (i) {
	case 0:
		if (xdg && xdg[0] == '/')
			len = snprintf(out, LP_PLACE_MAX, "%s/%s", xdg, f->name);
		break;
	case 1:
		len = snprintf(out, LP_PLACE_MAX, "/run/user/%u/%s", (unsigned)uid, f->name);
		break;
	case 2:
		if (!uid)
			len = snprintf(out, LP_PLACE_MAX, "/run/%s", f->name);
		break;
	default:
		len = snprintf(out, LP_PLACE_MAX, TEMPORARY, f->name, (unsigned)uid);
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
static bool find_spare(const struct lp_family *f, unsigned nr, const char *root, uid_t uid, char out[LP_PLACE_MAX])
{
	char prefix[LP_PLACE_MAX], tmp[LP_PLACE_MAX];
	bool found = false;

	snprintf(prefix, sizeof prefix, "%s-%u.", f->name, (unsigned)uid);
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

static bool make_spare(const struct lp_family *f, uid_t uid, char out[LP_PLACE_MAX])
{
	snprintf(out, LP_PLACE_MAX, TEMPORARY ".XXXXXX", f->name, (unsigned)uid);
	return mkdtemp(out) && chmod(out, OWN_MODE) == 0;
}

/* ---- the program's side ---- */

static bool has_directory(const struct lp_family *f, uid_t uid, char dir[LP_PLACE_MAX])
{
	for (unsigned i = 0; i < NR_DIRECTORIES; i++) {
		directory(f, i, uid, secure_getenv("XDG_RUNTIME_DIR"), dir);
		if (dir[0] && make_directory(dir) && is_private(dir, uid))
			return true;
	}
	return find_spare(f, 0, "", uid, dir) || make_spare(f, uid, dir);
}

bool lp_place_make(const struct lp_family *f, uid_t uid, pid_t pid, char out[LP_PLACE_MAX])
{
	char dir[LP_PLACE_MAX];

	return has_directory(f, uid, dir) && snprintf(out, LP_PLACE_MAX, "%s/%d.sock", dir, (int)pid) < LP_PLACE_MAX;
}

/* ---- the client's side ---- */

bool lp_place_directory(const struct lp_family *f, unsigned i, uid_t uid, char out[LP_PLACE_MAX])
{
	if (i >= NR_DIRECTORIES)
		return find_spare(f, i - NR_DIRECTORIES, "", uid, out);
	directory(f, i, uid, getenv("XDG_RUNTIME_DIR"), out);
	return true;
}

bool lp_place_candidate(const struct lp_family *f, unsigned i, const char *root, uid_t uid, pid_t pid, char *out,
			size_t size)
{
	char dir[LP_PLACE_MAX];
	int len = 0;

	out[0] = 0;
	if (i < NR_DIRECTORIES) {
		directory(f, i, uid, getenv("XDG_RUNTIME_DIR"), dir);
		len = dir[0] ? snprintf(out, size, "%s%s/%d.sock", root, dir, (int)pid) : 0;
	} else if (i == NR_DIRECTORIES) {
		len = f->has_legacy ? snprintf(out, size, "%s" LP_PLACE_LEGACY, root, (int)pid) : 0;
	} else {
		if (!find_spare(f, i - NR_DIRECTORIES - 1, root, uid, dir))
			return false;
		len = snprintf(out, size, "%s/%d.sock", dir, (int)pid);
	}
	if (len < 0 || (size_t)len >= size)
		out[0] = 0;
	return true;
}
