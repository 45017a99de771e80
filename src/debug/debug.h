/*
 * Variables of a process by their names and types, as debug information has
 * them (DWARF 2 to 5, in the file, beside it or found by build-id; read by
 * libdw).  Reads files only: where the bytes of a process come from is the
 * caller's business.
 *
 *     rc = lp_debug_open(&d, files, nr, err);                 // what a process has loaded, the program first
 *     rc = lp_global_find(d, "server.clients->head", &g, err);
 *     lp_global_place(&g, &text);                             // "elf:BUILD-ID+0x4010>+8", as `mem get` takes it
 *     ... lp_global_size(&g) bytes from there ...
 *     lp_global_print(&g, bytes, len, &show, &out);
 *     rc = lp_global_parse(&g, "20", bytes, mask, err);       // what `mem set` writes
 *     lp_global_free(&g);
 *     lp_debug_close(d);
 *
 * A path:
 *
 *     path    = "*" path | item
 *     item    = name | "(" path ")" | item "." name | item "->" name | item "[" number "]"
 *     name    = [ FILE ":" ] [ SOURCE ":" ] identifier { "::" identifier }
 *
 * "." goes through a pointer too, and "[" takes pointers as arrays.  FILE is a
 * file that is loaded (libfoo.so.1), SOURCE the end of a source file's path
 * (server.c).  A name without its namespaces is enough when it is the only one.
 *
 * Files are believed in nothing: loops and depths are bounded.  Not for several
 * threads at once.
 */
#ifndef LP_DEBUG_H
#define LP_DEBUG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "elf/elf.h"

struct lp_debug;
struct lp_shape; /* a type */

struct lp_debug_file {
	const char *path;	     /* where it can be read */
	const char *name;	     /* as the process knows it */
	lp_addr bias;		     /* address there minus address in the file */
	struct lp_build_id build_id; /* of what is loaded; a file with another one is not looked at */
};

/* In the order in which the loader looks for symbols.  Copies what it needs.  Files that cannot be read are left out. */
int lp_debug_open(struct lp_debug **out, const struct lp_debug_file *files, size_t nr, struct lp_err *err);
void lp_debug_close(struct lp_debug *d); /* NULL is fine */

/* Private but for `bit_size`.  Lives as long as the lp_debug. */
struct lp_global {
	struct lp_debug *d;
	const struct lp_shape *shape;
	size_t file;
	uint64_t vaddr;	       /* in the file */
	LP_VEC(uint64_t) hops; /* for each: to where the pointer there leads, and so many bytes further */
	unsigned bit_offset;   /* of a bit-field, in the bytes that the place stands for */
	unsigned bit_size;     /* 0: not a bit-field */
	uint64_t storage;      /* of a bit-field: bytes */
};

/*
 * -LP_ENOVARIABLE; -LP_EAMBIGUOUS naming them; -LP_ETYPE: no such member, not a
 * pointer, ...; -LP_EUSAGE: not a path.
 */
int lp_global_find(struct lp_debug *d, const char *path, struct lp_global *out, struct lp_err *err);
void lp_global_free(struct lp_global *g);
/* By build-id when the file has one, else by address. */
void lp_global_place(const struct lp_global *g, struct lp_buf *out);
uint64_t lp_global_size(const struct lp_global *g);    /* 0: not known, as of an array without an end */
const char *lp_global_type(const struct lp_global *g); /* "struct client *" */

struct lp_show {
	/* Other memory of the process, for strings behind pointers; negative when it cannot be read.  May be NULL. */
	int (*read)(void *arg, lp_addr at, void *out, size_t len);
	void *arg;
	bool lines;	/* the members of a structure one a line */
	unsigned depth; /* of structures in structures; 0 = 4 */
	unsigned items; /* of an array; 0 = 100 */
};
void lp_global_print(const struct lp_global *g, const uint8_t *bytes, size_t len, const struct lp_show *show,
		     struct lp_buf *out);
/*
 * A value from text, for scalars and arrays of characters: lp_global_size()
 * bytes, and a mask of the bits that are meant.  -LP_EVALUE; -LP_ETYPE for what
 * cannot be set as a whole.
 */
int lp_global_parse(const struct lp_global *g, const char *text, uint8_t *bytes, uint8_t *mask, struct lp_err *err);
/* Of a structure or union (through one pointer, too), with those of its bases.  -LP_ETYPE when it is none. */
int lp_global_members(const struct lp_global *g, void (*row)(void *arg, const char *name, const char *type), void *arg,
		      struct lp_err *err);

#endif
