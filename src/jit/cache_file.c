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

static const char magic[16] = "lp arm64 units 2";

struct header {
	char magic[16];
	struct lp_cache_identity identity;
	uint64_t size, nr_records;
	uint32_t nr_groups, group_shift;
	uint64_t check; /* of all above */
};

struct record {
	uint64_t check; /* of all below */
	uint32_t key, len;
};
enum { LANES = 4, OF_A_GROUP = 8, LEAST_SHIFT = 4, GIVE_BACK = 1 << 20 };
_Static_assert(sizeof(struct header) % 8 == 0 && sizeof(struct record) == 16, "records are aligned to 8 bytes");

/* A bijection of h, and of the word. */
static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 32;
}

uint64_t lp_cache_hash(uint64_t seed, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t h = seed ^ len * UINT64_C(0x9e3779b97f4a7c15), word;
	uint64_t lanes[LANES] = {1, 2, 3, 4}, words[LANES];

	/* Multiplications that do not wait for each other. */
	if (len >= sizeof words) {
		for (; len >= sizeof words; at += sizeof words, len -= sizeof words) {
			memcpy(words, at, sizeof words);
			for (unsigned i = 0; i < LANES; i++)
				lanes[i] = mix(lanes[i], words[i]);
		}
		for (unsigned i = 0; i < LANES; i++)
			h = mix(h, lanes[i]);
	}
	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&word, at, 8);
		h = mix(h, word);
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

/* One more than there are groups: where the last one ends. */
static uint64_t index_at(uint32_t nr_groups)
{
	return sizeof(struct header) + lp_align_up(((uint64_t)nr_groups + 1) * sizeof(uint32_t), 8);
}

