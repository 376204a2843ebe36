/* The name of a connection, which HELLO sets as well as CLIENT SETNAME. */
#ifndef CMD_CLIENT_H
#define CMD_CLIENT_H

#include <stdbool.h>

#include "base/view.h"

struct call;

/* Only printable characters without spaces: CLIENT LIST could not be read otherwise. */
bool client_name_valid(struct view v);

/* Names the connection; an empty name takes it away. Replies and returns false when the name is not valid. */
bool client_set_name(struct call *c, struct view name);

#endif
