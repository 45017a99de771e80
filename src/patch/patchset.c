#include "patch/patch.h"

#include <string.h>

#include "patch/kpatch.h"
#include "patch/script.h"

struct lp_draft *lp_draft_new(const char *name)
{
	struct lp_draft *d = lp_alloc(sizeof *d);
	d->set.name = lp_strdup(name);
	return d;
}

struct lp_draft *lp_draft_of(struct lp_patchset *ps)
{
	return (struct lp_draft *)ps;
}

const char *lp_draft_file(struct lp_draft *d, const char *name)
{
	if (strcmp(d->set.name, name) == 0)
		return d->set.name;
	for (size_t i = 0; i < d->files.nr; i++)
		if (strcmp(d->files.items[i], name) == 0)
			return d->files.items[i];
	return lp_vec_push(&d->files, lp_strdup(name));
}

void lp_draft_add(struct lp_draft *d, const struct lp_op *op)
{
	struct lp_patchset *ps = &d->set;
	ps->ops = lp_vec_grow(ps->ops, &ps->nr, &d->cap, sizeof *ps->ops);
	ps->ops[ps->nr - 1] = *op;
}

struct lp_patchset *lp_patch_new(const char *name)
{
	return &lp_draft_new(name)->set;
}

void lp_patch_add_op(struct lp_patchset *ps, const struct lp_op *op)
{
	lp_draft_add(lp_draft_of(ps), op);
}

/* ---- memory names: a script may define one on each of a million lines ---- */

/* FNV-1a. */
static size_t hash_of(const char *name, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *slot_of(const struct lp_draft *d, const char *name, size_t len)
{
	size_t mask = d->names.size - 1;
	for (size_t at = hash_of(name, len) & mask;; at = (at + 1) & mask) {
		uint32_t *slot = &d->names.slots[at];
		if (!*slot)
			return slot;
		const char *held = d->set.ops[*slot - 1].mem;
		if (strlen(held) == len && memcmp(held, name, len) == 0)
			return slot;
	}
}

static void grow_names(struct lp_draft *d)
{
	uint32_t *old = d->names.slots;
	size_t old_size = d->names.size;
	d->names.size = old_size ? old_size * 2 : 16;
	d->names.slots = lp_alloc(d->names.size * sizeof *d->names.slots);
	for (size_t i = 0; i < old_size; i++) {
		if (!old[i])
			continue;
		const char *name = d->set.ops[old[i] - 1].mem;
		*slot_of(d, name, strlen(name)) = old[i];
	}
	lp_free(old);
}

bool lp_draft_define(struct lp_draft *d, size_t i)
{
	if (2 * d->names.nr >= d->names.size)
		grow_names(d);
	const char *name = d->set.ops[i].mem;
	uint32_t *slot = slot_of(d, name, strlen(name));
	if (*slot)
		return false;
	*slot = (uint32_t)i + 1;
	d->names.nr++;
	return true;
}

const struct lp_op *lp_draft_defined(const struct lp_draft *d, const char *name, size_t len)
{
	if (!d->names.size)
		return NULL;
	uint32_t slot = *slot_of(d, name, len);
	return slot ? &d->set.ops[slot - 1] : NULL;
}

/* ---- the end ---- */

void lp_addr_expr_free(struct lp_addr_expr *e)
{
	if (!e)
		return;
	lp_free(e->mem);
	lp_free(e->symbol);
	*e = (struct lp_addr_expr){0};
}

void lp_op_free(struct lp_op *op)
{
	lp_addr_expr_free(&op->at);
	lp_addr_expr_free(&op->to);
	lp_free(op->value);
	lp_free(op->mem);
	lp_free(op->path);
	lp_free(op->assembly);
	lp_free(op->desc);
	lp_free(op->file);
	lp_free(op->expect);
	lp_kpatch_free(op->kpatch);
}

void lp_patchset_free(struct lp_patchset *ps)
{
	if (!ps)
		return;
	struct lp_draft *d = lp_draft_of(ps);
	for (size_t i = 0; i < ps->nr; i++)
		lp_op_free(&ps->ops[i]);
	lp_free(ps->ops);
	lp_free(ps->name);
	for (size_t i = 0; i < d->files.nr; i++)
		lp_free(d->files.items[i]);
	lp_vec_free(&d->files);
	lp_free(d->names.slots);
	lp_free(d);
}
