/*
 * livepatch.h over memory of one's own: an AArch64 program that sells tickets
 * is changed in every way there is, and shown before and after.
 *
 *     livepatch_example demo                  each kind of patch, and what it does
 *     livepatch_example create-patches FILE   writes a patch file (JSON when it is called *.json)
 *     livepatch_example load-patches FILE     applies one, for example test_patch.lpatch
 *     livepatch_example memory-demo           the same patches, as words in memory
 *     livepatch_example help
 *
 * Built with the tree, or outside of it by
 *
 *     cc -o livepatch_example livepatch_example.c $(pkg-config --cflags --libs livepatch) -pthread
 */
#include <livepatch.h>

#include <pthread.h>
#include <stdatomic.h>

#include "guest.h"

/* ---- the program ---- */

enum {
	BASE = 0x4000000,
	PRICE = 0x4001000,    /* what w0 tickets cost */
	HANDLER = 0x4002000,  /* what is asked of the cashier when he is ill */
	DISCOUNT = 0x4003000, /* half of the price */
};

static const uint32_t price_code[] = {
	0x34000080, /* 4001000  cbz  w0, 4001010   nobody buys nothing */
	0x52800141, /* 4001004  mov  w1, #10       ten a ticket */
	0x1b017c00, /* 4001008  mul  w0, w0, w1 */
	0xd65f03c0, /* 400100c  ret */
	0x12800000, /* 4001010  mov  w0, #-1 */
	0xd65f03c0, /* 4001014  ret */
};

static const uint32_t handler_code[] = {
	0x52800c60, /* 4002000  mov  w0, #99 */
	0xd65f03c0, /* 4002004  ret */
};

static const uint32_t discount_code[] = {
	0x528000a1, /* 4003000  mov  w1, #5 */
	0x1b017c00, /* 4003004  mul  w0, w0, w1 */
	0xd65f03c0, /* 4003008  ret */
};

static _Alignas(4096) uint8_t memory[64 * 1024];

static struct guest guest_boot(void)
{
	struct guest guest = {.memory = memory, .size = sizeof(memory), .base = BASE};

	guest_store(&guest, PRICE, price_code, sizeof(price_code));
	guest_store(&guest, HANDLER, handler_code, sizeof(handler_code));
	guest_store(&guest, DISCOUNT, discount_code, sizeof(discount_code));
	return guest;
}

/* ---- helpers ---- */

/* Everything in the library that can refuse answers -1, and says why by livepatch_last_error(). */
static int must(int result)
{
	if (result < 0) {
		fprintf(stderr, "livepatch_example: %s\n", livepatch_last_error()->text);
		exit(1);
	}
	return result;
}

static LivePatchSystem *open_patches(void)
{
	LivePatchSystem *patches = livepatch_init(memory, sizeof(memory), BASE);

	must(patches ? 0 : -1);
	return patches;
}

static void show(struct guest *guest, const char *what)
{
	printf("%-58s %8d %8d\n", what, (int32_t)guest_call(guest, PRICE, 0), (int32_t)guest_call(guest, PRICE, 3));
}

/* ---- demo ---- */

