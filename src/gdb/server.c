/* The stub's thread: connections, packets, and what gdb asks while the world stands still. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/log.h"
#include "emu/loader.h"
#include "emu/sys.h"
#include "gdb/gdb.h"
#include "gdb/registers.h"
#include "gdb/stub.h"

#define STOP_TIMEOUT_MS 10000

/* ---- signals: gdb numbers them its own way (include/gdb/signals.def) ---- */

static const uint8_t gdb_number[32] = {
	[SIGHUP] = 1,	  [SIGINT] = 2,	  [SIGQUIT] = 3,   [SIGILL] = 4,   [SIGTRAP] = 5,  [SIGABRT] = 6,
	[SIGFPE] = 8,	  [SIGKILL] = 9,  [SIGBUS] = 10,   [SIGSEGV] = 11, [SIGSYS] = 12,  [SIGPIPE] = 13,
	[SIGALRM] = 14,	  [SIGTERM] = 15, [SIGURG] = 16,   [SIGSTOP] = 17, [SIGTSTP] = 18, [SIGCONT] = 19,
	[SIGCHLD] = 20,	  [SIGTTIN] = 21, [SIGTTOU] = 22,  [SIGIO] = 23,   [SIGXCPU] = 24, [SIGXFSZ] = 25,
	[SIGVTALRM] = 26, [SIGPROF] = 27, [SIGWINCH] = 28, [SIGUSR1] = 30, [SIGUSR2] = 31, [SIGPWR] = 32,
};

static unsigned to_gdb(int sig)
{
	if (sig < 32)
		return gdb_number[sig];
	return sig == 32 ? 77 : sig == 64 ? 78 : (unsigned)sig + 12;
}

static int from_gdb(unsigned long number)
{
	for (int sig = 1; sig <= 64; sig++)
		if (to_gdb(sig) == number)
			return sig;
	return 0;
}

/* ---- threads ---- */

static struct lp_guest_thread *thread_by_tid(struct lp_gdb *g, int tid)
{
	for (struct lp_guest_thread *t = lp_guest_threads(g->emu); t; t = t->next)
		if (t->tid == tid)
			return t;
	return NULL;
}

static struct lp_guest_thread *current(struct lp_gdb *g)
{
	struct lp_guest_thread *t = thread_by_tid(g, g->current);

	return t ? t : lp_guest_threads(g->emu);
}

/* ---- stopping ---- */

static void describe_stop(struct lp_gdb *g, struct lp_buf *reply)
{
	const struct lp_gdb_stop *s = &g->reported;

	if (s->why == LP_GDB_EXITED) {
		if (s->status < 0)
			lp_buf_printf(reply, "X%02x", to_gdb(-s->status));
		else
			lp_buf_printf(reply, "W%02x", (unsigned)s->status & 0xff);
		return;
	}
	lp_buf_printf(reply, "T%02x", to_gdb(s->signal));
	if (s->why == LP_GDB_WATCH)
		lp_buf_printf(reply, "%s:%" PRIx64 ";", s->watch, s->watch_addr);
	if (s->why == LP_GDB_BREAK)
		lp_buf_str(reply, "swbreak:;");
	lp_buf_printf(reply, "thread:%x;", (unsigned)s->tid);
}

static bool stop_world(struct lp_gdb *g)
{
	if (!g->stopped && lp_threads_stop(g->emu, STOP_TIMEOUT_MS) < 0) {
		lp_warn("gdb: the threads of the guest could not be stopped");
		return false;
	}
	return g->stopped = true;
}

static void report(struct lp_gdb *g)
{
	struct lp_buf reply = {0};

	describe_stop(g, &reply);
	lp_gdb_send(&g->wire, reply.data, reply.len);
	lp_buf_free(&reply);
}

static void interrupted(struct lp_gdb *g)
{
	if (g->stopped || !stop_world(g))
		return;
	g->reported = (struct lp_gdb_stop){.why = LP_GDB_SIGNAL, .signal = SIGINT, .tid = g->emu->main->tid};
	if (!thread_by_tid(g, g->reported.tid))
		g->reported.tid = lp_guest_threads(g->emu)->tid;
	g->current = g->reported.tid;
	report(g);
}

/* ---- memory and registers ---- */

