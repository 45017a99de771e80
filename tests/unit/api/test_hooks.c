#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "livepatch.h"

/* What callers know of it is its name. */
#ifdef __clang__
#define ALONE __attribute__((noinline))
#else
#define ALONE __attribute__((noipa))
#endif

typedef int sum_fn(int a, int b);

sum_fn add, add_more, subtract;
int nine(void);

static volatile int base = 100;
static sum_fn *original, *original_more;

ALONE int add(int a, int b)
{
	return base + a + b;
}

ALONE int add_more(int a, int b)
{
	return base + 1000 + a + b;
}

ALONE int subtract(int a, int b)
{
	return base + a - b;
}

static int doubled(int a, int b)
{
	return 2 * original(a, b);
}

static int tripled(int a, int b)
{
	return 3 * original(a, b);
}

static int doubled_more(int a, int b)
{
	return 2 * original_more(a, b);
}

/* Around the replacement: whoever hooks it makes a chain. */
static sum_fn *before_chain;
static int one_more(int a, int b)
{
	return 1 + before_chain(a, b);
}

#define assert_done(call)                                                                                          \
	do {                                                                                                       \
		int rc_ = (call);                                                                                  \
		if (rc_ < 0)                                                                                       \
			fail_msg("%s: %s: %s", #call, livepatch_last_error()->name, livepatch_last_error()->text); \
	} while (0)
#define assert_refused(call, reason)                                                                      \
	do {                                                                                              \
		assert_int_equal((call), -1);                                                             \
		if (strcmp(livepatch_last_error()->name, reason) != 0)                                    \
			fail_msg("%s: %s instead of %s: %s", #call, livepatch_last_error()->name, reason, \
				 livepatch_last_error()->text);                                           \
	} while (0)

static void *data(sum_fn *fn)
{
	return (void *)(uintptr_t)fn;
}

static int hook(sum_fn *fn, sum_fn *replacement, sum_fn **kept)
{
	return livepatch_hook(data(fn), data(replacement), (void **)(uintptr_t)kept);
}

static int unhook(sum_fn *fn)
{
	return livepatch_unhook(data(fn));
}

static void a_hook_sends_calls_elsewhere_and_what_was_can_be_called(void **state)
{
	assert_done(hook(add, doubled, &original));
	assert_int_equal(add(10, 2), 224);
	assert_int_equal(original(10, 2), 112);
	assert_done(unhook(add));
	assert_int_equal(add(10, 2), 112);
}

static void what_was_can_be_called_when_the_hook_has_gone(void **state)
{
	assert_done(hook(add, doubled, &original));
	sum_fn *kept = original;
	assert_done(unhook(add));
	assert_done(hook(add_more, doubled_more, &original_more));
	assert_done(hook(subtract, tripled, &original));
	assert_int_equal(kept(10, 2), 112);
	assert_int_equal(add_more(10, 2), 2224);
	assert_done(unhook(subtract));
	assert_done(unhook(add_more));
	assert_done(hook(add, doubled, &original));
	assert_ptr_equal(data(original), data(kept));
	assert_done(unhook(add));
}

static void a_hook_needs_no_original(void **state)
{
	assert_done(livepatch_hook(data(add), data(subtract), NULL));
	assert_int_equal(add(10, 2), 108);
	assert_done(unhook(add));
}

static void a_function_of_the_program_takes_the_place_of_another(void **state)
{
	LivePatchSystem *self = livepatch_init_self();
	assert_done(livepatch_insert_func(self, (uintptr_t)data(add), data(subtract), "Less is more"));
	assert_int_equal(add(10, 2), 108);
	assert_done(livepatch_revert(self, (uintptr_t)data(add)));
	assert_int_equal(add(10, 2), 112);
	livepatch_cleanup(self);
}

static int load_script(LivePatchSystem *self, const char *text)
{
	char path[] = "/tmp/test-hooks-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	int rc = livepatch_load_from_file(self, path);
	unlink(path);
	if (rc < 0)
		print_message("%s\n", livepatch_last_error()->text);
	return rc;
}

static void a_script_redirects_and_is_told_what_the_program_does_by_itself(void **state)
{
	LivePatchSystem *self = livepatch_init_self();
	assert_int_equal(load_script(self, "jmp add_more subtract\n"), 1);
	assert_int_equal(add_more(10, 2), 108);
	assert_done(livepatch_revert(self, (uintptr_t)data(add_more)));
	assert_refused(load_script(self, "jmp add_more subtract\ndl foo foo.so\n"), "usage");
	assert_non_null(
		strstr(livepatch_last_error()->text, ":2:1: `dl` is for other processes; in the own one, load"));
	assert_refused(load_script(self, "new foo 16\n"), "usage");
	assert_non_null(strstr(livepatch_last_error()->text, "allocate the memory in the program"));
	assert_refused(load_script(self, "got strlen add_more\n"), "usage");
	assert_non_null(strstr(livepatch_last_error()->text, "with `jmp`"));
	assert_int_equal(add_more(10, 2), 1112);
	livepatch_cleanup(self);
}

/* As another library would, that knows nothing of us. */
static void write_over(void *at, const void *bytes, size_t len)
{
	FILE *memory = fopen("/proc/self/mem", "r+e");
	assert_non_null(memory);
	setbuf(memory, NULL);
	assert_int_equal(fseek(memory, (long)(uintptr_t)at, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, memory), len);
	fclose(memory);
	__builtin___clear_cache((char *)at, (char *)at + len);
}

static void a_hook_that_somebody_wrote_over_is_forgotten_and_the_function_hooked_again(void **state)
{
	LivePatchSystem *self = livepatch_init_self();
	uint8_t was[16];
	memcpy(was, data(add), sizeof was);
	assert_done(hook(add, doubled, &original));
	sum_fn *kept = original;
	assert_refused(livepatch_forget(self, (uintptr_t)data(add)), "usage");
	write_over(data(add), was, sizeof was);
	assert_refused(unhook(add), "memory-changed");
	assert_done(livepatch_forget(self, (uintptr_t)data(add)));
	assert_int_equal(add(10, 2), 112);
	assert_int_equal(kept(10, 2), 112);
	assert_done(hook(add, doubled, &original));
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
	assert_int_equal(add(10, 2), 112);
	livepatch_cleanup(self);
}

static void a_function_has_one_hook(void **state)
{
	sum_fn *other = subtract;
	assert_done(hook(add, doubled, &original));
	assert_refused(hook(add, tripled, &other), "hooked");
	assert_ptr_equal(data(other), data(subtract));
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
	assert_refused(unhook(add), "no-such-patch");
	assert_refused(livepatch_rehook(data(add), data(tripled)), "no-such-patch");
}

static void what_is_no_function_is_refused(void **state)
{
	static int variable;
	void *kept = &variable;
	assert_int_equal(livepatch_hook(&variable, data(doubled), &kept), -1);
	assert_ptr_equal(kept, &variable);
	assert_int_equal(livepatch_hook((void *)(uintptr_t)64, data(doubled), &kept), -1);
	assert_refused(livepatch_hook(NULL, data(doubled), &kept), "usage");
	assert_refused(livepatch_hook(data(add), NULL, &kept), "usage");
}

static void hooks_of_replacements_make_a_chain(void **state)
{
	assert_done(hook(add, doubled, &original));
	assert_done(hook(doubled, one_more, &before_chain));
	assert_int_equal(add(10, 2), 225);
	assert_done(unhook(doubled));
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
}

static void another_replacement_takes_over(void **state)
{
	assert_done(hook(add, doubled, &original));
	sum_fn *kept = original;
	assert_done(livepatch_rehook(data(add), data(tripled)));
	assert_int_equal(add(10, 2), 336);
	assert_int_equal(kept(10, 2), 112);
	assert_done(unhook(add));
	assert_int_equal(add(10, 2), 112);
}

/* ---- changes from within ---- */

static int within; /* what the call from within said */

static int once(int a, int b)
{
	within = unhook(add);
	return 2 * original(a, b);
}

static void a_replacement_can_take_itself_away(void **state)
{
	for (int i = 0; i < 100; i++) {
		assert_done(hook(add, once, &original));
		assert_int_equal(add(10, 2), 224);
		assert_done(within);
		assert_int_equal(add(10, 2), 112);
	}
}

static int hooks_another(int a, int b)
{
	within = hook(add_more, doubled_more, &original_more);
	return original(a, b);
}

static int gives_way(int a, int b)
{
	within = livepatch_rehook(data(add), data(doubled));
	return original(a, b);
}

static void a_replacement_can_hook_others_and_give_way(void **state)
{
	assert_done(hook(add, hooks_another, &original));
	assert_int_equal(add(10, 2), 112);
	assert_done(within);
	assert_int_equal(add_more(10, 2), 2224);
	add(10, 2);
	assert_int_equal(within, -1);
	assert_done(livepatch_rehook(data(add), data(gives_way)));
	assert_int_equal(add(10, 2), 112);
	assert_done(within);
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
	assert_done(unhook(add_more));
}

/* ---- transactions ---- */

static LivePatchSystem *self;

static int open_self(void **state)
{
	self = livepatch_init_self();
	return self ? 0 : -1;
}

static int close_self(void **state)
{
	livepatch_cleanup(self);
	return 0;
}

static void in_a_transaction_hooks_come_together(void **state)
{
	assert_done(livepatch_begin(self));
	assert_done(hook(add, doubled, &original));
	assert_done(hook(add_more, doubled_more, &original_more));
	assert_int_equal(original(10, 2), 112);
	assert_int_equal(original_more(10, 2), 1112);
	assert_int_equal(add(10, 2), 112);
	assert_done(livepatch_commit(self));
	assert_int_equal(add(10, 2), 224);
	assert_int_equal(add_more(10, 2), 2224);
	assert_done(livepatch_begin(self));
	assert_done(unhook(add));
	assert_done(unhook(add_more));
	assert_int_equal(add(10, 2), 224);
	assert_done(livepatch_commit(self));
	assert_int_equal(add(10, 2), 112);
	assert_int_equal(add_more(10, 2), 1112);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
	assert_done(livepatch_begin(self));
	assert_done(hook(add, doubled, &original));
	assert_refused(hook(add, tripled, &original), "hooked");
	assert_done(livepatch_abort(self));
	assert_int_equal(add(10, 2), 112);
	assert_done(hook(add, doubled, &original));
	assert_done(livepatch_begin(self));
	assert_done(livepatch_rehook(data(add), data(tripled)));
	assert_done(unhook(add));
	assert_done(livepatch_abort(self));
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
}

static void a_hook_of_the_same_transaction_can_be_changed_and_taken_back(void **state)
{
	assert_done(livepatch_begin(self));
	assert_done(hook(add, doubled, &original));
	assert_done(livepatch_rehook(data(add), data(tripled)));
	assert_done(hook(add_more, doubled_more, &original_more));
	assert_done(unhook(add_more));
	assert_done(livepatch_commit(self));
	assert_int_equal(add(10, 2), 336);
	assert_int_equal(add_more(10, 2), 1112);
	assert_done(unhook(add));
}

static void a_function_is_hooked_anew_in_the_transaction_that_unhooks_it(void **state)
{
	assert_done(hook(add, doubled, &original));
	assert_done(livepatch_begin(self));
	assert_done(unhook(add));
	assert_done(hook(add, tripled, &original));
	assert_done(livepatch_commit(self));
	assert_int_equal(add(10, 2), 336);
	assert_done(unhook(add));
	assert_int_equal(add(10, 2), 112);
}

static void a_transaction_that_cannot_be_changes_nothing(void **state)
{
	assert_done(hook(add, doubled, &original));
	assert_done(livepatch_begin(self));
	assert_done(hook(add_more, doubled_more, &original_more));
	assert_done(livepatch_rehook(data(add), data(tripled)));
	assert_done(unhook(add));
	assert_refused(livepatch_commit(self), "no-such-patch");
	assert_int_equal(add(10, 2), 224);
	assert_int_equal(add_more(10, 2), 1112);
	assert_done(unhook(add));
}

/* ---- hooks are patches ---- */

struct found {
	size_t nr;
	livepatch_info last;
	uint8_t original[16], patched[16];
};

static int find(const livepatch_info *info, void *arg)
{
	struct found *f = arg;
	f->nr++;
	f->last = *info;
	return 0;
}

static void a_hook_is_a_patch_of_the_system(void **state)
{
	struct found f = {0};
	livepatch_counts counts;
	assert_done(hook(add, doubled, &original));
	assert_int_equal(livepatch_foreach(self, find, &f), 0);
	assert_int_equal(f.nr, 1);
	assert_int_equal(f.last.addr, (uintptr_t)add);
	assert_int_equal(f.last.type, PATCH_FUNCTION_REDIRECT);
	assert_int_equal(f.last.target, (uintptr_t)doubled);
	assert_done(livepatch_rehook(data(add), data(tripled)));
	assert_int_equal(livepatch_foreach(self, find, &f), 0);
	assert_int_equal(f.last.target, (uintptr_t)tripled);
	assert_done(livepatch_get_counts(self, &counts));
	assert_int_equal(counts.active, 1);
	assert_done(livepatch_revert(self, (uintptr_t)add));
	assert_int_equal(add(10, 2), 112);
	assert_refused(unhook(add), "no-such-patch");
}

static void a_redirect_is_no_hook_less(void **state)
{
	assert_done(livepatch_redirect_function(self, (uintptr_t)add, (uintptr_t)subtract, "minus"));
	assert_int_equal(add(10, 2), 108);
	assert_refused(hook(add, doubled, &original), "hooked");
	assert_int_equal(livepatch_revert_all(self), 1);
	assert_int_equal(add(10, 2), 112);
}

static void hooks_outlive_whoever_asked_for_the_system(void **state)
{
	LivePatchSystem *again = livepatch_init_self();
	assert_ptr_equal(again, self);
	livepatch_set_system(self);
	assert_done(hook(add, doubled, &original));
	livepatch_cleanup(again);
	assert_ptr_equal(livepatch_get_system(), self);
	livepatch_cleanup(self);
	assert_null(livepatch_get_system());
	assert_int_equal(add(10, 2), 224);
	assert_done(unhook(add));
	assert_int_equal(add(10, 2), 112);
	self = livepatch_init_self();
}

static void while_disabled_hooks_go_but_do_not_come(void **state)
{
	assert_done(hook(add, doubled, &original));
	livepatch_set_enabled(self, 0);
	assert_refused(hook(add_more, doubled_more, &original_more), "disabled");
	assert_refused(livepatch_rehook(data(add), data(tripled)), "disabled");
	assert_done(unhook(add));
	livepatch_set_enabled(self, 1);
	assert_int_equal(add(10, 2), 112);
}

/* ---- other patches of the own process ---- */

#ifdef __x86_64__
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,@function\n"
	"nine: mov $9,%eax\n ret\n.size nine,.-nine\n"
	".skip 64,0xcc\n");
