/*
 * Another process as a target: the core's interface over proc/.
 *
 * Rooms and ledger are private mappings of memfds, so that their names are in
 * /proc/PID/maps from the very call that makes them: "livepatch-ledger",
 * "livepatch-ledger.N" and "livepatch-room.ID".  A successor of a killed
 * livepatch knows by the name what is ours, and never unmaps what the program
 * has put in the same place since.
 *
 * Making a file of some size raises SIGXFSZ in a process whose RLIMIT_FSIZE is
 * smaller, and that kills it: the limit is looked at first.
 */
#include "space/space.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc/proc.h"

#define LEDGER_NAME "livepatch-ledger"
#define ROOM_NAME "livepatch-room"
typedef LP_VEC(struct lp_known_code) lp_known_vec;

#define MAPPED_PER_CALL 2 /* pieces mapped by one injected batch: memfd_create, ftruncate, 2 mmaps, close */

struct process {
	struct lp_target target;
	struct lp_proc *p;
	char *exe_file;
	struct lp_maps maps;
	bool maps_known;
	LP_VEC(struct lp_thread) threads;
	sigset_t mask; /* ours, before the pause */
};

static struct process *process_of(struct lp_target *t)
{
	return (struct process *)t;
}

static struct lp_proc *proc_of(struct lp_target *t)
{
	return process_of(t)->p;
}

/* The core's and proc's protection bits are the same three. */
_Static_assert((int)LP_PROT_READ == (int)LP_MAP_READ && (int)LP_PROT_WRITE == (int)LP_MAP_WRITE &&
		       (int)LP_PROT_EXEC == (int)LP_MAP_EXEC && (int)LP_PROT_READ == PROT_READ &&
		       (int)LP_PROT_WRITE == PROT_WRITE && (int)LP_PROT_EXEC == PROT_EXEC,
	       "one encoding");

/* ---- lock, memory ---- */

static void process_unlock(struct lp_target *t)
{
	lp_proc_unlock(proc_of(t));
}

static int process_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	return lp_mem_read(proc_of(t), at, data, len, err);
}

static int process_read_many(struct lp_target *t, const struct lp_range *ranges, void *const *data, size_t nr,
			     struct lp_err *err)
{
	return lp_mem_read_many(proc_of(t), ranges, data, nr, err);
}

static int process_write(struct lp_target *t, lp_addr at, const void *data, size_t len, struct lp_err *err)
{
	return lp_mem_write(proc_of(t), at, data, len, err);
}

/* ---- areas ---- */

static void forget_maps(struct process *s)
{
	if (s->maps_known)
		lp_maps_free(&s->maps);
	s->maps_known = false;
}

static int know_maps(struct process *s, struct lp_err *err)
{
	if (s->maps_known)
		return 0;
	s->maps = (struct lp_maps){0};
	int rc = lp_maps_read(s->p, &s->maps, err);
	s->maps_known = rc == 0;
	return rc;
}

static int process_lock(struct lp_target *t, unsigned timeout_ms, struct lp_err *err)
{
	int rc = lp_proc_lock(proc_of(t), timeout_ms, err);
	/* What we knew was before the lock; another livepatch may have made its ledger since. */
	forget_maps(process_of(t));
	return rc ? rc : lp_proc_check(proc_of(t), err);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void describe_area(const struct lp_map *m, struct lp_area *out)
{
	*out = (struct lp_area){.range = m->range, .prot = m->prot, .is_private = m->is_private};
	snprintf(out->name, sizeof out->name, "%s", base_name(m->path));
}

static int process_area(struct lp_target *t, lp_addr at, struct lp_area *out, struct lp_err *err)
{
	struct process *s = process_of(t);
	int rc = know_maps(s, err);
	if (rc < 0)
		return rc;
	const struct lp_map *m = lp_maps_find(&s->maps, at);
	if (!m)
		return lp_fail(err, LP_EUNMAPPED, "nothing is mapped at " LP_ADDR " in %s", at, t->label);
	describe_area(m, out);
	return 0;
}

static int process_next_area(struct lp_target *t, lp_addr from, struct lp_area *out, struct lp_err *err)
{
	struct process *s = process_of(t);
	int rc = know_maps(s, err);
	if (rc < 0)
		return rc;
	size_t lo = 0, hi = s->maps.nr;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (s->maps.items[mid].range.end > from)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == s->maps.nr)
		return -LP_EUNMAPPED;
	describe_area(&s->maps.items[lo], out);
	return 0;
}

