/*
 * Small programs in one, to be run by emulators and by the machine itself:
 *
 *     guest_kernels NAME [SCALE]      runs it, prints a checksum
 *     guest_kernels --list            "name group" of each
 *
 * The same source is compiled for both machines; what it prints is the same on
 * both.  Each takes about a tenth of a second natively at scale 1.
 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define NOINLINE __attribute__((noinline))

static uint32_t seed = 12345;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

/* ---- integers ---- */

static NOINLINE uint64_t fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t calls(unsigned scale)
{
	return fib(33) * scale + (scale > 1 ? fib(33 + (scale > 4 ? 2 : 1)) : 0);
}

static uint64_t hash(unsigned scale)
{
	static uint8_t bytes[1 << 16];
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)next_random();
	for (unsigned k = 0; k < 1200 * scale; k++)
		for (size_t i = 0; i < sizeof bytes; i++)
			h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	return h;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t sort(unsigned scale)
{
	enum { N = 1 << 17 };
	static uint32_t v[N];
	uint64_t sum = 0;

	for (unsigned k = 0; k < 4 * scale; k++) {
		for (size_t i = 0; i < N; i++)
			v[i] = next_random();
		qsort(v, N, sizeof v[0], by_value);
		sum = sum * 31 + v[N / 3];
	}
	return sum;
}

static uint64_t int_matrix(unsigned scale)
{
	enum { N = 96 };
	static int32_t a[N][N], b[N][N], c[N][N];
	uint64_t sum = 0;

	for (size_t i = 0; i < N * N; i++) {
		(&a[0][0])[i] = (int32_t)(next_random() % 100);
		(&b[0][0])[i] = (int32_t)(next_random() % 100);
	}
	for (unsigned k = 0; k < 60 * scale; k++) {
		for (size_t i = 0; i < N; i++)
			for (size_t j = 0; j < N; j++) {
				int32_t s = 0;
				for (size_t l = 0; l < N; l++)
					s += a[i][l] * b[l][j];
				c[i][j] = s;
			}
		a[k % N][k % 7] = c[k % N][k % 5] & 0xff;
	}
	for (size_t i = 0; i < N * N; i++)
		sum = sum * 17 + (uint32_t)(&c[0][0])[i];
	return sum;
}

static uint64_t sieve(unsigned scale)
{
	enum { N = 1 << 21 };
	static uint8_t composite[N];
	uint64_t sum = 0;

	for (unsigned k = 0; k < 8 * scale; k++) {
		memset(composite, 0, sizeof composite);
		for (size_t i = 2; i * i < N; i++)
			if (!composite[i])
				for (size_t j = i * i; j < N; j += i)
					composite[j] = 1;
		for (size_t i = 2; i < N; i++)
			sum += !composite[i];
	}
	return sum;
}

/* A machine of eight registers, as interpreters are written. */
static uint64_t interpreter(unsigned scale)
{
	static const uint8_t code[] = {0, 1, 1, 2, 2, 3, 3, 0, 4, 1, 5, 2, 6, 0, 1, 4, 2, 1, 7, 0};
	static const void *const labels[] = {&&add, &&xor, &&shift, &&mul, &&move, &&dec, &&mix, &&loop};
	uint64_t r[4] = {1, 2, 3, UINT64_C(1700000) * scale};
	size_t pc = 0;

#define NEXT_OP                         \
	do {                            \
		pc += 2;                \
		goto *labels[code[pc]]; \
	} while (0)
	goto *labels[code[0]];
add:
	r[code[pc + 1] & 3 ? 1 : 0] += r[2];
	NEXT_OP;
	xor : r[0] ^= r[1];
	NEXT_OP;
shift:
	r[2] = r[2] << 7 | r[2] >> 57;
	NEXT_OP;
mul:
	r[1] *= 2654435761u;
	NEXT_OP;
move:
	r[2] += r[0];
	NEXT_OP;
dec:
	r[3]--;
	NEXT_OP;
mix:
	r[0] = r[0] * 5 + r[2];
	NEXT_OP;
loop:
	pc = 0;
	if (r[3])
		goto *labels[code[0]];
	return r[0] ^ r[1] ^ r[2];
}

static uint64_t crc(unsigned scale)
{
	static uint32_t table[256];
	uint32_t c = ~0u;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;
		for (unsigned k = 0; k < 8; k++)
			v = v & 1 ? v >> 1 ^ 0xedb88320u : v >> 1;
		table[i] = v;
	}
	for (uint32_t i = 0; i < 40000000u * scale; i++)
		c = table[(c ^ i) & 0xff] ^ c >> 8;
	return ~c;
}

