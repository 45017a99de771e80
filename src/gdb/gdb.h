/*
 * A stub for gdb's remote protocol: the guest of the emulator as a target of
 * gdb-multiarch.
 *
 *     rc = lp_gdb_start(emu, "1234", &gdb, err);   // a TCP port of the loopback, or the path of a socket
 *     ...
 *     lp_emu_run(emu);                             // stands before its first instruction until gdb has connected
 *
 * All-stop: when one thread stops, all do.  One gdb at a time; when it goes
 * (detach, or the connection ends), the guest goes on.  Breakpoints are in
 * translations and watchpoints are looked at instruction by instruction: nothing
 * is written to the guest but what gdb writes.
 *
 * Protocol: "Debugging with GDB", appendix E.
 */
#ifndef LP_GDB_GDB_H
#define LP_GDB_GDB_H

#include "base/err.h"

struct lp_emu;

/* Before the guest runs.  Listens, and has a thread of its own wait for gdb. */
int lp_gdb_start(struct lp_emu *emu, const char *where, struct lp_err *err);

#endif
