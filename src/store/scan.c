#include "store/scan.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fdio.h"

#define MAPS_TEXT_MAX (UINT64_C(1) << 30)
#define STAT_TEXT_MAX 4096
#define STATUS_TEXT_MAX 65536
#define PHDRS_MAX 64
#define NOTES_MAX 65536
#define PF_KTHREAD UINT64_C(0x00200000) /* include/linux/sched.h */

/* The kernel's spelling of a memfd's name in maps.  Whether it is a ledger is for the core to say. */
static const char ledger_in_maps[] = "/memfd:livepatch-ledger";

const char *lp_seen_name(const struct lp_seen_object *o)
{
	const char *slash = strrchr(o->path, '/');
	return slash ? slash + 1 : o->path;
}

void lp_seen_free(struct lp_seen *s)
{
	for (size_t i = 0; i < s->objects.nr; i++)
		lp_free(s->objects.items[i].path);
	lp_vec_free(&s->objects);
}

/* ---- who it is: proc_pid_stat(5) ---- */

enum { FIELD_FLAGS = 9, FIELD_START_TIME = 22, FIELD_START_CODE = 26, FIELD_START_STACK = 28 };

/* Fields count from 1; the name, field 2, is in parentheses and may hold anything. */
static bool stat_fields(const char *text, uint64_t out[FIELD_START_STACK + 1])
{
	const char *p = strrchr(text, ')');
	if (!p)
		return false;
	for (int field = 3; field <= FIELD_START_STACK; field++) {
		p = strchr(p, ' ');
		if (!p)
			return false;
		p++;
		out[field] = *p == '-' ? 0 : strtoull(p, NULL, 10);
	}
	return true;
}

static void take_comm(struct lp_seen *s, const char *text)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	if (open && close && close > open)
		snprintf(s->comm, sizeof s->comm, "%.*s", (int)(close - open - 1), open + 1);
}

static int gone(pid_t pid, struct lp_err *err)
{
	return lp_fail(err, LP_EGONE, "there is no process %d", (int)pid);
}

int lp_scan_identity(pid_t pid, struct lp_seen *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf text = {0};
	uint64_t fields[FIELD_START_STACK + 1] = {0};
	*out = (struct lp_seen){.pid = pid};
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int rc = lp_read_file(path, &text, STAT_TEXT_MAX, err);
	if (rc == -ENOENT || rc == -ESRCH || (rc == 0 && !text.len))
		rc = gone(pid, err);
	else if (rc == 0 && !stat_fields(lp_buf_cstr(&text), fields))
		rc = lp_fail(err, EBADMSG, "%s makes no sense", path);
	if (rc == 0) {
		take_comm(out, lp_buf_cstr(&text));
		out->start_time = fields[FIELD_START_TIME];
		out->kernel = fields[FIELD_FLAGS] & PF_KTHREAD;
		/* Both are random for each execution of a program; 0 to those who may not know. */
		out->image = fields[FIELD_START_CODE] * 31 + fields[FIELD_START_STACK];
	}
	lp_buf_free(&text);
	return rc;
}

/* ---- what it maps ---- */

struct line {
	lp_addr start, end;
	bool readable, executable, private;
	uint64_t offset, inode;
	const char *path; /* not terminated */
	size_t path_len;
};

static bool hex_until(const char **p, const char *end, char stop, uint64_t *out)
{
	uint64_t v = 0;
	const char *begin = *p;
	for (; *p < end && **p != stop; (*p)++) {
		char c = **p;
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
		if (v >> 60)
			return false;
		v = v << 4 | digit;
	}
	if (*p == end || *p == begin)
		return false;
	(*p)++;
	*out = v;
	return true;
}

static bool decimal(const char **p, const char *end, uint64_t *out)
{
	uint64_t v = 0;
	const char *begin = *p;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (unsigned)(**p - '0'), &v))
			return false;
	*out = v;
	return *p > begin;
}

