/* Structures that arguments point to, in the layout of the guest. */
#include <arpa/inet.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include "base/vec.h"
#include "emu/strace_show.h"

enum { ITEMS_MAX = 32, PATH_SHOWN = 4096 };

#define SHOW(word) void lp_show_##word(const struct lp_shown *s, uint64_t value)
/* One that the call writes: shown when it has, by the function that shows what it reads. */
#define SHOW_OUT(word, in)                              \
	SHOW(word)                                      \
	{                                               \
		if (lp_show_has_written(s))             \
			in(s, value);                   \
		else                                    \
			lp_show_address(s->out, value); \
	}

/* The object at value, or the address and out. */
#define READ_OR_ADDRESS(object)                         \
	do {                                            \
		if (lp_arg_get(value, object)) {        \
			lp_show_address(s->out, value); \
			return;                         \
		}                                       \
	} while (0)

/* ---- numbers ---- */

SHOW(int_at)
{
	int32_t number;

	READ_OR_ADDRESS(&number);
	lp_buf_printf(s->out, "[%" PRId32 "]", number);
}

SHOW(uint_at)
{
	uint32_t number;

	READ_OR_ADDRESS(&number);
	lp_buf_printf(s->out, "[%" PRIu32 "]", number);
}

SHOW(fds)
{
	int32_t fds[2];

	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&fds);
	lp_buf_printf(s->out, "[%" PRId32 ", %" PRId32 "]", fds[0], fds[1]);
}

SHOW(off)
{
	int64_t offset;

	READ_OR_ADDRESS(&offset);
	lp_buf_printf(s->out, "[%" PRId64 "]", offset);
}

/* ---- time ---- */

static void show_timespec_of(struct lp_buf *out, const struct timespec *ts)
{
	if (ts->tv_nsec == UTIME_NOW)
		lp_buf_str(out, "UTIME_NOW");
	else if (ts->tv_nsec == UTIME_OMIT)
		lp_buf_str(out, "UTIME_OMIT");
	else
		lp_buf_printf(out, "{tv_sec=%" PRId64 ", tv_nsec=%ld}", (int64_t)ts->tv_sec, ts->tv_nsec);
}

static void show_timeval_of(struct lp_buf *out, const struct timeval *tv)
{
	lp_buf_printf(out, "{tv_sec=%" PRId64 ", tv_usec=%ld}", (int64_t)tv->tv_sec, tv->tv_usec);
}

SHOW(timespec)
{
	struct timespec ts;

	READ_OR_ADDRESS(&ts);
	show_timespec_of(s->out, &ts);
}
SHOW_OUT(timespec_out, lp_show_timespec)

SHOW(timespec2)
{
	struct timespec ts[2];

	READ_OR_ADDRESS(&ts);
	lp_buf_str(s->out, "[");
	show_timespec_of(s->out, &ts[0]);
	lp_buf_str(s->out, ", ");
	show_timespec_of(s->out, &ts[1]);
	lp_buf_str(s->out, "]");
}

/* A number, in operations that do not wait. */
SHOW(futex_timeout)
{
	struct timespec ts;

	READ_OR_ADDRESS(&ts);
	show_timespec_of(s->out, &ts);
}

SHOW(timeval)
{
	struct timeval tv;

	READ_OR_ADDRESS(&tv);
	show_timeval_of(s->out, &tv);
}
SHOW_OUT(timeval_out, lp_show_timeval)

SHOW(itimerspec)
{
	struct itimerspec it;

	READ_OR_ADDRESS(&it);
	lp_buf_str(s->out, "{it_interval=");
	show_timespec_of(s->out, &it.it_interval);
	lp_buf_str(s->out, ", it_value=");
	show_timespec_of(s->out, &it.it_value);
	lp_buf_str(s->out, "}");
}
SHOW_OUT(itimerspec_out, lp_show_itimerspec)

SHOW(itimerval)
{
	struct itimerval it;

	READ_OR_ADDRESS(&it);
	lp_buf_str(s->out, "{it_interval=");
	show_timeval_of(s->out, &it.it_interval);
	lp_buf_str(s->out, ", it_value=");
	show_timeval_of(s->out, &it.it_value);
	lp_buf_str(s->out, "}");
}
SHOW_OUT(itimerval_out, lp_show_itimerval)

/* ---- limits and use ---- */

static void show_limit(struct lp_buf *out, uint64_t limit)
{
	if (limit == RLIM64_INFINITY)
		lp_buf_str(out, "RLIM64_INFINITY");
	else if (limit > 1024 && limit % 1024 == 0)
		lp_buf_printf(out, "%" PRIu64 "*1024", limit / 1024);
	else
		lp_buf_printf(out, "%" PRIu64, limit);
}

