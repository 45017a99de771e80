/*
 * Every relocation against the linker: gas makes an object file, ld links it,
 * and we apply each relocation of the object ourselves, from nothing but the
 * psABI's formula, the linked symbol table and the slots that the linked
 * file's dynamic relocations name.  The bytes must be ld's bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "isa/isa.h"
#include "object.h"

#define MAX_TYPE 2048

/* One instruction set's tool chain and sources. */
struct side {
	const struct lp_isa *isa;
	const char *prefix;	   /* of as and ld */
	const char *exec, *shared; /* sources: linked as a program at fixed addresses, and with -shared */
	uint64_t (*tpoff)(uint64_t offset, const Elf64_Phdr *tls);
	uint32_t glob_dat, dtpmod, tpoff_dyn, tlsdesc; /* dynamic relocations that fill GOT slots */
	const uint32_t *not_made_here; /* known types that the two sources do not produce, 0-terminated */
};

static bool seen[MAX_TYPE];

/* ---- the linked file ---- */

struct linked {
	const struct side *side;
	struct object o;
	const Elf64_Shdr *symtab;
};

static const Elf64_Phdr *tls_segment(const struct linked *l)
{
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(l->o.bytes + l->o.eh->e_phoff);

	for (size_t i = 0; i < l->o.eh->e_phnum; i++) {
		if (ph[i].p_type == PT_TLS)
			return &ph[i];
	}
	fail_msg("no TLS segment");
	return NULL;
}

/* The GOT slot that a dynamic relocation of `type` fills for `name` ("" = the module itself). */
static uint64_t slot_of(const struct linked *l, uint32_t type, const char *name)
{
	const Elf64_Shdr *dynsym = object_section_of_type(&l->o, SHT_DYNSYM);
	size_t nr_syms;
	const Elf64_Sym *syms = object_symbols(&l->o, dynsym, &nr_syms);

	for (size_t i = 0; i < l->o.eh->e_shnum; i++) {
		const Elf64_Shdr *s = &l->o.sh[i];
		const Elf64_Rela *rela = (const Elf64_Rela *)(l->o.bytes + s->sh_offset);

		for (size_t k = 0; s->sh_type == SHT_RELA && k < s->sh_size / sizeof *rela; k++) {
			if (ELF64_R_TYPE(rela[k].r_info) == type &&
			    !strcmp(object_symbol_name(&l->o, dynsym, &syms[ELF64_R_SYM(rela[k].r_info)]), name))
				return rela[k].r_offset;
		}
	}
	fail_msg("no GOT slot of type %u for '%s'", type, name);
	return 0;
}

static uint64_t page(uint64_t v)
{
	return v & ~UINT64_C(0xfff);
}

static uint64_t got(const struct linked *l)
{
	return object_symbol(&l->o, "_GLOBAL_OFFSET_TABLE_")->st_value;
}