static void demo_kinds(struct guest *guest, LivePatchSystem *patches)
{
	static const uint32_t fee[] = {0x11000421 /* add w1, w1, #1 */};
	static const uint32_t free_of_charge[] = {0x52800000 /* mov w0, #0 */, 0xd65f03c0 /* ret */};
	uint64_t free_function;

	must(livepatch_create_nop(patches, PRICE, "Disable check"));
	show(guest, "NOP: no check for no tickets");
	must(livepatch_apply(patches, PRICE + 4, 0x52800101 /* mov w1, #8 */, "Reduced price"));
	show(guest, "INLINE: eight instead of ten");
	must(livepatch_insert(patches, PRICE + 8, fee, sizeof(fee), "Booking fee"));
	show(guest, "INSERT: a fee of one, before the multiplication");
	must(livepatch_revert(patches, PRICE + 4));
	show(guest, "revert INLINE: ten again, the fee stays");
	must(livepatch_revert_all(patches));
	show(guest, "revert all");

	must(livepatch_create_branch(patches, PRICE, HANDLER, "Jump to handler"));
	show(guest, "BRANCH: to the handler");
	must(livepatch_revert(patches, PRICE));
	must(livepatch_redirect_function(patches, PRICE, DISCOUNT, "Half price"));
	show(guest, "FUNCTION_REDIRECT: to what costs half");
	must(livepatch_revert(patches, PRICE));
	must(livepatch_new_func(patches, "free", free_of_charge, sizeof(free_of_charge), &free_function, "Open day"));
	must(livepatch_redirect_function(patches, PRICE, free_function, "Open day"));
	show(guest, "NEW_FUNC and FUNCTION_REDIRECT: to code that was not there");
	printf("\n%d patches reverted\n", must(livepatch_revert_all(patches)));
}

static void demo_refusals(LivePatchSystem *patches)
{
	printf("\nWhat is refused, and changes nothing:\n");
	if (livepatch_apply(patches, BASE + sizeof(memory), 0xd503201f, "Beyond the end") < 0)
		printf("  %s\n", livepatch_last_error()->text);
	if (livepatch_apply(patches, PRICE + 2, 0xd503201f, "Between two instructions") < 0)
		printf("  %s\n", livepatch_last_error()->text);
	if (livepatch_create_branch(patches, PRICE, PRICE + 0x10000002, "Between two instructions, far away") < 0)
		printf("  %s\n", livepatch_last_error()->text);
}

/* All or none: what was asked for before the refusal is not done either. */
static void demo_transaction(struct guest *guest, LivePatchSystem *patches)
{
	printf("\n");
	must(livepatch_begin(patches));
	must(livepatch_apply(patches, PRICE + 4, 0x52800101 /* mov w1, #8 */, "Reduced price"));
	if (livepatch_create_branch(patches, PRICE + 12, PRICE + 14, "Nowhere") < 0)
		must(livepatch_abort(patches));
	show(guest, "a transaction with a mistake: nothing is changed");

	must(livepatch_begin(patches));
	must(livepatch_apply(patches, PRICE + 4, 0x52800101 /* mov w1, #8 */, "Reduced price"));
	must(livepatch_create_nop(patches, PRICE, "Disable check"));
	must(livepatch_commit(patches));
	show(guest, "one without: both");
	livepatch_list(patches);
	must(livepatch_revert_all(patches));
}

struct customer {
	struct guest guest;
	atomic_bool stop;
	unsigned long ten, eight, other; /* answers by the price of a ticket */
};

static void *buy_three(void *arg)
{
	struct customer *c = arg;

	while (!atomic_load(&c->stop)) {
		uint32_t paid = guest_call(&c->guest, PRICE, 3);

		*(paid == 30 ? &c->ten : paid == 24 ? &c->eight : &c->other) += 1;
	}
	return NULL;
}

static void demo_while_it_runs(struct guest *guest, LivePatchSystem *patches)
{
	struct customer c = {.guest = *guest};
	pthread_t thread;

	if (pthread_create(&thread, NULL, buy_three, &c) != 0)
		abort();
	for (int i = 0; i < 100000; i++) {
		must(livepatch_apply(patches, PRICE + 4, 0x52800101 /* mov w1, #8 */, "Reduced price"));
		must(livepatch_revert(patches, PRICE + 4));
	}
	atomic_store(&c.stop, true);
	pthread_join(thread, NULL);
	printf("\nPatched and reverted 100000 times while another thread calls: ten a ticket %lu times, eight %lu, "
	       "anything else %lu\n",
	       c.ten, c.eight, c.other);
	if (c.other != 0)
		exit(1);
}

