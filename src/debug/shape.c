/*
 * Types: made of the entry that describes them when they are first asked for;
 * what they point to or consist of is looked at no sooner than that, because
 * from one structure of a large program most others can be reached.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "debug/private.h"

#define COUNT_MAX (UINT64_C(1) << 40)
#define MEMBERS_MAX 65536
#define POINTER_SIZE 8
#define STRING_SIZE 32 /* of libstdc++ since 2015: pointer, length, 16 bytes of its own */

void lp_shape_free(struct lp_shape *s)
{
	lp_vec_free(&s->members);
	lp_vec_free(&s->enumerators);
	lp_free(s->name);
	lp_free(s);
}

/* ---- attributes ---- */

static bool number(Dwarf_Die *die, unsigned name, uint64_t *out)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	if (!dwarf_attr_integrate(die, name, &attr) || dwarf_formudata(&attr, &value) != 0)
		return false;
	*out = value;
	return true;
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *out)
{
	Dwarf_Attribute attr;

	return dwarf_attr_integrate(die, DW_AT_type, &attr) && dwarf_formref_die(&attr, out);
}

static bool is_flagged(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attr;
	bool flag = false;

	return dwarf_attr(die, name, &attr) && dwarf_formflag(&attr, &flag) == 0 && flag;
}

/* Types may have units of their own, which are found by a number. */
static void leave_stub(Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	Dwarf_Die type;

	if (dwarf_attr(die, DW_AT_signature, &attr) && dwarf_formref_die(&attr, &type))
		*die = type;
}

/* ---- what C calls it ---- */

static const char *prefix_of(int tag)
{
	switch (tag) {
	case DW_TAG_structure_type:
		return "struct ";
	case DW_TAG_union_type:
		return "union ";
	case DW_TAG_enumeration_type:
		return "enum ";
	default:
		return "";
	}
}

static void add_name(Dwarf_Die *die, unsigned depth, struct lp_buf *out);

static void add_name_of_type(Dwarf_Die *die, const char *around, unsigned depth, struct lp_buf *out)
{
	Dwarf_Die to;
	bool leads = around[0] != ' ' && around[0] != '[';

	lp_buf_str(out, leads ? around : "");
	if (type_of(die, &to))
		add_name(&to, depth + 1, out);
	else
		lp_buf_str(out, "void");
	bool again = !strcmp(around, " *") && out->data[out->len - 1] == '*';
	lp_buf_str(out, leads ? "" : around + again);
}

static void add_pointer_name(Dwarf_Die *die, const char *sign, unsigned depth, struct lp_buf *out)
{
	Dwarf_Die to;

	if (type_of(die, &to) && dwarf_tag(&to) == DW_TAG_subroutine_type)
		add_name_of_type(&to, " (*)()", depth, out);
	else
		add_name_of_type(die, sign, depth, out);
}

static void add_name(Dwarf_Die *die, unsigned depth, struct lp_buf *out)
{
	Dwarf_Die whole = *die;

	leave_stub(&whole);
	const char *name = dwarf_diename(&whole);
	if (depth > LP_NESTING_MAX) {
		lp_buf_str(out, "...");
		return;
	}
	switch (dwarf_tag(die)) {
	case DW_TAG_const_type:
		add_name_of_type(die, "const ", depth, out);
		break;
	case DW_TAG_volatile_type:
		add_name_of_type(die, "volatile ", depth, out);
		break;
	case DW_TAG_atomic_type:
	case DW_TAG_restrict_type:
		add_name_of_type(die, "", depth, out);
		break;
	case DW_TAG_pointer_type:
		add_pointer_name(die, " *", depth, out);
		break;
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		add_name_of_type(die, " &", depth, out);
		break;
	case DW_TAG_subroutine_type:
		add_name_of_type(die, " ()", depth, out);
		break;
	case DW_TAG_array_type:
		add_name_of_type(die, "[]", depth, out);
		break;
	default:
		lp_buf_str(out, prefix_of(dwarf_tag(die)));
		lp_buf_str(out, name ? name : "{...}");
	}
}

/* ---- which one it is ---- */

/* Typedefs and qualifiers say nothing about bytes.  False: it is void, or there is no end. */
static bool strip(Dwarf_Die *die)
{
	for (unsigned i = 0; i < LP_NESTING_MAX; i++) {
		switch (dwarf_tag(die)) {
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_restrict_type:
		case DW_TAG_atomic_type:
		case DW_TAG_immutable_type:
		case DW_TAG_packed_type:
		case DW_TAG_shared_type:
			if (!type_of(die, die))
				return false;
			break;
		default:
			return true;
		}
	}
	return false;
}

