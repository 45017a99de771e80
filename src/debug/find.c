/*
 * Variables and types by name: a walk over the units of a file, and over the
 * namespaces in them.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "debug/private.h"

/* ---- the walk ---- */

struct walk {
	bool (*visit)(struct walk *w, Dwarf_Die *die);	/* true: enough */
	bool (*wants)(struct walk *w, Dwarf_Die *unit); /* NULL: all units */
};

static bool walk_children(struct walk *w, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die die;

	if (depth > LP_NESTING_MAX || dwarf_child(parent, &die) != 0)
		return false;
	do {
		if (w->visit(w, &die))
			return true;
		if (dwarf_tag(&die) == DW_TAG_namespace && walk_children(w, &die, depth + 1))
			return true;
	} while (dwarf_siblingof(&die, &die) == 0);
	return false;
}

static bool walk_file(struct walk *w, struct lp_file *f)
{
	Dwarf *dwarf = lp_file_dwarf(f);
	Dwarf_CU *cu = NULL;
	Dwarf_Die die, split;
	uint8_t kind;

	while (dwarf && dwarf_get_units(dwarf, cu, &cu, NULL, &kind, &die, &split) == 0) {
		Dwarf_Die *unit = kind == DW_UT_skeleton && split.addr ? &split : &die;

		if ((!w->wants || w->wants(w, unit)) && walk_children(w, unit, 0))
			return true;
	}
	return false;
}

/* ---- names ---- */

static bool has_flag(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attr;
	bool flag = false;

	return dwarf_attr(die, name, &attr) && dwarf_formflag(&attr, &flag) == 0 && flag;
}

/* What was declared in a namespace or class is there; its definition need not be. */
static Dwarf_Die declaration_of(Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	Dwarf_Die declaration;

	if (dwarf_attr(die, DW_AT_specification, &attr) && dwarf_formref_die(&attr, &declaration))
		return declaration;
	return *die;
}

static bool is_scope(Dwarf_Die *die)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_namespace:
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
		return true;
	default:
		return false;
	}
}

void lp_full_name(Dwarf_Die *die, struct lp_buf *out)
{
	Dwarf_Die at = declaration_of(die), *scopes = NULL;
	int nr = dwarf_getscopes_die(&at, &scopes);
	const char *name = dwarf_diename(die);

	for (int i = nr - 1; i > 0; i--) {
		const char *scope = is_scope(&scopes[i]) ? dwarf_diename(&scopes[i]) : NULL;

		if (is_scope(&scopes[i]))
			lp_buf_printf(out, "%s::", scope ? scope : "(anonymous namespace)");
	}
	lp_buf_str(out, name ? name : "(anonymous)");
	free(scopes);
}

/* ---- where ---- */

/* An address, and perhaps a distance from it: what lies still.  Thread-local variables do not. */
static bool fixed_address(Dwarf_Die *die, uint64_t *out)
{
	Dwarf_Attribute attr, address;
	Dwarf_Op *ops;
	size_t nr;

	if (!dwarf_attr(die, DW_AT_location, &attr) || dwarf_getlocation(&attr, &ops, &nr) != 0 || !nr)
		return false;
	if (ops[0].atom == DW_OP_addr)
		*out = ops[0].number;
	else if (dwarf_getlocation_attr(&attr, &ops[0], &address) != 0 || dwarf_formaddr(&address, out) != 0)
		return false;
	if (nr == 2 && ops[1].atom == DW_OP_plus_uconst)
		*out += ops[1].number;
	return nr == 1 || (nr == 2 && ops[1].atom == DW_OP_plus_uconst);
}

/* ---- variables ---- */

struct candidate {
	Dwarf_Die die;
	uint64_t vaddr;
};

struct variable_walk {
	struct walk w;
	const struct lp_variable_name *name;
	const char *last; /* of the name, without its scopes */
	LP_VEC(struct candidate) found;
	bool is_known; /* it has that name, but no fixed place */
	const struct lp_file *file;
};

