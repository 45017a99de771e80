/*
 * Patch files' entries and the system's patches, turned into each other.
 *
 * An entry that is there already, byte for byte, is counted and left alone:
 * loading a file twice, or what was saved, is no mistake.  Replacing goes by
 * the same rule: first functions, by name, since others refer to them; then
 * the rest, by address; what no entry asked for goes.
 */
#include "api/sets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/txn.h"

/* ---- an entry as a request ---- */

bool lp_op_is_patch(const struct lp_op *op)
{
	return op->kind >= LP_OP_INLINE;
}

/* An address has its place in the file, and says so itself. */
static bool has_place(const struct lp_err *err, const char *file)
{
	size_t len = strlen(file);

	return err && !strncmp(err->text, file, len) && err->text[len] == ':';
}

int lp_op_blame(const struct lp_op *op, int rc, struct lp_err *err)
{
	if (rc >= 0 || !op->where.file)
		return rc;
	lp_blame(&op->where);
	if (has_place(err, op->where.file))
		return rc;
	return lp_err_context(err, rc, "%s:%u:%u", op->where.file, op->where.line, op->where.column);
}

static int resolve(struct lp_txn *t, const struct lp_addr_expr *e, lp_addr *at, struct lp_err *err)
{
	struct lp_code_space *s = t->system->space;
	uint64_t size;

	if (e->kind == LP_ADDR_MEMSYM)
		return lp_fail(err, LP_ENOSYM, "$%s:%s: a function has no symbols inside of it", e->mem, e->symbol);
	if (e->kind == LP_ADDR_FILE)
		return lp_system_find_in_file(t->system, e->symbol, e->number, at, err);
	if (e->kind != LP_ADDR_MEM)
		return s->ops->resolve(s, e, at, &size, err);
	if (!lp_txn_name(t, e->mem, strlen(e->mem), at))
		return lp_fail(err, LP_ENOMEM, "there is no function called $%s", e->mem);
	*at += e->number;
	return 0;
}

int lp_system_find(LivePatchSystem *system, const struct lp_addr_expr *e, uint64_t *at, struct lp_err *err)
{
	struct lp_txn t, *open = lp_txn_current(system);

	lp_txn_init(&t, system);
	return resolve(open ? open : &t, e, at, err);
}

int lp_system_find_in_file(LivePatchSystem *system, const char *object, uint64_t vaddr, uint64_t *at,
			   struct lp_err *err)
{
	struct lp_code_space *s = system->space;

	if (!s->ops->in_object)
		return lp_fail(err, LP_ENOTLOADED, "%s: memory of the caller's has no objects loaded", object);
	return s->ops->in_object(s, object, vaddr, at, err);
}

static enum LivePatchType type_of(enum lp_op_kind kind)
{
	switch (kind) {
	case LP_OP_INSERT:
		return PATCH_INSERT;
	case LP_OP_FUNC:
		return PATCH_NEW_FUNC;
	case LP_OP_NOP:
		return PATCH_NOP;
	case LP_OP_BRANCH:
		return PATCH_BRANCH;
	case LP_OP_REDIRECT:
	case LP_OP_JMP:
		return PATCH_FUNCTION_REDIRECT;
	default:
		return PATCH_REPLACE;
	}
}

static bool has_at(const struct lp_op *op)
{
	return op->kind != LP_OP_FUNC;
}

static bool has_to(const struct lp_op *op)
{
	return op->kind == LP_OP_BRANCH || op->kind == LP_OP_REDIRECT || op->kind == LP_OP_JMP || op->value_is_addr;
}

static int resolve_place(struct lp_txn *t, const struct lp_op *op, lp_addr *at, struct lp_err *err)
{
	if (!op->file)
		return resolve(t, &op->at, at, err);
	return lp_system_find_in_file(t->system, op->file, op->at.number, at, err);
}

/* What is done to another process from outside, and what the program does by itself instead. */
static const char *instead_of(enum lp_op_kind kind)
{
	switch (kind) {
	case LP_OP_DL:
		return "load the library with dlopen(), and name what is in it \"patch.so:func1\"";
	case LP_OP_GOT:
		return "have the imported function itself go elsewhere, with `jmp`";
	default:
		return "allocate the memory in the program, and write its address";
	}
}

