/*
 * Updates of arm64_runner and what is installed beside it: looks for a newer
 * release, checks whose it is, tries it, puts it in the place of the old one.
 *
 *     struct lp_update *u;
 *     rc = lp_update_open(&u, &options, err);
 *     rc = lp_update_look(u, &found, err);              // asks the index
 *     if (found.is_newer)
 *             rc = lp_update_install(u, &found, &done, err);
 *     lp_update_close(u);                               // and with it what `found` points to
 *
 * docs/updates.md says what is defended against whom.  One thread at a time.
 */
#ifndef LP_UPDATE_H
#define LP_UPDATE_H

#include "base/err.h"
#include "base/vec.h"
#include "update/release.h"
#include "update/version.h"

enum lp_update_stage { LP_UPDATE_ASKS, LP_UPDATE_FETCHES, LP_UPDATE_VERIFIES, LP_UPDATE_TRIES, LP_UPDATE_REPLACES };

/* Strings stay the caller's, as long as the struct lp_update lives.  NULL or 0: the usual. */
struct lp_update_options {
	const char *program;	/* what is to be replaced; links are followed */
	const char *url;	/* of the API; https://api.github.com */
	const char *repository; /* OWNER/NAME; the one compiled in */
	const char *ca_file;
	const char *const *keys; /* public keys, or files that have one; beside those compiled in; NULL-terminated */
	unsigned stall_s;	 /* 30 */
	bool rc_channel;
	/* Only ever because a person said so on the command line.  A signature that is there has to hold all the same. */
	bool takes_unsigned;
	const char *agent; /* "update_module/1.2.3" */
	/* total 0: unknown.  May be NULL. */
	void (*progress)(enum lp_update_stage stage, uint64_t done, uint64_t total, void *arg);
	void *arg;
};

struct lp_update;

int lp_update_open(struct lp_update **out, const struct lp_update_options *o, struct lp_err *err);
void lp_update_close(struct lp_update *u); /* NULL is fine */

struct lp_update_found {
	struct lp_version installed;
	bool is_known;			 /* the installed program says its version; else it counts as 0.0.0 */
	const struct lp_release *newest; /* of the channel; NULL: there is none */
	bool is_newer;			 /* than what is installed */
	const struct lp_releases *all;	 /* as the index has them */
};

/*
 * Also remembers when that was, and what was found.  -LP_ELIMITED when the server
 * has said that it is too early; nothing is asked then.  -LP_EDOWNGRADE when the
 * index offers less than what was there before.
 */
int lp_update_look(struct lp_update *u, struct lp_update_found *out, struct lp_err *err);

struct lp_update_done {
	struct lp_version from, to;
	bool was_signed;
	unsigned told;	/* runners that run the old one, and know of the new one now */
	bool recovered; /* an update that had been killed was put right first */
	char old_id[129],
		new_id[129]; /* build-ids of the program before and after, in hexadecimal; "" when it has none */
	bool by_another;     /* which was at work at the same time: nothing was left to do */
};

/*
 * What one that was killed had begun is put right, where there is such a thing: its program may be new already, so that
 * nothing seems to be left to do.
 */
int lp_update_recover(struct lp_update *u, struct lp_err *err);

/* Fetches, verifies, unpacks, tries, replaces.  What is refused has changed nothing. */
int lp_update_install(struct lp_update *u, const struct lp_update_found *found, struct lp_update_done *out,
		      struct lp_err *err);
int lp_update_rollback(struct lp_update *u, struct lp_update_done *out, struct lp_err *err);

/* ---- patches (patches.h) ---- */

struct lp_update_pulled {
	struct lp_version from, to; /* sets; 0.0.0: none */
	bool is_newer;		    /* than what is in the folder */
	bool was_signed;
	unsigned changed, removed, all; /* files of the set; 0 when it was only looked for */
};

/* The newest set of the channel into a folder, by the rules of lp_update_install(); not when `looks_only`. */
int lp_update_pull(struct lp_update *u, const char *folder, bool looks_only, struct lp_update_pulled *out,
		   struct lp_err *err);
/* What is in the folder for a program of that build-id that no other program here has: sentences; the caller frees each. */
typedef LP_VEC(char *) lp_update_sentences;
void lp_update_stale_patches(const char *folder, const struct lp_update_done *done, lp_update_sentences *out);

/* Whether the program can be replaced at all: by this user, and by no package manager. */
int lp_update_may(struct lp_update *u, struct lp_err *err);

/* A signature, a digest and an archive that are known are read: whether the libraries do what they should here. */
int lp_update_self_test(struct lp_err *err);

/* One sentence that the next start shall tell. */
void lp_update_leave_news(struct lp_update *u, const char *sentence);

/* 0, or -LP_EUNTRUSTED: somebody else than root and we may write the file, and so say whose updates are good. */
int lp_update_trusts_file(const char *path, struct lp_err *err);

#endif
