/*
 * Vector instructions translated for this host, and as for hosts that have less: the registers are what the interpreter makes
 * of them.  And how --host-cpu names hosts.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#ifdef WITH_ZYDIS
#include <Zydis/Zydis.h>
#endif

#include "emu/block.h"
#include "jit/emit.h"
#include "jit/jit.h"

enum { STREAMS = 6000, WORDS = 6, STATES = 3, CODE_SIZE = STREAMS * (WORDS + 1) * 4 };
#define SVC UINT32_C(0xd4000001)

static const char *const hosts[] = {"native", "avx512", "avx2", "avx2,+aes", "native,-vaes", "sse4"};
enum { NR_HOSTS = sizeof hosts / sizeof hosts[0], HOST_SSE4 = NR_HOSTS - 1, HOST_WITHOUT_VAES = NR_HOSTS - 2 };

static struct {
	struct lp_emu *emu;
	const struct lp_engine *engine;
	void *hosts[NR_HOSTS]; /* the engine's data; NULL: this host is none of those */
	uint32_t *code;
	enum lp_a64_op rows[A64_OP_COUNT];
	size_t nr_rows;
} it;

static uint64_t seed = 9;
static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static void find_rows(void)
{
	static const struct lp_emit_row *const tables[] = {lp_emit_simd_across, lp_emit_simd_move,
							   lp_emit_simd_same,	lp_emit_simd_saturate,
							   lp_emit_simd_shift,	lp_emit_simd_wide};

	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
		for (const struct lp_emit_row *row = tables[t]; row->emit; row++)
			if (lp_cpu_offers(lp_a64_row(row->op)->feature))
				it.rows[it.nr_rows++] = row->op;
}

