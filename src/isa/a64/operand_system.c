/* Barriers and registers of the system. */
#include "isa/a64/operand.h"

#include <string.h>
#include <strings.h>

#include "base/vec.h"

static const char *const barriers[16] = {NULL, "oshld", "oshst", "osh", NULL, "nshld", "nshst", "nsh",
					 NULL, "ishld", "ishst", "ish", NULL, "ld",    "st",	"sy"};

void lp_a64_print_barrier(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t crm = lp_a64_bits(l->word, 8, 4);

	if (barriers[crm])
		lp_a64_put(l, "%s", barriers[crm]);
	else
		lp_a64_put(l, "#0x%02" PRIx32, crm);
}

bool lp_a64_scan_barrier(struct lp_a64_scan *s, const uint8_t *arg)
{
	int name = lp_a64_scan_one_of(s, barriers, 16);
	int64_t crm = name;

	return (name >= 0 || lp_a64_scan_within(s, 0, 15, &crm)) && lp_a64_scan_set_bits(s, 8, 4, (uint32_t)crm);
}

/* ---- PSTATE fields that MSR (immediate) sets ---- */

static const struct pstate {
	const char *name;
	uint8_t op1, op2, max;
} pstates[] = {
	{"uao", 0, 3, 1}, {"pan", 0, 4, 1}, {"spsel", 0, 5, 15},   {"ssbs", 3, 1, 1},
	{"dit", 3, 2, 1}, {"tco", 3, 4, 1}, {"daifset", 3, 6, 15}, {"daifclr", 3, 7, 15},
};

static const struct pstate *find_pstate(uint32_t word)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(pstates); i++) {
		if (lp_a64_bits(word, 16, 3) == pstates[i].op1 && lp_a64_bits(word, 5, 3) == pstates[i].op2)
			return &pstates[i];
	}
	return NULL;
}

bool lp_a64_pstate_takes(uint32_t word)
{
	const struct pstate *p = find_pstate(word);

	return p && lp_a64_bits(word, 8, 4) <= p->max;
}

void lp_a64_print_pstate(struct lp_a64_line *l, const uint8_t *arg)
{
	const struct pstate *p = find_pstate(l->word);

	lp_a64_put(l, "%s", p ? p->name : "?");
}

bool lp_a64_scan_pstate(struct lp_a64_scan *s, const uint8_t *arg)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(pstates); i++) {
		if (lp_a64_scan_name(s, pstates[i].name))
			return lp_a64_scan_set_bits(s, 16, 3, pstates[i].op1) &&
			       lp_a64_scan_set_bits(s, 5, 3, pstates[i].op2);
	}
	return lp_a64_scan_fail(s, LP_EPARSE, "a field of PSTATE is expected");
}

/* ---- system registers: op0 op1 CRn CRm op2 ---- */

#define SYSREG(op0, op1, crn, crm, op2) ((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))

/* Those that a program sees, or the kernel lets it read; the others are called by their numbers. */
static const struct sysreg {
	const char *name;
	uint16_t encoding;
} sysregs[] = {
#define REGISTER(name, op0, op1, crn, crm, op2) {name, SYSREG(op0, op1, crn, crm, op2)},
#include "isa/a64/sysreg.def"
#undef REGISTER
};

void lp_a64_print_sysreg(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t encoding = lp_a64_bits(l->word, 5, 15) | 1u << 15;

	for (size_t i = 0; i < LP_ARRAY_SIZE(sysregs); i++) {
		if (sysregs[i].encoding == encoding) {
			lp_a64_put(l, "%s", sysregs[i].name);
			return;
		}
	}
	lp_a64_put(l, "s%u_%u_c%u_c%u_%u", encoding >> 14, encoding >> 11 & 7, encoding >> 7 & 15, encoding >> 3 & 15,
		   encoding & 7);
}

/* `before`, any case, and a decimal number up to max; *p goes behind it. */
static bool take_number(const char **p, const char *end, const char *before, unsigned max, uint32_t *number)
{
	size_t len = strlen(before);
	const char *digits = *p + len;

	if ((size_t)(end - *p) <= len || strncasecmp(*p, before, len) != 0)
		return false;
	for (*p = digits, *number = 0; *p < end && **p >= '0' && **p <= '9' && *number <= max; (*p)++)
		*number = *number * 10 + (uint32_t)(**p - '0');
	return *p > digits && *number <= max;
}

