/* Sockets that have paths. */
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "emu/path.h"
#include "emu/sys.h"

/* With a sysroot: the address of a Unix socket with an absolute path, translated.  False: the call is the host's as it
 * stands, errors included. */
static bool translated(struct lp_guest_thread *t, const uint64_t a[6], unsigned how, struct sockaddr_un *un,
		       socklen_t *len)
{
	char guest[sizeof un->sun_path + 1] = "", host[PATH_MAX];
	const size_t path_at = offsetof(struct sockaddr_un, sun_path);

	if (!t->cpu.emu->options.sysroot || (uint32_t)a[2] <= path_at || (uint32_t)a[2] > sizeof *un ||
	    lp_arg_read(a[1], un, (uint32_t)a[2]) || un->sun_family != AF_UNIX)
		return false;
	memcpy(guest, un->sun_path, (uint32_t)a[2] - path_at);
	if (guest[0] != '/')
		return false;
	lp_path_host(t->cpu.emu, guest, how, host);
	if (!strcmp(host, guest) || strlen(host) >= sizeof un->sun_path)
		return false;
	memcpy(un->sun_path, host, strlen(host) + 1);
	*len = (socklen_t)(path_at + strlen(host) + 1);
	return true;
}

static int64_t with_address(struct lp_guest_thread *t, long nr, const uint64_t a[6], unsigned how)
{
	struct sockaddr_un un;
	socklen_t len;

	if (!translated(t, a, how, &un, &len))
		return lp_host_wait(t, nr, a);
	return LP_HOST_WAIT(t, nr, a[0], lp_arg_of(&un), len);
}

CALL(bind)
{
	return with_address(t, SYS_bind, a, LP_PATH_CREATE | LP_PATH_NOFOLLOW);
}

CALL(connect)
{
	return with_address(t, SYS_connect, a, 0);
}
