#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include "emu/emu.h"
#include "emu/mem.h"
#include "guarded.h"

#define PAGE UINT64_C(4096)

enum { ANON = MAP_PRIVATE | MAP_ANONYMOUS, RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC };

/* An emulator with an address space and nothing else; what its callbacks were told. */
struct world {
	struct lp_emu emu;
	struct lp_range unmapped, mapped;
	unsigned nr_unmapped, nr_mapped;
};

static void note_unmapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	struct world *w = arg;

	w->unmapped = range;
	w->nr_unmapped++;
}

static void note_mapped(struct lp_emu *emu, struct lp_range range, void *arg)
{
	struct world *w = arg;

	w->mapped = range;
	w->nr_mapped++;
}

static int make_world(void **state)
{
	static struct world w;

	w = (struct world){
		.emu = {.events = {{.unmapped = note_unmapped, .mapped = note_mapped, .arg = &w}}, .nr_events = 1}};
	w.emu.space = lp_mem_new(NULL);
	w.emu.blocks = lp_blocks_new(&w.emu);
	*state = &w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;
	struct lp_guest_area area;

	while (lp_mem_next(&w->emu, 0, &area))
		lp_mem_unmap(&w->emu, area.range.start, area.range.end - area.range.start);
	lp_blocks_free(w->emu.blocks);
	lp_mem_free(w->emu.space);
	return 0;
}

static uint64_t map(struct world *w, uint64_t pages, int prot)
{
	uint64_t at = lp_mem_map(&w->emu, 0, pages * PAGE, prot, ANON, -1, 0);

	assert_true(at < (uint64_t)-4096);
	return at;
}

static bool is_mapped_on_host(uint64_t at)
{
	unsigned char in_core;

	return mincore((void *)at, PAGE, &in_core) == 0;
}

/* "rwxb" of the area at addr; "hole" when there is none. */
static const char *prot_at(struct world *w, uint64_t addr)
{
	static char text[8];
	struct lp_guest_area a;

	if (!lp_mem_area(&w->emu, addr, &a))
		return "hole";
	snprintf(text, sizeof text, "%c%c%c%c", a.prot & PROT_READ ? 'r' : '-', a.prot & PROT_WRITE ? 'w' : '-',
		 a.prot & PROT_EXEC ? 'x' : '-', a.prot & LP_PROT_BTI ? 'b' : '-');
	return text;
}

static int host_prot_at(uint64_t addr)
{
	char line[256];
	unsigned long start, end;
	int prot = -1;
	FILE *f = fopen("/proc/self/maps", "r");

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		char *rest;
		start = strtoul(line, &rest, 16);
		end = strtoul(rest + 1, &rest, 16);
		if (addr >= start && addr < end)
			prot = (rest[1] == 'r' ? PROT_READ : 0) | (rest[2] == 'w' ? PROT_WRITE : 0) |
			       (rest[3] == 'x' ? PROT_EXEC : 0);
	}
	fclose(f);
	return prot;
}

static int temporary(uint64_t pages)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	return fd;
}

/* ---- copies ---- */

static void a_copy_from_where_nothing_is_says_so(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 2, RW), value = 7;
	uint8_t bytes[700];

	guarded_begin();
	lp_mem_unmap(&w->emu, at + PAGE, PAGE);
	for (size_t len = 1; len < sizeof bytes; len++) {
		assert_int_equal(lp_mem_read(at + PAGE - len, bytes, len), 0);
		assert_int_equal(lp_mem_read(at + PAGE - len + 1, bytes, len), -EFAULT);
		assert_int_equal(lp_mem_write(at + PAGE - len + 1, bytes, len), -EFAULT);
	}
	assert_int_equal(lp_mem_get(UINT64_C(0x4141414141414141), &value), -EFAULT);
	assert_int_equal(lp_mem_get(UINT64_C(0xffff800000000000), &value), -EFAULT);
	assert_int_equal(lp_mem_read(0, &value, 0), 0);
	guarded_end();
}

