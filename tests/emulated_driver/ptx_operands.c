/* Operands: registers, constants, addresses, names, vectors. */
#include "ptx_read.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name; uint32_t slot; } special[] = {
    {"%tid.x", SLOT_TID}, {"%tid.y", SLOT_TID + 1}, {"%tid.z", SLOT_TID + 2},
    {"%ntid.x", SLOT_NTID}, {"%ntid.y", SLOT_NTID + 1}, {"%ntid.z", SLOT_NTID + 2},
    {"%ctaid.x", SLOT_CTAID}, {"%ctaid.y", SLOT_CTAID + 1}, {"%ctaid.z", SLOT_CTAID + 2},
    {"%nctaid.x", SLOT_NCTAID}, {"%nctaid.y", SLOT_NCTAID + 1}, {"%nctaid.z", SLOT_NCTAID + 2},
    {"%laneid", SLOT_LANE}, {"%warpid", SLOT_WARP}, {"%lanemask_eq", SLOT_LANEMASK_EQ},
    {"%lanemask_le", SLOT_LANEMASK_LE}, {"%lanemask_lt", SLOT_LANEMASK_LT}, {"%lanemask_ge", SLOT_LANEMASK_GE},
    {"%lanemask_gt", SLOT_LANEMASK_GT}, {"%dynamic_smem_size", SLOT_DYNAMIC_SHARED}, {"_", SCRATCH}, {NULL, 0}};

/* The slot of %r12 where %r<20> was declared; false where there is none. */
static bool numbered(Scope *scope, const char *name, uint32_t *slot) {
    size_t n = strlen(name);
    while (n && isdigit((unsigned char)name[n - 1])) n--;
    char stem[64];
    if (n >= sizeof stem || !name[n]) return false;
    memcpy(stem, name, n);
    stem[n] = 0;
    Symbol *s = symbol_of(scope, stem);
    uint32_t k = (uint32_t)atoi(name + n);
    if (!s || s->kind != SOME_REGISTERS || k >= s->count) return false;
    *slot = (uint32_t)s->value + k;
    return true;
}

static bool is_register(Reader *r, const char *name, uint32_t *slot) {
    for (int k = 0; special[k].name; k++)
        if (!strcmp(name, special[k].name)) {
            *slot = special[k].slot;
            return true;
        }
    Symbol *s = symbol_of(r->scope, name);
    if (!s || s->kind != A_REGISTER) return !s && numbered(r->scope, name, slot);
    *slot = (uint32_t)s->value;
    return true;
}

static Operand named(Reader *r) {
    Operand o = {.kind = NAME, .name = reader_word(r)};
    if (is_register(r, o.name, &o.slot)) o.kind = REGISTER;
    else if (!strcmp(o.name, "WARP_SZ")) o = (Operand){.kind = IMMEDIATE, .value = 32};
    else if ((o.symbol = symbol_of(r->scope, o.name)) &&
             (o.symbol->kind == AN_ADDRESS || o.symbol->kind == IN_FRAME || o.symbol->kind == IN_PARAMETERS)) {
        o.kind = ADDRESS;
        o.value = o.symbol->value;
        o.from = o.symbol->kind == IN_FRAME ? FROM_FRAME : o.symbol->kind == IN_PARAMETERS ? FROM_PARAMETERS
                                                                                           : FROM_REGISTER;
    }
    return o;
}

static int64_t read_integer(Reader *r) {
    bool negative = text_take(&r->text, "-");
    uint64_t value = r->text.number;
    if (r->text.kind != NUMBER) reader_fail(r, "%.*s stands where a number should", r->text.length, r->text.start);
    text_next(&r->text);
    return (int64_t)(negative ? 0 - value : value);
}

/* [base+offset], where the base is a register, a variable or a number */
static Operand read_address(Reader *r) {
    Operand o = {.kind = ADDRESS};
    if (r->text.kind == WORD) {
        o = named(r);
        if (o.kind == REGISTER) o = (Operand){.kind = ADDRESS, .slot = o.slot};
        if (o.kind != ADDRESS) reader_fail(r, "%s is no address", o.name);
    } else o.value = read_integer(r);
    if (text_take(&r->text, "+")) o.value += read_integer(r);
    if (!text_take(&r->text, "]")) reader_fail(r, "an address ends with ]");
    o.in_brackets = true;
    return o;
}

static Operand read_vector(Reader *r) {
    Operand o = {.kind = VECTOR};
    do {
        Operand item = read_operand(r);
        if (o.count == 8 || item.kind == VECTOR) { reader_fail(r, "a vector that is too long"); break; }
        o.items[o.count++] = item.kind == IMMEDIATE ? slot_of_constant(r, (uint64_t)item.value) : item.slot;
    } while (text_take(&r->text, ","));
    if (!text_take(&r->text, "}")) reader_fail(r, "a vector ends with }");
    return o;
}

Operand read_operand(Reader *r) {
    if (text_take(&r->text, "[")) return read_address(r);
    if (text_take(&r->text, "{")) return read_vector(r);
    bool negated = text_take(&r->text, "!");
    Operand o = r->text.kind == WORD ? named(r) : (Operand){.kind = IMMEDIATE, .value = read_integer(r)};
    o.negated = negated;
    if (o.kind == ADDRESS && text_take(&r->text, "+")) o.value += read_integer(r);
    return o;
}
