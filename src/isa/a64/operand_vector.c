/* Vector registers: whole, divided into lanes, as one number, in lists. */
#include "isa/a64/operand.h"

#include "base/vec.h"

static const char letters[] = "bhsdq"; /* by log2 of the size in bytes */

static uint32_t esize(uint32_t word)
{
	return lp_a64_bits(word, 22, 2);
}

/* The highest bit of immh; 0 is not allocated. */
static unsigned immh_size(uint32_t word)
{
	uint32_t immh = lp_a64_bits(word, 19, 4);

	return immh ? 31 - (unsigned)__builtin_clz(immh) : 0;
}

/* The lowest bit of imm5; 0 and 16 are not allocated. */
static unsigned imm5_size(uint32_t word)
{
	return (unsigned)__builtin_ctz(lp_a64_bits(word, 16, 5) | 16);
}

static bool set_immh_size(struct lp_a64_scan *s, unsigned size)
{
	uint32_t below = (1u << size) - 1;

	if (size > 3)
		return lp_a64_scan_fail(s, LP_EPARSE, "no such lanes here");
	return lp_a64_scan_set(s, (15u & ~below) << 19, (1u << size) << 19);
}

static bool set_imm5_size(struct lp_a64_scan *s, unsigned size)
{
	if (size > 3)
		return lp_a64_scan_fail(s, LP_EPARSE, "no such lanes here");
	return lp_a64_scan_set_bits(s, 16, size + 1, 1u << size);
}

/* ---- as one number ---- */

static unsigned number_size(uint32_t word, unsigned width)
{
	static const uint8_t by_ftype[4] = {2, 3, 0, 1};

	switch (width) {
	case FPR_FTYPE:
		return by_ftype[lp_a64_bits(word, 22, 2)];
	case FPR_ESIZE:
		return esize(word);
	case FPR_LONG:
		return esize(word) + 1;
	case FPR_SZ:
		return 2 + lp_a64_bits(word, 22, 1);
	case FPR_IMMH:
		return immh_size(word);
	case FPR_IMMH_LONG:
		return immh_size(word) + 1;
	case FPR_OPC:
		return 2 + lp_a64_bits(word, 30, 2);
	default:
		return width;
	}
}

static bool wrong_width(struct lp_a64_scan *s)
{
	return lp_a64_scan_fail(s, LP_EPARSE, "a register of another width is expected");
}

static bool set_number_size(struct lp_a64_scan *s, unsigned width, unsigned size)
{
	static const int8_t ftypes[5] = {-1, 3, 0, 1, -1};

	switch (width) {
	case FPR_FTYPE:
		return ftypes[size] < 0 ? wrong_width(s) : lp_a64_scan_set_bits(s, 22, 2, (uint32_t)ftypes[size]);
	case FPR_ESIZE:
		return size > 3 ? wrong_width(s) : lp_a64_scan_set_bits(s, 22, 2, size);
	case FPR_LONG:
		return size < 1 ? wrong_width(s) : lp_a64_scan_set_bits(s, 22, 2, size - 1);
	case FPR_SZ:
		return size < 2 || size > 3 ? wrong_width(s) : lp_a64_scan_set_bits(s, 22, 1, size - 2);
	case FPR_IMMH:
		return set_immh_size(s, size);
	case FPR_IMMH_LONG:
		return size < 1 ? wrong_width(s) : set_immh_size(s, size - 1);
	case FPR_OPC:
		return size < 2 ? wrong_width(s) : lp_a64_scan_set_bits(s, 30, 2, size - 2);
	default:
		return size == width || wrong_width(s);
	}
}

static unsigned size_of_letter(char letter)
{
	unsigned size = 0;

	while (letters[size] != letter)
		size++;
	return size;
}

void lp_a64_print_fpr(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "%c%" PRIu32, letters[number_size(l->word, arg[1])], lp_a64_bits(l->word, arg[0], 5));
}

