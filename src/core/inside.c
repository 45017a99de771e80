/*
 * Exception handling.  A C++ exception, pthread_cancel() and a debugger's
 * backtrace find the way out of a function by its unwind table, and the tables
 * by asking the dynamic linker which object the function is in.  A patch is in
 * none; so its tables are registered with libgcc's __register_frame_info(),
 * which was made for code that a program generates.  LLVM's libunwind has a
 * function of that name that does nothing, and one of its own that does it.
 *
 * libgcc keeps a pointer to the tables and to a small object that we provide, at
 * the end of the room.  The room must not be unmapped before the registration is
 * taken back, and taking back what was never registered aborts the program.
 * Whether it is registered is read from the object: libgcc fills it in, and for
 * libunwind, which has no use for it, we do.  A mark behind it is set while a
 * call is under way; whoever finds the mark (because
 * the livepatch that set it was killed) cannot know, and leaves the room
 * mapped, which harms nobody.
 */
#include "core/inside.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "core/kept.h"
#include "core/link_private.h"

#define FORGET_TIMEOUT_MS 5000u
#define MARK_AT 96u
#define OURS (MARK_AT + 8) /* bytes; the trailer follows, and stays */

_Static_assert(OURS + sizeof(struct lp_room_trailer) == LP_FRAMES_OBJECT, "nothing is lost");

/* ---- hooks ---- */

void lp_hooks_of_entry(struct lp_target *t, const struct lp_ledger_entry *e, lp_hook_vec *out)
{
	for (size_t i = 0; i < e->nr_rooms; i++) {
		struct lp_kpatch *k = lp_kept_read(t, &e->rooms[i]);
		size_t len = 0;
		const uint8_t *bytes =
			k && k->hooks ? lp_elf_section_data(k->elf, lp_elf_section(k->elf, k->hooks), &len) : NULL;
		for (size_t h = 0; bytes && h < k->nr_hooks; h++)
			lp_vec_push(out, ((struct lp_relink_hook){(enum lp_kpatch_hook)lp_get64(bytes + 16 * h),
								  lp_get64(bytes + 16 * h + 8)}));
		lp_kpatch_free(k);
	}
}

static int call(struct lp_target *t, lp_addr fn, lp_addr first, lp_addr second, unsigned timeout_ms, uint64_t *result,
		struct lp_err *err)
{
	if (!t->ops->call)
		return lp_fail(err, LP_ENOTHREAD, "%s cannot be asked to call a function", t->label);
	return t->ops->call(t, fn, (uint64_t[6]){first, second}, result, timeout_ms, err);
}

bool lp_hook_may_run(int rc)
{
	return rc == -LP_ETIMEOUT || rc == -LP_EREMOTE;
}

int lp_hooks_run(struct lp_target *t, const struct lp_relink_hook *hooks, size_t nr, enum lp_kpatch_hook kind,
		 unsigned timeout_ms, struct lp_err *err)
{
	static const char *const names[] = {[LP_HOOK_PRE_APPLY] = "pre-apply",
					    [LP_HOOK_POST_APPLY] = "post-apply",
					    [LP_HOOK_PRE_REVERT] = "pre-revert",
					    [LP_HOOK_POST_REVERT] = "post-revert"};
	for (size_t i = 0; i < nr; i++) {
		uint64_t result = 0;
		if (hooks[i].kind != kind)
			continue;
		int rc = call(t, hooks[i].function, 0, 0, timeout_ms, &result, err);
		if (rc < 0)
			return lp_err_context(err, rc, "the patch's %s hook", names[kind]);
		if ((int32_t)result != 0)
			return lp_fail(err, LP_EHOOK, "the patch's %s hook said no: it returned %d", names[kind],
				       (int)(int32_t)result);
	}
	return 0;
}

/* ---- unwind tables ---- */

/* 1 = found, 0 = the program has none. */
static int library_function(struct lp_target *t, const char *name, lp_addr *out, struct lp_err *err)
{
	struct lp_link_bound b;
	int rc = lp_link_bind_name(t, name, NULL, &b, err);
	if (rc == 0)
		rc = lp_link_bind_unexported(t, 0, name, &b, err);
	*out = rc == 1 ? b.addr : 0;
	return rc;
}

static lp_addr object_of(struct lp_range room)
{
	return room.end - LP_FRAMES_OBJECT;
}

static int set_mark(struct lp_target *t, struct lp_range room, uint64_t mark, struct lp_err *err)
{
	return t->ops->write(t, object_of(room) + MARK_AT, &mark, sizeof mark, err);
}

