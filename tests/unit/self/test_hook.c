#include "own.h"

#include <errno.h>
#include <link.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "self/arch/arch.h"

static int (*volatile original)(int);

static int thousand_more(int x)
{
	return original(x) + 1000;
}

static int two_thousand_more(int x)
{
	return original(x) + 2000;
}

static struct lp_self_hook prepared(int (*fn)(int))
{
	struct lp_self_hook h = {.fn = FN(fn), .replacement = FN(thousand_more)};
	struct lp_err err = {0};

	if (lp_self_prepare(&h, &err))
		fail_msg("%s", err.text);
	original = (int (*)(int))(uintptr_t)h.original;
	return h;
}

#define COMMIT(h) lp_self_commit((struct lp_self_hook *[]){h}, 1, NULL)
#define REMOVE(h) lp_self_remove((struct lp_self_hook *[]){h}, 1, NULL)

static void every_victim_can_be_hooked_called_through_and_let_go(void **state)
{
#define FUNCTION(name) {#name, victim_##name},
	static const struct {
		const char *name;
		int (*fn)(int);
	} all[] = {SELF_VICTIMS(FUNCTION)};

	for (size_t i = 0; i < LP_ARRAY_SIZE(all); i++) {
		struct lp_self_hook h = prepared(all[i].fn);
		uint8_t before[64];

		memcpy(before, (void *)(uintptr_t)h.fn, sizeof before);
		assert_int_equal(original(7), 14);
		assert_int_equal(all[i].fn(7), 14);
		assert_int_equal(COMMIT(&h), 0);
		assert_int_equal(all[i].fn(7), 1014);
		assert_int_equal(all[i].fn(0), 1000);
		assert_int_equal(lp_self_retarget(&h, FN(two_thousand_more), NULL), 0);
		assert_int_equal(all[i].fn(7), 2014);
		assert_int_equal(REMOVE(&h), 0);
		assert_int_equal(all[i].fn(7), 14);
		assert_memory_equal(before, (void *)(uintptr_t)h.fn, sizeof before);
		lp_self_release(&h);
	}
}

static void a_function_is_hooked_once(void **state)
{
	struct lp_self_hook h = prepared(victim_push),
			    again = {.fn = FN(victim_push), .replacement = FN(thousand_more)};

	assert_int_equal(lp_self_prepare(&again, NULL), -LP_EHOOKED);
	assert_int_equal(COMMIT(&h), 0);
	assert_int_equal(COMMIT(&h), -LP_EHOOKED);
	assert_int_equal(REMOVE(&h), 0);
	assert_int_equal(REMOVE(&h), -LP_ENOPATCH);
	lp_self_release(&h);
	assert_int_equal(lp_self_prepare(&again, NULL), 0);
	lp_self_release(&again);
}

static void hooks_are_installed_together_or_not_at_all(void **state)
{
	struct lp_self_hook push = prepared(victim_push), line = prepared(victim_line);
	struct lp_self_hook *both[] = {&push, &line};

	assert_int_equal(COMMIT(&line), 0);
	assert_int_equal(lp_self_commit(both, 2, NULL), -LP_EHOOKED);
	assert_int_equal(victim_push(1), 2);
	assert_int_equal(REMOVE(&line), 0);
	assert_int_equal(lp_self_commit(both, 2, NULL), 0);
	assert_int_equal(lp_self_remove(both, 2, NULL), 0);
	assert_int_equal(victim_push(1), 2);
	lp_self_release(&push);
	lp_self_release(&line);
}

static int (*volatile pushed)(int), (*volatile lined)(int);

static int push_more(int x)
{
	return pushed(x) + 1000;
}

static int line_more(int x)
{
	return lined(x) + 2000;
}

static int zero(int x)
{
	return 0;
}

