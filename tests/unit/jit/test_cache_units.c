/*
 * Units that are kept: the same code at different places makes the same record, and what is made of a record there is what
 * is translated there; what is not the same is not taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/emu.h"
#include "isa/a64/table.h"
#include "jit/cache.h"
#include "jit/private.h"

enum { PAGES = 64, FILE_SIZE = PAGES * LP_GUEST_PAGE, STREAMS = PAGES - 1, ROUNDS = 6 };

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

/* ---- a guest's file with a build-id, and words behind its first page ---- */

struct notes {
	Elf64_Nhdr header;
	char name[4];
	uint8_t id[20];
};

static uint64_t seed;

static uint32_t any(void)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 32);
}

/* A branch goes somewhere near, as what is not of the file is not the same everywhere. */
static uint32_t near(uint32_t word)
{
	uint32_t offset = any() % 64 - 32;

	if ((word & 0x7c000000) == 0x14000000) /* b, bl */
		return (word & 0xfc000000) | (offset & 0x3ffffff);
	if ((word & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		return (word & ~UINT32_C(0x7ffe0)) | (offset & 0x3fff) << 5;
	return (word & ~UINT32_C(0xffffe0)) | (offset & 0x7ffff) << 5;
}

/* Of any row, registers and immediates as they come. */
static uint32_t any_word(void)
{
	for (;;) {
		enum lp_a64_op op = (enum lp_a64_op)(any() % A64_OP_COUNT);
		const struct lp_a64_row *row = lp_a64_row(op);
		uint32_t word = row->match | (any() & ~row->mask);
		uint64_t target;
		if (lp_a64_is_allocated(word))
			return lp_jit_branch_target(0, word, &target) ? near(word) : word;
	}
}

static int make_file(uint8_t build)
{
	static uint8_t bytes[FILE_SIZE];
	const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
				   .e_phoff = sizeof header,
				   .e_phentsize = sizeof(Elf64_Phdr),
				   .e_phnum = 1};
	const Elf64_Phdr note = {.p_type = PT_NOTE, .p_offset = 256, .p_filesz = sizeof(struct notes)};
	const struct notes notes = {{4, 20, NT_GNU_BUILD_ID}, "GNU", {build}};
	uint32_t *words = (uint32_t *)(bytes + LP_GUEST_PAGE);
	int fd = memfd_create("guest", MFD_CLOEXEC);

	memcpy(bytes, &header, sizeof header);
	memcpy(bytes + sizeof header, &note, sizeof note);
	memcpy(bytes + 256, &notes, sizeof notes);
	for (size_t i = 0; i < (FILE_SIZE - LP_GUEST_PAGE) / 4; i++)
		words[i] = any_word();
	check(fd >= 0 && write(fd, bytes, sizeof bytes) == sizeof bytes, "no file");
	return fd;
}

static uint64_t map(struct lp_jit *jit, int fd)
{
	uint64_t at = lp_mem_map(jit->emu, 0, FILE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	check(!lp_mem_failed(at), "no room for the file");
	return at;
}

static struct lp_jit *jit_with_cache(void)
{
	const struct lp_emu_options none = {0};
	const struct lp_jit_options options = {.cache_bytes = 1 << 30};
	struct lp_err err = {0};
	struct lp_emu *emu = lp_emu_new(&none, &err);

	check(emu && !lp_jit_attach(emu, &options, &err), err.text);
	check(((struct lp_jit *)emu->engine_data)->cache, "no cache");
	return emu->engine_data;
}

static struct lp_unit *unit_at(struct lp_jit *jit, uint64_t pc)
{
	struct lp_jit_slot *slot = lp_translate(jit, pc, NULL);

	check(slot && slot->unit, "no unit");
	return slot->unit;
}

static void in_child(void (*run)(void))
{
	char home[] = "/tmp/cache-units-XXXXXX";
	int status;
	pid_t pid;

	assert_non_null(mkdtemp(home));
	pid = fork();
	if (pid == 0) {
		setenv("XDG_CACHE_HOME", home, 1);
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(rmdir(home), 0); /* nobody has written anything */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- everywhere the same ---- */

static const struct lp_unit_ref *ref_at(const struct lp_unit *u, size_t at)
{
	for (unsigned i = 0; i < u->nr_refs; i++)
		if (u->refs[i].at == at)
			return &u->refs[i];
	return NULL;
}

/* What stands in code there, as an address. */
static uint64_t referred_to(const struct lp_unit *u, const struct lp_unit_ref *r)
{
	uint64_t address;
	int32_t distance;

	memcpy(&address, u->code + r->at, 8);
	memcpy(&distance, u->code + r->at, 4);
	return lp_unit_ref_size(r) == 8 ? address
					: (uint64_t)u->code + r->at + 4 + r->behind + (uint64_t)(int64_t)distance;
}

static void compare(const struct lp_unit *made, const struct lp_unit *loaded)
{
	check(made->size == loaded->size && made->hot_size == loaded->hot_size && made->nr_insns == loaded->nr_insns &&
		      made->is_loop == loaded->is_loop && made->nr_looked == loaded->nr_looked &&
		      made->v_narrow_s == loaded->v_narrow_s && made->v_narrow_d == loaded->v_narrow_d &&
		      made->range.start == loaded->range.start && made->range.end == loaded->range.end,
	      "another unit");
	check(!memcmp(made->words, loaded->words, made->nr_insns * 4) &&
		      !memcmp(made->offsets, loaded->offsets, made->nr_insns * 4) &&
		      !memcmp(made->flags_at, loaded->flags_at, made->nr_insns) &&
		      made->nr_v_notes == loaded->nr_v_notes &&
		      !memcmp(made->v_notes, loaded->v_notes, made->nr_v_notes * 4),
	      "other instructions");
	for (unsigned i = 0; i < made->nr_looked; i++)
		check(made->looked[i].range.start == loaded->looked[i].range.start &&
			      made->looked[i].range.end == loaded->looked[i].range.end,
		      "another look");
	for (size_t at = 0; at < made->size;) {
		const struct lp_unit_ref *r = ref_at(made, at);
		if (r && r->kind == LP_REF_UOP)
			check(referred_to(made, r) - (uint64_t)made->uops ==
				      referred_to(loaded, r) - (uint64_t)loaded->uops,
			      "another uop");
		else if (r)
			check(referred_to(made, r) == referred_to(loaded, r), "another reference");
		else
			check(made->code[at] == loaded->code[at], "other code");
		at += r ? lp_unit_ref_size(r) : 1;
	}
}

static unsigned nr_kept, nr_seen, nr_of_kind[LP_REF_KINDS];

static void try_unit(struct lp_jit *jit, uint64_t a, uint64_t b, uint64_t offset)
{
	static uint8_t one[LP_CACHE_RECORD_MAX], two[LP_CACHE_RECORD_MAX];
	struct lp_unit *at_a = unit_at(jit, a + offset), *at_b = unit_at(jit, b + offset), *loaded;
	size_t len;

	nr_seen++;
	if (at_a->interpreted)
		return;
	check(!at_a->image == !at_b->image, "kept here, and not there");
	if (!at_a->image)
		return;
	nr_kept++;
	len = lp_cache_pack(jit, at_a, one, sizeof one);
	check(len && len == lp_cache_pack(jit, at_b, two, sizeof two) && !memcmp(one, two, len), "another record");
	loaded = lp_cache_unpack(jit, one, len, b + offset, LP_LONG_UNIT_MAX);
	check(loaded, "a record that is not taken");
	compare(at_b, loaded);
	for (unsigned i = 0; i < at_a->nr_refs; i++)
		nr_of_kind[at_a->refs[i].kind]++;
}

static void try_everywhere(void)
{
	struct lp_jit *jit = jit_with_cache();

	for (seed = 1; seed <= ROUNDS; seed++) {
		uint64_t again = seed;
		int fd = make_file((uint8_t)seed);
		uint64_t a = map(jit, fd), b = map(jit, fd);
		for (uint64_t offset = 2 * LP_GUEST_PAGE; offset < FILE_SIZE - LP_GUEST_PAGE;
		     offset += 4 * (1 + any() % 24))
			try_unit(jit, a, b, offset);
		close(fd);
		seed = again;
	}
	check(nr_seen > 1000 && nr_kept > nr_seen / 2, "hardly anything is kept");
	for (unsigned kind = 0; kind < LP_REF_KINDS; kind++)
		check(nr_of_kind[kind] > 20, "a kind of reference that is never there");
}

static void a_unit_makes_the_same_record_and_the_same_code_everywhere(void **state)
{
	in_child(try_everywhere);
}

/* ---- what is not the same ---- */

static void try_changed(void)
{
	static uint8_t record[LP_CACHE_RECORD_MAX];
	struct lp_jit *jit = jit_with_cache();
	int fd = make_file(1);
	uint64_t at = map(jit, fd), start;
	struct lp_unit *u = NULL;
	size_t len;
	uint32_t word;

	/* One of several instructions, which looks at others. */
	for (start = at + LP_GUEST_PAGE; start < at + FILE_SIZE; start += 4) {
		u = unit_at(jit, start);
		if (u->image && u->nr_insns > 3 && u->nr_looked && !lp_range_overlaps(u->range, u->looked[0].range))
			break;
	}
	check(start < at + FILE_SIZE, "no such unit");
	len = lp_cache_pack(jit, u, record, sizeof record);
	check(len && lp_cache_unpack(jit, record, len, start, u->nr_insns), "its own record");
	check(!lp_cache_unpack(jit, record, len, start, u->nr_insns - 1u), "more instructions than there are");
	check(!lp_cache_unpack(jit, record, len, start + 4, LP_LONG_UNIT_MAX), "other words");
	for (uint64_t pc = u->range.start; pc < u->range.end; pc += 4) {
		check(!lp_mem_get(pc, &word), "words");
		word ^= 1;
		lp_mem_poke(jit->emu, pc, &word, 4);
		check(!lp_cache_unpack(jit, record, len, start, LP_LONG_UNIT_MAX), "a word that was changed");
		word ^= 1;
		lp_mem_poke(jit->emu, pc, &word, 4);
	}
	for (unsigned i = 0; i < u->nr_looked; i++) {
		uint64_t pc = u->looked[i].range.end - 4;
		lp_block_breakpoint(jit->emu->blocks, pc, true);
		check(!lp_cache_unpack(jit, record, len, start, LP_LONG_UNIT_MAX), "a look at a breakpoint");
		lp_block_breakpoint(jit->emu->blocks, pc, false);
		check(!lp_mem_get(pc, &word), "words");
		word ^= 1;
		lp_mem_poke(jit->emu, pc, &word, 4);
		check(!lp_cache_unpack(jit, record, len, start, LP_LONG_UNIT_MAX), "a look at what was changed");
		word ^= 1;
		lp_mem_poke(jit->emu, pc, &word, 4);
	}
	lp_block_breakpoint(jit->emu->blocks, u->range.start + 4, true);
	check(!lp_cache_unpack(jit, record, len, start, LP_LONG_UNIT_MAX), "a breakpoint in it");
	lp_block_breakpoint(jit->emu->blocks, u->range.start + 4, false);
	check(lp_cache_unpack(jit, record, len, start, LP_LONG_UNIT_MAX), "all is as it was");
}

static void what_stands_there_now_decides(void **state)
{
	in_child(try_changed);
}

/* No record, however it is altered, has anything touched that is not its own: what is taken is found by its numbers, which
 * are checked one by one. */
static void try_hostile(void)
{
	static uint8_t record[LP_CACHE_RECORD_MAX], altered[LP_CACHE_RECORD_MAX];
	struct lp_jit *jit = jit_with_cache();
	int fd = make_file(2);
	uint64_t at = map(jit, fd) + LP_GUEST_PAGE;
	struct lp_unit *u;
	size_t len;

	do {
		u = unit_at(jit, at);
		at += 4;
	} while (!u->image || u->nr_refs < 8 || !u->nr_looked);
	len = lp_cache_pack(jit, u, record, sizeof record);
	for (size_t cut = 0; cut < len; cut++)
		check(!lp_cache_unpack(jit, record, cut, u->range.start, LP_LONG_UNIT_MAX), "a record that was cut");
	for (size_t byte = 0; byte < len; byte++) {
		memcpy(altered, record, len);
		altered[byte] ^= (uint8_t)(1 + any() % 255);
		lp_cache_unpack(jit, altered, len, u->range.start, LP_LONG_UNIT_MAX);
	}
	for (unsigned n = 0; n < 20000; n++) {
		size_t most = len < 400 ? len : 400;
		memcpy(altered, record, len);
		for (unsigned k = any() % 4 + 1; k > 0; k--)
			altered[any() % most] = (uint8_t)any();
		lp_cache_unpack(jit, altered, len, u->range.start, LP_LONG_UNIT_MAX);
		check(lp_cache_unpack(jit, record, len, u->range.start, LP_LONG_UNIT_MAX) || lp_jit_is_full(jit),
		      "the record itself");
	}
}

static void a_hostile_record_touches_nothing(void **state)
{
	in_child(try_hostile);
}

/* ---- what is not kept ---- */

static void try_anonymous(void)
{
	struct lp_jit *jit = jit_with_cache();
	int fd = make_file(3);
	uint64_t at = lp_mem_map(jit->emu, 0, FILE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		 shared = lp_mem_map(jit->emu, 0, FILE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	uint32_t word = 0xd503201f;

	check(!lp_mem_failed(at) && !lp_mem_put(at, &word), "no memory");
	check(!unit_at(jit, at)->image, "memory that is of no file");
	check(!unit_at(jit, shared + LP_GUEST_PAGE)->image, "a file that others may write to while we look at it");
}

static void only_files_with_a_build_id_are_kept(void **state)
{
	in_child(try_anonymous);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_unit_makes_the_same_record_and_the_same_code_everywhere),
		cmocka_unit_test(what_stands_there_now_decides),
		cmocka_unit_test(a_hostile_record_touches_nothing),
		cmocka_unit_test(only_files_with_a_build_id_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
