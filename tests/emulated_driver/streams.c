/* Streams as late as possible: what is queued is done when somebody waits for it, after no more than it has to be
 * after. Work that lacks a wait for other work finds that the other work has not been done. */
#include "driver.h"
#include <stdlib.h>
#include <string.h>

static Stream legacy = {.is_blocking = true, .is_legacy = true}, per_thread = {.is_blocking = true, .next = &legacy};
Stream *all_streams = &per_thread;
static uint64_t numbers;

/* -- streams ----------------------------------------------------------------------------------------------------- */

static Stream gone;                      /* what a handle means that no stream has */

Stream *stream_of(void *handle) {
    if ((uint64_t)handle <= 2) return (uint64_t)handle == 2 ? &per_thread : &legacy;
    for (Stream *s = all_streams; s; s = s->next)
        if (s == handle && !s->is_destroyed) return s;
    report("%p is no stream, or one that was destroyed", handle);
    return &gone;
}

bool stream_is_known(Stream *s) { return s != &gone; }

Stream *stream_new(bool is_blocking) {
    Stream *s = calloc(1, sizeof *s);
    *s = (Stream){.is_blocking = is_blocking, .number = ++numbers, .next = all_streams};
    return all_streams = s;
}

static void stream_free(Stream *s) {
    for (Stream **o = &all_streams; *o; o = &(*o)->next)
        if (*o == s) {
            *o = s->next;
            break;
        }
    if (s->last) operation_drop(s->last);
    free(s->tips);
    free(s);
}

/* What is queued on it is still done, when somebody waits for all. */
void stream_delete(Stream *s) {
    s->is_destroyed = true;
    if (!s->last || s->last->is_done) stream_free(s);
}

/* -- operations -------------------------------------------------------------------------------------------------- */

Operation *operation_new(Work work) {
    Operation *o = calloc(1, sizeof *o);
    o->work = work;
    o->users = 1;
    return o;
}

Operation *operation_copy(const Operation *of) {
    Operation *o = operation_new(of->work);
    *o = *of;
    o->after = NULL;
    o->after_count = o->after_room = 0;
    o->users = 1;
    o->is_done = false;
    if (of->work == KERNEL) {
        size_t size = of->launch.function->parameter_bytes;
        o->launch.parameters = memcpy(malloc(size + 1), of->launch.parameters, size);
        o->module->handles++;
    }
    if (of->staged) o->staged = memcpy(malloc(of->size + 1), of->staged, of->size);
    return o;
}

Operation *operation_held(Operation *o) {
    o->users++;
    return o;
}

void operation_after(Operation *o, Operation *before) {
    if (!before || before->is_done) return;
    if (o->after_count == o->after_room) {
        o->after_room = 2 * o->after_room + 2;
        o->after = realloc(o->after, o->after_room * sizeof *o->after);
    }
    o->after[o->after_count++] = operation_held(before);
}

static void forget_predecessors(Operation *o) {
    for (int k = 0; k < o->after_count; k++) operation_drop(o->after[k]);
    free(o->after);
    o->after = NULL;
    o->after_count = o->after_room = 0;
}

void operation_drop(Operation *o) {
    if (--o->users) return;
    forget_predecessors(o);
    if (o->work == KERNEL) {
        free((void *)o->launch.parameters);
        if (!--o->module->handles) module_free(o->module);
    }
    free(o->staged);
    free(o);
}

/* -- doing them -------------------------------------------------------------------------------------------------- */

static CUresult checked(const char *verb, uint64_t address, size_t size) {
    const char *problem = memory_problem(address, size);
    if (problem) report("a copy or fill %s %s", verb, problem);
    return problem ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

/* Memory that nobody wrote may be copied, as the gaps between arrays are; but it should not come to the user. */
static CUresult do_copy(Operation *o) {
    CUresult read = o->staged ? CUDA_SUCCESS : checked("reads", o->from, o->size);
    CUresult written = checked("writes", o->to, o->size);
    if (read || written) return read ? read : written;
    const char *hole = o->staged || memory_find(o->to) ? NULL : memory_hole(o->from, o->size);
    if (hole) report("a copy to the host reads %s", hole);
    memmove((void *)o->to, o->staged ? o->staged : (void *)o->from, o->size);
    memory_written(o->to, o->size, o->staged ? 0 : o->from);
    return CUDA_SUCCESS;
}

static CUresult do_fill(Operation *o) {
    CUresult problem = checked("writes", o->to, o->size * o->width);
    for (size_t k = 0; !problem && k < o->size; k++) memcpy((uint8_t *)o->to + k * o->width, &o->value, o->width);
    if (!problem) memory_written(o->to, o->size * o->width, 0);
    return problem;
}

static CUresult do_now(Operation *o) {
    switch (o->work) {
    case KERNEL: return launch_run(&o->launch) ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_ADDRESS;
    case COPY: return do_copy(o);
    case FILL: return do_fill(o);
    case CALLBACK: o->callback(o->data); return CUDA_SUCCESS;
    case RELEASE: return memory_free(o->to, DEVICE_MEMORY) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    default: return CUDA_SUCCESS;
    }
}

/* Depth first, the predecessor that was named last before the others: as far from the order of the calls as waits
 * allow. A stack of its own, since queues may be long. */
CUresult finish(Operation *o) {
    Operation **stack = NULL;
    int depth = 0, room = 0;
    CUresult result = CUDA_SUCCESS;
    for (Operation *top = operation_held(o); top;) {
        Operation *before = NULL;
        for (int k = 0; k < top->after_count; k++)
            if (!top->after[k]->is_done) before = top->after[k];
        if (before) {
            if (depth == room) stack = realloc(stack, (room = 2 * room + 64) * sizeof *stack);
            stack[depth++] = top;
            top = operation_held(before);
            continue;
        }
        if (!top->is_done && !result) result = do_now(top);   /* what comes after a failure is not done */
        top->is_done = true;
        forget_predecessors(top);
        operation_drop(top);
        top = depth ? stack[--depth] : NULL;
    }
    free(stack);
    return result;
}

CUresult finish_stream(Stream *s) {
    if (!stream_is_known(s)) return CUDA_ERROR_INVALID_HANDLE;
    return s->last ? finish(s->last) : CUDA_SUCCESS;
}

/* The newest stream first. */
CUresult finish_all(void) {
    CUresult result = CUDA_SUCCESS;
    for (Stream *s = all_streams, *next; s; s = next) {
        CUresult problem = finish_stream(s);
        result = result ? result : problem;
        next = s->next;
        if (s->is_destroyed) stream_free(s);
    }
    return result;
}

/* -- queues ------------------------------------------------------------------------------------------------------ */

CUresult enqueue(Stream *s, Operation *o) {
    if (s->capturing) return capture(s, o);
    CUresult forbidden = s->is_legacy ? while_capturing(NULL) : CUDA_SUCCESS;
    if (!stream_is_known(s)) forbidden = CUDA_ERROR_INVALID_HANDLE;
    if (forbidden) {
        operation_drop(o);
        return forbidden;
    }
    operation_after(o, s->last);
    for (Stream *other = all_streams; other; other = other->next)
        if (other != s && s->is_blocking && other->is_blocking && (s->is_legacy || other->is_legacy))
            operation_after(o, other->last);
    if (s->last) operation_drop(s->last);
    s->last = o;
    return CUDA_SUCCESS;
}
