#!/usr/bin/python3
"""Writes C from the declarations of the API and of the model.

    tools/gen_api.py SPEC OUT

reads SPEC/api and SPEC/model, and writes api_shapes.c and api_actions.c into OUT.
"""

import os
import sys


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    os.makedirs(sys.argv[2], exist_ok=True)
    for name in ("api_shapes.c", "api_actions.c"):
        with open(os.path.join(sys.argv[2], name), "w", encoding="utf-8") as f:
            f.write("typedef int nothing_is_declared_yet;\n")


if __name__ == "__main__":
    main()
