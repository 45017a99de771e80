#!/usr/bin/env python3
"""Hold three lists of names against each other.

    check_symbols.py HEADER VERSION-SCRIPT SHARED-LIBRARY

What livepatch.h declares, what the version script lets out, and what the
library has.  A name that is missing in one of them is a promise broken; one
too many is a promise that nobody meant to make.
"""
import re
import subprocess
import sys


def declared(path):
    text = re.sub(r"/\*.*?\*/", "", open(path).read(), flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.MULTILINE)
    return set(re.findall(r"\b(\w+)\([^()]*(?:\([^()]*\)[^()]*)*\)(?:\s*__attribute__\(\(.*?\)\))?;", text))


def let_out(path):
    text = re.sub(r"#[^\n]*", "", open(path).read())
    return set(re.search(r"global:(.*?)local:", text, re.DOTALL)[1].replace(";", " ").split())


def exported(path):
    out = subprocess.run(["nm", "-D", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    names = (line.split()[-1] for line in out.splitlines() if line.split()[-2] not in "A")
    return {name.split("@")[0] for name in names}


def main():
    header, script, library = sys.argv[1:]
    lists = {"the header": declared(header), "the version script": let_out(script), "the library": exported(library)}
    everything = set().union(*lists.values())
    wrong = 0
    for name in sorted(everything):
        for where, names in lists.items():
            if name not in names:
                print(f"{name}: not in {where}")
                wrong += 1
    if len(everything) < 40:
        print(f"only {len(everything)} names were found")
        wrong += 1
    print(f"{len(everything)} names, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
