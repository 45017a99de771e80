#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/vec.h"
#include "emu/strace_show.h"

enum { STRING_MAX = 32, PATH_SHOWN = 4096 }; /* as strace(1) */

#define SHOW(word) static void show_##word(const struct lp_shown *s, uint64_t value)

void lp_show_set(struct lp_buf *out, const char *set, uint64_t value)
{
	lp_show_named(out, set, strlen(set), value);
}

/* ---- text ---- */

static void show_byte(struct lp_buf *out, uint8_t c, bool digit_follows)
{
	static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";

	for (const char *e = escapes; *e; e += 2)
		if (c == (uint8_t)*e) {
			lp_buf_printf(out, "\\%c", e[1]);
			return;
		}
	if (c >= ' ' && c < 0x7f)
		lp_buf_printf(out, "%c", c);
	else
		lp_buf_printf(out, digit_follows ? "\\%03o" : "\\%o", c);
}

void lp_show_bytes(struct lp_buf *out, const uint8_t *data, size_t len, bool more)
{
	lp_buf_str(out, "\"");
	for (size_t i = 0; i < len; i++)
		show_byte(out, data[i], i + 1 < len && data[i + 1] >= '0' && data[i + 1] <= '9');
	lp_buf_str(out, more ? "\"..." : "\"");
}

void lp_show_error(struct lp_buf *out, int error)
{
	const char *name = strerrorname_np(error), *text = strerrordesc_np(error);

	if (name)
		lp_buf_printf(out, "%s (%s)", name, text);
	else
		lp_buf_printf(out, "(errno %d)", error);
}

void lp_show_address(struct lp_buf *out, uint64_t value)
{
	if (value)
		lp_buf_printf(out, "0x%" PRIx64, value);
	else
		lp_buf_str(out, "NULL");
}

/* len bytes at addr, as far as anybody wants to see them. */
void lp_show_data(struct lp_buf *out, uint64_t addr, uint64_t len)
{
	uint8_t data[STRING_MAX];
	size_t shown = len < sizeof data ? len : sizeof data;

	if (lp_arg_read(addr, data, shown))
		lp_show_address(out, addr);
	else
		lp_show_bytes(out, data, shown, len > shown);
}

void lp_show_string(struct lp_buf *out, uint64_t addr, size_t most)
{
	char text[PATH_SHOWN];
	ssize_t len = addr ? lp_arg_string(addr, text, sizeof text) : -EFAULT;

	if (len < 0)
		lp_show_address(out, addr);
	else
		lp_show_bytes(out, (const uint8_t *)text, (size_t)len > most ? most : (size_t)len, (size_t)len > most);
}

SHOW(path)
{
	lp_show_string(s->out, value, PATH_SHOWN);
}

SHOW(str)
{
	lp_show_string(s->out, value, STRING_MAX);
}

/* What the call has written there: nothing when it failed. */
bool lp_show_has_written(const struct lp_shown *s)
{
	return s->is_over && s->result >= 0;
}

SHOW(str_out)
{
	if (lp_show_has_written(s))
		lp_show_string(s->out, value, PATH_SHOWN);
	else
		lp_show_address(s->out, value);
}

SHOW(buf_in)
{
	lp_show_data(s->out, value, s->a[s->i + 1]);
}

SHOW(buf_out)
{
	if (lp_show_has_written(s))
		lp_show_data(s->out, value, (uint64_t)s->result);
	else
		lp_show_address(s->out, value);
}

/* ---- numbers ---- */

SHOW(none)
{
	lp_buf_str(s->out, "?");
}

SHOW(int)
{
	lp_buf_printf(s->out, "%d", (int)value);
}

SHOW(uint)
{
	lp_buf_printf(s->out, "%u", (unsigned)value);
}

SHOW(long)
{
	lp_buf_printf(s->out, "%" PRId64, (int64_t)value);
}

SHOW(size)
{
	lp_buf_printf(s->out, "%" PRIu64, value);
}

SHOW(hex)
{
	lp_buf_printf(s->out, value ? "0x%" PRIx64 : "%" PRIx64, value);
}

SHOW(ptr)
{
	lp_show_address(s->out, value);
}

SHOW(fd)
{
	lp_buf_printf(s->out, "%d", (int)value);
}

SHOW(atfd)
{
	if ((int)value == AT_FDCWD)
		lp_buf_str(s->out, "AT_FDCWD");
	else
		lp_buf_printf(s->out, "%d", (int)value);
}

SHOW(mode)
{
	lp_buf_printf(s->out, "0%o", (unsigned)value & 07777);
}

SHOW(oflags)
{
	uint64_t flags = lp_open_flags_host(value);

	lp_show_set(s->out, "open_access", flags & O_ACCMODE);
	if (flags & ~(uint64_t)O_ACCMODE) {
		lp_buf_str(s->out, "|");
		lp_show_set(s->out, "open_more", flags & ~(uint64_t)O_ACCMODE);
	}
}

/* Of calls that open nothing. */
SHOW(fd_oflags)
{
	lp_show_set(s->out, "open_more", lp_open_flags_host(value));
}

/* Only there when the flags before it create something. */
SHOW(open_mode)
{
	uint64_t flags = lp_open_flags_host(s->a[s->i - 1]);

	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		lp_buf_printf(s->out, "0%o", (unsigned)value & 07777);
}

/* ---- numbers of which parts have names ---- */

