/*
 * Which objects our loader takes.
 *
 * An object that it places is a stranger to the target's dynamic linker.  For
 * functions and data that makes no difference.  It does for everything that
 * ld.so does once for an object it knows: thread-local storage, constructors,
 * the table that unwinders search for exceptions, the stack's protection.
 * Those are refused, never left out silently.
 *
 * Every `cc -shared` object has a constructor and a destructor nobody wrote:
 * crtbegin's frame_dummy (registers transactional-memory clones, does nothing
 * without a libitm) and __do_global_dtors_aux (calls __cxa_finalize), plus the
 * empty _init and _fini of crti.  They may be skipped.  All others may not.
 */
#include <string.h>

#include "base/bits.h"
#include "core/link_private.h"

#define REMEDY "; `dl --dlopen` has the target's own loader do it"

static int check_kind(const struct lp_object *o, struct lp_err *err)
{
	const Elf64_Ehdr *h = lp_elf_header(o->elf);
	uint64_t flags = 0;
	if (h->e_type == ET_REL)
		return lp_fail(err, LP_EELF, "%s is an object file: link it with cc -shared", o->path);
	if (h->e_machine != o->isa->elf_machine)
		return lp_fail(err, LP_EISA, "%s is made for another machine (ELF number %u) than the target's, %s",
			       o->path, h->e_machine, o->isa->name);
	if (h->e_type != ET_DYN || (lp_elf_dynamic(o->elf, DT_FLAGS_1, &flags) && (flags & DF_1_PIE)))
		return lp_fail(err, LP_EELF, "%s is a program, not a shared object: build it with cc -shared -fPIC",
			       o->path);
	if (!lp_elf_phdr_find(o->elf, PT_DYNAMIC))
		return lp_fail(err, LP_EELF, "%s has no dynamic section: build it with cc -shared", o->path);
	return 0;
}

static int check_segments(const struct lp_object *o, struct lp_err *err)
{
	uint64_t flags = 0, unused;
	for (size_t i = 0; i < lp_elf_phdr_count(o->elf); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(o->elf, i);
		if (p->p_type == PT_LOAD && (p->p_flags & PF_W) && (p->p_flags & PF_X))
			return lp_fail(err, LP_EELF,
				       "%s has a segment that is writable and executable at once (" LP_ADDR ")",
				       o->path, p->p_vaddr);
	}
	lp_elf_dynamic(o->elf, DT_FLAGS, &flags);
	if (lp_elf_dynamic(o->elf, DT_TEXTREL, &unused) || (flags & DF_TEXTREL))
		return lp_fail(err, LP_EELF, "%s has relocations in its code: compile it with -fPIC", o->path);
	return 0;
}

static int check_tls(const struct lp_object *o, struct lp_err *err)
{
	if (!lp_elf_phdr_find(o->elf, PT_TLS))
		return 0;
	return lp_fail(err, LP_ENEEDSDLOPEN, "%s has thread-local variables of its own" REMEDY, o->path);
}

static int check_stack(const struct lp_object *o, struct lp_err *err)
{
	const Elf64_Phdr *stack = lp_elf_phdr_find(o->elf, PT_GNU_STACK);
	if (!stack || !(stack->p_flags & PF_X))
		return 0;
	return lp_fail(err, LP_ENEEDSDLOPEN, "%s needs an executable stack (a nested function?)" REMEDY, o->path);
}

/* ---- constructors and destructors ---- */

/* One direction of them: what crt puts there, and what it is called when a user does. */
struct hooks {
	int64_t array, array_size, function;
	const char *crt_entry, *crt_section, *what;
};

static const struct hooks constructors = {DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_INIT,
					  "frame_dummy", ".init",	  "constructor"};
static const struct hooks destructors = {DT_FINI_ARRAY,		  DT_FINI_ARRAYSZ, DT_FINI,
					 "__do_global_dtors_aux", ".fini",	   "destructor"};

static int refuse_hook(const struct lp_object *o, const struct hooks *h, uint64_t entry, struct lp_err *err)
{
	struct lp_elf_sym s;
	bool named = entry && lp_elf_symbol_at(o->elf, entry, &s) && s.value == entry;
	return lp_fail(err, LP_ENEEDSDLOPEN, "%s has a %s%s%s%s that would have to run" REMEDY, o->path, h->what,
		       named ? " (" : "", named ? s.name : "", named ? ")" : "");
}

static bool is_named(const struct lp_object *o, uint64_t value, const char *name)
{
	size_t cursor = 0;
	struct lp_elf_sym s;
	while (lp_elf_symbol_by_name(o->elf, LP_SYMTAB, name, &cursor, &s))
		if (s.shndx != SHN_UNDEF && s.value == value)
			return true;
	return false;
}

