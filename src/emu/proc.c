#include "emu/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "emu/features.h"
#include "emu/loader.h"

enum { FILE_MAX = 64 << 20, NAME_COLUMN = 73, SMALL_FILE = 4096 };

/* ---- maps and smaps ---- */

/* The line that begins what maps and smaps say of an area. */
static void add_area(struct lp_buf *out, const struct lp_guest_area *a)
{
	size_t start = out->len;
	/* Memory that is shared and has no name is of a file system that only the kernel sees. */
	unsigned major_number = a->dev == UINT64_MAX ? 0 : major(a->dev);
	unsigned minor_number = a->dev == UINT64_MAX ? 1 : minor(a->dev);

	lp_buf_printf(out, "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %02x:%02x %" PRIu64 " ", a->range.start,
		      a->range.end, a->prot & PROT_READ ? 'r' : '-', a->prot & PROT_WRITE ? 'w' : '-',
		      a->prot & PROT_EXEC ? 'x' : '-', a->flags & MAP_SHARED ? 's' : 'p', a->ino ? a->offset : 0,
		      major_number, minor_number, a->ino);
	if (*a->name && out->len - start < NAME_COLUMN)
		lp_buf_fill(out, ' ', NAME_COLUMN - (out->len - start));
	lp_buf_printf(out, "%s\n", a->name);
}

static int make_maps(struct lp_guest_thread *t, struct lp_buf *out)
{
	struct lp_guest_area a;

	for (uint64_t at = 0; lp_mem_next(t->cpu.emu, at, &a); at = a.range.end)
		add_area(out, &a);
	return 0;
}

/* "55b664432000-55b664434000 r--p ...": the host's areas; other lines are what it says of the last of them. */
static bool is_area_line(const char *line, struct lp_range *range)
{
	char *end;

	range->start = strtoull(line, &end, 16);
	if (end == line || *end != '-')
		return false;
	line = end + 1;
	range->end = strtoull(line, &end, 16);
	return end != line && *end == ' ';
}

/* Of the host's areas those that begin in the guest's: neighbours that are the same to the host are one there. */
static int make_smaps(struct lp_guest_thread *t, struct lp_buf *out)
{
	struct lp_buf host = {0};
	struct lp_guest_area a;
	struct lp_range range;
	bool shown = false;
	int rc = lp_read_file("/proc/self/smaps", &host, FILE_MAX, NULL);
	char *rest = (char *)lp_buf_cstr(&host), *line;

	while (rc == 0 && (line = strsep(&rest, "\n")) && rest) {
		if (is_area_line(line, &range)) {
			shown = lp_mem_area(t->cpu.emu, range.start, &a);
			a.range = range;
			if (shown)
				add_area(out, &a);
		} else if (shown) {
			lp_buf_printf(out, "%s\n", line);
		}
	}
	lp_buf_free(&host);
	return rc;
}

/* ---- what was on the stack at the beginning ---- */

static int make_auxv(struct lp_guest_thread *t, struct lp_buf *out)
{
	const struct lp_loaded *l = t->cpu.emu->loaded;

	lp_buf_add(out, l->auxv, l->nr_auxv * sizeof l->auxv[0]);
	return 0;
}

/* The guest's memory as it is now; what is not there any more is left away. */
static void add_memory(struct lp_buf *out, struct lp_range range)
{
	size_t len = out->len;

	lp_buf_fill(out, 0, range.end - range.start);
	if (lp_mem_read(range.start, out->data + len, range.end - range.start))
		out->len = len;
}

/* A program that has written over the end of its arguments shows one line, up to the first NUL, wherever that is
 * (fs/proc/base.c: get_mm_proctitle). */
static int make_cmdline(struct lp_guest_thread *t, struct lp_buf *out)
{
	const struct lp_loaded *l = t->cpu.emu->loaded;
	const uint8_t *nul;

	add_memory(out, l->args);
	if (out->len == 0 || out->data[out->len - 1] == 0)
		return 0;
	out->len = 0;
	add_memory(out, (struct lp_range){l->args.start, l->envs.end});
	nul = out->len ? memchr(out->data, 0, out->len) : NULL;
	if (nul)
		out->len = (size_t)(nul - out->data);
	return 0;
}

