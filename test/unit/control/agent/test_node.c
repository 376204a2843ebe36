/* Nodes and their commands, with processes that do what no server should: fake_node.h. */
#include "unit/control/agent/fake_node.h"

#include <sys/resource.h>

#include "control/agent/endpoint.h"

static struct world world;
static char self[512];

static int setup(void **state)
{
    (void)state;
    world_open(&world, self);
    world.times.hung_ms = 300;
    world.times.hello_ms = 30;
    world.times.trouble_ms = 20;
    world.times.retry_ms = 5;
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

static void start(const char *manner, struct diary *d)
{
    char text[64];
    const char *environment[] = {text, "ASAN_OPTIONS=detect_leaks=0", NULL};
    const struct node_spec spec = {.id = "a", .directory = "a", .environment = environment};

    snprintf(text, sizeof text, "FAKE=%s", manner);
    if (world_try_start(&world, &spec, d) != 0)
        fail_msg("%s", d->text);
}

static void start_ready(struct diary *d)
{
    start("", d);
    world_await(&world, d->count[NODE_READY] > 0);
}

static void ask(struct diary *d, struct outcome *o, const char *word, const char *second)
{
    *o = (struct outcome){0};
    assert_int_equal(node_command_words(d->node, 20000, outcome_write, o, NODE_WORDS(word, second)), 0);
}

/* ---- starting ---- */

static void test_what_a_process_gets(void **state)
{
    struct outcome o;
    struct diary d;
    sigset_t some, old;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */

    (void)state;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigprocmask(SIG_BLOCK, &some, &old);
    start_ready(&d);
    sigprocmask(SIG_SETMASK, &old, NULL);
    close(leak);
    ask(&d, &o, "REPORT", NULL);
    world_await(&world, o.is_told);
    assert_string_equal(o.text, "ignored 0 blocked 0 variables 2 descriptors 0 session 1");
    world_kill(&world, &d);
}

static void test_hello_is_read(void **state)
{
    const struct node_state *s;
    struct diary d;

    (void)state;
    start_ready(&d);
    s = node_last_state(d.node);
    assert_string_equal(s->version, "9");
    assert_string_equal(s->replication_id, "ab");
    assert_true(s->role == NODE_REPLICA && s->link == NODE_LINK_SYNCING && s->is_granted && !s->is_loading);
    assert_true(s->epoch == 5 && s->offset == 77 && s->keys == 6 && s->rules == 8 && s->uptime_s == 4);
    world_kill(&world, &d);
}

static void test_the_last_lines_say_why(void **state)
{
    struct diary d;

    (void)state;
    start("dies", &d);
    world_await(&world, d.count[NODE_FAILED] > 0);
    assert_string_equal(d.text, "ended with status 3: The first line; The ?[1mlast; The last");
    node_free(d.node);
}

static void fails(const char *manner, const char *text)
{
    struct diary d;

    start(manner, &d);
    world_await(&world, d.count[NODE_FAILED] > 0);
    if (strstr(d.text, text) == NULL)
        fail_msg("%s", d.text);
    assert_int_equal(d.count[NODE_READY] + d.count[NODE_DIED] + d.count[NODE_HUNG], 0);
    node_free(d.node);
}

static void test_hellos_that_are_none(void **state)
{
    (void)state;
    fails("other", "it is another node");
    fails("rude", "what do you want?");
    fails("short", "version");
}

static void test_silence_from_the_start(void **state)
{
    struct diary d;

    (void)state;
    start("silent", &d);
    world_await(&world, d.count[NODE_HUNG] > 0);
    world_kill(&world, &d);
    start("garbage", &d);
    world_await(&world, d.count[NODE_HUNG] > 0);
    assert_int_equal(d.count[NODE_READY] + d.count[NODE_FAILED], 0);
    world_kill(&world, &d);
}

static void test_what_cannot_be_started(void **state)
{
    const struct node_setting no_name = {"a b", "c", false}, no_value = {"a", NULL, false};
    static const char *const ids[] = {"", "a_b", "a/b", "-a", "a b"};
    static const char *const directories[] = {"", "/tmp", "..", "a/../b", "a//b", "./a", "a/"};
    struct node_spec spec = {.id = "a", .directory = "a"};
    struct diary d;

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        spec.id = ids[i];
        assert_int_equal(world_try_start(&world, &spec, &d), -EINVAL);
    }
    spec.id = "a";
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        spec.directory = directories[i];
        assert_int_equal(world_try_start(&world, &spec, &d), -EINVAL);
    }
    spec.directory = "no/such/parent";
    assert_int_equal(world_try_start(&world, &spec, &d), -ENOENT);
    assert_non_null(strstr(d.text, "cannot be had"));
    spec.directory = "a";
    spec.config.setting_count = 1;
    spec.config.settings = &no_name;
    assert_int_equal(world_try_start(&world, &spec, &d), -EINVAL);
    assert_non_null(strstr(d.text, "'a b'"));
    spec.config.settings = &no_value;
    assert_int_equal(world_try_start(&world, &spec, &d), -EINVAL);
    agent_free(world.agent);
    world.server = "/dev/null";
    assert_int_equal(
        agent_new(world.base, &(struct agent_options){.directory = "/nowhere", .server = self}, &world.agent), -ENOENT);
    assert_int_equal(
        agent_new(world.base, &(struct agent_options){.directory = "/tmp", .server = "/dev/null"}, &world.agent),
        -EACCES);
}