static bool is_integer_size(uint64_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static enum lp_shape_kind base_kind(uint64_t encoding, uint64_t size)
{
	switch (encoding) {
	case DW_ATE_boolean:
		return is_integer_size(size) ? LP_SHAPE_BOOL : LP_SHAPE_OTHER;
	case DW_ATE_signed_char:
	case DW_ATE_unsigned_char:
		return size == 1 ? LP_SHAPE_CHAR : LP_SHAPE_OTHER;
	case DW_ATE_signed:
		return is_integer_size(size) ? LP_SHAPE_SIGNED : LP_SHAPE_OTHER;
	case DW_ATE_unsigned:
	case DW_ATE_UTF:
		return is_integer_size(size) ? LP_SHAPE_UNSIGNED : LP_SHAPE_OTHER;
	case DW_ATE_float:
		return size == 4 || size == 8 || size == sizeof(long double) ? LP_SHAPE_REAL : LP_SHAPE_OTHER;
	default:
		return LP_SHAPE_OTHER;
	}
}

static void make_base(struct lp_shape *s)
{
	uint64_t encoding = 0;

	number(&s->die, DW_AT_encoding, &encoding);
	s->kind = base_kind(encoding, s->size);
	s->is_signed = encoding == DW_ATE_signed || encoding == DW_ATE_signed_char;
}

static void make_enum(struct lp_shape *s)
{
	Dwarf_Die base = s->die;
	uint64_t encoding = 0, size = 0;
	size_t nr;

	if (type_of(&s->die, &base) && strip(&base)) {
		number(&base, DW_AT_encoding, &encoding);
		number(&base, DW_AT_byte_size, &size);
	}
	s->size = s->size ? s->size : size;
	s->kind = is_integer_size(s->size) ? LP_SHAPE_ENUM : LP_SHAPE_OTHER;
	s->is_signed = encoding == DW_ATE_signed || encoding == DW_ATE_signed_char;
	const struct lp_enumerator *e = encoding ? NULL : lp_shape_enumerators(s, &nr);
	for (size_t i = 0; e && i < nr; i++)
		s->is_signed |= e[i].value < 0;
}

static const char string_name[] = "basic_string<char,";

/* Its definition may be in no file: the C++ library has it, whose debug information seldom is there. */
static bool is_string(Dwarf_Die *die, uint64_t size)
{
	const char *name = dwarf_diename(die);
	struct lp_buf full = {0};

	if (!name || strncmp(name, string_name, strlen(string_name)) || !strstr(name, "std::allocator<char>") ||
	    (size && size != STRING_SIZE))
		return false;
	lp_full_name(die, &full);
	bool is = strstr(lp_buf_cstr(&full), "std::__cxx11::") == lp_buf_cstr(&full);
	lp_buf_free(&full);
	return is;
}

static void make_struct(struct lp_shape *s, enum lp_shape_kind kind)
{
	s->kind = kind;
	if (is_string(&s->die, s->size)) {
		s->kind = LP_SHAPE_STRING;
		s->size = STRING_SIZE;
	} else if (is_flagged(&s->die, DW_AT_declaration) && lp_definition_find(s->d, &s->die, &s->die)) {
		number(&s->die, DW_AT_byte_size, &s->size);
	}
}

/* ---- arrays ---- */

/* Elements of the dimension; 0: not said. */
static uint64_t count_of(Dwarf_Die *subrange)
{
	uint64_t count = 0, lower = 0, upper;

	if (number(subrange, DW_AT_count, &count))
		return count <= COUNT_MAX ? count : 0;
	if (!number(subrange, DW_AT_upper_bound, &upper))
		return 0;
	number(subrange, DW_AT_lower_bound, &lower);
	return upper >= lower && upper - lower < COUNT_MAX ? upper - lower + 1 : 0;
}

static unsigned dimensions(Dwarf_Die *array, unsigned level, uint64_t *count)
{
	Dwarf_Die die;
	unsigned nr = 0;

	*count = 0;
	if (dwarf_child(array, &die) != 0)
		return 0;
	do {
		if (dwarf_tag(&die) != DW_TAG_subrange_type)
			continue;
		if (nr == level)
			*count = count_of(&die);
		nr++;
	} while (nr < LP_NESTING_MAX && dwarf_siblingof(&die, &die) == 0);
	return nr;
}

static const struct lp_shape *make(struct lp_debug *d, Dwarf_Die *die, unsigned level, unsigned depth);

static void make_array(struct lp_shape *s, unsigned depth)
{
	unsigned nr = dimensions(&s->die, s->level, &s->count);
	Dwarf_Die element;

	s->kind = LP_SHAPE_ARRAY;
	if (s->level + 1 < nr)
		s->to = make(s->d, &s->die, s->level + 1, depth + 1);
	else if (type_of(&s->die, &element))
		s->to = make(s->d, &element, 0, depth + 1);
	if (!s->to || !s->to->size || s->count > COUNT_MAX / s->to->size)
		s->count = 0;
	s->size = s->to ? s->count * s->to->size : 0;
}

/* ---- making one ---- */

static void fill(struct lp_shape *s, unsigned depth)
{
	switch (dwarf_tag(&s->die)) {
	case DW_TAG_base_type:
		make_base(s);
		break;
	case DW_TAG_enumeration_type:
		make_enum(s);
		break;
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		s->kind = LP_SHAPE_POINTER;
		s->size = POINTER_SIZE;
		break;
	case DW_TAG_array_type:
		make_array(s, depth);
		break;
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
		make_struct(s, LP_SHAPE_STRUCT);
		break;
	case DW_TAG_union_type:
		make_struct(s, LP_SHAPE_UNION);
		break;
	default:
		break; /* bytes, as many as it says */
	}
}

static const char *name_of(Dwarf_Die *die, unsigned level, struct lp_buf *text)
{
	if (level)
		lp_buf_str(text, "[]");
	else
		add_name(die, 0, text);
	return lp_buf_cstr(text);
}

static struct lp_shape *known(const struct lp_debug *d, const void *key, unsigned level)
{
	for (size_t i = d->shapes.nr; i-- > 0;) {
		if (d->shapes.items[i]->key == key && d->shapes.items[i]->level == level)
			return d->shapes.items[i];
	}
	return NULL;
}

/* It is known before it is filled in: a file may say that an array consists of itself. */
static const struct lp_shape *make(struct lp_debug *d, Dwarf_Die *die, unsigned level, unsigned depth)
{
	struct lp_shape *s = depth < LP_NESTING_MAX ? known(d, die->addr, level) : NULL;
	struct lp_buf text = {0};

	if (s)
		return s;
	s = lp_alloc(sizeof *s);
	*s = (struct lp_shape){
		.d = d, .key = die->addr, .level = level, .die = *die, .name = lp_strdup(name_of(die, level, &text))};
	lp_buf_free(&text);
	lp_vec_push(&d->shapes, s);
	if (depth < LP_NESTING_MAX && strip(&s->die)) {
		leave_stub(&s->die);
		number(&s->die, DW_AT_byte_size, &s->size);
		s->size = s->size <= COUNT_MAX ? s->size : 0;
		fill(s, depth);
	}
	return s;
}

static const struct lp_shape *nothing(struct lp_debug *d)
{
	struct lp_shape *s = known(d, NULL, 0);

	if (!s) {
		s = lp_alloc(sizeof *s);
		*s = (struct lp_shape){.d = d, .name = lp_strdup("void"), .listed = true};
		lp_vec_push(&d->shapes, s);
	}
	return s;
}

const struct lp_shape *lp_shape_of(struct lp_debug *d, Dwarf_Die *die)
{
	Dwarf_Die type;

	return type_of(die, &type) ? make(d, &type, 0, 0) : nothing(d);
}

const struct lp_shape *lp_shape_to(const struct lp_shape *s)
{
	struct lp_shape *own = (struct lp_shape *)s; /* what is found out later is no change */

	if (!own->to)
		own->to = s->kind == LP_SHAPE_POINTER ? lp_shape_of(s->d, &own->die) : nothing(s->d);
	return own->to;
}

/* ---- members ---- */

/* Where the bits are: from the start of the structure, lowest first. */
static uint64_t first_bit(Dwarf_Die *die, uint64_t offset, uint64_t bits, uint64_t storage)
{
	uint64_t from;

	if (number(die, DW_AT_data_bit_offset, &from))
		return offset * 8 + from;
	if (number(die, DW_AT_bit_offset, &from) && from + bits <= storage * 8)
		return offset * 8 + storage * 8 - from - bits; /* counted from the other end */
	return offset * 8;
}

/* In the aligned unit that its type makes, as the ABI places it; a packed one may begin anywhere. */
static void place_bits(struct lp_member *m, Dwarf_Die *die, uint64_t bits)
{
	uint64_t storage = m->shape->size, unit = storage ? storage : 1;

	number(die, DW_AT_byte_size, &storage);
	uint64_t first = first_bit(die, m->offset, bits, storage);
	if (first % (unit * 8) + bits > unit * 8)
		unit = 1;
	m->offset = first / (unit * 8) * unit;
	m->bit_offset = (unsigned)(first - m->offset * 8);
	m->bit_size = (unsigned)bits;
	m->storage = (m->bit_offset + bits + unit * 8 - 1) / (unit * 8) * unit;
}

/* A number, or before DWARF 3 a calculation that adds one.  A virtual base is where a table says: false. */
static bool offset_of(Dwarf_Die *die, uint64_t *out)
{
	Dwarf_Attribute attr;
	Dwarf_Op *ops;
	size_t nr;

	if (!dwarf_attr(die, DW_AT_data_member_location, &attr))
		return true; /* of a union */
	if (dwarf_formudata(&attr, out) != 0) {
		if (dwarf_getlocation(&attr, &ops, &nr) != 0 || nr != 1 || ops[0].atom != DW_OP_plus_uconst)
			return false;
		*out = ops[0].number;
	}
	return *out <= COUNT_MAX;
}

static bool member_of(struct lp_debug *d, Dwarf_Die *die, struct lp_member *m)
{
	const char *name = dwarf_diename(die);
	Dwarf_Attribute attr;
	Dwarf_Word bits;

	*m = (struct lp_member){.name = name ? name : "", .is_base = dwarf_tag(die) == DW_TAG_inheritance};
	if ((dwarf_tag(die) != DW_TAG_member && !m->is_base) || is_flagged(die, DW_AT_declaration) ||
	    is_flagged(die, DW_AT_external))
		return false;
	if (!offset_of(die, &m->offset))
		return false;
	m->shape = lp_shape_of(d, die);
	if (dwarf_attr(die, DW_AT_bit_size, &attr) && dwarf_formudata(&attr, &bits) == 0) {
		if (!bits || bits > 64 || !is_integer_size(m->shape->size))
			return false;
		place_bits(m, die, bits);
	}
	return m->storage <= 16;
}

static void list_members(struct lp_shape *s)
{
	Dwarf_Die die;
	struct lp_member m;

	if (dwarf_child(&s->die, &die) != 0)
		return;
	do {
		if (member_of(s->d, &die, &m))
			lp_vec_push(&s->members, m);
	} while (s->members.nr < MEMBERS_MAX && dwarf_siblingof(&die, &die) == 0);
}

const struct lp_member *lp_shape_members(const struct lp_shape *s, size_t *nr)
{
	struct lp_shape *own = (struct lp_shape *)s;

	if (!s->listed && (s->kind == LP_SHAPE_STRUCT || s->kind == LP_SHAPE_UNION)) {
		own->listed = true;
		list_members(own);
	}
	*nr = s->members.nr;
	return s->members.items;
}

static void list_enumerators(struct lp_shape *s)
{
	Dwarf_Die die;
	Dwarf_Attribute attr;

	if (dwarf_child(&s->die, &die) != 0)
		return;
	do {
		Dwarf_Sword value;
		const char *name = dwarf_tag(&die) == DW_TAG_enumerator ? dwarf_diename(&die) : NULL;

		if (name && dwarf_attr(&die, DW_AT_const_value, &attr) && dwarf_formsdata(&attr, &value) == 0)
			lp_vec_push(&s->enumerators, ((struct lp_enumerator){name, value}));
	} while (s->enumerators.nr < MEMBERS_MAX && dwarf_siblingof(&die, &die) == 0);
}

const struct lp_enumerator *lp_shape_enumerators(const struct lp_shape *s, size_t *nr)
{
	struct lp_shape *own = (struct lp_shape *)s;

	if (!s->listed && dwarf_tag(&own->die) == DW_TAG_enumeration_type) {
		own->listed = true;
		list_enumerators(own);
	}
	*nr = s->enumerators.nr;
	return s->enumerators.items;
}
