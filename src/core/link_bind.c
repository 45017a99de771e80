/*
 * What the symbols that an object names are bound to.
 *
 * For a name, in this order:
 *
 *  1. The object's own definition, as if linked with -Bsymbolic.  ld.so would
 *     let a definition in the target win.  But a patch is often the new version
 *     of a source file of the target, with the same names in it; its functions
 *     call each other and use its own statics, and were they bound to the
 *     target's they would run old code against new data.  (Names declared
 *     unique in the whole process, STB_GNU_UNIQUE, go the other way.)
 *  2. What ld.so would bind it to: exported symbols of the target's images, in
 *     the target's order, with the version that the object asks for.
 *  3. Any symbol of the target by that name: an `extern` in a patch may refer
 *     to a function that the target does not export.  The program's own come
 *     before the libraries', global ones before local ones, and two that fit
 *     equally well are refused.
 *
 * Then a weak reference is 0 and another one is an error.
 *
 * An IFUNC of the target is bound to the value that a GOT of the target holds
 * for it already: ld.so has called the resolver at start-up.  Such a slot is
 * trusted only when it holds code of the image that defines the IFUNC, for a
 * slot may also hold the resolver, an unresolved lazy PLT entry, or somebody's
 * hook.  Without one the IFUNC gets a stub (link.c).
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/link_private.h"

/* The images that symbols are looked for in, fetched once. */
struct scope {
	struct lp_target *t;
	const struct lp_image *images;
	size_t nr;
};

static bool is_vdso(const struct lp_image *image)
{
	const char *soname = image->elf ? lp_elf_soname(image->elf) : NULL;
	return soname && strncmp(soname, "linux-vdso", 10) == 0;
}

/* Without the vDSO, as for ld.so: its clock_gettime has libc's name, but returns -errno. */
static int open_scope(struct scope *s, struct lp_target *t, struct lp_err *err)
{
	s->t = t;
	int rc = t->ops->images(t, &s->images, &s->nr, err);
	while (rc == 0 && s->nr && is_vdso(&s->images[s->nr - 1]))
		s->nr--;
	return rc;
}

/* A reference: the object's dynamic symbol, and the first relocation that uses it. */
struct reference {
	struct lp_object *o;
	struct lp_elf_sym sym;
	const struct lp_elf_rela *rela;
};

/* ---- slots of GOTs ---- */

/* Is relocation r of e a GOT slot for one of the dynamic symbols called `name`? */
static bool is_slot_of(const struct lp_isa *isa, const struct lp_elf *e, const struct lp_elf_rela *r, const char *name,
		       const char *version)
{
	const struct lp_reloc_howto *h = isa->howto(r->type);
	struct lp_elf_sym s;
	if (!h || h->formula != LP_RELOC_SYM || !r->sym || !lp_elf_symbol(e, LP_DYNSYM, r->sym, &s))
		return false;
	return strcmp(s.name, name) == 0 && (!version || (s.version && strcmp(s.version, version) == 0));
}

int lp_link_got_slots(struct lp_target *t, size_t image, const char *name, const char *version, lp_addr_vec *slots,
		      struct lp_err *err)
{
	struct scope s;
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	int rc = open_scope(&s, t, err);
	if (rc < 0)
		return rc;
	if (image >= s.nr || !s.images[image].elf)
		return lp_fail(err, LP_ENOSYM, "the image has no file to read relocations from");
	while ((rc = lp_elf_rela_next(s.images[image].elf, &it, &r, err)) > 0)
		if (is_slot_of(t->isa, s.images[image].elf, &r, name, version))
			lp_vec_push(slots, s.images[image].bias + r.offset);
	return rc;
}

/* ---- IFUNCs of the target ---- */

static bool in_code_of(const struct lp_image *image, lp_addr at)
{
	uint64_t vaddr = at - image->bias;
	for (size_t i = 0; i < lp_elf_phdr_count(image->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(image->elf, i);
		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && vaddr >= p->p_vaddr &&
		    vaddr - p->p_vaddr < p->p_memsz)
			return true;
	}
	return false;
}

