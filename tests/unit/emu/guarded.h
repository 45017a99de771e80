/*
 * The part of the emulator's SIGSEGV handler that lp_copy_guarded() relies on.
 */
#ifndef GUARDED_H
#define GUARDED_H

void guarded_begin(void);
void guarded_end(void);

#endif
