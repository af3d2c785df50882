"""What machines do to files: limits that stand for a full disk, umasks, kills."""

import contextlib
import os
import resource
import signal
import subprocess
import sys

_KILLED = """
import os, signal, sys
from pathlib import Path
from cmlm_kd.system.files import {call}
with {call}(Path(sys.argv[1])) as partial:
    {body}
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(call, body, path):
    """Run a body of ``call(path)`` in a process that is then killed."""
    code = _KILLED.format(call=call, body=body)
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -signal.SIGKILL


def names(folder):
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def umask(value):
    """Set what permissions new files do without."""
    former = os.umask(value)
    try:
        yield
    finally:
        os.umask(former)


@contextlib.contextmanager
def largest_file(size):
    """Refuse files of more bytes, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