static int process_near_hole(struct lp_target *t, struct lp_range near, uint64_t reach, uint64_t size,
			     const struct lp_range *taken, size_t nr_taken, lp_addr *out, struct lp_err *err)
{
	struct process *s = process_of(t);
	int rc = know_maps(s, err);
	if (rc < 0)
		return rc;
	*out = lp_maps_hole(&s->maps, near, reach, size, taken, nr_taken);
	if (*out)
		return 0;
	return reach ? lp_fail(err, LP_EREACH, "no %" PRIu64 " free bytes within reach of " LP_ADDR, size, near.start)
		     : lp_fail(err, LP_EREACH, "no %" PRIu64 " free bytes in the address space of %s", size, t->label);
}

/* ---- making and dropping memory ---- */

static int remote_failed(struct lp_target *t, const char *what, int64_t result, struct lp_err *err)
{
	int rc = lp_fail(err, LP_EREMOTE, "%s made for us by %s failed: %s", what, t->label, strerror((int)-result));
	return rc;
}

static int check_file_limit(struct lp_target *t, uint64_t size, struct lp_err *err)
{
	uint64_t limit;
	int rc = lp_proc_file_size_limit(proc_of(t), &limit, err);
	if (rc == 0 && limit < size)
		rc = lp_fail(err, LP_EREMOTE,
			     "%s may not make files larger than %" PRIu64
			     " bytes (RLIMIT_FSIZE), and the patch needs %" PRIu64 "; raise it with prlimit --fsize",
			     t->label, limit, size);
	return rc;
}

struct mapping {
	struct lp_range range;
	unsigned prot;
	uint64_t offset; /* in the memfd */
};

/*
 * One batch: a memfd of `size` bytes called `name`, mapped `nr` times, and
 * closed again.  fixed: at range.start or -EEXIST; otherwise anywhere.
 */
static int map_named(struct lp_target *t, const char *name, uint64_t size, struct mapping *maps, size_t nr, bool fixed,
		     struct lp_err *err)
{
	const struct lp_sysno *sys = lp_proc_sysno(proc_of(t));
	struct lp_call calls[MAPPED_PER_CALL + 3] = {
		{.nr = sys->memfd_create, .args = {LP_CALL_TEXT, MFD_CLOEXEC}},
		{.nr = sys->ftruncate, .args = {LP_CALL_FIRST_RESULT, size}},
	};
	size_t n = 2;
	for (size_t i = 0; i < nr; i++, n++) {
		uint64_t flags = MAP_PRIVATE | MAP_NORESERVE | (fixed ? MAP_FIXED_NOREPLACE : 0);
		calls[n] = (struct lp_call){.nr = sys->mmap,
					    .args = {fixed ? maps[i].range.start : 0,
						     maps[i].range.end - maps[i].range.start, maps[i].prot, flags,
						     LP_CALL_FIRST_RESULT, maps[i].offset}};
	}
	calls[n++] = (struct lp_call){.nr = sys->close, .args = {LP_CALL_FIRST_RESULT}};
	int rc = lp_inject_text(proc_of(t), calls, n, name, err);
	forget_maps(process_of(t));
	if (rc < 0)
		return rc;
	if (calls[0].result < 0)
		return remote_failed(t, "memfd_create", calls[0].result, err);
	if (calls[1].result < 0)
		return remote_failed(t, "ftruncate", calls[1].result, err);
	for (size_t i = 0; i < nr && rc == 0; i++) {
		int64_t got = calls[2 + i].result;
		bool failed = (uint64_t)got > (uint64_t)-4096;
		if (failed && got == -EEXIST)
			rc = lp_fail(err, EEXIST, "the address " LP_ADDR " was taken meanwhile", maps[i].range.start);
		else if (failed)
			rc = remote_failed(t, "mmap", got, err);
		else if (fixed &&
			 (lp_addr)got != maps[i].range.start) /* a kernel before 4.17 takes the address as a hint */
			rc = lp_fail(err, EEXIST, "the address " LP_ADDR " was taken meanwhile", maps[i].range.start);
		else
			maps[i].range = (struct lp_range){(lp_addr)got,
							  (lp_addr)got + (maps[i].range.end - maps[i].range.start)};
	}
	return rc;
}

