/*
 * The first stack, from its upper end down:
 *
 *     8 bytes of zeros, the program's name, environment strings, argument strings
 *     random gap
 *     "aarch64", 16 random bytes
 *     auxiliary vector, envp, argv, argc     <- sp, a multiple of 16
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "emu/loader.h"
#include "emu/mem.h"

enum { STRING_MAX = 131072, GAP_MAX = 8192, NR_RANDOM = 16 };

typedef LP_VEC(uint64_t) word_vec;

static const char platform[] = "aarch64";

/* The strings of a list into `strings`, which begins at `base`; their addresses into `words`, with a 0 behind. */
static int add_list(char *const *list, uint64_t base, struct lp_buf *strings, word_vec *words, struct lp_err *err)
{
	for (; *list; list++) {
		size_t len = strlen(*list) + 1;
		if (len > STRING_MAX)
			return lp_fail(err, E2BIG, "an argument or a variable is %zu bytes long; %d is the most", len,
				       STRING_MAX);
		lp_vec_push(words, base + strings->len);
		lp_buf_add(strings, *list, len);
	}
	lp_vec_push(words, 0);
	return 0;
}

static size_t list_length(char *const *list)
{
	size_t nr = 0;

	while (list[nr])
		nr++;
	return nr;
}

static size_t list_size(char *const *list)
{
	size_t size = 0;

	for (; *list; list++)
		size += strlen(*list) + 1;
	return size;
}

/* Where the parts go. */
struct places {
	uint64_t strings, execfn, platform, random;
};

static struct places place(const struct lp_stack_plan *p)
{
	size_t execfn_size = strlen(p->execfn) + 1;
	uint16_t gap = 0;
	struct places at;

	at.execfn = p->stack.end - 8 - execfn_size;
	at.strings = at.execfn - list_size(p->envp) - list_size(p->argv);
	if (getrandom(&gap, sizeof gap, 0) != sizeof gap)
		gap = 0;
	at.platform = at.strings - gap % GAP_MAX - sizeof platform;
	at.random = lp_align_down(at.platform, 16) - NR_RANDOM;
	return at;
}

static void add_auxv(const struct lp_stack_plan *p, const struct places *at, word_vec *words, struct lp_loaded *out)
{
	for (size_t i = 0; i < p->nr_auxv; i++) {
		uint64_t key = p->auxv[i][0], value = p->auxv[i][1];
		if (key == AT_RANDOM)
			value = at->random;
		if (key == AT_EXECFN)
			value = at->execfn;
		if (key == AT_PLATFORM)
			value = at->platform;
		lp_vec_push(words, key);
		lp_vec_push(words, value);
		out->auxv[i][0] = key;
		out->auxv[i][1] = value;
	}
	out->nr_auxv = p->nr_auxv;
}

static int write_parts(const struct lp_stack_plan *p, const struct places *at, const struct lp_buf *strings,
		       const word_vec *words, uint64_t sp)
{
	uint8_t random[NR_RANDOM];

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -errno;
	if (lp_mem_write(at->strings, strings->data, strings->len) ||
	    lp_mem_write(at->execfn, p->execfn, strlen(p->execfn) + 1) ||
	    lp_mem_write(at->platform, platform, sizeof platform) || lp_mem_write(at->random, random, sizeof random) ||
	    lp_mem_write(sp, words->items, words->nr * sizeof words->items[0]))
		return -EFAULT;
	return 0;
}

static int build(const struct lp_stack_plan *p, struct lp_buf *strings, word_vec *words, struct lp_loaded *out,
		 struct lp_err *err)
{
	struct places at = place(p);
	int rc;

	lp_vec_push(words, list_length(p->argv));
	rc = add_list(p->argv, at.strings, strings, words, err);
	out->args = (struct lp_range){at.strings, at.strings + strings->len};
	if (rc == 0)
		rc = add_list(p->envp, at.strings, strings, words, err);
	out->envs = (struct lp_range){out->args.end, at.strings + strings->len};
	if (rc)
		return rc;
	add_auxv(p, &at, words, out);
	out->sp = lp_align_down(at.random - words->nr * sizeof words->items[0], 16);
	rc = write_parts(p, &at, strings, words, out->sp);
	return rc < 0 ? lp_fail_sys(err, -rc, "cannot build the program's stack") : 0;
}

int lp_stack_build(const struct lp_stack_plan *p, struct lp_loaded *out, struct lp_err *err)
{
	size_t size = list_size(p->argv) + list_size(p->envp) + (list_length(p->argv) + list_length(p->envp)) * 8;
	struct lp_buf strings = {0};
	word_vec words = {0};
	int rc;

	/* A quarter, as Linux has it. */
	if (size + (size_t)GAP_MAX > (p->stack.end - p->stack.start) / 4)
		return lp_fail(err, E2BIG, "arguments and environment (%zu bytes) are too long for a stack of %llu KB",
			       size, (unsigned long long)(p->stack.end - p->stack.start) / 1024);
	rc = build(p, &strings, &words, out, err);
	lp_buf_free(&strings);
	lp_vec_free(&words);
	return rc;
}
