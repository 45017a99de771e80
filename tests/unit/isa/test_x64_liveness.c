/*
 * What functions change, what is wanted behind a call, and the frame that keeps
 * it.  The code is assembly or C, made into bytes by gcc.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "isa/x64/access.h"
#include "isa/x64/liveness.h"
#include "object.h"

#define BASE UINT64_C(0x400000)

#define RAX X64_BIT(X64_RAX)
#define RCX X64_BIT(X64_RCX)
#define RDX X64_BIT(X64_RDX)
#define RSI X64_BIT(X64_RSI)
#define RDI X64_BIT(X64_RDI)
#define R8 X64_BIT(X64_R8)
#define R9 X64_BIT(X64_R9)
#define R10 X64_BIT(X64_R10)
#define R11 X64_BIT(X64_R11)
#define XMM(n) X64_BIT(X64_XMM0 + (n))

/* ---- code to ask about ---- */

struct source {
	struct object object;
	const uint8_t *text;
	size_t len;
	struct lp_code code;
	struct lp_callee known; /* what callee() says of a direct call */
	bool ends_known;	/* function() answers from the symbols */
};

static const uint8_t *source_bytes(void *arg, lp_addr at, size_t *len)
{
	struct source *s = arg;

	if (at < BASE || at - BASE >= s->len)
		return NULL;
	*len = s->len - (at - BASE);
	return s->text + (at - BASE);
}

static struct lp_callee source_callee(void *arg, lp_addr entry, lp_addr through)
{
	struct source *s = arg;

	return entry ? s->known : (struct lp_callee){.reads = X64_ARGUMENTS, .kills = X64_ALL};
}

static bool source_function(void *arg, lp_addr at, struct lp_range *out)
{
	struct source *s = arg;
	size_t nr;

	if (!s->ends_known)
		return false;
	const Elf64_Sym *syms = object_symbols(&s->object, object_section_of_type(&s->object, SHT_SYMTAB), &nr);

	for (size_t i = 0; i < nr; i++) {
		*out = (struct lp_range){BASE + syms[i].st_value, BASE + syms[i].st_value + syms[i].st_size};
		if (ELF64_ST_TYPE(syms[i].st_info) == STT_FUNC && lp_range_has(*out, at))
			return true;
	}
	return false;
}

static void open_source(struct source *s, const char *path)
{
	s->object = object_open(path);
	const Elf64_Shdr *text = object_section(&s->object, ".text");

	s->text = s->object.bytes + text->sh_offset;
	s->len = text->sh_size;
	s->code = (struct lp_code){source_bytes, source_callee, source_function, s};
	s->known = (struct lp_callee){.reads = 0, .kills = X64_ALL};
}

static void assemble(struct source *s, const char *text)
{
	scratch_write("code.s", text);
	run("gcc -c -o %s %s", scratch_path("code.o"), scratch_path("code.s"));
	open_source(s, scratch_path("code.o"));
}

static void compile(struct source *s, const char *options, const char *text)
{
	scratch_write("code.c", text);
	run("gcc -c %s -o %s %s", options, scratch_path("code.o"), scratch_path("code.c"));
	open_source(s, scratch_path("code.o"));
}

static lp_addr address(const struct source *s, const char *name)
{
	return BASE + object_symbol(&s->object, name)->st_value;
}

static void close_source(struct source *s)
{
	object_close(&s->object);
}

static struct lp_effects effects_of(struct source *s, const char *name)
{
	struct lp_effects e;

	lp_x64_effects(&s->code, address(s, name), &e);
	return e;
}

static struct lp_effects effects_in(const char *text)
{
	struct source s = {0};

	assemble(&s, text);
	struct lp_effects e;

	lp_x64_effects(&s.code, BASE, &e);
	close_source(&s);
	return e;
}

static struct lp_liveness live_in(const char *text, lp_regs among)
{
	struct source s = {0};
	struct lp_liveness live;

	assemble(&s, text);
	lp_x64_live(&s.code, BASE, among, &live);
	close_source(&s);
	return live;
}

static lp_regs read_in(const char *text, lp_regs among)
{
	return live_in(text, among).read;
}

/* ---- effects ---- */

static void effects_are_the_registers_written_on_any_path(void **state)
{
	struct lp_effects e = effects_in("test %edi, %edi\n jz 1f\n mov $1, %ecx\n ret\n"
					 "1: movaps %xmm1, %xmm9\n push %rbx\n mov $1, %ebx\n pop %rbx\n ret\n");

	assert_int_equal(e.writes, RCX | XMM(9));
	assert_false(e.open || e.leaves || e.stack_args);
	assert_int_equal(e.calls.nr, 0);
	assert_int_equal(e.vector_bytes, 16);
	lp_effects_free(&e);
}

