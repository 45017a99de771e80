/* Tells the runners that run that a newer one is installed. */
#ifndef LP_UPDATE_TELL_H
#define LP_UPDATE_TELL_H

#include "update/version.h"

/* All that run `program` and that we may talk to, by the command "update installed VERSION"; returns how many took it. */
unsigned lp_update_tell(const char *program, const struct lp_version *installed);

#endif
