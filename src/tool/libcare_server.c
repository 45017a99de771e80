/*
 * libcare-server: patches processes on request, and programs before they begin.
 *
 * One process waits for everything; each request that touches a process is
 * done by a child (and the change itself by a child of that, worker.c), so
 * that nothing that is found in somebody's memory can stop the service.  When
 * the server dies the children are told to end, and a program that waits at
 * its entry point goes on, because the socket that it waits on closes.
 *
 *     execve PID FD    PID, which asks, is about to execute a program that inherits the other end of this connection
 *                      as FD; the answer is one byte, "I am watching"; the next is sent by the program at its entry
 *                      point (proc/exec.c), which then waits for the connection to close
 *     execve PID       the same from those who keep no descriptor: patched as soon as its objects are there
 *     startup PID      a program that waits in a constructor for the connection to close
 *     update           the store into every process
 *     storage DIR      another store from now on
 *     run PROGRAM...   started, patched before main(), its number printed
 *     kill PID         only what `run` started
 *     stop
 *     and the commands of libcare-ctl
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "store/wire.h"
#include "tool/libcare.h"
#include "tool/tool.h"

#define CONNECTIONS_MAX 128
#define CHILDREN_MAX 32
#define CHILDREN_OF_USER_MAX 8 /* of a user who may only ask for his own programs */
#define REQUEST_MS 5000	       /* from connecting to the end of the request */
#define EXEC_MS 5000	       /* from "I am watching" to the exec */
#define ENTRY_MS 10000	       /* from the exec to the entry point: loading, constructors */
#define ENTRY_PATIENCE_MS 200
#define LATE_MS 2000 /* how long objects are waited for when the program cannot be held */
#define LATE_STEP_MS 5

struct connection {
	int fd; /* -1 = free */
	bool complete;
	int64_t deadline;
	struct lp_wire_peer peer;
	struct lp_wire_request request;
};

struct child {
	pid_t pid;
	bool program; /* started by run */
	uid_t uid;    /* who asked */
};

struct server {
	int listener, signals;
	char *storage;
	bool stop;
	struct connection connections[CONNECTIONS_MAX];
	LP_VEC(struct child) children;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static size_t workers(const struct server *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->children.nr; i++)
		n += !s->children.items[i].program;
	return n;
}

static bool send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

static void send_status(int fd, const struct lp_wire_words *w, int status)
{
	char text[16] = "";
	if (w->wants_status) {
		int n = snprintf(text + 1, sizeof text - 1, "%d\n", status);
		send_all(fd, text, (size_t)n + 1);
	}
}

static void answer(int fd, const struct lp_wire_words *w, int status, const char *text)
{
	send_all(fd, text, strlen(text));
	send_status(fd, w, status);
}

/* ---- what a child does ---- */

static int open_store(const struct server *s, struct lp_store **out)
{
	struct lp_err err = {0};
	int rc = lp_store_open_trusted(out, s->storage, &err);
	if (rc < 0)
		note_error(&err);
	return rc;
}

/* pid 0: everybody. */
static int patch_with_store(const struct server *s, pid_t pid, unsigned patience_ms)
{
	struct lp_store *store = NULL;
	int rc = open_store(s, &store);
	int status = rc < 0 ? status_of(rc)
		     : pid  ? libcare_patch(pid, store, patience_ms, true)
			    : libcare_patch_all(store);
	lp_store_close(store);
	return status;
}

static bool readable_within(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, timeout_ms) == 1;
}