bool lp_a64_scan_fpr(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	unsigned number = 0;
	char letter;

	if (!lp_a64_scan_lettered(s, letters, 31, &letter, &number))
		return lp_a64_scan_fail(s, LP_EPARSE, "a vector register is expected");
	const char *end = s->p;
	s->p = start;
	if (!set_number_size(s, arg[1], size_of_letter(letter)) || !lp_a64_scan_set_bits(s, arg[0], 5, number))
		return false;
	s->p = end;
	return true;
}

/* ---- lanes ---- */

struct lanes {
	unsigned size; /* log2 of a lane's bytes */
	bool full;     /* all 128 bits */
};

static const struct lanes fixed[] = {
	[LANES_16B] = {0, true}, [LANES_8H] = {1, true}, [LANES_4S] = {2, true},
	[LANES_2D] = {3, true},	 [LANES_1Q] = {4, true}, [LANES_2H] = {1, false},
};

static struct lanes lanes_of(uint32_t word, unsigned kind)
{
	bool q = lp_a64_bits(word, 30, 1);
	unsigned sz = lp_a64_bits(word, 22, 1);

	switch (kind) {
	case LANES_SIZE:
		return (struct lanes){esize(word), q};
	case LANES_LONG:
		return (struct lanes){esize(word) + 1, true};
	case LANES_HALVES:
		return (struct lanes){esize(word) + 1, q};
	case LANES_BYTES:
		return (struct lanes){0, q};
	case LANES_HALFWORDS:
		return (struct lanes){1, q};
	case LANES_WORDS:
		return (struct lanes){2, q};
	case LANES_SZ:
		return (struct lanes){2 + sz, q};
	case LANES_SZ_LONG:
		return (struct lanes){2 + sz, true};
	case LANES_SZ_NARROW:
		return (struct lanes){1 + sz, q};
	case LANES_SZ_PAIR:
		return (struct lanes){2 + sz, sz};
	case LANES_IMMH:
		return (struct lanes){immh_size(word), q};
	case LANES_IMMH_LONG:
		return (struct lanes){immh_size(word) + 1, true};
	case LANES_IMM5:
		return (struct lanes){imm5_size(word), q};
	case LANES_VSIZE:
		return (struct lanes){lp_a64_bits(word, 10, 2), q};
	default:
		return fixed[kind];
	}
}

static bool wrong_lanes(struct lp_a64_scan *s)
{
	return lp_a64_scan_fail(s, LP_EPARSE, "no such lanes here");
}

static bool set_esize(struct lp_a64_scan *s, unsigned size)
{
	return size > 3 ? wrong_lanes(s) : lp_a64_scan_set_bits(s, 22, 2, size);
}

/* sz is the low bit of what esize is elsewhere. */
static bool set_sz(struct lp_a64_scan *s, unsigned sz)
{
	return sz > 1 ? wrong_lanes(s) : lp_a64_scan_set_bits(s, 22, 1, sz);
}

/* size - by, or more than any size */
static unsigned less(unsigned size, unsigned by)
{
	return size >= by ? size - by : 99;
}

static bool set_lane_size(struct lp_a64_scan *s, unsigned kind, unsigned size)
{
	switch (kind) {
	case LANES_SIZE:
		return set_esize(s, size);
	case LANES_LONG:
	case LANES_HALVES:
		return set_esize(s, less(size, 1));
	case LANES_SZ:
	case LANES_SZ_LONG:
	case LANES_SZ_PAIR:
		return set_sz(s, less(size, 2));
	case LANES_SZ_NARROW:
		return set_sz(s, less(size, 1));
	case LANES_IMMH:
		return set_immh_size(s, size);
	case LANES_IMMH_LONG:
		return set_immh_size(s, less(size, 1));
	case LANES_IMM5:
		return set_imm5_size(s, size);
	case LANES_VSIZE:
		return size > 3 ? wrong_lanes(s) : lp_a64_scan_set_bits(s, 10, 2, size);
	default: /* the row decides */
		return lanes_of(s->word, kind).size == size || wrong_lanes(s);
	}
}

