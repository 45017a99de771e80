/*
 * Which function is around an address, by what loaded objects say of
 * themselves: the table of .eh_frame_hdr (sorted, one entry for each function
 * that can be unwound), else the dynamic symbols.
 *
 * The objects with their tables are kept until the loader loads or unloads
 * one.  The loader's lock comes first, ours second: whoever asks may be a
 * constructor, or in a callback of dl_iterate_phdr().  Tables are read through lp_self_read() where they tell sizes of
 * themselves: an object that lies about them must not bring us down.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/vec.h"
#include "self/private.h"

/* Encodings of pointers in unwind tables (LSB core, "DWARF extensions"): format, and what it is relative to. */
enum {
	FORMAT = 0x0f,
	ABSPTR = 0x00,
	UDATA2 = 0x02,
	UDATA4 = 0x03,
	UDATA8 = 0x04,
	SDATA4 = 0x0b,
	SDATA8 = 0x0c,
	DATAREL_SDATA4 = 0x3b,
};

#define HEADER_VERSION 1
#define HEADER_LEN 12 /* version, three encodings, pointer to .eh_frame, number of entries: as every linker writes it */
#define RECORD_MAX 512

struct object {
	struct lp_range code; /* its executable part */
	lp_addr table;	      /* of .eh_frame_hdr: pairs of 32-bit distances from `header` */
	lp_addr header;
	size_t nr;
};

struct objects {
	LP_VEC(struct object) all;
	unsigned long long added, removed; /* what the loader counts */
	bool known;
};

static struct objects objects;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lp_self_functions_hold(void)
{
	pthread_mutex_lock(&lock);
}

void lp_self_functions_release(void)
{
	pthread_mutex_unlock(&lock);
}

/* ---- the objects ---- */

static bool get32(lp_addr at, uint32_t *out)
{
	return lp_self_read(at, out, sizeof *out) == sizeof *out;
}

/* Looks at the header; without a table that can be searched the object has nr 0. */
static void read_header(struct object *o, lp_addr header, size_t size)
{
	uint8_t h[HEADER_LEN];

	if (size < sizeof h || lp_self_read(header, h, sizeof h) != sizeof h || h[0] != HEADER_VERSION ||
	    (h[1] & FORMAT) != SDATA4 || h[2] != UDATA4 || h[3] != DATAREL_SDATA4)
		return;
	o->header = header;
	o->table = header + HEADER_LEN;
	o->nr = lp_get32(h + 8);
	if (o->nr > (size - HEADER_LEN) / 8)
		o->nr = (size - HEADER_LEN) / 8;
}

static int add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct objects *to = arg;
	struct object o = {0};

	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		lp_addr start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_GNU_EH_FRAME)
			read_header(&o, start, ph->p_memsz);
		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		if (!o.code.start || start < o.code.start)
			o.code.start = start;
		if (start + ph->p_memsz > o.code.end)
			o.code.end = start + ph->p_memsz;
	}
	to->added = info->dlpi_adds;
	to->removed = info->dlpi_subs;
	if (o.nr)
		lp_vec_push(&to->all, o);
	return 0;
}

static int is_current(struct dl_phdr_info *info, size_t size, void *arg)
{
	const struct objects *o = arg;

	return o->known && o->added == info->dlpi_adds && o->removed == info->dlpi_subs ? 1 : -1;
}

static void refresh(void)
{
	if (dl_iterate_phdr(is_current, &objects) == 1)
		return;
	objects.all.nr = 0;
	dl_iterate_phdr(add_object, &objects);
	objects.known = true;
}

static const struct object *object_of(lp_addr at)
{
	for (size_t i = 0; i < objects.all.nr; i++) {
		if (lp_range_has(objects.all.items[i].code, at))
			return &objects.all.items[i];
	}
	return NULL;
}

/* ---- unwind tables ---- */

struct entry {
	lp_addr start;
	lp_addr fde;
};

static bool entry_at(const struct object *o, size_t i, struct entry *out)
{
	int32_t pair[2];

	if (lp_self_read(o->table + i * sizeof pair, pair, sizeof pair) != sizeof pair)
		return false;
	out->start = o->header + (lp_addr)(int64_t)pair[0];
	out->fde = o->header + (lp_addr)(int64_t)pair[1];
	return true;
}

