#include "runner/config.h"

#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "arm64runner.conf"

enum kind { BOOL, PATH, PATHS, CHANNEL };

static const struct key {
	const char *section, *name;
	enum kind kind;
	size_t at; /* in struct lp_runner_config */
} keys[] = {
#define CONFIG(section, key, kind, member, sentence) {section, key, kind, offsetof(struct lp_runner_config, member)},
#include "runner/config.def"
#undef CONFIG
};

/* A file that is being read. */
struct reading {
	struct lp_runner_config *config;
	const char *path;
	FILE *file;
	unsigned line;
	void (*complain)(const char *line, void *arg);
	void *arg;
};

/* ---- values ---- */

static bool read_bool(const char *text, bool *out)
{
	static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(words); i++)
		for (int k = 0; k < 2; k++)
			if (!strcasecmp(text, words[i][k])) {
				*out = k;
				return true;
			}
	return false;
}

/* From the folder of the file on. */
static char *whole_path(const struct reading *r, const char *text)
{
	const char *slash = strrchr(r->path, '/');

	if (*text == '/')
		return lp_strdup(text);
	return lp_sprintf("%.*s/%s", (int)(slash - r->path), r->path, text);
}

static bool take(struct reading *r, const struct key *k, const char *text)
{
	void *member = (char *)r->config + k->at;
	lp_config_paths *paths = member;

	switch (k->kind) {
	case BOOL:
		return read_bool(text, member);
	case CHANNEL:
		*(bool *)member = strcmp(text, "rc") == 0;
		return !strcmp(text, "rc") || !strcmp(text, "stable");
	case PATH:
		lp_free(*(char **)member);
		*(char **)member = whole_path(r, text);
		return *text;
	default:
		lp_vec_push(paths, whole_path(r, text));
		return *text;
	}
}

/* ---- one file ---- */

static void complain(struct reading *r, const char *section, const char *name, const char *what)
{
	char *line = lp_sprintf("%s:%u: [%s] %s%s", r->path, r->line, section, name, what);

	if (r->complain)
		r->complain(line, r->arg);
	lp_free(line);
}

/* For inih: not 0, which would end at the first mistake. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;

	for (size_t i = 0; i < LP_ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].section, section) && !strcmp(keys[i].name, name)) {
			if (!take(r, &keys[i], value))
				complain(r, section, name, " cannot be that");
			return 1;
		}
	complain(r, section, name, " is no setting of this runner");
	return 1;
}

static char *next_line(char *line, int size, void *stream)
{
	struct reading *r = stream;

	r->line++;
	return fgets(line, size, r->file);
}

static int read_stream(struct reading *r, struct lp_err *err)
{
	int rc = ini_parse_stream(next_line, r, on_key, r);

	return rc > 0 ? lp_fail(err, LP_EPARSE, "%s:%d: neither [section] nor key = value", r->path, rc) : 0;
}

int lp_runner_config_read(struct lp_runner_config *c, const char *path, void (*say)(const char *line, void *arg),
			  void *arg, struct lp_err *err)
{
	struct reading r = {.config = c, .path = path, .file = fopen(path, "re"), .complain = say, .arg = arg};
	int rc;

	if (!r.file)
		return lp_fail_sys(err, errno, "%s", path);
	rc = read_stream(&r, err);
	fclose(r.file);
	return rc;
}

/* ---- the places ---- */

static bool is_ours_alone(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

/* The i-th place; NULL when there is none, "" after the last. */
static char *place(unsigned i)
{
	const char *xdg = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
	char here[PATH_MAX];

	switch (i) {
	case 0:
		return getcwd(here, sizeof here) ? lp_sprintf("%s/" FILE_NAME, here) : NULL;
	case 1:
		if (xdg && *xdg == '/')
			return lp_sprintf("%s/" FILE_NAME, xdg);
		return home ? lp_sprintf("%s/.config/" FILE_NAME, home) : NULL;
	default:
		return lp_strdup("/etc/" FILE_NAME);
	}
}

enum { NR_PLACES = 3 };

int lp_runner_config_find(struct lp_runner_config *c, void (*say)(const char *line, void *arg), void *arg,
			  struct lp_err *err)
{
	int rc = -ENOENT;

	*c = (struct lp_runner_config){0};
	for (unsigned i = 0; i < NR_PLACES && rc == -ENOENT; i++) {
		char *path = place(i);
		if (path && access(path, F_OK) == 0 && (i > 0 || is_ours_alone(path)))
			rc = lp_runner_config_read(c, path, say, arg, err);
		lp_free(path);
	}
	return rc == -ENOENT ? 0 : rc;
}

static void free_paths(lp_config_paths *paths)
{
	for (size_t i = 0; i < paths->nr; i++)
		lp_free(paths->items[i]);
	lp_vec_free(paths);
}

void lp_runner_config_free(struct lp_runner_config *c)
{
	lp_free(c->sysroot);
	free_paths(&c->load);
	free_paths(&c->watch);
}
