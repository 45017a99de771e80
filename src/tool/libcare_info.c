/*
 * libcare-ctl info, in the two dialects of the family:
 *
 *     info -p PID|all [-v]                         LibcarePlus: a paragraph for each object that has patches
 *     info [-n] [-b ID] [-s STORE] [-r REGEXP]...  libcare: a line for each object, with what the store has for it
 *
 * Any of -n, -b, -s and -r chooses the second.
 */
#include <getopt.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "tool/libcare.h"
#include "tool/tool.h"

#define DESCRIPTION_MAX 65536

struct query {
	bool all, libcare, descriptions;
	pid_t pid;
	const char *build_id, *storage, *regexp;
	struct lp_store *store;
	regex_t re;
	size_t vulnerable, outdated;
};

static int usage(const char *err, const char *storage)
{
	char *text = lp_sprintf("usage: libcare-ctl info [options] [-b BUILDID] [-p PID] [-s STORAGE] [-r REGEXP]\n"
				"\n"
				"Options:\n"
				"  -h            - this message\n"
				"  -n            - don't print patch descriptions\n"
				"  -b <BUILDID>  - output all processes having object with specified BuildID loaded\n"
				"  -p <PID>      - target process, 'all' or omitted for all the system processes\n"
				"  -s <STORAGE>  - only show BuildIDs of object having patches in STORAGE, default %s\n"
				"  -r <REGEXP>   - only show BuildIDs of object having name matching REGEXP\n"
				"  -v            - verbose mode\n",
				storage);
	int status = libcare_usage_of(err, text);
	lp_free(text);
	return status;
}

/* ---- LibcarePlus ---- */

#define LABEL "%-25s "

static size_t count_shown(const struct lp_deploy_object *o)
{
	size_t n = 0;
	for (size_t i = 0; i < o->patches.nr; i++)
		n += !o->patches.items[i].superseded;
	return n;
}

static void print_object(pid_t pid, const struct lp_deploy_object *o)
{
	out_printf(LABEL "%d\n", "Pid:", (int)pid);
	out_printf(LABEL "%s\n", "Target:", o->name);
	out_printf(LABEL "%s\n", "Build id:", o->build_id);
	out_printf(LABEL "%zu\n", "Applied patch number:", count_shown(o));
	for (size_t i = 0; i < o->patches.nr; i++)
		if (!o->patches.items[i].superseded)
			out_printf(LABEL "%s\n", "Patch id:", o->patches.items[i].id);
	out_printf("\n");
}

static int plus_info(struct query *q, const struct lp_seen *seen, struct lp_err *err)
{
	struct lp_deploy_status status;
	int rc = lp_deploy_look(seen->pid, &status, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < status.objects.nr; i++)
		print_object(seen->pid, &status.objects.items[i]);
	lp_deploy_status_free(&status);
	return 0;
}

/* ---- libcare ---- */

/* One object with what is in the process and what the store has for it. */
struct standing {
	const struct lp_seen_object *object;
	const struct lp_deploy_object *patched; /* NULL = not */
	const struct lp_store_patch *best;	/* NULL = the store has nothing */
};

static void print_description(const struct query *q, const struct standing *s, const char *title, enum style style)
{
	struct lp_buf text = {0};
	if (!q->descriptions)
		return;
	out_style(style);
	out_printf("\n%s\n", title);
	if (s->best->description && lp_read_file(s->best->description, &text, DESCRIPTION_MAX, NULL) == 0)
		out_text(lp_buf_cstr(&text), text.len);
	out_style(STYLE_NONE);
	lp_buf_free(&text);
}

static bool is_vulnerable(const struct standing *s)
{
	return s->best && s->best->only_description && !s->patched;
}

static bool is_outdated(const struct standing *s)
{
	return s->best && !s->best->only_description && (!s->patched || s->best->level > lp_deploy_level(s->patched));
}

