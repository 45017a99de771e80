/*
 * A new PING for a running redis-server 7.0: says that it is patched and is
 * otherwise the old one, but for clients that subscribed with the old protocol.
 * Built as any patch object: cc -shared -fPIC.
 *
 * A real fix would include redis's own server.h.  Debian ships no headers, so
 * the two members that are needed are declared here by their place.
 */
#include <stddef.h>

struct client {
	char before[0x48];
	int argc;
	void **argv; /* argv[0] is the command's name */
};

_Static_assert(offsetof(struct client, argv) == 0x50, "as in redis 7.0 on a 64-bit machine");

/* In redis-server, found by name when the object is loaded into it. */
extern void addReplyStatus(struct client *c, const char *status);
extern void addReplyBulk(struct client *c, void *object);
extern void addReplyErrorArity(struct client *c);

void ping_patched(struct client *c);

void ping_patched(struct client *c)
{
	if (c->argc == 1)
		addReplyStatus(c, "PONG (patched)");
	else if (c->argc == 2)
		addReplyBulk(c, c->argv[1]);
	else
		addReplyErrorArity(c);
}
