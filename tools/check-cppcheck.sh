#!/bin/sh
# cppcheck over the sources and what is generated from spec/: tools/check-cppcheck.sh -IDIR...
#
# `style` is left out: it asks for what the project's own style does not want. One suppression is for all files, because
# the code is GNU C; a single false alarm is silenced beside its line with "cppcheck-suppress".
set -eu

mkdir -p build/cppcheck
exec cppcheck -q -j "$(nproc)" --cppcheck-build-dir=build/cppcheck --error-exitcode=1 --inline-suppr \
    --std=c11 --platform=unix64 --library=posix --library=gnu --library=tools/cppcheck-queue.cfg --enable=warning,performance,portability \
    --suppress=arithOperationsOnVoidPointer \
    -D__GNUC__=12 -D__x86_64__ -DLARDER_JEMALLOC=1 "$@" src build/gen
