/* Graphs: captured from streams, copied to what can be launched, updated, launched. */
#include "driver.h"
#include <stdlib.h>
#include <string.h>

/* -- graphs ------------------------------------------------------------------------------------------------------ */

static Graph *graph_new(void) {
    static uint64_t numbers;
    Graph *g = calloc(1, sizeof *g);
    g->number = ++numbers;
    return g;
}

static Operation *graph_add(Graph *g, Operation *node) {
    if (g->count == g->room) {
        g->room = 2 * g->room + 8;
        g->nodes = realloc(g->nodes, g->room * sizeof *g->nodes);
    }
    node->index = g->count;
    return g->nodes[g->count++] = node;
}

void graph_drop(Graph *g) {
    for (int k = 0; k < g->count; k++) operation_drop(g->nodes[k]);
    if (g->last) operation_drop(g->last);
    free(g->nodes);
    free(g);
}

static Graph *graph_copy(const Graph *of) {
    Graph *g = graph_new();
    for (int k = 0; k < of->count; k++) {
        Operation *node = graph_add(g, operation_copy(of->nodes[k]));
        for (int j = 0; j < of->nodes[k]->after_count; j++)
            operation_after(node, g->nodes[of->nodes[k]->after[j]->index]);
    }
    return g;
}

/* -- captures ---------------------------------------------------------------------------------------------------- */

static void set_tips(Operation ***tips, int *count, Operation *const *nodes, int n) {
    Operation **copy = malloc((n + 1) * sizeof *copy);
    for (int k = 0; k < n; k++) copy[k] = nodes[k];
    free(*tips);
    *tips = copy;
    *count = n;
}

