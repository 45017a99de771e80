/* A system's life, the calling thread's error and transaction, counters. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/sets.h"
#include "api/txn.h"
#include "base/buf.h"
#include "base/log.h"

/* ---- the calling thread ---- */

static __thread struct lp_err last;
static __thread struct lp_where culprit;
static __thread char culprit_file[512];
static __thread livepatch_error shown;

/* Only what says that there is none: this runs at the head of every call. */
struct lp_err *lp_enter(void)
{
	last.code = 0;
	last.addr = 0;
	last.text[0] = '\0';
	culprit = (struct lp_where){0};
	return &last;
}

void lp_blame(const struct lp_where *where)
{
	if (!where || !where->file)
		return;
	snprintf(culprit_file, sizeof culprit_file, "%s", where->file);
	culprit = (struct lp_where){culprit_file, where->line, where->column};
}

int lp_leave(LivePatchSystem *system, int rc)
{
	if (rc >= 0)
		return rc;
	last.code = rc;
	if (!last.text[0])
		snprintf(last.text, sizeof last.text, "%s", lp_strerror(rc));
	if (system)
		atomic_fetch_add(&system->refused, 1);
	if (lp_debug_on())
		lp_tell("refused: %s", last.text);
	return -1;
}

const livepatch_error *livepatch_last_error(void)
{
	bool ours = -last.code >= LP_E_BASE;

	shown = (livepatch_error){
		.code = last.code,
		.name = !last.code ? ""
			: ours	   ? lp_err_name(last.code)
				   : "errno",
		.text = last.code ? last.text : "",
		.addr = last.code ? last.addr : 0,
		.file = last.code ? culprit.file : NULL,
		.line = last.code ? culprit.line : 0,
		.column = last.code ? culprit.column : 0,
	};
	return &shown;
}

const char *livepatch_strerror(int code)
{
	return lp_strerror(code);
}

const char *livepatch_version(void)
{
	return LP_LIBRARY_VERSION;
}

/* ---- telling what is done ---- */

static atomic_int debugging = -1; /* not asked yet */

bool lp_debug_on(void)
{
	int on = atomic_load_explicit(&debugging, memory_order_relaxed);

	if (on >= 0)
		return on;
	const char *text = getenv("LIVEPATCH_DEBUG");
	livepatch_set_debug(text && *text && strcmp(text, "0") != 0);
	return atomic_load(&debugging);
}

static void tell_line(enum lp_log_level level, const char *line, void *arg)
{
	struct lp_buf b = {0};

	lp_buf_printf(&b, "livepatch: %s\n", line);
	fwrite(b.data, 1, b.len, stderr);
	lp_buf_free(&b);
}

void lp_tell(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	tell_line(LP_LOG_DEBUG, line, NULL);
}

void livepatch_set_debug(int on)
{
	atomic_store(&debugging, on != 0);
}

/* ---- transactions of threads ---- */

static pthread_key_t at_thread_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER; /* of every system's list, and of each one's system */
static __thread struct lp_txn *current;

void lp_txns_hold(void)
{
	pthread_mutex_lock(&open_lock);
}

void lp_txns_release(void)
{
	pthread_mutex_unlock(&open_lock);
}

static void unlink_txn(struct lp_txn *t)
{
	for (struct lp_txn **at = &t->system->open; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			return;
		}
	}
}

/* Whoever ends without commit has aborted. */
static void end_txn(void *arg)
{
	struct lp_txn *t = arg;

	current = NULL;
	pthread_mutex_lock(&open_lock);
	if (t->system) {
		unlink_txn(t);
		lp_txn_abort(t);
	}
	pthread_mutex_unlock(&open_lock);
	lp_free(t);
}

static void make_key(void)
{
	pthread_key_create(&at_thread_exit, end_txn);
}

static void set_current(struct lp_txn *t)
{
	pthread_once(&once, make_key);
	pthread_setspecific(at_thread_exit, t);
	current = t;
}

/* One whose system was cleaned up is none. */
static struct lp_txn *thread_txn(void)
{
	struct lp_txn *t = current;

	if (!t)
		return NULL;
	pthread_mutex_lock(&open_lock);
	bool alive = t->system;
	pthread_mutex_unlock(&open_lock);
	if (alive)
		return t;
	set_current(NULL);
	lp_free(t);
	return NULL;
}

struct lp_txn *lp_txn_current(LivePatchSystem *system)
{
	struct lp_txn *t = current ? thread_txn() : NULL;

	return t && t->system == system ? t : NULL;
}

int livepatch_begin(LivePatchSystem *system)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);

	if (!rc && thread_txn())
		rc = lp_fail(err, LP_ETRANSACTION, "this thread has an open transaction already");
	if (rc)
		return lp_leave(system, rc);
	struct lp_txn *t = lp_alloc(sizeof *t);
	lp_txn_init(t, system);
	set_current(t);
	pthread_mutex_lock(&open_lock);
	t->next = system->open;
	system->open = t;
	pthread_mutex_unlock(&open_lock);
	return 0;
}

struct lp_txn *lp_txn_lay_aside(LivePatchSystem *system)
{
	struct lp_txn *t = lp_txn_current(system);

