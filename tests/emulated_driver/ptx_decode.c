/* Instructions: which handler an opcode has, and which slots its operands are. */
#include "ptx_read.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPERANDS 16
#define MOST_PARTS 12

/* An instruction as it is written: the parts of its opcode between the dots, and its operands. */
typedef struct {
    char opcode[96], text[96];   /* with underscores, and as it is in the source */
    char *parts[MOST_PARTS];
    int part_count;
    Operand operands[MOST_OPERANDS], second;   /* the q of p|q */
    int count;
    bool has_second;
} Written;

Insn *insn_new(Reader *r, Handler run) {
    Function *f = r->function;
    if (f->length == f->room) {
        f->room = 2 * f->room + 64;
        f->code = realloc(f->code, f->room * sizeof *f->code);
    }
    f->code[f->length] = (Insn){.run = run, .guard = r->guard, .sense = r->sense, .line = r->text.line};
    return &f->code[f->length++];
}

static bool has(const Written *w, const char *part) {
    for (int k = 1; k < w->part_count; k++)
        if (!strcmp(w->parts[k], part)) return true;
    return false;
}

static const char *type_of(const Written *w) { return w->parts[w->part_count - 1]; }

/* A slot that an instruction writes. */
static Insn *computed(Reader *r, Handler run, uint32_t from, int64_t value) {
    uint32_t slot = slot_new(r->function, 1);
    Insn *i = insn_new(r, run);
    i->x[0] = slot;
    i->x[1] = from;
    i->value = value;
    return i;
}

/* The slot of a value; what is not in one yet gets one. */
static uint32_t value_slot(Reader *r, Operand o) {
    if (o.kind == ADDRESS && o.from != FROM_REGISTER)
        return computed(r, o.from == FROM_FRAME ? move_frame_address : move_parameter_address, 0, o.value)->x[0];
    if (o.kind == IMMEDIATE || o.kind == ADDRESS) return slot_of_constant(r, (uint64_t)o.value);
    if (o.kind != REGISTER) reader_fail(r, "%s is no value", o.name ? o.name : "an operand");
    return o.negated ? computed(r, handler_of("not_pred"), o.slot, 0)->x[0] : o.slot;
}

static void unknown(Reader *r, const Written *w) {
    char *name = module_memory(r->module, strlen(w->text) + 1);
    insn_new(r, unknown_opcode)->more = strcpy(name, w->text);
}

/* d, a, b, ... of which each is one slot */
static void emit(Reader *r, const Written *w, Handler run) {
    uint32_t slots[6] = {0};
    if (!run || w->count > 6) { unknown(r, w); return; }
    for (int k = 0; k < w->count; k++) slots[k] = value_slot(r, w->operands[k]);
    memcpy(insn_new(r, run)->x, slots, sizeof slots);
}

/* -- comparisons ------------------------------------------------------------------------------------------------- */

static void combine(Reader *r, const char *with, uint32_t target, uint32_t other) {
    char name[16];
    snprintf(name, sizeof name, "%s_pred", with);
    Insn *i = insn_new(r, handler_of(name));
    i->x[0] = i->x[1] = target;
    i->x[2] = other;
}

/* setp.lt.and.s32 p|q, a, b, c:  p = (a < b) & c,  q = !(a < b) & c */
static void decode_setp(Reader *r, Written *w) {
    char name[64];
    bool combined = w->count == 4;
    uint32_t a = value_slot(r, w->operands[1]), b = value_slot(r, w->operands[2]);
    uint32_t c = combined ? value_slot(r, w->operands[3]) : 0, result = slot_new(r->function, 1);
    snprintf(name, sizeof name, "setp_%s%s_%s", w->parts[1], has(w, "ftz") ? "_ftz" : "", type_of(w));
    if (!handler_of(name)) { unknown(r, w); return; }
    Insn *i = insn_new(r, handler_of(name));
    i->x[0] = result;
    i->x[1] = a;
    i->x[2] = b;
    uint32_t targets[2] = {w->operands[0].slot, w->second.slot};
    for (int k = 0; k <= w->has_second; k++) {
        uint32_t made = slot_new(r->function, 1);
        i = insn_new(r, handler_of(k ? "not_pred" : "mov_pred"));
        i->x[0] = made;
        i->x[1] = result;
        if (combined) combine(r, w->parts[2], made, c);
        i = insn_new(r, handler_of("mov_pred"));
        i->x[0] = targets[k];
        i->x[1] = made;
    }
}

