#include "pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fdio.h"

static char dir[64];

static void remove_scratch(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	if (system(command))
		fprintf(stderr, "%s is left behind\n", dir);
}

const char *scratch(void)
{
	if (!dir[0]) {
		strcpy(dir, "/tmp/livepatch-diff-XXXXXX");
		assert_non_null(mkdtemp(dir));
		atexit(remove_scratch);
	}
	return dir;
}

void run(const char *fmt, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	if (system(command))
		fail_msg("failed: %s", command);
}

static bool is_cxx(const char *source)
{
	size_t len = strlen(source);

	return len > 3 && !strcmp(source + len - 3, ".cc");
}

static const char *driver(const char *compiler, const char *source)
{
	static const char *const pairs[][2] = {
		{"gcc", "g++"}, {"clang", "clang++"}, {"aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(pairs) && is_cxx(source); i++)
		if (!strcmp(compiler, pairs[i][0]))
			return pairs[i][1];
	return compiler;
}

bool have_compiler(const char *compiler, const char *source)
{
	char command[128];

	snprintf(command, sizeof command, "command -v %s >/dev/null", driver(compiler, source));
	return !system(command);
}

static struct lp_elf *open_elf(const char *name)
{
	char path[256];
	struct lp_err err = {0};
	struct lp_elf *e = NULL;

	snprintf(path, sizeof path, "%s/%s", scratch(), name);
	if (lp_elf_open(&e, path, &err))
		fail_msg("%s", err.text);
	return e;
}

/* GNU ld: " .text.f  0x0000000000001139  0x16 linked.o", the name on a line of its own when it is long. */
static void read_map(struct pair *p)
{
	char path[256], *rest = NULL;
	struct lp_buf text = {0};
	const char *words[4] = {0};
	LP_VEC(struct lp_placement) v = {0};
	struct lp_err err = {0};

	snprintf(path, sizeof path, "%s/map", scratch());
	if (lp_read_file(path, &text, 1 << 26, &err))
		fail_msg("%s", err.text);
	p->map = lp_strdup(lp_buf_cstr(&text));
	lp_buf_free(&text);
	char *from = strstr(p->map, "Linker script and memory map");
	for (char *w = strtok_r(from ? from : p->map, " \n", &rest); w; w = strtok_r(NULL, " \n", &rest)) {
		memmove(words, words + 1, 3 * sizeof *words);
		words[3] = w;
		size_t len = strlen(w);
		if (!words[0] || len < 8 || strcmp(w + len - 8, "linked.o") || strncmp(words[1], "0x", 2))
			continue;
		struct lp_placement place = {
			.section = words[0],
			.addr = strtoull(words[1], NULL, 16),
			.size = strtoull(words[2], NULL, 16),
		};
		for (size_t i = 0; i < v.nr; i++)
			place.occurrence += !strcmp(v.items[i].section, place.section);
		if (place.addr)
			lp_vec_push(&v, place);
	}
	p->placements = v.items;
	p->unit.placements = v.items;
	p->unit.nr_placements = v.nr;
}

static const char *link_flags(const char *link)
{
	if (!strcmp(link, "shared"))
		return "-shared";
	if (!strcmp(link, "no-pie"))
		return "-no-pie";
	return !strcmp(link, "static") ? "-static" : "-pie";
}

static const char *code_flags(const char *link)
{
	if (!strcmp(link, "shared"))
		return "-fPIC";
	return !strcmp(link, "no-pie") || !strcmp(link, "static") ? "-fno-pie" : "-fPIE";
}

void pair_make(struct pair *p, const char *source, const struct pair_options *o)
{
	const char *cc = driver(o->compiler, source), *d = scratch(), *code = code_flags(o->link);

	*p = (struct pair){0};
	run("%s -w %s %s -c -o %s/linked.o %s", cc, o->flags, code, d, source);
	run("%s -w -ffunction-sections -fdata-sections %s %s -c -o %s/before.o %s", cc, o->flags, code, d, source);
	run("%s -w -ffunction-sections -fdata-sections %s %s -DAFTER -c -o %s/after.o %s", cc, o->flags, code, d,
	    source);
	run("%s %s %s -Wl,--build-id -Wl,-Map=%s/map -o %s/original %s/linked.o", cc, o->flags, link_flags(o->link), d,
	    d, d);
	p->before = open_elf("before.o");
	p->after = open_elf("after.o");
	p->linked = open_elf("linked.o");
	p->original = open_elf("original");
	p->unit = (struct lp_diff_unit){
		.name = strrchr(source, '/') + 1,
		.before = p->before,
		.after = p->after,
		.linked = o->without_map ? NULL : p->linked,
	};
	if (!o->without_map)
		read_map(p);
}

void pair_free(struct pair *p)
{
	lp_elf_close(p->before);
	lp_elf_close(p->after);
	lp_elf_close(p->linked);
	lp_elf_close(p->original);
	lp_free(p->placements);
	lp_free(p->map);
	*p = (struct pair){0};
}
