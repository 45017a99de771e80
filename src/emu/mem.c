/*
 * The guest's mappings: each is the host mapping of the same addresses, without
 * PROT_EXEC.
 *
 * What keeps guest and runner apart, whatever the guest asks for:
 *
 *  1. The kernel's change and the table's happen under one lock.
 *  2. What takes memory away (munmap, mprotect, the old place of mremap) is done
 *     piece by piece to areas of the table, and to nothing else.
 *  3. A mapping at a place that the guest names first takes the holes there with
 *     MAP_FIXED_NOREPLACE: a hole that is not one belongs to the runner, and
 *     the answer is ENOMEM.
 *
 * So the runner's own mallocs and thread stacks go wherever the kernel likes, at
 * any time.
 */
#include "emu/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdio.h"
#include "emu/areas.h"
#include "emu/emu.h"
#include "emu/fault.h"
#include "emu/sys.h"

#define PAGE ((uint64_t)LP_GUEST_PAGE)
/* Above it the host has no memory either (47 bits), but for what arm64 would refuse as well. */
#define TOP (UINT64_C(1) << 47)

enum {
	PROT_GUEST = PROT_READ | PROT_WRITE | PROT_EXEC | LP_PROT_BTI,
	ONLY_HERE = 0x40 | 0x80, /* MAP_32BIT and MAP_ABOVE4G: x86 alone has them; arm64 ignores the bits */
	HUGE_DEFAULT = 21,
	STRING_CHUNK = 256,
};

struct lp_address_space {
	pthread_mutex_t lock;
	struct lp_areas areas;
	char *sysroot; /* "" = none */
	lp_addr brk_start, brk;
	int memory; /* /proc/self/mem, while many pokes are made; -1 = not open */
};

/* ---- life ---- */

struct lp_address_space *lp_mem_new(const char *sysroot)
{
	struct lp_address_space *s = lp_alloc(sizeof *s);

	pthread_mutex_init(&s->lock, NULL);
	s->sysroot = lp_strdup(sysroot ? sysroot : "");
	s->memory = -1;
	return s;
}

void lp_mem_free(struct lp_address_space *s)
{
	if (!s)
		return;
	lp_areas_free(&s->areas);
	pthread_mutex_destroy(&s->lock);
	lp_free(s->sysroot);
	lp_free(s);
}

void lp_mem_lock(struct lp_emu *emu)
{
	pthread_mutex_lock(&emu->space->lock);
}

void lp_mem_unlock(struct lp_emu *emu)
{
	pthread_mutex_unlock(&emu->space->lock);
}

/* ---- the guest's memory, touched from C ---- */

static uint64_t untagged(uint64_t addr)
{
	return (uint64_t)((int64_t)(addr << 8) >> 8);
}

int lp_mem_read(uint64_t addr, void *data, size_t len)
{
	return lp_copy_guarded(data, (const void *)untagged(addr), len);
}

int lp_mem_write(uint64_t addr, const void *data, size_t len)
{
	return lp_copy_guarded((void *)untagged(addr), data, len);
}

ssize_t lp_mem_string(uint64_t addr, char *out, size_t size)
{
	size_t done = 0;

	while (done < size) {
		/* Never beyond the page of a byte that is needed: the next may not be there. */
		size_t chunk = STRING_CHUNK - (addr + done) % STRING_CHUNK;
		const char *nul;
		if (chunk > size - done)
			chunk = size - done;
		if (lp_mem_read(addr + done, out + done, chunk))
			return -EFAULT;
		nul = memchr(out + done, 0, chunk);
		if (nul)
			return nul - out;
		done += chunk;
	}
	return -ENAMETOOLONG;
}

/* ---- what host and table have in common ---- */

/* Execute-only code is read by us, and by arm64 without EPAN as well. */
static int host_prot(int prot)
{
	int host = prot & (PROT_READ | PROT_WRITE);

	return prot & PROT_EXEC ? host | PROT_READ : host;
}