SHOW(rlimit)
{
	struct rlimit64 limit;

	READ_OR_ADDRESS(&limit);
	lp_buf_str(s->out, "{rlim_cur=");
	show_limit(s->out, limit.rlim_cur);
	lp_buf_str(s->out, ", rlim_max=");
	show_limit(s->out, limit.rlim_max);
	lp_buf_str(s->out, "}");
}
SHOW_OUT(rlimit_out, lp_show_rlimit)

SHOW(rusage)
{
	struct rusage use;

	if (!lp_show_has_written(s) || !value) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&use);
	lp_buf_str(s->out, "{ru_utime=");
	show_timeval_of(s->out, &use.ru_utime);
	lp_buf_str(s->out, ", ru_stime=");
	show_timeval_of(s->out, &use.ru_stime);
	lp_buf_str(s->out, ", ...}");
}

SHOW(sysinfo)
{
	struct sysinfo info;

	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&info);
	lp_buf_printf(s->out, "{uptime=%ld, totalram=%lu, freeram=%lu, procs=%u, mem_unit=%u, ...}", info.uptime,
		      info.totalram, info.freeram, info.procs, info.mem_unit);
}

SHOW(uname)
{
	struct utsname u;

	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&u);
	lp_buf_printf(s->out, "{sysname=\"%.64s\", nodename=\"%.64s\", release=\"%.64s\", machine=\"%.64s\", ...}",
		      u.sysname, u.nodename, u.release, u.machine);
}

/* ---- files ---- */

static void show_file_type(struct lp_buf *out, uint32_t mode)
{
	static const char *const types[16] = {[S_IFSOCK >> 12] = "S_IFSOCK", [S_IFLNK >> 12] = "S_IFLNK",
					      [S_IFREG >> 12] = "S_IFREG",   [S_IFBLK >> 12] = "S_IFBLK",
					      [S_IFDIR >> 12] = "S_IFDIR",   [S_IFCHR >> 12] = "S_IFCHR",
					      [S_IFIFO >> 12] = "S_IFIFO"};
	const char *type = types[mode >> 12 & 15];

	lp_buf_printf(out, "{st_mode=%s%s0%o", type ? type : "", type ? "|" : "", mode & 07777);
}

/* arm64's struct stat: mode at 16, rdev at 32, size at 48. */
SHOW(stat)
{
	uint32_t mode;
	uint64_t rdev;
	int64_t size;

	if (!lp_show_has_written(s) || lp_arg_get(value + 16, &mode) || lp_arg_get(value + 32, &rdev) ||
	    lp_arg_get(value + 48, &size)) {
		lp_show_address(s->out, value);
		return;
	}
	show_file_type(s->out, mode);
	if (S_ISCHR(mode) || S_ISBLK(mode))
		lp_buf_printf(s->out, ", st_rdev=0x%" PRIx64 ", ...}", rdev);
	else
		lp_buf_printf(s->out, ", st_size=%" PRId64 ", ...}", size);
}

SHOW(statx)
{
	struct statx stx;

	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&stx);
	lp_buf_str(s->out, "{stx_mask=");
	lp_show_set(s->out, "statx_mask", stx.stx_mask);
	lp_buf_printf(s->out, ", stx_mode=0%o, stx_size=%" PRIu64 ", ...}", stx.stx_mode, (uint64_t)stx.stx_size);
}

SHOW(statfs)
{
	struct statfs fs;

	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&fs);
	lp_buf_printf(s->out, "{f_type=0x%lx, f_bsize=%ld, f_blocks=%lu, f_bfree=%lu, ...}", (unsigned long)fs.f_type,
		      (long)fs.f_bsize, (unsigned long)fs.f_blocks, (unsigned long)fs.f_bfree);
}

SHOW(dirents)
{
	uint64_t at = value, end = value + (uint64_t)s->result;
	unsigned nr = 0;
	uint16_t len;

	lp_show_address(s->out, value);
	if (!lp_show_has_written(s))
		return;
	for (; at < end && !lp_arg_get(at + 16, &len) && len; at += len)
		nr++;
	lp_buf_printf(s->out, " /* %u entries */", nr);
}

SHOW(open_how)
{
	struct open_how how;

	READ_OR_ADDRESS(&how);
	lp_buf_str(s->out, "{flags=");
	lp_show_kind("oflags", strlen("oflags"))(s, how.flags);
	lp_buf_printf(s->out, ", mode=0%" PRIo64 ", resolve=0x%" PRIx64 "}", (uint64_t)how.mode, (uint64_t)how.resolve);
}