static const uint8_t load_seven[] = {0xb8, 7, 0, 0, 0};	  /* mov $7,%eax */
static const uint8_t add_to_first[] = {0x8d, 0x7f, 0x64}; /* lea 100(%rdi),%edi */
static const uint8_t return_five[] = {0xb8, 5, 0, 0, 0, 0xc3};
#define IN_THE_MIDDLE 1
#else
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,%function\n"
	"nine: mov w0,#9\n ret\n.size nine,.-nine\n"
	".skip 64\n");
static const uint8_t load_seven[] = {0xe0, 0x00, 0x80, 0x52};			       /* mov w0,#7 */
static const uint8_t add_to_first[] = {0x00, 0x90, 0x01, 0x11};			       /* add w0,w0,#100 */
static const uint8_t return_five[] = {0xa0, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6}; /* mov w0,#5; ret */
#define IN_THE_MIDDLE 2
#endif

#ifdef __x86_64__
/* Other functions go on in the middle of each. */
int joined(int a), joins(int a), joined_far(int a), joins_far(int a);
__asm__(".text\n"
	".macro pair fn, other, between\n"
	" .p2align 4\n .globl \\other\n .type \\other,@function\n"
	" \\other: lea 1(%rdi),%eax\n jmp \\fn\\()_body\n .size \\other,.-\\other\n"
	" .skip \\between,0xcc\n .p2align 4\n .globl \\fn\n .type \\fn,@function\n"
	" \\fn: mov %edi,%eax\n \\fn\\()_body: add %edi,%eax\n nop\n nop\n nop\n ret\n .size \\fn,.-\\fn\n"
	".endm\n"
	"pair joined, joins, 0\n"
	"pair joined_far, joins_far, 512\n");

