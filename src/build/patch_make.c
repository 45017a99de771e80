#include "build/patch_make.h"
#include "build/group.h"
#include "build/guardian.h"
#include "build/kpatch_strip.h"
#include "build/patch_backup.h"
#include "build/patch_objects.h"
#include "build/remove.h"
#include "build/run.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"

#define ARGS_MAX 16
#define PREFIX ".kpatch_"

struct make {
	const struct lp_patch_make_opts *o;
	struct lp_err *err;
	struct lp_buf empty;		  /* names of files that are empty without any patch */
	int lock;			  /* file in the tree that holds them, too, for whoever comes after a SIGKILL */
	struct lp_patch_objects *objects; /* NULL with `assembly` */
	struct lp_guardian guardian;
	size_t made, unseen;
};

static void say(const struct make *m, enum lp_patch_make_line kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const struct make *m, enum lp_patch_make_line kind, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	m->o->say(m->o->arg, kind, line);
}

static int stopped(const struct make *m)
{
	return m->o->interrupted && *m->o->interrupted
		       ? lp_fail(m->err, LP_EINTERRUPTED, "interrupted by signal %d", (int)*m->o->interrupted)
		       : 0;
}

/* ---- children ---- */

struct child {
	const char *argv[ARGS_MAX];
	size_t nr;
	const char *input; /* file for standard input, NULL = ours */
	const char *dir;   /* NULL = here */
	bool both;	   /* standard error goes where standard output goes */
	bool group; /* a process group of its own: what it starts is ended with it, and it does not read the terminal */
	bool locks; /* it changes the sources, and holds the tree until it has ended, whatever becomes of us */
};

static void arg(struct child *c, const char *word)
{
	if (word && c->nr + 1 < ARGS_MAX)
		c->argv[c->nr++] = word;
}

static void tell_to_end(pid_t pid, bool group)
{
	if (group)
		lp_groups_terminate(&pid, 1);
	else
		kill(pid, SIGTERM);
}

static int wait_for(struct make *m, pid_t pid, bool group)
{
	int status;
	bool told = false;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return lp_fail_sys(m->err, errno, "cannot wait for a child");
		if (stopped(m) && !told) /* the signal may have been for us alone */
			tell_to_end(pid, group);
		told = true;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* make and what it runs keep their TMPDIR; the compilers among them are given ours by libcare-cc. */
static void child_environment(lp_env_vec *env, const struct make *m, const struct child *c)
{
	lp_env_copy(env, environ);
	if (!c->group && m->guardian.temporary)
		lp_env_set(env, "TMPDIR", m->guardian.temporary);
	lp_env_end(env);
}

/* Exit status, or negative. */
static int run(struct make *m, const struct child *c)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	lp_env_vec env = {0};
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	if (c->input)
		posix_spawn_file_actions_addopen(&actions, 0, c->input, O_RDONLY, 0);
	if (c->both)
		posix_spawn_file_actions_adddup2(&actions, 1, 2);
	if (c->locks)
		posix_spawn_file_actions_adddup2(&actions, m->lock, m->lock);
	if (c->dir)
		posix_spawn_file_actions_addchdir_np(&actions, c->dir);
	posix_spawnattr_init(&attributes);
	if (c->group)
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	child_environment(&env, m, c);
	int error = posix_spawnp(&pid, c->argv[0], &actions, &attributes, (char *const *)c->argv, env.items);
	lp_env_free(&env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (error)
		return lp_fail_sys(m->err, error, "cannot run %s", c->argv[0]);
	if (c->group)
		lp_guardian_tell(&m->guardian, pid);
	int status = wait_for(m, pid, c->group);
	if (c->group && kill(-pid, 0) < 0) /* the group outlives its leader */
		lp_guardian_tell(&m->guardian, -pid);
	int rc = stopped(m);
	return rc ? rc : status;
}

/* ---- make ---- */

static int run_make(struct make *m, const char *goal, const char *assignment)
{
	char *jobs = m->o->jobs ? lp_sprintf("-j%s", m->o->jobs) : NULL;
	struct child c = {.both = true, .group = true};
	arg(&c, "make");
	if (!access("lpmakefile", F_OK)) {
		arg(&c, "-f");
		arg(&c, "lpmakefile");
	}
	arg(&c, jobs);
	arg(&c, goal);
	arg(&c, assignment);
	int rc = run(m, &c);
	lp_free(jobs);
	if (rc > 0)
		return lp_fail(m->err, LP_EREMOTE, "make%s%s failed with status %d", goal ? " " : "", goal ? goal : "",
			       rc);
	return rc;
}

static int install_into(struct make *m, const char *dir)
{
	char *assignment = lp_sprintf("%s=%s", m->o->destdir ? m->o->destdir : "DESTDIR", dir);
	int rc = run_make(m, "install", assignment);
	lp_free(assignment);
	return rc;
}

/* ---- directories ---- */

static int make_directory(const char *path, struct lp_err *err)
{
	char *copy = lp_strdup(path);
	int rc = 0;
	for (char *p = copy + 1; !rc; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			rc = lp_fail_sys(err, errno, "cannot make directory %s", copy);
		*p = c;
		if (!c)
			break;
	}
	lp_free(copy);
	return rc;
}

/* ---- source patches ---- */

static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	lp_close(fd);
	return fd >= 0;
}

