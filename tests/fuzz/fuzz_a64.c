/*
 * The A64 assembler: any text gives whole words or a complaint with its place;
 * the words it gives, listed, assemble to words that are listed alike.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/vec.h"
#include "isa/isa.h"

#define AT UINT64_C(0x400000)

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_complaint(const struct lp_err *err, int rc)
{
	unsigned line = 0, column = 0;

	require(rc < 0 && err->code == rc);
	require(sscanf(err->text, "line %u, column %u: ", &line, &column) == 2 && line && column);
}

static void check_word(const uint8_t *code, lp_addr at)
{
	const struct lp_isa *isa = &lp_isa_a64;
	char text[96], again[96];
	uint8_t back[4];
	size_t len;

	require(isa->disasm(code, 4, at, text, sizeof text) == 4);
	require(isa->assemble(text, at, NULL, back, sizeof back, &len, NULL) == 0 && len == 4);
	require(isa->disasm(back, 4, at, again, sizeof again) == 4);
	require(strcmp(text, again) == 0);
}

/* The first byte chooses: the rest is text, or words to be listed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_err err = {0};
	uint8_t out[256];
	size_t len = 0;

	if (!size)
		return 0;
	if (data[0] == 'w') {
		for (size_t i = 1; i + 4 <= size; i += 4)
			check_word(data + i, AT + i - 1);
		return 0;
	}

	char *text = lp_alloc(size); /* exactly, so that a read behind it is seen */
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	int rc = lp_isa_a64.assemble(text, AT, NULL, out, sizeof out, &len, &err);
	if (rc)
		check_complaint(&err, rc);
	else
		require(len % 4 == 0 && len <= sizeof out);
	for (size_t i = 0; !rc && i < len; i += 4)
		check_word(out + i, AT + i);
	lp_free(text);
	return 0;
}