/* mmap's result as the kernel returns it. */
static uint64_t host_map(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset)
{
	void *p = mmap((void *)addr, len, prot, flags, fd, (off_t)offset);

	return p == MAP_FAILED ? (uint64_t)-errno : (uint64_t)p;
}

/* A page-aligned range as the kernel makes it of address and length; false: it is none. */
static bool range_of(uint64_t addr, uint64_t len, struct lp_range *out)
{
	if (addr % PAGE || len > TOP || addr > TOP - lp_align_up(len, PAGE))
		return false;
	*out = (struct lp_range){addr, addr + lp_align_up(len, PAGE)};
	return true;
}

/* Blocks of executable areas in the range are translations of what is no longer there.  Under the lock: else another
 * thread could map code to the same place, and run what was there before. */
static void forget_code(struct lp_emu *emu, struct lp_range range)
{
	struct lp_areas *areas = &emu->space->areas;
	struct lp_area piece;

	while (emu->blocks && lp_areas_piece(areas, range, &piece)) {
		if (piece.prot & PROT_EXEC)
			lp_block_invalidate(emu->blocks, piece.range);
		range.start = piece.range.end;
	}
}

void lp_mem_forget_code(struct lp_emu *emu, uint64_t addr, uint64_t len)
{
	struct lp_range range;

	if (!range_of(addr, len, &range))
		return;
	pthread_mutex_lock(&emu->space->lock);
	forget_code(emu, range);
	pthread_mutex_unlock(&emu->space->lock);
}

/* The range is not the guest's any more; true when some of it was. */
static bool forget(struct lp_emu *emu, struct lp_range range)
{
	struct lp_areas *areas = &emu->space->areas;
	struct lp_area piece;

	if (!lp_areas_piece(areas, range, &piece))
		return false;
	forget_code(emu, range);
	lp_areas_cut(areas, range);
	return true;
}

static void tell_unmapped(struct lp_emu *emu, struct lp_range range)
{
	lp_emu_tell(emu, unmapped, emu, range);
}

static void tell_mapped(struct lp_emu *emu, struct lp_range range)
{
	lp_emu_tell(emu, mapped, emu, range);
}

/* The kernel lets a MAP_GROWSDOWN area grow by itself: whether that above addr has come to it is asked here. */
static void follow_growth(struct lp_areas *areas, lp_addr addr)
{
	size_t i = lp_areas_find(areas, addr);
	lp_addr page = lp_align_down(addr, PAGE);
	unsigned char in_core[64];
	struct lp_area area;

	if (i == areas->list.nr)
		return;
	area = areas->list.items[i];
	if (!(area.flags & MAP_GROWSDOWN) || area.range.start <= page)
		return;
	for (lp_addr at = page; at < area.range.start; at += sizeof in_core * PAGE) {
		uint64_t len = area.range.start - at;
		if (len > sizeof in_core * PAGE)
			len = sizeof in_core * PAGE;
		if (mincore((void *)at, len, in_core))
			return;
	}
	area.range.start = page;
	lp_areas_add(areas, &area);
}

/* ---- names ---- */

/* As the guest sees it: what lies in the sysroot is at the root. */
static const char *guest_name(const struct lp_address_space *s, const char *path)
{
	size_t len = strlen(s->sysroot);

	return len && !strncmp(path, s->sysroot, len) && path[len] == '/' ? path + len : path;
}

/* The file that is mapped at addr, or just before it, if it is that one: parts of a library are mapped side by side.  While it is
 * mapped no other has its number, and with one link it has one name; reading that takes longer than the mapping. */
static struct lp_area_file *file_beside(const struct lp_areas *areas, uint64_t addr, const struct stat *st)
{
	for (unsigned before = 0; before <= 1; before++) {
		const struct lp_area *a = lp_areas_at(areas, addr - before);
		if (a && st->st_nlink == 1 && a->file->dev == st->st_dev && a->file->ino == st->st_ino)
			return a->file;
	}
	return NULL;
}

