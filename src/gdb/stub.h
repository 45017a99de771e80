/* What the files of the stub share. */
#ifndef LP_GDB_STUB_H
#define LP_GDB_STUB_H

#include <pthread.h>

#include "base/vec.h"
#include "emu/emu.h"
#include "gdb/packet.h"

/* Why everybody stands still. */
enum lp_gdb_why { LP_GDB_STARTED, LP_GDB_STEPPED, LP_GDB_BREAK, LP_GDB_WATCH, LP_GDB_SIGNAL, LP_GDB_EXITED };

struct lp_gdb_stop {
	enum lp_gdb_why why;
	int tid;
	int signal;	     /* as Linux numbers it */
	const char *watch;   /* "watch", "rwatch", "awatch" */
	uint64_t watch_addr; /* where the watchpoint is */
	int status;	     /* EXITED: negative is a signal */
};

/* What a thread does until the next stop. */
enum lp_gdb_action { LP_GDB_CONTINUE, LP_GDB_STEP, LP_GDB_HOLD };

struct lp_gdb_thread {
	int tid;
	enum lp_gdb_action action;
	bool primed;		/* the instruction that it steps over is about to be executed */
	struct lp_range within; /* goes on stepping as long as pc is in there; empty: one instruction */
	int deliver;		/* the signal that it was stopped by becomes this one; 0 = none */
};

struct lp_gdb_watch {
	struct lp_range range;
	bool reads, writes;
};

struct lp_gdb {
	struct lp_emu *emu;
	char *path; /* of a socket that is ours, to be removed; NULL = a port */
	int listener;
	int wake[2]; /* a pipe: an event is there */
	struct lp_gdb_wire wire;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t resumed;
	bool is_connected;
	bool has_stop; /* a thread waits with it until it is told to go on */
	struct lp_gdb_stop stop;
	LP_VEC(struct lp_gdb_thread) threads; /* those that have something to do beside running */
	LP_VEC(struct lp_gdb_watch) watches;
	LP_VEC(uint64_t) breakpoints;

	/* the stub's thread's own */
	bool stopped;		     /* the world stands still for us */
	struct lp_gdb_stop reported; /* last */
	int current;		     /* Hg */
	bool is_over;
	LP_VEC(int) files; /* vFile: descriptors, -1 = free */
};

/* ---- stops.c: in guest threads ---- */
void lp_gdb_watch_events(struct lp_gdb *g);
/* ---- stops.c: in the stub's thread, while the world stands still ---- */
void lp_gdb_set_breakpoint(struct lp_gdb *g, uint64_t pc, bool on);
void lp_gdb_set_watch(struct lp_gdb *g, const struct lp_gdb_watch *w, bool on);
/* What thread tid is to do; all others by `rest`. */
void lp_gdb_act(struct lp_gdb *g, const struct lp_gdb_thread *acts, size_t nr, enum lp_gdb_action rest);
void lp_gdb_let_go(struct lp_gdb *g);
/* Nobody is there any more: no breakpoints, no watchpoints, everybody runs. */
void lp_gdb_disconnect(struct lp_gdb *g);

/* ---- files.c: "vFile:..." ---- */
void lp_gdb_file(struct lp_gdb *g, const char *request, size_t len, struct lp_buf *reply);
void lp_gdb_files_close(struct lp_gdb *g);

#endif
