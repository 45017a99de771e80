#include <string.h>
#include <unistd.h>

#include "emu/strace.h"
#include "emu/strace_show.h"

enum { RESULT_COLUMN = 40 };

static int trace_fd = STDERR_FILENO;

int lp_strace_to(int fd)
{
	int kept = lp_fd_keep(fd);

	if (kept < 0)
		return kept;
	trace_fd = kept;
	return 0;
}

static void show(const struct lp_shown *s, const char *word, size_t len, uint64_t value)
{
	lp_show_fn *fn = lp_show_kind(word, len);

	if (fn)
		fn(s, value);
	else if (!lp_show_named(s->out, word, len, value))
		lp_buf_printf(s->out, "0x%" PRIx64, value);
}

static void cut(struct lp_buf *b, size_t len)
{
	b->len = len;
	if (b->data)
		b->data[len] = 0;
}

/* The word of the result, or NULL. */
static const char *show_arguments(struct lp_shown *s, const char *words)
{
	s->i = 0;
	for (const char *p = words; *p; p += strspn(p, " ")) {
		size_t len = strcspn(p, " "), before = s->out->len, after;

		if (*p == '>')
			return p + 1;
		if (s->i)
			lp_buf_str(s->out, ", ");
		after = s->out->len;
		show(s, p, len, s->a[s->i]);
		if (s->out->len == after)
			cut(s->out, before); /* an argument that this call does not look at */
		s->i++;
		p += len;
	}
	return NULL;
}

static void show_result(struct lp_shown *s, const char *word)
{
	struct lp_buf *out = s->out;

	if (!s->is_over)
		lp_buf_str(out, "?");
	else if (s->result == -LP_ERESTART)
		lp_buf_str(out, "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
	else if (s->result == -LP_ERESTARTNOINTR)
		lp_buf_str(out, "? ERESTARTNOINTR (To be restarted)");
	else if (s->result == -LP_ERESTARTNOHAND)
		lp_buf_str(out, "? ERESTARTNOHAND (To be restarted if no handler)");
	else if (s->result < 0 && s->result >= -4095) {
		lp_buf_str(out, "-1 ");
		lp_show_error(out, (int)-s->result);
	} else if (word)
		show(s, word, strlen(word), (uint64_t)s->result);
	else
		lp_buf_printf(out, "%" PRId64, s->result);
}

static void show_line(struct lp_guest_thread *t, const struct lp_call_row *row, struct lp_shown *s)
{
	const char *result;
	size_t begin;

	lp_buf_printf(s->out, "%d ", t->tid);
	begin = s->out->len;
	if (row->way == LP_CALL_UNKNOWN) {
		lp_buf_printf(s->out, "syscall_%" PRIu64 "(", t->cpu.x[8]);
		result = show_arguments(s, "hex hex hex hex hex hex");
	} else {
		lp_buf_printf(s->out, "%s(", row->name);
		result = show_arguments(s, row->args);
	}
	lp_buf_str(s->out, ")");
	while (s->out->len - begin < RESULT_COLUMN - 1)
		lp_buf_str(s->out, " ");
	lp_buf_str(s->out, " = ");
	show_result(s, result);
	lp_buf_str(s->out, "\n");
}

static void write_out(struct lp_buf *line)
{
	ssize_t written = write(trace_fd, line->data, line->len);

	(void)written; /* a trace that nobody reads any more stops nobody */
	lp_buf_free(line);
}

static void put_line(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6], bool is_over,
		     int64_t result)
{
	struct lp_buf line = {0};
	struct lp_shown s = {.out = &line, .a = a, .result = result, .is_over = is_over};

	show_line(t, row, &s);
	write_out(&line);
}

/* Calls that do not come back when they succeed. */
static bool is_last(const struct lp_call_row *row)
{
	return row->run == lp_call_exit || row->run == lp_call_exit_group || row->run == lp_call_execve ||
	       row->run == lp_call_execveat || row->run == lp_call_rt_sigreturn;
}

void lp_strace_enter(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6])
{
	if (is_last(row))
		put_line(t, row, a, false, 0);
	if (row->run == lp_call_exit || row->run == lp_call_exit_group) {
		struct lp_buf line = {0};

		lp_buf_printf(&line, "%d +++ exited with %d +++\n", t->tid, (int)a[0] & 0xff);
		write_out(&line);
	}
}

void lp_strace_leave(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6], int64_t result)
{
	bool is_shown = is_last(row) && !(row->run == lp_call_execve || row->run == lp_call_execveat);

	if (!is_shown)
		put_line(t, row, a, true, result);
}

void lp_strace_signal(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_buf line = {0};

	lp_buf_printf(&line, "%d --- ", t->tid);
	lp_show_signal(&line, info->si_signo);
	lp_buf_str(&line, " ");
	lp_show_siginfo_of(&line, info);
	lp_buf_str(&line, " ---\n");
	write_out(&line);
}

void lp_strace_killed(struct lp_guest_thread *t, int signal)
{
	struct lp_buf line = {0};

	lp_buf_printf(&line, "%d +++ killed by ", t->tid);
	lp_show_signal(&line, signal);
	lp_buf_str(&line, " +++\n");
	write_out(&line);
}
