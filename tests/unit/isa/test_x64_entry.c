/*
 * Where a jump can stand: hand-made corner cases with their bytes beside the
 * verdict, real compilers' tiny functions, every function of some libraries, and noise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "isa/isa.h"
#include "object.h"

#define ENTRY UINT64_C(0x401000) /* 16-byte aligned, as compilers place functions */

static const struct lp_isa *const isa = &lp_isa_x64;

/* A request over code bytes: `size` of them are the function, all the rest is padding up to the next symbol. */
#define REQUEST(size_, ...)                                                          \
	(struct lp_entry_request)                                                    \
	{                                                                            \
		.addr = ENTRY, .code = (const uint8_t[]){__VA_ARGS__},               \
		.code_len = sizeof((const uint8_t[]){__VA_ARGS__}), .size = (size_), \
		.pad = sizeof((const uint8_t[]){__VA_ARGS__}) - (size_),             \
	}

static struct lp_entry accepted(struct lp_entry_request req)
{
	struct lp_err err = {0};
	struct lp_entry e;

	if (isa->entry(&req, &e, &err))
		fail_msg("refused: %s", err.text);
	return e;
}

static struct lp_err refused(struct lp_entry_request req, int code)
{
	struct lp_err err = {0};
	struct lp_entry e;
	int rc = isa->entry(&req, &e, &err);

	if (rc != -code)
		fail_msg("expected %s, got %d: %s", lp_err_name(code), rc, err.text);
	assert_int_equal(err.code, rc);
	assert_true(err.text[0]);
	return err;
}

static void assert_direct(struct lp_entry e, lp_addr at)
{
	assert_int_equal(e.shape, LP_ENTRY_DIRECT);
	assert_int_equal(e.jump_at, at);
	assert_int_equal(e.jump_len, 5);
}

static void assert_hop(struct lp_entry e, lp_addr at, lp_addr hole)
{
	assert_int_equal(e.shape, LP_ENTRY_HOP);
	assert_int_equal(e.jump_at, at);
	assert_int_equal(e.jump_len, 2);
	assert_int_equal(e.hole_at, hole);
	assert_int_equal(e.hole_len, 5);
}

/* ---- functions that are long enough ---- */

static void a_function_of_five_bytes_takes_the_jump_at_its_first_byte(void **state)
{
	/* mov eax,1; ... exactly 5 */
	assert_direct(accepted(REQUEST(5, 0xe8, 0x10, 0, 0, 0)), ENTRY);
	assert_direct(accepted(REQUEST(6, 0xb8, 1, 0, 0, 0, 0xc3)), ENTRY);
}

static void the_jump_stands_behind_endbr64_which_stays(void **state)
{
	struct lp_entry e = accepted(REQUEST(10, 0xf3, 0x0f, 0x1e, 0xfa, 0xb8, 1, 0, 0, 0, 0xc3));

	assert_direct(e, ENTRY + 4);
}

static void four_bytes_behind_endbr64_without_padding_are_too_few(void **state)
{
	/* endbr64; xor eax,eax; nop; ret */
	struct lp_err err = refused(REQUEST(8, 0xf3, 0x0f, 0x1e, 0xfa, 0x31, 0xc0, 0x90, 0xc3), LP_ETOOSHORT);

	assert_non_null(strstr(err.text, "4 bytes behind its endbr64"));
	assert_non_null(strstr(err.text, "needs 5"));
	assert_int_equal(err.addr, ENTRY);
}

static void an_entry_in_the_middle_of_an_instruction_boundary_is_no_matter_when_nobody_stays_inside(void **state)
{
	/* push rbp; mov rbp,rsp; mov eax,[rdi]; pop rbp; ret: the jump cuts the third one */
	assert_direct(accepted(REQUEST(8, 0x55, 0x48, 0x89, 0xe5, 0x8b, 0x07, 0x5d, 0xc3)), ENTRY);
}

static void bytes_that_do_not_decode_are_refused_with_their_place(void **state)
{
	/* nop x5; then 06, which 64-bit mode does not have */
	struct lp_err err = refused(REQUEST(7, 0x90, 0x90, 0x90, 0x90, 0x90, 0x06, 0xc3), LP_EENCODING);

	assert_int_equal(err.addr, ENTRY + 5);
}

static void an_instruction_that_crosses_the_functions_end_is_refused(void **state)
{
	refused(REQUEST(7, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0), LP_EENCODING);
}

static void a_function_that_could_not_be_read_whole_is_refused(void **state)
{
	struct lp_entry_request req = REQUEST(1, 0xc3);

	req.size = UINT64_MAX;
	refused(req, LP_EENCODING);
}

/* ---- padding behind ---- */

static void a_short_function_borrows_the_padding_behind_it(void **state)
{
	/* xor eax,eax; ret; then each form of padding */
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x66, 0x90)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x90, 0x90)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0xcc, 0xcc)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x00)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x40, 0x00)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x44, 0x00, 0x00)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x80, 0, 0, 0, 0)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0)), ENTRY);
	assert_direct(accepted(REQUEST(3, 0x31, 0xc0, 0xc3, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0)),
		      ENTRY);
	assert_direct(accepted(REQUEST(1, 0xc3, 0x90, 0x66, 0x90, 0x90)), ENTRY);
}

