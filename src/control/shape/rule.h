/* Checks single values against the rules that spec/ declares for them. */
#ifndef CONTROL_SHAPE_RULE_H
#define CONTROL_SHAPE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

struct arena;
struct shape_rule;

#define RULE_WHY_MAX 400 /* bytes of the explanation, NUL included; a long one is cut */

/*
 * Does the text satisfy the rule? Then *v may be replaced by its canonical form (identifiers and windows are stored in
 * lower case), which lives in the arena. Otherwise `why` says what it should be, to be put behind the parameter's name:
 * "must be ...". *v is clean text (text.h).
 */
bool rule_check_text(const struct shape_rule *rule, struct view *v, struct arena *a, char why[RULE_WHY_MAX]);

/* The same for a number. */
bool rule_check_integer(const struct shape_rule *rule, int64_t v, char why[RULE_WHY_MAX]);

/* Is the value, of something that is refused, one of those that do no harm? Ignores case. */
bool rule_harmless(const struct shape_rule *rule, struct view v);

#endif
