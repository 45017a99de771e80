/* What is there, for functions of the caller's: they run without any lock, on copies. */
#include <string.h>

#include "api/txn.h"
#include "base/bits.h"
#include "base/buf.h"

/* ---- a patch as the caller sees it ---- */

static void word_info(LivePatchSystem *s, const struct lp_patch *p, livepatch_info *out, uint8_t words[8])
{
	struct lp_insn in;

	lp_put32(words, p->word.original);
	lp_put32(words + 4, p->word.patched);
	out->size = 4;
	out->original = words;
	out->patched = words + 4;
	if ((p->type == PATCH_BRANCH || p->type == PATCH_FUNCTION_REDIRECT) &&
	    s->space->isa->insn(words + 4, 4, p->at, &in) && in.has_target)
		out->target = in.target;
}

static void more_info(const struct lp_patch_more *m, livepatch_info *out)
{
	out->size = m->size;
	out->original = m->size ? m->original : NULL;
	out->patched = m->size ? m->patched : NULL;
	if (m->divert && m->divert->nr) {
		out->size = m->divert->edits[0].len;
		out->original = m->divert->edits[0].old_bytes;
		out->patched = m->divert->edits[0].new_bytes;
	}
	out->code = m->code_size ? m->code : NULL;
	out->code_size = m->code_size;
	out->target = m->target ? m->target : m->room_size ? m->room : 0;
	out->name = m->name ? m->name : "";
}

void lp_patch_info(LivePatchSystem *s, const struct lp_patch *p, livepatch_info *out, uint8_t words[8])
{
	*out = (livepatch_info){
		.addr = p->at,
		.type = (LivePatchType)p->type,
		.name = "",
		.description = p->description ? p->description : "",
		.file = lp_system_file_name(s, p->file),
		.generation = p->generation,
		.applied = (time_t)p->applied,
	};
	if (p->is_word)
		word_info(s, p, out, words);
	else
		more_info(p->more, out);
}

/* ---- a copy of one ---- */

struct copy {
	livepatch_info info;
	uint8_t words[8];
	struct lp_buf bytes; /* all that info points to */
	size_t at;
};

static size_t text_size(const char *text)
{
	return strlen(text) + 1;
}

static const void *keep(struct copy *c, const void *bytes, size_t size)
{
	const uint8_t *to = c->bytes.data + c->at;

	if (!bytes || !size)
		return NULL;
	memcpy(c->bytes.data + c->at, bytes, size);
	c->at += size;
	return to;
}

/* The shard is held. */
static void copy_patch(LivePatchSystem *s, const struct lp_patch *p, struct copy *c)
{
	livepatch_info *i = &c->info;

	lp_patch_info(s, p, i, c->words);
	c->bytes.len = c->at = 0;
	lp_buf_fill(&c->bytes, 0, 2 * i->size + i->code_size + text_size(i->name) + text_size(i->description));
	i->original = keep(c, i->original, i->size);
	i->patched = keep(c, i->patched, i->size);
	i->code = keep(c, i->code, i->code_size);
	i->name = keep(c, i->name, text_size(i->name));
	i->description = keep(c, i->description, text_size(i->description));
}

/* The patch that covers `at`; false: none, or only_at and it begins elsewhere. */
static bool copy_at(LivePatchSystem *s, lp_addr at, bool only_at, struct copy *c)
{
	struct lp_held held = lp_table_lock(s->table, at, 1);
	const struct lp_patch *p = lp_table_find(s->table, at);
	bool found = p && (p->at == at || !only_at);

	if (found)
		copy_patch(s, p, c);
	lp_table_unlock(s->table, held);
	return found;
}

int livepatch_find(LivePatchSystem *system, uint64_t addr, int (*fn)(const livepatch_info *info, void *arg), void *arg,
		   int *result)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);
	struct copy c = {0};

	if (rc)
		return lp_leave(system, rc);
	bool found = copy_at(system, addr, false, &c);
	int answer = found && fn ? fn(&c.info, arg) : 0;
	lp_buf_free(&c.bytes);
	if (found && result)
		*result = answer;
	return found;
}

/* ---- all of them ---- */

static lp_addr *addresses(LivePatchSystem *s, size_t *nr)
{
	struct lp_held held = lp_table_lock_all(s->table);
	struct lp_patch **sorted = lp_table_sorted(s->table, nr);
	lp_addr *list = lp_alloc(*nr * sizeof *list);

	for (size_t i = 0; i < *nr; i++)
		list[i] = sorted[i]->at;
	lp_table_unlock(s->table, held);
	lp_free(sorted);
	return list;
}

int livepatch_foreach(LivePatchSystem *system, int (*fn)(const livepatch_info *info, void *arg), void *arg)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err), answer = 0;
	struct copy c = {0};
	size_t nr;

	if (!rc && !fn)
		rc = lp_fail(err, LP_EUSAGE, "there is no function to call (NULL)");
	if (rc)
		return lp_leave(system, rc);
	lp_addr *list = addresses(system, &nr);
	for (size_t i = 0; !answer && i < nr; i++) {
		if (copy_at(system, list[i], true, &c))
			answer = fn(&c.info, arg);
	}
	lp_free(list);
	lp_buf_free(&c.bytes);
	return answer;
}

int lp_system_each_pass(LivePatchSystem *s, unsigned passes,
			int (*fn)(const livepatch_info *info, unsigned pass, void *arg), void *arg)
{
	struct lp_held held = lp_table_lock_all(s->table);
	livepatch_info info;
	uint8_t words[8];
	size_t nr;
	struct lp_patch **sorted = lp_table_sorted(s->table, &nr);
	int answer = 0;

	for (size_t i = 0; !answer && i < nr * passes; i++) {
		lp_patch_info(s, sorted[i % nr], &info, words);
		answer = fn(&info, (unsigned)(i / nr), arg);
	}
	lp_table_unlock(s->table, held);
	lp_free(sorted);
	return answer;
}

struct each {
	int (*fn)(const livepatch_info *info, void *arg);
	void *arg;
};

static int call_each(const livepatch_info *info, unsigned pass, void *arg)
{
	struct each *e = arg;

	return e->fn(info, e->arg);
}

int lp_system_each(LivePatchSystem *s, int (*fn)(const livepatch_info *info, void *arg), void *arg)
{
	return lp_system_each_pass(s, 1, call_each, &(struct each){fn, arg});
}
