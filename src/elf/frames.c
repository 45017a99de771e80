/*
 * Headers, one segment that says where the code is, and a section .eh_frame
 * with a copy of the tables, at the address where they are.
 */
#include <elf.h>
#include <stddef.h>
#include <string.h>

#include "elf/elf.h"

enum { SECTION_NONE, SECTION_EH_FRAME, SECTION_NAMES, SECTION_COUNT };

static const char names[] = "\0.eh_frame\0.shstrtab";

struct made {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	Elf64_Shdr sections[SECTION_COUNT];
	char names[sizeof names];
};

static struct made headers_for(uint16_t machine, struct lp_range code, struct lp_range tables)
{
	lp_addr start = lp_align_down(code.start < tables.start ? code.start : tables.start, LP_PAGE);
	lp_addr end = code.end > tables.end ? code.end : tables.end;
	uint64_t size = tables.end - tables.start;
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
						   .sh_addr = tables.start,
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

void lp_elf_make_frames(struct lp_buf *out, uint16_t machine, struct lp_range code, struct lp_range tables,
			const uint8_t *table_bytes)
{
	struct made m = headers_for(machine, code, tables);

	lp_buf_add(out, &m, sizeof m);
	lp_buf_add(out, table_bytes, (size_t)(tables.end - tables.start));
}
