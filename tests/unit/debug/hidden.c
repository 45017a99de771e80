/* What globals.c only declares; and a static variable of the same name as one there. */
struct hidden {
	int inside;
};

struct hidden the_secret = {42};
static int own = 12;

int *use_hidden(void)
{
	return &own;
}
