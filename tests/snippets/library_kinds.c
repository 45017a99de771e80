#include "guest.h"
#include "check.h"

static const uint32_t lookup[] = {0x10000081 /* adr x1, .+16 */, 0x38604820 /* ldrb w0, [x1, w0, uxtw] */,
				  0xd65f03c0 /* ret */, 0xd503201f /* nop */};
static const uint32_t one[] = {0x52800020 /* mov w0, #1 */, 0xd65f03c0 /* ret */};
static _Alignas(4096) uint8_t memory[64 * 1024];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);
	struct guest guest = {.memory = memory, .size = sizeof(memory), .base = 0x4000000};

	guest_store(&guest, 0x4001000, lookup, sizeof(lookup));
	guest_store(&guest, 0x4001010, "PUBLIC..secret!!", 16);
	guest_store(&guest, 0x4002000, one, sizeof(one));
	check(guest_call(&guest, 0x4001000, 3) == 'L' && guest_call(&guest, 0x4001000, 8) == 's');
	check(guest_call(&guest, 0x4002000, 0) == 1);

#include SNIPPET

	answered("livepatch_insert", 0, NULL);
	answered("livepatch_new_func", 0, NULL);
	answered("livepatch_redirect_function", 0, NULL);
	answered_no_more();
	check(guest_call(&guest, 0x4001000, 3) == 'L' && guest_call(&guest, 0x4001000, 8) == 'P');
	check(guest_call(&guest, 0x4002000, 0) == 42 && guest_call(&guest, at, 0) == 42);
	check((livepatch_revert_all)(system) == 3);
	check(guest_call(&guest, 0x4001000, 8) == 's' && guest_call(&guest, 0x4002000, 0) == 1);
	livepatch_cleanup(system);
	return 0;
}
