/*
 * The ledger's format, and how it stays right when its writer is killed.
 *
 * The ledger is memory of the target: up to 16 extents, each a mapping named
 * "livepatch-ledger" (extent 0) or "livepatch-ledger.N".  Read as one file,
 * the extents follow each other; a *logical offset* counts bytes in it.  All
 * numbers are little endian.
 *
 * Header, logical offset 0, one page (the rest of it is zero):
 *
 *     off  size
 *       0     8  magic "LPLEDGR1"
 *       8     4  format version, 1
 *      12     4  header size, 4096
 *      16     8  generation: grows by one with every completed change
 *      24     8  busy: 0, or the pid of the livepatch that is (or was) changing the ledger
 *      32     8  next patch id, from 1
 *      40     8  end: logical offset behind the last record
 *      48     8  index: logical offset of its record, 0 = none
 *      56     8  index slots, a power of two
 *      64     8  index slots in use, live or deleted
 *      72     8  number of extents
 *      80   256  16 extents: address, size
 *     336   320  40 free lists: logical offset of the first free record of 64 << n bytes
 *     656     8  number of entries
 *     664     4  CRC-32C of the bytes before
 *     668     4  zero
 *
 * Records follow back to back from offset 4096 to `end`.  Each is 64 << n bytes
 * long, but for padding, which is any multiple of 64, and never straddles two
 * extents:
 *
 *       0     4  magic "LPRC"
 *       4     4  kind: 1 entry, 2 free, 3 padding, 4 index
 *       8     8  size of the record
 *      16     8  entry: state (1 prepared, 2 applying, 3 applied, 4 reverting, 5 reverted);
 *                free: logical offset of the next free record
 *      24     4  entry: CRC-32C of the body
 *      28     4  entry: length of the body
 *      32     8  entry: how many later patches build on it
 *      40     -  entry: body (struct body, writes, rooms, dependencies, strings, bytes); then the old
 *                bytes of data writes, which are taken in the pause and so lie outside the CRC
 *
 * Index record: from byte 64, slots of {key, logical offset}, linear probing.
 *
 * Strings end within 4096 bytes; what is longer is cut.
 *
 * Valid: a header whose magic, version, size and CRC are right and whose
 * extents are the mappings that bear their names; an entry whose record lies
 * before `end`, whose kind is 1 and whose CRC is right.
 *
 * Killed at any write.  One pwrite inside one page is all or nothing, so the
 * header and a state word are.  What is *derived* (index, free lists, counts of
 * dependents) may be half done: `busy` is set before the first change of any
 * of it and cleared after the last, and whoever finds it set rebuilds all of
 * it from the records.  A record becomes visible by the header that moves
 * `end` past it (or, in reused space, by its own 40-byte head, written after
 * its body); only then are its rooms mapped.  An entry that is torn can
 * therefore only be one in state `prepared` that had no effect: the rebuild
 * frees it.  States move only through single 8-byte stores:
 *
 *     prepared -> applying -> applied -> reverting -> reverted | (freed)
 *
 * Nothing in the text or data of the target differs from the original while
 * no entry is in applying..reverting; in `applying` and `reverting` each write
 * of the entry is either done or not, and recover() settles which.  Where a
 * change is one write, and its writer ends with the target, nobody is left to
 * settle it for: applying and reverting are passed over (txn.c).
 */
#include "core/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"

#define HEADER_SIZE 4096u
#define RECORD_MIN 64u
#define RECORD_MAX (UINT64_C(1) << 31)
#define EXTENT_MAX (UINT64_C(1) << 36)
#define ROOM_MAX (UINT64_C(1) << 37)
#define INDEX_DATA 64u
#define KEYS_MAX (UINT64_C(1) << 22) /* of all entries; far fewer bytes of a forged ledger can ask for far more */
#define TEXT_MAX 4096u /* of a name, with its NUL: any number of places may share one, and each gets a copy */
#define FIRST_EXTENT (UINT64_C(1) << 20)
#define RECORD_MAGIC 0x4352504cu /* "LPRC" */

enum record_kind { ENTRY = 1, FREE, PADDING, INDEX };

struct record {
	uint32_t magic, kind;
	uint64_t size;
	uint64_t state; /* or next free */
	uint32_t crc, body_len;
	uint64_t nr_dependents;
};

struct body {
	uint64_t id;
	int64_t time;
	uint32_t tool_pid, nr_writes, nr_rooms, nr_deps;
	uint32_t name, pad;
};

struct body_write {
	uint64_t at;
	uint32_t len, kind;
	uint64_t over;
	struct lp_range body, cold, replacement;
	uint32_t old_bytes, new_bytes, symbol, pad; /* offsets in the record */
};

struct body_room {
	struct lp_range range;
	uint32_t kind, pad;
	uint64_t handle, used;
	uint32_t name, path; /* offsets in the record, path 0 = none */
};

struct slot {
	uint64_t key, off;
};

_Static_assert(sizeof(struct record) == 40, "drawn above");
_Static_assert(sizeof(struct body) == 40, "no holes");
_Static_assert(sizeof(struct body_write) == 88, "no holes");
_Static_assert(sizeof(struct body_room) == 48, "no holes");
_Static_assert(sizeof(struct lp_ledger_header) == 672, "drawn above");
_Static_assert(offsetof(struct lp_ledger_header, crc) == 664, "drawn above");

