/* The memory of the device: allocations that know which of their bytes were written, and who touched them last. */
#pragma once
#include "ptx.h"

typedef enum { DEVICE_MEMORY, HOST_MEMORY, MANAGED_MEMORY, VARIABLE_MEMORY, SHARED_MEMORY } MemoryKind;

/* Who touched a byte: launch, block, the number of the barrier before, thread, and whether it was an atomic. */
typedef uint64_t Stamp;

struct Allocation {
    uint8_t *base;
    size_t size;
    MemoryKind kind;
    bool is_free, owns;
    uint8_t *written;            /* one for each byte; NULL where all count as written */
    Stamp *writer, *reader;      /* one for each byte; NULL until a kernel comes, and where there are too many */
    uint64_t number;
    void *whole;
};

typedef enum { TO_READ, TO_WRITE, TO_UPDATE } Access;

Allocation *memory_new(size_t size, MemoryKind);
Allocation *memory_adopt(void *base, size_t size, MemoryKind);
/* Take an allocation out of use; false where the address is not the start of one. */
bool memory_free(uint64_t address, MemoryKind);
/* The allocation of an address, freed ones as well; NULL where there is none. */
Allocation *memory_find(uint64_t address);
size_t memory_in_use(void);

/* What is wrong with a copy or fill of some bytes; NULL where nothing is. */
const char *memory_problem(uint64_t address, size_t size);
/* The first of some bytes that nobody wrote; NULL where all were written. */
const char *memory_hole(uint64_t address, size_t size);
/* Bytes are written, as far as those they come from were: 0 for bytes of the host. */
void memory_written(uint64_t address, size_t size, uint64_t from);

/* The bytes that a thread touches; NULL, after a report, where it must not. */
uint8_t *memory_touch(Thread *, const Insn *, uint64_t address, unsigned size, Access);
/* The arrays that a launch was given, beyond which it has nothing to touch; none where they are not known. */
typedef struct { uint64_t start, end; } Range;
void memory_launch_is_given(const Range *, int count);
/* A new launch, block or barrier, after which other threads' accesses are in order. */
void memory_launch_begins(uint64_t number);
void memory_block_begins(uint32_t block, uint32_t shared_bytes);
void memory_barrier_passed(void);
/* The shared memory of a block that waits while other blocks run. */
typedef struct SharedMemory SharedMemory;
SharedMemory *memory_block_leaves(SharedMemory *);
void memory_block_returns(uint32_t block, const SharedMemory *);
void memory_block_ends(SharedMemory *);
extern Allocation shared_memory;
#define SHARED_LIMIT (227 * 1024)

/* -- findings ---------------------------------------------------------------------------------------------------- */

/* Which part of the reports is being written: another one after they were taken. */
extern uint32_t reports_part;
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
