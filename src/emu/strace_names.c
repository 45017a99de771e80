/* Flags and other numbers with names: strace_names.def. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"
#include "emu/strace_show.h"

struct name {
	const char *text;
	uint64_t value;
};

#define VALUES(set) static const struct name names_##set[] = {
#define BITS(set, zero) static const struct name names_##set[] = {
#define NAME(value) {#value, (uint32_t)(value)},
#define NAME_AS(what, value) {what, (uint32_t)(value)},
#define END             \
	{               \
		NULL, 0 \
	}               \
	}               \
	;
#include "emu/strace_names.def"
#undef VALUES
#undef BITS
#undef NAME
#undef NAME_AS
#undef END

static const struct {
	const char *set;
	const struct name *names;
	const char *zero; /* of bits: what none of them is called; NULL: values */
} sets[] = {
#define VALUES(set) {#set, names_##set, NULL},
#define BITS(set, zero) {#set, names_##set, zero},
#define NAME(value)
#define NAME_AS(what, value)
#define END
#include "emu/strace_names.def"
#undef VALUES
#undef BITS
#undef NAME
#undef NAME_AS
#undef END
};

static void show_value(struct lp_buf *out, const struct name *n, uint64_t value)
{
	for (; n->text; n++)
		if (n->value == (uint32_t)value) {
			lp_buf_str(out, n->text);
			return;
		}
	lp_buf_printf(out, "0x%x", (uint32_t)value);
}

/* A name of several bits stands before those of its parts. */
static void show_bits(struct lp_buf *out, const struct name *n, const char *zero, uint64_t value)
{
	uint32_t rest = (uint32_t)value;
	const char *between = "";

	for (; n->text; n++)
		if (n->value ? (rest & n->value) == n->value : !rest && !*between) {
			lp_buf_printf(out, "%s%s", between, n->text);
			between = "|";
			rest &= ~(uint32_t)n->value;
		}
	if (rest)
		lp_buf_printf(out, "%s0x%x", between, rest);
	else if (!*between)
		lp_buf_str(out, zero);
}

bool lp_show_named(struct lp_buf *out, const char *set, size_t len, uint64_t value)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(sets); i++)
		if (!strncmp(sets[i].set, set, len) && !sets[i].set[len]) {
			if (sets[i].zero)
				show_bits(out, sets[i].names, sets[i].zero, value);
			else
				show_value(out, sets[i].names, value);
			return true;
		}
	return false;
}
