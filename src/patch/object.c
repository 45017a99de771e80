/*
 * Patchsets of .kpatch files, and the one way in for both formats.
 */
#include <errno.h>
#include <string.h>

#include "base/fdio.h"
#include "patch/kpatch.h"
#include "patch/script.h"

/* What list calls it: the ids, each once. */
static void add_name(struct lp_patchset *ps, const struct lp_kpatch *k)
{
	const char *id = k->id[0] ? k->id : k->path;
	size_t len = strlen(id);
	for (const char *at = ps->name; at; at = strchr(at, ' '), at += at != NULL)
		if (strncmp(at, id, len) == 0 && (at[len] == ' ' || !at[len]))
			return;
	char *name = ps->name[0] ? lp_sprintf("%s %s", ps->name, id) : lp_strdup(id);
	lp_free(ps->name);
	ps->name = name;
}

static int check_mix(const struct lp_patchset *ps, const struct lp_kpatch *k, struct lp_err *err)
{
	for (size_t i = 0; ps && i < ps->nr; i++) {
		const struct lp_op *op = &ps->ops[i];
		if (op->kind != LP_OP_OBJECT)
			return lp_fail(err, LP_EUSAGE, "%s: a script and a .kpatch file cannot be applied as one",
				       k->path);
		if (lp_build_id_equal(&op->kpatch->build_id, &k->build_id))
			return lp_fail(err, LP_EOVERLAP, "%s and %s are for the same object; apply one after the other",
				       op->kpatch->path, k->path);
	}
	return 0;
}

int lp_patch_add_object(struct lp_patchset **ps, struct lp_kpatch *k, struct lp_err *err)
{
	int rc = check_mix(*ps, k, err);
	if (rc < 0) {
		lp_kpatch_free(k);
		return rc;
	}
	struct lp_draft *d = *ps ? lp_draft_of(*ps) : lp_draft_new("");
	struct lp_op op = {.kind = LP_OP_OBJECT, .kpatch = k, .path = lp_strdup(k->path)};
	op.where.file = op.path; /* owned by the op, which lives as long */
	add_name(&d->set, k);
	lp_draft_add(d, &op);
	*ps = &d->set;
	return 0;
}

int lp_patch_add_undo(struct lp_patchset **ps, const char *id, struct lp_err *err)
{
	for (size_t i = 0; *ps && i < (*ps)->nr; i++)
		if ((*ps)->ops[i].kind != LP_OP_UNDO)
			return lp_fail(err, LP_EUSAGE, "undoing another tool's patch does not mix with applying one");
	struct lp_draft *d = *ps ? lp_draft_of(*ps) : lp_draft_new("undo");
	struct lp_op op = {.kind = LP_OP_UNDO, .mem = lp_strdup(id)};
	char *name = lp_sprintf("%s %s", d->set.name, id);
	op.where.file = op.mem;
	lp_free(d->set.name);
	d->set.name = name;
	lp_draft_add(d, &op);
	*ps = &d->set;
	return 0;
}

static int open_kpatch(struct lp_patchset **ps, const struct lp_buf *b, const char *path, struct lp_err *err)
{
	struct lp_kpatch *k;
	int rc = lp_kpatch_from_bytes(&k, b->data, b->len, path, err);
	return rc ? rc : lp_patch_add_object(ps, k, err);
}

/* What is called so and is none (empty, cut, another's) shall be told as that, not as a script full of mistakes. */
static bool is_called_kpatch(const char *path)
{
	static const char suffix[] = ".kpatch";
	size_t len = strlen(path), suffix_len = sizeof suffix - 1;
	return len > suffix_len && strcmp(path + len - suffix_len, suffix) == 0;
}

int lp_patch_open(struct lp_patchset **ps, const char *path, struct lp_err *err)
{
	struct lp_buf b = {0};
	int rc = lp_read_file(path, &b, LP_KPATCH_FILE_MAX, err);
	if (rc == 0 && (lp_kpatch_is(b.data, b.len) || is_called_kpatch(path)))
		rc = open_kpatch(ps, &b, path, err);
	else if (rc == 0 && *ps)
		rc = lp_fail(err, LP_EUSAGE, "%s: a script cannot be applied together with other files", path);
	else if (rc == 0 && b.len > LP_SCRIPT_MAX)
		rc = lp_fail(err, EFBIG, "%s is too large for a script", path);
	else if (rc == 0)
		rc = lp_patch_parse_script(ps, lp_buf_cstr(&b), b.len, path, err);
	lp_buf_free(&b);
	return rc;
}
