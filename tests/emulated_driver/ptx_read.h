/* Names of a module that is being read, and the operands of its instructions. */
#pragma once
#include "ptx.h"
#include "ptx_text.h"

typedef enum {
    A_REGISTER, SOME_REGISTERS, A_LABEL, AN_ADDRESS, IN_FRAME, IN_PARAMETERS, A_FUNCTION, A_TABLE
} SymbolKind;

typedef struct Symbol {
    const char *name;
    SymbolKind kind;
    int64_t value;               /* a slot, the place of an instruction, an address, bytes from the start */
    uint32_t count, size;        /* registers %r<count>, bytes of a variable */
    void *what;                  /* a function, the labels of a table */
    struct Symbol *next;
} Symbol;

typedef struct Scope {
    struct Scope *outer, *next;
    Symbol *symbols[64];
} Scope;

/* A branch to a label that may come later. */
typedef struct Jump { int insn; const char *label; Scope *scope; struct Jump *next; } Jump;

typedef struct {
    Text text;
    Module *module;
    Scope *scope;                /* the innermost; the outermost is the module */
    Function *function;
    Jump *jumps;
    uint32_t guard;              /* of the instruction that is read */
    bool sense, failed;
} Reader;

typedef enum { REGISTER, IMMEDIATE, ADDRESS, NAME, VECTOR } OperandKind;

typedef struct {
    OperandKind kind;
    bool in_brackets, negated;
    From from;                   /* of an address */
    uint32_t slot;               /* of a register, or of an address's register; 0 for none */
    int64_t value;               /* a constant's bits, a displacement */
    const char *name;            /* of a label or function */
    Symbol *symbol;
    uint32_t items[8];           /* slots of a vector; 0 for _ */
    int count;
} Operand;

#define SCRATCH (FRAME_HEADER - 1)   /* the slot that _ writes to */

void reader_fail(Reader *, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *reader_word(Reader *);
Symbol *symbol_new(Reader *, const char *name, SymbolKind, int64_t value);
Symbol *symbol_of(Scope *, const char *name);
uint32_t slot_new(Function *, uint32_t count);
uint32_t slot_of_constant(Reader *, uint64_t value);
Insn *insn_new(Reader *, Handler);

/* Read one instruction, its guard included. */
void read_instruction(Reader *);
/* Read one operand. */
Operand read_operand(Reader *);