/* Held at its entry point from here until the connection is closed. */
static int serve_held(const struct server *s, int fd, const struct lp_wire_peer *who, pid_t pid, int descriptor)
{
	struct lp_err err = {0};
	char byte;
	int rc = lp_process_catch(pid, &err);
	if (rc == 0 && who && readable_within(who->pidfd, 0)) /* ... and is not the one that asked; let go by our end */
		rc = lp_fail(&err, LP_EGONE, "process %d ended after it had asked", (int)pid);
	if (rc == 0 && !send_all(fd, "g", 1)) /* who is caught is let go when we end */
		rc = lp_fail(&err, LP_EGONE, "process %d has gone", (int)pid);
	rc = rc ? rc : lp_process_hold(pid, descriptor, fd, EXEC_MS, &err);
	if (rc < 0) {
		note_error(&err);
		return status_of(rc);
	}
	if (!readable_within(fd, ENTRY_MS) || recv(fd, &byte, 1, MSG_DONTWAIT) != 1)
		note("process %d did not come to its entry point; it is patched as it is", (int)pid);
	/* Nobody is busy at an entry point.  What cannot be done there may be possible once the program has begun. */
	int status = patch_with_store(s, pid, ENTRY_PATIENCE_MS);
	lp_close(fd);
	return status == EXIT_REFUSED ? patch_with_store(s, pid, LIBCARE_PATIENCE_MS) : status;
}

/* Has it executed another program, and does that have objects that the store knows? */
static bool is_ready(const struct lp_store *store, pid_t pid, uint64_t image)
{
	struct lp_seen seen;
	uint64_t fits = 0;
	if (lp_scan_process(pid, &seen, NULL) < 0)
		return false;
	bool ready = seen.image != image && lp_deploy_fits(store, &seen, &fits, NULL) == 0 && fits;
	lp_seen_free(&seen);
	return ready;
}

static int serve_late(const struct server *s, int fd, pid_t pid)
{
	struct lp_store *store = NULL;
	struct lp_seen before;
	int rc = lp_scan_identity(pid, &before, NULL);
	lp_close(fd); /* it goes on */
	rc = rc < 0 ? rc : open_store(s, &store);
	int status = status_of(rc);
	/* What a process maps makes no event; its end does. */
	int end = (int)syscall(SYS_pidfd_open, pid, 0);
	for (int64_t last = now_ms() + LATE_MS; rc == 0 && now_ms() < last && !interrupted;) {
		if (is_ready(store, pid, before.image)) {
			status = libcare_patch(pid, store, LIBCARE_PATIENCE_MS, true);
			break;
		}
		if (readable_within(end, LATE_STEP_MS))
			break;
	}
	lp_close(end);
	lp_store_close(store);
	return status;
}

static bool number(const char *text, int *out)
{
	uint64_t n = 0;
	if (!text || (strcmp(text, "0") != 0 && !parse_decimal(text, INT32_MAX, &n)))
		return false;
	*out = text[0] == '0' ? 0 : (int)n;
	return true;
}

static int serve_start(const struct server *s, int fd, const struct lp_wire_peer *who, const struct lp_wire_words *w)
{
	int pid, descriptor;
	if (w->nr < 2 || !number(w->items[1], &pid) || pid <= 1) {
		note("%s needs the number of a process", w->items[0]);
		return EXIT_USAGE;
	}
	if (strcmp(w->items[0], "startup") == 0)
		return patch_with_store(s, pid, LIBCARE_PATIENCE_MS);
	if (w->nr == 2)
		return serve_late(s, fd, pid);
	if (!number(w->items[2], &descriptor) || w->nr > 3) {
		note("execve takes the number of a process and that of a descriptor");
		return EXIT_USAGE;
	}
	return serve_held(s, fd, who, pid, descriptor);
}

static bool is_start(const struct lp_wire_words *w)
{
	return strcmp(w->items[0], "execve") == 0 || strcmp(w->items[0], "startup") == 0;
}

/* What a command prints goes to who asked.  A program that starts wants no text: the log gets it. */
static int serve(const struct server *s, int fd, const struct lp_wire_peer *who, struct lp_wire_words *w)
{
	if (is_start(w))
		return serve_start(s, fd, who, w);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	out_setup(false, false, true);
	int status = strcmp(w->items[0], "update") == 0 ? patch_with_store(s, 0, LIBCARE_PATIENCE_MS)
							: libcare_command_in(s->storage, (int)w->nr, w->items);
	out_flush();
	send_status(fd, w, status);
	return status;
}

