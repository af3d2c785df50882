"""A tokenizer as a directory that transformers 4 and 5 load alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONFIG = "tokenizer_config.json"
_TYPES = "token_type_ids"


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path, config: Any | None = None) -> None:
    """Write a tokenizer's files, so that nothing is left to the defaults of a version of transformers.

    What transformers 5.23 writes, 4.57 cannot read where the class is ``TokenizersBackend`` or there are
    extra special tokens; and it sets a byte-level tokenizer's first space anew, in silence. By default
    tokenizers of that class give token types in 4.57 and none in 5.23, so that the second sentence of a pair
    would look like the first to a model that was trained with them. It also notes how the tokenizer was
    loaded, so that equal tokenizers had other bytes without a network.

    Args:
        tokenizer: any fast one of transformers 5.
        directory: to write into.
        config: of the model that reads the tokens; it says whether that tells sentences apart.
    """
    tokenizer.save_pretrained(directory)
    path = directory / _CONFIG
    settings = json.loads(path.read_text(encoding="utf-8"))
    for how_it_was_loaded in ("is_local", "local_files_only"):  # which says nothing of the tokenizer
        settings.pop(how_it_was_loaded, None)
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    settings["model_input_names"] = _input_names(tokenizer, config)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    first_space = (backend.get("pre_tokenizer") or {}).get("add_prefix_space")
    if first_space is not None:
        settings["add_prefix_space"] = first_space
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _input_names(tokenizer: PreTrainedTokenizerBase, config: Any | None) -> list[str]:
    """Return what the tokenizer is to give, in its own order."""
    names = list(tokenizer.model_input_names)
    if config is None:
        return names
    tells_apart = getattr(config, "type_vocab_size", 0) > 1
    if not tells_apart:
        return [name for name in names if name != _TYPES]
    return names if _TYPES in names else [*names[:1], _TYPES, *names[1:]]
