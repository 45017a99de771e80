/*
 * The walk: `at` is how far it got, a path below the sysroot without symbolic
 * links; `rest` is what is still to come.  `otherwise` is the guest's path with
 * the links that were met in the sysroot resolved: what is opened on the host when
 * the sysroot has no such file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/vec.h"
#include "emu/path.h"
#include "emu/proc.h"
#include "emu/sys.h"

enum { LINKS_MAX = 40 };

/* The host's with everything below. */
static const char *const machine_trees[] = {"/dev", "/proc", "/sys"};
/* The host's when they are meant as a whole. */
static const char *const machine_dirs[] = {
	"/", "/home", "/media", "/mnt", "/root", "/run", "/srv", "/tmp", "/var/run", "/var/tmp",
};

struct walk {
	const char *root;
	size_t root_len;
	char at[PATH_MAX];
	char rest[PATH_MAX];
	char otherwise[PATH_MAX];
	unsigned links;
	unsigned how;
};

/* a + between + b, or false when that is longer than a path can be.  out may be b. */
static bool join(char out[PATH_MAX], const char *a, const char *between, const char *b)
{
	char joined[PATH_MAX];
	int len = snprintf(joined, sizeof joined, "%s%s%s", a, between, b);

	if (len < 0 || len >= PATH_MAX)
		return false;
	memcpy(out, joined, (size_t)len + 1);
	return true;
}

static bool is_below(const char *path, const char *tree)
{
	size_t len = strlen(tree);

	return !strncmp(path, tree, len) && (!path[len] || path[len] == '/');
}

static bool is_machine_tree(const char *path)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(machine_trees); i++)
		if (is_below(path, machine_trees[i]))
			return true;
	return false;
}

/* What stands in `at` for the guest. */
static bool is_machine_dir(const char *guest)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(machine_dirs); i++)
		if (!strcmp(guest, machine_dirs[i]))
			return true;
	return false;
}

/* Takes the first component off rest. */
static bool next_component(struct walk *w, char name[PATH_MAX])
{
	const char *p = w->rest + strspn(w->rest, "/");
	size_t len = strcspn(p, "/");

	if (!len)
		return false;
	memcpy(name, p, len);
	name[len] = 0;
	p += len;
	memmove(w->rest, p, strlen(p) + 1);
	return true;
}

static void go_up(struct walk *w)
{
	char *slash = strrchr(w->at, '/');

	if (strlen(w->at) > w->root_len && slash)
		*slash = 0;
}

/* The link that `at` + "/" + name is: rest begins with its target. */
static bool enter_link(struct walk *w, const char *target)
{
	bool is_absolute = target[0] == '/';

	if (++w->links > LINKS_MAX || !join(w->rest, target, "", w->rest))
		return false;
	if (is_absolute)
		w->at[w->root_len] = 0;
	if (!join(w->otherwise, is_absolute ? "" : w->at + w->root_len, is_absolute ? "" : "/", w->rest))
		return false;
	return !is_machine_tree(w->otherwise);
}

enum step { GO_ON, MISSING, GIVE_UP };

static enum step take(struct walk *w, const char *name)
{
	char target[PATH_MAX], path[PATH_MAX];
	bool is_last = !w->rest[strspn(w->rest, "/")];
	ssize_t len;

	if (!strcmp(name, "."))
		return GO_ON;
	if (!strcmp(name, "..")) {
		go_up(w);
		return GO_ON;
	}
	if (!join(path, w->at, "/", name))
		return GIVE_UP;
	len = readlink(path, target, sizeof target - 1);
	if (len < 0 && errno != EINVAL)
		return errno == ENOENT && is_last ? MISSING : GIVE_UP;
	if (len < 0 || (is_last && !w->rest[0] && w->how & LP_PATH_NOFOLLOW)) {
		memcpy(w->at, path, sizeof path);
		return GO_ON;
	}
	target[len] = 0;
	return enter_link(w, target) ? GO_ON : GIVE_UP;
}

/* To the end of the path, or to where the sysroot has nothing more. */
static enum step walk_all(struct walk *w)
{
	char name[PATH_MAX];

	while (next_component(w, name)) {
		enum step step = take(w, name);

		if (step == MISSING)
			return join(w->rest, "/", name, "") ? MISSING : GIVE_UP;
		if (step != GO_ON)
			return step;
	}
	return GO_ON;
}

