#include "update/state.h"

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
#include "base/vec.h"
#include "update/http.h"
#include "update/names.h"

#define STATE_MAX 16384

/* ---- names ---- */

static const char *const compiled[] = {
#define UPDATE_REPOSITORY(name) name,
#define UPDATE_KEY(text)
#include "update/vendor.def"
#undef UPDATE_REPOSITORY
#undef UPDATE_KEY
	NULL};

const char *lp_update_repository(const char *configured)
{
	return configured ? configured : compiled[0];
}

static bool is_name(const char *text, size_t len)
{
	static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

	return len > 0 && len <= 100 && strspn(text, fine) >= len && text[0] != '.';
}

bool lp_repository_is_fine(const char *repository)
{
	const char *slash = repository ? strchr(repository, '/') : NULL;

	return slash && is_name(repository, (size_t)(slash - repository)) && is_name(slash + 1, strlen(slash + 1));
}

/* ---- the folder ---- */

static char *folder_path(void)
{
	const char *xdg = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");

	if (xdg && *xdg == '/')
		return lp_sprintf("%s/" LP_PRODUCT, xdg);
	return home && *home == '/' ? lp_sprintf("%s/.local/state/" LP_PRODUCT, home) : NULL;
}

/* Folders that are missing are made, for their user alone. */
static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	mkdir(path, 0700);
}

static int refuse_others(int fd, const char *path, struct lp_err *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return lp_fail_sys(err, errno, "%s", path);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return lp_fail(err, LP_EUNTRUSTED,
			       "%s: somebody else may write here; it has to be yours alone (chmod go-w)", path);
	return 0;
}

static int open_folder(int *fd, struct lp_err *err)
{
	char *path = folder_path();
	int rc;

	if (!path)
		return lp_fail(err, ENOENT,
			       "there is no place to remember updates in: neither $XDG_STATE_HOME nor $HOME is set");
	make_folders(path);
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = *fd < 0 ? lp_fail_sys(err, errno, "%s, where updates are remembered", path)
		     : refuse_others(*fd, path, err);
	if (rc) {
		lp_close(*fd);
		*fd = -1;
	}
	lp_free(path);
	return rc;
}

/* ---- files ---- */

static int write_all(int fd, const void *data, size_t len)
{
	int rc = lp_pwrite_full(fd, data, len, 0);

	return rc == 0 && fsync(fd) ? -errno : rc;
}

int lp_update_replace_file(int folder, const char *name, const void *data, size_t len, struct lp_err *err)
{
	char *draft = lp_sprintf("%s.new", name);
	int fd = openat(folder, draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : write_all(fd, data, len);

	lp_close(fd);
	if (rc == 0 && renameat(folder, draft, folder, name))
		rc = -errno;
	if (rc)
		unlinkat(folder, draft, 0);
	else
		fsync(folder);
	lp_free(draft);
	return rc ? lp_fail_sys(err, rc, "cannot write %s", name) : 0;
}

static int read_at(int folder, const char *name, struct lp_buf *out, size_t limit, struct lp_err *err)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc;

	if (fd < 0)
		return lp_fail_sys(err, errno, "%s", name);
	rc = lp_read_fd(fd, out, limit, err);
	lp_close(fd);
	return rc;
}

int lp_update_memory_get(const struct lp_update_memory *m, const char *suffix, struct lp_buf *out, size_t limit,
			 struct lp_err *err)
{
	char *name = lp_sprintf("%s.%s", m->name, suffix);
	int rc = read_at(m->folder, name, out, limit, err);

	lp_free(name);
	return rc;
}

int lp_update_memory_put(const struct lp_update_memory *m, const char *suffix, const void *data, size_t len,
			 struct lp_err *err)
{
	char *name = lp_sprintf("%s.%s", m->name, suffix);
	int rc;

	flock(m->folder, LOCK_EX);
	rc = lp_update_replace_file(m->folder, name, data, len, err);
	flock(m->folder, LOCK_UN);
	lp_free(name);
	return rc;
}

/* ---- the state's lines: KEY VALUE ---- */

static bool read_time(const char *text, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return !errno && end != text && !*end && *out >= 0;
}

static bool read_text(const char *text, char *out, size_t size)
{
	return snprintf(out, size, "%s", text) < (int)size;
}

static bool read_line(struct lp_update_state *s, char *line)
{
	char *value = strchr(line, ' ');

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(line, "checked"))
		return read_time(value, &s->checked);
	if (!strcmp(line, "not-before"))
		return read_time(value, &s->not_before);
	if (!strcmp(line, "highest"))
		return lp_version_read(value, &s->highest);
	if (!strcmp(line, "highest-rc"))
		return lp_version_read(value, &s->highest_rc);
	if (!strcmp(line, "available"))
		return lp_version_read(value, &s->available);
	if (!strcmp(line, "news"))
		return read_text(value, s->news, sizeof s->news);
	return true; /* of a version to come */
}

