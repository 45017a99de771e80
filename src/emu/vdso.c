/*
 * __kernel_rt_sigreturn has no unwind information, as on Linux: unwinders know
 * its two instructions, and find all registers in the frame behind them, which
 * is more than call frame information says so easily.  The word before it is
 * there for those that look up return address - 1.
 */
#include "emu/vdso.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#include "emu/emu.h"
#include "emu/loader.h"
#include "emu/mem.h"

/* UDF #imm16, numbers that nobody else's code happens to have. */
enum { CALL_GETTIMEOFDAY = 0x4c50, CALL_CLOCK_GETTIME, CALL_CLOCK_GETRES };

enum { NOP = 0xd503201f, BTI_C = 0xd503245f, RET = 0xd65f03c0, SVC_0 = 0xd4000001 };
#define MOV_X8(imm) (0xd2800008 | (imm) << 5)

enum { SYS_CLOCK_GETTIME = 113, SYS_CLOCK_GETRES = 114, SYS_RT_SIGRETURN = 139, SYS_GETTIMEOFDAY = 169 };

/* ---- the image ---- */

/* A function that we are asked to do first, and the kernel when we do not. */
struct function {
	uint32_t words[5];
};
#define FUNCTION(call, number)                                  \
	{                                                       \
		{                                               \
			BTI_C, call, MOV_X8(number), SVC_0, RET \
		}                                               \
	}

enum { SYM_NONE, SYM_SIGRETURN, SYM_GETTIMEOFDAY, SYM_CLOCK_GETTIME, SYM_CLOCK_GETRES, NR_SYMS };
enum { SEC_NONE, SEC_DYNSYM, SEC_DYNSTR, SEC_TEXT, SEC_NAMES, NR_SECS };
enum { VERSION_BASE = 1, VERSION_LINUX };

struct image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[3];
	Elf64_Shdr shdrs[NR_SECS];
	Elf64_Dyn dynamic[10];
	Elf64_Sym syms[NR_SYMS];
	/* One bucket: a chain of all symbols. */
	struct {
		uint32_t nr_buckets, nr_chains, bucket, chain[NR_SYMS];
	} hash;
	Elf64_Half versions[NR_SYMS];
	struct {
		Elf64_Verdef def;
		Elf64_Verdaux aux;
	} verdefs[2];
	struct {
		char none[1], soname[16], version[13];
		char sigreturn[22], gettimeofday[22], clock_gettime[23], clock_getres[22];
	} names;
	struct {
		char none[1], dynsym[8], dynstr[8], text[6], names[10];
	} section_names;
	struct {
		uint8_t version, frame_encoding, count_encoding, table_encoding;
		int32_t frame;
		uint32_t count;
		int32_t start, fde;
	} __attribute__((aligned(4))) frame_header;
	struct {
		struct {
			uint32_t length, id;
			uint8_t version;
			char augmentation[3];
			uint8_t code_align, data_align, return_register, augmentation_size, pointer_encoding;
			uint8_t cfa[3];
		} cie;
		struct {
			uint32_t length, cie;
			int32_t start;
			uint32_t size;
			uint8_t augmentation_size, nops[3];
		} fde;
		uint32_t end;
	} frames;
	struct {
		uint32_t nop;
		uint32_t sigreturn[2];
		struct function gettimeofday, clock_gettime, clock_getres;
	} text;
};

#define AT(member) offsetof(struct image, member)
#define SIZE(member) sizeof(((struct image *)0)->member)
#define NAME(member) (AT(names.member) - AT(names))
#define SECTION_NAME(member) (AT(section_names.member) - AT(section_names))
#define DELTA(from, to) ((int32_t)((int64_t)AT(to) - (int64_t)AT(from)))

#define SYMBOL(member)                                                                                         \
	{                                                                                                      \
		.st_name = NAME(member), .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = SEC_TEXT, \
		.st_value = AT(text.member), .st_size = SIZE(text.member),                                     \
	}
#define SECTION(member, kind, more, ...)                                                                      \
	{                                                                                                     \
		.sh_name = SECTION_NAME(more), .sh_type = kind, .sh_flags = SHF_ALLOC, .sh_addr = AT(member), \
		.sh_offset = AT(member), .sh_size = SIZE(member), .sh_addralign = 8, __VA_ARGS__              \
	}
