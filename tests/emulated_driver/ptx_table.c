/* The tables of handlers as one, sorted by name. */
#include "ptx.h"
#include <stdlib.h>
#include <string.h>

static Row *sorted;
static size_t count;

static int by_name(const void *a, const void *b) { return strcmp(((const Row *)a)->name, ((const Row *)b)->name); }

static void sort_rows(void) {
    const Row *tables[] = {integer_rows, float_rows, rounded_rows, compare_rows, convert_rows, control_rows};
    for (int k = 0; k < 6; k++)
        for (const Row *row = tables[k]; row->name; row++) {
            sorted = realloc(sorted, (count + 1) * sizeof *sorted);
            sorted[count++] = *row;
        }
    qsort(sorted, count, sizeof *sorted, by_name);
}

Handler handler_of(const char *name) {
    if (!sorted) sort_rows();
    Row *found = bsearch(&(Row){name, NULL}, sorted, count, sizeof *sorted, by_name);
    return found ? found->run : NULL;
}
