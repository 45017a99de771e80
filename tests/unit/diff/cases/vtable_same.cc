// flags: -O2 | -O0
// expect: function-changed _ZN1A3oneEv
// record: _ZN1A3oneEv
struct A {
	virtual ~A();
	virtual int one();
	virtual int two();
};
A::~A()
{
}
int A::one()
{
#ifdef AFTER
	return 11;
#else
	return 1;
#endif
}
int A::two()
{
	return 2;
}
int main()
{
	A a;
	A *p = &a;
	__asm__("" : "+r"(p));
	return p->one() + p->two();
}
