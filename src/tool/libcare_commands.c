#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "tool/libcare.h"
#include "tool/tool.h"
#include "tool/worker.h"

static struct lp_apply_opts options(unsigned patience_ms)
{
	return (struct lp_apply_opts){.timeout_ms = patience_ms, .interrupted = &interrupted};
}

/* ---- usage ---- */

int libcare_usage_of(const char *err, const char *text)
{
	out_flush();
	if (err)
		fprintf(stderr, "err: %s\n", err);
	fputs(text, stderr);
	return err ? EXIT_USAGE : EXIT_DONE;
}

int libcare_usage(const char *err)
{
	return libcare_usage_of(err, "usage: libcare-ctl [options] <cmd> [args]\n"
				     "\n"
				     "Options:\n"
				     "  -v          - verbose mode\n"
				     "  -h          - this message\n"
				     "\n"
				     "Commands:\n"
				     "  patch  - apply patch to a user-space process\n"
				     "  unpatch- unapply patch from a user-space process\n"
				     "  info   - show info on applied patches\n");
}

static int usage_patch(const char *err)
{
	return libcare_usage_of(err, "usage: libcare-ctl patch [options] <-p PID> <patch>\n"
				     "\n"
				     "Options:\n"
				     "  -h          - this message\n"
				     "  -p <PID>    - target process, 'all' for all the system processes\n");
}

static int usage_unpatch(const char *err)
{
	return libcare_usage_of(err,
				"usage: libcare-ctl unpatch [options] <-p PID> <-i patch_id>[Build-ID or name ...]\n"
				"\n"
				"Options:\n"
				"  -h               - this message\n"
				"  -p <PID>         - target process, 'all' for all the system processes\n"
				"  -i <patch_id>    - target patch id\n");
}

/* ---- one process ---- */

static void log_target(pid_t pid)
{
	char path[64];
	struct lp_buf raw = {0}, text = {0};
	lp_info("kpatch_ctl targeting pid %d", (int)pid);
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	if (lp_log_on(LP_LOG_INFO) && lp_read_file(path, &raw, 1 << 16, NULL) == 0) {
		for (size_t i = 0; i < raw.len; i++)
			if (raw.data[i])
				lp_buf_add(&text, &raw.data[i], 1);
			else
				lp_buf_str(&text, "\\x00");
		lp_info("kpatch_ctl cmdline=\"%s\"", lp_buf_cstr(&text));
	}
	lp_buf_free(&raw);
	lp_buf_free(&text);
}

struct patch_job {
	pid_t pid;
	const struct lp_store *store;
	unsigned patience_ms;
};

static int patch(void *arg, struct lp_deployed *done, struct lp_err *err)
{
	const struct patch_job *job = arg;
	struct lp_apply_opts opts = options(job->patience_ms);
	log_target(job->pid);
	int rc = lp_deploy_apply(job->pid, job->store, &opts, done, err);
	if (rc == 0 && done->nr_objects)
		lp_info("PID '%d' process patch frozen_time is %" PRIu64 " microsecond", (int)job->pid,
			(done->pause_ns + 500) / 1000);
	return rc;
}

static int report_patch(pid_t pid, const struct lp_store *s, bool quiet, int rc, const struct lp_deployed *done,
			const struct lp_err *err)
{
	if (rc < 0) {
		out_printf("Failed to apply patch '%s'\n", lp_store_path(s));
		note_error(err);
	} else if (done->nr_objects) {
		out_printf("%zu patch hunk(s) have been successfully applied to PID '%d'\n", done->nr_objects,
			   (int)pid);
	} else if (!quiet) {
		out_printf("No patch(es) applicable to PID '%d' have been found\n", (int)pid);
	}
	out_flush();
	return rc < 0 ? status_of(rc) : EXIT_DONE;
}

