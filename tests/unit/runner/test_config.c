/* Three folders: the current one, that of $XDG_CONFIG_HOME, and /etc, which is left alone. */
#include "runner/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"

#define KEY "RWSD7b7BAFOBrRAoF5eu1pK+h8gfSI1l4srfGSXcNl3TmZD5fPSbDiZY"

static char top[64], here[80], home[80], before[256];
static struct lp_buf said;

static int enter(void **state)
{
	assert_non_null(getcwd(before, sizeof before));
	snprintf(top, sizeof top, "/tmp/livepatch-config-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(here, sizeof here, "%s/here", top);
	snprintf(home, sizeof home, "%s/home", top);
	if (mkdir(here, 0755) || mkdir(home, 0755) || chdir(here))
		return 1;
	return setenv("XDG_CONFIG_HOME", home, 1);
}

static void put(const char *folder, const char *text, mode_t mode)
{
	char *path = lp_sprintf("%s/arm64runner.conf", folder);
	FILE *f;

	unlink(path);
	if (text) {
		f = fopen(path, "we");
		assert_non_null(f);
		fputs(text, f);
		fclose(f);
		chmod(path, mode);
	}
	lp_free(path);
}

static int leave(void **state)
{
	put(here, NULL, 0);
	put(home, NULL, 0);
	lp_buf_free(&said);
	return chdir(before) || rmdir(here) || rmdir(home) || rmdir(top);
}

static void say(const char *line, void *arg)
{
	lp_buf_printf(&said, "%s\n", line);
}

static struct lp_runner_config found(void)
{
	struct lp_runner_config c;
	struct lp_err err = {0};

	lp_buf_free(&said);
	if (lp_runner_config_find(&c, say, NULL, &err))
		fail_msg("%s", err.text);
	return c;
}

static void is_silent(void)
{
	assert_string_equal(lp_buf_cstr(&said), "");
}

static void says(const char *what)
{
	if (!strstr(lp_buf_cstr(&said), what))
		fail_msg("\"%s\" does not say \"%s\"", lp_buf_cstr(&said), what);
}

static void all_settings_of_updates_are_read(void **state)
{
	struct lp_runner_config c;

	put(home,
	    "[update]\nauto_update = true\nchannel = rc\ninterval = 12h\ninstall = yes\nrepository = owner/name\nurl = "
	    "https://x\n"
	    "ca_file = ca.pem\nkeys = " KEY
	    "\nkeys = more.pub\nkeys = /etc/key.pub\nrequire_signature = yes\ntimeout = 5\n",
	    0600);
	c = found();
	is_silent();
	assert_true(c.auto_update && c.rc_channel && c.installs && c.requires_signature);
	assert_int_equal(c.interval_s, 43200);
	assert_int_equal(c.timeout_s, 5);
	assert_string_equal(c.repository, "owner/name");
	assert_string_equal(c.url, "https://x");
	assert_string_equal(strrchr(c.ca_file, '/'), "/ca.pem");
	assert_int_equal(c.keys.nr, 3);
	assert_string_equal(c.keys.items[0], KEY);
	assert_int_equal(strncmp(c.keys.items[1], home, strlen(home)), 0);
	assert_string_equal(c.keys.items[2], "/etc/key.pub");
	lp_runner_config_free(&c);
}

static void the_bare_line_of_the_first_runner_is_understood(void **state)
{
	struct lp_runner_config c;

	put(here, "auto_update=1\n", 0600);
	c = found();
	is_silent();
	assert_true(c.auto_update);
	lp_runner_config_free(&c);
}

static void the_current_folder_does_not_decide_whose_updates_are_good(void **state)
{
	static const char *const lines[] = {"url = https://evil", "repository = evil/evil", ("keys = " KEY),
					    "ca_file = ca.pem",	  "install = yes",	    "require_signature = no",
					    "timeout = 1"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(lines); i++) {
		char *text = lp_sprintf("[update]\nchannel = rc\n%s\n", lines[i]);
		struct lp_runner_config c;
		put(here, text, 0600);
		c = found();
		says("not taken from the current folder");
		assert_true(c.rc_channel && !c.installs && !c.url && !c.repository && !c.ca_file && !c.keys.nr &&
			    !c.timeout_s);
		lp_runner_config_free(&c);
		lp_free(text);
	}
}

static void it_does_not_hide_what_does(void **state)
{
	struct lp_runner_config c;

	put(here, "[runner]\nstats = yes\n", 0600);
	put(home,
	    "[runner]\nstrace = yes\n[update]\nauto_update = yes\nrepository = owner/name\nrequire_signature = "
	    "yes\nnonsense = 1\n",
	    0600);
	c = found();
	is_silent();
	assert_true(c.stats && !c.strace && !c.auto_update && c.requires_signature);
	assert_string_equal(c.repository, "owner/name");
	lp_runner_config_free(&c);
}

static void a_file_that_others_may_write_does_not_decide(void **state)
{
	struct lp_runner_config c;

	put(home, "[update]\nauto_update = yes\nkeys = " KEY "\nurl = https://x\n", 0620);
	c = found();
	says("keys is not taken from a file that somebody else may write");
	says("url is not taken from a file that somebody else may write");
	assert_true(c.auto_update && !c.keys.nr && !c.url);
	lp_runner_config_free(&c);
}

static void no_file_can_say_that_no_signature_is_needed(void **state)
{
	struct lp_runner_config c;

	put(home, "[update]\nrequire_signature = no\n", 0600);
	c = found();
	says("only --unsigned on the command line");
	assert_false(c.requires_signature);
	lp_runner_config_free(&c);
}

static void times_have_units_and_are_not_nothing(void **state)
{
	static const struct {
		const char *text;
		unsigned seconds;
	} times[] = {{"1", 1}, {"30s", 30}, {"5m", 300}, {"2h", 7200}, {"1d", 86400}, {"2w", 1209600}};
	static const char *const bad[] = {"0", "-1", "x", "1y", "1 d", "99999999999999999999", "2000000"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(times); i++) {
		char *text = lp_sprintf("[update]\ninterval = %s\n", times[i].text);
		struct lp_runner_config c;
		put(here, text, 0600);
		c = found();
		is_silent();
		assert_int_equal(c.interval_s, times[i].seconds);
		lp_runner_config_free(&c);
		lp_free(text);
	}
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		char *text = lp_sprintf("[update]\ninterval = %s\n", bad[i]);
		struct lp_runner_config c;
		put(here, text, 0600);
		c = found();
		says("cannot be that");
		lp_runner_config_free(&c);
		lp_free(text);
	}
}