static void copies_of_every_length_are_whole(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 1, RW);
	uint8_t from[700], to[700];

	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (uint8_t)(i * 7 + 1);
	for (size_t len = 0; len < sizeof from; len++) {
		memset((void *)at, 0, PAGE);
		memset(to, 0, sizeof to);
		assert_int_equal(lp_mem_write(at + 3, from, len), 0);
		assert_int_equal(lp_mem_read(at + 3, to, len), 0);
		assert_memory_equal(to, from, len);
		assert_int_equal(((uint8_t *)at)[3 + len], 0);
	}
}

static void a_tagged_address_is_the_address(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 1, RW), value = 0;

	assert_int_equal(lp_mem_put(at | UINT64_C(0xab) << 56, &(uint64_t){42}), 0);
	assert_int_equal(lp_mem_get(at, &value), 0);
	assert_int_equal(value, 42);
	assert_int_equal(lp_mem_protect(&w->emu, at | UINT64_C(0xff) << 56, PAGE, PROT_READ), 0);
	assert_string_equal(prot_at(w, at), "r---");
}

static void a_string_ends_before_the_page_that_is_not_there(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 2, RW);
	char out[64];

	guarded_begin();
	lp_mem_unmap(&w->emu, at + PAGE, PAGE);
	memcpy((void *)(at + PAGE - 6), "hello", 6);
	assert_int_equal(lp_mem_string(at + PAGE - 6, out, sizeof out), 5);
	assert_string_equal(out, "hello");
	assert_int_equal(lp_mem_string(at + PAGE - 6, out, 5), -ENAMETOOLONG);
	assert_int_equal(lp_mem_string(at + PAGE - 6, out, 6), 5);
	*(char *)(at + PAGE - 1) = '!';
	assert_int_equal(lp_mem_string(at + PAGE - 6, out, sizeof out), -EFAULT);
	guarded_end();
}

/* ---- mmap ---- */

static void nothing_of_the_guest_is_executable_on_the_host(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 1, RX), until;
	bool bti = true;

	assert_int_equal(host_prot_at(at), PROT_READ);
	assert_int_equal(lp_mem_fetch(&w->emu, at + 8, &bti, &until), 0);
	assert_false(bti);
	assert_int_equal(until, at + PAGE);
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, PROT_EXEC | LP_PROT_BTI), 0);
	assert_int_equal(host_prot_at(at), PROT_READ);
	assert_int_equal(lp_mem_fetch(&w->emu, at, &bti, &until), 0);
	assert_true(bti);
	lp_mem_protect(&w->emu, at, PAGE, RW);
	assert_int_equal(lp_mem_fetch(&w->emu, at, &bti, &until), SEGV_ACCERR);
	lp_mem_unmap(&w->emu, at, PAGE);
	assert_int_equal(lp_mem_fetch(&w->emu, at, &bti, &until), SEGV_MAPERR);
}

