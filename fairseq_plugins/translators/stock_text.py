"""Text of checkpoints whose data others prepared: fairseq's own BPE encoders and tokenizer, in its order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig
from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig
from fairseq.data.encoders.subword_nmt_bpe import SubwordNMTBPE, SubwordNMTBPEConfig

from cmlm_kd.api.translator import Source, TokenText
from cmlm_kd.errors import UserError, first_line

PIECES = "pieces"
"""For ``--bpe``: what is read, and written, is in the model's pieces, with spaces between them."""


def _subword_nmt(codes: str) -> Any:
    return SubwordNMTBPE(SubwordNMTBPEConfig(bpe_codes=codes))


def _sentencepiece(model: str) -> Any:
    return SentencepieceBPE(SentencepieceConfig(sentencepiece_model=model))


ENCODERS = {"subword_nmt": (_subword_nmt, "CODES"), "sentencepiece": (_sentencepiece, "MODEL")}
"""Name for ``--bpe`` -> what makes fairseq's encoder of a file, and what the file is called."""


class StockText(TokenText):
    """What ``fairseq-interactive --tokenizer moses --bpe NAME`` does to a line, and back.

    Args:
        bpe: ``NAME=FILE`` or ``pieces``, as the user gives it.
        moses: whether lines are tokenized by Moses' rules before, and hypotheses put together after.
        languages: source and target language, whose rules those are.

    Raises:
        UserError: there is no such encoder, its file cannot be read, or its package is not installed.
    """

    never_empty = True

    def __init__(self, bpe: str, *, moses: bool, languages: tuple[str, str]) -> None:
        name, _, file = bpe.partition("=")
        shown = ", ".join(f"{known}={kind}" for known, (_, kind) in ENCODERS.items())
        if name not in {*ENCODERS, PIECES} or (name == PIECES) == bool(file):
            raise UserError(f"--bpe {bpe!r}: give one of {shown}, or {PIECES} for text that is cut already")
        if file and not Path(file).is_file():
            raise UserError(f"--bpe {bpe}: {file} is no file; give what the model's text was cut with")
        try:
            self._bpe = ENCODERS[name][0](file) if file else None
            self._moses = (
                MosesTokenizer(MosesTokenizerConfig(source_lang=languages[0], target_lang=languages[1]))
                if moses
                else None
            )
        except Exception as error:  # of fairseq's encoders, subword_nmt and sentencepiece
            raise UserError(
                f"--bpe {bpe}{' --tokenizer moses' * moses} cannot be set up ({first_line(error)}); give a "
                "whole file, and install what is missing"
            ) from error
        self._file = Path(file) if file else None
        self._said = f"{name} {' '.join(languages) if moses else ''}"

    @property
    def hash(self) -> str:
        """Of the file, and of what is done with it."""
        contents = self._file.read_bytes() if self._file is not None else b""
        return hashlib.sha256(self._said.encode() + b"\n" + contents).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[Source]:
        """Return the pieces of each text; the end of sentence is the engine's."""
        return [Source(text, self._cut(text).split()) for text in texts]

    def _cut(self, text: str) -> str:
        for encoder in (self._moses, self._bpe):
            text = text if encoder is None else str(encoder.encode(text))
        return text

    def decode(self, tokens: Sequence[str]) -> str:
        """Return the text of pieces."""
        text = " ".join(tokens)
        for encoder in (self._bpe, self._moses):
            text = text if encoder is None else str(encoder.decode(text))
        return text
