/*
 * One table of options for every verb, and a strict reading of it.
 *
 * getopt_long does the walking (clusters, "--", options after operands), but
 * two of its habits are refused here:
 *
 * - Abbreviations.  "--all" must never be taken for "--allow-active" because
 *   some verb happens to have only the latter.
 * - Quiet repetition.  Of two -p the last would win, and the wrong process be
 *   changed.
 *
 * The walk is done twice: once up to the first operand, which names the verb
 * (so that `livepatch -v list` and `livepatch list -v` are the same), then
 * over everything but that word.
 */
#include "tool/tool.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#define MANY SIZE_MAX

const struct verb verb_table[VERB_COUNT] = {
#define VERB(id, word, run, effect, least, most, synopsis, summary) \
	[VERB_##id] = {word, verb_##run, effect, least, most, synopsis, summary},
#include "tool/verbs.def"
#undef VERB
};

const struct option_row option_table[OPT_COUNT] = {
#define V(verb) (1u << VERB_##verb)
#define OPTION(id, letter, word, argument, verbs, sentence) [OPT_##id] = {letter, word, argument, verbs, sentence},
#include "tool/options.def"
#undef OPTION
#undef V
};

#define TIMEOUT_DEFAULT_MS 5000
#define TIMEOUT_MAX_MS 86400000 /* a day */
#define SEARCH_MAX_MIB (UINT64_C(1) << 32)

/* Beyond every short option letter, so that a long option is told from its letter. */
#define LONG_VALUE 256

static void fill_getopt(char *letters, struct option *words)
{
	*letters++ = '+';
	*letters++ = ':';
	for (int i = 0; i < OPT_COUNT; i++) {
		const struct option_row *o = &option_table[i];
		words[i] =
			(struct option){o->word, o->argument ? required_argument : no_argument, NULL, LONG_VALUE + i};
		if (!o->letter)
			continue;
		*letters++ = (char)o->letter;
		if (o->argument)
			*letters++ = ':';
	}
}

/* getopt_long over the whole table, stopping at the first operand. */
static int next_option(int argc, char **argv)
{
	static char letters[2 + 2 * OPT_COUNT + 1];
	static struct option words[OPT_COUNT + 1];
	if (!letters[0])
		fill_getopt(letters, words);
	opterr = 0;
	return getopt_long(argc, argv, letters, words, NULL);
}

static int option_of_letter(int letter)
{
	for (int i = 0; i < OPT_COUNT; i++)
		if (option_table[i].letter == letter)
			return i;
	return -1;
}

/* The word of argv in which getopt found the long option it just returned. */
static const char *long_word(char **argv, const struct option_row *o)
{
	bool value_apart = o->argument && optarg == argv[optind - 1];
	return argv[optind - (value_apart ? 2 : 1)] + 2;
}

static bool is_abbreviated(char **argv, const struct option_row *o)
{
	const char *word = long_word(argv, o);
	return strcspn(word, "=") != strlen(o->word);
}

static int refuse_unknown(char **argv, struct lp_err *err)
{
	if (optopt >= LONG_VALUE)
		return lp_fail(err, LP_EUSAGE, "--%s takes no value", option_table[optopt - LONG_VALUE].word);
	if (optopt)
		return lp_fail(err, LP_EUSAGE, "unknown option -%c", optopt);
	const char *word = argv[optind - 1];
	return lp_fail(err, LP_EUSAGE, "unknown option %.*s", (int)strcspn(word, "="), word);
}

static int refuse_without_value(struct lp_err *err)
{
	int i = optopt >= LONG_VALUE ? optopt - LONG_VALUE : option_of_letter(optopt);
	if (optopt >= LONG_VALUE)
		return lp_fail(err, LP_EUSAGE, "--%s needs a value: %s", option_table[i].word,
			       option_table[i].argument);
	return lp_fail(err, LP_EUSAGE, "-%c needs a value: %s", optopt, option_table[i].argument);
}

/* One step: *id receives the option.  1, or 0 at an operand or the end, or negative.  At 0, *id tells whether a "--"
 * was passed (the word before an operand may be a "--" that is the value of an option). */
enum { NO_OPTION = -1, DOUBLE_DASH = -2 };

static int step(int argc, char **argv, int *id, struct lp_err *err)
{
	int before = optind ? optind : 1;
	int c = next_option(argc, argv);
	*id = optind > before ? DOUBLE_DASH : NO_OPTION;
	if (c == -1)
		return 0;
	if (c == '?')
		return refuse_unknown(argv, err);
	if (c == ':')
		return refuse_without_value(err);
	*id = c >= LONG_VALUE ? c - LONG_VALUE : option_of_letter(c);
	if (c >= LONG_VALUE && is_abbreviated(argv, &option_table[*id]))
		return lp_fail(err, LP_EUSAGE, "unknown option --%.*s; did you mean --%s?",
			       (int)strcspn(long_word(argv, &option_table[*id]), "="),
			       long_word(argv, &option_table[*id]), option_table[*id].word);
	return 1;
}

/* ---- verbs ---- */

const struct verb *verb_find(const char *word)
{
	for (int i = 0; i < VERB_COUNT; i++)
		if (word[0] && strcmp(verb_table[i].word, word) == 0)
			return &verb_table[i];
	return NULL;
}

bool verb_takes(const struct verb *v, enum option_id id)
{
	return option_table[id].verbs >> (v - verb_table) & 1;
}

static size_t least3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;
	return ab < c ? ab : c;
}

