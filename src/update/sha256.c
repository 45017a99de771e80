#include "update/sha256.h"

#include <sodium.h>

void lp_sha256_hex(const void *data, size_t size, char out[65])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, data, size);
	sodium_bin2hex(out, 65, hash, sizeof hash);
}