int libcare_patch(pid_t pid, const struct lp_store *s, unsigned patience_ms, bool quiet)
{
	struct patch_job job = {pid, s, patience_ms};
	struct lp_deployed done = {0};
	struct lp_err err = {0};
	int rc = worker_run(pid, patch, &job, &done, &err);
	int status = report_patch(pid, s, quiet, rc, &done, &err);
	return status == EXIT_DONE && !done.nr_objects && !quiet ? EXIT_REFUSED : status;
}

/* ---- all of them ---- */

typedef int each_fn(pid_t pid, void *arg);

/* One process that fails does not stop the others; the worst status counts. */
static int each_process(each_fn *fn, void *arg)
{
	lp_pid_vec pids = {0};
	struct lp_err err = {0};
	int status = EXIT_DONE;
	if (lp_scan_pids(&pids, &err) < 0) {
		note_error(&err);
		status = EXIT_REFUSED;
	}
	for (size_t i = 0; i < pids.nr && !interrupted; i++) {
		int one = fn(pids.items[i], arg);
		status = one > status ? one : status;
	}
	lp_vec_free(&pids);
	return interrupted ? EXIT_REFUSED : status;
}

/* Is a process that we may not look at, or that has gone meanwhile, worth a word?  Of "all", no. */
static int patch_if_it_fits(pid_t pid, void *arg)
{
	const struct lp_store *s = arg;
	struct lp_seen seen;
	struct lp_err err = {0};
	uint64_t fits = 0;
	int rc = lp_scan_process(pid, &seen, &err);
	if (rc < 0) {
		lp_info("%s", err.text);
		return EXIT_DONE;
	}
	rc = lp_deploy_fits(s, &seen, &fits, &err);
	lp_seen_free(&seen);
	if (rc < 0) {
		note_error(&err);
		return EXIT_REFUSED;
	}
	int status = fits ? libcare_patch(pid, s, LIBCARE_PATIENCE_MS, true) : EXIT_DONE;
	return status == EXIT_LOST ? EXIT_DONE : status;
}

int libcare_patch_all(const struct lp_store *s)
{
	return each_process(patch_if_it_fits, (void *)(uintptr_t)s);
}

/* ---- patch ---- */

enum { NO_PID = 0, ALL = -1 };

static bool parse_target(const char *text, pid_t *out)
{
	uint64_t pid;
	if (strcmp(text, "all") == 0) {
		*out = ALL;
		return true;
	}
	bool ok = parse_decimal(text, INT32_MAX, &pid);
	*out = (pid_t)(ok ? pid : 0);
	return ok;
}

static int wrong_pid(const char *text)
{
	note("\"%s\" is neither a process id nor 'all'", text);
	return EXIT_USAGE;
}

static int command_patch(int argc, char **argv)
{
	pid_t pid = NO_PID;
	int opt;
	if (argc == 2 && libcare_asks_for_help(argv[1]))
		return usage_patch(NULL);
	if (argc < 4)
		return usage_patch("not enough arguments.");
	while ((opt = getopt(argc, argv, "hsp:r:")) != -1) {
		switch (opt) {
		case 'h':
			return usage_patch(NULL);
		case 'p':
			if (!parse_target(optarg, &pid))
				return wrong_pid(optarg);
			break;
		case 's': /* libcare's server says so to its libcare-ctl; ours knows by itself */
		case 'r':
			break;
		default:
			return usage_patch("unknown option");
		}
	}
	if (pid == NO_PID)
		return usage_patch("PID argument is mandatory");
	if (optind != argc - 1)
		return usage_patch(optind == argc ? "patch argument is mandatory" : "too many arguments");
	struct lp_store *s;
	struct lp_err err = {0};
	int rc = lp_store_open(&s, argv[optind], &err);
	if (rc < 0) {
		out_printf("Failed to apply patch '%s'\n", argv[optind]);
		note_error(&err);
		return status_of(rc);
	}
	int status = pid == ALL ? libcare_patch_all(s) : libcare_patch(pid, s, LIBCARE_PATIENCE_MS, false);
	lp_store_close(s);
	return status;
}

/* ---- unpatch ---- */

