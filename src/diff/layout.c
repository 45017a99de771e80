/*
 * Structures that changed.  The program has objects of the old layout on its heap, in its variables, in other processes; code
 * of the new one would read beyond them or in the wrong place.  Objects with debug information (-g) know their types: those
 * that are in both with the same name must have the same members at the same places.
 *
 * Whether live objects of the type exist cannot be known here, so a type that lives on stacks alone is refused too; the user may
 * allow it ("layout:struct name").
 */
#include "diff/model.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdio.h"

#define DEPTH_MAX 16 /* namespaces and classes within each other */

struct member {
	char *name; /* "" = a base class or an anonymous part */
	uint64_t bit_offset, size;
};

struct type {
	char *name; /* "struct client", "union u", "class ns::C" */
	uint64_t size;
	LP_VEC(struct member) members;
};

struct types {
	LP_VEC(struct type) t;
};

/* ---- reading ---- */

static uint64_t number(Dwarf_Die *die, unsigned attribute, uint64_t otherwise)
{
	Dwarf_Attribute a;
	Dwarf_Word value;

	if (!dwarf_attr_integrate(die, attribute, &a) || dwarf_formudata(&a, &value))
		return otherwise;
	return value;
}

static uint64_t size_of_type(Dwarf_Die *die)
{
	Dwarf_Attribute a;
	Dwarf_Die type;
	Dwarf_Word size;

	if (!dwarf_attr_integrate(die, DW_AT_type, &a) || !dwarf_formref_die(&a, &type) ||
	    dwarf_aggregate_size(&type, &size))
		return 0;
	return size;
}

static uint64_t bit_offset_of(Dwarf_Die *die)
{
	return number(die, DW_AT_data_bit_offset,
		      8 * number(die, DW_AT_data_member_location, 0) + number(die, DW_AT_bit_offset, 0));
}

static void add_member(struct type *t, Dwarf_Die *die)
{
	const char *name = dwarf_diename(die);
	struct member m = {
		.name = lp_strdup(name ? name : ""),
		.bit_offset = bit_offset_of(die),
		.size = number(die, DW_AT_bit_size, 8 * size_of_type(die)),
	};

	lp_vec_push(&t->members, m);
}

static void add_members(struct type *t, Dwarf_Die *die)
{
	Dwarf_Die child;

	if (dwarf_child(die, &child))
		return;
	do {
		int tag = dwarf_tag(&child);
		bool is_static = dwarf_hasattr(&child, DW_AT_external) || dwarf_hasattr(&child, DW_AT_declaration);
		if ((tag == DW_TAG_member && !is_static) || tag == DW_TAG_inheritance)
			add_member(t, &child);
	} while (!dwarf_siblingof(&child, &child));
}

static const char *keyword(int tag)
{
	return tag == DW_TAG_union_type ? "union" : tag == DW_TAG_class_type ? "class" : "struct";
}

static bool is_aggregate(int tag)
{
	return tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_class_type;
}

static void add_type(struct types *ts, Dwarf_Die *die, const char *scope, const char *name)
{
	struct type *t;

	if (!name || dwarf_hasattr(die, DW_AT_declaration))
		return;
	t = lp_vec_add(&ts->t);
	t->name = lp_sprintf("%s %s%s", keyword(dwarf_tag(die)), scope, name);
	t->size = number(die, DW_AT_byte_size, 0);
	add_members(t, die);
}

/* typedef struct { ... } name; */
static void add_typedef(struct types *ts, Dwarf_Die *die, const char *scope)
{
	Dwarf_Attribute a;
	Dwarf_Die type;

	if (dwarf_attr_integrate(die, DW_AT_type, &a) && dwarf_formref_die(&a, &type) &&
	    is_aggregate(dwarf_tag(&type)) && !dwarf_diename(&type))
		add_type(ts, &type, scope, dwarf_diename(die));
}

static void read_scope(struct types *ts, Dwarf_Die *parent, const char *scope, unsigned depth)
{
	Dwarf_Die die;

	if (depth > DEPTH_MAX || dwarf_child(parent, &die))
		return;
	do {
		int tag = dwarf_tag(&die);
		const char *name = dwarf_diename(&die);
		if (tag == DW_TAG_typedef)
			add_typedef(ts, &die, scope);
		if (is_aggregate(tag))
			add_type(ts, &die, scope, name);
		if (!is_aggregate(tag) && tag != DW_TAG_namespace)
			continue;
		char *inner = lp_sprintf("%s%s::", scope, name ? name : "(anonymous)");
		read_scope(ts, &die, inner, depth + 1);
		lp_free(inner);
	} while (!dwarf_siblingof(&die, &die));
}

static int by_name(const void *a, const void *b)
{
	const struct type *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->size < y->size ? -1 : x->size > y->size;
}

static void free_types(struct types *ts)
{
	for (size_t i = 0; i < ts->t.nr; i++) {
		struct type *t = &ts->t.items[i];
		for (size_t k = 0; k < t->members.nr; k++)
			lp_free(t->members.items[k].name);
		lp_vec_free(&t->members);
		lp_free(t->name);
	}
	lp_vec_free(&ts->t);
}

/* ---- from an object to libdw: a relocatable file needs its debug sections relocated, which libdwfl does for files ---- */

