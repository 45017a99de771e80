/*
 * A fuzz target is one function.  libFuzzer calls it with inputs it makes up;
 * replay.c calls it with the files of a corpus; a unit test may call it with
 * inputs of its own.  It returns 0 and must not read or write outside `data`,
 * leak, hang or abort, whatever it is given.
 */
#ifndef LP_TESTS_FUZZ_H
#define LP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
