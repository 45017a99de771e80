/* What the files of the guest's target share. */
#ifndef LP_SPACE_GUEST_PRIVATE_H
#define LP_SPACE_GUEST_PRIVATE_H

#include <pthread.h>

#include "base/vec.h"
#include "core/target.h"
#include "emu/emu.h"
#include "space/guest.h"

struct lp_guest_walker; /* guest_unwind.c */

/* A thread's stack as the last pause found it. */
struct lp_stack_copy {
	uint8_t *bytes;
	size_t len, cap;
};

struct lp_guest_regs {
	uint64_t x[LP_NR_X];
};

struct lp_guest_target {
	struct lp_target target;
	struct lp_emu *emu;
	pthread_mutex_t lock;
	LP_VEC(struct lp_image) images;
	bool images_known;
	struct lp_guest_walker *walker; /* of these images; NULL = not made yet */
	LP_VEC(struct lp_thread) threads;
	LP_VEC(struct lp_stack_copy) copies; /* by thread */
	LP_VEC(struct lp_guest_regs) regs;   /* by thread */
	bool paused;
	uint64_t paused_ns;
	struct lp_guest_pauses pauses;
};

/* ---- guest_images.c ---- */
int lp_guest_images(struct lp_guest_target *g, const struct lp_image **images, size_t *nr, struct lp_err *err);
void lp_guest_images_forget(struct lp_guest_target *g);

/* ---- guest_unwind.c ---- */
/* Where a walk begins. */
struct lp_guest_walk {
	lp_addr pc, sp, fp, lr;
	bool has_lr;	       /* lr is what it is there; a suspended stack knows of none */
	struct lp_range stack; /* what `bytes` is a copy of */
	const uint8_t *bytes;
	bool live;	/* other memory may be read as it is: nobody changes it */
	lp_addr missed; /* out: memory that was needed and is in no copy; 0 = none */
};
/* Frames, the innermost (pc, sp) first.  Returns the count, or negative when it breaks off (-ENOENT: at once, for want of a
 * table); *nr counts in either case. */
int lp_guest_walk(struct lp_guest_target *g, struct lp_guest_walk *from, struct lp_frame *frames, size_t max,
		  size_t *nr, struct lp_err *err);
void lp_guest_walker_free(struct lp_guest_walker *w); /* NULL is fine */

#endif
