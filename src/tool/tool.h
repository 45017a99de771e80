/*
 * The livepatch command: arguments in, sentences or JSON out.  Everything it
 * does to a process is done by the libraries below.
 *
 *     main: args_parse -> verb->run -> report -> exit status
 *
 * A verb returns 0, or an exit status that is not an error (check: something
 * differs), or a negative code with err filled in; main alone prints errors
 * and turns codes into exit statuses.
 */
#ifndef LP_TOOL_H
#define LP_TOOL_H

#include <jansson.h>

#include "base/vec.h"
#include "core/core.h"
#include "space/space.h"

enum exit_status { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_LOST = 3 };

/* ---- arguments (args.c, help.c) ---- */

enum verb_id {
#define VERB(id, word, run, effect, least, most, synopsis, summary) VERB_##id,
#include "tool/verbs.def"
#undef VERB
	VERB_COUNT
};

enum option_id {
#define OPTION(id, letter, word, argument, verbs, sentence) OPT_##id,
#include "tool/options.def"
#undef OPTION
	OPT_COUNT
};

struct args;

enum verb_effect { READS, CHANGES };

struct verb {
	const char *word;
	int (*run)(const struct args *a, struct lp_err *err);
	enum verb_effect effect;
	size_t least, most; /* operands */
	const char *synopsis, *summary;
};

struct option_row {
	int letter;
	const char *word, *argument;
	uint32_t verbs; /* bit set of verb_id */
	const char *sentence;
};

extern const struct verb verb_table[VERB_COUNT];
extern const struct option_row option_table[OPT_COUNT];

/* What the user asked for.  Strings are argv's. */
struct args {
	const struct verb *verb;
	bool on[OPT_COUNT];
	const char *value[OPT_COUNT];
	LP_VEC(const char *) values[OPT_COUNT]; /* of those that may be given several times */
	pid_t pid;				/* 0 = none given */
	const char *exe;
	unsigned timeout_ms, poll_ms, pull_ms;
	uint64_t search_most; /* as in struct lp_apply_opts */
	char **operands;
	size_t nr_operands;
};

/* Strict: every operand and value is checked here but the IDs of revert.  0 or -LP_EUSAGE; `a` is always safe to use
 * for reporting (verb, on[OPT_JSON]) and to free. */
int args_parse(struct args *a, int argc, char **argv, struct lp_err *err);
void args_free(struct args *a);
/* [1-9][0-9]*, at most `max`; false otherwise. */
bool parse_decimal(const char *text, uint64_t max, uint64_t *out);

const struct verb *verb_find(const char *word); /* NULL when unknown */
bool verb_takes(const struct verb *v, enum option_id id);
/* The typed verb that is closest to `word`, NULL when nothing is near. */
const char *verb_nearest(const char *word);
/* Help for one verb, or for the whole command when v is NULL. */
void help_print(const struct verb *v);

/* ---- the verbs, one file each ---- */

#define VERB(id, word, run, effect, least, most, synopsis, summary) \
	int verb_##run(const struct args *a, struct lp_err *err);
#include "tool/verbs.def"
#undef VERB

/* The number of the SIGINT, SIGTERM or SIGHUP that came since signals_catch(), which sets it to 0.  Before the first
 * signals_catch() they kill, which is safe and quick. */
extern volatile sig_atomic_t interrupted;
void signals_catch(void);
/* For a child: as if nobody had caught or blocked a signal. */
void signals_default(void);

/* True in the worker, which goes on; false in its parent, once the worker has ended, with the exit status to end with.
 * Called when arguments and script are known to be good, with nothing waiting to be printed.  The prompt does without:
 * a person is there to see what happened. */
bool supervise(const struct args *a, int *status);
int status_of(int rc);	/* the exit status that stands for a verb's answer */
int64_t clock_ms(void); /* monotonic */

struct lp_apply_opts opts_of(const struct args *a);
/* Pieces that the prompt shares with the verbs. */
void print_applied(const struct lp_result *r);
void print_reverted(const struct lp_result *r);
/* Is this what an operand of revert means: its number, its name, or the patch id of an object in it, when applied? */
bool patch_is_called(const struct lp_listed *p, const char *word);
void print_listing(const struct lp_listing *l, const char *label, bool verbose);