/* Whether all of the register is used follows from Q, or from the kind. */
static bool set_full(struct lp_a64_scan *s, unsigned kind, bool full)
{
	switch (kind) {
	case LANES_SIZE:
	case LANES_HALVES:
	case LANES_BYTES:
	case LANES_HALFWORDS:
	case LANES_WORDS:
	case LANES_SZ:
	case LANES_SZ_NARROW:
	case LANES_IMMH:
	case LANES_IMM5:
	case LANES_VSIZE:
		return lp_a64_scan_set_bits(s, 30, 1, full);
	default:
		return lanes_of(s->word, kind).full == full || wrong_lanes(s);
	}
}

static unsigned lane_count(unsigned kind, struct lanes lanes)
{
	if (kind == LANES_2H || kind == LANES_SZ_PAIR) /* two of them, however many bits that is */
		return 2;
	return (lanes.full ? 16u : 8u) >> lanes.size;
}

static void put_vector(struct lp_a64_line *l, unsigned number, unsigned kind)
{
	struct lanes lanes = lanes_of(l->word, kind);

	lp_a64_put(l, "v%u.%u%c", number, lane_count(kind, lanes), letters[lanes.size]);
}

static bool scan_v(struct lp_a64_scan *s, unsigned *number)
{
	char letter;

	return lp_a64_scan_lettered(s, "v", 31, &letter, number) ||
	       lp_a64_scan_fail(s, LP_EPARSE, "a vector register is expected");
}

/* .b to .q behind the register's name */
static bool scan_lane_letter(struct lp_a64_scan *s, unsigned *size)
{
	const char *name;

	if (*s->p != '.')
		return lp_a64_scan_fail(s, LP_EPARSE, "'.' is expected");
	s->p++;
	for (*size = 0; *size < 5; (*size)++) {
		const char letter[2] = {letters[*size], '\0'};
		if (lp_a64_scan_name(s, letter))
			return true;
	}
	lp_a64_scan_identifier(s, &name);
	s->p = name;
	return wrong_lanes(s);
}

/* .16b to .1q, and 2h */
static bool scan_lanes(struct lp_a64_scan *s, unsigned *count, unsigned *size)
{
	*count = 0;
	if (*s->p != '.')
		return lp_a64_scan_fail(s, LP_EPARSE, "'.' is expected");
	for (s->p++; *s->p >= '0' && *s->p <= '9' && *count <= 16; s->p++)
		*count = *count * 10 + (unsigned)(*s->p - '0');
	for (*size = 0; *size < 5; (*size)++) {
		const char letter[2] = {letters[*size], '\0'};
		if (lp_a64_scan_name(s, letter))
			return true;
	}
	return wrong_lanes(s);
}

static bool scan_vector(struct lp_a64_scan *s, unsigned kind, unsigned *number)
{
	const char *lanes_at;
	unsigned count = 0, size = 0;

	if (!scan_v(s, number))
		return false;
	lanes_at = s->p;
	if (!scan_lanes(s, &count, &size))
		return false;
	const char *end = s->p;
	s->p = lanes_at;

	bool full = count << size == 16, is_pair = count == 2 && size == 1;
	if (kind == LANES_2H ? !is_pair : !full && count << size != 8)
		return wrong_lanes(s);
	if (kind != LANES_2H && (!set_lane_size(s, kind, size) || !set_full(s, kind, full)))
		return false;
	s->p = end;
	return true;
}

void lp_a64_print_vector(struct lp_a64_line *l, const uint8_t *arg)
{
	put_vector(l, lp_a64_bits(l->word, arg[0], 5), arg[1]);
}

