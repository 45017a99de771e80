#include "self/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "self/private.h"

#define NAME_MAX_LEN 40
#define SAME_STACK 65536 /* our own stack pointer may have moved that far between two looks at it */

static bool rest_is_told; /* /proc/.../syscall says where threads of this program are */
static bool is_emulated;  /* it says where those of an emulator around this program are */

int lp_thread_self(void)
{
	return (int)lp_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static int process_id(void)
{
	return (int)lp_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

bool lp_thread_exists(int tid)
{
	return lp_raw(SYS_tgkill, process_id(), tid, 0, 0, 0, 0) != -ESRCH;
}

/* ---- small text ---- */

/* "<tid>/<file>" */
static void name_file(char *out, int tid, const char *file)
{
	char digits[12];
	size_t nr = 0;

	do
		digits[nr++] = (char)('0' + tid % 10);
	while ((tid /= 10));
	while (nr)
		*out++ = digits[--nr];
	*out++ = '/';
	while ((*out++ = *file++))
		;
}

/* What a file of a thread says, NUL at the end; its length. */
static size_t read_file(const struct lp_threads *t, int tid, const char *file, char *out, size_t size)
{
	char name[NAME_MAX_LEN];
	long fd, n;

	name_file(name, tid, file);
	fd = lp_raw(SYS_openat, t->dir, name, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	out[0] = 0;
	if (fd < 0)
		return 0;
	n = lp_raw(SYS_pread64, fd, out, size - 1, 0, 0, 0);
	lp_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	if (n < 0)
		n = 0;
	out[n] = 0;
	return (size_t)n;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The hexadecimal number that ends at text[end); where it begins is the answer, `end` when there is none. */
static size_t number_before(const char *text, size_t end, uint64_t *value)
{
	size_t at = end;
	unsigned shift = 0;

	*value = 0;
	for (; at && digit(text[at - 1]) >= 0 && shift < 64; at--, shift += 4)
		*value |= (uint64_t)digit(text[at - 1]) << shift;
	return at;
}

/* The number behind `key`, in hexadecimal or, for decimal ones without letters, told zero from not zero. */
static bool number_after(const char *text, const char *key, uint64_t *value)
{
	for (; *text; text++) {
		size_t n = 0;

		while (key[n] && text[n] == key[n])
			n++;
		if (key[n])
			continue;
		text += n;
		while (*text == ' ' || *text == '\t')
			text++;
		for (*value = 0; digit(*text) >= 0; text++)
			*value = *value << 4 | (uint64_t)digit(*text);
		return true;
	}
	return false;
}

static uint64_t signal_bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

/* ---- the list ---- */

int lp_threads_open(struct lp_threads *t, struct lp_err *err)
{
	t->dir = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->dir < 0 ? lp_fail_sys(err, errno, "cannot list the threads in /proc/self/task") : 0;
}

void lp_threads_close(struct lp_threads *t)
{
	if (t->dir >= 0)
		close(t->dir);
	t->dir = -1;
}

/* A directory has a link from itself, one from above, and one from each folder in it: one folder a thread. */
static unsigned count(const struct lp_threads *t)
{
	struct stat s;

	if (lp_raw(SYS_newfstatat, t->dir, "", &s, AT_EMPTY_PATH, 0, 0) < 0 || s.st_nlink < 2)
		return 0;
	return (unsigned)s.st_nlink - 2;
}

void lp_threads_first(struct lp_threads *t)
{
	lp_raw(SYS_lseek, t->dir, 0, SEEK_SET, 0, 0, 0);
	t->begin = t->end = 0;
	t->listed = 0;
	t->before = count(t);
}

bool lp_threads_seen_all(const struct lp_threads *t)
{
	return t->listed == t->before && t->listed == count(t);
}

/* linux_dirent64, which the C library keeps to itself. */
struct entry {
	uint64_t inode, next;
	uint16_t len;
	uint8_t type;
	char name[];
};

static int number_of(const char *name)
{
	int tid = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		tid = tid * 10 + (*name - '0');
	return *name ? 0 : tid;
}

int lp_threads_next(struct lp_threads *t)
{
	for (;;) {
		const struct entry *e;
		int tid;

		if (t->begin >= t->end) {
			long n = lp_raw(SYS_getdents64, t->dir, t->buffer, sizeof t->buffer, 0, 0, 0);

			if (n <= 0)
				return 0;
			t->begin = 0;
			t->end = (size_t)n;
		}
		e = (const struct entry *)(const void *)(t->buffer + t->begin);
		t->begin += e->len;
		tid = number_of(e->name);
		if (tid) {
			t->listed++;
			return tid;
		}
	}
}

/* ---- what a thread does ---- */

/* "running", or "<nr> <arguments> <sp> <pc>", or "-1 <sp> <pc>" outside of a call (a page fault). */
static bool parse_rest(const char *text, size_t len, lp_addr *pc, lp_addr *sp)
{
	size_t at;

	while (len && text[len - 1] == '\n')
		len--;
	at = number_before(text, len, pc);
	if (at == len || at < 3 || text[at - 1] != 'x')
		return false;
	len = at - 3; /* " 0x" */
	at = number_before(text, len, sp);
	return at < len && at && text[at - 1] == 'x';
}

bool lp_thread_rests(const struct lp_threads *t, int tid, lp_addr *pc, lp_addr *sp)
{
	char text[200];
	size_t len = rest_is_told ? read_file(t, tid, "syscall", text, sizeof text) : 0;

	return len && parse_rest(text, len, pc, sp);
}

bool lp_threads_tell_rest(void)
{
	return rest_is_told;
}

static bool blocked_signals(const struct lp_threads *t, int tid, uint64_t *out)
{
	char text[4096];

	read_file(t, tid, "status", text, sizeof text);
	return number_after(text, "SigBlk:", out);
}

struct lp_thread_ways lp_thread_ways(const struct lp_threads *t, int tid)
{
	struct lp_thread_ways ways = {.blocked = UINT64_MAX};
	char text[4096];
	uint64_t blocked, mode;

	read_file(t, tid, "status", text, sizeof text);
	if (number_after(text, "SigBlk:", &blocked))
		ways.blocked = blocked;
	ways.strict = number_after(text, "Seccomp:", &mode) && mode == SECCOMP_MODE_STRICT;
	return ways;
}

bool lp_thread_filtered(void)
{
	struct lp_threads t;
	char text[4096];
	uint64_t mode = 0;

	if (lp_threads_open(&t, NULL))
		return false;
	read_file(&t, lp_thread_self(), "status", text, sizeof text);
	lp_threads_close(&t);
	return number_after(text, "Seccomp:", &mode) && mode;
}

bool lp_threads_traced(const struct lp_threads *t)
{
	char text[4096];
	uint64_t tracer;

	read_file(t, process_id(), "status", text, sizeof text);
	return number_after(text, "TracerPid:", &tracer) && tracer;
}

/* One look: a thread of the program may block everything, or nearly everything, from one moment to the next. */
bool lp_thread_is_the_emulators(const struct lp_threads *t, int tid)
{
	const uint64_t open = signal_bit(SIGSEGV) | signal_bit(SIGILL) | signal_bit(SIGFPE);
	const uint64_t shut = signal_bit(SIGTRAP) | signal_bit(SIGSYS) | signal_bit(SIGHUP) | signal_bit(SIGTERM) |
			      signal_bit(SIGALRM) | signal_bit(SIGCHLD);
	uint64_t blocked;

	return is_emulated && blocked_signals(t, tid, &blocked) && (blocked & (open | shut)) == shut;
}

/* What /proc tells of ourselves in the middle of this call must be what we know of it. */
int lp_threads_setup(void)
{
	struct lp_threads t;
	lp_addr pc, sp, here = (lp_addr)(uintptr_t)&t;
	int rc = lp_threads_open(&t, NULL);

	if (rc)
		return rc;
	rest_is_told = true;
	rest_is_told = lp_thread_rests(&t, lp_thread_self(), &pc, &sp);
	is_emulated = rest_is_told && (sp > here + sizeof t + SAME_STACK || sp + SAME_STACK < here);
	rest_is_told = rest_is_told && !is_emulated;
	lp_threads_close(&t);
	return 0;
}
