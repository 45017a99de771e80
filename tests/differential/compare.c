/* Two outcomes of one case beside each other. */
#include "differential.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "isa/a64/operand.h"
#include "isa/isa.h"

#define SIGILL_CODE 1 /* ILL_ILLOPC, as Linux has it; qemu says ILL_ILLOPN */

/* ---- what need not be the same ---- */

static bool is_fault(const struct diff_result *r)
{
	return r->signo == SIGSEGV || r->signo == SIGBUS;
}

/* Loads that fault may have written some of their targets, stores some of their bytes (B2.2, "UNKNOWN"). */
static void forgive_partial_access(const uint32_t *slot, const struct diff_outcome *ours, struct diff_difference *d)
{
	uint64_t at = ours->result.state.pc % DIFF_SLOT / 4;
	uint32_t word = slot[at], rt = word & 31, rt2 = word >> 10 & 31;

	d->what &= ~(unsigned)DIFF_IN_MEMORY;
	if (word >> 26 & 1) {
		d->v &= ~(UINT32_C(1) << rt | UINT32_C(1) << rt2);
		if ((word & 0x3e000000) == 0x0c000000) /* LD1 to LD4: up to four in a row */
			for (unsigned i = 1; i < 4; i++)
				d->v &= ~(UINT32_C(1) << (rt + i) % 32);
	} else {
		d->x &= ~(UINT32_C(1) << rt);
		if ((word & 0x3a000000) == 0x28000000)
			d->x &= ~(UINT32_C(1) << rt2);
	}
}

/* x86-64 does not tell which address it was that cannot exist; the reference says 0 then, and we work it out. */
static bool addresses_agree(const struct diff_result *ours, const struct diff_result *theirs)
{
	return ours->addr == theirs->addr || (!theirs->addr && ours->addr >> 47);
}

/* SCTLR_EL1.SA0, which Linux sets: a base of sp must be a multiple of 16.  qemu does not look. */
static bool is_sp_misaligned(uint32_t word, const struct diff_result *ours)
{
	return ours->signo == SIGBUS && ours->code == BUS_ADRALN && (word >> 5 & 31) == 31 && ours->state.sp & 15 &&
	       ours->addr == ours->state.sp;
}

/* Where our signal counts and theirs does not. */
static bool is_forgiven(const uint32_t *slot, const struct diff_result *ours, const struct diff_result *theirs)
{
	uint32_t word = slot[ours->state.pc % DIFF_SLOT / 4];

	if (!ours->signo || (ours->signo == theirs->signo && ours->state.pc == theirs->state.pc))
		return false;
	return diff_signal_forgiven(word, ours->signo) || is_sp_misaligned(word, ours);
}

static uint32_t code_of(const struct diff_result *r)
{
	return r->signo == SIGILL ? SIGILL_CODE : r->code;
}

/* ---- comparing ---- */

static uint32_t x_differences(const struct diff_state *a, const struct diff_state *b)
{
	uint32_t bits = (uint32_t)(a->sp != b->sp) << 31;

	for (unsigned i = 0; i < 31; i++)
		bits |= (uint32_t)(a->x[i] != b->x[i]) << i;
	return bits;
}

static uint32_t v_differences(const struct diff_state *a, const struct diff_state *b)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32; i++)
		bits |= (uint32_t)(a->v[i][0] != b->v[i][0] || a->v[i][1] != b->v[i][1]) << i;
	return bits;
}

static uint32_t memory_differs(const struct diff_result *a, const struct diff_result *b)
{
	return a->nr_writes != b->nr_writes || a->memory_hash != b->memory_hash ? DIFF_IN_MEMORY : 0;
}

struct diff_difference diff_compare(const uint32_t *slot, const struct diff_outcome *ours,
				    const struct diff_outcome *theirs)
{
	const struct diff_result *a = &ours->result, *b = &theirs->result;
	struct diff_difference d = {0};

	if (ours->end == DIFF_NOT_RUN || theirs->end != DIFF_RAN)
		return d;
	if (ours->end != DIFF_RAN)
		return (struct diff_difference){DIFF_IN_END, 0, 0};
	if (is_forgiven(slot, a, b))
		return d;
	d.x = x_differences(&a->state, &b->state);
	d.v = v_differences(&a->state, &b->state);
	if (a->signo != b->signo ||
	    (a->signo && (!addresses_agree(a, b) || (a->code != b->code && a->code != code_of(b)))))
		d.what |= DIFF_IN_SIGNAL;
	if (a->state.pc != b->state.pc)
		d.what |= DIFF_IN_PC;
	d.what |= (a->state.nzcv != b->state.nzcv ? DIFF_IN_NZCV : 0U) |
		  (a->state.fpcr != b->state.fpcr ? DIFF_IN_FPCR : 0U) |
		  (a->state.fpsr != b->state.fpsr ? DIFF_IN_FPSR : 0U) | memory_differs(a, b);
	if (is_fault(a) && is_fault(b) && a->state.pc == b->state.pc && a->state.pc - DIFF_CODE < UINT64_C(1) << 24)
		forgive_partial_access(slot, ours, &d);
	d.what |= (d.x ? DIFF_IN_X : 0U) | (d.v ? DIFF_IN_V : 0U);
	return d;
}

