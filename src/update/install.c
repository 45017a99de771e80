#include "update/install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "update/names.h"
#include "update/state.h"

#define JOURNAL "journal"
#define STAGING "staging"
#define PREVIOUS "previous"
#define PREVIOUS_NEW "previous.new"
#define BACK "back"
#define JOURNAL_MAX 4096

static const char replacing[] = "replacing", committed[] = "committed";

struct lp_install {
	char *folder_path, *name; /* of the program */
	char *ours_path;
	int folder, ours; /* descriptors */
	int staging;	  /* or -1 */
	bool recovered;
};

/* ---- small things ---- */

/* What archives call LP_PRODUCT is the program, whatever it is called here. */
static const char *installed_name(const struct lp_install *i, const char *name)
{
	return strcmp(name, LP_PRODUCT) ? name : i->name;
}

static int open_folder_at(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Only files are ever in it.  No such folder is fine. */
static void remove_folder(int at, const char *name)
{
	int fd = open_folder_at(at, name);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(fd, e->d_name, 0);
	if (d)
		closedir(d);
	else if (fd >= 0)
		lp_close(fd);
	unlinkat(at, name, AT_REMOVEDIR);
}

static int make_folder(int at, const char *name, int *fd)
{
	remove_folder(at, name);
	if (mkdirat(at, name, 0700))
		return -errno;
	*fd = open_folder_at(at, name);
	return *fd < 0 ? *fd : 0;
}

static bool exists(int at, const char *name)
{
	struct stat st;

	return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- copies ---- */

static int copy_bytes(int from, int to)
{
	char chunk[65536];
	off_t at = 0;

	for (;;) {
		ssize_t n = pread(from, chunk, sizeof chunk, at);
		int rc;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		rc = lp_pwrite_full(to, chunk, (size_t)n, at);
		if (rc)
			return rc;
		at += n;
	}
}

static int copy_file(int from_folder, const char *from_name, int to_folder, const char *to_name)
{
	int from = openat(from_folder, from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), to = -1, rc = 0;
	struct stat st;

	if (from < 0 || fstat(from, &st))
		rc = -errno;
	if (rc == 0)
		to = openat(to_folder, to_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (rc == 0 && to < 0)
		rc = -errno;
	rc = rc ? rc : copy_bytes(from, to);
	if (rc == 0 && (fchmod(to, st.st_mode & 0777) || fsync(to)))
		rc = -errno;
	lp_close(from);
	lp_close(to);
	return rc;
}

/* A second name, where the kernel lets us have one (fs.protected_hardlinks), else a copy. */
static int keep_file(int from_folder, const char *from_name, int to_folder, const char *to_name)
{
	if (linkat(from_folder, from_name, to_folder, to_name, 0) == 0)
		return 0;
	if (errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP)
		return -errno;
	return copy_file(from_folder, from_name, to_folder, to_name);
}

/* ---- the journal ---- */

static int write_journal(struct lp_install *i, const char *state, const char *const *names, size_t nr,
			 struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc;

	lp_buf_printf(&text, "%s\n", state);
	for (size_t k = 0; k < nr; k++)
		lp_buf_printf(&text, "%s\n", names[k]);
	rc = lp_update_replace_file(i->ours, JOURNAL, text.data, text.len, err);
	lp_buf_free(&text);
	return rc;
}

static void remove_journal(struct lp_install *i)
{
	unlinkat(i->ours, JOURNAL, 0);
	fsync(i->ours);
}

typedef LP_VEC(const char *) name_vec;

/* Lines of `text`, which is cut up. */
static void cut_lines(char *text, name_vec *out)
{
	for (char *end; (end = strchr(text, '\n')); text = end + 1) {
		*end = 0;
		lp_vec_push(out, text);
	}
}

static bool names_are_fine(const name_vec *lines)
{
	for (size_t i = 1; i < lines->nr; i++)
		if (!*lines->items[i] || *lines->items[i] == '.' || strchr(lines->items[i], '/'))
			return false;
	return lines->nr > 1 && (!strcmp(lines->items[0], replacing) || !strcmp(lines->items[0], committed));
}

/* ---- back to what was installed ---- */

/* Both names may be of one file already: then rename(2) would do nothing, and leave both. */
static bool is_same(int a, const char *a_name, int b, const char *b_name)
{
	struct stat as, bs;

	return fstatat(a, a_name, &as, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(b, b_name, &bs, AT_SYMLINK_NOFOLLOW) == 0 &&
	       as.st_dev == bs.st_dev && as.st_ino == bs.st_ino;
}

static int put_back_one(struct lp_install *i, int kept, const char *name)
{
	const char *installed = installed_name(i, name);
	int rc;

	if (!exists(kept, name) || is_same(kept, name, i->folder, installed))
		return 0;
	unlinkat(i->ours, BACK, 0);
	rc = keep_file(kept, name, i->ours, BACK);
	if (rc == 0 && renameat(i->ours, BACK, i->folder, installed))
		rc = -errno;
	return rc;
}

static int put_back(struct lp_install *i, const char *const *names, size_t nr, struct lp_err *err)
{
	int kept = open_folder_at(i->ours, PREVIOUS_NEW), rc = kept < 0 ? kept : 0;

	for (size_t k = 0; k < nr && rc == 0; k++)
		rc = put_back_one(i, kept, names[k]);
	lp_close(kept);
	if (rc)
		return lp_fail_sys(err, rc, "cannot put %s back; what was installed is in %s/" PREVIOUS_NEW, i->name,
				   i->ours_path);
	fsync(i->folder);
	remove_journal(i);
	remove_folder(i->ours, PREVIOUS_NEW);
	return 0;
}

/* ---- forward ---- */

static int keep_installed(struct lp_install *i, const char *const *names, size_t nr, struct lp_err *err)
{
	int kept = -1, rc = make_folder(i->ours, PREVIOUS_NEW, &kept);

	for (size_t k = 0; k < nr && rc == 0; k++)
		rc = keep_file(i->folder, installed_name(i, names[k]), kept, names[k]);
	if (rc == 0)
		fsync(kept);
	lp_close(kept);
	return rc ? lp_fail_sys(err, rc, "cannot keep what is installed now in %s", i->ours_path) : 0;
}

/* The new one has the rights of the old one. */
static int dress(struct lp_install *i, const char *name, struct lp_err *err)
{
	struct stat st;
	int fd = openat(i->staging, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = 0;

	if (fd < 0 || fstatat(i->folder, installed_name(i, name), &st, 0))
		rc = -errno;
	else if (st.st_mode & (S_ISUID | S_ISGID))
		rc = lp_fail(err, LP_EPERM, "%s/%s is set-user-ID or set-group-ID: it is not replaced by a program",
			     i->folder_path, installed_name(i, name));
	else if (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid))
		rc = -errno;
	else if (fchmod(fd, st.st_mode & 0777) || fsync(fd))
		rc = -errno;
	lp_close(fd);
	return rc && rc != -LP_EPERM ? lp_fail_sys(err, rc, "cannot prepare %s", name) : rc;
}

static int put_in_place(struct lp_install *i, const char *const *names, size_t nr, struct lp_err *err)
{
	for (size_t k = 0; k < nr; k++)
		if (renameat(i->staging, names[k], i->folder, installed_name(i, names[k])))
			return lp_fail_sys(err, errno, "cannot replace %s/%s", i->folder_path,
					   installed_name(i, names[k]));
	fsync(i->folder);
	return 0;
}

/* From "committed" on; repeats itself after a kill. */
static void tidy(struct lp_install *i)
{
	if (exists(i->ours, PREVIOUS_NEW)) {
		remove_folder(i->ours, PREVIOUS);
		renameat(i->ours, PREVIOUS_NEW, i->ours, PREVIOUS);
		fsync(i->ours);
	}
	remove_journal(i);
}

static int test_in_place(struct lp_install *i, lp_install_test *test, void *arg, struct lp_err *err)
{
	char *path = lp_sprintf("%s/%s", i->folder_path, i->name);
	int rc = test(path, arg, err);

	lp_free(path);
	return rc;
}

static int refuse_and_put_back(struct lp_install *i, const char *const *names, size_t nr, int rc, struct lp_err *err)
{
	struct lp_err worse = {0};

	if (put_back(i, names, nr, &worse) == 0) {
		lp_err_append(err, "; %s is what it was before", i->name);
		return rc;
	}
	*err = worse;
	return worse.code;
}

static int replace_all(struct lp_install *i, const char *const *names, size_t nr, lp_install_test *test, void *arg,
		       struct lp_err *err)
{
	int rc = write_journal(i, replacing, names, nr, err);

	if (rc)
		return rc;
	rc = put_in_place(i, names, nr, err);
	rc = rc ? rc : test_in_place(i, test, arg, err);
	rc = rc ? rc : write_journal(i, committed, names, nr, err);
	if (rc)
		return refuse_and_put_back(i, names, nr, rc, err);
	tidy(i);
	return 0;
}

int lp_install_replace(struct lp_install *i, const char *const *names, size_t nr, lp_install_test *test, void *arg,
		       struct lp_err *err)
{
	char *staged = lp_install_staged_path(i, names[0]);
	struct lp_err local = {0};
	int rc = 0;

	err = err ? err : &local;
	for (size_t k = 0; k < nr && rc == 0; k++)
		rc = dress(i, names[k], err);
	if (rc == 0)
		fsync(i->staging);
	rc = rc ? rc : test(staged, arg, err);
	rc = rc ? rc : keep_installed(i, names, nr, err);
	rc = rc ? rc : replace_all(i, names, nr, test, arg, err);
	lp_free(staged);
	return rc;
}

/* ---- back to the one before ---- */

int lp_install_rollback(struct lp_install *i, const char *const *names, size_t nr, lp_install_test *test, void *arg,
			struct lp_err *err)
{
	int previous = open_folder_at(i->ours, PREVIOUS), staging, rc;
	name_vec kept = {0};

	if (previous < 0 || !exists(previous, LP_PRODUCT)) {
		lp_close(previous);
		return lp_fail(err, ENOENT, "there is no earlier version of %s/%s to go back to", i->folder_path,
			       i->name);
	}
	rc = lp_install_staging(i, &staging, err);
	for (size_t k = 0; k < nr && rc == 0; k++) {
		if (!exists(previous, names[k]) || !exists(i->folder, installed_name(i, names[k])))
			continue;
		lp_vec_push(&kept, names[k]);
		/* A copy: what is in previous/ keeps its rights whatever comes. */
		rc = copy_file(previous, names[k], staging, names[k]);
		rc = rc ? lp_fail_sys(err, rc, "cannot copy the earlier %s", names[k]) : 0;
	}
	rc = rc ? rc : lp_install_replace(i, kept.items, kept.nr, test, arg, err);
	lp_close(previous);
	lp_vec_free(&kept);
	return rc;
}

/* ---- after a kill ---- */

/* Files of ours that were being written: "journal.new". */
static void remove_drafts(struct lp_install *i)
{
	int fd = open_folder_at(i->ours, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, JOURNAL ".", strlen(JOURNAL ".")))
			unlinkat(i->ours, e->d_name, 0);
	unlinkat(i->ours, BACK, 0);
	if (d)
		closedir(d);
	else
		lp_close(fd);
}

static int recover(struct lp_install *i, struct lp_err *err)
{
	struct lp_buf text = {0};
	name_vec lines = {0};
	int fd = openat(i->ours, JOURNAL, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0) {
		remove_folder(i->ours, PREVIOUS_NEW);
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "%s/" JOURNAL, i->ours_path);
	}
	rc = lp_read_fd(fd, &text, JOURNAL_MAX, err);
	lp_close(fd);
	cut_lines((char *)lp_buf_cstr(&text), &lines);
	if (rc == 0 && !names_are_fine(&lines))
		rc = lp_fail(err, LP_EFILE, "%s/" JOURNAL " is damaged: look at what is in that folder, and remove it",
			     i->ours_path);
	else if (rc == 0 && !strcmp(lines.items[0], committed))
		tidy(i);
	else if (rc == 0)
		rc = put_back(i, lines.items + 1, lines.nr - 1, err);
	i->recovered = rc == 0;
	lp_vec_free(&lines);
	lp_buf_free(&text);
	return rc;
}

/* ---- opening ---- */

static int refuse_folder(const struct lp_install *i, int code, struct lp_err *err)
{
	if (code == -EACCES || code == -EPERM || code == -EROFS)
		return lp_fail(err, LP_EPERM, "%s is not yours to write (%s): update as its owner", i->folder_path,
			       strerrordesc_np(-code));
	return lp_fail_sys(err, code, "%s", i->ours_path);
}

static int open_ours(struct lp_install *i, struct lp_err *err)
{
	char *name = lp_sprintf(".%s.update", i->name);
	struct stat st;
	int rc = mkdirat(i->folder, name, 0700) && errno != EEXIST ? -errno : 0;

	if (rc == 0) {
		i->ours = open_folder_at(i->folder, name);
		rc = i->ours < 0 ? i->ours : 0;
	}
	lp_free(name);
	if (rc)
		return refuse_folder(i, rc, err);
	if (fstat(i->ours, &st))
		return lp_fail_sys(err, errno, "%s", i->ours_path);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return lp_fail(err, LP_EPERM, "%s belongs to another user, or is open to others: update as its owner",
			       i->ours_path);
	if (faccessat(i->folder, ".", W_OK, AT_EACCESS))
		return refuse_folder(i, -errno, err);
	return 0;
}

static int lock(struct lp_install *i, struct lp_err *err)
{
	if (flock(i->ours, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return lp_fail(err, LP_ELOCKED, "another update of %s/%s is at work", i->folder_path, i->name);
	return lp_fail_sys(err, errno, "cannot lock %s", i->ours_path);
}

static int open_all(struct lp_install *i, const char *program, struct lp_err *err)
{
	const char *slash = strrchr(program, '/');

	if (!slash || !slash[1] || strpbrk(slash, "\n\r"))
		return lp_fail(err, LP_EUSAGE, "%s is no program that can be updated", program);
	i->folder_path = slash == program ? lp_strdup("/") : lp_sprintf("%.*s", (int)(slash - program), program);
	i->name = lp_strdup(slash + 1);
	i->ours_path = lp_sprintf("%s/.%s.update", i->folder_path, i->name);
	i->folder = open_folder_at(AT_FDCWD, i->folder_path);
	if (i->folder < 0)
		return lp_fail_sys(err, i->folder, "%s", i->folder_path);
	return 0;
}

int lp_install_open(struct lp_install **out, const char *program, struct lp_err *err)
{
	struct lp_install *i = lp_alloc(sizeof *i);
	int rc;

	*i = (struct lp_install){.folder = -1, .ours = -1, .staging = -1};
	rc = open_all(i, program, err);
	rc = rc ? rc : open_ours(i, err);
	rc = rc ? rc : lock(i, err);
	if (rc == 0)
		remove_drafts(i);
	rc = rc ? rc : recover(i, err);
	if (rc) {
		lp_close(i->ours); /* before what removes things: they are another's */
		i->ours = -1;
		lp_install_close(i);
		return rc;
	}
	*out = i;
	return 0;
}

bool lp_install_is_unfinished(const char *program)
{
	static const char *const left[] = {JOURNAL, STAGING, PREVIOUS_NEW};
	const char *slash = strrchr(program, '/');
	bool is = false;

	for (size_t k = 0; slash && k < LP_ARRAY_SIZE(left); k++) {
		char *path = lp_sprintf("%.*s/.%s.update/%s", (int)(slash - program), program, slash + 1, left[k]);
		is |= exists(AT_FDCWD, path);
		lp_free(path);
	}
	return is;
}

bool lp_install_recovered(const struct lp_install *i)
{
	return i->recovered;
}

int lp_install_staging(struct lp_install *i, int *fd, struct lp_err *err)
{
	int rc;

	lp_close(i->staging);
	i->staging = -1;
	rc = make_folder(i->ours, STAGING, &i->staging);
	*fd = i->staging;
	return rc ? lp_fail_sys(err, rc, "cannot make %s/" STAGING, i->ours_path) : 0;
}

char *lp_install_staged_path(const struct lp_install *i, const char *name)
{
	return lp_sprintf("%s/" STAGING "/%s", i->ours_path, name);
}

bool lp_install_has(const struct lp_install *i, const char *name)
{
	return exists(i->folder, installed_name(i, name));
}

void lp_install_close(struct lp_install *i)
{
	if (!i)
		return;
	if (i->ours >= 0)
		remove_folder(i->ours, STAGING);
	lp_close(i->staging);
	lp_close(i->ours);
	lp_close(i->folder);
	lp_free(i->folder_path);
	lp_free(i->name);
	lp_free(i->ours_path);
	lp_free(i);
}
