/* What the load programs share: connections, the key's format, requests, and replies counted without being kept. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_KEY_LEN 15 /* "key:" and eleven digits */

/* A connected, non-blocking socket to 127.0.0.1:port. Ends the program when that fails. */
int client_connect(int port);

/* Nanoseconds of the monotonic clock. */
uint64_t client_now_ns(void);

/* Ends the program with a message; every failure of a measurement is fatal. */
void client_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Writes the key of `index`, CLIENT_KEY_LEN bytes. */
void client_put_key(char *out, uint64_t index);

/* Writes argc words as a RESP array into out (room for `size` bytes); returns its length. Fatal if it does not fit. */
size_t client_put_command(char *out, size_t size, int argc, char **argv);

/* Follows one RESP2 reply of any size and depth through its bytes. All zero is the state before a reply. */
struct client_reply {
    bool started;
    bool is_error;   /* the outermost reply was an error */
    uint64_t values; /* values still to come */
    uint64_t skip;   /* bytes of a bulk string still to come, its line end included */
    unsigned line_len;
    char line[128]; /* the header line so far; longer ones (error texts) are cut */
};

/* Takes bytes up to the end of the reply; returns how many. *done says whether the reply is complete, in which case
 * the state (but for is_error) is zero again. Bytes that are no RESP2 are fatal. */
size_t client_reply_feed(struct client_reply *r, const char *data, size_t len, bool *done);

#endif
