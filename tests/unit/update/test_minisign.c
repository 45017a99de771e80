/* Signatures and keys are of Debian's minisign 0.11; the private keys are lost. */
#include "update/minisign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"

static const char data[] = "arm64_runner";
static const char key_text[] = "untrusted comment: minisign public key AD815300C1BEED83\n"
			       "RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZY\n";
#define PREHASHED "RUSD7b7BAFOBrZuvrc7GPzfaPPbtUoPLXrd4PGtGL0/ee1qzITIrMnPl2MzaMoZRHHLWWIf3oHVLUW8BVgm6Z1M9Od3X4ZzXYQY="
#define PURE "RWSD7b7BAFOBraJPcS9WgEMmKltPVj6w85Tty4UzJblwdFLqGmTTXdwnznt6by8ZK0vKmpo7NCSfPfZkjjJwL0jniN7KP1EeiQE="
#define COMMENT "file:data version:1.2.3"
#define OF_PREHASHED "Q7JahC99iJRw5Y+7910YpoT+xiFcae0SvQh0q/6DAN9iiwW0FVVLvsVlkXuPTiTv8hGPCP4r5ACusDm7ypqIDA=="
#define OF_PURE "rp/spdB5ndFxvJvqqfAZj8H7aW6A3/SRxVg0TqKnzixufqyHumga/WFWNXKFVFfV7IEvuLM+oYTDpJK3JBQBBA=="
#define FILE_OF(signature, comment, of_comment) \
	"untrusted comment: whatever\n" signature "\ntrusted comment: " comment "\n" of_comment "\n"

static struct lp_key key;

static int read_key(void **state)
{
	return lp_key_read(key_text, &key, NULL);
}

static int verify(const char *file, const void *bytes, size_t len, struct lp_err *err)
{
	char *comment;
	int rc = lp_minisign_verify(&key, 1, file, bytes, len, &comment, err);

	if (rc == 0)
		assert_string_equal(comment, COMMENT);
	else
		assert_null(comment);
	lp_free(comment);
	return rc;
}

static void refuses(const char *file, const char *because)
{
	struct lp_err err = {0};

	assert_int_equal(verify(file, data, strlen(data), &err), -LP_ESIGNATURE);
	if (!strstr(err.text, because))
		fail_msg("\"%s\" says \"%s\"", err.text, because);
}

static void a_signature_of_minisign_holds_but_not_one_of_its_old_kind(void **state)
{
	assert_int_equal(verify(FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data), NULL), 0);
	refuses(FILE_OF(PURE, COMMENT, OF_PURE), "without -l");
}

static void no_changed_bit_of_the_file_passes(void **state)
{
	char changed[sizeof data];

	for (size_t bit = 0; bit < 8 * strlen(data); bit++) {
		memcpy(changed, data, sizeof data);
		changed[bit / 8] = (char)(changed[bit / 8] ^ (1 << bit % 8));
		assert_int_equal(verify(FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), changed, strlen(data), NULL),
				 -LP_ESIGNATURE);
		assert_int_equal(verify(FILE_OF(PURE, COMMENT, OF_PURE), changed, strlen(data), NULL), -LP_ESIGNATURE);
	}
	assert_int_equal(verify(FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data) - 1, NULL),
			 -LP_ESIGNATURE);
	assert_int_equal(verify(FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, 0, NULL), -LP_ESIGNATURE);
}

/* Each character of the signature file but those of the first comment, which nobody vouches for. */
static void no_changed_character_of_the_signature_passes(void **state)
{
	static const char file[] = FILE_OF(PREHASHED, COMMENT, OF_PREHASHED);

	for (size_t i = strlen("untrusted comment: whatever"); i < sizeof file - 1; i++) {
		char changed[sizeof file];
		memcpy(changed, file, sizeof file);
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_int_not_equal(verify(changed, data, strlen(data), NULL), 0);
	}
	for (size_t i = 0; i < sizeof file - 2; i++) {
		char *cut = lp_sprintf("%.*s", (int)i, file);
		assert_int_not_equal(verify(cut, data, strlen(data), NULL), 0);
		lp_free(cut);
	}
}

