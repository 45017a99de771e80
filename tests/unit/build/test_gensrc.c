#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "build/gensrc_private.h"

/* One comparison and all that came of it. */
struct outcome {
	int rc;
	struct lp_buf out;
	struct lp_gensrc_summary sum;
	struct lp_err err;
};

static struct lp_gensrc_input input(const char *name, const char *text)
{
	return (struct lp_gensrc_input){name, text, strlen(text)};
}

static struct outcome compare_with(struct lp_gensrc_options *o, const char *before, const char *after)
{
	struct outcome r = {0};
	struct lp_gensrc_input a = input("before.s", before), b = input("after.s", after);
	r.rc = lp_gensrc_diff(o, &a, &b, &r.out, &r.sum, &r.err);
	return r;
}

static struct outcome compare(const char *before, const char *after)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_GUESS};
	return compare_with(&o, before, after);
}

static const char *text_of(struct outcome *r)
{
	return lp_buf_cstr(&r->out);
}

#define assert_has(r, text) assert_non_null(strstr(text_of(r), text))
#define assert_lacks(r, text) assert_null(strstr(text_of(r), text))

static void assert_changes(struct outcome *r, size_t changed, size_t added, size_t variables)
{
	if (r->rc)
		fail_msg("refused: %s", r->err.text);
	assert_int_equal(r->sum.changed, changed);
	assert_int_equal(r->sum.added, added);
	assert_int_equal(r->sum.variables, variables);
}

static void assert_refused(struct outcome *r, int code, const char *why)
{
	assert_int_equal(r->rc, -code);
	assert_non_null(strstr(r->err.text, why));
	lp_buf_free(&r->out);
}

/* ---- pieces ---- */

#define FUNCTION(name, body) \
	"\t.text\n\t.globl\t" name "\n\t.type\t" name ", @function\n" name ":\n" body "\t.size\t" name ", .-" name "\n"
#define STATIC_FUNCTION(name, body) \
	"\t.text\n\t.type\t" name ", @function\n" name ":\n" body "\t.size\t" name ", .-" name "\n"
#define STRING(label, text) "\t.section\t.rodata.str1.1,\"aMS\",@progbits,1\n" label ":\n\t.string\t\"" text "\"\n"
#define VARIABLE(name, value) \
	"\t.data\n\t.align 4\n\t.type\t" name ", @object\n\t.size\t" name ", 4\n" name ":\n\t.long\t" value "\n"
#define ZEROED(name) "\t.local\t" name "\n\t.comm\t" name ",4,4\n"
#define RET "\tret\n"
#define SAYS(label) "\tleaq\t" label "(%rip), %rdi\n\tcall\tputs@PLT\n" RET
#define BUMPS(variable) "\taddl\t$1, " variable "(%rip)\n" RET

/* ---- what is a change ---- */

static void equal_files_give_the_original_and_nothing_else(void **state)
{
	const char *text = "\t.file\t\"a.c\"\n" STRING(".LC0", "x") FUNCTION("f", SAYS(".LC0"));
	struct outcome r = compare(text, text);
	assert_changes(&r, 0, 0, 0);
	assert_string_equal(text_of(&r), text);
	lp_buf_free(&r.out);
}

static void labels_that_are_numbered_anew_are_no_change(void **state)
{
	struct outcome r =
		compare(STRING(".LC0", "x") FUNCTION("f", ".LFB0:\n.L2:\n\tdecl\t%edi\n\tjne\t.L2\n" SAYS(".LC0")),
			STRING(".LC7", "x") FUNCTION("f", ".LFB9:\n.L31:\n\tdecl\t%edi\n\tjne\t.L31\n" SAYS(".LC7")));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
}

static void comments_and_debug_lines_are_no_change(void **state)
{
	struct outcome r = compare(FUNCTION("f", "\t.loc 1 2 3\n\tnop # before\n" RET),
				   FUNCTION("f", "\t.loc 1 9 9\n\tnop /* after */\n" RET));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
}

