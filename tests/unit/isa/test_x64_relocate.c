/*
 * Moved instructions: what they become, which are refused, and what they do
 * when they run in this process.
 */
#include "moved.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"

#define FROM UINT64_C(0x401000)
#define NEAR UINT64_C(0x500000)
#define FAR UINT64_C(0x7f0000000000)

static const struct lp_isa *const isa = &lp_isa_x64;

/* The function is all of the bytes; `need` of them leave for `to`. */
#define MOVE(to_, need_, ...)                                                                     \
	(struct lp_move_request)                                                                  \
	{                                                                                         \
		.from = FROM, .code = (const uint8_t[]){__VA_ARGS__},                             \
		.code_len = sizeof((const uint8_t[]){__VA_ARGS__}), .need = (need_), .to = (to_), \
		.room = LP_MOVED_MAX,                                                             \
	}

static struct lp_move_request in_function(struct lp_move_request req)
{
	req.function = req.from;
	req.function_code = req.code;
	req.function_size = req.code_len;
	return req;
}

/* The copy in the disassembler's words, lines ended by '\n', up to `end`. */
static void assert_text_to(const struct lp_moved *m, lp_addr to, size_t end, const char *expected)
{
	char all[2048] = "";
	size_t offset = 0, used = 0;

	while (offset < end) {
		char text[96];
		size_t len = isa->disasm(m->bytes + offset, m->len - offset, to + offset, text, sizeof text);

		assert_true(len > 0);
		used += (size_t)snprintf(all + used, sizeof all - used, "%s\n", text);
		offset += len;
	}
	assert_string_equal(all, expected);
	assert_int_equal(offset, end);
}

static void assert_text(const struct lp_moved *m, lp_addr to, const char *expected)
{
	assert_text_to(m, to, m->len, expected);
}

/* ---- which instructions leave ---- */

static void whole_instructions_leave_until_the_jump_fits(void **state)
{
	/* push rbp; mov rbp,rsp; push r12; push rbx */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x55, 0x48, 0x89, 0xe5, 0x41, 0x54, 0x53));

	assert_int_equal(m.taken, 6);
	assert_text(&m, NEAR, "push rbp\nmov rbp, rsp\npush r12\njmp 0x401006\n");
	assert_map(&m, {0, 0}, {1, 1}, {4, 4}, {6, 6});
}

static void behind_a_return_only_padding_may_leave(void **state)
{
	/* xor eax,eax; ret; nopw 0(rax,rax) */
	struct lp_moved m = moved(in_function(MOVE(NEAR, 5, 0x31, 0xc0, 0xc3, 0x66, 0x0f, 0x1f, 0x44, 0, 0)));

	assert_int_equal(m.taken, 9);
	assert_text(&m, NEAR, "xor eax, eax\nret\n");
	assert_map(&m, {0, 0}, {2, 2}, {9, 3});
	m = moved(MOVE(NEAR, 5, 0xf3, 0xc3, 0xcc, 0xcc, 0xcc));
	assert_int_equal(m.taken, 5);
	assert_text(&m, NEAR, "ret\n");
	refused(MOVE(NEAR, 5, 0x31, 0xc0, 0xc3, 0x55, 0x53), LP_ETOOSHORT);
	refused(MOVE(NEAR, 5, 0x31, 0xc0, 0xc3, 0x90), LP_ETOOSHORT);
}

static void code_behind_a_return_leaves_when_a_branch_before_it_goes_there(void **state)
{
	/* test edi,edi; jne +1; ret; push rbx */
	struct lp_moved m = moved(in_function(MOVE(NEAR, 6, 0x85, 0xff, 0x75, 0x01, 0xc3, 0x53)));

	assert_int_equal(m.taken, 6);
	assert_text(&m, NEAR, "test edi, edi\njnz 0x500009\nret\npush rbx\njmp 0x401006\n");
	assert_map(&m, {0, 0}, {2, 2}, {4, 8}, {5, 9}, {6, 10});
}

static void an_abort_outside_of_a_transaction_goes_on(void **state)
{
	/* mov rdx,rdi; xabort $0xfd: how glibc leaves an elided lock */
	struct lp_moved m = moved(in_function(MOVE(NEAR, 5, 0x48, 0x89, 0xfa, 0xc6, 0xf8, 0xfd, 0x53)));

	assert_int_equal(m.taken, 6);
	assert_text(&m, NEAR, "mov rdx, rdi\nxabort 0xfd\njmp 0x401006\n");
}

