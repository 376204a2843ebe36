/*
 * The command table, the lookup by name, the keys among arguments, and the COMMAND family. Replies are written by a
 * protocol of the test's own, which spells them on one line: RESP with '|' for each CR LF.
 */
#include "engine/cmd/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engine/cmd/call.h"
#include "engine/cmd/reply.h"
#include "engine/server/config.h"
#include "engine/server/server.h"

#define ARGS_MAX 200

/* ---- a protocol ------------------------------------------------------------------------------------------------- */

struct line {
    struct reply reply;
    struct buf out;
};

static struct buf *line_out(struct reply *r)
{
    return &((struct line *)r)->out;
}

static void line_bulk(struct reply *r, const char *p, size_t n)
{
    buf_printf(line_out(r), "$%zu|%.*s|", n, (int)n, p);
}

static void line_status(struct reply *r, const char *p, size_t n)
{
    buf_printf(line_out(r), "+%.*s|", (int)n, p);
}

static void line_error(struct reply *r, const char *p, size_t n)
{
    buf_printf(line_out(r), "-%.*s|", (int)n, p);
    r->errors++;
}

static void line_integer(struct reply *r, int64_t v)
{
    buf_printf(line_out(r), ":%lld|", (long long)v);
}

static void line_null(struct reply *r)
{
    buf_printf(line_out(r), r->resp == 2 ? "$-1|" : "_|");
}

/* The header of an aggregate; returns its length. */
static int line_header(const struct reply *r, char out[32], char kind, size_t n)
{
    if (r->resp == 2)
        return snprintf(out, 32, "*%zu|", kind == '%' ? 2 * n : n);
    return snprintf(out, 32, "%c%zu|", kind, n);
}

static void line_aggregate(struct reply *r, char kind, size_t n)
{
    char header[32];
    int len = line_header(r, header, kind, n);

    buf_put(line_out(r), header, (size_t)len);
}

static size_t line_mark(struct reply *r)
{
    return line_out(r)->len;
}

static void line_insert(struct reply *r, size_t mark, char kind, size_t n)
{
    struct buf *b = line_out(r);
    char header[32];
    size_t len = (size_t)line_header(r, header, kind, n);

    buf_reserve(b, len);
    memmove(b->p + mark + len, b->p + mark, b->len - mark);
    memcpy(b->p + mark, header, len);
    b->len += len;
}

static const struct reply_ops line_ops = {
    .bulk = line_bulk,
    .status = line_status,
    .error = line_error,
    .integer = line_integer,
    .null = line_null,
    .aggregate = line_aggregate,
    .mark = line_mark,
    .insert = line_insert,
};

/* ---- helpers ---------------------------------------------------------------------------------------------------- */

/* Splits a copy of text at single spaces. */
struct args {
    char text[1024];
    struct view argv[ARGS_MAX];
    int argc;
};

static void args_of(struct args *a, const char *text)
{
    char *p = a->text;

    assert_true(strlen(text) < sizeof a->text);
    strcpy(a->text, text);
    a->argc = 0;
    for (;;) {
        size_t n = strcspn(p, " ");

        assert_true(a->argc < ARGS_MAX);
        a->argv[a->argc++] = view_of(p, n);
        if (p[n] == '\0')
            return;
        p += n + 1;
    }
}

/* The command that these arguments name, as the executor would find it. */
static const struct command *resolve(const struct args *a)
{
    const struct command *cmd = command_find(a->argv[0]);

    if (cmd && cmd->sub_count > 0 && a->argc > 1)
        return command_find_sub(cmd, a->argv[1]);
    return cmd;
}

/* Runs that command and returns its reply, which the caller frees. fail_after: as for mem_fail_after. */
static char *answer_to(const struct args *a, uint8_t resp, int fail_after)
{
    struct line line = {.reply = {.ops = &line_ops, .resp = resp}};
    const struct command *cmd = resolve(a);
    struct config config = {.client_commands = CLIENT_COMMANDS_ALL};
    struct server server = {.config = &config};
    struct session session = {.resp = resp};
    struct call c = {
        .server = &server, .session = &session, .command = cmd, .argv = a->argv, .argc = a->argc, .reply = &line.reply};

    assert_non_null(cmd);
    assert_true(command_arity_ok(cmd, a->argc));
    buf_reserve(&line.out, 1000);
    mem_fail_after(fail_after);
    cmd->run(&c);
    mem_fail_after(-1);
    buf_put_char(&line.out, '\0');
    return line.out.p;
}