static void test_a_node_may_be_freed_in_any_event(void **state)
{
    static const char *const manners[] = {"dies", "other", "silent", ""};
    struct diary d;

    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        pid_t pid;
        start(manners[i], &d);
        pid = node_pid(d.node);
        d.frees = true;
        world_await(&world, d.node == NULL);
        event_base_loop(world.base, EVLOOP_NONBLOCK);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

/* A node that was let go of can be found again in the same turn. */
static void test_letting_go_and_finding(void **state)
{
    struct diary d;
    pid_t pid;

    (void)state;
    start_ready(&d);
    pid = node_pid(d.node);
    for (unsigned i = 0; i < 20; i++) {
        node_free(d.node);
        start("", &d);
        assert_int_equal(node_pid(d.node), pid);
        if (i % 2)
            world_await(&world, d.count[NODE_READY] > 0);
    }
    assert_true(d.was_adopted);
    world_kill(&world, &d);
}

/* Without a descriptor to knock with, nobody can say that the other side is silent. */
static void test_our_own_want_is_no_silence(void **state)
{
    struct rlimit old, low;
    struct outcome o;
    struct diary d;
    int64_t end;

    (void)state;
    start_ready(&d);
    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){3, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    ask(&d, &o, "CLOSEALL", NULL);
    end = clock_mono_us() + 1000000;
    world_await(&world, clock_mono_us() > end);
    assert_true(o.is_told);
    assert_int_equal(d.count[NODE_HUNG], 0);
    setrlimit(RLIMIT_NOFILE, &old);
    d.count[NODE_STATE] = 0;
    world_await(&world, d.count[NODE_STATE] > 1);
    world_kill(&world, &d);
}

/* ---- commands ---- */

static void test_commands_keep_their_order(void **state)
{
    enum { MANY = 200 };
    static struct outcome o[MANY];
    struct diary d;

    (void)state;
    start_ready(&d);
    for (unsigned i = 0; i < MANY; i++)
        ask(&d, &o[i], i % 50 == 7 ? "BIG" : i % 3 ? "PING" : "REPORT", NULL);
    world_await(&world, o[MANY - 1].is_told);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(o[i].is_told && o[i].error[0] == '\0' && o[i].descriptor == -1);
        assert_int_equal(o[i].type, i % 50 == 7 ? REDIS_REPLY_STRING : REDIS_REPLY_STATUS);
        assert_int_equal(o[i].text[0], i % 50 == 7 ? 'x' : i % 3 ? 'O' : 'i');
    }
    world_kill(&world, &d);
}

