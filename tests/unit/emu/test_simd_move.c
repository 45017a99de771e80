/*
 * Advanced SIMD: lanes and bytes that are moved, and immediates, against the
 * manual's descriptions.
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

	/* Byte i of register v is 16 * v + i: what is moved shows where it was. */
	for (int v = 0; v < 16; v++)
		for (int i = 0; i < 16; i++)
			r->cpu.vr[v].b[i] = (uint8_t)(16 * v + i);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static uint64_t bytes_of(const uint8_t *v, unsigned index, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, v + index * size, size);
	return value;
}

static void assert_register(const struct rig *r, unsigned reg, uint64_t high, uint64_t low)
{
	if (r->cpu.vr[reg].d[0] != low || r->cpu.vr[reg].d[1] != high)
		fail_msg("v%u is %016lx%016lx, not %016lx%016lx", reg, r->cpu.vr[reg].d[1], r->cpu.vr[reg].d[0], high,
			 low);
}

static void run(struct rig *r, bool plain, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void run(struct rig *r, bool plain, const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	r->plain = plain;
	assert_int_equal(rig_run(r, text), LP_LEAVE_LOOKUP);
}

static const char size_name[] = "bhsd";

static void a_lane_is_read_set_and_copied_to_all_others(void **state)
{
	struct rig *r = *state;

	for (unsigned log = 0; log < 4; log++)
		for (unsigned lane = 0; lane < 16u >> log; lane++)
			for (unsigned plain = 0; plain < 2; plain++) {
				const char z = size_name[log];
				const unsigned size = 1 << log;
				const uint64_t value = bytes_of(r->cpu.vr[3].b, lane, size);
				union lp_vreg expected;

				run(r, plain, "umov %c5, v3.%c[%u]", log == 3 ? 'x' : 'w', z, lane);
				assert_int_equal(r->cpu.x[5], value);
				if (log < 3) {
					run(r, plain, "smov x5, v3.%c[%u]", z, lane);
					assert_int_equal(r->cpu.x[5],
							 (int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size));
				}
				for (unsigned i = 0; i < 16u >> log; i++)
					memcpy(expected.b + i * size, &value, size);
				run(r, plain, "dup v20.%u%c, v3.%c[%u]; mov %c21, v3.%c[%u]", 16u >> log, z, z, lane, z,
				    z, lane);
				assert_register(r, 20, expected.d[1], expected.d[0]);
				assert_register(r, 21, 0, value);
				expected = r->cpu.vr[4];
				memcpy(expected.b + lane * size, r->cpu.vr[3].b + (lane ^ 1) * size, size);
				run(r, plain, "mov v20.16b, v4.16b; ins v20.%c[%u], v3.%c[%u]", z, lane, z, lane ^ 1);
				assert_register(r, 20, expected.d[1], expected.d[0]);
				memcpy(expected.b + lane * size, "\xff\xff\xff\xff\xff\xff\xff\xff", size);
				r->cpu.x[6] = UINT64_MAX;
				run(r, plain, "ins v20.%c[%u], %c6", z, lane, log == 3 ? 'x' : 'w');
				assert_register(r, 20, expected.d[1], expected.d[0]);
			}
}

static void a_general_register_is_copied_to_all_lanes_of_a_short_register_too(void **state)
{
	struct rig *r = *state;

	r->cpu.x[1] = UINT64_C(0x1122334455667788);
	run(r, false, "dup v20.8b, w1; dup v21.4h, w1; dup v22.2s, w1; dup v23.2d, x1");
	assert_register(r, 20, 0, UINT64_C(0x8888888888888888));
	assert_register(r, 21, 0, UINT64_C(0x7788778877887788));
	assert_register(r, 22, 0, UINT64_C(0x5566778855667788));
	assert_register(r, 23, r->cpu.x[1], r->cpu.x[1]);
}

static void ext_takes_bytes_of_both_registers(void **state)
{
	struct rig *r = *state;

	for (unsigned q = 0; q < 2; q++)
		for (unsigned by = 0; by < 8u << q; by++)
			for (unsigned plain = 0; plain < 2; plain++) {
				uint8_t both[32];
				union lp_vreg expected = {0};
				memcpy(both, &r->cpu.vr[3], 8 << q);
				memcpy(both + (8 << q), &r->cpu.vr[9], 8 << q);
				memcpy(&expected, both + by, 8 << q);
				run(r, plain, "ext v20.%ub, v3.%ub, v9.%ub, #%u", 8u << q, 8u << q, 8u << q, by);
				assert_register(r, 20, expected.d[1], expected.d[0]);
			}
}

static void tables_go_on_from_register_31_to_0_and_end(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 5;

	for (int i = 0; i < 16; i++)
		r->cpu.vr[30].b[i] = r->cpu.vr[31].b[i] = (uint8_t)(100 + i);
	for (unsigned n = 0; n < 2000; n++) {
		const unsigned count = n / 2 % 4 + 1, first = n & 8 ? 2 : 30, is_tbx = n >> 4 & 1, q = n >> 5 & 1;
		union lp_vreg expected = {0};
		for (int i = 0; i < 16; i++) {
			r->cpu.vr[21].b[i] = (uint8_t)(rig_random(&seed) >> (n & 64 ? 56 : 58));
			r->cpu.vr[20].b[i] = (uint8_t)(200 + i);
		}
		for (unsigned i = 0; i < 8u << q; i++) {
			const unsigned index = r->cpu.vr[21].b[i];
			expected.b[i] = index < 16 * count ? r->cpu.vr[(first + index / 16) % 32].b[index % 16]
					: is_tbx	   ? r->cpu.vr[20].b[i]
							   : 0;
		}
		r->plain = n & 1;
		rig_run_word(r, 0x0e000000 | q << 30 | 21 << 16 | (count - 1) << 13 | is_tbx << 12 | first << 5 | 20);
		assert_register(r, 20, expected.d[1], expected.d[0]);
	}
}

/* Where lane i of the result comes from: < lanes: of the first register, else of the second. */
static unsigned source(const char *name, unsigned i, unsigned lanes)
{
	const unsigned part = (unsigned)(name[3] - '1');

	if (strncmp(name, "zip", 3) == 0)
		return i / 2 + part * lanes / 2 + (i & 1) * lanes;
	if (strncmp(name, "uzp", 3) == 0)
		return 2 * i + part;
	return (i & ~1u) + part + (i & 1) * lanes;
}

static void lanes_are_zipped_unzipped_and_transposed(void **state)
{
	static const char *const names[] = {"zip1", "zip2", "uzp1", "uzp2", "trn1", "trn2"};
	struct rig *r = *state;

	for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
		for (unsigned log = 0; log < 4; log++)
			for (unsigned q = log == 3; q < 2; q++)
				for (unsigned plain = 0; plain < 2; plain++) {
					const unsigned lanes = (8u << q) >> log, size = 1 << log;
					union lp_vreg expected = {0};
					for (unsigned i = 0; i < lanes; i++) {
						unsigned from = source(names[k], i, lanes);
						memcpy(expected.b + i * size,
						       r->cpu.vr[from < lanes ? 3 : 9].b + from % lanes * size, size);
					}
					run(r, plain, "%s v20.%u%c, v3.%u%c, v9.%u%c", names[k], lanes, size_name[log],
					    lanes, size_name[log], lanes, size_name[log]);
					assert_register(r, 20, expected.d[1], expected.d[0]);
				}
}

static void lanes_are_reversed_within_containers(void **state)
{
	struct rig *r = *state;

	for (unsigned container = 1; container < 4; container++)
		for (unsigned log = 0; log < container; log++)
			for (unsigned q = 0; q < 2; q++)
				for (unsigned plain = 0; plain < 2; plain++) {
					const unsigned lanes = (8u << q) >> log, size = 1 << log,
						       group = (1u << container) / size;
					union lp_vreg expected = {0};
					for (unsigned i = 0; i < lanes; i++)
						memcpy(expected.b + i * size,
						       r->cpu.vr[3].b +
							       (i / group * group + group - 1 - i % group) * size,
						       size);
					run(r, plain, "rev%u v20.%u%c, v3.%u%c", 8u << container, lanes, size_name[log],
					    lanes, size_name[log]);
					assert_register(r, 20, expected.d[1], expected.d[0]);
				}
}

/* AdvSIMDExpandImm; false: not one of ours (floating point). */
static uint64_t expanded(unsigned op, unsigned cmode, unsigned imm)
{
	uint64_t value = imm, mask = 0;

	if (cmode < 8)
		return (value << (cmode >> 1) * 8) * UINT64_C(0x100000001);
	if (cmode < 12)
		return (value << (cmode >> 1 & 1) * 8) * UINT64_C(0x1000100010001);
	if (cmode == 12)
		return (value << 8 | 0xff) * UINT64_C(0x100000001);
	if (cmode == 13)
		return (value << 16 | 0xffff) * UINT64_C(0x100000001);
	if (cmode == 14 && op == 0)
		return value * UINT64_C(0x0101010101010101);
	if (cmode == 14) {
		for (unsigned i = 0; i < 8; i++)
			mask |= (imm >> i & 1) ? UINT64_C(0xff) << 8 * i : 0;
		return mask;
	}
	if (op == 0) {
		value = (uint64_t)(imm >> 7) << 31 | (imm & 0x40 ? UINT64_C(0x1f) << 25 : UINT64_C(1) << 30) |
			(uint64_t)(imm & 0x3f) << 19;
		return value * UINT64_C(0x100000001);
	}
	return (uint64_t)(imm >> 7) << 63 | (imm & 0x40 ? UINT64_C(0xff) << 54 : UINT64_C(1) << 62) |
	       (uint64_t)(imm & 0x3f) << 48;
}

static void immediates_are_expanded_as_cmode_says(void **state)
{
	struct rig *r = *state;

	for (unsigned n = 0; n < 2 * 2 * 16 * 256 * 2; n++) {
		const unsigned plain = n & 1, q = n >> 1 & 1, op = n >> 2 & 1, cmode = n >> 3 & 15, imm = n >> 7 & 255;
		const uint32_t word =
			0x0f000400 | q << 30 | op << 29 | (imm >> 5) << 16 | cmode << 12 | (imm & 31) << 5 | 20;
		const uint64_t value = expanded(op, cmode, imm), before = UINT64_C(0x123456789abcdef0);
		const bool changes = cmode < 12 && cmode & 1;
		uint64_t expected = changes	       ? (op ? before & ~value : before | value)
				    : op && cmode < 14 ? ~value
						       : value;

		if (lp_a64_decode(word) == A64_OP_UNALLOCATED)
			continue;
		r->cpu.vr[20].d[0] = r->cpu.vr[20].d[1] = before;
		r->plain = plain;
		assert_int_equal(rig_run_word(r, word), LP_LEAVE_LOOKUP);
		assert_register(r, 20, q ? expected : 0, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lane_is_read_set_and_copied_to_all_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_general_register_is_copied_to_all_lanes_of_a_short_register_too,
						setup, teardown),
		cmocka_unit_test_setup_teardown(ext_takes_bytes_of_both_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_go_on_from_register_31_to_0_and_end, setup, teardown),
		cmocka_unit_test_setup_teardown(lanes_are_zipped_unzipped_and_transposed, setup, teardown),
		cmocka_unit_test_setup_teardown(lanes_are_reversed_within_containers, setup, teardown),
		cmocka_unit_test_setup_teardown(immediates_are_expanded_as_cmode_says, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
