/* Queries and their answers, as bytes and as ldns reads them. */
#include "control/dns/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned lookups;
static char looked_up[256];

/* one, two, eight: so many addresses 127.64.0.1 ...; none; below.deep, and so deep. */
static bool lookup(void *arg, struct view name, struct dns_addresses *out)
{
    static const struct {
        const char *name;
        unsigned count;
    } names[] = {{"one", 1}, {"two", 2}, {"eight", 8}, {"none", 0}, {"deep", 0}, {"below.deep", 1}};
    static const char *const zones[] = {".cache.larder.internal", ".inner.cache.larder.internal", ".example"};
    char full[256];

    assert_ptr_equal(arg, &lookups);
    lookups++;
    snprintf(looked_up, sizeof looked_up, "%.*s", (int)name.n, name.p);
    assert_int_equal(out->count, 0);
    assert_int_equal(out->ttl, 5);
    if (name.n > 200) { /* a long one has all addresses */
        out->count = 8;
        return true;
    }
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            snprintf(full, sizeof full, "%s%s", names[i].name, zones[z]);
            if (!view_equal(name, view_str(full)))
                continue;
            out->count = names[i].count;
            for (unsigned n = 0; n < out->count; n++)
                out->address[n].s_addr = htonl(0x7f400001 + n);
            if (i == 0)
                out->ttl = 60;
            return true;
        }
    }
    out->count = 3; /* means nothing */
    return false;
}

static struct dns_zones *zones;

static int make_zones(void **state)
{
    static const char *const names[] = {"Cache.Larder.internal", "inner.cache.larder.internal.", "example"};
    struct in_addr server = {htonl(INADDR_LOOPBACK)};

    (void)state;
    zones = dns_zones_new(names, 3, server, lookup, &lookups);
    return zones == NULL ? -1 : 0;
}

static int free_zones(void **state)
{
    (void)state;
    dns_zones_free(zones);
    dns_zones_free(NULL);
    return 0;
}

/* ---- queries as bytes -------------------------------------------------------------------------------------------- */

struct packet {
    uint8_t p[8192];
    size_t n;
};

static void put16(struct packet *q, unsigned v)
{
    q->p[q->n++] = (uint8_t)(v >> 8);
    q->p[q->n++] = (uint8_t)v;
}

static void put_name(struct packet *q, const char *name)
{
    while (*name != '\0') {
        size_t n = strcspn(name, ".");
        q->p[q->n++] = (uint8_t)n;
        memcpy(q->p + q->n, name, n);
        q->n += n;
        name += n + (name[n] == '.');
    }
    q->p[q->n++] = 0;
}

/* ID 0xbeef, RD. */
static struct packet query_of(const char *name, unsigned type, unsigned class)
{
    struct packet q = {.n = 0};

    put16(&q, 0xbeef);
    put16(&q, 0x0100);
    put16(&q, 1);
    put16(&q, 0);
    put16(&q, 0);
    put16(&q, 0);
    put_name(&q, name);
    put16(&q, type);
    put16(&q, class);
    return q;
}

static void put_opt(struct packet *q, unsigned size, unsigned version, unsigned flags)
{
    put_name(q, "");
    put16(q, LDNS_RR_TYPE_OPT);
    put16(q, size);
    put16(q, version);
    put16(q, flags);
    put16(q, 0);
    q->p[11]++;
}

struct answer {
    uint8_t p[DNS_ANSWER_MAX];
    size_t n;
};

static struct answer ask(const struct packet *q, size_t limit, unsigned turn)
{
    struct answer a;
    uint8_t *exact = malloc(q->n + 1); /* so that reading behind the end is seen */

    memcpy(exact, q->p, q->n);
    memset(a.p, 0xee, sizeof a.p);
    a.n = dns_answer(zones, exact, q->n, limit, turn, a.p);
    free(exact);
    return a;
}