bool lp_a64_scan_vector(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;

	return scan_vector(s, arg[1], &number) && lp_a64_scan_set_bits(s, arg[0], 5, number);
}

void lp_a64_print_vector_twice(struct lp_a64_line *l, const uint8_t *arg)
{
	put_vector(l, lp_a64_bits(l->word, 5, 5), LANES_BYTES);
}

bool lp_a64_scan_vector_twice(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;

	return scan_vector(s, LANES_BYTES, &number) && lp_a64_scan_set_bits(s, 5, 5, number) &&
	       lp_a64_scan_set_bits(s, 16, 5, number);
}

/* ---- one lane ---- */

static bool scan_lane_number(struct lp_a64_scan *s, int64_t max, int64_t *lane)
{
	if (!lp_a64_scan_char(s, '['))
		return lp_a64_scan_fail(s, LP_EPARSE, "'[' is expected");
	if (!lp_a64_scan_within(s, 0, max, lane))
		return false;
	return lp_a64_scan_char(s, ']') || lp_a64_scan_fail(s, LP_EPARSE, "']' is expected");
}

/* v3.s and, later, [1]. */
static bool scan_lane_of(struct lp_a64_scan *s, unsigned *number, unsigned *size)
{
	return scan_v(s, number) && scan_lane_letter(s, size);
}

void lp_a64_print_gpr5(struct lp_a64_line *l, const uint8_t *arg)
{
	char buf[8];

	lp_a64_put(l, "%s", lp_a64_register_name(buf, imm5_size(l->word) == 3, false, lp_a64_bits(l->word, arg[0], 5)));
}

bool lp_a64_scan_gpr5(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;
	bool is_64 = false;

	if (!lp_a64_scan_register(s, false, &is_64, &number))
		return false;
	if (is_64 != (imm5_size(s->word) == 3))
		return wrong_width(s);
	return lp_a64_scan_set_bits(s, arg[0], 5, number);
}

void lp_a64_print_elem5(struct lp_a64_line *l, const uint8_t *arg)
{
	unsigned size = imm5_size(l->word);

	lp_a64_put(l, "v%" PRIu32 ".%c[%" PRIu32 "]", lp_a64_bits(l->word, arg[0], 5), letters[size],
		   lp_a64_bits(l->word, 16, 5) >> (size + 1));
}

bool lp_a64_scan_elem5(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0, size = 0;
	int64_t lane;

	if (!scan_lane_of(s, &number, &size) || !set_imm5_size(s, size) ||
	    !scan_lane_number(s, (16 >> size) - 1, &lane))
		return false;
	return lp_a64_scan_set_bits(s, arg[0], 5, number) &&
	       lp_a64_scan_set_bits(s, 17 + size, 4 - size, (uint32_t)lane);
}

/* The source of `ins`: the size as imm5 has it, the lane in imm4. */
void lp_a64_print_elem4(struct lp_a64_line *l, const uint8_t *arg)
{
	unsigned size = imm5_size(l->word);

	lp_a64_put(l, "v%" PRIu32 ".%c[%" PRIu32 "]", lp_a64_bits(l->word, arg[0], 5), letters[size],
		   lp_a64_bits(l->word, 11, 4) >> size);
}

bool lp_a64_scan_elem4(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0, size = 0;
	int64_t lane;

	if (!scan_lane_of(s, &number, &size) || !set_imm5_size(s, size) ||
	    !scan_lane_number(s, (16 >> size) - 1, &lane))
		return false;
	return lp_a64_scan_set_bits(s, arg[0], 5, number) && lp_a64_scan_set_bits(s, 11, 4, (uint32_t)lane << size);
}

void lp_a64_print_scalar5(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "%c%" PRIu32, letters[imm5_size(l->word)], lp_a64_bits(l->word, arg[0], 5));
}

