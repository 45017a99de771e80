/* What clients can ask: command.def. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/vec.h"
#include "runner/private.h"

#define CODE_MAX 65536 /* words of code that a command may bring */

static LivePatchSystem *system_of(void)
{
	return livepatch_get_system();
}

/* ---- operands ---- */

/* "address:1:3: ..." is for files; here the word itself is told. */
static int without_place(int rc, struct lp_err *err)
{
	const char *text = err->text + strlen("address:");
	size_t line, column;

	if (rc >= 0 || strncmp(err->text, "address:", strlen("address:")) != 0)
		return rc;
	line = strspn(text, "0123456789");
	column = text[line] == ':' ? strspn(text + line + 1, "0123456789") : 0;
	if (line && column && !strncmp(text + line + 1 + column, ": ", 2)) {
		text += line + 1 + column + 2;
		memmove(err->text, text, strlen(text) + 1);
	}
	return rc;
}

static int read_address(const char *text, uint64_t *at, struct lp_err *err)
{
	struct lp_addr_expr e;
	int rc = without_place(lp_patch_parse_addr(&e, text, err), err);

	if (rc < 0)
		return rc;
	e.where = (struct lp_where){0};
	rc = lp_system_find(system_of(), &e, at, err);
	lp_addr_expr_free(&e);
	return rc;
}

/* "D503201F,0xD65F03C0": words, as a text file has them. */
static int read_code(const char *text, uint8_t **code, size_t *size, struct lp_err *err)
{
	LP_VEC(uint32_t) words = {0};
	const char *at = text;
	char *end = NULL;
	uint64_t word;

	do {
		errno = 0;
		word = isxdigit((unsigned char)*at) ? strtoull(at, &end, 16) : UINT64_MAX;
		if (word > UINT32_MAX || errno || (*end && *end != ',') || words.nr == CODE_MAX) {
			lp_vec_free(&words);
			return lp_fail(err, LP_EPARSE,
				       "%s: instructions are hexadecimal words with commas between them", text);
		}
		lp_vec_push(&words, (uint32_t)word);
		at = end + 1;
	} while (*end);
	*size = words.nr * 4;
	*code = lp_alloc(*size);
	for (size_t i = 0; i < words.nr; i++)
		lp_put32(*code + 4 * i, words.items[i]);
	lp_vec_free(&words);
	return 0;
}

/* Words from the n-th on with blanks between them; "" when there are none. */
static char *rest_of(const struct lp_call *c, int n)
{
	struct lp_buf b = {0};
	char *text;

	for (int i = n; i < c->argc; i++) {
		lp_buf_str(&b, i > n ? " " : "");
		lp_buf_str(&b, c->argv[i]);
	}
	text = lp_strdup(lp_buf_cstr(&b));
	lp_buf_free(&b);
	return text;
}

/* ---- what is there ---- */

static const char *const type_names[] = {
	[PATCH_REPLACE] = "INLINE",    [PATCH_INSERT] = "INSERT",
	[PATCH_NEW_FUNC] = "NEW_FUNC", [PATCH_FUNCTION_REDIRECT] = "REDIRECT",
	[PATCH_NOP] = "NOP",	       [PATCH_BRANCH] = "BRANCH",
};

/* Instruction words, most significant digit first, as they are written in patch files; up to `max` of them. */
static char *show_words(const uint8_t *bytes, size_t size, size_t max)
{
	struct lp_buf b = {0};
	char *text;

	for (size_t i = 0; bytes && i + 4 <= size && i < 4 * max; i += 4)
		lp_buf_printf(&b, "%s%08" PRIx32, i ? "," : "", lp_get32(bytes + i));
	if (bytes && size > 4 * max)
		lp_buf_str(&b, "...");
	text = lp_strdup(lp_buf_cstr(&b));
	lp_buf_free(&b);
	return text;
}

/* A program that makes code may write over a patch, or unmap what it stands in: the patch is lost then, and is told so. */
static const char *state_of(const livepatch_info *i)
{
	bool mapped;

	if (lp_system_stands(system_of(), i->addr, &mapped))
		return "active";
	return mapped ? "lost: the program has written over it" : "lost: the program has unmapped it";
}

enum { LIST_WORDS = 2 };