#define OF_LIBUNWIND UINT64_C(0x31444e57554d564c) /* "LVMUWND1", in the object's first word */

static bool is_zero(struct lp_target *t, lp_addr at, size_t len)
{
	static const uint8_t zero[OURS];
	uint8_t bytes[OURS];
	return t->ops->read(t, at, bytes, len, NULL) == 0 && memcmp(bytes, zero, len) == 0;
}

static int call_marked(struct lp_target *t, struct lp_range room, lp_addr fn, lp_addr eh_frame, lp_addr object,
		       unsigned timeout_ms, struct lp_err *err)
{
	uint64_t result;
	int rc = set_mark(t, room, 1, err);
	return rc ? rc : call(t, fn, eh_frame, object, timeout_ms, &result, err);
}

/* Not begun, or done: no doubt about it. */
static void settle_mark(struct lp_target *t, struct lp_range room, int rc)
{
	if (rc == 0 || !lp_hook_may_run(rc))
		set_mark(t, room, 0, NULL);
}

static int register_with_libunwind(struct lp_target *t, struct lp_range room, lp_addr eh_frame, unsigned timeout_ms,
				   struct lp_err *err)
{
	static const uint64_t ours = OF_LIBUNWIND;
	lp_addr fn, forget;
	int rc = library_function(t, "__unw_add_dynamic_eh_frame_section", &fn, err);
	if (rc == 1)
		rc = library_function(t, "__unw_remove_dynamic_eh_frame_section", &forget, err);
	if (rc == 0)
		rc = lp_fail(err, LP_ENOSYM, "the run-time library of %s takes no unwind tables of code that is added",
			     t->label);
	rc = rc < 0 ? rc : call_marked(t, room, fn, eh_frame, 0, timeout_ms, err);
	return rc ? rc : t->ops->write(t, object_of(room), &ours, sizeof ours, err);
}

int lp_frames_register(struct lp_target *t, struct lp_range room, lp_addr eh_frame, unsigned timeout_ms,
		       struct lp_err *err)
{
	lp_addr fn, forget;
	/* Known already, or nobody can tell: never twice. */
	if (!is_zero(t, object_of(room), OURS))
		return 0;
	int rc = library_function(t, "__register_frame_info", &fn, err);
	if (rc == 1)
		rc = library_function(t, "__deregister_frame_info", &forget, err);
	if (rc != 1)
		return rc;
	rc = call_marked(t, room, fn, eh_frame, object_of(room), timeout_ms, err);
	/* There are tables, and the object is as it was: it was not libgcc. */
	if (rc == 0 && is_zero(t, object_of(room), MARK_AT) && !is_zero(t, eh_frame, sizeof(uint32_t)))
		rc = register_with_libunwind(t, room, eh_frame, timeout_ms, err);
	settle_mark(t, room, rc);
	return rc < 0 ? lp_err_context(err, rc, "registering the patch's unwind tables") : 0;
}

bool lp_frames_forget(struct lp_target *t, struct lp_range room, lp_addr eh_frame)
{
	static const uint8_t zero[OURS];
	uint8_t object[OURS];
	lp_addr fn;
	struct lp_err err = {0};
	if (t->ops->read(t, object_of(room), object, sizeof object, NULL) < 0 ||
	    memcmp(object, zero, sizeof object) == 0)
		return true; /* not mapped, or never registered */
	if (lp_get64(object + MARK_AT)) {
		lp_warn("an earlier livepatch was killed while it (un)registered unwind tables: " LP_ADDR "-" LP_ADDR
			" stays mapped",
			room.start, room.end);
		return false;
	}
	bool libunwind = lp_get64(object) == OF_LIBUNWIND;
	int rc = library_function(t, libunwind ? "__unw_remove_dynamic_eh_frame_section" : "__deregister_frame_info",
				  &fn, &err);
	rc = rc == 1 ? call_marked(t, room, fn, eh_frame, 0, FORGET_TIMEOUT_MS, &err)
		     : lp_fail(&err, LP_ENOSYM, "the library that they were registered with is gone");
	if (rc == 0)
		t->ops->write(t, object_of(room), zero, sizeof zero, NULL);
	else
		settle_mark(t, room, rc);
	if (rc < 0)
		lp_warn("unwind tables stay registered, and " LP_ADDR "-" LP_ADDR " mapped: %s", room.start, room.end,
			err.text);
	return rc == 0;
}