static int setup(void **state)
{
	struct lp_emu_options plain = {0};
	struct lp_err err = {0};
	uint64_t code;

	it.emu = lp_emu_new(&plain, &err);
	assert_non_null(it.emu);
	code = lp_mem_map(it.emu, 0, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_false(lp_mem_failed(code));
	it.code = (void *)code; /* NOLINT(performance-no-int-to-ptr) */
	find_rows();
	for (size_t h = 0; h < NR_HOSTS; h++) {
		struct lp_jit_options options = {0};
		int rc = lp_jit_host_parse(hosts[h], &options.without, &err);
		if (rc == -ENOTSUP)
			continue;
		assert_int_equal(rc, 0);
		rc = lp_jit_attach(it.emu, &options, &err);
		if (rc == -ENOTSUP)
			return 0;
		assert_int_equal(rc, 0);
		it.hosts[h] = it.emu->engine_data;
	}
	it.engine = it.emu->engine;
	return 0;
}

/* Registers are few, so that some are of more than one operand. */
static uint32_t random_word(void)
{
	enum lp_a64_op op = it.rows[any() % it.nr_rows];
	const struct lp_a64_row *row = lp_a64_row(op);
	uint32_t word;

	do
		word = ((uint32_t)(any() >> 32) & ~(row->mask | 0x00180318)) | row->match;
	while (lp_a64_decode(word) != op);
	return word;
}

/* Lanes that saturate and carry, counts of shifts that are small, or anything. */
static uint64_t random_half(void)
{
	static const uint64_t edges[] = {0,
					 UINT64_MAX,
					 UINT64_C(0x8080808080808080),
					 UINT64_C(0x7fff7fff7fff7fff),
					 UINT64_C(0x8000000080000000),
					 UINT64_C(0x7f01ff80fffe0001),
					 INT64_MAX,
					 UINT64_C(1) << 63};
	uint64_t pick = any();

	switch (pick & 3) {
	case 0:
		return edges[(pick >> 8) % (sizeof edges / sizeof edges[0])];
	case 1:
		return any() & UINT64_C(0x0f1f0f070f1f0f07);
	default:
		return any();
	}
}

struct registers {
	union lp_vreg v[32];
	uint64_t x[31];
	uint32_t fpsr, nzcv;
};

static void put(const struct registers *r)
{
	struct lp_cpu *cpu = &it.emu->main->cpu;

	memcpy(cpu->vr, r->v, sizeof r->v);
	memcpy(cpu->x, r->x, sizeof r->x);
	cpu->fpsr = r->fpsr;
	lp_cpu_set_nzcv(cpu, r->nzcv);
}

static void get(struct registers *r)
{
	const struct lp_cpu *cpu = &it.emu->main->cpu;

	memcpy(r->v, cpu->vr, sizeof r->v);
	memcpy(r->x, cpu->x, sizeof r->x);
	r->fpsr = cpu->fpsr;
	r->nzcv = lp_cpu_nzcv(cpu);
}

/* From `code` to the svc; NULL: by the interpreter. */
static void run(void *host, const uint32_t *code, const struct registers *before, struct registers *after)
{
	struct lp_cpu *cpu = &it.emu->main->cpu;

	put(before);
	cpu->pc = (uint64_t)code;
	cpu->leave = LP_LEAVE_LOOKUP;
	it.emu->engine = host ? it.engine : NULL;
	it.emu->engine_data = host;
	while (cpu->leave == LP_LEAVE_LOOKUP) {
		if (host) {
			assert_true(it.engine->run(cpu));
		} else {
			const struct lp_uop *u = lp_block_enter(it.emu->blocks, cpu);
			while (u)
				u = u->run(cpu, u);
		}
	}
	assert_int_equal(cpu->leave, LP_LEAVE_SVC);
	get(after);
	if (host)
		it.engine->thread_ended(cpu); /* what it keeps of a thread is of this host alone */
}

static void compare(const uint32_t *code, const struct registers *expected, const struct registers *found, size_t host)
{
	for (size_t i = 0; i < 32; i++)
		if (expected->v[i].q != found->v[i].q)
			fail_msg("%s: v%zu is %016lx:%016lx, not %016lx:%016lx after %08x %08x %08x %08x %08x %08x",
				 hosts[host], i, found->v[i].d[1], found->v[i].d[0], expected->v[i].d[1],
				 expected->v[i].d[0], code[0], code[1], code[2], code[3], code[4], code[5]);
	assert_memory_equal(expected->x, found->x, sizeof found->x);
	assert_int_equal(expected->fpsr, found->fpsr);
	assert_int_equal(expected->nzcv, found->nzcv);
}

static void translated_code_does_what_the_interpreter_does_on_every_host(void **state)
{
	static struct registers before, expected, found;

	if (!it.engine)
		skip(); /* no AVX2 here */
	assert_true(it.nr_rows > 200);
	for (size_t s = 0; s < STREAMS; s++) {
		uint32_t *code = it.code + s * (WORDS + 1);
		for (size_t i = 0; i < WORDS; i++)
			code[i] = random_word();
		code[WORDS] = SVC;
		for (size_t j = 0; j < STATES; j++) {
			for (size_t i = 0; i < 64; i++)
				before.v[i / 2].d[i % 2] = random_half();
			for (size_t i = 0; i < 31; i++)
				before.x[i] = any();
			before.nzcv = (uint32_t)any() & 0xf0000000;
			run(NULL, code, &before, &expected);
			for (size_t h = 0; h < NR_HOSTS; h++) {
				if (!it.hosts[h])
					continue;
				run(it.hosts[h], code, &before, &found);
				compare(code, &expected, &found, h);
			}
		}
	}
}

static void what_saturates_sets_qc_and_nothing_else_does(void **state)
{
	static struct registers before, after;
	static const struct {
		uint32_t word; /* of v0, v1, v1 */
		uint64_t operand, result;
		bool saturates;
	} cases[] = {
		{0x4e210c20, UINT64_C(0x4040404040404040), UINT64_C(0x7f7f7f7f7f7f7f7f), true}, /* sqadd v0.16b */
		{0x4e210c20, UINT64_C(0x3f3f3f3f3f3f3f3f), UINT64_C(0x7e7e7e7e7e7e7e7e), false},
		{0x0e210c20, UINT64_C(0x3f3f3f3f3f3f3f3f), UINT64_C(0x7e7e7e7e7e7e7e7e),
		 false},						      /* 8b: not what is above */
		{0x2ea10c20, UINT64_C(0x80000000ffffffff), UINT64_MAX, true}, /* uqadd v0.2s */
	};

	if (!it.engine)
		skip();
	for (size_t h = 0; h < NR_HOSTS; h++)
		for (size_t i = 0; it.hosts[h] && i < sizeof cases / sizeof cases[0]; i++) {
			uint32_t *code = it.code;
			struct lp_range range = {(uint64_t)code, (uint64_t)(code + 2)};
			code[0] = cases[i].word;
			code[1] = SVC;
			it.emu->engine_data = it.hosts[h];
			it.engine->invalidate(it.emu, range);
			before.v[1].d[0] = cases[i].operand;
			before.v[1].d[1] = cases[i].word >> 30 ? cases[i].operand : UINT64_C(0x7f7f7f7f7f7f7f7f);
			run(it.hosts[h], code, &before, &after);
			assert_true(after.v[0].d[0] == cases[i].result);
			assert_int_equal(after.fpsr, cases[i].saturates ? 1 << 27 : 0);
		}
}

/* ---- what is written for the least of hosts ---- */

#ifdef WITH_ZYDIS
static bool takes_more_than_sse4(const ZydisDecodedInstruction *insn)
{
	switch (insn->meta.isa_set) {
	case ZYDIS_ISA_SET_LZCNT:
	case ZYDIS_ISA_SET_BMI1: /* tzcnt */
	case ZYDIS_ISA_SET_MOVBE:
	case ZYDIS_ISA_SET_ADOX_ADCX:
	case ZYDIS_ISA_SET_AES:
	case ZYDIS_ISA_SET_PCLMULQDQ:
	case ZYDIS_ISA_SET_SHA:
		return true;
	default:
		return insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY;
	}
}

static size_t check_unit(const struct lp_unit *unit, bool (*is_wrong)(const ZydisDecodedInstruction *insn))
{
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;
	size_t nr = 0;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint32_t at = 0; at < unit->size; at += insn.length, nr++) {
		assert_true(ZYAN_SUCCESS(
			ZydisDecoderDecodeInstruction(&decoder, NULL, unit->code + at, unit->size - at, &insn)));
		if (is_wrong(&insn))
			fail_msg("%s at %u of the code for %08x %08x ...", ZydisMnemonicGetString(insn.mnemonic), at,
				 unit->words[0], unit->words[1]);
	}
	return nr;
}