static uint64_t value_of(const struct linked *l, uint8_t formula, const char *name, uint64_t a, uint64_t p)
{
	const struct side *side = l->side;
	const Elf64_Sym *sym = object_symbol(&l->o, name);
	uint64_t s = sym->st_value;

	switch (formula) {
	case LP_RELOC_ABS:
		return s + a;
	case LP_RELOC_PC:
	case LP_RELOC_PLT: /* of hidden functions: no PLT */
	case LP_RELOC_GOTBASE:
		return s + a - p;
	case LP_RELOC_PAGEPC:
		return page(s + a) - page(p);
	case LP_RELOC_SIZE:
		return sym->st_size + a;
	case LP_RELOC_GOTREL:
	case LP_RELOC_PLTOFF:
		return s + a - got(l);
	case LP_RELOC_GOTPC:
		return slot_of(l, side->glob_dat, name) + a - p;
	case LP_RELOC_GOTPAGE:
		return page(slot_of(l, side->glob_dat, name)) - page(p);
	case LP_RELOC_GOTABS:
		return slot_of(l, side->glob_dat, name);
	case LP_RELOC_GOTOFF:
		return slot_of(l, side->glob_dat, name) + a - got(l);
	case LP_RELOC_GOTPAGEOFF:
		return slot_of(l, side->glob_dat, name) - page(got(l));
	case LP_RELOC_TPOFF:
		return side->tpoff(s, tls_segment(l)) + a;
	case LP_RELOC_DTPOFF:
		return s + a;
	case LP_RELOC_GOTTP:
		return slot_of(l, side->tpoff_dyn, name) + a - p;
	case LP_RELOC_GOTTP_PAGE:
		return page(slot_of(l, side->tpoff_dyn, name)) - page(p);
	case LP_RELOC_GOTTP_ABS:
		return slot_of(l, side->tpoff_dyn, name);
	case LP_RELOC_GOTTP_OFF:
		return slot_of(l, side->tpoff_dyn, name) - got(l);
	case LP_RELOC_TLSGD:
		return slot_of(l, side->dtpmod, name) + a - p;
	case LP_RELOC_TLSGD_PAGE:
		return page(slot_of(l, side->dtpmod, name)) - page(p);
	case LP_RELOC_TLSGD_ABS:
		return slot_of(l, side->dtpmod, name);
	case LP_RELOC_TLSGD_OFF:
		return slot_of(l, side->dtpmod, name) - got(l);
	case LP_RELOC_TLSLD:
		return slot_of(l, side->dtpmod, "") + a - p;
	case LP_RELOC_TLSLD_PAGE:
		return page(slot_of(l, side->dtpmod, "")) - page(p);
	case LP_RELOC_TLSLD_ABS:
		return slot_of(l, side->dtpmod, "");
	case LP_RELOC_TLSDESC_PC:
		return slot_of(l, side->tlsdesc, name) + a - p;
	case LP_RELOC_TLSDESC_PAGE:
		return page(slot_of(l, side->tlsdesc, name)) - page(p);
	case LP_RELOC_TLSDESC_ABS:
		return slot_of(l, side->tlsdesc, name);
	case LP_RELOC_TLSDESC_OFF:
		return slot_of(l, side->tlsdesc, name) - got(l);
	default:
		fail_msg("formula %u has no meaning at link time", formula);
		return 0;
	}
}

/* ---- one relocation ---- */

static void compare(const struct linked *l, const struct object *o, const Elf64_Shdr *target, const Elf64_Rela *r)
{
	const struct lp_isa *isa = l->side->isa;
	const struct lp_reloc_howto *h = isa->howto(ELF64_R_TYPE(r->r_info));
	const Elf64_Shdr *symtab = object_section_of_type(o, SHT_SYMTAB);
	const Elf64_Shdr *out = object_section(&l->o, object_section_name(o, target));
	size_t nr;
	const Elf64_Sym *sym = object_symbols(o, symtab, &nr) + ELF64_R_SYM(r->r_info);
	uint8_t *place = o->bytes + target->sh_offset + r->r_offset;
	const uint8_t *truth = l->o.bytes + out->sh_offset + r->r_offset;
	struct lp_err err = {0};

	if (!h)
		fail_msg("type %lu is unknown", ELF64_R_TYPE(r->r_info));
	if (strstr(object_symbol_name(o, symtab, sym), "__tls_get_addr"))
		return; /* through ld's PLT: the formula alone does not know where that is */
	seen[h->type] = true;
	if (h->formula == LP_RELOC_NONE)
		return;
	uint64_t value = value_of(l, h->formula, object_symbol_name(o, symtab, sym), (uint64_t)r->r_addend,
				  out->sh_addr + r->r_offset);
	if (isa->reloc_store(h, place, value, &err))
		fail_msg("%s: %s", h->name, err.text);
	if (memcmp(place, truth, h->width))
		fail_msg("%s at %s+0x%lx: ours %08x, ld's %08x (value 0x%lx)", h->name, object_section_name(o, target),
			 r->r_offset, lp_get32(place), lp_get32(truth), value);
}

static void compare_all(const struct side *side, const char *source, const char *ld_flags)
{
	const char *s = scratch_write("r.s", source), *obj = scratch_path("r.o"), *linked = scratch_path("r.out");

	run("%sas -o %s %s", side->prefix, obj, s);
	run("%sld %s --no-relax -e 0 -o %s %s", side->prefix, ld_flags, linked, obj);

	struct linked l = {side, object_open(linked), NULL};
	struct object o = object_open(obj);
	size_t compared = 0;

	for (size_t i = 0; i < o.eh->e_shnum; i++) {
		const Elf64_Rela *rela = (const Elf64_Rela *)(o.bytes + o.sh[i].sh_offset);

		for (size_t k = 0; o.sh[i].sh_type == SHT_RELA && k < o.sh[i].sh_size / sizeof *rela; k++, compared++)
			compare(&l, &o, &o.sh[o.sh[i].sh_info], &rela[k]);
	}
	assert_true(compared > 0);
	object_close(&o);
	object_close(&l.o);
}

