#include "build/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

#define LOG_MAX (16u << 20)

/* ---- which command ---- */

static const struct {
	const char *file, *command; /* %u: how many at a time */
} guesses[] = {
	{"Makefile", "make -j%u"},
	{"makefile", "make -j%u"},
	{"GNUmakefile", "make -j%u"},
	{"build.ninja", "ninja -j%u"},
	{"meson.build", "test -d livepatch-build || meson setup livepatch-build; ninja -j%u -C livepatch-build"},
	{"CMakeLists.txt", "cmake -S . -B livepatch-build && cmake --build livepatch-build -j %u"},
	{"configure", "test -f Makefile || ./configure; make -j%u"},
};

/* A directory that CMake was run in already, with the user's options. */
static char *configured_directory(const char *tree)
{
	struct dirent *e;
	char *found = NULL;
	DIR *dir = opendir(tree);
	while (dir && !found && (e = readdir(dir))) {
		char *path = lp_sprintf("%s/%s/CMakeCache.txt", tree, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !strpbrk(e->d_name, "'\n") &&
		    access(path, F_OK) == 0)
			found = lp_strdup(e->d_name);
		lp_free(path);
	}
	if (dir)
		closedir(dir);
	return found;
}

static char *guess_configured(const char *tree, unsigned jobs)
{
	char *dir = configured_directory(tree);
	char *command = dir ? lp_sprintf("cmake --build '%s' -j %u", dir, jobs) : NULL;
	lp_free(dir);
	return command;
}

static bool has_file(const char *tree, const char *name)
{
	char *path = lp_sprintf("%s/%s", tree, name);
	bool there = access(path, F_OK) == 0;
	lp_free(path);
	return there;
}

char *lp_guess_command(const char *tree, unsigned jobs)
{
	char *configured = has_file(tree, "CMakeLists.txt") ? guess_configured(tree, jobs) : NULL;
	for (size_t i = 0; i < LP_ARRAY_SIZE(guesses) && !configured; i++) {
		if (!has_file(tree, guesses[i].file))
			continue;
		const char *number = strstr(guesses[i].command, "%u");
		return lp_sprintf("%.*s%u%s", (int)(number - guesses[i].command), guesses[i].command, jobs, number + 2);
	}
	return configured;
}

/* ---- applying a diff ---- */

/* patch(1) speaks English here, and names files as they are. */
static int run_patch(const char *tree, const char *diff, unsigned strip, bool dry, const char *log,
		     const struct lp_watch *watch, int *status, struct lp_err *err)
{
	char level[16];
	snprintf(level, sizeof level, "-p%u", strip);
	const char *argv[] = {"patch",
			      level,
			      "--batch",
			      "--forward",
			      "--no-backup-if-mismatch",
			      "--quoting-style=literal",
			      "--reject-file=-",
			      "-i",
			      diff,
			      dry ? "--dry-run" : NULL,
			      NULL};
	lp_env_vec env = {0};
	lp_env_copy(&env, environ);
	lp_env_set(&env, "LC_ALL", "C");
	lp_env_set(&env, "POSIXLY_CORRECT", NULL);
	lp_env_set(&env, "PATCH_GET", NULL);
	lp_env_end(&env);
	struct lp_run run = {.argv = argv, .cwd = tree, .env = (const char *const *)env.items, .log = log};
	unlink(log);
	int rc = lp_run_all(&run, 1, 1, watch, err);
	lp_env_free(&env);
	*status = run.status;
	if (rc == -ENOENT)
		return lp_fail(err, ENOENT, "patch(1) is not installed");
	return rc;
}

/* The rest of the line behind `lead`, NULL when it begins otherwise. */
static const char *behind(const char *line, const char *lead)
{
	return strncmp(line, lead, strlen(lead)) == 0 ? line + strlen(lead) : NULL;
}

static int word_length(const char *text)
{
	return (int)strcspn(text, "\n");
}

static bool says(const char *line, const char *what)
{
	const char *at = strstr(line, what);
	return at && at - line < word_length(line);
}

/* What patch(1) said about the first thing that it could not do. */
static int refuse(const char *diff, const char *log, struct lp_err *err)
{
	struct lp_buf text = {0};
	const char *file = "?";
	int rc = lp_read_file(log, &text, LOG_MAX, NULL);
	for (const char *line = lp_buf_cstr(&text); rc == 0 && *line;
	     line += word_length(line), line += *line == '\n') {
		const char *rest = behind(line, "checking file ");
		if (rest || (rest = behind(line, "patching file ")))
			file = rest;
		if ((rest = behind(line, "Hunk ")) && says(line, " FAILED at "))
			rc = lp_fail(
				err, LP_EHUNK,
				"%s does not apply: %.*s: hunk %.*s; is this the source that the binary was built of?",
				diff, word_length(file), file, (int)strcspn(rest, "."), rest);
		else if (says(line, "can't find file to patch"))
			rc = lp_fail(err, LP_EHUNK,
				     "%s does not apply: a file that it changes is not in the tree (is -C the top of "
				     "the source?)",
				     diff);
		else if (says(line, "Reversed (or previously applied) patch"))
			rc = lp_fail(
				err, LP_EHUNK,
				"%s is in the tree already: %.*s; the tree must be the source of the running binary",
				diff, word_length(file), file);
		else if (says(line, "Only garbage was found") || says(line, "malformed patch"))
			rc = lp_fail(err, LP_EHUNK, "%s: %.*s", diff, word_length(line), line);
	}
	if (rc == 0)
		rc = lp_fail(err, LP_EHUNK, "%s does not apply: %.*s", diff, word_length(lp_buf_cstr(&text)),
			     lp_buf_cstr(&text));
	lp_buf_free(&text);
	return rc;
}

static bool found_its_files(const char *log)
{
	struct lp_buf text = {0};
	bool found =
		lp_read_file(log, &text, LOG_MAX, NULL) == 0 && !strstr(lp_buf_cstr(&text), "can't find file to patch");
	lp_buf_free(&text);
	return found;
}

/*
 * -p1 is what everybody writes; the others are tried when not all of it fits.  A series in one file, which changes a file
 * twice, does not fit in a dry run: then the one that finds its files is the right one.
 */
static int find_strip(const char *tree, const char *diff, const char *log, const struct lp_watch *watch,
		      unsigned *strip, struct lp_err *err)
{
	static const unsigned order[] = {1, 0, 2, 3};
	unsigned fallback = LP_ARRAY_SIZE(order);
	for (unsigned i = 0; i < LP_ARRAY_SIZE(order); i++) {
		int status = 1;
		int rc = run_patch(tree, diff, order[i], true, log, watch, &status, err);
		*strip = order[i];
		if (rc < 0 || status == 0)
			return rc;
		if (fallback == LP_ARRAY_SIZE(order) && found_its_files(log))
			fallback = i;
	}
	*strip = order[fallback % LP_ARRAY_SIZE(order)];
	return 0;
}

int lp_apply_diff(const char *tree, const char *diff, const char *log, const struct lp_watch *watch, struct lp_err *err)
{
	unsigned strip;
	int status = 0;
	int rc = find_strip(tree, diff, log, watch, &strip, err);
	if (rc == 0)
		rc = run_patch(tree, diff, strip, false, log, watch, &status, err);
	return rc == 0 && status ? refuse(diff, log, err) : rc;
}
