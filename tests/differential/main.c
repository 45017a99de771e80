/* The command: options, rounds of batches, statistics, what is kept. */
#include "differential.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define BATCH_SLOTS 2048
#define MAX_REFUSED 50

static const char usage[] =
	"Usage: differential --ours COMMAND --guest FILE [OPTION...]\n"
	"       differential --ours COMMAND --guest FILE --replay FILE...\n"
	"       differential --list\n"
	"\n"
	"Runs random instruction streams under two emulators of AArch64 and compares registers, flags, memory and "
	"signals.\n"
	"Failing cases are made small, printed, and kept as text with the reference's answer.\n"
	"\n"
	"  --ours COMMAND        the emulator to be tested, with its options; it is given the guest and its arguments\n"
	"  --reference COMMAND   the one to compare with (qemu-aarch64 -cpu max,sve=off,sme=off,pauth-impdef=on)\n"
	"  --guest FILE          the static program that both run (BUILD/tests/differential/guest)\n"
	"  --cases N             how many (20000); each row of the table has about as many\n"
	"  --states N            states for each stream (4)\n"
	"  --seed N              other streams (1)\n"
	"  --row NAME[,NAME...]  these rows of a64.def only; a name may end in '*'; 'unallocated': words without a "
	"row\n"
	"  --feature NAME        rows of this feature only (base, fp16, lse, ...)\n"
	"  --alone               no other instructions around the row's\n"
	"  --faults              most loads and stores cross an end of what is mapped\n"
	"  --copy                the guest writes its code itself, with the cache maintenance that asks for\n"
	"  --guarded             the code is in guarded pages (PROT_BTI)\n"
	"  --zva                 SYS is `dc zva` (with --alone, and a reference that has blocks of 64 bytes: -cpu "
	"neoverse-n1)\n"
	"  --failures N          how many failing cases are made small and printed (20), one for each row\n"
	"  --keep FILE           append them to FILE as vectors\n"
	"  --stats FILE          write cases and differences of every row\n"
	"  --timeout N           seconds without a result after which an emulator hangs (20)\n"
	"  --replay FILE...      run the vectors of these files; needs no reference\n"
	"  --list                rows that are not run, and why\n"
	"\n"
	"As --ours, BUILD/tests/differential/bare is the semantic functions of src/emu without the rest of the "
	"emulator:\n"
	"\n"
	"  B=BUILD/tests/differential; $B/differential --ours $B/bare --guest $B/guest --row 'fadd*,fmla*' --cases "
	"50000\n"
	"\n"
	"With BARE_PLAIN=1 it takes no specialised functions; it runs under qemu-x86_64 -cpu Nehalem (no AVX2, no "
	"AES).\n"
	"\n"
	"Exit status: 0 no difference, 1 some, 2 something could not be run.\n";

struct row_statistics {
	uint64_t cases, differences, not_run;
	unsigned refused; /* streams in a row that could not be made */
	bool is_chosen;
};

struct failing {
	struct diff_case c;
	struct diff_stream stream;
	uint64_t page[DIFF_PAGE_SIZE / 8];
	struct diff_outcome out[2];
};

struct session {
	struct diff_emulator ours, reference;
	const char *stats, *keep;
	uint64_t cases;
	bool copy, guarded;
	unsigned failures;
	struct diff_plan plan;
	struct row_statistics rows[A64_OP_COUNT];
	LP_VEC(struct failing *) failing;
	LP_VEC(struct diff_stream) streams; /* of the batch, one for each slot */
	uint64_t nr_cases, nr_differences, nr_streams, nr_unstable, nr_not_run;
};

static const char *row_name(enum lp_a64_op op)
{
	return op == A64_OP_UNALLOCATED ? "unallocated" : lp_a64_row(op)->name;
}

/* ---- one batch ---- */

static void put_stream(struct session *s, struct diff_batch *b, uint64_t number, const struct diff_stream *stream)
{
	unsigned slot = b->nr_slots;

	diff_slot_fill(diff_batch_slot(b), stream->words, stream->nr, stream->data);
	for (unsigned i = 0; i < s->plan.states; i++) {
		struct diff_input *in = diff_batch_input(b);

		*in = (struct diff_input){.flags = stream->memory ? DIFF_MEMORY : 0};
		diff_state_make(&s->plan, number, i, stream, &in->state);
		diff_state_move(&in->state, 0, slot);
	}
	lp_vec_push(&s->streams, *stream);
}

