/*
 * A process with a child that is forked on demand.
 *
 *     call          func_J's answer here
 *     fork          makes the child; its pid
 *     child call    func_J's answer in the child
 */
#include "e2e_serve.h"

const char *func_J(int n);

static int to_child[2], from_child[2];

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static void answer_as_child(char *request)
{
	say("%s", func_J(1));
}

static void be_child(void)
{
	dup2(to_child[0], STDIN_FILENO);
	dup2(from_child[1], STDOUT_FILENO);
	close(to_child[1]); /* ours would keep end of file from ever coming */
	serve(answer_as_child);
	_exit(0);
}

static void fork_child(void)
{
	char line[64];
	pid_t pid;

	if (pipe(to_child) || pipe(from_child) || (pid = fork()) < 0)
		_exit(1);
	if (!pid)
		be_child();
	if (!read_line(from_child[0], line, sizeof line))
		_exit(1);
	say("%d", pid);
}

static void ask_child(void)
{
	char line[64];

	if (write(to_child[1], "call\n", 5) != 5 || !read_line(from_child[0], line, sizeof line))
		_exit(1);
	say("%s", line);
}

static void answer(char *request)
{
	if (!strcmp(request, "fork"))
		fork_child();
	else if (!strcmp(request, "child call"))
		ask_child();
	else
		say("%s", func_J(1));
}

int main(void)
{
	serve(answer);
	return 0;
}
