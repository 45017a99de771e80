#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "patch/kpatch.h"

#define LEVEL_MAX 1000000000u

/* A patch whose build-id its file says, not its name. */
struct named {
	char *path;
	char build_id[2 * LP_BUILD_ID_MAX + 1];
};

struct lp_store {
	char *path;
	bool is_directory;
	char *before, *after;
	LP_VEC(struct named) named; /* in the order of their names */
};

const char *lp_store_path(const struct lp_store *s)
{
	return s->path;
}

bool lp_store_is_directory(const struct lp_store *s)
{
	return s->is_directory;
}

const char *lp_store_script(const struct lp_store *s, const char *name)
{
	return strcmp(name, "before") == 0 ? s->before : s->after;
}

void lp_store_close(struct lp_store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->named.nr; i++)
		lp_free(s->named.items[i].path);
	lp_vec_free(&s->named);
	lp_free(s->before);
	lp_free(s->after);
	lp_free(s->path);
	lp_free(s);
}

/* ---- what a directory holds ---- */

static bool is_hex(const char *s, size_t len)
{
	return len && strspn(s, "0123456789abcdef") >= len;
}

/* The length of NAME in "NAME.kpatch", 0 when it is called otherwise. */
static size_t stem_of(const char *file)
{
	static const char suffix[] = ".kpatch";
	size_t len = strlen(file), suffix_len = sizeof suffix - 1;
	return len > suffix_len && strcmp(file + len - suffix_len, suffix) == 0 ? len - suffix_len : 0;
}

static int add_file(struct lp_store *s, const char *path, struct lp_err *err)
{
	struct lp_kpatch *k;
	int rc = lp_kpatch_open(&k, path, err);
	if (rc < 0)
		return rc;
	struct named *n = lp_vec_add(&s->named);
	n->path = lp_strdup(path);
	lp_build_id_hex(&k->build_id, n->build_id);
	lp_kpatch_free(k);
	return 0;
}

/* Named after a build-id it is looked up by its name; of the others each says itself what it is for. */
static void consider(struct lp_store *s, const char *file)
{
	size_t stem = stem_of(file);
	struct lp_err err = {0};
	if (!stem || file[0] == '.' || (is_hex(file, stem) && stem >= 16))
		return;
	char *path = lp_sprintf("%s/%s", s->path, file);
	if (add_file(s, path, &err) < 0)
		lp_warn("%s is left out: %s", path, err.text);
	lp_free(path);
}

static int by_path(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	return strcmp(x->path, y->path);
}

static char *executable(const struct lp_store *s, const char *name)
{
	struct stat st;
	char *path = lp_sprintf("%s/%s", s->path, name);
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
		return path;
	lp_free(path);
	return NULL;
}

static int open_directory(struct lp_store *s, struct lp_err *err)
{
	DIR *dir = opendir(s->path);
	if (!dir)
		return lp_fail_sys(err, errno, "cannot open the store %s", s->path);
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		consider(s, e->d_name);
	closedir(dir);
	if (s->named.nr)
		qsort(s->named.items, s->named.nr, sizeof *s->named.items, by_path);
	s->before = executable(s, "before");
	s->after = executable(s, "after");
	return 0;
}

/* ---- finding ---- */

static char *regular(char *path, off_t *size)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
		*size = st.st_size;
		return path;
	}
	lp_free(path);
	return NULL;
}

/* The number that BUILDID/latest leads to.  A link that is not a number would be a level by chance. */
static int read_level(const struct lp_store *s, const char *build_id, unsigned *out, struct lp_err *err)
{
	char target[32];
	char *link = lp_sprintf("%s/%s/latest", s->path, build_id);
	ssize_t n = readlink(link, target, sizeof target - 1);
	int rc = 0;
	if (n < 0) {
		rc = lp_fail(err, LP_EFILE, "%s is no symbolic link to a patch level: %s", link, strerror(errno));
	} else {
		target[n] = 0;
		char *end = target;
		unsigned long level = target[0] >= '0' && target[0] <= '9' ? strtoul(target, &end, 10) : 0;
		if (end == target || (*end && strcmp(end, "/") != 0) || level > LEVEL_MAX)
			rc = lp_fail(err, LP_EFILE, "%s leads to \"%s\", which is not the number of a patch level",
				     link, target);
		*out = (unsigned)level;
	}
	lp_free(link);
	return rc;
}