static const char *room_name(uint64_t id, char out[48])
{
	snprintf(out, 48, ROOM_NAME ".%" PRIu64, id);
	return out;
}

static bool is_named(const struct lp_map *m, const char *name)
{
	static const char prefix[] = "/memfd:";
	return strncmp(m->path, prefix, sizeof prefix - 1) == 0 && strcmp(m->path + sizeof prefix - 1, name) == 0;
}

/* What is still mapped under our name in these ranges, in batches of munmap. */
static int process_drop_rooms(struct lp_target *t, uint64_t id, const struct lp_range *ranges, size_t nr,
			      struct lp_err *err)
{
	struct process *s = process_of(t);
	char name[48];
	room_name(id, name);
	/* A batch that failed half-way may have yet to map what is to be unmapped here. */
	int rc = lp_inject_settle(s->p, err);
	forget_maps(s);
	rc = rc ? rc : know_maps(s, err);
	LP_VEC(struct lp_call) calls = {0};
	for (size_t i = 0; i < nr && rc == 0; i++)
		for (size_t k = 0; k < s->maps.nr; k++) {
			const struct lp_map *m = &s->maps.items[k];
			if (is_named(m, name) && m->range.start >= ranges[i].start && m->range.end <= ranges[i].end)
				lp_vec_push(&calls, ((struct lp_call){
							    .nr = lp_proc_sysno(s->p)->munmap,
							    .args = {m->range.start, m->range.end - m->range.start}}));
		}
	for (size_t i = 0; i < calls.nr && rc == 0; i += LP_CALLS_MAX) {
		size_t n = calls.nr - i < LP_CALLS_MAX ? calls.nr - i : LP_CALLS_MAX;
		rc = lp_inject(s->p, calls.items + i, n, err);
		for (size_t k = 0; k < n && rc == 0; k++)
			if (calls.items[i + k].result < 0)
				rc = remote_failed(t, "munmap", calls.items[i + k].result, err);
	}
	lp_vec_free(&calls);
	forget_maps(s);
	return rc;
}

static int make_room(struct lp_target *t, uint64_t id, const struct lp_room_request *r, struct lp_err *err)
{
	char name[48];
	struct mapping maps[LP_ARRAY_SIZE(r->pieces)];
	for (size_t i = 0; i < r->nr_pieces; i++)
		maps[i] = (struct mapping){r->pieces[i].range, r->pieces[i].prot,
					   r->pieces[i].range.start - r->range.start};
	int rc = 0;
	for (size_t i = 0; i < r->nr_pieces && rc == 0; i += MAPPED_PER_CALL) {
		size_t n = r->nr_pieces - i < MAPPED_PER_CALL ? r->nr_pieces - i : MAPPED_PER_CALL;
		rc = map_named(t, room_name(id, name), r->range.end - r->range.start, maps + i, n, true, err);
	}
	return rc;
}

static int process_make_rooms(struct lp_target *t, uint64_t id, const struct lp_room_request *rooms, size_t nr,
			      struct lp_err *err)
{
	int rc = 0;
	size_t made = 0;
	for (; made < nr && rc == 0; made++) {
		rc = check_file_limit(t, rooms[made].range.end - rooms[made].range.start, err);
		rc = rc ? rc : make_room(t, id, &rooms[made], err);
	}
	for (size_t i = 0; i < made && rc < 0; i++)
		process_drop_rooms(t, id, &rooms[i].range, 1, NULL);
	return rc;
}

/* ---- ledger ---- */

