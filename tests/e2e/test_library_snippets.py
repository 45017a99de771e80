"""What the two documents about livepatch.h print, compiled and run as it is printed; their patch files, loaded as they are."""
import os

import pytest

import library
from library import run, snippet_program

FIRST = library.snippets("tests/snippets/document_000.md")
SECOND = library.snippets("tests/snippets/document_001.md")
ALL = {**FIRST, **SECOND}
HEX = "1f200071 00309f1a"  # cmp w0, #8; csel w0, w0, wzr, lo

both_compilers = pytest.mark.parametrize("compiler", library.compilers())
both_languages = pytest.mark.parametrize("language", ["en", "ru"])


@pytest.fixture
def loader(tmp_path):
    """Loads a file into memory that covers the addresses of the documents, and lists what is active then."""
    return library.compiled(tmp_path, library.PROGRAMS / "load.c", compiler=library.compilers()[0])


def loaded(loader, path, expect=0):
    return run(loader, path, expect=expect)


@both_compilers
@both_languages
def test_the_first_documents_program_patches_inserts_loads_reloads_and_lists(tmp_path, language, compiler):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "patch.json").write_text(
        '[{"type": "INLINE", "addr": "0x4003000", "instr": "0xD503201F", "desc": "from the file"}]')
    program = snippet_program(tmp_path, compiler, FIRST[f"api_{language}"])
    table = run(program, cwd=tmp_path).stdout
    assert all(text in table for text in ("NOP patch", "New handler", "from the file"))


@both_compilers
def test_the_first_documents_program_goes_on_when_its_own_patch_file_overlaps_with_it(tmp_path, compiler):
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "patch.json").write_text(FIRST["json_en"].text.replace("...", HEX))
    program = snippet_program(tmp_path, compiler, FIRST["api_en"])
    table = run(program, "overlap", cwd=tmp_path).stdout
    assert "New handler" in table and "Insert code" not in table


@both_compilers
@pytest.mark.parametrize("name", [name for name in SECOND if name.startswith("declare_")])
def test_the_declarations_printed_are_those_of_the_header(tmp_path, name, compiler):
    run(snippet_program(tmp_path, compiler, SECOND[name]))


@both_compilers
@both_languages
def test_the_debug_switch_makes_the_library_talk_on_standard_error(tmp_path, language, compiler):
    program = snippet_program(tmp_path, compiler, FIRST[f"debug_{language}"])
    assert "0x4000100" in run(program).stderr
    silent = library.compiled(tmp_path, library.PROGRAMS / "document_debug.c", compiler=compiler)
    assert run(silent).stderr == ""
    assert "0x4000100" in run(silent, env={**os.environ, "LIVEPATCH_DEBUG": "1"}).stderr


@both_compilers
def test_a_patch_outside_of_the_memory_is_refused_and_the_program_goes_on(tmp_path, compiler):
    run(snippet_program(tmp_path, compiler, SECOND["basic"]))


@both_compilers
@pytest.mark.parametrize("name", ["nop", "branch", "files"])
def test_one_call_of_the_second_document_does_what_it_says(tmp_path, name, compiler):
    run(snippet_program(tmp_path, compiler, SECOND[name]), cwd=tmp_path)


@both_compilers
def test_the_three_steps_of_the_integration_make_a_program(tmp_path, compiler):
    program = snippet_program(tmp_path, compiler, SECOND["integrate"], SNIPPET_HEADER=SECOND["include"],
                              SNIPPET_BEGIN=SECOND["integrate"], SNIPPET_END=SECOND["integrate_end"])
    run(program)


@both_compilers
def test_the_debugging_calls_print_a_list_and_statistics(tmp_path, compiler):
    assert "Disable check" in run(snippet_program(tmp_path, compiler, SECOND["debugging"])).stdout


@pytest.mark.parametrize("name, descriptions", [
    ("text_en", ["NOP patch", "Branch to handler"]),
    ("text_ru", ["NOP patch", "Переход к обработчику"]),
    ("text", ["NOP patch for debugging", "Jump to error handler", "Custom instruction"]),
])
def test_the_text_files_printed_load_as_they_are(tmp_path, loader, name, descriptions):
    (tmp_path / "patches.txt").write_text(ALL[name].text)
    table = loaded(loader, tmp_path / "patches.txt").stdout
    assert table.startswith(f"{len(descriptions)} loaded\n")
    assert all(description in table for description in descriptions)


@both_languages
def test_the_dots_in_the_json_file_printed_are_refused_with_their_place(tmp_path, loader, language):
    (tmp_path / "patch.json").write_text(FIRST[f"json_{language}"].text)
    column = FIRST[f"json_{language}"].text.splitlines()[2].index('"..."') + 1
    file, line, where = loaded(loader, tmp_path / "patch.json", expect=1).stderr.split("\n", 1)[0].rsplit(" ", 2)
    assert (file, line) == (str(tmp_path / "patch.json"), "3")
    assert int(where) in (column, column + 1)  # the string, or what is in it


@both_languages
def test_the_json_file_printed_loads_with_code_in_the_place_of_the_dots(tmp_path, loader, language):
    snippet = FIRST[f"json_{language}"]
    (tmp_path / "patch.json").write_text(snippet.text.replace("...", HEX))
    table = loaded(loader, tmp_path / "patch.json").stdout
    assert table.startswith("2 loaded\n")
    assert all(text in table for text in ("NOP patch", "Insert code" if language == "en" else "Вставка кода"))


def test_every_snippet_of_the_documents_is_tested():
    tested = {"demo", "make",  # test_library_examples.py
              "api_en", "api_ru", "debug_en", "debug_ru", "text_en", "text_ru", "json_en", "json_ru", "basic", "nop", "branch",
              "files", "text", "include", "integrate", "integrate_end", "debugging"}
    assert {name for name in ALL if not name.startswith("declare_")} == tested
    assert all((library.PROGRAMS / f"{s.program}.c").exists() for s in ALL.values() if s.program)
