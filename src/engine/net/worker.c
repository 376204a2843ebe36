/* The worker's loop: events, messages, timers; what a turn takes is measured. See worker.h. */
#include "engine/net/worker.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/exec/lane.h"
#include "engine/log/oplog.h"
#include "engine/net/conn.h"
#include "engine/net/feed.h"
#include "engine/persist/persist.h"
#include "engine/server/clients.h"
#include "engine/server/config.h"
#include "engine/server/replication.h"
#include "engine/server/server.h"
#include "engine/server/stats.h"
#include "engine/store/access.h"
#include "engine/store/expire.h"
#include "engine/store/heap.h"
#include "engine/store/keyspace.h"

#define EVENTS_MAX 128
#define TICK_MS 100
#define CHECK_TICKS 10 /* every connection is checked once in so many */
#define STEP_US 100
#define SLOW_US 30   /* of a command, after which the turn's end is looked at */
#define IDLE_US 2000 /* without events, and longer steps keep nobody waiting */
#define TURN_US 400  /* after which connections wait for the next turn */
#define RECLAIM_BLOCKS 256

static struct server *server_of(struct worker *w)
{
    return w->ex.shared->server;
}

void worker_watch(struct worker *w, int fd, void *tag, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = tag};

    epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Odd, as no connection's address is. */
void *worker_tag(int fd)
{
    return (void *)(uintptr_t)((unsigned)fd * 2 + 1);
}

void worker_init(struct worker *w, struct exec_shared *shared, struct thread *thread, unsigned index,
                 struct listeners *listeners)
{
    w->ex.shared = shared;
    w->ex.thread = thread;
    w->index = index;
    w->listeners = listeners;
    w->wait_due_ms = INT64_MAX;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    inbox_init(&w->inbox);
    worker_watch(w, w->inbox.eventfd, worker_tag(w->inbox.eventfd), EPOLLIN);
    listeners_add_epoll(listeners, w->epoll);
    accept_listen(w);
}

void worker_free(struct worker *w)
{
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i]) { /* its job ended after the loop did */
            w->conns[i]->state = CONN_READY;
            conn_close(w, w->conns[i]);
        }
    conn_bury(w);
    close(w->epoll);
    inbox_free(&w->inbox);
    buf_free(&w->spare);
    arena_free(&w->ex.arena);
    mem_free(w->strangers.list);
    mem_free(w->conns);
    mem_free(w->later);
    mem_free(w->feeds);
    mem_free(w->waiting);
    buf_free(&w->ex.effects.bytes);
}

/* Calls fn for every connection; fn may close it. */
static void each_conn(struct worker *w, void (*fn)(struct worker *w, struct conn *c))
{
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i])
            fn(w, w->conns[i]);
}

static void recheck(struct worker *w, struct conn *c)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    bool outsider;

    if ((atomic_load_explicit(&c->client.session.card->flags, memory_order_relaxed) & CARD_EXEMPT) ||
        getpeername(c->fd, (struct sockaddr *)&peer, &len) != 0)
        return;
    /* who came as a client, and is none any more, goes; who is about to log in as a replica may still do so */
    if (!accept_may_stay(w->listeners, &peer, &outsider) || (outsider && !c->client.session.outsider))
        conn_close(w, c);
}

static void close_cut(struct worker *w, struct conn *c)
{
    if (atomic_load(&c->listener->cut))
        conn_close(w, c);
}

/* Lets all go on that are held, beginning now: those that this turn has no time for in the next ones. */
static void retry_held(struct worker *w)
{
    w->retry_left = w->conn_cap;
}

/* Resumes held connections while there is time, one slot at least. */
static void retry_some(struct worker *w)
{
    for (; w->retry_left > 0 && w->held > 0; w->retry_left--) {
        struct conn *c = w->conns[w->retry_next];
        w->retry_next = (w->retry_next + 1) & (w->conn_cap - 1);
        if (!c || c->state != CONN_HELD || c->held_until_ms > w->mono_ms)
            continue;
        conn_resume(w, c);
        if (clock_ticks() > w->turn_end) {
            w->retry_left--;
            return;
        }
    }
    w->retry_left = 0;
}

