/* Advanced SIMD on integers: what saturates, and then sets FPSR.QC. */
#include "jit/emit_simd.h"

lp_emit_fn *const lp_emit_simd_saturate[A64_OP_COUNT] = {0};
