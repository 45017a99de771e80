/*
 * Tells the test which images it has loaded, in the dynamic linker's order,
 * and where its own thread-local variable is: slot i + 1, extra is the bias of
 * image i; slot 0, extra their number; slot 0, eintrs the variable's offset
 * from the thread pointer.  Loads a library named by its argument first.
 */
#include "victim.h"

#include <dlfcn.h>
#include <link.h>

__attribute__((aligned(64))) _Thread_local uint64_t images_tls[5] = {1, 2, 3, 4, 5};
_Thread_local char images_odd = 'x';

static int note(struct dl_phdr_info *info, size_t size, void *arg)
{
	/* The vDSO is not in everybody's list; livepatch puts it last. */
	if (strstr(info->dlpi_name, "vdso"))
		return 0;
	victim_page->slots[++victim_page->slots[0].extra].extra = info->dlpi_addr;
	return 0;
}

int main(int argc, char **argv)
{
	victim_open();
#ifndef VICTIM_STATIC
	if (argc > 1 && !dlopen(argv[1], RTLD_NOW))
		abort();
#endif
	dl_iterate_phdr(note, NULL);
	victim_page->slots[0].eintrs = (uint64_t)((char *)images_tls - (char *)__builtin_thread_pointer());
	victim_page->slots[1].eintrs = (uint64_t)(&images_odd - (char *)__builtin_thread_pointer());
	victim_ready();
	for (;;)
		pause();
}
