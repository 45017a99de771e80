/*
 * The prompt: script lines are collected, looked at, then applied as one
 * patch.
 *
 * A script line is checked when it is typed, and not only its spelling: the
 * patch collected so far plus this line is planned against the process, so
 * that a symbol that does not exist or a function that is too short is refused
 * at once.  Planning writes nothing, and a line that is refused is not
 * collected; so what has been collected can be planned at every moment, until
 * the process itself changes.
 *
 * The patchset is kept as the lines it came from: undo takes the last one away
 * and reads the others again.
 *
 * ^C at the prompt drops the line; during apply and revert it ends the wait
 * for a busy function, with nothing changed.
 */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/fdio.h"

#define HISTORY_LINES 1000
#define PROMPT_NAME "prompt"

struct prompt {
	const struct args *args;
	struct lp_target *target;
	struct lp_patchset *ps; /* NULL while no line is collected */
	word_vec lines;		/* what ps was read from */
	EditLine *el;
	History *history;
	bool on_terminal;
	bool quit;
};

/* ---- the collected lines ---- */

/* As a patchset of its own; the caller frees it. */
static int parse_lines(const struct prompt *p, size_t nr, struct lp_patchset **out, struct lp_err *err)
{
	int rc = 0;
	*out = NULL;
	for (size_t i = 0; rc == 0 && i < nr; i++)
		rc = lp_patch_parse_line(out, p->lines.items[i], (unsigned)i + 1, PROMPT_NAME, err);
	return rc;
}

static void forget_lines(struct prompt *p)
{
	words_free(&p->lines);
	lp_patchset_free(p->ps);
	p->ps = NULL;
}

/* The lines were all accepted before: reading fewer of them cannot fail, or something is very wrong. */
static int keep_lines(struct prompt *p, size_t nr, struct lp_err *err)
{
	struct lp_patchset *ps;
	int rc = parse_lines(p, nr, &ps, err);
	if (rc < 0) {
		lp_patchset_free(ps);
		return rc;
	}
	while (p->lines.nr > nr)
		lp_free(p->lines.items[--p->lines.nr]);
	lp_patchset_free(p->ps);
	p->ps = ps;
	return 0;
}

static int plan_now(struct prompt *p, struct lp_plan **plan, struct lp_err *err)
{
	struct lp_apply_opts opts = opts_of(p->args);
	return lp_plan_make(plan, p->target, p->ps, &opts, err);
}

static int collect(struct prompt *p, const char *line, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	size_t before = p->lines.nr, nr_ops = p->ps ? p->ps->nr : 0;
	int rc = lp_patch_parse_line(&p->ps, line, (unsigned)before + 1, PROMPT_NAME, err);
	if (rc < 0 || !p->ps || p->ps->nr == nr_ops) /* blank lines and comments are not worth keeping */
		return rc;
	lp_vec_push(&p->lines, lp_strdup(line));
	rc = plan_now(p, &plan, err);
	lp_plan_free(plan);
	if (rc < 0)
		keep_lines(p, before, NULL);
	return rc;
}

/* ---- commands ---- */

static int need_lines(const struct prompt *p, struct lp_err *err)
{
	return p->lines.nr ? 0 : lp_fail(err, LP_EUSAGE, "nothing is collected yet");
}

static int command_plan(struct prompt *p, const char *arg, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	struct lp_buf text = {0};
	int rc = need_lines(p, err);
	if (rc == 0)
		rc = plan_now(p, &plan, err);
	if (rc == 0) {
		lp_plan_print(plan, &text);
		out_text(lp_buf_cstr(&text), text.len);
	}
	lp_buf_free(&text);
	lp_plan_free(plan);
	return rc;
}

static int command_apply(struct prompt *p, const char *arg, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	struct lp_result result = {0};
	int rc = need_lines(p, err);
	if (rc == 0)
		rc = plan_now(p, &plan, err);
	if (rc == 0)
		rc = lp_plan_apply(plan, &result, err);
	lp_plan_free(plan);
	if (rc < 0)
		return rc;
	print_applied(&result);
	forget_lines(p);
	return 0;
}

static int command_list(struct prompt *p, const char *arg, struct lp_err *err)
{
	struct lp_listing listing = {0};
	int rc = lp_ledger_list(p->target, &listing, err);
	if (rc == 0)
		print_listing(&listing, p->target->label, p->args->on[OPT_VERBOSE]);
	lp_listing_free(&listing);
	return rc;
}

