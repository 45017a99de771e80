"""From outside: installed below a DESTDIR, found by pkg-config, linked by C and C++, shared and static."""
import os
import re
import shlex
import subprocess

import pytest

import lib
import library
from library import run

PROGRAM = """
#include <livepatch.h>
#include <cstdio>

static uint32_t memory[4096];

int main()
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	if (!system || livepatch_create_nop(system, 0x4000100, "from outside") < 0) {
		fprintf(stderr, "%s\\n", livepatch_last_error()->text);
		return 1;
	}
	printf("%s %08x ", livepatch_version(), memory[0x40]);
	printf("%d ", livepatch_revert_all(system));
	printf("%08x\\n", memory[0x40]);
	livepatch_cleanup(system);
	return 0;
}
"""
LANGUAGES = {"c": ("gcc", "-std=c99"), "cc": ("g++", "-std=c++11")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    destination = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "-C", str(library.build_directory()), "--no-rebuild", "--destdir", str(destination)],
                   capture_output=True, check=True)
    return destination


@pytest.fixture(scope="module")
def pkg_config(installed):
    """Asks pkg-config about what stands below the DESTDIR, and about the system for the rest."""
    directory = next(installed.rglob("livepatch.pc")).parent

    def ask(*options):
        environment = {**os.environ, "PKG_CONFIG_PATH": str(directory), "PKG_CONFIG_SYSROOT_DIR": ""}
        prefix = re.search(r"^prefix=(.*)$", (directory / "livepatch.pc").read_text(), re.MULTILINE)[1]
        answer = subprocess.run(["pkg-config", f"--define-variable=prefix={installed}{prefix}", *options, "livepatch"],
                                capture_output=True, text=True, env=environment)
        assert answer.returncode == 0, answer.stderr
        return shlex.split(answer.stdout)

    return ask


@pytest.fixture(params=LANGUAGES)
def source(request, tmp_path):
    path = tmp_path / f"program.{request.param}"
    path.write_text(PROGRAM.replace("<cstdio>", "<stdio.h>") if request.param == "c" else PROGRAM)
    return path


def built(source, *options):
    compiler, standard = LANGUAGES[source.suffix[1:]]
    program = source.with_suffix("")
    answer = subprocess.run([compiler, standard, "-pedantic", *library.WARNINGS, *library.sanitizers(), "-o", program, source,
                             *options], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return program


def works(program, **environment):
    said = run(program, env={**os.environ, **environment}).stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+ d503201f 1 00000000\n", said)


def test_a_program_links_with_the_shared_library(source, installed, pkg_config):
    program = built(source, *pkg_config("--cflags", "--libs"))
    works(program, LD_LIBRARY_PATH=str(next(installed.rglob("liblivepatch.so")).parent))
    needed = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    assert re.search(r"NEEDED.*\[liblivepatch\.so\.\d+\]", needed)


def test_a_program_links_with_the_static_library(source, installed, pkg_config):
    """What the library itself needs stays shared: not all of it is there to be linked statically."""
    archive = next(installed.rglob("liblivepatch.a"))
    flags = [str(archive) if flag == "-llivepatch" else flag for flag in pkg_config("--cflags", "--libs", "--static")]
    program = built(source, *flags)
    works(program)
    needed = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    assert "liblivepatch" not in needed


def test_the_installed_library_is_found_by_its_soname_and_exports_only_public_names(installed):
    so = next(installed.rglob("liblivepatch.so"))
    names = subprocess.run(["nm", "-D", "--defined-only", so], capture_output=True, text=True, check=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in names.splitlines()}
    header = next(installed.rglob("livepatch.h")).read_text()
    assert {n for n in exported if n.startswith("livepatch_") or n == "is_nop_instruction"} <= set(re.findall(r"\w+", header))
    assert not [n for n in exported if n.startswith("lp_")]


def test_the_manual_page_and_the_header_are_installed(installed):
    assert list(installed.rglob("man3/livepatch.h.3*")) and list(installed.rglob("include/livepatch.h"))


def test_every_command_that_is_installed_has_a_manual_page(installed):
    commands = {path.name for place in ("bin", "sbin") for path in installed.glob(f"**/{place}/*")}
    pages = {path.name.rsplit(".", 1)[0] for section in "18" for path in installed.glob(f"**/man{section}/*") if path.exists()}
    assert {"livepatch", "livepatchd", "libcare-ctl", "libcare-c++", "kpatch_make"} <= commands
    assert commands <= pages
