/*
 * Build-ids: the NT_GNU_BUILD_ID note that says which build a file, a segment
 * in memory or a debug file is.
 */
#include "elf/elf.h"

#include <string.h>

#include "elf/elf_private.h"

/* Where the next piece of a note starts; false when [at, at + size) is not all there. */
static bool take(size_t len, size_t *at, uint32_t size, size_t align, size_t *piece)
{
	if (*at > len || size > len - *at)
		return false;
	*piece = *at;
	*at = lp_align_up(*at + size, align);
	return true;
}

static bool find_build_id(const uint8_t *notes, size_t len, size_t align, struct lp_build_id *out)
{
	size_t at = 0, header, name, desc;
	while (take(len, &at, sizeof(Elf64_Nhdr), 4, &header)) {
		Elf64_Nhdr n;
		memcpy(&n, notes + header, sizeof n);
		/* The name follows the header at once; only the descriptor and the next note are aligned. */
		if (!take(len, &at, n.n_namesz, align, &name) || !take(len, &at, n.n_descsz, align, &desc))
			return false;
		if (n.n_type != NT_GNU_BUILD_ID || n.n_namesz != sizeof ELF_NOTE_GNU ||
		    memcmp(notes + name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU))
			continue;
		if (!n.n_descsz || n.n_descsz > LP_BUILD_ID_MAX)
			return false;
		memcpy(out->bytes, notes + desc, n.n_descsz);
		out->len = n.n_descsz;
		return true;
	}
	return false;
}

/*
 * The gABI aligns notes of a 64-bit file to 8, everybody else to 4; the
 * property notes do use 8.  Their descriptors are multiples of 8, so reading
 * with 4 passes them unharmed and 8 is the second try.
 */
void lp_elf_build_id_from_notes(const uint8_t *notes, size_t len, struct lp_build_id *out)
{
	*out = (struct lp_build_id){0};
	if (!find_build_id(notes, len, 4, out))
		find_build_id(notes, len, 8, out);
}

static void from_segments(const struct lp_elf *e, struct lp_build_id *out)
{
	for (size_t i = 0; i < e->phdrs.nr && !out->len; i++) {
		const Elf64_Phdr *p = &e->phdrs.items[i];
		const uint8_t *notes = p->p_type == PT_NOTE ? lp_elf_bytes_at(e, p->p_offset, p->p_filesz) : NULL;
		if (notes)
			lp_elf_build_id_from_notes(notes, p->p_filesz, out);
	}
}

static void from_sections(const struct lp_elf *e, struct lp_build_id *out)
{
	for (size_t i = 0; i < e->sections.nr && !out->len; i++) {
		const Elf64_Shdr *s = &e->sections.items[i];
		size_t len;
		const uint8_t *notes = s->sh_type == SHT_NOTE ? lp_elf_section_data(e, s, &len) : NULL;
		if (notes)
			lp_elf_build_id_from_notes(notes, len, out);
	}
}

/* Segments first: they are what a process has.  A debug file keeps the note's section but may carry the segments of
 * the program it was taken from, with offsets that mean nothing here. */
void lp_elf_build_id(const struct lp_elf *e, struct lp_build_id *out)
{
	*out = (struct lp_build_id){0};
	if (!e->debug_only)
		from_segments(e, out);
	if (!out->len)
		from_sections(e, out);
}

bool lp_build_id_equal(const struct lp_build_id *a, const struct lp_build_id *b)
{
	return a->len && a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

void lp_build_id_hex(const struct lp_build_id *id, char out[2 * LP_BUILD_ID_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;
	for (size_t i = 0; i < id->len; i++) {
		out[at++] = digits[id->bytes[i] >> 4];
		out[at++] = digits[id->bytes[i] & 15];
	}
	out[at] = 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool lp_build_id_parse(const char *hex, struct lp_build_id *out)
{
	*out = (struct lp_build_id){0};
	size_t len = strlen(hex);
	if (!len || len % 2 || len / 2 > LP_BUILD_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		int high = digit_value(hex[i]), low = digit_value(hex[i + 1]);
		if (high < 0 || low < 0)
			return false;
		out->bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	out->len = len / 2;
	return true;
}