static int command_revert(struct prompt *p, const char *arg, struct lp_err *err)
{
	uint64_t id;
	struct lp_result result = {0};
	struct lp_apply_opts opts = opts_of(p->args);
	bool all = strcmp(arg, "all") == 0 || strcmp(arg, "--all") == 0;
	if (!all && !parse_decimal(arg, UINT64_MAX, &id))
		return lp_fail(err, LP_EUSAGE, "which patch? revert takes an ID as list shows it, or --all");
	int rc = lp_revert(p->target, &id, all ? 0 : 1, &opts, &result, err);
	if (rc == 0)
		print_reverted(&result);
	return rc;
}

static int command_undo(struct prompt *p, const char *arg, struct lp_err *err)
{
	int rc = need_lines(p, err);
	if (rc < 0)
		return rc;
	out_printf("removed: %s\n", p->lines.items[p->lines.nr - 1]);
	return keep_lines(p, p->lines.nr - 1, err);
}

static int command_show(struct prompt *p, const char *arg, struct lp_err *err)
{
	int rc = need_lines(p, err);
	for (size_t i = 0; i < p->lines.nr; i++)
		out_printf("%s\n", p->lines.items[i]);
	return rc;
}

static int command_quit(struct prompt *p, const char *arg, struct lp_err *err)
{
	p->quit = true;
	return 0;
}

static int command_help(struct prompt *p, const char *arg, struct lp_err *err);

static const struct command {
	const char *word, *argument; /* NULL = takes none */
	int (*run)(struct prompt *p, const char *arg, struct lp_err *err);
	const char *help;
} commands[] = {
	{"plan", NULL, command_plan, "show what apply would map and write"},
	{"apply", NULL, command_apply, "apply the collected lines as one patch"},
	{"show", NULL, command_show, "show the collected lines"},
	{"undo", NULL, command_undo, "remove the last collected line"},
	{"list", NULL, command_list, "show the patches that are in the process"},
	{"revert", "ID|--all", command_revert, "take a patch out again"},
	{"help", NULL, command_help, "this list"},
	{"quit", NULL, command_quit, "leave; collected lines are dropped"},
};

static int command_help(struct prompt *p, const char *arg, struct lp_err *err)
{
	size_t nr;
	const struct lp_op_syntax *ops = lp_op_syntaxes(&nr);
	out_printf("These lines are collected into a patch:\n");
	for (size_t i = 0; i < nr; i++) {
		char usage[64];
		snprintf(usage, sizeof usage, "%s %s %s", ops[i].name, ops[i].operands[0].text,
			 ops[i].operands[1].text);
		out_printf("  %-28s  %s\n", usage, ops[i].help);
	}
	out_printf("These act at once:\n");
	for (size_t i = 0; i < LP_ARRAY_SIZE(commands); i++) {
		char usage[64];
		snprintf(usage, sizeof usage, "%s %s", commands[i].word,
			 commands[i].argument ? commands[i].argument : "");
		out_printf("  %-28s  %s\n", usage, commands[i].help);
	}
	return 0;
}

/* ---- one line ---- */

static const struct command *command_named(const char *word, size_t len)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(commands); i++)
		if (strlen(commands[i].word) == len && memcmp(commands[i].word, word, len) == 0)
			return &commands[i];
	return NULL;
}

/* Blank lines and comments are, too. */
static bool is_script_line(const char *word, size_t len)
{
	size_t nr;
	const struct lp_op_syntax *ops = lp_op_syntaxes(&nr);
	for (size_t i = 0; i < nr; i++)
		if (strlen(ops[i].name) == len && memcmp(ops[i].name, word, len) == 0)
			return true;
	return !len || *word == '#';
}

static int run_line(struct prompt *p, const char *line, struct lp_err *err)
{
	const char *word = line + strspn(line, " \t");
	size_t len = strcspn(word, " \t");
	const char *arg = word + len + strspn(word + len, " \t");
	const struct command *c = command_named(word, len);
	progress_begin();
	if (!c && !is_script_line(word, len))
		return lp_fail(err, LP_EUSAGE, "%.*s is neither an instruction nor a command; help lists both",
			       (int)len, word);
	if (!c)
		return collect(p, line, err);
	if (*arg && !c->argument)
		return lp_fail(err, LP_EUSAGE, "%s takes nothing behind it", c->word);
	signals_catch();
	return c->run(p, arg, err);
}

static bool is_target_lost(int rc)
{
	return rc == -LP_EGONE || rc == -LP_EEXECED;
}

/* ---- completion ---- */

static const char *const *command_words(void)
{
	static const char *words[LP_ARRAY_SIZE(commands) + 1];
	for (size_t i = 0; i < LP_ARRAY_SIZE(commands); i++)
		words[i] = commands[i].word;
	return words;
}

