#include "emu/features.h"

#include "emu/block.h"

enum id_register { PFR0, PFR1, ISAR0, ISAR1 };

/* An Arm Neoverse N2 r0p3, whose SVE the kernel does not use. */
enum { MIDR = 0x410fd493 };

static const struct feature {
	const char *name;
	enum lp_a64_feature rows;
	uint8_t word, bit, lsb, value;
	enum id_register id;
} features[] = {
#define FEATURE(rows, name, word, bit, id, lsb, value) {name, A64_FEATURE_##rows, word, bit, lsb, value, id},
#include "emu/feature.def"
#undef FEATURE
};

enum { NR_FEATURES = sizeof features / sizeof features[0] };

bool lp_cpu_offers(enum lp_a64_feature feature)
{
	if (feature == A64_FEATURE_BASE)
		return true;
	for (size_t i = 0; i < NR_FEATURES; i++)
		if (features[i].rows == feature)
			return true;
	return false;
}

static uint64_t hwcap(unsigned word)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < NR_FEATURES; i++)
		if (features[i].word == word)
			bits |= UINT64_C(1) << features[i].bit;
	return bits;
}

uint64_t lp_hwcap(void)
{
	return hwcap(1);
}

uint64_t lp_hwcap2(void)
{
	return hwcap(2);
}

const char *lp_feature_name(size_t index)
{
	return index < NR_FEATURES ? features[index].name : NULL; /* of word 0 they are last and NULL */
}

static uint64_t id_value(enum id_register id)
{
	uint64_t value = id == PFR0 ? 0x10 : 0; /* EL1 in AArch64 only */

	for (size_t i = 0; i < NR_FEATURES; i++) {
		uint64_t field = (uint64_t)features[i].value << features[i].lsb;
		uint64_t mask = UINT64_C(15) << features[i].lsb;
		if (features[i].id == id && field > (value & mask))
			value = (value & ~mask) | field;
	}
	return value;
}

bool lp_id_register(uint32_t sysreg, uint64_t *value)
{
	*value = 0;
	switch (sysreg) {
	case LP_SYSREG(3, 0, 0, 0, 0):
		*value = MIDR;
		return true;
	case LP_SYSREG(3, 0, 0, 0, 5): /* MPIDR_EL1: which core is nobody's business */
		*value = UINT64_C(1) << 31;
		return true;
	case LP_SYSREG(3, 0, 0, 0, 6): /* REVIDR_EL1 */
		return true;
	case LP_SYSREG(3, 0, 0, 4, 0):
		*value = id_value(PFR0);
		return true;
	case LP_SYSREG(3, 0, 0, 4, 1):
		*value = id_value(PFR1);
		return true;
	case LP_SYSREG(3, 0, 0, 6, 0):
		*value = id_value(ISAR0);
		return true;
	case LP_SYSREG(3, 0, 0, 6, 1):
		*value = id_value(ISAR1);
		return true;
	default:
		break;
	}
	/* The others of the space, those of AArch32 included, read as zero. */
	return sysreg >= LP_SYSREG(3, 0, 0, 2, 0) && sysreg <= LP_SYSREG(3, 0, 0, 7, 7);
}
