/* Conversions: cvt.<rounding>.<to>.<from>. Floats become integers at the ends of the range where they are beyond it. */
#include "ptx.h"
#include <fenv.h>
#include <math.h>

/* -- integers ---------------------------------------------------------------------------------------------------- */

#define DEFINE_INTEGER(D, DT, S, ST)                                              \
    static void cvt_##D##_##S(Thread *t, const Insn *i) { WRITE_INTEGER(DT, READ(ST, 1)); }
#define NAMED_INTEGER(D, DT, S, ST) {"cvt_" #D "_" #S, cvt_##D##_##S},

/* X(..., type, C type) for every integer type */
#define INTO_INTEGERS(X, S, ST)                                                   \
    X(u8, uint8_t, S, ST) X(s8, int8_t, S, ST) X(u16, uint16_t, S, ST) X(s16, int16_t, S, ST) \
    X(u32, uint32_t, S, ST) X(s32, int32_t, S, ST) X(u64, uint64_t, S, ST) X(s64, int64_t, S, ST)
#define INTEGERS(X)                                                               \
    INTO_INTEGERS(X, u8, uint8_t) INTO_INTEGERS(X, s8, int8_t)                    \
    INTO_INTEGERS(X, u16, uint16_t) INTO_INTEGERS(X, s16, int16_t)                \
    INTO_INTEGERS(X, u32, uint32_t) INTO_INTEGERS(X, s32, int32_t)                \
    INTO_INTEGERS(X, u64, uint64_t) INTO_INTEGERS(X, s64, int64_t)

INTEGERS(DEFINE_INTEGER)

/* -- integers to floats ------------------------------------------------------------------------------------------ */

#define DEFINE_FLOAT_IN(round, mode, F, FT, S, ST)                                \
    static void cvt_##round##_##F##_##S(Thread *t, const Insn *i) {               \
        volatile ST a = READ(ST, 1);                                              \
        fesetround(mode);                                                         \
        volatile FT result = (FT)a;                                               \
        fesetround(FE_TONEAREST);                                                 \
        WRITE(FT, result);                                                        \
    }
#define DEFINE_NEAREST(F, FT, S, ST)                                              \
    static void cvt_rn_##F##_##S(Thread *t, const Insn *i) { WRITE(FT, READ(ST, 1)); }
#define DEFINE_FLOAT(F, FT, S, ST)                                                \
    DEFINE_NEAREST(F, FT, S, ST)                                                  \
    DEFINE_FLOAT_IN(rz, FE_TOWARDZERO, F, FT, S, ST)                              \
    DEFINE_FLOAT_IN(rm, FE_DOWNWARD, F, FT, S, ST)                                \
    DEFINE_FLOAT_IN(rp, FE_UPWARD, F, FT, S, ST)
