/* What is executed in the end: scripts and their interpreters. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "emu/exec.h"
#include "emu/path.h"

enum {
	HEAD = 256, /* what the kernel looks at: BINPRM_BUF_SIZE */
	DEPTH = 5,  /* interpreters of interpreters */
};

/* ---- the file ---- */

static bool may_execute(int dirfd, const char *path)
{
	/* Not faccessat(): the C library does not pass AT_EMPTY_PATH on to old kernels. */
	long rc = syscall(SYS_faccessat2, dirfd, path, X_OK, AT_EACCESS | (*path ? 0 : AT_EMPTY_PATH));

	return rc == 0 || errno == ENOSYS;
}

/* Like open(), but also of a descriptor, and never of what would keep us waiting. */
static int open_file(int dirfd, const char *path, bool must_be_allowed)
{
	struct stat st;
	char link[48];

	if (fstatat(dirfd, path, &st, *path ? 0 : AT_EMPTY_PATH))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	if (must_be_allowed && !may_execute(dirfd, path))
		return -EACCES;
	if (!*path) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
		path = link;
	}
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* ---- #! ---- */

/* One line of at most 255 bytes: interpreter, and the rest as one argument ("" = none).  As the kernel reads it
 * (fs/binfmt_script.c): an interpreter that may have been cut off is none. */
static int parse_script(char *line, size_t len, char **interpreter, char **argument)
{
	char *end, *p;

	line[len] = 0;
	end = strchr(line, '\n');
	if (!end && !line[2 + strspn(line + 2, " \t") + strcspn(line + 2 + strspn(line + 2, " \t"), " \t")] &&
	    len == HEAD)
		return -ENOEXEC;
	if (end)
		*end = 0;
	for (end = line + strlen(line); end > line + 2 && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = 0;
	p = line + 2 + strspn(line + 2, " \t");
	if (!*p)
		return -ENOEXEC;
	*interpreter = p;
	p += strcspn(p, " \t");
	if (*p)
		*p++ = 0;
	*argument = p + strspn(p, " \t");
	return 0;
}

/* In front of what is already there: the interpreter of an interpreter comes first; the script takes the place of the
 * name under which its interpreter was called. */
static void put_before(struct lp_exec_file *f, const char *interpreter, const char *argument, const char *script)
{
	size_t nr = f->before.nr, more = *argument ? 2 : 1;

	for (size_t i = 0; i < more + (nr == 0); i++)
		(void)lp_vec_add(&f->before);
	if (nr)
		memmove(f->before.items + more, f->before.items, nr * sizeof(char *));
	else
		f->before.items[more] = lp_strdup(script);
	f->before.items[0] = lp_strdup(interpreter);
	if (*argument)
		f->before.items[1] = lp_strdup(argument);
}

/* From a script on to its interpreter. */
static int follow_script(const struct lp_emu *emu, struct lp_exec_file *f, char *head, size_t len, const char *name)
{
	char *interpreter, *argument;
	int rc = parse_script(head, len, &interpreter, &argument);

	if (rc)
		return rc;
	put_before(f, interpreter, argument, name);
	close(f->fd);
	f->fd = -1;
	f->dirfd = AT_FDCWD;
	if (strlen(interpreter) >= sizeof f->path)
		return -ENAMETOOLONG;
	lp_path_host(emu, interpreter, 0, f->path);
	return 0;
}

int lp_exec_follow(const struct lp_emu *emu, int dirfd, const char *path, const char *name, bool must_be_allowed,
		   struct lp_exec_file *out)
{
	*out = (struct lp_exec_file){.fd = -1, .dirfd = dirfd};
	snprintf(out->path, sizeof out->path, "%s", path);
	for (unsigned depth = 0; depth <= DEPTH; depth++) {
		char head[HEAD + 1];
		ssize_t len;
		int rc;

		out->fd = open_file(out->dirfd, out->path, must_be_allowed);
		if (out->fd < 0)
			return out->fd;
		len = pread(out->fd, head, HEAD, 0);
		if (len < 0)
			return -errno;
		out->kind = lp_program_kind(head, (size_t)len);
		if (out->kind != LP_PROGRAM_SCRIPT)
			return 0;
		rc = follow_script(emu, out, head, (size_t)len, name);
		if (rc)
			return rc;
	}
	return -ELOOP;
}

void lp_exec_file_close(struct lp_exec_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	for (size_t i = 0; i < f->before.nr; i++)
		lp_free(f->before.items[i]);
	lp_vec_free(&f->before);
}
