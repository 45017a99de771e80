#include "update/update.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "elf/elf.h"
#include "update/install.h"
#include "update/names.h"
#include "update/owner.h"
#include "update/private.h"
#include "update/tell.h"
#include "update/trial.h"
#include "update/unpack.h"

#define USUAL_URL "https://api.github.com"
#define USUAL_STALL_S 30
#define KEY_FILE_MAX 4096
#define VERSION_MS 10000
#define SELF_TEST_MS 60000

static const char *const compiled_keys[] = {
#define UPDATE_REPOSITORY(name)
#define UPDATE_KEY(text) text,
#include "update/vendor.def"
#undef UPDATE_REPOSITORY
#undef UPDATE_KEY
	NULL};

static const char *const programs[] = {
#define PROGRAM(name) name,
#include "update/programs.def"
#undef PROGRAM
};

/* ---- opening ---- */

int lp_update_trusts_file(const char *path, struct lp_err *err)
{
	struct stat st;

	if (stat(path, &st))
		return lp_fail_sys(err, errno, "%s", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return lp_fail(err, LP_EUNTRUSTED,
			       "%s: somebody else may write it, and so say whose updates are good; it has to be root's "
			       "or yours "
			       "alone (chmod go-w)",
			       path);
	return 0;
}

static int read_key_file(const char *path, struct lp_key *out, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_update_trusts_file(path, err);

	rc = rc ? rc : lp_read_regular(path, path, &text, KEY_FILE_MAX, err);
	rc = rc ? rc : lp_key_read(lp_buf_cstr(&text), out, err);
	lp_buf_free(&text);
	return rc;
}

static int add_key(struct lp_update *u, const char *key, struct lp_err *err)
{
	struct lp_key read;
	int rc = *key == '/' ? read_key_file(key, &read, err) : lp_key_read(key, &read, err);

	if (rc)
		return lp_err_context(err, rc, "key %s", key);
	lp_vec_push(&u->keys, read);
	return 0;
}

static int add_keys(struct lp_update *u, const char *const *keys, struct lp_err *err)
{
	int rc = 0;

	for (; keys && *keys && rc == 0; keys++)
		rc = add_key(u, *keys, err);
	return rc;
}

static int complete(struct lp_update *u, struct lp_err *err)
{
	struct lp_update_options *o = &u->o;

	o->url = o->url ? o->url : USUAL_URL;
	o->repository = lp_update_repository(o->repository);
	o->stall_s = o->stall_s ? o->stall_s : USUAL_STALL_S;
	u->program = realpath(o->program, NULL);
	return u->program ? 0 : lp_fail_sys(err, errno, "%s", o->program);
}

int lp_update_open(struct lp_update **out, const struct lp_update_options *o, struct lp_err *err)
{
	struct lp_update *u = lp_alloc(sizeof *u);
	int rc;

	*u = (struct lp_update){.o = *o, .memory.folder = -1};
	rc = complete(u, err);
	rc = rc || lp_http_is_allowed(u->o.url, err) ? rc : -LP_ENETWORK;
	rc = rc ? rc : add_keys(u, compiled_keys, err);
	rc = rc ? rc : add_keys(u, u->o.keys, err);
	if (rc == 0 && u->o.repository)
		rc = lp_update_memory_open(&u->memory, u->o.repository, err);
	if (rc)
		lp_update_close(u);
	else
		*out = u;
	return rc;
}

void lp_update_close(struct lp_update *u)
{
	if (!u)
		return;
	lp_update_memory_close(&u->memory);
	lp_releases_free(&u->all);
	lp_vec_free(&u->keys);
	free(u->program);
	lp_free(u);
}

/* ---- what is installed ---- */

/* "NAME VERSION", as the first line. */
static bool read_said(const char *said, struct lp_version *out)
{
	char word[LP_VERSION_TEXT];
	const char *blank = strchr(said, ' ');
	size_t len = blank ? strcspn(blank + 1, " \n") : 0;

	if (!len || len >= sizeof word || (size_t)(blank - said) > strcspn(said, "\n"))
		return false;
	memcpy(word, blank + 1, len);
	word[len] = 0;
	return lp_version_read(word, out);
}

static int ask_version(const char *path, struct lp_version *out, struct lp_err *err)
{
	const char *const argv[] = {LP_PRODUCT, "--version", NULL};
	struct lp_buf said = {0};
	int rc = lp_trial(path, argv, VERSION_MS, &said, err);

	*out = (struct lp_version){0};
	if (rc == 0 && !read_said(lp_buf_cstr(&said), out))
		rc = lp_fail(err, LP_ETRIAL, "%s --version does not say a version", path);
	lp_buf_free(&said);
	return rc;
}

/* ---- looking ---- */

int lp_update_may_ask(const struct lp_update *u, struct lp_err *err)
{
	int64_t left = lp_update_put_off_s(&u->memory.state);

	if (!u->o.repository)
		return lp_fail(err, ENOENT, LP_NO_REPOSITORY);
	if (!left)
		return 0;
	return lp_fail(err, LP_ELIMITED,
		       "%s wants no questions for another %" PRId64 " s, as it said when it was asked last", u->o.url,
		       left);
}

static const struct lp_version *highest_of(struct lp_update *u)
{
	return u->o.rc_channel ? &u->memory.state.highest_rc : &u->memory.state.highest;
}

/* An older one under the name of the newest: somebody repeats what was true once. */
static int refuse_older(struct lp_update *u, const struct lp_version *offered, struct lp_err *err)
{
	char a[LP_VERSION_TEXT], b[LP_VERSION_TEXT];

	if (lp_version_compare(offered, highest_of(u)) >= 0)
		return 0;
	return lp_fail(err, LP_EDOWNGRADE,
		       "version %s is older than %s, which was offered with a good signature before: not installed",
		       lp_version_text(offered, a), lp_version_text(highest_of(u), b));
}

static int compare(struct lp_update *u, struct lp_update_found *out, struct lp_err *err)
{
	out->is_known = ask_version(u->program, &out->installed, NULL) == 0;
	out->all = &u->all;
	out->newest = lp_releases_newest(&u->all, u->o.rc_channel);
	out->is_newer = out->newest && lp_version_compare(&out->newest->version, &out->installed) > 0;
	return out->is_newer ? refuse_older(u, &out->newest->version, err) : 0;
}

static void remember_look(struct lp_update *u, const struct lp_update_found *found)
{
	struct lp_update_state *s = &u->memory.state;

	s->available = found->is_newer ? found->newest->version : (struct lp_version){0};
}

int lp_update_look(struct lp_update *u, struct lp_update_found *out, struct lp_err *err)
{
	int rc = lp_update_may_ask(u, err);

	*out = (struct lp_update_found){0};
	if (rc)
		return rc;
	lp_update_progress(u, LP_UPDATE_ASKS, 0, 0);
	rc = lp_update_ask_index(u, err);
	rc = rc ? rc : compare(u, out, err);
	if (rc)
		out->is_newer = false;
	else
		remember_look(u, out);
	u->memory.state.checked = time(NULL);
	lp_update_memory_save(&u->memory, NULL);
	return rc;
}

/* ---- installing ---- */

/* Only what had a good signature: an index can say what it likes. */
static void remember_highest(struct lp_update *u, const struct lp_release *r)
{
	struct lp_update_state *s = &u->memory.state;

	if (lp_version_compare(&r->version, &s->highest_rc) > 0)
		s->highest_rc = r->version;
	if (!r->is_candidate && lp_version_compare(&r->version, &s->highest) > 0)
		s->highest = r->version;
}

static int get_archive(struct lp_update *u, const struct lp_release *r, struct lp_buf *out, bool *was_signed,
		       struct lp_err *err)
{
	const struct lp_signed what = {&r->archive, &r->signature, &r->version};
	int rc = lp_update_get(u, &what, out, was_signed, err);

	if (rc || !*was_signed)
		return rc;
	remember_highest(u, r);
	return lp_update_memory_save(&u->memory, err);
}

static bool is_wanted(const char *name)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(programs); i++)
		if (!strcmp(programs[i], name))
			return true;
	return !strcmp(name, "VERSION");
}