static void what_is_not_padding_is_left_alone(void **state)
{
	/* behind `xor eax,eax; ret`: */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0x00, 0x00, 0x00, 0x00), LP_ETOOSHORT); /* zeroes	   */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0xf3, 0x90, 0xf3, 0x90), LP_ETOOSHORT); /* pause: a spin   */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0xf3, 0x0f, 0x1e, 0xfa), LP_ETOOSHORT); /* endbr64: entry  */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0x55, 0x5d, 0xc3), LP_ETOOSHORT);	     /* nameless code   */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0x90, 0x55, 0x5d, 0xc3), LP_ETOOSHORT); /* 1 byte too few  */
	refused(REQUEST(3, 0x31, 0xc0, 0xc3, 0x49, 0x90), LP_ETOOSHORT);	     /* xchg rax,r8	   */
}

static void padding_that_the_function_falls_into_is_not_padding(void **state)
{
	/* xor eax,eax; nop nop nop; somebody_else: */
	refused(REQUEST(2, 0x31, 0xc0, 0x90, 0x90, 0x90), LP_ETOOSHORT);
}

static void padding_behind_a_call_that_does_not_return_counts(void **state)
{
	/* call rax (of a noreturn function); nop */
	assert_direct(accepted(REQUEST(2, 0xff, 0xd0, 0x0f, 0x1f, 0x00)), ENTRY);
}

static void padding_that_a_branch_of_the_function_leads_to_is_not_padding(void **state)
{
	/* jc +1; ret; nop nop */
	refused(REQUEST(3, 0x72, 0x01, 0xc3, 0x90, 0x90), LP_ETOOSHORT);
}

static void nops_beyond_the_next_16_byte_line_may_be_a_nameless_entry(void **state)
{
	struct lp_entry_request req = REQUEST(3, 0x31, 0xc0, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90);

	req.addr = ENTRY + 13; /* the function ends at the line */
	refused(req, LP_ETOOSHORT);
	req.addr = ENTRY + 12; /* one NOP before the line */
	refused(req, LP_ETOOSHORT);
	req.addr = ENTRY + 11; /* two */
	assert_direct(accepted(req), ENTRY + 11);
}

/* ---- hop ---- */

/* A request whose `before` is code of 48 bytes, then ret, then `padding` bytes of NOP, then the entry. */
static struct lp_entry_request with_before(uint8_t before[64], size_t padding, struct lp_entry_request req)
{
	for (size_t i = 0; i < 64; i += 4)
		memcpy(before + i, "\x48\x89\xf8\x55", 4); /* mov rax,rdi; push rbp */
	memset(before + 64 - padding - 4, 0xc3, 4);
	memset(before + 64 - padding, 0x90, padding);
	req.before = before;
	req.before_len = 64;
	return req;
}

static void a_two_byte_function_hops_to_the_padding_before_it(void **state)
{
	uint8_t before[64];

	assert_hop(accepted(with_before(before, 5, REQUEST(2, 0x90, 0xc3))), ENTRY, ENTRY - 5);
	assert_hop(accepted(with_before(before, 13, REQUEST(2, 0x90, 0xc3))), ENTRY, ENTRY - 5);
}

static void a_one_byte_function_with_one_byte_of_padding_can_hop(void **state)
{
	uint8_t before[64];

	assert_hop(accepted(with_before(before, 8, REQUEST(1, 0xc3, 0xcc))), ENTRY, ENTRY - 5);
}

static void a_hop_behind_endbr64_reaches_back_over_it(void **state)
{
	uint8_t before[64];

	assert_hop(accepted(with_before(before, 8, REQUEST(6, 0xf3, 0x0f, 0x1e, 0xfa, 0x90, 0xc3))), ENTRY + 4,
		   ENTRY - 5);
}

static void four_bytes_of_padding_before_are_no_hole(void **state)
{
	uint8_t before[64];

	refused(with_before(before, 4, REQUEST(2, 0x90, 0xc3)), LP_ETOOSHORT);
}

static void a_one_byte_function_cannot_even_hop(void **state)
{
	uint8_t before[64];
	struct lp_err err = refused(with_before(before, 13, REQUEST(1, 0xc3)), LP_ETOOSHORT);

	assert_non_null(strstr(err.text, "1 byte where"));
	assert_non_null(strstr(err.text, "needs 2"));
}

static void padding_before_that_is_fallen_into_is_no_hole(void **state)
{
	uint8_t before[64];
	struct lp_entry_request req = with_before(before, 8, REQUEST(2, 0x90, 0xc3));

	memcpy(before + 64 - 8 - 4, "\x48\x89\xf8\x55", 4); /* no ret: runs into the entry */
	refused(req, LP_ETOOSHORT);
}

