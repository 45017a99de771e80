#!/usr/bin/env python3
"""Write the corpus of fuzz_kpatch: one small sound patch, and many that lie.

    tests/fuzz/make_kpatch_corpus.py              write corpus/kpatch beside this file
    tests/fuzz/make_kpatch_corpus.py --check      only compare; exit 1 when one differs

The outputs are committed; run this again after changing it.  A file is named
after its lie; inputs that a fuzzer found are added by hand as found-*.
"""
import struct
import sys
from pathlib import Path

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXEC, TLS = 1, 2, 4, 0x400
BIG = 0xffffffffffffffff
META = b'{"version": 1, "id": "CVE-1", "object": "prog", "needs": ["0"], "functions": [{"name": "f"}]}'


class Patch:
    """The sound one.  A lie changes rows, bytes or header before they are put together, or the file after it."""

    def __init__(self):
        code, name = b"\xb8\2\0\0\0\xc3", b"f.kpatch\0"
        info = struct.pack("<QQIIQQII", 0, 0, 16, len(code), 0, 0x401000, 0, 0) + bytes(48)
        old = struct.pack("<IIQIIIIII", 1, 1, 0x401000, 4, 0, 40, 44, 1, 0) + b"\x90\x91\x92\x93" + struct.pack("<II", 1, 2)
        hooks = struct.pack("<QQ", 1, 0)
        self.strings = b"\0f\0puts@GLIBC_2.2.5\0"
        symbols = [(0, 0, 0, 0, 0), (0, 3, 1, 0, 0), (0, 3, 2, 0, 0), (0, 3, 3, 0, 0), (1, 2, 1, 0x10, 16), (3, 0x12, 0, 0, 0)]
        self.symtab = b"".join(struct.pack("<IBBHQQ", n, i, 0, x, v, s) for n, i, x, v, s in symbols)
        self.rela = b"".join(struct.pack("<QQq", at, sym << 32 | 1, add) for at, sym, add in ((0, 4, 0), (8, 2, 0), (24, 3, 0)))
        # name, type, flags, addr, data, size, link, info, align, entsize
        self.rows = {
            "": [0, 0, 0, b"", 0, 0, 0, 0, 0],
            ".text": [NOBITS, ALLOC | EXEC, 0x401000, b"", 0x100, 0, 0, 16, 0],
            ".kpatch.text": [PROGBITS, ALLOC | EXEC, 0, code, None, 0, 0, 16, 0],
            ".kpatch.strtab": [PROGBITS, ALLOC, 0, name, None, 0, 0, 1, 0],
            ".kpatch.info": [PROGBITS, ALLOC, 0, info, None, 0, 0, 8, 0],
            ".kpatch.data": [PROGBITS, ALLOC | WRITE, 0, bytes(8), None, 0, 0, 4096, 0],
            ".rela.kpatch.info": [RELA, 0, 0, self.rela, None, 10, 4, 8, 24],
            ".livepatch.meta": [PROGBITS, 0, 0, META, None, 0, 0, 1, 0],
            ".livepatch.old": [PROGBITS, 0, 0, old, None, 0, 0, 8, 0],
            ".livepatch.hooks": [PROGBITS, 0, 0, hooks, None, 0, 0, 8, 0],
            ".symtab": [SYMTAB, 0, 0, self.symtab, None, 11, 5, 8, 24],
            ".strtab": [STRTAB, 0, 0, self.strings, None, 0, 0, 1, 0],
            ".shstrtab": [STRTAB, 0, 0, b"", None, 0, 0, 1, 0],
            ".rela.livepatch.hooks": [RELA, 0, 0, struct.pack("<QQq", 8, 2 << 32 | 1, 0), None, 10, 9, 8, 24],
            ".rela.kpatch.data": [RELA, 0, 0, b"", None, 10, 5, 8, 24],
        }
        self.header = {"id": b"CVE-1", "build_id": b"0123456789abcdef0123456789abcdef01234567", "offset": 504, "total": None,
                       "phnum": 0, "type": 1, "shnum": None, "libcare": False}
        self.patches = []

    def set(self, section, **fields):
        names = ["type", "flags", "addr", "data", "size", "link", "info", "align", "entsize"]
        for field, value in fields.items():
            self.rows[section][names.index(field)] = value

    def elf(self):
        names = b""
        at = {}
        for section in self.rows:
            at[section] = len(names)
            names += section.encode() + b"\0"
        self.set(".shstrtab", data=names)
        image, headers = bytearray(64), b""
        for section, (type, flags, addr, data, size, link, info, align, entsize) in self.rows.items():
            image += bytes(-len(image) % (align if align < 64 else 8)) if align else b""
            headers += struct.pack("<IIQQQQIIQQ", at[section], type, flags, addr, len(image), len(data) if size is None else size,
                                   link, info, align, entsize)
            image += data
        image += bytes(-len(image) % 8)
        h = self.header
        image[:64] = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", h["type"], 62, 1, 0, 0, len(image), 0, 64, 56, h["phnum"],
                                 64, len(self.rows) if h["shnum"] is None else h["shnum"], list(self.rows).index(".shstrtab"))
        return bytes(image) + headers

    def file(self):
        elf, h = self.elf(), self.header
        size = 688 if h["libcare"] else 504
        total = (size + len(elf) + 15) // 16 * 16
        out = bytearray(size)
        fields = struct.pack("<III", size if h["offset"] == 504 else h["offset"], size,
                             total if h["total"] is None else h["total"])
        out[:8] = b"KPATCH1\0"
        if h["libcare"]:
            out[16:20], out[80:80 + len(h["build_id"])], out[352:364] = b"prog", h["build_id"], fields
        else:
            out[8:8 + len(h["id"])], out[24:28], out[88:88 + len(h["build_id"])], out[152:164] = h["id"], b"prog", h["build_id"], fields
        return bytes(out[:size]) + elf + bytes(total - size - len(elf))


