/*
 * The frame of a signal handler, as arm64 Linux lays it out on the guest's stack:
 *
 *     sp + 0      siginfo                   128 bytes
 *     sp + 128    ucontext                  flags, link, stack, mask (1024 bits of room)
 *     sp + 304    sigcontext                fault address, x0-x30, sp, pc, pstate
 *     sp + 592    4096 bytes of records     FPSIMD, ESR after a fault, a terminator
 *     sp + 4688   frame record              x29 and x30 of what was interrupted: x29 points here
 *
 * Private to signals.
 */
#ifndef LP_EMU_FRAME_H
#define LP_EMU_FRAME_H

#include "emu/thread.h"

/* Builds the frame on the stack that `act` asks for and puts the thread at the beginning of the handler.  `mask` is what
 * sigreturn brings back.  False: there is no room to write it; nothing has changed but what stands in guest memory. */
bool lp_frame_push(struct lp_guest_thread *t, const siginfo_t *info, const struct lp_sigaction *act, uint64_t mask);
/* What stands in the frame at SP becomes the thread's state, all of it; *mask is for the caller to set.  False: it is no
 * frame that the kernel could have built, or not in memory. */
bool lp_frame_pop(struct lp_guest_thread *t, uint64_t *mask);

/* sigaltstack(2) as rt_sigreturn does it as well; 0 or -errno. */
struct lp_guest_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};
int lp_altstack_set(struct lp_guest_thread *t, const struct lp_guest_stack *stack);
void lp_altstack_get(const struct lp_guest_thread *t, struct lp_guest_stack *stack);

/* PSTATE as signal frames, core files and debuggers show it. */
uint64_t lp_pstate_read(const struct lp_cpu *cpu);

#endif
