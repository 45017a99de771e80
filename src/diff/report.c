/* What the differ tells: changes, refusals, and the same as JSON. */
#include "diff/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *code, *remedy;
	bool allowable;
} refusals[REFUSE_COUNT] = {
#define REFUSE(name, code, allowable, remedy) {code, remedy, allowable},
#include "diff/refuse.def"
#undef REFUSE
};

static const char *const kind_names[] = {
	[LP_DIFF_FUNCTION_CHANGED] = "function-changed",
	[LP_DIFF_FUNCTION_NEW] = "function-new",
	[LP_DIFF_FUNCTION_REMOVED] = "function-removed",
	[LP_DIFF_DATA_NEW] = "data-new",
	[LP_DIFF_CONST_CHANGED] = "constant-changed",
	[LP_DIFF_DATA_REMOVED] = "data-removed",
	[LP_DIFF_HOOK] = "hook",
};

const char *lp_diff_kind_name(enum lp_diff_kind kind)
{
	return (size_t)kind < LP_ARRAY_SIZE(kind_names) ? kind_names[kind] : "?";
}

const char *lp_diff_keep(struct lp_diff *d, char *text)
{
	lp_vec_push(&d->texts, text);
	return text;
}

/* ---- refusals ---- */

/* Does "code" or "code:culprit" begin with this code? */
static bool has_code(const char *allow, const char *code)
{
	size_t len = strlen(code);
	return !strncmp(allow, code, len) && (!allow[len] || allow[len] == ':');
}

static const char *why_not(const char *allow)
{
	for (size_t i = 0; i < REFUSE_COUNT; i++)
		if (has_code(allow, refusals[i].code))
			return refusals[i].allowable ? NULL : "it would corrupt the process";
	return "there is no such code";
}

int lp_diff_check_allow(const char *allow, struct lp_err *err)
{
	struct lp_buf codes = {0};
	const char *why = why_not(allow);
	if (!why)
		return 0;
	for (size_t i = 0; i < REFUSE_COUNT; i++)
		if (refusals[i].allowable)
			lp_buf_printf(&codes, "%s%s", codes.len ? ", " : "", refusals[i].code);
	int rc = lp_fail(err, LP_EUSAGE, "--allow %s: %s; one may allow %s", allow, why, lp_buf_cstr(&codes));
	lp_buf_free(&codes);
	return rc;
}

/* "code" or "code:culprit" */
static bool is_allowed(const struct lp_diff *d, enum refusal what, const char *culprit)
{
	const char *code = refusals[what].code;
	size_t len = strlen(code);

	for (size_t i = 0; refusals[what].allowable && i < d->in.nr_allow; i++) {
		const char *a = d->in.allow[i];
		if (has_code(a, code) && (!a[len] || !strcmp(a + len + 1, culprit)))
			return true;
	}
	return false;
}

static bool is_known(const struct lp_diff *d, const char *code, const char *culprit, const char *unit)
{
	for (size_t i = 0; i < d->refusals.nr; i++) {
		const struct lp_diff_refusal *r = &d->refusals.items[i];
		if (!strcmp(r->code, code) && !strcmp(r->culprit, culprit) && !strcmp(r->unit, unit))
			return true;
	}
	return false;
}

void lp_diff_refuse(struct lp_diff *d, enum refusal what, const char *culprit, const char *unit, const char *fmt, ...)
{
	char sentence[1024];
	va_list ap;

	if (is_allowed(d, what, culprit) || is_known(d, refusals[what].code, culprit, unit))
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	struct lp_diff_refusal r = {
		.code = refusals[what].code,
		.culprit = lp_diff_keep(d, lp_strdup(culprit)),
		.unit = lp_diff_keep(d, lp_strdup(unit)),
		.sentence = lp_diff_keep(d, lp_strdup(sentence)),
		.remedy = refusals[what].remedy,
		.allowable = refusals[what].allowable,
	};
	lp_vec_push(&d->refusals, r);
}

int lp_diff_refused(const struct lp_diff *d, struct lp_err *err)
{
	if (!d->refusals.nr)
		return 0;
	const struct lp_diff_refusal *first = &d->refusals.items[0];
	int rc = lp_fail(err, LP_EDIFF, "%s: %s: %s", first->unit, first->code, first->sentence);
	lp_err_append(err, "\n  instead: %s", first->remedy);
	for (size_t i = 1; i < d->refusals.nr; i++) {
		const struct lp_diff_refusal *r = &d->refusals.items[i];
		lp_err_append(err, "\n%s: %s: %s", r->unit, r->code, r->sentence);
		lp_err_append(err, "\n  instead: %s", r->remedy);
	}
	if (err)
		snprintf(err->function, sizeof err->function, "%s", first->culprit);
	return rc;
}

/* ---- changes ---- */

struct lp_diff_change *lp_diff_tell(struct lp_diff *d, enum lp_diff_kind kind, const struct piece *p, const char *why)
{
	struct lp_diff_change *c = lp_vec_add(&d->changes);