static void hooks_go_different_ways_together(void **state)
{
	struct lp_self_hook push = prepared(victim_push), line = prepared(victim_line),
			    landing = prepared(victim_landing);
	struct lp_self_switch in[] = {{&push, FN(push_more)}, {&line, FN(line_more)}};
	struct lp_self_switch mixed[] = {{&push, 0}, {&line, FN(zero)}, {&landing, FN(zero)}};

	pushed = (int (*)(int))(uintptr_t)push.original;
	lined = (int (*)(int))(uintptr_t)line.original;
	assert_int_equal(lp_self_switch(in, 2, NULL), 0);
	assert_int_equal(victim_push(1), 1002);
	assert_int_equal(victim_line(1), 2002);
	assert_int_equal(lp_self_switch(mixed, 3, NULL), 0);
	assert_int_equal(victim_push(1), 2);
	assert_int_equal(victim_line(1), 0);
	assert_int_equal(victim_landing(1), 0);
	assert_int_equal(line.replacement, FN(zero));
	assert_int_equal(lp_self_switch((struct lp_self_switch[]){{&line, 0}, {&landing, 0}}, 2, NULL), 0);
	assert_int_equal(victim_line(1) + victim_landing(1), 4);
	lp_self_release(&push);
	lp_self_release(&line);
	lp_self_release(&landing);
}

/* Somebody else has written over the second: the first and the third stay what they were, and can go on. */
static void a_switch_that_fails_changes_nothing(void **state)
{
	struct lp_self_hook push = prepared(victim_push), line = prepared(victim_line),
			    landing = prepared(victim_landing);
	struct lp_self_switch all[] = {{&push, FN(zero)}, {&line, 0}, {&landing, FN(zero)}};
	struct lp_self_edit broken[2], edit;
	uint8_t other[16];

	original = (int (*)(int))(uintptr_t)push.original;
	assert_int_equal(COMMIT(&push), 0);
	assert_int_equal(COMMIT(&line), 0);
	assert_true(lp_self_hook_edits(&line, broken) > 0);
	edit = broken[0];
	memcpy(other, edit.new_bytes, edit.len);
	other[edit.len - 1] ^= 0xff;
	edit.old_bytes = edit.new_bytes;
	edit.new_bytes = other;
	assert_int_equal(lp_self_poke(&edit, 1, NULL), 0);
	assert_int_equal(lp_self_switch(all, 3, NULL), -LP_ECHANGED);
	assert_int_equal(victim_push(1), 1002);
	assert_int_equal(victim_landing(1), 2);
	assert_int_equal(push.replacement, FN(thousand_more));
	edit.new_bytes = edit.old_bytes;
	edit.old_bytes = other;
	assert_int_equal(lp_self_poke(&edit, 1, NULL), 0);
	assert_int_equal(lp_self_switch(all, 3, NULL), 0);
	assert_int_equal(victim_push(1), 0);
	assert_int_equal(victim_line(1), 2);
	assert_int_equal(victim_landing(1), 0);
	assert_int_equal(lp_self_switch((struct lp_self_switch[]){{&push, 0}, {&landing, 0}}, 2, NULL), 0);
	assert_int_equal(lp_self_switch((struct lp_self_switch[]){{&push, 0}}, 1, NULL), -LP_ENOPATCH);
	lp_self_release(&push);
	lp_self_release(&line);
	lp_self_release(&landing);
}

