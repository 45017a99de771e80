/*
 * The patches of a folder that are for what the guest has loaded: files called
 * by a build-id, as update_module puts them there.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/vec.h"
#include "core/target.h"
#include "runner/private.h"

/* Whoever can write there decides what the program does. */
static int check_trust(const char *path, struct lp_err *err)
{
	struct stat st;

	if (stat(path, &st))
		return lp_fail_sys(err, errno, "%s", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return lp_fail(err, LP_EUNTRUSTED,
			       "%s: somebody else may write here; patches from it are not applied (chmod go-w)", path);
	return 0;
}

static int take_file(char *path, lp_config_paths *out, struct lp_err *err)
{
	int rc = access(path, F_OK) ? -ENOENT : check_trust(path, err);

	if (rc == 0)
		lp_vec_push(out, path);
	else
		lp_free(path);
	return rc == -ENOENT ? 0 : rc;
}

/* Machine code before what may build on it. */
static int take_files(const struct lp_image *image, const char *folder, lp_config_paths *out, struct lp_err *err)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	struct lp_build_id id = {0};
	int rc;

	if (image->elf)
		lp_elf_build_id(image->elf, &id);
	if (!id.len)
		return 0;
	lp_build_id_hex(&id, hex);
	rc = take_file(lp_sprintf("%s/%s.kpatch", folder, hex), out, err);
	return rc ? rc : take_file(lp_sprintf("%s/%s.json", folder, hex), out, err);
}

int lp_fitting_find(struct lp_target *t, const char *folder, lp_config_paths *out, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr = 0;
	int rc = check_trust(folder, err);

	if (rc == -ENOENT) /* nothing has been fetched yet */
		return 0;
	rc = rc ? rc : t->ops->images(t, &images, &nr, err);
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = take_files(&images[i], folder, out, err);
	return rc;
}
