/* Code of the calling program, which it names by a pointer. */
#ifndef LP_API_HOST_H
#define LP_API_HOST_H

#include "isa/isa.h"

/* A copy of the function at `func` for lp_free(), when it is whole without anything around it.  A pointer to nowhere is
 * an error (-LP_EUNMAPPED), and no crash. */
int lp_host_function(const struct lp_isa *isa, const void *func, uint8_t **code, size_t *size, struct lp_err *err);

#endif