static bool listed(const uint32_t *list, uint32_t type)
{
	for (; *list; list++) {
		if (*list == type)
			return true;
	}
	return false;
}

static void check_side(const struct side *side)
{
	size_t known = 0, checked = 0;
	uint64_t fields_seen = 0, fields_left = 0;

	memset(seen, 0, sizeof seen);
	compare_all(side, side->exec,
		    "-static -Ttext=0x401000 -Tdata=0x7fff8000 --defsym=small=0x7b --defsym=neg=-0x1234");
	compare_all(side, side->shared, "-shared");
	for (uint32_t type = 1; type < MAX_TYPE; type++) {
		const struct lp_reloc_howto *h = side->isa->howto(type);

		if (!h)
			continue;
		known++;
		checked += seen[type];
		assert_int_equal(h->type, type);
		if (!seen[type] && !listed(side->not_made_here, type))
			fail_msg("%s was not compared with the linker", h->name);
		fields_left |= seen[type] ? 0 : UINT64_C(1) << h->field;
		fields_seen |= seen[type] ? UINT64_C(1) << h->field : 0;
		if (seen[type] && listed(side->not_made_here, type))
			fail_msg("%s was compared: take it off the list", h->name);
	}
	/* a type that was not compared is stored by an encoder that was */
	assert_int_equal(fields_left & ~fields_seen, 0);
	print_message("%s: %zu of %zu types compared with ld\n", side->isa->name, checked, known);
}

/* ---- x86-64 ---- */

static uint64_t x64_tpoff(uint64_t offset, const Elf64_Phdr *tls)
{
	return offset - ((tls->p_memsz + tls->p_align - 1) & ~(tls->p_align - 1)); /* variant II: below %fs:0 */
}

static const char x64_exec[] = ".globl f, d, t, _start\n"
			       ".type f, @function\n"
			       ".type d, @object\n"
			       ".size d, 24\n"
			       ".text\n"
			       "f: call f\n" /* PLT32 or PC32 */
			       "   jmp f@PLT\n"
			       "   lea d(%rip), %rax\n"	      /* PC32 */
			       "   mov $d, %rax\n"	      /* 32S */
			       "   mov $neg, %rax\n"	      /* 32S, negative */
			       "   mov $f, %eax\n"	      /* 32 */
			       "   movabs $d, %rax\n"	      /* 64 */
			       "   lea t@tpoff(%rax), %rcx\n" /* TPOFF32 */
			       ".data\n"
			       "d: .quad f, f + 0x123456789a\n" /* 64 */
			       "   .quad f - ., d - .\n"	/* PC64 */
			       "   .long f, f - .\n"		/* 32, PC32 */
			       "   .word small, near - .\n"	/* 16, PC16 */
			       "   .byte small\n"		/* 8 */
			       "   .long d@SIZE\n"		/* SIZE32 */
			       "   .quad d@SIZE + 1\n"		/* SIZE64 */
			       "   .quad t@tpoff\n"		/* TPOFF64 */
			       "   .quad t@dtpoff\n"		/* DTPOFF64 */
			       "   .byte near - .\n"		/* PC8 */
			       ".section .near, \"aw\"\n"
			       ".globl near\n"
			       "near: .byte 0\n"
			       ".section .tdata, \"awT\", @progbits\n"
			       "   .quad 0\n"
			       "t: .quad 1, 2\n";

