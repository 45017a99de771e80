"""LibcarePlus's half that applies a .kpatch file, written a second time: from docs/format-kpatch.md, with nothing of ours.

No binary of it can be had where the tests run.  This one takes what that one takes, and stumbles where it would: over every
symbol of the table, whether used or not, over kinds of symbols and relocations that it does not know, and over references that
it would bind to its jump table where data is meant.  Its image in the process is laid out as documented, too, so that
`libcare-ctl info` and `unpatch` have something to find.
"""
import os
import re
import signal
import socket
import struct
from contextlib import contextmanager
from pathlib import Path

import kpatchlib
import lib

# magic, id, flags, safety_method, modulename, buildid, build_time, csum, nr_reloc, kpatch_offset, rel_offset, total_size,
# jmp_offset, elf_offset, kpatch_total_mem_sz, entries[16], srcversion; what is skipped is 0
HEADER = struct.Struct("<8s8sBB6x64s41s7xQIIIIIII4xQ16I25s231x")
RECORD = struct.Struct("<QQIIQQII")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
HUNK, PAGE = 5, 4096
JUMP = 0x90900000000225ff  # jmp *2(%rip); nop; nop

NOBITS, RELA, REL, SYMTAB = 8, 4, 9, 2
NOTYPE, OBJECT, FUNC, SECTION_SYMBOL, TLS, IFUNC = 0, 1, 2, 3, 6, 10
NONE, ABS64, PC32, GOTPCREL, ABS32, ABS32S, GOTTPOFF, GOTPCRELX, REX_GOTPCRELX = 0, 1, 2, 9, 10, 11, 22, 41, 42
THROUGH_GOT = (GOTPCREL, GOTPCRELX, REX_GOTPCRELX)


class Stumbles(Exception):
    """LibcarePlus would refuse the file here, or bind something wrongly."""


def up(value, to):
    return (value + to - 1) // to * to


class Sections:
    """Section headers and symbols of the object in a file; both are changed in place, as LibcarePlus does."""

    def __init__(self, elf):
        self.elf = elf
        ident, kind, machine, _, _, phoff, shoff, _, ehsize, _, phnum, shentsize, count, names = struct.unpack_from(
            "<16sHHIQQQIHHHHHH", elf)
        if ident[:6] != b"\x7fELF\x02\x01" or kind != 1 or shentsize != SECTION.size or machine != kpatchlib.EM_X86_64:
            raise Stumbles("not a relocatable object")
        assert (phoff, ehsize, phnum) == (0, 64, 0)
        self.headers = [list(SECTION.unpack_from(elf, shoff + i * SECTION.size)) for i in range(count)]
        strings = self.headers[names]
        self.names = [self.string(strings, h[0]) for h in self.headers]
        table = next(h for h in self.headers if h[1] == SYMTAB)
        self.symbols = [list(SYMBOL.unpack_from(elf, table[4] + at)) for at in range(0, table[5], SYMBOL.size)]
        self.symbol_names = [self.string(self.headers[table[6]], s[0]) for s in self.symbols]

    def string(self, section, at):
        return kpatchlib.text(bytes(self.elf[section[4]:section[4] + section[5]]), at)

    def named(self, name):
        return next((h for h, n in zip(self.headers, self.names) if n == name), None)


