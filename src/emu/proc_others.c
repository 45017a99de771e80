/*
 * What processes see of each other below /proc, where that is the runner's.
 *
 * A process has its own cmdline, environ, and the start of its code in stat,
 * moved to the guest's: the kernel reads them there, for this guest, other guests
 * and the machine's ps(1) alike.  exe cannot be moved while the runner is mapped;
 * of another runner it is what is mapped where its code starts.
 *
 * Source: kernel/sys.c, prctl_set_mm_map(), which needs no privilege.
 */
#include "emu/proc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "emu/loader.h"

enum { STAT_MAX = 4096, MAPS_MAX = 64 << 20, FIRST_BEHIND_NAME = 3 };

/* Fields of proc(5). */
enum { START_CODE = 26, START_STACK = 28, START_DATA = 45, END_DATA = 46, START_BRK = 47, NR_FIELDS = 53 };

/* By their numbers, from the third on; the name in parentheses may hold anything. */
static int read_stat(const char *path, uint64_t fields[NR_FIELDS])
{
	struct lp_buf text = {0};
	int rc = lp_read_file(path, &text, STAT_MAX, NULL);
	char *rest = rc == 0 ? strrchr(lp_buf_cstr(&text), ')') : NULL, *word;

	memset(fields, 0, NR_FIELDS * sizeof *fields);
	if (rc == 0 && (!rest || rest[1] != ' '))
		rc = -EIO;
	if (rc == 0)
		rest += 2;
	for (int i = FIRST_BEHIND_NAME; rc == 0 && i < NR_FIELDS && (word = strsep(&rest, " ")); i++)
		fields[i] = strtoull(word, NULL, 10);
	lp_buf_free(&text);
	return rc;
}

/* ---- this one ---- */

void lp_guest_proc_show(const struct lp_loaded *l)
{
	uint64_t own[NR_FIELDS];
	struct prctl_mm_map map = {
		.start_code = l->program.code.start,
		.end_code = l->program.code.end,
		.arg_start = l->args.start,
		.arg_end = l->args.end,
		.env_start = l->envs.start,
		.env_end = l->envs.end,
		.exe_fd = UINT32_MAX, /* stays */
	};

	if (read_stat("/proc/self/stat", own))
		return;
	map.start_data = own[START_DATA];
	map.end_data = own[END_DATA];
	map.start_brk = own[START_BRK];
	map.brk = (uint64_t)syscall(SYS_brk, 0);
	map.start_stack = own[START_STACK];
	/* A kernel without CONFIG_CHECKPOINT_RESTORE goes on to show the runner. */
	prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

/* ---- others ---- */

static bool is_runner(pid_t pid)
{
	struct stat own, other;
	char path[48];

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	return stat("/proc/self/exe", &own) == 0 && stat(path, &other) == 0 && own.st_ino == other.st_ino &&
	       own.st_dev == other.st_dev;
}

/* "START-END PERMISSIONS OFFSET DEVICE INODE   /path": the path, when the area has addr in it and is of a file. */
static const char *file_of_line(const char *line, uint64_t addr)
{
	char *end;
	uint64_t start = strtoull(line, &end, 16);

	if (*end != '-' || addr < start || addr >= strtoull(end + 1, &end, 16))
		return NULL;
	return strchr(end, '/');
}

static bool mapped_file(pid_t pid, uint64_t addr, char out[PATH_MAX])
{
	struct lp_buf maps = {0};
	char path[48], *rest, *line;
	const char *file = NULL;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	if (lp_read_file(path, &maps, MAPS_MAX, NULL) == 0) {
		rest = (char *)lp_buf_cstr(&maps);
		while (!file && (line = strsep(&rest, "\n")))
			file = file_of_line(line, addr);
	}
	if (file)
		snprintf(out, PATH_MAX, "%s", file);
	lp_buf_free(&maps);
	return file;
}

bool lp_guest_proc_exe_of(const struct lp_emu *emu, pid_t pid, char out[PATH_MAX])
{
	uint64_t fields[NR_FIELDS];
	char path[48];

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (!is_runner(pid) || read_stat(path, fields) || !mapped_file(pid, fields[START_CODE], out))
		return false;
	lp_path_guest(emu, out);
	return true;
}
