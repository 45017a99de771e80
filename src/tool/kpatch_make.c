/*
 * kpatch_make: the header of a .kpatch file before the object that kpatch_strip made.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fdio.h"
#include "build/kpatch_strip.h"
#include "tool/kpatch_tool.h"

static void usage(FILE *to)
{
	fprintf(to, "Usage: kpatch_make [-d] [-n NAME] -b BUILD-ID [-i ID] [-o OUTPUT] INPUT\n"
		    "  -b  build-id of the original, as readelf -n prints it\n"
		    "  -i  the patch's id\n"
		    "  -n  what the original is called; default: what kpatch_strip was given\n"
		    "  -o  the .kpatch file; without it, the result is printed to output\n"
		    "  -d  say what was made\n"
		    "  -v, -s, -e with a value, as older scripts have them, are taken and mean nothing\n");
}

/* Reproducible builds say which time it is. */
static int64_t build_time(void)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	char *end;
	errno = 0;
	long long seconds = epoch ? strtoll(epoch, &end, 10) : 0;
	if (epoch && *epoch && !*end && !errno && seconds >= 0)
		return seconds;
	return time(NULL);
}

static int run(const char *input, const char *output, struct lp_kpatch_make_opts *opts, bool debug, struct lp_err *err)
{
	struct lp_buf bytes = {0}, out = {0};
	struct lp_elf *e = NULL;
	int rc = kpatch_read(input, &bytes, err);
	if (!rc)
		rc = lp_elf_from_bytes(&e, bytes.data, bytes.len, input, err);
	if (!rc)
		rc = lp_kpatch_make(e, opts, &out, err);
	if (!rc)
		rc = kpatch_write(output, &out, 0666, err);
	if (!rc && debug)
		fprintf(stderr, "kpatch_make: %zu bytes from %s\n", out.len, input);
	lp_elf_close(e);
	lp_buf_free(&bytes);
	lp_buf_free(&out);
	return rc;
}

int main(int argc, char **argv)
{
	struct lp_kpatch_make_opts opts = {.build_time = build_time()};
	const char *output = NULL, *build_id = NULL;
	bool debug = false;
	struct lp_err err = {0};
	lp_stdio_hold();
	if (argc == 2 && !strcmp(argv[1], "--help")) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	for (int c; (c = getopt(argc, argv, "db:i:o:n:v:s:e:h")) != -1;) {
		switch (c) {
		case 'd':
			debug = true;
			break;
		case 'b':
			build_id = optarg;
			break;
		case 'i':
			opts.id = optarg;
			break;
		case 'o':
			output = optarg;
			break;
		case 'n':
			opts.object = optarg;
			break;
		case 'v':
		case 's':
		case 'e':
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (argc - optind != 1 || !build_id) {
		usage(stderr);
		return EXIT_FAILURE;
	}
	if (!lp_build_id_parse(build_id, &opts.build_id)) {
		lp_fail(&err, LP_EUSAGE, "%s is not a build-id: hex digits, as readelf -n prints them", build_id);
		return kpatch_complain("kpatch_make", &err);
	}
	return run(argv[optind], output, &opts, debug, &err) < 0 ? kpatch_complain("kpatch_make", &err) : EXIT_SUCCESS;
}
