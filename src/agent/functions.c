/*
 * func ...: functions of the program that go elsewhere, and back.
 *
 * Each has a stack of versions; the last one is what calls go to, none means
 * the original. A transaction works on `planned`; when its commands are all
 * prepared, one lp_self_switch() takes every function to where its plan ends.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"

#define LEVELS_MAX 1000 /* upgrades of one function on top of each other */

struct version {
	struct lp_library *library;
	lp_addr at;
	char symbol[256];
};

typedef LP_VEC(struct version) version_vec;

struct function {
	char *name;
	lp_addr at;
	bool registered;
	struct lp_self_hook hook; /* prepared at the first upgrade */
	version_vec versions, planned;
	unsigned steps;	 /* of the open transaction */
	lp_open planner; /* which one that is; NULL: none */
};

static LP_VEC(struct function *) functions;

static struct function *function_named(const char *name)
{
	for (size_t i = 0; i < functions.nr; i++) {
		if (!strcmp(functions.items[i]->name, name))
			return functions.items[i];
	}
	return NULL;
}

static struct function *function_at(lp_addr at)
{
	for (size_t i = 0; i < functions.nr; i++) {
		if (functions.items[i]->at == at)
			return functions.items[i];
	}
	return NULL;
}

static struct function *function_add(const char *name, lp_addr at)
{
	struct function *f = lp_alloc(sizeof *f);

	f->name = lp_strdup(name);
	f->at = at;
	lp_vec_push(&functions, f);
	return f;
}

static void function_drop(struct function *f)
{
	for (size_t i = 0; i < functions.nr; i++) {
		if (functions.items[i] == f) {
			memmove(&functions.items[i], &functions.items[i + 1], (functions.nr - i - 1) * sizeof f);
			functions.nr--;
			break;
		}
	}
	lp_self_release(&f->hook);
	lp_vec_free(&f->versions);
	lp_vec_free(&f->planned);
	lp_free(f->name);
	lp_free(f);
}

/* By its registered name, or by its symbol; then it is known by that from now on. */
static int function_find(const char *name, struct function **out, struct lp_err *err)
{
	struct lp_spot spot;

	*out = function_named(name);
	if (*out)
		return 0;
	int rc = lp_symbol_find(name, &spot, err);
	if (rc == -LP_ENOSYM)
		return lp_fail(err, LP_ENOFUNCTION,
			       "no function is registered as %s, and the program has no symbol of that name", name);
	if (rc < 0)
		return rc;
	if (!spot.is_function)
		return lp_fail(err, LP_ENOFUNCTION, "%s is a variable, not a function", name);
	*out = function_at(spot.at); /* the same under another name */
	if (!*out)
		*out = function_add(name, spot.at);
	return 0;
}

unsigned lp_functions_upgraded(void)
{
	unsigned nr = 0;

	for (size_t i = 0; i < functions.nr; i++)
		nr += functions.items[i]->versions.nr > 0;
	return nr;
}

static bool leads_to(const version_vec *v, const struct lp_library *l)
{
	for (size_t i = 0; i < v->nr; i++) {
		if (v->items[i].library == l)
			return true;
	}
	return false;
}

/* Others' plans may come true or not. */
static bool will_use(const struct function *f, const struct lp_library *l, lp_open txn)
{
	return leads_to(&f->planned, l) || (f->planner != txn && leads_to(&f->versions, l));
}

unsigned lp_library_users(const struct lp_library *l, lp_open txn, struct lp_buf *names)
{
	unsigned users = 0;

	for (size_t i = 0; i < functions.nr; i++) {
		const struct function *f = functions.items[i];

		if (!will_use(f, l, txn))
			continue;
		if (names)
			lp_buf_printf(names, "%s%s", users ? ", " : "", f->name);
		users++;
	}
	return users;
}

bool lp_library_is_live(const struct lp_library *l)
{
	for (size_t i = 0; i < functions.nr; i++) {
		if (leads_to(&functions.items[i]->versions, l))
			return true;
	}
	return false;
}

const char *lp_function_changed_in(struct lp_range memory, lp_open txn)
{
	for (size_t i = 0; i < functions.nr; i++) {
		const struct function *f = functions.items[i];

		if (lp_range_has(memory, f->at) && (f->versions.nr || (f->planner && f->planner != txn)))
			return f->name;
	}
	return NULL;
}

/* Those that the open transaction has steps of are dropped with the last of these. */
void lp_functions_forget(struct lp_range memory)
{
	for (size_t i = functions.nr; i-- > 0;) {
		struct function *f = functions.items[i];

		if (!lp_range_has(memory, f->at))
			continue;
		f->registered = false;
		if (!f->steps)
			function_drop(f);
	}
}

/* ---- changes ---- */

/* One command's part in the plan of one function. */
struct step {
	struct function *function;
	version_vec before; /* what the function had before the commit */
};

static void copy_versions(version_vec *to, const version_vec *from)
{
	lp_vec_free(to);
	for (size_t i = 0; i < from->nr; i++)
		lp_vec_push(to, from->items[i]);
}

