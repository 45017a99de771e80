/*
 * Guest programs of a few instructions in a whole emulator with the translator: what becomes of slots, segments, flags and
 * returns where something runs out, faults, forks or changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/emu.h"
#include "isa/isa.h"
#include "jit/private.h"

enum { CODE_SIZE = 1 << 20, TEXT_MAX = 8192, PATIENCE_MS = 60000, RIGHT = 42, FAULTS_MAX = 16 };

/* What a world leaves behind, in memory that is shared with the test. */
struct left {
	struct lp_jit_stats stats;
	uint64_t faults, nzcv[FAULTS_MAX], at[FAULTS_MAX];
	uint64_t looks;
	uint64_t looks_known; /* to the translator, at the end */
};

struct world {
	const char *text;	      /* the program; or: */
	size_t (*write)(uint32_t *w); /* writes it, and says how many words it is */
	void (*control)(struct world *w, struct lp_range code);
	struct lp_jit_options options;
	bool forgets_sums; /* an immediate is not added by translated code */
	struct lp_emu *emu;
	struct left *left;
};

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

/* ---- a world ---- */

/* The program's end by exit_group: with what it has in x0. */
#define END "mov x8, #94\nsvc #0\n"

static void write_code(struct world *w, uint64_t start)
{
	static uint8_t bytes[TEXT_MAX];
	struct lp_err err = {0};
	size_t len;

	if (w->write) {
		w->write((uint32_t *)start);
		return;
	}
	check(!lp_isa_of(EM_AARCH64)->assemble(w->text, start, NULL, bytes, sizeof bytes, &len, &err), err.text);
	check(lp_mem_write(start, bytes, len) == 0, "no memory for code");
}

/* Who takes its flags for those of some time ago goes on before others look: not at a fault, nor at a system call. */
static bool is_loose(const struct lp_guest_thread *t)
{
	const struct lp_jit_thread *thread = t->cpu.engine;

	return thread && thread->is_loose;
}

static void keep_stats(struct lp_emu *emu, int status, void *arg)
{
	const struct lp_jit *jit = emu->engine_data;
	struct left *left = ((struct world *)arg)->left;

	check(!is_loose(lp_guest_self()), "a system call that is to be gone on from");
	lp_jit_stats(emu, &left->stats);
	for (size_t i = 0; i < LP_UNIT_BUCKETS; i++)
		for (const struct lp_look *look = jit->looks[i]; look; look = look->next)
			left->looks_known++;
}

/* Goes on behind the instruction. */
static bool keep_fault(struct lp_guest_thread *t, void *arg)
{
	struct left *left = ((struct world *)arg)->left;

	check(!is_loose(t), "a fault that is to be gone on from");
	check(left->faults < FAULTS_MAX && t->cpu.fault.signal == SIGSEGV, "a fault that is none of the program's");
	left->nzcv[left->faults] = lp_cpu_nzcv(&t->cpu) >> 28;
	left->at[left->faults++] = t->cpu.fault.addr;
	t->cpu.pc += 4;
	return true;
}

struct controlled {
	struct world *w;
	struct lp_range code;
};

static void *run_control(void *arg)
{
	struct controlled *c = arg;

	lp_signals_keep_out();
	c->w->control(c->w, c->code);
	return NULL;
}

static bool forget(struct lp_tr *t, uint32_t word)
{
	return true;
}

