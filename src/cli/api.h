/* Signed calls of the service's API (the Query protocol; SigV4 by libcurl), and reading their answers. */
#ifndef CLI_API_H
#define CLI_API_H

#include <libxml/tree.h>
#include <stdbool.h>

#define API_ERROR_MAX 512

struct service;

/* Does GET /ready answer that the service is? When not, `why` says what came instead. */
bool api_is_ready(const struct service *s, char why[API_ERROR_MAX]);

/* Calls an action of ElastiCache; `parameters` is NULL or what goes behind the action, form-encoded ("Marker=x"). Returns 0
 * with the answer's document, the caller's; or the exit status 1 after it has said what is wrong. */
int api_call(const struct service *s, const char *action, const char *parameters, xmlDoc **out);

/* The child element of that name, or the first one below the child of each name of a path ("A/B"); NULL when there is none,
 * or `from` is NULL. */
const xmlNode *api_child(const xmlNode *from, const char *path);

/* The next element of the same name beside it, or NULL. */
const xmlNode *api_next(const xmlNode *from);

/* The text of the element at the path, which lives as long as the document; "" when there is none. */
const char *api_text(const xmlNode *from, const char *path);

/* Escapes a value for `parameters`. free() it. */
char *api_escape(const char *value);

#endif
