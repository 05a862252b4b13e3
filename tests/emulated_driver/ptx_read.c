/* Reading a module: its variables and functions, their registers and parameters, and what names mean where. */
#include "ptx_read.h"
#include "memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Chunk { struct Chunk *next; };

void *module_memory(Module *m, size_t size) {
    struct Chunk *chunk = calloc(1, sizeof *chunk + 8 + size);
    chunk->next = m->memory;
    m->memory = chunk;
    return chunk + 1;
}

void reader_fail(Reader *r, const char *format, ...) {
    if (!r->failed) {
        int n = snprintf(r->module->problem, sizeof r->module->problem, "line %d: ", r->text.line);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(r->module->problem + n, sizeof r->module->problem - n, format, arguments);
        va_end(arguments);
    }
    r->failed = true;
    r->text.kind = END;
    r->text.at = "";
}

/* -- names ------------------------------------------------------------------------------------------------------- */

static unsigned place_of(const char *name) {
    unsigned h = 5381;
    while (*name) h = h * 33 + (unsigned char)*name++;
    return h % 64;
}

static const char *copied(Reader *r, const char *start, int length) {
    char *name = module_memory(r->module, length + 1);
    memcpy(name, start, length);
    return name;
}

const char *reader_word(Reader *r) {
    const char *name = copied(r, r->text.start, r->text.length);
    text_next(&r->text);
    return name;
}

Symbol *symbol_new(Reader *r, const char *name, SymbolKind kind, int64_t value) {
    Symbol *s = module_memory(r->module, sizeof *s);
    Symbol **head = &r->scope->symbols[place_of(name)];
    *s = (Symbol){.name = name, .kind = kind, .value = value, .next = *head};
    return *head = s;
}

Symbol *symbol_of(Scope *scope, const char *name) {
    for (; scope; scope = scope->outer)
        for (Symbol *s = scope->symbols[place_of(name)]; s; s = s->next)
            if (!strcmp(s->name, name)) return s;
    return NULL;
}

static void scope_open(Reader *r) {
    Scope *scope = module_memory(r->module, sizeof *scope);
    scope->outer = r->scope;
    r->scope = scope;
}

uint32_t slot_new(Function *f, uint32_t count) {
    f->slots += count;
    return f->slots - count;
}

uint32_t slot_of_constant(Reader *r, uint64_t value) {
    Function *f = r->function;
    for (int k = f->constant_count - 1; k >= 0 && k > f->constant_count - 32; k--)
        if (f->constants[k].value == value) return f->constants[k].slot;
    if (f->constant_count == f->constant_room) {
        f->constant_room = 2 * f->constant_room + 16;
        f->constants = realloc(f->constants, f->constant_room * sizeof *f->constants);
    }
    f->constants[f->constant_count] = (Constant){slot_new(f, 1), value};
    return f->constants[f->constant_count++].slot;
}

/* -- declarations ------------------------------------------------------------------------------------------------ */

static uint32_t size_of_type(const char *type) {
    if (!strcmp(type, ".pred")) return 1;
    while (*type && (*type < '0' || *type > '9')) type++;
    return (uint32_t)atoi(type) / 8;
}

/* .reg .b32 %r<7>;  or  .reg .u32 a, b; */
static void read_registers(Reader *r) {
    text_next(&r->text);
    do {
        const char *name = reader_word(r);
        uint32_t count = 1;
        bool several = text_take(&r->text, "<");
        if (several) {
            count = (uint32_t)r->text.number;
            text_next(&r->text);
            text_take(&r->text, ">");
        }
        Symbol *s = symbol_new(r, name, several ? SOME_REGISTERS : A_REGISTER, slot_new(r->function, count));
        s->count = count;
    } while (text_take(&r->text, ","));
    if (!text_take(&r->text, ";")) reader_fail(r, "registers end with ;");
}

typedef struct { const char *name; uint32_t align, size, element; bool is_open; } Variable;

