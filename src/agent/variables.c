/*
 * var ...: variables of the program, registered or known by their symbols.
 *
 * A command names a type and a variable.  The type of a registered one must be
 * that (any name of it, or any integer of the same size and sign); of a symbol,
 * the size must fit what the symbol table says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/value.h"

#define GLOBAL "global:"

struct variable {
	char *name;
	const struct lp_type *type;
	void *at;
	size_t room; /* of an array of characters; 0: none */
	struct hotpatch_accessor accessor;
};

static LP_VEC(struct variable *) variables; /* by name */

static size_t place_of(const char *name)
{
	size_t low = 0, high = variables.nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(variables.items[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct variable *variable_named(const char *name)
{
	size_t i = place_of(name);

	return i < variables.nr && !strcmp(variables.items[i]->name, name) ? variables.items[i] : NULL;
}

static bool is_string(const struct variable *v)
{
	return v->room || v->type->kind == LP_KIND_STRING || v->type->kind == LP_KIND_CSTRING;
}

/* ---- which variable, as what ---- */

static bool same_type(const struct lp_type *a, const struct lp_type *b)
{
	return a == b || (a->kind == b->kind && a->size == b->size);
}

/* "string" is what people call every kind of text. */
static bool fits(const struct variable *v, const struct lp_type *t)
{
	return same_type(v->type, t) || v->type->kind == LP_KIND_UNTYPED || (is_string(v) && t->kind == LP_KIND_STRING);
}

static int global_variable(const char *name, const struct lp_type *t, struct variable *out, struct lp_err *err)
{
	struct lp_spot spot;
	int rc = lp_symbol_find(name, &spot, err);

	if (rc == -LP_ENOSYM)
		return lp_fail(err, LP_ENOVARIABLE, "the program has no symbol %s", name);
	if (rc < 0)
		return rc;
	if (spot.is_function)
		return lp_fail(err, LP_ETYPE, "%s is a function", name);
	if (!t->size)
		return lp_fail(
			err, LP_ETYPE,
			"what a %s looks like in memory is the compiler's business: register %s, or use the client "
			"hotpatch, which reads debug information",
			t->names[0], name);
	if (spot.size && spot.size != t->size)
		return lp_fail(err, LP_ETYPE, "%s has %llu bytes, and %s has %zu", name, (unsigned long long)spot.size,
			       t->names[0], t->size);
	*out = (struct variable){.type = t, .at = (void *)(uintptr_t)spot.at};
	return 0;
}

static int find(const char *type, const char *name, struct variable *out, struct lp_err *err)
{
	const struct lp_type *t = lp_type_named(type);

	if (!t || t->kind == LP_KIND_UNTYPED)
		return lp_fail(err, LP_ETYPE, "there is no type called %s", type);
	if (!strncmp(name, GLOBAL, strlen(GLOBAL)))
		return global_variable(name + strlen(GLOBAL), t, out, err);
	const struct variable *v = variable_named(name);
	if (!v)
		return lp_fail(err, LP_ENOVARIABLE, "no variable is registered as %s", name);
	if (!fits(v, t))
		return lp_fail(err, LP_ETYPE, "%s is of type %s, not %s", name, v->type->names[0], t->names[0]);
	*out = *v;
	if (v->type->kind == LP_KIND_UNTYPED && t->kind == LP_KIND_STRING)
		return lp_fail(
			err, LP_ETYPE,
			"%s is registered as a bare pointer, which says nothing about the kind of string: register "
			"its address as what it is",
			name);
	if (v->type->kind == LP_KIND_UNTYPED)
		out->type = t;
	return 0;
}

/* ---- reading ---- */

static void read_accessor(const struct variable *v, struct lp_buf *out)
{
	char small[256], *large = NULL;
	size_t len = v->accessor.get(v->at, small, sizeof small);

	if (len > sizeof small) {
		size_t size = len < LP_TEXT_MAX ? len : LP_TEXT_MAX;

		large = lp_alloc(size);
		len = v->accessor.get(v->at, large, size);
		len = len < size ? len : size;
	}
	lp_buf_add(out, large ? large : small, len);
	lp_free(large);
}

static lp_addr place(const struct variable *v)
{
	return (lp_addr)(uintptr_t)v->at;
}

static int read_cstring(const struct variable *v, struct lp_buf *out, struct lp_err *err)
{
	lp_addr text;
	int rc = lp_memory_read(place(v), &text, sizeof text, err);

	return rc < 0 || !text ? rc : lp_memory_text(text, LP_TEXT_MAX, out, err);
}

static int read_scalar(const struct variable *v, struct lp_buf *out, struct lp_err *err)
{
	uint8_t bytes[LP_VALUE_MAX] = {0};
	int rc = lp_memory_read(place(v), bytes, v->type->size, err);

	if (rc == 0)
		lp_value_print(v->type, bytes, out);
	return rc;
}

static int read_variable(const struct variable *v, struct lp_buf *out, struct lp_err *err)
{
	if (v->accessor.get) {
		read_accessor(v, out);
		return 0;
	}
	if (v->room)
		return lp_memory_text(place(v), v->room, out, err);
	return v->type->kind == LP_KIND_CSTRING ? read_cstring(v, out, err) : read_scalar(v, out, err);
}

int lp_cmd_var_get(struct lp_call *c, struct lp_err *err)
{
	struct variable v = {0};
	struct lp_buf text = {0};
	int rc = find(c->argv[0], c->argv[1], &v, err);

	rc = rc < 0 ? rc : read_variable(&v, &text, err);
	if (rc == 0)
		lp_reply_row(c->reply, "%", LP_STR("value", lp_buf_cstr(&text)));
	lp_buf_free(&text);
	return rc;
}

int lp_cmd_var_list(struct lp_call *c, struct lp_err *err)
{
	for (size_t i = 0; i < variables.nr; i++) {
		const struct variable *v = variables.items[i];
		struct lp_buf text = {0};
		bool known = v->type->kind != LP_KIND_UNTYPED && read_variable(v, &text, NULL) == 0;

		lp_reply_row(c->reply, "Get variable: %, pointer: %, type: %, value: %", LP_STR("name", v->name),
			     LP_ADDRESS("pointer", (uintptr_t)v->at), LP_STR("type", v->type->names[0]),
			     LP_STR("value", known ? lp_buf_cstr(&text) : "?"));
		lp_buf_free(&text);
	}
	return 0;
}

/* ---- writing ---- */

struct assignment {
	struct variable to; /* its name is our own copy; NULL: a symbol */
	char *text;	    /* for strings */
	size_t len;
	uint8_t bytes[LP_VALUE_MAX], old_bytes[LP_VALUE_MAX];
	struct lp_buf old_text;
};

static int set_text(const struct variable *v, const char *text, size_t len, struct lp_err *err)
{
	if (v->accessor.set) {
		int rc = v->accessor.set(v->at, text, len);
		return rc < 0 ? lp_fail(err, LP_EREJECTED, "the program does not take \"%s\"", text) : 0;
	}
	/* An array; its size was looked at before. */
	return lp_memory_write(place(v), (const uint8_t *)text, NULL, len + 1, err);
}

/* Between `begin` and `commit` the program may have taken the variable back, or a library that it was in. */
static int still_there(const struct assignment *a, struct lp_err *err)
{
	const struct variable *v = &a->to, *now = v->name ? variable_named(v->name) : NULL;

	if (v->name && (!now || now->at != v->at))
		return lp_fail(err, LP_ENOVARIABLE, "%s is not registered any more", v->name);
	return v->accessor.get ? 0 : lp_memory_check(place(v), v->room ? v->room : v->type->size, true, err);
}

/* What has gone away meanwhile needs no old value. */
static void unassign(void *change)
{
	struct assignment *a = change;

	if (a->text)
		set_text(&a->to, lp_buf_cstr(&a->old_text), a->old_text.len, NULL);
	else
		lp_memory_write(place(&a->to), a->old_bytes, NULL, a->to.type->size, NULL);
}

static int assign_text(struct assignment *a, struct lp_err *err)
{
	int rc = set_text(&a->to, a->text, a->len, err);

	if (rc < 0 && a->to.room)
		unassign(a); /* what is still there of the array */
	return rc;
}

static int assign(void *change, struct lp_err *err)
{
	struct assignment *a = change;
	int rc = still_there(a, err);

	if (rc < 0)
		return rc;
	if (a->text && a->to.type->kind != LP_KIND_CSTRING)
		return assign_text(a, err);
	rc = lp_memory_read(place(&a->to), a->old_bytes, a->to.type->size, err);
	rc = rc < 0 ? rc : lp_memory_write(place(&a->to), a->bytes, NULL, a->to.type->size, err);
	if (rc == 0)
		a->text = NULL; /* a C string: it is the program's now */
	return rc;
}

static void assignment_free(void *change)
{
	struct assignment *a = change;

	lp_free(a->text);
	lp_free(a->to.name);
	lp_buf_free(&a->old_text);
	lp_free(a);
}

static int prepare_text(struct assignment *a, char *text, struct lp_err *err)
{
	a->text = text;
	a->len = strlen(text);
	if (a->to.room && a->len >= a->to.room)
		return lp_fail(err, LP_EVALUE, "the array holds %zu characters at most", a->to.room - 1);
	if (a->to.type->kind == LP_KIND_CSTRING)
		memcpy(a->bytes, &(uint64_t){(uintptr_t)text}, sizeof(uint64_t));
	else
		return read_variable(&a->to, &a->old_text, err);
	return 0;
}

static int prepare(struct assignment *a, char *text, struct lp_err *err)
{
	const struct variable *v = &a->to;
	int rc = still_there(a, err);

	if (rc == 0 && is_string(v))
		return prepare_text(a, text, err);
	rc = rc < 0 ? rc : lp_value_parse(v->type, text, a->bytes, err);
	if (rc == 0 && v->accessor.set)
		a->text = text, a->len = strlen(text);
	else
		lp_free(text);
	return rc;
}

static int check_operands(char **argv, int argc, struct lp_err *err)
{
	if (argc && argv[0][0] == '-')
		return lp_fail(err, LP_EUSAGE, "%s is no option of var set, which has --unsafe", argv[0]);
	return argc < 3 ? lp_fail(err, LP_EUSAGE, "var set [--unsafe] TYPE NAME VALUE") : 0;
}

int lp_cmd_var_set(struct lp_call *c, struct lp_err *err)
{
	bool unsafe = !strcmp(c->argv[0], "--unsafe");
	char **argv = c->argv + unsafe;
	struct assignment *a = lp_alloc(sizeof *a);
	int rc = check_operands(argv, c->argc - unsafe, err);

	rc = rc < 0 ? rc : find(argv[0], argv[1], &a->to, err);
	a->to.name = lp_strdup(a->to.name);
	rc = rc < 0 ? rc : prepare(a, lp_words_join(argv + 2, c->argc - unsafe - 2), err);
	if (rc < 0) {
		assignment_free(a);
		return rc;
	}
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_VARIABLES,
					     .commit = assign,
					     .undo = unassign,
					     .release = assignment_free,
					     .change = a,
					     /* A word is written in one piece; text is not. */
					     .quiescent = is_string(&a->to) && !unsafe && lp_agent_quiesces() &&
							  a->to.type->kind != LP_KIND_CSTRING});
	return 0;
}

/* ---- hotpatch.h ---- */

static int add(const char *name, const struct variable *v, struct lp_err *err)
{
	if (!name || !*name || strlen(name) > 1024 || !v->at)
		return lp_fail(err, EINVAL, "a variable is registered with a name and an address");
	if (variable_named(name))
		return lp_fail(err, LP_EEXISTS, "there is a variable called %s already", name);
	struct variable *copy = lp_memdup(v, sizeof *v);
	size_t at = place_of(name);
	copy->name = lp_strdup(name);
	lp_vec_push(&variables, copy);
	memmove(&variables.items[at + 1], &variables.items[at], (variables.nr - 1 - at) * sizeof copy);
	variables.items[at] = copy;
	return 0;
}

static int add_locked(const char *name, const struct variable *v)
{
	struct lp_err err = {0};
	int rc = lp_agent_enter(&err);

	if (rc < 0)
		return lp_agent_result(rc, &err);
	rc = v->type ? add(name, v, &err) : lp_fail(&err, EINVAL, "not a type of hotpatch.h");
	lp_agent_unlock();
	return lp_agent_result(rc, &err);
}

int hotpatch_register_variable(const char *name, enum hotpatch_type type, void *variable)
{
	struct variable v = {.type = lp_type_of(type), .at = variable};

	if (v.type && v.type->kind == LP_KIND_STRING)
		v.type = NULL; /* it needs an accessor */
	return add_locked(name, &v);
}

int hotpatch_register_chars(const char *name, char *array, size_t size)
{
	struct variable v = {.type = size ? lp_type_of(HOTPATCH_STRING) : NULL, .at = array, .room = size};

	return add_locked(name, &v);
}

int hotpatch_register_accessor(const char *name, const struct hotpatch_accessor *accessor, void *variable)
{
	struct variable v = {.at = variable};

	if (accessor && accessor->get && accessor->set) {
		v.type = lp_type_of(accessor->type);
		v.accessor = *accessor;
	}
	return add_locked(name, &v);
}

static void drop(size_t i)
{
	struct variable *v = variables.items[i];

	memmove(&variables.items[i], &variables.items[i + 1], (variables.nr - i - 1) * sizeof v);
	variables.nr--;
	lp_free(v->name);
	lp_free(v);
}

int hotpatch_unregister_variable(const char *name)
{
	struct lp_err err = {0};
	int rc = lp_agent_enter(&err);

	if (rc < 0)
		return lp_agent_result(rc, &err);
	if (name && variable_named(name))
		drop(place_of(name));
	else
		rc = lp_fail(&err, LP_ENOVARIABLE, "no variable is registered as %s", name ? name : "(null)");
	lp_agent_unlock();
	return lp_agent_result(rc, &err);
}

static bool is_in(const struct variable *v, struct lp_range memory)
{
	return lp_range_has(memory, place(v)) || lp_range_has(memory, (lp_addr)(uintptr_t)v->accessor.get) ||
	       lp_range_has(memory, (lp_addr)(uintptr_t)v->accessor.set);
}

void lp_variables_forget(struct lp_range memory)
{
	for (size_t i = variables.nr; i-- > 0;) {
		if (is_in(variables.items[i], memory))
			drop(i);
	}
}