/* Idle, not logged in, or with too much to be sent, for too long. */
static void check_limits(struct worker *w, struct conn *c)
{
    const struct config *cfg = server_of(w)->config;
    int64_t timeout = 1000 * cfg->timeout, login = 1000 * cfg->login_timeout, idle;

    if (c->state == CONN_LANE) /* the session is not ours to look at */
        return;
    idle = w->now_ms - atomic_load_explicit(&c->client.session.card->last_active_ms, memory_order_relaxed);
    if (timeout > 0 && idle > timeout && c->state == CONN_READY)
        conn_close(w, c);
    else if (login > 0 && !c->client.session.authenticated &&
             (c->stranger ? w->mono_ms - c->accepted_ms : idle) > login) /* after RESET, from the last activity */
        conn_close(w, c);
    else
        conn_check(w, c);
}

/* Checks a part of the connections, so that each has its turn about once a second and no turn takes long. */
static void check_some(struct worker *w)
{
    for (uint32_t n = (w->conn_cap + CHECK_TICKS - 1) / CHECK_TICKS; n > 0; n--) {
        struct conn *c = w->conns[w->check_next];
        w->check_next = (w->check_next + 1) & (w->conn_cap - 1);
        if (c)
            check_limits(w, c);
    }
}

struct conn *worker_conn(struct worker *w, uint32_t slot, uint64_t id)
{
    struct conn *c = slot < w->conn_cap ? w->conns[slot] : NULL;

    return c && c->client.handle.id == id ? c : NULL;
}

static void handle_message(struct worker *w, const struct message *m)
{
    struct conn *c = NULL;

    if (m->kind == MESSAGE_RESUME || m->kind == MESSAGE_DONE || m->kind == MESSAGE_KILL || m->kind == MESSAGE_TOUCH) {
        c = worker_conn(w, (uint32_t)m->fd, m->id);
        if (!c)
            return;
    }
    switch (m->kind) {
    case MESSAGE_RESUME:
        if (c->state == CONN_PARKED)
            conn_resume(w, c);
        break;
    case MESSAGE_DONE:
        conn_lane_done(w, c);
        break;
    case MESSAGE_ADOPT:
        accept_adopt(w, m->fd, (struct listener *)(uintptr_t)m->id);
        break;
    case MESSAGE_KILL:
        /* one that closes by itself sends its reply first */
        if (c->state == CONN_LANE || !c->client.session.close_after_reply)
            conn_close(w, c);
        break;
    case MESSAGE_HELD:
        retry_held(w);
        break;
    case MESSAGE_LISTEN:
        accept_listen(w);
        break;
    case MESSAGE_RECHECK:
        each_conn(w, recheck);
        break;
    case MESSAGE_CLOSE:
        each_conn(w, conn_close);
        break;
    case MESSAGE_CUT:
        each_conn(w, close_cut);
        break;
    case MESSAGE_TOUCH:
        feed_touch(w, c);
        break;
    case MESSAGE_PROGRESS:
        conn_progress(w);
        break;
    case MESSAGE_STOP:
        w->stopping = true;
        break;
    }
}

/* Handles messages while there is time, one at least; those taken before come first. */
static void handle_inbox(struct worker *w)
{
    if (w->message_next == w->message_count) {
        w->message_next = 0;
        w->message_count = inbox_take(&w->inbox, &w->messages);
    }
    while (w->message_next < w->message_count) {
        handle_message(w, &w->messages[w->message_next++]);
        if (clock_ticks() > w->turn_end)
            return;
    }
}

/* The partitions whose upkeep is this worker's: [*from, *to). */
static void own_partitions(const struct worker *w, uint32_t *from, uint32_t *to)
{
    *from = PARTITIONS / w->peer_count * w->index;
    *to = w->index + 1 == w->peer_count ? PARTITIONS : *from + PARTITIONS / w->peer_count;
}

/* Expires what is due among the partitions of this worker. */
static void expire(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;
    int64_t wait, start;
    uint32_t from, to;

    own_partitions(w, &from, &to);
    if (!atomic_load_explicit(&sh->server->active_expire, memory_order_relaxed) ||
        atomic_load_explicit(&sh->server->is_replica, memory_order_relaxed) ||
        (atomic_load_explicit(&sh->server->restrictions, memory_order_relaxed) & RESTRICT_LOADING) ||
        atomic_load_explicit(&sh->server->pause_until_ms, memory_order_relaxed) > w->now_ms ||
        !gate_enter(&sh->gate, w->ex.thread->index)) {
        w->expire_due_ms = w->now_ms + TICK_MS;
        return;
    }
    start = clock_mono_us();
    wait = expire_step(sh->server->keyspace, w->ex.thread, from, to, &w->expire_next, STEP_US);
    gate_leave(&sh->gate, w->ex.thread->index);
    tally_add(&w->ex.thread->expire_us, clock_mono_us() - start);
    if (wait == 0)
        tally_add(&w->ex.thread->expire_stops, 1);
    w->expire_due_ms = w->now_ms + (wait < TICK_MS ? wait : TICK_MS);
}

