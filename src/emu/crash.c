/* The line that a guest leaves behind which ends by a fault. */
#include "emu/crash.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "emu/emu.h"
#include "emu/pauth.h"
#include "emu/sites.h"

enum { MAX_CALLERS = 32 };

/* "0x400123 main+0x10 (prog)" */
static void add_site(struct lp_buf *line, struct lp_sites *sites, uint64_t pc)
{
	struct lp_site p = lp_site_find(sites, pc);

	lp_buf_printf(line, LP_ADDR, pc);
	if (p.file)
		lp_buf_printf(line, " %s+0x%" PRIx64 " (%s)", p.symbol ? p.symbol : "", p.offset, p.file);
}

/* ---- who called whom ---- */

static void add_caller(struct lp_buf *line, struct lp_sites *sites, uint64_t pc)
{
	lp_buf_str(line, " < ");
	add_site(line, sites, pc);
}

/* Frame records: x29 points at the caller's x29 and x30, each further up.  Return addresses may be signed. */
static void add_callers(struct lp_buf *line, const struct lp_cpu *cpu, struct lp_sites *sites)
{
	uint64_t record[2] = {0}, at = cpu->x[29], before = 0, link = lp_pauth_strip(cpu->x[30]);

	if (lp_mem_get(at, &record) || lp_site_is_called_from_link(sites, cpu->pc, link, lp_pauth_strip(record[1])))
		add_caller(line, sites, link);
	for (int i = 0; i < MAX_CALLERS && at > before && at % 8 == 0 && lp_mem_get(at, &record) == 0; i++) {
		if (!record[1])
			return;
		add_caller(line, sites, lp_pauth_strip(record[1]));
		before = at;
		at = record[0];
	}
}

void lp_crash_report(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_sites sites = {0};
	struct lp_buf line = {0};

	lp_buf_printf(&line, "arm64_runner: guest ended by SIG%s, address " LP_ADDR ", at ",
		      sigabbrev_np(info->si_signo), (uint64_t)info->si_addr);
	add_site(&line, &sites, t->cpu.pc);
	add_callers(&line, &t->cpu, &sites);
	lp_buf_str(&line, "\n");
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		line.len = 0; /* nobody to tell */
	lp_buf_free(&line);
	lp_sites_free(&sites);
}