/* In text the columns are part of the format, and the description alone is a value. */
static void columns(const livepatch_info *i, struct lp_buf *format)
{
	char *was = show_words(i->original, i->size, LIST_WORDS), *is = show_words(i->patched, i->size, LIST_WORDS);

	lp_buf_printf(format, "0x%-12" PRIx64 " %-8s ", i->addr, type_names[i->type]);
	if (i->size)
		lp_buf_printf(format, "%s -> %s ", was, is);
	else
		lp_buf_printf(format, "%zu bytes ", i->code_size);
	if (i->target && i->size)
		lp_buf_printf(format, "0x%" PRIx64 " ", i->target);
	lp_free(was);
	lp_free(is);
}

static int list_row(const livepatch_info *i, void *arg)
{
	struct lp_call *c = arg;
	struct lp_buf format = {0};
	char *was = show_words(i->original, i->size, SIZE_MAX / 4), *is = show_words(i->patched, i->size, SIZE_MAX / 4);
	char *code = show_words(i->code, i->code_size, SIZE_MAX / 4);

	columns(i, &format);
	lp_buf_str(&format, i->name[0] ? "% (%)" : "%");
	if (strcmp(state_of(i), "active") != 0)
		lp_buf_printf(&format, " [%s]", state_of(i));
	lp_reply_row(c->reply, lp_buf_cstr(&format), LP_STR("description", i->description), LP_STR("name", i->name),
		     LP_ADDRESS("address", i->addr), LP_STR("type", type_names[i->type]), LP_UINT("size", i->size),
		     LP_STR("original", was), LP_STR("patched", is), LP_STR("code", code),
		     LP_ADDRESS("target", i->target), LP_STR("file", i->file), LP_UINT("generation", i->generation),
		     LP_INT("applied", i->applied), LP_STR("state", state_of(i)));
	lp_buf_free(&format);
	lp_free(was);
	lp_free(is);
	lp_free(code);
	return 0;
}

static const char script_lost[] = "lost: the program has written over it, or unmapped it";

static void script_row(const struct lp_script_info *i, void *arg)
{
	struct lp_call *c = arg;
	const char *slash = strrchr(i->file, '/'), *state = i->is_lost ? script_lost : "active";
	char *line = lp_strdup(i->text ? i->text : "");
	struct lp_buf format = {0};

	line[strcspn(line, "\n")] = 0;
	lp_buf_printf(&format, "#%%             %s   %%%s%%", i->is_object ? "KPATCH" : "SCRIPT", *line ? ": " : "");
	if (i->is_lost)
		lp_buf_printf(&format, " [%s]", state);
	lp_reply_row(c->reply, lp_buf_cstr(&format), LP_UINT("id", i->id), LP_STR("name", slash ? slash + 1 : i->file),
		     LP_STR("description", line), LP_STR("type", i->is_object ? "KPATCH" : "SCRIPT"),
		     LP_STR("file", i->file), LP_STR("code", i->text ? i->text : ""), LP_STR("state", state));
	lp_buf_free(&format);
	lp_free(line);
}

int lp_cmd_patch_list(struct lp_call *c, struct lp_err *err)
{
	lp_pending_rows(c);
	lp_system_each_script(system_of(), script_row, c);
	return lp_api_result(livepatch_foreach(system_of(), list_row, c), err);
}

static int show_rows(const livepatch_info *i, void *arg)
{
	struct lp_call *c = arg;
	char *was = show_words(i->original, i->size, SIZE_MAX / 4), *is = show_words(i->patched, i->size, SIZE_MAX / 4);
	char *code = show_words(i->code, i->code_size, SIZE_MAX / 4);
	const struct lp_field fields[] = {
		LP_ADDRESS("address", i->addr),	 LP_STR("type", type_names[i->type]),
		LP_STR("name", i->name),	 LP_STR("description", i->description),
		LP_STR("file", i->file),	 LP_STR("original", was),
		LP_STR("patched", is),		 LP_STR("code", code),
		LP_ADDRESS("target", i->target), LP_UINT("generation", i->generation),
		LP_INT("applied", i->applied),	 LP_STR("state", state_of(i)),
	};

	for (size_t k = 0; k < LP_ARRAY_SIZE(fields); k++) {
		struct lp_field value = fields[k];
		value.name = "value";
		if (value.type == LP_FIELD_STRING && !*value.s)
			continue;
		lp_reply_row(c->reply, "%: %", LP_STR("name", fields[k].name), value);
	}
	lp_free(was);
	lp_free(is);
	lp_free(code);
	return 0;
}

