/* Running a grid: block after block, each thread until it waits or ends. The last block and thread go first, since
 * nothing may depend on their order. */
#include "memory.h"
#include "ptx_warp.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_DEPTH 64
#define MOST_INSTRUCTIONS 4000000000ull   /* of one thread: then it is taken for an endless loop */

uint64_t instructions_executed;
static uint64_t launches;

typedef struct {
    const Launch *launch;
    Thread *threads, *all_threads;        /* of the block that runs; of all blocks that are there */
    uint64_t *stacks;
    uint32_t count, blocks, stack_slots;  /* threads of a block, blocks, slots of a stack */
    uint32_t block;                       /* which one runs */
    bool failed;
} Run;

/* -- frames ------------------------------------------------------------------------------------------------------ */

/* Where a frame came from: behind its slots. */
typedef struct { uint64_t *r; const Insn *pc, *call; const Function *function; } Return;
#define RETURN_SLOTS (sizeof(Return) / 8)

uint32_t function_stack(const Function *f, int depth) {
    uint32_t deepest = 0;
    for (int k = 0; depth && k < f->length; k++) {
        const Call *call = f->code[k].run == call_function ? f->code[k].more : NULL;
        uint32_t needed = call && call->function ? function_stack(call->function, depth - 1) : 0;
        deepest = needed > deepest ? needed : deepest;
    }
    return f->slots + (f->slots & 1) + RETURN_SLOTS + deepest;
}

static void fill_frame(uint64_t *r, const Function *f, const uint64_t *header) {
    memcpy(r, header, SPECIAL_SLOTS * 8);
    memset(r + SPECIAL_SLOTS, 0xdb, (f->slots - SPECIAL_SLOTS) * 8);
    for (int k = 0; k < f->constant_count; k++) r[f->constants[k].slot] = f->constants[k].value;
}

static Return *return_of(uint64_t *r, const Function *f) { return (Return *)(r + f->slots + (f->slots & 1)); }

bool frame_push(Thread *t, const Function *f, const Insn *insn) {
    const Call *call = insn->more;
    uint64_t *from = t->r, *r = (uint64_t *)(return_of(t->r, t->function) + 1);
    if ((uint64_t *)(return_of(r, f) + 1) > t->stack_end) return false;
    fill_frame(r, f, from);
    for (int k = 0; k < call->inputs && k < f->input_count; k++)
        memcpy((uint8_t *)r + f->inputs[k].offset, (uint8_t *)from + call->from[k], f->inputs[k].size);
    *return_of(r, f) = (Return){from, t->pc, insn, t->function};
    t->r = r;
    t->function = f;
    t->pc = f->code;
    return true;
}

void frame_pop(Thread *t) {
    const Function *f = t->function;
    Return back = *return_of(t->r, f);
    if (!back.call) {
        t->state = EXITED;
        return;
    }
    const Call *call = back.call->more;
    for (int k = 0; k < call->results && k < f->result_count; k++)
        memcpy((uint8_t *)back.r + call->to[k], (uint8_t *)t->r + f->results[k].offset, f->results[k].size);
    t->r = back.r;
    t->pc = back.pc;
    t->function = back.function;
}

/* -- findings ---------------------------------------------------------------------------------------------------- */

static const char *kernel_name;

static void say(Thread *t, const Insn *i, const char *format, va_list arguments) {
    char what[400];
    const uint64_t *r = t->r;
    vsnprintf(what, sizeof what, format, arguments);
    report("%s, line %d of its PTX, block (%u, %u, %u), thread (%u, %u, %u): %s", kernel_name, i->line,
           (uint32_t)r[SLOT_CTAID], (uint32_t)r[SLOT_CTAID + 1], (uint32_t)r[SLOT_CTAID + 2], (uint32_t)r[SLOT_TID],
           (uint32_t)r[SLOT_TID + 1], (uint32_t)r[SLOT_TID + 2], what);
}

void thread_report(Thread *t, const Insn *i, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (i->reported != reports_part) say(t, i, format, arguments);
    va_end(arguments);
    ((Insn *)i)->reported = reports_part;
}

void thread_fail(Thread *t, const Insn *i, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (t->state != FAILED) say(t, i, format, arguments);
    va_end(arguments);
    t->state = FAILED;
}

/* -- threads ----------------------------------------------------------------------------------------------------- */

static void place_ids(uint64_t *slots, uint32_t k, Dim3 of) {
    slots[0] = k % of.x;
    slots[1] = k / of.x % of.y;
    slots[2] = k / of.x / of.y;
}

