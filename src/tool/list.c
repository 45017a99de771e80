#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

#define BYTES_SHOWN 16

static uint64_t memory_of(const struct lp_listed *p)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < p->nr_rooms; i++)
		sum += p->rooms[i].range.end - p->rooms[i].range.start;
	return sum;
}

static void print_bytes(const uint8_t *bytes, size_t len)
{
	struct lp_buf hex = {0};
	char size[SHORT_TEXT];
	if (bytes)
		lp_buf_hex(&hex, bytes, len < BYTES_SHOWN ? len : BYTES_SHOWN);
	out_printf("%s", lp_buf_cstr(&hex));
	if (len > BYTES_SHOWN)
		out_printf(" ... (%s)", size_text(len, size));
	lp_buf_free(&hex);
}

static void print_write(const struct lp_listed_write *w)
{
	out_printf("        " LP_ADDR "  %-4s  %s: ", w->at, lp_write_kind_name(w->kind), w->symbol ? w->symbol : "?");
	print_bytes(w->old_bytes, w->len);
	out_printf(" -> ");
	print_bytes(w->new_bytes, w->len);
	out_printf("\n");
}

static void print_room(const struct lp_listed_room *r)
{
	char size[SHORT_TEXT];
	out_printf("        " LP_ADDR "-" LP_ADDR "  %s", r->range.start, r->range.end, lp_room_kind_name(r->kind));
	if (r->name && strcmp(r->name, lp_room_kind_name(r->kind)) != 0)
		out_printf(" %s", r->name);
	if (r->path)
		out_printf(" (%s)", r->path);
	out_printf(", %s%s\n", size_text(r->range.end - r->range.start, size), r->kept ? ", kept" : "");
}

static void print_object(const struct lp_listed_object *o)
{
	out_printf("        patch id %s for %s, build-id %s, %zu function%s", o->id[0] ? o->id : "-",
		   o->object[0] ? o->object : "?", o->build_id, o->nr_functions, o->nr_functions == 1 ? "" : "s");
	if (o->level)
		out_printf(", level %u", o->level);
	out_printf("%s%s\n", o->tool ? ", made by " : "", o->tool ? o->tool : "");
}

static void print_builds_on(const struct lp_listed *p)
{
	if (!p->nr_builds_on)
		return;
	out_printf("        builds on");
	for (size_t i = 0; i < p->nr_builds_on; i++)
		out_printf("%s %" PRIu64, i ? "," : "", p->builds_on[i]);
	out_printf("\n");
}

/* printf would count bytes, not characters. */
static void print_padded(const char *text, size_t width)
{
	size_t shown = text_width(text);
	out_printf("%s%*s", text, shown < width ? (int)(width - shown) : 0, "");
}

static void print_patch(const struct lp_listed *p, size_t what_width, bool verbose)
{
	char when[SHORT_TEXT], memory[SHORT_TEXT];
	bool settled = p->state == LP_APPLIED || p->state == LP_REVERTED;
	out_printf("%6" PRIu64 "  ", p->id);
	out_style(settled ? STYLE_NONE : STYLE_WARN);
	out_printf("%-9s", lp_entry_state_name(p->state));
	out_style(STYLE_NONE);
	out_printf("  %-19s  ", time_text(p->time, when));
	print_padded(p->name ? p->name : "", what_width);
	out_printf("  %6zu  %10s\n", p->nr_writes, size_text(memory_of(p), memory));
	if (!verbose)
		return;
	for (size_t i = 0; i < p->nr_objects; i++)
		print_object(&p->objects[i]);
	for (size_t i = 0; i < p->nr_writes; i++)
		print_write(&p->writes[i]);
	for (size_t i = 0; i < p->nr_rooms; i++)
		print_room(&p->rooms[i]);
	print_builds_on(p);
}

static size_t widest_name(const struct lp_listing *l)
{
	enum { WIDEST = 48 };
	size_t widest = strlen("WHAT");
	for (size_t i = 0; i < l->nr; i++) {
		size_t n = l->items[i].name ? text_width(l->items[i].name) : 0;
		widest = n > widest ? n : widest;
	}
	return widest < WIDEST ? widest : WIDEST;
}

void print_listing(const struct lp_listing *l, const char *label, bool verbose)
{
	if (l->unfinished)
		out_printf(
			"a livepatch died while it worked here; the next apply or revert, or `recover`, cleans up\n");
	if (!l->nr) {
		out_printf(l->ledger ? "no patch is in %s now\n" : "%s was never patched\n", label);
		return;
	}
	size_t width = widest_name(l);
	out_style(STYLE_BOLD);
	out_printf("%6s  %-9s  %-19s  %-*s  %6s  %10s", "ID", "STATE", "APPLIED", (int)width, "WHAT", "WRITES",
		   "MEMORY");
	out_style(STYLE_NONE);
	out_printf("\n");
	for (size_t i = 0; i < l->nr; i++)
		print_patch(&l->items[i], width, verbose);
}