def lie(section=None, header=None, cut=None, **fields):
    p = Patch()
    if section:
        p.set(section, **fields)
    p.header.update(header or {})
    data = p.file()
    return data[:cut] if cut is not None else data


def rela(at, sym, kind=1, addend=0):
    return struct.pack("<QQq", at, sym << 32 | kind, addend)


def old(**change):
    v = {"version": 1, "nr": 1, "vaddr": 0x401000, "length": 4, "flags": 0, "bytes": 40, "ignore": 44, "pairs": 1, "record": 0,
         "start": 1, "span": 2, **change}
    return struct.pack("<IIQIIIIII4sII", v["version"], v["nr"], v["vaddr"], v["length"], v["flags"], v["bytes"], v["ignore"],
                       v["pairs"], v["record"], b"\x90\x91\x92\x93", v["start"], v["span"])


def shared_old(length=4, pairs=0):
    """A hundred entries about the same bytes."""
    entry = struct.pack("<QIIIIII", 0x401000, length, 0, 8 + 3200, 8 + 3200, pairs, BIG & 0xffffffff)
    return struct.pack("<II", 1, 100) + entry * 100 + bytes(16)


def symbol(shndx, value):
    good = Patch()
    return good.symtab[:24 * 4] + struct.pack("<IBBHQQ", 1, 2, 0, shndx, value, 16) + good.symtab[24 * 5:]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def summed(version=1, size=8, flip=None, zeros=False):
    """With .livepatch.sum; one bit of the code may have changed since."""
    p = Patch()
    mark = b"\x5a" * 8
    p.rows[".livepatch.sum"] = [PROGBITS, 0, 0, mark, size, 0, 0, 8, 0]
    data = p.file()
    at = data.index(mark)
    data = data[:at] + bytes(8) + data[at + 8:]
    if not zeros:
        data = data[:at] + struct.pack("<II", version, crc32c(data)) + data[at + 8:]
    if flip:
        data = data.replace(flip, bytes([flip[0] ^ 1]) + flip[1:])
    return data


