/* SHA-256, in hexadecimal. */
#ifndef LP_UPDATE_SHA256_H
#define LP_UPDATE_SHA256_H

#include "base/addr.h"

void lp_sha256_hex(const void *data, size_t size, char out[65]);

#endif
