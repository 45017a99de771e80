#include "tool/hotpatch_globals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debug/debug.h"
#include "tool/hotpatch_wish.h"

#define GLOBAL "global:"
#define READ_MAX 65536	     /* of mem get */
#define WRITE_MAX 4096	     /* of mem set */
#define VALUE_MAX (1u << 20) /* of what is shown */

bool globals_is_path(const char *word)
{
	return !strncmp(word, GLOBAL, strlen(GLOBAL));
}

static bool is_command(const char *const *words, size_t nr, const char *verb)
{
	return nr > 2 && !strcmp(words[0], "var") && !strcmp(words[1], verb) && globals_is_path(words[2]);
}

static bool is_question(const char *const *words, size_t nr)
{
	return is_command(words, nr, "get") || is_command(words, nr, "list");
}

enum globals_how globals_how(const char *const *words, size_t nr)
{
	enum globals_how how = GLOBALS_NOT;

	for (size_t at = 0, len; at < nr; at += len + 1) {
		len = wish_command_length(words + at, nr - at);
		if (is_question(words + at, len))
			return len == nr ? GLOBALS_ANSWER : GLOBALS_TRANSLATE;
		if (is_command(words + at, len, "set"))
			how = GLOBALS_TRANSLATE;
	}
	return how;
}

/* ---- what the process has loaded ---- */

static const char *text_of(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

/* Seen through the process's own root; it itself by what it runs, wherever that came from. */
static struct lp_debug_file file_of(const struct peer *p, const json_t *row, bool is_program)
{
	const char *path = text_of(row, "path");
	struct lp_debug_file f = {.bias = strtoull(text_of(row, "bias"), NULL, 0)};
	int pid = (int)p->client.pid;

	lp_build_id_parse(text_of(row, "build_id"), &f.build_id);
	if (!is_program && path[0] != '/') /* the vDSO, which is no file */
		f.path = lp_strdup("");
	else if (is_program)
		f.path = lp_sprintf("/proc/%d/exe", pid);
	else
		f.path = p->elsewhere ? lp_sprintf("/proc/%d/root%s", pid, path) : lp_strdup(path);
	f.name = lp_strdup(path);
	return f;
}

/* Its name is that of its file, as those of the others are. */
static void name_program(struct lp_debug_file *f)
{
	char target[4096];
	ssize_t len = readlink(f->path, target, sizeof target - 1);

	target[len > 0 ? len : 0] = 0;
	lp_free((char *)f->name);
	f->name = lp_strdup(target);
}

static int open_debug(struct peer *p, struct lp_debug **out, struct lp_err *err)
{
	const char *words[] = {"mem", "files"};
	LP_VEC(struct lp_debug_file) files = {0};
	json_t *rows;
	const json_t *row;
	size_t i;
	int rc = peer_ask(p, words, 2, PEER_ROWS, &rows, err);

	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row) lp_vec_push(&files, file_of(p, row, !i));
	if (files.nr)
		name_program(&files.items[0]);
	rc = lp_debug_open(out, files.items, files.nr, err);
	for (i = 0; i < files.nr; i++) {
		lp_free((char *)files.items[i].path);
		lp_free((char *)files.items[i].name);
	}
	lp_vec_free(&files);
	json_decref(rows);
	return rc;
}

/* ---- its memory ---- */

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *text, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high = nibble(text[2 * i]), low = high < 0 ? -1 : nibble(text[2 * i + 1]);

		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return !text[2 * len];
}

static int read_piece(struct peer *p, const char *place, uint8_t *out, size_t len, struct lp_err *err)
{
	char size[24];
	const char *words[] = {"mem", "get", place, size};
	json_t *rows;

	snprintf(size, sizeof size, "%zu", len);
	int rc = peer_ask(p, words, 4, PEER_ROWS, &rows, err);
	if (rc < 0)
		return rc;
	if (!unhex(text_of(json_array_get(rows, 0), "bytes"), out, len))
		rc = lp_fail(err, LP_EREMOTE, "process %d answers with other bytes than were asked for",
			     (int)p->client.pid);
	json_decref(rows);
	return rc;
}

