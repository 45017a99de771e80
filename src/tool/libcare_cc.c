/*
 * libcare-cc: stands in for the compiler while a patch is made; everything it is to do, it is told by the environment.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/libcare_cc.h"

#define OWN_ERROR 129

static void tell(void *arg, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static int fail(const char *sentence)
{
	fprintf(stderr, "KPCC: %s\n", sentence);
	return OWN_ERROR;
}

static void words_from(lp_words *out, const char *variable, const char *otherwise)
{
	const char *text = getenv(variable);
	lp_words_split(out, text ? text : otherwise);
}

static bool is_cxx(const char *name)
{
	size_t n = strlen(name);
	return n >= 2 && !strcmp(name + n - 2, "++");
}

static const char *real_compiler(const char *name)
{
	bool cxx = is_cxx(name);
	const char *chosen = getenv(cxx ? "KPCXXREAL" : "KPCCREAL");
	return chosen && *chosen ? chosen : cxx ? "g++" : "gcc";
}

static bool read_stage(const char *text, enum lp_libcare_stage *out)
{
	static const char *const names[] = {"original", "patched", "configure"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*out = (enum lp_libcare_stage)i;
			return true;
		}
	return false;
}

/* $KPATCH_PATH/kpatch_gensrc, or the one beside us. */
static char *find_gensrc(void)
{
	const char *dir = getenv("KPATCH_PATH");
	char self[PATH_MAX];
	if (dir && *dir)
		return lp_sprintf("%s/kpatch_gensrc", dir);
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return lp_strdup("kpatch_gensrc");
	self[n] = 0;
	char *slash = strrchr(self, '/');
	return lp_sprintf("%.*s/kpatch_gensrc", (int)(slash - self), self);
}

/* libcare-patch-make removes it, and a compiler may outlive that. */
static void choose_temporary(void)
{
	const char *dir = getenv("KPATCH_TMPDIR");
	if (dir && access(dir, W_OK) == 0)
		setenv("TMPDIR", dir, 1);
}

int main(int argc, char **argv)
{
	struct lp_libcare_cc_env env = {.prefix = getenv("KPATCH_PREFIX"), .asm_dir = getenv("KPATCH_ASM_DIR")};
	struct lp_err err = {0};
	const char *stage = getenv("KPATCH_STAGE"), *debug = getenv("KPCC_DEBUG");
	lp_stdio_hold();
	choose_temporary();
	if (!stage)
		return fail("KPATCH_STAGE is undefined");
	if (!read_stage(stage, &env.stage)) {
		fprintf(stderr, "KPCC: Wrong KPATCH_STAGE: '%s'\n", stage);
		return OWN_ERROR;
	}
	char *gensrc = find_gensrc();
	env.gensrc = gensrc;
	env.compiler = real_compiler(argc ? argv[0] : "");
	env.prefix = env.prefix ? env.prefix : ".kpatch_";
	env.added = getenv("KPATCH_ADDED");
	env.with_assembly = getenv("KPATCH_GENSRC_ASM");
	env.objects = getenv("KPATCH_OBJECTS");
	env.told = debug && strtoul(debug, NULL, 10) ? tell : NULL;
	words_from(&env.remove, "KPCC_REMOVE_ARGS", "-g");
	words_from(&env.append, "KPCC_APPEND_ARGS", "");
	words_from(&env.filter, "KPCC_DBGFILTER_ARGS", "--dbg-filter;--os=rhel6");
	words_from(&env.patch, "KPCC_PATCH_ARGS", "--force-gotpcrel;--os=rhel6");
	int rc = argc ? lp_libcare_cc(&env, argv, &err) : OWN_ERROR;
	lp_words_free(&env.remove);
	lp_words_free(&env.append);
	lp_words_free(&env.filter);
	lp_words_free(&env.patch);
	lp_free(gensrc);
	return rc < 0 ? fail(err.text) : rc;
}
