/*
 * A program to be patched: says "ready", then answers each line of its input.
 * Code stands where document 000 has it: at 0x4001000 and 0x4002000.
 *
 *     ask              what the functions say
 *     fork             a child answers one line, "child: ...", and ends
 *     stay             a child says its number, waits for SIGUSR1, and does the same
 *     exec PROGRAM     becomes it
 *     spoil            overwrites the instruction at 0x4001000 with a NOP, as a program that makes code does
 *     unmap, hide      unmaps the page of that instruction; takes all access to it away
 *     map              maps it again, with the code as it was
 *     handle           handles SIGHUP from now on
 *     stdout           closes its standard output, and ends when its input does
 *     stderr [FILE]    closes its standard error; and has FILE, which is made, in its place
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* add w0, w0, #1; ret */
__asm__(".section .at_4001000, \"ax\"; .globl first; .type first, %function; first: add w0, w0, #1; ret; .size first, "
	". - first; .previous");
__asm__(".section .at_4002000, \"ax\"; .globl second; .type second, %function; second: add w0, w0, #2; ret; .size "
	"second, . - second; .previous");

int first(int x);
int second(int x);
__attribute__((noipa)) int third(int x)
{
	return x + 3;
}
__attribute__((noipa)) int other(int x)
{
	return x + 1000;
}

static volatile sig_atomic_t hups;

static void on_hup(int sig)
{
	hups++;
}

static void answer(const char *who)
{
	printf("%s%d %d %d%s\n", who, first(0), second(0), third(0), hups ? " hup" : "");
	fflush(stdout);
}

static void make_child(void)
{
	if (fork() == 0) {
		answer("child: ");
		_exit(0);
	}
	wait(NULL);
}

static void make_waiting_child(void)
{
	sigset_t usr1;
	int sig;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	if (fork() == 0) {
		printf("%d\n", getpid());
		fflush(stdout);
		sigwait(&usr1, &sig);
		answer("child: ");
		_exit(0);
	}
	wait(NULL);
}

static void spoil(void)
{
	void *page = (void *)0x4001000;

	mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	*(volatile unsigned *)page = 0xd503201f;
	__builtin___clear_cache(page, (char *)page + 4);
	printf("spoilt\n");
	fflush(stdout);
}

static void say(const char *line)
{
	puts(line);
	fflush(stdout);
}

static void map(void)
{
	static const unsigned code[] = {0x11000400, 0xd65f03c0};
	char *page = mmap((void *)0x4001000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	memcpy(page, code, sizeof code);
	__builtin___clear_cache(page, page + sizeof code);
}

int main(void)
{
	char line[256];

	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "fork"))
			make_child();
		else if (!strcmp(line, "stay"))
			make_waiting_child();
		else if (!strncmp(line, "exec ", 5))
			execl(line + 5, line + 5, (char *)NULL);
		else if (!strcmp(line, "spoil"))
			spoil();
		else if (!strcmp(line, "unmap"))
			munmap((void *)0x4001000, 4096), say("unmapped");
		else if (!strcmp(line, "hide"))
			mprotect((void *)0x4001000, 4096, PROT_NONE), say("hidden");
		else if (!strcmp(line, "map"))
			map(), say("mapped");
		else if (!strcmp(line, "handle"))
			signal(SIGHUP, on_hup), puts("handles"), fflush(stdout);
		else if (!strcmp(line, "stdout"))
			fclose(stdout);
		else if (!strcmp(line, "stderr"))
			close(STDERR_FILENO);
		else if (!strncmp(line, "stderr ", 7))
			close(STDERR_FILENO),
				say(open(line + 7, O_RDWR | O_CREAT, 0600) == 2 ? "opened" : "not opened");
		else
			answer("");
	}
	return 7;
}
