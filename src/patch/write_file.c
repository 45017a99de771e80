/*
 * A file put in the place of another: written beside it under a name that
 * nobody can guess, made durable, renamed over it, and the directory made
 * durable too.  Whoever opens the file sees the old one or the new one, whole.
 *
 * A symbolic link stays; the file that it leads to is replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "patch/patch.h"

#define LINKS_MAX 40 /* as the kernel's own limit */
#define MODE_NEW 0666
#define TRIES 16

/* The file to replace: a name in a directory that is held open. */
struct place {
	int dir;
	char *name;
	char *path; /* for messages */
	char draft[32];
	bool exists;
	struct stat old;
};

/* ---- where it is ---- */

/* A link's text, as long as it is; NULL (errno) when the path is no link. */
static char *read_link(const char *path)
{
	char text[4096];
	ssize_t len = readlink(path, text, sizeof text);
	if (len < 0)
		return NULL;
	if ((size_t)len == sizeof text) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	text[len] = 0;
	return lp_strdup(text);
}

/* What the link in the directory of `path` means. */
static char *beside(const char *path, const char *link)
{
	const char *slash = strrchr(path, '/');
	if (link[0] == '/' || !slash)
		return lp_strdup(link);
	return lp_sprintf("%.*s/%s", (int)(slash - path), path, link);
}

/* Follows links by hand: one that dangles says where the new file belongs. */
static int follow(char **path, struct lp_err *err)
{
	for (int i = 0; i < LINKS_MAX; i++) {
		char *link = read_link(*path);
		if (!link && (errno == EINVAL || errno == ENOENT))
			return 0;
		if (!link)
			return lp_fail_sys(err, errno, "cannot look at %s", *path);
		char *next = beside(*path, link);
		lp_free(link);
		lp_free(*path);
		*path = next;
	}
	return lp_fail_sys(err, ELOOP, "cannot follow %s", *path);
}

static int look_at_old(struct place *p, struct lp_err *err)
{
	p->exists = fstatat(p->dir, p->name, &p->old, AT_SYMLINK_NOFOLLOW) == 0;
	if (!p->exists && errno != ENOENT)
		return lp_fail_sys(err, errno, "cannot look at %s", p->path);
	if (p->exists && !S_ISREG(p->old.st_mode))
		return lp_fail(err, EINVAL, "%s is not a regular file", p->path);
	return 0;
}

static int open_place(struct place *p, const char *path, struct lp_err *err)
{
	*p = (struct place){.dir = -1, .path = lp_strdup(path)};
	int rc = follow(&p->path, err);
	if (rc < 0)
		return rc;
	const char *slash = strrchr(p->path, '/');
	p->name = lp_strdup(slash ? slash + 1 : p->path);
	if (!p->name[0])
		return lp_fail_sys(err, EISDIR, "cannot write %s", p->path);
	char *dir = slash ? lp_sprintf("%.*s/", (int)(slash - p->path), p->path) : lp_strdup(".");
	p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		rc = lp_fail_sys(err, errno, "cannot open the directory of %s", p->path);
	lp_free(dir);
	return rc < 0 ? rc : look_at_old(p, err);
}

static void close_place(struct place *p)
{
	lp_close(p->dir);
	lp_free(p->name);
	lp_free(p->path);
}

/* ---- the draft ---- */

static int create_draft(struct place *p, struct lp_err *err)
{
	mode_t mode = p->exists ? 0600 : MODE_NEW;
	for (int i = 0; i < TRIES; i++) {
		uint64_t random;
		if (getrandom(&random, sizeof random, 0) != sizeof random)
			return lp_fail_sys(err, errno, "no random numbers");
		snprintf(p->draft, sizeof p->draft, ".%016" PRIx64 ".tmp", random);
		int fd = openat(p->dir, p->draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			break;
	}
	p->draft[0] = 0;
	return lp_fail_sys(err, errno, "cannot create a file beside %s", p->path);
}

/* The owner first: changing it takes set-id bits away. */
static int keep_attributes(const struct place *p, int fd, struct lp_err *err)
{
	struct stat now;
	if (!p->exists)
		return 0;
	if (fstat(fd, &now) < 0)
		return lp_fail_sys(err, errno, "cannot stat the draft of %s", p->path);
	bool same = now.st_uid == p->old.st_uid && now.st_gid == p->old.st_gid;
	if (!same && fchown(fd, p->old.st_uid, p->old.st_gid) < 0)
		return lp_fail_sys(err, errno, "cannot keep the owner of %s", p->path);
	if (fchmod(fd, p->old.st_mode & 07777) < 0)
		return lp_fail_sys(err, errno, "cannot keep the mode of %s", p->path);
	return 0;
}

static int fill_draft(const struct place *p, int fd, const struct lp_buf *content, struct lp_err *err)
{
	int rc = lp_pwrite_full(fd, content->data, content->len, 0);
	if (rc < 0)
		return lp_fail_sys(err, rc, "cannot write %s", p->path);
	rc = keep_attributes(p, fd, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = lp_fail_sys(err, errno, "cannot write %s to its disk", p->path);
	return rc;
}

static int write_draft(struct place *p, const struct lp_buf *content, struct lp_err *err)
{
	int fd = create_draft(p, err);
	if (fd < 0)
		return fd;
	int rc = fill_draft(p, fd, content, err);
	if (close(fd) < 0 && rc == 0)
		rc = lp_fail_sys(err, errno, "cannot write %s", p->path);
	return rc;
}

/* ---- the switch ---- */

static int put_in_place(struct place *p, struct lp_err *err)
{
	if (renameat(p->dir, p->draft, p->dir, p->name) < 0)
		return lp_fail_sys(err, errno, "cannot replace %s", p->path);
	p->draft[0] = 0;
	if (fsync(p->dir) < 0 && errno != EINVAL) /* a file system that has nothing to sync says so */
		return lp_fail_sys(err, errno, "%s is replaced, but its directory may not have reached the disk",
				   p->path);
	return 0;
}

int lp_patch_save(const char *path, const struct lp_buf *content, struct lp_err *err)
{
	struct place p;
	int rc = open_place(&p, path, err);
	if (rc == 0)
		rc = write_draft(&p, content, err);
	if (rc == 0)
		rc = put_in_place(&p, err);
	if (p.draft[0])
		unlinkat(p.dir, p.draft, 0);
	close_place(&p);
	return rc;
}
