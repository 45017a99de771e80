/* Its argument is the directory of the fuzz target's corpus: one sound file, and many that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/vec.h"
#include "patch/kpatch.h"
#include "patch/patch.h"

static const char *corpus;

static struct lp_kpatch *open_lie(const char *name, struct lp_err *err, int *rc)
{
	struct lp_kpatch *k = NULL;
	char *path = lp_sprintf("%s/%s", corpus, name);
	*rc = lp_kpatch_open(&k, path, err);
	lp_free(path);
	return k;
}

static struct lp_kpatch *open_sound(const char *name)
{
	struct lp_err err = {0};
	int rc;
	struct lp_kpatch *k = open_lie(name, &err, &rc);
	if (rc < 0)
		fail_msg("%s: %s", name, err.text);
	return k;
}

static void a_sound_file_says_all_that_it_says(void **state)
{
	struct lp_kpatch *k = open_sound("sound");
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_build_id_hex(&k->build_id, hex);
	assert_int_equal(k->variant, LP_KPATCH_PLUS);
	assert_string_equal(k->id, "CVE-1");
	assert_string_equal(k->object, "prog");
	assert_string_equal(hex, "0123456789abcdef0123456789abcdef01234567");
	assert_int_equal(k->nr_records, 1);
	assert_int_equal(k->nr_hooks, 1);
	assert_int_equal(k->needs.nr, 1);
	assert_string_equal(k->needs.items[0], "0");
	assert_int_equal(k->functions.nr, 1);
	assert_string_equal(k->functions.items[0].name, "f");
	assert_int_equal(k->olds.nr, 1);
	assert_int_equal(k->olds.items[0].vaddr, 0x401000);
	assert_int_equal(k->olds.items[0].bytes[3], 0x93);
	assert_int_equal(k->olds.items[0].nr_ignore, 1);
	lp_kpatch_free(k);
}

static void the_other_header_is_read_too(void **state)
{
	struct lp_kpatch *k = open_sound("libcare");
	assert_int_equal(k->variant, LP_KPATCH_LIBCARE);
	assert_int_equal(k->elf_offset, 688);
	assert_string_equal(k->id, "");
	lp_kpatch_free(k);
}

static void sections_are_told_apart(void **state)
{
	struct lp_kpatch *k = open_sound("sound");
	bool own = false, original = false;
	for (size_t i = 0; i < lp_elf_section_count(k->elf); i++) {
		const char *name = lp_elf_section_name(k->elf, lp_elf_section(k->elf, i));
		if (strcmp(name, ".kpatch.text") == 0)
			own = lp_kpatch_is_own_section(k, i) && !lp_kpatch_is_original_section(k, i);
		if (strcmp(name, ".text") == 0)
			original = lp_kpatch_is_original_section(k, i) && !lp_kpatch_is_own_section(k, i);
	}
	assert_true(own && original);
	lp_kpatch_free(k);
}

static void relocations_come_in_order(void **state)
{
	struct lp_kpatch *k = open_sound("sound");
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela r;
	static const uint64_t offsets[] = {0, 8, 24};
	size_t nr = 0;
	while (lp_kpatch_rela_next(k, &it, &r)) {
		if (r.section != k->info)
			continue;
		assert_true(nr < LP_ARRAY_SIZE(offsets));
		assert_int_equal(r.offset, offsets[nr++]);
	}
	assert_int_equal(nr, 3);
	lp_kpatch_free(k);
}

/* Every lie of the corpus, and a word of what is said about it. */
static const struct {
	const char *file, *says;
} lies[] = {
	{"empty", "not a .kpatch file"},
	{"magic-only", "unknown layout"},
	{"header-only", "unknown layout"},
	{"half", "cut short"},
	{"id-without-end", "patch id in the header has no end"},
	{"id-not-printable", "not printable"},
	{"id-differs-from-meta", "not that of the header"},
	{"build-id-without-end", "build-id in the header has no end"},
	{"build-id-not-hex", "build-id in the header is not one"},
	{"no-build-id", "which build-id"},
	{"offset-unknown", "unknown layout"},
	{"total-huge", "cut short"},
	{"total-tiny", "cut short"},
	{"not-relocatable", "not a relocatable object"},
	{"section-size-huge", ".kpatch.text lies outside"},
	{"section-writable-code", "both writable and executable"},
	{"section-tls", "thread-local"},
	{"section-align-huge", "alignment"},
	{"section-align-odd", "alignment"},
	{"original-overflows", "impossible bounds"},
	{"rel", "without addends"},
	{"rela-odd-size", "not a table of relocations"},
	{"rela-size-huge", "outside"},
	{"rela-of-nobits", "no section that has bytes"},
	{"rela-of-nothing", "no section that has bytes"},
	{"rela-of-section-0", "no section that has bytes"},
	{"rela-without-symbols", "no symbol table"},
	{"rela-offset-huge", "a relocation at offset"},
	{"rela-at-the-end", "a relocation at offset"},
	{"rela-symbol-unknown", "symbol 99"},
	{"symbol-in-no-section", "lies in no section"},
	{"symbol-in-table", "lies in no section"},
	{"symbol-outside", "behind the end"},
	{"symbol-common", "lies in no section"},
	{"no-info", "no section .kpatch.info"},
	{"info-without-replacement", "no replacement"},
	{"info-is-relocations", "type that is not loaded"},
	{"meta-not-json", ".livepatch.meta"},
	{"meta-not-object", "not an object"},
	{"meta-version-2", "version 2"},
	{"meta-needs-number", "need"},
	{"meta-functions-text", "functions"},
	{"meta-name-of-two-lines", "a name is not printable"},
	{"meta-id-long", "1 to 200"},
	{"meta-twice-the-same", "duplicate"},
	{"old-version-2", "another version"},
	{"old-count-huge", "cut short"},
	{"old-length-huge", "points outside"},
	{"old-bytes-outside", "points outside"},
	{"old-pairs-huge", "points outside"},
	{"old-ignore-outside", "outside of its range"},
	{"old-ignore-wraps", "outside of its range"},
	{"old-record-unknown", "points outside"},
	{"old-address-overflows", "points outside"},
	{"old-cut", "another version"},
	{"old-shared", "share their bytes"},
	{"old-shared-pairs", "share their bytes"},
	{"hook-unknown", "unknown kind 9"},
	{"hooks-odd", "not a table of hooks"},
	{"sum-differs", "is damaged"},
	{"sum-differs-in-header", "is damaged"},
	{"sum-short", "not a checksum"},
	{"sum-version-2", "another version"},
};

