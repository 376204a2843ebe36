/* The load generator: one thread, N connections, each a closed loop of batches. A connection sends P requests in one
 * write, waits for its P replies, and sends the next P.
 *
 * It must cost less than the server it measures. So keys are written as digits into one buffer, replies are compared
 * with the one text that they can be (which checks framing and content together), the clock is read once per wake-up,
 * and nothing is allocated while it runs.
 *
 * Modes: `mixed` draws keys at random (fixed seed) from 0..K-1 and mixes SET and GET; `fill` sets the keys
 * first..first+K-1 once each, with or without a deadline; `halve` deletes a random half of them (the same half each
 * time). It reports one JSON object: requests, throughput, latencies, and the CPU time that the process --pid used in
 * the measured phase, warm-up excluded. SIGTERM ends that phase early, for whoever measures while something lasts.
 *
 * Latencies are those of all replies; with --reads those of GETs alone; and with --wait, which ends each batch with
 * WAIT 1, those of the WAITs. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "histogram.h"
#include "proccpu.h"

#define MAX_PIPELINE 64u /* one bit for each request of a batch */
#define MAX_VALUE 16384u
#define REQUEST_OVERHEAD 128u
#define EVENTS 128
#define SPREAD_STRIDE 7368787u /* a prime: spreads deadlines over the keys evenly, see put_fill */

enum mode { MODE_MIXED, MODE_FILL, MODE_HALVE };

enum kind { KIND_GET, KIND_SET, KIND_DEL };

struct options {
    enum mode mode;
    int port;
    pid_t pid; /* 0: no CPU time */
    unsigned connections, pipeline, value_size, set_percent;
    uint64_t keys, first, requests; /* requests 0: by time */
    double warmup, seconds;
    uint64_t seed;
    uint64_t ttl;              /* fill: seconds, 0 for none */
    uint64_t deadline, spread; /* fill: PXAT deadline + something below spread, milliseconds */
    bool fixed_reply;          /* every reply is a hit, as the floor program answers */
    bool reads, wait;
    bool vary; /* fill: values of hexadecimal digits that look random, for what compresses them */
};

struct connection {
    int fd;
    unsigned sent, answered;
    uint64_t writes; /* bit i: request i of the batch was not a GET */
    uint64_t sent_at;
    size_t out_at, out_len, in_len;
    char *out, *in;
};

struct load {
    struct options opt;
    int poll;
    struct connection *conns;
    size_t out_size, in_size;
    uint64_t random;
    uint64_t next, end; /* fill and halve: the next index and the one behind the last */
    uint64_t issued, answered, hits, misses, errors;
    unsigned busy; /* connections with requests under way */
    bool stopping;
    char first_error[128];
    char hit[MAX_VALUE + 32]; /* the reply to a GET that finds its key */
    size_t hit_len;
    char set_tail[MAX_VALUE + 32]; /* what follows the key in a SET without options: "\r\n$32\r\nxxx...\r\n" */
    size_t set_tail_len;
    struct histogram latency;
};

static volatile sig_atomic_t terminated;

static void on_terminate(int number)
{
    (void)number;
    terminated = 1;
}

/* splitmix64's mixing function (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next_random(struct load *l)
{
    l->random += 0x9e3779b97f4a7c15u;
    return mix(l->random);
}

static char *put(char *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

#define PUT_LITERAL(at, text) put((at), (text), sizeof(text) - 1)

static char *put_key_only(char *at, enum kind kind, uint64_t index)
{
    if (kind == KIND_GET)
        at = PUT_LITERAL(at, "*2\r\n$3\r\nGET\r\n$15\r\n");
    else
        at = PUT_LITERAL(at, "*2\r\n$3\r\nDEL\r\n$15\r\n");
    client_put_key(at, index);
    return PUT_LITERAL(at + CLIENT_KEY_LEN, "\r\n");
}

static char *put_set(const struct load *l, char *at, uint64_t index)
{
    at = PUT_LITERAL(at, "*3\r\n$3\r\nSET\r\n$15\r\n");
    client_put_key(at, index);
    return put(at + CLIENT_KEY_LEN, l->set_tail, l->set_tail_len);
}

/* A SET whose value is a function of its key. */
static char *put_varied(const struct load *l, char *at, uint64_t index)
{
    char *value = put_set(l, at, index) - 2 - l->opt.value_size, *end = value + l->opt.value_size;
    uint64_t bits = 0;

    for (unsigned i = 0; value + i < end; i++, bits >>= 4) {
        if (i % 16 == 0)
            bits = mix(index * 0x9e3779b97f4a7c15u + i + 1);
        value[i] = "0123456789abcdef"[bits & 15];
    }
    return end + 2;
}