int lp_cmd_patch_show(struct lp_call *c, struct lp_err *err)
{
	uint64_t at;
	int rc = read_address(c->argv[0], &at, err);

	if (rc < 0)
		return rc;
	rc = lp_api_result(livepatch_find(system_of(), at, show_rows, c, NULL), err);
	return rc ? rc < 0 ? rc : 0 : lp_fail(err, LP_ENOPATCH, "there is no patch over %s", c->argv[0]);
}

int lp_cmd_patch_stats(struct lp_call *c, struct lp_err *err)
{
	struct lp_guest_pauses pauses = lp_session_pauses();
	livepatch_counts n;
	int rc = lp_api_result(livepatch_get_counts(system_of(), &n), err);

	if (rc < 0)
		return rc;
#define ROW(name, value) lp_reply_row(c->reply, "%: %", LP_STR("name", name), LP_UINT("value", value))
	ROW("active", n.active);
	for (size_t i = 0; i < LP_ARRAY_SIZE(type_names); i++)
		if (n.of_type[i])
			ROW(type_names[i], n.of_type[i]);
	if (lp_pending_count())
		ROW("waiting", lp_pending_count());
	ROW("applied", n.applied);
	ROW("reverted", n.reverted);
	ROW("refused", n.refused);
	ROW("generation", n.generation);
	ROW("reloads", n.reloads);
	ROW("reloads refused", n.reload_errors);
	ROW("bytes", n.bytes);
	ROW("pauses", pauses.nr);
	ROW("last pause, nanoseconds", pauses.last_ns);
	ROW("of these, until all threads stood still", pauses.last_stop_ns);
	ROW("threads in it", pauses.last_threads);
	ROW("longest pause, nanoseconds", pauses.longest_ns);
#undef ROW
	if (n.last_reload_error[0])
		lp_reply_row(c->reply, "%: %", LP_STR("name", "last refusal"), LP_STR("value", n.last_reload_error));
	return 0;
}

/* ---- changes ---- */

/* Not part of a transaction: the core has its own. */
static int load_object(struct lp_call *c, struct lp_err *err)
{
	uint64_t id;
	int rc = lp_changes_none(c, "applying a .kpatch file", err);

	rc = rc ? rc : lp_system_apply_object(system_of(), c->argv[0], &id, err);
	if (rc == 0)
		lp_reply_row(c->reply, "%: applied as #%", LP_STR("file", c->argv[0]), LP_UINT("id", id));
	return rc;
}

/* "#12" */
static int read_id(const char *text, uint64_t *id, struct lp_err *err)
{
	char *end;

	errno = 0;
	*id = text[1] >= '0' && text[1] <= '9' ? strtoull(text + 1, &end, 10) : 0;
	if (!*id || *end || errno)
		return lp_fail(err, LP_EPARSE, "%s is no number of a script or .kpatch file that was applied", text);
	return 0;
}

static int revert_object(struct lp_call *c, struct lp_err *err)
{
	uint64_t id;
	int rc = lp_changes_none(c, "taking back a script or .kpatch file by its number", err);

	rc = rc ? rc : read_id(c->argv[0], &id, err);
	rc = rc ? rc : lp_system_revert_object(system_of(), id, err);
	if (rc == 0)
		lp_reply_row(c->reply, "taken back: #%", LP_UINT("id", id));
	return rc;
}

static bool is_object(const char *path)
{
	size_t len = strlen(path);

	return len > 7 && strcmp(path + len - 7, ".kpatch") == 0;
}

int lp_cmd_patch_load(struct lp_call *c, struct lp_err *err)
{
	int rc, nr;

	if (is_object(c->argv[0]))
		return lp_pending_offer(c, "load", load_object(c, err), err);
	rc = lp_changes_enter(c, err);
	if (rc < 0)
		return rc;
	nr = livepatch_load_from_file(system_of(), c->argv[0]);
	rc = lp_changes_leave(c, nr, err);
	if (rc == 0)
		lp_reply_row(c->reply, "%: patches: %", LP_STR("file", c->argv[0]), LP_INT("patches", nr));
	return lp_pending_offer(c, "load", rc, err);
}

static void tell_applied(struct lp_call *c, uint64_t at)
{
	lp_reply_row(c->reply, "patched %", LP_ADDRESS("address", at));
}

typedef int bytes_fn(LivePatchSystem *s, uint64_t at, const void *code, size_t size, const char *description);

static int replace(LivePatchSystem *s, uint64_t at, const void *code, size_t size, const char *description)
{
	return livepatch_apply_code(s, at, code, size, NULL, description);
}