static pid_t fork_child(struct server *s, bool program, uid_t uid)
{
	pid_t parent = getpid();
	out_flush();
	pid_t pid = fork();
	if (pid == 0) {
		if (!program) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			if (getppid() != parent)
				_exit(EXIT_REFUSED);
		}
		signals_default();
		lp_close(s->listener);
		lp_close(s->signals);
	} else if (pid > 0) {
		lp_vec_push(&s->children, ((struct child){pid, program, uid}));
	}
	return pid;
}

/* Other people's connections must not stay open because of a child that knows nothing of them. */
static void close_others(struct server *s, int fd)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (s->connections[i].fd >= 0 && s->connections[i].fd != fd)
			lp_close(s->connections[i].fd);
}

/* `who` asks for himself; NULL: for a child of ours. */
static void delegate(struct server *s, int fd, const struct lp_wire_peer *who, struct lp_wire_words *w)
{
	pid_t pid = fork_child(s, false, who ? who->uid : geteuid());
	if (pid == 0) {
		close_others(s, fd);
		if (!is_start(w)) /* a program that waits goes on when we die: the sooner the better */
			signals_catch();
		_exit(serve(s, fd, who, w));
	}
	if (pid < 0)
		answer(fd, w, EXIT_REFUSED, "libcare-server: cannot start a child\n");
}

/* ---- run and kill ---- */

/* A single word with blanks is split at them; there is no shell and no quoting. */
static void split(struct lp_wire_words *w)
{
	char *save;
	if (w->nr != 2 || !strchr(w->items[1], ' '))
		return;
	w->nr = 1;
	for (char *word = strtok_r(w->items[1], " ", &save); word && w->nr < LP_WIRE_WORDS;
	     word = strtok_r(NULL, " ", &save))
		w->items[w->nr++] = word;
	w->items[w->nr] = NULL;
}

_Noreturn static void become(int fd, char **argv)
{
	char go;
	int null = open("/dev/null", O_RDONLY);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	lp_close(null);
	fcntl(fd, F_SETFD, 0);
	if (recv(fd, &go, 1, 0) != 1) /* nobody watches: it runs all the same */
		lp_close(fd);
	execvp(argv[0], argv);
	note("cannot run %s: %s", argv[0], strerror(errno));
	_exit(127);
}

static void run(struct server *s, int client, struct lp_wire_words *w)
{
	int ends[2];
	char text[160];
	split(w);
	if (w->nr < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		answer(client, w, EXIT_USAGE, "libcare-server: run needs a program\n");
		return;
	}
	struct timeval patience = {ENTRY_MS / 1000, 0};
	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	pid_t pid = fork_child(s, true, geteuid());
	if (pid == 0) {
		close_others(s, -1);
		lp_close(ends[0]);
		become(ends[1], w->items + 1);
	}
	lp_close(ends[1]);
	if (pid > 0) {
		char number_text[16], descriptor[16];
		snprintf(number_text, sizeof number_text, "%d", (int)pid);
		snprintf(descriptor, sizeof descriptor, "%d", ends[1]);
		char word[] = "execve";
		struct lp_wire_words start = {.nr = 3, .items = {word, number_text, descriptor}};
		delegate(s, ends[0], NULL, &start);
		snprintf(text, sizeof text, "%d\n", (int)pid);
		answer(client, w, EXIT_DONE, text);
	} else {
		snprintf(text, sizeof text, "libcare-server: cannot fork: %s\n", strerror(errno));
		answer(client, w, EXIT_REFUSED, text);
	}
	lp_close(ends[0]);
}

static void kill_program(struct server *s, int client, const struct lp_wire_words *w)
{
	int pid;
	char text[160];
	if (w->nr != 2 || !number(w->items[1], &pid)) {
		answer(client, w, EXIT_USAGE, "libcare-server: kill needs the number of a process\n");
		return;
	}
	for (size_t i = 0; i < s->children.nr; i++)
		if (s->children.items[i].program && s->children.items[i].pid == pid) {
			kill(pid, SIGTERM);
			answer(client, w, EXIT_DONE, "");
			return;
		}
	snprintf(text, sizeof text, "libcare-server: %d is not a process that `run` started here\n", pid);
	answer(client, w, EXIT_REFUSED, text);
}