static uint64_t number(const char **at)
{
	char *end;
	uint64_t value = strtoull(*at, &end, 16);

	*at = *end ? end + 1 : end;
	return value;
}

static void error(struct lp_buf *reply)
{
	lp_buf_str(reply, "E01");
}

/* As much as can be read. */
static void read_memory(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	static uint8_t bytes[LP_GDB_PACKET_MAX / 2 - 64];
	uint64_t at = number(&args), len = number(&args);

	len = len < sizeof bytes ? len : sizeof bytes;
	while (len && lp_mem_read(at, bytes, len)) {
		uint64_t to_page = LP_GUEST_PAGE - at % LP_GUEST_PAGE;
		len = len > to_page ? to_page : 0;
	}
	if (len)
		lp_gdb_hex(reply, bytes, len);
	else
		error(reply);
}

static void write_bytes(struct lp_gdb *g, uint64_t at, const void *bytes, size_t len, struct lp_buf *reply)
{
	int rc = len ? lp_mem_poke(g->emu, at, bytes, len) : 0;

	lp_block_invalidate(g->emu->blocks, (struct lp_range){at, at + len});
	if (rc)
		error(reply);
	else
		lp_buf_str(reply, "OK");
}

static void write_memory(struct lp_gdb *g, const char *args, size_t args_len, bool binary, struct lp_buf *reply)
{
	static uint8_t bytes[LP_GDB_PACKET_MAX];
	const char *end = args + args_len, *data = memchr(args, ':', args_len);
	uint64_t at = number(&args), len = number(&args);

	if (!data || len > sizeof bytes)
		error(reply);
	else if (binary && (size_t)(end - data - 1) >= len)
		write_bytes(g, at, data + 1, len, reply);
	else if (!binary && lp_gdb_unhex(data + 1, (size_t)(end - data - 1), bytes, len) == len)
		write_bytes(g, at, bytes, len, reply);
	else
		error(reply);
}

static void read_registers(struct lp_gdb *g, struct lp_buf *reply)
{
	uint8_t bytes[16];

	for (unsigned i = 0; i < LP_GDB_NR_REGISTERS; i++)
		lp_gdb_hex(reply, bytes, lp_gdb_register_read(&current(g)->cpu, i, bytes));
}

static void write_registers(struct lp_gdb *g, const char *hex, size_t len, struct lp_buf *reply)
{
	struct lp_cpu *cpu = &current(g)->cpu;
	uint8_t bytes[16];
	size_t at = 0;

	for (unsigned i = 0; i < LP_GDB_NR_REGISTERS; i++) {
		size_t size = lp_gdb_register_read(cpu, i, bytes);
		if (lp_gdb_unhex(hex + at, len - at, bytes, size) != size)
			break;
		lp_gdb_register_write(cpu, i, bytes, size);
		at += 2 * size;
	}
	lp_buf_str(reply, "OK");
}

static void read_register(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	uint8_t bytes[16];
	size_t len = lp_gdb_register_read(&current(g)->cpu, (unsigned)number(&args), bytes);

	if (len)
		lp_gdb_hex(reply, bytes, len);
	else
		error(reply);
}

static void write_register(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	uint8_t bytes[16];
	unsigned nr = (unsigned)number(&args);
	size_t len = lp_gdb_unhex(args, strlen(args), bytes, sizeof bytes);

	if (lp_gdb_register_write(&current(g)->cpu, nr, bytes, len))
		lp_buf_str(reply, "OK");
	else
		error(reply);
}

/* ---- breakpoints ---- */

static void set_break(struct lp_gdb *g, const char *args, bool on, struct lp_buf *reply)
{
	unsigned kind = (unsigned)number(&args);
	uint64_t at = number(&args), len = number(&args);
	struct lp_gdb_watch w = {{at, at + (len ? len : 1)}, kind >= 3, kind == 2 || kind == 4};

	if (kind > 4)
		return;
	if (kind < 2)
		lp_gdb_set_breakpoint(g, at, on);
	else
		lp_gdb_set_watch(g, &w, on);
	lp_buf_str(reply, "OK");
}

/* ---- going on ---- */

