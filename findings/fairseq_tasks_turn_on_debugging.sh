#!/usr/bin/env bash
# Package:  ve-fairseq 0.12.3 (fairseq 0.12) with torch 2.13.0
#
# Expected: importing a library leaves the root logger of the process alone; an application sets it up.
# Happens:  importing fairseq.tasks imports fairseq/tasks/text_to_speech.py, which calls logging.basicConfig with level
#           DEBUG. Unless the root logger had a handler before, it has one now, and debugging messages of every library in
#           the process go to standard error from then on.
# Meaning:  a program that uses fairseq as a library, and does not set up logging before it is imported, prints a line for
#           each font that matplotlib looks at, each connection of urllib3, and so on. Put level and handlers back after
#           the import, or call logging.basicConfig before it.
#
# Output seen:
#   before: WARNING, 0 handlers; after: DEBUG, 1 handlers
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check torch==2.13.0 \
    hydra-core==1.3.8 omegaconf==2.3.1 sacrebleu==2.6.0 bitarray cffi cython regex tqdm scikit-learn packaging 'setuptools<81' numpy
venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps ve-fairseq==0.12.3

cat > look.py <<'PYTHON'
import logging

root = logging.getLogger()


def state():
    return f"{logging.getLevelName(root.level)}, {len(root.handlers)} handlers"


before = state()
import fairseq.tasks

print(f"before: {before}; after: {state()}")
raise SystemExit(0 if root.level == logging.DEBUG and root.handlers else "changed")
PYTHON
venv/bin/python look.py 2> /dev/null
