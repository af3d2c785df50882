"""How encoder-decoders of Hugging Face are told which languages they translate between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cmlm_kd.errors import UserError

T5_PREFIX = "translate {source} to {target}: "
"""What T5 was trained to read before a sentence, languages by their English names."""


class Languages:
    """Where the codes of a pair of languages go, by family: Marian, M2M100, NLLB, mBART, T5, and others.

    Args:
        name: of the model, for messages.
        tokenizer: of transformers; it is set to the languages.
        configs: of the model, that of generation first, which has what is forced; none where only its
            tokenizer is at hand.
        source: code or name of the source language, None where the user gave none.
        target: likewise.

    Raises:
        UserError: a code is missing or unknown, or the model is of another pair.
    """

    def __init__(
        self, name: str, tokenizer: Any, configs: Sequence[Any], source: str | None, target: str | None
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.configs = configs
        self.source = source
        self.target = target
        self.marian_codes: list[str] = list(getattr(tokenizer, "supported_language_codes", []))
        self.has_codes = hasattr(tokenizer, "src_lang")
        if self.has_codes:
            self._set_codes()
        elif self._is_t5():
            if (source is None) != (target is None):
                raise UserError(f"model {name}: give both --source-language and --target-language, or none")
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
        if self._is_t5() and self.source and self.target:
            return T5_PREFIX.format(source=self.source, target=self.target)
        return ""

    def decoder_start(self) -> int:
        """Return the decoder's first entry: the language's code for mBART's first version."""
        if self._begins_with_code():
            return self._code_id(self.target)
        start = self._configured("decoder_start_token_id")
        return int(self._configured("bos_token_id") or 0) if start is None else start

    def forced_first(self) -> int | None:
        """Return the entry that follows whatever the model says: the language's code, or BART's ``<s>``."""
        if self.has_codes:
            return None if self._begins_with_code() else self._code_id(self.target)
        return self._configured("forced_bos_token_id")

    def _configured(self, name: str) -> int | None:
        found = (getattr(config, name, None) for config in self.configs)
        return next((int(entry) for entry in found if entry is not None), None)

    def _is_t5(self) -> bool:
        return type(self.tokenizer).__name__.removesuffix("Fast") == "T5Tokenizer"

    def _begins_with_code(self) -> bool:
        return self.has_codes and type(self.tokenizer).__name__.removesuffix("Fast") == "MBartTokenizer"

    def _set_codes(self) -> None:
        for flag, code in (("--source-language", self.source), ("--target-language", self.target)):
            if code is None:
                raise UserError(
                    f"model {self.name} knows several languages; say with {flag} which, by its code ("
                    f"{self._some_codes()})"
                )
            self._code_id(code, flag)
        self.tokenizer.src_lang = self.source
        self.tokenizer.tgt_lang = self.target

    def _code_id(self, code: str | None, flag: str = "--target-language") -> int:
        codes = self._codes()
        if code not in codes:
            raise UserError(
                f"{flag} is {code!r}, which model {self.name} does not know; its codes are "
                f"{self._some_codes(str(code))}"
            )
        return codes[code]

    def _codes(self) -> dict[str, int]:
        """Return language code -> entry."""
        if hasattr(self.tokenizer, "lang_code_to_id"):  # M2M100, mBART
            return {code: int(entry) for code, entry in self.tokenizer.lang_code_to_id.items()}
        named = set(self.tokenizer.all_special_tokens) - set(self.tokenizer.special_tokens_map.values())
        return {code: int(self.tokenizer.convert_tokens_to_ids(code)) for code in named if "_" in str(code)}

    def _some_codes(self, near: str = "") -> str:
        """Return some codes, those first that begin as another one does."""
        codes = sorted(self._codes(), key=lambda code: (code[:2] != near[:2].lower(), code))
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
                    f"{flag} is {code!r}, and model {self.name} translates {self.tokenizer.source_lang} "
                    f"to {self.tokenizer.target_lang}; give a model of your pair"
                )

    def _check_marian_target(self) -> None:
        codes = sorted(code.strip("<>") for code in self.marian_codes)
        if self.target not in codes:
            said = "is missing" if self.target is None else f"is {self.target!r}"
            raise UserError(
                f"--target-language {said}: model {self.name} translates into several languages; give one "
                f"of {', '.join(codes[:8])}{', ...' if len(codes) > 8 else ''}"
            )
