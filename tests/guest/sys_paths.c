/* What a program sees of the tree: each argument is a verb with a path, "cat:/etc/motd". */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "say.h"

static void cat(const char *path)
{
	char text[256];
	int fd = open(path, O_RDONLY);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (len < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%.*s\n", (int)len, text);
	close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void ls(const char *path)
{
	struct dirent **entries;
	int nr = scandir(path, &entries, NULL, by_name);

	for (int i = 2; i < nr; i++)
		printf("%s ", entries[i]->d_name);
	printf("%s\n", nr < 0 ? strerrorname_np(errno) : "");
}

static void cd(const char *path)
{
	char here[PATH_MAX];

	if (chdir(path))
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%s\n", getcwd(here, sizeof here));
}

static void make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	printf("%s\n", fd < 0 || write(fd, "made", 4) != 4 ? strerrorname_np(errno) : "made");
	close(fd);
}

static void kind(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%s\n", S_ISLNK(st.st_mode) ? "link" : S_ISDIR(st.st_mode) ? "directory" : "file");
}

static void real(const char *path)
{
	char whole[PATH_MAX];

	printf("%s\n", realpath(path, whole) ? whole : strerrorname_np(errno));
}

/* The name that /proc has for an open file. */
static void fd_name(const char *path)
{
	char link[64], name[PATH_MAX] = "";
	int fd = open(path, O_RDONLY);

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (readlink(link, name, sizeof name - 1) < 0)
		snprintf(name, sizeof name, "%s", strerrorname_np(errno));
	printf("%s\n", name);
	close(fd);
}

static void removed(const char *path)
{
	printf("%s\n", unlink(path) ? strerrorname_np(errno) : "removed");
}

static void renamed(const char *path)
{
	char other[PATH_MAX];

	snprintf(other, sizeof other, "%s.renamed", path);
	printf("%s\n", rename(path, other) ? strerrorname_np(errno) : "renamed");
}

static void at(const char *path)
{
	char copy[PATH_MAX], *slash, text[64] = "";
	int dir, fd;

	snprintf(copy, sizeof copy, "%s", path);
	slash = strrchr(copy, '/');
	*slash = 0;
	dir = open(copy, O_RDONLY | O_DIRECTORY);
	fd = openat(dir, slash + 1, O_RDONLY);
	printf("%s\n", fd < 0 || read(fd, text, sizeof text - 1) < 0 ? strerrorname_np(errno) : text);
	close(fd);
	close(dir);
}

static void run(const char *path)
{
	int status = 0;
	pid_t child = fork();

	if (!child) {
		execl(path, path, "cat:/etc/own", NULL);
		printf("%s\n", strerrorname_np(errno));
		fflush(stdout);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("status %d\n", WEXITSTATUS(status));
}

static void talk(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	SAY(bind(s, (struct sockaddr *)&un, sizeof un));
	SAY(listen(s, 1));
	SAY(connect(c, (struct sockaddr *)&un, sizeof un));
	close(s);
	close(c);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *verb;
		void (*run)(const char *path);
	} verbs[] = {{"cat", cat},	  {"ls", ls},	  {"cd", cd},	   {"make", make},
		     {"kind", kind},	  {"real", real}, {"fd", fd_name}, {"remove", removed},
		     {"rename", renamed}, {"at", at},	  {"run", run},	   {"talk", talk}};

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		char *path = strchr(argv[i], ':');

		if (!path)
			return 2;
		*path++ = 0;
		for (size_t v = 0; v < sizeof verbs / sizeof *verbs; v++)
			if (!strcmp(verbs[v].verb, argv[i]))
				verbs[v].run(path);
	}
	return 0;
}
