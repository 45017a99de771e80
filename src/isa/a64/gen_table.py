#!/usr/bin/env python3
"""Make the tables of decoder, listing and assembler from a64.def.

    gen_table.py a64.def OPS.h ROWS TABLE.c

OPS.h    enum lp_a64_op, one enumerator per row, and an accessor per field
ROWS     A64_ROW(name) per row, in the order of the enumerators
TABLE.c  included by table.c: rows, the decision tree over words, forms of text,
         constraints as C

Refuses a table in which two rows share a word, a pattern is not 32 bits long, a
field stands elsewhere than declared, or an allocated word of a row could have no
text.  The format is described at the top of a64.def.
"""
import ast
import re
import sys
from collections import namedtuple

BITS = 32
FULL = (1 << BITS) - 1
NAME_SIZE = 16

# ---- conditions ----


def limm(word):
    """DecodeBitMasks: N:immr:imms is an element size, a run of ones shorter than it, and a rotation."""
    sf, n, imms = word >> 31 & 1, word >> 22 & 1, word >> 10 & 63
    if n and not sf:
        return False
    length = (n << 6 | imms ^ 63).bit_length() - 1
    return length >= 1 and imms & ((1 << length) - 1) != (1 << length) - 1


def pstate(word):
    """Fields that MSR (immediate) sets; those of one bit take 0 or 1."""
    op1, crm, op2 = word >> 16 & 7, word >> 8 & 15, word >> 5 & 7
    if (op1, op2) in ((0, 5), (3, 6), (3, 7)):  # SPSel, DAIFSet, DAIFClr
        return True
    return (op1, op2) in ((0, 3), (0, 4), (3, 1), (3, 2), (3, 4)) and crm < 2  # UAO, PAN, SSBS, DIT, TCO


# name: (what it means here, its C function takes the word, the bits it looks at); None: evaluated in C only
PREDICATES = {"limm": (limm, 0x807ffc00 & ~0x3f0000), "limm_moves": (None, 0), "pstate": (pstate, 0x00070fe0),
              "is_dc": (None, 0), "is_ic": (None, 0)}

C_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.BitAnd: "&", ast.BitOr: "|", ast.LShift: "<<",
               ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Condition:
    """A Python expression over a row's fields: evaluated here for the proof, translated to C for the program."""

    def __init__(self, text, fields):
        self.tree = ast.parse(text, mode="eval").body
        self.fields = fields
        self.code = compile(ast.Expression(self.tree), text, "eval")
        self.names = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)}
        for name in self.names - set(PREDICATES) - set(fields):
            raise ValueError(f"no field {name}")

    def bits(self):
        """The bits that decide."""
        mask = 0
        for name in self.names:
            mask |= PREDICATES[name][1] if name in PREDICATES else field_mask(self.fields[name])
        return mask

    def holds(self, word):
        values = {n: PREDICATES[n][0](word) if n in PREDICATES else field_value(self.fields[n], word) for n in self.names}
        return bool(eval(self.code, {"__builtins__": {}}, values))

    def c(self):
        return self._c(self.tree)

    def _c(self, node):
        if isinstance(node, ast.BoolOp):
            word = " && " if isinstance(node.op, ast.And) else " || "
            return "(" + word.join(self._c(v) for v in node.values) + ")"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return "!" + self._c(node.operand)
        if isinstance(node, ast.BinOp):
            return f"({self._c(node.left)} {C_OPERATORS[type(node.op)]} {self._c(node.right)})"
        if isinstance(node, ast.Compare):
            left, op, right = self._c(node.left), node.ops[0], node.comparators[0]
            if isinstance(op, ast.In):
                return "(" + " || ".join(f"{left} == {self._c(e)}" for e in right.elts) + ")"
            return f"({left} {C_OPERATORS[type(op)]} {self._c(right)})"
        if isinstance(node, ast.Name):
            if node.id in PREDICATES:
                return f"{node.id}(word)"
            lsb, width = self.fields[node.id]
            return f"(word >> {lsb} & {(1 << width) - 1:#x})"
        if isinstance(node, ast.Constant):
            return f"{node.value}u"
        raise ValueError(f"{ast.dump(node)} is not supported")

    def equalities(self):
        """(mask, value) of the field == number terms that must hold: the assembler sets those."""
        mask = value = 0
        terms = self.tree.values if isinstance(self.tree, ast.BoolOp) and isinstance(self.tree.op, ast.And) else [self.tree]
        for t in terms:
            if (isinstance(t, ast.Compare) and isinstance(t.ops[0], ast.Eq) and isinstance(t.left, ast.Name)
                    and isinstance(t.comparators[0], ast.Constant)):
                field = self.fields[t.left.id]
                mask |= field_mask(field)
                value |= t.comparators[0].value << field[0]
        return mask, value


