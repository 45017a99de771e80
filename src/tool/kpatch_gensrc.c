/*
 * kpatch_gensrc: two assembly files of one source, before and after a change, into one that holds the original and
 * what changed.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "build/gensrc.h"
#include "tool/kpatch_tool.h"

#define CONFIG "/etc/libcare.conf"

enum option_id {
#define GENSRC(id, letter, word, argument, sentence) OPT_##id,
#include "tool/kpatch_gensrc.def"
#undef GENSRC
	OPT_COUNT
};

static const struct {
	int letter;
	const char *word, *argument, *sentence;
} options[] = {
#define GENSRC(id, letter, word, argument, sentence) {letter, word, argument, sentence},
#include "tool/kpatch_gensrc.def"
#undef GENSRC
};

struct request {
	struct lp_gensrc_options gensrc;
	const char *inputs[2], *output;
	size_t nr_inputs;
	bool filter, test_mode, help;
	unsigned filter_flags;
};

static void usage(FILE *to)
{
	fprintf(to,
		"Usage:\n"
		"kpatch_gensrc [-d LEVEL] [--arch=ARCH] [--os=OS] [--ignore-changes=FLIST] [--unlink-symbols=FLIST]\n"
		"              [--must-adapt=FLIST] [--force-gotpcrel] [--force-global] [-t] -i ORIGINAL -i PATCHED -o "
		"OUTPUT\n"
		"    compares two assembly files\n"
		"kpatch_gensrc --dbg-filter [--dbg-filter-...] -i INPUT -o OUTPUT\n"
		"    takes debug information out of one\n"
		"Options:\n");
	for (size_t i = 0; i < OPT_COUNT; i++) {
		char left[64];
		snprintf(left, sizeof left, "%c%c  --%s%s%s", options[i].letter ? '-' : ' ',
			 options[i].letter ? options[i].letter : ' ', options[i].word,
			 options[i].argument[0] ? "=" : "", options[i].argument);
		fprintf(to, "  %-36s %s\n", left, options[i].sentence);
	}
	fprintf(to, "FLIST is a list of names with commas between; FILE:NAME means the one in that source file.\n");
}

static int fatal(const struct lp_err *err)
{
	fprintf(stderr, "FATAL! %s\n", err->text);
	return EXIT_FAILURE;
}

static void log_line(void *arg, const char *line)
{
	fprintf(stderr, "kpatch_gensrc: %s\n", line);
}

/* ---- arguments ---- */

static int add_input(struct request *r, const char *path, struct lp_err *err)
{
	if (r->nr_inputs == 2)
		return lp_fail(err, LP_EUSAGE, "only 2 input files must be specified");
	r->inputs[r->nr_inputs++] = path;
	return 0;
}

static int set_arch(struct request *r, const char *arch, struct lp_err *err)
{
	if (!strcmp(arch, "x86_64"))
		r->gensrc.syntax = LP_ASM_PERCENT;
	else if (!strcmp(arch, "aarch64"))
		r->gensrc.syntax = LP_ASM_SLASHES;
	else
		return lp_fail(err, LP_EISA, "unknown architecture %s: x86_64 and aarch64 are supported", arch);
	return 0;
}

static int take_option(struct request *r, enum option_id id, const char *arg, struct lp_err *err)
{
	switch (id) {
	case OPT_INPUT:
		return add_input(r, arg, err);
	case OPT_OUTPUT:
		r->output = arg;
		return 0;
	case OPT_DEBUG:
		r->gensrc.log = strtoul(arg, NULL, 16) ? log_line : NULL;
		return 0;
	case OPT_ARCH:
		return set_arch(r, arg, err);
	case OPT_TEST:
		r->test_mode = true;
		return 0;
	case OPT_FILTER:
		r->filter = true;
		return 0;
	case OPT_NO_EH_FRAME:
		r->filter_flags |= LP_FILTER_EH_FRAME;
		return 0;
	case OPT_NO_EXCEPT:
		r->filter_flags |= LP_FILTER_EXCEPT_TABLE;
		return 0;
	case OPT_NO_CFI:
		r->filter_flags |= LP_FILTER_CFI;
		return 0;
	case OPT_NEWLINES:
		r->filter_flags |= LP_FILTER_EMIT_NEWLINES;
		return 0;
	case OPT_IGNORE:
		lp_gensrc_names_add(&r->gensrc.ignore_changes, arg);
		return 0;
	case OPT_UNLINK:
		lp_gensrc_names_add(&r->gensrc.unlink_symbols, arg);
		return 0;
	case OPT_ADAPT:
		lp_gensrc_names_add(&r->gensrc.must_adapt, arg);
		return 0;
	case OPT_GOTPCREL:
		r->gensrc.force_gotpcrel = true;
		return 0;
	case OPT_GLOBAL:
		r->gensrc.force_global = true;
		return 0;
	case OPT_HELP:
		r->help = true;
		return 0;
	case OPT_OS:
	case OPT_COUNT:
		return 0;
	}
	return 0;
}

