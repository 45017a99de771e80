/*
 * What the passes of the differ work on, and the passes.
 *
 * An object file becomes pieces: a function, a variable, a table without a name.  What a piece refers to is a `ref`: its
 * relocations, and branches inside a section that the assembler resolved.  A ref says what is meant, not what is stored:
 * "this piece, that offset", with the bias of pc-relative fields taken out, so that two compilers' layouts compare equal.
 *
 * A piece of `after` has a twin in `before` or is new.  The passes, in the order of diff.c:
 *
 *     object.c      bytes -> sections, symbols, pieces, refs        (code.c decodes, names.c names)
 *     unwind.c      .eh_frame -> which entry belongs to which piece
 *     correlate.c   twins
 *     compare.c     which twins differ, and where                    (lines.c: differences that only tell line numbers)
 *     judge.c       what must not differ: data, static initialisation; layout.c: types
 *     bind.c        what a ref is in the patch: a piece of it, a place in the original, an import
 *     select.c      the changed, and all that they need
 *     check.c       the original against the target
 *     emit.c        the object
 *
 * Requirements:
 *  1. Only object.c turns numbers of an object file into pointers; a piece's bytes are inside its section's.
 *  2. Pieces are allocated once and never move: refs point at them.
 *  3. No pass depends on addresses in memory: order is that of units, sections, offsets.
 */
#ifndef LP_DIFF_MODEL_H
#define LP_DIFF_MODEL_H

#include "base/vec.h"
#include "diff/diff.h"
#include "isa/isa.h"

enum piece_kind {
	PIECE_CODE,
	PIECE_DATA,	/* the program may write to it */
	PIECE_CONST,	/* read-only, or read-only once relocated */
	PIECE_STRINGS,	/* a mergeable section: refs name a string in it */
	PIECE_LITERALS, /* a mergeable section of entries of one size */
	PIECE_TLS,
	PIECE_LSDA,   /* exception tables */
	PIECE_INIT,   /* lists of functions that run before or after main */
	PIECE_HOOKS,  /* .livepatch.hooks */
	PIECE_UNWIND, /* .eh_frame: one piece, taken apart by unwind.c */
};

struct piece;
struct object;

struct symbol {
	const char *name;
	uint64_t value, size;
	uint32_t shndx; /* real index, or SHN_UNDEF, SHN_ABS, SHN_COMMON */
	uint8_t type, bind, visibility;
	struct piece *piece; /* NULL: not in one */
};

struct ref {
	uint64_t at; /* of the field, in its piece */
	const struct lp_reloc_howto *howto;
	int64_t addend; /* as it is stored */
	int64_t bias;	/* what the instruction adds to it: the ref means S + addend + bias */
	bool is_call;	/* the instruction is a call, or jumps there */
	const struct symbol *sym;
	struct piece *to; /* NULL: undefined in this object, sym says what */
	int64_t off;	  /* in `to`; of an undefined symbol: from it */
	int64_t anchor;	  /* mergeable sections: where in `to` the string or literal begins */
};

struct piece {
	struct object *obj;
	uint32_t section;    /* 0: a common symbol, which has none */
	uint64_t start, end; /* in the section; the piece as its symbols see it */
	uint64_t limit;	     /* where the next one begins: padding follows `end` */
	enum piece_kind kind;
	const char *name;	  /* of its first symbol, else of the section */
	const struct symbol *sym; /* NULL: anonymous */
	LP_VEC(const struct symbol *) entries;
	LP_VEC(struct ref) refs; /* ascending */
	bool by_content;	 /* has no identity: two are the same when they hold the same */
	LP_VEC(uint64_t) marks;	 /* by_content: offsets that refs lead to, ascending: where what is in it begins */
	struct piece *parent;	 /* of a separate part (.cold) of a function */
	struct piece *lsda;
	int64_t lsda_at; /* where in it */
	size_t order;	 /* in its object */

	struct piece *twin;
	bool changed;
	char *why; /* owned: why it is changed or included */
	bool included;
	uint32_t out_section; /* enum out_section */
	uint64_t out_at;
};

struct section {
	const char *name;
	const Elf64_Shdr *header;
	const uint8_t *data; /* NULL: NOBITS */
	uint64_t size;
	bool used;		       /* has pieces */
	LP_VEC(struct piece *) pieces; /* ascending, covering the section */
	const Elf64_Shdr *relocs;      /* NULL: none */
};

/* An entry of .eh_frame: [at, at + size) of its section. */
struct unwind_entry {
	uint64_t at, size;
	uint64_t cie;	     /* FDE: where its CIE begins */
	struct piece *piece; /* FDE: the code it is about; NULL for a CIE */
};

