/*
 * The registry of connections: shards by id, each a lock and an array of cards sorted by id. Ids are given out in
 * ascending order, so a new card nearly always goes to the end of its shard's array. Accepting and closing touch one
 * shard; a listing takes the ids first and then looks each up, so that it holds one lock at a time, and a connection
 * that closes meanwhile is left out. Lock order: shard, then card.
 */
#include "engine/server/clients.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define SHARDS 16

struct shard {
    pthread_mutex_t lock;
    struct card **cards; /* by ascending id */
    size_t count, cap;
} __attribute__((aligned(64)));

struct clients {
    struct shard shards[SHARDS];
    clients_kill_fn *kill;
    void *kill_arg;
    _Atomic uint64_t last_id, count, total;
};

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit((_Atomic uint64_t *)v, memory_order_relaxed);
}

static uint32_t card_flags(struct card *card)
{
    return atomic_load_explicit(&card->flags, memory_order_relaxed);
}

struct clients *clients_new(clients_kill_fn *kill, void *arg)
{
    struct clients *cs = mem_alloc_lines(sizeof *cs);

    memset(cs, 0, sizeof *cs);
    cs->kill = kill;
    cs->kill_arg = arg;
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&cs->shards[i].lock, NULL);
    return cs;
}

static void card_free(struct card *card)
{
    pthread_mutex_destroy(&card->lock);
    mem_free(card->name);
    mem_free(card->lib_name);
    mem_free(card->lib_ver);
    mem_free(card->user);
    mem_free(card);
}

void clients_free(struct clients *cs)
{
    if (!cs)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        for (size_t k = 0; k < cs->shards[i].count; k++)
            card_free(cs->shards[i].cards[k]);
        mem_free(cs->shards[i].cards);
        pthread_mutex_destroy(&cs->shards[i].lock);
    }
    mem_free(cs);
}

static struct shard *shard_of(struct clients *cs, uint64_t id)
{
    return &cs->shards[id % SHARDS];
}

/* The index of the first card whose id is not less. */
static size_t shard_search(const struct shard *s, uint64_t id)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->cards[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct card *clients_add(struct clients *cs, int fd, uint32_t worker, const char *addr, const char *laddr,
                         uint32_t flags)
{
    struct card *card = mem_zalloc(sizeof *card);
    struct shard *s;
    size_t at;

    card->id = atomic_fetch_add_explicit(&cs->last_id, 1, memory_order_relaxed) + 1;
    card->fd = fd;
    card->worker = worker;
    snprintf(card->addr, sizeof card->addr, "%s", addr);
    snprintf(card->laddr, sizeof card->laddr, "%s", laddr);
    card->created_ms = clock_wall_ms();
    pthread_mutex_init(&card->lock, NULL);
    atomic_init(&card->flags, flags);
    atomic_init(&card->resp, 2);
    atomic_init(&card->multi, -1);
    atomic_init(&card->last_active_ms, card->created_ms);

    s = shard_of(cs, card->id);
    pthread_mutex_lock(&s->lock);
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->cards = mem_realloc(s->cards, s->cap * sizeof *s->cards);
    }
    /* Two threads may come here in another order than that of their ids. */
    at = shard_search(s, card->id);
    memmove(&s->cards[at + 1], &s->cards[at], (s->count - at) * sizeof *s->cards);
    s->cards[at] = card;
    s->count++;
    pthread_mutex_unlock(&s->lock);

    if (!(flags & CARD_ADMIN)) {
        atomic_fetch_add_explicit(&cs->count, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&cs->total, 1, memory_order_relaxed);
    }
    return card;
}

void clients_remove(struct clients *cs, struct card *card)
{
    struct shard *s;
    size_t at;

    if (!card)
        return;
    s = shard_of(cs, card->id);
    pthread_mutex_lock(&s->lock);
    at = shard_search(s, card->id);
    s->count--;
    memmove(&s->cards[at], &s->cards[at + 1], (s->count - at) * sizeof *s->cards);
    pthread_mutex_unlock(&s->lock);
    if (!(card_flags(card) & CARD_ADMIN))
        atomic_fetch_sub_explicit(&cs->count, 1, memory_order_relaxed);
    card_free(card);
}