static uint64_t records_at(uint32_t nr_groups, uint64_t nr_records)
{
	return index_at(nr_groups) + nr_records * sizeof(uint64_t);
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
	       h->check == lp_cache_hash(0, h, offsetof(struct header, check)) && h->size == size &&
	       h->group_shift < 32 && h->nr_records <= size && records_at(h->nr_groups, h->nr_records) <= size;
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
				    .nr_groups = h.nr_groups,
				    .group_shift = h.group_shift,
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

/* The record there, in order: its length, or -EBADMSG. */
static ssize_t read_record(const struct lp_cache_file *f, uint64_t at, struct record *r, void *out, size_t room)
{
	if (!get(f, at, r, sizeof *r) || r->len > room || !get(f, at + sizeof *r, out, r->len) ||
	    r->check != check_of(r, out))
		return -EBADMSG;
	return (ssize_t)r->len;
}

/* Where the record of that key begins; 0: there is none.  False: the file has been altered. */
static bool find_record(const struct lp_cache_file *f, uint32_t key, uint64_t *at)
{
	uint32_t group = key >> f->group_shift, within[2];
	uint64_t entries[OF_A_GROUP];

	*at = 0;
	if (group >= f->nr_groups)
		return true;
	if (!get(f, sizeof(struct header) + group * sizeof within[0], within, sizeof within) || within[0] > within[1] ||
	    within[1] > f->nr_records)
		return false;
	for (uint32_t i = within[0]; i < within[1]; i += OF_A_GROUP) {
		uint32_t nr = within[1] - i < OF_A_GROUP ? within[1] - i : OF_A_GROUP;
		if (!get(f, index_at(f->nr_groups) + i * sizeof entries[0], entries, nr * sizeof entries[0]))
			return false;
		for (uint32_t k = 0; k < nr && *at == 0; k++)
			if ((uint32_t)entries[k] == key)
				*at = (entries[k] >> 32) * 8;
	}
	return true;
}

/* What has been copied is hardly asked for again, and counts as this process's memory while it is mapped. */
static void give_back(struct lp_cache_file *f, size_t copied)
{
	f->copied += copied;
	if (f->copied < GIVE_BACK)
		return;
	f->copied = 0;
	madvise((void *)f->map, f->size, MADV_DONTNEED);
}

int lp_cache_file_has(struct lp_cache_file *f, uint32_t key)
{
	f->found_key = key;
	if (!find_record(f, key, &f->found_at))
		return -EBADMSG;
	return f->found_at != 0;
}

ssize_t lp_cache_file_find(struct lp_cache_file *f, uint32_t key, void *out, size_t room)
{
	struct record r;
	ssize_t len;
	int has = f->found_at && f->found_key == key ? 1 : lp_cache_file_has(f, key);

	if (has <= 0)
		return has;
	len = read_record(f, f->found_at, &r, out, room);
	if (len < 0 || r.key != key)
		return -EBADMSG;
	give_back(f, (size_t)len);
	return len;
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

	for (uint64_t i = 0; i < f->nr_records && fits; i++) {
		struct record r;
		uint64_t entry;
		if (!get(f, index_at(f->nr_groups) + i * 8, &entry, 8))
			break;
		if (!bsearch(&(struct lp_cache_place){.key = (uint32_t)entry}, known, nr, sizeof *known,
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

static int compare_places(const void *a, const void *b)
{
	const struct lp_cache_place *p = a, *q = b;
	int by_key = compare_keys(a, b);

	return by_key ? by_key : (p->at > q->at) - (p->at < q->at);
}

/* Sorted, the first of each key alone. */
static void sort_places(struct lp_cache_writer *w)
{
	size_t nr = 0;

	if (w->places.nr)
		qsort(w->places.items, w->places.nr, sizeof w->places.items[0], compare_places);
	for (size_t i = 0; i < w->places.nr; i++)
		if (nr == 0 || w->places.items[nr - 1].key != w->places.items[i].key)
			w->places.items[nr++] = w->places.items[i];
	w->places.nr = nr;
}

/* Of a few records each, and at most two for each record. */
static void choose_groups(struct header *h, uint32_t last_key)
{
	while (last_key >> h->group_shift >= 2 * h->nr_records)
		h->group_shift++;
	h->nr_groups = (last_key >> h->group_shift) + 1;
}

/* Of all places, which are sorted. */
static void fill_index(const struct header *h, const struct lp_cache_writer *w, uint32_t *begins, uint64_t *index)
{
	uint64_t base = records_at(h->nr_groups, h->nr_records) / 8;
	uint32_t group = 0;

	for (uint32_t i = 0; i < w->places.nr; i++) {
		const struct lp_cache_place *p = &w->places.items[i];
		while (group <= p->key >> h->group_shift)
			begins[group++] = i;
		index[i] = (base + p->at) << 32 | p->key;
	}
	while (group <= h->nr_groups)
		begins[group++] = (uint32_t)w->places.nr;
}

int lp_cache_writer_finish(struct lp_cache_writer *w, int fd, const struct lp_cache_identity *identity)
{
	struct header h = {.identity = *identity, .group_shift = LEAST_SHIFT};
	size_t tables;
	uint8_t *both;
	int rc;

	memcpy(h.magic, magic, sizeof magic);
	sort_places(w);
	h.nr_records = w->places.nr;
	if (h.nr_records)
		choose_groups(&h, w->places.items[h.nr_records - 1].key);
	tables = records_at(h.nr_groups, h.nr_records) - sizeof h;
	h.size = sizeof h + tables + w->records.len;
	both = lp_alloc(tables);
	fill_index(&h, w, (uint32_t *)both, (uint64_t *)(both + (index_at(h.nr_groups) - sizeof h)));
	h.check = lp_cache_hash(0, &h, offsetof(struct header, check));
	rc = lp_pwrite_full(fd, &h, sizeof h, 0);
	if (rc == 0)
		rc = lp_pwrite_full(fd, both, tables, sizeof h);
	if (rc == 0)
		rc = lp_pwrite_full(fd, w->records.bytes, w->records.len, (off_t)(sizeof h + tables));
	lp_free(both);
	return rc;
}

void lp_cache_writer_free(struct lp_cache_writer *w)
{
	lp_free(w->records.bytes);
	lp_vec_free(&w->places);
	*w = (struct lp_cache_writer){0};
}
