/*
 * Rows of a64.def are named by what they do (ldr_x_uimm, stp_v_pre, ldadd), and
 * fields stand in the same places: that is enough to tell how much memory an
 * instruction touches, and how.
 */
#include "gdb/access.h"

#include <string.h>

#include "emu/access_address.h"
#include "isa/a64/table.h"

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static bool is_vector(uint32_t word)
{
	return word >> 26 & 1;
}

static bool is_pair(const char *name)
{
	return begins(name, "ldp") || begins(name, "stp") || begins(name, "ldnp") || begins(name, "stnp");
}

/* Of each register. */
static unsigned log_size(const char *name, uint32_t word)
{
	unsigned size = word >> 30;

	if (is_pair(name))
		return is_vector(word) ? 2 + size : size == 2 ? 3 : 2;
	if (strstr(name, "_lit"))
		return is_vector(word) ? 2 + size : size == 1 ? 3 : 2;
	return is_vector(word) && word >> 23 & 1 ? 4 : size;
}

static uint64_t size_of(const char *name, uint32_t word)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} odd[] = {{"stxp", 0}, {"stlxp", 0}, {"ldxp", 0}, {"ldaxp", 0}, {"casp", 0}};

	/* structures: at most four registers */
	if ((begins(name, "ld") || begins(name, "st")) && name[2] >= '1' && name[2] <= '4')
		return (uint64_t)(name[2] - '0') * 16;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		if (strcmp(name, odd[i].name) == 0)
			return word >> 30 & 1 ? 16 : 8;
	return (UINT64_C(1) << log_size(name, word)) * (is_pair(name) ? 2 : 1);
}

bool lp_gdb_access_of(const struct lp_cpu *cpu, uint32_t word, struct lp_gdb_access *out)
{
	const char *name = lp_a64_row(lp_a64_decode(word))->name;
	bool atomic =
		(begins(name, "ldadd") || begins(name, "ldclr") || begins(name, "ldeor") || begins(name, "ldset") ||
		 begins(name, "ldsm") || begins(name, "ldum") || begins(name, "swp") || begins(name, "cas"));
	bool load = atomic || begins(name, "ld"), store = atomic || (begins(name, "st") && !begins(name, "stg"));
	uint64_t at;

	if ((!load && !store) || !lp_access_address(cpu, cpu->pc, word, &at, &(bool){false}))
		return false;
	*out = (struct lp_gdb_access){{at, at + size_of(name, word)}, load, store};
	return true;
}