static int try_strip_count(struct make *m, const char *patch, const char *strip)
{
	struct child c = {.input = patch, .dir = m->o->srcdir};
	static const char *const words[] = {"patch", "--dry-run", "--batch", "--forward", "--silent", "-r", "-"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(words); i++)
		arg(&c, words[i]);
	arg(&c, strip);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), out = dup(1), errors = dup(2);
	dup2(null, 1);
	dup2(null, 2);
	int rc = run(m, &c);
	dup2(out, 1);
	dup2(errors, 2);
	lp_close(null);
	lp_close(out);
	lp_close(errors);
	return rc;
}

/* With nobody to ask, what patch(1) would ask is found out: how many directories to leave out. */
static const char *strip_count(struct make *m, const char *patch)
{
	static const char *const counts[] = {"-p1", "-p0", "-p2", "-p3"};
	if (has_terminal())
		return counts[0];
	for (size_t i = 0; i < LP_ARRAY_SIZE(counts); i++)
		if (!try_strip_count(m, patch, counts[i]))
			return counts[i];
	return counts[0];
}

static int apply_patch(struct make *m, size_t i)
{
	const char *patch = m->o->patches[i];
	char *real = realpath(patch, NULL), *suffix = lp_sprintf(".%zu%s", i, BACKUP_SUFFIX);
	if (!real) {
		int error = errno;
		lp_free(suffix);
		return lp_fail_sys(m->err, error, "cannot read %s", patch);
	}
	say(m, LP_MAKE_APPLYING, "applying %s...", patch);
	struct child c = {.input = real, .dir = m->o->srcdir, .locks = true};
	arg(&c, "patch");
	arg(&c, "-b");
	arg(&c, "-z");
	arg(&c, suffix);
	arg(&c, strip_count(m, real));
	arg(&c, "-r");
	arg(&c, "-");
	int rc = run(m, &c);
	free(real);
	lp_free(suffix);
	return rc > 0 ? lp_fail(m->err, LP_EFILE, "%s does not apply", patch) : rc;
}

static const char *source_dir(const struct make *m)
{
	return m->o->srcdir ? m->o->srcdir : ".";
}

static int note_empty(struct make *m)
{
	lp_buf_free(&m->empty);
	int rc = backups_note_empty(source_dir(m), &m->empty, m->err);
	if (!rc && (ftruncate(m->lock, 0) < 0 || lp_pwrite_full(m->lock, m->empty.data, m->empty.len, 0) < 0 ||
		    fsync(m->lock) < 0))
		rc = lp_fail_sys(m->err, errno, "cannot write to the tree");
	return rc;
}

