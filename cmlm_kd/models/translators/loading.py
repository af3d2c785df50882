"""Hugging Face models that translate, loaded safely and with their languages set.

The translators use them to decode; for teacher forcing they serve as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.models.encoders.pretrained import check_weights, load_pretrained, model_hash
from cmlm_kd.models.translators.languages import Languages
from cmlm_kd.system.git_lfs import refuse_pointer
from cmlm_kd.system.hugging_face import load_saved
from cmlm_kd.system.transformers_reports import without_reports

UNLIMITED = 1 << 20
"""Tokens, of a model that knows no limit; tokenizers say a very large number."""


@dataclass(frozen=True)
class Seq2Seq:
    """An encoder-decoder.

    Attributes:
        name: directory or hub name, for messages.
        model: of transformers, float32, in evaluation mode, without gradients.
        tokenizer: its own; set to the source language.
        source_language, target_language: codes or names as the model knows them; None where it needs none.
        source_prefix: text before each source sentence; perhaps empty.
        decoder_start: the entry that the decoder begins with.
        forced_first: the entry that comes next whatever the model says, such as a language's code; None for
            none.
        hash: of configuration, weights, tokenizer and languages.
    """

    name: str
    model: Any
    tokenizer: Any
    source_language: str | None
    target_language: str | None
    source_prefix: str
    decoder_start: int
    forced_first: int | None
    hash: str


@dataclass(frozen=True)
class LanguageModel:
    """A decoder without an encoder.

    Attributes:
        name: directory, file or hub name, for messages.
        model: of transformers, float32, in evaluation mode, without gradients.
        tokenizer: its own.
        hash: of configuration, weights and tokenizer.
    """

    name: str
    model: Any
    tokenizer: Any
    hash: str


def load_seq2seq(
    name: str, source_language: str | None = None, target_language: str | None = None
) -> Seq2Seq:
    """Load an encoder-decoder: Marian, M2M100, NLLB, mBART, T5, or another without language codes.

    Args:
        name: Hugging Face directory or hub name.
        source_language: code (``de``, ``deu_Latn``, ``de_DE``), or for T5 the English name; None where the
            model reads one language.
        target_language: likewise.

    Raises:
        UserError: nothing can be loaded, there is no tokenizer, weights are missing or no finite numbers, or
            the model does not know the languages.
    """
    from transformers import AutoModelForSeq2SeqLM

    tokenizer = read_tokenizer(name)
    model, missing = load_pretrained(AutoModelForSeq2SeqLM, name, "an encoder-decoder")
    _ready(name, model, missing)
    configs = (model.generation_config, model.config)
    languages = Languages(name, tokenizer, configs, source_language, target_language)
    return Seq2Seq(
        name,
        model,
        tokenizer,
        *languages.known(),
        languages.source_prefix(),
        languages.decoder_start(),
        languages.forced_first(),
        _hash(model, tokenizer, f"{source_language} {target_language}"),
    )


def load_language_model(name: str) -> LanguageModel:
    """Load a decoder-only language model.

    Args:
        name: Hugging Face directory, hub name, or a ``.gguf`` file (its weights become float32).

    Raises:
        UserError: nothing can be loaded, there is no tokenizer, or weights are missing or no finite numbers.
    """
    from transformers import AutoModelForCausalLM

    path = Path(name).expanduser()
    more: dict[str, Any] = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    place = str(path.parent) if more else name
    tokenizer = read_tokenizer(place, **more)
    model, missing = load_pretrained(AutoModelForCausalLM, place, "a language model", **more)
    _ready(name, model, missing)
    return LanguageModel(name, model, tokenizer, _hash(model, tokenizer))


def read_tokenizer(name: str, **more: Any) -> Any:
    """Load the tokenizer of a model that translates.

    Args:
        name: directory or hub name.
        more: for ``from_pretrained``.

    Raises:
        UserError: there is none.
    """
    from transformers import AutoTokenizer

    remedy = "save one there with tokenizer.save_pretrained(DIR), or give a model that has one"
    try:
        with without_reports():
            tokenizer = load_saved(AutoTokenizer, name, **more)
            tokens = tokenizer("a b", add_special_tokens=False)["input_ids"]
    except UserError:
        raise
    except Exception as error:  # of many types, none of which helps the user
        if not Path(name).expanduser().exists():
            raise UserError(
                f"model {name}: there is no such directory here, and as a name of the hub it could not be "
                f"loaded ({first_line(error)}); give a directory, or mind the spelling and the connection"
            ) from error
        refuse_pointer(Path(name).expanduser())
        raise UserError(f"model {name} has no tokenizer ({first_line(error)}); {remedy}") from error
    if not tokens:  # transformers makes an empty one for some directories that have none
        raise UserError(f"model {name} has no tokenizer that makes tokens of text; {remedy}")
    return tokenizer


def source_ids(tokenizer: Any, prefix: str, texts: Sequence[str]) -> list[list[int]]:
    """Return what an encoder reads of each text: with what stands before a sentence and what ends it.

    Special tokens that are spelled out in a text (``</s>``, ``deu_Latn``) are text; only a unigram model that
    has them among its pieces (mBART's, T5's ``</s>``) finds them all the same.

    Args:
        tokenizer: set to its languages.
        prefix: before each text; of no special tokens.
        texts: sentences, perhaps none.
    """
    if not texts:
        return []
    prefixed = [prefix + text for text in texts]
    found = tokenizer(prefixed, truncation=False, verbose=False, split_special_tokens=True)["input_ids"]
    return [[int(entry) for entry in ids] for ids in found]


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the entries with which a model ends what it says; perhaps none."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return [] if ends is None else [int(end) for end in ends] if isinstance(ends, list) else [int(ends)]


def last_logits(model: Any, keep: int, **inputs: Any) -> Tensor:
    """Return a decoder-only model's logits of the last positions, ``(B, keep, V)``.

    The others', which a prompt has many of, are not computed where the model can leave them out: a vocabulary
    of 256,000 makes a megabyte of each.

    Args:
        model: of transformers.
        keep: how many positions, at least 1.
        inputs: of its ``forward``.
    """
    fewer = {"logits_to_keep": keep} if "logits_to_keep" in signature(model.forward).parameters else {}
    logits: Tensor = model(**inputs, **fewer, use_cache=False).logits
    return logits[:, -keep:]


def _ready(name: str, model: nn.Module, missing: set[str]) -> None:
    """Check weights, and switch dropout and gradients off."""
    check_weights(
        f"model {name}", missing, ": its config.json and its weights do not belong together; save it again"
    )
    model.eval().requires_grad_(False)


def _hash(model: Any, tokenizer: Any, more: str = "") -> str:
    digest = hashlib.sha256(model_hash(model.config, model).encode())
    digest.update(tokenizer_hash(tokenizer).encode())
    digest.update(more.encode())
    return digest.hexdigest()


def tokenizer_hash(tokenizer: Any) -> str:
    """Return a hash of a tokenizer, slow or fast."""
    if hasattr(tokenizer, "backend_tokenizer"):
        text = tokenizer.backend_tokenizer.to_str()
    else:
        text = repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(text.encode()).hexdigest()
