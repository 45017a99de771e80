/*
 * What a relocation must refuse: values just outside the psABI's bounds, and
 * instructions it is not for.  The bounds stand here as the ABI documents print
 * them, not as reloc.def encodes them.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "isa/isa.h"

struct bounds {
	uint32_t type, insn; /* insn: what stands at the place (aarch64) */
	int64_t low, high;   /* first and last value that is taken */
	int64_t step;	     /* alignment of the values */
};

#define K INT64_C(1)

static const struct bounds x64_bounds[] = {
	{R_X86_64_32, 0, 0, 0xffffffff, 1},
	{R_X86_64_SIZE32, 0, 0, 0xffffffff, 1},
	{R_X86_64_32S, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_PC32, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_PLT32, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_GOTPCREL, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_REX_GOTPCRELX, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_TPOFF32, 0, -(K << 31), (K << 31) - 1, 1},
	{R_X86_64_16, 0, -(K << 15), 0xffff, 1},
	{R_X86_64_PC16, 0, -(K << 15), (K << 15) - 1, 1},
	{R_X86_64_8, 0, -128, 255, 1},
	{R_X86_64_PC8, 0, -128, 127, 1},
	{0},
};

static const struct bounds a64_bounds[] = {
	{R_AARCH64_ABS32, 0, -(K << 31), (K << 32) - 1, 1},
	{R_AARCH64_ABS16, 0, -(K << 15), (K << 16) - 1, 1},
	{R_AARCH64_PREL32, 0, -(K << 31), (K << 32) - 1, 1},
	{R_AARCH64_PREL16, 0, -(K << 15), (K << 16) - 1, 1},
	{314 /* PLT32 */, 0, -(K << 31), (K << 31) - 1, 1},
	{R_AARCH64_MOVW_UABS_G0, 0xd2800000, 0, (K << 16) - 1, 1},
	{R_AARCH64_MOVW_UABS_G1, 0xd2a00000, 0, (K << 32) - 1, 1},
	{R_AARCH64_MOVW_UABS_G2, 0xd2c00000, 0, (K << 48) - 1, 1},
	{R_AARCH64_MOVW_SABS_G0, 0xd2800000, -(K << 16), (K << 16) - 1, 1},
	{R_AARCH64_MOVW_SABS_G1, 0xd2a00000, -(K << 32), (K << 32) - 1, 1},
	{R_AARCH64_MOVW_SABS_G2, 0xd2c00000, -(K << 48), (K << 48) - 1, 1},
	{R_AARCH64_LD_PREL_LO19, 0x58000000, -(K << 20), (K << 20) - 4, 4},
	{R_AARCH64_ADR_PREL_LO21, 0x10000000, -(K << 20), (K << 20) - 1, 1},
	{R_AARCH64_ADR_PREL_PG_HI21, 0x90000000, -(K << 32), (K << 32) - 4096, 4096},
	{R_AARCH64_ADR_GOT_PAGE, 0x90000000, -(K << 32), (K << 32) - 4096, 4096},
	{R_AARCH64_TSTBR14, 0x36000000, -(K << 15), (K << 15) - 4, 4},
	{R_AARCH64_CONDBR19, 0x54000000, -(K << 20), (K << 20) - 4, 4},
	{R_AARCH64_JUMP26, 0x14000000, -(K << 27), (K << 27) - 4, 4},
	{R_AARCH64_CALL26, 0x94000000, -(K << 27), (K << 27) - 4, 4},
	{R_AARCH64_LD64_GOTPAGE_LO15, 0xf9400000, 0, (K << 15) - 8, 8},
	{R_AARCH64_TLSLE_ADD_TPREL_HI12, 0x91400000, 0, (K << 24) - 1, 1},
	{R_AARCH64_TLSLE_ADD_TPREL_LO12, 0x91000000, 0, (K << 12) - 1, 1},
	{R_AARCH64_TLSLE_LDST64_TPREL_LO12, 0xf9400000, 0, (K << 12) - 8, 8},
	{R_AARCH64_TLSLE_LDST128_TPREL_LO12, 0x3dc00000, 0, (K << 12) - 16, 16},
	{0},
};

static int store(const struct lp_isa *isa, uint32_t type, uint32_t insn, int64_t value)
{
	uint8_t place[16] = {0};
	struct lp_err err = {0};

	memset(place + 8, 0xa5, 8);
	lp_put32(place, insn);
	int rc = isa->reloc_store(isa->howto(type), place, (uint64_t)value, &err);
	assert_int_equal(err.code, rc);
	assert_int_equal(lp_get64(place + 8), 0xa5a5a5a5a5a5a5a5);
	if (rc)
		assert_int_equal(lp_get64(place), insn); /* refused: nothing stored */
	else if (isa->howto(type)->width < 8)		 /* nothing behind the place, either */
		assert_int_equal(lp_get64(place) >> 8 * isa->howto(type)->width, 0);
	return rc;
}

