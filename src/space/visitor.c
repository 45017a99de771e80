/*
 * A library of ours in a process that was started without it.
 *
 * The process's own loader brings it in, on a borrowed thread that stands
 * outside of loader and allocator (proc/call.c), and a function of it is
 * called in the same way.  What fails halfway is taken back.
 */
#include <errno.h>
#include <string.h>

#include "core/target.h"
#include "space/space.h"

/* 0 when no image defines it; which one does is of interest when `file` is not NULL. */
static int find_in(struct lp_target *t, const char *name, lp_addr *out, const char **file, struct lp_err *err)
{
	const struct lp_image *images;
	struct lp_found f;
	size_t nr;
	int rc = t->ops->images(t, &images, &nr, err);
	bool found = rc == 0 && lp_scope_bind(images, nr, name, NULL, &f);

	*out = found ? f.addr : 0;
	if (file)
		*file = found ? images[f.image].path : NULL;
	return rc;
}

static int find(struct lp_target *t, const char *name, lp_addr *out, struct lp_err *err)
{
	return find_in(t, name, out, NULL, err);
}

/* A function without arguments that returns 0, or a negative code of errno's or ours. */
static int call(struct lp_target *t, const char *name, lp_addr fn, unsigned timeout_ms, struct lp_err *err)
{
	uint64_t result = 0;
	int rc = t->ops->call(t, fn, (uint64_t[6]){0}, &result, timeout_ms, err);

	if (rc < 0)
		return rc;
	rc = (int32_t)result;
	return rc < 0 ? lp_fail(err, LP_EREMOTE, "%s() refuses inside %s: %s", name, t->label, lp_strerror(rc)) : 0;
}

static int call_in(struct lp_target *t, const char *path, const char *name, unsigned timeout_ms, struct lp_err *err)
{
	lp_addr fn;
	int rc = find(t, name, &fn, err);

	if (rc < 0)
		return rc;
	return fn ? call(t, name, fn, timeout_ms, err) : lp_fail(err, LP_ENOSYM, "%s has no %s()", path, name);
}

/* A program that wants a loader has got one, but that may not have brought in the C library yet. */
static int refuse_without_loader(struct lp_target *t, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	int rc = t->ops->images(t, &images, &nr, err);

	if (rc < 0)
		return rc;
	if (nr && lp_elf_phdr_find(images[0].elf, PT_INTERP))
		return lp_fail(err, LP_ESTARTING,
			       "%s has no dlopen() yet: it is only just starting, or its C library has none; try again",
			       t->label);
	return lp_fail(err, LP_ENEEDSDLOPEN, "%s is a static program: it has no loader that could bring a library in",
		       t->label);
}

static int load_and_call(struct lp_target *t, const char *path, const char *start, unsigned timeout_ms,
			 struct lp_err *err)
{
	lp_addr handle = 0, loader;
	size_t image;
	int rc = find(t, "dlopen", &loader, err);

	if (rc == 0 && !loader)
		rc = refuse_without_loader(t, err);
	rc = rc ? rc : t->ops->dlopen(t, path, timeout_ms, &handle, &image, err);
	if (rc < 0)
		return rc;
	rc = call_in(t, path, start, timeout_ms, err);
	/* When its time was over it may be running still. */
	if (rc < 0 && rc != -LP_ETIMEOUT && t->ops->dlclose(t, handle, timeout_ms, NULL) < 0)
		lp_err_append(err, "%s stays loaded", path);
	return rc;
}

/* What to enter, and by what. */
struct visit {
	const char *path; /* NULL: it is there already */
	bool only_this;
	const char *function;
};

static int enter(struct lp_target *t, const struct visit *v, unsigned timeout_ms, struct lp_err *err)
{
	const char *start = v->function, *path = v->path, *there;
	lp_addr fn;
	int rc = find_in(t, start, &fn, &there, err);

	if (rc < 0)
		return rc;
	if (fn && v->only_this && strcmp(there, path) != 0)
		return lp_fail(err, LP_EEXISTS,
			       "%s has %s already, which stays; without a name that one is started, and not %s",
			       t->label, there, path);
	return fn ? call(t, start, fn, timeout_ms, err) : load_and_call(t, path, start, timeout_ms, err);
}

static int visit(pid_t pid, const struct visit *v, unsigned timeout_ms, struct lp_err *err)
{
	struct lp_target *t;
	int rc = lp_target_open_process(&t, pid, NULL, err);

	if (rc < 0)
		return rc;
	rc = t->ops->lock(t, timeout_ms, err);
	if (rc == 0) {
		rc = v->path ? enter(t, v, timeout_ms, err) : call_in(t, t->label, v->function, timeout_ms, err);
		t->ops->unlock(t);
	}
	lp_target_close(t);
	return rc;
}

int lp_visitor_enter(pid_t pid, const char *path, bool only_this, const char *start, unsigned timeout_ms,
		     struct lp_err *err)
{
	return visit(pid, &(struct visit){path, only_this, start}, timeout_ms, err);
}

int lp_visitor_leave(pid_t pid, const char *stop, unsigned timeout_ms, struct lp_err *err)
{
	return visit(pid, &(struct visit){.function = stop}, timeout_ms, err);
}
