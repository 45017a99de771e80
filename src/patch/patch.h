/*
 * A patchset: what the user wants, as an immutable value that every patch
 * format is parsed into.  It knows names, not addresses.
 *
 *     struct lp_patchset *ps;
 *     rc = lp_patch_parse_script(&ps, text, len, "fix.lp", err);
 *     for (size_t i = 0; i < ps->nr; i++) ... ps->ops[i] ...
 *     lp_patchset_free(ps);
 *
 * Parsing reads the text only: files that `load` and `dl` name are opened
 * later, by the core.  Errors are "file:line:column: what, and why", one line
 * each, up to 20 of them, then "...".
 */
#ifndef LP_PATCH_H
#define LP_PATCH_H

#include "base/err.h"

struct lp_kpatch;

/* Where in the input something stands; lines and columns count from 1, columns in bytes. */
struct lp_where {
	const char *file; /* lives as long as the patchset */
	unsigned line, column;
};

enum lp_addr_kind {
	LP_ADDR_INT,	/* 0x401000: absolute */
	LP_ADDR_MEM,	/* $foo, $foo:0x10: start of a memory name plus offset */
	LP_ADDR_MEMSYM, /* $foo:func1 */
	LP_ADDR_SYMBOL, /* func_J, file.c:func_J, libc.so.6:malloc@GLIBC_2.2.5 */
	LP_ADDR_FILE,	/* libfoo.so@0x1138: what nm(1) shows of that object */
};

struct lp_addr_expr {
	enum lp_addr_kind kind;
	struct lp_where where;
	char *mem; /* MEM, MEMSYM: name without '$' */
	/* MEMSYM, SYMBOL: as written, without the offset (lp_symspec_parse takes it); FILE: the object */
	char *symbol;
	uint64_t number; /* INT, FILE: the address; otherwise an offset to add (symbol+0x10, $foo:16) */
};

enum lp_op_kind {
	LP_OP_SET,  /* set <addr> <type> <value> */
	LP_OP_NEW,  /* new <memname> <size> */
	LP_OP_LOAD, /* load <memname> <filename> */
	LP_OP_DL,   /* dl [--dlopen] <memname> <filename> */
	LP_OP_JMP,  /* jmp [--allow-active] [--clobber] <addr1> <addr2> */
	LP_OP_GOT,  /* got <symbol> <addr> */
	/* Below: not of the script language. */
	LP_OP_OBJECT, /* a .kpatch file as a whole */
	LP_OP_UNDO,   /* take back what another tool did; `mem` is the id of its patch, or its address */
	/* Of the library's patch files (text, JSON): instructions at addresses. */
	LP_OP_INLINE,	/* `value` in the place of the instructions at `at` */
	LP_OP_INSERT,	/* `value` runs before the instruction at `at` */
	LP_OP_FUNC,	/* `value` is a function in new memory, called $mem; no `mem`: nothing refers to it */
	LP_OP_NOP,	/* nothing in the place of the instruction at `at` */
	LP_OP_BRANCH,	/* a branch at `at` to `to` */
	LP_OP_REDIRECT, /* calls of the function at `at` go to `to` */
};

struct lp_op {
	enum lp_op_kind kind;
	struct lp_where where;
	struct lp_addr_expr at; /* SET, JMP: where; GOT: symbol (module prefix = whose GOT) */
	struct lp_addr_expr to; /* JMP, GOT: destination; SET addr: the value */
	bool value_is_addr;	/* SET addr: `to` holds the value, stored as 8 bytes */
	uint8_t *value;		/* SET int/str/hex: the bytes */
	size_t value_len;
	const char *type_name; /* SET: "int", "str", "hex", "addr", ... for messages; static */
	char *mem;	       /* NEW, LOAD, DL: the name it defines */
	uint64_t size;	       /* NEW */
	/* As written.  LOAD, DL: relative to the tool's working directory; INLINE, INSERT, FUNC: the file that `value` is
	 * in, relative to the patch file's directory. */
	char *path;
	bool dlopen;		  /* DL --dlopen */
	bool allow_active;	  /* JMP --allow-active */
	bool clobber;		  /* JMP --clobber: callers do not mind which registers the replacement changes */
	struct lp_kpatch *kpatch; /* OBJECT: owned; patch/kpatch.h */
	/* INLINE to REDIRECT: */
	char *assembly; /* the instructions of `value` as text, which gives bytes where the address is known; or NULL */
	char *desc;	/* "" = none */
	char *file;	/* the object whose addresses `at` counts in, from its first byte; NULL = the target's own */
	uint8_t *expect; /* the bytes that must be there before, expect_len of them; NULL = any.  SET too */
	size_t expect_len;
	struct lp_range body; /* of patchsets made by hand: INLINE, SET: code that no thread may be inside of then */
};

/* Made by the parse functions only: they keep bookkeeping behind it. */
struct lp_patchset {
	char *name; /* shown by list; the input's file name, or "-" */
	struct lp_op *ops;
	size_t nr;
};

#define LP_SCRIPT_MAX (64u << 20)      /* bytes of one script */
#define LP_PATCH_FILE_MAX (256u << 20) /* bytes of a patch file, text or JSON */
#define LP_CODE_FILE_MAX (16u << 20)   /* bytes of one file with code */
#define LP_NEW_MAX (UINT64_C(1) << 32) /* bytes of one `new` */

/* ---- the language as tables: for messages, help and the prompt's completion ---- */

