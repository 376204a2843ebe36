/* Part of `larder doctor`: the host. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/holder.h"
#include "cli/doctor.h"

/* One of the loopback addresses that VPCs are mapped to, at the far end, where no node is: only who holds a port on all
 * addresses is in the way there. */
#define PROBE_ADDRESS "127.127.255.254"
#define ROOM_WRONG (64ull << 20) /* bytes of memory */
#define ROOM_NOTE (512ull << 20)

static void check_port(json_t *findings, const char *engine, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    char holder[HOLDER_TEXT_MAX];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, rc = 0;

    inet_pton(AF_INET, PROBE_ADDRESS, &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 1) != 0)
        rc = errno;
    if (fd >= 0)
        close(fd);
    if (rc == 0) {
        doctor_find(findings, DOCTOR_OK, "nodes can have port %u (%s)", port, engine);
        return;
    }
    holder_find(&a, holder, sizeof holder);
    doctor_find(findings, DOCTOR_WRONG, "nodes cannot have port %u (%s): %s%s%s", port, engine, strerror(rc),
                *holder ? "; " : "", holder);
    if (rc == EADDRINUSE)
        doctor_advise(findings,
                      "stop it (systemctl disable --now redis-server, or memcached), or bind it to 127.0.0.1 alone");
    else
        doctor_advise(findings, "the addresses of 127.0.0.0/8 must belong to the loopback interface: ip addr show lo");
}

/* The number behind "NAME:" in /proc/meminfo, in bytes; 0 when it is not there. */
static unsigned long long memory(const char *name)
{
    unsigned long long kib = 0;
    struct buf text = {0};
    const char *line;

    if (file_read_all("/proc/meminfo", 1 << 16, &text) == 0) {
        buf_put_char(&text, '\0');
        line = strstr(text.p, name);
        if (line)
            kib = strtoull(line + strlen(name), NULL, 10);
    }
    buf_free(&text);
    return kib * 1024;
}

static void check_memory(json_t *findings)
{
    unsigned long long room = memory("MemAvailable:");
    struct rlimit r;

    doctor_find(findings,
                room < ROOM_WRONG  ? DOCTOR_WRONG
                : room < ROOM_NOTE ? DOCTOR_NOTE
                                   : DOCTOR_OK,
                "%llu MiB of memory are available", room >> 20);
    if (room < ROOM_NOTE)
        doctor_advise(findings,
                      "take small node types, or stop other programs; larderd --strict-memory refuses nodes that "
                      "the host has no memory for");
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_max != RLIM_INFINITY) {
        doctor_find(findings, DOCTOR_WRONG, "a process may have only %llu MiB of address space here",
                    (unsigned long long)r.rlim_max >> 20);
        doctor_advise(findings, "start larderd where `ulimit -v` is unlimited");
    }
}

static void check_overcommit(json_t *findings)
{
    struct buf text = {0};
    bool strict;

    if (file_read_all("/proc/sys/vm/overcommit_memory", 64, &text) != 0)
        return;
    strict = buf_live(&text) > 0 && text.p[0] == '2';
    buf_free(&text);
    if (!strict) {
        doctor_find(findings, DOCTOR_OK, "the kernel's memory overcommitment");
        return;
    }
    doctor_find(findings, DOCTOR_NOTE, "vm.overcommit_memory is 2: nodes may be refused memory that is there");
    doctor_advise(findings, "sysctl vm.overcommit_memory=0 (nodes do not fork, so 1 is not needed)");
}

void doctor_host(json_t *findings)
{
    check_port(findings, "Redis", 6379);
    check_port(findings, "Memcached", 11211);
    check_memory(findings);
    check_overcommit(findings);
}
