// Another implementation of add_func(), to be loaded while simple_server runs.
extern "C" int add_func(int a, int b)
{
	return 100 * (a + b);
}
