#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "victims.h"

static int parse(struct lp_maps *m, const char *text)
{
	return lp_maps_parse(m, text, strlen(text), &last_error);
}

static void every_field_of_a_line_is_read(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m,
			"7f0a1c000000-7f0a1c021000 r-xp 0000a000 fe:01 123456                     /usr/lib/a b.so\n"));
	assert_int_equal(m.nr, 1);
	const struct lp_map *x = &m.items[0];
	assert_int_equal(x->range.start, 0x7f0a1c000000);
	assert_int_equal(x->range.end, 0x7f0a1c021000);
	assert_int_equal(x->prot, LP_MAP_READ | LP_MAP_EXEC);
	assert_true(x->is_private);
	assert_int_equal(x->offset, 0xa000);
	assert_int_equal(x->dev_major, 0xfe);
	assert_int_equal(x->dev_minor, 1);
	assert_int_equal(x->inode, 123456);
	assert_string_equal(x->path, "/usr/lib/a b.so");
	assert_false(x->deleted);
	lp_maps_free(&m);
}

static void names_are_shown_as_they_are(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m,
			"1000-2000 rw-p 00000000 00:00 0 \n"
			"2000-3000 rw-s 00000000 00:01 9                          /memfd:livepatch-ledger (deleted)\n"
			"3000-4000 ---p 00000000 00:00 0                          [anon: my name ]\n"
			"4000-5000 r--p 00000000 00:00 7                          /a\\012b\\134c\n"
			"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n"));
	assert_int_equal(m.nr, 5);
	assert_string_equal(m.items[0].path, "");
	assert_string_equal(m.items[1].path, "/memfd:livepatch-ledger");
	assert_true(m.items[1].deleted);
	assert_false(m.items[1].is_private);
	assert_string_equal(m.items[2].path, "[anon: my name ]");
	assert_string_equal(m.items[3].path, "/a\nb\\134c"); /* the kernel escapes newlines only */
	assert_int_equal(m.items[4].prot, LP_MAP_EXEC);
	lp_maps_free(&m);
}

static void malformed_text_is_refused(void **state)
{
	static const char *const bad[] = {
		"1000-2000 rw-p 00000000 00:00 0",			  /* no newline: cut off */
		"2000-1000 rw-p 00000000 00:00 0 \n",			  /* backwards */
		"1000-1000 rw-p 00000000 00:00 0 \n",			  /* empty */
		"1001-2000 rw-p 00000000 00:00 0 \n",			  /* not a page */
		"2000-3000 rw-p 0 00:00 0 \n1000-2000 rw-p 0 00:00 0 \n", /* out of order */
		"1000-3000 rw-p 0 00:00 0 \n2000-4000 rw-p 0 00:00 0 \n", /* overlapping */
		"1000-2000 rwxq 00000000 00:00 0 \n",
		"1000-2000 xw-p 00000000 00:00 0 \n",
		"1000-2000 rw-p 00000000 00:00\n",
		"10000000000000000-20000000000000000 rw-p 0 00:00 0 \n", /* more than 64 bits */
		"1000-2000 rw-p 00000000 100000000:00 0 \n",		 /* more than 32 bits */
		"\n",
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		struct lp_maps m;
		assert_int_equal(parse(&m, bad[i]), -EBADMSG);
		assert_null(m.items);
	}
	struct lp_maps m;
	assert_int_equal(lp_maps_parse(&m, "1000-2000 rw-p 0 00:00 0 /a\0b\n", 29, NULL), -EBADMSG);
}

static void the_mapping_around_an_address_is_found(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m, "1000-2000 rw-p 0 00:00 0 \n3000-5000 rw-p 0 00:00 0 \n"));
	assert_null(lp_maps_find(&m, 0xfff));
	assert_ptr_equal(lp_maps_find(&m, 0x1000), &m.items[0]);
	assert_ptr_equal(lp_maps_find(&m, 0x1fff), &m.items[0]);
	assert_null(lp_maps_find(&m, 0x2000));
	assert_ptr_equal(lp_maps_find(&m, 0x4fff), &m.items[1]);
	assert_null(lp_maps_find(&m, 0x5000));
	lp_maps_free(&m);
}

#define TEXT                       \
	{                          \
		0x400000, 0x500000 \
	}

static void a_hole_is_near_and_keeps_a_page_from_its_neighbours(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m, "400000-500000 r-xp 0 00:00 5 /p\n600000-700000 rw-p 0 00:00 5 /p\n"));
	/* Just below: a page, a guard page, the text. */
	assert_int_equal(lp_maps_hole(&m, (struct lp_range)TEXT, 1 << 30, 0x1000, NULL, 0), 0x3fe000);
	/* What is taken counts as mapped. */
	struct lp_range taken = {0x3fe000, 0x3ff000};
	assert_int_equal(lp_maps_hole(&m, (struct lp_range)TEXT, 1 << 30, 0x1000, &taken, 1), 0x3fc000);
	/* Too large for the space below: between text and data. */
	assert_int_equal(lp_maps_hole(&m, (struct lp_range){0x400000, 0x500000}, 1 << 30, 0x3f0000, NULL, 0), 0x701000);
	lp_maps_free(&m);
}

