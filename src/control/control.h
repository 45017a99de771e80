/*
 * The control socket: one line protocol for the agent and the runner
 * (docs/decisions/0012-the-agent.md describes the wire).
 *
 * The program's side:
 *
 *     static const struct lp_command commands[] = {...};            // from a .def file
 *     struct lp_control_options o = {.commands = commands, .nr_commands = N, .program = "hotpatch", .version = "0.1.0",
 *                                    .host = my_state, .allow = LP_LEVEL_CODE};
 *     rc = lp_control_start(&o, &server, err);                      // a thread of its own serves from now on
 *     rc = lp_control_listen(server, path, err);                    // as many as you like, up to eight
 *     ...
 *     lp_control_stop(server);                                      // joins the thread, removes the sockets that are ours
 *
 * A command:
 *
 *     static int var_get(struct lp_call *c, struct lp_err *err)
 *     {
 *             ...  c->argc, c->argv: the words behind the command's own
 *             lp_reply_row(c->reply, "%", LP_STR("value", text));   // text line and JSON member in one
 *             return 0;                                             // or lp_fail(err, ...)
 *     }
 *
 * Threads.  Commands and the functions of their changes run on the server's
 * thread, one at a time.  lp_control_* may be called from any thread but that
 * one (lp_control_quiesce() there does nothing), and not while or after the
 * server is stopped.
 *
 * The server's thread blocks all signals but those that a thread raises
 * itself, and has the "C" locale.
 *
 * Uses no library but libc: it is loaded into other people's programs.
 */
#ifndef LP_CONTROL_CONTROL_H
#define LP_CONTROL_CONTROL_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* ---- replies ---- */

/* One value, named for JSON.  A string may be NULL. */
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
 * value ("Flag name: %, value: %"); fields that are left over are for JSON
 * alone.  Control characters, backslashes and what is not UTF-8 are escaped as
 * in C, so that a value can never look like another line.  JSON: one object of
 * all fields; what is not UTF-8 becomes U+FFFD.
 */
void lp_reply_fields(struct lp_reply *r, const char *format, const struct lp_field *fields, size_t nr);
#define lp_reply_row(r, format, ...)                                           \
	lp_reply_fields((r), (format), (const struct lp_field[]){__VA_ARGS__}, \
			sizeof((const struct lp_field[]){__VA_ARGS__}) / sizeof(struct lp_field))

/* ---- commands ---- */

enum lp_level { LP_LEVEL_READ, LP_LEVEL_WRITE, LP_LEVEL_CODE };

/* All of it lives as long as the command runs, and no longer. */
struct lp_call {
	void *host; /* of the options */
	int argc;   /* words behind the command's own */
	char **argv;
	struct lp_reply *reply;
	struct lp_txn_queue *changes; /* where a command of two phases puts what it has prepared */
};

struct lp_command {
	const char *words; /* "gflags get" */
	/* "NAME [VALUE] [MORE...]": one word an operand; [X] may be left out, X... repeats.  argc is checked by it. */
	const char *synopsis;
	enum lp_level level;
	int (*run)(struct lp_call *c, struct lp_err *err);
	const char *summary;
};

/*
 * What a command prepared.
 *
 *     commit     does it.  May still refuse, and has to look again: between `begin` and `commit`
 *                other clients were served.  NULL: with all of its rank whose is NULL, by the
 *                commit_together of the options
 *     undo       takes back what commit did
 *     release    always, at the end, whatever happened
 *
 * Any may be NULL.  Commits go by rank, the lowest first; undone is in the
 * reverse order.  What a command reads is what stood there before any change
 * of its own line, or of its transaction, was committed.
 */
struct lp_change {
	int rank;
	int (*commit)(void *change, struct lp_err *err);
	void (*undo)(void *change);
	void (*release)(void *change);
	void *change;
	bool quiescent; /* the whole transaction is committed where the program says that it can bear it */
};
/* Takes over the change; the rows of the command are what the client sees when all are committed. */
void lp_change_add(struct lp_call *c, const struct lp_change *change);

/* ---- the server ---- */

struct lp_control_limits {
	size_t line_max;     /* bytes; 0 = 64 KiB */
	unsigned clients;    /* 0 = 1024, or a quarter of the descriptors that the process may open, if that is less */
	size_t backlog_max;  /* bytes of replies that a client has not read; 0 = 1 MiB */
	size_t held_max;     /* the same of all clients; beyond, who has unread ones gets no more; 0 = 64 MiB */
	unsigned idle_ms;    /* a text connection without `prompt`, after a reply; 0 = 300 */
	unsigned partial_ms; /* silence that completes a line without its end; 0 = 50 */
	unsigned stuck_ms;   /* neither reads, nor finishes a line, nor asks anything at first; 0 = 60,000 */
	unsigned quiesce_ms; /* a transaction that waits for lp_control_quiesce(); 0 = 5000 */
	unsigned open_ms;    /* silence that ends what stands between `begin` and `commit`; 0 = 300,000 */
};

