/*
 * Memory that may not be there, or not any more: it is touched under guard
 * (self/guard.h), and what faults is refused.  Where that cannot be,
 * /proc/self/maps is read first.
 *
 * Pieces are as large as alignment allows, 8 bytes at most, and each is one
 * access: nobody sees half of a word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/fdio.h"
#include "self/guard.h"

#define MAPS_MAX (64u << 20)

/* ---- what the kernel has mapped ---- */

/* One line; false at the end. */
static bool next_map(const char **line, struct lp_range *range, char perms[4])
{
	char *end;

	if (!*line || !**line)
		return false;
	range->start = strtoul(*line, &end, 16);
	if (*end != '-')
		return false;
	range->end = strtoul(end + 1, &end, 16);
	if (strnlen(end, 5) < 5)
		return false;
	memcpy(perms, end + 1, 4);
	*line = strchr(end, '\n');
	*line += *line != NULL;
	return true;
}

static int unreadable(lp_addr at, struct lp_err *err)
{
	return lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", at);
}

static int unwritable(lp_addr at, struct lp_err *err)
{
	return lp_fail(err, LP_EREADONLY, "memory at " LP_ADDR " cannot be written", at);
}

static int look_up(const char *maps, struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_range r;
	char perms[4];

	for (const char *line = maps; want.start < want.end && next_map(&line, &r, perms);) {
		if (!lp_range_has(r, want.start))
			continue;
		if (perms[0] != 'r')
			break;
		if (write && perms[1] != 'w')
			return unwritable(want.start, err);
		want.start = r.end;
	}
	return want.start >= want.end ? 0 : unreadable(want.start, err);
}

static int check_maps(struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_buf maps = {0};
	int rc = lp_read_file("/proc/self/maps", &maps, MAPS_MAX, err);

	rc = rc < 0 ? rc : look_up(lp_buf_cstr(&maps), want, write, err);
	lp_buf_free(&maps);
	return rc;
}

/* ---- touching it ---- */

/* What a sanitizer knows of memory is about the program's own accesses. */
#define FOREIGN __attribute__((no_sanitize("address"), no_sanitize("thread")))

struct access {
	lp_addr at;
	size_t size;
	const uint8_t *from, *mask; /* to be written; mask NULL: all of it */
	uint8_t *to;		    /* to be read */
	size_t len;		    /* out, of a text */
};

/* The first of these faults is the refusal. */
static int touch(struct access *a, bool write, void (*how)(void *access), struct lp_err *err)
{
	struct lp_range memory = {a->at, a->at + a->size};
	lp_addr where = a->at;
	int rc = memory.end < memory.start ? -EFAULT : lp_self_guard(memory, how, a, &where);

	if (rc == -EFAULT)
		return write ? unwritable(where, err) : unreadable(where, err);
	if (rc == -ENOSYS && !(rc = check_maps(memory, write, err)))
		how(a);
	return rc;
}

/* The largest aligned piece that begins here. */
static size_t piece(lp_addr at, size_t left)
{
	size_t size = 8;

	while (size > left || at % size)
		size /= 2;
	return size;
}

#define LOAD(type, at, out)                                                                     \
	do {                                                                                    \
		type value_ = __atomic_load_n((const type *)(uintptr_t)(at), __ATOMIC_SEQ_CST); \
		memcpy(out, &value_, sizeof value_);                                            \
	} while (0)

FOREIGN static void load(lp_addr at, uint8_t *out, size_t size)
{
	switch (size) {
	case 8:
		LOAD(uint64_t, at, out);
		break;
	case 4:
		LOAD(uint32_t, at, out);
		break;
	case 2:
		LOAD(uint16_t, at, out);
		break;
	default:
		LOAD(uint8_t, at, out);
	}
}

FOREIGN static void load_all(void *access)
{
	struct access *a = access;

	for (size_t i = 0, n; i < a->size; i += n) {
		n = piece(a->at + i, a->size - i);
		load(a->at + i, a->to + i, n);
	}
}

