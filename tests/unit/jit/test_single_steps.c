/*
 * A signal at every host instruction.  A guest program of a few instructions of all kinds is translated, and runs again and
 * again; the test steps through it (PTRACE_SINGLESTEP), one instruction of translated code further each time (what is C is one step), sends SIGUSR1 there, and lets it go on.  Where the guest's handler is about to run, registers, flags, vectors and memory must be as the interpreter
 * has them before one of the program's instructions; the handler spoils all that it may, and the program ends as it should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/emu.h"
#include "emu/fp.h"
#include "isa/isa.h"
#include "jit/private.h"

/* Where everything stands, in each process: code, data, and the stack's end. */
#define CODE UINT64_C(0x50000000)
#define DATA UINT64_C(0x50010000)
#define STACK UINT64_C(0x50040000)

enum { MAX_STATES = 4096, WARM = 3, DATA_SIZE = 1024, MAX_STEPS = 100000, NR_CALLED = 2 };

static const char program[] =
	/* rt_sigaction(SIGUSR1, DATA + 2048, NULL, 8) */
	"adr x9, handler\nstr x9, [x19, #2048]\nmov x9, #0x4000000\nadr x10, restorer\nadd x11, x19, #2056\nstp x9, "
	"x10, [x11]\nmov x0, #10\nadd x1, x19, #2048\nmov x2, #0\nmov x3, #8\nmov x8, "
	"#134\nsvc #0\n"
	"cbnz x0, wrong\n"
	"begin: brk #1\n"
	"mov x20, #2\n"
	"outer: mov x1, x19\nmov x2, #3\nadd x3, x19, #256\n"
	/* vectors, with copies in host registers over the loop */
	"loop: ldr q0, [x1], #16\nadd v1.4s, v1.4s, v0.4s\nfmla v2.2d, v0.2d, v3.2d\nst1 {v1.16b, v2.16b}, [x3], #32\n"
	"subs x2, x2, #1\nb.ne loop\n"
	/* flags over branches, calls and memory */
	"cmp x20, #2\nldr x4, [x19, #64]\nadc x5, x4, x20\ncset x6, eq\nbl function\n"
	"adr x9, leaf\nblr x9\n"
	"adds x7, x7, x5\nb.cs over\nadd x7, x7, #1\n"
	"over: fcmp d2, d3\nstr d2, [x19, #96]\nfcsel d4, d2, d3, mi\nfsqrt d5, d4\n"
	"mov x10, #5\nldadd x10, x11, [x19]\nadd x12, x19, #128\ndc zva, x12\nstp x11, x7, [x12, #16]\n"
	"ccmp x11, #7, #4, ne\ncinc x13, x13, eq\n"
	"mov x8, #124\nsvc #0\n" /* sched_yield */
	"tbz x20, #1, nothing\nstrb w0, [x19, #200]\n"
	"nothing: sub x20, x20, #1\ncbnz x20, outer\n"
	"udiv x14, x7, x13\nmadd x15, x14, x7, x5\n"
	"brk #2\n"
	"function: stp x29, x30, [sp, #-32]!\nmov x29, sp\nstr x20, [sp, #16]\nbl leaf\nldr x20, [sp, #16]\n"
	"ldp x29, x30, [sp], #32\nret\n"
	"leaf: ldrb w16, [x19, #300]\nadd x17, x17, x16\neor x17, x17, x17, ror #7\nret\n"
	"wrong: brk #3\n"
	"handler: mov x1, #-1\nmov x2, #-1\nmov x3, #-1\nmov x4, #-1\nmov x5, #-1\nmov x19, #-1\nmov x20, #-1\nmov "
	"x21, #-1\n"
	"mov x22, #-1\nmov x7, #-1\nmov x11, #-1\nmov x29, #-1\ncmp x7, #0\nmovi v0.16b, #255\nmovi v1.16b, #255\n"
	"movi v2.16b, #255\nmovi v3.16b, #255\nmovi v4.16b, #255\nfadd d5, d1, d1\nret\n"
	"restorer: mov x8, #139\nsvc #0\n";

