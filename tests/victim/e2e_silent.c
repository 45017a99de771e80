/*
 * A process whose memory does not answer: who reads the first page of what looks like one of its libraries waits until
 * somebody brings that page, and nobody does.  A file of a network or FUSE file system whose server is gone is like that.
 * Needs the right to userfaultfd(2) for faults of the kernel.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "e2e_serve.h"

#define PAGE 4096u

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void request(char *line)
{
	say("alive %s", line);
}

int main(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = memfd_create("silent.so", MFD_CLOEXEC);
	need(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0, "memfd_create");
	char *at = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	need(at != MAP_FAILED && mprotect(at + PAGE, PAGE, PROT_READ | PROT_EXEC) == 0, "mmap");
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	need(faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0, "userfaultfd");
	struct uffdio_register range = {.range = {(uintptr_t)at, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	need(ioctl(faults, UFFDIO_REGISTER, &range) == 0, "UFFDIO_REGISTER");
	serve(request);
}