static void place_size(uint64_t *slots, Dim3 of) {
    slots[0] = of.x;
    slots[1] = of.y;
    slots[2] = of.z;
}

static void thread_start(Run *run, Thread *t, uint32_t k, uint64_t *stack) {
    const Launch *l = run->launch;
    uint64_t header[SPECIAL_SLOTS];
    uint32_t lane = k % 32, bit = 1u << lane;
    place_ids(header + SLOT_TID, k, l->block);
    place_size(header + SLOT_NTID, l->block);
    place_ids(header + SLOT_CTAID, run->block, l->grid);
    place_size(header + SLOT_NCTAID, l->grid);
    header[SLOT_LANE] = lane;
    header[SLOT_WARP] = k / 32;
    header[SLOT_LANEMASK_EQ] = bit;
    header[SLOT_LANEMASK_LT] = bit - 1;
    header[SLOT_LANEMASK_LE] = bit | (bit - 1);
    header[SLOT_LANEMASK_GT] = ~(bit | (bit - 1));
    header[SLOT_LANEMASK_GE] = ~(bit - 1);
    header[SLOT_DYNAMIC_SHARED] = l->dynamic_shared;
    *t = (Thread){.r = stack, .pc = l->function->code, .index = k, .stack = stack, .function = l->function,
                  .stack_end = stack + run->stack_slots, .parameters = l->parameters,
                  .kernel_parameter_bytes = l->function->parameter_bytes};
    fill_frame(stack, l->function, header);
    *return_of(stack, l->function) = (Return){0};
}

static void thread_run(Thread *t) {
    uint64_t executed = 0;
    while (t->state == RUNNING) {
        const Insn *i = t->pc++;
        executed++;
        if (i->guard && (t->r[i->guard] & 1) != i->sense) continue;
        i->run(t, i);
        if (executed > MOST_INSTRUCTIONS) thread_fail(t, i, "runs on and on");
    }
    instructions_executed += executed;
}

/* -- blocks ------------------------------------------------------------------------------------------------------ */

static void run_one_by_one(Run *run) {
    for (uint32_t k = run->count; k-- && !run->failed;) {
        thread_start(run, run->threads, k, run->stacks);
        thread_run(run->threads);
        run->failed = run->threads->state == FAILED;
    }
}

/* The lanes that wait at the same instruction as a thread; false where one of its group is still on its way. */
static bool lanes_of(Run *run, Thread *t, Thread **lanes) {
    uint32_t first = t->index / 32 * 32;
    for (uint32_t k = 0; k < 32; k++) {
        Thread *other = first + k < run->count ? &run->threads[first + k] : NULL;
        lanes[k] = t->group >> k & 1 && other && other->state != EXITED ? other : NULL;
        if (lanes[k] && (other->state != AT_WARP_BARRIER || other->pc != t->pc)) return false;
    }
    return true;
}

static bool let_warps_go_on(Run *run) {
    bool any = false;
    Thread *lanes[32];
    for (uint32_t k = 0; k < run->count; k++) {
        Thread *t = &run->threads[k];
        if (t->state != AT_WARP_BARRIER || !lanes_of(run, t, lanes)) continue;
        Meeting meet = meeting_of(t->pc - 1);
        for (int j = 0; j < 32; j++)
            if (lanes[j]) {
                if (meet) meet(lanes, lanes[j], lanes[j]->pc - 1);
                lanes[j]->state = RUNNING;
            }
        any = true;
    }
    return any;
}

/* The first of some threads that waits for the block or the grid, which all have to do at the same place. */
static Thread *waiting(Run *run, State state, uint32_t count) {
    Thread *first = NULL, *other = NULL;
    for (uint32_t k = 0; k < count && !first; k++) first = run->threads[k].state == state ? &run->threads[k] : NULL;
    for (uint32_t k = 0; k < count && first && !other; k++)
        if (run->threads[k].state != state || run->threads[k].pc != first->pc) other = &run->threads[k];
    if (!other) return first;
    thread_fail(first, first->pc - 1, "waits at a barrier where thread %u of block %u does not", other->index,
                (uint32_t)(other - run->threads) / run->count);
    run->failed = true;
    return NULL;
}

static bool let_go_on(Run *run, State state, uint32_t count) {
    bool any = waiting(run, state, count) != NULL;
    for (uint32_t k = 0; any && k < count; k++) run->threads[k].state = RUNNING;
    return any;
}