/* ---- places ---- */

lp_addr lp_ledger_addr(const struct lp_ledger *l, uint64_t off)
{
	for (size_t i = 0; i < l->h.nr_extents; i++) {
		if (off < l->h.extents[i].size)
			return l->h.extents[i].addr + off;
		off -= l->h.extents[i].size;
	}
	return 0;
}

/* Bytes from `off` to the end of its extent. */
static uint64_t run_at(const struct lp_ledger *l, uint64_t off)
{
	for (size_t i = 0; i < l->h.nr_extents; i++) {
		if (off < l->h.extents[i].size)
			return l->h.extents[i].size - off;
		off -= l->h.extents[i].size;
	}
	return 0;
}

static uint64_t capacity(const struct lp_ledger *l)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < l->h.nr_extents; i++)
		sum += l->h.extents[i].size;
	return sum;
}

lp_addr lp_ledger_state_addr(const struct lp_ledger *l, uint64_t off)
{
	return lp_ledger_addr(l, off) + offsetof(struct record, state);
}

static int read_at(struct lp_ledger *l, uint64_t off, void *data, size_t len, struct lp_err *err)
{
	if (run_at(l, off) < len)
		return lp_fail(err, LP_ELEDGER, "the ledger refers to offset %#" PRIx64 ", outside of itself", off);
	return l->t->ops->read(l->t, lp_ledger_addr(l, off), data, len, err);
}

static int write_at(struct lp_ledger *l, uint64_t off, const void *data, size_t len, struct lp_err *err)
{
	if (run_at(l, off) < len)
		return lp_fail(err, LP_ELEDGER, "the ledger refers to offset %#" PRIx64 ", outside of itself", off);
	return l->t->ops->write(l->t, lp_ledger_addr(l, off), data, len, err);
}

/* ---- header ---- */

static uint32_t header_crc(const struct lp_ledger_header *h)
{
	return lp_crc32c(0, h, offsetof(struct lp_ledger_header, crc));
}

bool lp_ledger_header_valid(const struct lp_ledger_header *h, lp_addr at)
{
	if (memcmp(h->magic, "LPLEDGR1", 8) != 0 || h->version != 1 || h->header_size != HEADER_SIZE)
		return false;
	if (h->crc != header_crc(h) || h->nr_extents < 1 || h->nr_extents > LP_LEDGER_EXTENTS ||
	    h->extents[0].addr != at)
		return false;
	uint64_t sum = 0;
	for (size_t i = 0; i < h->nr_extents; i++) {
		uint64_t size = h->extents[i].size;
		if (size == 0 || size % LP_PAGE || size > EXTENT_MAX)
			return false;
		sum += size;
	}
	bool index_fits = h->index_off == 0 ||
			  (h->index_off < h->end && h->index_slots && h->index_slots <= h->end / sizeof(struct slot) &&
			   (h->index_slots & (h->index_slots - 1)) == 0);
	return h->end >= HEADER_SIZE && h->end <= sum && h->end % RECORD_MIN == 0 && h->next_id >= 1 && index_fits;
}

/* One page, one pwrite: the header changes as a whole. */
static int flush_header(struct lp_ledger *l, struct lp_err *err)
{
	l->h.crc = header_crc(&l->h);
	return l->t->ops->write(l->t, l->h.extents[0].addr, &l->h, sizeof l->h, err);
}

/* We write where the header says: only into what is the ledger by its name, whoever wrote the header. */
static bool extents_are_ours(struct lp_ledger *l)
{
	for (unsigned i = 0; i < l->h.nr_extents; i++) {
		struct lp_range is;
		if (l->t->ops->ledger_find(l->t, i, &is, NULL) < 0 || is.start != l->h.extents[i].addr ||
		    is.end - is.start < l->h.extents[i].size)
			return false;
	}
	return true;
}

int lp_ledger_open(struct lp_ledger *l, struct lp_target *t, struct lp_err *err)
{
	*l = (struct lp_ledger){.t = t};
	struct lp_range where;
	int rc = t->ops->ledger_find(t, 0, &where, err);
	if (rc < 0 || !where.start)
		return rc;
	if (where.end - where.start < HEADER_SIZE)
		return lp_fail(err, LP_ELEDGER, "the ledger at " LP_ADDR " is only %" PRIu64 " bytes long", where.start,
			       where.end - where.start);
	rc = t->ops->read(t, where.start, &l->h, sizeof l->h, err);
	if (rc < 0)
		return rc;
	/* All zero: made, and its maker killed before the first header. */
	static const struct lp_ledger_header zero;
	if (memcmp(&l->h, &zero, sizeof zero) == 0)
		return 0;
	if (!lp_ledger_header_valid(&l->h, where.start) || !extents_are_ours(l))
		return lp_fail(err, LP_ELEDGER,
			       "the ledger at " LP_ADDR
			       " in %s is damaged or was written by another version; nothing was changed",
			       where.start, t->label);
	l->present = true;
	return 0;
}

static int make_extent(struct lp_ledger *l, unsigned index, uint64_t size, struct lp_range *out, struct lp_err *err)
{
	int rc = l->t->ops->ledger_find(l->t, index, out, err);
	if (rc < 0 || out->start) /* left by one who was killed before the header knew of it */
		return rc;
	return l->t->ops->ledger_make(l->t, index, size, out, err);
}

