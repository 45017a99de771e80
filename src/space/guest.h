/*
 * The guest of the emulator in this process, as a target of the core.
 */
#ifndef LP_SPACE_GUEST_H
#define LP_SPACE_GUEST_H

#include "core/target.h"

struct lp_emu;

/* One per emulator; closed by lp_target_close(), while the guest may still run.  Any thread but a guest's may use it, one
 * at a time. */
int lp_target_open_guest(struct lp_target **out, struct lp_emu *emu, struct lp_err *err);

/* How long the guest has stood still for patches. */
struct lp_guest_pauses {
	uint64_t nr, last_ns, longest_ns;
	size_t last_threads;
	uint64_t last_stop_ns; /* of the last one: until all threads stood still */
};
struct lp_guest_pauses lp_guest_pauses(const struct lp_target *t);

#endif
