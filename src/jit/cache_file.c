/* One file of the translation cache. */
#include "jit/cache_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/fdio.h"
#include "emu/mem.h"

static const char magic[16] = "lp arm64 units 1";

struct header {
	char magic[16];
	struct lp_cache_identity identity;
	uint64_t size, nr_records, nr_buckets;
	uint64_t check; /* of all above */
};

struct record {
	uint64_t check; /* of all below */
	uint32_t key, len;
};
_Static_assert(sizeof(struct header) % 8 == 0 && sizeof(struct record) == 16, "records are aligned to 8 bytes");

enum { EMPTY = 0 };

uint64_t lp_cache_hash(uint64_t seed, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t h = seed ^ len * UINT64_C(0x9e3779b97f4a7c15), word;

	/* Each step is a bijection of h, and of the word. */
	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&word, at, 8);
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, at, len);
	h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 29;
}

static uint64_t check_of(const struct record *r, const void *data)
{
	return lp_cache_hash((uint64_t)r->len << 32 | r->key, data, r->len);
}

static size_t bucket_of(uint32_t key, uint64_t nr_buckets)
{
	return (key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (nr_buckets - 1);
}

/* ---- reading ---- */

/* The file may have been cut short behind our back. */
static bool get(const struct lp_cache_file *f, uint64_t at, void *out, size_t len)
{
	return at <= f->size && len <= f->size - at && lp_mem_read((uint64_t)(f->map + at), out, len) == 0;
}

static bool is_good(const struct header *h, uint64_t size, const struct lp_cache_identity *identity)
{
	return !memcmp(h->magic, magic, sizeof magic) && !memcmp(&h->identity, identity, sizeof *identity) &&
	       h->check == lp_cache_hash(0, h, offsetof(struct header, check)) && h->size == size && h->nr_buckets &&
	       !(h->nr_buckets & (h->nr_buckets - 1)) && h->nr_buckets <= (size - sizeof *h) / 8 &&
	       h->nr_records < h->nr_buckets;
}

int lp_cache_file_open(struct lp_cache_file *f, int fd, const struct lp_cache_identity *identity)
{
	struct header h;
	struct stat st;
	void *map;

	*f = (struct lp_cache_file){0};
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof h || st.st_size > LP_CACHE_FILE_MAX ||
	    lp_pread_full(fd, &h, sizeof h, 0) || !is_good(&h, (uint64_t)st.st_size, identity))
		return -EBADMSG;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*f = (struct lp_cache_file){.map = map,
				    .size = (size_t)st.st_size,
				    .nr_records = h.nr_records,
				    .nr_buckets = h.nr_buckets,
				    .dev = st.st_dev,
				    .ino = st.st_ino};
	return 0;
}

void lp_cache_file_close(struct lp_cache_file *f)
{
	if (f->map)
		munmap((void *)f->map, f->size);
	*f = (struct lp_cache_file){0};
}

static uint64_t records_at(uint64_t nr_buckets)
{
	return sizeof(struct header) + nr_buckets * 8;
}

/* The record there, in order: its length, or -EBADMSG. */
static ssize_t read_record(const struct lp_cache_file *f, uint64_t at, struct record *r, void *out, size_t room)
{
	if (!get(f, at, r, sizeof *r) || r->len > room || !get(f, at + sizeof *r, out, r->len) ||
	    r->check != check_of(r, out))
		return -EBADMSG;
	return (ssize_t)r->len;
}

ssize_t lp_cache_file_find(const struct lp_cache_file *f, uint32_t key, void *out, size_t room)
{
	size_t bucket = bucket_of(key, f->nr_buckets);
	struct record r;
	uint64_t entry;

	for (uint64_t n = 0; n < f->nr_buckets; n++, bucket = (bucket + 1) & (f->nr_buckets - 1)) {
		ssize_t len;
		if (!get(f, sizeof(struct header) + bucket * 8, &entry, 8))
			return -EBADMSG;
		if (entry == EMPTY)
			return 0;
		if ((uint32_t)entry != key)
			continue;
		len = read_record(f, (entry >> 32) * 8, &r, out, room);
		return len < 0 || r.key == key ? len : -EBADMSG;
	}
	return -EBADMSG;
}

/* ---- writing ---- */

