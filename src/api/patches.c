/*
 * One change at a time: the functions of livepatch.h that make and take back a
 * patch.
 *
 * A word in memory of the caller's, outside of a transaction, is by far the
 * most frequent change.  It goes straight to the table and the memory under
 * the lock of its shard; everything else is a transaction of one.
 */
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "api/host.h"
#include "api/sets.h"
#include "api/txn.h"
#include "base/bits.h"

/* ---- a transaction of one ---- */

static int apply(LivePatchSystem *system, const struct lp_request *r, uint64_t *at)
{
	struct lp_err *err = lp_enter();
	struct lp_txn_use use;
	int rc = lp_system_check_enabled(system, err);

	if (rc)
		return lp_leave(system, rc);
	struct lp_txn *t = lp_txn_use(&use, system);
	rc = lp_plan(t, r, at, err);
	return lp_leave(system, lp_txn_done(&use, rc, err));
}

/* ---- a word ---- */

static bool is_plain(LivePatchSystem *s)
{
	return s->space->concurrent && s->space->isa->insn_align == sizeof(uint32_t) && !lp_txn_current(s);
}

static int fail_word(struct lp_err *err, int rc, lp_addr at)
{
	err->addr = at;
	return rc;
}

static int check_word(LivePatchSystem *s, lp_addr at, uint32_t word, struct lp_err *err)
{
	const struct lp_isa *isa = s->space->isa;
	struct lp_range r = s->space->range;
	uint8_t code[4];

	if (at % sizeof word)
		return fail_word(
			err, lp_fail(err, LP_EMISALIGNED, "the address " LP_ADDR " is not a multiple of 4", at), at);
	if (!lp_range_has(r, at))
		return fail_word(err,
				 lp_fail(err, LP_EOUTSIDE, LP_ADDR " is outside of the memory, " LP_ADDR " to " LP_ADDR,
					 at, r.start, r.end),
				 at);
	lp_put32(code, word);
	if (isa->allocated && !(atomic_load_explicit(&s->flags, memory_order_relaxed) & LIVEPATCH_ALLOW_UNALLOCATED) &&
	    !isa->allocated(code, sizeof code))
		return fail_word(err, lp_fail(err, LP_EUNALLOCATED, "no instruction is encoded as %08" PRIx32, word),
				 at);
	return 0;
}

static int fail_covered(const struct lp_patch *p, lp_addr at, struct lp_err *err)
{
	return fail_word(
		err, lp_fail(err, LP_EOVERLAP, LP_ADDR " is changed by the patch at " LP_ADDR " already", at, p->at),
		p->at);
}

static int write_word(LivePatchSystem *s, struct lp_patch *p, struct lp_err *err)
{
	uint8_t old_bytes[4], new_bytes[4];
	struct lp_code_edit e = {.at = p->at, .len = 4, .old_bytes = old_bytes, .new_bytes = new_bytes};
	const struct lp_patch *there = lp_table_find(s->table, p->at);
	int rc = there ? fail_covered(there, p->at, err) : s->space->ops->read(s->space, p->at, old_bytes, 4, err);

	if (rc)
		return rc;
	lp_put32(new_bytes, p->word.patched);
	p->word.original = lp_get32(old_bytes);
	return s->space->ops->commit(s->space, &e, 1, 0, err);
}

static int apply_word(LivePatchSystem *s, struct lp_patch *p, const char *description, struct lp_err *err)
{
	struct lp_held held = lp_table_lock(s->table, p->at, 4);
	int rc = write_word(s, p, err);

	if (!rc) {
		p->description = description && *description ? lp_strdup(description) : NULL;
		p->generation = lp_system_next_generation(s);
		p->applied = (uint32_t)time(NULL);
		lp_table_add(s->table, p);
		lp_system_note_come(s, p);
	}
	lp_table_unlock(s->table, held);
	return rc;
}

static int apply_plain(LivePatchSystem *s, LivePatchType type, lp_addr at, uint32_t word, const char *description,
		       struct lp_err *err)
{
	struct lp_patch p = {.at = at, .extent = 4, .type = (uint8_t)type, .is_word = true, .word = {.patched = word}};
	int rc = check_word(s, at, word, err);

	return lp_leave(s, rc ? rc : apply_word(s, &p, description, err));
}

int livepatch_apply(LivePatchSystem *system, uint64_t target_addr, uint32_t new_instr, const char *description)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check_enabled(system, err);

	if (rc)
		return lp_leave(system, rc);
	if (is_plain(system))
		return apply_plain(system, PATCH_REPLACE, target_addr, new_instr, description, err);
	return livepatch_apply_code(system, target_addr, &new_instr, sizeof new_instr, NULL, description);
}