/* A SET of the fill. With a spread the i-th of K keys gets the deadline D + (i * prime mod K) * spread / K: the primes
 * permutes 0..K-1, so deadlines look random over the keys, and yet the number of keys past their deadline at any time
 * is known without asking the server. */
static char *put_fill(const struct load *l, char *at, uint64_t index)
{
    const struct options *o = &l->opt;
    uint64_t number = o->ttl;
    char text[24];
    int len;

    if (o->ttl == 0 && o->deadline == 0)
        return o->vary ? put_varied(l, at, index) : put_set(l, at, index);
    if (o->deadline != 0)
        number = o->deadline + (index - o->first) * SPREAD_STRIDE % o->keys * o->spread / o->keys;
    at = PUT_LITERAL(at, "*5\r\n$3\r\nSET\r\n$15\r\n");
    client_put_key(at, index);
    at = put(at + CLIENT_KEY_LEN, l->set_tail, l->set_tail_len);
    at = o->deadline != 0 ? PUT_LITERAL(at, "$4\r\nPXAT\r\n") : PUT_LITERAL(at, "$2\r\nEX\r\n");
    len = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return at + sprintf(at, "$%d\r\n%s\r\n", len, text);
}

/* Writes the next request at `at`. Returns where it ends, or NULL when there is none left. */
static char *put_request(struct load *l, char *at, bool *is_write)
{
    const struct options *o = &l->opt;

    if (o->mode == MODE_MIXED) {
        uint64_t r = next_random(l), index = (r >> 32) * o->keys >> 32;

        if (o->requests != 0 && l->issued == o->requests)
            return NULL;
        *is_write = (r & 0xffffffff) < (uint64_t)o->set_percent * 0x100000000u / 100;
        return *is_write ? put_set(l, at, index) : put_key_only(at, KIND_GET, index);
    }
    *is_write = true;
    if (o->mode == MODE_HALVE) {
        while (l->next < l->end && (mix(l->next + 1) & 1) == 0)
            l->next++;
    }
    if (l->next == l->end)
        return NULL;
    return o->mode == MODE_FILL ? put_fill(l, at, l->next++) : put_key_only(at, KIND_DEL, l->next++);
}

static void want_output(struct load *l, struct connection *c, bool on)
{
    struct epoll_event want = {.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (epoll_ctl(l->poll, EPOLL_CTL_MOD, c->fd, &want) != 0)
        client_die("epoll_ctl: %s", strerror(errno));
}

/* Sends what is left of the batch. */
static void flush(struct load *l, struct connection *c, bool was_waiting)
{
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        client_die("send: %s", strerror(errno));
    if (n > 0)
        c->out_at += (size_t)n;
    if (was_waiting != (c->out_at < c->out_len))
        want_output(l, c, !was_waiting);
}

static void start_batch(struct load *l, struct connection *c, uint64_t now)
{
    char *at = c->out, *end;
    bool is_write;

    c->sent = c->answered = 0;
    c->writes = 0;
    while (!l->stopping && c->sent < l->opt.pipeline && (end = put_request(l, at, &is_write))) {
        c->writes |= (uint64_t)is_write << c->sent++;
        l->issued++;
        at = end;
    }
    if (c->sent == 0) {
        l->busy--;
        return;
    }
    if (l->opt.wait) {
        at = PUT_LITERAL(at, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n5000\r\n");
        c->writes |= 1ull << c->sent++;
    }
    c->sent_at = now;
    c->out_at = 0;
    c->out_len = (size_t)(at - c->out);
    flush(l, c, false);
}

static void count_error(struct load *l, const char *at, size_t len)
{
    if (l->errors++ == 0)
        snprintf(l->first_error, sizeof l->first_error, "%.*s", (int)len, at);
}

/* Takes the reply at `at` to a request of the given kind. Returns its length, or 0 when it is not complete. */
static size_t take_reply(struct load *l, const char *at, size_t len, bool is_write)
{
    size_t available = len;
    const char *end;

    if (!is_write && len >= l->hit_len && memcmp(at, l->hit, l->hit_len) == 0) {
        l->hits++;
        return l->hit_len;
    }
    if (is_write && l->opt.mode != MODE_HALVE && len >= 5 && memcmp(at, "+OK\r\n", 5) == 0)
        return 5;
    end = memchr(at, '\n', len);
    if (!end)
        return 0;
    len = (size_t)(end - at) + 1;
    if (!is_write && len == 5 && memcmp(at, "$-1\r\n", 5) == 0)
        l->misses++;
    else if (is_write && (l->opt.mode == MODE_HALVE || l->opt.wait) && len == 4 && at[0] == ':')
        l->hits += at[1] != '0'; /* keys deleted, or replicas that confirmed */
    else if (at[0] == '-')
        count_error(l, at, len - 2);
    else if (is_write || available >= l->hit_len || memcmp(at, l->hit, len) != 0) /* else an incomplete hit */
        client_die("unexpected reply: %.*s", (int)len, at);
    else
        return 0;
    return len;
}

static bool has_latency(const struct load *l, const struct connection *c, bool is_write)
{
    if (l->opt.reads)
        return !is_write;
    return !l->opt.wait || c->answered == c->sent;
}

static void on_input(struct load *l, struct connection *c, uint64_t now)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, l->in_size - c->in_len, 0);
    size_t at = 0, len;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        client_die("the server closed a connection: %s", n < 0 ? strerror(errno) : "end of file");
    c->in_len += (size_t)n;
    while (at < c->in_len && c->answered < c->sent) {
        bool is_write = (c->writes >> c->answered & 1) != 0 && !l->opt.fixed_reply;

        if ((len = take_reply(l, c->in + at, c->in_len - at, is_write)) == 0)
            break;
        at += len;
        c->answered++;
        if (has_latency(l, c, is_write))
            histogram_add(&l->latency, now - c->sent_at);
        l->answered++;
    }
    if (at < c->in_len && c->answered == c->sent)
        client_die("more replies than requests");
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->answered == c->sent && c->sent > 0)
        start_batch(l, c, now);
}

