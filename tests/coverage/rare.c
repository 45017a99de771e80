#include "rare.h"

#include <elf.h>
#include <string.h>

#include "base/bits.h"

enum { SLOT = 64, CODE = 40, ALIGNED = 48 };

#define DATA(end) CODE - (end), 0, 0, 0
#define DATA16(end) ALIGNED - (end), 0, 0, 0

struct row {
	uint16_t machine;
	const char *name;
	uint8_t len;
	union {
		uint8_t bytes[16];
		uint32_t words[4];
	};
};

#define X64(name_, ...) {EM_X86_64, name_, sizeof((uint8_t[]){__VA_ARGS__}), {.bytes = {__VA_ARGS__}}},
#define A64(name_, ...) {EM_AARCH64, name_, sizeof((uint32_t[]){__VA_ARGS__}), {.words = {__VA_ARGS__}}},
static const struct row rows[] = {
#include "rare.def"
};

static void fill_x64(uint8_t *slot)
{
	memset(slot, 0x90, CODE - 1);
	slot[CODE - 1] = 0xc3;
}

static void fill_a64(uint8_t *slot)
{
	for (size_t i = 0; i < CODE - 4; i += 4)
		lp_put32(slot + i, 0xd503201f);
	lp_put32(slot + CODE - 4, 0xd65f03c0);
}

static void make(const struct row *row, uint8_t *slot)
{
	if (row->machine == EM_X86_64)
		fill_x64(slot);
	else
		fill_a64(slot);
	memcpy(slot, row->bytes, row->len);
	for (size_t i = CODE; i < SLOT; i++)
		slot[i] = (uint8_t)(i * 37);
}

uint8_t *rare_functions(uint16_t machine, function_vec *out, size_t *len)
{
	uint8_t *code = lp_alloc(LP_ARRAY_SIZE(rows) * SLOT);

	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct function f = {.at = out->nr * SLOT, .size = CODE, .name = lp_strdup(rows[i].name)};

		if (rows[i].machine != machine) {
			lp_free(f.name);
			continue;
		}
		make(&rows[i], code + f.at);
		lp_vec_push(out, f);
	}
	*len = out->nr * SLOT;
	return code;
}
