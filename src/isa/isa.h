/*
 * The seam between instruction sets: one const struct each, filled in by
 * isa/x64/ and isa/a64/.  Shared code never names an instruction set; it asks
 * lp_isa_of(e_machine) and calls through the struct.
 *
 * How a function is diverted:
 *
 *     struct lp_entry e = {0};
 *     rc = isa->entry(&request, &e, err);          // where the jump can stand, and of which shape
 *     dest_in_reach = isa->reaches(&e, dest);      // else: put an island within reach, aim there
 *     n = isa->entry_bytes(&e, aim, writes);       // 1 or 2 pieces of bytes to write
 *
 * Everything here is pure: bytes in, bytes out; no target, no allocation but
 * where said.  All functions are thread-safe.
 */
#ifndef LP_ISA_H
#define LP_ISA_H

#include "base/err.h"
#include "base/vec.h"

#define LP_JUMP_MAX 16	 /* bytes of the longest piece that entry_bytes() writes */
#define LP_ISLAND_MAX 24 /* bytes of the longest island */
#define LP_IFUNC_STUB_MAX 512
#define LP_FAR_LOAD_MAX 32

/*
 * What is known about the code that a jump shall be put on.  Where an earlier
 * patch stands, a DIRECT jump is recognised and replaced whole; over a HOP pass
 * the bytes from before it (the hole is no padding any more): the answer is
 * then the same place again.
 */
struct lp_entry_request {
	lp_addr addr;	       /* where execution arrives; the function's first byte */
	const uint8_t *code;   /* bytes at addr */
	size_t code_len;       /* how many bytes were read; >= size, more is better */
	size_t size;	       /* the function's own size; 0 = unknown (then only entry[0..5) is judged by decoding) */
	size_t pad;	       /* bytes after the function (size 0: after addr) up to the next symbol or section end;
				  both 0: nothing is known, code_len is the limit */
	const uint8_t *before; /* bytes just before addr, before[before_len-1] is at addr-1; may be NULL.  Less
				  than about 64 rarely tells padding from code */
	size_t before_len;
	bool body_stays_live; /* threads may still run in the old body (--allow-active): then a branch
				  from inside the function into the replaced bytes is a refusal */
};

enum lp_entry_shape {
	LP_ENTRY_DIRECT, /* one jump at jump_at */
	LP_ENTRY_HOP,	 /* a short jump at jump_at to a hole at hole_at that holds the jump */
};

/* Where a jump can stand. */
struct lp_entry {
	enum lp_entry_shape shape;
	lp_addr jump_at; /* first byte to change: addr, or just past endbr64 / bti */
	size_t jump_len; /* bytes to change there */
	lp_addr hole_at; /* HOP only: padding that takes the real jump */
	size_t hole_len;
	/* The function's own code comes back to jump_at (a loop head, a rep string instruction): a thread whose pc is
	 * exactly there may be in mid-body, not only about to begin. */
	bool revisited;
};

/* One piece of bytes to write. */
struct lp_piece {
	lp_addr at;
	size_t len;
	uint8_t bytes[LP_JUMP_MAX];
};