/* Copied; what it points to stays the caller's, and has to stay while the server runs. */
struct lp_control_options {
	/* help, version, stats, begin, commit, abort, prompt, json are there without saying */
	const struct lp_command *commands;
	size_t nr_commands;
	const char *program, *version;
	void *host;
	enum lp_level allow; /* commands above it are refused: LP_EPERM */
	struct lp_control_limits limits;
	/* Rows that `stats` adds to its own; may be NULL. */
	void (*stats)(struct lp_call *c);
	/* Commits all changes of one rank that have no `commit`: all of them, or none.  NULL: there is nothing to do. */
	int (*commit_together)(int rank, void *const *changes, size_t nr, struct lp_err *err);
	/* Around the commands of a line and their changes, and what becomes of them later; recursive.  May be NULL. */
	void (*lock)(void);
	void (*unlock)(void);
};

struct lp_control;

int lp_control_start(const struct lp_control_options *o, struct lp_control **out, struct lp_err *err);
/*
 * A socket of that name (absolute), 0600 from the start, in place of a dead one
 * of ours.  -EADDRINUSE when somebody lives there or what has the name is not
 * ours: then it is left alone.
 */
int lp_control_listen(struct lp_control *s, const char *path, struct lp_err *err);
/* Removes a socket of ours at which nobody listens any more; all else is left alone, with -EADDRINUSE. */
int lp_control_bury(const char *path, struct lp_err *err);
/*
 * The thread that calls it says: here nobody reads what transactions wait to
 * change.  They are committed by the server's thread while this one stands
 * still; it goes on after 100 ms if the server has not begun by then.  One load
 * when none waits.  Transactions are refused with LP_ETIMEOUT when they have
 * waited for too long; other clients are served meanwhile.
 */
void lp_control_quiesce(struct lp_control *s);
/* The program has closed what the thread waits at (owned.h): it serves nobody any more, and there is only lp_control_stop() left. */
bool lp_control_is_robbed(const struct lp_control *s);
/* NULL is allowed. */
void lp_control_stop(struct lp_control *s);
/* The names of the sockets, nothing else: the process ends, whatever its threads are about.  Takes no lock. */
void lp_control_unlink(const struct lp_control *s);
/*
 * In the child of a fork: closes what was inherited, touches no node and no
 * thread.  The memory stays as it is: the thread that the child has not got
 * may have been about to change it.  If the server's thread itself has forked,
 * in a command, it is the child's one thread, and ends when the command has.
 */
void lp_control_forget(struct lp_control *s);

/*
 * A line of text without a server, in the calling thread: `row`, when not NULL,
 * gets each row of the reply.  What must wait until nobody reads is refused
 * (-EBUSY).  Of the options only limits are not looked at.
 */
int lp_control_run(const struct lp_control_options *o, const char *commands, void (*row)(const char *line, void *arg),
		   void *arg, struct lp_err *err);

/* ---- the client ---- */

struct lp_control_client {
	int fd;
	pid_t pid; /* of the peer, as the kernel says */
};

/*
 * Connects, and makes sure before anything is sent that the node is a socket
 * of the process's user or of root, and that the peer is `pid` (as our pid
 * namespace counts).  -LP_EPERM when that is not so, or cannot be seen; -ESRCH,
 * -ENOENT, -ENOTDIR, -ECONNREFUSED; -EAGAIN when the process takes no clients
 * for so long.
 */
int lp_control_connect(const char *path, pid_t pid, unsigned patience_ms, struct lp_control_client *out,
		       struct lp_err *err);
/*
 * One JSON request, words as they are; a word ";" stands between commands that
 * happen together.  The reply object's text is appended to
 * `out`, whether it says ok or not.  `lines`: its rows are lines of text.
 * -LP_ETIMEOUT, -ECONNRESET; -EPROTO with what the server said instead.
 */
int lp_control_ask(struct lp_control_client *c, const char *const *words, size_t nr, bool lines, unsigned timeout_ms,
		   struct lp_buf *out, struct lp_err *err);
/* The two halves of it, for who has other things to wait for until the descriptor can be read: one request, one reply. */
int lp_control_send(struct lp_control_client *c, const char *const *words, size_t nr, bool lines, unsigned timeout_ms,
		    struct lp_err *err);
int lp_control_receive(struct lp_control_client *c, unsigned timeout_ms, struct lp_buf *out, struct lp_err *err);
void lp_control_close(struct lp_control_client *c);

#endif
