"""Makes .kpatch files out of a compiled object and the binary that it patches, from docs/format-kpatch.md alone.

A second implementation of the format: what the product's builder and reader
might both get wrong shows against it.  It compares nothing.  Every function of
the object that the original has is a replacement; what the object does not
define is bound to the original's symbol of that name, or left undefined.
"""
import json
import struct
import subprocess
from pathlib import Path

import lib

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXEC, TLS = 1, 2, 4, 0x400
NOTYPE, OBJECT, FUNC, SECTION, TLS_SYMBOL, IFUNC = 0, 1, 2, 3, 6, 10
R_64, R_PC32, R_PLT32 = 1, 2, 4
EM_X86_64 = 62
HOOKS = {"pre-apply": 1, "post-apply": 2, "pre-revert": 3, "post-revert": 4}


class Section:
    def __init__(self, name, type, flags, addr, data, size, link, info, align, entsize):
        self.name, self.type, self.flags, self.addr, self.data = name, type, flags, addr, data
        self.size, self.link, self.info, self.align, self.entsize = size, link, info, align, entsize


class Symbol:
    def __init__(self, name, value, size, type, bind, shndx):
        self.name, self.value, self.size, self.type, self.bind, self.shndx = name, value, size, type, bind, shndx


class Elf:
    """Sections, the symbol table, relocations."""

    def __init__(self, path):
        data = self.bytes = Path(path).read_bytes()
        shoff, = struct.unpack_from("<Q", data, 0x28)
        count, names = struct.unpack_from("<HH", data, 0x3c)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * 64) for i in range(count)]
        self.sections = []
        strings = data[headers[names][4]:headers[names][4] + headers[names][5]]
        for name, type, flags, addr, offset, size, link, info, align, entsize in headers:
            body = b"" if type == SHT_NOBITS else data[offset:offset + size]
            self.sections.append(Section(text(strings, name), type, flags, addr, body, size, link, info, align, entsize))
        self.symbols = self.read_symbols(SHT_SYMTAB)

    def read_symbols(self, type):
        table = next((s for s in self.sections if s.type == type), None)
        if not table:
            return []
        strings = self.sections[table.link].data
        symbols = []
        for name, info, _, shndx, value, size in struct.iter_unpack("<IBBHQQ", table.data):
            symbols.append(Symbol(text(strings, name), value, size, info & 15, info >> 4, shndx))
        return symbols

    def symbol(self, name):
        return next((s for s in self.symbols if s.name.split("@")[0] == name and s.shndx != 0
                     and s.type not in (SECTION, 4)), None)

    def relocations(self, index):
        for table in self.sections:
            if table.type == SHT_RELA and table.info == index:
                for offset, info, addend in struct.iter_unpack("<QQq", table.data):
                    yield offset, info & 0xffffffff, info >> 32, addend

    def bytes_at(self, addr, size):
        section = next(s for s in self.sections if s.flags & ALLOC and not s.flags & TLS and s.type != SHT_NOBITS
                       and s.addr <= addr < s.addr + s.size)
        return section.data[addr - section.addr:addr - section.addr + size]

    @property
    def build_id(self):
        note = next(s for s in self.sections if s.name == ".note.gnu.build-id").data
        return note[16:].hex()


def text(strings, at):
    return strings[at:strings.index(b"\0", at)].decode()


def fnv28(id):
    h = 0xcbf29ce484222325
    for c in id.encode():
        h = ((h ^ c) * 0x100000001b3) % 2**64
    return "%07x" % (h & 0xfffffff)


class Out:
    """A section that is being made."""

    def __init__(self, name, flags, align=16):
        self.name, self.flags, self.align = name, flags, align
        self.data, self.relocations = bytearray(), []

    def add(self, data, align):
        self.data += b"\0" * (-len(self.data) % max(align, 1))
        self.data += data
        return len(self.data) - len(data)


