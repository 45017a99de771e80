/*
 * The .kpatch file: a live patch of one object, as docs/format-kpatch.md
 * describes it byte by byte.
 *
 *     rc = lp_kpatch_open(&k, "fix.kpatch", err);     // or lp_kpatch_from_bytes
 *     ... k->id, k->build_id, k->records, lp_kpatch_is_own_section(k, i) ...
 *     lp_kpatch_free(k);                              // NULL is fine
 *
 *     rc = lp_kpatch_write(&meta, elf, len, &buf, err);   // what a builder made, as a file
 *
 * Reading checks everything that is said in the file about the file: header,
 * counts, sizes, offsets, sections, symbols and relocations that name each
 * other; a hostile file gives -LP_EKPATCH with a sentence.  What the numbers
 * mean in a process is for the core.  Both header variants are read, the one
 * of LibcarePlus is written.
 */
#ifndef LP_KPATCH_H
#define LP_KPATCH_H

#include "base/buf.h"
#include "elf/elf.h"

#define LP_KPATCH_MAGIC "KPATCH1" /* with its NUL, the first eight bytes */
#define LP_KPATCH_FILE_MAX (256u << 20)
#define LP_KPATCH_ID_MAX 200u /* characters */

enum lp_kpatch_variant { LP_KPATCH_PLUS, LP_KPATCH_LIBCARE };

/* Offsets in a header; 0 = the variant does not have the field. */
struct lp_kpatch_layout {
	const char *name; /* "LibcarePlus", "libcare" */
	uint32_t header_size;
	uint32_t id, modulename, buildid, buildid_size, build_time, kpatch_offset, rel_offset, total_size, jmp_offset;
	uint32_t elf_offset, total_mem_size, entries;
};
enum { LP_KPATCH_ENTRY_UNDO, LP_KPATCH_ENTRY_INFO, LP_KPATCH_ENTRY_LEVEL }; /* indexes into entries[] */
const struct lp_kpatch_layout *lp_kpatch_layout(enum lp_kpatch_variant v);

/* One record of .kpatch.info, all but its relocated words. */
#define LP_KPATCH_RECORD_SIZE 48u
struct lp_kpatch_record {
	uint64_t daddr, saddr; /* as stored: addresses once the section is relocated */
	uint32_t dlen, slen;   /* dlen 0: a new function */
	uint64_t symstr;
	uint64_t vaddr; /* link-time address of the original; 0 = not said */
	uint32_t flags;
};
/* Pure decoder; `bytes` holds LP_KPATCH_RECORD_SIZE bytes. */
void lp_kpatch_record_decode(const uint8_t *bytes, struct lp_kpatch_record *out);
bool lp_kpatch_record_is_end(const struct lp_kpatch_record *r);

/* What memory of the original must look like. */
#define LP_KPATCH_OLD_WATCH 1u /* no thread may be in it */
struct lp_kpatch_old {
	uint64_t vaddr;
	const uint8_t *bytes;
	uint32_t len, flags;
	const uint8_t *ignore; /* pairs of u32, start and length within the range; checked */
	uint32_t nr_ignore;
	uint32_t record; /* index of the record it belongs to, UINT32_MAX = none */
};

enum lp_kpatch_hook { LP_HOOK_PRE_APPLY = 1, LP_HOOK_POST_APPLY, LP_HOOK_PRE_REVERT, LP_HOOK_POST_REVERT };

struct lp_kpatch_function {
	char *name, *unit, *why; /* for people; each may be NULL */
};

struct lp_kpatch {
	char *path; /* or what stands for it in messages */
	enum lp_kpatch_variant variant;
	char *id;     /* the full one; "" when the file has none */
	char *object; /* "redis-server"; "" when it does not say */
	struct lp_build_id build_id;
	int64_t build_time;
	uint32_t level; /* patch level in a store */
	uint8_t *bytes; /* the file */
	size_t len;
	uint32_t elf_offset; /* where its ELF object begins */
	struct lp_elf *elf;

