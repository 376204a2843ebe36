#!/bin/sh
# Installs what Larder needs from Debian's packages, and nothing else.
#
#     tools/install-deps.sh run|check|test|bench|all
#
# Prints the packages that are missing. As root, or with a sudo that asks nothing, it installs them; otherwise it prints
# the line to type and fails. When nothing is missing it is silent and touches no network. While packages are installed
# no service is started (policy-rc.d), and a redis-server that came with them is not left to start at the next boot: the
# tests start their own.
set -eu

build='gcc make libc6-dev libjemalloc-dev liblzf-dev python3 libevent-dev libhttp-parser-dev libhiredis-dev libsqlite3-dev libssl-dev
    libxml2-dev libjansson-dev libldns-dev libcurl4-openssl-dev'
check='clang clang-format cppcheck libcmocka-dev'
tests='clang llvm libclang-rt-14-dev libcmocka-dev redis-server redis-tools python3-pytest python3-redis
    python3-boto3 awscli dnsutils'
bench='redis-server redis-tools valgrind python3-redis python3-matplotlib'

case "${1-}" in
run) wanted=$build ;;
check) wanted="$build $check" ;;
test) wanted="$build $tests" ;;
bench) wanted="$build $bench" ;;
all) wanted="$build $check $tests $bench" ;;
*)
    echo "usage: $0 run|check|test|bench|all" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "$0: this is not Debian; taking for granted what these packages hold: $wanted" >&2
    exit 0
fi

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status} ' "$1" 2>/dev/null | cut -d ' ' -f 1)" = installed ]
}

find_missing() {
    missing=
    for package in $wanted; do
        case " $missing " in
        *" $package "*) continue ;;
        esac
        is_installed "$package" || missing="${missing:+$missing }$package"
    done
}

find_missing
[ -n "$missing" ] || exit 0
echo "Debian packages that are missing: $missing"

if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        exec sudo -n "$0" "$1"
    fi
    echo "No rights to install them. Please run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing" >&2
    exit 1
fi

# Two runs on one machine take turns: each sets and restores policy-rc.d.
exec 9>/run/lock/larder-install-deps
flock 9
find_missing
[ -n "$missing" ] || exit 0

policy=/usr/sbin/policy-rc.d
saved=$policy.before-larder
mark='# Larder: no service starts while packages are installed.'

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

restore_policy() {
    if grep -qsF "$mark" "$policy"; then
        rm -f "$policy"
    fi
    if exists "$saved"; then
        mv "$saved" "$policy"
    fi
}

restore_policy # what an interrupted run left behind
trap restore_policy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if exists "$policy"; then
    mv "$policy" "$saved"
fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null 9>&-
}

had_redis=yes
is_installed redis-server || had_redis=no

apt -q update
# shellcheck disable=SC2086 # a list of words
apt -q install -y --no-install-recommends $missing

if [ "$had_redis" = no ] && is_installed redis-server; then
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable redis-server.service || true
    elif command -v update-rc.d >/dev/null; then
        update-rc.d redis-server disable || true
    fi
fi
