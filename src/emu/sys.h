/*
 * System calls of the guest: the table, and what the files of sys/ share.
 *
 * A guest address is a host address, and most layouts agree: such calls go
 * straight to the host's kernel, which answers for bad pointers.  A call that is
 * OURS in syscall.def is a function
 *
 *     CALL(newfstatat)
 *     {
 *             ... a[0] to a[5] are the guest's arguments, t its thread ...
 *             return result or -errno;     // or what lp_host_wait() said: -LP_ERESTART and its kin
 *     }
 *
 * Pointers among the arguments are followed through the lp_arg_ functions only.
 */
#ifndef LP_EMU_SYS_H
#define LP_EMU_SYS_H

#include <sys/syscall.h>
#include <errno.h>

#include "emu/emu.h"

typedef int64_t lp_call_fn(struct lp_guest_thread *t, const uint64_t a[6]);

enum lp_call_way { LP_CALL_UNKNOWN, LP_CALL_PASS, LP_CALL_WAIT, LP_CALL_OURS, LP_CALL_FAIL };
struct lp_call_row {
	const char *name, *args, *why;
	lp_call_fn *run;
	int16_t host, error;
	uint8_t way;
};

/* By number; a row that says LP_CALL_UNKNOWN where there is no such call.  Never NULL. */
const struct lp_call_row *lp_call_row(uint32_t number);

#define CALL(name) int64_t lp_call_##name(struct lp_guest_thread *t, const uint64_t a[6])

#define PASS(number, name, args)
#define WAIT(number, name, args)
#define OURS(number, name, args) lp_call_fn lp_call_##name;
#define FAIL(number, name, error, args, why)
#include "emu/syscall.def"
#undef PASS
#undef WAIT
#undef OURS
#undef FAIL

/* ---- the host ---- */

/* Before a system call that may block. */
void lp_call_waits(struct lp_guest_thread *t, long nr);

/* A system call of the host that waits for nobody: the result or -errno. */
static inline int64_t lp_host(long nr, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3];
	register uint64_t r8 __asm__("r8") = a[4];
	register uint64_t r9 __asm__("r9") = a[5];
	int64_t result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#define LP_HOST(nr, ...) lp_host(nr, (const uint64_t[6]){__VA_ARGS__})

/* One that may wait: the world can be stopped meanwhile, a guest signal interrupts it:
 * lp_safe_syscall()'s result. */
int64_t lp_host_wait(struct lp_guest_thread *t, long nr, const uint64_t a[6]);
/* One that may take its time but is never made twice. */
int64_t lp_host_slow(struct lp_guest_thread *t, long nr, const uint64_t a[6]);
#define LP_HOST_WAIT(t, nr, ...) lp_host_wait(t, nr, (const uint64_t[6]){__VA_ARGS__})
#define LP_HOST_SLOW(t, nr, ...) lp_host_slow(t, nr, (const uint64_t[6]){__VA_ARGS__})

/* ---- what arguments point to ---- */

/* Linux takes no tagged pointers unless a program asks for it (Documentation/arm64/tagged-address-abi.rst), which is
 * not offered: -EFAULT. */
static inline bool lp_arg_is_tagged(uint64_t addr)
{
	return addr >> 56;
}
int lp_arg_read(uint64_t addr, void *data, size_t len);
int lp_arg_write(uint64_t addr, const void *data, size_t len);
ssize_t lp_arg_string(uint64_t addr, char *out, size_t size);
#define lp_arg_get(addr, object) lp_arg_read(addr, object, sizeof *(object))
#define lp_arg_put(addr, object) lp_arg_write(addr, object, sizeof *(object))

/* A host pointer as an argument of a host call. */
static inline uint64_t lp_arg_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* ---- where the two differ ---- */

/* O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE. */
uint64_t lp_open_flags_host(uint64_t guest);
uint64_t lp_open_flags_guest(uint64_t host);

/* Descriptors of the runner itself: moved to high numbers, and the guest's close(2), dup3(2) and close_range(2) do not
 * see them.  Returns the new number, or -errno with `fd` as it was. */
int lp_fd_keep(int fd);
bool lp_fd_is_kept(int fd);
void lp_fd_drop(int fd); /* closes it */

#endif