static void the_end_of_an_instruction_that_looks_like_padding_is_no_hole(void **state)
{
	uint8_t before[64];
	struct lp_entry_request req = with_before(before, 4, REQUEST(2, 0x90, 0xc3));

	/* ...; jmp 0x90000000 + x: its last byte is 0x90, and four NOPs follow */
	memcpy(before + 64 - 4 - 5, "\xe9\x00\x00\x00\x90", 5);
	refused(req, LP_ETOOSHORT);
}

static void without_the_bytes_before_there_is_no_hole_before(void **state)
{
	refused(REQUEST(2, 0x90, 0xc3), LP_ETOOSHORT);
}

static void a_hole_in_nameless_code_behind_is_taken_only_where_nothing_falls_through(void **state)
{
	/* nop; ret | push rbp; pop rbp; ret; 5 NOPs (dead) */
	assert_hop(accepted(REQUEST(2, 0x90, 0xc3, 0x55, 0x5d, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90)), ENTRY, ENTRY + 5);
	/* the same, but a loop head's alignment: fallen into */
	refused(REQUEST(2, 0x90, 0xc3, 0x55, 0x5d, 0x50, 0x90, 0x90, 0x90, 0x90, 0x90, 0x58, 0xc3), LP_ETOOSHORT);
	/* the same, but jumped into: jc +3 at 2 */
	refused(REQUEST(2, 0x90, 0xc3, 0x72, 0x03, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3), LP_ETOOSHORT);
}

static void a_hole_behind_must_lie_within_a_signed_byte(void **state)
{
	uint8_t code[160];

	memset(code, 0x90, sizeof code);
	struct lp_entry_request req = {.addr = ENTRY, .code = code, .code_len = sizeof code, .size = 2};

	for (size_t hole = 100; hole < 140; hole++) {
		/* nop; ret | push rax ... | ret | hole of 5 | push rax */
		memset(code + 2, 0x50, sizeof code - 2);
		code[1] = code[hole - 1] = 0xc3;
		memset(code + hole, 0xcc, 5);
		req.pad = hole + 5 - req.size;
		if (hole % 16 == 0 || hole % 16 > 11)
			refused(req, LP_ETOOSHORT); /* cut by a line where a nameless function may begin */
		else if (hole <= 2 + 127)
			assert_hop(accepted(req), ENTRY, ENTRY + hole);
		else
			refused(req, LP_ETOOSHORT);
	}
}

/* ---- unknown size ---- */

static void with_unknown_size_code_is_judged_as_far_as_the_jump_reaches(void **state)
{
	struct lp_entry_request req = REQUEST(0, 0x55, 0x48, 0x89, 0xe5, 0x8b, 0x07, 0x06, 0x06);

	req.pad = 0;
	assert_direct(accepted(req), ENTRY); /* 06 06 is never looked at */
}

static void with_unknown_size_a_ret_ends_the_function_unless_padding_follows(void **state)
{
	refused(REQUEST(0, 0x31, 0xc0, 0xc3, 0x55, 0x5d, 0xc3), LP_ETOOSHORT);
	assert_direct(accepted(REQUEST(0, 0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x00, 0x55)), ENTRY);
	/* jmp +0x10 ends it too */
	refused(REQUEST(0, 0xeb, 0x10, 0x55, 0x55, 0x55, 0x55, 0x55), LP_ETOOSHORT);
}

static void with_unknown_size_a_branch_over_the_ret_shows_that_the_function_goes_on(void **state)
{
	/* test edi,edi; je +1; ret; push rbp */
	assert_direct(accepted(REQUEST(0, 0x85, 0xff, 0x74, 0x01, 0xc3, 0x55, 0xc3)), ENTRY);
	/* je +1; ret; push rax; push rax; ret */
	assert_direct(accepted(REQUEST(0, 0x74, 0x01, 0xc3, 0x50, 0x50, 0xc3)), ENTRY);
}

/* ---- a body that stays live ---- */

static struct lp_entry_request live(struct lp_entry_request req)
{
	req.body_stays_live = true;
	return req;
}

static void a_loop_back_into_the_replaced_bytes_is_refused_when_the_body_stays_live(void **state)
{
	/* xor eax,eax; 2: add eax,edi; dec edi; jnz 2; ret */
	struct lp_entry_request req = REQUEST(9, 0x31, 0xc0, 0x01, 0xf8, 0xff, 0xcf, 0x75, 0xfa, 0xc3);

	assert_direct(accepted(req), ENTRY);
	struct lp_err err = refused(live(req), LP_EBRANCHED);
	assert_int_equal(err.addr, ENTRY + 6);
	assert_non_null(strstr(err.text, "0x401006"));
	assert_non_null(strstr(err.text, "0x401002"));
}

static void branches_to_the_edges_of_the_replaced_bytes_are_fine(void **state)
{
	/* xor eax,eax; nop3; 5: dec edi; jnz 5; ret */
	assert_false(accepted(live(REQUEST(10, 0x31, 0xc0, 0x0f, 0x1f, 0x00, 0xff, 0xcf, 0x75, 0xfc, 0xc3))).revisited);
	/* 0: add eax,edi; nop3; dec edi; jnz 0; ret */
	assert_true(accepted(live(REQUEST(10, 0x01, 0xf8, 0x0f, 0x1f, 0x00, 0xff, 0xcf, 0x75, 0xf7, 0xc3))).revisited);
}