static void memory_of_the_runner_cannot_be_taken(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 4, RW);
	uint8_t *ours = mmap((void *)(at + PAGE), PAGE, RW, ANON | MAP_FIXED, -1, 0);
	struct lp_guest_area area;

	/* Page 1 of the four is the runner's now. */
	lp_mem_disown(&w->emu, (struct lp_range){at + PAGE, at + 2 * PAGE});
	lp_mem_unmap(&w->emu, at + 2 * PAGE, PAGE);
	memset(ours, 9, PAGE);
	assert_int_equal(lp_mem_map(&w->emu, at, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM);
	assert_int_equal(ours[17], 9);
	assert_string_equal(prot_at(w, at), "rw--");
	assert_false(is_mapped_on_host(at + 2 * PAGE)); /* the hole is a hole again */
	assert_int_equal(lp_mem_map(&w->emu, at, 4 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), -EEXIST);
	assert_int_equal(lp_mem_unmap(&w->emu, at, 4 * PAGE), 0);
	assert_int_equal(ours[17], 9);
	assert_false(lp_mem_area(&w->emu, at, &area));
	assert_int_equal(lp_mem_protect(&w->emu, at + PAGE, PAGE, PROT_NONE), -ENOMEM);
	assert_int_equal(lp_mem_remap(&w->emu, at + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_false(lp_mem_is_guest(&w->emu, at + PAGE, 1));
	munmap(ours, PAGE);
}

static void a_fixed_mapping_replaces_what_is_the_guests(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 4, RW);

	w->nr_unmapped = 0;
	assert_int_equal(lp_mem_map(&w->emu, at + PAGE, 2 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0), at + PAGE);
	assert_int_equal(w->nr_unmapped, 1);
	assert_int_equal(w->unmapped.start, at + PAGE);
	assert_string_equal(prot_at(w, at), "rw--");
	assert_string_equal(prot_at(w, at + PAGE), "r---");
	assert_string_equal(prot_at(w, at + 3 * PAGE), "rw--");
}

static void bad_arguments_of_mmap_are_the_kernels_errors(void **state)
{
	struct world *w = *state;

	assert_int_equal(lp_mem_map(&w->emu, 0, 0, RW, ANON, -1, 0), -EINVAL);
	assert_int_equal(lp_mem_map(&w->emu, 0, PAGE, RW, ANON, -1, 1), -EINVAL);
	assert_int_equal(lp_mem_map(&w->emu, 0x10001, PAGE, RW, ANON | MAP_FIXED, -1, 0), -EINVAL);
	assert_int_equal(lp_mem_map(&w->emu, UINT64_C(1) << 47, PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM);
	assert_int_equal(lp_mem_map(&w->emu, PAGE, UINT64_MAX, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM);
	assert_int_equal(lp_mem_map(&w->emu, 0, UINT64_MAX - 100, RW, ANON, -1, 0), -ENOMEM);
	assert_int_equal(lp_mem_map(&w->emu, 0, PAGE, RW, MAP_PRIVATE, -1, 0), -EBADF);
	assert_int_equal(lp_mem_map(&w->emu, 0, PAGE, RW, MAP_ANONYMOUS, -1, 0), -EINVAL);
}

static void a_file_is_known_by_name_and_offset(void **state)
{
	struct world *w = *state;
	int fd = temporary(4);
	uint64_t at = lp_mem_map(&w->emu, 0, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE);
	struct lp_guest_area area;

	assert_int_equal(w->nr_mapped, 1);
	assert_int_equal(w->mapped.start, at);
	assert_true(lp_mem_area(&w->emu, at + PAGE, &area));
	assert_non_null(strstr(area.name, "memfd:test"));
	assert_int_equal(area.offset, PAGE);
	lp_mem_unmap(&w->emu, at, PAGE);
	assert_true(lp_mem_area(&w->emu, at + PAGE, &area));
	assert_int_equal(area.offset, 2 * PAGE);
	close(fd);
}

static void behind_the_end_of_a_file_a_copy_fails(void **state)
{
	struct world *w = *state;
	int fd = temporary(1);
	uint64_t at = lp_mem_map(&w->emu, 0, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0), value;

	guarded_begin();
	assert_int_equal(lp_mem_get(at, &value), 0);
	assert_int_equal(lp_mem_get(at + PAGE, &value), -EFAULT);
	close(fd);
	guarded_end();
}

/* ---- munmap, mprotect ---- */

static void unmapping_the_middle_leaves_both_ends(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 5, RW);

	assert_int_equal(lp_mem_unmap(&w->emu, at + PAGE, 3 * PAGE), 0);
	assert_string_equal(prot_at(w, at), "rw--");
	assert_string_equal(prot_at(w, at + PAGE), "hole");
	assert_string_equal(prot_at(w, at + 3 * PAGE), "hole");
	assert_string_equal(prot_at(w, at + 4 * PAGE), "rw--");
	assert_int_equal(lp_mem_unmap(&w->emu, at, 5 * PAGE), 0);
	assert_int_equal(lp_mem_unmap(&w->emu, at, PAGE), 0); /* nothing there: nothing to complain about */
	assert_int_equal(lp_mem_unmap(&w->emu, at + 1, PAGE), -EINVAL);
	assert_int_equal(lp_mem_unmap(&w->emu, at, 0), -EINVAL);
	assert_int_equal(lp_mem_unmap(&w->emu, at, UINT64_MAX - 10), -EINVAL);
}

static void mprotect_goes_as_far_as_the_first_hole(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 4, RW);

	lp_mem_unmap(&w->emu, at + 2 * PAGE, PAGE);
	assert_int_equal(lp_mem_protect(&w->emu, at, 4 * PAGE, PROT_READ), -ENOMEM);
	assert_string_equal(prot_at(w, at + PAGE), "r---");
	assert_string_equal(prot_at(w, at + 3 * PAGE), "rw--");
	assert_int_equal(lp_mem_protect(&w->emu, at + 1, PAGE, PROT_READ), -EINVAL);
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, 0x40), -EINVAL);
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, PROT_READ | LP_PROT_MTE), -EINVAL);
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, PROT_READ | PROT_GROWSDOWN), -EINVAL);
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, PROT_GROWSUP | PROT_GROWSDOWN), -EINVAL);
	assert_int_equal(lp_mem_protect(&w->emu, at, 0, PROT_READ), 0);
}

