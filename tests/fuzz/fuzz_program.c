/*
 * The headers of a program that the emulator is to load.  Whatever they say,
 * what is accepted can be mapped: every segment lies in the file and in the
 * address space, the span holds all of them, and sums do not overflow.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emu/program.h"
#include "fuzz.h"

#define TOP (UINT64_C(1) << 47)

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_segment(const struct lp_program *p, const struct lp_segment *s, size_t size)
{
	must(s->memsz > 0 && s->filesz <= s->memsz);
	must(s->vaddr < TOP && s->memsz <= TOP - s->vaddr);
	must(s->vaddr >= p->span.start && s->vaddr + s->memsz <= p->span.end);
	must(s->vaddr + s->memsz <= p->end);
	must(s->filesz == 0 || (s->offset <= size && s->filesz <= size - s->offset));
	must(s->filesz == 0 || (s->vaddr - s->offset) % LP_PAGE == 0);
}

static void check(const struct lp_program *p, size_t size)
{
	must(p->segments.nr > 0);
	must(p->span.start % LP_PAGE == 0 && p->span.end % LP_PAGE == 0 && p->span.start < p->span.end);
	must(p->span.end <= TOP && p->end <= p->span.end);
	must(p->align >= LP_PAGE && !(p->align & (p->align - 1)));
	for (size_t i = 0; i < p->segments.nr; i++)
		check_segment(p, &p->segments.items[i], size);
	must(!p->interpreter || strlen(p->interpreter) < 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("program", MFD_CLOEXEC);
	struct lp_program p;
	struct lp_err err = {0};

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	lp_program_kind(data, size);
	if (lp_program_read(&p, fd, "program", &err) == 0)
		check(&p, size);
	else
		must(err.code < 0 && *err.text);
	lp_program_free(&p);
	close(fd);
	return 0;
}
