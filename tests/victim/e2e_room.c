/*
 * Preloaded into a victim: maps memory on request, as LibcarePlus has its target do by ptrace, and calls resolvers of
 * IFUNCs for it.  Requests come through the socket whose number is in ROOM.  A thread of its own answers them, so that the
 * victim's code is none the wiser.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { MAP = 1, CALL = 2 };

struct request {
	uint64_t what, address, size, protection;
};

/* The address, or 0 where there is something already. */
static uint64_t map(const struct request *r)
{
	void *wanted = (void *)(uintptr_t)r->address;
	void *got = mmap(wanted, r->size, (int)r->protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return got == wanted ? r->address : 0;
}

static uint64_t call(uint64_t resolver)
{
	return (uintptr_t)((void *(*)(void))(uintptr_t)resolver)();
}

static void *answer(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct request r;
	while (recv(fd, &r, sizeof r, MSG_WAITALL) == sizeof r) {
		uint64_t result = r.what == MAP ? map(&r) : r.what == CALL ? call(r.address) : 0;
		if (send(fd, &result, sizeof result, MSG_NOSIGNAL) != sizeof result)
			break;
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	const char *fd = getenv("ROOM");
	pthread_t thread;
	sigset_t all, before;
	if (!fd)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, answer, (void *)(intptr_t)atoi(fd)))
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
