/* Events: what happened to resources, in AWS's wording, for two weeks. Their ids are numbers in the order of time. */
#ifndef CONTROL_MODEL_EVENTS_H
#define CONTROL_MODEL_EVENTS_H

#include <stdint.h>

#include "base/view.h"

struct model;
struct txn;

#define EVENTS_KEPT_MS (INT64_C(14) * 24 * 3600 * 1000)
#define EVENTS_MAX 10000

/* Adds an event, and takes away those that are too old or too many. source_type: "cache-cluster", "replication-group",
 * "cache-parameter-group" ... */
void events_add(struct txn *t, struct model *m, const char *source_type, struct view source, struct view message,
                int64_t now_ms);

#endif