static lp_addr aim_of(const version_vec *v)
{
	return v->nr ? v->items[v->nr - 1].at : 0;
}

static bool listed(const struct lp_self_switch *all, size_t nr, const struct lp_self_hook *hook)
{
	for (size_t i = 0; i < nr; i++) {
		if (all[i].hook == hook)
			return true;
	}
	return false;
}

/* From where the stacks are to where they will be, each function once; what stays as it is stays untouched. */
static int switch_to_plans(struct step *const *steps, size_t nr, struct lp_err *err)
{
	struct lp_self_switch *all = lp_alloc(nr * sizeof *all + 1);
	size_t changing = 0;

	for (size_t i = 0; i < nr; i++) {
		struct function *f = steps[i]->function;
		lp_addr now = aim_of(&f->versions), then = aim_of(&f->planned);

		if (now != then && !listed(all, changing, &f->hook))
			all[changing++] = (struct lp_self_switch){&f->hook, then};
	}
	int rc = changing ? lp_self_switch(all, changing, err) : 0;
	lp_free(all);
	return rc;
}

int lp_functions_switch(void *const *changes, size_t nr, struct lp_err *err)
{
	struct step *const *steps = (struct step *const *)changes;
	int rc = switch_to_plans(steps, nr, err);

	for (size_t i = 0; i < nr && !rc; i++) {
		copy_versions(&steps[i]->before, &steps[i]->function->versions);
		copy_versions(&steps[i]->function->versions, &steps[i]->function->planned);
	}
	return rc;
}

/* Something later refused.  The world has been stopped for these very bytes a moment ago: it will be again. */
static void step_undo(void *change)
{
	struct step *s = change;
	struct function *f = s->function;
	struct lp_self_switch back = {&f->hook, aim_of(&s->before)};

	if (aim_of(&f->versions) != back.replacement && lp_self_switch(&back, 1, NULL) < 0)
		return; /* it stays what it became, and `func status` says so */
	copy_versions(&f->versions, &s->before);
}

/* No transaction has it any more. */
static void tidy(struct function *f)
{
	f->planner = NULL;
	copy_versions(&f->planned, &f->versions);
	if (!f->registered && !f->versions.nr)
		function_drop(f);
}

static void step_release(void *change)
{
	struct step *s = change;

	if (--s->function->steps == 0)
		tidy(s->function);
	lp_vec_free(&s->before);
	lp_free(s);
}

/* The stack of a function is one transaction's to plan: another one's plan would be made of what may never be. */
static int check_free(const struct lp_call *c, const struct function *f, struct lp_err *err)
{
	if (!f->planner || f->planner == c->changes)
		return 0;
	return lp_fail(err, EBUSY, "another client's open transaction changes %s: wait for its end", f->name);
}

static void add_step(struct lp_call *c, struct function *f)
{
	struct step *s = lp_alloc(sizeof *s);

	s->function = f;
	f->steps++;
	f->planner = c->changes;
	lp_change_add(c, &(struct lp_change){
				 .rank = LP_RANK_FUNCTIONS, .undo = step_undo, .release = step_release, .change = s});
}

void lp_functions_forked(void)
{
	for (size_t i = functions.nr; i-- > 0;) {
		struct function *f = functions.items[i];

		f->steps = 0;
		tidy(f);
	}
}

/* ---- func upgrade ---- */

static int prepare_hook(struct function *f, lp_addr replacement, struct lp_err *err)
{
	if (f->hook.site)
		return 0;
	f->hook = (struct lp_self_hook){.fn = f->at, .replacement = replacement};
	int rc = lp_self_prepare(&f->hook, err);
	return rc < 0 ? lp_err_context(err, rc, "%s", f->name) : 0;
}

static int plan_upgrade(struct function *f, struct lp_library *l, const char *symbol, struct lp_err *err)
{
	struct version v = {.library = l};
	int rc = lp_library_symbol(l, symbol, &v.at, err);

	if (rc < 0)
		return rc;
	if (v.at == f->at)
		return lp_fail(err, LP_EINUSE, "%s of library %s is the function itself", symbol, l->name);
	if (f->planned.nr == LEVELS_MAX)
		return lp_fail(err, LP_ERANGE, "%s has %d upgrades on top of each other: roll some back", f->name,
			       LEVELS_MAX);
	snprintf(v.symbol, sizeof v.symbol, "%s", symbol);
	rc = prepare_hook(f, v.at, err);
	if (rc == 0)
		lp_vec_push(&f->planned, v);
	return rc;
}

int lp_cmd_func_upgrade(struct lp_call *c, struct lp_err *err)
{
	const char *name = c->argv[1], *symbol = c->argc > 2 ? c->argv[2] : name;
	struct lp_library *l;
	struct function *f;

	int rc = lp_library_find(c->changes, c->argv[0], &l, err);
	rc = rc < 0 ? rc : function_find(name, &f, err);
	rc = rc < 0 ? rc : check_free(c, f, err);
	if (rc < 0)
		return rc;
	rc = plan_upgrade(f, l, symbol, err);
	add_step(c, f); /* also when it failed: its release tidies up */
	if (rc == 0)
		lp_reply_row(c->reply, "Try to upgrade function from dynamic library: %, function name: %, level: %",
			     LP_STR("library", l->name), LP_STR("function", f->name), LP_UINT("level", f->planned.nr));
	return rc;
}