static void code_does_not_leave_past_the_functions_end(void **state)
{
	struct lp_move_request req = in_function(MOVE(NEAR, 5, 0x31, 0xc0, 0x53, 0x55, 0x57));

	req.function_size = 3;
	assert_int_equal(refused(req, LP_ETOOSHORT).addr, FROM + 3);
	req = in_function(MOVE(NEAR, 5, 0x31, 0xc0, 0x53, 0x90, 0x90));
	req.function_size = 3;
	assert_int_equal(moved(req).taken, 5);
}

static void bytes_that_do_not_decode_are_refused(void **state)
{
	assert_int_equal(refused(MOVE(NEAR, 5, 0x55, 0x06, 0, 0, 0), LP_EENCODING).addr, FROM + 1);
	refused(MOVE(NEAR, 5, 0x48, 0xb8, 1, 2, 3), LP_EENCODING);	    /* cut */
	refused(MOVE(NEAR, 5, 0x55, 0xcc, 0x53, 0x53, 0x53), LP_EENCODING); /* a breakpoint */
	refused(MOVE(NEAR, 5, 0xff, 0x1d, 0, 0, 0, 0), LP_EENCODING);	    /* lcall *0(%rip) */
	refused(MOVE(NEAR, 5, 0x66, 0xe9, 0, 0, 0, 0), LP_EENCODING);	    /* data16 jmp */
	refused(MOVE(NEAR, 5, 0x67, 0x8b, 0x05, 0, 0, 0, 0), LP_EENCODING); /* mov 0(%eip),%eax */
}

static void there_are_limits_to_number_and_room(void **state)
{
	uint8_t pushes[LP_MOVE_MAX + 1];
	struct lp_move_request req = {.from = FROM, .code = pushes, .code_len = sizeof pushes, .to = NEAR};

	memset(pushes, 0x53, sizeof pushes);
	req.need = LP_MOVE_MAX;
	req.room = LP_MOVE_MAX + 5;
	assert_int_equal(moved(req).len, LP_MOVE_MAX + 5);
	req.room--;
	refused(req, LP_ERANGE);
	req.room = SIZE_MAX;
	req.need++;
	refused(req, LP_ERANGE);
}

/* ---- memory relative to rip ---- */

static void a_displacement_counts_from_the_new_place(void **state)
{
	/* cmp dword [rip+0x1000], 7 ; mov rax,[rip-4] */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x83, 0x3d, 0x00, 0x10, 0, 0, 0x07));

	assert_text(&m, NEAR, "cmp dword ptr [0x402007], 0x7\njmp 0x401007\n");
	m = moved(MOVE(NEAR, 5, 0x48, 0x8b, 0x05, 0x00, 0x10, 0, 0));
	assert_text(&m, NEAR, "mov rax, [0x402007]\njmp 0x401007\n");
}

static void memory_out_of_reach_goes_through_a_register_that_is_not_used(void **state)
{
	/* add rax, [rip+0x1000] */
	struct lp_moved m = moved(MOVE(FAR, 5, 0x48, 0x03, 0x05, 0x00, 0x10, 0, 0));

	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rcx\nmov rcx, 0x402007\nadd rax, [rcx]\npop rcx\nlea rsp, [rsp+0x80]\n");
	/* cmp qword ptr [rip+0x1000], -1: the immediate stays behind */
	m = moved(MOVE(FAR, 5, 0x48, 0x83, 0x3d, 0x00, 0x10, 0, 0, 0xff));
	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rax\nmov rax, 0x402008\ncmp qword ptr [rax], 0xffffffffffffffff\npop rax\n"
		"lea rsp, [rsp+0x80]\n");
	/* cmpxchg16b [rip+0x1000] uses rax, rbx, rcx, rdx */
	m = moved(MOVE(FAR, 5, 0x48, 0x0f, 0xc7, 0x0d, 0x00, 0x10, 0, 0));
	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rsi\nmov rsi, 0x402008\ncmpxchg16b [rsi]\npop rsi\nlea rsp, [rsp+0x80]\n");
	/* vmovaps ymm9, [rip+0x1000] with VEX of 2 and of 3 bytes, and EVEX zmm17 */
	m = moved(MOVE(FAR, 5, 0xc5, 0x7c, 0x28, 0x0d, 0x00, 0x10, 0, 0));
	assert_text_to(&m, FAR, m.map[1].to,
		       "lea rsp, [rsp-0x80]\npush rax\nmov rax, 0x402008\nvmovaps ymm9, [rax]\npop rax\nlea rsp, "
		       "[rsp+0x80]\n");
	m = moved(MOVE(FAR, 5, 0xc4, 0x42, 0x7d, 0x18, 0x0d, 0x00, 0x10, 0, 0)); /* vbroadcastss, base bit set */
	assert_text_to(&m, FAR, m.map[1].to,
		       "lea rsp, [rsp-0x80]\npush rax\nmov rax, 0x402009\nvbroadcastss ymm9, dword ptr [rax]\npop "
		       "rax\nlea rsp, "
		       "[rsp+0x80]\n");
	m = moved(MOVE(FAR, 5, 0x62, 0xc1, 0x7c, 0x48, 0x28, 0x0d, 0x00, 0x10, 0, 0));
	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rax\nmov rax, 0x40200a\nvmovaps zmm17, zmmword ptr [rax]\npop rax\nlea rsp, "
		"[rsp+0x80]\n");
}

