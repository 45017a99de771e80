/* struct stat of arm64 (include/uapi/asm-generic/stat.h). */
#include <fcntl.h>
#include <sys/stat.h>

#include "emu/path.h"
#include "emu/sys.h"

struct guest_stat {
	uint64_t dev, ino;
	uint32_t mode, nlink, uid, gid;
	uint64_t rdev, pad1;
	int64_t size;
	int32_t blksize, pad2;
	int64_t blocks;
	struct {
		int64_t sec;
		uint64_t nsec;
	} atime, mtime, ctime;
	uint32_t unused[2];
};
_Static_assert(sizeof(struct guest_stat) == 128, "as arm64 has it");

/* The kernel's struct stat is the C library's on x86-64. */
static int64_t put(uint64_t addr, const struct stat *st)
{
	struct guest_stat g = {
		.dev = st->st_dev,
		.ino = st->st_ino,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = st->st_rdev,
		.size = st->st_size,
		.blksize = (int32_t)st->st_blksize,
		.blocks = st->st_blocks,
		.atime = {st->st_atim.tv_sec, (uint64_t)st->st_atim.tv_nsec},
		.mtime = {st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec},
		.ctime = {st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec},
	};

	return lp_arg_put(addr, &g);
}

CALL(newfstatat)
{
	struct stat st;
	struct lp_path p;
	int64_t rc = lp_path_get(t, (int)a[0], a[1], a[3] & AT_SYMLINK_NOFOLLOW ? LP_PATH_NOFOLLOW : 0, &p);

	if (!rc)
		rc = LP_HOST_SLOW(t, SYS_newfstatat, (uint64_t)p.dirfd, lp_arg_of(p.text), lp_arg_of(&st), a[3]);
	return rc ? rc : put(a[2], &st);
}

CALL(fstat)
{
	struct stat st;
	int64_t rc = LP_HOST_SLOW(t, SYS_fstat, a[0], lp_arg_of(&st));

	return rc ? rc : put(a[1], &st);
}
