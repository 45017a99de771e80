/*
 * dpkg's lists are lines in files; rpm's are a database, which rpm is asked
 * about.  Others (pacman, apk) are not known here.
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

/* Where /bin is a link to /usr/bin, packages may still call the file by the old name. */
static const char *other_name(const char *path)
{
	static const char *const merged[] = {"/usr/bin/", "/usr/sbin/", "/usr/lib/"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(merged); i++)
		if (!strncmp(path, merged[i], strlen(merged[i])))
			return path + strlen("/usr");
	return NULL;
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

static bool lists(int folder, const char *name, const char *path)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
	bool has = list && has_line(list, path, other_name(path));

	if (list)
		fclose(list);
	else
		lp_close(fd);
	return has;
}

static int check_dpkg(const char *path, const char *root, struct lp_err *err)
{
	char *where = lp_sprintf("%s/var/lib/dpkg/info", root);
	DIR *info = opendir(where);
	struct dirent *e;
	int rc = 0;

	lp_free(where);
	while (rc == 0 && info && (e = readdir(info))) {
		char *dot = strrchr(e->d_name, '.');
		if (dot && !strcmp(dot, ".list") && lists(dirfd(info), e->d_name, path))
			rc = lp_fail(err, LP_EOWNED, "%s belongs to the package %.*s: update that, with apt", path,
				     (int)(dot - e->d_name), e->d_name);
	}
	if (info)
		closedir(info);
	return rc;
}

static int check_rpm(const char *path, const char *root, struct lp_err *err)
{
	const char *const argv[] = {"rpm", "-qf", path, NULL};
	struct lp_buf said = {0};
	int rc = 0;

	if (!*root && access(RPM, X_OK) == 0 && lp_trial(RPM, argv, RPM_MS, &said, NULL) == 0)
		rc = lp_fail(err, LP_EOWNED, "%s belongs to the package %.*s: update that, with dnf or rpm", path,
			     (int)strcspn(lp_buf_cstr(&said), "\n"), lp_buf_cstr(&said));
	lp_buf_free(&said);
	return rc;
}

int lp_owner_check(const char *path, const char *root, struct lp_err *err)
{
	int rc = check_dpkg(path, root, err);

	return rc ? rc : check_rpm(path, root, err);
}