static int find_level(const struct lp_store *s, const char *build_id, struct lp_store_found *out, struct lp_err *err)
{
	off_t size = 0;
	unsigned level = 0;
	char *path = regular(lp_sprintf("%s/%s/latest/kpatch.bin", s->path, build_id), &size);
	if (!path)
		return 0;
	int rc = read_level(s, build_id, &level, err);
	if (rc < 0) {
		lp_free(path);
		return rc;
	}
	struct lp_store_patch *p = lp_vec_add(out);
	p->path = path;
	p->level = level;
	p->only_description = size == 0;
	p->description = regular(lp_sprintf("%s/%s/%u/description", s->path, build_id, level), &size);
	return 0;
}

static void find_by_name(const struct lp_store *s, const char *build_id, struct lp_store_found *out)
{
	off_t size;
	char *path = regular(lp_sprintf("%s/%s.kpatch", s->path, build_id), &size);
	if (path)
		lp_vec_push(out, ((struct lp_store_patch){.path = path}));
}

static void find_named(const struct lp_store *s, const char *build_id, struct lp_store_found *out)
{
	for (size_t i = 0; i < s->named.nr; i++)
		if (strcmp(s->named.items[i].build_id, build_id) == 0)
			lp_vec_push(out, ((struct lp_store_patch){.path = lp_strdup(s->named.items[i].path)}));
}

int lp_store_find(const struct lp_store *s, const char *build_id, struct lp_store_found *out, struct lp_err *err)
{
	*out = (struct lp_store_found){0};
	if (!is_hex(build_id, strlen(build_id))) /* it becomes part of a path */
		return 0;
	int rc = s->is_directory ? find_level(s, build_id, out, err) : 0;
	if (rc == 0 && !out->nr && s->is_directory)
		find_by_name(s, build_id, out);
	if (rc == 0 && !out->nr)
		find_named(s, build_id, out);
	return rc;
}

void lp_store_found_free(struct lp_store_found *f)
{
	for (size_t i = 0; i < f->nr; i++) {
		lp_free(f->items[i].path);
		lp_free(f->items[i].description);
	}
	lp_vec_free(f);
}

static void add_directories(const char *path, bool only_hex, lp_name_vec *out)
{
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		struct stat st;
		if (e->d_name[0] == '.' || (only_hex && !is_hex(e->d_name, strlen(e->d_name))))
			continue;
		char *name = lp_sprintf("%s/%s", path, e->d_name);
		if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
			lp_vec_push(out, name);
		else
			lp_free(name);
	}
	closedir(dir);
}

void lp_store_directories(const char *path, lp_name_vec *out)
{
	add_directories(path, true, out);
	for (size_t i = 0, nr = out->nr; i < nr; i++)
		add_directories(out->items[i], false, out);
}

/* ---- trust ---- */

static int refuse_writable(const char *path, struct lp_err *err)
{
	return lp_fail(
		err, LP_EUNTRUSTED,
		"%s may be written by others, who would own every process that is patched from it; chmod go-w it",
		path);
}

static int check_owner(const char *path, struct lp_err *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return lp_fail_sys(err, errno, "cannot look at %s", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return lp_fail(err, LP_EUNTRUSTED,
			       "%s belongs to user %u, who would own every process that is patched from it", path,
			       (unsigned)st.st_uid);
	bool sticky = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX);
	return (st.st_mode & (S_IWGRP | S_IWOTH)) && !sticky ? refuse_writable(path, err) : 0;
}

