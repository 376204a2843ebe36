/* Connections of replicas: sending them the log, and letting them go when they fall too far behind. */
#ifndef NET_FEED_H
#define NET_FEED_H

#include <stdbool.h>

struct conn;
struct worker;

/* The replica's record changed, or there is more of the stream: looks at it. May close the connection. */
void feed_touch(struct worker *w, struct conn *c);

/* Puts it among those that every turn looks at, if it is not there: its stream begins or goes on. */
void feed_enlist(struct worker *w, struct conn *c);

/* Sends what the socket takes of the stream; false when the connection was closed. */
bool feed_send(struct worker *w, struct conn *c);

/* Is there something of the stream that waits to be sent? */
bool feed_pending(const struct worker *w, const struct conn *c);

/* Closes it when it is too far behind, or silent for too long. */
void feed_check(struct worker *w, struct conn *c);

/* At the end of a turn: sends the stream to this worker's replicas, and asks them for acknowledgements if somebody waits. */
void feed_turn(struct worker *w);

/* Before the loop sleeps: has the log wake it. False when there is something to be sent already. */
bool feed_sleep(struct worker *w);

/* The connection closes. */
void feed_leave(struct worker *w, struct conn *c);

#endif
