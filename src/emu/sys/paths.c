/* Calls that name files: the host's, with paths put into the host's tree. */
#include <fcntl.h>
#include <linux/fanotify.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emu/path.h"
#include "emu/proc.h"
#include "emu/sys.h"

enum { NO_DIRFD = -1 };

/* One path of a call: which arguments it is, and what is done with it. */
struct named {
	int dirfd, path;
	unsigned how;
};

static int translate(struct lp_guest_thread *t, uint64_t args[6], struct named n, struct lp_path *p)
{
	int rc = lp_path_get(t, n.dirfd == NO_DIRFD ? AT_FDCWD : (int)args[n.dirfd], args[n.path], n.how, p);

	if (rc < 0)
		return rc;
	if (n.dirfd != NO_DIRFD)
		args[n.dirfd] = (uint64_t)(int64_t)p->dirfd;
	args[n.path] = lp_arg_of(p->text);
	return 0;
}

static int64_t with_path(struct lp_guest_thread *t, long nr, const uint64_t a[6], struct named n)
{
	struct lp_path p;
	uint64_t args[6];
	int rc;

	memcpy(args, a, sizeof args);
	rc = translate(t, args, n, &p);
	return rc < 0 ? rc : lp_host_slow(t, nr, args);
}

static int64_t with_paths(struct lp_guest_thread *t, long nr, const uint64_t a[6], struct named n, struct named m)
{
	struct lp_path p, q;
	uint64_t args[6];
	int rc;

	memcpy(args, a, sizeof args);
	rc = translate(t, args, n, &p);
	if (!rc)
		rc = translate(t, args, m, &q);
	return rc < 0 ? rc : lp_host_slow(t, nr, args);
}

/* AT_SYMLINK_NOFOLLOW among the flags of a call that follows without it. */
static unsigned follow_unless(uint64_t flags)
{
	return flags & AT_SYMLINK_NOFOLLOW ? LP_PATH_NOFOLLOW : 0;
}

