"""Random instruction streams: the runner's results beside qemu's, for every row of a64.def (tests/differential)."""
import re
import shutil
import subprocess

import pytest

import lib

MAX = "qemu-aarch64 -cpu max,sve=off,sme=off,pauth-impdef=on"
VECTORS = sorted((lib.TOP / "tests" / "vectors" / "a64").glob("*.case"))

BUILT = lib.build_directory() / "tests" / "differential"
RUNNER = lib.build_directory() / "src" / "tool" / "arm64_runner"

pytestmark = pytest.mark.skipif(not (BUILT / "guest").exists(), reason="no aarch64-linux-gnu-gcc when this was built")
with_qemu = pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="no qemu-aarch64 here")
with_runner = pytest.mark.skipif(not RUNNER.exists(), reason="arm64_runner is not built")


def differential(*args, ours=f"{RUNNER} --jit=tier1", expect=0):
    run = subprocess.run([BUILT / "differential", "--ours", str(ours), "--guest", BUILT / "guest", *map(str, args)],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10 * lib.PATIENCE)
    assert run.returncode == expect, f"{args}: exit status {run.returncode}\n{run.stdout[-20000:]}{run.stderr}"
    return run.stdout


def cases_of(out):
    return int(re.search(r"^(\d+) cases of \d+ streams", out, re.MULTILINE)[1])


@pytest.fixture
def wrong_emulator(tmp_path):
    """qemu, with a guest that spoils one bit of some results of MADD."""
    script = tmp_path / "wrong"
    script.write_text(f'#!/bin/sh\nshift\nexec {MAX} {BUILT}/guest_wrong "$@"\n')
    script.chmod(0o755)
    return script


@with_qemu
def test_a_wrong_bit_is_found_and_its_case_is_made_small(wrong_emulator, tmp_path):
    kept = tmp_path / "kept.case"
    out = differential("--alone", "--row", "madd,msub,smulh", "--cases", 3000, "--keep", kept, ours=wrong_emulator, expect=1)
    assert "rows that differ: madd\n" in out
    case = kept.read_text()
    assert len(re.findall("^word ", case, re.MULTILINE)) == 1 and re.search("^word .* (madd|mul) x", case, re.MULTILINE)
    # A product, or a sum, of two: nothing else is left in the registers.
    question = case.split("expect\n")[0]
    assert 1 <= len(re.findall("^x", question, re.MULTILINE)) <= 3 and not re.search("^(v|nzcv|fpcr|fpsr|page)", question, re.MULTILINE)
    assert "1 vectors: 1 failed" in differential("--replay", kept, ours=wrong_emulator, expect=1)
    assert "1 vectors: 0 failed" in differential("--replay", kept, ours=MAX)


@with_qemu
def test_the_same_emulator_twice_gives_the_same_results():
    out = differential("--feature", "base", "--feature", "pauth", "--feature", "lse", "--cases", 10000, ours=MAX)
    assert cases_of(out) == 10000


@with_qemu
def test_an_emulator_that_does_not_run_the_guest_is_no_emulator_without_differences():
    differential("--cases", 2000, ours="false", expect=2)


@with_runner
@with_qemu
def test_streams_of_every_row_do_what_they_do_under_qemu():
    assert cases_of(differential("--cases", 60000, "--seed", 2)) >= 60000


@with_qemu
def test_what_is_specialised_for_hosts_and_operands_does_what_each_rows_own_function_does(monkeypatch):
    monkeypatch.setenv("BARE_PLAIN", "1")
    assert cases_of(differential("--cases", 30000, "--seed", 5, ours=BUILT / "bare")) >= 30000
    monkeypatch.delenv("BARE_PLAIN")
    for cpu in ("Nehalem", "Haswell"):
        assert cases_of(differential("--cases", 20000, "--seed", 6, ours=f"qemu-x86_64 -cpu {cpu} {BUILT}/bare")) >= 20000


@with_runner
@with_qemu
def test_code_that_the_guest_wrote_itself_runs_as_written():
    assert cases_of(differential("--cases", 10000, "--copy", "--seed", 3)) >= 10000


@with_runner
@with_qemu
def test_branches_into_guarded_pages_must_arrive_where_they_may():
    differential("--guarded", "--row", "br,blr,ret,retaa,b,bl,cbz,bti,add_imm,brk,hlt,ldr_x_uimm", "--cases", 20000, "--seed", 7)


@with_runner
@with_qemu
@pytest.mark.parametrize("engine", ["--jit=tier1", "--no-jit"])
def test_a_load_or_store_across_the_end_of_what_is_mapped_leaves_registers_as_under_qemu(engine, tmp_path):
    ours = tmp_path / "ours"
    ours.write_text(f'#!/bin/sh\nexec {RUNNER} {engine} "$@"\n')
    ours.chmod(0o755)
    assert cases_of(differential("--faults", "--alone", "--row", "ld*,st*,swp*,cas*,prf*", "--cases", 20000, "--seed", 8, ours=ours)) >= 20000


@with_runner
@with_qemu
def test_dc_zva_clears_a_block_of_64_bytes():
    differential("--row", "sys", "--zva", "--alone", "--cases", 2000, "--reference", "qemu-aarch64 -cpu neoverse-n1")


@with_runner
@pytest.mark.parametrize("vectors", VECTORS, ids=lambda path: path.name)
def test_what_was_wrong_once_stays_right(vectors):
    differential("--replay", vectors)


@with_runner
@with_qemu
@pytest.mark.sweep
def test_a_million_cases():
    assert cases_of(differential("--cases", 1000000, "--seed", 4)) >= 1000000
