/* Floating point. What PTX calls approximate is computed to the last place of float, but for doubles, where the
 * hardware has 20 bits and the code that follows has to improve on them: there the low half is cut off. */
#include "ptx.h"
#include <fenv.h>
#include <math.h>
#include <string.h>

#define DEFINE(op, type, T, expression)                                           \
    static void op##_##type(Thread *t, const Insn *i) {                           \
        T a = READ(T, 1), b = READ(T, 2), c = READ(T, 3);                         \
        (void)a, (void)b, (void)c;                                                \
        WRITE(T, expression);                                                     \
    }
#define NAMED(op, type, T, expression) {#op "_" #type, op##_##type},

/* .ftz: subnormal operands and results count as zeros of their sign */
static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }
#define DEFINE_FLUSHED(op, type, T, expression)                                   \
    static void op##_ftz_##type(Thread *t, const Insn *i) {                       \
        T a = flushed(READ(T, 1)), b = flushed(READ(T, 2)), c = flushed(READ(T, 3)); \
        (void)a, (void)b, (void)c;                                                \
        WRITE(T, flushed(expression));                                            \
    }
#define NAMED_FLUSHED(op, type, T, expression) {#op "_ftz_" #type, op##_ftz_##type},

static double half(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = isfinite(x) ? bits & 0xffffffff00000000ull : bits;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Of two numbers the other one where one is NaN; -0 is less than 0. */
#define LESS(a, b, is_max) ((a) != (b) ? ((a) < (b)) != (is_max) : (signbit(a) != 0) != (is_max))
#define CHOSEN(a, b, is_max) (isnan(a) ? (b) : isnan(b) ? (a) : LESS(a, b, is_max) ? (a) : (b))
#define STRICT(a, b, is_max) (isnan(a) || isnan(b) ? NAN : LESS(a, b, is_max) ? (a) : (b))
#define SATURATED(x) ((x) > 0 ? (x) < 1 ? (x) : 1 : 0)

#define BOTH(X, N, T, s)                                                          \
    X(add, N, T, a + b)                                                           \
    X(sub, N, T, a - b)                                                           \
    X(mul, N, T, a * b)                                                           \
    X(fma, N, T, fma##s(a, b, c))                                                 \
    X(mad, N, T, fma##s(a, b, c))                                                 \
    X(div, N, T, a / b)                                                           \
    X(rcp, N, T, 1 / a)                                                           \
    X(sqrt, N, T, sqrt##s(a))                                                     \
    X(neg, N, T, -a)                                                              \
    X(abs, N, T, fabs##s(a))                                                      \
    X(min, N, T, CHOSEN(a, b, 0))                                                 \
    X(max, N, T, CHOSEN(a, b, 1))                                                 \
    X(copysign, N, T, copysign##s(b, a))
#define MOVES(X, N, T)                                                            \
    X(mov, N, T, a)                                                               \
    X(selp, N, T, READ(uint8_t, 3) ? a : b)                                       \
    X(slct_s32, N, T, READ(int32_t, 3) >= 0 ? a : b)                              \
    X(slct_f32, N, T, READ(float, 3) >= 0 ? a : b)
#define SINGLE(X)                                                                 \
    BOTH(X, f32, float, f)                                                        \
    X(min_NaN, f32, float, STRICT(a, b, 0))                                       \
    X(max_NaN, f32, float, STRICT(a, b, 1))                                       \
    X(add_sat, f32, float, SATURATED(a + b))                                      \
    X(sub_sat, f32, float, SATURATED(a - b))                                      \
    X(mul_sat, f32, float, SATURATED(a * b))                                      \
    X(fma_sat, f32, float, SATURATED(fmaf(a, b, c)))                              \
    X(div_approx, f32, float, a / b)                                              \
    X(div_full, f32, float, a / b)                                                \
    X(rcp_approx, f32, float, 1 / a)                                              \
    X(sqrt_approx, f32, float, sqrtf(a))                                          \
    X(rsqrt_approx, f32, float, (float)(1 / sqrt((double)a)))                     \
    X(sin_approx, f32, float, (float)sin((double)a))                              \
    X(cos_approx, f32, float, (float)cos((double)a))                              \
    X(tanh_approx, f32, float, (float)tanh((double)a))                            \
    X(lg2_approx, f32, float, (float)log2((double)a))                             \
    X(ex2_approx, f32, float, (float)exp2((double)a))
#define DOUBLE(X)                                                                 \
    BOTH(X, f64, double, )                                                        \
    MOVES(X, f64, double)                                                         \
    X(rcp_approx_ftz, f64, double, half(1 / a))                                   \
    X(rsqrt_approx, f64, double, half(1 / sqrt(a)))                               \
    X(rsqrt_approx_ftz, f64, double, half(1 / sqrt(a)))

SINGLE(DEFINE) SINGLE(DEFINE_FLUSHED) MOVES(DEFINE, f32, float) DOUBLE(DEFINE)

#define TESTS(X, N, T)                                                            \
    X(finite, N, T, isfinite(a))                                                  \
    X(infinite, N, T, isinf(a))                                                   \
    X(number, N, T, !isnan(a))                                                    \
    X(notanumber, N, T, isnan(a))                                                 \
    X(normal, N, T, isnormal(a))                                                  \
    X(subnormal, N, T, fpclassify(a) == FP_SUBNORMAL)
#define DEFINE_TEST(op, type, T, expression)                                      \
    static void testp_##op##_##type(Thread *t, const Insn *i) {                   \
        T a = READ(T, 1);                                                         \
        WRITE_INTEGER(uint8_t, (expression) != 0);                                \
    }
#define NAMED_TEST(op, type, T, expression) {"testp_" #op "_" #type, testp_##op##_##type},
TESTS(DEFINE_TEST, f32, float) TESTS(DEFINE_TEST, f64, double)

const Row float_rows[] = {
    SINGLE(NAMED) SINGLE(NAMED_FLUSHED) MOVES(NAMED, f32, float) DOUBLE(NAMED)
    TESTS(NAMED_TEST, f32, float) TESTS(NAMED_TEST, f64, double)
    {NULL, NULL}};