static void the_second_byte_of_a_register_is_part_of_it(void **state)
{
	/* mov %ah,0x1000(%rip), whose 4 would be rsp in a larger operand */
	struct lp_moved m = moved(MOVE(FAR, 5, 0x88, 0x25, 0x00, 0x10, 0, 0));

	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rcx\nmov rcx, 0x402006\nmov [rcx], ah\npop rcx\nlea rsp, [rsp+0x80]\n");
	/* mov %bh,0x1000(%rip); with a REX that is dil */
	m = moved(MOVE(FAR, 5, 0x88, 0x3d, 0x00, 0x10, 0, 0));
	assert_text_to(
		&m, FAR, m.map[1].to,
		"lea rsp, [rsp-0x80]\npush rax\nmov rax, 0x402006\nmov [rax], bh\npop rax\nlea rsp, [rsp+0x80]\n");
	refused(MOVE(FAR, 5, 0x40, 0x88, 0x25, 0x00, 0x10, 0, 0), LP_EREACH); /* mov %spl,0x1000(%rip) */
}

static void what_uses_the_stack_pointer_cannot_go_through_the_stack(void **state)
{
	refused(MOVE(FAR, 5, 0x48, 0x89, 0x25, 0x00, 0x10, 0, 0), LP_EREACH); /* mov %rsp,0x1000(%rip) */
	refused(MOVE(FAR, 5, 0x8f, 0x05, 0x00, 0x10, 0, 0), LP_EREACH);	      /* pop 0x1000(%rip) */
}

static void a_push_from_out_of_reach_changes_places_with_a_register(void **state)
{
	struct lp_moved m = moved(MOVE(FAR, 5, 0xff, 0x35, 0x00, 0x10, 0, 0));

	assert_text_to(&m, FAR, m.map[1].to, "push rax\nmov rax, [0x402006]\nxchg [rsp], rax\n");
}

static void the_function_may_take_its_own_address_but_not_read_its_entry(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff));

	assert_text(&m, NEAR, "lea rax, [0x401000]\njmp 0x401007\n");
	refused(MOVE(NEAR, 5, 0x48, 0x8d, 0x05, 0xfa, 0xff, 0xff, 0xff), LP_EBRANCHED);
}

/* ---- branches ---- */

static void short_branches_become_long_ones(void **state)
{
	/* test edi,edi; je +0x20; push rbx */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x85, 0xff, 0x74, 0x20, 0x53));

	assert_text(&m, NEAR, "test edi, edi\njz 0x401024\npush rbx\njmp 0x401005\n");
	assert_map(&m, {0, 0}, {2, 2}, {4, 8}, {5, 9});
	m = moved(MOVE(NEAR, 2, 0xeb, 0x20));
	assert_text(&m, NEAR, "jmp 0x401022\n");
	m = moved(MOVE(NEAR, 5, 0x0f, 0x8c, 0x00, 0x01, 0, 0));
	assert_text(&m, NEAR, "jl 0x401106\njmp 0x401006\n");
}

static void branches_out_of_reach_go_through_literals(void **state)
{
	struct lp_moved m = moved(MOVE(FAR, 2, 0x74, 0x20));

	assert_text_to(&m, FAR, 14, "jnz 0x7f0000000008\njmp [0x7f0000000010]\njmp [0x7f0000000018]\n");
	assert_int_equal(m.len, 32);
	assert_int_equal(lp_get64(m.bytes + 16), FROM + 0x22);
	assert_int_equal(lp_get64(m.bytes + 24), FROM + 2);
}

