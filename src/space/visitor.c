/*
 * A library of ours in a process that was started without it.
 *
 * The process's own loader brings it in, on a borrowed thread that stands
 * outside of loader and allocator (proc/call.c), and a function of it is
 * called in the same way.  What fails halfway is taken back.
 */
#include <errno.h>

#include "core/target.h"
#include "space/space.h"

/* 0 when no image defines it. */
static int find(struct lp_target *t, const char *name, lp_addr *out, struct lp_err *err)
{
	const struct lp_image *images;
	struct lp_found f;
	size_t nr;
	int rc = t->ops->images(t, &images, &nr, err);

	*out = rc == 0 && lp_scope_bind(images, nr, name, NULL, &f) ? f.addr : 0;
	return rc;
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

static int enter(struct lp_target *t, const char *path, const char *start, unsigned timeout_ms, struct lp_err *err)
{
	lp_addr fn;
	int rc = find(t, start, &fn, err);

	if (rc < 0)
		return rc;
	return fn ? call(t, start, fn, timeout_ms, err) : load_and_call(t, path, start, timeout_ms, err);
}

/* path NULL: it is there already. */
static int visit(pid_t pid, const char *path, const char *function, unsigned timeout_ms, struct lp_err *err)
{
	struct lp_target *t;
	int rc = lp_target_open_process(&t, pid, NULL, err);

	if (rc < 0)
		return rc;
	rc = t->ops->lock(t, timeout_ms, err);
	if (rc == 0) {
		rc = path ? enter(t, path, function, timeout_ms, err) : call_in(t, t->label, function, timeout_ms, err);
		t->ops->unlock(t);
	}
	lp_target_close(t);
	return rc;
}

int lp_visitor_enter(pid_t pid, const char *path, const char *start, unsigned timeout_ms, struct lp_err *err)
{
	return visit(pid, path, start, timeout_ms, err);
}

int lp_visitor_leave(pid_t pid, const char *stop, unsigned timeout_ms, struct lp_err *err)
{
	return visit(pid, NULL, stop, timeout_ms, err);
}
