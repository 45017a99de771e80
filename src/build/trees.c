/*
 * The two trees.  Both are built at the same place, so that neither __FILE__ nor debug information nor what a build system
 * generates tells them apart; cache.h says how they change places.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/build_private.h"
#include "build/sources.h"
#include "build/wrap.h"

#define TAIL_LINES 14

/* ---- running the user's command ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* CC=/opt/bin/gcc-13 -m64 becomes the link of that name; a bare name is found in PATH, where the links come first. */
static void set_compiler(const struct lp_build *b, lp_env_vec *env, const char *variable)
{
	const char *value = getenv(variable);
	size_t len = value ? strcspn(value, " \t") : 0;
	char *program = lp_sprintf("%.*s", (int)len, value ? value : "");
	if (strchr(program, '/')) {
		char *ours = lp_sprintf("%s/%s%s", b->cache.bin, base_name(program), value + len);
		lp_env_set(env, variable, ours);
		lp_free(ours);
	}
	lp_free(program);
}

static void set_text(lp_env_vec *env, const char *name, char *value)
{
	lp_env_set(env, name, value);
	lp_free(value);
}

static void build_environment(const struct lp_build *b, lp_env_vec *env, bool changed)
{
	static const char *const unset[] = {
		"MAKEFLAGS",	 "MFLAGS",	   "GNUMAKEFLAGS",	  "MAKELEVEL",
		"MAKEOVERRIDES", LP_WRAP_SECTIONS, LP_WRAP_INNER,	  LP_WRAP_TMPDIR,
		"LIVEPATCH",	 "OLDPWD",	   "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES"};
	const char *path = getenv("PATH");
	lp_env_copy(env, environ);
	for (size_t i = 0; i < LP_ARRAY_SIZE(unset); i++)
		lp_env_set(env, unset[i], NULL);
	set_text(env, "PATH", lp_sprintf("%s:%s", b->cache.bin, path ? path : "/usr/bin:/bin"));
	set_compiler(b, env, "CC");
	set_compiler(b, env, "CXX");
	set_compiler(b, env, "LD");
	lp_env_set(env, "PWD", b->tree);
	lp_env_set(env, "CCACHE_DISABLE", "1"); /* what comes out of a cache is not compiled, and not seen */
	lp_env_set(env, LP_WRAP_DIR, b->cache.bin);
	set_text(env, LP_WRAP_RECORDS, lp_sprintf("%s/records", b->cache.here));
	lp_env_set(env, LP_WRAP_MAP, b->map);
	if (changed) {
		lp_env_set(env, LP_WRAP_SECTIONS, "1");
		lp_env_set(env, LP_WRAP_EPOCH, b->epoch);
		lp_env_set(env, LP_WRAP_INCLUDE, b->include);
	}
	lp_env_end(env);
}

static int refuse_build(const struct lp_build *b, const char *which, int status, const char *log, struct lp_err *err)
{
	struct lp_buf tail = {0};
	lp_log_tail(&tail, log, TAIL_LINES);
	int rc = lp_fail(err, LP_EBUILD, "\"%s\" failed with status %d for %s; its last words:\n%s", b->command, status,
			 which, lp_buf_cstr(&tail));
	lp_buf_free(&tail);
	return rc;
}

/* Units so far, for people who wait. */
static void count_records(void *arg)
{
	struct lp_build *b = arg;
	char *dir = lp_sprintf("%s/records", b->cache.here);
	struct stat st;
	static unsigned ticks;
	if (ticks++ % 5 == 0 && stat(dir, &st) == 0)
		lp_build_tell(b, lp_records_count(dir), b->stage == STAGE_CHANGED ? 0 : b->before.nr_units, "command");
	lp_free(dir);
}

static int run_build(struct lp_build *b, bool changed, const char *which, struct lp_err *err)
{
	char parent[16], *log = lp_sprintf("%s/build.log", b->cache.here);
	snprintf(parent, sizeof parent, "%d", (int)getpid());
	const char *argv[] = {b->wrapper, LP_WRAP_GUARD, parent, "/bin/sh", "-c", b->command, NULL};
	lp_env_vec env = {0};
	build_environment(b, &env, changed);
	struct lp_run run = {.argv = argv,
			     .cwd = b->tree,
			     .env = (const char *const *)env.items,
			     .log = log,
			     .temporary = LP_WRAP_TMPDIR};
	struct lp_watch watch = b->watch;
	watch.tick = count_records;
	watch.arg = b;
	int rc = lp_run_all(&run, 1, 1, &watch, err);
	lp_env_free(&env);
	if (rc == 0 && run.status)
		rc = refuse_build(b, which, run.status, log, err);
	lp_free(log);
	return rc;
}

/* ---- the original ---- */

static int make_container(struct lp_build *b, struct lp_err *err)
{
	char *trees = lp_sprintf("%s/tree", b->cache.here), *records = lp_sprintf("%s/records", b->cache.here);
	int rc = lp_make_dirs(trees, err);
	if (rc == 0)
		rc = lp_make_dirs(records, err);
	lp_free(trees);
	lp_free(records);
	return rc;
}