static void run_world(struct world *w)
{
	static struct controlled c;
	struct lp_emu_options options = {0};
	struct lp_err err = {0};
	struct lp_cpu *cpu;
	pthread_t thread;
	uint64_t data;

	w->emu = lp_emu_new(&options, &err);
	check(w->emu && !lp_jit_attach(w->emu, &w->options, &err), err.text);
	if (w->forgets_sums)
		((struct lp_jit *)w->emu->engine_data)->emit[A64_OP_ADD_IMM] = forget;
	lp_emu_watch(w->emu, &(struct lp_emu_events){.exiting = keep_stats, .fault = keep_fault, .arg = w});
	c.w = w;
	c.code.start = lp_mem_map(w->emu, 0, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	c.code.end = c.code.start + CODE_SIZE;
	data = lp_mem_map(w->emu, 0, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	write_code(w, c.code.start);
	lp_mem_protect(w->emu, c.code.start, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	cpu = &w->emu->main->cpu;
	cpu->pc = c.code.start;
	cpu->x[19] = data;
	cpu->x[20] = c.code.start;
	cpu->x[LP_SP] = data + CODE_SIZE;
	if (w->control)
		check(pthread_create(&thread, NULL, run_control, &c) == 0, "no thread");
	lp_guest_thread_run(w->emu->main);
}

/* The program's exit status; what it left is valid until the next. */
static int status_of(struct world *w)
{
	static struct left *left;
	int status;
	pid_t pid;

	if (!left)
		left = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(left, MAP_FAILED);
	memset(left, 0, sizeof *left);
	w->left = left;
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		run_world(w);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* There is one translator in a process; `look` ends it. */
static void assert_right_in_a_child(void (*look)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		look();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- slots ---- */

static struct lp_jit *jit_with(const struct lp_jit_options *options)
{
	struct lp_emu_options none = {0};
	struct lp_err err = {0};
	struct lp_emu *emu = lp_emu_new(&none, &err);

	check(emu && !lp_jit_attach(emu, options, &err), err.text);
	return emu->engine_data;
}

static void look_at_slots(void)
{
	struct lp_jit *jit = jit_with(&(struct lp_jit_options){.max_slots = 3});
	struct lp_jit_slot *one = lp_jit_slot_of(jit, 0x1000), *two = lp_jit_slot_of(jit, 0x1004);
	const void *stub = one->code;

	check(one != two && lp_jit_slot_of(jit, 0x1000) == one && lp_jit_slot_find(jit, 0x1004) == two, "another slot");
	check(!lp_jit_slot_find(jit, 0x1008), "a slot that nobody asked for");
	check(stub && stub != two->code, "two slots with one stub");
	one->code = &one;
	lp_jit_slot_empty(jit, one);
	check(one->code == stub && !one->unit, "not its stub again");
	check(lp_jit_slot_of(jit, 0x2000) && !lp_jit_slot_of(jit, 0x3000), "more slots than there are");
	lp_jit_slots_forget(jit);
	check(!lp_jit_slot_find(jit, 0x1000), "a slot that is forgotten");
	check(lp_jit_slot_of(jit, 0x3000)->code == stub, "the first one again has the first stub");
	_exit(0);
}

static void slots_are_found_by_their_pc_and_run_out(void **state)
{
	assert_right_in_a_child(look_at_slots);
}

/* ---- what runs out ---- */

enum { NR_LINKS = 30000 };

static size_t put(uint32_t *w, const char *text)
{
	struct lp_err err = {0};
	uint8_t bytes[64];
	size_t len;

	check(!lp_isa_of(EM_AARCH64)->assemble(text, (uint64_t)w, NULL, bytes, sizeof bytes, &len, &err), err.text);
	memcpy(w, bytes, len);
	return len / 4;
}

/* Twice through NR_LINKS units; all of them count. */
static size_t write_chain(uint32_t *w)
{
	uint32_t add, *begin;
	size_t nr = put(w, "mov x1, #0\nmov x2, #2\n");

	begin = w + nr;
	put(&add, "add x1, x1, #1\n");
	for (unsigned i = 0; i < NR_LINKS; i++) {
		w[nr++] = add;
		w[nr++] = 0x14000001; /* b .+4 */
	}
	nr += put(w + nr, "sub x2, x2, #1\n");
	w[nr] = 0xb4000042; /* cbz x2, .+8 */
	w[nr + 1] = 0x14000000 | ((uint32_t)(begin - (w + nr + 1)) & 0x3ffffff);
	nr += 2;
	nr += put(w + nr, "mov x3, #60000\nsub x0, x1, x3\nadd x0, x0, #42\n" END);
	return nr;
}

static void code_that_needs_more_segments_than_there_are_is_translated_again(void **state)
{
	struct world w = {.write = write_chain, .options.max_segments = 2};

	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.flushed >= 2);
	assert_true(w.left->stats.units > NR_LINKS);
}

static void so_is_code_that_needs_more_slots(void **state)
{
	struct world w = {.write = write_chain, .options.max_slots = 5000};

	assert_int_equal(status_of(&w), RIGHT);
	assert_in_range(w.left->stats.flushed, 10, 20);
}

static void where_flushing_does_not_help_the_interpreter_goes_on(void **state)
{
	struct world w = {.write = write_chain, .options.max_segments = 1};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.flushed, 1);
	assert_int_equal(w.left->stats.insns, 0);
	w = (struct world){.write = write_chain, .options.max_slots = 2};
	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.flushed, 1);
}

/* ---- faults ---- */

/* x9: an address where nothing is. */
#define NOWHERE "mov x9, #8\n"

static void a_fault_finds_the_flags_that_were_in_the_hosts(void **state)
{
	/* Who is asked for them later, so that they matter; mrs would put them into memory before. */
	struct world w = {.text = NOWHERE
			  "mov x1, #5\nmov x2, #7\n"
			  "cmp x1, x2\nldr x3, [x9]\ncset x4, cc\n"	/* 5 - 7: N */
			  "cmp x1, x1\nldr x3, [x9, #8]\ncset x5, cs\n" /* Z C */
			  "cmn x1, x2\nstr x3, [x9, #16]\ncset x6, ne\n"
			  "mov x7, #-1\ncmn x7, x1\nldp x3, x10, [x9, #24]\ncset x7, cs\n"		   /* C */
			  "mov x8, #0x7fffffffffffffff\nadds x8, x8, x1\nldrb w3, [x9, #1]\ncset x8, vs\n" /* N V */
			  "ands x3, x1, x2\nstrh w3, [x9, #2]\ncset x10, ne\n"
			  "bics x3, x1, x1\nldr x3, [x9, #64]\ncset x11, eq\n"			     /* Z */
			  "fmov d0, x1\nfmov d1, x2\nfcmp d0, d1\nldr x3, [x9, #72]\ncset x12, mi\n" /* N */
			  "add x0, x4, x5\nadd x0, x0, x6\nadd x0, x0, x7\nadd x0, x0, x8\nadd x0, x0, x10\n"
			  "add x0, x0, x11\nadd x0, x0, x12\nadd x0, x0, #34\n" END};
	static const uint8_t nzcv[] = {8, 6, 0, 2, 9, 0, 4, 8};
	static const uint64_t at[] = {8, 16, 24, 32, 9, 10, 72, 80};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->faults, sizeof nzcv);
	for (size_t i = 0; i < sizeof nzcv; i++) {
		assert_int_equal(w.left->nzcv[i], nzcv[i]);
		assert_int_equal(w.left->at[i], at[i]);
	}
}

static void no_prefetch_faults(void **state)
{
	struct world w = {.text = NOWHERE "mov x1, #-8\nmovz x2, #0x5a80, lsl #48\nmov x0, #42\n"
					  "prfm pldl1keep, [x9]\nprfm pstl2strm, [x1, #8]\nprfm plil3keep, [x2]\n"
					  "prfm pldl3strm, [x2, w1, sxtw #3]\nprfum pldl1strm, [x9, #-9]\n"
					  "prfm pldl1keep, there\nthere: " END};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->faults, 0);
}

/* ---- returns ---- */

/* While sp is misaligned the interpreter is at work, so that it has a block that begins behind the load. */
static void behind_a_tagged_address_every_instruction_is_executed_once(void **state)
{
	struct world w = {.text = "sub x11, sp, #64\n"
				  "mov x21, sp\n"
				  "sub x22, sp, #8\n"
				  "mov x0, #40\n"
				  "mov x23, #0\n"
				  "cmp x0, x0\n"
				  "mov sp, x22\n"
				  "b behind\n"
				  "there: ldr x3, [x11]\n"
				  "behind: adc x0, x0, xzr\n"
				  "mov sp, x21\n"
				  "cbnz x23, done\n"
				  "mov x23, #1\n"
				  "movk x11, #0x5a00, lsl #48\n"
				  "b there\n"
				  "done: " END};

	assert_int_equal(status_of(&w), RIGHT);
}

