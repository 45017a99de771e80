/*
 * Paths, and where they lead.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debug/private.h"

#define PATH_MAX_BYTES 4096
#define HOPS_MAX 32

struct parser {
	struct lp_debug *d;
	const char *path, *at;
	struct lp_err *err;
	unsigned depth;
};

static int malformed(struct parser *p, const char *want)
{
	if (!*p->at)
		return lp_fail(p->err, LP_EUSAGE, "\"%s\" ends where %s should stand", p->path, want);
	return lp_fail(p->err, LP_EUSAGE, "\"%s\": %s should stand where \"%s\" begins", p->path, want, p->at);
}

static bool accept(struct parser *p, const char *token)
{
	while (*p->at == ' ')
		p->at++;
	if (strncmp(p->at, token, strlen(token)))
		return false;
	p->at += strlen(token);
	return true;
}

static char *cut(const char *from, const char *to)
{
	return lp_sprintf("%.*s", (int)(to - from), from);
}

/* ---- going on from a place ---- */

static void add(struct lp_global *g, uint64_t offset)
{
	if (g->hops.nr)
		g->hops.items[g->hops.nr - 1] += offset;
	else
		g->vaddr += offset;
}

static bool is_structure(const struct lp_shape *s)
{
	return s->kind == LP_SHAPE_STRUCT || s->kind == LP_SHAPE_UNION;
}

static int follow(struct parser *p, struct lp_global *g)
{
	if (g->shape->kind == LP_SHAPE_ARRAY) { /* as C has it: its first element */
		g->shape = lp_shape_to(g->shape);
		return 0;
	}
	if (g->shape->kind != LP_SHAPE_POINTER)
		return lp_fail(p->err, LP_ETYPE, "\"%s\": %s is no pointer", p->path, g->shape->name);
	if (g->hops.nr == HOPS_MAX)
		return lp_fail(p->err, LP_EUSAGE, "a path goes through %d pointers at most", HOPS_MAX);
	lp_vec_push(&g->hops, 0);
	g->shape = lp_shape_to(g->shape);
	return 0;
}

/* In unnamed members and base classes, too. */
static bool find_member(const struct lp_shape *s, const char *name, unsigned depth, uint64_t *offset,
			const struct lp_member **out)
{
	size_t nr;
	const struct lp_member *m = lp_shape_members(s, &nr);

	for (size_t i = 0; i < nr; i++) {
		if (!strcmp(m[i].name, name) && !m[i].is_base) {
			*out = &m[i];
			*offset += m[i].offset;
			return true;
		}
	}
	for (size_t i = 0; i < nr && depth < LP_NESTING_MAX; i++) {
		uint64_t inner = *offset + m[i].offset;

		if ((!*m[i].name || m[i].is_base) && find_member(m[i].shape, name, depth + 1, &inner, out)) {
			*offset = inner;
			return true;
		}
	}
	return false;
}

static int go_to_member(struct parser *p, struct lp_global *g, const char *name)
{
	const struct lp_member *m;
	uint64_t offset = 0;
	int rc = g->shape->kind == LP_SHAPE_POINTER ? follow(p, g) : 0;

	if (rc < 0)
		return rc;
	if (!is_structure(g->shape))
		return lp_fail(p->err, LP_ETYPE, "\"%s\": %s has no members", p->path, g->shape->name);
	if (!find_member(g->shape, name, 0, &offset, &m))
		return lp_fail(p->err, LP_ETYPE, "%s has no member %s", g->shape->name, name);
	add(g, offset);
	g->shape = m->shape;
	g->bit_offset = m->bit_offset;
	g->bit_size = m->bit_size;
	g->storage = m->storage;
	return 0;
}

static int member(struct parser *p, struct lp_global *g)
{
	accept(p, " ");
	const char *from = p->at;
	while (isalnum((unsigned char)*p->at) || *p->at == '_' || *p->at == '$')
		p->at++;
	if (p->at == from)
		return malformed(p, "the name of a member");
	char *name = cut(from, p->at);
	int rc = go_to_member(p, g, name);
	lp_free(name);
	return rc;
}

static int element(struct parser *p, struct lp_global *g)
{
	char *end;

	accept(p, " ");
	errno = 0;
	uint64_t i = isdigit((unsigned char)*p->at) ? strtoull(p->at, &end, 0) : (end = (char *)p->at, 0);
	if (end == p->at || errno)
		return malformed(p, "the number of an element");
	p->at = end;
	if (!accept(p, "]"))
		return malformed(p, "]");
	uint64_t count = g->shape->kind == LP_SHAPE_ARRAY ? g->shape->count : 0;
	int rc = follow(p, g);
	if (rc < 0)
		return rc;
	if (count && i >= count)
		return lp_fail(p->err, LP_EVALUE, "\"%s\": there is no element %llu of %llu", p->path,
			       (unsigned long long)i, (unsigned long long)count);
	if (!g->shape->size || i > INT64_MAX / g->shape->size)
		return lp_fail(p->err, LP_ETYPE, "\"%s\": nothing says how large %s is", p->path, g->shape->name);
	add(g, i * g->shape->size);
	return 0;
}

/* ---- names ---- */

/* "file.c:", "libfoo.so.1:", but not the "::" of a namespace. */
static char *qualifier(struct parser *p)
{
	const char *at = p->at;

	while (*at && (isalnum((unsigned char)*at) || strchr("_.+/@,$", *at) || (*at == '-' && at[1] != '>')))
		at++;
	if (at == p->at || *at != ':' || at[1] == ':')
		return NULL;
	char *text = cut(p->at, at);
	p->at = at + 1;
	return text;
}

