/* What a unit's code refers to, by name: for people who read it. */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "jit/emit.h"

/* ---- addresses ---- */

static bool name_slot(const struct lp_jit *jit, uint64_t at, struct lp_buf *out)
{
	uint64_t offset = at - (uint64_t)jit->slot_array;

	if (offset >= jit->nr_slots * sizeof jit->slot_array[0] || offset % sizeof jit->slot_array[0])
		return false;
	lp_buf_printf(out, "slot of %#" PRIx64, jit->slot_array[offset / sizeof jit->slot_array[0]].pc);
	return true;
}

static bool name_slot_stub(const struct lp_jit *jit, uint64_t at, struct lp_buf *out)
{
	uint64_t offset = at - (uint64_t)jit->slot_stubs;

	if (offset >= jit->nr_slots * LP_STUB || offset % LP_STUB)
		return false;
	lp_buf_printf(out, "stub of %#" PRIx64, jit->slot_array[offset / LP_STUB].pc);
	return true;
}

static bool name_constant(const struct lp_jit *jit, uint64_t at, struct lp_buf *out)
{
	uint64_t offset = at - (uint64_t)jit->constants;
	const struct lp_constant *c;

	if (offset >= jit->nr_constants * sizeof *c || offset % sizeof c->low)
		return false;
	c = &jit->constants[offset / sizeof *c];
	if (offset % sizeof *c)
		lp_buf_printf(out, "constant %016" PRIx64, c->high);
	else
		lp_buf_printf(out, "constant %016" PRIx64 ":%016" PRIx64, c->high, c->low);
	return true;
}

static bool name_stub(const struct lp_jit *jit, uint64_t at, struct lp_buf *out)
{
	static const struct {
		const char *name;
		size_t at;
	} stubs[] = {
#define STUB(name) {#name, offsetof(struct lp_jit_stubs, name)}
		STUB(enter), STUB(exit_lookup), STUB(exit_left), STUB(fallback), STUB(call_c),
		STUB(miss),  STUB(jump),	STUB(ret_miss),	 STUB(bottom),
#undef STUB
	};
	const void *stub;

	for (size_t i = 0; i < sizeof stubs / sizeof stubs[0]; i++) {
		memcpy(&stub, (const char *)&jit->stubs + stubs[i].at, sizeof stub);
		if ((uint64_t)stub == at) {
			lp_buf_printf(out, "stub %s", stubs[i].name);
			return true;
		}
	}
	return false;
}

static bool name_uop(const struct lp_unit *unit, uint64_t at, struct lp_buf *out)
{
	const struct lp_uop *end = (const void *)unit->looked; /* which lie behind the uops */
	uint64_t offset = at - (uint64_t)unit->uops;

	if (at >= (uint64_t)end || offset % (2 * sizeof *end) || at < (uint64_t)unit->uops)
		return false;
	lp_buf_printf(out, "interpreter's %#" PRIx64, unit->uops[offset / sizeof *end].pc);
	return true;
}

static void name(const struct lp_jit *jit, const struct lp_unit *unit, uint64_t at, struct lp_buf *out)
{
	size_t before = out->len, named;

	lp_buf_printf(out, "at %#" PRIx64 " ", at);
	named = out->len;
	if (name_slot(jit, at, out) || name_slot_stub(jit, at, out) || name_constant(jit, at, out) ||
	    name_stub(jit, at, out) || name_uop(unit, at, out))
		lp_buf_str(out, "\n");
	if (out->len == named)
		out->len = before;
}

/* Everything that may be meant by any four or eight bytes of the code: more than is meant, but nobody asks for the rest. */
static void name_all(const struct lp_jit *jit, const struct lp_unit *unit, struct lp_buf *out)
{
	static const unsigned behind[] = {0, 1, 2, 4}; /* bytes of an immediate behind what is relative to rip */
	uint64_t whole;
	int32_t distance;

	for (uint32_t i = 0; i + sizeof distance <= unit->size; i++) {
		memcpy(&distance, unit->code + i, sizeof distance);
		for (size_t b = 0; b < sizeof behind / sizeof behind[0]; b++)
			name(jit, unit,
			     (uint64_t)unit->code + i + sizeof distance + behind[b] + (uint64_t)(int64_t)distance, out);
		if (i + sizeof whole > unit->size)
			continue;
		memcpy(&whole, unit->code + i, sizeof whole);
		name(jit, unit, whole, out);
	}
}

