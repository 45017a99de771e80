/* What AddressSanitizer has to be told of stacks that it does not know: frames that were left by a jump, or with the stack. */
#ifndef LP_BASE_ASAN_H
#define LP_BASE_ASAN_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
void __asan_unpoison_memory_region(const volatile void *start, size_t size);

/* No borders of variables are there any more. */
static inline void lp_asan_forget(const void *start, size_t size)
{
	__asan_unpoison_memory_region(start, size);
}
#else
static inline void lp_asan_forget(const void *start, size_t size)
{
}
#endif

#endif
