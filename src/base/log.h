/*
 * The library speaks through one callback and prints nothing itself.
 *
 * A program sets the callback once, before it starts other threads.  Levels
 * above the chosen one cost one compare.
 */
#ifndef LP_BASE_LOG_H
#define LP_BASE_LOG_H

#include "base/addr.h"

enum lp_log_level { LP_LOG_ERROR, LP_LOG_WARN, LP_LOG_INFO, LP_LOG_DEBUG };

typedef void lp_log_fn(enum lp_log_level level, const char *line, void *arg);

void lp_log_set(enum lp_log_level most, lp_log_fn *fn, void *arg); /* fn NULL: silence */
bool lp_log_on(enum lp_log_level level);
void lp_log(enum lp_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define lp_warn(...) lp_log(LP_LOG_WARN, __VA_ARGS__)
#define lp_info(...) lp_log(LP_LOG_INFO, __VA_ARGS__)
#define lp_debug(...) (lp_log_on(LP_LOG_DEBUG) ? lp_log(LP_LOG_DEBUG, __VA_ARGS__) : (void)0)

#endif