bool lp_a64_scan_scalar5(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;
	char letter;

	if (!lp_a64_scan_lettered(s, "bhsd", 31, &letter, &number))
		return lp_a64_scan_fail(s, LP_EPARSE, "a vector register is expected");
	return set_imm5_size(s, size_of_letter(letter)) && lp_a64_scan_set_bits(s, arg[0], 5, number);
}

/* The upper half */
void lp_a64_print_top(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "v%" PRIu32 ".d[1]", lp_a64_bits(l->word, arg[0], 5));
}

bool lp_a64_scan_top(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0, size = 0;
	int64_t lane;

	if (!scan_lane_of(s, &number, &size))
		return false;
	if (size != 3)
		return wrong_lanes(s);
	if (!scan_lane_number(s, 1, &lane))
		return false;
	return lane == 1 ? lp_a64_scan_set_bits(s, arg[0], 5, number)
			 : lp_a64_scan_fail(s, LP_ERANGE, "only lane 1 is possible here");
}

/*
 * The lane of a multiplication.  H:L:M number it and M:Rm4 the register; M
 * belongs to the register unless halfwords need it for the number.
 */
struct by_element {
	unsigned size;	    /* log2 of the lane's bytes */
	unsigned lane_bits; /* 3: H:L:M, 2: H:L, 1: H */
	bool long_register; /* M:Rm4 */
};

static struct by_element by_element(uint32_t word, unsigned kind)
{
	unsigned e = esize(word);

	switch (kind) {
	case ELEMENT_DOT:
		return (struct by_element){2, 2, true};
	case ELEMENT_COMPLEX:
		return (struct by_element){e, 3 - e, true};
	case ELEMENT_FP:
		e = e < 2 ? 1 : e;
		return (struct by_element){e, 4 - e, e != 1};
	default:
		return (struct by_element){e, 4 - e, e != 1};
	}
}

static uint32_t hlm(uint32_t word)
{
	return lp_a64_bits(word, 11, 1) << 2 | lp_a64_bits(word, 21, 1) << 1 | lp_a64_bits(word, 20, 1);
}

void lp_a64_print_by_element(struct lp_a64_line *l, const uint8_t *arg)
{
	struct by_element e = by_element(l->word, arg[0]);

	lp_a64_put(l, "v%" PRIu32 ".%s%c[%" PRIu32 "]", lp_a64_bits(l->word, 16, e.long_register ? 5 : 4),
		   arg[0] == ELEMENT_DOT ? "4" : "", arg[0] == ELEMENT_DOT ? 'b' : letters[e.size],
		   hlm(l->word) >> (3 - e.lane_bits));
}

static bool set_hlm(struct lp_a64_scan *s, const struct by_element *e, uint32_t lane)
{
	uint32_t bits = lane << (3 - e->lane_bits);

	return lp_a64_scan_set_bits(s, 11, 1, bits >> 2) &&
	       (e->lane_bits < 2 || lp_a64_scan_set_bits(s, 21, 1, bits >> 1)) &&
	       (e->lane_bits < 3 || lp_a64_scan_set_bits(s, 20, 1, bits));
}

/* The vectors before it have decided about the size. */
bool lp_a64_scan_by_element(struct lp_a64_scan *s, const uint8_t *arg)
{
	struct by_element e = by_element(s->word, arg[0]);
	unsigned number = 0, size = 0, count = 0;
	int64_t lane;

	if (!scan_v(s, &number))
		return false;
	const char *lanes_at = s->p;
	if (!scan_lanes(s, &count, &size))
		return false;
	bool is_lane = arg[0] == ELEMENT_DOT ? count == 4 && size == 0 : count == 0 && size == e.size;
	if (!is_lane || e.lane_bits < 1 || e.lane_bits > 3) {
		s->p = lanes_at;
		return wrong_lanes(s);
	}
	if (!e.long_register && number > 15)
		return lp_a64_scan_fail(s, LP_ERANGE, "only v0 to v15 are possible here");
	if (!scan_lane_number(s, (1 << e.lane_bits) - 1, &lane))
		return false;
	if (e.size == 3 && !lp_a64_scan_set_bits(s, 21, 1, 0))
		return false;
	if (arg[0] == ELEMENT_COMPLEX && e.size == 2 && !lp_a64_scan_set_bits(s, 21, 1, 0))
		return false;
	return lp_a64_scan_set_bits(s, 16, e.long_register ? 5 : 4, number) && set_hlm(s, &e, (uint32_t)lane);
}

