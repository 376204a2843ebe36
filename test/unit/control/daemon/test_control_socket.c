/* The control socket: requests whole, in pieces, too long, and never finished; answers at once, later, and with a file. */
#include "control/daemon/control_socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/larder-test-control-XXXXXX";
static struct event_base *base;
static struct control_socket *served;
static struct control_call *later;
static unsigned handled;

static void on_request(void *arg, struct control_call *call, const json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "request"));

    assert_ptr_equal(arg, &handled);
    handled++;
    if (strcmp(name, "later") == 0)
        later = call;
    else if (strcmp(name, "file") == 0)
        control_call_answer(call, json_object(), open("/dev/null", O_RDONLY | O_CLOEXEC));
    else if (strcmp(name, "no") == 0)
        control_call_refuse(call, "not \"%s\"", name);
    else
        control_call_answer(call, json_pack("{s:s}", "got", name), -1);
}

static int start(void **state)
{
    (void)state;
    handled = 0;
    later = NULL;
    base = event_base_new();
    return control_socket_new(base, directory, on_request, &handled, &served);
}

static int stop(void **state)
{
    (void)state;
    control_socket_free(served);
    event_base_free(base);
    return 0;
}

static void path_of_socket(char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/" CONTROL_SOCKET_NAME, directory);
}

static int dial(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s/" CONTROL_SOCKET_NAME, directory);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Turns the loop until the peer has answered or closed; what it said. */
static const char *hear(int fd)
{
    static char text[CONTROL_SOCKET_LINE_MAX];
    size_t length = 0;
    ssize_t n;

    for (;;) {
        n = recv(fd, text + length, sizeof text - 1 - length, MSG_DONTWAIT);
        if (n == 0)
            break;
        if (n > 0)
            length += (size_t)n;
        else
            event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    text[length] = '\0';
    close(fd);
    return text;
}

static void test_answers(void **state)
{
    int fd = dial();
    struct stat st;
    char path[PATH_MAX];

    (void)state;
    path_of_socket(path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    say(fd, "{\"request\": \"a\"}\n");
    assert_string_equal(hear(fd), "{\"got\":\"a\"}\n");
    fd = dial();
    say(fd, "{\"request\": \"no\"}\n");
    assert_string_equal(hear(fd), "{\"error\":\"not \\\"no\\\"\"}\n");
    fd = dial();
    for (const char *p = "{\"request\": \"piece\"}\n"; *p; p++) {
        say(fd, (char[]){*p, '\0'});
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    assert_string_equal(hear(fd), "{\"got\":\"piece\"}\n");
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {"\n",
                                      "x\n",
                                      "[]\n",
                                      "{}\n",
                                      "{\"request\": 1}\n",
                                      "{\"request\": \"a\"\n",
                                      "{\"request\": \"a\", \"request\": \"b\"}\n",
                                      "{\"request\": \"\xff\"}\n"};
    char line[CONTROL_SOCKET_LINE_MAX + 1];
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fd = dial();
        say(fd, bad[i]);
        assert_string_equal(hear(fd), "{\"error\":\"this is no request\"}\n");
    }
    memset(line, ' ', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    fd = dial();
    say(fd, line);
    assert_non_null(strstr(hear(fd), "error"));
    assert_int_equal(handled, 0);
}

static void test_later(void **state)
{
    int fd = dial();

    (void)state;
    say(fd, "{\"request\": \"later\"}\n");
    while (!later)
        event_base_loop(base, EVLOOP_ONCE);
    control_call_answer(later, json_pack("{s:i}", "n", 1), -1);
    assert_string_equal(hear(fd), "{\"n\":1}\n");
    /* Whoever does not wait is no harm. */
    later = NULL;
    fd = dial();
    say(fd, "{\"request\": \"later\"}\n");
    while (!later)
        event_base_loop(base, EVLOOP_ONCE);
    close(fd);
    event_base_loop(base, EVLOOP_NONBLOCK);
    control_call_refuse(later, "too late");
    fd = dial();
    shutdown(fd, SHUT_WR);
    assert_string_equal(hear(fd), "");
}

static void test_a_file(void **state)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char text[64];
    struct iovec part = {text, sizeof text};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd = dial(), got;

    (void)state;
    say(fd, "{\"request\": \"file\"}\n");
    while (handled == 0)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(recvmsg(fd, &m, 0), 3);
    assert_memory_equal(text, "{}\n", 3);
    assert_int_equal(CMSG_FIRSTHDR(&m)->cmsg_type, SCM_RIGHTS);
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
    assert_int_equal(read(got, text, sizeof text), 0);
    close(got);
    close(fd);
}

/* As many as may be, and one more, which waits for its turn. */
static void test_many(void **state)
{
    int fd[CONTROL_SOCKET_CONNECTIONS + 1];

    (void)state;
    for (unsigned i = 0; i < CONTROL_SOCKET_CONNECTIONS; i++) {
        fd[i] = dial();
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    fd[CONTROL_SOCKET_CONNECTIONS] = dial();
    say(fd[CONTROL_SOCKET_CONNECTIONS], "{\"request\": \"a\"}\n");
    for (unsigned i = 0; i < 10; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(handled, 0);
    close(fd[0]);
    assert_string_equal(hear(fd[CONTROL_SOCKET_CONNECTIONS]), "{\"got\":\"a\"}\n");
    for (unsigned i = 1; i < CONTROL_SOCKET_CONNECTIONS; i++)
        close(fd[i]);
}

static void test_places(void **state)
{
    struct control_socket *again;
    char path[PATH_MAX];

    (void)state;
    path_of_socket(path);
    /* What a service that was killed left is taken away. */
    assert_int_equal(control_socket_new(base, directory, on_request, NULL, &again), 0);
    control_socket_free(again);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(control_socket_new(base, "/nonexistent", on_request, NULL, &again), -ENOENT);
    assert_null(again);
    control_socket_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, start, stop),
        cmocka_unit_test_setup_teardown(test_refusals, start, stop),
        cmocka_unit_test_setup_teardown(test_later, start, stop),
        cmocka_unit_test_setup_teardown(test_a_file, start, stop),
        cmocka_unit_test_setup_teardown(test_many, start, stop),
        cmocka_unit_test_setup_teardown(test_places, start, stop),
    };
    int rc;

    if (!mkdtemp(directory))
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return rc;
}
