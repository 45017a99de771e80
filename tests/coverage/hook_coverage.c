/*
 * How many functions of real libraries can be hooked, and do their moved
 * prologues do what they did in place?
 *
 *     hook_coverage [--trials N] [--every N] [--report FILE] LIBRARY...
 *
 * Every function that symbols or unwind tables know is asked for an entry and
 * has its prologue moved, as a hook needs it.  Then an emulator executes
 * original and copy from the same random registers, flags and memory, at
 * several distances, and compares where each goes and what it leaves behind;
 * also a thread that begins in the original and is moved to the copy half-way
 * (the pc map).  Speaks TAP; --every N executes one function in N only; the
 * report is Markdown.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "functions.h"
#include "isa/isa.h"
#include "machine.h"
#include "rare.h"

#define WANTED 99.5 /* percent of the functions of each library */
#define BIAS UINT64_C(0x40000000)
#define SLOT LP_MOVED_MAX /* each copy stands where nothing stood before: emulators remember code */
#define COMPLAINTS_SHOWN 8192
#define CODE_MAX 4096 /* bytes of a function that entry() and relocate() are shown beyond its end */

/* Where copies stand. */
enum distance { CLOSE, MIDDLE, FAR, FAR_GUARDED, NR_DISTANCES };

static const struct {
	const char *name;
	lp_addr from_image; /* counted from the image's end */
	bool is_far, guarded;
} distances[NR_DISTANCES] = {
	{"close", 0, false, false},
	{"64 MiB off", UINT64_C(64) << 20, false, false},
	{"16 GiB off", UINT64_C(16) << 30, true, false},
	{"16 GiB off, guarded", UINT64_C(17) << 30, true, true},
};

struct refusal {
	const struct function *function;
	struct lp_err err;
};

/* A jump of a function into the middle of another. */
struct entered {
	lp_addr from, to;
};

struct library {
	const char *path, *name;
	struct lp_elf *elf;
	const struct lp_isa *isa;
	function_vec functions;
	LP_VEC(struct entered) entered; /* by target */
	uint8_t *image;			/* as loaded, without relocations */
	lp_addr start, end;
	struct machine *machine;
	/* results */
	size_t movable[NR_DISTANCES];
	size_t executed, faulted, endless, runs, wrong;
	size_t moody; /* runs whose original does something else each time: it reads a clock */
	LP_VEC(struct refusal) refusals;
	struct lp_buf complaints;
};

static unsigned trials = 2, every = 1;

static _Noreturn void die(const char *what, const char *why)
{
	printf("Bail out! %s: %s\n", what, why);
	exit(1);
}

/* ---- a library in memory ---- */