static int parse(struct request *r, int argc, char **argv, struct lp_err *err)
{
	struct option words[OPT_COUNT + 2] = {{0}};
	char letters[2 * OPT_COUNT + 1];
	size_t n = 0;
	for (size_t i = 0; i < OPT_COUNT; i++) {
		bool value = options[i].argument[0];
		words[i] = (struct option){options[i].word, value, NULL, 256 + (int)i};
		if (options[i].letter)
			letters[n++] = (char)options[i].letter;
		if (options[i].letter && value)
			letters[n++] = ':';
	}
	letters[n] = 0;
	words[OPT_COUNT] = (struct option){"ouput", 1, NULL, 256 + OPT_OUTPUT}; /* as scripts have come to spell it */
	for (int c; (c = getopt_long(argc, argv, letters, words, NULL)) != -1;) {
		int id = c - 256;
		for (int i = 0; c < 256 && i < OPT_COUNT; i++)
			if (options[i].letter == c)
				id = i;
		if (c == '?')
			return -LP_EUSAGE;
		int rc = take_option(r, (enum option_id)id, optarg, err);
		if (rc < 0)
			return rc;
	}
	return optind == argc && (r->output || r->help) ? 0 : -LP_EUSAGE;
}

/* /etc/libcare.conf: names of the functions that may change, one a line; no file, or an empty first line: all. */
static void read_config(struct request *r)
{
	struct lp_buf text = {0};
	if (!r->test_mode && !access(CONFIG, R_OK) && !kpatch_read(CONFIG, &text, NULL)) {
		const char *p = lp_buf_cstr(&text);
		bool configured = *p && *p != '\n' && *p != ' ';
		while (configured && *p) {
			size_t n = strcspn(p, "\r\n");
			if (n) {
				struct lp_gensrc_name *name = lp_vec_add(&r->gensrc.only);
				name->name = lp_sprintf("%.*s", (int)n, p);
			}
			p += n + strspn(p + n, "\r\n");
		}
	}
	lp_buf_free(&text);
}

/* ---- work ---- */

static int read_input(const struct request *r, size_t i, struct lp_buf *text, struct lp_gensrc_input *in,
		      struct lp_err *err)
{
	int rc = kpatch_read(r->inputs[i], text, err);
	if (rc < 0)
		return lp_err_context(err, rc, "Can't read input file '%s'", r->inputs[i]);
	*in = (struct lp_gensrc_input){r->inputs[i], lp_buf_cstr(text), text->len};
	return 0;
}

static int run(struct request *r, struct lp_err *err)
{
	struct lp_buf texts[2] = {{0}}, out = {0};
	struct lp_gensrc_input in[2];
	int rc = 0;
	if (r->nr_inputs < (r->filter ? 1 : 2))
		return lp_fail(err, LP_EUSAGE,
			       r->filter ? "input file must be specified" : "2 input files must be specified");
	for (size_t i = 0; i < r->nr_inputs && !rc; i++)
		rc = read_input(r, i, &texts[i], &in[i], err);
	if (!rc && r->filter)
		rc = lp_gensrc_filter(&in[0], r->filter_flags, r->gensrc.syntax, &out, err);
	else if (!rc)
		rc = lp_gensrc_diff(&r->gensrc, &in[0], &in[1], &out, NULL, err);
	if (!rc)
		rc = kpatch_write(r->output, &out, 0666, err);
	lp_buf_free(&texts[0]);
	lp_buf_free(&texts[1]);
	lp_buf_free(&out);
	return rc;
}

int main(int argc, char **argv)
{
	struct request r = {.output = NULL};
	struct lp_err err = {0};
	lp_stdio_hold();
	int rc = parse(&r, argc, argv, &err);
	if (rc < 0 && !err.code) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	if (!rc && r.help) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	if (!rc) {
		read_config(&r);
		rc = run(&r, &err);
	}
	lp_gensrc_options_free(&r.gensrc);
	return rc < 0 ? fatal(&err) : EXIT_SUCCESS;
}
