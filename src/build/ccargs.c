#include "build/ccargs.h"

#include <ctype.h>
#include <string.h>

#include "base/fdio.h"

#define RESPONSE_DEPTH 8
#define RESPONSE_MAX (64u << 20)

static bool starts(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

/* ---- response files ---- */

/* The quoting of libiberty's expandargv: blanks separate, quotes of both kinds and backslash protect. */
static const char *next_word(const char *p, const char *end, struct lp_buf *word)
{
	char quote = 0;
	while (p < end && isspace((unsigned char)*p))
		p++;
	if (p == end)
		return NULL;
	for (; p < end && (quote || !isspace((unsigned char)*p)); p++) {
		if (*p == '\\' && p + 1 < end)
			lp_buf_add(word, ++p, 1);
		else if (quote && *p == quote)
			quote = 0;
		else if (!quote && (*p == '"' || *p == '\''))
			quote = *p;
		else
			lp_buf_add(word, p, 1);
	}
	return p;
}

void lp_split_words(lp_word_vec *words, const char *text)
{
	const char *end = text + strlen(text);
	struct lp_buf word = {0};
	while ((text = next_word(text, end, &word))) {
		lp_vec_push(words, lp_strdup(lp_buf_cstr(&word)));
		lp_buf_free(&word);
	}
	lp_buf_free(&word);
}

static void add_word(struct lp_ccargs *a, const char *word, bool expand, unsigned depth);

static bool add_response(struct lp_ccargs *a, const char *path, unsigned depth)
{
	struct lp_buf text = {0};
	if (lp_read_file(path, &text, RESPONSE_MAX, NULL) < 0) {
		lp_buf_free(&text);
		return false;
	}
	lp_word_vec words = {0};
	lp_split_words(&words, lp_buf_cstr(&text));
	for (size_t i = 0; i < words.nr; i++) {
		add_word(a, words.items[i], true, depth + 1);
		lp_free(words.items[i]);
	}
	lp_vec_free(&words);
	lp_buf_free(&text);
	return true;
}

static void add_word(struct lp_ccargs *a, const char *word, bool expand, unsigned depth)
{
	if (expand && word[0] == '@' && depth < RESPONSE_DEPTH && add_response(a, word + 1, depth))
		return;
	lp_vec_push(&a->words, lp_strdup(word));
}

/* ---- options ---- */

static const char *const args_joined[] = {
#define CC_ARG(word) word,
#define CC_ARG_APART(word)
#define CC_DEPENDENCY(word, with_value)
#include "build/ccargs.def"
#undef CC_ARG
#undef CC_ARG_APART
#undef CC_DEPENDENCY
};

static const char *const args_apart[] = {
#define CC_ARG(word)
#define CC_ARG_APART(word) word,
#define CC_DEPENDENCY(word, with_value)
#include "build/ccargs.def"
#undef CC_ARG
#undef CC_ARG_APART
#undef CC_DEPENDENCY
};

static const struct {
	const char *word;
	bool with_value;
} dependency[] = {
#define CC_ARG(word)
#define CC_ARG_APART(word)
#define CC_DEPENDENCY(word, with_value) {word, with_value},
#include "build/ccargs.def"
#undef CC_ARG
#undef CC_ARG_APART
#undef CC_DEPENDENCY
};

static bool takes_next(const char *word)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(args_joined); i++)
		if (strcmp(word, args_joined[i]) == 0)
			return true;
	for (size_t i = 0; i < LP_ARRAY_SIZE(args_apart); i++)
		if (strcmp(word, args_apart[i]) == 0)
			return true;
	return false;
}

size_t lp_ccargs_span(const struct lp_ccargs *a, size_t i)
{
	return takes_next(a->words.items[i]) && i + 1 < a->words.nr ? 2 : 1;
}

static bool is_preprocessor_dependency(const char *word)
{
	return starts(word, "-Wp,-MD,") || starts(word, "-Wp,-MMD,");
}

size_t lp_ccargs_dependency_span(const struct lp_ccargs *a, size_t i)
{
	const char *word = a->words.items[i];
	if (is_preprocessor_dependency(word))
		return 1;
	for (size_t d = 0; d < LP_ARRAY_SIZE(dependency); d++) {
		if (strcmp(word, dependency[d].word) == 0)
			return dependency[d].with_value ? lp_ccargs_span(a, i) : 1;
		if (dependency[d].with_value && starts(word, dependency[d].word))
			return 1;
	}
	return 0;
}

bool lp_ccargs_is_link_word(const char *word)
{
	static const char *const whole[] = {"-shared",	 "-static", "-static-pie", "-pie",	    "-no-pie",
					    "-rdynamic", "-s",	    "-nostdlib",   "-nostartfiles", "-nodefaultlibs"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(whole); i++)
		if (strcmp(word, whole[i]) == 0)
			return true;
	return starts(word, "-Wl,") || starts(word, "-l") || starts(word, "-L") || starts(word, "-fuse-ld=") ||
	       strcmp(word, "-Xlinker") == 0 || strcmp(word, "-z") == 0 || strcmp(word, "-T") == 0 ||
	       starts(word, "-static-lib");
}