static void check_bounds(const struct lp_isa *isa, const struct bounds *b)
{
	for (; b->type; b++) {
		const char *name = isa->howto(b->type)->name;

		if (store(isa, b->type, b->insn, b->low) || store(isa, b->type, b->insn, b->high))
			fail_msg("%s refuses a value inside its bounds", name);
		if (store(isa, b->type, b->insn, b->low - b->step) != -LP_ERANGE)
			fail_msg("%s takes a value below its bounds", name);
		if (store(isa, b->type, b->insn, b->high + b->step) != -LP_ERANGE)
			fail_msg("%s takes a value above its bounds", name);
		if (b->step > 1 && store(isa, b->type, b->insn, b->step / 2) != -LP_ERANGE)
			fail_msg("%s takes a crooked value", name);
	}
}

static void values_outside_the_abis_bounds_are_refused(void **state)
{
	check_bounds(&lp_isa_x64, x64_bounds);
	check_bounds(&lp_isa_a64, a64_bounds);
}

static void relocations_without_a_check_cut_on_purpose(void **state)
{
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_ADD_ABS_LO12_NC, 0x91000000, INT64_MIN + 5), 0);
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_MOVW_UABS_G0_NC, 0xf2800000, -1), 0);
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_ADR_PREL_PG_HI21_NC, 0x90000000, K << 40), 0);
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_LDST32_ABS_LO12_NC, 0xb9400000, 0x123456788), 0);
	/* ... but not what nobody else stores */
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_LDST32_ABS_LO12_NC, 0xb9400000, 0x12345678a), -LP_ERANGE);
	assert_int_equal(store(&lp_isa_a64, R_AARCH64_LDST128_ABS_LO12_NC, 0x3dc00000, 8), -LP_ERANGE);
}

/* Every aarch64 relocation of an instruction, on an instruction it is not for: nop, its neighbour's, its sibling's. */
static void a_relocation_refuses_instructions_it_is_not_for(void **state)
{
	static const struct {
		uint32_t type, wrong;
	} rows[] = {
		{R_AARCH64_LDST8_ABS_LO12_NC, 0x3dc00000},    /* ldr q: size bits 00 as well */
		{R_AARCH64_LDST8_ABS_LO12_NC, 0x79400000},    /* ldrh */
		{R_AARCH64_LDST16_ABS_LO12_NC, 0xb9400000},   /* ldr w */
		{R_AARCH64_LDST32_ABS_LO12_NC, 0xf9400000},   /* ldr x */
		{R_AARCH64_LDST64_ABS_LO12_NC, 0x3dc00000},   /* ldr q */
		{R_AARCH64_LDST64_ABS_LO12_NC, 0xf8400000},   /* ldur x */
		{R_AARCH64_LDST128_ABS_LO12_NC, 0x3d400000},  /* ldr b */
		{R_AARCH64_ADR_PREL_LO21, 0x90000000},	      /* adrp */
		{R_AARCH64_ADR_PREL_PG_HI21, 0x10000000},     /* adr */
		{R_AARCH64_ADD_ABS_LO12_NC, 0xd1000000},      /* sub */
		{R_AARCH64_ADD_ABS_LO12_NC, 0x91400000},      /* add ..., lsl 12 */
		{R_AARCH64_TLSLE_ADD_TPREL_HI12, 0x91000000}, /* add without the shift */
		{R_AARCH64_MOVW_UABS_G0, 0xd2a00000},	      /* movz ..., lsl 16 */
		{R_AARCH64_MOVW_UABS_G2, 0x52c00000},	      /* 32-bit movz cannot shift by 32 */
		{R_AARCH64_MOVW_SABS_G0, 0xf2800000},	      /* movk has no sign */
		{R_AARCH64_CONDBR19, 0x36000000},	      /* tbz */
		{R_AARCH64_TSTBR14, 0x34000000},	      /* cbz */
		{R_AARCH64_JUMP26, 0x54000000},		      /* b.eq */
		{R_AARCH64_CALL26, 0xd63f0000},		      /* blr */
		{R_AARCH64_LD_PREL_LO19, 0xf9400000},	      /* ldr x, [x] */
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (store(&lp_isa_a64, rows[i].type, rows[i].wrong, 0) != -LP_EENCODING)
			fail_msg("%s takes 0x%08x", lp_isa_a64.howto(rows[i].type)->name, rows[i].wrong);
	}
	for (uint32_t type = 263; type < 600; type++) {
		const struct lp_reloc_howto *h = lp_isa_a64.howto(type);
		static const uint32_t data[] = {307, 308, 314, 315};
		bool is_data = false;

		for (size_t i = 0; i < 4; i++)
			is_data |= data[i] == type;
		if (h && h->width && !is_data && store(&lp_isa_a64, type, 0xd503201f, 0) != -LP_EENCODING)
			fail_msg("%s takes a nop", h->name);
	}
}

