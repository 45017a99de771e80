/*
 * Our decoder of x86-64 beside Zydis.
 *
 * Where they differ on purpose, and that is no difference here: Zydis also
 * knows the first generation of Xeon Phi (KNC), which ran no programs of this
 * architecture and gave its opcodes other meanings; it lets execution go on
 * behind returns from the kernel; it lets some instructions ignore 67 that no
 * processor has any more (MPX).
 */
#ifndef TEST_X64_ORACLE_H
#define TEST_X64_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * What the two do not agree on at code: whether it is an instruction, its
 * length, the places and values of displacement, immediate and distance, where
 * execution goes on, and that we know of every general register that it uses.
 * NULL: nothing.  *n receives the length of the instruction, 0 when it is none.
 */
const char *x64_difference(const uint8_t *code, size_t len, size_t *n);

#endif