static void a_loop_to_an_entry_behind_endbr64_counts_as_revisited(void **state)
{
	/* endbr64; 4: add eax,edi; nop3; dec edi; jnz 4; ret */
	assert_true(accepted(REQUEST(14, 0xf3, 0x0f, 0x1e, 0xfa, 0x01, 0xf8, 0x0f, 0x1f, 0x00, 0xff, 0xcf, 0x75, 0xf7,
				     0xc3))
			    .revisited);
	/* jnz 0, the endbr64 itself */
	assert_true(accepted(REQUEST(14, 0xf3, 0x0f, 0x1e, 0xfa, 0x01, 0xf8, 0x0f, 0x1f, 0x00, 0xff, 0xcf, 0x75, 0xf3,
				     0xc3))
			    .revisited);
}

static void recursion_does_not_make_an_entry_revisited(void **state)
{
	/* sub rsp,8; call 0; ...: the callee arrives there like anybody */
	assert_false(accepted(REQUEST(14, 0x48, 0x83, 0xec, 0x08, 0xe8, 0xf7, 0xff, 0xff, 0xff, 0x48, 0x83, 0xc4, 0x08,
				      0xc3))
			     .revisited);
}

static void a_rep_string_instruction_at_the_entry_makes_it_revisited(void **state)
{
	/* rep movsb; mov rax,rdx; ret */
	assert_true(accepted(REQUEST(6, 0xf3, 0xa4, 0x48, 0x89, 0xd0, 0xc3)).revisited);
	assert_false(accepted(REQUEST(6, 0xa4, 0x90, 0x48, 0x89, 0xd0, 0xc3)).revisited);
}

static void an_address_taken_inside_the_replaced_bytes_is_refused_when_the_body_stays_live(void **state)
{
	/* push rax; pop rax; nop3; lea rax,[rip-11] = entry+1; jmp rax */
	struct lp_entry_request req =
		REQUEST(14, 0x50, 0x58, 0x0f, 0x1f, 0x00, 0x48, 0x8d, 0x05, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xe0);

	assert_direct(accepted(req), ENTRY);
	refused(live(req), LP_EBRANCHED);
}

static void a_call_that_returns_into_the_replaced_bytes_is_refused_when_the_body_stays_live(void **state)
{
	/* push rbx; call rdi; xor eax,eax; pop rbx; ret: returns to entry+3 */
	struct lp_entry_request req = REQUEST(7, 0x53, 0xff, 0xd7, 0x31, 0xc0, 0x5b, 0xc3);
	struct lp_err err = refused(live(req), LP_EBRANCHED);

	assert_non_null(strstr(err.text, "return of the call"));
	assert_direct(accepted(req), ENTRY);
	/* push rbx; nop; call rdi: the call crosses the edge, its return is outside */
	assert_direct(accepted(live(REQUEST(8, 0x53, 0x90, 0x90, 0xff, 0xd7, 0x5b, 0x90, 0xc3))), ENTRY);
}

/* ---- patched before ---- */

static void a_jump_that_stands_there_already_is_replaced_whole(void **state)
{
	/* e9 .. over `push rbp; mov rbp,rsp; mov eax,[rdi]...`: behind it half an instruction that does not decode */
	assert_direct(accepted(REQUEST(8, 0xe9, 0x00, 0x10, 0x00, 0x00, 0x06, 0x5d, 0xc3)), ENTRY);
	/* ... over a 3-byte function and its padding */
	assert_direct(accepted(REQUEST(3, 0xe9, 0x00, 0x10, 0x00, 0x00, 0x90)), ENTRY);
	/* ... behind endbr64 */
	assert_direct(accepted(REQUEST(9, 0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 0x00, 0x10, 0x00, 0x00)), ENTRY + 4);
}

static void the_body_behind_an_earlier_jump_is_still_searched_for_branches(void **state)
{
	/* jmp; rest of an instruction (06); dec edi; jnz entry+2; ret */
	struct lp_entry_request req = REQUEST(11, 0xe9, 0, 0x10, 0, 0, 0x06, 0xff, 0xcf, 0x75, 0xf8, 0xc3);

	assert_direct(accepted(req), ENTRY);
	refused(live(req), LP_EBRANCHED);
}

static void a_jump_cut_off_by_the_next_symbol_is_not_ours(void **state)
{
	struct lp_entry_request req = REQUEST(3, 0xe9, 0x00, 0x10, 0x00);

	refused(req, LP_EENCODING);
}

/* ---- bytes ---- */