static void neighbours_that_are_the_same_become_one_area(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 3, RW);
	struct lp_guest_area area;

	lp_mem_protect(&w->emu, at + PAGE, PAGE, PROT_READ);
	assert_true(lp_mem_area(&w->emu, at, &area));
	assert_int_equal(area.range.end, at + PAGE);
	lp_mem_protect(&w->emu, at + PAGE, PAGE, RW);
	assert_true(lp_mem_area(&w->emu, at, &area));
	assert_true(area.range.end >= at + 3 * PAGE);
}

/* ---- mremap ---- */

static void mremap_moves_grows_and_shrinks(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 2, RW), moved;

	*(uint64_t *)at = 77;
	moved = lp_mem_remap(&w->emu, at, 2 * PAGE, 600 * PAGE, MREMAP_MAYMOVE, 0);
	assert_true(moved < (uint64_t)-4096);
	assert_int_equal(*(uint64_t *)moved, 77);
	assert_true(lp_mem_is_guest(&w->emu, moved, 600 * PAGE));
	assert_int_equal(lp_mem_remap(&w->emu, moved, 600 * PAGE, PAGE, 0, 0), moved);
	assert_string_equal(prot_at(w, moved + PAGE), "hole");
	assert_false(is_mapped_on_host(moved + 2 * PAGE));
	assert_int_equal(lp_mem_remap(&w->emu, moved, PAGE, 2 * PAGE, 0, 0), moved);
	assert_string_equal(prot_at(w, moved + PAGE), "rw--");
}

static void mremap_to_a_fixed_place_takes_that_place(void **state)
{
	struct world *w = *state;
	uint64_t from = map(w, 2, RX), to = map(w, 4, RW);

	assert_int_equal(lp_mem_remap(&w->emu, from, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE),
			 to + PAGE);
	assert_string_equal(prot_at(w, from), "hole");
	assert_string_equal(prot_at(w, to), "rw--");
	assert_string_equal(prot_at(w, to + PAGE), "r-x-");
	assert_string_equal(prot_at(w, to + 3 * PAGE), "rw--");
	assert_int_equal(lp_mem_remap(&w->emu, to, PAGE, PAGE, MREMAP_FIXED, from), -EINVAL);
	assert_int_equal(lp_mem_remap(&w->emu, to, PAGE, 2 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, to), -EINVAL);
	assert_int_equal(lp_mem_remap(&w->emu, to, PAGE, 0, MREMAP_MAYMOVE, 0), -EINVAL);
}

static void mremap_to_the_runners_memory_is_refused(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 1, RW);
	char *ours = mmap(NULL, PAGE, RW, ANON, -1, 0);

	ours[5] = 'x';
	assert_int_equal(lp_mem_remap(&w->emu, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (uint64_t)ours), -ENOMEM);
	assert_int_equal(ours[5], 'x');
	assert_string_equal(prot_at(w, at), "rw--");
	munmap(ours, PAGE);
}

