// flags: -O2 | -O0
// refuse: changed-class _ZTV1A
struct A {
	virtual ~A();
	virtual int one();
#ifdef AFTER
	virtual int more();
#endif
	virtual int two();
};
A::~A()
{
}
int A::one()
{
	return 1;
}
int A::two()
{
	return 2;
}
int main()
{
	return 0;
}
