/*
 * Bytes of a client of the control socket.  Whatever comes, in whatever
 * pieces: requests have words, refusals have sentences, and the pieces make no
 * difference.  The first byte of the input says how the rest is cut.
 */
#include <stdlib.h>
#include <string.h>

#include "control/wire.h"
#include "fuzz.h"

#define LINE_BYTES 256

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* All of a request, so that two can be compared. */
static void describe(struct lp_buf *out, const struct lp_request *r, int rc)
{
	lp_buf_printf(out, "%d %d %d ", rc, r->json, r->lines);
	lp_buf_add(out, r->id.data, r->id.len);
	for (size_t i = 0; i < r->commands.nr && rc > 0; i++) {
		lp_buf_str(out, "[");
		for (size_t k = 0; k < r->commands.items[i].nr; k++)
			lp_buf_add(out, r->commands.items[i].items[k], strlen(r->commands.items[i].items[k]) + 1);
	}
}

static void check(const struct lp_request *r, int rc, const struct lp_err *err)
{
	must((rc < 0) == (err->text[0] != 0));
	must(rc <= 0 || (r->commands.nr > 0 && r->commands.nr <= LP_REQUEST_COMMANDS_MAX));
	must(r->id.len <= LP_REQUEST_ID_MAX);
	for (size_t i = 0; i < r->commands.nr; i++)
		must(r->commands.items[i].nr > 0);
}

static void take_requests(struct lp_control_wire *w, struct lp_buf *out)
{
	while (lp_control_wire_has_line(w)) {
		struct lp_request r;
		struct lp_err err = {0};
		int rc = lp_control_wire_next(w, &r, &err);
		check(&r, rc, &err);
		if (rc)
			describe(out, &r, rc);
		lp_request_free(&r);
	}
}

/* In pieces of 1 to `most` bytes; 0 = in one. */
static struct lp_buf requests_of(const uint8_t *data, size_t size, size_t most)
{
	struct lp_control_wire w = {.line_max = LINE_BYTES};
	struct lp_buf out = {0};
	for (size_t at = 0, piece; at < size; at += piece) {
		piece = most ? 1 + data[at] % most : size;
		piece = piece < size - at ? piece : size - at;
		lp_control_wire_feed(&w, data + at, piece);
		take_requests(&w, &out);
		must(w.bytes.len - w.taken <= LINE_BYTES + piece);
	}
	lp_control_wire_finish(&w);
	take_requests(&w, &out);
	lp_control_wire_free(&w);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct lp_buf whole = requests_of(data + 1, size - 1, 0);
	struct lp_buf cut = requests_of(data + 1, size - 1, 1 + data[0] % 64u);
	struct lp_buf bytewise = requests_of(data + 1, size - 1, 1);
	must(whole.len == cut.len && whole.len == bytewise.len);
	must(whole.len == 0 ||
	     (memcmp(whole.data, cut.data, whole.len) == 0 && memcmp(whole.data, bytewise.data, whole.len) == 0));
	lp_buf_free(&whole);
	lp_buf_free(&cut);
	lp_buf_free(&bytewise);
	return 0;
}
