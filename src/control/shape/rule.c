/*
 * The forms of strings, each a function from text to an explanation of what is wrong, NULL when nothing is. They are
 * plain loops rather than regular expressions: each is short, none can be slow, and the message can name the fault.
 */
#include "control/shape/rule.h"

#include <stdio.h>

#include "base/arena.h"
#include "control/shape/shape.h"
#include "control/shape/text.h"

#define MINUTES_OF_DAY (24 * 60)
#define MINUTES_OF_WEEK (7 * MINUTES_OF_DAY)
#define WINDOW_MIN 60

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool starts_with(struct view v, struct view prefix)
{
    return v.n >= prefix.n && view_equal_case(view_of(v.p, prefix.n), prefix);
}

static struct view lower(struct view v, struct arena *a)
{
    char *p = arena_alloc(a, v.n);

    for (size_t i = 0; i < v.n; i++)
        p[i] = ascii_lower(v.p[i]);
    return view_of(p, v.n);
}

static const char *check_identifier(struct view v)
{
    bool good = v.n > 0 && is_letter(v.p[0]) && v.p[v.n - 1] != '-';

    for (size_t i = 0; good && i < v.n; i++)
        good = is_letter(v.p[i]) || is_digit(v.p[i]) || (v.p[i] == '-' && v.p[i + 1] != '-');
    return good ? NULL
                : "is not a valid identifier. It starts with a letter, holds only ASCII letters, digits and hyphens, "
                  "does not end with a hyphen and has no two hyphens in a row";
}

static const char *check_reference(struct view v)
{
    bool good = v.n > 0 && v.n <= 255;

    for (size_t i = 0; good && i < v.n; i++)
        good = v.p[i] > ' ' && v.p[i] <= '~';
    return good ? NULL : "is not a valid name. It has 1 to 255 printable ASCII characters without spaces";
}

static const char *check_digits(struct view v)
{
    bool good = v.n > 0;

    for (size_t i = 0; good && i < v.n; i++)
        good = is_digit(v.p[i]);
    return good ? NULL : "must consist of digits";
}

static const char *check_token(struct view v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!is_letter(v.p[i]) && !is_digit(v.p[i]) && (v.p[i] == '\0' || strchr("!&#$^<>-", v.p[i]) == NULL))
            return "may hold only ASCII letters, digits and the characters ! & # $ ^ < > -";
    return NULL;
}

/* hh:mm as minutes, or -1. */
static int clock_minutes(struct view v)
{
    int hour, minute;

    if (v.n != 5 || !is_digit(v.p[0]) || !is_digit(v.p[1]) || v.p[2] != ':' || !is_digit(v.p[3]) || !is_digit(v.p[4]))
        return -1;
    hour = (v.p[0] - '0') * 10 + (v.p[1] - '0');
    minute = (v.p[3] - '0') * 10 + (v.p[4] - '0');
    return hour < 24 && minute < 60 ? hour * 60 + minute : -1;
}

/* ddd:hh:mm as minutes of the week, or -1. */
static int week_minutes(struct view v)
{
    static const char days[7][4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    int minutes;

    if (v.n != 9 || v.p[3] != ':' || (minutes = clock_minutes(view_of(v.p + 4, 5))) < 0)
        return -1;
    for (int day = 0; day < 7; day++)
        if (view_equal_case(view_of(v.p, 3), view_str(days[day])))
            return day * MINUTES_OF_DAY + minutes;
    return -1;
}

/* Two times of n characters each with a hyphen between them, that are at least WINDOW_MIN apart. */
static bool window_fits(struct view v, size_t n, int (*minutes)(struct view v), int period)
{
    int start, end;

    if (v.n != 2 * n + 1 || v.p[n] != '-')
        return false;
    start = minutes(view_of(v.p, n));
    end = minutes(view_of(v.p + n + 1, n));
    return start >= 0 && end >= 0 && (end - start + period) % period >= WINDOW_MIN;
}

static const char *check_maintenance_window(struct view v)
{
    return window_fits(v, 9, week_minutes, MINUTES_OF_WEEK)
               ? NULL
               : "must have the form ddd:hh24:mi-ddd:hh24:mi, in UTC, and be at least 60 minutes long";
}

static const char *check_snapshot_window(struct view v)
{
    return window_fits(v, 5, clock_minutes, MINUTES_OF_DAY)
               ? NULL
               : "must have the form hh24:mi-hh24:mi, in UTC, and be at least 60 minutes long";
}

/* Takes a decimal number up to max without a leading zero, and the character behind it unless that is '\0'. */
static bool take_number(struct view *v, unsigned max, char behind)
{
    unsigned n = 0;
    size_t i = 0;

    while (i < v->n && i < 3 && is_digit(v->p[i]))
        n = n * 10 + (unsigned)(v->p[i++] - '0');
    if (i == 0 || n > max || (v->p[0] == '0' && i > 1))
        return false;
    if (behind != '\0' && (i == v->n || v->p[i++] != behind))
        return false;
    *v = view_of(v->p + i, v->n - i);
    return true;
}

static const char *check_cidr(struct view v)
{
    bool good = take_number(&v, 255, '.') && take_number(&v, 255, '.') && take_number(&v, 255, '.') &&
                take_number(&v, 255, '/') && take_number(&v, 32, '\0') && v.n == 0;

    return good ? NULL : "is not a valid CIDR block. It has the form a.b.c.d/n";
}

static const char *check_arn(struct view v)
{
    size_t colons = 0, last = 0;

    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] <= ' ' || v.p[i] > '~')
            return "is not a valid ARN";
        if (v.p[i] == ':') {
            colons++;
            last = i;
        }
    }
    return starts_with(v, VIEW("arn:")) && colons >= 5 && last + 1 < v.n ? NULL : "is not a valid ARN";
}

