/*
 * A program in memory as Linux would have put it there (fs/binfmt_elf.c of the
 * kernel is the model, for what the guest can tell): segments, interpreter,
 * vDSO, heap, and the first stack with arguments, environment and auxiliary
 * vector.
 */
#ifndef LP_EMU_LOADER_H
#define LP_EMU_LOADER_H

#include "base/err.h"
#include "emu/program.h"

struct lp_emu;

/* One ELF file that was mapped. */
struct lp_loaded_file {
	char *path;	      /* as the guest sees it; NULL: there is none */
	struct lp_range span; /* of all its segments, mapped */
	uint64_t bias;	      /* mapped minus linked address */
	uint64_t entry;
	struct lp_range code; /* of its executable segments, mapped */
};

enum { LP_AUXV_MAX = 32 };

/* Everything is owned by the emu, and does not change while the guest runs. */
struct lp_loaded {
	struct lp_loaded_file program, interpreter;
	uint64_t vdso; /* address of its ELF header */
	uint64_t heap; /* where brk(2) begins */
	struct lp_range stack;
	uint64_t sp;		       /* at entry: argc is there */
	struct lp_range args, envs;    /* the strings */
	uint64_t auxv[LP_AUXV_MAX][2]; /* with its AT_NULL */
	size_t nr_auxv;
};

/* stack.c: into memory that ends at `stack.end`; fills in sp, args, envs. */
struct lp_stack_plan {
	struct lp_range stack;
	char *const *argv, *const *envp;
	const char *execfn;
	const uint64_t (*auxv)[2]; /* AT_RANDOM, AT_EXECFN and AT_PLATFORM: their values are filled in here */
	size_t nr_auxv;
};
int lp_stack_build(const struct lp_stack_plan *plan, struct lp_loaded *out, struct lp_err *err);

/* Sets the main thread's pc and sp.  Nothing is taken back on failure: the caller ends. */
int lp_loader_load(struct lp_emu *emu, const char *program, char *const *argv, char *const *envp, struct lp_err *err);
void lp_loader_free(struct lp_loaded *loaded);

#endif
