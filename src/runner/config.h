/*
 * arm64runner.conf: what the command line need not say.
 *
 *     struct lp_runner_config c;
 *     rc = lp_runner_config_find(&c, complain, arg, err);      // the first of the three places that has one
 *     lp_runner_config_free(&c);
 *
 * The current folder (only when the file is the user's and nobody else may
 * write it: who puts a program into a folder could else choose patches for it),
 * $XDG_CONFIG_HOME or ~/.config, /etc.
 *
 * What decides whose updates are good (DECIDES in config.def) is taken from
 * the last two alone, and of these from a file only that is root's or the
 * user's, and that nobody else may write: a folder that was unpacked from
 * somewhere belongs to the user, too.
 */
#ifndef LP_RUNNER_CONFIG_H
#define LP_RUNNER_CONFIG_H

#include "base/err.h"
#include "base/vec.h"

typedef LP_VEC(char *) lp_config_paths;

/* Who executes the program's code: no or off, yes or on, tier1, tier2, both, check, check-tier2. */
enum lp_runner_jit {
	LP_RUNNER_JIT_NOT_SAID,
	LP_RUNNER_JIT_OFF,
	LP_RUNNER_JIT_ON, /* tier 1, of what is executed more than once */
	LP_RUNNER_JIT_TIER1,
	LP_RUNNER_JIT_TIER2,
	LP_RUNNER_JIT_BOTH,
	LP_RUNNER_JIT_CHECK,
	LP_RUNNER_JIT_CHECK_TIER2
};

enum lp_runner_switch { LP_RUNNER_NOT_SAID, LP_RUNNER_NO, LP_RUNNER_YES };

struct lp_runner_config {
	char *sysroot;
	bool strace, stats, debug, core;
	enum lp_runner_jit jit;
	char *smc;
	char *host_cpu;
	enum lp_runner_switch cache;
	uint64_t cache_bytes; /* 0: not given */
	lp_config_paths load, watch;
	bool livepatch_debug, livepatch_hup;
	bool auto_update, rc_channel, installs, requires_signature;
	unsigned interval_s, timeout_s; /* 0: not given */
	char *repository, *url, *ca_file, *patches;
	lp_config_paths keys; /* those that begin with / are files */
	char *from;	      /* the file, absolute; NULL: there is none */
};

/*
 * 0 also when there is no file.  `complain` gets a line for each key that is unknown, or has a value that it cannot have:
 * "FILE:LINE: ..."; the rest counts.
 */
int lp_runner_config_find(struct lp_runner_config *c, void (*complain)(const char *line, void *arg), void *arg,
			  struct lp_err *err);
/* One file, whoever may write it; what decides about updates only if nobody else may.  -errno when it cannot be read. */
int lp_runner_config_read(struct lp_runner_config *c, const char *path, void (*complain)(const char *line, void *arg),
			  void *arg, struct lp_err *err);
void lp_runner_config_free(struct lp_runner_config *c);

#define LP_RUNNER_JIT_MODES "tier1, tier2, both, check, check-tier2, yes and no"
/* False: there is no such mode. */
bool lp_runner_jit_mode(const char *text, enum lp_runner_jit *out);

#endif