static void effects_of_a_loop_end(void **state)
{
	struct lp_effects e = effects_in("1: add $1, %r8\n cmp %rdi, %r8\n jb 1b\n jmp 1b\n");

	assert_int_equal(e.writes, R8);
	assert_false(e.open);
}

static void effects_follow_jumps_into_a_cold_part_and_back(void **state)
{
	struct lp_effects e = effects_in("f: test %edi, %edi\n js cold\n back: mov $1, %edx\n ret\n .skip 64, 0x90\n"
					 "g: mov $2, %r9d\n ret\n"
					 "cold: mov $3, %ecx\n jmp back\n");

	assert_int_equal(e.writes, RCX | RDX);
}

static void effects_list_direct_calls_once_and_admit_indirect_ones(void **state)
{
	struct lp_effects e = effects_in("call a\n call b\n call a\n ret\n a: ret\n b: ret\n");

	assert_int_equal(e.calls.nr, 2);
	assert_false(e.leaves);
	lp_effects_free(&e);
	assert_true(effects_in("call *%rax\n ret\n").leaves);
	assert_true(effects_in("call *8(%rdi)\n ret\n").leaves);
	assert_true(effects_in("jmp *x(%rip)\n x:\n").leaves);
	assert_true(effects_in("endbr64\n bnd jmp *x(%rip)\n x:\n").leaves);
}

static void code_that_cannot_be_followed_is_open(void **state)
{
	assert_true(effects_in("jmp *%rax\n").open);
	assert_true(effects_in(".byte 0x06\n").open);
	assert_true(effects_in("nop\n").open); /* runs off the end */
	assert_true(effects_in("jmp . + 0x1000\n").open);
}

static void a_return_to_an_address_of_its_own_is_open(void **state)
{
	assert_true(effects_in("push %rax\n ret\n").open);
	assert_true(effects_in("mov %rax, (%rsp)\n ret\n").open);
	assert_true(effects_in("sub $8, %rsp\n mov %rax, 8(%rsp)\n add $8, %rsp\n ret\n").open);
	assert_false(effects_in("sub $24, %rsp\n mov %rax, 8(%rsp)\n add $24, %rsp\n ret\n").open);
}

static void a_register_that_is_put_back_is_told_apart(void **state)
{
	assert_int_equal(effects_in("push %rcx\n mov $1, %ecx\n pop %rcx\n ret\n").restored, RCX);
	assert_int_equal(effects_in("mov %rdx, -8(%rsp)\n mov $1, %edx\n mov -8(%rsp), %rdx\n ret\n").restored, RDX);
	assert_int_equal(effects_in("push %rax\n mov $1, %eax\n pop %rcx\n ret\n").restored, 0);
}

static void a_switch_is_followed_into_its_arms_when_the_function_is_known(void **state)
{
	struct source s = {.ends_known = true};

	assemble(&s, ".globl f\n .type f, @function\n f: sub $8, %rsp\n jmp *table(,%rdi,8)\n"
		     " mov $1, %ecx\n add $8, %rsp\n ret\n"
		     " mov $1, %r8d\n mov 16(%rsp), %rdx\n add $8, %rsp\n ret\n .size f, . - f\n"
		     ".globl g\n .type g, @function\n g: mov $1, %r9d\n ret\n .size g, . - g\n .data\n table:\n");
	struct lp_effects e = effects_of(&s, "f");

	assert_int_equal(e.writes, RCX | RDX | R8);
	assert_false(e.open); /* its frame is up: no call in tail position */
	assert_true(e.stack_args);
	s.ends_known = false;
	e = effects_of(&s, "f");
	assert_true(e.open);
	close_source(&s);
}

static void what_follows_a_call_that_does_not_return_is_not_run_into(void **state)
{
	struct source s = {.ends_known = true};

	assemble(&s, ".globl f\n .type f, @function\n f: call die\n .size f, . - f\n"
		     ".globl g\n .type g, @function\n g: mov $1, %r9d\n ret\n .size g, . - g\n"
		     ".globl die\n .type die, @function\n die: hlt\n .size die, . - die\n");
	struct lp_effects e = effects_of(&s, "f");

	assert_int_equal(e.writes, 0);
	lp_effects_free(&e);
	close_source(&s);
}

/* ---- arguments on the stack ---- */

