/*
 * A request to libcare-server.  Whatever comes in, the words that come out lie
 * in the request, none is empty, and they are as many as is said.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "store/wire.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lp_wire_request r;
	struct lp_wire_words w;
	struct lp_err err = {0};
	r.len = size < sizeof r.bytes ? size : sizeof r.bytes;
	memcpy(r.bytes, data, r.len);
	int rc = lp_wire_words(&r, &w, &err);
	must((rc < 0) == (err.text[0] != 0));
	must(rc < 0 || (w.nr > 0 && w.nr <= LP_WIRE_WORDS && !w.items[w.nr]));
	for (size_t i = 0; rc == 0 && i < w.nr; i++) {
		must(w.items[i] >= r.bytes && w.items[i] < r.bytes + r.len && w.items[i][0]);
		must(w.items[i] + strlen(w.items[i]) < r.bytes + r.len);
	}
	return 0;
}
