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

enum kind { BOOL, PATH, PATHS, CHANNEL, JIT, TEXT, SECONDS, KEYS, SWITCH, BYTES };

static const struct key {
	const char *section, *name;
	enum kind kind;
	size_t at; /* in struct lp_runner_config */
	bool decides;
} keys[] = {
#define CONFIG(section, key, kind, member, sentence) \
	{section, key, kind, offsetof(struct lp_runner_config, member), false},
#define DECIDES(section, key, kind, member, sentence) \
	{section, key, kind, offsetof(struct lp_runner_config, member), true},
#include "runner/config.def"
#undef CONFIG
#undef DECIDES
};

/* Which keys of a file count. */
enum taken { ALL, NOTHING_DECIDED, DECISIONS_ALONE };

/* A file that is being read. */
struct reading {
	struct lp_runner_config *config;
	const char *path;
	FILE *file;
	unsigned line;
	enum taken taken;
	bool is_trusted; /* nobody else writes it */
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

bool lp_runner_jit_mode(const char *text, enum lp_runner_jit *out)
{
	bool on;

	if (read_bool(text, &on))
		*out = on ? LP_RUNNER_JIT_ON : LP_RUNNER_JIT_OFF;
	else if (!strcasecmp(text, "tier1"))
		*out = LP_RUNNER_JIT_TIER1;
	else if (!strcasecmp(text, "tier2"))
		*out = LP_RUNNER_JIT_TIER2;
	else if (!strcasecmp(text, "both"))
		*out = LP_RUNNER_JIT_BOTH;
	else if (!strcasecmp(text, "check"))
		*out = LP_RUNNER_JIT_CHECK;
	else if (!strcasecmp(text, "check-tier2"))
		*out = LP_RUNNER_JIT_CHECK_TIER2;
	else
		return false;
	return true;
}

/* From the folder of the file on. */
static char *whole_path(const struct reading *r, const char *text)
{
	const char *slash = strrchr(r->path, '/');

	if (*text == '/')
		return lp_strdup(text);
	return lp_sprintf("%.*s/%s", (int)(slash - r->path), r->path, text);
}

static bool read_seconds(const char *text, unsigned *out)
{
	static const struct {
		const char *unit;
		unsigned seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	for (size_t i = 0; i < LP_ARRAY_SIZE(units); i++)
		if (*text >= '0' && *text <= '9' && n <= 1000000 && !strcmp(end, units[i].unit)) {
			*out = (unsigned)n * units[i].seconds;
			return n > 0;
		}
	return false;
}

static bool read_switch(const char *text, enum lp_runner_switch *out)
{
	bool on;

	if (!read_bool(text, &on))
		return false;
	*out = on ? LP_RUNNER_YES : LP_RUNNER_NO;
	return true;
}

static bool read_bytes(const char *text, uint64_t *out)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"K", 10}, {"M", 20}, {"G", 30}};
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	for (size_t i = 0; i < LP_ARRAY_SIZE(units); i++)
		if (*text >= '0' && *text <= '9' && n <= UINT32_MAX && !strcmp(end, units[i].unit)) {
			*out = (uint64_t)n << units[i].shift;
			return n > 0;
		}
	return false;
}

/* A key is base64 of 42 bytes that begin with "Ed"; '/' is a digit of that, but never the first. */
static bool is_key(const char *text)
{
	return strlen(text) == 56 && !strncmp(text, "RW", 2);
}

