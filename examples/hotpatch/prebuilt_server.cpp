// A program that knows nothing of hotpatch, only of gflags and glog: document 003's second example.
//
//     $ LD_PRELOAD=./libpreload_hotpatch.so prebuilt_server &
//     $ hotpatch -p $! gflags set minloglevel 2
#include <chrono>
#include <thread>

#include <gflags/gflags.h>
#include <glog/logging.h>

DEFINE_int32(period, 500, "milliseconds of a round");

int main(int argc, char **argv)
{
	gflags::ParseCommandLineFlags(&argc, &argv, true);
	google::InitGoogleLogging(argv[0]);
	for (;;) {
		LOG(INFO) << "for your information";
		LOG(WARNING) << "be warned";
		VLOG(1) << "verbose";
		std::this_thread::sleep_for(std::chrono::milliseconds(FLAGS_period));
	}
}
