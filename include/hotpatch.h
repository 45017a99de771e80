/*
 * hotpatch.h: let others change this process through a socket.
 *
 *     hotpatch_register_variable("age", HOTPATCH_INT, &age);
 *     hotpatch_register_function("add_func", (void *)add_func);
 *     if (hotpatch_start() < 0)
 *             fprintf(stderr, "%s\n", hotpatch_last_error());
 *
 *     $ hotpatch -p PID var set int age 20
 *     $ echo "func upgrade patch1 add_func" | nc -U /tmp/PID.socket
 *
 * hotpatch.hpp is the face for C++.  docs/agent.md describes the commands.
 *
 * Return values.  0, or a negative code whose sentence is hotpatch_last_error()
 * of the calling thread.
 *
 * Threads.  Every function may be called from any thread at any time, before
 * hotpatch_start() too.  Names are copied; what a pointer points to must stay
 * where it is until it is unregistered.  Variables are read and written by the
 * agent's thread, as a word where the type is a word.  They wait for the command
 * that is on; -EBUSY when it has not ended in 5 s: in the constructor of a library
 * it may be waiting for the caller, who has the loader's lock.
 */
#ifndef HOTPATCH_H
#define HOTPATCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Opens the sockets and starts the agent's thread.  Nothing happens when it
 * runs already.  Not in programs that run with other rights than their user's
 * (setuid): -EPERM.  A socket that cannot be made is not an error as long as
 * the other one can.
 */
int hotpatch_start(void);
/* Rolls nothing back; functions stay as they are.  Returns when the thread has ended. */
void hotpatch_stop(void);
/* The same, done by a thread of its own: for who cannot wait for it, as the agent's own thread. */
int hotpatch_dismiss(void);
/*
 * Removes the names of the sockets and does nothing else.  exit() does it by
 * itself; this is for who ends with _exit(), also in a signal handler.  Nothing
 * happens in a child of the process that started the agent.
 */
void hotpatch_leave(void);
/* Of the primary socket and of /tmp/PID.socket; "" when there is none.  Valid until hotpatch_stop(). */
const char *hotpatch_socket(void);
const char *hotpatch_legacy_socket(void);

/* What clients may do: `read` alone, `write` too (flags, variables), `code` too (libraries, functions; the default). */
enum hotpatch_level { HOTPATCH_READ, HOTPATCH_WRITE, HOTPATCH_CODE };
int hotpatch_allow(enum hotpatch_level most);

/* ---- variables ---- */

enum hotpatch_type {
	HOTPATCH_BOOL = 1,
	HOTPATCH_CHAR,
	HOTPATCH_INT8,
	HOTPATCH_UINT8,
	HOTPATCH_INT16,
	HOTPATCH_UINT16,
	HOTPATCH_INT32,
	HOTPATCH_UINT32,
	HOTPATCH_INT64,
	HOTPATCH_UINT64,
	HOTPATCH_FLOAT,
	HOTPATCH_DOUBLE,
	HOTPATCH_CSTRING, /* const char *: set to a copy that is never freed */
	HOTPATCH_STRING,  /* through accessors: the program's own string type */
	HOTPATCH_UNTYPED, /* a bare pointer: the request's type is believed */
};
#define HOTPATCH_INT HOTPATCH_INT32
#define HOTPATCH_LONG HOTPATCH_INT64

int hotpatch_register_variable(const char *name, enum hotpatch_type type, void *variable);
/* A registered array of characters of that size, kept terminated. */
int hotpatch_register_chars(const char *name, char *array, size_t size);

/*
 * A variable behind two functions.  get: writes at most size bytes of the value
 * and returns how long it is in all.  set: 0, or negative when it refuses.
 * They run on the agent's thread or, for HOTPATCH_STRING, where
 * hotpatch_quiesce() is called.
 */
struct hotpatch_accessor {
	enum hotpatch_type type;
	size_t (*get)(const void *variable, char *out, size_t size);
	int (*set)(void *variable, const char *value, size_t len);
};
int hotpatch_register_accessor(const char *name, const struct hotpatch_accessor *accessor, void *variable);
int hotpatch_unregister_variable(const char *name);

/* ---- functions ---- */

int hotpatch_register_function(const char *name, void *function);
int hotpatch_unregister_function(const char *name); /* -EBUSY while it is upgraded */

/* ---- commands ---- */

/*
 * Runs a command as if a client with all rights had sent it ("func upgrade
 * patch1 add_func"), with or without the sockets.  `reply`, when not NULL, gets
 * each line of data, without its end.  0, or negative as for a client.
 */
int hotpatch_run(const char *command, void (*reply)(const char *line, void *arg), void *arg);

/* ---- quiescence ---- */

/*
 * "Here nobody reads strings that clients may change": call it where the
 * program can bear that they change, in the thread that reads them or with the
 * others held.  Does what waits for it and returns; costs one load when nothing
 * does.
 */
void hotpatch_quiesce(void);

/* Sentence of the calling thread's last failure; never NULL. */
const char *hotpatch_last_error(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
