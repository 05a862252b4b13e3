/* Allocations, and the checks of what threads and copies touch: bounds, bytes that nobody wrote, and races. */
#define _GNU_SOURCE
#include "memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_32BIT
#define MAP_32BIT 0                      /* elsewhere all addresses are taken to be kept in 64 bits */
#endif
#define GAP 512                          /* bytes between allocations that belong to nobody */
#define POISON 0xff                      /* a NaN in every float */
#define MOST_STAMPED (1 << 21)           /* larger allocations are not watched for races */

static Allocation **all;                 /* by address */
static size_t count, room;
static uint64_t numbers;

/* -- allocations ------------------------------------------------------------------------------------------------- */

static size_t place_of(uint64_t address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uint64_t)all[middle]->base <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void insert(Allocation *a) {
    if (count == room) {
        room = 2 * room + 64;
        all = realloc(all, room * sizeof *all);
    }
    size_t at = place_of((uint64_t)a->base);
    memmove(all + at + 1, all + at, (count++ - at) * sizeof *all);
    all[at] = a;
}

static void forget(Allocation *a) {
    size_t at = place_of((uint64_t)a->base) - 1;
    memmove(all + at, all + at + 1, (--count - at) * sizeof *all);
}

/* Freed memory is kept for a while, so that who still uses it is found out. */
static void keep_freed(Allocation *a) {
    static Allocation *kept[256];
    static size_t next;
    Allocation *oldest = kept[next];
    if (oldest) {
        forget(oldest);
        if (oldest->owns) munmap(oldest->whole, oldest->size + 2 * GAP);
        oldest->base = NULL, oldest->size = 0;
    }
    kept[next] = a;
    next = (next + 1) % 256;
}

Allocation *memory_adopt(void *base, size_t size, MemoryKind kind) {
    Allocation *a = calloc(1, sizeof *a);
    *a = (Allocation){.base = base, .size = size, .kind = kind, .number = ++numbers};
    insert(a);
    return a;
}

Allocation *memory_new(size_t size, MemoryKind kind) {
    uint8_t *whole = mmap(NULL, size + 2 * GAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) return NULL;
    Allocation *a = memory_adopt(whole + GAP, size, kind);
    a->owns = true;
    a->whole = whole;
    if (kind == DEVICE_MEMORY) {
        memset(a->base, POISON, size);
        a->written = calloc(size + 1, 1);
    }
    return a;
}

bool memory_free(uint64_t address, MemoryKind kind) {
    Allocation *a = memory_find(address);
    if (!a || (uint64_t)a->base != address || a->is_free) return false;
    if (a->kind != kind && a->kind != MANAGED_MEMORY) return false;
    a->is_free = true;
    free(a->written), free(a->writer), free(a->reader);
    a->written = NULL, a->writer = a->reader = NULL;
    if (a->owns) keep_freed(a);
    else {
        forget(a);
        a->base = NULL, a->size = 0;   /* instructions may still remember it */
    }
    return true;
}

Allocation *memory_find(uint64_t address) {
    size_t at = place_of(address);
    Allocation *a = at ? all[at - 1] : NULL;
    bool inside = a && (address - (uint64_t)a->base < a->size || address == (uint64_t)a->base);
    return inside ? a : NULL;
}

size_t memory_in_use(void) {
    size_t sum = 0;
    for (size_t k = 0; k < count; k++) sum += all[k]->is_free ? 0 : all[k]->size;
    return sum;
}

const char *memory_problem(uint64_t address, size_t size) {
    static char text[200];
    Allocation *a = memory_find(address);
    if (!a || !size) return NULL;
    uint64_t offset = address - (uint64_t)a->base;
    if (!a->is_free && size <= a->size - offset) return NULL;
    snprintf(text, sizeof text, "%zu bytes at byte %lu of %zu%s", size, (unsigned long)offset, a->size,
             a->is_free ? ", which were freed" : "");
    return text;
}

const char *memory_hole(uint64_t address, size_t size) {
    static char text[200];
    Allocation *a = memory_find(address);
    if (!a || !a->written || !size) return NULL;
    const uint8_t *hole = memchr(a->written + (address - (uint64_t)a->base), 0, size);
    if (hole) snprintf(text, sizeof text, "byte %ld of %zu, which nobody wrote", (long)(hole - a->written), a->size);
    return hole ? text : NULL;
}

void memory_written(uint64_t address, size_t size, uint64_t from) {
    Allocation *a = memory_find(address), *source = from ? memory_find(from) : NULL;
    if (!a || !a->written) return;
    uint8_t *marks = a->written + (address - (uint64_t)a->base);
    if (source && source->written) memmove(marks, source->written + (from - (uint64_t)source->base), size);
    else memset(marks, 1, size);
}

/* -- races ------------------------------------------------------------------------------------------------------- */

