/*
 * One loop waits for keys, for the process and for signals, and never for one
 * of them alone: a process that is stopped must not keep anybody from leaving.
 * So the signals are read from a descriptor (those that end us or stop us, and
 * the one that tells of a new size), and a look at the process is as many steps
 * as it has answers.
 *
 * Escape sequences of the process's names and values never get here: rows are
 * clean text (hotpatch_live.h).
 */
#include "tool/hotpatch_screen.h"

#include <errno.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <wchar.h>

#include "base/fdio.h"
#include "tool/hotpatch_live.h"
#include "tool/tool.h"

#define ESCAPE_MS 25	 /* between Esc and what makes it the beginning of another key */
#define PATIENCE_MS 1000 /* until it is said that the process does not answer */
#define WIDTH_MAX 1024
#define LINES_AROUND 4 /* two above the rows, their heading, and the keys below */
#define TYPE_WIDTH_MAX 18

enum { KEY_ESCAPE = 27, KEY_CTRL_L = 12, KEY_CTRL_U = 21, KEY_DELETE = 127 };
enum { PAIR_CHANGED = 1 };

struct screen {
	struct peer *peer;
	const char *name; /* of the process */
	unsigned delay_ms;
	SCREEN *terminal;
	int signals; /* a signalfd */
	sigset_t mask_before;
	bool colours, over;
	int ended_by; /* a signal; 0 = none */
	struct live live;
	int64_t begun; /* ms; when the last look was */
	struct live_choice choice;
	live_view view;
	size_t first;  /* row of the view that is the uppermost */
	char text[64]; /* of the choice */
	bool is_typing;
};

/* ---- text ---- */

/* As many characters as fit into `width` columns.  Their number. */
static int fit(wchar_t *text, int width)
{
	int nr = 0;

	for (int used = 0; text[nr]; nr++) {
		int columns = wcwidth(text[nr]);

		if (columns < 0) {
			text[nr] = L'?';
			columns = 1;
		}
		used += columns;
		if (used > width)
			break;
	}
	return nr;
}

/* What the locale has no characters for is seen as question marks. */
static void widen(const char *text, wchar_t out[WIDTH_MAX])
{
	size_t nr = mbstowcs(out, text, WIDTH_MAX - 1);

	if (nr == (size_t)-1) {
		for (nr = 0; text[nr] && nr < WIDTH_MAX - 1; nr++)
			out[nr] = (unsigned char)text[nr] < 0x80 ? (wchar_t)text[nr] : L'?';
	}
	out[nr] = 0;
}

static int columns_of(const char *text)
{
	wchar_t wide[WIDTH_MAX];

	widen(text, wide);
	int columns = wcswidth(wide, WIDTH_MAX);
	return columns < 0 ? (int)wcslen(wide) : columns;
}

static void put(int y, int x, int width, const char *text)
{
	wchar_t wide[WIDTH_MAX];

	if (y < 0 || y >= LINES || x >= COLS)
		return;
	widen(text, wide);
	mvaddnwstr(y, x, wide, fit(wide, width < COLS - x ? width : COLS - x));
}

static void put_line(int y, attr_t how, const char *text)
{
	if (y < 0 || y >= LINES)
		return;
	attrset(how);
	mvhline(y, 0, ' ', COLS);
	put(y, 0, COLS, text);
	attrset(A_NORMAL);
}

/* ---- the table ---- */

struct columns {
	int name, type, value; /* where they begin */
};

static int rows_shown(void)
{
	return LINES > LINES_AROUND ? LINES - LINES_AROUND : 0;
}

static struct columns columns_for(const live_view *view)
{
	int name = 4, type = 4, kind = 8;

	for (size_t i = 0; i < view->nr; i++) {
		int n = columns_of(view->items[i]->name), t = columns_of(view->items[i]->type);

		name = n > name ? n : name;
		type = t > type ? t : type;
	}
	name = name < COLS / 3 || COLS < 12 ? name : COLS / 3;
	type = type < TYPE_WIDTH_MAX ? type : TYPE_WIDTH_MAX;
	return (struct columns){.name = kind + 2, .type = kind + 2 + name + 2, .value = kind + 2 + name + 2 + type + 2};
}

static void draw_cells(int y, const struct columns *c, const char *kind, const char *name, const char *type,
		       const char *value)
{
	put(y, 0, c->name - 1, kind);
	put(y, c->name, c->type - c->name - 2, name);
	put(y, c->type, c->value - c->type - 2, type);
	put(y, c->value, COLS, value);
}

static void draw_row(const struct screen *s, int y, const struct columns *c, const struct live_row *r)
{
	if (live_is_changed(&s->live, r))
		attrset(A_BOLD | (s->colours ? COLOR_PAIR(PAIR_CHANGED) : 0));
	draw_cells(y, c, live_kind_name(r->kind), r->name, r->type, r->value);
	attrset(A_NORMAL);
}

