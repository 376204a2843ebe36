/*
 * Asking larderd's name server for the addresses of a name: one question over UDP, A records alone (RFC 1035). For programs
 * that cannot have the system ask: the command line tool, and the library that `larder run` preloads. It allocates nothing
 * and uses nothing but the C library, because it works inside of strangers' programs.
 */
#ifndef PRELOAD_LOOKUP_H
#define PRELOAD_LOOKUP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOKUP_ADDRESSES_MAX 16 /* of one name; more are dropped */
#define LOOKUP_TRIES 3          /* questions that are sent before giving up */
#define LOOKUP_WAIT_MS 1000     /* for an answer to each */
#define LOOKUP_PACKET_MAX 512

enum lookup_result {
    LOOKUP_FOUND,
    LOOKUP_NO_ADDRESS, /* the name exists */
    LOOKUP_NO_NAME,
    LOOKUP_FAILED, /* no answer, or one that says nothing */
};

/* Asks. The addresses are in *out as they came, their number in *count. Takes LOOKUP_TRIES times LOOKUP_WAIT_MS at most. */
enum lookup_result lookup_addresses(const struct sockaddr_in *server, const char *name,
                                    struct in_addr out[LOOKUP_ADDRESSES_MAX], unsigned *count);

/* Is `name` the suffix or below it? Case and a dot at the name's end do not matter; the suffix has neither dot at its ends. */
bool lookup_is_below(const char *name, const char *suffix);

/* Reads "127.64.0.2:53". */
bool lookup_read_server(const char *text, struct sockaddr_in *out);

/* The parts: writes the question, and returns its length, 0 when the name is none; and reads an answer to it, false when it
 * is not an answer to that question. */
size_t lookup_write(uint16_t id, const char *name, uint8_t out[LOOKUP_PACKET_MAX]);
bool lookup_read(const uint8_t *question, size_t question_n, const uint8_t *answer, size_t n,
                 struct in_addr out[LOOKUP_ADDRESSES_MAX], unsigned *count, enum lookup_result *result);

#endif
