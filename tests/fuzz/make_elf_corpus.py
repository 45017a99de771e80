#!/usr/bin/env python3
"""Write the corpus of fuzz_elf: one small sound library and many that lie.

    tests/fuzz/make_elf_corpus.py              write corpus/elf beside this file
    tests/fuzz/make_elf_corpus.py --check      only compare; exit 1 when one differs

The outputs are committed; run this again after changing it.  Every address
equals its file offset, so each file is also a memory image of itself.  A file
is named after its lie; inputs that a fuzzer found are added by hand as found-*.
"""
import os
import struct
import sys

DT = dict(NULL=0, NEEDED=1, PLTRELSZ=2, PLTGOT=3, HASH=4, STRTAB=5, SYMTAB=6, RELA=7, RELASZ=8, RELAENT=9,
          STRSZ=10, SYMENT=11, SONAME=14, PLTREL=20, JMPREL=23, RELRSZ=35, RELR=36, RELRENT=37,
          GNU_HASH=0x6ffffef5, VERSYM=0x6ffffff0, VERDEF=0x6ffffffc, VERDEFNUM=0x6ffffffd,
          VERNEED=0x6ffffffe, VERNEEDNUM=0x6fffffff)
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
TEXT, END = 0x600, 0x700  # where the code starts, and where what is loaded ends
BIG = 0xffffffffffffffff


class Strings:
    def __init__(self):
        self.data = b"\0"

    def add(self, text):
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def symbol(name, info, shndx, value, size, other=0):
    return struct.pack("<IBBHQQ", name, info, other, shndx, value, size)


def rela(offset, sym, kind, addend):
    return struct.pack("<QQq", offset, sym << 32 | kind, addend)


