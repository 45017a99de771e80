/*
 * The agent: what the commands of the control socket do in this process.
 *
 * One in a process.  Everything it knows is behind one lock, which is
 * recursive: a program's accessor may register another variable.  The lock is
 * taken by the commands (on the control thread, or wherever hotpatch_run() is
 * called) and by the functions of hotpatch.h.
 *
 *     value.h       types, text and bytes
 *     memory.c      bytes that may not be there, or not any more
 *     symbols.c     functions and variables of the program by their symbols
 *     variables.c   var ...       libraries.c   lib ...
 *     functions.c   func ...      flags.c       gflags ...
 *     agent.c       start, stop, fork, sockets
 */
#ifndef LP_AGENT_AGENT_H
#define LP_AGENT_AGENT_H

#include "base/buf.h"
#include "base/vec.h"
#include "control/control.h"
#include <hotpatch.h>
#include "self/self.h"

void lp_agent_lock(void);
void lp_agent_unlock(void);
/* For the functions of hotpatch.h, which take the lock by this: -EBUSY when a command has it for too
 * long (it may wait for the loader's, which the caller has if it is a constructor), or had it for too long for a fork. */
int lp_agent_enter(struct lp_err *err);

/* Remembers the failure for hotpatch_last_error(); returns its code, or 0. */
int lp_agent_result(int rc, const struct lp_err *err);

/* The program has said at least once that it is quiescent, so it will again. */
bool lp_agent_quiesces(void);

/* With one blank between them; the caller frees it. */
char *lp_words_join(char **words, int nr);

/* The order in which the changes of one transaction are committed. */
enum lp_rank { LP_RANK_FLAGS, LP_RANK_FUNCTIONS, LP_RANK_VARIABLES, LP_RANK_UNLOAD };

/* ---- memory.c ---- */

/*
 * -LP_EUNMAPPED, -LP_EREADONLY; also when the memory goes away meanwhile, and then a part of it may have been written.  Aligned
 * words of 8 bytes and less are read and written each in one piece.
 */
int lp_memory_check(lp_addr at, size_t size, bool write, struct lp_err *err);
int lp_memory_read(lp_addr at, void *out, size_t size, struct lp_err *err);
/* Without the bits that the mask leaves out; NULL: all of it. */
int lp_memory_write(lp_addr at, const uint8_t *bytes, const uint8_t *mask, size_t size, struct lp_err *err);
/* Up to its NUL, `max` bytes at most. */
int lp_memory_text(lp_addr at, size_t max, struct lp_buf *out, struct lp_err *err);

/* ---- symbols.c ---- */

struct lp_spot {
	lp_addr at;
	uint64_t size; /* 0: not said */
	bool is_function;
	char module[256]; /* base name of the file; "" when the loader alone was asked */
};

/*
 * By what the loader knows first, then by the symbol tables of the files that
 * are loaded (static functions and variables too), but for those that came
 * through `lib load`: they hold what others are replaced by.  "libfoo.so:name"
 * asks that file alone, whatever it is.  -LP_ENOSYM, -LP_EAMBIGUOUS naming the candidates.
 */
int lp_symbol_find(const char *name, struct lp_spot *out, struct lp_err *err);

/* ---- libraries.c ---- */

/* The open transaction that a call belongs to: tells one from another, nothing else. */
typedef const struct lp_txn_queue *lp_open;

struct lp_library {
	unsigned holders; /* the list, and changes of transactions */
	char *name, *path;
	void *handle;  /* NULL: unloaded, and not in the list any more */
	lp_open owner; /* has loaded it, or will unload it; NULL: nobody */
	bool leaving;  /* an unload of it is prepared */
};

/* For that transaction: -LP_ENOLIBRARY; -EBUSY when it is another one's. */
int lp_library_find(lp_open txn, const char *name, struct lp_library **out, struct lp_err *err);
bool lp_library_is_at(lp_addr base); /* where the loader has put it */
/* Here and of functions, in the child of a fork: what transactions had open is the parent's; what they have loaded stays. */
void lp_libraries_forked(void);
/* An address inside of the library itself, not of one that it needs.  -LP_ENOSYM. */
int lp_library_symbol(const struct lp_library *l, const char *name, lp_addr *out, struct lp_err *err);
int lp_libraries_unload(void *const *changes, size_t nr, struct lp_err *err); /* all of a transaction */

/* ---- variables.c ---- */

void lp_variables_forget(struct lp_range memory);

/* ---- functions.c ---- */

int lp_functions_switch(void *const *changes, size_t nr, struct lp_err *err); /* all of a transaction */
unsigned lp_functions_upgraded(void);
void lp_functions_forked(void);
/* A function in there whose calls go elsewhere, or for whose entry another client has plans; NULL. */
const char *lp_function_changed_in(struct lp_range memory, lp_open txn);
/* Here and of variables: what is registered in memory that is not there any more. */
void lp_functions_forget(struct lp_range memory);
/*
 * The functions that go to the library, or would when upgrades are taken back: once `txn` is committed, and whether or not
 * others' open ones are.  Their names, with commas, are appended when `names` is not NULL.
 */
unsigned lp_library_users(const struct lp_library *l, lp_open txn, struct lp_buf *names);
/* Some function goes there now, or would. */
bool lp_library_is_live(const struct lp_library *l);

/* ---- the commands: agent/command.def ---- */

#define COMMAND(words, synopsis, level, run, summary) int run(struct lp_call *c, struct lp_err *err);
#include "agent/command.def"
#undef COMMAND

#endif