static bool takes_stack(const char *text)
{
	struct lp_effects e = effects_in(text);

	lp_effects_free(&e);
	return e.stack_args;
}

static void arguments_on_the_stack_are_seen(void **state)
{
	assert_true(takes_stack("mov 8(%rsp), %rax\n ret\n"));
	assert_true(takes_stack("sub $24, %rsp\n mov 32(%rsp), %rax\n add $24, %rsp\n ret\n"));
	assert_true(takes_stack("push %rbp\n mov %rsp, %rbp\n mov 16(%rbp), %rax\n pop %rbp\n ret\n"));
	assert_true(takes_stack("lea 8(%rsp), %rax\n ret\n"));
	assert_true(takes_stack("mov %rsp, %rax\n mov 8(%rax), %rax\n ret\n"));
	assert_true(takes_stack("mov 8(%rsp,%rdi,8), %rax\n ret\n"));
	/* a realigned frame with its argument pointer */
	assert_true(
		takes_stack("lea 8(%rsp), %r10\n and $-32, %rsp\n push -8(%r10)\n push %rbp\n mov %rsp, %rbp\n hlt\n"));
}

static void the_functions_own_data_is_not_taken_for_arguments(void **state)
{
	assert_false(takes_stack("mov -8(%rsp), %rax\n ret\n"));
	assert_false(takes_stack("sub $40, %rsp\n mov 8(%rsp), %rax\n lea 32(%rsp), %rdi\n add $40, %rsp\n ret\n"));
	assert_false(takes_stack("push %rbp\n mov %rsp, %rbp\n mov -8(%rbp), %rax\n leave\n ret\n"));
	assert_false(takes_stack(
		"push %rbp\n mov %rsp, %rbp\n and $-32, %rsp\n sub $64, %rsp\n mov 40(%rsp), %rax\n leave\n ret\n"));
	assert_false(takes_stack("push %rbp\n mov %rsp, %rbp\n sub %rdi, %rsp\n mov 8(%rsp), %rax\n leave\n ret\n"));
	assert_false(takes_stack("push %rbp\n lea 1(%rdi), %rbp\n mov 16(%rbp), %rax\n pop %rbp\n ret\n"));
}

static void paths_that_disagree_about_the_stack_are_not_trusted(void **state)
{
	assert_true(takes_stack("test %edi, %edi\n jz 1f\n push %rax\n 1: mov (%rsp), %rcx\n ret\n"));
}

static void the_compilers_functions_are_judged_like_their_prototypes(void **state)
{
	static const char text[] = "#include <stdarg.h>\n"
				   "extern long use(void *, ...);\n"
				   "struct big { long words[4]; };\n"
				   "__attribute__((noipa)) long six(long a, long b, long c, long d, long e, long f) { "
				   "char x[64]; return use(x) + a + f; }\n"
				   "__attribute__((noipa)) long seven(long a, long b, long c, long d, long e, long f, "
				   "long g) { return g; }\n"
				   "__attribute__((noipa)) long by_value(struct big b) { return b.words[2]; }\n"
				   "__attribute__((noipa)) long variadic(long a, ...) { va_list l; va_start(l, a); "
				   "return va_arg(l, long); }\n"
				   "__attribute__((noipa)) long variable(long n) { char x[n]; return use(x); }\n"
				   "__attribute__((noipa)) long aligned(long n) { char x[64] "
				   "__attribute__((aligned(64))); return use(x) + n; }\n"
				   "__attribute__((noipa)) double real(double x) { return x * 2; }\n"
				   "__attribute__((noipa)) long switched(long n, char *p) { char x[32]; switch (n) { "
				   "case 1: return use(x); case 2: *p = 1;"
				   " return 7; case 3: return p[3]; case 4: use(p); return 9; case 5: return *p + 3; "
				   "default: return use(x, p); } }\n";
	static const struct {
		const char *name;
		bool takes;
	} rows[] = {{"six", false},	 {"seven", true},    {"by_value", true}, {"variadic", true},
		    {"variable", false}, {"aligned", false}, {"real", false},	 {"switched", false}};
	static const char *const options[] = {"-O0",
					      "-O1",
					      "-O2",
					      "-O3",
					      "-Os",
					      "-O2 -fno-omit-frame-pointer",
					      "-O2 -mavx2",
					      "-O2 -fcf-protection",
					      "-O2 -fno-stack-protector -mno-red-zone"};

	for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
		struct source s = {.ends_known = true};

		compile(&s, options[k], text);
		for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
			struct lp_effects e = effects_of(&s, rows[i].name);

			if (e.stack_args != rows[i].takes)
				fail_msg("%s: %s is said %sto take arguments on the stack", options[k], rows[i].name,
					 e.stack_args ? "" : "not ");
			lp_effects_free(&e);
		}
		close_source(&s);
	}
}