int lp_ledger_create(struct lp_ledger *l, struct lp_err *err)
{
	struct lp_range where;
	int rc = make_extent(l, 0, FIRST_EXTENT, &where, err);
	if (rc < 0)
		return rc;
	l->h = (struct lp_ledger_header){
		.version = 1, .header_size = HEADER_SIZE, .next_id = 1, .end = HEADER_SIZE, .nr_extents = 1};
	memcpy(l->h.magic, "LPLEDGR1", 8);
	l->h.extents[0].addr = where.start;
	l->h.extents[0].size = where.end - where.start;
	rc = flush_header(l, err);
	l->present = rc == 0;
	return rc;
}

int lp_ledger_begin(struct lp_ledger *l, struct lp_err *err)
{
	l->h.busy = (uint64_t)getpid();
	return flush_header(l, err);
}

int lp_ledger_end(struct lp_ledger *l, struct lp_err *err)
{
	l->h.busy = 0;
	l->h.generation++;
	return flush_header(l, err);
}

/* ---- space ---- */

static unsigned class_of(uint64_t size)
{
	unsigned c = 0;
	while (((uint64_t)RECORD_MIN << c) < size)
		c++;
	return c;
}

static int read_record(struct lp_ledger *l, uint64_t off, struct record *r, struct lp_err *err)
{
	int rc = read_at(l, off, r, sizeof *r, err);
	if (rc < 0)
		return rc;
	if (r->magic != RECORD_MAGIC || r->kind < ENTRY || r->kind > INDEX || r->size < RECORD_MIN ||
	    r->size % RECORD_MIN || off >= l->h.end || r->size > l->h.end - off || r->size > run_at(l, off) ||
	    (r->kind == ENTRY && r->size > RECORD_MAX))
		return lp_fail(err, LP_ELEDGER, "the ledger in %s has no sound record at offset %#" PRIx64, l->t->label,
			       off);
	return 0;
}

static int grow(struct lp_ledger *l, uint64_t need, struct lp_err *err)
{
	/* What is left of the last extent can hold no record of this size: pad it. */
	uint64_t rest = capacity(l) - l->h.end;
	if (rest) {
		struct record pad = {.magic = RECORD_MAGIC, .kind = PADDING, .size = rest};
		int rc = write_at(l, l->h.end, &pad, sizeof pad, err);
		if (rc < 0)
			return rc;
	}
	if (l->h.nr_extents == LP_LEDGER_EXTENTS)
		return lp_fail(err, LP_ELEDGERFULL,
			       "the ledger in %s has no room left (%" PRIu64 " bytes in %u extents)", l->t->label,
			       capacity(l), LP_LEDGER_EXTENTS);
	uint64_t size = capacity(l) * 2;
	if (size < need * 2)
		size = lp_align_up(need * 2, LP_PAGE);
	unsigned index = (unsigned)l->h.nr_extents;
	struct lp_range where;
	int rc = make_extent(l, index, size, &where, err);
	if (rc < 0)
		return rc;
	if (where.end - where.start < need)
		return lp_fail(err, LP_ELEDGERFULL, "an extent of the ledger in %s is too small", l->t->label);
	l->h.end += rest;
	l->h.extents[index].addr = where.start;
	l->h.extents[index].size = where.end - where.start;
	l->h.nr_extents++;
	return flush_header(l, err);
}

/* Space for a record of at least `need` bytes; from a free list (*reused) or at the end, which does not move yet. */
static int allocate(struct lp_ledger *l, uint64_t need, uint64_t *off, uint64_t *size, bool *reused, struct lp_err *err)
{
	if (need > RECORD_MAX)
		return lp_fail(err, LP_ELEDGERFULL, "the patch is too large for the ledger (%" PRIu64 " bytes)", need);
	unsigned c = class_of(need);
	*size = (uint64_t)RECORD_MIN << c;
	*off = l->h.free_heads[c];
	*reused = *off != 0;
	if (*reused) {
		struct record r;
		int rc = read_record(l, *off, &r, err);
		if (rc < 0)
			return rc;
		if (r.kind != FREE || r.size != *size)
			return lp_fail(err, LP_ELEDGER, "the ledger's free list in %s is damaged", l->t->label);
		l->h.free_heads[c] = r.state;
		return 0;
	}
	if (run_at(l, l->h.end) < *size) {
		int rc = grow(l, *size, err);
		if (rc < 0)
			return rc;
	}
	*off = l->h.end;
	return 0;
}

static int free_record(struct lp_ledger *l, uint64_t off, uint64_t size, struct lp_err *err)
{
	unsigned c = class_of(size);
	struct record r = {.magic = RECORD_MAGIC, .kind = FREE, .size = size, .state = l->h.free_heads[c]};
	int rc = write_at(l, off, &r, sizeof r, err);
	if (rc == 0)
		l->h.free_heads[c] = off;
	return rc;
}

