/*
 * One access to a variable, made through the GOT.
 *
 * A variable that a library defines may be anywhere; code that is not position independent reaches it at a fixed
 * distance only because the linker copies it into the program.  A patch comes too late for that.  The address is in the
 * GOT, so
 *
 *     movl  x(%rip), %eax    ->  movq x@GOTPCREL(%rip), %rax; movl (%rax), %eax
 *     leaq  x+8(%rip), %rdi  ->  movq x@GOTPCREL(%rip), %rdi; leaq 8(%rdi), %rdi
 *     call  *x(%rip)         ->  movq x@GOTPCREL(%rip), %r11; call *(%r11)
 *
 * where the result's register is dead anyway (%r11 is, at a call), and else a register is put on the stack for the
 * moment, *below the red zone*, by instructions that leave the flags alone:
 *
 *     addl  $1, x(%rip)      ->  leaq -128(%rsp), %rsp; pushq %r11; movq x@GOTPCREL(%rip), %r11
 *                                addl $1, (%r11)
 *                                movq (%rsp), %r11; leaq 136(%rsp), %rsp
 *
 * Unwind tables are not adjusted for these few instructions: none of them calls or throws.
 */
#include "build/gensrc_private.h"

#include <string.h>

#define MAX_OPERANDS 6

struct instruction {
	struct span mnemonic;
	struct span operands[MAX_OPERANDS];
	size_t nr;
};

struct access {
	size_t operand;
	struct span symbol, offset; /* of "*x+8(%rip)": x, +8 */
	bool indirect;		    /* the star */
};

static bool split(struct span st, struct instruction *in)
{
	*in = (struct instruction){.mnemonic = asm_mnemonic(st)};
	size_t start = in->mnemonic.n, depth = 0;
	for (size_t i = start; i <= st.n; i++) {
		if (i < st.n && st.s[i] == '(')
			depth++;
		else if (i < st.n && st.s[i] == ')' && depth)
			depth--;
		if (i < st.n && (st.s[i] != ',' || depth))
			continue;
		struct span operand = span_trim((struct span){st.s + start, i - start});
		if (operand.n && in->nr == MAX_OPERANDS)
			return false;
		if (operand.n)
			in->operands[in->nr++] = operand;
		start = i + 1;
	}
	return true;
}

