/* Globals of every kind, for the tests of debug/. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum colour { RED, GREEN = 5, BLUE };
enum level { LOW = -1, HIGH = 1 };
enum rights { READ = 1, WRITE = 2, EXECUTE = 4 };

typedef unsigned port_number;

struct client {
	int id;
	char name[16];
	const char *peer;
	struct client *next;
	union {
		int as_int;
		float as_float;
	};
	struct {
		short x, y;
	} at;
	unsigned low : 3, middle : 5;
	int negative : 4;
	bool dirty : 1;
	enum colour paint : 4;
};

struct hidden;

struct {
	port_number port;
	struct client *clients;
	struct client table[2];
	const struct client *const fixed;
	struct hidden *secret;
	int matrix[2][3];
	int (*callback)(int);
} server;

static struct client second = {.id = 2, .name = "two", .peer = "10.0.0.2", .as_int = 77, .at = {-3, 4}};
static struct client first = {.id = 1,
			      .name = "one",
			      .peer = "10.0.0.1 \"quoted\"\n",
			      .next = &second,
			      .low = 5,
			      .middle = 17,
			      .negative = -3,
			      .dirty = true,
			      .paint = GREEN};

bool a_bool = true;
char a_char = 'A';
signed char a_schar = -1;
unsigned char a_uchar = 200;
short a_short = -300;
unsigned short a_ushort = 60000;
int an_int = -70000;
unsigned an_uint = 4000000000u;
long a_long = -5000000000;
uint64_t a_u64 = UINT64_MAX;
float a_float = 1.5f;
double a_double = -0.1;
long double a_long_double = 2.5L;
enum colour a_colour = BLUE;
enum level a_level = LOW;
enum rights some_rights = READ | EXECUTE;
enum colour no_colour = (enum colour)100;
const char *a_string = "text";
char *no_string;
int numbers[5] = {1, 2, 3, 4, 5};
int *to_number = &numbers[1];
int **to_pointer = &to_number;
volatile const int qualified = 9;
static int own = 11;
_Thread_local int per_thread;
char line[8] = "full";
struct client *clients[3] = {&first, &second};
int none[0];

int *use(void)
{
	server.port = 80;
	server.clients = &first;
	server.table[1] = second;
	server.matrix[1][2] = 6;
	return &own + per_thread;
}