FOREIGN static void load_text(void *access)
{
	struct access *a = access;
	const volatile uint8_t *from = (const volatile uint8_t *)(uintptr_t)a->at;

	while (a->len < a->size && (a->to[a->len] = from[a->len]))
		a->len++;
}

/* Bits beside those of the mask may be changed by others meanwhile. */
#define STORE(type, to, value, mask)                                                                                 \
	do {                                                                                                         \
		type *at_ = (type *)(uintptr_t)(to), was_ = __atomic_load_n(at_, __ATOMIC_RELAXED);                  \
		while (!__atomic_compare_exchange_n(at_, &was_,                                                      \
						    (type)((was_ & ~(type)(mask)) | ((type)(value) & (type)(mask))), \
						    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))                      \
			;                                                                                            \
	} while (0)

FOREIGN static void store(lp_addr at, uint64_t value, uint64_t mask, size_t size)
{
	switch (size) {
	case 8:
		STORE(uint64_t, at, value, mask);
		break;
	case 4:
		STORE(uint32_t, at, value, mask);
		break;
	case 2:
		STORE(uint16_t, at, value, mask);
		break;
	default:
		STORE(uint8_t, at, value, mask);
	}
}

static uint64_t word(const uint8_t *bytes, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, bytes, size);
	return v;
}

FOREIGN static void store_all(void *access)
{
	const struct access *a = access;

	for (size_t i = 0, n; i < a->size; i += n) {
		n = piece(a->at + i, a->size - i);
		store(a->at + i, word(a->from + i, n), a->mask ? word(a->mask + i, n) : UINT64_MAX, n);
	}
}

/* A byte of every page. */
FOREIGN static void read_pages(void *access)
{
	const struct access *a = access;

	for (lp_addr at = a->at; at < a->at + a->size; at = lp_align_down(at, LP_PAGE) + LP_PAGE)
		(void)*(const volatile uint8_t *)(uintptr_t)at;
}

/* What changes nothing, also not what another thread writes meanwhile. */
FOREIGN static void write_pages(void *access)
{
	const struct access *a = access;
	const volatile uint8_t nothing = 0; /* a compiler that knew would only read */

	for (lp_addr at = a->at; at < a->at + a->size; at = lp_align_down(at, LP_PAGE) + LP_PAGE)
		__atomic_fetch_or((uint8_t *)(uintptr_t)at, nothing, __ATOMIC_RELAXED);
}

/* ---- the calls ---- */

int lp_memory_check(lp_addr at, size_t size, bool write, struct lp_err *err)
{
	struct access a = {.at = at, .size = size};
	int rc = touch(&a, false, read_pages, err);

	return rc < 0 || !write ? rc : touch(&a, true, write_pages, err);
}

int lp_memory_read(lp_addr at, void *out, size_t size, struct lp_err *err)
{
	return touch(&(struct access){.at = at, .size = size, .to = out}, false, load_all, err);
}

int lp_memory_write(lp_addr at, const uint8_t *bytes, const uint8_t *mask, size_t size, struct lp_err *err)
{
	return touch(&(struct access){.at = at, .size = size, .from = bytes, .mask = mask}, true, store_all, err);
}

int lp_memory_text(lp_addr at, size_t max, struct lp_buf *out, struct lp_err *err)
{
	uint8_t page[LP_PAGE];
	struct access a;

	if (at + max < at)
		return unreadable(at, err);
	for (lp_addr end = at + max; at < end; at += a.len) {
		lp_addr next = lp_align_down(at, LP_PAGE) + LP_PAGE;

		a = (struct access){.at = at, .size = (next < end ? next : end) - at, .to = page};
		int rc = touch(&a, false, load_text, err);
		if (rc < 0)
			return rc;
		lp_buf_add(out, page, a.len);
		if (a.len < a.size)
			break;
	}
	return 0;
}