	if (t)
		set_current(NULL);
	return t;
}

void lp_txn_take_up(struct lp_txn *t)
{
	set_current(t);
}

/* The calling thread's transaction for this system, which is its no more; NULL and an error when there is none. */
static struct lp_txn *close_current(LivePatchSystem *system, struct lp_err *err)
{
	struct lp_txn *t = lp_txn_current(system);

	if (!t) {
		lp_fail(err, LP_ETRANSACTION, "this thread has no open transaction for this system");
		return NULL;
	}
	pthread_mutex_lock(&open_lock);
	unlink_txn(t);
	pthread_mutex_unlock(&open_lock);
	set_current(NULL);
	return t;
}

int livepatch_commit(LivePatchSystem *system)
{
	struct lp_err *err = lp_enter();
	struct lp_txn *t = close_current(system, err);

	if (!t)
		return lp_leave(system, -LP_ETRANSACTION);
	int rc = lp_txn_apply(t, err);
	lp_free(t);
	if (rc >= 0 && lp_debug_on())
		lp_tell("commit: %d patches came or went", rc);
	return lp_leave(system, rc < 0 ? rc : 0);
}

int livepatch_abort(LivePatchSystem *system)
{
	struct lp_txn *t = close_current(system, lp_enter());

	if (!t)
		return lp_leave(system, -LP_ETRANSACTION);
	lp_txn_abort(t);
	lp_free(t);
	return 0;
}

/* Their threads find out when they look. */
static void abort_open(LivePatchSystem *s)
{
	pthread_mutex_lock(&open_lock);
	for (struct lp_txn *t = s->open; t; t = t->next) {
		lp_txn_abort(t);
		t->system = NULL;
	}
	s->open = NULL;
	pthread_mutex_unlock(&open_lock);
}

/* ---- life ---- */

static _Atomic(LivePatchSystem *) shared;

LivePatchSystem *lp_system_new(struct lp_code_space *space)
{
	LivePatchSystem *s = lp_alloc(sizeof *s);

	s->space = space;
	s->table = lp_table_new(space->isa->insn_align, true);
	atomic_store(&s->enabled, 1);
	pthread_mutex_init(&s->lock, NULL);
	if (lp_debug_on())
		lp_tell("%s: " LP_ADDR " to " LP_ADDR, space->ops->name, space->range.start, space->range.end);
	return s;
}

#undef livepatch_init
LivePatchSystem *livepatch_init(void *memory, size_t mem_size, uint64_t base_addr)
{
	struct lp_code_space *space;
	int rc = lp_code_open_buffer(&space, memory, mem_size, base_addr, lp_enter());

	if (rc) {
		lp_leave(NULL, rc);
		return NULL;
	}
	return lp_system_new(space);
}

static void free_patch(struct lp_patch *p, void *arg)
{
	LivePatchSystem *s = arg;

	if (!p->is_word && p->more->divert)
		s->space->ops->divert_free(s->space, p->more->divert);
	if (!p->is_word)
		lp_free(p->more);
	lp_free(p->description);
}

void lp_system_rest(LivePatchSystem *s)
{
	LivePatchSystem *it = s;

	atomic_compare_exchange_strong(&shared, &it, NULL);
	lp_watch_stop(s);
	abort_open(s);
	lp_files_free(s);
}

void lp_system_free(LivePatchSystem *s)
{
	lp_system_rest(s);
	lp_scripts_free(s);
	lp_table_each(s->table, free_patch, s);
	lp_table_free(s->table);
	for (size_t i = 0; i < s->file_names.nr; i++)
		lp_free(s->file_names.items[i]);
	lp_vec_free(&s->file_names);
	lp_names_free(&s->file_numbers);
	lp_names_free(&s->names);
	s->space->ops->close(s->space);
	pthread_mutex_destroy(&s->lock);
	lp_free(s);
}

void livepatch_set_system(LivePatchSystem *system)
{
	atomic_store(&shared, system);
}

LivePatchSystem *livepatch_get_system(void)
{
	return atomic_load(&shared);
}

int lp_system_check(LivePatchSystem *system, struct lp_err *err)
{
	return system ? 0 : lp_fail(err, LP_EUSAGE, "there is no system (NULL)");
}

int lp_system_check_enabled(LivePatchSystem *system, struct lp_err *err)
{
	int rc = lp_system_check(system, err);

	if (rc || atomic_load_explicit(&system->enabled, memory_order_relaxed))
		return rc;
	return lp_fail(err, LP_EDISABLED, "patching is disabled (livepatch_set_enabled)");
}

void livepatch_set_enabled(LivePatchSystem *system, int enabled)
{
	if (!lp_leave(NULL, lp_system_check(system, lp_enter())))
		atomic_store(&system->enabled, enabled != 0);
}

void livepatch_set_flags(LivePatchSystem *system, unsigned flags)
{
	if (!lp_leave(NULL, lp_system_check(system, lp_enter())))
		atomic_store(&system->flags, flags);
}

unsigned livepatch_get_flags(LivePatchSystem *system)
{
	return lp_leave(NULL, lp_system_check(system, lp_enter())) ? 0 : atomic_load(&system->flags);
}

