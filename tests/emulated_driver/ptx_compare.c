/* Comparisons: setp.<comparison>.<type>; those that end in u hold for NaN, too. */
#include "ptx.h"
#include <math.h>

#define DEFINE(op, type, T, expression)                                           \
    static void setp_##op##_##type(Thread *t, const Insn *i) {                    \
        T a = READ(T, 1), b = READ(T, 2);                                         \
        WRITE_INTEGER(uint8_t, expression);                                       \
    }
#define NAMED(op, type, T, expression) {"setp_" #op "_" #type, setp_##op##_##type},

#define EQUALITY(X, N, T)                                                         \
    X(eq, N, T, a == b)                                                           \
    X(ne, N, T, a != b)
#define ORDER(X, N, T)                                                            \
    EQUALITY(X, N, T)                                                             \
    X(lt, N, T, a < b)                                                            \
    X(le, N, T, a <= b)                                                           \
    X(gt, N, T, a > b)                                                            \
    X(ge, N, T, a >= b)
#define UNSIGNED(X, N, T)                                                         \
    ORDER(X, N, T)                                                                \
    X(lo, N, T, a < b)                                                            \
    X(ls, N, T, a <= b)                                                           \
    X(hi, N, T, a > b)                                                            \
    X(hs, N, T, a >= b)
#define FLOATS(X, N, T)                                                           \
    X(eq, N, T, a == b)                                                           \
    X(ne, N, T, a < b || a > b)                                                   \
    X(lt, N, T, a < b)                                                            \
    X(le, N, T, a <= b)                                                           \
    X(gt, N, T, a > b)                                                            \
    X(ge, N, T, a >= b)                                                           \
    X(equ, N, T, !(a < b || a > b))                                               \
    X(neu, N, T, !(a == b))                                                       \
    X(ltu, N, T, !(a >= b))                                                       \
    X(leu, N, T, !(a > b))                                                        \
    X(gtu, N, T, !(a <= b))                                                       \
    X(geu, N, T, !(a < b))                                                        \
    X(num, N, T, !isnan(a) && !isnan(b))                                          \
    X(nan, N, T, isnan(a) || isnan(b))
#define FLUSHED(X)                                                                \
    X(eq) X(ne) X(lt) X(le) X(gt) X(ge) X(equ) X(neu) X(ltu) X(leu) X(gtu) X(geu) X(num) X(nan)

#define ALL(X)                                                                    \
    ORDER(X, s16, int16_t) ORDER(X, s32, int32_t) ORDER(X, s64, int64_t)          \
    UNSIGNED(X, u16, uint16_t) UNSIGNED(X, u32, uint32_t) UNSIGNED(X, u64, uint64_t) \
    EQUALITY(X, b16, uint16_t) EQUALITY(X, b32, uint32_t) EQUALITY(X, b64, uint64_t) \
    FLOATS(X, f32, float) FLOATS(X, f64, double)

ALL(DEFINE)

/* .ftz: subnormal operands count as zeros */
static uint64_t flushed(uint64_t bits) {
    float x = *(float *)&bits;
    if (fpclassify(x) == FP_SUBNORMAL) *(float *)&bits = copysignf(0, x);
    return bits;
}
#define DEFINE_FLUSHED(op)                                                        \
    static void setp_##op##_ftz_f32(Thread *t, const Insn *i) {                   \
        uint64_t a = t->r[i->x[1]], b = t->r[i->x[2]];                            \
        t->r[i->x[1]] = flushed(a), t->r[i->x[2]] = flushed(b);                   \
        setp_##op##_f32(t, i);                                                    \
        if (i->x[0] != i->x[1]) t->r[i->x[1]] = a;                                \
        if (i->x[0] != i->x[2]) t->r[i->x[2]] = b;                                \
    }
#define NAMED_FLUSHED(op) {"setp_" #op "_ftz_f32", setp_##op##_ftz_f32},
FLUSHED(DEFINE_FLUSHED)

const Row compare_rows[] = {ALL(NAMED) FLUSHED(NAMED_FLUSHED) {NULL, NULL}};
