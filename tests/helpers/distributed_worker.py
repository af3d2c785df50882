"""One process of a data-parallel training on CPU: RANK WORLD_SIZE PORT FILE.

FILE holds fairseq-train's flags of several runs, a list of lists in JSON; they run one after the other. What
each of them ended in is printed as a JSON list: null, or the user error's message.
"""

import contextlib
import json
import sys
from pathlib import Path

from fairseq import options
from fairseq.distributed.utils import call_main
from fairseq_cli import train
from fairseq_runs import config


def run(flags, rank, world_size, port):
    """Train; returns the message of a refusal."""
    from cmlm_kd.errors import UserError

    distributed = (
        *("--distributed-init-method", f"tcp://127.0.0.1:{port}", "--distributed-world-size", world_size),
        *("--distributed-rank", rank, "--distributed-no-spawn", "--distributed-backend", "gloo"),
        *("--device-id", 0, "--cpu"),
    )
    try:
        call_main(config(options.get_training_parser(), *flags, *distributed), train.main)
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    rank, world_size, port, file = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        ended = [run(flags, rank, world_size, port) for flags in json.loads(Path(file).read_text())]
    print(json.dumps(ended))