/* How a relocation's value is formed.  S symbol, A addend, P place, B load base, (psABI names). */
enum lp_reloc_formula {
	LP_RELOC_NONE,
	LP_RELOC_ABS,	  /* S + A */
	LP_RELOC_PC,	  /* S + A - P */
	LP_RELOC_PLT,	  /* L + A - P : as PC, the symbol may be reached through a PLT entry or island */
	LP_RELOC_BASE,	  /* B + A */
	LP_RELOC_SYM,	  /* S : GLOB_DAT and JUMP_SLOT (AAELF64 says S + A there; every linker writes A = 0) */
	LP_RELOC_IFUNC,	  /* result of calling (B + A) */
	LP_RELOC_GOTPC,	  /* GOT slot of S, + A - P */
	LP_RELOC_PAGEPC,  /* Page(S + A) - Page(P)  (aarch64 ADRP) */
	LP_RELOC_GOTPAGE, /* Page(GOT slot of S) - Page(P) */
	LP_RELOC_GOTABS,  /* GOT slot of S (for :got_lo12:) */
	LP_RELOC_TPOFF,	  /* S + A relative to the thread pointer */
	LP_RELOC_DTPMOD,  /* TLS module number */
	LP_RELOC_DTPOFF,  /* offset within the TLS block */
	LP_RELOC_GOTTP,	  /* GOT slot that holds TPOFF of S, + A - P */
	LP_RELOC_TLSDESC, /* descriptor pair, two words; the first is stored, the loader owns both */
	LP_RELOC_SIZE,	  /* Z + A */
	LP_RELOC_COPY,	  /* never applicable to a running process */
	/* Below: only in relocatable files, of code that builds its own way to the GOT. */
	LP_RELOC_GOTREL,     /* S + A - GOT */
	LP_RELOC_GOTBASE,    /* GOT + A - P */
	LP_RELOC_PLTOFF,     /* L + A - GOT */
	LP_RELOC_GOTOFF,     /* GOT slot of S, + A - GOT */
	LP_RELOC_GOTPAGEOFF, /* GOT slot of S, - Page(GOT) */
	LP_RELOC_GOTTP_PAGE, /* as GOTTP: Page(slot) - Page(P), */
	LP_RELOC_GOTTP_ABS,  /* ... slot, */
	LP_RELOC_GOTTP_OFF,  /* ... slot - GOT */
	LP_RELOC_TLSGD,	     /* GOT pair (DTPMOD, DTPOFF) of S, + A - P */
	LP_RELOC_TLSGD_PAGE,
	LP_RELOC_TLSGD_ABS,
	LP_RELOC_TLSGD_OFF,
	LP_RELOC_TLSLD, /* GOT pair (DTPMOD, 0), + A - P */
	LP_RELOC_TLSLD_PAGE,
	LP_RELOC_TLSLD_ABS,
	LP_RELOC_TLSLD_OFF,
	LP_RELOC_TLSDESC_PC, /* descriptor pair of S in the GOT, + A - P */
	LP_RELOC_TLSDESC_PAGE,
	LP_RELOC_TLSDESC_ABS,
	LP_RELOC_TLSDESC_OFF,
};

/* How a value is stored.  `width` bytes are touched at the place. */
struct lp_reloc_howto {
	uint32_t type;
	const char *name; /* "R_X86_64_PC32" */
	uint8_t formula;  /* enum lp_reloc_formula */
	uint8_t width;	  /* bytes at the place; 0 = nothing is written */
	uint8_t field;	  /* private to the ISA: which encoder stores the value */
};

/* ---- what code does to registers ---- */

/* A set of the registers that the calling convention lets a callee change; what the bits stand for is the ISA's own. */
typedef uint64_t lp_regs;

/* What a call may take from the registers, and what it certainly destroys in them. */
struct lp_callee {
	lp_regs reads;
	lp_regs if_told; /* reads only when its caller says that there is something: a variadic function's vectors */
	lp_regs kills;
};

/* The code that a question is about.  Nothing read through it is trusted. */
struct lp_code {
	/* The bytes at `at`, *len of them; NULL when they are not known. */
	const uint8_t *(*bytes)(void *arg, lp_addr at, size_t *len);
	/* What the function at `entry` does, for live() to look over a call; may ask live() and effects() itself.  A call
	 * through a pointer at a fixed place has `through` instead, one through anything else neither (both 0). */
	struct lp_callee (*callee)(void *arg, lp_addr entry, lp_addr through);
	/* The function, or separate part of one, around `at`; false when that is not known.  A computed jump leads to
	 * some instruction in it, and what lies behind it is not run into. */
	bool (*function)(void *arg, lp_addr at, struct lp_range *out);
	void *arg;
};

/* What a function does itself; what the functions in `calls` do comes on top. */
struct lp_effects {
	lp_regs writes;	  /* in some instruction that was found, ... */
	lp_regs soils;	  /* ... or a part of it that no compiler counts as the register (vzeroupper) */
	lp_regs restored; /* of `writes`: put on the stack and taken from there; the old value may be back at the end */
	LP_VEC(lp_addr) calls; /* entries of the functions that it calls directly, each once; lp_effects_free() */
	bool leaves;	       /* it calls or jumps where only the convention is known: through memory or a register */
	bool open;	       /* not all of its code was found, or it may leave by a computed jump */
	bool stack_args;       /* it uses arguments on the stack, or the code that was found does not exclude it */
	unsigned vector_bytes; /* the widest vector register it names: 0, 16, 32, 64 */
};

