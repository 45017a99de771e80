/*
 * execve(2): another program in this process.  One for AArch64 is run by this
 * runner again; what the host can execute, the host executes.
 */
#ifndef LP_EMU_EXEC_H
#define LP_EMU_EXEC_H

#include <limits.h>

#include "emu/emu.h"
#include "emu/program.h"

/* execveat(2), with the guest's addresses.  Comes back only with -errno. */
int64_t lp_exec(struct lp_guest_thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp, int flags);
/* What an execve leaves in the memory that a vfork child shares; when the thread is freed. */
void lp_exec_forget(struct lp_guest_thread *t);

/* What a file that is to be executed comes to, scripts followed to their interpreters. */
struct lp_exec_file {
	int fd; /* open for reading, close-on-exec; -1: must not be read, only executed */
	enum lp_program_kind kind;
	int dirfd; /* where it is for the host: with path */
	char path[PATH_MAX];
	LP_VEC(char *) before; /* what replaces argv[0]: interpreter, its argument, script; empty: it is no script */
};

/* path is the host's, below dirfd; "" the file dirfd itself.  `name` is what a script is called for its interpreter.
 * 0 or -errno as execve says it; with must_be_allowed only what has execute permission. */
int lp_exec_follow(const struct lp_emu *emu, int dirfd, const char *path, const char *name, bool must_be_allowed,
		   struct lp_exec_file *out);
void lp_exec_file_close(struct lp_exec_file *file);

#endif
