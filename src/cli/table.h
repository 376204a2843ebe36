/* A table for people: columns as wide as what is in them, two blanks between them. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdio.h>

struct table;

/* A table with these headings. They stay where they are. */
struct table *table_new(const char *const *headings, unsigned columns);

/* Sets the cells of one more row, as many texts as there are columns; they are copied. "" is shown as "-". */
void table_add(struct table *t, const char *const *cells);

/* Prints it, an empty line and the headings first; nothing when it has no rows. Frees it. */
void table_print(struct table *t, FILE *out);

#endif