/* What the script language can say where there is no core target: jmp, and set. */
static int check_kind(struct lp_txn *t, const struct lp_op *op, struct lp_err *err)
{
	size_t nr;

	if (lp_op_is_patch(op) || op->kind == LP_OP_JMP || op->kind == LP_OP_SET)
		return 0;
	if (!t->system->space->is_own)
		return lp_fail(err, LP_EUSAGE,
			       "`%s` is for processes, and this is a system over memory: it knows `jmp` and `set`",
			       lp_op_syntaxes(&nr)[op->kind].name);
	return lp_fail(err, LP_EUSAGE, "`%s` is for other processes; in the own one, %s",
		       lp_op_syntaxes(&nr)[op->kind].name, instead_of(op->kind));
}

static void fill_request(const struct lp_op *op, uint32_t file, struct lp_request *r)
{
	*r = (struct lp_request){
		.type = type_of(op->kind),
		.code = op->value,
		.size = op->value_len,
		.assembly = op->assembly,
		.expect = op->expect,
		.expect_size = op->expect_len,
		.name = op->kind == LP_OP_FUNC ? op->mem : NULL,
		.description = op->desc,
		.file = file,
		.flags = op->allow_active ? LIVEPATCH_ALLOW_ACTIVE : 0,
	};
	if (op->kind == LP_OP_SET)
		r->flags |= LIVEPATCH_ALLOW_UNALLOCATED;
}

static void use_target(const struct lp_op *op, struct lp_request *r)
{
	if (op->value_is_addr) {
		r->code = &r->target;
		r->size = sizeof r->target;
	} else {
		r->code = NULL;
		r->size = 0;
	}
}

int lp_op_request(struct lp_txn *t, const struct lp_op *op, uint32_t file, struct lp_request *r, struct lp_err *err)
{
	int rc = check_kind(t, op, err);

	fill_request(op, file, r);
	if (!rc && has_at(op))
		rc = resolve_place(t, op, &r->at, err);
	if (!rc && has_to(op)) {
		rc = resolve(t, &op->to, &r->target, err);
		use_target(op, r);
	}
	return rc;
}

/* ---- is it there already? ---- */

/* Functions without a name are told by what they do: sorted by it, each may stand for one entry. */
struct anonymous {
	uint64_t hash;
	lp_addr at;
	size_t used; /* of the run that begins here */
};

/* What a call knows about the system's patches, and which of them it keeps. */
struct keeper {
	struct lp_txn *t;
	struct lp_table *kept; /* addresses */
	LP_VEC(struct anonymous) functions;
};

/* FNV-1a */
static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void note_function(struct lp_patch *p, void *arg)
{
	struct keeper *k = arg;

	if (p->type == PATCH_NEW_FUNC && !p->more->name)
		lp_vec_push(&k->functions, ((struct anonymous){hash_of(p->more->code, p->more->code_size), p->at, 0}));
}

