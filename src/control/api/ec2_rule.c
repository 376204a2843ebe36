/* Rules: see ec2_rule.h. */
#include "control/api/ec2_rule.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/num.h"
#include "control/api/ec2_id.h"
#include "control/api/ec2_network.h"
#include "control/api/ec2_tags.h"
#include "control/model/cidr.h"

#define PORT_MAX 65535
#define ICMP_MAX 255
#define TEXT_MAX 255
#define TEXT_CHARACTERS "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"

/* ---- protocols and ports ---- */

static int read_protocol(struct api_call *c, struct view text, struct view *out)
{
    static const struct {
        struct view name, number;
    } named[] = {
        {{LIT("tcp")}, {LIT("6")}},     {{LIT("udp")}, {LIT("17")}}, {{LIT("icmp")}, {LIT("1")}},
        {{LIT("icmpv6")}, {LIT("58")}}, {{LIT("-1")}, {LIT("all")}},
    };
    int64_t number;

    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (view_equal_case(named[i].name, text) || view_equal_case(named[i].number, text)) {
            *out = named[i].name;
            return 0;
        }
    *out = text;
    if (num_parse_int(text, &number) && number >= 0 && number <= 255)
        return 0;
    return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "Invalid value '%.*s' for IP protocol. Unknown protocol.",
                     CALL_TEXT(text));
}

static bool has_ports(struct view protocol)
{
    return view_equal(protocol, VIEW("tcp")) || view_equal(protocol, VIEW("udp"));
}

static bool is_icmp(struct view protocol)
{
    return view_equal(protocol, VIEW("icmp")) || view_equal(protocol, VIEW("icmpv6"));
}

/* The rule has its protocol. */
static int read_ports(struct api_call *c, struct maybe_integer from, struct maybe_integer to,
                      struct security_group_rule *r)
{
    int64_t first = from.set ? from.value : -1, last = to.set ? to.value : -1;

    r->from_port = r->to_port = -1;
    if (has_ports(r->protocol)) {
        if (!from.set || !to.set)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                             "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.");
        if (first < 0 || last < 0 || first > PORT_MAX || last > PORT_MAX)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "TCP/UDP port (%lld) out of range",
                             (long long)(first < 0 || first > PORT_MAX ? first : last));
        if (first > last)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                             "Invalid TCP/UDP port range (%lld:%lld). The first port is greater than the last.",
                             (long long)first, (long long)last);
    } else if (is_icmp(r->protocol)) {
        if (first > ICMP_MAX || last > ICMP_MAX)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "ICMP type or code (%lld) out of range",
                             (long long)(first > ICMP_MAX ? first : last));
        if (first == -1 && last != -1)
            return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "ICMP code (%lld) needs an ICMP type",
                             (long long)last);
    } else {
        return 0;
    }
    r->from_port = first;
    r->to_port = last;
    return 0;
}

/* ---- peers ---- */

static int read_ipv4(struct api_call *c, struct view text, struct view *out)
{
    char canonical[CIDR_TEXT_MAX];
    struct cidr block;

    if (!cidr_parse(text, &block, NULL))
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "CIDR block %.*s is malformed", CALL_TEXT(text));
    cidr_format(canonical, block);
    *out = call_text(c, "%s", canonical);
    return 0;
}