static void a_trusted_comment_that_was_exchanged_does_not_pass(void **state)
{
	refuses(FILE_OF(PREHASHED, "file:data version:9.9.9", OF_PREHASHED), "trusted comment");
	refuses(FILE_OF(PREHASHED, COMMENT, OF_PURE), "trusted comment");
}

static void the_key_that_is_not_trusted_is_named(void **state)
{
	struct lp_key other = key;
	struct lp_err err = {0};
	char *comment;

	other.id[0] ^= 1;
	assert_int_equal(lp_minisign_verify(&other, 1, FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data),
					    &comment, &err),
			 -LP_ESIGNATURE);
	assert_non_null(strstr(err.text, "AD815300C1BEED83"));
	assert_int_equal(lp_minisign_verify(NULL, 0, FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data),
					    &comment, &err),
			 -LP_ESIGNATURE);
	other = key;
	other.key[5] ^= 1; /* the id alone is nothing */
	assert_int_equal(lp_minisign_verify(&other, 1, FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data),
					    &comment, &err),
			 -LP_ESIGNATURE);
}

static void one_of_several_keys_is_enough(void **state)
{
	struct lp_key keys[2] = {key, key};
	char *comment;

	keys[0].id[3] ^= 1;
	assert_int_equal(lp_minisign_verify(keys, 2, FILE_OF(PREHASHED, COMMENT, OF_PREHASHED), data, strlen(data),
					    &comment, NULL),
			 0);
	lp_free(comment);
}

static void what_is_no_key_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "RW",
					  "untrusted comment: x\n",
					  "RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZ",
					  "RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZYAAAA",
					  "RUSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZY",
					  PREHASHED};
	struct lp_key k;

	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++)
		assert_int_equal(lp_key_read(bad[i], &k, NULL), -LP_EKEY);
	assert_int_equal(lp_key_read("RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZY", &k, NULL), 0);
	assert_memory_equal(&k, &key, sizeof k);
}

/* ---- the comment ---- */

static int names(const char *comment, const char *file, const char *version)
{
	struct lp_version v;

	assert_true(lp_version_read(version, &v));
	return lp_comment_names(comment, file, &v, NULL);
}

static void a_comment_names_its_file_and_version_among_other_words(void **state)
{
	assert_int_equal(names("timestamp:1\tfile:a.tar.gz\tversion:1.2.3\thashed", "a.tar.gz", "1.2.3"), 0);
	assert_int_equal(names("version:v1.2 file:a.tar.gz", "a.tar.gz", "1.2.0"), 0);
}

static void a_comment_for_something_else_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "file:a.tar.gz",
					  "version:1.2.3",
					  "file:b.tar.gz version:1.2.3",
					  "file:a.tar.gz version:1.2.2",
					  "file:a.tar.gz version:1.2.3-rc1",
					  "file:a.tar.gz version:",
					  "file: version:1.2.3",
					  "xfile:a.tar.gz version:1.2.3",
					  "file:a.tar.gz.x version:1.2.3",
					  "file:a.tar.gz file:b.tar.gz version:1.2.3",
					  "file:a.tar.gz version:1.2.3 version:1.2.2"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++)
		if (names(bad[i], "a.tar.gz", "1.2.3") != -LP_ESIGNATURE)
			fail_msg("\"%s\" is for something else", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_of_minisign_holds_but_not_one_of_its_old_kind),
		cmocka_unit_test(no_changed_bit_of_the_file_passes),
		cmocka_unit_test(no_changed_character_of_the_signature_passes),
		cmocka_unit_test(a_trusted_comment_that_was_exchanged_does_not_pass),
		cmocka_unit_test(the_key_that_is_not_trusted_is_named),
		cmocka_unit_test(one_of_several_keys_is_enough),
		cmocka_unit_test(what_is_no_key_is_refused),
		cmocka_unit_test(a_comment_names_its_file_and_version_among_other_words),
		cmocka_unit_test(a_comment_for_something_else_is_refused),
	};
	return cmocka_run_group_tests(tests, read_key, NULL);
}
