/* Faults: what a handler is told of each kind of access, and what becomes of who has no handler. */
#include "guest.h"
#include <sched.h>
#include <setjmp.h>

static sigjmp_buf back;
static volatile uint64_t expected_pc;
static char *room; /* two pages: one that is there, one that is not */
static int fault_count;

static uint64_t esr_of(const ucontext_t *uc)
{
	const uint32_t *record = (const void *)uc->uc_mcontext.__reserved;

	while (record[0] && record[0] != 0x45535201)
		record += record[1] / 4;
	return record[0] ? *(const uint64_t *)(record + 2) : 0;
}

static void caught(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint64_t addr = (uint64_t)info->si_addr;

	printf("signal %d code %d addr ", sig, info->si_code);
	if (addr - (uint64_t)room < 0x10000)
		printf("room+%lx", addr - (uint64_t)room);
	else if (addr == uc->uc_mcontext.pc)
		printf("pc");
	else
		printf("%lx", addr);
	printf("%s\n", (uint64_t)uc->uc_mcontext.fault_address == addr ? "" : ", fault_address differs");
	fault_count++;
	siglongjmp(back, 1);
}

static void caught_esr(int sig, siginfo_t *info, void *context)
{
	printf("esr %lx\n", esr_of(context));
	siglongjmp(back, 1);
}

#define TRY(what, ...)                        \
	do {                                  \
		printf("%s: ", what);         \
		if (!sigsetjmp(back, 1)) {    \
			__VA_ARGS__;          \
			printf("no fault\n"); \
		}                             \
	} while (0)

#define ASM(text, addr)                                     \
	TRY(text, __asm__ volatile("mov x9, %0\n" text "\n" \
				   :                        \
				   : "r"(addr)              \
				   : "x9", "x0", "x1", "x2", "x3", "v0", "v1", "v2", "v3", "memory", "cc"))

static void catch_all(void (*handler)(int, siginfo_t *, void *))
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

	for (int i = 0; i < 5; i++)
		handle(signals[i], handler, 0);
	room = mmap(NULL, 0x10000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(room, 4096, PROT_READ | PROT_WRITE);
	mprotect(room + 0x3000, 4096, PROT_READ);
	munmap(room + 0x5000, 0x2000);
}

static void loads(void)
{
	catch_all(caught);
	char *none = room + 0x1000;

	ASM("ldr x0, [x9]", none);
	ASM("ldr x0, [x9, #8]", none);
	ASM("ldr x0, [x9], #8", none);
	ASM("ldr x0, [x9, #-8]!", none + 16);
	ASM("ldrb w0, [x9, #5]", none);
	ASM("ldrsh x0, [x9, #6]", none);
	ASM("ldp x0, x1, [x9, #16]", none);
	ASM("ldp x0, x1, [x9]", none - 8);
	ASM("ldpsw x0, x1, [x9, #-8]!", none + 16);
	ASM("ldr q0, [x9]", none);
	ASM("ldp q0, q1, [x9]", none - 16);
	ASM("ld1 {v0.16b, v1.16b}, [x9]", none - 16);
	ASM("ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x9], #64", none);
	ASM("ld1r {v0.8b}, [x9]", none);
	ASM("ldar x0, [x9]", none);
	ASM("ldxr x0, [x9]", none);
	ASM("ldaxp x0, x1, [x9]", none);
	ASM("ldr x0, [x9]", none + 0x4000);
	ASM("ldr x0, [x9]", 8L);
}

static void stores(void)
{
	catch_all(caught);
	char *none = room + 0x1000, *readonly = room + 0x3000;

	ASM("str x0, [x9]", none);
	ASM("str x0, [x9]", readonly);
	ASM("ldr x0, [x9]", readonly);
	ASM("strb w0, [x9, #3]", readonly);
	ASM("stp x0, x1, [x9, #-16]!", readonly + 0x1000);
	ASM("stp q0, q1, [x9]", readonly);
	ASM("st1 {v0.16b, v1.16b}, [x9]", readonly);
	ASM("stlr x0, [x9]", readonly);
	ASM("dc zva, x9", readonly + 64);
	ASM("ldr x0, [x9]", room);
	ASM("stxr w0, x1, [x9]", none);
}

static void tagged(void)
{
	catch_all(caught);
	uint64_t tag = 0x5aUL << 56, none = (uint64_t)room + 0x1000;

	ASM("ldr x0, [x9]", tag | (uint64_t)room);
	ASM("ldr x0, [x9]", tag | none);
	ASM("str x0, [x9, #8]", tag | none);
	ASM("ldr x0, [x9]", 0x0001000000000000UL);
	ASM("ldr x0, [x9, #24]", 0x0012345600000000UL);
	ASM("ldp x0, x1, [x9, #32]", 0x0012345600000000UL);
	ASM("ldr q0, [x9], #16", 0x0012345600000000UL);
	ASM("strb w0, [x9, #-1]!", 0x0012345600000001UL);
	ASM("ld2 {v0.16b, v1.16b}, [x9]", 0x0012345600000000UL);
	ASM("ldxr x0, [x9]", 0x0012345600000000UL);
	ASM("mov x1, #3\nldr w0, [x9, x1, lsl #2]", 0x0012345600000000UL);
	ASM("mov w1, #-4\nldr w0, [x9, w1, sxtw]", 0x0012345600000000UL);
}

