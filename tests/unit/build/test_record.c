#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/fdio.h"
#include "build/record.h"
#include "build/remove.h"
#include "build/tree.h"

static char *directory(void)
{
	char path[] = "/tmp/lp-record-XXXXXX";
	return lp_strdup(mkdtemp(path));
}

static struct lp_record sample(void)
{
	struct lp_record r = {.stem = lp_strdup("00000000000000000001-1"),
			      .began_ns = 1,
			      .compiler = lp_strdup("/usr/bin/gcc"),
			      .cwd = lp_strdup("/src/a b"),
			      .output = NULL};
	lp_vec_push(&r.words, lp_strdup("-c"));
	lp_vec_push(&r.words, lp_strdup("-DX=\"a=b\nc\xff\""));
	lp_vec_push(&r.words, lp_strdup(""));
	lp_vec_push(&r.words, lp_strdup("f.c"));
	lp_vec_push(&r.env, lp_strdup("PATH=/usr/bin:/bin"));
	struct lp_record_unit *u = lp_vec_add(&r.units);
	u->source = lp_strdup("f.c");
	u->object = lp_strdup("/src/a b/f.o");
	u->has_copy = true;
	lp_hash_bytes(&u->hash, "x", 1);
	return r;
}

static void what_is_written_is_read_again(void **state)
{
	char *dir = directory();
	struct lp_record r = sample();
	lp_record_vec all = {0};
	(void)state;
	assert_int_equal(lp_record_write(dir, &r, NULL), 0);
	assert_int_equal(lp_records_count(dir), 1);
	assert_int_equal(lp_records_load(&all, dir, NULL), 0);
	assert_int_equal(all.nr, 1);
	const struct lp_record *got = &all.items[0];
	assert_string_equal(got->stem, r.stem);
	assert_string_equal(got->cwd, "/src/a b");
	assert_int_equal(got->words.nr, 4);
	assert_string_equal(got->words.items[1], "-DX=\"a=b\nc\xff\"");
	assert_string_equal(got->words.items[2], "");
	assert_string_equal(got->env.items[0], "PATH=/usr/bin:/bin");
	assert_int_equal(got->args.does, LP_CC_COMPILE);
	assert_true(got->units.items[0].has_copy);
	assert_memory_equal(&got->units.items[0].hash, &r.units.items[0].hash, sizeof(struct lp_hash));
	lp_records_free(&all);
	lp_record_clear(&r);
	lp_tree_remove(dir, NULL);
	lp_free(dir);
}

static void a_record_without_its_end_is_none(void **state)
{
	char *dir = directory(), *path;
	struct lp_record r = sample(), got;
	struct lp_buf text = {0};
	(void)state;
	assert_int_equal(lp_record_write(dir, &r, NULL), 0);
	path = lp_sprintf("%s/%s.rec", dir, r.stem);
	assert_int_equal(lp_read_file(path, &text, 1 << 20, NULL), 0);
	for (size_t len = 0; len < text.len; len++) {
		char *cut = lp_memdup(text.data, len);
		assert_int_equal(lp_record_parse(&got, cut, len, "t", NULL), -LP_EVERSION);
		lp_free(cut);
	}
	assert_int_equal(lp_record_parse(&got, lp_buf_cstr(&text), text.len, "t", NULL), 0);
	lp_record_clear(&got);
	lp_buf_free(&text);
	lp_free(path);
	lp_record_clear(&r);
	lp_tree_remove(dir, NULL);
	lp_free(dir);
}

static void nonsense_is_refused(void **state)
{
#define RECORD(text)                                                                 \
	{                                                                            \
		"livepatch-record 1\0" text, sizeof("livepatch-record 1\0" text) - 1 \
	}
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"", 0},
		{"livepatch-record 2\0end\0", 23},
		RECORD("end\0"),
		RECORD("compiler=/c\0cwd=relative\0end\0"),
		RECORD("compiler=/c\0cwd=/d\0compiler=/e\0end\0"),
		RECORD("compiler=/c\0cwd=/d\0object=/o\0end\0"),
		RECORD("compiler=/c\0cwd=/d\0source=s\0end\0"),
		RECORD("compiler=/c\0cwd=/d\0what=s\0end\0"),
		RECORD("compiler=/c\0cwd=/d\0noequals\0end\0"),
	};
	struct lp_record r;
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++)
		if (lp_record_parse(&r, cases[i].text, cases[i].len, "t", NULL) != -LP_EVERSION)
			fail_msg("case %zu was taken for a record", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(a_record_without_its_end_is_none),
		cmocka_unit_test(nonsense_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
