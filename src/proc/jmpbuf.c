/*
 * What setjmp() leaves behind.  glibc disguises the stack pointer and the
 * code address in a jmp_buf with 8 of the 16 random bytes that the kernel gave
 * the program at its start (AT_RANDOM: the second half), so that they can be
 * recognised from outside.  musl and hand-written switchers store them plainly.
 */
#include <elf.h>

#include "base/fdio.h"
#include "proc/state.h"

static lp_addr random_bytes(struct lp_proc *p)
{
	char path[64];
	struct lp_buf raw = {0};
	lp_addr at = 0;
	int rc = lp_read_file(lp_proc_path(p, "auxv", path, sizeof path), &raw, 1 << 16, NULL);
	const Elf64_auxv_t *a = (const Elf64_auxv_t *)(const void *)raw.data;
	for (size_t i = 0; rc == 0 && i < raw.len / sizeof *a; i++) {
		if (a[i].a_type == AT_RANDOM)
			at = a[i].a_un.a_val;
	}
	lp_buf_free(&raw);
	return at;
}

bool lp_jmpbuf_disguise(struct lp_proc *p, struct lp_disguise *out)
{
	lp_addr at = random_bytes(p);
	*out = (struct lp_disguise){.rotate = p->arch->jmpbuf.rotate, .pc_at = p->arch->jmpbuf.pc_at};
	return at && lp_mem_read(p, at + 8, &out->key, sizeof out->key, NULL) == 0;
}
