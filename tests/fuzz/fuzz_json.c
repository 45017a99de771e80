/*
 * The reader of JSON patch files: any bytes give a patchset or complaints in
 * their form; a patchset survives being written.
 */
#include "patch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_patchset *ps;
	struct lp_err err = {0};
	struct lp_buf out = {0};
	int rc = lp_patch_parse_json(&ps, (const char *)data, size, NAME, &err);
	check_outcome(ps, rc, &err);
	for (int words = 0; rc == 0 && words < 2; words++) {
		require(lp_patch_write_json(ps, words, &out, &err) == 0);
		check_reading_again(ps, &out, lp_patch_parse_json);
	}
	lp_patchset_free(ps);
	check_any_format(data, size);
	lp_buf_free(&out);
	return 0;
}
