/*
 * Ways to switch stacks, one of them chosen at compile time by -DSWITCH_...:
 *
 *     UCONTEXT     makecontext, swapcontext
 *     JMPBUF       entered by swapcontext, switched by setjmp and longjmp, which disguise the stack pointer
 *     ASM          registers pushed, the stack pointer exchanged: what private switchers do; kept in a struct
 *     ASM_BASE     the same, kept at the lowest address of the stack itself
 */
#ifndef E2E_COROUTINE_SWITCH_H
#define E2E_COROUTINE_SWITCH_H

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct coroutine {
	void (*run)(struct coroutine *self);
	char *stack;
	size_t size;
	int done;
	long number;
#if defined SWITCH_UCONTEXT
	ucontext_t inside, outside;
#elif defined SWITCH_JMPBUF
	ucontext_t inside, outside;
	jmp_buf in, out;
	int begun;
#else
	void *inside, *outside;
#endif
};

#if defined SWITCH_UCONTEXT || defined SWITCH_JMPBUF

static void begin(unsigned low, unsigned high)
{
	struct coroutine *c = (struct coroutine *)((unsigned long)high << 32 | low);

	c->run(c);
	c->done = 1;
#ifdef SWITCH_JMPBUF
	longjmp(c->out, 1);
#endif
}

static void prepare(struct coroutine *c)
{
	getcontext(&c->inside);
	c->inside.uc_stack.ss_sp = c->stack;
	c->inside.uc_stack.ss_size = c->size;
	c->inside.uc_link = &c->outside;
	makecontext(&c->inside, (void (*)(void))begin, 2, (unsigned)(unsigned long)c,
		    (unsigned)((unsigned long)c >> 32));
}

#ifdef SWITCH_UCONTEXT
static void resume(struct coroutine *c)
{
	swapcontext(&c->outside, &c->inside);
}

static void park(struct coroutine *c)
{
	swapcontext(&c->inside, &c->outside);
}
#else
static void resume(struct coroutine *c)
{
	if (setjmp(c->out))
		return;
	if (c->begun)
		longjmp(c->in, 1);
	c->begun = 1;
	setcontext(&c->inside);
}

static void park(struct coroutine *c)
{
	if (!setjmp(c->in))
		longjmp(c->out, 1);
}
#endif

#else

/* Callee-saved registers on the old stack, its pointer to *save; then the same backwards on the new one. */
void switch_stack(void **save, void *to);
__asm__(".pushsection .text\n"
	".globl switch_stack\n"
	".type switch_stack, @function\n"
	"switch_stack:\n"
	"	push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
	"	ret\n"
	".size switch_stack, .-switch_stack\n"
	".popsection\n");

#ifdef SWITCH_ASM_BASE
#define INSIDE(c) (*(void **)(c)->stack)
#else
#define INSIDE(c) ((c)->inside)
#endif

static struct coroutine *entering;

static void begin(void)
{
	struct coroutine *c = entering;

	c->run(c);
	c->done = 1;
	switch_stack(&INSIDE(c), c->outside);
	abort();
}

static void prepare(struct coroutine *c)
{
	void **sp = (void **)(c->stack + c->size);

	*--sp = NULL; /* the end of the stack, and its alignment at begin() */
	*--sp = (void *)begin;
	sp -= 6;
	memset(sp, 0, 6 * sizeof *sp);
	INSIDE(c) = sp;
}

static void resume(struct coroutine *c)
{
	entering = c;
	switch_stack(&c->outside, INSIDE(c));
}

static void park(struct coroutine *c)
{
	switch_stack(&INSIDE(c), c->outside);
}

#endif

static struct coroutine *coroutine_make(void (*run)(struct coroutine *), int mapped)
{
	struct coroutine *c = calloc(1, sizeof *c);

	c->run = run;
	c->size = 64 << 10;
	c->stack = mapped ? mmap(NULL, c->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)
			  : malloc(c->size);
	prepare(c);
	return c;
}

#endif