/* [.align n] .type [.ptr .global .align n] name[n][m]...  where what follows .ptr is of the memory pointed to */
static Variable read_variable(Reader *r) {
    Variable v = {.align = 1, .element = 1};
    const char *type = "";
    bool pointed = false;
    while (r->text.kind == WORD && r->text.start[0] == '.') {
        pointed |= text_is(&r->text, ".ptr");
        if (text_take(&r->text, ".align")) {
            v.align = pointed ? v.align : (uint32_t)r->text.number;
            text_next(&r->text);
        } else if (pointed) text_next(&r->text);
        else type = reader_word(r);
    }
    v.element = size_of_type(type);
    v.size = v.element ? v.element : 1;
    if (v.align < v.size) v.align = v.size;
    if (r->text.kind == WORD) v.name = reader_word(r);
    while (text_take(&r->text, "[")) {
        v.is_open = text_is(&r->text, "]");
        if (!v.is_open) {
            v.size *= (uint32_t)r->text.number;
            text_next(&r->text);
        }
        text_take(&r->text, "]");
    }
    return v;
}

static int64_t read_element(Reader *r) {
    bool negative = text_take(&r->text, "-");
    if (r->text.kind == WORD) {
        const char *name = reader_word(r);
        Symbol *s = symbol_of(r->scope, name);
        if (!s || s->kind != AN_ADDRESS) reader_fail(r, "the initial value %s is not known", name);
        return s ? s->value : 0;
    }
    int64_t value = (int64_t)r->text.number;
    text_next(&r->text);
    return negative ? -value : value;
}

static void read_initial(Reader *r, Variable v, uint8_t *to) {
    bool listed = text_take(&r->text, "{");
    uint32_t at = 0;
    do {
        if (text_is(&r->text, "}")) break;
        if (at + v.element > v.size) reader_fail(r, "%s has more initial values than elements", v.name);
        int64_t value = read_element(r);
        if (!r->failed) memcpy(to + at, &value, v.element);
        at += v.element;
    } while (text_take(&r->text, ","));
    if (listed && !text_take(&r->text, "}")) reader_fail(r, "initial values of %s end with }", v.name);
}

static void add_variable(Reader *r, Variable v) {
    Module *m = r->module;
    Allocation *a = memory_new(v.size, VARIABLE_MEMORY);
    memset(a->base, 0, v.size);
    if (text_take(&r->text, "=")) read_initial(r, v, a->base);
    m->variables = realloc(m->variables, (m->variable_count + 1) * sizeof *m->variables);
    m->variable_names = realloc(m->variable_names, (m->variable_count + 1) * sizeof *m->variable_names);
    m->variable_names[m->variable_count] = v.name;
    m->variables[m->variable_count++] = a;
    symbol_new(r, v.name, AN_ADDRESS, (int64_t)a->base)->size = v.size;
}

