#include "update/patches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "update/state.h"
#include "update/unpack.h"

#define LIST ".pulled"
#define WORK ".pull"
#define LIST_MAX (1u << 20)
#define FILE_MAX ((size_t)64 << 20)
#define BUILD_ID_MIN 8 /* digits */
#define BUILD_ID_MAX 128

static const struct lp_unpack_limits limits = {.entries = 4096, .bytes = UINT64_C(1) << 30, .ratio = 200};

typedef LP_VEC(char *) name_vec;

struct lp_patches {
	char *path;
	int folder, work; /* descriptors */
	struct lp_version version;
	name_vec ours; /* files of the last set, sorted as they came */
};

/* ---- names ---- */

bool lp_patches_is_archive(const char *name, struct lp_version *out)
{
	static const char head[] = LP_PATCHES "-", tail[] = ".tar.gz";
	size_t len = strlen(name), around = strlen(head) + strlen(tail);
	char text[LP_VERSION_TEXT];

	if (len <= around || len - around >= sizeof text || strncmp(name, head, strlen(head)) != 0 ||
	    strcmp(name + len - strlen(tail), tail) != 0)
		return false;
	memcpy(text, name + strlen(head), len - around);
	text[len - around] = 0;
	return lp_version_read(text, out);
}

/* BUILDID.kpatch, BUILDID.json */
static bool is_patch(const char *name)
{
	size_t digits = strspn(name, "0123456789abcdef");

	return digits >= BUILD_ID_MIN && digits <= BUILD_ID_MAX && !(digits % 2) &&
	       (!strcmp(name + digits, ".kpatch") || !strcmp(name + digits, ".json"));
}

static bool has(const name_vec *names, const char *name)
{
	for (size_t i = 0; i < names->nr; i++)
		if (!strcmp(names->items[i], name))
			return true;
	return false;
}

static void free_names(name_vec *names)
{
	for (size_t i = 0; i < names->nr; i++)
		lp_free(names->items[i]);
	lp_vec_free(names);
}

/* ---- the list: the version, then a name a line ---- */

static int take_list(struct lp_patches *p, char *text, struct lp_err *err)
{
	char *end;

	for (char *line = text; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (line == text ? !lp_version_read(line, &p->version) : !is_patch(line))
			return lp_fail(err, LP_EFILE,
				       "%s/" LIST
				       " is damaged: it lists the patches that may be replaced; look at them, "
				       "and remove it with those that came from a release",
				       p->path);
		if (line != text)
			lp_vec_push(&p->ours, lp_strdup(line));
	}
	return 0;
}

static int read_list(struct lp_patches *p, struct lp_err *err)
{
	int fd = openat(p->folder, LIST, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;
	struct lp_buf text = {0};

	if (fd < 0)
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "%s/" LIST, p->path);
	rc = lp_read_fd(fd, &text, LIST_MAX, err);
	rc = rc ? rc : take_list(p, (char *)lp_buf_cstr(&text), err);
	lp_close(fd);
	lp_buf_free(&text);
	return rc;
}

static int write_list(struct lp_patches *p, const struct lp_version *version, const name_vec *names,
		      const name_vec *more, struct lp_err *err)
{
	char shown[LP_VERSION_TEXT];
	struct lp_buf text = {0};
	int rc;

	lp_buf_printf(&text, "%s\n", lp_version_text(version, shown));
	for (size_t i = 0; i < names->nr; i++)
		lp_buf_printf(&text, "%s\n", names->items[i]);
	for (size_t i = 0; more && i < more->nr; i++)
		if (!has(names, more->items[i]))
			lp_buf_printf(&text, "%s\n", more->items[i]);
	rc = lp_update_replace_file(p->folder, LIST, text.data, text.len, err);
	lp_buf_free(&text);
	return rc;
}

/* ---- opening ---- */

static int open_folder(struct lp_patches *p, struct lp_err *err)
{
	struct stat st;

	p->folder = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->folder < 0 || fstat(p->folder, &st))
		return lp_fail_sys(err, errno, "%s, where patches shall be", p->path);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return lp_fail(err, LP_EUNTRUSTED,
			       "%s: somebody else may write patches here; it has to be yours alone (chmod go-w)",
			       p->path);
	return 0;
}

static int open_work(struct lp_patches *p, struct lp_err *err)
{
	struct stat st;

	if (mkdirat(p->folder, WORK, 0700) && errno != EEXIST)
		return lp_fail_sys(err, errno, "%s/" WORK, p->path);
	p->work = openat(p->folder, WORK, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->work < 0 || fstat(p->work, &st))
		return lp_fail_sys(err, errno, "%s/" WORK, p->path);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return lp_fail(err, LP_EUNTRUSTED, "%s/" WORK " belongs to another user, or is open to others",
			       p->path);
	if (flock(p->work, LOCK_EX | LOCK_NB))
		return lp_fail(err, LP_ELOCKED, "patches are being put into %s by another", p->path);
	return 0;
}

