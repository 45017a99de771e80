/* Which unit is of which file of the guest's, and when what is read and written. */
#include "jit/cache.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "elf/elf.h"
#include "emu/mem.h"
#include "emu/thread.h"
#include "jit/cache_dir.h"

enum { IMAGES = 1024, NOTES_MAX = 4096, PHDRS_MAX = 64, CHANGES_MAX = 64 };
enum { LEAST = 8 }; /* units that are worth a file */

/* One of the guest's files, by build-id. */
struct cached {
	struct cached *next;
	struct lp_cache_identity identity;
	char name[LP_CACHE_NAME_MAX];
	struct lp_cache_file file; /* as it was when it was first asked for; all zeros: none */
	bool is_bad;		   /* it has been altered */
	uint64_t nr_new, nr_known; /* units that are not in it, and that are */
};

/* A mapping of one, or of what is not kept (file is NULL). */
struct image {
	struct lp_range range;
	uint64_t offset; /* in the file */
	struct cached *file;
	_Atomic bool is_gone;
	bool changed_often;
	LP_VEC(struct lp_range) changed; /* where it has not been the file's code */
};

struct lp_cache {
	struct lp_cache_identity identity; /* with no image */
	uint64_t limit;
	uint64_t nr_new; /* units made since the last store() */
	bool is_child;	 /* of a fork: the parent writes what both have, */
	size_t first;	 /* which is in the segments before this one */
	struct cached *files;
	_Atomic unsigned nr_images;
	struct image images[IMAGES];
	_Alignas(8) uint8_t record[LP_CACHE_RECORD_MAX];
};

/* ---- who is who ---- */

/* From notes in memory that nobody changes. */
static int own_build_id(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct lp_build_id *id = arg;

	for (unsigned i = 0; i < info->dlpi_phnum && id->len == 0; i++)
		if (info->dlpi_phdr[i].p_type == PT_NOTE)
			lp_elf_build_id_from_notes((const uint8_t *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr,
						   info->dlpi_phdr[i].p_memsz, id);
	return 1; /* the first one is the program */
}

static bool put_id(uint8_t out[LP_CACHE_ID_MAX], const struct lp_build_id *id)
{
	if (id->len == 0 || id->len > LP_CACHE_ID_MAX)
		return false;
	memcpy(out, id->bytes, id->len);
	return true;
}

/* Everything that has other code made of the same instructions. */
static uint64_t flavour_of(const struct lp_jit *jit)
{
	uint64_t flavour = lp_cache_hash(0, &jit->host, sizeof jit->host);
	uint8_t options[] = {jit->emu->options.stats, jit->emu->options.branches};

	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++)
		flavour = flavour * 31 + (jit->emit[op] != NULL);
	return lp_cache_hash(flavour, options, sizeof options);
}