/* A suffix of whole components: "b.c" and "a/b.c" are the end of "/src/a/b.c". */
static bool ends_with(const char *whole, const char *end, const char *separator)
{
	size_t lw = strlen(whole), le = strlen(end), ls = strlen(separator);

	return lw >= le && !strcmp(whole + lw - le, end) &&
	       (lw == le || (lw >= le + ls && !strncmp(whole + lw - le - ls, separator, ls)));
}

static bool is_source(struct walk *w, Dwarf_Die *unit)
{
	const struct variable_walk *v = (struct variable_walk *)w;
	const char *name = dwarf_diename(unit);

	return !v->name->source || (name && ends_with(name, v->name->source, "/"));
}

static bool is_called(Dwarf_Die *die, const char *name)
{
	struct lp_buf full = {0};

	lp_full_name(die, &full);
	bool is = ends_with(lp_buf_cstr(&full), name, "::");
	lp_buf_free(&full);
	return is;
}

static bool known_already(const struct variable_walk *v, uint64_t vaddr)
{
	for (size_t i = 0; i < v->found.nr; i++) {
		if (v->found.items[i].vaddr == vaddr)
			return true;
	}
	return false;
}

static const char *linkage_name(Dwarf_Die *die)
{
	Dwarf_Attribute attr;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) ||
	    dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr))
		return dwarf_formstring(&attr);
	return dwarf_diename(die);
}

/* A second name of something, as `environ` is of `__environ`: only the symbol table says where. */
static bool address_of_alias(const struct variable_walk *v, Dwarf_Die *die, uint64_t *out)
{
	Dwarf_Die declaration = declaration_of(die);
	Dwarf_Attribute attr;
	const char *name = linkage_name(die);

	if (dwarf_attr(die, DW_AT_location, &attr) || dwarf_attr(die, DW_AT_const_value, &attr) ||
	    !has_flag(&declaration, DW_AT_external) || !name || !lp_file_exports(v->file, name, out))
		return false;
	*out -= v->file->dwarf_at;
	return true;
}

static bool visit_variable(struct walk *w, Dwarf_Die *die)
{
	struct variable_walk *v = (struct variable_walk *)w;
	uint64_t vaddr;
	const char *name = dwarf_tag(die) == DW_TAG_variable ? dwarf_diename(die) : NULL;

	if (!name || strcmp(name, v->last) || has_flag(die, DW_AT_declaration) || !is_called(die, v->name->name))
		return false;
	if (!fixed_address(die, &vaddr) && !address_of_alias(v, die, &vaddr))
		v->is_known = true;
	else if (!known_already(v, vaddr))
		lp_vec_push(&v->found, ((struct candidate){*die, vaddr}));
	return false;
}

static const char *last_component(const char *name)
{
	const char *last = name;

	for (const char *at = name; (at = strstr(at, "::")); last = at)
		at += 2;
	return last;
}

/* A name that others see is meant before one that one source file has for itself. */
static const struct candidate *choose(const struct variable_walk *v)
{
	const struct candidate *exact = NULL;
	size_t nr = 0;

	for (size_t i = 0; i < v->found.nr; i++) {
		Dwarf_Die declaration = declaration_of(&v->found.items[i].die);
		struct lp_buf full = {0};

		lp_full_name(&declaration, &full);
		if (!strcmp(lp_buf_cstr(&full), v->name->name) &&
		    (has_flag(&declaration, DW_AT_external) || has_flag(&v->found.items[i].die, DW_AT_external)))
			exact = nr++ ? exact : &v->found.items[i];
		lp_buf_free(&full);
	}
	return v->found.nr == 1 ? &v->found.items[0] : nr == 1 ? exact : NULL;
}

