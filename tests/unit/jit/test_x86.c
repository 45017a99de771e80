/*
 * The encoder's integer part: what is written is decoded by Zydis and compared with what was asked for.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "decoded.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const unsigned regs[] = {LP_RAX, LP_RSP, LP_RBP, LP_RDI, LP_R8, LP_R13, LP_R15};
static const int32_t imms[] = {0, 1, 127, -128, 128, -129, 0x12345678, INT32_MIN};

#define EACH_REG(reg)               \
	const unsigned *reg = regs; \
	reg < regs + COUNT(regs);   \
	reg++
#define EACH_IMM(imm)              \
	const int32_t *imm = imms; \
	imm < imms + COUNT(imms);  \
	imm++
#define EACH_W(w)       \
	unsigned w = 0; \
	w < 2;          \
	w++
#define EACH_BYTES(bytes)   \
	unsigned bytes = 1; \
	bytes <= 8;         \
	bytes *= 2

/* The immediate of an operand of so many bytes, as it reads. */
static const char *imm_text(int32_t imm, unsigned bytes)
{
	return bytes == 8   ? hex(imm)
	       : bytes == 4 ? hex((uint32_t)imm)
	       : bytes == 2 ? hex((uint16_t)imm)
			    : hex((uint8_t)imm);
}

static void any_register_and_any_memory_can_be_an_operand(void **state)
{
	for (EACH_MEMORY(rm)) {
		lp_x86_mov(&x, 1, LP_RDX, *rm);
		expect("mov rdx, %s", rm_text(*rm, 8));
		lp_x86_mov_to(&x, 0, *rm, LP_R9);
		expect("mov %s, r9d", rm_text(*rm, 4));
		lp_x86_shlx(&x, 1, LP_RDX, *rm, LP_R10);
		expect("shlx rdx, %s, r10", rm_text(*rm, 8));
	}
	for (EACH_BYTES(bytes))
		for (unsigned reg = 0; reg < 16; reg++)
			for (unsigned other = 0; other < 16; other++) {
				lp_x86_store(&x, bytes, lp_rm_reg(other), reg);
				expect("mov %s, %s", reg_text(other, bytes), reg_text(reg, bytes));
			}
}

static void addresses_are_relative_to_where_the_code_runs(void **state)
{
	static const int64_t offsets[] = {0, 0x100000, -0x7000, 0x7ffffff0, -0x7ffffff0};
	uintptr_t here = (uintptr_t)x.at;

	for (size_t i = 0; i < COUNT(offsets); i++) {
		struct lp_x86_rm near = lp_rm_abs((const void *)(here + (uintptr_t)offsets[i] + 0x7ffffff0)),
				 far = near;

		start(offsets[i]);
		lp_x86_mov(&x, 1, LP_RAX, near);
		assert_false(x.out_of_reach);
		expect("mov rax, %s", rm_text(near, 8));
		lp_x86_lea(&x, 1, LP_R9, near);
		expect("lea r9, %s", rm_text(near, 0));
		lp_x86_alu_imm(&x, LP_ALU_CMP, 0, near, 5); /* an immediate behind the displacement */
		expect("cmp %s, 0x5", rm_text(near, 4));
		lp_x86_alu_imm(&x, LP_ALU_CMP, 1, near, 500);
		expect("cmp %s, 0x1f4", rm_text(near, 8));
		lp_x86_rorx(&x, 1, LP_RAX, near, 7);
		expect("rorx rax, %s, 0x7", rm_text(near, 8));

		far.address = (const void *)(here + (uintptr_t)offsets[i] + 0x80000010);
		lp_x86_mov(&x, 1, LP_RAX, far);
		assert_true(x.out_of_reach);
		start(offsets[i]);
		far.address = (const void *)(here + (uintptr_t)offsets[i] - 0x80000010);
		lp_x86_mov(&x, 1, LP_RAX, far);
		assert_true(x.out_of_reach);
	}
	start(0x100000);
}