/* ---- processes and signals ---- */

SHOW(clone_args)
{
	struct clone_args args;

	READ_OR_ADDRESS(&args);
	lp_buf_str(s->out, "{flags=");
	lp_show_set(s->out, "clone_bits", args.flags);
	lp_buf_str(s->out, ", exit_signal=");
	lp_show_signal(s->out, (int)args.exit_signal);
	lp_buf_printf(s->out, ", stack=0x%" PRIx64 ", stack_size=0x%" PRIx64 ", tls=0x%" PRIx64 "}",
		      (uint64_t)args.stack, (uint64_t)args.stack_size, (uint64_t)args.tls);
}

static void show_set_of(struct lp_buf *out, uint64_t set)
{
	bool is_inverted = __builtin_popcountll(set) > LP_NSIG / 2;
	const char *between = "";

	lp_buf_str(out, is_inverted ? "~[" : "[");
	for (int signal = 1; signal <= LP_NSIG; signal++)
		if ((set >> (signal - 1) & 1) != is_inverted) {
			lp_buf_str(out, between);
			lp_show_signal(out, signal);
			between = " ";
		}
	lp_buf_str(out, "]");
}

SHOW(sigset)
{
	uint64_t set;

	READ_OR_ADDRESS(&set);
	show_set_of(s->out, set);
}
SHOW_OUT(sigset_out, lp_show_sigset)

SHOW(sigaction)
{
	struct lp_sigaction act;

	READ_OR_ADDRESS(&act);
	if (act.handler > 1)
		lp_buf_printf(s->out, "{sa_handler=0x%" PRIx64, act.handler);
	else
		lp_buf_printf(s->out, "{sa_handler=%s", act.handler ? "SIG_IGN" : "SIG_DFL");
	lp_buf_str(s->out, ", sa_mask=");
	show_set_of(s->out, act.mask);
	lp_buf_str(s->out, ", sa_flags=");
	lp_show_set(s->out, "sa_flags", act.flags);
	lp_buf_str(s->out, "}");
}
SHOW_OUT(sigaction_out, lp_show_sigaction)

SHOW(stack)
{
	stack_t stack;

	READ_OR_ADDRESS(&stack);
	lp_buf_printf(s->out, "{ss_sp=0x%" PRIx64 ", ss_flags=", lp_arg_of(stack.ss_sp));
	lp_show_set(s->out, "ss_flags", (uint32_t)stack.ss_flags);
	lp_buf_printf(s->out, ", ss_size=%zu}", stack.ss_size);
}
SHOW_OUT(stack_out, lp_show_stack)

/* The codes of faults, by signal. */
static const char *fault_set(int signal)
{
	switch (signal) {
	case SIGSEGV:
		return "segv_codes";
	case SIGBUS:
		return "bus_codes";
	case SIGILL:
		return "ill_codes";
	case SIGFPE:
		return "fpe_codes";
	case SIGTRAP:
		return "trap_codes";
	case SIGCHLD:
		return "child_codes";
	default:
		return "signal_codes";
	}
}

void lp_show_siginfo_of(struct lp_buf *out, const siginfo_t *info)
{
	const char *set = info->si_code > 0 && info->si_code < SI_KERNEL ? fault_set(info->si_signo) : "signal_codes";

	lp_buf_str(out, "{si_signo=");
	lp_show_signal(out, info->si_signo);
	lp_buf_str(out, ", si_code=");
	lp_show_set(out, set, (uint32_t)info->si_code);
	if (info->si_code > 0 && info->si_code < SI_KERNEL && info->si_signo != SIGCHLD)
		lp_buf_printf(out, ", si_addr=0x%" PRIx64, lp_arg_of(info->si_addr));
	else if (info->si_code <= 0 || info->si_signo == SIGCHLD)
		lp_buf_printf(out, ", si_pid=%d, si_uid=%u", info->si_pid, info->si_uid);
	if (info->si_signo == SIGCHLD)
		lp_buf_printf(out, ", si_status=%d", info->si_status);
	lp_buf_str(out, "}");
}

SHOW(siginfo)
{
	siginfo_t info;

	READ_OR_ADDRESS(&info);
	lp_show_siginfo_of(s->out, &info);
}
SHOW_OUT(siginfo_out, lp_show_siginfo)

SHOW(sigevent)
{
	struct sigevent event;

	READ_OR_ADDRESS(&event);
	lp_buf_str(s->out, "{sigev_signo=");
	lp_show_signal(s->out, event.sigev_signo);
	lp_buf_printf(s->out, ", sigev_notify=%d}", event.sigev_notify);
}