static int apply_patches(struct make *m)
{
	struct lp_buf added = {0};
	int rc = note_empty(m);
	for (size_t i = 0; i < m->o->nr_patches && !rc; i++)
		rc = apply_patch(m, i);
	if (!rc)
		rc = backups_added(source_dir(m), &m->empty, &added, m->err);
	setenv("KPATCH_ADDED", lp_buf_cstr(&added), 1);
	lp_buf_free(&added);
	return rc;
}

static int restore(struct make *m, bool late)
{
	struct lp_err err = {0};
	size_t count;
	int rc = backups_restore(source_dir(m), &m->empty, &count, &err);
	if (late && count)
		say(m, LP_MAKE_WARNING, "an earlier run was killed: %zu source file%s put back", count,
		    count == 1 ? "" : "s");
	if (rc < 0)
		say(m, LP_MAKE_WARNING, "%s", err.text);
	return rc;
}

/* ---- the two builds ---- */

static void set_environment(const struct make *m)
{
	char *cc = lp_sprintf("%s/libcare-cc", m->o->tools), *cxx = lp_sprintf("%s/libcare-c++", m->o->tools);
	const char *user_cc = getenv("CC"), *user_cxx = getenv("CXX");
	if (user_cc && *user_cc && !getenv("KPCCREAL") && strcmp(user_cc, cc) != 0 && !strchr(user_cc, ' '))
		setenv("KPCCREAL", user_cc, 1);
	if (user_cxx && *user_cxx && !getenv("KPCXXREAL") && strcmp(user_cxx, cxx) != 0 && !strchr(user_cxx, ' '))
		setenv("KPCXXREAL", user_cxx, 1);
	setenv("CC", cc, 1);
	setenv("CXX", cxx, 1);
	setenv("KPATCH_PATH", m->o->tools, 1);
	setenv("IS_LIBCARE_CC", "y", 1);
	setenv("LPMAKE_ORIGINAL_DIR", m->o->original_dir, 1);
	setenv("LPMAKE_PATCHED_DIR", m->o->patched_dir, 1);
	setenv("LPMAKE_PATCHROOT", m->o->patch_root, 1);
	unsetenv("MAKELEVEL");
	unsetenv("MAKEFLAGS");
	unsetenv("MFLAGS");
	unsetenv("KPATCH_ADDED");
	unsetenv("KPATCH_OBJECTS");
	unsetenv("KPATCH_ASM_DIR");
	unsetenv("KPATCH_TMPDIR");
	if (m->guardian.temporary)
		setenv("KPATCH_TMPDIR", m->guardian.temporary, 1);
	if (!m->o->assembly) { /* nothing is left out of the compiler's words: what is built is what is built without us */
		setenv("KPATCH_OBJECTS", "1", 1);
		setenv("KPCC_REMOVE_ARGS", "", 0);
		setenv("KPATCH_PREFIX", PREFIX, 1);
	}
	lp_free(cc);
	lp_free(cxx);
}

static int build(struct make *m, const char *stage, const char *what, const char *title, const char *dir)
{
	setenv("KPATCH_STAGE", stage, 1);
	say(m, LP_MAKE_STAGE, "BUILDING %s CODE", title);
	int rc = run_make(m, NULL, NULL);
	if (rc)
		return rc;
	say(m, LP_MAKE_STAGE, "INSTALLING %s OBJECTS INTO %s", what, dir);
	return install_into(m, dir);
}

static int clean(struct make *m)
{
	int rc = m->o->clean ? run_make(m, "clean", NULL) : 0;
	if (!rc && m->o->clean)
		rc = lp_tree_remove(m->o->original_dir, m->err);
	if (!rc)
		rc = lp_tree_remove(m->o->patched_dir, m->err);
	/* Where its parent must exist for a makefile's `mkdir $DESTDIR`, and the directory itself need not. */
	char *parent = lp_strdup(m->o->patched_dir);
	char *slash = strrchr(parent, '/');
	if (slash && slash != parent)
		*slash = 0;
	if (!rc)
		rc = make_directory(parent, m->err);
	lp_free(parent);
	return rc;
}

