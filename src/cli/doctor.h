/* What `larder doctor` finds. Each part of the checks adds its findings to one list. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <jansson.h>

#define DOCTOR_FILES 65536 /* files that a process should be able to open: 65,000 clients, and what the engine needs */

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_NOTE,  /* it works, but not as well as it could */
    DOCTOR_WRONG, /* it does not work */
};

struct service;

/* Adds a finding: what is so. What to do about it follows by doctor_advise. */
void doctor_find(json_t *findings, enum doctor_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds to the last finding what can be done about it. */
void doctor_advise(json_t *findings, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The state directory and its files; larderd's programs. */
void doctor_files(json_t *findings, const char *state_dir);

/* The service by its answers, when it runs; what would be in its way, when it does not. `s` is NULL when it never ran. */
void doctor_service(json_t *findings, const struct service *s);

/* The host: ports, limits, memory. */
void doctor_host(json_t *findings);

#endif
