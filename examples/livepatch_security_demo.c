/*
 * A hole in a running program, closed by a hook.
 *
 * session_login() copies a name without looking at its length: whoever sends
 * seventeen bytes more than fit overwrites the byte behind it, and is an
 * administrator.  Four threads keep logging in, one of them so.  Then the
 * function is hooked, in one transaction with the one that renames sessions,
 * and from that moment on nobody gets in that way.  No thread is stopped and no
 * login is lost.
 *
 *     cc -O2 -o livepatch_security_demo livepatch_security_demo.c $(pkg-config --cflags --libs livepatch) -pthread
 *     ./livepatch_security_demo
 */
#include <livepatch.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the program ---- */

struct session {
	char user[16];
	char is_admin;
	char padding[47];
};

LIVEPATCH_HOOKABLE bool session_login(struct session *s, const char *user);
LIVEPATCH_HOOKABLE bool session_rename(struct session *s, const char *user);

bool session_login(struct session *s, const char *user)
{
	memset(s, 0, sizeof(*s));
	for (char *to = (char *)s; *user; user++, to++) /* the end of s->user? */
		*to = *user;
	return true;
}

bool session_rename(struct session *s, const char *user)
{
	memset(s->user, 0, sizeof(s->user));
	for (char *to = (char *)s; *user; user++, to++)
		*to = *user;
	return true;
}

/* ---- the fix ---- */

static bool (*original_login)(struct session *s, const char *user);
static bool (*original_rename)(struct session *s, const char *user);

static bool fits(const char *user)
{
	return strnlen(user, sizeof(((struct session *)0)->user)) < sizeof(((struct session *)0)->user);
}

/* What is right about the old functions stays in use: they are called for names that fit. */
static bool login_checked(struct session *s, const char *user)
{
	return fits(user) && original_login(s, user);
}

static bool rename_checked(struct session *s, const char *user)
{
	return fits(user) && original_rename(s, user);
}

static int must(int result)
{
	if (result < 0) {
		fprintf(stderr, "livepatch_security_demo: %s\n", livepatch_last_error()->text);
		exit(1);
	}
	return result;
}

static void close_the_hole(LivePatchSystem *self)
{
	must(livepatch_begin(self));
	must(livepatch_hook((void *)session_login, (void *)login_checked, (void **)&original_login));
	must(livepatch_hook((void *)session_rename, (void *)rename_checked, (void **)&original_rename));
	must(livepatch_commit(self));
}

/* ---- who logs in ---- */

enum { NR_THREADS = 4 };
static const char attack[] = "mallory.........\1"; /* sixteen bytes of name, and is_admin */

static atomic_bool stop, hooked; /* hooked: not before both are, and no more when the first is not */
static atomic_ulong logins, admins, admins_when_hooked, refused;

static void *log_in(void *is_mallory)
{
	const char *user = is_mallory ? attack : "alice";
	struct session s;

	while (!atomic_load(&stop)) {
		bool begun_hooked = atomic_load(&hooked);

		if (!session_login(&s, user)) {
			refused++;
			continue;
		}
		logins++;
		if (!s.is_admin)
			continue;
		admins++;
		admins_when_hooked += begun_hooked && atomic_load(&hooked);
	}
	return NULL;
}

static void wait_for(atomic_ulong *counter, unsigned long more)
{
	unsigned long until = atomic_load(counter) + more;

	while (atomic_load(counter) < until)
		sched_yield();
}

static void tell(const char *when)
{
	printf("%-20s %9lu logins, %9lu of them administrators by overflow, %9lu refused\n", when,
	       atomic_exchange(&logins, 0), atomic_exchange(&admins, 0), atomic_exchange(&refused, 0));
}

int main(void)
{
	LivePatchSystem *self = livepatch_init_self();
	pthread_t threads[NR_THREADS];

	must(self ? 0 : -1);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, log_in, i == 0 ? self : NULL) != 0)
			abort();
	wait_for(&admins, 1000);
	tell("as it was written:");

	close_the_hole(self);
	atomic_store(&hooked, true);
	wait_for(&refused, 1000);
	wait_for(&logins, 1000);
	tell("hooked:");
	livepatch_list(self);

	atomic_store(&hooked, false);
	must(livepatch_unhook((void *)session_login));
	must(livepatch_unhook((void *)session_rename));
	wait_for(&admins, 1000);
	tell("unhooked:");

	atomic_store(&stop, true);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	livepatch_cleanup(self);
	printf("administrators by overflow while hooked: %lu\n", admins_when_hooked);
	return admins_when_hooked ? 1 : 0;
}
