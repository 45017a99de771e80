#include "small_program.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct small_program small_program(void)
{
	struct small_program p = {
		.ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_DYN,
			 .e_machine = EM_AARCH64,
			 .e_version = EV_CURRENT,
			 .e_entry = SMALL_CODE_AT,
			 .e_phoff = offsetof(struct small_program, phdrs),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = SMALL_NR_PHDRS},
		.phdrs = {[SMALL_TEXT] = {.p_type = PT_LOAD,
					  .p_flags = PF_R | PF_X,
					  .p_filesz = SMALL_DATA_AT,
					  .p_memsz = SMALL_DATA_AT,
					  .p_align = 0x1000},
			  [SMALL_DATA] = {.p_type = PT_LOAD,
					  .p_flags = PF_R | PF_W,
					  .p_offset = SMALL_DATA_AT,
					  .p_vaddr = SMALL_DATA_AT,
					  .p_filesz = 0x100,
					  .p_memsz = 0x100 + SMALL_BSS,
					  .p_align = 0x1000},
			  [SMALL_STACK] = {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W},
			  [SMALL_PROPERTY] = {.p_type = PT_GNU_PROPERTY,
					      .p_offset = offsetof(struct small_program, property),
					      .p_filesz = 32},
			  [SMALL_INTERP] = {.p_type = PT_NULL,
					    .p_offset = offsetof(struct small_program, interpreter)}},
		/* namesz, descsz, NT_GNU_PROPERTY_TYPE_0, "GNU", FEATURE_1_AND, 4, BTI, padding */
		.property = {4, 16, 5, 0x00554e47, 0xc0000000, 4, 1, 0},
		.code = {0xd2800000 /* mov x0, #0 */, 0xd2800ba8 /* mov x8, #93 */, 0xd4000001 /* svc #0 */},
	};

	memset(p.data, 0xda, sizeof p.data);
	return p;
}

void small_program_interpret(struct small_program *p, const char *path)
{
	p->phdrs[SMALL_INTERP].p_type = PT_INTERP;
	p->phdrs[SMALL_INTERP].p_filesz = strlen(path) + 1;
	snprintf(p->interpreter, sizeof p->interpreter, "%s", path);
}

int small_file(const void *bytes, uint64_t len)
{
	int fd = memfd_create("program", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	return fd;
}