/* Takes its part in a defragmentation cycle, if there is one; returns the milliseconds until it must again. */
static int64_t defrag(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;
    uint32_t from, to;
    int64_t wait;

    if (!defrag_cycle_running(sh->server))
        return INT64_MAX;
    if (!gate_enter(&sh->gate, w->ex.thread->index))
        return 1;
    own_partitions(w, &from, &to);
    wait = defrag_cycle_step(sh->server, w->ex.thread, &w->defrag, from, to);
    gate_leave(&sh->gate, w->ex.thread->index);
    return wait;
}

/* Is CLIENT PAUSE in force? Ends it when its time has come: the mark costs every command. */
static bool is_paused(struct worker *w, int64_t *until)
{
    _Atomic int64_t *pause = &server_of(w)->pause_until_ms;

    *until = atomic_load_explicit(pause, memory_order_relaxed);
    if (*until != 0 && *until <= w->now_ms)
        return !(atomic_compare_exchange_strong(pause, until, 0) || *until == 0);
    return *until != 0;
}

static void tick_replication(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;

    if (!gate_enter(&sh->gate, w->ex.thread->index))
        return;
    replication_tick(sh->server->replication, w->ex.thread, w->mono_ms);
    gate_leave(&sh->gate, w->ex.thread->index);
}

static void tick(struct worker *w)
{
    struct server *s = server_of(w);
    unsigned waiting;

    w->tick_due_ms = w->now_ms + TICK_MS;
    if (w->index == 0) {
        access_tick(w->now_ms);
        server_stats_sample(s);
        defrag_cycle_tick(s, w->now_ms);
        persist_tick(s->persistence, w->mono_ms);
        tick_replication(w);
        lane_kick(w->ex.shared->lanes[EXEC_LANE_WAITING]); /* what takes longer */
    }
    heap_drain_check(w->ex.thread->heap);
    accept_retry(w);
    waiting = accept_tick(w);
    if (w->held > waiting && !w->paused)
        retry_held(w);
    check_some(w);
}

/* Frees some of what was dropped; inside the gate, since a snapshot may want it first. */
static bool reclaim(struct worker *w)
{
    struct exec_shared *sh = w->ex.shared;
    bool more;

    if (!atomic_load_explicit(&sh->server->keyspace->has_dropped, memory_order_relaxed))
        return false;
    if (snapshot_full(&sh->server->persistence->snapshot))
        return false; /* the timer brings it back */
    if (!gate_enter(&sh->gate, w->ex.thread->index))
        return true;
    more = keyspace_reclaim(sh->server->keyspace, w->ex.thread, RECLAIM_BLOCKS);
    gate_leave(&sh->gate, w->ex.thread->index);
    return more;
}

