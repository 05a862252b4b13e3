/* Streams and events. */
#include "driver.h"
#include <stdlib.h>

Event *all_events;

ENTRY cuStreamCreate(Stream **stream, unsigned flags) {
    LOCKED;
    *stream = stream_new(!(flags & 1));
    return CUDA_SUCCESS;
}

ENTRY cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
    CUresult result = cuStreamCreate(stream, flags);
    (*stream)->priority = priority;
    return result;
}

ENTRY cuStreamDestroy(void *stream) {
    LOCKED;
    Stream *s = stream_of(stream);
    if (!stream_is_known(s) || (uint64_t)stream <= 2) return CUDA_ERROR_INVALID_HANDLE;
    stream_delete(s);
    return CUDA_SUCCESS;
}

static CUresult waitable(Stream *s) {
    if (!stream_is_known(s)) return CUDA_ERROR_INVALID_HANDLE;
    return s->capturing ? while_capturing(s) : s->is_legacy ? while_capturing(NULL) : CUDA_SUCCESS;
}

ENTRY cuStreamSynchronize(void *stream) {
    LOCKED;
    CUresult problem = waitable(stream_of(stream));
    return problem ? problem : finish_stream(stream_of(stream));
}

/* What is asked for is done then, but only the next question is told so. */
static CUresult asked(Operation *o) {
    if (!o || o->is_done) return CUDA_SUCCESS;
    CUresult problem = finish(o);
    return problem ? problem : CUDA_ERROR_NOT_READY;
}

ENTRY cuStreamQuery(void *stream) {
    LOCKED;
    CUresult problem = waitable(stream_of(stream));
    return problem ? problem : asked(stream_of(stream)->last);
}

ENTRY cuStreamGetFlags(void *stream, unsigned *flags) {
    *flags = stream_of(stream)->is_blocking ? 0 : 1;
    return CUDA_SUCCESS;
}

ENTRY cuStreamGetPriority(void *stream, int *priority) {
    *priority = stream_of(stream)->priority;
    return CUDA_SUCCESS;
}

ENTRY cuStreamGetId(void *stream, uint64_t *id) {
    *id = stream_of(stream)->number;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(void **);
CUresult cuCtxGetDevice(int *);

ENTRY cuStreamGetCtx(void *stream, void **context) {
    (void)stream;
    return cuCtxGetCurrent(context);
}

ENTRY cuStreamGetDevice(void *stream, int *device) {
    (void)stream;
    return cuCtxGetDevice(device);
}

ENTRY cuLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
    LOCKED;
    Operation *o = operation_new(CALLBACK);
    o->callback = function;
    o->data = data;
    return enqueue(stream_of(stream), o);
}

typedef struct { void *stream; void (*function)(void *, CUresult, void *); void *data; } OldCallback;

static void call_old(void *data) {
    OldCallback *c = data;
    c->function(c->stream, CUDA_SUCCESS, c->data);
    free(c);
}

ENTRY cuStreamAddCallback(void *stream, void (*function)(void *, CUresult, void *), void *data, unsigned flags) {
    (void)flags;
    OldCallback *c = malloc(sizeof *c);
    *c = (OldCallback){stream, function, data};
    return cuLaunchHostFunc(stream, call_old, c);
}

/* -- events ------------------------------------------------------------------------------------------------------ */

ENTRY cuEventCreate(Event **event, unsigned flags) {
    LOCKED;
    (void)flags;
    Event *e = calloc(1, sizeof *e);
    e->next = all_events;
    *event = all_events = e;
    return CUDA_SUCCESS;
}

static bool is_known(Event *e) {
    for (Event *o = all_events; o; o = o->next)
        if (o == e) return true;
    return false;
}

ENTRY cuEventDestroy(Event *e) {
    LOCKED;
    if (!is_known(e)) return CUDA_ERROR_INVALID_HANDLE;
    for (Event **o = &all_events; *o; o = &(*o)->next)
        if (*o == e) {
            *o = e->next;
            break;
        }
    if (e->recorded) operation_drop(e->recorded);
    free(e->tips);
    free(e);
    return CUDA_SUCCESS;
}

ENTRY cuEventRecord(Event *e, void *stream) {
    LOCKED;
    Stream *s = stream_of(stream);
    if (!is_known(e) || !stream_is_known(s)) return CUDA_ERROR_INVALID_HANDLE;
    if (e->recorded) operation_drop(e->recorded);
    e->recorded = NULL;
    e->captured = NULL;
    e->is_stale = false;
    if (s->capturing) return capture_event(s, e);
    e->recorded = operation_held(operation_new(NOTHING_TO_DO));
    return enqueue(s, e->recorded);
}

ENTRY cuEventRecordWithFlags(Event *e, void *stream, unsigned flags) {
    (void)flags;
    return cuEventRecord(e, stream);
}

ENTRY cuStreamWaitEvent(void *stream, Event *e, unsigned flags) {
    LOCKED;
    (void)flags;
    Stream *s = stream_of(stream);
    if (!is_known(e) || !stream_is_known(s)) return CUDA_ERROR_INVALID_HANDLE;
    if (e->is_stale) return CUDA_ERROR_CAPTURED_EVENT;
    if (e->captured || (s->capturing && e->recorded)) return capture_wait(s, e);
    if (!e->recorded) return CUDA_SUCCESS;
    Operation *o = operation_new(NOTHING_TO_DO);
    operation_after(o, e->recorded);
    return enqueue(s, o);
}

static CUresult usable(Event *e) {
    if (!is_known(e)) return CUDA_ERROR_INVALID_HANDLE;
    return e->captured || e->is_stale ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
}

ENTRY cuEventSynchronize(Event *e) {
    LOCKED;
    CUresult problem = usable(e);
    return problem || !e->recorded ? problem : finish(e->recorded);
}

ENTRY cuEventQuery(Event *e) {
    LOCKED;
    CUresult problem = usable(e);
    return problem ? problem : asked(e->recorded);
}

/* Nothing here takes any time. */
ENTRY cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    LOCKED;
    if (!is_known(start) || !is_known(end) || !start->recorded || !end->recorded) return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = 0;
    return start->recorded->is_done && end->recorded->is_done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

#define NAMED(name) {#name, name}
const Entry stream_entries[] = {
    NAMED(cuStreamCreate), NAMED(cuStreamCreateWithPriority), NAMED(cuStreamDestroy), NAMED(cuStreamSynchronize),
    NAMED(cuStreamQuery), NAMED(cuStreamGetFlags), NAMED(cuStreamGetPriority), NAMED(cuStreamGetId),
    NAMED(cuStreamGetCtx), NAMED(cuStreamGetDevice), NAMED(cuLaunchHostFunc), NAMED(cuStreamAddCallback),
    NAMED(cuEventCreate), NAMED(cuEventDestroy), NAMED(cuEventRecord), NAMED(cuEventRecordWithFlags),
    NAMED(cuStreamWaitEvent), NAMED(cuEventSynchronize), NAMED(cuEventQuery), NAMED(cuEventElapsedTime), {NULL, NULL}};