/* Of wait4(): nothing when no child has changed. */
SHOW(status_out)
{
	int status;

	if (!lp_show_has_written(s) || !s->result || !value) {
		lp_show_address(s->out, value);
		return;
	}
	READ_OR_ADDRESS(&status);
	if (WIFEXITED(status))
		lp_buf_printf(s->out, "[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(status));
	else if (WIFSIGNALED(status) || WIFSTOPPED(status)) {
		lp_buf_str(s->out, WIFSTOPPED(status) ? "[{WIFSTOPPED(s) && WSTOPSIG(s) == "
						      : "[{WIFSIGNALED(s) && WTERMSIG(s) == ");
		lp_show_signal(s->out, WIFSTOPPED(status) ? WSTOPSIG(status) : WTERMSIG(status));
		lp_buf_str(s->out, "}]");
	} else
		lp_buf_printf(s->out, "[0x%x]", status);
}

/* ---- waiting ---- */

SHOW(pollfds)
{
	uint64_t nr = (uint32_t)s->a[s->i + 1];
	struct pollfd fd;

	lp_buf_str(s->out, "[");
	for (uint64_t i = 0; i < nr && i < ITEMS_MAX; i++) {
		if (lp_arg_get(value + i * sizeof fd, &fd))
			break;
		lp_buf_printf(s->out, "%s{fd=%d, events=", i ? ", " : "", fd.fd);
		lp_show_set(s->out, "poll_bits", (uint16_t)fd.events);
		if (lp_show_has_written(s) && fd.revents) {
			lp_buf_str(s->out, ", revents=");
			lp_show_set(s->out, "poll_bits", (uint16_t)fd.revents);
		}
		lp_buf_str(s->out, "}");
	}
	lp_buf_str(s->out, nr > ITEMS_MAX ? ", ...]" : "]");
}

SHOW(fd_set)
{
	const char *between = "";
	fd_set set;

	READ_OR_ADDRESS(&set);
	lp_buf_str(s->out, "[");
	for (int fd = 0; fd < (int)s->a[0] && fd < FD_SETSIZE; fd++)
		if (FD_ISSET(fd, &set)) {
			lp_buf_printf(s->out, "%s%d", between, fd);
			between = " ";
		}
	lp_buf_str(s->out, "]");
}

/* arm64's struct epoll_event is not packed. */
static bool show_event(struct lp_buf *out, uint64_t addr)
{
	uint32_t events;
	uint64_t data;

	if (lp_arg_get(addr, &events) || lp_arg_get(addr + 8, &data))
		return false;
	lp_buf_str(out, "{events=");
	lp_show_set(out, "epoll_bits", events);
	lp_buf_printf(out, ", data=0x%" PRIx64 "}", data);
	return true;
}

SHOW(epoll_event)
{
	if (!show_event(s->out, value))
		lp_show_address(s->out, value);
}

SHOW(epoll_events)
{
	if (!lp_show_has_written(s)) {
		lp_show_address(s->out, value);
		return;
	}
	lp_buf_str(s->out, "[");
	for (int64_t i = 0; i < s->result && i < ITEMS_MAX; i++) {
		lp_buf_str(s->out, i ? ", " : "");
		if (!show_event(s->out, value + (uint64_t)i * 16))
			break;
	}
	lp_buf_str(s->out, "]");
}

/* ---- data in pieces ---- */

static void show_pieces(struct lp_buf *out, uint64_t addr, uint64_t nr, uint64_t len)
{
	struct iovec piece;

	lp_buf_str(out, "[");
	for (uint64_t i = 0; i < nr && i < ITEMS_MAX; i++) {
		uint64_t here;

		if (lp_arg_get(addr + i * sizeof piece, &piece))
			break;
		here = piece.iov_len < len ? piece.iov_len : len;
		len -= here;
		lp_buf_str(out, i ? ", {iov_base=" : "{iov_base=");
		lp_show_data(out, lp_arg_of(piece.iov_base), here);
		lp_buf_printf(out, ", iov_len=%zu}", piece.iov_len);
	}
	lp_buf_str(out, nr > ITEMS_MAX ? ", ...]" : "]");
}

SHOW(iov_in)
{
	show_pieces(s->out, value, s->a[s->i + 1], UINT64_MAX);
}

SHOW(iov_out)
{
	show_pieces(s->out, value, s->a[s->i + 1], lp_show_has_written(s) ? (uint64_t)s->result : 0);
}

/* ---- sockets ---- */

static void show_unix(struct lp_buf *out, const struct sockaddr_un *un, size_t len)
{
	size_t path = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
	bool is_abstract = path && !un->sun_path[0];

	lp_buf_str(out, "{sa_family=AF_UNIX");
	if (path) {
		lp_buf_str(out, is_abstract ? ", sun_path=@" : ", sun_path=");
		lp_show_bytes(out, (const uint8_t *)un->sun_path + is_abstract,
			      is_abstract ? path - 1 : strnlen(un->sun_path, path), false);
	}
	lp_buf_str(out, "}");
}

static void show_address_of(struct lp_buf *out, uint64_t addr, uint64_t len)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	} u = {0};
	char text[INET6_ADDRSTRLEN];

	if (!addr || len < sizeof u.sa.sa_family || len > sizeof u || lp_arg_read(addr, &u, len)) {
		lp_show_address(out, addr);
		return;
	}
	switch (u.sa.sa_family) {
	case AF_UNIX:
		show_unix(out, &u.un, len);
		break;
	case AF_INET:
		lp_buf_printf(out, "{sa_family=AF_INET, sin_port=htons(%u), sin_addr=inet_addr(\"%s\")}",
			      ntohs(u.in.sin_port), inet_ntop(AF_INET, &u.in.sin_addr, text, sizeof text));
		break;
	case AF_INET6:
		lp_buf_printf(out, "{sa_family=AF_INET6, sin6_port=htons(%u), sin6_addr=\"%s\"}",
			      ntohs(u.in6.sin6_port), inet_ntop(AF_INET6, &u.in6.sin6_addr, text, sizeof text));
		break;
	default:
		lp_buf_str(out, "{sa_family=");
		lp_show_set(out, "sock_domain", u.sa.sa_family);
		lp_buf_str(out, ", ...}");
	}
}

