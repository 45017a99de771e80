/*
 * mem get and mem set, in this process.
 */
#include "run.h"

#include <link.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "elf/elf.h"

struct node {
	uint64_t value;
	struct node *next;
	unsigned low : 3, middle : 5, high : 24;
};

static struct node last = {.value = 0x1122334455667788, .low = 5, .middle = 9, .high = 77};
static struct node first = {.next = &last};
static struct node *head = &first;

#define AT(x) ((unsigned long)(uintptr_t)(x))

/* What a linker would call `at`: the file's build-id and the address in it. */
struct spot {
	uintptr_t at;
	char text[256];
};

static int find_spot(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct spot *s = arg;
	struct lp_build_id id = {0};
	char hex[2 * LP_BUILD_ID_MAX + 1];
	int inside = 0;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_NOTE && !id.len)
			lp_elf_build_id_from_notes((const uint8_t *)start, ph->p_memsz, &id);
		inside |= ph->p_type == PT_LOAD && s->at >= start && s->at - start < ph->p_memsz;
	}
	if (!inside)
		return 0;
	lp_build_id_hex(&id, hex);
	snprintf(s->text, sizeof s->text, "elf:%s+0x%lx", hex, s->at - (unsigned long)info->dlpi_addr);
	return id.len != 0;
}

static void a_place_is_an_address(void **state)
{
	assert_answer("8877665544332211", "mem get 0x%lx 8", AT(&last.value));
}

static void a_place_is_a_file_and_an_address_in_it(void **state)
{
	struct spot s = {.at = AT(&last)};

	if (!dl_iterate_phdr(find_spot, &s))
		skip(); /* linked without a build-id */
	assert_answer("8877", "mem get %s 2", s.text);
}

static void pointers_are_followed_and_numbers_added(void **state)
{
	assert_answer("88776655", "mem get 0x%lx>+%zu> 4", AT(&head), offsetof(struct node, next));
}

static void pieces_of_every_size_are_read(void **state)
{
	static const uint8_t bytes[24] __attribute__((aligned(8))) = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
								      13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};

	for (size_t from = 0; from < 9; from++) {
		for (size_t size = 1; from + size <= sizeof bytes; size++) {
			struct lp_buf want = {0};

			for (size_t i = 0; i < size; i++)
				lp_buf_printf(&want, "%02x", bytes[from + i]);
			assert_answer(lp_buf_cstr(&want), "mem get 0x%lx %zu", AT(bytes + from), size);
			lp_buf_free(&want);
		}
	}
}

static void bytes_are_written(void **state)
{
	uint8_t area[16] __attribute__((aligned(8))) = {0};

	for (size_t from = 0; from < 5; from++) {
		memset(area, 0xee, sizeof area);
		assert_int_equal(run("mem set 0x%lx 0102030405060708090a", AT(area + from)), 0);
		for (size_t i = 0; i < sizeof area; i++)
			assert_int_equal(area[i], i >= from && i < from + 10 ? i - from + 1 : 0xee);
	}
}

static void what_a_mask_leaves_out_stays(void **state)
{
	last.middle = 9;
	assert_int_equal(run("mem set 0x%lx 00f8ffff 00ffffff", AT(&last) + 16), 0);
	assert_int_equal(last.low, 5);
	assert_int_equal(last.middle, 9);
	assert_int_equal(last.high, 0xfffff8);
	last.high = 77;
}

static void several_writes_happen_together_or_not_at_all(void **state)
{
	uint64_t a = 1, b = 2;

	assert_true(run("mem set 0x%lx 0500000000000000; mem set 0x10 00", AT(&a)) < 0);
	assert_int_equal(a, 1);
	assert_int_equal(run("mem set 0x%lx 0500000000000000; mem set 0x%lx 06", AT(&a), AT(&b)), 0);
	assert_int_equal(a, 5);
	assert_int_equal(b, 6);
}

static void memory_that_is_not_there_is_no_crash(void **state)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(munmap(page + 4096, 4096), 0);
	assert_refused(LP_EUNMAPPED, "mem get 0x10 8");
	assert_refused(LP_EUNMAPPED, "mem get 0x%lx 8", AT(page + 4092));
	assert_refused(LP_EUNMAPPED, "mem get 0xfffffffffffffffc 8");
	assert_refused(LP_EUNMAPPED, "mem get 0x%lx> 8", AT(page)); /* null */
	assert_refused(LP_EREADONLY, "mem set 0x%lx 00", AT(page));
	munmap(page, 4096);
}

static void what_is_no_place_is_refused(void **state)
{
	static const char *const wrong[] = {"elf:",	"elf:zz+0x1", "elf:ab",	   "elf:ab+",
					    "x",	"0x",	      "-1",	   "0x1000-3",
					    "0x1000>+", "0x1000>+-1", "0x1000+0x", "0x1ffffffffffffffff",
					    "elf:ab+ 1"};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_true(run("mem get \"%s\" 1", wrong[i]) < 0);
	assert_refused(LP_EBUILDID, "mem get elf:00112233445566778899aabbccddeeff00112233+0x10 8");
	assert_refused(LP_EUSAGE, "mem get 0x%lx 0", AT(&last));
	assert_refused(LP_EUSAGE, "mem get 0x%lx 65537", AT(&last));
	assert_refused(LP_EUSAGE, "mem get 0x%lx 1x", AT(&last));
}

static void what_are_no_bytes_is_refused(void **state)
{
	static const char *const wrong[] = {"0", "0g", "000", "xx", "\"\""};
	uint64_t before = last.value;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_refused(LP_EUSAGE, "mem set 0x%lx %s", AT(&last), wrong[i]);
	assert_refused(LP_EUSAGE, "mem set 0x%lx 0000 00", AT(&last));
	assert_int_equal(last.value, before);
}

static void a_place_has_an_end(void **state)
{
	char place[600];
	size_t len = (size_t)snprintf(place, sizeof place, "0x%lx", AT(&last));

	for (int i = 0; i < 65; i++)
		len += (size_t)snprintf(place + len, sizeof place - len, "+0");
	assert_refused(LP_EUSAGE, "mem get %s 1", place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_an_address),
		cmocka_unit_test(a_place_is_a_file_and_an_address_in_it),
		cmocka_unit_test(pointers_are_followed_and_numbers_added),
		cmocka_unit_test(pieces_of_every_size_are_read),
		cmocka_unit_test(bytes_are_written),
		cmocka_unit_test(what_a_mask_leaves_out_stays),
		cmocka_unit_test(several_writes_happen_together_or_not_at_all),
		cmocka_unit_test(memory_that_is_not_there_is_no_crash),
		cmocka_unit_test(what_is_no_place_is_refused),
		cmocka_unit_test(what_are_no_bytes_is_refused),
		cmocka_unit_test(a_place_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
