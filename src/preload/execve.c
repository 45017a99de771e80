/*
 * execve.so: LD_PRELOAD it, and libcare-server patches programs before their
 * main() runs.
 *
 *     LD_PRELOAD=/usr/lib/livepatch/execve.so LIBCARE_CTL_UNIX=/run/libcare.sock ./start-my-servers
 *
 * Before a program is executed the server is told who is about to, and by
 * which descriptor the new program will be connected to it; when the server
 * says that it watches, the exec goes on, and the new program waits at its
 * entry point until the server is done (src/proc/exec.c).  A program that was
 * started otherwise (posix_spawn, a parent without this library) finds
 * this library's constructor, which asks to be patched and waits there.
 *
 * This code runs in other people's programs, in children of vfork() and in
 * signal handlers: system calls and the stack, nothing else; errno is kept.  A
 * server that is not there costs one connect(); one that hangs costs PATIENCE
 * at each place where it is waited for.
 *
 * Not asked for: programs that gain privileges (being watched by somebody
 * without these would keep them from it), a thread other than the first, and
 * what does not go through the functions below.
 *
 *     LIBCARE_CTL_UNIX             the server's socket, /var/run/libcare.sock; "@name" for an abstract one
 *     KP_EXECVE_PATTERN            only programs whose path fits this pattern (fnmatch(3))
 *     KP_EXECVE_DISABLE            any value: do nothing
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATIENCE_SECONDS 10
#define DEFAULT_SOCKET "/var/run/libcare.sock"
#define PUBLIC __attribute__((visibility("default")))

/* The search along PATH is the C library's.  dlsym() takes locks and memory: once, early. */
static int (*real_execvpe)(const char *, char *const[], char *const[]);

static void find_real(void)
{
	real_execvpe = (__typeof__(real_execvpe))dlsym(RTLD_NEXT, "execvpe");
}

/* ---- talking to the server ---- */

static size_t put_number(char *out, unsigned n)
{
	char digits[12];
	size_t nr = 0, len = 0;
	do
		digits[nr++] = (char)('0' + n % 10);
	while (n /= 10);
	while (nr)
		out[len++] = digits[--nr];
	out[len++] = 0;
	return len;
}

/* A stream to the server with bounded waits, or -1.  Descriptors 0 to 2 are the program's own business. */
static int connect_server(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval patience = {PATIENCE_SECONDS, 0};
	const char *name = getenv("LIBCARE_CTL_UNIX");
	if (!name || !name[0])
		name = DEFAULT_SOCKET;
	size_t len = strlen(name);
	if (len >= sizeof a.sun_path)
		return -1;
	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = 0;
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (first < 0)
		return -1;
	int fd = fcntl(first, F_DUPFD_CLOEXEC, 3);
	close(first);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	socklen_t alen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] != '@'));
	if (connect(fd, (struct sockaddr *)&a, alen) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Where yama lets only ancestors trace, the server and its children need our leave. */
static void permit(int fd)
{
	struct ucred server;
	socklen_t len = sizeof server;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &server, &len) == 0 && server.pid > 1)
		prctl(PR_SET_PTRACER, (unsigned long)server.pid, 0, 0, 0);
}

static int say(int fd, const char *command, int with_descriptor)
{
	char text[64];
	size_t len = strlen(command) + 1;
	memcpy(text, command, len);
	len += put_number(text + len, (unsigned)getpid());
	if (with_descriptor)
		len += put_number(text + len, (unsigned)fd);
	text[len++] = 0;
	return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- before an exec ---- */

/* Traced by somebody without the privileges that it gains, it would not get them. */
static int gains_privileges(int dirfd, const char *path, int flags)
{
	struct stat st;
	char value[64];
	if (fstatat(dirfd, path, &st, flags & AT_EMPTY_PATH) < 0)
		return 1; /* not there, most often: the exec will say so */
	if (st.st_mode & (S_ISUID | S_ISGID))
		return 1;
	return dirfd == AT_FDCWD && getxattr(path, "security.capability", value, sizeof value) >= 0;
}

static int is_wanted(const char *path)
{
	const char *pattern = getenv("KP_EXECVE_PATTERN");
	return !getenv("KP_EXECVE_DISABLE") && (!pattern || fnmatch(pattern, path, 0) == 0);
}

/* The connection that the new program shall inherit, or -1: nobody watches. */
static int announce(int dirfd, const char *path, int flags)
{
	int saved = errno, fd = -1;
	char byte;
	if (syscall(SYS_gettid) == getpid() && is_wanted(path) && !gains_privileges(dirfd, path, flags))
		fd = connect_server();
	if (fd >= 0) {
		permit(fd);
		if (!say(fd, "execve", 1) || recv(fd, &byte, 1, 0) != 1 || fcntl(fd, F_SETFD, 0) < 0) {
			close(fd);
			fd = -1;
		}
	}
	errno = saved;
	return fd;
}

/* The exec has failed: nobody is to wait for the program. */
static int withdraw(int fd, int rc)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return rc;
}

