/*
 * Globals that nobody registered, for clients that read debug information.
 *
 *     ask             "port PORT colour COLOUR high HIGH line LINE"
 */
#include "e2e_serve.h"

struct client {
	int id;
	const char *name;
	struct client *next;
	unsigned low : 3, high : 5;
};

enum colour { RED, GREEN, BLUE };

struct client second = {.id = 2, .name = "two", .low = 1, .high = 2}, first = {1, "one", &second, 3, 4};
struct {
	struct client *clients;
	double ratio;
	char line[16];
	int port;
	enum colour colour;
} server = {&first, 0.5, "abc", 80, GREEN};
const int fixed = 7;

static void answer(char *request)
{
	say("port %d colour %d high %u line %s", server.port, server.colour, second.high, server.line);
}

int main(void)
{
	serve(answer);
}
