#include "tool/tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "patch/kpatch.h"

/* A patchset and the name its errors carry; --name gives it another in the ledger only. */
struct script {
	struct lp_patchset *ps;
	char *file_name;
	const char *exe; /* an operand */
};

static void script_close(struct script *s)
{
	lp_patchset_free(s->ps);
	lp_free(s->file_name);
}

static int read_stdin(const struct args *a, struct lp_buf *text, struct lp_err *err)
{
	if (isatty(STDIN_FILENO) && !a->on[OPT_QUIET])
		note("reading the patch script from the terminal; end it with ^D");
	int rc = lp_read_fd(STDIN_FILENO, text, LP_SCRIPT_MAX, err);
	return rc < 0 ? lp_err_context(err, rc, "standard input") : 0;
}

/* Standard input may hold either format, too. */
static int open_stdin(struct script *out, const struct args *a, struct lp_err *err)
{
	struct lp_buf text = {0};
	struct lp_kpatch *k;
	int rc = read_stdin(a, &text, err);
	if (rc == 0 && lp_kpatch_is(text.data, text.len)) {
		rc = lp_kpatch_from_bytes(&k, text.data, text.len, "-", err);
		rc = rc ? rc : lp_patch_add_object(&out->ps, k, err);
	} else if (rc == 0) {
		rc = lp_patch_parse_script(&out->ps, lp_buf_cstr(&text), text.len, "-", err);
	}
	lp_buf_free(&text);
	return rc;
}

/* A patch by its name or by its first bytes; any other operand names the program. */
static bool names_kpatch(const char *operand)
{
	char magic[sizeof LP_KPATCH_MAGIC] = "";
	size_t len = strlen(operand);
	int fd = open(operand, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is = len > 7 && strcmp(operand + len - 7, ".kpatch") == 0;
	is = is || (fd >= 0 && lp_pread_full(fd, magic, sizeof magic, 0) == 0 && lp_kpatch_is(magic, sizeof magic));
	lp_close(fd);
	return is;
}

static int open_operands(struct script *out, const struct args *a, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < a->nr_operands && rc == 0; i++) {
		if (names_kpatch(a->operands[i]))
			rc = lp_patch_open(&out->ps, a->operands[i], err);
		else if (out->exe)
			rc = lp_fail(err, LP_EUSAGE, "\"%s\" is one operand too many for livepatch apply",
				     a->operands[i]);
		else
			out->exe = a->operands[i];
	}
	return rc;
}

static int open_file(struct script *out, const struct args *a, const char *file, struct lp_err *err)
{
	bool is_stdin = !file || strcmp(file, "-") == 0;
	if (!file && out->ps)
		return 0;
	int rc = is_stdin ? open_stdin(out, a, err) : lp_patch_open(&out->ps, file, err);
	if (rc == 0 && !out->ps->nr) /* most often a file or a pipe that was to hold one */
		rc = lp_fail(err, LP_EPARSE, "the script %s holds no instruction",
			     is_stdin ? "on standard input" : file);
	return rc;
}

static int script_open(struct script *out, const struct args *a, const char *file, struct lp_err *err)
{
	const char *name = a->value[OPT_NAME];
	int rc = a->verb == &verb_table[VERB_APPLY] ? open_operands(out, a, err) : 0;
	rc = rc ? rc : open_file(out, a, file, err);
	if (rc == 0 && name) {
		out->file_name = out->ps->name; /* its lp_wheres may point here */
		out->ps->name = lp_strdup(name);
	}
	return rc;
}

void print_applied(const struct lp_result *r)
{
	char writes[SHORT_TEXT], threads[SHORT_TEXT], pause[SHORT_TEXT];
	if (r->recovered)
		out_printf("what an earlier livepatch left unfinished was cleaned up first\n");
	out_printf("patch %" PRIu64 " applied: %s, %s paused for %s", r->id, count_text(r->nr_writes, "write", writes),
		   count_text(r->nr_threads, "thread", threads), duration_text(r->pause_ns, pause));
	if (r->nr_tries > 1)
		out_printf(", at attempt %u", r->nr_tries);
	out_printf("\n");
}

static void print_ops(const struct lp_plan *plan)
{
	struct lp_buf text = {0};
	lp_plan_print_ops(plan, &text);
	out_text(lp_buf_cstr(&text), text.len);
	lp_buf_free(&text);
}

static void show_plan(const struct args *a, const struct lp_plan *plan)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_answer(a->pid, json_plan(plan)));
		return;
	}
	struct lp_buf text = {0};
	lp_plan_print(plan, &text);
	out_text(lp_buf_cstr(&text), text.len);
	lp_buf_free(&text);
}

/* The operations are shown once they are true: a room that was taken meanwhile moves. */
static void show_applied(const struct args *a, const struct lp_plan *plan, const struct lp_result *r, bool with_ops)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_answer(a->pid, json_result(r)));
		return;
	}
	if (a->on[OPT_QUIET])
		return;
	if (with_ops)
		print_ops(plan);
	print_applied(r);
}

static int apply_plan(const struct args *a, struct lp_plan *plan, bool with_ops, struct lp_err *err)
{
	struct lp_result result = {0};
	if (a->on[OPT_DRY_RUN]) {
		show_plan(a, plan);
		return 0;
	}
	int rc = lp_plan_apply(plan, &result, err);
	if (rc == 0)
		show_applied(a, plan, &result, with_ops);
	return rc;
}

static int apply_script(const struct args *a, const struct script *s, bool with_ops, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_plan *plan = NULL;
	struct lp_apply_opts opts = opts_of(a);
	int rc = lp_target_open_process(&target, a->pid, s->exe, err);
	if (rc == 0)
		rc = lp_plan_make(&plan, target, s->ps, &opts, err);
	if (rc == 0)
		rc = apply_plan(a, plan, with_ops, err);
	lp_plan_free(plan);
	lp_target_close(target);
	return rc;
}

/* Before the script is read nothing is at stake: ^C shall end the read, and nobody need stand by. */
static int run(const struct args *a, const char *file, bool with_ops, struct lp_err *err)
{
	struct script script = {.exe = a->exe};
	int status, rc = script_open(&script, a, file, err);
	if (rc == 0 && !a->on[OPT_DRY_RUN] && !supervise(a, &status)) {
		rc = status;
	} else if (rc == 0) {
		signals_catch();
		rc = apply_script(a, &script, with_ops, err);
	}
	script_close(&script);
	return rc;
}

int verb_apply(const struct args *a, struct lp_err *err)
{
	return run(a, a->value[OPT_FILE], a->on[OPT_VERBOSE] || a->on[OPT_DEBUG], err);
}

int verb_classic(const struct args *a, struct lp_err *err)
{
	return run(a, NULL, true, err);
}