static int by_hash(const void *a, const void *b)
{
	const struct anonymous *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static bool needs_functions(const struct lp_patchset *set)
{
	for (size_t i = 0; i < set->nr; i++) {
		if (set->ops[i].kind == LP_OP_FUNC && !set->ops[i].mem)
			return true;
	}
	return false;
}

static void keeper_init(struct keeper *k, struct lp_txn *t, const struct lp_sourced *sets, size_t nr)
{
	bool wanted = false;

	*k = (struct keeper){.t = t, .kept = lp_table_new(t->system->space->isa->insn_align, false)};
	for (size_t i = 0; i < nr && !wanted; i++)
		wanted = needs_functions(sets[i].set);
	if (!wanted)
		return;
	struct lp_held held = lp_table_lock_all(t->system->table);
	lp_table_each(t->system->table, note_function, k);
	lp_table_unlock(t->system->table, held);
	if (k->functions.nr)
		qsort(k->functions.items, k->functions.nr, sizeof *k->functions.items, by_hash);
}

static void keeper_free(struct keeper *k)
{
	lp_table_free(k->kept);
	lp_vec_free(&k->functions);
}

/* The next function without a name that has this code, once each. */
static bool next_anonymous(struct keeper *k, const struct lp_request *r, lp_addr *at)
{
	size_t low = 0, high = k->functions.nr;
	uint64_t hash = hash_of(r->code, r->code ? r->size : 0);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (k->functions.items[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == k->functions.nr)
		return false;
	struct anonymous *run = &k->functions.items[low];
	size_t i = low + run->used;
	if (i >= k->functions.nr || k->functions.items[i].hash != hash)
		return false;
	run->used++;
	*at = k->functions.items[i].at;
	return true;
}

/* Where the patch would be that the request asks for; false: nowhere. */
static bool key_of(struct keeper *k, const struct lp_request *r, lp_addr *at)
{
	if (r->type != PATCH_NEW_FUNC)
		return *at = r->at, true;
	if (r->name)
		return lp_txn_name(k->t, r->name, strlen(r->name), at);
	return next_anonymous(k, r, at);
}

static bool is_taken(struct keeper *k, const struct lp_patch *p)
{
	const struct lp_patch *take = k->t->takes ? lp_table_find(k->t->takes, p->at) : NULL;

	return take && take->generation == p->generation;
}

static bool is_at(struct keeper *k, const struct lp_request *r, const struct lp_patch *p, lp_addr at)
{
	return p && p->at == at && lp_plan_is_there(k->t, r, p);
}

static bool is_there(struct keeper *k, const struct lp_request *r, lp_addr *at)
{
	struct lp_table *table = k->t->system->table;

	if (!key_of(k, r, at))
		return false;
	if (k->t->puts && is_at(k, r, lp_table_find(k->t->puts, *at), *at))
		return true;
	struct lp_held held = lp_table_lock(table, *at, 1);
	const struct lp_patch *p = lp_table_find(table, *at);
	bool there = p && !is_taken(k, p) && is_at(k, r, p, *at);
	lp_table_unlock(table, held);
	return there;
}

/* True: it is there, and stays. */
static bool keep(struct keeper *k, const struct lp_request *r)
{
	lp_addr at;

	if (!is_there(k, r, &at))
		return false;
	if (!lp_table_find(k->kept, at))
		lp_table_add(k->kept, &(struct lp_patch){.at = at, .extent = k->t->system->space->isa->insn_align});
	return true;
}

/* ---- a file more ---- */

static int put_op(struct keeper *k, const struct lp_op *op, uint32_t file, struct lp_err *err)
{
	struct lp_request r;
	int rc = lp_op_request(k->t, op, file, &r, err);

	if (!rc && !keep(k, &r))
		rc = lp_plan(k->t, &r, NULL, err);
	return lp_op_blame(op, rc, err);
}

int lp_sets_put(struct lp_txn *t, const struct lp_sourced *s, struct lp_err *err)
{
	struct keeper k;
	int rc = 0;

	if (lp_set_is_script(t->system, s->set))
		return lp_script_put(t, s, err);
	keeper_init(&k, t, s, 1);
	for (size_t i = 0; !rc && i < s->set->nr; i++)
		rc = put_op(&k, &s->set->ops[i], s->file, err);
	keeper_free(&k);
	return rc ? rc : (int)s->set->nr;
}

/* ---- files in the place of files ---- */

/* An entry that waits until the old ones made way. */
struct waiting {
	const struct lp_op *op;
	uint32_t file;
};

struct replace {
	struct keeper k;
	LP_VEC(struct waiting) waiting;
	LP_VEC(lp_addr) old; /* of files, not kept */
	int changed;
	struct lp_err *err;
};

static int take_named(struct replace *r, const char *name)
{
	lp_addr at;

	if (!name || !lp_txn_name(r->k.t, name, strlen(name), &at))
		return 0;
	if (r->k.t->puts && lp_table_find(r->k.t->puts, at))
		return 0; /* another entry's: the name is taken, and lp_plan() says so */
	return lp_txn_take(r->k.t, at, r->err);
}

static int replace_function(struct replace *r, const struct lp_op *op, uint32_t file)
{
	struct lp_request request;
	int rc = lp_op_request(r->k.t, op, file, &request, r->err);

	if (rc || keep(&r->k, &request))
		return rc;
	r->changed++;
	rc = take_named(r, request.name);
	return rc ? rc : lp_plan(r->k.t, &request, NULL, r->err);
}

static int replace_other(struct replace *r, const struct lp_op *op, uint32_t file)
{
	struct lp_request request;
	int rc = lp_op_request(r->k.t, op, file, &request, r->err);

	if (rc || keep(&r->k, &request))
		return rc;
	lp_vec_push(&r->waiting, ((struct waiting){op, file}));
	return 0;
}

static int each_op(struct replace *r, const struct lp_sourced *sets, size_t nr, bool functions)
{
	for (size_t i = 0; i < nr; i++) {
		const struct lp_patchset *set = sets[i].set;
		for (size_t n = 0; n < set->nr; n++) {
			const struct lp_op *op = &set->ops[n];
			if (lp_set_is_script(r->k.t->system, set) || (op->kind == LP_OP_FUNC) != functions)
				continue;
			int rc = functions ? replace_function(r, op, sets[i].file) : replace_other(r, op, sets[i].file);
			if (rc)
				return lp_op_blame(op, rc, r->err);
		}
	}
	return 0;
}

static void note_old(struct lp_patch *p, void *arg)
{
	struct replace *r = arg;

	if (p->file && !lp_table_find(r->k.kept, p->at) && !is_taken(&r->k, p))
		lp_vec_push(&r->old, p->at);
}

static int take_old(struct replace *r)
{
	struct lp_table *table = r->k.t->system->table;
	struct lp_held held = lp_table_lock_all(table);

	lp_table_each(table, note_old, r);
	lp_table_unlock(table, held);
	for (size_t i = 0; i < r->old.nr; i++) {
		int rc = lp_txn_take(r->k.t, r->old.items[i], r->err);
		if (rc)
			return rc;
	}
	return 0;
}

static int put_waiting(struct replace *r)
{
	for (size_t i = 0; i < r->waiting.nr; i++) {
		const struct waiting *w = &r->waiting.items[i];
		struct lp_request request;
		int rc = lp_op_request(r->k.t, w->op, w->file, &request, r->err);

		rc = rc ? rc : lp_plan(r->k.t, &request, NULL, r->err);
		if (rc)
			return lp_op_blame(w->op, rc, r->err);
		r->changed++;
	}
	return 0;
}

/* Those in whose place an entry came are counted already. */
static void count_old(struct replace *r)
{
	for (size_t i = 0; i < r->old.nr; i++) {
		const struct lp_patch *p = r->k.t->puts ? lp_table_find(r->k.t->puts, r->old.items[i]) : NULL;
		r->changed += !p || p->at != r->old.items[i];
	}
}

int lp_sets_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, struct lp_err *err)
{
	struct replace r = {.err = err};
	int rc;

	r.changed = lp_scripts_replace(t, sets, nr, false);
	keeper_init(&r.k, t, sets, nr);
	rc = each_op(&r, sets, nr, true);
	rc = rc ? rc : each_op(&r, sets, nr, false);
	rc = rc ? rc : take_old(&r);
	rc = rc ? rc : put_waiting(&r);
	count_old(&r);
	r.changed += rc ? 0 : lp_scripts_replace(t, sets, nr, true);
	keeper_free(&r.k);
	lp_vec_free(&r.waiting);
	lp_vec_free(&r.old);
	return rc ? rc : r.changed;
}

/* ---- back to a patchset ---- */

struct listing {
	LivePatchSystem *system;
	struct lp_patchset *set;
	struct lp_names taken;	   /* names that functions have */
	struct lp_names functions; /* by address, as text: what a target is called */
};

static struct lp_addr_expr number_expr(lp_addr at)
{
	return (struct lp_addr_expr){.kind = LP_ADDR_INT, .number = at};
}

void lp_sets_place(LivePatchSystem *system, lp_addr at, struct lp_op *op)
{
	struct lp_code_space *s = system->space;
	uint64_t vaddr;

	op->at = number_expr(at);
	if (s->ops->whose && s->ops->whose(s, at, &op->file, &vaddr))
		op->at.number = vaddr;
}

/* Bytes that refer to another place of the target's are good for this run alone. */
const char *lp_sets_assembly(LivePatchSystem *system, lp_addr at)
{
	const struct lp_patch *p = system->space->ops->whose ? lp_table_find(system->table, at) : NULL;

	return p && !p->is_word ? p->more->assembly : NULL;
}

/* A function that something refers to needs a name; those without get one of their address, which no other has. */
static char *function_name(const struct listing *l, const livepatch_info *i)
{
	uint64_t at = i->type == PATCH_NEW_FUNC ? i->addr : i->target, other;

	if (i->name[0])
		return lp_strdup(i->name);
	char *name = lp_sprintf("function_%" PRIx64, at);
	for (unsigned n = 2; lp_names_find(&l->taken, name, strlen(name), &other); n++) {
		lp_free(name);
		name = lp_sprintf("function_%" PRIx64 "_%u", at, n);
	}
	return name;
}

static bool brings_function(const livepatch_info *i)
{
	return i->type == PATCH_NEW_FUNC || (i->type == PATCH_FUNCTION_REDIRECT && i->code_size);
}

static void list_code(const struct listing *l, const livepatch_info *i, const uint8_t *code, size_t size,
		      struct lp_op *op)
{
	const char *assembly = lp_sets_assembly(l->system, i->addr);

	if (assembly) {
		op->assembly = lp_strdup(assembly);
	} else {
		op->value = lp_memdup(code, size);
		op->value_len = size;
	}
}

static void list_function(struct listing *l, const livepatch_info *i)
{
	struct lp_op op = {
		.kind = LP_OP_FUNC,
		.mem = function_name(l, i),
		.desc = i->description[0] ? lp_strdup(i->description) : NULL,
	};
	char at[24];

	snprintf(at, sizeof at, "%" PRIx64, i->type == PATCH_NEW_FUNC ? i->addr : i->target);
	lp_names_add(&l->functions, at, l->set->nr);
	list_code(l, i, i->code, i->code_size, &op);
	lp_patch_add_op(l->set, &op);
}

static struct lp_addr_expr target_expr(struct listing *l, lp_addr to)
{
	char at[24], *object;
	struct lp_code_space *s = l->system->space;
	uint64_t function, vaddr;
	int len = snprintf(at, sizeof at, "%" PRIx64, to);

	if (!lp_names_find(&l->functions, at, (size_t)len, &function)) {
		if (s->ops->whose && s->ops->whose(s, to, &object, &vaddr))
			return (struct lp_addr_expr){.kind = LP_ADDR_FILE, .symbol = object, .number = vaddr};
		return number_expr(to);
	}
	return (struct lp_addr_expr){.kind = LP_ADDR_MEM, .mem = lp_strdup(l->set->ops[function].mem)};
}

static void list_other(struct listing *l, const livepatch_info *i)
{
	static const enum lp_op_kind kinds[LP_PATCH_TYPES] = {
		[PATCH_REPLACE] = LP_OP_INLINE, [PATCH_INSERT] = LP_OP_INSERT,
		[PATCH_NEW_FUNC] = LP_OP_FUNC,	[PATCH_FUNCTION_REDIRECT] = LP_OP_REDIRECT,
		[PATCH_NOP] = LP_OP_NOP,	[PATCH_BRANCH] = LP_OP_BRANCH,
	};
	struct lp_op op = {
		.kind = kinds[i->type],
		.desc = i->description[0] ? lp_strdup(i->description) : NULL,
	};

	lp_sets_place(l->system, i->addr, &op);
	if (i->type == PATCH_BRANCH || i->type == PATCH_FUNCTION_REDIRECT)
		op.to = target_expr(l, i->target);
	if (i->type == PATCH_REPLACE)
		list_code(l, i, i->patched, i->size, &op);
	if (i->type == PATCH_INSERT)
		list_code(l, i, i->code, i->code_size, &op);
	lp_patch_add_op(l->set, &op);
}

/* First the names that are taken; then functions: who refers to one comes behind it. */
static int list_patch(const livepatch_info *i, unsigned pass, void *arg)
{
	struct listing *l = arg;

	if (pass == 0 && i->name[0])
		lp_names_add(&l->taken, i->name, i->addr);
	if (pass == 1 && brings_function(i))
		list_function(l, i);
	if (pass == 2 && i->type != PATCH_NEW_FUNC)
		list_other(l, i);
	return 0;
}

int lp_sets_list(LivePatchSystem *system, struct lp_patchset **out, struct lp_err *err)
{
	struct listing l = {.system = system, .set = lp_patch_new("livepatch")};

	lp_system_each_pass(system, 3, list_patch, &l);
	lp_names_free(&l.taken);
	lp_names_free(&l.functions);
	*out = l.set;
	return 0;
}