void diff_expect_sigill(const struct diff_input *in, struct diff_outcome *out)
{
	*out = (struct diff_outcome){.end = DIFF_RAN};
	out->result.state = in->state;
	out->result.state.pc = in->state.pc + 4;
	out->result.signo = SIGILL;
	out->result.code = SIGILL_CODE;
	out->result.addr = out->result.state.pc;
}

/* ---- saying it ---- */

static void print_end(FILE *f, const struct diff_outcome *o)
{
	if (o->end == DIFF_DIED)
		fprintf(f, "died, wait status %#x", (unsigned)o->status);
	else if (o->end == DIFF_HUNG)
		fprintf(f, "hung");
	else if (o->result.signo)
		fprintf(f, "signal %u code %u at %#" PRIx64, o->result.signo, o->result.code, o->result.addr);
	else
		fprintf(f, "no signal");
}

static void print_pair(FILE *f, const char *name, uint64_t a, uint64_t b)
{
	fprintf(f, "    %-5s %#018" PRIx64 "   not %#018" PRIx64 "\n", name, a, b);
}

static void print_registers(FILE *f, struct diff_difference d, const struct diff_state *a, const struct diff_state *b)
{
	char name[8];

	for (unsigned i = 0; i < 32; i++) {
		if (!(d.x >> i & 1))
			continue;
		snprintf(name, sizeof name, "x%u", i);
		print_pair(f, i == 31 ? "sp" : name, i == 31 ? a->sp : a->x[i], i == 31 ? b->sp : b->x[i]);
	}
	for (unsigned i = 0; i < 32; i++)
		if (d.v >> i & 1)
			fprintf(f, "    v%-4u %#018" PRIx64 ":%016" PRIx64 "   not %#018" PRIx64 ":%016" PRIx64 "\n", i,
				a->v[i][1], a->v[i][0], b->v[i][1], b->v[i][0]);
}

static void print_writes(FILE *f, const char *whose, const struct diff_result *r)
{
	fprintf(f, "    %s memory, %" PRIu64 " doublewords:", whose, r->nr_writes);
	for (unsigned i = 0; i < r->nr_writes && i < DIFF_NR_WRITES; i++)
		fprintf(f, " +%#" PRIx64 "=%#" PRIx64, r->writes[i].offset, r->writes[i].value);
	fprintf(f, "\n");
}

void diff_print_difference(FILE *f, struct diff_difference d, const struct diff_outcome *ours,
			   const struct diff_outcome *theirs)
{
	const struct diff_state *a = &ours->result.state, *b = &theirs->result.state;

	if (d.what & (DIFF_IN_END | DIFF_IN_SIGNAL)) {
		fprintf(f, "    ");
		print_end(f, ours);
		fprintf(f, "   not ");
		print_end(f, theirs);
		fprintf(f, "\n");
	}
	if (d.what & DIFF_IN_PC)
		print_pair(f, "pc", a->pc, b->pc);
	print_registers(f, d, a, b);
	if (d.what & DIFF_IN_NZCV)
		print_pair(f, "nzcv", a->nzcv, b->nzcv);
	if (d.what & DIFF_IN_FPCR)
		print_pair(f, "fpcr", a->fpcr, b->fpcr);
	if (d.what & DIFF_IN_FPSR)
		print_pair(f, "fpsr", a->fpsr, b->fpsr);
	if (d.what & DIFF_IN_MEMORY) {
		print_writes(f, "our  ", &ours->result);
		print_writes(f, "their", &theirs->result);
	}
}

void diff_print_code(FILE *f, const char *before, const uint32_t *words, unsigned nr, unsigned slot)
{
	char text[160];

	for (unsigned i = 0; i < nr; i++) {
		uint64_t at = DIFF_CODE + slot * (uint64_t)DIFF_SLOT + 4 + i * 4;

		if (lp_a64_decode(words[i]) == A64_OP_UNALLOCATED)
			snprintf(text, sizeof text, "(no instruction)");
		else
			lp_isa_a64.disasm((const uint8_t *)&words[i], 4, at, text, sizeof text);
		fprintf(f, "%s%08" PRIx32 "  %s\n", before, words[i], text);
	}
}