/* Of all tables. */
static void find_translated_rows(const struct lp_jit *jit)
{
	it.nr_rows = 0;
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		if (jit->emit[op])
			it.rows[it.nr_rows++] = op;
}

/* The translator looks where branches go, and no handler of SIGSEGV is here. */
static bool goes_elsewhere(const uint32_t *at)
{
	uint64_t target;

	return lp_jit_branch_target((uint64_t)at, *at, &target) && target - (uint64_t)it.code >= CODE_SIZE;
}

static void code_for_hosts_with_sse4_has_no_instruction_that_takes_more(void **state)
{
	struct lp_jit *jit = it.hosts[HOST_SSE4];
	struct lp_range range = {(uint64_t)it.code, (uint64_t)it.code + CODE_SIZE};
	size_t nr_units = 0, nr_insns = 0, words;

	if (!jit)
		skip();
	assert_int_equal(jit->host, 0);
	find_translated_rows(jit);
	assert_true(it.nr_rows > 500);
	for (uint32_t *at = it.code; at < it.code + CODE_SIZE / 4; at++)
		do
			*at = random_word();
		while (goes_elsewhere(at));
	it.emu->engine_data = jit;
	it.engine->invalidate(it.emu, range);
	for (uint32_t *at = it.code; at < it.code + CODE_SIZE / 4 - LP_UNIT_MAX; at += words) {
		const struct lp_jit_slot *slot = lp_translate(jit, (uint64_t)at, NULL);
		const struct lp_unit *unit = slot ? atomic_load(&slot->unit) : NULL;
		assert_non_null(unit);
		assert_false(unit->interpreted);
		nr_insns += check_unit(unit, takes_more_than_sse4);
		nr_units++;
		words = unit->nr_insns;
	}
	assert_true(nr_units > 500 && nr_insns > 50000);
}

static unsigned nr_of_ciphers, nr_above_15;
static bool is_cipher_above_15(const ZydisDecodedInstruction *insn)
{
	bool is_cipher = insn->mnemonic == ZYDIS_MNEMONIC_VAESENC || insn->mnemonic == ZYDIS_MNEMONIC_VAESENCLAST ||
			 insn->mnemonic == ZYDIS_MNEMONIC_VAESDEC || insn->mnemonic == ZYDIS_MNEMONIC_VAESDECLAST ||
			 insn->mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ;
	bool is_evex = insn->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;

	nr_of_ciphers += is_cipher;
	nr_above_15 += is_evex;
	return is_cipher && is_evex;
}

