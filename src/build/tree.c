#include "build/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/fs.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define BUILD_FILE_MAX (64u << 20)
#define LONG_AGO 1 /* a time of 0 means "never" to some */

static bool is_interrupted(const volatile sig_atomic_t *flag)
{
	return flag && *flag;
}

/* ---- one file ---- */

static int copy_by_hand(int from, int to)
{
	static char chunk[1 << 17];
	for (;;) {
		ssize_t n = read(from, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(to, chunk + at, (size_t)(n - at));
			if (w < 0 && errno != EINTR)
				return -errno;
			at += w < 0 ? 0 : w;
		}
	}
}

/* copy_file_range() refuses across file systems of different kinds, and for files in /proc gives 0. */
static int copy_content(int from, int to, off_t size)
{
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	while (size > 0) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size -= n;
	}
	return copy_by_hand(from, to);
}

static int copy_open(int in, int out, const struct stat *st)
{
	int rc = copy_content(in, out, st->st_size);
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (rc == 0 && (fchmod(out, st->st_mode & 07777) < 0 || futimens(out, times) < 0))
		rc = -errno;
	return rc;
}

int lp_copy_file(const char *from, const char *to, struct lp_err *err)
{
	struct stat st;
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (in < 0)
		return lp_fail_sys(err, errno, "cannot open %s", from);
	int out = -1, rc = 0;
	if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		rc = lp_fail(err, LP_EFILE, "%s is not a regular file", from);
	if (rc == 0 && (out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		rc = lp_fail_sys(err, errno, "cannot create %s", to);
	if (rc == 0 && (rc = copy_open(in, out, &st)) < 0)
		rc = lp_fail_sys(err, rc, "cannot copy %s to %s", from, to);
	lp_close(in);
	lp_close(out);
	return rc;
}

int lp_write_file(const char *path, const void *bytes, size_t len, struct lp_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot create %s", path);
	int rc = lp_pwrite_full(fd, bytes, len, 0);
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc < 0 ? lp_fail_sys(err, rc, "cannot write %s", path) : 0;
}

/* ---- what an earlier build left ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);
	return n > s && strcmp(name + n - s, suffix) == 0;
}

/* ELF files, archives, and the text files by which libtool stands in for them. */
static bool is_made_by_compiler(const char *path, const char *name)
{
	char magic[8] = "";
	if (has_suffix(name, ".lo") || has_suffix(name, ".la"))
		return true;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, magic, sizeof magic);
	lp_close(fd);
	if (n < (ssize_t)sizeof magic)
		return false;
	return memcmp(magic, "\177ELF", 4) == 0 || memcmp(magic, "!<arch>\n", 8) == 0 ||
	       memcmp(magic, "!<thin>\n", 8) == 0;
}

static int set_age(const char *path)
{
	struct timespec times[2] = {{.tv_sec = LONG_AGO}, {.tv_sec = LONG_AGO}};
	return utimensat(AT_FDCWD, path, times, 0) < 0 ? -errno : 0;
}

/* ---- walking ---- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *walk_open(const char *root, bool sorted, struct lp_err *err)
{
	char *roots[] = {lp_strdup(root), NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, sorted ? by_name : NULL);
	if (!walk)
		lp_fail_sys(err, errno, "cannot read %s", root);
	lp_free(roots[0]);
	return walk;
}

/* The path below the root, "" for the root itself. */
static const char *below(const FTSENT *e, const char *root)
{
	const char *path = e->fts_path + strlen(root);
	return *path == '/' ? path + 1 : path;
}

static bool is_left_out(FTS *walk, FTSENT *e, const char *leave_out)
{
	if (!leave_out || strcmp(e->fts_path, leave_out) != 0)
		return false;
	if (e->fts_info == FTS_D)
		fts_set(walk, e, FTS_SKIP);
	return true;
}

static int walk_failure(const FTSENT *e, struct lp_err *err)
{
	return lp_fail_sys(err, e->fts_errno ? e->fts_errno : EIO, "cannot read %s", e->fts_path);
}

/* ---- copying ---- */

/* How many directories a relative link climbs above where it stands, at most. */
static bool climbs_out(const char *place, const char *target)
{
	long depth = 0, lowest = 0;
	for (const char *p = place; (p = strchr(p, '/')); p++)
		depth++;
	for (const char *p = target; *p;) {
		size_t len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.')
			depth--;
		else if (len && !(len == 1 && *p == '.'))
			depth++;
		lowest = depth < lowest ? depth : lowest;
		p += len + (p[len] == '/');
	}
	return lowest < 0;
}

/*
 * What a link says in the copy: one that stays inside the tree stays inside the copy, also when it is absolute; one that
 * leaves it goes where it went.
 */
static char *link_target(const struct lp_tree_copy *how, const char *place, const char *target)
{
	size_t root = strlen(how->from);
	if (target[0] == '/' && strncmp(target, how->from, root) == 0 && (target[root] == '/' || !target[root]))
		return lp_sprintf("%s%s", how->to, target + root);
	if (target[0] == '/' || !climbs_out(place, target))
		return lp_strdup(target);
	char *whole = lp_sprintf("%s/%s", how->from, place);
	*strrchr(whole, '/') = 0;
	char *path = lp_path_join(whole, target);
	lp_free(whole);
	return path;
}

static int copy_link(const struct lp_tree_copy *how, const FTSENT *e, const char *to, struct lp_err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlink(e->fts_path, target, sizeof target - 1);
	if (n < 0)
		return lp_fail_sys(err, errno, "cannot read the link %s", e->fts_path);
	target[n] = 0;
	char *now = link_target(how, below(e, how->from), target);
	struct timespec times[2] = {e->fts_statp->st_atim, e->fts_statp->st_mtim};
	int rc = symlink(now, to) < 0 || utimensat(AT_FDCWD, to, times, AT_SYMLINK_NOFOLLOW) < 0
			 ? lp_fail_sys(err, errno, "cannot create %s", to)
			 : 0;
	lp_free(now);
	return rc;
}

static bool is_git_object(const char *path)
{
	return strncmp(path, ".git/objects/", 13) == 0 || strstr(path, "/.git/objects/");
}

static bool is_build_file(const char *name)
{
	static const char *const names[] = {"CMakeCache.txt",	    "Makefile", "Makefile2",
					    "config.status",	    "libtool",	"link.txt",
					    "compile_commands.json"};
	static const char *const suffixes[] = {".cmake", ".make", ".ninja", ".rsp", ".la", ".lai", ".mk", ".internal"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	for (size_t i = 0; i < LP_ARRAY_SIZE(suffixes); i++)
		if (has_suffix(name, suffixes[i]))
			return true;
	return false;
}

static bool ends_a_path(char c)
{
	return !c || strchr("/ \t\n\r\"':;,=)]}", c);
}

/* A program's path is only meant where a word begins; a directory's also behind -I and the like. */
static bool begins_a_word(const char *text, const char *at)
{
	return at == text || strchr(" \t\n\"'=:;,(`", at[-1]);
}

/* Every `from` that stands as a whole path, or in front of a '/', becomes `to`; false when there is none. */
static bool replace_path(struct lp_buf *out, const char *text, const char *from, const char *to, bool words_only)
{
	const char *at = text;
	bool found = false;
	for (const char *p; (p = strstr(at, from)); at = p + strlen(from)) {
		bool whole = ends_a_path(p[strlen(from)]) && (!words_only || begins_a_word(text, p));
		lp_buf_add(out, at, (size_t)(p - at));
		lp_buf_str(out, whole ? to : from);
		found |= whole;
	}
	lp_buf_str(out, at);
	return found;
}

/* The same in place. */
static bool replace_in(struct lp_buf *text, const char *from, const char *to, bool words_only)
{
	struct lp_buf moved = {0};
	bool found = replace_path(&moved, lp_buf_cstr(text), from, to, words_only);
	lp_buf_free(text);
	*text = moved;
	return found;
}

static bool replace_all(const struct lp_tree_copy *how, struct lp_buf *text)
{
	bool found = replace_in(text, how->from, how->to, false);
	for (size_t i = 0; i < how->nr_renames; i++)
		if (strstr(lp_buf_cstr(text), how->renames[i].from))
			found |= replace_in(text, how->renames[i].from, how->renames[i].to, true);
	return found;
}

static int move_build_file(const struct lp_tree_copy *how, const FTSENT *e, const char *to, struct lp_err *err)
{
	struct lp_buf text = {0};
	struct timespec times[2] = {e->fts_statp->st_atim, e->fts_statp->st_mtim};
	int rc = 0;
	if (lp_read_file(to, &text, BUILD_FILE_MAX, NULL) == 0 && !memchr(lp_buf_cstr(&text), 0, text.len) &&
	    replace_all(how, &text)) {
		unlink(to); /* it may be read-only */
		rc = lp_write_file(to, text.data, text.len, err);
		if (rc == 0 && (chmod(to, e->fts_statp->st_mode & 07777) < 0 || utimensat(AT_FDCWD, to, times, 0) < 0))
			rc = lp_fail_sys(err, errno, "cannot set the time of %s", to);
	}
	lp_buf_free(&text);
	return rc;
}

/* Meson keeps absolute paths in a format of its own. */
static bool is_meson_directory(const struct lp_tree_copy *how, const FTSENT *e)
{
	char *private = lp_sprintf("%s/meson-private/coredata.dat", e->fts_path);
	bool is = how->move_build_files && e->fts_info == FTS_D && access(private, F_OK) == 0;
	lp_free(private);
	return is;
}

static int copy_regular(struct lp_tree_copy *how, const FTSENT *e, const char *to, struct lp_err *err)
{
	how->nr_files++;
	how->nr_bytes += (uint64_t)e->fts_statp->st_size;
	if (is_git_object(below(e, how->from)) && link(e->fts_path, to) == 0)
		return 0;
	int rc = lp_copy_file(e->fts_path, to, err);
	if (rc == 0 && how->age_objects && is_made_by_compiler(to, e->fts_name) && (rc = set_age(to)) < 0)
		rc = lp_fail_sys(err, rc, "cannot set the time of %s", to);
	if (rc == 0 && how->move_build_files && is_build_file(e->fts_name))
		rc = move_build_file(how, e, to, err);
	return rc;
}

static int leave_directory(const FTSENT *e, const char *to, struct lp_err *err)
{
	struct timespec times[2] = {e->fts_statp->st_atim, e->fts_statp->st_mtim};
	if (chmod(to, (e->fts_statp->st_mode & 07777) | S_IRWXU) < 0 || utimensat(AT_FDCWD, to, times, 0) < 0)
		return lp_fail_sys(err, errno, "cannot set the times of %s", to);
	return 0;
}

static int copy_entry(struct lp_tree_copy *how, const FTSENT *e, const char *to, struct lp_err *err)
{
	switch (e->fts_info) {
	case FTS_D:
		return mkdir(to, 0700) < 0 ? lp_fail_sys(err, errno, "cannot create %s", to) : 0;
	case FTS_DP:
		return leave_directory(e, to, err);
	case FTS_F:
		return copy_regular(how, e, to, err);
	case FTS_SL:
	case FTS_SLNONE:
		return copy_link(how, e, to, err);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return walk_failure(e, err);
	default:
		return 0;
	}
}

/* Its end is still reported, with the same entry. */
static void skip(FTS *walk, FTSENT *e, FTSENT **skipped)
{
	fts_set(walk, e, FTS_SKIP);
	*skipped = e;
}

int lp_tree_copy(struct lp_tree_copy *how, struct lp_err *err)
{
	FTSENT *e, *skipped = NULL;
	FTS *walk = walk_open(how->from, false, err);
	int rc = walk ? 0 : -EIO;
	while (rc == 0 && (e = fts_read(walk))) {
		if (is_interrupted(how->interrupted)) {
			rc = lp_fail(err, LP_EINTERRUPTED, "interrupted while copying %s", how->from);
		} else if (is_meson_directory(how, e)) {
			skip(walk, e, &skipped);
		} else if (e != skipped && !is_left_out(walk, e, how->leave_out)) {
			const char *path = below(e, how->from);
			char *to = lp_sprintf("%s%s%s", how->to, *path ? "/" : "", path);
			rc = copy_entry(how, e, to, err);
			lp_free(to);
		}
	}
	if (walk)
		fts_close(walk);
	return rc;
}

/* ---- hashing ---- */

static void hash_text(crypto_generichash_state *state, const char *text)
{
	crypto_generichash_update(state, (const uint8_t *)text, strlen(text) + 1);
}

static int hash_regular(crypto_generichash_state *state, const FTSENT *e, struct lp_err *err)
{
	struct lp_hash content;
	if (is_made_by_compiler(e->fts_path, e->fts_name)) {
		const struct timespec *t = &e->fts_statp->st_mtim;
		char *text = lp_sprintf("made %lld %lld.%09ld", (long long)e->fts_statp->st_size, (long long)t->tv_sec,
					t->tv_nsec);
		hash_text(state, text);
		lp_free(text);
		return 0;
	}
	int rc = lp_hash_file(&content, e->fts_path);
	if (rc < 0)
		return lp_fail_sys(err, rc, "cannot read %s", e->fts_path);
	crypto_generichash_update(state, content.bytes, sizeof content.bytes);
	return 0;
}

static int hash_link(crypto_generichash_state *state, const FTSENT *e, struct lp_err *err)
{
	char target[PATH_MAX] = "";
	if (readlink(e->fts_path, target, sizeof target - 1) < 0)
		return lp_fail_sys(err, errno, "cannot read the link %s", e->fts_path);
	hash_text(state, target);
	return 0;
}

/* Of .git, only HEAD and what it refers to: the index changes whenever somebody asks for the status. */
static bool is_git_noise(const char *path)
{
	const char *git = strncmp(path, ".git/", 5) == 0 ? path : strstr(path, "/.git/");
	if (!git)
		return false;
	git = strstr(git, ".git/") + 5;
	return strcmp(git, "HEAD") != 0 && strcmp(git, "packed-refs") != 0 && strncmp(git, "refs", 4) != 0;
}

static int hash_entry(crypto_generichash_state *state, const char *root, const FTSENT *e, struct lp_err *err)
{
	const char *path = below(e, root);
	bool is_file = e->fts_info == FTS_F, is_link = e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE;
	if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
		return walk_failure(e, err);
	if ((!is_file && !is_link && e->fts_info != FTS_D) || is_git_noise(path))
		return 0;
	hash_text(state, is_file   ? (e->fts_statp->st_mode & 0100 ? "program" : "file")
			 : is_link ? "link"
				   : "directory");
	hash_text(state, path);
	return is_file ? hash_regular(state, e, err) : is_link ? hash_link(state, e, err) : 0;
}

int lp_tree_hash(struct lp_hash *out, const char *root, const char *leave_out, const volatile sig_atomic_t *interrupted,
		 struct lp_err *err)
{
	FTSENT *e;
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, sizeof out->bytes);
	FTS *walk = walk_open(root, true, err);
	int rc = walk ? 0 : -EIO;
	while (rc == 0 && (e = fts_read(walk))) {
		if (is_interrupted(interrupted))
			rc = lp_fail(err, LP_EINTERRUPTED, "interrupted while reading %s", root);
		else if (!is_left_out(walk, e, leave_out))
			rc = hash_entry(&state, root, e, err);
	}
	if (walk)
		fts_close(walk);
	crypto_generichash_final(&state, out->bytes, sizeof out->bytes);
	return rc;
}

/* ---- comparing ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Files of `left` that are not the same in `right` (compare), or not there at all; paths as in `named`. */
static int compare_trees(lp_path_vec *out, const char *left, const char *right, const char *named, bool compare,
			 struct lp_err *err)
{
	FTSENT *e;
	FTS *walk = walk_open(left, true, err);
	if (!walk)
		return -EIO;
	while ((e = fts_read(walk))) {
		struct stat st;
		if (e->fts_info != FTS_F && e->fts_info != FTS_SL && e->fts_info != FTS_SLNONE)
			continue;
		char *other = lp_sprintf("%s/%s", right, below(e, left));
		bool there = lstat(other, &st) == 0;
		if (!there || (compare && !same_file(e->fts_statp, &st)))
			lp_vec_push(out, lp_sprintf("%s/%s", named, below(e, left)));
		lp_free(other);
	}
	fts_close(walk);
	return 0;
}

int lp_tree_changes(lp_path_vec *out, const char *before, const char *after, struct lp_err *err)
{
	int rc = compare_trees(out, after, before, after, true, err);
	return rc < 0 ? rc : compare_trees(out, before, after, after, false, err);
}

void lp_paths_free(lp_path_vec *paths)
{
	for (size_t i = 0; i < paths->nr; i++)
		lp_free(paths->items[i]);
	lp_vec_free(paths);
}

int lp_tree_age(const char *root, struct lp_err *err)
{
	FTSENT *e;
	FTS *walk = walk_open(root, false, err);
	int rc = walk ? 0 : -EIO;
	while (rc == 0 && (e = fts_read(walk)))
		if (e->fts_info == FTS_F && is_made_by_compiler(e->fts_path, e->fts_name) &&
		    (rc = set_age(e->fts_path)) < 0)
			rc = lp_fail_sys(err, rc, "cannot set the time of %s", e->fts_path);
	if (walk)
		fts_close(walk);
	return rc;
}

bool lp_same_content(const char *a, const char *b)
{
	struct stat one, other;
	struct lp_hash x, y;
	if (stat(a, &one) < 0 || stat(b, &other) < 0 || one.st_size != other.st_size)
		return false;
	return lp_hash_file(&x, a) == 0 && lp_hash_file(&y, b) == 0 && memcmp(&x, &y, sizeof x) == 0;
}

int lp_make_dirs(const char *path, struct lp_err *err)
{
	char *copy = lp_strdup(path);
	int rc = 0;
	for (char *p = copy + 1; rc == 0; p++) {
		char was = *p;
		if (was && was != '/')
			continue;
		*p = 0;
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			rc = lp_fail_sys(err, errno, "cannot create the directory %s", copy);
		*p = was;
		if (!was)
			break;
	}
	lp_free(copy);
	return rc;
}