static int make_environ(struct lp_guest_thread *t, struct lp_buf *out)
{
	add_memory(out, t->cpu.emu->loaded->envs);
	return 0;
}

/* ---- stat ---- */

/* Field numbers of proc(5), and what they are of the guest. */
struct stat_field {
	unsigned number;
	uint64_t value;
};

static const struct stat_field *find_field(const struct stat_field *fields, size_t nr, unsigned number)
{
	for (size_t i = 0; i < nr; i++)
		if (fields[i].number == number)
			return &fields[i];
	return NULL;
}

static void add_fields(struct lp_buf *out, char *rest, unsigned number, const struct stat_field *fields, size_t nr)
{
	char *word;

	for (; (word = strsep(&rest, " ")); number++) {
		const struct stat_field *f = find_field(fields, nr, number);
		if (f)
			lp_buf_printf(out, " %" PRIu64, f->value);
		else
			lp_buf_printf(out, " %s", word);
	}
}

static int make_stat_of(struct lp_guest_thread *t, const char *path, struct lp_buf *out)
{
	const struct lp_loaded *l = t->cpu.emu->loaded;
	const struct stat_field fields[] = {
		{26, l->program.code.start},
		{27, l->program.code.end},
		{28, l->sp},
		{29, 0},
		{45, 0},
		{46, 0},
		{47, l->heap},
		{30, 0},
		{48, l->args.start},
		{49, l->args.end},
		{50, l->envs.start},
		{51, l->envs.end},
	};
	struct lp_buf host = {0};
	int rc = lp_read_file(path, &host, SMALL_FILE, NULL);
	/* The name in parentheses may hold anything. */
	char *end = rc == 0 ? strrchr(lp_buf_cstr(&host), ')') : NULL;

	if (end && end[1] == ' ') {
		lp_buf_add(out, host.data, (size_t)(end + 1 - (char *)host.data));
		add_fields(out, end + 2, 3, fields, LP_ARRAY_SIZE(fields));
	}
	lp_buf_free(&host);
	return rc;
}

/* ---- cpuinfo ---- */

static void add_processor(struct lp_buf *out, long number)
{
	uint64_t midr = 0;

	lp_id_register(LP_SYSREG(3, 0, 0, 0, 0), &midr);
	lp_buf_printf(out, "processor\t: %ld\nBogoMIPS\t: %" PRIu64 ".00\nFeatures\t:", number,
		      LP_CNTFRQ_EL0 * 2 / 1000000);
	for (size_t i = 0; lp_feature_name(i); i++)
		lp_buf_printf(out, " %s", lp_feature_name(i));
	lp_buf_printf(out, "\nCPU implementer\t: 0x%02x\nCPU architecture: 8\n", (unsigned)(midr >> 24 & 0xff));
	lp_buf_printf(out, "CPU variant\t: 0x%x\nCPU part\t: 0x%03x\nCPU revision\t: %u\n\n",
		      (unsigned)(midr >> 20 & 0xf), (unsigned)(midr >> 4 & 0xfff), (unsigned)(midr & 0xf));
}

static int make_cpuinfo(struct lp_buf *out)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);

	for (long i = 0; i < nr; i++)
		add_processor(out, i);
	return 0;
}

/* ---- whose file a path is ---- */

static const struct own_file {
	const char *name;
	int (*make)(struct lp_guest_thread *t, struct lp_buf *out);
} own_files[] = {
	{"maps", make_maps},	   {"smaps", make_smaps},     {"auxv", make_auxv},
	{"cmdline", make_cmdline}, {"environ", make_environ},
};

/* Behind a number and what follows it. */
static const char *skip_number(const char *p, uint64_t *number)
{
	char *end;

	if (*p < '1' || *p > '9')
		return NULL;
	*number = strtoull(p, &end, 10);
	return end;
}

/* What is left of `path` behind the directory of a process, or of one of its threads; else NULL. */
static const char *in_folder(const char *path, uint64_t *pid)
{
	uint64_t number;
	const char *p;

	if (strncmp(path, "/proc/", 6) != 0)
		return NULL;
	path += 6;
	p = skip_number(path, pid);
	if (!p)
		*pid = (uint64_t)getpid();
	if (!p && !strncmp(path, "self/", 5))
		p = path + 4;
	if (!p && !strncmp(path, "thread-self/", 12))
		p = path + 11;
	if (!p || *p != '/')
		return NULL;
	if (!strncmp(p, "/task/", 6)) {
		const char *behind = skip_number(p + 6, &number);
		if (behind && *behind == '/')
			p = behind;
	}
	return p + 1;
}

