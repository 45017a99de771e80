#pragma once
#include <stdexcept>
#include <string>

struct shape {
	virtual ~shape() = default;
	virtual int area() const = 0;
};

struct square : shape {
	int side;
	explicit square(int s) : side(s)
	{
	}
	int area() const override;
};

template <class T> T twice(T v)
{
	return v + v;
}

std::string describe(const shape &s);
