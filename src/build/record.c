#include "build/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define RECORD_MAGIC "livepatch-record 1"
#define RECORD_MAX (256u << 20)

/* ---- hashes and paths ---- */

void lp_hash_bytes(struct lp_hash *out, const void *bytes, size_t len)
{
	crypto_generichash(out->bytes, sizeof out->bytes, bytes, len, NULL, 0);
}

static int hash_fd(struct lp_hash *out, int fd)
{
	static uint8_t chunk[1 << 16];
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, sizeof out->bytes);
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		crypto_generichash_update(&state, chunk, (size_t)n);
	}
	crypto_generichash_final(&state, out->bytes, sizeof out->bytes);
	return 0;
}

int lp_hash_file(struct lp_hash *out, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	*out = (struct lp_hash){0};
	if (fd < 0)
		return -errno;
	int rc = hash_fd(out, fd);
	lp_close(fd);
	return rc;
}

void lp_hash_hex(const struct lp_hash *h, char out[2 * LP_HASH_SIZE + 1])
{
	sodium_bin2hex(out, 2 * LP_HASH_SIZE + 1, h->bytes, sizeof h->bytes);
}

static bool is_piece(const char *piece, size_t len, const char *what)
{
	return len == strlen(what) && memcmp(piece, what, len) == 0;
}

static void add_piece(struct lp_buf *path, const char *piece, size_t len)
{
	if (!len || is_piece(piece, len, "."))
		return;
	if (is_piece(piece, len, "..")) {
		while (path->len && path->data[path->len - 1] != '/')
			path->len--;
		if (path->len)
			path->len--;
		return;
	}
	lp_buf_str(path, "/");
	lp_buf_add(path, piece, len);
}

static void add_pieces(struct lp_buf *path, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "/");
		add_piece(path, text, len);
		text += len + (text[len] == '/');
	}
}

char *lp_path_join(const char *cwd, const char *path)
{
	struct lp_buf whole = {0};
	if (path[0] != '/')
		add_pieces(&whole, cwd);
	add_pieces(&whole, path);
	if (!whole.len)
		lp_buf_str(&whole, "/");
	char *joined = lp_sprintf("%.*s", (int)whole.len, (const char *)whole.data);
	lp_buf_free(&whole);
	return joined;
}

/* ---- writing ---- */

static void add_field(struct lp_buf *text, const char *key, const char *value)
{
	if (!value)
		return;
	lp_buf_printf(text, "%s=%s", key, value);
	lp_buf_fill(text, 0, 1);
}

static void add_unit(struct lp_buf *text, const struct lp_record_unit *u)
{
	char hash[2 * LP_HASH_SIZE + 1];
	lp_hash_hex(&u->hash, hash);
	add_field(text, "source", u->source);
	add_field(text, "object", u->object);
	add_field(text, "hash", hash);
	add_field(text, "copy", u->has_copy ? "1" : NULL);
}

static void serialize(struct lp_buf *text, const struct lp_record *r)
{
	lp_buf_add(text, RECORD_MAGIC, sizeof RECORD_MAGIC);
	lp_buf_printf(text, "began=%" PRIu64, r->began_ns);
	lp_buf_fill(text, 0, 1);
	add_field(text, "compiler", r->compiler);
	add_field(text, "cwd", r->cwd);
	add_field(text, "linker", r->is_linker ? "1" : NULL);
	add_field(text, "apart", r->taken_apart ? "1" : NULL);
	for (size_t i = 0; i < r->words.nr; i++)
		add_field(text, "word", r->words.items[i]);
	for (size_t i = 0; i < r->env.nr; i++)
		add_field(text, "env", r->env.items[i]);
	for (size_t i = 0; i < r->units.nr; i++)
		add_unit(text, &r->units.items[i]);
	add_field(text, "output", r->output);
	lp_buf_add(text, "end", sizeof "end");
}

static int write_whole(const char *path, const struct lp_buf *text, struct lp_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot create %s", path);
	int rc = lp_pwrite_full(fd, text->data, text->len, 0);
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc < 0 ? lp_fail_sys(err, rc, "cannot write %s", path) : 0;
}

int lp_record_write(const char *dir, const struct lp_record *r, struct lp_err *err)
{
	struct lp_buf text = {0};
	char *path = lp_sprintf("%s/%s.rec", dir, r->stem), *draft = lp_sprintf("%s/%s.tmp", dir, r->stem);
	serialize(&text, r);
	int rc = write_whole(draft, &text, err);
	if (rc == 0 && rename(draft, path) < 0)
		rc = lp_fail_sys(err, errno, "cannot rename %s", draft);
	lp_buf_free(&text);
	lp_free(draft);
	lp_free(path);
	return rc;
}

/* ---- reading ---- */

static char **text_field(struct lp_record *r, const char *key)
{
	if (strcmp(key, "compiler") == 0)
		return &r->compiler;
	if (strcmp(key, "cwd") == 0)
		return &r->cwd;
	if (strcmp(key, "output") == 0)
		return &r->output;
	return NULL;
}

static void parse_hash(struct lp_hash *out, const char *hex)
{
	size_t len = 0;
	if (sodium_hex2bin(out->bytes, sizeof out->bytes, hex, strlen(hex), NULL, &len, NULL) < 0 ||
	    len != sizeof out->bytes)
		*out = (struct lp_hash){0};
}