/* Of this process. */
static const char *in_own_folder(const char *path)
{
	uint64_t pid;
	const char *name = in_folder(path, &pid);

	return name && pid == (uint64_t)getpid() ? name : NULL;
}

/* The path without a directory's descriptor: the guest's, if it may be one of ours; false: it is not. */
static bool whole_path(const struct lp_path *p, char out[PATH_MAX])
{
	char link[48];
	ssize_t len;

	if (p->guest[0] == '/' || p->dirfd == AT_FDCWD) {
		snprintf(out, PATH_MAX, "%s", p->guest);
		return p->guest[0] == '/';
	}
	if (!*p->guest || strchr(p->guest, '/'))
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", p->dirfd);
	len = readlink(link, out, PATH_MAX - 1);
	if (len <= 0 || strncmp(out, "/proc", 5) != 0)
		return false;
	return snprintf(out + len, PATH_MAX - (size_t)len, "/%s", p->guest) < PATH_MAX - len;
}

static int make(struct lp_guest_thread *t, const char *path, struct lp_buf *out)
{
	const char *name = in_own_folder(path);

	if (!strcmp(path, "/proc/cpuinfo"))
		return make_cpuinfo(out);
	if (name && !strcmp(name, "stat"))
		return make_stat_of(t, path, out);
	for (size_t i = 0; name && i < LP_ARRAY_SIZE(own_files); i++)
		if (!strcmp(name, own_files[i].name))
			return own_files[i].make(t, out);
	return -ENOSYS;
}

/* ---- in place of the host's files ---- */

static int64_t file_with(const struct lp_buf *content, const char *name, int flags)
{
	int fd = memfd_create(name, flags & O_CLOEXEC ? MFD_CLOEXEC : 0), rc;

	if (fd < 0)
		return -errno;
	rc = content->len ? lp_pwrite_full(fd, content->data, content->len, 0) : 0;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int64_t lp_guest_proc_open(struct lp_guest_thread *t, const struct lp_path *p, int flags)
{
	char path[PATH_MAX];
	struct lp_buf content = {0};
	int64_t rc;

	if ((flags & O_ACCMODE) != O_RDONLY || flags & (O_PATH | O_DIRECTORY) || !whole_path(p, path) ||
	    strncmp(path, "/proc/", 6) != 0 || !t->cpu.emu->loaded)
		return -ENOSYS;
	rc = make(t, path, &content);
	if (rc == 0)
		rc = file_with(&content, path, flags);
	lp_buf_free(&content);
	return rc;
}

/* The program that a path to some exe stands for, as the guest would open it; false: none that is a guest's. */
static bool program_of_exe(const struct lp_emu *emu, const struct lp_path *p, char out[PATH_MAX])
{
	size_t len = strlen(p->guest);
	char path[PATH_MAX];
	const char *name;
	uint64_t pid;

	/* Most paths are not. */
	if (!emu->loaded || len < 3 || strcmp(p->guest + len - 3, "exe") != 0 || !whole_path(p, path))
		return false;
	name = in_folder(path, &pid);
	if (!name || strcmp(name, "exe") != 0 || pid > INT_MAX)
		return false;
	if (pid != (uint64_t)getpid())
		return lp_guest_proc_exe_of(emu, (pid_t)pid, out);
	snprintf(out, PATH_MAX, "%s", emu->loaded->program.path);
	return true;
}

int64_t lp_guest_proc_readlink(struct lp_guest_thread *t, const struct lp_path *p, char *out, size_t size)
{
	char program[PATH_MAX];
	size_t len;

	if (!program_of_exe(t->cpu.emu, p, program))
		return -ENOSYS;
	len = strlen(program);
	if (len > size)
		len = size;
	memcpy(out, program, len);
	return (int64_t)len;
}

void lp_guest_proc_follow_exe(struct lp_guest_thread *t, struct lp_path *p)
{
	char program[PATH_MAX];

	if (!program_of_exe(t->cpu.emu, p, program))
		return;
	p->dirfd = AT_FDCWD;
	lp_path_host(t->cpu.emu, program, 0, p->text);
}