static int read_ipv6(struct api_call *c, struct view text, struct view *out)
{
    char copy[INET6_ADDRSTRLEN + sizeof "/128"];
    unsigned char address[16];
    int64_t bits = -1;
    char *slash;

    if (text.n < sizeof copy && !memchr(text.p, '\0', text.n)) {
        memcpy(copy, text.p, text.n);
        copy[text.n] = '\0';
        slash = strchr(copy, '/');
        if (slash && num_parse_int(view_str(slash + 1), &bits)) {
            *slash = '\0';
            if (bits < 0 || bits > 128 || inet_pton(AF_INET6, copy, address) != 1)
                bits = -1;
        }
    }
    if (bits < 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "CIDR block %.*s is malformed", CALL_TEXT(text));
    for (int64_t bit = bits; bit < 128; bit++)
        address[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
    inet_ntop(AF_INET6, address, copy, INET6_ADDRSTRLEN);
    *out = call_text(c, "%s/%d", copy, (int)bits);
    return 0;
}

/* A group of the same VPC, by id; by name in the default VPC. */
static int read_group(struct api_call *c, const struct security_group *g, const struct ec2_user_id_group_pair *pair,
                      struct view *out)
{
    const struct vpc *v = ec2_network_default(c);
    const struct security_group *peer;
    int error;

    if (!pair->group_id.p && !pair->group_name.p)
        return call_fail(c, SERVICE_MISSING_PARAMETER, "Source group ID missing.");
    if (pair->group_id.p) {
        if ((error = ec2_network_group(c, pair->group_id, &peer)) != 0)
            return error;
    } else {
        peer = v && view_equal(v->vpc_id, g->vpc_id) ? ec2_network_group_named(c, v->vpc_id, pair->group_name) : NULL;
    }
    if (!peer || (pair->user_id.p && pair->user_id.n > 0 && !view_equal(pair->user_id, c->account->id)))
        return ec2_id_fail(c, EC2_ID_SECURITY_GROUP, pair->group_id.p ? pair->group_id : pair->group_name);
    if (!view_equal(peer->vpc_id, g->vpc_id))
        return call_fail(c, EC2_INVALID_GROUP_NOT_FOUND,
                         "You have specified two resources that belong to different networks.");
    *out = peer->group_id;
    return 0;
}

static int refuse_prefix_list(struct api_call *c, struct view id)
{
    int error = ec2_id_check(c, EC2_ID_PREFIX_LIST, id.p ? id : VIEW(""));

    return error != 0 ? error : ec2_id_fail(c, EC2_ID_PREFIX_LIST, id);
}

int ec2_rule_check_text(struct api_call *c, const char *what, struct view text)
{
    bool good = text.n <= TEXT_MAX;

    for (size_t i = 0; i < text.n && good; i++) {
        char d = text.p[i];
        good = (d >= 'a' && d <= 'z') || (d >= 'A' && d <= 'Z') || (d >= '0' && d <= '9') ||
               (d != '\0' && strchr(". _-:/()#,@[]+=&;{}!$*", d));
    }
    if (good)
        return 0;
    return call_fail(c, SERVICE_INVALID_PARAMETER_VALUE,
                     "Invalid %s. Valid are strings less than 256 characters from the following set: " TEXT_CHARACTERS,
                     what);
}

static int read_description(struct api_call *c, struct view text, struct security_group_rule *r)
{
    r->description = text;
    return ec2_rule_check_text(c, "rule description", text);
}

/* ---- permissions to rules ---- */

static struct security_group_rule *next(struct security_group_rule_list *out, const struct security_group_rule *common)
{
    out->items[out->count] = *common;
    return &out->items[out->count++];
}

static size_t peers_of(const struct ec2_ip_permission *p)
{
    return p->ip_ranges.count + p->ipv6_ranges.count + p->user_id_group_pairs.count;
}

static int read_permission(struct api_call *c, const struct security_group *g, bool egress,
                           const struct ec2_ip_permission *p, struct security_group_rule_list *out)
{
    struct security_group_rule common = {.egress = egress}, *r;
    int error;

    if ((error = read_protocol(c, p->ip_protocol, &common.protocol)) != 0 ||
        (error = read_ports(c, p->from_port, p->to_port, &common)) != 0)
        return error;
    if (p->prefix_list_ids.count > 0)
        return refuse_prefix_list(c, p->prefix_list_ids.items[0].prefix_list_id);
    if (peers_of(p) == 0)
        return call_fail(c, SERVICE_MISSING_PARAMETER,
                         "A permission must have at least one of ipRanges, ipv6Ranges and groups.");
    for (size_t i = 0; i < p->ip_ranges.count; i++) {
        r = next(out, &common);
        if ((error = read_ipv4(c, p->ip_ranges.items[i].cidr_ip, &r->cidr_ipv4)) != 0 ||
            (error = read_description(c, p->ip_ranges.items[i].description, r)) != 0)
            return error;
    }
    for (size_t i = 0; i < p->ipv6_ranges.count; i++) {
        r = next(out, &common);
        if ((error = read_ipv6(c, p->ipv6_ranges.items[i].cidr_ipv6, &r->cidr_ipv6)) != 0 ||
            (error = read_description(c, p->ipv6_ranges.items[i].description, r)) != 0)
            return error;
    }
    for (size_t i = 0; i < p->user_id_group_pairs.count; i++) {
        r = next(out, &common);
        if ((error = read_group(c, g, &p->user_id_group_pairs.items[i], &r->peer_group_id)) != 0 ||
            (error = read_description(c, p->user_id_group_pairs.items[i].description, r)) != 0)
            return error;
    }
    return 0;
}

static bool is_single(const struct ec2_rule_request *in)
{
    return in->protocol.p || in->from_port.set || in->to_port.set || in->cidr.p || in->source_name.p ||
           in->source_owner.p;
}

bool ec2_rule_stated(const struct ec2_rule_request *in)
{
    return in->permissions->count > 0 || is_single(in);
}

/* A group alone stands for everything that TCP, UDP and ICMP can carry. */
static void expand_source(struct api_call *c, const struct ec2_rule_request *in, struct ec2_ip_permission_list *out)
{
    static const struct view protocols[] = {{LIT("tcp")}, {LIT("udp")}, {LIT("icmp")}};
    struct ec2_user_id_group_pair *pair = call_zalloc(c, sizeof *pair);

    pair->group_name = in->source_name;
    pair->user_id = in->source_owner;
    out->count = sizeof protocols / sizeof protocols[0];
    out->items = call_zalloc(c, out->count * sizeof *out->items);
    for (size_t i = 0; i < out->count; i++) {
        struct ec2_ip_permission *p = &out->items[i];
        bool ports = has_ports(protocols[i]);

        p->ip_protocol = protocols[i];
        p->from_port = (struct maybe_integer){true, ports ? 0 : -1};
        p->to_port = (struct maybe_integer){true, ports ? PORT_MAX : -1};
        p->user_id_group_pairs.count = 1;
        p->user_id_group_pairs.items = pair;
    }
}

static int expand_single(struct api_call *c, bool egress, const struct ec2_rule_request *in,
                         struct ec2_ip_permission_list *out)
{
    struct ec2_ip_permission *p;

    if (in->permissions->count > 0)
        return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                         "The parameter ipPermissions cannot be used together with the parts of a single permission.");
    if (in->source_name.p || in->source_owner.p) {
        if (egress)
            return call_fail(c, SERVICE_INVALID_PARAMETER_COMBINATION,
                             "A group for outbound traffic is to be given in the parameter ipPermissions.");
        if (in->protocol.p || in->from_port.set || in->to_port.set || in->cidr.p)
            return call_fail(
                c, SERVICE_INVALID_PARAMETER_COMBINATION,
                "The parameter sourceSecurityGroupName cannot be used together with a protocol, ports or a "
                "CIDR block.");
        expand_source(c, in, out);
        return 0;
    }
    if (!in->protocol.p || !in->cidr.p)
        return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter %s",
                         in->protocol.p ? "cidrIp" : "ipProtocol");
    p = call_zalloc(c, sizeof *p);
    p->ip_protocol = in->protocol;
    p->from_port = in->from_port;
    p->to_port = in->to_port;
    p->ip_ranges.count = 1;
    p->ip_ranges.items = call_zalloc(c, sizeof *p->ip_ranges.items);
    p->ip_ranges.items[0].cidr_ip = in->cidr;
    *out = (struct ec2_ip_permission_list){true, 1, p};
    return 0;
}