static const uint8_t same_places[] = {0x31, 0xc0, 0x01, 0xff, 0x90}; /* xor %eax,%eax; add %edi,%edi; nop */

static void patch_joined(LivePatchSystem *system, uint64_t at)
{
	static const uint8_t nothing[] = {0x90};

	assert_refused(livepatch_apply_code(system, at, load_seven, sizeof load_seven, NULL, ""), "branched-into");
	assert_refused(livepatch_insert(system, at, nothing, sizeof nothing, ""), "branched-into");
	assert_refused(livepatch_create_branch(system, at, (uintptr_t)nine, ""), "branched-into");
	assert_done(livepatch_apply_code(system, at, same_places, sizeof same_places, NULL, ""));
	assert_done(livepatch_revert(system, at));
	assert_done(livepatch_insert(system, at + 2, nothing, sizeof nothing, ""));
	assert_done(livepatch_revert(system, at + 2));
}

static void what_other_functions_jump_to_stays_an_instruction(void **state)
{
	patch_joined(self, (uintptr_t)joined);
	patch_joined(self, (uintptr_t)joined_far);
	assert_int_equal(joins(7), 15);
	assert_int_equal(joins_far(7), 15);
	assert_int_equal(joined(7), 14);
	assert_int_equal(joined_far(7), 14);
}

