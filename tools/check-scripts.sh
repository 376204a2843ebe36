#!/bin/sh
# Shell and Python files parse. Takes every script of the tree, by its name's ending or by its first line.
set -eu

failed=0
list=$(find . -name .git -prune -o -path ./build -prune -o -type f -print)
python_files=

for file in $list; do
    case $file in
    *.sh) kind='sh' ;;
    *.py) kind='python' ;;
    *.c | *.h | *.md | *.json | *.svg | *.png) continue ;;
    *) kind= ;;
    esac
    first=$(head -c 200 "$file" | head -n 1 | tr -d '\000')
    case $first in
    '#!'*bash*) kind='bash' ;;
    '#!'*/sh*) kind='sh' ;;
    '#!'*python3*) kind='python' ;;
    esac
    case $kind in
    sh | bash) "$kind" -n "$file" || failed=1 ;;
    python) python_files="$python_files $file" ;;
    esac
done

# shellcheck disable=SC2086 # a list of words
/usr/bin/python3 - $python_files <<'END' || failed=1
import sys

failed = 0
for name in sys.argv[1:]:
    with open(name, "rb") as f:
        try:
            compile(f.read(), name, "exec", dont_inherit=True)
        except SyntaxError as error:
            print(f"{error.filename}:{error.lineno}: {error.msg}", file=sys.stderr)
            failed = 1
sys.exit(failed)
END
exit $failed
