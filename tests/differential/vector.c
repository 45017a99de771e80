/*
 * Cases as text, with the answer beside the question:
 *
 *     case fmul d0, d1, d2: what was wrong once
 *     slot 3                                    addresses in it are of this slot
 *     word 1e620820  fmul d0, d1, d2            in order; the text is for people
 *     data 5 0x3ff00000                         a word of the slot's data
 *     page 0x40 0x1                             eight bytes of memory
 *     memory                                    it is compared
 *     guarded                                   the code is in a page with PROT_BTI
 *     x1 0x1, sp, nzcv, fpcr, fpsr              what is not named is 0
 *     v1 0xhigh 0xlow
 *     expect                                    what is not named is as it was
 *     x0, v0, ... as above
 *     write 0x40 0x2                            all that is not as it was
 *     signal 4 code 1 address 0x50000304 pc 0x50000304
 *
 * An empty line ends a case; '#' begins a comment.
 */
#include "differential.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define MAX_SLOTS 4096

/* ---- writing ---- */

static void write_state(FILE *f, const struct diff_state *s, const struct diff_state *was)
{
	static const char *const modes[] = {"nzcv", "fpcr", "fpsr"};

	for (unsigned i = 0; i < 31; i++)
		if (s->x[i] != was->x[i])
			fprintf(f, "x%u %#" PRIx64 "\n", i, s->x[i]);
	if (s->sp != was->sp)
		fprintf(f, "sp %#" PRIx64 "\n", s->sp);
	for (unsigned i = 0; i < 3; i++)
		if ((&s->nzcv)[i] != (&was->nzcv)[i])
			fprintf(f, "%s %#" PRIx64 "\n", modes[i], (&s->nzcv)[i]);
	for (unsigned i = 0; i < 32; i++)
		if (s->v[i][0] != was->v[i][0] || s->v[i][1] != was->v[i][1])
			fprintf(f, "v%u %#" PRIx64 " %#" PRIx64 "\n", i, s->v[i][1], s->v[i][0]);
}

void diff_vector_write(FILE *f, const struct diff_case *c, unsigned slot, const char *note,
		       const struct diff_outcome *expected)
{
	static const struct diff_state zero;
	const struct diff_result *r = &expected->result;

	fprintf(f, "case %s\nslot %u\n", note, slot);
	diff_print_code(f, "word ", c->words, c->nr, slot);
	for (unsigned i = 0; i < DIFF_NR_DATA; i++)
		if (c->data[i])
			fprintf(f, "data %u %#" PRIx32 "\n", i, c->data[i]);
	for (unsigned i = 0; i < DIFF_PAGE_SIZE / 8; i++)
		if (c->page[i])
			fprintf(f, "page %#x %#" PRIx64 "\n", i * 8, c->page[i]);
	if (c->input.flags & DIFF_MEMORY)
		fprintf(f, "memory\n");
	if (c->guarded)
		fprintf(f, "guarded\n");
	write_state(f, &c->input.state, &zero);
	fprintf(f, "expect\n");
	write_state(f, &r->state, &c->input.state);
	for (unsigned i = 0; i < r->nr_writes && i < DIFF_NR_WRITES; i++)
		fprintf(f, "write %#" PRIx64 " %#" PRIx64 "\n", r->writes[i].offset, r->writes[i].value);
	if (r->signo)
		fprintf(f, "signal %u code %u address %#" PRIx64 " pc %#" PRIx64 "\n", r->signo, r->code, r->addr,
			r->state.pc);
	fprintf(f, "\n");
}

/* ---- reading ---- */

struct vector {
	char *note;
	unsigned slot, line;
	struct diff_case c;
	uint64_t page[DIFF_PAGE_SIZE / 8];
	bool has_page, is_expecting;
	struct diff_outcome expected;
};

struct reading {
	const char *path;
	FILE *f;
	unsigned line;
	bool is_bad;
};

static bool bad(struct reading *r, const char *what)
{
	fprintf(stderr, "%s:%u: %s\n", r->path, r->line, what);
	r->is_bad = true;
	return false;
}

static bool number(char **at, int base, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(*at, &end, base);
	if (end == *at || errno)
		return false;
	*at = end;
	return true;
}