static void loops_go_over_a_pair_of_jumps(void **state)
{
	struct lp_moved m = moved(MOVE(NEAR, 2, 0xe2, 0x20));

	assert_text(&m, NEAR, "loop 0x500004\njmp 0x500009\njmp 0x401022\njmp 0x401002\n");
	m = moved(MOVE(NEAR, 3, 0x67, 0xe3, 0x20));
	assert_text(&m, NEAR, "jecxz 0x500005\njmp 0x50000a\njmp 0x401023\njmp 0x401003\n");
	m = moved(MOVE(FAR, 2, 0xe3, 0x20));
	assert_text_to(&m, FAR, 16,
		       "jrcxz 0x7f0000000004\njmp 0x7f000000000a\njmp [0x7f0000000010]\njmp [0x7f0000000018]\n");
}

static void branches_among_the_moved_lead_to_the_moved(void **state)
{
	/* 1: dec edi; jne 1b; ret */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0xff, 0xcf, 0x75, 0xfc, 0xc3));

	assert_text(&m, NEAR, "dec edi\njnz 0x500000\nret\n");
	refused(MOVE(NEAR, 5, 0xff, 0xcf, 0x75, 0xfd, 0xc3), LP_EBRANCHED); /* into the middle of dec */
}

static void a_branch_from_the_rest_of_the_function_into_the_middle_is_refused(void **state)
{
	/* push rbx; 1: xor eax,eax; push rbp; push rdi; jmp 1b */
	assert_int_equal(
		refused(in_function(MOVE(NEAR, 5, 0x53, 0x31, 0xc0, 0x55, 0x57, 0xeb, 0xfa)), LP_EBRANCHED).addr,
		FROM + 5);
	/* ... to the first of them: whoever calls the function gets there too */
	moved(in_function(MOVE(NEAR, 5, 0x53, 0x31, 0xc0, 0x55, 0x57, 0xeb, 0xf9)));
	/* ... behind bytes that do not decode */
	refused(in_function(MOVE(NEAR, 5, 0x53, 0x31, 0xc0, 0x55, 0x57, 0xc3, 0x06, 0xeb, 0xf8)), LP_EBRANCHED);
	/* lea 1b(%rip),%rax */
	refused(in_function(MOVE(NEAR, 5, 0x53, 0x31, 0xc0, 0x55, 0x57, 0x48, 0x8d, 0x05, 0xf5, 0xff, 0xff, 0xff)),
		LP_EBRANCHED);
}

/* ---- calls ---- */

static void a_call_leaves_the_return_address_that_it_always_left(void **state)
{
	/* sub rsp,8; call 0x402000 */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x48, 0x83, 0xec, 0x08, 0xe8, 0xf7, 0x0f, 0, 0));

	assert_text_to(&m, NEAR, 15, "sub rsp, 0x8\npush [0x500010]\njmp 0x402000\n");
	assert_int_equal(m.len, 24);
	assert_int_equal(lp_get64(m.bytes + 16), FROM + 9);
	assert_map(&m, {0, 0}, {4, 4}, {9, 15});
	/* call *0x1000(%rip), near and far */
	m = moved(MOVE(NEAR, 5, 0xff, 0x15, 0x00, 0x10, 0, 0));
	assert_text_to(&m, NEAR, 12, "push [0x500010]\njmp [0x402006]\n");
	m = moved(MOVE(FAR, 5, 0xff, 0x15, 0x00, 0x10, 0, 0));
	assert_text_to(&m, FAR, m.map[1].to,
		       "push [0x7f0000000018]\npush rax\nmov rax, [0x402006]\nxchg [rsp], rax\nret\n");
	/* call *%rax; call *8(%r12) */
	m = moved(MOVE(NEAR, 2, 0xff, 0xd0));
	assert_text_to(&m, NEAR, 8, "push [0x500008]\njmp rax\n");
	m = moved(MOVE(NEAR, 5, 0x41, 0xff, 0x54, 0x24, 0x08));
	assert_text_to(&m, NEAR, 11, "push [0x500010]\njmp [r12+0x8]\n");
	refused(MOVE(NEAR, 4, 0xff, 0x54, 0x24, 0x08), LP_EENCODING); /* call *8(%rsp) */
}

