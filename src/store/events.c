#include "store/events.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>

#include "base/fdio.h"

#define ACK_MS 500
#define QUEUE_BYTES (4 << 20) /* some ten thousand events that we were too slow for */

static int subscribe(int fd)
{
	const uint32_t op = PROC_CN_MCAST_LISTEN;
	const struct cn_msg cn = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = sizeof op};
	const struct nlmsghdr nl = {.nlmsg_len = NLMSG_LENGTH(sizeof cn + sizeof op),
				    .nlmsg_type = NLMSG_DONE,
				    .nlmsg_pid = (uint32_t)getpid()};
	char message[NLMSG_LENGTH(sizeof cn + sizeof op)] = {0};
	memcpy(message, &nl, sizeof nl);
	memcpy(message + NLMSG_HDRLEN, &cn, sizeof cn);
	memcpy(message + NLMSG_HDRLEN + sizeof cn, &op, sizeof op);
	return send(fd, message, sizeof message, 0) < 0 ? -errno : 0;
}

/* The event in one netlink message, copied out because nothing aligns it; false when it is something else. */
static bool event_in(const struct nlmsghdr *h, struct proc_event *out)
{
	struct cn_msg cn;
	const char *data = (const char *)NLMSG_DATA(h);
	size_t len = h->nlmsg_len - NLMSG_HDRLEN;
	if (h->nlmsg_type != NLMSG_DONE || len < sizeof cn)
		return false;
	memcpy(&cn, data, sizeof cn);
	if (cn.id.idx != CN_IDX_PROC || cn.id.val != CN_VAL_PROC || cn.len > len - sizeof cn)
		return false;
	memset(out, 0, sizeof *out);
	memcpy(out, data + sizeof cn, cn.len < sizeof *out ? cn.len : sizeof *out);
	return true;
}

static void deliver(const struct proc_event *e, lp_event_fn *fn, void *arg)
{
	/* Threads come and go, too; a process is where its first thread is. */
	if (e->what == PROC_EVENT_FORK && e->event_data.fork.child_pid == e->event_data.fork.child_tgid)
		fn(LP_PROCESS_FORKED, e->event_data.fork.child_tgid, arg);
	else if (e->what == PROC_EVENT_EXEC)
		fn(LP_PROCESS_EXECED, e->event_data.exec.process_tgid, arg);
	else if (e->what == PROC_EVENT_EXIT && e->event_data.exit.process_pid == e->event_data.exit.process_tgid)
		fn(LP_PROCESS_EXITED, e->event_data.exit.process_tgid, arg);
}

/* One datagram.  1 = there may be more, 0 = none, negative = -errno. */
static int receive(int fd, char *buffer, size_t size, size_t *len)
{
	struct sockaddr_nl from;
	socklen_t from_len = sizeof from;
	ssize_t n = recvfrom(fd, buffer, size, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	*len = from.nl_pid == 0 ? (size_t)n : 0; /* only the kernel's word counts */
	return 1;
}

int lp_events_read(int fd, lp_event_fn *fn, void *arg)
{
	char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	for (;;) {
		size_t len;
		int rc = receive(fd, buffer, sizeof buffer, &len);
		if (rc <= 0)
			return rc == -ENOBUFS ? 1 : rc;
		const struct nlmsghdr *h = (const void *)buffer;
		for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
			struct proc_event e;
			if (event_in(h, &e))
				deliver(&e, fn, arg);
		}
	}
}

/* In a namespace that gets no news subscribing succeeds, and nothing ever comes: the acknowledgement tells. */
static int wait_for_ack(int fd)
{
	char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (poll(&p, 1, ACK_MS) == 1) {
		size_t len = 0;
		struct proc_event e;
		int rc = receive(fd, buffer, sizeof buffer, &len);
		if (rc < 0)
			return rc;
		const struct nlmsghdr *h = (const void *)buffer;
		if (rc && NLMSG_OK(h, len) && event_in(h, &e) && e.what == PROC_EVENT_NONE)
			return -(int)e.event_data.ack.err;
	}
	return -ETIMEDOUT;
}

int lp_events_open(struct lp_err *err)
{
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC, .nl_pid = (uint32_t)getpid()};
	int bytes = QUEUE_BYTES;
	int fd = socket(PF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
	if (fd < 0)
		return lp_fail(err, LP_EPERM, "the kernel's process events are not to be had: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	int rc = bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : subscribe(fd);
	rc = rc < 0 ? rc : wait_for_ack(fd);
	if (rc == 0)
		return fd;
	lp_close(fd);
	return lp_fail(err, LP_EPERM, "the kernel's process events are not to be had: %s", strerror(-rc));
}
