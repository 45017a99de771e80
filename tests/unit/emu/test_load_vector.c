/*
 * Loads and stores of vector registers: addresses, what the bytes become, and
 * that one which faults has changed no register.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static int setup(void **state)
{
	struct rig *r = rig_new();
	uint64_t seed = 1;

	for (int i = 0; i < RIG_DATA_SIZE; i++)
		r->data[i] = (uint8_t)(rig_random(&seed) >> 56);
	for (int v = 0; v < 32; v++)
		for (int i = 0; i < 2; i++)
			r->cpu.vr[v].d[i] = rig_random(&seed);
	r->cpu.x[1] = (uint64_t)r->data + 1024;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static void assert_loaded(const struct rig *r, unsigned reg, const void *from, size_t len)
{
	union lp_vreg v = {0};

	memcpy(&v, from, len);
	assert_memory_equal(&r->cpu.vr[reg], &v, sizeof v);
}

/* ---- one register ---- */

static void a_load_fills_the_register_with_zeros_above(void **state)
{
	struct rig *r = *state;
	const uint8_t *at = r->data + 1024;

	r->cpu.x[2] = 16;
	r->cpu.x[3] = UINT64_C(0xfffffffffffffff0);
	rig_run(r, "ldr b0, [x1, #3]; ldr h1, [x1, #6]; ldr s2, [x1, #8]; ldr d3, [x1, #24]; ldr q4, [x1, #48]");
	assert_loaded(r, 0, at + 3, 1);
	assert_loaded(r, 1, at + 6, 2);
	assert_loaded(r, 2, at + 8, 4);
	assert_loaded(r, 3, at + 24, 8);
	assert_loaded(r, 4, at + 48, 16);
	rig_run(r, "ldr q0, [x1, x2, lsl #4]; ldr d1, [x1, w3, sxtw]; ldr s2, [x1, w2, uxtw #2]; ldur q3, [x1, #-7]");
	assert_loaded(r, 0, at + 256, 16);
	assert_loaded(r, 1, at - 16, 8);
	assert_loaded(r, 2, at + 64, 4);
	assert_loaded(r, 3, at - 7, 16);
}

static void a_store_writes_its_bytes_and_no_others(void **state)
{
	static const char *const stores[] = {"str b5, [x1]", "str h5, [x1]", "str s5, [x1]", "str d5, [x1]",
					     "str q5, [x1]"};
	struct rig *r = *state;

	for (int log = 0; log < 5; log++) {
		uint8_t before[RIG_DATA_SIZE];
		memcpy(before, r->data, sizeof before);
		memcpy(before + 1024, &r->cpu.vr[5], 1 << log);
		rig_run(r, stores[log]);
		assert_memory_equal(r->data, before, sizeof before);
		r->cpu.vr[5].d[0] += UINT64_C(0x0101010101010101);
	}
}

static void the_base_is_written_back_before_or_behind_the_access(void **state)
{
	struct rig *r = *state;
	uint64_t at = r->cpu.x[1];

	rig_run(r, "ldr q0, [x1], #-16");
	assert_loaded(r, 0, (void *)at, 16);
	assert_int_equal(r->cpu.x[1], at - 16);
	rig_run(r, "ldr s0, [x1, #20]!");
	assert_loaded(r, 0, (void *)(at + 4), 4);
	assert_int_equal(r->cpu.x[1], at + 4);
	rig_run(r, "ldp q0, q1, [x1], #32");
	assert_loaded(r, 1, (void *)(at + 20), 16);
	assert_int_equal(r->cpu.x[1], at + 36);
	rig_run(r, "stp d0, d1, [x1, #-16]!");
	assert_int_equal(r->cpu.x[1], at + 20);
	assert_memory_equal((void *)(at + 28), &r->cpu.vr[1], 8);
}