static void reach_is_exact_to_the_byte(void **state)
{
	struct lp_entry direct = {.shape = LP_ENTRY_DIRECT, .jump_at = ENTRY + (UINT64_C(1) << 40), .jump_len = 5};
	struct lp_entry hop = {LP_ENTRY_HOP, direct.jump_at, 2, direct.jump_at - 5, 5, false};
	const struct {
		const struct lp_entry *e;
		lp_addr from;
	} rows[] = {{&direct, direct.jump_at}, {&hop, hop.hole_at}};

	for (size_t i = 0; i < 2; i++) {
		struct lp_piece out[2];
		lp_addr next = rows[i].from + 5, up = next + INT32_MAX, down = next - (UINT64_C(1) << 31);

		assert_true(isa->reaches(rows[i].e, up));
		assert_false(isa->reaches(rows[i].e, up + 1));
		assert_true(isa->reaches(rows[i].e, down));
		assert_false(isa->reaches(rows[i].e, down - 1));
		assert_int_equal(isa->entry_bytes(rows[i].e, up + 1, out), 0);
		assert_int_equal(isa->entry_bytes(rows[i].e, down - 1, out), 0);
		assert_int_equal(isa->entry_bytes(rows[i].e, up, out), i + 1);
		assert_memory_equal(out[0].bytes, "\xe9\xff\xff\xff\x7f", 5);
		assert_int_equal(isa->entry_bytes(rows[i].e, down, out), i + 1);
		assert_memory_equal(out[0].bytes, "\xe9\x00\x00\x00\x80", 5);
		/* the promised reach lies inside the true one, also as seen from the entry and from the hole */
		assert_true(isa->reaches(rows[i].e, direct.jump_at + isa->reach - 1));
		assert_true(isa->reaches(rows[i].e, direct.jump_at - isa->reach + 1));
	}
}

static void a_hop_writes_the_hole_before_the_short_jump(void **state)
{
	struct lp_entry hop = {LP_ENTRY_HOP, ENTRY, 2, ENTRY - 5, 5, false};
	struct lp_piece out[2];

	assert_int_equal(isa->entry_bytes(&hop, ENTRY + 0x100, out), 2);
	assert_int_equal(out[0].at, ENTRY - 5);
	assert_int_equal(out[0].len, 5);
	assert_memory_equal(out[0].bytes, "\xe9\x00\x01\x00\x00", 5);
	assert_int_equal(out[1].at, ENTRY);
	assert_int_equal(out[1].len, 2);
	assert_memory_equal(out[1].bytes, "\xeb\xf9", 2);
}

/* ---- executed ---- */

static int replacement(void)
{
	return 4711;
}

static void apply(uint8_t *page, const struct lp_entry *e, lp_addr aim, uint8_t *after_first, int (*call)(void))
{
	struct lp_piece out[2];
	int n = isa->entry_bytes(e, aim, out);

	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		memcpy((void *)out[i].at, out[i].bytes, out[i].len); /* NOLINT: the test's own memory */
		if (i == 0 && n == 2)
			*after_first = (uint8_t)call();
	}
}

static void patched_functions_run_the_replacement(void **state)
{
	uint8_t *page = mmap(NULL, 2 * LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const struct {
		const char *what;
		uint8_t code[16];
		size_t size, pad;
		enum lp_entry_shape shape;
	} rows[] = {
		{"mov eax,7; ret", {0xb8, 7, 0, 0, 0, 0xc3}, 6, 0, LP_ENTRY_DIRECT},
		{"endbr64; mov eax,7; ret", {0xf3, 0x0f, 0x1e, 0xfa, 0xb8, 7, 0, 0, 0, 0xc3}, 10, 0, LP_ENTRY_DIRECT},
		{"push 7; pop rax; ret, padding", {0x6a, 7, 0x58, 0xc3, 0x90}, 4, 1, LP_ENTRY_DIRECT},
		{"push 7; pop rax; ret, hole before", {0x6a, 7, 0x58, 0xc3}, 4, 0, LP_ENTRY_HOP},
		{"endbr64; push 7; pop rax; ret, hole",
		 {0xf3, 0x0f, 0x1e, 0xfa, 0x6a, 7, 0x58, 0xc3},
		 8,
		 0,
		 LP_ENTRY_HOP},
	};

	assert_ptr_not_equal(page, MAP_FAILED);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t *f = page + 256;
		int (*call)(void) = (int (*)(void))(uintptr_t)f;
		uint8_t old = 0;
		struct lp_entry e;

		memset(page, 0xc3, 2 * LP_PAGE);
		memset(f - 13, 0x90, 13);
		memcpy(f, rows[i].code, sizeof rows[i].code);
		assert_int_equal(call(), 7);
		e = accepted((struct lp_entry_request){.addr = (uintptr_t)f,
						       .code = f,
						       .code_len = 64,
						       .size = rows[i].size,
						       .pad = rows[i].pad,
						       .before = f - 100,
						       .before_len = 100});
		if (e.shape != rows[i].shape)
			fail_msg("%s: shape %d", rows[i].what, e.shape);
		/* through an island beside the function: the test program itself may be out of reach */
		isa->island(page + LP_PAGE, (uintptr_t)page + LP_PAGE, (uintptr_t)replacement);
		apply(page, &e, (uintptr_t)page + LP_PAGE, &old, call);
		assert_int_equal(call(), 4711);
		if (e.shape == LP_ENTRY_HOP)
			assert_int_equal(old, 7); /* the first piece alone changed nothing */
		assert_int_equal(!memcmp(f, "\xf3\x0f\x1e\xfa", 4), !memcmp(rows[i].code, "\xf3\x0f\x1e\xfa", 4));
	}
	munmap(page, 2 * LP_PAGE);
}

