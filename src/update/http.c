#include "update/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/vec.h"

#define TRIES 4
#define REDIRECTIONS_MAX 5L
#define SLOWEST 1024L		     /* bytes a second */
#define LONGEST_S (60L * 60)	     /* for one try, however fast */
#define COUNT_MAX (INT64_C(1) << 40) /* beyond any time: sums of two still fit */

/* One try of a request; headers are those of its last answer, after redirections. */
struct transfer {
	const struct lp_http_options *options;
	const struct lp_http_request *request;
	struct lp_http_reply *reply;
	CURL *curl;
	struct curl_slist *headers;
	char why[CURL_ERROR_SIZE];
	size_t from; /* what was there before */
	uint64_t range_from;
	int64_t retry_after, reset;
	bool exhausted; /* no questions left */
	bool too_large, begun;
};

/* ---- which addresses ---- */

static bool is_loopback(const char *host)
{
	return !strcasecmp(host, "localhost") || !strcmp(host, "[::1]") || !strcmp(host, "127.0.0.1") ||
	       (!strncmp(host, "127.", 4) && strspn(host, "0123456789.") == strlen(host));
}

static bool url_is_fine(CURLU *parts, const char *url)
{
	char *scheme = NULL, *host = NULL;
	bool fine = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
		    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK;

	fine = fine && (!strcmp(scheme, "https") || (!strcmp(scheme, "http") && is_loopback(host)));
	curl_free(scheme);
	curl_free(host);
	return fine;
}

bool lp_http_is_allowed(const char *url, struct lp_err *err)
{
	CURLU *parts = curl_url();
	bool fine = parts && url_is_fine(parts, url);

	curl_url_cleanup(parts);
	if (!fine)
		lp_fail(err, LP_ENETWORK, "%s is not asked: only https:// is (http:// at this machine itself)", url);
	return fine;
}

bool lp_http_is_at_home(const char *url)
{
	return !strncasecmp(url, "http:", 5);
}

/* ---- what the server says of itself ---- */

static int64_t read_count(const char *text)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	return end == text || n < 0 ? 0 : n > COUNT_MAX ? COUNT_MAX : n;
}

/* Seconds, or a date. */
static int64_t read_retry(const char *text)
{
	time_t date = text[0] >= '0' && text[0] <= '9' ? -1 : curl_getdate(text, NULL);

	return date > 0 ? (int64_t)date : (int64_t)time(NULL) + read_count(text);
}

static void forget_headers(struct transfer *t)
{
	t->reply->etag[0] = 0;
	t->retry_after = t->reset = 0;
	t->range_from = 0;
	t->exhausted = t->begun = false;
}

static void take_header(struct transfer *t, const char *name, const char *value)
{
	if (!strcasecmp(name, "etag") && strlen(value) < sizeof t->reply->etag)
		memcpy(t->reply->etag, value, strlen(value) + 1);
	else if (!strcasecmp(name, "retry-after"))
		t->retry_after = read_retry(value);
	else if (!strcasecmp(name, "x-ratelimit-reset"))
		t->reset = read_count(value);
	else if (!strcasecmp(name, "x-ratelimit-remaining"))
		t->exhausted = !strcmp(value, "0");
	else if (!strcasecmp(name, "content-range") && !strncasecmp(value, "bytes ", 6))
		t->range_from = strtoull(value + 6, NULL, 10);
}

static size_t on_header(char *data, size_t one, size_t len, void *arg)
{
	struct transfer *t = arg;
	char *line = lp_sprintf("%.*s", (int)len, data), *colon = strchr(line, ':');

	line[strcspn(line, "\r\n")] = 0;
	if (!strncmp(line, "HTTP/", 5)) {
		forget_headers(t);
	} else if (colon) {
		*colon = 0;
		take_header(t, line, colon + 1 + strspn(colon + 1, " \t"));
	}
	lp_free(line);
	return len;
}

/* ---- what it sends ---- */

