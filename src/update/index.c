/* The list of releases: asked for page by page, with the copies at hand. */
#include <string.h>

#include "update/private.h"

#define INDEX_CACHE "index"
#define PAGE 100u /* releases; no more come at once */
#define PAGES_MAX 10u

/* The copy at hand of one page: in its file the address, the tag, then the text; a line each. */
struct kept_page {
	struct lp_buf file;
	const char *etag; /* NULL: there is none for this address, or none that can be read */
	struct lp_releases releases;
};

/* The tag of the copy for this address; *text is what it is a copy of. */
static const char *take_apart(struct lp_buf *file, const char *url, const char **text)
{
	char *end_of_url = strchr((char *)lp_buf_cstr(file), '\n'), *end_of_etag;

	end_of_etag = end_of_url ? strchr(end_of_url + 1, '\n') : NULL;
	if (!end_of_etag || end_of_url + 1 == end_of_etag)
		return NULL;
	*end_of_url = *end_of_etag = 0;
	*text = end_of_etag + 1;
	return strcmp((char *)file->data, url) ? NULL : end_of_url + 1;
}

static void read_kept(struct lp_update *u, const char *url, const char *name, struct kept_page *kept)
{
	const char *etag, *text;

	*kept = (struct kept_page){0};
	if (lp_update_memory_get(&u->memory, name, &kept->file, LP_INDEX_MAX + 4096, NULL))
		return;
	etag = take_apart(&kept->file, url, &text);
	if (etag && lp_releases_read(&kept->releases, text, strlen(text), LP_UPDATE_MACHINE, NULL) == 0)
		kept->etag = etag;
}

/* What cannot be kept is asked for again. */
static void keep(struct lp_update *u, const char *url, const char *name, const struct lp_http_reply *r)
{
	struct lp_buf file = {0};

	lp_buf_printf(&file, "%s\n%s\n", url, r->etag);
	lp_buf_add(&file, r->body.data, r->body.len);
	lp_update_memory_put(&u->memory, name, file.data, file.len, NULL);
	lp_buf_free(&file);
}

static int take_page(struct lp_update *u, const char *url, const char *name, struct lp_http_reply *r,
		     struct kept_page *kept, struct lp_err *err)
{
	struct lp_releases read;
	int rc;

	if (r->status == 304) {
		lp_releases_join(&u->all, &kept->releases);
		return 0;
	}
	rc = lp_releases_read(&read, lp_buf_cstr(&r->body), r->body.len, LP_UPDATE_MACHINE, err);
	if (rc)
		return lp_err_context(err, rc, "%s", url);
	keep(u, url, name, r);
	lp_releases_join(&u->all, &read);
	return 0;
}

/* Pages are counted from 1. */
static int ask_page(struct lp_update *u, unsigned nr, struct lp_err *err)
{
	char *url = lp_sprintf("%s/repos/%s/releases?per_page=%u&page=%u", u->o.url, u->o.repository, PAGE, nr);
	char *name = nr == 1 ? lp_strdup(INDEX_CACHE) : lp_sprintf(INDEX_CACHE "%u", nr);
	struct lp_http_options o = lp_update_http_options(u);
	struct lp_http_reply r;
	struct kept_page kept;
	int rc;

	read_kept(u, url, name, &kept);
	rc = lp_http_get(&o,
			 &(struct lp_http_request){.url = url,
						   .limit = LP_INDEX_MAX,
						   .etag = kept.etag,
						   .accept = "application/vnd.github+json",
						   .header = "X-GitHub-Api-Version: 2022-11-28"},
			 &r, err);
	u->memory.state.not_before = r.not_before;
	rc = rc ? rc : take_page(u, url, name, &r, &kept, err);
	lp_http_reply_free(&r);
	lp_releases_free(&kept.releases);
	lp_buf_free(&kept.file);
	lp_free(name);
	lp_free(url);
	return rc;
}

/* The newest of a channel may stand behind a hundred others. */
int lp_update_ask_index(struct lp_update *u, struct lp_err *err)
{
	size_t before;
	unsigned nr = 0;
	int rc;

	lp_releases_free(&u->all);
	u->all.listed = 0;
	do {
		before = u->all.listed;
		rc = ask_page(u, ++nr, err);
	} while (rc == 0 && nr < PAGES_MAX && u->all.listed - before == PAGE);
	return rc;
}
