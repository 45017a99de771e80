#include "update/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"

#define PATH_LONGEST 512
#define RATIO_FROM (UINT64_C(1) << 20)

const struct lp_unpack_limits lp_unpack_usual = {.entries = 4096, .bytes = UINT64_C(1) << 30, .ratio = 200};

typedef LP_VEC(char *) name_vec;

struct unpacking {
	struct archive *archive;
	const char *top;
	int folder;
	bool (*wants)(const char *name);
	const struct lp_unpack_limits *limits;
	size_t packed;
	uint64_t bytes;
	unsigned entries;
	name_vec seen; /* files */
};

/* ---- what an entry may be ---- */

static int refuse(struct lp_err *err, const char *path, const char *what)
{
	return lp_fail(err, LP_EARCHIVE, "the archive is refused: %s %s", path, what);
}

static bool has_control(const char *path)
{
	for (; *path; path++)
		if ((unsigned char)*path < ' ' || *path == 127)
			return true;
	return false;
}

static bool climbs(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return true;
	}
	return false;
}

/* Where it is below TOP; "" is TOP itself; NULL: elsewhere. */
static const char *below(const char *path, const char *top)
{
	size_t len = strlen(top);

	if (strncmp(path, top, len) != 0 || (path[len] && path[len] != '/'))
		return NULL;
	path += len;
	return path + strspn(path, "/");
}

static int check_path(const struct unpacking *u, const char *path, struct lp_err *err)
{
	if (has_control(path))
		return refuse(err, "an entry", "has control characters in its name");
	if (strlen(path) > PATH_LONGEST)
		return refuse(err, "an entry", "has too long a name");
	if (*path == '/')
		return refuse(err, path, "is an absolute path");
	if (climbs(path))
		return refuse(err, path, "leads out of it (..)");
	if (!below(path, u->top))
		return lp_fail(err, LP_EARCHIVE, "the archive is refused: %s is not below %s/", path, u->top);
	return 0;
}

static const char *odd_type(mode_t type)
{
	switch (type) {
	case AE_IFLNK:
		return "is a symbolic link";
	case AE_IFCHR:
	case AE_IFBLK:
		return "is a device";
	case AE_IFIFO:
		return "is a pipe";
	case AE_IFSOCK:
		return "is a socket";
	default:
		return "is neither file nor folder";
	}
}

static int check_kind(struct archive_entry *e, const char *path, struct lp_err *err)
{
	mode_t type = archive_entry_filetype(e);

	if (archive_entry_hardlink(e))
		return refuse(err, path, "is a hard link");
	if (archive_entry_symlink(e) || (type != AE_IFREG && type != AE_IFDIR))
		return refuse(err, path, odd_type(type));
	if (archive_entry_perm(e) & (S_ISUID | S_ISGID))
		return refuse(err, path, "is set-user-ID or set-group-ID");
	return 0;
}

static int check_once(struct unpacking *u, const char *path, struct lp_err *err)
{
	for (size_t i = 0; i < u->seen.nr; i++)
		if (!strcmp(u->seen.items[i], path))
			return refuse(err, path, "is there twice");
	lp_vec_push(&u->seen, lp_strdup(path));
	return 0;
}

/* ---- contents ---- */

static int count(struct unpacking *u, size_t len, struct lp_err *err)
{
	u->bytes += len;
	if (u->bytes > u->limits->bytes)
		return lp_fail(err, LP_EARCHIVE, "the archive is refused: it unpacks to more than %" PRIu64 " bytes",
			       u->limits->bytes);
	if (u->bytes > RATIO_FROM && u->bytes / u->limits->ratio > u->packed)
		return lp_fail(err, LP_EARCHIVE, "the archive is refused: it unpacks to more than %u times its size",
			       u->limits->ratio);
	return 0;
}

