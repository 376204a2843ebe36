/*
 * The library that `larder run` preloads: within one program, names below the service's suffix are answered by larderd's name
 * server; every other name goes to the C library as before. It needs no privilege and changes nothing on the machine.
 *
 * It stands in for getaddrinfo and the gethostby... functions, so it reaches programs that are linked dynamically against
 * glibc and resolve names through it; not those that are static, bring a resolver of their own (Go's, c-ares), or run
 * setuid. The alternatives, `larder dns install` or addresses in place of names, reach those as well.
 *
 * Where to ask is in the environment, LARDER_NAMES_SERVER and LARDER_NAMES_SUFFIX; without them nothing is answered here.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "preload/lookup.h"

#define EXPORTED __attribute__((visibility("default")))
#define HOST_BYTES 2048 /* of what gethostbyname returns: a name of 255 bytes and LOOKUP_ADDRESSES_MAX addresses fit */

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef struct hostent *gethostbyname_fn(const char *);
typedef struct hostent *gethostbyname2_fn(const char *, int);
typedef int gethostbyname_r_fn(const char *, struct hostent *, char *, size_t, struct hostent **, int *);
typedef int gethostbyname2_r_fn(const char *, int, struct hostent *, char *, size_t, struct hostent **, int *);

/* Set once. */
static struct {
    getaddrinfo_fn *getaddrinfo;
    gethostbyname_fn *gethostbyname;
    gethostbyname2_fn *gethostbyname2;
    gethostbyname_r_fn *gethostbyname_r;
    gethostbyname2_r_fn *gethostbyname2_r;
    struct sockaddr_in server;
    char suffix[256]; /* empty: nothing is answered here */
} names;

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* POSIX lets a pointer to an object, as dlsym returns it, become one to a function; C knows no such conversion. */
static void find(const char *name, void *fn)
{
    void *p = dlsym(RTLD_NEXT, name);

    memcpy(fn, &p, sizeof p);
}

static void prepare(void)
{
    const char *server = getenv("LARDER_NAMES_SERVER"), *suffix = getenv("LARDER_NAMES_SUFFIX");

    find("getaddrinfo", &names.getaddrinfo);
    find("gethostbyname", &names.gethostbyname);
    find("gethostbyname2", &names.gethostbyname2);
    find("gethostbyname_r", &names.gethostbyname_r);
    find("gethostbyname2_r", &names.gethostbyname2_r);
    if (server && suffix && strlen(suffix) < sizeof names.suffix && lookup_read_server(server, &names.server))
        strcpy(names.suffix, suffix);
}

static bool is_ours(const char *name)
{
    pthread_once(&once, prepare);
    return name && names.suffix[0] != '\0' && lookup_is_below(name, names.suffix);
}

/* ---- getaddrinfo ---- */

/* The C library makes the list for each address as for one that was typed in, and so knows services, protocols and hints.
 * Its lists may be joined: freeaddrinfo frees element by element. */
static int add_address(struct in_addr address, const char *service, const struct addrinfo *hints,
                       struct addrinfo **tail)
{
    char text[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &address, text, sizeof text);
    return names.getaddrinfo(text, service, hints, tail);
}

static int addresses_of(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo wanted = {.ai_family = AF_UNSPEC}, **tail = out;
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    unsigned count;
    int rc = 0;

    if (hints)
        wanted = *hints;
    if (wanted.ai_family == AF_INET6 && !(wanted.ai_flags & AI_V4MAPPED))
        return EAI_NONAME;
    switch (lookup_addresses(&names.server, name, found, &count)) {
    case LOOKUP_FOUND:
        break;
    case LOOKUP_FAILED:
        return EAI_AGAIN;
    default:
        return EAI_NONAME;
    }
    /* A machine without a network has these addresses all the same: they are on loopback. */
    wanted.ai_flags &= ~(AI_ADDRCONFIG | AI_CANONNAME);
    wanted.ai_flags |= AI_NUMERICHOST;
    *out = NULL;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = add_address(found[i], service, &wanted, tail);
        while (rc == 0 && *tail)
            tail = &(*tail)->ai_next;
    }
    if (rc == 0 && hints && hints->ai_flags & AI_CANONNAME) {
        (*out)->ai_canonname = strdup(name);
        rc = (*out)->ai_canonname ? 0 : EAI_MEMORY;
    }
    if (rc != 0 && *out) {
        freeaddrinfo(*out);
        *out = NULL;
    }
    return rc;
}

