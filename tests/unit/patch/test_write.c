#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/fdio.h"
#include "base/vec.h"
#include "parse.h"

static struct lp_patchset *parse_ok(const char *text)
{
	return parsed_by((struct reader){lp_patch_parse, "t"}, text);
}

static void assert_same(const struct lp_patchset *a, const struct lp_patchset *b)
{
	assert_int_equal(a->nr, b->nr);
	for (size_t i = 0; i < a->nr; i++)
		assert_true(lp_op_equal(&a->ops[i], &b->ops[i]));
}

/* ---- text and JSON ---- */

static void json_is_written_one_entry_a_line_as_documented(void **state)
{
	struct lp_patchset *ps = parse_ok(
		"[{\"type\":\"REPLACE\",\"addr\":67112960,\"instr\":3573751839,\"desc\":\"a \\u0022quote\\u0022\"},"
		"{\"type\":\"NEW_FUNC\",\"name\":\"fix\",\"code\":\"00008052C0035FD6\"},"
		"{\"type\":\"BRANCH\",\"symbol\":\"f\",\"offset\":8,\"target\":\"$fix:4\",\"expect\":\"1f2003d5\"},"
		"{\"type\":\"FUNCTION_REDIRECT\",\"file\":\"a.so\",\"addr\":\"10\",\"target\":\"g+0x4\"},"
		"{\"type\":\"INSERT\",\"addr\":\"20\",\"asm\":\"nop\"},"
		"{\"type\":\"NOP\",\"addr\":\"24\"}]");
	struct lp_buf out = {0};
	assert_int_equal(lp_patch_write_json(ps, true, &out, NULL), 0);
	assert_string_equal(
		lp_buf_cstr(&out),
		"[\n"
		"  {\"type\": \"INLINE\", \"addr\": \"0x4001000\", \"instr\": \"0xD503201F\", \"desc\": \"a "
		"\\\"quote\\\"\"},\n"
		"  {\"type\": \"NEW_FUNC\", \"name\": \"fix\", \"instr\": [\"0x52800000\", \"0xD65F03C0\"]},\n"
		"  {\"type\": \"BRANCH\", \"symbol\": \"f\", \"offset\": \"0x8\", \"target\": \"$fix:0x4\", "
		"\"expect\": \"1f 20 03 d5\"},\n"
		"  {\"type\": \"REDIRECT\", \"addr\": \"0x10\", \"file\": \"a.so\", \"target\": \"g+0x4\"},\n"
		"  {\"type\": \"INSERT\", \"addr\": \"0x20\", \"asm\": \"nop\"},\n"
		"  {\"type\": \"NOP\", \"addr\": \"0x24\"}\n"
		"]\n");
	struct lp_patchset *again = parse_ok(lp_buf_cstr(&out));
	assert_same(ps, again);
	lp_patchset_free(again);
	lp_patchset_free(ps);
	lp_buf_free(&out);
}