static void outcomes_of(const struct session *s, const struct diff_batch *b, unsigned input, struct diff_outcome out[2])
{
	diff_batch_outcome(b, 0, input, &out[0]);
	if (s->streams.items[input / s->plan.states].is_sigill)
		diff_expect_sigill(&b->inputs[input], &out[1]);
	else
		diff_batch_outcome(b, 1, input, &out[1]);
}

static void remember(struct session *s, const struct diff_batch *b, unsigned input, const struct diff_stream *stream)
{
	if (s->failing.nr >= s->failures)
		return;
	for (size_t i = 0; i < s->failing.nr; i++)
		if (s->failing.items[i]->stream.target == stream->target)
			return;

	struct failing *f = lp_alloc(sizeof *f);
	f->stream = *stream;
	memcpy(f->page, b->head->page, sizeof f->page);
	memcpy(f->c.words, stream->words, sizeof f->c.words);
	memcpy(f->c.data, stream->data, sizeof f->c.data);
	f->c.nr = stream->nr;
	f->c.input = b->inputs[input];
	f->c.page = f->page;
	f->c.guarded = s->guarded;
	outcomes_of(s, b, input, f->out);
	diff_state_move(&f->c.input.state, input / s->plan.states, 0);
	lp_vec_push(&s->failing, f);
}

/* Nonzero: what is different, -1: it was not run. */
static int verdict(const struct session *s, const struct diff_batch *b, unsigned input)
{
	unsigned slot = input / s->plan.states;
	struct diff_outcome out[2];

	outcomes_of(s, b, input, out);
	if (out[0].end == DIFF_NOT_RUN || out[1].end != DIFF_RAN)
		return -1;
	return (int)diff_compare(&b->slots[slot * DIFF_SLOT_WORDS], &out[0], &out[1]).what;
}

static void judge(struct session *s, const struct diff_batch *b, unsigned input, int how)
{
	const struct diff_stream *stream = &s->streams.items[input / s->plan.states];
	struct row_statistics *row = &s->rows[stream->target];

	row->cases++;
	if (how < 0) {
		row->not_run++;
		s->nr_not_run++;
	} else if (how) {
		row->differences++;
		s->nr_differences++;
		remember(s, b, input, stream);
	}
}

/* A wrong signature is right once in 128 times: who differs must do so with other keys too. */
static bool depends_on_keys(const struct session *s, unsigned input)
{
	const struct diff_stream *stream = &s->streams.items[input / s->plan.states];

	return stream->target && lp_a64_row(stream->target)->feature == A64_FEATURE_PAUTH && !stream->is_sigill;
}

static bool run_again(const struct session *s, struct diff_batch *b, int *verdicts)
{
	const struct diff_emulator *const both[2] = {&s->ours, &s->reference};
	bool any = false;

	for (unsigned i = 0; i < b->nr_inputs && !any; i++)
		any = verdicts[i] > 0 && depends_on_keys(s, i);
	if (!any)
		return true;
	if (!diff_batch_run(b, both))
		return false;
	for (unsigned i = 0; i < b->nr_inputs; i++)
		if (verdicts[i] > 0 && depends_on_keys(s, i))
			verdicts[i] = verdict(s, b, i);
	return true;
}

static bool run_batch(struct session *s, struct diff_batch *b)
{
	const struct diff_emulator *const both[2] = {&s->ours, &s->reference};
	int *verdicts = lp_alloc(b->nr_inputs * sizeof *verdicts);
	bool runs;

	b->head->copy = s->copy;
	b->head->guarded = s->guarded;
	runs = diff_batch_run(b, both);
	for (unsigned i = 0; runs && i < b->nr_inputs; i++)
		verdicts[i] = verdict(s, b, i);
	for (unsigned i = 0; runs && i < 3; i++)
		runs = run_again(s, b, verdicts);
	for (unsigned i = 0; runs && i < b->nr_inputs; i++)
		judge(s, b, i, verdicts[i]);
	s->nr_cases += b->nr_inputs;
	lp_free(verdicts);
	return runs;
}

