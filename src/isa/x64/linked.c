/*
 * The code sequences of thread-local storage, before and after a linker relaxed them: "ELF Handling For Thread-Local
 * Storage", sections 4.4.6 and 5.5, and the psABI's section 11.1.
 */
#include "isa/x64/linked.h"

#include <elf.h>
#include <string.h>

/* mov %fs:0, %rax */
static const uint8_t load_tp[] = {0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0};

/* A 32-bit field that a distance from behind it was in holds a number now. */
static void count_from_field(struct lp_linked_reloc *r)
{
	r->addend = (int64_t)((uint64_t)r->addend + 4); /* anybody's number: it may wrap */
}

static bool at(const uint8_t *bytes, size_t len, uint64_t from, const void *what, size_t n)
{
	return from <= len && n <= len - from && !memcmp(bytes + from, what, n);
}

/*
 *     66 48 8d 3d GD    data16 lea x@tlsgd(%rip), %rdi        64 48 8b 04 25 0   mov %fs:0, %rax
 *     66 66 48 e8 PLT   data16 rex.W call __tls_get_addr  ->  48 8d 80 TPOFF     lea x@tpoff(%rax), %rax
 *                                                         or  48 03 05 GOTTP     add x@gottpoff(%rip), %rax
 */
static void general_dynamic(const uint8_t *bytes, size_t len, struct lp_linked_reloc *r, uint64_t *gone)
{
	if (r->offset < 4 || !at(bytes, len, r->offset - 4, load_tp, sizeof load_tp))
		return;
	uint64_t second = r->offset - 4 + sizeof load_tp;
	if (at(bytes, len, second, "\x48\x8d\x80", 3)) {
		r->type = R_X86_64_TPOFF32;
		count_from_field(r);
	} else if (at(bytes, len, second, "\x48\x03\x05", 3)) {
		r->type = R_X86_64_GOTTPOFF;
	} else {
		return;
	}
	*gone = r->offset + 8;
	r->offset += 8;
}

/*
 *     48 8d 3d LD      lea x@tlsld(%rip), %rdi
 *     e8 PLT           call __tls_get_addr       ->   66 66 66 64 48 8b 04 25 0   data16.. mov %fs:0, %rax
 */
static void local_dynamic(const uint8_t *bytes, size_t len, struct lp_linked_reloc *r, uint64_t *gone)
{
	if (r->offset < 3 || !at(bytes, len, r->offset - 3, "\x66\x66\x66", 3))
		return;
	bool one_more = at(bytes, len, r->offset, "\x66", 1); /* the call went through the GOT: ff 15 */
	if (!at(bytes, len, r->offset + one_more, load_tp, sizeof load_tp))
		return;
	*gone = r->offset + 5 + one_more;
	r->type = R_X86_64_NONE;
}

/* mov or add x@gottpoff(%rip), %reg -> mov $x@tpoff, %reg; add $x@tpoff, %reg; lea x@tpoff(%reg), %reg */
static void initial_exec(const uint8_t *bytes, size_t len, struct lp_linked_reloc *r)
{
	if (r->offset < 3 || r->offset > len)
		return;
	uint8_t opcode = bytes[r->offset - 2], modrm = bytes[r->offset - 1];
	bool immediate = (opcode == 0xc7 || opcode == 0x81) && (modrm & 0xc0) == 0xc0;
	bool displaced = opcode == 0x8d && (modrm & 0xc0) == 0x80;
	if (!immediate && !displaced)
		return;
	r->type = R_X86_64_TPOFF32;
	count_from_field(r);
}

/* lea x@tlsdesc(%rip), %rax -> mov $x@tpoff, %rax, or mov x@gottpoff(%rip), %rax */
static void descriptor(const uint8_t *bytes, size_t len, struct lp_linked_reloc *r)
{
	if (r->offset < 3 || r->offset > len)
		return;
	if (bytes[r->offset - 2] == 0x8b)
		r->type = R_X86_64_GOTTPOFF;
	else
		initial_exec(bytes, len, r);
}

void lp_x64_linked_tls(const uint8_t *bytes, size_t len, bool program, struct lp_linked_reloc *r, uint64_t *gone)
{
	switch (r->type) {
	case R_X86_64_TLSGD:
		general_dynamic(bytes, len, r, gone);
		break;
	case R_X86_64_TLSLD:
		local_dynamic(bytes, len, r, gone);
		break;
	case R_X86_64_GOTTPOFF:
		initial_exec(bytes, len, r);
		break;
	case R_X86_64_GOTPC32_TLSDESC:
		descriptor(bytes, len, r);
		break;
	case R_X86_64_TLSDESC_CALL:
		if (!at(bytes, len, r->offset, "\xff\x10", 2))
			r->type = R_X86_64_NONE;
		break;
	case R_X86_64_DTPOFF32: /* in a program, local-dynamic code has become local-exec */
		if (program)
			r->type = R_X86_64_TPOFF32;
		break;
	default:
		break;
	}
}
