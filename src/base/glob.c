/*
 * Glob matching with two cursors. The pattern is cut into runs by its stars; a run that fails is tried again one byte
 * further from the last star alone. Earlier stars need no second try: the last run found its place as early as
 * possible, so moving an earlier one only leaves less text. Recursion on every star, the obvious way, is exponential.
 *
 * The corner cases are Redis's, which clients and their tests see:
 * - nothing but the empty pattern matches the empty text, not even "*";
 * - a '[' set without ']' takes the rest of the pattern; "[]" matches nothing, "[^]" any byte;
 * - in a set "x-y" is a range whatever y is, a ']' or '\' too; an escaped byte starts no range and is compared with its
 *   case even when case is ignored; range ends are ordered before they are folded, and compare as signed bytes;
 * - a '\' that ends the pattern, or an open set, stands for itself.
 */
#include "base/glob.h"

static int fold(char c, bool ignore_case)
{
    return (signed char)(ignore_case ? ascii_lower(c) : c);
}

/* Is c in the range that goes from a to b, or from b to a? */
static bool in_range(char a, char b, char c, bool ignore_case)
{
    bool reversed = (signed char)a > (signed char)b;
    int low = fold(reversed ? b : a, ignore_case), high = fold(reversed ? a : b, ignore_case);
    int at = fold(c, ignore_case);

    return at >= low && at <= high;
}

/* Matches c against the set whose first byte behind '[' is p; *after is where the pattern goes on. */
static bool match_set(const char *p, const char *end, char c, bool ignore_case, const char **after)
{
    bool negated = p != end && *p == '^', found = false;

    for (p += negated; p != end && *p != ']'; p++) {
        if (*p == '\\' && end - p >= 2) {
            p++;
            found |= *p == c;
        } else if (end - p >= 3 && p[1] == '-') {
            found |= in_range(p[0], p[2], c, ignore_case);
            p += 2;
        } else {
            found |= fold(*p, ignore_case) == fold(c, ignore_case);
        }
    }
    *after = p != end ? p + 1 : end;
    return found != negated;
}

/* Matches one byte of text against the pattern's element at p < end, which is no star. */
static bool match_one(const char *p, const char *end, char c, bool ignore_case, const char **after)
{
    bool any = *p == '?';

    if (*p == '[')
        return match_set(p + 1, end, c, ignore_case, after);
    if (*p == '\\' && end - p >= 2)
        p++;
    *after = p + 1;
    return any || fold(*p, ignore_case) == fold(c, ignore_case);
}

bool glob_match(struct view pattern, struct view text, bool ignore_case)
{
    const char *p, *p_end, *t, *t_end;
    const char *run = NULL, *run_text = NULL; /* behind the last star, and the text that its run was last tried on */

    if (text.n == 0 || pattern.n == 0)
        return text.n == pattern.n;
    p = pattern.p;
    p_end = p + pattern.n;
    t = text.p;
    t_end = t + text.n;
    while (t != t_end) {
        if (p != p_end && *p == '*') {
            run = ++p;
            run_text = t;
            if (p == p_end)
                return true;
        } else if (p != p_end && match_one(p, p_end, *t, ignore_case, &p)) {
            t++;
        } else if (run != NULL) {
            p = run;
            t = ++run_text;
        } else {
            return false;
        }
    }
    while (p != p_end && *p == '*')
        p++;
    return p == p_end;
}