/* ---- something of everything: lists, a matrix, a state machine, a checksum ---- */

struct item {
	struct item *next;
	int16_t value, index;
};

static uint16_t crc16(uint16_t data, uint16_t c)
{
	for (unsigned i = 0; i < 16; i++) {
		bool odd = (c ^ data) & 1;
		data >>= 1;
		c >>= 1;
		if (odd)
			c ^= 0xa001;
	}
	return c;
}

static struct item *merge(struct item *a, struct item *b)
{
	struct item head, *tail = &head;

	while (a && b) {
		struct item **from = a->value <= b->value ? &a : &b;
		tail->next = *from;
		tail = *from;
		*from = (*from)->next;
	}
	tail->next = a ? a : b;
	return head.next;
}

static struct item *sort_list(struct item *l)
{
	struct item *slow = l, *fast = l ? l->next : NULL, *second;

	if (!fast)
		return l;
	while (fast && fast->next) {
		slow = slow->next;
		fast = fast->next->next;
	}
	second = slow->next;
	slow->next = NULL;
	return merge(sort_list(l), sort_list(second));
}

static NOINLINE unsigned classify(const char *s)
{
	enum { START, INTEGER, FLOAT, EXPONENT, WORD, BAD } state = START;

	for (; *s && *s != ','; s++) {
		bool digit = *s >= '0' && *s <= '9';
		switch (state) {
		case START:
			state = digit || *s == '-' ? INTEGER : *s == '.' ? FLOAT : WORD;
			break;
		case INTEGER:
			state = digit ? INTEGER : *s == '.' ? FLOAT : *s == 'e' ? EXPONENT : BAD;
			break;
		case FLOAT:
			state = digit ? FLOAT : *s == 'e' ? EXPONENT : BAD;
			break;
		case EXPONENT:
			state = digit || *s == '-' ? EXPONENT : BAD;
			break;
		default:
			break;
		}
	}
	return state;
}

static uint64_t mark(unsigned scale)
{
	static struct item items[256];
	static int16_t matrix[12][12];
	static const char text[] =
		"5012,1234,-874,+122,35.54400,.1234500,-110.700,5.500e+3,-.123e-2,-87e+832,T0.3e-1F,-T.T++Tq,word,";
	uint16_t c = 0;

	for (unsigned k = 0; k < 2600 * scale; k++) {
		struct item *list = NULL;
		for (unsigned i = 0; i < ARRAY_SIZE(items); i++) {
			items[i] = (struct item){list, (int16_t)(next_random() & 0x7fff), (int16_t)i};
			list = &items[i];
		}
		list = sort_list(list);
		for (unsigned i = 0; i < 144; i++)
			(&matrix[0][0])[i] = (int16_t)((i * k) & 0xff);
		int32_t trace = 0;
		for (unsigned i = 0; i < 12; i++)
			for (unsigned j = 0; j < 12; j++)
				for (unsigned l = 0; l < 12; l++)
					trace += matrix[i][l] * matrix[l][j] >> (i & 3);
		for (const char *s = text; *s; s = strchr(s, ',') + 1)
			c = crc16((uint16_t)classify(s), c);
		for (struct item *i = list; i; i = i->next)
			if (i->index % 8 == 0)
				c = crc16((uint16_t)i->value, c);
		c = crc16((uint16_t)trace, c);
	}
	return c;
}

/* ---- floating point ---- */

struct body {
	double x[3], v[3], mass;
};

static uint64_t bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, sizeof u);
	return u;
}

