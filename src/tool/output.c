/*
 * Text for people.
 *
 * Names of symbols, files, patches and processes are other people's bytes: a
 * symbol may be called ESC ]0;...  Every byte of text goes through
 * text_clean() on its way out; only out_style() and out_json(), which is
 * plain ASCII with its controls escaped, reach the terminal as they are.
 *
 * Standard output is collected and written in one go, and always before a
 * line on standard error, so that the two keep their order on a terminal.
 */
#include "tool/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define PATIENCE_NS (500 * INT64_C(1000000)) /* how long work may take before a terminal is told why */

static struct {
	struct lp_buf text;
	int failed; /* first error of standard output */
	bool colour, colour_stderr;
	bool verbose, may_show_progress, may_note, line_in_place;
	int64_t began;
	const char *program;
} out = {.program = "livepatch"};

void out_program(const char *name)
{
	out.program = name;
}

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* ---- clean text ---- */

static bool continues(const char *s, size_t len, size_t nr)
{
	for (size_t i = 1; i <= nr; i++)
		if (i >= len || (s[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* RFC 3629, table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
size_t utf8_length(const char *s, size_t len)
{
	if (!len)
		return 0;
	unsigned char a = (unsigned char)s[0], b = len > 1 ? (unsigned char)s[1] : 0;
	if (a < 0x80)
		return 1;
	if (a >= 0xc2 && a <= 0xdf)
		return continues(s, len, 1) ? 2 : 0;
	if (a >= 0xe0 && a <= 0xef)
		return continues(s, len, 2) && !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b > 0x9f) ? 3 : 0;
	if (a >= 0xf0 && a <= 0xf4)
		return continues(s, len, 3) && !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b > 0x8f) ? 4 : 0;
	return 0;
}

/* C0, DEL, and the C1 controls, which UTF-8 spells C2 80 .. C2 9F. */
static bool is_control(const char *s, size_t n)
{
	unsigned char a = (unsigned char)s[0];
	if (n == 1)
		return (a < 0x20 && a != '\n' && a != '\t') || a == 0x7f;
	return n == 2 && a == 0xc2 && (unsigned char)s[1] < 0xa0;
}

void text_clean(struct lp_buf *to, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_length(text + i, len - i);
		if (n && !is_control(text + i, n))
			lp_buf_add(to, text + i, n);
		else
			for (size_t k = 0; k < (n ? n : 1); k++)
				lp_buf_printf(to, "\\x%02x", (unsigned char)text[i + k]);
		i += n ? n : 1;
	}
}

char *text_line(const char *text)
{
	struct lp_buf line = {0};
	for (const char *p = text; *p; p++) {
		size_t len = strcspn(p, "\n\t");
		text_clean(&line, p, len);
		p += len;
		if (!*p)
			break;
		lp_buf_str(&line, *p == '\n' ? "\\n" : "\\t");
	}
	char *copy = lp_strdup(lp_buf_cstr(&line));
	lp_buf_free(&line);
	return copy;
}

size_t text_width(const char *text)
{
	struct lp_buf clean = {0};
	size_t width = 0;
	text_clean(&clean, text, strlen(text));
	for (size_t i = 0; i < clean.len; i++)
		width += (clean.data[i] & 0xc0) != 0x80;
	lp_buf_free(&clean);
	return width;
}

/* ---- standard output ---- */

void out_text(const char *text, size_t len)
{
	text_clean(&out.text, text, len);
}

void out_printf(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = lp_vsprintf(fmt, ap);
	va_end(ap);
	out_text(text, strlen(text));
	lp_free(text);
}

static const char *style_code(enum style s)
{
	switch (s) {
	case STYLE_BOLD:
		return "\033[1m";
	case STYLE_WARN:
		return "\033[33m";
	case STYLE_BAD:
		return "\033[31m";
	default:
		return "\033[0m";
	}
}

void out_style(enum style s)
{
	if (out.colour)
		lp_buf_str(&out.text, style_code(s));
}

void out_json(const char *ascii)
{
	lp_buf_str(&out.text, ascii);
	lp_buf_str(&out.text, "\n");
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int out_flush(void)
{
	int rc = write_all(STDOUT_FILENO, out.text.data, out.text.len);
	if (!out.failed)
		out.failed = rc;
	lp_buf_free(&out.text);
	return out.failed;
}

/* ---- standard error ---- */

#define PROGRESS_WIDTH 100

/* Whatever comes next begins where the line in place stood. */
static void progress_erase(void)
{
	if (out.line_in_place)
		write_all(STDERR_FILENO, (const uint8_t *)"\r\033[K", 4);
	out.line_in_place = false;
}

enum lead { LEAD_NOTHING, LEAD_PROGRAM, LEAD_ERROR }; /* how a line begins: with the program's name, which may be red */

static void err_lines(enum lead lead, const char *kind, const char *text)
{
	struct lp_buf line = {0};
	bool red = lead == LEAD_ERROR && out.colour_stderr;
	out_flush();
	progress_erase();
	if (lead != LEAD_NOTHING)
		lp_buf_printf(&line, red ? "\033[31m%s:\033[0m %s" : "%s: %s", out.program, kind);
	text_clean(&line, text, strlen(text));
	lp_buf_str(&line, "\n");
	write_all(STDERR_FILENO, line.data, line.len);
	lp_buf_free(&line);
}

void note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = lp_vsprintf(fmt, ap);
	va_end(ap);
	err_lines(LEAD_PROGRAM, "", text);
	lp_free(text);
}

/* "fix.lp:3:5: ..." stands at the start of its line, where editors look for it. */
static bool is_located(const char *text)
{
	for (const char *p = strchr(text, ':'); p && p[1] != ' ' && p[1] != '\n'; p = strchr(p + 1, ':')) {
		size_t line = strspn(p + 1, "0123456789");
		if (!line || p[1 + line] != ':')
			continue;
		size_t column = strspn(p + 2 + line, "0123456789");
		if (column && p[2 + line + column] == ':')
			return true;
	}
	return false;
}

void note_error(const struct lp_err *err)
{
	const char *text = err->text[0] ? err->text : lp_strerror(err->code);
	if (is_located(text))
		err_lines(LEAD_NOTHING, "", text);
	else
		err_lines(LEAD_ERROR, "", text);
}

/* The library's progress: always with -v; else only when a person sits there who has begun to wonder. */
static void on_log(enum lp_log_level level, const char *line, void *arg)
{
	bool impatient = out.may_show_progress && now_ns() - out.began > PATIENCE_NS;
	if (level == LP_LOG_INFO && !out.verbose && !impatient)
		return;
	if (level == LP_LOG_DEBUG)
		err_lines(LEAD_PROGRAM, "debug: ", line);
	else if (level == LP_LOG_INFO)
		err_lines(LEAD_PROGRAM, "", line);
	else
		err_lines(LEAD_PROGRAM, "warning: ", line);
}

void progress_line(const char *text, bool ended)
{
	char cut[PROGRESS_WIDTH];
	struct lp_buf line = {0};
	if (ended && out.may_note) {
		note("%s", text);
	} else if (out.may_show_progress) {
		snprintf(cut, sizeof cut, "%s", text);
		progress_erase();
		text_clean(&line, cut, strlen(cut));
		write_all(STDERR_FILENO, line.data, line.len);
		out.line_in_place = true;
	}
	lp_buf_free(&line);
}

void progress_begin(void)
{
	out.began = now_ns();
}

static bool may_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	return isatty(fd) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

void out_setup(bool verbose, bool debug, bool quiet)
{
	out.colour = may_colour(STDOUT_FILENO);
	out.colour_stderr = may_colour(STDERR_FILENO);
	out.verbose = verbose || debug;
	out.may_show_progress = !quiet && isatty(STDERR_FILENO);
	out.may_note = !quiet;
	progress_begin();
	bool wants_info = out.verbose || out.may_show_progress;
	lp_log_set(debug ? LP_LOG_DEBUG : wants_info ? LP_LOG_INFO : LP_LOG_WARN, on_log, NULL);
}

/* ---- numbers ---- */

char *size_text(uint64_t bytes, char to[SHORT_TEXT])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	size_t unit = 0;
	while (v >= 1024 && unit + 1 < LP_ARRAY_SIZE(units)) {
		v /= 1024;
		unit++;
	}
	snprintf(to, SHORT_TEXT, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
	return to;
}

char *duration_text(uint64_t ns, char to[SHORT_TEXT])
{
	if (ns < 10000000)
		snprintf(to, SHORT_TEXT, "%" PRIu64 " us", (ns + 500) / 1000);
	else
		snprintf(to, SHORT_TEXT, "%.1f ms", (double)ns / 1e6);
	return to;
}

char *count_text(uint64_t n, const char *noun, char to[SHORT_TEXT])
{
	const char *plural = n == 1 ? "" : strchr("hs", noun[strlen(noun) - 1]) ? "es" : "s";
	snprintf(to, SHORT_TEXT, "%" PRIu64 " %s%s", n, noun, plural);
	return to;
}

char *time_text(int64_t epoch, char to[SHORT_TEXT])
{
	time_t t = (time_t)epoch;
	struct tm tm;
	if (!localtime_r(&t, &tm) || !strftime(to, SHORT_TEXT, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(to, SHORT_TEXT, "%" PRId64, epoch);
	return to;
}
