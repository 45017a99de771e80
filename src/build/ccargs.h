/*
 * What a compiler driver was asked to do: the words of its command line, sorted.
 *
 *     struct lp_ccargs a;
 *     lp_ccargs_parse(&a, words, nr, is_linker, expand);   // words[0] is the first argument, not the compiler
 *     if (a.does == LP_CC_COMPILE) ... a.inputs, a.output ...
 *     lp_ccargs_free(&a);
 *
 * gcc, clang and those that imitate them; `ld` called by its own name is an LP_CC_LINK without sources.  Response files
 * are read where `expand` says so (their words join the others; the command itself is run as it was written).  An unknown
 * option is kept and means nothing.  Words are bytes; nothing here assumes a character set.
 */
#ifndef LP_BUILD_CCARGS_H
#define LP_BUILD_CCARGS_H

#include "base/vec.h"
#include "base/addr.h"

enum lp_cc_does {
	LP_CC_NOTHING,	    /* --version, -print-search-dirs, -E, -M, -fsyntax-only: no object comes out */
	LP_CC_ASSEMBLY,	    /* -S */
	LP_CC_COMPILE,	    /* -c */
	LP_CC_LINK,	    /* objects to a program, a library or a larger object */
	LP_CC_COMPILE_LINK, /* sources to a program in one go */
};

enum lp_cc_input { LP_CC_SOURCE, LP_CC_ASSEMBLER, LP_CC_OBJECT, LP_CC_LIBRARY };

struct lp_ccargs_input {
	enum lp_cc_input kind;
	size_t word; /* index into words */
	const char *path;
};

struct lp_ccargs {
	LP_VEC(char *) words; /* response files expanded; owned */
	enum lp_cc_does does;
	LP_VEC(struct lp_ccargs_input) inputs; /* in order; LIBRARY: -lNAME, path is NAME */
	const char *output;		       /* of -o; NULL = the default */
	const char *map;		       /* a map file that the command itself asks for */
	const char *dep_file;		       /* of -MF or -Wp,-MD,FILE */
	bool wants_deps;		       /* any -M option */
	bool relocatable;		       /* -r: a larger object */
	bool lto;			       /* the last word about -flto is yes */
	bool odd;			       /* -x, -save-temps, standard input, ...: not to be taken apart */
	bool function_sections;		       /* asked for by the command itself */
};

void lp_ccargs_parse(struct lp_ccargs *out, char *const *words, size_t nr, bool is_linker, bool expand);
void lp_ccargs_free(struct lp_ccargs *a);

/* The words of a text in which blanks separate, and quotes and backslashes protect; each is added to `words`. */
typedef LP_VEC(char *) lp_word_vec;
void lp_split_words(lp_word_vec *words, const char *text);

/* How many words an option takes with its value (1 or 2), counted from word i. */
size_t lp_ccargs_span(const struct lp_ccargs *a, size_t i);
/* About dependency files, at word i: how many words to drop, 0 when it is something else. */
size_t lp_ccargs_dependency_span(const struct lp_ccargs *a, size_t i);
/* Means something to the linker only. */
bool lp_ccargs_is_link_word(const char *word);

/* Where the object of a source goes when nobody says so: "dir/foo.c" -> "foo.o". */
char *lp_ccargs_default_object(const char *source);
/* gcc, cc, x86_64-linux-gnu-g++-12, clang-14: is it a name that a compiler goes by?  ld and ld.lld: a linker's? */
bool lp_is_compiler_name(const char *name);
bool lp_is_linker_name(const char *name);

#endif
