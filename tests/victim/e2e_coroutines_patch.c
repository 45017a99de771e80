struct coroutine;
int new_outer(struct coroutine *self);
int new_through(struct coroutine *self);
int co_middle(struct coroutine *self);

int new_outer(struct coroutine *self)
{
	return 1000;
}

int new_through(struct coroutine *self)
{
	return co_middle(self) * 100;
}