static int copy_tree(struct lp_build *b, const char *from, bool age, struct lp_tree_copy *how, struct lp_err *err)
{
	*how = (struct lp_tree_copy){.from = from,
				     .to = b->tree,
				     .leave_out = b->root,
				     .age_objects = age,
				     .move_build_files = age,
				     .renames = b->renames.items,
				     .nr_renames = b->renames.nr,
				     .interrupted = b->opts.interrupted};
	int rc = make_container(b, err);
	return rc < 0 ? rc : lp_tree_copy(how, err);
}

static int load_original(struct lp_build *b, struct lp_err *err)
{
	int rc = lp_model_load(&b->before, b->cache.here, b->cache.here, b->tree, err);
	if (rc == 0 && !b->before.nr_units)
		rc = lp_fail(err, LP_EUNRECORDED,
			     "\"%s\" ended well, but no compiler was seen at work: is it named by an absolute path? "
			     "try --build 'make CC=gcc', or one that builds from scratch",
			     b->command);
	if (rc == 0)
		b->epoch = lp_sprintf("%" PRIu64, b->before.records.items[0].began_ns / 1000000000u);
	return rc;
}

static int make_original(struct lp_build *b, struct lp_err *err)
{
	struct lp_tree_copy how;
	int rc = copy_tree(b, b->srcdir, true, &how, err);
	if (rc == 0)
		rc = run_build(b, false, "the original", err);
	if (rc == 0)
		rc = load_original(b, err);
	return rc < 0 ? rc : lp_cache_complete(&b->cache, err);
}

int lp_build_original(struct lp_build *b, struct lp_err *err)
{
	lp_build_begin(b, STAGE_ORIGINAL);
	int rc = lp_build_make_links(b, err);
	if (rc == 0)
		rc = b->cached ? load_original(b, err) : make_original(b, err);
	if (rc == 0)
		lp_build_end(b, "%zu unit%s, %zu %s%s", b->before.nr_units, b->before.nr_units == 1 ? "" : "s",
			     b->before.links.nr, b->before.links.nr == 1 ? "binary" : "binaries",
			     b->cached ? ", from the cache" : "");
	return rc;
}

/* ---- the changed tree ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int apply_diffs(struct lp_build *b, struct lp_err *err)
{
	char *log = lp_sprintf("%s/patch.log", b->work);
	int rc = 0;
	for (size_t i = 0; i < b->opts.nr_diffs && rc == 0; i++) {
		char *diff = realpath(b->opts.diffs[i], NULL);
		rc = diff ? lp_apply_diff(b->tree, diff, log, &b->watch, err)
			  : lp_fail_sys(err, errno, "cannot read %s", b->opts.diffs[i]);
		free(diff);
	}
	lp_free(log);
	return rc;
}

static int find_changes(struct lp_build *b, const char *original, struct lp_err *err)
{
	int rc = lp_tree_changes(&b->changes, original, b->tree, err);
	if (b->changes.nr)
		qsort(b->changes.items, b->changes.nr, sizeof *b->changes.items, by_text);
	return rc;
}

/* A list of sources or flags: make does not build anew what was built with other flags. */
static bool is_for_make(const char *path)
{
	static const char *const names[] = {"Makefile",	   "makefile",	  "GNUmakefile",
					    "Makefile.in", "Makefile.am", "configure"};
	const char *name = base_name(path), *suffix = strrchr(name, '.');
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return suffix && (strcmp(suffix, ".mk") == 0 || strcmp(suffix, ".mak") == 0);
}

static int age_if_flags_changed(struct lp_build *b, struct lp_err *err)
{
	for (size_t i = 0; i < b->changes.nr; i++)
		if (is_for_make(b->changes.items[i]))
			return lp_tree_age(b->tree, err);
	return 0;
}

int lp_build_apply(struct lp_build *b, struct lp_err *err)
{
	struct lp_tree_copy how = {0};
	char *original = lp_sprintf("%s/tree/%s", b->cache.original, b->name);
	lp_build_begin(b, STAGE_APPLY);
	int rc = lp_cache_set_aside(&b->cache, err);
	if (rc == 0) {
		lp_free(b->before.container);
		b->before.container = lp_strdup(b->cache.original);
		rc = copy_tree(b, original, false, &how, err);
	}
	if (rc == 0)
		rc = apply_diffs(b, err);
	if (rc == 0)
		rc = find_changes(b, original, err);
	if (rc == 0)
		rc = age_if_flags_changed(b, err);
	lp_free(original);
	if (rc == 0)
		lp_build_end(b, "%zu of %zu files changed", b->changes.nr, how.nr_files);
	return rc;
}

int lp_build_changed(struct lp_build *b, struct lp_err *err)
{
	lp_build_begin(b, STAGE_CHANGED);
	int rc = run_build(b, true, "the changed tree", err);
	if (rc == 0)
		rc = lp_model_load(&b->after, b->cache.here, b->cache.here, NULL, err);
	if (rc == 0)
		lp_build_end(b, "%zu unit%s", b->after.nr_units, b->after.nr_units == 1 ? "" : "s");
	return rc;
}
