const char *new_twin(void);

const char *new_twin(void)
{
	return "patched";
}
