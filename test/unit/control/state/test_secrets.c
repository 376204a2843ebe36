/* Sealing and opening; what must not open; key files. */
#include "control/state/secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char dir[] = "/tmp/larder-test-secrets-XXXXXX";
static char error[SECRETS_ERROR_MAX];

static const struct secrets_place place = {{"user", 4}, {"alice", 5}, {"password", 8}};

static const char *fresh(void)
{
    static char path[64];
    static unsigned n;

    snprintf(path, sizeof path, "%s/%u.key", dir, ++n);
    return path;
}

static struct secrets *open_good(const char *path, bool expect_created)
{
    struct secrets *s;
    bool created = !expect_created;

    if (secrets_open(path, &s, &created, error) != SECRETS_OK)
        fail_msg("%s", error);
    assert_int_equal(created, expect_created);
    return s;
}

static void refuses(const char *path, const char *words)
{
    struct secrets *s = (struct secrets *)error;
    bool created = true;

    assert_int_equal(secrets_open(path, &s, &created, error), SECRETS_FAILED);
    assert_null(s);
    assert_false(created);
    assert_memory_equal(error, path, strlen(path));
    if (strstr(error, words) == NULL)
        fail_msg("%s", error);
}

static void key_files(void **state)
{
    const char *path = fresh();
    struct stat st;
    char key[33] = "0123456789abcdef0123456789abcdef";

    (void)state;
    secrets_close(open_good(path, true));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    secrets_close(open_good(path, false));
    secrets_close(NULL);
    assert_int_equal(chmod(path, 0640), 0);
    refuses(path, "0600");
    assert_int_equal(chmod(path, 0602), 0);
    refuses(path, "0600");
    assert_int_equal(chmod(path, 0400), 0);
    secrets_close(open_good(path, false));
    path = fresh();
    assert_int_equal(file_write_all(path, key, 31, NULL), 0);
    assert_int_equal(chmod(path, 0600), 0);
    refuses(path, "32 bytes");
    assert_int_equal(file_write_all(path, key, 33, NULL), 0);
    assert_int_equal(chmod(path, 0600), 0);
    refuses(path, "32 bytes");
    assert_int_equal(file_write_all(path, key, 0, NULL), 0);
    assert_int_equal(chmod(path, 0600), 0);
    refuses(path, "32 bytes");
    path = fresh();
    assert_int_equal(mkfifo(path, 0600), 0);
    refuses(path, "regular");
    refuses(dir, "regular");
    refuses("/tmp/larder-no-such-directory/key", strerror(ENOENT));
    path = fresh();
    file_fail_after(1, 1, ENOSPC); /* writing it */
    refuses(path, strerror(ENOSPC));
    file_fail_after(-1, 0, 0);
    assert_int_equal(access(path, F_OK), -1);
    secrets_close(open_good(path, true));
}

static void assert_opens(const struct secrets *s, struct view sealed, struct view plain)
{
    struct buf out = {0};

    buf_put(&out, "before", 6);
    assert_int_equal(secrets_unseal(s, &place, sealed, &out), SECRETS_OK);
    assert_int_equal(out.len, 6 + plain.n);
    assert_memory_equal(out.p, "before", 6);
    if (plain.n != 0)
        assert_memory_equal(out.p + 6, plain.p, plain.n);
    secrets_wipe(&out);
}

static void assert_fails(const struct secrets *s, const struct secrets_place *p, struct view sealed,
                         enum secrets_status expected)
{
    struct buf out = {0};

    assert_int_equal(secrets_unseal(s, p, sealed, &out), expected);
    assert_int_equal(out.len, 0);
    secrets_wipe(&out);
}

static void sealing(void **state)
{
    struct secrets *s = open_good(fresh(), true);
    char *plain = malloc(SECRETS_PLAIN_MAX + 1);
    struct buf sealed = {0};

    (void)state;
    for (size_t i = 0; i <= SECRETS_PLAIN_MAX; i++)
        plain[i] = (char)(i * 7);
    for (size_t n = 0; n <= SECRETS_PLAIN_MAX; n = n < 70 ? n + 1 : n * 3 + 1) {
        buf_clear(&sealed);
        assert_int_equal(secrets_seal(s, &place, view_of(plain, n), &sealed), SECRETS_OK);
        assert_int_equal(sealed.len, (n + 29 + 2) / 3 * 4);
        assert_opens(s, buf_view(&sealed), view_of(plain, n));
    }
    buf_clear(&sealed);
    assert_int_equal(secrets_seal(s, &place, view_of(plain, SECRETS_PLAIN_MAX), &sealed), SECRETS_OK);
    assert_opens(s, buf_view(&sealed), view_of(plain, SECRETS_PLAIN_MAX));
    assert_int_equal(secrets_seal(s, &place, view_of(plain, SECRETS_PLAIN_MAX + 1), &sealed), SECRETS_TOO_BIG);
    buf_put(&sealed, "xxxx", 4);
    assert_fails(s, &place, buf_view(&sealed), SECRETS_TOO_BIG);
    buf_free(&sealed);
    secrets_close(s);
    free(plain);
}

