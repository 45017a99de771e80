// Globals of C++, for the tests of debug/.
#include <string>

namespace config
{
int depth = 3;
std::string name = "short";
std::string longer = "a string that is too long for the object itself";
namespace inner
{
long value = 8;
}
} // namespace config

namespace other
{
int depth = 4;
}

namespace
{
int unnamed = 6;
}

template <typename T> struct box {
	T content;
};

struct base {
	virtual ~base() = default;
	int in_base = 1;
};

class derived : public base
{
      public:
	static int count;
	std::string title = "title";
	bool ready = true;
	box<int> boxed{7};
	int &reference = config::depth;

      private:
	int secret_ = 5;
};

enum class state : unsigned char { idle, busy = 200 };

int derived::count = 17;
derived object;
derived *pointer = &object;
box<double> numbers{0.5};
state now = state::busy;
wchar_t wide = L'w';
char16_t narrow = u'n';

extern "C" int *use(void)
{
	return &unnamed;
}
