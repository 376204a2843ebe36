/*
 * Answers with ldns as the codec: it reads the records of the query one by one, and writes the packet of the answer, with
 * compressed names. It is not given the whole query (ldns_wire2pkt), because that takes more than a query may have
 * (answers in it, a second OPT, bytes behind the end) and builds it all before anybody can object: here the counts are
 * looked at first, and there are at most three records.
 *
 * The client's spelling of the name is kept, in the question and before the addresses: some mix upper and lower case to
 * recognise what they asked for (draft-vixie-dnsext-dns0x20). Whatever compares names uses a copy in lower case.
 */
#include "control/dns/answer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define NAME_TEXT_MAX 256
#define BADVERS 16       /* its low four bits would be in the header */
#define ADDITIONAL_MAX 2 /* OPT, and a signature that means nothing here */

/* Seconds; for secondaries, of which there are none. */
#define SOA_REFRESH 3600
#define SOA_RETRY 600
#define SOA_EXPIRE 86400

struct zone {
    ldns_rdf *name; /* lower case */
    ldns_rdf *server;
    ldns_rr *soa, *ns;
};

struct dns_zones {
    struct zone *zones;
    size_t count;
    struct in_addr nameserver;
    dns_lookup *lookup;
    void *arg;
};

struct query {
    ldns_rr *question;
    ldns_rdf *name; /* of the question, in lower case */
    bool edns, dnssec_ok;
    unsigned version;
    size_t size; /* that the client takes */
};

/* What ldns allocates is small and of fixed size. */
static void *must(void *p)
{
    if (p == NULL) {
        log_warning("Out of memory in a DNS answer");
        abort();
    }
    return p;
}

static ldns_rdf *name_clone(const ldns_rdf *rdf)
{
    return must(ldns_rdf_clone(rdf));
}

/* ---- zones ------------------------------------------------------------------------------------------------------- */

/* "ns" and the like before the zone's name; NULL when that is too long. */
static ldns_rdf *name_below(const char *label, const ldns_rdf *zone)
{
    ldns_rdf *below = must(ldns_dname_new_frm_str(label));

    if (ldns_dname_cat(below, zone) != LDNS_STATUS_OK || ldns_rdf_size(below) > LDNS_MAX_DOMAINLEN) {
        ldns_rdf_deep_free(below);
        return NULL;
    }
    return below;
}

static ldns_rr *record_new(const ldns_rdf *owner, ldns_rr_type type, uint32_t ttl)
{
    ldns_rr *rr = must(ldns_rr_new());

    ldns_rr_set_owner(rr, name_clone(owner));
    ldns_rr_set_type(rr, type);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    ldns_rr_set_ttl(rr, ttl);
    return rr;
}

static void record_add(ldns_rr *rr, ldns_rdf *rdf)
{
    if (!ldns_rr_push_rdf(rr, must(rdf)))
        must(NULL);
}

/* The last number is for how long the absence of a name may be remembered. The serial number is the time of the start:
 * nobody transfers these zones. */
static ldns_rr *soa_new(const struct zone *zone, const ldns_rdf *mailbox)
{
    const uint32_t spans[] = {SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, DNS_TTL};
    ldns_rr *rr = record_new(zone->name, LDNS_RR_TYPE_SOA, DNS_TTL);

    record_add(rr, name_clone(zone->server));
    record_add(rr, name_clone(mailbox));
    record_add(rr, ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, (uint32_t)(clock_wall_ms() / 1000)));
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        record_add(rr, ldns_native2rdf_int32(LDNS_RDF_TYPE_PERIOD, spans[i]));
    return rr;
}

static bool zone_init(struct zone *zone, const char *name)
{
    ldns_rdf *mailbox;

    zone->name = ldns_dname_new_frm_str(name);
    if (zone->name == NULL || ldns_dname_label_count(zone->name) == 0)
        return false;
    ldns_dname2canonical(zone->name);
    zone->server = name_below("ns", zone->name);
    mailbox = name_below("hostmaster", zone->name);
    if (zone->server != NULL && mailbox != NULL) {
        zone->soa = soa_new(zone, mailbox);
        zone->ns = record_new(zone->name, LDNS_RR_TYPE_NS, DNS_TTL);
        record_add(zone->ns, name_clone(zone->server));
    }
    ldns_rdf_deep_free(mailbox);
    return zone->ns != NULL;
}

