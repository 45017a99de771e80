// flags: -O2 -g | -O0 -g
// expect: function-changed use
// expect: function-changed main
// refuse: layout struct client
// why: use differs
#include <stdlib.h>

struct client {
	int fd;
#ifdef AFTER
	long flags;
#endif
	char *name;
};

typedef struct {
	short a, b;
} same;

__attribute__((noinline, noipa)) int use(struct client *c, same *s)
{
	return c->name[s->a];
}

int main(int argc, char **argv)
{
	same s = {1, 2};
	struct client *c = malloc(sizeof *c);
	c->fd = argc;
	c->name = argv[0];
	return use(c, &s);
}