static void a_recursion_deeper_than_the_shadow_stack_comes_back(void **state)
{
	/* 40,000 frames; 4096 fit */
	struct world w = {.text = "mov x0, #40000\nmov x1, #0\nbl down\n"
				  "mov x2, #40000\nsub x0, x1, x2\nadd x0, x0, #42\n" END
				  "down: cbz x0, out\nstp x29, x30, [sp, #-16]!\nsub x0, x0, #1\nbl down\n"
				  "add x1, x1, #1\nldp x29, x30, [sp], #16\nout: ret\n"};

	assert_int_equal(status_of(&w), RIGHT);
}

static void returns_without_calls_and_past_frames_find_their_way(void **state)
{
	/* a calls b calls c, which returns to a's caller; then returns to where nobody called from. */
	struct world w = {.text = "mov x5, #0\nmov x6, #3000\n"
				  "again: bl a\nadd x5, x5, #1\nsub x6, x6, #1\ncbnz x6, again\n"
				  "adr x30, there\nret\n" END "a: mov x10, x30\nbl b\nmov x0, #1\n" END
				  "b: bl c\nmov x0, #2\n" END "c: mov x30, x10\nret\n"
				  "there: adr x30, end\nret\n"
				  "end: mov x7, #2958\nsub x0, x5, x7\n" END};

	assert_int_equal(status_of(&w), RIGHT);
}

/* ---- changes ---- */

static void what_was_looked_at_for_flags_is_translated_again_when_it_changes(void **state)
{
	/* Behind the branch somebody writes all flags, so that those of the cmp need not be kept; then he asks for them. */
	struct world w = {
		.text = "mov x6, #2\nmov x7, #0\n"
			"again: mov x1, #7\ncmp x1, #7\nb there\n"
			"back: adr x2, there\nldr w3, other\nstr w3, [x2]\ndc cvau, x2\ndsb ish\nic ivau, x2\n"
			"dsb ish\nisb\nsub x6, x6, #1\ncbnz x6, again\nadd x0, x7, #41\n" END "other: cset x7, eq\n"
			"there: cmp x6, #100\nb back\n"};

	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.invalidated >= 2);
}

static void what_dropped_units_looked_at_is_forgotten_with_them(void **state)
{
	/* The same, for a long time: who changes a page goes through all that was looked at in it. */
	struct world w = {.text = "mov x6, #2000\nmov x7, #0\nadr x2, there\nldr w3, other\nldr w4, [x2]\n"
				  "again: mov x1, #7\ncmp x1, #7\nb there\n"
				  "back: str w3, [x2]\neor w3, w3, w4\neor w4, w3, w4\neor w3, w3, w4\ndc cvau, "
				  "x2\ndsb ish\nic ivau, x2\n"
				  "dsb ish\nisb\nsub x6, x6, #1\ncbnz x6, again\nmov x1, #958\nsub x0, x7, x1\n"
				  "cmp x1, x1\nb last\nnop\nlast: cmp x1, x0\n" END "other: cset x8, eq\n"
				  "there: cmp x6, #3000\nadd x7, x7, x8\nmov x8, #0\nb back\n"};

	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.invalidated >= 2000);
	assert_in_range(w.left->looks_known, 1, 100);
}

/* Out of a loop that never ends by itself. */
static void change_the_loop(struct world *w, struct lp_range code)
{
	uint32_t nop = 0xd503201f, word;

	do {
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "a loop cannot be stopped");
		check(lp_mem_get(code.start + 8, &word) == 0, "no code");
		if (w->emu->main->cpu.x[1] > 1000) {
			check(lp_mem_poke(w->emu, code.start + 8, &nop, sizeof nop) == 0, "no poke");
			lp_block_invalidate(w->emu->blocks, (struct lp_range){code.start + 8, code.start + 12});
			word = nop;
		}
		lp_threads_go(w->emu);
		sched_yield();
	} while (word != nop);
}

/* The loop's third instruction becomes the program's end. */
static void leave_the_loop(struct world *w, struct lp_range code)
{
	static const uint32_t end[] = {0xd2800540, 0xd2800bc8, 0xd4000001};
	struct lp_range changed = {code.start + 16, code.start + 16 + sizeof end};
	uint64_t x1 = 0;

	while (x1 <= 1000) {
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "a region cannot be stopped");
		x1 = w->emu->main->cpu.x[1];
		check(x1 < 3 || w->emu->main->cpu.x[6] - x1 <= 1, "registers of another time");
		if (x1 > 1000) {
			check(lp_mem_poke(w->emu, changed.start, end, sizeof end) == 0, "no poke");
			lp_block_invalidate(w->emu->blocks, changed);
		}
		lp_threads_go(w->emu);
		sched_yield();
	}
}

static void a_loop_within_one_unit_can_be_stopped_and_changed(void **state)
{
	struct world w = {.text = "mov x1, #0\nloop: add x1, x1, #1\nb loop\nmov x0, #42\n" END,
			  .control = change_the_loop};

	assert_int_equal(status_of(&w), RIGHT);
}

static void a_region_can_be_stopped_and_changed_with(struct lp_jit_options options)
{
	/* More registers than are ever in host registers at once, in a loop of three blocks that changes in the middle. */
	struct world w = {.text = "mov x1, #0\nloop: add x6, x6, #1\nadd x1, x1, #1\ntbz x1, #3, over\n"
				  "add x7, x7, x6\nadd x8, x8, x7\nadd x9, x9, x8\n"
				  "over: add x10, x10, x9\nadd x11, x11, x10\nadd x12, x12, x11\nb loop\n",
			  .control = leave_the_loop,
			  .options = options};

	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.regions >= 1);
	assert_true(w.left->stats.invalidated >= 1);
}

