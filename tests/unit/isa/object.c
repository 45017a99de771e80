#include "object.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct object object_open(const char *path)
{
	struct object o = {0};
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		fail_msg("cannot open %s", path);
	o.len = (size_t)st.st_size;
	o.bytes = mmap(NULL, o.len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	if (o.bytes == MAP_FAILED || memcmp(o.bytes, ELFMAG, SELFMAG))
		fail_msg("%s is no ELF file", path);
	o.eh = (const Elf64_Ehdr *)o.bytes;
	o.sh = (Elf64_Shdr *)(o.bytes + o.eh->e_shoff);
	return o;
}

void object_close(struct object *o)
{
	munmap(o->bytes, o->len);
	*o = (struct object){0};
}

const char *object_section_name(const struct object *o, const Elf64_Shdr *s)
{
	return (const char *)o->bytes + o->sh[o->eh->e_shstrndx].sh_offset + s->sh_name;
}

Elf64_Shdr *object_section(const struct object *o, const char *name)
{
	for (size_t i = 0; i < o->eh->e_shnum; i++) {
		if (!strcmp(object_section_name(o, &o->sh[i]), name))
			return &o->sh[i];
	}
	return NULL;
}

Elf64_Shdr *object_section_of_type(const struct object *o, uint32_t type)
{
	for (size_t i = 0; i < o->eh->e_shnum; i++) {
		if (o->sh[i].sh_type == type)
			return &o->sh[i];
	}
	return NULL;
}

const Elf64_Sym *object_symbols(const struct object *o, const Elf64_Shdr *table, size_t *nr)
{
	*nr = table->sh_size / sizeof(Elf64_Sym);
	return (const Elf64_Sym *)(o->bytes + table->sh_offset);
}

const char *object_symbol_name(const struct object *o, const Elf64_Shdr *table, const Elf64_Sym *s)
{
	return (const char *)o->bytes + o->sh[table->sh_link].sh_offset + s->st_name;
}

const Elf64_Sym *object_symbol(const struct object *o, const char *name)
{
	const Elf64_Shdr *table = object_section_of_type(o, SHT_SYMTAB);
	size_t nr;
	const Elf64_Sym *syms = object_symbols(o, table, &nr);

	for (size_t i = 0; i < nr; i++) {
		if (!strcmp(object_symbol_name(o, table, &syms[i]), name))
			return &syms[i];
	}
	fail_msg("no symbol %s", name);
	return NULL;
}

static char scratch[64];

static void scratch_remove(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", scratch);
	if (system(command))
		fprintf(stderr, "%s is left behind\n", scratch);
}

const char *scratch_dir(void)
{
	if (!scratch[0]) {
		strcpy(scratch, "/tmp/livepatch-isa-XXXXXX");
		assert_non_null(mkdtemp(scratch));
		atexit(scratch_remove);
	}
	return scratch;
}

const char *scratch_path(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof paths[0], "%s/%s", scratch_dir(), name);
	return path;
}

const char *scratch_write(const char *name, const char *text)
{
	const char *path = scratch_path(name);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return path;
}

void run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	if (system(command))
		fail_msg("failed: %s", command);
}

bool have_program(const char *name)
{
	char command[128];

	snprintf(command, sizeof command, "command -v %s >/dev/null", name);
	return !system(command);
}