class Library:
    """The sound one.  A lie changes `parts` before layout, or the bytes after it (`patch`)."""

    def __init__(self):
        self.dynstr, self.strtab, self.shstrtab = Strings(), Strings(), Strings()
        self.tags = {}
        self.extra_tags = []
        self.phnum = None
        self.parts = {}
        self.fill()

    def fill(self):
        d, s = self.dynstr, self.strtab
        needed, soname = d.add("libc.so.6"), d.add("libsound.so.1")
        v1, v2, glibc = d.add("V1"), d.add("V2"), d.add("GLIBC_2.2.5")
        getenv, old, new = d.add("getenv"), d.add("api"), d.add("variable")
        text = TEXT
        p = self.parts
        p["note"] = struct.pack("<III4s", 4, 20, 3, b"GNU\0") + bytes(range(20))
        p["dynsym"] = (symbol(0, 0, 0, 0, 0) + symbol(getenv, 0x12, 0, 0, 0) + symbol(old, 0x12, 1, text, 16) +
                       symbol(old, 0x12, 1, text + 16, 16) + symbol(new, 0x21, 2, text + 64, 8))
        p["hash"] = struct.pack("<II", 1, 5) + struct.pack("<I", 2) + struct.pack("<5I", 0, 0, 3, 4, 0)
        p["gnuhash"] = (struct.pack("<4I", 1, 2, 1, 6) + struct.pack("<Q", BIG) + struct.pack("<I", 2) +
                        struct.pack("<3I", 0x10, 0x20, 0x31))
        p["versym"] = struct.pack("<5H", 0, 4, 2 | 0x8000, 3, 1)
        p["verdef"] = (struct.pack("<HHHHIII", 1, 1, 1, 1, 0, 20, 28) + struct.pack("<II", soname, 0) +
                       struct.pack("<HHHHIII", 1, 0, 2, 1, 0, 20, 28) + struct.pack("<II", v1, 0) +
                       struct.pack("<HHHHIII", 1, 0, 3, 2, 0, 20, 0) + struct.pack("<II", v2, 8) +
                       struct.pack("<II", v1, 0))
        p["verneed"] = struct.pack("<HHIII", 1, 1, needed, 16, 0) + struct.pack("<IHHII", 0, 0, 4, glibc, 0)
        p["rela"] = rela(text + 72, 0, 8, text) + rela(text + 80, 4, 6, 0)
        p["jmprel"] = rela(text + 88, 1, 7, 0)
        p["relr"] = struct.pack("<QQ", text + 96, 0b1011)
        p["symtab"] = (symbol(0, 0, 0, 0, 0) + symbol(s.add("one.c"), 4, 0xfff1, 0, 0) +
                       symbol(s.add("helper"), 2, 1, text + 32, 8) + symbol(0, 4, 0xfff1, 0, 0) +
                       symbol(s.add("$x"), 0, 1, text, 0) + symbol(s.add("api@@V2"), 0x12, 1, text + 16, 16) +
                       symbol(s.add("getenv@GLIBC_2.2.5"), 0x12, 0, 0, 0))
        p["debuglink"] = b"sound.debug\0" + struct.pack("<I", 0x12345678)
        p["dynstr"] = d.data
        p["strtab"] = s.data
        self.needed, self.soname, self.text = needed, soname, text

    def dynamic(self, at):
        tags = [("NEEDED", self.needed), ("SONAME", self.soname), ("HASH", at["hash"]), ("GNU_HASH", at["gnuhash"]),
                ("STRTAB", at["dynstr"]), ("STRSZ", len(self.parts["dynstr"])), ("SYMTAB", at["dynsym"]),
                ("SYMENT", 24), ("VERSYM", at["versym"]), ("VERDEF", at["verdef"]), ("VERDEFNUM", 3),
                ("VERNEED", at["verneed"]), ("VERNEEDNUM", 1), ("RELA", at["rela"]),
                ("RELASZ", len(self.parts["rela"])), ("RELAENT", 24), ("JMPREL", at["jmprel"]),
                ("PLTRELSZ", len(self.parts["jmprel"])), ("PLTREL", 7), ("RELR", at["relr"]),
                ("RELRSZ", len(self.parts["relr"])), ("RELRENT", 8)]
        entries = [(DT[k], self.tags.get(k, v)) for k, v in tags if self.tags.get(k, v) is not None]
        return b"".join(struct.pack("<QQ", *e) for e in entries + self.extra_tags + [(0, 0)])

    def section_headers(self, at, end):
        names = self.shstrtab
        def header(name, kind, flags, part, link=0, info=0, entsize=0):
            size = len(self.parts[part]) if part in self.parts else 0
            where = at.get(part, 0)
            return struct.pack("<IIQQQQIIQQ", names.add(name), kind, flags, where if flags else 0, where, size, link,
                               info, 8, entsize)
        text = struct.pack("<IIQQQQIIQQ", names.add(".text"), 1, 6, self.text, self.text, 64, 0, 0, 16, 0)
        data = struct.pack("<IIQQQQIIQQ", names.add(".data"), 1, 3, self.text + 64, self.text + 64, 192, 0, 0, 8, 0)
        rows = [bytes(64), text, data, header(".dynsym", 11, 2, "dynsym", 4, 1, 24),
                header(".dynstr", 3, 2, "dynstr"), header(".symtab", 2, 0, "symtab", 6, 5, 24),
                header(".strtab", 3, 0, "strtab"), header(".note.gnu.build-id", 7, 2, "note"),
                header(".gnu_debuglink", 1, 0, "debuglink")]
        own = names.add(".shstrtab")
        rows.append(struct.pack("<IIQQQQIIQQ", own, 3, 0, 0, end, len(names.data), 0, 0, 1, 0))
        return rows

    def build(self):
        at, blob = {}, bytearray(64 + 3 * 56)
        for name, part in self.parts.items():
            blob += bytes(-len(blob) % 8)
            at[name] = len(blob)
            blob += part
        blob += bytes(-len(blob) % 8)
        at["dynamic"] = len(blob)
        dynamic = self.dynamic(at)
        blob += dynamic
        assert len(blob) <= self.text, len(blob)
        blob += bytes(self.text - len(blob)) + b"\x90" * 64 + bytes(192)
        load_end = len(blob)
        rows = self.section_headers(at, load_end)
        blob += self.shstrtab.data
        blob += bytes(-len(blob) % 8)
        shoff = len(blob)
        blob += b"".join(rows)
        blob[0:64] = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, shoff, 0, 64, 56, 3, 64,
                                 len(rows), len(rows) - 1)
        def phdr(kind, flags, start, size):
            return struct.pack("<IIQQQQQQ", kind, flags, start, start, start, size, size, 8)
        blob[64:64 + 168] = (phdr(PT_LOAD, 7, 0, load_end) + phdr(PT_DYNAMIC, 6, at["dynamic"], len(dynamic)) +
                             phdr(PT_NOTE, 4, at["note"], len(self.parts["note"])))
        self.at, self.shoff, self.rows = at, shoff, len(rows)
        return blob


LIES = {}


def lie(change):
    LIES[change.__name__.replace("_", "-")] = change
    return change


def put(blob, fmt, where, value):
    struct.pack_into("<" + fmt, blob, where, value)


def with_tags(name, **tags):
    def change(library):
        library.tags.update(tags)
        return library.build()
    LIES[name] = change


