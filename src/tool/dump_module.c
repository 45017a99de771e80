/*
 * dump_module: what arm64_runner --dump-block shows, from what it says of a unit (jit/describe.c).
 *
 * Reads lines on standard input and writes on standard output:
 *
 *     unit PC NAME                 the guest's first instruction, and what that place is called
 *     host ADDRESS SIZE HOT        the host's code; behind HOT bytes it is cold
 *     insn PC WORD OFFSET          a guest instruction, and where its host code begins
 *     cold OFFSET PC               ... and cold code of one
 *     pin REGISTER HOST            a guest register that lives in a host register
 *     field DISPLACEMENT NAME      of rbp
 *     at ADDRESS NAME
 *     code HEX ...                 the host's bytes; the last line
 *
 * A program of its own, as arm64_runner is static and Zydis, which knows the host's instructions, a shared library.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/buf.h"
#include "base/vec.h"
#include "isa/isa.h"

enum { MAX_LINE = 1 << 20 };

struct named {
	uint64_t value;
	char *name;
};

struct place {
	uint32_t offset, word;
	uint64_t pc;
};

static struct {
	char *name;
	uint64_t pc, host, size, hot;
	LP_VEC(struct place) insns, cold;
	LP_VEC(struct named) addresses, fields;
	struct lp_buf pins, code;
} unit;

/* ---- reading ---- */

/* The next number of a line; *at moves behind it. */
static uint64_t number(char **at)
{
	return strtoull(*at, at, 0);
}

static char *rest(char *at)
{
	return lp_strdup(at + strspn(at, " "));
}

static void read_code(char *at)
{
	while (*at) {
		char *end;
		unsigned long byte = strtoul(at, &end, 16);
		if (end == at || byte > 0xff)
			return;
		lp_buf_fill(&unit.code, (uint8_t)byte, 1);
		at = end;
	}
}

static struct place read_place(char *at, bool is_cold)
{
	struct place p = {0};

	if (is_cold)
		p.offset = (uint32_t)number(&at);
	p.pc = number(&at);
	if (!is_cold) {
		p.word = (uint32_t)number(&at);
		p.offset = (uint32_t)number(&at);
	}
	return p;
}

static void read_named(char *at, bool is_field)
{
	struct named n = {.value = is_field ? (uint64_t)strtoll(at, &at, 0) : number(&at)};

	n.name = rest(at);
	if (is_field)
		lp_vec_push(&unit.fields, n);
	else
		lp_vec_push(&unit.addresses, n);
}

static void read_line(char *line)
{
	size_t len = strcspn(line, " ");
	char *at = line + len;

#define IS(word) (len == strlen(word) && !memcmp(line, word, len))
	if (IS("unit")) {
		unit.pc = number(&at);
		lp_free(unit.name);
		unit.name = rest(at);
	} else if (IS("host")) {
		unit.host = number(&at);
		unit.size = number(&at);
		unit.hot = number(&at);
	} else if (IS("insn")) {
		lp_vec_push(&unit.insns, read_place(at, false));
	} else if (IS("cold")) {
		lp_vec_push(&unit.cold, read_place(at, true));
	} else if (IS("pin")) {
		lp_buf_printf(&unit.pins, "%s%s", unit.pins.len ? "," : "", at);
	} else if (IS("field")) {
		read_named(at, true);
	} else if (IS("at")) {
		read_named(at, false);
	} else if (IS("code")) {
		read_code(at);
	}
#undef IS
}

static bool is_whole(void)
{
	return unit.code.len && unit.code.len == unit.size && unit.hot <= unit.size && unit.insns.nr;
}

static bool read_unit(void)
{
	char *line = lp_alloc(MAX_LINE);

	while (fgets(line, MAX_LINE, stdin)) {
		line[strcspn(line, "\n")] = 0;
		read_line(line);
	}
	lp_free(line);
	return is_whole();
}

/* ---- names in the host's instructions ---- */

static const char *name_of(uint64_t address)
{
	for (size_t i = 0; i < unit.addresses.nr; i++)
		if (unit.addresses.items[i].value == address)
			return unit.addresses.items[i].name;
	return NULL;
}

static const char *field_of(int64_t displacement)
{
	for (size_t i = 0; i < unit.fields.nr; i++)
		if ((int64_t)unit.fields.items[i].value == displacement)
			return unit.fields.items[i].name;
	return NULL;
}

static ZydisFormatterFunc print_address, print_immediate, format_memory;

static ZyanStatus append(ZydisFormatterBuffer *buffer, const char *name)
{
	ZyanStringView view;
	ZyanString *text;

	ZYAN_CHECK(ZydisFormatterBufferGetString(buffer, &text));
	ZYAN_CHECK(ZyanStringViewInsideBuffer(&view, name));
	return ZyanStringAppend(text, &view);
}

/* Within the unit: how far from its begin. */
static ZyanStatus on_address(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	char within[32];
	uint64_t address;
	const char *name;

	ZYAN_CHECK(
		ZydisCalcAbsoluteAddress(context->instruction, context->operand, context->runtime_address, &address));
	name = name_of(address);
	if (!name && address - unit.host < unit.size) {
		snprintf(within, sizeof within, "+%" PRIx64, address - unit.host);
		name = within;
	}
	return name ? append(buffer, name) : print_address(f, buffer, context);
}