static void arithmetic_takes_registers_memory_and_immediates(void **state)
{
	static const char *const names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};

	for (unsigned op = 0; op < 8; op++)
		for (EACH_FORM(rm)) {
			for (EACH_REG(reg)) {
				for (EACH_W(w)) {
					lp_x86_alu(&x, op, w, *reg, *rm);
					expect("%s %s, %s", names[op], reg_text(*reg, 4 << w), rm_text(*rm, 4 << w));
					lp_x86_alu_to(&x, op, w, *rm, *reg);
					expect("%s %s, %s", names[op], rm_text(*rm, 4 << w), reg_text(*reg, 4 << w));
				}
				for (EACH_BYTES(bytes)) {
					lp_x86_alu_sized(&x, op, bytes, *reg, *rm);
					expect("%s %s, %s", names[op], reg_text(*reg, bytes), rm_text(*rm, bytes));
					lp_x86_alu_to_sized(&x, op, bytes, *rm, *reg);
					expect("%s %s, %s", names[op], rm_text(*rm, bytes), reg_text(*reg, bytes));
				}
			}
			for (EACH_IMM(imm)) {
				for (EACH_W(w)) {
					lp_x86_alu_imm(&x, op, w, *rm, *imm);
					expect("%s %s, %s", names[op], rm_text(*rm, 4 << w), imm_text(*imm, 4 << w));
				}
				for (EACH_BYTES(bytes)) {
					lp_x86_alu_imm_sized(&x, op, bytes, *rm, *imm);
					expect("%s %s, %s", names[op], rm_text(*rm, bytes), imm_text(*imm, bytes));
				}
			}
		}
}

static void tests_take_registers_and_immediates(void **state)
{
	for (EACH_FORM(rm))
		for (EACH_BYTES(bytes)) {
			for (EACH_REG(reg)) {
				lp_x86_test_sized(&x, bytes, *rm, *reg);
				expect("test %s, %s", rm_text(*rm, bytes), reg_text(*reg, bytes));
			}
			for (EACH_IMM(imm)) {
				lp_x86_test_imm_sized(&x, bytes, *rm, *imm);
				expect("test %s, %s", rm_text(*rm, bytes), imm_text(*imm, bytes));
			}
		}
	lp_x86_test(&x, 1, lp_rm_reg(LP_R9), LP_RAX);
	expect("test r9, rax");
	lp_x86_test_imm(&x, 0, lp_rm_reg(LP_R9), 0x80);
	expect("test r9d, 0x80");
}

static void one_operand_is_enough_for_some(void **state)
{
	static const struct {
		void (*emit)(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm);
		const char *name;
	} of[] = {
		{lp_x86_not, "not"},	{lp_x86_neg, "neg"}, {lp_x86_mul, "mul"},
		{lp_x86_imul1, "imul"}, {lp_x86_div, "div"}, {lp_x86_idiv, "idiv"},
	};

	for (size_t i = 0; i < COUNT(of); i++)
		for (EACH_FORM(rm))
			for (EACH_W(w)) {
				of[i].emit(&x, w, *rm);
				expect("%s %s", of[i].name, rm_text(*rm, 4 << w));
			}
}

static void a_register_is_made_of_an_operand(void **state)
{
	static const struct {
		void (*emit)(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm);
		const char *name;
	} of[] = {
		{lp_x86_imul, "imul"}, {lp_x86_lzcnt, "lzcnt"}, {lp_x86_tzcnt, "tzcnt"}, {lp_x86_popcnt, "popcnt"},
		{lp_x86_mov, "mov"},   {lp_x86_blsr, "blsr"},	{lp_x86_blsi, "blsi"},
	};

	for (size_t i = 0; i < COUNT(of); i++)
		for (EACH_FORM(rm))
			for (EACH_REG(reg))
				for (EACH_W(w)) {
					of[i].emit(&x, w, *reg, *rm);
					expect("%s %s, %s", of[i].name, reg_text(*reg, 4 << w), rm_text(*rm, 4 << w));
				}
	for (EACH_FORM(rm))
		for (EACH_REG(reg))
			for (EACH_IMM(imm))
				for (EACH_W(w)) {
					lp_x86_imul_imm(&x, w, *reg, *rm, *imm);
					expect("imul %s, %s, %s", reg_text(*reg, 4 << w), rm_text(*rm, 4 << w),
					       imm_text(*imm, 4 << w));
				}
	for (EACH_MEMORY(rm)) {
		lp_x86_lea(&x, 1, LP_R11, *rm);
		expect("lea r11, %s", rm_text(*rm, 0));
		lp_x86_lea(&x, 0, LP_RBX, *rm);
		expect("lea ebx, %s", rm_text(*rm, 0));
	}
}