static void a_string_that_differs_is_a_change_of_the_function_that_uses_it(void **state)
{
	struct outcome r = compare(STRING(".LC0", "old") FUNCTION("f", SAYS(".LC0")) FUNCTION("g", RET),
				   STRING(".LC0", "new") FUNCTION("f", SAYS(".LC0")) FUNCTION("g", RET));
	assert_changes(&r, 1, 0, 0);
	assert_has(&r, "f.Lfe:\n");
	assert_has(&r, "f.kpatch:\n\tleaq\t.LC0.kpatch(%rip), %rdi\n");
	assert_has(&r, ".LC0.kpatch:\n\t.string\t\"new\"\n");
	assert_has(&r, "\t.quad\tf\n\t.quad\tf.kpatch\n\t.long\tf.Lfe - f\n\t.long\tf.kpatch_end - f.kpatch\n");
	assert_lacks(&r, "g.kpatch");
	lp_buf_free(&r.out);
}

static void a_hash_in_a_string_is_no_comment(void **state)
{
	struct outcome r = compare(STRING(".LC0", "a # b \\\" # c") FUNCTION("f", SAYS(".LC0")),
				   STRING(".LC0", "a # b \\\" # d") FUNCTION("f", SAYS(".LC0")));
	assert_changes(&r, 1, 0, 0);
	lp_buf_free(&r.out);
}

#define ASSERTS(line, callee) "\tmovl\t$" line ", %edx\n\tleaq\t.LC0(%rip), %rdi\n\tcall\t" callee "@PLT\n"

static void a_line_number_that_is_only_told_is_no_change(void **state)
{
	struct outcome r = compare(STRING(".LC0", "x") FUNCTION("f", ASSERTS("12", "__assert_fail")),
				   STRING(".LC0", "x") FUNCTION("f", ASSERTS("15", "__assert_fail")));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
	/* The table is that of livepatch build. */
	r = compare(STRING(".LC0", "x") FUNCTION("f", ASSERTS("12", "OPENSSL_die")),
		    STRING(".LC0", "x") FUNCTION("f", ASSERTS("15", "OPENSSL_die")));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
}

static void a_number_that_another_function_gets_is_a_change(void **state)
{
	struct outcome r = compare(STRING(".LC0", "x") FUNCTION("f", ASSERTS("12", "memset")),
				   STRING(".LC0", "x") FUNCTION("f", ASSERTS("15", "memset")));
	assert_changes(&r, 1, 0, 0);
	lp_buf_free(&r.out);
}

static void a_number_in_another_argument_of_assert_is_a_change(void **state)
{
	struct outcome r = compare(FUNCTION("f", "\tmovl\t$1, %edi\n\tmovl\t$9, %edx\n\tcall\t__assert_fail@PLT\n"),
				   FUNCTION("f", "\tmovl\t$2, %edi\n\tmovl\t$9, %edx\n\tcall\t__assert_fail@PLT\n"));
	assert_changes(&r, 1, 0, 0);
	lp_buf_free(&r.out);
}

/* ---- what belongs together ---- */

/* The table says where to go for 0 and 1; the places are `a` and `b`, in this order. */
#define SWITCH(table, for_0, for_1, a, b)                                                                              \
	FUNCTION("f", "\tjmp\t*.L" table "(,%rdi,8)\n\t.section\t.rodata\n\t.align 8\n.L" table ":\n\t.quad\t.L" for_0 \
		      "\n\t.quad\t.L" for_1 "\n\t.text\n.L" a ":\n\tnop\n.L" b ":\n" RET)

static void a_jump_table_is_part_of_its_function(void **state)
{
	struct outcome same = compare(SWITCH("4", "5", "6", "5", "6"), SWITCH("14", "9", "8", "9", "8"));
	assert_changes(&same, 0, 0, 0);
	lp_buf_free(&same.out);
	struct outcome r = compare(SWITCH("4", "5", "6", "5", "6"), SWITCH("4", "6", "5", "5", "6"));
	assert_changes(&r, 1, 0, 0);
	assert_has(&r, "\tjmp\t*.L4.kpatch(,%rdi,8)\n");
	assert_has(&r, ".L4.kpatch:\n\t.quad\t.L6.kpatch\n\t.quad\t.L5.kpatch\n");
	lp_buf_free(&r.out);
}

