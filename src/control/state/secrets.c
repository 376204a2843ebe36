/*
 * Sealing with libcrypto. The nonce is random: with one key up to 2^32 secrets may be sealed (SP 800-38D, 8.3), which no
 * control plane reaches. The parts of a place stand in the additional data with their lengths, so that "a" "bc" is not
 * "ab" "c".
 *
 * A key file is made under another name and then linked to its own, so that a crash never leaves a part of one, and of
 * two processes that start at once both have the same.
 */
#include "control/state/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"

#define KEY_BYTES 32
#define VERSION 1
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define HEAD_BYTES (1 + NONCE_BYTES)
#define AROUND_BYTES (HEAD_BYTES + TAG_BYTES)
#define ENCODED(n) (((n) + 2) / 3 * 4)
#define PLACE_BYTES (3 * sizeof(uint32_t) + SECRETS_PLACE_MAX)

struct secrets {
    unsigned char key[KEY_BYTES];
};

/* ---- the key file ------------------------------------------------------------------------------------------------ */

static int make_key(const char *path)
{
    unsigned char key[KEY_BYTES];
    char temp[PATH_MAX];
    int fd, rc = file_temp_path(temp, path);

    if (rc == 0)
        rc = file_remove(temp);
    if (rc != 0)
        return rc;
    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    random_bytes(key, sizeof key);
    rc = file_write(fd, key, sizeof key);
    OPENSSL_cleanse(key, sizeof key);
    if (rc == 0)
        rc = file_sync(fd);
    file_close(fd);
    if (rc == 0 && link(temp, path) != 0)
        rc = -errno;
    file_remove(temp);
    return rc != 0 ? rc : file_sync_parent(path);
}

/* What is wrong with the open file, or NULL. */
static const char *objection(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "is not a regular file";
    if (st.st_uid != geteuid())
        return "belongs to another user";
    if ((st.st_mode & 077) != 0)
        return "others may read or write it; its mode must be 0600";
    if (st.st_size != KEY_BYTES)
        return "is not a key: it must have 32 bytes";
    return NULL;
}

static const char *read_key(const char *path, unsigned char key[KEY_BYTES], bool *created)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
    const char *wrong;

    if (fd < 0 && errno == ENOENT) {
        rc = make_key(path);
        if (rc != 0 && rc != -EEXIST)
            return strerror(-rc);
        *created = rc == 0;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0)
        return strerror(errno);
    wrong = objection(fd);
    if (wrong == NULL && file_read(fd, key, KEY_BYTES) != KEY_BYTES)
        wrong = "cannot be read";
    file_close(fd);
    return wrong;
}

enum secrets_status secrets_open(const char *path, struct secrets **out, bool *created, char error[SECRETS_ERROR_MAX])
{
    struct secrets *s = mem_zalloc(sizeof *s);
    bool made = false;
    const char *wrong = read_key(path, s->key, &made);

    *out = NULL;
    if (created != NULL)
        *created = made;
    if (wrong != NULL) {
        snprintf(error, SECRETS_ERROR_MAX, "%s: %s", path, wrong);
        secrets_close(s);
        return SECRETS_FAILED;
    }
    *out = s;
    return SECRETS_OK;
}

void secrets_close(struct secrets *s)
{
    if (s == NULL)
        return;
    OPENSSL_cleanse(s, sizeof *s);
    mem_free(s);
}

void secrets_wipe(struct buf *b)
{
    if (b->p != NULL)
        OPENSSL_cleanse(b->p, b->cap);
    buf_free(b);
}

/* ---- sealing ----------------------------------------------------------------------------------------------------- */

/* The additional data; its length, or 0 when the place is too long. */
static size_t put_place(unsigned char out[PLACE_BYTES], const struct secrets_place *place)
{
    const struct view parts[] = {place->kind, place->id, place->field};
    size_t n = 0, left = SECRETS_PLACE_MAX;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].n > left)
            return 0;
        left -= parts[i].n;
        for (unsigned shift = 0; shift < 32; shift += 8)
            out[n++] = (unsigned char)(parts[i].n >> shift);
        if (parts[i].n != 0)
            memcpy(out + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    return n;
}

