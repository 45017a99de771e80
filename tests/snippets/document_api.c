/* document_api [REFUSAL]: the argument is the name of the error that patches/patch.json shall be refused with. */
#include "guest.h"
#include "check.h"

enum { NOP = 0xd503201f, RET = 0xd65f03c0 };

static const uint32_t seven[] = {0x528000e0 /* mov w0, #7 */, RET}, one[] = {0x52800020 /* mov w0, #1 */, RET};
static uint32_t my_function[] = {0x0b000000 /* add w0, w0, w0 */, 0x11000400 /* add w0, w0, #1 */, RET};
static _Alignas(4096) uint8_t buffer[64 * 1024];

int main(int argc, char **argv)
{
	void *memory = buffer, *my_func_ptr = my_function;
	size_t mem_size = sizeof(buffer);
	uint64_t base_addr = 0x4000000;
	struct guest guest = {.memory = buffer, .size = sizeof(buffer), .base = base_addr};
	const char *refusal = argc > 1 ? argv[1] : NULL;

	guest_store(&guest, 0x4001000, seven, sizeof(seven));
	guest_store(&guest, 0x4002000, one, sizeof(one));
	guest_store(&guest, 0x4003000, seven, sizeof(seven));
	check(guest_call(&guest, 0x4001000, 5) == 7 && guest_call(&guest, 0x4002000, 5) == 1);

#include SNIPPET

	answered("livepatch_apply", 0, NULL);
	answered("livepatch_insert_func", 0, NULL);
	answered("livepatch_load_json", refusal ? -1 : 1, refusal);
	answered("livepatch_reload", 0, NULL);
	answered_no_more();
	check(guest_call(&guest, 0x4001000, 5) == 5);
	check(guest_call(&guest, 0x4002000, 5) == 11);
	check(guest_call(&guest, 0x4003000, 5) == (refusal ? 7 : 5));
	return 0;
}