static const char x64_shared[] =
	".globl f, d, p, t, ti, td\n"
	".hidden f, d\n"
	".type f, @function\n"
	".type d, @object\n"
	".type p, @object\n"
	".size d, 8\n"
	".size p, 8\n"
	".text\n"
	"f: call f@PLT\n"
	"   mov p@GOTPCREL(%rip), %rax\n"	       /* REX_GOTPCRELX */
	"   jmp *p@GOTPCREL(%rip)\n"		       /* GOTPCRELX */
	"   lea _GLOBAL_OFFSET_TABLE_(%rip), %rbx\n"   /* GOTPC32 */
	"   movabs $_GLOBAL_OFFSET_TABLE_ - ., %r11\n" /* GOTPC64 */
	"   movabs $d@GOTOFF, %rax\n"		       /* GOTOFF64 */
	"   movabs $p@GOT, %rax\n"		       /* GOT64 */
	"   movabs $f@PLTOFF, %rax\n"		       /* PLTOFF64 */
	"   .byte 0x66\n"
	"   lea t@tlsgd(%rip), %rdi\n" /* TLSGD */
	"   .word 0x6666\n"
	"   rex64\n"
	"   call __tls_get_addr@PLT\n"
	"   lea t@tlsld(%rip), %rdi\n" /* TLSLD */
	"   call __tls_get_addr@PLT\n"
	"   lea t@dtpoff(%rax), %rcx\n"	   /* DTPOFF32 */
	"   mov ti@gottpoff(%rip), %rax\n" /* GOTTPOFF */
	"   lea td@tlsdesc(%rip), %rax\n"  /* GOTPC32_TLSDESC */
	"   call *td@tlscall(%rax)\n"	   /* TLSDESC_CALL */
	".data\n"
	"d: .quad 0\n"
	"p: .quad 0\n"
	"   .long p@GOTPCREL, p@GOT\n" /* GOTPCREL, GOT32 */
	"   .quad p@GOTPCREL\n"	       /* GOTPCREL64 */
	".section .tdata, \"awT\", @progbits\n"
	"   .quad 0\n"
	"t: .quad 1\n"
	"ti: .quad 2\n" /* ld turns the models of one symbol into the cheapest of them: one symbol for each */
	"td: .quad 3\n";

static void every_x86_64_relocation_stores_what_the_linker_stores(void **state)
{
	static const uint32_t not_made_here[] = {
		R_X86_64_COPY,
		R_X86_64_GLOB_DAT,
		R_X86_64_JUMP_SLOT,
		R_X86_64_RELATIVE,
		R_X86_64_DTPMOD64,
		R_X86_64_TLSDESC,
		R_X86_64_IRELATIVE,
		R_X86_64_RELATIVE64, /* only in linked files */
		R_X86_64_GOTPLT64,
		39,
		40, /* gas makes none any more */
		43,
		44,
		45,
		46,
		47,
		48,
		49,
		50,
		51, /* APX */
		0,
	};
	static const struct side side = {
		.isa = &lp_isa_x64,
		.prefix = "",
		.exec = x64_exec,
		.shared = x64_shared,
		.tpoff = x64_tpoff,
		.glob_dat = R_X86_64_GLOB_DAT,
		.dtpmod = R_X86_64_DTPMOD64,
		.tpoff_dyn = R_X86_64_TPOFF64,
		.tlsdesc = R_X86_64_TLSDESC,
		.not_made_here = not_made_here,
	};

	if (!have_program("as") || !have_program("ld"))
		skip();
	check_side(&side);
}

/* ---- aarch64 ---- */

static uint64_t a64_tpoff(uint64_t offset, const Elf64_Phdr *tls)
{
	uint64_t align = tls->p_align ? tls->p_align : 1;

	return offset + ((16 + align - 1) & ~(align - 1)); /* variant I: behind the 16 bytes at tpidr_el0 */
}

