/*
 * A program caught at its entry point: libraries loaded, nothing of its own
 * run but constructors of libraries.
 *
 * The usual way is a breakpoint at the entry.  If its owner dies, so does the
 * program; we do without.  What the program does on its way to main() that we
 * can have a part in is one jump: the dynamic linker goes to the address that
 * the kernel left in the auxiliary vector as AT_ENTRY.  So at the stop that
 * follows an exec
 *
 *     1. a small piece of code is written into unused bytes behind the text of
 *        the dynamic linker (stub.c says why they are nobody's),
 *     2. AT_ENTRY is made to point there,
 *     3. the program is let go, for good: it is not traced any more.
 *
 * When the dynamic linker is done it runs that code, which sends a byte on a
 * socket that the program inherited, waits for a byte or for the other end to
 * close, closes the socket and goes to the true entry.  Killed before step 2
 * we have changed nothing that is ever run; after it, the socket that closes
 * with our death is what lets the program go on.  The socket's own time-out
 * (SO_RCVTIMEO) bounds the wait when we live but hang.
 *
 * A static program stands at its entry at that stop; there the thread's
 * program counter takes the place of AT_ENTRY.
 *
 * A program that gains privileges is left alone.
 *
 * What the program may notice: AT_ENTRY is not its entry (getauxval(3)), and a
 * descriptor that library constructors can see.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "proc/state.h"

#define AUXV_MAX 4096
#define WORDS_AT_ONCE 512
#define STACK_WORDS_MAX (UINT64_C(8) << 20) /* argument and environment pointers of one program */
#define SLICE_MS 5

/* ---- catching ---- */

int lp_exec_catch(pid_t pid, struct lp_err *err)
{
	int rc = lp_trace_seize(pid, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD);
	if (rc == -ESRCH)
		return lp_fail(err, LP_EGONE, "there is no process %d", (int)pid);
	if (rc < 0)
		return lp_fail(err, LP_EPERM, "not allowed to trace process %d, or traced already: %s", (int)pid,
			       strerror(-rc));
	return 0;
}

static void let_go_running(pid_t pid)
{
	if (lp_trace_halt(pid, lp_deadline(1000)) != LP_EV_GONE)
		lp_trace_detach(pid, 0);
}

/* Has the other end of the program's socket closed, or said something it should not? */
static bool gave_up(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&p, 1, 0) == 1;
}

/* Until the new program stands at its first instruction; on failure it is let go. */
static int wait_for_exec(pid_t pid, int watch_fd, uint64_t deadline, struct lp_err *err)
{
	for (;;) {
		struct lp_event ev;
		bool came = lp_trace_wait(pid, lp_deadline(SLICE_MS), &ev);
		if (came && ev.kind == LP_EV_EXEC)
			return 0;
		if (came && ev.kind == LP_EV_GONE)
			return lp_fail(err, LP_EGONE, "process %d ended before it executed a program", (int)pid);
		if (came && ev.kind == LP_EV_GROUP) {
			lp_trace_detach(pid, 0);
			return lp_fail(err, LP_ETIMEOUT, "process %d was stopped before it executed a program",
				       (int)pid);
		}
		if (came) {
			lp_trace_cont(pid, ev.kind == LP_EV_SIGNAL ? ev.signal : 0);
		} else if (gave_up(watch_fd) || lp_now() >= deadline) {
			let_go_running(pid);
			return lp_fail(err, LP_ETIMEOUT, "process %d did not execute a program", (int)pid);
		}
	}
}

/* ---- the auxiliary vector ---- */

struct auxv {
	uint64_t entry, base, secure;
};

/* As the kernel remembers it. */
static int read_auxv(struct lp_proc *p, struct auxv *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf bytes = {0};
	int rc = lp_read_file(lp_proc_path(p, "auxv", path, sizeof path), &bytes, AUXV_MAX, err);
	*out = (struct auxv){0};
	for (size_t at = 0; rc == 0 && at + 16 <= bytes.len; at += 16) {
		uint64_t type = lp_get64(bytes.data + at), value = lp_get64(bytes.data + at + 8);
		if (type == AT_ENTRY)
			out->entry = value;
		else if (type == AT_BASE)
			out->base = value;
		else if (type == AT_SECURE)
			out->secure = value;
	}
	lp_buf_free(&bytes);
	if (rc == 0 && !out->entry)
		rc = lp_fail(err, LP_EELF, "process %d has no entry point", (int)p->pid);
	return rc;
}

/* Words from the stack pointer up, read in pieces. */
struct words {
	struct lp_proc *p;
	lp_addr at;
	uint64_t buffer[WORDS_AT_ONCE];
	size_t i, nr;
	uint64_t taken;
};

static int next_word(struct words *w, uint64_t *out, lp_addr *at, struct lp_err *err)
{
	if (w->i == w->nr) {
		/* Pieces end on page borders: the stack ends on one. */
		size_t bytes = LP_PAGE - w->at % LP_PAGE;
		int rc = lp_mem_read(w->p, w->at, w->buffer, bytes, err);
		if (rc < 0)
			return rc;
		w->nr = bytes / sizeof *w->buffer;
		w->i = 0;
		w->at += bytes;
	}
	if (++w->taken > STACK_WORDS_MAX)
		return lp_fail(err, LP_EELF, "the stack of process %d makes no sense", (int)w->p->pid);
	*at = w->at - (w->nr - w->i) * sizeof *w->buffer;
	*out = w->buffer[w->i++];
	return 0;
}