static const char *ledger_name(unsigned index, char out[48])
{
	if (index)
		snprintf(out, 48, LEDGER_NAME ".%u", index);
	else
		snprintf(out, 48, LEDGER_NAME);
	return out;
}

static int process_ledger_find(struct lp_target *t, unsigned index, struct lp_range *out, struct lp_err *err)
{
	struct process *s = process_of(t);
	char name[48];
	ledger_name(index, name);
	*out = (struct lp_range){0, 0};
	int rc = know_maps(s, err);
	for (size_t i = 0; rc == 0 && i < s->maps.nr && !out->start; i++)
		if (is_named(&s->maps.items[i], name))
			*out = s->maps.items[i].range;
	return rc;
}

static int process_ledger_make(struct lp_target *t, unsigned index, uint64_t size, struct lp_range *out,
			       struct lp_err *err)
{
	char name[48];
	struct mapping map = {.range = {0, size}, .prot = LP_PROT_READ};
	int rc = check_file_limit(t, size, err);
	rc = rc ? rc : map_named(t, ledger_name(index, name), size, &map, 1, false, err);
	*out = map.range;
	return rc;
}

/* ---- images, the loader ---- */

static int process_images(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	return lp_images(proc_of(t), process_of(t)->exe_file, images, nr, err);
}

static int process_tls_offset(struct lp_target *t, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err)
{
	return lp_tls_offset(proc_of(t), image, sym_value, out, err);
}

static void process_refresh(struct lp_target *t)
{
	forget_maps(process_of(t));
	lp_images_forget(proc_of(t));
}

/* The target's dlopen, as the target itself would find it; older glibc has it in libdl, static programs not at all. */
static int loader_function(struct lp_target *t, const char *name, lp_addr *out, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	struct lp_found f;
	int rc = process_images(t, &images, &nr, err);
	if (rc < 0)
		return rc;
	if (!lp_scope_bind(images, nr, name, NULL, &f))
		return lp_fail(err, LP_ENOSYM, "%s has no %s: dl --dlopen needs a dynamically linked program", t->label,
			       name);
	*out = f.addr;
	return 0;
}

#define REMOTE_RTLD_NOW 2 /* the same in glibc and musl */

static int image_by_path(struct lp_target *t, const char *path, size_t *image, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	int rc = process_images(t, &images, &nr, err);
	for (size_t i = 0; i < nr && rc == 0; i++)
		if (strcmp(images[i].path, path) == 0) {
			*image = i;
			return 0;
		}
	return rc ? rc : lp_fail(err, LP_EREMOTE, "%s says it has loaded %s, but does not list it", t->label, path);
}

/* The path has to lie in the target's memory while its loader reads it: a small mapping that is dropped afterwards. */
static int process_dlopen(struct lp_target *t, const char *path, unsigned timeout_ms, lp_addr *handle, size_t *image,
			  struct lp_err *err)
{
	struct process *s = process_of(t);
	lp_addr fn = 0;
	struct mapping map = {.range = {0, LP_PAGE}, .prot = LP_PROT_READ};
	int rc = loader_function(t, "dlopen", &fn, err);
	if (rc == 0 && strlen(path) >= LP_PAGE)
		rc = lp_fail(err, ENAMETOOLONG, "%s is too long a path", path);
	rc = rc ? rc : check_file_limit(t, LP_PAGE, err);
	rc = rc ? rc : map_named(t, "livepatch-path", LP_PAGE, &map, 1, false, err);
	if (rc < 0)
		return rc;
	rc = lp_mem_write(s->p, map.range.start, path, strlen(path) + 1, err);
	uint64_t result = 0;
	rc = rc ? rc
		: lp_call_function(s->p, fn, (uint64_t[6]){map.range.start, REMOTE_RTLD_NOW}, &result, timeout_ms, err);
	if (rc == 0 || rc == -LP_ENOTHREAD) {
		struct lp_call drop = {.nr = lp_proc_sysno(s->p)->munmap, .args = {map.range.start, LP_PAGE}};
		lp_inject(s->p, &drop, 1, NULL);
	}
	if (rc == 0 && result == 0)
		rc = lp_fail(err, LP_EREMOTE,
			     "dlopen of %s failed inside %s: is the file readable there, and all it needs?", path,
			     t->label);
	process_refresh(t);
	*handle = result;
	return rc ? rc : image_by_path(t, path, image, err);
}

