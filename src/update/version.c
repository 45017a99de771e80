#include "update/version.h"

#include <stdio.h>
#include <string.h>

#define NUMBER_MAX 999999999u

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool read_number(const char **at, uint32_t *out)
{
	uint64_t n = 0;
	const char *p = *at;

	if (!is_digit(*p))
		return false;
	for (; is_digit(*p) && n <= NUMBER_MAX; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	*at = p;
	*out = (uint32_t)n;
	return n <= NUMBER_MAX;
}

/* ".N", when there is one. */
static bool read_part(const char **at, uint32_t *out)
{
	if (**at != '.' || !is_digit((*at)[1]))
		return true;
	++*at;
	return read_number(at, out);
}

static bool read_candidate(const char **at, struct lp_version *v)
{
	if (!**at)
		return true;
	if (strchr("-~._", **at))
		++*at;
	if (strncmp(*at, "rc", 2) != 0)
		return false;
	*at += 2;
	if (**at == '.' || **at == '-')
		++*at;
	v->is_candidate = true;
	return read_number(at, &v->rc);
}

bool lp_version_read(const char *text, struct lp_version *out)
{
	const char *p = text ? text : "";
	struct lp_version v = {0};

	*out = v;
	p += *p == 'v';
	if (!read_number(&p, &v.major) || !read_part(&p, &v.minor) || !read_part(&p, &v.build) ||
	    !read_candidate(&p, &v) || *p)
		return false;
	*out = v;
	return true;
}

static int order(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

int lp_version_compare(const struct lp_version *a, const struct lp_version *b)
{
	const int orders[] = {order(a->major, b->major), order(a->minor, b->minor), order(a->build, b->build),
			      order(b->is_candidate, a->is_candidate), a->is_candidate ? order(a->rc, b->rc) : 0};
	size_t i = 0;

	while (i < sizeof orders / sizeof *orders - 1 && !orders[i])
		i++;
	return orders[i];
}

const char *lp_version_text(const struct lp_version *v, char out[LP_VERSION_TEXT])
{
	int len = snprintf(out, LP_VERSION_TEXT, "%u.%u.%u", v->major, v->minor, v->build);

	if (v->is_candidate)
		snprintf(out + len, LP_VERSION_TEXT - (size_t)len, "-rc%u", v->rc);
	return out;
}
