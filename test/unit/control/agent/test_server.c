/*
 * The agent and real servers. LARDER_SERVER is the path of larder-server; without it there is nothing to test.
 */
#include "unit/control/agent/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "control/agent/endpoint.h"

#define READY_US 200000 /* within which a node that has nothing to load is there */

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, getenv("LARDER_SERVER"));
    world.times.hung_ms = 1000;
    world.times.hello_ms = 50;
    world.times.trouble_ms = 20;
    agent_free(world.agent);
    world_open_agent(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static void grant(struct diary *d, const char *epoch)
{
    struct outcome o = {0};

    assert_int_equal(node_command_words(d->node, 5000, outcome_write, &o, NODE_WORDS("LARDER", "GRANT", epoch)), 0);
    world_await(&world, o.is_told);
    assert_string_equal(o.text, "OK");
}

static void done(void *arg, const char *error)
{
    struct outcome *o = arg;

    o->is_told = true;
    snprintf(o->error, sizeof o->error, "%s", error != NULL ? error : "");
}

static void give(struct endpoint *e, struct diary *d, const char *name)
{
    struct outcome o = {0};

    assert_int_equal(endpoint_give(e, d->node, name, done, &o), 0);
    world_await(&world, o.is_told);
    assert_string_equal(o.error, "");
}

static void take(struct diary *d, const char *name, bool closes)
{
    struct outcome o = {0};

    assert_int_equal(endpoint_take(d->node, name, closes, done, &o), 0);
    world_await(&world, o.is_told);
    assert_string_equal(o.error, "");
}

static int client(const struct endpoint *e)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(endpoint_port(e))};
    struct timeval patience = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, endpoint_address(e), &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static bool pings(int fd)
{
    char reply[8] = "";

    return send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, reply, 7, MSG_WAITALL) == 7 &&
           memcmp(reply, "+PONG\r\n", 7) == 0;
}

static struct endpoint *open_endpoint(bool is_shared, uint16_t port)
{
    char error[ENDPOINT_ERROR_MAX];
    struct endpoint *e;

    if (endpoint_open("127.0.0.1", port, is_shared, &e, error) != 0)
        fail_msg("%s", error);
    return e;
}

/* ---- life and death ---- */

/* The best of some, as others use the machine, too. */
static void test_start_is_quick(void **state)
{
    const char *variant = getenv("LARDER_VARIANT");
    int64_t best = PATIENCE_US;
    struct diary d;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        int64_t began = clock_mono_us();
        world_start_ready(&world, "a", &d);
        if (d.ready_us - began < best)
            best = d.ready_us - began;
        world_kill(&world, &d);
    }
    if (variant == NULL || strcmp(variant, "release") == 0)
        assert_in_range(best, 0, READY_US);
}

static void test_start(void **state)
{
    struct diary d;
    char path[128], text[64];
    struct stat st;
    FILE *f;

    (void)state;
    world_start_ready(&world, "cache-001", &d);
    assert_false(d.was_adopted);
    assert_true(node_is_ready(d.node));
    assert_string_equal(node_last_state(d.node)->node_id, "cache-001");
    assert_int_equal(node_last_state(d.node)->pid, node_pid(d.node));
    assert_false(node_last_state(d.node)->is_granted);
    assert_int_equal(getsid(node_pid(d.node)), node_pid(d.node));
    world_await(&world, d.count[NODE_STATE] > 2);
    grant(&d, "3");
    world_await(&world, node_last_state(d.node)->is_granted && node_last_state(d.node)->epoch == 3);

    snprintf(path, sizeof path, "%s/cache-001", world.directory);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    snprintf(path, sizeof path, "%s/cache-001/larder.conf", world.directory);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)node_pid(d.node));
    f = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_true(atoi(text) >= 500);
    world_kill(&world, &d);
    assert_true(d.end.is_known);
    assert_int_equal(d.end.signal, SIGKILL);
    assert_int_equal(d.count[NODE_FAILED], 0);
}