/* The same program, at the same addresses. */
static pid_t make_twin(int *leash)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	pid_t twin = fork();
	if (!twin) {
		char byte;

		close(ends[1]);
		while (read(ends[0], &byte, 1) > 0)
			;
		_exit(joins(7) == 15 && joins_far(7) == 15 && joined(7) == 14 && joined_far(7) == 14 ? 0 : 1);
	}
	close(ends[0]);
	*leash = ends[1];
	return twin;
}

static void what_other_functions_jump_to_stays_an_instruction_in_another_process(void **state)
{
	int leash, status;
	pid_t twin = make_twin(&leash);
	LivePatchSystem *system = livepatch_init_process(twin);

	if (!system)
		fail_msg("%s", livepatch_last_error()->text);
	assert_refused(livepatch_apply_code(system, (uintptr_t)joined, load_seven, sizeof load_seven, NULL, ""),
		       "branched-into");
	assert_refused(livepatch_create_branch(system, (uintptr_t)joined_far, (uintptr_t)nine, ""), "branched-into");
	assert_done(livepatch_apply_code(system, (uintptr_t)joined, same_places, sizeof same_places, NULL, ""));
	assert_done(livepatch_revert(system, (uintptr_t)joined));
	livepatch_cleanup(system);
	close(leash);
	assert_int_equal(waitpid(twin, &status, 0), twin);
	assert_int_equal(status, 0);
}
static void a_process_that_has_gone_is_said_to_have(void **state)
{
	pid_t child = fork();
	uint64_t at = (uintptr_t)nine;

	if (!child)
		for (;;)
			pause();
	LivePatchSystem *system = livepatch_init_process(child);
	if (!system)
		fail_msg("%s", livepatch_last_error()->text);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_refused(livepatch_create_branch(system, at, (uintptr_t)add, ""), "target-lost");
	assert_refused(livepatch_create_branch(system, (uintptr_t)&base, at, ""), "target-lost");
	assert_refused(livepatch_create_nop(system, (uintptr_t)&base, ""), "target-lost");
	assert_refused(livepatch_create_nop(system, at, ""), "target-lost");
	assert_refused(livepatch_insert(system, at, load_seven, sizeof load_seven, ""), "target-lost");
	assert_refused(livepatch_apply_code(system, at, load_seven, sizeof load_seven, NULL, ""), "target-lost");
	assert_refused(livepatch_redirect_function(system, at, (uintptr_t)add, ""), "target-lost");
	assert_refused(livepatch_new_func(system, NULL, return_five, sizeof return_five, &at, ""), "target-lost");
	livepatch_cleanup(system);
}