static const char a64_exec[] = ".globl f, d, t, small, neg\n"
			       ".type f, %function\n"
			       ".type d, %object\n"
			       ".text\n"
			       "f: bl f\n"
			       "   b d2\n"
			       "   b.ne f\n"
			       "   cbz x1, d2\n"
			       "   tbnz x3, #40, f\n"
			       "   tbz w3, #4, d2\n"
			       "   ldr x5, f\n"
			       "   ldr q5, d2\n"
			       "   adr x6, f\n"
			       "   adr x7, d2 + 3\n"
			       "   adrp x8, d\n"
			       "   adrp x8, :pg_hi21_nc:d\n"
			       "   add x9, x9, :lo12:d\n"
			       "   ldrb w10, [x9, :lo12:d + 1]\n"
			       "   ldr b10, [x9, :lo12:d + 1]\n"
			       "   strh w11, [x9, :lo12:d + 2]\n"
			       "   ldr w12, [x9, :lo12:d + 4]\n"
			       "   ldrsw x12, [x9, :lo12:d + 4]\n"
			       "   str x13, [x9, :lo12:d + 8]\n"
			       "   ldr d13, [x9, :lo12:d + 8]\n"
			       "   ldr q14, [x9, :lo12:d + 16]\n"
			       "   movz x15, #:abs_g0:small\n"
			       "   movk x15, #:abs_g0_nc:d\n"
			       "   movz x15, #:abs_g1:d\n"
			       "   movk x15, #:abs_g1_nc:big\n"
			       "   movz x15, #:abs_g2:d\n"
			       "   movk x15, #:abs_g2_nc:big\n"
			       "   movk x15, #:abs_g3:big\n"
			       "   movz x15, #:abs_g0_s:neg\n"
			       "   movz x15, #:abs_g0_s:small\n"
			       "   movn x15, #:abs_g0_s:small\n"
			       "   movz x15, #:abs_g1_s:neg\n"
			       "   movz x15, #:abs_g1_s:d\n"
			       "   movz x15, #:abs_g2_s:neg\n"
			       "   movz x15, #:abs_g2_s:d\n"
			       "   movz x15, #:prel_g0:f\n"
			       "   movz x15, #:prel_g0:d2\n"
			       "   movk x15, #:prel_g0_nc:f\n"
			       "   movz x15, #:prel_g1:d\n"
			       "   movk x15, #:prel_g1_nc:f\n"
			       "   movz x15, #:prel_g2:f\n"
			       "   movk x15, #:prel_g2_nc:f\n"
			       "   movz x15, #:prel_g3:f\n"
			       "   movz x15, #:prel_g3:big\n"
			       "   movz x16, #:tprel_g2:t\n"
			       "   movz x16, #:tprel_g1:t\n"
			       "   movk x16, #:tprel_g1_nc:t\n"
			       "   movz x16, #:tprel_g0:t\n"
			       "   movk x16, #:tprel_g0_nc:t\n"
			       "   add x17, x17, :tprel_hi12:far, lsl #12\n"
			       "   add x17, x17, :tprel_lo12:t\n"
			       "   add x17, x17, :tprel_lo12_nc:far\n"
			       "   ldrb w18, [x17, :tprel_lo12:t]\n"
			       "   ldrb w18, [x17, :tprel_lo12_nc:far]\n"
			       "   ldrh w18, [x17, :tprel_lo12:t]\n"
			       "   ldrh w18, [x17, :tprel_lo12_nc:far]\n"
			       "   ldr w18, [x17, :tprel_lo12:t]\n"
			       "   ldr w18, [x17, :tprel_lo12_nc:far]\n"
			       "   ldr x18, [x17, :tprel_lo12:t]\n"
			       "   ldr x18, [x17, :tprel_lo12_nc:far]\n"
			       "   nop\n"
			       ".globl d2, far, big\n"
			       ".set big, 0xfedcba9876543210\n"
			       "d2: .xword 0, 0\n"
			       ".data\n"
			       "   .balign 16\n"
			       "d: .xword f, d\n"	     /* ABS64 */
			       "   .xword f - ., d - .\n"    /* PREL64 */
			       "   .word f, f - .\n"	     /* ABS32, PREL32 */
			       "   .hword small, near - .\n" /* ABS16, PREL16 */
			       ".section .near, \"aw\"\n"
			       ".globl near\n"
			       "near: .byte 0\n"
			       ".section .tdata, \"awT\", %progbits\n"
			       "   .balign 16\n"
			       "   .xword 0, 0\n"
			       "t: .xword 1, 2\n"
			       "   .zero 0x5420\n"
			       "far: .xword 3, 4\n";

