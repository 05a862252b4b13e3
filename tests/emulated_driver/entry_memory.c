/* Memory: allocations, copies and fills.
 *
 * A copy from ordinary memory of the host has read it when the call returns; one to ordinary memory returns when it is
 * done. Copies from and to pinned memory, and everything within the device, are queued and done later.
 */
#include "driver.h"
#include <stdlib.h>
#include <string.h>

static CUresult allocate(uint64_t *address, size_t size, MemoryKind kind) {
    CUresult forbidden = capture_forbids_unsafe();
    if (forbidden || !size) return forbidden ? forbidden : CUDA_ERROR_INVALID_VALUE;
    Allocation *a = memory_new(size, kind);
    *address = a ? (uint64_t)a->base : 0;
    return a ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

ENTRY cuMemAlloc(uint64_t *address, size_t size) {
    LOCKED;
    return allocate(address, size, DEVICE_MEMORY);
}

ENTRY cuMemAllocManaged(uint64_t *address, size_t size, unsigned flags) {
    LOCKED;
    (void)flags;
    return allocate(address, size, MANAGED_MEMORY);
}

ENTRY cuMemHostAlloc(uint64_t *address, size_t size, unsigned flags) {
    LOCKED;
    (void)flags;
    return allocate(address, size, HOST_MEMORY);
}

/* Freeing waits for everything. */
static CUresult release(uint64_t address, MemoryKind kind) {
    CUresult forbidden = capture_forbids_unsafe();
    if (forbidden || !address) return forbidden;
    CUresult problem = finish_all();
    if (!memory_free(address, kind)) {
        report("cuMemFree of %#lx, which is not allocated", (unsigned long)address);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return problem;
}

ENTRY cuMemFree(uint64_t address) {
    LOCKED;
    return release(address, DEVICE_MEMORY);
}

ENTRY cuMemFreeHost(uint64_t address) {
    LOCKED;
    return release(address, HOST_MEMORY);
}

ENTRY cuMemHostRegister(void *base, size_t size, unsigned flags) {
    LOCKED;
    (void)flags;
    memory_adopt(base, size, HOST_MEMORY);
    return CUDA_SUCCESS;
}

ENTRY cuMemHostUnregister(uint64_t address) { return cuMemFreeHost(address); }

ENTRY cuMemHostGetDevicePointer(uint64_t *address, uint64_t host, unsigned flags) {
    (void)flags;
    *address = host;
    return CUDA_SUCCESS;
}

/* Allocations in the order of a stream: there at once, freed when the stream has come to it. */
ENTRY cuMemAllocAsync(uint64_t *address, size_t size, void *stream) {
    LOCKED;
    if (stream_of(stream)->capturing) return CUDA_ERROR_NOT_SUPPORTED;
    return allocate(address, size, DEVICE_MEMORY);
}

ENTRY cuMemFreeAsync(uint64_t address, void *stream) {
    LOCKED;
    Operation *o = operation_new(RELEASE);
    o->to = address;
    return enqueue(stream_of(stream), o);
}

ENTRY cuMemGetInfo(size_t *available, size_t *total) {
    LOCKED;
    *total = (size_t)4 << 30;
    *available = *total - memory_in_use();
    return CUDA_SUCCESS;
}

ENTRY cuMemGetAddressRange(uint64_t *base, size_t *size, uint64_t address) {
    LOCKED;
    Allocation *a = memory_find(address);
    if (!a || a->is_free) return CUDA_ERROR_INVALID_VALUE;
    if (base) *base = (uint64_t)a->base;
    if (size) *size = a->size;
    return CUDA_SUCCESS;
}

/* By CUpointer_attribute: context, type, addresses, managed, ordinal, start and size of the allocation. */
static CUresult attribute_of(const Allocation *a, int attribute, uint64_t address, void *value) {
    switch (attribute) {
    case 2: *(unsigned *)value = a->kind == HOST_MEMORY ? 1 : 2; return CUDA_SUCCESS;
    case 3: case 4: *(uint64_t *)value = address; return CUDA_SUCCESS;
    case 7: *(uint64_t *)value = a->number; return CUDA_SUCCESS;
    case 8: *(unsigned *)value = a->kind == MANAGED_MEMORY; return CUDA_SUCCESS;
    case 9: *(int *)value = 0; return CUDA_SUCCESS;
    case 11: *(uint64_t *)value = (uint64_t)a->base; return CUDA_SUCCESS;
    case 12: *(size_t *)value = a->size; return CUDA_SUCCESS;
    default: return CUDA_ERROR_NOT_SUPPORTED;
    }
}

ENTRY cuPointerGetAttribute(void *value, int attribute, uint64_t address) {
    LOCKED;
    Allocation *a = memory_find(address);
    return a && !a->is_free ? attribute_of(a, attribute, address, value) : CUDA_ERROR_INVALID_VALUE;
}

/* -- copies and fills -------------------------------------------------------------------------------------------- */

static bool is_ordinary(uint64_t address) { return memory_find(address) == NULL; }

static CUresult copy(uint64_t to, uint64_t from, size_t size, void *stream, bool waits) {
    Stream *s = stream_of(stream);
    if (!size) return CUDA_SUCCESS;
    Operation *o = operation_new(COPY);
    o->to = to, o->from = from, o->size = size;
    if (is_ordinary(from)) o->staged = memcpy(malloc(size), (void *)from, size);
    CUresult problem = enqueue(s, o);
    bool to_host = is_ordinary(to);
    if (s->capturing || problem) return problem;
    return to_host || (waits && o->staged) ? finish_stream(s) : CUDA_SUCCESS;
}

/* Where both have to be of the device, an address that is not is a mistake of the caller. */
static CUresult on_device(uint64_t address) {
    if (!is_ordinary(address)) return CUDA_SUCCESS;
    report("a copy or fill of %#lx, which is no memory of the device", (unsigned long)address);
    return CUDA_ERROR_INVALID_VALUE;
}

ENTRY cuMemcpyHtoD(uint64_t to, uint64_t from, size_t size) {
    LOCKED;
    return on_device(to) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, NULL, true);
}

ENTRY cuMemcpyDtoH(uint64_t to, uint64_t from, size_t size) {
    LOCKED;
    return on_device(from) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, NULL, true);
}