static void text_is_written_as_documented(void **state)
{
	struct lp_patchset *ps = parse_ok("0x4001000 d503201f   NOP # patch  \r\n4002000 0,1\n");
	struct lp_buf out = {0};
	assert_int_equal(lp_patch_write_text(ps, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "# address instruction description\n"
					       "4001000 D503201F NOP # patch\n"
					       "4002000 00000000,00000001\n");
	lp_patchset_free(ps);
	lp_buf_free(&out);
}

static void code_of_other_machines_is_written_as_bytes(void **state)
{
	struct lp_patchset *ps = parse_ok("[{\"type\":\"INLINE\",\"addr\":\"10\",\"code\":\"90909090\"}]");
	struct lp_buf out = {0};
	assert_int_equal(lp_patch_write_json(ps, false, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out),
			    "[\n  {\"type\": \"INLINE\", \"addr\": \"0x10\", \"code\": \"90 90 90 90\"}\n]\n");
	lp_patchset_free(ps);
	lp_buf_free(&out);
}

static void an_empty_set_is_written_as_one(void **state)
{
	struct lp_patchset *ps = parse_ok("");
	struct lp_buf out = {0};
	assert_int_equal(lp_patch_write_json(ps, true, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "[]\n");
	lp_buf_free(&out);
	assert_int_equal(lp_patch_write_text(ps, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "# address instruction description\n");
	lp_buf_free(&out);
	lp_patchset_free(ps);
}

/* ---- generated sets ---- */

static uint64_t seed = 1;

static uint64_t any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static char *any_text(void)
{
	static const char *const pieces[] = {"a",  "\r", " ", "#",    "\"",	      "\\", "é",
					     "0x", "\t", "/", "\x01", "\xe2\x82\xac", "'"};
	struct lp_buf b = {0};
	lp_buf_str(&b, "x");
	for (uint64_t n = any(12); n; n--)
		lp_buf_str(&b, pieces[any(LP_ARRAY_SIZE(pieces))]);
	lp_buf_str(&b, any(4) ? "y" : "\r");
	return (char *)b.data;
}

static uint8_t *any_bytes(size_t len)
{
	uint8_t *bytes = lp_alloc(len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)any(256);
	return bytes;
}

static void any_place(struct lp_op *op, size_t i)
{
	op->at.number = 64 * i + 4 * any(4);
	if (any(3) == 0) {
		op->at.kind = LP_ADDR_SYMBOL;
		op->at.symbol = lp_sprintf("%sfn_%zu", any(2) ? "file.c:" : "", i);
	} else if (any(3) == 0) {
		op->file = any_text();
	}
}

static void any_target(struct lp_op *op, size_t functions)
{
	op->to.number = any(8);
	if (functions && any(2)) {
		op->to.kind = LP_ADDR_MEM;
		op->to.mem = lp_sprintf("f%zu", (size_t)any(functions));
	} else if (any(2)) {
		op->to.kind = LP_ADDR_SYMBOL;
		op->to.symbol = lp_strdup("libm.so.6:cos@GLIBC_2.2.5");
	} else {
		op->to.number = any(UINT64_MAX);
	}
}

static bool has_code(enum lp_op_kind kind)
{
	return kind == LP_OP_INLINE || kind == LP_OP_INSERT || kind == LP_OP_FUNC;
}

static struct lp_patchset *any_set(void)
{
	struct lp_patchset *ps = lp_patch_new("generated");
	size_t functions = 0;
	for (size_t i = 0, nr = (size_t)any(20); i < nr; i++) {
		struct lp_op op = {.kind = LP_OP_INLINE + (enum lp_op_kind)any(6),
				   .desc = any(4) ? any_text() : lp_strdup("")};
		if (op.kind == LP_OP_FUNC)
			op.mem = lp_sprintf("f%zu", functions++);
		else
			any_place(&op, i);
		if (has_code(op.kind) && any(4) == 0) {
			op.assembly = any_text();
		} else if (has_code(op.kind)) {
			op.value_len = 8 + any(40);
			op.value = any_bytes(op.value_len);
		}
		if (op.kind == LP_OP_BRANCH || op.kind == LP_OP_REDIRECT)
			any_target(&op, functions);
		if (op.kind != LP_OP_FUNC && any(3) == 0) {
			op.expect_len = 1 + any(8);
			op.expect = any_bytes(op.expect_len);
		}
		lp_patch_add_op(ps, &op);
	}
	return ps;
}

static void any_set_survives_json(void **state)
{
	for (int i = 0; i < 3000; i++) {
		struct lp_patchset *ps = any_set();
		struct lp_buf out = {0};
		struct lp_err err = {0};
		if (lp_patch_write_json(ps, any(2), &out, &err) < 0)
			fail_msg("%s", err.text);
		struct lp_patchset *again = parse_ok(lp_buf_cstr(&out));
		assert_same(ps, again);
		lp_patchset_free(again);
		lp_patchset_free(ps);
		lp_buf_free(&out);
	}
}

static void any_set_of_words_survives_text(void **state)
{
	for (int i = 0; i < 3000; i++) {
		struct lp_patchset *ps = lp_patch_new("generated");
		for (size_t k = 0, nr = (size_t)any(20); k < nr; k++) {
			struct lp_op op = {.kind = LP_OP_INLINE,
					   .at.number = any(2) ? 16 * k : 16 * k + UINT64_C(0xffff000000000000),
					   .value_len = 4 + 4 * any(3),
					   .desc = any(4) ? any_text() : lp_strdup("")};
			op.value = any_bytes(op.value_len);
			lp_patch_add_op(ps, &op);
		}
		struct lp_buf out = {0};
		assert_int_equal(lp_patch_write_text(ps, &out, NULL), 0);
		struct lp_patchset *again = parse_ok(lp_buf_cstr(&out));
		assert_same(ps, again);
		lp_patchset_free(again);
		lp_patchset_free(ps);
		lp_buf_free(&out);
	}
}

static void a_difference_in_any_part_is_a_difference(void **state)
{
	static const char *const different[] = {
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INSERT\",\"addr\":\"10\",\"instr\":\"1\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"11\",\"instr\":\"1\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"symbol\":\"s\",\"instr\":\"1\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"2\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"asm\":\"a\",\"expect\":\"00\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"expect\":\"01\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"desc\":\"d\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"expect\":\"00\",\"desc\":\"e\"}]",
		"[{\"type\":\"INLINE\",\"addr\":\"10\",\"file\":\"f\",\"instr\":\"1\",\"desc\":\"d\"}]",
		"[{\"type\":\"NEW_FUNC\",\"name\":\"a\",\"instr\":\"1\"}]",
		"[{\"type\":\"NEW_FUNC\",\"name\":\"b\",\"instr\":\"1\"}]",
		"[{\"type\":\"NEW_FUNC\",\"instr\":\"1\"}]",
		"[{\"type\":\"BRANCH\",\"addr\":\"10\",\"target\":\"0x20\"}]",
		"[{\"type\":\"BRANCH\",\"addr\":\"10\",\"target\":\"0x24\"}]",
		"[{\"type\":\"BRANCH\",\"addr\":\"10\",\"target\":\"x\"}]",
		"[{\"type\":\"REDIRECT\",\"addr\":\"10\",\"target\":\"x\"}]",
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(different); i++)
		for (size_t k = 0; k < LP_ARRAY_SIZE(different); k++) {
			struct lp_patchset *a = parse_ok(different[i]), *b = parse_ok(different[k]);
			assert_int_equal(lp_op_equal(&a->ops[0], &b->ops[0]), i == k);
			lp_patchset_free(a);
			lp_patchset_free(b);
		}
}

static void a_text_file_says_symbols_and_places_in_objects(void **state)
{
	struct lp_patchset *ps =
		parse_ok("libc.so.6:malloc+8 D503201F a\nadd+0 D503201F\nlibfoo.so.1@0x1138 D503201F b\n");
	struct lp_buf out = {0};
	struct lp_err err = {0};
	assert_int_equal(ps->ops[1].at.kind, LP_ADDR_SYMBOL);
	assert_string_equal(ps->ops[1].at.symbol, "add");
	assert_string_equal(ps->ops[2].file, "libfoo.so.1");
	assert_int_equal(ps->ops[2].at.number, 0x1138);
	assert_int_equal(lp_patch_write_text(ps, &out, &err), 0);
	assert_string_equal(lp_buf_cstr(&out), "# address instruction description\n"
					       "libc.so.6:malloc+0x8 D503201F a\n"
					       "add+0x0 D503201F\n"
					       "libfoo.so.1@0x1138 D503201F b\n");
	struct lp_patchset *again = parse_ok(lp_buf_cstr(&out));
	assert_int_equal(again->nr, ps->nr);
	for (size_t i = 0; i < ps->nr; i++)
		assert_true(lp_op_equal(&ps->ops[i], &again->ops[i]));
	lp_patchset_free(again);
	lp_patchset_free(ps);
	lp_buf_free(&out);
}

static void an_address_in_json_is_a_number_a_symbol_or_a_place_in_an_object(void **state)
{
	struct lp_patchset *ps = parse_ok("[{\"type\":\"NOP\",\"addr\":\"libc.so.6:malloc+8\"},"
					  "{\"type\":\"NOP\",\"addr\":\"libfoo.so@0x1138\"},"
					  "{\"type\":\"NOP\",\"addr\":\"add\"},"
					  "{\"type\":\"BRANCH\",\"addr\":\"20\",\"target\":\"7zip@0x40\"}]");
	assert_string_equal(ps->ops[0].at.symbol, "libc.so.6:malloc");
	assert_int_equal(ps->ops[0].at.number, 8);
	assert_string_equal(ps->ops[1].file, "libfoo.so");
	assert_int_equal(ps->ops[2].at.number, 0xadd);
	assert_int_equal(ps->ops[3].to.kind, LP_ADDR_FILE);
	assert_string_equal(ps->ops[3].to.symbol, "7zip");
	assert_int_equal(ps->ops[3].to.number, 0x40);
	lp_patchset_free(ps);
}

/* ---- what cannot be written ---- */

static void text_refuses(const char *json, const char *expected)
{
	struct lp_patchset *ps = parse_ok(json);
	struct lp_buf out = {0};
	struct lp_err err = {0};
	assert_int_equal(lp_patch_write_text(ps, &out, &err), -LP_EUSAGE);
	assert_string_equal(err.text, expected);
	assert_int_equal(out.len, 0);
	lp_patchset_free(ps);
}

static void text_refuses_what_it_cannot_say_and_names_it(void **state)
{
	text_refuses("[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"instr\":\"1\"}]",
		     "the patch at function `f` is of a kind that a text file cannot hold; JSON can");
	text_refuses("[{\"type\":\"INLINE\",\"file\":\"a b\",\"addr\":\"10\",\"instr\":\"1\"}]",
		     "the patch at 0x10 is at a name with blanks, which a text file cannot say; JSON can");
	text_refuses("[{\"type\":\"INLINE\",\"addr\":\"10\",\"code\":\"90\"}]",
		     "the patch at 0x10 does not consist of words of 4 bytes, which a text file cannot say; JSON can");
	text_refuses("[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"expect\":\"90\"}]",
		     "the patch at 0x10 expects bytes, which a text file cannot say; JSON can");
	static const char *const descriptions[] = {" a", "a ", "a\\nb", "a\\t", "\\ta"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(descriptions); i++) {
		char *json = lp_sprintf("[{\"type\":\"INLINE\",\"addr\":\"10\",\"instr\":\"1\",\"desc\":\"%s\"}]",
					descriptions[i]);
		text_refuses(json, "the patch at 0x10 has a description that does not fit on a line of a text file; "
				   "JSON has room");
		lp_free(json);
	}
}

static void json_refuses_scripts_and_what_is_not_utf8(void **state)
{
	struct lp_patchset *script = parse_ok("jmp a b\n"), *latin = parse_ok("10 D503201F gr\xfc\xdf\n");
	struct lp_buf out = {0};
	struct lp_err err = {0};
	assert_int_equal(lp_patch_write_json(script, true, &out, &err), -LP_EUSAGE);
	assert_string_equal(err.text, "the patch at a is not of a kind that a patch file can hold");
	assert_int_equal(lp_patch_write_json(latin, true, &out, &err), -LP_EUSAGE);
	assert_string_equal(err.text, "the patch at 0x10 has a text that is not UTF-8, which JSON cannot say");
	assert_int_equal(out.len, 0);
	lp_patchset_free(script);
	lp_patchset_free(latin);
}

/* ---- files ---- */

static char dir[] = "/tmp/test-write-XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static void write_as(const char *path, const char *text)
{
	struct lp_buf b = {0};
	struct lp_err err = {0};
	lp_buf_str(&b, text);
	if (lp_patch_save(path, &b, &err) < 0)
		fail_msg("%s", err.text);
	lp_buf_free(&b);
}

static void write_refused(const char *path, int code, const char *expected)
{
	struct lp_buf b = {0};
	struct lp_err err = {0};
	lp_buf_str(&b, "new");
	assert_int_equal(lp_patch_save(path, &b, &err), -code);
	assert_string_equal(err.text, expected);
	lp_buf_free(&b);
}

static void holds(const char *path, const char *text)
{
	struct lp_buf b = {0};
	assert_int_equal(lp_read_file(path, &b, 1 << 20, NULL), 0);
	assert_string_equal(lp_buf_cstr(&b), text);
	lp_buf_free(&b);
}

static size_t nr_files(void)
{
	size_t nr = 0;
	DIR *d = opendir(".");
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		nr += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return nr;
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void a_new_file_has_the_mode_that_the_umask_leaves(void **state)
{
	mode_t old = umask(027);
	write_as("new", "text");
	umask(old);
	holds("new", "text");
	assert_int_equal(mode_of("new"), 0640);
	assert_int_equal(nr_files(), 1);
	unlink("new");
}

static void a_file_is_replaced_and_keeps_its_mode(void **state)
{
	struct stat before, after;
	write_as("f", "one");
	assert_int_equal(chmod("f", 0604), 0);
	int held = open("f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(held, &before), 0);
	write_as("f", "two and more");
	holds("f", "two and more");
	assert_int_equal(mode_of("f"), 0604);
	assert_int_equal(stat("f", &after), 0);
	assert_int_equal(after.st_uid, before.st_uid);
	assert_int_equal(after.st_gid, before.st_gid);
	char text[8] = "";
	assert_int_equal(read(held, text, sizeof text), 3); /* whoever had it open has the old one, whole */
	assert_string_equal(text, "one");
	close(held);
	assert_int_equal(nr_files(), 1);
	unlink("f");
}

static void the_owner_is_kept(void **state)
{
	struct stat st;
	write_as("f", "one");
	if (geteuid() == 0) {
		assert_int_equal(chown("f", 12345, 54321), 0);
		assert_int_equal(chmod("f", 04755), 0);
		write_as("f", "two");
		assert_int_equal(stat("f", &st), 0);
		assert_int_equal(st.st_uid, 12345);
		assert_int_equal(st.st_gid, 54321);
		assert_int_equal(st.st_mode & 07777, 04755);
	} else {
		write_as("f", "two");
		assert_int_equal(stat("f", &st), 0);
		assert_int_equal(st.st_uid, geteuid());
	}
	holds("f", "two");
	unlink("f");
}

static void symbolic_links_stay_and_what_they_lead_to_is_replaced(void **state)
{
	assert_int_equal(mkdir("d", 0755), 0);
	write_as("d/real", "one");
	assert_int_equal(symlink("d/middle", "outer"), 0);
	assert_int_equal(symlink("real", "d/middle"), 0);
	write_as("outer", "two");
	holds("d/real", "two");
	struct stat st;
	assert_int_equal(lstat("outer", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(lstat("d/middle", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink("d/real");
	write_as("outer", "three"); /* where a link dangles, the new file belongs */
	holds("d/real", "three");
	unlink("d/real");
	unlink("d/middle");
	unlink("outer");
	assert_int_equal(rmdir("d"), 0);
}

static void what_cannot_be_replaced_is_refused_and_leaves_nothing_behind(void **state)
{
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(symlink("loop", "loop"), 0);
	write_refused("d", EINVAL, "d is not a regular file");
	write_refused("d/", EISDIR, "cannot write d/: Is a directory");
	write_refused("fifo", EINVAL, "fifo is not a regular file");
	write_refused("loop", ELOOP, "cannot follow loop: Too many levels of symbolic links");
	write_refused("no/f", ENOENT, "cannot open the directory of no/f: No such file or directory");
	write_refused("fifo/f", ENOTDIR, "cannot look at fifo/f: Not a directory");
	assert_int_equal(nr_files(), 3);
	unlink("loop");
	unlink("fifo");
	rmdir("d");
}

static void a_draft_that_cannot_be_written_leaves_the_old_file(void **state)
{
	struct rlimit old, small = {.rlim_cur = 1024};
	struct lp_buf big = {0};
	struct lp_err err = {0};
	lp_buf_fill(&big, 'x', 4096);
	write_as("f", "old");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	sighandler_t handler = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int rc = lp_patch_save("f", &big, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, handler);
	assert_int_equal(rc, -EFBIG);
	assert_string_equal(err.text, "cannot write f: File too large");
	holds("f", "old");
	assert_int_equal(nr_files(), 1);
	unlink("f");
	lp_buf_free(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_written_one_entry_a_line_as_documented),
		cmocka_unit_test(text_is_written_as_documented),
		cmocka_unit_test(code_of_other_machines_is_written_as_bytes),
		cmocka_unit_test(an_empty_set_is_written_as_one),
		cmocka_unit_test(any_set_survives_json),
		cmocka_unit_test(any_set_of_words_survives_text),
		cmocka_unit_test(a_difference_in_any_part_is_a_difference),
		cmocka_unit_test(a_text_file_says_symbols_and_places_in_objects),
		cmocka_unit_test(an_address_in_json_is_a_number_a_symbol_or_a_place_in_an_object),
		cmocka_unit_test(text_refuses_what_it_cannot_say_and_names_it),
		cmocka_unit_test(json_refuses_scripts_and_what_is_not_utf8),
		cmocka_unit_test(a_new_file_has_the_mode_that_the_umask_leaves),
		cmocka_unit_test(a_file_is_replaced_and_keeps_its_mode),
		cmocka_unit_test(the_owner_is_kept),
		cmocka_unit_test(symbolic_links_stay_and_what_they_lead_to_is_replaced),
		cmocka_unit_test(what_cannot_be_replaced_is_refused_and_leaves_nothing_behind),
		cmocka_unit_test(a_draft_that_cannot_be_written_leaves_the_old_file),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
