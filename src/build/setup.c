#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/build_private.h"
#include "build/sources.h"
#include "build/wrap.h"
#include "patch/kpatch.h"

#define PATCH_HEADER "livepatch-patch.h"
#define CACHE_LAYOUT "livepatch build cache 1"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* ---- what the user said ---- */

/* The first diff's name without its suffix, in the characters that an id may have. */
static char *id_from(const char *diff)
{
	const char *base = base_name(diff), *dot = strrchr(base, '.');
	size_t len = dot && dot > base ? (size_t)(dot - base) : strlen(base);
	char *id = lp_sprintf("%.*s", (int)(len < LP_KPATCH_ID_MAX ? len : LP_KPATCH_ID_MAX), base);
	for (char *p = id; *p; p++)
		if (!isgraph((unsigned char)*p))
			*p = '-';
	return id;
}

static int settle_id(struct lp_build *b, struct lp_err *err)
{
	if (!b->opts.nr_diffs)
		return lp_fail(err, LP_EUSAGE, "which change? name at least one diff");
	b->id = b->opts.id ? lp_strdup(b->opts.id) : id_from(b->opts.diffs[0]);
	return lp_kpatch_check_id(b->id, err);
}

static int find_wrapper(char **out, const char *wish, struct lp_err *err)
{
	static const char *const places[] = {"%s/" LP_WRAP_PROGRAM, "%s/../libexec/livepatch/" LP_WRAP_PROGRAM};
	char self[PATH_MAX];
	if (wish) {
		*out = realpath(wish, NULL);
		return *out ? 0 : lp_fail_sys(err, errno, "cannot find the compiler wrapper %s", wish);
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = 0;
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < LP_ARRAY_SIZE(places) && !*out; i++) {
		char *path = lp_sprintf("%s%s", self, strchr(places[i], '/'));
		*out = access(path, X_OK) == 0 ? realpath(path, NULL) : NULL;
		lp_free(path);
	}
	return *out ? 0
		    : lp_fail(err, LP_EFILE, "%s is not installed: it is looked for in %s and %s/../libexec/livepatch",
			      LP_WRAP_PROGRAM, self, self);
}

static int check_diffs(const struct lp_build_opts *o, struct lp_err *err)
{
	for (size_t i = 0; i < o->nr_diffs; i++) {
		struct stat st;
		if (access(o->diffs[i], R_OK) < 0 || stat(o->diffs[i], &st) < 0)
			return lp_fail_sys(err, errno, "cannot read %s", o->diffs[i]);
		if (S_ISREG(st.st_mode) && !st.st_size)
			return lp_fail(err, LP_EHUNK, "%s holds no diff", o->diffs[i]);
	}
	return 0;
}

/* What lp_build_write() would say when everything has been built. */
static int check_out(const char *out, struct lp_err *err)
{
	struct stat st;
	out = out ? out : ".";
	if (stat(out, &st) == 0 && S_ISDIR(st.st_mode))
		return access(out, W_OK | X_OK) < 0 ? lp_fail_sys(err, errno, "cannot write into %s", out) : 0;
	char *parent = lp_strdup(out); /* which dirname(3) changes */
	int rc = access(dirname(parent), W_OK | X_OK) < 0 ? lp_fail_sys(err, errno, "cannot write %s", out) : 0;
	lp_free(parent);
	return rc;
}

static int check_allow(const struct lp_build_opts *o, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < o->nr_allow && rc == 0; i++)
		rc = lp_diff_check_allow(o->allow[i], err);
	return rc;
}

static int settle_srcdir(struct lp_build *b, struct lp_err *err)
{
	const char *given = b->opts.srcdir ? b->opts.srcdir : ".";
	struct stat st;
	b->srcdir = realpath(given, NULL);
	if (!b->srcdir)
		return lp_fail_sys(err, errno, "cannot find the source tree %s", given);
	if (stat(b->srcdir, &st) < 0 || !S_ISDIR(st.st_mode) || !b->srcdir[1])
		return lp_fail(err, LP_EUSAGE, "%s is not the directory of a source tree", given);
	b->name = lp_strdup(base_name(b->srcdir));
	return 0;
}

