/*
 * Around a snippet that is compiled as it is printed: what its calls answered
 * is remembered, for the program around it to compare.
 *
 *     #include "check.h"
 *     int main(void)
 *     {
 *             ... what the snippet takes for granted
 *     #include SNIPPET
 *             answered("livepatch_apply", 0, NULL);             // in the order of the calls
 *             answered("livepatch_create_nop", -1, "overlap");
 *             answered_no_more();
 *     }
 *
 * Only calls that answer with an int are observed.  One thread.
 */
#ifndef CHECK_H
#define CHECK_H

#include <livepatch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define check(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

static inline void check_failed(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	exit(1);
}

struct check_call {
	const char *function;
	int result;
	char error[64], text[256];
};

static struct check_call check_calls[64];
static int check_made, check_compared;

static inline int check_observe(const char *function, int result)
{
	struct check_call *call = &check_calls[check_made++];
	const livepatch_error *error = livepatch_last_error();

	check(check_made < 64);
	call->function = function;
	call->result = result;
	snprintf(call->error, sizeof(call->error), "%s", result < 0 ? error->name : "");
	snprintf(call->text, sizeof(call->text), "%s", result < 0 ? error->text : "");
	return result;
}

/* The next call of the snippet was this one, and answered so; `error` is its name, NULL = none. */
static inline void answered(const char *function, int result, const char *error)
{
	const struct check_call *call = &check_calls[check_compared++];

	if (check_compared <= check_made && strcmp(call->function, function) == 0 && call->result == result &&
	    strcmp(call->error, error ? error : "") == 0)
		return;
	fprintf(stderr, "call %d: %s answered %d (%s: %s), not %s %d (%s)\n", check_compared,
		call->function ? call->function : "nothing", call->result, call->error, call->text, function, result,
		error ? error : "");
	exit(1);
}

static inline void answered_no_more(void)
{
	check(check_compared == check_made);
}

/* From here on every call is observed.  A name in parentheses is the function itself. */
#define livepatch_set_room(...) check_observe("livepatch_set_room", (livepatch_set_room)(__VA_ARGS__))
#define livepatch_apply(...) check_observe("livepatch_apply", (livepatch_apply)(__VA_ARGS__))
#define livepatch_apply_code(...) check_observe("livepatch_apply_code", (livepatch_apply_code)(__VA_ARGS__))
#define livepatch_insert(...) check_observe("livepatch_insert", (livepatch_insert)(__VA_ARGS__))
#define livepatch_new_func(...) check_observe("livepatch_new_func", (livepatch_new_func)(__VA_ARGS__))
#define livepatch_insert_func(...) check_observe("livepatch_insert_func", (livepatch_insert_func)(__VA_ARGS__))
#define livepatch_create_nop(...) check_observe("livepatch_create_nop", (livepatch_create_nop)(__VA_ARGS__))
#define livepatch_create_branch(...) check_observe("livepatch_create_branch", (livepatch_create_branch)(__VA_ARGS__))
#define livepatch_redirect_function(...) \
	check_observe("livepatch_redirect_function", (livepatch_redirect_function)(__VA_ARGS__))
#define livepatch_revert(...) check_observe("livepatch_revert", (livepatch_revert)(__VA_ARGS__))
#define livepatch_revert_all(...) check_observe("livepatch_revert_all", (livepatch_revert_all)(__VA_ARGS__))
#define livepatch_begin(...) check_observe("livepatch_begin", (livepatch_begin)(__VA_ARGS__))
#define livepatch_commit(...) check_observe("livepatch_commit", (livepatch_commit)(__VA_ARGS__))
#define livepatch_abort(...) check_observe("livepatch_abort", (livepatch_abort)(__VA_ARGS__))
#define livepatch_hook(...) check_observe("livepatch_hook", (livepatch_hook)(__VA_ARGS__))
#define livepatch_unhook(...) check_observe("livepatch_unhook", (livepatch_unhook)(__VA_ARGS__))
#define livepatch_rehook(...) check_observe("livepatch_rehook", (livepatch_rehook)(__VA_ARGS__))
#define livepatch_load_from_file(...) check_observe("livepatch_load_from_file", (livepatch_load_from_file)(__VA_ARGS__))
#define livepatch_load_json(...) check_observe("livepatch_load_json", (livepatch_load_json)(__VA_ARGS__))
#define livepatch_load_from_json(...) check_observe("livepatch_load_from_json", (livepatch_load_from_json)(__VA_ARGS__))
#define livepatch_save_to_file(...) check_observe("livepatch_save_to_file", (livepatch_save_to_file)(__VA_ARGS__))
#define livepatch_reload(...) check_observe("livepatch_reload", (livepatch_reload)(__VA_ARGS__))
#define livepatch_reload_patches(...) check_observe("livepatch_reload_patches", (livepatch_reload_patches)(__VA_ARGS__))
#define livepatch_watch(...) check_observe("livepatch_watch", (livepatch_watch)(__VA_ARGS__))
#define livepatch_unwatch(...) check_observe("livepatch_unwatch", (livepatch_unwatch)(__VA_ARGS__))
#define livepatch_watch_signal(...) check_observe("livepatch_watch_signal", (livepatch_watch_signal)(__VA_ARGS__))
#define livepatch_foreach(...) check_observe("livepatch_foreach", (livepatch_foreach)(__VA_ARGS__))
#define livepatch_find(...) check_observe("livepatch_find", (livepatch_find)(__VA_ARGS__))
#define livepatch_get_counts(...) check_observe("livepatch_get_counts", (livepatch_get_counts)(__VA_ARGS__))

#endif