/* ---- requests ---- */

static void set_storage(struct server *s, int client, const struct lp_wire_words *w)
{
	struct lp_store *store = NULL;
	struct lp_err err = {0};
	if (w->nr != 2) {
		answer(client, w, EXIT_USAGE, "libcare-server: storage needs a directory\n");
		return;
	}
	int rc = lp_store_open_trusted(&store, w->items[1], &err);
	if (rc < 0) {
		char text[LP_WIRE_MAX];
		snprintf(text, sizeof text, "libcare-server: %s\n", err.text);
		answer(client, w, EXIT_REFUSED, text);
	} else {
		lp_free(s->storage);
		s->storage = lp_strdup(lp_store_path(store));
		answer(client, w, EXIT_DONE, "");
	}
	lp_store_close(store);
}

static void stop(struct server *s, int client, const struct lp_wire_words *w)
{
	answer(client, w, EXIT_DONE, "");
	s->stop = true;
}

static size_t workers_of(const struct server *s, uid_t uid)
{
	size_t n = 0;
	for (size_t i = 0; i < s->children.nr; i++)
		n += !s->children.items[i].program && s->children.items[i].uid == uid;
	return n;
}

/* Root and our own user may ask for everything; anybody who is let in by the socket's mode may have his own process
 * patched as it starts. */
static bool may(const struct server *s, const struct connection *c, const struct lp_wire_words *w)
{
	int pid;
	if (c->peer.uid == 0 || c->peer.uid == geteuid())
		return true;
	return workers_of(s, c->peer.uid) < CHILDREN_OF_USER_MAX && is_start(w) && w->nr >= 2 &&
	       number(w->items[1], &pid) && pid == c->peer.pid;
}

static void carry_out(struct server *s, const struct connection *c, struct lp_wire_words *w)
{
	const char *command = w->items[0];
	if (!may(s, c, w))
		answer(c->fd, w, EXIT_REFUSED, "libcare-server: you may not ask for that\n");
	else if (strcmp(command, "storage") == 0)
		set_storage(s, c->fd, w);
	else if (strcmp(command, "run") == 0)
		run(s, c->fd, w);
	else if (strcmp(command, "kill") == 0)
		kill_program(s, c->fd, w);
	else if (strcmp(command, "stop") == 0)
		stop(s, c->fd, w);
	else
		delegate(s, c->fd, &c->peer, w);
}

static void hang_up(struct connection *c)
{
	lp_close(c->fd);
	lp_close(c->peer.pidfd);
	c->fd = c->peer.pidfd = -1;
}

static void dispatch(struct server *s, struct connection *c)
{
	struct lp_wire_words w;
	struct lp_err err = {0};
	if (lp_wire_words(&c->request, &w, &err) < 0)
		note("process %d: %s", (int)c->peer.pid, err.text);
	else
		carry_out(s, c, &w);
	hang_up(c);
}

static void take(struct connection *c)
{
	struct lp_err err = {0};
	int rc = lp_wire_take(&c->request, c->fd, &err);
	c->complete = rc == 1;
	if (rc < 0) {
		if (rc != -ECONNRESET || c->request.len)
			note("process %d: %s", (int)c->peer.pid, err.text);
		hang_up(c);
	}
}

/* When there is none, that of the one who has kept us waiting the longest; NULL when all wait for us. */
static struct connection *free_connection(struct server *s)
{
	struct connection *oldest = NULL;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *c = &s->connections[i];
		if (c->fd < 0)
			return c;
		if (!c->complete && (!oldest || c->deadline < oldest->deadline))
			oldest = c;
	}
	return oldest;
}

static void greet(struct server *s)
{
	struct connection *c = free_connection(s);
	struct lp_err err = {0};
	int fd = c ? accept4(s->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
	if (fd < 0)
		return;
	if (c->fd >= 0)
		hang_up(c);
	c->fd = fd;
	c->peer.pidfd = -1;
	c->request.len = 0;
	c->complete = false;
	c->deadline = now_ms() + REQUEST_MS;
	if (lp_wire_peer(fd, &c->peer, &err) < 0) {
		note_error(&err);
		hang_up(c);
	}
}

static void reap(struct server *s)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < s->children.nr; i++)
			if (s->children.items[i].pid == pid) {
				s->children.items[i] = s->children.items[--s->children.nr];
				break;
			}
}