struct dns_zones *dns_zones_new(const char *const *names, size_t n, struct in_addr nameserver, dns_lookup *lookup,
                                void *arg)
{
    struct dns_zones *z = mem_zalloc(sizeof *z);
    bool good = n > 0;

    z->zones = mem_zalloc(n * sizeof *z->zones + 1);
    z->count = n;
    z->nameserver = nameserver;
    z->lookup = lookup;
    z->arg = arg;
    for (size_t i = 0; i < n && good; i++)
        good = zone_init(&z->zones[i], names[i]);
    if (!good) {
        dns_zones_free(z);
        return NULL;
    }
    return z;
}

void dns_zones_free(struct dns_zones *z)
{
    if (z == NULL)
        return;
    for (size_t i = 0; i < z->count; i++) {
        ldns_rdf_deep_free(z->zones[i].name);
        ldns_rdf_deep_free(z->zones[i].server);
        ldns_rr_free(z->zones[i].soa);
        ldns_rr_free(z->zones[i].ns);
    }
    mem_free(z->zones);
    mem_free(z);
}

/* The closest zone that a name in lower case is in, or NULL. */
static const struct zone *zone_of(const struct dns_zones *z, const ldns_rdf *name)
{
    const struct zone *best = NULL;

    for (size_t i = 0; i < z->count; i++) {
        const struct zone *zone = &z->zones[i];
        if ((ldns_dname_compare(name, zone->name) == 0 || ldns_dname_is_subdomain(name, zone->name)) &&
            (best == NULL || ldns_rdf_size(zone->name) > ldns_rdf_size(best->name)))
            best = zone;
    }
    return best;
}

/* ---- the query --------------------------------------------------------------------------------------------------- */

/* The OPT record: class and TTL are the size, and version and flags. Only one, and of the root. */
static bool read_opt(const ldns_rr *rr, struct query *q)
{
    uint32_t bits = ldns_rr_ttl(rr);

    if (q->edns || ldns_rdf_size(ldns_rr_owner(rr)) != 1)
        return false;
    q->edns = true;
    q->size = ldns_rr_get_class(rr);
    q->version = bits >> 16 & 0xff;
    q->dnssec_ok = (bits & 0x8000) != 0;
    return true;
}

static bool read_additional(const uint8_t *p, size_t n, size_t at, struct query *q)
{
    for (unsigned left = LDNS_ARCOUNT(p); left > 0; left--) {
        ldns_rr *rr = NULL;
        bool good;
        if (ldns_wire2rr(&rr, p, n, &at, LDNS_SECTION_ADDITIONAL) != LDNS_STATUS_OK)
            return false;
        good = ldns_rr_get_type(rr) != LDNS_RR_TYPE_OPT || read_opt(rr, q);
        ldns_rr_free(rr);
        if (!good)
            return false;
    }
    return at == n;
}

/* False for what is malformed; *q is to be freed either way. There is nothing that the question's name could be compressed
 * against. */
static bool read_query(const uint8_t *p, size_t n, struct query *q)
{
    size_t at = LDNS_HEADER_SIZE;

    if (n > DNS_QUERY_MAX || LDNS_QDCOUNT(p) != 1 || LDNS_ANCOUNT(p) != 0 || LDNS_NSCOUNT(p) != 0 ||
        LDNS_ARCOUNT(p) > ADDITIONAL_MAX ||
        ldns_wire2rr(&q->question, p, n, &at, LDNS_SECTION_QUESTION) != LDNS_STATUS_OK ||
        at != LDNS_HEADER_SIZE + ldns_rdf_size(ldns_rr_owner(q->question)) + 2 * sizeof(uint16_t))
        return false;
    q->name = name_clone(ldns_rr_owner(q->question));
    ldns_dname2canonical(q->name);
    return read_additional(p, n, at, q);
}