static size_t common_prefix(const word_vec *w)
{
	size_t len = strlen(w->items[0]);
	for (size_t i = 1; i < w->nr; i++)
		for (size_t k = 0; k < len; k++)
			if (w->items[i][k] != w->items[0][k])
				len = k;
	return len;
}

static void show_candidates(const word_vec *w)
{
	enum { MOST_SHOWN = 200 };
	out_printf("\n");
	for (size_t i = 0; i < w->nr && i < MOST_SHOWN; i++)
		out_printf("%s%s", i ? "  " : "", w->items[i]);
	if (w->nr > MOST_SHOWN)
		out_printf("  ... (%zu more)", w->nr - MOST_SHOWN);
	out_printf("\n");
	out_flush();
}

/* A word that may go on ("$foo:", "libc.so.6:", "dir/") gets no blank behind it. */
static void insert_rest(EditLine *el, const char *candidate, size_t typed, size_t len, bool is_whole)
{
	bool is_open = len && strchr(":/", candidate[len - 1]);
	char *rest = lp_sprintf("%.*s%s", (int)(len - typed), candidate + typed, is_whole && !is_open ? " " : "");
	el_insertstr(el, rest);
	lp_free(rest);
}

static unsigned char complete(EditLine *el, int ch)
{
	struct prompt *p;
	word_vec words = {0};
	size_t start;
	const LineInfo *line = el_line(el);
	size_t len = (size_t)(line->cursor - line->buffer);
	unsigned char answer = CC_REFRESH;
	el_get(el, EL_CLIENTDATA, &p);
	bool is_all = complete_line(line->buffer, len, command_words(), p->ps, p->target, &words, &start);
	size_t common = words.nr && is_all ? common_prefix(&words) : 0;
	if (words.nr == 1 || common > len - start) {
		insert_rest(el, words.items[0], len - start, common, words.nr == 1);
	} else if (words.nr) {
		show_candidates(&words);
		answer = CC_REDISPLAY;
	} else {
		answer = CC_REFRESH_BEEP;
	}
	words_free(&words);
	return answer;
}

/* ---- history: ~/.local/state/livepatch/history, as the XDG base directory specification says ---- */

static char *state_directory(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (state && state[0] == '/')
		return lp_sprintf("%s/livepatch", state);
	return home && home[0] == '/' ? lp_sprintf("%s/.local/state/livepatch", home) : NULL;
}

/* Every directory of the path that is missing, readable to nobody else. */
static void make_directories(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	mkdir(path, 0700);
}

static char *history_path(void)
{
	char *directory = state_directory();
	if (!directory)
		return NULL;
	make_directories(directory);
	char *path = lp_sprintf("%s/history", directory);
	lp_free(directory);
	return path;
}

/* Root's prompt with somebody else's HOME must not follow what they put there: own regular files only. */
static int open_history(const char *path, int flags)
{
	struct stat st;
	int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && fchmod(fd, 0600) == 0)
		return fd;
	lp_close(fd);
	return -1;
}

static void load_history(struct prompt *p)
{
	HistEvent event;
	char name[32], *path = history_path();
	int fd = path ? open_history(path, O_RDONLY) : -1;
	if (fd >= 0) {
		snprintf(name, sizeof name, "/proc/self/fd/%d", fd); /* the file that was checked, not the name again */
		history(p->history, &event, H_LOAD, name);
		lp_close(fd);
	}
	lp_free(path);
}

static void save_history(struct prompt *p)
{
	HistEvent event;
	char *path = history_path();
	int fd = path ? open_history(path, O_WRONLY | O_CREAT) : -1;
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (file && ftruncate(fd, 0) == 0)
		history(p->history, &event, H_SAVE_FP, file);
	if (file)
		fclose(file);
	else
		lp_close(fd);
	lp_free(path);
}

static void remember(struct prompt *p, const char *line)
{
	HistEvent event;
	if (line[strspn(line, " \t")])
		history(p->history, &event, H_ENTER, line);
}

/* ---- keys ---- */

/* 1 when the terminal has something to read, -1 with EINTR when a signal that we catch came first.  The signals are let
 * in only while ppoll sleeps: one that came a moment earlier would otherwise be noticed a key later. */
static int wait_for_key(void)
{
	struct pollfd terminal = {.fd = STDIN_FILENO, .events = POLLIN};
	sigset_t ours, before;
	int rc = 0;
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, &before);
	while (rc <= 0 && !interrupted)
		rc = ppoll(&terminal, 1, NULL, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (rc <= 0)
		errno = EINTR;
	return rc > 0 ? 1 : -1;
}

