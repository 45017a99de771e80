/*
 * Patches that were asked for before the first instruction, and are for a
 * library that is not there yet: each command waits as a whole, and is tried
 * again whenever the guest maps code.
 *
 * A name that nothing has yet may be that of a library too, as long as the
 * dynamic linker works.  When the program's own first instruction comes, it is
 * a mistake, and the program does not run; the same goes for everything else
 * that is refused before that.
 *
 * All of it with the session's lock in hand, or before there is anybody else;
 * how many there are may be asked by anybody, and that the program begins be said.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/vec.h"
#include "runner/private.h"

struct waiting {
	LP_VEC(char *) words; /* the command, without "patch" */
	char *why;
	bool is_refused;
};

static struct {
	LP_VEC(struct waiting) list;
	bool is_open;	/* the guest has not been started: who cannot yet may wait */
	bool is_trying; /* what is refused waits already */
} all;

static atomic_size_t nr_waiting;
static atomic_bool has_begun; /* the program's own code runs: a name that is unknown now is a mistake */

static void recount(void)
{
	size_t nr = 0;

	for (size_t i = 0; i < all.list.nr; i++)
		nr += !all.list.items[i].is_refused;
	atomic_store(&nr_waiting, nr);
}

static void free_waiting(struct waiting *w)
{
	for (size_t i = 0; i < w->words.nr; i++)
		lp_free(w->words.items[i]);
	lp_vec_free(&w->words);
	lp_free(w->why);
}

static void drop(size_t i)
{
	free_waiting(&all.list.items[i]);
	memmove(&all.list.items[i], &all.list.items[i + 1], (--all.list.nr - i) * sizeof all.list.items[0]);
	recount();
}

static char *text_of(const struct waiting *w)
{
	struct lp_buf b = {0};
	char *text;

	for (size_t i = 0; i < w->words.nr; i++)
		lp_buf_printf(&b, "%s%s", i ? " " : "", w->words.items[i]);
	text = lp_strdup(lp_buf_cstr(&b));
	lp_buf_free(&b);
	return text;
}

/* ---- coming and going ---- */

void lp_pending_open(bool has_interpreter)
{
	all.is_open = true;
	atomic_store(&has_begun, !has_interpreter);
}

void lp_pending_close(void)
{
	all.is_open = false;
}

void lp_pending_program_begins(void)
{
	atomic_store(&has_begun, true);
}

static bool may_wait(int rc)
{
	return rc == -LP_ENOTLOADED || (rc == -LP_ENOSYM && !atomic_load(&has_begun));
}

int lp_pending_offer(struct lp_call *c, const char *verb, int rc, struct lp_err *err)
{
	struct waiting *w;

	if (!all.is_open || all.is_trying || !may_wait(rc))
		return rc;
	w = lp_vec_add(&all.list);
	*w = (struct waiting){.why = lp_strdup(err->text)};
	lp_vec_push(&w->words, lp_strdup(verb));
	for (int i = 0; i < c->argc; i++)
		lp_vec_push(&w->words, lp_strdup(c->argv[i]));
	recount();
	*err = (struct lp_err){0};
	lp_reply_row(c->reply, "% waits: %", LP_STR("patch", c->argv[0]), LP_STR("why", w->why));
	return 0;
}

size_t lp_pending_count(void)
{
	return atomic_load(&nr_waiting);
}

size_t lp_pending_drop_all(void)
{
	size_t nr = all.list.nr;

	while (all.list.nr)
		drop(all.list.nr - 1);
	return nr;
}

size_t lp_pending_drop(const char *first)
{
	size_t nr = 0;

	for (size_t i = all.list.nr; i-- > 0;)
		if (!strcmp(all.list.items[i].words.items[1], first)) {
			drop(i);
			nr++;
		}
	return nr;
}

bool lp_pending_has_file(const char *file)
{
	for (size_t i = 0; i < all.list.nr; i++) {
		const struct waiting *w = &all.list.items[i];
		if (!w->is_refused && !strcmp(w->words.items[0], "load") && !strcmp(w->words.items[1], file))
			return true;
	}
	return false;
}

void lp_pending_rows(struct lp_call *c)
{
	for (size_t i = 0; i < all.list.nr; i++) {
		const struct waiting *w = &all.list.items[i];
		char *text = text_of(w), *state = lp_sprintf("%s: %s", w->is_refused ? "refused" : "waiting", w->why);
		lp_reply_row(c->reply, "-              WAITING  % [%]", LP_STR("description", text),
			     LP_STR("state", state), LP_STR("type", "WAITING"), LP_STR("name", w->words.items[1]));
		lp_free(text);
		lp_free(state);
	}
}

void lp_pending_not_saved(struct lp_call *c)
{
	for (size_t i = 0; i < all.list.nr; i++) {
		char *text = text_of(&all.list.items[i]);
		lp_reply_row(c->reply, "not in it, since it waits: %", LP_STR("not_saved", text));
		lp_free(text);
	}
}

/* ---- trying ---- */

/* Why `w` goes on waiting, or is refused. */
static void keep_why(struct waiting *w, int rc, const struct lp_err *err, void (*refused)(const char *line))
{
	char *text, *line;

	lp_free(w->why);
	w->why = lp_strdup(err->text);
	w->is_refused = !may_wait(rc);
	recount();
	if (!w->is_refused)
		return;
	text = text_of(w);
	line = lp_sprintf("a patch that waited is refused (%s): %s", text, w->why);
	refused(line);
	lp_free(line);
	lp_free(text);
}

static int try_one(struct lp_runner *r, const struct waiting *w, struct lp_err *err)
{
	LP_VEC(const char *) words = {0};
	int rc;

	lp_vec_push(&words, "patch");
	for (size_t i = 0; i < w->words.nr; i++)
		lp_vec_push(&words, w->words.items[i]);
	rc = lp_runner_do(r, words.items, words.nr, NULL, NULL, err);
	lp_vec_free(&words);
	return rc;
}

bool lp_pending_try(struct lp_runner *r, void (*applied)(const char *verb, const char *first),
		    void (*refused)(const char *line))
{
	bool all_well = true;

	all.is_trying = true;
	for (size_t i = 0; i < all.list.nr;) {
		struct waiting *w = &all.list.items[i];
		struct lp_err err = {0};
		int rc = w->is_refused ? -LP_EUSAGE : try_one(r, w, &err);
		if (rc == 0) {
			applied(w->words.items[0], w->words.items[1]);
			drop(i);
			continue;
		}
		if (!w->is_refused)
			keep_why(w, rc, &err, refused);
		all_well = all_well && !w->is_refused;
		i++;
	}
	all.is_trying = false;
	return all_well;
}
