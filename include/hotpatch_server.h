/*
 * The header of the first HotPatch that declared HotpatchServer, InitHotpatchServer(), RegisterVariable(), RegisterFunction().
 * Programs written against it compile with this one; new ones include hotpatch.hpp.
 */
#ifndef HOTPATCH_SERVER_H
#define HOTPATCH_SERVER_H

#include "hotpatch.hpp"

using namespace std; /* it was so, and such programs say "string" */

#endif
