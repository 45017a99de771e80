/*
 * The ledger's readers on hostile memory: the input is a record (decoded as it
 * is and with its checksum made right, so that the checks behind it are
 * reached), and the start of a whole ledger.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/vec.h"
#include "core/ledger.h"
#include "fuzz.h"

static const uint8_t *ledger;
static size_t ledger_len;

#define WHERE UINT64_C(0x1000000)

static int fuzz_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	if (at < WHERE || at - WHERE > ledger_len || len > ledger_len - (at - WHERE))
		return -LP_EUNMAPPED;
	memcpy(data, ledger + (at - WHERE), len);
	return 0;
}

static int fuzz_find(struct lp_target *t, unsigned index, struct lp_range *out, struct lp_err *err)
{
	*out = (struct lp_range){WHERE, WHERE + ledger_len};
	return 0;
}

static const struct lp_target_ops fuzz_ops = {.read = fuzz_read, .ledger_find = fuzz_find};

static void decode(const uint8_t *data, size_t len, bool mend)
{
	uint8_t *blob = lp_memdup(data, len);
	uint32_t body_len;
	if (mend && len > 40) {
		memcpy(blob, "LPRC\1\0\0\0", 8);
		body_len = lp_get32(blob + 28) % (uint32_t)(len - 40 + 1);
		lp_put32(blob + 28, body_len);
		lp_put32(blob + 24, lp_crc32c(0, blob + 40, body_len));
	}
	struct lp_ledger_entry e;
	if (lp_ledger_decode(blob, len, 4096, &e, NULL) == 0)
		lp_ledger_entry_free(&e);
	else
		lp_free(blob);
}

static void walk(const uint8_t *data, size_t len, bool mend)
{
	uint8_t *copy = lp_memdup(data, len);
	if (mend && len >= 4096) {
		struct lp_ledger_header *h = (struct lp_ledger_header *)(void *)copy;
		memcpy(h, "LPLEDGR1\1\0\0\0\0\x10\0\0", 16);
		h->extents[0].addr = WHERE;
		h->extents[0].size = len;
		h->crc = lp_crc32c(0, h, offsetof(struct lp_ledger_header, crc));
	}
	ledger = copy;
	ledger_len = len;
	struct lp_target t = {.ops = &fuzz_ops, .label = (char *)"fuzz"};
	struct lp_listing l;
	if (lp_ledger_list(&t, &l, NULL) == 0)
		lp_listing_free(&l);
	struct lp_ledger led;
	lp_off_vec offs = {0};
	uint64_t off;
	if (lp_ledger_open(&led, &t, NULL) == 0 && led.present) {
		lp_ledger_writers(&led, (struct lp_range){0x400000, 0x400100}, &offs, NULL);
		lp_ledger_owner(&led, 0x400000, &off, NULL);
	}
	lp_vec_free(&offs);
	lp_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	decode(data, len, false);
	decode(data, len, true);
	walk(data, len, false);
	walk(data, len, true);
	return 0;
}
