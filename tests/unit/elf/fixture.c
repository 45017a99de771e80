#include "fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fdio.h"

static char directory[64];

static void remove_directory(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", directory);
}

static const char *scratch_directory(void)
{
	if (!*directory) {
		strcpy(directory, "/tmp/livepatch-elf-XXXXXX");
		assert_non_null(mkdtemp(directory));
		atexit(remove_directory);
	}
	return directory;
}

const char *scratch(const char *name)
{
	static char paths[16][256];
	static unsigned turn;
	char *path = paths[turn++ % 16];
	snprintf(path, sizeof paths[0], "%s/%s", scratch_directory(), name);
	return path;
}

static void format_command(char *out, size_t size, const char *fmt, va_list ap)
{
	int n = snprintf(out, size, "cd %s && ", scratch_directory());
	n += vsnprintf(out + n, size - (size_t)n, fmt, ap);
	assert_true((size_t)n < size);
}

void shell(const char *fmt, ...)
{
	char command[4096];
	va_list ap;
	va_start(ap, fmt);
	format_command(command, sizeof command, fmt, ap);
	va_end(ap);
	if (system(command))
		fail_msg("this command failed: %s", command);
}

FILE *shell_output(const char *fmt, ...)
{
	char command[4096];
	va_list ap;
	va_start(ap, fmt);
	format_command(command, sizeof command, fmt, ap);
	va_end(ap);
	FILE *f = popen(command, "r");
	assert_non_null(f);
	return f;
}

void write_text(const char *name, const char *text)
{
	FILE *f = fopen(scratch(name), "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

uint8_t *slurp(const char *path, size_t *len)
{
	struct lp_buf b = {0};
	assert_int_equal(lp_read_file(path, &b, LP_ELF_FILE_MAX, NULL), 0);
	*len = b.len;
	return b.data;
}

struct lp_elf *open_elf(const char *path)
{
	struct lp_elf *e;
	struct lp_err err = {0};
	if (lp_elf_open(&e, path, &err))
		fail_msg("%s", err.text);
	return e;
}

struct lp_elf_sym symbol_named(struct lp_elf *e, enum lp_symtab table, const char *name)
{
	struct lp_elf_sym s, another;
	size_t cursor = 0;
	if (!lp_elf_symbol_by_name(e, table, name, &cursor, &s))
		fail_msg("%s has no symbol %s", lp_elf_name(e), name);
	if (lp_elf_symbol_by_name(e, table, name, &cursor, &another))
		fail_msg("%s has more than one symbol %s", lp_elf_name(e), name);
	return s;
}
