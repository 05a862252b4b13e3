/* The device and its context: one that has little of everything. */
#include "driver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int context;                      /* its address is the handle of the one context */
static __thread void *current[16];
static __thread int depth;

ENTRY cuInit(unsigned flags) { return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }

ENTRY cuDriverGetVersion(int *version) {
    *version = 13000;
    return CUDA_SUCCESS;
}

ENTRY cuDeviceGetCount(int *count) {
    *count = 1;
    return CUDA_SUCCESS;
}

ENTRY cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

ENTRY cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    snprintf(name, (size_t)length, "PTX interpreter");
    return CUDA_SUCCESS;
}

ENTRY cuDeviceGetUuid(char *uuid, int device) {
    (void)device;
    memcpy(uuid, "PTX interpreter", 16);
    return CUDA_SUCCESS;
}

ENTRY cuDeviceTotalMem(size_t *bytes, int device) {
    (void)device;
    *bytes = (size_t)4 << 30;
    return CUDA_SUCCESS;
}

/* By CUdevice_attribute; others are 0. */
enum { MAJOR = 75, MINOR = 76 };
static int attributes[256] = {
    [1] = 1024, [2] = 1024, [3] = 1024, [4] = 64, [5] = 2147483647, [6] = 65535, [7] = 65535, /* block and grid */
    [8] = 49152, [9] = 65536, [10] = 32, [11] = 2147483647, [12] = 65536,     /* shared and constant memory, warps */
    [13] = 1000000, [14] = 512, [16] = MULTIPROCESSORS, [19] = 1, [31] = 1, [33] = 1, [36] = 1000000, [37] = 128,
    [38] = 1 << 20, [39] = THREADS_OF_MULTIPROCESSOR, [40] = 1, [41] = 1, [MAJOR] = 8, [MINOR] = 0, [78] = 1, [79] = 1,
    [80] = 1, [81] = SHARED_LIMIT, [82] = 65536, [83] = 1, [95] = 1, [97] = 166912, [106] = 32, [111] = 1024};

/* The compute capability may be another one, as in EMULATED_DRIVER_CAPABILITY=9.0. */
__attribute__((constructor)) static void read_capability(void) {
    const char *wanted = getenv("EMULATED_DRIVER_CAPABILITY");
    if (wanted) sscanf(wanted, "%d.%d", &attributes[MAJOR], &attributes[MINOR]);
}

ENTRY cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    if (attribute < 0 || attribute >= 256) return CUDA_ERROR_INVALID_VALUE;
    *value = attributes[attribute];
    return CUDA_SUCCESS;
}

ENTRY cuDeviceComputeCapability(int *major, int *minor, int device) {
    (void)device;
    *major = attributes[MAJOR];
    *minor = attributes[MINOR];
    return CUDA_SUCCESS;
}

ENTRY cuDeviceCanAccessPeer(int *can, int device, int peer) {
    (void)device, (void)peer;
    *can = 0;
    return CUDA_SUCCESS;
}

/* -- contexts ---------------------------------------------------------------------------------------------------- */

ENTRY cuDevicePrimaryCtxRetain(void **made, int device) {
    (void)device;
    *made = &context;
    return CUDA_SUCCESS;
}

