"""Recipes whose calls of fairseq-train and cmlm-kd are answered by the test's own process.

Starting either takes seconds, because they import torch; a recipe that calls them fifty times would take
minutes. What they do is not changed: the same functions run, one call after the other.
"""

import contextlib
import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import traceback

from documentation import REPOSITORY
from fairseq_runs import run_train

from cmlm_kd.cli import main

# Sends its arguments, then passes on what comes back.
CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.environ["TEST_SOCKET"])
    connection.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    status, out, err = json.loads(connection.makefile().read())
sys.stdout.write(out); sys.stderr.write(err); sys.exit(status)
"""
LOGGERS = ("fairseq_cli.train", "fairseq.logging.progress_bar")


def _train(arguments, extra):
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.setLevel(logging.INFO)  # as in a process of its own, so that --log-file gets something
    try:
        run_train(*arguments, *extra)
    finally:
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
            for handler in logger.handlers[:]:  # --log-file adds one for ever
                logger.removeHandler(handler)
                handler.close()


def _answer(words, extra):
    """Run one command; returns its status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = (_train(words[1:], extra) or 0) if words[0] == "fairseq-train" else main(words[1:])
        except SystemExit as ending:
            status = int(ending.code or 0)
        except Exception:
            traceback.print_exc(file=err)
            status = 1
    return status, out.getvalue(), err.getvalue()


def run_recipe(recipe, *settings, folder, extra=()):
    """Run a recipe in folder/run; returns the finished process and its commands, each as its words.

    Args:
        recipe: its path in the examples.
        settings: each KEY=VALUE.
        folder: a short path, for the socket.
        extra: flags added to every training.
    """
    address, given = str(folder / "socket"), []
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(8)

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:  # closed below
                return
            with connection:
                words = json.loads(connection.makefile().readline())
                given.append(words)
                connection.sendall(json.dumps(_answer(words, extra)).encode())

    threading.Thread(target=serve, daemon=True).start()
    (folder / "client.py").write_text(CLIENT)
    # Functions come before programs, wherever a shell looks for those.
    functions = {
        f"BASH_FUNC_{name}%%": f'() {{ {sys.executable} -I -S {folder}/client.py {name} "$@"; }}'
        for name in ("fairseq-train", "cmlm-kd")
    }
    environment = {**os.environ, **functions, "TEST_SOCKET": address}
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cmlm_kd", "run", REPOSITORY / "examples" / recipe),
                *("--output", folder / "run", "--set", *map(str, settings)),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=900,
        )
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    return done, given


def check_failing_training(run, done, given, records):
    """Look whether a recipe ended with its first trainings, which fail, and noted none of them as finished.

    Args:
        run: the run's folder.
        done, given: what run_recipe returned.
        records: what it would have noted, a pattern.
    """
    trainings = [words for words in given if words[0] == "fairseq-train"]
    assert done.returncode != 0 and 1 <= len(trainings) <= 2, "two where they go side by side"
    assert "no-such-flag" in done.stderr
    assert not list((run / ".steps").glob(records))