/* What becomes of register values from some place on. */
struct lp_liveness {
	lp_regs read;	       /* may be read before it is written */
	lp_regs if_told;       /* ... read from a function's entry on, only as in lp_callee */
	lp_regs escapes;       /* may arrive unwritten at a return */
	unsigned vector_bytes; /* as above, of the code that was walked */
};

/* A direct call or jump, or bytes that look like one. */
struct lp_branch {
	lp_addr at, end, target; /* at: of the opcode, prefixes may come before it */
	bool is_call;
};

#define LP_PRESERVE_MAX 1024 /* bytes of the longest preserve() */

struct lp_isa_regs {
	lp_regs all;
	lp_regs arguments; /* those that can carry an argument of a function */
	lp_regs results;   /* ... its result */
	const char *(*name)(unsigned bit);

	/* Follows the code from `entry` on, through jumps wherever they lead, but not into calls. */
	void (*effects)(const struct lp_code *code, lp_addr entry, struct lp_effects *out);

	/* The fate of the registers in `among` from `from` on, over every path.  What is not known counts as read. */
	void (*live)(const struct lp_code *code, lp_addr from, lp_regs among, struct lp_liveness *out);

	/* The registers that may hold a value at `place` that the function at `entry` or its caller put there; the rest
	 * is garbage that calls left.  All, when not every way there can be seen.  Landing pads of exceptions are not. */
	lp_regs (*defined)(const struct lp_code *code, lp_addr entry, lp_addr place);

	/* Code at `at` that calls `dest` and puts back `keep` afterwards, vector registers to `vector_bytes`; returns
	 * its length (<= LP_PRESERVE_MAX; the last 8 bytes are data), 0 when a register in `keep` cannot be saved.
	 * `dest` must not take arguments on the stack: they are farther up than it thinks. */
	size_t (*preserve)(uint8_t *out, lp_addr at, lp_addr dest, lp_regs keep, unsigned vector_bytes);
};

void lp_effects_free(struct lp_effects *e);

/* ---- code in relocatable files ---- */

/* One instruction, reduced to what tells whether two compiled functions are the same and what they refer to. */
struct lp_insn {
	uint8_t len;
	bool is_padding;    /* has no effect and a form that assemblers fill gaps with */
	bool falls_through; /* execution may go on behind it */
	bool is_call;	    /* direct or not */
	uint8_t pc_at; /* a relocation of the field at offset f is relative to f; the instruction counts from here: what it
			       means is S + A + (pc_at - f) */
	/* A distance that the instruction holds: of a direct branch, or of an address relative to the pc. */
	bool has_target;
	bool target_is_code; /* it goes there */
	lp_addr target;
	uint8_t target_at;	/* the field with the distance, and ... */
	uint32_t distance_type; /* ... the relocation that would store it; 0 = too narrow to lead out of the function */
	/* It loads a number into a register, or pushes it, and that is (or may be) an argument of a call. */
	bool loads_argument;
	uint8_t argument; /* 0 = first integer argument; 6 and more: pushed */
	uint8_t imm_at, imm_len;
	int64_t imm;
};

/* ---- moving instructions to another place ---- */

#define LP_MOVE_MAX 32	  /* instructions that can be moved at once */
#define LP_MOVED_MAX 1024 /* bytes of what they become, the jump back included */

struct lp_move_request {
	lp_addr from;	     /* of the first instruction */
	const uint8_t *code; /* bytes at `from` */
	size_t code_len;     /* how many may be looked at */
	size_t need;	     /* whole instructions are taken until at least this many bytes have left */
	lp_addr to;	     /* where they are to stand */
	size_t room;	     /* bytes there */
	/* The function around `from`, as far as its bytes are known: looked through for branches to an instruction after
	 * the first of those that leave.  size 0: not known, and not looked through. */
	lp_addr function;
	const uint8_t *function_code;
	size_t function_size;
	/* The page of `from` is a BTI page: what comes back into it must be a kind of branch that may.  x86-64: threads
	 * have shadow stacks: a call must stay one, and returns to the copy. */
	bool guarded;
};