static ZyanStatus on_immediate(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	const char *name = context->operand->size == 64 ? name_of(context->operand->imm.value.u) : NULL;

	return name ? append(buffer, name) : print_immediate(f, buffer, context);
}

static ZyanStatus on_memory(const ZydisFormatter *f, ZydisFormatterBuffer *buffer, ZydisFormatterContext *context)
{
	const ZydisDecodedOperandMem *m = &context->operand->mem;
	const char *name = m->base == ZYDIS_REGISTER_RBP && m->index == ZYDIS_REGISTER_NONE
				   ? field_of(m->disp.has_displacement ? m->disp.value : 0)
				   : NULL;

	if (!name)
		return format_memory(f, buffer, context);
	ZYAN_CHECK(f->func_print_typecast(f, buffer, context));
	ZYAN_CHECK(append(buffer, "["));
	ZYAN_CHECK(append(buffer, name));
	return append(buffer, "]");
}

static void make_formatter(ZydisFormatter *f)
{
	static const ZydisFormatterProperty plain[] = {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE,
						       ZYDIS_FORMATTER_PROP_DISP_PADDING,
						       ZYDIS_FORMATTER_PROP_IMM_PADDING};

	ZydisFormatterInit(f, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterSetProperty(f, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
	for (size_t i = 0; i < LP_ARRAY_SIZE(plain); i++)
		ZydisFormatterSetProperty(f, plain[i], ZYDIS_PADDING_DISABLED);
	print_address = on_address;
	print_immediate = on_immediate;
	format_memory = on_memory;
	ZydisFormatterSetHook(f, ZYDIS_FORMATTER_FUNC_PRINT_ADDRESS_ABS, (const void **)&print_address);
	ZydisFormatterSetHook(f, ZYDIS_FORMATTER_FUNC_PRINT_IMM, (const void **)&print_immediate);
	ZydisFormatterSetHook(f, ZYDIS_FORMATTER_FUNC_FORMAT_OPERAND_MEM, (const void **)&format_memory);
}

/* ---- writing ---- */

static void show_guest(const struct place *p)
{
	char text[128];

	if (!lp_isa_a64.disasm((const uint8_t *)&p->word, sizeof p->word, p->pc, text, sizeof text))
		snprintf(text, sizeof text, "(no instruction)");
	printf("%" PRIx64 "  %08" PRIx32 "  %s\n", p->pc, p->word, text);
}

static void show_host(const ZydisFormatter *f, uint64_t from, uint64_t to)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisDecoder decoder;
	char text[256];

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (; from < to; from += in.length) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, unit.code.data + from, to - from, &in, operands))) {
			printf("\t%4" PRIx64 "  (no instruction: %02x)\n", from, unit.code.data[from]);
			in.length = 1;
			continue;
		}
		ZydisFormatterFormatInstruction(f, &in, operands, in.operand_count_visible, text, sizeof text,
						unit.host + from, NULL);
		printf("\t%4" PRIx64 "  %s\n", from, text);
	}
}

/* Where the one behind it begins. */
static uint64_t end_of(const struct place *p, const struct place *end, uint64_t last)
{
	uint64_t at = p + 1 < end ? p[1].offset : last;

	return at < last ? at : last;
}

static void show_unit(void)
{
	const struct place *insns = unit.insns.items, *cold = unit.cold.items;
	ZydisFormatter f;

	make_formatter(&f);
	printf("unit at %#" PRIx64 "%s%s%s: %zu instructions, %" PRIu64 " bytes of host code at %#" PRIx64 ", %" PRIu64
	       " of them cold\n",
	       unit.pc, *unit.name ? " (" : "", unit.name, *unit.name ? ")" : "", unit.insns.nr, unit.size, unit.host,
	       unit.size - unit.hot);
	printf("registers:%s\n", lp_buf_cstr(&unit.pins));
	show_host(&f, 0, insns[0].offset < unit.hot ? insns[0].offset : unit.hot);
	for (const struct place *p = insns; p < insns + unit.insns.nr; p++) {
		show_guest(p);
		show_host(&f, p->offset, end_of(p, insns + unit.insns.nr, unit.hot));
	}
	for (const struct place *p = cold; p < cold + unit.cold.nr; p++) {
		printf("cold, of %" PRIx64 "\n", p->pc);
		show_host(&f, p->offset, end_of(p, cold + unit.cold.nr, unit.size));
	}
	if (!unit.cold.nr && unit.hot < unit.size) {
		printf("cold\n");
		show_host(&f, unit.hot, unit.size);
	}
	printf("\n");
}

int main(void)
{
	unit.name = lp_strdup("");
	if (!read_unit()) {
		fprintf(stderr,
			"dump_module: what arm64_runner --dump-block says of a unit is expected on standard input\n");
		return EXIT_FAILURE;
	}
	show_unit();
	return fflush(stdout) || ferror(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