static bool has_room(struct lp_cache_writer *w, size_t more)
{
	size_t cap = w->records.cap ? w->records.cap : 1 << 20;
	void *bytes;

	if (w->records.len + more > LP_CACHE_FILE_MAX / 4 * 3)
		return false;
	while (cap < w->records.len + more)
		cap *= 2;
	if (cap == w->records.cap)
		return true;
	bytes = lp_try_realloc(w->records.bytes, cap);
	if (!bytes)
		return false;
	w->records.bytes = bytes;
	w->records.cap = cap;
	return true;
}

bool lp_cache_writer_add(struct lp_cache_writer *w, uint32_t key, const void *data, size_t len)
{
	struct record r = {.key = key, .len = (uint32_t)len};
	size_t whole = sizeof r + lp_align_up(len, 8);
	uint8_t *at;

	if (!has_room(w, whole))
		return false;
	r.check = check_of(&r, data);
	at = w->records.bytes + w->records.len;
	memset(at + whole - 8, 0, 8);
	memcpy(at, &r, sizeof r);
	memcpy(at + sizeof r, data, len);
	lp_vec_push(&w->places, ((struct lp_cache_place){key, (uint32_t)(w->records.len / 8)}));
	w->records.len += whole;
	return true;
}

static int compare_keys(const void *a, const void *b)
{
	const struct lp_cache_place *p = a, *q = b;

	return (p->key > q->key) - (p->key < q->key);
}

/* Adds what is in order, and not among the `nr` places that there were already, which are sorted. */
static bool merge(struct lp_cache_writer *w, const struct lp_cache_file *f, const struct lp_cache_place *known,
		  size_t nr)
{
	uint8_t *room = lp_alloc(LP_CACHE_RECORD_MAX);
	bool fits = true;

	for (uint64_t i = 0; i < f->nr_buckets && fits; i++) {
		struct record r;
		uint64_t entry;
		if (!get(f, sizeof(struct header) + i * 8, &entry, 8))
			break;
		if (entry != EMPTY &&
		    !bsearch(&(struct lp_cache_place){.key = (uint32_t)entry}, known, nr, sizeof *known,
			     compare_keys) &&
		    read_record(f, (entry >> 32) * 8, &r, room, LP_CACHE_RECORD_MAX) >= 0 && r.key == (uint32_t)entry)
			fits = lp_cache_writer_add(w, r.key, room, r.len);
	}
	lp_free(room);
	return fits;
}

bool lp_cache_writer_merge(struct lp_cache_writer *w, const struct lp_cache_file *f)
{
	size_t nr = w->places.nr;
	struct lp_cache_place *known = lp_memdup(w->places.items, nr * sizeof *known);
	bool fits;

	qsort(known, nr, sizeof *known, compare_keys);
	fits = merge(w, f, known, nr);
	lp_free(known);
	return fits;
}

/* False: there is one of that key already. */
static bool put_place(uint64_t *buckets, uint64_t nr_buckets, const struct lp_cache_place *p)
{
	size_t bucket = bucket_of(p->key, nr_buckets);

	for (; buckets[bucket] != EMPTY; bucket = (bucket + 1) & (nr_buckets - 1))
		if ((uint32_t)buckets[bucket] == p->key)
			return false;
	buckets[bucket] = (records_at(nr_buckets) / 8 + p->at) << 32 | p->key;
	return true;
}

int lp_cache_writer_finish(struct lp_cache_writer *w, int fd, const struct lp_cache_identity *identity)
{
	struct header h = {.identity = *identity, .nr_buckets = 16};
	uint64_t *buckets;
	int rc;

	memcpy(h.magic, magic, sizeof magic);
	while (h.nr_buckets < 2 * w->places.nr)
		h.nr_buckets *= 2;
	h.size = records_at(h.nr_buckets) + w->records.len;
	buckets = lp_alloc(h.nr_buckets * 8);
	for (size_t i = 0; i < w->places.nr; i++)
		h.nr_records += put_place(buckets, h.nr_buckets, &w->places.items[i]);
	h.check = lp_cache_hash(0, &h, offsetof(struct header, check));
	rc = lp_pwrite_full(fd, &h, sizeof h, 0);
	if (rc == 0)
		rc = lp_pwrite_full(fd, buckets, h.nr_buckets * 8, sizeof h);
	if (rc == 0)
		rc = lp_pwrite_full(fd, w->records.bytes, w->records.len, (off_t)records_at(h.nr_buckets));
	lp_free(buckets);
	return rc;
}

void lp_cache_writer_free(struct lp_cache_writer *w)
{
	lp_free(w->records.bytes);
	lp_vec_free(&w->places);
	*w = (struct lp_cache_writer){0};
}
