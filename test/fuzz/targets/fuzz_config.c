/*
 * The reader of configuration files. What it accepts must come back from CONFIG REWRITE as text that it accepts again,
 * with the same values, and that rewriting does not change any more.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "engine/server/config.h"
#include "engine/server/config_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_pair(void *arg, const char *name, struct view value)
{
    buf_printf(arg, "%s=", name);
    buf_put_view(arg, value);
    buf_put_char(arg, '\n');
}

static void put_values(const struct config *c, struct buf *out)
{
    struct view all = VIEW("*");

    config_get(c, &all, 1, put_pair, out);
}

static struct config *load(struct view text)
{
    struct config *c = config_new();
    char err[1024];

    if (config_load_text(c, text, "fuzz.conf", err, sizeof err) == 0)
        return c;
    config_free(c);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf values = {0}, text = {0}, values_again = {0}, text_again = {0};
    struct config *c = load(view_of((const char *)data, size)), *again;

    if (c == NULL)
        return 0;
    put_values(c, &values);
    config_rewrite_text(c, view_of((const char *)data, size), &text);
    again = load(buf_view(&text));
    if (again == NULL)
        abort();
    put_values(again, &values_again);
    config_rewrite_text(again, buf_view(&text), &text_again);
    if (!view_equal(buf_view(&values), buf_view(&values_again)) || !view_equal(buf_view(&text), buf_view(&text_again)))
        abort();
    config_free(c);
    config_free(again);
    buf_free(&values);
    buf_free(&values_again);
    buf_free(&text);
    buf_free(&text_again);
    return 0;
}
