/*
 * The version of this program.
 *
 * It stands in a section of its own, .livepatch.version, where scripts/dist
 * writes that of a release: a candidate and the release that comes of it are
 * one build, with another number in it.
 */
#ifndef LP_BASE_VERSION_H
#define LP_BASE_VERSION_H

#define LP_PROGRAM_VERSION_SIZE 64

/* MAJOR.MINOR.BUILD or MAJOR.MINOR.BUILD-rcN; ends with 0.  Never inline: the compiler must not know what it says. */
extern const char lp_program_version[LP_PROGRAM_VERSION_SIZE];

#endif