static void a_static_table_of_places_goes_with_the_function(void **state)
{
#define COMPUTED(body)                                                                 \
	FUNCTION("f", "\tmovq\ttable.0(,%rdi,8), %rax\n\tjmp\t*%rax\n.L1:\n" body RET) \
	"\t.section\t.data.rel.ro.local,\"aw\"\n\t.type\ttable.0, @object\ntable.0:\n\t.quad\t.L1\n"
	struct outcome r = compare(COMPUTED(""), COMPUTED("\tnop\n"));
	assert_changes(&r, 1, 0, 0);
	assert_has(&r, "\tmovq\ttable.0.kpatch(,%rdi,8), %rax\n");
	assert_has(&r, "table.0.kpatch:\n\t.quad\t.L1.kpatch\n");
	lp_buf_free(&r.out);
}

static void a_cold_part_goes_with_its_function_and_has_no_record(void **state)
{
#define WITH_COLD(body)                                                                                            \
	"\t.section\t.text.unlikely,\"ax\",@progbits\n.LCOLDB1:\n" FUNCTION(                                       \
		"f",                                                                                               \
		"\tjne\t.L9\n" RET) "\t.section\t.text.unlikely\n\t.type\tf.cold, @function\nf.cold:\n.L9:\n" body \
				    "\tcall\tabort@PLT\n\t.text\n"                                                 \
				    "\t.section\t.text.unlikely\n\t.size\tf.cold, .-f.cold\n"
	struct outcome r = compare(WITH_COLD(""), WITH_COLD("\tnop\n"));
	assert_changes(&r, 1, 0, 0);
	assert_has(&r, "f.cold.kpatch:\n.L9.kpatch:\n\tnop\n");
	assert_has(&r, "\tjne\t.L9.kpatch\n");
	assert_lacks(&r, "\t.quad\tf.cold\n");
	lp_buf_free(&r.out);
}

static void the_address_of_a_changed_function_stays_the_originals(void **state)
{
	struct outcome r =
		compare(FUNCTION("f", RET) FUNCTION("g", RET),
			FUNCTION("f", "\tnop\n" RET) FUNCTION("g", "\tleaq\tf(%rip), %rax\n\tcall\tf\n" RET));
	assert_changes(&r, 2, 0, 0);
	assert_has(&r, "g.kpatch:\n\tleaq\tf(%rip), %rax\n\tcall\tf\n");
	lp_buf_free(&r.out);
}

static void new_global_functions_keep_their_names_and_static_ones_do_not(void **state)
{
	struct outcome r = compare(FUNCTION("f", RET), FUNCTION("f", "\tcall\tfresh\n\tcall\tshared@PLT\n" RET)
							       STATIC_FUNCTION("fresh", RET) FUNCTION("shared", RET));
	assert_changes(&r, 1, 2, 0);
	assert_has(&r, "\tcall\tfresh.kpatch\n\tcall\tshared@PLT\n");
	assert_has(&r, "\t.globl\tshared\n\t.type\tshared, @function\nshared:\n");
	assert_has(&r, "\t.quad\t0\n\t.quad\tfresh.kpatch\n\t.long\t0\n");
	lp_buf_free(&r.out);
}

static void a_clone_under_another_number_is_the_same_function(void **state)
{
	struct outcome r = compare(STATIC_FUNCTION("f.isra.0", RET) FUNCTION("g", "\tjmp\tf.isra.0\n"),
				   STATIC_FUNCTION("f.isra.1", RET) FUNCTION("g", "\tjmp\tf.isra.1\n"));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
}

/* ---- variables ---- */

