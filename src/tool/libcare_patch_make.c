/*
 * libcare-patch-make: makes live patches for what make builds in the current directory.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "build/patch_make.h"
#include "patch/kpatch.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	interrupted = signal;
}

static void usage(FILE *to)
{
	fprintf(to, "Makes `kpatch'es for the makesystem in the current directory.\n"
		    "\n"
		    "Usage: libcare-patch-make [-h|--help] [-u|--update | -c|--clean]\n"
		    "        [-s|--srcdir=SRCDIR] [-d|--destdir=DESTDIRVAR] [-b|--buildid=BUILD-ID] [-j|--jobs=N]\n"
		    "        -i|--id=PATCH-ID PATCH1 PATCH2 ...\n"
		    "\n"
		    "  -c --clean    run `make clean` first\n"
		    "  -u --update   only make the patches anew from what an earlier run has built\n"
		    "  -s --srcdir   apply the source patches in this directory\n"
		    "  -d --destdir  the name of the variable that tells `make install` where to; default DESTDIR\n"
		    "  -i --id       the id of the patch\n"
		    "  -b --buildid  name this build-id instead of the binaries' own\n"
		    "  -j --jobs     run so many jobs of make at once\n"
		    "     --assembly compare assembly, and take the patch out of what was linked with it\n"
		    "\n"
		    "The makefile is lpmakefile when there is one.  Binaries go to lpmake (LPMAKE_ORIGINAL_DIR) and\n"
		    ".lpmaketmp/patched (LPMAKE_PATCHED_DIR), patches to patchroot (LPMAKE_PATCHROOT).\n");
}

static void say(void *arg, enum lp_patch_make_line kind, const char *line)
{
	const bool *colours = arg;
	const char *on = !*colours		    ? ""
			 : kind == LP_MAKE_STAGE    ? "\033[32m"
			 : kind == LP_MAKE_APPLYING ? "\033[31m"
						    : "";
	if (kind == LP_MAKE_WARNING) {
		fprintf(stderr, "libcare-patch-make: %s\n", line);
		return;
	}
	printf("%s%s%s\n", on, line, *on ? "\033[0m" : "");
	fflush(stdout); /* what children print comes after it */
}

static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	for (size_t i = 0; i < LP_ARRAY_SIZE(signals); i++) {
		struct sigaction now;
		sigaction(signals[i], NULL, &now);
		if (now.sa_handler == SIG_IGN)
			continue;
		now = (struct sigaction){.sa_handler = on_signal};
		sigemptyset(&now.sa_mask);
		sigaction(signals[i], &now, NULL);
	}
}

/* The directory that we and the other tools are in. */
static char *tools_directory(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return NULL;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	static const char *const needed[] = {"kpatch_gensrc", "libcare-cc"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(needed); i++) {
		char *path = lp_sprintf("%s/%s", self, needed[i]);
		int missing = access(path, X_OK);
		lp_free(path);
		if (missing)
			return NULL;
	}
	return lp_strdup(self);
}

static char *directory(const char *variable, const char *otherwise)
{
	const char *set = getenv(variable);
	if (set && set[0] == '/')
		return lp_strdup(set);
	char *here = getcwd(NULL, 0);
	char *path = lp_sprintf("%s/%s", here ? here : ".", set && *set ? set : otherwise);
	free(here);
	return path;
}

static bool parse(struct lp_patch_make_opts *o, int argc, char **argv, bool *help)
{
	static const struct option words[] = {
		{"help", 0, NULL, 'h'},	    {"update", 0, NULL, 'u'},
		{"clean", 0, NULL, 'c'},    {"srcdir", 1, NULL, 's'},
		{"destdir", 1, NULL, 'd'},  {"id", 1, NULL, 'i'},
		{"buildid", 1, NULL, 'b'},  {"jobs", 1, NULL, 'j'},
		{"assembly", 0, NULL, 'A'}, {0},
	};
	for (int c; (c = getopt_long(argc, argv, "hucs:d:i:b:j:", words, NULL)) != -1;) {
		switch (c) {
		case 'h':
			*help = true;
			return true;
		case 'u':
			o->update = true;
			break;
		case 'c':
			o->clean = true;
			break;
		case 's':
			o->srcdir = optarg;
			break;
		case 'd':
			o->destdir = optarg;
			break;
		case 'i':
			o->id = optarg;
			break;
		case 'b':
			o->build_id = optarg;
			break;
		case 'A':
			o->assembly = true;
			break;
		case 'j':
			o->jobs = optarg;
			break;
		default:
			return false;
		}
	}
	o->patches = (const char *const *)argv + optind;
	o->nr_patches = (size_t)(argc - optind);
	return !(o->update && o->clean) && (o->update || o->nr_patches);
}

static int make(struct lp_patch_make_opts *o)
{
	char *tools = tools_directory();
	struct lp_err err = {0};
	if (!tools) {
		fprintf(stderr, "kpatch tools are missing\n");
		return EXIT_FAILURE;
	}
	char *original = directory("LPMAKE_ORIGINAL_DIR", "lpmake");
	char *patched = directory("LPMAKE_PATCHED_DIR", ".lpmaketmp/patched");
	char *root = directory("LPMAKE_PATCHROOT", "patchroot");
	o->tools = tools;
	o->original_dir = original;
	o->patched_dir = patched;
	o->patch_root = root;
	catch_signals();
	int rc = lp_patch_make(o, &err);
	lp_free(tools);
	lp_free(original);
	lp_free(patched);
	lp_free(root);
	if (rc < 0)
		fprintf(stderr, "libcare-patch-make: %s\n", err.text);
	if (rc < 0 && interrupted)
		return 128 + interrupted;
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	bool help = false, colours = isatty(STDOUT_FILENO) && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0;
	struct lp_patch_make_opts o = {.interrupted = &interrupted, .say = say, .arg = &colours};
	lp_stdio_hold();
	if (!parse(&o, argc, argv, &help)) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	if (help) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	if (!o.id || lp_kpatch_check_id(o.id, NULL) < 0) {
		fprintf(stderr, "Invalid patch-id!\n");
		usage(stderr);
		return EXIT_FAILURE;
	}
	return make(&o);
}