/* Takes its part in a snapshot, if one is being made; returns the microseconds until it must again. */
static int64_t snapshot(struct worker *w, bool idle)
{
    struct exec_shared *sh = w->ex.shared;
    struct snapshot *s = &sh->server->persistence->snapshot;
    int64_t wait;

    if (!snapshot_walking(s))
        return INT64_MAX;
    if (!gate_enter(&sh->gate, w->ex.thread->index))
        return 1000;
    wait = snapshot_walking(s) ? snapshot_step(s, w->ex.thread, &w->snapshot, idle) : INT64_MAX;
    gate_leave(&sh->gate, w->ex.thread->index);
    return wait;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Timers and steps; returns how long the loop may sleep, in microseconds. idle: nobody wants anything. */
static int64_t housekeeping(struct worker *w, bool idle)
{
    bool more = reclaim(w);
    bool was_paused = w->paused;
    int64_t due, pause_end, defrag_ms = defrag(w), snapshot_us = snapshot(w, idle);

    w->paused = is_paused(w, &pause_end);
    if (was_paused && !w->paused)
        retry_held(w);
    if (w->now_ms >= w->expire_due_ms || w->expire_due_ms > w->now_ms + TICK_MS)
        expire(w);
    if (w->now_ms >= w->tick_due_ms || w->tick_due_ms > w->now_ms + TICK_MS)
        tick(w);
    due = w->expire_due_ms < w->tick_due_ms ? w->expire_due_ms : w->tick_due_ms;
    if (w->paused && pause_end < due)
        due = pause_end;
    due = least(due - w->now_ms, defrag_ms);
    if (w->look_again || w->mono_ms >= w->wait_due_ms)
        conn_progress(w);
    if (w->wait_due_ms != INT64_MAX)
        due = least(due, w->wait_due_ms - w->mono_ms);
    oplog_wake(server_of(w)->log, w->ex.thread->index);
    return more || due <= 0 ? 0 : least(1000 * due, snapshot_us);
}

/* Notes how long this turn kept the connections waiting. */
static void note_pause(struct worker *w, int64_t us)
{
    unsigned bucket = us < 1 ? 0 : 63u - (unsigned)__builtin_clzll((unsigned long long)us);

    tally_add(&w->tally->pause_us[bucket < PAUSE_BUCKETS ? bucket : PAUSE_BUCKETS - 1], 1);
    if (us > tally_read(&w->tally->pause_max_us))
        atomic_store_explicit(&w->tally->pause_max_us, us, memory_order_relaxed);
}

static void handle_event(struct worker *w, const struct epoll_event *ev)
{
    uintptr_t tag = (uintptr_t)ev->data.ptr;
    struct conn *c = ev->data.ptr;
    uint32_t slot;

    if (tag & 1) {
        if ((int)(tag / 2) == w->inbox.eventfd)
            handle_inbox(w);
        else
            accept_some(w, (int)(tag / 2));
        return;
    }
    slot = c->slot;
    if (c->state == CONN_CLOSED)
        return;
    if (ev->events & EPOLLOUT)
        conn_writable(w, c);
    if (w->conns[slot] != c)
        return;
    if (ev->events & (EPOLLERR | EPOLLHUP) && !(ev->events & EPOLLIN))
        conn_close(w, c);
    else if (ev->events & EPOLLIN)
        conn_readable(w, c);
}

/* Whole milliseconds are what it usually is. */
static int wait_for_events(struct worker *w, struct epoll_event events[EVENTS_MAX], int64_t us)
{
    struct timespec ts = {us / 1000000, us % 1000000 * 1000};

    if (us % 1000 == 0)
        return epoll_wait(w->epoll, events, EVENTS_MAX, (int)(us / 1000));
    return epoll_pwait2(w->epoll, events, EVENTS_MAX, &ts, NULL);
}

void *worker_run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS_MAX];
    uint64_t turn_ticks = clock_us_ticks(TURN_US);
    char name[16];
    int64_t sleep_us = 0;
    bool left = false;

    w->slow_ticks = clock_us_ticks(SLOW_US);
    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    while (!w->stopping) {
        int n = wait_for_events(w, events, sleep_us);
        int64_t start = clock_mono_us();

        w->now_ms = clock_wall_ms();
        w->mono_ms = start / 1000;
        w->ex.since = clock_ticks();
        w->turn_end = w->ex.since + turn_ticks;
        for (int i = 0; i < n && w->ex.since <= w->turn_end; i++) /* what is left is reported again */
            handle_event(w, &events[i]);
        if (left)
            handle_inbox(w);
        conn_go_on(w);
        if (n > 0)
            w->event_us = start;
        sleep_us = housekeeping(w, start - w->event_us > IDLE_US);
        retry_some(w);
        feed_turn(w);
        left = w->message_next < w->message_count;
        if (left || w->later_count > 0 || w->retry_left > 0 || w->look_again)
            sleep_us = 0;
        if (w->closed) /* a file is free again */
            accept_retry(w);
        conn_bury(w);
        if (!feed_sleep(w))
            sleep_us = 0;
        note_pause(w, clock_mono_us() - start);
    }
    for (uint32_t i = 0; i < w->conn_cap; i++)
        if (w->conns[i] && w->conns[i]->state != CONN_LANE)
            conn_close(w, w->conns[i]);
    conn_bury(w);
    accept_end(w);
    return NULL;
}
