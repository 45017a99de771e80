#include "proc/proc.h"
#include "space/space.h"

int lp_process_catch(pid_t pid, struct lp_err *err)
{
	return lp_exec_catch(pid, err);
}

int lp_process_hold(pid_t pid, int fd, int watch_fd, unsigned timeout_ms, struct lp_err *err)
{
	return lp_exec_hold(pid, fd, watch_fd, timeout_ms, err);
}