uint64_t clients_count(const struct clients *cs)
{
    return get(&cs->count);
}

uint64_t clients_total(const struct clients *cs)
{
    return get(&cs->total);
}

/* clients_find; *more says whether fn wants the next one. */
static bool find(struct clients *cs, uint64_t id, clients_visit_fn *fn, void *arg, bool *more)
{
    struct shard *s = shard_of(cs, id);
    bool found;
    size_t at;

    pthread_mutex_lock(&s->lock);
    at = shard_search(s, id);
    found = at < s->count && s->cards[at]->id == id && !(card_flags(s->cards[at]) & CARD_ADMIN);
    if (found)
        *more = fn(arg, s->cards[at]);
    pthread_mutex_unlock(&s->lock);
    return found;
}

bool clients_find(struct clients *cs, uint64_t id, clients_visit_fn *fn, void *arg)
{
    bool more;

    return find(cs, id, fn, arg, &more);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void clients_each(struct clients *cs, clients_visit_fn *fn, void *arg)
{
    uint64_t *ids = NULL;
    size_t n = 0, cap = 0;
    bool more = true;

    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &cs->shards[i];
        pthread_mutex_lock(&s->lock);
        if (cap - n < s->count) {
            cap = 2 * (n + s->count);
            ids = mem_realloc(ids, cap * sizeof *ids);
        }
        for (size_t k = 0; k < s->count; k++)
            ids[n++] = s->cards[k]->id;
        pthread_mutex_unlock(&s->lock);
    }
    if (n > 0)
        qsort(ids, n, sizeof *ids, compare_ids);
    for (size_t i = 0; i < n && more; i++)
        find(cs, ids[i], fn, arg, &more);
    mem_free(ids);
}

/* There are no subscriptions yet. */
static enum clients_type card_type(const struct card *card)
{
    uint32_t flags = atomic_load_explicit(&((struct card *)card)->flags, memory_order_relaxed);

    return (flags & CARD_REPLICA) ? CLIENTS_REPLICA : CLIENTS_NORMAL;
}

static bool card_user_is(struct card *card, struct view user)
{
    bool is;

    pthread_mutex_lock(&card->lock);
    is = view_equal(user, card->user ? view_str(card->user) : VIEW("default"));
    pthread_mutex_unlock(&card->lock);
    return is;
}

bool clients_match(const struct clients_filter *f, struct card *card)
{
    if ((f->id != 0 && card->id != f->id) || (f->skip != 0 && card->id == f->skip))
        return false;
    if (f->type >= 0 && card_type(card) != (enum clients_type)f->type)
        return false;
    if (f->addr.p && !view_equal(f->addr, view_str(card->addr)))
        return false;
    if (f->laddr.p && !view_equal(f->laddr, view_str(card->laddr)))
        return false;
    if (f->min_age > 0 && (clock_wall_ms() - card->created_ms) / 1000 < f->min_age)
        return false;
    return !f->user.p || card_user_is(card, f->user);
}

uint64_t clients_kill(struct clients *cs, const struct clients_filter *f)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &cs->shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < s->count; k++) {
            struct card *card = s->cards[k];
            if ((card_flags(card) & CARD_ADMIN) || !clients_match(f, card) ||
                atomic_exchange_explicit(&card->killed, true, memory_order_relaxed))
                continue;
            cs->kill(cs->kill_arg, card);
            n++;
        }
        pthread_mutex_unlock(&s->lock);
    }
    return n;
}

struct eviction {
    uint64_t sum, most; /* bytes of all, and of the one that holds most */
    uint64_t id;        /* of that one; 0 for none */
};

static bool note_largest(void *arg, struct card *card)
{
    struct eviction *e = arg;
    uint64_t bytes = get(&card->total_mem);

    if ((card_flags(card) & (CARD_ADMIN | CARD_NO_EVICT)) || atomic_load_explicit(&card->killed, memory_order_relaxed))
        return true;
    e->sum += bytes;
    if (bytes > e->most) {
        e->most = bytes;
        e->id = card->id;
    }
    return true;
}

uint64_t clients_evict(struct clients *cs, uint64_t limit)
{
    uint64_t n = 0;

    for (;;) {
        struct eviction e = {0};
        clients_each(cs, note_largest, &e);
        if (e.sum <= limit || e.id == 0)
            return n;
        n += clients_kill(cs, &(struct clients_filter){.id = e.id, .type = -1});
    }
}

