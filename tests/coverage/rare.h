/*
 * Functions that no library has: each begins with an instruction of rare.def.
 */
#ifndef LP_TESTS_COVERAGE_RARE_H
#define LP_TESTS_COVERAGE_RARE_H

#include "functions.h"

/* The functions for a machine and the bytes they are in, functions.items[i].at counted from the first; free both. */
uint8_t *rare_functions(uint16_t machine, function_vec *out, size_t *len);

#endif