/* ---- func rollback ---- */

static int parse_level(const struct function *f, const char *text, size_t *out, struct lp_err *err)
{
	size_t level = 0;

	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || level > LEVELS_MAX)
			return lp_fail(err, LP_EVALUE, "\"%s\" is no level; 0 is the original", text);
		level = level * 10 + (size_t)(*p - '0');
	}
	if (!*text || level >= f->planned.nr)
		return lp_fail(err, LP_EVALUE, "%s is at level %zu: \"%s\" is no level below that", f->name,
			       f->planned.nr, text);
	*out = level;
	return 0;
}

int lp_cmd_func_rollback(struct lp_call *c, struct lp_err *err)
{
	struct function *f = function_named(c->argv[0]);
	size_t level;

	if (!f)
		return lp_fail(err, LP_ENOFUNCTION, "no function is registered or upgraded as %s", c->argv[0]);
	int rc = check_free(c, f, err);
	if (rc < 0)
		return rc;
	if (!f->planned.nr)
		return lp_fail(err, LP_ENOPATCH, "%s is not upgraded", f->name);
	level = f->planned.nr - 1;
	rc = c->argc > 1 ? parse_level(f, c->argv[1], &level, err) : 0;
	if (rc < 0)
		return rc;
	f->planned.nr = level;
	add_step(c, f);
	lp_reply_row(c->reply, "Try to rollback function: %, level: %", LP_STR("function", f->name),
		     LP_UINT("level", level));
	return 0;
}

/* ---- func list, func status ---- */

int lp_cmd_func_list(struct lp_call *c, struct lp_err *err)
{
	for (size_t i = 0; i < functions.nr; i++) {
		const struct function *f = functions.items[i];
		const struct version *v = f->versions.nr ? &f->versions.items[f->versions.nr - 1] : NULL;

		lp_reply_row(c->reply, "Get function: %, pointer: %, level: %, implementation: %",
			     LP_STR("name", f->name), LP_ADDRESS("pointer", f->at), LP_UINT("level", f->versions.nr),
			     LP_STR("library", v ? v->library->name : "original"));
	}
	return 0;
}

static void show_status(struct lp_call *c, const struct function *f)
{
	lp_reply_row(c->reply, "%: level 0, original, pointer: %, current: %", LP_STR("function", f->name),
		     LP_ADDRESS("pointer", f->at), LP_BOOLEAN("current", f->versions.nr == 0));
	for (size_t i = 0; i < f->versions.nr; i++) {
		const struct version *v = &f->versions.items[i];

		lp_reply_row(c->reply, "%: level %, library: %, symbol: %, pointer: %, current: %",
			     LP_STR("function", f->name), LP_UINT("level", i + 1), LP_STR("library", v->library->name),
			     LP_STR("symbol", v->symbol), LP_ADDRESS("pointer", v->at),
			     LP_BOOLEAN("current", i + 1 == f->versions.nr));
	}
}

int lp_cmd_func_status(struct lp_call *c, struct lp_err *err)
{
	const struct function *f = c->argc ? function_named(c->argv[0]) : NULL;

	if (c->argc && !f)
		return lp_fail(err, LP_ENOFUNCTION, "no function is registered or upgraded as %s", c->argv[0]);
	for (size_t i = 0; i < functions.nr; i++) {
		if (!f || f == functions.items[i])
			show_status(c, functions.items[i]);
	}
	return 0;
}

/* ---- hotpatch.h ---- */

static int register_function(const char *name, lp_addr at, struct lp_err *err)
{
	if (!name || !*name || !at)
		return lp_fail(err, EINVAL, "a function is registered with a name and an address");
	struct function *f = function_named(name);
	if (f && f->at != at)
		return lp_fail(err, LP_EEXISTS, "another function is registered as %s", name);
	if (!f)
		f = function_add(name, at);
	f->registered = true;
	return 0;
}

int hotpatch_register_function(const char *name, void *function)
{
	struct lp_err err = {0};

	int rc = lp_agent_enter(&err);
	if (rc == 0) {
		rc = register_function(name, (lp_addr)(uintptr_t)function, &err);
		lp_agent_unlock();
	}
	return lp_agent_result(rc, &err);
}

static int unregister_function(const char *name, struct lp_err *err)
{
	struct function *f = function_named(name);

	if (!f || !f->registered)
		return lp_fail(err, LP_ENOFUNCTION, "no function is registered as %s", name);
	if (f->versions.nr || f->steps)
		return lp_fail(err, EBUSY, "%s is upgraded", name);
	function_drop(f);
	return 0;
}

int hotpatch_unregister_function(const char *name)
{
	struct lp_err err = {0};

	int rc = lp_agent_enter(&err);
	if (rc == 0) {
		rc = unregister_function(name, &err);
		lp_agent_unlock();
	}
	return lp_agent_result(rc, &err);
}
