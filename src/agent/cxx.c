#include "agent/cxx.h"

#include <dlfcn.h>
#include <stdlib.h>

void lp_cxx_delete(void *p)
{
	/* A program may have its own. */
	void (*operator_delete)(void *) = (void (*)(void *))(uintptr_t)dlsym(RTLD_DEFAULT, "_ZdlPv");

	if (p && operator_delete)
		operator_delete(p);
	else
		free(p);
}

void lp_cxx_string_init(struct cxx_string *s)
{
	*s = (struct cxx_string){0};
	s->text = s->local;
}

void lp_cxx_string_end(struct cxx_string *s)
{
	if (s->text != s->local)
		lp_cxx_delete(s->text);
}
