/*
 * The loader of .kpatch files: a relocatable object that refers to the insides
 * of an image of the target becomes bytes that are ready to run near it.
 *
 *     rc = lp_relink_open(&r, kpatch, target, &earlier, err);  // image found, everything bound and laid out
 *     size = lp_relink_span(r);                                // choose a base within reach of lp_relink_near(r)
 *     lp_relink_room(r, base, &request);
 *     rc = lp_relink_link(r, base, image, err);                // image: size bytes, as they shall stand at base
 *     ... r->functions, r->hooks, r->eh_frame ...              // addresses in the target
 *     lp_relink_close(r);                                      // NULL is fine
 *
 * Nothing is written to the target and no code runs.  References to the
 * original need no names: the object has its sections, with their addresses.
 * What is undefined is bound as the dynamic linker would (link_bind.c), then to
 * symbols of patches that are applied.
 *
 * Private to core/.  Errors: -LP_ENOTLOADED, -LP_EISA, -LP_ENOSYM,
 * -LP_EAMBIGUOUS, -LP_ERELOC (a type that is unknown, or cannot be had in a
 * running process), -LP_ERANGE (a value does not fit: the message says which
 * symbol), -LP_EKPATCH.
 */
#ifndef LP_CORE_RELINK_H
#define LP_CORE_RELINK_H

#include "core/target.h"
#include "patch/kpatch.h"

/* Global symbols of patches that are in the target. */
struct lp_relink_earlier {
	/* 1 = found, 0 = none of them has it, negative = error. */
	int (*find)(void *arg, const char *name, lp_addr *addr, uint64_t *size, struct lp_err *err);
	void *arg;
};

struct lp_relink_function {
	char *name;		  /* "luaO_pushfstring", without the suffix of the libcare tools */
	struct lp_range old_body; /* empty: a new function */
	struct lp_range new_body;
	uint32_t record; /* its index in .kpatch.info */
};

struct lp_relink_hook {
	enum lp_kpatch_hook kind;
	lp_addr function;
};

struct lp_relink {
	const struct lp_kpatch *k;
	struct lp_target *t;
	size_t image; /* index of the image that it is for */
	lp_addr bias;
	/* filled in by lp_relink_link() */
	LP_VEC(struct lp_relink_function) functions;
	LP_VEC(struct lp_relink_hook) hooks;
	struct lp_range eh_frame;    /* empty when there is none */
	struct lp_relink_body *body; /* relink_private.h */
};

/* The image with that build-id; -LP_ENOTLOADED. */
int lp_relink_find_image(struct lp_target *t, const struct lp_kpatch *k, size_t *image, struct lp_err *err);

int lp_relink_open(struct lp_relink **out, const struct lp_kpatch *k, struct lp_target *t,
		   const struct lp_relink_earlier *earlier, struct lp_err *err);
void lp_relink_close(struct lp_relink *r);

/* Where the image lies; all of it must be in reach of the room. */
struct lp_range lp_relink_near(const struct lp_relink *r);
/* Bytes of address space, a multiple of LP_PAGE. */
uint64_t lp_relink_span(const struct lp_relink *r);
/* Pieces: code r-x, constants r--, variables rw-. */
void lp_relink_room(const struct lp_relink *r, lp_addr base, struct lp_room_request *out);
int lp_relink_link(struct lp_relink *r, lp_addr base, uint8_t *image, struct lp_err *err);
/* The file, for the target to keep (kept.h), after lp_relink_link(). */
void lp_relink_source(const struct lp_relink *r, lp_addr base, uint8_t *bytes);

/* Where its global symbol `name` will be; false when it brings none. */
bool lp_relink_symbol(const struct lp_relink *r, lp_addr base, const char *name, lp_addr *addr, uint64_t *size);
/* Where symbol `name` of a patch lies whose file was kept like that: 1 = found, 0 = it has no such global symbol. */
int lp_relink_symbol_of(const struct lp_kpatch *kept, const char *name, lp_addr *addr, uint64_t *size);

#endif
