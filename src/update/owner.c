/*
 * dpkg's and pacman's lists are a file for each package, apk's is one for all;
 * rpm's are a database, which rpm is asked about.
 */
#include "update/owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/vec.h"
#include "update/trial.h"

#define RPM "/usr/bin/rpm"
#define RPM_MS 10000

static int owned(struct lp_err *err, const char *path, const char *package, size_t len, const char *by)
{
	return lp_fail(err, LP_EOWNED, "%s belongs to the package %.*s: update that, with %s", path, (int)len, package,
		       by);
}

/* Where /bin is a link to /usr/bin, packages may still call the file by the old name. */
static const char *other_name(const char *path)
{
	static const char *const merged[] = {"/usr/bin/", "/usr/sbin/", "/usr/lib/"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(merged); i++)
		if (!strncmp(path, merged[i], strlen(merged[i])))
			return path + strlen("/usr");
	return NULL;
}

static FILE *open_list(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	FILE *list = fd < 0 ? NULL : fdopen(fd, "r");

	if (!list)
		lp_close(fd);
	return list;
}

static bool has_line(FILE *list, const char *path, const char *other)
{
	char *line = NULL;
	size_t size = 0;
	bool has = false;

	while (!has && getline(&line, &size, list) > 0) {
		line[strcspn(line, "\n")] = 0;
		has = !strcmp(line, path) || (other && !strcmp(line, other));
	}
	free(line);
	return has;
}

/* ---- a list for each package ---- */

/* How a manager keeps them: in FOLDER, in files whose names end in `end`, or below it in folders with files of that name.
 * What it has in place of the slash that paths begin with is `skip` characters less. */
struct manager {
	const char *folder, *end, *program;
	bool below; /* PACKAGE/end in place of PACKAGEend */
	unsigned skip;
};

/* dpkg(1) FILES; pacman's alpm-files(5): relative paths below a heading. */
static const struct manager managers[] = {
	{"/var/lib/dpkg/info", ".list", "apt", false, 0},
	{"/var/lib/pacman/local", "/files", "pacman", true, 1},
};

/* The length of the package's name; 0: the entry is no list. */
static size_t package_of(const struct manager *m, const char *entry)
{
	size_t len = strlen(entry), end = strlen(m->end);

	if (m->below)
		return entry[0] == '.' ? 0 : len;
	return len > end && !strcmp(entry + len - end, m->end) ? len - end : 0;
}

static bool lists(const struct manager *m, int folder, const char *entry, const char *path)
{
	const char *other = other_name(path);
	char *name = m->below ? lp_sprintf("%s%s", entry, m->end) : lp_strdup(entry);
	FILE *list = open_list(folder, name);
	bool has = list && has_line(list, path + m->skip, other ? other + m->skip : NULL);

	if (list)
		fclose(list);
	lp_free(name);
	return has;
}

static int check_lists(const struct manager *m, const char *path, const char *root, struct lp_err *err)
{
	char *where = lp_sprintf("%s%s", root, m->folder);
	DIR *folder = opendir(where);
	struct dirent *e;
	int rc = 0;

	lp_free(where);
	while (rc == 0 && folder && (e = readdir(folder))) {
		size_t len = package_of(m, e->d_name);
		if (len && lists(m, dirfd(folder), e->d_name, path))
			rc = owned(err, path, e->d_name, len, m->program);
	}
	if (folder)
		closedir(folder);
	return rc;
}

/* ---- apk ---- */

/* apk-tools' /lib/apk/db/installed: P:PACKAGE, then F:FOLDER, each followed by the R:FILEs in it. */
static int check_apk(const char *path, const char *root, struct lp_err *err)
{
	char *where = lp_sprintf("%s/lib/apk/db/installed", root), *line = NULL, *package = NULL, *folder = NULL;
	FILE *list = open_list(AT_FDCWD, where);
	const char *name = strrchr(path, '/');
	size_t size = 0, len = name ? (size_t)(name - path) : 0;
	int rc = 0;

	lp_free(where);
	while (rc == 0 && list && len && getline(&line, &size, list) > 0) {
		char **keeps = *line == 'P' ? &package : *line == 'F' ? &folder : NULL;
		line[strcspn(line, "\n")] = 0;
		if (line[0] && line[1] == ':' && keeps) {
			lp_free(*keeps);
			*keeps = lp_strdup(line + 2);
		} else if (!strncmp(line, "R:", 2) && folder && package && !strcmp(line + 2, name + 1) &&
			   strlen(folder) == len - 1 && !strncmp(folder, path + 1, len - 1)) {
			rc = owned(err, path, package, strlen(package), "apk");
		}
	}
	free(line);
	lp_free(package);
	lp_free(folder);
	if (list)
		fclose(list);
	return rc;
}

/* ---- rpm ---- */

/* By rpm's kinds of database: sqlite, ndb, and that of Berkeley. */
static bool has_rpms(const char *folder)
{
	static const char *const files[] = {"rpmdb.sqlite", "Packages.db", "Packages"};
	bool has = false;

	for (size_t i = 0; !has && i < LP_ARRAY_SIZE(files); i++) {
		char *path = lp_sprintf("%s/%s", folder, files[i]);
		has = access(path, F_OK) == 0;
		lp_free(path);
	}
	return has;
}

/* Where a distribution keeps its own is said to rpm: Debian's would make a database in root's home. */
static int check_rpm(const char *path, struct lp_err *err)
{
	static const char *const folders[] = {"/usr/lib/sysimage/rpm", "/var/lib/rpm"};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < LP_ARRAY_SIZE(folders); i++) {
		const char *const argv[] = {"rpm", "--dbpath", folders[i], "-qf", path, NULL};
		struct lp_buf said = {0};
		if (has_rpms(folders[i]) && access(RPM, X_OK) == 0 && lp_trial(RPM, argv, RPM_MS, &said, NULL) == 0)
			rc = owned(err, path, lp_buf_cstr(&said), strcspn(lp_buf_cstr(&said), "\n"), "dnf or rpm");
		lp_buf_free(&said);
	}
	return rc;
}

int lp_owner_check(const char *path, const char *root, struct lp_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < LP_ARRAY_SIZE(managers); i++)
		rc = check_lists(&managers[i], path, root, err);
	rc = rc ? rc : check_apk(path, root, err);
	return rc || *root ? rc : check_rpm(path, err);
}
