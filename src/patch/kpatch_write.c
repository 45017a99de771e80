/*
 * Writing .kpatch files: the header of LibcarePlus, and the JSON of
 * .livepatch.meta.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/vec.h"
#include "patch/kpatch.h"

#define TOTAL_ALIGN 16u
#define SHORT_ID 7u
#define PLUS_HEX 40u
#define MODULENAME 63u

int lp_kpatch_check_id(const char *id, struct lp_err *err)
{
	size_t len = strlen(id);
	if (!len || len > LP_KPATCH_ID_MAX)
		return lp_fail(err, LP_EUSAGE, "a patch id has 1 to %u characters", LP_KPATCH_ID_MAX);
	for (size_t i = 0; i < len; i++)
		if (id[i] <= ' ' || id[i] > '~')
			return lp_fail(err, LP_EUSAGE, "a patch id holds no blanks and only printable ASCII");
	return 0;
}

void lp_kpatch_short_id(const char *id, char out[8])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (const char *c = id; *c; c++)
		h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	memset(out, 0, SHORT_ID + 1); /* of a short id, the rest of the field is zeros */
	if (strlen(id) <= SHORT_ID)
		snprintf(out, SHORT_ID + 1, "%s", id);
	else
		snprintf(out, SHORT_ID + 1, "%07x", (unsigned)(h & 0xfffffff));
}

static void put_text(uint8_t *at, const char *text, size_t max)
{
	size_t len = text ? strlen(text) : 0;
	memcpy(at, text, len < max ? len : max);
}

static void fill_header(uint8_t *h, const struct lp_kpatch_layout *l, const struct lp_kpatch_meta *meta, size_t total)
{
	char hex[2 * LP_BUILD_ID_MAX + 1], id[SHORT_ID + 1] = "";
	if (meta->id)
		lp_kpatch_short_id(meta->id, id);
	lp_build_id_hex(&meta->build_id, hex);
	put_text(h, LP_KPATCH_MAGIC, sizeof LP_KPATCH_MAGIC - 1);
	put_text(h + l->id, id, SHORT_ID);
	put_text(h + l->modulename, meta->object, MODULENAME);
	put_text(h + l->buildid, hex, PLUS_HEX);
	lp_put64(h + l->build_time, (uint64_t)meta->build_time);
	lp_put32(h + l->kpatch_offset, l->header_size);
	lp_put32(h + l->rel_offset, l->header_size);
	lp_put32(h + l->total_size, (uint32_t)total);
	lp_put32(h + l->entries + sizeof(uint32_t) * LP_KPATCH_ENTRY_LEVEL, meta->level);
}

int lp_kpatch_write(const struct lp_kpatch_meta *meta, const void *elf, size_t len, struct lp_buf *out,
		    struct lp_err *err)
{
	const struct lp_kpatch_layout *l = lp_kpatch_layout(LP_KPATCH_PLUS);
	size_t total = lp_align_up(l->header_size + len, TOTAL_ALIGN), start = out->len;
	int rc = meta->id && meta->id[0] ? lp_kpatch_check_id(meta->id, err) : 0;
	if (rc < 0)
		return rc;
	if (!meta->build_id.len)
		return lp_fail(err, LP_EBUILDID,
			       "a .kpatch file needs the build-id of the original, which has none: "
			       "link it with -Wl,--build-id");
	if (len > LP_KPATCH_FILE_MAX - LP_PAGE)
		return lp_fail(err, EFBIG, "a patch of %zu bytes is too large", len);
	lp_buf_fill(out, 0, l->header_size);
	fill_header(out->data + start, l, meta, total);
	lp_buf_add(out, elf, len);
	lp_buf_fill(out, 0, total - l->header_size - len);
	lp_kpatch_sum_write(out->data + start, total, l->header_size);
	return 0;
}

/* ---- .livepatch.meta ---- */

static void set_text(json_t *object, const char *member, const char *text)
{
	if (text)
		json_object_set_new(object, member, json_string(text));
}

static json_t *functions_json(const struct lp_kpatch_notes *n)
{
	json_t *all = json_array();
	for (size_t i = 0; i < n->nr_functions; i++) {
		json_t *f = json_object();
		set_text(f, "name", n->functions[i].name);
		set_text(f, "unit", n->functions[i].unit);
		set_text(f, "why", n->functions[i].why);
		json_array_append_new(all, f);
	}
	return all;
}

static json_t *needs_json(const struct lp_kpatch_notes *n)
{
	json_t *all = json_array();
	for (size_t i = 0; i < n->nr_needs; i++)
		json_array_append_new(all, json_string(n->needs[i]));
	return all;
}

int lp_kpatch_meta_json(const struct lp_kpatch_meta *meta, const struct lp_kpatch_notes *notes, struct lp_buf *out,
			struct lp_err *err)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	json_t *o = json_object();
	lp_build_id_hex(&meta->build_id, hex);
	json_object_set_new(o, "version", json_integer(1));
	set_text(o, "id", meta->id);
	set_text(o, "object", meta->object);
	set_text(o, "build_id", hex);
	set_text(o, "tool", notes->tool);
	set_text(o, "compiler", notes->compiler);
	json_object_set_new(o, "level", json_integer(meta->level));
	json_object_set_new(o, "needs", needs_json(notes));
	json_object_set_new(o, "functions", functions_json(notes));
	char *text = json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	json_decref(o);
	if (!text)
		return lp_fail(err, LP_EINTERNAL, "a name in the patch is not UTF-8");
	lp_buf_str(out, text);
	free(text);
	return 0;
}