/* To be mapped at addr, where the table has what was there. */
static struct lp_area_file *file_of(struct lp_address_space *s, uint64_t addr, int fd)
{
	char link[48], path[PATH_MAX];
	struct lp_area_file *known;
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st))
		return lp_areas_file(&s->areas, "", 0, 0);
	known = file_beside(&s->areas, addr, &st);
	if (known)
		return known;
	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	path[len > 0 ? len : 0] = 0;
	return lp_areas_file(&s->areas, guest_name(s, path), st.st_dev, st.st_ino);
}

void lp_mem_name(struct lp_emu *emu, struct lp_range range, const char *name)
{
	struct lp_address_space *s = emu->space;
	struct lp_area piece;

	pthread_mutex_lock(&s->lock);
	for (; lp_areas_piece(&s->areas, range, &piece); range.start = piece.range.end) {
		piece.file = lp_areas_file(&s->areas, name, 0, 0);
		piece.offset = 0;
		lp_areas_add(&s->areas, &piece);
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- mmap ---- */

static void give_holes_back(struct lp_areas *areas, struct lp_range range)
{
	struct lp_range hole;

	for (; lp_areas_hole(areas, range, &hole); range.start = hole.end)
		munmap((void *)hole.start, hole.end - hole.start);
}

/* Takes the holes of the range, so that nobody else does: -ENOMEM when one of them is the runner's memory.  The holes
 * that were taken are those of the table. */
static int take_holes(struct lp_areas *areas, struct lp_range range)
{
	struct lp_range rest = range, hole;

	for (; lp_areas_hole(areas, rest, &hole); rest.start = hole.end) {
		uint64_t at = host_map(hole.start, hole.end - hole.start, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (!lp_mem_failed(at))
			continue;
		give_holes_back(areas, (struct lp_range){range.start, hole.start});
		return at == (uint64_t)-EEXIST ? -ENOMEM : (int)at;
	}
	return 0;
}

/* MAP_FIXED, to a place that has been asked for. */
static uint64_t map_over(struct lp_areas *areas, struct lp_range range, int prot, int flags, int fd, uint64_t offset)
{
	int rc = take_holes(areas, range);
	uint64_t at;

	if (rc)
		return (uint64_t)rc;
	at = host_map(range.start, range.end - range.start, prot, flags, fd, offset);
	if (lp_mem_failed(at))
		give_holes_back(areas, range);
	return at;
}

static uint64_t mapped_length(uint64_t len, int flags)
{
	unsigned shift = (unsigned)flags >> MAP_HUGE_SHIFT & 63;

	return flags & MAP_HUGETLB ? lp_align_up(len, UINT64_C(1) << (shift ? shift : HUGE_DEFAULT))
				   : lp_align_up(len, PAGE);
}

static struct lp_area_file *identity(struct lp_address_space *s, uint64_t addr, int flags, int fd)
{
	if (!(flags & MAP_ANONYMOUS))
		return file_of(s, addr, fd);
	return (flags & MAP_TYPE) == MAP_PRIVATE ? lp_areas_file(&s->areas, "", 0, 0) : lp_areas_nameless(&s->areas);
}

/* What the kernel has mapped, into the table; true when something of the guest's was there. */
static bool enter(struct lp_emu *emu, const struct lp_area *area)
{
	bool replaced = forget(emu, area->range);

	lp_areas_add(&emu->space->areas, area);
	return replaced;
}

uint64_t lp_mem_map(struct lp_emu *emu, uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset)
{
	struct lp_address_space *s = emu->space;
	bool over = flags & MAP_FIXED && !(flags & MAP_FIXED_NOREPLACE), replaced;
	struct lp_area area = {.prot = prot & PROT_GUEST, .flags = flags & ~ONLY_HERE};
	uint64_t at;

	if (offset % PAGE || len == 0 || (over && addr % PAGE))
		return (uint64_t)-EINVAL;
	if (len > TOP || (over && !range_of(addr, mapped_length(len, flags), &area.range)))
		return (uint64_t)-ENOMEM;
	pthread_mutex_lock(&s->lock);
	at = over ? map_over(&s->areas, area.range, host_prot(prot), area.flags, fd, offset)
		  : host_map(addr, len, host_prot(prot), area.flags, fd, offset);
	if (lp_mem_failed(at)) {
		pthread_mutex_unlock(&s->lock);
		return at;
	}
	area.range = (struct lp_range){at, at + mapped_length(len, flags)};
	area.file = identity(s, at, flags, fd);
	area.offset = flags & MAP_ANONYMOUS ? 0 : offset;
	replaced = enter(emu, &area);
	pthread_mutex_unlock(&s->lock);
	if (replaced)
		tell_unmapped(emu, area.range);
	if (!(flags & MAP_ANONYMOUS))
		tell_mapped(emu, area.range);
	return at;
}

/* ---- munmap ---- */

/* Piece by piece; stops at the first that the kernel refuses. */
static int unmap_pieces(struct lp_emu *emu, struct lp_range range)
{
	struct lp_areas *areas = &emu->space->areas;
	struct lp_area piece;

	for (; lp_areas_piece(areas, range, &piece); range.start = piece.range.end) {
		if (munmap((void *)piece.range.start, piece.range.end - piece.range.start))
			return -errno;
		forget(emu, piece.range);
	}
	return 0;
}

uint64_t lp_mem_unmap(struct lp_emu *emu, uint64_t addr, uint64_t len)
{
	struct lp_address_space *s = emu->space;
	struct lp_range range;
	int rc;

	if (!range_of(untagged(addr), len, &range) || len == 0)
		return (uint64_t)-EINVAL;
	pthread_mutex_lock(&s->lock);
	follow_growth(&s->areas, range.start);
	rc = unmap_pieces(emu, range);
	pthread_mutex_unlock(&s->lock);
	tell_unmapped(emu, range);
	return (uint64_t)rc;
}

void lp_mem_disown(struct lp_emu *emu, struct lp_range range)
{
	pthread_mutex_lock(&emu->space->lock);
	forget(emu, range);
	pthread_mutex_unlock(&emu->space->lock);
}

/* ---- mprotect ---- */

static int protect_piece(struct lp_emu *emu, struct lp_area *piece, int prot)
{
	int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	bool loses = piece->prot & PROT_EXEC && (!(prot & PROT_EXEC) || (piece->prot ^ prot) & LP_PROT_BTI);
	bool may_change = emu->options.smc_strict && prot & ~piece->prot & PROT_WRITE;

	if ((grows || host_prot(prot) != host_prot(piece->prot)) &&
	    mprotect((void *)piece->range.start, piece->range.end - piece->range.start, host_prot(prot)))
		return -errno;
	if (loses || may_change)
		forget_code(emu, piece->range);
	piece->prot = prot & PROT_GUEST;
	lp_areas_add(&emu->space->areas, piece);
	return 0;
}

static int protect_pieces(struct lp_emu *emu, struct lp_range range, int prot)
{
	struct lp_areas *areas = &emu->space->areas;
	struct lp_area piece, *first = lp_areas_at(areas, range.start);

	if (!first)
		return -ENOMEM;
	if (prot & PROT_GROWSDOWN) {
		if (!(first->flags & MAP_GROWSDOWN))
			return -EINVAL;
		range.start = first->range.start;
	}
	if (prot & PROT_GROWSUP) /* there are no such mappings here, nor on arm64 */
		return -EINVAL;
	for (; range.start < range.end; range.start = piece.range.end) {
		int rc = -ENOMEM;
		if (lp_areas_piece(areas, range, &piece) && piece.range.start == range.start)
			rc = protect_piece(emu, &piece, prot);
		if (rc)
			return rc;
	}
	return 0;
}

uint64_t lp_mem_protect(struct lp_emu *emu, uint64_t addr, uint64_t len, int prot)
{
	struct lp_address_space *s = emu->space;
	int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
	struct lp_range range;
	int rc;

	addr = untagged(addr);
	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || addr % PAGE)
		return (uint64_t)-EINVAL;
	if (len == 0)
		return 0;
	if (!range_of(addr, len, &range))
		return (uint64_t)-ENOMEM;
	/* PROT_SEM does nothing anywhere. */
	if (prot & ~(PROT_GUEST | grows | 0x8))
		return (uint64_t)-EINVAL;
	pthread_mutex_lock(&s->lock);
	follow_growth(&s->areas, range.start);
	rc = protect_pieces(emu, range, prot);
	pthread_mutex_unlock(&s->lock);
	return (uint64_t)rc;
}

/* ---- mremap ---- */

typedef LP_VEC(struct lp_area) area_vec;

static void pieces_of(const struct lp_areas *areas, struct lp_range range, area_vec *out)
{
	struct lp_area piece;

	for (; lp_areas_piece(areas, range, &piece); range.start = piece.range.end)
		lp_vec_push(out, piece);
}

/* The old range as the table had it, at its new place and of its new length. */
static bool enter_moved(struct lp_emu *emu, const area_vec *pieces, lp_addr from, struct lp_range to)
{
	bool replaced = false;

	for (size_t i = 0; i < pieces->nr; i++) {
		struct lp_area area = pieces->items[i];
		area.range.start += to.start - from;
		area.range.end += to.start - from;
		if (i + 1 == pieces->nr)
			area.range.end = to.end;
		replaced |= enter(emu, &area);
	}
	return replaced;
}

/* The kernel has done it: what was `from` is now at `to`. */
static bool note_remap(struct lp_emu *emu, struct lp_range from, struct lp_range to, int flags)
{
	struct lp_areas *areas = &emu->space->areas;
	uint64_t old_len = from.end - from.start, new_len = to.end - to.start;
	struct lp_range kept = {from.start, from.start + (old_len && old_len < new_len ? old_len : new_len)};
	area_vec pieces = {0};
	bool replaced;

	if (to.start == from.start) {
		if (new_len < old_len)
			return forget(emu, (struct lp_range){to.end, from.end});
		pieces_of(areas, (struct lp_range){from.end - PAGE, from.end}, &pieces);
		if (pieces.nr) {
			pieces.items[0].range.end = to.end;
			lp_areas_add(areas, &pieces.items[0]);
		}
		lp_vec_free(&pieces);
		return false;
	}
	/* Of length 0: a second mapping of what is at from.start. */
	pieces_of(areas, old_len ? kept : (struct lp_range){from.start, from.start + PAGE}, &pieces);
	if (flags & MREMAP_DONTUNMAP)
		forget_code(emu, from);
	else
		forget(emu, from);
	replaced = forget(emu, to);
	replaced |= enter_moved(emu, &pieces, from.start, to);
	lp_vec_free(&pieces);
	return replaced || (old_len && !(flags & MREMAP_DONTUNMAP));
}

static uint64_t remap(struct lp_emu *emu, struct lp_range from, struct lp_range to, int flags)
{
	struct lp_areas *areas = &emu->space->areas;
	bool over = flags & MREMAP_FIXED;
	int rc = over ? take_holes(areas, to) : 0;
	void *p;

	if (rc)
		return (uint64_t)rc;
	p = mremap((void *)from.start, from.end - from.start, to.end - to.start, flags, (void *)to.start);
	if (p != MAP_FAILED)
		return (uint64_t)p;
	rc = -errno;
	if (over)
		give_holes_back(areas, to);
	return (uint64_t)rc;
}

uint64_t lp_mem_remap(struct lp_emu *emu, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
		      uint64_t new_addr)
{
	struct lp_address_space *s = emu->space;
	struct lp_range from, to, seen;
	bool gone = false;
	uint64_t at;

	addr = untagged(addr);
	if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) || !range_of(addr, old_len, &from) ||
	    !range_of(flags & MREMAP_FIXED ? new_addr : 0, new_len, &to) || new_len == 0)
		return (uint64_t)-EINVAL;
	if (flags & MREMAP_FIXED && (!(flags & MREMAP_MAYMOVE) || lp_range_overlaps(from, to)))
		return (uint64_t)-EINVAL;
	seen = old_len ? from : (struct lp_range){addr, addr + PAGE};
	pthread_mutex_lock(&s->lock);
	at = lp_areas_cover(&s->areas, seen) ? remap(emu, from, to, flags) : (uint64_t)-EFAULT;
	if (!lp_mem_failed(at)) {
		to = (struct lp_range){at, at + (to.end - to.start)};
		gone = note_remap(emu, from, to, flags);
	}
	pthread_mutex_unlock(&s->lock);
	if (gone)
		tell_unmapped(emu, from);
	return at;
}