/* What ldns makes of the answer: "NOERROR aa | one.example. A 127.64.0.1 60 | ..." */
static const char *text_of(const struct answer *a)
{
    static char text[4096];
    ldns_pkt *pkt;
    ldns_rr_list *lists[2];
    int n;

    if (a->n == 0)
        return "dropped";
    assert_int_equal(ldns_wire2pkt(&pkt, a->p, a->n), LDNS_STATUS_OK);
    assert_int_equal(ldns_pkt_id(pkt), 0xbeef);
    assert_true(ldns_pkt_qr(pkt) && !ldns_pkt_ra(pkt) && !ldns_pkt_ad(pkt));
    n = snprintf(text, sizeof text, "%d%s%s%s", (int)ldns_pkt_get_rcode(pkt), ldns_pkt_aa(pkt) ? " aa" : "",
                 ldns_pkt_tc(pkt) ? " tc" : "", ldns_pkt_rd(pkt) ? " rd" : "");
    if (ldns_pkt_edns(pkt))
        n +=
            snprintf(text + n, sizeof text - (size_t)n, " edns %u %u.%u%s", ldns_pkt_edns_udp_size(pkt),
                     ldns_pkt_edns_version(pkt), ldns_pkt_edns_extended_rcode(pkt), ldns_pkt_edns_do(pkt) ? " do" : "");
    lists[0] = ldns_pkt_answer(pkt);
    lists[1] = ldns_pkt_authority(pkt);
    for (unsigned i = 0; i < 2; i++) {
        if (ldns_rr_list_rr_count(lists[i]) > 0)
            n += snprintf(text + n, sizeof text - (size_t)n, " %s", i == 0 ? "|" : "||");
        for (size_t k = 0; k < ldns_rr_list_rr_count(lists[i]); k++) {
            ldns_rr *rr = ldns_rr_list_rr(lists[i], k);
            char *owner = ldns_rdf2str(ldns_rr_owner(rr)), *type = ldns_rr_type2str(ldns_rr_get_type(rr));
            char *first = ldns_rdf2str(ldns_rr_rdf(rr, 0));
            n += snprintf(text + n, sizeof text - (size_t)n, " %s %s %s %u", owner, type, first, ldns_rr_ttl(rr));
            free(owner);
            free(type);
            free(first);
        }
    }
    assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_additional(pkt)), 0);
    ldns_pkt_free(pkt);
    return text;
}

static void expect(const char *name, unsigned type, const char *expected)
{
    struct packet q = query_of(name, type, LDNS_RR_CLASS_IN);
    struct answer a = ask(&q, DNS_UDP_LIMIT, 0);

    assert_string_equal(text_of(&a), expected);
    /* The question, as it was asked. */
    assert_true(a.n > q.n - 1);
    assert_memory_equal(a.p + 12, q.p + 12, q.n - 12);
}

#define SOA(zone) " || " zone " SOA ns." zone " 5"

static void addresses(void **state)
{
    (void)state;
    expect("one.cache.larder.internal", LDNS_RR_TYPE_A, "0 aa rd | one.cache.larder.internal. A 127.64.0.1 60");
    expect("two.example", LDNS_RR_TYPE_A, "0 aa rd | two.example. A 127.64.0.1 5 two.example. A 127.64.0.2 5");
    expect("one.inner.cache.larder.internal", LDNS_RR_TYPE_A,
           "0 aa rd | one.inner.cache.larder.internal. A 127.64.0.1 60");
    expect("below.deep.example", LDNS_RR_TYPE_A, "0 aa rd | below.deep.example. A 127.64.0.1 5");
    expect("ns.example", LDNS_RR_TYPE_A, "0 aa rd | ns.example. A 127.0.0.1 5");
}

static void no_addresses(void **state)
{
    (void)state;
    expect("none.example", LDNS_RR_TYPE_A, "0 aa rd" SOA("example."));
    expect("deep.example", LDNS_RR_TYPE_A, "0 aa rd" SOA("example."));
    expect("one.example", LDNS_RR_TYPE_AAAA, "0 aa rd" SOA("example."));
    expect("one.example", LDNS_RR_TYPE_TXT, "0 aa rd" SOA("example."));
    expect("one.example", LDNS_RR_TYPE_SOA, "0 aa rd" SOA("example."));
    expect("one.example", LDNS_RR_TYPE_NS, "0 aa rd" SOA("example."));
    expect("one.example", 65535, "0 aa rd" SOA("example."));
    expect("ns.example", LDNS_RR_TYPE_AAAA, "0 aa rd" SOA("example."));
    expect("example", LDNS_RR_TYPE_A, "0 aa rd" SOA("example."));
    expect("example", LDNS_RR_TYPE_DNSKEY, "0 aa rd" SOA("example."));
    expect("unknown.example", LDNS_RR_TYPE_A, "3 aa rd" SOA("example."));
    expect("x.one.example", LDNS_RR_TYPE_A, "3 aa rd" SOA("example."));
    expect("unknown.inner.cache.larder.internal", LDNS_RR_TYPE_MX, "3 aa rd" SOA("inner.cache.larder.internal."));
    expect("unknown.cache.larder.internal", LDNS_RR_TYPE_A, "3 aa rd" SOA("cache.larder.internal."));
}

