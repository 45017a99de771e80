#include "api/watch_path.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define EVENTS                                                                                               \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | \
	 IN_MOVE_SELF)
#define LINKS_MAX 40 /* as the kernel's own limit */

/* ---- the way to a file ---- */

/* A walk from the root on, which leaves a step for each name it goes through. */
struct walk {
	struct lp_path_watch *w;
	char *dir;  /* links followed; without a slash at its end, so the root is "" */
	char *rest; /* what is left of the path */
	unsigned links;
	struct lp_err *err;
};

/* Takes the next name off the rest; NULL at its end. */
static char *next_name(struct walk *k)
{
	const char *start = k->rest + strspn(k->rest, "/");
	size_t len = strcspn(start, "/");
	if (!len)
		return NULL;
	char *name = lp_sprintf("%.*s", (int)len, start), *rest = lp_strdup(start + len);
	lp_free(k->rest);
	k->rest = rest;
	return name;
}

static void set_dir(struct walk *k, char *dir)
{
	lp_free(k->dir);
	k->dir = dir;
}

static void leave_dir(struct walk *k)
{
	char *slash = strrchr(k->dir, '/');
	if (slash)
		*slash = 0;
}

/* The watch comes before the look: what changes in between is told. */
static int add_step(struct walk *k, const char *name)
{
	const char *dir = k->dir[0] ? k->dir : "/";
	int wd = inotify_add_watch(k->w->fd, dir, EVENTS | IN_ONLYDIR);
	bool last = !k->rest[strspn(k->rest, "/")];
	bool gone = wd < 0 && (errno == ENOENT || errno == ENOTDIR); /* its own step tells when it comes */
	bool closed = wd < 0 && errno == EACCES && !last;	     /* we may pass through it, but not look into it */
	if (wd < 0 && !gone && !closed)
		return lp_fail_sys(k->err, errno, "cannot watch %s", dir);
	if (wd >= 0)
		*lp_vec_add(&k->w->steps) = (struct lp_path_step){wd, lp_strdup(dir), lp_strdup(name)};
	return 0;
}

/* 1 = go on, 0 = the way ends here */
static int follow_link(struct walk *k, const char *path)
{
	char target[PATH_MAX];
	ssize_t len = readlink(path, target, sizeof target - 1);
	if (len <= 0 || ++k->links > LINKS_MAX)
		return 0;
	target[len] = 0;
	if (target[0] == '/')
		set_dir(k, lp_strdup(""));
	char *rest = lp_sprintf("%s/%s", target, k->rest);
	lp_free(k->rest);
	k->rest = rest;
	return 1;
}

static int pass(struct walk *k, const char *name)
{
	struct stat st;
	if (strcmp(name, ".") == 0)
		return 1;
	if (strcmp(name, "..") == 0) {
		leave_dir(k);
		return 1;
	}
	int rc = add_step(k, name);
	if (rc < 0)
		return rc;
	char *path = lp_sprintf("%s/%s", k->dir, name);
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		rc = follow_link(k, path);
		lp_free(path);
		return rc;
	}
	set_dir(k, path);
	return 1; /* where it ends too early, adding the next step says so */
}

static int walk(struct lp_path_watch *w, const char *path, struct lp_err *err)
{
	struct walk k = {.w = w, .dir = lp_strdup(""), .rest = lp_strdup(path), .err = err};
	int rc = 1;
	for (char *name; rc > 0 && (name = next_name(&k)); lp_free(name))
		rc = pass(&k, name);
	lp_free(k.dir);
	lp_free(k.rest);
	return rc < 0 ? rc : 0;
}

/* ---- all of them ---- */

static void free_steps(struct lp_path_step *steps, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		lp_free(steps[i].dir);
		lp_free(steps[i].name);
	}
	lp_free(steps);
}

static bool is_watched(const struct lp_path_watch *w, int wd)
{
	for (size_t i = 0; i < w->steps.nr; i++)
		if (w->steps.items[i].wd == wd)
			return true;
	return false;
}

