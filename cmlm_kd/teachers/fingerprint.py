"""A hash that stays with a model wherever it is loaded from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

_VOLATILE = ("_name_or_path", "architectures", "dtype", "transformers_version")


def model_hash(config: Any, model: nn.Module) -> str:
    """Return a hash of a Hugging Face configuration and of all weights of a model, by name."""
    known = {name: value for name, value in config.to_dict().items() if name not in _VOLATILE}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
