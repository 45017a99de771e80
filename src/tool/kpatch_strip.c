/*
 * kpatch_strip: the three steps from a program that a patch was linked into to the patch alone.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fdio.h"
#include "build/kpatch_strip.h"
#include "tool/kpatch_tool.h"

enum step { NO_STEP, STRIP, REL_FIXUP, UNDO_LINK };

static void usage(FILE *to)
{
	fprintf(to, "Usage:\n"
		    "kpatch_strip -s|--strip INPUT OUTPUT          leave out what is not the patch's\n"
		    "kpatch_strip -r|--rel-fixup ORIGINAL PATCH    bind the patch's references to the original\n"
		    "kpatch_strip -u|--undo-link ORIGINAL PATCH    make the patch relocatable\n"
		    "PATCH is changed in place.\n");
}

static void tell(void *arg, const char *line)
{
	puts(line);
}

static int run(enum step step, char *const *files, struct lp_err *err)
{
	struct lp_elf *a = NULL, *b = NULL;
	struct lp_buf out = {0};
	int rc = lp_elf_open(&a, files[0], err);
	if (!rc && step != STRIP)
		rc = lp_elf_open(&b, files[1], err);
	if (!rc && step == STRIP)
		rc = lp_kpatch_strip(a, &out, err);
	else if (!rc && step == REL_FIXUP)
		rc = lp_kpatch_fixup(a, b, tell, NULL, &out, err);
	else if (!rc)
		rc = lp_kpatch_undo_link(a, b, files[0], &out, err);
	if (!rc)
		rc = kpatch_write(files[1], &out, 0666, err);
	lp_buf_free(&out);
	lp_elf_close(a);
	lp_elf_close(b);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option words[] = {
		{"strip", 0, NULL, 's'},
		{"rel-fixup", 0, NULL, 'r'},
		{"undo-link", 0, NULL, 'u'},
		{"help", 0, NULL, 'h'},
		{0},
	};
	enum step step = NO_STEP;
	lp_stdio_hold();
	for (int c; (c = getopt_long(argc, argv, "sruh", words, NULL)) != -1;) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_SUCCESS;
		}
		if (c == '?')
			step = NO_STEP;
		if (c == '?')
			break;
		step = c == 's' ? STRIP : c == 'r' ? REL_FIXUP : UNDO_LINK;
	}
	if (step == NO_STEP || argc - optind != 2) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	struct lp_err err = {0};
	return run(step, argv + optind, &err) < 0 ? kpatch_complain("kpatch_strip", &err) : EXIT_SUCCESS;
}