static enum lp_a64_op next_row(const struct session *s, enum lp_a64_op op)
{
	do
		op = (op + 1) % A64_OP_COUNT;
	while (!s->rows[op].is_chosen);
	return op;
}

static bool run_all(struct session *s)
{
	struct diff_batch *b = diff_batch_new(BATCH_SLOTS, BATCH_SLOTS * s->plan.states);
	struct diff_random r = {s->plan.seed};
	enum lp_a64_op op = A64_OP_COUNT - 1;
	bool runs = true;

	while (runs && s->nr_cases < s->cases) {
		uint64_t page[DIFF_PAGE_SIZE / 8];
		struct diff_stream stream;

		diff_page_make(&r, page);
		diff_batch_clear(b, page);
		s->streams.nr = 0;
		while (b->nr_slots < BATCH_SLOTS && s->nr_cases + b->nr_inputs < s->cases) {
			op = next_row(s, op);
			if (diff_stream_make(&s->plan, s->nr_streams++, op, &stream)) {
				s->rows[op].refused = 0;
				put_stream(s, b, s->nr_streams - 1, &stream);
			} else if (++s->rows[op].refused == MAX_REFUSED) {
				fprintf(stderr, "differential: no word of row %s can be run\n", row_name(op));
				s->rows[op].is_chosen = false;
			}
		}
		runs = run_batch(s, b);
	}
	diff_batch_free(b);
	return runs;
}

/* ---- afterwards ---- */

static void report(struct session *s, struct failing *f, unsigned number, FILE *keep)
{
	const struct diff_emulator *const both[2] = {&s->ours, &s->reference};
	const char *name = row_name(f->stream.target);
	struct diff_outcome out[2];
	uint64_t page[DIFF_PAGE_SIZE / 8];
	uint32_t slot[DIFF_SLOT_WORDS];
	struct row_statistics *row = &s->rows[f->stream.target];

	if (!diff_shrink(&f->c, f->stream.is_sigill, both, page, out)) {
		printf("%s: differs once and not again (keys, addresses, clocks):\n", name);
		diff_print_code(stdout, "    ", f->stream.words, f->stream.nr, 0);
		diff_slot_fill(slot, f->stream.words, f->stream.nr, f->stream.data);
		diff_print_difference(stdout, diff_compare(slot, &f->out[0], &f->out[1]), &f->out[0], &f->out[1]);
		s->nr_unstable += row->differences;
		return;
	}
	f->c.page = page;
	diff_slot_fill(slot, f->c.words, f->c.nr, f->c.data);
	printf("%s: %" PRIu64 " of %" PRIu64 " cases differ, one of them:\n", name, row->differences, row->cases);
	static const struct diff_outcome nothing;
	diff_vector_write(stdout, &f->c, 0, name, &nothing);
	diff_print_difference(stdout, diff_compare(slot, &out[0], &out[1]), &out[0], &out[1]);
	printf("\n");
	fflush(stdout);
	if (keep)
		diff_vector_write(keep, &f->c, number, name, &out[1]);
}

static void report_all(struct session *s)
{
	FILE *keep = s->keep ? fopen(s->keep, "ae") : NULL;

	if (s->keep && !keep) {
		fprintf(stderr, "differential: %s: %s\n", s->keep, strerror(errno));
		exit(2);
	}
	for (size_t i = 0; i < s->failing.nr; i++)
		report(s, s->failing.items[i], 0, keep);
	if (keep)
		fclose(keep);
}

static void write_statistics(const struct session *s)
{
	FILE *f = fopen(s->stats, "we");

	if (!f) {
		fprintf(stderr, "differential: %s: %s\n", s->stats, strerror(errno));
		exit(2);
	}
	fprintf(f, "# row\tcases\tdifferences\tnot run\n");
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		if (s->rows[op].cases)
			fprintf(f, "%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n", row_name(op), s->rows[op].cases,
				s->rows[op].differences, s->rows[op].not_run);
	fclose(f);
}