/* ---- the loop ---- */

static void on_signals(struct server *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
		if (info.ssi_signo != SIGCHLD)
			s->stop = true;
	reap(s);
}

static void expire(struct server *s, int64_t now)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *c = &s->connections[i];
		if (c->fd >= 0 && !c->complete && now >= c->deadline) {
			note("process %d did not finish its request", (int)c->peer.pid);
			hang_up(c);
		}
	}
}

/* Those that wait for a child to become free do not expire: they have said what they want. */
static void dispatch_complete(struct server *s)
{
	for (size_t i = 0; i < CONNECTIONS_MAX && !s->stop; i++)
		if (s->connections[i].fd >= 0 && s->connections[i].complete && workers(s) < CHILDREN_MAX)
			dispatch(s, &s->connections[i]);
}

static int wait_time(const struct server *s, int64_t now)
{
	int64_t first = INT64_MAX;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (s->connections[i].fd >= 0 && !s->connections[i].complete && s->connections[i].deadline < first)
			first = s->connections[i].deadline;
	return first == INT64_MAX ? -1 : first <= now ? 0 : (int)(first - now);
}

static void turn(struct server *s)
{
	struct pollfd p[2 + CONNECTIONS_MAX];
	p[0] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	p[1] = (struct pollfd){.fd = free_connection(s) ? s->listener : -1, .events = POLLIN};
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		p[2 + i] =
			(struct pollfd){.fd = s->connections[i].complete ? -1 : s->connections[i].fd, .events = POLLIN};
	if (poll(p, LP_ARRAY_SIZE(p), wait_time(s, now_ms())) < 0)
		return;
	if (p[0].revents)
		on_signals(s);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (p[2 + i].fd >= 0 && p[2 + i].revents)
			take(&s->connections[i]);
	if (p[1].revents)
		greet(s);
	expire(s, now_ms());
	dispatch_complete(s);
}

static int block_signals(struct lp_err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? lp_fail_sys(err, errno, "cannot wait for signals") : fd;
}

static int serve_until_stopped(struct server *s, const char *socket_name, struct lp_err *err)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		s->connections[i].fd = -1;
	s->listener = lp_wire_listen(socket_name, err);
	if (s->listener < 0)
		return s->listener;
	fcntl(s->listener, F_SETFL, O_NONBLOCK);
	fcntl(s->listener, F_SETFD, FD_CLOEXEC);
	s->signals = block_signals(err);
	int rc = s->signals < 0 ? s->signals : 0;
	while (rc == 0 && !s->stop)
		turn(s);
	lp_wire_unlink(socket_name);
	return rc;
}

/* A word that begins with a dash is no socket: who means a file of that name says ./-NAME. */
static const char *misuse(int argc, char **argv)
{
	return argc < 2		   ? "UNIX socket argument is missing"
	       : argc > 3	   ? "too many arguments"
	       : argv[1][0] == '-' ? "unknown option"
				   : NULL;
}

int libcare_server(const char *program, int argc, char **argv)
{
	struct lp_err err = {0};
	bool help = argc == 2 && libcare_asks_for_help(argv[1]);
	const char *wrong = help ? NULL : misuse(argc, argv);
	if (help || wrong) {
		char *text = lp_sprintf("usage: %s <UNIX socket> [STORAGE ROOT]\n", program);
		int status = libcare_usage_of(wrong, text);
		lp_free(text);
		return status;
	}
	struct server *s = lp_alloc(sizeof *s);
	s->storage = lp_strdup(argc == 3 ? argv[2] : LIBCARE_STORAGE);
	out_program("libcare-server");
	int rc = serve_until_stopped(s, argv[1], &err);
	if (rc < 0)
		note_error(&err);
	lp_vec_free(&s->children);
	lp_free(s->storage);
	lp_free(s);
	return status_of(rc);
}
