/*
 * update_module: updates arm64_runner and what is installed beside it.
 *
 * Status: 0 nothing to do, or done; 10 there is something newer (--check); 1
 * refused; 2 wrong use.
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
#include "base/version.h"
#include "runner/config.h"
#include "tool/tool.h"
#include "update/state.h"
#include "update/update.h"

#define EXIT_AVAILABLE 10
#define BAR_WIDTH 30

enum option_name {
#define UPDATE(id, letter, word, argument, sentence) UPD_##id,
#include "tool/update_module.def"
#undef UPDATE
	NR_OPTIONS
};

static const struct row {
	char letter;
	const char *word, *argument, *sentence;
} rows[] = {
#define UPDATE(id, letter, word, argument, sentence) {letter, word, argument, sentence},
#include "tool/update_module.def"
#undef UPDATE
};

struct wish {
	bool on[NR_OPTIONS];
	const char *value[NR_OPTIONS];
	char *program, *agent;
	struct lp_runner_config config;
};

/* ---- the command line ---- */

static int parse(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	struct option words[NR_OPTIONS + 1] = {0};
	char letters[NR_OPTIONS + 3] = ":";
	size_t nr = strlen(letters);
	int c;

	for (size_t i = 0; i < NR_OPTIONS; i++) {
		words[i] = (struct option){rows[i].word, *rows[i].argument != 0, NULL, (int)(256 + i)};
		if (rows[i].letter)
			letters[nr++] = rows[i].letter;
	}
	while ((c = getopt_long(argc, argv, letters, words, NULL)) != -1) {
		size_t id = (size_t)c - 256;
		if (c == '?' || c == ':')
			return lp_fail(err, LP_EUSAGE, "%s %s; update_module --help lists the options",
				       argv[optind - 1],
				       c == ':' ? "wants an argument" : "is no option of this program");
		for (size_t i = 0; c < 256 && i < NR_OPTIONS; i++)
			if (rows[i].letter == c)
				id = i;
		w->on[id] = true;
		w->value[id] = optarg;
	}
	if (optind < argc)
		return lp_fail(err, LP_EUSAGE, "%s is not expected; update_module --help lists the options",
			       argv[optind]);
	return 0;
}

static int check_wish(struct wish *w, struct lp_err *err)
{
	static const enum option_name wishes[] = {UPD_CHECK, UPD_ROLLBACK, UPD_CHANGELOG, UPD_CHANGELOG_RC,
						  UPD_BACKGROUND};
	const char *channel = w->value[UPD_CHANNEL];
	unsigned nr = 0;

	for (size_t i = 0; i < LP_ARRAY_SIZE(wishes); i++)
		nr += w->on[wishes[i]];
	if (nr > 1)
		return lp_fail(err, LP_EUSAGE,
			       "one of --check, --rollback, --changelog, --changelog-rc and --background at a time");
	if (w->value[UPD_PATCHES] && nr > w->on[UPD_CHECK])
		return lp_fail(err, LP_EUSAGE, "--patches goes with --check, and with no other wish");
	if (w->on[UPD_UNSIGNED] && nr)
		return lp_fail(err, LP_EUSAGE, "--unsigned is for an update in the foreground, and for nothing else");
	if (channel && strcmp(channel, "rc") != 0 && strcmp(channel, "stable") != 0)
		return lp_fail(err, LP_EUSAGE, "--channel is stable or rc, not %s", channel);
	return 0;
}

static void print_help(void)
{
	out_printf("usage: update_module [OPTIONS]\n\nUpdates arm64_runner and what is installed beside it.\n\n");
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		char letter[8] = "    ", left[64];
		if (rows[i].letter)
			snprintf(letter, sizeof letter, "-%c, ", rows[i].letter);
		snprintf(left, sizeof left, "%s--%s%s%s", letter, rows[i].word, *rows[i].argument ? " " : "",
			 rows[i].argument);
		out_printf("  %-20s  %s\n", left, rows[i].sentence);
	}
	out_printf(
		"\nStatus: 0 there was nothing to do, or it is done; 10 there is something newer (--check); 1 refused; "
		"2 wrong use.\n");
}

/* ---- configuration ---- */

static void say_line(const char *line, void *arg)
{
	note("%s", line);
}

static char *beside_us(const char *name)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	char *slash;

	if (len <= 0)
		return lp_strdup(name);
	exe[len] = 0;
	slash = strrchr(exe, '/');
	return lp_sprintf("%.*s/%s", (int)(slash - exe), exe, name);
}

