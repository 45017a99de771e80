/*
 * The emulator's guest as a target: the core's interface over emu/.
 *
 * We live in the same process as the guest, in threads that it knows nothing
 * of.  Its memory is ours to write; what keeps translations right is that every
 * write forgets the blocks that it covers.  The pause is the emulator's: each
 * guest thread stands at a branch, or in a system call of the host.
 *
 * Rooms and ledger are memory of the guest with names of ours, "livepatch-room.ID"
 * and "livepatch-ledger": a forked child inherits them with what they describe,
 * and an execve drops both.
 */
#include "space/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "space/guest_private.h"

#define LEDGER_NAME "livepatch-ledger"
#define ROOM_NAME "livepatch-room"
#define STOP_TIMEOUT_MS 2000
#define STACK_MAX (UINT64_C(64) << 20) /* what is deeper is looked at as far as that, and by unwinding */

static struct lp_guest_target *guest_of(struct lp_target *t)
{
	return (struct lp_guest_target *)t;
}

static struct lp_emu *emu_of(struct lp_target *t)
{
	return guest_of(t)->emu;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* What this thread has executed. */
static uint64_t own_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- lock, memory ---- */

static int guest_lock(struct lp_target *t, unsigned timeout_ms, struct lp_err *err)
{
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	rc = pthread_mutex_clocklock(&guest_of(t)->lock, CLOCK_MONOTONIC, &until);
	return rc ? lp_fail(err, LP_ELOCKED, "%s is being patched by another thread", t->label) : 0;
}

static void guest_unlock(struct lp_target *t)
{
	pthread_mutex_unlock(&guest_of(t)->lock);
}

/* What the guest has and may not read itself (PROT_NONE) stays as it was. */
static int read_hidden(struct lp_target *t, lp_addr at, void *data, size_t len)
{
	int memory, rc;

	if (!lp_mem_is_guest(emu_of(t), at, len))
		return -EFAULT;
	memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (memory < 0)
		return -errno;
	rc = lp_pread_full(memory, data, len, (off_t)at);
	lp_close(memory);
	return rc;
}

static int guest_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	if (lp_mem_read(at, data, len) == 0 || read_hidden(t, at, data, len) == 0)
		return 0;
	return lp_fail(err, LP_EUNMAPPED, "cannot read %zu bytes at " LP_ADDR " of %s", len, at, t->label);
}

static int guest_read_many(struct lp_target *t, const struct lp_range *ranges, void *const *data, size_t nr,
			   struct lp_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = guest_read(t, ranges[i].start, data[i], ranges[i].end - ranges[i].start, err);
	return rc;
}

static int guest_write(struct lp_target *t, lp_addr at, const void *data, size_t len, struct lp_err *err)
{
	int rc = lp_mem_poke(emu_of(t), at, data, len);

	lp_block_invalidate(emu_of(t)->blocks, (struct lp_range){at, at + len});
	if (rc == 0)
		return 0;
	return lp_fail(err, LP_EUNMAPPED, "cannot write %zu bytes at " LP_ADDR " of %s", len, at, t->label);
}

/* ---- areas ---- */

static void describe_area(const struct lp_guest_area *a, struct lp_area *out)
{
	const char *slash = strrchr(a->name, '/');

	*out = (struct lp_area){.range = a->range,
				.prot = (unsigned)a->prot & (LP_PROT_READ | LP_PROT_WRITE | LP_PROT_EXEC),
				.is_private = (a->flags & MAP_TYPE) == MAP_PRIVATE};
	snprintf(out->name, sizeof out->name, "%s", slash ? slash + 1 : a->name);
}

static int guest_area(struct lp_target *t, lp_addr at, struct lp_area *out, struct lp_err *err)
{
	struct lp_guest_area a;

	if (!lp_mem_area(emu_of(t), at, &a))
		return lp_fail(err, LP_EUNMAPPED, "nothing is mapped at " LP_ADDR " in %s", at, t->label);
	describe_area(&a, out);
	return 0;
}

static int guest_next_area(struct lp_target *t, lp_addr from, struct lp_area *out, struct lp_err *err)
{
	struct lp_guest_area a;

	if (!lp_mem_next(emu_of(t), from, &a))
		return -LP_EUNMAPPED;
	describe_area(&a, out);
	return 0;
}

/* ---- holes ---- */

