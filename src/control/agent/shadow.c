/*
 * See shadow.h. The port is bound and does not listen: that is enough to keep others from binding it (without SO_REUSEADDR
 * on either side), and nobody can connect to it. Rejected: lock files, which another user's service would not see.
 */
#include "control/agent/shadow.h"

#include <arpa/inet.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define SHADOW_BITS 16
#define PREFIX_MIN 8
#define GATE 1 /* the address that is bound, in the shadow */

struct shadow {
    uint32_t base;
    unsigned index;
    int fd;
};

static uint32_t mask_of(unsigned prefix)
{
    return prefix == 0 ? 0 : 0xffffffffu << (32 - prefix);
}

bool shadow_pool_parse(const char *text, struct shadow_pool *out)
{
    char address[INET_ADDRSTRLEN];
    struct in_addr a;
    int end = 0;

    if (strlen(text) >= sizeof address + 3 || sscanf(text, "%15[0-9.]/%2u%n", address, &out->prefix, &end) != 2 ||
        text[end] != '\0' || inet_pton(AF_INET, address, &a) != 1)
        return false;
    out->base = ntohl(a.s_addr);
    return out->prefix >= PREFIX_MIN && out->prefix <= SHADOW_BITS && (out->base & ~mask_of(out->prefix)) == 0;
}

unsigned shadow_pool_count(const struct shadow_pool *p)
{
    return 1u << (SHADOW_BITS - p->prefix);
}

static int claim_base(uint32_t base, int *out)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(SHADOW_PORT), .sin_addr.s_addr = htonl(base + GATE)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        *out = fd;
        return 0;
    }
    rc = -errno;
    file_close(fd);
    return rc;
}

/* Does anybody listen at an address of the block? Lines of /proc/net/tcp: "0: 0200407F:0035 00000000:0000 0A ...", the
 * addresses as the machine stores them. When it cannot be read, nobody does. */
static bool has_listeners(uint32_t base)
{
    unsigned address, port, state;
    bool found = false;
    char line[512];
    FILE *f = fopen("/proc/net/tcp", "re");

    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, " %*u: %8x:%4x %*8x:%*4x %2x", &address, &port, &state) == 3 && state == TCP_LISTEN &&
                (ntohl(address) & mask_of(SHADOW_BITS)) == base;
    if (f)
        fclose(f);
    return found;
}

int shadow_claim_quiet(const struct shadow_pool *p, unsigned preferred, struct shadow **out)
{
    unsigned count = shadow_pool_count(p);

    for (unsigned i = 0; i < count; i++) {
        unsigned index = (preferred + i) % count;
        int rc;
        if (has_listeners(p->base + (index << SHADOW_BITS)))
            continue;
        rc = shadow_claim(p, index, out);
        if (rc != 0 || (*out)->index == index)
            return rc;
        shadow_release(*out); /* it was somebody's, and so the next one was not looked at */
    }
    *out = NULL;
    return -EADDRINUSE;
}

int shadow_claim(const struct shadow_pool *p, unsigned preferred, struct shadow **out)
{
    unsigned count = shadow_pool_count(p);
    int rc = -EADDRINUSE, fd = -1;
    unsigned i;

    *out = NULL;
    if (preferred >= count)
        return -EINVAL;
    for (i = 0; i < count && rc == -EADDRINUSE; i++)
        rc = claim_base(p->base + ((preferred + i) % count << SHADOW_BITS), &fd);
    if (rc != 0)
        return rc;
    *out = mem_zalloc(sizeof **out);
    (*out)->index = (preferred + i - 1) % count;
    (*out)->base = p->base + ((*out)->index << SHADOW_BITS);
    (*out)->fd = fd;
    return 0;
}

void shadow_release(struct shadow *s)
{
    if (s == NULL)
        return;
    file_close(s->fd);
    mem_free(s);
}

unsigned shadow_index(const struct shadow *s)
{
    return s->index;
}

uint32_t shadow_base(const struct shadow *s)
{
    return s->base;
}

uint32_t shadow_of(const struct shadow *s, uint32_t address)
{
    return s->base | (address & ~mask_of(SHADOW_BITS));
}

bool shadow_resolve(const struct shadow *s, uint32_t vpc, unsigned prefix, uint32_t address, uint32_t *out)
{
    if ((address & mask_of(SHADOW_BITS)) != s->base)
        return false;
    *out = (vpc & mask_of(SHADOW_BITS)) | (address & ~mask_of(SHADOW_BITS));
    return (*out & mask_of(prefix)) == (vpc & mask_of(prefix));
}
