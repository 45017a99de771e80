/*
 * What the builder and its compiler wrapper (wrap.c, installed as libexec/livepatch/livepatch-cc) agree on.
 *
 * For the child build alone, a directory of symbolic links to the wrapper, named cc, gcc, g++-12, ld ..., stands first in
 * PATH.  Called by such a name the wrapper runs the next program of that name in PATH, and writes down what it did
 * (build/record.h).  Without LP_WRAP_RECORDS in its environment it is the real program.
 *
 *     LP_WRAP_DIR       the directory of links; NAME.real in it is a link to the program that NAME stands for when that is not
 *                       to be searched for
 *     LP_WRAP_RECORDS   where records go
 *     LP_WRAP_MAP       FROM=TO for -ffile-prefix-map, so that nothing compiled names the private copy
 *     LP_WRAP_SECTIONS  set: compile with one section per function and datum (the build of the changed tree)
 *     LP_WRAP_INCLUDE   with LP_WRAP_SECTIONS: a directory with livepatch-patch.h, searched last
 *     LP_WRAP_EPOCH     the SOURCE_DATE_EPOCH of compilers, where there is none
 *     LP_WRAP_TMPDIR    the TMPDIR of compilers, as long as it is there: the build's own programs keep theirs, of which something
 *                       may be meant to stay, or be used by a daemon
 *     LP_WRAP_INNER     set by the wrapper: a driver runs its own linker; not recorded again
 *
 * `livepatch-cc --guard PID COMMAND...` runs COMMAND.  When its parent PID dies, and when SIGTERM comes, all that COMMAND has
 * started is ended (SIGTERM, after two seconds SIGKILL), in whatever process group it is: ninja gives each compiler its own.
 */
#ifndef LP_BUILD_WRAP_H
#define LP_BUILD_WRAP_H

#define LP_WRAP_PROGRAM "livepatch-cc"
#define LP_WRAP_DIR "LIVEPATCH_CC_DIR"
#define LP_WRAP_RECORDS "LIVEPATCH_CC_RECORDS"
#define LP_WRAP_MAP "LIVEPATCH_CC_MAP"
#define LP_WRAP_SECTIONS "LIVEPATCH_CC_SECTIONS"
#define LP_WRAP_INCLUDE "LIVEPATCH_CC_INCLUDE"
#define LP_WRAP_EPOCH "LIVEPATCH_CC_EPOCH"
#define LP_WRAP_TMPDIR "LIVEPATCH_CC_TMPDIR"
#define LP_WRAP_INNER "LIVEPATCH_CC_INNER"
#define LP_WRAP_GUARD "--guard"

/* Added when a unit is compiled for comparison; the last one silences clang, and gcc does not mind. */
#define LP_SECTION_FLAGS "-ffunction-sections", "-fdata-sections", "-Wno-unused-command-line-argument"

#endif