static int configure(struct wish *w, struct lp_err *err)
{
	const char *file = w->value[UPD_CONFIG];
	void (*say)(const char *line, void *arg) = w->on[UPD_BACKGROUND] ? NULL : say_line;
	int rc = file ? lp_runner_config_read(&w->config, file, say, NULL, err)
		      : lp_runner_config_find(&w->config, say, NULL, err);

	if (rc == 0 && w->config.requires_signature && w->on[UPD_UNSIGNED])
		rc = lp_fail(err, LP_ESIGNATURE, "--unsigned is refused: the configuration says require_signature");
	if (w->value[UPD_CHANNEL])
		w->config.rc_channel = !strcmp(w->value[UPD_CHANNEL], "rc");
	w->agent = lp_sprintf("update_module/%s", lp_program_version);
	w->program = w->value[UPD_PROGRAM] ? lp_strdup(w->value[UPD_PROGRAM]) : beside_us("arm64_runner");
	return rc;
}

/* ---- while it works ---- */

static void show_stage(enum lp_update_stage stage, uint64_t done, uint64_t total, void *arg)
{
	static const char *const names[] = {"asking", "fetching", "checking the signature", "trying it", "replacing"};
	char bar[BAR_WIDTH + 1], now[SHORT_TEXT], all[SHORT_TEXT], *line;
	unsigned filled = total ? (unsigned)(done >= total ? BAR_WIDTH : done * BAR_WIDTH / total) : 0;

	if (stage != LP_UPDATE_FETCHES || !total) {
		progress_line(names[stage], false);
		return;
	}
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', filled);
	bar[BAR_WIDTH] = 0;
	line = lp_sprintf("%s [%s] %3u%% %s of %s", names[stage], bar, (unsigned)(done * 100 / total),
			  size_text(done, now), size_text(total, all));
	progress_line(line, false);
	lp_free(line);
}

static struct lp_update_options options_of(const struct wish *w)
{
	const struct lp_runner_config *c = &w->config;

	return (struct lp_update_options){.program = w->program,
					  .url = c->url,
					  .repository = c->repository,
					  .ca_file = c->ca_file			       ? c->ca_file
						     : secure_getenv("CURL_CA_BUNDLE") ? secure_getenv("CURL_CA_BUNDLE")
										       : secure_getenv("SSL_CERT_FILE"),
					  .keys = (const char *const *)c->keys.items,
					  .stall_s = c->timeout_s,
					  .rc_channel = c->rc_channel,
					  .takes_unsigned = w->on[UPD_UNSIGNED],
					  .agent = w->agent,
					  .progress = w->on[UPD_QUIET] || w->on[UPD_BACKGROUND] ? NULL : show_stage};
}

/* ---- answers ---- */

/* What is said beside an answer: of patches. */
struct more {
	json_t *object; /* or NULL */
	LP_VEC(char *) sentences;
};

static void free_more(struct more *m)
{
	json_decref(m->object);
	for (size_t i = 0; i < m->sentences.nr; i++)
		lp_free(m->sentences.items[i]);
	lp_vec_free(&m->sentences);
}

/* Takes the object. */
static int answer(const struct wish *w, json_t *object, const struct more *more, int status, const char *sentence)
{
	bool speaks = !w->on[UPD_JSON] && !w->on[UPD_QUIET];

	if (more && more->object)
		json_object_set(object, "patches", more->object);
	if (w->on[UPD_JSON])
		json_emit(object);
	else
		json_decref(object);
	if (speaks)
		out_printf("%s\n", sentence);
	for (size_t i = 0; speaks && more && i < more->sentences.nr; i++)
		out_printf("%s\n", more->sentences.items[i]);
	return status;
}

static json_t *json_version(const struct lp_version *v)
{
	char text[LP_VERSION_TEXT];

	return json_string(lp_version_text(v, text));
}

static json_t *json_found(const struct lp_update_found *f)
{
	return json_pack("{s:b, s:o, s:o, s:b}", "ok", 1, "installed",
			 f->is_known ? json_version(&f->installed) : json_null(), "newest",
			 f->newest ? json_version(&f->newest->version) : json_null(), "available", f->is_newer);
}

