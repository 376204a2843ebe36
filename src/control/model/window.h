/* Weekly maintenance windows ("sun:05:00-sun:06:00") and daily snapshot windows ("05:00-06:00"), in UTC. Their texts have
 * been checked. */
#ifndef CONTROL_MODEL_WINDOW_H
#define CONTROL_MODEL_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define WINDOW_TEXT_MAX 32

/* A random maintenance window of an hour within the region's night, and a snapshot window in the other half of the day. */
void window_make(char maintenance[WINDOW_TEXT_MAX], char snapshot[WINDOW_TEXT_MAX]);

/* Have both a minute in common? */
bool window_overlap(struct view maintenance, struct view snapshot);

/* Is it in the maintenance window now? */
bool window_is_open(struct view maintenance, int64_t now_ms);

#endif
