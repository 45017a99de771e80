#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>

#include "base/vec.h"
#include "isa/linked.h"

/* Code as `ld` leaves it, a relocation that it did not adapt, and what that relocation has to be. */
struct sequence {
	const char *what;
	const char *bytes;
	size_t len;
	bool program;
	struct lp_linked_reloc before, after;
	uint64_t gone; /* UINT64_MAX: nothing else has lost its instruction */
};

#define BYTES(s) s, sizeof s - 1
#define KEPT UINT64_MAX

static const struct sequence sequences[] = {
	{"general dynamic, as compiled",
	 BYTES("\x66\x48\x8d\x3d\0\0\0\0\x66\x66\x48\xe8\0\0\0\0"),
	 false,
	 {R_X86_64_TLSGD, 4, -4},
	 {R_X86_64_TLSGD, 4, -4},
	 KEPT},
	{"general dynamic to local exec",
	 BYTES("\x64\x48\x8b\x04\x25\0\0\0\0\x48\x8d\x80\xfc\xff\xff\xff"),
	 true,
	 {R_X86_64_TLSGD, 4, -4},
	 {R_X86_64_TPOFF32, 12, 0},
	 12},
	{"general dynamic to initial exec",
	 BYTES("\x64\x48\x8b\x04\x25\0\0\0\0\x48\x03\x05\0\0\0\0"),
	 true,
	 {R_X86_64_TLSGD, 4, -4},
	 {R_X86_64_GOTTPOFF, 12, -4},
	 12},
	{"local dynamic, as compiled",
	 BYTES("\x48\x8d\x3d\0\0\0\0\xe8\0\0\0\0"),
	 false,
	 {R_X86_64_TLSLD, 3, -4},
	 {R_X86_64_TLSLD, 3, -4},
	 KEPT},
	{"local dynamic to local exec",
	 BYTES("\x66\x66\x66\x64\x48\x8b\x04\x25\0\0\0\0"),
	 true,
	 {R_X86_64_TLSLD, 3, -4},
	 {R_X86_64_NONE, 3, -4},
	 8},
	{"local dynamic through the GOT to local exec",
	 BYTES("\x66\x66\x66\x66\x64\x48\x8b\x04\x25\0\0\0\0"),
	 true,
	 {R_X86_64_TLSLD, 3, -4},
	 {R_X86_64_NONE, 3, -4},
	 9},
	{"an offset in a block, in a program",
	 BYTES("\x8b\x80\0\0\0\0"),
	 true,
	 {R_X86_64_DTPOFF32, 2, 0},
	 {R_X86_64_TPOFF32, 2, 0},
	 KEPT},
	{"an offset in a block, in a library",
	 BYTES("\x8b\x80\0\0\0\0"),
	 false,
	 {R_X86_64_DTPOFF32, 2, 0},
	 {R_X86_64_DTPOFF32, 2, 0},
	 KEPT},
	{"initial exec, as compiled",
	 BYTES("\x48\x8b\x05\0\0\0\0"),
	 false,
	 {R_X86_64_GOTTPOFF, 3, -4},
	 {R_X86_64_GOTTPOFF, 3, -4},
	 KEPT},
	{"initial exec, mov to mov",
	 BYTES("\x48\xc7\xc0\xfc\xff\xff\xff"),
	 true,
	 {R_X86_64_GOTTPOFF, 3, -4},
	 {R_X86_64_TPOFF32, 3, 0},
	 KEPT},
	{"initial exec, add to lea",
	 BYTES("\x48\x8d\x80\xfc\xff\xff\xff"),
	 true,
	 {R_X86_64_GOTTPOFF, 3, -4},
	 {R_X86_64_TPOFF32, 3, 0},
	 KEPT},
	{"initial exec, add of %r12 to add",
	 BYTES("\x49\x81\xc4\xfc\xff\xff\xff"),
	 true,
	 {R_X86_64_GOTTPOFF, 3, -4},
	 {R_X86_64_TPOFF32, 3, 0},
	 KEPT},
	{"a descriptor, as compiled",
	 BYTES("\x48\x8d\x05\0\0\0\0"),
	 false,
	 {R_X86_64_GOTPC32_TLSDESC, 3, -4},
	 {R_X86_64_GOTPC32_TLSDESC, 3, -4},
	 KEPT},
	{"a descriptor to local exec",
	 BYTES("\x48\xc7\xc0\xfc\xff\xff\xff"),
	 true,
	 {R_X86_64_GOTPC32_TLSDESC, 3, -4},
	 {R_X86_64_TPOFF32, 3, 0},
	 KEPT},
	{"a descriptor's call that is none any more",
	 BYTES("\x66\x90"),
	 true,
	 {R_X86_64_TLSDESC_CALL, 0, 0},
	 {R_X86_64_NONE, 0, 0},
	 KEPT},
	{"a relocation at the very start",
	 BYTES("\x64\x48\x8b"),
	 true,
	 {R_X86_64_TLSGD, 0, -4},
	 {R_X86_64_TLSGD, 0, -4},
	 KEPT},
	{"a relocation beyond the end",
	 BYTES("\x64\x48\x8b"),
	 true,
	 {R_X86_64_GOTTPOFF, 99, -4},
	 {R_X86_64_GOTTPOFF, 99, -4},
	 KEPT},
};

static void relocations_of_rewritten_sequences_say_what_the_code_does(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(sequences); i++) {
		const struct sequence *s = &sequences[i];
		struct lp_linked_reloc r = s->before;
		uint64_t gone = KEPT;
		lp_linked_tls(EM_X86_64, (const uint8_t *)s->bytes, s->len, s->program, &r, &gone);
		if (r.type != s->after.type || r.offset != s->after.offset || r.addend != s->after.addend ||
		    gone != s->gone)
			fail_msg("%s: type %u at %llu%+lld, gone %lld", s->what, r.type, (unsigned long long)r.offset,
				 (long long)r.addend, (long long)gone);
	}
}

static void other_machines_keep_their_relocations(void **state)
{
	struct lp_linked_reloc r = {R_X86_64_DTPOFF32, 0, 0};
	uint64_t gone = KEPT;
	lp_linked_tls(EM_AARCH64, (const uint8_t *)"\0\0\0\0", 4, true, &r, &gone);
	assert_int_equal(r.type, R_X86_64_DTPOFF32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relocations_of_rewritten_sequences_say_what_the_code_does),
		cmocka_unit_test(other_machines_keep_their_relocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
