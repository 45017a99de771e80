/*
 * A hole in an AArch64 program, closed by a patch file that is reloaded while
 * the program runs.
 *
 * lookup() reads a byte of a table and does not look where the table ends;
 * behind it stands a secret.  The file closes that.  Then somebody edits it:
 * once with a mistake, which changes nothing, once with a better fix, and at
 * last he empties it.  Nobody tells the program; the library watches the file.
 *
 *     cc -o security_patch_example security_patch_example.c $(pkg-config --cflags --libs livepatch) -pthread
 *     ./security_patch_example
 */
#include <livepatch.h>

#include <limits.h>
#include <sched.h>
#include <unistd.h>

#include "guest.h"

/* ---- the program ---- */

enum { BASE = 0x4000000, LOOKUP = 0x4001000, TABLE = 0x4001010, TABLE_SIZE = 8 };

static const uint32_t lookup_code[] = {
	0x10000081, /* 4001000  adr  x1, 4001010 */
	0x38604820, /* 4001004  ldrb w0, [x1, w0, uxtw] */
	0xd65f03c0, /* 4001008  ret */
	0xd503201f, /* 400100c  nop */
};
static const char table[] = "PUBLIC..secret!!"; /* the table, and what it should keep to itself */

static _Alignas(4096) uint8_t memory[64 * 1024];

static struct guest guest_boot(void)
{
	struct guest guest = {.memory = memory, .size = sizeof(memory), .base = BASE};

	guest_store(&guest, LOOKUP, lookup_code, sizeof(lookup_code));
	guest_store(&guest, TABLE, table, sizeof(table) - 1);
	return guest;
}

/* What somebody learns who asks for more than there is. */
static void read_out(struct guest *guest, const char *when)
{
	char answers[sizeof(table)] = "";

	for (uint32_t i = 0; i < sizeof(table) - 1; i++)
		answers[i] = (char)guest_call(guest, LOOKUP, i);
	printf("%-42s %s\n", when, answers);
}

/* ---- the patch file, as somebody edits it ---- */

static const char clamped[] =
	"[\n"
	"  {\"type\": \"INSERT\", \"addr\": \"0x4001004\", \"desc\": \"no index beyond the table\",\n"
	"   \"code\": \"1f200071 00309f1a\"}\n" /* cmp w0, #8; csel w0, w0, wzr, lo */
	"]\n";

static const char mistaken[] =
	"[\n"
	"  {\"type\": \"INSERT\", \"addr\": \"0x4001006\", \"desc\": \"no index beyond the table\",\n"
	"   \"code\": \"1f200071 00309f1a\"}\n"
	"]\n";

static const char starred[] =
	"[\n"
	"  {\"type\": \"INSERT\", \"addr\": \"0x4001004\", \"desc\": \"a star beyond the table\",\n"
	"   \"code\": \"1f200071 63000054 40058052 c0035fd6\"}\n" /* cmp w0, #8; b.lo .+12; mov w0, #'*'; ret */
	"]\n";

static const char emptied[] = "[]\n";

static char directory[] = "/tmp/security-patch-XXXXXX", file[PATH_MAX];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* As editors do it: whoever reads the file meets the old text or the new one. */
static void edit(const char *text)
{
	char draft[PATH_MAX + 8];
	FILE *f;

	snprintf(draft, sizeof(draft), "%s.draft", file);
	f = fopen(draft, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0 || rename(draft, file) != 0)
		fail(draft);
}

static void tidy_up(void)
{
	unlink(file);
	rmdir(directory);
}

/* ---- the library ---- */

static int must(int result)
{
	if (result < 0) {
		fprintf(stderr, "security_patch_example: %s\n", livepatch_last_error()->text);
		exit(1);
	}
	return result;
}

static uint64_t reloads_tried(LivePatchSystem *patches, livepatch_counts *counts)
{
	must(livepatch_get_counts(patches, counts));
	return counts->reloads + counts->reload_errors;
}

/* The program goes on as ever; that the file is read meanwhile is the library's business. */
static void edit_and_run_on(LivePatchSystem *patches, struct guest *guest, const char *text)
{
	livepatch_counts counts;
	uint64_t before = reloads_tried(patches, &counts), errors = counts.reload_errors;

	edit(text);
	while (reloads_tried(patches, &counts) == before) {
		guest_call(guest, LOOKUP, 0);
		sched_yield();
	}
	if (counts.reload_errors != errors)
		printf("  refused: %s\n", counts.last_reload_error);
}

int main(void)
{
	struct guest guest = guest_boot();
	LivePatchSystem *patches = livepatch_init(memory, sizeof(memory), BASE);

	must(patches ? 0 : -1);
	if (!mkdtemp(directory))
		fail(directory);
	atexit(tidy_up);
	snprintf(file, sizeof(file), "%s/lookup.json", directory);
	read_out(&guest, "the program as it is");

	edit(clamped);
	must(livepatch_watch(patches, file));
	read_out(&guest, "patched: indices end where the table ends");

	edit_and_run_on(patches, &guest, mistaken);
	read_out(&guest, "the file has a mistake: nothing changes");

	edit_and_run_on(patches, &guest, starred);
	read_out(&guest, "a better fix: stars");
	livepatch_list(patches);

	edit_and_run_on(patches, &guest, emptied);
	read_out(&guest, "the file is empty: as it was");

	must(livepatch_unwatch(patches));
	livepatch_stats(patches);
	livepatch_cleanup(patches);
	return 0;
}
