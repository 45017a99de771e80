#include "tool/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"

/* The kernel's spelling of a memfd's name in maps.  Whether it is a ledger is for the core to say. */
#define LEDGER_IN_MAPS "/memfd:livepatch-ledger"

/* Numbered entries of a /proc directory, in ascending order as the kernel gives them. */
static int numbers_in(const char *path, pid_vec *out)
{
	DIR *dir = opendir(path);
	if (!dir)
		return -errno;
	uint64_t n;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir))
		if (parse_decimal(e->d_name, INT_MAX, &n))
			lp_vec_push(out, (pid_t)n);
	closedir(dir);
	return 0;
}

void process_threads(pid_t pid, thread_vec *out)
{
	char path[64];
	pid_vec tids = {0};
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	numbers_in(path, &tids);
	for (size_t i = 0; i < tids.nr; i++) {
		struct lp_buf name = {0};
		struct thread_info *t = lp_vec_add(out);
		t->tid = tids.items[i];
		snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, t->tid);
		if (lp_read_file(path, &name, 64, NULL) == 0)
			snprintf(t->name, sizeof t->name, "%.*s", (int)strcspn(lp_buf_cstr(&name), "\n"),
				 lp_buf_cstr(&name));
		lp_buf_free(&name);
	}
	lp_vec_free(&tids);
}

void process_exe(pid_t pid, char *out, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	ssize_t n = readlink(path, out, size - 1);
	out[n < 0 ? 0 : n] = 0;
}

enum sight { NOT_PATCHED, PERHAPS_PATCHED, NOT_READABLE };

/* Line by line: the maps of a big process are megabytes. */
static enum sight look_at(pid_t pid)
{
	char path[64], *line = NULL;
	size_t cap = 0;
	enum sight seen = NOT_PATCHED;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return errno == EACCES || errno == EPERM ? NOT_READABLE : NOT_PATCHED;
	while (seen == NOT_PATCHED && getline(&line, &cap, maps) > 0)
		if (strstr(line, LEDGER_IN_MAPS))
			seen = PERHAPS_PATCHED;
	free(line);
	fclose(maps);
	return seen;
}

int processes_patched(pid_vec *out, size_t *unreadable, struct lp_err *err)
{
	pid_vec all = {0};
	*unreadable = 0;
	int rc = numbers_in("/proc", &all);
	if (rc < 0)
		return lp_fail_sys(err, rc, "cannot read /proc");
	for (size_t i = 0; i < all.nr; i++) {
		enum sight seen = look_at(all.items[i]);
		*unreadable += seen == NOT_READABLE;
		if (seen == PERHAPS_PATCHED)
			lp_vec_push(out, all.items[i]);
	}
	lp_vec_free(&all);
	return 0;
}
