#include "agent/gflags.h"

#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cxx.h"
#include "agent/glog.h"

/* gflags/gflags.h, the same since 2.0. */
struct flag_info {
	struct cxx_string name, type, description, current_value, default_value, filename;
	bool has_validator_fn, is_default;
	const void *flag_ptr;
};
_Static_assert(sizeof(struct flag_info) == 6 * 32 + 16, "gflags");

struct gflags {
	void (*all)(struct cxx_vector *out);
	bool (*info)(const char *name, struct flag_info *out);
	/* Returns an empty string when it refuses.  A result of this size has its place given by the caller in C as in C++. */
	struct cxx_string (*set)(const char *name, const char *value);
};

/* The library's namespace is chosen when it is built. */
static const char *const namespaces[] = {"6google", "6gflags"};

static bool find_one(const char *space, const char *rest, void *out)
{
	char name[256];
	struct lp_spot spot;

	snprintf(name, sizeof name, "_ZN%s%s", space, rest);
	if (lp_symbol_find(name, &spot, NULL) < 0 || !spot.is_function)
		return false;
	memcpy(out, &spot.at, sizeof(void *));
	return true;
}

static bool find_in(const char *space, struct gflags *g)
{
	return find_one(space, "11GetAllFlagsEPSt6vectorINS_19CommandLineFlagInfoESaIS1_EE", &g->all) &&
	       find_one(space, "22GetCommandLineFlagInfoEPKcPNS_19CommandLineFlagInfoE", &g->info) &&
	       find_one(space, "20SetCommandLineOptionB5cxx11EPKcS1_", &g->set);
}

static bool find(struct gflags *g)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(namespaces); i++) {
		if (find_in(namespaces[i], g))
			return true;
	}
	return false;
}

static void info_init(struct flag_info *i)
{
	*i = (struct flag_info){0};
	lp_cxx_string_init(&i->name);
	lp_cxx_string_init(&i->type);
	lp_cxx_string_init(&i->description);
	lp_cxx_string_init(&i->current_value);
	lp_cxx_string_init(&i->default_value);
	lp_cxx_string_init(&i->filename);
}

static void info_end(struct flag_info *i)
{
	lp_cxx_string_end(&i->name);
	lp_cxx_string_end(&i->type);
	lp_cxx_string_end(&i->description);
	lp_cxx_string_end(&i->current_value);
	lp_cxx_string_end(&i->default_value);
	lp_cxx_string_end(&i->filename);
}

int lp_gflags_each(void (*fn)(void *arg, const struct lp_flag *flag), void *arg, struct lp_err *err)
{
	struct gflags g;
	struct cxx_vector all = {0};

	if (!find(&g))
		return lp_glog_each(fn, arg, err);
	g.all(&all);
	for (char *at = all.begin; at != all.end; at += sizeof(struct flag_info)) {
		struct flag_info *i = (struct flag_info *)at;

		fn(arg, &(struct lp_flag){i->name.text, i->type.text, i->current_value.text, i->default_value.text,
					  i->description.text, i->filename.text});
		info_end(i);
	}
	lp_cxx_delete(all.begin);
	return 0;
}

int lp_gflags_get(const char *name, struct lp_buf *type, struct lp_buf *value, struct lp_err *err)
{
	struct gflags g;
	struct flag_info info;
	int rc = 0;

	if (!find(&g))
		return lp_glog_get(name, type, value, err);
	info_init(&info);
	if (g.info(name, &info)) {
		lp_buf_add(type, info.type.text, info.type.len);
		lp_buf_add(value, info.current_value.text, info.current_value.len);
	} else {
		rc = lp_fail(err, LP_ENOFLAG, "there is no flag called %s", name);
	}
	info_end(&info);
	return rc;
}

int lp_gflags_set(const char *name, const char *value, struct lp_err *err)
{
	struct gflags g;
	int rc = 0;

	if (!find(&g))
		return lp_glog_set(name, value, err);
	struct cxx_string said = g.set(name, value);
	if (!said.len)
		rc = lp_fail(err, LP_EREJECTED, "%s does not take \"%s\": not of its type, or its validator said no",
			     name, value);
	lp_cxx_string_end(&said);
	return rc;
}
