/*
 * Programs in a folder put in the place of others, and back.
 *
 *     rc = lp_install_open(&i, "/opt/x/arm64_runner", err);     // locks; finishes what one that was killed had begun
 *     rc = lp_install_staging(i, &fd, err);                     // an empty folder of ours, on the same file system
 *     ... programs are unpacked there ...
 *     rc = lp_install_replace(i, names, nr, test, arg, err);
 *     lp_install_close(i);
 *
 * All that it needs beside the programs is in FOLDER/.NAME.update, which
 * nobody else may look into:
 *
 *     staging/       what shall be installed
 *     previous.new/  what is installed, while it is being replaced
 *     previous/      what was installed before
 *     journal        what is being replaced, when something is: "replacing" or "committed", then a name a line
 *
 * Each program is replaced by one rename(2): at any moment its name leads to a
 * whole program, old or new.  Killed while "replacing": the next one puts the
 * old ones back.  Killed when "committed": it tidies up.
 *
 * The lock is that folder's: two of one program wait for nobody, the second is
 * refused with -LP_ELOCKED.
 */
#ifndef LP_UPDATE_INSTALL_H
#define LP_UPDATE_INSTALL_H

#include "base/err.h"

struct lp_install;

/* `program` without links.  -LP_EPERM when the folder is not ours to write. */
int lp_install_open(struct lp_install **out, const char *program, struct lp_err *err);
/* Has one that was killed left something to put right?  Then opening does it. */
bool lp_install_is_unfinished(const char *program);
/* NULL is fine.  What is in staging/ goes. */
void lp_install_close(struct lp_install *i);
/* Was something put back that another had not finished? */
bool lp_install_recovered(const struct lp_install *i);

/* The descriptor is the installation's. */
int lp_install_staging(struct lp_install *i, int *fd, struct lp_err *err);
/* "FOLDER/.NAME.update/staging/NAME"; the caller frees it. */
char *lp_install_staged_path(const struct lp_install *i, const char *name);
/* As it is called beside the program: the program's own name may be another than the archive's. */
bool lp_install_has(const struct lp_install *i, const char *name);

/* Says whether the first of the programs works: 0, or a refusal. */
typedef int lp_install_test(const char *path, void *arg, struct lp_err *err);

/*
 * names[0] in staging/ is for the program itself, each other for the file of
 * its name.  `test` sees the new program in staging/, and again at its place; a
 * refusal there puts everything back.  Afterwards previous/ has the old ones.
 */
int lp_install_replace(struct lp_install *i, const char *const *names, size_t nr, lp_install_test *test, void *arg,
		       struct lp_err *err);
/* The same with what is in previous/, which then has what was installed. */
int lp_install_rollback(struct lp_install *i, const char *const *names, size_t nr, lp_install_test *test, void *arg,
			struct lp_err *err);

#endif
