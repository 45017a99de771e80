#include "self/quarantine.h"

#include "base/vec.h"
#include "self/private.h"

static LP_VEC(struct lp_range) waiting;

/* Or may call, for all that we can read. */
static bool calls(lp_addr at, size_t size)
{
	const struct lp_isa *isa = lp_self_isa();
	uint8_t *code = lp_alloc(size);
	bool may = lp_self_read(at, code, size) != size;
	struct lp_insn in;

	for (size_t i = 0; !may && i < size; i += in.len) {
		if (!isa->insn(code + i, size - i, at + i, &in)) {
			in.len = isa->insn_align; /* a literal, or room that was never filled */
			continue;
		}
		may = in.is_call;
	}
	lp_free(code);
	return may;
}

void lp_quarantine_add(lp_addr at, size_t size)
{
	if (!calls(at, size))
		lp_vec_push(&waiting, ((struct lp_range){at, at + size}));
}

size_t lp_quarantine_nr(void)
{
	return waiting.nr;
}

void lp_quarantine_ways(struct lp_way *out)
{
	for (size_t i = 0; i < waiting.nr; i++)
		out[i] = (struct lp_way){.range = waiting.items[i]};
}

static void forget(struct lp_range r)
{
	for (size_t i = 0; i < waiting.nr; i++) {
		if (waiting.items[i].start == r.start) {
			waiting.items[i] = waiting.items[--waiting.nr];
			return;
		}
	}
}

void lp_quarantine_reap(const struct lp_way *ways, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		if (ways[i].edit || ways[i].seen)
			continue;
		forget(ways[i].range);
		lp_room_release(ways[i].range.start, ways[i].range.end - ways[i].range.start);
	}
}