def with_bytes(name, fmt, where, value):
    """`where`: a number, or (part, offset)."""
    def change(library):
        blob = library.build()
        place = where if isinstance(where, int) else library.at[where[0]] + where[1]
        put(blob, fmt, place, value)
        return blob
    LIES[name] = change


def with_section(name, index, field, value):
    fmt, offset = dict(name=("I", 0), type=("I", 4), flags=("Q", 8), addr=("Q", 16), offset=("Q", 24), size=("Q", 32),
                       link=("I", 40), info=("I", 44), entsize=("Q", 56))[field]
    def change(library):
        blob = library.build()
        put(blob, fmt, library.shoff + 64 * index + offset, value)
        return blob
    LIES[name] = change


@lie
def sound(library):
    return library.build()


@lie
def no_sections(library):
    blob = library.build()
    put(blob, "Q", 40, 0)
    put(blob, "H", 60, 0)
    return blob


@lie
def no_sections_gnu_hash_only(library):
    library.tags.update(HASH=None)
    return no_sections(library)


@lie
def no_sections_no_hash(library):
    library.tags.update(HASH=None, GNU_HASH=None)
    return no_sections(library)


@lie
def gnu_hash_without_end(library):
    library.parts["gnuhash"] = library.parts["gnuhash"][:-4] + struct.pack("<I", 0x30)
    library.tags.update(HASH=None)
    return no_sections(library)


@lie
def strings_without_end(library):
    library.parts["dynstr"] = library.parts["dynstr"].rstrip(b"\0").replace(b"\0", b"x")
    library.parts["strtab"] = b"\xff" * 64
    return library.build()


@lie
def strings_of_at_signs(library):
    library.parts["strtab"] = b"\0" + b"@" * 62 + b"\0"
    return library.build()


@lie
def dynamic_without_null(library):
    blob = library.build()
    size = struct.unpack_from("<Q", blob, 64 + 56 + 32)[0]
    put(blob, "Q", 64 + 56 + 32, size - 16)
    return blob


@lie
def needed_many_times(library):
    library.extra_tags = [(1, 1)] * 9 + [(1, BIG)]
    return library.build()


@lie
def file_of_zero_bytes(library):
    return b""


@lie
def header_only(library):
    return library.build()[:64]


@lie
def program_headers_cut(library):
    return library.build()[:64 + 56]


