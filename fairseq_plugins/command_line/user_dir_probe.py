"""Probe of ``cmlm-kd doctor``, a process of its own: does fairseq find the plug-in at a ``--user-dir``?

Prints where the package that was imported lies, and whether fairseq's checkpoints may be loaded safely.
"""

import argparse
import json
import sys

import torch
from fairseq import utils


def main() -> None:
    """Import the user directory that is named on the command line, as fairseq does, and say what it is."""
    utils.import_user_module(argparse.Namespace(user_dir=sys.argv[1]))
    found = sys.modules["fairseq_plugins"]
    safe = argparse.Namespace in torch.serialization.get_safe_globals()
    print(json.dumps({"path": next(iter(found.__path__)), "safe": safe}))


if __name__ == "__main__":
    main()
