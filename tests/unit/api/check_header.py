#!/usr/bin/env python3
"""Compile livepatch.h alone, twice in one file, in every language it is for.

    check_header.py INCLUDE-DIRECTORY COMPILER...

A compiler is a name and its options in one word, "c++ -std=c++11".
"""
import subprocess
import sys

SOURCE = """#define LIVEPATCH_DEBUG 1
#include <livepatch.h>
#include <livepatch.h>

/* As the first livepatch.h declared what only programs, and no documents, name. */
int livepatch_load_from_json(LivePatchSystem *system, const char *filename);
int livepatch_reload_patches(LivePatchSystem *system, const char *filename, int is_json);
int livepatch_redirect_function(LivePatchSystem *system, uint64_t func_addr, uint64_t new_func_addr, const char *description);
void livepatch_set_enabled(LivePatchSystem *system, int enabled);
int is_nop_instruction(uint32_t instr);
typedef char its_types[PATCH_REPLACE == 0 && PATCH_INSERT == 1 && PATCH_NEW_FUNC == 2 && PATCH_FUNCTION_REDIRECT == 3 ? 1 : -1];

LivePatchSystem *open_all(void *memory);
LivePatchSystem *open_all(void *memory)
{
	LivePatchSystem *s = livepatch_init(memory, 4096, 0x400000);
	livepatch_apply(s, 0x400000, 0xD503201F, "NOP patch");
	return s ? s : livepatch_init_self();
}
"""


def main():
    include, *compilers = sys.argv[1:]
    failed = 0
    for compiler in compilers:
        language = "c++" if "++" in compiler.split()[0] else "c"
        command = compiler.split() + ["-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror",
                                      "-fsyntax-only", "-I", include, "-"]
        run = subprocess.run(command, input=SOURCE, capture_output=True, text=True)
        failed += run.returncode != 0
        print(f"{compiler}: {'fine' if run.returncode == 0 else run.stderr}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
