/* Another process as memory that a LivePatchSystem changes. */
#include "space/code.h"
#include "space/space.h"

int lp_code_open_process(struct lp_code_space **out, pid_t pid, struct lp_err *err)
{
	struct lp_target *t;
	int rc = lp_target_open_process(&t, pid, NULL, err);
	*out = NULL;
	return rc < 0 ? rc : lp_code_open_target(out, t, "process", false);
}