void lp_show_signal(struct lp_buf *out, int signal)
{
	const char *name = sigabbrev_np(signal);

	if (name)
		lp_buf_printf(out, "SIG%s", name);
	else if (signal >= 32 && signal <= LP_NSIG)
		lp_buf_printf(out, "SIGRT_%d", signal - 32);
	else
		lp_buf_printf(out, "%d", signal);
}

SHOW(signal)
{
	lp_show_signal(s->out, (int)value);
}

SHOW(ipc_key)
{
	if (value)
		lp_buf_printf(s->out, "0x%x", (unsigned)value);
	else
		lp_buf_str(s->out, "IPC_PRIVATE");
}

/* IPC_CREAT and its kin, and the permissions below. */
SHOW(ipc_flags)
{
	if (value & ~0777u) {
		lp_show_set(s->out, "ipc_bits", value & ~0777u);
		lp_buf_str(s->out, "|");
	}
	lp_buf_printf(s->out, "0%o", (unsigned)value & 0777);
}

SHOW(clone_flags)
{
	unsigned signal = value & 0xff;

	lp_show_set(s->out, "clone_bits", value & ~UINT64_C(0xff));
	if (signal) {
		lp_buf_str(s->out, "|");
		lp_show_signal(s->out, (int)signal);
	}
}

SHOW(futex_op)
{
	lp_show_set(s->out, "futex_cmd", value & FUTEX_CMD_MASK);
	if (value & FUTEX_PRIVATE_FLAG)
		lp_buf_str(s->out, "_PRIVATE");
	if (value & FUTEX_CLOCK_REALTIME)
		lp_buf_str(s->out, "|FUTEX_CLOCK_REALTIME");
}

SHOW(sock_type)
{
	enum { KIND_MASK = 0xf };

	lp_show_set(s->out, "sock_kind", value & KIND_MASK);
	if (value & ~(uint64_t)KIND_MASK) {
		lp_buf_str(s->out, "|");
		lp_show_set(s->out, "sock_flags", value & ~(uint64_t)KIND_MASK);
	}
}

/* By the level, which is the argument before. */
SHOW(sock_option)
{
	switch ((int)s->a[s->i - 1]) {
	case SOL_SOCKET:
		lp_show_set(s->out, "sock_so", value);
		break;
	case IPPROTO_TCP:
		lp_show_set(s->out, "sock_tcp", value);
		break;
	default:
		lp_buf_printf(s->out, "0x%x", (unsigned)value);
	}
}

static void show_option(struct lp_buf *out, uint64_t addr, uint64_t len)
{
	int32_t number;

	if (len == sizeof number && !lp_arg_get(addr, &number))
		lp_buf_printf(out, "[%" PRId32 "]", number);
	else
		lp_show_data(out, addr, len);
}

SHOW(sockopt)
{
	show_option(s->out, value, s->a[s->i + 1]);
}

SHOW(sockopt_out)
{
	uint32_t len;

	if (lp_show_has_written(s) && !lp_arg_get(s->a[s->i + 1], &len))
		show_option(s->out, value, len);
	else
		lp_show_address(s->out, value);
}

static void show_lock(const struct lp_shown *s, uint64_t addr)
{
	struct flock64 lock;

	if (lp_arg_get(addr, &lock)) {
		lp_show_address(s->out, addr);
		return;
	}
	lp_buf_str(s->out, "{l_type=");
	lp_show_set(s->out, "lock_type", (uint16_t)lock.l_type);
	lp_buf_str(s->out, ", l_whence=");
	lp_show_set(s->out, "whence", (uint16_t)lock.l_whence);
	lp_buf_printf(s->out, ", l_start=%" PRId64 ", l_len=%" PRId64 "}", (int64_t)lock.l_start, (int64_t)lock.l_len);
}

SHOW(fcntl_arg)
{
	switch ((int)s->a[1]) {
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		show_lock(s, value);
		break;
	case F_SETFD:
		lp_show_set(s->out, "fd_flags", value);
		break;
	case F_SETFL:
		show_oflags(s, value);
		break;
	case F_GETFD:
	case F_GETFL:
	case F_GETOWN:
	case F_GETSIG:
	case F_GETLEASE:
	case F_GETPIPE_SZ:
	case F_GET_SEALS:
		break;
	default:
		lp_buf_printf(s->out, "%" PRId64, (int64_t)value);
	}
}

SHOW(ioctl_arg)
{
	struct winsize size;
	int number;

	switch (s->a[1]) {
	case TIOCGWINSZ:
		if (!lp_show_has_written(s) || lp_arg_get(value, &size))
			break;
		lp_buf_printf(s->out, "{ws_row=%u, ws_col=%u, ws_xpixel=%u, ws_ypixel=%u}", size.ws_row, size.ws_col,
			      size.ws_xpixel, size.ws_ypixel);
		return;
	case FIONREAD:
	case TIOCGPGRP:
	case FIONBIO:
		if (!lp_show_has_written(s) || lp_arg_get(value, &number))
			break;
		lp_buf_printf(s->out, "[%d]", number);
		return;
	}
	lp_show_address(s->out, value);
}

lp_show_fn *lp_show_kind(const char *word, size_t len)
{
	static const struct {
		const char *word;
		lp_show_fn *show;
	} kinds[] = {
#define KIND(name) {#name, show_##name},
#define STRUCT(name) {#name, lp_show_##name},
#include "emu/strace_kinds.def"
#undef KIND
#undef STRUCT
	};

	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++)
		if (!strncmp(kinds[i].word, word, len) && !kinds[i].word[len])
			return kinds[i].show;
	return NULL;
}