def field_mask(field):
    lsb, width = field
    return ((1 << width) - 1) << lsb


def field_value(field, word):
    lsb, width = field
    return word >> lsb & ((1 << width) - 1)


# ---- operands ----

REGISTERS = {"d": 0, "t": 0, "n": 5, "m": 16, "a": 10, "t2": 10, "s": 16}
GPR_WIDTH = {"W": "WIDTH_W", "X": "WIDTH_X", "R": "WIDTH_SF", "N": "WIDTH_SF_N", "Y": "WIDTH_BIT30", "Z": "WIDTH_SIZE"}
FPR_WIDTH = {"B": "FPR_B", "H": "FPR_H", "S": "FPR_S", "D": "FPR_D", "Q": "FPR_Q", "F": "FPR_FTYPE", "E": "FPR_ESIZE",
             "L": "FPR_LONG", "J": "FPR_SZ", "I": "FPR_IMMH", "K": "FPR_IMMH_LONG", "O": "FPR_OPC"}
LANES = {"T": "SIZE", "Tl": "LONG", "Tp": "HALVES", "Tb": "BYTES", "Th": "HALFWORDS", "Ts": "WORDS", "Tf": "SZ",
         "Tfl": "SZ_LONG", "Tfn": "SZ_NARROW", "Tfp": "SZ_PAIR", "Ti": "IMMH", "Til": "IMMH_LONG", "T5": "IMM5",
         "Tv": "VSIZE", "16b": "16B", "8h": "8H", "4s": "4S", "2d": "2D", "1q": "1Q", "2h": "2H"}
SCALE = {"x": "SCALE_SF", "v": "SCALE_OPC"}
# what stands for itself: token -> kind and up to three arguments
PLAIN = {
    "adr": "ADR", "adrp": "ADRP", "label19": "LABEL 5 19", "label14": "LABEL 5 14", "label26": "LABEL 0 26", "bit": "BIT",
    "aimm": "AIMM", "limm": "LIMM", "movw": "MOVW", "movz": "MOVZ", "movn": "MOVN", "shift": "SHIFT 1", "ashift": "SHIFT 0",
    "extended": "EXTENDED 0", "extended:sp": "EXTENDED 1", "lsl_amount": "LSL_AMOUNT", "bfi_lsb": "BFI_LSB",
    "bfi_width": "BFI_WIDTH", "bfx_width": "BFX_WIDTH", "cond": "COND 12 0", "zero": "ZERO 0", "fzero": "ZERO 1", "invcond": "COND 12 1",
    "barrier": "BARRIER", "pstate": "PSTATE", "sysreg": "SYSREG", "sysop_dc": "SYSOP SYSOP_DC", "sysop_ic": "SYSOP SYSOP_IC",
    "Cn": "CREG 12", "Cm": "CREG 8", "prfop": "PRFOP", "ldra": "LDRA", "fimm": "FIMM", "fbits": "FBITS",
    "top:n": "TOP 5", "top:d": "TOP 0", "rotation": "ROTATION 11 2", "rotation:elem": "ROTATION 13 2",
    "rotation:odd": "ROTATION 12 1", "shll": "SHLL", "shr": "SHR", "shl": "SHL", "vimm": "VIMM", "vlsl:32": "VLSL 2",
    "vlsl:16": "VLSL 1", "msl": "MSL", "vimm64": "VIMM64", "vfimm": "VFIMM", "elem4:n": "ELEM4 5", "table:n": "TABLE",
    "lane:int": "BY_ELEMENT ELEMENT_INT", "lane:fp": "BY_ELEMENT ELEMENT_FP", "lane:dot": "BY_ELEMENT ELEMENT_DOT",
    "lane:complex": "BY_ELEMENT ELEMENT_COMPLEX",
}