#define LOWEST UINT64_C(0x10000)
#define HIGHEST UINT64_C(0x7fff00000000)
#define GUARD ((uint64_t)LP_PAGE)
#define STRIDE (UINT64_C(1) << 20) /* between tries in a hole of the guest's that the runner itself has things in */
enum { TRIES_PER_HOLE = 256 };

struct search {
	struct lp_range allowed; /* of the first byte */
	uint64_t size;
	lp_addr near;
	const struct lp_range *taken;
	size_t nr_taken;
};

static bool is_taken(const struct search *s, lp_addr at)
{
	for (size_t i = 0; i < s->nr_taken; i++)
		if (lp_range_overlaps(s->taken[i], (struct lp_range){at - GUARD, at + s->size + GUARD}))
			return true;
	return false;
}

/* Only the kernel knows what the runner itself has mapped. */
static bool is_free(const struct search *s, lp_addr at)
{
	size_t len = s->size + 2 * GUARD;
	void *want = (void *)(uintptr_t)(at - GUARD);
	void *got;

	if (at < s->allowed.start || at >= s->allowed.end || is_taken(s, at))
		return false;
	got = mmap(want, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (got != MAP_FAILED)
		munmap(got, len);
	return got == want;
}

/* In [hole.start, hole.end), which the guest has nothing in: the place nearest to s->near. */
static lp_addr try_hole(const struct search *s, struct lp_range hole)
{
	lp_addr at, lowest = lp_align_up(hole.start + GUARD, LP_PAGE);
	bool up;

	if (hole.end - hole.start < s->size + 2 * GUARD || hole.end < hole.start)
		return 0;
	lp_addr highest = lp_align_down(hole.end - GUARD - s->size, LP_PAGE);
	lowest = lowest > s->allowed.start ? lowest : lp_align_up(s->allowed.start, LP_PAGE);
	highest = highest < s->allowed.end ? highest : lp_align_down(s->allowed.end - 1, LP_PAGE);
	up = hole.start >= s->near;
	at = up ? lowest : highest;
	for (unsigned i = 0; i < TRIES_PER_HOLE && at >= lowest && at <= highest; i++) {
		if (is_free(s, at))
			return at;
		at = up ? at + STRIDE : at - STRIDE;
	}
	return 0;
}

static uint64_t distance(lp_addr a, lp_addr b)
{
	return a > b ? a - b : b - a;
}

static int guest_near_hole(struct lp_target *t, struct lp_range near, uint64_t reach, uint64_t size,
			   const struct lp_range *taken, size_t nr_taken, lp_addr *out, struct lp_err *err)
{
	struct search s = {.allowed = {LOWEST, HIGHEST}, .size = size, .taken = taken, .nr_taken = nr_taken};
	struct lp_guest_area a;
	lp_addr from = 0, end = LOWEST;
	bool more;

	s.near = near.start ? near.start : UINT64_C(0x500000000000);
	if (reach) {
		s.allowed.start = near.end > reach + LOWEST ? near.end - reach : LOWEST;
		s.allowed.end = near.start + reach > size ? near.start + reach - size + 1 : 0;
	}
	*out = 0;
	do {
		more = lp_mem_next(emu_of(t), from, &a);
		lp_addr at = try_hole(&s, (struct lp_range){end, more ? a.range.start : HIGHEST});
		if (at && (!*out || distance(at, s.near) < distance(*out, s.near)))
			*out = at;
		from = a.range.end;
		end = more ? a.range.end : 0;
	} while (more);
	if (*out)
		return 0;
	return reach ? lp_fail(err, LP_EREACH, "no %" PRIu64 " free bytes within reach of " LP_ADDR, size, near.start)
		     : lp_fail(err, LP_EREACH, "no %" PRIu64 " free bytes in the address space of %s", size, t->label);
}

/* ---- making and dropping memory ---- */

static int map_named(struct lp_target *t, const char *name, struct lp_range *range, unsigned prot, bool fixed,
		     struct lp_err *err)
{
	uint64_t len = range->end - range->start;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED_NOREPLACE : 0);
	uint64_t got = lp_mem_map(emu_of(t), fixed ? range->start : 0, len, (int)prot, flags, -1, 0);

	if (lp_mem_failed(got))
		return lp_fail_sys(err, (int)-(int64_t)got, "cannot map %" PRIu64 " bytes for %s in %s", len, name,
				   t->label);
	*range = (struct lp_range){got, got + len};
	lp_mem_name(emu_of(t), *range, name);
	return 0;
}

