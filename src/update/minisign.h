/*
 * Signatures in the format of minisign (https://jedisct1.github.io/minisign/).
 *
 *     rc = lp_key_read(text, &key, err);                                   // once per key
 *     rc = lp_minisign_verify(keys, nr, signature, data, size, &comment, err);
 *     rc = lp_comment_names(comment, file, &version, err);
 *     lp_free(comment);
 *
 * A public key is base64("Ed" | key id, 8 | Ed25519 key, 32).  A signature
 * file has four lines:
 *
 *     untrusted comment: anything
 *     base64(algorithm | key id, 8 | signature, 64)     "ED": of the BLAKE2b-512 of the file.  "Ed", of the
 *                                                       file itself, is what minisign made once: refused
 *     trusted comment: text
 *     base64(Ed25519(signature | text))
 */
#ifndef LP_UPDATE_MINISIGN_H
#define LP_UPDATE_MINISIGN_H

#include "base/err.h"
#include "update/version.h"

struct lp_key {
	uint8_t id[8], key[32];
};

/* The line itself, or the two lines of a .pub file.  -LP_EKEY. */
int lp_key_read(const char *text, struct lp_key *out, struct lp_err *err);

/* -LP_ESIGNATURE with what does not hold.  *comment is the trusted one, and the caller's to free. */
int lp_minisign_verify(const struct lp_key *keys, size_t nr, const char *signature, const void *data, size_t size,
		       char **comment, struct lp_err *err);

/* It says file:FILE and version:VERSION, once each, whatever else it says: else the signature is for something else. */
int lp_comment_names(const char *comment, const char *file, const struct lp_version *version, struct lp_err *err);

#endif
