#include "tool/hotpatch_top.h"

#include "tool/hotpatch_live.h"
#include "tool/hotpatch_screen.h"
#include "tool/tool.h"

static int snapshots(struct peer *p, const char *name, bool once, unsigned delay_ms, struct lp_err *err)
{
	struct live l = {0};
	int rc;

	while ((rc = live_look(&l, p, err)) == 0) {
		json_emit_line(live_json(&l, p->client.pid, name));
		if (out_flush() < 0 || once || !peer_wait(p, delay_ms))
			break;
	}
	live_free(&l);
	return rc;
}

static int table(struct peer *p, struct lp_err *err)
{
	struct live l = {0};
	int rc = live_look(&l, p, err);

	if (rc == 0)
		live_table(&l);
	live_free(&l);
	return rc;
}

int top(struct peer *p, bool once, bool json, unsigned delay_ms, struct lp_err *err)
{
	char name[PROCESS_NAME_MAX];

	process_name(p->client.pid, name);
	if (json)
		return snapshots(p, name, once, delay_ms, err);
	if (once || !screen_is_there())
		return table(p, err);
	return screen_run(p, name, delay_ms, err);
}
