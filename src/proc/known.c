/*
 * Unwind tables of code that no image holds.
 *
 * libdw takes tables from ELF files alone.  So each known piece of code becomes one.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "proc/state.h"

#define TABLES_MAX (64u << 20)

static int file_of(struct lp_proc *p, const struct lp_known_code *k)
{
	size_t len = (size_t)(k->tables.end - k->tables.start);
	uint8_t *bytes = lp_alloc(len);
	struct lp_buf file = {0};
	int fd = memfd_create("known", MFD_CLOEXEC);
	bool read = lp_mem_read(p, k->tables.start, bytes, len, NULL) == 0;
	if (read)
		lp_elf_make_frames(&file, lp_proc_machine(p), k->code, k->tables, bytes);
	if (fd >= 0 && (!read || lp_pwrite_full(fd, file.data, file.len, 0) < 0)) {
		lp_close(fd);
		fd = -1;
	}
	lp_buf_free(&file);
	lp_free(bytes);
	return fd;
}

void lp_known_report(struct lp_proc *p)
{
	for (size_t i = 0; i < p->known.nr; i++) {
		int fd = file_of(p, &p->known.items[i]);
		if (fd >= 0 && !dwfl_report_elf(p->dwfl, "known", "known", fd, 0, true))
			lp_close(fd);
	}
}

bool lp_known_holds(const struct lp_proc *p, lp_addr at)
{
	for (size_t i = 0; i < p->known.nr; i++)
		if (lp_range_has(p->known.items[i].code, at))
			return true;
	return false;
}

static bool same(const struct lp_known_code *a, const struct lp_known_code *b)
{
	return a->code.start == b->code.start && a->code.end == b->code.end && a->tables.start == b->tables.start &&
	       a->tables.end == b->tables.end;
}

void lp_unwind_know(struct lp_proc *p, const struct lp_known_code *codes, size_t nr)
{
	bool equal = nr == p->known.nr;
	for (size_t i = 0; i < nr && equal; i++)
		equal = same(&codes[i], &p->known.items[i]);
	if (equal)
		return;
	p->known.nr = 0;
	for (size_t i = 0; i < nr; i++)
		if (codes[i].tables.end > codes[i].tables.start &&
		    codes[i].tables.end - codes[i].tables.start <= TABLES_MAX)
			lp_vec_push(&p->known, codes[i]);
	lp_unwind_forget(p);
}