static bool in_symbol(char c)
{
	return c == '_' || c == '.' || c == '$' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

static size_t symbol_length(struct span a)
{
	size_t n = 0;
	while (n < a.n && in_symbol(a.s[n]))
		n++;
	return n;
}

static bool find_access(const struct instruction *in, struct access *out)
{
	for (size_t i = 0; i < in->nr; i++) {
		struct span a = in->operands[i];
		if (!span_ends(a, "(%rip)"))
			continue;
		a.n -= strlen("(%rip)");
		*out = (struct access){.operand = i, .indirect = a.n && a.s[0] == '*'};
		if (out->indirect)
			a = (struct span){a.s + 1, a.n - 1};
		size_t n = symbol_length(a);
		out->symbol = (struct span){a.s, n};
		out->offset = (struct span){a.s + n, a.n - n};
		return n && !(a.s[0] >= '0' && a.s[0] <= '9') && !memchr(out->offset.s, '@', out->offset.n);
	}
	return false;
}

/* The 64-bit register that a 32- or 64-bit general register is part of; NULL for any other. */
static const char *whole_register(struct span reg)
{
	static const char *const names[][2] = {
		{"%rax", "%eax"},  {"%rbx", "%ebx"},  {"%rcx", "%ecx"},	 {"%rdx", "%edx"},  {"%rsi", "%esi"},
		{"%rdi", "%edi"},  {"%rbp", "%ebp"},  {"%r8", "%r8d"},	 {"%r9", "%r9d"},   {"%r10", "%r10d"},
		{"%r11", "%r11d"}, {"%r12", "%r12d"}, {"%r13", "%r13d"}, {"%r14", "%r14d"}, {"%r15", "%r15d"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (span_is(reg, names[i][0]) || span_is(reg, names[i][1]))
			return names[i][0];
	return NULL;
}

static void load_address(struct lp_buf *out, const struct access *a, const char *reg)
{
	lp_buf_printf(out, "movq %.*s@GOTPCREL(%%rip), %s\n", SPAN_FMT(a->symbol), reg);
}

/* The instruction with its access at offset(reg). */
static void access_at(struct lp_buf *out, const struct instruction *in, const struct access *a, const char *reg)
{
	struct span offset = a->offset;
	if (offset.n && offset.s[0] == '+')
		offset = (struct span){offset.s + 1, offset.n - 1};
	lp_buf_printf(out, "%.*s ", SPAN_FMT(in->mnemonic));
	for (size_t i = 0; i < in->nr; i++) {
		lp_buf_str(out, i ? ", " : "");
		if (i == a->operand)
			lp_buf_printf(out, "%s%.*s(%s)", a->indirect ? "*" : "", SPAN_FMT(offset), reg);
		else
			lp_buf_printf(out, "%.*s", SPAN_FMT(in->operands[i]));
	}
	lp_buf_str(out, "\n");
}

static bool is_one_of(struct span a, const char *const *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (span_is(a, names[i]))
			return true;
	return false;
}

/* Loads that write the whole of a general register and read nothing of it. */
static const char *const plain_loads[] = {
	"mov",	  "movl",   "movq",   "movzbl", "movzwl", "movsbl",  "movswl",
	"movsbq", "movswq", "movslq", "movzbq", "movzwq", "movabsq",
};

static const char *const branches[] = {"call", "callq", "jmp", "jmpq", "notrack"};

/* They use the stack pointer without naming it, or do not come back. */
static bool uses_stack(struct span mnemonic)
{
	static const char *const prefixes[] = {"push",	"pop",	 "call", "ret",	   "jmp",
					       "enter", "leave", "iret", "syscall"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(prefixes); i++)
		if (span_starts(mnemonic, prefixes[i]))
			return true;
	return false;
}

static bool names_register(struct span st, const char *number)
{
	return memmem(st.s, st.n, number, strlen(number));
}

static bool with_saved_register(struct span st, const struct instruction *in, const struct access *a,
				struct lp_buf *out)
{
	static const char *const spare[] = {"%r11", "%r10", "%r9", "%r8"};
	if (uses_stack(in->mnemonic) || names_register(st, "%rsp") || names_register(st, "%esp") ||
	    names_register(st, "%sp"))
		return false;
	for (size_t i = 0; i < LP_ARRAY_SIZE(spare); i++) {
		if (names_register(st, spare[i]))
			continue;
		lp_buf_printf(out, "leaq -128(%%rsp), %%rsp\npushq %s\n", spare[i]);
		load_address(out, a, spare[i]);
		access_at(out, in, a, spare[i]);
		lp_buf_printf(out, "movq (%%rsp), %s\nleaq 136(%%rsp), %%rsp\n", spare[i]);
		return true;
	}
	return false;
}

bool asm_through_got(struct span st, bool (*wanted)(void *arg, struct span symbol), void *arg, struct lp_buf *out)
{
	struct instruction in;
	struct access a;
	if (!split(st, &in) || !find_access(&in, &a) || !wanted(arg, a.symbol)) {
		lp_buf_printf(out, "%.*s\n", SPAN_FMT(st));
		return true;
	}
	const char *result = in.nr == 2 && a.operand == 0 ? whole_register(in.operands[1]) : NULL;
	if (result && (span_is(in.mnemonic, "leaq") || span_is(in.mnemonic, "lea"))) {
		load_address(out, &a, result);
		if (a.offset.n)
			access_at(out, &in, &a, result);
		return true;
	}
	if (result && is_one_of(in.mnemonic, plain_loads, LP_ARRAY_SIZE(plain_loads))) {
		load_address(out, &a, result);
		access_at(out, &in, &a, result);
		return true;
	}
	if (a.indirect && in.nr == 1 && is_one_of(in.mnemonic, branches, LP_ARRAY_SIZE(branches))) {
		load_address(out, &a, "%r11");
		access_at(out, &in, &a, "%r11");
		return true;
	}
	return with_saved_register(st, &in, &a, out);
}