static void free_query(struct query *q)
{
    ldns_rr_free(q->question);
    ldns_rdf_deep_free(q->name);
}

/* The name as text: its length, or 0 for one that no node has, because other bytes are in it than letters, digits, '-' and
 * '_'. ldns would write those as escapes. */
static size_t name_text(const ldns_rdf *name, char out[NAME_TEXT_MAX])
{
    const uint8_t *p = ldns_rdf_data(name);
    size_t n = 0;

    for (; *p != 0; p += *p + 1) {
        if (n > 0)
            out[n++] = '.';
        for (unsigned i = 1; i <= *p; i++) {
            char c = (char)p[i];
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
                return 0;
            out[n++] = c;
        }
    }
    return n;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* Does the name exist, and what has it? The zone itself always does. */
static bool look_up(const struct dns_zones *z, const struct zone *zone, const ldns_rdf *name,
                    struct dns_addresses *found)
{
    char text[NAME_TEXT_MAX];
    size_t n;
    bool exists;

    *found = (struct dns_addresses){.ttl = DNS_TTL};
    if (z->nameserver.s_addr != INADDR_ANY && ldns_dname_compare(name, zone->server) == 0) {
        found->address[0] = z->nameserver;
        found->count = 1;
        return true;
    }
    n = name_text(name, text);
    exists = n != 0 && z->lookup(z->arg, view_of(text, n), found);
    if (!exists)
        found->count = 0;
    assert(found->count <= DNS_ADDRESSES_MAX);
    return exists || ldns_dname_compare(name, zone->name) == 0;
}

static void push(ldns_pkt *pkt, ldns_pkt_section section, ldns_rr *rr)
{
    if (!ldns_pkt_push_rr(pkt, section, must(rr)))
        must(NULL);
}

static void push_addresses(ldns_pkt *pkt, const ldns_rdf *owner, const struct dns_addresses *found, unsigned turn)
{
    for (unsigned i = 0; i < found->count; i++) {
        ldns_rr *rr = record_new(owner, LDNS_RR_TYPE_A, found->ttl);
        record_add(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, sizeof *found->address,
                                             &found->address[(turn % found->count + i) % found->count]));
        push(pkt, LDNS_SECTION_ANSWER, rr);
    }
}

/* Types that are only asked for, never stored: RFC 6895, 3.1. OPT is one outside of their range. */
static bool is_query_type(ldns_rr_type type)
{
    return (type >= 128 && type <= 255) || type == LDNS_RR_TYPE_OPT;
}

/* Puts the records into pkt; the response code. */
static ldns_pkt_rcode resolve(const struct dns_zones *z, const struct query *q, unsigned turn, ldns_pkt *pkt)
{
    ldns_rr_type type = ldns_rr_get_type(q->question);
    const struct zone *zone = zone_of(z, q->name);
    struct dns_addresses found;
    bool apex;

    if (zone == NULL || ldns_rr_get_class(q->question) != LDNS_RR_CLASS_IN || is_query_type(type))
        return LDNS_RCODE_REFUSED;
    ldns_pkt_set_aa(pkt, true);
    if (!look_up(z, zone, q->name, &found)) {
        push(pkt, LDNS_SECTION_AUTHORITY, ldns_rr_clone(zone->soa));
        return LDNS_RCODE_NXDOMAIN;
    }
    apex = ldns_dname_compare(q->name, zone->name) == 0;
    if (apex && type == LDNS_RR_TYPE_SOA)
        push(pkt, LDNS_SECTION_ANSWER, ldns_rr_clone(zone->soa));
    else if (apex && type == LDNS_RR_TYPE_NS)
        push(pkt, LDNS_SECTION_ANSWER, ldns_rr_clone(zone->ns));
    else if (type == LDNS_RR_TYPE_A && found.count > 0)
        push_addresses(pkt, ldns_rr_owner(q->question), &found, turn);
    else
        push(pkt, LDNS_SECTION_AUTHORITY, ldns_rr_clone(zone->soa));
    return LDNS_RCODE_NOERROR;
}

