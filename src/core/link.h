/*
 * The loader behind `dl`: a shared object becomes bytes that are ready to run
 * at an address of our choice in the target.
 *
 *     rc = lp_object_open(&o, "patch.so", t->isa, err);   // read and judged; nothing of the target looked at
 *     rc = lp_object_bind(o, t, err);                     // optional: refuse early, smallest span
 *     size = lp_object_span(o);                           // choose a base with size bytes free
 *     lp_object_room(o, base, &request);                  // page runs with their real protections
 *     rc = lp_object_link(o, base, t, image, err);        // image: size bytes, as they shall stand at base
 *     rc = lp_object_symbol(o, base, "func1", &addr, &len, err);
 *     lp_object_close(o);                                 // NULL is fine
 *
 * Nothing is written to the target and no code of it or of the object runs.
 * The object is not known to the target's dynamic linker: dlsym, dladdr and
 * stack unwinders do not find it.  What depends on being known (thread-local
 * storage of its own, constructors, C++ exceptions, an executable stack) is
 * refused with -LP_ENEEDSDLOPEN, and `dl --dlopen` is the remedy.
 *
 * Sources: System V gABI chapter 5, the psABIs of the ISAs, glibc's elf/ for
 * what ld.so really does.  One lp_object belongs to one host thread.
 */
#ifndef LP_CORE_LINK_H
#define LP_CORE_LINK_H

#include "core/target.h"

struct lp_object;

/*
 * Reads and judges a file.  -LP_EELF: not a shared object, or one with a
 * segment both writable and executable, or with relocations in its code;
 * -LP_EISA: made for another machine; -LP_ENEEDSDLOPEN: see above.
 */
int lp_object_open(struct lp_object **out, const char *path, const struct lp_isa *isa, struct lp_err *err);
void lp_object_close(struct lp_object *o);

/*
 * Finds every symbol that the relocations name.  link does it when it was not
 * done before; done before span, the room has no spare place for stubs.
 * -LP_ENOSYM: an undefined symbol, with who refers to it; -LP_EAMBIGUOUS: more
 * than one symbol of the target fits; -LP_ENEEDSDLOPEN: thread-local storage of a library.
 */
int lp_object_bind(struct lp_object *o, struct lp_target *t, struct lp_err *err);

/* Bytes of address space it takes, a multiple of LP_PAGE. */
uint64_t lp_object_span(const struct lp_object *o);
/* The request for base (page aligned): pieces with the protections of the segments, RELRO pages read-only, gaps without
 * access; at the end, when there may be IFUNCs, a piece of code for stubs and a writable one for their slots. */
void lp_object_room(const struct lp_object *o, lp_addr base, struct lp_room_request *out);
/* Fills image[0..span) with what shall stand at [base, base + span): segments, zeros, all relocations applied, stubs. */
int lp_object_link(struct lp_object *o, lp_addr base, struct lp_target *t, uint8_t *image, struct lp_err *err);

/*
 * A symbol of the object, written as for lp_symspec_parse ("func1",
 * "file.c:func1"): exported ones first, then local ones; an IFUNC gives its
 * stub.  size may be NULL.  -LP_ENOSYM, -LP_EAMBIGUOUS with the candidates.
 */
int lp_object_symbol(const struct lp_object *o, lp_addr base, const char *name, lp_addr *out, uint64_t *size,
		     struct lp_err *err);

/* ---- GOT hooking ---- */

typedef LP_VEC(lp_addr) lp_addr_vec;

/* Addresses (run time) of all GOT slots through which images[image] of the target reaches a symbol, appended to `slots`;
 * version NULL: any.  0 also when there are none. */
int lp_link_got_slots(struct lp_target *t, size_t image, const char *name, const char *version, lp_addr_vec *slots,
		      struct lp_err *err);

#endif
