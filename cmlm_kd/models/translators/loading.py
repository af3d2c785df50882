"""Hugging Face models that translate, loaded safely and with their languages set.

The translators use them to decode; for teacher forcing they serve as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cmlm_kd.errors import UserError, first_line
from cmlm_kd.models.encoders.pretrained import check_weights, load_pretrained, model_hash
from cmlm_kd.system.transformers_reports import without_reports

T5_PREFIX = "translate {source} to {target}: "
"""What T5 was trained to read before a sentence, languages by their English names."""


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
        forced_first: the entry that comes next whatever the model says, a language's code; None for none.
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

    tokenizer = _load_tokenizer(name)
    model, missing = load_pretrained(AutoModelForSeq2SeqLM, name, "an encoder-decoder")
    _ready(name, model, missing)
    languages = _Languages(name, tokenizer, model.config, source_language, target_language)
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
    tokenizer = _load_tokenizer(place, **more)
    model, missing = load_pretrained(AutoModelForCausalLM, place, "a language model", **more)
    _ready(name, model, missing)
    return LanguageModel(name, model, tokenizer, _hash(model, tokenizer))


def _load_tokenizer(name: str, **more: Any) -> Any:
    from transformers import AutoTokenizer

    remedy = "save one there with tokenizer.save_pretrained(DIR), or give a model that has one"
    try:
        with without_reports():
            tokenizer = AutoTokenizer.from_pretrained(name, **more)
            tokens = tokenizer("a b", add_special_tokens=False)["input_ids"]
    except Exception as error:  # of many types, none of which helps the user
        raise UserError(f"--model {name} has no tokenizer ({first_line(error)}); {remedy}") from error
    if not tokens:  # transformers makes an empty one for some directories that have none
        raise UserError(f"--model {name} has no tokenizer that makes tokens of text; {remedy}")
    return tokenizer


def _ready(name: str, model: nn.Module, missing: set[str]) -> None:
    """Check weights, and switch dropout and gradients off."""
    check_weights(
        f"--model {name}", missing, ": its config.json and its weights do not belong together; save it again"
    )
    for weight, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise UserError(
                f"--model {name}: {weight} holds NaN or infinity: its training has diverged; "
                "take an earlier one"
            )
    model.eval().requires_grad_(False)


def _hash(model: Any, tokenizer: Any, more: str = "") -> str:
    digest = hashlib.sha256(model_hash(model.config, model).encode())
    if hasattr(tokenizer, "backend_tokenizer"):
        digest.update(tokenizer.backend_tokenizer.to_str().encode())
    else:
        digest.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    digest.update(more.encode())
    return digest.hexdigest()


class _Languages:
    """How one family of encoder-decoders is told which languages it translates between."""

    def __init__(
        self, name: str, tokenizer: Any, config: Any, source: str | None, target: str | None
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.config = config
        self.source = source
        self.target = target
        self.marian_codes: list[str] = list(getattr(tokenizer, "supported_language_codes", []))
        self.has_codes = hasattr(tokenizer, "src_lang")
        if self.has_codes:
            self._set_codes()
        elif config.model_type in ("t5", "umt5", "mt5"):
            if (source is None) != (target is None):
                raise UserError(f"--model {name}: give both --source-language and --target-language, or none")
        else:
            self._check_one_pair()

    def known(self) -> tuple[str | None, str | None]:
        """Return the languages, as far as the model or the user says them."""
        return (
            self.source or getattr(self.tokenizer, "source_lang", None),
            self.target or getattr(self.tokenizer, "target_lang", None),
        )

    def source_prefix(self) -> str:
        """Return what stands before each source sentence."""
        if self.marian_codes and self.target is not None:
            return f">>{self.target}<< "
        if self.config.model_type == "t5" and self.source and self.target:
            return T5_PREFIX.format(source=self.source, target=self.target)
        return ""

    def decoder_start(self) -> int:
        """Return the decoder's first entry: the language's code for mBART's first version."""
        if self._begins_with_code():
            return self._code_id(self.target)
        start = self.config.decoder_start_token_id
        return int(self.config.bos_token_id if start is None else start)

    def forced_first(self) -> int | None:
        """Return the entry that follows, where that is the language's code."""
        if self.has_codes and not self._begins_with_code():
            return self._code_id(self.target)
        forced = getattr(self.config, "forced_bos_token_id", None)
        return None if forced is None or self.has_codes else int(forced)

    def _begins_with_code(self) -> bool:
        return self.has_codes and type(self.tokenizer).__name__.removesuffix("Fast") == "MBartTokenizer"

    def _set_codes(self) -> None:
        for flag, code in (("--source-language", self.source), ("--target-language", self.target)):
            if code is None:
                raise UserError(
                    f"--model {self.name} knows several languages; say with {flag} which, by its code ("
                    f"{self._some_codes()})"
                )
            self._code_id(code, flag)
        self.tokenizer.src_lang = self.source
        self.tokenizer.tgt_lang = self.target

    def _code_id(self, code: str | None, flag: str = "--target-language") -> int:
        codes = self._codes()
        if code not in codes:
            raise UserError(
                f"{flag} is {code!r}, which --model {self.name} does not know; its codes are "
                f"{self._some_codes()}"
            )
        return codes[code]

    def _codes(self) -> dict[str, int]:
        """Return language code -> entry."""
        if hasattr(self.tokenizer, "lang_code_to_id"):  # M2M100, mBART
            return {code: int(entry) for code, entry in self.tokenizer.lang_code_to_id.items()}
        named = set(self.tokenizer.all_special_tokens) - set(self.tokenizer.special_tokens_map.values())
        return {code: int(self.tokenizer.convert_tokens_to_ids(code)) for code in named if "_" in str(code)}

    def _some_codes(self) -> str:
        codes = sorted(self._codes())
        return ", ".join(codes[:8]) + (", ..." if len(codes) > 8 else "")

    def _check_one_pair(self) -> None:
        """Refuse another pair of languages than the model says, and codes that it does not know."""
        if self.marian_codes:
            self._check_marian_target()
            return
        for flag, code, own in (
            ("--source-language", self.source, getattr(self.tokenizer, "source_lang", None)),
            ("--target-language", self.target, getattr(self.tokenizer, "target_lang", None)),
        ):
            if code is not None and own is not None and code != own:
                raise UserError(
                    f"{flag} is {code!r}, and --model {self.name} translates "
                    f"{self.tokenizer.source_lang} to {self.tokenizer.target_lang}; give a model of your pair"
                )

    def _check_marian_target(self) -> None:
        codes = sorted(code.strip("<>") for code in self.marian_codes)
        if self.target not in codes:
            said = "is missing" if self.target is None else f"is {self.target!r}"
            raise UserError(
                f"--target-language {said}: --model {self.name} translates into several languages; give one "
                f"of {', '.join(codes[:8])}{', ...' if len(codes) > 8 else ''}"
            )
