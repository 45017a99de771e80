/*
 * What the victims have in common.  Their page of slots (page.h) is the file
 * on descriptor 3 when there is one, else private.
 */
#ifndef LP_VICTIM_H
#define LP_VICTIM_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

/* An operand in a vector register. */
#ifdef __x86_64__
#define VICTIM_FP(v) "+x"(v)
#else
#define VICTIM_FP(v) "+w"(v)
#endif

static struct victim_page *victim_page;

static inline void victim_check(struct victim_slot *slot, bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "victim: slot %zd: %s\n", slot - victim_page->slots, what);
	abort();
}

static inline void victim_open(void)
{
	victim_page = mmap(NULL, sizeof *victim_page, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	if (victim_page == MAP_FAILED)
		victim_page =
			mmap(NULL, sizeof *victim_page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (victim_page == MAP_FAILED)
		abort();
}

static inline void victim_ready(void)
{
	__atomic_add_fetch(&victim_page->ready, 1, __ATOMIC_SEQ_CST);
}

static inline int victim_run(int threads, void *(*body)(void *))
{
	victim_open();
	for (int i = 1; i < threads; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, body, &victim_page->slots[i]))
			abort();
	}
	for (int i = 0; i < threads; i++)
		victim_ready();
	body(&victim_page->slots[0]);
	return 0;
}
#endif
