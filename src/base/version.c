#include "base/version.h"

__attribute__((section(".livepatch.version"))) const char lp_program_version[LP_PROGRAM_VERSION_SIZE] =
	LP_PROJECT_VERSION;