def without(section):
    p = Patch()
    p.rows = {name + ".gone" if name == section else name: row for name, row in p.rows.items()}
    return p.file()


FILES = {
    "sound": lie(),
    "libcare": lie(header={"libcare": True}, section=".livepatch.meta", data=b'{"version": 1}'),
    "empty": b"",
    "magic-only": b"KPATCH1\0",
    "header-only": lie(cut=504),
    "half": lie(cut=900),
    "id-without-end": lie(header={"id": b"12345678"}),
    "id-not-printable": lie(header={"id": b"\1\2"}),
    "id-differs-from-meta": lie(header={"id": b"CVE-2"}),
    "build-id-without-end": lie(header={"build_id": b"0" * 41}),
    "build-id-not-hex": lie(header={"build_id": b"xyz"}),
    "no-build-id": lie(header={"build_id": b""}),
    "offset-unknown": lie(header={"offset": 505}),
    "total-huge": lie(header={"total": 0xffffffff}),
    "total-tiny": lie(header={"total": 100}),
    "not-relocatable": lie(header={"type": 3}),
    "program-headers": lie(header={"phnum": 1}),
    "sections-many": lie(header={"shnum": 0xffff}),
    "section-size-huge": lie(".kpatch.text", size=BIG),
    "section-writable-code": lie(".kpatch.text", flags=ALLOC | EXEC | WRITE),
    "section-tls": lie(".kpatch.data", flags=ALLOC | WRITE | TLS),
    "section-align-huge": lie(".kpatch.data", align=1 << 40),
    "section-align-odd": lie(".kpatch.text", align=3),
    "original-overflows": lie(".text", addr=BIG - 8),
    "rel": lie(".rela.kpatch.info", type=REL),
    "rela-odd-size": lie(".rela.kpatch.info", size=25),
    "rela-size-huge": lie(".rela.kpatch.info", size=24 << 40),
    "rela-of-nobits": lie(".rela.kpatch.info", info=1),
    "rela-of-nothing": lie(".rela.kpatch.info", info=99),
    "rela-of-itself": lie(".rela.kpatch.info", info=6),
    "rela-of-section-0": lie(".rela.kpatch.info", info=0),
    "rela-in-section-0": lie("", type=RELA, data=rela(BIG, 4), link=10, info=4),
    "rela-without-symbols": lie(".rela.kpatch.info", link=2),
    "rela-offset-huge": lie(".rela.kpatch.info", data=rela(BIG, 4)),
    "rela-at-the-end": lie(".rela.kpatch.info", data=rela(96, 4)),
    "rela-symbol-unknown": lie(".rela.kpatch.info", data=rela(0, 99)),
    "symbol-in-no-section": lie(".symtab", data=symbol(99, 0)),
    "symbol-in-table": lie(".symtab", data=symbol(10, 0)),
    "symbol-outside": lie(".symtab", data=symbol(1, 0x101)),
    "symbol-common": lie(".symtab", data=symbol(0xfff2, 8)),
    "no-info": without(".kpatch.info"),
    "info-without-end": lie(".kpatch.info", data=Patch().rows[".kpatch.info"][3][:48]),
    "info-cut": lie(".kpatch.info", data=Patch().rows[".kpatch.info"][3][:40]),
    "info-without-replacement": lie(".kpatch.info", data=struct.pack("<QQIIQQII", 0, 0, 16, 0, 0, 0, 0, 0)),
    "info-is-relocations": lie(".kpatch.info", type=RELA, link=10, info=2),
    "meta-not-json": lie(".livepatch.meta", data=b"{"),
    "meta-not-object": lie(".livepatch.meta", data=b"[]"),
    "meta-version-2": lie(".livepatch.meta", data=b'{"version": 2}'),
    "meta-needs-number": lie(".livepatch.meta", data=b'{"version": 1, "needs": [1]}'),
    "meta-functions-text": lie(".livepatch.meta", data=b'{"version": 1, "functions": "f"}'),
    "meta-name-of-two-lines": lie(".livepatch.meta", data=b'{"version": 1, "object": "prog\\nPid: 1"}'),
    "meta-id-long": lie(".livepatch.meta", data=b'{"version": 1, "id": "%s"}' % (b"x" * 300)),
    "meta-twice-the-same": lie(".livepatch.meta", data=b'{"version": 1, "version": 1}'),
    "old-version-2": lie(".livepatch.old", data=old(version=2)),
    "old-count-huge": lie(".livepatch.old", data=old(nr=0xffffffff)),
    "old-length-huge": lie(".livepatch.old", data=old(length=0xffffffff)),
    "old-bytes-outside": lie(".livepatch.old", data=old(bytes=50)),
    "old-pairs-huge": lie(".livepatch.old", data=old(pairs=0x20000001)),
    "old-ignore-outside": lie(".livepatch.old", data=old(start=3)),
    "old-ignore-wraps": lie(".livepatch.old", data=old(start=0xffffffff, span=2)),
    "old-record-unknown": lie(".livepatch.old", data=old(record=1)),
    "old-address-overflows": lie(".livepatch.old", data=old(vaddr=BIG)),
    "old-cut": lie(".livepatch.old", data=b"\1\0"),
    "old-shared": lie(".livepatch.old", data=shared_old()),
    "old-shared-pairs": lie(".livepatch.old", data=shared_old(length=0, pairs=1)),
    "hook-unknown": lie(".livepatch.hooks", data=struct.pack("<QQ", 9, 0)),
    "hooks-odd": lie(".livepatch.hooks", data=bytes(17)),
    "sum": summed(),
    "sum-not-said": summed(zeros=True, flip=b"\xb8\2\0\0\0\xc3"),
    "sum-differs": summed(flip=b"\xb8\2\0\0\0\xc3"),
    "sum-differs-in-header": summed(flip=b"prog"),
    "sum-short": summed(size=7),
    "sum-version-2": summed(version=2),
}


