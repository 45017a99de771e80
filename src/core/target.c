#include "core/target.h"

#include <stdio.h>

/* Highest PT_LOAD end, link-time. */
static bool covers(const struct lp_image *img, lp_addr at)
{
	if (!img->elf || at < img->bias)
		return false;
	uint64_t vaddr = at - img->bias;
	for (size_t i = 0; i < lp_elf_phdr_count(img->elf); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(img->elf, i);
		if (ph->p_type == PT_LOAD && vaddr >= ph->p_vaddr && vaddr - ph->p_vaddr < ph->p_memsz)
			return true;
	}
	return false;
}

const struct lp_image *lp_target_image_at(struct lp_target *t, lp_addr at, uint64_t *vaddr, size_t *index)
{
	const struct lp_image *images;
	size_t nr;
	if (t->ops->images(t, &images, &nr, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < nr; i++)
		if (covers(&images[i], at)) {
			*vaddr = at - images[i].bias;
			if (index)
				*index = i;
			return &images[i];
		}
	return NULL;
}

bool lp_target_symbol_at(struct lp_target *t, lp_addr at, struct lp_found *out)
{
	uint64_t vaddr;
	size_t index;
	const struct lp_image *img = lp_target_image_at(t, at, &vaddr, &index);
	if (!img)
		return false;
	struct lp_elf_sym sym, better;
	bool got = lp_elf_symbol_at(img->elf, vaddr, &sym);
	/* The debug file knows the static functions that a stripped program forgot. */
	if (img->debug && lp_elf_symbol_at(img->debug, vaddr, &better) && (!got || better.value >= sym.value)) {
		sym = better;
		got = true;
	}
	if (!got)
		return false;
	*out = (struct lp_found){.image = index, .sym = sym, .addr = img->bias + sym.value};
	return true;
}

char *lp_target_describe(struct lp_target *t, lp_addr at, char *out, size_t out_size)
{
	uint64_t vaddr;
	const struct lp_image *img = lp_target_image_at(t, at, &vaddr, NULL);
	struct lp_found f;
	if (img && lp_target_symbol_at(t, at, &f) && at - f.addr < (f.sym.size ? f.sym.size : 65536)) {
		if (at == f.addr)
			snprintf(out, out_size, "%s (%s)", f.sym.name, img->name);
		else
			snprintf(out, out_size, "%s+%#" PRIx64 " (%s)", f.sym.name, at - f.addr, img->name);
	} else if (img) {
		snprintf(out, out_size, LP_ADDR " (%s+%#" PRIx64 ")", at, img->name, vaddr);
	} else {
		snprintf(out, out_size, LP_ADDR, at);
	}
	return out;
}

void lp_target_close(struct lp_target *t)
{
	if (t)
		t->ops->close(t);
}
