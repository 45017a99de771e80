/* Private to api/: the one system over this process. */
#ifndef LP_API_HOOKS_H
#define LP_API_HOOKS_H

#include "api/system.h"

/* For livepatch_cleanup(): true when it is that system, which stays. */
bool lp_own_system_release(LivePatchSystem *system);

#endif
