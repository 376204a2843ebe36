/*
 * The DNS server: dns/answer.h over UDP and TCP (RFC 7766), on the owner's event loop.
 *
 * Over TCP a client may send many queries, one behind the other. A query has to be complete within a deadline after the
 * one before it, and answers have to be read; as many connections as may be are open at most, and when one more comes,
 * that goes which has been silent for the longest, so that those who only hold connections keep nobody out.
 */
#ifndef CONTROL_DNS_SERVER_H
#define CONTROL_DNS_SERVER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "control/dns/answer.h"

#define DNS_TCP_DEADLINE_MS 10000
#define DNS_TCP_CONNECTIONS 64

struct event_base;
struct dns_server;

struct dns_server_options {
    const char *const *zones; /* names, as for dns_zones_new */
    size_t zone_count;
    struct in_addr nameserver;
    dns_lookup *lookup; /* called on the event loop; must not free the server */
    void *arg;
    unsigned tcp_deadline_ms; /* 0: DNS_TCP_DEADLINE_MS */
    unsigned tcp_connections; /* 0: DNS_TCP_CONNECTIONS */
};

/* A server that does not listen yet. NULL when there is no zone, or one's name is not a name. The texts of the zones are
 * copied; the base is there as long as the server. */
struct dns_server *dns_server_new(struct event_base *base, const struct dns_server_options *options);

/* Listens on an IPv4 address ("127.0.0.1"), on one port for both UDP and TCP; 0 for a free one. The port is in *bound, which
 * may be NULL. It may be called for several addresses. Returns 0 or a negative errno value, nothing changed: -EINVAL for
 * what is no address, -EACCES, -EADDRINUSE, -EADDRNOTAVAIL ... */
int dns_server_listen(struct dns_server *s, const char *address, uint16_t port, uint16_t *bound);

/* Closes everything. Not from within the lookup. Accepts NULL. */
void dns_server_free(struct dns_server *s);

#endif
