/*
 * The control socket: one line protocol for the agent and the runner
 * (docs/decisions/0012-the-agent.md describes the wire).
 *
 * The program's side:
 *
 *     static const struct lp_command commands[] = {...};            // from a .def file
 *     struct lp_control_options o = {.commands = commands, .nr_commands = N, .program = "hotpatch", .host = my_state};
 *     rc = lp_control_start(&o, &server, err);                      // a thread of its own serves from now on
 *     rc = lp_control_listen(server, path, err);                    // as many as you like
 *     ...
 *     lp_control_stop(server);                                      // joins the thread, removes the sockets that are ours
 *
 * A command:
 *
 *     static int var_get(struct lp_call *c, struct lp_err *err)
 *     {
 *             ...  c->argc, c->argv: the words behind the command's own
 *             lp_reply_row(c->reply, "%s", LP_STR("value", text));  // text line and JSON member in one
 *             return 0;                                             // or lp_fail(err, ...)
 *     }
 *
 * Threads.  Commands run on the server's thread, one at a time.  lp_control_*
 * may be called from any thread but that one.
 * Uses no library but libc: it is loaded into other people's programs.
 */
#ifndef LP_CONTROL_CONTROL_H
#define LP_CONTROL_CONTROL_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* ---- replies ---- */

/* One value, named for JSON. */
struct lp_field {
	const char *name;
	enum { LP_FIELD_STRING, LP_FIELD_INT, LP_FIELD_UINT, LP_FIELD_REAL, LP_FIELD_BOOL, LP_FIELD_ADDR } type;
	union {
		const char *s;
		int64_t i;
		uint64_t u;
		double r;
	};
};
#define LP_STR(name_, v) ((struct lp_field){.name = (name_), .type = LP_FIELD_STRING, .s = (v)})
#define LP_INT(name_, v) ((struct lp_field){.name = (name_), .type = LP_FIELD_INT, .i = (v)})
#define LP_UINT(name_, v) ((struct lp_field){.name = (name_), .type = LP_FIELD_UINT, .u = (v)})
#define LP_REAL(name_, v) ((struct lp_field){.name = (name_), .type = LP_FIELD_REAL, .r = (v)})
#define LP_BOOLEAN(name_, v) ((struct lp_field){.name = (name_), .type = LP_FIELD_BOOL, .u = (v)})
#define LP_ADDRESS(name_, v) \
	((struct lp_field){.name = (name_), .type = LP_FIELD_ADDR, .u = (v)}) /* hexadecimal, a string in JSON */

struct lp_reply; /* private to control/ */

/*
 * One row of data.  Text: `format` with each "%" replaced by the next field's
 * value ("Flag name: %, value: %"); control characters in strings are escaped
 * as in C, so that a value can never look like another line.  JSON: one object
 * of the fields.
 */
void lp_reply_fields(struct lp_reply *r, const char *format, const struct lp_field *fields, size_t nr);
#define lp_reply_row(r, format, ...)                                           \
	lp_reply_fields((r), (format), (const struct lp_field[]){__VA_ARGS__}, \
			sizeof((const struct lp_field[]){__VA_ARGS__}) / sizeof(struct lp_field))

/* ---- commands ---- */

enum lp_level { LP_LEVEL_READ, LP_LEVEL_WRITE, LP_LEVEL_CODE };

struct lp_call {
	void *host; /* of the options */
	int argc;   /* words behind the command's own */
	char **argv;
	struct lp_reply *reply;
	struct lp_txn_queue *changes; /* where a command of two phases puts what it has prepared */
};

struct lp_command {
	const char *words; /* "gflags get" */
	const char
		*synopsis; /* "NAME": capitals are operands, [X] may be left out, X... repeats: argc is checked by it */
	enum lp_level level;
	int (*run)(struct lp_call *c, struct lp_err *err);
	const char *summary;
};

/*
 * What a command prepared.  commit: does it, may still refuse; undo: after a
 * commit of it; release: always, at the end, whatever happened.  `rank` orders
 * the commits of one transaction.  Functions may be NULL.
 */
struct lp_change {
	int rank;
	int (*commit)(void *change, struct lp_err *err);
	void (*undo)(void *change);
	void (*release)(void *change);
	void *change;
	bool quiescent; /* the whole transaction is committed where the program says that it can bear it */
	bool together;	/* with all of its rank that say so, by commit_together of the options, and not by `commit` */
};
/* Takes over the change; its rows are added to the reply when it is prepared. */
void lp_change_add(struct lp_call *c, const struct lp_change *change);

/* ---- the server ---- */

struct lp_control_limits {
	size_t line_max;     /* bytes; 0 = 64 KiB */
	unsigned clients;    /* 0 = 1024 */
	size_t backlog_max;  /* bytes of replies that a client has not read; 0 = 1 MiB */
	unsigned idle_ms;    /* a text connection without `prompt`, after a reply; 0 = 300 */
	unsigned partial_ms; /* silence that completes a line without its end; 0 = 50 */
	unsigned stuck_ms;   /* neither reads, nor finishes a line, nor asks anything at first; 0 = 60,000 */
	unsigned quiesce_ms; /* a transaction that waits for lp_control_quiesce(); 0 = 5000 */
};

struct lp_control_options {
	const struct lp_command
		*commands; /* help, version, stats, begin, commit, abort, prompt are there without saying */
	size_t nr_commands;
	const char *program, *version;
	void *host;
	enum lp_level allow; /* commands above it are refused: LP_EPERM */
	struct lp_control_limits limits;
	/* Rows that `stats` adds to its own; may be NULL. */
	void (*stats)(struct lp_call *c);
	/* Ranks of changes whose commits must be handed over at once: called instead of their commit with all of the rank,
	 * all or nothing.  NULL = none. */
	int (*commit_together)(int rank, void *const *changes, size_t nr, struct lp_err *err);
};

struct lp_control;

/*
 * Commits the transactions that wait for quiescence; the host calls it in the
 * thread that reaches such a point.  They are refused with LP_ETIMEOUT after
 * 5 s of waiting; other clients are served meanwhile.  One load when none waits.
 */
void lp_control_quiesce(struct lp_control *s);

int lp_control_start(const struct lp_control_options *o, struct lp_control **out, struct lp_err *err);
/*
 * A socket of that name, 0600 from the start, in place of a dead one of ours.
 * -EADDRINUSE when somebody lives there or the node is not ours.
 */
int lp_control_listen(struct lp_control *s, const char *path, struct lp_err *err);
void lp_control_stop(struct lp_control *s);
/* In the child of a fork: closes what was inherited and frees it, touches no node and no thread. */
void lp_control_forget(struct lp_control *s);

/* ---- the client ---- */

struct lp_control_client {
	int fd;
	pid_t pid; /* of the peer, as the kernel says */
};

/*
 * Connects, and makes sure before anything is sent that the node is a socket
 * of the process's owner and that the peer is `pid` (as our pid namespace
 * counts).  -LP_EPERM when not, -ECONNREFUSED, -ENOENT.
 */
int lp_control_connect(const char *path, pid_t pid, struct lp_control_client *out, struct lp_err *err);
/* One JSON request, words as they are; the reply object's text is appended to `out`. */
int lp_control_ask(struct lp_control_client *c, const char *const *words, size_t nr, unsigned timeout_ms,
		   struct lp_buf *out, struct lp_err *err);
void lp_control_close(struct lp_control_client *c);

#endif
