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
#include <stdlib.h>
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

/* One walk at a time, and it knows where it starts. */
static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	const struct lp_proc *p = arg;
	*thread_arg = (void *)(uintptr_t)p->unwinding;
	return *thread_arg != NULL;
}

static bool copied(const struct lp_walk *w, Dwarf_Addr at)
{
	return w->stack_bytes && at >= w->stack.start && at - w->stack.start <= w->stack_len &&
	       w->stack_len - (at - w->stack.start) >= sizeof(Dwarf_Word);
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr at, Dwarf_Word *out, void *arg)
{
	struct lp_proc *p = arg;
	struct lp_walk *w = p->unwinding;
	if (copied(w, at)) {
		*out = lp_get64(w->stack_bytes + (at - w->stack.start));
		return true;
	}
	bool may = (p->paused && !w->from) || !lp_stack_bounds(p, at);
	if (may && lp_mem_read(p, at, out, sizeof *out, NULL) == 0)
		return true;
	w->missed = at;
	return false;
}

static bool set_thread_registers(Dwfl_Thread *thread, const struct lp_stopped *t)
{
	uint64_t regs[LP_DWARF_REGS_MAX];
	size_t nr = lp_arch_host.dwarf_regs(&t->regs, regs);
	Dwarf_Word words[LP_DWARF_REGS_MAX];
	for (size_t i = 0; i < nr; i++)
		words[i] = regs[i];
	dwfl_thread_state_register_pc(thread, t->pc);
	return dwfl_thread_state_registers(thread, 0, (unsigned)nr, words);
}

static bool set_registers(Dwfl_Thread *thread, void *thread_arg)
{
	const struct lp_walk *w = thread_arg;
	if (w->thread)
		return set_thread_registers(thread, w->thread);
	Dwarf_Word sp = w->from->sp, fp = w->from->fp;
	dwfl_thread_state_register_pc(thread, w->from->pc);
	return dwfl_thread_state_registers(thread, (int)lp_arch_host.dwarf_sp, 1, &sp) &&
	       (!fp || dwfl_thread_state_registers(thread, (int)lp_arch_host.dwarf_fp, 1, &fp));
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
	lp_known_report(p);
	if (dwfl_report_end(p->dwfl, NULL, NULL) == 0 && dwfl_attach_state(p->dwfl, NULL, p->pid, &thread_callbacks, p))
		return 0;
	rc = lp_fail(err, LP_EINTERNAL, "cannot unwind process %d: %s", (int)p->pid, dwfl_errmsg(-1));
	lp_unwind_forget(p);
	return rc;
}

struct frames {
	struct lp_walk_frame *at;
	size_t nr, max;
};

static int take_frame(Dwfl_Frame *frame, void *arg)
{
	struct frames *f = arg;
	Dwarf_Addr pc;
	Dwarf_Word sp = 0;
	if (!dwfl_frame_pc(frame, &pc, NULL) || f->nr == f->max)
		return DWARF_CB_ABORT;
	if (dwfl_frame_reg(frame, lp_arch_host.dwarf_sp, &sp) != 0)
		sp = 0;
	f->at[f->nr++] = (struct lp_walk_frame){pc, sp};
	return DWARF_CB_OK;
}

static int walk(struct lp_proc *p, struct lp_walk *w, struct frames *f)
{
	p->unwinding = w;
	int rc = dwfl_getthread_frames(p->dwfl, w->thread ? w->thread->tid : p->pid, take_frame, f);
	p->unwinding = NULL;
	return rc;
}

static const char *why_not(int rc)
{
	return rc < 0 ? dwfl_errmsg(-1) : "it is deeper than expected";
}

int lp_unwind(struct lp_proc *p, int tid, lp_addr *frames, size_t max, struct lp_err *err)
{
	const struct lp_stopped *t = thread_of(p, tid);
	if (!t)
		return lp_fail(err, LP_EINTERNAL, "thread %d was not stopped", tid);
	int rc = lp_unwind_prepare(p, err);
	if (rc < 0)
		return rc;
	struct frames f = {lp_alloc(max * sizeof *f.at), 0, max};
	struct lp_walk w = {.stack = t->stack, .stack_bytes = t->stack_bytes, .stack_len = t->stack_len, .thread = t};
	rc = walk(p, &w, &f);
	for (size_t i = 0; i < f.nr; i++)
		frames[i] = f.at[i].pc;
	lp_free(f.at);
	if (rc == DWARF_CB_OK)
		return (int)f.nr;
	rc = lp_fail(err, LP_EBUSY, "the stack of thread %d cannot be unwound beyond frame %zu: %s", tid, f.nr,
		     why_not(rc));
	if (err) {
		err->tid = tid;
		err->addr = f.nr ? frames[f.nr - 1] : t->pc;
	}
	return rc;
}

static bool has_table(struct lp_proc *p, lp_addr pc)
{
	Dwfl_Module *mod = dwfl_addrmodule(p->dwfl, pc);
	Dwarf_Addr bias;
	Dwarf_Frame *frame;
	Dwarf_CFI *cfi = mod ? dwfl_module_eh_cfi(mod, &bias) : NULL;
	if (!cfi || dwarf_cfi_addrframe(cfi, pc - bias, &frame) != 0)
		return false;
	free(frame);
	return true;
}

int lp_unwind_from(struct lp_proc *p, struct lp_walk_from *from, struct lp_walk_frame *frames, size_t max, size_t *nr,
		   struct lp_err *err)
{
	*nr = 0;
	int rc = lp_unwind_prepare(p, err);
	if (rc < 0)
		return rc;
	struct frames f = {frames, 0, max};
	struct lp_walk w = {.stack = from->stack,
			    .stack_bytes = from->bytes,
			    .stack_len = (size_t)(from->stack.end - from->stack.start),
			    .from = from};
	rc = walk(p, &w, &f);
	*nr = f.nr;
	from->missed = w.missed;
	/* libdw takes a return address that it cannot read for the end of the stack. */
	if (rc == DWARF_CB_OK && !w.missed)
		return (int)f.nr;
	if (f.nr < 2 && !has_table(p, from->pc))
		return lp_fail(err, ENOENT, "there is no unwind table for the code at " LP_ADDR, from->pc);
	return lp_fail(err, LP_EBUSY, "the stack at " LP_ADDR " cannot be unwound beyond frame %zu: %s", from->sp, f.nr,
		       rc == DWARF_CB_OK ? "it goes on in other memory" : why_not(rc));
}

void lp_unwind_forget(struct lp_proc *p)
{
	if (p->dwfl)
		dwfl_end(p->dwfl);
	p->dwfl = NULL;
}