static void go(struct lp_gdb *g, const struct lp_gdb_thread *acts, size_t nr, enum lp_gdb_action rest)
{
	lp_gdb_act(g, acts, nr, rest);
	lp_gdb_let_go(g);
}

/* "s", "c", "S05", "C05", "rSTART,END" */
static bool parse_action(const char *text, struct lp_gdb_thread *out)
{
	const char *at = text + 1;

	*out = (struct lp_gdb_thread){.action = LP_GDB_CONTINUE};
	switch (*text) {
	case 'C':
		out->deliver = from_gdb(number(&at));
		return true;
	case 'S':
		out->deliver = from_gdb(number(&at));
		out->action = LP_GDB_STEP;
		return true;
	case 'r':
		out->action = LP_GDB_STEP;
		out->within.start = number(&at);
		out->within.end = number(&at);
		return true;
	case 's':
		out->action = LP_GDB_STEP;
		return true;
	default:
		return *text == 'c';
	}
}

/* "vCont;ACTION:TID;ACTION:TID;ACTION": the first that fits a thread counts; threads without one stay where they are. */
static void resume(struct lp_gdb *g, char *text, struct lp_buf *reply)
{
	LP_VEC(struct lp_gdb_thread) acts = {0};
	struct lp_gdb_thread all = {.action = LP_GDB_HOLD};
	char *rest = text, *part;

	while ((part = strsep(&rest, ";"))) {
		char *colon = strchr(part, ':');
		struct lp_gdb_thread act;
		if (!*part || !parse_action(part, &act))
			continue;
		act.tid = colon ? (int)strtol(colon + 1, NULL, 16) : -1;
		if (act.tid > 0)
			lp_vec_push(&acts, act);
		else if (all.action == LP_GDB_HOLD)
			all = act;
	}
	go(g, acts.items, acts.nr, all.action);
	lp_vec_free(&acts);
}

/* "c", "s", "C05", "S05" without vCont. */
static void resume_current(struct lp_gdb *g, const char *text)
{
	struct lp_gdb_thread act;

	parse_action(text, &act);
	act.tid = current(g)->tid;
	go(g, &act, 1, LP_GDB_CONTINUE);
}

/* ---- queries ---- */

static void transfer(const void *data, size_t len, const char *args, struct lp_buf *reply)
{
	uint64_t at = number(&args), count = number(&args);

	at = at < len ? at : len;
	count = count < len - at ? count : len - at;
	count = count < LP_GDB_PACKET_MAX / 4 ? count : LP_GDB_PACKET_MAX / 4;
	lp_buf_str(reply, at + count < len ? "m" : "l");
	lp_gdb_escape(reply, (const char *)data + at, count);
}

static void list_threads(struct lp_gdb *g, struct lp_buf *reply)
{
	lp_buf_str(reply, "m");
	for (struct lp_guest_thread *t = lp_guest_threads(g->emu); t; t = t->next)
		lp_buf_printf(reply, "%x%s", (unsigned)t->tid, t->next ? "," : "");
}

static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static void query(struct lp_gdb *g, const char *q, struct lp_buf *reply)
{
	const struct lp_loaded *l = g->emu->loaded;
	const char *args;

	if (after(q, "Supported"))
		lp_buf_printf(reply,
			      "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:auxv:read+;"
			      "qXfer:exec-file:read+;swbreak+;vContSupported+",
			      LP_GDB_PACKET_MAX / 2);
	else if ((args = after(q, "Xfer:features:read:target.xml:")))
		transfer(lp_gdb_target_xml, strlen(lp_gdb_target_xml), args, reply);
	else if ((args = after(q, "Xfer:auxv:read::")))
		transfer(l->auxv, l->nr_auxv * sizeof l->auxv[0], args, reply);
	else if ((args = after(q, "Xfer:exec-file:read:")) && (args = strchr(args, ':')))
		transfer(l->program.path, strlen(l->program.path), args + 1, reply);
	else if (after(q, "fThreadInfo"))
		list_threads(g, reply);
	else if (after(q, "sThreadInfo"))
		lp_buf_str(reply, "l");
	else if (strcmp(q, "C") == 0)
		lp_buf_printf(reply, "QC%x", (unsigned)current(g)->tid);
	else if (after(q, "Attached"))
		lp_buf_str(reply, "1");
}

