/* Calls that change the address space. */
#include <sys/mman.h>

#include "emu/sys.h"

/* Names that this C library does not know (include/uapi/asm-generic/mman-common.h). */
enum { GUARD_INSTALL = 102 };
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

CALL(brk)
{
	return (int64_t)lp_mem_brk(t->cpu.emu, a[0]);
}

CALL(mmap)
{
	return (int64_t)lp_mem_map(t->cpu.emu, a[0], a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
}

CALL(munmap)
{
	return (int64_t)lp_mem_unmap(t->cpu.emu, a[0], a[1]);
}

CALL(mprotect)
{
	return (int64_t)lp_mem_protect(t->cpu.emu, a[0], a[1], (int)a[2]);
}

CALL(mremap)
{
	return (int64_t)lp_mem_remap(t->cpu.emu, a[0], a[1], a[2], (int)a[3], a[4]);
}

CALL(shmat)
{
	return (int64_t)lp_mem_shmat(t->cpu.emu, (int)a[0], a[1], (int)a[2]);
}

CALL(shmdt)
{
	return (int64_t)lp_mem_shmdt(t->cpu.emu, a[0]);
}

/* ---- what is done to mappings ---- */

/* The rest of the address space is this program, which nobody's system calls shall change. */
static int64_t if_guest(struct lp_guest_thread *t, long nr, const uint64_t a[6])
{
	return lp_mem_is_guest(t->cpu.emu, a[0], a[1]) ? lp_host_wait(t, nr, a) : -ENOMEM;
}

CALL(msync)
{
	return if_guest(t, SYS_msync, a);
}

CALL(mlock)
{
	return if_guest(t, SYS_mlock, a);
}

CALL(mlock2)
{
	return if_guest(t, SYS_mlock2, a);
}

CALL(munlock)
{
	return if_guest(t, SYS_munlock, a);
}

CALL(mincore)
{
	return if_guest(t, SYS_mincore, a);
}

/* Pages that are thrown away are zeros, or what their file says, when they are come to again: the kernel makes caches of
 * instructions agree with that, so no program does. */
static bool throws_away(uint64_t advice)
{
	return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE ||
	       advice == MADV_REMOVE || advice == GUARD_INSTALL;
}

CALL(madvise)
{
	int64_t rc = if_guest(t, SYS_madvise, a);

	/* Even behind an error: part of it may have been done. */
	if (throws_away(a[2]))
		lp_mem_forget_code(t->cpu.emu, a[0], a[1]);
	return rc;
}

/* As Linux does it since 4.0: a mapping over the old one. */
CALL(remap_file_pages)
{
	struct lp_guest_area area;
	int64_t rc;

	if (!lp_mem_area(t->cpu.emu, a[0], &area) || !(area.flags & MAP_SHARED) || a[2])
		return -EINVAL;
	if (!lp_mem_is_guest(t->cpu.emu, a[0], a[1]))
		return -EINVAL;
	rc = lp_host_slow(t, SYS_remap_file_pages, a);
	if (!rc)
		lp_block_invalidate(t->cpu.emu->blocks, (struct lp_range){a[0], a[0] + a[1]});
	return rc;
}
