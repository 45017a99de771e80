/*
 * A program with libraries: one that it is linked with, and one that it loads.
 * Built three times, with -DNEEDED, -DPLUGIN, and without.
 *
 *     libneeded.so     needed(), called by its own constructor too, before main()
 *     libplugin.so     plugged(), likewise
 *
 * Prints "constructor: N" for what the constructor of libneeded saw, and "ready"; then answers each line of its input:
 *
 *     load PATH        loads the plugin; "loaded N": what its constructor saw
 *     fork PATH        a child does that, and ends
 *     anything else    what needed() and plugged() say now; 0: not loaded
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef NEEDED
__attribute__((noipa)) int needed(void)
{
	return 1;
}
int needed_seen;
__attribute__((constructor)) static void look(void)
{
	needed_seen = needed();
}
#elif defined PLUGIN
__attribute__((noipa)) int plugged(void)
{
	return 2;
}
int plugged_seen;
__attribute__((constructor)) static void look(void)
{
	plugged_seen = plugged();
}
#else
int needed(void);
extern int needed_seen;

static int (*plugged)(void);

static void load(const char *path)
{
	void *plugin = dlopen(path, RTLD_NOW);

	plugged = plugin ? (int (*)(void))dlsym(plugin, "plugged") : NULL;
	printf("loaded %d\n", plugged ? *(int *)dlsym(plugin, "plugged_seen") : 0);
	fflush(stdout);
}

static void make_child(const char *path)
{
	if (fork() == 0) {
		load(path);
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	char line[4096];

	printf("constructor: %d\nready\n", needed_seen);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "load ", 5))
			load(line + 5);
		else if (!strncmp(line, "fork ", 5))
			make_child(line + 5);
		else
			printf("%d %d\n", needed(), plugged ? plugged() : 0);
		fflush(stdout);
	}
	return 7;
}
#endif
