#include "tool/hotpatch_wish.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool/tool.h"

#define TIMEOUT_DEFAULT_MS 10000
#define DAY_S 86400

/* ---- options ---- */

static const struct {
	char letter;
	const char *word, *argument, *sentence;
} option_rows[NR_WISHES] = {
#define OPTION(id, letter, word, argument, sentence) [WISH_##id] = {letter, word, argument, sentence},
#define CLIENT(id, words, synopsis, summary)
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
};

static int option_called(const char *arg, const char **value)
{
	for (int i = 0; i < NR_WISHES; i++) {
		size_t len = strlen(option_rows[i].word);

		*value = NULL;
		if (arg[1] != '-' && arg[1] == option_rows[i].letter) {
			*value = arg[2] ? arg + 2 : NULL;
			return i;
		}
		if (arg[1] == '-' && !strncmp(arg + 2, option_rows[i].word, len) &&
		    (!arg[2 + len] || arg[2 + len] == '=')) {
			*value = arg[2 + len] ? arg + 3 + len : NULL;
			return i;
		}
	}
	return -1;
}

/* argv[*at] is an option, and *at ends at its last word. */
static int take_option(struct wish *w, char **argv, int *at, struct lp_err *err)
{
	const char *arg = argv[*at], *value;
	int i = option_called(arg, &value);

	if (i < 0)
		return lp_fail(err, LP_EUSAGE, "unknown option %s", arg);
	if (w->value[i])
		return lp_fail(err, LP_EUSAGE, "--%s is there twice", option_rows[i].word);
	if (!option_rows[i].argument && value) {
		w->value[i] = ""; /* whoever writes --json=1 wants JSON */
		return lp_fail(err, LP_EUSAGE, "--%s takes no value", option_rows[i].word);
	}
	if (option_rows[i].argument && !value)
		value = argv[*at + 1] ? argv[++*at] : NULL;
	if (option_rows[i].argument && !value)
		return lp_fail(err, LP_EUSAGE, "--%s wants a value, %s", option_rows[i].word, option_rows[i].argument);
	w->value[i] = value ? value : "";
	return 0;
}

