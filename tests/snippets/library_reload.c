/* The file is written over, then the signal is sent; each time the memory changes by itself. */
#include "check.h"

#include <sched.h>
#include <signal.h>

static uint32_t memory[64 * 1024 / 4];

static void edit(const char *text)
{
	FILE *f = fopen("patches.json", "w");

	check(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void wait_for(uint32_t word)
{
	while (__atomic_load_n(&memory[0x1000 / 4], __ATOMIC_ACQUIRE) != word)
		sched_yield();
}

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);
	livepatch_counts before, after;

	edit("[{\"type\": \"NOP\", \"addr\": \"0x4001000\"}]");

#include SNIPPET

	answered("livepatch_watch", 1, NULL);
	answered("livepatch_watch_signal", 0, NULL);
	answered_no_more();
	check(memory[0x1000 / 4] == 0xd503201f);
	edit("[{\"type\": \"INLINE\", \"addr\": \"0x4001000\", \"instr\": \"0x52800101\"}]");
	wait_for(0x52800101);
	edit("[]");
	wait_for(0);

	check((livepatch_get_counts)(system, &before) == 0);
	check(raise(SIGHUP) == 0);
	do
		check((livepatch_get_counts)(system, &after) == 0);
	while (after.reloads == before.reloads);
	check((livepatch_unwatch)(system) == 0);
	livepatch_cleanup(system);
	return 0;
}
