/* Loads, stores and atomic operations. What is counted from a frame or from the parameters needs no check. */
#include "memory.h"
#include <string.h>

static uint64_t address_of(const Thread *t, const Insn *i) { return t->r[i->x[4]] + (uint64_t)i->value; }

/* The first element of what an instruction touches; vectors are aligned as a whole. */
static uint8_t *touched(Thread *t, const Insn *i, unsigned size, Access access) {
    uint64_t address = address_of(t, i);
    if (address % (size * i->count)) {
        thread_fail(t, i, "the address %#lx is no multiple of %u", (unsigned long)address, size * i->count);
        return NULL;
    }
    return memory_touch(t, i, address, size * i->count, access);
}

#define LOAD(N, T)                                                                \
    static void load_##N(Thread *t, const Insn *i) {                              \
        const T *from = (const T *)touched(t, i, sizeof(T), TO_READ);             \
        if (!from) return;                                                        \
        T values[4];                                                              \
        memcpy(values, from, i->count * sizeof(T));                               \
        for (int k = 0; k < i->count; k++) t->r[i->x[k]] = (uint64_t)(int64_t)values[k]; \
    }                                                                             \
    static void load_frame_##N(Thread *t, const Insn *i) {                        \
        const T *from = (const T *)((uint8_t *)t->r + i->value);                  \
        for (int k = 0; k < i->count; k++) t->r[i->x[k]] = (uint64_t)(int64_t)from[k]; \
    }                                                                             \
    static void load_parameter_##N(Thread *t, const Insn *i) {                    \
        const T *from = (const T *)(t->parameters + i->value);                    \
        for (int k = 0; k < i->count; k++) t->r[i->x[k]] = (uint64_t)(int64_t)from[k]; \
    }
#define STORE(N, T)                                                               \
    static void store_##N(Thread *t, const Insn *i) {                             \
        T *to = (T *)touched(t, i, sizeof(T), TO_WRITE);                          \
        for (int k = 0; to && k < i->count; k++) to[k] = *(T *)&t->r[i->x[k]];    \
    }                                                                             \
    static void store_frame_##N(Thread *t, const Insn *i) {                       \
        T *to = (T *)((uint8_t *)t->r + i->value);                                \
        for (int k = 0; k < i->count; k++) to[k] = *(T *)&t->r[i->x[k]];          \
    }

#define UNSIGNED(X) X(u8, uint8_t) X(u16, uint16_t) X(u32, uint32_t) X(u64, uint64_t)
#define SIGNED(X) X(s8, int8_t) X(s16, int16_t) X(s32, int32_t)
UNSIGNED(LOAD) SIGNED(LOAD) UNSIGNED(STORE)

typedef struct { const char *types; Handler run[3]; } Mode;
#define LOADED(N, T) {#N, {load_##N, load_frame_##N, load_parameter_##N}},
#define STORED(N, T) {#N, {store_##N, store_frame_##N, NULL}},
static const Mode loads[] = {UNSIGNED(LOADED) SIGNED(LOADED) {NULL, {NULL}}};
static const Mode stores[] = {UNSIGNED(STORED) {NULL, {NULL}}};

/* Bits are read as they are: b32 and f32 as u32; what is stored has no sign. */
static Handler mode_of(const Mode *modes, const char *type, bool keeps_sign, From from) {
    char name[8];
    strncpy(name, type, sizeof name - 1);
    name[7] = 0;
    if (!keeps_sign || name[0] != 's' || !strcmp(name, "s64")) name[0] = 'u';
    for (; modes->types; modes++)
        if (!strcmp(modes->types, name)) return modes->run[from];
    return NULL;
}

Handler loader_of(const char *type, From from) { return mode_of(loads, type, true, from); }
Handler storer_of(const char *type, From from) { return mode_of(stores, type, false, from); }

/* -- atomic operations ------------------------------------------------------------------------------------------- */

#define ATOMIC(op, N, T, expression)                                              \
    static void op##_##N(Thread *t, const Insn *i) {                              \
        T *at = (T *)touched(t, i, sizeof(T), TO_UPDATE);                         \
        if (!at) return;                                                          \
        T old = *at, b = READ(T, 1), c = READ(T, 2);                              \
        (void)b, (void)c;                                                         \
        *at = expression;                                                         \
        *(T *)&t->r[i->x[0]] = old;                                               \
    }
#define NAMED(op, N, T, expression) {#op "_" #N, op##_##N},

#define NUMBERS(X, N, T)                                                          \
    X(add, N, T, old + b)                                                         \
    X(min, N, T, b < old ? b : old)                                               \
    X(max, N, T, b > old ? b : old)
#define WORDS(X, N, T)                                                            \
    X(exch, N, T, b)                                                              \
    X(cas, N, T, old == b ? c : old)                                              \
    X(and, N, T, old & b)                                                         \
    X(or, N, T, old | b)                                                          \
    X(xor, N, T, old ^ b)
#define ALL(X)                                                                    \
    NUMBERS(X, s32, int32_t) NUMBERS(X, u32, uint32_t) NUMBERS(X, s64, int64_t) NUMBERS(X, u64, uint64_t) \
    WORDS(X, b32, uint32_t) WORDS(X, b64, uint64_t)                               \
    X(add, f32, float, old + b) X(add, f64, double, old + b)                      \
    X(inc, u32, uint32_t, old >= b ? 0 : old + 1)                                 \
    X(dec, u32, uint32_t, old == 0 || old > b ? b : old - 1)

ALL(ATOMIC)
static const Row atomic_rows[] = {ALL(NAMED) {NULL, NULL}};

Handler atomic_of(const char *name) {
    for (const Row *row = atomic_rows; row->name; row++)
        if (!strcmp(row->name, name)) return row->run;
    return NULL;
}
