/*
 * Which pages of a mapping the program has made its own.
 *
 * Reading untouched memory through /proc/PID/mem would make pages of it: a
 * sparse gigabyte must be asked about first.  PAGEMAP_SCAN (Linux 6.7) tells
 * whole runs and knows the shared page of zeros; before it there is one word
 * for each page.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fdio.h"
#include "proc/state.h"

/* linux/fs.h of 6.7; the headers of the build machine may be older than the kernel that we run on. */
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
	uint64_t start, end, categories;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan_arg)
enum { SCAN_FILE = 1 << 2, SCAN_PRESENT = 1 << 3, SCAN_SWAPPED = 1 << 4, SCAN_PFNZERO = 1 << 5 };
_Static_assert(sizeof(struct scan_arg) == 96, "as the kernel has it");

#define REGIONS 512
#define WORDS 4096

static int open_pagemap(struct lp_proc *p)
{
	char path[64];
	if (p->pagemap_fd < 0)
		p->pagemap_fd = open(lp_proc_path(p, "pagemap", path, sizeof path), O_RDONLY | O_CLOEXEC);
	return p->pagemap_fd < 0 ? -errno : 0;
}

static void add_run(lp_range_vec *out, struct lp_range r)
{
	if (out->nr && out->items[out->nr - 1].end == r.start)
		out->items[out->nr - 1].end = r.end;
	else
		lp_vec_push(out, r);
}

static int scan_runs(int fd, struct lp_range within, lp_range_vec *out)
{
	struct scan_region found[REGIONS];
	while (within.start < within.end) {
		struct scan_arg arg = {.size = sizeof arg,
				       .start = within.start,
				       .end = within.end,
				       .vec = (uint64_t)(uintptr_t)found,
				       .vec_len = REGIONS,
				       .category_inverted = SCAN_FILE | SCAN_PFNZERO,
				       .category_mask = SCAN_FILE | SCAN_PFNZERO,
				       .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
				       .return_mask = SCAN_PRESENT};
		int nr = ioctl(fd, SCAN_REQUEST, &arg);
		if (nr < 0 && errno == EINTR)
			continue;
		if (nr < 0)
			return -errno;
		for (int i = 0; i < nr && i < REGIONS; i++)
			add_run(out, (struct lp_range){found[i].start, found[i].end});
		if (arg.walk_end <= within.start)
			return -EIO;
		within.start = arg.walk_end;
	}
	return 0;
}

/* proc_pid_pagemap(5): bit 63 present, 62 swapped, 61 a page of a file. */
static bool is_own(uint64_t entry)
{
	return entry >> 62 && !(entry >> 61 & 1);
}

static int read_runs(int fd, struct lp_range within, lp_range_vec *out)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), words[WORDS];
	for (lp_addr at = within.start; at < within.end;) {
		uint64_t left = (within.end - at) / page;
		size_t want = (left < WORDS ? left : WORDS) * sizeof *words;
		ssize_t got = pread(fd, words, want, (off_t)(at / page * sizeof *words));
		if (got < (ssize_t)sizeof *words)
			return got < 0 ? -errno : 0;
		for (size_t i = 0; i < (size_t)got / sizeof *words; i++, at += page)
			if (is_own(words[i]))
				add_run(out, (struct lp_range){at, at + page});
	}
	return 0;
}

int lp_touched(struct lp_proc *p, struct lp_range within, lp_range_vec *out)
{
	size_t before = out->nr;
	int rc = open_pagemap(p);
	if (rc < 0)
		return rc;
	if (!p->pagemap_words) {
		rc = scan_runs(p->pagemap_fd, within, out);
		if (rc != -ENOTTY && rc != -EINVAL)
			return rc;
		p->pagemap_words = true;
		out->nr = before;
	}
	return read_runs(p->pagemap_fd, within, out);
}