/* The common case in one instruction. */
static void decode_comparison(Reader *r, Written *w) {
    char name[64];
    if (w->has_second || w->count == 4) { decode_setp(r, w); return; }
    snprintf(name, sizeof name, "setp_%s%s_%s", w->parts[1], has(w, "ftz") ? "_ftz" : "", type_of(w));
    emit(r, w, handler_of(name));
}

/* -- memory ------------------------------------------------------------------------------------------------------ */

static uint8_t space_of(const Written *w) {
    if (has(w, "shared") || has(w, "shared::cta")) return IN_SHARED;
    return has(w, "global") || has(w, "const") ? IN_GLOBAL : has(w, "local") ? IN_LOCAL : IN_ANY;
}

/* ld.global.v2.f64 {a, b}, [base+8]  and  st.shared.f64 [base], a */
static void decode_access(Reader *r, Written *w, bool loads) {
    if (w->count != 2) { unknown(r, w); return; }
    Operand address = w->operands[loads ? 1 : 0], value = w->operands[loads ? 0 : 1];
    Handler run = loads ? loader_of(type_of(w), address.from) : storer_of(type_of(w), address.from);
    if (!run || !address.in_brackets) { unknown(r, w); return; }
    uint32_t slots[4] = {0}, count = 1;
    if (value.kind == VECTOR) {
        count = value.count > 4 ? 4 : value.count;
        memcpy(slots, value.items, sizeof slots);
    } else slots[0] = value_slot(r, value);
    uint32_t base = address.slot ? address.slot : slot_of_constant(r, 0);
    Insn *i = insn_new(r, run);
    memcpy(i->x, slots, sizeof slots);
    i->x[4] = base;
    i->value = address.value;
    i->count = (uint8_t)count;
    i->space = space_of(w);
}

/* atom.global.add.f64 d, [a], b, c  and  red.global.add.f64 [a], b */
static void decode_atomic(Reader *r, Written *w, bool returns) {
    static const char *operations[] = {"add", "min", "max", "inc", "dec", "exch", "cas", "and", "or", "xor", NULL};
    const char *found = NULL;
    char name[48];
    for (int k = 0; operations[k]; k++) found = has(w, operations[k]) ? operations[k] : found;
    snprintf(name, sizeof name, "%s_%s", found ? found : "", type_of(w));
    Handler run = atomic_of(name);
    Operand *o = w->operands + returns;
    if (!run || w->count < 2 + returns || o->from != FROM_REGISTER) { unknown(r, w); return; }
    uint32_t b = value_slot(r, o[1]), c = w->count > 2 + returns ? value_slot(r, o[2]) : 0;
    uint32_t base = o->slot ? o->slot : slot_of_constant(r, 0);
    Insn *i = insn_new(r, run);
    memcpy(i->x, (uint32_t[]){returns ? w->operands[0].slot : SCRATCH, b, c, 0, base}, 5 * sizeof *i->x);
    i->value = o->value;
    i->count = 1;
    i->space = space_of(w);
}

/* -- moves ------------------------------------------------------------------------------------------------------- */

/* mov.b64 {lo, hi}, d  and  mov.b64 d, {lo, hi} */
static void decode_pack(Reader *r, Written *w, bool packs) {
    Operand vector = w->operands[packs ? 1 : 0];
    uint32_t whole = packs ? w->operands[0].slot : value_slot(r, w->operands[1]);
    char name[48];
    snprintf(name, sizeof name, "%s_%s_%d", packs ? "pack" : "unpack", type_of(w), vector.count);
    Handler run = handler_of(name);
    if (!run) { unknown(r, w); return; }
    Insn *i = insn_new(r, run);
    memcpy(i->x, vector.items, 4 * sizeof *i->x);
    i->x[4] = whole;
}