Operand = namedtuple("Operand", "kind args")
TOKEN = re.compile(r"\s*(?:(?P<punct>[\[\]!,])|'(?P<word>[^']*)'|\{,(?P<optional>[^}]*)\}|(?P<name>#?[A-Za-z][\w|.+=:*]*))")


def number(text, fields):
    """#d:field*scale"""
    style, name, scale = re.fullmatch(r"#([dx]):(\w+)(?:\*(\d+))?", text).groups()
    lsb, width = fields[name]
    return Operand("NUMBER", (lsb, width, ("NUMBER_HEX" if style == "x" else "NUMBER_DEC")
                              + (f" | {int(scale).bit_length() - 1} << NUMBER_SCALE" if scale else "")))


def offset(text):
    """imm7:SCALE, imm9, imm9:SCALE, imm12:SCALE; SCALE is log2 of the unit."""
    name, _, scale = text.partition(":")
    lsb, width, signed = {"imm7": (15, 7, 1), "imm9": (12, 9, 1), "imm12": (10, 12, 0)}[name]
    return lsb, width, signed, SCALE.get(scale, scale or "0")


def register(text):
    m = re.fullmatch(r"([WXRNYZ])(t2|[dntmas])(\|SP)?", text)
    if m:
        sp = " | WIDTH_SP" if m[3] else ""
        return Operand("GPR", (REGISTERS[m[2]], GPR_WIDTH[m[1]] + sp))
    m = re.fullmatch(r"([BHSDQFELJIKO])(t2|[dntma])", text)
    if m:
        return Operand("FPR", (REGISTERS[m[2]], FPR_WIDTH[m[1]]))
    m = re.fullmatch(r"V([dnma])\.(\w+)", text)
    if m:
        return Operand("VECTOR", (REGISTERS[m[1]], "LANES_" + LANES[m[2]]))
    return None


def special_register(text):
    m = re.fullmatch(r"([YZ])([st])\+1", text)
    if m:
        return Operand("GPR_NEXT", (REGISTERS[m[2]], GPR_WIDTH[m[1]]))
    if text == "Rn=m":
        return Operand("GPR_TWICE", ())
    if text == "Vn=m.Tb":
        return Operand("VECTOR_TWICE", ())
    m = re.fullmatch(r"(gpr5|elem5|scalar5):([dn])", text)
    if m:
        return Operand({"gpr5": "GPR5", "elem5": "ELEM5", "scalar5": "SCALAR5"}[m[1]], (REGISTERS[m[2]],))
    m = re.fullmatch(r"list(\d)\.(\w+)", text)
    if m:
        return Operand("LIST", (m[1], "LANES_" + LANES[m[2]]))
    m = re.fullmatch(r"lane(\d)\.([bhsd])", text)
    if m:
        return Operand("LANE", (m[1], "bhsd".index(m[2])))
    m = re.fullmatch(r"post:(list|rep)?(\d+)", text)
    if m:
        return Operand("POST", (m[2], {"list": "POST_LIST", "rep": "POST_REPLICATED", None: "POST_BYTES"}[m[1]]))
    return None


def operand(text, optional, fields):
    if text.startswith("#"):
        return number(text, fields)
    if text.startswith("index:"):
        return Operand("INDEX", (text[6:],))
    if re.match(r"imm(7|9|12)\b", text):
        lsb, width, signed, scale = offset(text)
        flags = scale + (" | OFFSET_SIGNED" if signed else "") + (" | OFFSET_OPTIONAL" if optional else "")
        return Operand("OFFSET", (lsb, width, flags))
    if text in PLAIN:
        kind, *args = PLAIN[text].split()
        return Operand(kind, tuple(args))
    found = register(text) or special_register(text)
    if not found:
        raise ValueError(f"unknown operand {text}")
    return found


def parse_operands(text, fields):
    result, at = [], 0
    while text[at:].strip():
        m = TOKEN.match(text, at)
        if not m:
            raise ValueError(f"cannot read operands at '{text[at:]}'")
        at = m.end()
        if m["punct"]:
            result.append(Operand("PUNCTUATION", (f"'{m['punct']}'",)))
        elif m["word"] is not None:
            result.append(Operand("WORD", (words.setdefault(m["word"], len(words)),)))
        else:
            result.append(operand(m["name"] or m["optional"], m["optional"] is not None, fields))
    return result