/* ---- inputs ---- */

static const char *suffix_of(const char *path)
{
	const char *base = strrchr(path, '/');
	const char *dot = strrchr(base ? base : path, '.');
	return dot ? dot + 1 : "";
}

static bool is_one_of(const char *word, const char *const *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (strcmp(word, list[i]) == 0)
			return true;
	return false;
}

static enum lp_cc_input input_kind(const char *path)
{
	static const char *const sources[] = {"c",   "i",   "ii",  "cc",  "cp",	 "cxx", "cpp", "CPP", "c++", "C",
					      "m",   "mi",  "mm",  "mii", "M",	 "f",	"for", "ftn", "F",   "FOR",
					      "fpp", "FPP", "FTN", "f90", "f95", "f03", "f08", "F90", "F95", "F03",
					      "F08", "go",  "d",   "adb", "ads", "ll",	"bc"};
	static const char *const assembler[] = {"s", "S", "sx"};
	const char *suffix = suffix_of(path);
	if (is_one_of(suffix, sources, LP_ARRAY_SIZE(sources)))
		return LP_CC_SOURCE;
	return is_one_of(suffix, assembler, LP_ARRAY_SIZE(assembler)) ? LP_CC_ASSEMBLER : LP_CC_OBJECT;
}

static void add_input(struct lp_ccargs *a, size_t i, enum lp_cc_input kind, const char *path)
{
	lp_vec_push(&a->inputs, ((struct lp_ccargs_input){kind, i, path}));
}

char *lp_ccargs_default_object(const char *source)
{
	const char *base = strrchr(source, '/');
	base = base ? base + 1 : source;
	const char *dot = strrchr(base, '.');
	return lp_sprintf("%.*s.o", (int)(dot ? (size_t)(dot - base) : strlen(base)), base);
}

/* ---- one word after the other ---- */

/* The value of option `name` at word i, joined or apart; NULL when the word is another option. */
static const char *value_of(const struct lp_ccargs *a, size_t i, const char *name)
{
	const char *word = a->words.items[i];
	if (!starts(word, name))
		return NULL;
	if (word[strlen(name)])
		return word + strlen(name);
	return i + 1 < a->words.nr ? a->words.items[i + 1] : NULL;
}

/* The Nth comma separated piece list of -Wl: "-Wl,-Map=x", "-Wl,-Map,x", "-Wl,-r". */
static void read_linker_words(struct lp_ccargs *a, const char *word)
{
	const char *map = strstr(word, "-Map=");
	map = map ? map + 5 : (map = strstr(word, "-Map,")) ? map + 5 : NULL;
	if (map)
		a->map = map;
	if (strcmp(word, "-Wl,-r") == 0 || strcmp(word, "-Wl,--relocatable") == 0)
		a->relocatable = true;
	if (strcmp(word, "-Wl,--version") == 0 || strcmp(word, "-Wl,-v") == 0)
		a->odd = true;
}

static void read_preprocessor_words(struct lp_ccargs *a, const char *word)
{
	if (!is_preprocessor_dependency(word))
		return;
	a->wants_deps = true;
	a->dep_file = strrchr(word, ',') + 1;
}

static bool ends_early(const char *word)
{
	static const char *const early[] = {"-E",	  "-M",		  "-MM",	  "-fsyntax-only",
					    "--version",  "-dumpversion", "-dumpmachine", "-dumpfullversion",
					    "-dumpspecs", "--help",	  "-###",	  "-V",
					    "--analyze"};
	return is_one_of(word, early, LP_ARRAY_SIZE(early)) || starts(word, "-print-") || starts(word, "--print-") ||
	       starts(word, "--help=");
}

static void read_flag(struct lp_ccargs *a, const char *word)
{
	if (starts(word, "-flto"))
		a->lto = true;
	else if (strcmp(word, "-fno-lto") == 0)
		a->lto = false;
	else if (strcmp(word, "-ffunction-sections") == 0)
		a->function_sections = true;
	else if (strcmp(word, "-fno-function-sections") == 0)
		a->function_sections = false;
	else if (starts(word, "-save-temps") || starts(word, "--save-temps"))
		a->odd = true;
	else if (strcmp(word, "-r") == 0 || strcmp(word, "--relocatable") == 0 || strcmp(word, "-i") == 0)
		a->relocatable = true;
	else if (starts(word, "-Map="))
		a->map = word + 5;
	else if (starts(word, "-Wl,"))
		read_linker_words(a, word);
	else if (starts(word, "-Wp,"))
		read_preprocessor_words(a, word);
}