/* ---- lists: {v0.4s, v1.4s}, {v0.4s-v3.4s}; register 0 follows 31 ---- */

static void put_list(struct lp_a64_line *l, unsigned first, unsigned count, const char *lanes)
{
	unsigned last = (first + count - 1) % 32;

	if (count > 2 && last > first) {
		lp_a64_put(l, "{v%u.%s-v%u.%s}", first, lanes, last, lanes);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		lp_a64_put(l, "%sv%u.%s", i ? ", " : "{", (first + i) % 32, lanes);
	lp_a64_put(l, "}");
}

struct list {
	unsigned first, count, lanes, size; /* lanes: 0 when only the size is given */
};

static bool scan_list_member(struct lp_a64_scan *s, struct list *list, unsigned *number)
{
	unsigned lanes = 0, size = 0;

	if (!scan_v(s, number) || !scan_lanes(s, &lanes, &size))
		return false;
	if (list->count && (lanes != list->lanes || size != list->size))
		return wrong_lanes(s);
	list->lanes = lanes;
	list->size = size;
	return true;
}

static bool scan_list(struct lp_a64_scan *s, struct list *list)
{
	unsigned number = 0;

	*list = (struct list){0};
	if (!lp_a64_scan_char(s, '{'))
		return lp_a64_scan_fail(s, LP_EPARSE, "'{' is expected");
	if (!scan_list_member(s, list, &list->first))
		return false;
	list->count = 1;
	if (lp_a64_scan_char(s, '-')) {
		if (!scan_list_member(s, list, &number))
			return false;
		list->count = (number - list->first) % 32 + 1;
	}
	while (lp_a64_scan_char(s, ',')) {
		if (!scan_list_member(s, list, &number))
			return false;
		if (number != (list->first + list->count) % 32)
			return lp_a64_scan_fail(s, LP_EPARSE, "the registers of a list follow each other");
		list->count++;
	}
	return lp_a64_scan_char(s, '}') || lp_a64_scan_fail(s, LP_EPARSE, "'}' is expected");
}

static bool wrong_count(struct lp_a64_scan *s)
{
	return lp_a64_scan_fail(s, LP_EPARSE, "the list has another length here");
}

void lp_a64_print_list(struct lp_a64_line *l, const uint8_t *arg)
{
	struct lanes lanes = lanes_of(l->word, arg[1]);
	char text[8], *p = text;

	if (lane_count(arg[1], lanes) >= 10)
		*p++ = '1';
	*p++ = (char)('0' + lane_count(arg[1], lanes) % 10);
	*p++ = letters[lanes.size];
	*p = '\0';
	put_list(l, lp_a64_bits(l->word, 0, 5), arg[0], text);
}

bool lp_a64_scan_list(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	struct list list;

	if (!scan_list(s, &list))
		return false;
	const char *end = s->p;
	s->p = start;
	if (list.count != arg[0])
		return wrong_count(s);
	if (list.lanes << list.size != 8 && list.lanes << list.size != 16)
		return wrong_lanes(s);
	if (!set_lane_size(s, arg[1], list.size) || !set_full(s, arg[1], list.lanes << list.size == 16))
		return false;
	s->p = end;
	return lp_a64_scan_set_bits(s, 0, 5, list.first);
}

/* The lane of a list is in Q:S:vsize, without the bits that say how large it is. */
void lp_a64_print_lane(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t lane = lp_a64_bits(l->word, 30, 1) << 3 | lp_a64_bits(l->word, 10, 3);
	const char text[2] = {letters[arg[1]], '\0'};

	put_list(l, lp_a64_bits(l->word, 0, 5), arg[0], text);
	lp_a64_put(l, "[%" PRIu32 "]", lane >> arg[1]);
}

bool lp_a64_scan_lane(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	struct list list;
	int64_t lane;

	if (!scan_list(s, &list))
		return false;
	if (list.count != arg[0] || list.lanes || list.size != arg[1]) {
		s->p = start;
		return list.count != arg[0] ? wrong_count(s) : wrong_lanes(s);
	}
	if (!scan_lane_number(s, (16 >> arg[1]) - 1, &lane))
		return false;

	uint32_t bits = (uint32_t)lane << arg[1], below = arg[1] == 3 ? 3 : (1u << arg[1]) - 1;
	return lp_a64_scan_set_bits(s, 0, 5, list.first) && lp_a64_scan_set_bits(s, 30, 1, bits >> 3) &&
	       lp_a64_scan_set(s, (7u & ~below) << 10, (bits & 7 & ~below) << 10);
}

void lp_a64_print_table(struct lp_a64_line *l, const uint8_t *arg)
{
	put_list(l, lp_a64_bits(l->word, 5, 5), lp_a64_bits(l->word, 13, 2) + 1, "16b");
}

bool lp_a64_scan_table(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	struct list list;

	if (!scan_list(s, &list))
		return false;
	if (list.lanes != 16 || list.size != 0 || list.count > 4) {
		s->p = start;
		return list.count > 4 ? wrong_count(s) : wrong_lanes(s);
	}
	return lp_a64_scan_set_bits(s, 5, 5, list.first) && lp_a64_scan_set_bits(s, 13, 2, list.count - 1);
}

/* ---- numbers that depend on the lanes ---- */

/* Two bits: 0, 90, 180, 270.  One bit: 90, 270. */
void lp_a64_print_rotation(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t rot = lp_a64_bits(l->word, arg[0], arg[1]);

	lp_a64_put(l, "#%" PRIu32, arg[1] == 2 ? rot * 90 : rot * 180 + 90);
}

bool lp_a64_scan_rotation(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t angle;

	if (!lp_a64_scan_within(s, 0, 270, &angle))
		return false;
	if (angle % 90 || (arg[1] == 1 && angle % 180 == 0))
		return lp_a64_scan_fail(s, LP_ERANGE, "no such rotation");
	return lp_a64_scan_set_bits(s, arg[0], arg[1], (uint32_t)(arg[1] == 2 ? angle / 90 : angle / 180));
}

/* shll: as far as a lane is wide */
void lp_a64_print_shll(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%d", 8 << esize(l->word));
}

bool lp_a64_scan_shll(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t amount, bits = INT64_C(8) << esize(s->word);

	return lp_a64_scan_within(s, bits, bits, &amount);
}

static uint32_t immh_immb(uint32_t word)
{
	return lp_a64_bits(word, 16, 7);
}

static uint32_t immh_bits(uint32_t word)
{
	return 8u << immh_size(word);
}

void lp_a64_print_shr(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, 2 * immh_bits(l->word) - immh_immb(l->word));
}

bool lp_a64_scan_shr(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t bits = immh_bits(s->word);
	int64_t amount = 0;

	return lp_a64_scan_within(s, 1, bits, &amount) && lp_a64_scan_set_bits(s, 16, 7, 2 * bits - (uint32_t)amount);
}

void lp_a64_print_shl(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, immh_immb(l->word) - immh_bits(l->word));
}

bool lp_a64_scan_shl(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t bits = immh_bits(s->word);
	int64_t amount = 0;

	return lp_a64_scan_within(s, 0, bits - 1, &amount) && lp_a64_scan_set_bits(s, 16, 7, bits + (uint32_t)amount);
}
