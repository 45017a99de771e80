/*
 * kpatch_strip and kpatch_make: any bytes, taken for a program with a patch linked into it and for its own original,
 * give a patch or a sentence at each step, and what comes out at the end is one that the reader of patches takes.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "build/kpatch_strip.h"
#include "patch/kpatch.h"

static void require(bool truth)
{
	if (!truth)
		abort();
}

static struct lp_elf *opened(struct lp_buf *bytes)
{
	struct lp_elf *e = NULL;
	require(lp_elf_from_bytes(&e, bytes->data, bytes->len, "step", NULL) == 0);
	lp_buf_free(bytes);
	return e;
}

static void steps(struct lp_elf *original)
{
	struct lp_buf bytes = {0};
	struct lp_err err = {0};
	struct lp_kpatch_make_opts opts = {.id = "fuzz", .build_id = {.bytes = {1, 2, 3, 4}, .len = 4}};
	struct lp_elf *stripped = NULL, *fixed = NULL, *object = NULL;
	int rc = lp_kpatch_strip(original, &bytes, &err);
	if (!rc) {
		stripped = opened(&bytes);
		rc = lp_kpatch_fixup(original, stripped, NULL, NULL, &bytes, &err);
	}
	if (!rc) {
		fixed = opened(&bytes);
		rc = lp_kpatch_undo_link(original, fixed, "dir/original", &bytes, &err);
	}
	if (!rc) {
		object = opened(&bytes);
		rc = lp_kpatch_make(object, &opts, &bytes, &err);
	}
	require(rc == 0 || (rc < 0 && err.text[0]));
	if (!rc)
		require(lp_kpatch_is(bytes.data, bytes.len));
	lp_buf_free(&bytes);
	lp_elf_close(stripped);
	lp_elf_close(fixed);
	lp_elf_close(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_elf *e;
	if (lp_elf_from_bytes(&e, data, size, "input", NULL) < 0)
		return 0;
	steps(e);
	lp_elf_close(e);
	return 0;
}
