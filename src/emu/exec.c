#include "emu/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdio.h"
#include "emu/path.h"

enum { WORDS_MAX = 1 << 21, NUMBER = 16, ROOM = 16 };

/* One execve.  In a vfork child it is the parent's memory that all of this is in: kept in the thread, so that the
 * parent frees it. */
struct attempt {
	struct lp_path path;
	char name[PATH_MAX + NUMBER]; /* what the program is told as the file's name */
	struct lp_exec_file file;
	char fd_text[NUMBER], nofile_text[2 * NUMBER];
	rlim_t nofile;		   /* the guest's limit of descriptors, while it is more than that; else 0 */
	LP_VEC(const char *) argv; /* strings of ours, and the guest's own: the kernel looks at both */
};

/* ---- descriptors ---- */

/*
 * The kernel executes a program for who has no descriptor left; a runner has to
 * open it.  So it gets a few more than the guest may have, if the hard limit
 * lets it; the runner that comes next loads the program with them and goes back.
 */
static bool has_more_room(struct attempt *a)
{
	struct rlimit limit;
	rlim_t was;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= limit.rlim_max)
		return false;
	was = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max - was > ROOM ? was + ROOM : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return false;
	a->nofile = was;
	return true;
}

static void give_room_back(struct attempt *a)
{
	struct rlimit limit;

	if (!a->nofile || getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = a->nofile;
	setrlimit(RLIMIT_NOFILE, &limit);
	a->nofile = 0;
}

/* ---- which file ---- */

/* "/dev/fd/N", "/dev/fd/N/path" for a file that was named by a descriptor, as the kernel calls it. */
static void name_of(struct attempt *a, int dirfd)
{
	if (!*a->path.guest)
		snprintf(a->name, sizeof a->name, "/dev/fd/%d", dirfd);
	else if (dirfd == AT_FDCWD || *a->path.guest == '/')
		snprintf(a->name, sizeof a->name, "%s", a->path.guest);
	else
		snprintf(a->name, sizeof a->name, "/dev/fd/%d/%s", dirfd, a->path.guest);
}

static int find(struct lp_guest_thread *t, struct attempt *a, int dirfd, uint64_t path, int flags)
{
	unsigned how = flags & AT_SYMLINK_NOFOLLOW ? LP_PATH_NOFOLLOW : 0;
	struct stat st;
	int rc;

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	rc = lp_path_get(t, dirfd, path, how, &a->path);
	if (rc)
		return rc;
	if (!*a->path.guest && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	name_of(a, dirfd);
	if (how && !fstatat(a->path.dirfd, a->path.text, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode))
		return -ELOOP;
	return lp_exec_follow(t->cpu.emu, a->path.dirfd, a->path.text, a->name, true, &a->file);
}

/* The interpreter of a script could not open "/dev/fd/N" any more. */
static bool script_will_be_gone(const struct attempt *a, int dirfd)
{
	int fd_flags = a->file.before.nr && !strncmp(a->name, "/dev/fd/", 8) ? fcntl(dirfd, F_GETFD) : 0;

	return fd_flags >= 0 && fd_flags & FD_CLOEXEC;
}

/* What the kernel would refuse while the old program still runs. */
static int check_program(const struct lp_emu *emu, int fd)
{
	struct lp_program p;
	char host[PATH_MAX];
	int rc = 0;

	if (lp_program_read(&p, fd, "", NULL))
		return -ENOEXEC;
	if (p.interpreter) {
		lp_path_host(emu, p.interpreter, 0, host);
		rc = access(host, R_OK) ? -errno : 0;
	}
	lp_program_free(&p);
	return rc;
}

/* ---- arguments ---- */

static void add(struct attempt *a, const char *word)
{
	lp_vec_push(&a->argv, word);
}

/* The guest's words from argv[first] on: not looked at, the kernel does. */
static int add_guest_words(struct attempt *a, uint64_t argv, size_t first)
{
	uint64_t word = 0;

	for (size_t i = first; argv; i++) {
		if (lp_mem_get(argv + i * sizeof word, &word))
			return -EFAULT;
		if (!word)
			break;
		if (i > WORDS_MAX)
			return -E2BIG;
		/* A pointer with a tag is none to the kernel: not untagged here. */
		add(a, (const char *)word);
	}
	return 0;
}

/* argv[0] as the guest gave it: NULL when there is not even that. */
static int guest_first_word(uint64_t argv, const char **word)
{
	*word = NULL;
	return argv && lp_mem_get(argv, word) ? -EFAULT : 0;
}

/* The runner and its options: the program comes as an open file, so that it is the one that was looked at. */
static void add_runner(const struct lp_emu *emu, struct attempt *a)
{
	char *const *option = emu->options.again;

	add(a, emu->options.self ? emu->options.self : "arm64_runner");
	for (; option && *option; option++)
		add(a, *option);
	snprintf(a->fd_text, sizeof a->fd_text, "%d", a->file.fd);
	add(a, "--exec-fd");
	add(a, a->fd_text);
	if (a->nofile) {
		snprintf(a->nofile_text, sizeof a->nofile_text, "%llu", (unsigned long long)a->nofile);
		add(a, "--exec-nofile");
		add(a, a->nofile_text);
	}
	add(a, "--argv0");
}

static int make_argv(const struct lp_emu *emu, struct attempt *a, uint64_t argv)
{
	bool by_runner = a->file.kind == LP_PROGRAM_GUEST;
	const char *first;
	int rc = guest_first_word(argv, &first);

	if (rc)
		return rc;
	if (by_runner)
		add_runner(emu, a);
	if (a->file.before.nr)
		add(a, a->file.before.items[0]);
	else
		add(a, first ? first : "");
	if (by_runner) {
		add(a, "--");
		add(a, a->name);
	}
	for (size_t i = 1; i < a->file.before.nr; i++)
		add(a, a->file.before.items[i]);
	rc = first ? add_guest_words(a, argv, 1) : 0;
	add(a, NULL);
	return rc;
}

/* ---- execve ---- */

/* Behind it there is no emulator any more: a signal that has been noted would be lost with it, so it comes first. */
static int execute(struct lp_guest_thread *t, struct attempt *a, uint64_t envp)
{
	const struct lp_emu *emu = t->cpu.emu;
	bool by_runner = a->file.kind == LP_PROGRAM_GUEST;
	const char *runner = emu->options.self ? emu->options.self : "/proc/self/exe";
	const uint64_t args[6] = {
		(uint64_t)(int64_t)(by_runner ? AT_FDCWD : a->file.dirfd),
		(uint64_t)(by_runner ? runner : a->file.path),
		(uint64_t)a->argv.items,
		envp,
		!by_runner && !*a->file.path ? AT_EMPTY_PATH : 0,
	};
	int rc;

	if (!t->is_vfork_child)
		lp_emu_tell(t->cpu.emu, executing, t->cpu.emu);
	lp_signals_exec_begin(t);
	if (by_runner)
		fcntl(a->file.fd, F_SETFD, 0);
	else
		give_room_back(a);
	rc = (int)lp_safe_syscall(t, SYS_execveat, args);
	lp_signals_exec_failed(t);
	return rc;
}

static int attempt(struct lp_guest_thread *t, struct attempt *a, int dirfd, uint64_t path, uint64_t argv, uint64_t envp,
		   int flags)
{
	int rc = find(t, a, dirfd, path, flags);

	if (rc == 0 && script_will_be_gone(a, dirfd))
		rc = -ENOENT;
	if (rc == 0 && a->file.kind == LP_PROGRAM_GUEST) {
		/* The guest may have closed its standard streams: the runner that comes holds those numbers. */
		a->file.fd = lp_fd_aside(a->file.fd);
		rc = a->file.fd < 0 ? -errno : check_program(t->cpu.emu, a->file.fd);
	}
	if (rc == 0)
		rc = make_argv(t->cpu.emu, a, argv);
	return rc ? rc : execute(t, a, envp);
}

void lp_exec_forget(struct lp_guest_thread *t)
{
	struct attempt *a = t->exec;

	if (!a)
		return;
	/* The descriptor was the vfork child's, or is closed. */
	a->file.fd = -1;
	lp_exec_file_close(&a->file);
	lp_vec_free(&a->argv);
	lp_free(a);
	t->exec = NULL;
}

int64_t lp_exec(struct lp_guest_thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp, int flags)
{
	struct attempt *a = t->exec = lp_alloc(sizeof *a);
	int rc;

	a->file.fd = -1;
	rc = attempt(t, a, dirfd, path, argv, envp, flags);
	if (rc == -EMFILE && has_more_room(a)) {
		lp_exec_file_close(&a->file);
		a->argv.nr = 0;
		rc = attempt(t, a, dirfd, path, argv, envp, flags);
		give_room_back(a);
	}
	lp_close(a->file.fd);
	lp_exec_forget(t);
	return rc;
}