static void a_pair_stands_side_by_side(void **state)
{
	struct rig *r = *state;

	rig_run(r, "ldp s0, s1, [x1, #-8]; ldp d2, d3, [x1, #16]; ldnp q4, q5, [x1, #64]");
	assert_loaded(r, 0, r->data + 1016, 4);
	assert_loaded(r, 1, r->data + 1020, 4);
	assert_loaded(r, 2, r->data + 1040, 8);
	assert_loaded(r, 3, r->data + 1048, 8);
	assert_loaded(r, 4, r->data + 1088, 16);
	assert_loaded(r, 5, r->data + 1104, 16);
}

/* ---- faults ---- */

static void assert_faults_without_a_trace(struct rig *r, const char *text, uint64_t addr)
{
	struct lp_cpu *cpu = &r->cpu;
	union lp_vreg vectors[32];
	uint64_t general[32];

	memcpy(vectors, cpu->vr, sizeof vectors);
	memcpy(general, cpu->x, sizeof general);
	assert_int_equal(rig_run(r, text), LP_LEAVE_FAULT);
	assert_int_equal(cpu->pc, RIG_PC);
	assert_int_equal(cpu->fault.signal, SIGSEGV);
	assert_int_equal(cpu->fault.addr, addr);
	assert_memory_equal(cpu->vr, vectors, sizeof vectors);
	assert_memory_equal(cpu->x, general, sizeof general);
}

static void a_load_that_faults_half_way_has_loaded_nothing(void **state)
{
	static const struct {
		const char *text;
		int before_end;
	} loads[] = {{"ldp q0, q1, [x1], #32", 16},
		     {"ldp s0, s1, [x1, #0]!", 4},
		     {"ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x1], #64", 48},
		     {"ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1], #64", 32},
		     {"ld3 {v0.b, v1.b, v2.b}[5], [x1], #3", 2},
		     {"ld2r {v0.8h, v1.8h}, [x1], #4", 2}};
	struct rig *r = *state;
	const uint64_t end = (uint64_t)r->data + RIG_DATA_SIZE;

	for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
		r->cpu.x[1] = end - loads[i].before_end;
		assert_faults_without_a_trace(r, loads[i].text, end);
	}
}

static void a_store_that_faults_does_not_move_its_base(void **state)
{
	struct rig *r = *state;
	const uint64_t end = (uint64_t)r->data + RIG_DATA_SIZE;

	r->cpu.x[1] = end - 16;
	assert_faults_without_a_trace(r, "st1 {v0.16b, v1.16b}, [x1], #32", end);
	assert_faults_without_a_trace(r, "stp q0, q1, [x1, #16]!", end);
}

/* ---- structures ---- */

/* Which registers and bytes belong to each other, as CheckAdvSIMD...Mem in the manual does: element by element. */
struct element {
	unsigned reg, lane, size;
	bool replicated;
};

/* Elements in the order of memory; their number. */
static unsigned elements_of(uint32_t word, struct element out[64])
{
	unsigned rt = word & 31, q = word >> 30 & 1, nr = 0;

	if (!(word >> 24 & 1)) { /* multiple structures: opcode says how many registers, and whether interleaved */
		unsigned opcode = word >> 12 & 15, log = word >> 10 & 3;
		unsigned repeat = opcode == 2 ? 4 : opcode == 6 ? 3 : opcode == 10 ? 2 : 1;
		unsigned interleaved = opcode == 0 ? 4 : opcode == 4 ? 3 : opcode == 8 ? 2 : 1;
		for (unsigned k = 0; k < repeat; k++)
			for (unsigned e = 0; e < (8u << q) >> log; e++)
				for (unsigned s = 0; s < interleaved; s++)
					out[nr++] = (struct element){(rt + k + s) % 32, e, 1u << log, false};
		return nr;
	}
	unsigned scale = word >> 14 & 3, size = word >> 10 & 3, s = word >> 12 & 1;
	unsigned count = ((word >> 13 & 1) << 1 | (word >> 21 & 1)) + 1, index = q << 3 | s << 2 | size;
	bool replicated = scale == 3;
	if (replicated)
		scale = size;
	else if (scale == 2 && size & 1)
		scale = 3;
	for (unsigned k = 0; k < count; k++)
		out[nr++] = (struct element){(rt + k) % 32, index >> scale, 1u << scale, replicated};
	return nr;
}

