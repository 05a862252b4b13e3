/* Branches, calls, barriers, and what lanes of a warp tell each other. */
#include "ptx.h"
#include "ptx_warp.h"
#include <string.h>

void branch(Thread *t, const Insn *i) { t->pc = t->function->code + i->value; }

/* The branches of the table follow; what is beyond it is undefined, and reported. */
void branch_indexed(Thread *t, const Insn *i) {
    uint32_t k = READ(uint32_t, 0);
    if (k >= (uint64_t)i->value) thread_fail(t, i, "brx.idx %u of %ld targets", k, (long)i->value);
    else t->pc += k;
}

void call_function(Thread *t, const Insn *i) {
    const Call *call = i->more;
    if (!call->function || !call->function->is_defined)
        thread_fail(t, i, "the function %s has no body here", call->name);
    else if (!frame_push(t, call->function, i)) thread_fail(t, i, "the stack of a thread is full");
}

void return_from(Thread *t, const Insn *i) {
    (void)i;
    frame_pop(t);
}

void leave(Thread *t, const Insn *i) {
    (void)i;
    t->state = EXITED;
}

void trap(Thread *t, const Insn *i) { thread_fail(t, i, "a trap"); }
void unknown_opcode(Thread *t, const Insn *i) { thread_fail(t, i, "%s is not interpreted", (const char *)i->more); }
void move_frame_address(Thread *t, const Insn *i) { t->r[i->x[0]] = (uint64_t)t->r + (uint64_t)i->value; }
void move_parameter_address(Thread *t, const Insn *i) { t->r[i->x[0]] = (uint64_t)t->parameters + (uint64_t)i->value; }

void wait_at_barrier(Thread *t, const Insn *i) {
    t->barrier = READ(uint32_t, 1);
    t->state = AT_BARRIER;
}

/* -- the device runtime ------------------------------------------------------------------------------------------- */

/* Give a call the one word that it returns. */
static void answer(Thread *t, const Insn *i, uint64_t value, size_t size) {
    const Call *call = i->more;
    if (call->results) memcpy((uint8_t *)t->r + call->to[0], &value, size);
}

/* The group of all threads of the grid, which is not NULL. */
static void group_of_grid(Thread *t, const Insn *i) { answer(t, i, 1, 8); }

static void wait_for_grid(Thread *t, const Insn *i) {
    answer(t, i, 0, 4);
    t->state = AT_GRID_BARRIER;
}

Handler runtime_of(const char *name) {
    if (!strcmp(name, "cudaCGGetIntrinsicHandle")) return group_of_grid;
    return strcmp(name, "cudaCGSynchronize") ? NULL : wait_for_grid;
}

/* -- warps ------------------------------------------------------------------------------------------------------- */

void wait_in_warp(Thread *t, const Insn *i) {
    t->group = READ(uint32_t, 5);
    t->offered = READ(uint32_t, 1);
    t->state = AT_WARP_BARRIER;
}

/* The lane that a lane reads from; `clamp` holds where segments end. */
static int lane_read(const char *how, int lane, uint32_t b, uint32_t clamp, bool *is_inside) {
    int segment = clamp >> 8 & 31, limit = clamp & 31, least = lane & segment;
    int most = least | (limit & ~segment);
    int from = lane;
    if (!strcmp(how, "up")) from = lane - (int)(b & 31);
    else if (!strcmp(how, "down")) from = lane + (int)(b & 31);
    else if (!strcmp(how, "bfly")) from = lane ^ (int)(b & 31);
    else from = least | ((int)(b & 31) & ~segment);
    *is_inside = !strcmp(how, "up") ? from >= most : from <= most;
    return *is_inside ? from : lane;
}

static void shuffle(Thread **lanes, Thread *t, const Insn *i, const char *how) {
    bool inside;
    int from = lane_read(how, t->index % 32, READ(uint32_t, 2), READ(uint32_t, 3), &inside);
    t->r[i->x[4]] = inside;
    t->r[i->x[0]] = lanes[from] ? (uint32_t)lanes[from]->offered : 0;
}

static void shuffle_up(Thread **l, Thread *t, const Insn *i) { shuffle(l, t, i, "up"); }
static void shuffle_down(Thread **l, Thread *t, const Insn *i) { shuffle(l, t, i, "down"); }
static void shuffle_bfly(Thread **l, Thread *t, const Insn *i) { shuffle(l, t, i, "bfly"); }
static void shuffle_idx(Thread **l, Thread *t, const Insn *i) { shuffle(l, t, i, "idx"); }

/* The lanes of a group whose predicate holds. */
static uint32_t ballot(Thread **lanes) {
    uint32_t votes = 0;
    for (int k = 0; k < 32; k++) votes |= lanes[k] && (lanes[k]->offered & 1) ? 1u << k : 0;
    return votes;
}

static void vote_ballot(Thread **l, Thread *t, const Insn *i) { t->r[i->x[0]] = ballot(l); }
static void vote_any(Thread **l, Thread *t, const Insn *i) { t->r[i->x[0]] = ballot(l) != 0; }
static void vote_all(Thread **l, Thread *t, const Insn *i) { t->r[i->x[0]] = ballot(l) == t->group; }
static void vote_uni(Thread **l, Thread *t, const Insn *i) {
    t->r[i->x[0]] = ballot(l) == t->group || ballot(l) == 0;
}

#define MEETINGS(X)                                                               \
    X(shfl_sync_up_b32, shuffle_up) X(shfl_sync_down_b32, shuffle_down)           \
    X(shfl_sync_bfly_b32, shuffle_bfly) X(shfl_sync_idx_b32, shuffle_idx)         \
    X(vote_sync_ballot_b32, vote_ballot) X(vote_sync_any_pred, vote_any)          \
    X(vote_sync_all_pred, vote_all) X(vote_sync_uni_pred, vote_uni)
#define DEFINE(name, meet) static void name(Thread *t, const Insn *i) { wait_in_warp(t, i); }
#define NAMED(name, meet) {#name, name},
#define MET(name, meet) if (i->run == name) return meet;
MEETINGS(DEFINE)

Meeting meeting_of(const Insn *i) {
    MEETINGS(MET)
    return NULL;
}

const Row control_rows[] = {MEETINGS(NAMED) {NULL, NULL}};
