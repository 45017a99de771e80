/*
 * The translator: guest code becomes host code, a unit at a time.
 *
 *     struct lp_jit_options options = {0};
 *     rc = lp_jit_attach(emu, &options, &err);       // before the guest's first instruction
 *
 * From then on lp_cpu_run() comes here first, and to the interpreter with what is left alone (docs/jit.md).  One per
 * process, as the emulator is; never detached.  Thread-safe from then on.
 */
#ifndef LP_JIT_JIT_H
#define LP_JIT_JIT_H

#include <stddef.h>

#include "base/err.h"
#include "emu/emu.h"

struct lp_buf;
struct lp_unit;

/* What instruction of the guest a part of the seldom executed code belongs to. */
struct lp_jit_cold_part {
	uint32_t offset; /* in the code */
	uint32_t insn;
};

/* A unit that nobody has executed yet. */
struct lp_jit_made {
	uint64_t pc; /* the guest's, of its first instruction */
	unsigned nr_insns;
	const uint32_t *words;	 /* the guest's instructions */
	const uint32_t *offsets; /* where in the code each of them begins */
	const uint8_t *code;	 /* the host's, where it runs */
	uint32_t size, hot_size; /* bytes; what lies behind the hot ones is executed seldom */
	const struct lp_jit_cold_part *cold;
	size_t nr_cold;
	const struct lp_unit *unit; /* the translator's own */
};

enum lp_jit_tier {
	LP_JIT_TIER1, /* straight lines */
	LP_JIT_TIER2, /* regions wherever there is a loop, at once */
	LP_JIT_BOTH,  /* straight lines; regions where loops are gone through often */
};

struct lp_jit_options {
	/* May be NULL.  Called with the translator's lock in the thread that has come to the unit; everything is good while it
	 * runs. */
	void (*made)(const struct lp_jit_made *made, void *arg);
	void *made_arg;
	unsigned without;      /* host features that are not to be used: bits of enum lp_host_feature */
	bool checks;	       /* the interpreter executes everything as well, and the results are compared */
	bool waits;	       /* what is come to for the first time is interpreted; else translated */
	enum lp_jit_tier tier; /* which code is made */
	int32_t hot;	       /* LP_JIT_BOTH: how often is often; 0: 5000 */
	unsigned max_slots;    /* 0: as many as there can be; tests have less */
	unsigned max_segments; /* the same, of memory for code */
	uint64_t max_dead;     /* bytes of code that nobody enters any more, and what belongs to it; 0: 16 MB */
	uint64_t cache_bytes;  /* of translations that are kept in the user's folder of caches; 0: none are */
};

enum {
#define HOST(id, word, level) LP_HOST_NR_##id,
#include "jit/host.def"
#undef HOST
	LP_HOST_NR
};

/* What the host's CPU has beyond x86-64-v2, which is needed. */
enum lp_host_feature {
#define HOST(id, word, level) LP_HOST_##id = 1 << LP_HOST_NR_##id,
#include "jit/host.def"
#undef HOST
};

/* --host-cpu: LEVEL, and behind it ,-FEATURE and ,+FEATURE (host.def).  -LP_EUSAGE: that is no such thing; -ENOTSUP: the
 * host has not what is named. */
int lp_jit_host_parse(const char *text, unsigned *without, struct lp_err *err);
/* Their words, with spaces between them; "none". */
void lp_jit_host_words(unsigned features, char *out, size_t size);

/* What --stats prints of it. */
struct lp_jit_stats {
	unsigned host;		       /* enum lp_host_feature: what is made use of */
	uint64_t units, insns, bytes;  /* translated: bytes of host code */
	uint64_t regions;	       /* of the units: loops with registers of their own */
	uint64_t invalidated, flushed; /* units, and how often all of them went */
	uint64_t left_to_c;	       /* of the instructions: left to functions of the interpreter */
	uint64_t compared;	       /* runs of units that were as the interpreter's, with `checks` */
	uint64_t loaded, loaded_insns; /* units that are not among those: they come from an earlier run */
	uint64_t stored;	       /* units that were kept for a later one */
	uint64_t ns;		       /* spent in translating; only with the emulator's option `stats` */
};

/* 0, or -errno: -ENOTSUP when the host's CPU has not what is needed, -ENOMEM or the like when memory to be executed is
 * refused (RLIMIT_AS, a security module).  No harm: the interpreter goes on alone. */
int lp_jit_attach(struct lp_emu *emu, const struct lp_jit_options *options, struct lp_err *err);
/* Removes what is kept of translations (cache.h); 0 also when there is nothing, or -errno. */
int lp_jit_cache_clear(struct lp_err *err);

/* Of an emulator that it is attached to. */
void lp_jit_stats(struct lp_emu *emu, struct lp_jit_stats *out);

/* All units that there are, to a function as `made`, in the order of their addresses; and before them, with no instructions,
 * the code that all of them share. */
void lp_jit_each_made(struct lp_emu *emu, void (*made)(const struct lp_jit_made *made, void *arg), void *arg);

/* From `made`: lines of text with the unit's instructions and bytes, and the names of what its code refers to, as
 * dump_module reads them. */
void lp_jit_describe(struct lp_emu *emu, const struct lp_jit_made *made, struct lp_buf *out);

#endif