/* ---- real compilers, real libraries ---- */

static const char tiny_functions[] = "int zero(void) { return 0; }\n"
				     "void nothing(void) { }\n"
				     "int one(int x) { return x; }\n"
				     "static int hidden;\n"
				     "int *where(void) { return &hidden; }\n"
				     "void trap(void) { __builtin_trap(); }\n"
				     "long add(long a, long b) { return a + b; }\n"
				     "void last(void) { }\n";

/* One function as a patcher with symbols sees it. */
static struct lp_entry_request request_of(const struct object *o, const Elf64_Sym *sym, const Elf64_Sym *syms,
					  size_t nr)
{
	const Elf64_Shdr *text = &o->sh[sym->st_shndx];
	const uint8_t *base = o->bytes + text->sh_offset - text->sh_addr;
	uint64_t boundary = text->sh_addr + text->sh_size;

	for (size_t i = 0; i < nr; i++) {
		if (syms[i].st_shndx == sym->st_shndx && syms[i].st_value > sym->st_value &&
		    syms[i].st_value < boundary)
			boundary = syms[i].st_value;
	}
	size_t before = sym->st_value - text->sh_addr < 200 ? sym->st_value - text->sh_addr : 200;
	uint64_t after = text->sh_addr + text->sh_size - sym->st_value, end = sym->st_value + sym->st_size;

	return (struct lp_entry_request){
		.addr = sym->st_value,
		.code = base + sym->st_value,
		.code_len = after,
		.size = sym->st_size,
		.pad = boundary > end ? boundary - end : 0,
		.before = base + sym->st_value - before,
		.before_len = before,
	};
}

static void compile_tiny(const char *compiler, const char *flags)
{
	const char *c = scratch_write("tiny.c", tiny_functions), *so = scratch_path("tiny.so");

	run("%s %s -shared -fPIC -o %s %s", compiler, flags, so, c);
	struct object o = object_open(so);
	const Elf64_Shdr *table = object_section_of_type(&o, SHT_SYMTAB);
	size_t nr, functions = 0;
	const Elf64_Sym *syms = object_symbols(&o, table, &nr);

	for (size_t i = 0; i < nr; i++) {
		if (ELF64_ST_TYPE(syms[i].st_info) != STT_FUNC || !syms[i].st_size)
			continue;
		struct lp_entry_request req = request_of(&o, &syms[i], syms, nr);
		bool has_endbr = !memcmp(req.code, "\xf3\x0f\x1e\xfa", 4);
		struct lp_entry e;
		struct lp_err err = {0};

		if (isa->entry(&req, &e, &err)) {
			/* the last function of .text has nothing but the section's end behind it */
			if (strcmp(object_symbol_name(&o, table, &syms[i]), "last"))
				fail_msg("%s %s: %s: %s", compiler, flags, object_symbol_name(&o, table, &syms[i]),
					 err.text);
			continue;
		}
		assert_int_equal(e.jump_at, req.addr + (has_endbr ? 4 : 0));
		functions++;
	}
	assert_in_range(functions, 6, 1000);
	object_close(&o);
}

static void tiny_functions_of_gcc_and_clang_find_their_padding(void **state)
{
	compile_tiny("gcc", "-O2");
	compile_tiny("gcc", "-O2 -fcf-protection=full");
	compile_tiny("gcc", "-O3 -mtune=znver3");
	compile_tiny("gcc", "-O0");
	if (have_program("clang")) {
		compile_tiny("clang", "-O2");
		compile_tiny("clang", "-O2 -fcf-protection=full");
	}
}

/* Without endbr64, with it everywhere, and with much assembly. */
static const char *const libraries[] = {
	"/lib/x86_64-linux-gnu/libc.so.6",
	"/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/lib/x86_64-linux-gnu/libcrypto.so.3",
};

/* Calls `check` with every function that is there, library by library; skips the test when none is. */
static void for_each_library(void (*check)(const struct object *o))
{
	size_t found = 0;

	for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
		if (access(libraries[i], R_OK))
			continue;
		struct object o = object_open(libraries[i]);

		print_message("%s: ", libraries[i]);
		check(&o);
		object_close(&o);
		found++;
	}
	if (!found)
		skip();
}

static bool is_function(const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_size && s->st_shndx;
}

/* Does [at, at+len) touch a function other than `self` (or an alias of it)? */
static const Elf64_Sym *trampled(const Elf64_Sym *syms, size_t nr, const Elf64_Sym *self, lp_addr at, size_t len)
{
	for (size_t i = 0; i < nr; i++) {
		if (ELF64_ST_TYPE(syms[i].st_info) != STT_FUNC || !syms[i].st_size ||
		    syms[i].st_shndx != self->st_shndx)
			continue;
		if (syms[i].st_value == self->st_value || at >= syms[i].st_value + syms[i].st_size ||
		    at + len <= syms[i].st_value)
			continue;
		if (syms[i].st_value < self->st_value && syms[i].st_value + syms[i].st_size > self->st_value)
			continue; /* self is a part of it */
		return &syms[i];
	}
	return NULL;
}