static void print_wrong_rows(const struct session *s)
{
	unsigned nr = 0;

	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		if (s->rows[op].differences && nr++ < 100)
			printf("%s%s", nr == 1 ? "rows that differ: " : " ", row_name(op));
	if (nr)
		printf("%s\n", nr > 100 ? " ..." : "");
}

static int run(struct session *s)
{
	unsigned wrong = 0, tested = 0;

	if (!run_all(s))
		return 2;
	if (s->stats)
		write_statistics(s);
	report_all(s);
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++) {
		wrong += s->rows[op].differences != 0;
		tested += s->rows[op].cases != 0;
	}
	print_wrong_rows(s);
	printf("%" PRIu64 " cases of %" PRIu64 " streams in %u rows: %" PRIu64 " differ, in %u rows; %" PRIu64
	       " of them not again; %" PRIu64 " not run\n",
	       s->nr_cases, s->nr_streams, tested, s->nr_differences, wrong, s->nr_unstable, s->nr_not_run);
	return s->nr_differences > s->nr_unstable || s->nr_not_run ? 1 : 0;
}

static int replay(struct session *s, char **paths)
{
	unsigned total = 0;
	int failed = 0;

	for (; *paths; paths++) {
		unsigned nr;
		int here = diff_vectors_replay(*paths, &s->ours, &nr);

		if (here < 0)
			return 2;
		failed += here;
		total += nr;
	}
	printf("%u vectors: %d failed\n", total, failed);
	return failed ? 1 : 0;
}

static int list(void)
{
	for (enum lp_a64_op op = 1; op < A64_OP_COUNT; op++)
		if (diff_row_skipped(op))
			printf("%-12s %s\n", row_name(op), diff_row_skipped(op));
		else if (diff_feature_absent(lp_a64_row(op)->feature))
			printf("%-12s must raise SIGILL\n", row_name(op));
	return 0;
}

/* ---- options ---- */

static bool choose(struct session *s, const char *names)
{
	for (const char *end; *names; names = *end ? end + 1 : end) {
		size_t len = strcspn(names, ",");
		bool any = false;

		end = names + len;
		if (len == 11 && !strncmp(names, "unallocated", len))
			any = s->rows[A64_OP_UNALLOCATED].is_chosen = true;
		for (enum lp_a64_op op = 1; op < A64_OP_COUNT; op++) {
			const char *name = row_name(op);
			bool is = names[len - 1] == '*' ? !strncmp(name, names, len - 1)
							: strlen(name) == len && !strncmp(name, names, len);

			if (is && !diff_row_skipped(op))
				any = s->rows[op].is_chosen = true;
		}
		if (!any) {
			fprintf(stderr, "differential: no row is called %.*s\n", (int)len, names);
			return false;
		}
	}
	return true;
}

static void choose_all(struct session *s)
{
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		s->rows[op].is_chosen = !diff_row_skipped(op);
}

static bool choose_feature(struct session *s, const char *name)
{
	static const char *const features[] = {"base",	 "aes",	  "bti",    "crc32", "dotprod", "fcma",	  "flagm",
					       "flagm2", "fp16",  "jscvt",  "lor",   "lrcpc",	"lrcpc2", "lse",
					       "mte",	 "pauth", "pmull",  "ras",   "rdm",	"sb",	  "sha1",
					       "sha256", "sha3",  "sha512", "spe",   "trf"};
	bool any = false;

	_Static_assert(LP_ARRAY_SIZE(features) == A64_FEATURE_COUNT, "in the order of a64_ops.h");
	for (enum lp_a64_op op = 1; op < A64_OP_COUNT; op++)
		if (!strcmp(features[lp_a64_row(op)->feature], name) && !diff_row_skipped(op))
			any = s->rows[op].is_chosen = true;
	if (!any)
		fprintf(stderr, "differential: no feature is called %s\n", name);
	return any;
}

static char **words_of(const char *command)
{
	LP_VEC(char *) words = {0};
	char *copy = lp_strdup(command), *rest = copy, *word;

	while ((word = strsep(&rest, " ")))
		if (*word)
			lp_vec_push(&words, word);
	lp_vec_push(&words, NULL);
	return words.items;
}

