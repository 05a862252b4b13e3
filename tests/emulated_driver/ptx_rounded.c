/* Arithmetic that rounds towards zero (.rz), down (.rm) or up (.rp), with the processor's own rounding. */
#include "ptx.h"
#include <fenv.h>
#include <math.h>

#define DEFINE_IN(op, round, mode, type, T, expression)                           \
    static void op##_##round##_##type(Thread *t, const Insn *i) {                 \
        volatile T a = READ(T, 1), b = READ(T, 2), c = READ(T, 3);                \
        (void)a, (void)b, (void)c;                                                \
        fesetround(mode);                                                         \
        volatile T result = expression;                                           \
        fesetround(FE_TONEAREST);                                                 \
        WRITE(T, result);                                                         \
    }
#define DEFINE(op, type, T, expression)                                           \
    DEFINE_IN(op, rz, FE_TOWARDZERO, type, T, expression)                         \
    DEFINE_IN(op, rm, FE_DOWNWARD, type, T, expression)                           \
    DEFINE_IN(op, rp, FE_UPWARD, type, T, expression)
#define NAMED(op, type, T, expression)                                            \
    {#op "_rz_" #type, op##_rz_##type},                                           \
    {#op "_rm_" #type, op##_rm_##type},                                           \
    {#op "_rp_" #type, op##_rp_##type},

#define BOTH(X, N, T, s)                                                          \
    X(add, N, T, a + b)                                                           \
    X(sub, N, T, a - b)                                                           \
    X(mul, N, T, a * b)                                                           \
    X(fma, N, T, fma##s(a, b, c))                                                 \
    X(div, N, T, a / b)                                                           \
    X(rcp, N, T, 1 / a)                                                           \
    X(sqrt, N, T, sqrt##s(a))

BOTH(DEFINE, f32, float, f)
BOTH(DEFINE, f64, double, )

const Row rounded_rows[] = {BOTH(NAMED, f32, float, f) BOTH(NAMED, f64, double, ) {NULL, NULL}};