static void check_neighbours(const struct object *o)
{
	const Elf64_Shdr *table = object_section_of_type(o, SHT_DYNSYM);
	size_t nr, direct = 0, hop = 0, too_short = 0, branched = 0;
	const Elf64_Sym *syms = object_symbols(o, table, &nr);

	for (size_t i = 0; i < nr; i++) {
		if (!is_function(&syms[i]))
			continue;
		struct lp_entry_request req = request_of(o, &syms[i], syms, nr);
		struct lp_piece out[2];
		struct lp_entry e;
		int rc = isa->entry(&req, &e, NULL);

		if (rc) {
			assert_int_equal(rc, -LP_ETOOSHORT);
			too_short++;
			continue;
		}
		*(e.shape == LP_ENTRY_HOP ? &hop : &direct) += 1;
		for (int n = isa->entry_bytes(&e, req.addr, out), k = 0; k < n; k++) {
			const Elf64_Sym *victim = trampled(syms, nr, &syms[i], out[k].at, out[k].len);

			if (victim)
				fail_msg("%s would be written into by %s", object_symbol_name(o, table, victim),
					 object_symbol_name(o, table, &syms[i]));
		}
		req.body_stays_live = true;
		branched += isa->entry(&req, &e, NULL) == -LP_EBRANCHED;
	}
	print_message("%zu direct, %zu hop, %zu too short; %zu branched into when live\n", direct, hop, too_short,
		      branched);
	assert_true(direct > 2000);
	assert_true(too_short * 100 < direct); /* 99 % can be patched */
}

static void no_function_of_a_library_is_patched_at_the_expense_of_another(void **state)
{
	for_each_library(check_neighbours);
}

static void check_second_patch(const struct object *o)
{
	size_t nr, stacked = 0;
	const Elf64_Sym *syms = object_symbols(o, object_section_of_type(o, SHT_DYNSYM), &nr);

	for (size_t i = 0; i < nr; i++) {
		if (!is_function(&syms[i]))
			continue;
		struct lp_entry_request req = request_of(o, &syms[i], syms, nr);
		struct lp_entry first, second;
		struct lp_piece out[2];
		uint8_t code[64];

		if (isa->entry(&req, &first, NULL) || first.shape != LP_ENTRY_DIRECT)
			continue;
		req.code_len = req.code_len < sizeof code ? req.code_len : sizeof code;
		if (req.code_len < req.size)
			req.size = req.code_len;
		memcpy(code, req.code, req.code_len);
		req.code = code;
		isa->entry_bytes(&first, req.addr, out);
		memcpy(code + (first.jump_at - req.addr), out[0].bytes, out[0].len);
		second = accepted(req);
		assert_int_equal(second.shape, first.shape);
		assert_int_equal(second.jump_at, first.jump_at);
		stacked++;
	}
	print_message("%zu patched twice\n", stacked);
	assert_true(stacked > 2000);
}

static void every_patched_function_takes_a_second_patch_over_the_first(void **state)
{
	for_each_library(check_second_patch);
}

/* ---- hostile bytes ---- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Mostly what the planner looks for, so that its deep paths are reached. */
static uint8_t random_byte(uint64_t *seed)
{
	static const uint8_t likely[] = {0x90, 0x90, 0x90, 0x66, 0xcc, 0xc3, 0xeb,
					 0xe9, 0x0f, 0x1f, 0x75, 0xfa, 0x55, 0x00};
	uint64_t r = next_random(seed);

	return r & 3 ? likely[(r >> 8) % sizeof likely] : (uint8_t)(r >> 16);
}

