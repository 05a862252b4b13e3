/* PTX as words. */
#pragma once
#include "ptx.h"

typedef enum { END, WORD, NUMBER, STRING, MARK } Kind;

/* A place in a text, and the word there. Numbers are their bits: of a double for decimals and 0d, of a float for 0f. */
typedef struct {
    const char *at, *start;
    Kind kind;
    int length, line;
    uint64_t number;
} Text;

void text_next(Text *);
bool text_is(const Text *, const char *word);
/* Go past a word if it is there. */
bool text_take(Text *, const char *word);