static void a_region_can_be_stopped_and_changed(void **state)
{
	a_region_can_be_stopped_and_changed_with((struct lp_jit_options){.tier = LP_JIT_TIER2});
}

static void so_can_one_that_a_loop_has_become(void **state)
{
	a_region_can_be_stopped_and_changed_with((struct lp_jit_options){.tier = LP_JIT_BOTH, .hot = 100});
}

/* Two instructions of the loop are others each time, together; in the end, the program's end.  The loop says where x19
 * points to how often it has gone round. */
static void change_the_loop_often(struct world *w, struct lp_range code)
{
	enum { TIMES = 300, ROUNDS = 20, PAIR = 4 * 4 };
	static const uint32_t pairs[2][2] = {{0x91000421, 0x91000442}, {0x91000821, 0x91000842}};
	static const uint32_t end[] = {0xd2800540, 0xd2800bc8, 0xd4000001};
	struct lp_range changed = {code.start + PAIR, code.start + PAIR + sizeof end};
	const uint64_t *x = w->emu->main->cpu.x;
	const _Atomic uint64_t *gone_round = (const void *)x[19];

	for (unsigned i = 0; i < TIMES;) {
		bool last = i == TIMES - 1;
		for (uint64_t seen = *gone_round; *gone_round - seen < ROUNDS;)
			sched_yield();
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "no stop");
		if (w->emu->main->cpu.pc - changed.start - 4 >= sizeof end - 4) { /* not in the middle of it */
			check(x[1] == x[2], "a mixture");
			check(lp_mem_poke(w->emu, changed.start, last ? end : pairs[i & 1], last ? sizeof end : 8) == 0,
			      "no poke");
			lp_block_invalidate(w->emu->blocks, changed);
			i++;
		}
		lp_threads_go(w->emu);
	}
}

static uint64_t times_thrown_away(struct lp_jit_options options)
{
	struct world w = {.text = "mov x1, #0\nmov x2, #0\nmov x3, #0\n"
				  "loop: str x3, [x19]\nadd x1, x1, #1\nadd x2, x2, #1\nadd x3, x3, #1\n"
				  "cmp x1, x2\nb.ne wrong\ntbz x3, #2, loop\nadd x6, x6, #1\nb loop\n"
				  "wrong: mov x0, #1\n" END,
			  .control = change_the_loop_often,
			  .options = options};

	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.invalidated + w.left->stats.flushed >= 200);
	assert_true((w.left->stats.regions >= 100) == (options.tier != LP_JIT_TIER1));
	return w.left->stats.flushed;
}

static void what_is_dead_is_thrown_away_while_a_loop_is_changed(void **state)
{
	assert_true(times_thrown_away((struct lp_jit_options){.max_dead = 1024}) >= 30);
}

static void so_is_it_while_a_region_is(void **state)
{
	assert_true(times_thrown_away((struct lp_jit_options){.max_dead = 1024, .tier = LP_JIT_TIER2}) >= 30);
}

static void and_while_a_loop_becomes_a_region_again_and_again(void **state)
{
	assert_true(times_thrown_away((struct lp_jit_options){.max_dead = 1024, .tier = LP_JIT_BOTH, .hot = 10}) >= 30);
}

/* Registers and flags that the loop has when it is left for its region; the loop of one unit, and one of several. */
static void a_loop_becomes_a_region_once(void **state)
{
	struct world w = {.text = "mov x0, #0\nmov x1, #20000\n"
				  "one: add x0, x0, #1\nsubs x1, x1, #1\nb.ne one\n"
				  "mov x1, #20000\n"
				  "two: b on\non: add x0, x0, #1\nsub x1, x1, #1\ncbnz x1, two\n"
				  "mov x1, #39958\nsub x0, x0, x1\n" END,
			  .options.tier = LP_JIT_BOTH};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.regions, 2);
}

/* Where Z is set, and where it is not: by the distance from the loop's begin. */
static void look_at_flags(struct world *w, struct lp_range code)
{
	enum { ROUNDS = 3000, BEGIN = 3 };
	static const uint8_t z[] = {2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0}; /* 2: before anybody has set them */

	while (w->left->looks < ROUNDS) {
		const struct lp_cpu *cpu = &w->emu->main->cpu;
		size_t i;
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "no stop");
		i = (cpu->pc - code.start) / 4;
		if (i > BEGIN && cpu->x[1] > 2) {
			check(i - BEGIN < sizeof z && (cpu->z == 0) == z[i - BEGIN], "flags of some time ago");
			w->left->looks++;
		}
		if (w->left->looks == ROUNDS)
			w->emu->main->cpu.x[2] = 0;
		lp_threads_go(w->emu);
		sched_yield();
	}
}

static void who_stands_still_has_the_flags_that_he_should_have_in(enum lp_jit_tier tier)
{
	/* Behind each branch the flags are written before anybody asks for them: they are not kept. */
	struct world w = {.text = "mov x1, #0\nmov x2, #1\nmov x3, #5\n"
				  "loop: cmp x3, #5\n"
				  "b one\n"
				  "one: add x1, x1, #1\nadd x4, x4, #1\nadd x5, x5, #1\n"
				  "add x6, x6, #1\ncmp x3, #6\n"
				  "b two\n"
				  "two: add x7, x7, #1\nadd x9, x9, #1\nadd x10, x10, #1\n"
				  "cbnz x2, loop\n"
				  "mov x0, #42\n" END,
			  .control = look_at_flags,
			  .options.tier = tier};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->looks, 3000);
	assert_int_equal(w.left->stats.regions > 0, tier == LP_JIT_TIER2);
}

static void who_stands_still_has_the_flags_that_he_should_have(void **state)
{
	who_stands_still_has_the_flags_that_he_should_have_in(LP_JIT_TIER1);
}

