/* The prober: what other clients feel while one client runs a slow command.
 *
 * N connections each send a GET on a fixed schedule, whether or not the one before was answered, so a server that
 * stalls cannot hide its stall by slowing the prober down. One more connection, opened between them, runs the slow
 * command several times, each time after an optional preparing command. A GET belongs to the slow command if it was
 * sent between the command's sending and a little after its reply (work may go on behind the reply). GETs of the quiet
 * time before the first slow command are the baseline: they show what machine and prober add by themselves.
 *
 * The slow client's reply is read in small pieces between the probes: a thread of its own would take the prober's core
 * from it for whole time slices. Prints one JSON object. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "histogram.h"

#define READ_SIZE 65536
#define EVENTS 64
#define MAX_WORDS 32
#define MAX_BEHIND 65536u                 /* GETs without reply on one connection; a power of two */
#define NEVER_NS (120ull * 1000000000ull) /* a slow command that takes longer has hung */
#define SETTLE_NS 200000000ull

struct options {
    int port;
    unsigned probers, repeat, interval_us, quiet_ms, tail_ms;
    uint64_t keys, seed;
    char *before; /* words separated by spaces, or NULL */
    int argc;     /* the slow command */
    char **argv;
};

struct prober {
    int fd;
    uint64_t next_at; /* when the next GET is due */
    uint32_t sent, answered;
    uint64_t sent_at[MAX_BEHIND];
    struct client_reply reply;
};

struct slow {
    int fd;
    bool busy;
    size_t out_at, out_len;
    char out[4096];
    struct client_reply reply;
};

struct probe {
    struct options opt;
    int poll;
    struct prober *probers;
    struct slow slow;
    uint64_t random;
    uint64_t quiet_from, quiet_to;   /* GETs sent in this time are the baseline */
    uint64_t window_from, window_to; /* and in this time they are the slow command's; to = UINT64_MAX: still running */
    struct histogram quiet, during, command;
    uint64_t errors;
};

static void send_get(struct probe *p, struct prober *c, uint64_t now)
{
    char text[64] = "*2\r\n$3\r\nGET\r\n$15\r\n";
    size_t len = strlen(text);

    p->random = p->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
    client_put_key(text + len, (p->random >> 32) * p->opt.keys >> 32);
    memcpy(text + len + CLIENT_KEY_LEN, "\r\n", 2);
    len += CLIENT_KEY_LEN + 2;
    if (c->sent - c->answered == MAX_BEHIND || send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
        client_die("the server is too far behind the probes");
    c->sent_at[c->sent++ % MAX_BEHIND] = now;
}

/* Sends what is due. Returns when the next GET is. */
static uint64_t send_due(struct probe *p)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < p->opt.probers; i++) {
        struct prober *c = &p->probers[i];
        uint64_t now = client_now_ns();

        if (now >= c->next_at) {
            send_get(p, c, now);
            c->next_at += p->opt.interval_us * 1000ull;
            if (c->next_at < now) /* the prober itself was late: do not send in bursts */
                c->next_at = now + p->opt.interval_us * 1000ull;
        }
        if (c->next_at < next)
            next = c->next_at;
    }
    return next;
}

static void take_probe(struct probe *p, struct prober *c, uint64_t now)
{
    uint64_t sent_at = c->sent_at[c->answered++ % MAX_BEHIND];

    p->errors += c->reply.is_error;
    if (sent_at >= p->window_from && sent_at <= p->window_to)
        histogram_add(&p->during, now - sent_at);
    else if (sent_at >= p->quiet_from && sent_at < p->quiet_to)
        histogram_add(&p->quiet, now - sent_at);
}

/* Reads once from fd and feeds the replies. Returns how many were completed. */
static unsigned read_replies(struct probe *p, int fd, struct client_reply *reply, struct prober *c)
{
    static char in[READ_SIZE];
    ssize_t n = recv(fd, in, sizeof in, 0);
    uint64_t now = client_now_ns();
    unsigned completed = 0;
    bool done;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        client_die("the server closed a connection: %s", n < 0 ? strerror(errno) : "end of file");
    for (size_t at = 0; at < (size_t)n;) {
        at += client_reply_feed(reply, in + at, (size_t)n - at, &done);
        completed += done;
        if (done && c)
            take_probe(p, c, now);
    }
    return completed;
}

static void flush_slow(struct slow *s)
{
    ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);

    if (n != (ssize_t)(s->out_len - s->out_at))
        client_die("send: %s", n < 0 ? strerror(errno) : "short write");
    s->busy = true;
}