EXPORTED int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                         struct addrinfo **restrict out)
{
    if (is_ours(name) && !(hints && (hints->ai_flags & AI_NUMERICHOST || hints->ai_family == AF_UNIX)))
        return addresses_of(name, service, hints, out);
    return names.getaddrinfo(name, service, hints, out);
}

/* ---- gethostbyname and its like ---- */

/* Lays the answer out in the caller's memory: the pointers first, because they need alignment. Returns 0 or ERANGE. */
static int lay_out(const char *name, const struct in_addr *found, unsigned count, struct hostent *host, char *memory,
                   size_t n)
{
    size_t skip = (size_t)(-(uintptr_t)memory % _Alignof(char *)), length = strlen(name) + 1;
    size_t pointers = (count + 2) * sizeof(char *), need = skip + pointers + count * sizeof *found + length;
    char **list, *bytes;

    if (need > n)
        return ERANGE;
    list = (char **)(void *)(memory + skip);
    bytes = memory + skip + pointers;
    for (unsigned i = 0; i < count; i++, bytes += sizeof *found) {
        memcpy(bytes, &found[i], sizeof *found);
        list[i] = bytes;
    }
    list[count] = list[count + 1] = NULL;
    memcpy(bytes, name, length);
    *host = (struct hostent){
        .h_name = bytes,
        .h_aliases = list + count + 1,
        .h_addrtype = AF_INET,
        .h_length = sizeof *found,
        .h_addr_list = list,
    };
    return 0;
}

/* As gethostbyname2_r answers: 0 with *out NULL when there is no such host, and the reason in *error. */
static int host_of(const char *name, int family, struct hostent *host, char *memory, size_t n, struct hostent **out,
                   int *error)
{
    struct in_addr found[LOOKUP_ADDRESSES_MAX];
    enum lookup_result result;
    unsigned count;
    int rc;

    *out = NULL;
    result = lookup_addresses(&names.server, name, found, &count);
    if (result == LOOKUP_FOUND && family == AF_INET) {
        rc = lay_out(name, found, count, host, memory, n);
        *error = rc == 0 ? 0 : NETDB_INTERNAL;
        *out = rc == 0 ? host : NULL;
        return rc;
    }
    *error = result == LOOKUP_FAILED ? TRY_AGAIN : result == LOOKUP_NO_NAME ? HOST_NOT_FOUND : NO_DATA;
    return 0;
}

static struct hostent *static_host(const char *name, int family)
{
    static __thread char memory[HOST_BYTES];
    static __thread struct hostent host;
    struct hostent *found;
    int error;

    host_of(name, family, &host, memory, sizeof memory, &found, &error);
    if (!found)
        h_errno = error;
    return found;
}

EXPORTED struct hostent *gethostbyname(const char *name)
{
    return is_ours(name) ? static_host(name, AF_INET) : names.gethostbyname(name);
}

EXPORTED struct hostent *gethostbyname2(const char *name, int family)
{
    return is_ours(name) ? static_host(name, family) : names.gethostbyname2(name, family);
}

EXPORTED int gethostbyname_r(const char *restrict name, struct hostent *restrict host, char *restrict memory, size_t n,
                             struct hostent **restrict out, int *restrict error)
{
    if (is_ours(name))
        return host_of(name, AF_INET, host, memory, n, out, error);
    return names.gethostbyname_r(name, host, memory, n, out, error);
}

EXPORTED int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict host,
                              char *restrict memory, size_t n, struct hostent **restrict out, int *restrict error)
{
    if (is_ours(name))
        return host_of(name, family, host, memory, n, out, error);
    return names.gethostbyname2_r(name, family, host, memory, n, out, error);
}