static void static_variables_are_told_apart_by_their_users(void **state)
{
	/* A new one takes the number that an old one had. */
	struct outcome r = compare(ZEROED("n.0") ZEROED("n.1") FUNCTION("f", BUMPS("n.0")) FUNCTION("g", BUMPS("n.1")),
				   ZEROED("n.0") ZEROED("n.1") ZEROED("n.2") FUNCTION("f", BUMPS("n.1"))
					   FUNCTION("g", BUMPS("n.2")) FUNCTION("h", BUMPS("n.0")));
	assert_changes(&r, 0, 1, 1);
	assert_has(&r, "h.kpatch:\n\taddl\t$1, n.0.kpatch(%rip)\n");
	lp_buf_free(&r.out);
}

static void state_that_could_be_either_is_refused(void **state)
{
	struct outcome r = compare(ZEROED("n.0") ZEROED("n.1") FUNCTION("f", BUMPS("n.0") BUMPS("n.1")),
				   ZEROED("n.0") ZEROED("n.1") ZEROED("n.2")
					   FUNCTION("g", BUMPS("n.0") BUMPS("n.1") BUMPS("n.2")));
	assert_refused(&r, LP_EAMBIGUOUS, "Variable n.0 was removed or changed? Patch requires adoptation");
}

static void an_initial_value_that_changed_is_refused(void **state)
{
	struct outcome r = compare(VARIABLE("limit", "10") FUNCTION("f", BUMPS("limit")),
				   VARIABLE("limit", "20") FUNCTION("f", BUMPS("limit")));
	assert_refused(&r, LP_ECHANGED, "Variable limit was removed or changed? Patch requires adoptation");
}

static void a_variable_that_grew_is_refused(void **state)
{
	struct outcome r = compare("\t.comm\tbuffer,16,16\n", "\t.comm\tbuffer,32,16\n");
	assert_refused(&r, LP_ECHANGED, "Variable buffer");
}

static void an_ignored_variable_may_differ(void **state)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_PERCENT};
	lp_gensrc_names_add(&o.ignore_changes, "other.c:x,limit");
	struct outcome r = compare_with(&o, VARIABLE("limit", "10"), VARIABLE("limit", "20"));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
	lp_gensrc_options_free(&o);
}

static void a_constant_that_changed_travels_with_its_users(void **state)
{
#define TABLE(value) \
	"\t.section\t.rodata\n\t.align 4\n\t.type\ttable, @object\n\t.size\ttable, 4\ntable:\n\t.long\t" value "\n"
#define READS FUNCTION("f", "\tmovl\ttable(%rip), %eax\n" RET) FUNCTION("g", RET)
	struct outcome r = compare(TABLE("1") READS, TABLE("2") READS);
	assert_changes(&r, 1, 0, 1);
	assert_has(&r, "f.kpatch:\n\tmovl\ttable.kpatch(%rip), %eax\n");
	lp_buf_free(&r.out);
}

static void a_global_constant_that_changed_is_refused(void **state)
{
	struct outcome r = compare("\t.globl table\n" TABLE("1"), "\t.globl table\n" TABLE("2"));
	assert_refused(&r, LP_ECHANGED, "Variable table");
}

static void a_new_thread_local_variable_is_refused(void **state)
{
	struct outcome r = compare("", "\t.section\t.tbss,\"awT\",@nobits\n\t.type\tx, @object\nx:\n\t.zero\t4\n");
	assert_refused(&r, LP_ERELOC, "thread-local");
}

static void contents_that_only_a_start_would_use_are_refused(void **state)
{
	struct outcome r =
		compare(STATIC_FUNCTION("f", RET),
			STATIC_FUNCTION("f", RET) "\t.section\t.init_array,\"aw\"\n\t.align 8\n\t.quad\tf\n");
	assert_refused(&r, LP_ECHANGED, "Blocks of type other mismatch");
}

/* ---- what the user wants otherwise ---- */

