/* PTX as words: names with their dots, numbers, strings, single marks. */
#include "ptx_text.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void skip_blanks(Text *t) {
    for (;;) {
        if (isspace((unsigned char)*t->at)) t->line += *t->at++ == '\n';
        else if (t->at[0] == '/' && t->at[1] == '/') while (*t->at && *t->at != '\n') t->at++;
        else if (t->at[0] == '/' && t->at[1] == '*') {
            const char *end = strstr(t->at + 2, "*/");
            for (end = end ? end + 2 : t->at + strlen(t->at); t->at < end; t->at++) t->line += *t->at == '\n';
        } else return;
    }
}

static bool in_word(const char *c) {
    return isalnum((unsigned char)*c) || strchr("_$.%", *c) != NULL || (c[0] == ':' && c[1] == ':') ||
           (c[0] == ':' && c[-1] == ':');
}

static void read_number(Text *t) {
    const char *s = t->at;
    char *end;
    t->kind = NUMBER;
    if (s[0] == '0' && strchr("fFdD", s[1]) && isxdigit((unsigned char)s[2])) {
        t->number = strtoull(s + 2, &end, 16);
        t->at = end;
        return;
    }
    t->number = strtoull(s, &end, 0);
    if (*end == '.' && isdigit((unsigned char)end[1])) {
        double value = strtod(s, &end);
        memcpy(&t->number, &value, sizeof value);
    }
    t->at = *end == 'U' ? end + 1 : end;
}

void text_next(Text *t) {
    skip_blanks(t);
    t->start = t->at;
    char c = *t->at;
    if (!c) t->kind = END;
    else if (isdigit((unsigned char)c)) read_number(t);
    else if (c == '"') {
        t->kind = STRING;
        for (t->at++; *t->at && *t->at != '"'; t->at++);
        t->at += *t->at == '"';
    } else if (isalpha((unsigned char)c) || strchr("_$.%", c)) {
        t->kind = WORD;
        for (t->at++; *t->at && in_word(t->at); t->at++);
    } else {
        t->kind = MARK;
        t->at++;
    }
    t->length = (int)(t->at - t->start);
}

bool text_is(const Text *t, const char *word) {
    return t->kind != END && (int)strlen(word) == t->length && !memcmp(t->start, word, t->length);
}

bool text_take(Text *t, const char *word) {
    if (!text_is(t, word)) return false;
    text_next(t);
    return true;
}