/* Levenshtein's distance; words longer than any verb are simply far away. */
static size_t distance(const char *a, const char *b)
{
	enum { LONGEST = 16 };
	size_t row[LONGEST + 1], la = strlen(a), lb = strlen(b);
	if (la > LONGEST || lb > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j];
			row[j] = least3(up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = up;
		}
	}
	return row[lb];
}

const char *verb_nearest(const char *word)
{
	const char *nearest = NULL;
	size_t best = 3;
	for (int i = 0; i < VERB_COUNT; i++) {
		size_t d =
			isalpha((unsigned char)verb_table[i].word[0]) ? distance(word, verb_table[i].word) : SIZE_MAX;
		if (d < best && d < strlen(word)) {
			best = d;
			nearest = verb_table[i].word;
		}
	}
	return nearest;
}

static int refuse_verb(const char *word, struct lp_err *err)
{
	const char *nearest = verb_nearest(word);
	if (nearest)
		return lp_fail(err, LP_EUSAGE, "there is no verb %s; did you mean %s?", word, nearest);
	if (strchr(word, '/'))
		return lp_fail(err, LP_EUSAGE, "%s stands where a process id is expected; did pidof find nothing?",
			       word);
	return lp_fail(err, LP_EUSAGE, "%s is neither a process id nor a verb", word);
}

/* Decides on the verb; *word_at receives the index in argv of the word that named it, 0 = none did. */
static int choose_verb(struct args *a, int argc, char **argv, int *word_at, struct lp_err *err)
{
	int id, rc;
	optind = 0;
	while ((rc = step(argc, argv, &id, err)) > 0)
		if (id == OPT_INTERACTIVE)
			a->verb = &verb_table[VERB_INTERACTIVE];
	if (rc < 0 || a->verb == &verb_table[VERB_INTERACTIVE] || optind >= argc)
		return rc;
	const char *word = argv[optind];
	if (isdigit((unsigned char)word[0]) || id == DOUBLE_DASH)
		return 0;
	const struct verb *v = verb_find(word);
	if (!v)
		return refuse_verb(word, err);
	a->verb = v;
	*word_at = optind;
	return 0;
}

/* ---- values ---- */

static int parse_pid(struct args *a, const char *text, struct lp_err *err)
{
	uint64_t pid;
	if (!parse_decimal(text, INT_MAX, &pid))
		return lp_fail(err, LP_EUSAGE, "\"%s\" is not a process id: a decimal number is expected", text);
	a->pid = (pid_t)pid;
	return 0;
}

