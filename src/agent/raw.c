/*
 * mem ...: memory as bytes, where a client says it is.
 *
 *     place = ("elf:" BUILD-ID "+" OFFSET | ADDRESS) { ">" | "+" NUMBER }
 *
 * OFFSET is an address as it stands in the file with that build-id, wherever
 * that is loaded; ">" goes where the pointer there leads, "+" so many bytes
 * further.  A client that reads debug information makes such places of
 * `server.clients->head`; who walks the pointers is the process itself, at the
 * moment of the access.
 */
#include <ctype.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "elf/elf.h"

#define READ_MAX 65536
#define WRITE_MAX 4096
#define STEPS_MAX 64
#define NOTES_MAX 65536
#define ELF "elf:"

/* ---- which file ---- */

struct wanted {
	struct lp_build_id id;
	bool found;
	lp_addr bias;
};

static void id_in_notes(lp_addr at, size_t size, struct lp_build_id *out)
{
	uint8_t *notes = size <= NOTES_MAX ? lp_alloc(size) : NULL;

	if (notes && lp_memory_read(at, notes, size, NULL) == 0)
		lp_elf_build_id_from_notes(notes, size, out);
	lp_free(notes);
}

/* The notes of a program that runs are where its headers say; they are read like anything else that may lie. */
static void own_id(const struct dl_phdr_info *info, struct lp_build_id *out)
{
	*out = (struct lp_build_id){0};
	for (int i = 0; i < info->dlpi_phnum && !out->len; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_NOTE)
			id_in_notes(info->dlpi_addr + ph->p_vaddr, ph->p_memsz, out);
	}
}

static int look_at_file(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *w = arg;
	struct lp_build_id id;

	own_id(info, &id);
	w->found = lp_build_id_equal(&id, &w->id);
	w->bias = info->dlpi_addr;
	return w->found;
}

/* ---- mem files ---- */

static int show_file(struct dl_phdr_info *info, size_t size, void *arg)
{
	const struct lp_call *c = arg;
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];

	own_id(info, &id);
	lp_build_id_hex(&id, hex);
	lp_reply_row(c->reply, "% % %", LP_ADDRESS("bias", info->dlpi_addr), LP_STR("build_id", id.len ? hex : "-"),
		     LP_STR("path", info->dlpi_name));
	return 0;
}

/* The program itself has no path here. */
int lp_cmd_mem_files(struct lp_call *c, struct lp_err *err)
{
	dl_iterate_phdr(show_file, c);
	return 0;
}

/* ---- a place as it is written ---- */

static int malformed(const char *text, struct lp_err *err)
{
	return lp_fail(err, LP_EUSAGE, "\"%s\" is no place: elf:BUILD-ID+0xOFFSET or 0xADDRESS, then > and +NUMBER",
		       text);
}

/* strtoull() takes blanks and signs, and we do not. */
static bool number(const char **at, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)**at))
		return false;
	errno = 0;
	*out = strtoull(*at, &end, 0);
	*at = end;
	return !errno;
}

static int file_base(const char **at, lp_addr *out, struct lp_err *err)
{
	const char *text = *at, *plus = strchr(text, '+');
	char hex[2 * LP_BUILD_ID_MAX + 1];
	struct wanted w = {0};
	uint64_t offset;

	*at += strlen(ELF);
	if (!plus || (size_t)(plus - *at) >= sizeof hex)
		return malformed(text, err);
	snprintf(hex, sizeof hex, "%.*s", (int)(plus - *at), *at);
	*at = plus + 1;
	if (!lp_build_id_parse(hex, &w.id) || !number(at, &offset))
		return malformed(text, err);
	dl_iterate_phdr(look_at_file, &w);
	if (!w.found)
		return lp_fail(err, LP_EBUILDID, "nothing with the build-id %s is loaded", hex);
	*out = w.bias + offset;
	return 0;
}

static int follow(lp_addr *at, struct lp_err *err)
{
	lp_addr to;
	int rc = lp_memory_read(*at, &to, sizeof to, err);

	if (rc < 0)
		return rc;
	*at = to;
	return to ? 0 : lp_fail(err, LP_EUNMAPPED, "there is a null pointer on the way");
}

static int step(const char **text, lp_addr *at, struct lp_err *err)
{
	uint64_t further = 0;
	char what = *(*text)++;

	if (what == '>')
		return follow(at, err);
	if (what != '+' || !number(text, &further))
		return lp_fail(err, LP_EUSAGE, "a step of a place is > or +NUMBER");
	*at += further;
	return 0;
}

