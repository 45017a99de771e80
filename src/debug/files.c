/*
 * What is loaded, and the debug information of it.
 */
#include <string.h>

#include "debug/private.h"

static bool add_file(struct lp_debug *d, const struct lp_debug_file *from)
{
	struct lp_elf *elf;
	struct lp_build_id id;

	if (lp_elf_open(&elf, from->path, NULL) < 0)
		return false;
	lp_elf_build_id(elf, &id);
	if (from->build_id.len && !lp_build_id_equal(&id, &from->build_id)) {
		lp_elf_close(elf);
		return false;
	}
	lp_vec_push(&d->files, ((struct lp_file){.name = lp_strdup(from->name),
						 .path = lp_strdup(from->path),
						 .bias = from->bias,
						 .build_id = id,
						 .elf = elf}));
	return true;
}

int lp_debug_open(struct lp_debug **out, const struct lp_debug_file *files, size_t nr, struct lp_err *err)
{
	struct lp_debug *d = lp_alloc(sizeof *d);
	bool any = false;

	for (size_t i = 0; i < nr; i++)
		any |= add_file(d, &files[i]);
	if (!any) {
		lp_debug_close(d);
		return lp_fail(err, LP_EFILE, "none of the files that the process has loaded can be read");
	}
	*out = d;
	return 0;
}

static void file_free(struct lp_file *f)
{
	lp_elf_close(f->elf);
	if (f->dwfl)
		dwfl_end(f->dwfl);
	lp_free(f->name);
	lp_free(f->path);
}

void lp_debug_close(struct lp_debug *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->shapes.nr; i++)
		lp_shape_free(d->shapes.items[i]);
	for (size_t i = 0; i < d->files.nr; i++)
		file_free(&d->files.items[i]);
	lp_vec_free(&d->shapes);
	lp_vec_free(&d->files);
	lp_free(d);
}

/* One session a file, at the addresses that stand in it: libdw finds separate, alternate and split files. */
static void look_for_dwarf(struct lp_file *f)
{
	static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
						 .find_debuginfo = dwfl_standard_find_debuginfo};

	f->dwfl = dwfl_begin(&callbacks);
	if (!f->dwfl)
		return;
	dwfl_report_begin(f->dwfl);
	Dwfl_Module *m = dwfl_report_elf(f->dwfl, f->name, f->path, -1, 0, true);
	dwfl_report_end(f->dwfl, NULL, NULL);
	f->dwarf = m ? dwfl_module_getdwarf(m, &f->dwarf_at) : NULL;
}

Dwarf *lp_file_dwarf(struct lp_file *f)
{
	if (!f->looked_for)
		look_for_dwarf(f);
	f->looked_for = true;
	return f->dwarf;
}

bool lp_file_exports(const struct lp_file *f, const char *name, uint64_t *vaddr)
{
	struct lp_elf_sym sym;

	for (size_t cursor = 0; lp_elf_symbol_by_name(f->elf, LP_DYNSYM, name, &cursor, &sym);) {
		if (sym.shndx != SHN_UNDEF && sym.bind != STB_LOCAL && sym.type != STT_TLS) {
			*vaddr = sym.value;
			return true;
		}
	}
	return false;
}

void lp_debug_bind(const struct lp_debug *d, const char *linkage_name, size_t *file, uint64_t *vaddr)
{
	uint64_t at;

	if (!lp_file_exports(&d->files.items[*file], linkage_name, &at) || at != *vaddr)
		return;
	for (size_t i = 0; i < *file; i++) {
		if (lp_file_exports(&d->files.items[i], linkage_name, vaddr)) {
			*file = i;
			return;
		}
	}
}