/* ADDRESS CODE [DESCRIPTION...] */
static int change_bytes(struct lp_call *c, const char *verb, bytes_fn *change, struct lp_err *err)
{
	uint8_t *code = NULL;
	size_t size = 0;
	uint64_t at;
	int rc = lp_changes_enter(c, err);

	if (rc < 0)
		return rc;
	rc = read_address(c->argv[0], &at, err);
	rc = rc ? rc : read_code(c->argv[1], &code, &size, err);
	if (rc == 0) {
		char *description = rest_of(c, 2);
		rc = change(system_of(), at, code, size, description);
		lp_free(description);
	}
	lp_free(code);
	rc = lp_changes_leave(c, rc, err);
	if (rc == 0)
		tell_applied(c, at);
	return lp_pending_offer(c, verb, rc, err);
}

int lp_cmd_patch_apply(struct lp_call *c, struct lp_err *err)
{
	return change_bytes(c, "apply", replace, err);
}

int lp_cmd_patch_insert(struct lp_call *c, struct lp_err *err)
{
	return change_bytes(c, "insert", livepatch_insert, err);
}

int lp_cmd_patch_nop(struct lp_call *c, struct lp_err *err)
{
	uint64_t at;
	int rc = lp_changes_enter(c, err);

	if (rc < 0)
		return rc;
	rc = read_address(c->argv[0], &at, err);
	if (rc == 0) {
		char *description = rest_of(c, 1);
		rc = livepatch_create_nop(system_of(), at, description);
		lp_free(description);
	}
	rc = lp_changes_leave(c, rc, err);
	if (rc == 0)
		tell_applied(c, at);
	return lp_pending_offer(c, "nop", rc, err);
}

typedef int target_fn(LivePatchSystem *s, uint64_t at, uint64_t to, const char *description);

/* ADDRESS TARGET [DESCRIPTION...] */
static int change_target(struct lp_call *c, const char *verb, target_fn *change, struct lp_err *err)
{
	uint64_t at, to;
	int rc = lp_changes_enter(c, err);

	if (rc < 0)
		return rc;
	rc = read_address(c->argv[0], &at, err);
	rc = rc ? rc : read_address(c->argv[1], &to, err);
	if (rc == 0) {
		char *description = rest_of(c, 2);
		rc = change(system_of(), at, to, description);
		lp_free(description);
	}
	rc = lp_changes_leave(c, rc, err);
	if (rc == 0)
		tell_applied(c, at);
	return lp_pending_offer(c, verb, rc, err);
}

int lp_cmd_patch_branch(struct lp_call *c, struct lp_err *err)
{
	return change_target(c, "branch", livepatch_create_branch, err);
}

int lp_cmd_patch_redirect(struct lp_call *c, struct lp_err *err)
{
	return change_target(c, "redirect", livepatch_redirect_function, err);
}

int lp_cmd_patch_func(struct lp_call *c, struct lp_err *err)
{
	uint8_t *code = NULL;
	size_t size = 0;
	uint64_t at = 0;
	int rc = lp_changes_enter(c, err);

	if (rc < 0)
		return rc;
	rc = read_code(c->argv[1], &code, &size, err);
	if (rc == 0) {
		char *description = rest_of(c, 2);
		rc = livepatch_new_func(system_of(), c->argv[0], code, size, &at, description);
		lp_free(description);
	}
	lp_free(code);
	rc = lp_changes_leave(c, rc, err);
	if (rc == 0)
		lp_reply_row(c->reply, "$% is at %", LP_STR("name", c->argv[0]), LP_ADDRESS("address", at));
	return rc;
}

/* With those that wait for a library. */
static int revert_all(size_t *lost)
{
	int nr = lp_system_revert_rest(system_of(), lost);

	return nr < 0 ? nr : nr + (int)lp_pending_drop_all();
}

static int revert_one(const char *text, size_t *lost, struct lp_err *err)
{
	uint64_t at;
	int rc;

	if (!strcmp(text, "all"))
		return revert_all(lost);
	if (lp_pending_drop(text))
		return 1;
	rc = read_address(text, &at, err);
	rc = rc ? rc : livepatch_revert(system_of(), at);
	return rc < 0 ? rc : 1;
}