ENTRY cuMemcpyDtoD(uint64_t to, uint64_t from, size_t size) {
    LOCKED;
    return on_device(to) || on_device(from) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, NULL, false);
}

ENTRY cuMemcpy(uint64_t to, uint64_t from, size_t size) {
    LOCKED;
    return copy(to, from, size, NULL, true);
}

ENTRY cuMemcpyHtoDAsync(uint64_t to, uint64_t from, size_t size, void *stream) {
    LOCKED;
    return on_device(to) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, stream, false);
}

ENTRY cuMemcpyDtoHAsync(uint64_t to, uint64_t from, size_t size, void *stream) {
    LOCKED;
    return on_device(from) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, stream, false);
}

ENTRY cuMemcpyDtoDAsync(uint64_t to, uint64_t from, size_t size, void *stream) {
    LOCKED;
    return on_device(to) || on_device(from) ? CUDA_ERROR_INVALID_VALUE : copy(to, from, size, stream, false);
}

ENTRY cuMemcpyAsync(uint64_t to, uint64_t from, size_t size, void *stream) {
    LOCKED;
    return copy(to, from, size, stream, false);
}

static CUresult fill(uint64_t to, uint32_t value, uint32_t width, size_t count, void *stream) {
    LOCKED;
    if (!count) return CUDA_SUCCESS;
    if (on_device(to)) return CUDA_ERROR_INVALID_VALUE;
    Operation *o = operation_new(FILL);
    o->to = to, o->value = value, o->width = width, o->size = count;
    return enqueue(stream_of(stream), o);
}

ENTRY cuMemsetD8(uint64_t to, uint8_t value, size_t n) { return fill(to, value, 1, n, NULL); }
ENTRY cuMemsetD16(uint64_t to, uint16_t value, size_t n) { return fill(to, value, 2, n, NULL); }
ENTRY cuMemsetD32(uint64_t to, uint32_t value, size_t n) { return fill(to, value, 4, n, NULL); }
ENTRY cuMemsetD8Async(uint64_t to, uint8_t value, size_t n, void *stream) { return fill(to, value, 1, n, stream); }
ENTRY cuMemsetD16Async(uint64_t to, uint16_t value, size_t n, void *stream) { return fill(to, value, 2, n, stream); }
ENTRY cuMemsetD32Async(uint64_t to, uint32_t value, size_t n, void *stream) { return fill(to, value, 4, n, stream); }

#define NAMED(name) {#name, name}
const Entry memory_entries[] = {
    NAMED(cuMemAlloc), NAMED(cuMemAllocManaged), NAMED(cuMemHostAlloc), NAMED(cuMemFree), NAMED(cuMemFreeHost),
    NAMED(cuMemHostRegister), NAMED(cuMemHostUnregister), NAMED(cuMemHostGetDevicePointer), NAMED(cuMemAllocAsync),
    NAMED(cuMemFreeAsync), NAMED(cuMemGetInfo), NAMED(cuMemGetAddressRange), NAMED(cuPointerGetAttribute),
    NAMED(cuMemcpyHtoD), NAMED(cuMemcpyDtoH), NAMED(cuMemcpyDtoD), NAMED(cuMemcpy), NAMED(cuMemcpyHtoDAsync),
    NAMED(cuMemcpyDtoHAsync), NAMED(cuMemcpyDtoDAsync), NAMED(cuMemcpyAsync), NAMED(cuMemsetD8), NAMED(cuMemsetD16),
    NAMED(cuMemsetD32), NAMED(cuMemsetD8Async), NAMED(cuMemsetD16Async), NAMED(cuMemsetD32Async), {NULL, NULL}};
