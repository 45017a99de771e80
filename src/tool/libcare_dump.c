/*
 * libcare-dump: what a .kpatch file says of itself, and the object in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "patch/kpatch.h"
#include "tool/libcare.h"
#include "tool/tool.h"

static int usage(const char *err)
{
	return libcare_usage_of(err, "usage: libcare-dump -H -i <patch>\n"
				     "       libcare-dump -c -i <patch> -o <object>\n"
				     "\n"
				     "Options:\n"
				     "  -h             - this message\n"
				     "  -H             - show the header of the patch file\n"
				     "  -c             - copy the ELF object out of the patch file\n"
				     "  -i <patch>     - the patch file\n"
				     "  -o <object>    - the file to be written\n");
}

#define LABEL "%-25s %s\n"

static void print_header(const struct lp_kpatch *k)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_build_id_hex(&k->build_id, hex);
	out_printf(LABEL, "Patch Name:", k->object);
	out_printf(LABEL, "Magic:", LP_KPATCH_MAGIC);
	out_printf(LABEL, "Patch id:", k->id);
	out_printf(LABEL, "buildid:", hex);
}

/* The padding behind the object is not part of it, but who reads ELF does not mind. */
static int copy_object(const struct lp_kpatch *k, const char *path, struct lp_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot write %s", path);
	int rc = lp_pwrite_full(fd, k->bytes + k->elf_offset, k->len - k->elf_offset, 0);
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc < 0 ? lp_fail_sys(err, rc, "cannot write %s", path) : 0;
}

static int run(bool header, const char *in, const char *out)
{
	struct lp_kpatch *k;
	struct lp_err err = {0};
	int rc = lp_kpatch_open(&k, in, &err);
	if (rc == 0 && header)
		print_header(k);
	else if (rc == 0)
		rc = copy_object(k, out, &err);
	if (rc < 0)
		note_error(&err);
	lp_kpatch_free(k);
	return rc < 0 || out_flush() < 0 ? EXIT_REFUSED : EXIT_DONE;
}

int main(int argc, char **argv)
{
	bool header = false, copy = false;
	const char *in = NULL, *out = NULL;
	int opt;
	lp_stdio_hold();
	out_program("libcare-dump");
	out_setup(false, false, true);
	opterr = 0;
	if (argc == 2 && libcare_asks_for_help(argv[1]))
		return usage(NULL);
	while ((opt = getopt(argc, argv, "hHci:o:")) != -1) {
		switch (opt) {
		case 'h':
			return usage(NULL);
		case 'H':
			header = true;
			break;
		case 'c':
			copy = true;
			break;
		case 'i':
			in = optarg;
			break;
		case 'o':
			out = optarg;
			break;
		default:
			return usage("unknown option");
		}
	}
	if (header == copy || !in || optind != argc)
		return usage("one of -H and -c, and -i, are mandatory");
	if (copy && !out)
		return usage("-c needs -o");
	return run(header, in, out);
}