/* ---- live ---- */

static void a_register_read_before_it_is_written_is_wanted(void **state)
{
	assert_int_equal(read_in("add %rcx, %rax\n ret\n", RCX | RDX), RCX);
	assert_int_equal(read_in("mov $1, %ecx\n add %rcx, %rax\n ret\n", RCX), 0);
	assert_int_equal(read_in("xor %ecx, %ecx\n add %rcx, %rax\n ret\n", RCX), 0);
	assert_int_equal(read_in("mov (%rsi,%r8), %eax\n ret\n", RSI | R8 | R9), RSI | R8);
	assert_int_equal(read_in("push %rcx\n pop %rdx\n ret\n", RCX), RCX);
}

static void a_partial_write_leaves_the_rest_wanted(void **state)
{
	assert_int_equal(read_in("mov $1, %cl\n mov %ecx, %eax\n ret\n", RCX), RCX);
	assert_int_equal(read_in("test %edi, %edi\n cmovz %edx, %ecx\n mov %ecx, %eax\n ret\n", RCX), RCX);
	assert_int_equal(read_in("movhps (%rdi), %xmm3\n movaps %xmm3, (%rsi)\n ret\n", XMM(3)), XMM(3));
}

static void both_sides_of_a_branch_count(void **state)
{
	assert_int_equal(read_in("test %edi, %edi\n jz 1f\n mov $0, %ecx\n 1: add %ecx, %eax\n ret\n", RCX), RCX);
	assert_int_equal(read_in("test %edi, %edi\n jz 1f\n add %ecx, %eax\n 1: ret\n", RCX), RCX);
	assert_int_equal(
		read_in("test %edi, %edi\n jz 1f\n mov $0, %ecx\n jmp 2f\n 1: mov $1, %ecx\n 2: add %ecx, %eax\n ret\n",
			RCX),
		0);
}

static void a_loop_is_walked_until_nothing_is_new(void **state)
{
	/* rcx is written on the first way through the head only */
	assert_int_equal(read_in("1: dec %edi\n jz 2f\n mov $1, %edx\n jmp 1b\n 2: add %edx, %ecx\n ret\n", RCX | RDX),
			 RCX | RDX);
	assert_int_equal(read_in("1: jmp 1b\n", RCX), 0);
}

static void a_return_lets_unwritten_registers_escape(void **state)
{
	struct lp_liveness live =
		live_in("test %edi, %edi\n jz 1f\n mov $1, %ecx\n ret\n 1: mov $1, %edx\n ret\n", RCX | RDX | RSI);

	assert_int_equal(live.read, 0);
	assert_int_equal(live.escapes, RCX | RDX | RSI);
	assert_int_equal(live_in("mov $1, %ecx\n ret\n", RCX).escapes, 0);
	assert_int_equal(live_in("ud2\n", RCX).escapes, 0);
}

static void a_call_takes_its_arguments_and_destroys_the_rest(void **state)
{
	struct lp_liveness live = live_in("call *%rbx\n add %r11, %rax\n ret\n", RCX | R11 | XMM(0) | XMM(9));

	assert_int_equal(live.read, RCX | XMM(0));
	assert_int_equal(live.escapes, 0);
}

static void a_register_survives_a_callee_that_leaves_it_alone(void **state)
{
	struct source s = {.known = {0}};
	struct lp_liveness live;

	assemble(&s, "call f\n add %rcx, %rax\n ret\n f: ret\n");
	s.known = (struct lp_callee){.kills = RAX, .reads = RDI};
	lp_x64_live(&s.code, BASE, RCX | RDI | RSI | RAX, &live);
	assert_int_equal(live.read, RCX | RDI);
	assert_int_equal(live.escapes, RSI);
	close_source(&s);
}

