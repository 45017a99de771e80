#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fdio.h"

struct lp_apply_opts opts_of(const struct args *a)
{
	return (struct lp_apply_opts){
		.timeout_ms = a->timeout_ms,
		.allow_active = a->on[OPT_ALLOW_ACTIVE],
		.force = a->on[OPT_FORCE],
		.free_rooms = a->on[OPT_FREE],
		.interrupted = &interrupted,
		.search_most = a->search_most,
	};
}

static void say_where_help_is(const struct verb *v)
{
	if (v == &verb_table[VERB_INTERACTIVE])
		note("try: livepatch -i --help");
	else if (v->word[0] && v != &verb_table[VERB_HELP])
		note("try: livepatch help %s", v->word);
	else
		note("try: livepatch help");
}

static void report(const struct args *a, const struct lp_err *err)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_error(err));
		return;
	}
	note_error(err);
	if (err->code == -LP_EUSAGE)
		say_where_help_is(a->verb);
}

static int run(const struct args *a, struct lp_err *err)
{
	if (a->on[OPT_HELP]) {
		help_print(a->verb == &verb_table[VERB_CLASSIC] ? NULL : a->verb);
		return 0;
	}
	if (a->on[OPT_VERSION]) {
		out_printf("livepatch %s\n", LP_TOOL_VERSION);
		return 0;
	}
	return a->verb->run(a, err);
}

/* A reader that went away (`| head`) is not worth a sentence. */
static int finish(const struct args *a, int status)
{
	int rc = out_flush();
	if (rc < 0 && rc != -EPIPE)
		note("cannot write to standard output: %s", lp_strerror(rc));
	return rc < 0 && status == EXIT_DONE && (a->verb->effect == READS || a->on[OPT_DRY_RUN]) ? EXIT_REFUSED
												 : status;
}

static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* livepatchd STORE is livepatch watch STORE. */
static char **daemon_argv(int argc, char **argv)
{
	static char watch[] = "watch";
	char **out = lp_alloc(sizeof *out * ((size_t)argc + 2));
	out[0] = argv[0];
	out[1] = watch;
	for (int i = 1; i < argc; i++)
		out[i + 1] = argv[i];
	return out;
}

int main(int argc, char **argv)
{
	struct args a;
	struct lp_err err = {0};
	char **owned = NULL;
	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	if (argc > 0 && is_called(argv[0], "livepatchd"))
		argv = owned = daemon_argv(argc++, argv);
	int rc = args_parse(&a, argc, argv, &err);
	out_setup(a.on[OPT_VERBOSE], a.on[OPT_DEBUG], a.on[OPT_QUIET]);
	if (rc == 0)
		rc = run(&a, &err);
	if (rc < 0)
		report(&a, &err);
	int status = finish(&a, status_of(rc));
	args_free(&a);
	lp_free(owned);
	return status;
}