class Patch:
    def __init__(self, path):
        data = Path(path).read_bytes()
        fields = HEADER.unpack_from(data)
        assert HEADER.size == 504 and HEADER.pack(*fields) == data[:HEADER.size], "bytes between the fields"
        (self.magic, self.id, self.flags, self.safety_method, self.modulename, self.buildid, self.build_time, self.csum,
         self.nr_reloc, self.kpatch_offset, self.rel_offset, self.total_size, self.jmp_offset, self.elf_offset,
         self.total_mem, *self.entries, self.srcversion) = fields
        if self.magic != b"KPATCH1\0" or self.total_size > len(data):
            raise Stumbles("no patch file")
        self.header = bytearray(data[:HEADER.size])
        self.elf = bytearray(data[self.kpatch_offset:self.total_size])
        self.sections = Sections(self.elf)

    def undefined(self):
        return sum(s[3] == 0 and s[1] >> 4 == 1 for s in self.sections.symbols[1:])

    def lay_out(self):
        """Offsets in the image: jump table, object, where it begins to be writable, undo, end."""
        info, data = self.sections.named(".kpatch.info"), self.sections.named(".kpatch.data")
        self.nr_records = info[5] // RECORD.size
        self.jmp_offset = HEADER.size
        self.elf_offset = up(self.jmp_offset + 16 + 16 * self.undefined(), PAGE)
        self.undo = up(self.elf_offset + len(self.elf), 128)
        self.info = self.elf_offset + info[4]
        self.end = up(self.undo + HUNK * self.nr_records, PAGE)
        self.writable = self.elf_offset + data[4] if data else self.end
        if self.writable % PAGE:
            raise Stumbles(".kpatch.data begins in the middle of a page")
        struct.pack_into("<II4xQII", self.header, 164, self.jmp_offset, self.elf_offset, self.end, self.undo, self.info)

    # ---- resolve

    def move_sections(self, base, bias):
        for h in self.sections.headers[1:]:
            if h[1] != NOBITS:
                h[3] = base + self.elf_offset + h[4]
            elif h[3]:
                h[3] += bias

    def resolve(self, base, bias, lookup):
        self.move_sections(base, bias)
        self.slots, self.addresses = [], {}
        for number, (s, name) in enumerate(zip(self.sections.symbols, self.sections.symbol_names)):
            kind = s[1] & 15
            if number == 0 or kind in (TLS, NOTYPE):
                continue
            if kind == SECTION_SYMBOL:
                s[4] = self.sections.headers[s[3]][3]
            elif kind not in (FUNC, OBJECT):
                raise Stumbles(f"unsupported symbol type {kind}: {name}")
            elif s[3] == 0 and s[1] >> 4 == 1:
                self.addresses[number] = lookup(name.split("@")[0])
                s[4] = base + self.jmp_offset + 16 + 16 * len(self.slots)
                self.slots.append(self.addresses[number])
            else:
                s[4] += self.sections.headers[s[3]][3]

    # ---- relocate

    def value(self, type, number, addend, bias, section):
        s, name = self.sections.symbols[number], self.sections.symbol_names[number]
        kind, is_undefined = s[1] & 15, number in self.addresses
        if kind == NOTYPE and number:
            raise Stumbles(f"{name}: symbols without a type are not resolved")
        if type in THROUGH_GOT:
            if not is_undefined:
                raise Stumbles(f"{name}: there is no slot for what is defined")
            return s[4] + addend + 8
        if type == GOTTPOFF:
            if kind != TLS or s[3] == 0:
                raise Stumbles(f"{name}: no thread-local variable of the original")
            return addend + bias - 4
        if kind == TLS:
            raise Stumbles(f"{name}: relocation {type} to a thread-local variable")
        if is_undefined and kind == OBJECT:
            raise Stumbles(f"{name}: the jump table would be taken for the variable")
        return s[4] + addend

    def relocate(self, bias):
        for h in self.sections.headers[1:]:
            if h[1] == REL:
                raise Stumbles("SHT_REL")
            if h[1] != RELA:
                continue
            target = self.sections.headers[h[7]]
            for at in range(h[4], h[4] + h[5], 24):
                offset, info, addend = struct.unpack_from("<QQq", self.elf, at)
                if offset >= target[5]:
                    raise Stumbles("a relocation beyond its section")
                self.relocate_one(target, offset, info & 0xffffffff, info >> 32, addend, bias)

    def relocate_one(self, target, offset, type, number, addend, bias):
        place = target[4] + offset
        if type == NONE:
            return
        value = self.value(type, number, addend, bias, target)
        if type == ABS64:
            struct.pack_into("<Q", self.elf, place, value % 2**64)
        elif type in (ABS32, ABS32S):
            struct.pack_into("<i" if type == ABS32S else "<I", self.elf, place, value)
        elif type in (PC32, GOTTPOFF, *THROUGH_GOT):
            struct.pack_into("<i", self.elf, place, value - target[3] - offset)
        else:
            raise Stumbles(f"unknown relocation type {type}")

    # ---- the image

    def records(self):
        at = self.sections.named(".kpatch.info")[4]
        return [RECORD.unpack_from(self.elf, at + i * RECORD.size) for i in range(self.nr_records)]

    def image(self):
        table = struct.pack("<III4x", 16 + 16 * len(self.slots), len(self.slots), len(self.slots))
        table += b"".join(struct.pack("<QQ", JUMP, address) for address in self.slots)
        image = bytearray(self.end)
        image[:HEADER.size] = self.header
        image[self.jmp_offset:self.jmp_offset + len(table)] = table
        image[self.elf_offset:self.elf_offset + len(self.elf)] = self.elf
        return image


