/* Files, directories, descriptors, locks. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "say.h"

static void show_stat(const char *what, const struct stat *st)
{
	printf("%s: mode %o nlink %lu size %ld blksize %ld rdev %lx mtime %ld.%09ld\n", what, st->st_mode,
	       (unsigned long)st->st_nlink, (long)st->st_size, (long)st->st_blksize, (unsigned long)st->st_rdev,
	       S_ISREG(st->st_mode) ? (long)st->st_mtim.tv_sec : 0L, S_ISREG(st->st_mode) ? st->st_mtim.tv_nsec : 0L);
}

static void stats(void)
{
	struct timespec times[2] = {{1000000000, 123456789}, {1234567890, 987654321}};
	struct stat st;
	struct statx stx;
	struct statfs fs;
	int fd;

	fd = (int)SAY(open("file", O_RDWR | O_CREAT | O_EXCL, 0640));
	SAY(open("file", O_RDWR | O_CREAT | O_EXCL, 0640));
	SAY(write(fd, "hello, world\n", 13));
	SAY(futimens(fd, times));
	SAY(fstat(fd, &st));
	show_stat("fstat", &st);
	SAY(stat("file", &st));
	show_stat("stat", &st);
	SAY(lstat("/dev/null", &st));
	show_stat("null", &st);
	SAY(stat("nothing", &st));
	SAY(fstatat(fd, "", &st, AT_EMPTY_PATH));
	show_stat("empty path", &st);
	SAY(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &stx));
	printf("statx: mask %x mode %o size %llu mtime %lld.%09u\n", stx.stx_mask & STATX_BASIC_STATS, stx.stx_mode,
	       (unsigned long long)stx.stx_size, (long long)stx.stx_mtime.tv_sec, stx.stx_mtime.tv_nsec);
	SAY(statfs(".", &fs));
	printf("namelen %ld bsize %ld\n", (long)fs.f_namelen, (long)fs.f_bsize);
	SAY(fstatfs(fd, &fs));
	SAY(chmod("file", 0600));
	SAY(fchmod(fd, 04711));
	SAY(chown("file", getuid(), getgid()));
	SAY(access("file", R_OK | W_OK));
	SAY(faccessat(AT_FDCWD, "nothing", F_OK, 0));
	SAY(faccessat(AT_FDCWD, "file", F_OK, AT_SYMLINK_NOFOLLOW));
	SAY(truncate("file", 5));
	SAY(ftruncate(fd, 7));
	SAY(fallocate(fd, 0, 0, 100));
	SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	SAY(lseek(fd, 0, SEEK_END));
	SAY(close(fd));
	SAY(close(fd));
	SAY(unlink("file"));
}

static void flags(void)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC};
	int fd = open(".", O_RDONLY | O_DIRECTORY);

	printf("directory: %s\n", fcntl(fd, F_GETFL) & O_DIRECTORY ? "O_DIRECTORY" : "-");
	close(fd);
	SAY(symlink("target", "link"));
	SAY(open("link", O_RDONLY | O_NOFOLLOW));
	SAY(open("link", O_RDONLY | O_DIRECTORY));
	fd = open("link", O_PATH | O_NOFOLLOW);
	printf("path: %s\n", fcntl(fd, F_GETFL) & O_NOFOLLOW ? "O_NOFOLLOW" : "-");
	close(fd);
	SAY(unlink("link"));
	fd = open("file", O_RDWR | O_CREAT | O_APPEND, 0600);
	printf("append %d nonblock %d\n", !!(fcntl(fd, F_GETFL) & O_APPEND), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
	printf("append %d nonblock %d\n", !!(fcntl(fd, F_GETFL) & O_APPEND), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	SAY(open("file", O_RDONLY | O_DIRECTORY));
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	printf("tmpfile: %s\n", fd >= 0 ? "ok" : strerrorname_np(errno));
	close(fd);
	fd = (int)RAW(openat2, AT_FDCWD, ".", &how, sizeof how);
	printf("openat2: %s, cloexec %d\n", fd >= 0 ? "ok" : strerrorname_np(errno), fcntl(fd, F_GETFD));
	close(fd);
	how.flags |= UINT64_C(1) << 62;
	SAY(RAW(openat2, AT_FDCWD, ".", &how, sizeof how));
	SAY(RAW(openat2, AT_FDCWD, ".", &how, 8));
	SAY(unlink("file"));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void directories(void)
{
	char *names[16], path[256], target[64] = "";
	size_t nr = 0;
	struct dirent *e;
	DIR *d;

	SAY(mkdir("dir", 0755));
	SAY(mkdir("dir", 0755));
	SAY(mkdirat(AT_FDCWD, "dir/sub", 0700));
	SAY(mknod("dir/fifo", S_IFIFO | 0600, 0));
	SAY(symlink("../somewhere", "dir/link"));
	SAY(readlink("dir/link", target, sizeof target));
	printf("-> %s\n", target);
	SAY(readlink("dir/link", target, 4));
	SAY(readlink("dir/link", target, 0));
	SAY(readlink("dir/sub", target, sizeof target));
	SAY(link("dir/fifo", "dir/other"));
	SAY(rename("dir/other", "dir/renamed"));
	SAY(RAW(renameat2, AT_FDCWD, "dir/renamed", AT_FDCWD, "dir/sub", 1));
	SAY(RAW(renameat2, AT_FDCWD, "dir/renamed", AT_FDCWD, "dir/sub", 2));
	d = opendir("dir");
	while (nr < 16 && (e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%d", e->d_name, e->d_type);
		names[nr++] = strdup(path);
	}
	closedir(d);
	qsort(names, nr, sizeof *names, by_name);
	for (size_t i = 0; i < nr; i++)
		printf("entry %s\n", names[i]);
	SAY(chdir("dir"));
	printf("%s\n", strcmp(getcwd(path, sizeof path) + strlen(where), "/dir") ? "elsewhere" : "in dir");
	SAY(RAW(getcwd, path, 3));
	SAY(chdir(".."));
	SAY(rmdir("dir"));
	SAY(unlinkat(AT_FDCWD, "dir/renamed", AT_REMOVEDIR));
	SAY(unlink("dir/sub"));
	SAY(unlink("dir/fifo"));
	SAY(unlink("dir/link"));
	SAY(rmdir("dir"));
}

static void data(void)
{
	struct iovec in[2] = {{(char *)"scatter", 7}, {(char *)"gather", 6}}, out[2];
	char a[8] = "", b[8] = "";
	int fd = open("data", O_RDWR | O_CREAT, 0600), other = open("other", O_RDWR | O_CREAT, 0600), p[2];
	off_t at = 3;
	loff_t from = 2, to = 1;

	SAY(writev(fd, in, 2));
	SAY(pwrite(fd, "XY", 2, 1));
	SAY(pread(fd, a, 5, 0));
	printf("%s\n", a);
	out[0] = (struct iovec){a, 7};
	out[1] = (struct iovec){b, 7};
	SAY(preadv(fd, out, 2, 0));
	printf("%.7s %s\n", a, b);
	SAY(pwritev(fd, in, 2, 100));
	SAY(preadv2(fd, out, 2, 100, 0));
	printf("%.7s %s\n", a, b);
	SAY(sendfile(other, fd, &at, 4));
	printf("at %ld\n", (long)at);
	SAY(copy_file_range(fd, &from, other, &to, 6, 0));
	SAY(pread(other, a, 7, 0));
	printf("%.7s\n", a);
	SAY(lseek(fd, 0, SEEK_HOLE));
	SAY(fsync(fd));
	SAY(fdatasync(fd));
	SAY(syncfs(fd));
	SAY(pipe(p));
	from = 0;
	SAY(splice(fd, &from, p[1], NULL, 5, 0));
	SAY(read(p[0], a, 8));
	printf("%.5s\n", a);
	SAY(vmsplice(p[1], in, 2, 0));
	SAY(read(p[0], a, 7));
	printf("%.7s\n", a);
	close(p[0]);
	close(p[1]);
	SAY(setxattr("data", "user.key", "value", 5, XATTR_CREATE));
	SAY(getxattr("data", "user.none", a, sizeof a));
	close(fd);
	close(other);
	unlink("data");
	unlink("other");
}

static void locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5};
	int fd = open("lock", O_RDWR | O_CREAT, 0600), second = open("lock", O_RDWR);

	SAY(fcntl(fd, F_SETLK, &lock));
	SAY(fcntl(fd, F_OFD_SETLK, &lock));
	lock.l_pid = 0;
	SAY(fcntl(second, F_OFD_SETLK, &lock));
	SAY(fcntl(second, F_OFD_GETLK, &lock));
	printf("type %d start %ld len %ld %s\n", lock.l_type, (long)lock.l_start, (long)lock.l_len,
	       lock.l_pid == getpid() ? "ours" : "not ours");
	SAY(flock(fd, LOCK_EX));
	SAY(flock(second, LOCK_EX | LOCK_NB));
	SAY(flock(fd, LOCK_UN));
	close(fd);
	close(second);
	unlink("lock");
}

static void descriptors(void)
{
	int p[2], fd;

	SAY(pipe2(p, O_CLOEXEC | O_NONBLOCK));
	SAY(fcntl(p[0], F_GETFD));
	SAY(read(p[0], &fd, 1));
	SAY(dup2(p[0], 20));
	SAY(dup3(p[0], 21, O_CLOEXEC));
	SAY(dup3(p[0], p[0], 0));
	SAY(fcntl(21, F_GETFD));
	SAY(fcntl(20, F_DUPFD, 30));
	SAY(fcntl(20, F_DUPFD_CLOEXEC, 30));
	SAY(fcntl(p[0], F_SETPIPE_SZ, 65536));
	SAY(RAW(close_range, 20, 40, 0));
	SAY(fcntl(21, F_GETFD));
	SAY(RAW(close_range, 40, 20, 0));
	SAY(RAW(close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
	SAY(fcntl(p[0], F_GETFD));
	SAY(RAW(close_range, 3, ~0U, 0));
	SAY(fcntl(p[0], F_GETFD));
	SAY(dup2(99, 3));
	SAY(dup2(1, 2000000000));
	SAY(printf("") + 1);
	fd = memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	SAY(ftruncate(fd, 10));
	SAY(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	SAY(fcntl(fd, F_GET_SEALS));
	SAY(ftruncate(fd, 20));
	close(fd);
}

int main(void)
{
	umask(022);
	enter();
	stats();
	flags();
	directories();
	data();
	locks();
	descriptors();
	leave();
	return 0;
}
