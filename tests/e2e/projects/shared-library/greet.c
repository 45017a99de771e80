int greetings;

const char *greet(void)
{
	greetings++;
	return "hello";
}
