#include "control/owned.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fdio.h"

struct lp_owned lp_owned_of(int fd)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return (struct lp_owned){.fd = fd};
	return (struct lp_owned){fd, st.st_dev, st.st_ino};
}

bool lp_owned_is_ours(const struct lp_owned *o)
{
	int saved = errno;
	struct stat st;
	bool yes = o->fd >= 0 && fstat(o->fd, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino;
	errno = saved;
	return yes;
}

void lp_owned_end(const struct lp_owned *o)
{
	int saved = errno;
	if (lp_owned_is_ours(o))
		shutdown(o->fd, SHUT_RDWR);
	errno = saved;
	lp_owned_close(o);
}

void lp_owned_close(const struct lp_owned *o)
{
	if (lp_owned_is_ours(o))
		lp_close(o->fd);
}