static void all_of_a_hole_is_within_reach_of_all_of_the_range(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m, "40000000-48000000 r-xp 0 00:00 5 /p\n"));
	struct lp_range text = {0x40000000, 0x48000000};
	uint64_t reach = 0x8100000; /* a little more than the text is long */
	lp_addr at = lp_maps_hole(&m, text, reach, 0x10000, NULL, 0);
	assert_int_not_equal(at, 0);
	assert_true(text.end - at <= reach && at + 0x10000 <= text.start - LP_PAGE);
	/* From below, the end of the text is out of reach, from above its start. */
	assert_int_equal(lp_maps_hole(&m, text, 0x8000000, 0x1000, NULL, 0), 0);
	assert_int_equal(lp_maps_hole(&m, text, 0x800, 0x1000, NULL, 0), 0);
	lp_maps_free(&m);
}

static void a_hole_leaves_the_stack_and_the_heap_room_to_grow(void **state)
{
	struct lp_maps m;
	assert_ok(parse(&m, "400000-500000 r-xp 0 00:00 5 /p\n"
			    "600000-700000 rw-p 0 00:00 0 [heap]\n"
			    "7ffc00000000-7ffc00021000 rw-p 0 00:00 0 [stack]\n"));
	lp_addr at = lp_maps_hole(&m, (struct lp_range){0x7ffc00000000, 0x7ffc00021000}, 0, 0x1000, NULL, 0);
	assert_true(at + 0x1000 + (1 << 20) <= 0x7ffc00021000 - (8 << 20) || at > 0x7ffc00021000);
	at = lp_maps_hole(&m, (struct lp_range){0x600000, 0x700000}, 0, 0x400000, NULL, 0);
	assert_true(at >= 0x700000 + (1 << 30));
	lp_maps_free(&m);
}

static void a_hole_in_a_real_process_can_be_mapped(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"churn", NULL});
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 50; i++) {
		struct lp_maps m;
		assert_ok(lp_maps_read(p, &m, &last_error));
		lp_addr at = lp_maps_hole(&m, m.items[0].range, (UINT64_C(1) << 31) - (1 << 20), 0x4000, NULL, 0);
		lp_maps_free(&m);
		assert_int_not_equal(at, 0);
		struct lp_call map = {
			lp_proc_sysno(p)->mmap,
			{at, 0x4000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0},
			0};
		assert_ok(lp_inject(p, &map, 1, &last_error));
		assert_int_equal(map.result, at);
	}
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

static void memory_is_read_by_ranges_and_strings_end_at_their_page(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p = open_locked(v->pid);
	struct lp_call map = {lp_proc_sysno(p)->mmap,
			      {0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0},
			      0};
	assert_ok(lp_inject(p, &map, 1, &last_error));
	lp_addr page = (lp_addr)map.result;
	struct lp_call cut = {lp_proc_sysno(p)->munmap, {page + 4096, 4096}, 0};
	assert_ok(lp_inject(p, &cut, 1, &last_error));
	char text[64], a[4], b[4];
	assert_ok(lp_mem_write(p, page + 4096 - 6, "hello", 6, &last_error));
	assert_ok(lp_mem_read_string(p, page + 4096 - 6, text, sizeof text, &last_error));
	assert_string_equal(text, "hello");
	struct lp_range ranges[] = {{page + 4090, page + 4094}, {page + 4092, page + 4096}};
	assert_ok(lp_mem_read_many(p, ranges, (void *const[]){a, b}, 2, &last_error));
	assert_memory_equal(a, "hell", 4);
	assert_memory_equal(b, "llo", 4);
	assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
	memset(a, 0, sizeof a);
	assert_ok(lp_mem_read_many(p, ranges, (void *const[]){a, b}, 2, &last_error));
	assert_memory_equal(a, "hell", 4);
	ranges[1].end += 1;
	char wide[8];
	assert_refused(lp_mem_read_many(p, ranges, (void *const[]){a, wide}, 2, &last_error), LP_EUNMAPPED);
	lp_resume_all(p, NULL);
	assert_refused(lp_mem_read(p, page + 4090, text, 10, &last_error), LP_EUNMAPPED);
	assert_refused(lp_mem_write(p, page + 4096, "x", 1, &last_error), LP_EUNMAPPED);
	assert_refused(lp_mem_read(p, UINT64_C(0xffffffffff600000), text, 10, &last_error), LP_EUNMAPPED);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_a_line_is_read),
		cmocka_unit_test(names_are_shown_as_they_are),
		cmocka_unit_test(malformed_text_is_refused),
		cmocka_unit_test(the_mapping_around_an_address_is_found),
		cmocka_unit_test(a_hole_is_near_and_keeps_a_page_from_its_neighbours),
		cmocka_unit_test(all_of_a_hole_is_within_reach_of_all_of_the_range),
		cmocka_unit_test(a_hole_leaves_the_stack_and_the_heap_room_to_grow),
		cmocka_unit_test(a_hole_in_a_real_process_can_be_mapped),
		cmocka_unit_test(memory_is_read_by_ranges_and_strings_end_at_their_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
