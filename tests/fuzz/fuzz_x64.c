/*
 * The decoder of x86-64: whatever the bytes are, it says what Zydis says (x64_oracle.h), and so for what begins at each of
 * them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/vec.h"
#include "fuzz.h"
#include "x64_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		const size_t len = size - i < 16 ? size - i : 16;
		uint8_t *code = lp_memdup(data + i, len); /* exactly, so that a read behind it is seen */
		size_t n;
		const char *difference = x64_difference(code, len, &n);

		if (difference) {
			fprintf(stderr, "at %zu: %s\n", i, difference);
			abort();
		}
		lp_free(code);
	}
	return 0;
}