@lie
def half(library):
    blob = library.build()
    return blob[:len(blob) // 2]


@lie
def debug_only(library):
    blob = library.build()
    put(blob, "I", library.shoff + 64 + 4, 8)
    return blob


@lie
def extended_numbering(library):
    """Counts in section 0, as in files with more than 65279 sections."""
    blob = library.build()
    put(blob, "H", 56, 0xffff)
    put(blob, "H", 60, 0)
    put(blob, "H", 62, 0xffff)
    put(blob, "Q", library.shoff + 32, library.rows)
    put(blob, "I", library.shoff + 40, library.rows - 1)
    put(blob, "I", library.shoff + 44, 3)
    return blob


with_bytes("big-endian", "B", 5, 2)
with_bytes("32-bit", "B", 4, 1)
with_bytes("another-machine", "H", 18, 0x1234)
with_bytes("relocatable", "H", 16, 1)
with_bytes("phnum-extended-without-section", "H", 56, 0xffff)
with_bytes("phoff-at-the-end-of-the-world", "Q", 32, BIG - 40)
with_bytes("shoff-at-the-end-of-the-world", "Q", 40, BIG - 63)
with_bytes("shoff-unaligned", "Q", 40, 65)
with_bytes("shstrndx-beyond", "H", 62, 0xfffe)
with_bytes("load-offset-huge", "Q", 64 + 8, BIG - 8)
with_bytes("load-vaddr-huge", "Q", 64 + 16, BIG - 8)
with_bytes("load-filesz-huge", "Q", 64 + 32, BIG)
with_bytes("load-filesz-zero", "Q", 64 + 32, 0)
with_bytes("dynamic-vaddr-odd", "Q", 64 + 56 + 16, 0x101)
with_bytes("dynamic-filesz-huge", "Q", 64 + 56 + 32, BIG)
with_bytes("note-filesz-huge", "Q", 64 + 112 + 32, BIG)
with_bytes("note-namesz-huge", "I", ("note", 0), 0xffffffff)
with_bytes("note-descsz-huge", "I", ("note", 4), 0xfffffffd)
with_bytes("note-descsz-zero", "I", ("note", 4), 0)
with_bytes("symbol-size-wraps", "Q", ("dynsym", 2 * 24 + 16), BIG)
with_bytes("symbol-name-beyond", "I", ("dynsym", 2 * 24), 0xfffffff0)
with_bytes("symbol-section-extended", "H", ("dynsym", 2 * 24 + 6), 0xffff)
with_bytes("hash-count-huge", "I", ("hash", 4), 0xffffffff)
with_bytes("gnu-hash-buckets-huge", "I", ("gnuhash", 0), 0xffffffff)
with_bytes("gnu-hash-bloom-huge", "I", ("gnuhash", 8), 0xffffffff)
with_bytes("gnu-hash-symoffset-huge", "I", ("gnuhash", 4), 0xffffffff)
with_bytes("gnu-hash-bucket-huge", "I", ("gnuhash", 24), 0xfffffff0)
with_bytes("verdef-points-at-itself", "I", ("verdef", 16), 1)
with_bytes("verdef-points-far", "I", ("verdef", 16), 0xffffffff)
with_bytes("verdef-aux-far", "I", ("verdef", 28 + 12), 0xfffffff0)
with_bytes("verdef-index-high", "H", ("verdef", 28 + 4), 0xffff)
with_bytes("verdef-name-beyond", "I", ("verdef", 28 + 20), 0xffffffff)
with_bytes("verneed-count-huge", "H", ("verneed", 2), 0xffff)
with_bytes("verneed-aux-zero", "I", ("verneed", 8), 0)
with_bytes("verneed-aux-cycle", "I", ("verneed", 16 + 12), 1)
with_bytes("verneed-aux-far", "I", ("verneed", 16 + 12), 0xfffffff0)
with_bytes("versym-beyond", "H", ("versym", 6), 0x7ffe)
with_bytes("relr-bitmap-first", "Q", ("relr", 0), BIG)
with_bytes("relr-place-beyond", "Q", ("relr", 0), 0x7ffffffffffffff0)
with_bytes("relr-place-wraps", "Q", ("relr", 0), BIG - 1)
with_bytes("relr-bitmap-full", "Q", ("relr", 8), BIG)
with_bytes("rela-symbol-huge", "I", ("rela", 12), 0xffffffff)
with_tags("strtab-at-last-byte", STRTAB=END - 1, STRSZ=BIG)
with_tags("strsz-zero", STRSZ=0)
with_tags("symtab-at-last-byte", SYMTAB=END - 1)
with_tags("symtab-outside", SYMTAB=BIG)
with_tags("soname-beyond", SONAME=BIG)
with_tags("rela-outside", RELA=BIG - 8)
with_tags("relasz-huge", RELASZ=BIG - 7)
with_tags("relasz-odd", RELASZ=25)
with_tags("relaent-odd", RELAENT=16)
with_tags("pltrel-is-rel", PLTREL=17)
with_tags("relrsz-huge", RELRSZ=BIG - 7)
with_tags("relr-is-everything", RELR=0, RELRSZ=END)
with_tags("relrent-odd", RELRENT=4)
with_tags("versym-at-last-byte", VERSYM=END - 1)
with_tags("verdef-is-the-code", VERDEF=TEXT)
with_tags("verneed-is-the-header", VERNEED=0)
with_tags("tables-overlap", VERDEF=0x100, VERNEED=0x100, RELA=0x100, RELASZ=24 * 40, SYMTAB=0x100)
with_section("symtab-size-huge", 5, "size", BIG)
with_section("symtab-size-odd", 5, "size", 25)
with_section("symtab-link-itself", 5, "link", 5)
with_section("symtab-link-beyond", 5, "link", 0xffffffff)
with_section("symtab-info-huge", 5, "info", 0xffffffff)
with_section("symtab-entsize-odd", 5, "entsize", 1)
with_section("dynsym-size-huge", 3, "size", BIG - 23)
with_section("text-addr-wraps", 1, "addr", BIG - 16)
with_section("text-size-wraps", 1, "size", BIG)
with_section("section-name-beyond", 1, "name", 0xffffffff)
with_section("debuglink-one-byte", 8, "size", 1)


def differs(path, content):
    try:
        with open(path, "rb") as f:
            return f.read() != content
    except FileNotFoundError:
        return True


def main():
    directory = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "elf")
    stale = {}
    for name, change in LIES.items():
        content = bytes(change(Library()))
        if differs(os.path.join(directory, name), content):
            stale[name] = content
    if sys.argv[1:] == ["--check"]:
        sys.exit(f"not as this script makes them: {', '.join(stale)}" if stale else 0)
    os.makedirs(directory, exist_ok=True)
    for name, content in stale.items():
        with open(os.path.join(directory, name), "wb") as f:
            f.write(content)


if __name__ == "__main__":
    main()