static void never_twice_the_same(void **state)
{
    struct secrets *s = open_good(fresh(), true);
    struct buf a = {0}, b = {0};

    (void)state;
    assert_int_equal(secrets_seal(s, &place, VIEW("secret"), &a), SECRETS_OK);
    assert_int_equal(secrets_seal(s, &place, VIEW("secret"), &b), SECRETS_OK);
    assert_false(view_equal(buf_view(&a), buf_view(&b)));
    buf_free(&a);
    buf_free(&b);
    secrets_close(s);
}

static void elsewhere(void **state)
{
    const struct secrets_place others[] = {
        {VIEW("user"), VIEW("bob"), VIEW("password")},    {VIEW("user"), VIEW("alice"), VIEW("password2")},
        {VIEW("group"), VIEW("alice"), VIEW("password")}, {VIEW("usera"), VIEW("lice"), VIEW("password")},
        {VIEW("user"), VIEW("alicep"), VIEW("assword")},  {VIEW(""), VIEW(""), VIEW("")},
    };
    struct secrets *s = open_good(fresh(), true), *other = open_good(fresh(), true);
    char long_id[SECRETS_PLACE_MAX];
    struct secrets_place too_long = {VIEW("u"), {long_id, sizeof long_id}, VIEW("")};
    struct buf sealed = {0};

    (void)state;
    memset(long_id, 'x', sizeof long_id);
    assert_int_equal(secrets_seal(s, &place, VIEW("secret"), &sealed), SECRETS_OK);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_fails(s, &others[i], buf_view(&sealed), SECRETS_DENIED);
    assert_fails(other, &place, buf_view(&sealed), SECRETS_DENIED);
    assert_opens(s, buf_view(&sealed), VIEW("secret"));
    assert_fails(s, &too_long, buf_view(&sealed), SECRETS_TOO_BIG);
    buf_clear(&sealed);
    assert_int_equal(secrets_seal(s, &too_long, VIEW("secret"), &sealed), SECRETS_TOO_BIG);
    too_long.id.n--;
    assert_int_equal(secrets_seal(s, &too_long, VIEW("secret"), &sealed), SECRETS_OK);
    buf_free(&sealed);
    secrets_close(s);
    secrets_close(other);
}

static void changed_texts(void **state)
{
    static const char *const bad[] = {"",          "A",    "AAAA", "=", "====", "A===", "not base64!!",
                                      "AQAA\nAAA", " AQ=", "AQ= "};
    struct secrets *s = open_good(fresh(), true);
    struct buf sealed = {0}, spaced = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(s, &place, view_str(bad[i]), SECRETS_INVALID);
    /* All paddings: the bytes are 29, 30 and 31. */
    for (size_t n = 0; n < 3; n++) {
        buf_clear(&sealed);
        assert_int_equal(secrets_seal(s, &place, view_of("ab", n), &sealed), SECRETS_OK);
        for (size_t i = 0; i < sealed.len; i++) {
            struct buf out = {0};
            char was = sealed.p[i];
            sealed.p[i] = was == 'A' ? 'B' : 'A';
            assert_int_not_equal(secrets_unseal(s, &place, buf_view(&sealed), &out), SECRETS_OK);
            sealed.p[i] = '\0';
            assert_int_not_equal(secrets_unseal(s, &place, buf_view(&sealed), &out), SECRETS_OK);
            sealed.p[i] = was;
            assert_int_not_equal(secrets_unseal(s, &place, view_of(sealed.p, i), &out), SECRETS_OK);
            buf_free(&out);
        }
        buf_clear(&spaced);
        buf_put_view(&spaced, buf_view(&sealed));
        buf_put(&spaced, "    ", 4);
        assert_fails(s, &place, buf_view(&spaced), SECRETS_INVALID);
        buf_clear(&spaced);
        buf_put(&spaced, "\n\n\n\n", 4);
        buf_put_view(&spaced, buf_view(&sealed));
        assert_fails(s, &place, buf_view(&spaced), SECRETS_INVALID);
        assert_opens(s, buf_view(&sealed), view_of("ab", n));
    }
    buf_free(&sealed);
    buf_free(&spaced);
    secrets_close(s);
}

/* Sealed with the key 00..1f, "user" "alice" "password", by another implementation of the same form. */
static void known_text(void **state)
{
    static const char sealed[] = "AWRlZmdoaWprbG1ubyt0rBQciiK+Vg0tm78GcsQiZYjGft77y6qASB51";
    const char *path = fresh();
    unsigned char key[32];
    struct secrets *s;

    (void)state;
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)i;
    assert_int_equal(file_write_all(path, key, sizeof key, NULL), 0);
    assert_int_equal(chmod(path, 0600), 0);
    s = open_good(path, false);
    assert_opens(s, view_str(sealed), VIEW("correct horse"));
    secrets_close(s);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_files), cmocka_unit_test(sealing),       cmocka_unit_test(never_twice_the_same),
        cmocka_unit_test(elsewhere), cmocka_unit_test(changed_texts), cmocka_unit_test(known_text),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