ENTRY cuDevicePrimaryCtxRelease(int device) { return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
ENTRY cuDevicePrimaryCtxReset(int device) { return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
ENTRY cuDevicePrimaryCtxSetFlags(int device, unsigned flags) {
    (void)flags;
    return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

ENTRY cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    (void)device;
    *flags = 0;
    *active = 1;
    return CUDA_SUCCESS;
}

ENTRY cuCtxGetCurrent(void **found) {
    *found = current[depth];
    return CUDA_SUCCESS;
}

ENTRY cuCtxSetCurrent(void *c) {
    current[depth] = c;
    return CUDA_SUCCESS;
}

ENTRY cuCtxPushCurrent(void *c) {
    if (depth == 15) return CUDA_ERROR_INVALID_VALUE;
    current[++depth] = c;
    return CUDA_SUCCESS;
}

ENTRY cuCtxPopCurrent(void **popped) {
    if (!current[depth]) return CUDA_ERROR_INVALID_CONTEXT;
    if (popped) *popped = current[depth];
    current[depth] = NULL;
    depth -= depth > 0;
    return CUDA_SUCCESS;
}

ENTRY cuCtxGetDevice(int *device) {
    *device = 0;
    return current[depth] ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

ENTRY cuCtxGetFlags(unsigned *flags) {
    *flags = 0;
    return CUDA_SUCCESS;
}

ENTRY cuCtxGetId(void *c, uint64_t *id) {
    (void)c;
    *id = 1;
    return CUDA_SUCCESS;
}

ENTRY cuCtxGetApiVersion(void *c, unsigned *version) {
    (void)c;
    *version = 13000;
    return CUDA_SUCCESS;
}

ENTRY cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return CUDA_SUCCESS;
}

ENTRY cuCtxSynchronize(void) {
    LOCKED;
    CUresult forbidden = capture_forbids_unsafe();
    return forbidden ? forbidden : finish_all();
}

/* -- errors ------------------------------------------------------------------------------------------------------ */

#define NAMES(X)                                                                                                   \
    X(CUDA_SUCCESS) X(CUDA_ERROR_INVALID_VALUE) X(CUDA_ERROR_OUT_OF_MEMORY) X(CUDA_ERROR_NOT_INITIALIZED)          \
    X(CUDA_ERROR_NO_DEVICE) X(CUDA_ERROR_INVALID_DEVICE) X(CUDA_ERROR_INVALID_CONTEXT)                             \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU) X(CUDA_ERROR_INVALID_PTX) X(CUDA_ERROR_INVALID_HANDLE) X(CUDA_ERROR_NOT_FOUND) \
    X(CUDA_ERROR_NOT_READY) X(CUDA_ERROR_ILLEGAL_ADDRESS) X(CUDA_ERROR_NOT_SUPPORTED)                              \
    X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE)                                                                     \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)                              \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE) X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)                                      \
    X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED) X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION)                                   \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) X(CUDA_ERROR_CAPTURED_EVENT) X(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE)
#define CASE(code) case code: return #code;

static const char *name_of(CUresult code) {
    switch (code) { NAMES(CASE) default: return NULL; }
}

ENTRY cuGetErrorName(CUresult code, const char **name) {
    *name = name_of(code);
    return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

ENTRY cuGetErrorString(CUresult code, const char **text) { return cuGetErrorName(code, text); }

ENTRY cuProfilerStart(void) { return CUDA_SUCCESS; }
ENTRY cuProfilerStop(void) { return CUDA_SUCCESS; }

#define NAMED(name) {#name, name}
const Entry device_entries[] = {
    NAMED(cuInit), NAMED(cuDriverGetVersion), NAMED(cuDeviceGetCount), NAMED(cuDeviceGet), NAMED(cuDeviceGetName),
    NAMED(cuDeviceGetUuid), NAMED(cuDeviceTotalMem), NAMED(cuDeviceGetAttribute), NAMED(cuDeviceComputeCapability),
    NAMED(cuDeviceCanAccessPeer), NAMED(cuDevicePrimaryCtxRetain), NAMED(cuDevicePrimaryCtxRelease),
    NAMED(cuDevicePrimaryCtxReset), NAMED(cuDevicePrimaryCtxSetFlags), NAMED(cuDevicePrimaryCtxGetState),
    NAMED(cuCtxGetCurrent), NAMED(cuCtxSetCurrent), NAMED(cuCtxPushCurrent), NAMED(cuCtxPopCurrent),
    NAMED(cuCtxGetDevice), NAMED(cuCtxGetFlags), NAMED(cuCtxGetId), NAMED(cuCtxGetApiVersion),
    NAMED(cuCtxGetStreamPriorityRange), NAMED(cuCtxSynchronize), NAMED(cuGetErrorName), NAMED(cuGetErrorString),
    NAMED(cuProfilerStart), NAMED(cuProfilerStop), {NULL, NULL}};
