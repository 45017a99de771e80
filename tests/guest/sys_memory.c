/* Mappings: what the calls return, what the memory holds, and which signal its absence is. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "say.h"

#define PAGE 4096ul
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static sigjmp_buf back;
static volatile char *touched;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	printf("%s code %d at the address: %d\n", sig == SIGBUS ? "SIGBUS" : "SIGSEGV", info->si_code,
	       info->si_addr == (void *)touched);
	siglongjmp(back, 1);
}

static void read_from(const char *what, char *at)
{
	printf("read %s: ", what);
	touched = at;
	if (!sigsetjmp(back, 1))
		printf("%d\n", *touched);
}

static void write_to(const char *what, char *at)
{
	printf("write %s: ", what);
	touched = at;
	if (!sigsetjmp(back, 1)) {
		*touched = 1;
		printf("done\n");
	}
}

static char *map(unsigned long pages, int prot)
{
	char *p = mmap(NULL, pages * PAGE, prot, ANON, -1, 0);

	if (p == MAP_FAILED)
		exit(9);
	return p;
}

static int file(unsigned long pages)
{
	int fd = memfd_create("file", 0);

	for (unsigned long i = 0; i < pages * PAGE; i++)
		if (write(fd, &(char){(char)(i / PAGE + 1)}, 1) != 1)
			exit(9);
	return fd;
}

static void fixed(void)
{
	char *p = map(8, RW);

	p[3 * PAGE] = 42;
	SAY(mmap(p + 2 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p + 2 * PAGE);
	SAY(p[3 * PAGE]);
	SAY_OK(mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	SAY_OK(mmap(p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0));
	SAY_OK(mmap(NULL, 0, RW, ANON, -1, 0));
	SAY_OK(mmap(NULL, -1ul, RW, ANON, -1, 0));
	SAY_OK(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
	SAY_OK(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
	SAY_OK(mmap((void *)(1ul << 62), PAGE, RW, ANON | MAP_FIXED, -1, 0));
	SAY_OK(syscall(SYS_mmap, 0, PAGE, RW, ANON, -1, 1));
	SAY(munmap(p + PAGE, 2 * PAGE));
	SAY(munmap(p + PAGE, 2 * PAGE));
	SAY(munmap(p + 1, PAGE));
	SAY(munmap(p, 0));
	SAY(munmap((void *)(1ul << 54), PAGE));
	read_from("what is left", p + 3 * PAGE);
	read_from("a hole", p + PAGE);
	SAY(munmap(p, 8 * PAGE));
}

static void protect(void)
{
	char *p = map(6, RW);

	SAY(mprotect(p, PAGE, PROT_READ));
	write_to("what may be read", p + 5);
	SAY(mprotect(p, PAGE, PROT_NONE));
	read_from("what may not", p + 5);
	SAY(mprotect(p, PAGE, PROT_WRITE));
	write_to("what may be written", p);
	SAY(munmap(p + 2 * PAGE, PAGE));
	SAY(mprotect(p, 5 * PAGE, PROT_READ));
	write_to("before the hole", p + PAGE);
	write_to("behind it", p + 4 * PAGE);
	SAY(mprotect(p + 1, PAGE, RW));
	SAY(mprotect(p, 0, RW));
	SAY(mprotect(p, -PAGE, RW));
	SAY(mprotect(p, PAGE, 0x4000));
	SAY(mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN));
	SAY(mprotect(p, PAGE, PROT_READ | PROT_GROWSUP | PROT_GROWSDOWN));
	SAY(munmap(p, 6 * PAGE));
}

static void files(void)
{
	int fd = file(2);
	char *shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0), *private;
	char byte = 0;

	private = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, PAGE);
	SAY(private[0]);
	shared[PAGE] = 77;
	SAY(private[0]);
	private[0] = 1;
	SAY(shared[PAGE]);
	SAY(pread(fd, &byte, 1, PAGE));
	SAY(byte);
	read_from("behind the file", shared + 2 * PAGE);
	SAY(ftruncate(fd, 3 * PAGE));
	read_from("what it has grown by", shared + 2 * PAGE);
	SAY(msync(shared, PAGE, MS_SYNC));
	SAY(msync(shared + 1, PAGE, MS_SYNC));
	SAY_OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1));
	SAY(munmap(shared, 4 * PAGE));
	close(fd);
	fd = open("/proc/self/exe", O_RDONLY);
	SAY_OK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	SAY(mprotect(shared, PAGE, RW));
	SAY(memcmp(shared, "\177ELF", 4));
	close(fd);
}

static void move(void)
{
	char *p = map(4, RW), *q, *r;

	p[0] = 11;
	p[PAGE] = 12;
	SAY(mremap(p, 4 * PAGE, 2 * PAGE, 0) == p);
	read_from("what was cut off", p + 2 * PAGE);
	q = mremap(p, 2 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
	SAY_OK((long)q);
	SAY(q[0] * 100 + q[PAGE]);
	SAY(q[299 * PAGE]);
	r = map(8, RW);
	SAY(mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r + PAGE) == r + PAGE);
	SAY(r[PAGE]);
	read_from("where it was", q);
	SAY(q[PAGE]);
	SAY_OK((long)mremap(r, PAGE, 2 * PAGE, MREMAP_FIXED, q));
	SAY_OK((long)mremap(r, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, r + PAGE));
	SAY_OK((long)mremap(r + 1, PAGE, PAGE, 0));
	SAY_OK((long)mremap(r, PAGE, 0, MREMAP_MAYMOVE));
	SAY_OK((long)mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	SAY_OK((long)mremap(r, PAGE, PAGE, 64));
	p = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	q = mremap(p, 0, PAGE, MREMAP_MAYMOVE);
	q[9] = 99;
	SAY(p[9]);
	p = map(2, RW);
	p[0] = 5;
	q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	SAY(q[0] * 10 + p[0]);
}

static void heap(void)
{
	char *start = sbrk(0);

	SAY(brk(start + 5 * PAGE));
	start[5 * PAGE - 1] = 3;
	SAY(brk(start + PAGE));
	SAY(brk(start + 5 * PAGE));
	SAY(start[5 * PAGE - 1]);
	SAY((char *)syscall(SYS_brk, 0) - start);
	SAY((char *)syscall(SYS_brk, 1ul << 62) - start);
	SAY((char *)syscall(SYS_brk, 4096) - start);
	SAY(brk(start));
}

static void segments(void)
{
	int id = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);

	p[PAGE] = 8;
	SAY(q[PAGE]);
	write_to("a segment that is to be read", q);
	SAY_OK((long)shmat(id, p + 1, 0));
	SAY_OK((long)shmat(id, p, 0));
	SAY(shmat(id, p + 1, SHM_RND | SHM_REMAP) == p);
	SAY(shmdt(p + PAGE));
	SAY(shmdt(p));
	read_from("a segment that is gone", p);
	SAY(shmdt(q));
	SAY(shmctl(id, IPC_RMID, NULL));
	SAY_OK((long)shmat(id, NULL, 0));
}

static void others(void)
{
	char *p = map(4, RW);
	unsigned char in_core[4] = {0};

	memset(p, 1, 4 * PAGE);
	SAY(madvise(p, 2 * PAGE, MADV_DONTNEED));
	SAY(p[0] * 10 + p[2 * PAGE]);
	SAY(madvise(p + 1, PAGE, MADV_DONTNEED));
	SAY(mincore(p, 4 * PAGE, in_core));
	SAY(in_core[3] & 1);
	SAY(munmap(p + PAGE, PAGE));
	SAY(mincore(p, 4 * PAGE, in_core));
	SAY(mlock(p, PAGE));
	SAY(munlock(p, PAGE));
	SAY(mlock(p, 4 * PAGE));
}

/* A function that returns a number. */
static void write_function(char *at, unsigned char number)
{
#ifdef __aarch64__
	uint32_t code[] = {0x52800000 | (uint32_t)number << 5, 0xd65f03c0}; /* mov w0, ret */
#else
	unsigned char code[] = {0xb8, number, 0, 0, 0, 0xc3};
#endif

	memcpy(at, code, sizeof code);
	__builtin___clear_cache(at, at + sizeof code);
}