static uint64_t number_of(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || end == text) {
		fprintf(stderr, "differential: '%s' is no number\n", text);
		exit(2);
	}
	return value;
}

enum {
	OURS = 256,
	REFERENCE,
	GUEST,
	CASES,
	STATES,
	SEED,
	ROW,
	FEATURE_NAMED,
	ALONE,
	COPY,
	GUARDED,
	ZVA,
	FAULTS,
	FAILURES,
	KEEP,
	STATS,
	TIMEOUT,
	REPLAY,
	LIST,
	HELP
};

static const struct option options[] = {
	{"ours", required_argument, NULL, OURS},
	{"reference", required_argument, NULL, REFERENCE},
	{"guest", required_argument, NULL, GUEST},
	{"cases", required_argument, NULL, CASES},
	{"states", required_argument, NULL, STATES},
	{"seed", required_argument, NULL, SEED},
	{"row", required_argument, NULL, ROW},
	{"feature", required_argument, NULL, FEATURE_NAMED},
	{"alone", no_argument, NULL, ALONE},
	{"copy", no_argument, NULL, COPY},
	{"guarded", no_argument, NULL, GUARDED},
	{"zva", no_argument, NULL, ZVA},
	{"faults", no_argument, NULL, FAULTS},
	{"failures", required_argument, NULL, FAILURES},
	{"keep", required_argument, NULL, KEEP},
	{"stats", required_argument, NULL, STATS},
	{"timeout", required_argument, NULL, TIMEOUT},
	{"replay", no_argument, NULL, REPLAY},
	{"list", no_argument, NULL, LIST},
	{"help", no_argument, NULL, HELP},
	{0},
};

struct asked {
	bool replay, list, chosen;
};

/* False: the usage is due. */
static bool take_option(struct session *s, struct asked *asked, int option)
{
	switch (option) {
	case OURS:
		s->ours.argv = words_of(optarg);
		return true;
	case REFERENCE:
		s->reference.argv = words_of(optarg);
		return true;
	case GUEST:
		s->ours.guest = s->reference.guest = optarg;
		return true;
	case CASES:
		s->cases = number_of(optarg);
		return true;
	case STATES:
		s->plan.states = (unsigned)number_of(optarg);
		return s->plan.states && s->plan.states <= 64;
	case SEED:
		s->plan.seed = number_of(optarg);
		return true;
	case ROW:
		asked->chosen = true;
		return choose(s, optarg);
	case FEATURE_NAMED:
		asked->chosen = true;
		return choose_feature(s, optarg);
	case ALONE:
		return s->plan.alone = true;
	case COPY:
		return s->copy = true;
	case GUARDED:
		return s->guarded = true;
	case FAULTS:
		return s->plan.faults = true;
	case ZVA:
		return s->plan.with_zva = true;
	case FAILURES:
		s->failures = (unsigned)number_of(optarg);
		return true;
	case KEEP:
		s->keep = optarg;
		return true;
	case STATS:
		s->stats = optarg;
		return true;
	case TIMEOUT:
		s->ours.timeout = s->reference.timeout = (unsigned)number_of(optarg);
		return true;
	case REPLAY:
		return asked->replay = true;
	case LIST:
		return asked->list = true;
	case HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static struct session s = {
		.ours = {.name = "ours", .timeout = 20},
		.reference = {.name = "the reference", .timeout = 20},
		.cases = 20000,
		.failures = 20,
		.plan = {.seed = 1, .states = 4},
	};
	struct asked asked = {0};
	int option;

	s.reference.argv = words_of("qemu-aarch64 -cpu max,sve=off,sme=off,pauth-impdef=on");
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		if (!take_option(&s, &asked, option)) {
			fputs(usage, stderr);
			return 2;
		}
	if (asked.list)
		return list();
	if (!s.ours.argv || !s.ours.guest || (!asked.replay && argv[optind])) {
		fputs(usage, stderr);
		return 2;
	}
	if (asked.replay)
		return replay(&s, argv + optind);
	if (!asked.chosen)
		choose_all(&s);
	return run(&s);
}