static const char *room_name(uint64_t id, char out[48])
{
	snprintf(out, 48, ROOM_NAME ".%" PRIu64, id);
	return out;
}

/* What is still mapped under our name in these ranges: the guest may have put something else there. */
static int guest_drop_rooms(struct lp_target *t, uint64_t id, const struct lp_range *ranges, size_t nr,
			    struct lp_err *err)
{
	struct lp_guest_area a;
	char name[48];

	room_name(id, name);
	lp_guest_walker_free(guest_of(t)->walker);
	guest_of(t)->walker = NULL;
	for (size_t i = 0; i < nr; i++)
		for (lp_addr at = ranges[i].start; lp_mem_next(emu_of(t), at, &a) && a.range.start < ranges[i].end;
		     at = a.range.end)
			if (a.range.start >= ranges[i].start && a.range.end <= ranges[i].end &&
			    strcmp(a.name, name) == 0)
				lp_mem_unmap(emu_of(t), a.range.start, a.range.end - a.range.start);
	return 0;
}

static int guest_make_rooms(struct lp_target *t, uint64_t id, const struct lp_room_request *rooms, size_t nr,
			    struct lp_err *err)
{
	char name[48];
	int rc = 0;

	room_name(id, name);
	for (size_t i = 0; i < nr && rc == 0; i++)
		for (size_t k = 0; k < rooms[i].nr_pieces && rc == 0; k++) {
			struct lp_range piece = rooms[i].pieces[k].range;
			rc = map_named(t, name, &piece, rooms[i].pieces[k].prot, true, err);
		}
	for (size_t i = 0; i < nr && rc < 0; i++)
		guest_drop_rooms(t, id, &rooms[i].range, 1, NULL);
	return rc;
}

/* ---- ledger ---- */

static const char *ledger_name(unsigned index, char out[48])
{
	snprintf(out, 48, index ? LEDGER_NAME ".%u" : LEDGER_NAME, index);
	return out;
}

static int guest_ledger_find(struct lp_target *t, unsigned index, struct lp_range *out, struct lp_err *err)
{
	struct lp_guest_area a;
	char name[48];

	ledger_name(index, name);
	*out = (struct lp_range){0, 0};
	for (lp_addr at = 0; lp_mem_next(emu_of(t), at, &a); at = a.range.end)
		if (strcmp(a.name, name) == 0) {
			*out = a.range;
			break;
		}
	return 0;
}

static int guest_ledger_make(struct lp_target *t, unsigned index, uint64_t size, struct lp_range *out,
			     struct lp_err *err)
{
	char name[48];

	*out = (struct lp_range){0, size};
	return map_named(t, ledger_name(index, name), out, LP_PROT_READ, false, err);
}

/* ---- images, the loader ---- */

static int guest_images(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	return lp_guest_images(guest_of(t), images, nr, err);
}

/* AArch64 has its thread pointer below the static block, which begins after two words (ELF for the Arm 64-bit
 * Architecture, section 9.2: variant 1). */
static int guest_tls_offset(struct lp_target *t, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err)
{
	const struct lp_image *im = &guest_of(t)->images.items[image];
	const Elf64_Phdr *tls = lp_elf_phdr_find(im->elf, PT_TLS);

	if (image != 0 || !tls || tls->p_align > (1 << 20) || (tls->p_align & (tls->p_align - 1)))
		return lp_fail(err, LP_ERELOC, "thread-local symbols of %s have no fixed place in the static TLS block",
			       im->name);
	*out = (int64_t)(lp_align_up(16, tls->p_align ? tls->p_align : 1) + sym_value);
	return 0;
}

static int guest_dlopen(struct lp_target *t, const char *path, unsigned timeout_ms, lp_addr *handle, size_t *image,
			struct lp_err *err)
{
	return lp_fail(err, LP_ENEEDSDLOPEN,
		       "no thread of %s can be borrowed to load %s; give the object itself to dl (without --dlopen)",
		       t->label, path);
}

static int guest_dlclose(struct lp_target *t, lp_addr handle, unsigned timeout_ms, struct lp_err *err)
{
	return lp_fail(err, LP_ENEEDSDLOPEN, "no thread of %s can be borrowed", t->label);
}