/* Sections .plt, .plt.sec, .plt.got, .iplt. */
static bool in_plt_of(const struct lp_image *image, lp_addr at)
{
	uint64_t vaddr = at - image->bias;
	for (size_t i = 0; i < lp_elf_section_count(image->elf); i++) {
		const Elf64_Shdr *s = lp_elf_section(image->elf, i);
		const char *name = s ? lp_elf_section_name(image->elf, s) : "";
		bool is_plt = strncmp(name, ".plt", 4) == 0 || strcmp(name, ".iplt") == 0;
		if (is_plt && vaddr >= s->sh_addr && vaddr - s->sh_addr < s->sh_size)
			return true;
	}
	return false;
}

/* What ld.so leaves in a slot that it will resolve later: the word of the file, moved by the bias.  In an image dumped
 * from memory the word is the slot's value, and every slot counts as lazy. */
static bool is_still_lazy(const struct lp_image *owner, const struct lp_elf_rela *r, lp_addr value)
{
	const uint8_t *word = lp_elf_bytes_at_vaddr(owner->elf, r->offset, sizeof(uint64_t));
	return word && (value == lp_get64(word) || value == owner->bias + lp_get64(word));
}

/* Can `value`, found in a slot of images[owner], be the IFUNC's resolution? */
static bool is_resolution(struct scope *s, const struct lp_found *ifunc, size_t owner, const struct lp_elf_rela *r,
			  lp_addr value)
{
	const struct lp_image *definer = &s->images[ifunc->image];
	struct lp_area area;
	if (value == ifunc->addr || !in_code_of(definer, value) || in_plt_of(definer, value))
		return false;
	if (is_still_lazy(&s->images[owner], r, value))
		return false;
	return s->t->ops->area(s->t, value, &area, NULL) == 0 && (area.prot & LP_PROT_EXEC);
}

/* Would ld.so have bound this reference of images[owner] to the IFUNC? */
static bool binds_to(struct scope *s, const struct lp_found *ifunc, size_t owner, const struct lp_elf_rela *r)
{
	struct lp_elf_sym sym;
	struct lp_found f;
	return lp_elf_symbol(s->images[owner].elf, LP_DYNSYM, r->sym, &sym) &&
	       lp_scope_bind(s->images, s->nr, sym.name, sym.version, &f) && f.addr == ifunc->addr;
}

static bool is_slot_of_ifunc(struct scope *s, const struct lp_found *ifunc, const char *name, size_t owner,
			     const struct lp_elf_rela *r)
{
	const struct lp_reloc_howto *h = s->t->isa->howto(r->type);
	if (h && h->formula == LP_RELOC_IFUNC)
		return owner == ifunc->image && s->images[owner].bias + (uint64_t)r->addend == ifunc->addr;
	return is_slot_of(s->t->isa, s->images[owner].elf, r, name, NULL) && binds_to(s, ifunc, owner, r);
}

/* Does this relocation's slot hold the IFUNC's resolution? */
static bool value_in_slot(struct scope *s, const struct lp_found *ifunc, const char *name, size_t owner,
			  const struct lp_elf_rela *r, lp_addr *out)
{
	uint64_t value;
	if (!is_slot_of_ifunc(s, ifunc, name, owner, r))
		return false;
	if (s->t->ops->read(s->t, s->images[owner].bias + r->offset, &value, sizeof value, NULL) < 0)
		return false;
	*out = value;
	return is_resolution(s, ifunc, owner, r, value);
}