	*c = (struct lp_diff_change){
		.kind = kind,
		.name = p->name,
		.unit = p->obj->unit->name,
		.new_size = lp_piece_size(p),
		.why = why ? why : "",
	};
	return c;
}

bool lp_diff_empty(const struct lp_diff *d)
{
	return !d->included.nr && !d->refusals.nr;
}

const struct lp_diff_change *lp_diff_changes(const struct lp_diff *d, size_t *nr)
{
	*nr = d->changes.nr;
	return d->changes.items;
}

const struct lp_diff_refusal *lp_diff_refusals(const struct lp_diff *d, size_t *nr)
{
	*nr = d->refusals.nr;
	return d->refusals.items;
}

/* ---- JSON ---- */

static void put_char(struct lp_buf *out, unsigned char c)
{
	if (c == '"' || c == '\\')
		lp_buf_printf(out, "\\%c", c);
	else if (c < 0x20 || c >= 0x7f) /* names are bytes; Latin-1 keeps each apart */
		lp_buf_printf(out, "\\u%04x", c);
	else
		lp_buf_add(out, &c, 1);
}

static void put_string(struct lp_buf *out, const char *name, const char *value)
{
	lp_buf_printf(out, "\"%s\": \"", name);
	for (; *value; value++)
		put_char(out, (unsigned char)*value);
	lp_buf_str(out, "\"");
}

static void put_change(struct lp_buf *out, const struct lp_diff_change *c)
{
	lp_buf_str(out, "{");
	put_string(out, "kind", lp_diff_kind_name(c->kind));
	lp_buf_str(out, ", ");
	put_string(out, "name", c->name);
	lp_buf_str(out, ", ");
	put_string(out, "unit", c->unit);
	lp_buf_printf(out, ", \"old_address\": \"" LP_ADDR "\", \"old_size\": %" PRIu64 ", \"new_size\": %" PRIu64 ", ",
		      c->old_addr, c->old_size, c->new_size);
	put_string(out, "why", c->why);
	lp_buf_str(out, "}");
}

static void put_refusal(struct lp_buf *out, const struct lp_diff_refusal *r)
{
	lp_buf_str(out, "{");
	put_string(out, "code", r->code);
	lp_buf_str(out, ", ");
	put_string(out, "culprit", r->culprit);
	lp_buf_str(out, ", ");
	put_string(out, "unit", r->unit);
	lp_buf_str(out, ", ");
	put_string(out, "sentence", r->sentence);
	lp_buf_str(out, ", ");
	put_string(out, "remedy", r->remedy);
	lp_buf_printf(out, ", \"allowable\": %s}", r->allowable ? "true" : "false");
}

void lp_diff_json(const struct lp_diff *d, struct lp_buf *out)
{
	lp_buf_str(out, "{\"changes\": [");
	for (size_t i = 0; i < d->changes.nr; i++) {
		lp_buf_str(out, i ? ", " : "");
		put_change(out, &d->changes.items[i]);
	}
	lp_buf_str(out, "], \"refusals\": [");
	for (size_t i = 0; i < d->refusals.nr; i++) {
		lp_buf_str(out, i ? ", " : "");
		put_refusal(out, &d->refusals.items[i]);
	}
	lp_buf_str(out, "]}");
}

/* ---- .livepatch.meta ---- */

static void put_functions(const struct lp_diff *d, struct lp_buf *out)
{
	const char *comma = "";

	lp_buf_str(out, "\"functions\": [");
	for (size_t i = 0; i < d->changes.nr; i++) {
		const struct lp_diff_change *c = &d->changes.items[i];
		if (c->kind != LP_DIFF_FUNCTION_CHANGED && c->kind != LP_DIFF_FUNCTION_NEW)
			continue;
		lp_buf_printf(out, "%s{", comma);
		put_string(out, "name", c->name);
		lp_buf_str(out, ", ");
		put_string(out, "unit", c->unit);
		lp_buf_str(out, ", ");
		put_string(out, "why", c->why);
		lp_buf_str(out, "}");
		comma = ", ";
	}
	lp_buf_str(out, "]");
}

void lp_diff_meta(const struct lp_diff *d, struct lp_buf *out)
{
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];

	lp_elf_build_id(d->target, &id);
	lp_build_id_hex(&id, hex);
	lp_buf_str(out, "{\"version\": 1, ");
	put_string(out, "id", d->in.id ? d->in.id : "");
	lp_buf_str(out, ", ");
	put_string(out, "object", d->in.object_name ? d->in.object_name : "");
	lp_buf_str(out, ", ");
	put_string(out, "build_id", hex);
	lp_buf_str(out, ", ");
	put_string(out, "tool", "livepatch");
	lp_buf_str(out, ", ");
	if (d->in.compiler) {
		put_string(out, "compiler", d->in.compiler);
		lp_buf_str(out, ", ");
	}
	lp_buf_str(out, "\"level\": 0, ");
	put_functions(d, out);
	lp_buf_str(out, "}\n");
}