static void guest_refresh(struct lp_target *t)
{
	lp_guest_images_forget(guest_of(t));
}

/* ---- the pause ---- */

/* Caches that a command has come to since the last one are full of other things. */
static void guest_expect(struct lp_target *t, const struct lp_range *ranges, size_t nr)
{
	struct lp_emu *emu = emu_of(t);
	uint32_t word;

	for (size_t i = 0; i < nr; i++) {
		(void)lp_mem_get(ranges[i].start, &word);
		if (emu->engine && emu->engine->expect)
			emu->engine->expect(emu, ranges[i]);
	}
}

/* As many bytes from sp up as can be kept of the stack; into the thread's copy, which only grows. */
static void copy_stack(struct lp_guest_target *g, size_t i, struct lp_thread *th)
{
	struct lp_stack_copy *c = &g->copies.items[i];
	size_t len = (size_t)(th->stack.end - th->stack.start);

	if (len > c->cap) {
		c->cap = 2 * len;
		c->bytes = lp_realloc(c->bytes, c->cap);
	}
	c->len = len;
	if (lp_mem_read(th->stack.start, c->bytes, len) == 0) {
		th->stack_bytes = c->bytes;
		th->stack_len = len;
	}
}

static bool on_signal_stack(const struct lp_guest_thread *gt, lp_addr sp)
{
	return gt->signals.alt_size && sp - gt->signals.alt_sp <= gt->signals.alt_size;
}

static void look_at_thread(struct lp_guest_target *g, const struct lp_guest_thread *gt, size_t i)
{
	struct lp_thread *th = &g->threads.items[i];
	struct lp_guest_area a, home;
	const struct lp_cpu *cpu = &gt->cpu;
	bool in_call = atomic_load(&gt->state) == LP_THREAD_IN_HOST;

	memcpy(g->regs.items[i].x, cpu->x, sizeof g->regs.items[i].x);
	*th = (struct lp_thread){.tid = gt->tid,
				 /* a system call may be made again, and begins at its svc then */
				 .pc = in_call ? cpu->pc - 4 : cpu->pc,
				 .resume_pc = cpu->pc,
				 .sp = cpu->x[LP_SP],
				 .lr = cpu->x[30],
				 .regs = g->regs.items[i].x,
				 .nr_regs = 31};
	if (!lp_mem_area(g->emu, th->sp, &a))
		return;
	th->stack = (struct lp_range){th->sp, a.range.end};
	if (th->stack.end - th->stack.start > STACK_MAX)
		th->stack.end = th->stack.start + STACK_MAX;
	th->stack_is_whole = th->stack.end == a.range.end && !on_signal_stack(gt, th->sp) &&
			     lp_mem_area(g->emu, gt->stack_top - 1, &home) && home.range.start == a.range.start;
	copy_stack(g, i, th);
}

static int guest_pause(struct lp_target *t, struct lp_err *err)
{
	struct lp_guest_target *g = guest_of(t);
	size_t nr = 0;
	int rc;

	lp_mem_pokes_begin(g->emu);
	g->paused_ns = now_ns();
	rc = lp_threads_stop(g->emu, STOP_TIMEOUT_MS);
	g->pauses.last_stop_ns = now_ns() - g->paused_ns;
	if (rc < 0) {
		lp_mem_pokes_end(g->emu);
		return lp_fail_sys(err, -rc, "the threads of %s could not be stopped", t->label);
	}
	g->paused = true;
	for (struct lp_guest_thread *gt = lp_guest_threads(g->emu); gt; gt = gt->next)
		nr++;
	while (g->copies.nr < nr)
		(void)lp_vec_add(&g->copies);
	while (g->regs.nr < nr)
		(void)lp_vec_add(&g->regs);
	while (g->threads.nr < nr)
		(void)lp_vec_add(&g->threads);
	g->threads.nr = nr;
	nr = 0;
	for (struct lp_guest_thread *gt = lp_guest_threads(g->emu); gt; gt = gt->next)
		look_at_thread(g, gt, nr++);
	return 0;
}

static const struct lp_thread *guest_threads(struct lp_target *t, size_t *nr)
{
	*nr = guest_of(t)->threads.nr;
	return guest_of(t)->threads.items;
}

