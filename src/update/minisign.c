#include "update/minisign.h"

#include <sodium.h>
#include <string.h>

#include "base/vec.h"

#define COMMENT_MAX 8192 /* as minisign's own limit */

static const char untrusted[] = "untrusted comment:", trusted[] = "trusted comment: ";

struct packed_key {
	uint8_t algorithm[2], id[8], key[32];
};

struct packed_signature {
	uint8_t algorithm[2], id[8], signature[64];
};

_Static_assert(sizeof(struct packed_key) == 42 && sizeof(struct packed_signature) == 74, "as they are in files");

/* ---- lines ---- */

/* The next line of *at without its end; a copy. */
static char *take_line(const char **at)
{
	size_t len = strcspn(*at, "\n"), shown = len;
	char *line;

	if (shown && (*at)[shown - 1] == '\r')
		shown--;
	line = lp_sprintf("%.*s", (int)shown, *at);
	*at += len + ((*at)[len] == '\n');
	return line;
}

static bool starts(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

static bool decode(const char *line, void *out, size_t size)
{
	size_t got;
	const char *end;

	return sodium_base642bin(out, size, line, strlen(line), NULL, &got, &end, sodium_base64_VARIANT_ORIGINAL) ==
		       0 &&
	       got == size && !*end;
}

/* ---- keys ---- */

int lp_key_read(const char *text, struct lp_key *out, struct lp_err *err)
{
	struct packed_key packed;
	char *line = take_line(&text);
	bool fine;

	if (starts(line, untrusted)) {
		lp_free(line);
		line = take_line(&text);
	}
	fine = decode(line, &packed, sizeof packed) && !memcmp(packed.algorithm, "Ed", 2);
	if (fine) {
		memcpy(out->id, packed.id, sizeof out->id);
		memcpy(out->key, packed.key, sizeof out->key);
	}
	lp_free(line);
	return fine ? 0 : lp_fail(err, LP_EKEY, "no public key of minisign's");
}

static uint64_t key_number(const uint8_t id[8])
{
	uint64_t n;

	memcpy(&n, id, sizeof n);
	return n;
}

static const struct lp_key *find_key(const struct lp_key *keys, size_t nr, const uint8_t id[8])
{
	for (size_t i = 0; i < nr; i++)
		if (!memcmp(keys[i].id, id, sizeof keys[i].id))
			return &keys[i];
	return NULL;
}

/* ---- signatures ---- */

struct signature_file {
	struct packed_signature packed;
	char *comment;
	uint8_t of_comment[64];
};

static int read_signature(const char *text, struct signature_file *out, struct lp_err *err)
{
	char *lines[4];
	bool fine;

	for (size_t i = 0; i < LP_ARRAY_SIZE(lines); i++)
		lines[i] = take_line(&text);
	fine = starts(lines[0], untrusted) && decode(lines[1], &out->packed, sizeof out->packed) &&
	       starts(lines[2], trusted) && strlen(lines[2]) <= COMMENT_MAX &&
	       decode(lines[3], out->of_comment, sizeof out->of_comment) && !*text;
	if (fine)
		out->comment = lp_strdup(lines[2] + strlen(trusted));
	for (size_t i = 0; i < LP_ARRAY_SIZE(lines); i++)
		lp_free(lines[i]);
	return fine ? 0 : lp_fail(err, LP_ESIGNATURE, "the signature is none of minisign's");
}

static bool data_holds(const struct packed_signature *s, const struct lp_key *key, const void *data, size_t size)
{
	uint8_t hash[crypto_generichash_BYTES_MAX];

	crypto_generichash(hash, sizeof hash, data, size, NULL, 0);
	return crypto_sign_verify_detached(s->signature, hash, sizeof hash, key->key) == 0;
}

static bool comment_holds(const struct signature_file *f, const struct lp_key *key)
{
	size_t len = strlen(f->comment);
	uint8_t *both = lp_alloc(sizeof f->packed.signature + len + 1);
	bool holds;

	memcpy(both, f->packed.signature, sizeof f->packed.signature);
	memcpy(both + sizeof f->packed.signature, f->comment, len);
	holds = crypto_sign_verify_detached(f->of_comment, both, sizeof f->packed.signature + len, key->key) == 0;
	lp_free(both);
	return holds;
}

static int check(const struct signature_file *f, const struct lp_key *keys, size_t nr, const void *data, size_t size,
		 struct lp_err *err)
{
	const struct lp_key *key = find_key(keys, nr, f->packed.id);

	if (!memcmp(f->packed.algorithm, "Ed", 2))
		return lp_fail(err, LP_ESIGNATURE, "the signature is of minisign's old kind: have it made without -l");
	if (memcmp(f->packed.algorithm, "ED", 2) != 0)
		return lp_fail(err, LP_ESIGNATURE, "the signature is of a kind that is not known");
	if (!key)
		return lp_fail(err, LP_ESIGNATURE,
			       "signed with key %016" PRIX64 ", which is none of the %zu that are trusted",
			       key_number(f->packed.id), nr);
	if (!data_holds(&f->packed, key, data, size))
		return lp_fail(err, LP_ESIGNATURE,
			       "the signature of key %016" PRIX64 " does not hold: the file is not what was signed",
			       key_number(f->packed.id));
	if (!comment_holds(f, key))
		return lp_fail(err, LP_ESIGNATURE, "the trusted comment is not what key %016" PRIX64 " signed",
			       key_number(f->packed.id));
	return 0;
}

int lp_minisign_verify(const struct lp_key *keys, size_t nr, const char *signature, const void *data, size_t size,
		       char **comment, struct lp_err *err)
{
	struct signature_file file = {0};
	int rc;

	*comment = NULL;
	if (sodium_init() < 0)
		return lp_fail(err, LP_EINTERNAL, "libsodium does not start");
	rc = read_signature(signature, &file, err);
	rc = rc ? rc : check(&file, keys, nr, data, size, err);
	if (rc == 0)
		*comment = file.comment;
	else
		lp_free(file.comment);
	return rc;
}

/* ---- what the trusted comment says ---- */

/* The value of the one word that begins with `key`; NULL when there is none, or another. */
static char *value_of(const char *comment, const char *key)
{
	char *value = NULL;
	unsigned nr = 0;

	for (const char *word = comment; *word;) {
		size_t len = strcspn(word, " \t");
		if (len > strlen(key) && !strncmp(word, key, strlen(key)) && nr++ == 0)
			value = lp_sprintf("%.*s", (int)(len - strlen(key)), word + strlen(key));
		word += len;
		word += strspn(word, " \t");
	}
	if (nr == 1)
		return value;
	lp_free(value);
	return NULL;
}

static int refuse_comment(struct lp_err *err, const char *key, const char *value, const char *wanted)
{
	if (!value)
		return lp_fail(err, LP_ESIGNATURE, "the trusted comment does not say %s%s", key, wanted);
	return lp_fail(err, LP_ESIGNATURE, "the signature is for %s%s, not for %s%s", key, value, key, wanted);
}

int lp_comment_names(const char *comment, const char *file, const struct lp_version *version, struct lp_err *err)
{
	char *named = value_of(comment, "file:"), *numbered = value_of(comment, "version:"), text[LP_VERSION_TEXT];
	struct lp_version said;
	int rc = 0;

	if (!named || strcmp(named, file) != 0)
		rc = refuse_comment(err, "file:", named, file);
	else if (!numbered || !lp_version_read(numbered, &said) || lp_version_compare(&said, version) != 0)
		rc = refuse_comment(err, "version:", numbered, lp_version_text(version, text));
	lp_free(named);
	lp_free(numbered);
	return rc;
}