/* Seconds with up to three decimals. */
static int parse_seconds(const char *option, const char *text, unsigned *out, struct lp_err *err)
{
	uint64_t ms = 0, scale = 1000;
	const char *p = text;
	for (; isdigit((unsigned char)*p); p++)
		ms = ms > TIMEOUT_MAX_MS ? ms : ms * 10 + (uint64_t)(*p - '0') * 1000;
	bool has_digits = p != text;
	if (has_digits && *p == '.')
		for (p++; isdigit((unsigned char)*p) && scale > 1; p++)
			ms += (uint64_t)(*p - '0') * (scale /= 10);
	if (!has_digits || *p || p[-1] == '.')
		return lp_fail(err, LP_EUSAGE, "--%s \"%s\": seconds are expected, such as 5 or 0.25", option, text);
	if (ms > TIMEOUT_MAX_MS)
		return lp_fail(err, LP_EUSAGE, "--%s \"%s\": a day is the most", option, text);
	*out = (unsigned)ms;
	return 0;
}

/* Without a search there is no promise about coroutines: whoever says 0 knows that there are none. */
static int parse_search(struct args *a, const char *text, struct lp_err *err)
{
	uint64_t mib = 0;
	if (strcmp(text, "0") != 0 && !parse_decimal(text, SEARCH_MAX_MIB, &mib))
		return lp_fail(err, LP_EUSAGE,
			       "--search \"%s\": a number of MiB is expected, such as 1024, or 0 for no search", text);
	a->search_most = mib ? mib << 20 : LP_SEARCH_NONE;
	return 0;
}

/* ---- the second walk ---- */

static void verb_title(const struct verb *v, char out[SHORT_TEXT])
{
	snprintf(out, SHORT_TEXT, "livepatch %s", v->word[0] ? v->word : "PID TARGET-BINARY");
}

static void option_title(const struct option_row *o, char out[SHORT_TEXT])
{
	if (o->letter)
		snprintf(out, SHORT_TEXT, "-%c, --%s", o->letter, o->word);
	else
		snprintf(out, SHORT_TEXT, "--%s", o->word);
}

/* Given several times, they mean several things. */
static bool is_repeatable(enum option_id id)
{
	return id == OPT_TARGET || id == OPT_SKIP || id == OPT_ALLOW || id == OPT_LINE_FUNCTION;
}

static int take(struct args *a, enum option_id id, const char *value, struct lp_err *err)
{
	char verb[SHORT_TEXT], option[SHORT_TEXT];
	verb_title(a->verb, verb);
	option_title(&option_table[id], option);
	if (!verb_takes(a->verb, id))
		return lp_fail(err, LP_EUSAGE, "%s does not take %s", verb, option);
	if (value && a->value[id] && !is_repeatable(id))
		return lp_fail(err, LP_EUSAGE, "%s is given twice", option);
	a->on[id] = true;
	a->value[id] = value;
	if (value && is_repeatable(id))
		lp_vec_push(&a->values[id], value);
	if (value && id == OPT_PID)
		return parse_pid(a, value, err);
	if (value && id == OPT_TIMEOUT)
		return parse_seconds(option_table[id].word, value, &a->timeout_ms, err);
	if (value && id == OPT_SEARCH)
		return parse_search(a, value, err);
	if (value && id == OPT_POLL)
		return parse_seconds(option_table[id].word, value, &a->poll_ms, err);
	if (value && id == OPT_PULL)
		return parse_seconds(option_table[id].word, value, &a->pull_ms, err);
	return 0;
}

static void set_aside(struct args *a, char **argv, int word_at)
{
	if (optind != word_at)
		a->operands[a->nr_operands++] = argv[optind];
	optind++;
}

/* Options may stand behind operands: each operand that stops getopt is set aside.  getopt is not asked again after a
 * "--": it would begin anew at the first operand. */
static int walk(struct args *a, int argc, char **argv, int word_at, struct lp_err *err)
{
	int id = NO_OPTION, rc;
	optind = 0;
	while (id != DOUBLE_DASH) {
		while ((rc = step(argc, argv, &id, err)) > 0)
			if ((rc = take(a, (enum option_id)id, optarg, err)) < 0)
				return rc;
		if (rc < 0 || optind >= argc)
			return rc;
		if (id != DOUBLE_DASH)
			set_aside(a, argv, word_at);
	}
	while (optind < argc)
		set_aside(a, argv, word_at);
	return 0;
}