/* Runs until `until` or SIGTERM (0: neither ends it), or until no connection has anything under way. Returns the time
 * at the end. */
static uint64_t run_loop(struct load *l, uint64_t until)
{
    struct epoll_event events[EVENTS];
    uint64_t now = client_now_ns();

    while (l->busy > 0 && (until == 0 || (now < until && !terminated))) {
        int n = epoll_wait(l->poll, events, EVENTS, 10000);

        if (n == 0)
            client_die("no reply for ten seconds");
        now = client_now_ns();
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;

            if (events[i].events & EPOLLOUT)
                flush(l, c, true);
            if (events[i].events & ~(unsigned)EPOLLOUT)
                on_input(l, c, now);
        }
    }
    return now;
}

static void open_connections(struct load *l)
{
    const struct options *o = &l->opt;

    l->poll = epoll_create1(EPOLL_CLOEXEC);
    l->conns = calloc(o->connections, sizeof *l->conns);
    l->out_size = (size_t)o->pipeline * (o->value_size + REQUEST_OVERHEAD);
    l->in_size = (size_t)o->pipeline * (o->value_size + REQUEST_OVERHEAD);
    if (l->poll < 0 || !l->conns)
        client_die("out of memory");
    for (unsigned i = 0; i < o->connections; i++) {
        struct connection *c = &l->conns[i];
        struct epoll_event want = {.events = EPOLLIN, .data.ptr = c};

        c->out = malloc(l->out_size);
        c->in = malloc(l->in_size);
        c->fd = client_connect(o->port);
        if (!c->out || !c->in || epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &want) != 0)
            client_die("connection %u: %s", i, strerror(errno));
    }
}

static void prepare(struct load *l)
{
    const struct options *o = &l->opt;
    char value[MAX_VALUE];

    memset(value, 'x', o->value_size);
    l->hit_len = (size_t)snprintf(l->hit, sizeof l->hit, "$%u\r\n%.*s\r\n", o->value_size, (int)o->value_size, value);
    l->set_tail_len = (size_t)snprintf(l->set_tail, sizeof l->set_tail, "\r\n%s", l->hit);
    l->random = o->seed;
    l->next = o->first;
    l->end = o->first + o->keys;
    open_connections(l);
}

static double own_cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void read_cpu(const struct load *l, struct proccpu *out)
{
    memset(out, 0, sizeof *out);
    if (l->opt.pid != 0 && proccpu_read(l->opt.pid, out) != 0)
        client_die("process %d is not there", (int)l->opt.pid);
}