CUresult capture(Stream *s, Operation *o) {
    Graph *g = s->capturing;
    if (g->is_broken) {
        operation_drop(o);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    graph_add(g, o);
    for (int k = 0; k < s->tip_count; k++) operation_after(o, s->tips[k]);
    set_tips(&s->tips, &s->tip_count, &o, 1);
    return CUDA_SUCCESS;
}

CUresult capture_event(Stream *s, Event *e) {
    e->captured = s->capturing;
    set_tips(&e->tips, &e->tip_count, s->tips, s->tip_count);
    return CUDA_SUCCESS;
}

/* A stream that waits for what is captured takes part in the capture. */
CUresult capture_wait(Stream *s, Event *e) {
    if (s->capturing && e->captured != s->capturing) {
        s->capturing->is_broken = true;
        return e->captured ? CUDA_ERROR_STREAM_CAPTURE_MERGE : CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (s->is_legacy) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    s->capturing = e->captured;
    s->tips = realloc(s->tips, (s->tip_count + e->tip_count + 1) * sizeof *s->tips);
    for (int k = 0; k < e->tip_count; k++) s->tips[s->tip_count++] = e->tips[k];
    return CUDA_SUCCESS;
}

/* The legacy stream would have to wait for blocking streams that capture, and so would who waits for a stream that
 * does: that breaks the capture. */
CUresult while_capturing(Stream *waited_for) {
    for (Stream *s = all_streams; s; s = s->next) {
        if (!s->capturing || (waited_for ? s != waited_for : !s->is_blocking)) continue;
        s->capturing->is_broken = true;
        return waited_for ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    return CUDA_SUCCESS;
}

#define RELAXED 2

CUresult capture_forbids_unsafe(void) {
    for (Stream *s = all_streams; s; s = s->next)
        if (s->capturing && s->capturing->mode != RELAXED) {
            s->capturing->is_broken = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    return CUDA_SUCCESS;
}

ENTRY cuStreamBeginCapture(void *stream, int mode) {
    LOCKED;
    Stream *s = stream_of(stream);
    if (s->is_legacy || !stream_is_known(s)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (s->capturing) return CUDA_ERROR_INVALID_VALUE;
    s->capturing = graph_new();
    s->capturing->origin = s;
    s->capturing->mode = mode;
    set_tips(&s->tips, &s->tip_count, NULL, 0);
    return CUDA_SUCCESS;
}

static void mark_before(const Operation *o, char *marked) {
    if (marked[o->index]) return;
    marked[o->index] = 1;
    for (int k = 0; k < o->after_count; k++) mark_before(o->after[k], marked);
}

/* True where all that streams added comes before what the first stream has come to. */
static bool is_joined(const Graph *g) {
    char *marked = calloc(g->count + 1, 1);
    for (int k = 0; k < g->origin->tip_count; k++) mark_before(g->origin->tips[k], marked);
    bool joined = !memchr(marked, 0, g->count);
    free(marked);
    return joined;
}

static void capture_ends(Graph *g) {
    for (Stream *s = all_streams; s; s = s->next)
        if (s->capturing == g) {
            s->capturing = NULL;
            s->tip_count = 0;
        }
    for (Event *e = all_events; e; e = e->next)
        if (e->captured == g) {
            e->captured = NULL;
            e->is_stale = true;
        }
    g->origin = NULL;
}

ENTRY cuStreamEndCapture(void *stream, Graph **graph) {
    LOCKED;
    Stream *s = stream_of(stream);
    Graph *g = s->capturing;
    *graph = NULL;
    if (!g) return CUDA_ERROR_INVALID_VALUE;
    if (g->origin != s) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    CUresult result = g->is_broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                      : is_joined(g) ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    capture_ends(g);
    if (result) graph_drop(g);
    else *graph = g;
    return result;
}

static int status_of(const Stream *s) { return !s->capturing ? 0 : s->capturing->is_broken ? 2 : 1; }

ENTRY cuStreamIsCapturing(void *stream, int *status) {
    LOCKED;
    Stream *s = stream_of(stream);
    if (s->is_legacy && while_capturing(NULL)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    *status = status_of(s);
    return CUDA_SUCCESS;
}

ENTRY cuStreamGetCaptureInfo(void *stream, int *status, uint64_t *id, Graph **graph, Operation ***tips,
                             const void **edges, size_t *count) {
    LOCKED;
    Stream *s = stream_of(stream);
    *status = status_of(s);
    if (id) *id = s->capturing ? s->capturing->number : 0;
    if (graph) *graph = s->capturing;
    if (tips) *tips = s->tips;
    if (edges) *edges = NULL;
    if (count) *count = (size_t)s->tip_count;
    return CUDA_SUCCESS;
}

ENTRY cuThreadExchangeStreamCaptureMode(int *mode) {
    static __thread int own;
    int before = own;
    own = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}

/* -- launching --------------------------------------------------------------------------------------------------- */

ENTRY cuGraphInstantiateWithFlags(Graph **made, Graph *graph, uint64_t flags) {
    LOCKED;
    (void)flags;
    *made = graph_copy(graph);
    return CUDA_SUCCESS;
}

typedef struct { uint64_t flags; void *upload; Operation *error_node; int result; } InstantiateParameters;

ENTRY cuGraphInstantiateWithParams(Graph **made, Graph *graph, InstantiateParameters *parameters) {
    parameters->result = 0;
    parameters->error_node = NULL;
    return cuGraphInstantiateWithFlags(made, graph, parameters->flags);
}

ENTRY cuGraphUpload(Graph *exec, void *stream) {
    (void)exec, (void)stream;
    return CUDA_SUCCESS;
}

/* A launch queues copies of the nodes, so that updates change later launches alone. Nodes without an order between
 * them have none here, either. */
ENTRY cuGraphLaunch(Graph *exec, void *stream) {
    LOCKED;
    Stream *s = stream_of(stream);
    if (s->capturing) return CUDA_ERROR_NOT_SUPPORTED;
    Operation *start = operation_new(NOTHING_TO_DO), *end = operation_new(NOTHING_TO_DO);
    operation_after(start, exec->last);
    CUresult problem = enqueue(s, operation_held(start));
    Operation **made = malloc((exec->count + 1) * sizeof *made);
    for (int k = 0; k < exec->count; k++) {
        made[k] = operation_copy(exec->nodes[k]);
        operation_after(made[k], start);
        for (int j = 0; j < exec->nodes[k]->after_count; j++)
            operation_after(made[k], made[exec->nodes[k]->after[j]->index]);
        operation_after(end, made[k]);
    }
    for (int k = 0; k < exec->count; k++) operation_drop(made[k]);
    free(made);
    operation_drop(start);
    if (exec->last) operation_drop(exec->last);
    exec->last = operation_held(end);
    return problem ? problem : enqueue(s, end);
}

/* -- updating ---------------------------------------------------------------------------------------------------- */

typedef struct {
    Function *function;
    uint32_t grid[3], block[3], shared;
    void **parameters, **extra;
    Function *kernel;
    void *context;
} NodeParameters;

void *copied_parameters(const Function *f, void **parameters);

static void set_kernel(Operation *node, const NodeParameters *p) {
    Function *f = p->function ? p->function : p->kernel;
    free((void *)node->launch.parameters);
    f->module->handles++;
    if (!--node->module->handles) module_free(node->module);
    node->module = f->module;
    node->launch = (Launch){f, {p->grid[0], p->grid[1], p->grid[2]}, {p->block[0], p->block[1], p->block[2]}, p->shared,
                            copied_parameters(f, p->parameters), node->launch.is_cooperative};
}

ENTRY cuGraphExecKernelNodeSetParams(Graph *exec, Operation *node, const NodeParameters *parameters) {
    LOCKED;
    if (node->index >= exec->count || exec->nodes[node->index]->work != KERNEL) return CUDA_ERROR_INVALID_VALUE;
    set_kernel(exec->nodes[node->index], parameters);
    return CUDA_SUCCESS;
}

ENTRY cuGraphKernelNodeSetParams(Operation *node, const NodeParameters *parameters) {
    LOCKED;
    if (node->work != KERNEL) return CUDA_ERROR_INVALID_VALUE;
    set_kernel(node, parameters);
    return CUDA_SUCCESS;
}

/* The places of the parameters are those of the kernel's, in memory of the node. */
ENTRY cuGraphKernelNodeGetParams(Operation *node, NodeParameters *p) {
    LOCKED;
    if (node->work != KERNEL) return CUDA_ERROR_INVALID_VALUE;
    const Launch *l = &node->launch;
    const Function *f = l->function;
    void **places = module_memory(f->module, (f->input_count + 1) * sizeof *places);
    for (int k = 0; k < f->input_count; k++) places[k] = (void *)(l->parameters + f->inputs[k].offset);
    *p = (NodeParameters){.function = (Function *)f, .grid = {l->grid.x, l->grid.y, l->grid.z}, .parameters = places,
                          .block = {l->block.x, l->block.y, l->block.z}, .shared = l->dynamic_shared};
    return CUDA_SUCCESS;
}

typedef struct { int result; Operation *node, *from; } UpdateResult;

static bool same_shape(const Operation *a, const Operation *b) {
    bool same = a->work == b->work && a->after_count == b->after_count;
    for (int k = 0; same && k < a->after_count; k++) same = a->after[k]->index == b->after[k]->index;
    return same;
}

ENTRY cuGraphExecUpdate(Graph *exec, Graph *graph, UpdateResult *result) {
    LOCKED;
    enum { TOPOLOGY_CHANGED = 2 };
    bool same = exec->count == graph->count;
    for (int k = 0; same && k < graph->count; k++) same = same_shape(exec->nodes[k], graph->nodes[k]);
    *result = (UpdateResult){same ? 0 : TOPOLOGY_CHANGED, NULL, NULL};
    if (!same) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    Graph *changed = graph_copy(graph), swapped = *exec;
    exec->nodes = changed->nodes, exec->count = changed->count, exec->room = changed->room;
    changed->nodes = swapped.nodes, changed->count = swapped.count, changed->room = swapped.room;
    graph_drop(changed);
    return CUDA_SUCCESS;
}

/* -- the rest ---------------------------------------------------------------------------------------------------- */

ENTRY cuGraphDestroy(Graph *graph) {
    LOCKED;
    graph_drop(graph);
    return CUDA_SUCCESS;
}

ENTRY cuGraphExecDestroy(Graph *exec) { return cuGraphDestroy(exec); }

ENTRY cuGraphCreate(Graph **graph, unsigned flags) {
    LOCKED;
    (void)flags;
    *graph = graph_new();
    return CUDA_SUCCESS;
}

ENTRY cuGraphClone(Graph **clone, Graph *graph) {
    LOCKED;
    *clone = graph_copy(graph);
    return CUDA_SUCCESS;
}

ENTRY cuGraphGetNodes(Graph *graph, Operation **nodes, size_t *count) {
    LOCKED;
    for (int k = 0; nodes && k < graph->count && k < (int)*count; k++) nodes[k] = graph->nodes[k];
    *count = (size_t)graph->count;
    return CUDA_SUCCESS;
}

ENTRY cuGraphNodeGetType(Operation *node, int *type) {
    static const int types[] = {[NOTHING_TO_DO] = 5, [KERNEL] = 0, [COPY] = 1, [FILL] = 2, [CALLBACK] = 3};
    *type = types[node->work];
    return CUDA_SUCCESS;
}

#define NAMED(name) {#name, name}
const Entry graph_entries[] = {
    NAMED(cuStreamBeginCapture), NAMED(cuStreamEndCapture), NAMED(cuStreamIsCapturing), NAMED(cuStreamGetCaptureInfo),
    NAMED(cuThreadExchangeStreamCaptureMode), NAMED(cuGraphInstantiateWithFlags), NAMED(cuGraphInstantiateWithParams),
    {"cuGraphInstantiate", cuGraphInstantiateWithFlags}, NAMED(cuGraphUpload), NAMED(cuGraphLaunch),
    NAMED(cuGraphExecKernelNodeSetParams), NAMED(cuGraphKernelNodeSetParams), NAMED(cuGraphKernelNodeGetParams),
    NAMED(cuGraphExecUpdate), NAMED(cuGraphDestroy), NAMED(cuGraphExecDestroy), NAMED(cuGraphCreate),
    NAMED(cuGraphClone), NAMED(cuGraphGetNodes), NAMED(cuGraphNodeGetType), {NULL, NULL}};
