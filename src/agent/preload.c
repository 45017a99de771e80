/*
 * libpreload_hotpatch.so: an agent for programs that know nothing of it.
 *
 *     LD_PRELOAD=libpreload_hotpatch.so ./server
 *
 * It starts when main() is entered: the program's constructors have run by
 * then, and what only execs another program never gets that far.  Standing in
 * for __libc_start_main() is how that moment is known; the kernel and the
 * loader tell nobody else.
 *
 * _exit() is stood in for, too: shells end with it, and would leave their
 * sockets behind.
 *
 * Silent, whatever happens: the program's output is the program's.  With
 * HOTPATCH_LOG=1 it says on standard error why there is no agent.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hotpatch.h>

typedef int main_fn(int, char **, char **);

static main_fn *real_main;

/* HOTPATCH_EXE=redis-server:nginx */
static int is_wanted(void)
{
	const char *names = secure_getenv("HOTPATCH_EXE"), *me = program_invocation_short_name;
	size_t len = strlen(me);

	if (!names || !*names)
		return 1;
	for (const char *at = names; *at; at += strcspn(at, ":"), at += *at == ':') {
		if (!strncmp(at, me, len) && (at[len] == ':' || !at[len]))
			return 1;
	}
	return 0;
}

static int main_with_agent(int argc, char **argv, char **envp)
{
	const char *log = secure_getenv("HOTPATCH_LOG");

	if (is_wanted() && hotpatch_start() < 0 && log && !strcmp(log, "1"))
		fprintf(stderr, "hotpatch: %s\n", hotpatch_last_error());
	return real_main(argc, argv, envp);
}

int __libc_start_main(main_fn *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_fn *main, int argc, char **argv, void (*init)(void), void (*fini)(void),
		      void (*rtld_fini)(void), void *stack_end)
{
	__typeof__(__libc_start_main) *next =
		(__typeof__(__libc_start_main) *)(uintptr_t)dlsym(RTLD_NEXT, "__libc_start_main");

	real_main = main;
	return next(main_with_agent, argc, argv, init, fini, rtld_fini, stack_end);
}

/* Also in the child of a vfork(), where nothing may be touched: hotpatch_leave() sees that it is one. */
void _exit(int status)
{
	hotpatch_leave();
	for (;;)
		syscall(SYS_exit_group, status);
}

void _Exit(int status)
{
	_exit(status);
}
