#include "gdb/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const char digits[] = "0123456789abcdef";

static int digit(char c)
{
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

void lp_gdb_hex(struct lp_buf *out, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
		lp_buf_add(out, pair, 2);
	}
}

size_t lp_gdb_unhex(const char *text, size_t len, void *out, size_t max)
{
	uint8_t *bytes = out;
	size_t nr = 0;

	for (; nr < max && 2 * nr + 1 < len; nr++) {
		int high = digit(text[2 * nr]), low = digit(text[2 * nr + 1]);
		if (high < 0 || low < 0)
			break;
		bytes[nr] = (uint8_t)(high << 4 | low);
	}
	return nr;
}

void lp_gdb_escape(struct lp_buf *out, const void *data, size_t len)
{
	const char *bytes = data;

	for (size_t i = 0; i < len; i++) {
		char pair[2] = {'}', (char)(bytes[i] ^ 0x20)};
		bool special = bytes[i] == '#' || bytes[i] == '$' || bytes[i] == '}' || bytes[i] == '*';
		lp_buf_add(out, special ? pair : &bytes[i], special ? 2 : 1);
	}
}

/* ---- reading ---- */

static void drop(struct lp_buf *b, size_t nr)
{
	memmove(b->data, b->data + nr, b->len - nr);
	b->len -= nr;
}

static bool send_all(struct lp_gdb_wire *w, const void *data, size_t len)
{
	const char *bytes = data;

	while (len) {
		ssize_t sent = send(w->fd, bytes, len, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		len -= (size_t)sent;
	}
	return true;
}

/* False: the connection is gone. */
static bool fill(struct lp_gdb_wire *w)
{
	uint8_t bytes[4096];

	for (;;) {
		ssize_t got = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (got <= 0 || w->in.len + (size_t)got > 2 * LP_GDB_PACKET_MAX)
			return false;
		lp_buf_add(&w->in, bytes, (size_t)got);
	}
}

static void unescape(struct lp_buf *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool escaped = text[i] == '}' && i + 1 < len;
		uint8_t byte = escaped ? text[++i] ^ 0x20 : text[i];
		lp_buf_add(out, &byte, 1);
	}
}

/* What begins the buffer is a packet, whole or not. */
static enum lp_gdb_read take_packet(struct lp_gdb_wire *w, struct lp_buf *packet)
{
	const uint8_t *end = memchr(w->in.data, '#', w->in.len);
	uint8_t sum = 0, said = 0;
	size_t len;
	bool right;

	if (!end || (size_t)(end - w->in.data) + 3 > w->in.len)
		return LP_GDB_NOTHING;
	len = (size_t)(end - w->in.data) - 1;
	for (size_t i = 0; i < len; i++)
		sum += w->in.data[1 + i];
	right = lp_gdb_unhex((const char *)end + 1, 2, &said, 1) == 1 && said == sum;
	packet->len = 0;
	lp_buf_str(packet, "");
	if (right)
		unescape(packet, w->in.data + 1, len);
	drop(&w->in, len + 4);
	if (!w->no_ack && !send_all(w, right ? "+" : "-", 1))
		return LP_GDB_CLOSED;
	return right ? LP_GDB_PACKET : LP_GDB_NOTHING;
}

enum lp_gdb_read lp_gdb_next(struct lp_gdb_wire *w, struct lp_buf *packet)
{
	bool open = fill(w);

	while (w->in.len) {
		enum lp_gdb_read r;
		if (w->in.data[0] == 3) {
			drop(&w->in, 1);
			return LP_GDB_INTERRUPT;
		}
		if (w->in.data[0] != '$') { /* acknowledgements: the stream loses nothing */
			drop(&w->in, 1);
			continue;
		}
		r = take_packet(w, packet);
		if (r != LP_GDB_NOTHING)
			return r;
		break;
	}
	return open ? LP_GDB_NOTHING : LP_GDB_CLOSED;
}

/* ---- writing ---- */

bool lp_gdb_send(struct lp_gdb_wire *w, const void *text, size_t len)
{
	struct lp_buf b = {0};
	uint8_t sum = 0;
	bool sent;

	if (w->fd < 0)
		return false;
	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)text)[i];
	lp_buf_str(&b, "$");
	lp_buf_add(&b, text, len);
	lp_buf_printf(&b, "#%02x", sum);
	sent = send_all(w, b.data, b.len);
	lp_buf_free(&b);
	return sent;
}
