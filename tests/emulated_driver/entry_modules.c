/* Modules of PTX, their kernels, and launches. What the linker makes is the text that it was given. */
#include "driver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- linking ----------------------------------------------------------------------------------------------------- */

typedef struct { char *text; size_t size; } Link;

ENTRY cuLinkCreate(unsigned count, int *options, void **values, Link **made) {
    (void)count, (void)options, (void)values;
    *made = calloc(1, sizeof **made);
    return CUDA_SUCCESS;
}

#define TYPE_PTX 1

ENTRY cuLinkAddData(Link *link, int type, const void *data, size_t size, const char *name, unsigned count, int *options,
                    void **values) {
    (void)count, (void)options, (void)values;
    if (type != TYPE_PTX) {
        report("the linker takes PTX, and %s is of type %d", name ? name : "this", type);
        return CUDA_ERROR_INVALID_PTX;
    }
    while (size && !((const char *)data)[size - 1]) size--;
    link->text = realloc(link->text, link->size + size + 2);
    memcpy(link->text + link->size, data, size);
    link->size += size;
    link->text[link->size++] = '\n';
    link->text[link->size] = 0;
    return CUDA_SUCCESS;
}

ENTRY cuLinkComplete(Link *link, void **image, size_t *size) {
    *image = link->text;
    *size = link->size + 1;
    return link->text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

ENTRY cuLinkDestroy(Link *link) {
    free(link->text);
    free(link);
    return CUDA_SUCCESS;
}

/* -- modules ----------------------------------------------------------------------------------------------------- */

static CUresult load(Module **module, const char *image) {
    LOCKED;
    CUresult forbidden = capture_forbids_unsafe();
    if (forbidden) return forbidden;
    if (!memcmp(image, "\177ELF", 4)) {
        report("a module of machine code: only PTX is interpreted");
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    *module = module_read(image);
    (*module)->handles = 1;
    if (!(*module)->problem[0]) return CUDA_SUCCESS;
    report("PTX that is not understood: %s", (*module)->problem);
    module_free(*module);
    return CUDA_ERROR_INVALID_PTX;
}

static CUresult unload(Module *module) {
    LOCKED;
    CUresult problem = finish_all();
    if (!--module->handles) module_free(module);
    return problem;
}

static CUresult find(Function **function, Module *module, const char *name) {
    LOCKED;
    *function = module_function(module, name);
    return *function && (*function)->is_entry ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

static CUresult find_variable(uint64_t *address, size_t *size, Module *module, const char *name) {
    for (int k = 0; k < module->variable_count; k++)
        if (!strcmp(module->variable_names[k], name)) {
            if (address) *address = (uint64_t)module->variables[k]->base;
            if (size) *size = module->variables[k]->size;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

ENTRY cuModuleLoadData(Module **module, const void *image) { return load(module, image); }
ENTRY cuModuleLoadDataEx(Module **module, const void *image, unsigned count, int *options, void **values) {
    (void)count, (void)options, (void)values;
    return load(module, image);
}
ENTRY cuModuleUnload(Module *module) { return unload(module); }
ENTRY cuModuleGetFunction(Function **found, Module *module, const char *name) { return find(found, module, name); }
ENTRY cuModuleGetGlobal(uint64_t *address, size_t *size, Module *module, const char *name) {
    return find_variable(address, size, module, name);
}

ENTRY cuLibraryLoadData(Module **library, const void *image, int *options, void **values, unsigned count,
                        int *library_options, void **library_values, unsigned library_count) {
    (void)options, (void)values, (void)count, (void)library_options, (void)library_values, (void)library_count;
    return load(library, image);
}
ENTRY cuLibraryUnload(Module *library) { return unload(library); }
ENTRY cuLibraryGetKernel(Function **kernel, Module *library, const char *name) { return find(kernel, library, name); }
ENTRY cuLibraryGetModule(Module **module, Module *library) {
    *module = library;
    return CUDA_SUCCESS;
}
ENTRY cuLibraryGetGlobal(uint64_t *address, size_t *size, Module *library, const char *name) {
    return find_variable(address, size, library, name);
}

/* -- kernels ----------------------------------------------------------------------------------------------------- */

static uint32_t threads_of(const Function *f) { return f->most_threads ? f->most_threads : 1024; }

/* By CUfunction_attribute: threads, shared, constant and local bytes, registers, versions, most dynamic shared. */
ENTRY cuFuncGetAttribute(int *value, int attribute, const Function *f) {
    int known[10] = {(int)threads_of(f), (int)f->module->shared_bytes, 0, 0, 32, 80, 80, 0, 49152, -1};
    if (attribute < 0 || attribute >= 10) return CUDA_ERROR_INVALID_VALUE;
    *value = known[attribute];
    return CUDA_SUCCESS;
}

ENTRY cuKernelGetAttribute(int *value, int attribute, const Function *f, int device) {
    (void)device;
    return cuFuncGetAttribute(value, attribute, f);
}

ENTRY cuFuncSetAttribute(const Function *f, int attribute, int value) {
    (void)f, (void)attribute, (void)value;
    return CUDA_SUCCESS;
}
ENTRY cuFuncSetCacheConfig(const Function *f, int value) { return cuFuncSetAttribute(f, 0, value); }
ENTRY cuKernelSetAttribute(int attribute, int value, const Function *f, int device) {
    (void)device;
    return cuFuncSetAttribute(f, attribute, value);
}
ENTRY cuKernelSetCacheConfig(const Function *f, int value, int device) {
    (void)device;
    return cuFuncSetAttribute(f, 0, value);
}

ENTRY cuKernelGetFunction(const Function **function, const Function *kernel) {
    *function = kernel;
    return CUDA_SUCCESS;
}

ENTRY cuKernelGetLibrary(Module **library, const Function *kernel) {
    *library = kernel->module;
    return CUDA_SUCCESS;
}
ENTRY cuFuncGetModule(Module **module, const Function *f) { return cuKernelGetLibrary(module, f); }

ENTRY cuFuncGetName(const char **name, const Function *f) {
    *name = f->name;
    return CUDA_SUCCESS;
}
ENTRY cuKernelGetName(const char **name, const Function *f) { return cuFuncGetName(name, f); }

ENTRY cuFuncGetParamInfo(const Function *f, size_t index, size_t *offset, size_t *size) {
    if (index >= (size_t)f->input_count) return CUDA_ERROR_INVALID_VALUE;
    *offset = f->inputs[index].offset;
    if (size) *size = f->inputs[index].size;
    return CUDA_SUCCESS;
}
ENTRY cuKernelGetParamInfo(const Function *f, size_t index, size_t *offset, size_t *size) {
    return cuFuncGetParamInfo(f, index, offset, size);
}

ENTRY cuFuncIsLoaded(int *state, const Function *f) {
    (void)f;
    *state = 1;
    return CUDA_SUCCESS;
}
ENTRY cuFuncLoad(const Function *f) { return f ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }

ENTRY cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const Function *f, int threads, size_t shared) {
    (void)shared;
    *blocks = threads > 0 && (uint32_t)threads <= threads_of(f) ? THREADS_OF_MULTIPROCESSOR / threads : 0;
    return CUDA_SUCCESS;
}
ENTRY cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const Function *f, int threads, size_t shared,
                                                           unsigned flags) {
    (void)flags;
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, f, threads, shared);
}
ENTRY cuOccupancyMaxPotentialBlockSize(int *grid, int *block, const Function *f, void *shared, size_t more, int limit) {
    (void)shared, (void)more;
    *grid = 8;
    *block = limit > 0 && limit < (int)threads_of(f) ? limit : (int)threads_of(f);
    return CUDA_SUCCESS;
}

/* -- launches ---------------------------------------------------------------------------------------------------- */

void *copied_parameters(const Function *f, void **parameters) {
    uint8_t *copy = calloc(1, f->parameter_bytes + 1);
    for (int k = 0; k < f->input_count; k++) memcpy(copy + f->inputs[k].offset, parameters[k], f->inputs[k].size);
    return copy;
}

/* The parameters as one buffer: 1, buffer, 2, size, 0. */
static void *packed_parameters(const Function *f, void **extra) {
    uint8_t *copy = calloc(1, f->parameter_bytes + 1);
    void *buffer = NULL;
    size_t size = 0;
    for (; *extra; extra += 2) {
        if ((uint64_t)extra[0] == 1) buffer = extra[1];
        if ((uint64_t)extra[0] == 2) size = *(size_t *)extra[1];
    }
    if (buffer) memcpy(copy, buffer, size < f->parameter_bytes ? size : f->parameter_bytes);
    return copy;
}

static bool is_possible(const Function *f, Dim3 grid, Dim3 block, uint32_t shared) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!threads || threads > threads_of(f) || block.z > 64) return false;
    if (!grid.x || grid.x > 2147483647u || !grid.y || grid.y > 65535 || !grid.z || grid.z > 65535) return false;
    return f->is_defined && f->module->shared_bytes + shared <= SHARED_LIMIT;
}