SHOW(sockaddr)
{
	show_address_of(s->out, value, (uint32_t)s->a[s->i + 1]);
}

SHOW(sockaddr_out)
{
	uint32_t len;

	if (lp_show_has_written(s) && value && !lp_arg_get(s->a[s->i + 1], &len))
		show_address_of(s->out, value, len);
	else
		lp_show_address(s->out, value);
}

static void show_message(const struct lp_shown *s, uint64_t value, uint64_t len)
{
	struct msghdr m;

	READ_OR_ADDRESS(&m);
	lp_buf_str(s->out, "{msg_name=");
	show_address_of(s->out, lp_arg_of(m.msg_name), m.msg_namelen);
	lp_buf_printf(s->out, ", msg_namelen=%u, msg_iov=", m.msg_namelen);
	show_pieces(s->out, lp_arg_of(m.msg_iov), m.msg_iovlen, len);
	lp_buf_printf(s->out, ", msg_iovlen=%zu, msg_controllen=%zu, msg_flags=", m.msg_iovlen, m.msg_controllen);
	lp_show_set(s->out, "msg_flags", (uint32_t)m.msg_flags);
	lp_buf_str(s->out, "}");
}

SHOW(msghdr_in)
{
	show_message(s, value, UINT64_MAX);
}

SHOW(msghdr_out)
{
	if (lp_show_has_written(s))
		show_message(s, value, (uint64_t)s->result);
	else
		lp_show_address(s->out, value);
}

/* ---- arrays ---- */

SHOW(sembufs)
{
	uint64_t nr = (uint32_t)s->a[s->i + 1];
	struct sembuf op;

	lp_buf_str(s->out, "[");
	for (uint64_t i = 0; i < nr && i < ITEMS_MAX && !lp_arg_get(value + i * sizeof op, &op); i++)
		lp_buf_printf(s->out, "%s{%u, %d, 0x%x}", i ? ", " : "", op.sem_num, op.sem_op, (unsigned)op.sem_flg);
	lp_buf_str(s->out, "]");
}

SHOW(strv)
{
	uint64_t string;

	if (!value) {
		lp_buf_str(s->out, "NULL");
		return;
	}
	lp_buf_str(s->out, "[");
	for (uint64_t i = 0; !lp_arg_get(value + i * 8, &string) && string; i++) {
		lp_buf_str(s->out, i ? ", " : "");
		if (i == ITEMS_MAX) {
			lp_buf_str(s->out, "...");
			break;
		}
		lp_show_string(s->out, string, PATH_SHOWN);
	}
	lp_buf_str(s->out, "]");
}

SHOW(envv)
{
	uint64_t string;
	unsigned nr = 0;

	lp_show_address(s->out, value);
	while (value && !lp_arg_get(value + nr * UINT64_C(8), &string) && string)
		nr++;
	lp_buf_printf(s->out, " /* %u vars */", nr);
}
