/* Archives are made with libarchive's writer, one per trick. */
#include "update/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/vec.h"
#include "tree.h"

#define TOP "arm64_runner-1.2.3"

/* ---- a folder for each test ---- */

struct place {
	char path[64];
	int folder;
};

static int enter(void **state)
{
	struct place *p = lp_alloc(sizeof *p);

	snprintf(p->path, sizeof p->path, "/tmp/livepatch-unpack-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->folder = open(p->path, O_RDONLY | O_DIRECTORY);
	*state = p;
	return p->folder < 0;
}

static int leave(void **state)
{
	struct place *p = *state;

	close(p->folder);
	remove_tree(p->path);
	lp_free(p);
	return 0;
}

/* ---- archives ---- */

struct made {
	struct archive *a;
	char *data;
	size_t size;
};

#define ROOM ((size_t)8 << 20)

/* The writer keeps the address of the size. */
static void begin(struct made *m)
{
	*m = (struct made){archive_write_new(), malloc(ROOM), 0};
	archive_write_add_filter_gzip(m->a);
	archive_write_set_format_pax_restricted(m->a);
	assert_int_equal(archive_write_open_memory(m->a, m->data, ROOM, &m->size), 0);
}

static void add(struct made *m, const char *path, mode_t type, mode_t mode, const char *link, const char *hard,
		const void *data, size_t len)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, mode);
	archive_entry_set_size(e, (la_int64_t)len);
	if (link)
		archive_entry_set_symlink(e, link);
	if (hard)
		archive_entry_set_hardlink(e, hard);
	assert_true(archive_write_header(m->a, e) >= ARCHIVE_WARN);
	if (len)
		assert_int_equal(archive_write_data(m->a, data, len), len);
	archive_entry_free(e);
}

static void add_file(struct made *m, const char *path, const char *text)
{
	add(m, path, AE_IFREG, 0755, NULL, NULL, text, strlen(text));
}

static void end(struct made *m)
{
	archive_write_close(m->a);
	archive_write_free(m->a);
}

static bool wants(const char *name)
{
	return !strcmp(name, "arm64_runner") || !strcmp(name, "VERSION");
}

static int unpack_limited(struct place *p, struct made *m, const struct lp_unpack_limits *limits, struct lp_err *err)
{
	int rc = lp_unpack(m->data, m->size, TOP, p->folder, wants, limits, err);

	free(m->data);
	return rc;
}

static int unpack(struct place *p, struct made *m, struct lp_err *err)
{
	return unpack_limited(p, m, &lp_unpack_usual, err);
}

/* The archive has a good file, then `path`. */
static void refuses(struct place *p, const char *path, mode_t type, mode_t mode, const char *link, const char *hard,
		    const char *because)
{
	struct made m;
	struct lp_err err = {0};

	begin(&m);
	add_file(&m, TOP "/VERSION", "1.2.3\n");
	add(&m, path, type, mode, link, hard, NULL, 0);
	end(&m);
	assert_int_equal(unpack(p, &m, &err), -LP_EARCHIVE);
	if (!strstr(err.text, because))
		fail_msg("%s: \"%s\" does not say \"%s\"", path, err.text, because);
	unlinkat(p->folder, "VERSION", 0);
}

/* ---- what is taken ---- */

