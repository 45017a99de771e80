/*
 * An archive is "!<arch>\n" (thin: "!<thin>\n") and members, each on an even offset:
 *
 *     name[16] date[12] uid[6] gid[6] mode[8] size[10] "`\n"     padded with blanks, numbers decimal
 *     size bytes                                                 (absent in a thin archive, but for the tables)
 *
 * Names end with '/'; "/" and "/SYM64/" are symbol tables, "//" holds long names ("name/\n" each), "/123" is the name at
 * offset 123 in it.  BSD's "#1/len" puts the name in front of the bytes.
 */
#include "build/archive.h"

#include <stdlib.h>
#include <string.h>

#define HEADER 60
#define MAGIC 8

struct names {
	const char *bytes;
	size_t len;
};

bool lp_is_archive(const void *bytes, size_t len)
{
	return len >= MAGIC && (memcmp(bytes, "!<arch>\n", MAGIC) == 0 || memcmp(bytes, "!<thin>\n", MAGIC) == 0);
}

/* A decimal number in a field that is padded with blanks; false when something else stands there. */
static bool field_number(const uint8_t *field, size_t len, size_t *out)
{
	size_t v = 0, i = 0;
	for (; i < len && field[i] >= '0' && field[i] <= '9'; i++)
		v = v * 10 + (size_t)(field[i] - '0');
	*out = v;
	return i > 0;
}

static char *long_name(const struct names *names, size_t at)
{
	if (at >= names->len)
		return NULL;
	const char *end = memchr(names->bytes + at, '\n', names->len - at);
	size_t len = end ? (size_t)(end - names->bytes) - at : names->len - at;
	if (len && names->bytes[at + len - 1] == '/')
		len--;
	return lp_sprintf("%.*s", (int)len, names->bytes + at);
}

static char *short_name(const uint8_t *field)
{
	size_t len = 16;
	while (len && field[len - 1] == ' ')
		len--;
	if (len && field[len - 1] == '/')
		len--;
	return lp_sprintf("%.*s", (int)len, (const char *)field);
}

/* NULL for a table, which is no member. */
static char *member_name(const uint8_t *header, const struct names *names)
{
	size_t at;
	if (header[0] != '/')
		return short_name(header);
	return field_number(header + 1, 15, &at) ? long_name(names, at) : NULL;
}

/* BSD: the name is the beginning of the bytes. */
static void take_name_off(struct lp_archive_member *m)
{
	size_t len;
	if (strncmp(m->name, "#1/", 3) != 0 || !m->bytes ||
	    !field_number((const uint8_t *)m->name + 3, strlen(m->name + 3), &len) || len > m->len)
		return;
	lp_free(m->name);
	m->name = lp_sprintf("%.*s", (int)len, (const char *)m->bytes);
	m->bytes += len;
	m->len -= len;
}

static bool is_name_table(const uint8_t *header)
{
	return header[0] == '/' && header[1] == '/';
}

/* Adds the member at `at`; returns the offset of the next one, 0 when the header is none. */
static size_t take_member(struct lp_archive *a, const uint8_t *bytes, size_t len, size_t at, bool thin,
			  struct names *names)
{
	const uint8_t *header = bytes + at;
	size_t size;
	if (len - at < HEADER || header[58] != '`' || header[59] != '\n' || !field_number(header + 48, 10, &size))
		return 0;
	bool table = header[0] == '/' && !(header[1] >= '0' && header[1] <= '9');
	bool has_bytes = !thin || table;
	at += HEADER;
	if (has_bytes && size > len - at)
		return 0;
	if (is_name_table(header))
		*names = (struct names){(const char *)bytes + at, size};
	char *name = table ? NULL : member_name(header, names);
	if (name) {
		lp_vec_push(&a->members, ((struct lp_archive_member){name, thin ? NULL : bytes + at, size}));
		take_name_off(&a->members.items[a->members.nr - 1]);
	}
	at += has_bytes ? size : 0;
	return at + (at & 1);
}

int lp_archive_parse(struct lp_archive *out, const uint8_t *bytes, size_t len, const char *name, struct lp_err *err)
{
	struct names names = {0};
	*out = (struct lp_archive){0};
	if (!lp_is_archive(bytes, len))
		return lp_fail(err, LP_EELF, "%s is not an archive", name);
	bool thin = bytes[2] == 't';
	for (size_t at = MAGIC; at && at < len;)
		if (!(at = take_member(out, bytes, len, at, thin, &names))) {
			lp_archive_free(out);
			return lp_fail(err, LP_EELF, "%s is a damaged archive", name);
		}
	return 0;
}

void lp_archive_free(struct lp_archive *a)
{
	for (size_t i = 0; i < a->members.nr; i++)
		lp_free(a->members.items[i].name);
	lp_vec_free(&a->members);
}