/* A static program has no dynamic section; its startup code finds the table between two symbols, we by its section. */
static bool value_in_static(struct scope *s, const struct lp_found *ifunc, const char *name, size_t owner, lp_addr *out)
{
	const struct lp_elf *e = s->images[owner].elf;
	for (size_t i = 0; i < lp_elf_section_count(e); i++) {
		size_t len = 0;
		const Elf64_Shdr *sh = lp_elf_section(e, i);
		bool is_table = sh && sh->sh_type == SHT_RELA && (sh->sh_flags & SHF_ALLOC);
		const uint8_t *bytes = is_table ? lp_elf_section_data(e, sh, &len) : NULL;
		for (size_t at = 0; bytes && at + sizeof(Elf64_Rela) <= len; at += sizeof(Elf64_Rela)) {
			Elf64_Rela raw;
			memcpy(&raw, bytes + at, sizeof raw);
			struct lp_elf_rela r = {raw.r_offset, ELF64_R_TYPE(raw.r_info), 0, raw.r_addend};
			if (value_in_slot(s, ifunc, name, owner, &r, out))
				return true;
		}
	}
	return false;
}

static bool value_in_image(struct scope *s, const struct lp_found *ifunc, const char *name, size_t owner, lp_addr *out)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	const struct lp_elf *e = s->images[owner].elf;
	if (!lp_elf_phdr_find(e, PT_DYNAMIC))
		return value_in_static(s, ifunc, name, owner, out);
	while (lp_elf_rela_next(e, &it, &r, NULL) > 0)
		if (value_in_slot(s, ifunc, name, owner, &r, out))
			return true;
	return false;
}

int lp_link_ifunc_value(struct lp_target *t, const struct lp_found *ifunc, const char *name, lp_addr *out,
			struct lp_err *err)
{
	struct scope s;
	int rc = open_scope(&s, t, err);
	/* The definer first: its own slots (IRELATIVE) are never lazy. */
	if (rc == 0 && s.images[ifunc->image].elf) {
		if (value_in_image(&s, ifunc, name, ifunc->image, out))
			return 0;
		for (size_t i = 0; i < s.nr; i++)
			if (i != ifunc->image && s.images[i].elf && value_in_image(&s, ifunc, name, i, out))
				return 0;
	}
	*out = 0;
	return rc;
}

/* The number of the stub for a resolver of the target; the same one each time. */
static uint64_t foreign_stub(struct lp_object *o, lp_addr resolver)
{
	for (size_t i = o->nr_own_resolvers; i < o->resolvers.nr; i++)
		if (o->resolvers.items[i] == resolver)
			return i;
	lp_vec_push(&o->resolvers, resolver);
	return o->resolvers.nr - 1;
}

/* ---- what a found symbol means ---- */

static int bind_tls(struct reference *ref, struct scope *s, const struct lp_found *f, struct lp_bound *b,
		    struct lp_err *err)
{
	struct lp_err why = {0};
	b->kind = LP_BOUND_TLS;
	b->value = f->sym.value;
	if (f->image != 0 || s->t->ops->tls_offset(s->t, f->image, f->sym.value, &b->tp_offset, &why) < 0)
		return lp_fail(err, LP_ENEEDSDLOPEN,
			       "%s uses the thread-local variable %s of %s: only those of the program itself have "
			       "an address that we can know; `dl --dlopen` has the target's own loader do it",
			       ref->o->path, ref->sym.name, s->images[f->image].name);
	return 0;
}

static int bind_ifunc(struct reference *ref, struct scope *s, const struct lp_found *f, struct lp_bound *b,
		      struct lp_err *err)
{
	int rc = lp_link_ifunc_value(s->t, f, ref->sym.name, &b->value, err);
	b->kind = LP_BOUND_TARGET;
	if (rc < 0 || b->value)
		return rc;
	b->kind = LP_BOUND_STUB;
	b->value = foreign_stub(ref->o, f->addr);
	if (b->value - ref->o->nr_own_resolvers >= LP_OBJECT_IFUNCS_MAX)
		return lp_fail(err, LP_EELF, "%s uses more than %u IFUNCs", ref->o->path, LP_OBJECT_IFUNCS_MAX);
	return 0;
}