/* Walks all paths anew.  Watches that no path needs any more end afterwards, so that those that stay miss nothing. */
static int walk_all(struct lp_path_watch *w, struct lp_err *err)
{
	struct lp_path_step *old = w->steps.items;
	size_t nr = w->steps.nr;
	int rc = 0;
	w->steps.items = NULL;
	w->steps.nr = w->steps.cap = 0;
	for (size_t i = 0; rc == 0 && i < w->paths.nr; i++)
		rc = walk(w, w->paths.items[i], err);
	for (size_t i = 0; i < nr; i++)
		if (!is_watched(w, old[i].wd))
			inotify_rm_watch(w->fd, old[i].wd);
	free_steps(old, nr);
	return rc;
}

int lp_path_watch_open(struct lp_path_watch *w, struct lp_err *err)
{
	*w = (struct lp_path_watch){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
	return w->fd < 0 ? lp_fail_sys(err, errno, "cannot watch files") : 0;
}

int lp_path_watch_add(struct lp_path_watch *w, const char *path, struct lp_err *err)
{
	for (size_t i = 0; i < w->paths.nr; i++)
		if (strcmp(w->paths.items[i], path) == 0)
			return 0;
	lp_vec_push(&w->paths, lp_strdup(path));
	int rc = walk_all(w, err);
	if (rc < 0)
		lp_path_watch_remove(w, path);
	return rc < 0 ? rc : 1;
}

void lp_path_watch_remove(struct lp_path_watch *w, const char *path)
{
	for (size_t i = 0; i < w->paths.nr; i++) {
		if (strcmp(w->paths.items[i], path) != 0)
			continue;
		lp_free(w->paths.items[i]);
		w->paths.items[i] = w->paths.items[--w->paths.nr];
		walk_all(w, NULL);
		return;
	}
}

void lp_path_watch_close(struct lp_path_watch *w)
{
	for (size_t i = 0; i < w->paths.nr; i++)
		lp_free(w->paths.items[i]);
	lp_vec_free(&w->paths);
	free_steps(w->steps.items, w->steps.nr);
	w->steps.items = NULL;
	lp_close(w->fd);
}

/* ---- what happened ---- */

static const struct lp_path_step *step_of(const struct lp_path_watch *w, const struct inotify_event *e)
{
	for (size_t i = 0; i < w->steps.nr; i++)
		if (w->steps.items[i].wd == e->wd && e->len && strcmp(w->steps.items[i].name, e->name) == 0)
			return &w->steps.items[i];
	return NULL;
}

/* A new link is complete; a new file or directory is empty at first. */
static enum lp_path_event meaning_of_new(const struct lp_path_step *step)
{
	struct stat st;
	char *path = lp_sprintf("%s/%s", step->dir, step->name);
	bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
	lp_free(path);
	return link ? LP_PATH_CHANGED : LP_PATH_BEGUN;
}

static enum lp_path_event meaning_of(const struct lp_path_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return LP_PATH_CHANGED;
	if (e->mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF))
		return is_watched(w, e->wd) ? LP_PATH_CHANGED : LP_PATH_QUIET;
	const struct lp_path_step *step = step_of(w, e);
	if (!step)
		return LP_PATH_QUIET;
	return e->mask & IN_CREATE ? meaning_of_new(step) : LP_PATH_CHANGED;
}

static enum lp_path_event read_some(struct lp_path_watch *w, const char *events, size_t len)
{
	enum lp_path_event most = LP_PATH_QUIET;
	for (size_t at = 0; at < len;) {
		const struct inotify_event *e = (const struct inotify_event *)(events + at);
		enum lp_path_event it = meaning_of(w, e);
		most = it > most ? it : most;
		at += sizeof *e + e->len;
	}
	return most;
}

enum lp_path_event lp_path_watch_read(struct lp_path_watch *w)
{
	_Alignas(struct inotify_event) char events[16384];
	enum lp_path_event most = LP_PATH_QUIET;
	ssize_t len;
	while ((len = read(w->fd, events, sizeof events)) > 0) {
		enum lp_path_event it = read_some(w, events, (size_t)len);
		most = it > most ? it : most;
	}
	if (most != LP_PATH_QUIET)
		walk_all(w, NULL); /* what cannot be watched now is told by the steps before it when it changes */
	return most;
}