/* Fields of the unit that the last "source" began; false when there is none. */
static bool take_unit_field(struct lp_record *r, const char *key, const char *value)
{
	if (!r->units.nr)
		return false;
	struct lp_record_unit *u = &r->units.items[r->units.nr - 1];
	if (strcmp(key, "object") == 0 && !u->object)
		u->object = lp_strdup(value);
	else if (strcmp(key, "hash") == 0)
		parse_hash(&u->hash, value);
	else if (strcmp(key, "copy") == 0)
		u->has_copy = true;
	else
		return false;
	return true;
}

static bool take_field(struct lp_record *r, const char *key, const char *value)
{
	char **text = text_field(r, key);
	if (text && *text)
		return false;
	if (text)
		*text = lp_strdup(value);
	else if (strcmp(key, "word") == 0)
		lp_vec_push(&r->words, lp_strdup(value));
	else if (strcmp(key, "env") == 0)
		lp_vec_push(&r->env, lp_strdup(value));
	else if (strcmp(key, "source") == 0)
		lp_vec_add(&r->units)->source = lp_strdup(value);
	else if (strcmp(key, "linker") == 0)
		r->is_linker = true;
	else if (strcmp(key, "apart") == 0)
		r->taken_apart = true;
	else if (strcmp(key, "began") == 0)
		r->began_ns = strtoull(value, NULL, 10);
	else
		return take_unit_field(r, key, value);
	return true;
}

/* 1: "end" was reached, 0: goes on, negative: not a record. */
static int take_string(struct lp_record *r, const char *string)
{
	const char *equals = strchr(string, '=');
	if (strcmp(string, "end") == 0)
		return 1;
	if (!equals)
		return -LP_EVERSION;
	char *key = lp_sprintf("%.*s", (int)(equals - string), string);
	bool taken = take_field(r, key, equals + 1);
	lp_free(key);
	return taken ? 0 : -LP_EVERSION;
}

static int parse_strings(struct lp_record *r, const char *text, size_t len)
{
	int rc = 0;
	for (size_t at = sizeof RECORD_MAGIC; rc == 0; at += strlen(text + at) + 1) {
		if (at >= len || !memchr(text + at, 0, len - at))
			return -LP_EVERSION;
		rc = take_string(r, text + at);
	}
	return rc < 0 ? rc : 0;
}

static bool is_whole(const struct lp_record *r)
{
	for (size_t i = 0; i < r->units.nr; i++)
		if (!r->units.items[i].object)
			return false;
	return r->compiler && r->cwd && r->cwd[0] == '/';
}

int lp_record_parse(struct lp_record *out, const char *text, size_t len, const char *name, struct lp_err *err)
{
	int rc = -LP_EVERSION;
	*out = (struct lp_record){0};
	if (len > sizeof RECORD_MAGIC && memcmp(text, RECORD_MAGIC, sizeof RECORD_MAGIC) == 0)
		rc = parse_strings(out, text, len);
	if (rc < 0 || !is_whole(out)) {
		lp_record_clear(out);
		return lp_fail(err, LP_EVERSION, "%s is not a record of a compiler's run", name);
	}
	lp_ccargs_parse(&out->args, out->words.items, out->words.nr, out->is_linker, false);
	return 0;
}

static void free_strings(char **items, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		lp_free(items[i]);
}

void lp_record_clear(struct lp_record *r)
{
	lp_free(r->stem);
	lp_free(r->compiler);
	lp_free(r->cwd);
	lp_free(r->output);
	free_strings(r->words.items, r->words.nr);
	lp_vec_free(&r->words);
	free_strings(r->env.items, r->env.nr);
	lp_vec_free(&r->env);
	for (size_t i = 0; i < r->units.nr; i++) {
		lp_free(r->units.items[i].source);
		lp_free(r->units.items[i].object);
	}
	lp_vec_free(&r->units);
	lp_ccargs_free(&r->args);
	*r = (struct lp_record){0};
}

void lp_records_free(lp_record_vec *records)
{
	for (size_t i = 0; i < records->nr; i++)
		lp_record_clear(&records->items[i]);
	lp_vec_free(records);
}

static int load_one(lp_record_vec *out, const char *dir, const char *file, struct lp_err *err)
{
	struct lp_buf text = {0};
	struct lp_record record = {0};
	char *path = lp_sprintf("%s/%s", dir, file);
	int rc = lp_read_file(path, &text, RECORD_MAX, err);
	if (rc == 0)
		rc = lp_record_parse(&record, lp_buf_cstr(&text), text.len, path, err);
	if (rc == 0) {
		record.stem = lp_sprintf("%.*s", (int)(strlen(file) - strlen(".rec")), file);
		lp_vec_push(out, record);
	}
	lp_free(path);
	lp_buf_free(&text);
	return rc;
}

static int is_record_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return len > 4 && strcmp(entry->d_name + len - 4, ".rec") == 0;
}

size_t lp_records_count(const char *dir)
{
	struct dirent *e;
	size_t nr = 0;
	DIR *d = opendir(dir);
	while (d && (e = readdir(d)))
		nr += is_record_file(e) != 0;
	if (d)
		closedir(d);
	return nr;
}

int lp_records_load(lp_record_vec *out, const char *dir, struct lp_err *err)
{
	struct dirent **entries = NULL;
	int rc = 0, nr = scandir(dir, &entries, is_record_file, alphasort);
	if (nr < 0)
		return lp_fail_sys(err, errno, "cannot read %s", dir);
	for (int i = 0; i < nr; i++) {
		if (rc == 0)
			rc = load_one(out, dir, entries[i]->d_name, err);
		free(entries[i]);
	}
	free(entries);
	return rc;
}
