// A program that lets its variables and one function be changed while it runs: document 003's first example.
//
//     $ simple_server &
//     $ hotpatch -p $! var set string user_name new_name
//     $ hotpatch -p $! lib load add_func_patch1 ./libadd_func_patch1.so
//     $ hotpatch -p $! func upgrade add_func_patch1 add_func
#include <chrono>
#include <iostream>
#include <string>
#include <thread>

#include <gflags/gflags.h>
#include <glog/logging.h>

#include "hotpatch.hpp"

DEFINE_int32(rounds, 0, "how many rounds to go; 0: until it is ended");
DEFINE_int32(period, 500, "milliseconds of a round");
DEFINE_string(greeting, "hello", "said in every round");

static bool IsSomeTime(const char *, int32_t value)
{
	return value > 0 && value <= 60000;
}
DEFINE_validator(period, &IsSomeTime);

extern "C" __attribute__((noinline)) int add_func(int a, int b)
{
	return a + b;
}

int main(int argc, char **argv)
{
	gflags::ParseCommandLineFlags(&argc, &argv, true);
	google::InitGoogleLogging(argv[0]);

	// Use Hotpatch
	hotpatch::InitHotpatchServer();

	// Register variable
	std::string user_name = "myname";
	hotpatch::RegisterVariable("user_name", &user_name);
	int age = 10;
	hotpatch::RegisterVariable("age", &age);

	// Register function
	hotpatch::RegisterFunction("add_func", reinterpret_cast<void *>(add_func));

	for (int round = 1; !FLAGS_rounds || round <= FLAGS_rounds; round++) {
		hotpatch_quiesce(); // nobody reads strings here
		LOG(INFO) << FLAGS_greeting << " " << user_name;
		std::cout << user_name << " " << age << " " << add_func(1, 2) << std::endl;
		std::this_thread::sleep_for(std::chrono::milliseconds(FLAGS_period));
	}
}