/* Blocks that wait for each other have to be there all at once. */
static bool fits_at_once(Dim3 grid, Dim3 block) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z, blocks = (uint64_t)grid.x * grid.y * grid.z;
    return blocks <= THREADS_OF_MULTIPROCESSOR / threads * MULTIPROCESSORS;
}

static CUresult launch(Launch l, void *stream, void **parameters, void **extra) {
    LOCKED;
    const Function *f = l.function;
    Dim3 grid = l.grid, block = l.block;
    Stream *s = stream_of(stream);
    if (!f || !stream_is_known(s)) return CUDA_ERROR_INVALID_HANDLE;
    if (!is_possible(f, grid, block, l.dynamic_shared)) {
        report("%s cannot be launched with blocks (%u, %u, %u) of threads (%u, %u, %u)", f->name, grid.x, grid.y,
               grid.z, block.x, block.y, block.z);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (l.is_cooperative && !fits_at_once(grid, block)) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    Operation *o = operation_new(KERNEL);
    o->launch = l;
    o->launch.parameters = extra ? packed_parameters(f, extra) : copied_parameters(f, parameters);
    o->module = f->module;
    o->module->handles++;
    return enqueue(s, o);
}

ENTRY cuLaunchKernel(const Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                     unsigned shared, void *stream, void **parameters, void **extra) {
    return launch((Launch){f, {gx, gy, gz}, {bx, by, bz}, shared, NULL, false}, stream, parameters, extra);
}

ENTRY cuLaunchCooperativeKernel(const Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                unsigned bz, unsigned shared, void *stream, void **parameters) {
    return launch((Launch){f, {gx, gy, gz}, {bx, by, bz}, shared, NULL, true}, stream, parameters, NULL);
}

typedef struct { uint32_t which, unused; int value; uint32_t rest[15]; } Attribute;
typedef struct { Dim3 grid, block; uint32_t shared; void *stream; Attribute *attributes; uint32_t count; } LaunchConfig;
enum { COOPERATIVE = 2 };

ENTRY cuLaunchKernelEx(const LaunchConfig *c, const Function *f, void **parameters, void **extra) {
    bool cooperative = false;
    for (uint32_t k = 0; k < c->count; k++)
        cooperative |= c->attributes[k].which == COOPERATIVE && c->attributes[k].value;
    return launch((Launch){f, c->grid, c->block, c->shared, NULL, cooperative}, c->stream, parameters, extra);
}

#define NAMED(name) {#name, name}
const Entry module_entries[] = {
    NAMED(cuLinkCreate), NAMED(cuLinkAddData), NAMED(cuLinkComplete), NAMED(cuLinkDestroy), NAMED(cuModuleLoadData),
    NAMED(cuModuleLoadDataEx), NAMED(cuModuleUnload), NAMED(cuModuleGetFunction), NAMED(cuModuleGetGlobal),
    NAMED(cuLibraryLoadData), NAMED(cuLibraryUnload), NAMED(cuLibraryGetKernel), NAMED(cuLibraryGetModule),
    NAMED(cuLibraryGetGlobal), NAMED(cuFuncGetAttribute), NAMED(cuKernelGetAttribute), NAMED(cuFuncSetAttribute),
    NAMED(cuFuncSetCacheConfig), NAMED(cuKernelSetAttribute), NAMED(cuKernelSetCacheConfig), NAMED(cuKernelGetFunction),
    NAMED(cuKernelGetLibrary), NAMED(cuFuncGetModule), NAMED(cuFuncGetName), NAMED(cuKernelGetName),
    NAMED(cuFuncGetParamInfo), NAMED(cuKernelGetParamInfo), NAMED(cuFuncIsLoaded), NAMED(cuFuncLoad),
    NAMED(cuOccupancyMaxActiveBlocksPerMultiprocessor), NAMED(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags),
    NAMED(cuOccupancyMaxPotentialBlockSize), NAMED(cuLaunchKernel), NAMED(cuLaunchCooperativeKernel),
    NAMED(cuLaunchKernelEx), {NULL, NULL}};
