/*
 * C++ objects of the program, seen from C: std::string and std::vector as
 * libstdc++ lays them out since GCC 5 (the "cxx11" ABI; Itanium C++ ABI for
 * names and calls).  A program that uses another library has other names for
 * its functions, so ours are not found there and nothing is guessed.
 */
#ifndef LP_AGENT_CXX_H
#define LP_AGENT_CXX_H

#include "base/addr.h"

#define CXX_STRING_LOCAL 16

struct cxx_string {
	char *text;
	size_t len;
	union {
		char local[CXX_STRING_LOCAL]; /* short ones lie here, and text points here */
		size_t capacity;
	};
};
_Static_assert(sizeof(struct cxx_string) == 32, "libstdc++");

struct cxx_vector {
	char *begin, *end, *limit;
};

/* An empty one; in place, because it points into itself. */
void lp_cxx_string_init(struct cxx_string *s);
void lp_cxx_string_end(struct cxx_string *s);
/* What the program's operator delete does. */
void lp_cxx_delete(void *p);

#endif