/* What an operand holds, so that a prompt knows what to complete. */
enum lp_operand {
	LP_OPERAND_AT,	    /* an address; lp_op.at */
	LP_OPERAND_TO,	    /* an address; lp_op.to */
	LP_OPERAND_SYMBOL,  /* a symbol; lp_op.at */
	LP_OPERAND_VALUE,   /* a type and what it calls for; lp_op.value or .to */
	LP_OPERAND_MEMNAME, /* a new memory name; lp_op.mem */
	LP_OPERAND_SIZE,    /* lp_op.size */
	LP_OPERAND_FILE,    /* the rest of the line, or "quoted"; lp_op.path */
};

#define LP_OP_OPTIONS_MAX 2

/* Row of ops.def: an instruction of the script language. */
struct lp_op_syntax {
	enum lp_op_kind kind;
	const char *name;			/* "jmp" */
	const char *options[LP_OP_OPTIONS_MAX]; /* "--allow-active"; those there are come first, then NULL */
	struct {
		enum lp_operand kind;
		const char *text; /* "<addr1>" */
	} operands[2];
	const char *help; /* a phrase: "make calls of <addr1> go to <addr2>" */
};

/* How the text after a type name is read. */
enum lp_value_form { LP_VALUE_INTEGER, LP_VALUE_TEXT, LP_VALUE_BYTES, LP_VALUE_ADDRESS };

/* Row of types.def. */
struct lp_value_type {
	const char *name;
	enum lp_value_form form;
	unsigned width; /* bytes in the target; 0 = as many as are written */
	const char *help;
};

const struct lp_op_syntax *lp_op_syntaxes(size_t *nr);
const struct lp_value_type *lp_value_types(size_t *nr);

/* Bytes to patchset.  `name` is copied.  Memory names used before definition and defined twice are errors here. */
int lp_patch_parse_script(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);
/*
 * The library's patch files (docs/format-patch-files.md): ops INLINE to REDIRECT.  Names used before definition and
 * defined twice, and entries that patch the same bytes, are errors here.
 */
int lp_patch_parse_text(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);
int lp_patch_parse_json(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);
/* Fills in the code that entries of the patch file at `path` say is in files beside it.  Errors have the entry's place. */
int lp_patch_read_code(struct lp_patchset *ps, const char *path, struct lp_err *err);
/* Text, JSON or script, told apart by content. */
int lp_patch_parse(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);
/*
 * A file: a .kpatch file when it begins like one, else a script.  `*ps` may hold a patchset, to which a .kpatch file is
 * added: several objects, one patchset, one transaction.  Scripts do not mix with anything (-LP_EUSAGE).
 */
int lp_patch_open(struct lp_patchset **ps, const char *path, struct lp_err *err);
/* Adds what lp_kpatch_open() or lp_kpatch_from_bytes() gave, and takes it over, also on error; `*ps` may be NULL.  A
 * second patch for the same build-id is refused (-LP_EOVERLAP): of two, one transaction can only apply one. */
int lp_patch_add_object(struct lp_patchset **ps, struct lp_kpatch *k, struct lp_err *err);
/* Adds the undoing of another tool's patch (core.h, lp_foreign_patches); mixes with nothing else. */
int lp_patch_add_undo(struct lp_patchset **ps, const char *id, struct lp_err *err);
/* One line of the interactive prompt; `ps` may be NULL and is grown.  On error ps is as before. */
int lp_patch_parse_line(struct lp_patchset **ps, const char *line, unsigned line_number, const char *name,
			struct lp_err *err);
/* A patchset by hand.  Ops own what they point to, made by lp_alloc() and its family, and give it up to the patchset. */
struct lp_patchset *lp_patch_new(const char *name);
void lp_patch_add_op(struct lp_patchset *ps, const struct lp_op *op);
/* An address expression alone (for tools: "what is this symbol"). */
int lp_patch_parse_addr(struct lp_addr_expr *out, const char *text, struct lp_err *err);
/* Can it be the name of a function in a patch file? */
bool lp_patch_is_name(const char *text);
void lp_addr_expr_free(struct lp_addr_expr *e);
/* The patchset as a script that parses to the same patchset. */
struct lp_buf;
void lp_patch_dump(const struct lp_patchset *ps, struct lp_buf *out);
void lp_addr_expr_print(const struct lp_addr_expr *e, struct lp_buf *out);
/*
 * The patchset as a patch file that parses to the same patchset, except for the places in it.  Refused (-LP_EUSAGE,
 * nothing added) is what the format cannot say: text knows whole words at addresses and descriptions of one line;
 * JSON all of INLINE to REDIRECT, in UTF-8.  `words`: code is instructions of 4 bytes each, and is shown as such.
 */
int lp_patch_write_text(const struct lp_patchset *ps, struct lp_buf *out, struct lp_err *err);
int lp_patch_write_json(const struct lp_patchset *ps, bool words, struct lp_buf *out, struct lp_err *err);
/*
 * Puts a file in the place of the one at `path`, or of what a symbolic link there leads to: all of it or, on error and
 * when the machine stops, the old one.  Mode and owner of the old one are kept.
 */
int lp_patch_save(const char *path, const struct lp_buf *content, struct lp_err *err);
/* The same patch, wherever it was written. */
bool lp_op_equal(const struct lp_op *a, const struct lp_op *b);
void lp_patchset_free(struct lp_patchset *ps);

#endif
