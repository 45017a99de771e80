#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *machine;
	const char *sentence;
} table[] = {
#define LP_ERR(name, machine, sentence) {machine, sentence},
#include "base/err.def"
#undef LP_ERR
};

_Static_assert(sizeof table / sizeof table[0] == LP_ERR_COUNT, "one row per code");

static bool is_ours(int code)
{
	return code >= LP_E_BASE && code < LP_E_BASE + LP_ERR_COUNT;
}

const char *lp_strerror(int code)
{
	code = abs(code);
	return is_ours(code) ? table[code - LP_E_BASE].sentence : strerror(code);
}

const char *lp_err_name(int code)
{
	code = abs(code);
	if (is_ours(code))
		return table[code - LP_E_BASE].machine;
	const char *name = strerrorname_np(code);
	return name ? name : "unknown";
}

static int fill(struct lp_err *err, int code, const char *fmt, va_list ap)
{
	code = -abs(code);
	if (!err)
		return code;
	*err = (struct lp_err){.code = code};
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	return code;
}

int lp_fail(struct lp_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	code = fill(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int lp_fail_sys(struct lp_err *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int code = fill(err, errnum, fmt, ap);
	va_end(ap);
	lp_err_append(err, ": %s", strerror(abs(errnum)));
	return code;
}

int lp_err_context(struct lp_err *err, int rc, const char *fmt, ...)
{
	if (!err)
		return rc;
	char old[sizeof err->text];
	memcpy(old, err->text, sizeof old);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
	err->code = rc;
	lp_err_append(err, ": %s", old[0] ? old : lp_strerror(rc));
	return rc;
}

void lp_err_append(struct lp_err *err, const char *fmt, ...)
{
	if (!err)
		return;
	size_t used = strlen(err->text);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->text + used, sizeof err->text - used, fmt, ap);
	va_end(ap);
}