static void a_lie_is_refused_for_what_it_is(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(lies); i++) {
		struct lp_err err = {0};
		int rc;
		struct lp_kpatch *k = open_lie(lies[i].file, &err, &rc);
		if (k || rc == 0 || !strstr(err.text, lies[i].says))
			fail_msg("%s: %s", lies[i].file, rc ? err.text : "taken for a patch");
	}
}

static void a_file_that_is_cut_anywhere_is_refused(void **state)
{
	struct lp_kpatch *k = open_sound("sound"), *cut;
	for (size_t len = 0; len < k->len; len++)
		assert_true(lp_kpatch_from_bytes(&cut, k->bytes, len, "cut", NULL) < 0);
	lp_kpatch_free(k);
}

static void a_flipped_bit_does_no_harm(void **state)
{
	struct lp_kpatch *k = open_sound("sound"), *other;
	for (size_t bit = 0; bit < 8 * k->len; bit++) {
		k->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		lp_kpatch_from_bytes(&other, k->bytes, k->len, "flipped", NULL);
		lp_kpatch_free(other);
		k->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	lp_kpatch_free(k);
}

static bool is_taken(const uint8_t *bytes, size_t len)
{
	struct lp_kpatch *k;
	int rc = lp_kpatch_from_bytes(&k, bytes, len, "flipped", NULL);
	lp_kpatch_free(k);
	return rc == 0;
}

/* What makes the section unknown, its name and its header, is all that a flip can hit unseen: and nothing else is hit then. */
static void a_flipped_bit_of_a_file_that_was_added_up_is_seen(void **state)
{
	struct lp_kpatch *k = open_sound("sum");
	const Elf64_Ehdr *h = lp_elf_header(k->elf);
	size_t table = k->elf_offset + h->e_shoff;
	size_t name = (size_t)((uint8_t *)memmem(k->bytes, k->len, LP_KPATCH_SUM, sizeof LP_KPATCH_SUM) - k->bytes);
	uint8_t *bytes = lp_memdup(k->bytes, k->len);
	for (size_t bit = 0; bit < 8 * k->len; bit++) {
		size_t at = bit / 8;
		bytes[at] ^= (uint8_t)(1 << bit % 8);
		bool hides = at >= table || (at >= name && at < name + sizeof LP_KPATCH_SUM);
		if (is_taken(bytes, k->len) && !hides)
			fail_msg("bit %zu of the byte at %zu", bit % 8, at);
		bytes[at] ^= (uint8_t)(1 << bit % 8);
	}
	lp_free(bytes);
	lp_kpatch_free(k);
}

static void a_copy_that_is_going_to_be_changed_says_no_sum(void **state)
{
	struct lp_kpatch *k = open_sound("sum");
	uint8_t *copy = lp_memdup(k->bytes, k->len);
	copy[k->len - 1] ^= 1;
	assert_false(is_taken(copy, k->len));
	lp_kpatch_sum_forget(k, copy);
	assert_true(is_taken(copy, k->len));
	lp_free(copy);
	lp_kpatch_free(k);
}

/* ---- writing ---- */

static void what_is_written_is_added_up(void **state)
{
	struct lp_kpatch *k = open_sound("sum-not-said"), *again;
	struct lp_kpatch_meta meta = {.id = "CVE-1", .object = "prog", .build_id = k->build_id};
	struct lp_buf out = {0};
	assert_int_equal(lp_kpatch_write(&meta, k->bytes + k->elf_offset, k->len - k->elf_offset, &out, NULL), 0);
	assert_int_equal(lp_kpatch_from_bytes(&again, out.data, out.len, "again", NULL), 0);
	lp_kpatch_free(again);
	out.data[300]++; /* of the header, where nothing stands */
	assert_false(is_taken(out.data, out.len));
	lp_buf_free(&out);
	lp_kpatch_free(k);
}

static void what_is_written_is_read_back(void **state)
{
	struct lp_kpatch *k = open_sound("libcare"), *again;
	struct lp_kpatch_meta meta = {
		.id = "0001", .object = "prog", .build_id = k->build_id, .build_time = 1700000000, .level = 5};
	struct lp_buf out = {0};
	struct lp_err err = {0};
	lp_buf_str(&out, "before");
	assert_int_equal(lp_kpatch_write(&meta, k->bytes + k->elf_offset, k->len - k->elf_offset, &out, &err), 0);
	assert_int_equal((out.len - 6) % 16, 0);
	assert_int_equal(lp_kpatch_from_bytes(&again, out.data + 6, out.len - 6, "again", &err), 0);
	assert_string_equal(again->id, "0001");
	assert_string_equal(again->object, "prog");
	assert_int_equal(again->build_time, 1700000000);
	assert_int_equal(again->level, 5);
	assert_true(lp_build_id_equal(&again->build_id, &k->build_id));
	lp_kpatch_free(again);
	lp_kpatch_free(k);
	lp_buf_free(&out);
}

/* docs/format-kpatch.md, "Header". */
static void the_header_is_that_of_libcareplus(void **state)
{
	struct lp_kpatch *k = open_sound("sound");
	struct lp_kpatch_meta meta = {
		.id = "1", .object = "prog", .build_id = k->build_id, .build_time = 7, .level = 2};
	struct lp_buf out = {0};
	assert_int_equal(lp_kpatch_write(&meta, "\177ELF", 4, &out, NULL), 0);
	assert_int_equal(out.len, 512);
	assert_memory_equal(out.data,
			    "KPATCH1\0"
			    "1\0\0\0\0\0\0\0",
			    16);
	assert_string_equal((char *)out.data + 24, "prog");
	assert_string_equal((char *)out.data + 88, "0123456789abcdef0123456789abcdef01234567");
	assert_int_equal(lp_get64(out.data + 136), 7);
	assert_int_equal(lp_get32(out.data + 152), 504);
	assert_int_equal(lp_get32(out.data + 156), 504);
	assert_int_equal(lp_get32(out.data + 160), 512);
	assert_int_equal(lp_get32(out.data + 192), 2);
	assert_memory_equal(out.data + 504, "\177ELF\0\0\0\0", 8);
	lp_buf_free(&out);
	lp_kpatch_free(k);
}

static void a_long_id_is_seven_digits_in_the_header(void **state)
{
	char id[8];
	lp_kpatch_short_id("0001", id);
	assert_string_equal(id, "0001");
	lp_kpatch_short_id("1234567", id);
	assert_string_equal(id, "1234567");
	lp_kpatch_short_id("CVE-2024-31449", id);
	assert_int_equal(strlen(id), 7);
	assert_int_equal(strspn(id, "0123456789abcdef"), 7);
}

static void what_cannot_be_written_is_refused(void **state)
{
	struct lp_kpatch_meta meta = {.id = "has blank"};
	struct lp_buf out = {0};
	assert_int_equal(lp_kpatch_write(&meta, "", 0, &out, NULL), -LP_EUSAGE);
	meta.id = "1";
	assert_int_equal(lp_kpatch_write(&meta, "", 0, &out, NULL), -LP_EBUILDID);
	assert_int_equal(out.len, 0);
}

static void notes_become_json(void **state)
{
	static const char *const needs[] = {"0001"};
	const struct lp_kpatch_function functions[] = {{(char *)"f", (char *)"a.o", (char *)"it \"differs\""}};
	struct lp_kpatch_meta meta = {.id = "0002", .object = "prog"};
	struct lp_kpatch_notes notes = {
		.tool = "t", .needs = needs, .nr_needs = 1, .functions = functions, .nr_functions = 1};
	struct lp_buf out = {0};
	lp_build_id_parse("00ff", &meta.build_id);
	assert_int_equal(lp_kpatch_meta_json(&meta, &notes, &out, NULL), 0);
	assert_non_null(strstr(lp_buf_cstr(&out), "\"version\": 1"));
	assert_non_null(strstr(lp_buf_cstr(&out), "\"build_id\": \"00ff\""));
	assert_non_null(strstr(lp_buf_cstr(&out), "\"0001\""));
	assert_non_null(strstr(lp_buf_cstr(&out), "it \\\"differs\\\""));
	lp_buf_free(&out);
}

/* ---- patchsets ---- */

static char *write_file(const void *bytes, size_t len)
{
	char *path = lp_strdup("/tmp/test-kpatch-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
	return path;
}

static void a_file_is_told_by_its_first_bytes(void **state)
{
	struct lp_patchset *ps = NULL;
	char *path = lp_sprintf("%s/sound", corpus);
	assert_int_equal(lp_patch_open(&ps, path, NULL), 0);
	assert_int_equal(ps->nr, 1);
	assert_int_equal(ps->ops[0].kind, LP_OP_OBJECT);
	assert_string_equal(ps->name, "CVE-1");
	/* Two patches of one object are not one. */
	assert_int_equal(lp_patch_open(&ps, path, NULL), -LP_EOVERLAP);
	assert_int_equal(ps->nr, 1);
	lp_patchset_free(ps);
	lp_free(path);
}

static void a_script_is_still_a_script_and_mixes_with_nothing(void **state)
{
	struct lp_patchset *ps = NULL;
	char *script = write_file("new foo 8\n", 10), *kpatch = lp_sprintf("%s/sound", corpus);
	assert_int_equal(lp_patch_open(&ps, script, NULL), 0);
	assert_int_equal(ps->ops[0].kind, LP_OP_NEW);
	assert_int_equal(lp_patch_open(&ps, kpatch, NULL), -LP_EUSAGE);
	lp_patchset_free(ps);
	ps = NULL;
	assert_int_equal(lp_patch_open(&ps, kpatch, NULL), 0);
	assert_int_equal(lp_patch_open(&ps, script, NULL), -LP_EUSAGE);
	lp_patchset_free(ps);
	unlink(script);
	lp_free(script);
	lp_free(kpatch);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_file_says_all_that_it_says),
		cmocka_unit_test(the_other_header_is_read_too),
		cmocka_unit_test(sections_are_told_apart),
		cmocka_unit_test(relocations_come_in_order),
		cmocka_unit_test(a_lie_is_refused_for_what_it_is),
		cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(a_flipped_bit_does_no_harm),
		cmocka_unit_test(a_flipped_bit_of_a_file_that_was_added_up_is_seen),
		cmocka_unit_test(a_copy_that_is_going_to_be_changed_says_no_sum),
		cmocka_unit_test(what_is_written_is_added_up),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(the_header_is_that_of_libcareplus),
		cmocka_unit_test(a_long_id_is_seven_digits_in_the_header),
		cmocka_unit_test(what_cannot_be_written_is_refused),
		cmocka_unit_test(notes_become_json),
		cmocka_unit_test(a_file_is_told_by_its_first_bytes),
		cmocka_unit_test(a_script_is_still_a_script_and_mixes_with_nothing),
	};
	if (argc != 2)
		return 2;
	corpus = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