/* One run of the cipher over n bytes. The tag is written, or compared when opening. False when that fails; there is no
 * other reason but memory. */
static bool run_cipher(const struct secrets *s, bool seal, const struct secrets_place *place,
                       const unsigned char *nonce, const unsigned char *in, size_t n, unsigned char *out,
                       unsigned char *tag)
{
    unsigned char extra[PLACE_BYTES], rest[EVP_MAX_BLOCK_LENGTH];
    size_t extra_bytes = put_place(extra, place);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int got, end;
    bool good = c != NULL && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, nonce, seal) == 1 &&
                EVP_CipherUpdate(c, NULL, &got, extra, (int)extra_bytes) == 1 &&
                EVP_CipherUpdate(c, out, &got, in, (int)n) == 1;

    if (good && !seal)
        good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1;
    good = good && EVP_CipherFinal_ex(c, rest, &end) == 1;
    if (good && seal)
        good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

static bool place_fits(const struct secrets_place *place)
{
    unsigned char extra[PLACE_BYTES];

    return put_place(extra, place) != 0;
}

enum secrets_status secrets_seal(const struct secrets *s, const struct secrets_place *place, struct view plain,
                                 struct buf *out)
{
    size_t n = plain.n + AROUND_BYTES;
    unsigned char *box;
    bool good;

    if (plain.n > SECRETS_PLAIN_MAX || !place_fits(place))
        return SECRETS_TOO_BIG;
    box = mem_alloc(n);
    box[0] = VERSION;
    random_bytes(box + 1, NONCE_BYTES);
    good = run_cipher(s, true, place, box + 1, (const unsigned char *)plain.p, plain.n, box + HEAD_BYTES,
                      box + HEAD_BYTES + plain.n);
    if (good) {
        buf_reserve(out, ENCODED(n) + 1); /* EVP_EncodeBlock ends with a NUL */
        out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->p + out->len, box, (int)n);
    }
    mem_free(box);
    return good ? SECRETS_OK : SECRETS_FAILED;
}

/* Decodes canonical base64 alone: what encodes to the same text again. The number of bytes, or 0. `out` has room for
 * text.n bytes. */
static size_t decode(struct view text, unsigned char *out)
{
    unsigned char again[ENCODED(3) + 1];
    size_t n, last;
    int got;

    if (text.n == 0 || text.n % 4 != 0 || (got = EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.n)) < 0)
        return 0;
    /* It takes white space around the text, and then has decoded less; and it counts the padding as bytes. */
    n = (size_t)got;
    if (n != text.n / 4 * 3)
        return 0;
    last = 3;
    for (size_t i = 1; i <= 2 && text.p[text.n - i] == '='; i++)
        last--;
    EVP_EncodeBlock(again, out + n - 3, (int)last);
    return memcmp(again, text.p + text.n - 4, 4) == 0 ? n - 3 + last : 0;
}

enum secrets_status secrets_unseal(const struct secrets *s, const struct secrets_place *place, struct view sealed,
                                   struct buf *out)
{
    enum secrets_status status = SECRETS_INVALID;
    unsigned char *box;
    size_t n;

    if (!place_fits(place) || sealed.n > ENCODED((size_t)SECRETS_PLAIN_MAX + AROUND_BYTES))
        return SECRETS_TOO_BIG;
    box = mem_alloc(sealed.n + 1);
    n = decode(sealed, box);
    if (n >= AROUND_BYTES && box[0] == VERSION) {
        size_t plain = n - AROUND_BYTES;
        buf_reserve(out, plain + 1);
        if (run_cipher(s, false, place, box + 1, box + HEAD_BYTES, plain, (unsigned char *)out->p + out->len,
                       box + HEAD_BYTES + plain)) {
            out->len += plain;
            status = SECRETS_OK;
        } else {
            OPENSSL_cleanse(out->p + out->len, plain); /* what was deciphered before the tag did not fit */
            status = SECRETS_DENIED;
        }
    }
    mem_free(box);
    return status;
}