/* "start-end perms offset major:minor inode   path", proc_pid_maps(5). */
static bool parse_line(const char *p, const char *end, struct line *l)
{
	*l = (struct line){0};
	if (!hex_until(&p, end, '-', &l->start) || !hex_until(&p, end, ' ', &l->end) || l->start >= l->end ||
	    end - p < 5 || p[4] != ' ')
		return false;
	l->readable = p[0] == 'r';
	l->executable = p[2] == 'x';
	l->private = p[3] == 'p';
	p += 5;
	if (!hex_until(&p, end, ' ', &l->offset))
		return false;
	p = memchr(p, ' ', (size_t)(end - p));
	if (!p)
		return false;
	p++;
	if (!decimal(&p, end, &l->inode))
		return false;
	while (p < end && *p == ' ')
		p++;
	l->path = p;
	l->path_len = (size_t)(end - p);
	return true;
}

/* Where a file's mappings began, until an executable one shows that it is an object. */
struct head {
	lp_addr start;
	char *path;
	bool counted;
};

typedef LP_VEC(struct head) head_vec;

static char *clean_path(const char *path, size_t len)
{
	static const char mark[] = " (deleted)";
	size_t mark_len = sizeof mark - 1;
	if (len > mark_len && memcmp(path + len - mark_len, mark, mark_len) == 0)
		len -= mark_len;
	char *out = lp_alloc(len + 1);
	memcpy(out, path, len);
	return out;
}

static bool is_file(const struct line *l)
{
	return l->inode && l->path_len && l->path[0] == '/';
}

/* The mappings of one object follow each other, so the last head with that path is the one; a path by itself is no
 * identity (a library that was replaced and loaded again), the head's address is. */
static void take_line(struct lp_seen *s, head_vec *heads, const struct line *l)
{
	if (l->path_len >= sizeof ledger_in_maps - 1 &&
	    memmem(l->path, l->path_len, ledger_in_maps, sizeof ledger_in_maps - 1))
		s->ledger = true;
	if (l->executable && l->private && !l->inode && !l->path_len)
		s->foreign = true;
	if (!is_file(l))
		return;
	if (l->offset == 0 && l->readable) {
		struct head *h = lp_vec_add(heads);
		h->start = l->start;
		h->path = clean_path(l->path, l->path_len);
	}
	if (!l->executable || !heads->nr)
		return;
	struct head *h = &heads->items[heads->nr - 1];
	char *path = clean_path(l->path, l->path_len);
	if (!h->counted && strcmp(h->path, path) == 0) {
		h->counted = true;
		lp_vec_push(&s->objects, ((struct lp_seen_object){.path = lp_strdup(path), .start = h->start}));
	}
	lp_free(path);
}

int lp_scan_maps(struct lp_seen *s, const char *text, size_t len, struct lp_err *err)
{
	head_vec heads = {0};
	const char *end = text + len;
	int rc = 0;
	for (unsigned nr = 1; text < end && rc == 0; nr++) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct line l;
		if (!nl || !parse_line(text, nl, &l)) {
			rc = lp_fail(err, EBADMSG, "line %u of the maps of process %d makes no sense", nr, (int)s->pid);
			break;
		}
		take_line(s, &heads, &l);
		text = nl + 1;
	}
	for (size_t i = 0; i < heads.nr; i++)
		lp_free(heads.items[i].path);
	lp_vec_free(&heads);
	return rc;
}

/* ---- what it is, by its own memory ---- */