static char *found_sentence(const struct lp_update_found *f)
{
	char installed[LP_VERSION_TEXT], newest[LP_VERSION_TEXT];

	if (!f->newest)
		return lp_sprintf("there are no releases; %s is installed", lp_version_text(&f->installed, installed));
	lp_version_text(&f->newest->version, newest);
	if (!f->is_known)
		return lp_sprintf("version %s is available; what is installed does not say its version", newest);
	lp_version_text(&f->installed, installed);
	if (f->is_newer)
		return lp_sprintf("version %s is available; %s is installed", newest, installed);
	return lp_sprintf("version %s is installed, and the newest is %s: nothing to do", installed, newest);
}

static int tell_found(const struct wish *w, const struct lp_update_found *f, const struct more *more)
{
	char *sentence = found_sentence(f);
	int status = answer(w, json_found(f), more, f->is_newer ? EXIT_AVAILABLE : EXIT_DONE, sentence);

	lp_free(sentence);
	return status;
}

static char *done_sentence(const struct lp_update_done *d, const char *what)
{
	char from[LP_VERSION_TEXT], to[LP_VERSION_TEXT], told[64] = "";

	if (d->told)
		snprintf(told, sizeof told, "; %u running %s told", d->told,
			 d->told == 1 ? "runner was" : "runners were");
	return lp_sprintf("%s: version %s in place of %s%s", what, lp_version_text(&d->to, to),
			  lp_version_text(&d->from, from), told);
}

static int tell_done(const struct wish *w, const struct lp_update_done *d, const struct more *more, const char *what)
{
	char *sentence = done_sentence(d, what);
	json_t *object =
		json_pack("{s:b, s:s, s:o, s:o, s:b, s:i}", "ok", 1, "done", what, "from", json_version(&d->from), "to",
			  json_version(&d->to), "signed", d->was_signed, "told", (int)d->told);
	int status = answer(w, object, more, EXIT_DONE, sentence);

	lp_free(sentence);
	return status;
}

/* ---- the wishes: an exit status, or a negative code ---- */

static int do_check(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	struct lp_update_found found;
	int rc = lp_update_look(u, &found, err);

	return rc ? rc : tell_found(w, &found, NULL);
}

/* ---- patches ---- */

static json_t *json_pulled(const struct lp_update_pulled *p)
{
	return json_pack("{s:o, s:o, s:b, s:b, s:i, s:i, s:i}", "from", json_version(&p->from), "to",
			 json_version(&p->to), "available", p->is_newer, "signed", p->was_signed, "files", (int)p->all,
			 "changed", (int)p->changed, "removed", (int)p->removed);
}

static bool is_none(const struct lp_version *v)
{
	return lp_version_compare(v, &(struct lp_version){0}) == 0;
}

static char *pulled_sentence(const struct lp_update_pulled *p, const char *folder, bool only_looked)
{
	char from[LP_VERSION_TEXT], to[LP_VERSION_TEXT], files[SHORT_TEXT];

	lp_version_text(&p->from, from);
	lp_version_text(&p->to, to);
	if (!p->is_newer)
		return is_none(&p->from) ? lp_sprintf("there are no patches")
					 : lp_sprintf("patches %s are in %s: nothing to do", from, folder);
	if (only_looked)
		return lp_sprintf("patches %s are available; %s %s in %s", to, is_none(&p->from) ? "none" : from,
				  is_none(&p->from) ? "is" : "are", folder);
	return lp_sprintf("patches %s are in %s: %s, %u changed, %u removed", to, folder,
			  count_text(p->all, "file", files), p->changed, p->removed);
}

static int do_patches(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	const char *folder = w->value[UPD_PATCHES];
	struct lp_update_pulled pulled;
	json_t *object;
	char *sentence;
	int rc = lp_update_pull(u, folder, w->on[UPD_CHECK], &pulled, err);

	if (rc)
		return rc;
	sentence = pulled_sentence(&pulled, folder, w->on[UPD_CHECK]);
	object = json_pack("{s:b, s:o}", "ok", 1, "patches", json_pulled(&pulled));
	rc = answer(w, object, NULL, w->on[UPD_CHECK] && pulled.is_newer ? EXIT_AVAILABLE : EXIT_DONE, sentence);
	lp_free(sentence);
	return rc;
}

/* Where the configuration names a folder for them.  A refusal is told with the rest, and is one of all of it. */
static int pull_too(const struct wish *w, struct lp_update *u, struct more *more, struct lp_err *err)
{
	struct lp_update_pulled pulled;
	int rc;

	if (!w->config.patches)
		return 0;
	rc = lp_update_pull(u, w->config.patches, false, &pulled, err);
	if (rc) {
		more->object = json_error(err);
	} else {
		more->object = json_pulled(&pulled);
		lp_vec_push(&more->sentences, pulled_sentence(&pulled, w->config.patches, false));
	}
	return rc;
}

