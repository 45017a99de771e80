/*
 * The ledger: what was done to a target, kept in the target.
 *
 * Private to core/.  Calling sequence (the target is locked throughout):
 *
 *     struct lp_ledger l;
 *     rc = lp_ledger_open(&l, target, err);         // l.present says whether there is one
 *     rc = lp_ledger_create(&l, err);               // when there was none
 *     rc = lp_ledger_begin(&l, err);                // marks it busy; whoever finds it so must rebuild
 *     rc = lp_ledger_add(&l, &entry, &off, err);    // a new entry, state PREPARED
 *     rc = lp_ledger_set_state(&l, off, LP_APPLIED, err);
 *     rc = lp_ledger_index_add(&l, &entry, err);    // found by its bytes, its memory and its number from here on
 *     rc = lp_ledger_end(&l, err);
 *
 * Nothing has to be closed: what was read is in *l.
 */
#ifndef LP_CORE_LEDGER_H
#define LP_CORE_LEDGER_H

#include "core/core.h"

#define LP_LEDGER_EXTENTS 16
#define LP_LEDGER_CLASSES 40

/* Format: see the essay at the top of ledger.c. */
struct lp_ledger_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size;
	uint64_t generation;
	uint64_t busy;
	uint64_t next_id;
	uint64_t end;
	uint64_t index_off;
	uint64_t index_slots;
	uint64_t index_used;
	uint64_t nr_extents;
	struct {
		uint64_t addr, size;
	} extents[LP_LEDGER_EXTENTS];
	uint64_t free_heads[LP_LEDGER_CLASSES];
	uint64_t nr_entries; /* in any state but free */
	uint32_t crc;
	uint32_t pad;
};

struct lp_ledger {
	struct lp_target *t;
	bool present;
	struct lp_ledger_header h;
};

/* An entry as the core handles it: the record's fixed part, decoded. */
struct lp_entry_write {
	lp_addr at;
	uint32_t len;
	uint32_t kind; /* enum lp_write_kind */
	uint64_t over;
	struct lp_range body, cold, replacement;
	const char *symbol;
	const uint8_t *old_bytes, *new_bytes;
	uint64_t old_off; /* logical offset of the old bytes in the ledger */
};

struct lp_entry_room {
	struct lp_range range;
	uint32_t kind; /* enum lp_room_kind */
	lp_addr handle;
	uint64_t used;
	const char *name, *path;
};

struct lp_ledger_entry {
	uint64_t off; /* logical offset of its record */
	uint64_t size;
	uint64_t id;
	uint64_t state;
	uint64_t nr_dependents;
	int64_t time;
	uint32_t tool_pid;
	const char *name;
	struct lp_entry_write *writes;
	size_t nr_writes;
	struct lp_entry_room *rooms;
	size_t nr_rooms;
	uint64_t *deps;
	size_t nr_deps;
	uint8_t *blob; /* the record itself; owned, what the pointers above point into */
};

int lp_ledger_open(struct lp_ledger *l, struct lp_target *t, struct lp_err *err);
int lp_ledger_create(struct lp_ledger *l, struct lp_err *err);
int lp_ledger_begin(struct lp_ledger *l, struct lp_err *err);
int lp_ledger_end(struct lp_ledger *l, struct lp_err *err);

/* `e` describes the entry (off, size, blob ignored); *off receives its place. */
int lp_ledger_add(struct lp_ledger *l, const struct lp_ledger_entry *e, uint64_t *off, struct lp_err *err);
/* Address in the target of a logical offset; the bytes up to the end of its record are contiguous. 0 = out of bounds. */
lp_addr lp_ledger_addr(const struct lp_ledger *l, uint64_t off);
/* Where the state word of a record lies, for the store inside the pause. */
lp_addr lp_ledger_state_addr(const struct lp_ledger *l, uint64_t off);
int lp_ledger_set_state(struct lp_ledger *l, uint64_t off, enum lp_entry_state state, struct lp_err *err);
/* The record becomes free space. */
int lp_ledger_remove(struct lp_ledger *l, uint64_t off, struct lp_err *err);
int lp_ledger_add_dependents(struct lp_ledger *l, const struct lp_ledger_entry *e, int by, struct lp_err *err);

int lp_ledger_read(struct lp_ledger *l, uint64_t off, struct lp_ledger_entry *out, struct lp_err *err);
int lp_ledger_read_id(struct lp_ledger *l, uint64_t id, struct lp_ledger_entry *out, struct lp_err *err);
void lp_ledger_entry_free(struct lp_ledger_entry *e);

/* Walk every entry in the order of its place: *off starts at 0; 1 = *out filled, 0 = end. */
int lp_ledger_next(struct lp_ledger *l, uint64_t *off, struct lp_ledger_entry *out, struct lp_err *err);

/* The index: which entries touch an address.  O(1) each. */
int lp_ledger_index_add(struct lp_ledger *l, const struct lp_ledger_entry *e, struct lp_err *err);
int lp_ledger_index_remove(struct lp_ledger *l, const struct lp_ledger_entry *e, struct lp_err *err);
/* Offsets of the entries that changed bytes in [range), ascending by offset, appended to `out`. */
typedef LP_VEC(uint64_t) lp_off_vec;
int lp_ledger_writers(struct lp_ledger *l, struct lp_range range, lp_off_vec *out, struct lp_err *err);
/* The entry that owns a room holding `at`; *off = 0 when none. */
int lp_ledger_owner(struct lp_ledger *l, lp_addr at, uint64_t *off, struct lp_err *err);
/* Everything that is derived (index, free lists, dependents) anew from the records. */
int lp_ledger_rebuild(struct lp_ledger *l, struct lp_err *err);

/* Pure decoder of one record (hostile input: fuzzed).  Takes ownership of blob on success. */
int lp_ledger_decode(uint8_t *blob, size_t len, uint64_t off, struct lp_ledger_entry *out, struct lp_err *err);
bool lp_ledger_header_valid(const struct lp_ledger_header *h, lp_addr at);

#endif