static void test_there_is_a_limit(void **state)
{
    struct outcome first, last = {0};
    struct diary d;
    unsigned n = 1;

    (void)state;
    start("", &d);
    assert_int_equal(node_command_words(d.node, 0, NULL, NULL, NODE_WORDS("PING")), -ENOTCONN);
    world_await(&world, d.count[NODE_READY] > 0);
    ask(&d, &first, "NOTHING", NULL);
    while (node_command_words(d.node, 0, NULL, NULL, NODE_WORDS("NOTHING")) == 0)
        n++;
    assert_int_equal(n, COMMAND_OUTSTANDING_MAX);
    assert_int_equal(node_command_words(d.node, 0, outcome_write, &last, NODE_WORDS("PING")), -ENOBUFS);
    world_kill(&world, &d);
    world_await(&world, first.is_told);
    assert_false(last.is_told);
}

/* A connection that breaks fails what was under way, and is made again. */
static void test_connections_that_break(void **state)
{
    static const char *const words[] = {"GARBAGE", "TWICE", "HALF", "CLOSE"};
    struct outcome o, after;
    struct diary d;

    (void)state;
    start_ready(&d);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ask(&d, &o, words[i], NULL);
        world_await(&world, o.is_told);
        assert_int_equal(o.error[0] != '\0', i % 2 == 0);
        do {
            ask(&d, &after, "PING", NULL);
            world_await(&world, after.is_told);
        } while (after.error[0] != '\0');
    }
    assert_int_equal(d.count[NODE_HUNG], 0);
    world_kill(&world, &d);
}

/* A late reply is not taken for the next command's. */
static void test_too_late(void **state)
{
    struct outcome o[3];
    struct diary d;

    (void)state;
    start_ready(&d);
    kill(node_pid(d.node), SIGSTOP);
    o[0] = (struct outcome){0};
    assert_int_equal(node_command_words(d.node, 20, outcome_write, &o[0], NODE_WORDS("BIG")), 0);
    ask(&d, &o[1], "REPORT", NULL);
    ask(&d, &o[2], "PING", NULL);
    world_await(&world, o[0].is_told);
    assert_string_equal(o[0].error, "no answer in time");
    assert_false(o[1].is_told);
    kill(node_pid(d.node), SIGCONT);
    world_await(&world, o[2].is_told);
    assert_int_equal(o[1].text[0], 'i');
    assert_string_equal(o[2].text, "OK");
    world_kill(&world, &d);
}