static int check_way(const char *where, struct lp_err *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", where);
	int rc = check_owner("/", err);
	for (char *slash = strchr(path + 1, '/'); rc == 0 && slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		rc = check_owner(path, err);
		*slash = '/';
	}
	return rc;
}

static int check_all(const char *path, unsigned depth, struct lp_err *err);

/* What it leads to may lie anywhere, and be somebody else's. */
static int check_link(const char *link, unsigned depth, struct lp_err *err)
{
	char full[PATH_MAX];
	if (!realpath(link, full))
		return lp_fail(
			err, LP_EUNTRUSTED,
			"the link %s leads nowhere (%s); who could make what it leads to would own every process "
			"that is patched from it; remove it",
			link, strerror(errno));
	int rc = check_way(full, err);
	rc = rc ? rc : check_all(full, depth, err);
	return rc < 0 ? lp_err_context(err, rc, "the link %s", link) : 0;
}

/* The store itself, and what is below it: there a sticky bit is of no use, for it does not keep anybody from adding. */
static int check_all(const char *path, unsigned depth, struct lp_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "cannot look at %s", path);
	if (S_ISLNK(st.st_mode))
		return check_link(path, depth, err);
	int rc = check_owner(path, err);
	if (rc == 0 && S_ISDIR(st.st_mode) && (st.st_mode & (S_IWGRP | S_IWOTH)))
		rc = refuse_writable(path, err);
	DIR *dir = rc == 0 && S_ISDIR(st.st_mode) && depth ? opendir(path) : NULL;
	for (struct dirent *e = dir ? readdir(dir) : NULL; e && rc == 0; e = readdir(dir)) {
		if (e->d_name[0] == '.') /* nothing is read from these; editors make links of such names */
			continue;
		char *name = lp_sprintf("%s/%s", path, e->d_name);
		rc = check_all(name, depth - 1, err);
		lp_free(name);
	}
	if (dir)
		closedir(dir);
	return rc;
}

#define STORE_DEPTH 3 /* BUILDID/N/kpatch.bin */

/* Every directory on the way counts: who may rename one of them may put another in its place.  Sticky ones (/tmp) do
 * not let him. */
static int check_trust(const char *path, struct lp_err *err)
{
	int rc = check_way(path, err);
	return rc == 0 ? check_all(path, STORE_DEPTH, err) : rc;
}

int lp_store_trusted(const struct lp_store *s, struct lp_err *err)
{
	return check_trust(s->path, err);
}

/* ---- opening ---- */

static int resolve(const char *path, char full[PATH_MAX], struct lp_err *err)
{
	struct stat st;
	if (!realpath(path, full) || stat(full, &st) < 0)
		return lp_fail(err, LP_EFILE, "cannot open %s: %s", path, strerror(errno));
	return 0;
}

/* `full` is without links, so that what was checked is what is read. */
static int open_resolved(struct lp_store **out, const char *full, struct lp_err *err)
{
	struct stat st;
	struct lp_store *s = lp_alloc(sizeof *s);
	s->path = lp_strdup(full);
	s->is_directory = stat(full, &st) == 0 && S_ISDIR(st.st_mode);
	int rc = s->is_directory ? open_directory(s, err) : add_file(s, full, err);
	if (rc < 0)
		lp_store_close(s);
	else
		*out = s;
	return rc;
}

int lp_store_open(struct lp_store **out, const char *path, struct lp_err *err)
{
	char full[PATH_MAX];
	*out = NULL;
	int rc = resolve(path, full, err);
	return rc ? rc : open_resolved(out, full, err);
}

int lp_store_open_trusted(struct lp_store **out, const char *path, struct lp_err *err)
{
	char full[PATH_MAX];
	*out = NULL;
	int rc = resolve(path, full, err);
	rc = rc ? rc : check_trust(full, err);
	return rc ? rc : open_resolved(out, full, err);
}