static void demo(const char *file)
{
	struct guest guest = guest_boot();
	LivePatchSystem *patches = open_patches();

	(void)file;
	printf("%-58s %8s %8s\n", "", "price(0)", "price(3)");
	show(&guest, "the program as it is");
	demo_kinds(&guest, patches);
	demo_refusals(patches);
	demo_transaction(&guest, patches);
	demo_while_it_runs(&guest, patches);
	livepatch_stats(patches);
	livepatch_cleanup(patches);
}

/* ---- patch files ---- */

static void create_patches(const char *file)
{
	struct guest guest = guest_boot();
	LivePatchSystem *patches = open_patches();

	must(livepatch_create_nop(patches, PRICE, "Disable check"));
	must(livepatch_apply(patches, PRICE + 4, 0x52800101 /* mov w1, #8 */, "Reduced price"));
	printf("%d patches in %s\n", must(livepatch_save_to_file(patches, file)), file);
	show(&guest, "what they do");
	livepatch_cleanup(patches);
}

static void load_patches(const char *file)
{
	struct guest guest = guest_boot();
	LivePatchSystem *patches = open_patches();

	printf("%-58s %8s %8s\n", "", "price(0)", "price(3)");
	show(&guest, "before");
	printf("%d patches from %s\n", must(livepatch_load_from_file(patches, file)), file);
	show(&guest, "after");
	livepatch_list(patches);
	livepatch_cleanup(patches);
}

/* ---- memory ---- */

static void show_words(struct guest *guest, const char *what, uint64_t addr, size_t count)
{
	printf("%s\n", what);
	for (size_t i = 0; i < count; i++, addr += 4)
		printf("  %" PRIx64 "  %08x\n", addr, *(uint32_t *)guest_at(guest, addr, 4));
}

static int show_patch(const livepatch_info *patch, void *guest)
{
	printf("  %" PRIx64 ": %s", patch->addr, patch->description);
	if (patch->target)
		printf(", leads to %" PRIx64, patch->target);
	printf("\n");
	if (patch->code_size)
		show_words(guest, "  there:", patch->target, patch->code_size / 4 + 2);
	return 0;
}

static void memory_demo(const char *file)
{
	static const uint32_t fee[] = {0x11000421 /* add w1, w1, #1 */};
	struct guest guest = guest_boot();
	LivePatchSystem *patches = open_patches();

	(void)file;
	show_words(&guest, "price, as it is:", PRICE, 6);
	must(livepatch_create_nop(patches, PRICE, "Disable check"));
	must(livepatch_insert(patches, PRICE + 8, fee, sizeof(fee), "Booking fee"));
	show_words(&guest, "\nprice, patched:", PRICE, 6);
	printf("\npatches:\n");
	livepatch_foreach(patches, show_patch, &guest);
	must(livepatch_revert_all(patches));
	show_words(&guest, "\nprice, reverted:", PRICE, 6);
	livepatch_cleanup(patches);
}

/* ---- commands ---- */

static void help(const char *file);

static const struct {
	const char *name, *file, *what;
	void (*run)(const char *file);
} commands[] = {
	{"demo", NULL, "each kind of patch, and what it does", demo},
	{"create-patches", "FILE", "write a patch file (JSON when it is called *.json)", create_patches},
	{"load-patches", "FILE", "apply one, for example test_patch.lpatch", load_patches},
	{"memory-demo", NULL, "patches as words in memory", memory_demo},
	{"help", NULL, "this list", help},
};
enum { NR_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void help(const char *file)
{
	(void)file;
	for (int i = 0; i < NR_COMMANDS; i++)
		printf("livepatch_example %-14s %-4s  %s\n", commands[i].name, commands[i].file ? commands[i].file : "",
		       commands[i].what);
}

int main(int argc, char **argv)
{
	for (int i = 0; argc > 1 && i < NR_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0 || argc != 2 + (commands[i].file != NULL))
			continue;
		commands[i].run(argv[2]);
		return 0;
	}
	help(NULL);
	return 2;
}