#endif

static void instructions_are_replaced(void **state)
{
	uint64_t at = (uintptr_t)nine;
	assert_done(livepatch_apply_code(self, at, load_seven, sizeof load_seven, NULL, "seven"));
	assert_int_equal(nine(), 7);
	assert_done(livepatch_revert(self, at));
	assert_int_equal(nine(), 9);
	assert_int_equal(
		livepatch_apply_code(self, at + IN_THE_MIDDLE, load_seven, sizeof load_seven, NULL, "nonsense"), -1);
	assert_int_equal(nine(), 9);
}

static void code_is_inserted(void **state)
{
	uint64_t at = (uintptr_t)add;
	assert_done(livepatch_insert(self, at, add_to_first, sizeof add_to_first, "a hundred more"));
	assert_int_equal(add(10, 2), 212);
	assert_done(livepatch_revert(self, at));
	assert_int_equal(add(10, 2), 112);
}

static void a_new_function_is_called_by_way_of_an_old_one(void **state)
{
	uint64_t at;
	assert_done(livepatch_new_func(self, "five", return_five, sizeof return_five, &at, ""));
	assert_done(livepatch_redirect_function(self, (uintptr_t)add, at, ""));
	assert_int_equal(add(10, 2), 5);
	assert_int_equal(livepatch_revert_all(self), 2);
	assert_int_equal(add(10, 2), 112);
}

