/*
 * The header of the first HotPatch that declared HotpatchCommand.
 * Programs written against it compile with this one; new ones include hotpatch.hpp.
 */
#ifndef HOTPATCH_COMMAND_H
#define HOTPATCH_COMMAND_H

#include "hotpatch.hpp"

using namespace std; /* it was so, and such programs say "string" */

#endif
