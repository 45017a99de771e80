/*
 * .livepatch.sum: has the file changed since it was written?
 *
 * A flipped bit in code, or in an addend, looks like any other code; only whoever wrote the file could know.  So its
 * writer adds up all of it, header and padding included, the eight bytes of the section taken as zeros:
 *
 *     0  u32  version, 1
 *     4  u32  CRC-32C of the file
 *
 * Both 0: nobody has added it up (a copy in a process, whose addresses were filled in).
 * It finds accidents and says nothing about who wrote the file.
 */
#include "base/bits.h"
#include "patch/kpatch.h"

#define VERSION 1u

static uint32_t add_up(const uint8_t *file, size_t len, size_t at)
{
	static const uint8_t zeros[LP_KPATCH_SUM_SIZE];
	uint32_t crc = lp_crc32c(0, file, at);
	crc = lp_crc32c(crc, zeros, sizeof zeros);
	return lp_crc32c(crc, file + at + sizeof zeros, len - at - sizeof zeros);
}

/* Where in the file; 0 = there is no such section. */
static size_t find(const struct lp_elf *e, uint32_t elf_offset, bool *sound)
{
	size_t len;
	const Elf64_Shdr *s = lp_elf_section_find(e, LP_KPATCH_SUM);
	*sound = s && lp_elf_section_data(e, s, &len) && len == LP_KPATCH_SUM_SIZE;
	return s ? elf_offset + s->sh_offset : 0;
}

int lp_kpatch_sum_check(const struct lp_kpatch *k, struct lp_err *err)
{
	bool sound;
	size_t at = find(k->elf, k->elf_offset, &sound);
	if (!at)
		return 0;
	if (!sound)
		return lp_fail(err, LP_EKPATCH, "%s: " LP_KPATCH_SUM " is not a checksum", k->path);
	uint32_t version = lp_get32(k->bytes + at), sum = lp_get32(k->bytes + at + 4);
	if (!version && !sum)
		return 0;
	if (version != VERSION)
		return lp_fail(err, LP_EVERSION, "%s: " LP_KPATCH_SUM " is of another version", k->path);
	uint32_t is = add_up(k->bytes, k->len, at);
	if (is != sum)
		return lp_fail(err, LP_EKPATCH,
			       "%s is damaged: its checksum is %08x, and was %08x when it was written; make or copy "
			       "it anew",
			       k->path, is, sum);
	return 0;
}

void lp_kpatch_sum_write(uint8_t *file, size_t len, uint32_t elf_offset)
{
	struct lp_elf *e;
	bool sound;
	if (lp_elf_from_bytes(&e, file + elf_offset, len - elf_offset, "patch", NULL) < 0)
		return;
	size_t at = find(e, elf_offset, &sound);
	lp_elf_close(e);
	if (!sound)
		return;
	uint32_t sum = add_up(file, len, at);
	lp_put32(file + at, VERSION);
	lp_put32(file + at + 4, sum);
}

void lp_kpatch_sum_forget(const struct lp_kpatch *k, uint8_t *file)
{
	bool sound;
	size_t at = find(k->elf, k->elf_offset, &sound);
	if (sound)
		memset(file + at, 0, LP_KPATCH_SUM_SIZE);
}
