/*
 * Read-only, bounds-checked views of ELF64 little-endian files, in memory that
 * we own.  No policy, no process: what a file says, nothing more.
 *
 *     struct lp_elf *e;
 *     rc = lp_elf_open(&e, path, err);      // or lp_elf_open_fd, lp_elf_from_bytes
 *     ... lp_elf_symbol_*(), lp_elf_reloc_*() ...
 *     lp_elf_close(e);                       // NULL is fine
 *
 * Every offset, index, string and count that comes from the file is checked
 * before use; a hostile file gives -LP_EELF with a sentence or a smaller
 * answer, never a read outside the buffer.  Strings and pointers returned live
 * as long as the lp_elf.  An lp_elf is immutable after open but for lazily
 * built indexes (name, address): do not share one between threads.
 *
 * Sources: System V gABI (ELF-64), LSB symbol versioning, GNU build-id notes.
 */
#ifndef LP_ELF_H
#define LP_ELF_H

#include <elf.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

#define LP_ELF_FILE_MAX (UINT64_C(4) << 30)
#define LP_BUILD_ID_MAX 64

struct lp_elf;

struct lp_build_id {
	uint8_t bytes[LP_BUILD_ID_MAX];
	size_t len; /* 0 = none */
};

/* A regular file, read whole.  -LP_EFILE for anything else (without waiting for it), -EFBIG beyond LP_ELF_FILE_MAX,
 * -ENOMEM when there is no memory for it. */
int lp_elf_open(struct lp_elf **out, const char *path, struct lp_err *err);
/* The same from an open file, whatever its position; fd stays the caller's. */
int lp_elf_open_fd(struct lp_elf **out, int fd, const char *name_for_errors, struct lp_err *err);
/* The same from a copy of `bytes`. */
int lp_elf_from_bytes(struct lp_elf **out, const void *bytes, size_t len, const char *name_for_errors,
		      struct lp_err *err);
/*
 * From a copy of an image dumped out of a process: bytes[i] stood at bias + lowest PT_LOAD address (rounded down to
 * LP_PAGE) + i, unreadable pages filled with zeros.  File offsets are ignored and sections do not exist;
 * lp_elf_bytes_at() takes the index into `bytes`.
 *
 * Addresses stay link-time addresses throughout.  The loader of glibc adds the bias (load address minus link-time
 * address) to the pointers in a writable PT_DYNAMIC; here they are taken back.  All other words are as the program
 * left them: GOTs are filled in, and the addend of a RELR relocation is the word after relocation.
 */
int lp_elf_from_memory(struct lp_elf **out, const void *bytes, size_t len, uint64_t bias, const char *name_for_errors,
		       struct lp_err *err);
void lp_elf_close(struct lp_elf *e);

const char *lp_elf_name(const struct lp_elf *e);
/* The whole file; NULL for an image that was dumped out of a process. */
const uint8_t *lp_elf_file(const struct lp_elf *e, size_t *len);
const Elf64_Ehdr *lp_elf_header(const struct lp_elf *e);
size_t lp_elf_phdr_count(const struct lp_elf *e);
const Elf64_Phdr *lp_elf_phdr(const struct lp_elf *e, size_t i);	   /* NULL beyond the end */
const Elf64_Phdr *lp_elf_phdr_find(const struct lp_elf *e, uint32_t type); /* first of that type or NULL */
size_t lp_elf_section_count(const struct lp_elf *e);
const Elf64_Shdr *lp_elf_section(const struct lp_elf *e, size_t i);
const Elf64_Shdr *lp_elf_section_find(const struct lp_elf *e, const char *name);
const char *lp_elf_section_name(const struct lp_elf *e, const Elf64_Shdr *s); /* "" when bad */
/* Bytes of a section (NULL for NOBITS or out of bounds). */
const uint8_t *lp_elf_section_data(const struct lp_elf *e, const Elf64_Shdr *s, size_t *len);
/* File bytes at an offset, or at a virtual address covered by a PT_LOAD's file part; NULL when not all there. */
const uint8_t *lp_elf_bytes_at(const struct lp_elf *e, uint64_t offset, size_t len);
const uint8_t *lp_elf_bytes_at_vaddr(const struct lp_elf *e, uint64_t vaddr, size_t len);

void lp_elf_build_id(const struct lp_elf *e, struct lp_build_id *out);
/* The same from raw note bytes (a PT_NOTE segment read out of a process). */
void lp_elf_build_id_from_notes(const uint8_t *notes, size_t len, struct lp_build_id *out);
bool lp_build_id_equal(const struct lp_build_id *a, const struct lp_build_id *b); /* false when either has none */
void lp_build_id_hex(const struct lp_build_id *id, char out[2 * LP_BUILD_ID_MAX + 1]);
bool lp_build_id_parse(const char *hex, struct lp_build_id *out);

/* PT_DYNAMIC: value of the first entry with that tag; strings and DT_NEEDED by index. */
bool lp_elf_dynamic(const struct lp_elf *e, int64_t tag, uint64_t *value);
const char *lp_elf_needed(const struct lp_elf *e, size_t i); /* NULL beyond the end */
const char *lp_elf_soname(const struct lp_elf *e);	     /* NULL when none */

/* ---- symbols ---- */

enum lp_symtab { LP_SYMTAB, LP_DYNSYM };

struct lp_elf_sym {
	const char *name;     /* never NULL; without the "@VER" that linkers append in symtab */
	const char *version;  /* "GLIBC_2.2.5" or NULL: from versym in dynsym, from the name itself in symtab */
	bool version_hidden;  /* name@VER, not the default name@@VER */
	const char *file;     /* STT_FILE that precedes a local symbol, or NULL (symtab only) */
	uint64_t value, size; /* as in the file (link-time address; for TLS, offset in the block) */
	uint16_t shndx;
	uint8_t type, bind, visibility; /* STT_*, STB_*, STV_* */
	size_t index;			/* in its table */
	enum lp_symtab table;
};

