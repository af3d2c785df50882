#!/usr/bin/env bash
# Package:  doit 0.37.0 (with each of its stores: dbm, json, sqlite3)
#
# Expected: doit remembers a task when the task has succeeded. A pipeline "train the teacher, then distil" that is
#           stopped while it distils starts again at the distillation, as make does.
# Happens:  successes stay in memory until the whole run is over. Ctrl-C (SIGINT) still writes them, but SIGTERM
#           and SIGKILL do not: the next run trains the teacher again, although its output is there, complete and
#           unchanged. The store sqlite3, a transactional database, is no better.
# Meaning:  cluster schedulers end a job at its time limit with SIGTERM, the kernel ends one that is out of memory
#           with SIGKILL. Hours of a finished training are repeated, silently. Run one doit process per long task
#           (doit train && doit distil), or let `uptodate` look for the output itself.
#
# Output seen:
#   dbm      INT  -> teacher trained 1 time(s)
#   dbm      TERM -> teacher trained 2 time(s)
#   dbm      KILL -> teacher trained 2 time(s)
#   json     INT  -> teacher trained 1 time(s)
#   json     TERM -> teacher trained 2 time(s)
#   json     KILL -> teacher trained 2 time(s)
#   sqlite3  INT  -> teacher trained 1 time(s)
#   sqlite3  TERM -> teacher trained 2 time(s)
#   sqlite3  KILL -> teacher trained 2 time(s)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --quiet --disable-pip-version-check doit==0.37.0

cat > dodo.py <<'PYTHON'
import os
import signal
from pathlib import Path


def train():
    with open("trainings", "a") as log:
        log.write("trained\n")
    Path("teacher.pt").write_text("weights")


def distil():
    order = Path("stop_with")
    if order.exists():
        os.kill(os.getpid(), int(signal.Signals["SIG" + order.read_text()]))
    Path("student.pt").write_text("weights")


def task_train():
    return {"actions": [train], "file_dep": ["corpus.txt"], "targets": ["teacher.pt"]}


def task_distil():
    return {"actions": [distil], "file_dep": ["teacher.pt"], "targets": ["student.pt"]}
PYTHON
echo "ein Satz" > corpus.txt

for store in dbm json sqlite3; do
    for stop in INT TERM KILL; do
        rm -f state* trainings teacher.pt student.pt
        printf %s "$stop" > stop_with
        # In a shell of its own, so that the message about the signal goes where the rest goes.
        bash -c 'venv/bin/doit run --backend "$0" --db-file state; true' "$store" > /dev/null 2>&1 || true
        test -e teacher.pt && test ! -e student.pt
        rm stop_with
        venv/bin/doit run --backend "$store" --db-file state > /dev/null
        test -e student.pt
        times=$(wc -l < trainings | tr -d ' ')
        printf '%-8s %-4s -> teacher trained %s time(s)\n' "$store" "$stop" "$times"
        expected=2
        [ "$stop" = INT ] && expected=1
        if [ "$times" != "$expected" ]; then
            echo "changed: expected $expected" >&2
            exit 1
        fi
    done
done