#define NAMED_FLOAT(F, FT, S, ST)                                                 \
    {"cvt_rn_" #F "_" #S, cvt_rn_##F##_##S}, {"cvt_rz_" #F "_" #S, cvt_rz_##F##_##S}, \
    {"cvt_rm_" #F "_" #S, cvt_rm_##F##_##S}, {"cvt_rp_" #F "_" #S, cvt_rp_##F##_##S},

#define FROM_INTEGERS(X, F, FT)                                                   \
    X(F, FT, u8, uint8_t) X(F, FT, s8, int8_t) X(F, FT, u16, uint16_t) X(F, FT, s16, int16_t) \
    X(F, FT, u32, uint32_t) X(F, FT, s32, int32_t) X(F, FT, u64, uint64_t) X(F, FT, s64, int64_t)

FROM_INTEGERS(DEFINE_FLOAT, f32, float)
FROM_INTEGERS(DEFINE_FLOAT, f64, double)

/* -- floats to integers ------------------------------------------------------------------------------------------ */

/* 2^bits is exact, and so is every float that is an integer below it. */
static uint64_t within(double x, double low, double above, uint64_t least, uint64_t most) {
    if (isnan(x)) return 0;
    if (x < low) return least;
    return x >= above ? most : x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x;
}
#define LIMITS_u8 0, 0x1p8, 0, UINT8_MAX
#define LIMITS_s8 -0x1p7, 0x1p7, (uint64_t)INT8_MIN, INT8_MAX
#define LIMITS_u16 0, 0x1p16, 0, UINT16_MAX
#define LIMITS_s16 -0x1p15, 0x1p15, (uint64_t)INT16_MIN, INT16_MAX
#define LIMITS_u32 0, 0x1p32, 0, UINT32_MAX
#define LIMITS_s32 -0x1p31, 0x1p31, (uint64_t)INT32_MIN, INT32_MAX
#define LIMITS_u64 0, 0x1p64, 0, UINT64_MAX
#define LIMITS_s64 -0x1p63, 0x1p63, (uint64_t)INT64_MIN, INT64_MAX

#define DEFINE_ROUNDED(round, rounded, D, DT, S, ST)                              \
    static void cvt_##round##_##D##_##S(Thread *t, const Insn *i) {               \
        double a = rounded((double)READ(ST, 1));                                  \
        WRITE_INTEGER(DT, within(a, LIMITS_##D));                                 \
    }
#define DEFINE_INTO(D, DT, S, ST)                                                 \
    DEFINE_ROUNDED(rni, rint, D, DT, S, ST) DEFINE_ROUNDED(rzi, trunc, D, DT, S, ST) \
    DEFINE_ROUNDED(rmi, floor, D, DT, S, ST) DEFINE_ROUNDED(rpi, ceil, D, DT, S, ST)
#define NAMED_INTO(D, DT, S, ST)                                                  \
    {"cvt_rni_" #D "_" #S, cvt_rni_##D##_##S}, {"cvt_rzi_" #D "_" #S, cvt_rzi_##D##_##S}, \
    {"cvt_rmi_" #D "_" #S, cvt_rmi_##D##_##S}, {"cvt_rpi_" #D "_" #S, cvt_rpi_##D##_##S}, \
    {"cvt_rni_ftz_" #D "_" #S, cvt_rni_##D##_##S}, {"cvt_rzi_ftz_" #D "_" #S, cvt_rzi_##D##_##S}, \
    {"cvt_rmi_ftz_" #D "_" #S, cvt_rmi_##D##_##S}, {"cvt_rpi_ftz_" #D "_" #S, cvt_rpi_##D##_##S},

INTO_INTEGERS(DEFINE_INTO, f32, float)
INTO_INTEGERS(DEFINE_INTO, f64, double)

/* -- floats to floats -------------------------------------------------------------------------------------------- */

#define DEFINE_SAME(name, T, expression)                                          \
    static void name(Thread *t, const Insn *i) {                                  \
        T a = READ(T, 1);                                                         \
        WRITE(T, expression);                                                     \
    }
#define SAME(X, F, T, s)                                                          \
    X(cvt_##F##_##F, T, a)                                                        \
    X(cvt_rni_##F##_##F, T, rint##s(a))                                           \
    X(cvt_rzi_##F##_##F, T, trunc##s(a))                                          \
    X(cvt_rmi_##F##_##F, T, floor##s(a))                                          \
    X(cvt_rpi_##F##_##F, T, ceil##s(a))                                           \
    X(cvt_sat_##F##_##F, T, a > 0 ? a < 1 ? a : 1 : 0)
#define FLUSHED(X)                                                                \
    X(cvt_ftz_f32_f32, float, flushed(a))                                         \
    X(cvt_rni_ftz_f32_f32, float, rintf(flushed(a)))                              \
    X(cvt_rzi_ftz_f32_f32, float, truncf(flushed(a)))                             \
    X(cvt_rmi_ftz_f32_f32, float, floorf(flushed(a)))                             \
    X(cvt_rpi_ftz_f32_f32, float, ceilf(flushed(a)))                              \
    X(cvt_sat_ftz_f32_f32, float, a > 0 ? a < 1 ? flushed(a) : 1 : 0)
#define NAMED_SAME(name, T, expression) {#name, name},

static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }
SAME(DEFINE_SAME, f32, float, f)
SAME(DEFINE_SAME, f64, double, )
FLUSHED(DEFINE_SAME)

DEFINE_FLOAT(f32, float, f64, double)
static void cvt_f64_f32(Thread *t, const Insn *i) { WRITE(double, READ(float, 1)); }
static void cvt_ftz_f64_f32(Thread *t, const Insn *i) { WRITE(double, flushed(READ(float, 1))); }
static void cvt_rn_ftz_f32_f64(Thread *t, const Insn *i) { WRITE(float, flushed((float)READ(double, 1))); }

const Row convert_rows[] = {
    INTEGERS(NAMED_INTEGER)
    FROM_INTEGERS(NAMED_FLOAT, f32, float) FROM_INTEGERS(NAMED_FLOAT, f64, double)
    INTO_INTEGERS(NAMED_INTO, f32, float) INTO_INTEGERS(NAMED_INTO, f64, double)
    SAME(NAMED_SAME, f32, float, f) SAME(NAMED_SAME, f64, double, ) FLUSHED(NAMED_SAME)
    NAMED_FLOAT(f32, float, f64, double)
    {"cvt_f64_f32", cvt_f64_f32}, {"cvt_ftz_f64_f32", cvt_ftz_f64_f32}, {"cvt_rn_ftz_f32_f64", cvt_rn_ftz_f32_f64},
    {NULL, NULL}};