class Maker:
    def __init__(self, object, original, id="0001", check=True, hooks=(), meta=True, needs=(), replaces=None, level=0,
                 libcare=False, build_id=None, tweak=None, exports=()):
        self.new, self.old = Elf(object), Elf(original)
        self.id, self.name = id, Path(original).name
        self.check, self.hooks, self.meta, self.needs, self.level = check, hooks, meta, needs, level
        self.libcare, self.build_id = libcare, build_id or self.old.build_id
        self.replaces, self.tweak, self.exports = replaces, tweak, exports
        self.text, self.strtab = Out(".kpatch.text", ALLOC | EXEC), Out(".kpatch.strtab", ALLOC, 1)
        self.rodata, self.data = Out(".kpatch.rodata", ALLOC, 16), Out(".kpatch.data", ALLOC | WRITE, 4096)
        self.eh, self.info = Out(".kpatch.eh_frame", ALLOC, 8), Out(".kpatch.info", ALLOC, 8)
        self.lsda = Out(".kpatch.gcc_except_table", ALLOC, 4)
        self.hook_section = Out(".livepatch.hooks", 0, 8)
        self.own = [self.text, self.strtab, self.rodata, self.lsda, self.eh, self.info, self.data]
        self.symbols = [("", 0, 0, 0, 0, 0)]  # name, info, where, value, size; where: an Out, a section of the old, None
        self.placed = {}  # section of the object -> (Out, offset)
        self.numbers = {}

    # ---- symbols

    def add_symbol(self, key, name, type, bind, where, value, size=0):
        if key not in self.numbers:
            self.numbers[key] = len(self.symbols)
            self.symbols.append((name, bind << 4 | type, where, value, size))
        return self.numbers[key]

    def section_symbol(self, where):
        return self.add_symbol(where, "", SECTION, 0, where, 0)

    def original_symbol(self, s):
        section = self.old.sections[s.shndx]
        value = s.value if s.type == TLS_SYMBOL else s.value - section.addr
        if s.type == TLS_SYMBOL:  # relative to the section, not to the block
            block = min(x.addr for x in self.old.sections if x.flags & TLS)
            value = block + s.value - section.addr
        type = s.type if s.type in (FUNC, OBJECT, TLS_SYMBOL) else OBJECT
        return self.add_symbol(("old", s.name), s.name, type, 0, section, value, s.size)

    def undefined(self, s, call):
        dynamic = next((d for d in self.old.read_symbols(11) if d.name == s.name), None)
        type = dynamic.type if dynamic and dynamic.type in (FUNC, OBJECT, TLS_SYMBOL) else s.type or (FUNC if call else OBJECT)
        return self.add_symbol(("undefined", s.name), s.name, type, s.bind, None, 0)

    def target_of(self, index, addend, call):
        """Symbol number and addend for a symbol of the object."""
        s = self.new.symbols[index]
        if s.shndx and s.shndx < 0xff00:
            out, offset = self.placed[s.shndx]
            if s.bind and s.name in self.exports:
                return self.add_symbol(("own", s.name), s.name, s.type, s.bind, out, offset + s.value, s.size), addend
            return self.section_symbol(out), addend + offset + s.value
        original = self.old.symbol(s.name)
        if original and original.shndx < 0xff00 and original.type != IFUNC:
            return self.original_symbol(original), addend
        return self.undefined(s, call), addend

    # ---- sections

    def out_for(self, s):
        if not s.flags & ALLOC or s.type in (SHT_RELA, SHT_REL) or s.name.startswith(".note"):
            return None
        if s.name == ".eh_frame":
            return self.eh
        if s.name.startswith(".gcc_except_table"):
            return self.lsda
        if s.name == ".livepatch.hooks":
            return self.hook_section
        return self.text if s.flags & EXEC else self.data if s.flags & WRITE else self.rodata

    def place(self):
        for i, s in enumerate(self.new.sections):
            out = self.out_for(s)
            if out is not None and s.size:
                self.placed[i] = out, out.add(s.data or b"\0" * s.size, s.align)
        for s in self.new.symbols:
            if s.name in self.exports:
                out, offset = self.placed[s.shndx]
                self.add_symbol(("own", s.name), s.name, s.type, s.bind, out, offset + s.value, s.size)
        if self.eh.data:
            self.eh.data += b"\0" * 4

    def relocate(self):
        for i, (out, at) in self.placed.items():
            for offset, type, symbol, addend in self.new.relocations(i):
                call = type == R_PLT32
                number, addend = self.target_of(symbol, addend, call)
                out.relocations.append((at + offset, R_PC32 if call else type, number, addend))

    def records(self):
        self.replaced = []
        for s in self.new.symbols:
            if s.type != FUNC or s.shndx not in self.placed:
                continue
            out, offset = self.placed[s.shndx]
            original = self.old.symbol(s.name)
            if self.replaces is not None and s.name not in self.replaces:
                original = None
            if original and original.type != FUNC:
                original = None
            at = self.info.add(struct.pack("<QQIIQQII", 0, 0, original.size if original else 0, s.size, 0,
                                           original.value if original else 0, 0, 0), 1)
            name = self.strtab.add(s.name.encode() + b".kpatch\0", 1)
            if original:
                section = self.old.sections[original.shndx]
                self.info.relocations.append((at, R_64, self.section_symbol(section), original.value - section.addr))
                self.replaced.append((len(self.info.data) // 48 - 1, original))
            self.info.relocations.append((at + 8, R_64, self.section_symbol(self.text), offset + s.value))
            self.info.relocations.append((at + 24, R_64, self.section_symbol(self.strtab), name))
        self.info.add(bytes(48), 1)

    def add_hooks(self):
        for kind, name in self.hooks:
            s = next(s for s in self.new.symbols if s.name == name)
            at = self.hook_section.add(struct.pack("<QQ", HOOKS[kind], 0), 1)
            self.hook_section.relocations.append(
                (at + 8, R_64, self.section_symbol(self.text), self.placed[s.shndx][1] + s.value))

    def old_bytes(self):
        blob, entries = bytearray(), []
        base = 8 + 32 * len(self.replaced)
        for index, s in self.replaced:
            entries.append(struct.pack("<QIIIIII", s.value, s.size, 0, base + len(blob), 0, 0, index))
            blob += self.old.bytes_at(s.value, s.size)
        return struct.pack("<II", 1, len(entries)) + b"".join(entries) + blob

    def notes(self):
        functions = [{"name": s.name, "unit": "patch.o", "why": "it is in the object"} for _, s in self.replaced]
        return json.dumps({"version": 1, "id": self.id, "object": self.name, "build_id": self.build_id,
                           "tool": "kpatchlib", "compiler": "cc", "level": self.level, "needs": list(self.needs),
                           "functions": functions}).encode()

    # ---- the file

    def elf(self):
        self.place()
        self.relocate()
        self.records()
        self.add_hooks()
        if self.tweak:
            self.tweak(self)
        extra = []
        if self.meta:
            extra.append((".livepatch.meta", self.notes()))
        if self.check:
            extra.append((".livepatch.old", self.old_bytes()))
        own = [o for o in self.own if o.data]
        if self.hook_section.data:
            own.insert(0, self.hook_section)
        # Locals first.
        order = sorted(range(len(self.symbols)), key=lambda i: i and self.symbols[i][1] >> 4 != 0)
        number = {old: new for new, old in enumerate(order)}
        originals = []
        for s in self.symbols[1:]:
            if isinstance(s[2], Section) and s[2] not in originals:
                originals.append(s[2])
        index = {id(o): i + 1 for i, o in enumerate(originals + own)}
        nr = 1 + len(originals) + len(own)
        tables = [o for o in own if o.relocations]
        symtab_at = nr + len(tables) + len(extra)
        strings, names = bytearray(b"\0"), bytearray(b"\0")

        def name(table, word):
            if not word:
                return 0
            table.extend(word.encode() + b"\0")
            return len(table) - len(word) - 1

        symtab = b"".join(struct.pack("<IBBHQQ", name(strings, n), info, 0, index[id(where)] if where else 0, value, size)
                          for n, info, where, value, size in ((*self.symbols[i][:2], *self.symbols[i][2:5]) for i in order))
        nr_locals = sum(self.symbols[i][1] >> 4 == 0 for i in order)
        rows = [(0,) * 10]
        image = bytearray(64)

        def emit(word, type, flags, data, align, addr=0, size=None, link=0, info=0, entsize=0):
            image.extend(b"\0" * (-len(image) % align))
            rows.append((name(names, word), type, flags, addr, len(image), len(data) if size is None else size, link, info,
                         align, entsize))
            image.extend(data)

        for s in originals:
            emit(s.name, SHT_NOBITS, s.flags & (WRITE | ALLOC | EXEC | TLS), b"", max(s.align, 1), s.addr, s.size)
        for o in own:
            emit(o.name, SHT_PROGBITS, o.flags, bytes(o.data), o.align)
        for o in tables:
            data = b"".join(struct.pack("<QQq", at, number[sym] << 32 | type, addend) for at, type, sym, addend in
                            o.relocations)
            emit(".rela" + o.name, SHT_RELA, 0x40, data, 8, link=symtab_at, info=index[id(o)], entsize=24)
        for word, data in extra:
            emit(word, SHT_PROGBITS, 0, data, 8)
        emit(".symtab", SHT_SYMTAB, 0, symtab, 8, link=symtab_at + 1, info=nr_locals, entsize=24)
        emit(".strtab", SHT_STRTAB, 0, bytes(strings), 1)
        shstrtab = name(names, ".shstrtab")
        rows.append((shstrtab, SHT_STRTAB, 0, 0, len(image), len(names), 0, 0, 1, 0))
        image.extend(names)
        image.extend(b"\0" * (-len(image) % 8))
        shoff = len(image)
        for row in rows:
            image.extend(struct.pack("<IIQQQQIIQQ", *row))
        image[:64] = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, EM_X86_64, 1, 0, 0, shoff, 0, 64, 0, 0, 64,
                                 len(rows), len(rows) - 1)
        return bytes(image)

    def file(self):
        elf = self.elf()
        size = 688 if self.libcare else 504
        total = (size + len(elf) + 15) // 16 * 16
        header = bytearray(size)
        header[:8] = b"KPATCH1\0"

        def put(at, form, *values):
            struct.pack_into(form, header, at, *values)

        if self.libcare:
            put(16, "63s", self.name.encode())
            put(80, "255s", self.build_id.encode())
            put(352, "<III", size, size, total)
            put(368 + 8, "<I", self.level)
        else:
            put(8, "8s", (self.id if len(self.id) <= 7 else fnv28(self.id)).encode())
            put(24, "63s", self.name.encode())
            put(88, "40s", self.build_id.encode())
            put(152, "<III", size, size, total)
            put(184 + 8, "<I", self.level)
        return bytes(header) + elf + bytes(total - size - len(elf))


CFLAGS = ("-O2", "-fno-pic", "-mcmodel=small", "-ffunction-sections", "-fdata-sections", "-fcf-protection=none")


def compile_object(source, *flags, name="patch", compiler="cc", suffix=".c"):
    """An object made of C text."""
    directory = lib.scratch_directory()
    path = directory / (name + suffix)
    path.write_text(source)
    result = directory / (name + ".o")
    subprocess.run([compiler, "-D_GNU_SOURCE", "-Wall", *(flags or ("-O2", "-fPIE", "-ffunction-sections")), f"-I{lib.SOURCES}",
                    f"-I{lib.TOP / 'include'}", "-c", path, "-o", result], check=True)
    return result


def make(source, original, *flags, name="fix.kpatch", compiler="cc", suffix=".c", **options):
    """Path of a .kpatch file made of C text for a program or library."""
    object = source if isinstance(source, Path) else compile_object(source, *flags, compiler=compiler, suffix=suffix)
    path = lib.scratch_directory() / name
    path.write_bytes(Maker(object, original, **options).file())
    return path