struct lp_moved {
	size_t taken; /* bytes that left */
	size_t len; /* bytes that stand at `to`: the instructions, a jump to from + taken unless nothing gets there (nor
		       from a call: the callee returns to where it always did), literals */
	uint8_t bytes[LP_MOVED_MAX];
	/* Offsets of the moved instructions, in `from` and in `to`; the last pair is where execution goes on (taken, and
	 * the jump back).  For threads that stand on one of them. */
	struct {
		uint16_t from, to;
	} map[LP_MOVE_MAX + 1];
	size_t nr_map;
};

/* What the names in assembler text stand for; `names` itself may be NULL, then there are none. */
struct lp_asm_names {
	/* The address that `name` (len bytes, no NUL) stands for; false: unknown. */
	bool (*lookup)(void *arg, const char *name, size_t len, lp_addr *out);
	void *arg;
};

struct lp_isa {
	const char *name; /* "x86_64", "aarch64" */
	uint16_t elf_machine;
	uint8_t insn_align; /* 1 or 4 */
	uint8_t jump_len;   /* bytes of a direct jump */
	uint64_t
		code_bits; /* of a stored code pointer, those that are address: the others may carry a signature (PAC) */
	uint64_t reach;	   /* |distance| a direct jump spans, counted from its own address: 2 GiB or 128 MiB,
			       already reduced by a margin so that `distance < reach` always encodes */

	int (*entry)(const struct lp_entry_request *req, struct lp_entry *out, struct lp_err *err);
	bool (*reaches)(const struct lp_entry *e, lp_addr dest);
	/* The bytes that make *e jump to `aim` (which it must reach); returns how many pieces, 1 or 2.
	 * With two pieces the hole comes first: written in order, each prefix is a sound program.
	 * 0 when aim is out of reach. */
	int (*entry_bytes)(const struct lp_entry *e, lp_addr aim, struct lp_piece out[2]);

	/* A jump from `at` to anywhere, position fixed at `at`; returns its length (<= LP_ISLAND_MAX). */
	size_t (*island)(uint8_t *out, lp_addr at, lp_addr dest);

	/* Code at `at` (at most LP_IFUNC_STUB_MAX bytes, returns length) that stands in for an IFUNC: jumps
	 * through the 8-byte slot at `slot`.  *initial receives the value the slot must hold at first: the
	 * address of a slow path that calls `resolver` once (argument and vector registers preserved),
	 * stores its result in the slot and jumps there.  slot must be 8-byte aligned and within +-2 GiB (x86-64) or
	 * +-4 GiB; else 0 is returned.  Resolvers that look at their arguments (aarch64: hwcap) get none. */
	size_t (*ifunc_stub)(uint8_t *out, lp_addr at, lp_addr slot, lp_addr resolver, lp_addr *initial);

	/*
	 * Makes an instruction that loads a variable pc-relatively take it from anywhere.  code[0, len) stands at `at`
	 * and begins where a function does; `field` is the offset of the instruction's displacement, and `offset` that
	 * of what is loaded from the address in the 8-byte `slot`.  The instruction becomes a jump to `stub`, code at
	 * stub_at (at most LP_FAR_LOAD_MAX bytes, returns length), which comes back behind it.  0, and code as it was,
	 * when it is no such load, or stub or slot are out of reach themselves.  NULL: this ISA has no need of it.
	 */
	size_t (*far_load)(uint8_t *code, size_t len, lp_addr at, size_t field, int32_t offset, lp_addr slot,
			   uint8_t *stub, lp_addr stub_at);

	const struct lp_reloc_howto *(*howto)(uint32_t type); /* NULL = unknown type */
	/* Store `value` (formula already applied, P subtracted where the formula says so) at `place`
	 * (howto->width bytes readable and writable).  -LP_ERANGE when it does not fit, -LP_EENCODING when
	 * the instruction there is not the kind the relocation is for. */
	int (*reloc_store)(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err);

	/* One instruction as text; returns its length, 0 when it does not decode.  NULL in a build that only hooks. */
	size_t (*disasm)(const uint8_t *code, size_t len, lp_addr at, char *out, size_t out_size);
	/* Length of the instruction at code, 0 when it does not decode. */
	size_t (*insn_length)(const uint8_t *code, size_t len, lp_addr at);

