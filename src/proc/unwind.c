/*
 * Frames of a thread, from the copies that the last pause took.
 *
 * libdw walks the call frame information (.eh_frame; no debug files are asked
 * for).  It gets registers and stack from our copies, so it may work when the
 * target has long gone on, and everything else from live memory.  What is
 * neither, namely another stack that was not copied (a handler on an alternate
 * stack returns to one), may have changed by now: reading it fails, and so
 * does the unwinding, rather than invent frames.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "proc/state.h"

/* ---- modules ---- */

static int no_debuginfo(Dwfl_Module *mod, void **userdata, const char *name, Dwarf_Addr base, const char *file,
			const char *debuglink, GElf_Word crc, char **found)
{
	return -1;
}

static const Dwfl_Callbacks module_callbacks = {
	.find_elf = dwfl_build_id_find_elf, /* never called: each module is reported with its file */
	.find_debuginfo = no_debuginfo,
};

static int vdso_copy(struct lp_proc *p, const struct lp_range *vdso)
{
	size_t len = vdso->end - vdso->start;
	uint8_t *bytes = lp_alloc(len);
	int fd = memfd_create("vdso", MFD_CLOEXEC);
	if (fd >= 0 && (lp_mem_read(p, vdso->start, bytes, len, NULL) < 0 || lp_pwrite_full(fd, bytes, len, 0) < 0)) {
		lp_close(fd);
		fd = -1;
	}
	lp_free(bytes);
	return fd;
}

static void report_images(struct lp_proc *p)
{
	for (size_t i = 0; i < p->images.nr; i++) {
		const struct lp_image *im = &p->images.items[i];
		bool is_vdso = im->bias == p->vdso.start && p->vdso.start;
		int fd = is_vdso ? vdso_copy(p, &p->vdso) : lp_image_reopen(p, i);
		if (fd >= 0 && !dwfl_report_elf(p->dwfl, im->name, im->path, fd, im->bias, true))
			lp_close(fd);
	}
}

/* ---- threads ---- */

static const struct lp_stopped *thread_of(const struct lp_proc *p, int tid)
{
	for (size_t i = 0; i < p->stopped.nr; i++) {
		if (p->stopped.items[i].tid == tid)
			return &p->stopped.items[i];
	}
	return NULL;
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	return 0; /* we are asked for single threads only */
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	*thread_arg = (void *)(uintptr_t)thread_of(arg, tid);
	return *thread_arg != NULL;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr at, Dwarf_Word *out, void *arg)
{
	struct lp_proc *p = arg;
	const struct lp_stopped *t = p->unwinding;
	if (t && t->stack_bytes && at >= t->stack.start && at - t->stack.start <= t->stack_len &&
	    t->stack_len - (at - t->stack.start) >= sizeof *out) {
		*out = lp_get64(t->stack_bytes + (at - t->stack.start));
		return true;
	}
	if (!p->paused && lp_stack_bounds(p, at))
		return false;
	return lp_mem_read(p, at, out, sizeof *out, NULL) == 0;
}

static bool set_registers(Dwfl_Thread *thread, void *thread_arg)
{
	const struct lp_stopped *t = thread_arg;
	uint64_t regs[LP_DWARF_REGS_MAX];
	size_t nr = lp_arch_host.dwarf_regs(&t->regs, regs);
	Dwarf_Word words[LP_DWARF_REGS_MAX];
	for (size_t i = 0; i < nr; i++)
		words[i] = regs[i];
	dwfl_thread_state_register_pc(thread, t->pc);
	return dwfl_thread_state_registers(thread, 0, (unsigned)nr, words);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

/* ---- walking ---- */

int lp_unwind_prepare(struct lp_proc *p, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	if (p->dwfl)
		return 0;
	int rc = lp_images(p, NULL, &images, &nr, err);
	if (rc < 0)
		return rc;
	p->dwfl = dwfl_begin(&module_callbacks);
	if (!p->dwfl)
		return lp_fail(err, LP_EINTERNAL, "cannot unwind: %s", dwfl_errmsg(-1));
	dwfl_report_begin(p->dwfl);
	report_images(p);
	if (dwfl_report_end(p->dwfl, NULL, NULL) == 0 && dwfl_attach_state(p->dwfl, NULL, p->pid, &thread_callbacks, p))
		return 0;
	rc = lp_fail(err, LP_EINTERNAL, "cannot unwind process %d: %s", (int)p->pid, dwfl_errmsg(-1));
	lp_unwind_forget(p);
	return rc;
}

struct frames {
	lp_addr *at;
	size_t nr, max;
};

static int take_frame(Dwfl_Frame *frame, void *arg)
{
	struct frames *f = arg;
	Dwarf_Addr pc;
	if (!dwfl_frame_pc(frame, &pc, NULL) || f->nr == f->max)
		return DWARF_CB_ABORT;
	f->at[f->nr++] = pc;
	return DWARF_CB_OK;
}

int lp_unwind(struct lp_proc *p, int tid, lp_addr *frames, size_t max, struct lp_err *err)
{
	const struct lp_stopped *t = thread_of(p, tid);
	if (!t)
		return lp_fail(err, LP_EINTERNAL, "thread %d was not stopped", tid);
	int rc = lp_unwind_prepare(p, err);
	if (rc < 0)
		return rc;
	struct frames f = {frames, 0, max};
	p->unwinding = t;
	rc = dwfl_getthread_frames(p->dwfl, tid, take_frame, &f);
	p->unwinding = NULL;
	if (rc == DWARF_CB_OK)
		return (int)f.nr;
	const char *why = rc < 0 ? dwfl_errmsg(-1) : "it is deeper than expected";
	rc = lp_fail(err, LP_EBUSY, "the stack of thread %d cannot be unwound beyond frame %zu: %s", tid, f.nr, why);
	if (err) {
		err->tid = tid;
		err->addr = f.nr ? frames[f.nr - 1] : t->pc;
	}
	return rc;
}

void lp_unwind_forget(struct lp_proc *p)
{
	if (p->dwfl)
		dwfl_end(p->dwfl);
	p->dwfl = NULL;
}