static void ignored_functions_do_not_change_and_files_count(void **state)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_PERCENT};
	const char *file = "\t.file\t\"src/a.c\"\n";
	struct lp_buf before = {0}, after = {0};
	lp_buf_printf(&before, "%s%s", file, FUNCTION("f", RET) FUNCTION("g", RET));
	lp_buf_printf(&after, "%s%s", file, FUNCTION("f", "\tnop\n" RET) FUNCTION("g", "\tnop\n" RET));
	lp_gensrc_names_add(&o.ignore_changes, "a.c:f,b.c:g");
	struct outcome r = compare_with(&o, lp_buf_cstr(&before), lp_buf_cstr(&after));
	assert_changes(&r, 1, 0, 0);
	assert_lacks(&r, "f.kpatch");
	assert_has(&r, "g.kpatch");
	lp_buf_free(&r.out);
	lp_buf_free(&before);
	lp_buf_free(&after);
	lp_gensrc_options_free(&o);
}

static void an_unlinked_function_is_in_the_patch_and_replaces_nothing(void **state)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_PERCENT};
	lp_gensrc_names_add(&o.unlink_symbols, "f");
	struct outcome r = compare_with(&o, FUNCTION("f", RET) FUNCTION("g", "\tcall\tf\n" RET),
					FUNCTION("f", "\tnop\n" RET) FUNCTION("g", "\tnop\n\tcall\tf\n" RET));
	assert_int_equal(r.rc, 0);
	assert_has(&r, "\t.quad\t0\n\t.quad\tf.kpatch\n\t.long\t0\n");
	assert_has(&r, "g.kpatch:\n\tnop\n\tcall\tf.kpatch\n");
	lp_buf_free(&r.out);
	lp_gensrc_options_free(&o);
}

static void a_function_that_must_be_adapted_needs_its_mark(void **state)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_PERCENT};
	lp_gensrc_names_add(&o.must_adapt, "f");
	struct outcome r = compare_with(&o, FUNCTION("f", RET), FUNCTION("f", "\tnop\n" RET));
	assert_refused(&r, LP_ECHANGED, "not adapted function found: f");
	r = compare_with(&o, FUNCTION("f", RET), FUNCTION("f", "#APP\n\t# KPGENSRC_ADAPTED\n#NO_APP\n\tnop\n" RET));
	assert_changes(&r, 1, 0, 0);
	lp_buf_free(&r.out);
	lp_gensrc_options_free(&o);
}

static void static_functions_of_the_original_never_become_global(void **state)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_PERCENT, .force_global = true};
	struct outcome r = compare_with(&o, STATIC_FUNCTION("f", RET), STATIC_FUNCTION("f", "\tnop\n" RET));
	assert_has(&r, "\t.globl\tf.kpatch\n");
	assert_lacks(&r, "\t.globl\tf\n");
	lp_buf_free(&r.out);
}

/* ---- through the GOT ---- */

static bool anything(void *arg, struct span symbol)
{
	return !span_is(symbol, "near");
}

static void accesses_go_through_the_got_and_leave_everything_else_alone(void **state)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
		{"movl\tx(%rip), %eax", "movq x@GOTPCREL(%rip), %rax\nmovl (%rax), %eax\n"},
		{"movl\tx+4(%rip), %r10d", "movq x@GOTPCREL(%rip), %r10\nmovl 4(%r10), %r10d\n"},
		{"movzbl\tx-1(%rip), %ecx", "movq x@GOTPCREL(%rip), %rcx\nmovzbl -1(%rcx), %ecx\n"},
		{"leaq\tx(%rip), %rdi", "movq x@GOTPCREL(%rip), %rdi\n"},
		{"leaq\tx+8(%rip), %rdi", "movq x@GOTPCREL(%rip), %rdi\nleaq 8(%rdi), %rdi\n"},
		{"call\t*x(%rip)", "movq x@GOTPCREL(%rip), %r11\ncall *(%r11)\n"},
		{"movl\t%eax, x(%rip)",
		 "leaq -128(%rsp), %rsp\npushq %r11\nmovq x@GOTPCREL(%rip), %r11\nmovl %eax, (%r11)\n"
		 "movq (%rsp), %r11\nleaq 136(%rsp), %rsp\n"},
		{"movb\tx(%rip), %al",
		 "leaq -128(%rsp), %rsp\npushq %r11\nmovq x@GOTPCREL(%rip), %r11\nmovb (%r11), %al\n"
		 "movq (%rsp), %r11\nleaq 136(%rsp), %rsp\n"},
		{"cmpq\t%r11, x(%rip)",
		 "leaq -128(%rsp), %rsp\npushq %r10\nmovq x@GOTPCREL(%rip), %r10\ncmpq %r11, (%r10)\n"
		 "movq (%rsp), %r10\nleaq 136(%rsp), %rsp\n"},
		{"movsd\tx(%rip), %xmm0",
		 "leaq -128(%rsp), %rsp\npushq %r11\nmovq x@GOTPCREL(%rip), %r11\nmovsd (%r11), %xmm0\n"
		 "movq (%rsp), %r11\nleaq 136(%rsp), %rsp\n"},
		{"movq\tx@GOTPCREL(%rip), %rax", "movq\tx@GOTPCREL(%rip), %rax\n"},
		{"movl\tnear(%rip), %eax", "movl\tnear(%rip), %eax\n"},
		{"movl\t4(%rdi,%rax,8), %eax", "movl\t4(%rdi,%rax,8), %eax\n"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_buf out = {0};
		assert_true(asm_through_got((struct span){cases[i].from, strlen(cases[i].from)}, anything, NULL, &out));
		assert_string_equal(lp_buf_cstr(&out), cases[i].to);
		lp_buf_free(&out);
	}
}

