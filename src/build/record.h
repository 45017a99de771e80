/*
 * What the compiler wrapper saw: one file per invocation of a compiler or linker.
 *
 *     the wrapper:    lp_record_write(dir, stem, &record, err);
 *     the builder:    lp_records_load(&records, dir, err); ... lp_records_free(&records);
 *
 * A record is STEM.rec in the record directory; what belongs to it lies beside it: STEM.map (the linker's map), STEM.N.d
 * (dependencies of its Nth source), STEM.N.o (a copy of the object, or the object that a command which compiles and links
 * in one go was taken apart for), STEM.bin (a copy of what was linked).  Stems sort by time.
 *
 * The file: strings, each ended by a NUL, "livepatch-record 1" first, then "key=value", "end" last.  Anything else, or a
 * file without its end, is -LP_EVERSION.  Files appear under their names whole (written elsewhere, then renamed).
 */
#ifndef LP_BUILD_RECORD_H
#define LP_BUILD_RECORD_H

#include "base/err.h"
#include "build/ccargs.h"

#define LP_HASH_SIZE 16

struct lp_hash {
	uint8_t bytes[LP_HASH_SIZE]; /* all zero: unknown */
};

struct lp_record_unit {
	char *source;	     /* as the command names it */
	char *object;	     /* absolute; where the command put it, or STEM.N.o */
	bool has_copy;	     /* STEM.N.o is what the command made, whatever became of `object` since */
	struct lp_hash hash; /* of the object right after it was made */
};

struct lp_record {
	char *stem;
	uint64_t began_ns;
	char *compiler; /* absolute path of the program that was run */
	char *cwd;
	bool is_linker; /* `ld` by its own name */
	bool taken_apart;
	bool unseen;	      /* out of a compile_commands.json: nobody watched it run */
	LP_VEC(char *) words; /* the command's arguments as they were given, response files expanded */
	LP_VEC(char *) env;   /* those variables that a compiler looks at */
	LP_VEC(struct lp_record_unit) units;
	char *output; /* of a link: absolute */

	struct lp_ccargs args; /* of `words`; filled in by lp_records_load() */
};

typedef LP_VEC(struct lp_record) lp_record_vec;

int lp_record_write(const char *dir, const struct lp_record *r, struct lp_err *err);
void lp_record_clear(struct lp_record *r);

/* All records of a directory, oldest first. */
int lp_records_load(lp_record_vec *out, const char *dir, struct lp_err *err);
void lp_records_free(lp_record_vec *records);
/* How many there are by now. */
size_t lp_records_count(const char *dir);
/* One record from memory (for the fuzzer, too). */
int lp_record_parse(struct lp_record *out, const char *text, size_t len, const char *name, struct lp_err *err);

/* BLAKE2b of a file's bytes; -errno when it cannot be read. */
int lp_hash_file(struct lp_hash *out, const char *path);
void lp_hash_bytes(struct lp_hash *out, const void *bytes, size_t len);
void lp_hash_hex(const struct lp_hash *h, char out[2 * LP_HASH_SIZE + 1]);
/* "dir/../b" taken relative to cwd, without "." and ".." and double slashes (textually; no link is followed). */
char *lp_path_join(const char *cwd, const char *path);

#endif