/* Which file execvp() will find; it decides by itself, this is for asking. */
static const char *search(const char *file, char *out, size_t size)
{
	const char *path = getenv("PATH");
	if (strchr(file, '/'))
		return file;
	for (const char *p = path ? path : "/bin:/usr/bin"; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
		size_t dir = strcspn(p, ":"), len = strlen(file);
		if (dir + len + 2 > size)
			continue;
		memcpy(out, p, dir);
		if (dir)
			out[dir++] = '/';
		memcpy(out + dir, file, len + 1);
		if (access(out, X_OK) == 0)
			return out;
	}
	return file;
}

PUBLIC int execve(const char *path, char *const argv[], char *const envp[])
{
	int fd = announce(AT_FDCWD, path, 0);
	return withdraw(fd, (int)syscall(SYS_execve, path, argv, envp));
}

PUBLIC int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

PUBLIC int execvpe(const char *file, char *const argv[], char *const envp[])
{
	char found[4096];
	if (!real_execvpe)
		return execve(file, argv, envp);
	int fd = announce(AT_FDCWD, search(file, found, sizeof found), 0);
	return withdraw(fd, real_execvpe(file, argv, envp));
}

PUBLIC int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

PUBLIC int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	int fd = announce(dirfd, path, flags);
	return withdraw(fd, (int)syscall(SYS_execveat, dirfd, path, argv, envp, flags));
}

PUBLIC int fexecve(int program, char *const argv[], char *const envp[])
{
	return execveat(program, "", argv, envp, AT_EMPTY_PATH);
}

/* ---- arguments as a list ---- */

/* A list that somebody wrote into a program's text does not have so many. */
#define LIST_MAX 1024

/* The arguments as an array; the list ends with its NULL.  0, or -1 with errno. */
static int collect(char **argv, const char *first, va_list *ap)
{
	const char *arg = first;
	for (size_t i = 0; i < LIST_MAX; i++) {
		argv[i] = (char *)(size_t)arg;
		if (!arg)
			return 0;
		arg = va_arg(*ap, const char *);
	}
	errno = E2BIG;
	return -1;
}

PUBLIC int execl(const char *path, const char *arg, ...)
{
	va_list ap;
	char *argv[LIST_MAX];
	va_start(ap, arg);
	int rc = collect(argv, arg, &ap);
	va_end(ap);
	return rc < 0 ? rc : execve(path, argv, environ);
}

PUBLIC int execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	char *argv[LIST_MAX];
	va_start(ap, arg);
	int rc = collect(argv, arg, &ap);
	va_end(ap);
	return rc < 0 ? rc : execvpe(file, argv, environ);
}

PUBLIC int execle(const char *path, const char *arg, ...)
{
	va_list ap;
	char *argv[LIST_MAX];
	char *const *envp = NULL;
	va_start(ap, arg);
	int rc = collect(argv, arg, &ap);
	if (rc == 0)
		envp = va_arg(ap, char *const *);
	va_end(ap);
	return rc < 0 ? rc : execve(path, argv, envp);
}

/* ---- a program that nobody announced ---- */

/* The server has put something else in the place of the entry: it will have its say there. */
static int is_held(void)
{
	const char *phdr = (const char *)getauxval(AT_PHDR);
	if (!phdr)
		return 0;
	const Elf64_Ehdr *eh = (const void *)(phdr - sizeof *eh);
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_phoff != sizeof *eh)
		return 0;
	size_t base = (size_t)eh;
	size_t entry = getauxval(AT_ENTRY);
	return entry != eh->e_entry && entry != base + eh->e_entry;
}

__attribute__((constructor)) static void begin(void)
{
	int saved = errno;
	char path[4096], byte;
	find_real();
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n > 0 ? n : 0] = 0;
	int fd = is_held() || !is_wanted(path) || getauxval(AT_SECURE) ? -1 : connect_server();
	if (fd >= 0) {
		permit(fd);
		if (say(fd, "startup", 0))
			while (recv(fd, &byte, 1, 0) == 1)
				;
		close(fd);
	}
	errno = saved;
}
