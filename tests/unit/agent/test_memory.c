/*
 * Memory by address: in whole words, with masks, and while it comes and goes.
 */
#include "run.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"

#define PAGE 4096u

static lp_addr addr_of(const void *p)
{
	return (lp_addr)(uintptr_t)p;
}

static uint8_t *pages(size_t nr)
{
	uint8_t *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static void so_many_bytes_are_read_and_written_and_no_others(void **state)
{
	for (size_t size = 1; size <= 17; size++) {
		for (size_t off = 0; off < 8; off++) {
			uint8_t room[48] __attribute__((aligned(8))), bytes[17], back[18];

			for (size_t i = 0; i < sizeof bytes; i++)
				bytes[i] = (uint8_t)(i + 1);
			memset(room, 0xee, sizeof room);
			memset(back, 0xdd, sizeof back);
			assert_int_equal(lp_memory_write(addr_of(room + 8 + off), bytes, NULL, size, NULL), 0);
			for (size_t i = 0; i < sizeof room; i++)
				assert_int_equal(room[i], i >= 8 + off && i - 8 - off < size ? i - 8 - off + 1 : 0xee);
			assert_int_equal(lp_memory_read(addr_of(room + 8 + off), back, size, NULL), 0);
			assert_memory_equal(back, bytes, size);
			assert_int_equal(back[size], 0xdd);
		}
	}
}

static void a_text_ends_at_its_nul_at_its_room_or_where_memory_does(void **state)
{
	uint8_t *at = pages(3), *text = at + PAGE - 3;
	struct lp_buf b = {0};

	memcpy(text, "across", 7);
	assert_int_equal(lp_memory_text(addr_of(text), 100, &b, NULL), 0);
	assert_string_equal(lp_buf_cstr(&b), "across");
	b.len = 0;
	assert_int_equal(lp_memory_text(addr_of(text), 5, &b, NULL), 0);
	assert_string_equal(lp_buf_cstr(&b), "acros");
	b.len = 0;
	memset(at + 2 * PAGE - 4, 'x', 4);
	munmap(at + 2 * PAGE, PAGE);
	assert_int_equal(lp_memory_text(addr_of(at) + 2 * PAGE - 4, 4, &b, NULL), 0);
	assert_string_equal(lp_buf_cstr(&b), "xxxx");
	assert_int_equal(lp_memory_text(addr_of(at) + 2 * PAGE - 4, 5, &b, NULL), -LP_EUNMAPPED);
	assert_int_equal(lp_memory_text(UINT64_MAX - 3, 100, &b, NULL), -LP_EUNMAPPED);
	lp_buf_free(&b);
	munmap(at, 2 * PAGE);
}

static void a_check_changes_nothing_and_says_what_cannot_be(void **state)
{
	uint8_t *at = pages(2);
	struct lp_err err = {0};

	memset(at, 0xa5, 2 * PAGE);
	assert_int_equal(lp_memory_check(addr_of(at), 2 * PAGE, true, &err), 0);
	for (size_t i = 0; i < 2 * PAGE; i++)
		assert_int_equal(at[i], 0xa5);
	assert_int_equal(mprotect(at + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(lp_memory_check(addr_of(at), 2 * PAGE, false, &err), 0);
	assert_int_equal(lp_memory_check(addr_of(at), 2 * PAGE, true, &err), -LP_EREADONLY);
	munmap(at + PAGE, PAGE);
	assert_int_equal(lp_memory_check(addr_of(at), 2 * PAGE, true, &err), -LP_EUNMAPPED);
	assert_int_equal(lp_memory_check(UINT64_MAX - 3, 8, false, &err), -LP_EUNMAPPED);
	munmap(at, PAGE);
}

/* ---- whole words ---- */

static uint64_t shared;
static _Atomic bool over;

static void *look_for_halves(void *arg)
{
	unsigned *halves = arg;

	while (!over) {
		uint64_t v = __atomic_load_n(&shared, __ATOMIC_RELAXED);

		*halves += v != 0 && v != UINT64_MAX;
	}
	return NULL;
}

static void an_aligned_word_is_written_in_one_piece(void **state)
{
	static const uint8_t values[2][8] = {{0}, {255, 255, 255, 255, 255, 255, 255, 255}};
	unsigned halves = 0;
	pthread_t t;

	over = false;
	assert_int_equal(pthread_create(&t, NULL, look_for_halves, &halves), 0);
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(lp_memory_write(addr_of(&shared), values[i % 2], NULL, 8, NULL), 0);
	over = true;
	pthread_join(t, NULL);
	assert_int_equal(halves, 0);
}

/* ---- memory that goes ---- */

static void *come_and_go(void *page)
{
	while (!over) {
		mmap(page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		     0); /* nobody else maps there */
		mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	return NULL;
}

/* Until each of both answers has come often enough to have come in between. */
static void race(const char *command)
{
	unsigned done = 0, refused = 0;

	while (done < 500 || refused < 500) {
		int rc = run("%s", command);

		if (rc && rc != -LP_EUNMAPPED && rc != -LP_EREADONLY)
			fail_msg("%s: %s", command, hotpatch_last_error());
		done += rc == 0;
		refused += rc != 0;
	}
}

static void memory_that_comes_and_goes_hurts_nobody(void **state)
{
	static char text[64];
	static char *pointer;
	uint8_t *page = pages(1);
	char get[64], set[128];
	pthread_t t;

	over = false;
	pointer = (char *)page;
	snprintf(get, sizeof get, "mem get 0x%lx 4096", (unsigned long)addr_of(page));
	snprintf(set, sizeof set, "mem set 0x%lx 0102030405060708090a0b0c0d0e0f10",
		 (unsigned long)addr_of(page) + 4080);
	hotpatch_register_variable("scalar", HOTPATCH_INT64, page + 64);
	hotpatch_register_variable("pointed", HOTPATCH_CSTRING, &pointer);
	hotpatch_register_chars("array", (char *)page + 128, sizeof text);
	assert_int_equal(pthread_create(&t, NULL, come_and_go, page), 0);
	race(get);
	race(set);
	race("var get int64 scalar");
	race("var set int64 scalar 5");
	race("var get 'char*' pointed");
	race("var get string array");
	race("var set string array text");
	over = true;
	pthread_join(t, NULL);
	hotpatch_unregister_variable("scalar");
	hotpatch_unregister_variable("pointed");
	hotpatch_unregister_variable("array");
	munmap(page, PAGE);
}

static void what_a_key_locks_away_is_refused_and_read_when_it_is_not(void **state)
{
	uint8_t *page = pages(1);
	int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);

	if (key < 0) {
		munmap(page, PAGE);
		skip(); /* this machine has none */
	}
	page[0] = 0x5a;
	assert_int_equal(pkey_mprotect(page, PAGE, PROT_READ | PROT_WRITE, key), 0);
	assert_refused(LP_EUNMAPPED, "mem get 0x%lx 1", (unsigned long)addr_of(page));
	assert_refused(LP_EUNMAPPED, "mem set 0x%lx 01", (unsigned long)addr_of(page));
	pkey_set(key, PKEY_DISABLE_WRITE);
	assert_answer("5a", "mem get 0x%lx 1", (unsigned long)addr_of(page));
	assert_refused(LP_EREADONLY, "mem set 0x%lx 01", (unsigned long)addr_of(page));
	assert_answer("5a", "mem get 0x%lx 1", (unsigned long)addr_of(page)); /* this thread has its key still */
	pkey_free(key);
	munmap(page, PAGE);
}

/* The second change of the line takes the first one's memory away, and is refused: the first cannot be undone any more. */
static uint8_t *vanishing;

static size_t show_nothing(const void *variable, char *out, size_t size)
{
	return 0;
}

static int take_it_away(void *variable, const char *text, size_t len)
{
	munmap(vanishing, PAGE);
	return -1;
}

static void what_is_gone_is_not_undone(void **state)
{
	static const struct hotpatch_accessor accessor = {
		.type = HOTPATCH_STRING, .get = show_nothing, .set = take_it_away};
	static int unused;

	for (int i = 0; i < 3; i++) {
		vanishing = pages(1);
		hotpatch_register_variable("word", HOTPATCH_INT, vanishing);
		hotpatch_register_chars("array", (char *)vanishing + 8, 8);
		hotpatch_register_accessor("thief", &accessor, &unused);
		if (i == 0)
			assert_refused(LP_EREJECTED, "var set int word 5; var set string thief x");
		else if (i == 1)
			assert_refused(LP_EREJECTED, "var set string array 5; var set string thief x");
		else
			assert_refused(LP_EREJECTED, "mem set 0x%lx 0102; var set string thief x",
				       (unsigned long)addr_of(vanishing));
		hotpatch_unregister_variable("word");
		hotpatch_unregister_variable("array");
		hotpatch_unregister_variable("thief");
	}
}

/* ---- where filters of system calls end the program for unusual ones ---- */

#define DONE 7
#define NO_SECCOMP 8 /* an emulator has none */

static bool kill_who_reads_memory_of_processes(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {LP_ARRAY_SIZE(code), code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int ask_under_the_filter(void)
{
	static long v = 10;

	if (!kill_who_reads_memory_of_processes())
		return NO_SECCOMP;
	if (run("mem get 0x%lx 1", (unsigned long)addr_of(&v)) || strcmp(answer, "0a") != 0)
		return 1;
	if (run("mem set 0x%lx 0b", (unsigned long)addr_of(&v)) || v != 11)
		return 2;
	return run("mem get 0x10 1") == -LP_EUNMAPPED ? DONE : 3;
}

static void a_filter_that_kills_meets_nothing_unusual(void **state)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(ask_under_the_filter());
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WEXITSTATUS(status) == NO_SECCOMP)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_many_bytes_are_read_and_written_and_no_others),
		cmocka_unit_test(a_text_ends_at_its_nul_at_its_room_or_where_memory_does),
		cmocka_unit_test(a_check_changes_nothing_and_says_what_cannot_be),
		cmocka_unit_test(an_aligned_word_is_written_in_one_piece),
		cmocka_unit_test(memory_that_comes_and_goes_hurts_nobody),
		cmocka_unit_test(what_a_key_locks_away_is_refused_and_read_when_it_is_not),
		cmocka_unit_test(what_is_gone_is_not_undone),
		cmocka_unit_test(a_filter_that_kills_meets_nothing_unusual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