static void test_orderly_stop_saves(void **state)
{
    struct outcome o = {0};
    struct diary d;

    (void)state;
    world_start_ready(&world, "a", &d);
    grant(&d, "1");
    assert_int_equal(node_command_words(d.node, 5000, outcome_write, &o, NODE_WORDS("SET", "k", "v")), 0);
    world_await(&world, o.is_told);
    assert_int_equal(node_stop(d.node, 30000), 0);
    world_await(&world, d.count[NODE_DIED] > 0);
    assert_int_equal(d.end.signal, 0);
    assert_int_equal(d.end.status, 0);
    assert_int_equal(node_kill(d.node), -ESRCH);
    assert_int_equal(node_command_words(d.node, 0, NULL, NULL, NODE_WORDS("PING")), -ESRCH);
    node_free(d.node);
    world_start_ready(&world, "a", &d);
    world_await(&world, node_last_state(d.node)->keys == 1);
    world_kill(&world, &d);
}

static void test_adoption(void **state)
{
    struct diary d;
    pid_t pid;

    (void)state;
    world_start_ready(&world, "a", &d);
    grant(&d, "7");
    pid = node_pid(d.node);
    agent_free(world.agent);
    assert_int_equal(kill(pid, 0), 0);
    world_open_agent(&world);
    world_start_ready(&world, "a", &d);
    assert_true(d.was_adopted);
    assert_int_equal(node_pid(d.node), pid);
    assert_int_equal(node_last_state(d.node)->epoch, 7);
    world_kill(&world, &d);
}

/* Somebody else's directory. */
static void test_adoption_of_another(void **state)
{
    const struct node_spec spec = {.id = "b", .directory = "a"};
    struct diary d;
    pid_t pid;

    (void)state;
    world_start_ready(&world, "a", &d);
    pid = node_pid(d.node);
    node_free(d.node);
    event_base_loop(world.base, EVLOOP_NONBLOCK);
    assert_int_equal(world_try_start(&world, &spec, &d), 0);
    world_await(&world, d.count[NODE_FAILED] > 0);
    assert_non_null(strstr(d.text, "it is another node"));
    node_free(d.node);
    assert_int_equal(kill(pid, 0), 0);
    world_start_ready(&world, "a", &d);
    world_kill(&world, &d);
}

static void test_double_start(void **state)
{
    const struct node_spec spec = {.id = "a", .directory = "a"};
    struct diary d, again;

    (void)state;
    world_start_ready(&world, "a", &d);
    assert_int_equal(world_try_start(&world, &spec, &again), -EEXIST);
    assert_null(again.node);
    assert_non_null(strstr(again.text, "already"));
    world_kill(&world, &d);
}

static void test_start_that_fails(void **state)
{
    const struct node_setting wrong = {"maxmemory-policy", "no-such-policy", false};
    struct diary d;

    (void)state;
    world_start(&world, "a", &wrong, 1, &d);
    world_await(&world, d.count[NODE_FAILED] > 0);
    assert_int_equal(d.count[NODE_DIED] + d.count[NODE_READY], 0);
    assert_non_null(strstr(d.text, "ended with status 1"));
    assert_non_null(strstr(d.text, "must be one of the following"));
    node_free(d.node);
    world_start_ready(&world, "a", &d);
    world_kill(&world, &d);
}

static void test_hung(void **state)
{
    struct diary d;

    (void)state;
    world_start_ready(&world, "a", &d);
    kill(node_pid(d.node), SIGSTOP);
    world_await(&world, d.count[NODE_HUNG] > 0);
    assert_true(node_is_hung(d.node));
    kill(node_pid(d.node), SIGCONT);
    d.count[NODE_STATE] = 0;
    world_await(&world, d.count[NODE_STATE] > 1);
    assert_false(node_is_hung(d.node));
    assert_int_equal(d.count[NODE_HUNG], 1);
    kill(node_pid(d.node), SIGSTOP);
    world_await(&world, d.count[NODE_HUNG] > 1);
    world_kill(&world, &d);
}