static int check_version_file(int staging, const struct lp_version *v, struct lp_err *err)
{
	int fd = openat(staging, "VERSION", O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc;
	char a[LP_VERSION_TEXT];
	struct lp_buf text = {0};
	struct lp_version said;

	if (fd < 0)
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "VERSION");
	rc = lp_read_fd(fd, &text, 256, err);
	lp_close(fd);
	if (rc == 0) {
		char *line = lp_sprintf("%.*s", (int)strcspn(lp_buf_cstr(&text), " \n"), lp_buf_cstr(&text));
		if (!lp_version_read(line, &said) || lp_version_compare(&said, v) != 0)
			rc = lp_fail(err, LP_EARCHIVE, "the archive is refused: its VERSION is not %s",
				     lp_version_text(v, a));
		lp_free(line);
	}
	lp_buf_free(&text);
	return rc;
}

/* What the archive names its folder: as itself, without "-linux-...". */
static char *top_of(const struct lp_release *r)
{
	char *tail = lp_sprintf("-linux-%s.tar.gz", LP_UPDATE_MACHINE);
	char *top = lp_sprintf("%.*s", (int)(strlen(r->archive.name) - strlen(tail)), r->archive.name);

	lp_free(tail);
	return top;
}

struct expected {
	const struct lp_version *version; /* NULL: whichever */
	struct lp_version said;
};