static void read_value(struct lp_ccargs *a, size_t i)
{
	const char *v;
	if ((v = value_of(a, i, "-MF")))
		a->dep_file = v;
	else if (starts(a->words.items[i], "-x"))
		a->odd = true;
	else if (strcmp(a->words.items[i], "-Map") == 0 && (v = value_of(a, i, "-Map")))
		a->map = v;
	else if ((v = value_of(a, i, "-l")))
		add_input(a, i, LP_CC_LIBRARY, v);
	else if (strcmp(a->words.items[i], "-Xlinker") == 0 && i + 1 < a->words.nr &&
		 starts(a->words.items[i + 1], "-Map"))
		a->odd = true;
}

static bool is_output_word(const char *word)
{
	return starts(word, "-o") && !starts(word, "-object");
}

static void read_option(struct lp_ccargs *a, size_t i, enum lp_cc_does *stage, bool is_linker)
{
	const char *word = a->words.items[i];
	if (!is_linker && strcmp(word, "-c") == 0)
		*stage = LP_CC_COMPILE;
	else if (!is_linker && strcmp(word, "-S") == 0)
		*stage = LP_CC_ASSEMBLY;
	else if (is_linker ? strcmp(word, "--version") == 0 : ends_early(word))
		*stage = LP_CC_NOTHING;
	else if (is_output_word(word))
		a->output = value_of(a, i, "-o");
	else
		read_flag(a, word);
	if (lp_ccargs_dependency_span(a, i))
		a->wants_deps = true;
	read_value(a, i);
}

static bool has_input(const struct lp_ccargs *a, enum lp_cc_input one, enum lp_cc_input other)
{
	for (size_t i = 0; i < a->inputs.nr; i++)
		if (a->inputs.items[i].kind == one || a->inputs.items[i].kind == other)
			return true;
	return false;
}

/* What comes out, now that all inputs are known: "gcc -v" and "gcc -lm" make nothing. */
static enum lp_cc_does settle(const struct lp_ccargs *a, enum lp_cc_does stage)
{
	bool sources = has_input(a, LP_CC_SOURCE, LP_CC_ASSEMBLER);
	if (stage == LP_CC_COMPILE || stage == LP_CC_ASSEMBLY)
		return sources || a->odd ? stage : LP_CC_NOTHING;
	if (stage == LP_CC_NOTHING)
		return LP_CC_NOTHING;
	if (sources || (a->odd && has_input(a, LP_CC_OBJECT, LP_CC_OBJECT)))
		return LP_CC_COMPILE_LINK;
	return has_input(a, LP_CC_OBJECT, LP_CC_OBJECT) ? LP_CC_LINK : LP_CC_NOTHING;
}

void lp_ccargs_parse(struct lp_ccargs *out, char *const *words, size_t nr, bool is_linker, bool expand)
{
	enum lp_cc_does stage = LP_CC_LINK;
	*out = (struct lp_ccargs){0};
	for (size_t i = 0; i < nr; i++)
		add_word(out, words[i], expand, 0);
	for (size_t i = 0; i < out->words.nr; i += lp_ccargs_span(out, i)) {
		const char *word = out->words.items[i];
		enum lp_cc_does before = stage;
		if (strcmp(word, "-") == 0)
			out->odd = true;
		else if (word[0] == '-')
			read_option(out, i, &stage, is_linker);
		else
			add_input(out, i, is_linker ? LP_CC_OBJECT : input_kind(word), word);
		if (before == LP_CC_NOTHING) /* -E -c is -E */
			stage = LP_CC_NOTHING;
	}
	out->does = settle(out, stage);
}

void lp_ccargs_free(struct lp_ccargs *a)
{
	for (size_t i = 0; i < a->words.nr; i++)
		lp_free(a->words.items[i]);
	lp_vec_free(&a->words);
	lp_vec_free(&a->inputs);
}

/* ---- names ---- */

static bool is_version(const char *s)
{
	return !*s || (*s == '-' && s[1] && strspn(s + 1, "0123456789.") == strlen(s + 1));
}

/* `name` is BASE, BASE-12 or TRIPLET-BASE-12. */
static bool goes_by(const char *name, const char *base)
{
	size_t len = strlen(base);
	for (const char *p = strstr(name, base); p; p = strstr(p + 1, base))
		if ((p == name || p[-1] == '-') && is_version(p + len))
			return true;
	return false;
}

bool lp_is_compiler_name(const char *name)
{
	static const char *const bases[] = {"gcc", "g++", "cc", "c++", "clang", "clang++", "c99", "c89", "gfortran"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bases); i++)
		if (goes_by(name, bases[i]))
			return true;
	return false;
}

bool lp_is_linker_name(const char *name)
{
	static const char *const bases[] = {"ld", "ld.bfd", "ld.gold", "ld.lld", "gold", "lld", "mold", "ld.mold"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bases); i++)
		if (goes_by(name, bases[i]))
			return true;
	return false;
}
