/*
 * From a DNS query to its answer (RFC 1035, 2308, 6891, 8482): packets in, packets out, no sockets. The names are those of
 * the nodes and endpoints below the service's zones, and nobody is asked for others: there is no recursion.
 *
 *     A                   the addresses, in an order that turns when there are several
 *     SOA, NS             of a zone itself
 *     any other type      of a name that exists: NOERROR without an answer, the zone's SOA beside it
 *     unknown names       NXDOMAIN and the SOA
 *     other zones, other classes than IN, ANY, AXFR and other types that are only asked for: REFUSED
 *     other opcodes       NOTIMP
 *     what is malformed   FORMERR; a response, or less than a header, is no query and gets no answer
 *
 * An answer carries what was asked for and nothing beside it, so that it is of little use for amplification.
 */
#ifndef CONTROL_DNS_ANSWER_H
#define CONTROL_DNS_ANSWER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

#define DNS_ADDRESSES_MAX 8 /* of one name */
#define DNS_TTL 5           /* seconds */
#define DNS_QUERY_MAX 4096  /* bytes; a longer one is malformed */
#define DNS_ANSWER_MAX 1232 /* bytes over TCP, and over UDP when the client takes so many: no fragments (RFC 9715) */
#define DNS_UDP_LIMIT 512   /* bytes over UDP to clients that do not say what they take */

/* What is known of a name: count 0 when it has no address, now. */
struct dns_addresses {
    struct in_addr address[DNS_ADDRESSES_MAX];
    unsigned count;
    uint32_t ttl; /* seconds; DNS_TTL unless set */
};

/* Does this name exist? It is in lower case, without a dot at the end, in one of the zones: "c1.0001.cache.internal". A
 * name exists, too, when one below it does ("0001.cache.internal", RFC 8020): it has to be true for that, with count 0. */
typedef bool dns_lookup(void *arg, struct view name, struct dns_addresses *out);

struct dns_zones;

/* The zones by their names ("cache.larder.internal"; a dot at the end may be). `nameserver` is the address of ns.ZONE, which
 * the NS and SOA records name; when it is 0.0.0.0, the lookup is asked for that as for any other name. NULL when a zone's
 * name is not a name, or there is none. */
struct dns_zones *dns_zones_new(const char *const *names, size_t n, struct in_addr nameserver, dns_lookup *lookup,
                                void *arg);
void dns_zones_free(struct dns_zones *z);

/* Answers the n bytes of `query`. The answer takes at most `limit` bytes (DNS_UDP_LIMIT or DNS_ANSWER_MAX; 300 at least), or
 * what the client says that it takes if that is more; when it does not fit, it says so (TC) and has no records. `turn`
 * says which of several addresses comes first. Returns the length of the answer, 0 for none. */
size_t dns_answer(const struct dns_zones *z, const void *query, size_t n, size_t limit, unsigned turn,
                  uint8_t out[DNS_ANSWER_MAX]);

#endif
