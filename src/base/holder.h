/* Who listens at an address, when it is not to be had: for a line that lets people act. */
#ifndef BASE_HOLDER_H
#define BASE_HOLDER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define HOLDER_TEXT_MAX 160

/* Writes "process 812 (redis-server) listens at 0.0.0.0:6379", as much of it as can be found out; "" and false when nobody
 * is seen. Processes of other users are not seen without privileges. Reads all of /proc, but stops after 50 ms. */
bool holder_find(const struct sockaddr_in *at, char *out, size_t size);

#endif
