"""The fairseq plug-in of cmlm-kd: ``fairseq-train --user-dir fairseq_plugins``.

fairseq imports ``tasks`` and ``models`` of a user directory by itself; everything else that registers something is
imported here.
"""

import argparse

import torch

# fairseq's checkpoints carry an argparse.Namespace, which torch's safe loading (the default since 2.6) refuses.
# Allowing this one harmless class keeps safe loading on.
torch.serialization.add_safe_globals([argparse.Namespace])

from fairseq_plugins import criterions, data  # noqa: E402

__all__ = ["criterions", "data"]