/* A jump to `dest` from where no direct jump reaches. */
static lp_addr far_jump(lp_addr dest, uint8_t **page)
{
	const struct lp_isa *isa = lp_self_isa();
	lp_addr wish = lp_align_down(dest > isa->reach * 4 ? dest - isa->reach * 3 : dest + isa->reach * 3, LP_PAGE);

	*page = mmap((void *)(uintptr_t)wish, LP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(*page, MAP_FAILED);
	isa->island(*page, addr_of(*page), dest);
	mprotect(*page, LP_PAGE, PROT_READ | PROT_EXEC);
	__builtin___clear_cache((char *)*page, (char *)*page + LP_PAGE);
	return addr_of(*page);
}

static void a_replacement_out_of_reach_is_reached_through_an_island(void **state)
{
	uint8_t *page;
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = far_jump(FN(thousand_more), &page)};
	uint64_t distance = h.fn > h.replacement ? h.fn - h.replacement : h.replacement - h.fn;

	assert_true(distance > lp_self_isa()->reach);
	assert_int_equal(lp_self_prepare(&h, NULL), 0);
	original = (int (*)(int))(uintptr_t)h.original;
	assert_int_equal(COMMIT(&h), 0);
	assert_int_equal(victim_push(4), 1008);
	assert_int_equal(lp_self_retarget(&h, FN(two_thousand_more), NULL), 0);
	assert_int_equal(victim_push(4), 2008);
	assert_int_equal(lp_self_retarget(&h, addr_of(page), NULL), 0);
	assert_int_equal(victim_push(4), 1008);
	assert_int_equal(REMOVE(&h), 0);
	lp_self_release(&h);
	munmap(page, LP_PAGE);
}

/* Where the jump of an installed hook leads. */
static lp_addr aim_of(const struct lp_self_hook *h)
{
	struct lp_self_edit edits[2];
	struct lp_insn in = {0};

	assert_int_equal(lp_self_hook_edits(h, edits), 1);
	const struct lp_self_edit *e = edits;
	for (size_t i = 0; i < e->len && !in.target_is_code; i += in.len)
		assert_true(lp_self_isa()->insn(e->new_bytes + i, e->len - i, e->at + i, &in));
	assert_true(in.target_is_code);
	return in.target;
}

/* A thread that a signal interrupts on an instruction, and that sleeps in the handler until it may go home. */
static struct {
	lp_addr at, home;
	sem_t arrived, go;
	pthread_t thread;
} stander;

/* The second signal is taken on the return from the first one's handler: before any instruction. */
static void send_there(int number, siginfo_t *info, void *uc)
{
	stander.home = lp_self_arch.pc(uc);
	lp_self_arch.set_pc(uc, stander.at);
	pthread_kill(pthread_self(), SIGUSR2);
}

static void sleep_there(int number, siginfo_t *info, void *uc)
{
	sem_post(&stander.arrived);
	while (sem_wait(&stander.go) < 0 && errno == EINTR)
		;
	lp_self_arch.set_pc(uc, stander.home);
}

static void *stand(void *arg)
{
	stack_t handlers;

	/* As in own.c: what a sanitizer's stacks for handlers are followed by is anything. */
	sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, &handlers);
	pthread_kill(pthread_self(), SIGUSR1);
	sigaltstack(&handlers, NULL);
	return NULL;
}

static void stand_at(lp_addr at)
{
	struct sigaction first = {.sa_sigaction = send_there, .sa_flags = SA_SIGINFO},
			 second = {.sa_sigaction = sleep_there, .sa_flags = SA_SIGINFO};

	sigaddset(&first.sa_mask, SIGUSR2);
	assert_int_equal(sigaction(SIGUSR1, &first, NULL) || sigaction(SIGUSR2, &second, NULL), 0);
	assert_int_equal(sem_init(&stander.arrived, 0, 0) || sem_init(&stander.go, 0, 0), 0);
	stander.at = at;
	assert_int_equal(pthread_create(&stander.thread, NULL, stand, NULL), 0);
	while (sem_wait(&stander.arrived) < 0)
		;
}

static void stand_no_more(void)
{
	sem_post(&stander.go);
	assert_int_equal(pthread_join(stander.thread, NULL), 0);
}