static char *answer(const char *text, uint8_t resp)
{
    struct args a;

    args_of(&a, text);
    return answer_to(&a, resp, -1);
}

static void check_begins(const char *got, const char *expected)
{
    if (strncmp(got, expected, strlen(expected)) != 0)
        fail_msg("answered %.200s\n  expected %s...", got, expected);
}

static void check_answer(const char *text, uint8_t resp, const char *expected)
{
    char *got = answer(text, resp);

    if (strcmp(got, expected) != 0)
        fail_msg("%s (RESP%u)\n  answered %s\n  expected %s", text, resp, got, expected);
    mem_free(got);
}

/* "1 3" for keys at these indexes, "bad" for arguments that do not fit. flags: an array of max, or NULL. */
static void check_keys(const struct command *cmd, const char *text, uint32_t *flags, const char *expected)
{
    struct args a;
    int index[ARGS_MAX], n;
    struct buf got = {0};

    args_of(&a, text);
    n = command_keys(cmd ? cmd : resolve(&a), a.argv, a.argc, index, flags, ARGS_MAX);
    if (n < 0)
        buf_printf(&got, "bad");
    for (int i = 0; i < n; i++)
        buf_printf(&got, i == 0 ? "%d" : " %d", index[i]);
    buf_put_char(&got, '\0');
    if (strcmp(got.p, expected) != 0)
        fail_msg("%s: keys at %s, expected %s", text, got.p, expected);
    buf_free(&got);
}

/* The same answer whether flags are asked for or not. */
static void check_both(const struct command *cmd, const char *text, const char *expected)
{
    uint32_t flags[ARGS_MAX];

    check_keys(cmd, text, NULL, expected);
    check_keys(cmd, text, flags, expected);
}

/* ---- lookup ----------------------------------------------------------------------------------------------------- */

static void every_command_is_found_in_any_case(void **state)
{
    char name[256];

    (void)state;
    for (unsigned i = 0; i < command_table_count; i++) {
        const struct command *cmd = command_table[i];

        assert_ptr_equal(command_find(view_of(cmd->name, cmd->name_len)), cmd);
        for (size_t j = 0; j < cmd->name_len; j++)
            name[j] = ascii_upper(cmd->name[j]);
        assert_ptr_equal(command_find(view_of(name, cmd->name_len)), cmd);
        name[0] = ascii_lower(name[0]);
        assert_ptr_equal(command_find(view_of(name, cmd->name_len)), cmd);
    }
}

/* Each byte of each name in turn is replaced by each other byte; only a change of case may be found. */
static void a_name_with_one_wrong_byte_is_not_found(void **state)
{
    (void)state;
    for (unsigned i = 0; i < command_table_count; i++) {
        const struct command *cmd = command_table[i];
        struct view right = view_of(cmd->name, cmd->name_len);

        for (size_t j = 0; j < right.n; j++)
            for (int byte = 0; byte < 256; byte++) {
                /* On the heap and of its exact size, so that the address sanitizer sees what reads beyond. */
                char *name = mem_alloc(right.n);
                const struct command *found;

                memcpy(name, right.p, right.n);
                name[j] = (char)byte;
                found = command_find(view_of(name, right.n));
                if (found && !view_equal_case(view_of(found->name, found->name_len), view_of(name, right.n)))
                    fail_msg("%s was found as byte %zu of %s was %d", found->name, j, cmd->name, byte);
                mem_free(name);
            }
    }
}

static void names_of_any_length_are_no_commands(void **state)
{
    char *name = mem_alloc(2000);

    (void)state;
    memset(name, 'g', 2000);
    for (size_t n = 0; n < 2000; n++)
        assert_null(command_find(view_of(name + 2000 - n, n)));
    assert_null(command_find(VIEW("ge")));
    assert_null(command_find(VIEW("gett")));
    assert_null(command_find(VIEW("client|id")));
    assert_null(command_find(view_of("get\0", 4)));
    mem_free(name);
}

static void subcommands_are_found_in_their_container(void **state)
{
    const struct command *client = command_find(VIEW("CLIENT")), *sub;

    (void)state;
    sub = command_find_sub(client, VIEW("No-Evict"));
    assert_non_null(sub);
    assert_string_equal(sub->name, "client|no-evict");
    assert_null(command_find_sub(client, VIEW("")));
    assert_null(command_find_sub(client, VIEW("no-evic")));
    assert_null(command_find_sub(client, VIEW("client|no-evict")));
    assert_null(command_find_sub(client, VIEW("encoding")));
    assert_null(command_find_sub(command_find(VIEW("get")), VIEW("id")));
}