struct object {
	struct lp_elf *elf;
	const struct lp_isa *isa;
	const struct lp_diff_unit *unit;
	size_t unit_index;
	const char *which; /* "before", "after", "linked": for messages */
	struct section *sections;
	size_t nr_sections;
	struct symbol *symbols;
	size_t nr_symbols;
	LP_VEC(struct piece *) pieces; /* by section and offset */
	struct piece *unwind;
	LP_VEC(struct unwind_entry) unwind_entries;
};

struct unit {
	const struct lp_diff_unit *in;
	struct object *before, *after, *linked; /* NULL: none */
};

/* A string or literal that travels. */
struct fragment {
	struct piece *from;
	uint64_t at, size;
	uint64_t align, out_at;
};

enum out_section { OUT_NONE, OUT_TEXT, OUT_STRTAB, OUT_RODATA, OUT_LSDA, OUT_EH, OUT_INFO, OUT_DATA, OUT_COUNT };

/* A place in the original. */
struct origin {
	uint64_t addr; /* link-time; of a thread-local: as if the block stood at PT_TLS */
	uint64_t size;
	uint8_t type; /* STT_FUNC, STT_OBJECT, STT_TLS, STT_GNU_IFUNC */
	const char *name;
};

enum target_kind {
	TARGET_PIECE,	 /* piece + off, in the patch */
	TARGET_FRAGMENT, /* a string or literal, in the patch */
	TARGET_ORIGIN,	 /* origin + off */
	TARGET_IMPORT,	 /* what the dynamic linker finds under that name, + off */
	TARGET_NONE,	 /* a refusal was recorded */
};

struct target {
	enum target_kind kind;
	struct piece *piece;
	int64_t off;
	struct origin origin;
	const char *name, *version;
	uint8_t type;
	bool weak;
};

/* A function that is diverted. */
struct replacement {
	struct piece *piece;	    /* in after */
	const struct symbol *entry; /* ... */
	const struct piece *before; /* whose code it replaces: the twin, or one that was merged into this */
	struct origin origin;
};

struct name_entry {
	const char *name;
	struct piece *piece;
};

struct lp_diff {
	struct lp_diff_input in;
	const struct lp_isa *isa;
	struct lp_elf *target;
	bool interposable; /* a shared library whose exported symbols others may define first */
	bool is_dynamic;   /* there is a dynamic linker that looks names up */
	bool same_build;   /* target and original have one build-id, or are one file */
	LP_VEC(struct unit) units;
	LP_VEC(struct name_entry) globals; /* what `after` defines, sorted by name; the first unit's comes first */
	LP_VEC(struct piece *) included;   /* in the order they were found; emit.c sorts */
	LP_VEC(struct fragment) fragments;
	LP_VEC(struct replacement) replaced;
	LP_VEC(struct lp_diff_change) changes;
	LP_VEC(struct lp_diff_refusal) refusals;
	LP_VEC(char *) texts;		 /* owned strings of changes and refusals */
	LP_VEC(struct pair) equal_pairs; /* by_content pieces that compared equal (or are being compared) */
};

struct pair {
	const struct piece *a, *b;
	uint64_t from_a, from_b; /* offsets in them */
};

/* ---- object.c ---- */
int lp_diff_read_object(struct object **out, const struct lp_diff_unit *unit, size_t unit_index, struct lp_elf *elf,
			const char *which, struct lp_err *err);
