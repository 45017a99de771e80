// refuse: linker-set second
struct member {
	const char *name;
};
#define MEMBER __attribute__((used, section("members")))

MEMBER static struct member first = {"first"};
#ifdef AFTER
MEMBER static struct member second = {"second"};
#endif
extern struct member __start_members[], __stop_members[];

int main(void)
{
	return (int)(__stop_members - __start_members);
}
