/*
 * A program that changes another process through livepatch.h.
 *
 *     open PID        from now on that one
 *     patch ADDR      the function there says "patched J", by way of a new function: one transaction
 *     revert ADDR | all
 *     load FILE
 *     count           active patches
 *     toggle ADDR     patch and revert until somebody kills us
 *
 * Each answers "ok NUMBER" or the name of the error.
 */
#include <livepatch.h>

#include "e2e_serve.h"

static LivePatchSystem *target;

#ifdef __x86_64__
static const unsigned char says_patched[] = "\x48\x8d\x05\x01\x00\x00\x00" /* lea 1(%rip),%rax */
					    "\xc3"			   /* ret */
					    "patched J\0";
#else
static const unsigned char says_patched[] = "\x40\x00\x00\x10" /* adr x0, . + 8 */
					    "\xc0\x03\x5f\xd6" /* ret */
					    "patched J\0\0";
#endif

static void tell(int rc)
{
	if (rc < 0)
		say("%s: %s", livepatch_last_error()->name, livepatch_last_error()->text);
	else
		say("ok %d", rc);
}

static int open_target(pid_t pid)
{
	livepatch_cleanup(target);
	target = livepatch_init_process(pid);
	if (target)
		livepatch_set_flags(target, LIVEPATCH_ALLOW_UNALLOCATED);
	return target ? 0 : -1;
}

static int plan_patch(uint64_t at)
{
	uint64_t new_at;
	int rc = livepatch_begin(target);

	rc = rc ? rc : livepatch_new_func(target, "says_patched", says_patched, sizeof says_patched, &new_at, "");
	return rc ? rc : livepatch_redirect_function(target, at, new_at, "patched");
}

static int patch(uint64_t at)
{
	return plan_patch(at) ? -1 : livepatch_commit(target);
}

/* What a refused part leaves open is closed when the refusal has been told. */
static void tell_patch(int rc)
{
	tell(rc);
	if (rc < 0)
		livepatch_abort(target);
}

static int count(void)
{
	livepatch_counts counts;

	return livepatch_get_counts(target, &counts) < 0 ? -1 : (int)counts.active;
}

static void toggle(uint64_t at)
{
	say("ok 0");
	while (patch(at) >= 0 && livepatch_revert_all(target) >= 0)
		;
}

static void answer(char *request)
{
	char *arg = strchr(request, ' ');
	uint64_t number = arg ? strtoull(arg + 1, NULL, 0) : 0;

	if (arg)
		*arg++ = '\0';
	if (!strcmp(request, "open"))
		tell(open_target((pid_t)number));
	else if (!strcmp(request, "patch"))
		tell_patch(patch(number));
	else if (!strcmp(request, "revert"))
		tell(!strcmp(arg, "all") ? livepatch_revert_all(target) : livepatch_revert(target, number));
	else if (!strcmp(request, "load"))
		tell(livepatch_load_from_file(target, arg));
	else if (!strcmp(request, "count"))
		tell(count());
	else if (!strcmp(request, "toggle"))
		toggle(number);
	else
		say("what is %s?", request);
}

int main(void)
{
	serve(answer);
	return 0;
}
