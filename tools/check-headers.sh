#!/bin/sh
# Every header compiles alone, and twice: tools/check-headers.sh "COMPILER FLAGS" HEADER...
set -eu

compiler=$1
shift
failed=0
for header; do
    name=${header#*/}
    # shellcheck disable=SC2086 # the compiler's words
    printf '#include "%s"\n#include "%s"\n' "$name" "$name" |
        $compiler -fsyntax-only -Werror -x c - || {
        echo "$header: does not compile alone" >&2
        failed=1
    }
done
exit $failed
