/* Where the translation cache is, and who may see to it. */
#include "jit/cache_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"

enum { YOUNG_S = 24 * 3600, LEFT_BEHIND_S = 3600 };
#define TEMPORARY ".new-"

/* ---- the folder ---- */

/* NULL: nobody says where. */
static char *home_of_caches(void)
{
	const char *xdg = secure_getenv("XDG_CACHE_HOME"), *home = secure_getenv("HOME");

	if (xdg && *xdg == '/')
		return lp_strdup(xdg);
	return home && *home == '/' ? lp_sprintf("%s/.cache", home) : NULL;
}

static bool is_ours_alone(const struct stat *st)
{
	return st->st_uid == geteuid() && !(st->st_mode & 077);
}

/* The folder of all caches; NULL: there is none for us. */
static char *find_home(struct lp_err *err)
{
	uid_t uid, euid, suid;
	gid_t gid, egid, sgid;
	char *home;

	getresuid(&uid, &euid, &suid);
	getresgid(&gid, &egid, &sgid);
	if (uid != euid || gid != egid || getauxval(AT_SECURE)) {
		lp_fail(err, EPERM, "no translation cache: this runner has other rights than who started it");
		return NULL;
	}
	home = home_of_caches();
	if (!home)
		lp_fail(err, ENOENT, "no translation cache: neither XDG_CACHE_HOME nor HOME says where");
	return home;
}

static int refuse(const char *name, struct lp_err *err)
{
	return lp_fail(
		err, EPERM,
		"no translation cache: its folder \"%s\" has to be this user's, and nobody else may have rights to "
		"it (chmod 0700)",
		name);
}

/* One of the folders: its descriptor, or -errno.  at is closed. */
static int enter(int at, const char *name, bool makes, struct lp_err *err)
{
	struct stat st;
	int fd;

	if (makes && mkdirat(at, name, 0700) && errno != EEXIST)
		fd = -errno;
	else
		fd = lp_fd_aside(openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (fd == -1)
		fd = -errno;
	close(at);
	if (fd < 0)
		return lp_fail_sys(err, -fd, "no translation cache: %s in the folder of caches", name);
	if (fstat(fd, &st) == 0 && is_ours_alone(&st))
		return fd;
	close(fd);
	return refuse(name, err);
}

int lp_cache_dir_look(struct lp_err *err)
{
	static const char *const names[] = {"livepatch", "livepatch/arm64"};
	char *home = find_home(err);
	int rc = home ? 0 : err->code;

	for (unsigned i = 0; i < LP_ARRAY_SIZE(names) && rc == 0; i++) {
		char *path = lp_sprintf("%s/%s", home, names[i]);
		struct stat st;
		if (lstat(path, &st))
			rc = errno == ENOENT ? 0 : lp_fail_sys(err, errno, "no translation cache: %s", path);
		else if (!S_ISDIR(st.st_mode) || !is_ours_alone(&st))
			rc = refuse(path, err);
		lp_free(path);
	}
	lp_free(home);
	return rc;
}

int lp_cache_dir_open(bool makes, struct lp_err *err)
{
	struct lp_err none;
	char *home = find_home(err ? err : (err = &none));
	int fd;

	if (!home)
		return err->code;
	if (makes && mkdir(home, 0700) && errno != EEXIST)
		fd = -1;
	else
		fd = lp_fd_aside(open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		fd = lp_fail_sys(err, errno, "no translation cache: %s", home);
	lp_free(home);
	if (fd >= 0)
		fd = enter(fd, "livepatch", makes, err);
	return fd < 0 ? fd : enter(fd, "arm64", makes, err);
}

/* ---- its files ---- */

int lp_cache_dir_read(const char *name)
{
	char *home = home_of_caches();
	char *path = home ? lp_sprintf("%s/livepatch/arm64/%s", home, name) : NULL;
	int fd = path ? lp_cache_dir_file(AT_FDCWD, path) : -ENOENT;

	lp_free(home);
	lp_free(path);
	return fd;
}

int lp_cache_dir_file(int dir, const char *name)
{
	int fd = lp_fd_aside(openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !is_ours_alone(&st)) {
		close(fd);
		return -EPERM;
	}
	if (time(NULL) - st.st_mtime > YOUNG_S)
		(void)futimens(fd, NULL); /* a folder that cannot be written to is good as well */
	return fd;
}

int lp_cache_dir_new(int dir, char temporary[LP_CACHE_NAME_MAX])
{
	static _Atomic unsigned turn;
	int fd;

	snprintf(temporary, LP_CACHE_NAME_MAX, TEMPORARY "%d-%u", (int)getpid(), turn++);
	unlinkat(dir, temporary, 0); /* of one that was killed */
	fd = lp_fd_aside(openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
	return fd < 0 ? -errno : fd;
}

int lp_cache_dir_rename(int dir, const char *temporary, const char *name)
{
	int rc = renameat(dir, temporary, dir, name) ? -errno : 0;

	if (rc)
		unlinkat(dir, temporary, 0);
	return rc;
}

void lp_cache_dir_remove(int dir, const char *name)
{
	unlinkat(dir, name, 0);
}

/* ---- its size ---- */

struct entry {
	char name[LP_CACHE_NAME_MAX];
	time_t when;
	uint64_t bytes;
};

static int older_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->when > y->when) - (x->when < y->when);
}

/* What somebody was writing when he was killed goes at once. */
static bool was_left_behind(const struct entry *e)
{
	return !strncmp(e->name, TEMPORARY, sizeof TEMPORARY - 1) && time(NULL) - e->when > LEFT_BEHIND_S;
}

static bool look_at(int dir, const char *name, struct entry *e)
{
	struct stat st;

	if (strlen(name) >= sizeof e->name || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return false;
	*e = (struct entry){.when = st.st_mtime, .bytes = (uint64_t)st.st_blocks * 512};
	snprintf(e->name, sizeof e->name, "%s", name);
	return true;
}

void lp_cache_dir_limit(int dir, uint64_t bytes)
{
	LP_VEC(struct entry) list = {0};
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = again < 0 ? NULL : fdopendir(again);
	uint64_t sum = 0;

	if (!d) {
		lp_close(again);
		return;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		struct entry e;
		if (!look_at(dir, de->d_name, &e))
			continue;
		if (was_left_behind(&e)) {
			unlinkat(dir, e.name, 0);
			continue;
		}
		sum += e.bytes;
		lp_vec_push(&list, e);
	}
	closedir(d);
	if (sum > bytes)
		qsort(list.items, list.nr, sizeof list.items[0], older_first);
	for (size_t i = 0; i < list.nr && sum > bytes; i++) {
		unlinkat(dir, list.items[i].name, 0);
		sum -= list.items[i].bytes;
	}
	lp_vec_free(&list);
}