static void a_call_that_would_return_among_the_moved_is_refused(void **state)
{
	refused(in_function(MOVE(NEAR, 5, 0xff, 0xd0, 0x53, 0x55, 0x57)), LP_EBRANCHED);
	/* ... unless nothing comes behind it */
	assert_int_equal(moved((struct lp_move_request){.from = FROM,
							.code = (const uint8_t[]){0xff, 0xd0, 0x0f, 0x1f, 0x00},
							.code_len = 5,
							.need = 5,
							.to = NEAR,
							.room = 64,
							.function = FROM,
							.function_code = (const uint8_t[]){0xff, 0xd0},
							.function_size = 2})
				 .taken,
			 5);
}

static void a_function_that_calls_itself_calls_what_stands_at_its_entry(void **state)
{
	/* push rbx; call FROM */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0x53, 0xe8, 0xfa, 0xff, 0xff, 0xff));

	assert_text_to(&m, NEAR, 13, "push rbx\npush [0x500010]\njmp [0x500018]\n");
	assert_int_equal(lp_get64(m.bytes + 16), FROM + 6);
	assert_int_equal(lp_get64(m.bytes + 24), FROM);
}

static void code_that_asks_where_it_is_gets_the_old_answer(void **state)
{
	/* call 1f; 1: */
	struct lp_moved m = moved(MOVE(NEAR, 5, 0xe8, 0, 0, 0, 0));

	assert_text_to(&m, NEAR, 11, "push [0x500010]\njmp 0x401005\n");
	assert_int_equal(lp_get64(m.bytes + 16), FROM + 5);
}

static void with_shadow_stacks_a_call_stays_one_and_comes_back_to_the_copy(void **state)
{
	struct lp_move_request req = MOVE(NEAR, 5, 0xe8, 0xfb, 0x0f, 0, 0);
	struct lp_moved m;

	req.guarded = true;
	m = moved(req);
	assert_text(&m, NEAR, "call 0x402000\njmp 0x401005\n");
	req.to = FAR;
	m = moved(req);
	assert_text_to(&m, FAR, 12, "call [0x7f0000000010]\njmp [0x7f0000000018]\n");
	req = MOVE(FAR, 5, 0xff, 0x15, 0x00, 0x10, 0, 0);
	req.guarded = true;
	refused(req, LP_EREACH);
}

/* ---- executed ---- */

struct arena {
	uint8_t *old, *copy;
};