static const char *check_tag_key(struct view v)
{
    if (v.n == 0 || text_length(v) > 128)
        return "must be 1 to 128 characters long";
    return starts_with(v, VIEW("aws:")) ? "must not start with aws:" : NULL;
}

static const char *check_tag_value(struct view v)
{
    return text_length(v) > 256 ? "must be at most 256 characters long" : NULL;
}

static const char *check_form(enum shape_form form, struct view v)
{
    switch (form) {
    case SHAPE_FORM_NONE:
        return NULL;
    case SHAPE_FORM_IDENTIFIER:
        return check_identifier(v);
    case SHAPE_FORM_REFERENCE:
        return check_reference(v);
    case SHAPE_FORM_MAINTENANCE_WINDOW:
        return check_maintenance_window(v);
    case SHAPE_FORM_SNAPSHOT_WINDOW:
        return check_snapshot_window(v);
    case SHAPE_FORM_CIDR:
        return check_cidr(v);
    case SHAPE_FORM_ARN:
        return check_arn(v);
    case SHAPE_FORM_TAG_KEY:
        return check_tag_key(v);
    case SHAPE_FORM_TAG_VALUE:
        return check_tag_value(v);
    case SHAPE_FORM_DIGITS:
        return check_digits(v);
    case SHAPE_FORM_TOKEN:
        return check_token(v);
    }
    return NULL;
}

static bool is_folded(enum shape_form form)
{
    return form == SHAPE_FORM_IDENTIFIER || form == SHAPE_FORM_REFERENCE || form == SHAPE_FORM_MAINTENANCE_WINDOW;
}

/* "must be one of a, b" */
static void explain_words(const struct shape_rule *rule, char why[RULE_WHY_MAX])
{
    size_t n = (size_t)snprintf(why, RULE_WHY_MAX, "must be %s", rule->word_count > 1 ? "one of " : "");

    for (size_t i = 0; i < rule->word_count && n < RULE_WHY_MAX; i++)
        n += (size_t)snprintf(why + n, RULE_WHY_MAX - n, "%s%.*s", i > 0 ? ", " : "", (int)rule->words[i].n,
                              rule->words[i].p);
}

static bool within(const struct shape_rule *rule, int64_t v, const char *unit, char why[RULE_WHY_MAX])
{
    if (!rule->bounded || (v >= rule->min && v <= rule->max))
        return true;
    if (rule->max == INT64_MAX)
        snprintf(why, RULE_WHY_MAX, "must be at least %lld%s", (long long)rule->min, unit);
    else if (rule->min == INT64_MIN)
        snprintf(why, RULE_WHY_MAX, "must be at most %lld%s", (long long)rule->max, unit);
    else
        snprintf(why, RULE_WHY_MAX, "must be between %lld and %lld%s", (long long)rule->min, (long long)rule->max,
                 unit);
    return false;
}

static bool is_word(const struct shape_rule *rule, struct view v)
{
    for (size_t i = 0; i < rule->word_count; i++)
        if (view_equal(rule->words[i], v))
            return true;
    return false;
}

bool rule_check_text(const struct shape_rule *rule, struct view *v, struct arena *a, char why[RULE_WHY_MAX])
{
    const char *fault;

    if (rule == NULL)
        return true;
    if (!within(rule, (int64_t)text_length(*v), " characters long", why))
        return false;
    fault = check_form(rule->form, *v);
    if (fault != NULL) {
        snprintf(why, RULE_WHY_MAX, "%s", fault);
        return false;
    }
    if (is_folded(rule->form))
        *v = lower(*v, a);
    if (rule->words != NULL && !is_word(rule, *v)) {
        explain_words(rule, why);
        return false;
    }
    return true;
}

bool rule_check_integer(const struct shape_rule *rule, int64_t v, char why[RULE_WHY_MAX])
{
    return rule == NULL || within(rule, v, "", why);
}

bool rule_harmless(const struct shape_rule *rule, struct view v)
{
    for (size_t i = 0; rule != NULL && i < rule->word_count; i++)
        if (view_equal_case(rule->words[i], v))
            return true;
    return false;
}