static void so_has_he_in_a_region(void **state)
{
	who_stands_still_has_the_flags_that_he_should_have_in(LP_JIT_TIER2);
}

/* ---- forks ---- */

static void a_process_that_forks_often_does_not_use_up_its_memory_for_code(void **state)
{
	/* Twice as many forks as segments.  Behind each, both processes translate what neither has so far: code that was
	 * just changed. */
	struct world w = {
		.text = "mov x22, #40\nmov x23, #0\n"
			"again: mov x0, #17\nmov x1, #0\nmov x2, #0\nmov x3, #0\nmov x4, #0\nmov x8, #220\nsvc #0\n"
			"mov x24, x0\n"
			"adr x2, other\nic ivau, x2\nisb\nbl other\n"
			"cbz x24, child\n"
			"mov x0, #-1\nsub x1, sp, #64\nmov x2, #0\nmov x3, #0\nmov x8, #260\nsvc #0\n"
			"ldur w0, [sp, #-64]\nadd x23, x23, x0, lsr #8\n"
			"sub x22, x22, #1\ncbnz x22, again\n"
			"sub x0, x23, #238\n" END /* 40 times 7 */
			"child: mov x0, x25\n" END "other: mov x25, #7\nret\n",
		.options.max_segments = 20};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.flushed, 0);
}

static void a_chain_of_children_flushes_when_it_has_to(void **state)
{
	/* Each child goes on as a parent, and its exit status is that of its own child. */
	struct world w = {
		.text = "mov x22, #30\n"
			"again: mov x0, #17\nmov x1, #0\nmov x2, #0\nmov x3, #0\nmov x4, #0\nmov x8, #220\nsvc #0\n"
			"cbz x0, child\n"
			"mov x0, #-1\nsub x1, sp, #64\nmov x2, #0\nmov x3, #0\nmov x8, #260\nsvc #0\n"
			"ldur w0, [sp, #-64]\nlsr w0, w0, #8\n" END "child: adr x2, other\nic ivau, x2\nisb\nbl other\n"
			"sub x22, x22, #1\ncbnz x22, again\nmov x0, #42\n" END "other: ret\n",
		.options.max_segments = 8};

	assert_int_equal(status_of(&w), RIGHT);
}

/* Units of one instruction each, so many that they are more than a child tells of. */
enum { NR_RETURNS = 100 };

static bool is_translated(struct lp_jit *jit, uint64_t pc)
{
	const struct lp_jit_slot *slot = lp_jit_slot_find(jit, pc);

	return slot && slot->unit;
}

static unsigned nr_translated(struct lp_jit *jit, uint64_t code)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_RETURNS; i++)
		nr += is_translated(jit, code + i * 4);
	return nr;
}

static uint64_t map_returns(struct lp_emu *emu)
{
	uint64_t code = lp_mem_map(emu, 0, LP_GUEST_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned i = 0; i < NR_RETURNS; i++)
		((uint32_t *)code)[i] = 0xd65f03c0; /* ret */
	return code;
}

/* As the emulator does it around a fork of the guest. */
static pid_t fork_as_guest(struct lp_emu *emu)
{
	pid_t pid;

	emu->engine->forking(emu);
	emu->engine->lock(emu);
	pid = fork();
	emu->engine->unlock(emu);
	if (pid == 0)
		emu->engine->forked(emu);
	return pid;
}

static void wait_for(pid_t pid)
{
	int status;

	check(waitpid(pid, &status, 0) == pid && status == 0, "a child failed");
}

static void let_children_translate(void)
{
	struct lp_jit *jit = jit_with(&(struct lp_jit_options){0});
	struct lp_emu *emu = jit->emu;
	uint64_t code = map_returns(emu);
	pid_t pid = fork_as_guest(emu);

	if (pid == 0) {
		check(lp_translate(jit, code + 8, NULL) && !lp_translate(jit, 16, NULL),
		      "what can be translated, and what cannot");
		_exit(0);
	}
	wait_for(pid);
	check(!nr_translated(jit, code), "before it forks again the parent has translated something");
	pid = fork_as_guest(emu);
	if (pid == 0) {
		check(is_translated(jit, code + 8) && nr_translated(jit, code) == 1, "what the first child had to");
		for (unsigned i = 0; i < NR_RETURNS; i++)
			lp_translate(jit, code + i * 4, NULL);
		check(nr_translated(jit, code) == NR_RETURNS, "all of them");
		_exit(0);
	}
	wait_for(pid);
	pid = fork_as_guest(emu);
	if (pid == 0)
		_exit(0);
	wait_for(pid);
	check(nr_translated(jit, code) > 60 && nr_translated(jit, code) < NR_RETURNS, "as much as a child tells");
	_exit(0);
}

static void what_a_child_had_to_translate_the_next_one_finds(void **state)
{
	assert_right_in_a_child(let_children_translate);
}

/* ---- what is executed once ---- */

static void what_is_executed_once_is_not_translated(void **state)
{
	struct world w = {.text = "mov x1, #1\ncbz x1, there\nmov x0, #41\nb there\nnop\nthere: add x0, x0, #1\n" END,
			  .options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.units, 0);
	w.options.waits = false;
	assert_int_equal(status_of(&w), RIGHT);
	assert_true(w.left->stats.units >= 2);
}

static void what_is_come_to_again_is(void **state)
{
	struct world w = {.text = "mov x0, #2\nmov x1, #20\n"
				  "loop: add x0, x0, #2\nsub x1, x1, #1\ncbnz x1, loop\n" END,
			  .options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.units, 1);
}

/* The unit of the loop leaves with flags that nobody asks for: what is executed once behind it faults before it writes them. */
static void a_fault_in_it_is_where_the_thread_stands(void **state)
{
	struct world w = {.text = NOWHERE "mov x6, #9\nloop: sub x6, x6, #1\ncmp x6, #100\ncbz x6, there\nb loop\nnop\n"
					  "there: ldr x3, [x9]\ncmp x6, x6\ncset x0, eq\nadd x0, x0, #41\n" END,
			  .options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->faults, 1);
	assert_int_equal(w.left->stats.units, 1);
}

