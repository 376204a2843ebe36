/*
 * The configuration: words of a line, files and the command line, what each kind of directive accepts, CONFIG GET and
 * SET, hooks, and rewriting. Error texts are compared whole, because clients and operators match them.
 */
#include "engine/server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/server/config_table.h"
#include "engine/server/config_words.h"

#define ERR_SIZE 1024

static char dir[] = "/tmp/larder-test-config-XXXXXX";

/* ---- helpers ---- */

static void put_file(char path[128], const char *name, const char *text)
{
    FILE *f;

    snprintf(path, 128, "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_file(const char *path, const char *text)
{
    struct buf b = {0};

    assert_int_equal(config_read_file(path, &b), 0);
    buf_put_char(&b, '\0');
    assert_string_equal(buf_head(&b), text);
    buf_free(&b);
}

static void assert_value(const struct config *c, const char *name, const char *value)
{
    const struct config_row *row = config_row_find(view_str(name));
    struct buf b = {0};

    assert_non_null(row);
    config_row_get(c, row, &b);
    buf_put_char(&b, '\0');
    assert_string_equal(buf_head(&b), value);
    buf_free(&b);
}

static void assert_loads(struct config *c, const char *text)
{
    char err[ERR_SIZE] = "";

    if (config_load_text(c, view_str(text), "t.conf", err, sizeof err) != 0)
        fail_msg("%s", err);
}

/* A line that must be refused for that reason. */
static void assert_refused(const char *line, const char *reason)
{
    struct config *c = config_new();
    char err[ERR_SIZE] = "", expected[ERR_SIZE];

    assert_int_equal(config_load_text(c, view_str(line), "t.conf", err, sizeof err), -1);
    snprintf(expected, sizeof expected,
             "*** FATAL CONFIG FILE ERROR (Larder) ***\nReading the configuration file t.conf, at line 1\n>>> '%s'\n%s",
             line, reason);
    assert_string_equal(err, expected);
    config_free(c);
}

static int set_err(struct config *c, const char *name, const char *value, char err[ERR_SIZE])
{
    struct view n = view_str(name), v = view_str(value);

    err[0] = '\0';
    return config_set(c, &n, &v, 1, false, err, ERR_SIZE);
}

static void assert_set(struct config *c, const char *name, const char *value, const char *now)
{
    char err[ERR_SIZE];

    if (set_err(c, name, value, err) != 0)
        fail_msg("%s", err);
    assert_value(c, name, now);
}

static void assert_set_refused(struct config *c, const char *name, const char *value, const char *reason)
{
    char err[ERR_SIZE], expected[ERR_SIZE];

    assert_int_equal(set_err(c, name, value, err), -1);
    snprintf(expected, sizeof expected, "CONFIG SET failed (possibly related to argument '%s') - %s", name, reason);
    assert_string_equal(err, expected);
}

static int setup(void **state)
{
    *state = config_new();
    return 0;
}

static int teardown(void **state)
{
    config_free(*state);
    return 0;
}

/* ---- words ---- */

static void assert_words(const char *line, size_t n, const char *const *expected)
{
    struct config_words w;

    assert_true(config_words_split(view_str(line), &w));
    assert_int_equal(w.n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(view_equal(w.v[i], view_str(expected[i])));
    config_words_free(&w);
}

static void test_words(void **state)
{
    static const char *const broken[] = {"\"a", "'a", "\"a\"b", "'a'b", "a \"b\"\"c\"", "\"a\\\"", "\"", "x'"};
    struct config_words w;
    struct buf quoted = {0};
    char all[256];

    (void)state;
    assert_words("  set\tx  y\r\n", 3, (const char *[]){"set", "x", "y"});
    assert_words("a \"b c\" ''", 3, (const char *[]){"a", "b c", ""});
    assert_words("\"\\n\\r\\t\\b\\a\\x41\\xZ\\q\\\"\"", 1, (const char *[]){"\n\r\t\b\aAxZq\""});
    assert_words("'it\\'s \\n'", 1, (const char *[]){"it's \\n"});
    assert_words("ab\"cd ef\" g", 2, (const char *[]){"abcd ef", "g"});
    assert_words("", 0, NULL);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_false(config_words_split(view_str(broken[i]), &w));
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    config_words_quote(&quoted, view_of(all, sizeof all));
    assert_true(config_words_split(buf_view(&quoted), &w));
    assert_int_equal(w.n, 1);
    assert_true(view_equal(w.v[0], view_of(all, sizeof all)));
    config_words_free(&w);
    buf_free(&quoted);
}

/* ---- the table ---- */

static void test_defaults(void **state)
{
    struct config *c = *state;
    char cwd[4096];

    assert_int_equal(c->port, 6379);
    assert_string_equal(c->bind, "127.0.0.1 -::1");
    assert_int_equal(c->protected_mode, 1);
    assert_int_equal(c->threads, 0);
    assert_int_equal(c->databases, 16);
    assert_int_equal(c->maxmemory_policy, POLICY_NOEVICTION);
    assert_int_equal(c->loglevel, LOG_LEVEL_NOTICE);
    assert_int_equal(c->syslog_facility, LOG_LOCAL0);
    assert_int_equal(c->proto_max_bulk_len, 512 << 20);
    assert_int_equal(c->output_replica.hard, 256 << 20);
    assert_int_equal(c->output_pubsub.soft_seconds, 60);
    assert_string_equal(c->unixsocket, "");
    assert_string_equal(c->dir, getcwd(cwd, sizeof cwd));
    assert_value(c, "save", "3600 1 300 100 60 10000");
    assert_value(c, "client-output-buffer-limit",
                 "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
    assert_string_equal(config_path(c), "");
}

/* Names are unique, and every default is a value that the directive itself takes. */
static void test_table(void **state)
{
    struct config *c = *state;

    for (size_t i = 0; i < config_row_count(); i++) {
        const struct config_row *row = &config_rows()[i];
        struct buf text = {0}, line = {0};
        char err[ERR_SIZE] = "";

        assert_ptr_equal(config_row_find(view_str(row->name)), row);
        if (row->alias != NULL)
            assert_ptr_equal(config_row_find(view_str(row->alias)), row);
        config_row_get(c, row, &text);
        if (row->type == ROW_WORDS && row->rule == config_rule_replicaof)
            buf_put(&text, LIT("no one"));
        buf_printf(&line, "%s ", row->name);
        config_words_quote(&line, config_text(&text));
        if (config_load_text(c, buf_view(&line), "t", err, sizeof err) != 0)
            fail_msg("%s", err);
        buf_free(&text);
        buf_free(&line);
    }
}

static void test_file_values(void **state)
{
    struct config *c = *state;

    assert_loads(c, "# comment\n\n  PORT 7000  \r\nMaxMemory 100mb\nmaxmemory-clients 10%\nunixsocketperm 770\n"
                    "slave-priority 7\nlua-time-limit 99\nhash-max-ziplist-entries 5\nrequirepass \"a b\\x21\"\n"
                    "client-output-buffer-limit slave 1mb 1k 5\nclient-output-buffer-limit \"normal 1 2 3\"\n"
                    "save 900 1\nsave 300 10\nbind 10.0.0.1 -::1 *\nallow-from 10.0.0.0/8 fd00::/8\nthreads 4\n"
                    "maxmemory-policy ALLKEYS-LFU\nsupervised systemd\nloglevel nothing\noom-score-adj-values 1 2 3\n"
                    "shutdown-on-sigterm nosave now\nlatency-tracking-info-percentiles 50 99.99 10.0\n"
                    "notify-keyspace-events KEA\nlist-max-ziplist-entries 5\nuser bob on\nrename-command A B\nhz 900\n"
                    "repl-backlog-size 1\nreplicaof h 6379\nenable-protected-configs local");
    assert_int_equal(c->port, 7000);
    assert_int_equal(c->maxmemory, 100 << 20);
    assert_int_equal(c->maxmemory_clients, -10);
    assert_int_equal(c->unixsocketperm, 0770);
    assert_int_equal(c->lua_time_limit, 99);
    assert_string_equal(c->requirepass, "a b!");
    assert_int_equal(c->output_replica.soft, 1000);
    assert_int_equal(c->output_normal.hard, 1);
    assert_string_equal(c->bind, "10.0.0.1 -::1 *");
    assert_string_equal(c->allow_from, "10.0.0.0/8 fd00::/8");
    assert_int_equal(c->threads, 4);
    assert_int_equal(c->maxmemory_policy, POLICY_ALLKEYS_LFU);
    assert_int_equal(c->supervised, SUPERVISED_SYSTEMD);
    assert_int_equal(c->loglevel, LOG_LEVEL_NOTHING);
    assert_int_equal(c->hz, 500);
    assert_value(c, "maxmemory-clients", "10%");
    assert_value(c, "unixsocketperm", "770");
    assert_value(c, "replica-priority", "7");
    assert_value(c, "hash-max-listpack-entries", "5");
    assert_value(c, "save", "900 1 300 10");
    assert_value(c, "shutdown-on-sigterm", "nosave now");
    assert_value(c, "latency-tracking-info-percentiles", "50 99.99 10");
    assert_value(c, "notify-keyspace-events", "AKE");
    assert_value(c, "repl-backlog-size", "16384");
    assert_value(c, "replicaof", "h 6379");
    assert_true(config_protected_ok(c, true));
    assert_false(config_protected_ok(c, false));
    assert_loads(c, "save \"\"\nbind \"\"\nallow-from \"\"\nreplicaof no one");
    assert_value(c, "save", "");
    assert_string_equal(c->bind, "");
    assert_string_equal(c->allow_from, "");
    assert_value(c, "replicaof", "");
}

static void test_file_errors(void **state)
{
    (void)state;
    assert_refused("nosuch 1", "Bad directive or wrong number of arguments");
    assert_refused("rename-command x", "Bad directive or wrong number of arguments");
    assert_refused("port", "wrong number of arguments");
    assert_refused("port 1 2", "wrong number of arguments");
    assert_refused("port abc", "argument couldn't be parsed into an integer");
    assert_refused("port 65536", "argument must be between 0 and 65535 inclusive");
    assert_refused("unixsocketperm 999", "argument couldn't be parsed as an octal number");
    assert_refused("unixsocketperm 7777", "argument must be between 0 and 777 inclusive");
    assert_refused("maxmemory 1x", "argument must be a memory value");
    assert_refused("maxmemory 9223372036854775808", "argument must be between 0 and 9223372036854775807 inclusive");
    assert_refused("maxmemory 9999999999999gb", "argument must be a memory value");
    assert_refused("maxmemory-clients 101%", "percentage argument must be less or equal to 100");
    assert_refused("maxmemory-clients %", "argument must be a memory or percent value");
    assert_refused("daemonize maybe", "argument must be 'yes' or 'no'");
    assert_refused("loglevel x", "argument(s) must be one of the following: debug, verbose, notice, warning");
    assert_refused("port \"1", "Unbalanced quotes in configuration line");
    assert_refused("save 1", "Invalid save parameters");
    assert_refused("loadmodule /x.so", "Modules are not supported");
    assert_refused("sentinel x", "sentinel directive while not in sentinel mode");
    assert_refused("dir /nonexistent", "No such file or directory");
    assert_refused("dbfilename a/b", "dbfilename can't be a path, just a filename");
    assert_refused("appenddirname \"\"", "appenddirname can't be empty");
    assert_refused("replicaof a 99999", "Invalid master port");
    assert_refused("allow-from 10.0.0.0/33", "'10.0.0.0/33' is not an address block such as 10.0.0.0/8 or fd00::/8");
    assert_refused("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified.");
    assert_refused("threads 129", "argument must be between 0 and 128 inclusive");
    assert_refused("include /etc/hosts", "include is not possible here");
    assert_refused("logfile \"a\\x00b\"", "argument must not contain a NUL byte");
}

/* A password does not appear in the message about its line. */
static void test_secrets(void **state)
{
    char err[ERR_SIZE];

    assert_int_equal(config_load_text(*state, view_str("requirepass open sesame"), "t.conf", err, sizeof err), -1);
    assert_null(strstr(err, "sesame"));
    assert_non_null(strstr(err, ">>> 'requirepass ...'"));
}

static void test_include(void **state)
{
    char main_path[128], path[128], text[512], err[ERR_SIZE], expected[ERR_SIZE];

    put_file(path, "part-1.conf", "hz 20\ntimeout 5\n");
    put_file(path, "part-2.conf", "timeout 6\n");
    snprintf(text, sizeof text, "hz 5\ninclude %s/part-*.conf\ninclude %s/none-*.conf\ntcp-keepalive 7\n", dir, dir);
    put_file(main_path, "main.conf", text);
    assert_int_equal(config_load_file(*state, main_path, err, sizeof err), 0);
    assert_value(*state, "hz", "20");
    assert_value(*state, "timeout", "6");
    assert_value(*state, "tcp-keepalive", "7");
    assert_string_equal(config_path(*state), main_path);

    put_file(path, "part-2.conf", "\nbad\n");
    assert_int_equal(config_load_file(*state, main_path, err, sizeof err), -1);
    snprintf(expected, sizeof expected,
             "*** FATAL CONFIG FILE ERROR (Larder) ***\nReading the configuration file %s, at line 2\n>>> 'bad'\n"
             "Bad directive or wrong number of arguments",
             path);
    assert_string_equal(err, expected);

    snprintf(text, sizeof text, "include %s/main.conf\n", dir);
    put_file(main_path, "main.conf", text);
    assert_int_equal(config_load_file(*state, main_path, err, sizeof err), -1);
    assert_non_null(strstr(err, "files include each other too deeply"));

    snprintf(path, sizeof path, "%s/missing.conf", dir);
    assert_int_equal(config_load_file(*state, path, err, sizeof err), -1);
    snprintf(expected, sizeof expected, "Fatal error, can't open config file '%s': No such file or directory", path);
    assert_string_equal(err, expected);
}

static int load_args(struct config *c, char *err, const char *const *args)
{
    char *argv[16];
    int argc = 0;

    for (; args[argc] != NULL; argc++)
        argv[argc] = (char *)args[argc];
    return config_load_args(c, argc, argv, 0, err, ERR_SIZE);
}

static void test_command_line(void **state)
{
    struct config *c = *state;
    char err[ERR_SIZE] = "";

    assert_int_equal(load_args(c, err,
                               (const char *[]){"--port", "7001", "--bind", "1.1.1.1", "-::1", "--save", "--hz 20",
                                                "--logfile", "--x", "--requirepass", "a \"b", "--save", NULL}),
                     0);
    assert_int_equal(c->port, 7001);
    assert_string_equal(c->bind, "1.1.1.1 -::1");
    assert_string_equal(c->logfile, "--x");
    assert_string_equal(c->requirepass, "a \"b");
    assert_value(c, "save", "");
    assert_value(c, "hz", "20");
    assert_int_equal(load_args(c, err, (const char *[]){"--hz", "20", "--port", "x", NULL}), -1);
    assert_string_equal(err, "*** FATAL CONFIG FILE ERROR (Larder) ***\nReading the command line, at option 2\n"
                             ">>> 'port \"x\"'\nargument couldn't be parsed into an integer");
    assert_int_equal(load_args(c, err, (const char *[]){"loose", NULL}), -1);
    assert_int_equal(load_args(c, err, (const char *[]){"--hz", NULL}), -1);
}

static void test_finish(void **state)
{
    struct config *c = *state;
    char err[ERR_SIZE];

    assert_int_equal(config_finish(c, err, sizeof err), 0);
    assert_loads(c, "port 0");
    assert_int_equal(config_finish(c, err, sizeof err), -1);
    assert_loads(c, "unixsocket /tmp/x");
    assert_int_equal(config_finish(c, err, sizeof err), 0);
}

static void test_cidr(void **state)
{
    static const char *const bad[] = {"",       "/8",     "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
                                      "::/129", "10.0.0", "a",         "1.2.3.4/8 ",  "10.0.0.0/08"};
    static const uint8_t ten[] = {10, 16, 0, 0};
    struct config_cidr cidr;

    (void)state;
    assert_true(config_parse_cidr(VIEW("10.31.2.3/12"), &cidr));
    assert_int_equal(cidr.family, AF_INET);
    assert_int_equal(cidr.bits, 12);
    assert_memory_equal(cidr.addr, ten, sizeof ten);
    assert_true(config_parse_cidr(VIEW("::1"), &cidr));
    assert_int_equal(cidr.family, AF_INET6);
    assert_int_equal(cidr.bits, 128);
    assert_int_equal(cidr.addr[15], 1);
    assert_true(config_parse_cidr(VIEW("0.0.0.0/0"), &cidr));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(config_parse_cidr(view_str(bad[i]), &cidr));
}

/* ---- CONFIG SET ---- */

static void test_set(void **state)
{
    struct config *c = *state;

    assert_set(c, "maxmemory", "1kb", "1024");
    assert_set(c, "MAXMEMORY", "", "0");
    assert_set(c, "maxmemory-clients", "0%", "0");
    assert_set(c, "hz", "0", "1");
    assert_set(c, "activerehashing", "NO", "no");
    assert_set(c, "save", "900 1 300 10", "900 1 300 10");
    assert_set(c, "save", "1 2", "1 2");
    assert_set(c, "save", "", "");
    assert_set_refused(c, "save", "900  1", "Invalid save parameters");
    assert_set(c, "client-output-buffer-limit", "NORMAL 1k 2kb 3 pubsub 1g 2 3",
               "normal 1000 2048 3 slave 268435456 67108864 60 pubsub 1000000000 2 3");
    assert_set(c, "client-output-buffer-limit", "",
               "normal 1000 2048 3 slave 268435456 67108864 60 pubsub 1000000000 2 3");
    assert_set(c, "notify-keyspace-events", "zlKEx", "lzxKE");
    assert_set(c, "notify-keyspace-events", "gnKEm", "gnKEm");
    assert_set(c, "shutdown-on-sigint", "default save", "save");
    assert_set(c, "latency-tracking-info-percentiles", "1e1", "10");
    assert_set(c, "latency-tracking-info-percentiles", "", "");
    assert_set(c, "bind", " * ", "*");
    assert_set(c, "allow-from", "127.0.0.1", "127.0.0.1");
    assert_set_refused(c, "client-output-buffer-limit", "normal 1 2",
                       "Wrong number of arguments in buffer limit configuration.");
    assert_set_refused(c, "client-output-buffer-limit", "normal 5 5 5 master 1 2 3",
                       "Invalid client class specified in buffer limit configuration.");
    assert_int_equal(c->output_normal.hard, 1000);
    assert_set_refused(c, "client-output-buffer-limit", "normal 1 2 -1",
                       "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    assert_set_refused(c, "notify-keyspace-events", "Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    assert_set_refused(c, "shutdown-on-sigint", "save nosave",
                       "shutdown options SAVE and NOSAVE can't be used simultaneously");
    assert_set_refused(c, "shutdown-on-sigint", "x",
                       "argument(s) must be one of the following: default, save, nosave, now, force");
    assert_set_refused(c, "oom-score-adj-values", "1 2", "wrong number of arguments");
    assert_set_refused(c, "oom-score-adj-values", "1 2 2001",
                       "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    assert_set_refused(c, "latency-tracking-info-percentiles", "101",
                       "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    assert_set_refused(c, "proc-title-template", "{foo}", "template format is invalid or contains unknown variables");
    assert_set_refused(c, "cluster-announce-hostname", "a_b",
                       "Hostnames may only contain alphanumeric characters, hyphens or dots");
    assert_set_refused(c, "daemonize", "yes", "can't set immutable config");
    assert_set_refused(c, "dir", "/", "can't set protected config");
}

/* Sets two as one. */
static int set_two(struct config *c, const char *const names[2], const char *const values[2], char err[ERR_SIZE])
{
    struct view n[] = {view_str(names[0]), view_str(names[1])}, v[] = {view_str(values[0]), view_str(values[1])};

    return config_set(c, n, v, 2, false, err, ERR_SIZE);
}

static void test_set_together(void **state)
{
    struct config *c = *state;
    char err[ERR_SIZE];

    assert_int_equal(set_two(c, (const char *[]){"hz", "timeout"}, (const char *[]){"33", "x"}, err), -1);
    assert_string_equal(err, "CONFIG SET failed (possibly related to argument 'timeout') - "
                             "argument couldn't be parsed into an integer");
    assert_value(c, "hz", "10");
    assert_int_equal(set_two(c, (const char *[]){"hz", "HZ"}, (const char *[]){"33", "34"}, err), -1);
    assert_string_equal(err, "CONFIG SET failed (possibly related to argument 'HZ') - duplicate parameter");
    assert_int_equal(set_two(c, (const char *[]){"hz", "nosuch"}, (const char *[]){"33", "34"}, err), -1);
    assert_string_equal(err, "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    assert_value(c, "hz", "10");
    assert_int_equal(
        set_two(c, (const char *[]){"slave-priority", "replica-priority"}, (const char *[]){"3", "4"}, err), 0);
    assert_value(c, "replica-priority", "4");
    assert_int_equal(
        set_two(c, (const char *[]){"slave-priority", "replica-priority"}, (const char *[]){"7", "x"}, err), -1);
    assert_value(c, "replica-priority", "4");
}

static void test_set_protected(void **state)
{
    struct view name = VIEW("dir"), value = VIEW("/");
    struct config *c = *state;
    char err[ERR_SIZE];

    assert_int_equal(config_set(c, &name, &value, 1, true, err, sizeof err), 0);
    assert_string_equal(c->dir, "/");
}

struct witness {
    int calls;
    int64_t seen;
    bool refuse;
};

static int witness_hook(void *arg, struct config *c, char *err, size_t err_size)
{
    struct witness *w = arg;

    w->calls++;
    w->seen = c->port;
    if (!w->refuse)
        return 0;
    snprintf(err, err_size, "no such luck");
    return -1;
}

static void test_hooks(void **state)
{
    struct witness w = {0}, other = {0};
    struct config *c = *state;
    char err[ERR_SIZE];

    config_on_change(c, "port", witness_hook, &w);
    config_on_change(c, "bind", witness_hook, &w);
    config_on_change(c, "lua-time-limit", witness_hook, &other);
    assert_int_equal(set_two(c, (const char *[]){"port", "bind"}, (const char *[]){"1", "*"}, err), 0);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.seen, 1);
    assert_int_equal(set_two(c, (const char *[]){"port", "hz"}, (const char *[]){"1", "44"}, err), 0);
    assert_int_equal(w.calls, 1);

    w.refuse = true;
    assert_int_equal(set_two(c, (const char *[]){"hz", "port"}, (const char *[]){"11", "2"}, err), -1);
    assert_string_equal(err, "CONFIG SET failed (possibly related to argument 'port') - no such luck");
    assert_value(c, "hz", "44");
    assert_int_equal(c->port, 1);
    assert_int_equal(w.calls, 3);
    assert_int_equal(w.seen, 1);
    assert_int_equal(other.calls, 0);
    assert_set(c, "busy-reply-threshold", "9", "9");
    assert_int_equal(other.calls, 1);
}

/* ---- CONFIG GET ---- */

static void collect(void *arg, const char *name, struct view value)
{
    buf_printf(arg, "%s=%.*s;", name, (int)value.n, value.p);
}

static void assert_get(const struct config *c, const char *first, const char *second, const char *expected)
{
    struct view patterns[] = {view_str(first), view_str(second)};
    struct buf out = {0};

    config_get(c, patterns, 2, collect, &out);
    buf_put_char(&out, '\0');
    assert_string_equal(buf_head(&out), expected);
    buf_free(&out);
}

static void test_get(void **state)
{
    struct config *c = *state;

    assert_get(c, "port", "nosuch", "port=6379;");
    assert_get(c, "PORT", "port", "PORT=6379;");
    assert_get(c, "LFU-*", "lfu-decay-time", "lfu-log-factor=10;lfu-decay-time=1;");
    assert_get(c, "lfu-decay-time", "lfu-*", "lfu-decay-time=1;lfu-log-factor=10;");
    assert_get(c, "slaveof", "replicaof", "slaveof=;replicaof=;");
    assert_get(c, "*-priority", "x", "replica-priority=100;slave-priority=100;");
    assert_get(c, "key-load-delay", "*load-delay", "key-load-delay=0;");
    assert_get(c, "*load-delay", "\\port", "");
}

/* ---- CONFIG REWRITE ---- */

static void test_rewrite_text(void **state)
{
    struct config *c = *state;
    struct buf out = {0}, again = {0};
    char expected[8192];
    static const char old[] = "# top\nmaxmemory 100mb\n\nsave 900 1\nsave 300 10\n  HZ   20\ninclude x*.conf\n"
                              "slave-priority 5\nrequirepass secret\nclient-output-buffer-limit pubsub 1 2 3\n"
                              "user bob on\nbad \"line\nunixsocketperm 700\ntimeout 0\nbind 127.0.0.1";

    assert_loads(c, "maxmemory 3gb\nsave 1 2\nhz 20\nslave-priority 5\nunixsocketperm 700\nbind 127.0.0.1\n"
                    "client-output-buffer-limit replica 1mb 1mb 5\nlfu-log-factor 12\nmasterauth \"q w\"\n"
                    "maxmemory-clients 10%\nactive-defrag-ignore-bytes 1025\nallow-from 10.0.0.0/8 ::1");
    config_rewrite_text(c, view_str(old), &out);
    snprintf(expected, sizeof expected,
             "# top\nmaxmemory 3gb\n\nsave 1 2\nhz 20\ninclude x*.conf\nreplica-priority 5\n"
             "client-output-buffer-limit normal 0 0 0\nuser bob on\n# ??? bad \"line\nunixsocketperm 700\ntimeout 0\n"
             "bind 127.0.0.1\n\n# Generated by CONFIG REWRITE\nallow-from 10.0.0.0/8 ::1\ndir \"%s\"\n"
             "client-output-buffer-limit replica 1mb 1mb 5\nmaxmemory-clients 10%%\nlfu-log-factor 12\n"
             "active-defrag-ignore-bytes 1025\nmasterauth \"q w\"\n",
             c->dir);
    config_rewrite_text(c, buf_view(&out), &again);
    buf_put_char(&out, '\0');
    buf_put_char(&again, '\0');
    assert_string_equal(buf_head(&out), expected);
    assert_string_equal(buf_head(&again), expected);
    buf_free(&out);
    buf_free(&again);
}

static void test_rewrite_file(void **state)
{
    struct config *c = *state;
    char path[128], link_path[128], err[ERR_SIZE], expected[512];
    struct stat st;

    assert_int_equal(config_rewrite(c, err, sizeof err), -1);
    assert_string_equal(err, "The server is running without a config file");
    put_file(path, "rewritten.conf", "# keep me\nhz 20\n");
    assert_int_equal(chmod(path, 0640), 0);
    snprintf(link_path, sizeof link_path, "%s/link.conf", dir);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(config_load_file(c, link_path, err, sizeof err), 0);
    assert_set(c, "hz", "30", "30");
    assert_set(c, "timeout", "5", "5");
    assert_int_equal(config_rewrite(c, err, sizeof err), 0);
    snprintf(expected, sizeof expected, "# keep me\nhz 30\n\n# Generated by CONFIG REWRITE\ntimeout 5\ndir \"%s\"\n",
             c->dir);
    assert_file(path, expected);
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(config_rewrite(c, err, sizeof err), -1);
    assert_string_equal(err, "Rewriting config file: Is a directory");
    assert_int_equal(rmdir(path), 0);
}

/* ---- what has no effect ---- */

static void test_ignored(void **state)
{
    struct config *c = *state;
    struct buf log = {0};
    char path[128];

    put_file(path, "log", "");
    assert_loads(c, "disable-thp no\nlocale-collate C\ntls-port 6380\nhz 10\nrename-command CONFIG \"\"");
    assert_int_equal(log_open(path), 0);
    config_log_ignored(c);
    assert_int_equal(log_open(""), 0);
    assert_int_equal(config_read_file(path, &log), 0);
    buf_put_char(&log, '\0');
    assert_non_null(strstr(buf_head(&log), "* Directives accepted without effect: disable-thp locale-collate\n"));
    assert_non_null(strstr(buf_head(&log), "# WARNING: 'tls-port' has no effect"));
    assert_non_null(strstr(buf_head(&log), "# WARNING: 'rename-command' has no effect"));
    assert_null(strstr(buf_head(&log), " hz"));
    buf_free(&log);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"part-1.conf", "part-2.conf",    "main.conf",
                                        "link.conf",   "rewritten.conf", "log"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_words),        TEST(test_defaults),      TEST(test_table),   TEST(test_file_values),
        TEST(test_file_errors),  TEST(test_secrets),       TEST(test_include), TEST(test_command_line),
        TEST(test_finish),       TEST(test_cidr),          TEST(test_set),     TEST(test_hooks),
        TEST(test_set_together), TEST(test_set_protected), TEST(test_get),     TEST(test_rewrite_text),
        TEST(test_rewrite_file), TEST(test_ignored),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