/* After the keyword; false: it is another one. */
static bool keyword(char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) || ((*at)[len] && (*at)[len] != ' '))
		return false;
	*at += len;
	return true;
}

static bool read_register(struct reading *r, char *at, struct diff_state *s)
{
	static const char *const modes[] = {"nzcv", "fpcr", "fpsr"};
	uint64_t i, high, low;

	for (i = 0; i < 3; i++)
		if (keyword(&at, modes[i]))
			return number(&at, 0, &(&s->nzcv)[i]) || bad(r, "a number is missing");
	if (keyword(&at, "sp"))
		return number(&at, 0, &s->sp) || bad(r, "a number is missing");

	char kind = *at++;
	if ((kind != 'x' && kind != 'v') || !number(&at, 10, &i) || i > (kind == 'x' ? 30 : 31))
		return bad(r, "not known");
	if (!number(&at, 0, &high))
		return bad(r, "a number is missing");
	if (kind == 'x') {
		s->x[i] = high;
		return true;
	}
	if (!number(&at, 0, &low))
		return bad(r, "the low half is missing");
	s->v[i][1] = high;
	s->v[i][0] = low;
	return true;
}

static bool read_signal(struct reading *r, char *at, struct diff_result *result)
{
	uint64_t signo, code;

	if (!number(&at, 10, &signo) || (at += strspn(at, " "), !keyword(&at, "code")) || !number(&at, 10, &code) ||
	    (at += strspn(at, " "), !keyword(&at, "address")) || !number(&at, 0, &result->addr) ||
	    (at += strspn(at, " "), !keyword(&at, "pc")) || !number(&at, 0, &result->state.pc))
		return bad(r, "signal N code N address N pc N");
	result->signo = (uint32_t)signo;
	result->code = (uint32_t)code;
	return true;
}

static bool read_expectation(struct reading *r, char *at, struct vector *v)
{
	struct diff_result *result = &v->expected.result;

	if (keyword(&at, "signal"))
		return read_signal(r, at, result);
	if (keyword(&at, "write")) {
		struct diff_write *w = &result->writes[result->nr_writes];

		if (result->nr_writes == DIFF_NR_WRITES)
			return bad(r, "too many writes");
		result->nr_writes++;
		return (number(&at, 0, &w->offset) && number(&at, 0, &w->value)) || bad(r, "write OFFSET VALUE");
	}
	return read_register(r, at, &result->state);
}

static bool read_question(struct reading *r, char *at, struct vector *v)
{
	uint64_t i, value;

	if (keyword(&at, "slot")) {
		if (!number(&at, 10, &i) || i >= MAX_SLOTS)
			return bad(r, "slot N");
		v->slot = (unsigned)i;
		v->c.input.state.pc = DIFF_CODE + i * DIFF_SLOT;
		return true;
	}
	if (keyword(&at, "word")) {
		if (!number(&at, 16, &value) || v->c.nr == DIFF_MAX_INSNS)
			return bad(r, "up to eight words");
		v->c.words[v->c.nr++] = (uint32_t)value;
		return true;
	}
	if (keyword(&at, "data")) {
		if (!number(&at, 10, &i) || i >= DIFF_NR_DATA || !number(&at, 0, &value))
			return bad(r, "data INDEX VALUE");
		v->c.data[i] = (uint32_t)value;
		return true;
	}
	if (keyword(&at, "page")) {
		if (!number(&at, 0, &i) || i >= DIFF_PAGE_SIZE || !number(&at, 0, &value))
			return bad(r, "page OFFSET VALUE");
		v->page[i / 8] = value;
		v->has_page = true;
		return true;
	}
	if (keyword(&at, "memory")) {
		v->c.input.flags |= DIFF_MEMORY;
		return true;
	}
	if (keyword(&at, "guarded"))
		return v->c.guarded = true;
	return read_register(r, at, &v->c.input.state);
}

static bool read_line(struct reading *r, char *at, struct vector *v)
{
	if (keyword(&at, "case")) {
		v->note = lp_strdup(at + strspn(at, " "));
		v->line = r->line;
		return true;
	}
	if (keyword(&at, "expect")) {
		v->is_expecting = true;
		v->expected.end = DIFF_RAN;
		v->expected.result.state = v->c.input.state;
		v->expected.result.state.pc = 0;
		return true;
	}
	return v->is_expecting ? read_expectation(r, at, v) : read_question(r, at, v);
}