/* Who was asleep does not judge who was silent. */
static void test_a_stall_of_our_own(void **state)
{
    struct diary d;

    (void)state;
    world_start_ready(&world, "a", &d);
    kill(node_pid(d.node), SIGSTOP);
    world_await(&world, clock_mono_us() - d.ready_us > 100000);
    clock_sleep_us(1200000);
    d.ready_us = clock_mono_us();
    world_await(&world, agent_stalls(world.agent) > 0);
    assert_int_equal(d.count[NODE_HUNG], 0);
    world_await(&world, d.count[NODE_HUNG] > 0);
    assert_in_range(clock_mono_us() - d.ready_us, 950000, PATIENCE_US);
    world_kill(&world, &d);
}

/* SIGTERM is not enough for one that is stopped. */
static void test_stop_ends_in_a_kill(void **state)
{
    struct diary d;

    (void)state;
    world_start_ready(&world, "a", &d);
    kill(node_pid(d.node), SIGSTOP);
    assert_int_equal(node_stop(d.node, 100), 0);
    world_await(&world, d.count[NODE_DIED] > 0);
    assert_int_equal(d.end.signal, SIGKILL);
    node_free(d.node);
}

/* What is outstanding at a node's death fails, and hello does not wait behind a command that does. */
static void test_commands_and_death(void **state)
{
    struct outcome waiting = {0}, behind = {0}, late = {0};
    struct diary d;

    (void)state;
    world_start_ready(&world, "a", &d);
    grant(&d, "1");
    assert_int_equal(node_command_words(d.node, 0, outcome_write, &waiting, NODE_WORDS("WAIT", "1", "0")), 0);
    assert_int_equal(node_command_words(d.node, 0, outcome_write, &behind, NODE_WORDS("PING")), 0);
    assert_int_equal(node_command_words(d.node, 50, outcome_write, &late, NODE_WORDS("PING")), 0);
    world_await(&world, late.is_told);
    assert_string_equal(late.error, "no answer in time");
    d.count[NODE_STATE] = 0;
    world_await(&world, d.count[NODE_STATE] > 3);
    assert_false(waiting.is_told || behind.is_told);
    world_kill(&world, &d);
    world_await(&world, waiting.is_told && behind.is_told);
    assert_true(waiting.type == 0 && behind.type == 0);
    assert_true(behind.error[0] != 0);
}

/* ---- endpoints ---- */

static void test_endpoint_moves(void **state)
{
    struct endpoint *e = open_endpoint(false, 0);
    struct diary a, b;
    int one, two;

    (void)state;
    world_start_ready(&world, "a", &a);
    world_start_ready(&world, "b", &b);
    grant(&a, "1");
    grant(&b, "1");
    one = client(e); /* before anybody serves it */
    give(e, &a, "primary");
    assert_true(pings(one));
    take(&a, "primary", false);
    assert_true(pings(one));
    two = client(e);
    give(e, &b, "primary");
    assert_true(pings(two));
    take(&a, "primary", true); /* closes who came by it, although it has left already */
    assert_false(pings(one));
    assert_true(pings(two));
    close(one);
    close(two);
    world_kill(&world, &a);
    world_kill(&world, &b);
    endpoint_free(e);
}

static struct {
    const struct endpoint *endpoint;
    atomic_bool stop;
    atomic_uint served, lost;
} crowd;

static void *knock(void *arg)
{
    while (!atomic_load(&crowd.stop)) {
        int fd = client(crowd.endpoint);
        if (pings(fd))
            crowd.served++;
        else
            crowd.lost++;
        close(fd);
    }
    return arg;
}

