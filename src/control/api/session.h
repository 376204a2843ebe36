/*
 * Sessions: temporary access keys, and the single-use codes that are exchanged for them. Both live in memory alone: a
 * service that restarts has people sign in again.
 *
 * There are SESSIONS_MAX sessions and SESSION_CODES_MAX codes at most; a new one takes the place of the one that would end
 * first.
 */
#ifndef CONTROL_API_SESSION_H
#define CONTROL_API_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define SESSIONS_MAX 1000
#define SESSION_CODES_MAX 16
#define SESSION_CODE_MS (10 * 60 * 1000)
#define SESSION_ID 20
#define SESSION_SECRET 40
#define SESSION_TOKEN 64
#define SESSION_CODE 40

struct sessions;

struct session_key {
    char id[SESSION_ID + 1];
    char secret[SESSION_SECRET + 1];
    char token[SESSION_TOKEN + 1];
    int64_t end_ms; /* wall clock */
};

struct sessions *sessions_new(void);

/* Wipes everything. Accepts NULL. */
void sessions_free(struct sessions *s);

/* Makes a code, good for SESSION_CODE_MS from now on and for one exchange. */
void sessions_make_code(struct sessions *s, int64_t now_ms, char out[SESSION_CODE + 1]);

enum session_result { SESSION_OK, SESSION_UNKNOWN, SESSION_EXPIRED };

/* Exchanges a code for keys that are good for so long. The code is used up, whatever comes of it. */
enum session_result sessions_exchange(struct sessions *s, struct view code, int64_t now_ms, int64_t duration_ms,
                                      const struct session_key **out);

/* The session of an access key, ended or not; NULL when there is none. */
const struct session_key *sessions_find(const struct sessions *s, struct view id);

/* Ends all sessions and codes. */
void sessions_clear(struct sessions *s);

#endif
