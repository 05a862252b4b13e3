/* Integers and bits: what each opcode computes of its operands a, b, c. */
#include "ptx.h"

/* X(opcode, type in the opcode, C type read, C type written, expression) */
#define DEFINE(op, type, T, D, expression)                                        \
    static void op##_##type(Thread *t, const Insn *i) {                           \
        T a = READ(T, 1), b = READ(T, 2), c = READ(T, 3);                         \
        (void)a, (void)b, (void)c;                                                \
        WRITE_INTEGER(D, expression);                                             \
    }
#define NAMED(op, type, T, D, expression) {#op "_" #type, op##_##type},

typedef __int128 s128;
typedef unsigned __int128 u128;
typedef uint8_t pred;

/* N: the type, T: as C has it, U: without sign, W: of twice the width, w: bits */
#define SIGNED_OR_NOT(X, N, T, U, W, w)                                           \
    X(add, N, T, T, (U)a + (U)b)                                                  \
    X(sub, N, T, T, (U)a - (U)b)                                                  \
    X(mul_lo, N, T, T, (U)((uint64_t)a * (uint64_t)b))                            \
    X(mad_lo, N, T, T, (U)((uint64_t)a * (uint64_t)b + (uint64_t)c))              \
    X(mul_hi, N, T, T, (T)((W)a * (W)b >> w))                                     \
    X(mad_hi, N, T, T, (U)(T)((W)a * (W)b >> w) + (U)c)                           \
    X(div, N, T, T, b ? divided_##N(a, b) : (T)-1)                                \
    X(rem, N, T, T, b ? remainder_##N(a, b) : a)                                  \
    X(min, N, T, T, a < b ? a : b)                                                \
    X(max, N, T, T, a > b ? a : b)                                                \
    X(sad, N, T, T, (U)c + (a < b ? (U)b - (U)a : (U)a - (U)b))                   \
    X(shr, N, T, T, shifted_##N(a, READ(uint32_t, 2)))                            \
    X(selp, N, T, T, READ(uint8_t, 3) ? a : b)                                    \
    X(slct_s32, N, T, T, READ(int32_t, 3) >= 0 ? a : b)                           \
    X(mov, N, T, T, a)
#define SIGNED(X, N, T, U)                                                        \
    X(neg, N, T, T, 0 - (U)a)                                                     \
    X(abs, N, T, T, a < 0 ? 0 - (U)a : (U)a)
#define WIDE(X, N, T, W)                                                          \
    X(mul_wide, N, T, W, (W)a * (W)b)
#define BITS(X, N, U, w)                                                          \
    X(and, N, U, U, a & b)                                                        \
    X(or, N, U, U, a | b)                                                         \
    X(xor, N, U, U, a ^ b)                                                        \
    X(not, N, U, U, ~a)                                                           \
    X(cnot, N, U, U, !a)                                                          \
    X(shl, N, U, U, READ(uint32_t, 2) < w ? (uint64_t)a << READ(uint32_t, 2) : 0) \
    X(shr, N, U, U, READ(uint32_t, 2) < w ? a >> READ(uint32_t, 2) : 0)           \
    X(selp, N, U, U, READ(uint8_t, 3) ? a : b)                                    \
    X(slct_s32, N, U, U, READ(int32_t, 3) >= 0 ? a : b)                           \
    X(mov, N, U, U, a)

#define HELPERS(N, T, U, w)                                                                        \
    static T divided_##N(T a, T b) { return (T)-1 < 0 && b == (T)-1 ? (T)(0 - (U)a) : (T)(a / b); } \
    static T remainder_##N(T a, T b) { return (T)-1 < 0 && b == (T)-1 ? 0 : (T)(a % b); }           \
    static T shifted_##N(T a, uint32_t by) { return by < w ? a >> by : (T)(a < 0 ? -1 : 0); }
HELPERS(s16, int16_t, uint16_t, 16)
HELPERS(u16, uint16_t, uint16_t, 16)
HELPERS(s32, int32_t, uint32_t, 32)
HELPERS(u32, uint32_t, uint32_t, 32)
HELPERS(s64, int64_t, uint64_t, 64)
HELPERS(u64, uint64_t, uint64_t, 64)

/* Bits of fields and words. Positions and lengths are the low bytes of their operands. */
static uint64_t low_bits(uint32_t n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

static uint64_t extracted(uint64_t a, uint32_t start, uint32_t length, uint32_t width, bool is_signed) {
    start &= 255, length &= 255;
    if (!length) return 0;
    uint32_t last = start + length - 1 < width - 1 ? start + length - 1 : width - 1;
    bool negative = is_signed && (a >> last & 1);
    uint64_t field = start >= width ? 0 : a >> start & low_bits(last - start + 1);
    return start >= width ? (negative ? ~0ull : 0) : negative ? field | ~low_bits(last - start + 1) : field;
}

static uint64_t inserted(uint64_t a, uint64_t b, uint32_t start, uint32_t length, uint32_t width) {
    start &= 255, length &= 255;
    if (start >= width || !length) return b;
    uint64_t mask = low_bits(length) << start;
    return (b & ~mask) | (a << start & mask);
}

static uint64_t reversed(uint64_t a, int width) {
    uint64_t r = 0;
    for (int k = 0; k < width; k++) r |= (a >> k & 1) << (width - 1 - k);
    return r;
}

static uint32_t permuted(uint64_t bytes, uint32_t selection) {
    uint32_t r = 0;
    for (int k = 0; k < 4; k++) {
        uint32_t s = selection >> 4 * k & 15, byte = (uint32_t)(bytes >> 8 * (s & 7)) & 255;
        r |= (s & 8 ? (byte & 128 ? 255u : 0) : byte) << 8 * k;
    }
    return r;
}

static uint32_t looked_up(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
    uint32_t r = 0;
    for (int k = 0; k < 8; k++)
        if (table >> k & 1) r |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
    return r;
}

static uint32_t top_bit(uint64_t a) { return a ? 63 - (uint32_t)__builtin_clzll(a) : 0xffffffffu; }
static uint32_t above(uint32_t n) { return n > 32 ? 32 : n; }
#define FUNNEL ((uint64_t)b << 32 | a)
#define FUNNEL_BY(n) ((n) & 31)

#define FIELDS(X, w, U)                                                                             \
    X(popc, b##w, U, uint32_t, __builtin_popcountll(a))                                             \
    X(clz, b##w, U, uint32_t, a ? __builtin_clzll(a) - (64 - w) : w)                                \
    X(brev, b##w, U, U, reversed(a, w))                                                             \
    X(bfe, u##w, U, U, extracted(a, READ(uint32_t, 2), READ(uint32_t, 3), w, false))                \
    X(bfe, s##w, U, U, extracted(a, READ(uint32_t, 2), READ(uint32_t, 3), w, true))                 \
    X(bfi, b##w, U, U, inserted(a, b, READ(uint32_t, 3), READ(uint32_t, 4), w))                     \
    X(bfind, u##w, U, uint32_t, top_bit(a))                                                         \
    X(bfind, s##w, U, uint32_t, top_bit(a >> (w - 1) ? (U)~a : a))                                  \
    X(bfind_shiftamt, u##w, U, uint32_t, a ? w - 1 - top_bit(a) : 0xffffffffu)
#define WORDS(X)                                                                                    \
    X(prmt, b32, uint32_t, uint32_t, permuted(FUNNEL, c))                                           \
    X(lop3, b32, uint32_t, uint32_t, looked_up(a, b, c, READ(uint32_t, 4)))                         \
    X(shf_l_wrap, b32, uint32_t, uint32_t, FUNNEL << FUNNEL_BY(c) >> 32)                            \
    X(shf_r_wrap, b32, uint32_t, uint32_t, FUNNEL >> FUNNEL_BY(c))                                  \
    X(shf_l_clamp, b32, uint32_t, uint32_t, above(c) == 32 ? a : FUNNEL << above(c) >> 32)          \
    X(shf_r_clamp, b32, uint32_t, uint32_t, FUNNEL >> above(c))
#define PREDICATES(X)                                                                               \
    X(and, pred, pred, pred, a & b)                                                                 \
    X(or, pred, pred, pred, a | b)                                                                  \
    X(xor, pred, pred, pred, a ^ b)                                                                 \
    X(not, pred, pred, pred, !a)                                                                    \
    X(mov, pred, pred, pred, a)

/* Products of the bytes of b with the halves or bytes of a, added to c. */
#define PART(word, k, T) ((int64_t)(T)((word) >> 8 * sizeof(T) * (k)))
#define HALVES(A, B, k) (PART(a, 0, A) * PART(b, k, B) + PART(a, 1, A) * PART(b, (k) + 1, B) + c)
#define BYTES(A, B) (PART(a, 0, A) * PART(b, 0, B) + PART(a, 1, A) * PART(b, 1, B) +             \
                     PART(a, 2, A) * PART(b, 2, B) + PART(a, 3, A) * PART(b, 3, B) + c)
#define DOTS(X, A, a8, a16, B, b8)                                                                  \
    X(dp2a_lo_##A, B, uint32_t, uint32_t, HALVES(a16, b8, 0))                                       \
    X(dp2a_hi_##A, B, uint32_t, uint32_t, HALVES(a16, b8, 2))                                       \
    X(dp4a_##A, B, uint32_t, uint32_t, BYTES(a8, b8))
#define ALL_DOTS(X)                                                                                 \
    DOTS(X, u32, uint8_t, uint16_t, u32, uint8_t) DOTS(X, u32, uint8_t, uint16_t, s32, int8_t)      \
    DOTS(X, s32, int8_t, int16_t, u32, uint8_t) DOTS(X, s32, int8_t, int16_t, s32, int8_t)
#define LOW24(x, T) ((T)((uint32_t)(x) << 8) >> 8)
#define SHORT_PRODUCTS(X, N, T, W)                                                                  \
    X(mul24_lo, N, T, T, (W)LOW24(a, T) * LOW24(b, T))                                              \
    X(mad24_lo, N, T, T, (W)LOW24(a, T) * LOW24(b, T) + c)

/* Sums with a carry: what is borrowed counts as carried, too. */
static uint64_t summed(Thread *t, u128 sum, int width, bool keeps) {
    if (keeps) t->carry = (uint32_t)(sum >> width) & 1;
    return (uint64_t)sum;
}
#define CARRIES(X, N, U, w)                                                                         \
    X(add_cc, N, U, U, summed(t, (u128)a + b, w, true))                                             \
    X(addc, N, U, U, summed(t, (u128)a + b + t->carry, w, false))                                   \
    X(addc_cc, N, U, U, summed(t, (u128)a + b + t->carry, w, true))                                 \
    X(sub_cc, N, U, U, summed(t, (u128)a - b, w, true))                                             \
    X(subc, N, U, U, summed(t, (u128)a - b - t->carry, w, false))                                   \
    X(subc_cc, N, U, U, summed(t, (u128)a - b - t->carry, w, true))
#define PRODUCT_CARRIES(X, N, U, w)                                                                 \
    X(mad_lo_cc, N, U, U, summed(t, (u128)(U)((u128)a * b) + c, w, true))                           \
    X(madc_lo, N, U, U, summed(t, (u128)(U)((u128)a * b) + c + t->carry, w, false))                 \
    X(madc_lo_cc, N, U, U, summed(t, (u128)(U)((u128)a * b) + c + t->carry, w, true))               \
    X(mad_hi_cc, N, U, U, summed(t, (u128)(U)((u128)a * b >> w) + c, w, true))                      \
    X(madc_hi, N, U, U, summed(t, (u128)(U)((u128)a * b >> w) + c + t->carry, w, false))            \
    X(madc_hi_cc, N, U, U, summed(t, (u128)(U)((u128)a * b >> w) + c + t->carry, w, true))

#define ALL(X)                                                                                      \
    SIGNED_OR_NOT(X, s16, int16_t, uint16_t, int32_t, 16)                                           \
    SIGNED_OR_NOT(X, u16, uint16_t, uint16_t, uint32_t, 16)                                         \
    SIGNED_OR_NOT(X, s32, int32_t, uint32_t, int64_t, 32)                                           \
    SIGNED_OR_NOT(X, u32, uint32_t, uint32_t, uint64_t, 32)                                         \
    SIGNED_OR_NOT(X, s64, int64_t, uint64_t, s128, 64)                                              \
    SIGNED_OR_NOT(X, u64, uint64_t, uint64_t, u128, 64)                                             \
    SIGNED(X, s16, int16_t, uint16_t) SIGNED(X, s32, int32_t, uint32_t) SIGNED(X, s64, int64_t, uint64_t) \
    WIDE(X, s16, int16_t, int32_t) WIDE(X, u16, uint16_t, uint32_t)                                 \
    WIDE(X, s32, int32_t, int64_t) WIDE(X, u32, uint32_t, uint64_t)                                 \
    BITS(X, b16, uint16_t, 16) BITS(X, b32, uint32_t, 32) BITS(X, b64, uint64_t, 64)                \
    ALL_DOTS(X) SHORT_PRODUCTS(X, s32, int32_t, int64_t) SHORT_PRODUCTS(X, u32, uint32_t, uint64_t)  \
    FIELDS(X, 32, uint32_t) FIELDS(X, 64, uint64_t) WORDS(X) PREDICATES(X)                          \
    CARRIES(X, u32, uint32_t, 32) CARRIES(X, s32, uint32_t, 32)                                     \
    CARRIES(X, u64, uint64_t, 64) CARRIES(X, s64, uint64_t, 64)                                     \
    PRODUCT_CARRIES(X, u32, uint32_t, 32) PRODUCT_CARRIES(X, s32, uint32_t, 32)                     \
    PRODUCT_CARRIES(X, u64, uint64_t, 64)

ALL(DEFINE)

/* A sum of products is as wide as what it is added to. */
#define MAD_WIDE(N, T, W)                                                                           \
    static void mad_wide_##N(Thread *t, const Insn *i) {                                            \
        WRITE_INTEGER(W, (W)READ(T, 1) * (W)READ(T, 2) + READ(W, 3));                               \
    }
MAD_WIDE(s16, int16_t, int32_t)
MAD_WIDE(u16, uint16_t, uint32_t)
MAD_WIDE(s32, int32_t, int64_t)
MAD_WIDE(u32, uint32_t, uint64_t)

/* Words put together of parts, and taken apart; the whole is x[4]. */
#define PACKING(name, T, n, bits)                                                                   \
    static void pack_##name(Thread *t, const Insn *i) {                                             \
        uint64_t whole = 0;                                                                         \
        for (int k = 0; k < n; k++) whole |= (uint64_t)*(T *)&t->r[i->x[k]] << k * bits;            \
        t->r[i->x[4]] = whole;                                                                      \
    }                                                                                               \
    static void unpack_##name(Thread *t, const Insn *i) {                                           \
        uint64_t whole = t->r[i->x[4]];                                                             \
        for (int k = 0; k < n; k++) t->r[i->x[k]] = (T)(whole >> k * bits);                         \
    }
PACKING(b64_2, uint32_t, 2, 32)
PACKING(b64_4, uint16_t, 4, 16)
PACKING(b32_2, uint16_t, 2, 16)
PACKING(b32_4, uint8_t, 4, 8)
PACKING(b16_2, uint8_t, 2, 8)

const Row integer_rows[] = {
    ALL(NAMED)
    {"mad_wide_s16", mad_wide_s16}, {"mad_wide_u16", mad_wide_u16}, {"mad_wide_s32", mad_wide_s32},
    {"mad_wide_u32", mad_wide_u32},
    {"pack_b64_2", pack_b64_2}, {"pack_b64_4", pack_b64_4}, {"pack_b32_2", pack_b32_2}, {"pack_b32_4", pack_b32_4},
    {"pack_b16_2", pack_b16_2},
    {"unpack_b64_2", unpack_b64_2}, {"unpack_b64_4", unpack_b64_4}, {"unpack_b32_2", unpack_b32_2},
    {"unpack_b32_4", unpack_b32_4}, {"unpack_b16_2", unpack_b16_2},
    {NULL, NULL}};
