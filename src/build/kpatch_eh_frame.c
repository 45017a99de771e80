/*
 * .eh_frame, as the LSB (Core, 10.6.1) and DWARF 4 (6.4.1) describe it: entries of a length and an id; id 0 is a CIE,
 * anything else a function's FDE, whose id is the distance back to its CIE.
 */
#include "build/kpatch_eh_frame.h"

#include <string.h>

#define EH_OMIT 0xffu
#define EH_INDIRECT 0x80u
#define EH_PCREL 0x10u
#define EH_WHERE 0x70u
#define EH_FORM 0x0fu

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static uint8_t read_u8(struct reader *r)
{
	if (r->p == r->end) {
		r->bad = true;
		return 0;
	}
	return *r->p++;
}

static uint64_t read_uleb(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		uint8_t b = read_u8(r);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
}

static uint64_t read_fixed(struct reader *r, size_t width)
{
	uint64_t v = 0;
	if ((size_t)(r->end - r->p) < width) {
		r->bad = true;
		return 0;
	}
	memcpy(&v, r->p, width);
	r->p += width;
	return v;
}

/* 0 = a form that linkers do not write here. */
static uint8_t width_of(uint8_t encoding)
{
	switch (encoding & EH_FORM) {
	case 0x00: /* absptr */
	case 0x04: /* udata8 */
	case 0x0c: /* sdata8 */
		return 8;
	case 0x03: /* udata4 */
	case 0x0b: /* sdata4 */
		return 4;
	default:
		return 0;
	}
}

struct cie {
	uint64_t at;	 /* in the old table */
	uint64_t now_at; /* in the new one, once it is there */
	bool copied;
	const uint8_t *bytes;
	size_t len; /* with the length word */
	uint8_t code, lsda, personality;
	size_t personality_at; /* in the entry */
};

struct picker {
	const uint8_t *bytes;
	size_t len;
	uint64_t vaddr, low, high;
	struct eh_tables *out;
	LP_VEC(struct cie) cies;
};

/* Reads a pointer of an entry that begins at `entry`; *to is an address. */
static bool read_pointer(struct picker *p, struct reader *r, uint8_t encoding, uint64_t *to)
{
	uint8_t width = width_of(encoding);
	uint64_t here = p->vaddr + (uint64_t)(r->p - p->bytes);
	uint8_t where = encoding & EH_WHERE;
	if (!width || (where && where != EH_PCREL)) {
		r->bad = true;
		return false;
	}
	uint64_t v = read_fixed(r, width);
	if (width == 4 && (encoding & EH_FORM) == 0x0b)
		v = (uint64_t)(int64_t)(int32_t)v;
	if (!v)
		return false;
	*to = where == EH_PCREL ? v + here : v;
	return true;
}

static void parse_augmentation(struct cie *c, struct reader *r, const char *letters)
{
	read_uleb(r); /* its length */
	for (const char *l = letters + 1; *l && !r->bad; l++) {
		switch (*l) {
		case 'R':
			c->code = read_u8(r);
			break;
		case 'L':
			c->lsda = read_u8(r);
			break;
		case 'P':
			c->personality = read_u8(r);
			c->personality_at = (size_t)(r->p - c->bytes);
			if (!width_of(c->personality))
				r->bad = true;
			r->p += r->bad ? 0 : width_of(c->personality);
			r->bad |= r->p > r->end;
			break;
		case 'S':
		case 'B':
			break;
		default:
			r->bad = true;
		}
	}
}

static bool parse_cie(struct picker *p, uint64_t at, size_t len)
{
	struct cie *c = lp_vec_add(&p->cies);
	*c = (struct cie){.at = at, .bytes = p->bytes + at, .len = len, .lsda = EH_OMIT, .personality = EH_OMIT};
	struct reader r = {c->bytes + 8, c->bytes + len, false};
	read_u8(&r); /* version */
	const char *letters = (const char *)r.p;
	const uint8_t *nul = memchr(r.p, 0, (size_t)(r.end - r.p));
	if (!nul)
		return false;
	r.p = nul + 1;
	read_uleb(&r);
	read_uleb(&r); /* the data alignment is signed, and as long */
	read_uleb(&r);
	if (letters[0] == 'z')
		parse_augmentation(c, &r, letters);
	else if (letters[0])
		return false;
	return !r.bad;
}

