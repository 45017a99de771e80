#include "profile/perf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/vec.h"
#include "emu/sys.h"

enum { MARK_SIZE = 4096 };

struct lp_perf {
	int map, dump; /* -1: none, or not any more */
	void *mark;    /* the mapping by which perf learns of the dump */
	uint64_t nr;
};

/* ---- the jitdump's records ---- */

enum { MAGIC = 0x4a695444, VERSION = 1, CODE_LOAD = 0 };

struct dump_header {
	uint32_t magic, version, size, machine, pad, pid;
	uint64_t time, flags;
};

struct code_load {
	uint32_t id, size;
	uint64_t time;
	uint32_t pid, tid;
	uint64_t vma, address, code_size, number;
	/* name with its NUL, code */
};
_Static_assert(sizeof(struct dump_header) == 40 && sizeof(struct code_load) == 56, "as in the specification");

/* That of perf record -k mono. */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- files ---- */

/* Who writes behind the limit on the size of files gets SIGXFSZ, which is meant for the program and ends it. */
static bool is_allowed(int fd, size_t size)
{
	struct rlimit limit;
	struct stat st;

	return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY || fstat(fd, &st) ||
	       (uint64_t)st.st_size + size <= limit.rlim_cur;
}

/* One write each: a record is there, or it is not. */
static bool put(int fd, const struct iovec *parts, int nr)
{
	size_t all = 0;
	ssize_t done;

	for (int i = 0; i < nr; i++)
		all += parts[i].iov_len;
	if (!is_allowed(fd, all)) {
		errno = EFBIG;
		return false;
	}
	do
		done = writev(fd, parts, nr);
	while (done < 0 && errno == EINTR);
	if (done >= 0 && (size_t)done < all)
		errno = ENOSPC; /* the next write would say so */
	return done >= 0 && (size_t)done == all;
}

/* Of the program that this process was before: ours alone. */
static int open_again(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
	    !(st.st_mode & 077))
		return fd;
	close(fd);
	errno = EEXIST;
	return -1;
}

static int open_new(const char *path, int access)
{
	return open(path, access | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int refuse(const char *option, const char *path, struct lp_err *err)
{
	int rc = -errno;

	if (rc == -EEXIST)
		lp_fail(err, EEXIST,
			"--%s: %s is there already: of an earlier process of that number, or of somebody else; remove "
			"it",
			option, path);
	else
		lp_fail_sys(err, -rc, "--%s: %s cannot be made", option, path);
	return rc;
}

/* The number that it has from now on; takes it. */
static int keep(int fd)
{
	int kept = fd < 0 ? -1 : lp_fd_keep(fd);

	if (kept < 0 && fd >= 0) {
		close(fd);
		errno = -kept;
	}
	return kept < 0 ? -1 : kept;
}

static int open_map(struct lp_perf *p, bool is_next, struct lp_err *err)
{
	char *path = lp_sprintf("/tmp/perf-%d.map", (int)getpid());
	int fd = is_next ? open_again(path) : -1, rc;

	if (fd < 0 && (!is_next || errno == ENOENT))
		fd = open_new(path, O_WRONLY);
	p->map = keep(fd);
	rc = p->map < 0 ? refuse("perf-map", path, err) : 0;
	lp_free(path);
	return rc;
}

static bool put_header(int fd)
{
	struct dump_header h = {.magic = MAGIC,
				.version = VERSION,
				.size = sizeof h,
				.machine = EM_X86_64,
				.pid = (uint32_t)getpid(),
				.time = now()};

	return put(fd, &(struct iovec){&h, sizeof h}, 1);
}

/* A file that was ours is in nobody's way. */
static void remove_own(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
		unlink(path);
}

static int open_dump(struct lp_perf *p, bool is_next, struct lp_err *err)
{
	const char *folder = secure_getenv("JITDUMPDIR");
	char *path = lp_sprintf("%s/jit-%d.dump", folder && *folder ? folder : ".", (int)getpid());
	int rc = 0;

	if (is_next)
		remove_own(path);
	p->dump = keep(open_new(path, O_RDWR));
	if (p->dump < 0)
		rc = refuse("jitdump", path, err);
	else if (!put_header(p->dump))
		rc = lp_fail_sys(err, errno, "--jitdump: %s cannot be written", path);
	if (rc == 0) {
		p->mark = mmap(NULL, MARK_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, p->dump, 0);
		if (p->mark == MAP_FAILED) {
			p->mark = NULL;
			rc = lp_fail_sys(err, errno,
					 "--jitdump: %s cannot be mapped to be executed, which perf wants (is its file "
					 "system mounted noexec?)",
					 path);
		}
	}
	lp_free(path);
	return rc;
}

struct lp_perf *lp_perf_open(const struct lp_perf_options *options, struct lp_err *err)
{
	struct lp_perf *p = lp_alloc(sizeof *p);

	p->map = p->dump = -1;
	if ((options->map && open_map(p, options->is_next, err)) ||
	    (options->dump && open_dump(p, options->is_next, err))) {
		lp_perf_close(p);
		return NULL;
	}
	return p;
}

void lp_perf_close(struct lp_perf *p)
{
	lp_fd_drop(p->map);
	lp_fd_drop(p->dump);
	if (p->mark)
		munmap(p->mark, MARK_SIZE);
	lp_free(p);
}

/* ---- code ---- */

static bool add_to_map(const struct lp_perf *p, const struct lp_perf_code *c)
{
	char *line = lp_sprintf("%" PRIx64 " %zx %s\n", (uint64_t)c->address, c->size, c->name);
	bool is_put = put(p->map, &(struct iovec){line, strlen(line)}, 1);

	lp_free(line);
	return is_put;
}

static bool add_to_dump(struct lp_perf *p, const struct lp_perf_code *c)
{
	size_t name_size = strlen(c->name) + 1;
	struct code_load r = {.id = CODE_LOAD,
			      .size = (uint32_t)(sizeof r + name_size + c->size),
			      .time = now(),
			      .pid = (uint32_t)getpid(),
			      .tid = (uint32_t)gettid(),
			      .vma = (uint64_t)c->address,
			      .address = (uint64_t)c->address,
			      .code_size = c->size,
			      .number = p->nr++};

	return put(p->dump,
		   (struct iovec[]){{&r, sizeof r}, {(char *)c->name, name_size}, {(void *)c->address, c->size}}, 3);
}

bool lp_perf_add(struct lp_perf *p, const struct lp_perf_code *c)
{
	bool map = p->map < 0 || add_to_map(p, c), dump = p->dump < 0 || add_to_dump(p, c);
	int why = errno;

	if (!map) {
		lp_fd_drop(p->map);
		p->map = -1;
	}
	if (!dump) {
		lp_fd_drop(p->dump);
		p->dump = -1;
	}
	errno = why;
	return map && dump;
}
