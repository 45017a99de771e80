/*
 * The guest's address space.  A guest address is the host address of the same
 * number: instructions touch memory directly, and the kernel keeps the truth
 * about what is mapped.  What the kernel cannot know stands here: which mappings
 * are the guest's, and which of them the guest may execute (on the host nothing
 * of the guest is executable).
 *
 * All functions take numbers as the guest gave them (tags are removed here) and
 * are thread-safe.  Results of the lp_mem_map() family are the system call's:
 * an address or 0, or -errno.
 */
#ifndef LP_EMU_MEM_H
#define LP_EMU_MEM_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/err.h"

struct lp_emu;

/* In the linker's eyes: proc/ has functions of these names, for other processes. */
#define lp_mem_read lp_guest_read
#define lp_mem_write lp_guest_write

enum { LP_GUEST_PAGE = 4096 };

/* Where in a table of so many buckets (a power of two) a page of the guest is: neighbours in neighbours, and images that
 * begin at the same distance from a multiple of the table's size not all in the same. */
static inline size_t lp_page_bucket(uint64_t addr, size_t nr_buckets)
{
	uint64_t page = addr / LP_GUEST_PAGE;

	return (page + page / nr_buckets * 0x9e37) % nr_buckets;
}

/* Bits of the guest's mprotect() that this host does not know (arch/arm64/include/uapi/asm/mman.h). */
enum { LP_PROT_BTI = 0x10, LP_PROT_MTE = 0x20 };

/* A guest mapping; prot in the guest's PROT_* bits, PROT_BTI included. */
struct lp_guest_area {
	struct lp_range range;
	int prot, flags;
	const char *name; /* path as the guest sees it, "[heap]", "[stack]", "[vdso]", ""; owned by the address space */
	uint64_t offset;  /* in the file */
	uint64_t dev, ino; /* of the file; 0, 0: none */
};

/* ---- life ---- */

/* `sysroot`, without links in it, is taken off the names of files; NULL = none. */
struct lp_address_space *lp_mem_new(const char *sysroot);
/* Unmaps nothing. */
void lp_mem_free(struct lp_address_space *space);
/* Around a fork: the child finds the table whole, and the lock free after lp_mem_unlock(). */
void lp_mem_lock(struct lp_emu *emu);
void lp_mem_unlock(struct lp_emu *emu);

/* ---- the guest's memory, touched from C: never faults ---- */

/* All of it, or -EFAULT (then a part may have been copied). */
int lp_mem_read(uint64_t addr, void *data, size_t len);
int lp_mem_write(uint64_t addr, const void *data, size_t len);
/* A string with its NUL into out, or -EFAULT, or -ENAMETOOLONG when it is longer than size - 1.  Returns its length. */
ssize_t lp_mem_string(uint64_t addr, char *out, size_t size);
/* Writes whatever the mapping's protection is (patches, the debugger); -EFAULT when it is not the guest's. */
int lp_mem_poke(struct lp_emu *emu, uint64_t addr, const void *data, size_t len);
/*
 * Around many of them, by one thread, within which nobody forks: what the guest may not write itself is written through
 * /proc/self/mem (proc(5)).  The other way, which remains where the kernel refuses this one, changes the page's protection
 * twice, and each change interrupts the processors that other threads run on.
 */
void lp_mem_pokes_begin(struct lp_emu *emu);
void lp_mem_pokes_end(struct lp_emu *emu);

#define lp_mem_get(addr, object) lp_mem_read(addr, object, sizeof *(object))
#define lp_mem_put(addr, object) lp_mem_write(addr, object, sizeof *(object))

/* ---- mappings ---- */

/* Is this result an error? */
static inline bool lp_mem_failed(uint64_t result)
{
	return result > (uint64_t)-4096;
}

uint64_t lp_mem_map(struct lp_emu *emu, uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset);
uint64_t lp_mem_unmap(struct lp_emu *emu, uint64_t addr, uint64_t len);
uint64_t lp_mem_protect(struct lp_emu *emu, uint64_t addr, uint64_t len, int prot);
uint64_t lp_mem_remap(struct lp_emu *emu, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
		      uint64_t new_addr);
uint64_t lp_mem_brk(struct lp_emu *emu, uint64_t addr);
/* Where the program's data ends: the heap begins there. */
void lp_mem_set_brk(struct lp_emu *emu, uint64_t start);
/* What executable areas of the guest's hold in the range is not what it was. */
void lp_mem_forget_code(struct lp_emu *emu, uint64_t addr, uint64_t len);
/* Stays mapped, and is the guest's no more: what lies below its stack. */
void lp_mem_disown(struct lp_emu *emu, struct lp_range range);
/* What the areas in the range are called from now on: "[stack]". */
void lp_mem_name(struct lp_emu *emu, struct lp_range range, const char *name);
/* The guest attaches and detaches System V shared memory. */
uint64_t lp_mem_shmat(struct lp_emu *emu, int id, uint64_t addr, int flags);
uint64_t lp_mem_shmdt(struct lp_emu *emu, uint64_t addr);

/* ---- questions ---- */

/* The mapping that holds addr; false: none of the guest's. */
bool lp_mem_area(struct lp_emu *emu, uint64_t addr, struct lp_guest_area *out);
/* The first mapping that ends behind addr. */
bool lp_mem_next(struct lp_emu *emu, uint64_t addr, struct lp_guest_area *out);
/* What a fetch at pc finds: 0, or SEGV_MAPERR / SEGV_ACCERR.  *bti: the page is guarded (PROT_BTI).
 * *until: instructions up to here have the same answer; at most the end of pc's page. */
int lp_mem_fetch(struct lp_emu *emu, uint64_t pc, bool *bti, uint64_t *until);
/* Every page of it is the guest's.  What system calls do to whole mappings (madvise, mlock, msync, ...) is only done then:
 * the rest of the address space is this program.  An empty range is. */
/* Whether what stands there may become something else without our being asked: it may be written to, or is shared. */
bool lp_mem_may_change(struct lp_emu *emu, uint64_t addr);
bool lp_mem_is_guest(struct lp_emu *emu, uint64_t addr, uint64_t len);
/* Where else the guest sees the bytes of `range`, which lies in one page: shared mappings of the same file, and private
 * ones that may not have been written to.  Up to max ranges into out; returns how many there are. */
size_t lp_mem_aliases(struct lp_emu *emu, struct lp_range range, struct lp_range *out, size_t max);

#endif