/* ---- threads, forks, libraries ---- */

#define THREADS 4
#define ROUNDS 300

static atomic_int stop, nonsense;

static void *call(void *arg)
{
	while (!stop) {
		int sum = add(10, 2);
		if (sum != 112 && sum != 224 && sum != 336)
			nonsense = sum;
	}
	return NULL;
}

static void *toggle(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		if (hook(add_more, doubled_more, &original_more) || unhook(add_more))
			return arg;
	return NULL;
}

static void hooks_come_and_go_under_threads_that_call(void **state)
{
	pthread_t callers[THREADS], other;
	void *failed;
	stop = 0;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&callers[i], NULL, call, NULL), 0);
	assert_int_equal(pthread_create(&other, NULL, toggle, (void *)state), 0);
	for (int i = 0; i < ROUNDS; i++) {
		assert_done(hook(add, doubled, &original));
		assert_done(livepatch_rehook(data(add), data(tripled)));
		assert_done(unhook(add));
	}
	assert_int_equal(pthread_join(other, &failed), 0);
	assert_null(failed);
	stop = 1;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(callers[i], NULL);
	assert_int_equal(nonsense, 0);
	assert_int_equal(add(10, 2), 112);
}

static atomic_int signals, wrong_sums;

static void call_in_a_handler(int sig)
{
	int sum = add(10, 2);

	signals++;
	wrong_sums += sum != 112 && sum != 224;
}

/* One after the other: each when the one before has been handled. */
static void *send_signals(void *to)
{
	while (!stop) {
		int handled = signals;

		pthread_kill(*(pthread_t *)to, SIGUSR1);
		while (!stop && signals == handled)
			sched_yield();
	}
	return NULL;
}

/* Of the thread that hooks: its handlers run whenever they may. */
static void handlers_of_signals_call_what_is_being_hooked(void **state)
{
	struct sigaction act = {.sa_handler = call_in_a_handler, .sa_flags = SA_RESTART}, before;
	pthread_t me = pthread_self(), sender;

	stop = 0;
	assert_int_equal(sigaction(SIGUSR1, &act, &before), 0);
	assert_int_equal(pthread_create(&sender, NULL, send_signals, &me), 0);
	for (int i = 0; i < ROUNDS / 6 || !signals; i++) {
		assert_done(hook(add, doubled, &original));
		assert_done(unhook(add));
	}
	stop = 1;
	pthread_join(sender, NULL);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_int_equal(wrong_sums, 0);
	assert_int_equal(add(10, 2), 112);
}

static atomic_int locked;

/* A transaction is this thread's: no lock is held between its calls. */
static void *hook_elsewhere(void *arg)
{
	locked = hook(add_more, doubled_more, &original_more) ? -1 : add_more(10, 2);
	return NULL;
}