static void put_text(char **member, char *text)
{
	lp_free(*member);
	*member = text;
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
	case JIT:
		return lp_runner_jit_mode(text, member);
	case PATH:
		put_text(member, whole_path(r, text));
		return *text;
	case TEXT:
		put_text(member, lp_strdup(text));
		return *text;
	case SECONDS:
		return read_seconds(text, member);
	case SWITCH:
		return read_switch(text, member);
	case BYTES:
		return read_bytes(text, member);
	case KEYS:
		lp_vec_push(paths, is_key(text) ? lp_strdup(text) : whole_path(r, text));
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

/* Names of files and texts are wrong when there is nothing. */
static const char *what_can_be(enum kind kind)
{
	switch (kind) {
	case BOOL:
	case SWITCH:
		return "yes or no";
	case CHANNEL:
		return "stable or rc";
	case JIT:
		return "one of " LP_RUNNER_JIT_MODES;
	case SECONDS:
		return "a number of seconds, or one with s, m, h, d or w behind it, more than 0";
	case BYTES:
		return "a number of bytes, or one with K, M or G behind it, more than 0";
	default:
		return "something";
	}
}

static void refuse(struct reading *r, const struct key *k, const char *value)
{
	char *why = lp_sprintf(" cannot be that: \"%s\"; write %s", value, what_can_be(k->kind));

	complain(r, k->section, k->name, why);
	lp_free(why);
}

/* A key that is in no such section. */
static void tell_unknown(struct reading *r, const char *section, const char *name)
{
	const struct key *k = keys;
	char *why;

	while (k < keys + LP_ARRAY_SIZE(keys) && strcmp(k->name, name) != 0)
		k++;
	if (k == keys + LP_ARRAY_SIZE(keys)) {
		complain(r, section, name, " is no setting of this runner");
		return;
	}
	why = lp_sprintf(" is no setting of this runner here: write it behind a line [%s]", k->section);
	complain(r, section, name, why);
	lp_free(why);
}

static const struct key *find_key(const char *section, const char *name)
{
	/* The first runner's file had no sections. */
	if (!*section && !strcmp(name, "auto_update"))
		section = "update";
	for (size_t i = 0; i < LP_ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].section, section) && !strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* Why a key that decides does not count here; NULL: it does. */
static const char *distrust(const struct reading *r, const struct key *k)
{
	if (!k->decides)
		return NULL;
	if (r->taken == NOTHING_DECIDED)
		return " is not taken from the current folder: write it to ~/.config/" FILE_NAME " or /etc/" FILE_NAME;
	if (!r->is_trusted)
		return " is not taken from a file that somebody else may write; it has to be root's or yours (chmod "
		       "go-w)";
	return NULL;
}

/* For inih: not 0, which would end at the first mistake. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;
	const struct key *k = find_key(section, name);
	const char *why = k ? distrust(r, k) : NULL;

	if (r->taken == DECISIONS_ALONE && (!k || !k->decides))
		return 1;
	if (!k)
		tell_unknown(r, section, name);
	else if (why)
		complain(r, section, name, why);
	else if (!take(r, k, value))
		refuse(r, k, value);
	else if (k->at == offsetof(struct lp_runner_config, requires_signature) && !r->config->requires_signature)
		complain(r, section, name,
			 " = no is not taken from a file: only --unsigned on the command line can say so");
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

static bool is_trusted(FILE *file)
{
	struct stat st;

	return fstat(fileno(file), &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 022);
}

static int read_file(struct reading *r, struct lp_err *err)
{
	int rc;

	r->file = fopen(r->path, "re");
	if (!r->file)
		return lp_fail_sys(err, errno, "%s", r->path);
	r->is_trusted = is_trusted(r->file);
	if (!r->config->from)
		r->config->from = lp_strdup(r->path);
	rc = read_stream(r, err);
	fclose(r->file);
	return rc;
}

/* From the root on. */
static char *absolute(const char *path)
{
	char here[PATH_MAX];

	return *path == '/' || !getcwd(here, sizeof here) ? lp_strdup(path) : lp_sprintf("%s/%s", here, path);
}

int lp_runner_config_read(struct lp_runner_config *c, const char *path, void (*say)(const char *line, void *arg),
			  void *arg, struct lp_err *err)
{
	char *whole = absolute(path);
	struct reading r = {.config = c, .path = whole, .complain = say, .arg = arg};
	int rc;

	*c = (struct lp_runner_config){0};
	rc = read_file(&r, err);
	lp_free(whole);
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
	struct reading r = {.config = c, .complain = say, .arg = arg};
	bool is_done = false;
	int rc = 0;

	*c = (struct lp_runner_config){0};
	for (unsigned i = 0; i < NR_PLACES && rc == 0 && !is_done; i++) {
		char *path = place(i);
		if (path && access(path, F_OK) == 0 && (i > 0 || is_ours_alone(path))) {
			r.path = path;
			r.line = 0;
			r.taken = i == 0 ? NOTHING_DECIDED : c->from ? DECISIONS_ALONE : ALL;
			rc = read_file(&r, err);
			is_done = i > 0;
		}
		lp_free(path);
	}
	return rc;
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
	lp_free(c->host_cpu);
	lp_free(c->smc);
	free_paths(&c->load);
	free_paths(&c->watch);
	free_paths(&c->keys);
	lp_free(c->repository);
	lp_free(c->url);
	lp_free(c->ca_file);
	lp_free(c->patches);
	lp_free(c->from);
}