static void mremap_of_nothing_doubles_a_shared_mapping(void **state)
{
	struct world *w = *state;
	uint64_t at = lp_mem_map(&w->emu, 0, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), twin;
	struct lp_range alias;

	twin = lp_mem_remap(&w->emu, at, 0, 2 * PAGE, MREMAP_MAYMOVE, 0);
	assert_true(twin < (uint64_t)-4096);
	*(char *)(twin + PAGE) = 'y';
	assert_int_equal(*(char *)(at + PAGE), 'y');
	assert_string_equal(prot_at(w, at), "rw--");
	assert_true(lp_mem_is_guest(&w->emu, twin, 2 * PAGE));
	assert_int_equal(lp_mem_aliases(&w->emu, (struct lp_range){at + PAGE + 64, at + PAGE + 128}, &alias, 1), 1);
	assert_int_equal(alias.start, twin + PAGE + 64);
	assert_int_equal(alias.end, twin + PAGE + 128);
}

/* ---- what is executed ---- */

static void code_seen_twice_has_an_alias(void **state)
{
	struct world *w = *state;
	int fd = temporary(3);
	uint64_t data = lp_mem_map(&w->emu, 0, 3 * PAGE, RW, MAP_SHARED, fd, 0);
	uint64_t code = lp_mem_map(&w->emu, 0, PAGE, RX, MAP_SHARED, fd, 2 * PAGE);
	uint64_t own = lp_mem_map(&w->emu, 0, PAGE, RX, MAP_PRIVATE, fd, 0);
	struct lp_range alias[2];

	assert_int_equal(lp_mem_aliases(&w->emu, (struct lp_range){data + 2 * PAGE, data + 2 * PAGE + 64}, alias, 2),
			 1);
	assert_int_equal(alias[0].start, code);
	/* A private mapping shows what others write; what is written to it nobody else sees. */
	assert_int_equal(lp_mem_aliases(&w->emu, (struct lp_range){data, data + 64}, alias, 2), 1);
	assert_int_equal(alias[0].start, own);
	assert_int_equal(lp_mem_aliases(&w->emu, (struct lp_range){own, own + 64}, alias, 2), 0);
	close(fd);
}

/* A block of one `svc` at pc, translated. */
static const struct lp_uop *translate(struct world *w, uint64_t pc)
{
	static struct lp_cpu cpu;

	cpu = (struct lp_cpu){.pc = pc, .emu = &w->emu};
	return lp_block_enter(w->emu.blocks, &cpu);
}

static uint64_t nr_invalidated(struct world *w)
{
	struct lp_block_stats stats;

	lp_blocks_stats(w->emu.blocks, &stats);
	return stats.invalidated;
}

static uint64_t map_code(struct world *w)
{
	uint64_t at = map(w, 1, RW);

	*(uint32_t *)at = 0xd4000001; /* svc #0 */
	lp_mem_protect(&w->emu, at, PAGE, RX);
	assert_non_null(translate(w, at));
	return at;
}

