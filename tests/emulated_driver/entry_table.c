/* How a program finds the entry points, and what it is told of those that are missing. */
#include "driver.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One call at a time; a call from a callback is inside of another one. */
static pthread_mutex_t mutex;

__attribute__((constructor)) static void mutex_begins(void) {
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &how);
}

void lock(void) { pthread_mutex_lock(&mutex); }
void unlock(int *locked) {
    (void)locked;
    pthread_mutex_unlock(&mutex);
}

/* -- findings ---------------------------------------------------------------------------------------------------- */

static char reports[1 << 16];
static size_t length;
uint32_t reports_part = 1;

void report(const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (getenv("EMULATED_DRIVER_LOG")) fprintf(stderr, "emulated driver: %s\n", line);
    length += (size_t)snprintf(reports + length, sizeof reports - length, "%s\n", line);
    if (length >= sizeof reports) length = sizeof reports - 1;
}

/* What was found since the last time, a line each. */
__attribute__((visibility("default"))) const char *emulated_reports(void) {
    static char taken[sizeof reports];
    LOCKED;
    memcpy(taken, reports, length);
    taken[length] = 0;
    length = 0;
    reports_part++;
    return taken;
}

__attribute__((visibility("default"))) uint64_t emulated_instructions(void) { return instructions_executed; }

/* -- entry points that are missing ------------------------------------------------------------------------------- */

#define MISSING 640
static char missing[MISSING][64];
static int missing_count;

static CUresult is_missing(int k) {
    report("%s is not emulated", missing[k]);
    return CUDA_ERROR_NOT_SUPPORTED;
}

#define ONE(n) static CUresult missing_##n(void) { return is_missing(0x##n); }
#define SIXTEEN(X, h) X(h##0) X(h##1) X(h##2) X(h##3) X(h##4) X(h##5) X(h##6) X(h##7) X(h##8) X(h##9) X(h##a) X(h##b) \
    X(h##c) X(h##d) X(h##e) X(h##f)
#define ALL_OF(X, h) SIXTEEN(X, h##0) SIXTEEN(X, h##1) SIXTEEN(X, h##2) SIXTEEN(X, h##3) SIXTEEN(X, h##4)              \
    SIXTEEN(X, h##5) SIXTEEN(X, h##6) SIXTEEN(X, h##7) SIXTEEN(X, h##8) SIXTEEN(X, h##9) SIXTEEN(X, h##a)              \
    SIXTEEN(X, h##b) SIXTEEN(X, h##c) SIXTEEN(X, h##d) SIXTEEN(X, h##e) SIXTEEN(X, h##f)
#define EVERY(X) ALL_OF(X, 0) ALL_OF(X, 1) SIXTEEN(X, 20) SIXTEEN(X, 21) SIXTEEN(X, 22) SIXTEEN(X, 23) SIXTEEN(X, 24) \
    SIXTEEN(X, 25) SIXTEEN(X, 26) SIXTEEN(X, 27)
EVERY(ONE)
#define PLACE(n) missing_##n,
static CUresult (*const missing_functions[MISSING])(void) = {EVERY(PLACE)};

static void *missing_function(const char *name) {
    int k = 0;
    while (k < missing_count && strcmp(missing[k], name)) k++;
    if (k == MISSING) return NULL;
    if (k == missing_count) snprintf(missing[missing_count++], sizeof missing[0], "%s", name);
    return missing_functions[k];
}

/* -- finding them ------------------------------------------------------------------------------------------------ */

/* Without _v2 and its like: there is one version of each. */
static void *known_function(const char *name, size_t size) {
    const Entry *tables[] = {device_entries, memory_entries, stream_entries, module_entries, graph_entries};
    for (int k = 0; k < 5; k++)
        for (const Entry *e = tables[k]; e->name; e++)
            if (strlen(e->name) == size && !strncmp(e->name, name, size)) return e->function;
    return NULL;
}

ENTRY cuGetProcAddress(const char *name, void **function, int version, uint64_t flags, int *found) {
    LOCKED;
    (void)version, (void)flags;
    const char *end = strstr(name, "_v");
    if (!strcmp(name, "cuGetProcAddress") || !strcmp(name, "cuGetProcAddress_v2")) *function = cuGetProcAddress;
    else *function = known_function(name, end ? (size_t)(end - name) : strlen(name));
    if (!*function) *function = missing_function(name);
    if (found) *found = 0;
    return CUDA_SUCCESS;
}

ENTRY cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found) {
    return cuGetProcAddress(name, function, version, flags, found);
}
