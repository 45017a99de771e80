/*
 * The compiler wrapper of the libcare family: compiles as it is told, by way of assembly, and keeps or merges it.
 *
 *     struct lp_libcare_cc_env env; ... from the environment ...
 *     rc = lp_libcare_cc(&env, argv, err);     // >= 0: the exit status; < 0: nothing was compiled
 *
 * For a comparison of objects (patch_objects.h), the objects of both stages are kept instead, as .kpatch_NAME.STAGE.o, and of each
 * link .kpatch_OUTPUT.STAGE.map, the linker's map, and .kpatch_OUTPUT.STAGE.link: build-id and working directory, one a line.
 * While one is being made there is beside it a file NAME.unfinished with the path of what make will see: killed then, make would
 * take that for up to date although nothing, or something else, is kept of it.  lp_patch_objects_mend() removes it.
 *
 * Stage *original*: of each source the assembly is kept beside the object, as .kpatch_NAME.original.s.  Stage *patched*: the
 * assembly of the changed source goes to .kpatch_NAME.patched.s, kpatch_gensrc merges both, and the merged file is what the object
 * is made of.  Stage *configure*, and everything that is not the compilation of a source: the real compiler.
 */
#ifndef LP_BUILD_LIBCARE_CC_H
#define LP_BUILD_LIBCARE_CC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define LP_KEPT_UNFINISHED ".unfinished"
#define LP_KEPT_DRAFT ".tmp"

enum lp_libcare_stage { LP_STAGE_ORIGINAL, LP_STAGE_PATCHED, LP_STAGE_CONFIGURE };

typedef LP_VEC(char *) lp_words;

struct lp_libcare_cc_env {
	enum lp_libcare_stage stage;
	const char *compiler;	 /* the real one, searched for in PATH when it has no slash */
	const char *gensrc;	 /* path of kpatch_gensrc */
	const char *prefix;	 /* ".kpatch_" */
	const char *asm_dir;	 /* where assembly is kept; NULL = beside the object */
	const char *added;	 /* sources that the patch adds, with : between; they have no original */
	lp_words remove, append; /* words of compiler commands */
	lp_words filter, patch;	 /* options of kpatch_gensrc: for the original, for the merge */
	bool with_assembly;	 /* assembler sources are taken apart, too */
	bool objects;		 /* nothing is merged: objects and maps are kept for a comparison of objects */
	void (*told)(void *arg, const char *line); /* commands that are run; may be NULL */
	void *arg;
};

/* "a;b;c" appended; empty words are passed over. */
void lp_words_split(lp_words *out, const char *text);
void lp_words_free(lp_words *w);

/* argv[0] is ours; the words are those of the compiler's command line. */
int lp_libcare_cc(const struct lp_libcare_cc_env *env, char *const *argv, struct lp_err *err);

#endif