/* In memory that both processes share. */
static struct shared {
	size_t nr_states;
	uint64_t states[MAX_STATES];	      /* that there are, hashed; as the interpreter has them */
	uint64_t called[NR_CALLED];	      /* functions: flags mean nothing at their begin */
	uint64_t end;			      /* the state at brk #2 */
	uint64_t code_begin, code_end, enter; /* translated code and stubs; where C enters it */
	uint64_t delivered, passes;
	bool enough;
} * shared;

static struct lp_emu *emu;
static bool traces; /* the interpreter, each instruction */

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

/* ---- states ---- */

static void mix(uint64_t *h, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word;
		memcpy(&word, (const char *)data + i, sizeof word);
		*h = (*h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		*h ^= *h >> 29;
	}
}

static uint64_t state_of(const struct lp_cpu *cpu)
{
	uint64_t h = 1, flags = lp_cpu_nzcv(cpu), fpsr = lp_fpsr_read(cpu);

	for (size_t i = 0; i < NR_CALLED; i++)
		flags = cpu->pc == shared->called[i] ? 0 : flags;
	mix(&h, cpu->x, 32 * sizeof cpu->x[0]);
	mix(&h, &cpu->pc, sizeof cpu->pc);
	mix(&h, &flags, sizeof flags);
	mix(&h, &fpsr, sizeof fpsr);
	mix(&h, cpu->vr, sizeof cpu->vr);
	mix(&h, (const void *)DATA, DATA_SIZE);
	return h;
}

/* The same before each pass. */
static void begin_pass(struct lp_cpu *cpu)
{
	for (unsigned i = 0; i < 31; i++)
		cpu->x[i] = i * UINT64_C(0x0123456789abcdef);
	cpu->x[13] = 3;
	cpu->x[19] = DATA;
	cpu->x[LP_SP] = STACK;
	memset(cpu->vr, 0, sizeof cpu->vr);
	for (unsigned i = 0; i < 32; i++)
		cpu->vr[i].d[0] = UINT64_C(0x3ff0000000000000) + i * UINT64_C(0x0008000100020003);
	for (uint64_t i = 0; i < DATA_SIZE; i += 8)
		*(volatile uint64_t *)(DATA + i) = UINT64_C(0x3ff0123456789abc) + i * UINT64_C(0x1001001);
	lp_fpsr_write(cpu, 0);
	lp_cpu_set_nzcv(cpu, 0);
}

/* ---- in the process that runs the guest ---- */

static void note_state(struct lp_guest_thread *t, void *arg)
{
	if (!traces)
		return;
	check(shared->nr_states < MAX_STATES, "more states than there should be");
	shared->states[shared->nr_states++] = state_of(&t->cpu);
}

static int look_at_signal(struct lp_guest_thread *t, const siginfo_t *info, void *arg)
{
	uint64_t state = state_of(&t->cpu);

	for (size_t i = 0; i < shared->nr_states; i++)
		if (shared->states[i] == state) {
			shared->delivered++;
			return info->si_signo;
		}
	fprintf(stderr, "pass %lu: a handler would see what never was, at %#lx\n", shared->passes, t->cpu.pc - CODE);
	for (unsigned i = 0; i < 32; i++)
		fprintf(stderr, "x%u %lx%c", i, t->cpu.x[i], i % 4 == 3 ? '\n' : '\t');
	fprintf(stderr, "nzcv %x\n", lp_cpu_nzcv(&t->cpu) >> 28);
	_exit(1);
}

static void end(void)
{
	const struct lp_jit *jit = emu->engine_data;
	struct lp_jit_stats stats;

	lp_jit_stats(emu, &stats);
	check((stats.regions > 0) == (jit->tier == LP_JIT_TIER2), "regions where there should be none, or none");
	_exit(0);
}