static void vectors_are_arguments_of_a_variadic_call_only_when_al_says_so(void **state)
{
	static const char prologue[] = "sub $0x28, %rsp\n test %al, %al\n je 1f\n movaps %xmm0, (%rsp)\n"
				       "1: mov %rdi, 8(%rsp)\n movaps %xmm1, 16(%rsp)\n hlt\n";
	struct lp_liveness live = live_in(prologue, X64_ARGUMENTS);

	assert_int_equal(live.read, RAX | RDI);
	assert_int_equal(live.if_told, XMM(0) | XMM(1));

	struct source s = {0};

	assemble(&s, "mov $0, %edi\n xor %eax, %eax\n call f\n ret\n f: ret\n");
	s.known = (struct lp_callee){.reads = RAX | RDI, .if_told = XMM(0), .kills = X64_ALL};
	lp_x64_live(&s.code, BASE, XMM(0) | RDI, &live);
	assert_int_equal(live.read, 0);
	close_source(&s);

	assemble(&s, "mov $0, %edi\n test %esi, %esi\n jz 1f\n xor %eax, %eax\n 1: call f\n ret\n f: ret\n");
	s.known = (struct lp_callee){.reads = RAX | RDI, .if_told = XMM(0), .kills = X64_ALL};
	lp_x64_live(&s.code, BASE, XMM(0) | RDI, &live);
	assert_int_equal(live.read, XMM(0)); /* on one of the ways al is unknown */
	close_source(&s);
}

static void a_computed_jump_may_lead_to_any_instruction_of_the_function(void **state)
{
	struct source s = {.ends_known = true};
	struct lp_liveness live;

	assemble(&s,
		 ".globl f\n .type f, @function\n f: jmp *%rax\n mov $1, %ecx\n add %rcx, %rdx\n ret\n .size f, . - f\n"
		 ".globl g\n .type g, @function\n g: add %r9, %rax\n ret\n .size g, . - g\n");
	lp_x64_live(&s.code, BASE, RCX | RDX | XMM(12) | X64_BIT(X64_K0 + 1), &live);
	assert_int_equal(live.read & (RCX | RDX), RCX | RDX);
	assert_int_equal(live.read & (XMM(12) | X64_BIT(X64_K0 + 1)), 0);
	s.ends_known = false;
	lp_x64_live(&s.code, BASE, RCX | XMM(12), &live);
	assert_int_equal(live.read, RCX | XMM(12));
	close_source(&s);
}

static void what_does_not_decode_wants_everything(void **state)
{
	assert_int_equal(read_in("mov $1, %ecx\n .byte 0x06\n", RCX | RDX), RDX);
	assert_int_equal(read_in("jmp . + 0x100000\n", RCX), RCX);
}

static void random_bytes_are_answered(void **state)
{
	struct source s = {.len = 4096};
	uint8_t bytes[4096];

	srandom(7);
	s.text = bytes;
	s.code = (struct lp_code){source_bytes, source_callee, source_function, &s};
	s.known = (struct lp_callee){.kills = RAX};
	for (unsigned round = 0; round < 300; round++) {
		struct lp_effects e;
		struct lp_liveness live;

		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)random();
		lp_x64_effects(&s.code, BASE, &e);
		lp_effects_free(&e);
		lp_x64_live(&s.code, BASE, X64_ALL, &live);
		assert_int_equal((live.read | live.escapes) & ~X64_ALL, 0);
		assert_int_equal(lp_x64_defined(&s.code, BASE, BASE + 8) & ~X64_ALL, 0);
	}
}

/* ---- the example that started it ---- */

static void gcc_keeps_the_fourth_argument_of_printf_across_a_call_of_a_modest_function(void **state)
{
	struct source s = {.ends_known = true};
	struct lp_liveness live;
	struct lp_effects leaf;

	/* The assembler resolves the call of a static function; that of printf stays without a target. */
	compile(&s, "-O2 -fno-pic",
		"extern int printf(const char *, ...); extern char *volatile str_P;\n"
		"__attribute__((noinline)) static int func_J(int n) { return n * 2; }\n"
		"int f(int n) { return printf(\"%d %d %s\", n, func_J(n), str_P) + 1; }\n");
	leaf = effects_of(&s, "func_J");
	assert_int_equal(leaf.writes, RAX);

	/* The return address: behind the only call of func_J. */
	lp_addr at = address(&s, "f"), behind = 0;
	struct lp_x64_access in;

	for (; !behind; at += in.len) {
		assert_true(lp_x64_access(s.text + (at - BASE), s.len - (at - BASE), at, &in));
		if (in.flow == X64_CALL && in.target == address(&s, "func_J"))
			behind = at + in.len;
	}
	s.known = (struct lp_callee){.reads = X64_ARGUMENTS & X64_GENERAL, .kills = X64_ALL};
	lp_x64_live(&s.code, behind, RCX | RSI | R11, &live);
	assert_true(live.read & RCX);
	assert_false(live.read & R11);
	close_source(&s);
}

/* ---- defined ---- */

