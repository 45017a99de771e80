int answer_42(void);

int answer_42(void)
{
	return 42;
}