static void note_pause(struct lp_guest_target *g, uint64_t ns)
{
	g->pauses.nr++;
	g->pauses.last_ns = ns;
	g->pauses.longest_ns = ns > g->pauses.longest_ns ? ns : g->pauses.longest_ns;
	g->pauses.last_threads = g->threads.nr;
}

struct lp_guest_pauses lp_guest_pauses(const struct lp_target *t)
{
	return ((const struct lp_guest_target *)t)->pauses;
}

/*
 * Threads that are woken take the processor of who wakes them: before the call
 * that does it comes back, all of them have had their time slices.  That is no
 * part of the pause, which is until all may go on: the time until the first is
 * woken, and what this thread executes to wake the last.  (A kernel that preempts
 * itself may let those run first that are awake; the others' waiting for a
 * processor is not counted.)
 */
static void guest_resume(struct lp_target *t, struct lp_pause_stats *stats)
{
	struct lp_guest_target *g = guest_of(t);
	bool wakes = lp_threads_are_asleep(g->emu);
	uint64_t until = now_ns(), executed = wakes ? own_ns() : 0;

	g->paused = false;
	lp_threads_go(g->emu);
	if (wakes)
		executed = own_ns() - executed;
	else
		until = now_ns();
	lp_mem_pokes_end(g->emu);
	note_pause(g, until - g->paused_ns + executed);
	if (stats)
		*stats = (struct lp_pause_stats){.ns = g->pauses.last_ns, .nr_threads = g->threads.nr};
}

static int guest_unwind(struct lp_target *t, int tid, lp_addr *frames, size_t max, struct lp_err *err)
{
	struct lp_guest_target *g = guest_of(t);
	const struct lp_thread *th = NULL;
	struct lp_frame *walked;
	size_t nr;
	int rc;

	for (size_t i = 0; i < g->threads.nr; i++)
		if (g->threads.items[i].tid == tid)
			th = &g->threads.items[i];
	if (!th)
		return lp_fail(err, LP_EINTERNAL, "thread %d was not stopped", tid);
	struct lp_guest_walk from = {.pc = th->resume_pc,
				     .sp = th->sp,
				     .fp = th->regs[29],
				     .lr = th->lr,
				     .has_lr = true,
				     .stack = {th->stack.start, th->stack.start + th->stack_len},
				     .bytes = th->stack_bytes,
				     .live = g->paused};
	walked = lp_alloc(max * sizeof *walked);
	rc = lp_guest_walk(g, &from, walked, max, &nr, err);
	for (size_t i = 0; i < nr; i++)
		frames[i] = walked[i].pc;
	lp_free(walked);
	return rc;
}

static int guest_unwind_suspended(struct lp_target *t, struct lp_suspended *s, struct lp_frame *frames, size_t max,
				  size_t *nr, struct lp_err *err)
{
	struct lp_guest_walk from = {.pc = s->pc, .sp = s->sp, .fp = s->fp, .stack = s->stack, .bytes = s->bytes};
	int rc = lp_guest_walk(guest_of(t), &from, frames, max, nr, err);

	s->missed = from.missed;
	return rc;
}

/* ---- stacks that no thread stands on ---- */

#define GUARD_MAX (UINT64_C(64) << 10) /* what is larger is a reserve that a heap grows into */

static bool is_own_memory(const struct lp_guest_area *a)
{
	return (a->flags & MAP_TYPE) == MAP_PRIVATE && a->prot & PROT_WRITE && strncmp(a->name, "livepatch-", 10) != 0;
}

enum { PAGES_PER_READ = 512 };
typedef LP_VEC(struct lp_range) run_vec;

/* Pages that the guest has written: others are zeros, or the file's.  proc_pid_pagemap(5): bit 63 present, 62 swapped,
 * 61 a page of a file. */
static void find_runs(int pagemap, struct lp_range area, run_vec *runs)
{
	uint64_t entries[PAGES_PER_READ];

	runs->nr = 0;
	for (lp_addr at = area.start; at < area.end; at += PAGES_PER_READ * LP_PAGE) {
		size_t nr = (size_t)((area.end - at) / LP_PAGE);
		nr = nr < PAGES_PER_READ ? nr : PAGES_PER_READ;
		if (lp_pread_full(pagemap, entries, nr * sizeof *entries, (off_t)(at / LP_PAGE * sizeof *entries)) < 0)
			return;
		for (size_t i = 0; i < nr; i++) {
			lp_addr page = at + i * LP_PAGE;
			if (!(entries[i] >> 62) || entries[i] >> 61 & 1)
				continue;
			if (runs->nr && runs->items[runs->nr - 1].end == page)
				runs->items[runs->nr - 1].end += LP_PAGE;
			else
				lp_vec_push(runs, ((struct lp_range){page, page + LP_PAGE}));
		}
	}
}

