/* Packets of gdb's remote protocol over a stream: framing, checksums, acknowledgement, binary escapes. */
#ifndef LP_GDB_PACKET_H
#define LP_GDB_PACKET_H

#include "base/buf.h"

enum { LP_GDB_PACKET_MAX = 1 << 17 };

struct lp_gdb_wire {
	int fd; /* -1: nobody is connected */
	bool no_ack;
	struct lp_buf in; /* what was read and is no whole packet yet */
};

enum lp_gdb_read { LP_GDB_NOTHING, LP_GDB_PACKET, LP_GDB_INTERRUPT, LP_GDB_CLOSED };

/* The next packet of what is there, its text (escapes undone) into `packet`.  Waits for nothing. */
enum lp_gdb_read lp_gdb_next(struct lp_gdb_wire *w, struct lp_buf *packet);
/* False: the connection is gone. */
bool lp_gdb_send(struct lp_gdb_wire *w, const void *text, size_t len);

/* Binary data in a packet. */
void lp_gdb_escape(struct lp_buf *out, const void *data, size_t len);
void lp_gdb_hex(struct lp_buf *out, const void *data, size_t len); /* "0a1b" */
/* Pairs of digits; how many bytes, at most max. */
size_t lp_gdb_unhex(const char *text, size_t len, void *out, size_t max);

#endif