static int bind_to(struct reference *ref, struct scope *s, const struct lp_found *f, struct lp_bound *b,
		   struct lp_err *err)
{
	b->size = f->sym.size;
	if (f->sym.type == STT_TLS)
		return bind_tls(ref, s, f, b, err);
	if (f->sym.type == STT_GNU_IFUNC)
		return bind_ifunc(ref, s, f, b, err);
	b->kind = LP_BOUND_TARGET;
	b->value = f->addr;
	return 0;
}

/*
 * A program that is not position-independent may take a library function's
 * address to be its own PLT entry for it, and says so by an undefined symbol
 * with a value; ld.so makes all others agree (psABI, "Function Addresses").
 * Calls need not.
 */
static lp_addr canonical_pointer(struct scope *s, const char *wanted)
{
	size_t cursor = 0;
	struct lp_elf_sym sym;
	if (!s->nr || !s->images[0].elf)
		return 0;
	while (lp_elf_symbol_by_name(s->images[0].elf, LP_DYNSYM, wanted, &cursor, &sym))
		if (sym.shndx == SHN_UNDEF && sym.value && sym.type == STT_FUNC)
			return s->images[0].bias + sym.value;
	return 0;
}

/* ---- 3. symbols that the target does not export ---- */

static bool is_program_global(const struct lp_found *f)
{
	return f->image == 0 && f->sym.bind != STB_LOCAL;
}

static bool is_global(const struct lp_found *f)
{
	return f->sym.bind != STB_LOCAL;
}

static bool is_program_local(const struct lp_found *f)
{
	return f->image == 0;
}

static bool is_any(const struct lp_found *f)
{
	return true;
}

/* The first two also serve weak references, for which a local symbol somewhere is no reason to exist. */
static bool (*const preferences[])(const struct lp_found *f) = {is_program_global, is_global, is_program_local, is_any};
#define NR_GLOBAL_PREFERENCES 2

static bool has_versions(const struct lp_image *image)
{
	uint64_t unused;
	return image->elf && lp_elf_dynamic(image->elf, DT_VERDEF, &unused);
}

/* An image that versions its symbols was already asked for that version; its other versions are other functions. */
static void drop_versioned(struct scope *s, lp_found_vec *found)
{
	size_t kept = 0;
	for (size_t i = 0; i < found->nr; i++)
		if (!has_versions(&s->images[found->items[i].image]))
			found->items[kept++] = found->items[i];
	found->nr = kept;
}

static int refuse_ambiguous(struct reference *ref, struct scope *s, const lp_found_vec *found,
			    bool (*fits)(const struct lp_found *), struct lp_err *err)
{
	char place[128];
	lp_fail(err, LP_EAMBIGUOUS,
		"%s: %s, referenced by %s, is not exported by the target, which has more than one:", ref->o->path,
		ref->sym.name, lp_object_place(ref->o, ref->rela->offset, place, sizeof place));
	for (size_t i = 0; i < found->nr; i++) {
		const struct lp_found *f = &found->items[i];
		if (fits(f))
			lp_err_append(err, "\n  %s%s%s in %s at " LP_ADDR, f->sym.file ? f->sym.file : "",
				      f->sym.file ? ":" : "", f->sym.name, s->images[f->image].name, f->addr);
	}
	return -LP_EAMBIGUOUS;
}

/* 1 = *out is it, 0 = there is none. */
static int choose(struct reference *ref, struct scope *s, const lp_found_vec *found, struct lp_found *out,
		  struct lp_err *err)
{
	size_t nr_preferences = ref->sym.bind == STB_WEAK ? NR_GLOBAL_PREFERENCES : LP_ARRAY_SIZE(preferences);
	for (size_t p = 0; p < nr_preferences; p++) {
		size_t nr = 0;
		for (size_t i = 0; i < found->nr; i++)
			if (preferences[p](&found->items[i]) && nr++ == 0)
				*out = found->items[i];
		if (nr > 1)
			return refuse_ambiguous(ref, s, found, preferences[p], err);
		if (nr == 1)
			return 1;
	}
	return 0;
}