static void of_the_zone(void **state)
{
    (void)state;
    expect("example", LDNS_RR_TYPE_NS, "0 aa rd | example. NS ns.example. 5");
    expect("example", LDNS_RR_TYPE_SOA, "0 aa rd | example. SOA ns.example. 5");
    expect("cache.larder.internal", LDNS_RR_TYPE_NS, "0 aa rd | cache.larder.internal. NS ns.cache.larder.internal. 5");
    expect("inner.cache.larder.internal", LDNS_RR_TYPE_SOA,
           "0 aa rd | inner.cache.larder.internal. SOA ns.inner.cache.larder.internal. 5");
}

static void refused(void **state)
{
    static const unsigned classes[] = {0, LDNS_RR_CLASS_CH, LDNS_RR_CLASS_HS, LDNS_RR_CLASS_NONE, LDNS_RR_CLASS_ANY};

    (void)state;
    lookups = 0;
    expect("", LDNS_RR_TYPE_NS, "5 rd");
    expect("internal", LDNS_RR_TYPE_A, "5 rd");
    expect("larder.internal", LDNS_RR_TYPE_SOA, "5 rd");
    expect("one.example.com", LDNS_RR_TYPE_A, "5 rd");
    expect("oneexample", LDNS_RR_TYPE_A, "5 rd");
    expect("one.example", LDNS_RR_TYPE_ANY, "5 rd");
    expect("one.example", LDNS_RR_TYPE_OPT, "5 rd");
    expect("example", LDNS_RR_TYPE_AXFR, "5 rd");
    expect("example", LDNS_RR_TYPE_IXFR, "5 rd");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct packet q = query_of("one.example", LDNS_RR_TYPE_A, classes[i]);
        struct answer a = ask(&q, DNS_UDP_LIMIT, 0);
        assert_string_equal(text_of(&a), "5 rd");
    }
    assert_int_equal(lookups, 0);
}

static void spelling(void **state)
{
    (void)state;
    expect("tWo.ExAmPlE", LDNS_RR_TYPE_A, "0 aa rd | tWo.ExAmPlE. A 127.64.0.1 5 tWo.ExAmPlE. A 127.64.0.2 5");
    assert_string_equal(looked_up, "two.example");
    expect("NS.EXAMPLE", LDNS_RR_TYPE_A, "0 aa rd | NS.EXAMPLE. A 127.0.0.1 5");
    /* Names that no node has are not looked up. */
    lookups = 0;
    expect("a b.example", LDNS_RR_TYPE_A, "3 aa rd" SOA("example."));
    expect("*.example", LDNS_RR_TYPE_A, "3 aa rd" SOA("example."));
    expect("\xff\x01.example", LDNS_RR_TYPE_A, "3 aa rd" SOA("example."));
    assert_int_equal(lookups, 0);
    /* A dot, or a NUL, within a label: it must not be taken for one between labels. */
    struct packet q = query_of("belowxdeep.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    *(uint8_t *)memchr(q.p, 'x', q.n) = '.';
    struct answer a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "3 aa rd" SOA("example."));
    *(uint8_t *)memchr(q.p + 13, '.', q.n) = '\0';
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "3 aa rd" SOA("example."));
    assert_int_equal(lookups, 0);
}

