/*
 * Loading, remembering and saving patch files.
 */
#include "api/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/txn.h"
#include "base/fdio.h"

/* ---- one file ---- */

char *lp_path_absolute(const char *name)
{
	char here[4096];
	if (name[0] == '/' || !getcwd(here, sizeof here))
		return lp_strdup(name);
	return lp_sprintf("%s/%s", here, name);
}

/* FNV-1a: tells that a file was written again with the same content; nothing worse comes of a collision than of that. */
uint64_t lp_patch_file_hash(const struct lp_buf *content)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < content->len; i++)
		h = (h ^ content->data[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Complaints are "name:line:column: sentence". */
static void blame_first_complaint(const char *name, const struct lp_err *err)
{
	struct lp_where where = {.file = name};
	size_t len = strlen(name);
	char *end;
	if (strncmp(err->text, name, len) || err->text[len] != ':')
		return;
	where.line = (unsigned)strtoul(err->text + len + 1, &end, 10);
	if (*end != ':')
		return;
	where.column = (unsigned)strtoul(end + 1, &end, 10);
	if (*end == ':')
		lp_blame(&where);
}

static int parse(struct lp_patch_file *f, const struct lp_buf *b, struct lp_err *err)
{
	const char *text = b->data ? (const char *)b->data : "";
	int rc = f->json ? lp_patch_parse_json(&f->set, text, b->len, f->name, err)
			 : lp_patch_parse(&f->set, text, b->len, f->name, err);
	if (rc == 0)
		rc = lp_patch_read_code(f->set, f->path, err);
	if (rc < 0)
		blame_first_complaint(f->name, err);
	return rc;
}

/* Regular files only: they are read again, and nobody can keep us waiting. */
static int read_file(const char *path, const char *name, struct lp_buf *out, struct lp_err *err)
{
	return lp_read_regular(path, name, out, LP_PATCH_FILE_MAX, err);
}

int lp_patch_file_read_again(struct lp_patch_file *f, struct lp_err *err)
{
	struct lp_buf b = {0};
	int rc = read_file(f->path, f->name, &b, err);
	if (rc < 0)
		lp_blame(&(struct lp_where){.file = f->name});
	f->hash = lp_patch_file_hash(&b);
	if (rc == 0)
		rc = parse(f, &b, err);
	lp_buf_free(&b);
	return rc;
}

int lp_patch_file_read(struct lp_patch_file *f, const char *name, bool json, struct lp_err *err)
{
	*f = (struct lp_patch_file){.name = lp_strdup(name), .path = lp_path_absolute(name), .json = json};
	return lp_patch_file_read_again(f, err);
}

void lp_patch_file_free(struct lp_patch_file *f)
{
	lp_free(f->name);
	lp_free(f->path);
	lp_patchset_free(f->set);
	*f = (struct lp_patch_file){0};
}

/* ---- lists of them ---- */

struct lp_files {
	struct lp_file_list list;
	pthread_mutex_t reload; /* one at a time */
};

void lp_file_list_free(struct lp_file_list *l)
{
	for (size_t i = 0; i < l->files.nr; i++)
		lp_patch_file_free(&l->files.items[i]);
	lp_vec_free(&l->files);
}

void lp_file_list_add(struct lp_file_list *l, const struct lp_patch_file *f)
{
	struct lp_patch_file copy = {
		.name = lp_strdup(f->name), .path = lp_strdup(f->path), .json = f->json, .hash = f->hash};
	for (size_t i = 0; i < l->files.nr; i++)
		if (strcmp(l->files.items[i].path, f->path) == 0) {
			lp_patch_file_free(&l->files.items[i]);
			l->files.items[i] = copy;
			return;
		}
	lp_vec_push(&l->files, copy);
}

struct lp_file_list lp_file_list_copy(const struct lp_file_list *l)
{
	struct lp_file_list copy = {.version = l->version};
	for (size_t i = 0; i < l->files.nr; i++)
		lp_file_list_add(&copy, &l->files.items[i]);
	return copy;
}

/* system->lock is held. */
static struct lp_files *files_of(LivePatchSystem *system)
{
	if (!system->files) {
		system->files = lp_alloc(sizeof *system->files);
		pthread_mutex_init(&system->files->reload, NULL);
	}
	return system->files;
}

void lp_files_free(LivePatchSystem *system)
{
	if (!system->files)
		return;
	lp_file_list_free(&system->files->list);
	pthread_mutex_destroy(&system->files->reload);
	lp_free(system->files);
	system->files = NULL;
}

pthread_mutex_t *lp_files_lock(LivePatchSystem *system)
{
	pthread_mutex_lock(&system->lock);
	struct lp_files *files = files_of(system);
	pthread_mutex_unlock(&system->lock);
	return &files->reload;
}

struct lp_file_list lp_file_list_now(LivePatchSystem *system)
{
	pthread_mutex_lock(&system->lock);
	struct lp_file_list copy = lp_file_list_copy(&files_of(system)->list);
	pthread_mutex_unlock(&system->lock);
	return copy;
}

uint64_t lp_file_list_version(LivePatchSystem *system)
{
	pthread_mutex_lock(&system->lock);
	uint64_t version = files_of(system)->list.version;
	pthread_mutex_unlock(&system->lock);
	return version;
}

bool lp_system_has_files(LivePatchSystem *system)
{
	pthread_mutex_lock(&system->lock);
	bool has = system->files && system->files->list.files.nr;
	pthread_mutex_unlock(&system->lock);
	return has;
}

enum lp_file_state lp_files_look(LivePatchSystem *system, const char *path)
{
	struct lp_buf b = {0};
	int rc = read_file(path, path, &b, NULL);
	uint64_t hash = lp_patch_file_hash(&b);
	enum lp_file_state state = LP_FILE_UNKNOWN;
	lp_buf_free(&b);
	pthread_mutex_lock(&system->lock);
	const struct lp_file_list *l = &files_of(system)->list;
	for (size_t i = 0; i < l->files.nr; i++)
		if (strcmp(l->files.items[i].path, path) == 0)
			state = rc == 0 && hash == l->files.items[i].hash && !system->last_reload_error[0]
					? LP_FILE_SAME
					: LP_FILE_CHANGED;
	pthread_mutex_unlock(&system->lock);
	return state;
}

/* ---- the list as a part of a transaction ---- */

struct change {
	LivePatchSystem *system;
	struct lp_file_list list; /* to be added, or to take the place of what is there; then what was there */
	bool adds;
};

static int replace_list(struct lp_file_list *now, const struct lp_file_list *l, struct lp_err *err)
{
	if (now->version != l->version)
		return lp_fail(err, EAGAIN, "another thread loaded a patch file meanwhile");
	lp_file_list_free(now);
	*now = lp_file_list_copy(l);
	return 0;
}

static int commit_change(void *arg, struct lp_err *err)
{
	struct change *c = arg;
	int rc = 0;
	pthread_mutex_lock(&c->system->lock);
	struct lp_file_list *now = &files_of(c->system)->list, before = lp_file_list_copy(now);
	for (size_t i = 0; c->adds && i < c->list.files.nr; i++)
		lp_file_list_add(now, &c->list.files.items[i]);
	if (!c->adds)
		rc = replace_list(now, &c->list, err);
	now->version = before.version + (rc == 0);
	pthread_mutex_unlock(&c->system->lock);
	lp_file_list_free(&c->list);
	c->list = before;
	return rc;
}

static void undo_change(void *arg)
{
	struct change *c = arg;
	pthread_mutex_lock(&c->system->lock);
	struct lp_file_list *now = &files_of(c->system)->list;
	uint64_t version = now->version;
	lp_file_list_free(now);
	*now = lp_file_list_copy(&c->list);
	now->version = version + 1;
	pthread_mutex_unlock(&c->system->lock);
}

static void free_change(void *arg, bool committed)
{
	struct change *c = arg;
	lp_file_list_free(&c->list);
	lp_free(c);
}

static void add_change(struct lp_txn *t, const struct lp_file_list *l, bool adds)
{
	struct change c = {t->system, lp_file_list_copy(l), adds};
	lp_txn_add_part(t, &(struct lp_txn_part){.commit = commit_change,
						 .undo = undo_change,
						 .free = free_change,
						 .arg = lp_memdup(&c, sizeof c)});
}

void lp_file_list_plan(struct lp_txn *t, const struct lp_file_list *l)
{
	add_change(t, l, false);
}

/* ---- loading ---- */

static int put_file(struct lp_txn *t, const struct lp_patch_file *f, struct lp_err *err)
{
	struct lp_sourced s = {f->set, lp_system_file(t->system, f->name)};
	int nr = lp_sets_put(t, &s, err);
	if (nr < 0)
		return nr;
	struct lp_file_list l = {0};
	lp_file_list_add(&l, f);
	add_change(t, &l, true);
	lp_file_list_free(&l);
	return nr;
}

int lp_files_load(LivePatchSystem *system, const char *name, bool json, struct lp_err *err)
{
	struct lp_patch_file f = {0};
	int rc = lp_system_check_enabled(system, err);
	if (rc == 0)
		rc = name ? lp_patch_file_read(&f, name, json, err) : lp_fail(err, EINVAL, "there is no file name");
	if (rc == 0) {
		struct lp_txn_use use;
		rc = lp_txn_done(&use, put_file(lp_txn_use(&use, system), &f, err), err);
	}
	lp_patch_file_free(&f);
	return rc;
}

int livepatch_load_from_file(LivePatchSystem *system, const char *filename)
{
	struct lp_err *err = lp_enter();
	return lp_leave(system, lp_files_load(system, filename, false, err));
}

int livepatch_load_json(LivePatchSystem *system, const char *filename)
{
	struct lp_err *err = lp_enter();
	return lp_leave(system, lp_files_load(system, filename, true, err));
}

int livepatch_load_from_json(LivePatchSystem *system, const char *filename)
{
	return livepatch_load_json(system, filename);
}

/* ---- saving ---- */

/* What the words of a text file can say: code at an address, also what a branch came to if that is all there is to it. */
static enum lp_op_kind text_kind(const livepatch_info *info, const struct lp_isa *isa)
{
	static const enum lp_op_kind kinds[LP_PATCH_TYPES] = {
		[PATCH_REPLACE] = LP_OP_INLINE, [PATCH_INSERT] = LP_OP_INSERT,
		[PATCH_NEW_FUNC] = LP_OP_FUNC,	[PATCH_FUNCTION_REDIRECT] = LP_OP_REDIRECT,
		[PATCH_NOP] = LP_OP_INLINE,	[PATCH_BRANCH] = LP_OP_BRANCH,
	};
	struct lp_insn in;
	bool direct = info->type == PATCH_BRANCH && isa->insn(info->patched, info->size, info->addr, &in) &&
		      in.has_target && in.target == info->target;
	return direct ? LP_OP_INLINE : kinds[info->type];
}

struct words {
	LivePatchSystem *system;
	struct lp_patchset *set;
	const struct lp_isa *isa;
};

/* Does it stay the same distance away, wherever the objects of the target come to be? */
static bool moves_along(LivePatchSystem *system, lp_addr at, lp_addr target)
{
	struct lp_op a = {0}, b = {0};

	lp_sets_place(system, at, &a);
	lp_sets_place(system, target, &b);
	bool same = a.file && b.file ? !strcmp(a.file, b.file) : a.file == b.file;
	lp_free(a.file);
	lp_free(b.file);
	return same;
}

/* Words that lead to what is elsewhere at the next start. */
static bool leads_away(struct words *w, const livepatch_info *info)
{
	struct lp_insn in;

	for (size_t i = 0; w->system->space->ops->whose && i + 4 <= info->size; i += 4)
		if (w->isa->insn(info->patched + i, 4, info->addr + i, &in) && in.has_target &&
		    !moves_along(w->system, info->addr, in.target))
			return true;
	return false;
}

static int add_words(const livepatch_info *info, void *arg)
{
	struct words *w = arg;
	struct lp_op op = {.kind = leads_away(w, info) ? LP_OP_BRANCH : text_kind(info, w->isa),
			   .value = lp_memdup(info->patched, info->size),
			   .value_len = info->size,
			   .mem = info->type == PATCH_NEW_FUNC ? lp_strdup(info->name) : NULL,
			   .desc = lp_strdup(info->description)};
	lp_sets_place(w->system, info->addr, &op);
	lp_patch_add_op(w->set, &op);
	return 0;
}

static int write_text(LivePatchSystem *system, struct lp_buf *out, struct lp_err *err)
{
	struct words w = {system, lp_patch_new("active"), system->space->isa};
	lp_system_each(system, add_words, &w);
	int rc = lp_patch_write_text(w.set, out, err), nr = (int)w.set->nr;
	lp_patchset_free(w.set);
	return rc < 0 ? rc : nr;
}

static int write_json(LivePatchSystem *system, struct lp_buf *out, struct lp_err *err)
{
	struct lp_patchset *set = NULL;
	int rc = lp_sets_list(system, &set, err);
	if (rc < 0)
		return rc;
	int nr = (int)set->nr;
	rc = lp_patch_write_json(set, system->space->isa->insn_align == 4, out, err);
	lp_patchset_free(set);
	return rc < 0 ? rc : nr;
}

static bool is_json_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && strcmp(dot, ".json") == 0;
}

static int save(LivePatchSystem *system, const char *name, struct lp_err *err)
{
	struct lp_buf out = {0};
	int nr = lp_system_check(system, err);
	if (nr < 0)
		return nr;
	if (!name)
		return lp_fail(err, EINVAL, "there is no file name");
	nr = is_json_name(name) ? write_json(system, &out, err) : write_text(system, &out, err);
	if (nr < 0)
		lp_err_context(err, nr, "%s", name);
	int rc = nr < 0 ? nr : lp_patch_save(name, &out, err);
	lp_buf_free(&out);
	return rc < 0 ? rc : nr;
}

int livepatch_save_to_file(LivePatchSystem *system, const char *filename)
{
	struct lp_err *err = lp_enter();
	return lp_leave(system, save(system, filename, err));
}