/* The last entry that begins at or before `at`. */
static bool find_entry(const struct object *o, lp_addr at, struct entry *out)
{
	size_t low = 0, high = o->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (!entry_at(o, middle, out))
			return false;
		if (out->start <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low && entry_at(o, low - 1, out);
}

static size_t read_record(lp_addr at, uint8_t out[RECORD_MAX])
{
	uint32_t len;

	if (!get32(at, &len) || !len || len == UINT32_MAX)
		return 0;
	return lp_self_read(at + 4, out, len < RECORD_MAX ? len : RECORD_MAX);
}

static size_t skip_leb128(const uint8_t *p, size_t at, size_t len)
{
	while (at < len && p[at] & 0x80)
		at++;
	return at + 1;
}

/* How the CIE at `at` says that its FDEs write pointers; -1 when it is not understood. */
static int pointer_encoding(lp_addr at)
{
	uint8_t cie[RECORD_MAX];
	size_t len = read_record(at, cie), i = 5, text = i;
	bool is_cie = len > 5 && !lp_get32(cie);

	while (i < len && cie[i])
		i++;
	if (!is_cie || i >= len)
		return -1;
	if (cie[text] != 'z')
		return i == text ? ABSPTR : -1;
	i++;
	i = skip_leb128(cie, i, len);			    /* code alignment */
	i = skip_leb128(cie, i, len);			    /* data alignment */
	i = cie[4] == 1 ? i + 1 : skip_leb128(cie, i, len); /* return address column */
	i = skip_leb128(cie, i, len);			    /* length of what follows */
	for (text++; cie[text] && i < len; text++) {
		if (cie[text] == 'R')
			return cie[i];
		if (cie[text] == 'L')
			i++;
		else if (cie[text] == 'P')
			i += 1 +
			     ((cie[i] & FORMAT) == ABSPTR || (cie[i] & FORMAT) == UDATA8 || (cie[i] & FORMAT) == SDATA8
				      ? 8
				      : 4);
	}
	return ABSPTR;
}

/* The length that stands behind the start in an FDE: same format, relative to nothing. */
static bool get_length(const uint8_t *fde, size_t len, int encoding, uint64_t *out)
{
	switch (encoding & FORMAT) {
	case UDATA4:
	case SDATA4:
		*out = len >= 12 ? lp_get32(fde + 8) : 0;
		return len >= 12;
	case ABSPTR:
	case UDATA8:
	case SDATA8:
		*out = len >= 20 ? lp_get64(fde + 12) : 0;
		return len >= 20;
	default:
		return false;
	}
}

struct question {
	lp_addr at;
	struct lp_range *out;
	bool answered;
	uint64_t loads;
};

static bool by_unwind(lp_addr at, struct lp_range *out)
{
	const struct object *o;
	struct entry e;
	uint8_t fde[RECORD_MAX];
	uint64_t length;
	size_t len;

	refresh();
	o = object_of(at);
	if (!o || !find_entry(o, at, &e))
		return false;
	len = read_record(e.fde, fde);
	if (len < 8 || !get_length(fde, len, pointer_encoding(e.fde + 4 - lp_get32(fde)), &length))
		return false;
	*out = (struct lp_range){e.start, e.start + length};
	return lp_range_has(*out, at) && lp_range_has(o->code, out->end - 1);
}

static int with_loader_locked(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct question *q = arg;

	pthread_mutex_lock(&lock);
	q->answered = by_unwind(q->at, q->out);
	pthread_mutex_unlock(&lock);
	return 1;
}

static int find_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct question *q = arg;
	const struct object *o;

	pthread_mutex_lock(&lock);
	refresh();
	o = object_of(q->at);
	q->answered = o != NULL;
	if (o)
		*q->out = o->code;
	q->loads = objects.added + objects.removed;
	pthread_mutex_unlock(&lock);
	return 1;
}

bool lp_self_object(lp_addr at, struct lp_range *code, uint64_t *loads)
{
	struct question q = {.at = at, .out = code};

	dl_iterate_phdr(find_object, &q);
	*loads = q.loads;
	return q.answered;
}

/* ---- symbols ---- */

static bool by_symbol(lp_addr at, struct lp_range *out)
{
	const ElfW(Sym) *sym = NULL;
	Dl_info info;

	if (!dladdr1((void *)(uintptr_t)at, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym || !info.dli_saddr ||
	    !sym->st_size || (ELF64_ST_TYPE(sym->st_info) != STT_FUNC && ELF64_ST_TYPE(sym->st_info) != STT_GNU_IFUNC))
		return false;
	out->start = (lp_addr)(uintptr_t)info.dli_saddr;
	out->end = out->start + sym->st_size;
	return lp_range_has(*out, at);
}

bool lp_self_function(lp_addr at, struct lp_range *out)
{
	struct question q = {.at = at, .out = out};

	dl_iterate_phdr(with_loader_locked, &q);
	return q.answered || by_symbol(at, out);
}