static int read_place(struct peer *p, const char *place, uint8_t *out, size_t len, struct lp_err *err)
{
	int rc = 0;

	for (size_t at = 0; at < len && rc == 0; at += READ_MAX) {
		char *piece = lp_sprintf("%s+%zu", place, at);

		rc = read_piece(p, piece, out + at, len - at < READ_MAX ? len - at : READ_MAX, err);
		lp_free(piece);
	}
	return rc;
}

static int read_there(void *arg, lp_addr at, void *out, size_t len)
{
	char place[24];

	snprintf(place, sizeof place, LP_ADDR, at);
	return read_place(arg, place, out, len, NULL);
}

/* ---- var get ---- */

/* What stands there now. */
static int read_value(struct peer *p, const struct lp_global *g, bool lines, struct lp_buf *text, struct lp_err *err)
{
	struct lp_buf place = {0};
	uint64_t size = lp_global_size(g);
	struct lp_show show = {.read = read_there, .arg = p, .lines = lines};

	if (!size)
		return lp_fail(err, LP_ETYPE, "nothing says how large %s is", lp_global_type(g));
	size = size < VALUE_MAX ? size : VALUE_MAX;
	uint8_t *bytes = lp_alloc(size);
	lp_global_place(g, &place);
	int rc = read_place(p, lp_buf_cstr(&place), bytes, size, err);
	if (rc == 0)
		lp_global_print(g, bytes, size, &show, text);
	lp_buf_free(&place);
	lp_free(bytes);
	return rc;
}

static json_t *value_row(const struct lp_global *g, struct lp_buf *text, enum peer_form form)
{
	if (form == PEER_LINES)
		return json_text(lp_buf_cstr(text));
	return json_pack("{s:o, s:o}", "type", json_text(lp_global_type(g)), "value", json_text(lp_buf_cstr(text)));
}

static int get(struct peer *p, const struct lp_global *g, enum peer_form form, json_t *rows, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = read_value(p, g, form == PEER_LINES, &text, err);

	if (rc == 0)
		json_array_append_new(rows, value_row(g, &text, form));
	lp_buf_free(&text);
	return rc;
}

/* ---- the same one again and again ---- */

struct global_watch {
	struct peer *p;
	struct lp_debug *debug;
	struct lp_global global;
};

