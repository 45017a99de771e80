#include "tool/tool.h"

#include <limits.h>

/* Everything that `info` shows, gathered before anything is printed. */
struct info {
	struct lp_target *target;
	char exe[PATH_MAX];
	const struct lp_image *images;
	size_t nr_images;
	thread_vec threads;
	struct lp_listing listing;
	struct lp_foreign_list foreign;
	size_t nr_active;
	uint64_t patch_bytes, kept_bytes;
};

static void count_patches(struct info *i)
{
	for (size_t p = 0; p < i->listing.nr; p++) {
		const struct lp_listed *patch = &i->listing.items[p];
		i->nr_active += patch->state == LP_APPLIED;
		for (size_t r = 0; r < patch->nr_rooms; r++) {
			uint64_t size = patch->rooms[r].range.end - patch->rooms[r].range.start;
			*(patch->rooms[r].kept ? &i->kept_bytes : &i->patch_bytes) += size;
		}
	}
}

static int gather(const struct args *a, struct info *i, struct lp_err *err)
{
	int rc = lp_target_open_process(&i->target, a->pid, NULL, err);
	if (rc == 0)
		rc = i->target->ops->images(i->target, &i->images, &i->nr_images, err);
	if (rc == 0)
		rc = lp_ledger_list(i->target, &i->listing, err);
	rc = rc ? rc : lp_foreign_patches(i->target, &i->foreign, err);
	if (rc < 0)
		return rc;
	process_exe(a->pid, i->exe, sizeof i->exe);
	process_threads(a->pid, &i->threads);
	count_patches(i);
	return 0;
}

static void release(struct info *i)
{
	lp_vec_free(&i->threads);
	lp_listing_free(&i->listing);
	lp_foreign_free(&i->foreign);
	lp_target_close(i->target);
}

/* ---- for people ---- */

static void print_image(const struct lp_image *image)
{
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_elf_build_id(image->elf, &id);
	lp_build_id_hex(&id, hex);
	out_printf("  %-40s  %s%s\n", id.len ? hex : "-", image->path && image->path[0] ? image->path : image->name,
		   image->debug ? " (with debug file)" : "");
}

static void print_threads(const struct info *i, bool verbose)
{
	out_printf("threads:  %zu\n", i->threads.nr);
	for (size_t t = 0; verbose && t < i->threads.nr; t++)
		out_printf("  %7d  %s\n", i->threads.items[t].tid, i->threads.items[t].name);
}

/* Which live patches which object carries. */
static void print_objects(const struct info *i)
{
	for (size_t p = 0; p < i->listing.nr; p++)
		for (size_t o = 0; o < i->listing.items[p].nr_objects; o++) {
			const struct lp_listed_object *x = &i->listing.items[p].objects[o];
			out_printf("patched:  %s (build-id %s) by patch %" PRIu64 ", id %s\n", x->object, x->build_id,
				   i->listing.items[p].id, x->id[0] ? x->id : "-");
		}
	for (size_t f = 0; f < i->foreign.items.nr; f++) {
		const struct lp_foreign_patch *x = &i->foreign.items.items[f];
		out_printf("patched:  %s (build-id %s) by %s, id %s\n", x->object, x->build_id, x->tool,
			   x->id[0] ? x->id : "-");
	}
}

static void print_patches(const struct info *i)
{
	char size[SHORT_TEXT];
	print_objects(i);
	if (!i->listing.ledger) {
		out_printf("patches:  none, and never had one\n");
		return;
	}
	out_printf("patches:  %zu active, %s of memory\n", i->nr_active, size_text(i->patch_bytes, size));
	if (i->kept_bytes)
		out_printf("kept:     %s of reverted patches\n", size_text(i->kept_bytes, size));
	out_printf("ledger:   " LP_ADDR ", %s%s\n", i->listing.ledger, size_text(i->listing.ledger_bytes, size),
		   i->listing.unfinished ? ", unfinished work of a livepatch that died" : "");
}

static void print_info(const struct info *i, bool verbose)
{
	out_style(STYLE_BOLD);
	out_printf("%s", i->target->label);
	out_style(STYLE_NONE);
	out_printf("\nprogram:  %s (%s)\n", i->exe[0] ? i->exe : "?", i->target->isa->name);
	print_threads(i, verbose);
	print_patches(i);
	out_printf("modules:  %zu, in the order in which symbols are looked up\n", i->nr_images);
	for (size_t m = 0; m < i->nr_images; m++)
		print_image(&i->images[m]);
}

/* ---- for programs ---- */

static json_t *image_json(const struct lp_image *image)
{
	struct lp_build_id id;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_elf_build_id(image->elf, &id);
	lp_build_id_hex(&id, hex);
	return json_pack("{s:o, s:o, s:o, s:o, s:b}", "name", json_text(image->name), "path", json_text(image->path),
			 "bias", json_addr(image->bias), "build_id", id.len ? json_text(hex) : json_null(),
			 "debug_file", image->debug != NULL);
}

static json_t *modules_json(const struct info *i)
{
	json_t *modules = json_array();
	for (size_t m = 0; m < i->nr_images; m++)
		json_array_append_new(modules, image_json(&i->images[m]));
	return modules;
}

static json_t *threads_json(const struct info *i)
{
	json_t *threads = json_array();
	for (size_t t = 0; t < i->threads.nr; t++)
		json_array_append_new(threads, json_pack("{s:i, s:o}", "tid", i->threads.items[t].tid, "name",
							 json_text(i->threads.items[t].name)));
	return threads;
}

static json_t *info_json(const struct info *i)
{
	json_t *answer = json_pack("{s:o}", "process", json_text(i->target->label));
	json_object_set_new(answer, "program", i->exe[0] ? json_text(i->exe) : json_null());
	json_object_set_new(answer, "isa", json_string(i->target->isa->name));
	json_object_set_new(answer, "modules", modules_json(i));
	json_object_set_new(answer, "threads", threads_json(i));
	json_object_set_new(answer, "active_patches", json_integer((json_int_t)i->nr_active));
	json_object_set_new(answer, "patches", json_listing(&i->listing));
	json_object_set_new(answer, "foreign", json_foreign(&i->foreign));
	json_object_set_new(answer, "patch_bytes", json_integer((json_int_t)i->patch_bytes));
	json_object_set_new(answer, "kept_bytes", json_integer((json_int_t)i->kept_bytes));
	json_object_set_new(answer, "ledger", i->listing.ledger ? json_addr(i->listing.ledger) : json_null());
	json_object_set_new(answer, "ledger_bytes", json_integer((json_int_t)i->listing.ledger_bytes));
	json_object_set_new(answer, "unfinished", json_boolean(i->listing.unfinished));
	return answer;
}

int verb_info(const struct args *a, struct lp_err *err)
{
	struct info info = {0};
	int rc = gather(a, &info, err);
	if (rc == 0 && a->on[OPT_JSON])
		json_emit(json_answer(a->pid, info_json(&info)));
	else if (rc == 0)
		print_info(&info, a->on[OPT_VERBOSE]);
	release(&info);
	return rc;
}