_Static_assert(LP_PAGE / sizeof(uint64_t) <= WORDS_AT_ONCE, "a piece fits");

/* Above sp: argc, arguments, 0, environment, 0, pairs of the auxiliary vector (both psABIs, "process initialization"). */
static int find_entry_word(struct lp_proc *p, lp_addr sp, uint64_t entry, lp_addr *out, struct lp_err *err)
{
	struct words w = {.p = p, .at = sp};
	uint64_t word, type = 0;
	lp_addr at;
	int zeros = 0;
	int rc = sp % sizeof word ? lp_fail(err, LP_EELF, "the stack of process %d is not aligned", (int)p->pid)
				  : next_word(&w, &word, &at, err);
	while (rc == 0 && zeros < 2) {
		rc = next_word(&w, &word, &at, err);
		zeros += rc == 0 && word == 0;
	}
	while (rc == 0) {
		rc = next_word(&w, &type, &at, err);
		rc = rc ? rc : next_word(&w, &word, &at, err);
		if (rc == 0 && type == AT_ENTRY && word == entry) {
			*out = at;
			return 0;
		}
		if (rc == 0 && type == AT_NULL)
			rc = lp_fail(err, LP_EELF, "the stack of process %d holds no AT_ENTRY", (int)p->pid);
	}
	return rc;
}

/* ---- holding ---- */

/* The last place: the first ones are those of the program itself, which lp_inject() will want. */
static int choose_site(struct lp_proc *p, lp_addr *at, struct lp_err *err)
{
	int rc = lp_stub_sites(p, err);
	*at = 0;
	for (size_t i = 0; rc == 0 && i < p->sites.nr; i++)
		if (!p->sites.items[i].text)
			*at = p->sites.items[i].at;
	if (rc == 0 && !*at)
		rc = lp_fail(err, LP_EREACH, "no executable mapping of process %d (%s) has unused bytes at its end",
			     (int)p->pid, p->comm);
	return rc;
}

static int write_stub(struct lp_proc *p, lp_addr at, uint64_t entry, int fd, struct lp_err *err)
{
	const struct lp_stub_text *text = p->arch->hold_stub;
	uint8_t bytes[LP_STUB_ROOM];
	memcpy(bytes, text->code, text->len);
	lp_put64(bytes + text->tail_at, entry);
	lp_put32(bytes + text->tail_at + 8, (uint32_t)fd);
	return lp_mem_write(p, at, bytes, text->len, err);
}

static int redirect(struct lp_proc *p, const struct auxv *aux, lp_addr stub, struct lp_err *err)
{
	struct lp_tregs regs;
	lp_addr word = 0;
	int rc = lp_trace_regs(p->pid, &regs);
	if (rc < 0 || !p->arch->native(&regs))
		return lp_fail(err, LP_EISA, "process %d (%s) runs code of another machine", (int)p->pid, p->comm);
	if (!aux->base) {
		p->arch->set_pc(&regs, stub);
		rc = lp_trace_set_regs(p->pid, &regs);
		return rc < 0 ? lp_fail_sys(err, rc, "cannot set the registers of process %d", (int)p->pid) : 0;
	}
	rc = find_entry_word(p, p->arch->sp(&regs), aux->entry, &word, err);
	return rc < 0 ? rc : lp_mem_write(p, word, &stub, sizeof stub, err);
}

static int install(pid_t pid, int fd, struct lp_err *err)
{
	struct lp_proc *p;
	struct auxv aux;
	lp_addr stub = 0;
	int rc = lp_proc_open(&p, pid, err);
	if (rc < 0)
		return rc;
	rc = read_auxv(p, &aux, err);
	/* Whoever asked for it has less to say than the program, and its descriptors are not his to name. */
	if (rc == 0 && aux.secure)
		rc = lp_fail(err, LP_EPERM, "process %d (%s) has gained privileges with this program", (int)pid,
			     p->comm);
	rc = rc < 0 ? rc : choose_site(p, &stub, err);
	rc = rc < 0 ? rc : write_stub(p, stub, aux.entry, fd, err);
	rc = rc < 0 ? rc : redirect(p, &aux, stub, err);
	lp_proc_close(p);
	return rc;
}

bool lp_exec_is_held(struct lp_proc *p, lp_addr pc)
{
	const struct lp_stub_text *text = p->arch->hold_stub;
	uint8_t bytes[LP_STUB_ROOM];
	return lp_mem_read(p, pc - text->after_syscall, bytes, text->tail_at, NULL) == 0 &&
	       !memcmp(bytes, text->code, text->tail_at);
}

int lp_exec_hold(pid_t pid, int fd, int watch_fd, unsigned timeout_ms, struct lp_err *err)
{
	struct lp_hush hush;
	lp_hush_begin(&hush);
	int rc = wait_for_exec(pid, watch_fd, lp_deadline(timeout_ms), err);
	lp_hush_end(&hush);
	if (rc < 0)
		return rc;
	rc = install(pid, fd, err);
	lp_trace_detach(pid, 0);
	return rc;
}
