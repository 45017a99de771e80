#include "agent/glog.h"

#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cxx.h"
#include "agent/value.h"

static const struct row {
	const char *space, *name;
} rows[] = {
#define GLOG(space, name) {#space, #name},
#include "agent/glog.def"
#undef GLOG
};

static bool is_string(const struct row *r)
{
	return !strcmp(r->space, "fLS");
}

/* NULL: a string. */
static const struct lp_type *type_of(const struct row *r)
{
	return is_string(r) ? NULL
			    : lp_type_named(!strcmp(r->space, "fLB")   ? "bool"
					    : !strcmp(r->space, "fLI") ? "int"
								       : "uint");
}

/* fLI::FLAGS_v, as the Itanium C++ ABI spells it; a reference to a string is a pointer, and says so in its name. */
static void *find_variable(const struct row *r)
{
	char name[128];
	struct lp_spot spot;
	size_t size = is_string(r) ? sizeof(void *) : type_of(r)->size;

	snprintf(name, sizeof name, "_ZN3%s%zuFLAGS_%s%sE", r->space, strlen("FLAGS_") + strlen(r->name), r->name,
		 is_string(r) ? "B5cxx11" : "");
	if (lp_symbol_find(name, &spot, NULL) < 0 || spot.is_function || spot.size != size)
		return NULL;
	return (void *)(uintptr_t)spot.at;
}

static void *find_flag(const char *name, const struct row **out)
{
	void *at = NULL;

	for (size_t i = 0; !at && i < LP_ARRAY_SIZE(rows); i++) {
		*out = &rows[i];
		at = !strcmp(rows[i].name, name) ? find_variable(&rows[i]) : NULL;
	}
	return at;
}

static bool has_glog(void)
{
	const struct row *r;

	return find_flag("minloglevel", &r) != NULL;
}

static int no_flags(struct lp_err *err)
{
	return lp_fail(err, LP_ENOFLAG,
		       "this program has neither gflags nor glog that can be seen (built against libstdc++, with its "
		       "symbols)");
}

static int no_flag(const char *name, struct lp_err *err)
{
	return has_glog() ? lp_fail(err, LP_ENOFLAG, "there is no flag called %s", name) : no_flags(err);
}

static void print(const struct row *r, const void *at, struct lp_buf *type, struct lp_buf *value)
{
	uint8_t bytes[LP_VALUE_MAX] = {0};

	if (is_string(r)) {
		const struct cxx_string *s = *(struct cxx_string *const *)at;

		lp_buf_str(type, "string");
		lp_buf_add(value, s->text, s->len);
		return;
	}
	lp_buf_str(type, strcmp(r->space, "fLI") == 0 ? "int32" : strcmp(r->space, "fLU") == 0 ? "uint32" : "bool");
	if (lp_memory_read((lp_addr)(uintptr_t)at, bytes, type_of(r)->size, NULL) == 0)
		lp_value_print(type_of(r), bytes, value);
}

int lp_glog_each(void (*fn)(void *arg, const struct lp_flag *flag), void *arg, struct lp_err *err)
{
	if (!has_glog())
		return no_flags(err);
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct lp_buf type = {0}, value = {0};
		const void *at = find_variable(&rows[i]);

		if (at) {
			print(&rows[i], at, &type, &value);
			fn(arg, &(struct lp_flag){rows[i].name, lp_buf_cstr(&type), lp_buf_cstr(&value), "", "", ""});
		}
		lp_buf_free(&type);
		lp_buf_free(&value);
	}
	return 0;
}

int lp_glog_get(const char *name, struct lp_buf *type, struct lp_buf *value, struct lp_err *err)
{
	const struct row *r;
	const void *at = find_flag(name, &r);

	if (!at)
		return no_flag(name, err);
	print(r, at, type, value);
	return 0;
}

/* The program's own, because the memory is its allocator's. */
static int assign(struct cxx_string *s, const char *value, struct lp_err *err)
{
	struct lp_spot spot;
	void *(*fn)(struct cxx_string * self, const char *text);

	if (lp_symbol_find("_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE6assignEPKc", &spot, NULL) < 0 ||
	    !spot.is_function)
		return lp_fail(err, LP_EREJECTED, "the program has no std::string::assign() that can be seen");
	memcpy(&fn, &spot.at, sizeof fn);
	fn(s, value);
	return 0;
}

int lp_glog_set(const char *name, const char *value, struct lp_err *err)
{
	const struct row *r;
	uint8_t bytes[LP_VALUE_MAX];
	void *at = find_flag(name, &r);

	if (!at)
		return no_flag(name, err);
	if (is_string(r))
		return assign(*(struct cxx_string **)at, value, err);
	if (lp_value_parse(type_of(r), value, bytes, NULL) < 0)
		return lp_fail(err, LP_EREJECTED, "%s does not take \"%s\": not of its type", name, value);
	return lp_memory_write((lp_addr)(uintptr_t)at, bytes, NULL, type_of(r)->size, err);
}