/* Of the ELF file whose begin is mapped there. */
static void build_id_at(struct lp_range range, struct lp_build_id *out)
{
	uint8_t notes[NOTES_MAX];
	Elf64_Ehdr header;
	Elf64_Phdr p;

	if (lp_mem_get(range.start, &header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof p || header.e_phnum > PHDRS_MAX)
		return;
	for (unsigned i = 0; i < header.e_phnum && out->len == 0; i++) {
		uint64_t size = range.end - range.start;
		if (header.e_phoff > size || lp_mem_get(range.start + header.e_phoff + i * sizeof p, &p))
			return;
		if (p.p_type == PT_NOTE && p.p_filesz <= sizeof notes && p.p_offset < size &&
		    p.p_filesz <= size - p.p_offset && lp_mem_read(range.start + p.p_offset, notes, p.p_filesz) == 0)
			lp_elf_build_id_from_notes(notes, p.p_filesz, out);
	}
}

/* The last mapping of the file's begin in front of one of its others. */
static bool find_begin(struct lp_emu *emu, const struct lp_guest_area *area, struct lp_range *out)
{
	struct lp_guest_area a;
	bool found = false;

	for (uint64_t at = 0; lp_mem_next(emu, at, &a) && a.range.start <= area->range.start; at = a.range.end)
		if (a.dev == area->dev && a.ino == area->ino && a.offset == 0) {
			*out = a.range;
			found = true;
		}
	return found;
}

/* ---- files ---- */

static void open_file(struct cached *c)
{
	int fd = lp_cache_dir_read(c->name);
	int rc = fd < 0 ? fd : lp_cache_file_open(&c->file, fd, &c->identity);

	if (rc && rc != -ENOENT)
		lp_debug("translation cache: %s is not used: %s", c->name,
			 rc == -EBADMSG ? "it is no file of the cache" : strerror(-rc));
	c->nr_known = c->file.nr_records;
	lp_close(fd);
}

static struct cached *file_of(struct lp_cache *cache, const struct lp_build_id *id)
{
	struct lp_cache_identity identity = cache->identity;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	struct cached *c;

	if (!put_id(identity.image, id))
		return NULL;
	for (c = cache->files; c; c = c->next)
		if (!memcmp(&c->identity, &identity, sizeof identity))
			return c;
	c = lp_alloc(sizeof *c);
	c->identity = identity;
	lp_build_id_hex(id, hex);
	snprintf(c->name, sizeof c->name, "%s-%016llx", hex,
		 (unsigned long long)lp_cache_hash(0, &identity, sizeof identity));
	open_file(c);
	c->next = cache->files;
	cache->files = c;
	return c;
}

/* ---- images ---- */

static unsigned find_image(const struct lp_cache *cache, uint64_t pc)
{
	static _Thread_local unsigned last;
	unsigned nr = atomic_load_explicit(&cache->nr_images, memory_order_acquire);

	for (unsigned n = 0; n <= nr; n++) {
		unsigned i = n ? n : last;
		const struct image *image = &cache->images[i ? i - 1 : 0];
		if (i && i <= nr && lp_range_has(image->range, pc) &&
		    !atomic_load_explicit(&image->is_gone, memory_order_relaxed))
			return last = i;
	}
	return 0;
}

static void add_image(struct lp_jit *jit, const struct lp_guest_area *area, const struct lp_build_id *id)
{
	struct lp_cache *cache = jit->cache;
	unsigned nr = atomic_load_explicit(&cache->nr_images, memory_order_relaxed);

	if (nr == IMAGES)
		return;
	cache->images[nr].range = area->range;
	cache->images[nr].offset = area->offset;
	cache->images[nr].file = id->len ? file_of(cache, id) : NULL;
	atomic_store_explicit(&cache->nr_images, nr + 1, memory_order_release);
}

static unsigned if_kept(const struct lp_cache *cache, unsigned image)
{
	return image && cache->images[image - 1].file ? image : 0;
}

unsigned lp_cache_image(struct lp_jit *jit, uint64_t pc)
{
	struct lp_cache *cache = jit->cache;
	struct lp_build_id id = {0};
	struct lp_guest_area area;
	struct lp_range begin;
	unsigned image;

	if (!cache)
		return 0;
	image = find_image(cache, pc);
	if (image)
		return if_kept(cache, image);
	if (atomic_load_explicit(&cache->nr_images, memory_order_relaxed) == IMAGES ||
	    !lp_mem_area(jit->emu, pc, &area))
		return 0;
	/* What several processes have in common may be changed by any of them. */
	if ((area.dev || area.ino) && area.flags & MAP_PRIVATE && find_begin(jit->emu, &area, &begin))
		build_id_at(begin, &id);
	pthread_mutex_lock(&jit->lock);
	image = find_image(cache, pc);
	if (!image) {
		add_image(jit, &area, &id);
		image = find_image(cache, pc);
	}
	pthread_mutex_unlock(&jit->lock);
	return if_kept(cache, image);
}

/* Where in its file an address of it is, in instructions; false: too far. */
static bool key_of(const struct image *image, uint64_t pc, uint32_t *key)
{
	uint64_t at = (image->offset + (pc - image->range.start)) / 4;

	*key = (uint32_t)at;
	return at <= UINT32_MAX;
}

void lp_cache_changed(struct lp_jit *jit, struct lp_range range)
{
	struct lp_cache *cache = jit->cache;
	unsigned nr = cache ? atomic_load_explicit(&cache->nr_images, memory_order_relaxed) : 0;

	for (unsigned i = 0; i < nr; i++) {
		struct image *image = &cache->images[i];
		if (!lp_range_overlaps(image->range, range))
			continue;
		/* Whole pages are other mappings. */
		if (range.start % LP_GUEST_PAGE == 0 && range.end % LP_GUEST_PAGE == 0)
			atomic_store_explicit(&image->is_gone, true, memory_order_relaxed);
		else if (image->changed.nr < CHANGES_MAX)
			lp_vec_push(&image->changed, range);
		else
			image->changed_often = true;
	}
}

/* ---- reading ---- */

/* The file that may have the unit at pc, and by which key; NULL: there is none. */
static struct cached *to_be_asked(struct lp_cache *cache, unsigned image, uint64_t pc, uint32_t *key)
{
	const struct image *of = image ? &cache->images[image - 1] : NULL;
	struct cached *c = of ? of->file : NULL;

	return c && c->file.map && !c->is_bad && key_of(of, pc, key) ? c : NULL;
}

static void give_up(struct cached *c)
{
	c->is_bad = true;
	lp_debug("translation cache: %s has been altered, and is not used any more", c->name);
}

bool lp_cache_has(struct lp_jit *jit, uint64_t pc)
{
	unsigned image = lp_cache_image(jit, pc);
	struct cached *c;
	uint32_t key;
	int has = 0;

	if (!image)
		return false;
	pthread_mutex_lock(&jit->lock);
	c = to_be_asked(jit->cache, image, pc, &key);
	if (c)
		has = lp_cache_file_has(&c->file, key);
	if (has < 0)
		give_up(c);
	pthread_mutex_unlock(&jit->lock);
	return has > 0;
}

struct lp_unit *lp_cache_load(struct lp_jit *jit, unsigned image, uint64_t pc, size_t nr)
{
	struct lp_cache *cache = jit->cache;
	struct lp_unit *u;
	uint32_t key;
	struct cached *c = to_be_asked(cache, image, pc, &key);
	ssize_t len;

	if (!c) {
		cache->nr_new++;
		return NULL;
	}
	len = lp_cache_file_find(&c->file, key, cache->record, sizeof cache->record);
	if (len < 0)
		give_up(c);
	u = len > 0 ? lp_cache_unpack(jit, cache->record, (size_t)len, pc, nr) : NULL;
	cache->nr_new += !u;
	if (u) {
		jit->stats.loaded++;
		jit->stats.loaded_insns += u->nr_insns;
	}
	return u;
}

/* ---- writing ---- */

/* Files that hardly anything would be added to stay. */
static bool is_worth_it(const struct lp_cache *cache, const struct cached *c)
{
	uint64_t least = cache->is_child ? 256 + c->nr_known / 4 : LEAST + c->nr_known / 32;

	return c->nr_new >= least || (c->is_bad && c->nr_new);
}

static bool was_changed(const struct image *image, struct lp_range range)
{
	for (size_t i = 0; i < image->changed.nr; i++)
		if (lp_range_overlaps(image->changed.items[i], range))
			return true;
	return image->changed_often;
}

/* Whether it is to be written to that file; NULL: to any. */
static bool is_new(const struct lp_cache *cache, const struct lp_unit *u, const struct cached *c, uint32_t *key)
{
	const struct image *image = u->image ? &cache->images[u->image - 1] : NULL;

	return image && image->file && (!c || image->file == c) && !u->is_dead && !was_changed(image, u->range) &&
	       key_of(image, u->range.start, key);
}

/* Has `visit` see each unit that may be written. */
static void each_unit(struct lp_jit *jit, size_t first, const struct cached *of,
		      void (*visit)(struct lp_jit *jit, struct lp_unit *u, uint32_t key, void *arg), void *arg)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);

	for (size_t i = first; i < nr; i++) {
		const struct lp_segment *s = &jit->segments[i];
		size_t nr_units = atomic_load_explicit(&s->nr_units, memory_order_relaxed);
		for (size_t k = 0; k < nr_units; k++) {
			uint32_t key;
			if (is_new(jit->cache, s->units[k], of, &key))
				visit(jit, s->units[k], key, arg);
		}
	}
}

