/* Files of the translation cache: what comes out of whole, cut, altered and foreign ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdio.h"
#include "jit/cache_file.h"

enum { RECORDS = 40, LONGEST = 3 * RECORDS };

static const struct lp_cache_identity mine = {.image = "an image", .runner = "a runner", .flavour = 7};

static size_t content(unsigned i, unsigned version, uint8_t *out)
{
	for (unsigned k = 0; k < 3 * i; k++)
		out[k] = (uint8_t)(i * 7 + k * 13 + version * 101);
	return 3 * (size_t)i;
}

static uint32_t key_of(unsigned i)
{
	return i * 0x01000193;
}

static int memory_file(void)
{
	int fd = memfd_create("cache", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Records 1 to nr. */
static void add(struct lp_cache_writer *w, unsigned nr, unsigned version)
{
	uint8_t data[LONGEST];

	for (unsigned i = 1; i <= nr; i++) {
		size_t len = content(i, version, data);
		assert_true(lp_cache_writer_add(w, key_of(i), data, len));
	}
}

static int written(unsigned nr)
{
	struct lp_cache_writer w = {0};
	int fd = memory_file();

	add(&w, nr, 0);
	assert_int_equal(lp_cache_writer_finish(&w, fd, &mine), 0);
	lp_cache_writer_free(&w);
	return fd;
}

/* How many of the records are there; every one that is must be what was written. */
static unsigned count_good(struct lp_cache_file *f, unsigned nr, unsigned version)
{
	uint8_t expected[LONGEST], found[LONGEST];
	unsigned good = 0;

	for (unsigned i = 1; i <= nr; i++) {
		ssize_t len = lp_cache_file_find(f, key_of(i), found, sizeof found);
		assert_true(len >= 0 || len == -EBADMSG);
		if (len <= 0)
			continue;
		assert_int_equal(len, content(i, version, expected));
		assert_memory_equal(found, expected, (size_t)len);
		good++;
	}
	return good;
}

static void what_was_written_is_found(void **state)
{
	struct lp_cache_file f;
	uint8_t room[LONGEST];
	int fd = written(RECORDS);

	assert_int_equal(lp_cache_file_open(&f, fd, &mine), 0);
	assert_int_equal(f.nr_records, RECORDS);
	assert_int_equal(count_good(&f, RECORDS, 0), RECORDS);
	assert_int_equal(lp_cache_file_find(&f, key_of(RECORDS + 1), room, sizeof room), 0);
	assert_int_equal(lp_cache_file_has(&f, key_of(RECORDS + 1)), 0);
	for (unsigned i = RECORDS; i > RECORDS - 2; i--) {
		assert_int_equal(lp_cache_file_has(&f, key_of(i)), 1);
		assert_int_equal(lp_cache_file_find(&f, key_of(RECORDS), room, sizeof room), 3 * RECORDS);
	}
	assert_int_equal(lp_cache_file_find(&f, key_of(RECORDS), room, 3 * RECORDS - 1), -EBADMSG);
	lp_cache_file_close(&f);
	close(fd);
}

static void an_empty_one_has_nothing(void **state)
{
	struct lp_cache_file f;
	uint8_t room[8];
	int fd = written(0);

	assert_int_equal(lp_cache_file_open(&f, fd, &mine), 0);
	assert_int_equal(lp_cache_file_find(&f, 0, room, sizeof room), 0);
	lp_cache_file_close(&f);
	close(fd);
}

static void somebody_elses_is_refused(void **state)
{
	struct lp_cache_identity other[3] = {mine, mine, mine};
	struct lp_cache_file f;
	int fd = written(RECORDS);

	other[0].image[3] ^= 1;
	other[1].runner[LP_CACHE_ID_MAX - 1] ^= 1;
	other[2].flavour++;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(lp_cache_file_open(&f, fd, &other[i]), -EBADMSG);
	close(fd);
}

static void every_shorter_one_is_refused(void **state)
{
	struct lp_cache_file f;
	int fd = written(RECORDS);
	off_t size = lseek(fd, 0, SEEK_END);

	while (size-- > 0) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_int_equal(lp_cache_file_open(&f, fd, &mine), -EBADMSG);
	}
	close(fd);
}

static void a_longer_one_is_refused(void **state)
{
	struct lp_cache_file f;
	int fd = written(RECORDS);

	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) + 8), 0);
	assert_int_equal(lp_cache_file_open(&f, fd, &mine), -EBADMSG);
	close(fd);
}