/* Of what stood there for the version that is gone. */
static void add_stale(const struct wish *w, const struct lp_update_done *done, struct more *more)
{
	lp_update_sentences stale = {0};
	json_t *list = json_array();

	if (w->config.patches)
		lp_update_stale_patches(w->config.patches, done, &stale);
	for (size_t i = 0; i < stale.nr; i++) {
		json_array_append_new(list, json_text(stale.items[i]));
		lp_vec_push(&more->sentences, stale.items[i]);
	}
	if (more->object && stale.nr)
		json_object_set(more->object, "stale", list);
	json_decref(list);
	lp_vec_free(&stale);
}

static int do_install(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	struct lp_update_found found;
	struct lp_update_done done = {0};
	struct more more = {0};
	int rc = lp_update_recover(u, err), refused, status;

	rc = rc ? rc : lp_update_look(u, &found, err);
	if (rc == 0 && found.is_newer)
		rc = lp_update_install(u, &found, &done, err);
	if (rc)
		return rc;
	refused = pull_too(w, u, &more, err);
	add_stale(w, &done, &more);
	if (!found.is_newer)
		status = tell_found(w, &found, &more);
	else
		status = tell_done(w, &done, &more,
				   done.by_another   ? "updated by another"
				   : done.was_signed ? "updated"
						     : "updated without a signature");
	free_more(&more);
	if (refused && w->on[UPD_JSON]) /* which has said so */
		return EXIT_REFUSED;
	return refused ? refused : status;
}

static int do_rollback(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	struct lp_update_done done;
	int rc = lp_update_rollback(u, &done, err);

	done.was_signed = true; /* it was installed before */
	return rc ? rc : tell_done(w, &done, NULL, "rolled back");
}

/* An index of most to least. */
static int newest_first(const void *a, const void *b)
{
	const struct lp_release *const *left = a, *const *right = b;

	return lp_version_compare(&(*right)->version, &(*left)->version);
}

static void show_release(const struct lp_release *r, const struct lp_version *installed)
{
	char text[LP_VERSION_TEXT];

	out_style(STYLE_BOLD);
	out_printf("%s", lp_version_text(&r->version, text));
	out_style(STYLE_NONE);
	out_printf("%s%.10s%s%s\n", *r->published ? "  " : "", r->published, r->is_candidate ? "  candidate" : "",
		   lp_version_compare(&r->version, installed) == 0 ? "  (installed)" : "");
	for (const char *line = r->notes; *line;) {
		size_t len = strcspn(line, "\r\n");
		out_printf("    %.*s\n", (int)len, line);
		line += len;
		line += *line == '\r';
		line += *line == '\n';
	}
	out_printf("\n");
}

static json_t *json_release(const struct lp_release *r)
{
	return json_pack("{s:o, s:b, s:o, s:o}", "version", json_version(&r->version), "candidate", r->is_candidate,
			 "published", json_text(r->published), "notes", json_text(r->notes));
}

static int do_changelog(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	LP_VEC(const struct lp_release *) shown = {0};
	json_t *list = json_array();
	struct lp_update_found found;
	int rc = lp_update_look(u, &found, err);

	rc = rc == -LP_EDOWNGRADE ? 0 : rc; /* reading harms nobody */
	for (size_t i = 0; rc == 0 && i < found.all->nr; i++)
		if (w->on[UPD_CHANGELOG_RC] || !found.all->items[i].is_candidate)
			lp_vec_push(&shown, &found.all->items[i]);
	if (shown.nr)
		qsort(shown.items, shown.nr, sizeof *shown.items, newest_first);
	for (size_t i = 0; i < shown.nr; i++) {
		if (w->on[UPD_JSON])
			json_array_append_new(list, json_release(shown.items[i]));
		else
			show_release(shown.items[i], &found.installed);
	}
	if (rc == 0 && w->on[UPD_JSON])
		json_emit(json_pack("{s:b, s:O}", "ok", 1, "releases", list));
	else if (rc == 0 && !shown.nr)
		out_printf("there are no releases\n");
	json_decref(list);
	lp_vec_free(&shown);
	return rc;
}

/* What a person has to know of; that there was no network, every day anew, is not. */
static bool is_news(int rc)
{
	return rc && rc != -LP_ENETWORK && rc != -LP_ELIMITED && rc != -LP_ETIMEOUT;
}