static void numbers_that_no_abi_gives_are_unknown(void **state)
{
	static const uint32_t a64[] = {1, 180, 255, 281, 294, 298, 316, 511, 574, 1023, 1033, UINT32_MAX};

	assert_null(lp_isa_x64.howto(52));
	assert_null(lp_isa_x64.howto(UINT32_MAX));
	for (size_t i = 0; i < sizeof a64 / sizeof a64[0]; i++)
		assert_null(lp_isa_a64.howto(a64[i]));
}

static void the_dynamic_relocations_have_the_formulas_a_loader_needs(void **state)
{
	static const struct {
		const struct lp_isa *isa;
		uint32_t type;
		uint8_t formula, width;
	} rows[] = {
		{&lp_isa_x64, R_X86_64_NONE, LP_RELOC_NONE, 0},
		{&lp_isa_x64, R_X86_64_64, LP_RELOC_ABS, 8},
		{&lp_isa_x64, R_X86_64_GLOB_DAT, LP_RELOC_SYM, 8},
		{&lp_isa_x64, R_X86_64_JUMP_SLOT, LP_RELOC_SYM, 8},
		{&lp_isa_x64, R_X86_64_RELATIVE, LP_RELOC_BASE, 8},
		{&lp_isa_x64, R_X86_64_IRELATIVE, LP_RELOC_IFUNC, 8},
		{&lp_isa_x64, R_X86_64_COPY, LP_RELOC_COPY, 0},
		{&lp_isa_x64, R_X86_64_DTPMOD64, LP_RELOC_DTPMOD, 8},
		{&lp_isa_x64, R_X86_64_DTPOFF64, LP_RELOC_DTPOFF, 8},
		{&lp_isa_x64, R_X86_64_TPOFF64, LP_RELOC_TPOFF, 8},
		{&lp_isa_x64, R_X86_64_TLSDESC, LP_RELOC_TLSDESC, 8},
		{&lp_isa_a64, R_AARCH64_NONE, LP_RELOC_NONE, 0},
		{&lp_isa_a64, R_AARCH64_ABS64, LP_RELOC_ABS, 8},
		{&lp_isa_a64, R_AARCH64_GLOB_DAT, LP_RELOC_SYM, 8},
		{&lp_isa_a64, R_AARCH64_JUMP_SLOT, LP_RELOC_SYM, 8},
		{&lp_isa_a64, R_AARCH64_RELATIVE, LP_RELOC_BASE, 8},
		{&lp_isa_a64, R_AARCH64_IRELATIVE, LP_RELOC_IFUNC, 8},
		{&lp_isa_a64, R_AARCH64_COPY, LP_RELOC_COPY, 0},
		{&lp_isa_a64, R_AARCH64_TLS_DTPMOD, LP_RELOC_DTPMOD, 8},
		{&lp_isa_a64, R_AARCH64_TLS_DTPREL, LP_RELOC_DTPOFF, 8},
		{&lp_isa_a64, R_AARCH64_TLS_TPREL, LP_RELOC_TPOFF, 8},
		{&lp_isa_a64, R_AARCH64_TLSDESC, LP_RELOC_TLSDESC, 8},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct lp_reloc_howto *h = rows[i].isa->howto(rows[i].type);
		uint8_t place[8] = {0};

		assert_non_null(h);
		assert_int_equal(h->formula, rows[i].formula);
		assert_int_equal(h->width, rows[i].width);
		assert_int_equal(rows[i].isa->reloc_store(h, place, 0xfedcba9876543210, NULL), 0);
		assert_int_equal(lp_get64(place), h->width ? 0xfedcba9876543210 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_outside_the_abis_bounds_are_refused),
		cmocka_unit_test(relocations_without_a_check_cut_on_purpose),
		cmocka_unit_test(a_relocation_refuses_instructions_it_is_not_for),
		cmocka_unit_test(numbers_that_no_abi_gives_are_unknown),
		cmocka_unit_test(the_dynamic_relocations_have_the_formulas_a_loader_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
