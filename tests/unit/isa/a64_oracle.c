#include "a64_oracle.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "isa/a64/table.h"

/* ---- LLVM's C interface (llvm-c/Disassembler.h), found at run time ---- */

struct oracle {
	void *context;
	size_t (*disassemble)(void *context, uint8_t *bytes, uint64_t size, uint64_t pc, char *out, size_t out_size);
	void (*dispose)(void *context);
};

/* The extensions of a64.def by LLVM's names. */
static const char features[] = "+neon,+fp-armv8,+crc,+lse,+rdm,+fullfp16,+dotprod,+jsconv,+complxnum,+rcpc,+rcpc-immo,+"
			       "flagm,+altnzcv,+dit,+bti,"
			       "+pauth,+mte,+sb,+ssbs,+aes,+sha2,+sha3,+pan,+uaops,+lor,+ras,+el3";

static void *open_llvm(void)
{
	static const char *const names[] = {"libLLVM-14.so.1", "libLLVM-15.so.1"};
	static const char *const initialisers[] = {
		"LLVMInitializeAArch64TargetInfo",
		"LLVMInitializeAArch64Target",
		"LLVMInitializeAArch64TargetMC",
		"LLVMInitializeAArch64Disassembler",
	};
	void *llvm = NULL;

	for (size_t i = 0; !llvm && i < sizeof names / sizeof names[0]; i++)
		llvm = dlopen(names[i], RTLD_NOW);
	for (size_t i = 0; llvm && i < sizeof initialisers / sizeof initialisers[0]; i++) {
		void (*initialise)(void) = (void (*)(void))dlsym(llvm, initialisers[i]);
		if (!initialise)
			return NULL;
		initialise();
	}
	return llvm;
}

struct oracle *oracle_open(void)
{
	static void *llvm;
	void *(*create)(const char *triple, const char *cpu, const char *features, void *info, int tag, void *op_info,
			void *lookup);
	struct oracle *o;

	if (!llvm && !(llvm = open_llvm()))
		return NULL;
	o = calloc(1, sizeof *o);
	if (!o)
		abort();
	*(void **)&create = dlsym(llvm, "LLVMCreateDisasmCPUFeatures");
	*(void **)&o->disassemble = dlsym(llvm, "LLVMDisasmInstruction");
	*(void **)&o->dispose = dlsym(llvm, "LLVMDisasmDispose");
	if (create && o->disassemble && o->dispose)
		o->context = create("aarch64-linux-gnu", "", features, NULL, 0, NULL, NULL);
	if (!o->context) {
		free(o);
		return NULL;
	}
	return o;
}

void oracle_close(struct oracle *o)
{
	if (!o)
		return;
	o->dispose(o->context);
	free(o);
}

bool oracle_allows(struct oracle *o, uint32_t word)
{
	uint8_t bytes[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16), (uint8_t)(word >> 24)};
	char text[128];

	return o->disassemble(o->context, bytes, sizeof bytes, 0x10000, text, sizeof text) == sizeof bytes;
}

/* ---- where the manual leaves it open ---- */

static bool is_one_register_with_writeback(uint32_t word)
{
	bool indexed =
		(word & 0x3f200000) == 0x38000000 && (word >> 10 & 3) != 0; /* pre, post; unprivileged: LLVM's slip */
	bool signed_pointer = (word & 0xff200c00) == 0xf8200c00;	    /* ldraa, ldrab */

	return indexed || signed_pointer;
}

static bool clash_of_pair(uint32_t word)
{
	uint32_t rt = word & 31, rn = word >> 5 & 31, rt2 = word >> 10 & 31;
	bool is_load = word >> 22 & 1, is_vector = word >> 26 & 1, has_writeback = word >> 23 & 1;

	return (is_load && rt == rt2) || (has_writeback && !is_vector && (rn == rt || rn == rt2));
}

/* Of what a load changes, two are the same register, or one is the base that is written back. */
static bool registers_clash(uint32_t word)
{
	uint32_t rt = word & 31, rn = word >> 5 & 31, rt2 = word >> 10 & 31;

	if (is_one_register_with_writeback(word))
		return rn == rt;
	if ((word & 0x3a000000) == 0x28000000)
		return clash_of_pair(word);
	return (word & 0xbfe00000) == 0x88600000 && rt == rt2; /* ldxp, ldaxp */
}

static bool breaks_should_be_bits(uint32_t word)
{
	bool exclusive = (word & 0x3f000000) == 0x08000000 && ((word >> 16 & 31) != 31 || (word >> 10 & 31) != 31);
	bool mulh = (word & 0xff608000) == 0x9b400000 && (word >> 10 & 31) != 31;
	bool fcmp_zero = (word & 0xff20fc0f) == 0x1e202008 && (word >> 16 & 31) != 0;

	return exclusive || mulh || fcmp_zero;
}

enum reason reason_to_differ(uint32_t word, bool ours)
{
	if (ours)
		return registers_clash(word) ? REGISTERS_CLASH : OUGHT_TO_AGREE;
	if (breaks_should_be_bits(word))
		return SHOULD_BE_BITS;
	return (word & 0xffd00000) == 0xd5000000 ? NO_OP0 : OUGHT_TO_AGREE;
}

const char *reason_text(enum reason r)
{
	static const char *const texts[REASON_COUNT] = {
		"no reason",
		"registers of a load clash: unpredictable",
		"bits that should be 0 or 1 are not",
		"MSR or MRS with an op0 that is not allocated",
	};

	return texts[r];
}

/* ---- words ---- */

uint64_t words_next(struct words *w) /* splitmix64 */
{
	uint64_t z = w->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t words_of_row(struct words *w, unsigned op)
{
	const struct lp_a64_row *row = lp_a64_row(op);
	uint64_t random = words_next(w);
	uint32_t word = (uint32_t)random;

	/* 31 in a register's place is special too often to be left to chance */
	if (random >> 32 & 1)
		word |= 31;
	if (random >> 33 & 1)
		word |= 31 << 5;
	return (word & ~row->mask) | row->match;
}
