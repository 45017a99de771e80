#include "emu/sites.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "elf/elf.h"

enum { MAPS_LIMIT = 16 << 20 };

/* ---- mappings ---- */

/* One line of /proc/self/maps; *path is what follows the inode, "" when there is nothing. */
static bool parse_mapping(char *line, struct lp_range *range, uint64_t *offset, char **path)
{
	char *end;

	range->start = strtoull(line, &end, 16);
	if (*end != '-')
		return false;
	range->end = strtoull(end + 1, &end, 16);
	end = *end ? strchr(end + 1, ' ') : NULL; /* behind the permissions */
	if (!end)
		return false;
	*offset = strtoull(end, &end, 16);
	*path = end + strcspn(end, "/[\n");
	(*path)[strcspn(*path, "\n")] = 0;
	return true;
}

/* The file that the host has at pc, whatever the guest calls it; *path NULL: none. */
static bool mapping_at(char *maps, uint64_t pc, struct lp_sites_image *image, char **path)
{
	char *next;

	for (char *line = maps; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			next++;
		if (!parse_mapping(line, &image->range, &image->offset, path) || !lp_range_has(image->range, pc))
			continue;
		if (**path != '/')
			*path = NULL;
		return true;
	}
	return false;
}

static struct lp_sites_image *new_image(struct lp_sites *sites, uint64_t pc)
{
	struct lp_sites_image image = {0}, *kept = NULL;
	struct lp_buf maps = {0};
	char *path = NULL;

	if (lp_read_file("/proc/self/maps", &maps, MAPS_LIMIT, NULL) == 0 && lp_buf_cstr(&maps) &&
	    mapping_at((char *)maps.data, pc, &image, &path)) {
		if (path) {
			image.file = lp_strdup_line(strrchr(path, '/') + 1);
			lp_elf_open(&image.elf, path, NULL);
		}
		kept = lp_vec_add(&sites->images);
		*kept = image;
	}
	lp_buf_free(&maps);
	return kept;
}

static struct lp_sites_image *image_of(struct lp_sites *sites, uint64_t pc)
{
	for (size_t i = 0; i < sites->images.nr; i++)
		if (lp_range_has(sites->images.items[i].range, pc))
			return &sites->images.items[i];
	return new_image(sites, pc);
}

static void free_image(struct lp_sites_image *image)
{
	lp_free(image->file);
	lp_elf_close(image->elf);
}

void lp_sites_forget(struct lp_sites *sites, struct lp_range range)
{
	size_t kept = 0;

	for (size_t i = 0; i < sites->images.nr; i++) {
		struct lp_sites_image *image = &sites->images.items[i];
		if (image->range.start < range.end && range.start < image->range.end)
			free_image(image);
		else
			sites->images.items[kept++] = *image;
	}
	sites->images.nr = kept;
}

void lp_sites_free(struct lp_sites *sites)
{
	for (size_t i = 0; i < sites->images.nr; i++)
		free_image(&sites->images.items[i]);
	lp_vec_free(&sites->images);
}

/* ---- functions ---- */

static bool address_of_offset(const struct lp_elf *e, uint64_t offset, uint64_t *addr)
{
	for (size_t i = 0; i < lp_elf_phdr_count(e); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(e, i);
		if (p->p_type != PT_LOAD || offset < p->p_offset || offset - p->p_offset >= p->p_filesz)
			continue;
		*addr = p->p_vaddr + (offset - p->p_offset);
		return true;
	}
	return false;
}

/* Where the image's file has what is at pc. */
static bool address_in_file(const struct lp_sites_image *image, uint64_t pc, uint64_t *addr)
{
	return image && image->elf && address_of_offset(image->elf, image->offset + (pc - image->range.start), addr);
}

bool lp_site_is_in(struct lp_sites *sites, uint64_t pc, const char *name, uint64_t *offset)
{
	const struct lp_sites_image *image = image_of(sites, pc);
	struct lp_elf_sym sym;
	uint64_t addr;

	if (!address_in_file(image, pc, &addr))
		return false;
	for (enum lp_symtab table = LP_SYMTAB; table <= LP_DYNSYM; table++)
		for (size_t cursor = 0; lp_elf_symbol_by_name(image->elf, table, name, &cursor, &sym);)
			if (sym.shndx && addr - sym.value < (sym.size ? sym.size : 1)) {
				*offset = addr - sym.value;
				return true;
			}
	return false;
}

struct lp_site lp_site_find(struct lp_sites *sites, uint64_t pc)
{
	const struct lp_sites_image *image = image_of(sites, pc);
	struct lp_site p = {0};
	struct lp_elf_sym sym;
	uint64_t addr;

	if (!image || !image->file)
		return p;
	p.file = image->file;
	p.offset = image->offset + (pc - image->range.start);
	if (!address_in_file(image, pc, &addr) || !lp_elf_symbol_at(image->elf, addr, &sym))
		return p;
	p.symbol = sym.name;
	p.offset = addr - sym.value;
	p.function = pc - p.offset;
	p.size = sym.size;
	return p;
}

bool lp_site_is_called_from_link(struct lp_sites *sites, uint64_t pc, uint64_t link, uint64_t first_record)
{
	uint64_t here = lp_site_find(sites, pc).function, caller = lp_site_find(sites, link).function;

	return caller && caller != here && link != first_record;
}