/* Body first, head second, header third: visible only when whole. */
static int write_record(struct lp_ledger *l, uint64_t off, const uint8_t *blob, size_t len, bool reused,
			struct lp_err *err)
{
	const size_t head = sizeof(struct record);
	uint64_t size = ((const struct record *)(const void *)blob)->size;
	int rc = len > head ? write_at(l, off + head, blob + head, len - head, err) : 0;
	if (rc == 0)
		rc = write_at(l, off, blob, head, err);
	if (rc == 0) {
		if (!reused)
			l->h.end = off + size;
		rc = flush_header(l, err);
	}
	return rc;
}

/* ---- entries ---- */

static uint32_t add_bytes(struct lp_buf *b, const void *data, size_t len)
{
	uint32_t at = (uint32_t)b->len;
	lp_buf_add(b, data, len);
	return at;
}

static uint32_t add_string(struct lp_buf *b, const char *s)
{
	if (!s)
		return 0;
	uint32_t at = add_bytes(b, s, strnlen(s, TEXT_MAX - 1));
	lp_buf_add(b, "", 1);
	return at;
}

static void encode(const struct lp_ledger_entry *e, struct lp_buf *b)
{
	size_t fixed = sizeof(struct record) + sizeof(struct body) + e->nr_writes * sizeof(struct body_write) +
		       e->nr_rooms * sizeof(struct body_room) + e->nr_deps * sizeof(uint64_t);
	lp_buf_fill(b, 0, fixed);
	struct body body = {.id = e->id,
			    .time = e->time,
			    .tool_pid = e->tool_pid,
			    .nr_writes = (uint32_t)e->nr_writes,
			    .nr_rooms = (uint32_t)e->nr_rooms,
			    .nr_deps = (uint32_t)e->nr_deps,
			    .name = add_string(b, e->name ? e->name : "")};
	struct body_write *writes = lp_alloc(e->nr_writes * sizeof *writes);
	for (size_t i = 0; i < e->nr_writes; i++) {
		const struct lp_entry_write *w = &e->writes[i];
		writes[i] = (struct body_write){.at = w->at,
						.len = w->len,
						.kind = w->kind,
						.over = w->over,
						.body = w->body,
						.cold = w->cold,
						.replacement = w->replacement,
						.symbol = add_string(b, w->symbol ? w->symbol : ""),
						.new_bytes = add_bytes(b, w->new_bytes, w->len)};
		if (w->kind != LP_WRITE_DATA)
			writes[i].old_bytes = add_bytes(b, w->old_bytes, w->len);
	}
	struct body_room *rooms = lp_alloc(e->nr_rooms * sizeof *rooms);
	for (size_t i = 0; i < e->nr_rooms; i++) {
		const struct lp_entry_room *r = &e->rooms[i];
		rooms[i] = (struct body_room){.range = r->range,
					      .kind = r->kind,
					      .handle = r->handle,
					      .used = r->used,
					      .name = add_string(b, r->name ? r->name : ""),
					      .path = add_string(b, r->path)};
	}
	size_t body_len = b->len - sizeof(struct record);
	for (size_t i = 0; i < e->nr_writes; i++)
		if (writes[i].kind == LP_WRITE_DATA)
			writes[i].old_bytes = add_bytes(b, e->writes[i].old_bytes, e->writes[i].len);

	uint8_t *p = b->data + sizeof(struct record);
	memcpy(p, &body, sizeof body);
	p += sizeof body;
	memcpy(p, writes, e->nr_writes * sizeof *writes);
	p += e->nr_writes * sizeof *writes;
	memcpy(p, rooms, e->nr_rooms * sizeof *rooms);
	p += e->nr_rooms * sizeof *rooms;
	if (e->nr_deps)
		memcpy(p, e->deps, e->nr_deps * sizeof *e->deps);

	struct record r = {.magic = RECORD_MAGIC,
			   .kind = ENTRY,
			   .state = e->state,
			   .crc = lp_crc32c(0, b->data + sizeof r, body_len),
			   .body_len = (uint32_t)body_len};
	memcpy(b->data, &r, sizeof r);
	lp_free(writes);
	lp_free(rooms);
}

int lp_ledger_add(struct lp_ledger *l, const struct lp_ledger_entry *e, uint64_t *off, struct lp_err *err)
{
	struct lp_buf b = {0};
	encode(e, &b);
	uint64_t size;
	bool reused;
	int rc = allocate(l, b.len, off, &size, &reused, err);
	if (rc == 0) {
		memcpy(b.data + offsetof(struct record, size), &size, sizeof size);
		if (e->id >= l->h.next_id)
			l->h.next_id = e->id + 1;
		l->h.nr_entries++;
		rc = write_record(l, *off, b.data, b.len, reused, err);
	}
	lp_buf_free(&b);
	return rc;
}

int lp_ledger_set_state(struct lp_ledger *l, uint64_t off, enum lp_entry_state state, struct lp_err *err)
{
	uint64_t v = state;
	return write_at(l, off + offsetof(struct record, state), &v, sizeof v, err);
}

int lp_ledger_remove(struct lp_ledger *l, uint64_t off, struct lp_err *err)
{
	struct record r;
	int rc = read_record(l, off, &r, err);
	if (rc == 0)
		rc = free_record(l, off, r.size, err);
	if (rc == 0 && l->h.nr_entries)
		l->h.nr_entries--;
	return rc;
}