static void the_tables_agree(void **state)
{
    unsigned subs = 0;

    (void)state;
    for (unsigned i = 0; i < command_count; i++) {
        assert_int_equal(command_by_id[i]->id, i);
        assert_int_equal(command_by_id[i]->name_len, strlen(command_by_id[i]->name));
        assert_non_null(command_by_id[i]->doc->summary);
        if (i > 0)
            assert_true(strcmp(command_by_id[i - 1]->name, command_by_id[i]->name) < 0);
    }
    for (unsigned i = 0; i < command_table_count; i++) {
        subs += command_table[i]->sub_count;
        assert_true(command_table[i]->run || command_table[i]->sub_count > 0);
    }
    assert_int_equal(command_table_count + subs, command_count);
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static void keys_of_the_commands_that_there_are(void **state)
{
    (void)state;
    check_both(NULL, "get a", "1");
    check_both(NULL, "ping", "");
    check_both(NULL, "client id", "");
    check_both(NULL, "object encoding a", "2");
    check_both(NULL, "memory usage a samples 5", "2");
    check_both(NULL, "copy a b db 1", "1 2");
    check_both(NULL, "rename a b", "1 2");
    check_both(NULL, "lcs a b len", "1 2");
    check_both(NULL, "del a b c", "1 2 3");
    check_both(NULL, "mset a 1 b 2", "1 3");
    check_both(NULL, "mset a 1 b", "1 3");
    check_both(NULL, "bitop and d a b", "2 3 4");
    check_both(NULL, "watch a b", "1 2");
}

static void too_few_arguments_for_the_keys_are_bad(void **state)
{
    (void)state;
    check_both(NULL, "get", "bad");
    check_both(NULL, "del", "bad");
    check_both(NULL, "rename a", "bad");
    check_both(NULL, "bitop and", "bad");
}

static void keys_beyond_max_are_counted_only(void **state)
{
    int index[3] = {0, 0, -1};
    uint32_t flags[3] = {0, 0, 77};
    struct args a;

    (void)state;
    args_of(&a, "del a b c d");
    assert_int_equal(command_keys(command_find(VIEW("del")), a.argv, a.argc, index, flags, 2), 4);
    assert_int_equal(index[1], 2);
    assert_int_equal(index[2], -1);
    assert_int_equal(flags[1], KEY_RM | KEY_DELETE);
    assert_int_equal(flags[2], 77);
    assert_int_equal(command_keys(command_find(VIEW("del")), a.argv, a.argc, NULL, NULL, 0), 4);
}

static void flags_come_from_the_key_s_own_specification(void **state)
{
    uint32_t flags[ARGS_MAX];

    (void)state;
    check_keys(NULL, "rename a b", flags, "1 2");
    assert_int_equal(flags[0], KEY_RW | KEY_ACCESS | KEY_DELETE);
    assert_int_equal(flags[1], KEY_OW | KEY_UPDATE);
    check_keys(NULL, "bitop not d a", flags, "2 3");
    assert_int_equal(flags[0], KEY_OW | KEY_UPDATE);
    assert_int_equal(flags[1], KEY_RO | KEY_ACCESS);
}

/* Specifications that no command has yet. */
static const struct key_spec counted_spec = {
    .flags = KEY_RO, .begin = KEYS_AT_INDEX, .index = 2, .find = KEYS_KEYNUM, .keynum_at = 0, .first = 1, .knstep = 1};
static const struct command counted = {
    .name = "counted", .arity = -3, .flags = COMMAND_MOVABLEKEYS, .specs = &counted_spec, .spec_count = 1};
static const struct command counted_or_none = {.name = "counted",
                                               .arity = -3,
                                               .flags = COMMAND_MOVABLEKEYS | COMMAND_NO_MANDATORY_KEYS,
                                               .specs = &counted_spec,
                                               .spec_count = 1};

static void counted_keys(void **state)
{
    (void)state;
    check_both(&counted, "counted x 2 a b", "3 4");
    check_both(&counted, "counted x 2 a b c", "3 4");
    check_both(&counted, "counted x 1 a", "3");
    check_both(&counted, "counted x 0 a", "bad");
    check_both(&counted_or_none, "counted x 0 a", "");
    check_both(&counted_or_none, "counted x 2 a", "bad");
    check_both(&counted, "counted x 3 a b", "bad");
    check_both(&counted, "counted x -1 a", "bad");
    check_both(&counted, "counted x 9223372036854775807 a", "bad");
    check_both(&counted, "counted x one a", "bad");
    check_both(&counted, "counted x", "bad");
    check_both(&counted, "counted", "bad");
}

static const struct key_spec streams_spec = {.flags = KEY_RO,
                                             .begin = KEYS_AT_KEYWORD,
                                             .keyword = "STREAMS",
                                             .start_from = 1,
                                             .find = KEYS_RANGE,
                                             .last = -1,
                                             .step = 1,
                                             .limit = 2};
static const struct command streams = {
    .name = "streams", .arity = -4, .flags = COMMAND_MOVABLEKEYS, .specs = &streams_spec, .spec_count = 1};

static void keys_behind_a_keyword_up_to_a_limit(void **state)
{
    (void)state;
    check_both(&streams, "r streams a 0", "2");
    check_both(&streams, "r count 1 Streams a b 0 0", "4 5");
    check_both(&streams, "r streams a b 0", "2");
    check_both(&streams, "r streams a", "bad");
    check_both(&streams, "r a b streams", "");
    check_both(&streams, "r a b", "");
}

static const struct key_spec backward_specs[] = {
    {.flags = KEY_RW, .begin = KEYS_AT_INDEX, .index = 3, .find = KEYS_RANGE, .last = 0, .step = 1},
    {.flags = KEY_RW | KEY_INCOMPLETE,
     .begin = KEYS_AT_KEYWORD,
     .keyword = "keys",
     .start_from = -2,
     .find = KEYS_RANGE,
     .last = -1,
     .step = 1},
    {.flags = KEY_OW, .begin = KEYS_AT_UNKNOWN, .find = KEYS_FIND_UNKNOWN},
    {.flags = KEY_RO | KEY_NOT_KEY, .begin = KEYS_AT_INDEX, .index = 1, .find = KEYS_RANGE, .last = 0, .step = 1},
};
static const struct command backward = {
    .name = "backward", .arity = -4, .flags = COMMAND_MOVABLEKEYS, .specs = backward_specs, .spec_count = 4};

static void keys_behind_a_keyword_from_the_end(void **state)
{
    (void)state;
    check_both(&backward, "m h p k 0", "3");
    check_both(&backward, "m h p k 0 keys a b", "3 6 7");
    check_both(&backward, "m keys p k keys a", "3 5");
    check_both(&backward, "m h", "bad");
    check_both(&backward, "m", "bad");
}

/* ---- the COMMAND family ----------------------------------------------------------------------------------------- */

static void command_info(void **state)
{
    (void)state;
    check_answer("COMMAND INFO GeT", 2,
                 "*1|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*1|*6|$5|flags|*2|+RO|"
                 "+access|$12|begin_search|*4|$4|type|$5|index|$4|spec|*2|$5|index|:1|$9|find_keys|*4|$4|type|$5|range|"
                 "$4|spec|*6|$7|lastkey|:0|$7|keystep|:1|$5|limit|:0|*0|");
    check_answer("command info copy", 3,
                 "*1|*10|$4|copy|:-3|~2|+write|+denyoom|:1|:2|:1|~3|+@keyspace|+@write|+@slow|~0|~2|%3|$5|flags|~2|+RO|"
                 "+access|$12|begin_search|%2|$4|type|$5|index|$4|spec|%1|$5|index|:1|$9|find_keys|%2|$4|type|$5|range|"
                 "$4|spec|%3|$7|lastkey|:0|$7|keystep|:1|$5|limit|:0|%3|$5|flags|~2|+OW|+update|$12|begin_search|%2|$4|"
                 "type|$5|index|$4|spec|%1|$5|index|:2|$9|find_keys|%2|$4|type|$5|range|$4|spec|%3|$7|lastkey|:0|$7|"
                 "keystep|:1|$5|limit|:0|~0|");
    check_answer("command info config|GET debug", 3,
                 "*2|*10|$10|config|get|:-3|~4|+admin|+noscript|+loading|+stale|:0|:0|:0|~3|+@admin|+@slow|+@dangerous|"
                 "~0|~0|~0|*10|$5|debug|:-2|~4|+admin|+noscript|+loading|+stale|:0|:0|:0|~3|+@admin|+@slow|+@dangerous|"
                 "~0|~0|~0|");
    check_answer("command info memory", 3,
                 "*1|*10|$6|memory|:-2|~0|:0|:0|:0|~1|+@slow|~0|~0|*2|*10|$11|memory|help|:2|~2|+loading|+stale|:0|:0|"
                 ":0|~1|+@slow|~0|~0|~0|*10|$12|memory|usage|:-3|~1|+readonly|:2|:2|:1|~2|+@read|+@slow|~0|~1|%3|$5|"
                 "flags|~1|+RO|$12|begin_search|%2|$4|type|$5|index|$4|spec|%1|$5|index|:2|$9|find_keys|%2|$4|type|$5|"
                 "range|$4|spec|%3|$7|lastkey|:0|$7|keystep|:1|$5|limit|:0|~0|");
}

static void command_info_of_unknown_names_is_null(void **state)
{
    (void)state;
    check_answer("command info nosuch get| get|foo config|nope client|id|x |", 2, "*6|$-1|$-1|$-1|$-1|$-1|$-1|");
    check_answer("command info ", 3, "*1|_|");
}

static void command_info_without_names_is_command(void **state)
{
    char *all = answer("command", 3), *info = answer("command info", 3), *count = answer("command count", 3);
    char header[32];

    (void)state;
    assert_string_equal(all, info);
    snprintf(header, sizeof header, "*%s", count + 1);
    check_begins(all, header);
    mem_free(all);
    mem_free(info);
    mem_free(count);
}

static void command_docs(void **state)
{
    char *got = answer("command docs nosuch SUBSTR", 3);

    (void)state;
    check_begins(got, "%1|$6|substr|%8|$7|summary|$");
    assert_non_null(strstr(got, "|$5|since|$5|1.0.0|$5|group|$6|string|$10|complexity|$"));
    assert_non_null(strstr(got, "|$9|doc_flags|~1|+deprecated|$16|deprecated_since|$5|2.0.0|$11|replaced_by|$10|"
                                "`GETRANGE`|$9|arguments|*3|%3|$4|name|$3|key|$4|type|$3|key|$14|key_spec_index|:0|"));
    mem_free(got);
    check_answer("command docs nosuch", 2, "*0|");
    check_answer("command docs ", 3, "%0|");

    got = answer("command docs client|pause", 2);
    check_begins(got, "*2|$12|client|pause|*12|$7|summary|$");
    assert_non_null(strstr(got, "|$7|history|*1|*2|$5|6.2.0|$"));
    assert_non_null(strstr(got, "|$9|arguments|*2|*4|$4|name|$7|timeout|$4|type|$7|integer|*10|$4|name|$4|mode|$4|type|"
                                "$5|oneof|$5|since|$5|6.2.0|$5|flags|*1|+optional|$9|arguments|*2|*6|$4|name|$5|write|"
                                "$4|type|$10|pure-token|$5|token|$5|WRITE|*6|$4|name|$3|all|$4|type|$10|pure-token|$5|"
                                "token|$3|ALL|"));
    mem_free(got);

    got = answer("command docs debug", 3);
    assert_non_null(strstr(got, "|$9|doc_flags|~1|+syscmd|"));
    mem_free(got);

    got = answer("command docs memory", 3);
    check_begins(got, "%1|$6|memory|%5|$7|summary|$");
    assert_non_null(strstr(got, "|$11|subcommands|%2|$11|memory|help|%4|$7|summary|$"));
    assert_non_null(strstr(got, "|$12|memory|usage|%5|$7|summary|$"));
    mem_free(got);
}

static void command_docs_without_names_has_all(void **state)
{
    char *got = answer("command docs", 3);
    char header[32];

    (void)state;
    snprintf(header, sizeof header, "%%%u|$6|append|", command_table_count);
    check_begins(got, header);
    mem_free(got);
}

static void command_list(void **state)
{
    char *got = answer("command list", 3);
    char header[32];

    (void)state;
    snprintf(header, sizeof header, "*%u|$6|append|", command_count);
    check_begins(got, header);
    mem_free(got);
    check_answer("command list filterby aclcat TRANSACTION", 3, "*5|$7|discard|$4|exec|$5|multi|$7|unwatch|$5|watch|");
    check_answer("command list filterby aclcat @transaction", 2, "*0|");
    check_answer("command list filterby pattern CONFIG|*", 2,
                 "*5|$10|config|get|$11|config|help|$16|config|resetstat|$14|config|rewrite|$10|config|set|");
    check_answer("command list filterby module x", 3, "*0|");
    check_answer("command list filterby nosuch x", 3, "-ERR syntax error|");
    check_answer("command list by pattern x", 3, "-ERR syntax error|");
    check_answer("command list filterby pattern", 3, "-ERR syntax error|");
    check_answer("command list filterby pattern a b", 3, "-ERR syntax error|");
}

static void command_getkeys(void **state)
{
    (void)state;
    check_answer("command getkeys get a", 2, "*1|$1|a|");
    check_answer("command getkeys MSET a 1 b 2", 3, "*2|$1|a|$1|b|");
    check_answer("command getkeys object encoding k", 3, "*1|$1|k|");
    check_answer("command getkeys nosuch a", 2, "-ERR Invalid command specified|");
    check_answer("command getkeys object nope k", 2, "-ERR Invalid command specified|");
    check_answer("command getkeys object|encoding a k", 2, "-ERR Invalid command specified|");
    check_answer("command getkeys ping a", 2, "-ERR The command has no key arguments|");
    check_answer("command getkeys config get a", 2, "-ERR The command has no key arguments|");
    check_answer("command getkeys get a b", 2, "-ERR Invalid number of arguments specified for command|");
}

static void command_getkeysandflags(void **state)
{
    static const struct {
        const char *command, *flags;
    } cases[] = {
        {"set k v", "~2|+OW|+update|"},
        {"set k get", "~2|+OW|+update|"},
        {"set k v GET", "~3|+RW|+access|+update|"},
        {"set k v ex get", "~3|+RW|+access|+update|"},
        {"bitfield k", "~2|+RO|+access|"},
        {"bitfield k get u8 0 overflow sat GET u8 1", "~2|+RO|+access|"},
        {"bitfield k get u8", "~3|+RW|+access|+update|"},
        {"bitfield k get u8 0 set u8 0 1", "~3|+RW|+access|+update|"},
        {"bitfield k overflow", "~3|+RW|+access|+update|"},
        {"mget k", "~2|+RO|+access|"},
        {"getdel k", "~3|+RW|+access|+delete|"},
    };
    char text[100], expected[100];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "command getkeysandflags %s", cases[i].command);
        snprintf(expected, sizeof expected, "*1|*2|$1|k|%s", cases[i].flags);
        check_answer(text, 3, expected);
    }
    check_answer("command getkeysandflags rename a b", 2, "*2|*2|$1|a|*3|+RW|+access|+delete|*2|$1|b|*2|+OW|+update|");
}

