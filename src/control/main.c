/* larderd: reads its options and runs the service. */
#include <stdio.h>

#include "control/daemon/daemon.h"
#include "control/daemon/options.h"

int main(int argc, char **argv)
{
    char error[OPTIONS_ERROR_MAX];
    struct options o;
    int status = 0;

    switch (options_read(&o, argc, argv, error)) {
    case OPTIONS_RUN:
        status = daemon_run(&o);
        break;
    case OPTIONS_HELP:
        fputs(options_usage(), stdout);
        break;
    case OPTIONS_VERSION:
        puts("larderd " DAEMON_VERSION);
        break;
    case OPTIONS_BAD:
        fprintf(stderr, "larderd: %s\nlarderd --help lists the options.\n", error);
        status = 2;
        break;
    }
    options_free(&o);
    return status;
}