void lp_diff_free_object(struct object *o);
/* The bytes of a piece up to its end; NULL: zeros. */
const uint8_t *lp_piece_bytes(const struct piece *p);
static inline uint64_t lp_piece_size(const struct piece *p)
{
	return p->end - p->start;
}
/* Index of the first ref at `at` or behind it; refs.nr: there is none. */
static inline size_t lp_piece_ref_from(const struct piece *p, uint64_t at)
{
	size_t low = 0, high = p->refs.nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->refs.items[middle].at < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
/* The ref at that very place, or NULL. */
static inline const struct ref *lp_piece_ref_at(const struct piece *p, uint64_t at)
{
	size_t i = lp_piece_ref_from(p, at);

	return i < p->refs.nr && p->refs.items[i].at == at ? &p->refs.items[i] : NULL;
}
/* The piece around an offset of a section, the nearest when it is outside of all; NULL when there are none. */
struct piece *lp_diff_piece_at(const struct object *o, uint32_t section, int64_t at);
/* The code that has an entry of that name (its first `len` bytes); NULL when there is none. */
struct piece *lp_diff_code_named(const struct object *o, const char *name, size_t len);
/* The string or literal at anchor: its length, 0 when malformed. */
uint64_t lp_diff_fragment_size(const struct piece *p, int64_t anchor);

/* ---- code.c ---- */
/* Gives the refs of code their bias and is_call. */
void lp_diff_decode_biases(struct object *o);
/* Joins pieces that cannot be moved apart: before refs are aimed at pieces. */
void lp_diff_join_code(struct object *o);
/* Adds refs for branches that have no relocation: afterwards. */
void lp_diff_decode_branches(struct object *o);

/* ---- names.c ---- */
/* What kind of section this is; false = the differ does not look at it. */
bool lp_diff_section_kind(const char *name, const Elf64_Shdr *s, enum piece_kind *kind);
/* Length of the name without trailing ".<number>"s: count.0 -> count; the whole length when there is none. */
size_t lp_diff_base_length(const char *name);
bool lp_diff_is_numbered(const char *name);
/* foo.cold, foo.cold.1: the length of "foo"; 0 = not the name of a part. */
size_t lp_diff_part_of(const char *name);
/* A compiler's own read-only data: __func__.0, CSWTCH.12, .LC3 */
bool lp_diff_is_compilers(const char *name);
/* A section whose members are found through __start_NAME and __stop_NAME. */
bool lp_diff_is_linker_set(const char *section_name);
/* A function that the compiler makes for static initialisation. */
bool lp_diff_is_initialiser(const char *function);
bool lp_diff_is_class_data(const char *name); /* vtables, type information */

/* ---- unwind.c ---- */
int lp_diff_read_unwind(struct object *o, struct lp_err *err);
/* The entry that begins at `at`; NULL when none does. */
const struct unwind_entry *lp_diff_unwind_entry(const struct object *o, uint64_t at);

/* ---- correlate.c ---- */
void lp_diff_correlate(struct unit *u);
/* Globals that moved from one unit to another. */
void lp_diff_correlate_across(struct lp_diff *d);

/* ---- compare.c ---- */
/* True when twins are the same; else *why (owned by the caller) says where they differ. */
bool lp_diff_same(struct lp_diff *d, const struct piece *before, const struct piece *after, char **why);
void lp_diff_compare(struct lp_diff *d, struct unit *u);
/* A function and its separate parts are one: when one of them changed, all did. */
void lp_diff_spread_over_parts(struct object *o);

/* ---- lines.c ---- */
bool lp_diff_only_lines(struct lp_diff *d, const struct piece *before, const struct piece *after);

/* ---- judge.c ---- */
void lp_diff_judge(struct lp_diff *d, struct unit *u);
/* Constant data that changed: whoever uses it has to change as well. */
void lp_diff_spread(struct lp_diff *d);

/* ---- layout.c ---- */
void lp_diff_judge_layout(struct lp_diff *d, struct unit *u);

/* ---- bind.c ---- */
enum origin_state {
	ORIGIN_FOUND,
	ORIGIN_ABSENT,	  /* not linked into the original */
	ORIGIN_AMBIGUOUS, /* several have the name, and nothing says which */
};
/* Where an entry of a piece of `before` (NULL: its first) is in the original. */
enum origin_state lp_diff_origin_of(struct lp_diff *d, const struct piece *before, const struct symbol *entry,
				    struct origin *out);
struct target lp_diff_target_of(struct lp_diff *d, const struct piece *from, const struct ref *r);
struct piece *lp_diff_global(const struct lp_diff *d, const char *name);
void lp_diff_list_globals(struct lp_diff *d);

/* ---- select.c ---- */
void lp_diff_select(struct lp_diff *d);

/* ---- check.c ---- */
void lp_diff_check_original(struct lp_diff *d);

/* ---- report.c ---- */
/* Collects a refusal by its row in refuse.def unless the user allowed it; the same one only once. */
enum refusal {
#define REFUSE(name, code, allowable, remedy) REFUSE_##name,
#include "diff/refuse.def"
#undef REFUSE
	REFUSE_COUNT
};
void lp_diff_refuse(struct lp_diff *d, enum refusal what, const char *culprit, const char *unit, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
struct lp_diff_change *lp_diff_tell(struct lp_diff *d, enum lp_diff_kind kind, const struct piece *p, const char *why);
const char *lp_diff_keep(struct lp_diff *d, char *text); /* the diff owns it from now on */
int lp_diff_refused(const struct lp_diff *d, struct lp_err *err);
void lp_diff_meta(const struct lp_diff *d, struct lp_buf *out);

#endif