static void what_moves_the_stack_pointer_cannot_go_through_the_got(void **state)
{
	static const char *const cases[] = {"pushq\tx(%rip)", "movq\t%rsp, x(%rip)", "popq\tx(%rip)"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_buf out = {0};
		assert_false(asm_through_got((struct span){cases[i], strlen(cases[i])}, anything, NULL, &out));
		lp_buf_free(&out);
	}
}

/* ---- the other assembler, and files that are none ---- */

static void the_other_assembler_has_other_comments(void **state)
{
#define A64(n, body)                                                                                                \
	"\t.arch armv8-a\n\t.text\n\t.type\tf, %function\nf:\n.L" n ":\n\tmov\tw2, #12 // comment\n\tcbz\tw0, .L" n \
	"\n" body "\tbl\t__assert_fail\n\t.size\tf, .-f\n"
	struct outcome r = compare(A64("2", ""), A64("7", ""));
	assert_changes(&r, 0, 0, 0);
	lp_buf_free(&r.out);
	r = compare(A64("2", ""), A64("7", "\tadd\tx0, x0, #1\n"));
	assert_changes(&r, 1, 0, 0);
	lp_buf_free(&r.out);
}

static void section_anchors_are_refused(void **state)
{
	struct outcome r = compare("\t.arch armv8-a\n", "\t.arch armv8-a\n\t.data\n\t.set\t.LANCHOR0,. + 0\n");
	assert_refused(&r, LP_EPARSE, "-fno-section-anchors");
}

static void files_that_make_no_sense_are_refused_or_passed_over(void **state)
{
	struct outcome r = compare("\t.popsection\n", "");
	assert_refused(&r, LP_EPARSE, "before.s:1: .popsection without .pushsection");
	r = compare("", "f:\nf:\n");
	assert_refused(&r, LP_EPARSE, "after.s:2: f is defined twice");
	r = compare("\t.string \"open\n\t.section\n:\n\t.size\n\t.type\n\t.comm\n\t.set\n,,,\n\"\n", "\t.text");
	lp_buf_free(&r.out);
	struct lp_gensrc_options o = {.syntax = LP_ASM_GUESS};
	struct lp_gensrc_input a = {"before.s", "\0\0", 2}, b = input("after.s", "");
	assert_int_equal(lp_gensrc_diff(&o, &a, &b, &r.out, NULL, &r.err), -LP_EPARSE);
	struct lp_buf deep = {0};
	for (size_t i = 0; i < 100; i++)
		lp_buf_str(&deep, "\t.pushsection .a\n");
	r = compare(lp_buf_cstr(&deep), "");
	assert_refused(&r, LP_EPARSE, "too deep");
	lp_buf_free(&deep);
}

/* ---- the filter ---- */