static lp_regs defined_at(const char *text, const char *place)
{
	struct source s = {0};

	assemble(&s, text);
	lp_regs found = lp_x64_defined(&s.code, BASE, address(&s, place));

	close_source(&s);
	return found;
}

static void at_the_entry_arguments_are_defined(void **state)
{
	assert_int_equal(defined_at("nop\n .globl x\n x: ret\n", "x"), X64_ARGUMENTS);
	assert_int_equal(defined_at("mov %rdi, %r11\n .globl x\n x: ret\n", "x"), X64_ARGUMENTS | R11);
}

static void behind_a_call_only_results_are_defined_and_what_is_written_then(void **state)
{
	assert_int_equal(defined_at("call *%rbx\n mov $1, %r8d\n .globl x\n x: ret\n", "x"), X64_RESULTS | R8);
	assert_int_equal(defined_at("mov $1, %r8d\n call *%rbx\n .globl x\n x: ret\n", "x"), X64_RESULTS);
}

static void what_is_defined_on_one_way_counts(void **state)
{
	assert_int_equal(
		defined_at(
			"call *%rbx\n 1: test %eax, %eax\n jz 2f\n .globl x\n x: mov $1, %r9d\n 2: dec %eax\n jmp 1b\n",
			"x"),
		X64_RESULTS | R9);
}

static void a_place_that_is_not_reached_or_behind_a_switch_may_hold_anything(void **state)
{
	assert_int_equal(defined_at("ret\n .globl x\n x: ret\n", "x"), X64_ALL);
	assert_int_equal(defined_at("call *%rbx\n jmp *%rax\n .globl x\n x: ret\n", "x"), X64_ALL);
}

/* ---- branches ---- */

struct found {
	struct lp_branch all[16];
	size_t nr;
};

static void collect(void *arg, const struct lp_branch *b)
{
	struct found *f = arg;

	assert_in_range(f->nr, 0, 15);
	f->all[f->nr++] = *b;
}

static void direct_branches_are_found_in_every_shape(void **state)
{
	static const uint8_t code[] = {0xe8, 0x00, 0x01, 0x00, 0x00,	   /* 00 call +0x100	*/
				       0xf2, 0xe9, 0xfb, 0xff, 0xff, 0xff, /* 05 bnd jmp 6	*/
				       0x0f, 0x84, 0x10, 0x00, 0x00, 0x00, /* 0b je 0x21	*/
				       0xeb, 0xfe,			   /* 11 jmp 0x11	*/
				       0x75, 0x02,			   /* 13 jne 0x17	*/
				       0xe8, 0x00};			   /* cut off		*/
	struct found f = {0};

	lp_x64_branches(code, sizeof code, 0x1000, false, collect, &f);
	assert_int_equal(f.nr, 3);
	assert_int_equal(f.all[0].target, 0x1105);
	assert_true(f.all[0].is_call);
	assert_int_equal(f.all[1].at, 0x1006);
	assert_int_equal(f.all[1].target, 0x1006);
	assert_false(f.all[1].is_call);
	assert_int_equal(f.all[2].target, 0x1021);
	assert_int_equal(f.all[2].end, 0x1011);

	f.nr = 0;
	lp_x64_branches(code, sizeof code, 0x1000, true, collect, &f);
	assert_int_equal(f.nr, 5);
	assert_int_equal(f.all[3].target, 0x1011);
	assert_int_equal(f.all[4].target, 0x1017);
}

/* ---- preserve ---- */

/* Registers around a call, as the test sees them. */
struct regs {
	uint64_t general[9]; /* in the order of the bits */
	uint8_t vectors[16][32];
};

/* Not static: the assembly writes them. */
struct regs before, inside, after;
uint64_t alignment;