static long status_of(struct transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

/* A server that sends all of it again, or from somewhere else, begins anew. */
static bool begin(struct transfer *t)
{
	struct lp_buf *body = &t->reply->body;
	long status = status_of(t);

	t->begun = true;
	if (status == 206)
		return t->range_from == body->len;
	body->len = 0;
	return true;
}

static size_t on_data(char *data, size_t one, size_t len, void *arg)
{
	struct transfer *t = arg;
	struct lp_buf *body = &t->reply->body;
	long status = status_of(t);

	if (status != 200 && status != 206)
		return len; /* a page about the error */
	if (!t->begun && !begin(t))
		return 0;
	t->too_large = len > t->request->limit - body->len || !lp_buf_has_room(body, len);
	if (t->too_large)
		return 0;
	lp_buf_add(body, data, len);
	return len;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
	struct transfer *t = arg;
	size_t before = t->reply->body.len > (size_t)now ? t->reply->body.len - (size_t)now : 0;

	if (t->options->progress && t->begun)
		t->options->progress(t->reply->body.len, total ? before + (uint64_t)total : 0, t->options->arg);
	return 0;
}

/* ---- one try ---- */

static void add_header(struct transfer *t, const char *format, const char *value)
{
	char *line = lp_sprintf(format, value); /* NOLINT(clang-diagnostic-format-nonliteral): three, all below */
	struct curl_slist *longer = curl_slist_append(t->headers, line);

	t->headers = longer ? longer : t->headers;
	lp_free(line);
}

static void ask_for_rest(struct transfer *t, const char *etag)
{
	char range[32];

	snprintf(range, sizeof range, "%zu-", t->reply->body.len);
	curl_easy_setopt(t->curl, CURLOPT_RANGE, range);
	add_header(t, "If-Range: %s", etag);
}

static void set_options(struct transfer *t)
{
	const struct lp_http_options *o = t->options;
	CURL *c = t->curl;

	curl_easy_setopt(c, CURLOPT_URL, t->request->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, lp_http_is_at_home(t->request->url) ? "http" : "https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTIONS_MAX);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, o->agent);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)o->stall_s);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOWEST);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)o->stall_s);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, LONGEST_S);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	if (o->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
	if (lp_http_is_at_home(t->request->url))
		curl_easy_setopt(c, CURLOPT_PROXY, "");
}

static void set_headers(struct transfer *t, const char *etag_of_part)
{
	if (t->request->accept)
		add_header(t, "Accept: %s", t->request->accept);
	if (t->request->header)
		add_header(t, "%s", t->request->header);
	if (t->request->etag && !t->reply->body.len)
		add_header(t, "If-None-Match: %s", t->request->etag);
	if (t->reply->body.len)
		ask_for_rest(t, etag_of_part);
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
}

/* A strong one says that the bytes are the same. */
static bool can_go_on(const struct lp_http_reply *r)
{
	return r->body.len && r->etag[0] == '"';
}

static CURLcode try_once(struct transfer *t)
{
	char etag[sizeof t->reply->etag];
	CURLcode rc;

	memcpy(etag, t->reply->etag, sizeof etag);
	if (!can_go_on(t->reply))
		t->reply->body.len = 0;
	t->from = t->reply->body.len;
	t->headers = NULL;
	forget_headers(t);
	t->curl = curl_easy_init();
	if (!t->curl)
		return CURLE_OUT_OF_MEMORY;
	set_options(t);
	set_headers(t, etag);
	rc = curl_easy_perform(t->curl);
	t->reply->status = status_of(t);
	if (!t->reply->etag[0])
		memcpy(t->reply->etag, etag,
		       sizeof etag); /* a server that is gone did not say that the file is another */
	curl_slist_free_all(t->headers);
	curl_easy_cleanup(t->curl);
	return rc;
}

/* ---- all tries ---- */

/* Broken on the way, with something in hand. */
static bool is_worth_a_try(CURLcode rc, const struct transfer *t)
{
	switch (rc) {
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_OPERATION_TIMEDOUT:
		return t->begun && t->reply->body.len != t->from;
	case CURLE_WRITE_ERROR:
		return !t->too_large; /* a part that does not fit to ours */
	default:
		return false;
	}
}

static int64_t when_again(const struct transfer *t)
{
	int64_t now = time(NULL), at = t->retry_after ? t->retry_after : t->exhausted ? t->reset : 0;

	return at > now + LP_HTTP_WAIT_MAX ? now + LP_HTTP_WAIT_MAX : at > now ? at : 0;
}

static int refuse_status(const struct transfer *t, struct lp_err *err)
{
	long status = t->reply->status;
	const char *url = t->request->url;

	if ((status == 403 || status == 429 || status == 503) && t->reply->not_before)
		return lp_fail(err, LP_ELIMITED, "%s: the server takes no more questions for %" PRId64 " s (HTTP %ld)",
			       url, t->reply->not_before - (int64_t)time(NULL), status);
	if (status == 404)
		return lp_fail(err, LP_ENETWORK, "%s: there is no such thing (HTTP 404)", url);
	return lp_fail(err, LP_ENETWORK, "%s: the server says no (HTTP %ld)", url, status);
}

static int refuse_transfer(const struct transfer *t, CURLcode rc, struct lp_err *err)
{
	const char *why = t->why[0] ? t->why : curl_easy_strerror(rc);

	if (t->too_large)
		return lp_fail(err, EFBIG, "%s: larger than %zu bytes", t->request->url, t->request->limit);
	if (rc == CURLE_UNSUPPORTED_PROTOCOL)
		return lp_fail(err, LP_ENETWORK, "%s: the server leads to an address that is not https://",
			       t->request->url);
	return lp_fail(err, rc == CURLE_OPERATION_TIMEDOUT ? LP_ETIMEOUT : LP_ENETWORK, "%s: %s", t->request->url, why);
}

static int conclude(struct transfer *t, CURLcode rc, struct lp_err *err)
{
	long status = t->reply->status;

	t->reply->not_before = when_again(t);
	if (rc != CURLE_OK)
		return refuse_transfer(t, rc, err);
	if (status == 206)
		t->reply->status = 200;
	return t->reply->status == 200 || (status == 304 && t->request->etag) ? 0 : refuse_status(t, err);
}

int lp_http_get(const struct lp_http_options *o, const struct lp_http_request *q, struct lp_http_reply *r,
		struct lp_err *err)
{
	struct transfer t = {.options = o, .request = q, .reply = r};
	CURLcode rc = CURLE_OK;

	*r = (struct lp_http_reply){0};
	if (!lp_http_is_allowed(q->url, err))
		return -LP_ENETWORK;
	for (int i = 0; i < TRIES; i++) {
		t.why[0] = 0;
		rc = try_once(&t);
		if (!is_worth_a_try(rc, &t))
			break;
		if (rc == CURLE_WRITE_ERROR)
			r->body.len = 0;
	}
	return conclude(&t, rc, err);
}

void lp_http_reply_free(struct lp_http_reply *r)
{
	lp_buf_free(&r->body);
}