static int process_dlclose(struct lp_target *t, lp_addr handle, unsigned timeout_ms, struct lp_err *err)
{
	lp_addr fn = 0;
	uint64_t result = 0;
	int rc = loader_function(t, "dlclose", &fn, err);
	rc = rc ? rc : lp_call_function(proc_of(t), fn, (uint64_t[6]){handle}, &result, timeout_ms, err);
	if (rc == 0 && (int32_t)result != 0)
		rc = lp_fail(err, LP_EREMOTE, "dlclose failed inside %s", t->label);
	process_refresh(t);
	return rc;
}

/* ---- unwinding through code of patches ---- */

static bool is_room(const struct lp_map *m)
{
	static const char prefix[] = "/memfd:" ROOM_NAME ".";
	return strncmp(m->path, prefix, sizeof prefix - 1) == 0;
}

static bool continues(const struct lp_map *before, const struct lp_map *m)
{
	return before->range.end == m->range.start && strcmp(before->path, m->path) == 0;
}

/* The target can write there: a trailer is believed as far as it speaks of its own room. */
static void add_known(struct process *s, struct lp_range room, lp_known_vec *out)
{
	struct lp_room_trailer t;
	if (lp_mem_read(s->p, room.end - sizeof t, &t, sizeof t, NULL) == 0 && t.magic == LP_ROOM_TRAILER_MAGIC &&
	    lp_range_has(room, t.eh_frame) && t.len <= room.end - t.eh_frame)
		lp_vec_push(out, ((struct lp_known_code){room, {t.eh_frame, t.eh_frame + t.len}}));
}

/* Rooms that begin with code and end with data.  Everything slow comes with the first unwinding. */
static void know_rooms(struct process *s)
{
	lp_known_vec known = {0};
	const struct lp_map *first = NULL, *m = NULL;
	for (size_t i = 0; know_maps(s, NULL) == 0 && i < s->maps.nr; i++) {
		const struct lp_map *before = m;
		m = &s->maps.items[i];
		if (!is_room(m))
			continue;
		if (!before || !continues(before, m))
			first = m;
		if ((m->prot & LP_MAP_WRITE) && (first->prot & LP_MAP_EXEC))
			add_known(s, (struct lp_range){first->range.start, m->range.end}, &known);
	}
	lp_unwind_know(s->p, known.items, known.nr);
	lp_vec_free(&known);
}

static int process_call(struct lp_target *t, lp_addr fn, const uint64_t args[6], uint64_t *result, unsigned timeout_ms,
			struct lp_err *err)
{
	know_rooms(process_of(t));
	int rc = lp_call_function(proc_of(t), fn, args, result, timeout_ms, err);
	forget_maps(process_of(t)); /* whatever it has mapped */
	return rc;
}

/* ---- the pause ---- */

#define STOP_TIMEOUT_MS 2000

static int process_pause(struct lp_target *t, struct lp_err *err)
{
	struct process *s = process_of(t);
	know_rooms(s);
	/* ^Z at the wrong moment would stop us while everybody waits for us. */
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &s->mask);
	int rc = lp_stop_all(s->p, STOP_TIMEOUT_MS, err);
	if (rc < 0) {
		pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
		return rc;
	}
	size_t nr;
	const struct lp_stopped *stopped = lp_stopped_threads(s->p, &nr);
	s->threads.nr = 0;
	for (size_t i = 0; i < nr; i++) {
		const struct lp_stopped *st = &stopped[i];
		lp_vec_push(&s->threads, ((struct lp_thread){.tid = st->tid,
							     .pc = st->pc,
							     .sp = st->sp,
							     .lr = st->lr,
							     .resume_pc = st->resume_pc,
							     .stack = st->stack,
							     .stack_is_whole = st->whole,
							     .stack_bytes = st->stack_bytes,
							     .stack_len = st->stack_len,
							     .regs = st->regs.words,
							     .nr_regs = st->regs.nr}));
	}
	return 0;
}