static int find_unexported(struct reference *ref, struct scope *s, struct lp_found *out, struct lp_err *err)
{
	struct lp_symspec spec = {.name = lp_strdup(ref->sym.name)};
	lp_found_vec found = {0};
	int rc = lp_scope_find(s->images, s->nr, &spec, &found, err);
	if (rc == 0 && ref->sym.version)
		drop_versioned(s, &found);
	rc = rc ? rc : choose(ref, s, &found, out, err);
	lp_vec_free(&found);
	lp_symspec_free(&spec);
	return rc;
}

/* ---- undefined ---- */

static bool is_loaded(struct scope *s, const char *library)
{
	for (size_t i = 0; i < s->nr; i++) {
		const char *soname = s->images[i].elf ? lp_elf_soname(s->images[i].elf) : NULL;
		if (strcmp(s->images[i].name, library) == 0 || (soname && strcmp(soname, library) == 0))
			return true;
	}
	return false;
}

static int refuse_undefined(struct reference *ref, struct scope *s, struct lp_err *err)
{
	char place[128];
	const struct lp_elf_sym *sym = &ref->sym;
	lp_fail(err, LP_ENOSYM, "%s: undefined symbol %s%s%s, referenced by %s: nothing in %s defines it", ref->o->path,
		sym->name, sym->version ? "@" : "", sym->version ? sym->version : "",
		lp_object_place(ref->o, ref->rela->offset, place, sizeof place), s->t->label);
	const char *library;
	for (size_t i = 0; (library = lp_elf_needed(ref->o->elf, i)); i++)
		if (!is_loaded(s, library))
			lp_err_append(err, "\n  it may come from %s, which is not loaded there; `dl --dlopen` loads it",
				      library);
	if (err)
		snprintf(err->function, sizeof err->function, "%s", sym->name);
	return -LP_ENOSYM;
}

/* ---- one symbol ---- */

static bool is_own(const struct lp_elf_sym *s)
{
	return s->shndx != SHN_UNDEF;
}

static int bind_own(struct reference *ref, struct lp_bound *b, struct lp_err *err)
{
	const struct lp_elf_sym *s = &ref->sym;
	long stub = -1;
	b->size = s->size;
	b->value = s->value;
	b->kind = s->shndx == SHN_ABS ? LP_BOUND_TARGET : LP_BOUND_OWN;
	if (s->shndx == SHN_COMMON || s->type == STT_TLS)
		return lp_fail(err, LP_EELF,
			       "%s: the dynamic symbol %s is of a kind that a finished object cannot have",
			       ref->o->path, s->name);
	if (s->type != STT_GNU_IFUNC)
		return 0;
	stub = lp_object_own_stub(ref->o, s->value);
	b->kind = LP_BOUND_STUB;
	b->value = (uint64_t)stub;
	return stub < 0 ? lp_fail(err, LP_EINTERNAL, "%s: IFUNC %s has no stub", ref->o->path, s->name) : 0;
}

static int bind_outside(struct reference *ref, struct scope *s, struct lp_bound *b, struct lp_err *err)
{
	struct lp_found f;
	if (lp_scope_bind(s->images, s->nr, ref->sym.name, ref->sym.version, &f)) {
		b->pointer =
			f.sym.type == STT_FUNC || f.sym.type == STT_GNU_IFUNC ? canonical_pointer(s, ref->sym.name) : 0;
		return bind_to(ref, s, &f, b, err);
	}
	if (is_own(&ref->sym))
		return bind_own(ref, b, err);
	int rc = find_unexported(ref, s, &f, err);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return bind_to(ref, s, &f, b, err);
	if (ref->sym.bind != STB_WEAK)
		return refuse_undefined(ref, s, err);
	b->kind = LP_BOUND_TARGET;
	return 0;
}

static int bind_symbol(struct reference *ref, struct scope *s, struct lp_bound *b, struct lp_err *err)
{
	if (is_own(&ref->sym) && ref->sym.bind != STB_GNU_UNIQUE)
		return bind_own(ref, b, err);
	return bind_outside(ref, s, b, err);
}