/* A stamp: launch | block | barriers passed | atomic | thread + 1, or MANY for several threads or blocks. */
#define THREAD_BITS 11
#define PHASE_BITS 10
#define BLOCK_BITS 24
#define MANY_THREADS ((1u << THREAD_BITS) - 1)
#define MANY_BLOCKS ((1u << BLOCK_BITS) - 1)
#define ATOMIC ((Stamp)1 << THREAD_BITS)

Allocation shared_memory;
static struct { uint64_t launch; uint32_t block, phase; const Range *ranges; int range_count; } now;

static Stamp stamp_of(uint32_t block, uint32_t thread, bool is_atomic) {
    Stamp place = (now.launch << BLOCK_BITS | block) << PHASE_BITS | (now.phase & ((1u << PHASE_BITS) - 1));
    return place << (THREAD_BITS + 1) | (is_atomic ? ATOMIC : 0) | thread;
}
static uint32_t thread_in(Stamp s) { return (uint32_t)s & MANY_THREADS; }
static uint32_t phase_in(Stamp s) { return (uint32_t)(s >> (THREAD_BITS + 1)) & ((1u << PHASE_BITS) - 1); }
static uint32_t block_in(Stamp s) { return (uint32_t)(s >> (THREAD_BITS + 1 + PHASE_BITS)) & MANY_BLOCKS; }
static uint64_t launch_in(Stamp s) { return s >> (THREAD_BITS + 1 + PHASE_BITS + BLOCK_BITS); }

/* True where nothing orders the one access and the other. */
static bool unordered(Stamp before, Stamp mine) {
    if (launch_in(before) != launch_in(mine) || !before) return false;
    if (block_in(before) != block_in(mine)) return true;
    return phase_in(before) == phase_in(mine) && thread_in(before) != thread_in(mine);
}

/* Who has read: one thread, many of a block, or many. */
static Stamp joined(Stamp before, Stamp mine) {
    if (!unordered(before, mine)) return mine;
    uint32_t block = block_in(before) == block_in(mine) ? block_in(mine) : MANY_BLOCKS;
    return stamp_of(block, MANY_THREADS, false);
}

static const char *race(Allocation *a, uint64_t at, Stamp mine, Access access) {
    Stamp writer = a->writer[at], reader = a->reader[at];
    bool both_atomic = access == TO_UPDATE && writer & ATOMIC;
    if (unordered(writer, mine) && !both_atomic)
        return access == TO_READ ? "reads what another thread writes" : "writes what another thread writes";
    if (access != TO_READ && unordered(reader, mine)) return "writes what another thread reads";
    if (access == TO_READ) a->reader[at] = joined(reader, mine);
    else a->writer[at] = mine;
    return NULL;
}

static void watch(Thread *t, const Insn *i, Allocation *a, uint64_t at, unsigned size, Access access) {
    Stamp mine = stamp_of(now.block, t->index + 1, access == TO_UPDATE);
    const char *how = NULL;
    for (unsigned k = 0; k < size && !how; k++) how = race(a, at + k, mine, access);
    if (how) thread_report(t, i, "a race: %s, with nothing between (byte %lu of %zu)", how, (unsigned long)at, a->size);
}

void memory_launch_begins(uint64_t number) {
    now.launch = number & ((1u << (64 - THREAD_BITS - 1 - PHASE_BITS - BLOCK_BITS)) - 1);
    now.phase = 0;
}

void memory_block_begins(uint32_t block, uint32_t shared_bytes) {
    now.block = block;
    now.phase = 0;
    shared_memory.size = shared_bytes;
    memset(shared_memory.base, POISON, shared_bytes);
    memset(shared_memory.written, 0, shared_bytes);
    memset(shared_memory.writer, 0, shared_bytes * sizeof(Stamp));
    memset(shared_memory.reader, 0, shared_bytes * sizeof(Stamp));
}

void memory_barrier_passed(void) { now.phase++; }

/* What is in it, and what is written of it; who touched it is forgotten, since the barrier orders that. */
struct SharedMemory { uint32_t size; uint8_t bytes[]; };

SharedMemory *memory_block_leaves(SharedMemory *kept) {
    uint32_t size = (uint32_t)shared_memory.size;
    kept = realloc(kept, sizeof *kept + 2 * (size_t)size);
    kept->size = size;
    memcpy(kept->bytes, shared_memory.base, size);
    memcpy(kept->bytes + size, shared_memory.written, size);
    return kept;
}

void memory_block_returns(uint32_t block, const SharedMemory *kept) {
    memory_block_begins(block, kept->size);
    memcpy(shared_memory.base, kept->bytes, kept->size);
    memcpy(shared_memory.written, kept->bytes + kept->size, kept->size);
}

void memory_block_ends(SharedMemory *kept) { free(kept); }