int lp_cmd_patch_revert(struct lp_call *c, struct lp_err *err)
{
	size_t lost = 0;
	int rc, nr = 0;

	if (c->argc == 1 && c->argv[0][0] == '#')
		return revert_object(c, err);
	rc = lp_changes_enter(c, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < c->argc && rc >= 0; i++) {
		rc = revert_one(c->argv[i], &lost, err);
		nr += rc;
	}
	rc = lp_changes_leave(c, rc, err);
	if (rc == 0)
		lp_reply_row(c->reply, "patches taken back: %", LP_INT("patches", nr));
	if (rc == 0 && lost)
		lp_reply_row(c->reply, "lost, and left as they are: %; forget them (list shows which)",
			     LP_UINT("lost", lost));
	return rc;
}

/* ---- what is done at once ---- */

static int forget_one(const char *text, struct lp_err *err)
{
	uint64_t at;
	int rc = text[0] == '#' ? read_id(text, &at, err) : read_address(text, &at, err);

	if (rc < 0)
		return rc;
	return text[0] == '#' ? lp_system_forget_script(system_of(), at, err)
			      : lp_api_result(livepatch_forget(system_of(), at), err);
}

int lp_cmd_patch_forget(struct lp_call *c, struct lp_err *err)
{
	int rc = lp_changes_none(c, "forgetting a patch", err);

	rc = rc ? rc : forget_one(c->argv[0], err);
	if (rc == 0)
		lp_reply_row(c->reply, "forgotten: %; what the program put there stays", LP_STR("patch", c->argv[0]));
	return rc;
}

int lp_cmd_patch_reload(struct lp_call *c, struct lp_err *err)
{
	int rc = lp_changes_none(c, "a reload", err);

	rc = rc ? rc : lp_api_result(livepatch_reload(system_of()), err);
	if (rc < 0)
		return rc;
	lp_reply_row(c->reply, "patches that changed: %", LP_INT("patches", rc));
	return 0;
}

int lp_cmd_patch_watch(struct lp_call *c, struct lp_err *err)
{
	int rc = lp_changes_none(c, "watching", err);

	rc = rc ? rc : lp_api_result(livepatch_watch(system_of(), c->argv[0]), err);
	if (rc < 0)
		return rc;
	lp_reply_row(c->reply, "% is watched; patches that changed: %", LP_STR("file", c->argv[0]),
		     LP_INT("patches", rc));
	return 0;
}

int lp_cmd_patch_unwatch(struct lp_call *c, struct lp_err *err)
{
	int rc = lp_changes_none(c, "watching no more", err);

	return rc ? rc : lp_api_result(livepatch_unwatch(system_of()), err);
}

int lp_cmd_patch_debug(struct lp_call *c, struct lp_err *err)
{
	bool on = strcmp(c->argv[0], "on") == 0;
	int rc = 0;

	if (!on && strcmp(c->argv[0], "off") != 0)
		return lp_fail(err, LP_EUSAGE, "debug is on or off, not %s", c->argv[0]);
	rc = lp_session_tells(on, err);
	if (rc == 0)
		livepatch_set_debug(on);
	return rc;
}

static void not_saved(const struct lp_script_info *i, void *arg)
{
	struct lp_call *c = arg;

	lp_reply_row(c->reply, "not in it: #%, %: load that file as well", LP_UINT("id", i->id),
		     LP_STR("not_saved", i->file));
}

int lp_cmd_patch_save(struct lp_call *c, struct lp_err *err)
{
	int rc = lp_changes_none(c, "saving", err);

	rc = rc ? rc : lp_api_result(livepatch_save_to_file(system_of(), c->argv[0]), err);
	if (rc < 0)
		return rc;
	lp_reply_row(c->reply, "%: patches: %", LP_STR("file", c->argv[0]), LP_INT("patches", rc));
	lp_system_each_script(system_of(), not_saved, c);
	lp_pending_not_saved(c);
	return 0;
}

/* ---- another version is installed ---- */

static char installed[64];

const char *lp_installed_since(void)
{
	return installed;
}

int lp_cmd_update_installed(struct lp_call *c, struct lp_err *err)
{
	static const char fine[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
	size_t len = strlen(c->argv[0]);

	if (!len || len >= sizeof installed || strspn(c->argv[0], fine) != len)
		return lp_fail(err, LP_EUSAGE, "that is no version");
	memcpy(installed, c->argv[0], len + 1);
	lp_warn("version %s of the runner has been installed; this one runs on", installed);
	return 0;
}

/* ---- the table ---- */

const struct lp_command lp_runner_commands[] = {
#define COMMAND(words, synopsis, level, run, summary) {words, synopsis, LP_LEVEL_##level, run, summary},
#include "runner/command.def"
#undef COMMAND
};
const size_t lp_nr_runner_commands = LP_ARRAY_SIZE(lp_runner_commands);