int lp_ledger_add_dependents(struct lp_ledger *l, const struct lp_ledger_entry *e, int by, struct lp_err *err)
{
	for (size_t i = 0; i < e->nr_deps; i++) {
		struct lp_ledger_entry dep;
		int rc = lp_ledger_read_id(l, e->deps[i], &dep, err);
		if (rc < 0)
			return rc;
		uint64_t n = dep.nr_dependents + (uint64_t)(int64_t)by;
		rc = write_at(l, dep.off + offsetof(struct record, nr_dependents), &n, sizeof n, err);
		lp_ledger_entry_free(&dep);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static const char *string_at(const uint8_t *blob, size_t len, uint32_t off)
{
	size_t most = off < len ? len - off : 0;
	return off && memchr(blob + off, 0, most < TEXT_MAX ? most : TEXT_MAX) ? (const char *)blob + off : NULL;
}

static bool spans(size_t len, uint32_t off, uint64_t n)
{
	return off <= len && n <= len - off;
}

static uint64_t nr_keys(const struct lp_ledger_entry *e);

int lp_ledger_decode(uint8_t *blob, size_t len, uint64_t off, struct lp_ledger_entry *out, struct lp_err *err)
{
	*out = (struct lp_ledger_entry){0};
	struct record r;
	struct body b;
	if (len < sizeof r + sizeof b)
		goto bad;
	memcpy(&r, blob, sizeof r);
	if (r.magic != RECORD_MAGIC || r.kind != ENTRY || r.body_len > len - sizeof r || r.body_len < sizeof b ||
	    r.crc != lp_crc32c(0, blob + sizeof r, r.body_len))
		goto bad;
	memcpy(&b, blob + sizeof r, sizeof b);
	uint64_t fixed = sizeof b + (uint64_t)b.nr_writes * sizeof(struct body_write) +
			 (uint64_t)b.nr_rooms * sizeof(struct body_room) + (uint64_t)b.nr_deps * sizeof(uint64_t);
	const char *name = string_at(blob, len, b.name);
	if (fixed > r.body_len || r.state < LP_PREPARED || r.state > LP_REVERTED || !name)
		goto bad;

	*out = (struct lp_ledger_entry){.off = off,
					.size = r.size,
					.id = b.id,
					.state = r.state,
					.nr_dependents = r.nr_dependents,
					.time = b.time,
					.tool_pid = b.tool_pid,
					.name = name,
					.nr_writes = b.nr_writes,
					.nr_rooms = b.nr_rooms,
					.nr_deps = b.nr_deps};
	out->writes = lp_alloc(b.nr_writes * sizeof *out->writes);
	out->rooms = lp_alloc(b.nr_rooms * sizeof *out->rooms);
	out->deps = lp_alloc(b.nr_deps * sizeof *out->deps);
	const uint8_t *p = blob + sizeof r + sizeof b;
	for (size_t i = 0; i < b.nr_writes; i++, p += sizeof(struct body_write)) {
		struct body_write w;
		memcpy(&w, p, sizeof w);
		const char *symbol = string_at(blob, len, w.symbol);
		if (!symbol || !w.len || w.kind > LP_WRITE_GOT || w.at + w.len < w.at ||
		    !spans(len, w.old_bytes, w.len) || !spans(len, w.new_bytes, w.len))
			goto bad_lists;
		out->writes[i] = (struct lp_entry_write){.at = w.at,
							 .len = w.len,
							 .kind = w.kind,
							 .over = w.over,
							 .body = w.body,
							 .cold = w.cold,
							 .replacement = w.replacement,
							 .symbol = symbol,
							 .old_bytes = blob + w.old_bytes,
							 .new_bytes = blob + w.new_bytes,
							 .old_off = off + w.old_bytes};
	}
	for (size_t i = 0; i < b.nr_rooms; i++, p += sizeof(struct body_room)) {
		struct body_room m;
		memcpy(&m, p, sizeof m);
		const char *room_name = string_at(blob, len, m.name);
		const char *path = string_at(blob, len, m.path);
		if (!room_name || (m.path && !path) || m.kind > LP_ROOM_SOURCE || m.range.end < m.range.start ||
		    m.range.end - m.range.start > ROOM_MAX || m.range.start % LP_PAGE || m.range.end % LP_PAGE)
			goto bad_lists;
		out->rooms[i] = (struct lp_entry_room){.range = m.range,
						       .kind = m.kind,
						       .handle = m.handle,
						       .used = m.used,
						       .name = room_name,
						       .path = path};
	}
	if (nr_keys(out) > KEYS_MAX)
		goto bad_lists;
	if (b.nr_deps)
		memcpy(out->deps, p, b.nr_deps * sizeof *out->deps);
	out->blob = blob;
	return 0;

bad_lists:
	lp_ledger_entry_free(out);
bad:
	return lp_fail(err, LP_ELEDGER, "the ledger's entry at offset %#" PRIx64 " is damaged", off);
}

void lp_ledger_entry_free(struct lp_ledger_entry *e)
{
	lp_free(e->writes);
	lp_free(e->rooms);
	lp_free(e->deps);
	lp_free(e->blob);
	*e = (struct lp_ledger_entry){0};
}

static int read_entry(struct lp_ledger *l, uint64_t off, const struct record *r, struct lp_ledger_entry *out,
		      struct lp_err *err)
{
	uint8_t *blob = lp_alloc(r->size);
	int rc = read_at(l, off, blob, r->size, err);
	if (rc == 0)
		rc = lp_ledger_decode(blob, r->size, off, out, err);
	if (rc < 0)
		lp_free(blob);
	return rc;
}

int lp_ledger_read(struct lp_ledger *l, uint64_t off, struct lp_ledger_entry *out, struct lp_err *err)
{
	struct record r;
	int rc = read_record(l, off, &r, err);
	return rc < 0 ? rc : read_entry(l, off, &r, out, err);
}

/* Torn only while busy: an entry whose maker died before it had any effect. */
static bool torn(const struct lp_ledger *l, const struct record *r)
{
	return l->h.busy && r->state == LP_PREPARED;
}

int lp_ledger_next(struct lp_ledger *l, uint64_t *off, struct lp_ledger_entry *out, struct lp_err *err)
{
	if (*off == 0)
		*off = HEADER_SIZE;
	while (l->present && *off < l->h.end) {
		struct record r;
		int rc = read_record(l, *off, &r, err);
		if (rc < 0)
			return rc;
		uint64_t at = *off;
		*off += r.size;
		if (r.kind != ENTRY)
			continue;
		rc = read_entry(l, at, &r, out, err);
		if (rc == 0)
			return 1;
		if (!torn(l, &r))
			return rc;
	}
	return 0;
}

/* ---- index ---- */

/* Keys carry their kind in the low bits: a block of a large room, an id, a 64-byte line of changed bytes, a page of a
 * room.  Blocks are numbered from 8 on, so that no key looks like the two special ones. */
enum { KEY_BLOCK = 0, KEY_ID = 1, KEY_LINE = 2, KEY_PAGE = 3 };
#define KEY_EMPTY 0u
#define KEY_DELETED 4u
#define BLOCK (UINT64_C(2) << 20)
#define FIRST_BLOCK 8u

static uint64_t key_of(uint64_t v, unsigned kind)
{
	return v << 2 | kind;
}

static uint64_t hash(uint64_t key)
{
	key ^= key >> 33;
	key *= 0xff51afd7ed558ccdULL;
	key ^= key >> 33;
	key *= 0xc4ceb9fe1a85ec53ULL;
	return key ^ key >> 33;
}

typedef LP_VEC(uint64_t) key_vec;

static uint64_t block_key(lp_addr at)
{
	return key_of(at / BLOCK + FIRST_BLOCK, KEY_BLOCK);
}

static void keys_of_room(struct lp_range r, key_vec *keys)
{
	bool large = r.end - r.start > BLOCK;
	for (lp_addr at = lp_align_down(r.start, large ? BLOCK : LP_PAGE); at < r.end; at += large ? BLOCK : LP_PAGE)
		lp_vec_push(keys, large ? block_key(at) : key_of(at / LP_PAGE, KEY_PAGE));
}

static void keys_of(const struct lp_ledger_entry *e, key_vec *keys)
{
	lp_vec_push(keys, key_of(e->id, KEY_ID));
	if (e->state != LP_REVERTED)
		for (size_t i = 0; i < e->nr_writes; i++) {
			uint64_t last = (e->writes[i].at + e->writes[i].len - 1) >> 6;
			for (uint64_t line = e->writes[i].at >> 6; line <= last; line++)
				/* neighbours in the list are neighbours in memory: one look back folds most */
				if (keys->items[keys->nr - 1] != key_of(line, KEY_LINE))
					lp_vec_push(keys, key_of(line, KEY_LINE));
		}
	for (size_t i = 0; i < e->nr_rooms; i++)
		keys_of_room(e->rooms[i].range, keys);
}

/* At least as many as keys_of() finds. */
static uint64_t nr_keys(const struct lp_ledger_entry *e)
{
	uint64_t sum = 1;
	for (size_t i = 0; i < e->nr_writes; i++)
		sum += e->writes[i].len / 64 + 2;
	for (size_t i = 0; i < e->nr_rooms; i++) {
		uint64_t size = e->rooms[i].range.end - e->rooms[i].range.start;
		sum += size / (size > BLOCK ? BLOCK : LP_PAGE) + 2;
	}
	return sum;
}

#define PROBE 16u /* slots read at a time */

/*
 * Walk the probe sequence of `key`.  visit() sees each slot that matches and
 * the empty slot that ends the sequence; it returns true to stop.
 */
struct probe {
	struct slot slot;
	uint64_t at; /* slot number */
};

static int probe_first(struct lp_ledger *l, uint64_t key, bool (*visit)(const struct probe *p, void *arg), void *arg,
		       struct lp_err *err)
{
	uint64_t mask = l->h.index_slots - 1;
	uint64_t i = hash(key) & mask;
	for (uint64_t seen = 0; seen < l->h.index_slots;) {
		struct slot chunk[PROBE];
		uint64_t n = l->h.index_slots - i;
		n = n < PROBE ? n : PROBE;
		int rc = read_at(l, l->h.index_off + INDEX_DATA + i * sizeof(struct slot), chunk, n * sizeof *chunk,
				 err);
		if (rc < 0)
			return rc;
		for (uint64_t k = 0; k < n; k++) {
			struct probe p = {chunk[k], i + k};
			if (visit(&p, arg) || p.slot.key == KEY_EMPTY)
				return 0;
		}
		seen += n;
		i = (i + n) & mask;
	}
	return 0;
}

struct find {
	uint64_t key, off;
	bool found, free;
	struct probe hit;
	lp_off_vec *all;
};

static bool visit_free(const struct probe *p, void *arg)
{
	struct find *f = arg;
	f->found = p->slot.key == KEY_EMPTY || p->slot.key == KEY_DELETED;
	f->hit = *p;
	return f->found;
}

static bool visit_exact(const struct probe *p, void *arg)
{
	struct find *f = arg;
	f->found = p->slot.key == f->key && p->slot.off == f->off;
	f->hit = *p;
	return f->found;
}

static bool visit_collect(const struct probe *p, void *arg)
{
	struct find *f = arg;
	if (p->slot.key == f->key)
		lp_vec_push(f->all, p->slot.off);
	return false;
}

static int write_slot(struct lp_ledger *l, uint64_t i, struct slot s, struct lp_err *err)
{
	return write_at(l, l->h.index_off + INDEX_DATA + i * sizeof s, &s, sizeof s, err);
}

int lp_ledger_index_add(struct lp_ledger *l, const struct lp_ledger_entry *e, struct lp_err *err)
{
	key_vec keys = {0};
	keys_of(e, &keys);
	int rc = 0;
	if (!l->h.index_off || (l->h.index_used + keys.nr) * 4 > l->h.index_slots * 3) {
		rc = lp_ledger_rebuild(l, err); /* e is among the records already */
	} else {
		for (size_t i = 0; i < keys.nr && rc == 0; i++) {
			struct find f = {0};
			rc = probe_first(l, keys.items[i], visit_free, &f, err);
			if (rc == 0 && !f.found)
				rc = lp_fail(err, LP_ELEDGER, "the ledger's index in %s is full", l->t->label);
			if (rc == 0)
				rc = write_slot(l, f.hit.at, (struct slot){keys.items[i], e->off}, err);
			if (rc == 0 && f.hit.slot.key == KEY_EMPTY)
				l->h.index_used++;
		}
	}
	lp_vec_free(&keys);
	return rc;
}

int lp_ledger_index_remove(struct lp_ledger *l, const struct lp_ledger_entry *e, struct lp_err *err)
{
	key_vec keys = {0};
	keys_of(e, &keys);
	int rc = 0;
	for (size_t i = 0; i < keys.nr && rc == 0 && l->h.index_off; i++) {
		struct find f = {.key = keys.items[i], .off = e->off};
		rc = probe_first(l, f.key, visit_exact, &f, err);
		if (rc == 0 && f.found)
			rc = write_slot(l, f.hit.at, (struct slot){KEY_DELETED, 0}, err);
	}
	lp_vec_free(&keys);
	return rc;
}

static int collect(struct lp_ledger *l, uint64_t key, lp_off_vec *out, struct lp_err *err)
{
	if (!l->present || !l->h.index_off)
		return 0;
	struct find f = {.key = key, .all = out};
	return probe_first(l, key, visit_collect, &f, err);
}

static int by_offset(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int lp_ledger_writers(struct lp_ledger *l, struct lp_range range, lp_off_vec *out, struct lp_err *err)
{
	int rc = 0;
	for (uint64_t line = range.start >> 6; line <= (range.end - 1) >> 6 && rc == 0; line++)
		rc = collect(l, key_of(line, KEY_LINE), out, err);
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, by_offset);
	size_t kept = 0;
	for (size_t i = 0; i < out->nr; i++)
		if (!kept || out->items[kept - 1] != out->items[i])
			out->items[kept++] = out->items[i];
	out->nr = kept;
	return rc;
}

static int first_of(struct lp_ledger *l, uint64_t key, uint64_t *off, struct lp_err *err)
{
	lp_off_vec all = {0};
	int rc = collect(l, key, &all, err);
	*off = all.nr ? all.items[0] : 0;
	lp_vec_free(&all);
	return rc;
}

static bool owns(const struct lp_ledger_entry *e, lp_addr at)
{
	for (size_t i = 0; i < e->nr_rooms; i++)
		if (lp_range_has(e->rooms[i].range, at))
			return true;
	return false;
}

int lp_ledger_owner(struct lp_ledger *l, lp_addr at, uint64_t *off, struct lp_err *err)
{
	lp_off_vec all = {0};
	int rc = collect(l, key_of(at / LP_PAGE, KEY_PAGE), &all, err);
	rc = rc ? rc : collect(l, block_key(at), &all, err);
	*off = 0;
	for (size_t i = 0; i < all.nr && rc == 0 && *off == 0; i++) {
		struct lp_ledger_entry e;
		rc = lp_ledger_read(l, all.items[i], &e, err);
		if (rc == 0 && owns(&e, at))
			*off = e.off;
		if (rc == 0)
			lp_ledger_entry_free(&e);
	}
	lp_vec_free(&all);
	return rc;
}

int lp_ledger_read_id(struct lp_ledger *l, uint64_t id, struct lp_ledger_entry *out, struct lp_err *err)
{
	uint64_t off = 0;
	int rc = first_of(l, key_of(id, KEY_ID), &off, err);
	if (rc == 0 && off == 0)
		rc = lp_fail(err, LP_ENOPATCH, "%s has no patch %" PRIu64, l->t->label, id);
	return rc < 0 ? rc : lp_ledger_read(l, off, out, err);
}

/* ---- rebuild ---- */

struct survey {
	LP_VEC(struct lp_ledger_entry) entries;
	LP_VEC(struct slot) spare; /* offset and size of what is or becomes free */
	key_vec keys;
	LP_VEC(uint64_t) key_offs; /* beside keys: whose */
};

static int survey(struct lp_ledger *l, struct survey *s, struct lp_err *err)
{
	for (uint64_t off = HEADER_SIZE; off < l->h.end;) {
		struct record r;
		int rc = read_record(l, off, &r, err);
		if (rc < 0)
			return rc;
		struct lp_ledger_entry e;
		if (r.kind == ENTRY) {
			rc = read_entry(l, off, &r, &e, err);
			if (rc == 0)
				lp_vec_push(&s->entries, e);
			else if (!torn(l, &r))
				return rc;
		}
		if (r.kind == FREE || r.kind == INDEX || (r.kind == ENTRY && rc < 0))
			lp_vec_push(&s->spare, ((struct slot){off, r.size}));
		off += r.size;
	}
	uint64_t sum = 0;
	for (size_t i = 0; i < s->entries.nr; i++) {
		sum += nr_keys(&s->entries.items[i]);
		if (sum > KEYS_MAX)
			return lp_fail(err, LP_ELEDGERFULL, "the ledger in %s has more to find than an index can hold",
				       l->t->label);
		keys_of(&s->entries.items[i], &s->keys);
		while (s->key_offs.nr < s->keys.nr)
			lp_vec_push(&s->key_offs, s->entries.items[i].off);
	}
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct lp_ledger_entry *x = a, *y = b;
	return (x->id > y->id) - (x->id < y->id);
}

static int recount_dependents(struct lp_ledger *l, struct survey *s, struct lp_err *err)
{
	if (s->entries.nr)
		qsort(s->entries.items, s->entries.nr, sizeof *s->entries.items, by_id);
	uint64_t *count = lp_alloc(s->entries.nr * sizeof *count);
	for (size_t i = 0; i < s->entries.nr; i++)
		for (size_t k = 0; s->entries.items[i].state != LP_REVERTED && k < s->entries.items[i].nr_deps; k++) {
			struct lp_ledger_entry want = {.id = s->entries.items[i].deps[k]};
			struct lp_ledger_entry *dep =
				bsearch(&want, s->entries.items, s->entries.nr, sizeof want, by_id);
			if (dep)
				count[dep - s->entries.items]++;
		}
	int rc = 0;
	for (size_t i = 0; i < s->entries.nr && rc == 0; i++)
		if (count[i] != s->entries.items[i].nr_dependents)
			rc = write_at(l, s->entries.items[i].off + offsetof(struct record, nr_dependents), &count[i],
				      sizeof count[i], err);
	lp_free(count);
	return rc;
}

static int write_index(struct lp_ledger *l, const struct survey *s, struct lp_err *err)
{
	uint64_t slots = 256;
	while (slots < s->keys.nr * 4)
		slots *= 2;
	size_t len = INDEX_DATA + slots * sizeof(struct slot);
	uint64_t off, size;
	bool reused;
	int rc = allocate(l, len, &off, &size, &reused, err);
	if (rc < 0)
		return rc;
	uint8_t *blob = lp_alloc(len);
	struct record r = {.magic = RECORD_MAGIC, .kind = INDEX, .size = size};
	memcpy(blob, &r, sizeof r);
	struct slot *table = (struct slot *)(void *)(blob + INDEX_DATA);
	for (size_t i = 0; i < s->keys.nr; i++) {
		uint64_t k = hash(s->keys.items[i]) & (slots - 1);
		while (table[k].key)
			k = (k + 1) & (slots - 1);
		table[k] = (struct slot){s->keys.items[i], s->key_offs.items[i]};
	}
	l->h.index_off = off;
	l->h.index_slots = slots;
	l->h.index_used = s->keys.nr;
	rc = write_record(l, off, blob, len, reused, err);
	lp_free(blob);
	return rc;
}

int lp_ledger_rebuild(struct lp_ledger *l, struct lp_err *err)
{
	struct survey s = {0};
	int rc = survey(l, &s, err);
	if (rc == 0)
		rc = recount_dependents(l, &s, err);
	if (rc == 0) {
		memset(l->h.free_heads, 0, sizeof l->h.free_heads);
		l->h.index_off = l->h.index_slots = l->h.index_used = 0;
		l->h.nr_entries = s.entries.nr;
	}
	for (size_t i = 0; i < s.spare.nr && rc == 0; i++)
		rc = free_record(l, s.spare.items[i].key, s.spare.items[i].off, err);
	if (rc == 0)
		rc = write_index(l, &s, err);
	for (size_t i = 0; i < s.entries.nr; i++)
		lp_ledger_entry_free(&s.entries.items[i]);
	lp_vec_free(&s.entries);
	lp_vec_free(&s.spare);
	lp_vec_free(&s.keys);
	lp_vec_free(&s.key_offs);
	return rc;
}
