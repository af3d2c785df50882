"""Candidates of a masked language model for a word's place, for many words of many sentences at once.

One row of a batch is one sentence with one word masked. The vocabulary layer, most of the work of a small
model, runs at the masked positions alone, and so do the queries and the feed-forward block of the last layer;
batches hold rows of like length.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlm_kd.errors import UserError
from cmlm_kd.models.cmlm_inference import replace_last_layer
from cmlm_kd.models.masked_lm import MaskedLM
from cmlm_kd.system.devices import bfloat16_autocast
from cmlm_kd.tokenization.pieces import PieceTokenizer
from cmlm_kd.tokenization.positions import usable_positions
from cmlm_kd.tokenization.spelling import WORD_START

_NO_WORD = re.compile(r"\[\w+\]|.*<0x[0-9A-F]{2}>.*")  # [unused0] of BERT's vocabularies; bytes


@dataclass(frozen=True)
class MaskedWord:
    """A word of one token in its sentence.

    Attributes:
        tokens: ids of the whole sentence, ``(L,)``, without special tokens.
        position: of the word in ``tokens``.
    """

    tokens: NDArray[np.int64]
    position: int


class MaskedWords:
    """Predicts masked words.

    Args:
        model: a masked language model with a head; a copy of it runs.
        tokenizer: its own.
        count: candidates per word, before tokens that begin no word are dropped.
        see_original: whether the sentence itself follows the masked one as a second segment, so that
            candidates stay close to the word (TinyBERT's released code); its paper has the masked one alone.
        max_tokens: positions of a batch, padding included.
        bf16_autocast: compute in bfloat16 where that is safe.
        device: where it runs.

    Raises:
        UserError: if tokenizer and model do not belong together.
    """

    def __init__(
        self,
        model: MaskedLM,
        tokenizer: PieceTokenizer,
        *,
        count: int,
        see_original: bool,
        max_tokens: int,
        bf16_autocast: bool,
        device: torch.device,
    ) -> None:
        model.check_tokenizer(tokenizer)
        self.model = copy.deepcopy(model).eval().to(device)
        self.model.model.set_attn_implementation("sdpa")
        self._last_layer = replace_last_layer(self.model.model.base_model)
        if bf16_autocast:
            for module in self.model.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)  # once, instead of in every batch
        self.tokenizer, self.device = tokenizer, device
        self.bf16_autocast, self.max_tokens = bf16_autocast, max_tokens
        self.count, self.see_original = count, see_original
        rows = self.model.model.get_input_embeddings().num_embeddings
        # Some models have more rows than tokens, to make their number even.
        self.words = [*piece_words(tokenizer), *[None] * (rows - len(tokenizer))]
        self.has_token_types = getattr(model.config, "type_vocab_size", 0) > 1
        self._positions = usable_positions(model.config)
        frame = 2 + (tokenizer.separators + 1) * see_original  # special tokens of a row
        self._room = self._positions - frame
        if self._room < 2:
            raise UserError(
                f"a model of {self._positions} positions has no room for a sentence; take another"
            )

    def candidates(self, masked: Sequence[MaskedWord]) -> list[list[str]]:
        """Return words for each, the likeliest first; tokens that begin no word are dropped."""
        found: list[list[str]] = [[] for _ in masked]
        for batch in self._batches(masked):
            for index, ids in zip(batch, self._predict([masked[i] for i in batch]), strict=True):
                found[index] = [word for word in (self.words[i] for i in ids) if word is not None]
        return found

    def _batches(self, masked: Sequence[MaskedWord]) -> Iterator[list[int]]:
        """Yield indices of rows of like length, the longest first: what does not fit fails at once."""
        batch: list[int] = []
        longest = 0
        for index in sorted(range(len(masked)), key=lambda i: -len(masked[i].tokens)):
            longest = longest or self._row_length(len(masked[index].tokens))
            if batch and (len(batch) + 1) * longest > self.max_tokens:
                yield batch
                batch, longest = [], self._row_length(len(masked[index].tokens))
            batch.append(index)
        if batch:
            yield batch

    def _row_length(self, tokens: int) -> int:
        return min(self._positions, tokens * (1 + self.see_original) + self._positions - self._room)

    def _row(self, word: MaskedWord) -> tuple[list[int], int, int]:
        """Return ids of a row, the masked position, and where the second segment begins."""
        special = self.tokenizer.special
        # Where the sentence is too long, the model sees what stands around the word.
        start = max(0, min(word.position - self._room // 2, len(word.tokens) - self._room))
        seen = word.tokens[start : start + self._room].tolist()
        position = word.position - start
        row = [special.cls, *seen, special.sep]
        row[1 + position] = special.mask
        second = len(row)
        if self.see_original:
            row += [special.sep] * (self.tokenizer.separators - 1)
            second = len(row)
            # As in the released code, of two sentences too long together the second is cut.
            row += [*seen[: self._room - len(seen)], special.sep]
        return row, 1 + position, second

    @torch.inference_mode()
    def _predict(self, words: Sequence[MaskedWord]) -> list[list[int]]:
        """Return the ids of the likeliest tokens, ``count`` for each word."""
        rows = [self._row(word) for word in words]
        length = max(len(row) for row, _, _ in rows)
        ids = np.full((len(rows), length), self.tokenizer.special.pad, np.int64)  # (B, S)
        attention, types = np.zeros_like(ids), np.zeros_like(ids)  # (B, S)
        for i, (row, _, second) in enumerate(rows):
            ids[i, : len(row)] = row
            attention[i, : len(row)] = 1
            types[i, second : len(row)] = 1
        index = np.array([i * length + position for i, (_, position, _) in enumerate(rows)])  # (B,)
        inputs = {"input_ids": ids, "attention_mask": attention, "masked_index": index}
        if self.has_token_types:
            inputs["token_type_ids"] = types
        with bfloat16_autocast(self.bf16_autocast, self.device):
            logits = self._logits(
                **{name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
            )  # (B, V)
        best: list[list[int]] = logits.topk(min(self.count, logits.size(-1))).indices.tolist()
        return best

    def _logits(self, masked_index: Tensor, **inputs: Tensor) -> Tensor:
        """Return the logits at the masked positions, ``(B, V)``."""
        if self._last_layer is None:
            return self.model(masked_index=masked_index, **inputs)  # type: ignore[no-any-return]
        self._last_layer.masked_index = masked_index
        return self.model.model(**inputs).logits.squeeze(0)  # type: ignore[no-any-return]


def piece_words(tokenizer: PieceTokenizer) -> list[str | None]:
    """Return the word that each token is when it stands alone, None for those that begin no word."""
    words: list[str | None] = [None] * len(tokenizer)
    backend: Any = tokenizer.tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    for token, i in tokenizer.tokenizer.get_vocab().items():
        if tokenizer.kind == "wordpiece":
            begins, word = not token.startswith(backend.model.continuing_subword_prefix), token
        else:
            symbol = tokenizer.symbol(i)
            begins, word = symbol.startswith(WORD_START), symbol.strip(WORD_START)
        if begins and word and WORD_START not in word and not _NO_WORD.fullmatch(word):
            words[i] = word
    for i in vars(tokenizer.special).values():
        words[i] = None
    return words