static const struct lp_thread *process_threads(struct lp_target *t, size_t *nr)
{
	*nr = process_of(t)->threads.nr;
	return process_of(t)->threads.items;
}

static void process_resume(struct lp_target *t, struct lp_pause_stats *stats)
{
	uint64_t ns = 0;
	lp_resume_all(proc_of(t), &ns);
	pthread_sigmask(SIG_SETMASK, &process_of(t)->mask, NULL);
	if (stats)
		*stats = (struct lp_pause_stats){.ns = ns, .nr_threads = process_of(t)->threads.nr};
}

static int process_unwind(struct lp_target *t, int tid, lp_addr *frames, size_t max, struct lp_err *err)
{
	return lp_unwind(proc_of(t), tid, frames, max, err);
}

/* ---- stacks that no thread stands on ---- */

#define GUARD_MAX (UINT64_C(64) << 10) /* what is larger is a reserve that a heap grows into */

static bool has_guard(const struct lp_maps *maps, size_t i)
{
	const struct lp_map *below = i ? &maps->items[i - 1] : NULL;
	return below && below->range.end == maps->items[i].range.start && !below->prot &&
	       below->range.end - below->range.start <= GUARD_MAX;
}

static bool is_own_memory(const struct lp_map *m)
{
	return m->is_private && (m->prot & LP_MAP_WRITE) && !strstr(m->path, "/memfd:livepatch-");
}

static int process_own_memory(struct lp_target *t, void (*found)(void *arg, const struct lp_own_memory *m), void *arg,
			      struct lp_err *err)
{
	struct process *s = process_of(t);
	struct lp_maps maps = {0};
	lp_range_vec runs = {0};
	int rc = lp_maps_read(s->p, &maps, err);
	for (size_t i = 0; rc == 0 && i < maps.nr; i++) {
		const struct lp_map *m = &maps.items[i];
		if (!is_own_memory(m))
			continue;
		runs.nr = 0;
		rc = lp_touched(s->p, m->range, &runs);
		if (rc < 0) {
			rc = lp_fail_sys(err, rc, "cannot read which memory %s uses", t->label);
			break;
		}
		struct lp_own_memory own = {.is_stack = strcmp(m->path, "[stack]") == 0 || has_guard(&maps, i),
					    .runs = runs.items,
					    .nr_runs = runs.nr};
		describe_area(m, &own.area);
		found(arg, &own);
	}
	lp_vec_free(&runs);
	lp_maps_free(&maps);
	return rc;
}

_Static_assert(sizeof(struct lp_frame) == sizeof(struct lp_walk_frame) &&
		       offsetof(struct lp_frame, sp) == offsetof(struct lp_walk_frame, sp),
	       "the same two words");

static int process_unwind_suspended(struct lp_target *t, struct lp_suspended *s, struct lp_frame *frames, size_t max,
				    size_t *nr, struct lp_err *err)
{
	struct lp_walk_from from = {.pc = s->pc, .sp = s->sp, .fp = s->fp, .stack = s->stack, .bytes = s->bytes};
	int rc = lp_unwind_from(proc_of(t), &from, (struct lp_walk_frame *)frames, max, nr, err);
	s->missed = from.missed;
	return rc;
}

static bool process_jmpbuf(struct lp_target *t, struct lp_jmpbuf *out)
{
	struct lp_disguise d;
	if (!lp_jmpbuf_disguise(proc_of(t), &d))
		return false;
	*out = (struct lp_jmpbuf){.key = d.key, .rotate = d.rotate, .pc_at = d.pc_at};
	return true;
}

static void process_close(struct lp_target *t)
{
	struct process *s = process_of(t);
	forget_maps(s);
	lp_vec_free(&s->threads);
	lp_proc_close(s->p);
	lp_free(s->exe_file);
	lp_free(s->target.label);
	lp_free(s);
}