/* libedit's own reader goes on after the first EINTR, and ^C would do nothing.  Returns as read(2) of one character. */
static int read_key(EditLine *el, wchar_t *key)
{
	mbstate_t state = {0};
	for (;;) {
		char byte;
		ssize_t n = wait_for_key();
		if (n > 0)
			n = read(STDIN_FILENO, &byte, 1);
		if (n <= 0)
			return (int)n;
		size_t used = mbrtowc(key, &byte, 1, &state);
		if (used == (size_t)-2)
			continue;
		if (used == (size_t)-1)
			*key = (unsigned char)byte;
		return 1;
	}
}

/* ---- the loop ---- */

static char *prompt_text(EditLine *el)
{
	static char text[48];
	struct prompt *p;
	el_get(el, EL_CLIENTDATA, &p);
	if (p->lines.nr)
		snprintf(text, sizeof text, "livepatch %d [%zu]> ", p->args->pid, p->lines.nr);
	else
		snprintf(text, sizeof text, "livepatch %d> ", p->args->pid);
	return text;
}

static void editor_open(struct prompt *p)
{
	HistEvent event;
	p->on_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (!p->on_terminal)
		return;
	setlocale(LC_CTYPE, "");
	p->history = history_init();
	history(p->history, &event, H_SETSIZE, HISTORY_LINES);
	history(p->history, &event, H_SETUNIQUE, 1);
	load_history(p);
	p->el = el_init("livepatch", stdin, stdout, stderr);
	el_set(p->el, EL_CLIENTDATA, p);
	el_set(p->el, EL_PROMPT, prompt_text);
	el_wset(p->el, EL_GETCFN, read_key);
	el_set(p->el, EL_EDITOR, "emacs");
	el_set(p->el, EL_HIST, history, p->history);
	el_wset(p->el, EL_ADDFN, L"livepatch-complete", L"complete the word before the cursor",
		complete); /* el_set leaks */
	el_set(p->el, EL_BIND, "^I", "livepatch-complete", NULL);
	el_set(p->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
}

static void editor_close(struct prompt *p)
{
	if (!p->on_terminal)
		return;
	save_history(p);
	el_end(p->el);
	history_end(p->history);
}

/* A line without its newline, owned by the caller; NULL at the end of input and when we shall end.  ^C gives an empty
 * one. */
static char *read_from_terminal(struct prompt *p)
{
	int len;
	signals_catch();
	errno = 0;
	/* el_gets would do so only behind the prompt, and early keys would be echoed twice. */
	el_set(p->el, EL_PREP_TERM, 1);
	const char *line = el_gets(p->el, &len);
	if (line && len > 0) {
		len -= line[len - 1] == '\n';
		return lp_sprintf("%.*s", len, line);
	}
	out_printf("\n");
	if (interrupted != SIGINT)
		return NULL;
	el_reset(p->el);
	return lp_strdup("");
}

static char *read_from_pipe(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len = getline(&line, &cap, stdin);
	if (len < 0) {
		free(line);
		return NULL;
	}
	char *copy = lp_sprintf("%.*s", (int)(len - (line[len - 1] == '\n')), line);
	free(line);
	return copy;
}

static char *read_line(struct prompt *p)
{
	out_flush();
	return p->on_terminal ? read_from_terminal(p) : read_from_pipe();
}

/* A person corrects a mistake; a pipe cannot, and its next lines mean nothing without this one. */
static int loop(struct prompt *p, struct lp_err *err)
{
	int rc = 0;
	char *line;
	while (!p->quit && (line = read_line(p))) {
		*err = (struct lp_err){0};
		if (p->on_terminal)
			remember(p, line);
		rc = run_line(p, line, err);
		lp_free(line);
		if (rc < 0 && (!p->on_terminal || is_target_lost(rc)))
			return rc;
		if (rc < 0)
			note_error(err);
	}
	return 0;
}

static void greet(const struct prompt *p)
{
	if (p->on_terminal && !p->args->on[OPT_QUIET])
		out_printf("%s; help lists what can be typed\n", p->target->label);
}

int verb_interactive(const struct args *a, struct lp_err *err)
{
	struct prompt p = {.args = a};
	char lines[SHORT_TEXT];
	int rc = lp_target_open_process(&p.target, a->pid, a->exe, err);
	if (rc < 0)
		return rc;
	editor_open(&p);
	greet(&p);
	rc = loop(&p, err);
	editor_close(&p);
	if (rc == 0 && p.lines.nr)
		note("%s not applied", count_text(p.lines.nr, "collected line", lines));
	forget_lines(&p);
	lp_target_close(p.target);
	return rc;
}