static void choose_thread(struct lp_gdb *g, const char *args, struct lp_buf *reply)
{
	int tid = (int)strtol(args + 1, NULL, 16);

	if (tid > 0 && !thread_by_tid(g, tid)) {
		error(reply);
		return;
	}
	if (*args == 'g' && tid > 0)
		g->current = tid;
	lp_buf_str(reply, "OK");
}

/* ---- packets ---- */

static void hang_up(struct lp_gdb *g)
{
	lp_gdb_files_close(g);
	lp_gdb_disconnect(g);
	lp_fd_drop(g->wire.fd);
	g->wire.fd = -1;
	g->wire.no_ack = false;
	g->wire.in.len = 0;
}

/* False: no reply is due now (the guest runs, or nobody is there any more). */
static bool handle(struct lp_gdb *g, struct lp_buf *packet, struct lp_buf *reply)
{
	char *text = (char *)packet->data;
	const char *args = packet->len ? text + 1 : "";

	switch (packet->len ? *text : 0) {
	case '?':
		describe_stop(g, reply);
		return true;
	case 'g':
		read_registers(g, reply);
		return true;
	case 'G':
		write_registers(g, args, packet->len - 1, reply);
		return true;
	case 'p':
		read_register(g, args, reply);
		return true;
	case 'P':
		write_register(g, args, reply);
		return true;
	case 'm':
		read_memory(g, args, reply);
		return true;
	case 'M':
	case 'X':
		write_memory(g, args, packet->len - 1, *text == 'X', reply);
		return true;
	case 'Z':
	case 'z':
		set_break(g, args, *text == 'Z', reply);
		return true;
	case 'H':
		choose_thread(g, args, reply);
		return true;
	case 'T':
		lp_buf_str(reply, thread_by_tid(g, (int)strtol(args, NULL, 16)) ? "OK" : "E01");
		return true;
	case 'q':
		query(g, args, reply);
		return true;
	case 'Q':
		if (strcmp(args, "StartNoAckMode") == 0)
			lp_buf_str(reply, "OK");
		return true;
	case 'v':
		if (strcmp(args, "Cont?") == 0)
			lp_buf_str(reply, "vCont;c;C;s;S;r");
		else if (after(args, "Cont;"))
			return resume(g, text + strlen("vCont;"), reply), false;
		else if (after(args, "File:"))
			lp_gdb_file(g, args + strlen("File:"), packet->len - strlen("vFile:"), reply);
		return true;
	case 'c':
	case 's':
	case 'C':
	case 'S':
		resume_current(g, text);
		return false;
	case 'D':
		lp_gdb_send(&g->wire, "OK", 2);
		hang_up(g);
		return false;
	case 'k':
		kill(getpid(), SIGKILL);
		return false;
	default:
		return true; /* an empty reply: not known here */
	}
}

/* Everything that has arrived; the guest may run again afterwards. */
static void serve_packets(struct lp_gdb *g)
{
	struct lp_buf packet = {0}, reply = {0};
	enum lp_gdb_read r = LP_GDB_PACKET;

	while (g->wire.fd >= 0 && (r = lp_gdb_next(&g->wire, &packet)) != LP_GDB_NOTHING && r != LP_GDB_CLOSED) {
		reply.len = 0;
		if (r == LP_GDB_INTERRUPT)
			interrupted(g);
		else if (handle(g, &packet, &reply))
			lp_gdb_send(&g->wire, reply.data, reply.len);
		/* from the next packet on */
		if (r == LP_GDB_PACKET && strcmp((char *)packet.data, "QStartNoAckMode") == 0)
			g->wire.no_ack = true;
	}
	if (g->wire.fd >= 0 && r == LP_GDB_CLOSED)
		hang_up(g);
	lp_buf_free(&packet);
	lp_buf_free(&reply);
}

/* ---- the thread ---- */

/* A guest thread has something to tell. */
static void serve_event(struct lp_gdb *g)
{
	bool told_before = g->stopped;
	bool there;

	pthread_mutex_lock(&g->lock);
	there = g->has_stop;
	pthread_mutex_unlock(&g->lock);
	if (!there || told_before || !stop_world(g))
		return;
	g->reported = g->stop;
	g->current = g->stop.tid;
	if (g->reported.why == LP_GDB_STARTED)
		return; /* gdb asks, with '?' */
	report(g);
	if (g->reported.why == LP_GDB_EXITED) {
		g->is_over = true;
		hang_up(g);
	}
}