for kind in range(52):  # every type, with something in it, something undefined and weak, and something thread-local
    p = Patch()
    p.set(".kpatch.data", data=bytes(64))
    p.symtab = p.symtab[:24 * 5] + struct.pack("<IBBHQQ", 3, 0x22, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 1, 6, 0, 1, 4, 4)
    p.set(".symtab", data=p.symtab)
    p.set(".rela.kpatch.data", data=rela(0, 2, kind) + rela(16, 5, kind, -4) + rela(32, 6, kind, -4) + rela(48, 0, kind))
    FILES[f"type-{kind}"] = p.file()
    for symbol_index, word in ((2, "own"), (5, "undefined"), (6, "tls")):
        p.set(".rela.kpatch.data", data=rela(8, symbol_index, kind, -4))
        FILES[f"type-{kind}-{word}"] = p.file()


p = Patch()  # mov puts(%rip), %eax; ret
p.set(".kpatch.text", data=b"\x8b\x05\0\0\0\0\xc3")
p.set(".symtab", data=p.symtab[:24 * 5] + struct.pack("<IBBHQQ", 3, 0x11, 0, 0, 0, 0))
p.set(".rela.kpatch.data", info=2, data=rela(2, 5, 2, -4))
FILES["load-from-afar"] = p.file()
p.set(".rela.kpatch.data", data=rela(2, 5, 2, 2**63 - 1))
FILES["load-from-beyond-the-end"] = p.file()


def main():
    corpus = Path(__file__).resolve().parent / "corpus" / "kpatch"
    if sys.argv[1:] == ["--check"]:
        wrong = [n for n, data in FILES.items() if not (corpus / n).is_file() or (corpus / n).read_bytes() != data]
        print("differs:", *wrong) if wrong else None
        return bool(wrong)
    corpus.mkdir(exist_ok=True)
    for name, data in FILES.items():
        (corpus / name).write_bytes(data)
    return 0


sys.exit(main())