#define VERDEF(index, flags, name, name_hash, to_next)  \
	{                                               \
		.def = {.vd_version = VER_DEF_CURRENT,  \
			.vd_flags = flags,              \
			.vd_ndx = index,                \
			.vd_cnt = 1,                    \
			.vd_hash = name_hash,           \
			.vd_aux = sizeof(Elf64_Verdef), \
			.vd_next = to_next},            \
		.aux = {.vda_name = NAME(name)},        \
	}

static const struct image image = {
	.ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		 .e_type = ET_DYN,
		 .e_machine = EM_AARCH64,
		 .e_version = EV_CURRENT,
		 .e_phoff = AT(phdrs),
		 .e_shoff = AT(shdrs),
		 .e_ehsize = sizeof(Elf64_Ehdr),
		 .e_phentsize = sizeof(Elf64_Phdr),
		 .e_phnum = SIZE(phdrs) / sizeof(Elf64_Phdr),
		 .e_shentsize = sizeof(Elf64_Shdr),
		 .e_shnum = NR_SECS,
		 .e_shstrndx = SEC_NAMES},
	.phdrs = {{.p_type = PT_LOAD,
		   .p_flags = PF_R | PF_X,
		   .p_filesz = sizeof(struct image),
		   .p_memsz = sizeof(struct image),
		   .p_align = LP_GUEST_PAGE},
		  {.p_type = PT_DYNAMIC,
		   .p_flags = PF_R,
		   .p_offset = AT(dynamic),
		   .p_vaddr = AT(dynamic),
		   .p_paddr = AT(dynamic),
		   .p_filesz = SIZE(dynamic),
		   .p_memsz = SIZE(dynamic),
		   .p_align = 8},
		  {.p_type = PT_GNU_EH_FRAME,
		   .p_flags = PF_R,
		   .p_offset = AT(frame_header),
		   .p_vaddr = AT(frame_header),
		   .p_paddr = AT(frame_header),
		   .p_filesz = SIZE(frame_header),
		   .p_memsz = SIZE(frame_header),
		   .p_align = 4}},
	.shdrs = {[SEC_DYNSYM] = SECTION(syms, SHT_DYNSYM, dynsym, .sh_link = SEC_DYNSTR, .sh_info = 1,
					 .sh_entsize = sizeof(Elf64_Sym)),
		  [SEC_DYNSTR] = SECTION(names, SHT_STRTAB, dynstr, ),
		  [SEC_TEXT] = SECTION(text, SHT_PROGBITS, text, ),
		  [SEC_NAMES] = SECTION(section_names, SHT_STRTAB, names, )},
	.dynamic = {{DT_SONAME, {NAME(soname)}},
		    {DT_HASH, {AT(hash)}},
		    {DT_STRTAB, {AT(names)}},
		    {DT_STRSZ, {SIZE(names)}},
		    {DT_SYMTAB, {AT(syms)}},
		    {DT_SYMENT, {sizeof(Elf64_Sym)}},
		    {DT_VERSYM, {AT(versions)}},
		    {DT_VERDEF, {AT(verdefs)}},
		    {DT_VERDEFNUM, {SIZE(verdefs) / SIZE(verdefs[0])}},
		    {DT_NULL, {0}}},
	.syms = {[SYM_SIGRETURN] = SYMBOL(sigreturn),
		 [SYM_GETTIMEOFDAY] = SYMBOL(gettimeofday),
		 [SYM_CLOCK_GETTIME] = SYMBOL(clock_gettime),
		 [SYM_CLOCK_GETRES] = SYMBOL(clock_getres)},
	.hash = {1, NR_SYMS, SYM_SIGRETURN, {0, 2, 3, 4, 0}},
	.versions = {0, VERSION_LINUX, VERSION_LINUX, VERSION_LINUX, VERSION_LINUX},
	.verdefs = {VERDEF(VERSION_BASE, VER_FLG_BASE, soname, 0x0deebfa1, SIZE(verdefs[0])),
		    VERDEF(VERSION_LINUX, 0, version, 0x075fcb89, 0)},
	.names = {"", "linux-vdso.so.1", "LINUX_2.6.39", "__kernel_rt_sigreturn", "__kernel_gettimeofday",
		  "__kernel_clock_gettime", "__kernel_clock_getres"},
	.section_names = {"", ".dynsym", ".dynstr", ".text", ".shstrtab"},
	.frame_header = {.version = 1,
			 .frame_encoding = 0x1b, /* DW_EH_PE_pcrel | sdata4 */
			 .count_encoding = 0x03, /* udata4 */
			 .table_encoding = 0x3b, /* datarel | sdata4 */
			 .frame = DELTA(frame_header.frame, frames),
			 .count = 1,
			 .start = DELTA(frame_header, text.gettimeofday),
			 .fde = DELTA(frame_header, frames.fde)},
	/* No function touches the stack or x30: CFA = sp, return address in x30. */
	.frames = {.cie = {.length = SIZE(frames.cie) - 4,
			   .version = 1,
			   .augmentation = "zR",
			   .code_align = 4,
			   .data_align = 0x78, /* -8 */
			   .return_register = 30,
			   .augmentation_size = 1,
			   .pointer_encoding = 0x1b,
			   .cfa = {0x0c, 31, 0}}, /* DW_CFA_def_cfa sp, 0 */
		   .fde = {.length = SIZE(frames.fde) - 4,
			   .cie = AT(frames.fde.cie) - AT(frames.cie),
			   .start = DELTA(frames.fde.start, text.gettimeofday),
			   .size = sizeof(struct image) - AT(text.gettimeofday)}},
	.text = {.nop = NOP,
		 .sigreturn = {MOV_X8(SYS_RT_SIGRETURN), SVC_0},
		 .gettimeofday = FUNCTION(CALL_GETTIMEOFDAY, SYS_GETTIMEOFDAY),
		 .clock_gettime = FUNCTION(CALL_CLOCK_GETTIME, SYS_CLOCK_GETTIME),
		 .clock_getres = FUNCTION(CALL_CLOCK_GETRES, SYS_CLOCK_GETRES)},
};
_Static_assert(sizeof image <= LP_GUEST_PAGE, "the vDSO is one page");