#define EIGHT "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\n"

static void what_stands_behind_a_branch_that_was_taken_waits_as_well(void **state)
{
	struct world w = {.text = "mov x0, #2\nmov x1, #21\nloop: sub x1, x1, #1\ncbnz x1, on\n"
				  "mov x2, #1\nmov x3, #1\nmov x4, #1\nb out\n" EIGHT EIGHT EIGHT EIGHT
				  "on: add x0, x0, #2\nb loop\nout: " END,
			  .options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.units, 2);
	assert_int_equal(w.left->stats.insns, 4);
}

static void what_a_branch_goes_a_short_way_around_does_not(void **state)
{
	struct world w = {.text = "mov x0, #2\nmov x1, #21\nloop: sub x1, x1, #1\ncbnz x1, on\n"
				  "mov x2, #1\nmov x3, #1\nmov x4, #1\nb out\non: add x0, x0, #2\nb loop\nout: " END,
			  .options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.units, 2);
	assert_int_equal(w.left->stats.insns, 8);
}

static void what_stands_behind_a_loop_does_not(void **state)
{
	struct world w = {
		.text = "mov x0, #0\nmov x1, #21\nb loop\non: add x0, x0, #2\nloop: sub x1, x1, #1\ncbnz x1, on\n"
			"add x0, x0, #2\nmov x3, #1\nmov x4, #1\nb out\nout: " END,
		.options.waits = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->stats.units, 1);
	assert_int_equal(w.left->stats.insns, 7);
}

/* A child's memory is its own, but for what has been come to. */
static void come_to_returns(void)
{
	struct lp_jit *jit = jit_with(&(struct lp_jit_options){.waits = true});
	struct lp_emu *emu = jit->emu;
	struct lp_cpu *cpu = &emu->main->cpu;
	uint64_t code = map_returns(emu);

	for (unsigned i = 0; i < 2; i++) {
		pid_t pid = fork_as_guest(emu);
		cpu->pc = code;
		cpu->x[30] = 0; /* where nothing is */
		if (pid == 0)
			_exit(!emu->engine->run(cpu) || is_translated(jit, code) != (i == 1));
		wait_for(pid);
	}
	_exit(0);
}

static void what_a_child_comes_to_once_the_next_one_translates(void **state)
{
	assert_right_in_a_child(come_to_returns);
}

/* A page of the guest's code that children tell of may be gone by then. */
static void tell_of_what_is_gone(void)
{
	struct lp_jit *jit = jit_with(&(struct lp_jit_options){0});
	struct lp_emu *emu = jit->emu;
	uint64_t code = map_returns(emu);
	pid_t pid = fork_as_guest(emu);

	if (pid == 0)
		_exit(!lp_translate(jit, code, NULL));
	wait_for(pid);
	check(lp_mem_unmap(emu, code, LP_GUEST_PAGE) == 0, "unmapped");
	pid = fork_as_guest(emu);
	if (pid == 0)
		_exit(is_translated(jit, code));
	wait_for(pid);
	_exit(0);
}

static void what_a_child_tells_of_may_be_gone(void **state)
{
	assert_right_in_a_child(tell_of_what_is_gone);
}

/* ---- what is near stays near ---- */

static void look_at_neighbours(void)
{
	struct lp_jit *jit = jit_with(&(struct lp_jit_options){0});
	size_t pages = 0, buckets = sizeof jit->slots / LP_PAGE;
	const uint8_t *at;

	for (uint64_t pc = 0x400000; pc < 0x410000; pc += 64) /* 16 pages of a program */
		lp_jit_slot_of(jit, pc);
	for (uint64_t pc = 0x400000; pc < 0x410000; pc += 64)
		check(lp_jit_slot_find(jit, pc) && lp_jit_slot_find(jit, pc)->pc == pc, "found");
	for (at = (const uint8_t *)jit->slots; at < (const uint8_t *)(&jit->slots + 1); at += LP_PAGE)
		for (unsigned i = 0; i < LP_PAGE; i++)
			if (at[i]) {
				pages++;
				break;
			}
	check(pages && pages <= buckets / 32, "slots of neighbours are all over the table");
	_exit(0);
}

static void neighbours_are_near_each_other_in_the_table_of_slots(void **state)
{
	assert_right_in_a_child(look_at_neighbours);
}

/* ---- held against the interpreter ---- */

/* Loops, calls, memory, vectors, a fault. */
#define OF_ALL_KINDS                                                                                \
	"mov x1, #50\nmov x2, #0\nmov x9, #8\n"                                                     \
	"loop: add x2, x2, #1\nstr x2, [x19, x1, lsl #3]\nldr q0, [x19]\nadd v0.2d, v0.2d, v0.2d\n" \
	"str q0, [x19]\nsub x1, x1, #1\ncbnz x1, loop\n"                                            \
	"bl sum\nldr x3, [x9]\nadd x0, x4, #41\n" END "sum: ldr x4, [x19, #400]\ncmp x4, #1\ncset x4, eq\nret\n"

static void check_finds_translated_code_as_good_as_the_interpreter(void **state)
{
	struct world w = {.text = OF_ALL_KINDS, .options.checks = true};

	assert_int_equal(status_of(&w), RIGHT);
	assert_int_equal(w.left->faults, 1);
	assert_true(w.left->stats.compared >= 3);
}

