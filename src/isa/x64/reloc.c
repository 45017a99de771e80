#include "isa/x64/x64.h"

#include "base/bits.h"

/* A value is stored when one of its allowed readings survives the cut. */
#define FIELDS(F)                     \
	/* width, signed, unsigned */ \
	F(NOTHING, 0, true, true)     \
	F(ANY64, 8, true, true)       \
	F(U32, 4, false, true)        \
	F(S32, 4, true, false)        \
	F(B16, 2, true, true)         \
	F(S16, 2, true, false)        \
	F(B8, 1, true, true)          \
	F(S8, 1, true, false)

enum field {
#define F(name, width, is_signed, is_unsigned) name,
	FIELDS(F)
#undef F
};

enum {
#define F(name, width, is_signed, is_unsigned) WIDTH_OF_##name = (width),
	FIELDS(F)
#undef F
};

static const struct {
	bool takes_signed, takes_unsigned;
} fields[] = {
#define F(name, width, is_signed, is_unsigned) [name] = {is_signed, is_unsigned},
	FIELDS(F)
#undef F
};

/* Indexed by type: the numbers are dense. */
static const struct lp_reloc_howto howtos[] = {
#define RELOC(name, number, formula, field) [number] = {number, #name, LP_RELOC_##formula, WIDTH_OF_##field, field},
#include "isa/x64/reloc.def"
#undef RELOC
};

const struct lp_reloc_howto *lp_x64_howto(uint32_t type)
{
	return type < sizeof howtos / sizeof howtos[0] && howtos[type].name ? &howtos[type] : NULL;
}

static bool fits(const struct lp_reloc_howto *h, uint64_t value)
{
	unsigned bits = 8u * h->width;

	return !bits || (fields[h->field].takes_signed && lp_fits_signed((int64_t)value, bits)) ||
	       (fields[h->field].takes_unsigned && lp_fits_unsigned(value, bits));
}

int lp_x64_reloc_store(const struct lp_reloc_howto *h, uint8_t *place, uint64_t value, struct lp_err *err)
{
	if (!fits(h, value))
		return lp_fail(err, LP_ERANGE, "%s: the value 0x%" PRIx64 " does not fit in %u bytes", h->name, value,
			       h->width);
	memcpy(place, &value, h->width);
	return 0;
}