static void a_transaction_is_its_threads_own(void **state)
{
	pthread_t t;
	assert_done(livepatch_begin(self));
	assert_done(hook(add, doubled, &original));
	assert_int_equal(pthread_create(&t, NULL, hook_elsewhere, NULL), 0);
	pthread_join(t, NULL);
	assert_int_equal(locked, 2224);
	assert_int_equal(add(10, 2), 112);
	assert_done(livepatch_commit(self));
	assert_int_equal(livepatch_revert_all(self), 2);
}

static void a_child_of_fork_has_hooks_of_its_own(void **state)
{
	int status;
	pthread_t other;
	void *failed;
	assert_done(hook(add, doubled, &original));
	assert_int_equal(pthread_create(&other, NULL, toggle, (void *)state), 0);
	for (int i = 0; i < 20; i++) {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0)
			_exit(add(10, 2) == 224 && !unhook(add) && add(10, 2) == 112 &&
					      !hook(subtract, tripled, &original) && subtract(10, 2) == 324
				      ? 0
				      : 1);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		assert_int_equal(add(10, 2), 224);
		assert_int_equal(subtract(10, 2), 108);
	}
	assert_int_equal(pthread_join(other, &failed), 0);
	assert_null(failed);
	assert_done(unhook(add));
}

#ifdef __x86_64__
#define FORKS 200
#else
#define FORKS 20 /* each takes an emulator its time */
#endif
#define CHILD_SECONDS 60

/* All that a child may find somebody in the middle of: transactions, files, hooks, names of functions. */
static void *keep_busy(void *path)
{
	while (!stop) {
		livepatch_begin(self);
		livepatch_abort(self);
		livepatch_reload_patches(self, path, 0);
		if (hook(add_more, doubled_more, &original_more) || unhook(add_more))
			return path;
	}
	return NULL;
}

static int use_all(const char *path)
{
	alarm(CHILD_SECONDS);
	if (livepatch_begin(self) || hook(subtract, tripled, &original) || livepatch_commit(self))
		return 1;
	if (subtract(10, 2) != 324 || unhook(subtract))
		return 2;
	return livepatch_reload_patches(self, path, 0) < 0 || livepatch_revert_all(self) < 0 ? 3 : 0;
}

static void a_child_of_fork_finds_nobody_in_the_middle_of_anything(void **state)
{
	char path[32];
	pthread_t others[2];
	void *failed;
	int file = memfd_create("patches", 0);
	assert_true(file >= 0);
	assert_int_equal(write(file, "# none\n", 7), 7);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	stop = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&others[i], NULL, i ? keep_busy : call, path), 0);
	for (int i = 0, status; i < FORKS; i++) {
		fflush(NULL);
		pid_t child = fork();
		if (child == 0)
			_exit(use_all(path));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	stop = 1;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(others[i], &failed), 0);
		assert_null(failed);
	}
	close(file);
	assert_int_equal(nonsense, 0);
}

static atomic_int stop_toggling;

static void *toggle_until_loaded(void *arg)
{
	do {
		if (hook(add, doubled, &original) || unhook(add))
			return arg;
	} while (!stop_toggling);
	return NULL;
}

/* The library's constructor hooks a function itself, with the dynamic linker's lock held. */
static void a_constructor_may_hook_while_others_do(void **state)
{
	pthread_t other;
	void *failed;
	stop_toggling = 0;
	assert_int_equal(pthread_create(&other, NULL, toggle_until_loaded, (void *)state), 0);
	for (int i = 0; i < 50; i++) {
		void *library = dlopen(HOOKING_LIBRARY, RTLD_NOW);
		if (!library)
			fail_msg("%s", dlerror());
		int *rc = dlsym(library, "constructor_said");
		assert_non_null(rc);
		assert_int_equal(*rc, 0);
		assert_int_equal(add_more(10, 2), 7);
		assert_int_equal(dlclose(library), 0);
		assert_int_equal(add_more(10, 2), 1112);
	}
	stop_toggling = 1;
	assert_int_equal(pthread_join(other, &failed), 0);
	assert_null(failed);
}

static void *open_library(sum_fn **fn)
{
	void *library = dlopen(HOOKING_LIBRARY, RTLD_NOW);

	if (!library)
		fail_msg("%s", dlerror());
	*fn = (sum_fn *)(uintptr_t)dlsym(library, "library_sum");
	assert_non_null(data(*fn));
	return library;
}

