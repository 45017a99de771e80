/*
 * What libcare-ctl and libcare-server share: the commands, their texts and
 * their exit statuses.
 *
 * The texts are those of LibcarePlus and libcare, so that scripts go on
 * working.  The exit status is not: there a wrong use and a failure of "all"
 * end with 0.  Here 0 is done, 1 not done, 2 wrong use, 3 the process is gone.
 */
#ifndef LP_TOOL_LIBCARE_H
#define LP_TOOL_LIBCARE_H

#include <string.h>

#include "store/deploy.h"

#define LIBCARE_STORAGE "/var/lib/libcare"
#define LIBCARE_SOCKET "/var/run/libcare.sock"

/* argv[0] is the command ("patch", "info-user", ...).  Prints; returns the exit status. */
int libcare_command(int argc, char **argv);
/* The same for the server, whose own storage is what `info` looks into when it is not told. */
int libcare_command_in(const char *storage, int argc, char **argv);

#define LIBCARE_PATIENCE_MS 5000 /* for busy functions; LibcarePlus waits 3 seconds */

/* Brings what the store has into one process, with its before and after programs, and says how it went.  `quiet`: not
 * when there was nothing to do.  An exit status. */
int libcare_patch(pid_t pid, const struct lp_store *s, unsigned patience_ms, bool quiet);
/* Every process but 1 and ourselves. */
int libcare_patch_all(const struct lp_store *s);

int libcare_info(const char *storage, int argc, char **argv);	/* libcare_info.c */
int libcare_server(const char *program, int argc, char **argv); /* libcare_server.c: serves until "stop" */

static inline bool libcare_asks_for_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

/* "err: TEXT" when there is one, then the usage; returns EXIT_USAGE, or 0 when err is NULL and help was asked for. */
int libcare_usage(const char *err);
int libcare_usage_of(const char *err, const char *text);

#endif