int ec2_rule_read(struct api_call *c, const struct security_group *g, bool egress, const struct ec2_rule_request *in,
                  struct security_group_rule_list *out)
{
    struct ec2_ip_permission_list permissions = *in->permissions;
    size_t most = 0;
    int error = is_single(in) ? expand_single(c, egress, in, &permissions) : 0;

    *out = (struct security_group_rule_list){0};
    for (size_t i = 0; i < permissions.count && error == 0; i++)
        most += peers_of(&permissions.items[i]);
    out->items = call_zalloc(c, most * sizeof *out->items);
    for (size_t i = 0; i < permissions.count && error == 0; i++)
        error = read_permission(c, g, egress, &permissions.items[i], out);
    for (size_t i = 0; i < out->count && error == 0; i++)
        for (size_t k = 0; k < i && error == 0; k++)
            if (ec2_rule_same(&out->items[i], &out->items[k]))
                error =
                    call_fail(c, SERVICE_INVALID_PARAMETER_VALUE, "The same permission must not appear multiple times");
    return error;
}

int ec2_rule_read_update(struct api_call *c, const struct security_group *g, bool egress,
                         const struct ec2_security_group_rule_request *in, struct security_group_rule *out)
{
    const struct ec2_user_id_group_pair pair = {.group_id = in->referenced_group_id};
    int error, peers = (in->cidr_ipv4.p != NULL) + (in->cidr_ipv6.p != NULL) + (in->referenced_group_id.p != NULL) +
                       (in->prefix_list_id.p != NULL);

    *out = (struct security_group_rule){.egress = egress};
    if (!in->ip_protocol.p)
        return call_fail(c, SERVICE_MISSING_PARAMETER, "The request must contain the parameter ipProtocol");
    if (peers != 1)
        return call_fail(c, peers == 0 ? SERVICE_MISSING_PARAMETER : SERVICE_INVALID_PARAMETER_COMBINATION,
                         "A rule must have exactly one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId.");
    if ((error = read_protocol(c, in->ip_protocol, &out->protocol)) != 0 ||
        (error = read_ports(c, in->from_port, in->to_port, out)) != 0)
        return error;
    if (in->prefix_list_id.p)
        return refuse_prefix_list(c, in->prefix_list_id);
    if (in->cidr_ipv4.p)
        error = read_ipv4(c, in->cidr_ipv4, &out->cidr_ipv4);
    else if (in->cidr_ipv6.p)
        error = read_ipv6(c, in->cidr_ipv6, &out->cidr_ipv6);
    else
        error = read_group(c, g, &pair, &out->peer_group_id);
    return error != 0 ? error : read_description(c, in->description, out);
}