#define PATH_CALL(name, how)                                                          \
	CALL(name)                                                                    \
	{                                                                             \
		return with_path(t, SYS_##name, a, (struct named){NO_DIRFD, 0, how}); \
	}
#define AT_CALL(name, how)                                                     \
	CALL(name)                                                             \
	{                                                                      \
		return with_path(t, SYS_##name, a, (struct named){0, 1, how}); \
	}

PATH_CALL(setxattr, 0)
PATH_CALL(lsetxattr, LP_PATH_NOFOLLOW)
PATH_CALL(getxattr, 0)
PATH_CALL(lgetxattr, LP_PATH_NOFOLLOW)
PATH_CALL(listxattr, 0)
PATH_CALL(llistxattr, LP_PATH_NOFOLLOW)
PATH_CALL(removexattr, 0)
PATH_CALL(lremovexattr, LP_PATH_NOFOLLOW)
PATH_CALL(umount2, a[1] & UMOUNT_NOFOLLOW ? LP_PATH_NOFOLLOW : 0)
PATH_CALL(statfs, 0)
PATH_CALL(truncate, 0)
PATH_CALL(chdir, 0)
PATH_CALL(swapon, 0)
PATH_CALL(swapoff, 0)
AT_CALL(mknodat, LP_PATH_CREATE | LP_PATH_NOFOLLOW)
AT_CALL(mkdirat, LP_PATH_CREATE | LP_PATH_NOFOLLOW)
AT_CALL(unlinkat, LP_PATH_NOFOLLOW)
AT_CALL(faccessat, 0)
AT_CALL(faccessat2, follow_unless(a[3]))
AT_CALL(fchmodat, 0)
AT_CALL(fchownat, follow_unless(a[4]))
AT_CALL(name_to_handle_at, a[4] & AT_SYMLINK_FOLLOW ? 0 : LP_PATH_NOFOLLOW)
AT_CALL(open_tree, follow_unless(a[2]))
AT_CALL(fspick, a[2] & FSPICK_SYMLINK_NOFOLLOW ? LP_PATH_NOFOLLOW : 0)
AT_CALL(mount_setattr, follow_unless(a[2]))
AT_CALL(statx, follow_unless(a[2]))

CALL(acct)
{
	return a[0] ? with_path(t, SYS_acct, a, (struct named){NO_DIRFD, 0, 0}) : LP_HOST(SYS_acct, 0);
}

CALL(inotify_add_watch)
{
	return with_path(t, SYS_inotify_add_watch, a,
			 (struct named){NO_DIRFD, 1, a[2] & IN_DONT_FOLLOW ? LP_PATH_NOFOLLOW : 0});
}

CALL(quotactl)
{
	return a[1] ? with_path(t, SYS_quotactl, a, (struct named){NO_DIRFD, 1, 0}) : lp_host_slow(t, SYS_quotactl, a);
}

CALL(utimensat)
{
	return a[1] ? with_path(t, SYS_utimensat, a, (struct named){0, 1, follow_unless(a[3])})
		    : lp_host_slow(t, SYS_utimensat, a);
}

CALL(fanotify_mark)
{
	return a[4] ? with_path(t, SYS_fanotify_mark, a,
				(struct named){3, 4, a[1] & FAN_MARK_DONT_FOLLOW ? LP_PATH_NOFOLLOW : 0})
		    : lp_host_slow(t, SYS_fanotify_mark, a);
}

/* The target of a link is text for who follows it. */
CALL(symlinkat)
{
	char target[PATH_MAX];
	uint64_t args[6] = {lp_arg_of(target), a[1], a[2]};
	ssize_t len = lp_arg_string(a[0], target, sizeof target);

	return len < 0 ? len
		       : with_path(t, SYS_symlinkat, args, (struct named){1, 2, LP_PATH_CREATE | LP_PATH_NOFOLLOW});
}

CALL(linkat)
{
	return with_paths(t, SYS_linkat, a, (struct named){0, 1, a[4] & AT_SYMLINK_FOLLOW ? 0 : LP_PATH_NOFOLLOW},
			  (struct named){2, 3, LP_PATH_CREATE | LP_PATH_NOFOLLOW});
}

CALL(renameat2)
{
	return with_paths(t, SYS_renameat2, a, (struct named){0, 1, LP_PATH_NOFOLLOW},
			  (struct named){2, 3, LP_PATH_CREATE | LP_PATH_NOFOLLOW});
}

CALL(renameat)
{
	return with_paths(t, SYS_renameat, a, (struct named){0, 1, LP_PATH_NOFOLLOW},
			  (struct named){2, 3, LP_PATH_CREATE | LP_PATH_NOFOLLOW});
}

CALL(move_mount)
{
	return with_paths(t, SYS_move_mount, a,
			  (struct named){0, 1, a[4] & MOVE_MOUNT_F_SYMLINKS ? 0 : LP_PATH_NOFOLLOW},
			  (struct named){2, 3, a[4] & MOVE_MOUNT_T_SYMLINKS ? 0 : LP_PATH_NOFOLLOW});
}

CALL(pivot_root)
{
	return with_paths(t, SYS_pivot_root, a, (struct named){NO_DIRFD, 0, 0}, (struct named){NO_DIRFD, 1, 0});
}

/* What is mounted need not be a path: "tmpfs". */
CALL(mount)
{
	char source[PATH_MAX];
	uint64_t args[6] = {a[0], a[1], a[2], a[3], a[4]};

	if (a[0]) {
		ssize_t len = lp_arg_string(a[0], source, sizeof source);
		if (len < 0)
			return len;
		if (source[0] == '/')
			return with_paths(t, SYS_mount, a, (struct named){NO_DIRFD, 0, 0},
					  (struct named){NO_DIRFD, 1, 0});
	}
	return with_path(t, SYS_mount, args, (struct named){NO_DIRFD, 1, 0});
}

/* The sysroot is not there any more, or is the root itself. */
CALL(chroot)
{
	int64_t rc = with_path(t, SYS_chroot, a, (struct named){NO_DIRFD, 0, 0});

	if (!rc)
		t->cpu.emu->options.sysroot = NULL;
	return rc;
}

CALL(getcwd)
{
	char path[PATH_MAX];
	int64_t len = LP_HOST(SYS_getcwd, lp_arg_of(path), sizeof path);

	if (len < 0)
		return len;
	lp_path_guest(t->cpu.emu, path);
	len = (int64_t)strlen(path) + 1;
	if ((uint64_t)len > a[1])
		return -ERANGE;
	return lp_arg_write(a[0], path, (size_t)len) ? -EFAULT : len;
}

/* /proc says where things are on the host. */
static bool tells_host_path(const char *path)
{
	return !strncmp(path, "/proc/", 6);
}

CALL(readlinkat)
{
	struct lp_path p;
	char target[PATH_MAX];
	int64_t len;
	int rc;

	if ((int)a[3] <= 0)
		return -EINVAL;
	rc = lp_path_get(t, (int)a[0], a[1], LP_PATH_NOFOLLOW, &p);
	if (rc < 0)
		return rc;
	len = lp_guest_proc_readlink(t, &p, target, sizeof target);
	if (len == -ENOSYS)
		len = LP_HOST_SLOW(t, SYS_readlinkat, (uint64_t)p.dirfd, lp_arg_of(p.text), lp_arg_of(target),
				   sizeof target - 1);
	if (len < 0)
		return len;
	target[len] = 0;
	if (tells_host_path(p.text)) {
		lp_path_guest(t->cpu.emu, target);
		len = (int64_t)strlen(target);
	}
	if (len > (int)a[3])
		len = (int)a[3];
	return lp_arg_write(a[2], target, (size_t)len) ? -EFAULT : len;
}

/* ---- opening ---- */

static unsigned open_how(uint64_t flags)
{
	bool creates = flags & O_CREAT;

	return (flags & O_NOFOLLOW || (creates && flags & O_EXCL) ? LP_PATH_NOFOLLOW : 0) |
	       (creates ? LP_PATH_CREATE : 0);
}

CALL(openat)
{
	uint64_t flags = lp_open_flags_host(a[2]);
	struct lp_path p;
	int rc = lp_path_get(t, (int)a[0], a[1], open_how(flags), &p);
	int64_t fd;

	if (rc < 0)
		return rc;
	fd = lp_guest_proc_open(t, &p, (int)flags);
	return fd != -ENOSYS ? fd : LP_HOST_WAIT(t, SYS_openat, (uint64_t)p.dirfd, lp_arg_of(p.text), flags, a[3]);
}

/* A caller that restricts how paths are resolved means what the kernel will find: such a path is not translated. */
CALL(openat2)
{
	enum { LARGEST = 4096 }; /* as the kernel: a page */
	struct open_how how = {0};
	struct lp_path p;
	char raw[LARGEST];
	int rc;

	if (a[3] < sizeof how)
		return -EINVAL;
	if (a[3] > sizeof raw)
		return -E2BIG;
	if (lp_arg_read(a[2], raw, a[3]))
		return -EFAULT;
	memcpy(&how, raw, sizeof how);
	how.flags = lp_open_flags_host(how.flags);
	memcpy(raw, &how, sizeof how);
	rc = lp_path_get(t, (int)a[0], a[1], open_how(how.flags), &p);
	if (rc < 0)
		return rc;
	return LP_HOST_WAIT(t, SYS_openat2, how.resolve ? a[0] : (uint64_t)p.dirfd,
			    lp_arg_of(how.resolve ? p.guest : p.text), lp_arg_of(raw), a[3]);
}

CALL(open_by_handle_at)
{
	return LP_HOST_SLOW(t, SYS_open_by_handle_at, a[0], a[1], lp_open_flags_host(a[2]));
}
