/*
 * What the files of debug/ share.
 *
 *     files.c   what is loaded, and its debug information
 *     find.c    a variable, or the definition of a type, by name
 *     shape.c   types
 *     path.c    paths, and where they lead
 *     show.c    bytes to text           take.c    text to bytes           bits.c   bit-fields
 */
#ifndef LP_DEBUG_PRIVATE_H
#define LP_DEBUG_PRIVATE_H

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include "debug/debug.h"

#define LP_NESTING_MAX 64 /* of types in types, namespaces in namespaces */

struct lp_file {
	char *name;
	lp_addr bias;
	struct lp_build_id build_id;
	struct lp_elf *elf;
	Dwfl *dwfl;	     /* NULL until it is asked for */
	Dwarf *dwarf;	     /* NULL: it has none */
	Dwarf_Addr dwarf_at; /* what the debug file's addresses lack */
	bool looked_for;
	char *path;
};

enum lp_shape_kind {
	LP_SHAPE_OTHER, /* bytes */
	LP_SHAPE_BOOL,
	LP_SHAPE_CHAR,
	LP_SHAPE_SIGNED,
	LP_SHAPE_UNSIGNED,
	LP_SHAPE_REAL,
	LP_SHAPE_ENUM,
	LP_SHAPE_POINTER,
	LP_SHAPE_ARRAY,
	LP_SHAPE_STRUCT,
	LP_SHAPE_UNION,
	LP_SHAPE_STRING, /* std::string of libstdc++ */
};

struct lp_member {
	const char *name; /* "": without one, or a base class */
	bool is_base;
	const struct lp_shape *shape;
	uint64_t offset;
	unsigned bit_offset, bit_size; /* from offset; size 0: not a bit-field */
	uint64_t storage;
};

struct lp_enumerator {
	const char *name;
	int64_t value;
};

struct lp_shape {
	struct lp_debug *d;
	const void *key; /* of the entry that it was made for, ... */
	unsigned level;	 /* ... and which dimension of it */
	enum lp_shape_kind kind;
	bool is_signed;
	uint64_t size;
	char *name;
	Dwarf_Die die;	/* without typedefs and qualifiers */
	uint64_t count; /* of an array; 0: not said */
	/* Below: not before it is asked for. */
	const struct lp_shape *to;
	bool listed;
	LP_VEC(struct lp_member) members;
	LP_VEC(struct lp_enumerator) enumerators;
};

struct lp_debug {
	LP_VEC(struct lp_file) files;
	LP_VEC(struct lp_shape *) shapes;
};

/* ---- files.c ---- */

/* NULL: there is none. */
Dwarf *lp_file_dwarf(struct lp_file *f);
/* The address in the file of a variable that others see. */
bool lp_file_exports(const struct lp_file *f, const char *name, uint64_t *vaddr);
/* Where a variable that others see really is: the first file that defines it, which a copy in the program is. */
void lp_debug_bind(const struct lp_debug *d, const char *linkage_name, size_t *file, uint64_t *vaddr);

/* ---- find.c ---- */

struct lp_variable_name {
	char *file, *source; /* NULL: any */
	char *name;	     /* with the namespaces that were said */
};
int lp_variable_find(struct lp_debug *d, const struct lp_variable_name *name, Dwarf_Die *die, size_t *file,
		     uint64_t *vaddr, struct lp_err *err);
/* The definition of what `die` only declares. */
bool lp_definition_find(struct lp_debug *d, Dwarf_Die *die, Dwarf_Die *out);
/* The namespaces and classes around it, and its name: "std::__cxx11::basic_string<char, ...>". */
void lp_full_name(Dwarf_Die *die, struct lp_buf *out);

/* ---- shape.c ---- */

/* Of what an entry's DW_AT_type says; `die` is the variable or member.  Never NULL: what is not understood is bytes. */
const struct lp_shape *lp_shape_of(struct lp_debug *d, Dwarf_Die *die);
/* Of an array or pointer. */
const struct lp_shape *lp_shape_to(const struct lp_shape *s);
const struct lp_member *lp_shape_members(const struct lp_shape *s, size_t *nr);
const struct lp_enumerator *lp_shape_enumerators(const struct lp_shape *s, size_t *nr);
void lp_shape_free(struct lp_shape *s);

/* ---- bits.c ---- */

uint64_t lp_bits_get(const uint8_t *bytes, unsigned from, unsigned nr);
void lp_bits_put(uint8_t *bytes, unsigned from, unsigned nr, uint64_t v);

#endif
