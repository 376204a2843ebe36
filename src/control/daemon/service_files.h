/*
 * What the service leaves in its state directory for the tools of people:
 *
 *     service.json        where it is: see service_files_write
 *     aws/endpoints.json  for AWS_DATA_PATH: SDKs that know nothing of AWS_ENDPOINT_URL (botocore before 1.31) find the
 *                         service by it
 *
 * Both stay when the service ends: a tool that was pointed at them is then refused, whereas without endpoints.json it would
 * turn to AWS itself. Neither holds a secret, and everybody may read them (as far as the directory lets them).
 */
#ifndef CONTROL_DAEMON_SERVICE_FILES_H
#define CONTROL_DAEMON_SERVICE_FILES_H

#include <limits.h>
#include <stdint.h>

#include "base/view.h"

#define SERVICE_FILES_ERROR_MAX (PATH_MAX + 256)

struct service_files {
    const char *directory;   /* the state directory */
    const char *api_address; /* where the API is bound: "127.0.0.1:8379" */
    const char *dns_address; /* the same for names */
    const char *dns_suffix;
    const char *version; /* of the service */
    struct view region, account;
};

/* Writes both files, each whole or not at all. service.json is one object:
 *
 *     pid, version, api_url ("http://127.0.0.1:8379"), dns_address, dns_suffix, region, account
 *
 * endpoints.json has botocore's format, version 3. In it every service in every region is this one, so that no call that is
 * made by mistake leaves the machine. Returns 0; or -1 with a line for people in `error`. */
int service_files_write(const struct service_files *f, char error[SERVICE_FILES_ERROR_MAX]);

/* The port of the API that service.json in that directory tells of. Returns 0, or -1 when there is none. */
int service_files_port(const char *directory, uint16_t *port);

#endif
