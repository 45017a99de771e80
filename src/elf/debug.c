/*
 * Separate debug files (gdb manual, "Separate Debug Files").
 *
 * They are looked for in the target's own file system, which may be a
 * container that somebody hostile fills: a symbolic link in there must lead to
 * another file in there, never to one of ours, so paths are opened with
 * RESOLVE_IN_ROOT.  A file is taken only when its build-id, or the CRC that
 * the program holds of it, says that it is the right one.
 */
#include "elf/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "base/log.h"
#include "elf/elf_private.h"

#define DEBUG_DIR "/usr/lib/debug"

/* What is not a regular file is refused later, but already opening it must not hang or take a terminal. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static int open_below(int root_fd, const char *path)
{
	struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_IN_ROOT};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
	if (fd < 0 && (errno == ENOSYS || errno == EPERM)) { /* before Linux 5.6, or a seccomp filter that is older */
		while (*path == '/')
			path++;
		fd = openat(root_fd, path, OPEN_FLAGS | O_NOFOLLOW);
	}
	return (int)fd;
}

static int open_path(const char *root, const char *path)
{
	if (!*root)
		return open(path, OPEN_FLAGS);
	int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = root_fd < 0 ? -1 : open_below(root_fd, path);
	lp_close(root_fd);
	return fd;
}

int lp_elf_open_in_root(struct lp_elf **out, const char *root, const char *path, struct lp_err *err)
{
	*out = NULL;
	int fd = open_path(root, path);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot open %s%s", root, path);
	int rc = lp_elf_open_fd(out, fd, path, err);
	lp_close(fd);
	return rc;
}

/* CRC-32 of IEEE 802.3, reflected, as .gnu_debuglink and zlib have it. */
static uint32_t crc32_ieee(const uint8_t *bytes, size_t len)
{
	uint32_t table[256], crc = ~0u;
	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (size_t i = 0; i < len; i++)
		crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

/* What the program says about its debug file. */
struct wanted {
	const char *root;
	struct lp_build_id id;
	const char *link; /* file name; NULL when there is no .gnu_debuglink */
	uint32_t link_crc;
};

/* .gnu_debuglink: a file name, zeros up to a multiple of 4, the CRC. */
static void read_debuglink(const struct lp_elf *e, struct wanted *w)
{
	size_t len;
	const Elf64_Shdr *s = lp_elf_section_find(e, ".gnu_debuglink");
	const uint8_t *data = s ? lp_elf_section_data(e, s, &len) : NULL;
	const char *name = (const char *)data;
	if (!data || !memchr(data, 0, len) || !*name || strchr(name, '/'))
		return;
	size_t crc_at = lp_align_up(strlen(name) + 1, 4);
	if (crc_at > len || len - crc_at < 4)
		return;
	w->link = name;
	w->link_crc = lp_get32(data + crc_at);
}

/* NULL when it is not there or not the right one.  With build-ids on both sides these decide, else the CRC. */
static struct lp_elf *try_file(const struct wanted *w, char *path)
{
	struct lp_elf *d = NULL;
	struct lp_build_id id = {0};
	struct lp_err why = {0};
	int rc = lp_elf_open_in_root(&d, w->root, path, &why);
	if (rc && rc != -ENOENT && rc != -ENOTDIR)
		lp_debug("no debug file: %s", why.text);
	if (!rc)
		lp_elf_build_id(d, &id);
	bool same = d && lp_build_id_equal(&id, &w->id);
	if (d && w->link && !(w->id.len && id.len))
		same = crc32_ieee(d->bytes, d->len) == w->link_crc;
	if (d && !same) {
		lp_debug("%s%s belongs to another build", w->root, path);
		lp_elf_close(d);
		d = NULL;
	}
	lp_free(path);
	return d;
}

static struct lp_elf *by_build_id(const struct wanted *w)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	if (w->id.len < 2)
		return NULL;
	lp_build_id_hex(&w->id, hex);
	return try_file(w, lp_sprintf(DEBUG_DIR "/.build-id/%.2s/%s.debug", hex, hex + 2));
}

static struct lp_elf *by_debuglink(const struct wanted *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!w->link)
		return NULL;
	int dir = slash ? (int)(slash - path) : 1;
	const char *from = slash ? path : ".";
	struct lp_elf *d = try_file(w, lp_sprintf("%.*s/%s", dir, from, w->link));
	if (!d)
		d = try_file(w, lp_sprintf("%.*s/.debug/%s", dir, from, w->link));
	if (!d && *path == '/')
		d = try_file(w, lp_sprintf(DEBUG_DIR "%.*s/%s", dir, from, w->link));
	return d;
}

/* The caller may have the path as we see it; we want it as the target sees it. */
static const char *inside(const char *root, const char *path)
{
	size_t len = strlen(root);
	return len && !strncmp(path, root, len) && path[len] == '/' ? path + len : path;
}

int lp_elf_open_debug(struct lp_elf **out, const struct lp_elf *e, const char *path, const char *root,
		      struct lp_err *err)
{
	struct wanted w = {.root = root ? root : ""};
	*out = NULL;
	if (*w.root && access(w.root, F_OK) < 0)
		return lp_fail_sys(err, errno, "cannot look into %s", w.root);
	lp_elf_build_id(e, &w.id);
	read_debuglink(e, &w);
	*out = by_build_id(&w);
	if (!*out)
		*out = by_debuglink(&w, inside(w.root, path));
	return 0;
}
