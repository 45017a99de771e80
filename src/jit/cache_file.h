/*
 * A file of the translation cache: records, each found by a number, for one identity.
 *
 *     header, groups, index, records
 *
 * The header says whose file this is and how long it is.  The index has the records by key: that in the lower half, where it
 * begins (in units of 8 bytes) in the upper half.  Keys that are near each other, which are wanted at about the same time,
 * are a group; for each there is where in the index it begins.  A record has a checksum over all of itself.  So a file can
 * be used as soon as its header has been looked at, and whatever was altered in it is seen when it is come to.
 *
 *     struct lp_cache_file file;
 *     if (lp_cache_file_open(&file, fd, &identity) == 0) {
 *             len = lp_cache_file_find(&file, key, room, sizeof room);
 *             lp_cache_file_close(&file);
 *     }
 *
 * Files are never changed: a new one takes the name of the old one.  They are of this host, in its byte order.  Not
 * thread-safe.
 */
#ifndef LP_JIT_CACHE_FILE_H
#define LP_JIT_CACHE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/vec.h"

enum { LP_CACHE_ID_MAX = 32 };
enum { LP_CACHE_RECORD_MAX = 128 << 10, LP_CACHE_FILE_MAX = 64 << 20 };

/* Of what, and for whom, something was translated; unused bytes are zero. */
struct lp_cache_identity {
	uint8_t image[LP_CACHE_ID_MAX];	 /* build-id of the guest's file */
	uint8_t runner[LP_CACHE_ID_MAX]; /* and ours */
	uint64_t flavour;		 /* whatever else makes for other code: the host's features, options */
};

struct lp_cache_file {
	const uint8_t *map;
	size_t size;
	uint64_t nr_records;
	uint32_t nr_groups, group_shift; /* the group of a key is key >> group_shift */
	size_t copied;			 /* from it, since its pages were given back */
	uint32_t found_key;		 /* what was asked for last, where found_at is not 0 */
	uint64_t found_at;
	dev_t dev;
	ino_t ino;
};

/* No cryptography: finds every change of up to 8 bytes that are aligned, and any other but for one in 2^64. */
uint64_t lp_cache_hash(uint64_t seed, const void *data, size_t len);

/* 0, -EBADMSG when it is none, or not one of that identity, or -errno.  fd stays the caller's. */
int lp_cache_file_open(struct lp_cache_file *f, int fd, const struct lp_cache_identity *identity);
/* Of an open one, or one that is all zeros. */
void lp_cache_file_close(struct lp_cache_file *f);
/* 1 when it has a record of that key, 0, or -EBADMSG when the file has been altered. */
int lp_cache_file_has(struct lp_cache_file *f, uint32_t key);
/* Copies what the record holds: returns its length, 0 when there is none, or -EBADMSG when the file has been altered. */
ssize_t lp_cache_file_find(struct lp_cache_file *f, uint32_t key, void *out, size_t room);

/* ---- a new one ---- */

struct lp_cache_place {
	uint32_t key, at; /* in the records, in units of 8 bytes */
};

struct lp_cache_writer {
	struct {
		uint8_t *bytes;
		size_t len, cap;
	} records;
	LP_VEC(struct lp_cache_place) places;
};

/* False: no memory, or the file would become longer than LP_CACHE_FILE_MAX.  The record that was added first counts when
 * there are two of a key. */
bool lp_cache_writer_add(struct lp_cache_writer *w, uint32_t key, const void *data, size_t len);
/* All that is in order in another one, and not here already; false as above. */
bool lp_cache_writer_merge(struct lp_cache_writer *w, const struct lp_cache_file *f);
/* The whole file into fd, which is empty; -errno. */
int lp_cache_writer_finish(struct lp_cache_writer *w, int fd, const struct lp_cache_identity *identity);
void lp_cache_writer_free(struct lp_cache_writer *w);

#endif