__asm__(".pushsection .text\n"
	".macro load_general from\n"
	" mov \\from+8(%rip), %rcx\n mov \\from+16(%rip), %rdx\n mov \\from+24(%rip), %rsi\n mov \\from+32(%rip), "
	"%rdi\n"
	" mov \\from+40(%rip), %r8\n mov \\from+48(%rip), %r9\n mov \\from+56(%rip), %r10\n mov \\from+64(%rip), %r11\n"
	" mov \\from(%rip), %rax\n"
	".endm\n"
	".macro save_general to\n"
	" mov %rax, \\to(%rip)\n mov %rcx, \\to+8(%rip)\n mov %rdx, \\to+16(%rip)\n mov %rsi, \\to+24(%rip)\n"
	" mov %rdi, \\to+32(%rip)\n mov %r8, \\to+40(%rip)\n mov %r9, \\to+48(%rip)\n mov %r10, \\to+56(%rip)\n"
	" mov %r11, \\to+64(%rip)\n"
	".endm\n"
	".macro all_vectors insn, mem, suffix\n"
	" .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n \\insn \\mem+72+32*\\n(%rip), %\\suffix\\()mm\\n\n .endr\n"
	".endm\n"
	".macro save_vectors insn, mem, suffix\n"
	" .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n \\insn %\\suffix\\()mm\\n, \\mem+72+32*\\n(%rip)\n .endr\n"
	".endm\n"
	/* Calls *rdi with the registers of `before`, and notes them in `after`. */
	".macro caller name, insn, suffix, end\n"
	"\\name:\n"
	" push %rbp\n push %rbx\n sub $8, %rsp\n mov %rdi, %rbx\n mov %rsp, %rbp\n"
	" load_general before\n all_vectors \\insn, before, \\suffix\n"
	" call *%rbx\n"
	" save_general after\n save_vectors \\insn, after, \\suffix\n \\end\n"
	" cmp %rsp, %rbp\n mov $0, %eax\n sete %al\n"
	" add $8, %rsp\n pop %rbx\n pop %rbp\n ret\n"
	".endm\n"
	/* Notes what it is given in `inside`, then loses everything. */
	".macro callee name, insn, suffix, loss\n"
	"\\name:\n"
	" mov %rsp, alignment(%rip)\n save_general inside\n save_vectors \\insn, inside, \\suffix\n"
	" mov $-1, %rax\n mov %rax, %rcx\n mov %rax, %rdx\n mov %rax, %rsi\n mov %rax, %rdi\n mov %rax, %r8\n mov "
	"%rax, %r9\n"
	" mov %rax, %r10\n mov %rax, %r11\n \\loss\n ret\n"
	".endm\n"
	".macro lose_xmm\n .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n pcmpeqd %xmm\\n, %xmm\\n\n .endr\n .endm\n"
	"caller call_sse, movups, x, \"\"\n"
	"caller call_avx, vmovups, y, vzeroupper\n"
	"callee lose_sse, movups, x, lose_xmm\n"
	"callee lose_avx, vmovups, y, vzeroall\n"
	".popsection\n");

extern bool call_sse(void *function), call_avx(void *function);
extern const uint8_t lose_sse[], lose_avx[];

static void fill(struct regs *r)
{
	uint8_t *bytes = (uint8_t *)r;

	for (size_t i = 0; i < sizeof *r; i++)
		bytes[i] = (uint8_t)(random() % 255); /* 255 is what is lost */
}

static void check_preserved(uint8_t *room, lp_regs keep, unsigned bytes)
{
	const bool wide = bytes == 32;
	size_t len = lp_x64_preserve(room, (lp_addr)(uintptr_t)room, (lp_addr)(uintptr_t)(wide ? lose_avx : lose_sse),
				     keep, bytes);

	assert_in_range(len, 1, LP_PRESERVE_MAX);
	assert_int_equal(len % 8, 0);
	fill(&before);
	memset(&after, 0, sizeof after);
	assert_true(wide ? call_avx(room) : call_sse(room));
	assert_memory_equal(before.general, inside.general, sizeof before.general);
	assert_int_equal(alignment % 16, 8);
	for (unsigned i = 0; i < 9; i++) {
		if (keep & X64_BIT(i))
			assert_int_equal(after.general[i], before.general[i]);
		else
			assert_int_equal(after.general[i], UINT64_MAX);
	}
	for (unsigned i = 0; i < 16; i++) {
		assert_memory_equal(before.vectors[i], inside.vectors[i], bytes);
		if (keep & XMM(i))
			assert_memory_equal(after.vectors[i], before.vectors[i], bytes);
		else
			assert_memory_not_equal(after.vectors[i], before.vectors[i], bytes);
	}
}

static uint8_t *executable_page(void)
{
	uint8_t *room = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(room != MAP_FAILED);
	return room;
}

static const lp_regs testable = X64_GENERAL | UINT64_C(0xffff) << X64_XMM0;

static void any_set_of_registers_survives_a_call_and_the_callee_gets_its_arguments(void **state)
{
	uint8_t *room = executable_page();

	srandom(3);
	for (unsigned i = 0; i < 25; i++)
		check_preserved(room, X64_BIT(i), 16);
	for (unsigned round = 0; round < 500; round++)
		check_preserved(room, (lp_regs)random() & testable, 16);
	check_preserved(room, testable, 16);
	munmap(room, 4096);
}

