// expect: function-changed main
// refuse: changed-size buffer
#ifdef AFTER
char buffer[128];
#else
char buffer[64];
#endif

int main(int argc, char **argv)
{
	buffer[argc & 31] = 1;
	return (int)sizeof buffer + buffer[3];
}