/* ---- a name alone ---- */

static int bound_of(struct scope *s, const struct lp_found *f, struct lp_link_bound *out, struct lp_err *err)
{
	*out = (struct lp_link_bound){.addr = f->addr, .size = f->sym.size, .image = f->image};
	out->tls = f->sym.type == STT_TLS;
	if (out->tls)
		out->addr = f->sym.value;
	if (f->sym.type == STT_FUNC || f->sym.type == STT_GNU_IFUNC)
		out->pointer = canonical_pointer(s, f->sym.name);
	if (f->sym.type != STT_GNU_IFUNC)
		return 1;
	int rc = lp_link_ifunc_value(s->t, f, f->sym.name, &out->addr, err);
	if (rc == 0 && !out->addr)
		out->resolver = f->addr;
	return rc < 0 ? rc : 1;
}

int lp_link_bind_name(struct lp_target *t, const char *name, const char *version, struct lp_link_bound *out,
		      struct lp_err *err)
{
	struct scope s;
	struct lp_found f;
	int rc = open_scope(&s, t, err);
	if (rc < 0 || !lp_scope_bind(s.images, s.nr, name, version, &f))
		return rc;
	return bound_of(&s, &f, out, err);
}

/* Global ones, of `first` only when it has any. */
static int choose_unexported(const lp_found_vec *found, size_t first, const char *name, struct lp_found *out,
			     struct lp_err *err)
{
	for (int pass = 0; pass < 2; pass++) {
		size_t nr = 0;
		for (size_t i = 0; i < found->nr; i++)
			if (is_global(&found->items[i]) && (pass || found->items[i].image == first) && nr++ == 0)
				*out = found->items[i];
		if (nr > 1)
			return lp_fail(err, LP_EAMBIGUOUS, "the target exports no %s, and has more than one", name);
		if (nr == 1)
			return 1;
	}
	return 0;
}

int lp_link_bind_unexported(struct lp_target *t, size_t first, const char *name, struct lp_link_bound *out,
			    struct lp_err *err)
{
	struct scope s;
	struct lp_found f;
	struct lp_symspec spec = {.name = lp_strdup(name)};
	lp_found_vec found = {0};
	int rc = open_scope(&s, t, err);
	rc = rc ? rc : lp_scope_find(s.images, s.nr, &spec, &found, err);
	rc = rc ? rc : choose_unexported(&found, first, name, &f, err);
	rc = rc == 1 ? bound_of(&s, &f, out, err) : rc;
	lp_vec_free(&found);
	lp_symspec_free(&spec);
	return rc;
}

/* ---- relocations, judged before any is applied ---- */

static bool is_tls_formula(unsigned formula)
{
	return formula == LP_RELOC_TPOFF || formula == LP_RELOC_DTPMOD || formula == LP_RELOC_DTPOFF;
}

static int check_formula(struct lp_object *o, const struct lp_reloc_howto *h, const struct lp_elf_rela *r,
			 struct lp_err *err)
{
	switch (h->formula) {
	case LP_RELOC_NONE:
	case LP_RELOC_ABS:
	case LP_RELOC_SYM:
	case LP_RELOC_PC:
	case LP_RELOC_BASE:
	case LP_RELOC_SIZE:
		return 0;
	case LP_RELOC_IFUNC:
		return lp_object_own_stub(o, (uint64_t)r->addend) < 0
			       ? lp_fail(err, LP_EINTERNAL, "%s: an IFUNC without stub", o->path)
			       : 0;
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPMOD:
	case LP_RELOC_DTPOFF:
		if (r->sym)
			return 0;
		return lp_fail(err, LP_ENEEDSDLOPEN,
			       "%s refers to thread-local storage of its own; `dl --dlopen` has the target's own "
			       "loader make it",
			       o->path);
	case LP_RELOC_TLSDESC:
		return lp_fail(err, LP_ENEEDSDLOPEN,
			       "%s reaches a thread-local variable through a TLS descriptor, which only the target's "
			       "own loader can fill in: compile it with -ftls-model=initial-exec, or use `dl --dlopen`",
			       o->path);
	case LP_RELOC_COPY:
		return lp_fail(err, LP_ERELOC, "%s: %s belongs into programs, not into shared objects", o->path,
			       h->name);
	default:
		return lp_fail(err, LP_ERELOC, "%s: %s is not a relocation of finished objects", o->path, h->name);
	}
}