static void translations_go_with_the_code(void **state)
{
	struct world *w = *state;
	uint64_t at = map_code(w);

	lp_mem_protect(&w->emu, at, PAGE, RX | LP_PROT_BTI);
	assert_int_equal(nr_invalidated(w), 1);
	assert_non_null(translate(w, at));
	lp_mem_protect(&w->emu, at, PAGE, RW);
	assert_int_equal(nr_invalidated(w), 2);
	assert_null(translate(w, at));

	at = map_code(w);
	lp_mem_unmap(&w->emu, at, PAGE);
	assert_int_equal(nr_invalidated(w), 3);

	at = map_code(w);
	lp_mem_map(&w->emu, at, PAGE, RX, ANON | MAP_FIXED, -1, 0);
	assert_int_equal(nr_invalidated(w), 4);

	at = map_code(w);
	lp_mem_remap(&w->emu, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	assert_int_equal(nr_invalidated(w), 5);
}

static void a_line_is_forgotten_in_all_its_aliases(void **state)
{
	struct world *w = *state;
	int fd = temporary(1);
	uint64_t data = lp_mem_map(&w->emu, 0, PAGE, RW, MAP_SHARED, fd, 0);
	uint64_t code = lp_mem_map(&w->emu, 0, PAGE, RX, MAP_SHARED, fd, 0);

	*(uint32_t *)(data + 64) = 0xd4000001;
	assert_non_null(translate(w, code + 64));
	lp_block_icache_line(w->emu.blocks, data);
	assert_int_equal(nr_invalidated(w), 0);
	lp_block_icache_line(w->emu.blocks, data + 100);
	assert_int_equal(nr_invalidated(w), 1);
	close(fd);
}

static void poke_each_kind(struct world *w)
{
	uint64_t at = map(w, 3, PROT_READ);
	uint8_t bytes[2 * 4096];

	guarded_begin();
	memset(bytes, 5, sizeof bytes);
	lp_mem_protect(&w->emu, at + PAGE, PAGE, PROT_NONE);
	assert_int_equal(lp_mem_write(at, bytes, 4), -EFAULT);
	assert_int_equal(lp_mem_poke(&w->emu, at + 100, bytes, sizeof bytes), 0);
	assert_int_equal(host_prot_at(at), PROT_READ);
	assert_int_equal(host_prot_at(at + PAGE), PROT_NONE);
	lp_mem_protect(&w->emu, at + PAGE, PAGE, PROT_READ);
	assert_memory_equal((void *)(at + 100), bytes, sizeof bytes);
	assert_int_equal(lp_mem_poke(&w->emu, at + 3 * PAGE - 1, bytes, 2), -EFAULT);
	assert_int_equal(lp_mem_poke(&w->emu, (uint64_t)bytes, bytes, 2), -EFAULT);
	guarded_end();
	lp_mem_unmap(&w->emu, at, 3 * PAGE);
}

static void poke_writes_what_the_guest_may_not(void **state)
{
	poke_each_kind(*state);
}

/* /proc/self/mem refuses what is shared and was mapped to be read: there the other way is gone. */
static void pokes_in_a_row_write_the_same(void **state)
{
	struct world *w = *state;
	int fd = temporary(1);
	uint32_t word = 0xd503201f, found = 0;
	uint64_t shared;
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

	close(before);
	lp_mem_pokes_begin(&w->emu);
	poke_each_kind(w);
	shared = lp_mem_map(&w->emu, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_int_equal(lp_mem_poke(&w->emu, shared + 8, &word, sizeof word), 0);
	assert_int_equal(host_prot_at(shared), PROT_READ);
	assert_int_equal(pread(fd, &found, sizeof found, 8), sizeof found);
	assert_int_equal(found, word);
	lp_mem_unmap(&w->emu, shared, PAGE);
	lp_mem_pokes_end(&w->emu);
	poke_each_kind(w);
	after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(after, before);
	close(after);
	close(fd);
}

/* ---- brk, shm, stacks ---- */

static void the_heap_grows_until_something_is_there(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 8, RW), start = at + 2 * PAGE;
	struct lp_guest_area area;

	lp_mem_unmap(&w->emu, start, 4 * PAGE);
	lp_mem_set_brk(&w->emu, start);
	assert_int_equal(lp_mem_brk(&w->emu, 0), start);
	assert_int_equal(lp_mem_brk(&w->emu, start + 100), start + 100);
	assert_true(lp_mem_area(&w->emu, start, &area));
	assert_string_equal(area.name, "[heap]");
	assert_int_equal(lp_mem_brk(&w->emu, start + 4 * PAGE), start + 4 * PAGE);
	assert_int_equal(lp_mem_brk(&w->emu, start + 4 * PAGE + 1), start + 4 * PAGE);
	assert_int_equal(lp_mem_brk(&w->emu, start + PAGE), start + PAGE);
	assert_string_equal(prot_at(w, start + PAGE), "hole");
	assert_int_equal(lp_mem_brk(&w->emu, start - 1), start + PAGE);
}

static void shared_segments_come_and_go(void **state)
{
	struct world *w = *state;
	int id = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
	uint64_t at, again;
	struct lp_guest_area area;

	assert_true(id >= 0);
	at = lp_mem_shmat(&w->emu, id, 0, 0);
	assert_true(at < (uint64_t)-4096);
	again = lp_mem_shmat(&w->emu, id, 0, SHM_RDONLY);
	assert_true(again < (uint64_t)-4096);
	assert_true(lp_mem_area(&w->emu, at, &area));
	assert_non_null(strstr(area.name, "/SYSV"));
	lp_mem_unmap(&w->emu, at + PAGE, PAGE);
	assert_int_equal(lp_mem_shmdt(&w->emu, at + PAGE), -EINVAL);
	assert_int_equal(lp_mem_shmdt(&w->emu, at), 0);
	assert_string_equal(prot_at(w, at), "hole");
	assert_string_equal(prot_at(w, at + 2 * PAGE), "hole");
	assert_string_equal(prot_at(w, again), "r---");
	assert_int_equal(lp_mem_shmat(&w->emu, id, again + 1, 0), -EINVAL);
	shmctl(id, IPC_RMID, NULL);
	assert_true(lp_mem_shmat(&w->emu, id + 12345, 0, 0) > (uint64_t)-4096);
}

static void a_stack_that_grows_is_followed(void **state)
{
	struct world *w = *state;
	uint64_t room = map(w, 1024, PROT_NONE), at = room + 1000 * PAGE;

	lp_mem_unmap(&w->emu, room, 1024 * PAGE);
	assert_int_equal(lp_mem_map(&w->emu, at, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0), at);
	*(volatile char *)(at - PAGE) = 1; /* the kernel makes the page */
	assert_true(lp_mem_is_guest(&w->emu, at - PAGE, 2 * PAGE));
	assert_int_equal(lp_mem_protect(&w->emu, at, PAGE, PROT_READ | PROT_GROWSDOWN), 0);
	assert_string_equal(prot_at(w, at - PAGE), "r---");
}

static void names_are_given_to_parts(void **state)
{
	struct world *w = *state;
	uint64_t at = map(w, 3, RW);
	struct lp_guest_area area;

	lp_mem_name(&w->emu, (struct lp_range){at + PAGE, at + 2 * PAGE}, "[stack]");
	assert_true(lp_mem_area(&w->emu, at + PAGE, &area));
	assert_string_equal(area.name, "[stack]");
	assert_int_equal(area.range.end - area.range.start, PAGE);
	assert_true(lp_mem_next(&w->emu, at + 2 * PAGE, &area));
	assert_string_equal(area.name, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_copy_from_where_nothing_is_says_so),
		TEST(copies_of_every_length_are_whole),
		TEST(a_tagged_address_is_the_address),
		TEST(a_string_ends_before_the_page_that_is_not_there),
		TEST(nothing_of_the_guest_is_executable_on_the_host),
		TEST(memory_of_the_runner_cannot_be_taken),
		TEST(a_fixed_mapping_replaces_what_is_the_guests),
		TEST(bad_arguments_of_mmap_are_the_kernels_errors),
		TEST(a_file_is_known_by_name_and_offset),
		TEST(behind_the_end_of_a_file_a_copy_fails),
		TEST(unmapping_the_middle_leaves_both_ends),
		TEST(mprotect_goes_as_far_as_the_first_hole),
		TEST(neighbours_that_are_the_same_become_one_area),
		TEST(mremap_moves_grows_and_shrinks),
		TEST(mremap_to_a_fixed_place_takes_that_place),
		TEST(mremap_to_the_runners_memory_is_refused),
		TEST(mremap_of_nothing_doubles_a_shared_mapping),
		TEST(code_seen_twice_has_an_alias),
		TEST(translations_go_with_the_code),
		TEST(a_line_is_forgotten_in_all_its_aliases),
		TEST(poke_writes_what_the_guest_may_not),
		TEST(pokes_in_a_row_write_the_same),
		TEST(the_heap_grows_until_something_is_there),
		TEST(shared_segments_come_and_go),
		TEST(a_stack_that_grows_is_followed),
		TEST(names_are_given_to_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
