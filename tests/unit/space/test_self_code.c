#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "emulated.h"
#include "core/core.h"
#include "space/code.h"
#include "space/space.h"
#include "victims.h"

#define THREADS 8

static struct lp_code_space *space;

/* ---- what is changed ---- */

/* What callers know of it is its name. */
#ifdef __clang__
#define ALONE __attribute__((noinline))
#else
#define ALONE __attribute__((noipa))
#endif

int nine(void);
int add(int a, int b);
int subtract(int a, int b);
int twice(int a, int b);

/* mov of an immediate: one instruction to be replaced, in a function that is too short for most things. */
#ifdef __x86_64__
#define LOAD_LEN 5u
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,@function\n"
	"nine: mov $9,%eax\n ret\n.size nine,.-nine\n"
	".skip 64,0xcc\n");
static void load(uint8_t out[LOAD_LEN], uint8_t number) /* mov $number,%eax */
{
	memcpy(out, (uint8_t[]){0xb8, number, 0, 0, 0}, LOAD_LEN);
}
#else
#define LOAD_LEN 4u
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,%function\n"
	"nine: mov w0,#9\n ret\n.size nine,.-nine\n"
	".skip 64\n");
static void load(uint8_t out[LOAD_LEN], uint8_t number) /* mov w0,#number */
{
	uint32_t word = 0x52800000u | (uint32_t)number << 5;
	memcpy(out, &word, LOAD_LEN);
}
#endif

static volatile int base = 100;
static int (*original)(int a, int b);

ALONE int add(int a, int b)
{
	return base + a + b;
}

ALONE int subtract(int a, int b)
{
	return original ? original(a, -b) : 0;
}

ALONE int twice(int a, int b)
{
	return original ? original(2 * a, 2 * b) : 0;
}

/* ---- threads that call it ---- */

static struct {
	pthread_t threads[THREADS];
	atomic_int stop;
	atomic_int seen[THREADS]; /* nine() * 1000 + add(10, 2) */
	atomic_int nonsense;
} callers;

static bool makes_sense(int nines, int sum)
{
	return nines >= 1 && nines <= 9 && (sum == 112 || sum == 108 || sum == 124);
}

static void *call(void *arg)
{
	atomic_int *seen = arg;
	while (!callers.stop) {
		int nines = nine(), sum = add(10, 2);
		if (!makes_sense(nines, sum))
			callers.nonsense = nines * 1000 + sum;
		*seen = nines * 1000 + sum;
		sched_yield();
	}
	return NULL;
}

static int start(void **state)
{
	assert_ok(lp_code_open_self(&space, &last_error));
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&callers.threads[i], NULL, call, &callers.seen[i]), 0);
	return 0;
}

static int stop(void **state)
{
	callers.stop = 1;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(callers.threads[i], NULL);
	space->ops->close(space);
	assert_int_equal(callers.nonsense, 0);
	return 0;
}

static int wanted;

static bool all_see(void *arg)
{
	for (size_t i = 0; i < THREADS; i++)
		if (callers.seen[i] != wanted)
			return false;
	return true;
}

static void expect_answers(int nines, int sum)
{
	char text[64];
	wanted = nines * 1000 + sum;
	snprintf(text, sizeof text, "all threads to see %d and %d", nines, sum);
	wait_until(all_see, NULL, text);
}

/* ---- changes ---- */

static lp_addr address(int (*fn)(int, int))
{
	return (lp_addr)(uintptr_t)fn;
}

struct change {
	uint8_t old_bytes[LOAD_LEN], new_bytes[LOAD_LEN];
	struct lp_code_edit edit;
};

static struct lp_code_edit *change_nine(struct change *c, uint8_t number)
{
	lp_addr at = (lp_addr)(uintptr_t)nine;
	assert_ok(space->ops->read(space, at, c->old_bytes, LOAD_LEN, &last_error));
	load(c->new_bytes, number);
	c->edit =
		(struct lp_code_edit){.at = at, .len = LOAD_LEN, .old_bytes = c->old_bytes, .new_bytes = c->new_bytes};
	return &c->edit;
}

static struct lp_code_divert *divert(int (*from)(int, int), int (*to)(int, int))
{
	struct lp_code_divert *d;
	assert_ok(space->ops->divert_make(space, address(from), address(to), 0, &d, &last_error));
	original = (int (*)(int, int))(uintptr_t)d->original;
	return d;
}

