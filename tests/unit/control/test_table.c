#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"
#include "control/table.h"

static const struct lp_command own[] = {
	{"help", "[WORD...]", LP_LEVEL_READ, NULL, ""},
	{"version", "", LP_LEVEL_READ, NULL, ""},
};
static const struct lp_command theirs[] = {
	{"var", "", LP_LEVEL_READ, NULL, ""},
	{"var get", "TYPE NAME", LP_LEVEL_READ, NULL, ""},
	{"var get all", "[TYPE]", LP_LEVEL_READ, NULL, ""},
	{"lib list", NULL, LP_LEVEL_READ, NULL, ""},
	{"lib load", "NAME PATH", LP_LEVEL_CODE, NULL, ""},
	{"lib unload", "NAME", LP_LEVEL_CODE, NULL, ""},
};
static const struct lp_table table = {own, theirs, LP_ARRAY_SIZE(own), LP_ARRAY_SIZE(theirs)};

/* Splits at single blanks. */
static size_t split(char *line, char **words)
{
	size_t nr = 0;
	for (char *at = line; at; nr++) {
		words[nr] = at;
		at = strchr(at, ' ');
		if (at)
			*at++ = 0;
	}
	return nr;
}

static int find(const char *line, const struct lp_command **out, size_t *taken, struct lp_err *err)
{
	char *copy = lp_strdup(line), *words[16];
	int rc = lp_verbs_find(&table, words, split(copy, words), out, taken, err);
	lp_free(copy);
	return rc;
}

static void assert_found(const char *line, const char *command)
{
	const struct lp_command *c;
	size_t taken;
	assert_int_equal(find(line, &c, &taken, NULL), 0);
	assert_string_equal(c->words, command);
}

static void assert_sentence(const char *line, const char *sentence)
{
	const struct lp_command *c;
	size_t taken;
	struct lp_err err = {0};
	assert_int_equal(find(line, &c, &taken, &err), -LP_EUSAGE);
	assert_string_equal(err.text, sentence);
}

static void the_command_with_most_words_is_found(void **state)
{
	assert_found("var", "var");
	assert_found("var x", "var");
	assert_found("var get", "var get");
	assert_found("var get int age", "var get");
	assert_found("var get all", "var get all");
	assert_found("help var get", "help");
}

static void words_of_a_command_are_whole_words(void **state)
{
	const struct lp_command *c;
	size_t taken;
	assert_int_equal(find("lib loads", &c, &taken, NULL), -LP_EUSAGE);
	assert_int_equal(find("lib l", &c, &taken, NULL), -LP_EUSAGE);
	assert_int_equal(find("LIB list", &c, &taken, NULL), -LP_EUSAGE);
	assert_int_equal(find("", &c, &taken, NULL), -LP_EUSAGE);
}

static void a_refusal_says_what_was_meant(void **state)
{
	assert_sentence("lib", "lib wants one of: list, load, unload");
	assert_sentence("lib lst", "unknown command: lib lst; did you mean \"lib list\"?");
	assert_sentence("lbi list", "unknown command: lbi list; did you mean \"lib list\"?");
	assert_sentence("hlep", "unknown command: hlep; did you mean \"help\"?");
	assert_sentence("lib xyzzy", "lib knows no xyzzy; it wants one of: list, load, unload");
	assert_sentence("xyzzy", "unknown command: xyzzy; \"help\" lists them");
}

static void long_words_are_cut_in_the_refusal(void **state)
{
	char word[20000];
	char *words[] = {word, word};
	const struct lp_command *c;
	size_t taken;
	struct lp_err err = {0};
	memset(word, 'x', sizeof word - 1);
	word[sizeof word - 1] = 0;
	assert_int_equal(lp_verbs_find(&table, words, 2, &c, &taken, &err), -LP_EUSAGE);
	assert_true(strlen(err.text) < 200);
}

static void operands_are_counted_by_the_synopsis(void **state)
{
	static const struct {
		const char *synopsis;
		size_t least, most;
	} cases[] = {
		{NULL, 0, 0},		{"", 0, 0},
		{"NAME", 1, 1},		{"TYPE NAME", 2, 2},
		{"NAME [VALUE]", 1, 2}, {"[--unsafe] NAME VALUE", 2, 3},
		{"[ON|OFF]", 0, 1},	{"NAME...", 1, 99},
		{"[WORD...]", 0, 99},	{"A [B [C]]", 1, 3},
		{"A [B C] D", 2, 4},	{"A [B...]", 1, 99},
		{"A B... [C]", 2, 99},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		const struct lp_command c = {.words = "x", .synopsis = cases[i].synopsis};
		for (size_t nr = 0; nr < 100; nr++)
			assert_int_equal(lp_verbs_check(&c, nr, NULL),
					 nr >= cases[i].least && nr <= cases[i].most ? 0 : -LP_EUSAGE);
	}
}

static void a_wrong_count_shows_the_usage(void **state)
{
	const struct lp_command c = {.words = "var get", .synopsis = "TYPE NAME"}, none = {.words = "var list"};
	struct lp_err err = {0};
	lp_verbs_check(&c, 1, &err);
	assert_string_equal(err.text, "too few operands; usage: var get TYPE NAME");
	lp_verbs_check(&c, 3, &err);
	assert_string_equal(err.text, "too many operands; usage: var get TYPE NAME");
	lp_verbs_check(&none, 1, &err);
	assert_string_equal(err.text, "too many operands; usage: var list");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_with_most_words_is_found),
		cmocka_unit_test(words_of_a_command_are_whole_words),
		cmocka_unit_test(a_refusal_says_what_was_meant),
		cmocka_unit_test(long_words_are_cut_in_the_refusal),
		cmocka_unit_test(operands_are_counted_by_the_synopsis),
		cmocka_unit_test(a_wrong_count_shows_the_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