size_t lp_elf_symbol_count(const struct lp_elf *e, enum lp_symtab table);
bool lp_elf_symbol(const struct lp_elf *e, enum lp_symtab table, size_t i, struct lp_elf_sym *out);
/* Next symbol of that exact name at or after *cursor (start with 0); O(1) average, index built on first use. */
bool lp_elf_symbol_by_name(struct lp_elf *e, enum lp_symtab table, const char *name, size_t *cursor,
			   struct lp_elf_sym *out);
/* The function or object symbol whose [value, value+size) holds vaddr, the innermost when several do; else the nearest
 * one below in the same section if it has size 0.  At one address prefers STT_FUNC, global, symtab over dynsym. */
bool lp_elf_symbol_at(struct lp_elf *e, uint64_t vaddr, struct lp_elf_sym *out);
/* Lowest symbol value of a defined FUNC/OBJECT/NOTYPE symbol that is > vaddr, limited by the end of the section or
 * segment that holds vaddr; 0 when vaddr is not covered. */
uint64_t lp_elf_next_boundary(struct lp_elf *e, uint64_t vaddr);

/* ---- dynamic relocations: DT_RELA, DT_JMPREL and DT_RELR, in file order ---- */

struct lp_elf_rela {
	uint64_t offset; /* link-time address of the place */
	uint32_t type;
	uint32_t sym;	/* index in dynsym; 0 = none */
	int64_t addend; /* of a RELR entry, whose type is the machine's R_*_RELATIVE: the word at the place */
};

struct lp_elf_rela_iter {
	int part;
	size_t i;
	uint64_t relr_base;
	uint64_t relr_bits;
	int relr_bit;
};

/* Start with a zeroed iterator.  1 = *out filled, 0 = end, negative = malformed: some relocations are unknown, and none
 * should be applied.  A DT_JMPREL that lies inside DT_RELA is walked once. */
int lp_elf_rela_next(const struct lp_elf *e, struct lp_elf_rela_iter *it, struct lp_elf_rela *out, struct lp_err *err);

/* ---- separate debug files ---- */

/* Finds and opens the separate debug file: <root>/usr/lib/debug/.build-id/xx/yyyy.debug first, then
 * .gnu_debuglink beside the file and below /usr/lib/debug (CRC checked).  root is "" or "/proc/PID/root"; path is the
 * file's in there (with root in front it is the same), symbolic links do not leave it.  A file of another build is
 * passed over.  0 with *out NULL when there is none; negative only when root cannot be looked into. */
int lp_elf_open_debug(struct lp_elf **out, const struct lp_elf *e, const char *path, const char *root,
		      struct lp_err *err);

/* ---- files that others shall read ---- */

/*
 * An ELF file that says nothing but how to unwind `code`: libdw takes tables from files alone.  `tables` is where the
 * bytes of an .eh_frame stand, whose pointers are relative to that.  The code itself is not in it.
 */
void lp_elf_make_frames(struct lp_buf *out, uint16_t machine, struct lp_range code, struct lp_range tables,
			const uint8_t *table_bytes);

/* ---- symbol specifications across several images ---- */

/*
 * What a user may write for a symbol:
 *
 *     name            name@VER  name@@VER       (version; @@ = the default one)
 *     file.c:name     libc.so.6:name  module:file.c:name
 *
 * A prefix is taken as a module when a loaded module has that name (soname,
 * basename or full path), else as a source file.
 */
struct lp_symspec {
	char *module;	      /* owned; NULL = any */
	char *file;	      /* owned; NULL = any */
	char *prefix;	      /* owned; a single "prefix:" that may be either; NULL when none or already decided */
	char *name;	      /* owned */
	char *version;	      /* owned; NULL = any */
	bool version_default; /* name@@VER: only the default one */
};

int lp_symspec_parse(struct lp_symspec *out, const char *text, struct lp_err *err);
void lp_symspec_free(struct lp_symspec *s);

/* An ordered list of loaded images, in the dynamic linker's search order. */
struct lp_image {
	const char *name; /* basename shown to people */
	const char *path;
	uint64_t bias;	      /* load address minus link-time address */
	struct lp_elf *elf;   /* the file, or what could be read of it from memory */
	struct lp_elf *debug; /* separate debug file or the unstripped twin; may be NULL */
};

struct lp_found {
	size_t image;	       /* index into the list */
	struct lp_elf_sym sym; /* from the image's elf or debug file */
	lp_addr addr;	       /* bias + value (TLS and SHN_ABS: value alone) */
};

/*
 * All symbols that match, in search order, duplicates (same address and name from symtab, dynsym and debug file)
 * folded into one: the one with the larger size wins.  Undefined symbols never match.  `found` is appended to.
 * A file fits when it is what the symbol table says, less leading directories; global symbols have none.
 * Returns 0 also when nothing matched; -LP_ENOSYM only when a named module is not loaded.
 */
typedef LP_VEC(struct lp_found) lp_found_vec;
int lp_scope_find(const struct lp_image *images, size_t nr, const struct lp_symspec *spec, lp_found_vec *found,
		  struct lp_err *err);

/*
 * As ld.so would bind an undefined reference: first defined global or weak *dynamic* symbol in list order whose
 * version fits (version NULL = default or base version).  false when none.
 *
 * Differs from ld.so in one point: the undefined symbol with a value by which a program that is not position
 * independent stands in for a library's function (&function is then its PLT entry) is not taken; the function is.
 */
bool lp_scope_bind(const struct lp_image *images, size_t nr, const char *name, const char *version,
		   struct lp_found *out);

#endif