int livepatch_create_nop(LivePatchSystem *system, uint64_t addr, const char *description)
{
	struct lp_err *err = lp_enter();
	uint8_t nop[4];

	if (lp_system_check_enabled(system, err) || !is_plain(system))
		return apply(system, &(struct lp_request){.type = PATCH_NOP, .at = addr, .description = description},
			     NULL);
	system->space->isa->nops(nop, sizeof nop);
	return apply_plain(system, PATCH_NOP, addr, lp_get32(nop), description, err);
}

/* The word of a branch that needs nothing else; false: there is none. */
static bool branch_word(LivePatchSystem *s, lp_addr from, lp_addr to, uint32_t *word)
{
	const struct lp_isa *isa = s->space->isa;
	struct lp_entry e = {.shape = LP_ENTRY_DIRECT, .jump_at = from, .jump_len = sizeof *word};
	struct lp_piece piece[2];

	if (from % isa->insn_align || to % isa->insn_align || isa->entry_bytes(&e, to, piece) != 1)
		return false;
	*word = lp_get32(piece->bytes);
	return true;
}

int livepatch_create_branch(LivePatchSystem *system, uint64_t from_addr, uint64_t to_addr, const char *description)
{
	struct lp_err *err = lp_enter();
	uint32_t word;

	if (!lp_system_check_enabled(system, err) && is_plain(system) && branch_word(system, from_addr, to_addr, &word))
		return apply_plain(system, PATCH_BRANCH, from_addr, word, description, err);
	return apply(system,
		     &(struct lp_request){
			     .type = PATCH_BRANCH, .at = from_addr, .target = to_addr, .description = description},
		     NULL);
}

/* ---- the other kinds ---- */

int livepatch_apply_code(LivePatchSystem *system, uint64_t addr, const void *code, size_t size, const void *expect,
			 const char *description)
{
	return apply(system,
		     &(struct lp_request){.type = PATCH_REPLACE,
					  .at = addr,
					  .code = code,
					  .size = code ? size : 0,
					  .expect = expect,
					  .expect_size = size,
					  .description = description},
		     NULL);
}

int livepatch_insert(LivePatchSystem *system, uint64_t addr, const void *code, size_t size, const char *description)
{
	return apply(system,
		     &(struct lp_request){.type = PATCH_INSERT,
					  .at = addr,
					  .code = code,
					  .size = code ? size : 0,
					  .description = description},
		     NULL);
}

int livepatch_new_func(LivePatchSystem *system, const char *name, const void *code, size_t size, uint64_t *addr,
		       const char *description)
{
	return apply(system,
		     &(struct lp_request){.type = PATCH_NEW_FUNC,
					  .code = code,
					  .size = code ? size : 0,
					  .name = name && *name ? name : NULL,
					  .description = description},
		     addr);
}

int livepatch_redirect_function(LivePatchSystem *system, uint64_t func_addr, uint64_t new_func_addr,
				const char *description)
{
	return apply(system,
		     &(struct lp_request){.type = PATCH_FUNCTION_REDIRECT,
					  .at = func_addr,
					  .target = new_func_addr,
					  .description = description},
		     NULL);
}

/* The host's function as it is, in the target's new memory. */
static int insert_copy(LivePatchSystem *system, uint64_t addr, const void *func, const char *description)
{
	struct lp_err *err = lp_enter();
	uint8_t *code;
	size_t size;
	int rc = lp_host_function(system->space->isa, func, &code, &size, err);

	if (rc)
		return lp_leave(system, rc);
	rc = apply(system,
		   &(struct lp_request){.type = PATCH_FUNCTION_REDIRECT,
					.at = addr,
					.code = code,
					.size = size,
					.description = description},
		   NULL);
	lp_free(code);
	return rc;
}

int livepatch_insert_func(LivePatchSystem *system, uint64_t addr, void *func, const char *description)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);

	if (!rc && !func)
		rc = lp_fail(err, LP_EUSAGE, "there is no function (NULL)");
	if (!rc && !system->space->is_own && !system->space->concurrent)
		rc = lp_fail(err, LP_EUSAGE, "a function of this process cannot be called from another");
	if (rc)
		return lp_leave(system, rc);
	if (system->space->is_own)
		return livepatch_redirect_function(system, addr, (uintptr_t)func, description);
	return insert_copy(system, addr, func, description);
}

/* ---- taking back ---- */

static int fail_no_patch(struct lp_err *err, lp_addr at, const struct lp_patch *over)
{
	int rc = over ? lp_fail(err, LP_ENOPATCH, "the patch over " LP_ADDR " is that of " LP_ADDR, at, over->at)
		      : lp_fail(err, LP_ENOPATCH, "there is no patch at " LP_ADDR, at);

	return fail_word(err, rc, at);
}