static void any_altered_byte_is_refused_or_does_no_harm(void **state)
{
	struct lp_cache_file f;
	int fd = written(RECORDS);
	off_t size = lseek(fd, 0, SEEK_END);
	unsigned refused = 0, partly = 0;

	for (off_t at = 0; at < size; at++) {
		uint8_t byte, altered;
		assert_int_equal(lp_pread_full(fd, &byte, 1, at), 0);
		altered = byte ^ (uint8_t)(1 << at % 8);
		assert_int_equal(lp_pwrite_full(fd, &altered, 1, at), 0);
		if (lp_cache_file_open(&f, fd, &mine)) {
			refused++;
		} else {
			partly += count_good(&f, RECORDS, 0) < RECORDS;
			lp_cache_file_close(&f);
		}
		assert_int_equal(lp_pwrite_full(fd, &byte, 1, at), 0);
	}
	/* The header, and the records with their headers; what is left are empty buckets and what fills up to 8 bytes. */
	assert_true(refused >= 100);
	assert_true(partly >= RECORDS * 16 + 3 * RECORDS * (RECORDS + 1) / 2);
	close(fd);
}

static void buckets_that_lead_astray_end_somewhere(void **state)
{
	struct lp_cache_file f;
	uint8_t room[LONGEST];
	int fd = written(RECORDS);
	off_t size = lseek(fd, 0, SEEK_END);
	uint64_t entry = UINT64_C(0x7fffffff00000005);

	/* All of them full, and of one key; the header stays. */
	for (off_t at = 120; at + 8 <= size; at += 8)
		assert_int_equal(lp_pwrite_full(fd, &entry, 8, at), 0);
	assert_int_equal(lp_cache_file_open(&f, fd, &mine), 0);
	assert_int_equal(lp_cache_file_find(&f, 5, room, sizeof room), -EBADMSG);
	assert_int_equal(lp_cache_file_find(&f, 6, room, sizeof room), -EBADMSG);
	lp_cache_file_close(&f);
	close(fd);
}

static void what_is_new_counts_and_what_was_there_stays(void **state)
{
	struct lp_cache_writer w = {0};
	struct lp_cache_file f;
	int old = written(RECORDS), fd = memory_file();

	assert_int_equal(lp_cache_file_open(&f, old, &mine), 0);
	add(&w, RECORDS / 2, 1);
	assert_true(lp_cache_writer_merge(&w, &f));
	lp_cache_file_close(&f);
	assert_int_equal(lp_cache_writer_finish(&w, fd, &mine), 0);
	lp_cache_writer_free(&w);
	assert_int_equal(lp_cache_file_open(&f, fd, &mine), 0);
	assert_int_equal(f.nr_records, RECORDS);
	assert_int_equal(count_good(&f, RECORDS / 2, 1), RECORDS / 2);
	lp_cache_file_close(&f);
	close(old);
	close(fd);
}

static void what_is_damaged_does_not_come_along(void **state)
{
	struct lp_cache_writer w = {0};
	struct lp_cache_file f;
	int fd = written(RECORDS);
	uint8_t byte;
	off_t last = lseek(fd, 0, SEEK_END) - 1;

	assert_int_equal(lp_pread_full(fd, &byte, 1, last), 0);
	byte ^= 1;
	assert_int_equal(lp_pwrite_full(fd, &byte, 1, last), 0);
	assert_int_equal(lp_cache_file_open(&f, fd, &mine), 0);
	assert_true(lp_cache_writer_merge(&w, &f));
	assert_int_equal(w.places.nr, RECORDS - 1);
	lp_cache_writer_free(&w);
	lp_cache_file_close(&f);
	close(fd);
}

static void it_does_not_grow_without_bound(void **state)
{
	static uint8_t data[LP_CACHE_RECORD_MAX];
	struct lp_cache_writer w = {0};
	unsigned nr = 0;

	while (nr < LP_CACHE_FILE_MAX / LP_CACHE_RECORD_MAX && lp_cache_writer_add(&w, nr, data, sizeof data))
		nr++;
	assert_in_range(nr, 1, LP_CACHE_FILE_MAX / LP_CACHE_RECORD_MAX - 1);
	assert_in_range(w.records.len, 1, LP_CACHE_FILE_MAX);
	lp_cache_writer_free(&w);
}

static void a_write_that_fails_is_told(void **state)
{
	struct lp_cache_writer w = {0};
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	add(&w, RECORDS, 0);
	assert_int_equal(lp_cache_writer_finish(&w, fd, &mine), -ENOSPC);
	lp_cache_writer_free(&w);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_found),
		cmocka_unit_test(an_empty_one_has_nothing),
		cmocka_unit_test(somebody_elses_is_refused),
		cmocka_unit_test(every_shorter_one_is_refused),
		cmocka_unit_test(a_longer_one_is_refused),
		cmocka_unit_test(any_altered_byte_is_refused_or_does_no_harm),
		cmocka_unit_test(buckets_that_lead_astray_end_somewhere),
		cmocka_unit_test(what_is_new_counts_and_what_was_there_stays),
		cmocka_unit_test(what_is_damaged_does_not_come_along),
		cmocka_unit_test(it_does_not_grow_without_bound),
		cmocka_unit_test(a_write_that_fails_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