static bool peek(pid_t pid, lp_addr at, void *data, size_t len)
{
	struct iovec here = {data, len}, there = {(void *)(uintptr_t)at, len}; /* the system call's spelling */
	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/* What lies within the file's first page, which is nearly always all of it, costs one read. */
struct first_page {
	uint8_t bytes[LP_PAGE];
	lp_addr at;
};

static bool get(pid_t pid, const struct first_page *page, uint64_t offset, void *data, size_t len)
{
	if (offset <= LP_PAGE && len <= LP_PAGE - offset) {
		memcpy(data, page->bytes + offset, len);
		return true;
	}
	return peek(pid, page->at + offset, data, len);
}

static bool id_from_notes(pid_t pid, const struct first_page *page, uint64_t offset, uint64_t size, char *hex)
{
	struct lp_build_id id = {0};
	if (size > NOTES_MAX || offset > UINT64_MAX / 2)
		return false;
	uint8_t *notes = lp_alloc(size + 1);
	if (get(pid, page, offset, notes, size))
		lp_elf_build_id_from_notes(notes, size, &id);
	lp_free(notes);
	if (id.len)
		lp_build_id_hex(&id, hex);
	return id.len != 0;
}

static int not_allowed(const struct lp_seen *s, struct lp_err *err)
{
	return lp_fail(err, LP_EPERM, "not allowed to look at process %d (%s)", (int)s->pid, s->comm);
}

/* A note lies as far behind the file's first byte in memory as its address is behind that of the segment that begins
 * with the file.  false when we may not read memory: where yama guards it, maps can be read all the same. */
static bool read_build_id(pid_t pid, struct lp_seen_object *o)
{
	struct first_page page = {.at = o->start};
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	o->build_id[0] = 0;
	if (!peek(pid, o->start, page.bytes, sizeof page.bytes))
		return errno != EPERM;
	memcpy(&eh, page.bytes, sizeof eh);
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_phentsize != sizeof *ph || !eh.e_phnum ||
	    eh.e_phnum > PHDRS_MAX || eh.e_phoff > UINT32_MAX ||
	    !get(pid, &page, eh.e_phoff, ph, eh.e_phnum * sizeof *ph))
		return true;
	uint64_t first = UINT64_MAX;
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && lp_align_down(ph[i].p_offset, LP_PAGE) == 0 && first == UINT64_MAX)
			first = ph[i].p_vaddr - ph[i].p_offset;
	for (size_t i = 0; i < eh.e_phnum && first != UINT64_MAX; i++)
		if (ph[i].p_type == PT_NOTE && ph[i].p_vaddr >= first &&
		    id_from_notes(pid, &page, ph[i].p_vaddr - first, ph[i].p_filesz, o->build_id))
			break;
	return true;
}

/* "Uid:", real one first (proc_pid_status(5)).  The owner of /proc/PID will not do: it is root's when a process says so. */
int lp_scan_owner(pid_t pid, uid_t *out, struct lp_err *err)
{
	static const char field[] = "\nUid:\t";
	char path[64];
	struct lp_buf text = {0};
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	int rc = lp_read_file(path, &text, STATUS_TEXT_MAX, err);
	const char *at = rc == 0 ? strstr(lp_buf_cstr(&text), field) : NULL;
	if (rc == -ENOENT || rc == -ESRCH)
		rc = gone(pid, err);
	else if (rc == 0 && !at)
		rc = lp_fail(err, EBADMSG, "%s makes no sense", path);
	else if (rc == 0)
		*out = (uid_t)strtoul(at + sizeof field - 1, NULL, 10);
	lp_buf_free(&text);
	return rc;
}

int lp_scan_process(pid_t pid, struct lp_seen *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf text = {0};
	int rc = lp_scan_identity(pid, out, err);
	if (rc < 0 || out->kernel)
		return rc;
	rc = lp_scan_owner(pid, &out->uid, err);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	rc = lp_read_file(path, &text, MAPS_TEXT_MAX, err);
	if (rc == -ENOENT || rc == -ESRCH)
		rc = gone(pid, err);
	else if (rc == -EACCES)
		rc = not_allowed(out, err);
	else if (rc == 0)
		rc = lp_scan_maps(out, lp_buf_cstr(&text), text.len, err);
	out->kernel = rc == 0 && !text.len;
	lp_buf_free(&text);
	for (size_t i = 0; rc == 0 && i < out->objects.nr; i++)
		if (!read_build_id(pid, &out->objects.items[i]))
			rc = not_allowed(out, err);
	if (rc < 0)
		lp_seen_free(out);
	return rc;
}

/* ---- everybody ---- */

static bool parse_pid(const char *text, pid_t *out)
{
	char *end;
	errno = 0;
	long v = text[0] >= '1' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
	if (v <= 0 || v > INT_MAX || errno || *end)
		return false;
	*out = (pid_t)v;
	return true;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

int lp_scan_pids(lp_pid_vec *out, struct lp_err *err)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return lp_fail_sys(err, errno, "cannot read /proc");
	pid_t pid;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		if (parse_pid(e->d_name, &pid) && pid != 1 && pid != getpid())
			lp_vec_push(out, pid);
	closedir(dir);
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, by_number);
	return 0;
}
