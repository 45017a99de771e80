/*
 * arm64_runner: the program's files.
 *
 *     struct runner_wish w = {0};
 *     rc = runner_wish_parse(&w, argc, argv, err);        // after a refusal, too, w says whether JSON is wanted
 *     status = runner_client(&w);                         // asks a runner that runs
 *     status = runner_update(&w, err);                    // becomes update_module
 */
#ifndef LP_TOOL_ARM64_RUNNER_H
#define LP_TOOL_ARM64_RUNNER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/vec.h"
#include "emu/sites.h"
#include "runner/config.h"

struct lp_emu;
struct lp_jit_made;

/* As env(1) has them; else the status is the program's, or of a question to a runner that runs: tool/tool.h, enum exit_status. */
enum { RUNNER_USAGE = 2, RUNNER_FAILED = 125, RUNNER_CANNOT_RUN = 126, RUNNER_NOT_FOUND = 127 };

enum runner_option {
#define RUNNER(id, letter, word, argument, inherited, sentence) RUNNER_##id,
#include "tool/arm64_runner.def"
#undef RUNNER
	NR_RUNNER_OPTIONS
};

struct runner_row {
	char letter;
	const char *word, *argument, *sentence;
	bool inherited;
};
extern const struct runner_row runner_rows[NR_RUNNER_OPTIONS];

typedef LP_VEC(char *) runner_words;

/* Commands of runner/command.def, with ";" between those that happen together. */
typedef LP_VEC(runner_words) runner_requests;

/* An instruction of the program. */
struct runner_place {
	char *symbol; /* NULL: it is at pc */
	uint64_t pc, offset;
};

/* What the command line says. */
struct runner_wish {
	bool is_given[NR_RUNNER_OPTIONS];
	const char *sysroot, *argv0, *strace_file, *gdb, *profile, *patches_from;
	int program_fd;
	unsigned long nofile;	/* descriptors that the program may have; 0: as many as the runner */
	enum lp_runner_jit jit; /* the last one counts */
	const char *smc;	/* NULL: ivau */
	const char *host_cpu;	/* NULL: all that there is is made use of */
	unsigned host_without;	/* struct lp_jit_options */
	LP_VEC(struct runner_place) dumped;
	runner_words dumped_words; /* the same as they were written */
	const char *dump_file;	   /* NULL: standard error */
	uint64_t cache_bytes;	   /* what may be kept of translations */
	pid_t pid;		   /* of the runner to ask; 0: the only one */
	runner_words env;	   /* the program's; ends with NULL once parsed */
	runner_words again;	   /* options for children; the same */
	runner_words watch;	   /* files to watch; the same */
	runner_requests requests;
	char **program; /* and its arguments; NULL: none */
};

/* ---- arm64_runner_wish.c ---- */
int runner_wish_parse(struct runner_wish *w, int argc, char **argv, struct lp_err *err);

/* ---- arm64_runner_limits.c ---- */
/* Refuses limits of the user under which the runner could not say any more what is wrong. */
int runner_limits_check(struct lp_err *err);
/* main's work on a stack that is large enough, whatever the user's limit. */
int runner_on_good_stack(int (*work)(int argc, char **argv), int argc, char **argv);
/* The program's limit of descriptors, from now on. */
void runner_limits_nofile(unsigned long nr);

/* ---- arm64_runner_client.c ---- */
/* Does what the command line asks a running runner for, and returns the exit status. */
int runner_client(const struct runner_wish *w);
/* A refusal on standard output. */
void runner_say_json(const struct lp_err *err);

/* ---- arm64_runner_update.c ---- */
bool runner_wants_update(const struct runner_wish *w);
/* Becomes update_module; returns our exit status when it cannot. */
int runner_update(const struct runner_wish *w, struct lp_err *err);
/* Tells what an earlier look for updates found, and starts another when it is time; waits for nothing. */
void runner_auto_update(const struct lp_runner_config *c);

/* The path of a program that is installed beside this one. */
int runner_beside(const char *name, char *out, size_t size, struct lp_err *err);

/* ---- arm64_runner_jit.c ---- */
/* The emulator's translator, if there shall be one.  The wish is looked at as long as the program runs. */
int runner_jit(struct lp_emu *emu, const struct runner_wish *w, struct lp_err *err);

/* ---- arm64_runner_dump.c ---- */
int runner_dump_parse(const char *text, struct runner_place *out, struct lp_err *err);
int runner_dump_start(const struct runner_wish *w, struct lp_err *err);
bool runner_dump_wants(const struct runner_wish *w, const struct lp_jit_made *made, struct lp_sites *sites);
void runner_dump_show(struct lp_emu *emu, const struct lp_jit_made *made, const char *name);

/* ---- arm64_runner_selftest.c ---- */
/* An exit status. */
int runner_self_test(struct lp_err *err);

#endif