/* Buffers of exactly the promised length on the heap: the sanitizers see a byte too far. */
static void whatever_the_bytes_are_only_the_functions_own_and_padding_are_given_away(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;
	size_t taken = 0, hops = 0;

	for (int round = 0; round < 300000; round++) {
		size_t code_len = next_random(&seed) % 48, before_len = next_random(&seed) % 80;
		uint8_t *code = malloc(code_len + !code_len), *before = malloc(before_len + !before_len);
		struct lp_entry_request req = {
			.addr = ENTRY + next_random(&seed) % 32,
			.code = code,
			.code_len = code_len,
			.size = next_random(&seed) % 12,
			.pad = next_random(&seed) % 64,
			.before = before,
			.before_len = before_len,
			.body_stays_live = next_random(&seed) & 1,
		};
		size_t end = req.size + req.pad < code_len ? req.size + req.pad : code_len;
		struct lp_entry e;
		struct lp_err err = {0};

		for (size_t i = 0; i < code_len; i++)
			code[i] = random_byte(&seed);
		for (size_t i = 0; i < before_len; i++)
			before[i] = round % 2 ? 0x55 /* push rbp */ : random_byte(&seed);
		if (round % 2 && before_len >= 8) {
			memset(before + before_len - 7, 0x90, 7);
			before[before_len - 8] = 0xc3;
		}
		if (isa->entry(&req, &e, &err)) {
			assert_true(err.code && err.text[0]);
		} else {
			size_t at = e.jump_at - req.addr;

			taken++;
			assert_true(at == 0 || at == 4);
			/* size 0 and pad 0: all that was read is the function's */
			assert_true(at + e.jump_len <= (req.size || req.pad ? end : code_len));
			if (e.shape == LP_ENTRY_HOP && e.hole_at >= req.addr) {
				assert_true(e.hole_at >= e.jump_at + e.jump_len && e.hole_at >= req.addr + req.size);
				assert_true(e.hole_at + e.hole_len <=
					    req.addr + (req.size || req.pad ? end : code_len));
			} else if (e.shape == LP_ENTRY_HOP) {
				assert_int_equal(e.hole_at, req.addr - 5);
				assert_true(before_len >= 5);
			}
			hops += e.shape == LP_ENTRY_HOP;
		}
		free(code);
		free(before);
	}
	print_message("%zu taken, %zu of them by a hop\n", taken, hops);
	assert_true(taken > 1000 && hops > 100); /* the rounds were not all refused */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_of_five_bytes_takes_the_jump_at_its_first_byte),
		cmocka_unit_test(the_jump_stands_behind_endbr64_which_stays),
		cmocka_unit_test(four_bytes_behind_endbr64_without_padding_are_too_few),
		cmocka_unit_test(
			an_entry_in_the_middle_of_an_instruction_boundary_is_no_matter_when_nobody_stays_inside),
		cmocka_unit_test(bytes_that_do_not_decode_are_refused_with_their_place),
		cmocka_unit_test(an_instruction_that_crosses_the_functions_end_is_refused),
		cmocka_unit_test(a_function_that_could_not_be_read_whole_is_refused),
		cmocka_unit_test(a_short_function_borrows_the_padding_behind_it),
		cmocka_unit_test(what_is_not_padding_is_left_alone),
		cmocka_unit_test(padding_that_the_function_falls_into_is_not_padding),
		cmocka_unit_test(padding_behind_a_call_that_does_not_return_counts),
		cmocka_unit_test(padding_that_a_branch_of_the_function_leads_to_is_not_padding),
		cmocka_unit_test(nops_beyond_the_next_16_byte_line_may_be_a_nameless_entry),
		cmocka_unit_test(a_two_byte_function_hops_to_the_padding_before_it),
		cmocka_unit_test(a_one_byte_function_with_one_byte_of_padding_can_hop),
		cmocka_unit_test(a_hop_behind_endbr64_reaches_back_over_it),
		cmocka_unit_test(four_bytes_of_padding_before_are_no_hole),
		cmocka_unit_test(a_one_byte_function_cannot_even_hop),
		cmocka_unit_test(padding_before_that_is_fallen_into_is_no_hole),
		cmocka_unit_test(the_end_of_an_instruction_that_looks_like_padding_is_no_hole),
		cmocka_unit_test(without_the_bytes_before_there_is_no_hole_before),
		cmocka_unit_test(a_hole_in_nameless_code_behind_is_taken_only_where_nothing_falls_through),
		cmocka_unit_test(a_hole_behind_must_lie_within_a_signed_byte),
		cmocka_unit_test(with_unknown_size_code_is_judged_as_far_as_the_jump_reaches),
		cmocka_unit_test(with_unknown_size_a_ret_ends_the_function_unless_padding_follows),
		cmocka_unit_test(with_unknown_size_a_branch_over_the_ret_shows_that_the_function_goes_on),
		cmocka_unit_test(a_loop_back_into_the_replaced_bytes_is_refused_when_the_body_stays_live),
		cmocka_unit_test(branches_to_the_edges_of_the_replaced_bytes_are_fine),
		cmocka_unit_test(a_loop_to_an_entry_behind_endbr64_counts_as_revisited),
		cmocka_unit_test(recursion_does_not_make_an_entry_revisited),
		cmocka_unit_test(a_rep_string_instruction_at_the_entry_makes_it_revisited),
		cmocka_unit_test(an_address_taken_inside_the_replaced_bytes_is_refused_when_the_body_stays_live),
		cmocka_unit_test(a_call_that_returns_into_the_replaced_bytes_is_refused_when_the_body_stays_live),
		cmocka_unit_test(a_jump_that_stands_there_already_is_replaced_whole),
		cmocka_unit_test(the_body_behind_an_earlier_jump_is_still_searched_for_branches),
		cmocka_unit_test(a_jump_cut_off_by_the_next_symbol_is_not_ours),
		cmocka_unit_test(reach_is_exact_to_the_byte),
		cmocka_unit_test(a_hop_writes_the_hole_before_the_short_jump),
		cmocka_unit_test(patched_functions_run_the_replacement),
		cmocka_unit_test(tiny_functions_of_gcc_and_clang_find_their_padding),
		cmocka_unit_test(no_function_of_a_library_is_patched_at_the_expense_of_another),
		cmocka_unit_test(every_patched_function_takes_a_second_patch_over_the_first),
		cmocka_unit_test(whatever_the_bytes_are_only_the_functions_own_and_padding_are_given_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