/* More keys than fit on the stack; and no memory for them. */
static void command_getkeys_of_many(void **state)
{
    struct args a;
    char *got;

    (void)state;
    args_of(&a, "command getkeys del");
    while (a.argc < ARGS_MAX)
        a.argv[a.argc++] = VIEW("k");
    got = answer_to(&a, 2, -1);
    check_begins(got, "*197|$1|k|$1|k|");
    mem_free(got);
    got = answer_to(&a, 2, 0);
    check_begins(got, "-ERR out of memory");
    mem_free(got);
}

static void command_help(void **state)
{
    char *got = answer("command help", 2);

    (void)state;
    assert_non_null(strstr(got, "|+COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:|+"));
    assert_non_null(strstr(got, "|+GETKEYS <full-command>|+    "));
    assert_string_equal(got + strlen(got) - strlen("|+HELP|+    Print this help.|"), "|+HELP|+    Print this help.|");
    mem_free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_found_in_any_case),
        cmocka_unit_test(a_name_with_one_wrong_byte_is_not_found),
        cmocka_unit_test(names_of_any_length_are_no_commands),
        cmocka_unit_test(subcommands_are_found_in_their_container),
        cmocka_unit_test(the_tables_agree),
        cmocka_unit_test(keys_of_the_commands_that_there_are),
        cmocka_unit_test(too_few_arguments_for_the_keys_are_bad),
        cmocka_unit_test(keys_beyond_max_are_counted_only),
        cmocka_unit_test(flags_come_from_the_key_s_own_specification),
        cmocka_unit_test(counted_keys),
        cmocka_unit_test(keys_behind_a_keyword_up_to_a_limit),
        cmocka_unit_test(keys_behind_a_keyword_from_the_end),
        cmocka_unit_test(command_info),
        cmocka_unit_test(command_info_of_unknown_names_is_null),
        cmocka_unit_test(command_info_without_names_is_command),
        cmocka_unit_test(command_docs),
        cmocka_unit_test(command_docs_without_names_has_all),
        cmocka_unit_test(command_list),
        cmocka_unit_test(command_getkeys),
        cmocka_unit_test(command_getkeysandflags),
        cmocka_unit_test(command_getkeys_of_many),
        cmocka_unit_test(command_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