static void shifts_go_by_a_number_or_by_cl(void **state)
{
	static const char *const names[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", NULL, "sar"};
	static const unsigned counts[] = {0, 1, 2, 31, 63};

	for (EACH_FORM(rm))
		for (EACH_W(w)) {
			for (unsigned op = 0; op < 8; op++) {
				if (!names[op])
					continue;
				lp_x86_shift_cl(&x, op, w, *rm);
				expect("%s %s, cl", names[op], rm_text(*rm, 4 << w));
				for (size_t i = 0; i < COUNT(counts); i++) {
					lp_x86_shift_imm(&x, op, w, *rm, counts[i]);
					expect("%s %s, %s", names[op], rm_text(*rm, 4 << w), hex(counts[i]));
				}
			}
			for (EACH_REG(reg)) {
				lp_x86_shld(&x, w, *rm, *reg, 29);
				expect("shld %s, %s, 0x1d", rm_text(*rm, 4 << w), reg_text(*reg, 4 << w));
				lp_x86_shrd(&x, w, *rm, *reg, 3);
				expect("shrd %s, %s, 0x3", rm_text(*rm, 4 << w), reg_text(*reg, 4 << w));
				lp_x86_rorx(&x, w, *reg, *rm, 30);
				expect("rorx %s, %s, 0x1e", reg_text(*reg, 4 << w), rm_text(*rm, 4 << w));
			}
		}
}

static void three_operands_need_no_moves(void **state)
{
	static const struct {
		void (*emit)(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned reg);
		const char *name;
	} rm_first[] = {
		{lp_x86_shlx, "shlx"},	 {lp_x86_shrx, "shrx"}, {lp_x86_sarx, "sarx"},
		{lp_x86_bextr, "bextr"}, {lp_x86_bzhi, "bzhi"},
	};
	static const struct {
		void (*emit)(struct lp_x86 *x, unsigned w, unsigned dst, unsigned reg, struct lp_x86_rm rm);
		const char *name;
	} rm_last[] = {
		{lp_x86_andn, "andn"},
		{lp_x86_pdep, "pdep"},
		{lp_x86_pext, "pext"},
		{lp_x86_mulx, "mulx"},
	};

	for (EACH_FORM(rm))
		for (EACH_REG(dst))
			for (EACH_REG(reg))
				for (EACH_W(w)) {
					const char *to = reg_text(*dst, 4 << w), *with = reg_text(*reg, 4 << w);

					for (size_t i = 0; i < COUNT(rm_first); i++) {
						rm_first[i].emit(&x, w, *dst, *rm, *reg);
						expect("%s %s, %s, %s", rm_first[i].name, to, rm_text(*rm, 4 << w),
						       with);
					}
					for (size_t i = 0; i < COUNT(rm_last); i++) {
						rm_last[i].emit(&x, w, *dst, *reg, *rm);
						expect("%s %s, %s, %s", rm_last[i].name, to, with,
						       rm_text(*rm, 4 << w));
					}
				}
}

static void single_bits_are_tested_and_changed(void **state)
{
	static const char *const names[] = {"bt", "bts", "btr", "btc"};

	for (unsigned op = 0; op < 4; op++)
		for (EACH_FORM(rm))
			for (EACH_W(w)) {
				lp_x86_bt_imm(&x, op, w, *rm, 17);
				expect("%s %s, 0x11", names[op], rm_text(*rm, 4 << w));
				for (EACH_REG(reg)) {
					lp_x86_bt(&x, op, w, *rm, *reg);
					expect("%s %s, %s", names[op], rm_text(*rm, 4 << w), reg_text(*reg, 4 << w));
				}
			}
}

static void bytes_are_swapped_and_summed(void **state)
{
	for (EACH_REG(reg)) {
		for (EACH_W(w)) {
			lp_x86_bswap(&x, w, *reg);
			expect("bswap %s", reg_text(*reg, 4 << w));
		}
		for (EACH_FORM(rm))
			for (EACH_BYTES(bytes)) {
				lp_x86_crc32(&x, bytes, *reg, *rm);
				expect("crc32 %s, %s", reg_text(*reg, bytes == 8 ? 8 : 4), rm_text(*rm, bytes));
			}
	}
}

static void moves_have_every_size(void **state)
{
	for (EACH_FORM(rm))
		for (EACH_BYTES(bytes)) {
			for (EACH_REG(reg)) {
				lp_x86_store(&x, bytes, *rm, *reg);
				expect("mov %s, %s", rm_text(*rm, bytes), reg_text(*reg, bytes));
				lp_x86_load(&x, bytes, *reg, *rm);
				expect("%s %s, %s", bytes < 4 ? "movzx" : "mov", reg_text(*reg, bytes == 8 ? 8 : 4),
				       rm_text(*rm, bytes));
				for (unsigned w = bytes == 4; w < 2 && bytes < 8; w++) {
					lp_x86_load_signed(&x, bytes, w, *reg, *rm);
					expect("%s %s, %s", bytes == 4 ? "movsxd" : "movsx", reg_text(*reg, 4 << w),
					       rm_text(*rm, bytes));
				}
			}
			for (EACH_IMM(imm)) {
				lp_x86_store_imm(&x, bytes, *rm, *imm);
				expect("mov %s, %s", rm_text(*rm, bytes), imm_text(*imm, bytes));
			}
		}
	for (EACH_FORM(rm))
		for (EACH_W(w)) {
			lp_x86_mov_to(&x, w, *rm, LP_R10);
			expect("mov %s, %s", rm_text(*rm, 4 << w), reg_text(LP_R10, 4 << w));
		}
}

static void constants_take_the_shortest_form(void **state)
{
	static const struct {
		uint64_t value;
		unsigned len; /* for a lower register */
	} of[] = {
		{0, 5},
		{1, 5},
		{0xffffffff, 5},
		{0x80000000, 5},
		{UINT64_MAX, 7},
		{(uint64_t)INT32_MIN, 7},
		{0x100000000, 10},
		{(uint64_t)INT32_MIN - 1, 10},
		{0x123456789abcdef0, 10},
	};

	for (EACH_REG(reg))
		for (size_t i = 0; i < COUNT(of); i++) {
			const uint8_t *from = x.at;

			lp_x86_mov_imm(&x, *reg, of[i].value);
			assert_int_equal(x.at - from, of[i].len + (*reg >= LP_R8 && of[i].len == 5));
			expect("mov %s, %s", reg_text(*reg, of[i].len == 5 ? 4 : 8), hex(of[i].value));
		}
}

static const char *const cc_names[] = {"o", "no", "b", "nb", "z", "nz", "be", "nbe",
				       "s", "ns", "p", "np", "l", "nl", "le", "nle"};

static const char *jcc_text(unsigned cc)
{
	static char name[8];

	snprintf(name, sizeof(name), "j%s", cc_names[cc]);
	return name;
}

static void conditions_choose(void **state)
{
	for (unsigned cc = 0; cc < 16; cc++) {
		const uint8_t *target = x.at + 0x110000;

		for (EACH_FORM(rm)) {
			lp_x86_setcc(&x, cc, *rm);
			expect("set%s %s", cc_names[cc], rm_text(*rm, 1));
			for (EACH_REG(reg))
				for (EACH_W(w)) {
					lp_x86_cmov(&x, cc, w, *reg, *rm);
					expect("cmov%s %s, %s", cc_names[cc], reg_text(*reg, 4 << w),
					       rm_text(*rm, 4 << w));
				}
		}
		lp_x86_jcc(&x, cc, target);
		expect("%s %s", jcc_text(cc), hex((uint64_t)target));
	}
}

static void the_stack_is_pushed_and_popped(void **state)
{
	for (EACH_FORM(rm)) {
		lp_x86_push_rm(&x, *rm);
		expect("push %s", rm_text(*rm, 8));
		lp_x86_pop_rm(&x, *rm);
		expect("pop %s", rm_text(*rm, 8));
	}
	for (EACH_REG(reg)) {
		lp_x86_push(&x, *reg);
		expect("push %s", reg_text(*reg, 8));
		lp_x86_pop(&x, *reg);
		expect("pop %s", reg_text(*reg, 8));
	}
	for (EACH_IMM(imm)) {
		lp_x86_push_imm(&x, *imm);
		expect("push %s", imm_text(*imm, 8));
	}
}

static void some_have_no_operands(void **state)
{
	static const struct {
		void (*emit)(struct lp_x86 *x);
		const char *name;
	} of[] = {
		{lp_x86_cdq, "cdq"}, {lp_x86_cqo, "cqo"}, {lp_x86_lahf, "lahf"}, {lp_x86_sahf, "sahf"},
		{lp_x86_cmc, "cmc"}, {lp_x86_clc, "clc"}, {lp_x86_stc, "stc"},	 {lp_x86_mfence, "mfence"},
		{lp_x86_ret, "ret"}, {lp_x86_ud2, "ud2"}, {lp_x86_int3, "int3"}, {lp_x86_pause, "pause"},
	};

	for (size_t i = 0; i < COUNT(of); i++) {
		of[i].emit(&x);
		expect("%s", of[i].name);
	}
}

static void atomic_operations_are_locked(void **state)
{
	static const char *const names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor"};

	for (EACH_FORM(rm)) {
		if (rm->kind == LP_RM_REG)
			continue;
		lp_x86_prefetcht0(&x, *rm);
		expect("prefetcht0 %s", rm_text(*rm, 1));
		lp_x86_lock_cmpxchg16b(&x, *rm);
		expect("lock cmpxchg16b %s", rm_text(*rm, 16));
		for (EACH_BYTES(bytes)) {
			for (EACH_IMM(imm)) {
				lp_x86_lock_alu_imm(&x, LP_ALU_AND, bytes, *rm, *imm);
				expect("lock and %s, %s", rm_text(*rm, bytes), imm_text(*imm, bytes));
			}
			for (EACH_REG(reg)) {
				const char *to = rm_text(*rm, bytes), *from = reg_text(*reg, bytes);

				lp_x86_xchg(&x, bytes, *rm, *reg);
				expect("xchg %s, %s", to, from);
				lp_x86_lock_cmpxchg(&x, bytes, *rm, *reg);
				expect("lock cmpxchg %s, %s", to, from);
				lp_x86_lock_xadd(&x, bytes, *rm, *reg);
				expect("lock xadd %s, %s", to, from);
				for (unsigned op = 0; op < COUNT(names); op++) {
					lp_x86_lock_alu(&x, op, bytes, *rm, *reg);
					expect("lock %s %s, %s", names[op], to, from);
				}
			}
		}
	}
}

static void jumps_and_calls_reach_their_targets(void **state)
{
	static const int64_t distances[] = {0x123, -0x12345, 0x7fffff00, -0x7fffff00};

	for (EACH_FORM(rm)) {
		lp_x86_call_rm(&x, *rm);
		expect("call %s", rm_text(*rm, 8));
		lp_x86_jmp_rm(&x, *rm);
		expect("jmp %s", rm_text(*rm, 8));
	}
	for (size_t i = 0; i < COUNT(distances); i++) {
		const void *target = (const void *)(uintptr_t)(lp_x86_here(&x) + (uint64_t)distances[i]);

		lp_x86_call(&x, target);
		expect("call %s", hex((uint64_t)target));
		lp_x86_jmp(&x, target);
		expect("jmp %s", hex((uint64_t)target));
	}
	lp_x86_jmp(&x, (const void *)(uintptr_t)(lp_x86_here(&x) + 0x80000005));
	assert_true(x.out_of_reach);
	start(x.run_offset);
	lp_x86_jmp(&x, (const void *)(uintptr_t)(lp_x86_here(&x) + 0x80000004));
	assert_false(x.out_of_reach);
	start(x.run_offset);
}

static struct lp_x86 elsewhere(uint8_t *bytes, size_t size, int64_t run_offset)
{
	memset(bytes, 0xcc, size);
	return (struct lp_x86){.at = bytes, .end = bytes + size, .run_offset = run_offset};
}

static void a_forward_jump_goes_where_it_is_bound(void **state)
{
	static struct lp_x86_fixup (*const makers[])(struct lp_x86 *) = {
		lp_x86_jmp_forward,
		lp_x86_jmp_forward_short,
		lp_x86_jrcxz_forward_short,
	};
	static const char *const names[] = {"jmp", "jmp", "jrcxz"};
	static struct lp_x86_fixup (*const conditional[])(struct lp_x86 *, enum lp_x86_cc) = {
		lp_x86_jcc_forward,
		lp_x86_jcc_forward_short,
	};
	static const size_t gaps[] = {0, 1, 100, 127, 128, 1000};
	uint8_t bytes[1100];

	for (size_t m = 0; m < COUNT(makers) + COUNT(conditional) * 16; m++)
		for (size_t g = 0; g < COUNT(gaps); g++) {
			struct lp_x86 it = elsewhere(bytes, sizeof(bytes), 0x5000);
			size_t c = m - COUNT(makers);
			struct lp_x86_fixup fixup =
				m < COUNT(makers) ? makers[m](&it) : conditional[c / 16](&it, (enum lp_x86_cc)(c % 16));

			lp_x86_nop(&it, gaps[g]);
			lp_x86_bind(&it, fixup);
			if (fixup.small && gaps[g] > 127) {
				assert_true(it.out_of_reach);
				continue;
			}
			assert_false(it.out_of_reach);
			expect_branch(bytes, &it, m < COUNT(makers) ? names[m] : jcc_text(c % 16), lp_x86_here(&it));
		}
}

static void a_jump_back_takes_the_shorter_form(void **state)
{
	static const size_t gaps[] = {0, 1, 126, 127, 1000};
	uint8_t bytes[1100];

	for (size_t g = 0; g < COUNT(gaps); g++)
		for (unsigned cc = 0; cc <= 16; cc++) {
			struct lp_x86 it = elsewhere(bytes, sizeof(bytes), -0x5000);

			lp_x86_nop(&it, gaps[g]);
			if (cc == 16)
				lp_x86_jmp_back(&it, bytes);
			else
				lp_x86_jcc_back(&it, cc, bytes);
			assert_int_equal(it.at - bytes - (ptrdiff_t)gaps[g], gaps[g] <= 126 ? 2 : cc == 16 ? 5 : 6);
			expect_branch(bytes + gaps[g], &it, cc == 16 ? "jmp" : jcc_text(cc), (uint64_t)bytes - 0x5000);
		}
}

static void what_was_written_runs_elsewhere(void **state)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("code", MFD_CLOEXEC);
	uint64_t (*sum)(uint64_t);
	static uint64_t calls;

	assert_return_code(ftruncate(fd, (off_t)size), errno);
	uint8_t *written = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t *executed = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	assert_true(written != MAP_FAILED && executed != MAP_FAILED);

	struct lp_x86 it = {.at = written, .end = written + size, .run_offset = (intptr_t)executed - (intptr_t)written};
	/* the slot of a call, reached by address */
	lp_x86_put64(&it, (uint64_t)executed + 8);
	lp_x86_lock_alu_imm(&it, LP_ALU_ADD, 8, lp_rm_mem(LP_RSI, 0), 1);
	lp_x86_ret(&it);

	memcpy(&sum, &(uint8_t *){executed + (it.at - written)}, sizeof(sum));
	lp_x86_mov_imm(&it, LP_RSI, (uint64_t)&calls);
	lp_x86_mov_imm(&it, LP_RAX, 0);
	lp_x86_test(&it, 1, lp_rm_reg(LP_RDI), LP_RDI);
	struct lp_x86_fixup zero = lp_x86_jcc_forward(&it, LP_CC_E);
	uint8_t *again = it.at;
	lp_x86_alu(&it, LP_ALU_ADD, 1, LP_RAX, lp_rm_reg(LP_RDI));
	lp_x86_call_rm(&it, lp_rm_abs(executed));
	lp_x86_alu_imm(&it, LP_ALU_SUB, 1, lp_rm_reg(LP_RDI), 1);
	lp_x86_jcc_back(&it, LP_CC_NE, again);
	lp_x86_bind(&it, zero);
	lp_x86_ret(&it);
	assert_false(it.out_of_reach);

	assert_int_equal(sum(100), 5050);
	assert_int_equal(calls, 100);
	assert_int_equal(sum(0), 0);
	munmap(written, size);
	munmap(executed, size);
	close(fd);
}

