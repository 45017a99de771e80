#include "build/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "build/remove.h"
#include "build/tree.h"

#define UNUSED_S (30 * 24 * 3600)

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool has(const char *dir, const char *name)
{
	char *path = lp_sprintf("%s/%s", dir, name);
	bool is = exists(path);
	lp_free(path);
	return is;
}

/* ---- the root ---- */

static char *default_root(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (cache && cache[0] == '/')
		return lp_sprintf("%s/livepatch/build", cache);
	return home && home[0] == '/' ? lp_sprintf("%s/.cache/livepatch/build", home) : NULL;
}

/* What lies here becomes code in a process: nobody else may have a hand in it. */
static int check_owner(const char *dir, struct lp_err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0)
		return lp_fail_sys(err, errno, "cannot look at %s", dir);
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return lp_fail(err, LP_EPERM,
			       "others may write to the cache directory %s; name another one with --cache", dir);
	return 0;
}

int lp_cache_root(char **out, const char *wish, struct lp_err *err)
{
	char *root = wish ? lp_strdup(wish) : default_root();
	*out = NULL;
	if (!root)
		return lp_fail(
			err, LP_EUSAGE,
			"neither XDG_CACHE_HOME nor HOME says where to keep builds; name a directory with --cache");
	int rc = lp_make_dirs(root, err);
	if (rc == 0)
		rc = check_owner(root, err);
	if (rc == 0 && !(*out = realpath(root, NULL)))
		rc = lp_fail_sys(err, errno, "cannot find %s", root);
	lp_free(root);
	return rc;
}

/* ---- one key ---- */

static int take_lock(int fd, const volatile sig_atomic_t *interrupted, const char *dir, struct lp_err *err)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	lp_info("another build works on the same tree; waiting for it");
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return lp_fail_sys(err, errno, "cannot lock %s", dir);
		if (interrupted && *interrupted)
			return lp_fail(err, LP_EINTERRUPTED,
				       "interrupted while waiting for another build of the same tree");
	}
	return 0;
}

static int open_lock(struct lp_cache *c, const volatile sig_atomic_t *interrupted, struct lp_err *err)
{
	char *path = lp_sprintf("%s/lock", c->dir);
	int rc = -EAGAIN;
	while (rc == -EAGAIN) {
		struct stat held, named;
		rc = lp_make_dirs(c->dir, err);
		c->lock = rc < 0 ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (rc == 0 && c->lock < 0) {
			rc = errno == ENOENT ? -EAGAIN : lp_fail_sys(err, errno, "cannot open %s", path);
			continue;
		}
		if (rc == 0)
			rc = take_lock(c->lock, interrupted, c->dir, err);
		/* Swept away while we waited? */
		if (rc == 0 && (fstat(c->lock, &held) < 0 || stat(path, &named) < 0 || held.st_ino != named.st_ino)) {
			lp_close(c->lock);
			rc = -EAGAIN;
		}
	}
	lp_free(path);
	return rc;
}

static int move(const char *from, const char *to, struct lp_err *err)
{
	return rename(from, to) < 0 ? lp_fail_sys(err, errno, "cannot rename %s to %s", from, to) : 0;
}

/* After whatever happened to the last one: an original that stepped aside comes back, half-built things go. */
static int settle(struct lp_cache *c, bool keep_changed, struct lp_err *err)
{
	int rc = 0;
	if (exists(c->original)) {
		rc = lp_tree_remove(keep_changed && exists(c->here) ? c->changed : c->here, err);
		if (rc == 0 && exists(c->here))
			rc = move(c->here, c->changed, err);
		if (rc == 0)
			rc = move(c->original, c->here, err);
	}
	if (rc == 0 && !keep_changed)
		rc = lp_tree_remove(c->changed, err);
	if (rc == 0 && !has(c->here, "complete"))
		rc = lp_tree_remove(c->here, err);
	return rc;
}

