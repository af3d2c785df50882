"""A teacher's tokenizer, loaded, with what is wrong with it said."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.system.git_lfs import refuse_pointer
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.system.transformers_reports import without_reports
from cmlm_kd.tokenization.sentencepiece import load_sentencepiece, only_sentencepiece_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FRAMING_TOKENS = ("mask", "cls", "sep", "pad", "unk")
"""What a conditional masked language model cannot do without."""

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def load_tokenizer(name_or_path: str, required: Sequence[str] = FRAMING_TOKENS) -> PreTrainedTokenizerBase:
    """Load a fast Hugging Face tokenizer and check that a conditional masked language model can use it.

    A directory that holds nothing but a sentencepiece model is segmented as sentencepiece segments it. A
    vocabulary with capital letters is not lower-cased unless ``tokenizer_config.json`` says so.

    Args:
        name_or_path: Hugging Face directory or hub name.
        required: special tokens without which the tokenizer is refused; a classifier needs less.

    Raises:
        UserError: if the directory is missing, holds no tokenizer, or the tokenizer has no mask token (or
            another special token that frames a pair).
    """
    directory = _directory(name_or_path)
    model = only_sentencepiece_model(directory)
    try:
        tokenizer = _load(directory) if model is None else load_sentencepiece(model)
    except UserError:
        raise
    except Exception as error:  # transformers raises many types, and a user can act on none of them by type
        refuse_pointer(directory)
        raise _cannot_load(name_or_path, error) from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise UserError(
            f"the tokenizer of {name_or_path!r} ({type(tokenizer).__name__}) is a slow one; only fast ones "
            "(tokenizer.json or a sentencepiece model) are supported: convert it and save it again"
        )
    for token in required:
        if getattr(tokenizer, f"{token}_token_id", None) is None:
            purpose = "conditional masked language model" if "mask" in required else "classifier"
            raise UserError(
                f"the tokenizer of {name_or_path!r} has no {token} token, which a {purpose} needs; take a "
                f"BERT- or RoBERTa-like model, or name the {token}_token in tokenizer_config.json"
            )
    return tokenizer


def _directory(name_or_path: str) -> Path:
    """Return the teacher's directory; a hub name's tokenizer files are fetched first."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        if not any(next(path.glob(pattern), None) for pattern in _TOKENIZER_FILES):
            raise UserError(
                f"teacher directory {name_or_path!r} has no tokenizer (looked for "
                f"{', '.join(_TOKENIZER_FILES)}); save one there with tokenizer.save_pretrained(DIR)"
            )
        return path
    if path.exists() or name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1:
        raise UserError(
            f"teacher {name_or_path!r} is not a directory; give a Hugging Face directory or hub name"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name_or_path, allow_patterns=["*.json", "*.txt", "*.model"]))
    except Exception as error:  # no network, no such repository, no permission, ...
        raise _cannot_load(name_or_path, error) from error


def _load(directory: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    with without_reports():  # it warns of a config.json whose model it does not know, such as an IB-BERT's
        tokenizer = load_saved(AutoTokenizer, directory)
    if _lower_cases_against_its_vocabulary(tokenizer, directory):
        tokenizer = load_saved(AutoTokenizer, directory, do_lower_case=False)
    return tokenizer  # type: ignore[no-any-return]


def _lower_cases_against_its_vocabulary(tokenizer: Any, directory: Path) -> bool:
    """Tell whether transformers lower-cases by default, although the vocabulary has capital letters."""
    config = directory / "tokenizer_config.json"
    if config.is_file() and "do_lower_case" in json.loads(config.read_text(encoding="utf-8")):
        return False
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if normalizer is None or normalizer.normalize_str("A") != "a":
        return False
    vocabulary = tokenizer.get_vocab()
    capitals = sum(re.match("[^A-Za-z]?[A-Z]", token) is not None for token in vocabulary)
    return capitals > len(vocabulary) / 100  # an uncased vocabulary has those of its special tokens


def _cannot_load(name: str, error: Exception) -> UserError:
    return UserError(
        f"cannot load a tokenizer from {name!r}: {first_line(error)}; "
        "give a directory written by save_pretrained, or a hub name that can be reached"
    )


def serialized_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of a fast tokenizer as it is saved, its truncation and padding included.

    The manifest of a data-bin (``prepare.json``) holds it.
    """
    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


def encoding_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of what a fast tokenizer makes of text, whatever its truncation and padding.

    Checkpoints of classifiers, caches and tokenised text hold it.
    """
    description = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    known = {name: value for name, value in description.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def vocabulary_hash(tokenizer: Any) -> str:
    """Return a hash of which token has which id: what teacher and student must have in common."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(vocabulary.encode()).hexdigest()