/* Probes until `until`, or until the slow client has its reply if stop_at_reply. */
static void probe_until(struct probe *p, uint64_t until, bool stop_at_reply)
{
    struct epoll_event events[EVENTS];
    uint64_t now;

    while ((now = client_now_ns()) < until && !(stop_at_reply && !p->slow.busy)) {
        uint64_t next = send_due(p), wait;
        struct timespec timeout;
        int n;

        now = client_now_ns();
        if (next > until)
            next = until;
        wait = next > now ? next - now : 0;
        timeout = (struct timespec){.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        n = epoll_pwait2(p->poll, events, EVENTS, &timeout, NULL);
        for (int i = 0; i < n; i++) {
            struct prober *c = events[i].data.ptr;

            if (c)
                read_replies(p, c->fd, &c->reply, c);
            else if (read_replies(p, p->slow.fd, &p->slow.reply, NULL) > 0)
                p->slow.busy = false;
        }
    }
}

static void run_slow(struct probe *p, int argc, char **argv)
{
    struct slow *s = &p->slow;

    s->out_at = 0;
    s->out_len = client_put_command(s->out, sizeof s->out, argc, argv);
    flush_slow(s);
    probe_until(p, client_now_ns() + NEVER_NS, true);
    if (s->busy)
        client_die("the slow command has hung");
    if (s->reply.is_error)
        client_die("the slow command failed: %s", argv[0]);
}

static void run_before(struct probe *p)
{
    char *words[MAX_WORDS], text[512], *save = NULL;
    int argc = 0;

    if (!p->opt.before)
        return;
    snprintf(text, sizeof text, "%s", p->opt.before);
    for (char *w = strtok_r(text, " ", &save); w && argc < MAX_WORDS; w = strtok_r(NULL, " ", &save))
        words[argc++] = w;
    run_slow(p, argc, words);
}

static bool all_answered(const struct probe *p)
{
    for (unsigned i = 0; i < p->opt.probers; i++) {
        if (p->probers[i].sent != p->probers[i].answered)
            return false;
    }
    return true;
}

static void run(struct probe *p)
{
    uint64_t now = client_now_ns(), tail = p->opt.tail_ms * 1000000ull;

    for (unsigned i = 0; i < p->opt.probers; i++)
        p->probers[i].next_at = now + (uint64_t)i * p->opt.interval_us * 1000u / p->opt.probers;
    p->window_from = UINT64_MAX;
    probe_until(p, now + SETTLE_NS, false);
    p->quiet_from = client_now_ns();
    p->quiet_to = p->quiet_from + p->opt.quiet_ms * 1000000ull;
    probe_until(p, p->quiet_to, false);
    for (unsigned i = 0; i < p->opt.repeat; i++) {
        p->window_from = UINT64_MAX;
        run_before(p);
        probe_until(p, client_now_ns() + SETTLE_NS, false);
        p->window_from = client_now_ns();
        p->window_to = UINT64_MAX;
        run_slow(p, p->opt.argc, p->opt.argv);
        now = client_now_ns();
        histogram_add(&p->command, now - p->window_from);
        p->window_to = now + tail;
        probe_until(p, p->window_to, false);
    }
    for (unsigned i = 0; i < p->opt.probers; i++)
        p->probers[i].next_at = UINT64_MAX;
    for (now = client_now_ns() + NEVER_NS / 12; !all_answered(p) && client_now_ns() < now;)
        probe_until(p, client_now_ns() + 10000000u, false);
    if (!all_answered(p))
        client_die("probes without reply");
}

static void watch(struct probe *p, int fd, struct prober *c)
{
    struct epoll_event want = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(p->poll, EPOLL_CTL_ADD, fd, &want) != 0)
        client_die("epoll_ctl: %s", strerror(errno));
}

static void open_connections(struct probe *p)
{
    p->poll = epoll_create1(EPOLL_CLOEXEC);
    p->probers = calloc(p->opt.probers, sizeof *p->probers);
    if (p->poll < 0 || !p->probers)
        client_die("out of memory");
    for (unsigned i = 0; i < p->opt.probers; i++) {
        if (i == p->opt.probers / 2) {
            p->slow.fd = client_connect(p->opt.port);
            watch(p, p->slow.fd, NULL);
        }
        p->probers[i].fd = client_connect(p->opt.port);
        watch(p, p->probers[i].fd, &p->probers[i]);
    }
}

static void report(const struct probe *p)
{
    printf("{\"errors\":%llu,\"quiet\":", (unsigned long long)p->errors);
    histogram_print(&p->quiet, stdout, true);
    fputs(",\"during\":", stdout);
    histogram_print(&p->during, stdout, true);
    fputs(",\"command\":", stdout);
    histogram_print(&p->command, stdout, true);
    puts("}");
}

static const struct option long_options[] = {
    {"port", required_argument, NULL, 'p'},
    {"probers", required_argument, NULL, 'c'},
    {"repeat", required_argument, NULL, 'r'},
    {"interval-us", required_argument, NULL, 'u'},
    {"quiet-ms", required_argument, NULL, 'q'},
    {"tail-ms", required_argument, NULL, 't'},
    {"keys", required_argument, NULL, 'k'},
    {"before", required_argument, NULL, 'b'},
    {NULL, 0, NULL, 0},
};

static void set_option(struct options *o, int which)
{
    uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

    switch (which) {
    case 'p':
        o->port = (int)number;
        break;
    case 'c':
        o->probers = (unsigned)number;
        break;
    case 'r':
        o->repeat = (unsigned)number;
        break;
    case 'u':
        o->interval_us = (unsigned)number;
        break;
    case 'q':
        o->quiet_ms = (unsigned)number;
        break;
    case 't':
        o->tail_ms = (unsigned)number;
        break;
    case 'k':
        o->keys = number;
        break;
    case 'b':
        o->before = optarg;
        break;
    default:
        client_die("usage: latency --port N [option ...] -- COMMAND [word ...]");
    }
}

int main(int argc, char **argv)
{
    static struct probe p = {.opt = {.probers = 16,
                                     .repeat = 1,
                                     .interval_us = 1000,
                                     .quiet_ms = 500,
                                     .tail_ms = 20,
                                     .keys = 1000000,
                                     .seed = 20240601}};
    int which;

    while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set_option(&p.opt, which);
    p.opt.argc = argc - optind;
    p.opt.argv = argv + optind;
    if (p.opt.port <= 0 || p.opt.probers == 0 || p.opt.interval_us == 0 || p.opt.keys == 0 || p.opt.argc == 0)
        client_die("usage: latency --port N [option ...] -- COMMAND [word ...]");
    p.random = p.opt.seed;
    prctl(PR_SET_TIMERSLACK, 1000);
    open_connections(&p);
    run(&p);
    report(&p);
    return 0;
}