static void turns(void **state)
{
    struct packet q = query_of("two.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct answer a;

    (void)state;
    a = ask(&q, DNS_UDP_LIMIT, 1);
    assert_string_equal(text_of(&a), "0 aa rd | two.example. A 127.64.0.2 5 two.example. A 127.64.0.1 5");
    a = ask(&q, DNS_UDP_LIMIT, 4294967295u);
    assert_string_equal(text_of(&a), "0 aa rd | two.example. A 127.64.0.2 5 two.example. A 127.64.0.1 5");
    a = ask(&q, DNS_UDP_LIMIT, 4294967294u);
    assert_string_equal(text_of(&a), "0 aa rd | two.example. A 127.64.0.1 5 two.example. A 127.64.0.2 5");
}

/* Every name is written once: 12 of header, the question, and 16 for each address. */
static void sizes(void **state)
{
    struct packet q = query_of("eight.cache.larder.internal", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);

    (void)state;
    assert_int_equal(ask(&q, DNS_UDP_LIMIT, 0).n, q.n + 8 * 16);
    q = query_of("one.cache.larder.internal", LDNS_RR_TYPE_AAAA, LDNS_RR_CLASS_IN);
    assert_true(ask(&q, DNS_UDP_LIMIT, 0).n <= q.n + 12 + 5 + 13 + 20);
}

static void long_name(char out[256], size_t labels)
{
    *out = '\0';
    for (size_t i = 0; i < labels; i++)
        strcat(out, "abcdefghi.");
    strcat(out, "example");
}

static void truncation(void **state)
{
    char name[256];
    struct packet q;
    struct answer a;

    (void)state;
    long_name(name, 24);
    q = query_of(name, LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_int_equal(a.n, q.n + 8 * 16);
    a = ask(&q, 300, 0);
    assert_string_equal(text_of(&a), "0 aa tc rd");
    assert_int_equal(a.n, q.n);
    put_opt(&q, 350, 0, 0);
    a = ask(&q, 300, 0);
    assert_string_equal(text_of(&a), "0 aa tc rd edns 1232 0.0");
    q.p[q.n - 8] = 0x02; /* 0x025e */
    a = ask(&q, 300, 0);
    assert_int_equal(a.n, q.n + 8 * 16);
}

static void edns(void **state)
{
    struct packet q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct answer a;

    (void)state;
    put_opt(&q, 4096, 0, 0x8000);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa rd edns 1232 0.0 do | one.example. A 127.64.0.1 60");
    q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    put_opt(&q, 0, 0, 0x7fff); /* flags that nobody knows */
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa rd edns 1232 0.0 | one.example. A 127.64.0.1 60");
    q = query_of("unknown.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    put_opt(&q, 1232, 0, 0);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "3 aa rd edns 1232 0.0" SOA("example."));
    q = query_of("elsewhere", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    put_opt(&q, 1232, 0, 0);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "5 rd edns 1232 0.0");
    q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    put_opt(&q, 1232, 1, 0);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 rd edns 1232 0.1");
    q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    put_opt(&q, 1232, 0, 0);
    q.p[q.n - 1] = 12; /* an option, as a cookie */
    memcpy(q.p + q.n, "\0\12\0\10cookies!", 12);
    q.n += 12;
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa rd edns 1232 0.0 | one.example. A 127.64.0.1 60");
}

static void expect_header(const struct packet *q, const char *expected)
{
    struct answer a = ask(q, DNS_UDP_LIMIT, 0);

    if (a.n != 0)
        assert_int_equal(a.n, 12);
    assert_string_equal(text_of(&a), expected);
}

static void malformed(void **state)
{
    const struct packet good = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct packet q = good;

    (void)state;
    for (q.n = 0; q.n < good.n; q.n++)
        expect_header(&q, q.n < 12 ? "dropped" : "1 rd");
    q.p[q.n++] = 0; /* behind the end */
    expect_header(&q, "1 rd");
    for (unsigned at = 5; at <= 11; at += 2) { /* counts that lie */
        q = good;
        q.p[at] ^= 1;
        expect_header(&q, "1 rd");
        q.p[at] ^= 1;
        q.p[at - 1] = 0xff;
        expect_header(&q, "1 rd");
    }
    q = good;
    put_opt(&q, 1232, 0, 0);
    put_opt(&q, 1232, 0, 0);
    expect_header(&q, "1 rd");
    q = good;
    put_opt(&q, 1232, 0, 0);
    q.p[q.n - 1] = 1; /* rdata that is not there */
    expect_header(&q, "1 rd");
    q = good; /* an OPT that is not the root's */
    put_name(&q, "example");
    q.n--;
    put_opt(&q, 1232, 0, 0);
    expect_header(&q, "1 rd");
    q = query_of("", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN); /* names that are compressed: into themselves, forward */
    q.n = 12;
    put16(&q, 0xc00c);
    put16(&q, LDNS_RR_TYPE_A);
    put16(&q, LDNS_RR_CLASS_IN);
    expect_header(&q, "1 rd");
    q.p[13] = 18;
    put_name(&q, "one.example");
    expect_header(&q, "1 rd");
    q = query_of("a", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    q.p[12] = 0x41; /* a kind of label that there is not */
    expect_header(&q, "1 rd");
}

static void too_long(void **state)
{
    char name[512];
    struct packet q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct answer a;
    size_t start;

    (void)state;
    put_opt(&q, 1232, 0, 0);
    start = q.n;
    q.n = DNS_QUERY_MAX;
    q.p[start - 2] = (uint8_t)((q.n - start) >> 8);
    q.p[start - 1] = (uint8_t)(q.n - start);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa rd edns 1232 0.0 | one.example. A 127.64.0.1 60");
    q.n++;
    q.p[start - 1]++;
    expect_header(&q, "1 rd");
    /* 255 bytes is the longest name. */
    *name = '\0';
    for (unsigned i = 0; i < 24; i++)
        strcat(name, "abcdefghi.");
    strcat(name, "abcde.example");
    q = query_of(name, LDNS_RR_TYPE_AAAA, LDNS_RR_CLASS_IN);
    assert_int_equal(q.n, 12 + 255 + 4);
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa rd" SOA("example."));
    assert_int_equal(strlen(looked_up), 253);
    strcat(name, "s");
    q = query_of(name, LDNS_RR_TYPE_AAAA, LDNS_RR_CLASS_IN);
    expect_header(&q, "1 rd");
}

static void other_messages(void **state)
{
    struct packet q = query_of("one.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct answer a;

    (void)state;
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        q.p[2] = (uint8_t)(opcode << 3);
        a = ask(&q, DNS_UDP_LIMIT, 0);
        assert_int_equal(a.n, 12);
        assert_int_equal(a.p[2], 0x80 | opcode << 3);
        assert_int_equal(a.p[3], LDNS_RCODE_NOTIMPL);
        q.p[2] |= 0x80; /* a response of that kind */
        expect_header(&q, "dropped");
    }
    q.p[2] = 0x80;
    expect_header(&q, "dropped");
    /* Flags that only answers have, and CD, which is copied. */
    q.p[2] = 0x06;
    q.p[3] = 0xff;
    a = ask(&q, DNS_UDP_LIMIT, 0);
    assert_string_equal(text_of(&a), "0 aa | one.example. A 127.64.0.1 60");
    assert_int_equal(a.p[2], 0x84);
    assert_int_equal(a.p[3], 0x10);
}

static void zone_names(void **state)
{
    static const char *const bad[] = {"", ".", "a..b",
                                      "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm"};
    struct in_addr none = {INADDR_ANY};
    char name[256];
    const char *long_zone = name;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(dns_zones_new(&bad[i], 1, none, lookup, NULL));
    assert_null(dns_zones_new(bad, 0, none, lookup, NULL));
    long_name(name, 24); /* hostmaster before it does not fit */
    assert_null(dns_zones_new(&long_zone, 1, none, lookup, NULL));
}

/* Without an address of its own the name server is a name like others. */
static void name_server_by_lookup(void **state)
{
    static const char *const name = "example";
    struct packet q = query_of("ns.example", LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN);
    struct in_addr none = {INADDR_ANY};
    struct dns_zones *z = dns_zones_new(&name, 1, none, lookup, &lookups);
    struct answer a;

    (void)state;
    lookups = 0;
    a.n = dns_answer(z, q.p, q.n, DNS_UDP_LIMIT, 0, a.p);
    assert_string_equal(text_of(&a), "3 aa rd" SOA("example."));
    assert_int_equal(lookups, 1);
    dns_zones_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),   cmocka_unit_test(no_addresses),
        cmocka_unit_test(of_the_zone), cmocka_unit_test(refused),
        cmocka_unit_test(spelling),    cmocka_unit_test(turns),
        cmocka_unit_test(sizes),       cmocka_unit_test(truncation),
        cmocka_unit_test(edns),        cmocka_unit_test(malformed),
        cmocka_unit_test(too_long),    cmocka_unit_test(other_messages),
        cmocka_unit_test(zone_names),  cmocka_unit_test(name_server_by_lookup),
    };

    return cmocka_run_group_tests(tests, make_zones, free_zones);
}