static int ambiguous(const struct variable_walk *v, struct lp_err *err)
{
	lp_fail(err, LP_EAMBIGUOUS, "%zu variables are called %s:", v->found.nr, v->name->name);
	for (size_t i = 0; i < v->found.nr && i < 20; i++) {
		Dwarf_Die unit;
		struct lp_buf full = {0};
		const char *source =
			dwarf_diecu(&v->found.items[i].die, &unit, NULL, NULL) ? dwarf_diename(&unit) : NULL;

		lp_full_name(&v->found.items[i].die, &full);
		lp_err_append(err, "%s%s:%s at " LP_ADDR, i ? ", " : " ", source ? source : "?", lp_buf_cstr(&full),
			      v->found.items[i].vaddr);
		lp_buf_free(&full);
	}
	return -LP_EAMBIGUOUS;
}

static bool is_file(const struct lp_file *f, const char *name)
{
	return !name || ends_with(f->name, name, "/");
}

static int take(struct lp_debug *d, const struct candidate *c, size_t i, Dwarf_Die *die, size_t *file, uint64_t *vaddr)
{
	const char *name = linkage_name((Dwarf_Die *)&c->die);

	*die = c->die;
	*file = i;
	*vaddr = c->vaddr + d->files.items[i].dwarf_at;
	if (name)
		lp_debug_bind(d, name, file, vaddr);
	return 0;
}

static int unknown(const struct lp_variable_name *name, bool is_known, bool any, struct lp_err *err)
{
	if (is_known)
		return lp_fail(err, LP_ENOVARIABLE,
			       "%s has no place of its own: it is thread-local, or the compiler made a constant of it",
			       name->name);
	if (!any)
		return lp_fail(err, LP_ENOVARIABLE,
			       "there is no debug information that would describe %s; name its type: TYPE global:%s",
			       name->name, name->name);
	return lp_fail(
		err, LP_ENOVARIABLE,
		"debug information describes no variable %s; if the file that has it was built without, name its "
		"type: TYPE global:%s",
		name->name, name->name);
}

int lp_variable_find(struct lp_debug *d, const struct lp_variable_name *name, Dwarf_Die *die, size_t *file,
		     uint64_t *vaddr, struct lp_err *err)
{
	struct variable_walk v = {{visit_variable, is_source}, name, last_component(name->name), {0}, false, NULL};
	bool any = false;
	int rc = 0;
	size_t i = 0;

	for (; i < d->files.nr && !v.found.nr; i++) {
		if (is_file(&d->files.items[i], name->file)) {
			v.file = &d->files.items[i];
			walk_file(&v.w, &d->files.items[i]);
			any |= d->files.items[i].dwarf != NULL;
		}
	}
	const struct candidate *c = choose(&v);
	if (c)
		rc = take(d, c, i - 1, die, file, vaddr);
	else
		rc = v.found.nr ? ambiguous(&v, err) : unknown(name, v.is_known, any, err);
	lp_vec_free(&v.found);
	return rc;
}

/* ---- definitions of types ---- */

struct type_walk {
	struct walk w;
	const char *last, *full;
	int tag;
	Dwarf_Die *out;
};

static bool visit_type(struct walk *w, Dwarf_Die *die)
{
	struct type_walk *t = (struct type_walk *)w;
	const char *name = dwarf_tag(die) == t->tag ? dwarf_diename(die) : NULL;

	if (!name || strcmp(name, t->last) || has_flag(die, DW_AT_declaration) || !is_called(die, t->full))
		return false;
	*t->out = *die;
	return true;
}

bool lp_definition_find(struct lp_debug *d, Dwarf_Die *die, Dwarf_Die *out)
{
	struct lp_buf full = {0};
	struct type_walk t = {{visit_type, NULL}, dwarf_diename(die), NULL, dwarf_tag(die), out};
	bool found = false;

	lp_full_name(die, &full);
	t.full = lp_buf_cstr(&full);
	for (size_t i = 0; t.last && i < d->files.nr && !found; i++)
		found = walk_file(&t.w, &d->files.items[i]);
	lp_buf_free(&full);
	return found;
}