static bool at_breakpoint(struct lp_guest_thread *t, void *arg)
{
	static uint64_t begin;
	struct lp_cpu *cpu = &t->cpu;
	uint32_t word = 0;

	check(cpu->fault.signal == SIGTRAP && !lp_mem_get(cpu->pc, &word), "a fault that is none of the program's");
	check((word >> 5 & 3) != 3, "no rt_sigaction");
	if ((word >> 5 & 3) == 2) {
		if (traces) {
			shared->end = state_of(cpu);
			_exit(0);
		}
		check(state_of(cpu) == shared->end, "the program ended otherwise");
		shared->passes++;
	} else {
		begin = cpu->pc + 4;
	}
	begin_pass(cpu);
	cpu->pc = begin;
	if (!emu->engine) {
		traces = true;
		atomic_fetch_or(&cpu->poll, (uint32_t)LP_POLL_TRACE);
		return true;
	}
	if (shared->enough)
		end();
	if (shared->passes >= WARM)
		raise(SIGSTOP);
	return true;
}

static uint64_t address_of(const uint8_t *bytes, size_t len, const char *line)
{
	struct lp_err err = {0};
	uint8_t word[16];
	size_t size;

	check(!lp_isa_of(EM_AARCH64)->assemble(line, 0, NULL, word, sizeof word, &size, &err), err.text);
	for (size_t i = 0; i + size <= len; i += 4)
		if (!memcmp(bytes + i, word, size))
			return CODE + i;
	check(false, "no such instruction");
	return 0;
}

static void write_code(void)
{
	static uint8_t bytes[4096];
	struct lp_err err = {0};
	size_t len;

	check(!lp_isa_of(EM_AARCH64)->assemble(program, CODE, NULL, bytes, sizeof bytes, &len, &err), err.text);
	check(lp_mem_write(CODE, bytes, len) == 0, "no memory for code");
	shared->called[0] = address_of(bytes, len, "stp x29, x30, [sp, #-32]!");
	shared->called[1] = address_of(bytes, len, "ldrb w16, [x19, #300]");
	lp_mem_protect(emu, CODE, 4096, PROT_READ | PROT_EXEC);
}

static void run(const struct lp_jit_options *options)
{
	static const struct lp_emu_options plain;
	struct lp_err err = {0};
	struct lp_cpu *cpu;

	emu = lp_emu_new(&plain, &err);
	check(emu, err.text);
	if (options) {
		int rc = lp_jit_attach(emu, options, &err);
		if (rc == -ENOTSUP)
			_exit(77);
		check(rc == 0, err.text);
		shared->code_begin = (uint64_t)((struct lp_jit *)emu->engine_data)->segments[0].rx;
		shared->code_end = shared->code_begin + (uint64_t)LP_SEGMENTS * LP_SEGMENT;
		shared->enter = (uint64_t)((struct lp_jit *)emu->engine_data)->stubs.enter;
		check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "nobody may trace us");
	}
	lp_emu_watch(emu,
		     &(struct lp_emu_events){.block = note_state, .fault = at_breakpoint, .signal = look_at_signal});
	check(lp_mem_map(emu, CODE, STACK - CODE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == CODE,
	      "no memory");
	write_code();
	cpu = &emu->main->cpu;
	cpu->pc = CODE;
	cpu->x[19] = DATA;
	cpu->x[LP_SP] = STACK;
	lp_guest_thread_run(emu->main);
}

/* ---- the tracer ---- */

enum stop { STEPPED, STOPPED, ENDED };

/* Goes on, with signal `sig`, until the next stop; what is not the test's is passed on. */
static enum stop go(pid_t pid, int how, int sig, int *status)
{
	for (;;) {
		assert_int_equal(ptrace(how, pid, NULL, (long)sig), 0);
		assert_int_equal(waitpid(pid, status, 0), pid);
		if (!WIFSTOPPED(*status))
			return ENDED;
		sig = WSTOPSIG(*status);
		if (sig == SIGSTOP)
			return STOPPED;
		if (sig == SIGTRAP)
			return STEPPED;
	}
}

struct torture {
	pid_t pid;
	int status;
	uint64_t nr_sent, nr_within; /* of these, in translated code and its stubs */
};

static uint64_t host_register(const struct torture *t, size_t offset)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, t->pid, offset, NULL);
}
#define HOST(t, name) host_register(t, offsetof(struct user, regs.name))