static int settle_command(struct lp_build *b, struct lp_err *err)
{
	b->guessed = !b->opts.command;
	b->command = b->guessed ? lp_guess_command(b->srcdir, b->jobs) : lp_strdup(b->opts.command);
	if (!b->command)
		return lp_fail(err, LP_EUSAGE,
			       "%s has no Makefile, build.ninja, meson.build, CMakeLists.txt or configure: say how it "
			       "is built, as in --build 'make'",
			       b->srcdir);
	return 0;
}

int lp_build_settle(struct lp_build *b, struct lp_err *err)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	b->jobs = b->opts.jobs ? b->opts.jobs : processors > 0 ? (unsigned)processors : 1;
	/* What was said wrongly first; then what is not there. */
	int rc = settle_id(b, err);
	if (rc == 0)
		rc = check_allow(&b->opts, err);
	if (rc == 0)
		rc = check_diffs(&b->opts, err);
	if (rc == 0)
		rc = check_out(b->opts.out, err);
	if (rc == 0)
		rc = settle_srcdir(b, err);
	if (rc == 0)
		rc = settle_command(b, err);
	if (rc == 0)
		rc = find_wrapper(&b->wrapper, b->opts.wrapper, err);
	if (rc == 0)
		rc = lp_cache_root(&b->root, b->opts.cache, err);
	return rc;
}

/* ---- the key ---- */

struct hasher {
	crypto_generichash_state state;
};

static void hash_text(struct hasher *h, const char *text)
{
	text = text ? text : "";
	crypto_generichash_update(&h->state, (const uint8_t *)text, strlen(text) + 1);
}

/* A program is another one when its file is: compilers come with packages, which replace it. */
static void hash_program(struct hasher *h, const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return;
	char *text = lp_sprintf("%s %lld %lld.%09ld", path, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
				st.st_mtim.tv_nsec);
	hash_text(h, text);
	lp_free(text);
}