static int revert_found(LivePatchSystem *s, struct lp_patch *p, struct lp_err *err)
{
	struct lp_code_edit e = {.at = p->at,
				 .len = 4,
				 .old_bytes = (const uint8_t *)&p->word.original,
				 .new_bytes = (const uint8_t *)&p->word.patched};
	struct lp_patch copy = *p;

	__builtin_prefetch(copy.description, 1); /* needed when it is freed, and far away when there are a million */
	int rc = s->space->ops->undo(s->space, &e, 1, 0, err);
	if (rc)
		return rc;
	lp_system_next_generation(s);
	lp_table_remove(s->table, p);
	lp_system_note_gone(s, &copy);
	lp_patch_drop(s, &copy);
	return 0;
}

/* False: it is no patch of a word; nothing was done. */
static bool revert_word(LivePatchSystem *s, lp_addr at, int *rc, struct lp_err *err)
{
	struct lp_held held = lp_table_lock(s->table, at, 4);
	uint32_t soon; /* the word comes from memory while the patch is looked for */
	s->space->ops->read(s->space, at, &soon, sizeof soon, NULL);
	struct lp_patch *p = lp_table_find(s->table, at);
	bool is_word = !p || p->is_word;

	if (is_word)
		*rc = p && p->at == at ? revert_found(s, p, err) : fail_no_patch(err, at, p);
	lp_table_unlock(s->table, held);
	return is_word;
}

int livepatch_revert(LivePatchSystem *system, uint64_t target_addr)
{
	struct lp_err *err = lp_enter();
	struct lp_txn_use use;
	int rc = lp_system_check(system, err);

	if (rc)
		return lp_leave(system, rc);
	if (is_plain(system) && revert_word(system, target_addr, &rc, err))
		return lp_leave(system, rc);
	rc = lp_txn_take(lp_txn_use(&use, system), target_addr, err);
	return lp_leave(system, lp_txn_done(&use, rc, err));
}

struct addresses {
	LivePatchSystem *system; /* whose patches that are lost are left out; NULL: none are */
	size_t lost;
	LP_VEC(lp_addr) list;
};

static void add_address(struct lp_patch *p, void *arg)
{
	struct addresses *a = arg;

	if (a->system && !lp_patch_stands(a->system, p))
		a->lost++;
	else
		lp_vec_push(&a->list, p->at);
}

static void count_lost(const struct lp_script_info *info, void *arg)
{
	size_t *lost = arg;

	*lost += info->is_lost && !info->is_object;
}

/* `lost` NULL: those that are lost too, which refuses all. */
static int take_all(struct lp_txn *t, size_t *lost, struct lp_err *err)
{
	struct addresses all = {.system = lost ? t->system : NULL};
	struct lp_held held = lp_table_lock_all(t->system->table);
	int rc = 0, taken = 0;

	lp_table_each(t->system->table, add_address, &all);
	lp_table_unlock(t->system->table, held);
	all.system = NULL;
	if (t->puts)
		lp_table_each(t->puts, add_address, &all);
	if (lost) {
		*lost = all.lost;
		lp_system_each_script(t->system, count_lost, lost);
	}
	for (size_t i = 0; rc >= 0 && i < all.list.nr; i++) {
		rc = lp_txn_take_if(t, all.list.items[i], err);
		taken += rc;
	}
	lp_vec_free(&all.list);
	return rc < 0 ? rc : taken + lp_scripts_take_all(t, !lost);
}

static int revert_all(LivePatchSystem *system, size_t *lost)
{
	struct lp_err *err = lp_enter();
	struct lp_txn_use use;
	int rc = lp_system_check(system, err);

	if (rc)
		return lp_leave(system, rc);
	rc = take_all(lp_txn_use(&use, system), lost, err);
	return lp_leave(system, lp_txn_done(&use, rc, err));
}

int livepatch_revert_all(LivePatchSystem *system)
{
	return revert_all(system, NULL);
}

int lp_system_revert_rest(LivePatchSystem *system, size_t *lost)
{
	return revert_all(system, lost);
}

bool lp_system_stands(LivePatchSystem *system, uint64_t at, bool *mapped)
{
	struct lp_held held = lp_table_lock_all(system->table);
	const struct lp_patch *p = lp_table_find(system->table, at);
	uint8_t byte;
	bool stands = p && lp_patch_stands(system, p);

	*mapped = system->space->ops->read(system->space, at, &byte, sizeof byte, NULL) == 0;
	lp_table_unlock(system->table, held);
	return stands;
}

int livepatch_forget(LivePatchSystem *system, uint64_t target_addr)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);

	if (!rc && !system->space->ops->disown)
		rc = lp_fail(err, LP_EUSAGE,
			     "what was done to another process stands in its ledger, and is not forgotten");
	return lp_leave(system, rc ? rc : lp_patch_forget(system, target_addr, err));
}

int is_nop_instruction(uint32_t instr)
{
	uint8_t code[4];

	lp_put32(code, instr);
	return lp_isa_of_guests()->is_nop(code, sizeof code);
}