static void draw_table(struct screen *s)
{
	struct columns c = columns_for(&s->view);

	put_line(2, A_REVERSE, "");
	attrset(A_REVERSE);
	if (LINES > 2)
		draw_cells(2, &c, "KIND", "NAME", "TYPE", "VALUE");
	attrset(A_NORMAL);
	for (int i = 0; i < rows_shown() && s->first + (size_t)i < s->view.nr; i++)
		draw_row(s, i + 3, &c, s->view.items[s->first + (size_t)i]);
}

/* ---- what is around it ---- */

static bool is_waiting_long(const struct screen *s)
{
	return s->live.answers && clock_ms() - s->begun >= PATIENCE_MS;
}

static void draw_title(const struct screen *s)
{
	char *text = lp_sprintf("hotpatch top: process %d (%s), every %g s%s", (int)s->peer->client.pid, s->name,
				s->delay_ms / 1000.0, is_waiting_long(s) ? "; it does not answer" : "");

	put_line(0, A_BOLD, text);
	lp_free(text);
}

static void draw_choice(const struct screen *s)
{
	static const char *const orders[NR_LIVE_ORDERS] = {"kind", "name", "last change"};
	const char *only = s->choice.kind < 0 ? "" : live_kind_name((enum live_kind)s->choice.kind);
	size_t last = s->first + (size_t)rows_shown();
	char *text = lp_sprintf("%zu to %zu of %zu, by %s%s%s%s%s%s", s->view.nr ? s->first + 1 : 0,
				last < s->view.nr ? last : s->view.nr, s->view.nr, orders[s->choice.order],
				*only ? ", " : "", only, *only ? "s alone" : "", *s->text ? ", with " : "", s->text);

	put_line(1, A_NORMAL, s->live.looks ? text : "looking ...");
	lp_free(text);
}

static void draw_keys(const struct screen *s)
{
	char typed[sizeof s->text + 16];

	snprintf(typed, sizeof typed, "with: %s", s->text);
	put_line(LINES - 1, A_REVERSE,
		 s->is_typing ? typed : "q quit  s sort  f variables, functions, flags  / with a text  space look now");
	curs_set(s->is_typing);
	if (s->is_typing)
		move(LINES - 1, columns_of(typed) < COLS ? columns_of(typed) : COLS - 1);
}

static void draw(struct screen *s)
{
	live_choose(&s->live, &s->choice, &s->view);
	size_t shown = (size_t)rows_shown(), last = s->view.nr > shown ? s->view.nr - shown : 0;
	s->first = s->first < last ? s->first : last;
	erase();
	draw_title(s);
	draw_choice(s);
	draw_table(s);
	draw_keys(s);
	refresh();
}

/* ---- keys ---- */

static void scroll_by(struct screen *s, long rows)
{
	if (rows < 0)
		s->first = s->first > (size_t)-rows ? s->first - (size_t)-rows : 0;
	else
		s->first += (size_t)rows; /* draw() knows where the end is */
}

static void cut_last_character(char *text)
{
	size_t len = strlen(text);

	while (len && ((unsigned char)text[--len] & 0xc0) == 0x80)
		;
	text[len] = 0;
}

static void type_key(struct screen *s, int key)
{
	size_t len = strlen(s->text);

	if (key == '\n' || key == '\r' || key == KEY_ENTER || key == KEY_ESCAPE)
		s->is_typing = false;
	if (key == KEY_ESCAPE || key == KEY_CTRL_U)
		s->text[0] = 0;
	else if (key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b')
		cut_last_character(s->text);
	else if (key >= ' ' && key < 256 && len + 1 < sizeof s->text)
		s->text[len] = (char)key, s->text[len + 1] = 0;
}

static void command_key(struct screen *s, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		s->over = true;
		break;
	case 's':
		s->choice.order = (s->choice.order + 1) % NR_LIVE_ORDERS;
		break;
	case 'f':
		s->choice.kind = s->choice.kind + 1 < NR_LIVE_KINDS ? s->choice.kind + 1 : -1;
		break;
	case '/':
		s->is_typing = true;
		break;
	case KEY_ESCAPE:
		s->text[0] = 0;
		break;
	case ' ':
		if (!s->live.answers)
			s->begun = 0;
		break;
	case KEY_CTRL_L:
		clearok(curscr, TRUE);
		break;
	case KEY_UP:
	case 'k':
		scroll_by(s, -1);
		break;
	case KEY_DOWN:
	case 'j':
		scroll_by(s, 1);
		break;
	case KEY_PPAGE:
		scroll_by(s, -rows_shown());
		break;
	case KEY_NPAGE:
		scroll_by(s, rows_shown());
		break;
	case KEY_HOME:
	case 'g':
		s->first = 0;
		break;
	case KEY_END:
	case 'G':
		s->first = s->view.nr;
		break;
	}
}

static void take_keys(struct screen *s)
{
	for (int key; !s->over && (key = getch()) != ERR;) {
		if (s->is_typing)
			type_key(s, key);
		else
			command_key(s, key);
	}
}

/* ---- signals ---- */

