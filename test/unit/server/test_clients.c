/* The registry of connections: order, filters, kills, what a line says; and threads that come and go under a listing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/buf.h"
#include "engine/server/clients.h"

#define MANY 100

struct ids {
    uint64_t id[2 * MANY];
    size_t n, stop_at;
};

static bool collect(void *arg, struct card *card)
{
    struct ids *ids = arg;

    ids->id[ids->n++] = card->id;
    return ids->n != ids->stop_at;
}

static void note_kill(void *arg, struct card *card)
{
    collect(arg, card);
}

static void test_order(void **state)
{
    struct clients *cs = clients_new(note_kill, NULL);
    struct card *cards[MANY];
    struct ids ids = {.n = 0}, one = {.n = 0};

    (void)state;
    for (int i = 0; i < MANY; i++)
        cards[i] = clients_add(cs, i, 0, "a:1", "b:2", i == 10 ? CARD_ADMIN : 0);
    clients_remove(cs, cards[20]);
    assert_int_equal(clients_count(cs), MANY - 2);
    assert_int_equal(clients_total(cs), MANY - 1);

    clients_each(cs, collect, &ids);
    assert_int_equal(ids.n, MANY - 2);
    for (size_t i = 1; i < ids.n; i++)
        assert_true(ids.id[i] > ids.id[i - 1]);
    ids = (struct ids){.stop_at = 3};
    clients_each(cs, collect, &ids);
    assert_int_equal(ids.n, 3);

    assert_true(clients_find(cs, cards[5]->id, collect, &one));
    assert_int_equal(one.id[0], cards[5]->id);
    assert_false(clients_find(cs, cards[10]->id, collect, &one));
    assert_false(clients_find(cs, 1000, collect, &one));
    assert_false(clients_find(cs, 0, collect, &one));
    assert_int_equal(one.n, 1);
    clients_free(cs);
    clients_free(NULL);
}

static void test_kill(void **state)
{
    struct ids killed = {.n = 0};
    struct clients *cs = clients_new(note_kill, &killed);
    struct card *a = clients_add(cs, 3, 0, "10.0.0.1:1", "10.0.0.9:6379", 0);
    struct card *b = clients_add(cs, 4, 0, "10.0.0.2:1", "10.0.0.9:6379", 0);
    struct card *admin = clients_add(cs, 5, 0, "10.0.0.2:1", "10.0.0.9:6379", CARD_ADMIN);
    struct clients_filter f = {.type = -1, .addr = VIEW("10.0.0.2:1")};

    (void)state;
    assert_false(clients_match(&f, a));
    assert_true(clients_match(&f, b));
    assert_int_equal(clients_kill(cs, &f), 1);
    assert_int_equal(killed.n, 1);
    assert_int_equal(killed.id[0], b->id);
    assert_true(atomic_load(&b->killed));
    assert_false(atomic_load(&admin->killed));
    assert_int_equal(clients_kill(cs, &f), 0); /* only once */

    f = (struct clients_filter){.type = -1, .laddr = VIEW("10.0.0.9:6379"), .skip = a->id};
    assert_int_equal(clients_kill(cs, &f), 0);
    f.skip = 0;
    f.user = VIEW("nobody");
    assert_int_equal(clients_kill(cs, &f), 0);
    f.user = VIEW("default");
    f.min_age = 3600;
    assert_int_equal(clients_kill(cs, &f), 0);
    f.min_age = 0;
    f.type = CLIENTS_PUBSUB;
    assert_int_equal(clients_kill(cs, &f), 0);
    f.type = CLIENTS_NORMAL;
    f.id = b->id;
    assert_int_equal(clients_kill(cs, &f), 0);
    f.id = a->id;
    f.addr = VIEW("");
    assert_int_equal(clients_kill(cs, &f), 0); /* an empty address matches nobody */
    f.addr = (struct view){0};
    assert_int_equal(clients_kill(cs, &f), 1);
    clients_free(cs);
}

static void test_describe(void **state)
{
    struct clients *cs = clients_new(note_kill, NULL);
    struct card *card = clients_add(cs, 7, 0, "1.2.3.4:5", "5.6.7.8:9", 0);
    struct buf line = {0}, name = {0};

    (void)state;
    card_describe(card, &line);
    buf_put_char(&line, '\0');
    assert_string_equal(line.p, "id=1 addr=1.2.3.4:5 laddr=5.6.7.8:9 fd=7 name= age=0 idle=0 flags=N db=0 sub=0 psub=0 "
                                "ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 "
                                "omem=0 tot-mem=0 events=r cmd=NULL user=default redir=-1 resp=2 lib-name= lib-ver=");

    card_set(card, &card->name, VIEW("worker"));
    card_set(card, &card->lib_name, VIEW("lib"));
    atomic_store(&card->flags, CARD_MULTI | CARD_UNIX | CARD_NO_TOUCH);
    atomic_store(&card->out_len, 5);
    atomic_store(&card->last_command, "get");
    buf_clear(&line);
    card_describe(card, &line);
    buf_put_char(&line, '\0');
    assert_non_null(strstr(line.p, " name=worker "));
    assert_non_null(strstr(line.p, " flags=xUT "));
    assert_non_null(strstr(line.p, " events=rw cmd=get "));
    assert_non_null(strstr(line.p, " lib-name=lib lib-ver="));

    card_get(card, &card->name, &name);
    assert_true(view_equal(buf_view(&name), VIEW("worker")));
    card_set(card, &card->name, VIEW(""));
    assert_null(card->name);
    buf_free(&name);
    buf_free(&line);
    clients_free(cs);
}

static void *come_and_go(void *arg)
{
    struct clients *cs = arg;

    for (int turn = 0; turn < 20; turn++) {
        struct card *cards[MANY / 4];
        for (int i = 0; i < MANY / 4; i++) {
            cards[i] = clients_add(cs, i, 0, "a:1", "b:2", 0);
            card_set(cards[i], &cards[i]->name, VIEW("name"));
        }
        for (int i = 0; i < MANY / 4; i++)
            clients_remove(cs, cards[i]);
    }
    return NULL;
}

static bool describe(void *arg, struct card *card)
{
    card_describe(card, arg);
    return true;
}

static void count_kill(void *arg, struct card *card)
{
    (void)card;
    atomic_fetch_add((_Atomic uint64_t *)arg, 1);
}

static void test_threads(void **state)
{
    _Atomic uint64_t killed = 0;
    struct clients *cs = clients_new(count_kill, &killed);
    struct clients_filter all = {.type = -1};
    struct clients_sums sums;
    struct buf out = {0};
    pthread_t threads[2];
    uint64_t counted = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, cs), 0);
    for (int i = 0; i < 20; i++) {
        clients_each(cs, describe, &out);
        counted += clients_kill(cs, &all);
        clients_sum(cs, &sums);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counted, atomic_load(&killed));
    assert_int_equal(clients_count(cs), 0);
    assert_int_equal(clients_total(cs), 2 * 20 * (MANY / 4));
    buf_free(&out);
    clients_free(cs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
