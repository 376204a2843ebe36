/*
 * DNS queries. Whatever comes, the answer is a packet that ldns reads, with the query's identifier, not longer than the
 * client takes, the same whenever it is asked again; and to what is no query, a response for instance, there is none.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ldns/ldns.h>

#include "control/dns/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool good)
{
    if (!good)
        abort();
}

/* Names exist or not, and have none to all addresses, as their length says. */
static bool lookup(void *arg, struct view name, struct dns_addresses *out)
{
    (void)arg;
    demand(name.n > 0 && name.n <= 253 && name.p[name.n - 1] != '.');
    for (size_t i = 0; i < name.n; i++)
        demand(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", name.p[i]) != NULL && name.p[i] != '\0');
    out->count = (unsigned)(name.n % (DNS_ADDRESSES_MAX + 1));
    for (unsigned i = 0; i < out->count; i++)
        out->address[i].s_addr = htonl(0x7f400001 + i);
    return name.n % 7 != 0;
}

static const struct dns_zones *zones(void)
{
    static const char *const names[] = {"cache.larder.internal", "a.cache.larder.internal", "t"};
    static struct dns_zones *z;

    if (z == NULL)
        z = dns_zones_new(names, sizeof names / sizeof *names, (struct in_addr){htonl(INADDR_LOOPBACK)}, lookup, NULL);
    return z;
}

/* What an answer must be that has more than a header. */
static void check_packet(const uint8_t *query, size_t n, const uint8_t *out, size_t length)
{
    ldns_pkt *pkt = NULL;
    size_t question = 12;

    demand(ldns_wire2pkt(&pkt, out, length) == LDNS_STATUS_OK);
    demand(ldns_pkt_qdcount(pkt) == 1 && ldns_pkt_ancount(pkt) <= DNS_ADDRESSES_MAX && ldns_pkt_nscount(pkt) <= 1);
    demand(ldns_rr_list_rr_count(ldns_pkt_additional(pkt)) == 0);
    demand(!ldns_pkt_ra(pkt) && (!ldns_pkt_tc(pkt) || ldns_pkt_ancount(pkt) + ldns_pkt_nscount(pkt) == 0));
    demand(ldns_pkt_aa(pkt) || ldns_pkt_ancount(pkt) + ldns_pkt_nscount(pkt) == 0);
    /* The question, as it was spelled. */
    while (out[question] != 0)
        question += out[question] + 1u;
    question += 5;
    demand(question <= n && memcmp(query + 12, out + 12, question - 12) == 0);
    ldns_pkt_free(pkt);
}

static void fuzz(const uint8_t *query, size_t n, size_t limit)
{
    uint8_t out[DNS_ANSWER_MAX], again[DNS_ANSWER_MAX];
    size_t length = dns_answer(zones(), query, n, limit, 1, out);

    demand(length <= DNS_ANSWER_MAX && (length <= limit || limit < DNS_ANSWER_MAX));
    demand((length == 0) == (n < 12 || (query[2] & 0x80) != 0));
    if (length == 0)
        return;
    demand(length >= 12 && memcmp(out, query, 2) == 0 && (out[2] & 0x80) != 0);
    demand(((out[2] ^ query[2]) & 0x79) == 0); /* opcode and RD */
    demand(dns_answer(zones(), out, length, limit, 1, again) == 0);
    if (length > 12)
        check_packet(query, n, out, length);
    else
        demand(out[3] == 1 || out[3] == 4); /* FORMERR, NOTIMP */
    if (query[11] == 0)                     /* without OPT the limit holds */
        demand(length <= limit);
    demand(dns_answer(zones(), query, n, limit, 1, again) == length && memcmp(out, again, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz(data, size, 300);
    fuzz(data, size, DNS_UDP_LIMIT);
    fuzz(data, size, DNS_ANSWER_MAX);
    return 0;
}