/* ---- comparing ---- */

static bool same_text(struct view a, struct view b)
{
    return (a.p != NULL) == (b.p != NULL) && view_equal(a, b);
}

bool ec2_rule_same(const struct security_group_rule *a, const struct security_group_rule *b)
{
    return a->egress == b->egress && view_equal(a->protocol, b->protocol) && a->from_port == b->from_port &&
           a->to_port == b->to_port && same_text(a->cidr_ipv4, b->cidr_ipv4) && same_text(a->cidr_ipv6, b->cidr_ipv6) &&
           same_text(a->peer_group_id, b->peer_group_id);
}

size_t ec2_rule_find(const struct security_group *g, const struct security_group_rule *r)
{
    size_t i = 0;

    while (i < g->rules.count && !ec2_rule_same(&g->rules.items[i], r))
        i++;
    return i;
}

/* ---- rules as answers and messages have them ---- */

static struct view upper(struct api_call *c, struct view text)
{
    char *p = call_zalloc(c, text.n + 1);

    for (size_t i = 0; i < text.n; i++)
        p[i] = ascii_upper(text.p[i]);
    return view_of(p, text.n);
}

struct view ec2_rule_text(struct api_call *c, const struct security_group_rule *r)
{
    struct view peer = r->cidr_ipv4.p ? r->cidr_ipv4 : r->cidr_ipv6.p ? r->cidr_ipv6 : r->peer_group_id;
    struct view protocol = view_equal(r->protocol, VIEW("-1")) ? VIEW("ALL") : upper(c, r->protocol);