static int damaged(struct unpacking *u, struct lp_err *err)
{
	const char *why = archive_error_string(u->archive);

	return lp_fail(err, LP_EARCHIVE, "the archive is damaged: %s", why ? why : "it cannot be read");
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Also of files that nobody wants: a bomb is one whether it is written or not.  fd -1: that. */
static int read_contents(struct unpacking *u, int fd, const char *path, struct lp_err *err)
{
	char chunk[65536];
	la_ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = archive_read_data(u->archive, chunk, sizeof chunk)) != 0) {
		if (n < 0)
			return damaged(u, err);
		rc = count(u, (size_t)n, err);
		if (rc == 0 && fd >= 0) {
			rc = write_all(fd, chunk, (size_t)n);
			rc = rc ? lp_fail_sys(err, rc, "cannot unpack %s", path) : 0;
		}
	}
	return rc;
}

static int write_file(struct unpacking *u, struct archive_entry *e, const char *name, struct lp_err *err)
{
	mode_t mode = archive_entry_perm(e) & 0111 ? 0755 : 0644;
	int fd = openat(u->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode), rc;

	if (fd < 0 && errno == EEXIST) /* with another number of slashes */
		return refuse(err, name, "is there twice");
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot unpack %s", name);
	rc = read_contents(u, fd, name, err);
	if (rc == 0 && (fchmod(fd, mode) || fsync(fd)))
		rc = lp_fail_sys(err, errno, "cannot unpack %s", name);
	if (close(fd) && rc == 0)
		rc = lp_fail_sys(err, errno, "cannot unpack %s", name);
	return rc;
}

/* ---- entries ---- */

static int take_file(struct unpacking *u, struct archive_entry *e, const char *path, struct lp_err *err)
{
	const char *name = below(path, u->top);
	int rc = check_once(u, path, err);

	if (rc == 0 && !*name)
		rc = refuse(err, path, "is no folder");
	if (rc)
		return rc;
	return !strchr(name, '/') && u->wants(name) ? write_file(u, e, name, err) : read_contents(u, -1, path, err);
}

static int take_entry(struct unpacking *u, struct archive_entry *e, struct lp_err *err)
{
	const char *path = archive_entry_pathname(e);
	mode_t type = archive_entry_filetype(e);
	int rc;

	if (++u->entries > u->limits->entries)
		return lp_fail(err, LP_EARCHIVE, "the archive is refused: it has more than %u entries",
			       u->limits->entries);
	if (!path)
		return refuse(err, "an entry", "has a name that is none");
	while (!strncmp(path, "./", 2))
		path += 2 + strspn(path + 2, "/");
	if (type == AE_IFDIR && (!*path || !strcmp(path, ".")))
		return 0;
	rc = check_path(u, path, err);
	rc = rc ? rc : check_kind(e, path, err);
	return rc || type == AE_IFDIR ? rc : take_file(u, e, path, err);
}

static int take_all(struct unpacking *u, struct lp_err *err)
{
	struct archive_entry *e;
	int rc = 0, status;

	while (rc == 0 && (status = archive_read_next_header(u->archive, &e)) != ARCHIVE_EOF)
		rc = status == ARCHIVE_OK || status == ARCHIVE_WARN ? take_entry(u, e, err) : damaged(u, err);
	return rc;
}

static int open_archive(struct unpacking *u, const void *data, size_t size, struct lp_err *err)
{
	u->archive = archive_read_new();
	if (!u->archive)
		return lp_fail(err, ENOMEM, "there is no memory for the archive");
	if (archive_read_support_filter_gzip(u->archive) || archive_read_support_format_tar(u->archive) ||
	    archive_read_open_memory(u->archive, data, size))
		return damaged(u, err);
	return 0;
}

int lp_unpack(const void *data, size_t size, const char *top, int folder, bool (*wants)(const char *name),
	      const struct lp_unpack_limits *limits, struct lp_err *err)
{
	struct unpacking u = {.top = top, .folder = folder, .wants = wants, .limits = limits, .packed = size};
	int rc = open_archive(&u, data, size, err);

	rc = rc ? rc : take_all(&u, err);
	if (rc == 0 && u.seen.nr == 0)
		rc = lp_fail(err, LP_EARCHIVE, "the archive is refused: there is nothing in it");
	archive_read_free(u.archive);
	for (size_t i = 0; i < u.seen.nr; i++)
		lp_free(u.seen.items[i]);
	lp_vec_free(&u.seen);
	return rc;
}