static void the_upper_halves_survive_when_they_are_wanted(void **state)
{
	uint8_t *room = executable_page();

	if (!__builtin_cpu_supports("avx"))
		skip();
	srandom(4);
	for (unsigned i = 0; i < 25; i++)
		check_preserved(room, X64_BIT(i), 32);
	for (unsigned round = 0; round < 500; round++)
		check_preserved(room, (lp_regs)random() & testable, 32);
	munmap(room, 4096);
}

static void wide_vectors_are_stored_with_the_instructions_of_avx512(void **state)
{
	uint8_t room[LP_PRESERVE_MAX];
	char text[96];
	static const struct {
		lp_regs keep;
		const char *store;
	} rows[] = {
		{XMM(1), "vmovups zmmword ptr [rsp], zmm1"},
		{XMM(9), "vmovups zmmword ptr [rsp], zmm9"},
		{XMM(17), "vmovups zmmword ptr [rsp], zmm17"},
		{XMM(31), "vmovups zmmword ptr [rsp], zmm31"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_true(lp_x64_preserve(room, 0, 0, rows[i].keep, 64) > 0);
		/* push rbp; mov rbp, rsp; sub rsp, imm32 come first */
		assert_int_equal(lp_x64_disasm(room + 11, sizeof room - 11, 0, text, sizeof text), 11);
		assert_string_equal(text, rows[i].store);
	}
	assert_true(lp_x64_preserve(room, 0, 0, X64_GENERAL | X64_VECTORS, 64) <= LP_PRESERVE_MAX);
}

static void mask_registers_cannot_be_kept(void **state)
{
	uint8_t room[LP_PRESERVE_MAX];

	assert_int_equal(lp_x64_preserve(room, 0, 0, X64_BIT(X64_K0 + 2) | RCX, 16), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(effects_are_the_registers_written_on_any_path),
		cmocka_unit_test(effects_of_a_loop_end),
		cmocka_unit_test(effects_follow_jumps_into_a_cold_part_and_back),
		cmocka_unit_test(effects_list_direct_calls_once_and_admit_indirect_ones),
		cmocka_unit_test(code_that_cannot_be_followed_is_open),
		cmocka_unit_test(a_return_to_an_address_of_its_own_is_open),
		cmocka_unit_test(a_register_that_is_put_back_is_told_apart),
		cmocka_unit_test(a_switch_is_followed_into_its_arms_when_the_function_is_known),
		cmocka_unit_test(what_follows_a_call_that_does_not_return_is_not_run_into),
		cmocka_unit_test(arguments_on_the_stack_are_seen),
		cmocka_unit_test(the_functions_own_data_is_not_taken_for_arguments),
		cmocka_unit_test(paths_that_disagree_about_the_stack_are_not_trusted),
		cmocka_unit_test(the_compilers_functions_are_judged_like_their_prototypes),
		cmocka_unit_test(a_register_read_before_it_is_written_is_wanted),
		cmocka_unit_test(a_partial_write_leaves_the_rest_wanted),
		cmocka_unit_test(both_sides_of_a_branch_count),
		cmocka_unit_test(a_loop_is_walked_until_nothing_is_new),
		cmocka_unit_test(a_return_lets_unwritten_registers_escape),
		cmocka_unit_test(a_call_takes_its_arguments_and_destroys_the_rest),
		cmocka_unit_test(a_register_survives_a_callee_that_leaves_it_alone),
		cmocka_unit_test(vectors_are_arguments_of_a_variadic_call_only_when_al_says_so),
		cmocka_unit_test(a_computed_jump_may_lead_to_any_instruction_of_the_function),
		cmocka_unit_test(what_does_not_decode_wants_everything),
		cmocka_unit_test(random_bytes_are_answered),
		cmocka_unit_test(gcc_keeps_the_fourth_argument_of_printf_across_a_call_of_a_modest_function),
		cmocka_unit_test(at_the_entry_arguments_are_defined),
		cmocka_unit_test(behind_a_call_only_results_are_defined_and_what_is_written_then),
		cmocka_unit_test(what_is_defined_on_one_way_counts),
		cmocka_unit_test(a_place_that_is_not_reached_or_behind_a_switch_may_hold_anything),
		cmocka_unit_test(direct_branches_are_found_in_every_shape),
		cmocka_unit_test(any_set_of_registers_survives_a_call_and_the_callee_gets_its_arguments),
		cmocka_unit_test(the_upper_halves_survive_when_they_are_wanted),
		cmocka_unit_test(wide_vectors_are_stored_with_the_instructions_of_avx512),
		cmocka_unit_test(mask_registers_cannot_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