int global_watch_open(struct peer *p, const char *word, struct global_watch **out, struct lp_err *err)
{
	struct global_watch *w = lp_alloc(sizeof *w);

	w->p = p;
	int rc = open_debug(p, &w->debug, err);
	rc = rc < 0 ? rc : lp_global_find(w->debug, word + strlen(GLOBAL), &w->global, err);
	if (rc < 0) {
		lp_debug_close(w->debug);
		lp_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

int global_watch_value(struct global_watch *w, char **out, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = read_value(w->p, &w->global, false, &text, err);

	if (rc == 0)
		*out = lp_strdup(lp_buf_cstr(&text));
	lp_buf_free(&text);
	return rc;
}

const char *global_watch_type(const struct global_watch *w)
{
	return lp_global_type(&w->global);
}

void global_watch_close(struct global_watch *w)
{
	if (!w)
		return;
	lp_global_free(&w->global);
	lp_debug_close(w->debug);
	lp_free(w);
}

/* ---- var list ---- */

struct listing {
	json_t *rows;
	enum peer_form form;
};

static void add_member(void *arg, const char *name, const char *type)
{
	const struct listing *l = arg;
	char *line = lp_sprintf("%s: %s", name, type);

	json_array_append_new(l->rows, l->form == PEER_LINES ? json_text(line)
							     : json_pack("{s:o, s:o}", "name", json_text(name), "type",
									 json_text(type)));
	lp_free(line);
}

/* ---- var set ---- */

static void hex_word(word_vec *out, const uint8_t *bytes, size_t len)
{
	struct lp_buf hex = {0};

	for (size_t i = 0; i < len; i++)
		lp_buf_printf(&hex, "%02x", bytes[i]);
	lp_vec_push(out, lp_strdup(lp_buf_cstr(&hex)));
	lp_buf_free(&hex);
}

/* What is behind the last bit that is meant is not sent. */
static size_t meant(const uint8_t *mask, size_t len)
{
	while (len && !mask[len - 1])
		len--;
	return len;
}

static int add_request(const struct lp_global *g, const char *value, word_vec *out, struct lp_err *err)
{
	uint64_t size = lp_global_size(g);
	struct lp_buf place = {0};

	if (!size || size > VALUE_MAX)
		return lp_fail(err, LP_ETYPE, "%s is not set as a whole", lp_global_type(g));
	uint8_t *bytes = lp_alloc(size), *mask = lp_alloc(size);
	int rc = lp_global_parse(g, value, bytes, mask, err);
	size_t len = meant(mask, size);
	if (rc == 0 && len > WRITE_MAX)
		rc = lp_fail(err, LP_EVALUE, "%d bytes are written at most", WRITE_MAX);
	if (rc == 0) {
		lp_vec_push(out, lp_strdup("mem"));
		lp_vec_push(out, lp_strdup("set"));
		lp_global_place(g, &place);
		lp_vec_push(out, lp_strdup(lp_buf_cstr(&place)));
		hex_word(out, bytes, len);
		hex_word(out, mask, len);
	}
	lp_buf_free(&place);
	lp_free(bytes);
	lp_free(mask);
	return rc;
}

static char *join(const char *const *words, size_t nr)
{
	struct lp_buf b = {0};

	for (size_t i = 0; i < nr; i++)
		lp_buf_printf(&b, "%s%s", i ? " " : "", words[i]);
	char *text = lp_strdup(lp_buf_cstr(&b));
	lp_buf_free(&b);
	return text;
}

static int add_setting(struct lp_debug *d, const char *const *words, size_t nr, word_vec *out, struct lp_err *err)
{
	struct lp_global g;

	if (nr < 4)
		return lp_fail(err, LP_EUSAGE, "usage: var set global:PATH VALUE");
	int rc = lp_global_find(d, words[2] + strlen(GLOBAL), &g, err);
	if (rc < 0)
		return rc;
	char *value = join(words + 3, nr - 3);
	rc = add_request(&g, value, out, err);
	lp_free(value);
	lp_global_free(&g);
	return rc;
}

static int add_command(struct lp_debug *d, const char *const *words, size_t nr, word_vec *out, struct lp_err *err)
{
	if (is_command(words, nr, "set"))
		return add_setting(d, words, nr, out, err);
	if (is_question(words, nr))
		return lp_fail(err, LP_EUSAGE, "var %s global:PATH stands alone on the line", words[1]);
	for (size_t i = 0; i < nr; i++)
		lp_vec_push(out, lp_strdup(words[i]));
	return 0;
}

int globals_translate(struct peer *p, const char *const *words, size_t nr, word_vec *out, struct lp_err *err)
{
	struct lp_debug *d;
	int rc = open_debug(p, &d, err);

	if (rc < 0)
		return rc;
	for (size_t at = 0, len; at < nr && rc == 0; at += len + 1) {
		len = wish_command_length(words + at, nr - at);
		if (at)
			lp_vec_push(out, lp_strdup(";"));
		rc = add_command(d, words + at, len, out, err);
	}
	lp_debug_close(d);
	return rc;
}

/* ---- looking ---- */

static int look(struct peer *p, struct lp_debug *d, const char *const *words, size_t nr, enum peer_form form,
		json_t **out, struct lp_err *err)
{
	struct lp_global g;

	if (nr != 3)
		return lp_fail(err, LP_EUSAGE, "usage: var %s global:PATH", words[1]);
	int rc = lp_global_find(d, words[2] + strlen(GLOBAL), &g, err);
	if (rc < 0)
		return rc;
	json_t *rows = json_array();
	if (!strcmp(words[1], "get"))
		rc = get(p, &g, form, rows, err);
	else
		rc = lp_global_members(&g, add_member, &(struct listing){rows, form}, err);
	lp_global_free(&g);
	if (rc == 0)
		*out = rows;
	else
		json_decref(rows);
	return rc;
}

int globals_answer(struct peer *p, const char *const *words, size_t nr, enum peer_form form, json_t **out,
		   struct lp_err *err)
{
	struct lp_debug *d;
	int rc = open_debug(p, &d, err);

	if (rc < 0)
		return rc;
	rc = look(p, d, words, nr, form, out, err);
	lp_debug_close(d);
	return rc;
}
