/*
 * What a thread's seccomp filters would say to our system calls.
 *
 * While we trace a thread we may suspend its filters
 * (PTRACE_O_SUSPEND_SECCOMP), but that ends the moment we die, and the calls
 * may still be ahead of the thread then.  A filter that would merely make one
 * of them fail does no harm; one that would kill the thread, or leave it
 * waiting for a supervisor, does.  So the filters are read and asked first.
 *
 * Filters are classic BPF over struct seccomp_data (seccomp(2),
 * Documentation/userspace-api/seccomp_filter.rst).  The kernel admits a small
 * set of instructions (seccomp_check_filter()), and only forward jumps.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ptrace.h>

#include "proc/state.h"

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

#define FILTERS_MAX 512 /* the kernel's limit on the instructions of all filters allows fewer */

static uint32_t alu(uint16_t code, uint32_t a, uint32_t operand, bool *bad)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + operand;
	case BPF_SUB:
		return a - operand;
	case BPF_MUL:
		return a * operand;
	case BPF_DIV:
		return operand ? a / operand : 0;
	case BPF_AND:
		return a & operand;
	case BPF_OR:
		return a | operand;
	case BPF_XOR:
		return a ^ operand;
	case BPF_LSH:
		return operand < 32 ? a << operand : 0;
	case BPF_RSH:
		return operand < 32 ? a >> operand : 0;
	case BPF_NEG:
		return -a;
	}
	*bad = true;
	return 0;
}

static bool holds(uint16_t code, uint32_t a, uint32_t operand, bool *bad)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == operand;
	case BPF_JGT:
		return a > operand;
	case BPF_JGE:
		return a >= operand;
	case BPF_JSET:
		return a & operand;
	}
	*bad = true;
	return false;
}

/* What is not understood counts as the worst. */
uint32_t lp_seccomp_run(const struct sock_filter *code, size_t len, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0};
	bool bad = false;
	for (size_t pc = 0; pc < len && !bad; pc++) {
		const struct sock_filter *f = &code[pc];
		uint32_t operand = BPF_SRC(f->code) == BPF_X ? x : f->k;
		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
		case BPF_LDX: {
			uint32_t v = f->k;
			if (BPF_MODE(f->code) == BPF_MEM)
				v = f->k < BPF_MEMWORDS ? mem[f->k] : 0;
			else if (BPF_MODE(f->code) == BPF_LEN)
				v = sizeof *data;
			else if (BPF_MODE(f->code) == BPF_ABS && f->k % 4 == 0 && f->k <= sizeof *data - 4)
				memcpy(&v, (const uint8_t *)data + f->k, sizeof v);
			else
				bad = BPF_MODE(f->code) != BPF_IMM;
			*(BPF_CLASS(f->code) == BPF_LD ? &a : &x) = v;
			break;
		}
		case BPF_ST:
		case BPF_STX:
			bad = f->k >= BPF_MEMWORDS;
			if (!bad)
				mem[f->k] = BPF_CLASS(f->code) == BPF_ST ? a : x;
			break;
		case BPF_ALU:
			a = alu(f->code, a, operand, &bad);
			break;
		case BPF_JMP:
			pc += BPF_OP(f->code) == BPF_JA ? f->k : holds(f->code, a, operand, &bad) ? f->jt : f->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? a : f->k;
		case BPF_MISC:
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static bool is_harmless(uint32_t action)
{
	switch (action & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_ERRNO:
	case SECCOMP_RET_TRACE: /* without a tracer the call fails with ENOSYS */
		return true;
	}
	return false;
}

static bool allows(const struct lp_proc *p, const struct sock_filter *code, size_t len, const struct lp_call *c,
		   lp_addr ip)
{
	struct seccomp_data data = {
		.nr = (int)c->nr, .arch = p->machine | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE, .instruction_pointer = ip};
	for (size_t i = 0; i < 6; i++)
		data.args[i] = c->args[i];
	return is_harmless(lp_seccomp_run(code, len, &data));
}

bool lp_seccomp_spares(struct lp_proc *p, pid_t tid, const struct lp_call *calls, size_t nr, lp_addr ip)
{
	struct sock_filter code[BPF_MAXINSNS];
	for (unsigned long i = 0; i < FILTERS_MAX; i++) {
		long len = ptrace((enum __ptrace_request)PTRACE_SECCOMP_GET_FILTER, tid, (void *)i, NULL);
		if (len < 0)
			return errno == ENOENT; /* no more of them; anything else: they cannot be read */
		if (len > BPF_MAXINSNS ||
		    ptrace((enum __ptrace_request)PTRACE_SECCOMP_GET_FILTER, tid, (void *)i, code) != len)
			return false;
		for (size_t k = 0; k < nr; k++)
			if (!allows(p, code, (size_t)len, &calls[k], ip))
				return false;
	}
	return false;
}
