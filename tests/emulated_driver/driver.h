/* What the entry points of the driver share: result codes, streams and what is queued on them, graphs. */
#pragma once
#include "memory.h"

typedef int CUresult;
enum {
    CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_OUT_OF_MEMORY = 2, CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100, CUDA_ERROR_INVALID_DEVICE = 101, CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209, CUDA_ERROR_INVALID_PTX = 218, CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500, CUDA_ERROR_NOT_READY = 600, CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720, CUDA_ERROR_NOT_SUPPORTED = 801,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901, CUDA_ERROR_STREAM_CAPTURE_MERGE = 902,
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903, CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904,
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
    CUDA_ERROR_CAPTURED_EVENT = 907, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910
};

typedef struct Operation Operation;
typedef struct Stream Stream;
typedef struct Event Event;
typedef struct Graph Graph;

/* Something to be done on the device; on a stream, or a node of a graph. */
typedef enum { NOTHING_TO_DO, KERNEL, COPY, FILL, CALLBACK, RELEASE } Work;

struct Operation {
    Work work;
    Launch launch;               /* its parameters belong to the operation */
    Module *module;
    uint64_t to, from;
    size_t size;                 /* of a copy, elements of a fill */
    uint32_t value, width;       /* of a fill */
    void *staged;                /* what is copied from memory of the host that may change after the call */
    void (*callback)(void *);
    void *data;

    Operation **after;           /* what has to be done before */
    int after_count, after_room;
    int users;                   /* who refers to it: queues, events, graphs, operations that come after */
    bool is_done;
    int index;                   /* in its graph */
};

struct Stream {
    bool is_blocking, is_legacy; /* blocking ones keep order with the legacy stream */
    bool is_destroyed;           /* with work that is not done yet */
    Operation *last;
    Graph *capturing;
    Operation **tips;            /* of a capture: the nodes that what comes next depends on */
    int tip_count;
    int priority;
    uint64_t number;
    Stream *next;
};

struct Event {
    Operation *recorded;
    Graph *captured;             /* where it was recorded during a capture */
    bool is_stale;               /* ... that has ended: it has to be recorded again */
    Operation **tips;
    int tip_count;
    Event *next;
};

struct Graph {
    Operation **nodes;
    int count, room;
    Stream *origin;              /* while it is captured */
    int mode;
    bool is_broken;
    uint64_t number;
    Operation *last;             /* of a graph that can be launched: its last launch */
};

/* -- queues ------------------------------------------------------------------------------------------------------ */

Stream *stream_of(void *handle);
Stream *stream_new(bool is_blocking);
bool stream_is_known(Stream *);
void stream_delete(Stream *);
extern Stream *all_streams;
extern Event *all_events;

Operation *operation_new(Work);
/* Another one that does the same; its predecessors are not copied. */
Operation *operation_copy(const Operation *);
void operation_after(Operation *, Operation *before);
void operation_drop(Operation *);
Operation *operation_held(Operation *);

/* Queue an operation, or add it to the graph that the stream captures. It belongs to the queue then. */
CUresult enqueue(Stream *, Operation *);
/* Do what has to be done for an operation, and then itself. Returns the first failure. */
CUresult finish(Operation *);
CUresult finish_stream(Stream *);
CUresult finish_all(void);

/* -- graphs ------------------------------------------------------------------------------------------------------ */

/* What is captured: the stream's operation becomes a node. */
CUresult capture(Stream *, Operation *);
CUresult capture_event(Stream *, Event *);
CUresult capture_wait(Stream *, Event *);
/* An error where what is about to be done is not allowed during a capture. */
CUresult while_capturing(Stream *waited_for);
CUresult capture_forbids_unsafe(void);
void graph_drop(Graph *);

/* -- entry points ------------------------------------------------------------------------------------------------ */

void lock(void);
void unlock(int *);
/* How much of everything there is. */
enum { MULTIPROCESSORS = 2, THREADS_OF_MULTIPROCESSOR = 2048 };

#define ENTRY __attribute__((visibility("default"))) CUresult
#define LOCKED int locked __attribute__((cleanup(unlock), unused)) = (lock(), 0)

typedef struct { const char *name; void *function; } Entry;
extern const Entry device_entries[], memory_entries[], stream_entries[], module_entries[], graph_entries[];