static int guest_own_memory(struct lp_target *t, void (*found)(void *arg, const struct lp_own_memory *m), void *arg,
			    struct lp_err *err)
{
	struct lp_guest_area a, below = {.range = {0, 0}};
	run_vec runs = {0};
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pagemap < 0)
		return lp_fail_sys(err, errno, "cannot read which memory %s uses", t->label);
	for (lp_addr at = 0; lp_mem_next(emu_of(t), at, &a); below = a, at = a.range.end) {
		bool guarded = below.range.end == a.range.start && !(below.prot & (PROT_READ | PROT_WRITE)) &&
			       below.range.end - below.range.start <= GUARD_MAX;
		if (!is_own_memory(&a))
			continue;
		find_runs(pagemap, a.range, &runs);
		struct lp_own_memory own = {
			.is_stack = strcmp(a.name, "[stack]") == 0 || guarded, .runs = runs.items, .nr_runs = runs.nr};
		describe_area(&a, &own.area);
		found(arg, &own);
	}
	lp_vec_free(&runs);
	lp_close(pagemap);
	return 0;
}

/* glibc's sysdeps/aarch64: jmp_buf[11] and [13] are x30 and sp, exclusive-or'ed with a word of ld.so's. */
static bool guest_jmpbuf(struct lp_target *t, struct lp_jmpbuf *out)
{
	const struct lp_image *images;
	struct lp_found guard;
	size_t nr;

	*out = (struct lp_jmpbuf){.pc_at = 11 - 13};
	return lp_guest_images(guest_of(t), &images, &nr, NULL) == 0 &&
	       lp_scope_bind(images, nr, "__pointer_chk_guard", "GLIBC_PRIVATE", &guard) &&
	       lp_mem_get(guard.addr, &out->key) == 0;
}

/* ---- open, close ---- */

static void guest_close(struct lp_target *t)
{
	struct lp_guest_target *g = guest_of(t);

	lp_guest_images_forget(g);
	for (size_t i = 0; i < g->copies.nr; i++)
		lp_free(g->copies.items[i].bytes);
	lp_vec_free(&g->copies);
	lp_vec_free(&g->regs);
	lp_vec_free(&g->threads);
	pthread_mutex_destroy(&g->lock);
	lp_free(g->target.label);
	lp_free(g);
}

static const struct lp_target_ops guest_ops = {
	.lock = guest_lock,
	.unlock = guest_unlock,
	.read = guest_read,
	.read_many = guest_read_many,
	.write = guest_write,
	.area = guest_area,
	.next_area = guest_next_area,
	.near_hole = guest_near_hole,
	.make_rooms = guest_make_rooms,
	.drop_rooms = guest_drop_rooms,
	.ledger_find = guest_ledger_find,
	.ledger_make = guest_ledger_make,
	.images = guest_images,
	.tls_offset = guest_tls_offset,
	.dlopen = guest_dlopen,
	.dlclose = guest_dlclose,
	.refresh = guest_refresh,
	.expect = guest_expect,
	.pause = guest_pause,
	.threads = guest_threads,
	.resume = guest_resume,
	.unwind = guest_unwind,
	.own_memory = guest_own_memory,
	.unwind_suspended = guest_unwind_suspended,
	.jmpbuf = guest_jmpbuf,
	.close = guest_close,
};

int lp_target_open_guest(struct lp_target **out, struct lp_emu *emu, struct lp_err *err)
{
	struct lp_guest_target *g = lp_alloc(sizeof *g);

	g->target.ops = &guest_ops;
	g->target.isa = lp_isa_of(EM_AARCH64);
	g->target.tells_absent = true;
	g->target.shares_fate = true;
	g->target.if_busy = "try again when it has left, or use a script: jmp --allow-active does not wait";
	g->target.label = lp_sprintf("the guest (pid %d)", (int)getpid());
	g->emu = emu;
	pthread_mutex_init(&g->lock, NULL);
	*out = &g->target;
	return 0;
}
