/*
 * What the files of the .kpatch loader share.  Private to relink*.c.
 */
#ifndef LP_CORE_RELINK_PRIVATE_H
#define LP_CORE_RELINK_PRIVATE_H

#include "core/relink.h"

#define LP_RELINK_SPAN_MAX (UINT64_C(1) << 29) /* distances inside it stay far below 2 GiB */
#define LP_RELINK_IFUNCS_MAX 4096u
#define LP_RELINK_ISLAND 32u /* bytes that one island is given */

enum lp_relink_kind {
	LP_RELINK_UNUSED,   /* no relocation names it */
	LP_RELINK_OWN,	    /* in section `section` of the patch, at `value` */
	LP_RELINK_ORIGINAL, /* `value`: address in the image that is patched, always in reach */
	LP_RELINK_OUTSIDE,  /* `value`: address anywhere in the target; 0 for an undefined weak symbol */
	LP_RELINK_STUB,	    /* `value`: number of the stub that stands in for an IFUNC */
	LP_RELINK_TLS,	    /* `value`: offset in the TLS block of images[image] */
};

/* A slot of the patch's own GOT; the ones that hold two words are TLS pairs. */
enum lp_relink_slot_kind { LP_SLOT_ADDRESS, LP_SLOT_TPOFF, LP_SLOT_TLS_VAR, LP_SLOT_TLS_MODULE, LP_SLOT_KINDS };

struct lp_relink_symbol {
	enum lp_relink_kind kind;
	uint64_t value, size;
	size_t section;
	lp_addr pointer; /* what its address compares equal to, where that differs from value; 0 = nowhere */
	size_t image;	 /* TLS */
	uint32_t island; /* its number plus one, 0 = none */
	uint32_t slots[LP_SLOT_KINDS]; /* word in the GOT plus one, 0 = none */
};

struct lp_relink_slot {
	enum lp_relink_slot_kind kind;
	uint32_t sym;
	uint32_t word; /* index of its first word */
};

struct lp_relink_body {
	struct lp_relink_symbol *symbols; /* one for each entry of .symtab */
	size_t nr_symbols;
	uint64_t *places; /* per section: offset in the room; UINT64_MAX: not an own one */
	size_t nr_sections;
	LP_VEC(lp_addr) resolvers; /* of the IFUNCs that get a stub */
	LP_VEC(uint32_t) islands;  /* symbols that have one */
	LP_VEC(struct lp_relink_slot) got;
	uint32_t nr_words; /* of the GOT */

	size_t nr_loads, loads_used; /* stubs for loads that may be out of reach */

	/* Offsets in the room. */
	uint64_t islands_at, loads_at, stubs_at, code_end, got_at, constants_end, pointers_at, end;
	struct lp_relink_earlier earlier;
};

/* Binds every symbol that a relocation names, and counts what they need. */
int lp_relink_bind(struct lp_relink *r, struct lp_err *err);
/* What a slot of the GOT holds for a thread-local variable; *second is the second word of a pair. */
int lp_relink_tls_words(struct lp_relink *r, const struct lp_relink_symbol *s, enum lp_relink_slot_kind kind,
			uint64_t *first, uint64_t *second, struct lp_err *err);
/* Do the things agree that are said twice?  -LP_EKPATCH; `image` as it shall stand at `base`. */
int lp_relink_check(const struct lp_relink *r, lp_addr base, const uint8_t *image, struct lp_err *err);
/* "`name`" or "section+0x12", for messages. */
const char *lp_relink_symbol_name(const struct lp_relink *r, uint32_t sym, char *out, size_t size);

#endif