words = {}

# ---- rows ----


class Form:
    """One way to write a row down."""

    def __init__(self, mnemonic, operands, mask, value, condition, also):
        self.mnemonic, self.operands, self.also = mnemonic, operands, also
        self.condition = condition
        if condition:
            more_mask, more_value = condition.equalities()
            mask, value = mask | more_mask, value | more_value
        self.mask, self.value = mask, value


class Row:
    def __init__(self, name, pattern, feature, when):
        self.name, self.feature = name, feature or "base"
        self.mask, self.match, self.fields = read_pattern(pattern)
        self.when = Condition(when, self.fields) if when else None
        self.forms = []

    def op(self):
        return "A64_OP_" + self.name.upper()

    def add_form(self, line):
        also = line.startswith("also ")
        text, _, condition = line.removeprefix("also ").partition(" if ")
        mnemonic, _, operands = text.partition(" ")
        operands = parse_operands(operands, self.fields)
        condition = Condition(condition, self.fields) if condition else None
        for name, mask, value in self.spellings(mnemonic):
            self.forms.append(Form(name, operands, mask, value, condition, also))

    def spellings(self, mnemonic):
        """ld{A:,a}x: (name, mask, value) for every value of the fields in braces."""
        m = re.search(r"\{(\w+):([^}]*)\}", mnemonic)
        if not m:
            return [(mnemonic, 0, 0)]
        lsb, width = self.fields[m[1]]
        suffixes = m[2].split(",")
        assert len(suffixes) == 1 << width, mnemonic
        return [(name, mask | field_mask((lsb, width)), value | i << lsb)
                for i, suffix in enumerate(suffixes)
                for name, mask, value in self.spellings(mnemonic[:m.start()] + suffix + mnemonic[m.end():])]

    def holds(self, word):
        return word & self.mask == self.match and (not self.when or self.when.holds(word))


declared = {}


def read_field(line):
    name, lsb, width, *others = line.split()
    declared[name] = ([int(lsb), *map(int, others)], int(width))


def read_pattern(pattern):
    """mask, match and the place of each field; the first place declared is where accessors look."""
    at, mask, match, fields = BITS, 0, 0, {}
    for token in pattern.split():
        if re.fullmatch("[01]+", token):
            at -= len(token)
            mask |= field_mask((at, len(token)))
            match |= int(token, 2) << at
        else:
            places, width = declared[token]
            at -= width
            if at not in places:
                raise ValueError(f"{token} stands at bit {at}, not where it is declared")
            fields[token] = (at, width)
    if at:
        raise ValueError(f"{BITS - at} bits")
    return mask, match, fields


ROW = re.compile(r"(?P<name>\w+)\s+(?P<pattern>[^@]*?)(?:\s+@(?P<feature>\w+))?(?:\s+when\s+(?P<when>.*))?$")


def read_line(line, rows, state):
    if line.startswith("field "):
        state["fields"] = True
    elif line[0] == "\t":
        rows[-1].add_form(line.strip())
    elif state["fields"] and len(line.split()) in (3, 4) and line.split()[1].isdigit() and not state["rows"]:
        read_field(line)
    else:
        state["rows"] = True
        rows.append(Row(**ROW.match(line).groupdict()))


def read_table(path):
    rows, state = [], {"fields": False, "rows": False}
    for nr, line in enumerate(open(path), 1):
        if not line.strip() or line.startswith("#"):
            if "---" in line:
                state["rows"] = True
            continue
        try:
            read_line(line.rstrip("\n"), rows, state)
        except (ValueError, KeyError, AttributeError, AssertionError) as e:
            sys.exit(f"{path}:{nr}: {e!r}")
    return rows


# ---- the proof ----


def assignments(mask):
    """Every value of the bits in mask."""
    value = 0
    while True:
        yield value
        value = (value - mask) & mask
        if not value:
            return


def share_a_word(a, b):
    if (a.match ^ b.match) & a.mask & b.mask:
        return None
    fixed, match = a.mask | b.mask, a.match | b.match
    free = 0
    for row in (a, b):
        if row.when:
            free |= row.when.bits()
    free &= ~fixed
    if bin(free).count("1") > 20:
        raise ValueError(f"{a.name} and {b.name}: too many bits to try")
    for value in assignments(free):
        word = match | value
        if a.holds(word) and b.holds(word):
            return word
    return None


