/*
 * The functions of a library: by its symbols and by its unwind table, which
 * knows those too that have no name any more.
 *
 *     function_vec all = {0};
 *     functions_find(elf, &all);     // by address, each address once
 *     functions_free(&all);
 */
#ifndef LP_TESTS_COVERAGE_FUNCTIONS_H
#define LP_TESTS_COVERAGE_FUNCTIONS_H

#include "elf/elf.h"

struct function {
	lp_addr at;
	size_t size; /* never over the next one's beginning */
	size_t pad;  /* from there to the next one, or to the section's end */
	char *name;  /* owned; its address in brackets when it has none */
};

typedef LP_VEC(struct function) function_vec;

/* false: the unwind table cannot be read. */
bool functions_find(struct lp_elf *e, function_vec *out);
void functions_free(function_vec *v);

#endif