static int build_both(struct make *m)
{
	setenv("KPATCH_STAGE", "original", 1);
	int rc = m->o->assembly ? 0 : lp_patch_objects_mend(".", PREFIX, m->err);
	if (!rc)
		rc = clean(m);
	if (!rc)
		rc = build(m, "original", "ORIGINAL", "ORIGINAL", m->o->original_dir);
	if (!rc)
		rc = apply_patches(m);
	if (!rc && !m->o->assembly)
		rc = lp_patch_objects_forget(".", PREFIX, m->err);
	if (!rc) {
		if (m->o->assembly)
			setenv("KPCC_APPEND_ARGS", "-Wl,-q", 1);
		rc = build(m, "patched", "PATCHED", "PATCHED", m->o->patched_dir);
	}
	return rc;
}

/* ---- patches ---- */

static int write_file(const char *path, const struct lp_buf *data, struct lp_err *err)
{
	char *temporary = lp_sprintf("%s.tmp", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int rc = fd < 0 ? -errno : lp_pwrite_full(fd, data->data, data->len, 0);
	if (fd >= 0 && close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	if (rc)
		unlink(temporary);
	lp_free(temporary);
	return rc ? lp_fail_sys(err, -rc, "cannot write %s", path) : 0;
}

static void tell_fixup(void *arg, const char *line)
{
	say(arg, LP_MAKE_PLAIN, "%s", line);
}

/* strip(1) keeps what relocations name, and knows more about symbol tables than we want to. */
static int strip_unneeded(struct make *m, const char *path)
{
	struct child c = {.both = false};
	arg(&c, "strip");
	arg(&c, "--strip-unneeded");
	arg(&c, path);
	int rc = run(m, &c);
	return rc > 0 ? lp_fail(m->err, LP_EREMOTE, "Failed to do stripped unneeded section.") : rc;
}

static int step_strip(struct make *m, const struct lp_elf *patched, const char *path)
{
	struct lp_buf bytes = {0};
	int rc = lp_kpatch_strip(patched, &bytes, m->err);
	if (!rc)
		rc = write_file(path, &bytes, m->err);
	lp_buf_free(&bytes);
	return rc ? lp_err_context(m->err, rc, "Failed to do stripped") : 0;
}

typedef int in_place(struct make *m, struct lp_elf *original, struct lp_elf *patch, struct lp_buf *out);

static int step(struct make *m, struct lp_elf *original, const char *path, in_place *work, const char *failure)
{
	struct lp_elf *patch = NULL;
	struct lp_buf bytes = {0};
	int rc = lp_elf_open(&patch, path, m->err);
	if (!rc)
		rc = work(m, original, patch, &bytes);
	if (!rc)
		rc = write_file(path, &bytes, m->err);
	lp_buf_free(&bytes);
	lp_elf_close(patch);
	return rc ? lp_err_context(m->err, rc, "%s", failure) : 0;
}

static int fixup(struct make *m, struct lp_elf *original, struct lp_elf *patch, struct lp_buf *out)
{
	return lp_kpatch_fixup(original, patch, tell_fixup, m, out, m->err);
}

static int undo(struct make *m, struct lp_elf *original, struct lp_elf *patch, struct lp_buf *out)
{
	return lp_kpatch_undo_link(original, patch, lp_elf_name(original), out, m->err);
}

static int64_t build_time(void)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	return epoch ? (int64_t)strtoll(epoch, NULL, 10) : (int64_t)time(NULL);
}

static int step_make(struct make *m, const char *stripped, const struct lp_build_id *id, const char *path)
{
	struct lp_kpatch_make_opts opts = {.id = m->o->id, .build_id = *id, .build_time = build_time()};
	struct lp_elf *object = NULL;
	struct lp_buf bytes = {0};
	int rc = lp_elf_open(&object, stripped, m->err);
	if (!rc)
		rc = lp_kpatch_make(object, &opts, &bytes, m->err);
	if (!rc)
		rc = write_file(path, &bytes, m->err);
	lp_buf_free(&bytes);
	lp_elf_close(object);
	return rc ? lp_err_context(m->err, rc, "Failed to make patch") : 0;
}

/* From what was linked with the patch in it. */
static int make_from_linked(struct make *m, struct lp_elf *original, struct lp_elf *patched,
			    const struct lp_build_id *id, const char *patched_path, const char *out)
{
	char *stripped = lp_sprintf("%s.stripped", patched_path);
	int rc = step_strip(m, patched, stripped);
	if (!rc)
		rc = step(m, original, stripped, fixup, "Failed to do relocation fixup");
	if (!rc)
		rc = strip_unneeded(m, stripped);
	if (!rc)
		rc = step(m, original, stripped, undo, "Failed to undo the link");
	if (!rc)
		rc = step_make(m, stripped, id, out);
	lp_free(stripped);
	return rc ? rc : 1;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* From the objects of both builds; 0 = none of them changed. */
static int make_from_objects(struct make *m, struct lp_elf *original, struct lp_elf *patched,
			     const struct lp_build_id *id, const char *path, const char *patched_path, const char *out)
{
	struct lp_buf bytes = {0};
	char *object = lp_sprintf("%s.stripped", patched_path); /* for whoever wants to look at it */
	int rc = lp_patch_objects_make(m->objects, original, patched, base_of(path), m->o->id, tell_fixup, m, &bytes,
				       m->err);
	int made = rc;
	if (rc == 1)
		rc = write_file(object, &bytes, m->err);
	if (!rc && made == 1)
		rc = step_make(m, object, id, out);
	lp_buf_free(&bytes);
	lp_free(object);
	return rc ? rc : made;
}

static int make_patch(struct make *m, struct lp_elf *original, struct lp_elf *patched, const char *path,
		      const char *patched_path)
{
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_elf_build_id(original, &id);
	if (m->o->build_id && !lp_build_id_parse(m->o->build_id, &id))
		return lp_fail(m->err, LP_EUSAGE, "%s is not a build-id", m->o->build_id);
	if (!id.len)
		return lp_fail(m->err, LP_EBUILDID,
			       "%s has no build-id, by which its processes could be known: link it with -Wl,--build-id",
			       path);
	lp_build_id_hex(&id, hex);
	char *out = lp_sprintf("%s/%s.kpatch", m->o->patch_root, hex);
	int rc = m->o->assembly ? make_from_linked(m, original, patched, &id, patched_path, out)
				: make_from_objects(m, original, patched, &id, path, patched_path, out);
	if (rc == 1) {
		say(m, LP_MAKE_PLAIN, "patch for %s is in %s", path, out);
		m->made++;
	}
	lp_free(out);
	return rc < 0 ? rc : 0;
}

static bool same_contents(const char *a, const char *b)
{
	struct lp_buf x = {0}, y = {0};
	bool same = !lp_read_file(a, &x, LP_ELF_FILE_MAX, NULL) && !lp_read_file(b, &y, LP_ELF_FILE_MAX, NULL) &&
		    x.len == y.len && !memcmp(x.data, y.data, x.len);
	lp_buf_free(&x);
	lp_buf_free(&y);
	return same;
}

/* Is there anything to be done for this binary? */
static bool is_patched(struct make *m, const struct lp_elf *original, const struct lp_elf *patched, const char *path,
		       const char *patched_path)
{
	if (m->o->assembly)
		return lp_kpatch_is_linked(patched);
	if (same_contents(path, patched_path))
		return false;
	if (lp_patch_objects_know(m->objects, original, base_of(path)))
		return true;
	m->unseen++;
	say(m, LP_MAKE_WARNING, "%s changed, and no patch is made: it was not linked by $(CC)", path);
	return false;
}

static int consider(struct make *m, const char *path)
{
	const char *relative = path + strlen(m->o->original_dir);
	char *patched_path = lp_sprintf("%s%s", m->o->patched_dir, relative);
	struct lp_elf *original = NULL, *patched = NULL;
	int rc = 0;
	/* What is no ELF file, or was not installed again, has nothing to be patched. */
	if (!lp_elf_open(&original, path, NULL) && !lp_elf_open(&patched, patched_path, NULL) &&
	    is_patched(m, original, patched, path, patched_path))
		rc = make_patch(m, original, patched, path, patched_path);
	lp_elf_close(original);
	lp_elf_close(patched);
	lp_free(patched_path);
	return rc;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int make_patches(struct make *m)
{
	char *roots[] = {lp_strdup(m->o->original_dir), NULL};
	int rc = make_directory(m->o->patch_root, m->err);
	say(m, LP_MAKE_STAGE, "MAKING PATCHES");
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!rc && !m->o->assembly)
		rc = lp_patch_objects_scan(&m->objects, ".", PREFIX, m->err);
	if (!fts && !rc)
		rc = lp_fail_sys(m->err, errno, "cannot read %s", m->o->original_dir);
	for (FTSENT *e; fts && !rc && (e = fts_read(fts));)
		if (e->fts_info == FTS_F && (e->fts_statp->st_mode & 0111))
			rc = consider(m, e->fts_path);
	if (fts)
		fts_close(fts);
	lp_free(roots[0]);
	if (!rc && !m->made && m->unseen)
		return lp_fail(
			m->err, LP_EUNRECORDED,
			"no patch was made: the makefile must call its compiler $(CC) or $(CXX), so that libcare-cc "
			"can stand in for it");
	if (!rc && !m->made)
		say(m, LP_MAKE_WARNING, "nothing that was installed has changed: no patch was made");
	return rc;
}

/* ---- all ---- */

#define LOCK_NAME ".lpmake.lock"
#define LOCK_TICK_MS 50
#define JOURNAL_MAX (64u << 20)

/* Of a run that was killed, the guardian holds the lock until make has ended; nothing but time tells him from a run that lives. */
static bool take_lock(struct make *m)
{
	int rc, left = LP_GUARDIAN_MAX_MS + LOCK_TICK_MS;
	while ((rc = flock(m->lock, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK && left > 0 && !stopped(m)) {
		poll(NULL, 0, LOCK_TICK_MS);
		left -= LOCK_TICK_MS;
	}
	return rc == 0;
}

/* One at a time in a tree: the backups of two runs would be mixed up. */
static int lock_tree(struct make *m)
{
	char *path = lp_sprintf("%s/" LOCK_NAME, source_dir(m));
	struct stat st;
	int rc = 0;
	m->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (m->lock < 0)
		rc = lp_fail_sys(m->err, errno, "cannot write %s", path);
	else if (!take_lock(m) || fstat(m->lock, &st) < 0 || !st.st_nlink) /* or just let go of */
		rc = lp_fail(m->err, LP_ELOCKED, "another libcare-patch-make is at work in this tree");
	else
		rc = lp_read_fd(m->lock, &m->empty, JOURNAL_MAX, m->err);
	lp_free(path);
	return rc;
}

static void unlock_tree(struct make *m, bool tidy)
{
	char *path = lp_sprintf("%s/" LOCK_NAME, source_dir(m));
	if (tidy)
		unlink(path);
	lp_close(m->lock);
	lp_free(path);
}

int lp_patch_make(const struct lp_patch_make_opts *o, struct lp_err *err)
{
	struct make m = {.o = o, .err = err};
	int rc = lock_tree(&m), restored = rc;
	lp_guardian_begin(&m.guardian);
	if (!rc && (restored = restore(&m, true)) < 0)
		rc = lp_fail(err, LP_EFILE, "what an earlier run has changed could not be put back");
	if (!rc) {
		set_environment(&m);
		if (!o->update) {
			rc = build_both(&m);
			restored = restore(&m, false);
			if (restored && !rc)
				rc = lp_fail(err, LP_EFILE, "the sources could not all be put back");
		}
	}
	if (!rc)
		rc = make_patches(&m);
	lp_guardian_end(&m.guardian);
	unlock_tree(&m, !restored);
	lp_patch_objects_free(m.objects);
	lp_buf_free(&m.empty);
	return rc;
}