static uint64_t nbody(unsigned scale)
{
	struct body b[5] = {{{0, 0, 0}, {0, 0, 0}, 39.5},
			    {{4.84, -1.16, -0.10}, {0.6, 2.8, -0.02}, 0.037},
			    {{8.34, 4.12, -0.40}, {-1.0, 1.8, 0.008}, 0.011},
			    {{12.89, -15.11, -0.22}, {1.08, 0.86, -0.01}, 0.0017},
			    {{15.37, -25.91, 0.17}, {0.97, 0.59, -0.034}, 0.002}};
	double energy = 0;

	for (unsigned k = 0; k < 200000 * scale; k++) {
		for (size_t i = 0; i < 5; i++)
			for (size_t j = i + 1; j < 5; j++) {
				double d[3], square = 0;
				for (size_t a = 0; a < 3; a++) {
					d[a] = b[i].x[a] - b[j].x[a];
					square += d[a] * d[a];
				}
				double m = 0.001 / (square * sqrt(square));
				for (size_t a = 0; a < 3; a++) {
					b[i].v[a] -= d[a] * b[j].mass * m;
					b[j].v[a] += d[a] * b[i].mass * m;
				}
			}
		for (size_t i = 0; i < 5; i++)
			for (size_t a = 0; a < 3; a++)
				b[i].x[a] += 0.001 * b[i].v[a];
	}
	for (size_t i = 0; i < 5; i++)
		energy += b[i].mass * (b[i].v[0] * b[i].v[0] + b[i].v[1] * b[i].v[1]);
	return bits(energy);
}

static uint64_t mandelbrot(unsigned scale)
{
	uint64_t sum = 0;

	for (unsigned y = 0; y < 160 * scale; y++)
		for (unsigned x = 0; x < 200; x++) {
			double cr = x / 100.0 - 1.5, ci = y % 160 / 80.0 - 1.0, r = 0, i = 0;
			unsigned k = 0;
			while (k < 500 && r * r + i * i < 4) {
				double t = r * r - i * i + cr;
				i = 2 * r * i + ci;
				r = t;
				k++;
			}
			sum += k;
		}
	return sum;
}

/* Libraries differ in the last bit: what is printed is coarse. */
static uint64_t libm(unsigned scale)
{
	double s = 0;

	for (unsigned i = 1; i < 1200000 * scale; i++)
		s += sin(i * 0.001) * exp((double)(i % 100) * -0.01) + log(i);
	return (uint64_t)s / 16;
}

enum { VECTOR = 4096 };
static float fa[VECTOR], fb[VECTOR], fc[VECTOR];

static void fill_floats(void)
{
	for (size_t i = 0; i < VECTOR; i++) {
		fa[i] = (float)(next_random() % 1000) * 0.25f;
		fb[i] = (float)(next_random() % 1000) * 0.125f;
	}
}

static uint64_t saxpy(unsigned scale)
{
	float s = 0;

	fill_floats();
	for (unsigned k = 0; k < 60000 * scale; k++) {
		float a = (float)(k % 7);
		for (size_t i = 0; i < VECTOR; i++)
			fc[i] = a * fa[i] + fb[i];
		__asm__ volatile("" ::"r"(fc) : "memory");
	}
	for (size_t i = 0; i < VECTOR; i += 64)
		s += fc[i];
	return (uint64_t)s;
}

static uint64_t float_matrix(unsigned scale)
{
	enum { N = 64 };
	float(*a)[N] = (float(*)[N])fa, (*b)[N] = (float(*)[N])fb, (*c)[N] = (float(*)[N])fc;
	float s = 0;

	fill_floats();
	for (unsigned k = 0; k < 400 * scale; k++) {
		memset(fc, 0, sizeof fc);
		for (size_t i = 0; i < N; i++)
			for (size_t l = 0; l < N; l++)
				for (size_t j = 0; j < N; j++)
					c[i][j] += a[i][l] * b[l][j];
		__asm__ volatile("" ::"r"(fc) : "memory");
	}
	for (size_t i = 0; i < VECTOR; i += 64)
		s += fc[i] / 1024;
	return (uint64_t)s;
}

/* ---- vectors of integers ---- */

typedef uint32_t words4 __attribute__((vector_size(16)));

static uint64_t pixels(unsigned scale)
{
	static uint8_t a[VECTOR], b[VECTOR];
	uint64_t sum = 0;

	for (size_t i = 0; i < VECTOR; i++) {
		a[i] = (uint8_t)next_random();
		b[i] = (uint8_t)next_random();
	}
	for (unsigned k = 0; k < 60000 * scale; k++) {
		uint32_t s = 0;
		for (size_t i = 0; i < VECTOR; i++)
			s += (uint32_t)(a[i] > b[i] ? a[i] - b[i] : b[i] - a[i]);
		sum += s;
		a[k % VECTOR]++;
	}
	return sum;
}

static uint64_t vectors(unsigned scale)
{
	words4 x = {1, 2, 3, 4}, y = {5, 6, 7, 8}, z = {9, 10, 11, 12};

	for (unsigned k = 0; k < 30000000 * scale; k++) {
		x += y;
		z ^= x;
		y = (z << 7 | z >> 25) + x;
	}
	return x[0] ^ y[1] ^ z[2];
}