struct unpatch_job {
	pid_t pid;
	struct lp_deploy_which which;
};

static int unpatch(void *arg, struct lp_deployed *done, struct lp_err *err)
{
	const struct unpatch_job *job = arg;
	struct lp_apply_opts opts = options(LIBCARE_PATIENCE_MS);
	log_target(job->pid);
	int rc = lp_deploy_revert(job->pid, &job->which, &opts, done, err);
	if (rc == 0 && done->nr_objects)
		lp_info("PID '%d' process unpatch frozen_time is %" PRIu64 " microsecond", (int)job->pid,
			(done->pause_ns + 500) / 1000);
	else if (rc == 0 && job->which.id)
		lp_info("Failed to find target patch with patch_id=%s!", job->which.id);
	return rc;
}

static int unpatch_process(struct unpatch_job *job, bool quiet)
{
	struct lp_deployed done = {0};
	struct lp_err err = {0};
	int rc = worker_run(job->pid, unpatch, job, &done, &err);
	if (rc < 0) {
		out_printf("Failed to cancel patches for %d\n", (int)job->pid);
		note_error(&err);
	} else if (done.nr_objects) {
		out_printf("%zu patch hunk(s) were successfully cancelled from PID '%d'\n", done.nr_objects,
			   (int)job->pid);
	} else if (!quiet) {
		out_printf("No patch(es) cancellable from PID '%d' were found\n", (int)job->pid);
	}
	out_flush();
	if (rc < 0)
		return status_of(rc);
	return done.nr_objects || quiet ? EXIT_DONE : EXIT_REFUSED;
}

static int unpatch_if_patched(pid_t pid, void *arg)
{
	struct unpatch_job *job = arg;
	struct lp_seen seen;
	if (lp_scan_process(pid, &seen, NULL) < 0)
		return EXIT_DONE;
	bool perhaps = seen.ledger || seen.foreign;
	lp_seen_free(&seen);
	job->pid = pid;
	int status = perhaps ? unpatch_process(job, true) : EXIT_DONE;
	return status == EXIT_LOST ? EXIT_DONE : status;
}

static int command_unpatch(int argc, char **argv)
{
	struct unpatch_job job = {.pid = NO_PID};
	int opt;
	if (argc == 2 && libcare_asks_for_help(argv[1]))
		return usage_unpatch(NULL);
	if (argc < 3)
		return usage_unpatch("not enough arguments.");
	while ((opt = getopt(argc, argv, "hp:i:")) != -1) {
		switch (opt) {
		case 'h':
			return usage_unpatch(NULL);
		case 'p':
			if (!parse_target(optarg, &job.pid))
				return wrong_pid(optarg);
			break;
		case 'i':
			job.which.id = optarg;
			break;
		default:
			return usage_unpatch("unknown option");
		}
	}
	if (job.pid == NO_PID)
		return usage_unpatch("PID argument is mandatory");
	job.which.objects = argv + optind;
	job.which.nr_objects = (size_t)(argc - optind);
	return job.pid == ALL ? each_process(unpatch_if_patched, &job) : unpatch_process(&job, false);
}

/* ---- dispatch ---- */

static bool is(const char *command, const char *name)
{
	size_t len = strlen(name);
	return strncmp(command, name, len) == 0 && (!command[len] || strcmp(command + len, "-user") == 0);
}

int libcare_command_in(const char *storage, int argc, char **argv)
{
	optind = 0; /* the server comes here again and again */
	opterr = 0;
	if (is(argv[0], "patch"))
		return command_patch(argc, argv);
	if (is(argv[0], "unpatch"))
		return command_unpatch(argc, argv);
	if (is(argv[0], "info"))
		return libcare_info(storage, argc, argv);
	return libcare_usage("unknown command");
}

int libcare_command(int argc, char **argv)
{
	return strcmp(argv[0], "server") == 0 ? libcare_server("libcare-ctl server", argc, argv)
					      : libcare_command_in(LIBCARE_STORAGE, argc, argv);
}