/* A header and nothing else, for what could not be read. */
static size_t put_header(const uint8_t *query, ldns_pkt_rcode rcode, uint8_t out[DNS_ANSWER_MAX])
{
    memset(out, 0, LDNS_HEADER_SIZE);
    memcpy(out, query, 2);
    LDNS_QR_SET(out);
    LDNS_OPCODE_SET(out, LDNS_OPCODE_WIRE(query));
    if (LDNS_RD_WIRE(query))
        LDNS_RD_SET(out);
    LDNS_RCODE_SET(out, rcode);
    return LDNS_HEADER_SIZE;
}

/* The packet without its records. */
static ldns_pkt *begin_answer(const uint8_t *query, const struct query *q)
{
    ldns_pkt *pkt = must(ldns_pkt_new());

    ldns_pkt_set_id(pkt, LDNS_ID_WIRE(query));
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_rd(pkt, LDNS_RD_WIRE(query));
    ldns_pkt_set_cd(pkt, LDNS_CD_WIRE(query));
    push(pkt, LDNS_SECTION_QUESTION, ldns_rr_clone(q->question));
    if (q->edns) {
        ldns_pkt_set_edns_udp_size(pkt, DNS_ANSWER_MAX);
        ldns_pkt_set_edns_do(pkt, q->dnssec_ok);
    }
    return pkt;
}

/* Encodes; 0 when it takes more than `limit` bytes. */
static size_t encode(const ldns_pkt *pkt, size_t limit, uint8_t out[DNS_ANSWER_MAX])
{
    ldns_buffer *wire = must(ldns_buffer_new(DNS_ANSWER_MAX));
    size_t n = 0;

    if (ldns_pkt2buffer_wire(wire, pkt) == LDNS_STATUS_OK && ldns_buffer_position(wire) <= limit) {
        n = ldns_buffer_position(wire);
        memcpy(out, ldns_buffer_begin(wire), n);
    }
    ldns_buffer_free(wire);
    return n;
}

static size_t answer_query(const struct dns_zones *z, const uint8_t *query, const struct query *q, size_t limit,
                           unsigned turn, uint8_t out[DNS_ANSWER_MAX])
{
    ldns_pkt *pkt = begin_answer(query, q);
    size_t n;

    if (q->version != 0) {
        ldns_pkt_set_edns_extended_rcode(pkt, BADVERS >> 4);
    } else {
        ldns_pkt_set_rcode(pkt, resolve(z, q, turn, pkt));
    }
    n = encode(pkt, limit, out);
    if (n == 0) {
        bool aa = ldns_pkt_aa(pkt);
        ldns_pkt_free(pkt);
        pkt = begin_answer(query, q);
        ldns_pkt_set_aa(pkt, aa);
        ldns_pkt_set_tc(pkt, true);
        n = encode(pkt, limit, out);
    }
    ldns_pkt_free(pkt);
    return n;
}

size_t dns_answer(const struct dns_zones *z, const void *query, size_t n, size_t limit, unsigned turn,
                  uint8_t out[DNS_ANSWER_MAX])
{
    const uint8_t *p = query;
    struct query q = {0};
    size_t length;

    if (n < LDNS_HEADER_SIZE || LDNS_QR_WIRE(p))
        return 0;
    if (LDNS_OPCODE_WIRE(p) != LDNS_PACKET_QUERY)
        return put_header(p, LDNS_RCODE_NOTIMPL, out);
    if (read_query(p, n, &q)) {
        if (q.size > limit)
            limit = q.size < DNS_ANSWER_MAX ? q.size : DNS_ANSWER_MAX;
        length = answer_query(z, p, &q, limit, turn, out);
    } else {
        length = put_header(p, LDNS_RCODE_FORMERR, out);
    }
    free_query(&q);
    return length;
}
