/*
 * Unwind tables of code that no image holds.
 *
 * libdw takes tables from ELF files alone.  So each known piece of code becomes
 * one: headers, one segment that says where the code is, and a section
 * .eh_frame with a copy of the tables, at the address where they are (their
 * pointers are relative to it).  The code itself is not needed.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "proc/state.h"

#define TABLES_MAX (64u << 20)

enum { SECTION_NONE, SECTION_EH_FRAME, SECTION_NAMES, SECTION_COUNT };

static const char names[] = "\0.eh_frame\0.shstrtab";

struct made {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	Elf64_Shdr sections[SECTION_COUNT];
	char names[sizeof names];
};

static struct made headers_for(const struct lp_known_code *k, uint16_t machine)
{
	lp_addr start = lp_align_down(k->code.start < k->tables.start ? k->code.start : k->tables.start, LP_PAGE);
	lp_addr end = k->code.end > k->tables.end ? k->code.end : k->tables.end;
	uint64_t size = k->tables.end - k->tables.start;
	struct made m = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			   .e_type = ET_EXEC,
			   .e_machine = machine,
			   .e_version = EV_CURRENT,
			   .e_phoff = offsetof(struct made, segment),
			   .e_shoff = offsetof(struct made, sections),
			   .e_ehsize = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = 1,
			   .e_shentsize = sizeof(Elf64_Shdr),
			   .e_shnum = SECTION_COUNT,
			   .e_shstrndx = SECTION_NAMES},
		.segment = {.p_type = PT_LOAD,
			    .p_flags = PF_R | PF_X,
			    .p_vaddr = start,
			    .p_paddr = start,
			    .p_memsz = end - start,
			    .p_align = LP_PAGE},
		.sections = {[SECTION_EH_FRAME] = {.sh_name = 1,
						   .sh_type = SHT_PROGBITS,
						   .sh_flags = SHF_ALLOC,
						   .sh_addr = k->tables.start,
						   .sh_offset = sizeof(struct made),
						   .sh_size = size,
						   .sh_addralign = 8},
			     [SECTION_NAMES] = {.sh_name = 11,
						.sh_type = SHT_STRTAB,
						.sh_offset = offsetof(struct made, names),
						.sh_size = sizeof names,
						.sh_addralign = 1}},
	};
	memcpy(m.names, names, sizeof names);
	return m;
}

static int file_of(struct lp_proc *p, const struct lp_known_code *k)
{
	size_t len = (size_t)(k->tables.end - k->tables.start);
	struct made m = headers_for(k, lp_proc_machine(p));
	uint8_t *bytes = lp_alloc(len);
	int fd = memfd_create("known", MFD_CLOEXEC);
	if (fd >= 0 && (lp_mem_read(p, k->tables.start, bytes, len, NULL) < 0 ||
			lp_pwrite_full(fd, &m, sizeof m, 0) < 0 || lp_pwrite_full(fd, bytes, len, sizeof m) < 0)) {
		lp_close(fd);
		fd = -1;
	}
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
