#include "proc/state.h"

void lp_images_forget(struct lp_proc *p)
{
	lp_vec_free(&p->images);
	p->images_known = false;
}