/* ---- brk ---- */

void lp_mem_set_brk(struct lp_emu *emu, uint64_t start)
{
	emu->space->brk_start = emu->space->brk = start;
}

/* The break moves up over memory that nobody has. */
static bool grow_heap(struct lp_emu *emu, struct lp_range more)
{
	struct lp_address_space *s = emu->space;
	struct lp_area area = {.range = more, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE | MAP_ANONYMOUS};

	if (lp_mem_failed(
		    host_map(more.start, more.end - more.start, area.prot, area.flags | MAP_FIXED_NOREPLACE, -1, 0)))
		return false;
	area.file = lp_areas_file(&s->areas, "[heap]", 0, 0);
	lp_areas_add(&s->areas, &area);
	return true;
}

uint64_t lp_mem_brk(struct lp_emu *emu, uint64_t addr)
{
	struct lp_address_space *s = emu->space;
	lp_addr now, want;
	bool done = true;

	pthread_mutex_lock(&s->lock);
	now = lp_align_up(s->brk, PAGE);
	want = lp_align_up(addr, PAGE);
	if (addr < s->brk_start || addr >= TOP)
		done = false;
	else if (want > now)
		done = grow_heap(emu, (struct lp_range){now, want});
	else if (want < now)
		done = unmap_pieces(emu, (struct lp_range){want, now}) == 0;
	if (done)
		s->brk = addr;
	addr = s->brk;
	pthread_mutex_unlock(&s->lock);
	return addr;
}