/* ---- text for people (output.c) ---- */

enum style { STYLE_NONE, STYLE_BOLD, STYLE_WARN, STYLE_BAD };

/* stdout is collected and written by out_flush(), or before anything goes to stderr.  Control characters and malformed
 * UTF-8 become \xNN: names come out of other processes' memory and must not talk to the terminal. */
void out_setup(bool verbose, bool debug, bool quiet);
/* What note() says at the start of a line; "livepatch" until then. */
void out_program(const char *name);
/* One line about what is going on, drawn over at a terminal; elsewhere only the last one of a stage is printed. */
void progress_line(const char *text, bool ended);
void progress_begin(void); /* from now on a person at a terminal waits */
void out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_text(const char *text, size_t len);
void out_style(enum style s);
void out_json(const char *ascii);				       /* as it is; a newline is added */
int out_flush(void);						       /* 0 or -errno of the first write that failed */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* stderr, "livepatch: ..." */
void note_error(const struct lp_err *err);

/* Append `text` with everything that is not printable UTF-8 escaped; newline and tab stay. */
void text_clean(struct lp_buf *out, const char *text, size_t len);
/* The same on one line: newline and tab become \n and \t.  The caller frees it. */
char *text_line(const char *text);
/* Characters that a cleaned text shows. */
size_t text_width(const char *text);
/* Length of the UTF-8 sequence at s (1..4), 0 when malformed. */
size_t utf8_length(const char *s, size_t len);

/* Each writes into out and returns it. */
#define SHORT_TEXT 32
char *size_text(uint64_t bytes, char out[SHORT_TEXT]);		      /* "8.0 KiB" */
char *duration_text(uint64_t ns, char out[SHORT_TEXT]);		      /* "87 us" */
char *count_text(uint64_t n, const char *noun, char out[SHORT_TEXT]); /* "1 write", "2 writes" */
char *time_text(int64_t epoch, char out[SHORT_TEXT]);		      /* local time */

/* ---- JSON (json.c); shapes are in the man page ---- */

/* Strings from the target need not be UTF-8: malformed bytes become U+FFFD. */
json_t *json_text(const char *s); /* NULL becomes null */
json_t *json_addr(lp_addr a);	  /* "0x401000" */
json_t *json_bytes(const uint8_t *bytes, size_t len);
json_t *json_error(const struct lp_err *err);
json_t *json_plan(const struct lp_plan *p);
json_t *json_result(const struct lp_result *r);
json_t *json_listing(const struct lp_listing *l);
json_t *json_foreign(const struct lp_foreign_list *l);
json_t *json_check(const struct lp_check_report *r, bool intact);
/* An object of "ok": true, "pid" and the members of another object, which is released. */
json_t *json_answer(pid_t pid, json_t *members);
/* Prints and releases it. */
void json_emit(json_t *object);
void json_emit_line(json_t *object); /* in one line, for one of many: whoever reads them need not know where one ends */

/* ---- what /proc says without touching anybody (processes.c) ---- */

struct thread_info {
	int tid;
	char name[17];
};
typedef LP_VEC(struct thread_info) thread_vec;
void process_threads(pid_t pid, thread_vec *out);
void process_exe(pid_t pid, char *out, size_t size); /* "" when it cannot be read */

typedef LP_VEC(pid_t) pid_vec;
/* Processes that map something called like a ledger; `unreadable` counts those that we may not look at. */
int processes_patched(pid_vec *out, size_t *unreadable, struct lp_err *err);

/* ---- the prompt's completion (complete.c) ---- */

typedef LP_VEC(char *) word_vec;
/* What the word that ends at line[len] may become.  `commands`: words the prompt knows itself, NULL-terminated; ps and t
 * may be NULL.  *start receives where that word begins.  Candidates are sorted, without doubles.  false when there are
 * more than COMPLETE_MAX: then some are missing, and what all have in common is not known. */
#define COMPLETE_MAX 200000
bool complete_line(const char *line, size_t len, const char *const *commands, const struct lp_patchset *ps,
		   struct lp_target *t, word_vec *out, size_t *start);
void words_free(word_vec *w);

#endif