static int commit(struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->commit(space, edits, nr, 0, &last_error);
}

static int undo(struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->undo(space, edits, nr, 0, &last_error);
}

static int exchange(struct lp_code_edit *undone, size_t nr_undone, struct lp_code_edit *edits, size_t nr)
{
	last_error = (struct lp_err){0};
	return space->ops->exchange(space, undone, nr_undone, edits, nr, 0, &last_error);
}

/* ---- tests ---- */

static void an_instruction_is_replaced_under_threads_that_run_it(void **state)
{
	struct change c;
	expect_answers(9, 112);
	assert_ok(commit(change_nine(&c, 3), 1));
	expect_answers(3, 112);
	assert_ok(undo(&c.edit, 1));
	expect_answers(9, 112);
}

static void a_diverted_function_can_still_be_called(void **state)
{
	struct lp_code_divert *d = divert(add, subtract);
	assert_int_equal(original(10, 2), 112);
	struct lp_code_edit edits[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(edits, d->nr));
	expect_answers(9, 108);
	assert_int_equal(original(10, 2), 112);
	assert_ok(space->ops->divert_retarget(space, d, address(twice), 0, &last_error));
	expect_answers(9, 124);
	assert_ok(undo(edits, d->nr));
	expect_answers(9, 112);
	space->ops->divert_free(space, d);
}

static void bytes_and_functions_change_as_one(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert(add, subtract);
	struct lp_code_edit edits[3] = {*change_nine(&c, 4), d->edits[0], d->edits[1]};
	assert_ok(commit(edits, 1 + d->nr));
	expect_answers(4, 108);
	assert_ok(undo(edits + 1, d->nr));
	expect_answers(4, 112);
	assert_ok(undo(edits, 1));
	expect_answers(9, 112);
	space->ops->divert_free(space, d);
}

/* The hook fails after the bytes have been written: they go back. */
static void what_cannot_be_as_a_whole_is_not_at_all(void **state)
{
	struct change c, wrong;
	struct lp_code_divert *d = divert(add, subtract);
	struct lp_code_edit hook[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(hook, d->nr));
	struct lp_code_edit edits[3] = {*change_nine(&c, 4), d->edits[0], d->edits[1]};
	assert_refused(commit(edits, 1 + d->nr), LP_EHOOKED);
	expect_answers(9, 108);
	assert_ok(undo(hook, d->nr));
	space->ops->divert_free(space, d);
	change_nine(&wrong, 5);
	wrong.old_bytes[0] ^= 1;
	struct lp_code_edit two[2] = {*change_nine(&c, 4), wrong.edit};
	assert_true(commit(two, 2) < 0);
	expect_answers(9, 112);
}

static void what_comes_in_the_place_of_another_leaves_no_gap(void **state)
{
	struct change first, second;
	struct lp_code_divert *a = divert(add, subtract);
	struct lp_code_edit old[3] = {*change_nine(&first, 4), a->edits[0], a->edits[1]};
	assert_ok(commit(old, 1 + a->nr));
	struct lp_code_divert *b = divert(add, twice);
	assert_int_equal(b->original, a->original);
	struct lp_code_edit new[3] = {*change_nine(&second, 5), b->edits[0], b->edits[1]};
	memcpy(second.old_bytes, first.old_bytes, LOAD_LEN);
	assert_ok(exchange(old, 1 + a->nr, new, 1 + b->nr));
	space->ops->divert_free(space, a);
	expect_answers(5, 124);
	assert_int_equal(original(10, 2), 112);
	assert_ok(undo(new, 1 + b->nr));
	expect_answers(9, 112);
	space->ops->divert_free(space, b);
}

static void what_goes_without_a_successor_goes_in_the_same_change(void **state)
{
	struct change c;
	struct lp_code_divert *d = divert(add, subtract);
	struct lp_code_edit hook[2] = {d->edits[0], d->edits[1]};
	assert_ok(commit(hook, d->nr));
	assert_ok(exchange(hook, d->nr, change_nine(&c, 6), 1));
	expect_answers(6, 112);
	assert_ok(undo(&c.edit, 1));
	space->ops->divert_free(space, d);
}