static uint32_t rounded(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

static void add_shared(Reader *r, Variable v) {
    uint32_t at = rounded(r->module->shared_bytes, v.align);
    if (at + v.size > SHARED_LIMIT) reader_fail(r, "shared memory of more than %d bytes", SHARED_LIMIT);
    symbol_new(r, v.name, AN_ADDRESS, (int64_t)shared_memory.base + at)->size = v.size;
    if (!v.is_open) r->module->shared_bytes = at + v.size;
}

/* Bytes in the frame, at the boundary that a 16-byte vector needs. */
static uint32_t frame_bytes(Function *f, uint32_t size) {
    f->slots += f->slots & 1;
    return slot_new(f, (size + 15) / 16 * 2) * 8;
}

/* A variable of any space, in a module or in a function. */
static void read_space(Reader *r, const char *space) {
    do {
        Variable v = read_variable(r);
        if (!v.name) { reader_fail(r, "a variable has a name"); return; }
        if (!strcmp(space, ".shared")) add_shared(r, v);
        else if (!strcmp(space, ".global") || !strcmp(space, ".const")) add_variable(r, v);
        else symbol_new(r, v.name, IN_FRAME, frame_bytes(r->function, v.size))->size = v.size;
    } while (text_take(&r->text, ","));
    if (!text_take(&r->text, ";")) reader_fail(r, "a variable ends with ;");
}

/* -- functions --------------------------------------------------------------------------------------------------- */

static Function *function_named(Reader *r, const char *name) {
    Symbol *s = symbol_of(r->scope, name);
    if (s && s->kind == A_FUNCTION) return s->what;
    Function *f = module_memory(r->module, sizeof *f);
    *f = (Function){.name = name, .slots = FRAME_HEADER, .module = r->module, .next = r->module->functions};
    r->module->functions = f;
    symbol_new(r, name, A_FUNCTION, 0)->what = f;
    return f;
}

/* Parameters, which are in the frame for functions and handed over at the launch for kernels. */
static int read_parameters(Reader *r, Piece *pieces, int most, bool of_kernel) {
    int n = 0;
    uint32_t at = 0;
    if (!text_take(&r->text, "(")) return 0;
    while (!text_is(&r->text, ")") && !r->failed) {
        text_take(&r->text, ".param");
        if (text_is(&r->text, ".reg")) { reader_fail(r, "parameters in registers are not read"); break; }
        Variable v = read_variable(r);
        if (n == most || !v.name) { reader_fail(r, "too many parameters, or one without a name"); break; }
        at = rounded(at, v.align);
        uint32_t offset = of_kernel ? at : frame_bytes(r->function, v.size);
        symbol_new(r, v.name, of_kernel ? IN_PARAMETERS : IN_FRAME, offset)->size = v.size;
        pieces[n++] = (Piece){offset, v.size};
        at += v.size;
        text_take(&r->text, ",");
    }
    text_take(&r->text, ")");
    if (of_kernel) r->function->parameter_bytes = at;
    if (at > MOST_PARAMETER_BYTES) reader_fail(r, "%u bytes of parameters, %d at most", at, MOST_PARAMETER_BYTES);
    return n;
}

/* .maxntid 256, 1, 1  and its like, which tell the assembler what to expect */
static void read_directives(Reader *r) {
    while (r->text.kind == WORD && r->text.start[0] == '.') {
        bool most = text_is(&r->text, ".maxntid");
        uint32_t threads = 1;
        text_next(&r->text);
        while (r->text.kind == NUMBER || text_is(&r->text, ",")) {
            if (r->text.kind == NUMBER) threads *= (uint32_t)r->text.number;
            text_next(&r->text);
        }
        if (most) r->function->most_threads = threads;
    }
}

/* `labels: .branchtargets a, b;` */
static void read_branch_targets(Reader *r, const char *name) {
    const char **labels = module_memory(r->module, 4096 * sizeof *labels);
    Symbol *table = symbol_new(r, name, A_TABLE, 0);
    table->what = labels;
    do {
        if (table->count == 4096) { reader_fail(r, "too many branch targets"); return; }
        labels[table->count++] = reader_word(r);
    } while (text_take(&r->text, ","));
    text_take(&r->text, ";");
}

static bool is_label(const Text *t) {
    const char *c = t->at;
    while (*c == ' ' || *c == '\t') c++;
    return t->kind == WORD && c[0] == ':' && c[1] != ':';
}

static void read_label(Reader *r) {
    const char *name = reader_word(r);
    text_take(&r->text, ":");
    if (text_take(&r->text, ".branchtargets")) read_branch_targets(r, name);
    else symbol_new(r, name, A_LABEL, r->function->length);
}

static void read_statement(Reader *r) {
    static const char *spaces[] = {".shared", ".local", ".param", ".global", ".const", NULL};
    if (text_take(&r->text, ".reg")) { read_registers(r); return; }
    for (int k = 0; spaces[k]; k++)
        if (text_take(&r->text, spaces[k])) { read_space(r, spaces[k]); return; }
    if (text_is(&r->text, ".loc")) {
        for (int line = r->text.line; r->text.line == line && r->text.kind != END;) text_next(&r->text);
    } else if (r->text.kind == WORD && r->text.start[0] == '.') {
        while (!text_take(&r->text, ";") && r->text.kind != END) text_next(&r->text);
    } else if (is_label(&r->text)) read_label(r);
    else read_instruction(r);
}

static void read_block(Reader *r) {
    scope_open(r);
    while (!text_is(&r->text, "}") && r->text.kind != END) {
        if (text_take(&r->text, "{")) read_block(r);
        else if (!text_take(&r->text, ";")) read_statement(r);
    }
    if (!text_take(&r->text, "}")) reader_fail(r, "a body ends with }");
    r->scope = r->scope->outer;
}

static void place_jumps(Reader *r) {
    for (Jump *j = r->jumps; j; j = j->next) {
        Symbol *s = symbol_of(j->scope, j->label);
        if (!s || s->kind != A_LABEL) { reader_fail(r, "there is no label %s", j->label); return; }
        r->function->code[j->insn].value = s->value;
    }
    r->jumps = NULL;
}

/* (.param .b64 result) name (.param ...) { ... }  or ; */
static void read_function(Reader *r, bool is_entry) {
    Scope *outside = r->scope;
    Text before = r->text;
    if (text_is(&r->text, "("))
        while (!text_take(&r->text, ")") && r->text.kind != END) text_next(&r->text);
    Function *f = function_named(r, reader_word(r));
    Text after = r->text;
    f->slots = FRAME_HEADER;
    f->is_entry = is_entry;
    r->function = f;
    scope_open(r);
    r->text = before;
    if (text_is(&r->text, "(")) f->result_count = read_parameters(r, f->results, MOST_RESULTS, false);
    r->text = after;
    f->input_count = read_parameters(r, f->inputs, MOST_INPUTS, is_entry);
    read_directives(r);
    if (!text_take(&r->text, ";")) {
        if (!text_take(&r->text, "{")) reader_fail(r, "the function %s has no body", f->name);
        read_block(r);
        insn_new(r, return_from);
        place_jumps(r);
        f->is_defined = true;
    }
    r->scope = outside;
}

/* -- modules ----------------------------------------------------------------------------------------------------- */

/* What only a debugger reads, or says how much the text is worth. */
static void skip_directive(Reader *r) {
    int line = r->text.line;
    if (text_take(&r->text, ".section")) {
        while (!text_take(&r->text, "}") && r->text.kind != END) text_next(&r->text);
        return;
    }
    while (r->text.line == line && r->text.kind != END) text_next(&r->text);
}

static void read_module(Reader *r) {
    static const char *linkage[] = {".visible", ".extern", ".weak", ".common", NULL};
    while (r->text.kind != END) {
        bool known = false;
        for (int k = 0; linkage[k]; k++) known |= text_take(&r->text, linkage[k]);
        if (text_take(&r->text, ".entry")) read_function(r, true);
        else if (text_take(&r->text, ".func")) read_function(r, false);
        else if (text_take(&r->text, ".shared")) read_space(r, ".shared");
        else if (text_take(&r->text, ".global") || text_take(&r->text, ".const")) read_space(r, ".global");
        else if (!known && r->text.kind == WORD && r->text.start[0] == '.') skip_directive(r);
        else reader_fail(r, "%.*s stands where a function or variable should", r->text.length, r->text.start);
    }
}

Module *module_read(const char *text) {
    Module *m = calloc(1, sizeof *m);
    Reader r = {.module = m, .text = {.at = text, .line = 1}};
    scope_open(&r);
    text_next(&r.text);
    read_module(&r);
    return m;
}

void module_free(Module *m) {
    for (int k = 0; k < m->variable_count; k++) memory_free((uint64_t)m->variables[k]->base, VARIABLE_MEMORY);
    for (Function *f = m->functions; f; f = f->next) {
        free(f->code);
        free(f->constants);
    }
    for (struct Chunk *c = m->memory, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(m->variables);
    free(m->variable_names);
    free(m);
}

Function *module_function(Module *m, const char *name) {
    for (Function *f = m->functions; f; f = f->next)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}