def prove_disjoint(rows):
    for i, a in enumerate(rows):
        for b in rows[i + 1:]:
            word = share_a_word(a, b)
            if word is not None:
                sys.exit(f"{a.name} and {b.name} share {word:#010x}")


def prove_printable(rows):
    """Some form of the row applies to each of its words: the last of those to print has no condition, or all are tried."""
    for row in rows:
        printed = [f for f in row.forms if not f.also]
        if any(not f.mask and not f.condition for f in printed):
            continue
        bits = row.when.bits() if row.when else 0
        for f in printed:
            bits |= f.mask | (f.condition.bits() if f.condition else 0)
        bits &= ~row.mask
        for value in assignments(bits):
            word = row.match | value
            if row.holds(word) and not any(word & f.mask == f.value and (not f.condition or f.condition.holds(word))
                                           for f in printed):
                sys.exit(f"{row.name}: no text for {word:#010x}")


# ---- the decision tree ----

MAX_BITS = 8


def choose_bits(rows, seen):
    """The run of bits, not looked at yet, that leaves the fewest rows to look through."""
    best = None
    for width in range(1, MAX_BITS + 1):
        for lsb in range(BITS - width + 1):
            run = field_mask((lsb, width))
            if run & seen:
                continue
            decided = sum(bin(r.mask & run).count("1") for r in rows)
            cost = sum(2.0 ** -bin(r.mask & run).count("1") for r in rows) * (1 + 0.04 * width)
            if decided and (best is None or cost < best[0]):
                best = (cost, lsb, width)
    return best and best[1:]


class Tree:
    """nodes: (lsb, width, first entry); entries: a node's index, or LEAF | index into leaves; leaves: runs of rows, -1."""

    def __init__(self, rows):
        self.nodes, self.entries, self.leaves, self.known = [], [], [], {}
        self.rows = rows
        self.root = self.grow(tuple(range(len(rows))), 0)

    def leaf(self, indices):
        at = len(self.leaves)
        self.leaves.extend([*indices, -1])
        return f"LEAF | {at}"

    def grow(self, indices, seen):
        key = (indices, seen if len(indices) > 1 else 0)
        if key not in self.known:
            self.known[key] = self.build(indices, seen)
        return self.known[key]

    def build(self, indices, seen):
        rows = [self.rows[i] for i in indices]
        common = FULL
        for r in rows:
            common &= r.mask
        bits = choose_bits(rows, seen) if len(indices) > 1 and not self.same(rows, seen) else None
        if not bits:
            return self.leaf(indices)
        lsb, width = bits
        run = field_mask(bits)
        node = len(self.nodes)
        self.nodes.append(None)
        first = len(self.entries)
        self.entries.extend([None] * (1 << width))
        for value in range(1 << width):
            left = tuple(i for i in indices
                         if not (self.rows[i].match ^ value << lsb) & self.rows[i].mask & run)
            self.entries[first + value] = self.grow(left, seen | run)
        self.nodes[node] = (lsb, width, first)
        return str(node)

    @staticmethod
    def same(rows, seen):
        """Only constraints tell them apart."""
        return all((a.mask & ~seen, a.match & ~seen) == (rows[0].mask & ~seen, rows[0].match & ~seen) for a in rows)


# ---- writing ----

HEADER = "/* Made by gen_table.py from a64.def: do not edit. */\n"


def write_ops(path, rows):
    with open(path, "w") as f:
        f.write(HEADER + "#ifndef LP_ISA_A64_OPS_H\n#define LP_ISA_A64_OPS_H\n\n#include <stdint.h>\n\nenum lp_a64_op {\n")
        f.write("\tA64_OP_UNALLOCATED,\n")
        f.writelines(f"\t{r.op()},\n" for r in rows)
        f.write("\tA64_OP_COUNT\n};\n\nenum lp_a64_feature {\n")
        f.writelines(f"\tA64_FEATURE_{name.upper()},\n" for name in features(rows))
        f.write("\tA64_FEATURE_COUNT\n};\n")
        for name, (places, width) in declared.items():
            f.write(f"\nstatic inline uint32_t lp_a64_field_{name}(uint32_t word)\n"
                    f"{{\n\treturn word >> {places[0]} & {(1 << width) - 1:#x};\n}}\n")
        f.write("\n#endif\n")