typedef void path_fn(void *arg, const char *dir, const char *name);

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void each_compiler_in(const char *dir, path_fn *fn, void *arg)
{
	struct dirent **entries = NULL;
	int nr = scandir(dir, &entries, is_visible, alphasort);
	for (int i = 0; i < nr; i++) {
		if (lp_is_compiler_name(entries[i]->d_name) || lp_is_linker_name(entries[i]->d_name))
			fn(arg, dir, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

/* Every compiler and linker that can be found by its name. */
static void each_compiler(path_fn *fn, void *arg)
{
	const char *path = getenv("PATH");
	for (const char *p = path; p && *p;) {
		size_t len = strcspn(p, ":");
		char *dir = lp_sprintf("%.*s", (int)len, p);
		if (len)
			each_compiler_in(dir, fn, arg);
		lp_free(dir);
		p += len + (p[len] == ':');
	}
}

static void hash_one_compiler(void *arg, const char *dir, const char *name)
{
	char *path = lp_sprintf("%s/%s", dir, name);
	hash_program(arg, path);
	lp_free(path);
}

static void hash_environment(struct hasher *h)
{
	static const char *const names[] = {"PATH",
					    "CC",
					    "CXX",
					    "CPP",
					    "LD",
					    "AR",
					    "AS",
					    "CFLAGS",
					    "CXXFLAGS",
					    "CPPFLAGS",
					    "LDFLAGS",
					    "LIBS",
					    "CPATH",
					    "C_INCLUDE_PATH",
					    "CPLUS_INCLUDE_PATH",
					    "LIBRARY_PATH",
					    "PKG_CONFIG_PATH",
					    "SOURCE_DATE_EPOCH",
					    "DEB_BUILD_OPTIONS",
					    "DEB_BUILD_PROFILES",
					    "DEB_BUILD_MAINT_OPTIONS",
					    "MALLOC",
					    "OPTIMIZATION",
					    "V"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		hash_text(h, getenv(names[i]));
}

static int make_key(struct lp_build *b, struct lp_hash *key, struct lp_err *err)
{
	struct hasher h;
	struct lp_hash tree;
	int rc = lp_tree_hash(&tree, b->srcdir, b->root, b->opts.interrupted, err);
	crypto_generichash_init(&h.state, NULL, 0, sizeof key->bytes);
	hash_text(&h, CACHE_LAYOUT);
	hash_text(&h, b->srcdir);
	hash_text(&h, b->command);
	hash_program(&h, b->wrapper);
	hash_environment(&h);
	each_compiler(hash_one_compiler, &h);
	crypto_generichash_update(&h.state, tree.bytes, sizeof tree.bytes);
	crypto_generichash_final(&h.state, key->bytes, sizeof key->bytes);
	return rc;
}

static void name_places(struct lp_build *b)
{
	b->tree = lp_sprintf("%s/tree/%s", b->cache.here, b->name);
	b->work = lp_sprintf("%s/work", b->cache.dir);
	b->map = lp_sprintf("%s=%s", b->tree, b->srcdir);
}

int lp_build_open_cache(struct lp_build *b, struct lp_err *err)
{
	struct lp_hash key;
	int rc = make_key(b, &key, err);
	if (rc == 0)
		rc = lp_cache_open(&b->cache, b->root, &key, b->opts.interrupted, err);
	if (rc == 0 && b->opts.clean)
		rc = lp_cache_clear(&b->cache, err);
	if (rc < 0)
		return rc;
	b->cached = b->cache.hit;
	name_places(b);
	lp_cache_sweep(b->root, b->cache.dir);
	rc = lp_tree_remove(b->work, err);
	return rc < 0 ? rc : lp_make_dirs(b->work, err);
}

/* ---- links to the wrapper ---- */

static void link_name(const struct lp_build *b, const char *name)
{
	char *path = lp_sprintf("%s/%s", b->cache.bin, name);
	if (symlink(b->wrapper, path) < 0 && errno != EEXIST)
		lp_free(NULL); /* the compiler of that name is then not seen; the build says so when it matters */
	lp_free(path);
}

static bool is_renamed(const struct lp_build *b, const char *to)
{
	for (size_t i = 0; i < b->renames.nr; i++)
		if (strcmp(b->renames.items[i].to, to) == 0)
			return true;
	return false;
}

/* Build files that name a compiler absolutely name its link in our copy, if that is the one that the name stands for. */
static void link_one_compiler(void *arg, const char *dir, const char *name)
{
	struct lp_build *b = arg;
	link_name(b, name);
	char *to = lp_sprintf("%s/%s", b->cache.bin, name);
	if (is_renamed(b, to)) {
		lp_free(to);
		return;
	}
	lp_vec_push(&b->renames, ((struct lp_tree_rename){.from = lp_sprintf("%s/%s", dir, name), .to = to}));
}

/* A compiler that CC, CXX or LD names is one, whatever it is called. */
static void link_named(const struct lp_build *b, const char *variable)
{
	const char *value = getenv(variable);
	if (!value || !*value)
		return;
	char *program = lp_sprintf("%.*s", (int)strcspn(value, " \t"), value);
	const char *name = base_name(program);
	if (*name && name != program) {
		char *real = lp_sprintf("%s/%s.real", b->cache.bin, name);
		if (symlink(program, real) == 0)
			link_name(b, name);
		lp_free(real);
	} else if (*name && strcmp(name, "ccache") != 0 && strcmp(name, "env") != 0) {
		link_name(b, name);
	}
	lp_free(program);
}

/* What a fix may include, in a directory of its own: beside the wrapper where that was built, in the prefix's include when
 * installed. */
static int place_header(struct lp_build *b, struct lp_err *err)
{
	static const char *const places[] = {PATCH_HEADER, "../../include/" PATCH_HEADER};
	int rc = -ENOENT;
	b->include = lp_sprintf("%s/include", b->cache.bin);
	char *to = lp_sprintf("%s/" PATCH_HEADER, b->include), *dir = lp_strdup(b->wrapper);
	strrchr(dir, '/')[1] = 0;
	if (lp_make_dirs(b->include, err) == 0)
		for (size_t i = 0; i < LP_ARRAY_SIZE(places) && rc < 0; i++) {
			char *from = lp_sprintf("%s%s", dir, places[i]);
			rc = lp_copy_file(from, to, err);
			lp_free(from);
		}
	lp_free(dir);
	lp_free(to);
	return rc < 0 ? lp_fail(err, LP_EFILE, PATCH_HEADER " is not installed beside " LP_WRAP_PROGRAM) : 0;
}

int lp_build_make_links(struct lp_build *b, struct lp_err *err)
{
	static const char *const variables[] = {"CC", "CXX", "LD"};
	int rc = lp_tree_remove(b->cache.bin, err);
	if (rc == 0)
		rc = lp_make_dirs(b->cache.bin, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < LP_ARRAY_SIZE(variables); i++)
		link_named(b, variables[i]);
	each_compiler(link_one_compiler, b);
	return place_header(b, err);
}