static void a_wrong_line_is_told_with_what_would_be_right(void **state)
{
	static const struct {
		const char *text, *say;
	} wrong[] = {
		{"jit = tier1\n",
		 "arm64runner.conf:1: [] jit is no setting of this runner here: write it behind a line [runner]"},
		{"[update]\njit = tier1\n",
		 ":2: [update] jit is no setting of this runner here: write it behind a line [runner]"},
		{"[runner]\nit = tier1\n", ":2: [runner] it is no setting of this runner"},
		{"[runner]\njit = x\n", "[runner] jit cannot be that: \"x\"; write one of tier1, tier2, both"},
		{"[runner]\ncache = maybe\n", "\"maybe\"; write yes or no"},
		{"[runner]\ncache_size = 16E\n", "\"16E\"; write a number of bytes, or one with K, M or G"},
		{"[update]\nchannel = x\n", "\"x\"; write stable or rc"},
		{"[update]\ninterval = 1y\n", "\"1y\"; write a number of seconds"},
		{"[runner]\nhost_cpu =\n", "\"\"; write something"},
	};

	for (size_t i = 0; i < LP_ARRAY_SIZE(wrong); i++) {
		struct lp_runner_config c;
		put(here, wrong[i].text, 0600);
		c = found();
		says(wrong[i].say);
		lp_runner_config_free(&c);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_settings_of_updates_are_read),
		T(the_bare_line_of_the_first_runner_is_understood),
		T(the_current_folder_does_not_decide_whose_updates_are_good),
		T(it_does_not_hide_what_does),
		T(a_file_that_others_may_write_does_not_decide),
		T(no_file_can_say_that_no_signature_is_needed),
		T(times_have_units_and_are_not_nothing),
		T(a_wrong_line_is_told_with_what_would_be_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
