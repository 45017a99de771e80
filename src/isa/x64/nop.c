/* Instructions that do nothing. */
#include "isa/x64/x64.h"

#include <string.h>

/* The forms that the manual recommends (SDM volume 2B, NOP, table 4-12), by their length. */
static const uint8_t forms[][9] = {
	{0x90},							/* nop */
	{0x66, 0x90},						/* xchg %ax, %ax */
	{0x0f, 0x1f, 0x00},					/* nopl (%rax) */
	{0x0f, 0x1f, 0x40, 0x00},				/* nopl 0(%rax) */
	{0x0f, 0x1f, 0x44, 0x00, 0x00},				/* nopl 0(%rax,%rax,1) */
	{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},			/* nopw 0(%rax,%rax,1) */
	{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},		/* nopl 0L(%rax) */
	{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},	/* nopl 0L(%rax,%rax,1) */
	{0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}, /* nopw 0L(%rax,%rax,1) */
};

void lp_x64_nops(uint8_t *out, size_t len)
{
	while (len) {
		size_t n = len < sizeof forms[0] ? len : sizeof forms[0];

		memcpy(out, forms[n - 1], n);
		out += n;
		len -= n;
	}
}

bool lp_x64_is_nop(const uint8_t *code, size_t len)
{
	struct lp_x64_insn in;

	return lp_x64_decode(code, len, 0, &in) && in.is_padding && in.falls_through;
}