static void name_places(struct lp_cache *c)
{
	c->here = lp_sprintf("%s/here", c->dir);
	c->original = lp_sprintf("%s/original", c->dir);
	c->changed = lp_sprintf("%s/changed", c->dir);
	c->bin = lp_sprintf("%s/bin", c->dir);
}

int lp_cache_open(struct lp_cache *out, const char *root, const struct lp_hash *key,
		  const volatile sig_atomic_t *interrupted, struct lp_err *err)
{
	char hex[2 * LP_HASH_SIZE + 1];
	lp_hash_hex(key, hex);
	*out = (struct lp_cache){.dir = lp_sprintf("%s/%s", root, hex), .lock = -1};
	name_places(out);
	int rc = open_lock(out, interrupted, err);
	if (rc == 0)
		rc = settle(out, false, err);
	if (rc == 0) {
		out->hit = has(out->here, "complete");
		futimens(out->lock, NULL); /* used just now */
	}
	return rc;
}

/* First what makes it whole: killed on the way, we leave nothing that somebody takes for an original. */
static void spoil(const char *dir)
{
	char *path = lp_sprintf("%s/complete", dir);
	unlink(path);
	lp_free(path);
}

int lp_cache_clear(struct lp_cache *c, struct lp_err *err)
{
	c->hit = false;
	spoil(c->here);
	return lp_tree_remove(c->here, err);
}

int lp_cache_complete(struct lp_cache *c, struct lp_err *err)
{
	char *path = lp_sprintf("%s/complete", c->here);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int rc = fd < 0 ? lp_fail_sys(err, errno, "cannot create %s", path) : 0;
	lp_close(fd);
	lp_free(path);
	return rc;
}

int lp_cache_set_aside(struct lp_cache *c, struct lp_err *err)
{
	return move(c->here, c->original, err);
}

int lp_cache_bring_back(struct lp_cache *c, struct lp_err *err)
{
	int rc = lp_tree_remove(c->changed, err);
	if (rc == 0)
		rc = move(c->here, c->changed, err);
	return rc < 0 ? rc : move(c->original, c->here, err);
}

void lp_cache_close(struct lp_cache *c, bool keep_changed)
{
	if (c->lock >= 0)
		settle(c, keep_changed, NULL);
	lp_close(c->lock);
	lp_free(c->dir);
	lp_free(c->here);
	lp_free(c->original);
	lp_free(c->changed);
	lp_free(c->bin);
	*c = (struct lp_cache){.lock = -1};
}

/* ---- the others ---- */

static bool is_stale(const char *here, const char *original, int lock)
{
	struct stat st;
	bool complete = has(here, "complete") || has(original, "complete");
	return !complete || (fstat(lock, &st) == 0 && time(NULL) - st.st_mtime > UNUSED_S);
}

/* The lock is made when it is not there: whoever swept here before and was killed may have begun with it. */
static void sweep_one(const char *dir)
{
	char *path = lp_sprintf("%s/lock", dir), *here = lp_sprintf("%s/here", dir),
	     *original = lp_sprintf("%s/original", dir);
	int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && is_stale(here, original, lock)) {
		spoil(here);
		spoil(original);
		lp_tree_remove(dir, NULL);
	}
	lp_close(lock);
	lp_free(path);
	lp_free(here);
	lp_free(original);
}

static bool is_key(const char *name)
{
	return strlen(name) == 2 * LP_HASH_SIZE && strspn(name, "0123456789abcdef") == 2 * LP_HASH_SIZE;
}

void lp_cache_sweep(const char *root, const char *but)
{
	struct dirent *e;
	DIR *dir = opendir(root);
	while (dir && (e = readdir(dir))) {
		char *path = lp_sprintf("%s/%s", root, e->d_name);
		if (is_key(e->d_name) && strcmp(path, but) != 0)
			sweep_one(path);
		lp_free(path);
	}
	if (dir)
		closedir(dir);
}