static void changed_memory_is_refused(void **state)
{
	struct change c;
	change_nine(&c, 7);
	load(c.old_bytes, 8);
	assert_refused(commit(&c.edit, 1), LP_ECHANGED);
	expect_answers(9, 112);
}

static void half_an_instruction_is_refused(void **state)
{
#ifdef __x86_64__
	struct change c;
	change_nine(&c, 7);
	c.edit.len = LOAD_LEN - 1;
	assert_refused(commit(&c.edit, 1), LP_EENCODING);
#endif
	expect_answers(9, 112);
}

static void memory_that_is_not_there_is_refused_without_a_crash(void **state)
{
	uint8_t byte;
	struct change c;
	assert_refused(space->ops->read(space, 64, &byte, 1, &last_error), LP_EUNMAPPED);
	change_nine(&c, 7);
	c.edit.at = 4096;
	assert_true(commit(&c.edit, 1) < 0);
}

static int resolve(const char *name, lp_addr *at, uint64_t *size)
{
	struct lp_addr_expr e = {.kind = LP_ADDR_SYMBOL, .symbol = (char *)(uintptr_t)name};
	last_error = (struct lp_err){0};
	return space->ops->resolve(space, &e, at, size, &last_error);
}

static void names_of_the_program_and_of_libraries_are_found(void **state)
{
	lp_addr at;
	uint64_t size;
	struct lp_range f;
	assert_ok(resolve("subtract", &at, &size));
	assert_int_equal(at, address(subtract));
	assert_true(space->ops->function(space, at + 1, &f));
	assert_int_equal(f.start, at);
	assert_int_equal(f.end - f.start, size);
	assert_ok(resolve("libc.so.6:getpid", &at, &size));
	assert_int_equal(at, (lp_addr)(uintptr_t)dlsym(RTLD_DEFAULT, "getpid"));
	assert_refused(resolve("no_such_function", &at, &size), LP_ENOSYM);
}

static void names_of_a_library_that_is_loaded_later_are_found(void **state)
{
	lp_addr at;
	uint64_t size;
	assert_refused(resolve("libBrokenLocale.so.1:__ctype_get_mb_cur_max", &at, &size), LP_ENOSYM);
	void *library = dlopen("libBrokenLocale.so.1", RTLD_NOW | RTLD_LOCAL);
	assert_non_null(library);
	assert_ok(resolve("libBrokenLocale.so.1:__ctype_get_mb_cur_max", &at, &size));
	assert_int_equal(at, (lp_addr)(uintptr_t)dlsym(library, "__ctype_get_mb_cur_max"));
	dlclose(library);
	assert_refused(resolve("libBrokenLocale.so.1:__ctype_get_mb_cur_max", &at, &size), LP_ENOSYM);
}

static void an_address_of_an_object_is_found_where_it_is_loaded(void **state)
{
	struct lp_err err = {0};
	lp_addr at;
	Dl_info info;

	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD); /* sanitizers have a strtol of their own */
	assert_non_null(libc);
	uintptr_t there = (uintptr_t)dlsym(libc, "strtol");
	assert_true(dladdr((void *)there, &info));
	assert_int_equal(space->ops->in_object(space, "libc.so.6", there - (uintptr_t)info.dli_fbase, &at, &err), 0);
	assert_int_equal(at, there);
	dlclose(libc);
	assert_int_equal(space->ops->in_object(space, "libnothing.so.1", 0x10, &at, &err), -LP_ENOTLOADED);
	assert_int_equal(space->ops->in_object(space, "libc.so.6", 1 << 30, &at, &err), -LP_ERANGE);
	assert_int_equal(space->ops->in_object(space, "libc.so.6", UINT64_MAX, &at, &err), -LP_ERANGE);
}

static void new_code_is_within_reach_and_runs(void **state)
{
	lp_addr room, near = address(add);
	uint8_t code[LOAD_LEN + 4];
	load(code, 7);
#ifdef __x86_64__
	code[LOAD_LEN] = 0xc3; /* ret */
#else
	memcpy(code + LOAD_LEN, (uint8_t[]){0xc0, 0x03, 0x5f, 0xd6}, 4);
#endif
	assert_ok(space->ops->room_make(space, near, sizeof code, &room, &last_error));
	assert_true((room > near ? room - near : near - room) < space->isa->reach);
	assert_ok(space->ops->room_fill(space, room, code, sizeof code, &last_error));
	assert_int_equal(((int (*)(void))(uintptr_t)room)(), 7);
	space->ops->room_drop(space, room, sizeof code);
}