static void test_moving_under_load_loses_nobody(void **state)
{
    struct endpoint *e = open_endpoint(false, 0);
    struct diary nodes[2];
    pthread_t thread;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        world_start_ready(&world, i ? "b" : "a", &nodes[i]);
        grant(&nodes[i], "1");
    }
    crowd.endpoint = e;
    crowd.served = crowd.lost = 0;
    atomic_store(&crowd.stop, false);
    give(e, &nodes[0], "primary");
    pthread_create(&thread, NULL, knock, NULL);
    for (unsigned i = 0; i < 100 || atomic_load(&crowd.served) < 100; i++) {
        take(&nodes[i % 2], "primary", false);
        give(e, &nodes[1 - i % 2], "primary");
    }
    atomic_store(&crowd.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(crowd.lost, 0);
    world_kill(&world, &nodes[0]);
    world_kill(&world, &nodes[1]);
    endpoint_free(e);
}

/* Kill the primary: who waits is served by the next. */
static void test_endpoint_outlives_its_node(void **state)
{
    struct endpoint *e = open_endpoint(false, 0);
    struct diary a, b;
    int fd;

    (void)state;
    world_start_ready(&world, "a", &a);
    world_start_ready(&world, "b", &b);
    grant(&b, "1");
    give(e, &a, "primary");
    world_kill(&world, &a);
    fd = client(e);
    give(e, &b, "primary");
    assert_true(pings(fd));
    close(fd);
    world_kill(&world, &b);
    endpoint_free(e);
}

struct regained {
    bool is_told;
    struct endpoint *endpoint;
    char error[256];
};

static void regained(void *arg, struct endpoint *e, const char *error)
{
    struct regained *r = arg;

    r->is_told = true;
    r->endpoint = e;
    snprintf(r->error, sizeof r->error, "%s", error != NULL ? error : "");
}

static void listed(void *arg, const struct endpoint_served *list, size_t count, const char *error)
{
    struct outcome *o = arg;

    o->is_told = true;
    o->integer = (long long)count;
    snprintf(o->error, sizeof o->error, "%s", error != NULL ? error : "");
    if (count > 0)
        snprintf(o->text, sizeof o->text, "%s %s", list[0].name, list[0].address);
}

static void test_endpoints_come_back(void **state)
{
    struct endpoint *e = open_endpoint(true, 0);
    uint16_t port = endpoint_port(e);
    struct regained r = {0};
    struct outcome o;
    struct diary d;
    char expected[64];
    int fd;

    (void)state;
    world_start_ready(&world, "a", &d);
    grant(&d, "1");
    give(e, &d, "primary");
    fd = client(e);
    assert_true(pings(fd));
    endpoint_free(e);
    agent_free(world.agent);
    world_open_agent(&world);
    world_start_ready(&world, "a", &d);
    o = (struct outcome){0};
    assert_int_equal(endpoint_list(d.node, listed, &o), 0);
    world_await(&world, o.is_told);
    assert_string_equal(o.error, "");
    assert_int_equal(o.integer, 1);
    snprintf(expected, sizeof expected, "primary 127.0.0.1:%u", port);
    assert_string_equal(o.text, expected);
    assert_int_equal(endpoint_regain(d.node, "primary", regained, &r), 0);
    world_await(&world, r.is_told);
    assert_string_equal(r.error, "");
    assert_int_equal(endpoint_port(r.endpoint), port);
    assert_string_equal(endpoint_address(r.endpoint), "127.0.0.1");
    assert_true(endpoint_is_shared(r.endpoint));
    assert_true(pings(fd));
    close(fd);
    fd = client(r.endpoint);
    assert_true(pings(fd));
    close(fd);
    endpoint_free(r.endpoint);
    r = (struct regained){0};
    assert_int_equal(endpoint_regain(d.node, "other", regained, &r), 0);
    world_await(&world, r.is_told);
    assert_null(r.endpoint);
    assert_non_null(strstr(r.error, "NOLISTENER"));
    take(&d, "other", false); /* what it has not, it has left */
    world_kill(&world, &d);
}

