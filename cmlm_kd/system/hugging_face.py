"""The one place where transformers loads what others have saved, and never their code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cmlm_kd.errors import UserError

_CONFIGS = ("config.json", "tokenizer_config.json")
_CODE = "auto_map"
"""The entry of a configuration that names Python classes of the directory."""


def load_saved(kind: Any, name_or_path: str | Path, **settings: Any) -> Any:
    """Load a configuration, a tokenizer or a model with transformers.

    Left to itself transformers asks on the terminal whether to run a directory's own code, and takes a line
    of standard input for the answer, be it a text that is to be classified.

    Args:
        kind: one of transformers' ``Auto`` classes.
        name_or_path: Hugging Face directory or hub name.
        settings: for its ``from_pretrained``.

    Returns:
        what that returns.

    Raises:
        UserError: the directory wants to run code of its own.
        Exception: whatever transformers raises, which is of many types.
    """
    for name in _CONFIGS:
        check_no_code(saved_settings(Path(name_or_path) / name), f"{Path(name_or_path) / name}")
    return kind.from_pretrained(name_or_path, trust_remote_code=False, **settings)


def check_no_code(settings: dict[str, Any], subject: str) -> None:
    """Refuse a configuration that names Python code.

    Args:
        settings: the configuration.
        subject: what it is, for the message.

    Raises:
        UserError: naming it and the code.
    """
    code = settings.get(_CODE)
    if code:
        shown = json.dumps(code) if len(json.dumps(code)) <= 80 else f"{json.dumps(code)[:80]}..."
        raise UserError(
            f"{subject} asks for Python code of its own ({_CODE}: {shown}), which is never run here; give a "
            f"model of an architecture that transformers has, and where its directory is one, remove {_CODE}"
        )


def saved_settings(path: Path) -> dict[str, Any]:
    """Return what a configuration such as ``config.json`` says; nothing where there is none, or one that
    transformers is going to complain about."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_language_model(directory: Path) -> bool:
    """Return whether a Hugging Face directory says that its model is a decoder without an encoder.

    Most are called a CausalLM; GPT-2 and Gemma 3 are among those that transformers knows by other names.
    """
    config = saved_settings(directory / "config.json")
    named = config.get("architectures")
    if not isinstance(named, list) or config.get("is_encoder_decoder", False):
        return False
    if any("CausalLM" in str(name) for name in named):
        return True
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(str(config.get("model_type"))) in named
