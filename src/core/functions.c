/*
 * .eh_frame_hdr (LSB Core, 10.6.2): 4 bytes that say how the rest is encoded,
 * a pointer to .eh_frame, the number of entries, and a table of (start of
 * function, its FDE), sorted.  All linkers write the one encoding read here:
 * 32 bits each, relative to the header.  The FDE holds the length, as 32 bits
 * behind its own pointer to the start; since encodings there are up to the
 * compiler, a start that does not agree with the table is not believed.
 */
#include "core/functions.h"

#include "base/bits.h"

#define PCREL_SDATA4 0x1b
#define UDATA4 0x03
#define DATAREL_SDATA4 0x3b

#define HEADER_SIZE 12u
#define ENTRY_SIZE 8u

struct table {
	const struct lp_elf *elf;
	uint64_t vaddr; /* of the header */
	const uint8_t *entries;
	size_t nr;
};

static bool open_table(const struct lp_elf *elf, struct table *out)
{
	const Elf64_Phdr *ph = lp_elf_phdr_find(elf, PT_GNU_EH_FRAME);
	const uint8_t *h = ph ? lp_elf_bytes_at_vaddr(elf, ph->p_vaddr, HEADER_SIZE) : NULL;
	if (!h || h[0] != 1 || h[1] != PCREL_SDATA4 || h[2] != UDATA4 || h[3] != DATAREL_SDATA4)
		return false;
	*out = (struct table){elf, ph->p_vaddr, NULL, lp_get32(h + 8)};
	out->entries = lp_elf_bytes_at_vaddr(elf, ph->p_vaddr + HEADER_SIZE, out->nr * ENTRY_SIZE);
	return out->entries != NULL;
}

static uint64_t relative(uint64_t to, const uint8_t *field)
{
	return to + (uint64_t)(int32_t)lp_get32(field);
}

static uint64_t start_of(const struct table *t, size_t i)
{
	return relative(t->vaddr, t->entries + i * ENTRY_SIZE);
}

/* Length of the function as its FDE has it; 0 when that is not what the table describes. */
static uint64_t length_of(const struct table *t, size_t i)
{
	uint64_t fde = relative(t->vaddr, t->entries + i * ENTRY_SIZE + 4);
	const uint8_t *f = lp_elf_bytes_at_vaddr(t->elf, fde, 16);
	return f && relative(fde + 8, f + 8) == start_of(t, i) ? lp_get32(f + 12) : 0;
}

static bool in_table(const struct lp_elf *elf, uint64_t vaddr, uint64_t *start, uint64_t *len)
{
	struct table t;
	if (!open_table(elf, &t))
		return false;
	size_t lo = 0, hi = t.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (start_of(&t, mid) <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return false;
	*start = start_of(&t, lo - 1);
	*len = length_of(&t, lo - 1);
	return vaddr - *start < *len;
}

bool lp_function_around(struct lp_target *t, lp_addr at, struct lp_range *out)
{
	uint64_t vaddr, start, len;
	struct lp_found f;
	const struct lp_image *img = lp_target_image_at(t, at, &vaddr, NULL);
	if (img && in_table(img->elf, vaddr, &start, &len)) {
		*out = (struct lp_range){img->bias + start, img->bias + start + len};
		return true;
	}
	if (!lp_target_symbol_at(t, at, &f) || !f.sym.size || at - f.addr >= f.sym.size)
		return false;
	*out = (struct lp_range){f.addr, f.addr + f.sym.size};
	return true;
}