static void the_filter_takes_out_debug_information_alone(void **state)
{
	const char *text = "\t.file\t\"a.c\"\n\t.file 1 \"a.c\"\n" FUNCTION(
		"f", "\t.cfi_startproc\n\t.loc 1 1 1\n" RET
		     "\t.cfi_endproc\n") "\t.section\t.debug_info,\"\",@progbits\n\t.long\t1\n\t.section\t.note.GNU-"
					 "stack,\"\",@progbits\n";
	struct lp_gensrc_input in = input("a.s", text);
	struct outcome r = {0};
	assert_int_equal(lp_gensrc_filter(&in, 0, LP_ASM_PERCENT, &r.out, &r.err), 0);
	assert_has(&r, "\t.file\t\"a.c\"\n");
	assert_has(&r, ".cfi_startproc");
	assert_lacks(&r, ".file 1");
	assert_lacks(&r, ".loc");
	assert_lacks(&r, ".long");
	lp_buf_free(&r.out);
	assert_int_equal(lp_gensrc_filter(&in, LP_FILTER_CFI | LP_FILTER_EMIT_NEWLINES, LP_ASM_PERCENT, &r.out, &r.err),
			 0);
	assert_lacks(&r, ".cfi");
	size_t lines = 0, expected = 0;
	for (const char *p = text_of(&r); *p; p++)
		lines += *p == '\n';
	for (const char *p = text; *p; p++)
		expected += *p == '\n';
	assert_int_equal(lines, expected);
	lp_buf_free(&r.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_files_give_the_original_and_nothing_else),
		cmocka_unit_test(labels_that_are_numbered_anew_are_no_change),
		cmocka_unit_test(comments_and_debug_lines_are_no_change),
		cmocka_unit_test(a_string_that_differs_is_a_change_of_the_function_that_uses_it),
		cmocka_unit_test(a_hash_in_a_string_is_no_comment),
		cmocka_unit_test(a_line_number_that_is_only_told_is_no_change),
		cmocka_unit_test(a_number_that_another_function_gets_is_a_change),
		cmocka_unit_test(a_number_in_another_argument_of_assert_is_a_change),
		cmocka_unit_test(a_jump_table_is_part_of_its_function),
		cmocka_unit_test(a_static_table_of_places_goes_with_the_function),
		cmocka_unit_test(a_cold_part_goes_with_its_function_and_has_no_record),
		cmocka_unit_test(the_address_of_a_changed_function_stays_the_originals),
		cmocka_unit_test(new_global_functions_keep_their_names_and_static_ones_do_not),
		cmocka_unit_test(a_clone_under_another_number_is_the_same_function),
		cmocka_unit_test(static_variables_are_told_apart_by_their_users),
		cmocka_unit_test(state_that_could_be_either_is_refused),
		cmocka_unit_test(an_initial_value_that_changed_is_refused),
		cmocka_unit_test(a_variable_that_grew_is_refused),
		cmocka_unit_test(an_ignored_variable_may_differ),
		cmocka_unit_test(a_constant_that_changed_travels_with_its_users),
		cmocka_unit_test(a_global_constant_that_changed_is_refused),
		cmocka_unit_test(a_new_thread_local_variable_is_refused),
		cmocka_unit_test(contents_that_only_a_start_would_use_are_refused),
		cmocka_unit_test(ignored_functions_do_not_change_and_files_count),
		cmocka_unit_test(an_unlinked_function_is_in_the_patch_and_replaces_nothing),
		cmocka_unit_test(a_function_that_must_be_adapted_needs_its_mark),
		cmocka_unit_test(static_functions_of_the_original_never_become_global),
		cmocka_unit_test(accesses_go_through_the_got_and_leave_everything_else_alone),
		cmocka_unit_test(what_moves_the_stack_pointer_cannot_go_through_the_got),
		cmocka_unit_test(the_other_assembler_has_other_comments),
		cmocka_unit_test(section_anchors_are_refused),
		cmocka_unit_test(files_that_make_no_sense_are_refused_or_passed_over),
		cmocka_unit_test(the_filter_takes_out_debug_information_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
