/*
 * See holder.h. /proc/net/tcp and tcp6 list the sockets, with addresses as hexadecimal words in the host's byte order (the
 * layout is that of proc(5)); the inode of a socket is what the links in /proc/PID/fd show.
 */
#include "base/holder.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define STATE_LISTEN 0x0a
#define LINE_BYTES 512
#define PATIENCE_US 50000

struct listener {
    char address[INET6_ADDRSTRLEN];
    unsigned long inode;
};

/* Reads the address of a line: 8 hexadecimal digits, or four times as many, and a port behind a colon. */
static bool read_address(const char *text, uint32_t word[4], unsigned *words, unsigned *port)
{
    size_t digits = strspn(text, "0123456789ABCDEFabcdef");

    if ((digits != 8 && digits != 32) || sscanf(text + digits, ":%x", port) != 1)
        return false;
    *words = (unsigned)(digits / 8);
    for (unsigned i = 0; i < *words; i++) {
        char part[9] = "";
        memcpy(part, text + 8 * (size_t)i, 8);
        word[i] = (uint32_t)strtoul(part, NULL, 16);
    }
    return true;
}

/* Would that listener keep others off the address? All of IPv6 at once also takes IPv4. */
static bool is_in_the_way(const uint32_t word[4], unsigned words, const struct in_addr *wanted, char *address)
{
    struct in_addr v4 = {words == 1 ? word[0] : word[3]};
    bool is_all, is_mapped = words == 4 && word[0] == 0 && word[1] == 0 && word[2] == htonl(0xffff);

    is_all = words == 1 ? word[0] == 0 : word[0] == 0 && word[1] == 0 && word[2] == 0 && word[3] == 0;
    if (!is_all && !((words == 1 || is_mapped) && v4.s_addr == wanted->s_addr))
        return false;
    inet_ntop(words == 1 ? AF_INET : AF_INET6, word, address, INET6_ADDRSTRLEN);
    return true;
}

static bool find_listener(const char *table, const struct sockaddr_in *at, struct listener *out)
{
    char line[LINE_BYTES], local[64];
    FILE *f = fopen(table, "re");
    bool found = false;

    while (!found && f != NULL && fgets(line, sizeof line, f) != NULL) {
        uint32_t word[4];
        unsigned words, port, state;
        if (sscanf(line, " %*d: %63s %*s %x %*s %*s %*s %*u %*d %lu", local, &state, &out->inode) != 3)
            continue;
        found = state == STATE_LISTEN && read_address(local, word, &words, &port) && port == ntohs(at->sin_port) &&
                is_in_the_way(word, words, &at->sin_addr, out->address);
    }
    if (f != NULL)
        fclose(f);
    return found;
}

/* Has the process with that folder in /proc the socket open? Looks until that time. */
static bool has_socket(int proc, const char *pid, const char *link, int64_t end)
{
    char path[64], target[64];
    struct dirent *entry;
    bool found = false;
    DIR *d;
    int fd;

    snprintf(path, sizeof path, "%.20s/fd", pid);
    fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    /* cppcheck-suppress readdirCalled ; it is safe for a stream of one's own */
    while (!found && clock_mono_us() < end && (entry = readdir(d)) != NULL) {
        ssize_t n = readlinkat(fd, entry->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, link) == 0;
    }
    closedir(d);
    return found;
}

static void read_name(int proc, const char *pid, char *out, size_t size)
{
    char path[64];
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof path, "%.20s/comm", pid);
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, out, size - 1);
        close(fd);
    }
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    for (char *p = out; *p != '\0'; p++)
        if (!isprint((unsigned char)*p))
            *p = '?';
}

/* Writes "process PID (NAME) listens" if it is found in time. */
static bool find_process(unsigned long inode, char *out, size_t size)
{
    int64_t end = clock_mono_us() + PATIENCE_US;
    char link[64], name[32];
    struct dirent *entry;
    bool found = false;
    DIR *d = opendir("/proc");

    snprintf(link, sizeof link, "socket:[%lu]", inode);
    /* cppcheck-suppress readdirCalled */
    while (!found && d != NULL && clock_mono_us() < end && (entry = readdir(d)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_socket(dirfd(d), entry->d_name, link, end))
            continue;
        read_name(dirfd(d), entry->d_name, name, sizeof name);
        snprintf(out, size, "process %.20s (%s) listens", entry->d_name, name);
        found = true;
    }
    if (d != NULL)
        closedir(d);
    return found;
}

bool holder_find(const struct sockaddr_in *at, char *out, size_t size)
{
    struct listener l;
    char who[80] = "somebody listens";

    out[0] = '\0';
    if (!find_listener("/proc/net/tcp", at, &l) && !find_listener("/proc/net/tcp6", at, &l))
        return false;
    find_process(l.inode, who, sizeof who);
    snprintf(out, size, strchr(l.address, ':') ? "%s at [%s]:%u" : "%s at %s:%u", who, l.address, ntohs(at->sin_port));
    return true;
}
