/*
 * hotpatch: the command that talks to the agent in a process.
 *
 *     struct peer peer;
 *     rc = peer_open(&peer, pid, timeout_ms, err);
 *     rc = peer_ask(&peer, words, nr, PEER_LINES, &reply, err);
 *     json_decref(reply);
 *     peer_close(&peer);
 */
#ifndef LP_TOOL_HOTPATCH_H
#define LP_TOOL_HOTPATCH_H

#include <jansson.h>
#include <sys/types.h>

#include "control/control.h"

struct peer {
	struct lp_control_client client;
	unsigned timeout_ms;
	bool elsewhere; /* its paths are not ours: another root directory */
};

/*
 * At the first socket that is the process's own; who sits at its names without
 * being it is mentioned beside -LP_ENOAGENT.  -LP_EGONE: there is no such
 * process; -LP_EPERM: somebody else's; -LP_ETIMEOUT: it takes no clients.
 * Time: for all of the places together, and for each question.
 */
int peer_open(struct peer *p, pid_t pid, unsigned timeout_ms, struct lp_err *err);
void peer_close(struct peer *p);

enum peer_form { PEER_LINES, PEER_ROWS }; /* strings, or objects */
/*
 * The data of the reply, an array that the caller gets.  The process's own
 * refusal has its code when we know it, and its sentence.  A word ";" stands
 * between commands that happen together.
 */
int peer_ask(struct peer *p, const char *const *words, size_t nr, enum peer_form form, json_t **out,
	     struct lp_err *err);
/* The two halves of it: who sent something can wait until p->client.fd is readable, and for other things meanwhile. */
int peer_send(struct peer *p, const char *const *words, size_t nr, enum peer_form form, struct lp_err *err);
int peer_receive(struct peer *p, json_t **out, struct lp_err *err);
/*
 * Until it is time, or the process has ended: nothing comes that was not asked
 * for.  False when nobody reads our standard output any more.
 */
bool peer_wait(struct peer *p, unsigned ms);

#define PROCESS_NAME_MAX 64
/* What the kernel calls it, "?" when it is gone; one line. */
void process_name(pid_t pid, char out[PROCESS_NAME_MAX]);

#endif