# ---- the process

class Process:
    """A running program and the helper in it (tests/victim/e2e_room.c) that maps memory."""

    def __init__(self, pid, helper):
        self.pid, self.helper = pid, helper
        self.program = os.path.realpath(f"/proc/{pid}/exe")

    def request(self, what, address, size=0, protection=0):
        self.helper.sendall(struct.pack("<4Q", what, address, size, protection))
        return struct.unpack("<Q", self.helper.recv(8, socket.MSG_WAITALL))[0]

    def objects(self):
        """Path -> where it begins, in the order of the maps."""
        found = {}
        for line in lib.maps(self.pid):
            words = line.split(None, 5)
            if len(words) == 6 and words[5].startswith("/"):
                found.setdefault(words[5], int(line.split("-")[0], 16))
        return found

    def bias(self):
        is_fixed = Path(self.program).read_bytes()[16:18] == b"\x02\x00"
        return 0 if is_fixed else self.objects()[self.program]

    def lookup(self, name):
        """Among the libraries alone, in the order of the maps, whatever the version."""
        for path, start in self.objects().items():
            if path == self.program or not re.search(r"\.so[.\d]*$", path):
                continue
            for s in kpatchlib.Elf(path).read_symbols(11):
                if s.name == name and s.shndx:
                    return self.request(2, start + s.value) if s.type == IFUNC else start + s.value
        raise Stumbles(f"failed to resolve undefined symbol {name}")

    def map_near(self, size, writable):
        """An image as it is mapped in the end: r-x, and rw- from `writable` on."""
        base = up(self.objects()[self.program] + (64 << 20), PAGE)
        while not self.request(1, base, writable, 5):
            base += 1 << 20
        if writable < size:
            assert self.request(1, base + writable, size - writable, 3)
        return base

    @contextmanager
    def stopped(self):
        lib.stop(self.pid)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def jump(memory, base, patch):
    for i, (daddr, saddr, dlen, _, _, _, _, _) in enumerate(patch.records()):
        if daddr == 0 and dlen == 0:
            continue
        if dlen < HUNK:
            raise Stumbles("too small a function")
        memory.seek(daddr)
        old = memory.read(HUNK)
        memory.seek(base + patch.undo + i * HUNK)
        memory.write(old)
        memory.seek(daddr)
        memory.write(b"\xe9" + struct.pack("<i", saddr - daddr - HUNK))


def apply(process, path):
    """As `libcare-ctl patch -p PID FILE` of LibcarePlus; the process must be in none of the functions."""
    patch = Patch(path)
    if patch.buildid[:40].decode() != kpatchlib.Elf(process.program).build_id:
        raise Stumbles("no patch for this program")
    patch.lay_out()
    base = process.map_near(patch.end, patch.writable)
    patch.resolve(base, process.bias(), process.lookup)
    patch.relocate(process.bias())
    with process.stopped(), open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(base)
        memory.write(patch.image())
        jump(memory, base, patch)
    return base


@contextmanager
def victim(program, *args, **popen):
    """(lib.Victim, Process) of a program that runs with the helper."""
    helper = lib.shared_object("e2e_room.c", "-O2", "-pthread")
    ours, its = socket.socketpair()
    env = {**os.environ, "LD_PRELOAD": str(helper), "ROOM": str(its.fileno())}
    with ours, its, lib.Victim(program, *args, env=env, pass_fds=[its.fileno()], **popen) as v:
        yield v, Process(v.pid, ours)