static uint64_t end_of(const struct lp_elf *e)
{
	const Elf64_Ehdr *h = lp_elf_header(e);
	uint64_t end = h->e_shoff + (uint64_t)lp_elf_section_count(e) * sizeof(Elf64_Shdr);

	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		uint64_t stop;
		if (s->sh_type != SHT_NOBITS && !__builtin_add_overflow(s->sh_offset, s->sh_size, &stop) && stop > end)
			end = stop;
	}
	return end;
}

static int as_file(const struct lp_elf *e)
{
	uint64_t len = end_of(e);
	const uint8_t *bytes = lp_elf_bytes_at(e, 0, len);
	int fd = bytes ? memfd_create("object", MFD_CLOEXEC) : -1;

	if (fd >= 0 && lp_pwrite_full(fd, bytes, len, 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool has_types(const struct lp_elf *e)
{
	return lp_elf_section_find(e, ".debug_info") || lp_elf_section_find(e, ".zdebug_info");
}

static int read_module(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr start, void *arg)
{
	Dwarf_Addr bias;
	Dwarf_Die *unit = NULL;

	(void)user;
	(void)name;
	(void)start;
	while ((unit = dwfl_module_nextcu(module, unit, &bias)))
		read_scope(arg, unit, "", 0);
	return DWARF_CB_OK;
}

static void read_types(struct types *ts, const struct lp_elf *e)
{
	static const Dwfl_Callbacks callbacks = {
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.section_address = dwfl_offline_section_address,
	};
	int fd = has_types(e) ? as_file(e) : -1;
	Dwfl *dwfl = fd >= 0 ? dwfl_begin(&callbacks) : NULL;

	if (dwfl) {
		Dwfl_Module *module = dwfl_report_offline(dwfl, "object", "object", fd);
		if (module)
			fd = -1; /* dwfl_end() closes it */
		dwfl_report_end(dwfl, NULL, NULL);
		dwfl_getmodules(dwfl, read_module, ts, 0);
		dwfl_end(dwfl);
	}
	lp_close(fd);
	if (ts->t.nr)
		qsort(ts->t.items, ts->t.nr, sizeof *ts->t.items, by_name);
}

/* ---- comparing ---- */

static const struct member *find_member(const struct type *t, const char *name)
{
	for (size_t i = 0; i < t->members.nr; i++)
		if (!strcmp(t->members.items[i].name, name))
			return &t->members.items[i];
	return NULL;
}

static bool has_place(const struct type *t, const struct member *m)
{
	for (size_t i = 0; i < t->members.nr; i++)
		if (t->members.items[i].bit_offset == m->bit_offset && t->members.items[i].size == m->size)
			return true;
	return false;
}

/* What is different, or NULL.  A member that only has another name is not. */
static char *difference(const struct type *b, const struct type *a)
{
	for (size_t i = 0; i < b->members.nr; i++) {
		const struct member *m = &b->members.items[i], *n = *m->name ? find_member(a, m->name) : NULL;
		if (n && n->bit_offset != m->bit_offset)
			return lp_sprintf("member %s is at %" PRIu64 " instead of %" PRIu64, m->name, n->bit_offset / 8,
					  m->bit_offset / 8);
		if (n && n->size != m->size)
			return lp_sprintf("member %s has %" PRIu64 " bytes instead of %" PRIu64, m->name, n->size / 8,
					  m->size / 8);
		if (!n && !has_place(a, m))
			return lp_sprintf("member %s is gone", *m->name ? m->name : "(without a name)");
	}
	for (size_t i = 0; i < a->members.nr; i++)
		if (!has_place(b, &a->members.items[i]))
			return lp_sprintf("member %s is new", a->members.items[i].name);
	if (a->size != b->size)
		return lp_sprintf("it has %" PRIu64 " bytes instead of %" PRIu64, a->size, b->size);
	return NULL;
}

static bool is_refused(const struct lp_diff *d, const char *type)
{
	for (size_t i = 0; i < d->refusals.nr; i++)
		if (!strcmp(d->refusals.items[i].code, "layout") && !strcmp(d->refusals.items[i].culprit, type))
			return true;
	return false;
}

static void compare_types(struct lp_diff *d, const struct unit *u, const struct types *before,
			  const struct types *after)
{
	for (size_t i = 0, k = 0; i < before->t.nr && k < after->t.nr;) {
		const struct type *b = &before->t.items[i], *a = &after->t.items[k];
		int c = strcmp(b->name, a->name);
		i += c <= 0;
		k += c >= 0;
		char *what = c ? NULL : difference(b, a);
		if (what && !is_refused(d, b->name))
			lp_diff_refuse(d, REFUSE_LAYOUT, b->name, u->in->name, "%s changed its layout: %s", b->name,
				       what);
		lp_free(what);
	}
}

/* Where no code changed, no code looks for a member where it is not. */
static bool has_changed_code(const struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++)
		if (o->pieces.items[i]->kind == PIECE_CODE && o->pieces.items[i]->changed)
			return true;
	return false;
}

void lp_diff_judge_layout(struct lp_diff *d, struct unit *u)
{
	struct types before = {0}, after = {0};

	if (!u->before || !u->after || !has_changed_code(u->after))
		return;
	read_types(&before, u->before->elf);
	read_types(&after, u->after->elf);
	compare_types(d, u, &before, &after);
	free_types(&before);
	free_types(&after);
}
