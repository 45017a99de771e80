/*
 * What is remembered between two looks for updates: a small file per
 * repository in $XDG_STATE_HOME/arm64_runner or ~/.local/state/arm64_runner.
 *
 *     rc = lp_update_memory_open(&m, repository, err);
 *     ... m.state ...
 *     rc = lp_update_memory_save(&m, err);              // whole or not at all
 *     lp_update_memory_close(&m);
 *
 * It needs nothing of the network: arm64_runner reads it when it starts.
 */
#ifndef LP_UPDATE_STATE_H
#define LP_UPDATE_STATE_H

#include "base/buf.h"
#include "base/err.h"
#include "update/version.h"

struct lp_update_state {
	int64_t checked;    /* when the index was last asked for, seconds since 1970; 0: never */
	int64_t not_before; /* when the server allows the next question; 0: at once */
	/* The highest that came with a good signature: what is older is not installed any more.  0.0.0: none. */
	struct lp_version highest, highest_rc; /* of releases; of candidates and releases */
	struct lp_version available;	       /* newer than what is installed, when last looked; 0.0.0: none */
	char news[512];			       /* one sentence that the next start tells once; "": nothing */
};

struct lp_update_memory {
	int folder; /* descriptor */
	char *name; /* of the state's file in it */
	struct lp_update_state state;
};

/* What is configured, or compiled in; NULL: neither. */
const char *lp_update_repository(const char *configured);
#define LP_NO_REPOSITORY                                                                                         \
	"where are releases? This program was built without an answer: write \"repository = OWNER/NAME\" below " \
	"[update] in ~/.config/arm64runner.conf or /etc/arm64runner.conf"

/* "OWNER/NAME", of the characters that GitHub allows. */
bool lp_repository_is_fine(const char *repository);

/* No file yet is a state that knows nothing; one that is damaged is refused: it may have said what is too old. */
int lp_update_memory_open(struct lp_update_memory *m, const char *repository, struct lp_err *err);
/* The highest versions are never lowered, whatever another process has saved meanwhile. */
int lp_update_memory_save(struct lp_update_memory *m, struct lp_err *err);
/* For so many seconds the server wants no questions.  More than it may want is what a clock that went wrong has left: 0. */
int64_t lp_update_put_off_s(const struct lp_update_state *s);
/*
 * Is it time to ask, after an interval?  Then that is noted before it has happened: of many that start at once one
 * takes the turn.  Waits for nobody.
 */
bool lp_update_memory_takes_turn(struct lp_update_memory *m, unsigned interval_s);
void lp_update_memory_close(struct lp_update_memory *m);

/* A file beside it, as a cache: -ENOENT when there is none. */
int lp_update_memory_get(const struct lp_update_memory *m, const char *suffix, struct lp_buf *out, size_t limit,
			 struct lp_err *err);
int lp_update_memory_put(const struct lp_update_memory *m, const char *suffix, const void *data, size_t len,
			 struct lp_err *err);

/*
 * Writes NAME.new, makes it durable, renames it over NAME, makes the folder durable: whoever opens it sees the old one
 * or the new one.  The caller has a lock that keeps others from it; of one that was killed no more than one draft is
 * left, which the next one takes.
 */
int lp_update_replace_file(int folder, const char *name, const void *data, size_t len, struct lp_err *err);

#endif