/* Patches that LibcarePlus or libcare have applied. */
static void print_foreign(const struct lp_foreign_list *l)
{
	for (size_t i = 0; i < l->items.nr; i++) {
		const struct lp_foreign_patch *f = &l->items.items[i];
		char at[SHORT_TEXT];
		snprintf(at, sizeof at, LP_ADDR, f->memory.start);
		out_printf("%s applied by %s: patch id %s for %s, build-id %s, %zu of %zu functions; revert -p PID %s "
			   "undoes it\n",
			   at, f->tool, f->id[0] ? f->id : "-", f->object[0] ? f->object : "?",
			   f->build_id[0] ? f->build_id : "-", f->nr_standing, f->nr_hunks, f->id[0] ? f->id : at);
	}
}

/* ---- one process ---- */

static int open_listing(pid_t pid, struct lp_target **target, struct lp_listing *l, struct lp_err *err)
{
	int rc = lp_target_open_process(target, pid, NULL, err);
	return rc < 0 ? rc : lp_ledger_list(*target, l, err);
}

static json_t *listing_json(const struct lp_target *t, const struct lp_listing *l)
{
	return json_pack("{s:o, s:b, s:o}", "process", json_text(t->label), "unfinished", l->unfinished, "patches",
			 json_listing(l));
}

static void show_listing(const struct args *a, const struct lp_target *t, const struct lp_listing *l,
			 const struct lp_foreign_list *foreign)
{
	if (a->on[OPT_JSON]) {
		json_t *members = listing_json(t, l);
		json_object_set_new(members, "foreign", json_foreign(foreign));
		json_emit(json_answer(a->pid, members));
		return;
	}
	print_listing(l, t->label, a->on[OPT_VERBOSE]);
	print_foreign(foreign);
}

static int list_one(const struct args *a, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_listing listing = {0};
	struct lp_foreign_list foreign = {0};
	int rc = open_listing(a->pid, &target, &listing, err);
	rc = rc ? rc : lp_foreign_patches(target, &foreign, err);
	if (rc == 0)
		show_listing(a, target, &listing, &foreign);
	lp_foreign_free(&foreign);
	lp_listing_free(&listing);
	lp_target_close(target);
	return rc;
}

/* ---- every process ---- */

struct census {
	json_t *rows; /* with --json */
	size_t nr_patched, nr_failed;
};

static void census_add(const struct args *a, struct census *c, pid_t pid, const struct lp_target *t,
		       const struct lp_listing *l)
{
	if (a->on[OPT_JSON]) {
		json_t *row = json_pack("{s:i}", "pid", (int)pid);
		json_object_update_new(row, listing_json(t, l));
		json_array_append_new(c->rows, row);
	} else {
		out_printf("%s%s\n", c->nr_patched ? "\n" : "", t->label);
		print_listing(l, t->label, a->on[OPT_VERBOSE]);
	}
	c->nr_patched++;
}

/* A process that ends while we look was not patched in any way that matters. */
static void census_visit(const struct args *a, struct census *c, pid_t pid)
{
	struct lp_target *target = NULL;
	struct lp_listing listing = {0};
	struct lp_err err = {0};
	int rc = open_listing(pid, &target, &listing, &err);
	if (rc == 0 && listing.ledger) {
		census_add(a, c, pid, target, &listing);
	} else if (rc < 0 && rc != -LP_EGONE && rc != -LP_EEXECED) {
		note_error(&err);
		c->nr_failed++;
	}
	lp_listing_free(&listing);
	lp_target_close(target);
}

static void census_report(const struct args *a, struct census *c, size_t unreadable)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_pack("{s:b, s:o, s:I, s:I}", "ok", 1, "processes", c->rows, "unreadable",
				    (json_int_t)unreadable, "failed", (json_int_t)c->nr_failed));
		return;
	}
	char processes[SHORT_TEXT];
	if (!c->nr_patched)
		out_printf("no process %sis patched\n", unreadable ? "that may be looked at " : "");
	if (unreadable)
		note("%s of other users could not be looked at", count_text(unreadable, "process", processes));
}

static int list_all(const struct args *a, struct lp_err *err)
{
	pid_vec pids = {0};
	struct census census = {0};
	size_t unreadable;
	int rc = processes_patched(&pids, &unreadable, err);
	if (rc < 0)
		return rc;
	census.rows = a->on[OPT_JSON] ? json_array() : NULL;
	for (size_t i = 0; i < pids.nr; i++)
		census_visit(a, &census, pids.items[i]);
	census_report(a, &census, unreadable);
	lp_vec_free(&pids);
	return census.nr_failed ? EXIT_REFUSED : EXIT_DONE;
}

int verb_list(const struct args *a, struct lp_err *err)
{
	return a->on[OPT_ALL_PROCESSES] ? list_all(a, err) : list_one(a, err);
}