static bool exists_on_host(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

/* The directory in which the host would make the file exists there. */
static bool parent_on_host(const char *path)
{
	char parent[PATH_MAX];
	char *slash;

	if (!join(parent, path, "", ""))
		return true;
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return true;
	*slash = 0;
	return exists_on_host(parent);
}

/* guest is absolute.  False: nothing of the sysroot is meant, out is what the host shall open. */
static bool in_sysroot(const char *root, const char *guest, unsigned how, char out[PATH_MAX])
{
	struct walk w = {.root = root, .root_len = strlen(root), .how = how};
	bool wants_directory = guest[0] && guest[strlen(guest) - 1] == '/';
	enum step end;

	if (!join(w.at, root, "", "") || !join(w.rest, guest, "", "") || !join(w.otherwise, guest, "", ""))
		return false;
	end = walk_all(&w);
	if (end == GO_ON) {
		const char *as_guest = w.at[w.root_len] ? w.at + w.root_len : "/";
		if (is_machine_dir(as_guest) && exists_on_host(as_guest))
			return join(out, as_guest, "", ""), false;
		return join(out, w.at, wants_directory ? "/" : "", "");
	}
	if (end == MISSING && how & LP_PATH_CREATE && !parent_on_host(w.otherwise))
		return join(out, w.at, w.rest, "");
	join(out, w.otherwise, "", "");
	return false;
}

void lp_path_host(const struct lp_emu *emu, const char *guest, unsigned how, char out[PATH_MAX])
{
	const char *root = emu->options.sysroot;

	join(out, guest, "", "");
	if (!root || guest[0] != '/' || is_machine_tree(guest))
		return;
	if (is_below(guest, root)) /* somebody told the guest where it is */
		guest = guest[strlen(root)] ? guest + strlen(root) : "/";
	in_sysroot(root, guest, how, out);
}

void lp_path_guest(const struct lp_emu *emu, char *path)
{
	const char *root = emu->options.sysroot;
	size_t len;

	if (!root || !is_below(path, root))
		return;
	len = strlen(root);
	if (path[len])
		memmove(path, path + len, strlen(path + len) + 1);
	else
		memcpy(path, "/", 2);
}

/* The directory that relative paths begin at. */
static bool base_of(int dirfd, char out[PATH_MAX])
{
	char link[32];
	ssize_t len;

	if (dirfd == AT_FDCWD)
		return getcwd(out, PATH_MAX) && out[0] == '/';
	snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
	len = readlink(link, out, PATH_MAX - 1);
	if (len < 0)
		return false;
	out[len] = 0;
	return out[0] == '/';
}

/* With a sysroot: a relative path in a directory that both have, or that the sysroot has. */
static void translate_relative(const struct lp_emu *emu, unsigned how, struct lp_path *p)
{
	char base[PATH_MAX], whole[PATH_MAX], found[PATH_MAX];
	bool inside;

	if (!base_of(p->dirfd, base))
		return;
	inside = is_below(base, emu->options.sysroot);
	lp_path_guest(emu, base);
	if (is_machine_tree(base) || !join(whole, base, "/", p->guest))
		return;
	if (!in_sysroot(emu->options.sysroot, whole, how, found) && !inside)
		return; /* the kernel knows better what is relative to a directory of the host */
	p->dirfd = AT_FDCWD;
	memcpy(p->text, found, sizeof found);
}

int lp_path_get(struct lp_guest_thread *t, int dirfd, uint64_t addr, unsigned how, struct lp_path *out)
{
	const struct lp_emu *emu = t->cpu.emu;
	ssize_t len = lp_arg_string(addr, out->guest, sizeof out->guest);

	if (len < 0)
		return (int)len;
	out->dirfd = dirfd;
	if (out->guest[0] == '/')
		lp_path_host(emu, out->guest, how, out->text);
	else {
		memcpy(out->text, out->guest, (size_t)len + 1);
		if (emu->options.sysroot && len)
			translate_relative(emu, how, out);
	}
	if (!(how & LP_PATH_NOFOLLOW))
		lp_guest_proc_follow_exe(t, out);
	return 0;
}