/* Held against the interpreter, and by what comes out. */
static void instructions_that_become_one_do_what_they_did(void **state)
{
	static const char *const texts[] = {
		/* constants; the last movk of each is another register's or of another size */
		"movz x1, #0x1234, lsl #48\nmovk x1, #0x5678, lsl #32\nmovk x1, #0x9abc, lsl #16\nmovk x1, #0xdef0\n"
		"movn w2, #0x12\nmovk w2, #0x4321, lsl #16\nmovk x2, #7, lsl #32\n"
		"movn x3, #0x12, lsl #16\nmovk x4, #1\nmovk x3, #0x77, lsl #48\n"
		"movz w6, #1, lsl #16\nmovk w6, #2\nmovz x7, #3, lsl #32\nmovk x7, #4, lsl #16\n"
		"movz xzr, #3\nmovk xzr, #4\n"
		"eor x5, x1, x2\neor x5, x5, x3\neor x5, x5, x4\neor x5, x5, x6\neor x5, x5, x7\n"
		"and x6, x2, #0xff\nsub x0, x6, #195\n" END, /* 237 */
		/* addresses; the sum of the second is another register's */
		"adrp x1, there\nadd x1, x1, #8\nadrp x2, there\nadd x9, x2, #8\nadrp x10, there\nadd x10, x10, #4\n"
		"sub x0, x1, x9\nsub x3, x1, x10\nadd x0, x0, x3\nadd x0, x0, #38\nthere: " END,
		/* sums and fields with shifts, conditional moves in place, flags across them */
		"mov x1, #-5\nmov x2, #3\nmov x9, #7\ncmp x1, x2\n"
		"add x3, x2, x1, lsl #1\nadd w4, w2, w1, lsl #3\nadd x10, x9, x9, lsl #2\nadd x11, sp, w1, sxtw #4\n"
		"add x12, x2, w1, uxtb #3\nadd x2, x2, w2, sxth #2\nadd w13, w9, w1, sxtb #1\n"
		"sbfiz x14, x1, #4, #32\nubfiz x15, x1, #3, #8\nubfiz w16, w1, #2, #16\nlsl x17, x9, #3\nlsl w5, w5, "
		"#2\n"
		"cset x6, lt\ncset w0, ge\ncsel x1, x1, x2, lt\ncsel x2, x1, x2, ge\ncsel w3, w3, w3, eq\n"
		"csel x4, xzr, x4, lt\ncsel x5, x5, xzr, ge\ncsel x20, x9, x17, hi\ncsel w21, w9, wzr, ls\n"
		"csinc x1, x2, x3, lt\ncsinv w2, w1, w2, ge\ncsneg x3, x4, x3, eq\ncsinc x4, x4, x5, ne\ncsinv x5, "
		"xzr, x5, lt\n"
		"adc x7, x9, x9\nadd x0, x0, x7, lsl #1\nadd x0, x0, #12\n" END, /* 15 * 2 + 12 */
		/* back to an earlier unit that asks for flags, and on with them */
		"mov x0, #0\nmov x1, #5\ncmp x1, x1\nb in\n"
		"again: adc x0, x0, xzr\nsub x1, x1, #1\n"
		"in: cmp x1, #2\ncbnz x1, again\nadc x0, x0, xzr\nadd x0, x0, #38\n" END,
		/* counts of zeros from below and constants, with others between */
		"mov x1, #0x50\nrbit x2, x1\nadd x3, x1, #1\nclz x2, x2\nrbit w4, w1\nclz w4, w4\nrbit x5, xzr\nclz "
		"x5, x5\n"
		"rbit x6, x1\nadd x7, x6, #0\nclz x6, x6\nrbit x9, x1\nclz x10, x9\n" /* 4, 4, 64; seen between */
		"eor x7, x7, x9\ncbnz x7, wrong\ncmp x6, x10\nb.ne wrong\n"
		"movz x11, #1, lsl #16\nadd x12, x1, #5\nmovk x11, #2\nadd x13, x11, #1\nmovk x11, #3, lsl #48\n"
		"lsr x14, x11, #48\nmovk w11, #7, lsl #16\nlsr x15, x11, #16\nmovk x13, #9, lsl #32\nlsr x13, x13, "
		"#32\n"
		"add x0, x2, x4\nadd x0, x0, x5\nadd x0, x0, x14\nadd x0, x0, x15\nadd x0, x0, x13\nsub x0, x0, "
		"#49\n" END "wrong: mov x0, #1\n" END, /* 4 + 4 + 64 + 3 + 7 + 9 */
		/* differences, products, rotations and logic in place, with flags that are asked for behind them */
		"mov x1, #3\nmov x2, #5\nmov x9, #7\nmov x10, #9\ncmp x1, x2\n"
		"sub x3, x2, x1\nsub w4, w9, w10\nsub x11, x10, x1, lsl #1\nneg x5, x2\nneg w12, w9, lsl #2\nadd x20, "
		"x9, x10\n"
		"sub x21, x21, x21\nsub x2, x1, x2\n"
		"cset x0, lo\nccmp x0, x0, #0, hs\ncset x6, ne\nadd x0, x0, x6\n" /* 2 */
		"add x0, x0, x3\nadd x0, x0, w4, sxtw\nadd x0, x0, x11\nadd x0, x0, x5\nadd x0, x0, w12, sxtw\n"
		"add x0, x0, x20\nadd x0, x0, x2\n" /* 2 - 2 + 3 - 5 - 28 + 16 - 2 more: -14 */
		"mov x1, #6\nmul x1, x1, x9\nmul w2, w9, w2\nmadd x3, x1, x3, x3\nmsub x4, x1, x1, x1\nmul x1, x9, x1\n"
		"add x0, x0, x1\nadd x0, x0, x3\n" /* 294, 86 */
		"mov x7, #68\nmov x5, #0x120\nror x5, x5, x7\nmov w8, #-1\nmov x7, #32\nmov x1, #-1\nror w1, w1, w7\n"
		"add x0, x0, x5\nsub x1, x1, w8, uxtw\nadd x0, x0, x1\n" /* 18, 0 */
		"mov x1, #1\nmov x2, #2\neor x2, x1, x2, lsl #3\norr x1, x2, x1, lsl #1\nand x3, x1, x3, ror #1\n"
		"eor w8, w8, w2, asr #1\nadd x0, x0, x2\nadd x0, x0, x1\nsub x0, x0, #378\n" END, /* 17, 19 */
		/* comparisons if, and branches by them */
		"mov x0, #0\nmov x1, #3\nmov x2, #5\nmov x9, #5\n"
		"cmp x1, x2\nccmp x2, x2, #6, hs\nb.ne wrong\nadc x0, x0, xzr\n"
		"cmp x1, x2\nccmn x1, x2, #2, eq\nb.ls wrong\nadc x0, x0, xzr\n" /* 2 */
		"cmp x1, x2\nccmn x2, x9, #0, ne\nb.hi wrong\nadc x0, x0, xzr\n"
		"cmp x1, x2\nccmp x1, x1, #4, eq\nb.eq there\nb wrong\n"
		"there: csinc x0, x0, x0, ne\nccmp x2, x9, #0, eq\nb.eq on\nb wrong\n" /* 3 */
		"on: cmp x2, x9\nccmp x1, x2, #0, eq\nb.hs wrong\nldr x3, [x19]\nccmp x9, #5, #0, lo\nb.ne wrong\n"
		"mov x4, #10\nmov x5, #0\ncmp x4, x4\n"
		"again: adc x0, x0, xzr\nadd x5, x5, #1\ncmp x4, x5\nccmp x4, #9, #0, ne\nb.hs again\n"
		"b.hi wrong\n"
		"down: adc x0, x0, xzr\nsub x4, x4, #1\nldr x3, [x19]\ncmp x4, #2\nccmp x4, x4, #8, hi\nb.eq down\n"
		"b.pl wrong\n"
		"mov x6, #3\nup: adc x0, x0, xzr\nsub x6, x6, #1\ncmp x6, #0\nccmp xzr, x2, #2, eq\nb.hs up\n"
		"cmp x4, #2\nfmov d0, x4\nfcmp d0, #0.0\nfcmp d0, d0\nccmp x4, x2, #1, ne\nb.vc wrong\nadd x0, x0, "
		"#20\n" END "wrong: mov x0, #1\n" END,
		/* in a region: loops come back between two that are one elsewhere */
		"mov x0, #0\nmov x9, #1000\nmovz x1, #7\n"
		"half: movk x1, #1, lsl #16\nadrp x2, page\n"
		"add x2, x2, #8\nadd x1, x1, #1\nadd x0, x0, x1, lsr #16\nsub x9, x9, #1\n"
		"tbnz x9, #0, half\ncbnz x9, whole\nsub x0, x0, #958\n" END "whole: movz x1, #9\nb half\npage: " END,
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct world w = {.text = texts[i]};
		assert_int_equal(status_of(&w), RIGHT);
		w = (struct world){.text = texts[i], .options.tier = LP_JIT_TIER2};
		assert_int_equal(status_of(&w), RIGHT);
		w = (struct world){.text = texts[i], .options.checks = true};
		assert_int_equal(status_of(&w), RIGHT);
		assert_true(w.left->stats.compared > 0);
	}
}