static void count_unit(struct lp_jit *jit, struct lp_unit *u, uint32_t key, void *arg)
{
	jit->cache->images[u->image - 1].file->nr_new += !u->is_stored;
}

static void write_unit(struct lp_jit *jit, struct lp_unit *u, uint32_t key, void *arg)
{
	size_t len = lp_cache_pack(jit, u, jit->cache->record, sizeof jit->cache->record);

	if (len && lp_cache_writer_add(arg, key, jit->cache->record, len) && !u->is_stored) {
		u->is_stored = true;
		jit->stats.stored++;
	}
}

/* What another process has written since is kept as well. */
static void merge_file(int dir, const struct cached *c, struct lp_cache_writer *w)
{
	int fd = lp_cache_dir_file(dir, c->name);
	struct lp_cache_file file;

	if (fd >= 0 && lp_cache_file_open(&file, fd, &c->identity) == 0) {
		lp_cache_writer_merge(w, &file);
		lp_cache_file_close(&file);
	}
	lp_close(fd);
}

/* A signal is what it would be answered by. */
static bool may_be_written(const struct lp_cache_writer *w)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= LP_CACHE_FILE_MAX && w->records.len;
}

static int write_file(int dir, const struct cached *c, struct lp_cache_writer *w)
{
	char temporary[LP_CACHE_NAME_MAX];
	int fd = lp_cache_dir_new(dir, temporary);
	int rc;

	if (fd < 0)
		return fd;
	rc = lp_cache_writer_finish(w, fd, &c->identity);
	if (close(fd) && rc == 0)
		rc = -errno;
	if (rc == 0)
		return lp_cache_dir_rename(dir, temporary, c->name);
	lp_cache_dir_remove(dir, temporary);
	return rc;
}

