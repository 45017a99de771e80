/*
 * GNU ld and gold, after the line "Linker script and memory map" or "Memory map":
 *
 *     .text           0x0000000000001050      0x1d3          output section, in column 0
 *      .text          0x0000000000001139       0x20 foo.o    input section, in column 1
 *      .text.unlikely.a_long_name
 *                     0x0000000000001159        0x5 libx.a(y.o)
 *                     0x0000000000001139                foo  a symbol: no second number
 *      *fill*         0x0000000000001159        0x7
 *
 * lld (mold: the same without LMA), after a line of headings:
 *
 *                  VMA              LMA     Size Align Out     In      Symbol
 *                 1139             1139       20    16 .text
 *                 1139             1139       20    16         libx.a(y.o):(.text)
 *                 1139             1139       20     1                 foo
 */
#include "build/linkmap.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct lp_linkmap *map;
	bool relocatable;
	char *output;	      /* the output section we are in */
	uint64_t output_addr; /* 0: not loaded */
	char *pending;	      /* a name that stood alone on its line */
	bool pending_output;
	unsigned columns; /* numbers in a row of lld's or mold's */
};

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static void set_text(char **to, const char *text, size_t len)
{
	lp_free(*to);
	*to = text ? lp_sprintf("%.*s", (int)len, text) : NULL;
}

/* A file, or an archive with a member in parentheses at its end. */
static void set_file(struct lp_linkmap_row *row, const char *text, size_t len)
{
	const char *open = NULL;
	if (len && text[len - 1] == ')')
		open = memrchr(text, '(', len);
	size_t file = open && open > text ? (size_t)(open - text) : len;
	row->file = lp_sprintf("%.*s", (int)file, text);
	if (file != len)
		row->member = lp_sprintf("%.*s", (int)(len - file - 2), text + file + 1);
}

static void add_row(struct reader *r, const char *section, size_t section_len, uint64_t addr, uint64_t size,
		    const char *file, size_t file_len)
{
	if (!file_len || (!r->relocatable && (!r->output_addr || !addr)))
		return;
	struct lp_linkmap_row *row = lp_vec_add(&r->map->rows);
	row->section = lp_sprintf("%.*s", (int)section_len, section);
	row->output = lp_strdup(r->output ? r->output : "");
	row->addr = addr;
	row->size = size;
	set_file(row, file, file_len);
}

/* ---- GNU ---- */

/* "0x1139"; NULL when there is none.  *end is behind it. */
static bool gnu_number(const char *p, uint64_t *out, const char **end)
{
	char *stop;
	if (p[0] != '0' || p[1] != 'x')
		return false;
	*out = strtoull(p, &stop, 16);
	*end = stop;
	return stop > p + 2;
}

/* Behind a section's name: address, size, and for an input section where it comes from. */
static void gnu_numbers(struct reader *r, const char *name, size_t name_len, bool is_output, const char *p)
{
	uint64_t addr, size;
	if (!gnu_number(p, &addr, &p) || !gnu_number(skip_blanks(p), &size, &p))
		return;
	if (is_output) {
		set_text(&r->output, name, name_len);
		r->output_addr = addr;
		return;
	}
	p = skip_blanks(p);
	add_row(r, name, name_len, addr, size, p, strlen(p));
}

/* The rest of a section whose long name stood on the line before. */
static void gnu_pending(struct reader *r, const char *line)
{
	gnu_numbers(r, r->pending, strlen(r->pending), r->pending_output, skip_blanks(line));
	set_text(&r->pending, NULL, 0);
}

static void gnu_line(struct reader *r, const char *line)
{
	bool is_output = line[0] && line[0] != ' ', is_input = line[0] == ' ' && line[1] && line[1] != ' ';
	if (!is_output && !is_input) {
		if (r->pending)
			gnu_pending(r, line);
		return;
	}
	set_text(&r->pending, NULL, 0);
	const char *name = line + (is_output ? 0 : 1);
	size_t len = strcspn(name, " \t");
	const char *rest = skip_blanks(name + len);
	if (name[0] == '*')
		return;
	if (*rest) {
		gnu_numbers(r, name, len, is_output, rest);
	} else {
		set_text(&r->pending, name, len);
		r->pending_output = is_output;
	}
}

/* ---- lld and mold ---- */

static bool lld_numbers(const char **p, uint64_t *numbers, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		char *stop;
		*p = skip_blanks(*p);
		if (!isxdigit((unsigned char)**p))
			return false;
		numbers[i] = strtoull(*p, &stop, 16);
		*p = stop;
	}
	return true;
}

/* "libx.a(y.o):(.text)" */
static void lld_input(struct reader *r, const char *text, uint64_t addr, uint64_t size)
{
	size_t len = strlen(text);
	const char *colon = NULL;
	for (const char *p = text; (p = strstr(p, ":(")); p++)
		colon = p;
	if (!colon || text[len - 1] != ')' || text[0] == '<')
		return;
	add_row(r, colon + 2, len - (size_t)(colon - text) - 3, addr, size, text, (size_t)(colon - text));
}

static void lld_line(struct reader *r, const char *line)
{
	uint64_t numbers[4];
	const char *p = line;
	if (!lld_numbers(&p, numbers, r->columns))
		return;
	uint64_t addr = numbers[0], size = numbers[r->columns - 2];
	size_t indent = strspn(p, " ");
	if (indent >= 16)
		return;
	if (indent >= 8) {
		lld_input(r, p + indent, addr, size);
		return;
	}
	set_text(&r->output, p + indent, strlen(p + indent));
	r->output_addr = addr;
}

static unsigned lld_columns(const char *line)
{
	const char *p = skip_blanks(line);
	if (strncmp(p, "VMA", 3) != 0 || !strstr(p, "Align"))
		return 0;
	return strstr(p, "LMA") ? 4 : 3;
}

/* ---- */

static bool is_gnu_heading(const char *line)
{
	return strcmp(line, "Linker script and memory map") == 0 || strcmp(line, "Memory map") == 0;
}

static void take_line(struct reader *r, const char *line, bool *gnu)
{
	if (*gnu)
		gnu_line(r, line);
	else if (r->columns)
		lld_line(r, line);
	else if (is_gnu_heading(line))
		*gnu = true;
	else
		r->columns = lld_columns(line);
}

int lp_linkmap_parse(struct lp_linkmap *out, const char *text, size_t len, bool relocatable, struct lp_err *err)
{
	struct reader r = {.map = out, .relocatable = relocatable};
	bool gnu = false;
	*out = (struct lp_linkmap){0};
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line_len = end ? (size_t)(end - text) - at : len - at;
		char *line = lp_sprintf("%.*s", (int)line_len, text + at);
		take_line(&r, line, &gnu);
		lp_free(line);
		at += line_len + 1;
	}
	lp_free(r.output);
	lp_free(r.pending);
	if (!gnu && !r.columns)
		return lp_fail(err, LP_EPARSE, "this is not a map that ld, gold, lld or mold wrote");
	return 0;
}

void lp_linkmap_free(struct lp_linkmap *map)
{
	for (size_t i = 0; i < map->rows.nr; i++) {
		lp_free(map->rows.items[i].file);
		lp_free(map->rows.items[i].member);
		lp_free(map->rows.items[i].section);
		lp_free(map->rows.items[i].output);
	}
	lp_vec_free(&map->rows);
}