static void decode_mov(Reader *r, Written *w) {
    char name[32];
    Operand source = w->operands[1];
    if (w->count != 2 || source.kind == NAME) { unknown(r, w); return; }
    if (source.kind == VECTOR || w->operands[0].kind == VECTOR) { decode_pack(r, w, source.kind == VECTOR); return; }
    snprintf(name, sizeof name, "mov_%s", type_of(w));
    emit(r, w, handler_of(name));
}

/* -- control ----------------------------------------------------------------------------------------------------- */

static void decode_bra(Reader *r, Written *w) {
    Jump *j = module_memory(r->module, sizeof *j);
    *j = (Jump){r->function->length, w->operands[0].name, r->scope, r->jumps};
    if (w->operands[0].kind != NAME) { reader_fail(r, "a branch goes to a label"); return; }
    insn_new(r, branch);
    r->jumps = j;
}

/* brx.idx a, table:  a chain of branches, of which the first one looks at the number */
static void decode_brx(Reader *r, Written *w) {
    Symbol *table = w->count == 2 ? w->operands[1].symbol : NULL;
    if (!table || table->kind != A_TABLE) { unknown(r, w); return; }
    uint32_t slot = value_slot(r, w->operands[0]);
    Insn *i = insn_new(r, branch_indexed);
    i->x[0] = slot;
    i->value = table->count;
    const char **labels = table->what;
    for (uint32_t k = 0; k < table->count; k++) {
        Operand label = {.kind = NAME, .name = labels[k]};
        Written one = {.count = 1, .operands = {label}};
        decode_bra(r, &one);
    }
}

/* Read (a, b, ...), each of them a .param variable of the frame. */
static int read_arguments(Reader *r, uint32_t *offsets, int most) {
    int n = 0;
    if (!text_take(&r->text, "(")) return 0;
    while (!text_take(&r->text, ")") && !r->failed) {
        Operand o = read_operand(r);
        if (o.kind != ADDRESS || o.from != FROM_FRAME || n == most) reader_fail(r, "arguments are .param variables");
        else offsets[n++] = (uint32_t)o.value;
        text_take(&r->text, ",");
    }
    return n;
}

/* call.uni (result), function, (arguments); */
static void read_call(Reader *r) {
    Call *call = module_memory(r->module, sizeof *call);
    call->results = read_arguments(r, call->to, MOST_RESULTS);
    text_take(&r->text, ",");
    call->name = reader_word(r);
    Symbol *s = symbol_of(r->scope, call->name);
    call->function = s && s->kind == A_FUNCTION ? s->what : NULL;
    if (text_take(&r->text, ",")) call->inputs = read_arguments(r, call->from, MOST_ARGUMENTS);
    while (!text_is(&r->text, ";") && r->text.kind != END) text_next(&r->text);
    bool defined = call->function && call->function->is_defined;
    Handler runtime = defined ? NULL : runtime_of(call->name);
    r->function->waits |= runtime != NULL;
    insn_new(r, runtime ? runtime : call_function)->more = call;
}

static void decode_barrier(Reader *r, Written *w) {
    bool of_warp = has(w, "warp");
    if (has(w, "arrive") || has(w, "red") || (!of_warp && w->count > 1)) { unknown(r, w); return; }
    uint32_t which = w->count ? value_slot(r, w->operands[0]) : slot_of_constant(r, 0);
    if (!of_warp) r->function->waits = true;
    Insn *i = insn_new(r, of_warp ? wait_in_warp : wait_at_barrier);
    i->x[of_warp ? 5 : 1] = which;
    i->x[0] = SCRATCH;
}

/* shfl.sync.down.b32 d|p, a, b, c, mask;  vote.sync.ballot.b32 d, p, mask;  ... */
static void decode_warp(Reader *r, Written *w) {
    Handler run = handler_of(w->opcode);
    if (!run) { unknown(r, w); return; }
    uint32_t slots[6] = {0};
    for (int k = 1; k < w->count; k++) slots[k - 1] = value_slot(r, w->operands[k]);
    uint32_t mask = slots[w->count - 2];
    r->function->waits = true;
    Insn *i = insn_new(r, run);
    memcpy(i->x, (uint32_t[]){w->operands[0].slot, slots[0], slots[1], slots[2],
                              w->has_second ? w->second.slot : SCRATCH, mask}, sizeof i->x);
}