	/*
	 * Instructions that do at `to` what they do at `from`, registers, flags and memory alike, and go on behind them.
	 * May change what the convention leaves to code between functions (x16, x17) where nothing is in it.
	 * Refuses: -LP_EENCODING (no instruction, or one that cannot be moved), -LP_EBRANCHED (a branch into the middle),
	 * -LP_EREACH (what it refers to is too far from `to`), -LP_ETOOSHORT (the function ends before `need`),
	 * -LP_ERANGE (more than `room`, or than LP_MOVE_MAX instructions).  Pure.
	 */
	int (*relocate)(const struct lp_move_request *req, struct lp_moved *out, struct lp_err *err);

	/* The len bytes begin with an instruction that the architecture defines; what a CPU lacks counts as defined. */
	bool (*allocated)(const uint8_t *code, size_t len);

	/*
	 * Instructions from text to bytes at `at`: separated by ';' or newline, in the spelling of disasm() and its common
	 * variants, `label:` in front, comments behind `//`.  A name where an address belongs is a label of the text or
	 * what lookup() says.  *len receives the bytes, at most `cap`.  Refuses with the line and column of the culprit:
	 * -LP_EPARSE, -LP_ERANGE (a number that does not fit, or more than `cap` bytes), -LP_ENOSYM.  NULL: there is no
	 * assembler for this ISA.
	 */
	int (*assemble)(const char *text, lp_addr at, const struct lp_asm_names *names, uint8_t *out, size_t cap,
			size_t *len, struct lp_err *err);

	/* `len` bytes (a multiple of insn_align) of instructions that do nothing, as few as there can be. */
	void (*nops)(uint8_t *out, size_t len);
	/* The len bytes begin with an instruction that does nothing, whatever the CPU. */
	bool (*is_nop)(const uint8_t *code, size_t len);
	/*
	 * Where a function ends that begins at code[0], by following its branches, and that means the same anywhere else:
	 * code and the literals that it loads.  -LP_EREACH when it refers to anything beyond `len` or before its
	 * beginning, -LP_EENCODING when it comes to what is no instruction.  NULL: nobody can tell.
	 */
	int (*extent)(const uint8_t *code, size_t len, lp_addr at, size_t *out, struct lp_err *err);

	/* Bytes to struct lp_insn; false when they are no instruction. */
	bool (*insn)(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out);
	/* The simplest relocation that means the same as `type` on the field at `field` of the section's bytes, which may
	 * be rewritten: direct forms for what only a linker needs to know about a call; with `near`, when the symbol will
	 * lie within reach of a pc-relative address, an address instead of a load from a GOT where the instruction can. */
	uint32_t (*relax)(uint32_t type, uint8_t *bytes, size_t field, int64_t addend, bool near);
	uint32_t reloc_abs64; /* the relocation type that stores S + A in 8 bytes */
	/* Where a linker puts, from the thread pointer, what lies `value` bytes into the thread-local block of a program whose
	 * PT_TLS has these fields.  NULL: only the loader's word for it is taken. */
	int64_t (*tp_offset)(uint64_t vaddr, uint64_t memsz, uint64_t align, uint64_t value);

	/* Every place in code (which stands at `at`) that could be a direct call or jump: instructions are not told from
	 * bytes inside of others, so that a megabyte takes a millisecond.  Those that reach less than 1 KiB only with
	 * `with_short`.  NULL: instructions are aligned, and reading them all is as quick. */
	void (*branches)(const uint8_t *code, size_t len, lp_addr at, bool with_short,
			 void (*found)(void *arg, const struct lp_branch *b), void *arg);

	/* What code does to registers; NULL = nobody can tell on this ISA, and every function may change all that the
	 * convention allows. */
	const struct lp_isa_regs *regs;
};

extern const struct lp_isa lp_isa_x64;
extern const struct lp_isa lp_isa_a64;

/* By ELF e_machine (EM_X86_64, EM_AARCH64); NULL when unsupported. */
const struct lp_isa *lp_isa_of(uint16_t elf_machine);
/* The one of programs that run in an emulator's memory. */
const struct lp_isa *lp_isa_of_guests(void);

#endif