static DIR *open_listing(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		lp_close(fd);
	return d;
}

static void empty_work(struct lp_patches *p)
{
	DIR *d = p->work < 0 ? NULL : open_listing(p->work);
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(p->work, e->d_name, 0);
	if (d)
		closedir(d);
}

int lp_patches_open(struct lp_patches **out, const char *folder, struct lp_err *err)
{
	struct lp_patches *p = lp_alloc(sizeof *p);
	int rc;

	*p = (struct lp_patches){.path = lp_strdup(folder), .folder = -1, .work = -1};
	rc = open_folder(p, err);
	rc = rc ? rc : open_work(p, err);
	if (rc == 0)
		empty_work(p);
	rc = rc ? rc : read_list(p, err);
	if (rc == 0)
		*out = p;
	else
		lp_patches_close(p);
	return rc;
}

void lp_patches_close(struct lp_patches *p)
{
	if (!p)
		return;
	lp_close(p->work);
	lp_close(p->folder);
	free_names(&p->ours);
	lp_free(p->path);
	lp_free(p);
}

struct lp_version lp_patches_version(const struct lp_patches *p)
{
	return p->version;
}

/* ---- a set ---- */

static void list_staged(struct lp_patches *p, name_vec *out)
{
	DIR *d = open_listing(p->work);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (is_patch(e->d_name))
			lp_vec_push(out, lp_strdup(e->d_name));
	if (d)
		closedir(d);
}

/* What somebody else has put there stays, and the set would not be whole without. */
static int check_strangers(struct lp_patches *p, const name_vec *staged, struct lp_err *err)
{
	struct stat st;

	for (size_t i = 0; i < staged->nr; i++)
		if (!has(&p->ours, staged->items[i]) &&
		    fstatat(p->folder, staged->items[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			return lp_fail(
				err, LP_EEXISTS,
				"%s/%s did not come from a release, and is not replaced by one: take it away, or use "
				"another folder",
				p->path, staged->items[i]);
	return 0;
}

static bool read_both(int a, int b, const char *name, struct lp_buf *x, struct lp_buf *y)
{
	int one = openat(a, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC),
	    other = openat(b, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool well = one >= 0 && other >= 0 && lp_read_fd(one, x, FILE_MAX, NULL) == 0 &&
		    lp_read_fd(other, y, FILE_MAX, NULL) == 0;

	lp_close(one);
	lp_close(other);
	return well;
}

/* Whoever watches the folder is not woken for what stays as it is. */
static bool is_unchanged(struct lp_patches *p, const char *name)
{
	struct lp_buf x = {0}, y = {0};
	bool same = read_both(p->folder, p->work, name, &x, &y) && x.len == y.len &&
		    (!x.len || !memcmp(x.data, y.data, x.len));

	lp_buf_free(&x);
	lp_buf_free(&y);
	return same;
}

static int put(struct lp_patches *p, const name_vec *staged, struct lp_patches_placed *out, struct lp_err *err)
{
	for (size_t i = 0; i < staged->nr; i++) {
		const char *name = staged->items[i];
		if (is_unchanged(p, name))
			continue;
		if (renameat(p->work, name, p->folder, name))
			return lp_fail_sys(err, errno, "cannot put %s into %s", name, p->path);
		out->changed++;
	}
	for (size_t i = 0; i < p->ours.nr; i++)
		if (!has(staged, p->ours.items[i]) && unlinkat(p->folder, p->ours.items[i], 0) == 0)
			out->removed++;
	fsync(p->folder);
	return 0;
}

/* The list has both sets until all is done: killed between, all of these are ours to replace. */
static int place(struct lp_patches *p, const struct lp_version *version, const name_vec *staged,
		 struct lp_patches_placed *out, struct lp_err *err)
{
	int rc = check_strangers(p, staged, err);

	rc = rc ? rc : write_list(p, &p->version, &p->ours, staged, err);
	rc = rc ? rc : put(p, staged, out, err);
	rc = rc ? rc : write_list(p, version, staged, NULL, err);
	out->all = (unsigned)staged->nr;
	return rc;
}

int lp_patches_place(struct lp_patches *p, const struct lp_version *version, const char *top, const void *data,
		     size_t size, struct lp_patches_placed *out, struct lp_err *err)
{
	name_vec staged = {0};
	int rc = lp_unpack(data, size, top, p->work, is_patch, &limits, err);

	*out = (struct lp_patches_placed){0};
	if (rc == 0)
		list_staged(p, &staged);
	rc = rc ? rc : place(p, version, &staged, out, err);
	if (rc == 0) {
		free_names(&p->ours);
		p->ours = staged;
		p->version = *version;
	} else {
		free_names(&staged);
	}
	empty_work(p);
	return rc;
}