	size_t info;		/* section index of .kpatch.info */
	uint64_t nr_records;	/* without the terminator; 0 is lawful: data and hooks only */
	size_t eh_frame, hooks; /* section indexes, 0 = none */
	size_t nr_hooks;
	LP_VEC(struct lp_kpatch_old) olds;

	/* .livepatch.meta */
	char *tool, *compiler; /* NULL = not said */
	LP_VEC(char *) needs;
	LP_VEC(struct lp_kpatch_function) functions;
};

/* Does it begin like a .kpatch file? */
bool lp_kpatch_is(const void *bytes, size_t len);
/* A regular file.  -LP_EKPATCH: malformed; -LP_EFILE, -errno: not readable. */
int lp_kpatch_open(struct lp_kpatch **out, const char *path, struct lp_err *err);
/* From a copy of `bytes`. */
int lp_kpatch_from_bytes(struct lp_kpatch **out, const void *bytes, size_t len, const char *name, struct lp_err *err);
void lp_kpatch_free(struct lp_kpatch *k);

/* Does section `i` go into the process with the patch?  The others are tables, or stand for sections of the original. */
bool lp_kpatch_is_own_section(const struct lp_kpatch *k, size_t i);
/* Does it stand for a section of the original, at its sh_addr? */
bool lp_kpatch_is_original_section(const struct lp_kpatch *k, size_t i);
/* Relocations of all sections: start with *section = *i = 0; 1 = *out filled and *section is what it changes, 0 = end.
 * Types, symbols and offsets are checked when the file is opened. */
struct lp_kpatch_rela {
	size_t section;	    /* whose bytes it changes */
	uint64_t offset;    /* in that section */
	uint32_t type, sym; /* sym indexes .symtab */
	int64_t addend;
};
struct lp_kpatch_rela_iter {
	size_t table, i;
};
bool lp_kpatch_rela_next(const struct lp_kpatch *k, struct lp_kpatch_rela_iter *it, struct lp_kpatch_rela *out);

/* ---- the checksum (kpatch_sum.c) ---- */

#define LP_KPATCH_SUM ".livepatch.sum"
#define LP_KPATCH_SUM_SIZE 8u /* a builder makes the section of so many zeros; lp_kpatch_write() fills them in */

/* -LP_EKPATCH when the file is not what was written; one without the section says nothing. */
int lp_kpatch_sum_check(const struct lp_kpatch *k, struct lp_err *err);
/* Of a whole file that may have the section. */
void lp_kpatch_sum_write(uint8_t *file, size_t len, uint32_t elf_offset);
/* In a copy of k's file that is going to be changed. */
void lp_kpatch_sum_forget(const struct lp_kpatch *k, uint8_t *file);

/* ---- writing ---- */

struct lp_kpatch_meta {
	const char *id;	    /* 1..LP_KPATCH_ID_MAX printable ASCII characters without blanks; NULL or "" = none */
	const char *object; /* basename; clipped to 63 bytes in the header */
	struct lp_build_id build_id;
	int64_t build_time; /* 0 is lawful */
	uint32_t level;
};

/*
 * Appends header, ELF object and padding to `out`.  The ELF object is taken as
 * it is, .livepatch.meta included: lp_kpatch_meta_json() makes its text.  Only
 * .livepatch.sum is filled in.
 */
int lp_kpatch_write(const struct lp_kpatch_meta *meta, const void *elf, size_t len, struct lp_buf *out,
		    struct lp_err *err);

/* What .livepatch.meta holds beyond what the header says; appended to `out`, in a fixed order. */
struct lp_kpatch_notes {
	const char *tool, *compiler; /* NULL = leave out */
	const char *const *needs;
	size_t nr_needs;
	const struct lp_kpatch_function *functions;
	size_t nr_functions;
};
int lp_kpatch_meta_json(const struct lp_kpatch_meta *meta, const struct lp_kpatch_notes *notes, struct lp_buf *out,
			struct lp_err *err);

/* The id as it stands in a header of LibcarePlus: at most 7 characters (docs/format-kpatch.md). */
void lp_kpatch_short_id(const char *id, char out[8]);
/* 0, or -LP_EUSAGE with what is wrong with an id. */
int lp_kpatch_check_id(const char *id, struct lp_err *err);

#endif