static void test_readers_share_an_address(void **state)
{
    struct endpoint *e[2];
    struct diary d[2];
    char keys[2][8] = {"0", "1"};
    unsigned seen[2] = {0};

    (void)state;
    e[0] = open_endpoint(true, 0);
    e[1] = open_endpoint(true, endpoint_port(e[0]));
    for (unsigned i = 0; i < 2; i++) {
        struct outcome o = {.error = "not yet"};
        world_start_ready(&world, i ? "b" : "a", &d[i]);
        grant(&d[i], "1");
        while (o.error[0] != '\0') { /* it may be loading still */
            o = (struct outcome){0};
            assert_int_equal(node_command_words(d[i].node, 5000, outcome_write, &o, NODE_WORDS("SET", "who", keys[i])),
                             0);
            world_await(&world, o.is_told);
        }
        give(e[i], &d[i], "reader");
    }
    for (unsigned i = 0; i < 500 && (seen[0] == 0 || seen[1] == 0); i++) {
        char reply[8] = "";
        int fd = client(e[0]);
        assert_int_equal(send(fd, "GET who\r\n", 9, 0), 9);
        assert_int_equal(recv(fd, reply, 7, MSG_WAITALL), 7);
        seen[reply[4] - '0']++;
        close(fd);
    }
    assert_true(seen[0] > 0 && seen[1] > 0);
    for (unsigned i = 0; i < 2; i++) {
        world_kill(&world, &d[i]);
        endpoint_free(e[i]);
    }
}

/* ---- configuration ---- */

/* What the agent writes is what the server reads, and replicas know the secret. */
static void test_configuration_and_replication(void **state)
{
    const struct node_setting settings[] = {{"maxmemory-policy", "allkeys-lru", false},
                                            {"client-output-buffer-limit", "replica 32mb 8mb 60", true},
                                            {"port", "6379", false}};
    struct node_spec spec = {.environment = (const char *const *)environ,
                             .config = {.replication_secret = "a \"b\\ #'\x01\xc3\xa9\n c",
                                        .settings = settings,
                                        .setting_count = sizeof settings / sizeof *settings}};
    struct endpoint *e = open_endpoint(false, 0);
    struct diary d[2];
    char port[8];

    (void)state;
    snprintf(port, sizeof port, "%u", endpoint_port(e));
    for (unsigned i = 0; i < 2; i++) {
        spec.id = spec.directory = i ? "b" : "a";
        if (world_try_start(&world, &spec, &d[i]) != 0)
            fail_msg("%s", d[i].text);
        world_await(&world, d[i].count[NODE_READY] + d[i].count[NODE_FAILED] > 0);
        assert_string_equal(d[i].text, "");
        grant(&d[i], "1");
    }
    give(e, &d[0], "node");
    assert_int_equal(node_command_words(d[1].node, 5000, NULL, NULL, NODE_WORDS("REPLICAOF", "127.0.0.1", port)), 0);
    world_await(&world, node_last_state(d[1].node)->link == NODE_LINK_UP);
    assert_int_equal(node_last_state(d[1].node)->role, NODE_REPLICA);
    world_kill(&world, &d[0]);
    world_kill(&world, &d[1]);
    endpoint_free(e);
}

int main(void)
{
#define LIFE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIFE(test_start_is_quick),
        LIFE(test_start),
        LIFE(test_orderly_stop_saves),
        LIFE(test_adoption),
        LIFE(test_adoption_of_another),
        LIFE(test_double_start),
        LIFE(test_start_that_fails),
        LIFE(test_hung),
        LIFE(test_a_stall_of_our_own),
        LIFE(test_stop_ends_in_a_kill),
        LIFE(test_commands_and_death),
        LIFE(test_configuration_and_replication),
        LIFE(test_endpoint_moves),
        LIFE(test_moving_under_load_loses_nobody),
        LIFE(test_endpoint_outlives_its_node),
        LIFE(test_endpoints_come_back),
        LIFE(test_readers_share_an_address),
    };

    if (getenv("LARDER_SERVER") == NULL) {
        print_message("LARDER_SERVER is not set: no server to test with\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
