/* libxml2 gets only clean text (text.h): it would pass control characters through, and give up in the middle of
 * UTF-8 that is broken. */
#include "control/shape/xml.h"

#include <stdlib.h>

#include <libxml/xmlwriter.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "control/shape/shape.h"
#include "control/shape/text.h"
#include "control/shape/timestamp.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define CHUNK 4096

/* The writer itself, under a name that does not need libxml2's headers. */
static xmlTextWriterPtr writer(struct xml *x)
{
    return (xmlTextWriterPtr)x;
}

static int append(void *context, const char *p, int n)
{
    if (n > 0)
        buf_put(context, p, (size_t)n);
    return n;
}

/* Writing to memory fails only when there is none. */
static void must(bool good)
{
    if (good)
        return;
    log_warning("out of memory while writing XML");
    abort();
}

struct xml *xml_new(struct buf *out, bool declaration)
{
    xmlOutputBufferPtr sink = xmlOutputBufferCreateIO(append, NULL, out, NULL);
    xmlTextWriterPtr w = sink != NULL ? xmlNewTextWriter(sink) : NULL;

    must(w != NULL);
    if (declaration)
        must(xmlTextWriterStartDocument(w, "1.0", "UTF-8", NULL) >= 0);
    return (struct xml *)w;
}

void xml_free(struct xml *x)
{
    if (x == NULL)
        return;
    must(xmlTextWriterEndDocument(writer(x)) >= 0);
    xmlFreeTextWriter(writer(x));
}

void xml_open(struct xml *x, const char *name)
{
    must(xmlTextWriterStartElement(writer(x), (const xmlChar *)name) >= 0);
}

void xml_close(struct xml *x)
{
    must(xmlTextWriterEndElement(writer(x)) >= 0);
}

void xml_attribute(struct xml *x, const char *name, const char *value)
{
    must(xmlTextWriterWriteAttribute(writer(x), (const xmlChar *)name, (const xmlChar *)value) >= 0);
}

/* At most CHUNK bytes, clean, with a NUL behind them: libxml2 takes strings. */
static void write_piece(struct xml *x, char *piece, size_t n)
{
    piece[n] = '\0';
    if (n > 0)
        must(xmlTextWriterWriteString(writer(x), (const xmlChar *)piece) >= 0);
}

void xml_text(struct xml *x, struct view text)
{
    char piece[CHUNK + 1];
    size_t n = 0;

    while (text.n > 0) {
        unsigned length = text_next(text);
        struct view c = length > 0 ? view_of(text.p, length) : VIEW(REPLACEMENT);

        if (n + c.n > CHUNK) {
            write_piece(x, piece, n);
            n = 0;
        }
        memcpy(piece + n, c.p, c.n);
        n += c.n;
        length += length == 0;
        text = view_of(text.p + length, text.n - length);
    }
    write_piece(x, piece, n);
}

void xml_element(struct xml *x, const char *name, struct view text)
{
    xml_open(x, name);
    xml_text(x, text);
    xml_close(x);
}

/* ---- structures -------------------------------------------------------------------------------------------------- */

/* The shortest of the two texts that reads back as the same. */
static struct view double_text(double v, char out[NUM_DOUBLE_MAX])
{
    int n = snprintf(out, NUM_DOUBLE_MAX, "%.15g", v);
    double back;

    if (num_parse_double(view_of(out, (size_t)n), &back) && back == v)
        return view_of(out, (size_t)n);
    return view_of(out, num_format_double(out, v));
}

static void write_value(struct xml *x, const struct shape_member *m, const char *name, const void *value)
{
    char number[NUM_DOUBLE_MAX], time[TIMESTAMP_LEN + 1];

    switch (m->type) {
    case SHAPE_STRUCT:
        xml_open(x, name);
        xml_write_shape(x, m->shape, value);
        xml_close(x);
        break;
    case SHAPE_STRING:
        xml_element(x, name, *(const struct view *)value);
        break;
    case SHAPE_BOOLEAN:
        xml_element(x, name, *(const bool *)value ? VIEW("true") : VIEW("false"));
        break;
    case SHAPE_INTEGER:
        xml_element(x, name, view_of(number, num_format_int(number, *(const int64_t *)value)));
        break;
    case SHAPE_DOUBLE:
        xml_element(x, name, double_text(*(const double *)value, number));
        break;
    case SHAPE_TIME:
        timestamp_format(time, *(const int64_t *)value);
        xml_element(x, name, view_of(time, TIMESTAMP_LEN));
        break;
    case SHAPE_REFUSED:
        break;
    }
}

static void write_list(struct xml *x, const struct shape_member *m, struct shape_list list)
{
    size_t size = shape_item_size(m);

    if (!list.set && list.count == 0)
        return;
    xml_open(x, m->xml);
    for (size_t i = 0; i < list.count; i++)
        write_value(x, m, m->item.p, (const char *)list.items + i * size);
    xml_close(x);
}

void xml_write_shape(struct xml *x, const struct shape *shape, const void *value)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct shape_member *m = &shape->members[i];
        const void *at = shape_at(m, value), *inner;

        if (m->type == SHAPE_REFUSED)
            continue;
        if (m->list)
            write_list(x, m, shape_load_list(at));
        else if (m->type == SHAPE_STRUCT ? (inner = shape_load_pointer(at)) != NULL : shape_scalar(m, at, &inner))
            write_value(x, m, m->xml, inner);
    }
}
