/* What this program calls itself, and the version of Redis whose behaviour it has. */
#ifndef SERVER_VERSION_H
#define SERVER_VERSION_H

#define SERVER_VERSION "0.1.0"
#define SERVER_REDIS_VERSION "7.0.15"

#endif
