/* larder: the command line tool of people who run a service. */
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: larder [--help]\n";

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    fputs(usage, stderr);
    return 2;
}
