/*
 * What the files of the loader share.  Private to link*.c.
 */
#ifndef LP_CORE_LINK_PRIVATE_H
#define LP_CORE_LINK_PRIVATE_H

#include "core/link.h"

/* Page runs of the segments; the room has two more for stubs and slots. */
#define LP_OBJECT_PIECES_MAX 6
/* Address space one object may take: distances inside it, stubs included, stay far below 2 GiB. */
#define LP_OBJECT_SPAN_MAX (UINT64_C(1) << 30)
#define LP_OBJECT_IFUNCS_MAX 4096u

/* Offsets from the base, page aligned. */
struct lp_object_piece {
	uint64_t start, end;
	unsigned prot;
};

enum lp_bound_kind {
	LP_BOUND_NOT_YET,
	LP_BOUND_OWN,	 /* value: link-time address in the object */
	LP_BOUND_TARGET, /* value: address in the target, or an absolute value, or 0 for an undefined weak symbol */
	LP_BOUND_STUB,	 /* value: number of the stub that stands in for an IFUNC */
	LP_BOUND_TLS,	 /* value: offset in the TLS block of the program; tp_offset: from the thread pointer */
};

/* What a dynamic symbol of the object is bound to. */
struct lp_bound {
	enum lp_bound_kind kind;
	uint64_t value, size;
	lp_addr pointer; /* what its address compares equal to, where that differs from value; 0 = nowhere */
	int64_t tp_offset;
};

struct lp_object {
	char *path;
	const struct lp_isa *isa;
	struct lp_elf *elf;
	struct lp_image self; /* so that symbol searches take it for an image; bias 0 */
	uint64_t low;	      /* link-time address that comes to stand at the base */
	uint64_t size;	      /* of the segments, page aligned */
	struct lp_object_piece pieces[LP_OBJECT_PIECES_MAX];
	size_t nr_pieces;

	struct lp_bound *bounds; /* one per dynamic symbol */
	size_t nr_bounds;
	bool bound;

	/* Resolvers of the IFUNCs that get a stub: own ones (link-time addresses, sorted), then the target's. */
	LP_VEC(uint64_t) resolvers;
	size_t nr_own_resolvers;
	size_t stub_capacity;
};

/* Is this an object that we can load, and if not, why? */
int lp_object_admit(const struct lp_object *o, struct lp_err *err);

/* The segment that holds [vaddr, vaddr + len), or NULL. */
const Elf64_Phdr *lp_object_segment(const struct lp_object *o, uint64_t vaddr, uint64_t len);
/* Number of the stub for an IFUNC of the object's own, -1 when its resolver is unknown. */
long lp_object_own_stub(const struct lp_object *o, uint64_t resolver);
/* "`table`", or the section the place is in; out is returned. */
const char *lp_object_place(const struct lp_object *o, uint64_t vaddr, char *out, size_t out_size);

/* Binds everything that relocations refer to. */
int lp_object_bind_all(struct lp_object *o, struct lp_target *t, struct lp_err *err);

/* What a name means in the target. */
struct lp_link_bound {
	lp_addr addr;	  /* TLS: offset in the block of images[image] */
	lp_addr pointer;  /* what its address compares equal to, where that differs from addr; 0 = nowhere */
	lp_addr resolver; /* of an IFUNC whose value is not known, else 0 */
	uint64_t size;
	size_t image;
	bool tls;
};

/* As the dynamic linker would bind a reference (version NULL: any): 1 = found, 0 = not, negative = error. */
int lp_link_bind_name(struct lp_target *t, const char *name, const char *version, struct lp_link_bound *out,
		      struct lp_err *err);
/* A global symbol that is not exported: that of images[first], else the one that the others have.  -LP_EAMBIGUOUS. */
int lp_link_bind_unexported(struct lp_target *t, size_t first, const char *name, struct lp_link_bound *out,
			    struct lp_err *err);

/* The value that the target's own GOTs hold for an IFUNC, or 0 when none holds one that can be trusted. */
int lp_link_ifunc_value(struct lp_target *t, const struct lp_found *ifunc, const char *name, lp_addr *out,
			struct lp_err *err);

#endif