    if (!has_ports(r->protocol) && !is_icmp(r->protocol))
        return call_text(c, "peer: %.*s, %.*s, ALLOW", CALL_TEXT(peer), CALL_TEXT(protocol));
    return call_text(c, "peer: %.*s, %.*s, %s: %lld, %s: %lld, ALLOW", CALL_TEXT(peer), CALL_TEXT(protocol),
                     is_icmp(r->protocol) ? "type" : "from port", (long long)r->from_port,
                     is_icmp(r->protocol) ? "code" : "to port", (long long)r->to_port);
}

/* The permission of that protocol and those ports, added when it is not there. There is room. */
static struct ec2_ip_permission *permission_of(struct api_call *c, struct ec2_ip_permission_list *list,
                                               const struct security_group_rule *r, size_t room)
{
    bool ports = has_ports(r->protocol) || is_icmp(r->protocol);
    struct ec2_ip_permission *p;

    for (size_t i = 0; i < list->count; i++) {
        p = &list->items[i];
        if (view_equal(p->ip_protocol, r->protocol) &&
            (!ports || (p->from_port.value == r->from_port && p->to_port.value == r->to_port)))
            return p;
    }
    p = &list->items[list->count++];
    p->ip_protocol = r->protocol;
    p->from_port = (struct maybe_integer){ports, r->from_port};
    p->to_port = (struct maybe_integer){ports, r->to_port};
    p->ip_ranges.set = p->ipv6_ranges.set = p->user_id_group_pairs.set = p->prefix_list_ids.set = true;
    p->ip_ranges.items = call_zalloc(c, room * sizeof *p->ip_ranges.items);
    p->ipv6_ranges.items = call_zalloc(c, room * sizeof *p->ipv6_ranges.items);
    p->user_id_group_pairs.items = call_zalloc(c, room * sizeof *p->user_id_group_pairs.items);
    return p;
}

struct ec2_ip_permission_list ec2_rule_permissions(struct api_call *c, const struct security_group_rule_list *rules,
                                                   bool egress)
{
    struct ec2_ip_permission_list out = {.set = true};
    size_t room = 0;

    for (size_t i = 0; i < rules->count; i++)
        room += rules->items[i].egress == egress;
    out.items = call_zalloc(c, room * sizeof *out.items);
    for (size_t i = 0; i < rules->count; i++) {
        const struct security_group_rule *r = &rules->items[i];
        struct ec2_ip_permission *p;

        if (r->egress != egress)
            continue;
        p = permission_of(c, &out, r, room);
        if (r->cidr_ipv4.p)
            p->ip_ranges.items[p->ip_ranges.count++] = (struct ec2_ip_range){r->description, r->cidr_ipv4};
        else if (r->cidr_ipv6.p)
            p->ipv6_ranges.items[p->ipv6_ranges.count++] = (struct ec2_ipv6_range){r->description, r->cidr_ipv6};
        else
            p->user_id_group_pairs.items[p->user_id_group_pairs.count++] = (struct ec2_user_id_group_pair){
                .description = r->description, .user_id = c->account->id, .group_id = r->peer_group_id};
    }
    return out;
}

struct ec2_security_group_rule ec2_rule_show(struct api_call *c, const struct security_group *g,
                                             const struct security_group_rule *r)
{
    struct ec2_security_group_rule out = {
        .security_group_rule_id = r->rule_id,
        .group_id = g->group_id,
        .group_owner_id = c->account->id,
        .is_egress = r->egress,
        .ip_protocol = r->protocol,
        .from_port = {true, r->from_port},
        .to_port = {true, r->to_port},
        .cidr_ipv4 = r->cidr_ipv4,
        .cidr_ipv6 = r->cidr_ipv6,
        .description = r->description,
        .tags = ec2_tags_show(c, &r->tags),
        .security_group_rule_arn = call_ec2_arn(c, "security-group-rule", r->rule_id),
    };

    if (r->peer_group_id.p) {
        out.referenced_group_info = call_zalloc(c, sizeof *out.referenced_group_info);
        out.referenced_group_info->group_id = r->peer_group_id;
        out.referenced_group_info->user_id = c->account->id;
    }
    return out;
}