static void print_standing(struct query *q, const struct standing *s)
{
	out_printf("%s buildid=%s", lp_seen_name(s->object), s->object->build_id);
	if (s->patched)
		out_printf(" patchlvl=%u", lp_deploy_level(s->patched));
	if (s->best && s->best->level)
		out_printf(" latest=%u", s->best->level);
	if (is_vulnerable(s)) {
		out_style(STYLE_BAD);
		out_printf(" VULNERABLE");
		out_style(STYLE_NONE);
	}
	out_printf("\n");
	if (is_vulnerable(s))
		print_description(q, s, "VULNERABLE VERSION:", STYLE_BAD);
	else if (is_outdated(s))
		print_description(q, s, "new patch description:", STYLE_WARN);
	else if (s->best && s->patched)
		print_description(q, s, "latest patch applied", STYLE_BOLD);
	q->vulnerable += is_vulnerable(s);
	q->outdated += is_outdated(s);
}

static void print_process(const struct lp_seen *seen, bool *printed)
{
	if (!*printed)
		out_printf("pid=%d comm=%s\n", (int)seen->pid, seen->comm);
	*printed = true;
}

static bool name_fits(const struct query *q, const struct lp_seen_object *o)
{
	return !q->regexp || regexec(&q->re, lp_seen_name(o), 0, NULL, 0) == 0;
}

/* -b: who has this object loaded? */
static void show_holder(const struct query *q, const struct lp_seen *seen)
{
	bool printed = false;
	for (size_t i = 0; i < seen->objects.nr && !printed; i++) {
		const struct lp_seen_object *o = &seen->objects.items[i];
		if (strcmp(o->build_id, q->build_id) != 0)
			continue;
		print_process(seen, &printed);
		out_printf("%s %s\n", lp_seen_name(o), o->build_id);
	}
}

static int show_standing(struct query *q, const struct lp_seen *seen, const struct lp_deploy_status *status,
			 const struct lp_seen_object *o, bool *printed, struct lp_err *err)
{
	struct lp_store_found found = {0};
	int rc = q->store ? lp_store_find(q->store, o->build_id, &found, err) : 0;
	struct standing s = {o, lp_deploy_object_of(status, o->build_id), found.nr ? &found.items[found.nr - 1] : NULL};
	if (rc == 0 && (s.patched || s.best)) {
		print_process(seen, printed);
		print_standing(q, &s);
	}
	lp_store_found_free(&found);
	return rc;
}

static int libcare_info_of(struct query *q, const struct lp_seen *seen, struct lp_err *err)
{
	struct lp_deploy_status status = {0};
	bool printed = false;
	if (q->build_id) {
		show_holder(q, seen);
		return 0;
	}
	int rc = seen->ledger || seen->foreign ? lp_deploy_look(seen->pid, &status, err) : 0;
	for (size_t i = 0; rc == 0 && i < seen->objects.nr; i++) {
		const struct lp_seen_object *o = &seen->objects.items[i];
		if (o->build_id[0] && name_fits(q, o))
			rc = show_standing(q, seen, &status, o, &printed, err);
	}
	if (printed && q->descriptions)
		out_printf("========================================\n");
	lp_deploy_status_free(&status);
	return rc;
}

static void print_summary(const struct query *q)
{
	if (q->vulnerable) {
		out_style(STYLE_BAD);
		out_printf("%zu object(s) are vulnerable", q->vulnerable);
		out_style(STYLE_NONE);
		out_printf("\n");
	}
	if (q->outdated) {
		out_style(STYLE_WARN);
		out_printf("%zu object(s) may be updated to the latest patch", q->outdated);
		out_style(STYLE_NONE);
		out_printf("\n\nRun: libcare-client update\n");
	}
}

/* ---- which processes ---- */

