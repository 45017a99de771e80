/*
 * HTTPS, by libcurl: one GET with limits.
 *
 *     const struct lp_http_options o = {.agent = "arm64_runner/1.2.3", .stall_s = 30};
 *     struct lp_http_reply r = {0};
 *     rc = lp_http_get(&o, &(struct lp_http_request){.url = url, .limit = 1 << 20}, &r, err);
 *     lp_http_reply_free(&r);
 *
 * Only https://, but for this machine itself (localhost, 127.*, [::1]), where
 * http:// will do; redirections lead to https:// alone.  A transfer that
 * breaks is taken up where it broke when the server can say that the file is
 * still the same (If-Range), else begun anew; four times at most.
 */
#ifndef LP_UPDATE_HTTP_H
#define LP_UPDATE_HTTP_H

#include "base/buf.h"
#include "base/err.h"

struct lp_http_options {
	const char *agent;
	const char *ca_file; /* certificates to trust instead of the system's; NULL: those */
	unsigned stall_s;    /* so long slower than a kilobyte a second, or not connected: given up */
	/* total 0: unknown.  May be NULL. */
	void (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg;
};

struct lp_http_request {
	const char *url;
	size_t limit;	    /* bytes of the reply */
	const char *etag;   /* of the copy at hand: the reply may be 304; or NULL */
	const char *accept; /* a content type; or NULL */
	const char *header; /* one more, "NAME: VALUE"; or NULL */
};

struct lp_http_reply {
	long status; /* 200 or 304 when it succeeded; else as it came, or 0 */
	struct lp_buf body;
	char etag[256];
	int64_t not_before; /* seconds since 1970: when the server wants to be asked again; 0: it does not say */
};

enum { LP_HTTP_WAIT_MAX = 24 * 3600 }; /* seconds: a server does not put us off for longer than that */

bool lp_http_is_allowed(const char *url, struct lp_err *err);
/* http://, which is allowed for nobody else. */
bool lp_http_is_at_home(const char *url);

/* -LP_ENETWORK; -LP_ELIMITED for 403 and 429 that say until when; -EFBIG beyond the limit. */
int lp_http_get(const struct lp_http_options *o, const struct lp_http_request *q, struct lp_http_reply *r,
		struct lp_err *err);
void lp_http_reply_free(struct lp_http_reply *r);

#endif