/* Of lp_install_replace(). */
static int test_program(const char *path, void *arg, struct lp_err *err)
{
	const char *const argv[] = {LP_PRODUCT, "--self-test", NULL};
	char a[LP_VERSION_TEXT], b[LP_VERSION_TEXT];
	struct expected *e = arg;
	int rc = ask_version(path, &e->said, err);

	if (rc == 0 && e->version && lp_version_compare(&e->said, e->version) != 0)
		rc = lp_fail(err, LP_ETRIAL, "%s calls itself %s, not %s", path, lp_version_text(&e->said, a),
			     lp_version_text(e->version, b));
	rc = rc ? rc : lp_trial(path, argv, SELF_TEST_MS, NULL, err);
	return rc ? lp_err_context(err, rc, "the new program fails its self-test") : 0;
}

typedef LP_VEC(const char *) name_vec;

/* Those that the folder has and that stand beside the program. */
static int choose_programs(const struct lp_install *i, int folder, name_vec *out, struct lp_err *err)
{
	struct stat st;

	for (size_t k = 0; k < LP_ARRAY_SIZE(programs); k++)
		if (fstatat(folder, programs[k], &st, AT_SYMLINK_NOFOLLOW) == 0 && lp_install_has(i, programs[k]))
			lp_vec_push(out, programs[k]);
	if (!out->nr || strcmp(out->items[0], LP_PRODUCT) != 0)
		return lp_fail(err, LP_EARCHIVE, "the archive is refused: there is no " LP_PRODUCT " in it");
	return 0;
}

static int install_from(struct lp_update *u, struct lp_install *i, const struct lp_release *r,
			const struct lp_buf *archive, struct lp_err *err)
{
	struct expected expected = {.version = &r->version};
	char *top = top_of(r);
	name_vec names = {0};
	int staging, rc = lp_install_staging(i, &staging, err);

	lp_update_progress(u, LP_UPDATE_TRIES, 0, 0);
	rc = rc ? rc : lp_unpack(archive->data, archive->len, top, staging, is_wanted, &lp_unpack_usual, err);
	rc = rc ? rc : check_version_file(staging, &r->version, err);
	rc = rc ? rc : choose_programs(i, staging, &names, err);
	lp_update_progress(u, LP_UPDATE_REPLACES, 0, 0);
	rc = rc ? rc : lp_install_replace(i, names.items, names.nr, test_program, &expected, err);
	lp_vec_free(&names);
	lp_free(top);
	return rc == -LP_EARCHIVE ? lp_err_context(err, rc, "%s", r->archive.name) : rc;
}

static int check_release(const struct lp_release *r, struct lp_err *err)
{
	char text[LP_VERSION_TEXT];
	char *name;

	if (r->archive.name)
		return 0;
	name = lp_archive_name(&r->version, LP_UPDATE_MACHINE);
	lp_fail(err, LP_EINDEX, "release %s has nothing for this machine (%s)", lp_version_text(&r->version, text),
		name);
	lp_free(name);
	return -LP_EINDEX;
}