static bool is_within(uint64_t rip)
{
	return rip - shared->code_begin < shared->code_end - shared->code_begin;
}

/* Breakpoints of the CPU on up to two instructions; 0: none. */
static void set_breakpoints(const struct torture *t, uint64_t one, uint64_t two)
{
	unsigned long enabled = (one ? 1 : 0) | (two ? 4 : 0);

	assert_int_equal(ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[7]), 0), 0);
	assert_int_equal(ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[0]), one), 0);
	assert_int_equal(ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[1]), two), 0);
	assert_int_equal(ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, u_debugreg[7]), enabled), 0);
}

/* One instruction of translated code; or all that is C, up to where that goes back: to who called it, or by `enter`. */
static enum stop step(struct torture *t)
{
	uint64_t back;
	enum stop stop;

	if (is_within(HOST(t, rip)))
		return go(t->pid, PTRACE_SINGLESTEP, 0, &t->status);
	back = (uint64_t)ptrace(PTRACE_PEEKDATA, t->pid, HOST(t, rsp), NULL);
	set_breakpoints(t, shared->enter, is_within(back) ? back : 0);
	stop = go(t->pid, PTRACE_CONT, 0, &t->status);
	set_breakpoints(t, 0, 0);
	return stop;
}

/* One pass with a signal behind so many steps; false: it has fewer.  At the begin of the next one. */
static bool pass(struct torture *t, unsigned steps)
{
	uint64_t rip;

	for (unsigned i = 0; i < steps; i++) {
		enum stop stop = step(t);
		assert_int_not_equal(stop, ENDED);
		if (stop == STOPPED)
			return false;
	}
	rip = HOST(t, rip);
	t->nr_sent++;
	t->nr_within += is_within(rip);
	if (go(t->pid, PTRACE_CONT, SIGUSR1, &t->status) != STOPPED)
		fail_msg("after %u steps, at %#lx of translated code: status %#x", steps, rip - shared->code_begin,
			 (unsigned)t->status);
	return true;
}

/* The two of them never run at once. */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((unsigned)sched_getcpu(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof here, &here), 0);
}

/* NULL: interpreted. */
static pid_t started(const struct lp_jit_options *options)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		run(options);
	return pid;
}

static void find_states(void)
{
	int status;
	pid_t pid;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	pid = started(NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_in_range(shared->nr_states, 100, MAX_STATES);
}

static void send_signals_to(const struct lp_jit_options *options)
{
	struct torture t = {0};
	unsigned steps = 1;

	find_states();
	stay_here();
	t.pid = started(options);
	assert_int_equal(waitpid(t.pid, &t.status, 0), t.pid);
	if (WIFEXITED(t.status) && WEXITSTATUS(t.status) == 77)
		skip(); /* not even SSE4.2 here */
	assert_true(WIFSTOPPED(t.status) && WSTOPSIG(t.status) == SIGSTOP);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, t.pid, NULL, PTRACE_O_EXITKILL), 0);
	while (pass(&t, steps))
		assert_true(++steps < MAX_STEPS);
	shared->enough = true;
	assert_int_equal(go(t.pid, PTRACE_CONT, 0, &t.status), ENDED);
	assert_int_equal(t.status, 0);
	assert_int_equal(shared->delivered, t.nr_sent);
	assert_true(t.nr_within > 500);
	print_message("%lu signals, %lu of them in translated code; %zu states\n", t.nr_sent, t.nr_within,
		      shared->nr_states);
	munmap(shared, sizeof *shared);
}

static void a_signal_at_any_host_instruction_finds_a_state_that_the_program_has(void **state)
{
	send_signals_to(&(struct lp_jit_options){.tier = LP_JIT_TIER1});
}

static void so_does_one_in_a_loop_that_has_registers_of_its_own(void **state)
{
	send_signals_to(&(struct lp_jit_options){.tier = LP_JIT_TIER2});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signal_at_any_host_instruction_finds_a_state_that_the_program_has),
		cmocka_unit_test(so_does_one_in_a_loop_that_has_registers_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
