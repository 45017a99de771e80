/*
 * What glog looks like in a program when it was built without gflags: its
 * flags are variables, strings are references, and nothing registers them.
 */
#include <iostream>
#include <string>

namespace fLI
{
int FLAGS_minloglevel = 0;
int FLAGS_v = 0;
int FLAGS_stderrthreshold = 2;
} // namespace fLI

namespace fLB
{
bool FLAGS_logtostderr = false;
}

namespace fLU
{
unsigned FLAGS_max_log_size = 1800;
}

namespace fLS
{
std::string FLAGS_vmodule_buf, FLAGS_log_dir_buf = "/a/directory/whose/name/does/not/fit/into/the/string/itself";
std::string &FLAGS_vmodule = FLAGS_vmodule_buf, &FLAGS_log_dir = FLAGS_log_dir_buf;
} // namespace fLS

static std::string told;

namespace google
{
__attribute__((noipa)) int SetVLOGLevel(const char *pattern, int level)
{
	told += std::string(pattern) + "=" + std::to_string(level) + ";";
	return 0;
}
} // namespace google

int main(int argc, char **)
{
	if (argc > 1000)
		google::SetVLOGLevel("", argc); /* it is there to be called by others */
	std::cout << "ready" << std::endl;
	for (std::string line; std::getline(std::cin, line);)
		std::cout << fLI::FLAGS_minloglevel << " " << fLI::FLAGS_v << " " << fLB::FLAGS_logtostderr << " "
			  << fLU::FLAGS_max_log_size << " " << fLS::FLAGS_log_dir << " " << told << std::endl;
}