static void a_child_of_fork_changes_itself_alone(void **state)
{
	struct change c;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(commit(change_nine(&c, 2), 1) == 0 && nine() == 2 ? 0 : 1);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect_answers(9, 112);
}

/* ---- strangers ---- */

static int in_child(int (*work)(pid_t))
{
	fflush(NULL);
	pid_t parent = getpid(), child = fork();
	if (child == 0)
		_exit(work(parent));
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int patch_from_outside(pid_t pid)
{
	struct lp_code_space *outside;
	struct change c;
	change_nine(&c, 5);
	if (lp_code_open_process(&outside, pid, NULL) < 0)
		return 1;
	int rc = outside->ops->commit(outside, &c.edit, 1, 0, NULL);
	outside->ops->close(outside);
	return rc == 0 ? 0 : 2;
}

static int revert_from_outside(pid_t pid)
{
	struct lp_target *t;
	struct lp_result result;
	struct lp_apply_opts opts = {.timeout_ms = 5000};
	if (lp_target_open_process(&t, pid, NULL, NULL) < 0)
		return 1;
	return lp_revert(t, NULL, 0, &opts, &result, NULL) == 0 ? 0 : 2;
}

static void bytes_that_were_changed_from_outside_are_left_alone(void **state)
{
	struct change c;
	if (is_emulated())
		skip(); /* nobody outside can change anything */
	assert_int_equal(in_child(patch_from_outside), 0);
	expect_answers(5, 112);
	assert_refused(commit(change_nine(&c, 6), 1), LP_EOVERLAP);
	assert_non_null(strstr(last_error.text, "outside"));
	assert_int_equal(in_child(revert_from_outside), 0);
	expect_answers(9, 112);
	assert_ok(commit(change_nine(&c, 6), 1));
	assert_ok(undo(&c.edit, 1));
}

static struct change expected;

static int patch_what_was_there(pid_t pid)
{
	struct lp_code_space *outside;
	if (lp_code_open_process(&outside, pid, NULL) < 0)
		return 1;
	return outside->ops->commit(outside, &expected.edit, 1, 0, NULL) == -LP_ECHANGED ? 0 : 2;
}

static void bytes_that_were_changed_from_inside_are_left_alone(void **state)
{
	struct change c;
	if (is_emulated())
		skip(); /* nobody outside can look */
	change_nine(&expected, 5);
	assert_ok(commit(change_nine(&c, 6), 1));
	assert_int_equal(in_child(patch_what_was_there), 0);
	expect_answers(6, 112);
	assert_ok(undo(&c.edit, 1));
	expect_answers(9, 112);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_instruction_is_replaced_under_threads_that_run_it),
		cmocka_unit_test(a_diverted_function_can_still_be_called),
		cmocka_unit_test(bytes_and_functions_change_as_one),
		cmocka_unit_test(what_cannot_be_as_a_whole_is_not_at_all),
		cmocka_unit_test(what_comes_in_the_place_of_another_leaves_no_gap),
		cmocka_unit_test(what_goes_without_a_successor_goes_in_the_same_change),
		cmocka_unit_test(changed_memory_is_refused),
		cmocka_unit_test(half_an_instruction_is_refused),
		cmocka_unit_test(memory_that_is_not_there_is_refused_without_a_crash),
		cmocka_unit_test(names_of_the_program_and_of_libraries_are_found),
		cmocka_unit_test(names_of_a_library_that_is_loaded_later_are_found),
		cmocka_unit_test(an_address_of_an_object_is_found_where_it_is_loaded),
		cmocka_unit_test(new_code_is_within_reach_and_runs),
		cmocka_unit_test(a_child_of_fork_changes_itself_alone),
		cmocka_unit_test(bytes_that_were_changed_from_outside_are_left_alone),
		cmocka_unit_test(bytes_that_were_changed_from_inside_are_left_alone),
	};
	return cmocka_run_group_tests_name("space self_code", tests, start, stop);
}
