/* The other half of e2e_twins.c. */
const char *second_answer(void);

__attribute__((noipa)) static const char *twin(void)
{
	return "second";
}

const char *second_answer(void)
{
	return twin();
}
