/*
 * --dump-block: units of translated code that hold an instruction which the user has named are shown when they are made.
 *
 * dump_module, beside this program, knows the host's instructions and makes the text.  It runs as the child of a child, so
 * that the guest's table of descriptors stays as it is; and that child is none of which the guest is told (wait(2), __WCLONE).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "emu/sys.h"
#include "jit/jit.h"
#include "tool/arm64_runner.h"

static struct {
	char module[PATH_MAX];
	int fd; /* where the text goes */
	bool is_file;
} dump;

/* ---- what is wanted ---- */

/* 0xADDRESS, or SYMBOL[+OFFSET]. */
int runner_dump_parse(const char *text, struct runner_place *out, struct lp_err *err)
{
	const char *plus = strchr(text, '+'), *digits = plus ? plus + 1 : NULL;
	char *end = NULL;

	*out = (struct runner_place){0};
	if (*text >= '0' && *text <= '9') {
		out->pc = strtoull(text, &end, 16);
		if (text[0] == '0' && (text[1] | 32) == 'x' && !*end && out->pc && out->pc % 4 == 0)
			return 0;
	} else {
		out->symbol = lp_sprintf("%.*s", (int)(plus ? plus - text : (long)strlen(text)), text);
		out->offset = digits ? strtoull(digits, &end, 0) : 0;
		if (*out->symbol && (!digits || (end != digits && !*end)) && out->offset % 4 == 0)
			return 0;
	}
	return lp_fail(err, LP_EUSAGE,
		       "--dump-block %s: write the address of an instruction (0x4006e0), or a symbol (main, main+0x10)",
		       text);
}

static bool is_in(const struct lp_jit_made *made, uint64_t pc)
{
	return pc - made->pc < made->nr_insns * UINT64_C(4);
}

/* A unit may begin before the function. */
static bool holds_symbol(const struct lp_jit_made *made, const struct runner_place *p, struct lp_sites *sites)
{
	for (unsigned i = 0; i < made->nr_insns; i++) {
		uint64_t pc = made->pc + i * 4, offset;
		if (lp_site_is_in(sites, pc, p->symbol, &offset))
			return is_in(made, pc - offset + p->offset);
	}
	return false;
}

bool runner_dump_wants(const struct runner_wish *w, const struct lp_jit_made *made, struct lp_sites *sites)
{
	for (size_t i = 0; i < w->dumped.nr; i++) {
		const struct runner_place *p = &w->dumped.items[i];
		if (p->symbol ? holds_symbol(made, p, sites) : is_in(made, p->pc))
			return true;
	}
	return false;
}

/* ---- showing it ---- */

/* Without a signal at its end.  Not fork(3): other threads of ours may be anywhere. */
static pid_t child_that_nobody_is_told_of(void)
{
	return (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void become_module(int text)
{
	char *const argv[] = {(char[]){"dump_module"}, NULL}, *const env[] = {NULL};
	sigset_t none;

	dup2(text, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(dump.module, argv, env);
	_exit(EXIT_FAILURE);
}

/* In a child: with descriptors of its own, of which only the one to write to is kept. */
static void feed_module(const struct lp_buf *text) __attribute__((noreturn));
static void feed_module(const struct lp_buf *text)
{
	int ends[2], status = 0;
	bool is_fed;
	pid_t pid;

	dup2(dump.fd, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (pipe(ends))
		_exit(EXIT_FAILURE);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		close(ends[1]);
		become_module(ends[0]);
	}
	close(ends[0]);
	is_fed = pid > 0 && write_all(ends[1], text->data, text->len);
	close(ends[1]);
	_exit(is_fed && waitpid(pid, &status, 0) == pid && status == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Signals wait: their handlers are the emulator's, and the child is none. */
static bool run_module(const struct lp_buf *text)
{
	sigset_t all, before;
	int status = -1;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = child_that_nobody_is_told_of();
	if (pid == 0)
		feed_module(text);
	while (pid > 0 && waitpid(pid, &status, __WCLONE) < 0 && errno == EINTR)
		continue;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status == 0;
}

/* A file that takes no unit would not take this either, and behind the limit on the size of files SIGXFSZ ends the program. */
static void tell(uint64_t pc)
{
	dprintf(dump.is_file ? STDERR_FILENO : dump.fd, "arm64_runner: the unit at %#" PRIx64 " could not be %s %s\n",
		pc, dump.is_file ? "written to the file of --dump-file, or shown by" : "shown by", dump.module);
}

void runner_dump_show(struct lp_emu *emu, const struct lp_jit_made *made, const char *name)
{
	struct lp_buf text = {0};

	lp_buf_printf(&text, "unit %#" PRIx64 " %s\n", made->pc, name);
	lp_jit_describe(emu, made, &text);
	if (!run_module(&text))
		tell(made->pc);
	lp_buf_free(&text);
}

/* ---- once ---- */

int runner_dump_start(const struct runner_wish *w, struct lp_err *err)
{
	int fd = w->dump_file ? open(w->dump_file, O_WRONLY | O_APPEND | O_CLOEXEC) : dup(STDERR_FILENO);

	if (runner_beside("dump_module", dump.module, sizeof dump.module, err))
		return err->code;
	if (access(dump.module, X_OK))
		return lp_fail_sys(
			err, errno,
			"--dump-block: what shows code is dump_module, which should be beside this program: %s",
			dump.module);
	dump.is_file = w->dump_file;
	dump.fd = fd < 0 ? -errno : lp_fd_keep(fd);
	if (dump.fd < 0)
		return lp_fail_sys(err, -dump.fd, "--dump-block: cannot write to %s",
				   w->dump_file ? w->dump_file : "standard error");
	return 0;
}