static void find_extent(struct library *l)
{
	l->start = UINT64_MAX;
	for (size_t i = 0; i < lp_elf_phdr_count(l->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(l->elf, i);

		if (p->p_type != PT_LOAD)
			continue;
		if (lp_align_down(p->p_vaddr, LP_PAGE) < l->start)
			l->start = lp_align_down(p->p_vaddr, LP_PAGE);
		if (p->p_vaddr + p->p_memsz > l->end)
			l->end = lp_align_up(p->p_vaddr + p->p_memsz, LP_PAGE);
	}
}

static void load(struct library *l)
{
	find_extent(l);
	l->image = lp_alloc(l->end - l->start);
	for (size_t i = 0; i < lp_elf_phdr_count(l->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(l->elf, i);
		const uint8_t *bytes = lp_elf_bytes_at(l->elf, p->p_offset, p->p_filesz);

		if (p->p_type == PT_LOAD && bytes)
			memcpy(l->image + (p->p_vaddr - l->start), bytes, p->p_filesz);
	}
}

static lp_addr region_of(const struct library *l, enum distance d)
{
	return BIAS + l->end + distances[d].from_image;
}

static void start_machine(struct library *l)
{
	l->machine = machine_open(l->isa);
	machine_map(l->machine, BIAS + l->start, l->end - l->start);
	machine_write(l->machine, BIAS + l->start, l->image, l->end - l->start);
	for (int d = 0; d < NR_DISTANCES; d++) {
		machine_map(l->machine, region_of(l, d), l->functions.nr * SLOT);
		machine_map_code(l->machine, region_of(l, d), l->functions.nr * SLOT);
	}
}

static void allow_code(struct library *l)
{
	for (size_t i = 0; i < lp_elf_phdr_count(l->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(l->elf, i);

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
			machine_map_code(l->machine, BIAS + p->p_vaddr, p->p_memsz);
	}
}

/* ---- who comes in behind a beginning ---- */

static const uint8_t *bytes_of(const struct library *l, const struct function *f)
{
	return l->image + (f->at - l->start);
}

static void add_entered(struct library *l, const struct function *f, lp_addr from, const struct lp_insn *in)
{
	if (in->has_target && in->target_is_code && !in->is_call && in->target - f->at >= f->size)
		lp_vec_push(&l->entered, ((struct entered){from, in->target}));
}

static int by_target(const void *a, const void *b)
{
	const struct entered *x = a, *y = b;

	return (x->to > y->to) - (x->to < y->to);
}

/* Where one instruction is all that a jump takes the place of, nobody comes in behind it. */
static void find_entered(struct library *l)
{
	for (size_t i = 0; l->isa->insn_align == 1 && i < l->functions.nr; i++) {
		const struct function *f = &l->functions.items[i];
		struct lp_insn in;

		for (size_t at = 0; at < f->size; at += in.len) {
			if (!l->isa->insn(bytes_of(l, f) + at, f->size - at, f->at + at, &in))
				break;
			add_entered(l, f, f->at + at, &in);
		}
	}
	if (l->entered.nr)
		qsort(l->entered.items, l->entered.nr, sizeof l->entered.items[0], by_target);
}

static const struct entered *first_entered(const struct library *l, const struct function *f)
{
	size_t low = 0, high = l->entered.nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (l->entered.items[middle].to <= f->at)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->entered.nr && l->entered.items[low].to - f->at < f->size ? &l->entered.items[low] : NULL;
}

static void library_open(struct library *l, const char *path)
{
	struct lp_err err = {0};

	*l = (struct library){.path = path, .name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path};
	if (lp_elf_open(&l->elf, path, &err))
		die(path, err.text);
	l->isa = lp_isa_of(lp_elf_header(l->elf)->e_machine);
	if (!l->isa)
		die(path, "is for an instruction set that is not known");
	if (!functions_find(l->elf, &l->functions) || !l->functions.nr)
		die(path, "has no functions that can be found");
	load(l);
	find_entered(l);
	start_machine(l);
	allow_code(l);
}

/* What libraries seldom begin with. */
static void library_make(struct library *l, const struct lp_isa *isa)
{
	size_t len;
	uint8_t *code;

	*l = (struct library){.name = "rare instructions", .isa = isa};
	code = rare_functions(isa->elf_machine, &l->functions, &len);
	l->start = LP_PAGE;
	l->end = LP_PAGE + lp_align_up(len, LP_PAGE);
	l->image = lp_alloc(l->end - l->start);
	memcpy(l->image, code, len);
	for (size_t i = 0; i < l->functions.nr; i++)
		l->functions.items[i].at += l->start;
	lp_free(code);
	start_machine(l);
	machine_map_code(l->machine, BIAS + l->start, l->end - l->start);
}

static void library_close(struct library *l)
{
	machine_close(l->machine);
	lp_free(l->image);
	functions_free(&l->functions);
	lp_vec_free(&l->entered);
	lp_elf_close(l->elf);
	lp_vec_free(&l->refusals);
	lp_buf_free(&l->complaints);
}

/* ---- moving a prologue ---- */

static size_t bytes_shown(const struct library *l, const struct function *f)
{
	size_t rest = l->end - f->at, shown = f->size + f->pad + CODE_MAX;

	return shown < rest ? shown : rest;
}

/* As a hook does: the function is as short as if it ended where others come in. */
static int find_entry(const struct library *l, const struct function *f, struct lp_entry *e, struct lp_err *err)
{
	const struct entered *in = first_entered(l, f);
	size_t before = f->at - l->start < 256 ? f->at - l->start : 256;
	struct lp_entry_request req = {
		.addr = BIAS + f->at,
		.code = bytes_of(l, f),
		.code_len = bytes_shown(l, f),
		.size = in ? in->to - f->at : f->size,
		.pad = in ? 0 : f->pad,
		.before = bytes_of(l, f) - before,
		.before_len = before,
		.body_stays_live = true,
	};

	int rc = l->isa->entry(&req, e, err);
	if (!rc || !in)
		return rc;
	return lp_fail(err, LP_EBRANCHED,
		       "the code at " LP_ADDR " jumps to " LP_ADDR ", and before that there is no room for a jump",
		       BIAS + in->from, BIAS + in->to);
}

static int move(const struct library *l, const struct function *f, const struct lp_entry *e, enum distance d,
		struct lp_move_request *req, struct lp_moved *out, struct lp_err *err)
{
	const size_t skipped = e->jump_at - (BIAS + f->at);

	*req = (struct lp_move_request){
		.from = e->jump_at,
		.code = bytes_of(l, f) + skipped,
		.code_len = bytes_shown(l, f) - skipped,
		.need = e->jump_len,
		.to = region_of(l, d) + (lp_addr)(f - l->functions.items) * SLOT,
		.room = SLOT,
		.function = BIAS + f->at,
		.function_code = bytes_of(l, f),
		.function_size = f->size,
		.guarded = distances[d].guarded,
	};
	return l->isa->relocate(req, out, err);
}

/* ---- executing it ---- */

/* One prologue, original and copy. */
struct pair {
	struct library *library;
	const struct function *function;
	const struct lp_move_request *req;
	const struct lp_moved *moved;
	enum distance distance;
};

static struct lp_range old_range(const struct pair *p)
{
	return (struct lp_range){p->req->from, p->req->from + p->moved->taken};
}

static struct lp_range new_range(const struct pair *p)
{
	return (struct lp_range){p->req->to, p->req->to + p->moved->len};
}

static bool ends_with_call(const struct pair *p)
{
	const size_t last = p->moved->map[p->moved->nr_map - 2].from;
	struct lp_insn in;

	return p->library->isa->insn(p->req->code + last, p->req->code_len - last, p->req->from + last, &in) &&
	       in.is_call;
}

static void complain(const struct pair *p, const char *what, const char *why)
{
	struct library *l = p->library;

	l->wrong++;
	lp_buf_printf(&l->complaints, "# %s, copy %s, %s: %s\n#   from", p->function->name, distances[p->distance].name,
		      what, why);
	for (size_t i = 0; i < p->moved->taken; i++)
		lp_buf_printf(&l->complaints, " %02x", p->req->code[i]);
	lp_buf_printf(&l->complaints, "\n#   to  ");
	for (size_t i = 0; i < p->moved->len; i++)
		lp_buf_printf(&l->complaints, " %02x", p->moved->bytes[i]);
	lp_buf_printf(&l->complaints, "\n");
}

/* Does the copy fault in what stands for the instruction at which the original did? */
static bool faults_alike(const struct pair *p, const struct run *a, const struct run *b)
{
	for (size_t i = 0; i + 1 < p->moved->nr_map; i++) {
		if (p->req->from + p->moved->map[i].from == a->pc)
			return b->end == RUN_FAULT && b->pc >= p->req->to + p->moved->map[i].to &&
			       b->pc < p->req->to + p->moved->map[i + 1].to;
	}
	return false;
}

static void compare(const struct pair *p, const struct run *a, const struct run *b, const char *what)
{
	const struct allowance may = {.scratch_registers = distances[p->distance].is_far,
				      .below_stack = ends_with_call(p) ? DEAD_ALL : DEAD_BEYOND};
	struct lp_buf why = {0};

	p->library->runs++;
	if (a->end == RUN_FAULT) {
		p->library->faulted++;
		if (!faults_alike(p, a, b))
			complain(p, what, "does not fault where the original does");
	} else if (a->end == RUN_ENDLESS) {
		p->library->endless++;
		/* ... or has called itself: the copy's calls go to the original */
		if (b->end != RUN_ENDLESS && b->pc != p->req->from)
			complain(p, what, "ends, and the original does not");
	} else if (a->pc != b->pc) {
		lp_buf_printf(&why, "goes to " LP_ADDR " instead of " LP_ADDR, b->pc, a->pc);
		complain(p, what, lp_buf_cstr(&why));
	} else if (machine_differ(p->library->machine, a, b, may, &why)) {
		complain(p, what, lp_buf_cstr(&why));
	}
	lp_buf_free(&why);
}

/* From the original's begin to the k-th of its instructions, then on in the copy. */
static void run_moved_half_way(const struct pair *p, const struct run *whole, size_t k)
{
	struct run first = {.pc = p->req->from,
			    .stay = old_range(p),
			    .stop_at = p->req->from + p->moved->map[k].from,
			    .keep = true};
	struct run second = {.pc = p->req->to + p->moved->map[k].to, .stay = new_range(p), .go_on = true};

	machine_run(p->library->machine, &first);
	if (first.end == RUN_STOPPED) {
		machine_run(p->library->machine, &second);
		compare(p, whole, &second, "moved half-way");
	}
	run_free(&first);
	run_free(&second);
}

/* The original, twice. */
static bool is_moody(const struct pair *p, const struct run *a)
{
	struct run again = {.pc = p->req->from, .stay = old_range(p)};
	struct lp_buf why = {0};
	bool differs;

	machine_run(p->library->machine, &again);
	differs = a->pc != again.pc || machine_differ(p->library->machine, a, &again, (struct allowance){0}, &why);
	lp_buf_free(&why);
	run_free(&again);
	return differs;
}

static void try_once(const struct pair *p, uint64_t seed)
{
	struct run a = {.pc = p->req->from, .stay = old_range(p)};
	struct run b = {.pc = p->req->to, .stay = new_range(p)};

	machine_shuffle(p->library->machine, seed);
	machine_run(p->library->machine, &a);
	if (is_moody(p, &a)) {
		p->library->moody++;
		run_free(&a);
		return;
	}
	machine_run(p->library->machine, &b);
	compare(p, &a, &b, "from the start");
	for (size_t k = 1; k + 1 < p->moved->nr_map; k++)
		run_moved_half_way(p, &a, k);
	run_free(&a);
	run_free(&b);
}

/* With shadow stacks a call returns to the copy: what it pushed is another address by intention. */
static bool is_comparable(const struct pair *p)
{
	return !p->req->guarded || !ends_with_call(p);
}

static void execute(const struct pair *p)
{
	machine_write(p->library->machine, p->req->to, p->moved->bytes, p->moved->len);
	for (unsigned i = 0; i < trials; i++)
		try_once(p, p->function->at * 16 + p->distance * 4 + i);
}

/* ---- all functions ---- */

static void refuse(struct library *l, const struct function *f, const struct lp_err *err)
{
	struct refusal *r = lp_vec_add(&l->refusals);

	r->function = f;
	r->err = *err;
}

static void judge(struct library *l, const struct function *f)
{
	const bool is_sampled = (size_t)(f - l->functions.items) % every == 0;
	bool was_executed = false;
	struct lp_err err = {0};
	struct lp_entry e;

	if (find_entry(l, f, &e, &err)) {
		refuse(l, f, &err);
		return;
	}
	for (int d = 0; d < NR_DISTANCES; d++) {
		struct lp_move_request req;
		struct lp_moved moved;
		struct pair p = {l, f, &req, &moved, d};

		if (move(l, f, &e, d, &req, &moved, &err)) {
			if (d == CLOSE)
				refuse(l, f, &err);
			continue;
		}
		l->movable[d]++;
		if (is_sampled && is_comparable(&p)) {
			execute(&p);
			was_executed = true;
		}
	}
	l->executed += was_executed;
}

static double share(const struct library *l)
{
	return 100.0 * (double)l->movable[CLOSE] / (double)l->functions.nr;
}

static bool is_enough(const struct library *l)
{
	return share(l) >= WANTED;
}

static bool is_right(const struct library *l)
{
	return l->runs && !l->wrong;
}

/* ---- the result ---- */

static void tell(const struct library *l, int *number)
{
	printf("# %s, %s: %zu functions, %zu can be hooked (%.2f %%), %zu from 16 GiB off\n", l->isa->name, l->name,
	       l->functions.nr, l->movable[CLOSE], share(l), l->movable[FAR]);
	printf("#   executed %zu functions, %zu runs: %zu end with a fault, %zu not at all, %zu wrong; %zu cannot be "
	       "repeated\n",
	       l->executed, l->runs, l->faulted, l->endless, l->wrong, l->moody);
	for (size_t i = 0; i < l->refusals.nr; i++)
		printf("#   %s: %s: %s\n", l->refusals.items[i].function->name,
		       lp_err_name(l->refusals.items[i].err.code), l->refusals.items[i].err.text);
	fwrite(lp_buf_cstr((struct lp_buf *)&l->complaints), 1,
	       l->complaints.len < COMPLAINTS_SHOWN ? l->complaints.len : COMPLAINTS_SHOWN, stdout);
	printf("%sok %d - %.1f %% of %s (%s) can be hooked\n", is_enough(l) ? "" : "not ", ++*number, WANTED, l->name,
	       l->isa->name);
	printf("%sok %d - the moved prologues of %s (%s) do what they did\n", is_right(l) ? "" : "not ", ++*number,
	       l->name, l->isa->name);
}

static void report_library(FILE *out, const struct library *l)
{
	fprintf(out, "| %s | %s | %zu | %zu | %.2f %% | %zu | %zu | %zu | %zu |\n", l->isa->name, l->name,
		l->functions.nr, l->movable[CLOSE], share(l), l->movable[FAR], l->executed, l->runs, l->wrong);
}

static void report_refusals(FILE *out, const struct library *l)
{
	fprintf(out, "\n### %s, %s\n\n", l->name, l->isa->name);
	if (!l->refusals.nr)
		fprintf(out, "None.\n");
	for (size_t i = 0; i < l->refusals.nr; i++)
		fprintf(out, "- `%s` (`%s`): %s\n", l->refusals.items[i].function->name,
			lp_err_name(l->refusals.items[i].err.code), l->refusals.items[i].err.text);
}

static void report(const char *path, const struct library *all, size_t nr)
{
	FILE *out = fopen(path, "w");

	if (!out)
		die(path, "cannot be written");
	fprintf(out,
		"# How many functions can be hooked\n\n"
		"Made by `tests/coverage/sweep`.  Functions: what symbols and unwind tables know, compilers' cold "
		"parts "
		"included.\n"
		"\"far\": could be moved to a copy 16 GiB off.  Each prologue ran in an emulator, in place and as four "
		"copies\n(next to the library, 64 MiB off, 16 GiB off, 16 GiB off with BTI or shadow stacks), from "
		"random "
		"registers, flags\nand memory; a run is one comparison of everything that is left behind.\n\n"
		"| ISA | library | functions | can be hooked | | far | executed | runs | wrong |\n"
		"|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < nr; i++)
		report_library(out, &all[i]);
	fprintf(out, "\n## The rest\n");
	for (size_t i = 0; i < nr; i++)
		report_refusals(out, &all[i]);
	if (fclose(out))
		die(path, "cannot be written");
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || !v || v > 1000000)
		die(text, "is no number of times");
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"trials", required_argument, NULL, 't'},
		{"every", required_argument, NULL, 'e'},
		{"report", required_argument, NULL, 'r'},
		{0},
	};
	const char *report_to = NULL;
	bool failed = false;
	int c, tests = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 't')
			trials = number(optarg);
		else if (c == 'e')
			every = number(optarg);
		else if (c == 'r')
			report_to = optarg;
		else
			die("hook_coverage", "wrong option");
	}

	const struct lp_isa *const isas[] = {&lp_isa_x64, &lp_isa_a64};
	const size_t nr = (size_t)(argc - optind), made = LP_ARRAY_SIZE(isas);
	struct library *all = lp_alloc((made + nr) * sizeof *all);

	printf("1..%zu\n", 2 * (made + nr));
	for (size_t i = 0; i < made + nr; i++) {
		if (i < made)
			library_make(&all[i], isas[i]);
		else
			library_open(&all[i], argv[optind + (int)(i - made)]);
		for (size_t k = 0; k < all[i].functions.nr; k++)
			judge(&all[i], &all[i].functions.items[k]);
		tell(&all[i], &tests);
		failed |= !is_enough(&all[i]) || !is_right(&all[i]);
		fflush(stdout);
	}
	if (report_to)
		report(report_to, all, made + nr);
	for (size_t i = 0; i < made + nr; i++)
		library_close(&all[i]);
	lp_free(all);
	return failed;
}