/* ---- the cpu ---- */

static const struct {
	const char *name;
	size_t at;
} fields[] = {
#define FIELD(name, member)                           \
	{                                             \
		name, offsetof(struct lp_cpu, member) \
	}
	FIELD("pc", pc),
	FIELD("poll", poll),
	FIELD("flags", jit.flags),
	FIELD("fpsr", fpsr),
	FIELD("fpcr", fpcr),
	FIELD("tpidr_el0", tpidr),
	FIELD("exclusive.addr", exclusive.addr),
	FIELD("exclusive.size", exclusive.size),
	FIELD("exclusive.value", exclusive.value[0]),
	FIELD("exclusive.value[1]", exclusive.value[1]),
	FIELD("host sp", jit.host_sp),
	FIELD("shadow sp", jit.shadow_sp),
	FIELD("shadow limit", jit.shadow_limit),
	FIELD("shadow base", jit.shadow_base),
	FIELD("jumps", jit.jumps),
	FIELD("branch", branch),
	FIELD("leave", leave),
	FIELD("nr_insns", nr_insns),
#undef FIELD
};

static void add_field(struct lp_buf *out, size_t at, const char *name, unsigned number)
{
	lp_buf_printf(out, "field %d %s", (int)at - LP_CPU_BIAS, name);
	if (number != ~0U)
		lp_buf_printf(out, "%u", number);
	lp_buf_str(out, "\n");
}

static void name_fields(struct lp_buf *out)
{
	for (unsigned i = 0; i < LP_SP; i++)
		add_field(out, offsetof(struct lp_cpu, x) + i * sizeof(uint64_t), "x", i);
	add_field(out, offsetof(struct lp_cpu, x[LP_SP]), "sp", ~0U);
	add_field(out, offsetof(struct lp_cpu, x[LP_ZR]), "xzr", ~0U);
	for (unsigned i = 0; i < 32; i++)
		add_field(out, offsetof(struct lp_cpu, vr) + i * sizeof(union lp_vreg), "v", i);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		add_field(out, fields[i].at, fields[i].name, ~0U);
	add_field(out, offsetof(struct lp_cpu, jit.flags) + 1, "flags, second byte", ~0U);
}

static void name_pins(const struct lp_unit *unit, struct lp_buf *out)
{
	static const char *const host[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15"};
	const int8_t *pin = unit->region ? unit->region->pin : lp_pin;

	for (unsigned r = 0; r <= LP_SP; r++)
		if (pin[r] >= 0 && r == LP_SP)
			lp_buf_printf(out, "pin sp %s\n", host[pin[r]]);
		else if (pin[r] >= 0)
			lp_buf_printf(out, "pin x%u %s\n", r, host[pin[r]]);
}

/* ---- the unit ---- */

void lp_jit_describe(struct lp_emu *emu, const struct lp_jit_made *made, struct lp_buf *out)
{
	struct lp_jit *jit = emu->engine_data;

	lp_buf_printf(out, "host %#" PRIx64 " %u %u\n", (uint64_t)made->code, made->size, made->hot_size);
	for (unsigned i = 0; i < made->nr_insns; i++) {
		if (made->unit->region && !lp_unit_region_has(made->unit->region, i))
			continue;
		lp_buf_printf(out, "insn %#" PRIx64 " %#" PRIx32 " %u\n", made->pc + i * 4, made->words[i],
			      made->offsets[i]);
	}
	for (size_t i = 0; i < made->nr_cold; i++)
		lp_buf_printf(out, "cold %u %#" PRIx64 "\n", made->cold[i].offset, made->pc + made->cold[i].insn * 4);
	name_pins(made->unit, out);
	name_fields(out);
	name_all(jit, made->unit, out);
	lp_buf_str(out, "code ");
	lp_buf_hex(out, made->code, made->size);
	lp_buf_str(out, "\n");
}