/* Starts every connection, warms up, and measures. */
static void run(struct load *l)
{
    struct proccpu before, after;
    struct proccpu_span span;
    uint64_t from, to, counted;
    double own;

    l->busy = l->opt.connections;
    from = client_now_ns();
    for (unsigned i = 0; i < l->opt.connections; i++)
        start_batch(l, &l->conns[i], from);
    if (l->opt.warmup > 0)
        from = run_loop(l, from + (uint64_t)(l->opt.warmup * 1e9));
    memset(&l->latency, 0, sizeof l->latency);
    counted = l->answered;
    own = own_cpu_us();
    read_cpu(l, &before);
    to = run_loop(l, l->opt.seconds > 0 ? from + (uint64_t)(l->opt.seconds * 1e9) : 0);
    read_cpu(l, &after);
    own = own_cpu_us() - own;
    counted = l->answered - counted;
    span = proccpu_between(&before, &after);
    printf(
        "{\"requests\":%llu,\"seconds\":%.6f,\"cpu_us\":%.1f,\"user_us\":%.1f,\"system_us\":%.1f,\"load_cpu_us\":%.1f,"
        "\"hits\":%llu,\"misses\":%llu,\"errors\":%llu,\"first_error\":\"%s\",\"latency\":",
        (unsigned long long)counted, (double)(to - from) / 1e9, span.total_us, span.user_us, span.system_us, own,
        (unsigned long long)l->hits, (unsigned long long)l->misses, (unsigned long long)l->errors, l->first_error);
    histogram_print(&l->latency, stdout, false);
    puts("}");
    l->stopping = true;
    run_loop(l, 0); /* replies under way are taken, so that closing resets no connection */
}

static void finish(struct load *l)
{
    for (unsigned i = 0; i < l->opt.connections; i++) {
        close(l->conns[i].fd);
        free(l->conns[i].out);
        free(l->conns[i].in);
    }
    free(l->conns);
    close(l->poll);
}

static const struct option long_options[] = {
    {"mode", required_argument, NULL, 'm'},
    {"port", required_argument, NULL, 'p'},
    {"pid", required_argument, NULL, 'i'},
    {"connections", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'P'},
    {"value-size", required_argument, NULL, 'v'},
    {"set-percent", required_argument, NULL, 's'},
    {"keys", required_argument, NULL, 'k'},
    {"first", required_argument, NULL, 'f'},
    {"requests", required_argument, NULL, 'n'},
    {"warmup", required_argument, NULL, 'w'},
    {"seconds", required_argument, NULL, 't'},
    {"seed", required_argument, NULL, 'r'},
    {"ttl", required_argument, NULL, 'x'},
    {"deadline", required_argument, NULL, 'D'},
    {"spread", required_argument, NULL, 'S'},
    {"fixed-reply", no_argument, NULL, 'F'},
    {"reads", no_argument, NULL, 'R'},
    {"wait", no_argument, NULL, 'W'},
    {"vary", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static enum mode parse_mode(const char *text)
{
    if (strcmp(text, "mixed") == 0)
        return MODE_MIXED;
    if (strcmp(text, "fill") == 0)
        return MODE_FILL;
    if (strcmp(text, "halve") == 0)
        return MODE_HALVE;
    client_die("unknown mode: %s", text);
}

static void set_option(struct options *o, int which)
{
    uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

    switch (which) {
    case 'm':
        o->mode = parse_mode(optarg);
        break;
    case 'p':
        o->port = (int)number;
        break;
    case 'i':
        o->pid = (pid_t)number;
        break;
    case 'c':
        o->connections = (unsigned)number;
        break;
    case 'P':
        o->pipeline = (unsigned)number;
        break;
    case 'v':
        o->value_size = (unsigned)number;
        break;
    case 's':
        o->set_percent = (unsigned)number;
        break;
    case 'k':
        o->keys = number;
        break;
    case 'f':
        o->first = number;
        break;
    case 'n':
        o->requests = number;
        break;
    case 'w':
        o->warmup = strtod(optarg, NULL);
        break;
    case 't':
        o->seconds = strtod(optarg, NULL);
        break;
    case 'r':
        o->seed = number;
        break;
    case 'x':
        o->ttl = number;
        break;
    case 'D':
        o->deadline = number;
        break;
    case 'S':
        o->spread = number;
        break;
    case 'F':
        o->fixed_reply = true;
        break;
    case 'R':
        o->reads = true;
        break;
    case 'W':
        o->wait = true;
        break;
    case 'V':
        o->vary = true;
        break;
    default:
        client_die("usage: see the options at the end of bench/load.c");
    }
}

int main(int argc, char **argv)
{
    static struct load l = {
        .opt = {
            .connections = 50, .pipeline = 1, .value_size = 32, .set_percent = 10, .keys = 1000000, .seed = 20240601}};
    struct options *o = &l.opt;
    int which;

    while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(o, which);
    if (o->port <= 0 || o->connections == 0 || o->pipeline == 0 || o->pipeline + o->wait > MAX_PIPELINE ||
        o->keys == 0 || o->keys > UINT32_MAX || o->value_size > MAX_VALUE ||
        (o->mode == MODE_MIXED && o->requests == 0 && o->seconds <= 0))
        client_die("missing or impossible options");
    signal(SIGTERM, on_terminate);
    prepare(&l);
    run(&l);
    finish(&l);
    return 0;
}
