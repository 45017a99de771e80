#include "control/table.h"

#include <string.h>

#include "base/vec.h"

#define MOST_OPERANDS SIZE_MAX
#define NAME_MAX_LENGTH 64 /* of what is compared with names */

size_t lp_verbs_size(const struct lp_table *t)
{
	return t->nr_own + t->nr_theirs;
}

const struct lp_command *lp_verbs_row(const struct lp_table *t, size_t i)
{
	return i < t->nr_own ? &t->own[i] : &t->theirs[i - t->nr_own];
}

const char *lp_level_name(enum lp_level level)
{
	static const char *const names[] = {
		[LP_LEVEL_READ] = "read", [LP_LEVEL_WRITE] = "write", [LP_LEVEL_CODE] = "code"};
	return names[level];
}

/* ---- words ---- */

/* The next word of "gflags get"; NULL at the end. */
static const char *next_word(const char **at, size_t *len)
{
	while (**at == ' ')
		++*at;
	const char *word = *at;
	*len = strcspn(word, " ");
	*at += *len;
	return *len ? word : NULL;
}

bool lp_command_begins(const struct lp_command *c, char *const *words, size_t nr)
{
	const char *at = c->words, *word;
	size_t len;
	for (size_t i = 0; i < nr; i++) {
		word = next_word(&at, &len);
		if (!word || strlen(words[i]) != len || memcmp(word, words[i], len) != 0)
			return false;
	}
	return true;
}

static size_t count_words(const char *words)
{
	size_t nr = 0, len;
	while (next_word(&words, &len))
		nr++;
	return nr;
}

/* ---- what was meant ---- */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many letters must be put in, left out, changed or swapped with the next. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][NAME_MAX_LENGTH + 1], *before = rows[0], *last = rows[1], *now = rows[2];
	size_t na = strlen(a), nb = strlen(b);
	if (na > NAME_MAX_LENGTH || nb > NAME_MAX_LENGTH)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		last[j] = before[j] = j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		size_t *oldest = before;
		before = last;
		last = now;
		now = oldest;
	}
	return last[nb];
}

/* The first words of the request, as many as the command has. */
static void join(struct lp_buf *out, char *const *argv, size_t nr)
{
	for (size_t i = 0; i < nr && out->len <= NAME_MAX_LENGTH; i++) {
		lp_buf_str(out, i ? " " : "");
		lp_buf_str(out, argv[i]);
	}
}

static size_t distance_of(const struct lp_command *c, char *const *argv, size_t argc)
{
	struct lp_buf said = {0};
	join(&said, argv, least(argc, count_words(c->words)));
	size_t d = distance(lp_buf_cstr(&said), c->words);
	lp_buf_free(&said);
	return d;
}

static const struct lp_command *nearest(const struct lp_table *t, char *const *argv, size_t argc)
{
	const struct lp_command *best = NULL;
	size_t best_distance = SIZE_MAX;
	for (size_t i = 0; i < lp_verbs_size(t); i++) {
		const struct lp_command *c = lp_verbs_row(t, i);
		size_t d = distance_of(c, argv, argc);
		if (d < best_distance && d <= 1 + strlen(c->words) / 4) {
			best = c;
			best_distance = d;
		}
	}
	return best;
}

static bool contains_name(const char *list, const char *name, size_t len)
{
	for (const char *at = list; (at = strstr(at, name)); at++)
		if ((at == list || at[-1] == ' ') && (at[len] == 0 || at[len] == ','))
			return true;
	return false;
}

/* What may come behind the first `nr` words. */
static void list_followers(const struct lp_table *t, char *const *words, size_t nr, struct lp_buf *out)
{
	for (size_t i = 0; i < lp_verbs_size(t); i++) {
		const char *at = lp_verbs_row(t, i)->words;
		char name[NAME_MAX_LENGTH];
		size_t len = 0;
		if (!lp_command_begins(lp_verbs_row(t, i), words, nr))
			continue;
		const char *word = NULL;
		for (size_t skip = 0; skip <= nr; skip++)
			word = next_word(&at, &len);
		if (!word || len >= sizeof name)
			continue;
		memcpy(name, word, len);
		name[len] = 0;
		if (!contains_name(lp_buf_cstr(out), name, len))
			lp_buf_printf(out, "%s%s", out->len ? ", " : "", name);
	}
}

static int refuse_unknown(const struct lp_table *t, char *const *argv, size_t argc, struct lp_err *err)
{
	struct lp_buf followers = {0};
	const struct lp_command *meant = nearest(t, argv, argc);
	int rc;
	list_followers(t, argv, 1, &followers);
	if (followers.len && argc == 1)
		rc = lp_fail(err, LP_EUSAGE, "%.64s wants one of: %s", argv[0], lp_buf_cstr(&followers));
	else if (meant)
		rc = lp_fail(err, LP_EUSAGE, "unknown command: %.64s%s%.64s; did you mean \"%s\"?", argv[0],
			     argc > 1 ? " " : "", argc > 1 ? argv[1] : "", meant->words);
	else if (followers.len)
		rc = lp_fail(err, LP_EUSAGE, "%.64s knows no %.64s; it wants one of: %s", argv[0], argv[1],
			     lp_buf_cstr(&followers));
	else
		rc = lp_fail(err, LP_EUSAGE, "unknown command: %.64s; \"help\" lists them", argv[0]);
	lp_buf_free(&followers);
	return rc;
}

int lp_verbs_find(const struct lp_table *t, char *const *argv, size_t argc, const struct lp_command **out,
		  size_t *taken, struct lp_err *err)
{
	*taken = 0;
	for (size_t i = 0; i < lp_verbs_size(t); i++) {
		const struct lp_command *c = lp_verbs_row(t, i);
		size_t nr = count_words(c->words);
		if (nr > *taken && nr <= argc && lp_command_begins(c, argv, nr)) {
			*out = c;
			*taken = nr;
		}
	}
	return *taken ? 0 : refuse_unknown(t, argv, argc, err);
}

/* ---- operands ---- */

struct arity {
	size_t least, most;
};

/* "TYPE NAME [VALUE...]": what stands in brackets may be left out, three dots repeat. */
static struct arity arity_of(const char *synopsis)
{
	struct arity a = {0, 0};
	const char *word;
	size_t len, depth = 0;
	while ((word = next_word(&synopsis, &len))) {
		for (size_t i = 0; i < len; i++)
			depth += word[i] == '[';
		a.least += depth == 0;
		a.most += a.most != MOST_OPERANDS;
		if (memmem(word, len, "...", 3))
			a.most = MOST_OPERANDS;
		for (size_t i = 0; i < len; i++)
			depth -= word[i] == ']' && depth;
	}
	return a;
}

int lp_verbs_check(const struct lp_command *c, size_t operands, struct lp_err *err)
{
	const char *synopsis = c->synopsis ? c->synopsis : "";
	struct arity a = arity_of(synopsis);
	if (operands >= a.least && operands <= a.most)
		return 0;
	return lp_fail(err, LP_EUSAGE, "%s operands; usage: %s%s%s", operands < a.least ? "too few" : "too many",
		       c->words, *synopsis ? " " : "", synopsis);
}
