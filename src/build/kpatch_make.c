#include "build/kpatch_object.h"
#include "build/kpatch_strip.h"
#include "patch/kpatch.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_meta(const struct lp_ksection *s)
{
	json_t *meta = s && s->data ? json_loadb((const char *)s->data, s->header.sh_size, JSON_REJECT_DUPLICATES, NULL)
				    : NULL;
	if (json_is_object(meta))
		return meta;
	json_decref(meta);
	return json_pack("{s:i}", "version", 1);
}

static void write_meta(struct lp_kobject *o, const char *text)
{
	struct lp_ksection *s = lp_kobject_section(o, ".livepatch.meta");
	if (s)
		lp_ksection_set(s, text, strlen(text));
	else
		lp_kobject_add(o, ".livepatch.meta", SHT_PROGBITS, text, strlen(text));
}

/* Of what it will be, not of what it was when the object was made. */
static void clear_sum(struct lp_kobject *o)
{
	static const uint8_t zeros[LP_KPATCH_SUM_SIZE];
	struct lp_ksection *s = lp_kobject_section(o, LP_KPATCH_SUM);
	if (s)
		lp_ksection_set(s, zeros, sizeof zeros);
	else
		lp_kobject_add(o, LP_KPATCH_SUM, SHT_PROGBITS, zeros, sizeof zeros);
}

static int make(struct lp_kobject *o, json_t *meta, const struct lp_kpatch_make_opts *opts, struct lp_buf *out,
		struct lp_err *err)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_build_id_hex(&opts->build_id, hex);
	const char *noted = json_string_value(json_object_get(meta, "object"));
	struct lp_kpatch_meta head = {
		.id = opts->id,
		.object = opts->object ? opts->object
			  : noted      ? noted
				       : "",
		.build_id = opts->build_id,
		.build_time = opts->build_time,
		.level = opts->level,
	};
	json_object_set_new(meta, "build_id", json_string(hex));
	json_object_set_new(meta, "level", json_integer(opts->level));
	if (opts->id)
		json_object_set_new(meta, "id", json_string(opts->id));
	if (opts->object)
		json_object_set_new(meta, "object", json_string(opts->object));
	char *text = json_dumps(meta, JSON_COMPACT);
	if (!text)
		return lp_fail(err, LP_EUSAGE, "id or object name is not UTF-8");
	struct lp_buf elf = {0};
	write_meta(o, text);
	clear_sum(o);
	free(text);
	lp_kobject_write(o, &elf);
	int rc = lp_kpatch_write(&head, elf.data, elf.len, out, err);
	lp_buf_free(&elf);
	return rc;
}

int lp_kpatch_make(const struct lp_elf *object, const struct lp_kpatch_make_opts *opts, struct lp_buf *out,
		   struct lp_err *err)
{
	struct lp_kobject *o;
	if (lp_elf_header(object)->e_type != ET_REL || !lp_elf_section_find(object, ".kpatch.info"))
		return lp_fail(err, LP_EKPATCH, "%s is not a patch object: kpatch_strip --undo-link makes one",
			       lp_elf_name(object));
	if (!opts->build_id.len)
		return lp_fail(err, LP_EUSAGE, "a build-id is needed");
	int rc = opts->id && opts->id[0] ? lp_kpatch_check_id(opts->id, err) : 0;
	if (rc < 0)
		return rc;
	rc = lp_kobject_open(&o, object, err);
	if (rc < 0)
		return rc;
	json_t *meta = read_meta(lp_kobject_section(o, ".livepatch.meta"));
	rc = make(o, meta, opts, out, err);
	json_decref(meta);
	lp_kobject_free(o);
	return rc;
}