static struct cie *find_cie(struct picker *p, uint64_t at)
{
	for (size_t i = 0; i < p->cies.nr; i++)
		if (p->cies.items[i].at == at)
			return &p->cies.items[i];
	return NULL;
}

static void add_pointer(struct picker *p, uint64_t at, uint64_t to, uint8_t encoding, bool personality)
{
	lp_vec_push(&p->out->pointers, ((struct eh_pointer){
					       .at = at,
					       .to = to,
					       .width = width_of(encoding),
					       .relative = (encoding & EH_WHERE) == EH_PCREL,
					       .personality = personality,
				       }));
}

static bool copy_cie(struct picker *p, struct cie *c)
{
	if (c->copied)
		return true;
	c->copied = true;
	c->now_at = p->out->bytes.len;
	lp_buf_add(&p->out->bytes, c->bytes, c->len);
	if (c->personality == EH_OMIT)
		return true;
	struct reader r = {c->bytes + c->personality_at, c->bytes + c->len, false};
	uint64_t to;
	if (read_pointer(p, &r, c->personality & (uint8_t)~EH_INDIRECT, &to))
		add_pointer(p, c->now_at + c->personality_at, to, c->personality, true);
	return !r.bad;
}

static bool copy_fde(struct picker *p, struct cie *c, uint64_t at, size_t len, uint64_t function)
{
	if (!copy_cie(p, c))
		return false;
	uint64_t now = p->out->bytes.len;
	uint32_t back = (uint32_t)(now + 4 - c->now_at);
	lp_buf_add(&p->out->bytes, p->bytes + at, len);
	memcpy(p->out->bytes.data + now + 4, &back, 4);
	add_pointer(p, now + 8, function, c->code, false);
	if (c->lsda == EH_OMIT)
		return true;
	uint8_t width = width_of(c->code);
	if (len < 8 + 2 * (size_t)width)
		return false;
	struct reader r = {p->bytes + at + 8 + 2 * width, p->bytes + at + len, false};
	uint64_t to;
	if (!read_uleb(&r))
		return !r.bad;
	uint64_t field = (uint64_t)(r.p - (p->bytes + at));
	if (!read_pointer(p, &r, c->lsda, &to))
		return !r.bad;
	add_pointer(p, now + field, to, c->lsda, false);
	p->out->handlers = true;
	return true;
}

static bool take_fde(struct picker *p, uint64_t at, size_t len, uint32_t id)
{
	struct cie *c = id <= at + 4 ? find_cie(p, at + 4 - id) : NULL;
	if (!c)
		return false;
	struct reader r = {p->bytes + at + 8, p->bytes + at + len, false};
	uint64_t function;
	if (!read_pointer(p, &r, c->code, &function))
		return !r.bad;
	if (function < p->low || function >= p->high)
		return true;
	return copy_fde(p, c, at, len, function);
}

static bool take_entry(struct picker *p, uint64_t at, size_t len)
{
	uint32_t id;
	if (len < 8)
		return false;
	memcpy(&id, p->bytes + at + 4, 4);
	return id ? take_fde(p, at, len, id) : parse_cie(p, at, len);
}

int eh_tables_pick(const uint8_t *bytes, size_t len, uint64_t vaddr, uint64_t low, uint64_t high, struct eh_tables *out,
		   struct lp_err *err)
{
	struct picker p = {.bytes = bytes, .len = len, .vaddr = vaddr, .low = low, .high = high, .out = out};
	bool good = true;
	for (uint64_t at = 0; good && len - at >= 4;) {
		uint32_t n;
		memcpy(&n, bytes + at, 4);
		if (!n) { /* an end mark: crtend.o's, or of one input among others */
			at += 4;
			continue;
		}
		good = n != 0xffffffff && n <= len - at - 4 && take_entry(&p, at, n + 4);
		at += (uint64_t)n + 4;
	}
	lp_vec_free(&p.cies);
	if (!good)
		return lp_fail(err, LP_EELF, "the unwind tables of the patched program cannot be read");
	if (out->bytes.len)
		lp_buf_fill(&out->bytes, 0, 4);
	return 0;
}

void eh_tables_free(struct eh_tables *t)
{
	lp_buf_free(&t->bytes);
	lp_vec_free(&t->pointers);
}
