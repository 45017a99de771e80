#!/usr/bin/env python3
"""What gen_table.py refuses, and what it lets pass: check_gen_table.py GEN_TABLE.PY"""
import subprocess
import sys
import tempfile
from pathlib import Path

FIELDS = "field lsb width\nRd 0 5\nRn 5 5\nQ 30 1\nsize 22 2\n"

CASES = [
    # name, rows, what is said (None: accepted)
    ("rows_that_differ_in_fixed_bits_pass",
     "a 000000000000000000000000000 Rd\n\ta Xd\nb 000000000000000000000000001 Rd\n\tb Xd\n", None),
    ("two_rows_that_share_a_word_are_refused",
     "a 0000000000000000000000 Rn Rd\n\ta Xd, Xn\nb 000000000000000000000000001 Rd\n\tb Xd\n", "a and b share 0x00000020"),
    ("a_constraint_may_make_the_exception",
     "a 0000000000000000000000 Rn Rd when Rn != 1\n\ta Xd, Xn\nb 000000000000000000000000001 Rd\n\tb Xd\n", None),
    ("constraints_that_leave_one_common_word_are_refused",
     "a 0000000000000000000000 Rn Rd when Rn < 8\n\ta Xd, Xn\nb 0000000000000000000000 Rn Rd when Rn > 6\n\tb Xd, Xn\n",
     "a and b share 0x000000e0"),
    ("a_pattern_of_31_bits_is_refused", "a 0000000000000000000000000000000\n\ta\n", "31 bits"),
    ("a_field_out_of_its_place_is_refused", "a 000000000000000000000000000 Rn\n\ta Xn\n", "Rn stands at bit 0"),
    ("an_unknown_field_in_a_constraint_is_refused", "a 000000000000000000000000000 Rd when Rq == 1\n\ta Xd\n", "no field Rq"),
    ("a_word_without_a_text_is_refused", "a 000000000000000000000000000 Rd\n\ta Xd if Rd == 1\n", "no text for 0x00000000"),
    ("texts_that_share_all_words_pass", "a 000000000000000000000000000 Rd\n\ta Xd if Rd < 9\n\tb Xd if Rd > 8\n", None),
    ("a_text_only_for_the_assembler_is_no_text", "a 000000000000000000000000000 Rd\n\talso a Xd\n", "no text for 0x00000000"),
    ("an_unknown_operand_is_refused", "a 000000000000000000000000000 Rd\n\ta Xq\n", "unknown operand Xq"),
]


def run(generator, rows, directory):
    table = directory / "t.def"
    table.write_text(FIELDS + "# ---- rows ----\n" + rows)
    return subprocess.run([sys.executable, generator, table, directory / "ops.h", directory / "rows.inc", directory / "table.inc"], capture_output=True,
                          text=True)


def is_right(result, said):
    if said is None:
        return result.returncode == 0
    return result.returncode != 0 and said in result.stderr


def main():
    failed = 0
    print(f"1..{len(CASES)}")
    with tempfile.TemporaryDirectory() as directory:
        for number, (name, rows, said) in enumerate(CASES, 1):
            result = run(sys.argv[1], rows, Path(directory))
            good = is_right(result, said)
            failed += not good
            print(f"{'ok' if good else 'not ok'} {number} - {name}")
            if not good:
                print(f"# status {result.returncode}: {result.stderr.strip()}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