/* ---- System V shared memory ---- */

static struct lp_area_file *segment_identity(struct lp_areas *areas, const struct shmid_ds *ds, int id)
{
	char name[32];

	snprintf(name, sizeof name, "/SYSV%08x (deleted)", (unsigned)ds->shm_perm.__key);
	/* In the kernel's eyes an inode of its own file system. */
	return lp_areas_file(areas, name, makedev(0, 1), (uint64_t)(unsigned)id);
}

static uint64_t attach(struct lp_areas *areas, int id, struct lp_range at, int flags)
{
	bool over = flags & SHM_REMAP && at.start;
	int rc = over ? take_holes(areas, at) : 0;
	void *p;

	if (rc)
		return (uint64_t)rc;
	p = shmat(id, (void *)at.start, flags & ~SHM_EXEC);
	if (p != MAP_FAILED)
		return (uint64_t)p;
	rc = -errno;
	if (over)
		give_holes_back(areas, at);
	return (uint64_t)rc;
}

uint64_t lp_mem_shmat(struct lp_emu *emu, int id, uint64_t addr, int flags)
{
	struct lp_address_space *s = emu->space;
	struct lp_area area = {.prot = PROT_READ, .flags = MAP_SHARED};
	struct shmid_ds ds;
	bool replaced = false;
	uint64_t at;

	addr = untagged(addr);
	if (flags & SHM_RND)
		addr = lp_align_down(addr, PAGE);
	if (shmctl(id, IPC_STAT, &ds))
		return (uint64_t)-errno;
	if (!range_of(addr, ds.shm_segsz, &area.range))
		return (uint64_t)-EINVAL;
	pthread_mutex_lock(&s->lock);
	at = attach(&s->areas, id, area.range, flags);
	if (!lp_mem_failed(at)) {
		area.range = (struct lp_range){at, at + lp_align_up(ds.shm_segsz, PAGE)};
		area.prot |= (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
		area.file = segment_identity(&s->areas, &ds, id);
		replaced = enter(emu, &area);
	}
	pthread_mutex_unlock(&s->lock);
	if (replaced)
		tell_unmapped(emu, area.range);
	return at;
}

/* What is left of the segment that was attached at `base`. */
static void forget_segment(struct lp_emu *emu, lp_addr base, const struct lp_area_file *file)
{
	struct lp_areas *areas = &emu->space->areas;
	size_t i = lp_areas_find(areas, base);

	while (i < areas->list.nr) {
		struct lp_area area = areas->list.items[i];
		if (area.file == file && area.range.start - area.offset == base)
			forget(emu, area.range);
		else
			i++;
	}
}

uint64_t lp_mem_shmdt(struct lp_emu *emu, uint64_t addr)
{
	struct lp_address_space *s = emu->space;
	struct lp_area area;
	int rc = -EINVAL;

	addr = untagged(addr);
	pthread_mutex_lock(&s->lock);
	if (addr % PAGE == 0 && lp_areas_piece(&s->areas, (struct lp_range){addr, TOP}, &area) &&
	    area.range.start - area.offset == addr)
		rc = shmdt((void *)addr) ? -errno : 0;
	if (rc == 0)
		forget_segment(emu, addr, area.file);
	pthread_mutex_unlock(&s->lock);
	if (rc == 0)
		tell_unmapped(emu, area.range);
	return (uint64_t)rc;
}

/* ---- questions ---- */

static void show(const struct lp_area *area, struct lp_guest_area *out)
{
	*out = (struct lp_guest_area){
		.range = area->range,
		.prot = area->prot,
		.flags = area->flags,
		.name = area->file->name,
		.offset = area->offset,
		.dev = area->file->dev,
		.ino = area->file->ino,
	};
}

bool lp_mem_next(struct lp_emu *emu, uint64_t addr, struct lp_guest_area *out)
{
	struct lp_address_space *s = emu->space;
	size_t i;
	bool is;

	addr = untagged(addr);
	pthread_mutex_lock(&s->lock);
	follow_growth(&s->areas, addr);
	i = lp_areas_find(&s->areas, addr);
	is = i < s->areas.list.nr;
	if (is)
		show(&s->areas.list.items[i], out);
	pthread_mutex_unlock(&s->lock);
	return is;
}

bool lp_mem_area(struct lp_emu *emu, uint64_t addr, struct lp_guest_area *out)
{
	return lp_mem_next(emu, addr, out) && lp_range_has(out->range, untagged(addr));
}

int lp_mem_fetch(struct lp_emu *emu, uint64_t pc, bool *bti, uint64_t *until)
{
	struct lp_address_space *s = emu->space;
	const struct lp_area *area;
	int code = SEGV_MAPERR;

	pthread_mutex_lock(&s->lock);
	area = lp_areas_at(&s->areas, pc);
	if (area) {
		code = area->prot & PROT_EXEC ? 0 : SEGV_ACCERR;
		*bti = area->prot & LP_PROT_BTI;
	}
	pthread_mutex_unlock(&s->lock);
	*until = lp_align_down(pc, PAGE) + PAGE;
	return code;
}

bool lp_mem_may_change(struct lp_emu *emu, uint64_t addr)
{
	struct lp_address_space *s = emu->space;
	const struct lp_area *area;
	bool may;

	pthread_mutex_lock(&s->lock);
	area = lp_areas_at(&s->areas, addr);
	may = area && (area->prot & PROT_WRITE || (area->flags & MAP_TYPE) != MAP_PRIVATE);
	pthread_mutex_unlock(&s->lock);
	return may;
}

bool lp_mem_is_guest(struct lp_emu *emu, uint64_t addr, uint64_t len)
{
	struct lp_address_space *s = emu->space;
	struct lp_range range;
	bool is;

	addr = untagged(addr);
	if (!range_of(lp_align_down(addr, PAGE), len, &range))
		return false;
	range.end = lp_align_up(addr + len, PAGE);
	if (len == 0)
		return true;
	pthread_mutex_lock(&s->lock);
	follow_growth(&s->areas, range.start);
	is = lp_areas_cover(&s->areas, range);
	pthread_mutex_unlock(&s->lock);
	return is;
}

/* Where the bytes [offset, offset + len) of its file are in the area. */
static bool shows(const struct lp_area *area, uint64_t offset, uint64_t len, struct lp_range *out)
{
	uint64_t size = area->range.end - area->range.start;

	if (offset < area->offset || offset - area->offset >= size)
		return false;
	out->start = area->range.start + (offset - area->offset);
	out->end = out->start + len;
	return true;
}

static size_t list_aliases(const struct lp_areas *areas, const struct lp_area *of, struct lp_range range,
			   struct lp_range *out, size_t max)
{
	uint64_t offset = of->offset + (range.start - of->range.start);
	size_t nr = 0;
	struct lp_range alias;

	for (size_t i = 0; i < areas->list.nr; i++) {
		const struct lp_area *a = &areas->list.items[i];
		if (a->file->dev != of->file->dev || a->file->ino != of->file->ino ||
		    !shows(a, offset, range.end - range.start, &alias) || alias.start == range.start)
			continue;
		if (nr < max)
			out[nr] = alias;
		nr++;
	}
	return nr;
}

size_t lp_mem_aliases(struct lp_emu *emu, struct lp_range range, struct lp_range *out, size_t max)
{
	struct lp_address_space *s = emu->space;
	const struct lp_area *of;
	size_t nr = 0;

	pthread_mutex_lock(&s->lock);
	of = lp_areas_at(&s->areas, range.start);
	/* What is written to a private mapping is nobody else's. */
	if (of && of->flags & MAP_SHARED && (of->file->dev || of->file->ino))
		nr = list_aliases(&s->areas, of, range, out, max);
	pthread_mutex_unlock(&s->lock);
	return nr;
}

/* ---- poke ---- */

void lp_mem_pokes_begin(struct lp_emu *emu)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC), kept = fd < 0 ? -1 : lp_fd_keep(fd), warm;

	if (fd >= 0 && kept < 0)
		close(fd);
	emu->space->memory = kept < 0 ? -1 : kept;
	/* The kernel's way to a write takes several times as long the first time. */
	if (kept >= 0)
		(void)lp_pwrite_full(kept, &kept, sizeof kept, (off_t)&warm);
}