/* Patches are signed, and for a folder that somebody has named for them: they come without being asked for one by one. */
static int pull_in_background(const struct wish *w, struct lp_update *u, int rc, char **news, struct lp_err *err)
{
	struct more more = {0};
	struct lp_err why = {0};
	int pulled = rc == -LP_ENETWORK || rc == -LP_ELIMITED || rc == -LP_ETIMEOUT ? 0 : pull_too(w, u, &more, &why);

	if (is_news(pulled) && !*news)
		*news = lp_sprintf("patches that were looked for are refused: %s", why.text);
	free_more(&more);
	if (rc == 0 && pulled)
		*err = why;
	return rc ? rc : pulled;
}

static int do_background(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	struct lp_update_found found;
	struct lp_update_done done;
	char *news = NULL, *what = NULL;
	int rc = w->config.installs ? lp_update_recover(u, err) : 0;
	bool installs;

	/* Nobody knows that this process is there: it must not keep a file system from being unmounted. */
	rc = rc || chdir("/") == 0 ? rc : lp_fail_sys(err, errno, "/ cannot be entered");
	rc = rc ? rc : lp_update_look(u, &found, err);
	installs = rc == 0 && found.is_newer && w->config.installs;

	if (installs)
		rc = lp_update_install(u, &found, &done, err);
	if (is_news(rc))
		news = lp_sprintf("the update that was looked for is refused: %s", err->text);
	else if (rc == 0 && installs)
		news = done_sentence(&done, "updated");
	else if (rc == 0 && found.is_newer)
		what = found_sentence(&found);
	if (what)
		news = lp_sprintf("%s; \"arm64_runner --update\" installs it", what);
	rc = pull_in_background(w, u, rc, &news, err);
	if (news)
		lp_update_leave_news(u, news);
	lp_free(what);
	lp_free(news);
	return rc;
}

static int do_wish(const struct wish *w, struct lp_update *u, struct lp_err *err)
{
	if (w->value[UPD_PATCHES])
		return do_patches(w, u, err);
	if (w->on[UPD_CHECK])
		return do_check(w, u, err);
	if (w->on[UPD_ROLLBACK])
		return do_rollback(w, u, err);
	if (w->on[UPD_CHANGELOG] || w->on[UPD_CHANGELOG_RC])
		return do_changelog(w, u, err);
	if (w->on[UPD_BACKGROUND])
		return do_background(w, u, err);
	return do_install(w, u, err);
}

/* ---- all of it ---- */

static int run(struct wish *w, struct lp_err *err)
{
	struct lp_update *u = NULL;
	struct lp_update_options o;
	int rc = configure(w, err);

	lp_vec_push(&w->config.keys, NULL);
	o = options_of(w);
	rc = rc ? rc : lp_update_open(&u, &o, err);
	rc = rc ? rc : do_wish(w, u, err);
	lp_update_close(u);
	return rc;
}

/* That its libraries are there has been seen when this line is reached; that they work is seen here. */
static int self_test(struct lp_err *err)
{
	int rc = lp_update_self_test(err);

	if (rc == 0)
		out_printf("update_module %s: works\n", lp_program_version);
	return rc;
}

static int dispatch(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	int rc = parse(w, argc, argv, err);

	if (rc)
		return rc;
	if (w->on[UPD_HELP]) {
		print_help();
		return 0;
	}
	if (w->on[UPD_VERSION]) {
		out_printf("update_module %s\n", lp_program_version);
		return 0;
	}
	if (w->on[UPD_SELF_TEST])
		return self_test(err);
	rc = check_wish(w, err);
	return rc ? rc : run(w, err);
}

static int exit_status(int rc)
{
	return rc >= 0 ? rc : rc == -LP_EUSAGE ? EXIT_USAGE : EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	struct wish w = {0};
	struct lp_err err = {0};
	int rc;

	lp_stdio_hold();
	signal(SIGPIPE, SIG_IGN);
	out_program("update_module");
	opterr = 0;
	out_setup(false, false, false);
	rc = dispatch(&w, argc, argv, &err);
	if (rc < 0 && w.on[UPD_JSON])
		json_emit(json_error(&err));
	else if (rc < 0 && !w.on[UPD_BACKGROUND])
		note_error(&err);
	lp_runner_config_free(&w.config);
	lp_free(w.program);
	lp_free(w.agent);
	if (out_flush() < 0 && rc >= 0)
		return EXIT_REFUSED;
	return exit_status(rc);
}