/* First entry of the array from `start` on that crt did not put there: *entry.  What fills an entry is a relocation. */
static int find_foreign_entry(const struct lp_object *o, const struct hooks *h, struct lp_range array, uint64_t *entry,
			      struct lp_err *err)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	int rc;
	while ((rc = lp_elf_rela_next(o->elf, &it, &r, err)) > 0) {
		struct lp_elf_sym s;
		if (!lp_range_has(array, r.offset))
			continue;
		uint64_t value = (uint64_t)r.addend;
		if (r.sym && lp_elf_symbol(o->elf, LP_DYNSYM, r.sym, &s))
			value += s.value;
		if (!*entry && !is_named(o, value, h->crt_entry))
			*entry = value;
	}
	return rc;
}

static int check_array(const struct lp_object *o, const struct hooks *h, struct lp_err *err)
{
	struct lp_range array = {0};
	uint64_t size, crt, entry = 0;
	if (!lp_elf_dynamic(o->elf, h->array_size, &size) || !size || !lp_elf_dynamic(o->elf, h->array, &array.start))
		return 0;
	array.end = array.start + size;
	int rc = find_foreign_entry(o, h, array, &entry, err);
	if (rc < 0)
		return rc;
	bool stripped = lp_elf_symbol_count(o->elf, LP_SYMTAB) == 0;
	bool from_crt = size == sizeof(uint64_t) && lp_elf_dynamic(o->elf, h->function, &crt) && (stripped || !entry);
	return from_crt ? 0 : refuse_hook(o, h, stripped ? 0 : entry, err);
}

/* DT_INIT of crti lies at the start of .init; -Wl,-init=f lies anywhere else. */
static int check_function(const struct lp_object *o, const struct hooks *h, struct lp_err *err)
{
	uint64_t at;
	if (!lp_elf_dynamic(o->elf, h->function, &at) || lp_elf_section_count(o->elf) == 0)
		return 0;
	const Elf64_Shdr *s = lp_elf_section_find(o->elf, h->crt_section);
	return s && s->sh_addr == at ? 0 : refuse_hook(o, h, at, err);
}

static int check_hooks(const struct lp_object *o, struct lp_err *err)
{
	int rc = check_array(o, &constructors, err);
	rc = rc ? rc : check_function(o, &constructors, err);
	rc = rc ? rc : check_array(o, &destructors, err);
	return rc ? rc : check_function(o, &destructors, err);
}

/* ---- C++ exceptions ---- */

/* References that only code which throws, or is unwound through, makes. */
static const char *const unwinder_symbols[] = {
	"__cxa_throw",		"__cxa_rethrow",  "__cxa_begin_catch",	    "__gxx_personality_v0",
	"__gcc_personality_v0", "_Unwind_Resume", "_Unwind_RaiseException", "_Unwind_ForcedUnwind",
};

static bool knows(const struct lp_object *o, const char *name)
{
	size_t cursor = 0;
	struct lp_elf_sym s;
	if (lp_elf_symbol_by_name(o->elf, LP_DYNSYM, name, &cursor, &s))
		return true;
	cursor = 0; /* linked in statically (-static-libgcc) */
	return lp_elf_symbol_by_name(o->elf, LP_SYMTAB, name, &cursor, &s);
}

static int check_unwinding(const struct lp_object *o, struct lp_err *err)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(unwinder_symbols); i++)
		if (knows(o, unwinder_symbols[i]))
			return lp_fail(err, LP_ENEEDSDLOPEN,
				       "%s throws, catches or cleans up after exceptions (it uses %s), "
				       "which need it to be known to the unwinder" REMEDY,
				       o->path, unwinder_symbols[i]);
	return 0;
}

/* ---- sections that want more than a page ---- */

static int check_alignment(const struct lp_object *o, struct lp_err *err)
{
	for (size_t i = 0; i < lp_elf_section_count(o->elf); i++) {
		const Elf64_Shdr *s = lp_elf_section(o->elf, i);
		if (s && (s->sh_flags & SHF_ALLOC) && s->sh_addralign > LP_PAGE)
			return lp_fail(err, LP_ENEEDSDLOPEN,
				       "%s wants %s aligned to %" PRIu64 " bytes, more than a page" REMEDY, o->path,
				       lp_elf_section_name(o->elf, s), (uint64_t)s->sh_addralign);
	}
	return 0;
}

int lp_object_admit(const struct lp_object *o, struct lp_err *err)
{
	int rc = check_kind(o, err);
	rc = rc ? rc : check_segments(o, err);
	rc = rc ? rc : check_alignment(o, err);
	rc = rc ? rc : check_tls(o, err);
	rc = rc ? rc : check_stack(o, err);
	rc = rc ? rc : check_hooks(o, err);
	return rc ? rc : check_unwinding(o, err);
}
