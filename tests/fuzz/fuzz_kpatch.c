/*
 * The reader of .kpatch files: any bytes give a patch or a sentence; what it
 * promises about a patch (patch/kpatch.c, top) holds; and what a builder writes
 * is read back the same.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/vec.h"
#include "patch/kpatch.h"
#include "patch/patch.h"

static void require(bool truth)
{
	if (!truth)
		abort();
}

static uint64_t sum; /* of all bytes that the promises say are there: a sanitizer looks at each read */

static void touch(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
}

static void check_sections(const struct lp_kpatch *k)
{
	for (size_t i = 0; i < lp_elf_section_count(k->elf); i++) {
		const Elf64_Shdr *s = lp_elf_section(k->elf, i);
		size_t len;
		if (!lp_kpatch_is_own_section(k, i))
			continue;
		const uint8_t *bytes = lp_elf_section_data(k->elf, s, &len);
		require(len == s->sh_size || !s->sh_size);
		require((s->sh_flags & (SHF_WRITE | SHF_EXECINSTR)) != (SHF_WRITE | SHF_EXECINSTR));
		touch(bytes, len);
	}
}

static void check_relocations(const struct lp_kpatch *k)
{
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela r;
	struct lp_elf_sym s;
	while (lp_kpatch_rela_next(k, &it, &r)) {
		const Elf64_Shdr *section = lp_elf_section(k->elf, r.section);
		require(section && r.offset < section->sh_size);
		if (!r.sym)
			continue;
		require(lp_elf_symbol(k->elf, LP_SYMTAB, r.sym, &s));
		require(s.shndx == SHN_UNDEF || s.shndx == SHN_ABS || lp_kpatch_is_own_section(k, s.shndx) ||
			lp_kpatch_is_original_section(k, s.shndx));
		sum += strlen(s.name);
	}
}

static void check_tables(const struct lp_kpatch *k)
{
	size_t len;
	const uint8_t *info = lp_elf_section_data(k->elf, lp_elf_section(k->elf, k->info), &len);
	require(k->nr_records * LP_KPATCH_RECORD_SIZE <= len);
	touch(info, len);
	for (size_t i = 0; i < k->olds.nr; i++) {
		const struct lp_kpatch_old *o = &k->olds.items[i];
		touch(o->bytes, o->len);
		for (uint32_t n = 0; n < o->nr_ignore; n++) {
			uint32_t pair[2];
			memcpy(pair, o->ignore + 8 * n, sizeof pair);
			require(pair[0] <= o->len && pair[1] <= o->len - pair[0]);
		}
	}
}

static void check_round_trip(const struct lp_kpatch *k)
{
	struct lp_kpatch_meta meta = {.id = k->id,
				      .object = k->object,
				      .build_id = k->build_id,
				      .build_time = k->build_time,
				      .level = k->level};
	struct lp_buf out = {0};
	struct lp_kpatch *again;
	if (lp_kpatch_write(&meta, k->bytes + k->elf_offset, k->len - k->elf_offset, &out, NULL) == 0) {
		require(lp_kpatch_from_bytes(&again, out.data, out.len, "again", NULL) == 0);
		require(strcmp(again->id, k->id) == 0);
		require(k->build_id.len > 20 || lp_build_id_equal(&again->build_id, &k->build_id));
		require(again->nr_records == k->nr_records && again->level == k->level);
		lp_kpatch_free(again);
	}
	lp_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_kpatch *k;
	struct lp_err err = {0};
	int rc = lp_kpatch_from_bytes(&k, data, size, "f", &err);
	if (rc < 0) {
		require(err.code == rc && err.text[0] && !k);
		return 0;
	}
	check_sections(k);
	check_relocations(k);
	check_tables(k);
	check_round_trip(k);
	lp_kpatch_free(k);
	return 0;
}
