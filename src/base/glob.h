/* Glob patterns as KEYS, SCAN MATCH, CONFIG GET and later PSUBSCRIBE and ACL take them. */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include <stdbool.h>

#include "base/view.h"

/* Does text match pattern? '*', '?', '[abc]', '[^a]', '[a-z]' (a reversed range is turned round), '\x'; an unclosed '['
 * takes the rest of the pattern as its set, as Redis does; and as in Redis an empty text matches an empty pattern
 * alone, not "*". No recursion: at most pattern.n * text.n steps. */
bool glob_match(struct view pattern, struct view text, bool ignore_case);

#endif
