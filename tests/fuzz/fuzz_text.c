/*
 * The reader of text patch files: any bytes give a patchset or complaints in
 * their form; a patchset survives being written, as text and, where that can
 * say it, as JSON.
 */
#include "patch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_patchset *ps;
	struct lp_err err = {0};
	struct lp_buf out = {0};
	int rc = lp_patch_parse_text(&ps, (const char *)data, size, NAME, &err);
	check_outcome(ps, rc, &err);
	if (rc == 0) {
		require(lp_patch_write_text(ps, &out, &err) == 0);
		check_reading_again(ps, &out, lp_patch_parse_text);
		if (lp_patch_write_json(ps, size % 2, &out, &err) == 0)
			check_reading_again(ps, &out, lp_patch_parse_json);
	}
	lp_patchset_free(ps);
	check_any_format(data, size);
	lp_buf_free(&out);
	return 0;
}
