/* Whether the libraries do here what they should: a signature that is known, and one that must not hold. */
#include <curl/curl.h>
#include <string.h>

#include "base/vec.h"
#include "update/minisign.h"
#include "update/sha256.h"
#include "update/update.h"

static const char data[] = "arm64_runner";
static const char digest[] = "d2db8b4511033fc0539f8b302a6a1682632736c4fccadf9bead55e7fb8896cf9";
static const char public_key[] =
	"RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZY"; /* its other half is lost */
static const char signature[] =
	"untrusted comment: signature from minisign secret key\n"
	"RUSD7b7BAFOBrZuvrc7GPzfaPPbtUoPLXrd4PGtGL0/ee1qzITIrMnPl2MzaMoZRHHLWWIf3oHVLUW8BVgm6Z1M9Od3X4ZzXYQY=\n"
	"trusted comment: file:data version:1.2.3\n"
	"Q7JahC99iJRw5Y+7910YpoT+xiFcae0SvQh0q/6DAN9iiwW0FVVLvsVlkXuPTiTv8hGPCP4r5ACusDm7ypqIDA==\n";

static int check_signatures(struct lp_err *err)
{
	struct lp_key key;
	char *comment = NULL;
	int rc = lp_key_read(public_key, &key, err);

	rc = rc ? rc : lp_minisign_verify(&key, 1, signature, data, strlen(data), &comment, err);
	lp_free(comment);
	if (rc == 0 && lp_minisign_verify(&key, 1, signature, data, strlen(data) - 1, &comment, NULL) == 0)
		rc = lp_fail(err, LP_EINTERNAL, "self-test: a signature holds that should not");
	return rc;
}

static int check_digests(struct lp_err *err)
{
	char hex[65];

	lp_sha256_hex(data, strlen(data), hex);
	return strcmp(hex, digest) ? lp_fail(err, LP_EINTERNAL, "self-test: SHA-256 is %s instead of %s", hex, digest)
				   : 0;
}

static int check_https(struct lp_err *err)
{
	for (const char *const *p = curl_version_info(CURLVERSION_NOW)->protocols; *p; p++)
		if (!strcmp(*p, "https"))
			return 0;
	return lp_fail(err, LP_EINTERNAL, "self-test: libcurl was built without HTTPS");
}

int lp_update_self_test(struct lp_err *err)
{
	int rc = check_signatures(err);

	rc = rc ? rc : check_digests(err);
	return rc ? rc : check_https(err);
}