/* The next case; false: there is none, or nothing that can be read. */
static bool read_vector(struct reading *r, struct vector *v)
{
	char line[512];

	*v = (struct vector){0};
	while (fgets(line, sizeof line, r->f)) {
		r->line++;
		line[strcspn(line, "#\n")] = '\0';
		if (!*line && v->is_expecting)
			return true;
		if (*line && !read_line(r, line, v))
			return false;
	}
	return v->is_expecting;
}

/* ---- running ---- */

static void rebuilt_hash(struct diff_result *r)
{
	r->memory_hash = 0;
	for (unsigned i = 0; i < r->nr_writes; i++) { /* as guest.c does */
		r->memory_hash = (r->memory_hash ^ r->writes[i].value ^ r->writes[i].offset / 8 << 48) *
				 UINT64_C(0x9e3779b97f4a7c15);
		r->memory_hash ^= r->memory_hash >> 29;
	}
}

static bool vector_fails(const struct reading *r, const struct vector *v, struct diff_batch *b,
			 const struct diff_outcome *ours)
{
	const uint32_t *slot = &b->slots[v->slot * DIFF_SLOT_WORDS];
	struct diff_difference d = diff_compare(slot, ours, &v->expected);

	if (ours->end == DIFF_NOT_RUN) {
		printf("%s:%u: %s: not run\n", r->path, v->line, v->note);
		return true;
	}
	if (!d.what)
		return false;
	printf("%s:%u: %s\n", r->path, v->line, v->note);
	diff_print_code(stdout, "    ", v->c.words, v->c.nr, v->slot);
	diff_print_difference(stdout, d, ours, &v->expected);
	return true;
}

struct vectors {
	struct vector *items;
	size_t nr, cap;
};

static bool fits(const struct vectors *vs, const struct vector *v)
{
	if (!vs->nr)
		return true;
	for (size_t i = 0; i < vs->nr; i++)
		if (vs->items[i].slot == v->slot)
			return false;
	return !v->has_page && !vs->items[0].has_page && v->c.guarded == vs->items[0].c.guarded;
}

/* Runs those that were gathered, and forgets them. */
static int flush(const struct reading *r, struct vectors *vs, struct diff_batch *b, const struct diff_emulator *e)
{
	const struct diff_emulator *const both[2] = {e, NULL};
	int failed = 0;

	if (!vs->nr)
		return 0;
	diff_batch_clear(b, vs->items[0].page);
	b->head->guarded = vs->items[0].c.guarded;
	for (size_t i = 0; i < vs->nr; i++) {
		const struct vector *v = &vs->items[i];

		diff_slot_fill(&b->slots[v->slot * DIFF_SLOT_WORDS], v->c.words, v->c.nr, v->c.data);
		*diff_batch_input(b) = v->c.input;
		if (b->nr_slots <= v->slot)
			b->nr_slots = v->slot + 1;
	}
	diff_batch_run(b, both);
	for (size_t i = 0; i < vs->nr; i++) {
		struct diff_outcome ours;

		diff_batch_outcome(b, 0, (unsigned)i, &ours);
		failed += vector_fails(r, &vs->items[i], b, &ours);
		lp_free(vs->items[i].note);
	}
	vs->nr = 0;
	return failed;
}

int diff_vectors_replay(const char *path, const struct diff_emulator *emulator, unsigned *nr)
{
	struct reading r = {.path = path, .f = fopen(path, "re")};
	struct vectors vs = {0};
	struct vector v;
	int failed = 0;

	*nr = 0;
	if (!r.f) {
		fprintf(stderr, "differential: %s: %s\n", path, strerror(errno));
		return -1;
	}
	struct diff_batch *b = diff_batch_new(MAX_SLOTS, MAX_SLOTS);
	while (read_vector(&r, &v)) {
		rebuilt_hash(&v.expected.result);
		if (!fits(&vs, &v))
			failed += flush(&r, &vs, b, emulator);
		lp_vec_push(&vs, v);
		(*nr)++;
	}
	failed += flush(&r, &vs, b, emulator);
	lp_vec_free(&vs);
	diff_batch_free(b);
	fclose(r.f);
	return r.is_bad ? -1 : failed;
}
