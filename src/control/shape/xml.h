/*
 * XML into a buffer, by libxml2's writer. Whatever it is given, what comes out is well-formed: bytes that are no UTF-8
 * and characters that XML cannot hold become U+FFFD. Element names are ours and are not checked.
 */
#ifndef CONTROL_SHAPE_XML_H
#define CONTROL_SHAPE_XML_H

#include <stdint.h>

#include "base/view.h"

struct buf;
struct shape;
struct xml;

/* Appends to *out, which must stay where it is until xml_free. Starts with an XML declaration if that is wanted. */
struct xml *xml_new(struct buf *out, bool declaration);

/* Closes every element that is open and frees the writer; only then is everything in the buffer. Accepts NULL. */
void xml_free(struct xml *x);

/* An element begins, and the innermost one ends. */
void xml_open(struct xml *x, const char *name);
void xml_close(struct xml *x);

/* For the element that has just been opened. */
void xml_attribute(struct xml *x, const char *name, const char *value);

/* Text inside the innermost element. */
void xml_text(struct xml *x, struct view text);

/* <name>text</name> */
void xml_element(struct xml *x, const char *name, struct view text);

/*
 * The members of a structure, one element each, in the order of the declaration. What is absent is left out; an empty
 * list is an empty element. Times are ISO 8601 with milliseconds, in UTC.
 */
void xml_write_shape(struct xml *x, const struct shape *shape, const void *value);

#endif
