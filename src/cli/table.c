/* Tables: see table.h. */
#include "cli/table.h"

#include <string.h>

#include "base/mem.h"

struct table {
    unsigned columns;
    size_t cells; /* the headings' among them */
    char **cell;
};

static void append(struct table *t, const char *const *cells)
{
    t->cell = mem_realloc(t->cell, (t->cells + t->columns) * sizeof *t->cell);
    for (unsigned i = 0; i < t->columns; i++) {
        const char *text = *cells[i] != '\0' ? cells[i] : "-";
        t->cell[t->cells++] = mem_strndup(text, strlen(text));
    }
}

struct table *table_new(const char *const *headings, unsigned columns)
{
    struct table *t = mem_zalloc(sizeof *t);

    t->columns = columns;
    append(t, headings);
    return t;
}

void table_add(struct table *t, const char *const *cells)
{
    append(t, cells);
}

/* The widest cell of the column. */
static int width_of(const struct table *t, unsigned column)
{
    size_t widest = 0;

    for (size_t i = column; i < t->cells; i += t->columns)
        if (strlen(t->cell[i]) > widest)
            widest = strlen(t->cell[i]);
    return (int)widest;
}

void table_print(struct table *t, FILE *out)
{
    int *width = mem_alloc(t->columns * sizeof *width);

    for (unsigned i = 0; i < t->columns; i++)
        width[i] = width_of(t, i);
    if (t->cells > t->columns)
        putc('\n', out);
    for (size_t i = 0; i < t->cells && t->cells > t->columns; i++)
        if ((i + 1) % t->columns == 0)
            fprintf(out, "%s\n", t->cell[i]);
        else
            fprintf(out, "%-*s  ", width[i % t->columns], t->cell[i]);
    for (size_t i = 0; i < t->cells; i++)
        mem_free(t->cell[i]);
    mem_free(width);
    mem_free(t->cell);
    mem_free(t);
}