/* It has only the jump before it: whoever takes away what the jump leads to must hear of it. */
static void who_stands_on_an_island_is_seen_where_it_leads(void **state)
{
	uint8_t *page;
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = far_jump(FN(thousand_more), &page)};
	struct lp_range there = {addr_of(page), addr_of(page) + LP_PAGE},
			elsewhere = {FN(thousand_more), FN(thousand_more) + 1};
	bool inside;

	assert_int_equal(lp_self_prepare(&h, NULL), 0);
	assert_int_equal(COMMIT(&h), 0);
	stand_at(aim_of(&h));
	assert_int_equal(lp_self_look(&there, &inside, 1, NULL), 0);
	assert_true(inside);
	assert_int_equal(lp_self_look(&elsewhere, &inside, 1, NULL), 0);
	assert_false(inside);
	assert_int_equal(REMOVE(&h), 0);
	assert_int_equal(lp_self_look(&there, &inside, 1, NULL), 0);
	assert_true(inside);
	lp_self_release(&h);
	assert_int_equal(lp_self_look(&there, &inside, 1, NULL), 0);
	assert_true(inside);
	stand_no_more();
	assert_int_equal(lp_self_look(&there, &inside, 1, NULL), 0);
	assert_false(inside);
	munmap(page, LP_PAGE);
}

static void what_is_no_function_is_refused(void **state)
{
	static int data;
	struct lp_self_hook h = {.fn = addr_of(&data), .replacement = FN(thousand_more)};

	assert_int_equal(lp_self_prepare(&h, NULL), -LP_ENOTCODE);
	assert_null(h.site);
	h.fn = 0x1000;
	assert_int_equal(lp_self_prepare(&h, NULL), -LP_EUNMAPPED);
	lp_self_release(&h);
}

static void a_function_that_branches_into_its_beginning_is_refused(void **state)
{
	struct lp_self_hook h = {.fn = FN(victim_back), .replacement = FN(thousand_more)};

	if (lp_self_isa()->insn_align != 1)
		skip(); /* one instruction goes away: nothing leads into the middle of it */
	assert_int_equal(lp_self_prepare(&h, NULL), -LP_EBRANCHED);
}

/* ---- memory ---- */

/* Bytes of mappings with these rights that belong to no file. */
static size_t anonymous(const char *rights)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	size_t sum = 0;

	while (f && fgets(line, sizeof line, f)) {
		unsigned long start, end, inode;
		char r[8];

		if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &start, &end, r, &inode) == 4 && !strncmp(r, rights, 3) &&
		    !inode)
			sum += end - start;
	}
	if (f)
		fclose(f);
	return sum;
}

static bool any_writable_code(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	bool any = false;

	while (f && fgets(line, sizeof line, f))
		any = any || strstr(line, " rwxp ") || strstr(line, " -wxp ");
	if (f)
		fclose(f);
	return any;
}

static void memory_is_never_writable_and_executable_and_is_used_again(void **state)
{
	size_t before = 0;

	for (int i = 0; i < 300; i++) {
		struct lp_self_hook h = prepared(i % 2 ? victim_push : victim_line);

		assert_int_equal(COMMIT(&h), 0);
		assert_int_equal(REMOVE(&h), 0);
		lp_self_release(&h);
		if (i == 10)
			before = anonymous("r-x");
	}
	assert_int_equal(anonymous("r-x"), before);
	assert_false(any_writable_code());
}

/* ---- forks ---- */

static void a_child_hooks_itself_and_its_parent_does_not_notice(void **state)
{
	struct lp_self_hook h = prepared(victim_push);
	int status;
	pid_t child = fork();

	if (!child)
		_exit(COMMIT(&h) || victim_push(3) != 1006 || REMOVE(&h) || victim_push(3) != 6);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(victim_push(3), 6);
	assert_int_equal(COMMIT(&h), 0);
	child = fork();
	if (!child)
		_exit(victim_push(3) != 1006 || REMOVE(&h) || victim_push(3) != 6);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(victim_push(3), 1006);
	assert_int_equal(REMOVE(&h), 0);
	lp_self_release(&h);
}

/* ---- functions of libraries ---- */

static long a_fixed_answer(const char *s)
{
	return 4711;
}

