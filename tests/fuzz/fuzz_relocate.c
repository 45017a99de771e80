/*
 * Instructions to be moved to another place.  Whatever the bytes are, what
 * comes out stays within its limits, its map is in order, and each copy begins
 * where the map says; or there is a sentence.
 *
 *     byte 0   bit 0 aarch64, 1 guarded, 2 far, 3 the function is known, 4 the room is small
 *     byte 1   need
 *     byte 2   where in the function the first instruction is
 *     the rest is the function
 */
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "fuzz.h"
#include "isa/isa.h"

#define FUNCTION UINT64_C(0x401000)

#define expect(condition)         \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void check_map(const struct lp_moved *m, const struct lp_move_request *req)
{
	expect(m->nr_map >= 2 && m->nr_map <= LP_MOVE_MAX + 1);
	expect(m->map[0].from == 0 && m->map[0].to == 0);
	for (size_t i = 1; i < m->nr_map; i++)
		expect(m->map[i].from > m->map[i - 1].from && m->map[i].to > m->map[i - 1].to);
	expect(m->map[m->nr_map - 1].from == m->taken && m->map[m->nr_map - 1].to <= m->len);
	expect(m->taken >= req->need && m->taken <= req->code_len);
}

static void check_moved(const struct lp_isa *isa, const struct lp_moved *m, const struct lp_move_request *req)
{
	expect(m->len && m->len <= req->room && m->len <= LP_MOVED_MAX);
	check_map(m, req);
	for (size_t i = 0; i + 1 < m->nr_map; i++)
		expect(isa->insn_length(m->bytes + m->map[i].to, m->len - m->map[i].to, req->to + m->map[i].to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;

	const struct lp_isa *isa = data[0] & 1 ? &lp_isa_a64 : &lp_isa_x64;
	const size_t len = size - 3, at = data[2] % len;
	uint8_t *code = lp_memdup(data + 3, len); /* exactly, so that a read behind it is seen */
	struct lp_move_request req = {
		.from = FUNCTION + at,
		.code = code + at,
		.code_len = len - at,
		.need = data[1],
		.to = data[0] & 4 ? UINT64_C(0x7f0000000000) : FUNCTION + 0x10000,
		.room = data[0] & 16 ? 24 : LP_MOVED_MAX,
		.guarded = data[0] & 2,
	};
	struct lp_moved out;
	struct lp_err err = {0};

	if (data[0] & 8) {
		req.function = FUNCTION;
		req.function_code = code;
		req.function_size = len;
	}
	int rc = isa->relocate(&req, &out, &err);

	expect((rc < 0) == (err.text[0] != 0) && err.code == rc);
	if (!rc)
		check_moved(isa, &out, &req);
	lp_free(code);
	return 0;
}