/* Below 4 GiB, since code may keep addresses of shared memory in 32 bits. */
__attribute__((constructor)) static void shared_memory_begins(void) {
    shared_memory.kind = SHARED_MEMORY;
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;
    shared_memory.base = mmap(NULL, SHARED_LIMIT, PROT_READ | PROT_WRITE, how, -1, 0);
    shared_memory.written = calloc(SHARED_LIMIT, 1);
    shared_memory.writer = calloc(SHARED_LIMIT, sizeof(Stamp));
    shared_memory.reader = calloc(SHARED_LIMIT, sizeof(Stamp));
}

/* -- threads ----------------------------------------------------------------------------------------------------- */

static bool is_within(uint64_t address, unsigned size, const void *start, const void *end) {
    return address >= (uint64_t)start && address + size <= (uint64_t)end;
}

static Allocation *touched(const Insn *i, uint64_t address) {
    Allocation *a = i->seen;
    if (a && address - (uint64_t)a->base < a->size) return a;
    a = address - (uint64_t)shared_memory.base < SHARED_LIMIT ? &shared_memory : memory_find(address);
    return ((Insn *)i)->seen = a;
}

static const char *wrong_space(const Insn *i, const Allocation *a) {
    if (i->space == IN_SHARED && a->kind != SHARED_MEMORY) return "shared memory is where global memory is";
    if (i->space == IN_GLOBAL && a->kind == SHARED_MEMORY) return "global memory is where shared memory is";
    return i->space == IN_LOCAL ? "local memory is where others' is" : NULL;
}

static void watch_races(Thread *t, const Insn *i, Allocation *a, uint64_t at, unsigned size, Access access) {
    if (!a->writer && a->size <= MOST_STAMPED && a->kind != VARIABLE_MEMORY) {
        a->writer = calloc(a->size, sizeof(Stamp));
        a->reader = calloc(a->size, sizeof(Stamp));
    }
    if (a->writer) watch(t, i, a, at, size, access);
}

static void watch_holes(Thread *t, const Insn *i, Allocation *a, uint64_t at, unsigned size, Access access) {
    if (access != TO_WRITE && memchr(a->written + at, 0, size))
        thread_report(t, i, "reads byte %lu of %zu, which nobody wrote", (unsigned long)at, a->size);
    if (access != TO_READ) memset(a->written + at, 1, size);
}

/* Where an address is that belongs to nobody. */
static const char *beyond(uint64_t address) {
    static char text[120];
    size_t at = place_of(address);
    const Allocation *before = at ? all[at - 1] : NULL, *after = at < count ? all[at] : NULL;
    unsigned long past = before ? address - (uint64_t)before->base : 0;
    unsigned long missing = after ? (uint64_t)after->base - address : 0;
    if (before && past < before->size + GAP) snprintf(text, sizeof text, "at byte %lu of %zu", past, before->size);
    else if (after && missing <= GAP) snprintf(text, sizeof text, "%lu bytes in front of %zu", missing, after->size);
    else snprintf(text, sizeof text, "at %#lx, which is no memory of the device", (unsigned long)address);
    return text;
}

void memory_launch_is_given(const Range *ranges, int count) {
    now.ranges = ranges;
    now.range_count = count;
}

static bool was_given(const Insn *i, uint64_t address, unsigned size) {
    for (int k = 0; k < now.range_count; k++) {
        int which = (i->seen_range + k) % now.range_count;
        if (address < now.ranges[which].start || address + size > now.ranges[which].end) continue;
        ((Insn *)i)->seen_range = which;
        return true;
    }
    return now.range_count == 0;
}

uint8_t *memory_touch(Thread *t, const Insn *i, uint64_t address, unsigned size, Access access) {
    if (is_within(address, size, t->stack, t->stack_end)) return (uint8_t *)address;
    const uint8_t *end = t->parameters + t->kernel_parameter_bytes;
    if (access == TO_READ && is_within(address, size, t->parameters, end)) return (uint8_t *)address;
    Allocation *a = touched(i, address);
    const char *verb = access == TO_READ ? "reads" : access == TO_WRITE ? "writes" : "updates";
    if (!a) {
        thread_fail(t, i, "%s %u bytes %s", verb, size, beyond(address));
        return NULL;
    }
    uint64_t at = address - (uint64_t)a->base;
    if (a->is_free || at + size > a->size) {
        thread_fail(t, i, "%s %u bytes at byte %lu of %zu%s", verb, size, (unsigned long)at, a->size,
                    a->is_free ? ", which were freed" : "");
        return NULL;
    }
    const char *space = wrong_space(i, a);
    if (space) {
        thread_fail(t, i, "%s %#lx: %s", verb, (unsigned long)address, space);
        return NULL;
    }
    if (a->kind == DEVICE_MEMORY && !was_given(i, address, size))
        thread_report(t, i, "%s %u bytes at byte %lu of %zu, outside of the arrays that it was given", verb, size,
                      (unsigned long)at, a->size);
    if (a->written) watch_holes(t, i, a, at, size, access);
    watch_races(t, i, a, at, size, access);
    return (uint8_t *)address;
}