/* The place must be the object's own, and writable by its own account: our write is done before pages become read-only. */
static int check_place(struct lp_object *o, const struct lp_reloc_howto *h, const struct lp_elf_rela *r,
		       struct lp_err *err)
{
	char place[128];
	const Elf64_Phdr *p = lp_object_segment(o, r->offset, h->width);
	if (!p)
		return lp_fail(err, LP_EELF, "%s: %s at " LP_ADDR ", outside its segments", o->path, h->name,
			       r->offset);
	if (!(p->p_flags & PF_W))
		return lp_fail(err, LP_EELF, "%s: %s in %s, which is not writable: compile it with -fPIC", o->path,
			       h->name, lp_object_place(o, r->offset, place, sizeof place));
	return 0;
}

static int check_tls_use(struct lp_object *o, const struct lp_reloc_howto *h, const struct lp_elf_rela *r,
			 struct lp_err *err)
{
	struct lp_elf_sym s;
	const struct lp_bound *b = &o->bounds[r->sym];
	if (is_tls_formula(h->formula) == (b->kind == LP_BOUND_TLS))
		return 0;
	lp_elf_symbol(o->elf, LP_DYNSYM, r->sym, &s);
	return lp_fail(err, LP_ERELOC, "%s: %s is thread-local on one side only: in the %s but not in the %s", o->path,
		       s.name, b->kind == LP_BOUND_TLS ? "target" : "object",
		       b->kind == LP_BOUND_TLS ? "object" : "target");
}

static int bind_reloc_symbol(struct lp_object *o, struct scope *s, const struct lp_elf_rela *r, struct lp_err *err)
{
	struct reference ref = {.o = o, .rela = r};
	if (r->sym >= o->nr_bounds || !lp_elf_symbol(o->elf, LP_DYNSYM, r->sym, &ref.sym))
		return lp_fail(err, LP_EELF, "%s: a relocation names symbol %u of %zu", o->path, r->sym, o->nr_bounds);
	if (o->bounds[r->sym].kind != LP_BOUND_NOT_YET)
		return 0;
	int rc = bind_symbol(&ref, s, &o->bounds[r->sym], err);
	if (rc < 0)
		o->bounds[r->sym] = (struct lp_bound){0};
	return rc;
}

static int bind_reloc(struct lp_object *o, struct scope *s, const struct lp_elf_rela *r, struct lp_err *err)
{
	const struct lp_reloc_howto *h = o->isa->howto(r->type);
	if (!h)
		return lp_fail(err, LP_ERELOC, "%s: relocation type %u is unknown on %s", o->path, r->type,
			       o->isa->name);
	if (h->formula == LP_RELOC_NONE)
		return 0;
	int rc = check_formula(o, h, r, err);
	rc = rc ? rc : check_place(o, h, r, err);
	if (rc < 0 || !r->sym)
		return rc;
	rc = bind_reloc_symbol(o, s, r, err);
	return rc ? rc : check_tls_use(o, h, r, err);
}

int lp_object_bind_all(struct lp_object *o, struct lp_target *t, struct lp_err *err)
{
	struct scope s;
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	if (o->bound)
		return 0;
	int rc = open_scope(&s, t, err);
	while (rc >= 0 && (rc = lp_elf_rela_next(o->elf, &it, &r, err)) > 0)
		rc = bind_reloc(o, &s, &r, err);
	o->bound = rc == 0;
	return rc;
}