static void a_library_goes_with_the_hooks_on_it(void **state)
{
	sum_fn *fn, *again;
	void *library = open_library(&fn);
	uint64_t at = (uintptr_t)fn;

	assert_done(hook(fn, doubled, &original));
	assert_int_equal(fn(10, 2), 26);
	assert_int_equal(dlclose(library), 0);
	assert_refused(unhook(fn), "unmapped");
	assert_done(livepatch_forget(self, at));
	assert_refused(hook(fn, doubled, &original), "unmapped");
	library = open_library(&again);
	assert_int_equal(again(10, 2), 13);
	assert_done(hook(again, doubled, &original));
	assert_int_equal(again(10, 2), 26);
	assert_done(unhook(again));
	assert_int_equal(again(10, 2), 13);
	assert_int_equal(dlclose(library), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hook_sends_calls_elsewhere_and_what_was_can_be_called),
		cmocka_unit_test(what_was_can_be_called_when_the_hook_has_gone),
		cmocka_unit_test(a_hook_needs_no_original),
		cmocka_unit_test(a_function_of_the_program_takes_the_place_of_another),
		cmocka_unit_test(a_script_redirects_and_is_told_what_the_program_does_by_itself),
		cmocka_unit_test(a_hook_that_somebody_wrote_over_is_forgotten_and_the_function_hooked_again),
		cmocka_unit_test(a_function_has_one_hook),
		cmocka_unit_test(what_is_no_function_is_refused),
		cmocka_unit_test(hooks_of_replacements_make_a_chain),
		cmocka_unit_test(another_replacement_takes_over),
		cmocka_unit_test(a_replacement_can_take_itself_away),
		cmocka_unit_test(a_replacement_can_hook_others_and_give_way),
		cmocka_unit_test_setup_teardown(in_a_transaction_hooks_come_together, open_self, close_self),
		cmocka_unit_test_setup_teardown(an_aborted_transaction_leaves_nothing, open_self, close_self),
		cmocka_unit_test_setup_teardown(a_hook_of_the_same_transaction_can_be_changed_and_taken_back, open_self,
						close_self),
		cmocka_unit_test_setup_teardown(a_function_is_hooked_anew_in_the_transaction_that_unhooks_it, open_self,
						close_self),
		cmocka_unit_test_setup_teardown(a_transaction_that_cannot_be_changes_nothing, open_self, close_self),
		cmocka_unit_test_setup_teardown(a_hook_is_a_patch_of_the_system, open_self, close_self),
		cmocka_unit_test_setup_teardown(a_redirect_is_no_hook_less, open_self, close_self),
		cmocka_unit_test_setup_teardown(hooks_outlive_whoever_asked_for_the_system, open_self, close_self),
		cmocka_unit_test_setup_teardown(while_disabled_hooks_go_but_do_not_come, open_self, close_self),
		cmocka_unit_test_setup_teardown(instructions_are_replaced, open_self, close_self),
		cmocka_unit_test_setup_teardown(code_is_inserted, open_self, close_self),
#ifdef __x86_64__
		cmocka_unit_test_setup_teardown(what_other_functions_jump_to_stays_an_instruction, open_self,
						close_self),
		cmocka_unit_test(what_other_functions_jump_to_stays_an_instruction_in_another_process),
		cmocka_unit_test(a_process_that_has_gone_is_said_to_have),
#endif
		cmocka_unit_test_setup_teardown(a_new_function_is_called_by_way_of_an_old_one, open_self, close_self),
		cmocka_unit_test(hooks_come_and_go_under_threads_that_call),
		cmocka_unit_test(handlers_of_signals_call_what_is_being_hooked),
		cmocka_unit_test_setup_teardown(a_library_goes_with_the_hooks_on_it, open_self, close_self),
		cmocka_unit_test_setup_teardown(a_transaction_is_its_threads_own, open_self, close_self),
		cmocka_unit_test(a_child_of_fork_has_hooks_of_its_own),
		cmocka_unit_test(a_child_of_fork_finds_nobody_in_the_middle_of_anything),
		cmocka_unit_test(a_constructor_may_hook_while_others_do),
	};
	return cmocka_run_group_tests_name("api hooks", tests, NULL, NULL);
}
