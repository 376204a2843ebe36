/* The service as its state directory tells of it: service.json, the file `credentials`, and the socket `control`. */
#ifndef CLI_SERVICE_H
#define CLI_SERVICE_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#define SERVICE_TEXT_MAX 256
#define SERVICE_KEY_MAX 129

struct service {
    char directory[PATH_MAX]; /* absolute */
    char api_url[SERVICE_TEXT_MAX], dns_address[SERVICE_TEXT_MAX], dns_suffix[SERVICE_TEXT_MAX];
    char region[SERVICE_TEXT_MAX], account[SERVICE_TEXT_MAX], version[SERVICE_TEXT_MAX];
    char access_key_id[SERVICE_KEY_MAX], secret_access_key[SERVICE_KEY_MAX];
    long pid; /* of the process that wrote it, which may have ended */
};

/* Reads service.json. Returns 0, or the exit status 1 after it has said what is wrong. */
int service_load(struct service *s, const char *state_dir);

/* Reads the key as well. */
int service_load_with_key(struct service *s, const char *state_dir);

/* Does a larderd serve that directory now? */
bool service_is_running(const char *directory);

/* Asks over the control socket: NAME of control requests. Returns 0 with the answer, the caller's; or the exit status 1
 * after it has said what is wrong, a refusal included. What is attached to the answer is in *fd, else -1; fd may be NULL. */
int service_ask(const char *state_dir, const char *name, json_t **answer, int *fd);

#endif