void clients_sum(struct clients *cs, struct clients_sums *out)
{
    *out = (struct clients_sums){0};
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &cs->shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < s->count; k++) {
            struct card *card = s->cards[k];
            uint64_t input = get(&card->query_len) + get(&card->query_free);
            uint64_t output = get(&card->out_len) + get(&card->out_mem);
            out->memory += get(&card->total_mem);
            out->max_input = input > out->max_input ? input : out->max_input;
            out->max_output = output > out->max_output ? output : out->max_output;
        }
        pthread_mutex_unlock(&s->lock);
    }
}

static void append_flags(struct buf *out, uint32_t flags)
{
    static const struct {
        uint32_t flag;
        char letter;
    } letters[] = {
        {CARD_REPLICA, 'S'},    {CARD_MULTI, 'x'},       {CARD_BLOCKED, 'b'},
        {CARD_DIRTY_EXEC, 'd'}, {CARD_CLOSE_AFTER, 'c'}, {CARD_UNIX, 'U'},
        {CARD_READONLY, 'r'},   {CARD_NO_EVICT, 'e'},    {CARD_NO_TOUCH, 'T'},
    };
    size_t before = out->len;

    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (flags & letters[i].flag)
            buf_put_char(out, letters[i].letter);
    if (out->len == before)
        buf_put_char(out, 'N');
}

void card_describe(struct card *card, struct buf *out)
{
    int64_t now = clock_wall_ms();
    int64_t idle = now - atomic_load_explicit(&card->last_active_ms, memory_order_relaxed),
            age = now - card->created_ms;
    const char *command = atomic_load_explicit(&card->last_command, memory_order_relaxed);
    uint64_t out_len = get(&card->out_len), list = atomic_load_explicit(&card->reply_list_len, memory_order_relaxed);

    pthread_mutex_lock(&card->lock);
    buf_printf(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=", (unsigned long long)card->id,
               card->addr, card->laddr, card->fd, card->name ? card->name : "", (long long)(age < 0 ? 0 : age / 1000),
               (long long)(idle < 0 ? 0 : idle / 1000));
    append_flags(out, card_flags(card));
    buf_printf(out, " db=%u sub=0 psub=0 ssub=0 multi=%d qbuf=%llu qbuf-free=%llu argv-mem=%llu multi-mem=%llu",
               atomic_load_explicit(&card->db, memory_order_relaxed),
               atomic_load_explicit(&card->multi, memory_order_relaxed), (unsigned long long)get(&card->query_len),
               (unsigned long long)get(&card->query_free), (unsigned long long)get(&card->argv_mem),
               (unsigned long long)get(&card->multi_mem));
    buf_printf(out, " rbs=%u rbp=%u obl=%llu oll=%llu omem=%llu tot-mem=%llu events=%s cmd=%s user=%s redir=-1 resp=%u",
               atomic_load_explicit(&card->reply_buf_size, memory_order_relaxed),
               atomic_load_explicit(&card->reply_buf_pos, memory_order_relaxed), (unsigned long long)out_len,
               (unsigned long long)list, (unsigned long long)get(&card->out_mem),
               (unsigned long long)get(&card->total_mem), out_len + list > 0 ? "rw" : "r", command ? command : "NULL",
               card->user ? card->user : "default", atomic_load_explicit(&card->resp, memory_order_relaxed));
    buf_printf(out, " lib-name=%s lib-ver=%s", card->lib_name ? card->lib_name : "",
               card->lib_ver ? card->lib_ver : "");
    pthread_mutex_unlock(&card->lock);
}

void card_set(struct card *card, char **field, struct view value)
{
    char *now = value.n > 0 ? mem_strndup(value.p, value.n) : NULL, *before;

    pthread_mutex_lock(&card->lock);
    before = *field;
    *field = now;
    pthread_mutex_unlock(&card->lock);
    mem_free(before);
}

void card_get(struct card *card, char *const *field, struct buf *out)
{
    pthread_mutex_lock(&card->lock);
    if (*field)
        buf_put_view(out, view_str(*field));
    pthread_mutex_unlock(&card->lock);
}