static void without_vaes_ciphers_work_on_the_lower_registers(void **state)
{
	static const uint32_t rows[] = {0x4e284800, 0x4e286800, 0x4e285800, 0x0ee0e000, 0x4ee0e000, 0x6e201c00};
	struct lp_jit *jit = it.hosts[HOST_WITHOUT_VAES];
	struct lp_range range = {(uint64_t)it.code, (uint64_t)it.code + CODE_SIZE};

	if (!jit || !(jit->host & LP_HOST_AVX512 && jit->host & LP_HOST_AES && jit->host & LP_HOST_PCLMUL))
		skip();
	it.emu->engine_data = jit;
	for (unsigned round = 0; round < 200; round++) {
		const struct lp_jit_slot *slot;
		it.engine->invalidate(it.emu, range);
		for (unsigned i = 0; i < LP_UNIT_MAX; i++) {
			uint32_t row = rows[any() % (sizeof rows / sizeof rows[0])];
			/* aese, aesmc and aesd have no Rm. */
			it.code[i] = row | ((uint32_t)any() & (row >> 16 == 0x4e28 ? 0x3ff : 0x1f03ff));
		}
		slot = lp_translate(jit, (uint64_t)it.code, NULL);
		assert_non_null(slot);
		check_unit(atomic_load(&slot->unit), is_cipher_above_15);
	}
	assert_true(nr_of_ciphers > 5000 && nr_above_15 > 5000);
}
#endif

/* ---- names of hosts ---- */

static unsigned without(const char *text)
{
	struct lp_err err = {0};
	unsigned bits = 0;

	assert_int_equal(lp_jit_host_parse(text, &bits, &err), 0);
	return bits;
}

static void a_level_leaves_out_what_came_later_and_single_features_can_be_left_out(void **state)
{
	const unsigned all = (1U << LP_HOST_NR) - 1;

	assert_int_equal(without("native"), 0);
	assert_int_equal(without("native,-gfni,-sha"), LP_HOST_GFNI | LP_HOST_SHA);
	assert_int_equal(without("native,-gfni,+gfni,-gfni"), LP_HOST_GFNI);
	assert_int_equal(without("sse4"), all);
	if (!(lp_host_features() & LP_HOST_V3))
		skip();
	assert_int_equal(without("avx2"), all & ~(unsigned)LP_HOST_V3);
	assert_int_equal(lp_host_usable(LP_HOST_AES | LP_HOST_SHA), 0);
	assert_int_equal(lp_host_usable(LP_HOST_V3 | LP_HOST_AES | LP_HOST_VBMI), LP_HOST_V3 | LP_HOST_AES);
}

static void a_host_that_is_none_is_refused_by_name(void **state)
{
	static const struct {
		const char *text, *culprit;
	} cases[] = {
		{"", "\"\""},
		{"avx3", "\"avx3\""},
		{"AVX2", "\"AVX2\""},
		{"avx2,", "\"\""},
		{"avx2,gfni", "\"gfni\""},
		{"avx2,-", "\"-\""},
		{"avx2,-gfn", "\"-gfn\""},
		{"avx2,,-gfni", "\"\""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct lp_err err = {0};
		unsigned bits;
		assert_int_equal(lp_jit_host_parse(cases[i].text, &bits, &err), -LP_EUSAGE);
		assert_non_null(strstr(err.text, cases[i].culprit));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(translated_code_does_what_the_interpreter_does_on_every_host),
		cmocka_unit_test(what_saturates_sets_qc_and_nothing_else_does),
#ifdef WITH_ZYDIS
		cmocka_unit_test(code_for_hosts_with_sse4_has_no_instruction_that_takes_more),
		cmocka_unit_test(without_vaes_ciphers_work_on_the_lower_registers),
#endif
		cmocka_unit_test(a_level_leaves_out_what_came_later_and_single_features_can_be_left_out),
		cmocka_unit_test(a_host_that_is_none_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