void lp_mem_pokes_end(struct lp_emu *emu)
{
	lp_fd_drop(emu->space->memory);
	emu->space->memory = -1;
}

static int poke_piece(int memory, const struct lp_area *piece, lp_addr at, const void *data, size_t len)
{
	lp_addr page = lp_align_down(at, PAGE);
	size_t span = lp_align_up(at + len, PAGE) - page;
	int prot = host_prot(piece->prot), rc;

	if ((prot & (PROT_READ | PROT_WRITE)) == (PROT_READ | PROT_WRITE))
		return lp_copy_guarded((void *)at, data, len);
	if (memory >= 0 && lp_pwrite_full(memory, data, len, (off_t)at) == 0)
		return 0;
	if (mprotect((void *)page, span, PROT_READ | PROT_WRITE))
		return -EFAULT;
	rc = lp_copy_guarded((void *)at, data, len);
	mprotect((void *)page, span, prot);
	return rc;
}

int lp_mem_poke(struct lp_emu *emu, uint64_t addr, const void *data, size_t len)
{
	struct lp_address_space *s = emu->space;
	struct lp_range range = {untagged(addr), untagged(addr) + len};
	const uint8_t *from = data;
	struct lp_area piece;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (len && !lp_areas_cover(&s->areas, range))
		rc = -EFAULT;
	while (rc == 0 && lp_areas_piece(&s->areas, range, &piece)) {
		size_t part = piece.range.end - piece.range.start;
		rc = poke_piece(s->memory, &piece, range.start, from, part);
		from += part;
		range.start = piece.range.end;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}