static int show(struct query *q, pid_t pid, struct lp_err *err)
{
	struct lp_seen seen;
	int rc = lp_scan_process(pid, &seen, err);
	if (rc < 0)
		return rc;
	if (q->libcare)
		rc = libcare_info_of(q, &seen, err);
	else if (!q->all || seen.ledger || seen.foreign)
		rc = plus_info(q, &seen, err);
	lp_seen_free(&seen);
	return rc;
}

static int show_all(struct query *q)
{
	lp_pid_vec pids = {0};
	struct lp_err err = {0};
	int status = lp_scan_pids(&pids, &err) < 0 ? EXIT_REFUSED : EXIT_DONE;
	for (size_t i = 0; i < pids.nr; i++) {
		int rc = show(q, pids.items[i], &err);
		if (rc == 0 || rc == -LP_EGONE || rc == -LP_EEXECED || rc == -LP_EPERM)
			continue;
		note_error(&err);
		status = EXIT_REFUSED;
	}
	lp_vec_free(&pids);
	return status;
}

static int run(struct query *q)
{
	struct lp_err err = {0};
	int rc, status;
	if (q->all) {
		status = show_all(q);
	} else if ((rc = show(q, q->pid, &err)) < 0) {
		note_error(&err);
		status = status_of(rc);
	} else {
		status = EXIT_DONE;
	}
	print_summary(q);
	out_flush();
	return status;
}

/* The default storage need not be there. */
static int open_storage(struct query *q, const char *fallback)
{
	struct lp_err err = {0};
	const char *path = q->storage ? q->storage : fallback;
	if (q->storage && (!q->storage[0] || strcmp(q->storage, "/dev/null") == 0))
		return EXIT_DONE;
	if (!q->libcare || q->build_id || (!q->storage && access(path, F_OK) < 0))
		return EXIT_DONE;
	int rc = lp_store_open(&q->store, path, &err);
	if (rc < 0)
		note_error(&err);
	return status_of(rc);
}

static int ask(struct query *q, const char *fallback)
{
	if (q->regexp) {
		int error = regcomp(&q->re, q->regexp, REG_EXTENDED | REG_NOSUB);
		if (error) {
			char why[128];
			regerror(error, &q->re, why, sizeof why);
			note("\"%s\" is not a regular expression: %s", q->regexp, why);
			return EXIT_USAGE;
		}
	}
	int status = open_storage(q, fallback);
	if (status == EXIT_DONE)
		status = run(q);
	lp_store_close(q->store);
	if (q->regexp)
		regfree(&q->re);
	return status;
}

static bool take_pid(struct query *q, const char *text)
{
	uint64_t pid;
	q->all = strcmp(text, "all") == 0;
	if (q->all)
		return true;
	if (!parse_decimal(text, INT32_MAX, &pid)) {
		note("\"%s\" is neither a process id nor 'all'", text);
		return false;
	}
	q->pid = (pid_t)pid;
	return true;
}

int libcare_info(const char *storage, int argc, char **argv)
{
	struct query q = {.all = true, .descriptions = true};
	int opt;
	if (argc == 2 && libcare_asks_for_help(argv[1]))
		return usage(NULL, storage);
	while ((opt = getopt(argc, argv, "hnvb:p:s:r:")) != -1) {
		q.libcare = q.libcare || strchr("nbsr", opt);
		switch (opt) {
		case 'h':
			return usage(NULL, storage);
		case 'n':
			q.descriptions = false;
			break;
		case 'v':
			break;
		case 'b':
			q.build_id = optarg;
			break;
		case 'p':
			if (!take_pid(&q, optarg))
				return EXIT_USAGE;
			break;
		case 's':
			q.storage = optarg;
			break;
		case 'r':
			q.regexp = optarg;
			break;
		default:
			return usage("unknown arg", storage);
		}
	}
	if (optind != argc)
		return usage("unknown arg", storage);
	if (q.build_id && (q.regexp || q.storage))
		return usage("regexp & buildid | buildid & storage are mutual", storage);
	return ask(&q, storage);
}
