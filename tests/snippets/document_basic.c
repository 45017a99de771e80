/* The address that is printed there lies behind the memory that is: a refusal, and the program goes on. */
#include "check.h"

int main(void)
{
#include SNIPPET

	answered("livepatch_apply", -1, "out-of-range");
	answered_no_more();
	return 0;
}