int lp_vdso_map(struct lp_emu *emu, uint64_t *at, uint64_t *sigreturn)
{
	uint64_t page = lp_mem_map(emu, 0, LP_GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (lp_mem_failed(page))
		return (int)page;
	if (lp_mem_write(page, &image, sizeof image))
		return -EFAULT;
	lp_mem_protect(emu, page, LP_GUEST_PAGE, PROT_READ | PROT_EXEC | LP_PROT_BTI);
	lp_mem_name(emu, (struct lp_range){page, page + LP_GUEST_PAGE}, "[vdso]");
	*at = page;
	*sigreturn = page + AT(text.sigreturn);
	return 0;
}

/* ---- the calls ---- */

/* False: somebody else shall say why not. */
static bool call_gettimeofday(uint64_t tv, uint64_t tz)
{
	struct timeval now;
	struct timezone zone;

	if (gettimeofday(&now, &zone))
		return false;
	return (!tv || lp_mem_put(tv, &now) == 0) && (!tz || lp_mem_put(tz, &zone) == 0);
}

static bool call_clock_gettime(uint64_t clock, uint64_t ts)
{
	struct timespec now;

	return clock_gettime((clockid_t)clock, &now) == 0 && lp_mem_put(ts, &now) == 0;
}

static bool call_clock_getres(uint64_t clock, uint64_t ts)
{
	struct timespec step;

	return clock_getres((clockid_t)clock, &step) == 0 && (!ts || lp_mem_put(ts, &step) == 0);
}

static bool call(const struct lp_cpu *cpu, uint32_t word)
{
	switch (word) {
	case CALL_GETTIMEOFDAY:
		return call_gettimeofday(cpu->x[0], cpu->x[1]);
	case CALL_CLOCK_GETTIME:
		return call_clock_gettime(cpu->x[0], cpu->x[1]);
	default:
		return call_clock_getres(cpu->x[0], cpu->x[1]);
	}
}

/* Returns from the guest's function; when we could not do it, goes on behind: to the system call. */
static const struct lp_uop *run_call(struct lp_cpu *cpu, const struct lp_uop *u)
{
	if (!call(cpu, u->word))
		return lp_goto(cpu, u->pc + 4);
	cpu->x[0] = 0;
	return lp_goto(cpu, cpu->x[30]);
}

void lp_vdso_lower(const struct lp_emu *emu, struct lp_uop *u)
{
	if (u->word >= CALL_GETTIMEOFDAY && u->word <= CALL_CLOCK_GETRES && emu->loaded && emu->loaded->vdso &&
	    lp_align_down(u->pc, LP_GUEST_PAGE) == emu->loaded->vdso)
		u->run = run_call;
}
