#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "livepatch-patch.h"

#define THREADS 8
#define OBJECTS 20000

static char objects[OBJECTS];

static void nothing_is_attached_at_first(void **state)
{
	assert_null(livepatch_shadow_get(objects, 1));
	livepatch_shadow_detach(objects, 1);
}

static void what_is_attached_is_zeroed_and_found_by_object_and_number(void **state)
{
	long *a = livepatch_shadow_attach(&objects[0], 1, sizeof *a),
	     *b = livepatch_shadow_attach(&objects[0], 2, sizeof *b);
	long *c = livepatch_shadow_attach(&objects[1], 1, sizeof *c);
	assert_true(a && b && c && !*a && !*b && !*c);
	*a = 1, *b = 2, *c = 3;
	assert_ptr_equal(livepatch_shadow_get(&objects[0], 1), a);
	assert_ptr_equal(livepatch_shadow_get(&objects[0], 2), b);
	assert_ptr_equal(livepatch_shadow_get(&objects[1], 1), c);
	assert_null(livepatch_shadow_attach(&objects[0], 1, 8));
	livepatch_shadow_detach(&objects[0], 1);
	assert_null(livepatch_shadow_get(&objects[0], 1));
	assert_int_equal(*(long *)livepatch_shadow_get(&objects[0], 2), 2);
	assert_int_equal(*(long *)livepatch_shadow_get_or_attach(&objects[0], 1, 8), 0);
	livepatch_shadow_detach_all(1);
	livepatch_shadow_detach_all(2);
	assert_null(livepatch_shadow_get(&objects[0], 2));
	assert_null(livepatch_shadow_get(&objects[1], 1));
}

static void a_size_that_cannot_be_is_refused(void **state)
{
	assert_null(livepatch_shadow_attach(objects, 9, SIZE_MAX));
	assert_null(livepatch_shadow_get(objects, 9));
}

static void values_are_aligned_for_anything(void **state)
{
	void *value = livepatch_shadow_attach(objects, 3, 1);
	assert_int_equal((uintptr_t)value % _Alignof(max_align_t), 0);
	livepatch_shadow_detach(objects, 3);
}

static void numbers_of_several_authors_differ(void **state)
{
	assert_true(LIVEPATCH_SHADOW_ID('m', 'i', 'n', 'e', 1) != LIVEPATCH_SHADOW_ID('y', 'o', 'u', 'r', 1));
	assert_true(LIVEPATCH_SHADOW_ID('m', 'i', 'n', 'e', 1) != LIVEPATCH_SHADOW_ID('m', 'i', 'n', 'e', 2));
}

/* Each thread counts each object up once: a value that was lost or doubled shows in the sum. */
static void *count(void *arg)
{
	for (size_t i = 0; i < OBJECTS; i++) {
		unsigned *n = livepatch_shadow_get_or_attach(&objects[i], 4, sizeof *n);
		__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
	}
	return arg;
}

static void threads_that_attach_at_once_get_the_same_value(void **state)
{
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < OBJECTS; i++)
		assert_int_equal(*(unsigned *)livepatch_shadow_get(&objects[i], 4), THREADS);
	livepatch_shadow_detach_all(4);
	for (size_t i = 0; i < LIVEPATCH_SHADOW_BUCKETS; i++)
		assert_null(livepatch_shadow_table[i].first);
}

/* As if another thread had held every lock when we were forked. */
static void a_forked_child_is_not_kept_waiting_by_a_thread_that_it_has_not(void **state)
{
	*(int *)livepatch_shadow_attach(objects, 5, sizeof(int)) = 7;
	for (size_t i = 0; i < LIVEPATCH_SHADOW_BUCKETS; i++)
		livepatch_shadow_table[i].holder = (uint64_t)getpid();
	pid_t child = fork();
	if (child == 0) {
		alarm(120);
		_exit(*(int *)livepatch_shadow_get(objects, 5));
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	for (size_t i = 0; i < LIVEPATCH_SHADOW_BUCKETS; i++)
		livepatch_shadow_table[i].holder = 0;
	livepatch_shadow_detach(objects, 5);
}

static int first_hook(void)
{
	return 0;
}

static int second_hook(void)
{
	return 0;
}

LIVEPATCH_PRE_APPLY(first_hook);
LIVEPATCH_POST_REVERT(second_hook);
LIVEPATCH_POST_APPLY(first_hook);

/* docs/format-kpatch.md, ".livepatch.hooks". */
static void hooks_are_records_of_their_section(void **state)
{
	assert_int_equal(sizeof(struct livepatch_hook), 16);
	assert_int_equal(offsetof(struct livepatch_hook, function), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_attached_at_first),
		cmocka_unit_test(what_is_attached_is_zeroed_and_found_by_object_and_number),
		cmocka_unit_test(a_size_that_cannot_be_is_refused),
		cmocka_unit_test(values_are_aligned_for_anything),
		cmocka_unit_test(numbers_of_several_authors_differ),
		cmocka_unit_test(threads_that_attach_at_once_get_the_same_value),
		cmocka_unit_test(a_forked_child_is_not_kept_waiting_by_a_thread_that_it_has_not),
		cmocka_unit_test(hooks_are_records_of_their_section),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