static void expect_structure(const struct lp_cpu *cpu, uint32_t word, uint8_t *memory, union lp_vreg vr[32])
{
	struct element elements[64];
	unsigned nr = elements_of(word, elements), q = word >> 30 & 1;
	bool is_load = word >> 22 & 1, is_whole = !(word >> 24 & 1);

	for (unsigned i = 0; i < nr; i++) {
		struct element *e = &elements[i];
		if (is_load && (is_whole ? e->lane == 0 : e->replicated))
			vr[e->reg] = (union lp_vreg){0};
	}
	for (unsigned i = 0; i < nr; i++) {
		struct element *e = &elements[i];
		unsigned copies = e->replicated ? (8u << q) / e->size : 1;
		for (unsigned c = 0; c < copies; c++) {
			uint8_t *lane = vr[e->reg].b + (e->replicated ? c : e->lane) * e->size;
			if (is_load)
				memcpy(lane, memory, e->size);
			else
				memcpy(memory, lane, e->size);
		}
		memory += e->size;
	}
}

static unsigned bytes_of(uint32_t word)
{
	struct element elements[64];

	return elements_of(word, elements) * elements[0].size;
}

static void structures_are_what_the_manual_says_element_by_element(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 3;
	unsigned rows = 0;

	for (enum lp_a64_op op = A64_OP_ST4; op <= A64_OP_LD4R_POST; op++) {
		const struct lp_a64_row *row = lp_a64_row(op);
		rows++;
		for (unsigned n = 0; n < 60; n++) {
			uint32_t word = row->match | ((uint32_t)(rig_random(&seed) >> 32) & ~row->mask);
			uint8_t memory[RIG_DATA_SIZE];
			union lp_vreg vr[32];
			bool is_post = word >> 23 & 1;
			uint64_t base = (uint64_t)r->data + 1024 + rig_random(&seed) % 512, step = bytes_of(word);

			if (lp_a64_decode(word) != op)
				continue;
			word = (word & ~(31u << 5)) | 1u << 5;
			r->plain = n & 1;
			r->cpu.x[1] = base;
			r->cpu.x[7] = 5;
			if (is_post && n & 2) {
				word = (word & ~(31u << 16)) | 7u << 16;
				step = 5;
			} else if (is_post) {
				word |= 31u << 16;
			}
			memcpy(memory, r->data, sizeof memory);
			memcpy(vr, r->cpu.vr, sizeof vr);
			expect_structure(&r->cpu, word, memory + (base - (uint64_t)r->data), vr);
			assert_int_equal(rig_run_word(r, word), LP_LEAVE_LOOKUP);
			if (memcmp(vr, r->cpu.vr, sizeof vr) != 0 || memcmp(memory, r->data, sizeof memory) != 0 ||
			    r->cpu.x[1] != base + (is_post ? step : 0))
				fail_msg("%s %08x", row->name, word);
		}
	}
	assert_int_equal(rows, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_load_fills_the_register_with_zeros_above, setup, teardown),
		cmocka_unit_test_setup_teardown(a_store_writes_its_bytes_and_no_others, setup, teardown),
		cmocka_unit_test_setup_teardown(the_base_is_written_back_before_or_behind_the_access, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pair_stands_side_by_side, setup, teardown),
		cmocka_unit_test_setup_teardown(a_load_that_faults_half_way_has_loaded_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_store_that_faults_does_not_move_its_base, setup, teardown),
		cmocka_unit_test_setup_teardown(structures_are_what_the_manual_says_element_by_element, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
