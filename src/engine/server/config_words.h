/*
 * Words of a configuration line. A word is bare or quoted: "..." knows \n \r \t \b \a \xHH and takes any other escaped
 * byte for itself, '...' knows \' alone; after a closing quote comes white space or the end. These are the rules of
 * redis.conf, and of inline commands.
 */
#ifndef SERVER_CONFIG_WORDS_H
#define SERVER_CONFIG_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/view.h"

struct config_words {
    struct view *v;
    size_t n;
    char *text; /* what the views point into */
};

/* Splits a line; false when its quotes are not balanced, *out then being empty. */
bool config_words_split(struct view line, struct config_words *out);

/* Splits at every single space: an empty text has no words, two spaces have an empty word between them. This is how
 * CONFIG SET takes a directive with several values. */
void config_words_split_spaces(struct view text, struct config_words *out);

void config_words_free(struct config_words *w);

/* Appends v in double quotes, so that config_words_split reads it back. */
void config_words_quote(struct buf *out, struct view v);

/* Appends v as it is when it can stand as a word, else quoted. */
void config_words_put(struct buf *out, struct view v);

/* White space as isspace(3) of the C locale has it. */
bool config_words_is_space(char ch);

#endif