static int evaluate(const char *place, lp_addr *out, struct lp_err *err)
{
	const char *at = place;
	int rc = 0, steps = 0;

	if (!strncmp(place, ELF, strlen(ELF)))
		rc = file_base(&at, out, err);
	else if (!number(&at, out))
		rc = malformed(place, err);
	while (rc == 0 && *at)
		rc = steps++ < STEPS_MAX ? step(&at, out, err)
					 : lp_fail(err, LP_EUSAGE, "a place has %d steps at most", STEPS_MAX);
	return rc;
}

/* ---- mem get ---- */

static void add_hex(struct lp_buf *b, const uint8_t *bytes, size_t nr)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < nr; i++)
		lp_buf_add(b, (char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
}

int lp_cmd_mem_get(struct lp_call *c, struct lp_err *err)
{
	const char *count = c->argv[1];
	uint64_t size;
	lp_addr at;

	if (!number(&count, &size) || *count || !size || size > READ_MAX)
		return lp_fail(err, LP_EUSAGE, "1 to %d bytes can be read at once, not \"%s\"", READ_MAX, c->argv[1]);
	struct lp_buf hex = {0};
	uint8_t *bytes = lp_alloc(size);
	int rc = evaluate(c->argv[0], &at, err);
	rc = rc < 0 ? rc : lp_memory_read(at, bytes, size, err);
	if (rc == 0) {
		add_hex(&hex, bytes, size);
		lp_reply_row(c->reply, "%", LP_STR("bytes", lp_buf_cstr(&hex)), LP_ADDRESS("address", at));
	}
	lp_buf_free(&hex);
	lp_free(bytes);
	return rc;
}

/* ---- mem set ---- */

struct write {
	char *place;
	lp_addr at; /* where it was written, for undo */
	size_t size;
	uint8_t *bytes, *mask, *old; /* mask NULL: all of it */
};

static int locate(struct write *w, struct lp_err *err)
{
	int rc = evaluate(w->place, &w->at, err);

	return rc < 0 ? rc : lp_memory_check(w->at, w->size, true, err);
}

/* What has gone away meanwhile needs none. */
static void write_undo(void *change)
{
	struct write *w = change;

	lp_memory_write(w->at, w->old, w->mask, w->size, NULL);
}

/* Between `begin` and `commit` pointers on the way may have changed. */
static int write_commit(void *change, struct lp_err *err)
{
	struct write *w = change;
	int rc = locate(w, err);

	rc = rc < 0 ? rc : lp_memory_read(w->at, w->old, w->size, err);
	if (rc < 0)
		return rc;
	rc = lp_memory_write(w->at, w->bytes, w->mask, w->size, err);
	if (rc < 0)
		write_undo(w); /* what is still there of it */
	return rc;
}

static void write_free(void *change)
{
	struct write *w = change;

	lp_free(w->place);
	lp_free(w->bytes);
	lp_free(w->mask);
	lp_free(w->old);
	lp_free(w);
}

static int nibble(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static int unhex(const char *text, uint8_t **out, size_t *size, struct lp_err *err)
{
	size_t len = strlen(text);

	if (!len || len % 2 || len / 2 > WRITE_MAX)
		return lp_fail(err, LP_EUSAGE, "1 to %d bytes can be written at once, each in two hexadecimal digits",
			       WRITE_MAX);
	*size = len / 2;
	*out = lp_alloc(*size);
	for (size_t i = 0; i < *size; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return lp_fail(err, LP_EUSAGE, "\"%.2s\" is not a byte in hexadecimal digits", text + 2 * i);
		(*out)[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

int lp_cmd_mem_set(struct lp_call *c, struct lp_err *err)
{
	struct write *w = lp_alloc(sizeof *w);
	size_t mask_size = 0;
	int rc = unhex(c->argv[1], &w->bytes, &w->size, err);

	if (rc == 0 && c->argc > 2)
		rc = unhex(c->argv[2], &w->mask, &mask_size, err);
	if (rc == 0 && w->mask && mask_size != w->size)
		rc = lp_fail(err, LP_EUSAGE, "the mask is as long as the bytes");
	w->place = lp_strdup(c->argv[0]);
	w->old = lp_alloc(w->size + 1);
	rc = rc < 0 ? rc : locate(w, err);
	if (rc < 0) {
		write_free(w);
		return rc;
	}
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_VARIABLES,
					     .commit = write_commit,
					     .undo = write_undo,
					     .release = write_free,
					     .change = w});
	return 0;
}
