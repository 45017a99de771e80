"""Loops over scalars and vectors in the same registers: translated, they end as they do in the interpreter."""
import random

import pytest
import runnerlib

LOOPS = 150
REGISTERS = 6
CONDITIONS = "eq ne gt lt mi hi ls ge le vs".split()

# Runs test(), which stores what each loop has left behind: eight vector registers, FPSR and a sum.
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { SIZE = 8 * 16 + 16 };
void test(void *out, const void *data, void *scratch);
static unsigned char out[LOOPS * SIZE] __attribute__((aligned(16))), scratch[256] __attribute__((aligned(16)));
static unsigned long data[32] __attribute__((aligned(16)));
int main(int argc, char **argv)
{
	srand(atoi(argv[1]));
	for (int i = 0; i < 32; i++) {
		double d = (rand() - 1e9) / (1 + rand() % 100000);
		float f[2] = {(rand() - 1e9) / (1 << 20), rand() * 0.25f};
		switch (rand() % 6) {
		case 0: memcpy(&data[i], f, 8); break;
		case 1: data[i] = 0; break;
		case 2: data[i] = rand() % 9 ? 0x3ff0000000000000 : 0x7ff8000000000001; break;
		default: memcpy(&data[i], &d, 8);
		}
	}
	test(out, data, scratch);
	for (int i = 0; i < LOOPS; i++)
		for (int k = 0; k < SIZE; k += 8)
			printf("%016lx%c", *(unsigned long *)(out + i * SIZE + k), k + 8 < SIZE ? ' ' : '\\n');
	for (int k = 0; k < 256; k += 8)
		printf("%016lx ", *(unsigned long *)(scratch + k));
}
"""


def instruction(pick):
    a, b, c, d = (pick.randrange(REGISTERS) for _ in range(4))
    s, lane, place, condition = pick.choice("sd"), pick.randrange(2), 16 * pick.randrange(8), pick.choice(CONDITIONS)
    return pick.choice([
        f"fadd {s}{a}, {s}{b}, {s}{c}", f"fmul {s}{a}, {s}{b}, {s}{c}", f"fsub {s}{a}, {s}{b}, {s}{c}",
        f"fdiv {s}{a}, {s}{b}, {s}{c}", f"fsqrt {s}{a}, {s}{b}", f"fmadd {s}{a}, {s}{b}, {s}{c}, {s}{d}",
        f"fmaxnm {s}{a}, {s}{b}, {s}{c}", f"fneg {s}{a}, {s}{b}", f"fabs {s}{a}, {s}{b}", f"fmov {s}{a}, {s}{b}",
        f"frintm {s}{a}, {s}{b}", f"fcvt d{a}, s{b}", f"fcvt s{a}, d{b}", f"scvtf {s}{a}, w2", f"fcmgt {s}{a}, {s}{b}, {s}{c}",
        f"fcvtzs x5, {s}{a}\n add x6, x6, x5", f"fcmp {s}{a}, {s}{b}\n fcsel {s}{c}, {s}{a}, {s}{d}, {condition}",
        f"fccmp {s}{a}, {s}{b}, #{pick.randrange(16)}, {condition}\n cset w5, {pick.choice(CONDITIONS)}\n add x6, x6, x5",
        f"fmul {s}{a}, {s}{b}, v{c}.{s}[{lane}]", f"fmls {s}{a}, {s}{b}, v{c}.{s}[0]", f"faddp {s}{a}, v{b}.2{s}",
        f"fadd v{a}.2d, v{b}.2d, v{c}.2d", f"fmla v{a}.4s, v{b}.4s, v{c}.4s", f"fmla v{a}.2s, v{b}.2s, v{c}.2s",
        f"fmul v{a}.2d, v{b}.2d, v{c}.d[{lane}]", f"fcvtn2 v{a}.4s, v{b}.2d", f"mov v{a}.16b, v{b}.16b",
        f"add v{a}.4s, v{b}.4s, v{c}.4s", f"zip1 v{a}.4s, v{b}.4s, v{c}.4s", f"ins v{a}.d[1], v{b}.d[0]",
        f"fmov x5, d{a}\n eor x6, x6, x5", f"fmov x5, v{a}.d[1]\n add x6, x6, x5",
        f"ldr {pick.choice('sdq')}{a}, [x3, #{place}]", f"str {pick.choice('sdq')}{a}, [x4, #{place}]"])


def loop(pick, i):
    yield from (f"ldr q{k}, [x3, #{16 * ((i * 7 + k * 3) % 16)}]" for k in range(8))
    yield from (f"mov w2, #{pick.randrange(2, 6)}", "b 1f", ".p2align 4", "1:")
    for _ in range(pick.randrange(3, 11)):
        if pick.randrange(12) == 0:
            yield "cbz x6, 2f"
        yield instruction(pick)
    yield "sub w2, w2, #1"
    yield pick.choice(["cbnz w2, 1b", "cmp w2, #0\n b.ne 1b", "cmp w2, #0\n b.gt 1b"])
    yield "2:"
    yield from (f"str q{k}, [x0], #16" for k in range(8))
    yield from ("mrs x5, fpsr", "stp x5, x6, [x0], #16")


def program(seed):
    pick = random.Random(seed)
    lines = [".text", ".global test", "test:", "mov x6, #0", "mov x4, x2", "mov x3, x1"]
    for i in range(LOOPS):
        lines += loop(pick, i)
    lines.append("ret")
    text = "".join(f'"{line}\\n"\n' for whole in lines for line in whole.split("\n"))
    return f"enum {{ LOOPS = {LOOPS} }};\n{DRIVER}\n__asm__({text});\n"


@pytest.mark.left_out("no", reason="it compares with the interpreter")
@pytest.mark.parametrize("seed", range(1, 5))
def test_loops_end_as_they_do_in_the_interpreter(seed, tmp_path):
    binary = runnerlib.compiled(program(seed), where=tmp_path)
    for numbers in range(3):
        interpreted = runnerlib.run([binary, numbers], options=["--no-jit"])
        translated = runnerlib.run([binary, numbers])
        assert interpreted.status == translated.status == 0
        assert interpreted.stdout.count(b"\n") == LOOPS
        for i, (expected, seen) in enumerate(zip(interpreted.stdout.splitlines(), translated.stdout.splitlines(), strict=True)):
            assert seen == expected, f"loop {i} of seed {seed}, numbers {numbers}"