static int parse_pid(struct wish *w, struct lp_err *err)
{
	uint64_t pid;

	if (!parse_decimal(w->value[WISH_PID], INT_MAX, &pid))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no process id", w->value[WISH_PID]);
	w->pid = (pid_t)pid;
	return 0;
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* As people write numbers: strtod() takes hexadecimal ones and infinity, too. */
static bool is_number(const char *text)
{
	size_t exponent;

	if (!digits(text))
		return false;
	text += digits(text);
	if (*text == '.')
		text += 1 + digits(text + 1);
	if (*text != 'e' && *text != 'E')
		return !*text;
	text += 1 + (text[1] == '-' || text[1] == '+');
	exponent = digits(text);
	return exponent && !text[exponent];
}

static int parse_seconds(const char *text, unsigned *ms, struct lp_err *err)
{
	double seconds = strtod(text, NULL);

	if (!is_number(text))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is no number of seconds", text);
	if (seconds > DAY_S)
		return lp_fail(err, LP_EUSAGE, "\"%s\" is more than %d seconds, which is the most", text, DAY_S);
	*ms = (unsigned)ceil(seconds * 1000);
	return 0;
}

static int parse_delay(struct wish *w, struct lp_err *err)
{
	int rc = parse_seconds(w->value[WISH_DELAY], &w->delay_ms, err);

	return rc == 0 && !w->delay_ms ? lp_fail(err, LP_EUSAGE, "a delay is more than no time at all") : rc;
}

static int parse_values(struct wish *w, struct lp_err *err)
{
	int rc = w->value[WISH_PID] ? parse_pid(w, err) : 0;

	rc = rc == 0 && w->value[WISH_TIMEOUT] ? parse_seconds(w->value[WISH_TIMEOUT], &w->timeout_ms, err) : rc;
	return rc == 0 && w->value[WISH_DELAY] ? parse_delay(w, err) : rc;
}

int wish_own_command(const char *word)
{
	static const char *const own[NR_OWN] = {
#define OPTION(id, letter, word, argument, sentence)
#define CLIENT(id, words, synopsis, summary) [OWN_##id] = words,
#include "tool/hotpatch.def"
#undef OPTION
#undef CLIENT
	};

	for (int i = 0; i < NR_OWN; i++) {
		size_t len = strcspn(own[i], " ");

		if (!strncmp(own[i], word, len) && !word[len])
			return i;
	}
	return -1;
}

bool wish_is_option(const char *word)
{
	const char *value;

	return word[0] == '-' && option_called(word, &value) >= 0;
}

/* Behind the client's own commands, what looks like an option is one, or a mistake. */
static bool is_meant_as_option(const struct wish *w, const char *arg)
{
	return w->own >= 0 && arg[0] == '-' && arg[1] && (w->own != OWN_DETACH || strcmp(arg, "--force") != 0);
}

/* Would a ";" here end a command, or an empty one? */
static bool ends_command(const struct wish *w)
{
	return w->nr && strcmp(w->words[w->nr - 1], ";") != 0;
}

/* The words of the command, in argv's place. */
static int take_words(struct wish *w, char **argv, int at, struct lp_err *err)
{
	int rc = 0;

	while (argv[at] && !strcmp(argv[at], ";"))
		at++;
	w->own = argv[at] ? wish_own_command(argv[at]) : -1;
	w->words = (const char **)argv + at;
	for (; rc == 0 && argv[at]; at++) {
		if (is_meant_as_option(w, argv[at]))
			rc = take_option(w, argv, &at, err);
		else if (strcmp(argv[at], ";") != 0 || ends_command(w))
			w->words[w->nr++] = argv[at];
	}
	w->nr -= w->nr && !ends_command(w);
	return rc;
}

int wish_parse(struct wish *w, int argc, char **argv, struct lp_err *err)
{
	int rc = 0, at = argc ? 1 : 0;

	*w = (struct wish){.timeout_ms = TIMEOUT_DEFAULT_MS};
	for (; rc == 0 && argv[at] && argv[at][0] == '-' && argv[at][1] && strcmp(argv[at], "--") != 0; at++)
		rc = take_option(w, argv, &at, err);
	if (rc < 0)
		return rc;
	at += argv[at] && !strcmp(argv[at], "--");
	rc = take_words(w, argv, at, err);
	return rc < 0 ? rc : parse_values(w, err);
}

/* ---- what makes no sense ---- */

size_t wish_command_length(const char *const *words, size_t nr)
{
	size_t i = 0;

	while (i < nr && strcmp(words[i], ";") != 0)
		i++;
	return i;
}

static int check_options(const struct wish *w, struct lp_err *err)
{
	if (w->value[WISH_ONCE] && w->own != OWN_TOP)
		return lp_fail(err, LP_EUSAGE, "--once is for top");
	if (w->value[WISH_DELAY] && w->own != OWN_TOP && w->own != OWN_WATCH)
		return lp_fail(err, LP_EUSAGE, "--delay is for watch and top");
	return 0;
}

static int check_command(const char *first, bool is_alone, struct lp_err *err)
{
	if (wish_own_command(first) >= 0 && !is_alone)
		return lp_fail(err, LP_EUSAGE, "%s is the client's own command: it stands alone on the line", first);
	if (strpbrk(first, " \t\n"))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is one word: do not quote its blanks", first);
	return 0;
}

/* What is not committed at the end of the connection is forgotten, without a word of the agent's. */
static int check_transaction(bool is_open, struct lp_err *err)
{
	if (is_open)
		return lp_fail(err, LP_EUSAGE,
			       "begin without commit changes nothing; commands with ';' between them happen together "
			       "without either");
	return 0;
}

static int check_commands(const struct wish *w, struct lp_err *err)
{
	bool is_open = false;
	int rc = 0;

	for (size_t at = 0, len; rc == 0 && at < w->nr; at += len + 1) {
		const char *first = w->words[at];

		len = wish_command_length(w->words + at, w->nr - at);
		rc = check_command(first, len == w->nr, err);
		if (len == 1 && !strcmp(first, "begin"))
			is_open = true;
		if (len == 1 && (!strcmp(first, "commit") || !strcmp(first, "abort")))
			is_open = false;
	}
	return rc < 0 ? rc : check_transaction(is_open, err);
}

int wish_check(const struct wish *w, struct lp_err *err)
{
	int rc = check_options(w, err);

	if (rc < 0)
		return rc;
	if (!w->nr)
		return lp_fail(err, LP_EUSAGE, "a command is missing; hotpatch --help lists them");
	if (!w->pid && w->own != OWN_PS)
		return lp_fail(err, LP_EUSAGE, "which process? -p PID; hotpatch ps lists them");
	return check_commands(w, err);
}