static bool let_block_go_on(Run *run) {
    bool any = let_go_on(run, AT_BARRIER, run->count);
    if (any) memory_barrier_passed();
    return any;
}

static void start_block(Run *run) {
    for (uint32_t k = 0; k < run->count; k++) {
        uint64_t thread = run->threads - run->all_threads + k;
        thread_start(run, run->threads + k, k, run->stacks + thread * run->stack_slots);
    }
}

/* Run the threads of a block until all of them have ended or wait for the grid. */
static void run_block(Run *run) {
    do {
        for (uint32_t k = run->count; k--;) {
            thread_run(&run->threads[k]);
            run->failed |= run->threads[k].state == FAILED;
        }
    } while (!run->failed && (let_warps_go_on(run) || let_block_go_on(run)));
    for (uint32_t k = 0; k < run->count && !run->failed; k++)
        if (run->threads[k].state == AT_WARP_BARRIER) {
            thread_fail(&run->threads[k], run->threads[k].pc - 1, "waits for lanes of its warp that do not come");
            run->failed = true;
        }
}

/* -- grids ------------------------------------------------------------------------------------------------------- */

static uint32_t shared_bytes(const Launch *l) { return l->function->module->shared_bytes + l->dynamic_shared; }

static void run_apart(Run *run) {
    for (run->block = run->blocks; run->block-- && !run->failed;) {
        memory_block_begins(run->block, shared_bytes(run->launch));
        if (run->launch->function->waits) {
            start_block(run);
            run_block(run);
        } else run_one_by_one(run);
        Thread *t = run->threads;
        if (!run->failed && t->state == AT_GRID_BARRIER) {
            thread_fail(t, t->pc - 1, "waits for the grid in a launch that is not cooperative");
            run->failed = true;
        }
    }
}

/* All blocks up to the next barrier of the grid, each with its own shared memory. */
static void run_all_blocks(Run *run, SharedMemory **kept) {
    for (run->block = run->blocks; run->block-- && !run->failed;) {
        run->threads = run->all_threads + (size_t)run->block * run->count;
        if (kept[run->block]) memory_block_returns(run->block, kept[run->block]);
        else {
            memory_block_begins(run->block, shared_bytes(run->launch));
            start_block(run);
        }
        run_block(run);
        kept[run->block] = memory_block_leaves(kept[run->block]);
    }
    run->threads = run->all_threads;
}

static void run_at_once(Run *run) {
    SharedMemory **kept = calloc(run->blocks, sizeof *kept);
    do {
        run_all_blocks(run, kept);
        memory_launch_begins(++launches);
    } while (!run->failed && let_go_on(run, AT_GRID_BARRIER, run->blocks * run->count));
    for (uint32_t k = 0; k < run->blocks; k++) memory_block_ends(kept[k]);
    free(kept);
}

/* numba-cuda hands an array of one axis over as two references, its elements, their size, its address, and once more
 * its elements and their size. The arrays of a kernel that takes nothing else; 0 for another one. */
enum { WORDS = 7 };

static int arrays_of(const Launch *l, Range *ranges) {
    const Function *f = l->function;
    const uint64_t *word = (const uint64_t *)l->parameters;
    int count = f->input_count / WORDS;
    if (f->input_count % WORDS || f->parameter_bytes != f->input_count * sizeof *word) return 0;
    for (int k = 0; k < count; k++, word += WORDS) {
        if (word[0] || word[1] || word[2] != word[5] || word[3] != word[6]) return 0;
        ranges[k] = (Range){word[4], word[4] + word[2] * word[3]};
    }
    return count;
}

bool launch_run(const Launch *l) {
    const Function *f = l->function;
    Run run = {.launch = l, .count = l->block.x * l->block.y * l->block.z};
    run.blocks = l->grid.x * l->grid.y * l->grid.z;
    run.stack_slots = (function_stack(f, STACK_DEPTH) + 1) & ~1u;
    size_t threads = (size_t)(f->waits ? run.count : 1) * (l->is_cooperative ? run.blocks : 1);
    run.threads = run.all_threads = calloc(threads, sizeof *run.threads);
    run.stacks = aligned_alloc(16, threads * run.stack_slots * 8);
    kernel_name = f->name;
    Range ranges[MOST_INPUTS / WORDS + 1];
    memory_launch_is_given(ranges, arrays_of(l, ranges));
    memory_launch_begins(++launches);
    if (l->is_cooperative && f->waits) run_at_once(&run);
    else run_apart(&run);
    free(run.all_threads);
    free(run.stacks);
    return !run.failed;
}