static const char a64_shared[] = ".globl f, p, t, t2, ti\n"
				 ".hidden f\n"
				 ".type f, %function\n"
				 ".type p, %object\n"
				 ".text\n"
				 "f: adrp x0, :got:p\n"
				 "   ldr x0, [x0, :got_lo12:p]\n"
				 "   ldr x0, [x0, :gotpage_lo15:p]\n"
				 "   ldr x0, :got:p\n"
				 "   .reloc ., R_AARCH64_LD64_GOTOFF_LO15, p\n"
				 "   ldr x0, [x0]\n"
				 "   movz x0, #:gotoff_g1:p\n"
				 "   movk x0, #:gotoff_g0_nc:p\n"
				 "   adr x0, :tlsgd:t\n"
				 "   adrp x0, :tlsgd:t\n"
				 "   add x0, x0, :tlsgd_lo12:t\n"
				 "   bl __tls_get_addr\n"
				 "   nop\n"
				 "   adr x0, :tlsldm:tl\n"
				 "   adrp x0, :tlsldm:tl\n"
				 "   add x0, x0, :tlsldm_lo12_nc:tl\n"
				 "   bl __tls_get_addr\n"
				 "   nop\n"
				 "   movz x1, #:dtprel_g2:t\n"
				 "   movz x1, #:dtprel_g1:t\n"
				 "   movk x1, #:dtprel_g1_nc:t\n"
				 "   movz x1, #:dtprel_g0:t\n"
				 "   movk x1, #:dtprel_g0_nc:t\n"
				 "   add x1, x1, :dtprel_hi12:far, lsl #12\n"
				 "   add x1, x1, :dtprel_lo12:t\n"
				 "   add x1, x1, :dtprel_lo12_nc:far\n"
				 "   ldrb w2, [x1, :dtprel_lo12:t]\n"
				 "   ldrb w2, [x1, :dtprel_lo12_nc:far]\n"
				 "   ldrh w2, [x1, :dtprel_lo12:t]\n"
				 "   ldrh w2, [x1, :dtprel_lo12_nc:far]\n"
				 "   ldr w2, [x1, :dtprel_lo12:t]\n"
				 "   ldr w2, [x1, :dtprel_lo12_nc:far]\n"
				 "   ldr x2, [x1, :dtprel_lo12:t]\n"
				 "   ldr x2, [x1, :dtprel_lo12_nc:far]\n"
				 "   adrp x3, :gottprel:ti\n"
				 "   ldr x3, [x3, :gottprel_lo12:ti]\n"
				 "   ldr x3, :gottprel:ti\n"
				 "   movz x3, #:gottprel_g1:ti\n"
				 "   movk x3, #:gottprel_g0_nc:ti\n"
				 "   adrp x0, :tlsdesc:t2\n"
				 "   ldr x1, [x0, :tlsdesc_lo12:t2]\n"
				 "   add x0, x0, :tlsdesc_lo12:t2\n"
				 "   .tlsdesccall t2\n"
				 "   blr x1\n"
				 "   adr x0, :tlsdesc:t2\n"
				 "   ldr x1, :tlsdesc:t2\n"
				 "   movz x0, #:tlsdesc_off_g1:t2\n"
				 "   movk x0, #:tlsdesc_off_g0_nc:t2\n"
				 "   .tlsdescldr t2\n"
				 "   ldr x1, [x2, x0]\n"
				 "   .tlsdescadd t2\n"
				 "   add x0, x2, x0\n"
				 ".data\n"
				 "p: .xword 0\n"
				 ".section .tdata, \"awT\", %progbits\n"
				 ".globl far\n"
				 "   .balign 16\n"
				 "   .xword 0, 0\n"
				 "t: .xword 1, 2\n"
				 "t2: .xword 1, 2\n"
				 "ti: .xword 1, 2\n"
				 "tl: .xword 1, 2\n" /* local: its module is this one */
				 "   .zero 0x5420\n"
				 "far: .xword 3, 4\n";

static void every_aarch64_relocation_stores_what_the_linker_stores(void **state)
{
	static const uint32_t not_made_here[] = {
		256, 1024, 1025, 1026, 1027, 1028, 1029, 1030, 1031, 1032, /* only in linked files */
		300, 303,  304,	 305,  306,  307,  308,	 314,  315,	   /* gas 2.40 makes none of these */
		520, 521,  522,	 570,  571,  572,  573,			   /* ... nor of these */
		515, 516,						   /* ld 2.40 fails an assertion on these */
		0,
	};
	static const struct side side = {
		.isa = &lp_isa_a64,
		.prefix = "aarch64-linux-gnu-",
		.exec = a64_exec,
		.shared = a64_shared,
		.tpoff = a64_tpoff,
		.glob_dat = R_AARCH64_GLOB_DAT,
		.dtpmod = R_AARCH64_TLS_DTPMOD,
		.tpoff_dyn = R_AARCH64_TLS_TPREL,
		.tlsdesc = R_AARCH64_TLSDESC,
		.not_made_here = not_made_here,
	};

	if (!have_program("aarch64-linux-gnu-as"))
		skip();
	check_side(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_x86_64_relocation_stores_what_the_linker_stores),
		cmocka_unit_test(every_aarch64_relocation_stores_what_the_linker_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
