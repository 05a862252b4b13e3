/* What a module of PTX is once it is read: functions made of instructions, each a handler and slots of a frame.
 *
 * A frame is an array of 64-bit slots: special registers, registers, constants, then parameters and local memory.
 * A register holds its value in the low bits of its slot; who reads it reads as many bits as its own type has.
 * Addresses of every state space are addresses of this process, so converting them (cvta) changes nothing.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Thread Thread;
typedef struct Insn Insn;
typedef struct Function Function;
typedef struct Module Module;
typedef struct Allocation Allocation;
typedef void (*Handler)(Thread *, const Insn *);

typedef struct { uint32_t x, y, z; } Dim3;

/* The slots in front of every frame. */
enum {
    SLOT_TID, SLOT_NTID = SLOT_TID + 3, SLOT_CTAID = SLOT_NTID + 3, SLOT_NCTAID = SLOT_CTAID + 3,
    SLOT_LANE = SLOT_NCTAID + 3, SLOT_WARP, SLOT_LANEMASK_EQ, SLOT_LANEMASK_LE, SLOT_LANEMASK_LT, SLOT_LANEMASK_GE,
    SLOT_LANEMASK_GT, SLOT_DYNAMIC_SHARED, SPECIAL_SLOTS = SLOT_DYNAMIC_SHARED + 1, FRAME_HEADER = 24
};

/* Where a memory operand is counted from: nothing or a register, the frame, the parameters of the kernel. */
typedef enum { FROM_REGISTER, FROM_FRAME, FROM_PARAMETERS } From;

typedef enum { IN_ANY, IN_GLOBAL, IN_SHARED, IN_LOCAL } Space;

struct Insn {
    Handler run;
    uint32_t x[6];       /* slots: x[0] is written, others are read; vectors take x[0..3], their base is x[4] */
    int64_t value;       /* a displacement, or the place of a branch's target */
    uint32_t guard;      /* the slot of a predicate, 0 for none */
    bool sense;          /* what the predicate has to be */
    uint8_t count;       /* elements of a vector */
    uint8_t space;
    uint32_t reported;   /* in which part of the reports it was found last */
    int line;
    void *more;          /* a call's arguments, a branch's table, the name of an opcode that is not known */
    Allocation *seen;    /* the memory that was touched last, and which array of the launch's it was in */
    int seen_range;
};

/* A piece of a frame or of a kernel's parameters, in bytes. */
typedef struct { uint32_t offset, size; } Piece;

typedef struct { uint32_t slot; uint64_t value; } Constant;

enum { MOST_INPUTS = 4096, MOST_RESULTS = 8, MOST_ARGUMENTS = 64, MOST_PARAMETER_BYTES = 32764 };

/* The arguments of a call: what is copied in, and what is copied out. */
typedef struct {
    Function *function;
    const char *name;
    int inputs, results;
    uint32_t from[MOST_ARGUMENTS], to[MOST_RESULTS];
} Call;

struct Function {
    const char *name;
    bool is_entry, is_defined;
    bool waits;                  /* for other threads of its block or warp */
    Insn *code;
    int length, room;
    Constant *constants;
    int constant_count, constant_room;
    uint32_t slots;              /* of a frame */
    Piece inputs[MOST_INPUTS], results[MOST_RESULTS];
    int input_count, result_count;
    uint32_t parameter_bytes;
    uint32_t most_threads;       /* .maxntid, 0 where it does not say */
    Module *module;
    Function *next;
};

struct Module {
    Function *functions;
    Allocation **variables;
    const char **variable_names;
    int variable_count;
    uint32_t shared_bytes;
    struct Chunk *memory;
    char problem[300];
    int handles;                 /* who holds it */
};

/* -- reading ----------------------------------------------------------------------------------------------------- */

/* A module, or one whose `problem` says what was not understood. */
Module *module_read(const char *text);
void module_free(Module *);
Function *module_function(Module *, const char *name);
/* Memory that lives as long as the module. */
void *module_memory(Module *, size_t);
uint32_t function_stack(const Function *, int depth);

/* -- running ----------------------------------------------------------------------------------------------------- */

typedef enum { RUNNING, AT_BARRIER, AT_WARP_BARRIER, AT_GRID_BARRIER, EXITED, FAILED } State;

struct Thread {
    uint64_t *r;                 /* the frame */
    const Insn *pc;
    State state;
    uint32_t carry;
    uint32_t index;              /* in its block */
    uint64_t *stack, *stack_end;
    const uint8_t *parameters;
    uint32_t kernel_parameter_bytes;
    const Function *function;
    uint32_t barrier, group;     /* which barrier it waits at; lanes that it waits for */
    uint64_t offered;            /* what it hands to the other lanes of its warp */
    uint64_t executed;
};

typedef struct {
    const Function *function;
    Dim3 grid, block;
    uint32_t dynamic_shared;
    const uint8_t *parameters;
    bool is_cooperative;         /* all blocks are there at once and may wait for each other */
} Launch;

/* Run a grid to its end; false where a thread failed, which has been reported then. */
bool launch_run(const Launch *);
extern uint64_t instructions_executed;

/* Push the frame of a function; false where the stack has no room. */
bool frame_push(Thread *, const Function *, const Insn *call);
void frame_pop(Thread *);
void thread_fail(Thread *, const Insn *, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A finding that does not stop the thread, once for every instruction. */
void thread_report(Thread *, const Insn *, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* -- tables of handlers ------------------------------------------------------------------------------------------ */

typedef struct { const char *name; Handler run; } Row;
extern const Row integer_rows[], float_rows[], rounded_rows[], compare_rows[], convert_rows[], control_rows[];

/* The handler of an opcode spelled with underscores; NULL where there is none. */
Handler handler_of(const char *name);
Handler loader_of(const char *type, From), storer_of(const char *type, From), atomic_of(const char *name);
void unknown_opcode(Thread *, const Insn *);
/* What calls a function of CUDA's device runtime; NULL where it is none that is known. */
Handler runtime_of(const char *name);
void call_function(Thread *, const Insn *), move_frame_address(Thread *, const Insn *);
void move_parameter_address(Thread *, const Insn *);
void branch(Thread *, const Insn *), branch_indexed(Thread *, const Insn *);
void return_from(Thread *, const Insn *), leave(Thread *, const Insn *), wait_at_barrier(Thread *, const Insn *);
void wait_in_warp(Thread *, const Insn *), do_nothing(Thread *, const Insn *), trap(Thread *, const Insn *);

#define READ(T, n) (*(const T *)&t->r[i->x[n]])
#define WRITE(T, v) (*(T *)&t->r[i->x[0]] = (T)(v))
/* integers fill their slot, since a register may be wider than the type that is written to it */
#define WRITE_INTEGER(T, v) (t->r[i->x[0]] = (uint64_t)(int64_t)(T)(v))