static void accept_gdb(struct lp_gdb *g)
{
	int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	g->wire.fd = lp_fd_keep(fd);
	pthread_mutex_lock(&g->lock);
	bool begins = g->stop.tid == 0;
	g->is_connected = true;
	pthread_cond_broadcast(&g->resumed);
	pthread_mutex_unlock(&g->lock);
	if (!begins && stop_world(g)) {
		g->reported = (struct lp_gdb_stop){.why = LP_GDB_SIGNAL, .signal = SIGTRAP, .tid = current(g)->tid};
		g->current = g->reported.tid;
	}
}

static void *serve(void *arg)
{
	struct lp_gdb *g = arg;
	char byte[64];

	lp_signals_keep_out();
	while (!g->is_over) {
		bool connected = g->wire.fd >= 0, begun = g->stop.tid != 0 && g->reported.tid != 0;
		struct pollfd on[] = {{g->wake[0], POLLIN, 0},
				      {connected ? -1 : g->listener, POLLIN, 0},
				      {connected && begun ? g->wire.fd : -1, POLLIN, 0}};
		if (poll(on, LP_ARRAY_SIZE(on), -1) < 0)
			continue;
		if (on[0].revents && read(g->wake[0], byte, sizeof byte) > 0)
			serve_event(g);
		if (on[1].revents)
			accept_gdb(g);
		if (on[2].revents && g->wire.fd >= 0)
			serve_packets(g);
		/* What waited for its turn while gdb was busy with another. */
		if (!g->stopped && !g->is_over)
			serve_event(g);
	}
	return NULL;
}

/* ---- start ---- */

static int listen_port(const char *where, struct lp_err *err)
{
	char *end;
	unsigned long port = strtoul(where, &end, 10);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd, yes = 1;

	if (*end || end == where || port == 0 || port > 65535)
		return lp_fail(err, LP_EUSAGE, "--gdb %s: give a port from 1 to 65535, or the path of a socket", where);
	at.sin_port = htons((uint16_t)port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1) < 0) {
		int rc = lp_fail_sys(err, errno, "cannot listen for gdb on port %lu", port);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	return fd;
}

static int listen_socket(const char *path, struct lp_err *err)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof at.sun_path)
		return lp_fail(err, LP_EUSAGE, "--gdb %s: the path of a socket has at most %zu bytes", path,
			       sizeof at.sun_path - 1);
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* nobody else's from the start: the mode of the socket is the descriptor's */
	if (fd >= 0 && fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0)
		return fd;
	rc = lp_fail_sys(err, errno, "cannot listen for gdb at %s", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

int lp_gdb_start(struct lp_emu *emu, const char *where, struct lp_err *err)
{
	struct lp_gdb *g = lp_alloc(sizeof *g);
	bool is_path = strchr(where, '/') != NULL;
	int rc = is_path ? listen_socket(where, err) : listen_port(where, err);
	pthread_t thread;

	g->emu = emu;
	g->wire.fd = -1;
	g->listener = rc < 0 ? -1 : lp_fd_keep(rc);
	g->path = is_path ? lp_strdup(where) : NULL;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->resumed, NULL);
	if (rc >= 0 && pipe2(g->wake, O_CLOEXEC | O_NONBLOCK) < 0)
		rc = lp_fail_sys(err, errno, "cannot make a pipe");
	if (rc >= 0) {
		g->wake[0] = lp_fd_keep(g->wake[0]);
		g->wake[1] = lp_fd_keep(g->wake[1]);
		lp_gdb_watch_events(g);
		atomic_fetch_or(&emu->main->cpu.poll, LP_POLL_TRACE);
		uint64_t mask = lp_signals_keep_out(); /* the thread begins with what its maker keeps out */
		rc = -pthread_create(&thread, NULL, serve, g);
		lp_host_mask(mask);
		if (rc < 0)
			rc = lp_fail_sys(err, -rc, "cannot make a thread");
	}
	if (rc < 0)
		return rc;
	pthread_detach(thread);
	return 0;
}