def write_rows(path, rows):
    with open(path, "w") as f:
        f.write(HEADER)
        f.writelines(f"A64_ROW({r.name})\n" for r in rows)


def features(rows):
    return sorted({r.feature for r in rows}, key=lambda n: (n != "base", n))


class Interned:
    """Equal things once."""

    def __init__(self, start=()):
        self.items = list(start)
        self.index = {item: i for i, item in enumerate(self.items)}

    def add(self, item):
        if item not in self.index:
            self.index[item] = len(self.items)
            self.items.append(item)
        return self.index[item]


def write_table(path, rows):
    mnemonics = sorted({form.mnemonic for r in rows for form in r.forms})
    number_of = {m: i for i, m in enumerate(mnemonics)}
    conditions, runs, forms, row_lines = Interned([None]), Interned(), [], []
    operands, first_operand = [], {}
    for r in rows:
        first = len(forms)
        for form in r.forms:
            key = tuple(form.operands)
            if key not in first_operand:
                first_operand[key] = len(operands)
                operands.extend([*form.operands, Operand("END", ())])
            when = conditions.add(form.condition.c()) if form.condition else 0
            forms.append((form.mnemonic, f"{{{r.op()}, {number_of[form.mnemonic]}, {form.mask:#010x}, {form.value:#010x}, {when}, "
                          f"{first_operand[key]}, {int(form.also)}}}"))
        when = conditions.add(r.when.c()) if r.when else 0
        row_lines.append(f'{{"{r.name}", {r.mask:#010x}, {r.match:#010x}, A64_FEATURE_{r.feature.upper()}, {when}, {first}, '
                         f"{len(forms) - first}}}")
    tree = Tree(rows)
    assert len(tree.entries) < 32768 and len(tree.leaves) < 32768 and len(forms) < 32768 and len(operands) < 65536
    assert all(len(r.name) < NAME_SIZE for r in rows)  # lp_a64_row.name

    with open(path, "w") as f:
        def array(declaration, items, per_line=1):
            f.write(f"\nstatic const {declaration} = {{\n")
            for i in range(0, len(items), per_line):
                f.write("\t" + " ".join(f"{item}," for item in items[i:i + per_line]) + "\n")
            f.write("};\n")

        f.write(HEADER + "\nstatic bool condition_holds(unsigned condition, uint32_t word)\n{\n\tswitch (condition) {\n")
        f.writelines(f"\tcase {i}:\n\t\treturn {c};\n" for i, c in enumerate(conditions.items) if c)
        f.write("\tdefault:\n\t\treturn true;\n\t}\n}\n")
        f.write(f"\nenum {{ LEAF = 0x8000, ROOT = {tree.root} }};\n")
        array("struct node nodes[]", [f"{{{lsb}, {width}, {first}}}" for lsb, width, first in tree.nodes], 6)
        array("uint16_t entries[]", tree.entries, 12)
        array("uint16_t leaves[]", ["LEAF_END" if i < 0 else rows[i].op() for i in tree.leaves], 4)
        array("struct lp_a64_row rows[A64_OP_COUNT]", ['{"unallocated", 0, 0, 0, 0, 0, 0}', *row_lines])
        array("struct lp_a64_form forms[]", [text for _, text in forms])
        # No pointers: they would be relocated when the program starts.
        array(f"char mnemonics[][{max(map(len, mnemonics), default=0) + 1}]", [f'"{m}"' for m in mnemonics], 8)
        order = sorted(range(len(forms)), key=lambda i: (forms[i][0], forms[i][1].endswith("1}"), i))
        array("uint16_t forms_by_mnemonic[]", order, 16)
        array("struct lp_a64_operand operands[]", [f"{{A64_OPERAND_{o.kind}, {{{', '.join(map(str, o.args)) or '0'}}}}}" for o in operands])
        array(f"char words[][{max(map(len, words), default=0) + 1}]", [f'"{w}"' for w in words], 8)


def main():
    source, ops, list_of_rows, table = sys.argv[1:]
    rows = read_table(source)
    prove_disjoint(rows)
    prove_printable(rows)
    write_ops(ops, rows)
    write_rows(list_of_rows, rows)
    write_table(table, rows)


if __name__ == "__main__":
    main()
