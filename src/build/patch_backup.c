#include "build/patch_backup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"

#define CLOCK_MS 100 /* many ticks; it may have been set back */

/* One file that was patched: its name, and the number of its oldest backup. */
struct backup {
	char *file, *backup;
	unsigned long number;
	bool empty; /* there was no such file, or it was empty */
};

typedef LP_VEC(struct backup) backup_vec;

/* "dir/foo.c.3.lpmakeorig": where ".3.lpmakeorig" begins, and the number; NULL = another name. */
static const char *backup_suffix(const char *path, unsigned long *number)
{
	size_t n = strlen(path), s = strlen(BACKUP_SUFFIX);
	if (n <= s || strcmp(path + n - s, BACKUP_SUFFIX) != 0)
		return NULL;
	size_t digits = n - s;
	while (digits && isdigit((unsigned char)path[digits - 1]))
		digits--;
	if (digits == n - s || !digits || path[digits - 1] != '.')
		return NULL;
	*number = strtoul(path + digits, NULL, 10);
	return path + digits - 1;
}

static struct backup *find_file(backup_vec *all, const char *file, size_t len)
{
	for (size_t i = 0; i < all->nr; i++)
		if (strlen(all->items[i].file) == len && !memcmp(all->items[i].file, file, len))
			return &all->items[i];
	return NULL;
}

static void note_backup(backup_vec *all, const FTSENT *e)
{
	unsigned long number;
	const char *suffix = backup_suffix(e->fts_path, &number);
	if (!suffix)
		return;
	struct backup *b = find_file(all, e->fts_path, (size_t)(suffix - e->fts_path));
	if (b && b->number < number) { /* of a later patch: not the original */
		unlink(e->fts_accpath);
		return;
	}
	if (b)
		unlink(b->backup);
	else
		b = lp_vec_add(all);
	lp_free(b->file);
	lp_free(b->backup);
	b->file = lp_sprintf("%.*s", (int)(suffix - e->fts_path), e->fts_path);
	b->backup = lp_strdup(e->fts_path);
	b->number = number;
	b->empty = e->fts_statp->st_size == 0;
}

typedef void visitor(void *arg, const FTSENT *file);

static void visit_backup(void *arg, const FTSENT *e)
{
	note_backup(arg, e);
}

static void visit_empty(void *arg, const FTSENT *e)
{
	unsigned long number;
	if (!e->fts_statp->st_size && S_ISREG(e->fts_statp->st_mode) && !backup_suffix(e->fts_path, &number))
		lp_buf_add(arg, e->fts_path, strlen(e->fts_path) + 1);
}

static int walk(const char *dir, visitor *visit, void *arg, struct lp_err *err)
{
	char *roots[] = {lp_strdup(dir), NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!fts) {
		int error = errno;
		lp_free(roots[0]);
		return lp_fail_sys(err, error, "cannot read %s", dir);
	}
	for (FTSENT *e; (e = fts_read(fts));)
		if (e->fts_info == FTS_F || e->fts_info == FTS_DEFAULT)
			visit(arg, e);
	fts_close(fts);
	lp_free(roots[0]);
	return 0;
}

int backups_note_empty(const char *dir, struct lp_buf *out, struct lp_err *err)
{
	return walk(dir, visit_empty, out, err);
}

static void free_all(backup_vec *all)
{
	for (size_t i = 0; i < all->nr; i++) {
		lp_free(all->items[i].file);
		lp_free(all->items[i].backup);
	}
	lp_vec_free(all);
}

static bool is_noted(const struct lp_buf *empty, const char *path)
{
	size_t n = strlen(path) + 1;
	for (size_t at = 0; at < empty->len; at += strnlen((const char *)empty->data + at, empty->len - at) + 1)
		if (empty->len - at >= n && !memcmp(empty->data + at, path, n))
			return true;
	return false;
}

/* patch(1) makes an empty backup of a file that was not there. */
static bool was_absent(const struct backup *b, const struct lp_buf *empty)
{
	return b->empty && !is_noted(empty, b->file);
}

/*
 * make takes for made what is as old as its source, and the times of files come from a clock that goes in ticks: until it is past
 * this instant, a file that is touched may get the time of one that was made of the patched source.
 */
static void wait_for_clock(void)
{
	struct timespec begin, now = {0};
	clock_gettime(CLOCK_REALTIME, &begin);
	for (int ms = 0; ms < CLOCK_MS &&
			 (now.tv_sec < begin.tv_sec || (now.tv_sec == begin.tv_sec && now.tv_nsec <= begin.tv_nsec));
	     ms++) {
		poll(NULL, 0, 1);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	}
}

static int put_back(const struct backup *b, const struct lp_buf *empty, struct lp_err *err)
{
	if (was_absent(b, empty)) {
		if (unlink(b->file) < 0 && errno != ENOENT)
			return lp_fail_sys(err, errno, "cannot remove %s", b->file);
		unlink(b->backup);
		return 0;
	}
	utimensat(AT_FDCWD, b->backup, NULL, AT_SYMLINK_NOFOLLOW);
	if (rename(b->backup, b->file) < 0)
		return lp_fail_sys(err, errno, "cannot restore %s from %s", b->file, b->backup);
	return 0;
}

int backups_restore(const char *dir, const struct lp_buf *empty, size_t *count, struct lp_err *err)
{
	backup_vec all = {0};
	int rc = walk(dir, visit_backup, &all, err);
	*count = 0;
	if (all.nr)
		wait_for_clock();
	for (size_t i = 0; i < all.nr; i++) {
		struct lp_err *first =
			rc ? NULL : err; /* go on with the others; the first failure is the one that is told */
		int one = put_back(&all.items[i], empty, first);
		rc = rc ? rc : one;
		*count += !one;
	}
	free_all(&all);
	return rc;
}

int backups_added(const char *dir, const struct lp_buf *empty, struct lp_buf *out, struct lp_err *err)
{
	backup_vec all = {0};
	int rc = walk(dir, visit_backup, &all, err);
	for (size_t i = 0; i < all.nr; i++) {
		char *real = was_absent(&all.items[i], empty) ? realpath(all.items[i].file, NULL) : NULL;
		if (real)
			lp_buf_printf(out, "%s%s", out->len ? ":" : "", real);
		free(real);
	}
	free_all(&all);
	return rc;
}
