#include "diff/diff.h"

#include <string.h>

#include "diff/model.h"

/* ---- what kind of binary this is ---- */

#ifndef DF_1_PIE
#define DF_1_PIE 0x08000000
#endif

static void look_at_original(struct lp_diff *d)
{
	struct lp_elf *e = d->in.original;
	uint64_t flags = 0, flags_1 = 0, symbolic;
	bool interpreted = lp_elf_phdr_find(e, PT_INTERP);

	lp_elf_dynamic(e, DT_FLAGS, &flags);
	lp_elf_dynamic(e, DT_FLAGS_1, &flags_1);
	bool program = interpreted || (flags_1 & DF_1_PIE) || lp_elf_header(e)->e_type == ET_EXEC;
	d->is_dynamic = interpreted || !program;
	d->interposable = !program && !(flags & DF_SYMBOLIC) && !lp_elf_dynamic(e, DT_SYMBOLIC, &symbolic);
}

static void compare_builds(struct lp_diff *d)
{
	struct lp_build_id ours, theirs;

	lp_elf_build_id(d->in.original, &ours);
	lp_elf_build_id(d->target, &theirs);
	d->same_build = d->target == d->in.original || lp_build_id_equal(&ours, &theirs);
}

static int check_input(struct lp_diff *d, struct lp_err *err)
{
	const struct lp_diff_input *in = &d->in;

	if (!in->original || !in->nr_units)
		return lp_fail(err, LP_EUSAGE, "no original, or no units to compare");
	for (size_t i = 0; i < in->nr_units; i++)
		if (!in->units[i].before && !in->units[i].after)
			return lp_fail(err, LP_EUSAGE, "%s: neither before nor after", in->units[i].name);
	d->target = in->target ? in->target : in->original;
	d->isa = lp_isa_of(lp_elf_header(in->original)->e_machine);
	if (!d->isa)
		return lp_fail(err, LP_EISA, "%s: machine %u is unknown here", lp_elf_name(in->original),
			       lp_elf_header(in->original)->e_machine);
	look_at_original(d);
	compare_builds(d);
	return 0;
}

/* ---- objects ---- */

static int read_one(struct lp_diff *d, struct object **out, size_t unit, struct lp_elf *elf, const char *which,
		    struct lp_err *err)
{
	const struct lp_diff_unit *u = &d->in.units[unit];
	struct lp_err lto = {0};
	int rc;

	if (!elf)
		return 0;
	if (lp_elf_header(elf)->e_machine != lp_elf_header(d->in.original)->e_machine)
		return lp_fail(err, LP_EISA, "%s (%s) is for another machine than %s", u->name, which,
			       lp_elf_name(d->in.original));
	rc = lp_diff_read_object(out, u, unit, elf, which, &lto);
	if (rc == -LP_EDIFF) {
		lp_diff_refuse(d, REFUSE_LTO, u->name, u->name, "%s (%s) was compiled for link-time optimisation",
			       u->name, which);
		return 0;
	}
	if (rc && err)
		*err = lto;
	return rc;
}

static int read_units(struct lp_diff *d, struct lp_err *err)
{
	for (size_t i = 0; i < d->in.nr_units; i++) {
		const struct lp_diff_unit *in = &d->in.units[i];
		struct unit *u = lp_vec_add(&d->units);
		u->in = in;
		int rc = read_one(d, &u->before, i, in->before, "before", err);
		if (!rc)
			rc = read_one(d, &u->after, i, in->after, "after", err);
		if (!rc)
			rc = read_one(d, &u->linked, i, in->linked, "linked", err);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the passes ---- */

static void for_units(struct lp_diff *d, void (*pass)(struct lp_diff *d, struct unit *u))
{
	for (size_t i = 0; i < d->units.nr; i++)
		pass(d, &d->units.items[i]);
}

static void correlate(struct lp_diff *d, struct unit *u)
{
	(void)d;
	lp_diff_correlate(u);
}

int lp_diff_make(struct lp_diff **out, const struct lp_diff_input *in, struct lp_err *err)
{
	struct lp_diff *d = lp_alloc(sizeof *d);
	int rc;

	*out = NULL;
	d->in = *in;
	d->in.units = lp_memdup(in->units, in->nr_units * sizeof *in->units);
	rc = check_input(d, err);
	if (!rc)
		rc = read_units(d, err);
	if (rc) {
		lp_diff_free(d);
		return rc;
	}
	for_units(d, correlate);
	lp_diff_correlate_across(d);
	for_units(d, lp_diff_compare);
	lp_diff_spread(d);
	lp_diff_list_globals(d);
	for_units(d, lp_diff_judge);
	for_units(d, lp_diff_judge_layout);
	lp_diff_select(d);
	lp_diff_check_original(d);
	*out = d;
	return lp_diff_refused(d, err);
}

void lp_diff_free(struct lp_diff *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->units.nr; i++) {
		lp_diff_free_object(d->units.items[i].before);
		lp_diff_free_object(d->units.items[i].after);
		lp_diff_free_object(d->units.items[i].linked);
	}
	for (size_t i = 0; i < d->texts.nr; i++)
		lp_free(d->texts.items[i]);
	lp_free((struct lp_diff_unit *)d->in.units); /* our copy */
	lp_vec_free(&d->units);
	lp_vec_free(&d->globals);
	lp_vec_free(&d->included);
	lp_vec_free(&d->fragments);
	lp_vec_free(&d->replaced);
	lp_vec_free(&d->changes);
	lp_vec_free(&d->refusals);
	lp_vec_free(&d->texts);
	lp_vec_free(&d->equal_pairs);
	lp_free(d);
}