static struct arena map_arena(void)
{
	uint8_t *p = mmap(NULL, 2 * LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return (struct arena){p, p + LP_PAGE};
}

/* Moves the entry, breaks what was there, and calls the copy. */
static long run_moved(const struct arena *a, const void *code, size_t len, size_t need, long arg)
{
	struct lp_move_request req = {.from = (uintptr_t)a->old,
				      .code = a->old,
				      .code_len = len,
				      .need = need,
				      .to = (uintptr_t)a->copy,
				      .room = LP_PAGE,
				      .function = (uintptr_t)a->old,
				      .function_code = a->old,
				      .function_size = len};
	struct lp_moved m;

	memcpy(a->old, code, len);
	m = moved(req);
	memcpy(a->copy, m.bytes, m.len);
	memset(a->old, 0xcc, m.taken);
	return ((long (*)(long))(uintptr_t)a->copy)(arg);
}

static void moved_code_returns_what_the_function_returned(void **state)
{
	static const uint8_t countdown[] = {
		0x31, 0xc0,	  /* xor eax,eax	*/
		0x48, 0x85, 0xff, /* test rdi,rdi	*/
		0x74, 0x08,	  /* je 2f	*/
		0x48, 0x01, 0xf8, /* 1: add rax,rdi	*/
		0x48, 0xff, 0xcf, /* dec rdi	*/
		0x75, 0xf8,	  /* jne 1b	*/
		0xc3,		  /* 2: ret	*/
	};
	static const uint8_t where[] = {
		0xe8, 0, 0, 0, 0, /* call 1f	*/
		0x58,		  /* 1: pop rax	*/
		0xc3,		  /* ret		*/
	};
	static const uint8_t literal[] = {
		0x48, 0x03, 0x3d, 0x04, 0, 0, 0, /* add rdi,[rip+4]	*/
		0x48, 0x89, 0xf8,		 /* mov rax,rdi	*/
		0xc3,				 /* ret		*/
		40,   0,    0,	  0,	0, 0, 0, 0,
	};
	struct arena a = map_arena();

	assert_int_equal(run_moved(&a, countdown, sizeof countdown, 7, 10), 55);
	assert_int_equal(run_moved(&a, countdown, sizeof countdown, 7, 0), 0);
	assert_int_equal(run_moved(&a, where, sizeof where, 5, 0), (uintptr_t)a.old + 5);
	assert_int_equal(run_moved(&a, literal, sizeof literal, 5, 2), 42);
	munmap(a.old, 2 * LP_PAGE);
}

/* Calls code, which stands at `old`, in place, and its moved copy at `copy`. */
static void assert_same_answer(uint8_t *old, size_t len, uint8_t *copy, long arg)
{
	uint64_t data = lp_get64(old + len - 8);
	long expected = ((long (*)(long))(uintptr_t)old)(arg);
	struct lp_moved m = moved((struct lp_move_request){.from = (uintptr_t)old,
							   .code = old,
							   .code_len = len,
							   .need = 5,
							   .to = (uintptr_t)copy,
							   .room = LP_PAGE});

	lp_put64(old + len - 8, data);
	memcpy(copy, m.bytes, m.len);
	assert_int_equal(((long (*)(long))(uintptr_t)copy)(arg), expected);
	lp_put64(old + len - 8, data);
}

static void flags_of_an_instruction_whose_memory_is_far_arrive(void **state)
{
	static const uint8_t code[] = {
		0x0f, 0xa4, 0x3d, 8,	0,    0, 0, 5, /* shld $5,%edi,data(%rip)	*/
		0x9c,				       /* pushf			*/
		0x58,				       /* pop %rax		*/
		0x25, 0xc5, 0x00, 0x00, 0x00,	       /* and $0xc5,%eax		: sign, zero, parity, carry */
		0xc3,				       /* ret			*/
		0,    0,    0,	  0,	0,    0, 0, 0, /* data			*/
	};
	struct arena a = map_arena();
	uint8_t *far = mmap(a.old - (UINT64_C(64) << 30), LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_not_equal(far, MAP_FAILED);
	memcpy(a.old, code, sizeof code);
	for (long i = 0; i < 10000; i++) {
		lp_put64(a.old + sizeof code - 8, (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15) >> 17);
		assert_same_answer(a.old, sizeof code, far, i << 24);
	}
	munmap(far, LP_PAGE);
	munmap(a.old, 2 * LP_PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_instructions_leave_until_the_jump_fits),
		cmocka_unit_test(behind_a_return_only_padding_may_leave),
		cmocka_unit_test(code_behind_a_return_leaves_when_a_branch_before_it_goes_there),
		cmocka_unit_test(an_abort_outside_of_a_transaction_goes_on),
		cmocka_unit_test(code_does_not_leave_past_the_functions_end),
		cmocka_unit_test(bytes_that_do_not_decode_are_refused),
		cmocka_unit_test(there_are_limits_to_number_and_room),
		cmocka_unit_test(a_displacement_counts_from_the_new_place),
		cmocka_unit_test(memory_out_of_reach_goes_through_a_register_that_is_not_used),
		cmocka_unit_test(the_second_byte_of_a_register_is_part_of_it),
		cmocka_unit_test(what_uses_the_stack_pointer_cannot_go_through_the_stack),
		cmocka_unit_test(a_push_from_out_of_reach_changes_places_with_a_register),
		cmocka_unit_test(the_function_may_take_its_own_address_but_not_read_its_entry),
		cmocka_unit_test(short_branches_become_long_ones),
		cmocka_unit_test(branches_out_of_reach_go_through_literals),
		cmocka_unit_test(loops_go_over_a_pair_of_jumps),
		cmocka_unit_test(branches_among_the_moved_lead_to_the_moved),
		cmocka_unit_test(a_branch_from_the_rest_of_the_function_into_the_middle_is_refused),
		cmocka_unit_test(a_call_leaves_the_return_address_that_it_always_left),
		cmocka_unit_test(a_call_that_would_return_among_the_moved_is_refused),
		cmocka_unit_test(a_function_that_calls_itself_calls_what_stands_at_its_entry),
		cmocka_unit_test(code_that_asks_where_it_is_gets_the_old_answer),
		cmocka_unit_test(with_shadow_stacks_a_call_stays_one_and_comes_back_to_the_copy),
		cmocka_unit_test(moved_code_returns_what_the_function_returned),
		cmocka_unit_test(flags_of_an_instruction_whose_memory_is_far_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