/* s3_0_c1_c2_3 */
static bool is_numbered(const char *name, size_t len, uint32_t *encoding)
{
	const char *p = name, *end = name + len;
	uint32_t op0, op1, crn, crm, op2;

	if (!take_number(&p, end, "s", 3, &op0) || !take_number(&p, end, "_", 7, &op1) ||
	    !take_number(&p, end, "_c", 15, &crn) || !take_number(&p, end, "_c", 15, &crm) ||
	    !take_number(&p, end, "_", 7, &op2) || p != end)
		return false;
	*encoding = SYSREG(op0, op1, crn, crm, op2);
	return op0 >= 2;
}

bool lp_a64_scan_sysreg(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t encoding = 0;
	const char *name;

	for (size_t i = 0; i < LP_ARRAY_SIZE(sysregs); i++) {
		if (lp_a64_scan_name(s, sysregs[i].name))
			return lp_a64_scan_set_bits(s, 5, 15, sysregs[i].encoding);
	}
	size_t len = lp_a64_scan_identifier(s, &name);
	if (is_numbered(name, len, &encoding))
		return lp_a64_scan_set_bits(s, 5, 15, encoding);
	s->p = name;
	return lp_a64_scan_fail(s, LP_EPARSE, "a system register is expected");
}

/* ---- dc and ic: names for some of sys ---- */

static const struct sysop {
	const char *name;
	uint8_t of, op1, crm, op2;
} sysops[] = {
	{"zva", SYSOP_DC, 3, 4, 1},    {"gva", SYSOP_DC, 3, 4, 3},     {"gzva", SYSOP_DC, 3, 4, 4},
	{"cvac", SYSOP_DC, 3, 10, 1},  {"cvau", SYSOP_DC, 3, 11, 1},   {"cvap", SYSOP_DC, 3, 12, 1},
	{"civac", SYSOP_DC, 3, 14, 1}, {"ivac", SYSOP_DC, 0, 6, 1},    {"isw", SYSOP_DC, 0, 6, 2},
	{"csw", SYSOP_DC, 0, 10, 2},   {"cisw", SYSOP_DC, 0, 14, 2},   {"ivau", SYSOP_IC, 3, 5, 1},
	{"iallu", SYSOP_IC, 0, 5, 0},  {"ialluis", SYSOP_IC, 0, 1, 0},
};

static const struct sysop *find_sysop(uint32_t word, unsigned of)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(sysops); i++) {
		const struct sysop *o = &sysops[i];
		if (o->of == of && lp_a64_bits(word, 12, 4) == 7 && lp_a64_bits(word, 16, 3) == o->op1 &&
		    lp_a64_bits(word, 8, 4) == o->crm && lp_a64_bits(word, 5, 3) == o->op2)
			return o;
	}
	return NULL;
}

bool lp_a64_is_sysop(uint32_t word, unsigned of)
{
	return find_sysop(word, of);
}

void lp_a64_print_sysop(struct lp_a64_line *l, const uint8_t *arg)
{
	const struct sysop *o = find_sysop(l->word, arg[0]);

	lp_a64_put(l, "%s", o ? o->name : "?");
}

bool lp_a64_scan_sysop(struct lp_a64_scan *s, const uint8_t *arg)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(sysops); i++) {
		const struct sysop *o = &sysops[i];
		if (o->of != arg[0] || !lp_a64_scan_name(s, o->name))
			continue;
		return lp_a64_scan_set_bits(s, 16, 3, o->op1) && lp_a64_scan_set_bits(s, 12, 4, 7) &&
		       lp_a64_scan_set_bits(s, 8, 4, o->crm) && lp_a64_scan_set_bits(s, 5, 3, o->op2);
	}
	return lp_a64_scan_fail(s, LP_EPARSE, "an operation on caches is expected");
}

/* C7 */
void lp_a64_print_creg(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "C%" PRIu32, lp_a64_bits(l->word, arg[0], 4));
}

bool lp_a64_scan_creg(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;
	char letter;

	if (!lp_a64_scan_lettered(s, "c", 15, &letter, &number))
		return lp_a64_scan_fail(s, LP_EPARSE, "C0 to C15 is expected");
	return lp_a64_scan_set_bits(s, arg[0], 4, number);
}
