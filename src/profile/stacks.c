#include "profile/stacks.h"

#include <sys/mman.h>

#include "emu/emu.h"

enum { NAME_MAX_LENGTH = 256 };

/* A return address that is signed (PAuth) has its code in the bits that no address of a program has. */
#define ADDRESS_BITS UINT64_C(0x0000ffffffffffff)

void lp_stack_take(struct lp_stack *s, const struct lp_guest_thread *t)
{
	const struct lp_cpu *cpu = &t->cpu;
	uint64_t record[2], at = cpu->x[29], before = 0;

	s->tid = t->tid;
	s->is_waiting = atomic_load(&t->state) == LP_THREAD_IN_HOST;
	/* It was on its way to the branch when it was asked to stand still, and not yet in what that leads to. */
	s->pc = !s->is_waiting && cpu->branch ? cpu->branch : cpu->pc;
	s->link = cpu->x[30] & ADDRESS_BITS;
	s->nr = 0;
	while (s->nr < LP_STACK_FRAMES && at > before && at % 8 == 0 && lp_mem_get(at, &record) == 0 && record[1]) {
		s->callers[s->nr++] = record[1] & ADDRESS_BITS;
		before = at;
		at = record[0];
	}
}

static bool is_code(struct lp_emu *emu, uint64_t pc)
{
	struct lp_guest_area area;

	return lp_mem_area(emu, pc, &area) && area.prot & PROT_EXEC;
}

void lp_stack_check(struct lp_stack *s, struct lp_emu *emu)
{
	size_t nr = 0;

	while (nr < s->nr && is_code(emu, s->callers[nr]))
		nr++;
	s->nr = nr;
	if (!is_code(emu, s->link))
		s->link = 0;
	if (!is_code(emu, s->pc))
		s->pc = 0;
}

void lp_stack_add_name(struct lp_buf *out, const char *name)
{
	char clean[NAME_MAX_LENGTH + 1];
	size_t len = 0;

	for (; name[len] && len < NAME_MAX_LENGTH; len++)
		clean[len] = name[len] == ';'					   ? ':'
			     : (unsigned char)name[len] < ' ' || name[len] == 0x7f ? '?'
										   : name[len];
	clean[len] = 0;
	lp_buf_str(out, clean);
}

static void add_site(struct lp_buf *out, const struct lp_site *p)
{
	lp_buf_str(out, ";");
	if (p->symbol) {
		lp_stack_add_name(out, p->symbol);
		return;
	}
	lp_buf_str(out, "[");
	lp_stack_add_name(out, p->file ? p->file : "unknown");
	lp_buf_str(out, "]");
}

/* A return address may be behind the last instruction of its function: the call is in front of it. */
static void name_one(uint64_t pc, struct lp_sites *sites, struct lp_buf *out, lp_stack_told *told, void *arg)
{
	struct lp_site p = pc ? lp_site_find(sites, pc) : (struct lp_site){0};

	add_site(out, &p);
	if (p.symbol)
		told(&p, arg);
}

void lp_stack_name(const struct lp_stack *s, struct lp_sites *sites, struct lp_buf *out, lp_stack_told *told, void *arg)
{
	for (size_t i = s->nr; i-- > 0;)
		name_one(s->callers[i] - 4, sites, out, told, arg);
	if (s->link && s->pc && lp_site_is_called_from_link(sites, s->pc, s->link - 4, s->nr ? s->callers[0] - 4 : 0))
		name_one(s->link - 4, sites, out, told, arg);
	name_one(s->pc, sites, out, told, arg);
	if (s->is_waiting)
		lp_buf_str(out, ";[in a system call]");
}