/* Identifiers, "::" and the arguments of templates. */
static char *identifier(struct parser *p)
{
	const char *from = p->at;
	unsigned open = 0;

	for (; *p->at; p->at++) {
		if (p->at[0] == ':' && p->at[1] == ':')
			p->at++;
		else if (*p->at == '<')
			open++;
		else if (*p->at == '>' && open)
			open--;
		else if (!open && !isalnum((unsigned char)*p->at) && *p->at != '_' && *p->at != '$')
			break;
	}
	while (from[0] == ':' && from[1] == ':' && from < p->at)
		from += 2;
	return p->at > from && !open && !isdigit((unsigned char)*from) ? cut(from, p->at) : NULL;
}

static bool is_loaded(const struct lp_debug *d, const char *name)
{
	for (size_t i = 0; i < d->files.nr; i++) {
		const char *slash = strrchr(d->files.items[i].name, '/');

		if (!strcmp(slash ? slash + 1 : d->files.items[i].name, name) || !strcmp(d->files.items[i].name, name))
			return true;
	}
	return false;
}

static void qualify(struct parser *p, struct lp_variable_name *name)
{
	char *first = qualifier(p);

	if (first && is_loaded(p->d, first)) {
		name->file = first;
		name->source = qualifier(p);
	} else {
		name->source = first;
	}
}

static int variable(struct parser *p, struct lp_global *g)
{
	struct lp_variable_name name = {0};
	Dwarf_Die die;

	qualify(p, &name);
	name.name = identifier(p);
	int rc = name.name ? lp_variable_find(p->d, &name, &die, &g->file, &g->vaddr, p->err)
			   : malformed(p, "the name of a variable");
	if (rc == 0)
		g->shape = lp_shape_of(p->d, &die);
	lp_free(name.file);
	lp_free(name.source);
	lp_free(name.name);
	return rc;
}

/* ---- paths ---- */

static int path(struct parser *p, struct lp_global *g);

static int parenthesised(struct parser *p, struct lp_global *g)
{
	int rc = path(p, g);

	return rc < 0 ? rc : accept(p, ")") ? 0 : malformed(p, ")");
}

static int item(struct parser *p, struct lp_global *g)
{
	int rc = accept(p, "(") ? parenthesised(p, g) : variable(p, g);

	while (rc == 0) {
		bool into = accept(p, "->") || accept(p, ".");

		if (!into && !accept(p, "["))
			break;
		if (g->bit_size)
			return lp_fail(p->err, LP_ETYPE, "\"%s\": there is nothing in a bit-field", p->path);
		rc = into ? member(p, g) : element(p, g);
	}
	return rc;
}

static int path(struct parser *p, struct lp_global *g)
{
	if (p->depth++ > LP_NESTING_MAX)
		return lp_fail(p->err, LP_EUSAGE, "\"%s\" is too deep", p->path);
	if (!accept(p, "*"))
		return item(p, g);
	int rc = path(p, g);
	return rc < 0 ? rc : follow(p, g);
}

int lp_global_find(struct lp_debug *d, const char *text, struct lp_global *out, struct lp_err *err)
{
	struct parser p = {d, text, text, err, 0};

	*out = (struct lp_global){.d = d};
	if (strlen(text) > PATH_MAX_BYTES)
		return lp_fail(err, LP_EUSAGE, "a path has %d characters at most", PATH_MAX_BYTES);
	int rc = path(&p, out);
	accept(&p, "");
	if (rc == 0 && *p.at)
		rc = malformed(&p, "., -> or [");
	if (rc < 0)
		lp_global_free(out);
	return rc;
}

void lp_global_free(struct lp_global *g)
{
	lp_vec_free(&g->hops);
}

void lp_global_place(const struct lp_global *g, struct lp_buf *out)
{
	const struct lp_file *f = &g->d->files.items[g->file];
	char hex[2 * LP_BUILD_ID_MAX + 1];

	lp_build_id_hex(&f->build_id, hex);
	if (f->build_id.len)
		lp_buf_printf(out, "elf:%s+" LP_ADDR, hex, g->vaddr);
	else
		lp_buf_printf(out, LP_ADDR, g->vaddr + f->bias);
	for (size_t i = 0; i < g->hops.nr; i++)
		lp_buf_printf(out, ">+%llu", (unsigned long long)g->hops.items[i]);
}

uint64_t lp_global_size(const struct lp_global *g)
{
	return g->bit_size ? g->storage : g->shape->size;
}

const char *lp_global_type(const struct lp_global *g)
{
	return g->shape->name;
}

/* ---- members ---- */

static void list(const struct lp_shape *s, unsigned depth, void (*row)(void *, const char *, const char *), void *arg)
{
	size_t nr;
	const struct lp_member *m = lp_shape_members(s, &nr);

	for (size_t i = 0; i < nr; i++) {
		bool transparent = (m[i].is_base || !*m[i].name) && is_structure(m[i].shape);

		if (transparent && depth < LP_NESTING_MAX)
			list(m[i].shape, depth + 1, row, arg);
		else if (*m[i].name)
			row(arg, m[i].name, m[i].shape->name);
	}
}

int lp_global_members(const struct lp_global *g, void (*row)(void *arg, const char *name, const char *type), void *arg,
		      struct lp_err *err)
{
	const struct lp_shape *s = g->shape->kind == LP_SHAPE_POINTER ? lp_shape_to(g->shape) : g->shape;

	if (!is_structure(s))
		return lp_fail(err, LP_ETYPE, "%s has no members", g->shape->name);
	list(s, 0, row, arg);
	return 0;
}
