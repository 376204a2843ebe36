/* Part of `larder doctor`: the state directory, and the programs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"

#define ROOM_WRONG (64u << 20) /* bytes left on the disk */
#define ROOM_NOTE (1u << 30)

/* ---- the state directory ---- */

/* A file with secrets in it. */
static void check_secret(json_t *findings, const char *directory, const char *name)
{
    char path[PATH_MAX + 32];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (stat(path, &st) != 0) {
        if (errno == EACCES) {
            doctor_find(findings, DOCTOR_NOTE, "%s cannot be looked at", path);
            doctor_advise(findings, "run larder as larderd's user or as root");
        }
        return;
    }
    if (st.st_mode & 077) {
        doctor_find(findings, DOCTOR_WRONG, "others than its owner have rights on %s (mode %04o)", path,
                    (unsigned)st.st_mode & 07777);
        doctor_advise(findings, "chmod 600 %s", path);
    }
}

static void check_room(json_t *findings, const char *directory)
{
    struct statvfs v;
    unsigned long long room;

    if (statvfs(directory, &v) != 0)
        return;
    room = (unsigned long long)v.f_bavail * v.f_frsize;
    if (room < ROOM_NOTE) {
        doctor_find(findings, room < ROOM_WRONG ? DOCTOR_WRONG : DOCTOR_NOTE, "the disk of %s has %llu MiB left",
                    directory, room >> 20);
        doctor_advise(findings,
                      "make room: snapshots of nodes are written there, and without room nothing can be changed");
    }
}

static void check_state_dir(json_t *findings, const char *state_dir)
{
    static const char *const secrets[] = {"credentials", "secret.key", "state.db", "state.db-wal"};
    size_t before = json_array_size(findings);
    struct stat st;

    if (stat(state_dir, &st) != 0) {
        doctor_find(findings, errno == ENOENT ? DOCTOR_NOTE : DOCTOR_WRONG, "the state directory %s: %s", state_dir,
                    strerror(errno));
        doctor_advise(findings, "larderd makes it when it starts; if it is elsewhere, say larder --state-dir DIR");
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        doctor_find(findings, DOCTOR_WRONG, "the state directory %s is no directory", state_dir);
        return;
    }
    if (st.st_uid != geteuid() && geteuid() != 0) {
        doctor_find(findings, DOCTOR_NOTE, "the state directory %s belongs to another user (%lu)", state_dir,
                    (unsigned long)st.st_uid);
        doctor_advise(findings, "run larder as that user or as root");
    }
    if (st.st_mode & 066) {
        doctor_find(findings, DOCTOR_WRONG, "others may read or write the state directory %s (mode %04o)", state_dir,
                    (unsigned)st.st_mode & 07777);
        doctor_advise(findings, "chmod 700 %s (711 when other users shall be able to use what `larder env` prints)",
                      state_dir);
    }
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        check_secret(findings, state_dir, secrets[i]);
    check_room(findings, state_dir);
    if (json_array_size(findings) == before)
        doctor_find(findings, DOCTOR_OK, "the state directory %s, and the rights of what is in it", state_dir);
}

/* ---- programs ---- */

/* Runs "PROGRAM --version", its output discarded; the exit status, or -1. */
static int try_program(const char *path)
{
    pid_t child = fork();
    int status, null;

    if (child == 0) {
        null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl(path, path, "--version", (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static void check_program(json_t *findings, const char *directory, const char *name)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (access(path, X_OK) != 0) {
        doctor_find(findings, DOCTOR_WRONG, "%s: %s", path, strerror(errno));
        doctor_advise(findings, "`make` builds it, `make install` installs it%s",
                      strcmp(name, "larder-server") == 0 ? "; or tell larderd by --server where it is" : "");
    } else if (try_program(path) != 0) {
        doctor_find(findings, DOCTOR_WRONG, "%s does not run", path);
        doctor_advise(findings, "see what %s --version says; libraries may be missing (tools/install-deps.sh run)",
                      path);
    } else {
        doctor_find(findings, DOCTOR_OK, "%s runs", path);
    }
}

void doctor_files(json_t *findings, const char *state_dir)
{
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);

    check_state_dir(findings, state_dir);
    if (n <= 0)
        return;
    own[n] = '\0';
    *strrchr(own, '/') = '\0';
    check_program(findings, own, "larderd");
    check_program(findings, own, "larder-server");
}