static bool read_lines(struct lp_update_state *s, char *text)
{
	char *line = text, *end;

	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (!read_line(s, line))
			return false;
	}
	return !*line;
}

static int read_state(struct lp_update_memory *m, struct lp_err *err)
{
	struct lp_buf text = {0};
	struct lp_err why = {0};
	int rc = read_at(m->folder, m->name, &text, STATE_MAX, &why);

	if (rc && rc != -ENOENT && err)
		*err = why;
	if (rc == 0 && !read_lines(&m->state, (char *)lp_buf_cstr(&text)))
		rc = lp_fail(err, LP_EFILE,
			     "what is remembered of updates is damaged, also which version is too old; "
			     "look at the file %s in %s, and remove it",
			     m->name,
			     secure_getenv("XDG_STATE_HOME") ? "$XDG_STATE_HOME/" LP_PRODUCT
							     : "~/.local/state/" LP_PRODUCT);
	lp_buf_free(&text);
	return rc == -ENOENT ? 0 : rc;
}

int lp_update_memory_open(struct lp_update_memory *m, const char *repository, struct lp_err *err)
{
	int rc;

	*m = (struct lp_update_memory){.folder = -1};
	if (!lp_repository_is_fine(repository))
		return lp_fail(err, LP_EUSAGE, "%s is no repository: write OWNER/NAME",
			       repository ? repository : "(nothing)");
	rc = open_folder(&m->folder, err);
	if (rc == 0) {
		m->name = lp_sprintf("updates.%s", repository);
		*strchr(m->name, '/') = '@'; /* no name of a repository has one */
		rc = read_state(m, err);
	}
	if (rc)
		lp_update_memory_close(m);
	return rc;
}

static void add_version(struct lp_buf *text, const char *key, const struct lp_version *v)
{
	char shown[LP_VERSION_TEXT];

	lp_buf_printf(text, "%s %s\n", key, lp_version_text(v, shown));
}

static void raise_to(struct lp_version *v, const struct lp_version *other)
{
	if (lp_version_compare(other, v) > 0)
		*v = *other;
}

/* What another process has seen since we read it. */
static void keep_highest(struct lp_update_memory *m)
{
	struct lp_update_memory now = {.folder = m->folder, .name = m->name};

	if (read_state(&now, NULL))
		return;
	raise_to(&m->state.highest, &now.state.highest);
	raise_to(&m->state.highest_rc, &now.state.highest_rc);
}

static int write_state(struct lp_update_memory *m, struct lp_err *err)
{
	const struct lp_update_state *s = &m->state;
	char *news = lp_strdup_line(s->news);
	struct lp_buf text = {0};
	int rc;

	lp_buf_printf(&text, "checked %" PRId64 "\nnot-before %" PRId64 "\n", s->checked, s->not_before);
	add_version(&text, "highest", &s->highest);
	add_version(&text, "highest-rc", &s->highest_rc);
	add_version(&text, "available", &s->available);
	lp_buf_printf(&text, "news %s\n", news);
	rc = lp_update_replace_file(m->folder, m->name, text.data, text.len, err);
	lp_buf_free(&text);
	lp_free(news);
	return rc;
}

int lp_update_memory_save(struct lp_update_memory *m, struct lp_err *err)
{
	int rc;

	flock(m->folder, LOCK_EX);
	keep_highest(m);
	rc = write_state(m, err);
	flock(m->folder, LOCK_UN);
	return rc;
}

int64_t lp_update_put_off_s(const struct lp_update_state *s)
{
	int64_t left = s->not_before - (int64_t)time(NULL);

	return left > 0 && left <= LP_HTTP_WAIT_MAX ? left : 0;
}

static bool is_due(const struct lp_update_state *s, unsigned interval_s)
{
	int64_t now = time(NULL);

	return !lp_update_put_off_s(s) && (s->checked > now || now - s->checked >= interval_s);
}

bool lp_update_memory_takes_turn(struct lp_update_memory *m, unsigned interval_s)
{
	bool is_ours;

	if (!is_due(&m->state, interval_s) || flock(m->folder, LOCK_EX | LOCK_NB))
		return false;
	is_ours = read_state(m, NULL) == 0 && is_due(&m->state, interval_s);
	if (is_ours) {
		m->state.checked = time(NULL);
		is_ours = write_state(m, NULL) == 0;
	}
	flock(m->folder, LOCK_UN);
	return is_ours;
}

void lp_update_memory_close(struct lp_update_memory *m)
{
	lp_close(m->folder);
	lp_free(m->name);
	*m = (struct lp_update_memory){.folder = -1};
}
