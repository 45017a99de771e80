/*
 * vFile: gdb reads the guest's program and libraries through the stub, as the
 * guest sees them (`set sysroot target:` is its default).  Reading only.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "emu/path.h"
#include "gdb/stub.h"

enum { FILES_MAX = 16 };

/* gdb numbers errors its own way (File-I/O, errno values); those that can happen here are the same as Linux's. */
static void fail(struct lp_buf *reply, int errnum)
{
	lp_buf_printf(reply, "F-1,%x", (unsigned)errnum);
}

static bool path_of(struct lp_gdb *g, const char *hex, char out[PATH_MAX])
{
	char guest[PATH_MAX];
	size_t len = strcspn(hex, ",");
	size_t nr = lp_gdb_unhex(hex, len, guest, sizeof guest - 1);

	guest[nr] = '\0';
	if (guest[0] != '/' || strlen(guest) != nr)
		return false;
	lp_path_host(g->emu, guest, 0, out);
	return true;
}

static void file_open(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	char path[PATH_MAX];
	int fd;

	if (!path_of(g, args, path)) {
		fail(reply, EINVAL);
		return;
	}
	fd = g->files.nr < FILES_MAX ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : (errno = EMFILE, -1);
	if (fd < 0) {
		fail(reply, errno);
		return;
	}
	lp_vec_push(&g->files, fd);
	lp_buf_printf(reply, "F%x", (unsigned)(g->files.nr - 1));
}

static int descriptor(struct lp_gdb *g, const char *text, char **end)
{
	unsigned long nr = strtoul(text, end, 16);

	return *end != text && nr < g->files.nr ? g->files.items[nr] : -1;
}

static void file_pread(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	static uint8_t bytes[LP_GDB_PACKET_MAX / 4];
	char *end;
	int fd = descriptor(g, args, &end);
	size_t count = *end == ',' ? strtoul(end + 1, &end, 16) : 0;
	uint64_t at = *end == ',' ? strtoull(end + 1, &end, 16) : 0;
	ssize_t got = pread(fd, bytes, count < sizeof bytes ? count : sizeof bytes, (off_t)at);

	if (got < 0) {
		fail(reply, errno);
		return;
	}
	lp_buf_printf(reply, "F%zx;", (size_t)got);
	lp_gdb_escape(reply, bytes, (size_t)got);
}

static void put_be(uint8_t *out, uint64_t value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(value >> 8 * (len - 1 - i));
}

/* struct fio_stat: big endian, sixty-four bytes. */
static void file_fstat(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	uint8_t out[64];
	struct stat st;
	char *end;

	if (fstat(descriptor(g, args, &end), &st) < 0) {
		fail(reply, errno);
		return;
	}
	put_be(out, st.st_dev, 4);
	put_be(out + 4, st.st_ino, 4);
	put_be(out + 8, st.st_mode, 4);
	put_be(out + 12, st.st_nlink, 4);
	put_be(out + 16, st.st_uid, 4);
	put_be(out + 20, st.st_gid, 4);
	put_be(out + 24, st.st_rdev, 4);
	put_be(out + 28, (uint64_t)st.st_size, 8);
	put_be(out + 36, (uint64_t)st.st_blksize, 8);
	put_be(out + 44, (uint64_t)st.st_blocks, 8);
	put_be(out + 52, (uint64_t)st.st_atime, 4);
	put_be(out + 56, (uint64_t)st.st_mtime, 4);
	put_be(out + 60, (uint64_t)st.st_ctime, 4);
	lp_buf_printf(reply, "F%zx;", sizeof out);
	lp_gdb_escape(reply, out, sizeof out);
}

static void file_close(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	char *end;
	int fd = descriptor(g, args, &end);

	if (fd < 0) {
		fail(reply, EBADF);
		return;
	}
	close(fd);
	g->files.items[strtoul(args, NULL, 16)] = -1;
	while (g->files.nr && g->files.items[g->files.nr - 1] < 0)
		g->files.nr--;
	lp_buf_str(reply, "F0");
}

static void file_readlink(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t len = -1;

	errno = EINVAL;
	if (path_of(g, args, path))
		len = readlink(path, target, sizeof target);
	if (len < 0) {
		fail(reply, errno);
		return;
	}
	lp_buf_printf(reply, "F%zx;", (size_t)len);
	lp_gdb_escape(reply, target, (size_t)len);
}

void lp_gdb_file(struct lp_gdb *g, const char *request, size_t len, struct lp_buf *reply)
{
	static const struct {
		const char *name;
		void (*run)(struct lp_gdb *g, const char *args, struct lp_buf *reply);
	} calls[] = {{"open:", file_open},
		     {"pread:", file_pread},
		     {"fstat:", file_fstat},
		     {"close:", file_close},
		     {"readlink:", file_readlink}};

	if (strncmp(request, "setfs:", 6) == 0) {
		lp_buf_str(reply, "F0");
		return;
	}
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
		if (strncmp(request, calls[i].name, strlen(calls[i].name)) == 0) {
			calls[i].run(g, request + strlen(calls[i].name), reply);
			return;
		}
}

void lp_gdb_files_close(struct lp_gdb *g)
{
	for (size_t i = 0; i < g->files.nr; i++)
		if (g->files.items[i] >= 0)
			close(g->files.items[i]);
	g->files.nr = 0;
}