static void nothing_is_done_in_any_number_of_bytes(void **state)
{
	uint8_t bytes[64];

	for (size_t n = 0; n < 40; n++) {
		struct lp_x86 it = elsewhere(bytes, sizeof(bytes), 0);

		lp_x86_nop(&it, n);
		assert_int_equal(it.at - bytes, n);
		assert_int_equal(*it.at, 0xcc);
		assert_int_equal(count_nops(bytes, n), (n + 8) / 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(any_register_and_any_memory_can_be_an_operand, start_over),
		cmocka_unit_test_setup(addresses_are_relative_to_where_the_code_runs, start_over),
		cmocka_unit_test_setup(arithmetic_takes_registers_memory_and_immediates, start_over),
		cmocka_unit_test_setup(tests_take_registers_and_immediates, start_over),
		cmocka_unit_test_setup(one_operand_is_enough_for_some, start_over),
		cmocka_unit_test_setup(a_register_is_made_of_an_operand, start_over),
		cmocka_unit_test_setup(shifts_go_by_a_number_or_by_cl, start_over),
		cmocka_unit_test_setup(three_operands_need_no_moves, start_over),
		cmocka_unit_test_setup(single_bits_are_tested_and_changed, start_over),
		cmocka_unit_test_setup(bytes_are_swapped_and_summed, start_over),
		cmocka_unit_test_setup(moves_have_every_size, start_over),
		cmocka_unit_test_setup(constants_take_the_shortest_form, start_over),
		cmocka_unit_test_setup(conditions_choose, start_over),
		cmocka_unit_test_setup(the_stack_is_pushed_and_popped, start_over),
		cmocka_unit_test_setup(some_have_no_operands, start_over),
		cmocka_unit_test_setup(atomic_operations_are_locked, start_over),
		cmocka_unit_test_setup(jumps_and_calls_reach_their_targets, start_over),
		cmocka_unit_test_setup(a_forward_jump_goes_where_it_is_bound, start_over),
		cmocka_unit_test_setup(a_jump_back_takes_the_shorter_form, start_over),
		cmocka_unit_test_setup(what_was_written_runs_elsewhere, start_over),
		cmocka_unit_test_setup(nothing_is_done_in_any_number_of_bytes, start_over),
	};

	return cmocka_run_group_tests(tests, make_operands, NULL);
}