static int call(char *at)
{
	return ((int (*)(void))at)();
}

/* What the kernel puts in place of code is executed, though nobody says that it changed. */
static void code(void)
{
	int fd = file(1);
	char *whole = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	char *p = mmap(NULL, PAGE, RW | PROT_EXEC, MAP_PRIVATE, fd, 0);

	write_function(whole, 5);
	SAY(call(p));
	write_function(p, 7);
	SAY(call(p));
	SAY(madvise(p, PAGE, MADV_DONTNEED));
	SAY(call(p));
	SAY(munmap(p, PAGE));
	SAY(munmap(whole, PAGE));
	close(fd);
}

/* A stack that overflows: an address that is not mapped, whatever the kernel has put there. */
__attribute__((noinline)) static int deeper(int n)
{
	volatile char frame[4096];

	frame[0] = (char)n;
	return n < 0 ? 0 : deeper(n + 1) + frame[0];
}

static void on_overflow(int sig, siginfo_t *info, void *context)
{
	printf("overflow: signal %d, code %d\n", sig, info->si_code);
	fflush(stdout);
	_exit(0);
}

static void overflow(void)
{
	stack_t stack = {.ss_sp = map(16, RW), .ss_size = 16 * PAGE};
	struct sigaction action = {.sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	printf("%d\n", deeper(0));
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	fixed();
	protect();
	files();
	move();
	heap();
	segments();
	others();
	code();
	overflow();
	return 1;
}
