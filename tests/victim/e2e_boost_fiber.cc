/*
 * Fibers of Boost.Context that are suspended inside of a function.
 *
 *     enter     one more fiber goes through bc_outer and bc_middle and is suspended there
 *     leave     all return from bc_outer, and are suspended outside of it
 *     call      bc_outer's answer when it does not suspend
 *
 * Argument: "protected" for stacks with a guard page.
 */
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using fiber = boost::context::fiber;

extern "C" {
int bc_outer(fiber *back);
int bc_middle(fiber *back);
}

extern "C" __attribute__((noinline)) int bc_middle(fiber *back)
{
	if (back)
		*back = std::move(*back).resume();
	return 1;
}

/* The product after the call keeps this frame on the stack: no tail call. */
extern "C" __attribute__((noinline)) int bc_outer(fiber *back)
{
	return bc_middle(back) * 7 + 1;
}

static fiber visit(fiber &&caller)
{
	fiber back = std::move(caller);

	for (;;) {
		bc_outer(&back);
		back = std::move(back).resume();
	}
	return back;
}

static fiber make(bool guarded)
{
	if (guarded)
		return fiber(std::allocator_arg, boost::context::protected_fixedsize_stack(), visit);
	return fiber(visit);
}

int main(int argc, char **)
{
	std::vector<fiber> fibers;
	std::string line;

	std::puts("ready");
	std::fflush(stdout);
	while (std::getline(std::cin, line)) {
		if (line == "enter") {
			fibers.push_back(make(argc > 1));
			fibers.back() = std::move(fibers.back()).resume();
		} else if (line == "leave") {
			for (fiber &f : fibers)
				f = std::move(f).resume();
		}
		std::printf("%d\n", bc_outer(nullptr));
		std::fflush(stdout);
	}
	std::_Exit(0);
}