static void check_ends_a_program_that_is_translated_wrong(void **state)
{
	struct world w = {.text = OF_ALL_KINDS, .options.checks = true, .forgets_sums = true};

	assert_int_equal(status_of(&w), 125);
	w.options.checks = false;
	assert_int_not_equal(status_of(&w), RIGHT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_found_by_their_pc_and_run_out),
		cmocka_unit_test(code_that_needs_more_segments_than_there_are_is_translated_again),
		cmocka_unit_test(so_is_code_that_needs_more_slots),
		cmocka_unit_test(where_flushing_does_not_help_the_interpreter_goes_on),
		cmocka_unit_test(a_fault_finds_the_flags_that_were_in_the_hosts),
		cmocka_unit_test(no_prefetch_faults),
		cmocka_unit_test(behind_a_tagged_address_every_instruction_is_executed_once),
		cmocka_unit_test(a_recursion_deeper_than_the_shadow_stack_comes_back),
		cmocka_unit_test(returns_without_calls_and_past_frames_find_their_way),
		cmocka_unit_test(what_was_looked_at_for_flags_is_translated_again_when_it_changes),
		cmocka_unit_test(what_dropped_units_looked_at_is_forgotten_with_them),
		cmocka_unit_test(what_is_dead_is_thrown_away_while_a_loop_is_changed),
		cmocka_unit_test(so_is_it_while_a_region_is),
		cmocka_unit_test(and_while_a_loop_becomes_a_region_again_and_again),
		cmocka_unit_test(a_loop_within_one_unit_can_be_stopped_and_changed),
		cmocka_unit_test(a_region_can_be_stopped_and_changed),
		cmocka_unit_test(so_can_one_that_a_loop_has_become),
		cmocka_unit_test(a_loop_becomes_a_region_once),
		cmocka_unit_test(who_stands_still_has_the_flags_that_he_should_have),
		cmocka_unit_test(so_has_he_in_a_region),
		cmocka_unit_test(a_process_that_forks_often_does_not_use_up_its_memory_for_code),
		cmocka_unit_test(a_chain_of_children_flushes_when_it_has_to),
		cmocka_unit_test(what_a_child_had_to_translate_the_next_one_finds),
		cmocka_unit_test(what_is_executed_once_is_not_translated),
		cmocka_unit_test(what_is_come_to_again_is),
		cmocka_unit_test(a_fault_in_it_is_where_the_thread_stands),
		cmocka_unit_test(what_stands_behind_a_branch_that_was_taken_waits_as_well),
		cmocka_unit_test(what_a_branch_goes_a_short_way_around_does_not),
		cmocka_unit_test(what_stands_behind_a_loop_does_not),
		cmocka_unit_test(what_a_child_comes_to_once_the_next_one_translates),
		cmocka_unit_test(what_a_child_tells_of_may_be_gone),
		cmocka_unit_test(neighbours_are_near_each_other_in_the_table_of_slots),
		cmocka_unit_test(check_finds_translated_code_as_good_as_the_interpreter),
		cmocka_unit_test(instructions_that_become_one_do_what_they_did),
		cmocka_unit_test(check_ends_a_program_that_is_translated_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
