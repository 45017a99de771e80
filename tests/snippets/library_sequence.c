#include "check.h"

static uint32_t words[64 * 1024 / 4];

int main(void)
{
	void *memory = words;
	size_t size = sizeof(words);

	words[0x1000 / 4] = 0x34000080; /* cbz w0, .+16 */

#include SNIPPET

	answered("livepatch_apply", 0, NULL);
	answered("livepatch_revert", 0, NULL);
	answered_no_more();
	check(words[0x1000 / 4] == 0x34000080);
	return 0;
}
