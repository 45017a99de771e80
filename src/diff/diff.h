/*
 * From two builds of a few objects to one live patch: the object differ.
 *
 *     struct lp_diff_input in = {.units = units, .nr_units = n, .original = rebuilt, .target = installed, .id = "CVE-1"};
 *     struct lp_diff *d;
 *     rc = lp_diff_make(&d, &in, err);             // < 0: the input is unusable, or refused (see below)
 *     if (!rc && lp_diff_empty(d)) ...              // nothing in this binary changed
 *     rc = lp_diff_emit(d, &elf, err);              // the relocatable object of docs/format-kpatch.md
 *     lp_kpatch_write(...elf...);                   // the caller wraps it into a .kpatch file
 *     lp_diff_free(d);                              // NULL is fine
 *
 * Objects in, object out: no files, no compiler, no process.  One call makes the patch of one binary (program or shared
 * library); a unit that is linked into three binaries is handed in three times, each time with that binary.
 *
 * What changed is found by comparison, never by reading the source diff: a function that inlined a changed one is
 * a changed function.  Everything unchanged is bound to the original binary.
 *
 * Refusals: lp_diff_make() collects every reason it finds.  With reasons it returns -LP_EDIFF, err holds the first sentences,
 * and *out is a diff that can be asked for lp_diff_refusals(), lp_diff_changes() and printed, but not emitted.  With any
 * other error *out is NULL.
 *
 * Ownership: ELF views, strings, placements and lists of names stay the caller's and must live as long as the lp_diff; the array
 * of units itself is copied.
 * An lp_elf is not shared between threads (elf/elf.h); two lp_diff_make() on different views may run at once.
 */
#ifndef LP_DIFF_H
#define LP_DIFF_H

#include "base/buf.h"
#include "base/err.h"
#include "elf/elf.h"

/* Where the linker put one section of an object: a row of its map. */
struct lp_placement {
	const char *section; /* the input section's name: ".text", ".bss", ".text._ZN1A1fEv" */
	unsigned occurrence; /* among the object's sections of that name, in the order of their headers; from 0 */
	uint64_t addr;	     /* link-time address in the original binary */
	uint64_t size;	     /* as the map says; 0 = unknown */
};

/*
 * One translation unit, compiled before and after the change, both with -ffunction-sections -fdata-sections where the
 * compiler knows them (objects that are not are cut at their symbols), with otherwise the recorded flags and the same paths.
 */
struct lp_diff_unit {
	const char *name;      /* for people: "src/networking.o" */
	struct lp_elf *before; /* NULL: a new unit */
	struct lp_elf *after;  /* NULL: the unit was removed */
	/* The object as it was linked into the original, compiled with the flags of the build; NULL = unknown: local symbols are
	 * then looked for by name and source file in the original's symbol table, and must be found exactly once. */
	struct lp_elf *linked;
	const struct lp_placement *placements; /* of `linked`; sections that the linker dropped are not in it */
	size_t nr_placements;
};

struct lp_diff_input {
	const struct lp_diff_unit *units;
	size_t nr_units;

	struct lp_elf *original;     /* the binary that the units were linked into by our rebuild: unstripped */
	struct lp_elf *target;	     /* the binary that is to be patched, maybe stripped; NULL = original */
	struct lp_elf *target_debug; /* its separate debug file, or NULL */

	/* Objects that are linked into the same binary but did not change (`linked` forms); optional.  They answer "does
	 * anybody else use this?" for constant data that changed; without them the answer is yes. */
	struct lp_elf *const *others;
	size_t nr_others;

	const char *id;		 /* the patch's id, any length; for .livepatch.meta */
	const char *object_name; /* "redis-server": basename of the binary; for .livepatch.meta */
	const char *compiler;	 /* "gcc (Debian 12.2.0-14) 12.2.0" or NULL; for .livepatch.meta */

	/* Refusals that the user has judged harmless: "CODE" or "CODE:SYMBOL", such as "layout:struct client" or
	 * "removed-data".  Codes that would corrupt in any case cannot be allowed (diff/refuse.def says which). */
	const char *const *allow; /* lp_diff_check_allow() tells of others */
	size_t nr_allow;

	/* Functions that take a line number and do nothing with it but tell people; added to those in diff/lines.def. */
	const char *const *line_functions;
	size_t nr_line_functions;
};

enum lp_diff_kind {
	LP_DIFF_FUNCTION_CHANGED,
	LP_DIFF_FUNCTION_NEW,
	LP_DIFF_FUNCTION_REMOVED, /* told, not emitted */
	LP_DIFF_DATA_NEW,
	LP_DIFF_CONST_CHANGED, /* read-only data that travels in its new form, with all who use it */
	LP_DIFF_DATA_REMOVED,
	LP_DIFF_HOOK,
};

/* One thing that the patch does, for the summary. */
struct lp_diff_change {
	enum lp_diff_kind kind;
	const char *name; /* symbol, as the object has it (C++: mangled) */
	const char *unit;
	uint64_t old_addr; /* link-time address in the target; 0 = new */
	uint64_t old_size, new_size;
	const char *why; /* "code differs at +0x31", "called by networkingInit, and new" */
};

/* One reason not to make a patch. */
struct lp_diff_refusal {
	const char *code;    /* "changed-initialiser": first column of diff/refuse.def */
	const char *culprit; /* symbol, section or type */
	const char *unit;
	const char *sentence; /* what is wrong, naming the culprit */
	const char *remedy;   /* what to do instead */
	bool allowable;	      /* lp_diff_input.allow may wave it through */
};

struct lp_diff;

/* -LP_EUSAGE for what lp_diff_input.allow does not know, or what nobody may allow; the error lists those that one may. */
int lp_diff_check_allow(const char *allow, struct lp_err *err);

int lp_diff_make(struct lp_diff **out, const struct lp_diff_input *in, struct lp_err *err);

/* True when nothing of this binary changed (and nothing was refused). */
bool lp_diff_empty(const struct lp_diff *d);
/* In the order of the units and of their symbols: the same input gives the same order. */
const struct lp_diff_change *lp_diff_changes(const struct lp_diff *d, size_t *nr);
const struct lp_diff_refusal *lp_diff_refusals(const struct lp_diff *d, size_t *nr);
const char *lp_diff_kind_name(enum lp_diff_kind kind); /* "function-changed" */

/* The ET_REL object, the same bytes for the same input.  Not for an empty or a refused diff (-LP_EDIFF). */
int lp_diff_emit(struct lp_diff *d, struct lp_buf *elf_out, struct lp_err *err);
/* {"changes": [...], "refusals": [...]}: one JSON object without a newline at the end. */
void lp_diff_json(const struct lp_diff *d, struct lp_buf *out);
void lp_diff_free(struct lp_diff *d);

#endif
