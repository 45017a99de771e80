/*
 * The reader of .kpatch files: any bytes give a patch or a sentence; what it
 * promises about a patch (patch/kpatch.c, top) holds; what a builder writes is
 * read back the same; and placed near an image, it is code and data of its room.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/vec.h"
#include "core/relink.h"
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
	if (lp_elf_section_find(k->elf, LP_KPATCH_SUM))
		return; /* writing changes it, and whatever lies in the same bytes */
	if (lp_kpatch_write(&meta, k->bytes + k->elf_offset, k->len - k->elf_offset, &out, NULL) == 0) {
		require(lp_kpatch_from_bytes(&again, out.data, out.len, "again", NULL) == 0);
		require(strcmp(again->id, k->id) == 0);
		require(k->build_id.len > 20 || lp_build_id_equal(&again->build_id, &k->build_id));
		require(again->nr_records == k->nr_records && again->level == k->level);
		lp_kpatch_free(again);
	}
	lp_buf_free(&out);
}

/* ---- placing it near an image that is all made up ---- */

#define BIAS UINT64_C(0x7f0000000000)
#define BASE UINT64_C(0x7f0000800000)

static struct lp_image image;

/* One segment of code at 0x400000, and the build-id that the corpus is for. */
static void make_image(void)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[3];
		uint32_t note[3];
		uint8_t owner[4], id[20];
	} file = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			   .e_type = ET_DYN,
			   .e_machine = EM_X86_64,
			   .e_version = EV_CURRENT,
			   .e_ehsize = sizeof(Elf64_Ehdr),
			   .e_phentsize = sizeof(Elf64_Phdr),
			   .e_phnum = 3},
		.segments = {{.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000, .p_memsz = 0x10000},
			     {.p_type = PT_NOTE, .p_filesz = 36, .p_memsz = 36, .p_align = 4},
			     {.p_type = PT_TLS, .p_vaddr = 0x401000, .p_memsz = 0x100, .p_align = 8}},
		.note = {4, 20, NT_GNU_BUILD_ID},
		.owner = "GNU",
	};
	struct lp_build_id id;
	file.header.e_phoff = (uint64_t)((uint8_t *)file.segments - (uint8_t *)&file);
	file.segments[1].p_offset = (uint64_t)((uint8_t *)file.note - (uint8_t *)&file);
	require(lp_build_id_parse("0123456789abcdef0123456789abcdef01234567", &id));
	memcpy(file.id, id.bytes, sizeof file.id);
	image = (struct lp_image){.name = "prog", .path = "/prog", .bias = BIAS};
	require(lp_elf_from_bytes(&image.elf, &file, sizeof file, "prog", NULL) == 0);
}

static int images(struct lp_target *t, const struct lp_image **out, size_t *nr, struct lp_err *err)
{
	*out = &image;
	*nr = 1;
	return 0;
}

static int tls_offset(struct lp_target *t, size_t at, uint64_t value, int64_t *out, struct lp_err *err)
{
	*out = -(int64_t)value;
	return 0;
}

/* puts is far away. */
static int find_symbol(void *arg, const char *name, lp_addr *addr, uint64_t *size, struct lp_err *err)
{
	*addr = 0x10000;
	*size = 8;
	return strcmp(name, "puts") == 0;
}

static const struct lp_target_ops ops = {.images = images, .tls_offset = tls_offset};

static void check_contents(const struct lp_relink *r)
{
	struct lp_range room = {BASE, BASE + lp_relink_span(r)};
	for (size_t i = 0; i < r->functions.nr; i++) {
		const struct lp_relink_function *f = &r->functions.items[i];
		require(f->new_body.start >= room.start && f->new_body.end <= room.end && f->name);
	}
	for (size_t i = 0; i < r->hooks.nr; i++)
		require(lp_range_has(room, r->hooks.items[i].function));
}

static void check_placing(const struct lp_kpatch *k)
{
	struct lp_target t = {.ops = &ops, .isa = lp_isa_of(EM_X86_64), .label = (char *)"it"};
	struct lp_relink_earlier earlier = {.find = find_symbol};
	struct lp_relink *r;
	struct lp_err err = {0};
	if (!t.isa || lp_relink_open(&r, k, &t, &earlier, &err) < 0)
		return;
	struct lp_room_request room;
	uint8_t *bytes = lp_alloc(lp_relink_span(r)), *source = lp_alloc(k->len);
	lp_relink_room(r, BASE, &room);
	if (lp_relink_link(r, BASE, bytes, &err) == 0) {
		check_contents(r);
		lp_relink_source(r, BASE, source);
		touch(source, k->len);
	}
	touch(bytes, lp_relink_span(r));
	lp_free(bytes);
	lp_free(source);
	lp_relink_close(r);
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
	if (!image.elf)
		make_image();
	check_placing(k);
	lp_kpatch_free(k);
	return 0;
}