static void decode_rest(Reader *r, Written *w) {
    char name[96];
    size_t n = 0;
    for (const char *c = w->opcode; *c; c++) {   /* to the nearest is what everything does that does not say */
        bool nearest = !strncmp(c, "_rn_", 4) && strncmp(w->opcode, "cvt", 3);
        c += nearest ? 3 : 0;
        name[n++] = *c;
    }
    name[n] = 0;
    emit(r, w, handler_of(name));
}

static bool starts(const Written *w, const char *name) { return !strcmp(w->parts[0], name); }

static void decode(Reader *r, Written *w) {
    static const char *quiet[] = {"membar", "fence", "prefetch", "prefetchu", "discard", "nanosleep", "pmevent",
                                  "applypriority", "griddepcontrol", NULL};
    for (int k = 0; quiet[k]; k++)
        if (starts(w, quiet[k])) return;
    if (starts(w, "setp")) decode_comparison(r, w);
    else if (starts(w, "ld") || starts(w, "ldu")) decode_access(r, w, true);
    else if (starts(w, "st")) decode_access(r, w, false);
    else if (starts(w, "atom")) decode_atomic(r, w, true);
    else if (starts(w, "red")) decode_atomic(r, w, false);
    else if (starts(w, "mov") || starts(w, "cvta")) decode_mov(r, w);
    else if (starts(w, "bra")) decode_bra(r, w);
    else if (starts(w, "brx")) decode_brx(r, w);
    else if (starts(w, "ret")) insn_new(r, return_from);
    else if (starts(w, "exit")) insn_new(r, leave);
    else if (starts(w, "trap") || starts(w, "brkpt")) insn_new(r, trap);
    else if (starts(w, "bar") || starts(w, "barrier")) decode_barrier(r, w);
    else if (starts(w, "shfl") || starts(w, "vote") || starts(w, "match") || starts(w, "redux")) decode_warp(r, w);
    else decode_rest(r, w);
}

/* -- the words of an instruction --------------------------------------------------------------------------------- */

static void split_opcode(Reader *r, Written *w) {
    static char parts[96];
    int n = r->text.length < 95 ? r->text.length : 95;
    memcpy(w->text, r->text.start, n);
    memcpy(parts, w->text, sizeof parts);
    memcpy(w->opcode, w->text, sizeof parts);
    for (char *c = w->opcode; *c; c++) *c = *c == '.' || *c == ':' ? '_' : *c;
    for (char *part = strtok(parts, "."); part && w->part_count < MOST_PARTS; part = strtok(NULL, "."))
        w->parts[w->part_count++] = part;
    text_next(&r->text);
}

static void read_operands(Reader *r, Written *w) {
    while (!text_is(&r->text, ";") && !r->failed) {
        if (w->count == MOST_OPERANDS) { reader_fail(r, "too many operands"); return; }
        w->operands[w->count++] = read_operand(r);
        if (text_take(&r->text, "|")) {
            w->second = read_operand(r);
            w->has_second = true;
        }
        if (!text_take(&r->text, ",") && !text_is(&r->text, ";")) {
            reader_fail(r, "%.*s stands after an operand of %s", r->text.length, r->text.start, w->text);
        }
    }
}

void read_instruction(Reader *r) {
    Written w = {0};
    r->guard = 0;
    if (text_take(&r->text, "@")) {
        r->sense = !text_take(&r->text, "!");
        r->guard = read_operand(r).slot;
    }
    if (r->text.kind != WORD) reader_fail(r, "%.*s is no instruction", r->text.length, r->text.start);
    split_opcode(r, &w);
    if (!strcmp(w.parts[0], "call")) read_call(r);
    else {
        read_operands(r, &w);
        if (!r->failed) decode(r, &w);
    }
    r->guard = 0;
    if (!text_take(&r->text, ";")) reader_fail(r, "%s does not end with ;", w.text);
}
