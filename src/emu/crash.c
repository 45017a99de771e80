/* The line that a guest leaves behind which ends by a fault. */
#include "emu/crash.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "emu/emu.h"

enum { MAX_CALLERS = 32 };

static void add_place(struct lp_buf *line, struct lp_emu *emu, uint64_t pc)
{
	struct lp_guest_area area;

	lp_buf_printf(line, LP_ADDR, pc);
	if (lp_mem_area(emu, pc, &area) && area.name && *area.name)
		lp_buf_printf(line, " (%s+" LP_ADDR ")", area.name, pc - area.range.start + area.offset);
}

/* Frame records: x29 points at the caller's x29 and x30, each further up. */
static void add_callers(struct lp_buf *line, const struct lp_cpu *cpu)
{
	uint64_t record[2], at = cpu->x[29], before = 0;

	for (int i = 0; i < MAX_CALLERS && at > before && at % 8 == 0 && lp_mem_get(at, &record) == 0; i++) {
		if (!record[1])
			return;
		lp_buf_str(line, " < ");
		add_place(line, cpu->emu, record[1]);
		before = at;
		at = record[0];
	}
}

void lp_crash_report(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_buf line = {0};

	lp_buf_printf(&line, "arm64_runner: guest ended by SIG%s, address " LP_ADDR ", at ",
		      sigabbrev_np(info->si_signo), (uint64_t)info->si_addr);
	add_place(&line, t->cpu.emu, t->cpu.pc);
	add_callers(&line, &t->cpu);
	lp_buf_str(&line, "\n");
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		line.len = 0; /* nobody to tell */
	lp_buf_free(&line);
}

void lp_crash_core(struct lp_guest_thread *t, const siginfo_t *info)
{
}