static void has(struct place *p, const char *name, const char *text, mode_t mode)
{
	char path[128], got[64] = "";
	struct stat st;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", p->path, name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof got - 1, f), strlen(text));
	fclose(f);
	assert_string_equal(got, text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static unsigned files_in(struct place *p)
{
	struct stat st;
	unsigned nr = 0;

	nr += fstatat(p->folder, "arm64_runner", &st, 0) == 0;
	nr += fstatat(p->folder, "VERSION", &st, 0) == 0;
	nr += fstatat(p->folder, "man", &st, 0) == 0;
	nr += fstatat(p->folder, TOP, &st, 0) == 0;
	return nr;
}

static void the_wanted_files_of_the_top_folder_are_written_and_no_others(void **state)
{
	struct made m;
	struct lp_err err = {0};

	begin(&m);
	add(&m, TOP "/", AE_IFDIR, 0755, NULL, NULL, NULL, 0);
	add_file(&m, TOP "/arm64_runner", "program");
	add(&m, TOP "/VERSION", AE_IFREG, 0666, NULL, NULL, "1.2.3\n", 6);
	add_file(&m, TOP "/unwanted", "x");
	add(&m, TOP "/man", AE_IFDIR, 0755, NULL, NULL, NULL, 0);
	add_file(&m, TOP "/man/VERSION", "another");
	end(&m);
	if (unpack(*state, &m, &err))
		fail_msg("%s", err.text);
	has(*state, "arm64_runner", "program", 0755);
	has(*state, "VERSION", "1.2.3\n", 0644);
	assert_int_equal(files_in(*state), 2);
}

static void names_may_begin_with_a_dot_and_a_slash(void **state)
{
	struct made m;

	begin(&m);
	add(&m, "./", AE_IFDIR, 0755, NULL, NULL, NULL, 0);
	add_file(&m, "./" TOP "/arm64_runner", "program");
	end(&m);
	assert_int_equal(unpack(*state, &m, NULL), 0);
	has(*state, "arm64_runner", "program", 0755);
}

/* ---- tricks ---- */

static void an_absolute_path_is_refused(void **state)
{
	refuses(*state, "/etc/passwd", AE_IFREG, 0644, NULL, NULL, "absolute");
	refuses(*state, ".//etc/../" TOP "/x", AE_IFREG, 0644, NULL, NULL, "(..)");
}

static void a_path_that_climbs_is_refused(void **state)
{
	refuses(*state, "../x", AE_IFREG, 0644, NULL, NULL, "(..)");
	refuses(*state, TOP "/../../x", AE_IFREG, 0644, NULL, NULL, "(..)");
	refuses(*state, TOP "/a/..", AE_IFDIR, 0755, NULL, NULL, "(..)");
	refuses(*state, "..", AE_IFDIR, 0755, NULL, NULL, "(..)");
}

static void another_top_folder_is_refused(void **state)
{
	refuses(*state, "elsewhere/x", AE_IFREG, 0644, NULL, NULL, "not below " TOP);
	refuses(*state, TOP "x/arm64_runner", AE_IFREG, 0644, NULL, NULL, "not below " TOP);
	refuses(*state, "arm64_runner", AE_IFREG, 0755, NULL, NULL, "not below " TOP);
	refuses(*state, TOP, AE_IFREG, 0755, NULL, NULL, "no folder");
}

static void links_are_refused_wherever_they_lead(void **state)
{
	refuses(*state, TOP "/arm64_runner", AE_IFLNK, 0777, "/etc/passwd", NULL, "symbolic link");
	refuses(*state, TOP "/arm64_runner", AE_IFLNK, 0777, "VERSION", NULL, "symbolic link");
	refuses(*state, TOP "/arm64_runner", AE_IFREG, 0755, NULL, "/etc/passwd", "hard link");
	refuses(*state, TOP "/arm64_runner", AE_IFREG, 0755, NULL, TOP "/VERSION", "hard link");
}

static void devices_and_pipes_are_refused(void **state)
{
	refuses(*state, TOP "/d", AE_IFCHR, 0666, NULL, NULL, "device");
	refuses(*state, TOP "/d", AE_IFBLK, 0666, NULL, NULL, "device");
	refuses(*state, TOP "/d", AE_IFIFO, 0666, NULL, NULL, "pipe");
}

static void set_user_id_is_refused_also_of_what_nobody_wants(void **state)
{
	refuses(*state, TOP "/arm64_runner", AE_IFREG, 04755, NULL, NULL, "set-user-ID");
	refuses(*state, TOP "/other", AE_IFREG, 02755, NULL, NULL, "set-user-ID");
	refuses(*state, TOP "/folder", AE_IFDIR, 02755, NULL, NULL, "set-user-ID");
}

static void what_is_there_twice_is_refused(void **state)
{
	refuses(*state, TOP "/VERSION", AE_IFREG, 0644, NULL, NULL, "twice");
	refuses(*state, "./" TOP "/VERSION", AE_IFREG, 0644, NULL, NULL, "twice");
	refuses(*state, TOP "//VERSION", AE_IFREG, 0644, NULL, NULL, "twice");
}

static void a_name_that_talks_to_terminals_is_refused(void **state)
{
	refuses(*state, TOP "/\033[2J", AE_IFREG, 0644, NULL, NULL, "control characters");
	refuses(*state, TOP "/a\nb", AE_IFREG, 0644, NULL, NULL, "control characters");
}

/* ---- limits ---- */

static void a_bomb_is_refused_before_it_has_gone_off(void **state)
{
	size_t len = 4 << 20;
	char *zeros = calloc(1, len);
	struct made m;
	struct lp_err err = {0};

	begin(&m);
	add(&m, TOP "/unwanted", AE_IFREG, 0644, NULL, NULL, zeros, len);
	end(&m);
	assert_true(m.size < len / 200);
	assert_int_equal(unpack(*state, &m, &err), -LP_EARCHIVE);
	assert_non_null(strstr(err.text, "200 times"));
	free(zeros);
}

static void bytes_and_entries_have_limits(void **state)
{
	const struct lp_unpack_limits few = {.entries = 3, .bytes = 100, .ratio = 200};
	struct made m;
	struct lp_err err = {0};
	char many[101] = "";

	begin(&m);
	memset(many, 'x', sizeof many - 1);
	add(&m, TOP "/arm64_runner", AE_IFREG, 0644, NULL, NULL, many, 100);
	end(&m);
	assert_int_equal(unpack_limited(*state, &m, &few, NULL), 0);
	begin(&m);
	add(&m, TOP "/other", AE_IFREG, 0644, NULL, NULL, many, 101);
	end(&m);
	assert_int_equal(unpack_limited(*state, &m, &few, &err), -LP_EARCHIVE);
	assert_non_null(strstr(err.text, "100 bytes"));
	begin(&m);
	for (int i = 0; i < 4; i++) {
		char name[64];
		snprintf(name, sizeof name, TOP "/f%d", i);
		add_file(&m, name, "");
	}
	end(&m);
	assert_int_equal(unpack_limited(*state, &m, &few, &err), -LP_EARCHIVE);
	assert_non_null(strstr(err.text, "3 entries"));
}

/* ---- damage ---- */

static void what_is_cut_off_is_damaged_wherever_it_is_cut(void **state)
{
	struct made m;
	struct place *p = *state;
	unsigned seed = 1;
	char noise[2048];

	begin(&m);
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
	add(&m, TOP "/arm64_runner", AE_IFREG, 0644, NULL, NULL, noise, sizeof noise);
	end(&m);
	for (size_t len = 0; len < 2048; len += 7) {
		struct lp_err err = {0};
		int rc = lp_unpack(m.data, len, TOP, p->folder, wants, &lp_unpack_usual, &err);
		if (rc != -LP_EARCHIVE)
			fail_msg("%zu of %zu bytes: %d %s", len, m.size, rc, err.text);
		unlinkat(p->folder, "arm64_runner", 0);
	}
	free(m.data);
}

static void what_is_no_archive_is_refused(void **state)
{
	static const char *const bad[] = {"", "nonsense", "\x1f\x8b\x08", "PK\003\004"};
	struct place *p = *state;

	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++)
		assert_int_equal(lp_unpack(bad[i], strlen(bad[i]), TOP, p->folder, wants, &lp_unpack_usual, NULL),
				 -LP_EARCHIVE);
	assert_int_equal(files_in(p), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_wanted_files_of_the_top_folder_are_written_and_no_others),
		T(names_may_begin_with_a_dot_and_a_slash),
		T(an_absolute_path_is_refused),
		T(a_path_that_climbs_is_refused),
		T(another_top_folder_is_refused),
		T(links_are_refused_wherever_they_lead),
		T(devices_and_pipes_are_refused),
		T(set_user_id_is_refused_also_of_what_nobody_wants),
		T(what_is_there_twice_is_refused),
		T(a_name_that_talks_to_terminals_is_refused),
		T(a_bomb_is_refused_before_it_has_gone_off),
		T(bytes_and_entries_have_limits),
		T(what_is_cut_off_is_damaged_wherever_it_is_cut),
		T(what_is_no_archive_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