int livepatch_set_room(LivePatchSystem *system, uint64_t addr, size_t size)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);

	if (!rc && !system->space->ops->room_add)
		rc = lp_fail(err, LP_EUSAGE, "this system maps memory of its own for new code");
	if (rc)
		return lp_leave(system, rc);
	struct lp_held held = lp_table_lock_all(system->table);
	const struct lp_patch *p = size <= system->space->range.end - system->space->range.start
					   ? lp_table_overlap(system->table, addr, size)
					   : NULL;
	lp_table_unlock(system->table, held);
	if (p)
		rc = lp_fail(err, LP_EOVERLAP, "the patch at " LP_ADDR " lies in that memory", p->at);
	return lp_leave(system, rc ? rc : system->space->ops->room_add(system->space, addr, size, err));
}

/* ---- patches that come and go ---- */

static size_t text_bytes(const struct lp_patch *p)
{
	return (p->description ? strlen(p->description) + 1 : 0) + (p->is_word ? 0 : p->more->bytes);
}

static void note_name(LivePatchSystem *s, const struct lp_patch *p, bool comes)
{
	if (p->is_word || !p->more->name)
		return;
	pthread_mutex_lock(&s->lock);
	if (comes)
		lp_names_add(&s->names, p->more->name, p->at);
	else
		lp_names_remove(&s->names, p->more->name);
	pthread_mutex_unlock(&s->lock);
}

void lp_system_note_come(LivePatchSystem *s, const struct lp_patch *p)
{
	struct lp_tally *tally = lp_table_tally(s->table, p->at);

	tally->applied[p->type]++;
	tally->bytes += text_bytes(p);
	note_name(s, p, true);
	if (lp_debug_on())
		lp_tell("applied at " LP_ADDR ": %s", p->at, p->description ? p->description : "");
}

void lp_system_note_gone(LivePatchSystem *s, const struct lp_patch *p)
{
	struct lp_tally *tally = lp_table_tally(s->table, p->at);

	tally->reverted[p->type]++;
	tally->bytes -= text_bytes(p);
	note_name(s, p, false);
	if (lp_debug_on())
		lp_tell("reverted at " LP_ADDR ": %s", p->at, p->description ? p->description : "");
}

uint64_t lp_system_next_generation(LivePatchSystem *s)
{
	return atomic_fetch_add_explicit(&s->generation, 1, memory_order_relaxed) + 1;
}

void lp_patch_drop(LivePatchSystem *s, struct lp_patch *p)
{
	if (!p->is_word && p->more->room_size)
		s->space->ops->room_drop(s->space, p->more->room, p->more->room_size);
	if (!p->is_word)
		lp_free(p->more->moved);
	free_patch(p, s);
}

/* ---- files by number ---- */

uint32_t lp_system_file(LivePatchSystem *s, const char *name)
{
	uint64_t number;

	pthread_mutex_lock(&s->lock);
	if (!lp_names_find(&s->file_numbers, name, strlen(name), &number)) {
		lp_vec_push(&s->file_names, lp_strdup(name));
		number = s->file_names.nr;
		lp_names_add(&s->file_numbers, name, number);
	}
	pthread_mutex_unlock(&s->lock);
	return (uint32_t)number;
}

const char *lp_system_file_name(LivePatchSystem *s, uint32_t number)
{
	pthread_mutex_lock(&s->lock);
	const char *name = number ? s->file_names.items[number - 1] : "";
	pthread_mutex_unlock(&s->lock);
	return name;
}

/* ---- counters ---- */

static void count_types(LivePatchSystem *s, livepatch_counts *c)
{
	struct lp_tally total = lp_table_total(s->table);

	for (unsigned i = 0; i < LP_PATCH_TYPES; i++) {
		c->of_type[i] = (size_t)(total.applied[i] - total.reverted[i]);
		c->active += c->of_type[i];
		c->applied += total.applied[i];
		c->reverted += total.reverted[i];
	}
	c->bytes = sizeof *s + lp_table_bytes(s->table) + total.bytes;
}

int livepatch_get_counts(LivePatchSystem *system, livepatch_counts *counts)
{
	struct lp_err *err = lp_enter();
	int rc = lp_system_check(system, err);

	if (!rc && !counts)
		rc = lp_fail(err, LP_EUSAGE, "there is nowhere to put the counts (NULL)");
	if (rc)
		return lp_leave(system, rc);
	*counts = (livepatch_counts){.refused = atomic_load(&system->refused)};
	struct lp_held held = lp_table_lock_all(system->table);
	count_types(system, counts);
	counts->generation = atomic_load(&system->generation);
	lp_table_unlock(system->table, held);
	pthread_mutex_lock(&system->lock);
	counts->reloads = system->reloads;
	counts->reload_errors = system->reload_errors;
	memcpy(counts->last_reload_error, system->last_reload_error, sizeof counts->last_reload_error);
	counts->bytes += lp_names_bytes(&system->names) + lp_names_bytes(&system->file_numbers);
	pthread_mutex_unlock(&system->lock);
	return 0;
}