static void read_build_id(const char *path, char out[2 * LP_BUILD_ID_MAX + 1])
{
	struct lp_build_id id;
	struct lp_elf *e;

	*out = 0;
	if (lp_elf_open(&e, path, NULL))
		return;
	lp_elf_build_id(e, &id);
	if (id.len)
		lp_build_id_hex(&id, out);
	lp_elf_close(e);
}

static void after_change(struct lp_update *u, struct lp_install *i, struct lp_update_done *out)
{
	u->memory.state.available = (struct lp_version){0};
	u->memory.state.news[0] = 0;
	if (u->o.repository)
		lp_update_memory_save(&u->memory, NULL);
	out->recovered = lp_install_recovered(i);
	read_build_id(u->program, out->new_id);
	out->told = lp_update_tell(u->program, &out->to);
}

/* Of the program, and of all that is replaced with it. */
static int check_owner(struct lp_update *u, struct lp_err *err)
{
	int rc = lp_owner_check(u->program, "", err);

	for (size_t k = 1; k < LP_ARRAY_SIZE(programs) && rc == 0; k++) {
		char *path =
			lp_sprintf("%.*s/%s", (int)(strrchr(u->program, '/') - u->program), u->program, programs[k]);
		if (access(path, F_OK) == 0)
			rc = lp_owner_check(path, "", err);
		lp_free(path);
	}
	return rc;
}

int lp_update_may(struct lp_update *u, struct lp_err *err)
{
	struct lp_install *i = NULL;
	int rc = check_owner(u, err);

	rc = rc ? rc : lp_install_open(&i, u->program, err);
	lp_install_close(i);
	return rc;
}

/* Another one had the lock between our look and our turn: to replace it by itself would lose the one before. */
static bool is_there_meanwhile(const struct lp_update *u, const struct lp_release *r)
{
	struct lp_version installed;

	return ask_version(u->program, &installed, NULL) == 0 && lp_version_compare(&installed, &r->version) >= 0;
}

/* The lock is held while it is fetched: a second one does not fetch it, too. */
int lp_update_install(struct lp_update *u, const struct lp_update_found *found, struct lp_update_done *out,
		      struct lp_err *err)
{
	const struct lp_release *r = found->newest;
	struct lp_install *i = NULL;
	struct lp_buf archive = {0};
	int rc = check_release(r, err);

	*out = (struct lp_update_done){.from = found->installed, .to = r->version};
	rc = rc ? rc : check_owner(u, err);
	rc = rc ? rc : lp_install_open(&i, u->program, err);
	out->by_another = rc == 0 && is_there_meanwhile(u, r);
	if (rc == 0 && !out->by_another) {
		read_build_id(u->program, out->old_id);
		rc = get_archive(u, r, &archive, &out->was_signed, err);
		rc = rc ? rc : install_from(u, i, r, &archive, err);
		if (rc == 0)
			after_change(u, i, out);
	}
	lp_install_close(i);
	lp_buf_free(&archive);
	return rc;
}

int lp_update_rollback(struct lp_update *u, struct lp_update_done *out, struct lp_err *err)
{
	struct expected expected = {0};
	struct lp_install *i = NULL;
	int rc = check_owner(u, err);

	*out = (struct lp_update_done){0};
	rc = rc ? rc : lp_install_open(&i, u->program, err);
	if (rc)
		return rc;
	ask_version(u->program, &out->from, NULL);
	read_build_id(u->program, out->old_id);
	rc = lp_install_rollback(i, programs, LP_ARRAY_SIZE(programs), test_program, &expected, err);
	out->to = expected.said;
	if (rc == 0)
		after_change(u, i, out);
	lp_install_close(i);
	return rc;
}

int lp_update_recover(struct lp_update *u, struct lp_err *err)
{
	struct lp_install *i = NULL;
	int rc = lp_install_is_unfinished(u->program) ? lp_install_open(&i, u->program, err) : 0;

	lp_install_close(i);
	return rc;
}

void lp_update_leave_news(struct lp_update *u, const char *sentence)
{
	snprintf(u->memory.state.news, sizeof u->memory.state.news, "%s", sentence);
	lp_update_memory_save(&u->memory, NULL);
}
