/* livepatch_demo(): what the library does, shown on the system's own memory, which is afterwards what it was. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/system.h"
#include "base/buf.h"

enum { WORDS = 8 };

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n > 0)
		fwrite(line, 1, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1, stdout);
}

static void say_result(const char *what, int rc)
{
	if (rc >= 0)
		say("%s: done\n", what);
	else
		say("%s: refused (%s): %s\n", what, livepatch_last_error()->name, livepatch_last_error()->text);
}

static bool read_words(LivePatchSystem *s, lp_addr at, uint32_t words[WORDS])
{
	return s->space->ops->read(s->space, at, words, WORDS * sizeof *words, NULL) == 0;
}

static void show_word(LivePatchSystem *s, lp_addr at)
{
	uint32_t word = 0;

	if (!s->space->ops->read(s->space, at, &word, sizeof word, NULL))
		say("  " LP_ADDR ": %08" PRIx32 "\n", at, word);
}

/* The first place where nobody has patched anything. */
static bool find_place(LivePatchSystem *s, lp_addr *at)
{
	struct lp_range r = s->space->range;

	for (*at = r.start; r.end - *at >= WORDS * 4; *at += WORDS * 4) {
		struct lp_held held = lp_table_lock(s->table, *at, WORDS * 4);
		bool is_free = !lp_table_overlap(s->table, *at, WORDS * 4);
		lp_table_unlock(s->table, held);
		if (is_free)
			return true;
	}
	return false;
}

static void show_one(LivePatchSystem *s, lp_addr at)
{
	say("\n1. One instruction in the place of another\n");
	show_word(s, at);
	say_result("livepatch_create_nop", livepatch_create_nop(s, at, "demonstration: does nothing"));
	show_word(s, at);
}

static void show_branch(LivePatchSystem *s, lp_addr at)
{
	say("\n2. A branch\n");
	say_result("livepatch_create_branch", livepatch_create_branch(s, at + 4, at + 16, "demonstration: skips two"));
	show_word(s, at + 4);
	say("\n");
	livepatch_list(s);
}

static void show_refusal(LivePatchSystem *s, lp_addr at)
{
	say("\n3. What cannot be is refused, and says why\n");
	say_result("the same instruction again", livepatch_create_nop(s, at, "again"));
	say_result("half an instruction further", livepatch_create_nop(s, at + 2, "misaligned"));
}

static void show_transaction(LivePatchSystem *s, lp_addr at)
{
	say("\n4. Several changes as one: all, or none\n");
	say_result("livepatch_begin", livepatch_begin(s));
	say_result("  a NOP", livepatch_create_nop(s, at + 20, "one of two"));
	say_result("  another", livepatch_create_nop(s, at + 24, "two of two"));
	show_word(s, at + 20);
	say_result("livepatch_commit", livepatch_commit(s));
	show_word(s, at + 20);
}

static void show_revert(LivePatchSystem *s, lp_addr at, const uint32_t before[WORDS])
{
	static const unsigned patched[] = {0, 4, 20, 24};
	uint32_t after[WORDS] = {0};

	say("\n5. Everything taken back\n");
	for (size_t i = 0; i < LP_ARRAY_SIZE(patched); i++)
		say_result("livepatch_revert", livepatch_revert(s, at + patched[i]));
	say("the memory is %s\n\n", read_words(s, at, after) && !memcmp(before, after, sizeof after)
					    ? "what it was"
					    : "changed by somebody else");
	livepatch_stats(s);
}

void livepatch_demo(LivePatchSystem *system)
{
	struct lp_err *err = lp_enter();
	uint32_t before[WORDS];
	lp_addr at;

	if (lp_leave(system, lp_system_check_enabled(system, err)))
		return;
	if (!system->space->concurrent || lp_txn_current(system) || !find_place(system, &at) ||
	    !read_words(system, at, before)) {
		lp_leave(system,
			 lp_fail(err, LP_EUSAGE,
				 "the demonstration wants %d free instructions in memory of the caller's, and no "
				 "open transaction",
				 WORDS));
		say("%s\n", livepatch_last_error()->text);
		return;
	}
	say("livepatch %s: a demonstration at " LP_ADDR "\n", livepatch_version(), at);
	show_one(system, at);
	show_branch(system, at);
	show_refusal(system, at);
	show_transaction(system, at);
	show_revert(system, at, before);
}
