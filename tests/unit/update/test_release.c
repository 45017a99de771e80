#include "update/release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#define MACHINE "somecpu"
#define DIGEST "d2db8b4511033fc0539f8b302a6a1682632736c4fccadf9bead55e7fb8896cf9"

static struct lp_releases read_all(const char *text)
{
	struct lp_releases all;
	struct lp_err err = {0};

	if (lp_releases_read(&all, text, strlen(text), MACHINE, &err))
		fail_msg("%s", err.text);
	return all;
}

static void newest_is(const char *text, bool rc_channel, const char *expected)
{
	struct lp_releases all = read_all(text);
	const struct lp_release *newest = lp_releases_newest(&all, rc_channel);
	char shown[LP_VERSION_TEXT];

	assert_string_equal(newest ? lp_version_text(&newest->version, shown) : "none", expected);
	lp_releases_free(&all);
}

static void the_stable_channel_never_takes_a_candidate(void **state)
{
	static const char index[] = "[{\"tag_name\":\"v1.2.0-rc2\",\"prerelease\":false},{\"tag_name\":\"v1.1.0\"},"
				    "{\"tag_name\":\"v9.0.0\",\"prerelease\":true},{\"tag_name\":\"v1.0.0\"}]";

	newest_is(index, false, "1.1.0");
	newest_is(index, true, "9.0.0");
	newest_is("[{\"tag_name\":\"v1.2.0-rc2\"}]", false, "none");
}

static void the_candidates_channel_takes_what_is_newest_of_both(void **state)
{
	newest_is("[{\"tag_name\":\"1.2.0-rc2\"},{\"tag_name\":\"1.2.0-rc10\"},{\"tag_name\":\"1.1.0\"}]", true,
		  "1.2.0-rc10");
	newest_is("[{\"tag_name\":\"1.2.0-rc2\"},{\"tag_name\":\"1.2.0\"}]", true, "1.2.0");
}

static void drafts_and_tags_that_are_no_versions_are_left_out(void **state)
{
	newest_is("[{\"tag_name\":\"v3.0.0\",\"draft\":true},{\"tag_name\":\"nightly\"},{\"tag_name\":7},{},null,[],"
		  "\"x\","
		  "{\"tag_name\":\"v0.1.0\"}]",
		  true, "0.1.0");
	newest_is("[]", true, "none");
}

static struct lp_release *only(struct lp_releases *all)
{
	assert_int_equal(all->nr, 1);
	return &all->items[0];
}

static void the_archive_is_that_of_this_machine_and_version(void **state)
{
	struct lp_releases all =
		read_all("[{\"tag_name\":\"v1.2.0-rc2\",\"body\":\"text\",\"published_at\":\"2026\",\"assets\":["
			 "{\"name\":\"arm64_runner-1.2.0-rc2-linux-othercpu.tar.gz\",\"size\":1,\"browser_download_"
			 "url\":\"https://x/1\"},"
			 "{\"name\":\"arm64_runner-1.1.0-linux-somecpu.tar.gz\",\"size\":2,\"browser_download_url\":"
			 "\"https://x/2\"},"
			 "{\"name\":\"arm64_runner-1.2.0-rc2-linux-somecpu.tar.gz\",\"state\":\"starting\",\"size\":3},"
			 "{\"name\":\"arm64_runner-1.2.0-rc2-linux-somecpu.tar.gz\",\"state\":\"uploaded\",\"size\":4,"
			 "\"digest\":\"sha256:" DIGEST "\",\"browser_download_url\":\"https://x/4\"},"
			 "{\"name\":\"arm64_runner-1.2.0-rc2-linux-somecpu.tar.gz.minisig\",\"size\":5,\"browser_"
			 "download_url\":\"https://x/5\"}]}]");
	const struct lp_release *r = only(&all);

	assert_string_equal(r->archive.name, "arm64_runner-1.2.0-rc2-linux-somecpu.tar.gz");
	assert_string_equal(r->archive.url, "https://x/4");
	assert_string_equal(r->archive.sha256, DIGEST);
	assert_int_equal(r->archive.size, 4);
	assert_string_equal(r->signature.url, "https://x/5");
	assert_string_equal(r->notes, "text");
	lp_releases_free(&all);
}

static void a_release_without_an_archive_for_this_machine_has_none(void **state)
{
	struct lp_releases all =
		read_all("[{\"tag_name\":\"1.0.0\",\"assets\":[{\"name\":\"arm64_runner-1.0.0-linux-somecpu.zip\"},"
			 "{\"name\":\"arm64_runner--linux-somecpu.tar.gz\"},{\"name\":\"arm64_runner-linux-somecpu.tar."
			 "gz\"}]}]");

	assert_null(only(&all)->archive.name);
	assert_null(only(&all)->signature.name);
	lp_releases_free(&all);
}

static void a_digest_of_another_kind_is_none(void **state)
{
	static const char *const digests[] = {"sha512:" DIGEST, "sha256:" DIGEST "00", "sha256:xyz", "", DIGEST};

	for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
		char *text = lp_sprintf(
			"[{\"tag_name\":\"1.0\",\"assets\":[{\"name\":\"arm64_runner-1.0-linux-somecpu.tar.gz\","
			"\"digest\":\"%s\",\"size\":-4}]}]",
			digests[i]);
		struct lp_releases all = read_all(text);
		assert_string_equal(only(&all)->archive.sha256, "");
		assert_int_equal(only(&all)->archive.size, 0);
		lp_releases_free(&all);
		lp_free(text);
	}
}

static void what_is_no_list_of_releases_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "{}", "{\"message\":\"Not Found\"}", "[", "[1,]", "nonsense", "[] x", "[\"\\u0000\"]"};
	struct lp_releases all;
	struct lp_err err;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err = (struct lp_err){0};
		assert_int_equal(lp_releases_read(&all, bad[i], strlen(bad[i]), MACHINE, &err), -LP_EINDEX);
		assert_non_null(strstr(err.text, "list of releases"));
		assert_int_equal(all.nr, 0);
	}
}

static void a_list_that_nobody_would_have_written_is_refused(void **state)
{
	struct lp_buf text = {0};
	struct lp_releases all;

	lp_buf_str(&text, "[1");
	for (int i = 0; i < 1000; i++)
		lp_buf_str(&text, ",1");
	lp_buf_str(&text, "]");
	assert_int_equal(lp_releases_read(&all, lp_buf_cstr(&text), text.len, MACHINE, NULL), -LP_EINDEX);
	lp_buf_free(&text);
	for (int i = 0; i < 100000; i++)
		lp_buf_str(&text, "[");
	assert_int_equal(lp_releases_read(&all, lp_buf_cstr(&text), text.len, MACHINE, NULL), -LP_EINDEX);
	lp_buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_stable_channel_never_takes_a_candidate),
		cmocka_unit_test(the_candidates_channel_takes_what_is_newest_of_both),
		cmocka_unit_test(drafts_and_tags_that_are_no_versions_are_left_out),
		cmocka_unit_test(the_archive_is_that_of_this_machine_and_version),
		cmocka_unit_test(a_release_without_an_archive_for_this_machine_has_none),
		cmocka_unit_test(a_digest_of_another_kind_is_none),
		cmocka_unit_test(what_is_no_list_of_releases_is_refused),
		cmocka_unit_test(a_list_that_nobody_would_have_written_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