static const struct lp_target_ops process_ops = {
	.lock = process_lock,
	.unlock = process_unlock,
	.read = process_read,
	.read_many = process_read_many,
	.write = process_write,
	.area = process_area,
	.next_area = process_next_area,
	.near_hole = process_near_hole,
	.make_rooms = process_make_rooms,
	.drop_rooms = process_drop_rooms,
	.ledger_find = process_ledger_find,
	.ledger_make = process_ledger_make,
	.images = process_images,
	.tls_offset = process_tls_offset,
	.dlopen = process_dlopen,
	.dlclose = process_dlclose,
	.call = process_call,
	.refresh = process_refresh,
	.pause = process_pause,
	.threads = process_threads,
	.resume = process_resume,
	.unwind = process_unwind,
	.own_memory = process_own_memory,
	.unwind_suspended = process_unwind_suspended,
	.jmpbuf = process_jmpbuf,
	.close = process_close,
};

/* ---- ourselves: to be looked at ---- */

static int only_looking(struct lp_target *t, struct lp_err *err)
{
	return lp_fail(err, LP_EPERM, "%s is this process itself, which nobody can stop from inside", t->label);
}

static int own_write(struct lp_target *t, lp_addr at, const void *data, size_t len, struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_make_rooms(struct lp_target *t, uint64_t id, const struct lp_room_request *rooms, size_t nr,
			  struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_drop_rooms(struct lp_target *t, uint64_t id, const struct lp_range *ranges, size_t nr,
			  struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_ledger_make(struct lp_target *t, unsigned index, uint64_t size, struct lp_range *out, struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_dlopen(struct lp_target *t, const char *path, unsigned timeout_ms, lp_addr *handle, size_t *image,
		      struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_dlclose(struct lp_target *t, lp_addr handle, unsigned timeout_ms, struct lp_err *err)
{
	return only_looking(t, err);
}

static int own_pause(struct lp_target *t, struct lp_err *err)
{
	return only_looking(t, err);
}

static const struct lp_target_ops own_ops = {
	.lock = process_lock,
	.unlock = process_unlock,
	.read = process_read,
	.read_many = process_read_many,
	.write = own_write,
	.area = process_area,
	.next_area = process_next_area,
	.near_hole = process_near_hole,
	.make_rooms = own_make_rooms,
	.drop_rooms = own_drop_rooms,
	.ledger_find = process_ledger_find,
	.ledger_make = own_ledger_make,
	.images = process_images,
	.tls_offset = process_tls_offset,
	.dlopen = own_dlopen,
	.dlclose = own_dlclose,
	.refresh = process_refresh,
	.pause = own_pause,
	.threads = process_threads,
	.resume = process_resume,
	.unwind = process_unwind,
	.close = process_close,
};

/* ---- open, close ---- */

static int open_target(struct lp_target **out, pid_t pid, bool own, const char *exe_file, struct lp_err *err)
{
	*out = NULL;
	struct process *s = lp_alloc(sizeof *s);
	s->target.ops = own ? &own_ops : &process_ops;
	s->exe_file = lp_strdup(exe_file);
	int rc = own ? lp_proc_open_own(&s->p, err) : lp_proc_open(&s->p, pid, err);
	if (rc == 0) {
		s->target.label = lp_sprintf("process %d (%s)", (int)pid, lp_proc_comm(s->p));
		s->target.isa = lp_isa_of(lp_proc_machine(s->p));
		if (!s->target.isa)
			rc = lp_fail(err, LP_EISA, "%s runs on an instruction set that is not supported",
				     s->target.label);
	}
	/* A wrong file is refused as such, not as a mistake of the line that is first to need a symbol. */
	const struct lp_image *images;
	size_t nr;
	if (rc == 0 && exe_file)
		rc = lp_images(s->p, exe_file, &images, &nr, err);
	if (rc < 0) {
		lp_target_close(&s->target);
		return rc;
	}
	*out = &s->target;
	return 0;
}

int lp_target_open_process(struct lp_target **out, pid_t pid, const char *exe_file, struct lp_err *err)
{
	return open_target(out, pid, false, exe_file, err);
}

int lp_target_open_own(struct lp_target **out, struct lp_err *err)
{
	return open_target(out, getpid(), true, NULL, err);
}