static void a_function_of_the_c_library_can_be_hooked(void **state)
{
	long (*volatile parse)(const char *) = atol;
	struct lp_self_hook h = {.fn = FN(atol), .replacement = FN(a_fixed_answer)};

	assert_int_equal(lp_self_prepare(&h, NULL), 0);
	assert_int_equal(COMMIT(&h), 0);
	assert_int_equal(parse("12"), 4711);
	assert_int_equal(((long (*)(const char *))(uintptr_t)h.original)("12"), 12);
	assert_int_equal(REMOVE(&h), 0);
	assert_int_equal(parse("12"), 12);
	lp_self_release(&h);
}

#ifdef __x86_64__
static void hook_joined(int (*fn)(int), int (*other)(int))
{
	struct lp_self_hook h = prepared(fn);

	assert_int_equal(COMMIT(&h), 0);
	assert_int_equal(fn(7), 1014);
	assert_int_equal(other(7), 15);
	assert_int_equal(lp_self_retarget(&h, FN(two_thousand_more), NULL), 0);
	assert_int_equal(fn(7), 2014);
	assert_int_equal(REMOVE(&h), 0);
	assert_int_equal(fn(7), 14);
	assert_int_equal(other(7), 15);
	lp_self_release(&h);
}

static void what_comes_in_behind_the_beginning_finds_what_was_there(void **state)
{
	hook_joined(victim_joined, victim_enters);
	hook_joined(victim_joined_far, victim_enters_far);
}

static void a_function_that_is_joined_and_has_no_padding_is_refused(void **state)
{
	struct lp_self_hook h = {.fn = FN(victim_joined_tight), .replacement = FN(thousand_more)};
	struct lp_err err = {0};

	assert_int_equal(lp_self_prepare(&h, &err), -LP_EBRANCHED);
	assert_non_null(strstr(err.text, "jumps to"));
	assert_int_equal(victim_enters_tight(7), 15);
}
#endif

static void a_replacement_that_is_no_code_is_refused(void **state)
{
	static int data;
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = addr_of(&data)}, good = prepared(victim_line);

	assert_int_equal(lp_self_prepare(&h, NULL), -LP_ENOTCODE);
	h.replacement = 8;
	assert_int_equal(lp_self_prepare(&h, NULL), -LP_EUNMAPPED);
	assert_int_equal(lp_self_retarget(&good, addr_of(&data), NULL), -LP_ENOTCODE);
	lp_self_release(&good);
}

/* In a callback the loader's lock is held, as it is in a constructor. */
static int hook_in_callback(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct lp_self_hook h = prepared(victim_push);

	lp_self_release(&h);
	return 1;
}

static void hooks_can_be_prepared_while_the_loader_is_held(void **state)
{
	assert_int_equal(dl_iterate_phdr(hook_in_callback, NULL), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_victim_can_be_hooked_called_through_and_let_go),
		cmocka_unit_test(a_function_is_hooked_once),
		cmocka_unit_test(hooks_are_installed_together_or_not_at_all),
		cmocka_unit_test(hooks_go_different_ways_together),
		cmocka_unit_test(a_switch_that_fails_changes_nothing),
		cmocka_unit_test(a_replacement_out_of_reach_is_reached_through_an_island),
		cmocka_unit_test(who_stands_on_an_island_is_seen_where_it_leads),
		cmocka_unit_test(what_is_no_function_is_refused),
		cmocka_unit_test(a_function_that_branches_into_its_beginning_is_refused),
		cmocka_unit_test(memory_is_never_writable_and_executable_and_is_used_again),
		cmocka_unit_test(a_child_hooks_itself_and_its_parent_does_not_notice),
		cmocka_unit_test(a_function_of_the_c_library_can_be_hooked),
#ifdef __x86_64__
		cmocka_unit_test(what_comes_in_behind_the_beginning_finds_what_was_there),
		cmocka_unit_test(a_function_that_is_joined_and_has_no_padding_is_refused),
#endif
		cmocka_unit_test(a_replacement_that_is_no_code_is_refused),
		cmocka_unit_test(hooks_can_be_prepared_while_the_loader_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