/* ---- what must be there, and what cannot go together ---- */

static int check_count(const struct args *a, struct lp_err *err)
{
	const struct verb *v = a->verb;
	char title[SHORT_TEXT];
	verb_title(v, title);
	if (a->nr_operands >= v->least && a->nr_operands <= v->most)
		return 0;
	if (v == &verb_table[VERB_CLASSIC] && a->nr_operands == 0)
		return lp_fail(err, LP_EUSAGE, "say which process, or what to do");
	if (v == &verb_table[VERB_CLASSIC] && a->nr_operands == 1)
		return lp_fail(err, LP_EUSAGE, "TARGET-BINARY is missing after the process id %s", a->operands[0]);
	if (v == &verb_table[VERB_INTERACTIVE] && a->nr_operands == 0)
		return lp_fail(err, LP_EUSAGE, "%s needs a process id", title);
	if (a->nr_operands < v->least)
		return lp_fail(err, LP_EUSAGE, "%s needs an operand more: %s", title, v->synopsis);
	if (v->most == 0)
		return lp_fail(err, LP_EUSAGE, "%s takes no operand, but \"%s\" is one", title, a->operands[0]);
	return lp_fail(err, LP_EUSAGE, "\"%s\" is one operand too many for %s", a->operands[v->most], title);
}

static int check_process(struct args *a, struct lp_err *err)
{
	bool all = a->on[OPT_ALL_PROCESSES];
	if (a->verb == &verb_table[VERB_CLASSIC] || a->verb == &verb_table[VERB_INTERACTIVE])
		return parse_pid(a, a->operands[0], err);
	if (all && a->pid)
		return lp_fail(err, LP_EUSAGE, "-p and --all-processes exclude each other");
	if (!verb_takes(a->verb, OPT_PID) || a->pid || all)
		return 0;
	if (verb_takes(a->verb, OPT_ALL_PROCESSES))
		return lp_fail(err, LP_EUSAGE, "-p PID or --all-processes is missing");
	return lp_fail(err, LP_EUSAGE, "-p PID is missing");
}

static int check_operands(struct args *a, struct lp_err *err)
{
	if (a->verb == &verb_table[VERB_CLASSIC] || a->verb == &verb_table[VERB_INTERACTIVE])
		a->exe = a->nr_operands > 1 ? a->operands[1] : NULL;
	if (a->verb != &verb_table[VERB_REVERT])
		return 0;
	if (a->on[OPT_ALL] && a->nr_operands)
		return lp_fail(err, LP_EUSAGE, "--all and the ID \"%s\" exclude each other", a->operands[0]);
	if (!a->on[OPT_ALL] && !a->nr_operands)
		return lp_fail(err, LP_EUSAGE, "which patch? give an ID as list shows it, or --all");
	return 0;
}

/* Before anything is parsed: a wrong command line shall be answered in JSON, too, when JSON is asked for. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int args_parse(struct args *a, int argc, char **argv, struct lp_err *err)
{
	*a = (struct args){.verb = &verb_table[VERB_CLASSIC], .timeout_ms = TIMEOUT_DEFAULT_MS};
	a->operands = lp_alloc(sizeof *a->operands * ((size_t)argc + 1));
	bool json = wants_json(argc, argv);
	int word_at = 0;
	int rc = choose_verb(a, argc, argv, &word_at, err);
	rc = rc < 0 ? rc : walk(a, argc, argv, word_at, err);
	if (rc < 0) {
		a->on[OPT_JSON] = json;
		return rc;
	}
	if (a->on[OPT_HELP] || a->on[OPT_VERSION])
		return 0;
	rc = check_count(a, err);
	rc = rc < 0 ? rc : check_process(a, err);
	return rc < 0 ? rc : check_operands(a, err);
}

void args_free(struct args *a)
{
	lp_free(a->operands);
	a->operands = NULL;
	for (int i = 0; i < OPT_COUNT; i++)
		lp_vec_free(&a->values[i]);
}