static void store_file(struct lp_jit *jit, int dir, struct cached *c)
{
	struct lp_cache_writer w = {0};
	uint64_t stored = jit->stats.stored;
	int rc = 0;

	each_unit(jit, 1, c, write_unit, &w);
	merge_file(dir, c, &w);
	c->nr_known = w.places.nr;
	if (may_be_written(&w))
		rc = write_file(dir, c, &w);
	else
		rc = -EFBIG;
	if (rc) {
		jit->stats.stored = stored;
		lp_debug("translation cache: %s cannot be written: %s", c->name, strerror(-rc));
	}
	lp_cache_writer_free(&w);
}

static void store(struct lp_jit *jit)
{
	struct lp_cache *cache = jit->cache;
	struct lp_err err = {0};
	struct cached *c;
	int dir;

	pthread_mutex_lock(&jit->lock);
	if (cache->nr_new < LEAST) {
		pthread_mutex_unlock(&jit->lock);
		return;
	}
	cache->nr_new = 0;
	for (c = cache->files; c; c = c->next)
		c->nr_new = 0;
	each_unit(jit, cache->first, NULL, count_unit, NULL);
	for (c = cache->files; c && !is_worth_it(cache, c); c = c->next)
		;
	dir = c ? lp_cache_dir_open(true, &err) : -1;
	if (c && dir < 0)
		lp_debug("%s", err.text);
	for (; c && dir >= 0; c = c->next)
		if (is_worth_it(cache, c))
			store_file(jit, dir, c);
	if (dir >= 0)
		lp_cache_dir_limit(dir, cache->limit);
	lp_close(dir);
	pthread_mutex_unlock(&jit->lock);
}

/* ---- when ---- */

static void on_exit_of_guest(struct lp_emu *emu, int status, void *arg)
{
	if (status >= 0)
		store(arg);
}

static void on_exec(struct lp_emu *emu, void *arg)
{
	store(arg);
}

static void on_forked(struct lp_emu *emu, void *arg)
{
	struct lp_jit *jit = arg;

	jit->cache->is_child = true;
	jit->cache->nr_new = 0;
	jit->cache->first = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);
}

void lp_cache_begin(struct lp_jit *jit, uint64_t bytes)
{
	struct lp_build_id own = {0};
	struct lp_cache *cache;
	struct lp_err err = {0};

	if (lp_cache_dir_look(&err)) {
		lp_debug("%s", err.text);
		return;
	}
	dl_iterate_phdr(own_build_id, &own);
	cache = lp_alloc(sizeof *cache); /* hardly any of it is touched */
	if (!put_id(cache->identity.runner, &own)) {
		lp_debug("no translation cache: this runner has no build-id");
		lp_free(cache);
		return;
	}
	cache->identity.flavour = flavour_of(jit);
	cache->limit = bytes;
	cache->first = 1;
	jit->cache = cache;
	lp_emu_watch(jit->emu,
		     &(struct lp_emu_events){
			     .exiting = on_exit_of_guest, .executing = on_exec, .forked = on_forked, .arg = jit});
}

int lp_jit_cache_clear(struct lp_err *err)
{
	int dir = lp_cache_dir_open(false, err);

	if (dir == -ENOENT) {
		*err = (struct lp_err){0};
		return 0;
	}
	if (dir < 0)
		return dir;
	lp_cache_dir_limit(dir, 0);
	close(dir);
	return 0;
}