/* ---- the C library's hand-written loops ---- */

static char text[1 << 16], other[1 << 16];

static void fill_text(void)
{
	memset(text, 'x', sizeof text - 1);
	memcpy(other, text, sizeof text);
}

static uint64_t strlens(unsigned scale)
{
	uint64_t sum = 0;

	fill_text();
	for (unsigned k = 0; k < 60000 * scale; k++) {
		text[sizeof text - 2 - k % 64] = 0;
		sum += strlen(text);
		text[sizeof text - 2 - k % 64] = 'x';
	}
	return sum;
}

static uint64_t memchrs(unsigned scale)
{
	uint64_t sum = 0;

	fill_text();
	for (unsigned k = 0; k < 60000 * scale; k++)
		sum += (uint64_t)((char *)memchr(text, k & 1 ? 0 : 'x', sizeof text) - text);
	return sum;
}

static uint64_t memcpys(unsigned scale)
{
	uint64_t sum = 0;

	fill_text();
	for (unsigned k = 0; k < 60000 * scale; k++) {
		text[k % sizeof text] = (char)k;
		memcpy(other, text, sizeof text);
		sum += (uint8_t)other[k * 7 % sizeof other];
	}
	return sum;
}

static uint64_t memcmps(unsigned scale)
{
	uint64_t sum = 0;

	fill_text();
	for (unsigned k = 0; k < 60000 * scale; k++) {
		__asm__ volatile("" ::: "memory");
		sum += (uint64_t)(memcmp(text, other, sizeof text - k % 16) == 0);
	}
	return sum;
}

/* ---- the system ---- */

static uint64_t forks(unsigned scale)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < 200 * scale; k++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0)
			_exit((int)(k & 0x7f));
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static void *nothing(void *arg)
{
	return arg;
}

static uint64_t threads(unsigned scale)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < 1500 * scale; k++) {
		pthread_t t;
		void *result = NULL;
		if (pthread_create(&t, NULL, nothing, (void *)(uintptr_t)k) == 0)
			pthread_join(t, &result);
		sum += (uintptr_t)result;
	}
	return sum;
}

static uint64_t locks(unsigned scale)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint64_t sum = 0;

	for (unsigned k = 0; k < 8000000 * scale; k++) {
		pthread_mutex_lock(&lock);
		sum += k;
		pthread_mutex_unlock(&lock);
	}
	return sum;
}

static volatile sig_atomic_t caught;

static void handler(int sig)
{
	caught++;
}

static uint64_t signals(unsigned scale)
{
	signal(SIGUSR1, handler);
	for (unsigned k = 0; k < 40000 * scale; k++)
		raise(SIGUSR1);
	return (uint64_t)caught;
}

static uint64_t syscalls(unsigned scale)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < 600000 * scale; k++)
		sum += (uint64_t)syscall(SYS_getppid) > 0;
	return sum;
}

static const struct {
	const char *name, *group;
	uint64_t (*run)(unsigned scale);
} kernels[] = {
	{"calls", "integer", calls},
	{"hash", "integer", hash},
	{"sort", "integer", sort},
	{"int_matrix", "integer", int_matrix},
	{"sieve", "integer", sieve},
	{"interpreter", "integer", interpreter},
	{"crc", "integer", crc},
	{"mark", "mark", mark},
	{"nbody", "floating", nbody},
	{"mandelbrot", "floating", mandelbrot},
	{"libm", "floating", libm},
	{"saxpy", "vector", saxpy},
	{"float_matrix", "vector", float_matrix},
	{"pixels", "vector", pixels},
	{"vectors", "vector", vectors},
	{"strlen", "string", strlens},
	{"memchr", "string", memchrs},
	{"memcpy", "string", memcpys},
	{"memcmp", "string", memcmps},
	{"fork", "system", forks},
	{"thread", "system", threads},
	{"lock", "system", locks},
	{"signal", "system", signals},
	{"syscall", "system", syscalls},
};

int main(int argc, char **argv)
{
	unsigned scale = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		if (argc > 1 && strcmp(argv[1], "--list") == 0)
			printf("%s %s\n", kernels[i].name, kernels[i].group);
		else if (argc > 1 && strcmp(argv[1], kernels[i].name) == 0)
			return printf("%016llx\n", (unsigned long long)kernels[i].run(scale)) < 0;
	}
	return argc > 1 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