static void test_outstanding_when_the_agent_goes(void **state)
{
    struct outcome o;
    struct diary d;
    pid_t pid;

    (void)state;
    start_ready(&d);
    pid = node_pid(d.node);
    ask(&d, &o, "NOTHING", NULL);
    agent_free(world.agent);
    world.agent = NULL;
    assert_true(o.is_told);
    assert_string_equal(o.error, "the service has let go of the node");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void count_up(void *arg)
{
    ++*(unsigned *)arg;
}

/* A socket that somebody else put in the node's place is not spoken to. */
static void test_only_the_right_process_is_spoken_to(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int dir = open(world.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct command_channel *right, *wrong;
    unsigned ups = 0, wrong_ups = 0;
    int64_t end;

    (void)state;
    snprintf(sa.sun_path, sizeof sa.sun_path, "%.80s/socket", world.directory);
    assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
    wrong = command_channel_new(world.agent, dir, "socket", getppid(), count_up, &wrong_ups);
    right = command_channel_new(world.agent, dir, "socket", getpid(), count_up, &ups);
    world_await(&world, clock_mono_us() > 0);
    assert_int_equal(ups, 0); /* nobody listens yet */
    assert_int_equal(listen(listener, 100), 0);
    world_await(&world, ups == 1);
    end = clock_mono_us() + 50000;
    world_await(&world, clock_mono_us() > end);
    assert_int_equal(wrong_ups, 0);
    command_channel_free(right, "");
    command_channel_free(wrong, "");
    command_channel_free(NULL, "");
    close(listener);
    close(dir);
}

/* ---- descriptors ---- */

static void hand_back(struct diary *d, const char *name, struct outcome *o)
{
    const struct view words[] = {VIEW("LARDER"), VIEW("HANDBACK"), view_str(name)};
    const struct command c = {.argc = 3, .argv = words, .descriptor = -1, .receives_descriptor = true};

    *o = (struct outcome){0};
    assert_int_equal(node_command(d->node, &c, outcome_write, o), 0);
}

struct regained {
    bool is_told;
    struct endpoint *endpoint;
    char error[256];
};

static void regained(void *arg, struct endpoint *e, const char *error)
{
    struct regained *r = arg;

    *r = (struct regained){.is_told = true, .endpoint = e};
    snprintf(r->error, sizeof r->error, "%s", error != NULL ? error : "");
}

static void test_descriptors_travel(void **state)
{
    char error[ENDPOINT_ERROR_MAX];
    struct regained r = {0};
    struct endpoint *e[2];
    struct outcome o[4];
    struct diary d;
    unsigned before;

    (void)state;
    start_ready(&d);
    before = world_descriptors();
    assert_int_equal(endpoint_open("127.0.0.1", 0, false, &e[0], error), 0);
    assert_int_equal(endpoint_open("127.0.0.1", 0, false, &e[1], error), 0);
    assert_int_equal(endpoint_give(e[0], d.node, "one", NULL, NULL), 0);
    assert_int_equal(endpoint_give(e[1], d.node, "two", NULL, NULL), 0);
    hand_back(&d, "two", &o[0]);
    hand_back(&d, "three", &o[1]);
    hand_back(&d, "empty", &o[2]);
    hand_back(&d, "one", &o[3]);
    world_await(&world, o[3].is_told);
    assert_true(o[0].descriptor >= 0 && o[0].error[0] == '\0');
    assert_true(o[1].descriptor == -1 && strstr(o[1].error, "NOLISTENER") != NULL);
    assert_true(o[2].descriptor == -1 && strstr(o[2].error, "without a descriptor") != NULL);
    assert_true(o[3].descriptor >= 0 && o[3].error[0] == '\0');
    for (unsigned i = 0; i < 4; i += 3) {
        struct sockaddr_in a;
        socklen_t len = sizeof a;
        assert_int_equal(getsockname(o[i].descriptor, (struct sockaddr *)&a, &len), 0);
        assert_int_equal(ntohs(a.sin_port), endpoint_port(e[i == 0]));
        close(o[i].descriptor);
    }
    endpoint_free(e[0]);
    endpoint_free(e[1]);
    assert_int_equal(endpoint_regain(d.node, "null", regained, &r), 0);
    world_await(&world, r.is_told);
    assert_true(r.endpoint == NULL && strstr(r.error, "no listening socket") != NULL);
    assert_int_equal(world_descriptors(), before);
    world_kill(&world, &d);
}

int main(int argc, char **argv)
{
#define LIFE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIFE(test_what_a_process_gets),
        LIFE(test_hello_is_read),
        LIFE(test_the_last_lines_say_why),
        LIFE(test_hellos_that_are_none),
        LIFE(test_silence_from_the_start),
        LIFE(test_what_cannot_be_started),
        LIFE(test_a_node_may_be_freed_in_any_event),
        LIFE(test_letting_go_and_finding),
        LIFE(test_our_own_want_is_no_silence),
        LIFE(test_commands_keep_their_order),
        LIFE(test_there_is_a_limit),
        LIFE(test_connections_that_break),
        LIFE(test_too_late),
        LIFE(test_outstanding_when_the_agent_goes),
        LIFE(test_only_the_right_process_is_spoken_to),
        LIFE(test_descriptors_travel),
    };
    ssize_t n;

    if (strcmp(argv[0], "larder-server") == 0)
        return fake_node_main(argc, argv);
    n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    return cmocka_run_group_tests(tests, NULL, NULL);
}