/* ncurses leaves SIGTSTP alone where it finds a handler; its own forgets a ^Z that comes while it draws. */
static void not_by_ncurses(int number)
{
}

static void stops_with(void (*handler)(int))
{
	if (signal(SIGTSTP, handler) == SIG_IGN)
		signal(SIGTSTP, SIG_IGN);
}

static int signals_open(struct screen *s, struct lp_err *err)
{
	static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < LP_ARRAY_SIZE(ours); i++)
		sigaddset(&set, ours[i]);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return lp_fail_sys(err, errno, "cannot wait for signals");
	sigprocmask(SIG_BLOCK, &set, &s->mask_before);
	stops_with(not_by_ncurses);
	return 0;
}

/* What we were told to end by, we end by; newterm() has put a handler there that would say that we failed. */
static void signals_close(struct screen *s)
{
	lp_close(s->signals);
	if (s->ended_by)
		signal(s->ended_by, SIG_DFL);
	stops_with(SIG_DFL);
	sigprocmask(SIG_SETMASK, &s->mask_before, NULL);
	if (s->ended_by && s->ended_by != SIGINT)
		raise(s->ended_by);
}

static void take_size(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
}

/* ^Z: whoever is in front of the terminal now has it as it was, and we have it back when we go on. */
static void stop(void)
{
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	endwin();
	stops_with(SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &stops, NULL);
	raise(SIGTSTP);
	sigprocmask(SIG_BLOCK, &stops, NULL);
	stops_with(not_by_ncurses);
	take_size();
	clearok(curscr, TRUE);
}

static void take_signals(struct screen *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGWINCH) {
			take_size();
		} else if (info.ssi_signo == SIGTSTP) {
			stop();
		} else {
			s->ended_by = (int)info.ssi_signo;
			s->over = true;
		}
	}
}

/* ---- the process ---- */

static int look_begin(struct screen *s, struct lp_err *err)
{
	s->begun = clock_ms();
	return live_begin(&s->live, s->peer, err);
}

/* Nothing comes that was not asked for: what can be read otherwise is the end. */
static int take_answer(struct screen *s, struct lp_err *err)
{
	int rc = s->live.answers ? live_step(&s->live, s->peer, err) : look_begin(s, err);

	return rc < 0 ? rc : 0;
}

/* ---- the loop ---- */

static int ms_to_wait(const struct screen *s)
{
	int64_t due = s->begun + (s->live.answers ? PATIENCE_MS : (int64_t)s->delay_ms), now = clock_ms();

	if (s->live.answers && due <= now)
		return PATIENCE_MS;
	return due > now ? (int)(due - now) : 0;
}

static int turn(struct screen *s, struct lp_err *err)
{
	struct pollfd on[] = {{STDIN_FILENO, POLLIN, 0}, {s->signals, POLLIN, 0}, {s->peer->client.fd, POLLIN, 0}};

	if (poll(on, LP_ARRAY_SIZE(on), ms_to_wait(s)) < 0)
		return errno == EINTR ? 0 : lp_fail_sys(err, errno, "cannot wait for the terminal");
	if (on[1].revents)
		take_signals(s);
	if (on[0].revents & POLLIN)
		take_keys(s);
	if (on[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		s->over = true;
	if (on[2].revents)
		return take_answer(s, err);
	return s->live.answers || ms_to_wait(s) ? 0 : look_begin(s, err);
}

static int loop(struct screen *s, struct lp_err *err)
{
	int rc = look_begin(s, err);

	while (rc == 0 && !s->over) {
		draw(s);
		rc = turn(s, err);
	}
	return rc;
}

/* ---- the terminal ---- */

bool screen_is_there(void)
{
	const char *term = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static bool may_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return has_colors() && !(no && *no);
}

static int terminal_open(struct screen *s, struct lp_err *err)
{
	setlocale(LC_CTYPE, "");
	s->terminal = newterm(NULL, stdout, stdin);
	if (!s->terminal)
		return lp_fail(err, LP_EUSAGE,
			       "nothing is known about a terminal called %s (TERM); top --once prints a table",
			       getenv("TERM"));
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	s->colours = may_colour();
	if (s->colours) {
		start_color();
		use_default_colors();
		init_pair(PAIR_CHANGED, COLOR_YELLOW, -1);
	}
	return 0;
}

static void terminal_close(struct screen *s)
{
	endwin();
	delscreen(s->terminal);
}

int screen_run(struct peer *p, const char *name, unsigned delay_ms, struct lp_err *err)
{
	struct screen s = {.peer = p, .name = name, .delay_ms = delay_ms, .choice = {.kind = -1}};

	s.choice.text = s.text;
	int rc = signals_open(&s, err);
	if (rc < 0)
		return rc;
	rc = terminal_open(&s, err);
	if (rc == 0) {
		rc = loop(&s, err);
		terminal_close(&s);
	}
	lp_vec_free(&s.view);
	live_free(&s.live);
	signals_close(&s);
	return rc;
}