static void write_esr(void)
{
	catch_all(caught_esr);
	ASM("ldr x0, [x9]", 8L);
	ASM("str x0, [x9]", 8L);
	ASM("str x0, [x9]", room + 0x3000);
}

static void others(void)
{
	catch_all(caught);
	char *file;
	int fd = memfd_create("short", 0);

	TRY("udf", __asm__ volatile("udf #0"));
	TRY("undefined", __asm__ volatile(".inst 0xffffffff"));
	TRY("brk", __asm__ volatile("brk #1"));
	TRY("privileged", __asm__ volatile("mrs x0, sctlr_el1" : : : "x0"));
	if (ftruncate(fd, 10))
		return;
	file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	room = file;
	ASM("ldr x0, [x9]", file + 4096);
	ASM("str x0, [x9, #8]", file + 4096);
	ASM("ldxr x0, [x9]", file + 4);
	ASM("ldaddal x0, x1, [x9]", file + 4);
}

static void branches(void)
{
	catch_all(caught);
	TRY("null", ((void (*)(void))0)());
	TRY("unmapped", ((void (*)(void))(room + 0x5000))());
	TRY("not executable", ((void (*)(void))room)());
	TRY("odd", ((void (*)(void))((char *)branches + 2))());
}

/* What system calls find that is not there. */
static void calls(void)
{
	catch_all(caught);
	printf("read %ld", syscall(SYS_read, open("/dev/zero", O_RDONLY), room + 0x1000, 16));
	printf(" %d\n", errno);
	long wrote = write(1, room + 0xffc, 8);
	printf("write over the edge %d\n", wrote == 4 || errno == EFAULT);
	printf("clock %d", clock_gettime(CLOCK_REALTIME, (void *)(room + 0x3000)) ? errno : 0);
	printf("\nuname %ld %d\n", syscall(SYS_uname, room + 0xff0), errno);
	printf("faults %d\n", fault_count);
}

static void stack_overflow(void)
{
	static char alternate[65536];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};

	void overflown(int sig, siginfo_t *info, void *context)
	{
		ucontext_t *uc = context;
		long distance = (long)info->si_addr - (long)uc->uc_mcontext.sp;
		printf("overflow: near sp %d, code %d\n", distance < 65536 && distance > -65536, info->si_code);
		_exit(3);
	}
	int down(int n)
	{
		volatile char big[1024];
		big[0] = (char)n;
		return big[0] + down(n + 1);
	}
	sigaltstack(&stack, NULL);
	handle(SIGSEGV, overflown, SA_ONSTACK);
	printf("%d\n", down(0));
}

static void ends_of(void (*how)(void), const char *name)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		how();
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("%s: %x\n", name, status & 0xff7f);
}

static void segv_now(void)
{
	*(volatile int *)16 = 1;
}

static void segv_blocked(void)
{
	sigset_t set = set_of(SIGSEGV, 0);

	handle(SIGSEGV, caught, 0);
	sigprocmask(SIG_BLOCK, &set, NULL);
	segv_now();
}

static void segv_ignored(void)
{
	signal(SIGSEGV, SIG_IGN);
	kill(getpid(), SIGSEGV);
	segv_now();
}

static void segv_without_stack(void)
{
	handle(SIGSEGV, caught, 0);
	__asm__ volatile("mov sp, #4096\n ldr x0, [sp]" : : : "x0");
}

static void segv_in_handler(void)
{
	void again(int sig, siginfo_t *info, void *context)
	{
		segv_now();
	}
	handle(SIGSEGV, again, 0);
	segv_now();
}

static void illegal_now(void)
{
	__asm__ volatile("udf #0");
}

static void trap_now(void)
{
	__builtin_trap();
}

static void ends(void)
{
	ends_of(segv_now, "default");
	ends_of(segv_blocked, "blocked");
	ends_of(segv_ignored, "ignored");
	ends_of(segv_without_stack, "no stack");
	ends_of(segv_in_handler, "again in its handler");
	ends_of(illegal_now, "illegal");
	ends_of(trap_now, "trap");
	ends_of(abort, "abort");
}

/* For the test of the runner's own line, and of core files. */
__attribute__((noinline, noclone)) static void inner(volatile int *p)
{
	*p = 1;
	__asm__ volatile("");
}

__attribute__((noinline, noclone)) static void outer(void)
{
	inner((int *)0x18);
	__asm__ volatile("");
}

static atomic_int sits;

static void *sit(void *arg)
{
	sits = 1;
	pause();
	return NULL;
}

static void crash(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, sit, NULL);
	while (!sits)
		sched_yield();
	__asm__ volatile("movi v5.16b, #0x77" : : : "v5");
	outer();
}

MAIN(PART(loads), PART(stores), PART(tagged), PART(write_esr), PART(others), PART(branches), PART(calls),
     PART(stack_overflow), PART(ends), PART(crash))
