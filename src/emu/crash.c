/* The line that a guest leaves behind which ends by a fault. */
#include "emu/crash.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "elf/elf.h"
#include "emu/emu.h"

enum { MAX_CALLERS = 32, MAPS_LIMIT = 16 << 20 };

/* ---- names ---- */

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

/* The file that the host has at pc, whatever the guest calls it.  NULL: none. */
static char *file_at(char *maps, uint64_t pc, uint64_t *offset)
{
	struct lp_range range;
	char *path, *next;

	for (char *line = maps; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			next++;
		if (parse_mapping(line, &range, offset, &path) && lp_range_has(range, pc)) {
			*offset += pc - range.start;
			return *path == '/' ? path : NULL;
		}
	}
	return NULL;
}

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

/* What is known of a pc: the file, and the function's name and beginning (its offset in the file where there is no name). */
struct place {
	char *file, *symbol; /* NULL: not known */
	uint64_t offset;     /* within the function, else within the file */
	uint64_t function;   /* address of its beginning; 0: not known */
};

static void find_symbol(struct place *p, const char *path, uint64_t pc)
{
	struct lp_elf *e = NULL;
	struct lp_elf_sym sym;
	uint64_t addr;

	if (lp_elf_open(&e, path, NULL) == 0 && address_of_offset(e, p->offset, &addr) &&
	    lp_elf_symbol_at(e, addr, &sym)) {
		p->symbol = lp_strdup(sym.name);
		p->offset = addr - sym.value;
		p->function = pc - p->offset;
	}
	lp_elf_close(e);
}

static struct place find_place(const char *maps, uint64_t pc)
{
	char *copy = lp_strdup(maps);
	struct place p = {0};
	const char *path = file_at(copy, pc, &p.offset);

	if (path) {
		p.file = lp_strdup(strrchr(path, '/') + 1);
		find_symbol(&p, path, pc);
	}
	lp_free(copy);
	return p;
}

static void free_place(struct place *p)
{
	lp_free(p->file);
	lp_free(p->symbol);
}

/* "0x400123 main+0x10 (prog)" */
static void add_place(struct lp_buf *line, const char *maps, uint64_t pc)
{
	struct place p = find_place(maps, pc);

	lp_buf_printf(line, LP_ADDR, pc);
	if (p.file)
		lp_buf_printf(line, " %s+0x%" PRIx64 " (%s)", p.symbol ? p.symbol : "", p.offset, p.file);
	free_place(&p);
}

/* ---- who called whom ---- */

/* A function that calls no other has no frame record, and its caller is in x30; in one that has called, x30 leads to
 * itself. */
static bool is_called_from_link(const struct lp_cpu *cpu, const char *maps, uint64_t first_record)
{
	struct place here = find_place(maps, cpu->pc), link = find_place(maps, cpu->x[30]);
	bool is = link.function && link.function != here.function && cpu->x[30] != first_record;

	free_place(&here);
	free_place(&link);
	return is;
}

/* Frame records: x29 points at the caller's x29 and x30, each further up. */
static void add_callers(struct lp_buf *line, const struct lp_cpu *cpu, const char *maps)
{
	uint64_t record[2] = {0}, at = cpu->x[29], before = 0;

	if (lp_mem_get(at, &record) || is_called_from_link(cpu, maps, record[1])) {
		lp_buf_str(line, " < ");
		add_place(line, maps, cpu->x[30]);
	}
	for (int i = 0; i < MAX_CALLERS && at > before && at % 8 == 0 && lp_mem_get(at, &record) == 0; i++) {
		if (!record[1])
			return;
		lp_buf_str(line, " < ");
		add_place(line, maps, record[1]);
		before = at;
		at = record[0];
	}
}

void lp_crash_report(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_buf line = {0}, maps = {0};

	lp_read_file("/proc/self/maps", &maps, MAPS_LIMIT, NULL);
	lp_buf_printf(&line, "arm64_runner: guest ended by SIG%s, address " LP_ADDR ", at ",
		      sigabbrev_np(info->si_signo), (uint64_t)info->si_addr);
	add_place(&line, lp_buf_cstr(&maps), t->cpu.pc);
	add_callers(&line, &t->cpu, lp_buf_cstr(&maps));
	lp_buf_str(&line, "\n");
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		line.len = 0; /* nobody to tell */
	lp_buf_free(&line);
	lp_buf_free(&maps);
}
