/*
 * hotpatch -p PID COMMAND...: asks the agent in a process.
 */
#include "tool/hotpatch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/fdio.h"
#include "tool/hotpatch_ask.h"
#include "tool/hotpatch_attach.h"
#include "tool/hotpatch_help.h"
#include "tool/hotpatch_list.h"
#include "tool/hotpatch_top.h"
#include "tool/hotpatch_watch.h"
#include "tool/tool.h"

#define WATCH_DELAY_MS 100
#define TOP_DELAY_MS 2000

/* ---- watch var [TYPE] NAME, top ---- */

static int watch(struct peer *p, const struct wish *w, struct lp_err *err)
{
	if (w->nr < 3 || w->nr > 4 || strcmp(w->words[1], "var") != 0)
		return lp_fail(err, LP_EUSAGE, "usage: watch var [TYPE] NAME");
	return watch_variable(p, w->nr == 4 ? w->words[2] : NULL, w->words[w->nr - 1],
			      w->delay_ms ? w->delay_ms : WATCH_DELAY_MS, w->value[WISH_JSON], err);
}

static int show_top(struct peer *p, const struct wish *w, struct lp_err *err)
{
	if (w->nr != 1)
		return lp_fail(err, LP_EUSAGE, "too many operands; usage: top");
	return top(p, w->value[WISH_ONCE], w->value[WISH_JSON], w->delay_ms ? w->delay_ms : TOP_DELAY_MS, err);
}

/* ---- attach, detach ---- */

static int attach(const struct wish *w, struct lp_err *err)
{
	if (w->nr > 2)
		return lp_fail(err, LP_EUSAGE, "too many operands; usage: attach [LIBRARY]");
	int rc = attach_agent(w->pid, w->nr > 1 ? w->words[1] : NULL, w->timeout_ms, err);
	if (rc == 0)
		answer_show(w, json_array());
	return rc;
}

static int detach(const struct wish *w, struct lp_err *err)
{
	static const char gone[] = "its thread and its sockets are gone; the library stays mapped, and nothing runs it";
	bool force = w->nr == 2 && !strcmp(w->words[1], "--force");

	if (w->nr != 1 + (size_t)force)
		return lp_fail(err, LP_EUSAGE, "usage: detach [--force]");
	int rc = detach_agent(w->pid, force, w->timeout_ms, err);
	if (rc == 0)
		answer_show(w, json_pack("[s]", gone));
	return rc;
}

/* ---- which of them ---- */

static const struct own {
	int (*run)(const struct wish *w, struct lp_err *err);
	int (*talk)(struct peer *p, const struct wish *w, struct lp_err *err); /* of those that have no run */
} own_rows[NR_OWN] = {
	[OWN_PS] = {.run = list_processes}, [OWN_ATTACH] = {.run = attach},	[OWN_DETACH] = {.run = detach},
	[OWN_WATCH] = {.talk = watch},	    [OWN_NAMES] = {.talk = list_names}, [OWN_TOP] = {.talk = show_top},
};

static int talk(const struct wish *w, struct lp_err *err)
{
	struct peer p;
	int rc = peer_open(&p, w->pid, w->timeout_ms, err);

	if (rc < 0)
		return rc;
	rc = w->own < 0 ? ask_agent(&p, w, err) : own_rows[w->own].talk(&p, w, err);
	peer_close(&p);
	return rc;
}

static int run(const struct wish *w, struct lp_err *err)
{
	if (w->value[WISH_HELP] || (w->nr && !w->pid && !strcmp(w->words[0], "help"))) {
		help();
		return 0;
	}
	if (w->value[WISH_VERSION]) {
		out_printf("hotpatch %s\n", LP_TOOL_VERSION);
		return 0;
	}
	int rc = wish_check(w, err);
	if (rc < 0)
		return rc;
	return w->own >= 0 && own_rows[w->own].run ? own_rows[w->own].run(w, err) : talk(w, err);
}

static int status(int rc)
{
	return -rc == LP_ENOAGENT ? EXIT_LOST : status_of(rc);
}

/* What these are there for is their output, an object a line. */
static bool prints_on_and_on(const struct wish *w)
{
	return w->own == OWN_WATCH || w->own == OWN_TOP;
}

static void fail(const struct wish *w, const struct lp_err *err)
{
	if (!w->value[WISH_JSON])
		note_error(err);
	else if (prints_on_and_on(w))
		json_emit_line(json_error(err));
	else
		json_emit(json_error(err));
}

/* Whoever stopped reading knows that; what else went wrong is told. */
static int flush(const struct wish *w, int status)
{
	int rc = out_flush();

	if (rc == -EPIPE)
		return status;
	if (rc < 0)
		note("cannot write to standard output: %s%s", strerror(-rc),
		     status == EXIT_DONE && !prints_on_and_on(w) ? "; the command itself was done" : "");
	return rc < 0 && status == EXIT_DONE ? EXIT_REFUSED : status;
}

int main(int argc, char **argv)
{
	struct wish w;
	struct lp_err err = {0};

	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_setup(false, false, false);
	out_program("hotpatch");
	int rc = wish_parse(&w, argc, argv, &err);
	rc = rc < 0 ? rc : run(&w, &err);
	if (rc < 0)
		fail(&w, &err);
	return flush(&w, status(rc));
}
